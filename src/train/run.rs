//! A run of training: its epochs and steps, and how it is begun, judged and resumed.
//!
//! A [`Training`] is an iterator: each item is a step or the end of an epoch. Whoever iterates shows progress, judges
//! the network, saves it, and stops by not asking for more.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};

use super::batch::{Batch, Lesson, Look};
use super::branches::Branches;
use super::landmarks;
use super::order::Order;
use super::pictures::Augmentation;
use super::recipe::Recipe;
use super::remembered::Remembered;
use super::state::{Best, State};
use super::step::{Losses, step};
use crate::calibration::Learnt;
use crate::error::{Context, Error, Result};
use crate::expression::COUNT;
use crate::flow::Stream;
use crate::kernels;
use crate::net::{LaNet, Plan, Trunk};

/// What a training tells.
#[derive(Debug, Clone)]
pub enum Event {
    /// A step is done.
    Step {
        /// The epoch, from 1.
        epoch: usize,
        /// Steps done in it.
        step: usize,
        /// Steps that it has.
        steps: usize,
        /// Its losses.
        losses: Losses,
    },
    /// An epoch is done: the moment to judge and to save.
    Epoch {
        /// The epoch, from 1.
        epoch: usize,
        /// Mean losses.
        losses: Losses,
        /// The rate of its last step.
        rate: f64,
        /// Samples seen in it.
        images: usize,
        /// How long it took.
        took: Duration,
    },
}

/// A run of training.
#[derive(Debug)]
pub struct Training {
    state: State,
    net: Branches,
    lesson: Arc<Lesson>,
    classes: Vec<usize>,
    device: Device,
    remembered: Option<Remembered>,
    running: Option<Running>,
    failed: bool,
}

/// The epoch under way.
struct Running {
    batches: Stream<Batch>,
    began: Instant,
    step: usize,
    losses: Losses,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Running(step {})", self.step)
    }
}

impl Training {
    /// Begins a run, with random weights or those of a file for the backbone.
    ///
    /// # Errors
    /// A recipe that cannot work with these data, or a file that does not fit.
    pub fn begin(recipe: Recipe, lesson: Lesson, start: Option<&Path>, device: &Device) -> Result<Self> {
        let plan = recipe.backbone.plan();
        Self::begin_with(recipe, plan, lesson, start, device)
    }

    fn begin_with(
        recipe: Recipe,
        plan: Plan,
        lesson: Lesson,
        start: Option<&Path>,
        device: &Device,
    ) -> Result<Self> {
        let (net, lesson) = prepared(&recipe, plan, lesson, device)?;
        let mut state = State::new(recipe, &net, &lesson, device)?;
        let folded = match start {
            Some(file) => net.start(&mut state.weights, file, device, DType::F32)?,
            None => false,
        };
        let mut training = Self::of(state, net, lesson, device);
        if folded {
            training.settle()?;
        }
        if training.recipe().average.is_some() {
            training.state.averaged = Some(training.state.weights.copy_in_use()?);
        }
        if training.recipe().el.is_some() {
            training.state.follower = Some(training.state.weights.momentum_copy()?);
        }
        training.remember()?;
        Ok(training)
    }

    /// Goes on with a run that was saved.
    ///
    /// # Errors
    /// A file that holds no run, or one with other data.
    pub fn resume(file: &Path, lesson: Lesson, device: &Device) -> Result<Self> {
        let state = State::load(file, device)?;
        let plan = state.about.recipe.backbone.plan();
        Self::resume_with(state, plan, lesson, device)
            .with_context(|| format!("the run of {} cannot go on", file.display()))
    }

    fn resume_with(state: State, plan: Plan, lesson: Lesson, device: &Device) -> Result<Self> {
        let (net, lesson) = prepared(&state.about.recipe, plan, lesson, device)?;
        if lesson.fingerprint() != state.about.data {
            return Err(
                Error::new("it began with other data").advice("give the same --data and label options")
            );
        }
        let mut training = Self::of(state, net, lesson, device);
        training.remember()?;
        Ok(training)
    }

    fn of(state: State, net: Branches, lesson: Lesson, device: &Device) -> Self {
        Self {
            state,
            net,
            classes: lesson.classes(),
            lesson: Arc::new(lesson),
            device: device.clone(),
            remembered: None,
            running: None,
            failed: false,
        }
    }

