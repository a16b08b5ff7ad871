//! Enlarging pictures to twice their size, with gradients.
//!
//! Nearest: every pixel becomes a square of 2x2. Bilinear (pixel centres at halves, as PyTorch's `align_corners=False`):
//! along each axis y[2 i] = x[i - 1] / 4 + 3 x[i] / 4 and y[2 i + 1] = 3 x[i] / 4 + x[i + 1] / 4, where what lies outside is
//! the pixel at the edge. The gradients are the same weights the other way. Error: at most 6 * 2^-24 of the sizes.
#![allow(unsafe_code)]

use candle_core::{CpuStorage, CustomOp1, DType, Layout, Shape as Dims, Tensor};

use super::super::conv::is_fast;
use super::super::simd::vectorised;
use super::super::threads::each;
use super::super::view::filled;
use super::{numbers, sizes, with_numbers};
use crate::error::Result;

/// Every pixel becomes a square of 2x2: (batch, height, width, channels) to (batch, 2 height, 2 width, channels).
///
/// # Errors
/// A tensor that is no picture.
pub fn enlarge(x: &Tensor) -> Result<Tensor> {
    twice(x, false)
}

/// Twice the size, bilinear: (batch, height, width, channels) to (batch, 2 height, 2 width, channels).
///
/// # Errors
/// A tensor that is no picture.
pub fn enlarge_smoothly(x: &Tensor) -> Result<Tensor> {
    twice(x, true)
}

fn twice(x: &Tensor, smooth: bool) -> Result<Tensor> {
    let size = sizes(x)?;
    let x = x.contiguous()?;
    if is_fast(&x) {
        return Ok(x.apply_op1(Twice { size, smooth })?);
    }
    // As products with the weights along each axis.
    let [b, h, w, c] = size;
    let weights = |size: usize| {
        let mut all = vec![0f32; 2 * size * size];
        for i in 0..2 * size {
            for (from, weight) in sources(i, size, smooth) {
                all[i * size + from] += weight;
            }
        }
        Tensor::from_vec(all, (2 * size, size), x.device())?.to_dtype(x.dtype())
    };
    let columns = x.reshape((b * h, w, c))?;
    let wide = weights(w)?.unsqueeze(0)?.broadcast_as((b * h, 2 * w, w))?.contiguous()?.matmul(&columns)?;
    let rows = wide.reshape((b, h, 2 * w * c))?;
    let tall = weights(h)?.unsqueeze(0)?.broadcast_as((b, 2 * h, h))?.contiguous()?.matmul(&rows)?;
    debug_assert!(tall.dtype() != DType::U8);
    Ok(tall.reshape((b, 2 * h, 2 * w, c))?)
}

/// What an output along one axis is made of.
fn sources(i: usize, size: usize, smooth: bool) -> [(usize, f32); 2] {
    let near = i / 2;
    if !smooth {
        return [(near, 1.0), (near, 0.0)];
    }
    let far = if i.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(size - 1) };
    [(near, 0.75), (far, 0.25)]
}

struct Twice {
    /// batch, height, width, channels
    size: [usize; 4],
    smooth: bool,
}

impl Twice {
    /// Calls `visit` with each output of a picture and the four inputs and weights that make it.
    fn outputs(&self, mut visit: impl FnMut(usize, [(usize, f32); 4])) {
        let [_, h, w, _] = self.size;
        for i in 0..2 * h {
            let [(a, wa), (b, wb)] = sources(i, h, self.smooth);
            for j in 0..2 * w {
                let [(c, wc), (d, wd)] = sources(j, w, self.smooth);
                let of =
                    [(a * w + c, wa * wc), (a * w + d, wa * wd), (b * w + c, wb * wc), (b * w + d, wb * wd)];
                visit(i * 2 * w + j, of);
            }
        }
    }
}

impl CustomOp1 for Twice {
    fn name(&self) -> &'static str {
        "enlarge"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> candle_core::Result<(CpuStorage, Dims)> {
        let x = numbers(x, layout)?;
        let [b, h, w, c] = self.size;
        let y = filled(4 * x.len(), |target| {
            each(b, |picture| {
                let x = &x[picture * h * w * c..(picture + 1) * h * w * c];
                // SAFETY: no other job has this picture.
                let y = unsafe { target.part(4 * picture * h * w * c, 4 * h * w * c) };
                self.outputs(|n, of| {
                    let y = &mut y[n * c..(n + 1) * c];
                    let from = of.map(|(from, _)| &x[from * c..(from + 1) * c]);
                    if self.smooth {
                        vectorised((y, from, of.map(|(_, weight)| weight)), mix);
                    } else {
                        y.copy_from_slice(from[0]);
                    }
                });
            });
        });
        Ok((CpuStorage::F32(y), Dims::from_dims(&[b, 2 * h, 2 * w, c])))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let [b, h, w, c] = self.size;
        let dx = with_numbers(dy, |dy| {
            filled(b * h * w * c, |target| {
                each(b, |picture| {
                    let dy = &dy[4 * picture * h * w * c..4 * (picture + 1) * h * w * c];
                    // SAFETY: no other job has this picture.
                    let dx = unsafe { target.part(picture * h * w * c, h * w * c) };
                    dx.fill(0.0);
                    self.outputs(|n, of| {
                        let dy = &dy[n * c..(n + 1) * c];
                        for (to, weight) in of.into_iter().filter(|&(_, weight)| weight > 0.0) {
                            vectorised((&mut dx[to * c..(to + 1) * c], dy, weight), add_share);
                        }
                    });
                });
            })
        })?;
        Tensor::from_vec(dx, x.shape(), x.device()).map(Some)
    }
}

#[inline(always)]
fn mix((y, [p, q, r, s], [a, b, c, d]): (&mut [f32], [&[f32]; 4], [f32; 4])) {
    for ((((y, p), q), r), s) in y.iter_mut().zip(p).zip(q).zip(r).zip(s) {
        *y = a * p + b * q + c * r + d * s;
    }
}

#[inline(always)]
fn add_share((to, dy, weight): (&mut [f32], &[f32], f32)) {
    to.iter_mut().zip(dy).for_each(|(to, dy)| *to += weight * dy);
}
