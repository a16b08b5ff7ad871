//! One step of LA-Net (Wu and Cui 2023, arXiv 2307.09023), the whole of it in sight.

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::branches::Seen;
use super::contrast::{self, Contrast};
use super::heads;
use super::labels;
use super::learner::{Learner, Sight};
use super::loss::{self, Wing};
use super::probe::rehearsed;
use super::recipe::Meant;
use super::state::State;
use super::weights::{Mode, Weights};
use crate::error::{Error, Result};
use crate::expression::{COUNT, Expression};

/// What the parts of the loss were, each before its weight; the mean over some steps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Losses {
    /// The weighted sum.
    pub total: f64,
    /// Cross-entropy with the given labels.
    pub given: f64,
    /// Cross-entropy of the second classifier with what was meant.
    pub meant: f64,
    /// Divergence from the estimated labels.
    pub estimated: f64,
    /// Adaptive wing loss of the heat maps.
    pub landmarks: f64,
    /// The contrastive loss.
    pub contrast: f64,
    /// How much class activation maps of mirrored faces differ from mirrored ones.
    #[serde(default)]
    pub consistency: f64,
    /// Divergence from what the start says of what is rehearsed.
    #[serde(default)]
    pub rehearsed: f64,
    /// The share of samples whose most probable class is that of their given label.
    pub agreement: f64,
    /// The share of samples whose estimated label is sure enough to be a pseudo-label.
    pub sure: f64,
    /// The share of samples whose pseudo-label is right.
    pub sure_and_right: f64,
}

impl Losses {
    /// Adds so much of others.
    pub fn add(&mut self, other: &Self, share: f64) {
        self.total += other.total * share;
        self.given += other.given * share;
        self.meant += other.meant * share;
        self.estimated += other.estimated * share;
        self.landmarks += other.landmarks * share;
        self.contrast += other.contrast * share;
        self.consistency += other.consistency * share;
        self.rehearsed += other.rehearsed * share;
        self.agreement += other.agreement * share;
        self.sure += other.sure * share;
        self.sure_and_right += other.sure_and_right * share;
    }
}

