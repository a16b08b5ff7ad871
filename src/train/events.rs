//! What a run of training tells.

use std::time::Duration;

use super::judge::Judgement;
use super::step::Losses;

/// What a training tells.
#[derive(Debug, Clone)]
pub enum Event {
    /// Some of what comes before learning or judging is done.
    Work {
        /// What is counted.
        what: &'static str,
        /// How many are done.
        done: usize,
        /// How many there are.
        all: usize,
    },
    /// All is ready to learn: from here on the run can be saved between epochs.
    Ready,
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
    /// An epoch is done and judged: the moment to save. Where what is learnt is a change of a model, that model is judged
    /// first, as epoch 0.
    Epoch(Epoch),
}

/// What came of an epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub struct Epoch {
    /// Its number, from 1; 0 is the start.
    pub epoch: usize,
    /// Mean losses.
    pub losses: Losses,
    /// The rate of its last step.
    pub rate: f64,
    /// Samples seen in it.
    pub images: usize,
    /// How long the learning took.
    pub took: Duration,
    /// Of the samples whose given label is wrong, the share whose estimated label is right; `None` without LDE or such
    /// samples.
    pub mended: Option<f64>,
    /// What the network in use says of the faces that choose the epoch, if there are any.
    pub judgement: Option<Judgement>,
    /// The accuracy on the faces that choose nothing, if there are any.
    pub reported: Option<f64>,
    /// Whether it is the best so far.
    pub best: bool,
}
