//! MobileNet-V1 (Howard et al. 2017, arXiv 1704.04861) at width 1, with ReLU6 and TensorFlow's padding.
//!
//! A stem convolution, then 13 stages of a depthwise 3x3 (`dwN`) and a 1x1 convolution (`pwN`). Batch norm is
//! folded: `X.weight`, `X.scale` (depthwise only) and `X.shift`, y = relu6(conv(x) * scale + shift).

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::card::{Card, Channels, Input, Model};
use crate::error::{Context, Error, Result};
use crate::kernels::{Activation, Conv, Padding, Shape};

/// How many stages follow the stem.
pub const STAGES: usize = 13;

/// What the face-recognition start was trained to see, at whatever size: BGR minus the means of its pictures.
const START_MEAN: [f32; 3] = [103.939, 116.779, 123.68];

/// The side of the faces that it was trained on.
pub const START_SIDE: usize = 224;

/// The network without a head.
#[derive(Debug, Clone)]
pub struct MobileNet {
    stem: Conv,
    stages: Vec<Stage>,
}

#[derive(Debug, Clone)]
struct Stage {
    depthwise: Conv,
    pointwise: Conv,
}

impl MobileNet {
    /// Prepares the network of a model's `stem`, `dwN` and `pwN` tensors.
    ///
    /// # Errors
    /// A tensor that is missing or of another shape.
    pub fn from_model(model: &Model) -> Result<Self> {
        let stages = (1..=STAGES)
            .map(|n| {
                Ok(Stage {
                    depthwise: conv(model, &format!("dw{n}"), stride(n), true)?,
                    pointwise: conv(model, &format!("pw{n}"), 1, false)?,
                })
            })
            .collect::<Result<_>>()?;
        Ok(Self { stem: conv(model, "stem", 2, false)?, stages })
    }

    /// The outputs of all stages for pictures (batch, 3, height, width): the n-th, from 1, is (batch,
    /// [`MobileNet::channels`] of n, height', width'), with sides of a half (stage 1), a quarter (2, 3), an
    /// eighth (4, 5), a sixteenth (6 to 11) and a thirty-second (12, 13) of the picture's.
    ///
    /// # Errors
    /// Pictures without three channels or without pixels.
    pub fn stages(&self, pictures: &Tensor) -> Result<Vec<Tensor>> {
        let mut x = self.stem.forward(pictures)?; // (B, 32, H/2, W/2)
        self.stages
            .iter()
            .map(|stage| {
                x = stage.pointwise.forward(&stage.depthwise.forward(&x)?)?;
                Ok(x.clone())
            })
            .collect()
    }

    /// The channels that stage `n`, from 1, gives; 0 if there is no such stage.
    pub fn channels(&self, n: usize) -> usize {
        n.checked_sub(1).and_then(|i| self.stages.get(i)).map_or(0, |stage| stage.pointwise.out_channels())
    }

    /// Multiply-adds for one picture.
    pub fn multiply_adds(&self, height: usize, width: usize) -> u64 {
        let mut sum = self.stem.multiply_adds(height, width);
        let (mut h, mut w) = (height.div_ceil(2), width.div_ceil(2));
        for (stage, n) in self.stages.iter().zip(1..) {
            sum += stage.depthwise.multiply_adds(h, w);
            (h, w) = (h.div_ceil(stride(n)), w.div_ceil(stride(n)));
            sum += stage.pointwise.multiply_adds(h, w);
        }
        sum
    }
}

/// The network as trained to recognise faces: a file of weights alone, which gets the card it lacks.
/// It has no head; `side` is the size that its input shall have.
///
/// # Errors
/// A file that cannot be read or does not hold this network.
pub fn start(file: &Path, side: usize, device: &Device) -> Result<Model> {
    let failed = || format!("the starting weights {} cannot be used", file.display());
    let bytes = std::fs::read(file).with_context(failed)?;
    let tensors = candle_core::safetensors::load_buffer(&bytes, device)
        .with_context(failed)?
        .into_iter()
        .map(|(name, tensor)| Ok((name, tensor.to_dtype(DType::F32)?)))
        .collect::<Result<HashMap<_, _>>>()?;
    let card = Card {
        name: file.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        network: "mobilenet-v1".into(),
        description: "MobileNet-V1 without a head".into(),
        origin: "unknown".into(),
        licence: "unknown".into(),
        fingerprint: super::card::fingerprint(&bytes),
        input: Input { width: side, height: side, channels: Channels::Bgr, mean: START_MEAN, std: [1.0; 3] },
        classes: Vec::new(),
        results: toml::Table::new(),
    };
    let model = Model::new(card, tensors);
    MobileNet::from_model(&model).with_context(failed)?;
    Ok(model)
}

