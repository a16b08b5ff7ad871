//! Any backbone in use: batch norm folded into the convolutions, shortcut and activation in their last pass.
//!
//! Runs a [`Plan`]: for each of its layers `NAME.weight`, `NAME.shift`, `NAME.scale` if there is one and `NAME.slope` behind
//! a PReLU, y = act(conv(x) * scale + shift (+ shortcut)).

use std::collections::HashMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};

use super::Backbone;
use super::card::{Card, Model};
use super::plan::{self, Bend, Layer, Plan, Shortcut};
use crate::error::{Context, Error, Result};
use crate::kernels::{Activation, Conv, Separable, max_pool};

/// A backbone without a head.
#[derive(Debug, Clone)]
pub struct Trunk {
    plan: Plan,
    stages: Vec<Stage>,
}

#[derive(Debug, Clone)]
struct Stage {
    body: Vec<Conv>,
    last: Last,
    input_jumps: bool,
    shortcut: Option<Conv>,
    pool: bool,
}

/// The last convolution of a stage, with the depthwise one right before it if there is one.
#[derive(Debug, Clone)]
enum Last {
    Alone(Conv),
    Separable(Separable),
}

impl Trunk {
    /// Prepares the layers of a plan from tensors by name.
    ///
    /// # Errors
    /// A tensor that is missing or of another shape.
    pub fn new(plan: &Plan, tensor: impl Fn(&str) -> Option<Tensor>) -> Result<Self> {
        let stages = plan.stages.iter().map(|stage| {
            let active = |layer| conv(&tensor, layer, Some(plan.bend));
            let mut body = stage.body.iter().map(active).collect::<Result<Vec<_>>>()?;
            let last = body.pop().ok_or_else(|| Error::new("a stage without layers"))?;
            let last = match body.pop_if(|layer| layer.is_depthwise()) {
                Some(depthwise) => Last::Separable(Separable { depthwise, pointwise: last }),
                None => Last::Alone(last),
            };
            let shortcut = match &stage.shortcut {
                Shortcut::Layer(layer) => Some(conv(&tensor, layer, None)?),
                Shortcut::None | Shortcut::Input => None,
            };
            let input_jumps = stage.shortcut == Shortcut::Input;
            Ok(Stage { body, last, input_jumps, shortcut, pool: stage.pool })
        });
        Ok(Self { stages: stages.collect::<Result<_>>()?, plan: plan.clone() })
    }

    /// The backbone of a model whose card names it, alone or as `lanet-NAME`.
    ///
    /// # Errors
    /// A model of another network, or tensors that are missing or of another shape.
    pub fn from_model(model: &Model) -> Result<Self> {
        let card = &model.card;
        let backbone: Backbone = card.network.strip_prefix("lanet-").unwrap_or(&card.network).parse()?;
        let tensor = |name: &str| model.tensor_if_any(name).cloned();
        let mut plan = backbone.plan();
        // A model may be narrower than usual.
        let stem = plan.stages[0].body.first().and_then(|stem| tensor(&format!("{}.weight", stem.name)));
        if let Some(base) = stem.and_then(|weight| weight.dim(0).ok()).filter(|&base| base > 0) {
            plan = backbone.plan_of_width(base);
        }
        Self::new(&plan, tensor).with_context(|| format!("the model {} is not as expected", card.name))
    }

    /// The output of the last stage for pictures (B, 3, H, W): (B, channels, H', W').
    ///
    /// # Errors
    /// Pictures without three channels or without pixels.
    pub fn forward(&self, pictures: &Tensor) -> Result<Tensor> {
        self.stages.iter().try_fold(pictures.clone(), |x, stage| stage.forward(&x))
    }

    /// The outputs of all stages behind the stem: the n-th, from 1, is (B, channels of n, H', W').
    ///
    /// # Errors
    /// As [`Trunk::forward`].
    pub fn stages(&self, pictures: &Tensor) -> Result<Vec<Tensor>> {
        let mut x = pictures.clone();
        let outputs = self.stages.iter().map(|stage| {
            x = stage.forward(&x)?;
            Ok(x.clone())
        });
        let mut outputs = outputs.collect::<Result<Vec<_>>>()?;
        outputs.drain(..1.min(outputs.len()));
        Ok(outputs)
    }

    /// What it is made of.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The channels that stage `n`, from 1, gives; 0 if there is no such stage.
    pub fn channels(&self, n: usize) -> usize {
        self.plan.stages.get(n).filter(|_| n > 0).map_or(0, plan::Stage::channels)
    }
}

impl Stage {
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        let y = self.body.iter().try_fold(x.clone(), |y, layer| layer.forward(&y))?;
        let shortcut = match &self.shortcut {
            Some(shortcut) => Some(shortcut.forward(x)?),
            None => self.input_jumps.then(|| x.clone()),
        };
        let y = match &self.last {
            Last::Separable(pair) => pair.forward(&y, shortcut.as_ref())?,
            Last::Alone(last) => last.forward_with(&y, shortcut.as_ref())?,
        };
        if self.pool { max_pool(&y, 3, 2, 1) } else { Ok(y) }
    }
}

