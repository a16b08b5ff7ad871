//! Makes probabilities mean what they say: what is expected is added to logits that leave it out (see
//! [`crate::prior`]), and logits are scaled before the soft-max (see [`crate::scaling`]). A temperature does not change what
//! is told, only how sure it is; a vector may change it.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::expression::{COUNT, Distribution, Expression};
use crate::part;
use crate::prior::{Prior, Shares};
use crate::scaling::{Faces, Vector};

/// Temperatures or vectors, and the weights that they were fitted for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// The fingerprint of the weights, from their card.
    pub fingerprint: String,
    /// What it was fitted on.
    pub fitted_on: String,
    /// Logits are divided by it.
    pub temperature: f32,
    /// The same where expressions are expected as in the data that the net learnt from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub natural: Option<f32>,
    /// The same where all expressions are expected alike.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balanced: Option<f32>,
    /// What takes the place of the temperatures.
    #[serde(default, skip_serializing_if = "Vectors::is_empty")]
    pub vectors: Vectors,
    /// What is added to logits before.
    #[serde(skip)]
    offsets: [f32; COUNT],
}

/// Vectors where they are better than the temperatures, for what is expected as there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[allow(missing_docs)]
pub struct Vectors {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usual: Option<Vector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub natural: Option<Vector>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub balanced: Option<Vector>,
}

impl Vectors {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How a net that leaves it out how frequent expressions are is to be read.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Learnt {
    /// How often the data that it learnt from showed what.
    pub shares: Shares,
    /// How much of that is expected where nobody says what to expect: 1 is natural, 0 balanced.
    pub usual: f32,
}

impl Learnt {
    /// What is added to scores where nobody says what to expect.
    pub fn offsets(&self) -> [f32; COUNT] {
        Prior::Learnt(self.usual).offsets(&self.shares)
    }
}

impl Calibration {
    /// Leaves the probabilities of a model as they are.
    pub fn none(fingerprint: &str) -> Self {
        Self {
            fingerprint: fingerprint.into(),
            fitted_on: "nothing".into(),
            temperature: 1.0,
            natural: None,
            balanced: None,
            vectors: Vectors::default(),
            offsets: [0.0; COUNT],
        }
    }

    /// The temperatures under which the truth is most probable, for logits that the net did not learn from. Where the net
    /// leaves it out how frequent expressions are, faces that are as frequent as in its data count as frequent as is expected.
    ///
    /// # Errors
    /// No logits, logits that are no numbers, or another number of truths.
    pub fn fit(
        fingerprint: &str,
        fitted_on: &str,
        logits: &[[f32; COUNT]],
        truth: &[Expression],
        learnt: Option<Learnt>,
    ) -> Result<Self> {
        if logits.is_empty() || logits.len() != truth.len() {
            return Err(Error::new(format!(
                "a temperature cannot be fitted to {} faces with {} labels",
                logits.len(),
                truth.len()
            )));
        }
        let fit = |power| on(logits, truth, learnt, power, |faces| faces.temperature());
        let usual = fit(learnt.map_or(1.0, |learnt| learnt.usual))?;
        let others = learnt.map(|_| Ok::<_, Error>((fit(1.0)?, fit(0.0)?))).transpose()?;
        Ok(Self {
            fitted_on: fitted_on.into(),
            temperature: usual,
            natural: others.map(|(natural, _)| natural),
            balanced: others.map(|(_, balanced)| balanced),
            ..Self::none(fingerprint)
        })
    }

    /// It with what `natural` was fitted to where expressions are expected as in the net's data, and what `balanced` was where
    /// they are expected alike: for nets that then say something else.
    pub fn joined(self, natural: &Self, balanced: &Self) -> Self {
        let vectors =
            Vectors { natural: natural.vectors.natural, balanced: balanced.vectors.balanced, ..self.vectors };
        Self { natural: natural.natural, balanced: balanced.balanced, vectors, ..self }
    }

    /// It with vectors in place of all its temperatures, fitted to the same faces as they were.
    ///
    /// # Errors
    /// Logits that are no numbers.
    pub fn with_vectors(
        self,
        logits: &[[f32; COUNT]],
        truth: &[Expression],
        learnt: Option<Learnt>,
    ) -> Result<Self> {
        let fit = |power, temperature: Option<f32>| {
            let vector =
                |temperature| on(logits, truth, learnt, power, |faces| Ok(faces.vector(temperature)));
            temperature.map(vector).transpose()
        };
        let vectors = Vectors {
            usual: fit(learnt.map_or(1.0, |learnt| learnt.usual), Some(self.temperature))?,
            natural: fit(1.0, self.natural)?,
            balanced: fit(0.0, self.balanced)?,
        };
        Ok(Self { vectors, ..self })
    }

