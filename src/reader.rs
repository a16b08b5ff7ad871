//! From faces to expressions: calibrated, and smoothed over time for each person.

use std::path::Path;
use std::time::Duration;

use candle_core::Device;

use crate::calibration::Calibration;
use crate::columns::{FaceRow, Row};
use crate::error::{Error, Result};
use crate::expression::{COUNT, Distribution, Expression};
use crate::face::align::crop;
use crate::face::{Face, Scene};
use crate::frame::Frame;
use crate::geometry::Rect;
use crate::net::{self, Card, LaNet};
use crate::people::{People, Person};
use crate::prior::Prior;

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
        self.face.bounds.w < UNSURE_WIDTH
            || self.face.pose.yaw.abs() > UNSURE_YAW
            || self.face.pose.pitch.abs() > UNSURE_PITCH
            || self.expression().1 < UNSURE_CONFIDENCE
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
    // Whoever fits a copy of a model in the program anew wants what was fitted.
    if !net::names().any(|known| known == name) && beside.exists() {
        return Calibration::load(&beside, &card.fingerprint);
    }
    Ok(net::calibration(card).unwrap_or_else(|| Calibration::none(&card.fingerprint)))
}

/// Tells the expressions of the faces of a scene, and remembers what it told of whom.
#[derive(Clone)]
pub struct Classifier {
    net: LaNet,
    calibration: Calibration,
    smoothing: Duration,
    most_faces: usize,
    device: Device,
    people: People<Known>,
}

/// What is known of a person.
#[derive(Debug, Clone, Copy)]
struct Known {
    bounds: Rect,
    /// None of one whose expression was not read.
    smoothed: Option<Distribution>,
}

impl Classifier {
    /// A classifier with the network in the program, or the one of that name or folder, and the calibration that was
    /// fitted for it, if there is one; that of a folder is its file [`CALIBRATION`]. It expects `prior`, or what the model's
    /// card says.
    ///
    /// # Errors
    /// A model that does not exist, is damaged or does not tell expressions; a calibration for other weights; a prior for a
    /// model whose card has none.
    pub fn open(
        model: Option<&str>,
        prior: Option<Prior>,
        smoothing: Duration,
        device: &Device,
    ) -> Result<Self> {
        let name = model.unwrap_or(net::DEFAULT);
        let model = net::open(name, device)?;
        let calibration = calibration_of(name, &model.card)?.expecting(prior, model.card.learnt())?;
        Ok(Self::new(LaNet::expecting(&model, prior)?, calibration, smoothing, device))
    }

    /// A classifier of these parts. The probabilities of each person are smoothed with a time constant: after it a
    /// change has arrived by 63 %, whatever the frame rate; zero changes nothing.
    pub fn new(net: LaNet, calibration: Calibration, smoothing: Duration, device: &Device) -> Self {
        let (device, people) = (device.clone(), People::default());
        Self { net, calibration, smoothing, most_faces: usize::MAX, device, people }
    }

    /// Reads so many faces of a scene, those with the lowest numbers; of the others is known only where they are.
    pub fn with_most_faces(self, most_faces: usize) -> Self {
        Self { most_faces, ..self }
    }

    /// The fingerprint of the weights that it reads with.
    pub fn fingerprint(&self) -> &str {
        &self.calibration.fingerprint
    }

    /// What the faces of a scene express.
    ///
    /// # Errors
    /// The network fails, or its weights are no numbers.
    pub fn classify(&mut self, scene: Scene) -> Result<Reading> {
        let Scene { frame, faces: seen } = scene;
        let side = self.net.input().width;
        let crops = seen
            .iter()
            .take(self.most_faces)
            .map(|face| crop(&frame.image, Some(&face.mesh), side))
            .collect::<Result<Vec<_>>>()?;
        let logits = self.net.logits(&crops, &self.device)?;
        if logits.iter().flatten().any(|logit| !logit.is_finite()) {
            return Err(Error::new("what the model says of a face is no number")
                .advice("its weights are damaged: train it again, or choose another with --model"));
        }
        let mut faces = Vec::with_capacity(logits.len());
        let logits = logits.into_iter().map(Some).chain(std::iter::repeat(None));
        let seen = seen.into_iter().zip(logits).map(|(face, logits)| (face.track, (face, logits)));
        let Self { calibration, smoothing, people, .. } = self;
        people.meet(&frame, seen, |(face, logits), before| {
            let bounds = face.bounds;
            let smoothed = logits.map(|logits| {
                let calibrated = calibration.apply(logits);
                let smoothed = smoothed(before, calibrated, frame.time, *smoothing);
                faces.push(ReadFace { face, logits, calibrated, smoothed });
                smoothed
            });
            Known { bounds, smoothed }
        });
        let whereabouts = people.iter().map(|(_, person)| person.known.bounds).collect();
        Ok(Reading { frame, faces, whereabouts })
    }
}

