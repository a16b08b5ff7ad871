//! In which order samples are learnt: shuffled, or with classes that become equally frequent over the run.

use std::str::FromStr;

use rand::Rng;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Which samples an epoch has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Order {
    /// Each sample once.
    Shuffled,
    /// Class shares move in a line from those of the data in the first epoch to equal ones in the last
    /// (Kang et al. 2020, arXiv 1910.09217). Samples of a class repeat only when all of it has been seen.
    Balanced,
}

impl FromStr for Order {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "shuffled" => Ok(Self::Shuffled),
            "balanced" => Ok(Self::Balanced),
            _ => {
                Err(Error::usage(format!("no sampler is called '{name}'")).advice("use shuffled or balanced"))
            }
        }
    }
}

impl Order {
    /// The samples of an epoch, as many as there are, when `done` of 1 of the run is over; `classes` holds the class of
    /// each sample. A class without samples has no share.
    pub fn draw(self, classes: &[usize], done: f64, rng: &mut impl Rng) -> Vec<usize> {
        let share = match self {
            Self::Shuffled => 0.0,
            Self::Balanced => done.clamp(0.0, 1.0),
        };
        let mut members: Vec<Vec<usize>> = Vec::new();
        for (sample, &class) in classes.iter().enumerate() {
            members.resize(members.len().max(class + 1), Vec::new());
            members[class].push(sample);
        }
        members.retain(|class| !class.is_empty());
        let (n, kinds) = (classes.len() as f64, members.len() as f64);
        // Whole numbers of samples whose running sum follows the exact one, so that they add up to n.
        let (mut exact, mut drawn) = (0.0, 0);
        let mut order = Vec::with_capacity(classes.len());
        for class in &mut members {
            exact += (1.0 - share) * class.len() as f64 + share * n / kinds;
            let quota = (exact.round() as usize).saturating_sub(drawn);
            drawn += quota;
            for i in 0..quota {
                let place = i % class.len();
                if place == 0 {
                    class.shuffle(rng);
                }
                order.push(class[place]);
            }
        }
        order.shuffle(rng);
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_xoshiro::Xoshiro256PlusPlus;

    fn shares(order: Order, done: f64) -> (Vec<usize>, Vec<usize>) {
        // 70, 25 and 5 samples of classes 0, 1 and 3.
        let classes: Vec<usize> =
            (0..100).map(|i| [0, 1, 3][usize::from(i >= 70) + usize::from(i >= 95)]).collect();
        let order = order.draw(&classes, done, &mut Xoshiro256PlusPlus::seed_from_u64(1));
        let mut counts = vec![0; 4];
        order.iter().for_each(|&i| counts[classes[i]] += 1);
        (order, counts)
    }

    #[test]
    fn shares_move_from_those_of_the_data_to_equal_ones() {
        assert_eq!(shares(Order::Balanced, 0.0).1, [70, 25, 0, 5]);
        assert_eq!(shares(Order::Balanced, 1.0).1, [33, 34, 0, 33]);
        assert_eq!(shares(Order::Balanced, 0.5).1, [52, 29, 0, 19]);
        assert_eq!(shares(Order::Shuffled, 1.0).1, [70, 25, 0, 5]);
    }

    #[test]
    fn nobody_comes_again_before_all_of_the_class_have_come() {
        let (mut order, _) = shares(Order::Shuffled, 0.3);
        assert_ne!(order, (0..100).collect::<Vec<_>>());
        order.sort_unstable();
        assert_eq!(order, (0..100).collect::<Vec<_>>());
        let (order, _) = shares(Order::Balanced, 1.0);
        for rare in 95..100 {
            let times = order.iter().filter(|&&i| i == rare).count();
            assert!((6..=7).contains(&times), "{times}");
        }
    }

    #[test]
    fn no_samples_and_one_class_are_fine() {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(1);
        assert!(Order::Balanced.draw(&[], 0.5, &mut rng).is_empty());
        assert_eq!(Order::Balanced.draw(&[2, 2, 2], 1.0, &mut rng).len(), 3);
    }
}
