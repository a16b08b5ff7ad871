//! Changes to a face's crop that leave its expression as it is, so that a net learns to overlook them: mirrors, small
//! moves, less detail, other light.

use rand::{Rng, SeedableRng};
use rand_xoshiro::Xoshiro256PlusPlus;

use crate::error::Result;
use crate::face::Mesh;
use crate::face::align::{self, DETAIL};
use crate::frame::Image;
use crate::geometry::{Point, Similarity};

/// The furthest a crop is moved to any side, in its sides.
const SHIFT: f32 = 0.05;
/// The most that it grows or shrinks.
const GROWTH: f32 = 0.08;
/// The most that it is turned, in radians.
const TURN: f32 = 0.1;
/// The least detail, in pixels to a side.
const LEAST_DETAIL: usize = 28;
/// How far contrast and brightness (in shares of white) go.
const LIGHT: f32 = 0.15;

/// What is done to a crop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Change {
    mirrored: bool,
    moved: Similarity,
    detail: usize,
    contrast: f32,
    brightness: f32,
}

impl Change {
    /// Nothing: the crop that the live view makes.
    pub const NONE: Self =
        Self { mirrored: false, moved: Similarity::IDENTITY, detail: DETAIL, contrast: 1.0, brightness: 0.0 };
    /// Only a mirror.
    pub const MIRROR: Self = Self { mirrored: true, ..Self::NONE };

    /// The change of one sample in one round: in round 0 none, in round 1 a mirror, then one drawn by all three.
    pub fn of(seed: u64, round: usize, sample: usize) -> Self {
        match round {
            0 => Self::NONE,
            1 => Self::MIRROR,
            _ => {
                let place = (round as u64).rotate_left(32) ^ sample as u64;
                Self::drawn(&mut Xoshiro256PlusPlus::seed_from_u64(
                    seed ^ place.wrapping_mul(0x9e37_79b9_7f4a_7c15),
                ))
            }
        }
    }

    /// A change drawn at random.
    pub fn drawn(rng: &mut impl Rng) -> Self {
        let mut about = |most: f32| rng.random_range(-most..=most);
        let middle = Point::new(0.5, 0.5);
        let to = Point::new(0.5 + about(SHIFT), 0.5 + about(SHIFT));
        let moved = Similarity::about(middle, to, 1.0 + about(GROWTH), about(TURN));
        let (contrast, brightness) = (1.0 + about(LIGHT), about(LIGHT) * 255.0);
        let detail = if rng.random_bool(0.5) { DETAIL } else { rng.random_range(LEAST_DETAIL..=DETAIL) };
        Self { mirrored: rng.random_bool(0.5), moved, detail, contrast, brightness }
    }

    /// The changed crop of a face, `side` x `side` pixels.
    ///
    /// # Errors
    /// A mesh that is not finite.
    pub fn crop(self, image: &Image, mesh: Option<&Mesh>, side: usize) -> Result<Image> {
        let to_image = self.moved.then(align::framing(image, mesh));
        let mut crop = align::cut(image, to_image, self.detail, side)?;
        if self.contrast != 1.0 || self.brightness != 0.0 {
            let light = |v: u8| ((f32::from(v) - 128.0) * self.contrast + 128.0 + self.brightness) as u8;
            crop.pixels_mut().iter_mut().for_each(|v| *v = light(*v));
        }
        Ok(if self.mirrored { crop.mirrored() } else { crop })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ramp() -> Image {
        let pixels = (0..48usize).flat_map(|_| (0..48usize).flat_map(|x| [(5 * x) as u8; 3])).collect();
        Image::new(48, 48, pixels).unwrap()
    }

    #[test]
    fn round_0_is_the_live_crop_and_round_1_its_mirror() {
        let plain = align::crop(&ramp(), None, 64).unwrap();
        assert_eq!(Change::of(3, 0, 7).crop(&ramp(), None, 64).unwrap(), plain);
        assert_eq!(Change::of(3, 1, 7).crop(&ramp(), None, 64).unwrap(), plain.mirrored());
    }

    #[test]
    fn drawn_changes_follow_the_seed_and_differ_between_samples() {
        let drawn = |seed, round, sample| Change::of(seed, round, sample);
        assert_eq!(drawn(1, 2, 3), drawn(1, 2, 3));
        assert!(drawn(1, 2, 3) != drawn(2, 2, 3) && drawn(1, 2, 3) != drawn(1, 3, 3));
        assert!(drawn(1, 2, 3) != drawn(1, 2, 4));
        for sample in 0..50 {
            assert!(drawn(1, 2, sample).crop(&ramp(), None, 32).is_ok());
        }
    }
}
