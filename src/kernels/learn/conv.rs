//! Convolution with gradients: y = x * w, dense or depthwise.
//!
//! Dense: dx is the product of dy with the weights, added up where windows overlap (for stride 1 a convolution of dy
//! with the turned weights); dw[o, u, v, c] = sum over pixels of dy[o] * x[shifted by u, v; c], a product of matrices
//! that sums over pixels. Error of each: that of one sum of its terms, and of Winograd's form where that is used (see
//! [`super::super::winograd`]); sums over pixels run in parts of some hundred, so that they do not lose digits.
#![allow(unsafe_code)]

use candle_core::{CpuStorage, CustomOp2, Layout, Shape as Dims, Tensor};

use super::super::conv::shifted;
use super::super::dense::Dense;
use super::super::shape::{Padding, Shape, is_fast};
use super::super::simd::Isa;
use super::super::threads::each;
use super::super::tile::{Last, Panels, add_products, multiply_into};
use super::super::view::{Margins, Shared, filled, with_margins, with_scratch};
use super::super::winograd::{Around, Winograd};
use super::depthwise;
use super::pictures::{Geometry, numbers, picture, with_numbers};
use crate::error::Result;

/// Pixels that are summed up before the sum is put away.
const TERMS: usize = 224;

/// Convolution of x (batch, height, width, in) with weights (out, in, kh, kw), or (channels, 1, kh, kw) if depthwise,
/// to (batch, height', width', out).
///
/// # Errors
/// Shapes that do not fit each other; the message names them.
pub fn conv(x: &Tensor, weight: &Tensor, shape: Shape) -> Result<Tensor> {
    let geometry = Geometry::new(x, weight, shape)?;
    let x = x.contiguous()?;
    if is_fast(&x) && is_fast(weight) {
        return Ok(x.apply_op2(&weight.contiguous()?, ConvOp(geometry))?);
    }
    let Geometry { out: [b, oh, ow, out], margins: [top, bottom, left, right], .. } = geometry;
    if b == 0 {
        return Ok(Tensor::zeros((b, oh, ow, out), x.dtype(), x.device())?);
    }
    let padded = x.permute((0, 3, 1, 2))?.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?;
    let y = if shape.depthwise {
        shifted(&padded, weight, shape.stride, [oh, ow])?
    } else {
        padded.contiguous()?.conv2d(&weight.contiguous()?, 0, shape.stride, 1, 1)?
    };
    Ok(y.permute((0, 2, 3, 1))?.contiguous()?)
}

struct ConvOp(Geometry);

impl CustomOp2 for ConvOp {
    fn name(&self) -> &'static str {
        "conv"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        w: &CpuStorage,
        w_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Dims)> {
        let (x, w) = (numbers(x, x_layout)?, numbers(w, w_layout)?);
        let of = &self.0;
        let y = if of.depthwise { depthwise::forward(of, x, w) } else { forward(of, x, w) };
        Ok((CpuStorage::F32(y), Dims::from_dims(&of.out)))
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let of = &self.0;
        let (dx, dw) = with_numbers(dy, |dy| {
            let dx = x.track_op().then(|| {
                with_numbers(w, |w| if of.depthwise { depthwise::dx(of, dy, w) } else { dx(of, dy, w) })
            });
            let dw = w.track_op().then(|| {
                with_numbers(x, |x| if of.depthwise { depthwise::dw(of, x, dy) } else { dw(of, x, dy) })
            });
            (dx.transpose(), dw.transpose())
        })?;
        let dx = dx?.map(|data| Tensor::from_vec(data, x.shape(), x.device())).transpose()?;
        let dw = dw?.map(|data| Tensor::from_vec(data, w.shape(), w.device())).transpose()?;
        Ok((dx, dw))
    }
}

fn forward(of: &Geometry, x: &[f32], w: &[f32]) -> Vec<f32> {
    let [b, oh, ow, out] = of.out;
    let inner = of.x[3];
    convolve(x, of.x, w, [out, inner], of, [b, out, oh, ow], of.margins)
}

