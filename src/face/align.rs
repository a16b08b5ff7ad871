//! The upright crop of a face: one definition for live frames, evaluation and training.
//!
//! Points of the mesh that expressions hardly move are brought, by the best turn, scale and shift, to where they lie
//! on average in the pictures of FER+, so that a live face is framed as the faces that the net learnt from.

use super::Mesh;
use crate::error::Result;
use crate::frame::Image;
use crate::geometry::{Point, Similarity};
use crate::kernels::warp;

/// Landmarks of the corners of the eyes, the bridge, the wings and the base of the nose, each with its place in the
/// crop, whose side is 1. The places are the means over every sixth picture of the training part of FER+ (4,343 of 4,468 had
/// a mesh; their standard deviation is 0.07 to 0.09), made symmetric.
const TEMPLATE: [(usize, f32, f32); 9] = [
    (33, 0.2417, 0.3759),
    (133, 0.4007, 0.3881),
    (362, 0.5993, 0.3881),
    (263, 0.7583, 0.3759),
    (168, 0.5000, 0.3620),
    (6, 0.5000, 0.4108),
    (98, 0.4013, 0.6289),
    (327, 0.5987, 0.6289),
    (2, 0.5000, 0.6441),
];

/// The side of the pictures that the net learnt from, in pixels. Sharper faces are reduced to it first, so that
/// they look to the net as those did.
pub const DETAIL: usize = 48;

/// The crop of a face, `side` x `side` pixels: upright by its mesh, or without one the whole picture, its longer
/// side filling the crop. What lies beyond the picture is black.
///
/// # Errors
/// A mesh that is not finite.
pub fn crop(image: &Image, mesh: Option<&Mesh>, side: usize) -> Result<Image> {
    cut(image, framing(image, mesh), DETAIL, side)
}

/// Where the crop of a face is: from a square of side 1 to the picture.
pub fn framing(image: &Image, mesh: Option<&Mesh>) -> Similarity {
    mesh.and_then(unit_to_image).unwrap_or_else(|| whole(image))
}

/// The square of side 1 that `to_image` lays over a picture, `side` x `side` pixels, with no more than about `detail`
/// x `detail` pixels of information.
///
/// # Errors
/// A map that is not finite.
pub fn cut(image: &Image, to_image: Similarity, detail: usize, side: usize) -> Result<Image> {
    let pixels = |side: usize| {
        let shrink = 1.0 / side as f32;
        Similarity { a: shrink, b: 0.0, tx: 0.0, ty: 0.0 }
    };
    // Where the picture has little more to give, another resampling would only blur it.
    if to_image.scale() <= 1.25 * detail as f32 || side <= detail {
        return warp(image, pixels(side).then(to_image), side, side);
    }
    let small = warp(image, pixels(detail).then(to_image), detail, detail)?;
    warp(&small, pixels(side).then(whole(&small)), side, side)
}

/// How much of the surroundings of a crop is kept with it, in sides of the crop.
const SURROUNDINGS: f32 = 1.5;

/// What is kept of a large picture: an upright square around the crop that `to_image` lays over it, of at most `most` x
/// `most` pixels, and the way from the picture to it.
///
/// # Errors
/// A map that is not finite.
pub fn surroundings(image: &Image, to_image: Similarity, most: usize) -> Result<(Image, Similarity)> {
    let middle = to_image.apply(Point::new(0.5, 0.5));
    let side = to_image.scale() * SURROUNDINGS;
    let (x, y) = (middle.x - side / 2.0, middle.y - side / 2.0);
    let pixels = side.round().clamp(1.0, most as f32) as usize;
    // As for a live face, what lies beyond the picture is black.
    let from_small = Similarity { a: side / pixels as f32, b: 0.0, tx: x, ty: y };
    let shrink = pixels as f32 / side;
    let to_small = Similarity { a: shrink, b: 0.0, tx: -x * shrink, ty: -y * shrink };
    Ok((warp(image, from_small, pixels, pixels)?, to_small))
}

/// Changes whenever crops change, so that what was made from older ones is not used again.
pub fn signature() -> String {
    format!("{TEMPLATE:?} {DETAIL}")
}

/// From the crop, its side being 1, to the picture that the mesh belongs to. `None` for points that say nothing.
pub fn unit_to_image(mesh: &Mesh) -> Option<Similarity> {
    let place = |&(landmark, x, y): &(usize, f32, f32)| Some((Point::new(x, y), *mesh.points.get(landmark)?));
    let (unit, points): (Vec<_>, Vec<_>) = TEMPLATE.iter().filter_map(place).unzip();
    Similarity::fit(&unit, &points)
}

/// From a square of side 1 to the whole picture, in its middle.
fn whole(image: &Image) -> Similarity {
    let (width, height) = (image.width() as f32, image.height() as f32);
    let side = width.max(height).max(1.0);
    Similarity { a: side, b: 0.0, tx: (width - side) / 2.0, ty: (height - side) / 2.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mesh whose stable points lie in the template's places, moved by `to_image`.
    fn mesh(to_image: Similarity) -> Mesh {
        let mut points = vec![Point::default(); 468];
        for (landmark, x, y) in TEMPLATE {
            points[landmark] = to_image.apply(Point::new(x, y));
        }
        Mesh { depths: vec![0.0; points.len()], points, score: 1.0 }
    }

    /// Dark, with a bright disc about a place.
    fn spot(width: usize, height: usize, at: Point) -> Image {
        let bright = |x: usize, y: usize| Point::new(x as f32 + 0.5, y as f32 + 0.5).distance(at) < 12.0;
        let pixels =
            (0..height).flat_map(|y| (0..width).flat_map(move |x| [if bright(x, y) { 250 } else { 20 }; 3]));
        Image::new(width, height, pixels.collect()).unwrap()
    }

    #[test]
    fn a_turned_and_moved_face_comes_to_its_place() {
        for (scale, angle) in [(40.0, 0.3), (150.0, -0.5), (300.0, 3.0)] {
            let to_image = Similarity::about(Point::new(0.5, 0.5), Point::new(200.0, 180.0), scale, angle);
            let nose = to_image.apply(Point::new(0.5, 0.6441));
            let image = spot(400, 400, nose);
            let crop = crop(&image, Some(&mesh(to_image)), 112).unwrap();
            assert!(crop.bgr(56, 72)[0] > 150, "{scale} {angle}: {:?}", crop.bgr(56, 72));
        }
    }

    #[test]
    fn without_a_mesh_the_whole_picture_is_the_crop() {
        let crop = crop(&Image::filled(40, 20, [200; 3]), None, 80).unwrap();
        assert_eq!((crop.width(), crop.height()), (80, 80));
        assert_eq!((crop.bgr(40, 5)[0], crop.bgr(40, 40)[0], crop.bgr(2, 40)[0]), (0, 200, 200));
    }

    #[test]
    fn a_mesh_of_one_point_is_no_reason_to_panic() {
        let flat = Mesh { points: vec![Point::default(); 468], depths: vec![], score: 1.0 };
        let none = Mesh { points: vec![], depths: vec![], score: 1.0 };
        for mesh in [flat, none] {
            assert!(crop(&Image::filled(9, 9, [1; 3]), Some(&mesh), 16).is_ok());
        }
    }
}
