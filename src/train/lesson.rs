//! What is learnt from: faces, the labels that are given, and what they are judged by.

use rand::SeedableRng;
use rand::seq::SliceRandom;
use rand_xoshiro::Xoshiro256PlusPlus;
use sha2::{Digest, Sha256};

use super::noise::Noise;
use super::ops;
use super::portrait::Portrait;
use crate::expression::{COUNT, Expression};
use crate::geometry::Similarity;

/// Faces with the labels that they are learnt with.
#[derive(Debug, Clone, Default)]
pub struct Lesson {
    /// The faces.
    pub faces: Vec<Portrait>,
    /// One distribution for each.
    pub labels: Vec<[f32; COUNT]>,
    /// The expression that each is counted as when the network is judged.
    pub truth: Vec<Expression>,
    /// The expression that each was meant to show, where somebody says so.
    pub meant: Vec<Option<Expression>>,
    /// The place of each one's picture or clip among the entries that the lesson was made of.
    pub entries: Vec<usize>,
}

impl Lesson {
    /// Adds a face of the entry at this place.
    pub fn add(&mut self, face: Portrait, label: [f32; COUNT], truth: Expression, entry: usize) {
        self.faces.push(face);
        self.labels.push(label);
        self.truth.push(truth);
        self.meant.push(None);
        self.entries.push(entry);
    }

    /// Keeps so many of the samples, drawn by `seed`, in their order.
    pub fn draw(&mut self, count: usize, seed: u64) {
        let mut chosen: Vec<usize> = (0..self.len()).collect();
        chosen.shuffle(&mut Xoshiro256PlusPlus::seed_from_u64(seed));
        chosen.truncate(count);
        chosen.sort_unstable();
        self.faces = chosen.iter().map(|&n| self.faces[n].clone()).collect();
        self.labels = chosen.iter().map(|&n| self.labels[n]).collect();
        self.truth = chosen.iter().map(|&n| self.truth[n]).collect();
        self.meant = chosen.iter().map(|&n| self.meant[n]).collect();
        self.entries = chosen.iter().map(|&n| self.entries[n]).collect();
    }

    /// How many samples there are.
    pub fn len(&self) -> usize {
        self.faces.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.faces.is_empty()
    }

    /// The most probable class of each sample, the first of equals.
    pub fn classes(&self) -> Vec<usize> {
        self.labels.iter().map(|label| ops::top(label)).collect()
    }

    /// Makes some labels wrong. Every label becomes a single one.
    pub fn disturb(&mut self, noise: Noise, seed: u64) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        for label in &mut self.labels {
            let given = noise.disturb(Expression::ALL[ops::top(label)], &mut rng);
            *label = [0.0; COUNT];
            label[given as usize] = 1.0;
        }
    }

    /// What was meant, as rows: one expression, or nothing at all.
    pub fn meant_rows(&self) -> impl Iterator<Item = [f32; COUNT]> {
        self.meant.iter().map(row)
    }

    /// SHA-256 over names, pictures, crops, landmarks and labels: whether a run goes on with the data that it began with.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        for (face, label) in self.faces.iter().zip(&self.labels) {
            for part in [face.name.as_bytes(), &face.picture] {
                hash.update((part.len() as u64).to_le_bytes());
                hash.update(part);
            }
            let Similarity { a, b, tx, ty } = face.to_picture;
            let points = face.landmarks.iter().flatten().flat_map(|p| [p.x, p.y]);
            [a, b, tx, ty].into_iter().chain(points).chain(*label).for_each(|x| hash.update(x.to_le_bytes()));
        }
        if self.meant.iter().any(Option::is_some) {
            self.meant.iter().for_each(|meant| hash.update([meant.map_or(u8::MAX, |e| e as u8)]));
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

/// One expression as a row, or nothing at all.
pub(super) fn row(meant: &Option<Expression>) -> [f32; COUNT] {
    let mut row = [0.0; COUNT];
    if let Some(expression) = meant {
        row[*expression as usize] = 1.0;
    }
    row
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::portrait::tests::painted;
    use super::*;

    /// Painted faces of so many classes.
    pub(crate) fn lesson(n: usize, classes: usize) -> Lesson {
        let label = |n: usize| {
            let mut label = [0.0; COUNT];
            label[n % classes] = 1.0;
            label
        };
        let mut lesson = Lesson::default();
        let add = |n| lesson.add(painted(n, classes, 24), label(n), Expression::ALL[n % classes], n);
        (0..n).for_each(add);
        lesson.meant = (0..n).map(|n| (n % 5 > 0).then_some(Expression::ALL[n % classes])).collect();
        lesson
    }

    #[test]
    fn noise_moves_labels_by_its_seed() {
        let disturbed = |seed| {
            let mut lesson = lesson(200, 8);
            lesson.disturb(Noise::Symmetric(0.3), seed);
            lesson
        };
        let (clean, a, b) = (lesson(200, 8), disturbed(1), disturbed(1));
        let moved = a.classes().iter().zip(clean.classes()).filter(|(a, c)| *a != c).count();
        assert!((40..80).contains(&moved), "{moved}");
        assert_eq!(a.fingerprint(), b.fingerprint());
        assert_ne!(a.fingerprint(), disturbed(2).fingerprint());
    }
}
