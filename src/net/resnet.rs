//! Residual networks in use: batch norm folded into the convolutions, shortcut and activation in their last pass.
//!
//! Runs any [`Plan`]: `NAME.weight` and `NAME.shift` for each of its layers, y = act(conv(x) + shift (+ shortcut)).

use candle_core::Tensor;

use super::plan::{Layer, Plan, Shortcut};
use crate::error::{Context, Error, Result};
use crate::kernels::{Activation, Conv, max_pool};

/// A backbone without a head.
#[derive(Debug, Clone)]
pub struct ResNet {
    plan: Plan,
    stages: Vec<Stage>,
}

#[derive(Debug, Clone)]
struct Stage {
    body: Vec<Conv>,
    last: Conv,
    input_jumps: bool,
    shortcut: Option<Conv>,
    pool: bool,
}

impl ResNet {
    /// Prepares the layers of a plan from tensors by name.
    ///
    /// # Errors
    /// A tensor that is missing or of another shape.
    pub fn new(plan: &Plan, tensor: impl Fn(&str) -> Option<Tensor>) -> Result<Self> {
        let active = || if plan.relu6 { Activation::Relu6 } else { Activation::Relu };
        let stages = plan.stages.iter().map(|stage| {
            let mut body =
                stage.body.iter().map(|l| conv(&tensor, l, active())).collect::<Result<Vec<_>>>()?;
            let last = body.pop().ok_or_else(|| Error::new("a stage without layers"))?;
            let shortcut = match &stage.shortcut {
                Shortcut::Layer(layer) => Some(conv(&tensor, layer, Activation::None)?),
                Shortcut::None | Shortcut::Input => None,
            };
            let input_jumps = stage.shortcut == Shortcut::Input;
            Ok(Stage { body, last, input_jumps, shortcut, pool: stage.pool })
        });
        Ok(Self { stages: stages.collect::<Result<_>>()?, plan: plan.clone() })
    }

    /// The output of the last stage for pictures (B, 3, H, W): (B, channels, H/32, W/32).
    ///
    /// # Errors
    /// Pictures without three channels or without pixels.
    pub fn forward(&self, pictures: &Tensor) -> Result<Tensor> {
        let mut x = pictures.clone();
        for stage in &self.stages {
            let mut y = x.clone();
            for layer in &stage.body {
                y = layer.forward(&y)?;
            }
            y = match &stage.shortcut {
                Some(shortcut) => stage.last.forward_add(&y, &shortcut.forward(&x)?)?,
                None if stage.input_jumps => stage.last.forward_add(&y, &x)?,
                None => stage.last.forward(&y)?,
            };
            if stage.pool {
                y = max_pool(&y, 3, 2, 1)?;
            }
            x = y;
        }
        Ok(x)
    }

    /// The channels that it gives.
    pub fn channels(&self) -> usize {
        self.plan.channels()
    }

    /// Multiply-adds for one picture.
    pub fn multiply_adds(&self, height: usize, width: usize) -> u64 {
        self.plan.multiply_adds(height, width)
    }
}

fn conv(tensor: impl Fn(&str) -> Option<Tensor>, layer: &Layer, activation: Activation) -> Result<Conv> {
    let failed = || format!("the layer {} is not as expected", layer.name);
    let take = |part: &str| {
        let name = format!("{}.{part}", layer.name);
        tensor(&name).ok_or_else(|| Error::new(format!("there is no tensor '{name}'")))
    };
    let (weight, shift) = (take("weight").with_context(failed)?, take("shift").with_context(failed)?);
    if weight.dims() != layer.weight {
        let found = format!("its weights are {:?}, not {:?}", weight.dims(), layer.weight);
        return Err(Error::new(failed()).because(Error::new(found)));
    }
    Conv::new(weight, Some(shift), layer.shape, activation).with_context(failed)
}
