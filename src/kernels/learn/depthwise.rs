//! Gradients of depthwise convolutions, called from [`super::conv`].
//!
//! dx[i', j'] = sum over u, v of dy[i, j] * w[u, v] where s*i + u - top = i', and likewise j'; dw[u, v] = sum over pixels of
//! x[s*i + u - top, s*j + v - left] * dy[i, j]. Sums over pixels run picture by picture.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]
// Indices name the places of a window.
#![allow(clippy::needless_range_loop)]

use super::super::depthwise::Depthwise;
use super::super::lanes::{Kernel, Lanes};
use super::super::shape::Padding;
use super::super::simd::Isa;
use super::super::threads::each;
use super::super::tile::Last;
use super::super::view::{Margins, Shared, filled};
use super::pictures::{Geometry, picture};

/// The output.
pub(super) fn forward(of: &Geometry, x: &[f32], w: &[f32]) -> Vec<f32> {
    let [b, oh, ow, c] = of.out;
    run(x, of.x, w, of, [b, c, oh, ow], of.margins)
}

fn run(
    x: &[f32],
    size: [usize; 4],
    w: &[f32],
    of: &Geometry,
    dims: [usize; 4],
    margins: Margins,
) -> Vec<f32> {
    let [kh, kw] = of.kernel;
    let moves = (of.stride, Padding::Same); // the margins are given
    let conv = Depthwise::new(Isa::best(), w, [dims[1], kh, kw], None, Last::Nothing, moves);
    conv.with_start(picture(x, size), None, dims, [margins[0], margins[2]])
}

/// The gradient of the input.
pub(super) fn dx(of: &Geometry, dy: &[f32], w: &[f32]) -> Vec<f32> {
    let [b, h, width, c] = of.x;
    let [_, oh, ow, _] = of.out;
    let [kh, kw] = of.kernel;
    let [top, bottom, left, right] = of.margins;
    if of.stride == 1 && top.max(bottom) < kh && left.max(right) < kw {
        let turned: Vec<f32> = w.chunks_exact(kh * kw).flat_map(|w| w.iter().rev().copied()).collect();
        let margins = [kh - 1 - top, kh - 1 - bottom, kw - 1 - left, kw - 1 - right];
        return run(dy, of.out, &turned, of, [b, c, h, width], margins);
    }
    let weight = by_tap(w, c, kh * kw);
    let fill = |target: Shared| {
        each(b, |picture| {
            // SAFETY: no other job has this picture, and the spread stays in it.
            unsafe {
                let to = target.get().add(picture * h * width * c);
                to.write_bytes(0, h * width * c);
                let dy = dy.as_ptr().add(picture * oh * ow * c);
                Isa::best().run_within(c, Spread { of, dy, weight: &weight, to });
            }
        });
    };
    // SAFETY: each picture is set to zero first.
    unsafe { filled(b * h * width * c, fill) }
}

/// (channels, taps) to (taps, channels).
fn by_tap(w: &[f32], c: usize, taps: usize) -> Vec<f32> {
    (0..taps).flat_map(|tap| (0..c).map(move |c| w[c * taps + tap])).collect()
}

/// Adds each output's gradient to the inputs of its window.
struct Spread<'a> {
    of: &'a Geometry,
    dy: *const f32,
    weight: &'a [f32],
    to: *mut f32,
}

/// The places of a window at output `i` that lie in the picture.
fn inside(i: usize, stride: usize, before: usize, kernel: usize, size: usize) -> std::ops::Range<usize> {
    let first = before.saturating_sub(i * stride).min(kernel);
    first..(size + before).saturating_sub(i * stride).min(kernel).max(first)
}

impl Kernel for Spread<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        let [_, h, w, c] = self.of.x;
        let [_, oh, ow, _] = self.of.out;
        let [kh, kw] = self.of.kernel;
        let [top, _, left, _] = self.of.margins;
        let stride = self.of.stride;
        for i in 0..oh {
            for j in 0..ow {
                for u in inside(i, stride, top, kh, h) {
                    for v in inside(j, stride, left, kw, w) {
                        let to = self.to.add(((i * stride + u - top) * w + j * stride + v - left) * c);
                        let dy = std::slice::from_raw_parts(self.dy.add((i * ow + j) * c), c);
                        let to = std::slice::from_raw_parts_mut(to, c);
                        let weight = &self.weight[(u * kw + v) * c..][..c];
                        for ((to, dy), weight) in to.iter_mut().zip(dy).zip(weight) {
                            *to += dy * weight;
                        }
                    }
                }
            }
        }
    }
}

