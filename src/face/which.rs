//! Which of several faces is meant.

use std::str::FromStr;

use crate::error::{Error, Result};
use crate::geometry::Rect;

/// Which face is meant where there may be several.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Which {
    /// The only one; of several it is none.
    #[default]
    Only,
    /// The largest.
    Largest,
    /// The one of this number from the left, from 1.
    Number(usize),
}

impl Which {
    /// The face that is meant among some that lie in `bounds`; `None` if it is not there, or nobody says which of several.
    pub fn choose<T>(self, faces: &[T], bounds: impl Fn(&T) -> Rect) -> Option<&T> {
        match self {
            Self::Only => faces.first().filter(|_| faces.len() == 1),
            Self::Largest => faces.iter().max_by(|a, b| bounds(a).area().total_cmp(&bounds(b).area())),
            Self::Number(n) => {
                let mut faces: Vec<_> = faces.iter().collect();
                faces.sort_by(|a, b| bounds(a).centre().x.total_cmp(&bounds(b).centre().x));
                faces.get(n.checked_sub(1)?).copied()
            }
        }
    }
}

impl FromStr for Which {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match (text, text.parse()) {
            ("largest", _) => Ok(Self::Largest),
            (_, Ok(number)) if number > 0 => Ok(Self::Number(number)),
            _ => Err(Error::usage(format!("'{text}' says no face"))
                .advice("use largest, or a number from the left, from 1")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_only_one_the_largest_or_one_from_the_left() {
        let faces = [50.0, 0.0, 20.0].map(|x| Rect::new(x, 0.0, 10.0 + x, 10.0));
        let chosen = |which: Which, faces: &[Rect]| which.choose(faces, |&face| face).map(|face| face.x);
        let told = |text: &str| chosen(text.parse().unwrap(), &faces);
        assert_eq!(
            [told("largest"), told("1"), told("3"), told("4")],
            [Some(50.0), Some(0.0), Some(50.0), None]
        );
        assert_eq!((chosen(Which::Only, &faces), chosen(Which::Only, &faces[1..2])), (None, Some(0.0)));
        for wrong in ["", "0", "-1", "smallest"] {
            assert!(wrong.parse::<Which>().unwrap_err().line().contains("says no face"));
        }
    }
}
