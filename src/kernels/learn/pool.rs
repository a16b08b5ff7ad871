//! Pooling with gradients.
//!
//! Largest of 3x3 (or any window) with a margin that never wins: the gradient goes to the first largest of the window,
//! row by row, as PyTorch's does; what is not a number wins. Mean of a picture: the gradient is spread evenly. Both are exact but for the mean's
//! sum, whose error is at most h * w * 2^-24 of the mean of the sizes.
#![allow(unsafe_code)]

use candle_core::{CpuStorage, CustomOp1, Layout, Shape as Dims, Tensor};

use super::super::pool::plain_max;
use super::super::shape::{Padding, is_fast};
use super::super::simd::{Loop, vectorised};
use super::super::threads::each;
use super::super::view::{Shared, filled, set};
use super::pictures::{numbers, sizes, with_numbers};
use crate::error::{Error, Result};

/// The largest value of each `window` x `window`, moved by `stride`, with `margin` pixels around: (batch, height,
/// width, channels) to (batch, height', width', channels).
///
/// # Errors
/// An input smaller than the window, or a margin as large as the window.
pub fn max_pool(x: &Tensor, window: usize, stride: usize, margin: usize) -> Result<Tensor> {
    let [b, h, w, c] = sizes(x)?;
    let wrong = || {
        let dims = x.dims();
        Error::new(format!(
            "windows of {window} with margin {margin}, moved by {stride}, do not fit {dims:?}"
        ))
    };
    if stride == 0 || margin >= window {
        return Err(wrong());
    }
    let side = |size| Padding::Zeros(margin).outputs(size, window, stride).ok_or_else(wrong);
    let pool = Largest { x: [b, h, w, c], out: [b, side(h)?, side(w)?, c], window, stride, margin };
    let x = x.contiguous()?;
    if is_fast(&x) {
        return Ok(x.apply_op1(pool)?);
    }
    let [b, oh, ow, c] = pool.out;
    let largest = plain_max(&x.permute((0, 3, 1, 2))?, [window, stride, margin], [b, c, oh, ow])?;
    Ok(largest.permute((0, 2, 3, 1))?.contiguous()?)
}

struct Largest {
    x: [usize; 4],
    out: [usize; 4],
    window: usize,
    stride: usize,
    margin: usize,
}

impl Largest {
    /// The rows or columns of the window at `i` in a picture with `size` of them.
    fn range(&self, i: usize, size: usize) -> std::ops::Range<usize> {
        let end = (i * self.stride + self.window).saturating_sub(self.margin).min(size);
        (i * self.stride).saturating_sub(self.margin).min(end)..end
    }

    /// Calls `visit` for each output of a picture, with the places in the input that its window has, in order.
    fn windows(&self, mut visit: impl FnMut(usize, &mut dyn Iterator<Item = usize>)) {
        let ([_, h, w, _], [_, oh, ow, _]) = (self.x, self.out);
        for i in 0..oh {
            for j in 0..ow {
                let columns = self.range(j, w);
                let mut places = self.range(i, h).flat_map(|y| columns.clone().map(move |x| y * w + x));
                visit(i * ow + j, &mut places);
            }
        }
    }
}

