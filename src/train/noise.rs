//! Wrong labels on purpose, to see who learns them: the noise protocols of the literature.

use std::fmt;
use std::str::FromStr;

use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::expression::Expression;

/// How labels are made wrong, with which probability.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Noise {
    /// To any other expression, each as likely.
    Symmetric(f64),
    /// To the expression that it is most easily taken for; contempt stays.
    ClassDependent(f64),
}

impl FromStr for Noise {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::usage(format!("there is no label noise '{text}'"))
                .advice("use symmetric:0.3 or class-dependent:0.3, with a probability from 0 to 1")
        };
        let (name, probability) = text.split_once(':').ok_or_else(wrong)?;
        let probability = probability.parse().ok().filter(|p| (0.0..=1.0).contains(p)).ok_or_else(wrong)?;
        match name {
            "symmetric" => Ok(Self::Symmetric(probability)),
            "class-dependent" => Ok(Self::ClassDependent(probability)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Noise {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Symmetric(p) => write!(f, "symmetric:{p}"),
            Self::ClassDependent(p) => write!(f, "class-dependent:{p}"),
        }
    }
}

impl Noise {
    /// The label that replaces a true one.
    pub fn disturb(self, label: Expression, rng: &mut impl Rng) -> Expression {
        let (Self::Symmetric(p) | Self::ClassDependent(p)) = self;
        // Both draws always happen, so that the faces after this one do not depend on its label.
        let (moves, by) = (rng.random::<f64>() < p, rng.random_range(1..Expression::ALL.len()));
        match self {
            _ if !moves => label,
            Self::Symmetric(_) => Expression::ALL[(label as usize + by) % Expression::ALL.len()],
            Self::ClassDependent(_) => taken_for(label),
        }
    }
}

fn taken_for(label: Expression) -> Expression {
    match label {
        Expression::Anger => Expression::Disgust,
        Expression::Disgust => Expression::Anger,
        Expression::Fear => Expression::Surprise,
        Expression::Happiness => Expression::Neutral,
        Expression::Sadness => Expression::Neutral,
        Expression::Surprise => Expression::Anger,
        Expression::Neutral => Expression::Sadness,
        Expression::Contempt => Expression::Contempt,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    fn disturbed(noise: Noise, label: Expression) -> [usize; 8] {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(3);
        let mut counts = [0; 8];
        for _ in 0..7000 {
            counts[noise.disturb(label, &mut rng) as usize] += 1;
        }
        counts
    }

    #[test]
    fn symmetric_noise_goes_everywhere_alike() {
        let counts = disturbed(Noise::Symmetric(0.7), Expression::Anger);
        assert!((counts[4] as f64 - 2100.0).abs() < 150.0, "{counts:?}");
        assert!(
            counts.iter().enumerate().all(|(i, &n)| i == 4 || (n as f64 - 700.0).abs() < 100.0),
            "{counts:?}"
        );
        assert_eq!(disturbed(Noise::Symmetric(0.0), Expression::Fear)[6], 7000);
    }

    #[test]
    fn class_dependent_noise_goes_one_way() {
        let counts = disturbed(Noise::ClassDependent(0.3), Expression::Happiness);
        assert!((counts[0] as f64 - 2100.0).abs() < 150.0);
        assert_eq!(counts[0] + counts[1], 7000);
        assert_eq!(disturbed(Noise::ClassDependent(1.0), Expression::Contempt)[7], 7000);
    }

    #[test]
    fn names_are_read_and_written_the_same() {
        for text in ["symmetric:0.3", "class-dependent:0.25"] {
            assert_eq!(text.parse::<Noise>().unwrap().to_string(), text);
        }
        for text in ["symmetric", "symmetric:2", "symmetric:x", "some:0.1", "symmetric:NaN"] {
            assert!(text.parse::<Noise>().unwrap_err().is_usage(), "{text}");
        }
    }
}
