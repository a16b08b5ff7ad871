//! The faces that are most like each face among very many: as [`super::labels::nearest`], which is for a batch.

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::ops;
use crate::error::Result;

/// Faces whose neighbours are looked for at a time.
pub const TURN: usize = 256;
/// Of those, faces that one thread compares with all.
const AT_ONCE: usize = 32;

/// Points in a space, by direction.
#[derive(Debug)]
pub struct Space {
    unit: Tensor, // (N, d)
}

impl Space {
    /// The space of these points (N, d).
    ///
    /// # Errors
    /// The device has no room.
    pub fn new(points: &Tensor) -> Result<Self> {
        Ok(Self { unit: ops::unit(&points.to_dtype(DType::F32)?.to_device(&Device::Cpu)?)?.contiguous()? })
    }

    /// For each of `TURN` points from `first` on the `k` others that are most similar by cosine, most similar first, among
    /// those that `may` vote for it; fewer where there are fewer.
    ///
    /// # Errors
    /// A point that is not there.
    pub fn nearest(
        &self,
        first: usize,
        k: usize,
        may: impl Fn(usize, usize) -> bool + Sync,
    ) -> Result<Vec<Vec<usize>>> {
        let count = self.unit.dim(0)?;
        let rows: Vec<usize> = (first..count.min(first + TURN)).collect();
        let nearest = |(row, similar): (&usize, Vec<f32>)| {
            let mut others: Vec<usize> = (0..count).filter(|&other| may(*row, other)).collect();
            let by_similarity = |&p: &usize, &q: &usize| similar[q].total_cmp(&similar[p]).then(p.cmp(&q));
            if others.len() > k {
                others.select_nth_unstable_by(k, by_similarity);
                others.truncate(k);
            }
            others.sort_unstable_by(by_similarity);
            others
        };
        let looked = rows.par_chunks(AT_ONCE).map(|rows| {
            let own = self.unit.narrow(0, rows[0], rows.len())?;
            let similar = own.matmul(&self.unit.t()?)?.to_vec2::<f32>()?;
            Ok(rows.iter().zip(similar).map(nearest).collect::<Vec<_>>())
        });
        Ok(looked.collect::<Result<Vec<_>>>()?.concat())
    }
}

#[cfg(test)]
mod tests {
    use super::super::ops::tests::noise;
    use super::*;

    #[test]
    fn they_are_those_that_a_batch_finds() {
        let points = noise(&[40, 6], 3);
        let space = Space::new(&points).unwrap();
        let expected = super::super::labels::nearest(&points, 5).unwrap();
        let found = space.nearest(7, 5, |own, other| own != other).unwrap();
        assert_eq!(found.len(), 33);
        for (found, expected) in found.iter().zip(&expected[7..]) {
            let expected: Vec<usize> = expected.iter().map(|&n| n as usize).collect();
            assert_eq!(*found, expected);
        }
        // Only so many may vote.
        assert_eq!(space.nearest(39, 5, |_, other| other < 3).unwrap()[0].len(), 3);
    }
}
