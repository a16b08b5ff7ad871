//! How a head is turned: the least-squares rotation from a canonical face to the landmarks.
//!
//! The canonical face and the weights of its 33 stable points are MediaPipe's (Apache-2.0), from
//! geometry_pipeline_metadata_landmarks in the npm package @mediapipe/face_mesh 0.4.1657299874. The rotation is
//! Horn's ("Closed-form solution of absolute orientation using unit quaternions", 1987); perspective is left out.

use super::Mesh;
use crate::geometry::Pose;

impl Pose {
    /// The pose of a head by its landmarks; all zero if there are not 468.
    pub fn of_mesh(mesh: &Mesh) -> Self {
        let pairs = STABLE.iter().filter_map(|&(landmark, weight, canonical)| {
            let (point, depth) = (mesh.points.get(landmark)?, mesh.depths.get(landmark)?);
            // To the canonical axes: right, up, to the viewer.
            Some((weight, canonical, [f64::from(point.x), -f64::from(point.y), -f64::from(*depth)]))
        });
        let pairs: Vec<_> = pairs.collect();
        if pairs.len() < STABLE.len() || pairs.iter().any(|(.., p)| p.iter().any(|v| !v.is_finite())) {
            return Self::default();
        }
        let r = rotation(&pairs);
        let degrees = |radians: f64| radians.to_degrees() as f32;
        // r = turn about the viewer's axis (counterclockwise) * about the vertical * about the horizontal (down)
        Self {
            yaw: degrees((-r[2][0]).atan2(r[0][0].hypot(r[1][0]))),
            pitch: degrees(-r[2][1].atan2(r[2][2])),
            roll: degrees(-r[1][0].atan2(r[0][0])),
        }
    }
}

/// A weight, a point of the canonical face, and where that point is seen.
type Pair = (f64, [f64; 3], [f64; 3]);

/// The rotation that takes the first points to the second ones, up to scale and shift, with the least weighted error.
fn rotation(pairs: &[Pair]) -> [[f64; 3]; 3] {
    let total: f64 = pairs.iter().map(|(weight, ..)| weight).sum();
    let mean = |which: fn(&Pair) -> [f64; 3]| {
        std::array::from_fn::<_, 3, _>(|axis| {
            pairs.iter().map(|pair| pair.0 * which(pair)[axis]).sum::<f64>() / total
        })
    };
    let (mean_from, mean_to) = (mean(|pair| pair.1), mean(|pair| pair.2));
    // s[i][j]: the sum of from's axis i times to's axis j
    let mut s = [[0.0; 3]; 3];
    for (weight, from, to) in pairs {
        for i in 0..3 {
            for j in 0..3 {
                s[i][j] += weight * (from[i] - mean_from[i]) * (to[j] - mean_to[j]);
            }
        }
    }
    let n = [
        [s[0][0] + s[1][1] + s[2][2], s[1][2] - s[2][1], s[2][0] - s[0][2], s[0][1] - s[1][0]],
        [0.0, s[0][0] - s[1][1] - s[2][2], s[0][1] + s[1][0], s[2][0] + s[0][2]],
        [0.0, 0.0, -s[0][0] + s[1][1] - s[2][2], s[1][2] + s[2][1]],
        [0.0, 0.0, 0.0, -s[0][0] - s[1][1] + s[2][2]],
    ];
    let symmetric = std::array::from_fn(|i| std::array::from_fn(|j| n[i.min(j)][i.max(j)]));
    let [w, x, y, z] = first_eigenvector(symmetric);
    [
        [w * w + x * x - y * y - z * z, 2.0 * (x * y - w * z), 2.0 * (x * z + w * y)],
        [2.0 * (x * y + w * z), w * w - x * x + y * y - z * z, 2.0 * (y * z - w * x)],
        [2.0 * (x * z - w * y), 2.0 * (y * z + w * x), w * w - x * x - y * y + z * z],
    ]
}

