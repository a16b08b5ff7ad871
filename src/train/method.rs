//! LA-Net's training (Wu and Cui 2023, arXiv 2307.09023), the whole of it in sight.
//!
//! A [`Training`] is an iterator: each item is a step or the end of an epoch. Whoever iterates shows progress, judges
//! the network, saves it, and stops by not asking for more.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use super::batch::{Batch, Lesson, Look};
use super::branches::Branches;
use super::checkpoint::Checkpoint;
use super::contrast::{self, Queues};
use super::labels::{self, Bank};
use super::landmarks;
use super::loss::{self, Wing};
use super::optim::Optimiser;
use super::order::Order;
use super::pictures::Augmentation;
use super::recipe::Recipe;
use super::remembered::Remembered;
use super::weights::{Mode, Nursery, Weights};
use crate::error::{Context, Error, Result};
use crate::expression::COUNT;
use crate::flow::Stream;
use crate::kernels;
use crate::net::ResNet;

/// What the parts of the loss were, each before its weight; the mean over some steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    /// The weighted sum.
    pub total: f64,
    /// Cross-entropy with the given labels.
    pub given: f64,
    /// Divergence from the estimated labels.
    pub estimated: f64,
    /// Adaptive wing loss of the heat maps.
    pub landmarks: f64,
    /// The contrastive loss.
    pub contrast: f64,
    /// The share of samples whose most probable class is that of their given label.
    pub agreement: f64,
}

impl Losses {
    fn add(&mut self, other: &Self, share: f64) {
        self.total += other.total * share;
        self.given += other.given * share;
        self.estimated += other.estimated * share;
        self.landmarks += other.landmarks * share;
        self.contrast += other.contrast * share;
        self.agreement += other.agreement * share;
    }
}

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

/// The state of a run beside its tensors.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    recipe: Recipe,
    data: String,
    epoch: usize,
    rng: Xoshiro256PlusPlus,
    steps: BTreeMap<String, u64>,
    best: Option<Best>,
    origin: String,
}

/// The best epoch so far, by a score that the caller chose.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Best {
    /// The epoch, from 1.
    pub epoch: usize,
    /// Its score; higher is better.
    #[serde(with = "bits")]
    pub score: f64,
}

/// A number as its bits: as text it would come back slightly different, and equals would no longer be equal.
mod bits {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub fn serialize<S: Serializer>(x: &f64, to: S) -> Result<S::Ok, S::Error> {
        x.to_bits().serialize(to)
    }

    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<f64, D::Error> {
        u64::deserialize(from).map(f64::from_bits)
    }
}

/// What decided the run of a checkpoint.
///
/// # Errors
/// A file that is no checkpoint.
pub fn recipe_of(file: &Path) -> Result<Recipe> {
    Ok(Checkpoint::<State>::load(file, &Device::Cpu)?.state.recipe)
}

