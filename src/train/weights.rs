//! The tensors of a network that learns, by name: those that the optimiser changes, and the statistics that batch
//! norm keeps. A network is a function of them, so that the same network runs with two sets of weights.

use std::collections::BTreeMap;

use candle_core::{DType, Tensor, Var};

use super::ops;
use crate::error::{Error, Result};
use crate::kernels::{Activation, learn};

/// How much of a batch's statistics goes into the kept ones, as in PyTorch.
const STATISTICS_STEP: f64 = 0.1;

/// Which statistics batch norm uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Those of the batch, which also move the kept ones.
    Learn,
    /// Those of the batch; the kept ones stay: for the momentum network.
    Follow,
    /// The kept ones: as in use.
    Use,
    /// None: folded `scale` and `shift` are applied while the statistics of what they see are gathered.
    Measure,
}

/// Named tensors, in the order of their names.
#[derive(Debug, Clone, Default)]
pub struct Weights {
    /// What the optimiser changes: variables, or plain tensors in a momentum copy.
    pub learnt: BTreeMap<String, Tensor>,
    /// What batch norm keeps: `NAME.mean` and `NAME.variance` (C).
    pub kept: BTreeMap<String, Tensor>,
}

impl Weights {
    /// A tensor to learn.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn get(&self, name: &str) -> Result<&Tensor> {
        self.learnt.get(name).ok_or_else(|| {
            Error::new(format!("the network has no tensor '{name}'"))
                .advice("its weights belong to another network")
        })
    }

    /// Adds a tensor to learn, as a variable.
    ///
    /// # Errors
    /// The device has no room.
    pub fn learn(&mut self, name: impl Into<String>, tensor: &Tensor) -> Result<()> {
        let variable = Var::from_tensor(&tensor.detach().copy()?)?;
        self.learnt.insert(name.into(), variable.into_inner());
        Ok(())
    }

    /// Copies every tensor whose name begins with `from` to the same name with `to` in its place.
    ///
    /// # Errors
    /// The device has no room.
    pub fn copy_names(&mut self, from: &str, to: &str) -> Result<()> {
        let renamed = |name: &String| name.strip_prefix(from).map(|rest| format!("{to}{rest}"));
        for (name, tensor) in self.learnt.clone() {
            if let Some(name) = renamed(&name) {
                self.learn(name, &tensor)?;
            }
        }
        for (name, tensor) in self.kept.clone() {
            if let Some(name) = renamed(&name) {
                self.kept.insert(name, tensor);
            }
        }
        Ok(())
    }

    /// A copy that no gradient reaches; frozen layers need the statistics.
    ///
    /// # Errors
    /// The device has no room.
    pub fn momentum_copy(&self) -> Result<Self> {
        let copy = |(name, t): (&String, &Tensor)| Ok((name.clone(), t.detach().copy()?));
        Ok(Self { learnt: self.learnt.iter().map(copy).collect::<Result<_>>()?, kept: self.kept.clone() })
    }

    /// Moves every tensor towards that of `other`: self = momentum * self + (1 - momentum) * other.
    ///
    /// # Errors
    /// `other` lacks a tensor.
    pub fn follow(&mut self, other: &Self, momentum: f64) -> Result<()> {
        for (name, tensor) in &self.learnt {
            learn::blend(tensor, other.get(name)?, momentum, 1.0 - momentum, false)?;
        }
        Ok(())
    }

    /// A copy of what is left in use, for [`Weights::average`].
    ///
    /// # Errors
    /// The device has no room.
    pub fn copy_in_use(&self) -> Result<Self> {
        let mut copy = self.momentum_copy()?;
        let gone = |name: &str| ["landmark.", "lde.", "el."].iter().any(|prefix| name.starts_with(prefix));
        copy.learnt.retain(|name, _| !gone(name));
        copy.kept.retain(|name, _| !gone(name));
        Ok(copy)
    }

    /// As [`Weights::follow`], with the statistics of batch norm as well.
    ///
    /// # Errors
    /// `other` lacks a tensor.
    pub fn average(&mut self, other: &Self, keep: f64) -> Result<()> {
        self.follow(other, keep)?;
        let moves = |name: &str| name.ends_with(".mean") || name.ends_with(".variance");
        for (name, kept) in self.kept.iter_mut().filter(|(name, _)| moves(name)) {
            if let Some(new) = other.kept.get(name) {
                *kept = ((&*kept * keep)? + (new.detach() * (1.0 - keep))?)?;
            }
        }
        Ok(())
    }

    /// x (N, i) times `NAME.weight` (o, i) plus `NAME.bias` (o): (N, o).
    ///
    /// # Errors
    /// Tensors that are missing or do not fit.
    pub fn linear(&self, name: &str, x: &Tensor) -> Result<Tensor> {
        let weight = self.get(&format!("{name}.weight"))?;
        let bias = self.get(&format!("{name}.bias"))?;
        Ok(x.matmul(&weight.t()?)?.broadcast_add(bias)?)
    }

    /// Batch norm `NAME` of x (B, H, W, C): gain, bias and, as `mode` says, statistics; then the residual and the activation.
    ///
    /// # Errors
    /// Tensors that are missing or do not fit.
    pub fn batch_norm(
        &mut self,
        name: &str,
        x: &Tensor,
        residual: Option<&Tensor>,
        activation: &Activation,
        mode: Mode,
    ) -> Result<Tensor> {
        let (mean_name, variance_name) = (format!("{name}.mean"), format!("{name}.variance"));
        let (gain, bias) = (self.get(&format!("{name}.gain"))?, self.get(&format!("{name}.bias"))?);
        let fixed = match mode {
            Mode::Learn | Mode::Follow => {
                let (y, moments) = learn::batch_norm(x, gain, bias, residual, activation)?;
                if mode == Mode::Learn {
                    let n = (x.elem_count() / x.dim(3)?.max(1)) as f64;
                    let unbiased = (moments.variance * (n / (n - 1.0).max(1.0)))?;
                    for (name, new) in [(mean_name, moments.mean), (variance_name, unbiased)] {
                        if let Some(kept) = self.kept.get_mut(&name) {
                            *kept =
                                ((&*kept * (1.0 - STATISTICS_STEP))? + (new.detach() * STATISTICS_STEP)?)?;
                        }
                    }
                }
                return Ok(y);
            }
            Mode::Use => match (self.kept.get(&mean_name), self.kept.get(&variance_name)) {
                (Some(mean), Some(variance)) => ops::normalise(x, mean, variance, gain, bias)?,
                _ => return Err(Error::new(format!("the batch norm '{name}' has no statistics"))),
            },
            Mode::Measure => {
                let y = x.broadcast_mul(gain)?.broadcast_add(bias)?;
                self.measure(name, x)?;
                y
            }
        };
        let sum = match residual {
            Some(residual) => (fixed + residual)?,
            None => fixed,
        };
        Ok(match activation {
            Activation::Relu => sum.relu()?,
            Activation::Relu6 => sum.clamp(0f32, 6f32)?,
            Activation::None => sum,
            Activation::Prelu(slope) => (sum.relu()? - sum.neg()?.relu()?.broadcast_mul(slope)?)?,
        })
    }

    /// Gathers the statistics of what a layer sees: mean and variance over all batches so far (Chan, Golub and
    /// LeVeque 1979; batches count alike). `NAME.count` (1) counts them.
    pub(super) fn measure(&mut self, name: &str, x: &Tensor) -> Result<()> {
        let names = ["mean", "variance", "count"].map(|part| format!("{name}.{part}"));
        let x = x.detach();
        let mean = x.mean((0, 1, 2))?; // (C)
        let variance = x.broadcast_sub(&mean)?.sqr()?.mean((0, 1, 2))?;
        let k = match self.kept.get(&names[2]) {
            Some(count) => {
                count.to_dtype(DType::F64)?.to_vec1::<f64>()?.first().copied().unwrap_or(0.0) + 1.0
            }
            None => 1.0,
        };
        let (mean, variance) = match (k > 1.0, self.kept.get(&names[0]), self.kept.get(&names[1])) {
            (true, Some(old_mean), Some(old_variance)) => {
                let step = (mean - old_mean)?;
                let between = (step.sqr()? * ((k - 1.0) / k))?;
                let spread = ((variance - old_variance)? + between)?;
                ((old_mean + (step / k)?)?, (old_variance + (spread / k)?)?)
            }
            _ => (mean, variance),
        };
        let count = Tensor::new(&[k], x.device())?.to_dtype(x.dtype())?;
        self.kept.extend(names.into_iter().zip([mean, variance, count]));
        Ok(())
    }

    /// After [`Mode::Measure`] passes: gains and biases become those with which batch norm gives the outputs of
    /// the folded form: gain = scale sqrt(variance + 1e-5), bias = shift + scale mean.
    ///
    /// # Errors
    /// The device has no room.
    pub fn settle(&mut self) -> Result<()> {
        let measured: Vec<String> =
            self.kept.keys().filter_map(|name| name.strip_suffix(".count").map(str::to_owned)).collect();
        for name in measured {
            self.kept.remove(&format!("{name}.count"));
            let (gain_name, bias_name) = (format!("{name}.gain"), format!("{name}.bias"));
            let (Some(mean), Some(variance)) =
                (self.kept.get(&format!("{name}.mean")), self.kept.get(&format!("{name}.variance")))
            else {
                continue;
            };
            let scale = self.get(&gain_name)?;
            let gain = (scale * (variance + ops::EPSILON)?.sqrt()?)?;
            let bias = (self.get(&bias_name)? + (scale * mean)?)?;
            self.learn(gain_name, &gain)?;
            self.learn(bias_name, &bias)?;
        }
        Ok(())
    }

    /// How many numbers are learnt.
    pub fn count(&self) -> usize {
        self.learnt.values().map(Tensor::elem_count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::super::nursery::tests::nursery;
    use super::super::ops::tests::{noise, scalar};
    use super::*;
    use candle_core::Device;

    fn furthest(a: &Tensor, b: &Tensor) -> f64 {
        scalar(&(a - b).unwrap().abs().unwrap().max_all().unwrap())
    }

    fn norm(weights: &mut Weights, x: &Tensor, mode: Mode) -> Tensor {
        weights.batch_norm("n", x, None, &Activation::None, mode).unwrap()
    }

    #[test]
    fn batch_norm_put_in_behind_folded_weights_changes_nothing() {
        let mut weights = Weights::default();
        weights.learn("n.gain", &noise(&[3], 1)).unwrap();
        weights.learn("n.bias", &noise(&[3], 2)).unwrap();
        let batches = [3, 4, 5].map(|salt| (noise(&[4, 5, 5, 3], salt) * 7.0).unwrap());
        let before: Vec<_> = batches.iter().map(|x| norm(&mut weights, x, Mode::Measure)).collect();
        weights.settle().unwrap();
        for (x, before) in batches.iter().zip(&before) {
            assert!(furthest(&norm(&mut weights, x, Mode::Use), before) < 1e-9);
        }
        // The statistics are those of all batches together.
        let all = Tensor::cat(&batches, 0).unwrap();
        assert!(furthest(&weights.kept["n.mean"], &all.mean((0, 1, 2)).unwrap()) < 1e-12);
        let together = Tensor::cat(&before, 0).unwrap();
        assert!(furthest(&norm(&mut weights, &all, Mode::Follow), &together) < 1e-9);
        assert_eq!(weights.kept.len(), 2);
        // Residual and activation come last.
        let y = weights.batch_norm("n", &all, Some(&all), &Activation::Relu6, Mode::Use).unwrap();
        let expected = (together + &all).unwrap().clamp(0f64, 6f64).unwrap();
        assert!(furthest(&y, &expected) < 1e-9);
    }

    #[test]
    fn kept_statistics_move_by_a_tenth_and_only_when_learning() {
        let mut weights = Weights::default();
        nursery(DType::F64).batch_norm(&mut weights, "n", 2).unwrap();
        let x = noise(&[2, 3, 3, 2], 1);
        norm(&mut weights, &x, Mode::Follow);
        norm(&mut weights, &x, Mode::Use);
        assert_eq!(weights.kept["n.mean"].to_vec1::<f64>().unwrap(), [0.0, 0.0]);
        norm(&mut weights, &x, Mode::Learn);
        let mean = x.mean((0, 1, 2)).unwrap();
        let variance = x.broadcast_sub(&mean).unwrap().sqr().unwrap().mean((0, 1, 2)).unwrap();
        assert!(furthest(&weights.kept["n.mean"], &(mean * 0.1).unwrap()) < 1e-12);
        let expected = ((variance * (0.1 * 18.0 / 17.0)).unwrap() + 0.9).unwrap();
        assert!(furthest(&weights.kept["n.variance"], &expected) < 1e-12);
    }

    #[test]
    fn a_momentum_copy_follows_slowly_and_takes_no_gradient() {
        let mut weights = Weights::default();
        weights.learn("a", &Tensor::new(&[1f64, 2.0], &Device::Cpu).unwrap()).unwrap();
        let mut copy = weights.momentum_copy().unwrap();
        assert!(!copy.learnt["a"].is_variable() && weights.learnt["a"].is_variable());
        let var = Var::from_tensor(&weights.learnt["a"]).unwrap();
        var.set(&Tensor::new(&[11f64, 12.0], &Device::Cpu).unwrap()).unwrap();
        assert_eq!(copy.learnt["a"].to_vec1::<f64>().unwrap(), [1.0, 2.0]);
        copy.follow(&weights, 0.75).unwrap();
        assert_eq!(copy.learnt["a"].to_vec1::<f64>().unwrap(), [3.5, 4.5]);
    }
}
