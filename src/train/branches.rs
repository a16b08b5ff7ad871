//! The network while it learns: a backbone with batch norm, and the landmark branch that is gone in use.
//!
//! Source: LA-Net (Wu and Cui 2023, arXiv 2307.09023), section 3.2. Both branches share the backbone up to stride 4.
//! The landmark branch has its own copy of the stages behind, a top-down pyramid (Lin et al. 2017, arXiv
//! 1612.03144) from stride 32 up to stride 4, and a convolution that draws one heat map for each landmark.
//! Its tensors are named `landmark.*`. What it starts from and what is left of it in use is in `fold.rs`.

use candle_core::Tensor;

use super::nursery::Nursery;
use super::weights::{Mode, Weights};
use super::{contrast, labels};
use crate::error::{Error, Result};
use crate::expression::COUNT;
use crate::kernels::{Activation, Padding, Shape, learn};
use crate::net::plan::{Bend, Layer, Plan, Shortcut, Stage};

/// A 1x1 convolution.
const POINT: Shape = Shape { stride: 1, padding: Padding::Zeros(0), depthwise: false };

/// The batch norm behind the last stage, where a plan has one.
pub(super) const LAST: &str = "last";

/// A network that learns, as a function of its [`Weights`].
#[derive(Debug, Clone)]
pub struct Branches {
    /// The backbone.
    pub plan: Plan,
    /// How many landmarks the landmark branch draws; 0 if there is no such branch.
    pub landmarks: usize,
    /// The last stage that does not learn, if any; 0 is the stem.
    pub frozen: Option<usize>,
    /// Whether there is a second classifier, of what was meant.
    pub meant: bool,
}

/// What a pass gives.
#[derive(Debug, Clone)]
pub struct Seen {
    /// f (B, d).
    pub features: Tensor,
    /// What f is the mean of (B, h, w, d); `None` for a classifier on several stages.
    pub map: Option<Tensor>,
    /// (B, C)
    pub logits: Tensor,
    /// What the second classifier says (B, C).
    pub meant: Option<Tensor>,
    /// What the landmark branch gives.
    pub landmark: Option<Landmark>,
}

/// What the landmark branch gives.
#[derive(Debug, Clone)]
pub struct Landmark {
    /// m (B, pyramid).
    pub features: Tensor,
    /// Heat maps (B, L, h, w), of the size of what both branches share.
    pub maps: Tensor,
}

impl Branches {
    /// New weights: random, the landmark branch's stages those of the backbone.
    ///
    /// # Errors
    /// The device has no room.
    pub fn grow(&self, nursery: &mut Nursery) -> Result<Weights> {
        let mut weights = Weights::default();
        for layer in self.plan.stages.iter().flat_map(Stage::layers) {
            nursery.convolution(&mut weights, &layer.name, layer.weight)?;
            nursery.batch_norm(&mut weights, &layer.name, layer.weight[0])?;
            if self.plan.bend == Bend::Prelu {
                // He et al. 2015 (arXiv 1502.01852) start it so.
                let slope = Tensor::full(0.25, layer.weight[0], &nursery.device)?.to_dtype(nursery.dtype)?;
                weights.learn(format!("{}.slope", layer.name), &slope)?;
            }
        }
        if self.plan.last_norm {
            nursery.batch_norm(&mut weights, LAST, self.plan.channels())?;
        }
        let (d, width) = (self.plan.channels(), self.plan.pyramid);
        nursery.linear(&mut weights, "head", d, COUNT)?;
        if self.meant {
            nursery.linear(&mut weights, "meant", d, COUNT)?;
        }
        labels::grow(&mut weights, nursery, "f", d)?;
        if self.landmarks > 0 {
            for (n, end) in self.plan.ends.into_iter().enumerate() {
                let channels = self.plan.stages[end].channels();
                nursery.convolution(
                    &mut weights,
                    &format!("landmark.lateral{n}"),
                    [width, channels, 1, 1],
                )?;
                let bias = Tensor::zeros(width, nursery.dtype, &nursery.device)?;
                weights.learn(format!("landmark.lateral{n}.bias"), &bias)?;
            }
            // Heat maps begin near zero, which is right almost everywhere.
            nursery.weight(&mut weights, "landmark.maps", [self.landmarks, width, 1, 1], 1e-6)?;
            let bias = Tensor::zeros(self.landmarks, nursery.dtype, &nursery.device)?;
            weights.learn("landmark.maps.bias", &bias)?;
            labels::grow(&mut weights, nursery, "m", width)?;
            contrast::grow(&mut weights, nursery, "f", d, width)?;
            contrast::grow(&mut weights, nursery, "m", width, width)?;
        }
        self.branch_off(&mut weights)?;
        Ok(weights)
    }