/// The eigenvector of the largest eigenvalue of a symmetric matrix, by Jacobi's rotations.
fn first_eigenvector(mut a: [[f64; 4]; 4]) -> [f64; 4] {
    let mut vectors: [[f64; 4]; 4] =
        std::array::from_fn(|i| std::array::from_fn(|j| f64::from(u8::from(i == j))));
    // Each sweep squares what is left beside the diagonal.
    for _ in 0..12 {
        for p in 0..3 {
            for q in p + 1..4 {
                if a[p][q] == 0.0 {
                    continue;
                }
                let angle = 0.5 * (2.0 * a[p][q]).atan2(a[q][q] - a[p][p]);
                let (sin, cos) = angle.sin_cos();
                let turn = |x: f64, y: f64| (cos * x - sin * y, sin * x + cos * y);
                for row in &mut a {
                    (row[p], row[q]) = turn(row[p], row[q]);
                }
                let (upper, lower) = a.split_at_mut(q);
                for (x, y) in upper[p].iter_mut().zip(&mut lower[0]) {
                    (*x, *y) = turn(*x, *y);
                }
                for row in &mut vectors {
                    (row[p], row[q]) = turn(row[p], row[q]);
                }
            }
        }
    }
    let largest = (1..4).fold(0, |best, n| if a[n][n] > a[best][best] { n } else { best });
    vectors.map(|row| row[largest])
}

