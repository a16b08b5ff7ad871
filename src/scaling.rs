//! What makes logits probable as often as they are right (Guo et al. 2017, arXiv 1706.04599): a temperature that all are
//! divided by, or a scale and a shift for each expression (vector scaling). Fitted so that the truth is most probable.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::expression::{COUNT, Expression};

/// Temperatures that are looked at; beyond them the data say nothing about how sure the net is.
const TEMPERATURES: (f64, f64) = (0.2, 20.0);
/// Steps to a vector, each at most so long at first.
const STEPS: usize = 400;
const FIRST_STEP: f64 = 0.05;

/// Each logit is multiplied by its expression's scale, then its shift is added.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Vector {
    /// What each is multiplied by, in the order of [`Expression::ALL`].
    pub scale: [f32; COUNT],
    /// What is added to each.
    pub shift: [f32; COUNT],
}

impl Vector {
    /// The scaled logits.
    pub fn apply(&self, logits: [f32; COUNT]) -> [f32; COUNT] {
        std::array::from_fn(|c| logits[c] * self.scale[c] + self.shift[c])
    }

    /// Whether it is made of numbers and turns nothing round.
    pub fn is_usable(&self) -> bool {
        self.scale.iter().all(|scale| scale.is_finite() && *scale > 0.0)
            && self.shift.iter().all(|shift| shift.is_finite())
    }
}

/// Logits, what is true of each face, and how much each counts.
#[derive(Debug, Clone, Copy)]
pub struct Faces<'a> {
    /// What the network says.
    pub logits: &'a [[f32; COUNT]],
    /// What is true.
    pub truth: &'a [Expression],
    /// How much a face of each expression counts.
    pub weight: [f64; COUNT],
}

impl Faces<'_> {
    /// The mean negative logarithm of the truth's probability, for logits as `scale` makes them.
    pub fn loss(&self, scale: impl Fn([f64; COUNT]) -> [f64; COUNT]) -> f64 {
        let (mut sum, mut all) = (0.0, 0.0);
        for (&logits, &truth) in self.logits.iter().zip(self.truth) {
            let scaled = scale(logits.map(f64::from));
            sum += self.weight[truth as usize] * (log_sum(&scaled) - scaled[truth as usize]);
            all += self.weight[truth as usize];
        }
        sum / all
    }

    /// The temperature under which the truth is most probable.
    ///
    /// # Errors
    /// Logits that are no numbers.
    pub fn temperature(&self) -> Result<f32> {
        let loss = |log: f64| self.loss(|logits| logits.map(|logit| logit / log.exp()));
        let (mut lo, mut hi) = (TEMPERATURES.0.ln(), TEMPERATURES.1.ln());
        // The loss has one valley in 1 / temperature, so thirds that cannot hold its floor are cut away.
        while hi - lo > 1e-5 {
            let (left, right) = (lo + (hi - lo) / 3.0, hi - (hi - lo) / 3.0);
            if loss(left) < loss(right) { hi = right } else { lo = left }
        }
        if !loss(lo).is_finite() {
            return Err(Error::new("a temperature cannot be fitted to logits that are not numbers"));
        }
        Ok(((lo + hi) / 2.0).exp() as f32)
    }

    /// The vector under which the truth is most probable. It is pulled towards a temperature as strongly as one face
    /// pulls it elsewhere, so that expressions of which there is next to nothing keep that.
    pub fn vector(&self, temperature: f32) -> Vector {
        let pull = 1.0 / self.logits.len().max(1) as f64;
        let all: f64 = self.truth.iter().map(|&truth| self.weight[truth as usize]).sum();
        // Scales as parts of 1 / temperature, then shifts; Adam (Kingma and Ba 2015), whose steps do not depend on how
        // large logits are.
        let (mut at, mut first, mut second) = ([[1.0, 0.0]; COUNT], [[0f64; 2]; COUNT], [[0f64; 2]; COUNT]);
        for step in 1..=STEPS {
            let mut slope: [[f64; 2]; COUNT] =
                at.map(|[scale, shift]| [2.0 * pull * (scale - 1.0), 2.0 * pull * shift]);
            for (logits, &truth) in self.logits.iter().zip(self.truth) {
                let logits = logits.map(|logit| f64::from(logit / temperature));
                let scaled: [f64; COUNT] = std::array::from_fn(|c| logits[c] * at[c][0] + at[c][1]);
                let (log_sum, share) = (log_sum(&scaled), self.weight[truth as usize] / all);
                for c in 0..COUNT {
                    let off = (scaled[c] - log_sum).exp() - f64::from(u8::from(c == truth as usize));
                    slope[c][0] += share * off * logits[c];
                    slope[c][1] += share * off;
                }
            }
            let length = FIRST_STEP * (1.0 - (step - 1) as f64 / STEPS as f64);
            for (c, n) in (0..COUNT).flat_map(|c| [(c, 0), (c, 1)]) {
                first[c][n] = 0.9 * first[c][n] + 0.1 * slope[c][n];
                second[c][n] = 0.999 * second[c][n] + 0.001 * slope[c][n].powi(2);
                let mean = first[c][n] / (1.0 - 0.9f64.powi(step as i32));
                let spread = (second[c][n] / (1.0 - 0.999f64.powi(step as i32))).sqrt();
                at[c][n] -= length * mean / (spread + 1e-8);
            }
            // Nothing is turned round.
            at.iter_mut().for_each(|[scale, _]| *scale = scale.max(0.01));
        }
        Vector {
            scale: at.map(|[scale, _]| (scale / f64::from(temperature)) as f32),
            shift: at.map(|[_, shift]| shift as f32),
        }
    }
}

