//! From faces to expressions: calibrated, and smoothed over time for each person.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use candle_core::Device;

use crate::calibration::Calibration;
use crate::error::{Error, Kind, Result};
use crate::expression::Distribution;
use crate::face::align::crop;
use crate::face::{Scene, Which};
use crate::geometry::Rect;
use crate::net::{self, Card, LaNet};
use crate::neutral::{self, Excess, Neutral, Own};
use crate::people::People;
use crate::prior::Prior;
use crate::reading::{Baseline, ReadFace, Reading, is_plain};

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
    /// Who is expected, and their excess.
    person: Option<(Arc<str>, Option<Excess>)>,
    /// Set when somebody asks that neutrals be taken now.
    asked: Arc<AtomicBool>,
    watching: bool,
}

/// What is known of a person.
#[derive(Debug, Clone, Default)]
struct Known {
    bounds: Rect,
    /// None of one whose expression was not read.
    smoothed: Option<Distribution>,
    own: Own,
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
        let (person, asked, watching) = (None, Arc::default(), false);
        Self { net, calibration, smoothing, most_faces: usize::MAX, device, people, person, asked, watching }
    }

    /// Expects somebody of this name, and reads them against their own neutral: the largest face is theirs, and stays so
    /// while it is followed.
    ///
    /// # Errors
    /// A neutral that was taken with another model.
    pub fn with_person(self, name: &str, neutral: Option<&Neutral>) -> Result<Self> {
        if neutral.is_some_and(|neutral| neutral.fingerprint != self.calibration.fingerprint) {
            return Err(Error::new(format!("the neutral of '{name}' was taken with another model"))
                .of_kind(Kind::Model)
                .advice("take it again with calibrate --neutral, or choose its model with --model"));
        }
        let excess = neutral.map(|neutral| neutral.excess(&self.calibration));
        Ok(Self { person: Some((name.into(), excess)), ..self })
    }

    /// Looks at faces for their neutral for a while whenever `asked` is set: at all who are there then or, where somebody is
    /// expected, at that one. It is forgotten with the number of the face.
    pub fn taking_neutrals(self, asked: Arc<AtomicBool>) -> Self {
        Self { asked, ..self }
    }

    /// Estimates the neutral of everybody while they are followed, and reads them against it once it can be trusted.
    pub fn estimating_neutrals(self, watching: bool) -> Self {
        Self { watching, ..self }
    }

    /// How its probabilities come from logits, before anybody's neutral is taken off.
    pub fn calibration(&self) -> &Calibration {
        &self.calibration
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
        let Self { calibration, smoothing, people, person, asked, watching, .. } = self;
        people.turn_to(&frame);
        let named = person.as_ref().and_then(|(name, _)| {
            let largest = Which::Largest.choose(&seen[..logits.len()], |face| face.bounds);
            people.called(name).or(largest.map(|face| face.track))
        });
        let asked = asked.swap(false, Ordering::Relaxed);
        let logits = logits.into_iter().map(Some).chain(std::iter::repeat(None));
        let seen = seen.into_iter().zip(logits).map(|(face, logits)| (face.track, (face, logits)));
        people.meet(&frame, seen, |(face, logits), before| {
            let (bounds, is_named) = (face.bounds, named == Some(face.track));
            let last = before.as_ref().and_then(|person| Some((person.seen, person.known.smoothed?)));
            let mut own = before.map_or_else(|| Own::new(*watching), |person| person.known.own);
            let Some(logits) = logits else { return Known { bounds, smoothed: None, own } };
            if asked && (named.is_none() || is_named) {
                own.sit();
            }
            if is_plain(&face) {
                own.note(frame.time, logits, calibration);
            }
            let excess = own.excess(person.as_ref().filter(|_| is_named).and_then(|(_, excess)| *excess));
            let calibrated = neutral::told(calibration, logits, excess);
            let smoothed = smoothed(last, calibrated, frame.time, *smoothing);
            let baseline = Baseline { own: excess.is_some(), sitting: own.sitting() };
            faces.push(ReadFace { face, logits, calibrated, smoothed, baseline });
            Known { bounds, smoothed: Some(smoothed), own }
        });
        if let (Some((name, _)), Some(track)) = (person, named) {
            people.call(track, name);
        }
        let whereabouts = people.iter().map(|(_, person)| person.known.bounds).collect();
        Ok(Reading { frame, faces, whereabouts })
    }
}

