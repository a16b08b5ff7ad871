//! What a model shall not forget while its classifier is adapted to somebody: features, numbers and no pictures, of some of the
//! faces that it learnt from, in a file beside its weights. Whoever adapts it rehearses them: of these faces the classifier goes on
//! to say what it said.
//!
//! Sources: learning without forgetting (Li and Hoiem 2016, arXiv 1606.09282), which has a net keep what it said; latent replay
//! (Pellegrini et al. 2020, arXiv 1912.01100), which keeps outputs of frozen layers in place of pictures.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use rand::SeedableRng;
use rand::seq::{SliceRandom, index};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::batch::Lesson;
use super::features::Features;
use super::recipe::Recipe;
use super::start::Start;
use crate::clips::Entry;
use crate::error::{Context, Error, Result};
use crate::expression::{COUNT, Distribution};
use crate::net::card::REHEARSAL;
use crate::net::{self, Card};
use crate::part;

/// What stands before the name of a classifier's tensor in the file: features for it (faces, channels x grid x grid).
pub const PREFIX: &str = "rehearsal.";
/// The key of the fingerprint of the weights that the features are of.
const OF: &str = "weights";
/// So many faces are looked at for each that is chosen.
const LOOKED_AT: usize = 6;
/// A face of which the model is certain may be chosen as well.
const LEAST: f64 = 0.02;

/// The files inside the program, by the model's name.
const EMBEDDED: [(&str, &[u8]); 1] =
    [("lanet-sface", include_bytes!("../../models/lanet-sface/rehearsal.safetensors"))];

/// What is rehearsed of a model of this name or folder, by name; nothing if it has no such file.
///
/// # Errors
/// A damaged file, or one of other weights.
pub fn beside(model: &str, card: &Card) -> Result<HashMap<String, Tensor>> {
    let file = Path::new(model).join(REHEARSAL);
    let bytes = match EMBEDDED.iter().find(|(name, _)| *name == model) {
        Some((_, bytes)) => bytes.to_vec(),
        None if net::names().any(|name| name == model) || !file.exists() => return Ok(HashMap::new()),
        None => std::fs::read(&file).with_context(|| format!("'{}' cannot be read", file.display()))?,
    };
    let failed = || format!("what the model {} rehearses cannot be used", card.name);
    let advice = "make it again with lanet-live rehearsal, or delete the file";
    let (_, about) = safetensors::SafeTensors::read_metadata(&bytes).with_context(failed)?;
    if about.metadata().as_ref().and_then(|about| about.get(OF)) != Some(&card.fingerprint) {
        return Err(Error::new(failed()).because(Error::new("it is of other weights")).advice(advice));
    }
    candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
        .with_context(failed)
        .map_err(|error| error.advice(advice))
}

/// Writes what is rehearsed of the weights with this fingerprint.
///
/// # Errors
/// A file that exists, or cannot be written.
pub fn save(
    file: &Path,
    features: &BTreeMap<String, Tensor>,
    fingerprint: &str,
    overwrite: bool,
) -> Result<()> {
    let failed = || format!("'{}' cannot be written", file.display());
    let about = HashMap::from([(OF.to_owned(), fingerprint.to_owned())]);
    let half =
        |(name, t): (&String, &Tensor)| Ok((name.clone(), t.to_dtype(DType::F16)?.to_device(&Device::Cpu)?));
    let tensors = features.iter().map(half).collect::<Result<Vec<_>>>()?;
    part::write(file, overwrite, safetensors::serialize(tensors, Some(about)).with_context(failed)?)
}

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
        if count == 0 || count > all {
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