fn log_sum(logits: &[f64; COUNT]) -> f64 {
    let top = logits.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    top + logits.iter().map(|l| (l - top).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use Expression::{Happiness, Neutral};

    #[test]
    fn a_vector_mends_what_a_temperature_cannot() {
        // The net says 0.9 for neutral and happiness alike, but happiness is right half the time only.
        let sure = 9f32.ln();
        let (mut logits, mut truth) = (Vec::new(), Vec::new());
        for n in 0..200 {
            logits.push([sure, 0.0, -1e4, -1e4, -1e4, -1e4, -1e4, -1e4]);
            truth.push(if n % 10 == 0 { Happiness } else { Neutral });
            logits.push([0.0, sure, -1e4, -1e4, -1e4, -1e4, -1e4, -1e4]);
            truth.push(if n % 2 == 0 { Happiness } else { Neutral });
        }
        let faces = Faces { logits: &logits, truth: &truth, weight: [1.0; COUNT] };
        let temperature = faces.temperature().unwrap();
        let vector = faces.vector(temperature);
        assert!(vector.is_usable());
        let by_temperature = faces.loss(|logits| logits.map(|logit| logit / f64::from(temperature)));
        let best = 0.5 * (2f64.ln() - 0.9 * 0.9f64.ln() - 0.1 * 0.1f64.ln());
        let by_vector = faces.loss(|logits| vector.apply(logits.map(|logit| logit as f32)).map(f64::from));
        assert!(by_vector < by_temperature - 0.05 && by_vector - best < 0.003, "{by_vector} {best}");
        // What there is nothing of keeps its temperature.
        assert!((vector.scale[7] * temperature - 1.0).abs() < 0.01 && vector.shift[7].abs() < 0.01);
    }

    #[test]
    fn the_loss_counts_faces_by_their_weight() {
        let logits = [[0.0; COUNT], [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]];
        let mut weight = [1.0; COUNT];
        weight[0] = 0.0;
        let faces = Faces { logits: &logits, truth: &[Happiness, Neutral], weight };
        assert!((faces.loss(|logits| logits) - 8f64.ln()).abs() < 1e-6);
    }
}