/// An exponential mean over time: what a person shows `now`, after what they showed when last seen.
fn smoothed(
    last: Option<(Duration, Distribution)>,
    now: Distribution,
    time: Duration,
    constant: Duration,
) -> Distribution {
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
    use crate::expression::Expression;
    use crate::face::Face;
    use crate::face::Mesh;
    use crate::frame::Frame;
    use crate::frame::Image;
    use crate::geometry::{Point, Pose};

    const SAD: Distribution = Distribution([0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]);
    const HAPPY: Distribution = Distribution([0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);

    fn sad() -> Option<(Duration, Distribution)> {
        Some((Duration::ZERO, SAD))
    }

    fn after_one_second(frames_per_second: u32) -> f32 {
        let frame = Duration::from_secs(1) / frames_per_second;
        let mut person = sad();
        for n in 1..=frames_per_second {
            person = Some((frame * n, smoothed(person, HAPPY, frame * n, Duration::from_millis(500))));
        }
        person.unwrap().1.of(Expression::Happiness)
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

    /// A classifier whose net takes every face of `scene` for another expression than neutral, and what its neutral is then.
    fn rest() -> (Calibration, Neutral) {
        let face = classifier(Duration::ZERO).classify(scene("a", 0, 1)).unwrap().faces.remove(0);
        let name = net::open(net::DEFAULT, &Device::Cpu).unwrap().card.fingerprint;
        let mut logits = face.logits;
        // As if the net were sure that it is sad.
        logits[Expression::Sadness as usize] = logits[Expression::Neutral as usize] + 4.0;
        (Calibration::none(&name), Neutral { fingerprint: name, frames: 50, logits })
    }

    #[test]
    fn the_largest_face_is_the_persons_and_stays_theirs() {
        let (_, neutral) = rest();
        let mut named = classifier(Duration::ZERO).with_person("anna", Some(&neutral)).unwrap();
        let mut own = |ms, wide: &[f32]| -> Vec<bool> {
            let mut scene = scene("a", ms, wide.len() as u64);
            for (face, &w) in scene.faces.iter_mut().zip(wide) {
                face.bounds.w = w;
            }
            let reading = named.classify(scene).unwrap();
            reading.faces.iter().map(|face| face.baseline.own).collect()
        };
        assert_eq!(own(0, &[50.0, 84.0]), [false, true]);
        assert_eq!(own(100, &[90.0, 84.0]), [false, true]);
        assert_eq!(own(200, &[90.0]), [false], "gone for a moment");
        assert_eq!(own(1800, &[90.0]), [true], "it is gone, and so are the others");
        let other = Neutral { fingerprint: "f".into(), ..neutral };
        let line = classifier(Duration::ZERO).with_person("anna", Some(&other)).err().unwrap().line();
        assert!(line.contains("'anna' was taken with another model"), "{line}");
    }

    #[test]
    fn a_neutral_is_taken_off_what_is_told_and_not_off_what_the_net_says() {
        let (_, neutral) = rest();
        let read = |mut by: Classifier| by.classify(scene("a", 0, 1)).unwrap().faces.remove(0);
        let usual = read(classifier(Duration::ZERO));
        let own = read(classifier(Duration::ZERO).with_person("anna", Some(&neutral)).unwrap());
        assert_eq!(own.logits, usual.logits);
        assert!(own.calibrated.of(Expression::Sadness) < usual.calibrated.of(Expression::Sadness));
        assert!(own.row(false).baseline && !usual.row(false).baseline);
    }

    #[test]
    fn neutrals_are_taken_of_all_who_are_there_when_it_is_asked_for() {
        let asked = Arc::new(AtomicBool::new(true));
        let mut taking = classifier(Duration::ZERO).taking_neutrals(asked.clone());
        let mut baselines = |ms, faces| -> Vec<Baseline> {
            let reading = taking.classify(scene("a", ms, faces)).unwrap();
            reading.faces.iter().map(|face| face.baseline).collect()
        };
        let sitting = |ms| Baseline { own: false, sitting: Some(Duration::from_millis(ms)) };
        assert_eq!(baselines(0, 1), [sitting(5000)]);
        assert!(!asked.load(Ordering::Relaxed));
        for step in 1..10 {
            assert_eq!(baselines(step * 500, 2)[0], sitting(5000 - step * 500));
        }
        let own = Baseline { own: true, sitting: None };
        assert_eq!(baselines(5000, 2), [own, Baseline::default()], "the second came later");
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
