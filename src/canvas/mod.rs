//! Drawing on an [`Image`]: text, lines, discs, panels and veils, all with smooth edges.
//!
//! Plain code on the picture's own pixels: a drawing library would want four channels and thus a copy of every frame
//! there and back, which costs more than the drawing. Everything is clipped to the picture; any coordinate is
//! allowed. Colours are blue, green, red.

mod text;

use std::ops::Range;

use crate::frame::Image;
use crate::geometry::{Point, Rect};

/// Blue, green, red.
pub type Colour = [u8; 3];

/// A picture to draw on.
pub struct Canvas<'a> {
    image: &'a mut Image,
}

impl<'a> Canvas<'a> {
    /// Draws on `image`.
    pub fn on(image: &'a mut Image) -> Self {
        Self { image }
    }

    /// How wide a text is, in pixels, if its capitals are `height` pixels high.
    pub fn text_width(text: &str, height: f32) -> f32 {
        text::width(text, height)
    }

    /// Writes `text` with its base line beginning at `at`, capitals `height` pixels high. Characters that the font
    /// lacks become boxes.
    pub fn text(&mut self, text: &str, at: Point, height: f32, colour: Colour) {
        let base = at.y.round().clamp(-1e6, 1e6) as i32;
        text::glyphs(text, at.x, height, |column, glyph| {
            let rows = glyph.coverage.chunks_exact(glyph.width.max(1));
            for (row, coverage) in rows.enumerate() {
                let y = base + glyph.top + row as i32;
                let (from, to) = (column + glyph.left, column + glyph.left + glyph.width as i32);
                let Some((first, pixels)) = self.span(y as f32, from as f32, to as f32) else { continue };
                let coverage = &coverage[(first as i32 - from) as usize..];
                for (pixel, &share) in pixels.iter_mut().zip(coverage) {
                    blend(pixel, colour, u32::from(share) + u32::from(share >> 7));
                }
            }
        });
    }

    /// Lines from point to point, with round ends. Thinner than a pixel, they are fainter.
    pub fn lines(&mut self, points: &[Point], closed: bool, thickness: f32, colour: Colour) {
        let back =
            if closed { points.last().into_iter().zip(points.first()) } else { None.into_iter().zip(None) };
        for (&from, &to) in points.iter().zip(points.iter().skip(1)).chain(back) {
            self.line(from, to, thickness, colour);
        }
    }

    fn line(&mut self, from: Point, to: Point, thickness: f32, colour: Colour) {
        let (dx, dy) = (to.x - from.x, to.y - from.y);
        let square = (dx * dx + dy * dy).max(1e-6);
        let reach = thickness.max(1.0) / 2.0 + 0.5;
        for y in self.rows(from.y.min(to.y) - reach, from.y.max(to.y) + reach) {
            let py = y as f32 + 0.5 - from.y;
            // The part of the line that is near this row.
            let (t0, t1) = match dy.abs() {
                flat if flat < 1e-3 => (0.0, 1.0),
                _ => {
                    let (a, b) = ((py - 1.5 * reach) / dy, (py + 1.5 * reach) / dy);
                    (a.min(b).clamp(0.0, 1.0), a.max(b).clamp(0.0, 1.0))
                }
            };
            let (a, b) = (from.x + dx * t0, from.x + dx * t1);
            let Some((first, pixels)) = self.span(y as f32, a.min(b) - reach, a.max(b) + reach) else {
                continue;
            };
            for (x, pixel) in pixels.iter_mut().enumerate() {
                let px = (first + x) as f32 + 0.5 - from.x;
                let t = ((px * dx + py * dy) / square).clamp(0.0, 1.0);
                let distance = (px - t * dx).hypot(py - t * dy);
                blend(pixel, colour, weight((reach - distance).min(thickness)));
            }
        }
    }

    /// Filled discs.
    pub fn dots(&mut self, centres: &[Point], radius: f32, colour: Colour) {
        for &centre in centres {
            let square = Rect::new(centre.x - radius, centre.y - radius, 2.0 * radius, 2.0 * radius);
            self.fill(square, colour, |p| radius + 0.5 - p.distance(centre));
        }
    }

    /// Lays a colour over a rectangle: opacity 0 shows nothing of it, 1 nothing else.
    pub fn veil(&mut self, rect: Rect, colour: Colour, opacity: f32) {
        let weight = weight(opacity);
        let right = (rect.x + rect.w).round();
        for y in self.rows(rect.y.round(), (rect.y + rect.h).round()) {
            let Some((_, pixels)) = self.span(y as f32, rect.x.round(), right) else { continue };
            match weight {
                256 => pixels.fill(colour),
                _ => pixels.iter_mut().for_each(|pixel| blend(pixel, colour, weight)),
            }
        }
    }

