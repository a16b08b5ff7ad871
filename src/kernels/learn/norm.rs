//! Batch norm in training mode, with residual and activation in one pass.
//!
//! y = act(a), a = (x - m) / sqrt(v + 1e-5) * gain + bias + residual, m and v over all pixels of the batch (v divided by
//! their number). With g = dy * act'(a), n pixels and z = (x - m) / sqrt(v + 1e-5):
//! d bias = sum g, d gain = sum g z, dx = gain / sqrt(v + 1e-5) * (g - (d bias + z * d gain) / n), d residual = g;
//! with a PReLU d slope = sum dy min(a, 0).
//!
//! Sums run over 256 pixels in 32 bits and beyond that in 64, of differences from the first pixel, so that a mean far
//! from zero costs no digits: the error of y is some 1e-6 of its largest value.
#![allow(unsafe_code)]

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Shape as Dims, Tensor};

use super::super::shape::{Activation, is_fast};
use super::super::simd::vectorised;
use super::super::threads::each;
use super::super::view::{Shared, filled, set};
use super::norm_loops::{AddGradients, AddSquares, Apply, Pass, Pixels, Spread};
use super::pictures::{into_candle, numbers, sizes, with_numbers};
use crate::error::{Error, Result};

const EPSILON: f64 = 1e-5;
/// Pixels summed in 32 bits.
const RUN: usize = 256;

/// Mean and variance (divided by the number of pixels) of each channel, both (channels) and without gradients.
#[derive(Debug, Clone)]
pub struct Moments {
    /// The mean.
    pub mean: Tensor,
    /// The variance.
    pub variance: Tensor,
}

/// Batch norm of x (batch, height, width, channels) with gain and bias (channels), plus `residual`, of x's shape, and
/// the activation; the slopes of a PReLU have gradients too.
///
/// # Errors
/// Shapes that do not fit each other; the message names them.
pub fn batch_norm(
    x: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    residual: Option<&Tensor>,
    activation: &Activation,
) -> Result<(Tensor, Moments)> {
    let [b, h, w, c] = sizes(x)?;
    if gain.dims() != [c]
        || bias.dims() != [c]
        || residual.is_some_and(|r| r.dims() != x.dims())
        || b * c == 0
    {
        return Err(Error::new(format!(
            "a batch norm of {:?} cannot have gain {:?}, bias {:?} and residual {:?}",
            x.dims(),
            gain.dims(),
            bias.dims(),
            residual.map(Tensor::dims)
        )));
    }
    let (slope, high) = match activation {
        Activation::None => (Slope::All(1.0), f32::INFINITY),
        Activation::Relu => (Slope::All(0.0), f32::INFINITY),
        Activation::Relu6 => (Slope::All(0.0), 6.0),
        Activation::Prelu(slopes) if slopes.dims() == [c] => (Slope::Each(slopes), f32::INFINITY),
        Activation::Prelu(slopes) => {
            return Err(Error::new(format!("{c} channels cannot have slopes {:?}", slopes.dims())));
        }
    };
    if !is_fast(x) {
        return plain(x, gain, bias, residual, slope, high);
    }
    let kept = Arc::new(OnceLock::new());
    let (slope, slopes) = match slope {
        Slope::All(slope) => (Some(slope), None),
        Slope::Each(slopes) => (None, Some(slopes)),
    };
    let op = Norm { channels: c, pixels: b * h * w, slope, high, kept: kept.clone() };
    let rows: Vec<_> = [Some(gain), Some(bias), slopes].into_iter().flatten().collect();
    let affine = Tensor::stack(&rows, 0)?; // (2 or 3, C)
    let x = x.contiguous()?;
    let y = match residual {
        None => x.apply_op2(&affine, op)?,
        Some(residual) => x.apply_op3(&affine, &residual.contiguous()?, op)?,
    };
    let kept = kept.get().ok_or_else(|| Error::new("a batch norm was not computed"))?;
    let variance = kept.root.iter().map(|r| (1.0 / (r * r) - EPSILON).max(0.0) as f32).collect();
    let mean = kept.mean.iter().map(|&m| m as f32).collect();
    let moments = Moments {
        mean: Tensor::from_vec(mean, c, x.device())?,
        variance: Tensor::from_vec(variance, c, x.device())?,
    };
    Ok((y, moments))
}

