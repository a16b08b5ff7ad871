//! A depthwise convolution and the 1x1 convolution after it in one pass.
//!
//! Each thread makes some rows of the first and multiplies them while they are still in its cache; what lies between the
//! two is never whole in memory. The numbers are those of the two convolutions one after the other, to the last bit.
//! That pays where the 1x1 weights stay in the cache, too; elsewhere they go one after the other.
#![allow(unsafe_code)]

use candle_core::Tensor;

use super::conv::{Conv, Fast, with_residual};
use super::depthwise::Lines;
use super::shape::is_fast;
use super::threads::{each, jobs};
use super::view::{self, Shared, filled, with_margins, with_scratch};
use crate::error::Result;

/// Numbers between the two convolutions that one thread has at a time: half of a first-level cache.
const BAND: usize = 6 * 1024;
/// The most weights of a 1x1 convolution that are read again for each band.
const WEIGHTS: usize = 128 * 1024;

/// A depthwise convolution followed by another one (Howard et al. 2017, arXiv:1704.04861, section 3.1).
#[derive(Debug, Clone)]
pub struct Separable {
    /// The first.
    pub depthwise: Conv,
    /// The second.
    pub pointwise: Conv,
}

impl Separable {
    /// (batch, in, height, width) to (batch, out, height', width'); `residual`, of the output's shape, is added before the
    /// last activation.
    ///
    /// # Errors
    /// An input or a residual that does not fit.
    pub fn forward(&self, input: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        let between = self.depthwise.output(input.dims())?;
        let out = self.pointwise.output_with(&between, residual)?;
        let (Some(Fast::Depthwise(first)), Some(Fast::Dense(second))) =
            (self.depthwise.fast(), self.pointwise.fast())
        else {
            return self.in_turn(input, residual);
        };
        let [b, c, h, w] = between;
        let fits = second.is_pointwise() && c * out[1] <= WEIGHTS && w * c <= 4 * BAND;
        if !fits || !is_fast(input) || !residual.is_none_or(is_fast) {
            return self.in_turn(input, residual);
        }
        let size = [input.dim(2)?, input.dim(3)?, c];
        let data = with_residual(input, residual, |x, residual| {
            let fill = |target: Shared| {
                with_margins(x, [0; 4], |x| {
                    let start = first.start([size[0], size[1]]);
                    let lines = Lines { x, size, out: [h, w], start, residual: None };
                    let wanted = jobs(b * h * w * c * out[1]);
                    let rows = (BAND / (w * c).max(1)).min((b * h).div_ceil(wanted)).max(1);
                    let bands = (b * h).div_ceil(rows);
                    let jobs = if wanted == 1 { 1 } else { bands };
                    each(jobs.min(bands), |job| {
                        with_scratch(rows * w * c, |some| {
                            for band in job * bands / jobs..(job + 1) * bands / jobs {
                                let which = band * rows..((band + 1) * rows).min(b * h);
                                let pixels = (which.start * w, which.len() * w);
                                // SAFETY: the rows are there and fit into `some`; no other job has their pixels.
                                unsafe {
                                    first.run(&lines, which, some.as_mut_ptr());
                                    second.pixels(&some[..pixels.1 * c], pixels, residual, target);
                                }
                            }
                        });
                    });
                });
            };
            // SAFETY: the bands are all rows, and each writes all of its outputs.
            Ok(unsafe { filled(out.iter().product(), fill) })
        })?;
        view::tensor(data, out)
    }

    /// Multiply-adds for one picture of `height` x `width`.
    pub fn multiply_adds(&self, height: usize, width: usize) -> u64 {
        let between = self.depthwise.output(&[1, self.depthwise.out_channels(), height, width]);
        let of_second = between.map_or(0, |[_, _, h, w]| self.pointwise.multiply_adds(h, w));
        self.depthwise.multiply_adds(height, width) + of_second
    }

    fn in_turn(&self, input: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        self.pointwise.forward_with(&self.depthwise.forward(input)?, residual)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Activation, Padding, Shape};
    use super::*;
    use candle_core::Device;

    fn made(shape: &[usize], salt: usize) -> Tensor {
        let value = |i: usize| ((i * 7919 + salt * 104_729) % 1009) as f32 / 504.5 - 1.0;
        let values: Vec<f32> = (0..shape.iter().product()).map(value).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    #[test]
    fn one_pass_says_what_two_say() {
        let conv = |weight: &[usize], stride, padding, depthwise, activation, salt| {
            let shape = Shape { stride, padding, depthwise };
            Conv::new(made(weight, salt), Some(made(&weight[..1], salt + 1)), shape, activation).unwrap()
        };
        for (b, c, out, h, w, k, stride) in [
            (1, 32, 32, 24, 24, 3, 1),
            (1, 24, 48, 25, 31, 5, 2),
            (3, 7, 5, 9, 11, 3, 2),
            (1, 128, 64, 3, 3, 3, 1),
            (2, 1, 1, 1, 1, 3, 1),
            (1, 16, 16, 2, 700, 3, 1),
            (0, 8, 8, 4, 4, 3, 1),
            (1, 512, 512, 7, 7, 3, 1),
        ] {
            for (padding, activation) in
                [(Padding::Same, Activation::None), (Padding::Zeros(k / 2), Activation::Prelu(made(&[c], 3)))]
            {
                let pair = Separable {
                    depthwise: conv(&[c, 1, k, k], stride, padding, true, activation, 5),
                    pointwise: conv(&[out, c, 1, 1], 1, Padding::Same, false, Activation::Relu, 7),
                };
                let x = made(&[b, c, h, w], 9);
                let dims = pair.in_turn(&x, None).unwrap().dims().to_vec();
                let residual = made(&dims, 11);
                for residual in [None, Some(&residual)] {
                    let numbers = |y: Tensor| y.flatten_all().unwrap().to_vec1::<f32>().unwrap();
                    let (one, two) =
                        (pair.forward(&x, residual).unwrap(), pair.in_turn(&x, residual).unwrap());
                    assert_eq!(numbers(one), numbers(two), "{b} {c} {out} {h} {w} {k} {stride}");
                }
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let shape = |depthwise| Shape { stride: 1, padding: Padding::Same, depthwise };
        let pair = Separable {
            depthwise: Conv::new(made(&[4, 1, 3, 3], 1), None, shape(true), Activation::None).unwrap(),
            pointwise: Conv::new(made(&[6, 5, 1, 1], 2), None, shape(false), Activation::None).unwrap(),
        };
        assert!(pair.forward(&made(&[1, 4, 5, 5], 3), None).is_err());
        let pair = Separable { pointwise: pair.depthwise.clone(), ..pair };
        assert!(pair.forward(&made(&[1, 4, 5, 5], 3), Some(&made(&[1, 4, 5, 4], 3))).is_err());
        assert!(pair.forward(&made(&[1, 3, 5, 5], 3), None).is_err());
    }
}