    /// Gives the landmark branch a copy of the backbone's later stages.
    ///
    /// # Errors
    /// The device has no room.
    pub(super) fn branch_off(&self, weights: &mut Weights) -> Result<()> {
        if self.landmarks == 0 {
            return Ok(());
        }
        for layer in self.plan.stages[self.plan.ends[0] + 1..].iter().flat_map(Stage::layers) {
            weights.copy_names(&format!("{}.", layer.name), &format!("landmark.{}.", layer.name))?;
        }
        Ok(())
    }

    /// Pictures (B, 3, H, W) to features, logits and, if there is one, what the landmark branch sees.
    ///
    /// # Errors
    /// Pictures or weights that do not fit.
    pub fn forward(&self, weights: &mut Weights, pictures: &Tensor, mode: Mode) -> Result<Seen> {
        self.forward_from(weights, &learn::channels_last(pictures)?, 0, mode)
    }

    /// What the frozen stages make of pictures (B, 3, H, W): (B, H', W', C), without a gradient.
    ///
    /// # Errors
    /// As [`Branches::forward`].
    pub fn frozen_part(&self, weights: &mut Weights, pictures: &Tensor) -> Result<Tensor> {
        let stages = self.frozen.map_or(0, |last| last + 1);
        Ok(self.pass(weights, &learn::channels_last(pictures)?, 0..stages, "", Mode::Use)?.detach())
    }

    /// As [`Branches::forward`], from what goes into stage `first` (B, H', W', C) on. The landmark branch needs what both
    /// branches share.
    ///
    /// # Errors
    /// As [`Branches::forward`].
    pub fn forward_from(&self, weights: &mut Weights, x: &Tensor, first: usize, mode: Mode) -> Result<Seen> {
        let (shared, last) = (self.plan.ends[0] + 1, self.plan.stages.len());
        let stem = self.pass(weights, x, first.min(shared)..shared, "", mode)?; // (B, H/4, W/4, c4)
        let top = self.pass(weights, &stem, first.max(shared)..last, "", mode)?; // (B, H/32, W/32, d)
        let top = match self.plan.last_norm {
            true => weights.batch_norm(LAST, &top, None, &Activation::None, mode)?,
            false => top,
        };
        let features = learn::mean(&top)?; // (B, d)
        let logits = weights.linear("head", &features)?; // (B, C)
        let landmark = if self.landmarks > 0 { Some(self.landmark(weights, &stem, mode)?) } else { None };
        let meant = self.meant.then(|| weights.linear("meant", &features)).transpose()?; // (B, C)
        Ok(Seen { features, map: Some(top), logits, meant, landmark })
    }

    /// The landmark branch on what both branches share (B, H/4, W/4, c4).
    fn landmark(&self, weights: &mut Weights, stem: &Tensor, mode: Mode) -> Result<Landmark> {
        let mut levels = vec![stem.clone()]; // strides 4, 8, 16, 32
        for ends in self.plan.ends.windows(2) {
            let below = levels[levels.len() - 1].clone();
            levels.push(self.pass(weights, &below, ends[0] + 1..ends[1] + 1, "landmark.", mode)?);
        }
        let mut pyramid: Option<Tensor> = None;
        for (n, level) in levels.iter().enumerate().rev() {
            let lateral = point(weights, &format!("landmark.lateral{n}"), level)?; // (B, h, w, pyramid)
            pyramid = Some(match pyramid {
                None => lateral,
                Some(above) => {
                    let (_, h, w, _) = lateral.dims4()?;
                    (lateral + learn::enlarge(&above)?.narrow(1, 0, h)?.narrow(2, 0, w)?)?
                }
            });
        }
        let pyramid = pyramid.ok_or_else(|| Error::new("a pyramid without levels"))?; // (B, H/4, W/4, pyramid)
        let maps = learn::channels_first(&point(weights, "landmark.maps", &pyramid)?)?; // (B, L, H/4, W/4)
        Ok(Landmark { features: learn::mean(&pyramid)?, maps })
    }

