//! Drawing on an [`Image`]: text, lines, boxes, veils and mosaics.
//!
//! Lines and text are OpenCV's; everything is clipped to the picture. Colours are blue, green, red.

use opencv::boxed_ref::BoxedRefMut;
use opencv::core::{Mat, MatTraitConst, Point as CvPoint, Scalar, Size, Vec3b, Vector};
use opencv::imgproc;

use crate::error::{Context, Result};
use crate::frame::Image;
use crate::geometry::{Point, Rect};

/// Blue, green, red.
pub type Colour = [u8; 3];

const FONT: i32 = imgproc::FONT_HERSHEY_DUPLEX;
/// The height of the font's capitals at scale 1, in pixels.
const FONT_HEIGHT: f32 = 21.0;
/// OpenCV's coordinates in 1/16 pixels.
const SHIFT: i32 = 4;

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
        let (scale, thickness) = font(height);
        let size = imgproc::get_text_size(&printable(text), FONT, scale, thickness, &mut 0)
            .unwrap_or(Size::new(0, 0));
        size.width as f32
    }

    /// Writes `text` with its bottom left corner at `at`, capitals `height` pixels high. Characters beyond ASCII
    /// become question marks: the font has no others.
    ///
    /// # Errors
    /// OpenCV refuses the picture.
    pub fn text(&mut self, text: &str, at: Point, height: f32, colour: Colour) -> Result<()> {
        let (scale, thickness) = font(height);
        self.paint(|mat| {
            let at = CvPoint::new(at.x.round() as i32, at.y.round() as i32);
            imgproc::put_text(
                mat,
                &printable(text),
                at,
                FONT,
                scale,
                scalar(colour),
                thickness,
                imgproc::LINE_AA,
                false,
            )
        })
    }

    /// Lines from point to point.
    ///
    /// # Errors
    /// OpenCV refuses the picture.
    pub fn lines(&mut self, points: &[Point], closed: bool, thickness: f32, colour: Colour) -> Result<()> {
        let points: Vector<CvPoint> = points.iter().map(|&p| fixed(p)).collect();
        let thickness = thickness.round().max(1.0) as i32;
        self.paint(|mat| {
            imgproc::polylines(mat, &points, closed, scalar(colour), thickness, imgproc::LINE_AA, SHIFT)
        })
    }

    /// Filled discs.
    ///
    /// # Errors
    /// OpenCV refuses the picture.
    pub fn dots(&mut self, centres: &[Point], radius: f32, colour: Colour) -> Result<()> {
        let radius = (radius * 16.0).round() as i32;
        self.paint(|mat| {
            centres.iter().try_for_each(|&c| {
                imgproc::circle(
                    mat,
                    fixed(c),
                    radius,
                    scalar(colour),
                    imgproc::FILLED,
                    imgproc::LINE_AA,
                    SHIFT,
                )
            })
        })
    }

    /// Lays a colour over a rectangle: opacity 0 shows nothing of it, 1 nothing else.
    pub fn veil(&mut self, rect: Rect, colour: Colour, opacity: f32) {
        let weight = (opacity.clamp(0.0, 1.0) * 256.0) as u32;
        self.each_row(rect, |_, pixels| {
            for pixel in pixels.as_chunks_mut::<3>().0 {
                for (p, c) in pixel.iter_mut().zip(colour) {
                    *p = ((u32::from(*p) * (256 - weight) + u32::from(c) * weight) >> 8) as u8;
                }
            }
        });
    }

    /// Replaces the ellipse inside a rectangle by some ten tiles of one colour each way, the way faces are hidden.
    pub fn mosaic(&mut self, rect: Rect) {
        let tile = (rect.w.max(rect.h) / 10.0).max(4.0);
        let (columns, rows) = ((rect.w / tile).ceil() as usize, (rect.h / tile).ceil() as usize);
        let mut sums = vec![[0u32; 4]; columns * rows];
        let tile_of = |x: usize, y: usize| {
            let column = ((x as f32 - rect.x) / tile) as usize;
            let row = ((y as f32 - rect.y) / tile) as usize;
            row.min(rows - 1) * columns + column.min(columns - 1)
        };
        let left = rect.x.max(0.0) as usize;
        self.each_row(rect, |y, pixels| {
            for (x, pixel) in pixels.as_chunks::<3>().0.iter().enumerate() {
                let sum = &mut sums[tile_of(left + x, y)];
                for (s, &p) in sum.iter_mut().zip(pixel) {
                    *s += u32::from(p);
                }
                sum[3] += 1;
            }
        });
        let centre = rect.centre();
        self.each_row(rect, |y, pixels| {
            for (x, pixel) in pixels.as_chunks_mut::<3>().0.iter_mut().enumerate() {
                let dx = (((left + x) as f32 + 0.5 - centre.x) / (rect.w / 2.0)).powi(2);
                let dy = ((y as f32 + 0.5 - centre.y) / (rect.h / 2.0)).powi(2);
                if dx + dy <= 1.0 {
                    let [b, g, r, count] = sums[tile_of(left + x, y)];
                    *pixel = [b, g, r].map(|s| (s / count.max(1)) as u8);
                }
            }
        });
    }

    /// The part of each row that lies in `rect`, with its number.
    fn each_row(&mut self, rect: Rect, mut work: impl FnMut(usize, &mut [u8])) {
        let (width, height) = (self.image.width(), self.image.height());
        let inside = |from: f32, length: f32, limit: usize| {
            let end = ((from + length).round().max(0.0) as usize).min(limit);
            ((from.max(0.0)) as usize).min(end)..end
        };
        let (columns, rows) = (inside(rect.x, rect.w, width), inside(rect.y, rect.h, height));
        for y in rows {
            let start = y * width;
            let range = (start + columns.start) * 3..(start + columns.end) * 3;
            work(y, &mut self.image.pixels_mut()[range]);
        }
    }

    fn paint(&mut self, work: impl FnOnce(&mut BoxedRefMut<Mat>) -> opencv::Result<()>) -> Result<()> {
        let (width, height) = (self.image.width(), self.image.height());
        if width == 0 || height == 0 {
            return Ok(());
        }
        let paint = || {
            let pixels = self.image.pixels_mut();
            let mut mat = Mat::new_rows_cols_with_bytes_mut::<Vec3b>(height as i32, width as i32, pixels)?;
            debug_assert!(mat.is_continuous());
            work(&mut mat)
        };
        paint().context("OpenCV cannot draw")
    }
}

