//! A calibration that is chosen and judged on faces that it was not fitted to: the faces are shared out in parts, and each
//! part is told by what was fitted to the others. What is kept is fitted to all of them.

use crate::calibration::{Calibration, Learnt, Vectors, weights};
use crate::error::{Error, Result};
use crate::expression::{COUNT, Distribution, Expression};
use crate::folds::share_out;
use crate::metrics::calibration_error;
use crate::prior::Prior;

/// In so many parts.
const PARTS: usize = 5;
/// Less than this say nothing.
const FEWEST: usize = 4 * PARTS;

/// How logits are scaled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Scaling {
    Temperature,
    Vector,
}

/// Faces with what a network says of them.
#[derive(Debug, Clone, Copy)]
pub struct Heard<'a> {
    /// Its logits.
    pub logits: &'a [[f32; COUNT]],
    /// What is true.
    pub truth: &'a [Expression],
    /// Faces of the same number belong together, such as those of one person.
    pub groups: &'a [usize],
}

/// The losses that decided for one thing that is expected: the mean negative logarithm of the truth's probability.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Choice {
    /// What is expected: usual, natural or balanced.
    pub expected: &'static str,
    /// Without calibration.
    pub before: f64,
    /// With a temperature.
    pub temperature: f64,
    /// With a vector.
    pub vector: f64,
    /// What is kept.
    pub chosen: Scaling,
}

/// A calibration and what it was chosen by.
#[derive(Debug, Clone, PartialEq)]
pub struct Fitted {
    /// Fitted to all faces.
    pub calibration: Calibration,
    /// Why a temperature or a vector, for each thing that can be expected.
    pub choices: Vec<Choice>,
    /// What is told of each face without calibration, the usual being expected.
    pub before: Vec<Distribution>,
    /// What is told of each face by what was fitted to the others.
    pub after: Vec<Distribution>,
    /// The calibration error of both.
    pub errors: [f64; 2],
}

impl Fitted {
    /// As [`Calibration::joined`].
    pub fn joined(mut self, natural: &Self, balanced: &Self) -> Self {
        self.calibration = self.calibration.joined(&natural.calibration, &balanced.calibration);
        for choice in &mut self.choices {
            let other = match choice.expected {
                "natural" => natural,
                "balanced" => balanced,
                _ => continue,
            };
            *choice =
                other.choices.iter().copied().find(|c| c.expected == choice.expected).unwrap_or(*choice);
        }
        self
    }
}

/// Fits to faces that the network did not learn from. `wanted` leaves no choice between temperature and vector; of equally
/// good ones it is the temperature. The seed shares the faces out.
///
/// # Errors
/// Too few faces, or what [`Calibration::fit`] says.
pub fn fit(
    (fingerprint, fitted_on): (&str, &str),
    heard: Heard,
    learnt: Option<Learnt>,
    wanted: Option<Scaling>,
    seed: u64,
) -> Result<Fitted> {
    let Heard { logits, truth, groups } = heard;
    if logits.len() < FEWEST || truth.len() != logits.len() || groups.len() != logits.len() {
        return Err(Error::new(format!("{} faces are too few to calibrate with", logits.len()))
            .advice(format!("give at least {FEWEST} faces that the model did not learn from")));
    }
    let fit = |chosen: &dyn Fn(usize) -> bool| {
        let of = |n: &usize| chosen(*n);
        let logits: Vec<_> = (0..truth.len()).filter(of).map(|n| logits[n]).collect();
        let truth: Vec<_> = (0..truth.len()).filter(of).map(|n| truth[n]).collect();
        Calibration::fit(fingerprint, fitted_on, &logits, &truth, learnt)?
            .with_vectors(&logits, &truth, learnt)
    };
    let classes: Vec<usize> = truth.iter().map(|&truth| truth as usize).collect();
    let part_of = share_out(&classes, groups, PARTS, seed);
    let parts = part_of.iter().max().map_or(0, |last| last + 1);
    if parts < 2 {
        return Err(Error::new(
            "all faces belong together, so that none can judge what is fitted to the others",
        )
        .advice("give faces of more people or clips"));
    }
    let fits = (0..parts).map(|part| fit(&|n| part_of[n] != part)).collect::<Result<Vec<_>>>()?;

    let mut calibration = fit(&|_| true)?;
    let (mut choices, mut heard) = (Vec::new(), Vec::new());
    let usual = learnt.map_or(1.0, |learnt| learnt.usual);
    for (expected, prior, power) in [
        ("usual", None, usual),
        ("natural", Some(Prior::NATURAL), 1.0),
        ("balanced", Some(Prior::BALANCED), 0.0),
    ] {
        if learnt.is_none() && prior.is_some() {
            continue;
        }
        let tell = |calibrations: Vec<Calibration>| {
            let ready = calibrations.into_iter().map(|fit| fit.expecting(prior, learnt));
            let ready = ready.collect::<Result<Vec<_>>>()?;
            Ok::<_, Error>((0..truth.len()).map(|n| ready[part_of[n]].apply(logits[n])).collect::<Vec<_>>())
        };
        let before = tell(vec![Calibration::none(fingerprint); parts])?;
        let by_vector = tell(fits.clone())?;
        let mut by_temperature = fits.clone();
        by_temperature.iter_mut().for_each(|fit| fit.vectors = Vectors::default());
        let by_temperature = tell(by_temperature)?;
        let weight = learnt.map_or([1.0; COUNT], |learnt| weights(&learnt.shares, power, truth));
        let loss = |told: &[Distribution]| loss(told, truth, &weight);
        let (temperature, vector) = (loss(&by_temperature), loss(&by_vector));
        let better = if vector < temperature { Scaling::Vector } else { Scaling::Temperature };
        let chosen = wanted.unwrap_or(better);
        choices.push(Choice { expected, before: loss(&before), temperature, vector, chosen });
        let after = if chosen == Scaling::Vector { by_vector } else { by_temperature };
        if chosen == Scaling::Temperature {
            let Vectors { usual, natural, balanced } = &mut calibration.vectors;
            *match expected {
                "usual" => usual,
                "natural" => natural,
                _ => balanced,
            } = None;
        }
        heard.push((before, after));
    }
    let (before, after) = heard.swap_remove(0);
    let errors = [calibration_error(&before, truth), calibration_error(&after, truth)];
    Ok(Fitted { calibration, choices, before, after, errors })
}

