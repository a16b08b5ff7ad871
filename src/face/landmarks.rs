//! Landmarks: from a region of a picture to the 468 points of a face in it.
//!
//! The region is a turned square: from a detection, with the eyes level (MediaPipe's face_detection_front_detection_to_roi:
//! 1.5 times the longer side), or from the landmarks that the same face had a frame ago.

use candle_core::Device;

use super::Mesh;
use super::detect::{Detection, sigmoid};
use crate::error::Result;
use crate::frame::Image;
use crate::geometry::{Point, Rect, Similarity};
use crate::kernels::warp;
use crate::net::FaceMesh;

/// How much larger a region is than the face.
const MARGIN: f32 = 1.5;
/// The outer corners of the eyes; the subject's right one, which is on the left of the picture, first.
const EYE_CORNERS: (usize, usize) = (33, 263);
/// Faces that go through the net at once.
const BATCH: usize = 8;

/// A turned square of a picture in which a face is looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Region {
    /// Its middle, in pixels.
    pub centre: Point,
    /// Its side, in pixels.
    pub side: f32,
    /// How it is turned, in radians clockwise.
    pub angle: f32,
}

impl Region {
    /// The region of a detected face.
    pub fn of_detection(face: &Detection) -> Self {
        let Rect { w, h, .. } = face.bounds;
        let angle = turn(face.points[0], face.points[1]);
        Self { centre: face.bounds.centre(), side: w.max(h) * MARGIN, angle }
    }

    /// The region of a face whose landmarks are known: their box along the line of the eyes.
    pub fn of_mesh(mesh: &Mesh) -> Self {
        let (Some(&right), Some(&left)) = (mesh.points.get(EYE_CORNERS.0), mesh.points.get(EYE_CORNERS.1))
        else {
            return Self { centre: Point::default(), side: 0.0, angle: 0.0 };
        };
        let angle = turn(right, left);
        let level = Similarity::about(Point::default(), Point::default(), 1.0, -angle);
        let tilted = Similarity::about(Point::default(), Point::default(), 1.0, angle);
        let bounds = Rect::around(mesh.points.iter().map(|&p| level.apply(p)));
        Self { centre: tilted.apply(bounds.centre()), side: bounds.w.max(bounds.h) * MARGIN, angle }
    }

    /// The map from a picture of `size` x `size` to the region.
    pub fn to_image(self, size: usize) -> Similarity {
        let middle = size as f32 / 2.0;
        Similarity::about(Point::new(middle, middle), self.centre, self.side / size as f32, self.angle)
    }

    /// Whether a face can be looked for there at all.
    fn is_usable(self) -> bool {
        self.side >= 1.0 && (self.side + self.centre.x + self.centre.y + self.angle).is_finite()
    }
}

/// Face Mesh, applied to regions.
#[derive(Debug, Clone)]
pub struct Landmarker {
    net: FaceMesh,
}

impl Landmarker {
    /// With the weights in the program.
    ///
    /// # Errors
    /// A device that cannot hold the weights.
    pub fn new(device: &Device) -> Result<Self> {
        Ok(Self { net: FaceMesh::embedded(device)? })
    }

    /// The mesh in each of the regions; `None` where the region is no square with a size.
    ///
    /// # Errors
    /// A net that fails.
    pub fn read(&self, image: &Image, regions: &[Region]) -> Result<Vec<Option<Mesh>>> {
        let size = self.net.input().width;
        let mut meshes = vec![None; regions.len()];
        let usable: Vec<_> = (0..regions.len()).filter(|&n| regions[n].is_usable()).collect();
        for numbers in usable.chunks(BATCH) {
            let maps: Vec<_> = numbers.iter().map(|&n| regions[n].to_image(size)).collect();
            let crops = maps.iter().map(|&map| warp(image, map, size, size)).collect::<Result<Vec<_>>>()?;
            let answers = self.net.look(&crops)?;
            let points = answers.points.to_vec3::<f32>()?;
            let flags = answers.flags.to_vec1::<f32>()?;
            for (((&n, map), points), flag) in numbers.iter().zip(&maps).zip(&points).zip(flags) {
                meshes[n] = Some(Mesh {
                    points: points.iter().map(|p| map.apply(Point::new(p[0], p[1]))).collect(),
                    depths: points.iter().map(|p| p[2] * map.scale()).collect(),
                    score: sigmoid(flag),
                });
            }
        }
        Ok(meshes)
    }
}

/// How the line from `right` to `left` is turned, in radians clockwise.
fn turn(right: Point, left: Point) -> f32 {
    (left.y - right.y).atan2(left.x - right.x)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_region_turns_with_the_face() {
        let mut points = vec![Point::new(50.0, 60.0); 468];
        (points[33], points[263]) = (Point::new(40.0, 50.0), Point::new(60.0, 50.0));
        (points[10], points[152]) = (Point::new(50.0, 30.0), Point::new(50.0, 80.0));
        let mesh = |map: Similarity| Mesh {
            points: points.iter().map(|&p| map.apply(p)).collect(),
            depths: vec![0.0; 468],
            score: 1.0,
        };
        let upright = Region::of_mesh(&mesh(Similarity::IDENTITY));
        assert_eq!((upright.centre, upright.side, upright.angle), (Point::new(50.0, 55.0), 75.0, 0.0));
        let turned = Similarity::about(Point::new(50.0, 55.0), Point::new(10.0, 20.0), 2.0, 0.7);
        let region = Region::of_mesh(&mesh(turned));
        assert!(region.centre.distance(Point::new(10.0, 20.0)) < 1e-3);
        assert!((region.side - 150.0).abs() < 1e-2 && (region.angle - 0.7).abs() < 1e-4);
        // The middle of the crop is the middle of the region.
        assert!(region.to_image(192).apply(Point::new(96.0, 96.0)).distance(region.centre) < 1e-3);
    }
}
