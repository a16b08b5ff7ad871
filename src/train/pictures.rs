//! Pictures of one face that differ: cropped, turned, mirrored, brighter or darker, partly hidden, blurred, coarse.
//!
//! Crop, mirror, jitter and erasing are LA-Net's (Wu and Cui 2023); blur and rescaling are there because faces before a
//! camera are sharp or small, not 48x48. Erasing is that of Zhong et al. 2020 (arXiv 1708.04896).

use std::str::FromStr;

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;
use serde::{Deserialize, Serialize};

use super::landmarks::{Landmarks, mirrored};
use super::plane::{Plane, turned};
use crate::error::{Error, Result};
use crate::geometry::{Point, Rect};

/// How much pictures differ. Probabilities and shares from 0 to 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Augmentation {
    /// The smallest share of the picture's area that a crop keeps (0.75); 1 keeps all.
    pub crop: f64,
    /// How often it is mirrored (0.5).
    pub mirror: f64,
    /// Brightness and contrast change by at most this share (0.4).
    pub jitter: f32,
    /// How often a rectangle is hidden (0.2), of 2 to 20 % of the area.
    pub erase: f64,
    /// How often it is blurred (0.1).
    pub blur: f64,
    /// How often it is made coarse, by up to a third of its side (0.3).
    pub coarse: f64,
    /// It is turned by at most so many degrees (0) about its middle; its edge goes on outside.
    #[serde(default)]
    pub turn: f32,
}

impl Default for Augmentation {
    fn default() -> Self {
        Self { crop: 0.75, mirror: 0.5, jitter: 0.4, erase: 0.2, blur: 0.1, coarse: 0.3, turn: 0.0 }
    }
}

impl FromStr for Augmentation {
    type Err = Error;

    /// `on`, `off`, or what differs from `on`, such as `turn=10,erase=0`.
    fn from_str(text: &str) -> Result<Self> {
        let mut augmentation = match text {
            "off" => return Ok(Self::NONE),
            _ => Self::default(),
        };
        let refuse = |part: &str| {
            Error::usage(format!("'{part}' is no change of pictures")).advice(
                "use on, off, or some of crop, mirror, jitter, erase, blur, coarse (0 to 1) and turn \
                    (degrees, 0 to 90), such as turn=10,erase=0",
            )
        };
        for part in text.split(',').filter(|&part| part != "on") {
            let (name, value) = part.split_once('=').ok_or_else(|| refuse(part))?;
            let most = if name == "turn" { 90.0 } else { 1.0 };
            let value =
                value.parse().ok().filter(|x| (0.0..=most).contains(x)).ok_or_else(|| refuse(part))?;
            match name {
                "crop" => augmentation.crop = value,
                "mirror" => augmentation.mirror = value,
                "jitter" => augmentation.jitter = value as f32,
                "erase" => augmentation.erase = value,
                "blur" => augmentation.blur = value,
                "coarse" => augmentation.coarse = value,
                "turn" => augmentation.turn = value as f32,
                _ => return Err(refuse(part)),
            }
        }
        Ok(augmentation)
    }
}

impl Augmentation {
    /// Pictures as they are.
    pub const NONE: Self =
        Self { crop: 1.0, mirror: 0.0, jitter: 0.0, erase: 0.0, blur: 0.0, coarse: 0.0, turn: 0.0 };

