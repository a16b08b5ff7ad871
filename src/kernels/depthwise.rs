//! Depthwise convolutions on the CPU, forward.
//!
//! y[b, c, i, j] = act(bias[c] + residual + sum over u, v of x[b, c, s*i + u - top, s*j + v - left] * w[c, u, v])
//!
//! A register holds neighbouring channels of one pixel, and four neighbouring outputs are summed at a time. Channels pass
//! innermost: they are what lies side by side in memory. Error: at most (kh * kw + 2) * 2^-24 of the sum of the terms' sizes.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]
// Indices name the places of a window.
#![allow(clippy::needless_range_loop)]

use std::ops::Range;

use super::lanes::{Kernel, Lanes};
use super::shape::Padding;
use super::simd::Isa;
use super::threads::{each, jobs};
use super::tile::Last;
use super::view::{Shared, View, filled, with_margins};

/// A depthwise convolution with its weights in order.
#[derive(Debug, Clone)]
pub(super) struct Depthwise {
    isa: Isa,
    /// (kh, kw, channels)
    weight: Vec<f32>,
    bias: Vec<f32>,
    last: Last,
    kernel: [usize; 2],
    stride: usize,
    padding: Padding,
}

impl Depthwise {
    /// Orders weights (channels, kh, kw).
    pub fn new(
        isa: Isa,
        weight: &[f32],
        [channels, kh, kw]: [usize; 3],
        bias: Option<Vec<f32>>,
        last: Last,
        (stride, padding): (usize, Padding),
    ) -> Self {
        let taps = kh * kw;
        let weight = (0..taps).flat_map(|t| (0..channels).map(move |c| weight[c * taps + t])).collect();
        let bias = bias.unwrap_or_else(|| vec![0.0; channels]);
        Self { isa, weight, bias, last, kernel: [kh, kw], stride, padding }
    }

    /// The output (batch, height', width', channels) for shapes that fit.
    pub fn forward(&self, x: View<'_>, residual: Option<&[f32]>, out: [usize; 4]) -> Vec<f32> {
        self.with_start(x, residual, out, self.start([x.dims[2], x.dims[3]]))
    }

    /// As [`Depthwise::forward`], with so many zeros above and to the left.
    pub fn with_start(
        &self,
        x: View<'_>,
        residual: Option<&[f32]>,
        [b, _, oh, ow]: [usize; 4],
        [top, left]: [usize; 2],
    ) -> Vec<f32> {
        let [_, c, h, w] = x.dims;
        let fill = |target: Shared| {
            with_margins(x, [0; 4], |x| {
                let count = b * oh;
                let jobs = jobs(count * ow * self.weight.len()).min(count);
                let lines = Lines { x, size: [h, w, c], out: [oh, ow], start: [top, left], residual };
                each(jobs, |job| {
                    let of_job = job * count / jobs..(job + 1) * count / jobs;
                    // SAFETY: the output has these lines, and no other job has them.
                    unsafe { self.run(&lines, of_job.clone(), target.get().add(of_job.start * ow * c)) };
                });
            });
        };
        // SAFETY: each row writes all of its outputs.
        unsafe { filled(b * oh * ow * c, fill) }
    }

    /// Some lines of the output, counted over all pictures, written one after the other from `out` on.
    ///
    /// # Safety
    /// The pictures have these lines, there is room for them, and nobody else uses it.
    pub unsafe fn run(&self, lines: &Lines<'_>, which: Range<usize>, out: *mut f32) {
        let Lines { x, size: [h, w, c], out: [height, width], start: [top, left], residual } = *lines;
        for (n, line) in which.enumerate() {
            let (picture, y) = (line / height, line % height);
            let row = Row {
                of: self,
                x: x[picture * h * w * c..].as_ptr(),
                size: [h, w, c],
                y: (y * self.stride) as isize - top as isize,
                left,
                width,
                out: out.add(n * width * c),
                residual: residual.map_or(std::ptr::null(), |residual| residual[line * width * c..].as_ptr()),
            };
            self.isa.run_within(c, row);
        }
    }

    /// Zeros above and to the left of pictures of this height and width.
    pub fn start(&self, [h, w]: [usize; 2]) -> [usize; 2] {
        [
            self.padding.around(h, self.kernel[0], self.stride).0,
            self.padding.around(w, self.kernel[1], self.stride).0,
        ]
    }
}

/// Pictures, channels last, and how their windows become lines of the output.
pub(super) struct Lines<'a> {
    pub x: &'a [f32],
    /// height, width and channels
    pub size: [usize; 3],
    /// height and width of the output
    pub out: [usize; 2],
    /// zeros above and to the left
    pub start: [usize; 2],
    pub residual: Option<&'a [f32]>,
}

/// One row of the output.
#[derive(Clone, Copy)]
struct Row<'a> {
    of: &'a Depthwise,
    x: *const f32,
    /// height, width and channels of the input
    size: [usize; 3],
    /// The input row of the window's first row; before the picture if negative.
    y: isize,
    left: usize,
    width: usize,
    out: *mut f32,
    residual: *const f32,
}