    /// The calibration where `prior` is expected, or else what is usual, of a net that learnt as `learnt` says.
    ///
    /// # Errors
    /// A prior for a net whose logits already hold one that nobody knows.
    pub fn expecting(self, prior: Option<Prior>, learnt: Option<Learnt>) -> Result<Self> {
        let Some(Learnt { shares, usual }) = learnt else {
            return match prior {
                None | Some(Prior::NATURAL) => Ok(self),
                Some(_) => {
                    Err(Error::usage("the card of the model does not say how often its data showed what")
                        .advice("leave --prior out, or choose a model whose card has priors"))
                }
            };
        };
        let prior = prior.unwrap_or(Prior::Learnt(usual));
        let (temperature, vector) = match prior {
            Prior::NATURAL => (self.natural, self.vectors.natural),
            Prior::BALANCED => (self.balanced, self.vectors.balanced),
            Prior::Learnt(_) | Prior::Shares(_) => (None, None),
        };
        let (temperature, vector) = match temperature {
            Some(temperature) => (temperature, vector),
            None => (self.temperature, self.vectors.usual),
        };
        let vectors = Vectors { usual: vector, ..self.vectors };
        Ok(Self { temperature, vectors, offsets: prior.offsets(&shares), ..self })
    }

    /// The calibrated probabilities for a face's logits.
    pub fn apply(&self, logits: [f32; COUNT]) -> Distribution {
        Distribution::softmax(self.scores(logits))
    }

    /// The logarithms of these probabilities, but for a number that is added to all of them.
    pub fn scores(&self, logits: [f32; COUNT]) -> [f32; COUNT] {
        let logits = plus(logits, self.offsets);
        match &self.vectors.usual {
            Some(vector) => vector.apply(logits),
            None => logits.map(|logit| logit / self.temperature),
        }
    }

    /// How logits are scaled, in words.
    pub fn words(&self) -> String {
        match self.vectors.usual {
            Some(_) => "vector scaling".to_owned(),
            None => format!("temperature {:.3}", self.temperature),
        }
    }

    /// The calibration of a file's text, if it was made for these weights.
    ///
    /// # Errors
    /// A text that is no calibration, a temperature that is no positive number, or other weights.
    pub fn parse(text: &str, fingerprint: &str) -> Result<Self> {
        let found: Self = toml::from_str(text).context("it does not hold a calibration")?;
        for temperature in [Some(found.temperature), found.natural, found.balanced].into_iter().flatten() {
            if !(temperature.is_finite() && temperature > 0.0) {
                return Err(Error::new(format!("its temperature cannot be {temperature}")));
            }
        }
        let Vectors { usual, natural, balanced } = &found.vectors;
        if ![usual, natural, balanced].into_iter().flatten().all(Vector::is_usable) {
            return Err(Error::new("its scales must be positive numbers, and its shifts numbers"));
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

    /// Writes it.
    ///
    /// # Errors
    /// A file that exists (unless `overwrite`) or cannot be written.
    pub fn save(&self, file: &Path, overwrite: bool) -> Result<()> {
        let failed = || format!("the calibration '{}' cannot be written", file.display());
        part::write(file, overwrite, toml::to_string(self).with_context(failed)?)
    }
}

fn plus(logits: [f32; COUNT], offsets: [f32; COUNT]) -> [f32; COUNT] {
    std::array::from_fn(|c| logits[c] + offsets[c])
}

/// Fits to faces where so much of what was learnt is expected: they count as if expressions were so frequent.
fn on<T>(
    logits: &[[f32; COUNT]],
    truth: &[Expression],
    learnt: Option<Learnt>,
    power: f32,
    fit: impl Fn(Faces) -> Result<T>,
) -> Result<T> {
    let Some(Learnt { shares, .. }) = learnt else {
        return fit(Faces { logits, truth, weight: [1.0; COUNT] });
    };
    let offsets = Prior::Learnt(power).offsets(&shares);
    let logits: Vec<_> = logits.iter().map(|&logits| plus(logits, offsets)).collect();
    fit(Faces { logits: &logits, truth, weight: weights(&shares, power, truth) })
}

/// How much a face of each expression counts, so that expressions that are as frequent among these faces as among those learnt
/// from become as frequent as `power` of the learnt shares says. What was never learnt does not count: no scale makes its score
/// say anything.
pub(crate) fn weights(learnt: &Shares, power: f32, truth: &[Expression]) -> [f64; COUNT] {
    let (wanted, natural) = (Prior::Learnt(power).offsets(learnt), Prior::NATURAL.offsets(learnt));
    let known = Expression::ALL.map(|expression| learnt.share(expression) > 0.0);
    let weight = |c: usize| if known[c] { f64::from(wanted[c] - natural[c]).exp() } else { 0.0 };
    match truth.iter().any(|&shown| known[shown as usize]) {
        true => std::array::from_fn(weight),
        false => [1.0; COUNT],
    }
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
            let fitted = Calibration::fit("f", "a test", &logits, &truth, None).unwrap();
            // ln 3 is the logit of 0.75.
            assert!((fitted.temperature - gap / 3f32.ln()).abs() < 1e-3 * gap, "{fitted:?}");
            assert!((fitted.apply(logits[0]).of(Neutral) - 0.75).abs() < 1e-3);
        }
    }

