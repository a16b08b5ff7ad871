//! Between weights in use and weights that learn: batch norm is put into a start, and folded into what is exported.
//!
//! The tensors `landmark.*`, `lde.*` and `el.*` are left out of what is exported.

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};

use super::branches::{Branches, LAST};
use super::ops;
use super::start::Start;
use super::weights::{Mode, Weights};
use crate::error::{Error, Result};
use crate::kernels::learn;
use crate::net::plan::{Bend, Stage};

impl Branches {
    /// Takes the backbone's tensors from a start: either folded (`X.weight`, `X.shift` and maybe `X.scale`), to be
    /// followed by [`Branches::settle`], or with batch norm under torchvision's names or as `X.norm.weight` and so on; the
    /// slopes of PReLU are `X.prelu`. Returns whether they are folded.
    ///
    /// # Errors
    /// A tensor that is missing or of another shape, by name.
    pub fn start(&self, weights: &mut Weights, start: &Start, device: &Device, dtype: DType) -> Result<bool> {
        let (failed, tensors) =
            (|| format!("the starting weights {} cannot be used", start.name), &start.tensors);
        let take = |name: &str, shape: &[usize]| -> Result<Option<Tensor>> {
            let Some(tensor) = tensors.get(name) else { return Ok(None) };
            if tensor.dims() != shape {
                return Err(Error::new(failed())
                    .because(Error::new(format!("its {name} is {:?}, not {shape:?}", tensor.dims()))));
            }
            Ok(Some(tensor.to_dtype(dtype)?.to_device(device)?))
        };
        let need = |name: String, shape: &[usize]| -> Result<Tensor> {
            take(&name, shape)?.ok_or_else(|| {
                Error::new(failed())
                    .because(Error::new(format!("it has no tensor '{name}'")))
                    .advice("choose the backbone that the file belongs to")
            })
        };
        // Batch norm as `theirs` has it, which adds `epsilon` to variances before their root; ours adds 1e-5.
        let norm = |weights: &mut Weights, name: &str, theirs: &str, channels: &[usize], epsilon: f64| {
            let part = |part: &str| need(format!("{theirs}.{part}"), channels);
            let variance = part("running_var")?;
            let ours = ((&variance + ops::EPSILON)? / (&variance + epsilon)?)?.sqrt()?;
            weights.learn(format!("{name}.gain"), &(part("weight")? * ours)?)?;
            weights.learn(format!("{name}.bias"), &part("bias")?)?;
            weights.kept.insert(format!("{name}.mean"), part("running_mean")?);
            weights.kept.insert(format!("{name}.variance"), variance);
            Ok::<_, Error>(())
        };
        let mut folded = false;
        for layer in self.plan.stages.iter().flat_map(Stage::layers) {
            let (name, channels) = (&layer.name, [layer.weight[0]]);
            let torch = torchvision_names(name);
            let weight = match take(&format!("{name}.weight"), &layer.weight)? {
                Some(weight) => weight,
                None => need(format!("{}.weight", torch.0), &layer.weight)?,
            };
            weights.learn(format!("{name}.weight"), &weight)?;
            let slope = match self.plan.bend {
                Bend::Prelu => Some(match take(&format!("{name}.slope"), &channels)? {
                    Some(slope) => slope,
                    None => need(format!("{name}.prelu"), &channels)?,
                }),
                Bend::Relu | Bend::Relu6 => None,
            };
            if let Some(slope) = slope {
                weights.learn(format!("{name}.slope"), &slope)?;
            }
            if let Some(shift) = take(&format!("{name}.shift"), &channels)? {
                folded = true;
                let scale = take(&format!("{name}.scale"), &channels)?;
                weights.learn(format!("{name}.gain"), &scale.map_or_else(|| shift.ones_like(), Ok)?)?;
                weights.learn(format!("{name}.bias"), &shift)?;
            } else if tensors.contains_key(&format!("{name}.norm.weight")) {
                norm(weights, name, &format!("{name}.norm"), &channels, 1e-3)?;
            } else {
                norm(weights, name, &torch.1, &channels, ops::EPSILON)?;
            }
        }
        // Weights that were in use have it in their classifier.
        if self.plan.last_norm && !folded {
            norm(weights, LAST, "last.norm", &[self.plan.channels()], 2e-5)?;
        }
        self.branch_off(weights)?;
        Ok(folded)
    }

    /// Gathers what folded starting weights see in some pictures (B, 3, H, W), for [`Branches::settle`].
    ///
    /// # Errors
    /// Pictures that do not fit.
    pub fn measure(&self, weights: &mut Weights, pictures: &Tensor) -> Result<()> {
        let pictures = learn::channels_last(&pictures.detach())?;
        self.pass(weights, &pictures, 0..self.plan.stages.len(), "", Mode::Measure)?;
        Ok(())
    }

    /// Puts batch norm into folded starting weights after some batches were measured; the outputs are what they were.
    ///
    /// # Errors
    /// The device has no room.
    pub fn settle(&self, weights: &mut Weights) -> Result<()> {
        weights.settle()?;
        self.branch_off(weights)
    }