fn loss(told: &[Distribution], truth: &[Expression], weight: &[f64; COUNT]) -> f64 {
    let (mut sum, mut all) = (0.0, 0.0);
    for (told, &truth) in told.iter().zip(truth) {
        // No probability is so small in truth; one face shall not decide.
        sum -= weight[truth as usize] * f64::from(told.of(truth)).max(1e-9).ln();
        all += weight[truth as usize];
    }
    sum / all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prior::Shares;
    use Expression::{Happiness, Neutral};

    /// Faces of which the net is `times` too sure; of those it calls happy, so many of ten are.
    fn faces(times: f32, happy: usize) -> (Vec<[f32; COUNT]>, Vec<Expression>) {
        let sure = times * 4f32.ln();
        let rows = (0..400).map(|n| {
            let (score, truth) = if n % 2 == 0 {
                ([sure, 0.0, -50.0, -50.0, -50.0, -50.0, -50.0, -50.0], n / 2 % 10 < 8)
            } else {
                ([0.0, sure, -50.0, -50.0, -50.0, -50.0, -50.0, -50.0], n / 2 % 10 >= happy)
            };
            (score, if truth { Neutral } else { Happiness })
        });
        rows.unzip()
    }

    fn fitted(faces: &(Vec<[f32; COUNT]>, Vec<Expression>), learnt: Option<Learnt>) -> Fitted {
        let groups: Vec<usize> = (0..faces.0.len()).collect();
        let heard = Heard { logits: &faces.0, truth: &faces.1, groups: &groups };
        fit(("f", "a test"), heard, learnt, None, 1).unwrap()
    }

    #[test]
    fn a_temperature_where_it_is_enough_and_a_vector_where_it_is_not() {
        let even = fitted(&faces(3.0, 8), None);
        assert_eq!(even.choices.len(), 1);
        assert_eq!(even.choices[0].chosen, Scaling::Temperature, "{:?}", even.choices);
        assert!((even.calibration.temperature - 3.0).abs() < 0.05 && even.calibration.vectors.is_empty());
        assert!(even.errors[0] > 0.1 && even.errors[1] < 0.03, "{:?}", even.errors);
        let uneven = fitted(&faces(1.0, 5), None);
        assert_eq!(uneven.choices[0].chosen, Scaling::Vector, "{:?}", uneven.choices);
        assert!(uneven.calibration.vectors.usual.is_some() && uneven.errors[1] < uneven.errors[0]);
        // It comes back from its file as it was.
        let text = toml::to_string(&uneven.calibration).unwrap();
        assert_eq!(Calibration::parse(&text, "f").unwrap(), uneven.calibration);
        let broken = text.replacen("scale = [", "scale = [-", 1);
        assert!(Calibration::parse(&broken, "f").unwrap_err().line().contains("scales"));
    }

    #[test]
    fn each_thing_that_can_be_expected_has_a_choice_of_its_own() {
        let mut shares = [0.0; COUNT];
        (shares[0], shares[1]) = (0.5, 0.5);
        let learnt = Learnt { shares: Shares::new(shares).unwrap(), usual: 0.5 };
        let fitted = fitted(&faces(2.0, 5), Some(learnt));
        let names: Vec<_> = fitted.choices.iter().map(|choice| choice.expected).collect();
        assert_eq!(names, ["usual", "natural", "balanced"]);
        for prior in [None, Some(Prior::NATURAL), Some(Prior::BALANCED)] {
            let ready = fitted.calibration.clone().expecting(prior, Some(learnt)).unwrap();
            assert_eq!(ready.words(), "vector scaling");
            // Half of those that it calls happy are.
            assert!((ready.apply(faces(2.0, 5).0[1]).of(Happiness) - 0.5).abs() < 0.1);
        }
    }

    #[test]
    fn too_few_faces_and_faces_that_all_belong_together_are_refused() {
        let (logits, truth) = faces(1.0, 8);
        let refused = |count: usize, groups: &[usize]| {
            let heard = Heard { logits: &logits[..count], truth: &truth[..count], groups };
            fit(("f", ""), heard, None, None, 0).unwrap_err().line()
        };
        assert!(refused(3, &[0, 1, 2]).contains("3 faces are too few"));
        assert!(refused(40, &[7; 40]).contains("belong together"));
    }
}
