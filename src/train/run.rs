//! A run of training: how it is begun and resumed, and what it leaves.
//!
//! A [`Training`] is an iterator of [`super::Event`]s: whoever iterates shows progress, saves the run and the
//! model, and stops by not asking for more.
//!
//! ```no_run
//! use candle_core::Device;
//! use lanet_live::net::Backbone;
//! use lanet_live::train::{Course, Lesson, Recipe, Start, Training};
//! # fn main() -> lanet_live::error::Result<()> {
//! # let (mine, others) = (Lesson::default(), Lesson::default());
//! let course = Course { train: mine, valid: others, ..Course::default() };
//! let start = Start::open("lanet-sface")?;
//! let recipe = Recipe::classifier(Backbone::MobilenetV1, 112);
//! let mut training = Training::begin(recipe, course, Some(&start), &Device::Cpu)?;
//! for event in training.by_ref() {
//!     event?;
//! }
//! training.save_model("mine".as_ref())?;
//! # Ok(())
//! # }
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use candle_core::{DType, Device, Tensor};

use super::batch::Batch;
use super::course::Course;
use super::events::Epoch;
use super::judge::Judgement;
use super::learner::{Learner, Sight};
use super::lesson::Lesson;
use super::order::Order;
use super::recipe::Recipe;
use super::rehearsal;
use super::remembered::Remembered;
use super::start::Start;
use super::state::{Best, State};
use super::step::{Losses, step};
use crate::calibration::{Calibration, Learnt};
use crate::error::{Context, Error, Result};
use crate::expression::{COUNT, Expression};
use crate::flow::Stream;
use crate::net::card::REHEARSAL;
use crate::net::{Card, LaNet, Mix, Model, Plan};
use crate::reader::CALIBRATION;

/// Faces that settle the weights that a run begins with.
const SETTLING: usize = 2048;

/// The parts of a course.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    Train,
    Valid,
    Report,
}

impl Part {
    pub(super) const ALL: [Self; 3] = [Self::Train, Self::Valid, Self::Report];
}

/// The faces of a part, and what the part of the network that does not learn makes of them.
#[derive(Debug)]
pub(super) struct Faces {
    pub lesson: Arc<Lesson>,
    pub remembered: Option<Remembered>,
}

/// What is to be done.
#[derive(Debug)]
pub(super) enum Task {
    /// The weights that the run began with are settled by what these faces show.
    Settle { chosen: Vec<(usize, u64)>, done: usize },
    /// Outputs of what does not learn are computed.
    Remember(Part),
    /// The epoch under way.
    Learn(Running),
    /// The network in use answers, all faces in their order.
    Judge { part: Part, net: Option<Box<LaNet>>, answers: Vec<[f32; COUNT]> },
}

/// The epoch under way.
pub(super) struct Running {
    pub batches: Stream<Batch>,
    pub began: Instant,
    pub step: usize,
    pub losses: Losses,
}

impl std::fmt::Debug for Running {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Running(step {})", self.step)
    }
}

/// A run of training.
#[derive(Debug)]
pub struct Training {
    pub(super) state: State,
    pub(super) net: Learner,
    pub(super) faces: [Faces; 3],
    pub(super) classes: Vec<usize>,
    pub(super) device: Device,
    /// What is to be done before the next step, in order.
    pub(super) tasks: VecDeque<Task>,
    pub(super) ready: bool,
    /// The epoch that is being judged.
    pub(super) over: Option<Epoch>,
    pub(super) judged: Option<(Judgement, Vec<[f32; COUNT]>)>,
    pub(super) failed: bool,
}

impl Training {
    /// Begins a run, with random weights or those of a start.
    ///
    /// # Errors
    /// A recipe that cannot work with these data, or a start that does not fit.
    pub fn begin(recipe: Recipe, course: Course, start: Option<&Start>, device: &Device) -> Result<Self> {
        let plan = recipe.backbone.plan();
        Self::begin_with(recipe, plan, course, start, device)
    }

