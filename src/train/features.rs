//! What a backbone that stays as it is makes of faces, computed once and kept in a file: whoever looks at the same faces
//! again does not wait for it.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use half::f16;
use rand::SeedableRng;
use rand_xoshiro::Xoshiro256PlusPlus;
use sha2::{Digest, Sha256};

use super::batch::Look;
use super::branches::Seen;
use super::lesson::Lesson;
use super::nursery::Nursery;
use super::pictures::Augmentation;
use super::probe::Probe;
use super::recipe::Recipe;
use super::start::Start;
use super::weights::Weights;
use crate::error::{Context, Error, Result};
use crate::geometry::Similarity;
use crate::part;

/// Faces that are looked at between two words of progress.
const TURN: usize = 64;
/// The file in a cache folder. Another backbone's features take its place, so that the folder does not grow.
const FILE: &str = "features.safetensors";
/// As much memory, in bytes, as they may take.
const ROOM: usize = 2 << 30;

/// The features of some faces, in half precision, and the classifier that would learn on them: an iterator over how many
/// faces are done.
#[derive(Debug)]
pub struct Features {
    probe: Probe,
    weights: Weights,
    look: Look,
    device: Device,
    file: Option<PathBuf>,
    key: String,
    values: Vec<f16>,
    faces: usize,
}

impl Features {
    /// Prepares to compute what the backbone of a start makes of the faces of a lesson, as a recipe of a classifier says.
    /// What is kept in the folder `cache` from an earlier time is taken from there.
    ///
    /// # Errors
    /// A start that does not fit, or more faces than memory holds.
    pub fn new(
        recipe: &Recipe,
        lesson: &Lesson,
        start: &Start,
        cache: Option<&Path>,
        device: &Device,
    ) -> Result<Self> {
        start.check(recipe)?;
        let pools =
            recipe.probe.clone().ok_or_else(|| Error::new("features are those of a frozen backbone"))?;
        let probe = Probe::new(recipe.backbone.plan(), pools, false, recipe.network(), recipe.input());
        let probe = probe.adapting(recipe.adapt, false);
        let rng = Xoshiro256PlusPlus::seed_from_u64(recipe.seed);
        let mut nursery = Nursery { rng, dtype: DType::F32, device: device.clone() };
        let weights = probe.grow(&mut nursery, start, false)?;
        if lesson.len() * probe.width() * size_of::<f16>() > ROOM {
            return Err(Error::usage(format!("{} faces are too many at once", lesson.len()))
                .advice("choose a part of the data with --split"));
        }
        let (input, augmentation) = (recipe.input(), Augmentation::NONE);
        let look = Look { input, augmentation, cutmix: 0.0, maps: None, pictures: true };
        let key = key(recipe, lesson, &weights)?;
        let file = cache.map(|folder| folder.join(FILE));
        let known = file.as_deref().and_then(|file| load(file, &key, probe.width(), lesson.len()));
        Ok(Self {
            look,
            values: known.unwrap_or_default(),
            faces: lesson.len(),
            device: device.clone(),
            probe,
            weights,
            file,
            key,
        })
    }

    /// How many faces are done, and how many there are.
    pub fn progress(&self) -> (usize, usize) {
        (self.values.len() / self.probe.width(), self.faces)
    }

    /// Computes the next features; `false` if all are done.
    ///
    /// # Errors
    /// A picture that cannot be read.
    pub fn advance(&mut self, lesson: &Lesson) -> Result<bool> {
        let (done, all) = self.progress();
        if done == all {
            return Ok(false);
        }
        let chosen: Vec<_> = (done..(done + TURN).min(all)).map(|n| (n, 0)).collect();
        let pictures = self.look.batch(lesson, &chosen)?.pictures(&self.look.input, &self.device)?;
        let features = self.probe.features(&self.weights, &pictures)?;
        self.values.extend(features.to_dtype(DType::F16)?.flatten_all()?.to_vec1::<f16>()?);
        Ok(true)
    }

