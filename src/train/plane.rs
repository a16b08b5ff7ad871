//! Pictures without colour, cut, resized, turned and blurred: what augmentation works on.

use rand::Rng;

use crate::error::Result;
use crate::frame::Image;
use crate::geometry::{Point, Rect};

/// A picture without colour, 0 to 255.
#[derive(Debug, Clone, PartialEq)]
pub struct Plane {
    /// Pixels to a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Row by row.
    pub values: Vec<f32>,
}

impl Plane {
    /// The luminance of a picture (ITU-R BT.601).
    pub fn of_image(image: &Image) -> Self {
        let luminance =
            |&[b, g, r]: &[u8; 3]| 0.299 * f32::from(r) + 0.587 * f32::from(g) + 0.114 * f32::from(b);
        let values = image.pixels().as_chunks::<3>().0.iter().map(luminance).collect();
        Self { width: image.width(), height: image.height(), values }
    }

    /// It as a picture of grey pixels.
    ///
    /// # Errors
    /// Another number of values than its sides say.
    pub fn image(&self) -> Result<Image> {
        let grey = |v: &f32| [v.round().clamp(0.0, 255.0) as u8; 3];
        Image::new(self.width, self.height, self.values.iter().flat_map(grey).collect())
    }

    /// All of it.
    pub fn whole(&self) -> Rect {
        Rect::new(0.0, 0.0, self.width as f32, self.height as f32)
    }

    /// The piece `rect` of it as `width` x `height` pixels: interpolated where it grows, averaged where it
    /// shrinks (a triangle filter as wide as two pixels of the coarser side).
    pub fn resized(&self, rect: Rect, width: usize, height: usize) -> Self {
        let across = filter(rect.x, rect.w, self.width, width);
        let down = filter(rect.y, rect.h, self.height, height);
        let mut lines = vec![0f32; self.height * width];
        for (line, row) in
            lines.chunks_exact_mut(width.max(1)).zip(self.values.chunks_exact(self.width.max(1)))
        {
            for (out, (first, weights)) in line.iter_mut().zip(&across) {
                *out = weights.iter().zip(&row[*first..]).map(|(w, v)| w * v).sum();
            }
        }
        let mut values = vec![0f32; width * height];
        for (out, (first, weights)) in values.chunks_exact_mut(width.max(1)).zip(&down) {
            for (weight, line) in weights.iter().zip(lines.chunks_exact(width.max(1)).skip(*first)) {
                out.iter_mut().zip(line).for_each(|(out, v)| *out += weight * v);
            }
        }
        Self { width, height, values }
    }

    /// Puts a rectangle of another picture of its size in its place, and says what share of the area it covers
    /// (CutMix, Yun et al. 2019, arXiv 1905.04899: a share drawn evenly, about a pixel drawn evenly).
    pub fn paste(&mut self, other: &Self, rng: &mut impl Rng) -> f32 {
        let side = rng.random::<f32>().sqrt() / 2.0;
        let mut span = |length: usize| {
            let (middle, half) = (rng.random::<f32>() * length as f32, side * length as f32);
            ((middle - half).max(0.0) as usize, ((middle + half) as usize).min(length))
        };
        let ((left, right), (top, bottom)) = (span(self.width), span(self.height));
        for y in top..bottom {
            let row = y * self.width;
            self.values[row + left..row + right].copy_from_slice(&other.values[row + left..row + right]);
        }
        ((right - left) * (bottom - top)) as f32 / self.values.len().max(1) as f32
    }

    /// Turned clockwise by so many radians about its middle, interpolated; the edge goes on outside.
    pub(super) fn turned(&self, angle: f32) -> Self {
        let (w, h) = (self.width, self.height);
        let at = |x: usize, y: usize| self.values[y.min(h - 1) * w + x.min(w - 1)];
        let values = (0..w * h).map(|i| {
            let here = Point::new((i % w) as f32, (i / w) as f32);
            let from = turned(here, -angle, (w as f32 - 1.0) / 2.0);
            let (x, y) = (from.x.clamp(0.0, w as f32 - 1.0), from.y.clamp(0.0, h as f32 - 1.0));
            let (left, top) = (x as usize, y as usize);
            let (right, down) = (x.fract(), y.fract());
            let row = |y| at(left, y) * (1.0 - right) + at(left + 1, y) * right;
            row(top) * (1.0 - down) + row(top + 1) * down
        });
        Self { values: values.collect(), ..*self }
    }

