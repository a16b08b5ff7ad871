//! The loops of [`super::norm`] over whole pixels, compiled for the processor by whoever calls them (see
//! `simd::vectorised`). Each takes its data as one value, and writes all of `to`.
// Slices that were cut to the same length are walked by index: many zipped iterators would hide what is computed.
#![allow(clippy::needless_range_loop)]

use std::mem::MaybeUninit;

/// Adds x - first and its square, for each channel.
#[inline(always)]
pub(super) fn add_squares((x, first, [sums, squares]): (&[f32], &[f32], [&mut [f32]; 2])) {
    for pixel in x.chunks_exact(first.len()) {
        for (((x, first), sum), square) in pixel.iter().zip(first).zip(&mut *sums).zip(&mut *squares) {
            let d = x - first;
            *sum += d;
            *square += d * d;
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
#[inline(always)]
pub(super) fn apply((to, pixels): (&mut [MaybeUninit<f32>], Pixels<'_>)) {
    let c = pixels.lines[0].len();
    let [scale, shift, slope] = pixels.lines.map(|line| &line[..c]);
    let (each, keep) = pixels.each();
    for (to, (x, residual)) in to.chunks_exact_mut(c).zip(each) {
        for i in 0..c {
            let a = x[i] * scale[i] + shift[i] + residual[i] * keep;
            // What is not a number stays so.
            let positive = if a > pixels.high { pixels.high } else { a };
            to[i].write(if a > 0.0 { positive } else { a * slope[i] });
        }
    }
}

pub(super) type Summed<'a> = (Pixels<'a>, &'a [f32], [&'a [f32]; 2], [&'a mut [f32]; 2]);

/// Adds g and g z, for each channel.
#[inline(always)]
pub(super) fn add_gradients((pixels, dy, [mean, root], [sums, products]): Summed<'_>) {
    let c = pixels.lines[0].len();
    let [scale, shift, slope] = pixels.lines.map(|line| &line[..c]);
    let (mean, root, sums, products) = (&mean[..c], &root[..c], &mut sums[..c], &mut products[..c]);
    let (each, keep) = pixels.each();
    for (dy, (x, residual)) in dy.chunks_exact(c).zip(each) {
        for i in 0..c {
            let a = x[i] * scale[i] + shift[i] + residual[i] * keep;
            let g = dy[i] * pixels.steep(a, slope[i]);
            sums[i] += g;
            products[i] += g * ((x[i] - mean[i]) * root[i]);
        }
    }
}

/// Adds dy min(a, 0), for each channel.
#[inline(always)]
pub(super) fn add_slopes((pixels, dy, sums): (Pixels<'_>, &[f32], &mut [f32])) {
    let c = pixels.lines[0].len();
    let ([scale, shift, _], sums) = (pixels.lines.map(|line| &line[..c]), &mut sums[..c]);
    let (each, keep) = pixels.each();
    for (dy, (x, residual)) in dy.chunks_exact(c).zip(each) {
        for i in 0..c {
            let a = x[i] * scale[i] + shift[i] + residual[i] * keep;
            sums[i] += dy[i] * if a > 0.0 { 0.0 } else { a };
        }
    }
}

pub(super) type Spread<'a> = (&'a mut [MaybeUninit<f32>], Pixels<'a>, &'a [f32], [&'a [f32]; 3]);

/// The gradient of the input: scale * (g - less - (x - mean) * tilt).
#[inline(always)]
pub(super) fn spread_gradients((to, pixels, dy, constants): Spread<'_>) {
    let c = pixels.lines[0].len();
    let [scale, shift, slope] = pixels.lines.map(|line| &line[..c]);
    let [less, mean, tilt] = constants.map(|line| &line[..c]);
    let (each, keep) = pixels.each();
    for ((to, dy), (x, residual)) in to.chunks_exact_mut(c).zip(dy.chunks_exact(c)).zip(each) {
        for i in 0..c {
            let a = x[i] * scale[i] + shift[i] + residual[i] * keep;
            let g = dy[i] * pixels.steep(a, slope[i]);
            to[i].write(scale[i] * (g - less[i] - (x[i] - mean[i]) * tilt[i]));
        }
    }
}

/// g, the gradient of the residual.
#[inline(always)]
pub(super) fn pass_gradients((to, pixels, dy): (&mut [MaybeUninit<f32>], Pixels<'_>, &[f32])) {
    let c = pixels.lines[0].len();
    let [scale, shift, slope] = pixels.lines.map(|line| &line[..c]);
    let (each, keep) = pixels.each();
    for ((to, dy), (x, residual)) in to.chunks_exact_mut(c).zip(dy.chunks_exact(c)).zip(each) {
        for i in 0..c {
            let a = x[i] * scale[i] + shift[i] + residual[i] * keep;
            to[i].write(dy[i] * pixels.steep(a, slope[i]));
        }
    }
}