    /// Some stages in a row on x (B, H, W, C), with `prefix` before the names of their tensors.
    pub(super) fn pass(
        &self,
        weights: &mut Weights,
        x: &Tensor,
        stages: std::ops::Range<usize>,
        prefix: &str,
        mode: Mode,
    ) -> Result<Tensor> {
        let mut x = x.clone();
        for n in stages {
            let stage = &self.plan.stages[n];
            // Stages that do not learn are as in use, and no gradient goes on below them.
            let frozen =
                prefix.is_empty() && mode != Mode::Measure && self.frozen.is_some_and(|last| n <= last);
            let mode = if frozen { Mode::Use } else { mode };
            let bend = self.plan.bend;
            let shortcut = match &stage.shortcut {
                Shortcut::None => None,
                Shortcut::Input => Some(x.clone()),
                Shortcut::Layer(layer) => Some(convolve(weights, prefix, layer, &x, None, None, mode)?),
            };
            let mut y = x.clone();
            for (i, layer) in stage.body.iter().enumerate() {
                let shortcut = shortcut.as_ref().filter(|_| i + 1 == stage.body.len());
                y = convolve(weights, prefix, layer, &y, shortcut, Some(bend), mode)?;
            }
            x = if stage.pool { learn::max_pool(&y, 3, 2, 1)? } else { y };
            if frozen {
                x = x.detach();
            }
        }
        Ok(x)
    }

    /// Whether a tensor of this name learns.
    pub fn learns(&self, name: &str) -> bool {
        let Some(frozen) = self.frozen else { return true };
        let layers = self.plan.stages.iter().take(frozen + 1).flat_map(Stage::layers);
        !layers.into_iter().any(|layer| {
            name.strip_prefix(layer.name.as_str()).is_some_and(|rest| rest.starts_with('.') && rest.len() > 1)
        })
    }
}

/// A convolution `PREFIX NAME` of x (B, H, W, C) with its batch norm, plus `shortcut`, and an activation.
fn convolve(
    weights: &mut Weights,
    prefix: &str,
    layer: &Layer,
    x: &Tensor,
    shortcut: Option<&Tensor>,
    bend: Option<Bend>,
    mode: Mode,
) -> Result<Tensor> {
    let name = format!("{prefix}{}", layer.name);
    let y = learn::conv(x, weights.get(&format!("{name}.weight"))?, layer.shape)?;
    let activation = match bend {
        Some(bend) => bend.activation(|| weights.get(&format!("{name}.slope")).cloned())?,
        None => Activation::None,
    };
    weights.batch_norm(&name, &y, shortcut, &activation, mode)
}