    /// One picture of `side` x `side` of a face, with its landmarks, as `seed` has it; a hidden rectangle becomes `grey`.
    pub fn apply(
        &self,
        face: &Plane,
        landmarks: Option<&Landmarks>,
        side: usize,
        grey: f32,
        seed: u64,
    ) -> (Plane, Option<Landmarks>) {
        let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
        let crop = self.crop_of(face, &mut rng);
        let mirror = rng.random_bool(self.mirror.clamp(0.0, 1.0));
        let mut picture = face.resized(crop, side, side);
        let mut turn = 0.0;
        if self.turn > 0.0 {
            turn = self.turn.to_radians() * (2.0 * rng.random::<f32>() - 1.0);
            picture = picture.turned(turn);
        }
        if rng.random_bool(self.coarse.clamp(0.0, 1.0)) {
            let small = (side as f64 / rng.random_range(1.0..3.0)).round().max(1.0) as usize;
            picture = picture.resized(picture.whole(), small, small);
            picture = picture.resized(picture.whole(), side, side);
        }
        if rng.random_bool(self.blur.clamp(0.0, 1.0)) {
            picture = picture.blurred(rng.random_range(0.3..1.5) * side as f32 / 112.0);
        }
        if mirror {
            picture.values.chunks_exact_mut(side.max(1)).for_each(<[f32]>::reverse);
        }
        self.jitter(&mut picture, &mut rng);
        if rng.random_bool(self.erase.clamp(0.0, 1.0)) {
            erase(&mut picture, grey, &mut rng);
        }
        let landmarks = landmarks.map(|landmarks| {
            let moved = landmarks.map(|p| {
                let (x, y) = (p.x * face.width as f32, p.y * face.height as f32);
                turned(Point::new((x - crop.x) / crop.w, (y - crop.y) / crop.h), turn, 0.5)
            });
            if mirror { mirrored(&moved) } else { moved }
        });
        (picture, landmarks)
    }

    /// A random piece of the picture, with sides in a ratio of 3/4 to 4/3 of its own.
    fn crop_of(&self, face: &Plane, rng: &mut Xoshiro256PlusPlus) -> Rect {
        let (w, h) = (face.width as f32, face.height as f32);
        if self.crop >= 1.0 {
            return face.whole();
        }
        let third = (4f64 / 3.0).ln();
        for _ in 0..10 {
            let area = rng.random_range(self.crop.max(0.01)..1.0);
            let ratio = rng.random_range(-third..third).exp();
            let (across, down) = ((area * ratio).sqrt() as f32, (area / ratio).sqrt() as f32);
            if across <= 1.0 && down <= 1.0 {
                let (x, y) = (rng.random::<f32>() * (1.0 - across), rng.random::<f32>() * (1.0 - down));
                return Rect::new(x * w, y * h, across * w, down * h);
            }
        }
        face.whole()
    }

    /// Brightness times a factor, then contrast times a factor about the mean.
    fn jitter(&self, picture: &mut Plane, rng: &mut Xoshiro256PlusPlus) {
        let factors: [f32; 2] =
            std::array::from_fn(|_| 1.0 + self.jitter * (2.0 * rng.random::<f32>() - 1.0));
        if self.jitter == 0.0 {
            return;
        }
        let mean = picture.values.iter().sum::<f32>() / picture.values.len().max(1) as f32 * factors[0];
        for value in &mut picture.values {
            *value = (mean + (*value * factors[0] - mean) * factors[1]).clamp(0.0, 255.0);
        }
    }
}

