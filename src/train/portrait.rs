//! A face to learn from as it is kept: a compressed picture, where the upright crop is in it, and its landmarks.

use std::sync::Arc;

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::landmarks::Landmarks;
use super::plane::Plane;
use crate::error::{Context, Result};
use crate::face::align;
use crate::frame::Image;
use crate::geometry::Similarity;

/// A face to learn from.
#[derive(Debug, Clone, PartialEq)]
pub struct Portrait {
    /// Its file, as the table of labels names it.
    pub name: String,
    /// A JPEG or PNG picture without colour.
    pub picture: Arc<[u8]>,
    /// From the upright crop, its side being 1, to pixels of the picture.
    pub to_picture: Similarity,
    /// Its landmarks as parts of the crop's side, if its mesh was found.
    pub landmarks: Option<Landmarks>,
}

impl Portrait {
    /// Its upright crop, `side` x `side`.
    ///
    /// # Errors
    /// A picture that cannot be read, by name.
    pub fn crop(&self, side: usize) -> Result<Plane> {
        let failed = || format!("the picture of {} cannot be read", self.name);
        let grey = image::load_from_memory(&self.picture).with_context(failed)?.into_luma8();
        let pixels = grey.pixels().flat_map(|p| [p.0[0]; 3]).collect();
        let picture = Image::new(grey.width() as usize, grey.height() as usize, pixels)?;
        Ok(Plane::of_image(&align::cut(&picture, self.to_picture, align::DETAIL, side)?))
    }
}

/// A picture without colour, compressed: JPEG of a quality from 1 to 100, or PNG, which loses nothing.
///
/// # Errors
/// A picture without pixels, or more than the format can hold.
pub fn compress(plane: &Plane, quality: Option<u8>) -> Result<Vec<u8>> {
    let values: Vec<u8> = plane.values.iter().map(|v| v.round().clamp(0.0, 255.0) as u8).collect();
    let (w, h) = (plane.width as u32, plane.height as u32);
    let mut bytes = Vec::new();
    match quality {
        Some(quality) => JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100)).write_image(
            &values,
            w,
            h,
            ExtendedColorType::L8,
        ),
        None => PngEncoder::new(&mut bytes).write_image(&values, w, h, ExtendedColorType::L8),
    }
    .context("a face cannot be compressed")?;
    Ok(bytes)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::landmarks::COUNT;
    use super::*;
    use crate::geometry::Point;

    /// A face painted from its number: a bright spot whose height is its class.
    pub(crate) fn painted(n: usize, classes: usize, side: usize) -> Portrait {
        let class = n % classes;
        let mut plane = Plane { width: side, height: side, values: Vec::new() };
        let (cx, cy) = (side as f32 * 0.5, side as f32 * (class as f32 + 0.7) / (classes as f32 + 0.4));
        for i in 0..side * side {
            let (x, y) = ((i % side) as f32 + 0.5, (i / side) as f32 + 0.5);
            let spot = (-((x - cx).powi(2) + (y - cy).powi(2)) / side as f32).exp();
            let grain = ((n * 31 + i * 17) % 23) as f32;
            plane.values.push(40.0 + 180.0 * spot + grain);
        }
        let mut landmarks = [Point::new(0.5, cy / side as f32); COUNT];
        for (i, point) in landmarks.iter_mut().enumerate() {
            point.x = 0.2 + 0.6 * i as f32 / COUNT as f32;
        }
        Portrait {
            name: format!("{n}.png"),
            picture: compress(&plane, None).unwrap().into(),
            to_picture: Similarity { a: side as f32, ..Similarity::IDENTITY },
            landmarks: (!n.is_multiple_of(7)).then_some(landmarks),
        }
    }
}
