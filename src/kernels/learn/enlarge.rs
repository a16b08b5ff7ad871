//! Enlarging pictures to twice their size, with gradients: the weights of [`super::super::enlarge`] the other way.
#![allow(unsafe_code)]

use candle_core::{CpuStorage, CustomOp1, Layout, Shape as Dims, Tensor};

use super::super::enlarge::{enlarged, plain, sources};
use super::super::shape::is_fast;
use super::super::simd::{Loop, vectorised};
use super::super::threads::each;
use super::super::view::{Shared, filled, set};
use super::pictures::{numbers, sizes, with_numbers};
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
    plain(&x, size, smooth)
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
        let [b, h, w, c] = self.size;
        let y = enlarged(numbers(x, layout)?, self.size, self.smooth, None);
        Ok((CpuStorage::F32(y), Dims::from_dims(&[b, 2 * h, 2 * w, c])))
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> candle_core::Result<Option<Tensor>> {
        let [b, h, w, c] = self.size;
        let dx = with_numbers(dy, |dy| {
            let fill = |target: Shared| {
                each(b, |picture| {
                    let dy = &dy[4 * picture * h * w * c..4 * (picture + 1) * h * w * c];
                    // SAFETY: no other job has this picture.
                    let dx = unsafe { target.part(picture * h * w * c, h * w * c) };
                    let dx = set(dx, 0.0);
                    self.outputs(|n, of| {
                        let dy = &dy[n * c..(n + 1) * c];
                        for (to, weight) in of.into_iter().filter(|&(_, weight)| weight > 0.0) {
                            vectorised(AddShare { to: &mut dx[to * c..(to + 1) * c], dy, weight });
                        }
                    });
                });
            };
            // SAFETY: each picture is set to zero first.
            unsafe { filled(b * h * w * c, fill) }
        })?;
        Tensor::from_vec(dx, x.shape(), x.device()).map(Some)
    }
}

struct AddShare<'a> {
    to: &'a mut [f32],
    dy: &'a [f32],
    weight: f32,
}

impl Loop for AddShare<'_> {
    #[inline(always)]
    fn walk(self) {
        self.to.iter_mut().zip(self.dy).for_each(|(to, dy)| *to += self.weight * dy);
    }
}
