//! What somebody in front of the camera is asked to do, in large letters at the foot of the picture.

use super::letter_height;
use super::palette::{AMBER, INK, PAPER};
use crate::canvas::Canvas;
use crate::frame::Image;
use crate::geometry::{Point, Rect};

/// Words and a countdown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Prompt<'a> {
    /// The first line is the largest.
    pub lines: &'a [String],
    /// How many seconds are left, if there is something to wait for.
    pub seconds: Option<u64>,
    /// Keys and what they do, in one small line.
    pub keys: &'a str,
}

/// Heights of capitals, beside those of a label.
const FIRST: f32 = 2.4;
const OTHERS: f32 = 1.35;
const KEYS: f32 = 0.9;
const NUMBER: f32 = 5.0;
/// From base line to base line, in heights of capitals.
const LEADING: f32 = 1.9;

impl Prompt<'_> {
    /// Draws it on a picture that has been drawn on.
    pub fn draw(&self, image: &mut Image) {
        let (width, height) = (image.width() as f32, image.height() as f32);
        let rows: Vec<(&str, f32)> = self
            .lines
            .iter()
            .enumerate()
            .map(|(n, line)| (line.as_str(), if n == 0 { FIRST } else { OTHERS }))
            .chain((!self.keys.is_empty()).then_some((self.keys, KEYS)))
            .collect();
        let number = self.seconds.map(|seconds| seconds.to_string()).unwrap_or_default();
        // In heights of a label's capitals: a column for the number, a column for the words.
        let column =
            if number.is_empty() { 0.0 } else { Canvas::text_width(&number, NUMBER).max(NUMBER) + 2.0 };
        let words = rows.iter().map(|(text, size)| Canvas::text_width(text, *size)).fold(0.0, f32::max);
        let tall = rows.iter().map(|(_, size)| LEADING * size).sum::<f32>() + 1.0;
        let (w, h) = (column + words + 3.0, if number.is_empty() { tall } else { tall.max(NUMBER + 3.0) });
        // Smaller where the picture is too small for it.
        let letter = letter_height(image).min(0.96 * width / w).min(0.6 * height / h);
        let place =
            Rect::new((width - w * letter) / 2.0, height - (h + 1.0) * letter, w * letter, h * letter);
        let canvas = &mut Canvas::on(image);
        canvas.panel(place, letter, INK, 0.78);
        let at = |x: f32, y: f32| Point::new(place.x + x * letter, place.y + y * letter);
        let middle = (column - Canvas::text_width(&number, NUMBER)) / 2.0 + 1.0;
        canvas.text(&number, at(middle, (h + NUMBER) / 2.0), NUMBER * letter, AMBER);
        let mut base = (h - tall) / 2.0;
        for (text, size) in rows {
            base += LEADING * size;
            let colour = if size == KEYS { AMBER } else { PAPER };
            canvas.text(text, at(column + 1.5, base - 0.3 * size), size * letter, colour);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_at_the_foot_of_any_picture() {
        let lines =
            ["happiness", "as if a good friend comes in:", "smile, with the eyes too"].map(str::to_owned);
        let prompt = Prompt { lines: &lines, seconds: Some(12), keys: "r: once more" };
        for (w, h) in [(640, 360), (1920, 1080), (200, 900), (1, 1), (0, 0)] {
            let mut image = Image::filled(w, h, [90; 3]);
            prompt.draw(&mut image);
            Prompt::default().draw(&mut image);
            let changed = |y: usize| (0..w).any(|x| image.bgr(x, y) != [90; 3]);
            assert!((0..h / 3).all(|y| !changed(y)), "{w}x{h}");
            assert!(h < 100 || (h / 2..h).any(changed), "{w}x{h}");
        }
    }
}
