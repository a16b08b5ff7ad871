//! What the part of a network that does not learn makes of each face, computed once: with it a laptop without a GPU
//! learns the rest in minutes, a classifier alone in seconds.
//!
//! The first view of a face is as it is and the second its mirror image, if faces are mirrored at all; the others differ
//! as the recipe's augmentation and the seed say.

use candle_core::{DType, Device, Tensor};
use half::f16;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::batch::{Batch, Look};
use super::lesson::Lesson;
use super::pictures::Augmentation;
use crate::error::{Error, Result};

/// As much memory, in bytes, as the outputs may take.
pub const ROOM: usize = 1 << 30;

/// Outputs for each sample in several views, in half precision.
#[derive(Debug, Clone)]
pub struct Remembered {
    samples: usize,
    views: usize,
    rng: Xoshiro256PlusPlus,
    shape: Vec<usize>,
    values: Vec<f16>, // (views, samples, shape)
}

impl Remembered {
    /// Room for so many views of so many samples; the same seed gives the same views.
    pub fn new(samples: usize, views: usize, seed: u64) -> Self {
        let rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        Self { samples, views, rng, shape: Vec::new(), values: Vec::new() }
    }

    /// How many views of each sample there are.
    pub fn views(&self) -> usize {
        self.views
    }

    /// How many outputs are there, and how many there will be.
    pub fn progress(&self) -> (usize, usize) {
        let size = self.shape.iter().product::<usize>().max(1);
        (self.values.len() / size, self.samples * self.views)
    }

    /// Adds what `see` makes of the next faces, at most so many. `false` if [`ROOM`] does not hold them all: fewer views would show each
    /// face always in the same way.
    ///
    /// # Errors
    /// A picture that cannot be read, or what `see` says.
    pub fn add(
        &mut self,
        lesson: &Lesson,
        look: &Look,
        turn: usize,
        mut see: impl FnMut(&Batch) -> Result<Tensor>,
    ) -> Result<bool> {
        let (done, all) = self.progress();
        let (view, first) = (done / self.samples.max(1), done % self.samples.max(1));
        let mirrors = look.augmentation.mirror > 0.0;
        let augmentation = match view {
            0 => Augmentation::NONE,
            1 if mirrors => Augmentation { mirror: 1.0, ..Augmentation::NONE },
            _ => look.augmentation,
        };
        let look = Look { augmentation, maps: None, pictures: true, ..*look };
        let end = (first + turn).min(self.samples);
        let chosen: Vec<_> = (first..end).map(|n| (n, self.rng.random())).collect();
        let outputs = see(&look.batch(lesson, &chosen)?)?;
        if self.shape.is_empty() {
            self.shape = outputs.dims()[1..].to_vec();
            let numbers = all * self.shape.iter().product::<usize>();
            if numbers * size_of::<f16>() > ROOM {
                return Ok(false);
            }
            self.values.reserve_exact(numbers);
        }
        self.values.extend(outputs.to_dtype(DType::F16)?.flatten_all()?.to_vec1::<f16>()?);
        Ok(true)
    }

    /// One view of each sample of a batch, as its seeds have it: (B, ...).
    ///
    /// # Errors
    /// A sample that is not remembered.
    pub fn batch(&self, batch: &Batch, device: &Device) -> Result<Tensor> {
        let size = self.shape.iter().product::<usize>();
        let mut values = Vec::with_capacity(batch.samples.len() * size);
        for (&sample, &seed) in batch.samples.iter().zip(&batch.seeds) {
            let place = (seed % self.views as u64) as usize * self.samples + sample;
            let view = self.values.get(place * size..(place + 1) * size);
            let view = view.ok_or_else(|| Error::new(format!("sample {sample} is not remembered")))?;
            values.extend_from_slice(view);
        }
        let shape = [&[batch.samples.len()], &self.shape[..]].concat();
        Ok(Tensor::from_vec(values, shape, device)?.to_dtype(DType::F32)?)
    }
}