    /// A veil with round corners.
    pub fn panel(&mut self, rect: Rect, radius: f32, colour: Colour, opacity: f32) {
        let (x, y) = (rect.x.round(), rect.y.round());
        let (w, h) = ((rect.x + rect.w).round() - x, (rect.y + rect.h).round() - y);
        let r = radius.min(w / 2.0).min(h / 2.0).floor().max(0.0);
        self.veil(Rect::new(x, y + r, w, h - 2.0 * r), colour, opacity);
        for (top, turn) in [(y, r), (y + h - r, 0.0)] {
            self.veil(Rect::new(x + r, top, w - 2.0 * r, r), colour, opacity);
            for (left, centre) in [(x, x + r), (x + w - r, x + w - r)] {
                let centre = Point::new(centre, top + turn);
                let share = |p: Point| (r + 0.5 - p.distance(centre)).clamp(0.0, 1.0) * opacity;
                self.fill(Rect::new(left, top, r, r), colour, share);
            }
        }
    }

    /// Replaces the ellipse inside a rectangle by the mean colour of that rectangle: of what was there, not even
    /// what many frames together tell remains.
    pub fn cover(&mut self, rect: Rect) {
        let (mut sum, mut count) = ([0u64; 3], 0u64);
        for y in self.rows(rect.y, rect.y + rect.h) {
            let Some((_, pixels)) = self.span(y as f32, rect.x, rect.x + rect.w) else { continue };
            for pixel in pixels.iter() {
                sum.iter_mut().zip(pixel).for_each(|(s, &p)| *s += u64::from(p));
            }
            count += pixels.len() as u64;
        }
        let mean = sum.map(|s| (s / count.max(1)) as u8);
        let (centre, half) = (rect.centre(), rect.w.min(rect.h) / 2.0);
        self.fill(rect, mean, |p| {
            let (dx, dy) = ((p.x - centre.x) / (rect.w / 2.0), (p.y - centre.y) / (rect.h / 2.0));
            (1.0 - dx.hypot(dy)) * half + 0.5
        });
    }

    /// Gives each pixel of a rectangle the colour of its place, from (0, 0) top left to (1, 1); none leaves it.
    pub fn paint(&mut self, rect: Rect, colour_at: impl Fn(f32, f32) -> Option<Colour>) {
        let (left, right) = (rect.x.round(), (rect.x + rect.w).round());
        let (top, bottom) = (rect.y.round(), (rect.y + rect.h).round());
        for y in self.rows(top, bottom) {
            let down = (y as f32 + 0.5 - top) / (bottom - top);
            let Some((first, pixels)) = self.span(y as f32, left, right) else { continue };
            for (x, pixel) in pixels.iter_mut().enumerate() {
                let along = ((first + x) as f32 + 0.5 - left) / (right - left);
                *pixel = colour_at(along, down).unwrap_or(*pixel);
            }
        }
    }

    /// Lays a colour over the pixels of a rectangle, on each by the share of it that `coverage` gives for its centre;
    /// under 0 is 0, over 1 is 1.
    fn fill(&mut self, rect: Rect, colour: Colour, coverage: impl Fn(Point) -> f32) {
        for y in self.rows(rect.y, rect.y + rect.h) {
            let Some((first, pixels)) = self.span(y as f32, rect.x, rect.x + rect.w) else { continue };
            for (x, pixel) in pixels.iter_mut().enumerate() {
                let centre = Point::new((first + x) as f32 + 0.5, y as f32 + 0.5);
                blend(pixel, colour, weight(coverage(centre)));
            }
        }
    }

    /// The rows that lie, if only in part, between two heights.
    fn rows(&self, from: f32, to: f32) -> Range<usize> {
        inside(from, to, self.image.height())
    }

    /// The pixels of row `y` that lie, if only in part, between two places, and the column of the first.
    fn span(&mut self, y: f32, from: f32, to: f32) -> Option<(usize, &mut [[u8; 3]])> {
        let (width, height) = (self.image.width(), self.image.height());
        let columns = inside(from, to, width);
        if y < 0.0 || y >= height as f32 || columns.is_empty() {
            return None;
        }
        let row = &mut self.image.pixels_mut()[y as usize * width * 3..][..width * 3];
        Some((columns.start, &mut row.as_chunks_mut::<3>().0[columns]))
    }
}

/// The whole numbers below `limit` that a stretch touches.
fn inside(from: f32, to: f32, limit: usize) -> Range<usize> {
    let end = (to.ceil().max(0.0) as usize).min(limit);
    (from.floor().max(0.0) as usize).min(end)..end
}