/// One convolution with weights used only once: (b, h, w, inner) to (b, oh, ow, out).
fn convolve(
    x: &[f32],
    size: [usize; 4],
    w: &[f32],
    [out, inner]: [usize; 2],
    of: &Geometry,
    dims: [usize; 4],
    margins: Margins,
) -> Vec<f32> {
    let [b, _, oh, ow] = dims;
    let isa = Isa::best();
    let tiles = b * oh.div_ceil(4) * ow.div_ceil(4);
    if of.kernel == [3, 3] && of.stride == 1 && Winograd::pays(b * oh * ow, tiles, out, inner, true) {
        let bias = vec![0.0; out];
        let around =
            Around { start: [margins[0], margins[2]], bias: &bias, last: &Last::Nothing, residual: None };
        return Winograd::new(isa, w, out, inner).forward(picture(x, size), dims, &around);
    }
    let padding = Padding::Same; // not asked for: the margins are given
    let [kh, kw] = of.kernel;
    let dense = Dense::new(isa, w, [out, inner, kh, kw], None, Last::Nothing, (of.stride, padding));
    dense.direct(picture(x, size), None, dims, margins)
}

/// The gradient of the input.
fn dx(of: &Geometry, dy: &[f32], w: &[f32]) -> Vec<f32> {
    let [b, h, width, inner] = of.x;
    let [_, oh, ow, out] = of.out;
    let [kh, kw] = of.kernel;
    let [top, bottom, left, right] = of.margins;
    if of.stride == 1 && [top, bottom].iter().all(|&n| n < kh) && [left, right].iter().all(|&n| n < kw) {
        // Turned by half a turn, inputs and outputs exchanged.
        let fill = |to: Shared| {
            each(inner, |c| {
                let taps = kh * kw;
                for o in 0..out {
                    let from = &w[(o * inner + c) * taps..][..taps];
                    for (tap, &value) in from.iter().rev().enumerate() {
                        // SAFETY: within the weights, and no other job has this channel.
                        unsafe { to.get().add((c * out + o) * taps + tap).write(value) };
                    }
                }
            });
        };
        // SAFETY: each channel writes its weights for all outputs.
        let turned = unsafe { filled(w.len(), fill) };
        let margins = [kh - 1 - top, kh - 1 - bottom, kw - 1 - left, kw - 1 - right];
        return convolve(dy, of.out, &turned, [inner, out], of, [b, inner, h, width], margins);
    }
    let columns = kh * kw * inner;
    // The columns' order is (tap, channel); weights are read once, in order.
    let fill = |to: Shared| {
        each(out, |o| {
            for tap in 0..kh * kw {
                for c in 0..inner {
                    let value = w[(o * inner + c) * kh * kw + tap];
                    // SAFETY: within the weights, and no other job has this output.
                    unsafe { to.get().add((o * kh * kw + tap) * inner + c).write(value) };
                }
            }
        });
    };
    // SAFETY: each output writes all of its weights.
    let ordered = unsafe { filled(w.len(), fill) };
    let panels = Panels::new(Isa::best(), out, columns, |o, n| ordered[o * columns + n]);
    let (rows, row) = (h + top + bottom, (width + left + right) * inner);
    let fill = |target: Shared| {
        each(b, |picture| {
            with_scratch(oh * ow * columns, |products| {
                let dy = &dy[picture * oh * ow * out..(picture + 1) * oh * ow * out];
                multiply_into(&panels, dy, products);
                with_scratch(rows * row, |sums| {
                    sums.fill(0.0);
                    for (pixel, products) in products.chunks_exact(columns.max(1)).enumerate() {
                        let (i, j) = (pixel / ow * of.stride, pixel % ow * of.stride);
                        for (u, part) in products.chunks_exact(kw * inner).enumerate() {
                            let start = (i + u) * row + j * inner;
                            let sums = &mut sums[start..start + kw * inner];
                            sums.iter_mut().zip(part).for_each(|(sum, value)| *sum += value);
                        }
                    }
                    for y in 0..h {
                        let from = &sums[(y + top) * row + left * inner..][..width * inner];
                        // SAFETY: one row of one picture, and no other job has this picture.
                        unsafe {
                            let to = target.get().add((picture * h + y) * width * inner);
                            to.copy_from_nonoverlapping(from.as_ptr(), from.len());
                        }
                    }
                });
            });
        });
    };
    // SAFETY: all rows of all pictures are copied.
    unsafe { filled(b * h * width * inner, fill) }
}

