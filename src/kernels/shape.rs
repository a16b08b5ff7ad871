//! What every kernel speaks of: how a window moves over a picture, what follows the sums, and which tensors are fast.

use candle_core::{DType, Device, Tensor};

/// What is put around a picture before it is convolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Padding {
    /// This many zeros on every side.
    Zeros(usize),
    /// TensorFlow's SAME: ceil(size / stride) outputs, the odd zero below and to the right.
    Same,
}

impl Padding {
    /// Zeros before and after one axis of `size` for a window of `kernel` moved by `stride`.
    pub fn around(self, size: usize, kernel: usize, stride: usize) -> (usize, usize) {
        match self {
            Self::Zeros(n) => (n, n),
            Self::Same => {
                let total = (size.div_ceil(stride).saturating_sub(1) * stride + kernel).saturating_sub(size);
                (total / 2, total - total / 2)
            }
        }
    }

    /// Outputs along one axis of `size` for a window of `kernel`, at least 1, moved by `stride`, at least 1. `None` where
    /// the window is larger than what it moves over.
    pub fn outputs(self, size: usize, kernel: usize, stride: usize) -> Option<usize> {
        let (before, after) = self.around(size, kernel, stride);
        Some((size + before + after).checked_sub(kernel)? / stride + 1)
    }
}

/// How a convolution moves over its input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Rows and columns from one output to the next.
    pub stride: usize,
    /// What is put around the input.
    pub padding: Padding,
    /// Whether every channel has a kernel of its own (weights (channels, 1, kh, kw)).
    pub depthwise: bool,
}

/// What follows the sum of products, bias and residual.
#[derive(Debug, Clone)]
pub enum Activation {
    /// Nothing.
    None,
    /// max(x, 0)
    Relu,
    /// min(max(x, 0), 6)
    Relu6,
    /// x where positive, else x times the channel's slope (channels)
    Prelu(Tensor),
}

/// Whether the CPU's kernels can take this tensor.
pub(super) fn is_fast(tensor: &Tensor) -> bool {
    matches!(tensor.device(), Device::Cpu) && tensor.dtype() == DType::F32
}