    /// Blurred by a Gaussian of this deviation, in pixels; the edge goes on outside.
    pub fn blurred(&self, deviation: f32) -> Self {
        let reach = (3.0 * deviation).ceil().max(1.0) as isize;
        let kernel: Vec<f32> = (-reach..=reach)
            .map(|d| (-(d * d) as f32 / (2.0 * deviation * deviation).max(1e-6)).exp())
            .collect();
        let sum: f32 = kernel.iter().sum();
        let pass = |values: &[f32], across: bool| -> Vec<f32> {
            let at = |x: isize, y: isize| {
                let x = x.clamp(0, self.width as isize - 1) as usize;
                let y = y.clamp(0, self.height as isize - 1) as usize;
                values[y * self.width + x]
            };
            (0..values.len())
                .map(|i| {
                    let (x, y) = ((i % self.width) as isize, (i / self.width) as isize);
                    let taps = kernel
                        .iter()
                        .zip(-reach..)
                        .map(|(k, d)| k * if across { at(x + d, y) } else { at(x, y + d) });
                    taps.sum::<f32>() / sum
                })
                .collect()
        };
        Self { values: pass(&pass(&self.values, true), false), ..*self }
    }
}

/// A point turned clockwise by so many radians about a middle that is as far from the left as from the top.
pub(super) fn turned(p: Point, angle: f32, middle: f32) -> Point {
    let (sin, cos) = angle.sin_cos();
    let (x, y) = (p.x - middle, p.y - middle);
    Point::new(middle + x * cos - y * sin, middle + x * sin + y * cos)
}

/// For each of `out` pixels over `from .. from + length` of a line of `size`: the first pixel read, and weights.
fn filter(from: f32, length: f32, size: usize, out: usize) -> Vec<(usize, Vec<f32>)> {
    let step = length / out.max(1) as f32;
    let reach = step.max(1.0);
    (0..out)
        .map(|i| {
            let centre = from + (i as f32 + 0.5) * step - 0.5;
            let first = (centre - reach).ceil().max(0.0) as usize;
            let last = ((centre + reach).floor().max(0.0) as usize).min(size.saturating_sub(1));
            let first = first.min(last);
            let mut weights: Vec<f32> =
                (first..=last).map(|p| (1.0 - (p as f32 - centre).abs() / reach).max(0.0)).collect();
            let sum: f32 = weights.iter().sum();
            if sum > 0.0 {
                weights.iter_mut().for_each(|w| *w /= sum);
            } else {
                weights.fill(1.0 / (last - first + 1) as f32);
            }
            (first, weights)
        })
        .collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Every row grows from left to right.
    pub(in super::super) fn ramp(side: usize) -> Plane {
        let values = (0..side * side).map(|i| (i % side) as f32 + 0.5).collect();
        Plane { width: side, height: side, values }
    }

    #[test]
    fn resizing_keeps_means_and_ramps() {
        let small = ramp(16).resized(ramp(16).whole(), 4, 4);
        // Each is the mean of four and its neighbours; a ramp keeps its middle.
        for (a, b) in small.values[1..3].iter().zip([6.0, 10.0]) {
            assert!((a - b).abs() < 1e-4, "{:?}", small.values);
        }
        let large = ramp(4).resized(ramp(4).whole(), 8, 8);
        assert!((large.values[3] - 1.75).abs() < 1e-5);
        let flat = Plane { width: 5, height: 3, values: vec![7.0; 15] };
        assert!(
            flat.resized(Rect::new(0.5, 0.5, 3.0, 2.0), 7, 2).values.iter().all(|v| (v - 7.0).abs() < 1e-4)
        );
        assert!(flat.blurred(1.3).values.iter().all(|v| (v - 7.0).abs() < 1e-4));
    }
}
