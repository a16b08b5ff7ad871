//! LA-Net's expression branch (Wu and Cui 2023, arXiv 2307.09023): what is left of it once it has learnt. A backbone,
//! the means of some of its layers, and a linear classifier.

use candle_core::{Device, Tensor};
use serde::{Deserialize, Serialize};

use super::{Backbone, Input, Model, Trunk};
use crate::error::{Context, Error, Result};
use crate::expression::{COUNT, Expression};
use crate::frame::Image;
use crate::kernels::{mean, one_by_one, together};
use crate::prior::Prior;

/// A layer whose output becomes features: its means over the cells of a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pool {
    /// The stage of the backbone, from 1.
    pub stage: usize,
    /// Rows and columns of the grid; 1 is the mean over the whole picture.
    pub grid: usize,
}

/// LA-Net's expression branch: faces in, one logit for each expression out.
///
/// Its classifier is a tensor `head.LAYER.weight` (expressions, channels, grid, grid) for each stage that it looks
/// at, LAYER being the stage's last, and `head.bias` (expressions).
#[derive(Debug, Clone)]
pub struct LaNet {
    trunk: Trunk,
    pools: Vec<Pool>,
    weight: Tensor, // (features, expressions)
    bias: Tensor,   // (expressions)
    input: Input,
}

impl LaNet {
    /// The name of this network on MobileNet-V1 in a card; on other backbones it is `lanet-BACKBONE`.
    pub const NETWORK: &str = "lanet-mobilenet-v1";

    /// Prepares the network of a model.
    ///
    /// # Errors
    /// A model of another network, or tensors that are missing or of another shape.
    pub fn from_model(model: &Model) -> Result<Self> {
        Self::expecting(model, None)
    }

    /// As [`Self::from_model`], where `prior` is expected of the people who are read.
    ///
    /// # Errors
    /// As there.
    pub fn expecting(model: &Model, prior: Option<Prior>) -> Result<Self> {
        let card = &model.card;
        let backbone = card.network.strip_prefix("lanet-").and_then(|name| name.parse::<Backbone>().ok());
        if backbone.is_none() || card.classes != Expression::ALL {
            return Err(Error::new(format!("the model {} does not tell expressions", card.name)).advice(
                format!("its card must say a network such as \"{}\" and the eight classes", Self::NETWORK),
            ));
        }
        let tensor = |name: &str| model.tensor_if_any(name).cloned();
        Self::new(Trunk::from_model(model)?, tensor, card.input, card.mix(prior))
            .with_context(|| format!("the model {} is not as expected", card.name))
    }

    /// Puts a backbone and the classifier among these tensors together, or the two that `mix` makes one of.
    ///
    /// # Errors
    /// Tensors that are missing or of another shape.
    pub fn new(
        trunk: Trunk,
        tensor: impl Fn(&str) -> Option<Tensor>,
        input: Input,
        mix: Option<f32>,
    ) -> Result<Self> {
        let tensor = mixed(tensor, mix);
        let (mut pools, mut weights) = (Vec::new(), Vec::new());
        for stage in 1..=trunk.plan().depth() {
            let Some(weight) = tensor(&trunk.plan().head(stage)) else { continue };
            let dims = weight.dims();
            match *dims {
                [COUNT, channels, grid, columns]
                    if channels == trunk.channels(stage) && grid == columns && grid > 0 =>
                {
                    pools.push(Pool { stage, grid });
                }
                _ => return Err(Error::new(format!("stage {stage} cannot have a classifier {dims:?}"))),
            }
            weights.push(weight.reshape((COUNT, ()))?);
        }
        let advice = "its network and its weights do not belong together";
        if pools.is_empty() {
            return Err(Error::new("it has no classifier").advice(advice));
        }
        let bias = tensor("head.bias").filter(|bias| bias.dims() == [COUNT]).ok_or_else(|| {
            Error::new(format!("it has no tensor 'head.bias' of {COUNT} numbers")).advice(advice)
        })?;
        let weight = Tensor::cat(&weights, 1)?.t()?.contiguous()?;
        Ok(Self { trunk, pools, weight, bias, input })
    }

