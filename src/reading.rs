//! What was read of a frame: its faces and what they express, raw, calibrated and smoothed.

use std::time::Duration;

use crate::columns::{FaceRow, Row};
use crate::expression::{COUNT, Distribution, Expression};
use crate::face::Face;
use crate::frame::Frame;
use crate::geometry::Rect;

/// Under this probability the expression is called unsure.
pub const UNSURE_CONFIDENCE: f32 = 0.4;
/// A face narrower than this, in pixels, is called unsure: the net learnt from faces of 48.
pub const UNSURE_WIDTH: f32 = 32.0;
/// A head turned further than this to a side, in degrees, is called unsure: one eye is hidden.
pub const UNSURE_YAW: f32 = 50.0;
/// A head turned further than this up or down, in degrees, is called unsure.
pub const UNSURE_PITCH: f32 = 35.0;

/// A frame, its faces, and what they express. Nothing of it changes any more.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Reading {
    /// The picture.
    pub frame: Frame,
    /// The faces that were read, in the order of their tracks.
    pub faces: Vec<ReadFace>,
    /// Where every face is, read or not, and where those were that were seen a moment ago: whoever hides faces hides
    /// all of these.
    pub whereabouts: Vec<Rect>,
}

/// A face and what it expresses.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ReadFace {
    /// Where and who it is.
    pub face: Face,
    /// What the net says.
    pub logits: [f32; COUNT],
    /// The probability of each expression in this frame alone.
    pub calibrated: Distribution,
    /// The same, smoothed over time: what is shown. Without smoothing it is `calibrated`.
    pub smoothed: Distribution,
    /// Against which neutral it is read.
    pub baseline: Baseline,
}

/// Against which neutral a face is read. What the net says, the logits, does not depend on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Baseline {
    /// Whether it is the person's own.
    pub own: bool,
    /// How much longer the person is looked at for it, if they are.
    pub sitting: Option<Duration>,
}

impl Reading {
    /// The reading as rows of results: one for each face, or one that says that there is none. `raw` adds the
    /// probabilities before they are smoothed.
    pub fn rows(&self, raw: bool) -> Vec<Row> {
        let Frame { source, index, time, .. } = &self.frame;
        let row = |face| Row { source: source.clone(), frame: *index, time: *time, face, mark: None };
        if self.faces.is_empty() {
            vec![row(None)]
        } else {
            self.faces.iter().map(|face| row(Some(face.row(raw)))).collect()
        }
    }
}

impl ReadFace {
    /// What results hold of it; `raw` as for [`Reading::rows`].
    pub fn row(&self, raw: bool) -> FaceRow {
        let (expression, confidence) = self.expression();
        FaceRow {
            track: self.face.track,
            bounds: self.face.bounds,
            score: self.face.mesh.score,
            pose: self.face.pose,
            expression,
            confidence,
            probabilities: self.smoothed,
            unsure: self.unsure(),
            raw_probabilities: raw.then_some(self.calibrated),
            baseline: self.baseline.own,
        }
    }

    /// The number that the face keeps from frame to frame.
    pub fn track(&self) -> u64 {
        self.face.track
    }

    /// The upright rectangle around it, in pixels of the frame.
    pub fn bounds(&self) -> Rect {
        self.face.bounds
    }

    /// The most probable expression and its probability.
    pub fn expression(&self) -> (Expression, f32) {
        self.smoothed.top()
    }

    /// Whether the face is too small or too turned to be read, or no expression is probable enough.
    pub fn unsure(&self) -> bool {
        !is_plain(&self.face) || self.expression().1 < UNSURE_CONFIDENCE
    }
}

/// Whether a face is large enough and turned to the camera enough to be read.
pub fn is_plain(face: &Face) -> bool {
    let Face { bounds, pose, .. } = face;
    bounds.w >= UNSURE_WIDTH && pose.yaw.abs() <= UNSURE_YAW && pose.pitch.abs() <= UNSURE_PITCH
}