/// Landmark, weight, and its place on the canonical face in centimetres: right as seen, up, to the viewer.
#[rustfmt::skip]
const STABLE: [(usize, f64, [f64; 3]); 33] = [
    (4, 0.07091, [0.0000, -0.4632, 7.5866]),
    (6, 0.03210, [0.0000, 2.4733, 5.7886]),
    (10, 0.00845, [0.0000, 8.2618, 4.4815]),
    (33, 0.05872, [-4.4459, 2.6640, 3.1734]),
    (54, 0.00767, [-6.2793, 6.6154, 1.4259]),
    (67, 0.00908, [-3.5240, 8.0060, 3.7292]),
    (117, 0.00979, [-5.2587, 0.9458, 2.9743]),
    (119, 0.01457, [-3.3007, 0.8616, 3.8728]),
    (121, 0.01859, [-1.8207, 1.4680, 4.2241]),
    (127, 0.00520, [-7.7431, 2.3650, -2.0052]),
    (129, 0.12063, [-1.7858, -0.9783, 4.8505]),
    (132, 0.00556, [-7.2709, -2.8909, -2.2525]),
    (133, 0.05329, [-1.8564, 2.5852, 3.7579]),
    (136, 0.06689, [-5.0853, -7.1786, 0.7147]),
    (143, 0.01482, [-6.4076, 2.2360, 1.5608]),
    (147, 0.01426, [-6.2349, -1.9444, 1.6635]),
    (198, 0.02546, [-1.2468, 0.2303, 5.6810]),
    (205, 0.04725, [-3.8329, -1.5373, 4.1377]),
    (263, 0.05872, [4.4459, 2.6640, 3.1734]),
    (284, 0.00767, [6.2793, 6.6154, 1.4259]),
    (297, 0.00908, [3.5240, 8.0060, 3.7292]),
    (346, 0.00979, [5.2587, 0.9458, 2.9743]),
    (348, 0.01457, [3.3007, 0.8616, 3.8728]),
    (350, 0.01859, [1.8207, 1.4680, 4.2241]),
    (356, 0.00520, [7.7431, 2.3650, -2.0052]),
    (358, 0.12063, [1.7858, -0.9783, 4.8505]),
    (361, 0.00556, [7.2709, -2.8909, -2.2525]),
    (362, 0.05329, [1.8564, 2.5852, 3.7579]),
    (365, 0.06689, [5.0853, -7.1786, 0.7147]),
    (372, 0.01482, [6.4076, 2.2360, 1.5608]),
    (376, 0.01426, [6.2349, -1.9444, 1.6635]),
    (420, 0.02546, [1.2468, 0.2303, 5.6810]),
    (425, 0.04725, [3.8329, -1.5373, 4.1377]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::Point;
    use proptest::prelude::*;

    /// The canonical face, turned about its axes, in pixels.
    fn turned(pose: Pose, scale: f32) -> Mesh {
        let mut mesh = Mesh { points: vec![Point::default(); 468], depths: vec![0.0; 468], score: 1.0 };
        let (yaw, pitch, roll) = (pose.yaw.to_radians(), pose.pitch.to_radians(), pose.roll.to_radians());
        for (landmark, _, p) in STABLE {
            let [x, y, z] = p.map(|v| v as f32);
            // Up: what is in front goes up.
            let (y, z) = (y * pitch.cos() + z * pitch.sin(), z * pitch.cos() - y * pitch.sin());
            // To the subject's left, the right of the picture: what is in front goes right.
            let (x, z) = (x * yaw.cos() + z * yaw.sin(), z * yaw.cos() - x * yaw.sin());
            // Clockwise: what is above goes right.
            let (x, y) = (x * roll.cos() + y * roll.sin(), y * roll.cos() - x * roll.sin());
            mesh.points[landmark] = Point::new(300.0 + scale * x, 200.0 - scale * y);
            mesh.depths[landmark] = -scale * z;
        }
        mesh
    }

    proptest! {
        #[test]
        fn a_turned_head_has_its_pose(
            yaw in -80f32..80.0, pitch in -80f32..80.0, roll in -175f32..175.0, scale in 1f32..50.0,
        ) {
            let found = Pose::of_mesh(&turned(Pose { yaw, pitch, roll }, scale));
            let near = |a: f32, b: f32| (a - b).abs() < 0.02;
            prop_assert!(near(found.yaw, yaw) && near(found.pitch, pitch) && near(found.roll, roll), "{found:?}");
        }

        #[test]
        fn a_mirror_swaps_yaw_and_roll(yaw in -60f32..60.0, pitch in -60f32..60.0, roll in -80f32..80.0) {
            // The canonical face is the same in a mirror, landmark by landmark swapped with its twin; so a pose and
            // its mirror image are fitted by the same points with x negated.
            let mut mesh = turned(Pose { yaw, pitch, roll }, 10.0);
            let twin = |landmark: usize| {
                let (.., [x, y, z]) = STABLE.iter().find(|s| s.0 == landmark).copied().unwrap();
                let distance = |s: &(usize, f64, [f64; 3])| {
                    (s.2[0] + x).abs() + (s.2[1] - y).abs() + (s.2[2] - z).abs()
                };
                STABLE.iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap().0
            };
            let old = mesh.clone();
            for (landmark, ..) in STABLE {
                let from = twin(landmark);
                mesh.points[landmark] = Point::new(600.0 - old.points[from].x, old.points[from].y);
                mesh.depths[landmark] = old.depths[from];
            }
            let found = Pose::of_mesh(&mesh);
            let near = |a: f32, b: f32| (a - b).abs() < 0.5;
            prop_assert!(near(found.yaw, -yaw) && near(found.pitch, pitch) && near(found.roll, -roll), "{found:?}");
        }
    }

    #[test]
    fn no_mesh_is_fatal() {
        let none = Mesh { points: vec![], depths: vec![], score: 0.0 };
        assert_eq!(Pose::of_mesh(&none), Pose::default());
        let mut broken = turned(Pose::default(), 10.0);
        broken.depths[33] = f32::NAN;
        assert_eq!(Pose::of_mesh(&broken), Pose::default());
        let flat = Mesh { points: vec![Point::default(); 468], depths: vec![0.0; 468], score: 0.0 };
        assert!(Pose::of_mesh(&flat).yaw.is_finite());
    }
}