    /// Saves everything that the run needs to go on. Between epochs; within one, the epoch would begin again.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, file: &Path) -> Result<()> {
        if self.running.is_some() {
            return Err(Error::new("a run is saved between epochs"));
        }
        self.state.save(file)
    }

    /// What decides this run.
    pub fn recipe(&self) -> &Recipe {
        &self.state.about.recipe
    }

    /// What the run began from and what it learns, in words: whatever it was told, also before it was resumed.
    pub fn origin(&self) -> &str {
        &self.state.about.origin
    }

    /// Tells the run what it began from and what it learns.
    pub fn set_origin(&mut self, origin: String) {
        self.state.about.origin = origin;
    }

    /// In how many views the outputs of the frozen stages are remembered; 0 if they are computed anew in each step.
    pub fn views(&self) -> usize {
        self.remembered.as_ref().map_or(0, Remembered::views)
    }

    /// Epochs done.
    pub fn epoch(&self) -> usize {
        self.state.about.epoch
    }

    /// Steps in an epoch.
    pub fn steps(&self) -> usize {
        self.lesson.len() / self.recipe().batch
    }

    /// The best epoch so far.
    pub fn best(&self) -> Option<Best> {
        self.state.about.best
    }

    /// Says how good the network is after this epoch; whether it is the best so far. Of equals, the first.
    pub fn judged(&mut self, score: f64) -> bool {
        let better = self.best().is_none_or(|best| score > best.score);
        if better {
            self.state.about.best = Some(Best { epoch: self.epoch(), score });
        }
        better
    }

    /// The expression branch as it is in use; see [`Branches::export`].
    ///
    /// # Errors
    /// The device has no room.
    pub fn export(&self) -> Result<HashMap<String, Tensor>> {
        let State { about, weights, averaged, .. } = &self.state;
        let mut tensors = self.net.export(averaged.as_ref().unwrap_or(weights))?;
        about.priors.finish(&mut tensors, &self.net.plan, about.recipe.adjust)?;
        Ok(tensors)
    }

    /// How the network's logits are to be read, if they leave out how frequent expressions are.
    pub fn learnt(&self) -> Option<Learnt> {
        self.recipe().adjust.then_some(Learnt { shares: self.state.about.priors.seen, usual: 1.0 })
    }

    /// What the network in use, see [`Training::export`], says of some samples as they are, `batch` at a time: logits.
    ///
    /// # Errors
    /// A picture that cannot be read.
    pub fn answers(&self, lesson: &Lesson, batch: usize) -> Result<Vec<[f32; COUNT]>> {
        let look = Look { augmentation: Augmentation::NONE, maps: None, pictures: true, ..self.look() };
        let tensors = self.export()?;
        let tensor = |name: &str| tensors.get(name).cloned();
        let mix = self.recipe().meant.map(|meant| meant.mix as f32);
        let net = LaNet::new(Trunk::new(&self.net.plan, tensor)?, tensor, look.input, mix)?;
        let mut answers = Vec::with_capacity(lesson.len());
        let all: Vec<(usize, u64)> = (0..lesson.len()).map(|n| (n, 0)).collect();
        for chosen in all.chunks(batch.max(1)) {
            let pictures = look.batch(lesson, chosen)?.pictures(&look.input, &self.device)?;
            let logits = net.forward(&pictures)?.flatten_all()?.to_vec1::<f32>()?; // (B, C)
            answers.extend_from_slice(logits.as_chunks::<COUNT>().0);
        }
        Ok(answers)
    }

    fn look(&self) -> Look {
        let recipe = self.recipe();
        Look {
            input: recipe.input(),
            augmentation: recipe.augmentation,
            maps: recipe.landmarks.map(|_| self.net.plan.map_side(recipe.side)),
            pictures: self.remembered.is_none(),
        }
    }

    /// Lets what the frozen stages make of the faces be computed only once, where nothing else needs the pictures.
    fn remember(&mut self) -> Result<()> {
        let Recipe { views, seed, landmarks, .. } = *self.recipe();
        if self.net.frozen.is_some() && landmarks.is_none() {
            let (look, weights) = (self.look(), &mut self.state.weights);
            self.remembered =
                Remembered::new(&self.net, weights, &look, &self.lesson, views, seed, &self.device)?;
        }
        Ok(())
    }

    /// Puts batch norm into folded starting weights with what some 2,000 samples show.
    fn settle(&mut self) -> Result<()> {
        let look = Look { augmentation: Augmentation::NONE, maps: None, pictures: true, ..self.look() };
        let order = Order::Shuffled.draw(&self.classes, 0.0, &mut self.state.about.rng);
        let chosen: Vec<(usize, u64)> = order.into_iter().take(2048).map(|n| (n, 0)).collect();
        let (lesson, device, batch) = (&self.lesson, &self.device, self.recipe().batch.min(64));
        let batches = chosen
            .chunks_exact(batch)
            .map(|chosen| look.batch(lesson, chosen)?.pictures(&look.input, device));
        self.net.settle(&mut self.state.weights, batches)
    }

    /// One step on one batch.
    fn learn(&mut self, batch: &Batch, rate: f64) -> Result<Losses> {
        let recipe = self.recipe();
        let (x, first) = match (&self.remembered, recipe.frozen) {
            (Some(remembered), Some(last)) => (remembered.batch(batch, &self.device)?, last + 1), // (B, H', W', C')
            _ => (kernels::learn::channels_last(&batch.pictures(&recipe.input(), &self.device)?)?, 0), // (B, H, W, 3)
        };
        let losses = step(&mut self.state, &self.net, batch, (&x, first), &self.classes, rate)?;
        if losses.total.is_finite() { Ok(losses) } else { Err(self.not_a_number(batch)) }
    }

    fn not_a_number(&self, batch: &Batch) -> Error {
        let names: Vec<&str> =
            batch.samples.iter().take(4).map(|&n| self.lesson.faces[n].name.as_str()).collect();
        let step = self.running.as_ref().map_or(0, |running| running.step);
        Error::new(format!(
            "the loss is not a number in epoch {}, batch {} ({}, ...)",
            self.epoch() + 1,
            step + 1,
            names.join(", ")
        ))
        .advice("the models of the epochs before are kept; begin again with a lower --rate")
    }

    /// The rate of a step, from 0, of the epoch under way.
    fn rate(&self, step: usize) -> f64 {
        let (recipe, steps) = (self.recipe(), self.steps());
        let done = (self.epoch() * steps + step) as f64 / (recipe.epochs * steps) as f64;
        recipe.rate * recipe.schedule.share(done)
    }

    fn begin_epoch(&mut self) -> Running {
        let (look, about) = (self.look(), &mut self.state.about);
        let done = about.epoch as f64 / (about.recipe.epochs - 1).max(1) as f64;
        let order = about.recipe.order.draw(&self.classes, done, &mut about.rng);
        let batches = look.batches(self.lesson.clone(), &order, about.recipe.batch, &mut about.rng);
        Running { batches, began: Instant::now(), step: 0, losses: Losses::default() }
    }

    fn advance(&mut self) -> Result<Option<Event>> {
        let steps = self.steps();
        let mut running = match self.running.take() {
            Some(running) => running,
            None if self.epoch() >= self.recipe().epochs => return Ok(None),
            None => self.begin_epoch(),
        };
        match running.batches.next() {
            Some(batch) => {
                let (batch, step) = (batch?, running.step);
                self.running = Some(running);
                let losses = self.learn(&batch, self.rate(step))?;
                if let Some(running) = &mut self.running {
                    running.step += 1;
                    running.losses.add(&losses, 1.0 / steps as f64);
                }
                Ok(Some(Event::Step { epoch: self.epoch() + 1, step: step + 1, steps, losses }))
            }
            None => {
                let rate = self.rate(running.step.saturating_sub(1));
                self.state.about.epoch += 1;
                Ok(Some(Event::Epoch {
                    epoch: self.epoch(),
                    losses: running.losses,
                    rate,
                    images: running.step * self.recipe().batch,
                    took: running.began.elapsed(),
                }))
            }
        }
    }
}

impl Iterator for Training {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Result<Event>> {
        if self.failed {
            return None;
        }
        let event = self.advance();
        self.failed = event.is_err();
        event.transpose()
    }
}

/// The network of a recipe, and the lesson with its noise, if both can work.
fn prepared(recipe: &Recipe, plan: Plan, mut lesson: Lesson, device: &Device) -> Result<(Branches, Lesson)> {
    recipe.check(lesson.len(), plan.depth(), device)?;
    if let Some(noise) = recipe.noise {
        lesson.disturb(noise, recipe.seed);
    }
    let landmarks = if recipe.landmarks.is_some() { landmarks::COUNT } else { 0 };
    if recipe.meant.is_some() && lesson.meant.iter().all(Option::is_none) {
        return Err(Error::new("no face says what was meant").advice("leave --meant out"));
    }
    Ok((Branches { plan, landmarks, frozen: recipe.frozen, meant: recipe.meant.is_some() }, lesson))
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
