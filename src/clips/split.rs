//! What is learnt from and what checks it, where the data do not say: of a clip, and where there are several people of a
//! person, all is on the same side.

use std::collections::BTreeSet;

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;

use super::labels::{Dataset, Entry};
use crate::expression::Expression;
use crate::folds::numbered;

/// Every so many-th picture, clip or person checks what is learnt.
const VALID_SHARE: usize = 10;

/// Whether entries show several people.
fn several_people(entries: &[Entry]) -> bool {
    entries.iter().filter_map(|entry| entry.person.as_deref()).collect::<BTreeSet<_>>().len() > 1
}

/// Numbers of what belongs together: where there are several people all that shows one, else all of a clip, or of a file.
pub fn together(entries: &[Entry]) -> Vec<usize> {
    let several = several_people(entries);
    let name = |entry: &Entry| match (&entry.person, &entry.clip) {
        (Some(person), _) if several => format!("person {person}"),
        (_, Some(clip)) => format!("clip {clip}"),
        _ => format!("file {}", entry.path.display()),
    };
    numbered(&entries.iter().map(name).collect::<Vec<_>>())
}

impl Dataset {
    /// Every tenth person becomes `valid` and the others `train`, drawn by `seed`. Where the data know of one person at
    /// most, every tenth clip or picture of each expression does; an expression's only one is learnt from. What is undecided
    /// goes with whatever it belongs to, else to `train`.
    pub fn share_out(&mut self, train: &str, valid: &str, seed: u64) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let (several, numbers) = (several_people(&self.entries), together(&self.entries));
        // The groups in the order of their first entries, each with what that shows.
        let mut groups: Vec<(Expression, Vec<&mut Entry>)> = Vec::new();
        for (entry, number) in self.entries.iter_mut().zip(numbers) {
            if number == groups.len() {
                groups.push((entry.label, Vec::new()));
            }
            groups[number].1.push(entry);
        }
        let (mut rest, mut layers) = (groups, Vec::new());
        if several {
            layers.push(rest);
        } else {
            for expression in Expression::ALL {
                let (of_it, others) = rest.into_iter().partition(|(label, _)| *label == expression);
                layers.push(of_it);
                rest = others;
            }
        }
        for mut groups in layers {
            groups.shuffle(&mut rng);
            let checked = groups.len().div_ceil(VALID_SHARE).min(groups.len().saturating_sub(1));
            for (n, (_, entries)) in groups.into_iter().enumerate() {
                let split = if n < checked { valid } else { train };
                entries.into_iter().for_each(|entry| entry.split = Some(split.to_owned()));
            }
        }
        let all: Vec<_> = self.entries.iter().chain(&self.undecided).cloned().collect();
        let numbers = together(&all);
        let (decided, undecided) = numbers.split_at(self.entries.len());
        let checked: BTreeSet<_> = (self.entries.iter().zip(decided))
            .filter_map(|(entry, number)| (entry.split.as_deref() == Some(valid)).then_some(number))
            .collect();
        for (entry, number) in self.undecided.iter_mut().zip(undecided) {
            entry.split = Some(if checked.contains(number) { valid } else { train }.to_owned());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use Expression::{Anger, Happiness, Neutral};

    fn entry(label: Expression, name: impl ToString) -> Entry {
        Entry::new(name.to_string().into(), label)
    }

    #[test]
    fn shares_are_drawn_by_seed_and_leave_every_expression_something_to_learn() {
        let mut entries: Vec<_> = (0..95).map(|n| entry(Happiness, n)).collect();
        entries.push(entry(Anger, 95));
        entries.extend((96..98).map(|n| entry(Neutral, n)));
        let mut data = Dataset { entries, ..Dataset::default() };
        data.share_out("train", "valid", 1);
        let count =
            |label, split: &str| data.split(split).unwrap().iter().filter(|e| e.label == label).count();
        assert_eq!((count(Happiness, "train"), count(Happiness, "valid")), (85, 10));
        assert_eq!((count(Anger, "train"), count(Anger, "valid")), (1, 0));
        assert_eq!((count(Neutral, "train"), count(Neutral, "valid")), (1, 1));
        let (mut same, mut other) = (data.clone(), data.clone());
        same.share_out("train", "valid", 1);
        other.share_out("train", "valid", 2);
        assert!(same == data && other != data);
    }

    /// The sides on which each of these names is.
    fn sides(data: &Dataset, name: impl Fn(&Entry) -> String) -> BTreeMap<String, BTreeSet<&str>> {
        let mut sides: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
        for entry in &data.entries {
            sides.entry(name(entry)).or_default().insert(entry.split.as_deref().unwrap());
        }
        sides
    }

    #[test]
    fn the_pieces_of_a_clip_stay_together_and_so_do_the_clips_of_a_person() {
        for seed in 0..20 {
            // Three clips of five pieces each, of one person.
            let pieces = (0..15).map(|n| Entry {
                person: Some("anna".into()),
                ..entry([Anger, Neutral][n % 2], format!("{}.mp4", n % 3))
            });
            let mut data = Dataset { entries: pieces.collect(), ..Dataset::default() };
            data.share_out("train", "valid", seed);
            let clips = sides(&data, |entry| entry.path.display().to_string());
            assert!(clips.len() == 3 && clips.values().all(|sides| sides.len() == 1), "{clips:?}");
            // Faces that were cut out of them, each a file, say which clip they were.
            for (n, entry) in data.entries.iter_mut().enumerate() {
                (entry.clip, entry.path) = (Some(format!("{}.mp4", n % 3)), format!("{n}.png").into());
            }
            data.share_out("train", "valid", seed);
            assert!(sides(&data, |entry| entry.clip.clone().unwrap()).values().all(|sides| sides.len() == 1));
            // Another person.
            for entry in data.entries.iter_mut().skip(9) {
                entry.person = Some("bea".into());
            }
            data.share_out("train", "valid", seed);
            let undecided = ["anna", "bea", "cleo"]
                .map(|person| Entry { person: Some(person.into()), ..entry(Anger, format!("{person}.png")) });
            let mut more = Dataset { undecided: undecided.to_vec(), ..data.clone() };
            more.share_out("train", "valid", seed);
            let people = sides(&data, |entry| entry.person.clone().unwrap());
            for entry in &more.undecided {
                let split = entry.split.as_deref().unwrap();
                let with = people.get(entry.person.as_deref().unwrap());
                assert!(with.map_or(split == "train", |sides| sides.contains(split)), "{entry:?}");
            }
            assert!(people.len() == 2 && people.values().all(|sides| sides.len() == 1), "{people:?}");
            assert_ne!(people["anna"], people["bea"]);
        }
    }
}
