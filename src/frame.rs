//! Pictures: [`Image`] is pixels, [`Frame`] is an image of a video with its number and time.

use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, Result};

/// A picture of 8-bit BGR pixels, row by row from the top, without padding.
#[derive(Clone, PartialEq)]
pub struct Image {
    width: usize,
    height: usize,
    pixels: Vec<u8>,
}

impl Image {
    /// Takes `pixels`, which must hold `width * height` times B, G, R.
    ///
    /// # Errors
    /// A length that does not fit the sides.
    pub fn new(width: usize, height: usize, pixels: Vec<u8>) -> Result<Self> {
        if pixels.len() != width * height * 3 {
            return Err(Error::new(format!(
                "a picture of {width}x{height} pixels needs {} bytes, not {}",
                width * height * 3,
                pixels.len()
            )));
        }
        Ok(Self { width, height, pixels })
    }

    /// A picture of one colour (blue, green, red).
    pub fn filled(width: usize, height: usize, bgr: [u8; 3]) -> Self {
        Self { width, height, pixels: bgr.repeat(width * height) }
    }

    /// Pixels to a row.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Rows.
    pub fn height(&self) -> usize {
        self.height
    }

    /// All pixels, B, G, R each.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }

    /// All pixels, to be changed in place.
    pub fn pixels_mut(&mut self) -> &mut [u8] {
        &mut self.pixels
    }

    /// Row `y`, B, G, R each. Panics like a slice if there is no such row.
    pub fn row(&self, y: usize) -> &[u8] {
        &self.pixels[y * self.width * 3..][..self.width * 3]
    }

    /// Blue, green and red at (x, y). Panics like a slice outside.
    pub fn bgr(&self, x: usize, y: usize) -> [u8; 3] {
        let row = self.row(y);
        [row[3 * x], row[3 * x + 1], row[3 * x + 2]]
    }

    /// The picture as in a mirror: left and right swapped.
    pub fn mirrored(mut self) -> Self {
        for row in self.pixels.chunks_exact_mut((self.width * 3).max(1)) {
            let (pixels, _) = row.as_chunks_mut::<3>();
            pixels.reverse();
        }
        self
    }

    /// The picture turned clockwise by `quarters` times 90 degrees.
    pub fn turned(self, quarters: u32) -> Self {
        let (w, h) = (self.width, self.height);
        let (old, _) = self.pixels.as_chunks::<3>();
        match quarters % 4 {
            0 => self,
            2 => Self { pixels: old.iter().rev().flatten().copied().collect(), ..self },
            quarter => {
                // Row y of the new picture is a column of the old one.
                let mut pixels = Vec::with_capacity(self.pixels.len());
                for y in 0..w {
                    for x in 0..h {
                        let (old_x, old_y) = if quarter == 1 { (y, h - 1 - x) } else { (w - 1 - y, x) };
                        pixels.extend_from_slice(&old[old_y * w + old_x]);
                    }
                }
                Self { width: h, height: w, pixels }
            }
        }
    }

    /// The picture with `left`, `top`, `right` and `bottom` black pixels around it.
    pub fn bordered(&self, left: usize, top: usize, right: usize, bottom: usize) -> Self {
        let mut out = Self::filled(self.width + left + right, self.height + top + bottom, [0; 3]);
        for y in 0..self.height {
            let start = ((y + top) * out.width + left) * 3;
            out.pixels[start..start + self.width * 3].copy_from_slice(self.row(y));
        }
        out
    }
}

impl std::fmt::Debug for Image {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Image({}x{})", self.width, self.height)
    }
}

/// A picture of a source, with its place in it.
#[derive(Debug, Clone)]
pub struct Frame {
    /// The picture, upright.
    pub image: Image,
    /// Where it came from: a file name, an address or a camera.
    pub source: Arc<str>,
    /// Its number in the source, from 0; frames that were skipped or dropped have numbers too.
    pub index: u64,
    /// Its time stamp in the source.
    pub time: Duration,
}

impl Frame {
    /// The pictures of a film, with so many frames a second.
    pub fn film<I>(images: I, rate: f64) -> impl Iterator<Item = Result<Self>> + use<I>
    where
        I: IntoIterator<Item = Image>,
    {
        let source: Arc<str> = "film".into();
        (0..).zip(images).map(move |(index, image)| {
            let time = Duration::try_from_secs_f64(index as f64 / rate)
                .map_err(|_| Error::usage(format!("a film cannot have {rate} frames a second")))?;
            Ok(Self { image, source: source.clone(), index, time })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn painted() -> Image {
        Image::new(3, 2, (0..18).collect()).unwrap()
    }

    #[test]
    fn four_quarter_turns_are_none() {
        let once = painted().turned(1);
        assert_eq!((once.width(), once.height()), (2, 3));
        // The top left corner goes to the top right.
        assert_eq!(once.bgr(1, 0), painted().bgr(0, 0));
        assert_eq!(once.clone().turned(1), painted().turned(2));
        assert_eq!(once.clone().turned(2), painted().turned(3));
        assert_eq!(once.turned(3), painted());
    }

    #[test]
    fn a_mirror_swaps_left_and_right_only() {
        let mirrored = painted().mirrored();
        assert_eq!(mirrored.bgr(0, 1), painted().bgr(2, 1));
        assert_eq!(mirrored.mirrored(), painted());
    }

    #[test]
    fn a_border_keeps_the_picture_inside() {
        let big = painted().bordered(1, 2, 3, 4);
        assert_eq!((big.width(), big.height()), (7, 8));
        assert_eq!(big.bgr(1 + 2, 2 + 1), painted().bgr(2, 1));
        assert_eq!(big.bgr(0, 0), [0; 3]);
    }

    #[test]
    fn a_wrong_length_is_refused() {
        assert!(Image::new(2, 2, vec![0; 11]).is_err());
    }

    #[test]
    fn a_film_has_an_even_pace_if_it_has_one() {
        let frames: Vec<_> =
            Frame::film([painted(), painted(), painted()], 25.0).map(Result::unwrap).collect();
        let places: Vec<_> = frames.iter().map(|frame| (frame.index, frame.time.as_millis())).collect();
        assert_eq!(places, [(0, 0), (1, 40), (2, 80)]);
        for rate in [0.0, -25.0, f64::NAN, 1e-300] {
            assert!(Frame::film([painted(), painted()], rate).any(|frame| frame.is_err()), "{rate}");
        }
    }
}
