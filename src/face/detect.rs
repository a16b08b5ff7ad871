//! Finds faces in a whole picture with BlazeFace: letterbox, anchors, decoding, weighted non-maximum suppression.
//!
//! Bazarevsky et al. 2019 (arXiv:1907.05047, section 3.4 for the weighting); anchors, bounds and scales are the
//! options of MediaPipe's face_detection_short_range and face_detection_full_range graphs.

use candle_core::Device;

use crate::error::Result;
use crate::frame::Image;
use crate::geometry::{Point, Rect, Similarity};
use crate::kernels::warp;
use crate::net::{BlazeFace, Range};

/// Boxes that share more than this are the same face.
const SAME_FACE: f32 = 0.3;
/// Scores are cut to this before the sigmoid.
const SCORE_CLIP: f32 = 100.0;
/// Pictures that go through the net at once.
const BATCH: usize = 8;

/// A face that the detector saw.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Detection {
    /// From the eyebrows to the chin, in pixels.
    pub bounds: Rect,
    /// The eyes (the subject's right one first), the nose, the mouth and the ears, in pixels.
    pub points: [Point; 6],
    /// How sure the detector is, 0 to 1.
    pub score: f32,
}

/// BlazeFace with its anchors.
#[derive(Debug, Clone)]
pub struct Detector {
    net: BlazeFace,
    /// The centres of the anchors, in pixels of the net's input.
    anchors: Vec<Point>,
}

impl Detector {
    /// A detector with the weights in the program.
    ///
    /// # Errors
    /// A device that cannot hold the weights.
    pub fn new(range: Range, device: &Device) -> Result<Self> {
        Ok(Self { net: BlazeFace::embedded(range, device)?, anchors: anchors(range) })
    }

    /// The faces with at least `min_score` in one or more views of a picture, the surest first.
    ///
    /// A view maps the net's square input, of a side of [`Detector::size`], to the picture.
    ///
    /// # Errors
    /// A net that fails.
    pub fn detect(&self, image: &Image, views: &[View], min_score: f32) -> Result<Vec<Detection>> {
        let mut found = Vec::new();
        for views in views.chunks(BATCH) {
            let inputs = views
                .iter()
                .map(|view| warp(image, view.to_image(self.size()), self.size(), self.size()))
                .collect::<Result<Vec<_>>>()?;
            let answers = self.net.look(&inputs)?;
            let scores = answers.scores.to_vec2::<f32>()?;
            let boxes = answers.boxes.to_vec3::<f32>()?;
            for (view, (scores, boxes)) in views.iter().zip(scores.iter().zip(&boxes)) {
                let to_image = view.to_image(self.size());
                let whole = Rect::new(0.0, 0.0, image.width() as f32, image.height() as f32);
                found.extend(
                    decode(&self.anchors, scores, boxes, min_score)
                        .into_iter()
                        .map(|face| face.mapped(to_image))
                        .filter(|face| view.holds(face.bounds, whole)),
                );
            }
        }
        Ok(merged(found))
    }

    /// The side of the net's input, in pixels.
    pub fn size(&self) -> usize {
        self.net.input().width
    }
}

/// A square of a picture that the detector looks at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    square: Rect,
}

impl View {
    /// The whole picture and nothing cut off, with black bars where it is not square.
    pub fn whole(image: &Image) -> Self {
        Self::bordered(image, 0.0)
    }

    /// As [`View::whole`], with a black border of `border` times the longer side all around.
    pub fn bordered(image: &Image, border: f32) -> Self {
        let (w, h) = (image.width() as f32, image.height() as f32);
        let side = w.max(h) * (1.0 + 2.0 * border);
        Self { square: Rect::new((w - side) / 2.0, (h - side) / 2.0, side, side) }
    }

