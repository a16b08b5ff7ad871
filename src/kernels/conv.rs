//! A convolution for inference: weights prepared once, with bias, residual and activation in one pass.
//!
//! y = act(bias + residual + x * w). On the CPU, 32-bit numbers go through [`super::dense`], [`super::depthwise`]
//! and their kin, and the result has its channels side by side in memory (see [`super::view`]); anything else goes
//! through Candle's own operations. Error: at most 1e-4 of the largest output, against 64-bit sums.

use std::sync::Arc;

use candle_core::{DType, Tensor};

use super::dense::Dense;
use super::depthwise::Depthwise;
use super::shape::{Activation, Shape, is_fast};
use super::simd::Isa;
use super::tile::Last;
use super::view::{self, View};
use crate::error::{Error, Result};

/// A convolution for inference.
#[derive(Debug, Clone)]
pub struct Conv {
    weight: Tensor,
    bias: Option<Tensor>,
    shape: Shape,
    activation: Activation,
    fast: Option<Arc<Fast>>,
}

/// The weights as the CPU's kernels want them.
#[derive(Debug)]
pub(super) enum Fast {
    Dense(Box<Dense>),
    Depthwise(Depthwise),
}

impl Conv {
    /// Prepares weights (out, in, kh, kw), or (channels, 1, kh, kw) if depthwise, and a bias (out).
    ///
    /// # Errors
    /// Shapes that do not fit each other; the message names them.
    pub fn new(weight: Tensor, bias: Option<Tensor>, shape: Shape, activation: Activation) -> Result<Self> {
        Self::with_isa(weight, bias, shape, activation, Isa::best())
    }

    fn with_isa(
        weight: Tensor,
        bias: Option<Tensor>,
        shape: Shape,
        activation: Activation,
        isa: Isa,
    ) -> Result<Self> {
        let (out, inner, kh, kw) = weight.dims4()?;
        let slope = if let Activation::Prelu(slope) = &activation { Some(slope) } else { None };
        for (name, vector) in [("bias", bias.as_ref()), ("slope", slope)] {
            if let Some(vector) = vector
                && vector.dims() != [out]
            {
                return Err(Error::new(format!(
                    "a convolution of weights {:?} cannot have a {name} {:?}",
                    weight.dims(),
                    vector.dims()
                )));
            }
        }
        if kh == 0 || kw == 0 || shape.stride == 0 || (shape.depthwise && inner != 1) {
            return Err(Error::new(format!(
                "a convolution cannot have weights {:?} and {shape:?}",
                weight.dims()
            )));
        }
        let mut conv = Self { weight, bias, shape, activation, fast: None };
        if is_fast(&conv.weight) {
            conv.fast = Some(Arc::new(conv.prepared(isa)?));
        }
        Ok(conv)
    }

    /// Packs the weights for these instructions.
    fn prepared(&self, isa: Isa) -> Result<Fast> {
        let (out, inner, kh, kw) = self.weight.dims4()?;
        let weight = self.weight.flatten_all()?.to_vec1::<f32>()?;
        let bias = self.bias.as_ref().map(numbers).transpose()?;
        let last = match &self.activation {
            Activation::None => Last::Nothing,
            Activation::Relu => Last::Clamp(f32::INFINITY),
            Activation::Relu6 => Last::Clamp(6.0),
            Activation::Prelu(slope) => Last::Slopes(numbers(slope)?),
        };
        let moves = (self.shape.stride, self.shape.padding);
        Ok(if self.shape.depthwise {
            Fast::Depthwise(Depthwise::new(isa, &weight, [out, kh, kw], bias, last, moves))
        } else {
            Fast::Dense(Box::new(Dense::new(isa, &weight, [out, inner, kh, kw], bias, last, moves)))
        })
    }

    /// (batch, in, height, width) to (batch, out, height', width').
    ///
    /// # Errors
    /// An input whose channels or size do not fit the weights.
    pub fn forward(&self, input: &Tensor) -> Result<Tensor> {
        self.forward_with(input, None)
    }

    /// As [`Conv::forward`], with `residual`, of the output's shape, added before the activation.
    ///
    /// # Errors
    /// An input or a residual that does not fit.
    pub fn forward_add(&self, input: &Tensor, residual: &Tensor) -> Result<Tensor> {
        self.forward_with(input, Some(residual))
    }

