//! From faces to expressions: calibrated, and smoothed over time for each person.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use candle_core::Device;

use crate::calibration::Calibration;
use crate::error::Result;
use crate::expression::{Distribution, Expression};
use crate::face::align::crop;
use crate::face::{Face, Scene};
use crate::frame::Frame;
use crate::net::{self, Card, LaNet};
use crate::results::{FaceRow, Row};

/// Under this probability the expression is called unsure.
pub const UNSURE_CONFIDENCE: f32 = 0.4;
/// A face narrower than this, in pixels, is called unsure: the net learnt from faces of 48.
pub const UNSURE_WIDTH: f32 = 32.0;
/// A head turned further than this to a side, in degrees, is called unsure: one eye is hidden.
pub const UNSURE_YAW: f32 = 50.0;
/// A head turned further than this up or down, in degrees, is called unsure.
pub const UNSURE_PITCH: f32 = 35.0;

/// A frame, its faces, and what they express.
#[derive(Debug, Clone)]
pub struct Reading {
    /// The picture.
    pub frame: Frame,
    /// The faces, in the order of their tracks.
    pub faces: Vec<ReadFace>,
}

/// A face and what it expresses.
#[derive(Debug, Clone)]
pub struct ReadFace {
    /// Where and who it is.
    pub face: Face,
    /// The probability of each expression.
    pub probabilities: Distribution,
}

impl Reading {
    /// The reading as rows of results: one for each face, or one that says that there is none.
    pub fn rows(&self) -> Vec<Row> {
        let Frame { source, index, time, .. } = &self.frame;
        let row = |face| Row { source: source.clone(), frame: *index, time: *time, face };
        if self.faces.is_empty() {
            vec![row(None)]
        } else {
            self.faces.iter().map(|f| row(Some(f.row()))).collect()
        }
    }
}

impl ReadFace {
    fn row(&self) -> FaceRow {
        let (expression, confidence) = self.expression();
        FaceRow {
            track: self.face.track,
            bounds: self.face.bounds,
            score: self.face.mesh.score,
            pose: self.face.pose,
            expression,
            confidence,
            probabilities: self.probabilities,
            unsure: self.unsure(),
        }
    }

    /// The most probable expression and its probability.
    pub fn expression(&self) -> (Expression, f32) {
        self.probabilities.top()
    }

    /// Whether the face is too small or too turned to be read, or no expression is probable enough.
    pub fn unsure(&self) -> bool {
        self.face.bounds.w < UNSURE_WIDTH
            || self.face.pose.yaw.abs() > UNSURE_YAW
            || self.face.pose.pitch.abs() > UNSURE_PITCH
            || self.expression().1 < UNSURE_CONFIDENCE
    }
}

/// An exponential mean over time for each track: after the time constant, a change has arrived by 63 %,
/// whatever the frame rate.
#[derive(Debug, Clone)]
pub struct Smoothing {
    constant: Duration,
    tracks: BTreeMap<u64, (Duration, Distribution)>,
}

impl Smoothing {
    /// Smoothing with a time constant; zero changes nothing.
    pub fn new(constant: Duration) -> Self {
        Self { constant, tracks: BTreeMap::new() }
    }

    /// The smoothed distribution of a track that shows `now` at `time`.
    pub fn smooth(&mut self, track: u64, time: Duration, now: Distribution) -> Distribution {
        if self.constant.is_zero() {
            return now;
        }
        let constant = self.constant.as_secs_f32();
        let smoothed = match self.tracks.get(&track) {
            Some(&(before, last)) => {
                let passed = time.saturating_sub(before).as_secs_f32();
                last.towards(now, 1.0 - (-passed / constant).exp())
            }
            None => now,
        };
        self.tracks.insert(track, (time, smoothed));
        // A person gone for ten time constants leaves no trace in the mean.
        self.tracks.retain(|_, (seen, _)| time.saturating_sub(*seen).as_secs_f32() <= 10.0 * constant);
        smoothed
    }
}