    /// Overlapping squares of `side` that cover the picture, row by row; none if one would be nearly all of it.
    ///
    /// Neighbours share at least a quarter, so that a face up to that size is whole in one of them.
    pub fn tiles(image: &Image, side: f32) -> Vec<Self> {
        let (w, h) = (image.width() as f32, image.height() as f32);
        if side.is_nan() || side < 16.0 || w.max(h) < 1.5 * side {
            return Vec::new();
        }
        let starts = |length: f32| {
            let gaps = ((length - side) / (0.75 * side)).ceil().max(0.0);
            (0..=gaps as usize).map(move |n| if gaps > 0.0 { n as f32 * (length - side) / gaps } else { 0.0 })
        };
        starts(h).flat_map(|y| starts(w).map(move |x| Self { square: Rect::new(x, y, side, side) })).collect()
    }

    fn to_image(self, size: usize) -> Similarity {
        let scale = self.square.w.max(1.0) / size as f32;
        Similarity { a: scale, b: 0.0, tx: self.square.x, ty: self.square.y }
    }

    /// Whether a face is not cut by an edge of this view that is not also the picture's.
    fn holds(self, face: Rect, picture: Rect) -> bool {
        let near = 0.02 * self.square.w;
        let free = |lo: f32, hi: f32, from: f32, to: f32, first: f32, last: f32| {
            (from <= first || lo > from + near) && (to >= last || hi < to - near)
        };
        let (s, p) = (self.square, picture);
        free(face.x, face.x + face.w, s.x, s.x + s.w, p.x, p.x + p.w)
            && free(face.y, face.y + face.h, s.y, s.y + s.h, p.y, p.y + p.h)
    }
}

impl Detection {
    /// The detection as seen through a map without a turn.
    fn mapped(self, map: Similarity) -> Self {
        let Rect { x, y, w, h } = self.bounds;
        let corner = map.apply(Point::new(x, y));
        Self {
            bounds: Rect::new(corner.x, corner.y, w * map.scale(), h * map.scale()),
            points: self.points.map(|p| map.apply(p)),
            ..self
        }
    }
}

/// The centres of the anchors, in pixels of the input, in the order of the net's answers. Their size is fixed.
fn anchors(range: Range) -> Vec<Point> {
    // Input size, then stride and anchors at each place; scales of the same stride share their places.
    let (size, layers): (usize, &[(usize, usize)]) = match range {
        Range::Full => (192, &[(4, 1)]),
        Range::Short => (128, &[(8, 2), (16, 6)]),
    };
    let mut anchors = Vec::new();
    for &(stride, each) in layers {
        for y in 0..size / stride {
            for x in 0..size / stride {
                let centre = |n| (n as f32 + 0.5) * stride as f32;
                anchors.extend(std::iter::repeat_n(Point::new(centre(x), centre(y)), each));
            }
        }
    }
    anchors
}

/// The anchors with at least `min_score` as faces, in pixels of the input.
fn decode(anchors: &[Point], scores: &[f32], boxes: &[Vec<f32>], min_score: f32) -> Vec<Detection> {
    let mut found = Vec::new();
    for (&anchor, (&score, numbers)) in anchors.iter().zip(scores.iter().zip(boxes)) {
        let score = sigmoid(score.clamp(-SCORE_CLIP, SCORE_CLIP));
        let &[x, y, w, h, ref points @ ..] = numbers.as_slice() else { continue };
        // Not-a-number fails every comparison.
        if !(score >= min_score && w > 0.0 && h > 0.0) {
            continue;
        }
        let at = |x: f32, y: f32| Point::new(anchor.x + x, anchor.y + y);
        let centre = at(x, y);
        let mut six = [Point::default(); 6];
        for (point, xy) in six.iter_mut().zip(points.chunks_exact(2)) {
            *point = at(xy[0], xy[1]);
        }
        found.push(Detection {
            bounds: Rect::new(centre.x - w / 2.0, centre.y - h / 2.0, w, h),
            points: six,
            score,
        });
    }
    found
}

