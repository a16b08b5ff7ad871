//! Which faces a model rehearses: see [`super::rehearsal`].

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand::seq::{SliceRandom, index};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::features::Features;
use super::lesson::Lesson;
use super::recipe::Recipe;
use super::start::Start;
use crate::clips::Entry;
use crate::error::{Context, Error, Result};
use crate::expression::{COUNT, Distribution};

/// So many faces are looked at for each that is chosen.
const LOOKED_AT: usize = 6;
/// A face of which the model is certain may be chosen as well.
const LEAST: f64 = 0.02;

/// Some of the entries, drawn by `seed`: as many as are looked at to choose so many faces.
pub fn draw(mut entries: Vec<Entry>, faces: usize, seed: u64) -> Vec<Entry> {
    entries.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
    entries.truncate(faces.saturating_mul(LOOKED_AT));
    entries
}

/// Chooses what a model shall rehearse from a lesson that it learnt from: an iterator over how many are done, and then
/// [`Choice::finish`].
#[derive(Debug)]
pub struct Choice {
    lesson: Lesson,
    features: Features,
    recipe: Recipe,
    start: Start,
}

impl Choice {
    /// Prepares to look at the faces.
    ///
    /// # Errors
    /// Bare weights, or a model that tells no expressions.
    pub fn new(lesson: Lesson, start: Start, device: &Device) -> Result<Self> {
        let recipe = Recipe { rehearsal: None, ..start.personal()? };
        let features = Features::new(&recipe, &lesson, &start, None, device)?;
        Ok(Self { lesson, features, recipe, start })
    }

    /// Features of so many faces, drawn by `seed`: the more often the less sure the model is of them, and the rarer their
    /// expression is. They stand for what is near its borders, and forgotten first.
    ///
    /// # Errors
    /// Fewer faces, or a picture that cannot be read.
    pub fn finish(mut self, count: usize, seed: u64) -> Result<BTreeMap<String, Tensor>> {
        for progress in self.by_ref() {
            progress?;
        }
        let (classes, all) = (self.lesson.classes(), self.lesson.len());
        if count > all {
            return Err(Error::usage(format!("of {all} faces {count} cannot be chosen"))
                .advice(format!("use --faces from 1 to {all}")));
        }
        let often = |class: usize| classes.iter().filter(|&&other| other == class).count() as f64;
        let often: [f64; COUNT] = std::array::from_fn(often);
        let offsets = self.start.offsets();
        let mut weights = Vec::with_capacity(all);
        for faces in (0..all).collect::<Vec<_>>().chunks(self.recipe.batch) {
            let logits = self.features.told(faces)?.flatten_all()?.to_vec1::<f32>()?;
            for (&face, logits) in faces.iter().zip(logits.as_chunks::<COUNT>().0) {
                let told = Distribution::softmax(std::array::from_fn(|c| logits[c] + offsets[c]));
                weights.push((1.0 - f64::from(told.top().1) + LEAST) / often[classes[face]].sqrt());
            }
        }
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let chosen = index::sample_weighted(&mut rng, all, |face| weights[face], count)
            .context("no faces can be drawn")?;
        let mut chosen = chosen.into_vec();
        chosen.sort_unstable();
        self.features.by_part(&chosen)
    }
}

impl Iterator for Choice {
    type Item = Result<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.features.advance(&self.lesson) {
            Ok(true) => Some(Ok(self.features.progress().0)),
            Ok(false) => None,
            Err(error) => Some(Err(error)),
        }
    }
}