    /// What is left in use: the expression branch, batch norm folded: `X.weight`, `X.shift`, `X.slope` behind a PReLU, and
    /// the classifier, `head.LAST.weight` (C, d, 1, 1) by its last layer and `head.bias` (C); the second one is `meant.LAST.weight`
    /// and `meant.bias`.
    ///
    /// # Errors
    /// A tensor that is missing.
    pub fn export(&self, weights: &Weights) -> Result<HashMap<String, Tensor>> {
        let mut tensors = HashMap::new();
        for layer in self.plan.stages.iter().flat_map(Stage::layers) {
            let part = |part: &str| format!("{}.{part}", layer.name);
            let (scale, shift) = affine(weights, &layer.name)?;
            let weight =
                weights.get(&part("weight"))?.detach().broadcast_mul(&scale.reshape(((), 1, 1, 1))?)?;
            tensors.insert(part("weight"), weight);
            tensors.insert(part("shift"), shift);
            if self.plan.bend == Bend::Prelu {
                tensors.insert(part("slope"), weights.get(&part("slope"))?.detach());
            }
        }
        for name in ["head", "meant"].into_iter().take(1 + usize::from(self.meant)) {
            let get = |part: &str| Ok::<_, Error>(weights.get(&format!("{name}.{part}"))?.detach());
            let (mut weight, mut bias) = (get("weight")?, get("bias")?); // (C, d), (C)
            if self.plan.last_norm {
                // A mean over pixels and an affine map can change places.
                let (scale, shift) = affine(weights, LAST)?;
                bias = (bias + weight.matmul(&shift.unsqueeze(1)?)?.squeeze(1)?)?;
                weight = weight.broadcast_mul(&scale)?;
            }
            let whole = self.plan.head(self.plan.depth()).replacen("head", name, 1);
            tensors.insert(whole, weight.unsqueeze(2)?.unsqueeze(3)?);
            tensors.insert(format!("{name}.bias"), bias);
        }
        Ok(tensors)
    }
}

/// What a batch norm does in use: x * scale + shift.
fn affine(weights: &Weights, name: &str) -> Result<(Tensor, Tensor)> {
    let kept = |part: &str| {
        let name = format!("{name}.{part}");
        weights.kept.get(&name).ok_or_else(|| Error::new(format!("there are no statistics '{name}'")))
    };
    let get = |part: &str| Ok::<_, Error>(weights.get(&format!("{name}.{part}"))?.detach());
    let scale = (get("gain")? / (kept("variance")? + ops::EPSILON)?.sqrt()?)?;
    let shift = (get("bias")? - (kept("mean")? * &scale)?)?;
    Ok((scale, shift))
}

/// What torchvision calls a layer of a ResNet and its batch norm.
fn torchvision_names(name: &str) -> (String, String) {
    match name.strip_suffix("downsample") {
        Some(block) => (format!("{block}downsample.0"), format!("{block}downsample.1")),
        None => (name.to_owned(), name.replace("conv", "bn")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::branches::tests::{branches, faces, furthest, toys};
    use super::super::nursery::tests::nursery;
    use super::*;
    use crate::expression::COUNT;
    use crate::kernels;
    use crate::net::plan::Plan;
    use crate::net::{Backbone, LaNet, Trunk};

    #[test]
    fn what_is_left_in_use_costs_what_the_bare_backbone_costs_and_says_the_same() {
        for plan in toys() {
            let net = branches(plan.clone(), 5);
            let mut weights = net.grow(&mut nursery(DType::F32)).unwrap();
            for salt in 0..3 {
                net.forward(&mut weights, &faces(4, 32, salt), Mode::Learn).unwrap();
            }
            let tensors = net.export(&weights).unwrap();
            let numbers: usize = tensors.values().map(Tensor::elem_count).sum();
            assert_eq!(numbers, plan.numbers() + (plan.channels() + 1) * COUNT);
            let tensor = |name: &str| tensors.get(name).cloned();
            let bare = Trunk::new(&plan, tensor).unwrap();
            let used = LaNet::new(bare.clone(), tensor, Backbone::Resnet18.input(32), None).unwrap();
            let head = (plan.channels() * COUNT) as u64;
            assert_eq!(used.multiply_adds(), plan.multiply_adds(32, 32) + head);
            let x = faces(3, 32, 9);
            let seen = net.forward(&mut weights, &x, Mode::Use).unwrap();
            assert!(furthest(&seen.logits, &used.forward(&x).unwrap()) < 1e-4);
            if !plan.last_norm {
                let features = kernels::mean(&bare.forward(&x).unwrap()).unwrap();
                assert!(furthest(&seen.features, &features) < 1e-4);
            }
        }
    }

    #[test]
    fn a_folded_start_gives_the_same_after_batch_norm_is_put_in() {
        let plan = Plan::mobilenet(2);
        let net = branches(plan.clone(), 2);
        let mut weights = net.grow(&mut nursery(DType::F32)).unwrap();
        net.forward(&mut weights, &faces(4, 32, 1), Mode::Learn).unwrap();
        let folded = net.export(&weights).unwrap();
        let start = Start { name: "folded".into(), tensors: folded.clone(), card: None };
        let mut fresh = net.grow(&mut nursery(DType::F32)).unwrap();
        assert!(net.start(&mut fresh, &start, &Device::Cpu, DType::F32).unwrap());
        (2..5).for_each(|salt| net.measure(&mut fresh, &faces(4, 32, salt)).unwrap());
        net.settle(&mut fresh).unwrap();
        let before =
            Trunk::new(&plan, |name| folded.get(name).cloned()).unwrap().forward(&faces(3, 32, 7)).unwrap();
        let after = net.forward(&mut fresh, &faces(3, 32, 7), Mode::Use).unwrap().features;
        assert!(furthest(&kernels::mean(&before).unwrap(), &after) < 1e-4);
        let (a, b) = (&fresh.kept["landmark.dw9.mean"], &fresh.kept["dw9.mean"]);
        assert_eq!(furthest(a, b), 0.0);
        let other = branches(Plan::resnet(4, [1, 1, 1, 1], false), 0);
        let mut none = other.grow(&mut nursery(DType::F32)).unwrap();
        let error = other.start(&mut none, &start, &Device::Cpu, DType::F32).unwrap_err().line();
        assert!(error.contains("conv1.weight"), "{error}");
    }
}