/// The file of a model's folder that holds its calibration.
pub const CALIBRATION: &str = "calibration.toml";

/// The calibration that was fitted for the model of this name or folder; none changes nothing.
///
/// # Errors
/// A calibration in the model's folder that is for other weights or cannot be read.
pub fn calibration_of(name: &str, card: &Card) -> Result<Calibration> {
    let beside = Path::new(name).join(CALIBRATION);
    match net::calibration(card) {
        Some(inside) => Ok(inside),
        None if beside.exists() => Calibration::load(&beside, &card.fingerprint),
        None => Ok(Calibration::none(&card.fingerprint)),
    }
}

/// Reads the expressions of the faces of a scene.
pub struct Reader {
    net: LaNet,
    calibration: Calibration,
    smoothing: Smoothing,
    device: Device,
}

impl Reader {
    /// A reader with the network in the program, or the one of that name or folder, and the calibration that was
    /// fitted for it, if there is one; that of a folder is its file [`CALIBRATION`].
    ///
    /// # Errors
    /// A model that does not exist, is damaged or does not tell expressions; a calibration for other weights.
    pub fn open(model: Option<&str>, smoothing: Duration, device: &Device) -> Result<Self> {
        let name = model.unwrap_or(net::DEFAULT);
        let model = net::open(name, device)?;
        let calibration = calibration_of(name, &model.card)?;
        Ok(Self::new(LaNet::from_model(&model)?, calibration, smoothing, device))
    }

    /// A reader of these parts.
    pub fn new(net: LaNet, calibration: Calibration, smoothing: Duration, device: &Device) -> Self {
        Self { net, calibration, smoothing: Smoothing::new(smoothing), device: device.clone() }
    }

    /// What the faces of a scene express.
    ///
    /// # Errors
    /// The network fails.
    pub fn read(&mut self, scene: Scene) -> Result<Reading> {
        let Scene { frame, faces } = scene;
        let side = self.net.input().width;
        let crops = faces
            .iter()
            .map(|face| crop(&frame.image, Some(&face.mesh), side))
            .collect::<Result<Vec<_>>>()?;
        let logits = self.net.logits(&crops, &self.device)?;
        let faces = faces
            .into_iter()
            .zip(logits)
            .map(|(face, logits)| {
                let now = self.calibration.apply(logits);
                let probabilities = self.smoothing.smooth(face.track, frame.time, now);
                ReadFace { face, probabilities }
            })
            .collect();
        Ok(Reading { frame, faces })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAD: Distribution = Distribution([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    const HAPPY: Distribution = Distribution([0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);

    fn after_one_second(frames_per_second: u32) -> f32 {
        let mut smoothing = Smoothing::new(Duration::from_millis(500));
        smoothing.smooth(1, Duration::ZERO, SAD);
        let frame = Duration::from_secs(1) / frames_per_second;
        (1..=frames_per_second)
            .map(|n| smoothing.smooth(1, frame * n, HAPPY))
            .last()
            .unwrap()
            .of(Expression::Happiness)
    }

    #[test]
    fn smoothing_does_not_depend_on_the_frame_rate() {
        let expected = 1.0 - (-2f32).exp();
        for rate in [1, 5, 30, 120] {
            assert!((after_one_second(rate) - expected).abs() < 1e-3, "{rate}");
        }
    }

    #[test]
    fn tracks_do_not_mix_and_zero_is_off() {
        let mut smoothing = Smoothing::new(Duration::from_secs(1));
        smoothing.smooth(1, Duration::ZERO, SAD);
        assert_eq!(smoothing.smooth(2, Duration::ZERO, HAPPY), HAPPY);
        let mut off = Smoothing::new(Duration::ZERO);
        off.smooth(1, Duration::ZERO, SAD);
        assert_eq!(off.smooth(1, Duration::from_millis(1), HAPPY), HAPPY);
    }
}