fn conv(tensor: impl Fn(&str) -> Option<Tensor>, layer: &Layer, bend: Option<Bend>) -> Result<Conv> {
    let failed = || format!("the layer {} is not as expected", layer.name);
    let part = |part: &str| tensor(&format!("{}.{part}", layer.name));
    let take = |name: &str| {
        part(name).ok_or_else(|| Error::new(format!("there is no tensor '{}.{name}'", layer.name)))
    };
    let mut weight = take("weight").with_context(failed)?;
    let shift = take("shift").with_context(failed)?;
    if weight.dims() != layer.weight {
        let found = format!("its weights are {:?}, not {:?}", weight.dims(), layer.weight);
        return Err(Error::new(failed()).because(Error::new(found)));
    }
    if let Some(scale) = part("scale") {
        let scale = scale.reshape(((), 1, 1, 1)).with_context(failed)?;
        weight = weight.broadcast_mul(&scale).with_context(failed)?;
    }
    let activation = match bend {
        Some(bend) => bend.activation(|| take("slope")).with_context(failed)?,
        None => Activation::None,
    };
    Conv::new(weight, Some(shift), layer.shape, activation).with_context(failed)
}

/// A backbone as trained elsewhere: a file of weights alone, which gets the card that it lacks. It has no head; `side` is
/// the size that its input shall have.
///
/// # Errors
/// A file that cannot be read or does not hold this network with its batch norm folded.
pub fn start(file: &Path, backbone: Backbone, side: usize, device: &Device) -> Result<Model> {
    let failed = || format!("the starting weights {} cannot be used", file.display());
    let bytes = std::fs::read(file).with_context(failed)?;
    let tensors = candle_core::safetensors::load_buffer(&bytes, device)
        .with_context(failed)?
        .into_iter()
        .map(|(name, tensor)| Ok((name, tensor.to_dtype(DType::F32)?)))
        .collect::<Result<HashMap<_, _>>>()?;
    let card = Card {
        name: file.file_stem().unwrap_or_default().to_string_lossy().into_owned(),
        network: backbone.name().into(),
        description: "A backbone without a head".into(),
        origin: "unknown".into(),
        licence: "unknown".into(),
        fingerprint: super::card::fingerprint(&bytes),
        input: backbone.input(side),
        mix: None,
        prior: None,
        classes: Vec::new(),
        priors: None,
        results: toml::Table::new(),
    };
    let model = Model::new(card, tensors);
    Trunk::from_model(&model).with_context(failed)?;
    Ok(model)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// The tensors of a plan, with weights that a hash of their place gives.
    pub(crate) fn toy(plan: &Plan) -> HashMap<String, Tensor> {
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
        for layer in plan.stages.iter().flat_map(plan::Stage::layers) {
            put(format!("{}.weight", layer.name), &layer.weight);
            put(format!("{}.shift", layer.name), &layer.weight[..1]);
            if layer.shape.depthwise {
                put(format!("{}.scale", layer.name), &layer.weight[..1]);
            }
            if plan.bend == Bend::Prelu {
                put(format!("{}.slope", layer.name), &layer.weight[..1]);
            }
        }
        tensors
    }

    pub(crate) fn toy_model(backbone: Backbone) -> Model {
        let card = Card {
            name: "toy".into(),
            network: backbone.name().into(),
            description: String::new(),
            origin: "a test".into(),
            licence: "MIT".into(),
            fingerprint: String::new(),
            input: backbone.input(32),
            mix: None,
            prior: None,
            classes: Vec::new(),
            priors: None,
            results: toml::Table::new(),
        };
        Model::new(card, toy(&backbone.plan_of_width(2)))
    }

    #[test]
    fn sides_and_channels_are_as_described() {
        let x = Tensor::zeros((2, 3, 40, 36), DType::F32, &Device::Cpu).unwrap();
        let dims = |backbone| {
            let net = Trunk::from_model(&toy_model(backbone)).unwrap();
            let stages = net.stages(&x).unwrap();
            assert_eq!((net.channels(13), net.channels(1), net.channels(0), net.channels(14)), (64, 4, 0, 0));
            stages.iter().map(|s| s.dims().to_vec()).collect::<Vec<_>>()
        };
        let (usual, fine) = (dims(Backbone::MobilenetV1), dims(Backbone::SfaceMobilenetV1));
        for (stage, channels, sides, twice) in [
            (1, 4, [20, 18], [40, 36]),
            (3, 8, [10, 9], [20, 18]),
            (5, 16, [5, 5], [10, 9]),
            (11, 32, [3, 3], [5, 5]),
            (13, 64, [2, 2], [3, 3]),
        ] {
            assert_eq!(usual[stage - 1], [2, channels, sides[0], sides[1]]);
            assert_eq!(fine[stage - 1], [2, channels, twice[0], twice[1]]);
        }
    }

    #[test]
    fn a_missing_or_wrong_layer_is_named() {
        let line = |backbone, change: fn(&mut HashMap<String, Tensor>)| {
            let model = toy_model(backbone);
            let mut tensors = toy(&backbone.plan_of_width(2));
            change(&mut tensors);
            Trunk::from_model(&Model::new(model.card, tensors)).unwrap_err().line()
        };
        assert!(line(Backbone::MobilenetV1, |t| drop(t.remove("dw7.shift"))).contains("'dw7.shift'"));
        let wrong = |t: &mut HashMap<String, Tensor>| {
            t.insert("pw3.shift".into(), Tensor::zeros(5, DType::F32, &Device::Cpu).unwrap());
        };
        assert!(line(Backbone::MobilenetV1, wrong).contains("pw3"));
        assert!(line(Backbone::SfaceMobilenetV1, |t| drop(t.remove("pw9.slope"))).contains("'pw9.slope'"));
        assert!(line(Backbone::Resnet18, |t| drop(t.remove("conv1.weight"))).contains("'conv1.weight'"));
    }
}