fn erase(picture: &mut Plane, grey: f32, rng: &mut Xoshiro256PlusPlus) {
    let (w, h) = (picture.width as f64, picture.height as f64);
    for _ in 0..10 {
        let area = rng.random_range(0.02..0.2) * w * h;
        let ratio = rng.random_range(0.3f64.ln()..3.3f64.ln()).exp();
        let (across, down) = ((area * ratio).sqrt().round() as usize, (area / ratio).sqrt().round() as usize);
        if across < picture.width && down < picture.height {
            let (x, y) =
                (rng.random_range(0..picture.width - across), rng.random_range(0..picture.height - down));
            for row in picture.values.chunks_exact_mut(picture.width).skip(y).take(down) {
                row[x..x + across].fill(grey);
            }
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::landmarks::COUNT;
    use super::super::plane::tests::ramp;
    use super::*;

    #[test]
    fn without_augmentation_a_picture_stays() {
        let (picture, landmarks) = Augmentation::NONE.apply(&ramp(8), None, 8, 0.0, 1);
        assert!(landmarks.is_none());
        assert!(picture.values.iter().zip(ramp(8).values).all(|(a, b)| (a - b).abs() < 1e-5));
    }

    #[test]
    fn changes_are_told_by_name() {
        let told = |text: &str| text.parse::<Augmentation>();
        assert_eq!(told("on").unwrap(), Augmentation::default());
        assert_eq!(told("off").unwrap(), Augmentation::NONE);
        let wanted = Augmentation { turn: 10.0, erase: 0.0, ..Augmentation::default() };
        assert_eq!(told("turn=10,erase=0").unwrap(), wanted);
        for wrong in ["", "turn", "turn=NaN", "erase=2", "twist=1", "on,off"] {
            assert!(told(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn landmarks_go_where_their_pixels_go() {
        // The brightest pixel is where the landmark is, whatever is done.
        let mut face = Plane { width: 40, height: 40, values: vec![0.0; 1600] };
        for (y, x) in (0..9).map(|n| (17 + n / 3, 25 + n % 3)) {
            face.values[y * 40 + x] = 200.0;
        }
        // In the middle of the face, so that left and right are one landmark: the nose's tip.
        let mut landmarks = [Point::new(0.5, 0.5); COUNT];
        landmarks[15] = Point::new(26.5 / 40.0, 18.5 / 40.0);
        let augmentation = Augmentation { erase: 0.0, turn: 20.0, ..Augmentation::default() };
        let mut mirrored = 0;
        for seed in 0..40 {
            let (picture, moved) = augmentation.apply(&face, Some(&landmarks), 60, 0.0, seed);
            let centre = {
                let total: f32 = picture.values.iter().sum();
                let sum = |f: fn(usize) -> usize| -> f32 {
                    picture.values.iter().enumerate().map(|(i, v)| v * (f(i) as f32 + 0.5)).sum::<f32>()
                        / total
                };
                Point::new(sum(|i| i % 60) / 60.0, sum(|i| i / 60) / 60.0)
            };
            // Contrast lifts black a little when the factor is below 1, which pulls the centre to the middle.
            let moved = moved.unwrap()[15];
            mirrored += usize::from(moved.x < 0.5);
            assert!(
                centre.distance(moved) < 0.25 && (centre.x - 0.5) * (moved.x - 0.5) > -0.01,
                "{seed} {centre:?} {moved:?}"
            );
        }
        assert!((10..30).contains(&mirrored), "{mirrored}");
        let plain = Augmentation { jitter: 0.0, blur: 0.0, coarse: 0.0, ..augmentation };
        for seed in 0..20 {
            let (picture, moved) = plain.apply(&face, Some(&landmarks), 60, 0.0, seed);
            let moved = moved.unwrap()[15];
            let best = picture.values[(moved.y * 60.0) as usize * 60 + (moved.x * 60.0) as usize];
            assert!(best > 150.0, "{seed} {best}");
        }
    }

    #[test]
    fn the_seed_decides_and_values_stay_in_range() {
        let always = Augmentation { erase: 1.0, blur: 1.0, coarse: 1.0, ..Augmentation::default() };
        let make = |seed| always.apply(&ramp(48), None, 32, 128.0, seed).0;
        assert_eq!(make(5), make(5));
        assert_ne!(make(5), make(6));
        for seed in 0..30 {
            assert!(make(seed).values.iter().all(|v| (0.0..=255.0).contains(v)));
            let hidden = make(seed).values.iter().filter(|&&v| v == 128.0).count();
            assert!((15..230).contains(&hidden), "{hidden}");
        }
        // One pixel can be cropped, blurred and enlarged as well.
        assert_eq!(always.apply(&ramp(1), None, 4, 0.0, 1).0.values.len(), 16);
    }
}
