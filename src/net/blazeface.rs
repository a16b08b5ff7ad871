//! BlazeFace: boxes and six points of the faces in a picture, short range (128x128) and full range (192x192).
//!
//! Bazarevsky et al. 2019 (arXiv:1907.05047). The full-range net is the published variant with two-pair blocks and a
//! feature pyramid; its graph is the one in MediaPipe's face_detection_full_range.tflite. What the numbers mean is
//! in [`crate::face`].

use candle_core::{Device, Tensor};

use super::blazeblock::{Block, blocks, conv};
use super::{Input, Model, embedded};
use crate::error::Result;
use crate::frame::Image;
use crate::kernels::{Activation, Conv, Padding, enlarge_add, one_by_one, together};

/// Which of the two published nets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Range {
    /// Faces up to about five metres away: 192x192, one anchor to each 4x4 pixels.
    #[default]
    Full,
    /// Faces up to about two metres away, or that fill the picture: 128x128, anchors at every 8 and 16 pixels.
    Short,
}

impl Range {
    /// The name of the embedded model.
    pub fn model(self) -> &'static str {
        match self {
            Self::Full => "blazeface-full",
            Self::Short => "blazeface-short",
        }
    }

    /// The width of the smallest faces that it finds reliably, as a part of the side of its input.
    ///
    /// Measured with pictures of seven faces on black borders of growing size.
    pub fn smallest(self) -> f32 {
        match self {
            Self::Full => 0.055,
            Self::Short => 0.16,
        }
    }

    /// How far the blocks move; a block that halves the size begins a new scale.
    fn strides(self) -> &'static [usize] {
        match self {
            Self::Full => &[1, 1, 2, 1, 1, 2, 1, 1, 2, 1, 1, 2, 1, 1, 1],
            Self::Short => &[1, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1],
        }
    }
}

/// What the net says about each anchor.
#[derive(Debug, Clone)]
pub struct Answers {
    /// (batch, anchors): the score before the sigmoid.
    pub scores: Tensor,
    /// (batch, anchors, 16): centre x and y from the anchor, width, height, then x and y from the anchor of six
    /// points, all in pixels of the input.
    pub boxes: Tensor,
}

/// The network.
#[derive(Debug, Clone)]
pub struct BlazeFace {
    input: Input,
    device: Device,
    stem: Conv,
    blocks: Vec<Block>,
    pyramid: Vec<Level>,
    scores: Vec<Conv>,
    boxes: Vec<Conv>,
}

/// A step up the pyramid: what is above, made twice as large, plus what the trunk had at this size.
#[derive(Debug, Clone)]
struct Level {
    above: Conv,
    beside: Conv,
    blocks: Vec<Block>,
}

impl BlazeFace {
    /// The net of this range, with the weights in the program.
    ///
    /// # Errors
    /// A device that cannot hold the weights.
    pub fn embedded(range: Range, device: &Device) -> Result<Self> {
        Self::new(&embedded(range.model(), device)?, range, device)
    }

    /// The net with these weights.
    ///
    /// # Errors
    /// Weights of another network.
    pub fn new(model: &Model, range: Range, device: &Device) -> Result<Self> {
        let head = |name: &str| conv(model, name, 1, Padding::Same, Activation::None);
        let heads = |name: &str, count: usize| -> Result<Vec<Conv>> {
            (0..count).map(|n| head(&format!("{name}.{n}"))).collect()
        };
        let (levels, heads_each): (&[&[usize]], _) = match range {
            Range::Full => (&[&[1, 1], &[1, 1], &[1]], 1),
            Range::Short => (&[], 2),
        };
        Ok(Self {
            input: model.card.input,
            device: device.clone(),
            stem: conv(model, "stem", 2, Padding::Same, Activation::Relu)?,
            blocks: blocks(model, "blocks", range.strides())?,
            pyramid: levels
                .iter()
                .enumerate()
                .map(|(n, strides)| Level::new(model, &format!("pyramid.{n}"), strides))
                .collect::<Result<_>>()?,
            scores: heads("scores", heads_each)?,
            boxes: heads("boxes", heads_each)?,
        })
    }