fn plain(
    x: &Tensor,
    gain: &Tensor,
    bias: &Tensor,
    residual: Option<&Tensor>,
    slope: Slope<'_>,
    high: f32,
) -> Result<(Tensor, Moments)> {
    let c = x.dim(3)?;
    let mean = x.mean_keepdim((0, 1, 2))?;
    let centred = x.broadcast_sub(&mean)?;
    let variance = centred.sqr()?.mean_keepdim((0, 1, 2))?;
    let scale = gain.reshape((1, 1, 1, c))?.div(&(&variance + EPSILON)?.sqrt()?)?;
    let mut y = centred.broadcast_mul(&scale)?.broadcast_add(&bias.reshape((1, 1, 1, c))?)?;
    if let Some(residual) = residual {
        y = (y + residual)?;
    }
    if high.is_finite() {
        y = y.minimum(f64::from(high))?;
    }
    y = match slope {
        Slope::All(1.0) => y,
        Slope::All(slope) => (y.relu()? - (y.neg()?.relu()? * f64::from(slope))?)?,
        Slope::Each(slopes) => {
            (y.relu()? - y.neg()?.relu()?.broadcast_mul(&slopes.reshape((1, 1, 1, c))?)?)?
        }
    };
    Ok((y, Moments { mean: mean.reshape(c)?.detach(), variance: variance.reshape(c)?.detach() }))
}

/// How steep the activation is below zero.
#[derive(Clone, Copy)]
enum Slope<'a> {
    All(f32),
    /// In each channel.
    Each(&'a Tensor),
}

struct Norm {
    channels: usize,
    pixels: usize,
    /// How steep the activation is below zero; `None` if each channel has its own slope, behind gain and bias.
    slope: Option<f32>,
    /// The activation is nowhere larger.
    high: f32,
    kept: Arc<OnceLock<Kept>>,
}

/// What the gradient needs of the forward pass.
#[derive(Debug)]
struct Kept {
    mean: Vec<f64>,
    /// 1 / sqrt(variance + epsilon)
    root: Vec<f64>,
}

/// What the loops need of each channel.
struct Lines {
    scale: Vec<f32>,
    shift: Vec<f32>,
    slope: Vec<f32>,
}

impl Lines {
    /// The pixels of a range of numbers.
    fn pixels<'a>(
        &'a self,
        x: &'a [f32],
        residual: Option<&'a [f32]>,
        range: &Range<usize>,
        high: f32,
    ) -> Pixels<'a> {
        let part = |numbers: &'a [f32]| &numbers[range.clone()];
        Pixels {
            x: part(x),
            residual: residual.map(part),
            lines: [&self.scale, &self.shift, &self.slope],
            high,
        }
    }
}

impl Norm {
    fn forward(&self, x: &[f32], affine: &[f32], residual: Option<&[f32]>) -> Vec<f32> {
        let c = self.channels;
        let n = self.pixels as f64;
        let first = &x[..c];
        let [sums, squares] = self.sums(|range, sums| vectorised(AddSquares { x: &x[range], first, sums }));
        let mean: Vec<f64> = sums.iter().zip(first).map(|(s, &first)| f64::from(first) + s / n).collect();
        let variance = sums.iter().zip(&squares).map(|(s, q)| (q / n - (s / n) * (s / n)).max(0.0));
        let root: Vec<f64> = variance.map(|v| 1.0 / (v + EPSILON).sqrt()).collect();
        // A second pass over the same batch must see the same numbers, so the first one counts.
        let kept = self.kept.get_or_init(|| Kept { mean, root });
        let lines = self.lines(kept, affine);
        let fill = |target: Shared| {
            self.each_part(|range| {
                // SAFETY: within the output, and no other job has this part.
                let to = unsafe { target.part(range.start, range.len()) };
                vectorised(Apply { to, pixels: lines.pixels(x, residual, &range, self.high) });
            });
        };
        // SAFETY: the parts are all numbers.
        unsafe { filled(x.len(), fill) }
    }

