//! Learning a classifier on the features of a backbone that stays as it is: multinomial logistic regression on
//! soft labels, by Adam with weight decay on mini-batches (Kingma and Ba 2015; Loshchilov and Hutter 2019).

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor, Var};
use candle_nn::{AdamW, Optimizer, ParamsAdamW};
use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::error::{Error, Result};
use crate::expression::{COUNT, Distribution, Expression};
use crate::net::lanet::Pool;
use crate::net::{Card, Model, Trunk};

/// Added to each feature's variance: what half precision cannot tell apart shall not be blown up.
const LEAST_VARIANCE: f64 = 1e-4;

/// How the classifier learns.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// Times that every sample is seen.
    pub epochs: usize,
    /// Samples to a step.
    pub batch: usize,
    /// The first step's length; it falls to zero along a cosine.
    pub rate: f64,
    /// The share of the weights that a step of length 1 takes away.
    pub decay: f64,
    /// Decides the order of the samples.
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Self {
        Self { epochs: 30, batch: 256, rate: 1e-3, decay: 0.1, seed: 0 }
    }
}

/// The features of some samples, and what to learn or to check for each.
#[derive(Debug, Clone)]
pub struct Features {
    /// (samples, features), f32
    pub values: Tensor,
    /// (samples, expressions), f32: rows sum to 1
    pub targets: Tensor,
}

impl Features {
    /// Puts features and targets together.
    ///
    /// # Errors
    /// Another number of targets than of samples, or none.
    pub fn new(values: Tensor, targets: &[Distribution]) -> Result<Self> {
        if targets.is_empty() || values.dim(0)? != targets.len() {
            return Err(Error::new(format!(
                "{} targets do not fit features {:?}",
                targets.len(),
                values.dims()
            )));
        }
        let flat: Vec<f32> = targets.iter().flat_map(|t| t.0).collect();
        let targets =
            Tensor::from_vec(flat, (targets.len(), COUNT), &Device::Cpu)?.to_device(values.device())?;
        Ok(Self { values, targets })
    }

    /// How many samples there are.
    pub fn count(&self) -> usize {
        self.targets.dim(0).unwrap_or(0)
    }
}

/// What an epoch came to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Epoch {
    /// Its number, from 1.
    pub number: usize,
    /// The mean cross-entropy while learning.
    pub loss: f64,
}

/// A classifier while it learns: an iterator of epochs.
pub struct Classifier {
    settings: Settings,
    train: Features,
    /// (1, features): what makes the features' means 0 and deviations 1.
    mean: Tensor,
    deviation: Tensor,
    weight: Var, // (features, expressions)
    bias: Var,   // (1, expressions)
    optimiser: AdamW,
    rng: Xoshiro256PlusPlus,
    order: Vec<u32>,
    epoch: usize,
    step: usize,
}

impl Classifier {
    /// A classifier that knows nothing yet.
    ///
    /// # Errors
    /// Features that the device cannot work on.
    pub fn new(train: Features, settings: Settings) -> Result<Self> {
        let values = &train.values;
        let (count, features) = values.dims2()?;
        let mean = values.mean_keepdim(0)?;
        // Mean of squares minus square of mean would cancel; chunks keep the difference small in memory.
        let mut squares = Tensor::zeros((1, features), DType::F32, values.device())?;
        for start in (0..count).step_by(4096) {
            let part = values.narrow(0, start, 4096.min(count - start))?.broadcast_sub(&mean)?;
            squares = (squares + part.sqr()?.sum_keepdim(0)?)?;
        }
        let deviation = (squares / count as f64)?.affine(1.0, LEAST_VARIANCE)?.sqrt()?;
        let weight = Var::zeros((features, COUNT), DType::F32, values.device())?;
        let bias = Var::zeros((1, COUNT), DType::F32, values.device())?;
        let rates = ParamsAdamW { lr: settings.rate, weight_decay: settings.decay, ..ParamsAdamW::default() };
        Ok(Self {
            optimiser: AdamW::new(vec![weight.clone(), bias.clone()], rates)?,
            settings,
            mean,
            deviation,
            weight,
            bias,
            rng: Xoshiro256PlusPlus::seed_from_u64(settings.seed),
            order: (0..count as u32).collect(),
            train,
            epoch: 0,
            step: 0,
        })
    }