/// Weighted non-maximum suppression: boxes that share much with the surest one become their mean, weighted by score.
fn merged(mut found: Vec<Detection>) -> Vec<Detection> {
    found.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut faces = Vec::new();
    while let Some(&best) = found.first() {
        let (same, rest): (Vec<_>, Vec<_>) =
            found.into_iter().partition(|other| best.bounds.iou(other.bounds) > SAME_FACE);
        found = rest;
        if same.is_empty() {
            // A box of no size shares nothing even with itself.
            found.remove(0);
            continue;
        }
        let total: f32 = same.iter().map(|face| face.score).sum();
        let mean = |value: &dyn Fn(&Detection) -> f32| {
            same.iter().map(|face| value(face) * face.score).sum::<f32>() / total
        };
        faces.push(Detection {
            bounds: Rect::new(
                mean(&|face| face.bounds.x),
                mean(&|face| face.bounds.y),
                mean(&|face| face.bounds.w),
                mean(&|face| face.bounds.h),
            ),
            points: std::array::from_fn(|n| {
                Point::new(mean(&|face| face.points[n].x), mean(&|face| face.points[n].y))
            }),
            score: best.score,
        });
    }
    faces
}

/// 1 / (1 + e^-x)
pub(super) fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(x: f32, score: f32) -> Detection {
        Detection { bounds: Rect::new(x, 0.0, 10.0, 10.0), points: [Point::new(x, 1.0); 6], score }
    }

    #[test]
    fn the_anchors_are_as_many_as_published() {
        assert_eq!(anchors(Range::Full).len(), 2304);
        let short = anchors(Range::Short);
        assert_eq!(short.len(), 896);
        assert_eq!(
            (short[0], short[2], short[512]),
            (Point::new(4.0, 4.0), Point::new(12.0, 4.0), Point::new(8.0, 8.0))
        );
    }

    #[test]
    fn boxes_of_one_face_become_their_weighted_mean() {
        let merged = merged(vec![face(2.0, 0.3), face(0.0, 0.9), face(30.0, 0.5)]);
        assert_eq!(merged.len(), 2);
        assert!((merged[0].bounds.x - 0.5).abs() < 1e-6 && (merged[0].points[3].x - 0.5).abs() < 1e-6);
        assert_eq!((merged[0].score, merged[1].bounds.x), (0.9, 30.0));
    }

    #[test]
    fn broken_numbers_are_no_faces() {
        let numbers = |n: f32| vec![vec![n; 16]];
        for (score, n) in [(f32::NAN, 1.0), (5.0, f32::NAN), (5.0, -1.0)] {
            assert!(decode(&[Point::default()], &[score], &numbers(n), 0.5).is_empty());
        }
        assert_eq!(decode(&[Point::default()], &[5.0], &numbers(1.0), 0.5).len(), 1);
        assert!(merged(vec![face(f32::NAN, 0.9)]).is_empty());
    }

    #[test]
    fn tiles_cover_a_large_picture_and_spare_a_small_one() {
        assert!(View::tiles(&Image::filled(640, 480, [0; 3]), 600.0).is_empty());
        let tiles = View::tiles(&Image::filled(1920, 1080, [0; 3]), 640.0);
        assert_eq!(tiles.len(), 8);
        let last = tiles.last().unwrap().square;
        assert!((last.x + last.w - 1920.0).abs() < 0.1 && (last.y + last.h - 1080.0).abs() < 0.1);
        assert!(tiles[1].square.x <= 480.0);
    }

    #[test]
    fn a_face_cut_by_a_tile_is_left_to_its_neighbour() {
        let picture = Rect::new(0.0, 0.0, 1000.0, 500.0);
        let view = View { square: Rect::new(0.0, 0.0, 500.0, 500.0) };
        assert!(view.holds(Rect::new(-5.0, 10.0, 50.0, 50.0), picture));
        assert!(view.holds(Rect::new(400.0, 10.0, 50.0, 50.0), picture));
        assert!(!view.holds(Rect::new(460.0, 10.0, 50.0, 50.0), picture));
    }
}
