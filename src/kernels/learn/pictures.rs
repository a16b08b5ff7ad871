//! Pictures (batch, height, width, channels) of a network that learns: their order, their numbers, and the sizes of a
//! convolution over them.

use candle_core::{CpuStorage, Layout, Tensor};

use super::super::shape::Shape;
use super::super::view::{Margins, View};
use crate::error::{Error, Result};

/// (batch, channels, height, width) to (batch, height, width, channels).
///
/// # Errors
/// A tensor that is no picture.
pub fn channels_last(x: &Tensor) -> Result<Tensor> {
    Ok(x.permute((0, 2, 3, 1))?.contiguous()?)
}

/// (batch, height, width, channels) to (batch, channels, height, width).
///
/// # Errors
/// A tensor that is no picture.
pub fn channels_first(x: &Tensor) -> Result<Tensor> {
    Ok(x.permute((0, 3, 1, 2))?.contiguous()?)
}

/// The numbers of a contiguous tensor of 32 bits.
pub(super) fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    let data = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => candle_core::bail!("a kernel needs a contiguous tensor, not {layout:?}"),
    }
}

/// Calls `work` with the numbers of `tensor`, on the CPU and f32.
pub(super) fn with_numbers<R>(tensor: &Tensor, work: impl FnOnce(&[f32]) -> R) -> candle_core::Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let candle_core::Storage::Cpu(storage) = &*storage else {
        candle_core::bail!("a kernel needs numbers on the CPU")
    };
    Ok(work(numbers(storage, layout)?))
}

/// Contiguous pictures (b, h, w, c) as the kernels see them.
pub(super) fn picture(data: &[f32], [b, h, w, c]: [usize; 4]) -> View<'_> {
    View { data, dims: [b, c, h, w], strides: [h * w * c, 1, w * c, c] }
}

/// The sizes of pictures, which must have pixels.
pub(super) fn sizes(x: &Tensor) -> Result<[usize; 4]> {
    match *x.dims() {
        [b, h, w, c] if h > 0 && w > 0 => Ok([b, h, w, c]),
        ref other => Err(Error::new(format!(
            "{other:?} is not the shape of pictures (batch, height, width, channels)"
        ))),
    }
}

/// For candle's own interfaces.
pub(super) fn into_candle(error: Error) -> candle_core::Error {
    candle_core::Error::wrap(error)
}

/// All sizes of a convolution.
#[derive(Debug, Clone, Copy)]
pub(super) struct Geometry {
    /// batch, height, width, channels
    pub x: [usize; 4],
    pub out: [usize; 4],
    pub kernel: [usize; 2],
    pub stride: usize,
    pub margins: Margins,
    pub depthwise: bool,
}

impl Geometry {
    pub fn new(x: &Tensor, weight: &Tensor, shape: Shape) -> Result<Self> {
        let [b, h, w, c] = sizes(x)?;
        let wrong = || {
            let (weight, x) = (weight.dims(), x.dims());
            Error::new(format!(
                "a convolution of weights {weight:?} and {shape:?} cannot take an input {x:?}"
            ))
        };
        let (out, inner, kh, kw) = weight.dims4()?;
        let fits = if shape.depthwise { inner == 1 && c == out } else { inner == c };
        if !fits || kh == 0 || kw == 0 || shape.stride == 0 {
            return Err(wrong());
        }
        let (top, bottom) = shape.padding.around(h, kh, shape.stride);
        let (left, right) = shape.padding.around(w, kw, shape.stride);
        let oh = shape.padding.outputs(h, kh, shape.stride).ok_or_else(wrong)?;
        let ow = shape.padding.outputs(w, kw, shape.stride).ok_or_else(wrong)?;
        Ok(Self {
            x: [b, h, w, c],
            out: [b, oh, ow, out],
            kernel: [kh, kw],
            stride: shape.stride,
            margins: [top, bottom, left, right],
            depthwise: shape.depthwise,
        })
    }
}