impl CustomOp1 for Largest {
    fn name(&self) -> &'static str {
        "max_pool"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Dims)> {
        let x = numbers(x, layout)?;
        let ([b, h, w, c], [_, oh, ow, _]) = (self.x, self.out);
        let fill = |target: Shared| {
            each(b, |picture| {
                let x = &x[picture * h * w * c..(picture + 1) * h * w * c];
                // SAFETY: no other job has this picture.
                let y = unsafe { target.part(picture * oh * ow * c, oh * ow * c) };
                self.windows(|n, places| {
                    let y = set(&mut y[n * c..(n + 1) * c], f32::NEG_INFINITY);
                    for place in places {
                        vectorised(KeepLarger { y, x: &x[place * c..(place + 1) * c] });
                    }
                });
            });
        };
        // SAFETY: each output of each picture is set first.
        let y = unsafe { filled(b * oh * ow * c, fill) };
        Ok((CpuStorage::F32(y), Dims::from_dims(&self.out)))
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let ([b, h, w, c], [_, oh, ow, _]) = (self.x, self.out);
        let spread = |x: &[f32], y: &[f32], dy: &[f32]| {
            let fill = |target: Shared| {
                each(b, |picture| {
                    let x = &x[picture * h * w * c..(picture + 1) * h * w * c];
                    let [y, dy] =
                        [y, dy].map(|data| &data[picture * oh * ow * c..(picture + 1) * oh * ow * c]);
                    // SAFETY: no other job has this picture.
                    let dx = unsafe { target.part(picture * h * w * c, h * w * c) };
                    let dx = set(dx, 0.0);
                    let mut left = vec![0.0; c];
                    self.windows(|n, places| {
                        left.copy_from_slice(&dy[n * c..(n + 1) * c]);
                        let y = &y[n * c..(n + 1) * c];
                        for place in places {
                            let (dx, x) =
                                (&mut dx[place * c..(place + 1) * c], &x[place * c..(place + 1) * c]);
                            vectorised(GiveToLargest { dx, x, y, left: &mut left });
                        }
                    });
                });
            };
            // SAFETY: each picture is set to zero first.
            unsafe { filled(b * h * w * c, fill) }
        };
        let dx = with_numbers(x, |x| with_numbers(y, |y| with_numbers(dy, |dy| spread(x, y, dy))))???;
        Tensor::from_vec(dx, x.shape(), x.device()).map(Some)
    }
}

struct KeepLarger<'a> {
    y: &'a mut [f32],
    x: &'a [f32],
}

impl Loop for KeepLarger<'_> {
    #[inline(always)]
    fn walk(self) {
        for (y, &x) in self.y.iter_mut().zip(self.x) {
            *y = if x > *y || x.is_nan() { x } else { *y };
        }
    }
}

/// Gives the gradient that is left to the places that equal the largest value.
struct GiveToLargest<'a> {
    dx: &'a mut [f32],
    x: &'a [f32],
    y: &'a [f32],
    left: &'a mut [f32],
}

impl Loop for GiveToLargest<'_> {
    #[inline(always)]
    fn walk(self) {
        let Self { dx, x, y, left } = self;
        for ((dx, x), (y, left)) in dx.iter_mut().zip(x).zip(y.iter().zip(left)) {
            let taken = if x == y || (x.is_nan() && y.is_nan()) { *left } else { 0.0 };
            *dx += taken;
            *left -= taken;
        }
    }
}

/// The mean over each picture: (batch, height, width, channels) to (batch, channels).
///
/// # Errors
/// A tensor that is no picture.
pub fn mean(x: &Tensor) -> Result<Tensor> {
    let [b, h, w, c] = sizes(x)?;
    let x = x.contiguous()?;
    if is_fast(&x) {
        return Ok(x.apply_op1(Mean { batch: b, pixels: h * w, channels: c })?);
    }
    Ok(x.reshape((b, h * w, c))?.mean(1)?)
}

struct Mean {
    batch: usize,
    pixels: usize,
    channels: usize,
}

impl CustomOp1 for Mean {
    fn name(&self) -> &'static str {
        "mean"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Dims)> {
        let x = numbers(x, layout)?;
        let c = self.channels;
        let mut means = vec![0.0; self.batch * c];
        for (picture, means) in x.chunks_exact((self.pixels * c).max(1)).zip(means.chunks_exact_mut(c.max(1)))
        {
            for pixel in picture.chunks_exact(c) {
                means.iter_mut().zip(pixel).for_each(|(mean, x)| *mean += x);
            }
            means.iter_mut().for_each(|mean| *mean /= self.pixels as f32);
        }
        Ok((CpuStorage::F32(means), Dims::from_dims(&[self.batch, c])))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let c = self.channels;
        let dx = with_numbers(dy, |dy| {
            let fill = |target: Shared| {
                each(self.batch, |picture| {
                    let share: Vec<f32> =
                        dy[picture * c..(picture + 1) * c].iter().map(|dy| dy / self.pixels as f32).collect();
                    // SAFETY: no other job has this picture.
                    let to = unsafe { target.part(picture * self.pixels * c, self.pixels * c) };
                    for (to, &share) in to.iter_mut().zip(share.iter().cycle()) {
                        to.write(share);
                    }
                });
            };
            // SAFETY: every pixel is written.
            unsafe { filled(self.batch * self.pixels * c, fill) }
        })?;
        Tensor::from_vec(dx, x.shape(), x.device()).map(Some)
    }
}
