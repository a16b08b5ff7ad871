//! What a backbone is made of, as data: for the network in use, and for the same network while it learns.
//!
//! MobileNet-V1 (Howard et al. 2017, arXiv 1704.04861), its sister in the face recogniser SFace (Zhong et al. 2021, arXiv
//! 2205.12010; as in the OpenCV Zoo), and ResNet-18 and -50 (He et al. 2016, arXiv 1512.03385, with the stride in the 3x3
//! convolution of a bottleneck as torchvision has it; its layer names too).

use std::str::FromStr;

use candle_core::Tensor;
use serde::{Deserialize, Serialize};

use super::card::{Channels, Input};
use crate::error::{Error, Result};
use crate::kernels::{Activation, Padding, Shape};

/// A backbone by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Backbone {
    MobilenetV1,
    SfaceMobilenetV1,
    Resnet18,
    Resnet50,
}

impl Backbone {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::MobilenetV1, Self::SfaceMobilenetV1, Self::Resnet18, Self::Resnet50];

    /// Its name, as on the command line and in cards.
    pub fn name(self) -> &'static str {
        match self {
            Self::MobilenetV1 => "mobilenet-v1",
            Self::SfaceMobilenetV1 => "sface-mobilenet-v1",
            Self::Resnet18 => "resnet-18",
            Self::Resnet50 => "resnet-50",
        }
    }

    /// What it is made of.
    pub fn plan(self) -> Plan {
        self.plan_of_width(match self {
            Self::MobilenetV1 | Self::SfaceMobilenetV1 => 32,
            Self::Resnet18 | Self::Resnet50 => 64,
        })
    }

    /// The same with so many channels in its stem, and all others in proportion.
    pub fn plan_of_width(self, base: usize) -> Plan {
        match self {
            Self::MobilenetV1 => Plan::mobilenet(base),
            Self::SfaceMobilenetV1 => Plan::sface(base),
            Self::Resnet18 => Plan::resnet(base, [2, 2, 2, 2], false),
            Self::Resnet50 => Plan::resnet(base, [3, 4, 6, 3], true),
        }
    }

    /// What goes in, for pictures of `side` x `side`: faces without colour, normalised as the usual starting
    /// weights of this backbone expect.
    pub fn input(self, side: usize) -> Input {
        let (mean, std) = match self {
            Self::MobilenetV1 => ([103.939, 116.779, 123.68], [1.0; 3]),
            Self::SfaceMobilenetV1 => ([127.5; 3], [128.0; 3]),
            Self::Resnet18 | Self::Resnet50 => ([123.675, 116.28, 103.53], [58.395, 57.12, 57.375]),
        };
        Input { width: side, height: side, channels: Channels::Grey, mean, std }
    }
}

impl FromStr for Backbone {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|b| b.name() == name).ok_or_else(|| {
            Error::usage(format!("no backbone is called '{name}'"))
                .advice(format!("use one of {}", Self::ALL.map(Self::name).join(", ")))
        })
    }
}

/// A convolution with batch norm.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Its name; its tensors are `NAME.weight` and so on.
    pub name: String,
    /// Weights (out, in, k, k), or (channels, 1, k, k) if depthwise.
    pub weight: [usize; 4],
    /// How it moves.
    pub shape: Shape,
}

impl Layer {
    /// Rows and columns that it makes of so many, and its multiply-adds for them.
    pub fn work(&self, (height, width): (usize, usize)) -> ((usize, usize), u64) {
        let [_, _, k, _] = self.weight;
        let steps = |size| {
            let (before, after) = self.shape.padding.around(size, k, self.shape.stride);
            (size + before + after).checked_sub(k).map_or(0, |room| room / self.shape.stride + 1)
        };
        let (rows, columns) = (steps(height), steps(width));
        ((rows, columns), (rows * columns * self.weight.iter().product::<usize>()) as u64)
    }
}

/// What is added to the output of a stage before its last activation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shortcut {
    /// Nothing.
    None,
    /// The input of the stage.
    Input,
    /// The input of the stage through a convolution, where sizes differ.
    Layer(Layer),
}

/// Layers that belong together, each followed by an activation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The layers, in order.
    pub body: Vec<Layer>,
    /// What jumps over them.
    pub shortcut: Shortcut,
    /// Whether a maximum pooling, 3x3 at stride 2, follows.
    pub pool: bool,
}

impl Stage {
    /// Its layers, with that of the shortcut last.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        let shortcut = if let Shortcut::Layer(layer) = &self.shortcut { Some(layer) } else { None };
        self.body.iter().chain(shortcut)
    }

    /// The channels that it gives.
    pub fn channels(&self) -> usize {
        self.body.last().map_or(0, |layer| layer.weight[0])
    }
}