    pub(super) fn begin_with(
        recipe: Recipe,
        plan: Plan,
        mut course: Course,
        start: Option<&Start>,
        device: &Device,
    ) -> Result<Self> {
        recipe.prepare(&mut course.train, plan.depth(), device)?;
        start.map_or(Ok(()), |start| start.check(&recipe))?;
        let from = start.map_or_else(|| "random weights".to_owned(), Start::origin);
        let origin = match recipe.probe {
            None => format!("learnt from {}; started from {from}", course.about),
            Some(_) if recipe.adapt => format!("classifier adapted to {}; before: {from}", course.about),
            Some(_) => format!("classifier learnt from {}; backbone: {from}", course.about),
        };
        let net = Learner::new(&recipe, plan);
        let (state, unsettled) = State::new(recipe, origin, &net, &course, start, device)?;
        let mut training = Self::of(state, net, course, device);
        if unsettled {
            let order = Order::Shuffled.draw(&training.classes, 0.0, &mut training.state.about.rng);
            let chosen = order.into_iter().take(SETTLING).map(|n| (n, 0)).collect();
            training.tasks.push_front(Task::Settle { chosen, done: 0 });
        } else {
            training.state.follow()?;
        }
        Ok(training)
    }

    /// Goes on with a run that was saved.
    ///
    /// # Errors
    /// A file that holds no run, or one with other data.
    pub fn resume(file: &Path, course: Course, device: &Device) -> Result<Self> {
        let state = State::load(file, device)?;
        let plan = state.about.recipe.backbone.plan();
        Self::resume_with(state, plan, course, device)
            .with_context(|| format!("the run of {} cannot go on", file.display()))
    }

    pub(super) fn resume_with(state: State, plan: Plan, mut course: Course, device: &Device) -> Result<Self> {
        let recipe = &state.about.recipe;
        recipe.prepare(&mut course.train, plan.depth(), device)?;
        if course.fingerprint() != state.about.data {
            return Err(Error::new("it began with other data")
                .advice("give the same --data, and the same options of parts, people and labels"));
        }
        let net = Learner::new(recipe, plan);
        Ok(Self::of(state, net, course, device))
    }

    fn of(state: State, net: Learner, course: Course, device: &Device) -> Self {
        let recipe = &state.about.recipe;
        let views = if net.can_remember() { recipe.views } else { 0 };
        let judged = usize::from(recipe.probe.is_some());
        let faces = |lesson: Lesson, views: usize| {
            let remembered = Remembered::new(lesson.len(), views, recipe.seed);
            Faces {
                remembered: (remembered.progress().1 > 0).then_some(remembered),
                lesson: Arc::new(lesson),
            }
        };
        let classes = course.train.classes();
        let faces = [faces(course.train, views), faces(course.valid, judged), faces(course.report, judged)];
        let tasks = Part::ALL.into_iter().filter(|part| faces[*part as usize].remembered.is_some());
        Self {
            tasks: tasks.map(Task::Remember).collect(),
            state,
            net,
            faces,
            classes,
            device: device.clone(),
            ready: false,
            over: None,
            judged: None,
            failed: false,
        }
    }

    /// Saves everything that the run needs to go on: between epochs, once [`super::Event::Ready`] was told.
    ///
    /// # Errors
    /// A file that cannot be written; or it is not the time.
    pub fn save(&self, file: &Path) -> Result<()> {
        if !self.ready || self.over.is_some() || !self.tasks.is_empty() {
            return Err(Error::new("a run is saved between epochs"));
        }
        self.state.save(file)
    }

    /// What decides this run.
    pub fn recipe(&self) -> &Recipe {
        &self.state.about.recipe
    }

    /// What is learnt from, after images were drawn and labels disturbed.
    pub fn lesson(&self) -> &Lesson {
        &self.faces[Part::Train as usize].lesson
    }

    /// In how many views the outputs of what does not learn are remembered; 0 if they are computed anew in each step.
    pub fn views(&self) -> usize {
        self.faces[Part::Train as usize].remembered.as_ref().map_or(0, Remembered::views)
    }

    /// Epochs done.
    pub fn epoch(&self) -> usize {
        self.state.about.epoch
    }

    /// Steps in an epoch.
    pub fn steps(&self) -> usize {
        self.classes.len() / self.recipe().batch
    }

    /// The best epoch so far: that of the highest accuracy, the first of equals; the start only if all are worse.
    pub fn best(&self) -> Option<Best> {
        self.state.about.best
    }

    /// Forgets the best epoch, whose model is lost: the next one is the best again.
    pub fn forget_best(&mut self) {
        self.state.about.best = None;
    }