/// An exponential mean over time: what a person shows `now`, after what is known of them from before.
fn smoothed(
    before: Option<Person<Known>>,
    now: Distribution,
    time: Duration,
    constant: Duration,
) -> Distribution {
    let last = before.and_then(|person| Some((person.seen, person.known.smoothed?)));
    match last {
        Some((seen, last)) if !constant.is_zero() => {
            let passed = time.saturating_sub(seen).as_secs_f32();
            last.towards(now, 1.0 - (-passed / constant.as_secs_f32()).exp())
        }
        _ => now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::Mesh;
    use crate::frame::Image;
    use crate::geometry::{Point, Pose};

    const SAD: Distribution = Distribution([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    const HAPPY: Distribution = Distribution([0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);

    fn sad() -> Option<Person<Known>> {
        let known = Known { bounds: Rect::default(), smoothed: Some(SAD) };
        Some(Person { name: None, seen: Duration::ZERO, known })
    }

    fn after_one_second(frames_per_second: u32) -> f32 {
        let frame = Duration::from_secs(1) / frames_per_second;
        let mut person = sad();
        for n in 1..=frames_per_second {
            let now = smoothed(person, HAPPY, frame * n, Duration::from_millis(500));
            let known = Known { bounds: Rect::default(), smoothed: Some(now) };
            person = Some(Person { name: None, seen: frame * n, known });
        }
        person.unwrap().known.smoothed.unwrap().of(Expression::Happiness)
    }

    #[test]
    fn smoothing_does_not_depend_on_the_frame_rate() {
        let expected = 1.0 - (-2f32).exp();
        for rate in [1, 5, 30, 120] {
            assert!((after_one_second(rate) - expected).abs() < 1e-3, "{rate}");
        }
    }

    #[test]
    fn newcomers_are_not_smoothed_and_zero_is_off() {
        let soon = Duration::from_millis(1);
        assert_eq!(smoothed(None, HAPPY, soon, Duration::from_secs(1)), HAPPY);
        assert_eq!(smoothed(sad(), HAPPY, soon, Duration::ZERO), HAPPY);
    }

    fn scene(source: &str, ms: u64, faces: u64) -> Scene {
        let points = (0..468).map(|n| Point::new((n % 22) as f32 * 4.0 + 20.0, (n / 22) as f32 * 4.0 + 20.0));
        let mesh = Mesh { points: points.collect(), depths: vec![0.0; 468], score: 1.0 };
        let bounds = Rect::new(20.0, 20.0, 84.0, 84.0);
        let face = |track| Face { track, bounds, mesh: mesh.clone(), pose: Pose::default() };
        // Not the same in every frame, so that smoothing has something to do.
        let image = Image::filled(128, 128, [(ms % 251) as u8; 3]);
        let frame = Frame { image, source: source.into(), index: 0, time: Duration::from_millis(ms) };
        Scene { frame, faces: (1..=faces).map(face).collect() }
    }

    fn classifier(smoothing: Duration) -> Classifier {
        Classifier::open(None, None, smoothing, &Device::Cpu).unwrap()
    }

    #[test]
    fn nobody_is_smoothed_with_what_somebody_else_showed() {
        let mut classifier = classifier(Duration::from_secs(1));
        let mut is_smoothed = |scene| {
            let face = classifier.classify(scene).unwrap().faces.remove(0);
            face.smoothed != face.calibrated
        };
        assert!(!is_smoothed(scene("a", 500, 1)) && is_smoothed(scene("a", 600, 1)));
        assert!(!is_smoothed(scene("b", 700, 1)), "another source");
        assert!(!is_smoothed(scene("b", 100, 1)), "an earlier time");
    }

    #[test]
    fn whoever_is_not_read_or_was_there_a_moment_ago_has_a_place() {
        let mut classifier = classifier(Duration::ZERO).with_most_faces(2);
        let mut places = |ms, faces| {
            let reading = classifier.classify(scene("a", ms, faces)).unwrap();
            (reading.faces.len(), reading.whereabouts.len())
        };
        assert_eq!((places(0, 3), places(1500, 0), places(1600, 0)), ((2, 3), (0, 3), (0, 0)));
    }

    #[test]
    fn weights_that_are_no_numbers_are_an_error_and_not_neutral() {
        let model = net::open(net::DEFAULT, &Device::Cpu).unwrap();
        let tensors = model.names().into_iter().map(|name| {
            let tensor = model.tensor(name).unwrap();
            let broken = if name == "head.bias" { (tensor * f64::NAN).unwrap() } else { tensor.clone() };
            (name.to_owned(), broken)
        });
        let broken = net::Model::new(model.card.clone(), tensors.collect());
        let net = LaNet::from_model(&broken).unwrap();
        let none = Calibration::none(&model.card.fingerprint);
        let mut classifier = Classifier::new(net, none, Duration::ZERO, &Device::Cpu);
        let line = classifier.classify(scene("a", 0, 1)).unwrap_err().line();
        assert!(line.contains("no number") && line.contains("--model"), "{line}");
    }
}
