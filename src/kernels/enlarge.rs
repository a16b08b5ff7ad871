//! Enlarging pictures to twice their size.
//!
//! Nearest: every pixel becomes a square of 2x2. Bilinear (pixel centres at halves, as PyTorch's `align_corners=False`):
//! along each axis y[2 i] = x[i - 1] / 4 + 3 x[i] / 4 and y[2 i + 1] = 3 x[i] / 4 + x[i + 1] / 4, where what lies outside is
//! the pixel at the edge. Error: at most 6 * 2^-24 of the sizes.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;

use candle_core::Tensor;

use super::shape::is_fast;
use super::simd::{Loop, vectorised};
use super::threads::each;
use super::view::{self, Shared, filled, with_margins, with_view};
use crate::error::{Error, Result};

/// Numbers of the output to a job.
const JOB: usize = 16 * 1024;

/// Twice the size, bilinear, plus `other` of that size: (batch, channels, height, width) to (batch, channels,
/// 2 height, 2 width).
///
/// # Errors
/// Tensors that are no pictures or do not fit.
pub fn enlarge_add(x: &Tensor, other: &Tensor) -> Result<Tensor> {
    let (&[b, c, h, w], true) = (x.dims(), x.elem_count() > 0) else {
        return Err(Error::new(format!("{:?} is not the shape of pictures that can grow", x.dims())));
    };
    let out = [b, c, 2 * h, 2 * w];
    if other.dims() != out {
        return Err(Error::new(format!("{:?} twice as large cannot add {:?}", x.dims(), other.dims())));
    }
    if !is_fast(x) || !is_fast(other) {
        let large = plain(&x.permute((0, 2, 3, 1))?.contiguous()?, [b, h, w, c], true)?;
        return Ok((large.permute((0, 3, 1, 2))? + other)?);
    }
    let data = with_view(x, |x| {
        with_view(other, |other| {
            Ok(with_margins(x, [0; 4], |x| {
                with_margins(other, [0; 4], |other| enlarged(x, [b, h, w, c], true, Some(other)))
            }))
        })
    })?;
    view::tensor(data, out)
}

/// Pictures (b, h, w, c) at twice their size, bilinear if `smooth`, plus `other` of that size.
pub(super) fn enlarged(x: &[f32], [b, h, w, c]: [usize; 4], smooth: bool, other: Option<&[f32]>) -> Vec<f32> {
    let row = 2 * w * c;
    let lines = if c == 0 { 0 } else { b * 2 * h };
    let per_job = (JOB / row.max(1)).max(1);
    let fill = |target: Shared| {
        each(lines.div_ceil(per_job), |job| {
            for line in job * per_job..((job + 1) * per_job).min(lines) {
                // SAFETY: no other job has this line.
                let y = unsafe { target.part(line * row, row) };
                let (picture, i) = (line / (2 * h), line % (2 * h));
                let rows = sources(i, h, smooth)
                    .map(|(from, weight)| (&x[(picture * h + from) * w * c..][..w * c], weight));
                let other = other.map(|other| &other[line * row..][..row]);
                vectorised(EnlargeRow { y, rows, other, channels: c, smooth });
            }
        });
    };
    // SAFETY: each line is written whole.
    unsafe { filled(lines * row, fill) }
}

/// What an output along one axis is made of.
pub(super) fn sources(i: usize, size: usize, smooth: bool) -> [(usize, f32); 2] {
    let near = i / 2;
    if !smooth {
        return [(near, 1.0), (near, 0.0)];
    }
    let far = if i.is_multiple_of(2) { near.saturating_sub(1) } else { (near + 1).min(size - 1) };
    [(near, 0.75), (far, 0.25)]
}

/// One row of the output.
struct EnlargeRow<'a> {
    y: &'a mut [MaybeUninit<f32>],
    /// The two rows that it is made of, and their weights.
    rows: [(&'a [f32], f32); 2],
    /// What is added.
    other: Option<&'a [f32]>,
    channels: usize,
    smooth: bool,
}

impl Loop for EnlargeRow<'_> {
    #[inline(always)]
    fn walk(self) {
        let Self { y, rows: [(near, a), (far, b)], other, channels, smooth } = self;
        let width = near.len() / channels;
        for (j, y) in y.chunks_exact_mut(channels).enumerate() {
            let [(c, wc), (d, wd)] = sources(j, width, smooth);
            let pixel = |column: usize| column * channels..(column + 1) * channels;
            let other = other.map(|other| &other[pixel(j)]);
            if !smooth {
                put(y, near[pixel(c)].iter().copied(), other);
                continue;
            }
            let [p, q, r, s] = [&near[pixel(c)], &near[pixel(d)], &far[pixel(c)], &far[pixel(d)]];
            let [wp, wq, wr, ws] = [a * wc, a * wd, b * wc, b * wd];
            let four = p.iter().zip(q).zip(r.iter().zip(s));
            put(y, four.map(|((p, q), (r, s))| wp * p + wq * q + wr * r + ws * s), other);
        }
    }
}

#[inline(always)]
fn put(y: &mut [MaybeUninit<f32>], values: impl Iterator<Item = f32>, other: Option<&[f32]>) {
    let places = y.iter_mut().zip(values);
    match other {
        None => places.for_each(|(y, value)| *y = MaybeUninit::new(value)),
        Some(other) => {
            places.zip(other).for_each(|((y, value), other)| *y = MaybeUninit::new(value + other));
        }
    }
}

/// As products with the weights along each axis: the form for other devices, and the oracle of the tests.
pub(super) fn plain(x: &Tensor, [b, h, w, c]: [usize; 4], smooth: bool) -> Result<Tensor> {
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
    Ok(tall.reshape((b, 2 * h, 2 * w, c))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn enlarging_and_adding_is_that_of_the_plain_form() {
        for dims @ [b, c, h, w] in [[1, 48, 6, 6], [2, 5, 3, 7], [3, 1, 1, 1], [1, 300, 20, 9]] {
            let [x, other] = [dims, [b, c, 2 * h, 2 * w]]
                .map(|dims| Tensor::randn(0f32, 1.0, &dims, &Device::Cpu).unwrap());
            let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
            let expected = enlarge_add(&wide(&x), &wide(&other)).unwrap();
            for other in
                [&other, &other.transpose(2, 3).unwrap().contiguous().unwrap().transpose(2, 3).unwrap()]
            {
                let error = (wide(&enlarge_add(&x, other).unwrap()) - &expected).unwrap().abs().unwrap();
                assert!(error.flatten_all().unwrap().max(0).unwrap().to_scalar::<f64>().unwrap() < 1e-5);
            }
            assert!(enlarge_add(&other, &x).is_err());
        }
        let empty = Tensor::zeros((1, 0, 4, 4), DType::F32, &Device::Cpu).unwrap();
        assert!(enlarge_add(&empty, &empty).is_err());
    }
}
