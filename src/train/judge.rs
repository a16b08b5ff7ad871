//! How good a network is on faces that it did not learn from.

use crate::expression::{Distribution, Expression};
use crate::metrics::{Confusion, calibration_error};

/// What came of some faces.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judgement {
    /// The share that was told right.
    pub accuracy: f64,
    /// The mean F1 of the expressions, see [`Confusion::macro_f1`].
    pub macro_f1: f64,
    /// How far probabilities are from shares, see [`calibration_error`].
    pub calibration_error: f64,
}

impl Judgement {
    /// Of what was told, and of truths.
    pub fn of(told: &[Distribution], truth: &[Expression]) -> Self {
        let confusion = Confusion::of(truth.iter().copied().zip(told.iter().map(|told| told.top().0)));
        Self {
            accuracy: confusion.accuracy(),
            macro_f1: confusion.macro_f1(),
            calibration_error: calibration_error(told, truth),
        }
    }
}
