//! Face Mesh: 468 landmarks of a face in three dimensions, and how sure the net is that it sees a face.
//!
//! Kartynnik et al., "Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs", 2019
//! (arXiv:1907.06724); the graph is MediaPipe's face_landmark.tflite (without attention).

use candle_core::{Device, Tensor};

use super::blazeblock::{Block, blocks, conv};
use super::{Input, Model, embedded};
use crate::error::Result;
use crate::frame::Image;
use crate::kernels::{Activation, Conv, Padding, one_by_one, together};

/// Landmarks of a mesh.
pub const LANDMARKS: usize = 468;

/// What the net says about each picture.
#[derive(Debug, Clone)]
pub struct Answers {
    /// (batch, 468, 3): x, y and depth in pixels of the input; smaller depths are nearer to the camera.
    pub points: Tensor,
    /// (batch): whether it is a face, before the sigmoid.
    pub flags: Tensor,
}

/// The network.
#[derive(Debug, Clone)]
pub struct FaceMesh {
    input: Input,
    device: Device,
    stem: Conv,
    blocks: Vec<Block>,
    mesh: Branch,
    flag: Branch,
}

/// From the common features, 6x6, to one of the two answers.
#[derive(Debug, Clone)]
struct Branch {
    blocks: Vec<Block>,
    narrow: Conv,
    last: Block,
    out: Conv,
}

impl FaceMesh {
    /// The net with the weights in the program.
    ///
    /// # Errors
    /// A device that cannot hold the weights.
    pub fn embedded(device: &Device) -> Result<Self> {
        Self::new(&embedded("facemesh", device)?, device)
    }

    /// The net with these weights.
    ///
    /// # Errors
    /// Weights of another network.
    pub fn new(model: &Model, device: &Device) -> Result<Self> {
        Ok(Self {
            input: model.card.input,
            device: device.clone(),
            stem: conv(model, "stem", 2, Padding::Same, Activation::None)?,
            blocks: blocks(model, "blocks", &[1, 1, 2, 1, 1, 2, 1, 1, 2, 1, 1, 2, 1, 1])?,
            mesh: Branch::new(model, "mesh", &[2, 1, 1])?,
            flag: Branch::new(model, "flag", &[2])?,
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

    /// (batch, 3, 192, 192) to the answers.
    ///
    /// # Errors
    /// An input of another size.
    pub fn forward(&self, input: &Tensor) -> Result<Answers> {
        let [points, flags] = together(|| one_by_one(input, |picture| self.layers(picture)))?;
        Ok(Answers { points, flags })
    }

    /// Points and flags.
    fn layers(&self, input: &Tensor) -> Result<[Tensor; 2]> {
        let mut y = self.stem.forward(input)?;
        for block in &self.blocks {
            y = block.forward(&y)?;
        }
        let batch = input.dim(0)?;
        Ok([self.mesh.forward(&y)?.reshape((batch, LANDMARKS, 3))?, self.flag.forward(&y)?.reshape(batch)?])
    }

    /// Multiply-adds for one picture.
    pub fn multiply_adds(&self) -> u64 {
        let mut sum = self.stem.multiply_adds(self.input.width, self.input.width);
        let mut size = self.input.width / 2;
        for block in &self.blocks {
            sum += block.multiply_adds(size);
            size /= block.stride();
        }
        sum + self.mesh.multiply_adds(size) + self.flag.multiply_adds(size)
    }
}

impl Branch {
    fn new(model: &Model, name: &str, strides: &[usize]) -> Result<Self> {
        let conv = |part: &str, padding| conv(model, &format!("{name}.{part}"), 1, padding, Activation::None);
        Ok(Self {
            blocks: blocks(model, &format!("{name}.blocks"), strides)?,
            narrow: conv("narrow", Padding::Same)?,
            last: Block::new(model, &format!("{name}.last"), 1)?,
            // As large as what is left of the picture.
            out: conv("out", Padding::Zeros(0))?,
        })
    }

    fn forward(&self, input: &Tensor) -> Result<Tensor> {
        let mut y = input.clone();
        for block in &self.blocks {
            y = block.forward(&y)?;
        }
        self.out.forward(&self.last.forward(&self.narrow.forward(&y)?)?)
    }

    fn multiply_adds(&self, mut size: usize) -> u64 {
        let mut sum = 0;
        for block in &self.blocks {
            sum += block.multiply_adds(size);
            size /= block.stride();
        }
        sum + self.narrow.multiply_adds(size, size)
            + self.last.multiply_adds(size)
            + self.out.multiply_adds(size, size)
    }
}
