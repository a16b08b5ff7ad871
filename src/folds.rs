//! Shares samples out into parts of about the same size, so that each can be judged by what the others teach
//! (cross-validation): every part has about its share of each class, and samples that belong together stay together.

use std::collections::BTreeMap;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

/// The numbers of what belongs together, for [`share_out`]: equal names have the same, from 0 in the order of their first.
pub fn numbered<T: Ord>(names: &[T]) -> Vec<usize> {
    let mut numbers = BTreeMap::new();
    let mut number = |name| {
        let next = numbers.len();
        *numbers.entry(name).or_insert(next)
    };
    names.iter().map(&mut number).collect()
}

/// The part, from 0, that each sample belongs to. `groups` says what belongs together: samples of the same number.
/// Less than `parts` groups give as many parts as there are groups. The same seed gives the same parts.
pub fn share_out(classes: &[usize], groups: &[usize], parts: usize, seed: u64) -> Vec<usize> {
    let mut members: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (sample, &group) in groups.iter().enumerate().take(classes.len()) {
        members.entry(group).or_default().push(sample);
    }
    let mut members: Vec<_> = members.into_values().collect();
    members.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
    // Large groups first: the small ones make parts even again.
    members.sort_by_key(|group| std::cmp::Reverse(group.len()));
    let parts = parts.min(members.len()).max(1);
    let mut counts = vec![BTreeMap::<usize, usize>::new(); parts];
    let mut sizes = vec![0; parts];
    let mut part_of = vec![0; classes.len()];
    for group in members {
        // Where this group's classes are rarest, and then where least is.
        let crowd = |part: usize| {
            let same: usize =
                group.iter().map(|&sample| counts[part].get(&classes[sample]).copied().unwrap_or(0)).sum();
            (same, sizes[part])
        };
        let part = (0..parts).min_by_key(|&part| crowd(part)).unwrap_or(0);
        sizes[part] += group.len();
        for sample in group {
            *counts[part].entry(classes[sample]).or_default() += 1;
            part_of[sample] = part;
        }
    }
    part_of
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_part_has_its_share_of_each_class() {
        let classes: Vec<usize> = (0..103).map(|n| usize::from(n % 10 == 0)).collect();
        let alone: Vec<usize> = (0..103).collect();
        let parts = share_out(&classes, &alone, 5, 1);
        for part in 0..5 {
            let of_part = || (0..103).filter(|&n| parts[n] == part);
            assert!((20..=21).contains(&of_part().count()), "{parts:?}");
            assert!((2..=3).contains(&of_part().filter(|&n| classes[n] == 1).count()), "{parts:?}");
        }
        assert_eq!(parts, share_out(&classes, &alone, 5, 1));
        assert_ne!(parts, share_out(&classes, &alone, 5, 2));
    }

    #[test]
    fn equal_names_have_one_number() {
        assert_eq!(numbered(&["b", "a", "b", "c", "a"]), [0, 1, 0, 2, 1]);
    }

    #[test]
    fn what_belongs_together_stays_together() {
        let groups: Vec<usize> = (0..60).map(|n| n / 7).collect();
        let classes: Vec<usize> = (0..60).map(|n| n % 3).collect();
        let parts = share_out(&classes, &groups, 4, 0);
        assert!((1..60).all(|n| groups[n] != groups[n - 1] || parts[n] == parts[n - 1]));
        assert!((0..4).all(|part| (7..=21).contains(&parts.iter().filter(|&&p| p == part).count())));
        assert_eq!(share_out(&classes, &[3; 60], 4, 0), [0; 60]);
        assert!(share_out(&[], &[], 4, 0).is_empty());
    }
}