    /// The weights (features, expressions) and bias (expressions) for features as they come: the standardisation is
    /// folded in.
    ///
    /// # Errors
    /// The device fails.
    pub fn weights(&self) -> Result<(Tensor, Tensor)> {
        let weight = self.weight.as_detached_tensor().broadcast_div(&self.deviation.t()?)?;
        let bias = (self.bias.as_detached_tensor() - self.mean.matmul(&weight)?)?.squeeze(0)?;
        Ok((weight, bias))
    }

    /// Logits (samples, expressions).
    ///
    /// # Errors
    /// Features of another width.
    pub fn logits(&self, values: &Tensor) -> Result<Tensor> {
        let (weight, bias) = self.weights()?;
        Ok(values.matmul(&weight)?.broadcast_add(&bias)?)
    }

    /// The model of a backbone with this classifier as it is now; the card is the backbone's but for what a
    /// classifier changes.
    ///
    /// # Errors
    /// Pools that do not fit the features that were learnt from.
    pub fn model(&self, backbone: &Model, pools: &[Pool]) -> Result<Model> {
        let net = Trunk::from_model(backbone)?;
        let (weight, bias) = self.weights()?;
        let weight = weight.t()?.to_device(&Device::Cpu)?; // (C, F)
        let mut tensors = HashMap::new();
        for name in backbone.names().into_iter().filter(|name| !name.starts_with("head.") && !name.starts_with("meant.")) {
            tensors.insert(name.to_owned(), backbone.tensor(name)?.clone());
        }
        let mut start = 0;
        for &Pool { stage, grid } in pools {
            let channels = net.channels(stage);
            let part = weight.narrow(1, start, channels * grid * grid)?;
            tensors.insert(net.plan().head(stage), part.reshape((COUNT, channels, grid, grid))?);
            start += channels * grid * grid;
        }
        tensors.insert("head.bias".into(), bias.to_device(&Device::Cpu)?);
        let card = Card {
            network: format!("lanet-{}", backbone.card.network.trim_start_matches("lanet-")),
            classes: Expression::ALL.to_vec(),
            // The classifiers that they belonged to are gone.
            mix: None,
            prior: None,
            priors: None,
            results: toml::Table::new(),
            ..backbone.card.clone()
        };
        Ok(Model::new(card, tensors))
    }

    fn learn(&mut self) -> Result<Epoch> {
        self.order.shuffle(&mut self.rng);
        self.epoch += 1;
        let steps = self.order.len().div_ceil(self.settings.batch);
        let total = (steps * self.settings.epochs) as f64;
        let mut loss = 0.0;
        for n in 0..steps {
            let batch =
                &self.order[n * self.settings.batch..self.order.len().min((n + 1) * self.settings.batch)];
            let picked = Tensor::new(batch, self.train.values.device())?;
            let x = self.train.values.index_select(&picked, 0)?; // (B, F)
            let x = x.broadcast_sub(&self.mean)?.broadcast_div(&self.deviation)?;
            let target = self.train.targets.index_select(&picked, 0)?; // (B, C)
            let logits = x.matmul(&self.weight)?.broadcast_add(&self.bias)?; // (B, C)
            let entropy = (candle_nn::ops::log_softmax(&logits, 1)? * target)?.sum_all()?.neg()?;
            loss += f64::from(entropy.to_scalar::<f32>()?);
            let done = self.step as f64 / total;
            self.optimiser
                .set_learning_rate(self.settings.rate * 0.5 * (1.0 + (std::f64::consts::PI * done).cos()));
            self.optimiser.backward_step(&(entropy / batch.len() as f64)?)?;
            self.step += 1;
        }
        let loss = loss / self.order.len() as f64;
        if !loss.is_finite() {
            return Err(Error::new(format!("the loss of epoch {} is not a number", self.epoch))
                .advice("learn with a smaller --rate"));
        }
        Ok(Epoch { number: self.epoch, loss })
    }
}

impl Iterator for Classifier {
    type Item = Result<Epoch>;

    fn next(&mut self) -> Option<Self::Item> {
        (self.epoch < self.settings.epochs).then(|| self.learn())
    }
}