    /// Logits (batch, expressions) for faces (batch, 3, height, width).
    ///
    /// # Errors
    /// Faces without three channels or without pixels.
    pub fn forward(&self, faces: &Tensor) -> Result<Tensor> {
        together(|| self.classify(&self.features(faces)?))
    }

    /// Logits (batch, expressions) for what [`LaNet::features`] gives.
    ///
    /// # Errors
    /// Features of another width.
    pub fn classify(&self, features: &Tensor) -> Result<Tensor> {
        Ok(features.matmul(&self.weight)?.broadcast_add(&self.bias)?)
    }

    /// The logits of face crops of the input's size, in their order; a few at a time go through the network.
    ///
    /// # Errors
    /// Crops of another size.
    pub fn logits(&self, crops: &[Image], device: &Device) -> Result<Vec<[f32; COUNT]>> {
        const BATCH: usize = 8;
        let mut logits = Vec::with_capacity(crops.len());
        for crops in crops.chunks(BATCH) {
            let values = self.forward(&self.input.tensor(crops, device)?)?.flatten_all()?.to_vec1::<f32>()?;
            logits.extend_from_slice(values.as_chunks::<COUNT>().0);
        }
        Ok(logits)
    }

    /// What the classifier sees (batch, features).
    ///
    /// # Errors
    /// As [`LaNet::forward`].
    pub fn features(&self, faces: &Tensor) -> Result<Tensor> {
        features(&self.trunk, &self.pools, faces)
    }

    /// What its input must be.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// Multiply-adds for one face.
    pub fn multiply_adds(&self) -> u64 {
        let Input { height, width, .. } = self.input;
        self.weight.elem_count() as u64 + self.trunk.plan().multiply_adds(height, width)
    }
}

/// Gives tensors by name, those of the two classifiers, where `mix` says that there are two, as the one that they make.
pub fn mixed(tensor: impl Fn(&str) -> Option<Tensor>, mix: Option<f32>) -> impl Fn(&str) -> Option<Tensor> {
    move |name| {
        let (Some(mix), Some(part)) = (mix, name.strip_prefix("head.")) else { return tensor(name) };
        let meant = tensor(&format!("meant.{part}"))?;
        let seen = tensor(name)?;
        (meant.affine(f64::from(mix), 0.0).ok()? + seen.affine(1.0 - f64::from(mix), 0.0).ok()?).ok()
    }
}

