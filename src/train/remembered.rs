//! What the frozen stages of a backbone make of each face, computed once: with them a laptop without a GPU learns
//! the rest in minutes.

use candle_core::{DType, Device, Tensor};
use half::f16;
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use super::batch::{Batch, Lesson, Look};
use super::branches::Branches;
use super::weights::Weights;
use crate::error::{Error, Result};

/// Faces that go through the frozen stages at once.
const BATCH: usize = 64;
/// As much memory, in bytes, as the outputs may take.
pub const ROOM: usize = 1 << 30;

/// The outputs of the frozen stages for each sample in several views, each augmented in another way; half precision.
#[derive(Debug, Clone)]
pub struct Remembered {
    views: usize,
    shape: [usize; 3], // (H, W, C)
    values: Vec<f16>,
}

impl Remembered {
    /// Computes `views` views of each sample; `None` if [`ROOM`] does not hold them: fewer would show each face always in
    /// the same way. The same seed gives the same views.
    ///
    /// # Errors
    /// A picture that cannot be read, or a network that fails.
    pub fn new(
        net: &Branches,
        weights: &mut Weights,
        look: &Look,
        lesson: &Lesson,
        views: usize,
        seed: u64,
        device: &Device,
    ) -> Result<Option<Self>> {
        if lesson.is_empty() || views == 0 {
            return Ok(None);
        }
        let look = Look { maps: None, ..*look };
        let mut outputs = |chosen: &[(usize, u64)]| -> Result<Tensor> {
            net.frozen_part(weights, &look.batch(lesson, chosen)?.pictures(&look.input, device)?)
        };
        let (_, h, w, c) = outputs(&[(0, 0)])?.dims4()?;
        let bytes = lesson.len() * views * h * w * c * size_of::<f16>();
        if bytes > ROOM {
            return Ok(None);
        }
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let all: Vec<(usize, u64)> = (0..lesson.len())
            .flat_map(|n| std::iter::repeat_n(n, views))
            .map(|n| (n, rng.random()))
            .collect();
        let mut values = Vec::with_capacity(all.len() * h * w * c);
        for chosen in all.chunks(BATCH) {
            values.extend(outputs(chosen)?.to_dtype(DType::F16)?.flatten_all()?.to_vec1::<f16>()?);
        }
        Ok(Some(Self { views, shape: [h, w, c], values }))
    }

    /// How many views of each sample there are.
    pub fn views(&self) -> usize {
        self.views
    }

    /// One view of each sample of a batch, as its seeds have it: (B, H, W, C).
    ///
    /// # Errors
    /// A sample that is not remembered.
    pub fn batch(&self, batch: &Batch, device: &Device) -> Result<Tensor> {
        let [h, w, c] = self.shape;
        let size = h * w * c;
        let mut values = Vec::with_capacity(batch.samples.len() * size);
        for (&sample, &seed) in batch.samples.iter().zip(&batch.seeds) {
            let place = sample * self.views + (seed % self.views as u64) as usize;
            let view = self.values.get(place * size..(place + 1) * size);
            let view = view.ok_or_else(|| Error::new(format!("sample {sample} is not remembered")))?;
            values.extend_from_slice(view);
        }
        Ok(Tensor::from_vec(values, (batch.samples.len(), h, w, c), device)?.to_dtype(DType::F32)?)
    }
}
