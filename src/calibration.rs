//! Makes probabilities mean what they say: logits are divided by a temperature before the soft-max (Guo et al. 2017,
//! arXiv 1706.04599). What is told does not change, only how sure it is.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::expression::{COUNT, Distribution, Expression};
use crate::part::Part;

/// Temperatures that are looked at; beyond them the data say nothing about how sure the net is.
const TEMPERATURES: (f64, f64) = (0.2, 20.0);

/// A temperature, and the weights that it was fitted for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The fingerprint of the weights, from their card.
    pub fingerprint: String,
    /// What it was fitted on.
    pub fitted_on: String,
    /// Logits are divided by it.
    pub temperature: f32,
}

impl Calibration {
    /// Leaves the probabilities of a model as they are.
    pub fn none(fingerprint: &str) -> Self {
        Self { fingerprint: fingerprint.into(), fitted_on: "nothing".into(), temperature: 1.0 }
    }

    /// The temperature under which the truth is most probable, for logits that the net did not learn from.
    ///
    /// # Errors
    /// No logits, logits that are no numbers, or another number of truths.
    pub fn fit(
        fingerprint: &str,
        fitted_on: &str,
        logits: &[[f32; COUNT]],
        truth: &[Expression],
    ) -> Result<Self> {
        if logits.is_empty() || logits.len() != truth.len() {
            return Err(Error::new(format!(
                "a temperature cannot be fitted to {} faces with {} labels",
                logits.len(),
                truth.len()
            )));
        }
        let loss = |log_temperature: f64| surprise(logits, truth, log_temperature.exp());
        let (mut lo, mut hi) = (TEMPERATURES.0.ln(), TEMPERATURES.1.ln());
        // The loss has one valley in 1 / temperature, so thirds that cannot hold its floor are cut away.
        while hi - lo > 1e-5 {
            let (left, right) = (lo + (hi - lo) / 3.0, hi - (hi - lo) / 3.0);
            if loss(left) < loss(right) { hi = right } else { lo = left }
        }
        if !loss(lo).is_finite() {
            return Err(Error::new("a temperature cannot be fitted to logits that are not numbers"));
        }
        let temperature = ((lo + hi) / 2.0).exp() as f32;
        Ok(Self { fingerprint: fingerprint.into(), fitted_on: fitted_on.into(), temperature })
    }

    /// The calibrated probabilities for a face's logits.
    pub fn apply(&self, logits: [f32; COUNT]) -> Distribution {
        Distribution::softmax(logits.map(|logit| logit / self.temperature))
    }

    /// The calibration of a file's text, if it was made for these weights.
    ///
    /// # Errors
    /// A text that is no calibration, a temperature that is no positive number, or other weights.
    pub fn parse(text: &str, fingerprint: &str) -> Result<Self> {
        let found: Self = toml::from_str(text).context("it does not hold a calibration")?;
        if !(found.temperature.is_finite() && found.temperature > 0.0) {
            return Err(Error::new(format!("its temperature cannot be {}", found.temperature)));
        }
        if found.fingerprint != fingerprint {
            return Err(Error::new("it was made for other weights")
                .advice("fit it again for this model, or leave it out"));
        }
        Ok(found)
    }

    /// The calibration of a file, if it was made for these weights.
    ///
    /// # Errors
    /// As [`Calibration::parse`]; a file that cannot be read.
    pub fn load(file: &Path, fingerprint: &str) -> Result<Self> {
        let failed = || format!("the calibration '{}' cannot be used", file.display());
        Self::parse(&fs::read_to_string(file).with_context(failed)?, fingerprint).with_context(failed)
    }

    /// Writes it; an older file of that name is replaced.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, file: &Path) -> Result<()> {
        let failed = || format!("the calibration '{}' cannot be written", file.display());
        let part = Part::create(file, true)?;
        fs::write(part.path(), toml::to_string(self).with_context(failed)?).with_context(failed)?;
        part.finish()
    }
}

/// The mean negative logarithm of the truth's probability.
fn surprise(logits: &[[f32; COUNT]], truth: &[Expression], temperature: f64) -> f64 {
    let sum: f64 = logits
        .iter()
        .zip(truth)
        .map(|(logits, &truth)| {
            let scaled = logits.map(|logit| f64::from(logit) / temperature);
            let top = scaled.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            top + scaled.iter().map(|l| (l - top).exp()).sum::<f64>().ln() - scaled[truth as usize]
        })
        .sum();
    sum / logits.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use Expression::{Happiness, Neutral};

    /// Faces whose logits differ by `gap` between two expressions, three of four told right.
    fn faces(gap: f32) -> (Vec<[f32; COUNT]>, Vec<Expression>) {
        let logits = [gap, 0.0, -1e4, -1e4, -1e4, -1e4, -1e4, -1e4];
        (vec![logits; 4], vec![Neutral, Neutral, Neutral, Happiness])
    }

    #[test]
    fn the_temperature_makes_three_of_four_a_probability_of_three_quarters() {
        for gap in [0.5, 3.0, 12.0] {
            let (logits, truth) = faces(gap);
            let fitted = Calibration::fit("f", "a test", &logits, &truth).unwrap();
            // ln 3 is the logit of 0.75.
            assert!((fitted.temperature - gap / 3f32.ln()).abs() < 1e-3 * gap, "{fitted:?}");
            assert!((fitted.apply(logits[0]).of(Neutral) - 0.75).abs() < 1e-3);
        }
    }

    #[test]
    fn nothing_and_no_numbers_are_refused() {
        assert!(Calibration::fit("f", "", &[], &[]).is_err());
        assert!(Calibration::fit("f", "", &[[f32::NAN; COUNT]], &[Neutral]).is_err());
    }

    #[test]
    fn another_models_calibration_is_refused() {
        let file = std::env::temp_dir().join(format!("lanet-calibration-{}.toml", std::process::id()));
        let made = Calibration { temperature: 1.5, ..Calibration::none("abc") };
        made.save(&file).unwrap();
        assert_eq!(Calibration::load(&file, "abc").unwrap(), made);
        assert!(Calibration::load(&file, "abd").unwrap_err().line().contains("other weights"));
        fs::write(&file, "temperature = 0.0\nfingerprint = 'abc'\nfitted_on = ''").unwrap();
        assert!(Calibration::load(&file, "abc").unwrap_err().line().contains("cannot be 0"));
        fs::remove_file(&file).unwrap();
        assert!(Calibration::load(&file, "abc").unwrap_err().line().contains("cannot be used"));
    }
}