    /// Keeps those that are done for another time.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn save(&self) -> Result<()> {
        let Some(file) = self.file.as_ref().filter(|_| !self.values.is_empty()) else { return Ok(()) };
        let failed = || format!("the features of faces cannot be kept in '{}'", file.display());
        let values = Tensor::from_slice(&self.values, (self.progress().0, self.probe.width()), &Device::Cpu)?;
        let about = HashMap::from([("key".to_owned(), self.key.clone())]);
        let bytes = safetensors::serialize([("features", values)], Some(about)).with_context(failed)?;
        file.parent().map_or(Ok(()), std::fs::create_dir_all).with_context(failed)?;
        part::write(file, true, bytes)
    }

    /// Those of some faces (B, F).
    ///
    /// # Errors
    /// A face that is not done.
    pub fn of(&self, faces: &[usize]) -> Result<Tensor> {
        let width = self.probe.width();
        let mut values = Vec::with_capacity(faces.len() * width);
        for &face in faces {
            let row = self.values.get(face * width..(face + 1) * width);
            values.extend_from_slice(row.ok_or_else(|| Error::new(format!("face {face} has no features")))?);
        }
        Ok(Tensor::from_vec(values, (faces.len(), width), &self.device)?.to_dtype(DType::F32)?)
    }

    /// The weights of a classifier that knows nothing, with the statistics of the features by which they are standardised.
    ///
    /// # Errors
    /// Features that are not done.
    pub fn settled(&self) -> Result<Weights> {
        let mut weights = self.weights.clone();
        let width = self.probe.width();
        let (mut means, mut squares) = (vec![0f64; width], vec![0f64; width]);
        for row in self.values.chunks_exact(width) {
            for (n, value) in row.iter().enumerate() {
                let value = f64::from(value.to_f32());
                means[n] += value;
                squares[n] += value * value;
            }
        }
        let share = 1.0 / self.faces.max(1) as f64;
        let variance = means.iter().zip(&squares).map(|(sum, squares)| {
            let mean = sum * share;
            (squares * share - mean * mean).max(0.0) as f32
        });
        let variance = Tensor::from_vec(variance.collect::<Vec<_>>(), width, &self.device)?;
        let means: Vec<f32> = means.iter().map(|sum| (sum * share) as f32).collect();
        weights.kept.insert("head.mean".into(), Tensor::from_vec(means, width, &self.device)?);
        weights.kept.insert("head.variance".into(), variance);
        Ok(weights)
    }

    /// What the classifier that would be adapted says of some faces (B, C).
    ///
    /// # Errors
    /// As [`Features::of`].
    pub fn told(&self, faces: &[usize]) -> Result<Tensor> {
        Ok(self.forward(&self.weights, &self.of(faces)?)?.logits)
    }

    /// Those of some faces for each tensor of the classifier, under the names of [`super::rehearsal`].
    ///
    /// # Errors
    /// As [`Features::of`].
    pub fn by_part(&self, faces: &[usize]) -> Result<BTreeMap<String, Tensor>> {
        self.probe.by_part(&self.of(faces)?)
    }

    /// What the last stage says of some faces, standardised (B, F of that stage).
    ///
    /// # Errors
    /// As [`Features::of`].
    pub fn last_stage(&self, weights: &Weights, faces: &[usize]) -> Result<Tensor> {
        Ok(self.forward(weights, &self.of(faces)?)?.features)
    }

    /// What a classifier with these weights makes of features (B, F): those of the last stage standardised, and logits (B, C).
    ///
    /// # Errors
    /// Features of another width.
    pub fn forward(&self, weights: &Weights, features: &Tensor) -> Result<Seen> {
        self.probe.forward(weights, features)
    }
}

/// SHA-256 over all that decides features.
fn key(recipe: &Recipe, lesson: &Lesson, weights: &Weights) -> Result<String> {
    let mut hash = Sha256::new();
    hash.update(format!("{:?} {:?} {:?}", recipe.backbone, recipe.input(), recipe.probe));
    let tensors: BTreeMap<_, _> = weights.kept.iter().collect();
    for (name, tensor) in tensors {
        hash.update(name);
        let values = tensor.flatten_all()?.to_device(&Device::Cpu)?.to_vec1::<f32>()?;
        values.iter().for_each(|value| hash.update(value.to_le_bytes()));
    }
    for face in &lesson.faces {
        hash.update((face.picture.len() as u64).to_le_bytes());
        hash.update(&face.picture);
        let Similarity { a, b, tx, ty } = face.to_picture;
        [a, b, tx, ty].into_iter().for_each(|value| hash.update(value.to_le_bytes()));
    }
    Ok(hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect())
}

/// `None` if there is nothing whole that fits; it may hold the first faces only.
fn load(file: &Path, key: &str, width: usize, faces: usize) -> Option<Vec<f16>> {
    let bytes = std::fs::metadata(file).ok()?.is_file().then(|| std::fs::read(file).ok()).flatten()?;
    let (_, about) = safetensors::SafeTensors::read_metadata(&bytes).ok()?;
    if about.metadata().as_ref()?.get("key")? != key {
        return None;
    }
    let mut tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).ok()?;
    let values = tensors.remove("features")?.flatten_all().ok()?.to_vec1::<f16>().ok()?;
    (values.len().is_multiple_of(width) && values.len() <= width * faces).then_some(values)
}
