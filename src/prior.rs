//! How often faces show what: in what a net learnt from, and in what it is to expect.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Error, Result};
use crate::expression::{COUNT, Expression};

/// The logarithm of a share of nothing: so low that the expression is never told, and still a number.
const NEVER: f32 = -100.0;

/// A share for each expression, in their order; they sum to 1. In files a table of names; what it lacks has no share.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "BTreeMap<String, f32>", into = "BTreeMap<String, f32>")]
pub struct Shares([f32; COUNT]);

impl Shares {
    /// The means of some labels; `None` if there are none.
    pub fn of(labels: impl IntoIterator<Item = [f32; COUNT]>) -> Option<Self> {
        let mut sums = [0f64; COUNT];
        for label in labels {
            sums.iter_mut().zip(label).for_each(|(sum, share)| *sum += f64::from(share));
        }
        let all: f64 = sums.iter().sum();
        (all > 0.0).then(|| Self(sums.map(|sum| (sum / all) as f32)))
    }

    /// Checks that they are shares of one whole.
    ///
    /// # Errors
    /// A share below zero or that is no number, or a sum other than 1.
    pub fn new(shares: [f32; COUNT]) -> Result<Self> {
        let sum: f32 = shares.iter().sum();
        if shares.iter().any(|share| !(0.0..=1.0).contains(share)) || (sum - 1.0).abs() > 0.005 {
            return Err(Error::new(format!("shares of expressions must sum to 1, not to {sum}"))
                .advice("give each a share from 0 to 1"));
        }
        Ok(Self(shares))
    }

    /// The share of one expression.
    pub fn share(&self, expression: Expression) -> f32 {
        self.0[expression as usize]
    }

    /// Their logarithms, of which none is below -100.
    pub fn logarithms(&self) -> [f32; COUNT] {
        self.0.map(|share| if share > 0.0 { share.ln().max(NEVER) } else { NEVER })
    }
}

impl TryFrom<BTreeMap<String, f32>> for Shares {
    type Error = Error;

    fn try_from(table: BTreeMap<String, f32>) -> Result<Self> {
        let mut shares = [0.0; COUNT];
        for (name, share) in table {
            shares[name.parse::<Expression>()? as usize] = share;
        }
        Self::new(shares)
    }
}

impl From<Shares> for BTreeMap<String, f32> {
    fn from(shares: Shares) -> Self {
        Expression::ALL.into_iter().map(|e| (e.name().to_owned(), shares.share(e))).collect()
    }
}

/// What to expect of the people in front of the camera.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Prior {
    /// So much of how often the net's data showed what: their shares to this power. 1 is natural, 0 balanced. Contempt keeps
    /// its share whatever the power: no set of data has enough of it to expect it as often as the others.
    Learnt(f32),
    /// These shares.
    Shares(Shares),
}

impl Prior {
    /// Expressions are as frequent as in the data that the net learnt from.
    pub const NATURAL: Self = Self::Learnt(1.0);
    /// All expressions are equally frequent, but for contempt.
    pub const BALANCED: Self = Self::Learnt(0.0);

    /// What is added to scores of a net that learnt from these shares.
    pub fn offsets(self, learnt: &Shares) -> [f32; COUNT] {
        match self {
            Self::Learnt(power) => {
                let natural = learnt.logarithms();
                let mut offsets = natural.map(|logarithm| logarithm * power);
                offsets[Expression::Contempt as usize] = natural[Expression::Contempt as usize];
                offsets
            }
            Self::Shares(shares) => shares.logarithms(),
        }
    }
}

impl FromStr for Prior {
    type Err = Error;

    /// `natural`, `balanced`, a number from 0 to 1 between the two, or a file: a line `expression = share` for each expression.
    fn from_str(text: &str) -> Result<Self> {
        match (text, text.parse()) {
            ("natural", _) => Ok(Self::NATURAL),
            ("balanced", _) => Ok(Self::BALANCED),
            (_, Ok(power)) if (0.0..=1.0).contains(&power) => Ok(Self::Learnt(power)),
            (_, Ok(power)) => Err(Error::usage(format!("a prior cannot be {power}"))
                .advice("use natural, balanced, a number from 0 to 1, or a file")),
            (file, Err(_)) => {
                let failed = || format!("the prior '{file}' cannot be used");
                let text = std::fs::read_to_string(Path::new(file)).with_context(failed).map_err(|e| {
                    e.advice(
                        "use natural, balanced, a number from 0 to 1, or a file of lines like anger = 0.2",
                    )
                })?;
                toml::from_str(&text)
                    .map(Self::Shares)
                    .map_err(|error| Error::new(failed()).because(Error::new(error.message().to_owned())))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prior_is_a_word_a_number_or_a_file_and_anything_else_is_refused_in_one_line() {
        assert_eq!("natural".parse::<Prior>().unwrap(), Prior::NATURAL);
        assert_eq!("balanced".parse::<Prior>().unwrap(), Prior::BALANCED);
        assert_eq!("0.25".parse::<Prior>().unwrap(), Prior::Learnt(0.25));
        let line = |text: &str| text.parse::<Prior>().unwrap_err().line();
        assert!(line("1.5").contains("cannot be 1.5") && line("NaN").contains("cannot be NaN"));
        assert!(line("no such file").contains("no such file"));
        let file = std::env::temp_dir().join(format!("lanet-prior-{}.toml", std::process::id()));
        let name = file.to_str().unwrap();
        for (text, wrong) in [
            ("anger = 0.5\nfear = 0.5", None),
            ("anger = 0.5", Some("sum to 1")),
            ("joy = 1.0", Some("'joy'")),
            ("anger = 'much'", Some("prior")),
        ] {
            std::fs::write(&file, text).unwrap();
            match wrong {
                None => assert!(matches!(name.parse().unwrap(), Prior::Shares(_))),
                Some(wrong) => {
                    assert!(line(name).contains(wrong) && !line(name).contains('\n'), "{}", line(name))
                }
            }
        }
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn shares_come_from_labels_and_from_tables() {
        let mut one = [0.0; COUNT];
        one[Expression::Fear as usize] = 1.0;
        let half = [0.5, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let shares = Shares::of([one, half]).unwrap();
        assert_eq!((shares.share(Expression::Fear), shares.share(Expression::Neutral)), (0.5, 0.25));
        assert_eq!(shares.logarithms()[Expression::Contempt as usize], NEVER);
        let text = toml::to_string(&shares).unwrap();
        assert_eq!(toml::from_str::<Shares>(&text).unwrap(), shares);
        assert!(Shares::of([]).is_none());
        let line = |text| toml::from_str::<Shares>(text).unwrap_err().to_string();
        assert!(line("anger = 0.4\nfear = 0.4").contains("sum to 1"));
        assert!(line("anger = 1.0\njoy = 0.0").contains("'joy'"));
        assert!(line("anger = 2.0\nfear = -1.0").contains("sum to 1"));
    }
}