    /// As [`Conv::forward_add`] if there is a residual, else as [`Conv::forward`].
    ///
    /// # Errors
    /// As these.
    pub fn forward_with(&self, input: &Tensor, residual: Option<&Tensor>) -> Result<Tensor> {
        let out = self.output_with(input.dims(), residual)?;
        let Some(fast) = self.fast().filter(|_| is_fast(input) && residual.is_none_or(is_fast)) else {
            return self.plain(input, residual, out);
        };
        let data = with_residual(input, residual, |x, residual| {
            Ok(match fast {
                Fast::Dense(conv) => conv.forward(x, residual, out),
                Fast::Depthwise(conv) => conv.forward(x, residual, out),
            })
        })?;
        view::tensor(data, out)
    }

    /// The weights as the CPU's kernels want them, where they can run.
    pub(super) fn fast(&self) -> Option<&Fast> {
        self.fast.as_deref()
    }

    /// As [`Conv::output`]; a residual must be of that shape.
    pub(super) fn output_with(&self, input: &[usize], residual: Option<&Tensor>) -> Result<[usize; 4]> {
        let out = self.output(input)?;
        match residual.map(Tensor::dims) {
            Some(dims) if dims != out => Err(Error::new(format!(
                "a convolution whose output is {out:?} cannot add a residual {dims:?}"
            ))),
            _ => Ok(out),
        }
    }

    /// The shape of the output for an input of this one.
    pub(super) fn output(&self, input: &[usize]) -> Result<[usize; 4]> {
        let wrong = || {
            let (weight, shape) = (self.weight.dims(), self.shape);
            Error::new(format!(
                "a convolution of weights {weight:?} and {shape:?} cannot take an input {input:?}"
            ))
        };
        let (out, inner, kh, kw) = self.weight.dims4()?;
        let &[b, c, h, w] = input else { return Err(wrong()) };
        let steps = |size, kernel| self.shape.padding.outputs(size, kernel, self.shape.stride);
        match (steps(h, kh), steps(w, kw)) {
            (Some(oh), Some(ow)) if c == if self.shape.depthwise { out } else { inner } && h > 0 && w > 0 => {
                Ok([b, out, oh, ow])
            }
            _ => Err(wrong()),
        }
    }

    /// Candle's own operations: the form for other devices, and the oracle of the tests.
    fn plain(
        &self,
        input: &Tensor,
        residual: Option<&Tensor>,
        [b, out, oh, ow]: [usize; 4],
    ) -> Result<Tensor> {
        let (_, _, kh, kw) = self.weight.dims4()?;
        let (_, _, h, w) = input.dims4()?;
        if b == 0 {
            return Ok(Tensor::zeros((0, out, oh, ow), input.dtype(), input.device())?);
        }
        let (top, bottom) = self.shape.padding.around(h, kh, self.shape.stride);
        let (left, right) = self.shape.padding.around(w, kw, self.shape.stride);
        let padded = input.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?;
        let mut y = if self.shape.depthwise {
            shifted(&padded, &self.weight, self.shape.stride, [oh, ow])?
        } else {
            padded.contiguous()?.conv2d(&self.weight, 0, self.shape.stride, 1, 1)?
        };
        if let Some(bias) = &self.bias {
            y = y.broadcast_add(&bias.reshape((1, out, 1, 1))?)?;
        }
        if let Some(residual) = residual {
            y = (y + residual)?;
        }
        Ok(match &self.activation {
            Activation::None => y,
            Activation::Relu => y.relu()?,
            Activation::Relu6 => y.clamp(0f32, 6f32)?,
            Activation::Prelu(slope) => {
                let negative = y.minimum(0f32)?.broadcast_mul(&slope.reshape((1, out, 1, 1))?)?;
                (y.relu()? + negative)?
            }
        })
    }

    /// Multiply-adds for one picture of `height` x `width`.
    pub fn multiply_adds(&self, height: usize, width: usize) -> u64 {
        let (_, _, kh, kw) = self.weight.dims4().unwrap_or_default();
        let steps = |size, kernel| {
            self.shape.padding.outputs(size, kernel, self.shape.stride).unwrap_or_default() as u64
        };
        steps(height, kh) * steps(width, kw) * self.weight.elem_count() as u64
    }

