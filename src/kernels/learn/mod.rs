//! The operations of a network that learns, with their gradients.
//!
//! Pictures are (batch, height, width, channels) here, contiguous, so that gradients, which Candle adds up, stay in the
//! order that the kernels want. On the CPU, 32-bit numbers take the fast forms; anything else takes Candle's own
//! operations, which have gradients too.

mod conv;
mod depthwise;
mod enlarge;
mod norm;
mod norm_loops;
mod pool;
mod update;

pub use conv::conv;
pub use enlarge::{enlarge, enlarge_smoothly};
pub use norm::{Moments, batch_norm};
pub use pool::{max_pool, mean};
pub use update::{blend, descend};

use candle_core::{CpuStorage, Layout, Tensor};

use super::view::View;
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
fn numbers<'a>(storage: &'a CpuStorage, layout: &Layout) -> candle_core::Result<&'a [f32]> {
    let data = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => candle_core::bail!("a kernel needs a contiguous tensor, not {layout:?}"),
    }
}

/// Calls `work` with the numbers of `tensor`, on the CPU and f32.
fn with_numbers<R>(tensor: &Tensor, work: impl FnOnce(&[f32]) -> R) -> candle_core::Result<R> {
    let tensor = tensor.contiguous()?;
    let (storage, layout) = tensor.storage_and_layout();
    let candle_core::Storage::Cpu(storage) = &*storage else {
        candle_core::bail!("a kernel needs numbers on the CPU")
    };
    Ok(work(numbers(storage, layout)?))
}

/// Contiguous pictures (b, h, w, c) as the kernels see them.
fn picture(data: &[f32], [b, h, w, c]: [usize; 4]) -> View<'_> {
    View { data, dims: [b, c, h, w], strides: [h * w * c, 1, w * c, c] }
}

/// The sizes of pictures, which must have pixels.
fn sizes(x: &Tensor) -> Result<[usize; 4]> {
    match *x.dims() {
        [b, h, w, c] if h > 0 && w > 0 => Ok([b, h, w, c]),
        ref other => Err(Error::new(format!(
            "{other:?} is not the shape of pictures (batch, height, width, channels)"
        ))),
    }
}

/// For candle's own interfaces.
fn into_candle(error: Error) -> candle_core::Error {
    candle_core::Error::wrap(error)
}

#[cfg(test)]
mod tests;