impl Kernel for Row<'_> {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        match (self.of.kernel, self.of.stride) {
            ([3, 3], 1) => self.channels::<V, 3, 1>(),
            ([3, 3], 2) => self.channels::<V, 3, 2>(),
            ([5, 5], 1) => self.channels::<V, 5, 1>(),
            ([5, 5], 2) => self.channels::<V, 5, 2>(),
            _ => self.any::<V>(),
        }
    }
}

impl Row<'_> {
    /// The window's rows that lie in the picture.
    #[inline(always)]
    fn rows(&self) -> (usize, usize) {
        let first = (-self.y).max(0) as usize;
        let end = (self.size[0] as isize - self.y).clamp(0, self.of.kernel[0] as isize) as usize;
        (first.min(end), end)
    }

    /// The first channels of each register; the last register overlaps the one before it.
    #[inline(always)]
    fn blocks<V: Lanes>(&self) -> impl Iterator<Item = usize> + use<V> {
        let c = self.size[2];
        (0..c).step_by(V::N).map(move |first| first.min(c - V::N))
    }

    /// Windows of K x K moved by S.
    #[inline(always)]
    unsafe fn channels<V: Lanes, const K: usize, const S: usize>(&self) {
        const AT_ONCE: usize = 4;
        // The outputs whose windows lie in the picture.
        let inner = self.left.div_ceil(S);
        let inner_end = match self.rows() == (0, K) {
            true => (self.size[1] + self.left + S).saturating_sub(K) / S,
            false => 0,
        };
        let mut j = 0;
        while j < self.width {
            j += match self.width - j {
                AT_ONCE.. if j >= inner && j + AT_ONCE <= inner_end => {
                    self.block::<V, K, S, AT_ONCE, true>(j, (0, K + AT_ONCE * S))
                }
                AT_ONCE.. => self.some::<V, K, S, AT_ONCE>(j),
                3 => self.some::<V, K, S, 3>(j),
                2 => self.some::<V, K, S, 2>(j),
                _ => self.some::<V, K, S, 1>(j),
            };
        }
    }

    /// N outputs from `j` on, any of whose windows may reach over the picture's ends; gives N.
    #[inline(always)]
    unsafe fn some<V: Lanes, const K: usize, const S: usize, const N: usize>(&self, j: usize) -> usize {
        let end = (self.size[1] + self.left).saturating_sub(j * S);
        self.block::<V, K, S, N, false>(j, (self.left.saturating_sub(j * S), end))
    }

    /// N outputs from `j` on, of whose windows the columns `before` to `end` lie in the row; WHOLE if all do, and all rows
    /// in the picture. Gives N.
    #[inline(always)]
    unsafe fn block<V: Lanes, const K: usize, const S: usize, const N: usize, const WHOLE: bool>(
        &self,
        j: usize,
        (before, end): (usize, usize),
    ) -> usize {
        let [_, w, c] = self.size;
        let (first_row, end_row) = self.rows();
        for channel in self.blocks::<V>() {
            let mut sums = [V::load(self.of.bias.as_ptr().add(channel)); N];
            for u in 0..K {
                if !WHOLE && (u < first_row || u >= end_row) {
                    continue;
                }
                let y = (self.y + u as isize) as usize;
                let weights: [V; K] =
                    std::array::from_fn(|v| V::load(self.of.weight.as_ptr().add((u * K + v) * c + channel)));
                for i in 0..(N - 1) * S + K {
                    if !WHOLE && (i < before || i >= end) {
                        continue;
                    }
                    let value = V::load(self.x.add((y * w + j * S + i - self.left) * c + channel));
                    for (n, sum) in sums.iter_mut().enumerate() {
                        if i >= n * S && i - n * S < K {
                            *sum = sum.fma(value, weights[i - n * S]);
                        }
                    }
                }
            }
            for (n, sum) in sums.into_iter().enumerate() {
                self.finish(sum, j + n, channel);
            }
        }
        N
    }

    /// Windows of any size.
    #[inline(always)]
    unsafe fn any<V: Lanes>(&self) {
        let [_, w, c] = self.size;
        let (first_row, end_row) = self.rows();
        let kw = self.of.kernel[1];
        for channel in self.blocks::<V>() {
            for j in 0..self.width {
                let mut sum = V::load(self.of.bias.as_ptr().add(channel));
                for u in first_row..end_row {
                    let y = (self.y + u as isize) as usize;
                    for v in 0..kw {
                        let column = j * self.of.stride + v;
                        if column >= self.left && column - self.left < w {
                            let value = V::load(self.x.add((y * w + column - self.left) * c + channel));
                            let weight = V::load(self.of.weight.as_ptr().add((u * kw + v) * c + channel));
                            sum = sum.fma(value, weight);
                        }
                    }
                }
                self.finish(sum, j, channel);
            }
        }
    }

    #[inline(always)]
    unsafe fn finish<V: Lanes>(&self, mut sum: V, j: usize, channel: usize) {
        let at = j * self.size[2] + channel;
        if !self.residual.is_null() {
            sum = sum.add(V::load(self.residual.add(at)));
        }
        self.of.last.apply(sum, channel).store(self.out.add(at));
    }
}