/// Rows and columns from one output of `dwN` to the next.
fn stride(n: usize) -> usize {
    if matches!(n, 2 | 4 | 6 | 12) { 2 } else { 1 }
}

fn conv(model: &Model, name: &str, stride: usize, depthwise: bool) -> Result<Conv> {
    let mut weight = model.tensor(&format!("{name}.weight"))?.clone();
    let failed = || format!("the layer {name} of the model {} is not as expected", model.card.name);
    if let Some(scale) = model.tensor_if_any(&format!("{name}.scale")) {
        let scale = scale.reshape(((), 1, 1, 1)).with_context(failed)?;
        weight = weight.broadcast_mul(&scale).with_context(failed)?;
    }
    let shift = model.tensor(&format!("{name}.shift"))?.clone();
    let shape = Shape { stride, padding: Padding::Same, depthwise };
    Conv::new(weight, Some(shift), shape, Activation::Relu6).map_err(|e| Error::new(failed()).because(e))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The network with weights that a hash of their place gives, and any width.
    pub(crate) fn toy(widths: [usize; STAGES + 1]) -> HashMap<String, Tensor> {
        let made = |shape: &[usize], salt: usize| {
            let n: usize = shape.iter().product();
            let inputs = (n / shape[0]).max(1) as f32;
            let values = (0..n)
                .map(|i| (((i * 7919 + salt * 104_729) % 1009) as f32 / 504.5 - 1.0) * 2.0 / inputs.sqrt())
                .collect::<Vec<_>>();
            Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
        };
        let mut tensors = HashMap::new();
        let mut put = |name: String, shape: &[usize]| {
            let salt = tensors.len();
            tensors.insert(name, made(shape, salt));
        };
        put("stem.weight".into(), &[widths[0], 3, 3, 3]);
        put("stem.shift".into(), &[widths[0]]);
        for n in 1..=STAGES {
            put(format!("dw{n}.weight"), &[widths[n - 1], 1, 3, 3]);
            put(format!("dw{n}.scale"), &[widths[n - 1]]);
            put(format!("dw{n}.shift"), &[widths[n - 1]]);
            put(format!("pw{n}.weight"), &[widths[n], widths[n - 1], 1, 1]);
            put(format!("pw{n}.shift"), &[widths[n]]);
        }
        tensors
    }

    pub(crate) fn toy_model() -> Model {
        let input = Input { width: 32, height: 32, channels: Channels::Bgr, mean: START_MEAN, std: [1.0; 3] };
        let card = Card {
            name: "toy".into(),
            network: "mobilenet-v1".into(),
            description: String::new(),
            origin: "a test".into(),
            licence: "MIT".into(),
            fingerprint: String::new(),
            input,
            classes: Vec::new(),
            results: toml::Table::new(),
        };
        Model::new(card, toy([2, 3, 3, 4, 4, 5, 5, 5, 6, 6, 6, 6, 7, 8]))
    }

    #[test]
    fn sides_and_channels_are_as_described() {
        let net = MobileNet::from_model(&toy_model()).unwrap();
        let x = Tensor::zeros((2, 3, 40, 36), DType::F32, &Device::Cpu).unwrap();
        let stages = net.stages(&x).unwrap();
        let dims: Vec<_> = stages.iter().map(|s| s.dims().to_vec()).collect();
        assert_eq!(dims[0], [2, 3, 20, 18]);
        assert_eq!(dims[2], [2, 4, 10, 9]);
        assert_eq!(dims[4], [2, 5, 5, 5]);
        assert_eq!(dims[10], [2, 6, 3, 3]);
        assert_eq!(dims[12], [2, 8, 2, 2]);
        assert_eq!((net.channels(13), net.channels(1), net.channels(0), net.channels(14)), (8, 3, 0, 0));
    }

    #[test]
    fn a_missing_or_wrong_layer_is_named() {
        let mut tensors = toy([2; STAGES + 1]);
        tensors.remove("dw7.shift");
        let model = Model::new(toy_model().card, tensors);
        assert!(MobileNet::from_model(&model).unwrap_err().line().contains("'dw7.shift'"));
        let mut tensors = toy([2; STAGES + 1]);
        tensors.insert("pw3.shift".into(), Tensor::zeros(5, DType::F32, &Device::Cpu).unwrap());
        let model = Model::new(toy_model().card, tensors);
        assert!(MobileNet::from_model(&model).unwrap_err().line().contains("pw3"));
    }
}
