//! How weights change: Adam, AdamW and SGD with momentum, with a state that can be saved, and schedules of the rate.
//!
//! Sources: Kingma and Ba 2015 (arXiv 1412.6980), algorithm 1; Loshchilov and Hutter 2019 (arXiv 1711.05101),
//! algorithm 2; SGD as in PyTorch: v = 0.9 v + g, w = w - rate v.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::str::FromStr;

use candle_core::Tensor;
use candle_core::backprop::GradStore;
use serde::{Deserialize, Serialize};

use super::weights::Weights;
use crate::error::{Error, Result};
use crate::kernels::learn;

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const MOMENTUM: f64 = 0.9;

/// Which rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Method {
    Adam,
    AdamW,
    Sgd,
}

impl FromStr for Method {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "adam" => Ok(Self::Adam),
            "adamw" => Ok(Self::AdamW),
            "sgd" => Ok(Self::Sgd),
            _ => {
                Err(Error::usage(format!("no optimiser is called '{name}'")).advice("use adam, adamw or sgd"))
            }
        }
    }
}

/// How the rate falls over a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// Not at all.
    Constant,
    /// In a line to 0.
    Linear,
    /// As half a cosine to 0.
    Cosine,
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "constant" => Ok(Self::Constant),
            "linear" => Ok(Self::Linear),
            "cosine" => Ok(Self::Cosine),
            _ => Err(Error::usage(format!("no schedule is called '{name}'"))
                .advice("use constant, linear or cosine")),
        }
    }
}

impl Schedule {
    /// The part of the rate that is used when `done` of 1 of the run is over.
    pub fn share(self, done: f64) -> f64 {
        let done = done.clamp(0.0, 1.0);
        match self {
            Self::Constant => 1.0,
            Self::Linear => 1.0 - done,
            Self::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * done).cos()),
        }
    }
}

/// A rule and its state.
#[derive(Debug, Clone)]
pub struct Optimiser {
    /// The rule.
    pub method: Method,
    /// How much weights shrink: added to the gradient (Adam, SGD) or, times the rate, taken from the weight
    /// (AdamW). Only weights with two axes or more shrink: not biases, gains and shifts.
    pub decay: f64,
    /// Steps done, by name: some tensors begin to learn later than others.
    pub steps: BTreeMap<String, u64>,
    /// First moments (all rules), by name.
    pub first: BTreeMap<String, Tensor>,
    /// Second moments (Adam and AdamW), by name.
    pub second: BTreeMap<String, Tensor>,
}

impl Optimiser {
    /// A rule without state.
    pub fn new(method: Method, decay: f64) -> Self {
        Self { method, decay, steps: BTreeMap::new(), first: BTreeMap::new(), second: BTreeMap::new() }
    }

