//! LA-Net's expression branch (Wu and Cui 2023, arXiv 2307.09023): what is left of it once it has learnt. A backbone,
//! the means of some of its layers, and a linear classifier.

use candle_core::{Device, Tensor};

use super::{Backbone, Input, MobileNet, Model, ResNet, mobilenet};
use crate::error::{Context, Error, Result};
use crate::expression::{COUNT, Expression};
use crate::frame::Image;
use crate::kernels::{mean, one_by_one, together};

/// A layer whose output becomes features: its means over the cells of a grid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// The stage of the backbone, from 1.
    pub stage: usize,
    /// Rows and columns of the grid; 1 is the mean over the whole picture.
    pub grid: usize,
}

/// LA-Net's expression branch: faces in, one logit for each expression out.
///
/// Its classifier is a tensor `head.pwN.weight` (expressions, channels, grid, grid) for each stage N that it looks
/// at, and `head.bias` (expressions).
#[derive(Debug, Clone)]
pub struct LaNet {
    spine: Spine,
    weight: Tensor, // (features, expressions)
    bias: Tensor,   // (expressions)
    input: Input,
}

/// What faces go through before the classifier.
#[derive(Debug, Clone)]
enum Spine {
    /// Any of its layers are looked at.
    MobileNet(MobileNet, Vec<Pool>),
    /// The mean of its last layer is looked at.
    ResNet(ResNet),
}

impl LaNet {
    /// The name of this network on MobileNet-V1 in a card; on other backbones it is `lanet-BACKBONE`.
    pub const NETWORK: &str = "lanet-mobilenet-v1";

    /// Prepares the network of a model.
    ///
    /// # Errors
    /// A model of another network, or tensors that are missing or of another shape.
    pub fn from_model(model: &Model) -> Result<Self> {
        let name = &model.card.name;
        let backbone = model.card.network.strip_prefix("lanet-").and_then(|name| name.parse().ok());
        let Some(backbone) = backbone.filter(|_: &Backbone| model.card.classes == Expression::ALL) else {
            return Err(Error::new(format!("the model {name} does not tell expressions"))
                .advice(format!("its card must say network = \"{}\" and the eight classes", Self::NETWORK)));
        };
        let (spine, weight) = match backbone {
            Backbone::MobilenetV1 => mobilenet_with_pools(model)?,
            Backbone::Resnet18 | Backbone::Resnet50 => {
                let plan = backbone.plan();
                let weight = model.tensor(&plan.head())?;
                if weight.dims() != [COUNT, plan.channels(), 1, 1] {
                    let dims = weight.dims();
                    return Err(Error::new(format!("the model {name} cannot have a classifier {dims:?}")));
                }
                let net = ResNet::new(&plan, |name| model.tensor_if_any(name).cloned())
                    .with_context(|| format!("the model {name} is not as expected"))?;
                (Spine::ResNet(net), weight.flatten_from(1)?)
            }
        };
        let bias = model.tensor("head.bias")?.clone();
        if bias.dims() != [COUNT] {
            return Err(Error::new(format!("the model {name} cannot have a bias {:?}", bias.dims())));
        }
        let weight = weight.t()?.contiguous()?;
        Ok(Self { spine, weight, bias, input: model.card.input })
    }

    /// Logits (batch, expressions) for faces (batch, 3, height, width).
    ///
    /// # Errors
    /// Faces without three channels or without pixels.
    pub fn forward(&self, faces: &Tensor) -> Result<Tensor> {
        together(|| Ok(self.features(faces)?.matmul(&self.weight)?.broadcast_add(&self.bias)?))
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
        match &self.spine {
            Spine::MobileNet(net, pools) => features(net, pools, faces),
            Spine::ResNet(net) => mean(&net.forward(faces)?),
        }
    }

    /// What its input must be.
    pub fn input(&self) -> &Input {
        &self.input
    }

    /// Multiply-adds for one face.
    pub fn multiply_adds(&self) -> u64 {
        let head = self.weight.elem_count() as u64;
        let Input { height, width, .. } = self.input;
        head + match &self.spine {
            Spine::MobileNet(net, _) => net.multiply_adds(height, width),
            Spine::ResNet(net) => net.multiply_adds(height, width),
        }
    }
}

