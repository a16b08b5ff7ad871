//! The loops of [`super::norm`] over whole pixels, compiled for the processor. Each writes all of `to`.
// Slices that were cut to the same length are walked by index: many zipped iterators would hide what is computed.
#![allow(clippy::needless_range_loop)]

use std::mem::MaybeUninit;

use super::super::simd::Loop;

/// Adds x - first and its square, for each channel.
pub(super) struct AddSquares<'a> {
    pub x: &'a [f32],
    pub first: &'a [f32],
    pub sums: [&'a mut [f32]; 2],
}

impl Loop for AddSquares<'_> {
    #[inline(always)]
    fn walk(self) {
        let c = self.first.len();
        let [sums, squares] = self.sums.map(|sums| &mut sums[..c]);
        for x in self.x.chunks_exact(c) {
            for i in 0..c {
                let d = x[i] - self.first[i];
                sums[i] += d;
                squares[i] += d * d;
            }
        }
    }
}

/// Some pixels before the activation: a = x * scale + shift + residual.
#[derive(Clone, Copy)]
pub(super) struct Pixels<'a> {
    pub x: &'a [f32],
    pub residual: Option<&'a [f32]>,
    /// Scale, shift and the activation's slope below zero, of each channel.
    pub lines: [&'a [f32]; 3],
    /// The activation is nowhere larger.
    pub high: f32,
}

impl<'a> Pixels<'a> {
    /// Pixel by pixel: x, the residual, and how much of it counts. Where there is none, x stands in for it.
    #[inline(always)]
    fn each(self) -> (impl Iterator<Item = (&'a [f32], &'a [f32])>, f32) {
        let c = self.lines[0].len();
        let residual = self.residual.unwrap_or(self.x);
        let keep = if self.residual.is_some() { 1.0 } else { 0.0 };
        (self.x.chunks_exact(c).zip(residual.chunks_exact(c)), keep)
    }

    /// How steep the activation is at a.
    #[inline(always)]
    fn steep(self, a: f32, slope: f32) -> f32 {
        let positive = if a < self.high { 1.0 } else { 0.0 };
        if a > 0.0 { positive } else { slope }
    }
}

/// The activation of a.
pub(super) struct Apply<'a> {
    pub to: &'a mut [MaybeUninit<f32>],
    pub pixels: Pixels<'a>,
}

impl Loop for Apply<'_> {
    #[inline(always)]
    fn walk(self) {
        let (c, high) = (self.pixels.lines[0].len(), self.pixels.high);
        let [scale, shift, slope] = self.pixels.lines.map(|line| &line[..c]);
        let (each, keep) = self.pixels.each();
        for (to, (x, residual)) in self.to.chunks_exact_mut(c).zip(each) {
            for i in 0..c {
                let a = x[i] * scale[i] + shift[i] + residual[i] * keep;
                // What is not a number stays so.
                let positive = if a > high { high } else { a };
                let negative = a * slope[i];
                to[i].write(if a > 0.0 { positive } else { negative });
            }
        }
    }
}

/// Adds g, g z and, if the slopes learn, dy min(a, 0), for each channel.
pub(super) struct AddGradients<'a, const SLOPES: bool> {
    pub pixels: Pixels<'a>,
    pub dy: &'a [f32],
    /// Mean and 1 / deviation of each channel.
    pub moments: [&'a [f32]; 2],
    pub sums: [&'a mut [f32]; 3],
}

impl<const SLOPES: bool> Loop for AddGradients<'_, SLOPES> {
    #[inline(always)]
    fn walk(self) {
        let c = self.pixels.lines[0].len();
        let [scale, shift, slope] = self.pixels.lines.map(|line| &line[..c]);
        let [mean, root] = self.moments.map(|line| &line[..c]);
        let [biases, gains, slopes] = self.sums.map(|sums| &mut sums[..c]);
        let (each, keep) = self.pixels.each();
        for (dy, (x, residual)) in self.dy.chunks_exact(c).zip(each) {
            for i in 0..c {
                let a = x[i] * scale[i] + shift[i] + residual[i] * keep;
                let g = dy[i] * self.pixels.steep(a, slope[i]);
                biases[i] += g;
                gains[i] += g * ((x[i] - mean[i]) * root[i]);
                if SLOPES {
                    slopes[i] += dy[i] * if a > 0.0 { 0.0 } else { a };
                }
            }
        }
    }
}

/// The gradient of the input: scale * (g - less - (x - mean) * tilt).
pub(super) struct Spread<'a> {
    pub to: &'a mut [MaybeUninit<f32>],
    pub pixels: Pixels<'a>,
    pub dy: &'a [f32],
    /// less, mean and tilt of each channel.
    pub constants: [&'a [f32]; 3],
}

impl Loop for Spread<'_> {
    #[inline(always)]
    fn walk(self) {
        let c = self.pixels.lines[0].len();
        let [scale, shift, slope] = self.pixels.lines.map(|line| &line[..c]);
        let [less, mean, tilt] = self.constants.map(|line| &line[..c]);
        let (each, keep) = self.pixels.each();
        for ((to, dy), (x, residual)) in self.to.chunks_exact_mut(c).zip(self.dy.chunks_exact(c)).zip(each) {
            for i in 0..c {
                let a = x[i] * scale[i] + shift[i] + residual[i] * keep;
                let g = dy[i] * self.pixels.steep(a, slope[i]);
                to[i].write(scale[i] * (g - less[i] - (x[i] - mean[i]) * tilt[i]));
            }
        }
    }
}

/// g, the gradient of the residual.
pub(super) struct Pass<'a> {
    pub to: &'a mut [MaybeUninit<f32>],
    pub pixels: Pixels<'a>,
    pub dy: &'a [f32],
}

impl Loop for Pass<'_> {
    #[inline(always)]
    fn walk(self) {
        let c = self.pixels.lines[0].len();
        let [scale, shift, slope] = self.pixels.lines.map(|line| &line[..c]);
        let (each, keep) = self.pixels.each();
        for ((to, dy), (x, residual)) in self.to.chunks_exact_mut(c).zip(self.dy.chunks_exact(c)).zip(each) {
            for i in 0..c {
                let a = x[i] * scale[i] + shift[i] + residual[i] * keep;
                to[i].write(dy[i] * self.pixels.steep(a, slope[i]));
            }
        }
    }
}
