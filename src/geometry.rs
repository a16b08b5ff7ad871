//! Points, rectangles and the turns, scalings and shifts between pictures.
//!
//! Pixels as f32, origin top left, y down; pixel (i, j) covers [i, i+1) x [j, j+1), so its centre is at
//! (i + 0.5, j + 0.5). Angles are radians, clockwise as seen.

use serde::{Deserialize, Serialize};

/// A place in a picture, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Point {
    /// To the right.
    pub x: f32,
    /// Down.
    pub y: f32,
}

impl Point {
    /// The point (x, y).
    pub const fn new(x: f32, y: f32) -> Self {
        Self { x, y }
    }

    /// The distance to another point.
    pub fn distance(self, other: Self) -> f32 {
        (self.x - other.x).hypot(self.y - other.y)
    }

    /// The mean of some points; the origin if there are none.
    pub fn mean(points: impl IntoIterator<Item = Self>) -> Self {
        let (sum, n) = points
            .into_iter()
            .fold((Self::default(), 0), |(s, n), p| (Self::new(s.x + p.x, s.y + p.y), n + 1));
        let n = n.max(1) as f32;
        Self::new(sum.x / n, sum.y / n)
    }
}

/// An upright rectangle: top left corner, width and height, in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Rect {
    /// Left edge.
    pub x: f32,
    /// Top edge.
    pub y: f32,
    /// Width.
    pub w: f32,
    /// Height.
    pub h: f32,
}

impl Rect {
    /// The rectangle with this top left corner, width and height.
    pub const fn new(x: f32, y: f32, w: f32, h: f32) -> Self {
        Self { x, y, w, h }
    }

    /// The smallest rectangle around some points; empty if there are none.
    pub fn around(points: impl IntoIterator<Item = Point>) -> Self {
        let mut points = points.into_iter();
        let Some(first) = points.next() else { return Self::default() };
        let (lo, hi) = points.fold((first, first), |(lo, hi), p| {
            (Point::new(lo.x.min(p.x), lo.y.min(p.y)), Point::new(hi.x.max(p.x), hi.y.max(p.y)))
        });
        Self::new(lo.x, lo.y, hi.x - lo.x, hi.y - lo.y)
    }

    /// Its middle.
    pub fn centre(self) -> Point {
        Point::new(self.x + self.w / 2.0, self.y + self.h / 2.0)
    }

    /// Its area; 0 where a side is negative.
    pub fn area(self) -> f32 {
        self.w.max(0.0) * self.h.max(0.0)
    }

    /// What it shares with another rectangle; of zero size if nothing.
    pub fn intersection(self, other: Self) -> Self {
        let (x, y) = (self.x.max(other.x), self.y.max(other.y));
        let w = (self.x + self.w).min(other.x + other.w) - x;
        let h = (self.y + self.h).min(other.y + other.h) - y;
        Self::new(x, y, w.max(0.0), h.max(0.0))
    }

    /// Intersection over union, from 0 to 1.
    pub fn iou(self, other: Self) -> f32 {
        let shared = self.intersection(other).area();
        let union = self.area() + other.area() - shared;
        if union > 0.0 { shared / union } else { 0.0 }
    }

    /// The same middle, both sides times `factor`.
    pub fn scaled(self, factor: f32) -> Self {
        let c = self.centre();
        Self::new(c.x - self.w * factor / 2.0, c.y - self.h * factor / 2.0, self.w * factor, self.h * factor)
    }
}

/// A turn, a scaling and a shift: p -> (a x - b y + tx, b x + a y + ty).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Similarity {
    /// scale * cos(angle)
    pub a: f32,
    /// scale * sin(angle)
    pub b: f32,
    /// Shift to the right.
    pub tx: f32,
    /// Shift down.
    pub ty: f32,
}

impl Similarity {
    /// Leaves every point where it is.
    pub const IDENTITY: Self = Self { a: 1.0, b: 0.0, tx: 0.0, ty: 0.0 };

    /// Takes `from` to `to`, turning clockwise by `angle` and scaling by `scale` about that point.
    pub fn about(from: Point, to: Point, scale: f32, angle: f32) -> Self {
        let (a, b) = (scale * angle.cos(), scale * angle.sin());
        Self { a, b, tx: to.x - a * from.x + b * from.y, ty: to.y - b * from.x - a * from.y }
    }

    /// The similarity that takes `from` to `to` with the least squared error (Umeyama 1991, in two dimensions
    /// and without reflection). `None` if the points of `from` are fewer than two or all the same.
    pub fn fit(from: &[Point], to: &[Point]) -> Option<Self> {
        if from.len() != to.len() || from.len() < 2 {
            return None;
        }
        let (mf, mt) = (Point::mean(from.iter().copied()), Point::mean(to.iter().copied()));
        let (mut dot, mut cross, mut square) = (0f64, 0f64, 0f64);
        for (f, t) in from.iter().zip(to) {
            let (fx, fy) = (f64::from(f.x - mf.x), f64::from(f.y - mf.y));
            let (tx, ty) = (f64::from(t.x - mt.x), f64::from(t.y - mt.y));
            dot += fx * tx + fy * ty;
            cross += fx * ty - fy * tx;
            square += fx * fx + fy * fy;
        }
        if square.is_nan() || square <= f64::from(f32::EPSILON) {
            return None;
        }
        let (a, b) = ((dot / square) as f32, (cross / square) as f32);
        Some(Self { a, b, tx: mt.x - a * mf.x + b * mf.y, ty: mt.y - b * mf.x - a * mf.y })
    }

