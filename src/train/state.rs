//! Everything that changes while a run learns, and how it is saved and comes back.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use super::checkpoint::Checkpoint;
use super::contrast::Queues;
use super::course::Course;
use super::heads::Priors;
use super::labels::Bank;
use super::learner::Learner;
use super::nursery::Nursery;
use super::optim::Optimiser;
use super::recipe::Recipe;
use super::start::Start;
use super::weights::Weights;
use crate::calibration::Learnt;
use crate::error::{Error, Result};
use crate::expression::COUNT;

/// What of a run can be said in words.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct About {
    /// What decides it.
    pub recipe: Recipe,
    /// The fingerprint of its course.
    pub data: String,
    /// Epochs done.
    pub epoch: usize,
    /// Draws everything that is random.
    pub rng: Xoshiro256PlusPlus,
    /// The best epoch so far.
    pub best: Option<Best>,
    /// How often its labels say what.
    pub priors: Priors,
    /// What it began from and what it learns.
    pub origin: String,
    /// Where what is learnt is a change of the start: what the start expects, and how its logits are to be read.
    #[serde(default)]
    pub expected: Option<Learnt>,
}

/// The best epoch so far, by a score that the caller chose.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The epoch, from 1; 0 is the start.
    pub epoch: usize,
    /// Its score; higher is better.
    pub score: f64,
}

/// A run between two steps.
#[derive(Debug)]
pub struct State {
    /// What can be said of it.
    pub about: About,
    /// The network.
    pub weights: Weights,
    /// The momentum network, if EL is on.
    pub follower: Option<Weights>,
    /// The moving average of the weights, if there is one.
    pub averaged: Option<Weights>,
    /// How the network changes.
    pub optimiser: Optimiser,
    /// The estimated labels.
    pub bank: Bank,
    /// The keys of the last batches.
    pub queues: Queues,
}

/// What a file says beside its tensors: the run, and how often the optimiser has changed each tensor.
type Words = (About, BTreeMap<String, u64>);

/// What decided the run of a file.
///
/// # Errors
/// A file that holds no run.
pub fn recipe_of(file: &Path) -> Result<Recipe> {
    Ok(Checkpoint::<Words>::load(file, &Device::Cpu)?.state.0.recipe)
}

impl State {
    /// A run that has learnt nothing, and whether its weights, random or from a start, must be settled.
    ///
    /// # Errors
    /// A start that does not fit.
    pub fn new(
        recipe: Recipe,
        origin: String,
        net: &Learner,
        course: &Course,
        start: Option<&Start>,
        device: &Device,
    ) -> Result<(Self, bool)> {
        let rng = Xoshiro256PlusPlus::seed_from_u64(recipe.seed);
        let mut nursery = Nursery { rng, dtype: DType::F32, device: device.clone() };
        let (weights, unsettled) = net.grow(&mut nursery, start, recipe.lde.is_some())?;
        let state = Self {
            weights,
            follower: None,
            averaged: None,
            optimiser: Optimiser::new(recipe.optimiser, recipe.decay),
            bank: Bank::new(course.train.labels.iter().map(|label| label.to_vec()), COUNT),
            queues: Queues::new(device)?,
            about: About {
                data: course.fingerprint(),
                epoch: 0,
                rng: nursery.rng,
                best: None,
                priors: Priors::of(&course.train)?,
                origin,
                expected: start.filter(|_| recipe.adapt).and_then(|start| start.card.as_ref()?.learnt()),
                recipe,
            },
        };
        Ok((state, unsettled))
    }

    /// Lets the momentum network and the moving average begin as the network is now, where they are wanted.
    ///
    /// # Errors
    /// The device has no room.
    pub fn follow(&mut self) -> Result<()> {
        let (recipe, weights) = (&self.about.recipe, &self.weights);
        self.averaged = recipe.average.map(|_| weights.copy_in_use()).transpose()?;
        self.follower = recipe.el.map(|_| weights.momentum_copy()).transpose()?;
        Ok(())
    }

    /// Saves everything. Between epochs; within one, the epoch would begin again.
    ///
    /// # Errors
    /// A file that cannot be written; an older one stays.
    pub fn save(&self, file: &Path) -> Result<()> {
        let state = (self.about.clone(), self.optimiser.steps.clone());
        let mut checkpoint = Checkpoint { tensors: BTreeMap::new(), state };
        checkpoint.put("weights/", &self.weights.learnt);
        checkpoint.put("kept/", &self.weights.kept);
        if let Some(follower) = &self.follower {
            checkpoint.put("follower/", &follower.learnt);
        }
        if let Some(averaged) = &self.averaged {
            checkpoint.put("averaged/", &averaged.learnt);
            checkpoint.put("averaged.kept/", &averaged.kept);
        }
        checkpoint.put("first/", &self.optimiser.first);
        checkpoint.put("second/", &self.optimiser.second);
        let bank = Tensor::from_slice(&self.bank.rows, (self.bank.len(), COUNT), &Device::Cpu)?;
        let mut state = BTreeMap::from([("bank".to_owned(), bank)]);
        if !self.queues.labels.is_empty() {
            let labels = Tensor::from_slice(&self.queues.labels, self.queues.labels.len(), &Device::Cpu)?;
            state.insert("queue.labels".into(), labels);
            state.insert("queue.expression".into(), self.queues.expression.clone());
            state.insert("queue.landmark".into(), self.queues.landmark.clone());
        }
        checkpoint.put("state/", &state);
        checkpoint.save(file)
    }

    /// What [`State::save`] wrote.
    ///
    /// # Errors
    /// A file that cannot be read or holds no run.
    pub fn load(file: &Path, device: &Device) -> Result<Self> {
        let mut checkpoint = Checkpoint::<Words>::load(file, device)?;
        let mut weights = Weights::default();
        for (name, tensor) in checkpoint.take("weights/") {
            weights.learn(name, &tensor)?;
        }
        weights.kept = checkpoint.take("kept/");
        let averaged =
            Weights { learnt: checkpoint.take("averaged/"), kept: checkpoint.take("averaged.kept/") };
        let (first, second) = (checkpoint.take("first/"), checkpoint.take("second/"));
        let (follower, kept) = (checkpoint.take("follower/"), weights.kept.clone());
        let mut state = checkpoint.take("state/");
        let mut part =
            |name: &str| state.remove(name).ok_or_else(|| Error::new(format!("it has no '{name}'")));
        let bank = Bank { rows: part("bank")?.flatten_all()?.to_vec1()?, classes: COUNT };
        // Safetensors can hold no empty tensors on every reader, so empty queues are not written.
        let queues = match part("queue.labels") {
            Ok(labels) => Queues {
                expression: part("queue.expression")?,
                landmark: part("queue.landmark")?,
                labels: labels.to_vec1()?,
            },
            Err(_) => Queues::new(device)?,
        };
        let (about, steps) = checkpoint.state;
        let recipe = &about.recipe;
        Ok(Self {
            weights,
            follower: recipe.el.is_some().then_some(Weights { learnt: follower, kept }),
            averaged: recipe.average.is_some().then_some(averaged),
            optimiser: Optimiser { steps, first, second, ..Optimiser::new(recipe.optimiser, recipe.decay) },
            bank,
            queues,
            about,
        })
    }
}