/// An activation as a plan names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Bend {
    Relu,
    Relu6,
    /// With a slope for each channel, `NAME.slope` (channels).
    Prelu,
}

impl Bend {
    /// It, behind a layer whose tensors `slope` gives.
    ///
    /// # Errors
    /// What `slope` says; it is asked only for a PReLU.
    pub fn activation(self, slope: impl FnOnce() -> Result<Tensor>) -> Result<Activation> {
        Ok(match self {
            Self::Relu => Activation::Relu,
            Self::Relu6 => Activation::Relu6,
            Self::Prelu => Activation::Prelu(slope()?),
        })
    }
}

/// A backbone without a head.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// The stem, stage 0, and all that follows.
    pub stages: Vec<Stage>,
    /// The last stages of the four resolutions that the landmark branch sees, from fine to coarse: at strides 4, 8, 16
    /// and 32 where the stem halves the picture, else at half of those.
    pub ends: [usize; 4],
    /// What follows each layer.
    pub bend: Bend,
    /// Whether a batch norm, `last`, stands behind the last stage while it learns. In use the classifier has it in itself.
    pub last_norm: bool,
    /// Channels of the landmark branch's pyramid.
    pub pyramid: usize,
}

impl Plan {
    /// MobileNet-V1 whose stem has `base` channels (32 at width 1), with TensorFlow's padding.
    pub fn mobilenet(base: usize) -> Self {
        Self::separable(base, 2, Padding::Same, Bend::Relu6)
    }

    /// SFace's MobileNet-V1 whose stem has `base` channels (32): PReLU, and a stem that keeps the picture's size.
    pub fn sface(base: usize) -> Self {
        Self { last_norm: true, ..Self::separable(base, 1, Padding::Zeros(1), Bend::Prelu) }
    }

    /// A stem, `stem`, and 13 stages of a depthwise 3x3, `dwN`, and a 1x1 convolution, `pwN`.
    fn separable(base: usize, stem: usize, padding: Padding, bend: Bend) -> Self {
        let mut stages =
            vec![stage(vec![layer("stem", [base, 3, 3, 3], stem, padding, false)], Shortcut::None)];
        let mut channels = base;
        for n in 1..=13 {
            let out = base * [2, 4, 4, 8, 8, 16, 16, 16, 16, 16, 16, 32, 32][n - 1];
            let stride = if matches!(n, 2 | 4 | 6 | 12) { 2 } else { 1 };
            let body = vec![
                layer(&format!("dw{n}"), [channels, 1, 3, 3], stride, padding, true),
                layer(&format!("pw{n}"), [out, channels, 1, 1], 1, Padding::Zeros(0), false),
            ];
            stages.push(stage(body, Shortcut::None));
            channels = out;
        }
        Self { stages, ends: [3, 5, 11, 13], bend, last_norm: false, pyramid: 2 * base }
    }

    /// A ResNet of four groups of so many blocks, the first `base` (64) wide; bottlenecks give four times as many channels.
    pub fn resnet(base: usize, blocks: [usize; 4], bottleneck: bool) -> Self {
        let stem = layer("conv1", [base, 3, 7, 7], 2, Padding::Zeros(3), false);
        let mut stages = vec![Stage { pool: true, ..stage(vec![stem], Shortcut::None) }];
        let mut ends = [0; 4];
        let mut channels = base;
        for (group, count) in blocks.into_iter().enumerate() {
            let width = base << group;
            let out = if bottleneck { 4 * width } else { width };
            for block in 0..count {
                let stride = if group > 0 && block == 0 { 2 } else { 1 };
                let name = |part: &str| format!("layer{}.{block}.{part}", group + 1);
                let (one, zero) = (Padding::Zeros(1), Padding::Zeros(0));
                let body = if bottleneck {
                    vec![
                        layer(&name("conv1"), [width, channels, 1, 1], 1, zero, false),
                        layer(&name("conv2"), [width, width, 3, 3], stride, one, false),
                        layer(&name("conv3"), [out, width, 1, 1], 1, zero, false),
                    ]
                } else {
                    vec![
                        layer(&name("conv1"), [out, channels, 3, 3], stride, one, false),
                        layer(&name("conv2"), [out, out, 3, 3], 1, one, false),
                    ]
                };
                let shortcut = if stride == 1 && channels == out {
                    Shortcut::Input
                } else {
                    Shortcut::Layer(layer(&name("downsample"), [out, channels, 1, 1], stride, zero, false))
                };
                stages.push(stage(body, shortcut));
                channels = out;
            }
            ends[group] = stages.len() - 1;
        }
        let pyramid = if bottleneck { 4 * base } else { base };
        Self { stages, ends, bend: Bend::Relu, last_norm: false, pyramid }
    }

