//! What the window says about itself: marks and figures in the corner of the picture, and help over it.

use super::palette::{AMBER, GREEN, INK, PAPER, RED};
use crate::canvas::Canvas;
use crate::geometry::{Point, Rect};

/// The state of the view, with a sign and a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// What is seen happens now.
    Live,
    /// The picture stands still.
    Paused,
    /// What is seen is recorded.
    Recording,
    /// The source is silent, and tried again.
    Reconnecting,
}

impl Mark {
    fn word(self) -> &'static str {
        match self {
            Self::Live => "LIVE",
            Self::Paused => "PAUSED",
            Self::Recording => "REC",
            Self::Reconnecting => "RECONNECTING",
        }
    }

    /// Its sign, in a square of capitals' height; each has a shape of its own.
    fn sign(self, canvas: &mut Canvas, square: Rect) {
        let (centre, r) = (square.centre(), square.w / 2.0);
        match self {
            Self::Live => canvas.dots(&[centre], r * 0.8, GREEN),
            Self::Recording => {
                canvas.dots(&[centre], r, PAPER);
                canvas.dots(&[centre], r * 0.78, RED);
            }
            Self::Paused => {
                for x in [square.x + 0.1 * square.w, square.x + 0.6 * square.w] {
                    canvas.veil(Rect::new(x, square.y, 0.3 * square.w, square.h), AMBER, 1.0);
                }
            }
            Self::Reconnecting => {
                canvas.dots(&[centre], r * 0.9, AMBER);
                canvas.dots(&[centre], r * 0.45, INK);
            }
        }
    }
}

/// What is written over the picture, besides what is seen on it.
#[derive(Debug, Clone, Copy, Default)]
pub struct Hud<'a> {
    /// The state of the view.
    pub marks: &'a [Mark],
    /// Figures after the marks, such as the frame rate.
    pub text: &'a str,
    /// Keys and what they do, in the middle of the picture.
    pub help: &'a [(&'a str, &'a str)],
}

impl Hud<'_> {
    /// Where marks and figures go, top left; capitals `letter` pixels high. Of zero size if there are none.
    pub fn place(&self, letter: f32) -> Rect {
        let marks = self.marks.iter().map(|mark| Canvas::text_width(mark.word(), letter) + 2.4 * letter);
        let marks: f32 = marks.sum();
        let text = Canvas::text_width(self.text, letter);
        if marks + text == 0.0 {
            return Rect::default();
        }
        let edge = (0.6 * letter).round();
        Rect::new(edge, edge, (marks + text + 1.6 * letter).round(), (2.2 * letter).round())
    }

    /// Draws all of it.
    pub fn draw(&self, canvas: &mut Canvas, picture: (f32, f32), letter: f32) {
        let place = self.place(letter);
        let base = place.y + 1.6 * letter;
        let mut x = place.x + 0.8 * letter;
        if place.w > 0.0 {
            canvas.panel(place, 0.5 * letter, INK, 0.7);
        }
        for mark in self.marks {
            mark.sign(canvas, Rect::new(x, base - letter, letter, letter));
            canvas.text(mark.word(), Point::new(x + 1.4 * letter, base), letter, PAPER);
            x += Canvas::text_width(mark.word(), letter) + 2.4 * letter;
        }
        canvas.text(self.text, Point::new(x, base), letter, PAPER);
        self.help(canvas, picture, letter);
    }

    fn help(&self, canvas: &mut Canvas, (width, height): (f32, f32), letter: f32) {
        if self.help.is_empty() {
            return;
        }
        let widest = |letter: f32, column: fn(&(&str, &str)) -> f32| {
            self.help.iter().map(column).fold(0.0, f32::max) * letter
        };
        let keys = |letter| widest(letter, |(key, _)| Canvas::text_width(key, 1.0));
        let words = |letter| widest(letter, |(_, what)| Canvas::text_width(what, 1.0));
        let size = |letter: f32| {
            let rows = self.help.len() as f32 * 2.0 * letter;
            (keys(letter) + words(letter) + 4.5 * letter, rows + 2.0 * letter)
        };
        // Smaller where the picture is too small for it.
        let (w, h) = size(letter);
        let letter = letter * (0.95 * width / w).min(0.95 * height / h).min(1.0);
        let ((w, h), keys) = (size(letter), keys(letter));
        let at = Point::new((width - w) / 2.0, (height - h) / 2.0);
        canvas.panel(Rect::new(at.x, at.y, w, h), letter, INK, 0.82);
        for (n, (key, what)) in self.help.iter().enumerate() {
            let base = at.y + letter * (2.5 + 2.0 * n as f32);
            canvas.text(key, Point::new(at.x + 1.5 * letter, base), letter, AMBER);
            canvas.text(what, Point::new(at.x + 3.0 * letter + keys, base), letter, PAPER);
        }
    }
}
