//! Pooling for inference.
//!
//! Largest: y[b, c, i, j] = max over u, v of x[b, c, s*i + u - p, s*j + v - p], without what lies outside; what is
//! not a number wins, as in PyTorch.
//! Mean: y[b, c] = mean over i, j of x[b, c, i, j]; the sum runs over pixels in order, so its error is at most
//! h * w * 2^-24 of the mean of the sizes.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

use candle_core::{D, Tensor};

use super::conv::{shifts, with_border};
use super::lanes::{Kernel, Lanes};
use super::shape::{Padding, is_fast};
use super::simd::Isa;
use super::threads::each;
use super::view::{self, Shared, filled, with_margins};
use crate::error::{Error, Result};

/// The largest value of each `window` x `window`, moved by `stride`, with `margin` pixels around that never win:
/// (batch, channels, height, width) to (batch, channels, height', width').
///
/// # Errors
/// An input smaller than the window, or a margin as large as the window.
pub fn max_pool(x: &Tensor, window: usize, stride: usize, margin: usize) -> Result<Tensor> {
    let dims = x.dims();
    let wrong = || {
        Error::new(format!(
            "windows of {window} with margin {margin}, moved by {stride}, do not fit {dims:?}"
        ))
    };
    let &[b, c, h, w] = dims else { return Err(wrong()) };
    if stride == 0 || margin >= window || h.min(w) == 0 {
        return Err(wrong());
    }
    let side = |size| Padding::Zeros(margin).outputs(size, window, stride).ok_or_else(wrong);
    let out = [b, c, side(h)?, side(w)?];
    if !is_fast(x) {
        return plain_max(x, [window, stride, margin], out);
    }
    let [_, _, oh, ow] = out;
    let data = view::with_view(x, |x| {
        let fill = |target: Shared| {
            with_margins(x, [0; 4], |x| {
                each(b * oh, |line| {
                    let (picture, i) = (line / oh, line % oh);
                    let y = (i * stride) as isize - margin as isize;
                    let rows = [y.max(0) as usize, ((y + window as isize) as usize).min(h)];
                    // SAFETY: the rows lie in the picture, and no other job has this line.
                    unsafe {
                        let from = x.as_ptr().add(picture * h * w * c);
                        let to = target.get().add(line * ow * c);
                        Isa::best().run_within(
                            c,
                            Largest { from, to, rows, size: [w, c, ow], window, stride, margin },
                        );
                    }
                });
            });
        };
        // SAFETY: each line is written whole.
        Ok(unsafe { filled(b * c * oh * ow, fill) })
    })?;
    view::tensor(data, out)
}

/// One row of outputs.
struct Largest {
    from: *const f32,
    to: *mut f32,
    /// The first row and the one after the last.
    rows: [usize; 2],
    /// width, channels and width of the output
    size: [usize; 3],
    window: usize,
    stride: usize,
    margin: usize,
}

impl Kernel for Largest {
    type Output = ();

    #[inline(always)]
    unsafe fn run<V: Lanes>(self) {
        let [w, c, ow] = self.size;
        for j in 0..ow {
            let first = (j * self.stride).saturating_sub(self.margin);
            let end = (j * self.stride + self.window - self.margin).min(w);
            for channel in (0..c).step_by(V::N).map(|channel| channel.min(c - V::N)) {
                let mut largest = V::splat(f32::NEG_INFINITY);
                for y in self.rows[0]..self.rows[1] {
                    for column in first..end {
                        let value = V::load(self.from.add((y * w + column) * c + channel));
                        largest = value.max(largest).or_nan(largest);
                    }
                }
                largest.store(self.to.add(j * c + channel));
            }
        }
    }
}

/// Candle's operations: the largest of shifted pictures.
pub(super) fn plain_max(
    x: &Tensor,
    [window, stride, margin]: [usize; 3],
    [_, _, oh, ow]: [usize; 4],
) -> Result<Tensor> {
    let x = with_border(x, margin, f32::NEG_INFINITY)?;
    let mut largest: Option<Tensor> = None;
    for part in shifts(&x, [window; 2], stride, [oh, ow], f32::NEG_INFINITY)? {
        largest = Some(match largest {
            None => part,
            Some(largest) => {
                let wins = part.gt(&largest)?.maximum(&part.ne(&part)?)?;
                wins.where_cond(&part, &largest)?
            }
        });
    }
    largest.ok_or_else(|| Error::new("a pool without a window"))
}

/// The mean of all pixels: (batch, channels, height, width) to (batch, channels).
///
/// # Errors
/// An input without pixels.
pub fn mean(x: &Tensor) -> Result<Tensor> {
    let &[b, c, h, w] = x.dims() else {
        return Err(Error::new(format!("{:?} has no pixels to take the mean of", x.dims())));
    };
    if h * w == 0 {
        return Err(Error::new(format!("{:?} has no pixels to take the mean of", x.dims())));
    }
    if !is_fast(x) {
        return Ok(x.flatten_from(2)?.mean(D::Minus1)?);
    }
    let data = view::with_view(x, |x| {
        Ok(with_margins(x, [0; 4], |x| {
            let mut sums = vec![0f32; b * c];
            for (picture, sums) in x.chunks_exact((h * w * c).max(1)).zip(sums.chunks_exact_mut(c.max(1))) {
                for pixel in picture.chunks_exact(c) {
                    sums.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
                }
                sums.iter_mut().for_each(|sum| *sum /= (h * w) as f32);
            }
            sums
        }))
    })?;
    Ok(Tensor::from_vec(data, (b, c), x.device())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn numbers(t: &Tensor) -> Vec<f32> {
        t.to_dtype(DType::F32).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Enough channels for every width of a register, and for ones that overlap.
    const CHANNELS: [usize; 6] = [1, 4, 6, 8, 16, 37];

    #[test]
    fn the_largest_is_that_of_the_plain_form() {
        for c in CHANNELS {
            for (window, stride, margin) in [(2, 2, 0), (3, 2, 1), (3, 1, 2), (1, 3, 0)] {
                let x = Tensor::randn(0f32, 1.0, (2, c, 7, 5), &Device::Cpu).unwrap();
                let plain = max_pool(&x.to_dtype(DType::F64).unwrap(), window, stride, margin).unwrap();
                assert_eq!(numbers(&max_pool(&x, window, stride, margin).unwrap()), numbers(&plain));
            }
        }
        for (window, stride, margin) in [(9, 1, 1), (3, 0, 1), (2, 1, 2)] {
            let x = Tensor::zeros((1, 1, 6, 8), DType::F32, &Device::Cpu).unwrap();
            assert!(max_pool(&x, window, stride, margin).unwrap_err().line().contains("[1, 1, 6, 8]"));
        }
    }

    #[test]
    fn what_is_not_a_number_wins_wherever_it_lies() {
        for c in CHANNELS {
            for place in 0..4 {
                let mut x = vec![1f32; 4 * c];
                x[place * c..(place + 1) * c].fill(f32::NAN);
                let x = Tensor::from_vec(x, (1, 2, 2, c), &Device::Cpu).unwrap();
                for x in [x.clone(), x.to_dtype(DType::F64).unwrap()] {
                    let y = max_pool(&x.permute((0, 3, 1, 2)).unwrap(), 2, 2, 0).unwrap();
                    assert!(numbers(&y).iter().all(|y| y.is_nan()), "{c} {place}");
                }
            }
        }
    }
}