    /// For each channel: a = x * scale + shift, and the slope below zero.
    fn lines(&self, kept: &Kept, affine: &[f32]) -> Lines {
        let c = self.channels;
        let scale: Vec<f32> =
            kept.root.iter().zip(affine).map(|(r, &gain)| (r * f64::from(gain)) as f32).collect();
        let shift = (0..c).map(|i| (f64::from(affine[c + i]) - kept.mean[i] * f64::from(scale[i])) as f32);
        let shift = shift.collect();
        Lines { scale, shift, slope: self.slope.map_or_else(|| affine[2 * c..].to_vec(), |s| vec![s; c]) }
    }

    /// Gradients of x, of gain, bias and slopes (together), and of the residual if there is one.
    fn backward(&self, x: &[f32], affine: &[f32], residual: Option<&[f32]>, dy: &[f32]) -> [Vec<f32>; 3] {
        let c = self.channels;
        let none = Kept { mean: vec![0.0; c], root: vec![1.0; c] };
        let kept = self.kept.get().unwrap_or(&none);
        let lines = self.lines(kept, affine);
        let mean: Vec<f32> = kept.mean.iter().map(|&m| m as f32).collect();
        let root: Vec<f32> = kept.root.iter().map(|&r| r as f32).collect();
        let pixels = |range: &Range<usize>| lines.pixels(x, residual, range, self.high);
        let (moments, learn) = ([&mean[..], &root], self.slope.is_none());
        let [d_bias, d_gain, d_slope] = self.sums(|range, sums| {
            let (pixels, dy) = (pixels(&range), &dy[range]);
            match learn {
                true => vectorised(AddGradients::<true> { pixels, dy, moments, sums }),
                false => vectorised(AddGradients::<false> { pixels, dy, moments, sums }),
            }
        });
        let n = self.pixels as f64;
        let less: Vec<f32> = d_bias.iter().map(|d| (d / n) as f32).collect();
        // (x - mean) * tilt = z * d gain / n
        let tilt: Vec<f32> = d_gain.iter().zip(&kept.root).map(|(d, r)| (d / n * r) as f32).collect();
        let mut d_residual = Vec::new();
        let fill = |target: Shared| {
            let spread = |more: Option<Shared>| {
                self.each_part(|range| {
                    // SAFETY: within the gradients, and no other job has this part.
                    let to = unsafe { target.part(range.start, range.len()) };
                    let (pixels, dy) = (pixels(&range), &dy[range.clone()]);
                    vectorised(Spread { to, pixels, dy, constants: [&less, &mean, &tilt] });
                    if let Some(more) = more {
                        // SAFETY: as above.
                        let more = unsafe { more.part(range.start, range.len()) };
                        vectorised(Pass { to: more, pixels, dy });
                    }
                });
            };
            if residual.is_some() {
                // SAFETY: as below.
                d_residual = unsafe { filled(x.len(), |more| spread(Some(more))) };
            } else {
                spread(None);
            }
        };
        // SAFETY: the parts are all numbers.
        let dx = unsafe { filled(x.len(), fill) };
        let d_affine =
            d_gain.iter().chain(&d_bias).chain(d_slope.iter().filter(|_| learn)).map(|&d| d as f32);
        [dx, d_affine.collect(), d_residual]
    }

