//! What is drawn on a face itself: the corners of its box, its mesh, and how the head is turned.

use super::palette::{INK, PAPER, colour};
use crate::canvas::{Canvas, Colour};
use crate::expression::Expression;
use crate::geometry::{Point, Pose, Rect};

/// Corners only: the face itself stays free.
pub fn corners(canvas: &mut Canvas, b: Rect, thickness: f32, tint: Colour) {
    let arm = (b.w.min(b.h) * 0.2).max(4.0);
    let corner = |x: f32, y: f32, right: f32, down: f32| {
        [Point::new(x + right, y), Point::new(x, y), Point::new(x, y + down)]
    };
    let (right, bottom) = (b.x + b.w, b.y + b.h);
    let all = [
        corner(b.x, b.y, arm, arm),
        corner(right, b.y, -arm, arm),
        corner(b.x, bottom, arm, -arm),
        corner(right, bottom, -arm, -arm),
    ];
    for corner in all {
        rimmed(canvas, &corner, thickness, tint);
    }
}

/// A line that is seen on light and on dark grounds.
fn rimmed(canvas: &mut Canvas, points: &[Point], thickness: f32, tint: Colour) {
    canvas.lines(points, false, thickness * 1.7, INK);
    canvas.lines(points, false, thickness, tint);
}

/// The landmarks of a face, with lines along its features. `points` are as seen.
pub fn mesh(canvas: &mut Canvas, points: &[Point], width: f32, tint: Colour) {
    let thickness = (width / 160.0).clamp(0.5, 4.0);
    for (closed, feature) in FEATURES {
        let line: Vec<_> = feature.iter().filter_map(|&n| points.get(usize::from(n)).copied()).collect();
        canvas.lines(&line, *closed, thickness, tint);
    }
    canvas.dots(points, (width / 260.0).clamp(0.4, 2.5), PAPER);
}

/// Three axes from the nose: to the side, up, and to where the face looks. `pose` is as seen.
pub fn axes(canvas: &mut Canvas, nose: Point, length: f32, pose: Pose) {
    let (side, up, ahead) = directions(pose);
    let thickness = (length / 16.0).clamp(1.5, 12.0);
    let end = |(x, y): (f32, f32)| Point::new(nose.x + length * x, nose.y + length * y);
    for (direction, tint) in [(side, Expression::Anger), (up, Expression::Disgust)] {
        rimmed(canvas, &[nose, end(direction)], thickness, colour(tint));
    }
    rimmed(canvas, &[nose, end(ahead)], thickness, colour(Expression::Contempt));
    canvas.dots(&[end(ahead)], thickness * 1.4, INK);
    canvas.dots(&[end(ahead)], thickness * 1.1, colour(Expression::Contempt));
}

/// Where the head's axes point in the picture: to the right as seen, up, and out of the face; (right, down).
fn directions(pose: Pose) -> ((f32, f32), (f32, f32), (f32, f32)) {
    // The same order of turns as in `Pose`: up or down, to a side, in the plane.
    let (sp, cp) = (-pose.pitch).to_radians().sin_cos();
    let (sy, cy) = pose.yaw.to_radians().sin_cos();
    let (sr, cr) = (-pose.roll).to_radians().sin_cos();
    (
        (cr * cy, -(sr * cy)),
        (cr * sy * sp - sr * cp, -(sr * sy * sp + cr * cp)),
        (cr * sy * cp + sr * sp, -(sr * sy * cp - cr * sp)),
    )
}

/// Rows of MediaPipe's landmarks along lips, eyes, brows, nose and the oval of the face, and whether each is closed.
#[rustfmt::skip]
const FEATURES: &[(bool, &[u16])] = &[
    (true, &[61, 146, 91, 181, 84, 17, 314, 405, 321, 375, 291, 409, 270, 269, 267, 0, 37, 39, 40, 185]),
    (true, &[78, 95, 88, 178, 87, 14, 317, 402, 318, 324, 308, 415, 310, 311, 312, 13, 82, 81, 80, 191]),
    (true, &[33, 7, 163, 144, 145, 153, 154, 155, 133, 173, 157, 158, 159, 160, 161, 246]),
    (true, &[263, 249, 390, 373, 374, 380, 381, 382, 362, 398, 384, 385, 386, 387, 388, 466]),
    (true, &[46, 53, 52, 65, 55, 107, 66, 105, 63, 70]),
    (true, &[276, 283, 282, 295, 285, 336, 296, 334, 293, 300]),
    (false, &[168, 6, 197, 195, 5, 4]),
    (false, &[98, 97, 2, 326, 327]),
    (true, &[10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
             152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109]),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_point_where_the_pose_says() {
        let near = |(x, y): (f32, f32), wanted: (f32, f32)| (x - wanted.0).hypot(y - wanted.1) < 1e-3;
        let pose = |yaw, pitch, roll| directions(Pose { yaw, pitch, roll });
        let (side, up, ahead) = pose(0.0, 0.0, 0.0);
        assert!(near(side, (1.0, 0.0)) && near(up, (0.0, -1.0)) && near(ahead, (0.0, 0.0)));
        assert!(near(pose(90.0, 0.0, 0.0).2, (1.0, 0.0)), "the subject's left is right as seen");
        assert!(near(pose(0.0, 90.0, 0.0).2, (0.0, -1.0)), "up");
        assert!(near(pose(0.0, 0.0, 90.0).1, (1.0, 0.0)), "clockwise");
    }
}