/// A share in 1/256.
fn weight(share: f32) -> u32 {
    (share.clamp(0.0, 1.0) * 256.0) as u32
}

fn blend(pixel: &mut [u8; 3], colour: Colour, weight: u32) {
    for (p, c) in pixel.iter_mut().zip(colour) {
        *p = ((u32::from(*p) * (256 - weight) + u32::from(c) * weight) >> 8) as u8;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WHITE: Colour = [255; 3];

    fn length() -> impl Strategy<Value = f32> {
        prop_oneof![
            -60f32..90.0,
            Just(0.0),
            Just(0.4),
            Just(1e9),
            Just(-1e9),
            Just(f32::NAN),
            Just(f32::INFINITY)
        ]
    }

    proptest! {
        #[test]
        fn any_place_and_size_may_be_drawn_on_any_picture(
            w in 0usize..40, h in 0usize..30, n in prop::array::uniform4(length()), size in length(),
        ) {
            let mut image = Image::filled(w, h, [9; 3]);
            let mut canvas = Canvas::on(&mut image);
            let (rect, a, b) = (Rect::new(n[0], n[1], n[2], n[3]), Point::new(n[0], n[1]), Point::new(n[2], n[3]));
            canvas.veil(rect, WHITE, 0.5);
            canvas.panel(rect, size, WHITE, 0.5);
            canvas.cover(rect);
            canvas.paint(rect, |x, y| (x < y).then_some(WHITE));
            canvas.lines(&[a, b], true, size, WHITE);
            canvas.dots(&[a], size.min(50.0), WHITE);
            canvas.text("far away \u{e9}", a, size.min(50.0), WHITE);
        }
    }

    #[test]
    fn a_covered_face_is_one_colour_and_nothing_outside_changes() {
        let pixels =
            (0..100 * 100).flat_map(|i| [if (i / 2 + i / 200) % 2 == 0 { 0u8 } else { 255 }; 3]).collect();
        let before = Image::new(100, 100, pixels).unwrap();
        let mut image = before.clone();
        Canvas::on(&mut image).cover(Rect::new(20.0, 20.0, 60.0, 60.0));
        for (x, y) in [(0, 0), (10, 50), (90, 90), (21, 21)] {
            assert_eq!(image.bgr(x, y), before.bgr(x, y));
        }
        let middle = image.bgr(50, 50);
        assert!((100..156).contains(&middle[0]), "{middle:?}");
        for (x, y) in [(51, 50), (22, 50), (50, 77), (70, 70)] {
            assert_eq!(image.bgr(x, y), middle);
        }
    }

    #[test]
    fn a_rectangle_without_height_is_covered_without_a_panic() {
        let mut image = Image::filled(20, 20, [9; 3]);
        Canvas::on(&mut image).cover(Rect::new(2.0, 3.4, 10.0, 0.0));
        Canvas::on(&mut image).cover(Rect::new(2.0, 3.4, 0.0, 10.0));
    }

    #[test]
    fn edges_are_smooth_and_insides_are_full() {
        let mut image = Image::filled(40, 40, [0; 3]);
        let mut canvas = Canvas::on(&mut image);
        canvas.lines(&[Point::new(2.0, 2.0), Point::new(38.0, 30.0)], false, 3.0, WHITE);
        canvas.panel(Rect::new(20.0, 1.0, 18.0, 12.0), 5.0, WHITE, 1.0);
        let values: Vec<u8> = image.pixels().iter().copied().step_by(3).collect();
        assert!(values.iter().filter(|&&v| v > 0 && v < 255).count() > 40);
        assert_eq!((image.bgr(20, 16), image.bgr(29, 6), image.bgr(20, 1)), (WHITE, WHITE, [0; 3]));
        // A line covers its length times its thickness.
        let mut image = Image::filled(60, 60, [0; 3]);
        Canvas::on(&mut image).lines(&[Point::new(10.0, 10.0), Point::new(50.0, 40.0)], false, 4.0, WHITE);
        let ink: f32 = image.pixels().iter().step_by(3).map(|&v| f32::from(v) / 255.0).sum();
        let wanted = 50.0 * 4.0 + std::f32::consts::PI * 4.0;
        assert!((ink - wanted).abs() < 0.04 * wanted, "{ink} {wanted}");
    }

    #[test]
    fn accents_are_drawn() {
        let ink = |text| {
            let mut image = Image::filled(60, 60, [0; 3]);
            Canvas::on(&mut image).text(text, Point::new(5.0, 45.0), 20.0, WHITE);
            image.pixels().iter().map(|&v| u64::from(v)).sum::<u64>()
        };
        assert!(ink("\u{e9}") > ink("e") && ink("\u{17d}") > ink("Z") && ink(" ") == 0);
    }
}