fn font(height: f32) -> (f64, i32) {
    (f64::from(height / FONT_HEIGHT), (height / 14.0).round().max(1.0) as i32)
}

fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii() && !c.is_ascii_control() { c } else { '?' }).collect()
}

fn scalar([b, g, r]: Colour) -> Scalar {
    Scalar::new(b.into(), g.into(), r.into(), 0.0)
}

fn fixed(p: Point) -> CvPoint {
    // OpenCV counts from the middle of the first pixel; far outside is as good as further.
    let fix = |v: f32| ((v - 0.5) * 16.0).round().clamp(-1e6, 1e6) as i32;
    CvPoint::new(fix(p.x), fix(p.y))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drawing_outside_or_on_nothing_is_harmless() {
        for (width, height) in [(0, 0), (1, 1), (30, 20)] {
            let mut image = Image::filled(width, height, [9; 3]);
            let mut canvas = Canvas::on(&mut image);
            for rect in
                [Rect::new(-50.0, -50.0, 20.0, 20.0), Rect::new(-5.0, -5.0, 1e4, 1e4), Rect::default()]
            {
                canvas.veil(rect, [255; 3], 0.5);
                canvas.mosaic(rect);
            }
            canvas.text("far away \u{e9}", Point::new(-1e4, 1e4), 20.0, [0; 3]).unwrap();
            canvas.lines(&[Point::new(-1e9, 0.0), Point::new(1e9, 5.0)], true, 2.0, [0; 3]).unwrap();
            canvas.dots(&[Point::new(1e9, 1e9)], 3.0, [0; 3]).unwrap();
        }
    }

    #[test]
    fn a_mosaic_leaves_nothing_of_a_pattern_and_nothing_outside_changes() {
        let pixels =
            (0..100 * 100).flat_map(|i| [if (i / 2 + i / 200) % 2 == 0 { 0u8 } else { 255 }; 3]).collect();
        let before = Image::new(100, 100, pixels).unwrap();
        let mut image = before.clone();
        Canvas::on(&mut image).mosaic(Rect::new(20.0, 20.0, 60.0, 60.0));
        for (x, y) in [(0, 0), (10, 50), (90, 90), (21, 21)] {
            assert_eq!(image.bgr(x, y), before.bgr(x, y));
        }
        for (x, y) in [(50, 50), (30, 50), (50, 75)] {
            assert!((100..156).contains(&image.bgr(x, y)[0]), "{:?}", image.bgr(x, y));
        }
    }
}