    /// Runs `add` over all pixels, some at a time, with N sums for each channel.
    fn sums<const N: usize>(&self, add: impl Fn(Range<usize>, [&mut [f32]; N]) + Sync) -> [Vec<f64>; N] {
        let c = self.channels;
        let runs = self.pixels.div_ceil(RUN);
        let fill = |target: Shared| {
            each(runs, |run| {
                let range = run * RUN * c..(run * RUN + RUN).min(self.pixels) * c;
                // SAFETY: no other job has this run's sums.
                let sums = std::array::from_fn(|n| unsafe { set(target.part((run * N + n) * c, c), 0.0) });
                add(range, sums);
            });
        };
        // SAFETY: each run is set to zero first.
        let parts = unsafe { filled(runs * N * c, fill) };
        let mut sums = [(); N].map(|()| vec![0.0; c]);
        for part in parts.chunks_exact((N * c).max(1)) {
            for (sums, part) in sums.iter_mut().zip(part.chunks_exact(c)) {
                sums.iter_mut().zip(part).for_each(|(sum, &part)| *sum += f64::from(part));
            }
        }
        sums
    }

    /// Calls `work` with ranges of numbers, whole pixels, on all threads.
    fn each_part(&self, work: impl Fn(Range<usize>) + Sync) {
        let c = self.channels;
        let pixels = (32 * 1024 / c.max(1)).max(1);
        each(self.pixels.div_ceil(pixels), |job| {
            work(job * pixels * c..((job + 1) * pixels).min(self.pixels) * c)
        });
    }
}

impl Norm {
    fn gradients(
        &self,
        [x, affine, dy]: [&Tensor; 3],
        residual: Option<&Tensor>,
    ) -> candle_core::Result<(Tensor, Tensor, Option<Tensor>)> {
        let gradients = with_numbers(x, |x| {
            with_numbers(affine, |affine| {
                with_numbers(dy, |dy| match residual {
                    None => Ok(self.backward(x, affine, None, dy)),
                    Some(residual) => with_numbers(residual, |r| self.backward(x, affine, Some(r), dy)),
                })
            })
        });
        let [dx, d_affine, d_residual] = gradients????;
        let like = |values: Vec<f32>, t: &Tensor| Tensor::from_vec(values, t.shape(), x.device());
        let d_residual = residual.map(|residual| like(d_residual, residual)).transpose()?;
        Ok((like(dx, x)?, like(d_affine, affine)?, d_residual))
    }

    fn checked(&self, x: &[f32]) -> candle_core::Result<()> {
        if x.len() != self.pixels * self.channels {
            return Err(into_candle(Error::new("a batch norm was given another batch")));
        }
        Ok(())
    }
}

impl CustomOp2 for Norm {
    fn name(&self) -> &'static str {
        "batch_norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        affine: &CpuStorage,
        affine_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Dims)> {
        let x = numbers(x, x_layout)?;
        self.checked(x)?;
        Ok((
            CpuStorage::F32(self.forward(x, numbers(affine, affine_layout)?, None)),
            x_layout.shape().clone(),
        ))
    }

    fn bwd(
        &self,
        x: &Tensor,
        affine: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>)> {
        let (dx, d_affine, _) = self.gradients([x, affine, dy], None)?;
        Ok((Some(dx), Some(d_affine)))
    }
}

impl CustomOp3 for Norm {
    fn name(&self) -> &'static str {
        "batch_norm_add"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        affine: &CpuStorage,
        affine_layout: &Layout,
        residual: &CpuStorage,
        residual_layout: &Layout,
    ) -> candle_core::Result<(CpuStorage, Dims)> {
        let x = numbers(x, x_layout)?;
        self.checked(x)?;
        let residual = numbers(residual, residual_layout)?;
        let y = self.forward(x, numbers(affine, affine_layout)?, Some(residual));
        Ok((CpuStorage::F32(y), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        affine: &Tensor,
        residual: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> candle_core::Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (dx, d_affine, d_residual) = self.gradients([x, affine, dy], Some(residual))?;
        Ok((Some(dx), Some(d_affine), d_residual))
    }
}