    /// Where a point goes.
    pub fn apply(self, p: Point) -> Point {
        Point::new(self.a * p.x - self.b * p.y + self.tx, self.b * p.x + self.a * p.y + self.ty)
    }

    /// How lengths grow.
    pub fn scale(self) -> f32 {
        self.a.hypot(self.b)
    }

    /// The turn, clockwise, in (-pi, pi].
    pub fn angle(self) -> f32 {
        self.b.atan2(self.a)
    }

    /// The way back. `None` if everything goes to one point.
    pub fn inverse(self) -> Option<Self> {
        let square = self.a * self.a + self.b * self.b;
        if !square.is_normal() {
            return None;
        }
        let (a, b) = (self.a / square, -self.b / square);
        Some(Self { a, b, tx: -(a * self.tx - b * self.ty), ty: -(b * self.tx + a * self.ty) })
    }

    /// First this one, then `next`.
    pub fn then(self, next: Self) -> Self {
        let t = next.apply(Point::new(self.tx, self.ty));
        Self { a: next.a * self.a - next.b * self.b, b: next.b * self.a + next.a * self.b, tx: t.x, ty: t.y }
    }
}

/// How a head is turned, in degrees: first up or down, then to a side, then in the plane of the picture.
///
/// So turning a picture changes the roll only, and mirroring it changes the signs of yaw and roll only.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pose {
    /// To the subject's left is positive; -90 to 90.
    pub yaw: f32,
    /// Up is positive; -180 to 180.
    pub pitch: f32,
    /// Clockwise, as seen, is positive; -180 to 180.
    pub roll: f32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn point() -> impl Strategy<Value = Point> {
        (-500f32..500.0, -500f32..500.0).prop_map(|(x, y)| Point::new(x, y))
    }

    fn rect() -> impl Strategy<Value = Rect> {
        (-100f32..100.0, -100f32..100.0, 0f32..200.0, 0f32..200.0)
            .prop_map(|(x, y, w, h)| Rect::new(x, y, w, h))
    }

    fn similarity() -> impl Strategy<Value = Similarity> {
        (point(), point(), 0.1f32..10.0, -3f32..3.0).prop_map(|(p, q, s, r)| Similarity::about(p, q, s, r))
    }

    proptest! {
        #[test]
        fn a_fit_finds_the_similarity_that_moved_the_points(
            s in similarity(), p in point(), q in point(), r in point(),
        ) {
            prop_assume!(p.distance(q) > 5.0);
            let from = [p, q, r];
            let fit = Similarity::fit(&from, &from.map(|p| s.apply(p))).unwrap();
            for p in from {
                prop_assert!(fit.apply(p).distance(s.apply(p)) < 0.05 * s.scale().max(1.0));
            }
            prop_assert!((fit.scale() / s.scale() - 1.0).abs() < 1e-2);
        }

        #[test]
        fn the_inverse_leads_back(s in similarity(), p in point()) {
            let there_and_back = s.inverse().unwrap().apply(s.apply(p));
            prop_assert!(there_and_back.distance(p) < 0.1, "{there_and_back:?} {p:?}");
        }

        #[test]
        fn then_is_one_after_the_other(s in similarity(), t in similarity(), p in point()) {
            let (both, each) = (s.then(t).apply(p), t.apply(s.apply(p)));
            prop_assert!(both.distance(each) <= 1e-3 * (1.0 + t.scale() * (s.scale() * 1000.0 + 1000.0)));
        }

        #[test]
        fn about_takes_from_to_to(p in point(), q in point(), s in 0.1f32..10.0, r in -3f32..3.0) {
            let made = Similarity::about(p, q, s, r);
            prop_assert!(made.apply(p).distance(q) < 0.05);
            prop_assert!((made.scale() / s - 1.0).abs() < 1e-4 && (made.angle() - r).abs() < 1e-4);
        }

        #[test]
        fn iou_is_symmetric_and_between_0_and_1(a in rect(), b in rect()) {
            prop_assert_eq!(a.iou(b), b.iou(a));
            prop_assert!((0.0..=1.0 + 1e-5).contains(&a.iou(b)));
            prop_assume!(a.area() > 1.0);
            // The ends of a thin one are rounded by a larger part of it.
            prop_assert!((a.iou(a) - 1.0).abs() < 1e-4 / a.w.min(a.h).min(1.0));
        }
    }

    #[test]
    fn a_fit_refuses_points_that_say_nothing() {
        let p = Point::new(3.0, 4.0);
        assert_eq!(Similarity::fit(&[p], &[p]), None);
        assert_eq!(Similarity::fit(&[p, p], &[p, p]), None);
        assert_eq!(Similarity::fit(&[p, Point::default()], &[p]), None);
    }
}