    #[test]
    fn what_is_expected_is_added_and_has_a_temperature_of_its_own() {
        // Two expressions of which the data showed one three times as often; scores that say nothing at all.
        let mut label = [0.0; COUNT];
        (label[0], label[1]) = (0.75, 0.25);
        let learnt = Learnt { shares: Shares::of([label]).unwrap(), usual: 0.5 };
        let silent = [0.0; COUNT];
        let told = |prior| Calibration::none("f").expecting(prior, Some(learnt)).unwrap().apply(silent);
        assert!((told(Some(Prior::NATURAL)).of(Neutral) - 0.75).abs() < 1e-6);
        // All alike but contempt.
        assert!((told(Some(Prior::BALANCED)).of(Neutral) - 1.0 / 7.0).abs() < 1e-6);
        let root = 3f32.sqrt();
        assert!((told(None).of(Neutral) - root / (root + 1.0)).abs() < 1e-6);
        let even = Prior::Shares(Shares::new([0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]).unwrap());
        assert!((told(Some(even)).of(Neutral) - 0.5).abs() < 1e-6);
        // Scores that are three times too sure where both are expected alike.
        let (mut logits, mut truth) = (Vec::new(), Vec::new());
        for (score, label, count) in
            [(3.0, Neutral, 9), (3.0, Happiness, 1), (-3.0, Neutral, 3), (-3.0, Happiness, 3)]
        {
            logits.extend(vec![[score * 1.0986123, 0.0, -1e4, -1e4, -1e4, -1e4, -1e4, -1e4]; count]);
            truth.extend(vec![label; count]);
        }
        let fitted = Calibration::fit("f", "a test", &logits, &truth, Some(learnt)).unwrap();
        assert!((fitted.balanced.unwrap() - 3.0).abs() < 0.01, "{fitted:?}");
        assert!(fitted.natural != fitted.balanced && fitted.temperature != fitted.balanced.unwrap());
        let balanced = fitted.clone().expecting(Some(Prior::BALANCED), Some(learnt)).unwrap();
        assert_eq!(balanced.temperature, fitted.balanced.unwrap());
        assert_eq!(fitted.clone().expecting(None, Some(learnt)).unwrap().temperature, fitted.temperature);
        // A face of what was never learnt says nothing, unless there is no other.
        logits.push([3.0, 0.0, -1e4, -1e4, -1e4, -1e4, 2.0, -1e4]);
        truth.push(Expression::Fear);
        let fit =
            |n: usize| Calibration::fit("f", "a test", &logits[n..], &truth[n..], Some(learnt)).unwrap();
        assert_eq!(fit(0), fitted);
        assert!(fit(truth.len() - 1).balanced.unwrap() > 0.0);
        // A net that has its prior in itself stays as it is.
        assert_eq!(fitted.clone().expecting(None, None).unwrap(), fitted);
        let line = fitted.expecting(Some(Prior::BALANCED), None).unwrap_err().line();
        assert!(line.contains("--prior") && line.contains("card"), "{line}");
    }

    #[test]
    fn nothing_and_no_numbers_are_refused() {
        assert!(Calibration::fit("f", "", &[], &[], None).is_err());
        assert!(Calibration::fit("f", "", &[[f32::NAN; COUNT]], &[Neutral], None).is_err());
    }

    #[test]
    fn another_models_calibration_is_refused() {
        let file = std::env::temp_dir().join(format!("lanet-calibration-{}.toml", std::process::id()));
        let made = Calibration { temperature: 1.5, ..Calibration::none("abc") };
        made.save(&file, false).unwrap();
        assert_eq!(Calibration::load(&file, "abc").unwrap(), made);
        assert!(Calibration::load(&file, "abd").unwrap_err().line().contains("other weights"));
        fs::write(&file, "temperature = 0.0\nfingerprint = 'abc'\nfitted_on = ''").unwrap();
        assert!(Calibration::load(&file, "abc").unwrap_err().line().contains("cannot be 0"));
        fs::remove_file(&file).unwrap();
        assert!(Calibration::load(&file, "abc").unwrap_err().line().contains("cannot be used"));
    }
}