    /// Whether each channel is convolved for itself.
    pub fn is_depthwise(&self) -> bool {
        self.shape.depthwise
    }

    /// Output channels.
    pub fn out_channels(&self) -> usize {
        self.weight.dim(0).unwrap_or_default()
    }
}

/// Calls `work` with where the numbers of an input lie and those of a residual, channels last.
pub(super) fn with_residual<R>(
    input: &Tensor,
    residual: Option<&Tensor>,
    work: impl FnOnce(View<'_>, Option<&[f32]>) -> Result<R>,
) -> Result<R> {
    view::with_view(input, |x| match residual {
        None => work(x, None),
        Some(residual) => view::with_view(residual, |r| view::with_margins(r, [0; 4], |r| work(x, Some(r)))),
    })
}

fn numbers(vector: &Tensor) -> Result<Vec<f32>> {
    Ok(vector.to_dtype(DType::F32)?.to_vec1()?)
}

/// A depthwise convolution as one multiply-add of a shifted picture for each of the kernel's weights: a group of
/// Candle's convolution would be one launch for each channel.
pub(super) fn shifted(padded: &Tensor, weight: &Tensor, stride: usize, out: [usize; 2]) -> Result<Tensor> {
    let (c, _, kh, kw) = weight.dims4()?;
    let weights = weight.reshape((c, kh * kw))?;
    let mut sum: Option<Tensor> = None;
    for (tap, part) in shifts(padded, [kh, kw], stride, out, 0.0)?.into_iter().enumerate() {
        let term = part.broadcast_mul(&weights.narrow(1, tap, 1)?.reshape((1, c, 1, 1))?)?;
        sum = Some(match sum {
            None => term,
            Some(sum) => (sum + term)?,
        });
    }
    sum.ok_or_else(|| Error::new("a convolution without weights"))
}

/// For each place of a window, row by row, what lies there under all windows: tensors (batch, channels, oh, ow).
pub(super) fn shifts(
    padded: &Tensor,
    [kh, kw]: [usize; 2],
    stride: usize,
    [oh, ow]: [usize; 2],
    outside: f32,
) -> Result<Vec<Tensor>> {
    let (b, c, h, w) = padded.dims4()?;
    // Every stride-th row and column are an axis of their own, so the picture must have whole strides.
    let (rows, columns) = (oh + (kh - 1) / stride, ow + (kw - 1) / stride);
    let whole = |x: &Tensor, axis, size: usize, wanted: usize| match size > wanted {
        true => Ok(x.narrow(axis, 0, wanted)?),
        false => extended(x, axis, [0, wanted - size], outside),
    };
    let x = whole(padded, 2, h, rows * stride)?;
    let x = whole(&x, 3, w, columns * stride)?.reshape((b, c, rows, stride, columns, stride))?;
    let part = |tap: usize| {
        let (u, v) = (tap / kw, tap % kw);
        let rows = x.narrow(2, u / stride, oh)?.narrow(3, u % stride, 1)?;
        Ok(rows.narrow(4, v / stride, ow)?.narrow(5, v % stride, 1)?.reshape((b, c, oh, ow))?)
    };
    (0..kh * kw).map(part).collect()
}

/// A picture with `margin` pixels of the same value on every side.
pub(super) fn with_border(x: &Tensor, margin: usize, value: f32) -> Result<Tensor> {
    extended(&extended(x, 2, [margin; 2], value)?, 3, [margin; 2], value)
}

fn extended(x: &Tensor, axis: usize, [before, after]: [usize; 2], value: f32) -> Result<Tensor> {
    if value == 0.0 {
        return Ok(x.pad_with_zeros(axis, before, after)?);
    }
    let part = |size| {
        let mut dims = x.dims().to_vec();
        dims[axis] = size;
        Ok::<_, Error>(Tensor::full(value, dims, x.device())?.to_dtype(x.dtype())?)
    };
    let parts = [part(before)?, x.clone(), part(after)?];
    Ok(Tensor::cat(&parts.iter().filter(|part| part.elem_count() > 0).collect::<Vec<_>>(), axis)?)
}

#[cfg(test)]
#[path = "conv_tests.rs"]
mod tests;
