//! The features of samples under a backbone that stays as it is: computed once, and kept in a file.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;
use sha2::{Digest, Sha256};

use super::augment::Change;
use crate::clips::Sample;
use crate::error::{Context, Result};
use crate::face::align;
use crate::net::lanet::{self, Pool};
use crate::net::{Input, Trunk, Model};
use crate::part::Part;

/// Faces that go through the net at once.
const BATCH: usize = 16;

/// Computes features: an iterator over how many samples are done, then a tensor.
pub struct FeatureExtraction<'a> {
    backbone: Trunk,
    input: Input,
    pools: Vec<Pool>,
    samples: &'a [Sample],
    round: usize,
    seed: u64,
    device: Device,
    file: Option<PathBuf>,
    known: Option<Tensor>,
    parts: Vec<Tensor>,
    done: usize,
}

impl<'a> FeatureExtraction<'a> {
    /// Prepares to compute the features of samples, changed as in one round (see [`Change::of`]). What an earlier
    /// run wrote to the folder `cache` is used, and what is computed now is written there.
    ///
    /// # Errors
    /// A model that is no backbone.
    pub fn new(
        model: &Model,
        pools: &[Pool],
        samples: &'a [Sample],
        (seed, round): (u64, usize),
        cache: Option<&Path>,
        device: &Device,
    ) -> Result<Self> {
        let file = cache.map(|folder| folder.join(file_name(model, pools, samples, (seed, round))));
        let known = file.as_deref().and_then(|file| load(file, samples.len()));
        Ok(Self {
            backbone: Trunk::from_model(model)?,
            input: model.card.input,
            pools: pools.to_vec(),
            done: if known.is_some() { samples.len() } else { 0 },
            samples,
            round,
            seed,
            device: device.clone(),
            file,
            known,
            parts: Vec::new(),
        })
    }

    /// The features (samples, features), f32 in memory of the CPU. What is not done yet is done now.
    ///
    /// # Errors
    /// A picture that is gone, a network that fails, a cache that cannot be written.
    pub fn finish(mut self) -> Result<Tensor> {
        for done in self.by_ref() {
            done?;
        }
        if let Some(known) = self.known {
            return Ok(known.to_dtype(DType::F32)?);
        }
        let values = Tensor::cat(&self.parts, 0)?;
        if let Some(file) = &self.file {
            save(file, &values)?;
        }
        // As they will come back from the file, so that a second run learns the same.
        Ok(values.to_dtype(DType::F32)?)
    }

    fn compute(&self, first: usize, samples: &[Sample]) -> Result<Tensor> {
        let crops = samples
            .par_iter()
            .enumerate()
            .map(|(n, sample)| {
                let change = Change::of(self.seed, self.round, first + n);
                change.crop(&sample.image()?, sample.mesh.as_ref(), self.input.width)
            })
            .collect::<Result<Vec<_>>>()?;
        let faces = self.input.tensor(&crops, &self.device)?;
        let features = lanet::features(&self.backbone, &self.pools, &faces)?;
        Ok(features.to_dtype(DType::F16)?.to_device(&Device::Cpu)?)
    }
}

impl Iterator for FeatureExtraction<'_> {
    type Item = Result<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done == self.samples.len() {
            return None;
        }
        let end = (self.done + BATCH).min(self.samples.len());
        let part = self.compute(self.done, &self.samples[self.done..end]);
        self.done = if part.is_ok() { end } else { self.samples.len() };
        Some(part.map(|part| {
            self.parts.push(part);
            end
        }))
    }
}

/// The name says everything that the features depend on.
fn file_name(model: &Model, pools: &[Pool], samples: &[Sample], (seed, round): (u64, usize)) -> String {
    let mut hash = Sha256::new();
    let drawn = if round < 2 { 0 } else { seed };
    hash.update(format!("{} {:?} {pools:?} {round} {drawn}", model.card.fingerprint, model.card.input));
    hash.update(align::signature());
    hash.update(format!("{:?} {:?}", Change::of(1, 2, 3), Change::of(5, 6, 7)));
    for sample in samples {
        let size = std::fs::metadata(&sample.path).map_or(0, |file| file.len());
        hash.update(format!("{} {size} {}\n", sample.path.display(), sample.mesh.is_some()));
        for point in sample.mesh.iter().flat_map(|mesh| &mesh.points) {
            // Half precision, as in the cache of the meshes.
            hash.update(half::f16::from_f32(point.x).to_le_bytes());
            hash.update(half::f16::from_f32(point.y).to_le_bytes());
        }
    }
    let name: String = hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    format!("features-{name}.safetensors")
}

fn save(file: &Path, values: &Tensor) -> Result<()> {
    let failed = || format!("the features cannot be kept in '{}'", file.display());
    let bytes = safetensors::serialize([("values", values)], None).with_context(failed)?;
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(failed)?;
    }
    let part = Part::create(file, true)?;
    std::fs::write(part.path(), bytes).with_context(failed)?;
    part.finish()
}

fn load(file: &Path, samples: usize) -> Option<Tensor> {
    let mut tensors: HashMap<_, _> = candle_core::safetensors::load(file, &Device::Cpu).ok()?;
    tensors.remove("values").filter(|values| values.dims2().is_ok_and(|(n, _)| n == samples))
}