/// Learns from one batch, seen as `sight`, at `rate`; `classes` and `truth` are those that all samples were given and have.
///
/// # Errors
/// Tensors that do not fit. Where the loss is not a number nothing is learnt, and `losses.total` says so.
pub fn step(
    state: &mut State,
    net: &Learner,
    batch: &Batch,
    sight: &Sight,
    (classes, truth): (&[usize], &[Expression]),
    rate: f64,
) -> Result<Losses> {
    let State { about, weights, follower, averaged, optimiser, bank, queues } = state;
    let recipe = &about.recipe;
    let warm = about.epoch >= recipe.warm_up;
    let (Sight::Pictures(x) | Sight::Remembered(x)) = sight;
    let device = x.device();

    // Section 3.2, both branches: f (B, d), logits (B, C), m (B, w), maps (B, L, H/4, W/4)
    let seen = net.forward(weights, sight, Mode::Learn)?;
    let adjusted = |logits: &Tensor, shares| match recipe.adjust {
        true => heads::adjusted(logits, shares),
        false => Ok(logits.clone()),
    };
    let seen = Seen { logits: adjusted(&seen.logits, &about.priors.seen)?, ..seen };
    let cross_entropy = loss::cross_entropy(&seen.logits, &batch.labels(device)?)?;
    let mut losses = vec![("given", 1.0, cross_entropy)];

    if let (Some(Meant { weight, .. }), Some(logits), Some(shares)) =
        (recipe.meant, &seen.meant, &about.priors.meant)
    {
        let cross_entropy = loss::cross_entropy(&adjusted(logits, shares)?, &batch.meant(device)?)?;
        losses.push(("meant", weight, cross_entropy));
    }

    if let (Some(weight), Some((x, told))) = (recipe.rehearsal, rehearsed(weights)) {
        let (x, told) = (Sight::Remembered(x.clone()), told.clone());
        let logits = net.forward(weights, &x, Mode::Learn)?.logits;
        let offsets = about.expected.map_or([0.0; COUNT], |learnt| learnt.offsets());
        let logits = logits.broadcast_add(&Tensor::new(&offsets, device)?)?;
        losses.push(("rehearsed", weight, loss::divergence(&told, &logits)?));
    }

    if let (Some(weight), Sight::Pictures(x)) = (recipe.consistency, sight) {
        let mirrored = net.forward(weights, &Sight::Pictures(x.flip(&[3])?), Mode::Learn)?;
        if let (Some(map), Some(of_mirrored)) = (&seen.map, &mirrored.map) {
            let (maps, of_mirrored) = (class_maps(weights, map)?, class_maps(weights, of_mirrored)?);
            losses.push(("consistency", weight, loss::consistency(&maps, &of_mirrored)?));
        }
    }

    if let (Some(weight), Some(landmark)) = (recipe.landmarks, &seen.landmark) {
        let maps = batch.maps(device)?;
        let wing =
            loss::adaptive_wing(&landmark.maps, &maps.wanted, &maps.near, &maps.known, Wing::default())?;
        losses.push(("landmarks", weight, wing));
    }

    // Section 3.3, LDE: t (B, C) is what the neighbours say, the target (B, C) what the bank makes of it.
    let mut estimate = None;
    if let (Some((lde, weight)), true) = (recipe.lde, warm) {
        let mut spaces = vec![("f", &seen.features)];
        spaces.extend(seen.landmark.as_ref().map(|landmark| ("m", &landmark.features)));
        let shapes = net.compares_landmarks().then(|| batch.shapes(device)).transpose()?;
        spaces.extend(shapes.as_ref().map(|shapes| ("m", shapes)));
        let t = labels::estimate(weights, &spaces, &seen.logits, lde.neighbours)?;
        let remembered = bank.read(&batch.samples, &t)?;
        let target = ((remembered * lde.memory)? + (&t * (1.0 - lde.memory))?)?;
        losses.push(("estimated", weight, loss::divergence(&target, &seen.logits)?));
        let sure = recipe.el.map_or(Contrast::default().sure, |(el, _)| el.sure);
        let pseudo = contrast::pseudo_labels(&target, &batch.samples, sure)?; // (B)
        estimate = Some((t, lde.memory, pseudo));
    }

    // Section 3.4, EL: queries and keys (B, w) of both spaces, keys from the momentum network.
    if let (Some((el, _)), Some(follower)) = (recipe.el, &mut *follower) {
        follower.follow(weights, el.momentum)?;
    }
    let mut keys = None;
    if let (Some((el, weight)), Some(follower), Some(landmark), Some((.., pseudo))) =
        (recipe.el, follower, &seen.landmark, &estimate)
    {
        let other = net.forward(follower, sight, Mode::Follow)?;
        let other_landmark = other.landmark.ok_or_else(|| Error::new("the landmark branch gave nothing"))?;
        let f_keys = contrast::project(follower, "f", &other.features)?;
        let m_keys = contrast::project(follower, "m", &other_landmark.features)?;
        let f = contrast::project(weights, "f", &seen.features)?;
        let m = contrast::project(weights, "m", &landmark.features)?;
        let loss = contrast::contrast((&f, &m), (&f_keys, &m_keys), pseudo, queues, el.temperature)?;
        losses.extend(loss.map(|loss| ("contrast", weight, loss)));
        keys = Some((f_keys, m_keys, el.queue));
    }

    let mut total = losses[0].2.clone();
    for (_, weight, loss) in &losses[1..] {
        total = (total + (loss * *weight)?)?;
    }
    let value = |name: &str| {
        losses.iter().find(|(known, ..)| *known == name).map_or(Ok(0.0), |(.., loss)| scalar(loss))
    };
    let top = seen.logits.argmax(1)?.to_vec1::<u32>()?;
    let pseudo = estimate.as_ref().map_or(&[][..], |(.., pseudo)| pseudo);
    let share = |count: usize| count as f64 / batch.samples.len().max(1) as f64;
    let same = |told: &[u32], class: &dyn Fn(usize) -> usize| {
        share(told.iter().zip(&batch.samples).filter(|&(&t, &s)| t as usize == class(s)).count())
    };
    let told = Losses {
        total: scalar(&total)?,
        given: value("given")?,
        meant: value("meant")?,
        estimated: value("estimated")?,
        landmarks: value("landmarks")?,
        contrast: value("contrast")?,
        consistency: value("consistency")?,
        rehearsed: value("rehearsed")?,
        agreement: same(&top, &|sample| classes[sample]),
        sure: share(pseudo.iter().filter(|&&label| (label as usize) < COUNT).count()),
        sure_and_right: same(pseudo, &|sample| truth[sample] as usize),
    };
    if !told.total.is_finite() {
        return Ok(told);
    }

    let grads = total.backward()?;
    optimiser.step(weights, &grads, rate, |name| net.learns(name))?;
    if let (Some(keep), Some(averaged)) = (recipe.average, averaged) {
        // The first steps, far from where the run will end, are soon forgotten.
        let done = optimiser.steps.values().max().copied().unwrap_or(0) as f64;
        averaged.average(weights, keep.min(done / (9.0 + done)))?;
    }
    if let Some((t, memory, pseudo)) = &estimate {
        bank.remember(&batch.samples, t, *memory)?;
        if let Some((f_keys, m_keys, room)) = keys {
            queues.push(&f_keys, &m_keys, pseudo, room)?;
        }
    }
    Ok(told)
}

/// What the classifier, which does not learn from it, says at each place of a map (B, h, w, d), but for its bias: class
/// activation maps (B, h, w, C), Zhou et al. 2016, arXiv 1512.04150.
fn class_maps(weights: &Weights, map: &Tensor) -> Result<Tensor> {
    let (b, h, w, d) = map.dims4()?;
    let classifier = weights.get("head.weight")?.detach(); // (C, d)
    Ok(map.reshape((b * h * w, d))?.matmul(&classifier.t()?)?.reshape((b, h, w, COUNT))?)
}

fn scalar(t: &Tensor) -> Result<f64> {
    Ok(f64::from(t.to_scalar::<f32>()?))
}
