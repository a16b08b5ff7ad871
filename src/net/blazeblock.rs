//! The block that BlazeFace and Face Mesh are made of: depthwise and pointwise convolutions around a short cut.
//!
//! Bazarevsky et al., "BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs", 2019 (arXiv:1907.05047).

use candle_core::Tensor;

use super::Model;
use crate::error::Result;
use crate::kernels::{Activation, Conv, Padding, Separable, Shape, max_pool};

/// One or two pairs of a depthwise and a pointwise convolution; the input is added before the last activation,
/// with its maximum over 2x2 pixels where the block halves the size, and zeros where it adds channels.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pairs: Vec<Separable>,
    stride: usize,
}

impl Block {
    /// The block `name`, with as many pairs as the weights have of it.
    pub fn new(model: &Model, name: &str, stride: usize) -> Result<Self> {
        let mut pairs = vec![pair(model, name, 0, stride)?];
        while model.tensor_if_any(&format!("{name}.{}.pointwise.weight", pairs.len())).is_some() {
            pairs.push(pair(model, name, pairs.len(), 1)?);
        }
        Ok(Self { pairs, stride })
    }

    /// (batch, in, height, width) to (batch, out, height / stride, width / stride).
    pub fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let mut shortcut =
            if self.stride == 1 { input.clone() } else { max_pool(input, self.stride, self.stride, 0)? };
        let mut y = input.clone();
        for (number, pair) in self.pairs.iter().enumerate() {
            y = if number + 1 < self.pairs.len() {
                pair.forward(&y, None)?
            } else {
                let missing = pair.pointwise.out_channels().saturating_sub(shortcut.dim(1)?);
                if missing > 0 {
                    // The kernels' tensors have their channels side by side.
                    let wider = shortcut.permute((0, 2, 3, 1))?.pad_with_zeros(3, 0, missing)?;
                    shortcut = wider.permute((0, 3, 1, 2))?;
                }
                pair.forward(&y, Some(&shortcut))?
            };
        }
        Ok(y)
    }

    /// Rows and columns from one output to the next.
    pub fn stride(&self) -> usize {
        self.stride
    }

    /// Multiply-adds for one picture of `size` x `size`.
    pub fn multiply_adds(&self, size: usize) -> u64 {
        let rest = |number| if number == 0 { size } else { size / self.stride };
        self.pairs.iter().enumerate().map(|(n, pair)| pair.multiply_adds(rest(n), rest(n))).sum()
    }
}

fn pair(model: &Model, name: &str, number: usize, stride: usize) -> Result<Separable> {
    let name = format!("{name}.{number}");
    let weight = model.tensor(&format!("{name}.depthwise.weight"))?.clone();
    let bias = model.tensor(&format!("{name}.depthwise.bias"))?.clone();
    let shape = Shape { stride, padding: Padding::Same, depthwise: true };
    let depthwise = Conv::new(weight, Some(bias), shape, Activation::None)?;
    let pointwise = conv(model, &format!("{name}.pointwise"), 1, Padding::Same, Activation::Relu)?;
    Ok(Separable { depthwise, pointwise })
}

/// The blocks `name.0`, `name.1`, ... with these strides.
pub(super) fn blocks(model: &Model, name: &str, strides: &[usize]) -> Result<Vec<Block>> {
    strides.iter().enumerate().map(|(n, &stride)| Block::new(model, &format!("{name}.{n}"), stride)).collect()
}

/// The convolution `name`; a slope in the weights makes its activation a PReLU instead of the one given.
pub(super) fn conv(
    model: &Model,
    name: &str,
    stride: usize,
    padding: Padding,
    activation: Activation,
) -> Result<Conv> {
    let weight = model.tensor(&format!("{name}.weight"))?.clone();
    let bias = model.tensor(&format!("{name}.bias"))?.clone();
    let activation = match model.tensor_if_any(&format!("{name}.slope")) {
        Some(slope) => Activation::Prelu(slope.clone()),
        None => activation,
    };
    Conv::new(weight, Some(bias), Shape { stride, padding, depthwise: false }, activation)
}