/// The gradient of the weights (out, inner, kh, kw).
fn dw(of: &Geometry, x: &[f32], dy: &[f32]) -> Vec<f32> {
    let [_, _, _, inner] = of.x;
    let [.., out] = of.out;
    let [kh, kw] = of.kernel;
    let isa = Isa::best();
    let width = 2 * isa.lanes();
    let fill = |target: Shared| {
        with_margins(picture(x, of.x), of.margins, |x| {
            let blocks = (kw * inner).div_ceil(width);
            let wanted = 4 * rayon::current_num_threads();
            let groups =
                if kh * blocks >= wanted { 1 } else { wanted.div_ceil(kh * blocks).min(out.div_ceil(28)) }
                    .max(1);
            each(kh * blocks * groups, |job| {
                let (group, block, u) = (job % groups, job / groups % blocks, job / (groups * blocks));
                let outputs = group * out / groups..(group + 1) * out / groups;
                let first = block * width;
                let valid = (kw * inner - first).min(width);
                with_scratch(outputs.len() * width, |sums| {
                    sums.fill(0.0);
                    add_pixels(of, x, dy, (u, first, valid), outputs.clone(), sums);
                    for (o, sums) in outputs.clone().zip(sums.chunks_exact(width)) {
                        for (n, &sum) in (first..first + valid).zip(sums) {
                            let (v, c) = (n / inner, n % inner);
                            // SAFETY: within the weights, and no other job has these outputs at these places.
                            unsafe { target.get().add(((o * inner + c) * kh + u) * kw + v).write(sum) };
                        }
                    }
                });
            });
        });
    };
    // SAFETY: the jobs are all rows, columns and channels of the kernel, for all outputs.
    unsafe { filled(out * inner * kh * kw, fill) }
}

/// sums[o, n] += dy[pixel, o] * x[pixel's window, row u, first + n] for all pixels.
fn add_pixels(
    of: &Geometry,
    x: &[f32],
    dy: &[f32],
    (u, first, valid): (usize, usize, usize),
    outputs: std::ops::Range<usize>,
    sums: &mut [f32],
) {
    let [b, h, w, inner] = of.x;
    let [_, oh, ow, out] = of.out;
    let [top, bottom, left, right] = of.margins;
    let (rows, row) = (h + top + bottom, (w + left + right) * inner);
    let isa = Isa::best();
    let width = 2 * isa.lanes();
    let pixels = b * oh * ow;
    let sums = Shared::new(sums);
    with_scratch(TERMS * width + 16, |packed| {
        let packed = Shared::aligned(packed);
        for start in (0..pixels).step_by(TERMS) {
            let count = TERMS.min(pixels - start);
            let (mut picture, mut i, mut j) = (start / (oh * ow), start / ow % oh, start % ow);
            for n in 0..count {
                let at = (picture * rows + i * of.stride + u) * row + j * of.stride * inner + first;
                let from = &x[at..at + valid];
                // SAFETY: `packed` has room for TERMS rows; what lies behind `valid` is zero and stays so.
                unsafe {
                    let to = packed.get().add(n * width);
                    if valid == 32 {
                        // Of a known size, so that it is a few moves and no call.
                        to.cast::<[f32; 32]>()
                            .write_unaligned(from.as_ptr().cast::<[f32; 32]>().read_unaligned());
                    } else if valid == width {
                        to.copy_from_nonoverlapping(from.as_ptr(), width);
                    } else {
                        to.write_bytes(0, width);
                        to.copy_from_nonoverlapping(from.as_ptr(), valid);
                    }
                }
                j += 1;
                if j == ow {
                    (i, j) = (i + 1, 0);
                    if i == oh {
                        (picture, i) = (picture + 1, 0);
                    }
                }
            }
            let left = dy[start * out + outputs.start..].as_ptr();
            // SAFETY: `count` pixels of dy from `start` on, as many packed rows, and sums for all outputs.
            unsafe { add_products(isa, (left, out, outputs.len()), packed.get(), count, sums.get()) };
        }
    });
}
