//! The landmarks that the landmark branch learns to find, and the heat maps that it learns them from.
//!
//! They are points of MediaPipe's Face Mesh (Kartynnik et al. 2019) on what moves when a face expresses something:
//! brows, lids, nose, lips and chin. Left and right are the subject's own.

use rayon::prelude::*;

use crate::geometry::Point;

/// How many landmarks there are.
pub const COUNT: usize = LANDMARKS.len();

/// Index in the mesh, name, and place in this table of the same landmark on the other side (its own in the middle).
#[rustfmt::skip]
pub const LANDMARKS: [(usize, &str, usize); 25] = [
    (70, "right brow, outer end", 5),
    (105, "right brow, top", 4),
    (107, "right brow, inner end", 3),
    (336, "left brow, inner end", 2),
    (334, "left brow, top", 1),
    (300, "left brow, outer end", 0),
    (33, "right eye, outer corner", 13),
    (159, "right eye, upper lid", 12),
    (145, "right eye, lower lid", 11),
    (133, "right eye, inner corner", 10),
    (362, "left eye, inner corner", 9),
    (374, "left eye, lower lid", 8),
    (386, "left eye, upper lid", 7),
    (263, "left eye, outer corner", 6),
    (168, "nose, between the eyes", 14),
    (1, "nose, tip", 15),
    (98, "nose, right wing", 17),
    (327, "nose, left wing", 16),
    (61, "mouth, right corner", 19),
    (291, "mouth, left corner", 18),
    (0, "upper lip, outer edge", 20),
    (13, "upper lip, inner edge", 21),
    (14, "lower lip, inner edge", 22),
    (17, "lower lip, outer edge", 23),
    (152, "chin", 24),
];

/// The landmarks of a face as parts of its picture's sides, 0 to 1 inside.
pub type Landmarks = [Point; COUNT];

/// The landmarks of a mesh of 468 points, each as `place` says; `None` if the mesh has fewer points.
pub fn of_mesh(points: &[Point], place: impl Fn(Point) -> Point) -> Option<Landmarks> {
    let mut landmarks = [Point::default(); COUNT];
    for (landmark, (index, _, _)) in landmarks.iter_mut().zip(LANDMARKS) {
        *landmark = place(*points.get(index)?);
    }
    Some(landmarks)
}

/// The landmarks of the mirrored picture: left becomes right.
pub fn mirrored(landmarks: &Landmarks) -> Landmarks {
    std::array::from_fn(|i| {
        let other = landmarks[LANDMARKS[i].2];
        Point::new(1.0 - other.x, other.y)
    })
}

/// How landmarks are drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spots {
    /// Rows and columns of a heat map.
    pub side: usize,
    /// The standard deviation of a landmark's spot, in its pixels.
    pub sigma: f32,
}

/// A pixel is near a landmark where the greatest of the 3x3 heat-map pixels around it exceeds this.
const NEAR: f32 = 0.2;

/// Heat maps of `side` x `side` for each face, spots exp(-r^2 / (2 sigma^2)), and 1 where a pixel is near a landmark,
/// else 0; both (faces, landmarks, side, side) row by row. Faces without landmarks get zeros.
pub fn heat_maps(faces: &[Option<Landmarks>], spots: Spots) -> (Vec<f32>, Vec<f32>) {
    let Spots { side, sigma } = spots;
    let area = side * side;
    let mut maps = vec![0f32; faces.len() * COUNT * area];
    let mut near = maps.clone();
    let each = maps.par_chunks_mut((COUNT * area).max(1)).zip(near.par_chunks_mut((COUNT * area).max(1)));
    each.zip(faces).for_each(|((maps, near), face)| {
        let Some(landmarks) = face else { return };
        for (i, landmark) in landmarks.iter().enumerate() {
            let spot = |centre: f32| -> Vec<f32> {
                let squared = (0..side).map(|p| (p as f32 + 0.5 - centre * side as f32).powi(2));
                squared.map(|s| (-s / (2.0 * sigma * sigma)).exp()).collect()
            };
            let (across, down) = (spot(landmark.x), spot(landmark.y));
            // The greatest of a window of a product of falling functions is the product of the greatest.
            let wide = |line: &[f32]| -> Vec<f32> {
                (0..side)
                    .map(|p| line[p.saturating_sub(1)..(p + 2).min(side)].iter().copied().fold(0.0, f32::max))
                    .collect()
            };
            let (across_wide, down_wide) = (wide(&across), wide(&down));
            for y in 0..side {
                for x in 0..side {
                    maps[i * area + y * side + x] = across[x] * down[y];
                    near[i * area + y * side + x] = f32::from(across_wide[x] * down_wide[y] > NEAR);
                }
            }
        }
    });
    (maps, near)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_side_of_the_other_side_is_this_side() {
        for (i, (_, name, other)) in LANDMARKS.into_iter().enumerate() {
            assert_eq!(LANDMARKS[other].2, i, "{name}");
            let expected = if name.contains("right") {
                name.replace("right", "left")
            } else {
                name.replace("left", "right")
            };
            assert_eq!(LANDMARKS[other].1, expected);
        }
    }

    #[test]
    fn a_mirror_swaps_the_sides_of_the_face() {
        let mut face = [Point::new(0.5, 0.5); COUNT];
        face[18] = Point::new(0.25, 0.75); // the mouth's right corner, left in the picture
        let mirror = mirrored(&face);
        assert_eq!(mirror[19], Point::new(0.75, 0.75));
        assert_eq!(mirror[18], Point::new(0.5, 0.5));
        assert_eq!(mirrored(&mirror), face);
    }

    #[test]
    fn a_spot_is_highest_on_its_landmark_and_near_within_reach() {
        let mut face = [Point::new(-1.0, -1.0); COUNT];
        face[0] = Point::new(0.3, 0.7); // the pixel (4, 11) of 16 x 16, off its centre by 0.3
        let (maps, near) = heat_maps(&[None, Some(face)], Spots { side: 16, sigma: 1.5 });
        assert!(maps[..COUNT * 256].iter().chain(&near[..COUNT * 256]).all(|&v| v == 0.0));
        let (map, near) = (&maps[COUNT * 256..][..256], &near[COUNT * 256..][..256]);
        let best = (0..256).max_by(|&a, &b| map[a].total_cmp(&map[b])).unwrap();
        assert_eq!((best % 16, best / 16), (4, 11));
        assert!((map[best] - (-(0.09f32 + 0.09) / 4.5).exp()).abs() < 1e-5);
        for p in 0..256 {
            let (x, y) = (p % 16, p / 16);
            let mut greatest = 0f32;
            for (dx, dy) in (0..9).map(|n| (n % 3, n / 3)) {
                if (1..17).contains(&(x + dx)) && (1..17).contains(&(y + dy)) {
                    greatest = greatest.max(map[(y + dy - 1) * 16 + x + dx - 1]);
                }
            }
            assert_eq!(near[p], f32::from(greatest > 0.2), "{x} {y}");
        }
    }

    #[test]
    fn a_mesh_with_too_few_points_has_no_landmarks() {
        assert!(of_mesh(&[Point::default(); 10], |p| p).is_none());
        let mesh: Vec<Point> = (0..468).map(|i| Point::new(i as f32, 0.0)).collect();
        assert_eq!(of_mesh(&mesh, |p| p).unwrap()[24], Point::new(152.0, 0.0));
    }
}
