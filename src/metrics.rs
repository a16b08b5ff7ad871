//! How well expressions are told: slices in, numbers out.

use crate::expression::{COUNT, Distribution, Expression};

/// Bins of a reliability diagram.
pub const BINS: usize = 15;

/// How often each expression was taken for which: `counts[truth][told]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Confusion {
    /// Rows are the truth, columns what was told, both in the order of [`Expression::ALL`].
    pub counts: [[u64; COUNT]; COUNT],
}

impl Confusion {
    /// Counts pairs of truth and what was told.
    pub fn of(pairs: impl IntoIterator<Item = (Expression, Expression)>) -> Self {
        let mut counts = [[0; COUNT]; COUNT];
        for (truth, told) in pairs {
            counts[truth as usize][told as usize] += 1;
        }
        Self { counts }
    }

    /// How many pairs there are.
    pub fn total(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }

    /// The share that was told right; 0 if there is nothing.
    pub fn accuracy(&self) -> f64 {
        share((0..COUNT).map(|i| self.counts[i][i]).sum(), self.total())
    }

    /// For each expression, the share of its faces that was told right; `None` if it has no faces.
    pub fn recall(&self) -> [Option<f64>; COUNT] {
        std::array::from_fn(|i| {
            let faces: u64 = self.counts[i].iter().sum();
            (faces > 0).then(|| share(self.counts[i][i], faces))
        })
    }

    /// The mean recall of the expressions that have faces, each counting the same; 0 if there are none.
    pub fn macro_recall(&self) -> f64 {
        let recall: Vec<_> = self.recall().into_iter().flatten().collect();
        recall.iter().sum::<f64>() / recall.len().max(1) as f64
    }

    /// For each expression, the harmonic mean of its recall and of the share that is right where it is told;
    /// `None` if it has no faces.
    pub fn f1(&self) -> [Option<f64>; COUNT] {
        std::array::from_fn(|i| {
            let faces: u64 = self.counts[i].iter().sum();
            let told: u64 = self.counts.iter().map(|row| row[i]).sum();
            (faces > 0).then(|| share(2 * self.counts[i][i], faces + told))
        })
    }

    /// The mean F1 of the expressions that have faces, each counting the same; 0 if there are none.
    pub fn macro_f1(&self) -> f64 {
        let f1: Vec<_> = self.f1().into_iter().flatten().collect();
        f1.iter().sum::<f64>() / f1.len().max(1) as f64
    }
}

/// Faces of which what was told was about equally probable.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Bin {
    /// How many there are.
    pub faces: u64,
    /// How many of them were told right.
    pub right: u64,
    /// The sum of the probabilities of what was told.
    pub sum: f64,
}

/// Faces in 15 bins of equal width by the probability of what was told (Guo et al. 2017, arXiv 1706.04599).
pub fn reliability(told: &[Distribution], truth: &[Expression]) -> [Bin; BINS] {
    let mut bins = [Bin::default(); BINS];
    for (told, &truth) in told.iter().zip(truth) {
        let (expression, p) = told.top();
        // A probability on the edge of two bins belongs to the lower one; not-a-number goes to the first.
        let bin = &mut bins[((f64::from(p) * BINS as f64).ceil() as usize).clamp(1, BINS) - 1];
        bin.faces += 1;
        bin.right += u64::from(expression == truth);
        bin.sum += f64::from(p);
    }
    bins
}

/// The expected calibration error (Guo et al. 2017): the mean distance between the probability of what was told and the
/// share told right, bins weighted by their faces. 0 if there is nothing.
pub fn calibration_error(told: &[Distribution], truth: &[Expression]) -> f64 {
    let bins = reliability(told, truth);
    let faces: u64 = bins.iter().map(|bin| bin.faces).sum();
    bins.iter().map(|bin| (bin.right as f64 - bin.sum).abs()).sum::<f64>() / faces.max(1) as f64
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Expression::{Anger, Fear, Happiness, Neutral};

    #[test]
    fn a_confusion_of_eight_faces_by_hand() {
        let confusion = Confusion::of([
            (Neutral, Neutral),
            (Neutral, Neutral),
            (Neutral, Neutral),
            (Neutral, Anger),
            (Happiness, Happiness),
            (Happiness, Happiness),
            (Anger, Neutral),
            (Anger, Fear),
        ]);
        assert_eq!((confusion.total(), confusion.accuracy()), (8, 5.0 / 8.0));
        let recall = confusion.recall();
        assert_eq!(recall[Neutral as usize], Some(0.75));
        assert_eq!(recall[Anger as usize], Some(0.0));
        assert_eq!(recall[Fear as usize], None);
        // 3/4, 1 and 0; fear has no faces.
        assert!((confusion.macro_recall() - 1.75 / 3.0).abs() < 1e-12);
        // Neutral: 2 * 3 / (4 faces + 4 told); happiness 1; anger 0; fear has no faces and does not count.
        assert_eq!(confusion.f1()[Neutral as usize], Some(0.75));
        assert!((confusion.macro_f1() - 1.75 / 3.0).abs() < 1e-12);
    }

    #[test]
    fn nothing_is_zero() {
        let nothing = Confusion::default();
        assert_eq!((nothing.accuracy(), nothing.macro_f1(), calibration_error(&[], &[])), (0.0, 0.0, 0.0));
    }

    #[test]
    fn the_calibration_error_by_hand() {
        let sure = |p: f32| Distribution([p, 1.0 - p, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        // Two faces at 0.9, one right: |1 - 1.8| = 0.8. Two at 0.6, both right: |2 - 1.2| = 0.8. Over four: 0.4.
        let told = [sure(0.9), sure(0.9), sure(0.6), sure(0.6)];
        let truth = [Neutral, Happiness, Neutral, Neutral];
        assert!((calibration_error(&told, &truth) - 0.4).abs() < 1e-6);
        assert!(calibration_error(&[sure(1.0)], &[Neutral]) < 1e-9);
    }
}