/// The gradient of the weights (channels, 1, kh, kw).
pub(super) fn dw(of: &Geometry, x: &[f32], dy: &[f32]) -> Vec<f32> {
    let [b, h, w, c] = of.x;
    let [_, oh, ow, _] = of.out;
    let taps = of.kernel[0] * of.kernel[1];
    let fill = |target: Shared| {
        each(b, |picture| {
            // SAFETY: no other job has this picture's part.
            unsafe {
                let to = target.get().add(picture * taps * c);
                to.write_bytes(0, taps * c);
                let (x, dy) = (x.as_ptr().add(picture * h * w * c), dy.as_ptr().add(picture * oh * ow * c));
                Isa::best().run_within(c, Gather { of, x, dy, to });
            }
        });
    };
    // SAFETY: each part is set to zero first.
    let parts = unsafe { filled(b * taps * c, fill) };
    let mut sums = vec![0.0; taps * c];
    for part in parts.chunks_exact((taps * c).max(1)) {
        sums.iter_mut().zip(part).for_each(|(sum, part)| *sum += part);
    }
    (0..c * taps).map(|n| sums[n % taps * c + n / taps]).collect()
}

/// One picture's gradient of the weights (taps, channels).
struct Gather<'a> {
    of: &'a Geometry,
    x: *const f32,
    dy: *const f32,
    to: *mut f32,
}

impl Kernel for Gather<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        match self.of.kernel {
            [3, 3] => self.sums::<V, 3>(),
            [5, 5] => self.sums::<V, 5>(),
            _ => self.any(),
        }
    }
}

impl Gather<'_> {
    /// Windows of K x K, with the sums in registers for a row of outputs.
    #[inline(always)]
    unsafe fn sums<V: Lanes, const K: usize>(&self) {
        let [_, h, w, c] = self.of.x;
        let [_, oh, ow, _] = self.of.out;
        let [top, _, left, _] = self.of.margins;
        let stride = self.of.stride;
        for i in 0..oh {
            let rows = inside(i, stride, top, K, h);
            // The last block of channels overlaps the one before: it starts where that ends.
            let mut channel = 0;
            while channel + V::N <= c {
                let mut sums = [[V::splat(0.0); K]; K];
                for j in 0..ow {
                    let dy = V::load(self.dy.add((i * ow + j) * c + channel));
                    let columns = inside(j, stride, left, K, w);
                    for u in 0..K {
                        if u < rows.start || u >= rows.end {
                            continue;
                        }
                        // May lie before the row; only places inside are read.
                        let row = ((i * stride + u - top) * w + j * stride) * c + channel;
                        for v in 0..K {
                            if v >= columns.start && v < columns.end {
                                sums[u][v] = sums[u][v].fma(V::load(self.x.add(row + v * c - left * c)), dy);
                            }
                        }
                    }
                }
                for (tap, sum) in sums.iter().flatten().enumerate() {
                    let to = self.to.add(tap * c + channel);
                    V::load(to).add(*sum).store(to);
                }
                channel += V::N;
            }
        }
        self.rest(c - c % V::N);
    }

    /// Windows of any size.
    #[inline(always)]
    unsafe fn any(&self) {
        self.rest(0);
    }

    /// The channels from `from` on, one by one.
    #[inline(always)]
    unsafe fn rest(&self, from: usize) {
        let [_, h, w, c] = self.of.x;
        let [_, oh, ow, _] = self.of.out;
        let [kh, kw] = self.of.kernel;
        let [top, _, left, _] = self.of.margins;
        let stride = self.of.stride;
        if from == c {
            return;
        }
        for i in 0..oh {
            for j in 0..ow {
                for u in inside(i, stride, top, kh, h) {
                    for v in inside(j, stride, left, kw, w) {
                        let x = self.x.add(((i * stride + u - top) * w + j * stride + v - left) * c);
                        for channel in from..c {
                            let to = self.to.add((u * kw + v) * c + channel);
                            *to += *x.add(channel) * *self.dy.add((i * ow + j) * c + channel);
                        }
                    }
                }
            }
        }
    }
}