/// MobileNet-V1 and the classifier (C, features) on those of its stages that the model has one for.
fn mobilenet_with_pools(model: &Model) -> Result<(Spine, Tensor)> {
    let name = &model.card.name;
    let net = MobileNet::from_model(model)?;
    let (mut pools, mut weights) = (Vec::new(), Vec::new());
    for stage in 1..=mobilenet::STAGES {
        let Some(weight) = model.tensor_if_any(&weight_name(stage)) else { continue };
        let (classes, channels, grid, columns) = weight
            .dims4()
            .with_context(|| format!("the classifier of the model {name} is not as expected"))?;
        if classes != COUNT || channels != net.channels(stage) || grid != columns || grid == 0 {
            return Err(Error::new(format!(
                "the model {name} cannot have a classifier {:?} on stage {stage}",
                weight.dims()
            )));
        }
        pools.push(Pool { stage, grid });
        weights.push(weight.reshape((COUNT, ()))?);
    }
    if pools.is_empty() {
        return Err(Error::new(format!("the model {name} has no classifier"))
            .advice("its network and its weights do not belong together"));
    }
    Ok((Spine::MobileNet(net, pools), Tensor::cat(&weights, 1)?))
}

/// The tensor that holds the part of the classifier for one stage.
pub fn weight_name(stage: usize) -> String {
    format!("head.pw{stage}.weight")
}

/// The pooled layers of a backbone, side by side: (batch, sum of channels x grid x grid).
///
/// # Errors
/// Pictures that the backbone refuses, or a stage that it does not have.
pub fn features(backbone: &MobileNet, pools: &[Pool], pictures: &Tensor) -> Result<Tensor> {
    let [features] = one_by_one(pictures, |picture| {
        let stages = backbone.stages(picture)?;
        let parts = pools
            .iter()
            .map(|pool| {
                let stage = pool.stage.checked_sub(1).and_then(|i| stages.get(i));
                let stage = stage.ok_or_else(|| Error::new(format!("there is no stage {}", pool.stage)))?;
                grid_means(stage, pool.grid)
            })
            .collect::<Result<Vec<_>>>()?;
        Ok([Tensor::cat(&parts, 1)?])
    })?;
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
    use super::*;
    use crate::net::Card;
    use std::collections::HashMap;

    fn model(change: impl FnOnce(&mut HashMap<String, Tensor>)) -> Model {
        let mut tensors = super::super::mobilenet::tests::toy([2, 3, 3, 4, 4, 5, 5, 5, 6, 6, 6, 6, 7, 8]);
        let zeros = |shape: &[usize]| Tensor::ones(shape, candle_core::DType::F32, &Device::Cpu).unwrap();
        tensors.insert(weight_name(5), zeros(&[COUNT, 5, 2, 2]));
        tensors.insert(weight_name(13), zeros(&[COUNT, 8, 1, 1]));
        tensors.insert("head.bias".into(), zeros(&[COUNT]));
        change(&mut tensors);
        let card = Card {
            network: LaNet::NETWORK.into(),
            classes: Expression::ALL.to_vec(),
            ..super::super::mobilenet::tests::toy_model().card
        };
        Model::new(card, tensors)
    }

    #[test]
    fn logits_are_sums_over_the_pooled_layers() {
        let net = LaNet::from_model(&model(|_| {})).unwrap();
        let faces = Tensor::arange(0f32, 2.0 * 3.0 * 32.0 * 32.0, &Device::Cpu).unwrap();
        let faces = (faces.reshape((2, 3, 32, 32)).unwrap() / 3072.0).unwrap();
        let features = net.features(&faces).unwrap();
        assert_eq!(features.dims(), [2, 5 * 4 + 8]);
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
        assert!(line(super::super::mobilenet::tests::toy_model()).contains("does not tell expressions"));
        let wrong = Tensor::zeros((3, 5, 1, 1), candle_core::DType::F32, &Device::Cpu).unwrap();
        assert!(line(model(|t| drop(t.insert(weight_name(5), wrong)))).contains("stage 5"));
        assert!(line(model(|t| drop(t.remove("head.bias")))).contains("head.bias"));
        assert!(line(model(|t| t.retain(|name, _| !name.starts_with("head.pw")))).contains("no classifier"));
    }
}
