//! Batches: samples become pictures, labels and heat maps, ahead of time on a thread of their own.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use rayon::prelude::*;

use super::landmarks::{self, Spots, heat_maps};
use super::lesson::{Lesson, row};
use super::pictures::Augmentation;
use super::plane::Plane;
use crate::error::{Error, Result};
use crate::expression::COUNT;
use crate::flow::{Delivery, Stream, source};
use crate::frame::Image;
use crate::geometry::Point;
use crate::net::Input;

/// A batch in memory, ready to become tensors.
#[derive(Debug)]
pub struct Batch {
    /// The numbers of its samples.
    pub samples: Vec<usize>,
    /// The seed of the augmentation of each.
    pub seeds: Vec<u64>,
    map_side: usize,
    pictures: Vec<Image>,
    landmarks: Vec<Option<landmarks::Landmarks>>,
    labels: Vec<f32>,
    meant: Vec<f32>,
    maps: Vec<f32>,
    near: Vec<f32>,
    known: Vec<f32>,
}

/// Heat maps to learn: maps and nearness (B, L, h, w), and which faces have any (B).
#[derive(Debug)]
pub struct Maps {
    /// The heat maps.
    pub wanted: Tensor,
    /// 1 close to a landmark.
    pub near: Tensor,
    /// 1 for faces whose landmarks are known.
    pub known: Tensor,
}

/// How samples become a batch.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// Rows and columns, and how values are normalised.
    pub input: Input,
    /// How pictures differ from epoch to epoch.
    pub augmentation: Augmentation,
    /// The heat maps, if any are made.
    pub maps: Option<Spots>,
    /// Whether pictures are made; without them a batch says only who is in it.
    pub pictures: bool,
    /// How often a rectangle of a picture is that of the next one in the batch, and the labels are mixed by its area.
    pub cutmix: f64,
}

impl Look {
    /// The batch of some samples, each with the seed of its augmentation.
    ///
    /// # Errors
    /// A picture that cannot be read, by name.
    pub fn batch(&self, lesson: &Lesson, chosen: &[(usize, u64)]) -> Result<Batch> {
        let side = self.input.width;
        let grey = self.input.mean.iter().sum::<f32>() / 3.0;
        let seen = if self.pictures { chosen } else { &[] };
        let faces = seen
            .par_iter()
            .map(|&(n, seed)| {
                let face = &lesson.faces[n];
                Ok(self.augmentation.apply(&face.crop(side)?, face.landmarks.as_ref(), side, grey, seed))
            })
            .collect::<Result<Vec<_>>>()?;
        let (mut pictures, mut points): (Vec<_>, Vec<_>) = faces.into_iter().unzip();
        let mut labels: Vec<_> = chosen.iter().map(|&(n, _)| lesson.labels[n]).collect();
        let mut meant: Vec<_> = chosen.iter().map(|&(n, _)| row(&lesson.meant[n])).collect();
        if self.cutmix > 0.0 && !seen.is_empty() {
            let (others, of_others, meant_by_others) = (pictures.clone(), labels.clone(), meant.clone());
            for (i, &(_, seed)) in seen.iter().enumerate() {
                let next = (i + 1) % seen.len();
                let mut rng = Xoshiro256PlusPlus::seed_from_u64(!seed);
                if !rng.random_bool(self.cutmix.clamp(0.0, 1.0)) {
                    continue;
                }
                let area = pictures[i].paste(&others[next], &mut rng);
                let mix = |row: &mut [f32; COUNT], other: &[f32; COUNT]| {
                    row.iter_mut().zip(other).for_each(|(a, b)| *a += area * (b - *a));
                };
                mix(&mut labels[i], &of_others[next]);
                mix(&mut meant[i], &meant_by_others[next]);
                points[i] = None;
            }
        }
        let (maps, near) = self.maps.map_or_else(Default::default, |spots| heat_maps(&points, spots));
        Ok(Batch {
            samples: chosen.iter().map(|&(n, _)| n).collect(),
            seeds: chosen.iter().map(|&(_, seed)| seed).collect(),
            map_side: self.maps.map_or(0, |spots| spots.side),
            pictures: pictures.iter().map(Plane::image).collect::<Result<_>>()?,
            landmarks: chosen.iter().map(|&(n, _)| lesson.faces[n].landmarks).collect(),
            labels: labels.into_flattened(),
            meant: meant.into_flattened(),
            maps,
            near,
            known: points.iter().map(|face| f32::from(face.is_some())).collect(),
        })
    }

