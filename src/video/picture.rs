//! Decoded frames as pictures: BGR, upright, with square pixels, and all of one size.

use ffmpeg_next::format::Pixel;
use ffmpeg_next::frame::Video;
use ffmpeg_next::software::scaling::{Context, Flags};

use super::source::Facts;
use crate::frame::Image;

/// The longest side that pixels are stretched to.
const LONGEST: u32 = 16_384;

/// Makes pictures of the frames of one video.
pub(super) struct Painter {
    /// Sides of a picture before it is turned.
    sides: (u32, u32),
    turn: u32,
    scaler: Option<Scaler>,
    bgr: Video,
}

/// FFmpeg's scaler, which may go to another thread with its owner.
struct Scaler(Context);

// SAFETY: the context is owned, belongs to no thread, and is only reached by `&mut`.
#[allow(unsafe_code)]
unsafe impl Send for Scaler {}

impl Painter {
    /// For frames of `width` by `height` stored pixels.
    pub(super) fn new(width: u32, height: u32, facts: &Facts) -> Self {
        Self {
            sides: square(width, height, facts.pixel),
            turn: facts.turn,
            scaler: None,
            bgr: Video::empty(),
        }
    }

    /// Width and height of the pictures.
    pub(super) fn sides(&self) -> (usize, usize) {
        let (width, height) = (self.sides.0 as usize, self.sides.1 as usize);
        if self.turn % 2 == 1 { (height, width) } else { (width, height) }
    }

    /// The picture of a frame; `None` where its kind of pixels is unknown. A frame of another size, in the middle
    /// of a video, becomes a picture of the same size as all others.
    pub(super) fn picture(&mut self, frame: &Video) -> Option<Image> {
        let (format, width, height) = (frame.format(), frame.width(), frame.height());
        let fits = |Scaler(context): &Scaler| {
            let input = context.input();
            (input.format, input.width, input.height) == (format, width, height)
        };
        if !self.scaler.as_ref().is_some_and(fits) {
            let (to_width, to_height) = self.sides;
            let made = Context::get(format, width, height, Pixel::BGR24, to_width, to_height, Flags::BICUBIC);
            self.scaler = Some(Scaler(made.ok()?));
        }
        self.scaler.as_mut()?.0.run(frame, &mut self.bgr).ok()?;
        let row = self.sides.0 as usize * 3;
        let rows = self.bgr.data(0).chunks(self.bgr.stride(0)).take(self.sides.1 as usize);
        let mut pixels = Vec::with_capacity(row * self.sides.1 as usize);
        rows.for_each(|padded| pixels.extend_from_slice(&padded[..row]));
        let image = Image::new(self.sides.0 as usize, self.sides.1 as usize, pixels).ok()?;
        Some(image.turned(self.turn))
    }
}

/// The sides that show pixels of this width to height as squares: one is stretched, none loses anything.
fn square(width: u32, height: u32, pixel: f64) -> (u32, u32) {
    let stretched = |side: u32, by: f64| (f64::from(side) * by).round() as u32;
    let sides =
        if pixel > 1.0 { (stretched(width, pixel), height) } else { (width, stretched(height, 1.0 / pixel)) };
    if sides.0.max(sides.1) > LONGEST { (width, height) } else { sides }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_side_is_stretched_and_never_too_far() {
        assert_eq!(square(720, 576, 64.0 / 45.0), (1024, 576));
        assert_eq!(square(720, 480, 8.0 / 9.0), (720, 540));
        assert_eq!(square(1280, 720, 1.0), (1280, 720));
        assert_eq!(square(12_288, 100, 2.0), (12_288, 100));
    }
}
