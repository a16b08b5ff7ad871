//! Depthwise convolutions on the CPU, forward.
//!
//! y[b, c, i, j] = act(bias[c] + residual + sum over u, v of x[b, c, s*i + u - top, s*j + v - left] * w[c, u, v])
//!
//! A register holds neighbouring channels of one pixel. The weights of these channels stay in registers while a row
//! passes, four outputs at a time. Error: at most (kh * kw + 2) * 2^-24 of the sum of the terms' sizes.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]
// Indices name the places of a window.
#![allow(clippy::needless_range_loop)]

use super::conv::Padding;
use super::simd::{Isa, Kernel, Lanes};
use super::threads::each;
use super::tile::Last;
use super::view::{View, filled, with_margins};

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
    pub fn forward(&self, x: View<'_>, residual: Option<&[f32]>, [b, _, oh, ow]: [usize; 4]) -> Vec<f32> {
        let [_, _, h, w] = x.dims;
        let (top, _) = self.padding.around(h, self.kernel[0], self.stride);
        let (left, _) = self.padding.around(w, self.kernel[1], self.stride);
        self.with_start(x, residual, [b, x.dims[1], oh, ow], [top, left])
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
        filled(b * oh * ow * c, |target| {
            with_margins(x, [0; 4], |x| {
                let lines = b * oh;
                let threads = rayon::current_num_threads();
                let work = lines * ow * c * self.weight.len() / c.max(1);
                let jobs = if threads == 1 || work < 64 * 1024 { 1 } else { (4 * threads).min(lines) };
                each(jobs.min(lines), |job| {
                    for line in job * lines / jobs..(job + 1) * lines / jobs {
                        let (picture, y) = (line / oh, line % oh);
                        // SAFETY: the picture and the line are there, and no other job has this line.
                        unsafe {
                            let row = Row {
                                of: self,
                                x: x.as_ptr().add(picture * h * w * c),
                                size: [h, w, c],
                                y: (y * self.stride) as isize - top as isize,
                                left,
                                width: ow,
                                out: target.get().add(line * ow * c),
                                residual: residual.map_or(std::ptr::null(), |residual| {
                                    residual.as_ptr().add(line * ow * c)
                                }),
                            };
                            self.isa.run_within(c, row);
                        }
                    }
                });
            });
        })
    }
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

    /// Windows of K x K moved by S, with the weights in registers.
    #[inline(always)]
    unsafe fn channels<V: Lanes, const K: usize, const S: usize>(&self) {
        const AT_ONCE: usize = 4;
        let [_, w, _] = self.size;
        let (first_row, end_row) = self.rows();
        // The outputs whose windows lie in the row.
        let inner = self.left.div_ceil(S).min(self.width);
        let inner_end = ((w + self.left + S).saturating_sub(K) / S).clamp(inner, self.width);
        for channel in self.blocks::<V>() {
            let mut weights = [[V::splat(0.0); K]; K];
            for (u, row) in weights.iter_mut().enumerate() {
                for (v, weight) in row.iter_mut().enumerate() {
                    *weight = V::load(self.of.weight.as_ptr().add((u * K + v) * self.size[2] + channel));
                }
            }
            let mut j = 0;
            while j < inner {
                self.edge::<V, K>(j, channel, (first_row, end_row), &weights);
                j += 1;
            }
            while j + AT_ONCE <= inner_end {
                self.some::<V, K, S, AT_ONCE>(j, channel, (first_row, end_row), &weights);
                j += AT_ONCE;
            }
            while j < inner_end {
                self.some::<V, K, S, 1>(j, channel, (first_row, end_row), &weights);
                j += 1;
            }
            while j < self.width {
                self.edge::<V, K>(j, channel, (first_row, end_row), &weights);
                j += 1;
            }
        }
    }

    /// N outputs from `j` on, whose windows lie in the row.
    #[inline(always)]
    unsafe fn some<V: Lanes, const K: usize, const S: usize, const N: usize>(
        &self,
        j: usize,
        channel: usize,
        (first_row, end_row): (usize, usize),
        weights: &[[V; K]; K],
    ) {
        let [_, w, c] = self.size;
        let mut sums = [V::load(self.of.bias.as_ptr().add(channel)); N];
        let column = j * S - self.left;
        for u in 0..K {
            if u < first_row || u >= end_row {
                continue;
            }
            let y = (self.y + u as isize) as usize;
            let from = self.x.add((y * w + column) * c + channel);
            for i in 0..(N - 1) * S + K {
                let value = V::load(from.add(i * c));
                for (n, sum) in sums.iter_mut().enumerate() {
                    if i >= n * S && i - n * S < K {
                        *sum = sum.fma(value, weights[u][i - n * S]);
                    }
                }
            }
        }
        for (n, sum) in sums.into_iter().enumerate() {
            self.finish(sum, j + n, channel);
        }
    }

    /// The output `j`, whose window reaches over the row's ends.
    #[inline(always)]
    unsafe fn edge<V: Lanes, const K: usize>(
        &self,
        j: usize,
        channel: usize,
        (first_row, end_row): (usize, usize),
        weights: &[[V; K]; K],
    ) {
        let [_, w, c] = self.size;
        let mut sum = V::load(self.of.bias.as_ptr().add(channel));
        for u in 0..K {
            if u < first_row || u >= end_row {
                continue;
            }
            let y = (self.y + u as isize) as usize;
            for (v, &weight) in weights[u].iter().enumerate() {
                let column = j * self.of.stride + v;
                if column >= self.left && column - self.left < w {
                    let value = V::load(self.x.add((y * w + column - self.left) * c + channel));
                    sum = sum.fma(value, weight);
                }
            }
        }
        self.finish(sum, j, channel);
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