    /// The batches of `size` samples of an epoch, made ahead. Samples that do not fill the last batch wait for another epoch.
    pub fn batches(
        self,
        lesson: Arc<Lesson>,
        order: &[usize],
        size: usize,
        rng: &mut Xoshiro256PlusPlus,
    ) -> Stream<Batch> {
        let chosen: Vec<(usize, u64)> = order.iter().map(|&n| (n, rng.random())).collect();
        let count = chosen.len() / size.max(1);
        source(
            "batches",
            Delivery::Every,
            (0..count).map(move |i| self.batch(&lesson, &chosen[i * size..][..size])),
        )
    }
}

impl Batch {
    /// The pictures as the network sees them (B, 3, H, W).
    ///
    /// # Errors
    /// The device has no room.
    pub fn pictures(&self, input: &Input, device: &Device) -> Result<Tensor> {
        input.tensor(&self.pictures, device)
    }

    /// The labels (B, C).
    ///
    /// # Errors
    /// The device has no room.
    pub fn labels(&self, device: &Device) -> Result<Tensor> {
        Ok(Tensor::from_slice(&self.labels, (self.samples.len(), COUNT), device)?)
    }

    /// Where the landmarks of the faces as they are lie (B, 2 L), about their means over the batch and in units of their
    /// deviation; zeros where they are not known.
    ///
    /// # Errors
    /// The device has no room.
    pub fn shapes(&self, device: &Device) -> Result<Tensor> {
        let known = || self.landmarks.iter().flatten();
        let share = 1.0 / known().count().max(1) as f32;
        let mut middle = landmarks::Landmarks::default();
        for face in known() {
            middle
                .iter_mut()
                .zip(face)
                .for_each(|(m, p)| *m = Point::new(m.x + p.x * share, m.y + p.y * share));
        }
        let off = |face: &landmarks::Landmarks| {
            face.iter().zip(middle).map(|(p, m)| [p.x - m.x, p.y - m.y]).collect()
        };
        let rows: Vec<Vec<[f32; 2]>> = self
            .landmarks
            .iter()
            .map(|face| face.as_ref().map_or(vec![[0.0; 2]; landmarks::COUNT], off))
            .collect();
        let values: Vec<f32> = rows.iter().flatten().flatten().copied().collect();
        let square = values.iter().map(|x| x * x).sum::<f32>() * share / (2 * landmarks::COUNT) as f32;
        let shapes = Tensor::from_vec(values, (rows.len(), 2 * landmarks::COUNT), device)?;
        Ok((shapes / f64::from(square.sqrt().max(f32::MIN_POSITIVE)))?)
    }

    /// What was meant (B, C): a row is one expression, or nothing where nobody says so.
    ///
    /// # Errors
    /// The device has no room.
    pub fn meant(&self, device: &Device) -> Result<Tensor> {
        Ok(Tensor::from_slice(&self.meant, (self.samples.len(), COUNT), device)?)
    }