    /// The channels that it gives.
    pub fn channels(&self) -> usize {
        self.stages.last().map_or(0, Stage::channels)
    }

    /// Rows and columns that the stages up to `last` make of so many, and their multiply-adds for them.
    fn work(&self, last: usize, mut size: (usize, usize)) -> ((usize, usize), u64) {
        let mut sum = 0;
        for stage in &self.stages[..=last] {
            if let Shortcut::Layer(layer) = &stage.shortcut {
                sum += layer.work(size).1;
            }
            for layer in &stage.body {
                let (after, adds) = layer.work(size);
                (size, sum) = (after, sum + adds);
            }
            if stage.pool {
                size = (size.0.div_ceil(2), size.1.div_ceil(2));
            }
        }
        (size, sum)
    }

    /// Multiply-adds for one picture.
    pub fn multiply_adds(&self, height: usize, width: usize) -> u64 {
        self.work(self.depth(), (height, width)).1
    }

    /// The side of the heat maps that the landmark branch draws for pictures of `side` x `side`: that of what both
    /// branches share.
    pub fn map_side(&self, side: usize) -> usize {
        self.work(self.ends[0], (side, side)).0.0
    }

    /// How many numbers it has in use, with batch norm folded: weights, shifts and slopes.
    pub fn numbers(&self) -> usize {
        let vectors = if self.bend == Bend::Prelu { 2 } else { 1 };
        let layers = self.stages.iter().flat_map(Stage::layers);
        layers.map(|layer| layer.weight.iter().product::<usize>() + vectors * layer.weight[0]).sum()
    }

    /// Whether its layers write far more than their weights are: see [`crate::kernels::one_by_one`].
    pub fn is_light(&self) -> bool {
        self.stages.iter().flat_map(Stage::layers).any(|layer| layer.shape.depthwise)
    }

    /// What the part of a classifier that looks at one stage is called.
    pub fn head(&self, stage: usize) -> String {
        let last = self.stages.get(stage).and_then(|stage| stage.body.last());
        format!("head.{}.weight", last.map_or("", |layer| layer.name.as_str()))
    }

    /// How many stages follow the stem.
    pub fn depth(&self) -> usize {
        self.stages.len().saturating_sub(1)
    }
}

fn layer(name: &str, weight: [usize; 4], stride: usize, padding: Padding, depthwise: bool) -> Layer {
    Layer { name: name.into(), weight, shape: Shape { stride, padding, depthwise } }
}

fn stage(body: Vec<Layer>, shortcut: Shortcut) -> Stage {
    Stage { body, shortcut, pool: false }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_torchvision() {
        // torchvision: resnet18 11,689,512 and resnet50 25,557,032 parameters, with classifiers for 1000 classes.
        // Ours has one shift for each channel in the place of a batch norm's gain and bias: 4,800 and 26,560 channels.
        assert_eq!(Backbone::Resnet18.plan().numbers(), 11_689_512 - 513_000 - 4_800);
        assert_eq!(Backbone::Resnet50.plan().numbers(), 25_557_032 - 2_049_000 - 26_560);
        // The known 1.82 G, 0.49 G and 0.57 G multiply-adds.
        assert_eq!(Backbone::Resnet18.plan().multiply_adds(224, 224) / 10_000_000, 181);
        assert_eq!(Backbone::Resnet18.plan().multiply_adds(112, 112) / 10_000_000, 48);
        assert_eq!(Backbone::MobilenetV1.plan().multiply_adds(224, 224) / 1_000_000, 567);
        assert_eq!(Backbone::MobilenetV1.plan().channels(), 1024);
        // 568 M and 185 M, rounded, as its description says.
        assert_eq!(Backbone::SfaceMobilenetV1.plan().multiply_adds(112, 112) / 1_000_000, 567);
        assert_eq!(Backbone::SfaceMobilenetV1.plan().multiply_adds(64, 64) / 1_000_000, 185);
        assert_eq!(Backbone::SfaceMobilenetV1.plan().map_side(64), 32);
        assert_eq!(Backbone::MobilenetV1.plan().map_side(52), 13);
        for backbone in Backbone::ALL {
            assert_eq!(backbone.name().parse::<Backbone>().unwrap(), backbone);
            let plan = backbone.plan();
            assert_eq!(plan.ends[3], plan.depth());
        }
        assert!("vgg".parse::<Backbone>().unwrap_err().is_usage());
    }
}
