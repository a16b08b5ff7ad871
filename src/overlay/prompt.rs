//! What somebody in front of the camera is asked to do, in large letters at the foot of the picture.

use super::letter_height;
use super::palette::{AMBER, INK, PAPER};
use crate::canvas::{Canvas, Colour};
use crate::frame::Image;
use crate::geometry::{Point, Rect};

/// Words and a countdown.
#[derive(Debug, Clone, Copy, Default)]
pub struct Prompt<'a> {
    /// The first is large, the others are beside it.
    pub lines: &'a [String],
    /// How many seconds are left or gone, if there is something to wait for.
    pub seconds: Option<u64>,
    /// Keys and what they do, in one small line.
    pub keys: &'a str,
}

/// Heights of capitals, beside those of a label.
const NUMBER: f32 = 3.6;
const FIRST: f32 = 2.4;
const OTHERS: f32 = 1.3;
const KEYS: f32 = 0.9;
/// From base line to base line, in heights of capitals.
const LEADING: f32 = 1.9;
/// Around each column, in heights of a label's capitals.
const GAP: f32 = 1.4;

impl Prompt<'_> {
    /// Draws it on a picture that has been drawn on: the number, the first line and the others side by side.
    pub fn draw(&self, image: &mut Image) {
        let (width, height) = (image.width() as f32, image.height() as f32);
        let number = self.seconds.map(|seconds| seconds.to_string()).unwrap_or_default();
        let first = self.lines.first().map_or("", String::as_str);
        let others = self.lines.iter().skip(1).map(|line| (line.as_str(), OTHERS, PAPER));
        let columns = [
            vec![(number.as_str(), NUMBER, AMBER)],
            vec![(first, FIRST, PAPER)],
            others.chain([(self.keys, KEYS, AMBER)]).collect(),
        ];
        let size = |column: &[(&str, f32, Colour)]| {
            let rows = column.iter().filter(|(text, ..)| !text.is_empty());
            rows.fold((0f32, 0f32), |(w, h), (text, size, _)| {
                (w.max(Canvas::text_width(text, *size)), h + LEADING * size)
            })
        };
        let sizes: Vec<_> = columns.iter().map(|column| size(column)).collect();
        let w: f32 = sizes.iter().filter(|(w, _)| *w > 0.0).map(|(w, _)| w + GAP).sum::<f32>() + GAP;
        let h = sizes.iter().map(|(_, h)| *h).fold(0.0, f32::max) + 1.0;
        // Smaller where the picture is too small for it.
        let letter = letter_height(image).min(0.96 * width / w).min(0.4 * height / h);
        let place =
            Rect::new((width - w * letter) / 2.0, height - (h + 1.0) * letter, w * letter, h * letter);
        let canvas = &mut Canvas::on(image);
        canvas.panel(place, letter, INK, 0.78);
        let mut left = GAP;
        for (column, (w, tall)) in columns.iter().zip(&sizes).filter(|(_, (w, _))| *w > 0.0) {
            let mut base = (h - tall) / 2.0;
            for (text, size, colour) in column.iter().filter(|(text, ..)| !text.is_empty()) {
                base += LEADING * size;
                // Capitals in the middle of their row.
                let at = Point::new(left, base - 0.5 * (LEADING - 1.0) * size);
                let at = Point::new(place.x + at.x * letter, place.y + at.y * letter);
                canvas.text(text, at, size * letter, *colour);
            }
            left += w + GAP;
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