    /// How the network's logits are to be read, if they leave out how frequent expressions are.
    pub fn learnt(&self) -> Option<Learnt> {
        let about = &self.state.about;
        match about.recipe.adapt {
            true => about.expected,
            false => about.recipe.adjust.then_some(Learnt { shares: about.priors.seen, usual: 1.0 }),
        }
    }

    /// What it rehearses, see [`rehearsal`]; empty if nothing is.
    ///
    /// # Errors
    /// The device has no room.
    pub fn rehearsal(&self) -> Result<BTreeMap<String, Tensor>> {
        self.net.rehearsal(&self.state.weights)
    }

    /// The network in use as it is now, or the average of its weights if that is wanted, with its card.
    ///
    /// # Errors
    /// The device has no room.
    pub fn model(&self, name: &str) -> Result<Model> {
        let State { about, weights, averaged, .. } = &self.state;
        let recipe = &about.recipe;
        let mut results = toml::Table::new();
        if let Some((judgement, _)) = &self.judged {
            let float = |x: f64| toml::Value::Float((x * 1e4).round() / 1e4);
            results.insert("accuracy on the part that chose the epoch".into(), float(judgement.accuracy));
            results.insert("macro F1 there".into(), float(judgement.macro_f1));
        }
        results.insert("epoch".into(), toml::Value::Integer(about.epoch as i64));
        results.insert("seed".into(), toml::Value::String(recipe.seed.to_string()));
        let what = match recipe.probe {
            None => "the expression branch of LA-Net",
            Some(_) if recipe.adapt => "a classifier on a frozen backbone, adapted to other faces",
            Some(_) => "a classifier on a frozen backbone",
        };
        let card = Card {
            name: name.to_owned(),
            network: recipe.network(),
            description: format!("Tells eight facial expressions: {what}"),
            origin: about.origin.clone(),
            licence: "unknown".into(),
            fingerprint: String::new(),
            mix: recipe.meant.map(|meant| Mix::Always(meant.mix as f32)),
            prior: self.learnt().map(|learnt| learnt.usual).filter(|&usual| usual != 1.0),
            priors: self.learnt().map(|learnt| learnt.shares),
            input: recipe.input(),
            classes: Expression::ALL.to_vec(),
            results,
        };
        let mut tensors = self.net.export(averaged.as_ref().unwrap_or(weights))?;
        about.priors.finish(&mut tensors, recipe.adjust && !recipe.adapt)?;
        Ok(Model::new(card, tensors))
    }

    /// Saves the network in use as it is now in half precision, with its calibration if it was judged: the whole folder
    /// at once.
    ///
    /// # Errors
    /// A folder that cannot be written.
    pub fn save_model(&self, folder: &Path) -> Result<Card> {
        let name = folder.file_name().unwrap_or_default().to_string_lossy();
        let valid = &self.faces[Part::Valid as usize].lesson;
        self.model(&name)?.save_with(folder, DType::F16, |card, fresh| {
            let rehearsal = self.rehearsal()?;
            if !rehearsal.is_empty() {
                rehearsal::save(&fresh.join(REHEARSAL), &rehearsal, &card.fingerprint, false)?;
            }
            let Some((_, logits)) = &self.judged else { return Ok(()) };
            let on = format!("the {} faces that chose the epoch", valid.len());
            Calibration::fit(&card.fingerprint, &on, logits, &valid.truth, self.learnt())?
                .save(&fresh.join(CALIBRATION), false)
        })
    }

    /// One step on one batch, of this number in its epoch.
    pub(super) fn learn(&mut self, batch: &Batch, rate: f64, number: usize) -> Result<Losses> {
        let Faces { lesson, remembered } = &self.faces[Part::Train as usize];
        let sight = match remembered {
            Some(remembered) => Sight::Remembered(remembered.batch(batch, &self.device)?),
            None => Sight::Pictures(batch.pictures(&self.recipe().input(), &self.device)?),
        };
        let losses = step(&mut self.state, &self.net, batch, &sight, (&self.classes, &lesson.truth), rate)?;
        if losses.total.is_finite() {
            return Ok(losses);
        }
        let names: Vec<&str> = batch.samples.iter().take(4).map(|&n| lesson.faces[n].name.as_str()).collect();
        Err(Error::new(format!(
            "the loss is not a number in epoch {}, batch {number} ({}, ...)",
            self.epoch() + 1,
            names.join(", ")
        ))
        .advice("begin again with a lower --rate; models of epochs before stay"))
    }
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
