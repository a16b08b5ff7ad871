//! What stands beside a face: a label, and a card with the bars of all expressions and a strip of the last seconds.

use std::time::Duration;

use super::history::History;
use super::layout::Size;
use super::palette::{INK, PAPER, UNSURE, colour, letters_on};
use crate::canvas::{Canvas, Colour};
use crate::expression::{COUNT, Distribution, Expression};
use crate::geometry::{Point, Rect};
use crate::reading::ReadFace;

/// Smaller capitals, in pixels, cannot be read.
pub const SMALLEST_LETTER: f32 = 8.0;
/// Names that are not the most probable one.
const DIM: Colour = [196, 196, 196];

/// The colour of what a face expresses.
pub fn tint(face: &ReadFace) -> Colour {
    if face.unsure() { UNSURE } else { colour(face.expression().0) }
}

/// A label: who, what, and how sure.
pub struct Label {
    text: String,
    letter: f32,
}

impl Label {
    /// The labels that would do for a face, the fullest first; capitals `letter` pixels high.
    pub fn choices(face: &ReadFace, letter: f32) -> Vec<Self> {
        let (expression, confidence) = face.expression();
        let doubt = if face.unsure() { "?" } else { "" };
        let full = format!("{} {expression}{doubt} {:.0}%", face.face.track, confidence * 100.0);
        vec![Self { text: full, letter }, Self { text: format!("{expression}{doubt}"), letter }]
    }

    /// How large it is.
    pub fn size(&self) -> Size {
        (Canvas::text_width(&self.text, self.letter) + 1.2 * self.letter, (1.9 * self.letter).round())
    }

    /// Draws it, on a ground of the colour `tint`.
    pub fn draw(&self, canvas: &mut Canvas, rect: Rect, tint: Colour) {
        let Self { text, letter } = self;
        canvas.panel(rect, letter * 0.4, tint, 0.92);
        let at = Point::new(rect.x + 0.6 * letter, rect.y + 1.45 * letter);
        canvas.text(text, at, *letter, letters_on(tint));
    }
}

/// Bars, a strip, or both.
#[derive(Debug, Clone, Copy)]
pub struct Card {
    letter: f32,
    bars: bool,
    strip: bool,
}

/// In heights of its capitals.
const PAD: f32 = 0.8;
const ROW: f32 = 1.8;
const BAR: f32 = 6.5;
const STRIP: f32 = 3.4;

impl Card {
    /// The cards that would do, the fullest first; capitals `letter` pixels high.
    pub fn choices(bars: bool, strip: bool, letter: f32) -> Vec<Self> {
        let letter = (letter * 0.8).max(SMALLEST_LETTER * 0.9);
        let each = [(bars, strip), (bars, false), (false, strip)].into_iter().filter(|&(b, s)| b || s);
        let mut cards: Vec<Self> = each.map(|(bars, strip)| Self { letter, bars, strip }).collect();
        cards.dedup_by_key(|card| (card.bars, card.strip));
        cards
    }

    /// How large it is.
    pub fn size(&self) -> Size {
        let rows = if self.bars { COUNT as f32 * ROW } else { 0.0 };
        let strip = if self.strip { STRIP } else { 0.0 };
        let between = if self.bars && self.strip { PAD } else { 0.0 };
        let width = self.names() + (BAR + 3.0 * PAD) * self.letter;
        (width.round(), ((rows + strip + between + 2.0 * PAD) * self.letter).round())
    }

    fn names(&self) -> f32 {
        Expression::ALL.map(|e| Canvas::text_width(e.name(), self.letter)).into_iter().fold(0.0, f32::max)
    }

    /// Draws it, with what the face showed until `now`.
    pub fn draw(&self, canvas: &mut Canvas, rect: Rect, face: &ReadFace, history: &History, now: Duration) {
        let pad = PAD * self.letter;
        canvas.panel(rect, pad, INK, 0.66);
        if self.bars {
            self.bars(canvas, Point::new(rect.x + pad, rect.y + pad), &face.smoothed);
        }
        if self.strip {
            let h = STRIP * self.letter;
            let place = Rect::new(rect.x + pad, rect.y + rect.h - pad - h, rect.w - 2.0 * pad, h);
            canvas.veil(place, PAPER, 0.12);
            let steps = history.steps(now, (place.w as usize).clamp(1, 200));
            strip(canvas, place, &steps);
        }
    }

    fn bars(&self, canvas: &mut Canvas, at: Point, shown: &Distribution) {
        let (letter, top) = (self.letter, shown.top().0);
        let left = at.x + self.names() + PAD * letter;
        for (n, (expression, p)) in Expression::ALL.into_iter().zip(shown.0).enumerate() {
            let y = at.y + ROW * letter * n as f32;
            let ink = if expression == top { PAPER } else { DIM };
            canvas.text(expression.name(), Point::new(at.x, y + 1.4 * letter), letter, ink);
            let ground = Rect::new(left, y + 0.45 * letter, BAR * letter, 0.95 * letter);
            canvas.panel(ground, 0.3 * letter, PAPER, 0.16);
            let bar = Rect { w: ground.w * p.clamp(0.0, 1.0), ..ground };
            canvas.panel(bar, 0.3 * letter, colour(expression), 1.0);
        }
    }
}

/// The shares of all expressions over time, stacked from below.
fn strip(canvas: &mut Canvas, place: Rect, steps: &[Option<Distribution>]) {
    canvas.paint(place, |along, down| {
        let shown = steps.get((along * steps.len() as f32) as usize)?.as_ref()?;
        let mut left = 1.0 - down;
        let reaches = |p: &f32| {
            left -= p;
            left <= 0.0
        };
        // What rounding leaves over belongs to the last one.
        let n = shown.0.iter().position(reaches).unwrap_or(COUNT - 1);
        Some(colour(Expression::ALL[n]))
    });
}