/// A run of training.
#[derive(Debug)]
pub struct Training {
    recipe: Recipe,
    net: Branches,
    lesson: Arc<Lesson>,
    data: String,
    classes: Vec<usize>,
    device: Device,
    weights: Weights,
    follower: Option<Weights>,
    optimiser: Optimiser,
    bank: Bank,
    queues: Queues,
    remembered: Option<Remembered>,
    rng: Xoshiro256PlusPlus,
    epoch: usize,
    best: Option<Best>,
    origin: String,
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
        plan: crate::net::Plan,
        mut lesson: Lesson,
        start: Option<&Path>,
        device: &Device,
    ) -> Result<Self> {
        let net = branches(&recipe, plan);
        recipe.check(lesson.len(), net.plan.depth(), device)?;
        if let Some(noise) = recipe.noise {
            lesson.disturb(noise, recipe.seed);
        }
        let rng = Xoshiro256PlusPlus::seed_from_u64(recipe.seed);
        let mut nursery = Nursery { rng, dtype: DType::F32, device: device.clone() };
        let mut weights = net.grow(&mut nursery)?;
        let folded = match start {
            Some(file) => net.start(&mut weights, file, device, DType::F32)?,
            None => false,
        };
        let data = lesson.fingerprint();
        let bank = Bank::new(lesson.labels.iter().map(|label| label.to_vec()), COUNT);
        let queues = Queues::new(net.plan.pyramid, DType::F32, device)?;
        let optimiser = Optimiser::new(recipe.optimiser, recipe.decay);
        let mut training = Self {
            classes: lesson.classes(),
            lesson: Arc::new(lesson),
            data,
            device: device.clone(),
            follower: None,
            optimiser,
            bank,
            queues,
            remembered: None,
            rng: nursery.rng,
            epoch: 0,
            best: None,
            origin: String::new(),
            running: None,
            failed: false,
            recipe,
            net,
            weights,
        };
        if folded {
            training.settle()?;
        }
        if training.recipe.el.is_some() {
            training.follower = Some(training.weights.momentum_copy()?);
        }
        training.remember()?;
        Ok(training)
    }

    /// Goes on with a run whose checkpoint was saved.
    ///
    /// # Errors
    /// A file that is no checkpoint, or one of a run with other data.
    pub fn resume(file: &Path, lesson: Lesson, device: &Device) -> Result<Self> {
        let checkpoint = Checkpoint::<State>::load(file, device)?;
        let plan = checkpoint.state.recipe.backbone.plan();
        Self::resume_with(checkpoint, plan, lesson, device)
            .with_context(|| format!("the run of {} cannot go on", file.display()))
    }

    fn resume_with(
        mut checkpoint: Checkpoint<State>,
        plan: crate::net::Plan,
        mut lesson: Lesson,
        device: &Device,
    ) -> Result<Self> {
        let State { recipe, data, epoch, rng, steps, best, origin } = checkpoint.state.clone();
        let net = branches(&recipe, plan);
        recipe.check(lesson.len(), net.plan.depth(), device)?;
        if let Some(noise) = recipe.noise {
            lesson.disturb(noise, recipe.seed);
        }
        if lesson.fingerprint() != data {
            return Err(
                Error::new("it began with other data").advice("give the same --data and label options")
            );
        }
        let mut weights = Weights::default();
        for (name, tensor) in checkpoint.take("weights/") {
            weights.learn(name, &tensor)?;
        }
        weights.kept = checkpoint.take("kept/");
        let follower = checkpoint.take("follower/");
        let kept = weights.kept.clone();
        let follower = recipe.el.is_some().then_some(Weights { learnt: follower, kept });
        let optimiser = Optimiser {
            steps,
            first: checkpoint.take("first/"),
            second: checkpoint.take("second/"),
            ..Optimiser::new(recipe.optimiser, recipe.decay)
        };
        let mut state = checkpoint.take("state/");
        let mut part =
            |name: &str| state.remove(name).ok_or_else(|| Error::new(format!("it has no '{name}'")));
        let bank = Bank { rows: part("bank")?.flatten_all()?.to_vec1()?, classes: COUNT };
        let mut queues = Queues::new(net.plan.pyramid, DType::F32, device)?;
        // Safetensors can hold no empty tensors on every reader, so empty queues are not written.
        if let Ok(labels) = part("queue.labels") {
            queues = Queues {
                expression: part("queue.expression")?,
                landmark: part("queue.landmark")?,
                labels: labels.to_vec1()?,
            };
        }
        let mut training = Self {
            classes: lesson.classes(),
            lesson: Arc::new(lesson),
            data,
            device: device.clone(),
            follower,
            optimiser,
            bank,
            queues,
            remembered: None,
            rng,
            epoch,
            best,
            origin,
            running: None,
            failed: false,
            recipe,
            net,
            weights,
        };
        training.remember()?;
        Ok(training)
    }

    /// Saves everything that the run needs to go on. Between epochs; within one, the epoch would begin again.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, file: &Path) -> Result<()> {
        if self.running.is_some() {
            return Err(Error::new("a run is saved between epochs"));
        }
        let state = State {
            recipe: self.recipe.clone(),
            data: self.data.clone(),
            epoch: self.epoch,
            rng: self.rng.clone(),
            steps: self.optimiser.steps.clone(),
            best: self.best,
            origin: self.origin.clone(),
        };
        let mut checkpoint = Checkpoint { tensors: BTreeMap::new(), state };
        checkpoint.put("weights/", &self.weights.learnt);
        checkpoint.put("kept/", &self.weights.kept);
        if let Some(follower) = &self.follower {
            checkpoint.put("follower/", &follower.learnt);
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

    /// What decides this run.
    pub fn recipe(&self) -> &Recipe {
        &self.recipe
    }

    /// What the run began from and what it learns, in words: whatever it was told, also before it was resumed.
    pub fn origin(&self) -> &str {
        &self.origin
    }

    /// Tells the run what it began from and what it learns.
    pub fn set_origin(&mut self, origin: String) {
        self.origin = origin;
    }

    /// In how many views the outputs of the frozen stages are remembered; 0 if they are computed anew in each step.
    pub fn views(&self) -> usize {
        self.remembered.as_ref().map_or(0, Remembered::views)
    }

    /// Epochs done.
    pub fn epoch(&self) -> usize {
        self.epoch
    }

    /// Steps in an epoch.
    pub fn steps(&self) -> usize {
        self.lesson.len() / self.recipe.batch
    }

    /// The best epoch so far.
    pub fn best(&self) -> Option<Best> {
        self.best
    }

    /// Says how good the network is after this epoch; whether it is the best so far. Of equals, the first.
    pub fn judged(&mut self, score: f64) -> bool {
        let better = self.best.is_none_or(|best| score > best.score);
        if better {
            self.best = Some(Best { epoch: self.epoch, score });
        }
        better
    }

    /// The expression branch as it is in use; see [`Branches::export`].
    ///
    /// # Errors
    /// The device has no room.
    pub fn export(&self) -> Result<std::collections::HashMap<String, Tensor>> {
        self.net.export(&self.weights)
    }

    /// What the network in use, see [`Training::export`], says of some samples as they are, `batch` at a time: logits.
    ///
    /// # Errors
    /// A picture that cannot be read.
    pub fn answers(&self, lesson: &Lesson, batch: usize) -> Result<Vec<[f32; COUNT]>> {
        let look = Look { augmentation: Augmentation::NONE, maps: false, pictures: true, ..self.look() };
        let tensors = self.export()?;
        let backbone = ResNet::new(&self.net.plan, |name| tensors.get(name).cloned())?;
        let mut answers = Vec::with_capacity(lesson.len());
        let all: Vec<(usize, u64)> = (0..lesson.len()).map(|n| (n, 0)).collect();
        for chosen in all.chunks(batch.max(1)) {
            let pictures = look.batch(lesson, chosen)?.pictures(&look.input, &self.device)?;
            let features = kernels::mean(&backbone.forward(&pictures)?)?;
            let logits = self.weights.linear("head", &features)?.flatten_all()?.to_vec1::<f32>()?; // (B, C)
            answers.extend_from_slice(logits.as_chunks::<COUNT>().0);
        }
        Ok(answers)
    }

    fn look(&self) -> Look {
        let maps = self.recipe.landmarks.is_some();
        let (input, augmentation) = (self.recipe.input(), self.recipe.augmentation);
        Look { input, augmentation, maps, pictures: self.remembered.is_none() }
    }

    /// Lets what the frozen stages make of the faces be computed only once, where nothing else needs the pictures.
    fn remember(&mut self) -> Result<()> {
        if self.net.frozen.is_none() || self.recipe.landmarks.is_some() {
            return Ok(());
        }
        let (look, lesson) = (self.look(), self.lesson.clone());
        let Recipe { views, seed, .. } = self.recipe;
        self.remembered =
            Remembered::new(&self.net, &mut self.weights, &look, &lesson, views, seed, &self.device)?;
        Ok(())
    }

    /// Puts batch norm into folded starting weights with what some 2,000 samples show.
    fn settle(&mut self) -> Result<()> {
        let look = Look { augmentation: Augmentation::NONE, maps: false, pictures: true, ..self.look() };
        let order = Order::Shuffled.draw(&self.classes, 0.0, &mut self.rng);
        let chosen: Vec<(usize, u64)> = order.into_iter().take(2048).map(|n| (n, 0)).collect();
        let (lesson, device) = (self.lesson.clone(), self.device.clone());
        let batches = chosen
            .chunks_exact(self.recipe.batch.min(64))
            .map(|chosen| look.batch(&lesson, chosen)?.pictures(&look.input, &device));
        self.net.settle(&mut self.weights, batches)
    }

    /// One step on one batch.
    fn learn(&mut self, batch: &Batch, rate: f64) -> Result<Losses> {
        let recipe = &self.recipe;
        let warm = self.epoch >= recipe.warm_up;
        let given = batch.labels(&self.device)?; // (B, C)
        let (x, first) = match (&self.remembered, recipe.frozen) {
            (Some(remembered), Some(last)) => (remembered.batch(batch, &self.device)?, last + 1), // (B, H', W', C')
            _ => (kernels::learn::channels_last(&batch.pictures(&recipe.input(), &self.device)?)?, 0), // (B, H, W, 3)
        };
        let seen = self.net.forward_from(&mut self.weights, &x, first, Mode::Learn)?; // f (B, d), logits (B, C), m (B, w), maps (B, L, H/4, W/4)

        let cross_entropy = loss::cross_entropy(&seen.logits, &given)?;
        let mut total = cross_entropy.clone();
        let mut losses = Losses { given: scalar(&cross_entropy)?, ..Losses::default() };

        if let (Some(weight), Some(landmark)) = (recipe.landmarks, &seen.landmark) {
            let maps = batch.maps(&self.device)?;
            let wing =
                loss::adaptive_wing(&landmark.maps, &maps.wanted, &maps.near, &maps.known, Wing::default())?;
            losses.landmarks = scalar(&wing)?;
            total = (total + (wing * weight)?)?;
        }

        let mut estimate = None;
        if let (Some((lde, weight)), true) = (recipe.lde, warm) {
            let mut spaces = vec![("f", &seen.features)];
            spaces.extend(seen.landmark.as_ref().map(|landmark| ("m", &landmark.features)));
            let t = labels::estimate(&self.weights, &spaces, &seen.logits, lde.neighbours)?; // (B, C)
            let remembered = self.bank.read(&batch.samples, &t)?;
            let target = ((remembered * lde.memory)? + (&t * (1.0 - lde.memory))?)?; // (B, C)
            let divergence = loss::divergence(&target, &seen.logits)?;
            losses.estimated = scalar(&divergence)?;
            total = (total + (divergence * weight)?)?;
            estimate = Some((t, target, lde.memory));
        }

        if let (Some((el, _)), Some(follower)) = (recipe.el, &mut self.follower) {
            follower.follow(&self.weights, el.momentum)?;
        }
        let mut keys = None;
        if let (Some((el, weight)), Some(follower), Some(landmark), Some((_, target, _))) =
            (recipe.el, &mut self.follower, &seen.landmark, &estimate)
        {
            let other = self.net.forward_from(follower, &x, first, Mode::Follow)?;
            let other_landmark =
                other.landmark.ok_or_else(|| Error::new("the landmark branch gave nothing"))?;
            let f_keys = contrast::project(follower, "f", &other.features)?; // (B, w)
            let m_keys = contrast::project(follower, "m", &other_landmark.features)?; // (B, w)
            let f = contrast::project(&self.weights, "f", &seen.features)?; // (B, w)
            let m = contrast::project(&self.weights, "m", &landmark.features)?; // (B, w)
            let pseudo = contrast::pseudo_labels(target, &batch.samples, el.sure)?; // (B)
            if let Some(contrast) =
                contrast::contrast((&f, &m), (&f_keys, &m_keys), &pseudo, &self.queues, el.temperature)?
            {
                losses.contrast = scalar(&contrast)?;
                total = (total + (contrast * weight)?)?;
            }
            keys = Some((f_keys, m_keys, pseudo, el.queue));
        }

        losses.total = scalar(&total)?;
        if !losses.total.is_finite() {
            return Err(self.not_a_number(batch));
        }
        let top = seen.logits.argmax(1)?.to_vec1::<u32>()?;
        let agree = top.iter().zip(&batch.samples).filter(|(t, s)| **t as usize == self.classes[**s]).count();
        losses.agreement = agree as f64 / top.len().max(1) as f64;

        let grads = total.backward()?;
        self.optimiser.step(&self.weights, &grads, rate, |name| self.net.learns(name))?;
        if let Some((t, _, memory)) = &estimate {
            self.bank.remember(&batch.samples, t, *memory)?;
        }
        if let Some((f_keys, m_keys, pseudo, room)) = keys {
            self.queues.push(&f_keys, &m_keys, &pseudo, room)?;
        }
        Ok(losses)
    }

    fn not_a_number(&self, batch: &Batch) -> Error {
        let names: Vec<&str> =
            batch.samples.iter().take(4).map(|&n| self.lesson.faces[n].name.as_str()).collect();
        let step = self.running.as_ref().map_or(0, |running| running.step);
        Error::new(format!(
            "the loss is not a number in epoch {}, batch {} ({}, ...)",
            self.epoch + 1,
            step + 1,
            names.join(", ")
        ))
        .advice("the models of the epochs before are kept; begin again with a lower --rate")
    }

    fn advance(&mut self) -> Result<Option<Event>> {
        let steps = self.steps();
        let mut running = match self.running.take() {
            Some(running) => running,
            None if self.epoch >= self.recipe.epochs => return Ok(None),
            None => {
                let done = self.epoch as f64 / (self.recipe.epochs - 1).max(1) as f64;
                let order = self.recipe.order.draw(&self.classes, done, &mut self.rng);
                let batches =
                    self.look().batches(self.lesson.clone(), &order, self.recipe.batch, &mut self.rng);
                Running { batches, began: Instant::now(), step: 0, losses: Losses::default() }
            }
        };
        let total = (self.recipe.epochs * steps) as f64;
        let rate_at = |step: usize, epoch: usize| {
            self.recipe.rate * self.recipe.schedule.share((epoch * steps + step) as f64 / total)
        };
        match running.batches.next() {
            Some(batch) => {
                let (batch, rate) = (batch?, rate_at(running.step, self.epoch));
                let step = running.step;
                self.running = Some(running);
                let losses = self.learn(&batch, rate)?;
                if let Some(running) = &mut self.running {
                    running.step += 1;
                    running.losses.add(&losses, 1.0 / steps as f64);
                }
                Ok(Some(Event::Step { epoch: self.epoch + 1, step: step + 1, steps, losses }))
            }
            None => {
                let rate = rate_at(running.step.saturating_sub(1), self.epoch);
                self.epoch += 1;
                Ok(Some(Event::Epoch {
                    epoch: self.epoch,
                    losses: running.losses,
                    rate,
                    images: running.step * self.recipe.batch,
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

fn branches(recipe: &Recipe, plan: crate::net::Plan) -> Branches {
    let landmarks = if recipe.landmarks.is_some() { landmarks::COUNT } else { 0 };
    Branches { plan, landmarks, frozen: recipe.frozen }
}

fn scalar(t: &Tensor) -> Result<f64> {
    Ok(f64::from(t.to_scalar::<f32>()?))
}

#[cfg(test)]
mod tests {
    use super::super::batch::tests::lesson;
    use super::super::contrast::Contrast;
    use super::super::labels::Estimation;
    use super::super::noise::Noise;
    use super::super::optim::Method;
    use super::*;
    use crate::expression::Distribution;
    use crate::net::{Backbone, Plan};

    fn plan() -> Plan {
        Plan::mobilenet(4)
    }

    fn recipe() -> Recipe {
        Recipe {
            seed: 3,
            epochs: 4,
            batch: 8,
            rate: 3e-3,
            augmentation: Augmentation { crop: 0.9, jitter: 0.1, ..Augmentation::default() },
            lde: Some((Estimation { neighbours: 3, memory: 0.9 }, 1.0)),
            el: Some((Contrast { queue: 20, momentum: 0.9, ..Contrast::default() }, 0.1)),
            ..Recipe::published(Backbone::MobilenetV1, 32)
        }
    }

    fn begin(recipe: Recipe) -> Result<Training> {
        Training::begin_with(recipe, plan(), lesson(35, 4), None, &Device::Cpu)
    }

    fn bits(training: &Training) -> Vec<(String, Vec<u32>)> {
        let tensors = training.weights.learnt.iter().chain(&training.weights.kept);
        tensors
            .map(|(name, t)| {
                let values = t.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                (name.clone(), values.into_iter().map(f32::to_bits).collect())
            })
            .collect()
    }

    fn temporary(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("lanet-{name}-{}.safetensors", std::process::id()))
    }

    #[test]
    fn a_run_stopped_and_resumed_equals_an_uninterrupted_one() {
        stop_and_resume(recipe());
        stop_and_resume(Recipe { frozen: Some(2), warm_up: 1, ..recipe() });
    }

    fn stop_and_resume(recipe: Recipe) {
        let mut whole = begin(recipe.clone()).unwrap();
        let events: Vec<Event> = whole.by_ref().collect::<Result<_>>().unwrap();
        // 35 samples in batches of 8: four steps and the end of the epoch.
        assert_eq!(events.len(), 4 * 5);
        let mut first = begin(recipe).unwrap();
        let file = temporary("resume");
        for event in first.by_ref() {
            if let Event::Epoch { epoch: 2, .. } = event.unwrap() {
                break;
            }
        }
        // As text this would come back smaller.
        let score = 1412.0 / 1552.0;
        first.judged(score);
        first.set_origin("a test".into());
        first.save(&file).unwrap();
        drop(first);
        let load = |lesson| {
            let checkpoint = Checkpoint::<State>::load(&file, &Device::Cpu).unwrap();
            Training::resume_with(checkpoint, plan(), lesson, &Device::Cpu)
        };
        assert!(load(lesson(34, 4)).unwrap_err().line().contains("other data"));
        let mut second = load(lesson(35, 4)).unwrap();
        assert_eq!(second.best(), Some(Best { epoch: 2, score }));
        assert_eq!(second.origin(), "a test");
        for event in second.by_ref() {
            event.unwrap();
        }
        assert_eq!(bits(&second), bits(&whole));
        assert_eq!(second.bank, whole.bank);
        assert_eq!(second.queues.labels, whole.queues.labels);
        assert_eq!(second.epoch(), 4);
        std::fs::remove_file(file).unwrap();
    }

    #[test]
    fn every_part_can_be_switched_off_and_plain_cross_entropy_learns() {
        let off = Recipe { landmarks: None, lde: None, el: None, ..recipe() };
        for recipe in [
            Recipe { el: None, ..recipe() },
            Recipe { landmarks: None, el: None, ..recipe() },
            Recipe { lde: None, el: None, frozen: Some(2), ..recipe() },
            Recipe { frozen: Some(2), warm_up: 1, ..recipe() },
            Recipe { optimiser: Method::Sgd, warm_up: 1, noise: Some(Noise::Symmetric(0.3)), ..recipe() },
        ] {
            let recipe = Recipe { epochs: 2, ..recipe };
            for event in begin(recipe).unwrap() {
                if let Event::Epoch { losses, images, .. } = event.unwrap() {
                    assert!(losses.total.is_finite() && images == 32);
                }
            }
        }
        let plain = Recipe {
            epochs: 12,
            rate: 1e-2,
            augmentation: Augmentation::NONE,
            order: Order::Shuffled,
            ..off
        };
        let mut training = begin(plain).unwrap();
        let mut agreement = 0.0;
        for event in training.by_ref() {
            if let Event::Epoch { losses, .. } = event.unwrap() {
                agreement = losses.agreement;
            }
        }
        assert!(agreement > 0.45, "{agreement}");
        // In use, with statistics that lag behind so few steps, still far better than chance.
        let answers = training.answers(&lesson(35, 4), 16).unwrap();
        let classes = lesson(35, 4).classes();
        let right = answers
            .iter()
            .zip(classes)
            .filter(|(a, c)| Distribution::softmax(**a).top().0 as usize == *c)
            .count();
        assert!(right >= 17, "{right} of 35");
    }

    #[test]
    fn remembered_outputs_of_frozen_stages_learn_the_same() {
        let run = |views| {
            let off = Augmentation::NONE;
            let recipe =
                Recipe { landmarks: None, el: None, frozen: Some(5), views, augmentation: off, ..recipe() };
            let mut training = begin(Recipe { epochs: 2, ..recipe }).unwrap();
            assert_eq!(training.remembered.is_some(), views > 0);
            let losses: Vec<f64> = training
                .by_ref()
                .filter_map(|event| match event.unwrap() {
                    Event::Step { losses, .. } => Some(losses.total),
                    Event::Epoch { .. } => None,
                })
                .collect();
            losses
        };
        // Half precision is all that differs in the first step; steps on eight faces make it grow.
        for ((a, b), room) in run(0).into_iter().zip(run(2)).zip([0.005, 0.05]) {
            assert!((a - b).abs() < room * a, "{a} {b}");
        }
    }

    #[test]
    fn the_whole_method_learns_from_wrong_labels() {
        let recipe = Recipe {
            epochs: 12,
            rate: 1e-2,
            noise: Some(Noise::Symmetric(0.2)),
            augmentation: Augmentation::NONE,
            ..recipe()
        };
        let mut training = begin(recipe).unwrap();
        let epochs: Vec<Losses> = training
            .by_ref()
            .filter_map(|event| match event.unwrap() {
                Event::Epoch { losses, .. } => Some(losses),
                Event::Step { .. } => None,
            })
            .collect();
        assert!(epochs[11].landmarks < 0.5 * epochs[0].landmarks, "{epochs:?}");
        assert!(
            epochs[11].given < epochs[0].given && epochs[11].contrast > 0.0 && epochs[11].estimated > 0.0
        );
    }

    #[test]
    fn what_cannot_work_is_refused() {
        let line = |recipe: Recipe| begin(recipe).unwrap_err().line();
        assert!(line(Recipe { batch: 36, ..recipe() }).contains("35 samples do not fill a batch of 36"));
        assert!(line(Recipe { batch: 1, ..recipe() }).contains("batch"));
        let lde = Some((Estimation { neighbours: 8, memory: 0.9 }, 1.0));
        assert!(line(Recipe { lde, ..recipe() }).contains("8 neighbours"));
        assert!(line(Recipe { landmarks: None, ..recipe() }).contains("--el off"));
        assert!(line(Recipe { lde: None, ..recipe() }).contains("--el off"));
        assert!(line(Recipe { frozen: Some(14), ..recipe() }).contains("13 stages"));
        assert!(line(Recipe { rate: f64::NAN, ..recipe() }).contains("rate"));
        assert!(line(Recipe { side: 8, ..recipe() }).contains("side"));
        let lde = Some((Estimation { neighbours: 3, memory: 2.0 }, 1.0));
        assert!(line(Recipe { lde, ..recipe() }).contains("--memory"));
        let el = Some((Contrast { queue: 0, ..Contrast::default() }, 0.1));
        assert!(line(Recipe { el, ..recipe() }).contains("--queue"));
        let one = Training::begin_with(recipe(), plan(), lesson(1, 1), None, &Device::Cpu);
        assert!(one.unwrap_err().line().contains("1 samples are too few"));
    }

    #[test]
    fn a_loss_that_is_not_a_number_stops_with_the_batch_named() {
        let mut training = begin(Recipe { rate: 1e30, optimiser: Method::Sgd, ..recipe() }).unwrap();
        let error = training.find_map(Result::err).expect("an error").line();
        assert!(error.contains("not a number in epoch 1, batch") && error.contains(".png"), "{error}");
        assert!(training.next().is_none());
    }
}
