//! The eight facial expressions (the six of Ekman and Friesen 1971, contempt, and none), and distributions over them.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// How many expressions there are.
pub const COUNT: usize = Expression::ALL.len();

/// Names that are so much alike (Jaro-Winkler similarity) are taken for one with a slip of the pen.
const ALIKE: f64 = 0.8;

/// What a face expresses. The order is that of FER+ (Barsoum et al. 2016) and of every array in this crate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Expression {
    Neutral,
    Happiness,
    Surprise,
    Sadness,
    Anger,
    Disgust,
    Fear,
    Contempt,
}

impl Expression {
    /// All of them, in order.
    pub const ALL: [Self; 8] = [
        Self::Neutral,
        Self::Happiness,
        Self::Surprise,
        Self::Sadness,
        Self::Anger,
        Self::Disgust,
        Self::Fear,
        Self::Contempt,
    ];

    /// Its name, as in files and on screen.
    pub fn name(self) -> &'static str {
        match self {
            Self::Neutral => "neutral",
            Self::Happiness => "happiness",
            Self::Surprise => "surprise",
            Self::Sadness => "sadness",
            Self::Anger => "anger",
            Self::Disgust => "disgust",
            Self::Fear => "fear",
            Self::Contempt => "contempt",
        }
    }
}

impl std::fmt::Display for Expression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Expression {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self, Error> {
        let wanted = name.trim().to_lowercase();
        Self::ALL.into_iter().find(|e| e.name() == wanted).ok_or_else(|| {
            let alike = |e: &Self| strsim::jaro_winkler(e.name(), &wanted);
            let nearest = Self::ALL.into_iter().max_by(|a, b| alike(a).total_cmp(&alike(b)));
            let meant = nearest.filter(|nearest| alike(nearest) > ALIKE);
            let meant = meant.map_or(String::new(), |nearest| format!("did you mean '{nearest}'? "));
            Error::new(format!("no expression is called '{name}'"))
                .advice(format!("{meant}use one of {}", Self::ALL.map(Self::name).join(", ")))
        })
    }
}

/// A probability for each expression, in their order; they sum to 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Distribution(pub [f32; COUNT]);

impl Distribution {
    /// The soft-max of logits, computed without overflow.
    pub fn softmax(logits: [f32; COUNT]) -> Self {
        let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let exps = logits.map(|logit| (logit - top).exp());
        let sum: f32 = exps.iter().sum();
        Self(exps.map(|e| e / sum))
    }

    /// All of the probability on one expression.
    pub fn certain(expression: Expression) -> Self {
        Self(std::array::from_fn(|n| if n == expression as usize { 1.0 } else { 0.0 }))
    }

    /// The most probable expression and its probability; the first of equals.
    pub fn top(&self) -> (Expression, f32) {
        let mut best = (Expression::ALL[0], self.0[0]);
        for (expression, p) in Expression::ALL.into_iter().zip(self.0).skip(1) {
            if p > best.1 {
                best = (expression, p);
            }
        }
        best
    }

    /// The probability of one expression.
    pub fn of(&self, expression: Expression) -> f32 {
        self.0[expression as usize]
    }

    /// `self` moved towards `other`: weight 0 gives `self`, 1 gives `other`.
    pub fn towards(self, other: Self, weight: f32) -> Self {
        let mut mixed = self.0;
        for (m, o) in mixed.iter_mut().zip(other.0) {
            *m += (o - *m) * weight;
        }
        Self(mixed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_lead_back() {
        for expression in Expression::ALL {
            assert_eq!(expression.name().parse::<Expression>().unwrap(), expression);
            assert_eq!(Expression::ALL[expression as usize], expression);
        }
        assert_eq!("Anger ".parse::<Expression>().unwrap(), Expression::Anger);
        let line = |name: &str| name.parse::<Expression>().unwrap_err().line();
        assert!(line("joy").contains("'joy'") && !line("joy").contains("did you mean"));
        for (slip, meant) in
            [("hapiness", "happiness"), ("Angry", "anger"), ("sad", "sadness"), ("contemt", "contempt")]
        {
            assert!(line(slip).contains(&format!("did you mean '{meant}'?")), "{}", line(slip));
        }
    }

    #[test]
    fn softmax_sums_to_one_even_for_huge_logits() {
        let d = Distribution::softmax([1000.0, 999.0, -1000.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        assert!((d.0.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert_eq!(d.top().0, Expression::Neutral);
        assert!((d.top().1 - 0.7310586).abs() < 1e-5);
    }
}