    /// What goes in.
    pub fn input(&self) -> Input {
        self.input
    }

    /// The answers to some pictures of the input's size.
    ///
    /// # Errors
    /// Pictures of another size.
    pub fn look(&self, images: &[Image]) -> Result<Answers> {
        self.forward(&self.input.tensor(images, &self.device)?)
    }

    /// (batch, 3, size, size) to the answers.
    ///
    /// # Errors
    /// An input of another size.
    pub fn forward(&self, input: &Tensor) -> Result<Answers> {
        let [scores, boxes] = together(|| one_by_one(input, |picture| self.layers(picture)))?;
        Ok(Answers { scores, boxes })
    }

    /// Scores and boxes.
    fn layers(&self, input: &Tensor) -> Result<[Tensor; 2]> {
        let mut y = self.stem.forward(input)?;
        // What each scale ended with.
        let mut scales = Vec::new();
        for block in &self.blocks {
            if block.stride() > 1 {
                scales.push(y.clone());
            }
            y = block.forward(&y)?;
        }
        for level in &self.pyramid {
            y = level.forward(&y, &scales.pop().unwrap_or_else(|| y.clone()))?;
        }
        let features =
            if self.scores.len() == 1 { vec![y] } else { scales.pop().into_iter().chain([y]).collect() };
        let answers = |heads: &[Conv], values: usize| {
            let each = features.iter().zip(heads).map(|(y, head)| per_anchor(&head.forward(y)?, values));
            Ok::<_, crate::error::Error>(Tensor::cat(&each.collect::<Result<Vec<_>>>()?, 1)?)
        };
        Ok([answers(&self.scores, 1)?.squeeze(2)?, answers(&self.boxes, 16)?])
    }

    /// Multiply-adds for one picture.
    pub fn multiply_adds(&self) -> u64 {
        let mut sum = self.stem.multiply_adds(self.input.width, self.input.width);
        let mut size = self.input.width / 2;
        let mut sizes = Vec::new();
        for block in &self.blocks {
            if block.stride() > 1 {
                sizes.push(size);
            }
            sum += block.multiply_adds(size);
            size /= block.stride();
        }
        for level in &self.pyramid {
            sum += level.above.multiply_adds(size, size);
            size *= 2;
            sum += level.beside.multiply_adds(size, size);
            sum += level.blocks.iter().map(|block| block.multiply_adds(size)).sum::<u64>();
        }
        let sizes = if self.scores.len() == 1 { vec![size] } else { vec![2 * size, size] };
        let heads =
            |heads: &[Conv]| -> u64 { heads.iter().zip(&sizes).map(|(h, &s)| h.multiply_adds(s, s)).sum() };
        sum + heads(&self.scores) + heads(&self.boxes)
    }
}

impl Level {
    fn new(model: &Model, name: &str, strides: &[usize]) -> Result<Self> {
        let narrow =
            |which: &str| conv(model, &format!("{name}.{which}"), 1, Padding::Same, Activation::Relu);
        let blocks = blocks(model, &format!("{name}.blocks"), strides)?;
        Ok(Self { above: narrow("above")?, beside: narrow("beside")?, blocks })
    }

    fn forward(&self, above: &Tensor, beside: &Tensor) -> Result<Tensor> {
        let mut y = enlarge_add(&self.above.forward(above)?, &self.beside.forward(beside)?)?;
        for block in &self.blocks {
            y = block.forward(&y)?;
        }
        Ok(y)
    }
}

/// (batch, anchors here * values, height, width) to (batch, height * width * anchors here, values).
fn per_anchor(y: &Tensor, values: usize) -> Result<Tensor> {
    let (batch, channels, h, w) = y.dims4()?;
    Ok(y.permute((0, 2, 3, 1))?.reshape((batch, h * w * channels / values, values))?)
}