/// The pooled layers of a backbone, side by side: (batch, sum of channels x grid x grid).
///
/// # Errors
/// Pictures that the backbone refuses, or a stage that it does not have.
pub fn features(backbone: &Trunk, pools: &[Pool], pictures: &Tensor) -> Result<Tensor> {
    let features = |pictures: &Tensor| {
        let stages = backbone.stages(pictures)?;
        let parts = pools
            .iter()
            .map(|pool| {
                let stage = pool.stage.checked_sub(1).and_then(|i| stages.get(i));
                let stage = stage.ok_or_else(|| Error::new(format!("there is no stage {}", pool.stage)))?;
                grid_means(stage, pool.grid)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok(Tensor::cat(&parts, 1)?)
    };
    if !backbone.plan().is_light() {
        return features(pictures);
    }
    let [features] = one_by_one(pictures, |picture| Ok([features(picture)?]))?;
    Ok(features)
}

/// (batch, channels, height, width) to (batch, channels x grid x grid): the means over cells that share the
/// picture evenly; cells overlap by a row or column where it cannot be shared evenly.
fn grid_means(x: &Tensor, grid: usize) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    if grid == 1 {
        return mean(x);
    }
    let span = |i: usize, size: usize| i * size / grid..((i + 1) * size).div_ceil(grid);
    let mut shares = vec![0f32; height * width * grid * grid];
    for cell in 0..grid * grid {
        let (rows, columns) = (span(cell / grid, height), span(cell % grid, width));
        let share = 1.0 / (rows.len() * columns.len()) as f32;
        for y in rows {
            for x in columns.clone() {
                shares[(y * width + x) * grid * grid + cell] = share;
            }
        }
    }
    let shares = Tensor::from_vec(shares, (height * width, grid * grid), x.device())?;
    let means = x.reshape((batch * channels, height * width))?.matmul(&shares)?;
    Ok(means.reshape((batch, channels * grid * grid))?)
}

#[cfg(test)]
mod tests {
    use super::super::backbone::tests::{toy, toy_model};
    use super::*;
    use crate::net::{Card, Plan};
    use std::collections::HashMap;

    fn model(change: impl FnOnce(&mut HashMap<String, Tensor>)) -> Model {
        let mut tensors = toy(&Plan::mobilenet(2));
        let zeros = |shape: &[usize]| Tensor::ones(shape, candle_core::DType::F32, &Device::Cpu).unwrap();
        tensors.insert("head.pw5.weight".into(), zeros(&[COUNT, 16, 2, 2]));
        tensors.insert("head.pw13.weight".into(), zeros(&[COUNT, 64, 1, 1]));
        tensors.insert("head.bias".into(), zeros(&[COUNT]));
        change(&mut tensors);
        let card = Card {
            network: LaNet::NETWORK.into(),
            classes: Expression::ALL.to_vec(),
            ..toy_model(Backbone::MobilenetV1).card
        };
        Model::new(card, tensors)
    }

    #[test]
    fn logits_are_sums_over_the_pooled_layers() {
        let net = LaNet::from_model(&model(|_| {})).unwrap();
        let faces = Tensor::arange(0f32, 2.0 * 3.0 * 32.0 * 32.0, &Device::Cpu).unwrap();
        let faces = (faces.reshape((2, 3, 32, 32)).unwrap() / 3072.0).unwrap();
        let features = net.features(&faces).unwrap();
        assert_eq!(features.dims(), [2, 16 * 4 + 64]);
        let logits = net.forward(&faces).unwrap().to_vec2::<f32>().unwrap();
        let sums = features.sum(1).unwrap().to_vec1::<f32>().unwrap();
        for (row, sum) in logits.iter().zip(sums) {
            assert!(row.iter().all(|l| (l - sum - 1.0).abs() < 1e-4), "{row:?} {sum}");
        }
    }

    #[test]
    fn a_grid_shares_a_picture_evenly() {
        let x = Tensor::arange(0f32, 12.0, &Device::Cpu).unwrap().reshape((1, 1, 3, 4)).unwrap();
        let cells = grid_means(&x, 2).unwrap().to_vec2::<f32>().unwrap();
        // Rows 0 and 1 share row 1 with rows 1 and 2: (0+1+4+5)/4, (2+3+6+7)/4, (4+5+8+9)/4, (6+7+10+11)/4.
        assert_eq!(cells, [[2.5, 4.5, 6.5, 8.5]]);
        assert_eq!(grid_means(&x, 1).unwrap().to_vec2::<f32>().unwrap(), [[5.5]]);
        // A grid finer than the picture repeats its pixels.
        assert_eq!(grid_means(&x, 5).unwrap().dims(), [1, 25]);
    }

    #[test]
    fn a_model_that_is_no_expression_model_is_refused() {
        let line = |model: Model| LaNet::from_model(&model).unwrap_err().line();
        assert!(line(toy_model(Backbone::MobilenetV1)).contains("does not tell expressions"));
        let wrong = Tensor::zeros((3, 5, 1, 1), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(line(model(|t| drop(t.insert("head.pw5.weight".into(), wrong)))).contains("stage 5"));
        assert!(line(model(|t| drop(t.remove("head.bias")))).contains("head.bias"));
        assert!(line(model(|t| t.retain(|name, _| !name.starts_with("head.pw")))).contains("no classifier"));
    }
}