    /// Changes every tensor that `learns` and has a gradient, at `rate`.
    ///
    /// # Errors
    /// A gradient that does not fit its tensor.
    pub fn step(
        &mut self,
        weights: &Weights,
        grads: &GradStore,
        rate: f64,
        learns: impl Fn(&str) -> bool,
    ) -> Result<()> {
        for (name, tensor) in &weights.learnt {
            let Some(grad) = grads.get(tensor).filter(|_| learns(name)) else { continue };
            let decay = if tensor.rank() >= 2 { self.decay } else { 0.0 };
            let mut grad = grad.detach();
            if decay > 0.0 && self.method != Method::AdamW {
                grad = (grad + (tensor.detach() * decay)?)?;
            }
            let steps = self.steps.entry(name.clone()).or_default();
            *steps += 1;
            let steps = *steps as f64;
            let mut moment = |squared: bool, keep: f64, add: f64| -> Result<Tensor> {
                let moments = if squared { &mut self.second } else { &mut self.first };
                let moment = match moments.entry(name.clone()) {
                    Entry::Occupied(known) => known.into_mut(),
                    Entry::Vacant(new) => new.insert(tensor.zeros_like()?.detach()),
                };
                learn::blend(moment, &grad, keep, add, squared)?;
                Ok(moment.clone())
            };
            match self.method {
                Method::Sgd => learn::blend(tensor, &moment(false, MOMENTUM, 1.0)?, 1.0, -rate, false)?,
                Method::Adam | Method::AdamW => {
                    let first = moment(false, BETA_1, 1.0 - BETA_1)?;
                    let second = moment(true, BETA_2, 1.0 - BETA_2)?;
                    let [first_share, second_share] = [BETA_1, BETA_2].map(|beta| 1.0 - beta.powf(steps));
                    let shrink = if self.method == Method::AdamW { 1.0 - rate * decay } else { 1.0 };
                    learn::descend(tensor, &first, &second, rate / first_share, 1.0 / second_share, shrink)?;
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// w after some steps on the loss 3 w_0^2 + w_1, from w = (1, -2), as (1, 2) so that it decays.
    fn run(method: Method, decay: f64, steps: usize) -> Vec<f64> {
        let mut weights = Weights::default();
        weights.learn("w", &Tensor::new(&[[1f64, -2.0]], &Device::Cpu).unwrap()).unwrap();
        let mut optimiser = Optimiser::new(method, decay);
        for _ in 0..steps {
            let w = weights.get("w").unwrap();
            let parts = (w.narrow(1, 0, 1).unwrap().sqr().unwrap() * 3.0).unwrap();
            let loss = (parts + w.narrow(1, 1, 1).unwrap()).unwrap().sum_all().unwrap();
            optimiser.step(&weights, &loss.backward().unwrap(), 0.1, |_| true).unwrap();
        }
        weights.get("w").unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    fn near(found: &[f64], expected: [f64; 2]) {
        assert!(found.iter().zip(expected).all(|(f, e)| (f - e).abs() < 1e-6), "{found:?} {expected:?}");
    }

    #[test]
    fn two_steps_by_hand() {
        // SGD: v = 6, then 0.9 * 6 + 6 * 0.4 = 7.8; and 1, then 1.9.
        near(&run(Method::Sgd, 0.0, 1), [0.4, -2.1]);
        near(&run(Method::Sgd, 0.0, 2), [0.4 - 0.78, -2.29]);
        // The first step of Adam is the rate, whatever the gradient.
        near(&run(Method::Adam, 0.0, 1), [0.9, -2.1]);
        // m = (0.9 * 0.6 + 0.1 * 5.4) / 0.19, v = (0.999 * 0.036 + 0.001 * 29.16) / (1 - 0.999^2).
        let (m, v) = (1.08 / 0.19, (0.999 * 0.036 + 0.02916) / (1.0f64 - 0.998_001));
        near(&run(Method::Adam, 0.0, 2), [0.9 - 0.1 * m / v.sqrt(), -2.2]);
        // AdamW takes rate * decay * w as well; Adam hides it in the gradient.
        near(&run(Method::AdamW, 0.5, 1), [0.9 - 0.05, -2.1 + 0.1]);
        near(&run(Method::Sgd, 0.5, 1), [0.4 - 0.05, -2.1 + 0.1]);
    }

    #[test]
    fn what_begins_to_learn_later_begins_as_others_did() {
        let mut weights = Weights::default();
        weights.learn("w", &Tensor::new(&[1f64], &Device::Cpu).unwrap()).unwrap();
        weights.learn("late", &Tensor::new(&[1f64], &Device::Cpu).unwrap()).unwrap();
        let mut optimiser = Optimiser::new(Method::Adam, 0.0);
        for step in 0..6 {
            let loss = (weights.get("w").unwrap() * 3.0).unwrap();
            let loss = if step < 5 { loss } else { (loss + weights.get("late").unwrap()).unwrap() };
            optimiser.step(&weights, &loss.sum_all().unwrap().backward().unwrap(), 0.1, |_| true).unwrap();
        }
        assert!((weights.get("late").unwrap().to_vec1::<f64>().unwrap()[0] - 0.9).abs() < 1e-6);
    }

    #[test]
    fn what_does_not_learn_stays() {
        let mut weights = Weights::default();
        weights.learn("w", &Tensor::new(&[1f64], &Device::Cpu).unwrap()).unwrap();
        let loss = weights.get("w").unwrap().sqr().unwrap().sum_all().unwrap();
        let mut optimiser = Optimiser::new(Method::Adam, 0.0);
        optimiser.step(&weights, &loss.backward().unwrap(), 0.1, |_| false).unwrap();
        assert_eq!(weights.get("w").unwrap().to_vec1::<f64>().unwrap(), [1.0]);
        assert!(optimiser.first.is_empty());
    }

    #[test]
    fn schedules_end_at_zero() {
        assert_eq!(Schedule::Linear.share(0.25), 0.75);
        assert!((Schedule::Cosine.share(0.5) - 0.5).abs() < 1e-12);
        for schedule in [Schedule::Linear, Schedule::Cosine] {
            assert!(schedule.share(0.0) == 1.0 && schedule.share(1.0).abs() < 1e-12);
        }
        assert!("sgd".parse::<Method>().is_ok() && "lion".parse::<Method>().unwrap_err().is_usage());
        assert!("step".parse::<Schedule>().unwrap_err().is_usage());
    }
}