/// A 1x1 convolution with bias.
fn point(weights: &Weights, name: &str, x: &Tensor) -> Result<Tensor> {
    let y = learn::conv(x, weights.get(&format!("{name}.weight"))?, POINT)?;
    Ok(y.broadcast_add(weights.get(&format!("{name}.bias"))?)?)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::nursery::tests::nursery;
    use super::super::ops::tests::{noise, scalar};
    use super::*;
    use candle_core::{DType, Device, Var};

    pub(crate) fn toys() -> [Plan; 4] {
        [
            Plan::mobilenet(2),
            Plan::sface(2),
            Plan::resnet(4, [1, 2, 1, 1], false),
            Plan::resnet(2, [1, 1, 1, 1], true),
        ]
    }

    pub(crate) fn branches(plan: Plan, landmarks: usize) -> Branches {
        Branches { plan, landmarks, frozen: None, meant: false }
    }

    pub(crate) fn furthest(a: &Tensor, b: &Tensor) -> f64 {
        scalar(&(a - b).unwrap().abs().unwrap().max_all().unwrap())
    }

    pub(crate) fn faces(n: usize, side: usize, salt: u64) -> Tensor {
        noise(&[n, 3, side, side], salt).to_dtype(DType::F32).unwrap()
    }

    #[test]
    fn sides_and_widths_are_as_described() {
        for plan in toys() {
            let (d, width) = (plan.channels(), plan.pyramid);
            let net = branches(plan, 5);
            let mut weights = net.grow(&mut nursery(DType::F32)).unwrap();
            for side in [32, 40, 52] {
                let map = net.plan.map_side(side);
                let seen = net.forward(&mut weights, &faces(2, side, 1), Mode::Learn).unwrap();
                assert_eq!(seen.features.dims(), [2, d]);
                assert_eq!(seen.logits.dims(), [2, COUNT]);
                let landmark = seen.landmark.unwrap();
                assert_eq!(landmark.features.dims(), [2, width]);
                assert_eq!(landmark.maps.dims(), [2, 5, map, map]);
            }
            let plain = Branches { landmarks: 0, ..net };
            assert!(plain.forward(&mut weights, &faces(2, 32, 1), Mode::Follow).unwrap().landmark.is_none());
        }
    }

    #[test]
    fn every_tensor_learns_from_the_pass_except_those_frozen() {
        for frozen in [None, Some(0), Some(3)] {
            let net = Branches { frozen, ..branches(Plan::resnet(4, [1, 1, 1, 1], false), 3) };
            let mut weights = net.grow(&mut nursery(DType::F64)).unwrap();
            let seen = net.forward(&mut weights, &noise(&[3, 3, 48, 48], 1), Mode::Learn).unwrap();
            let landmark = seen.landmark.unwrap();
            let loss = (seen.logits.sqr().unwrap().sum_all().unwrap()
                + landmark.maps.sqr().unwrap().sum_all().unwrap())
            .unwrap();
            let grads = loss.backward().unwrap();
            for (name, tensor) in &weights.learnt {
                if name.starts_with("lde.") || name.starts_with("el.") {
                    continue;
                }
                assert_eq!(grads.get(tensor).is_some(), net.learns(name), "{name} {frozen:?}");
            }
            assert!(net.learns("landmark.layer2.0.conv1.weight") && net.learns("head.bias"));
        }
    }

    #[test]
    fn the_gradient_through_the_whole_network_is_that_of_differences() {
        let names =
            ["stem.weight", "dw2.weight", "pw3.gain", "dw12.weight", "landmark.dw4.weight", "head.weight"];
        differences(Plan::mobilenet(2), [&names[..], &["landmark.lateral2.bias"]].concat());
        differences(Plan::sface(2), [&names[..], &["pw5.slope", "dw1.slope", "last.gain"]].concat());
    }

    fn differences(plan: Plan, names: Vec<&str>) {
        let net = branches(plan, 3);
        let mut weights = net.grow(&mut nursery(DType::F64)).unwrap();
        let x = noise(&[3, 3, 32, 32], 1);
        let side = net.plan.map_side(32);
        let pick = noise(&[3, 3, side, side], 2);
        let loss = |weights: &mut Weights| {
            let seen = net.forward(weights, &x, Mode::Follow).unwrap();
            let maps = (seen.landmark.unwrap().maps * &pick).unwrap().sum_all().unwrap();
            (seen.logits.sqr().unwrap().sum_all().unwrap() + maps).unwrap()
        };
        let grads = loss(&mut weights).backward().unwrap();
        for name in names {
            let var = Var::from_tensor(weights.get(name).unwrap()).unwrap();
            let grad = grads.get(&var).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let values = var.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            let i = (0..grad.len()).max_by(|&a, &b| grad[a].abs().total_cmp(&grad[b].abs())).unwrap();
            let mut at = |step: f64| {
                let mut moved = values.clone();
                moved[i] += step;
                var.set(&Tensor::from_vec(moved, var.shape(), &Device::Cpu).unwrap()).unwrap();
                scalar(&loss(&mut weights))
            };
            let slope = (at(1e-6) - at(-1e-6)) / 2e-6;
            at(0.0);
            assert!((slope - grad[i]).abs() < 1e-4 * (1.0 + slope.abs()), "{name}: {slope} {}", grad[i]);
        }
    }
}