    /// The heat maps.
    ///
    /// # Errors
    /// The device has no room, or the batch was made without.
    pub fn maps(&self, device: &Device) -> Result<Maps> {
        let (b, side) = (self.samples.len(), self.map_side);
        if self.maps.is_empty() {
            return Err(Error::new("the batch was made without heat maps"));
        }
        let shape = (b, landmarks::COUNT, side, side);
        Ok(Maps {
            wanted: Tensor::from_slice(&self.maps, shape, device)?,
            near: Tensor::from_slice(&self.near, shape, device)?,
            known: Tensor::from_slice(&self.known, b, device)?,
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::lesson::tests::lesson;
    use super::*;
    use crate::net::Backbone;

    #[test]
    fn batches_are_what_the_seed_says_and_hold_every_part() {
        let lesson = Arc::new(lesson(10, 4));
        let look = Look {
            input: Backbone::Resnet18.input(16),
            augmentation: Augmentation::default(),
            maps: Some(Spots { side: 4, sigma: 1.5 }),
            pictures: true,
            cutmix: 0.0,
        };
        let order: Vec<usize> = (0..10).rev().collect();
        let make = |seed| {
            let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
            let batches = look.batches(lesson.clone(), &order, 4, &mut rng);
            batches.collect::<Result<Vec<_>>>().unwrap()
        };
        let (one, same, other) = (make(1), make(1), make(2));
        assert_eq!(one.len(), 2);
        assert_eq!(one[1].samples, [5, 4, 3, 2]);
        assert_eq!(one[1].pictures, same[1].pictures);
        assert_ne!(one[1].pictures, other[1].pictures);
        let x = one[0].pictures(&look.input, &Device::Cpu).unwrap();
        assert_eq!(x.dims(), [4, 3, 16, 16]);
        let grey = f32::from(one[0].pictures[0].bgr(5, 0)[0]);
        let found = x.flatten_all().unwrap().to_vec1::<f32>().unwrap()[256 + 5];
        assert!((found - (grey - 116.28) / 57.12).abs() < 1e-4);
        let maps = one[0].maps(&Device::Cpu).unwrap();
        assert_eq!(maps.wanted.dims(), [4, landmarks::COUNT, 4, 4]);
        // The samples are 9, 8, 7 and 6; number 7 has no landmarks.
        assert_eq!(maps.known.to_vec1::<f32>().unwrap(), [1.0, 1.0, 0.0, 1.0]);
        assert_eq!(one[0].labels(&Device::Cpu).unwrap().to_vec2::<f32>().unwrap()[0][1], 1.0);
    }

    #[test]
    fn a_piece_of_the_next_picture_brings_its_share_of_the_label() {
        let lesson = lesson(6, 2);
        let look = Look {
            input: Backbone::Resnet18.input(24),
            augmentation: Augmentation::NONE,
            maps: Some(Spots { side: 6, sigma: 1.5 }),
            pictures: true,
            cutmix: 1.0,
        };
        let chosen: Vec<_> = (0..6).map(|n| (n, n as u64)).collect();
        let mixed = look.batch(&lesson, &chosen).unwrap();
        let plain = Look { cutmix: 0.0, ..look }.batch(&lesson, &chosen).unwrap();
        for i in 0..6 {
            let (a, b, c) = (&mixed.pictures[i], &plain.pictures[i], &plain.pictures[(i + 1) % 6]);
            let pixels = |image: &Image| image.pixels().as_chunks::<3>().0.to_vec();
            let triples = pixels(a).into_iter().zip(pixels(b)).zip(pixels(c));
            let (mut pasted, mut other) = (0, 0);
            for ((a, b), c) in triples.filter(|((_, b), c)| b != c) {
                assert!(a == b || a == c);
                pasted += usize::from(a == c);
                other += 1;
            }
            let label = &mixed.labels[i * COUNT..][..COUNT];
            assert!((label.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            // Faces next to each other are of the two classes.
            let share = label[1 - i % 2];
            assert!(other == 0 || (pasted > 0) == (share > 0.0), "{i}: {pasted} of {other}, {share}");
        }
        assert_eq!(mixed.known, [0.0; 6]);
        assert_ne!(mixed.labels, plain.labels);
    }

    #[test]
    fn a_picture_that_cannot_be_read_is_named() {
        let mut lesson = lesson(3, 2);
        lesson.faces[1].picture = vec![0; 10].into();
        let look = Look {
            input: Backbone::Resnet18.input(8),
            augmentation: Augmentation::NONE,
            maps: None,
            pictures: true,
            cutmix: 0.0,
        };
        assert!(look.batch(&lesson, &[(0, 1), (1, 2)]).unwrap_err().line().contains("1.png"));
        assert!(look.batch(&lesson, &[(0, 1)]).unwrap().maps(&Device::Cpu).is_err());
    }
}
