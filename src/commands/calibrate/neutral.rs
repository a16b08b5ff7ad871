//! `lanet-live calibrate --person NAME --neutral`: what a model says of somebody's face at rest, from a camera, a video or
//! pictures.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use candle_core::Device;
use clap::Args;
use lanet_live::error::{Error, Result};
use lanet_live::expression::Distribution;
use lanet_live::face::{self, FaceFinder, Which};
use lanet_live::flow;
use lanet_live::neutral::{self, FEWEST, Neutral, Sitting};
use lanet_live::profile::{self, FOLDER};
use lanet_live::reader::Classifier;
use lanet_live::reading::{ReadFace, is_plain};
use lanet_live::video;

use crate::commands::bar::Bar;
use crate::commands::watch::source::{self, Source};
use crate::commands::{Outcome, Stop, Talk, parsed, watch};

/// So long a camera may show no face at rest before that is given up.
const PATIENCE: Duration = Duration::from_secs(60);
/// Tenths of a second.
const TENTH: f64 = 0.1;

/// Whose neutral is taken, and from what.
#[derive(Debug, Args)]
pub struct Options {
    /// Take the neutral of --person: five seconds of their face at rest, kept in calibration/NAME in place of an older one
    #[arg(
        long,
        requires = "person",
        conflicts_with_all = ["data", "split", "output", "scaling", "diagram", "seed", "cache"]
    )]
    neutral: bool,
    /// Whose
    #[arg(long, value_name = "NAME", requires = "neutral")]
    person: Option<String>,
    /// Look at a camera: its number, its path (/dev/video0) or a part of its name
    #[arg(long, value_name = "CAMERA", requires = "neutral", conflicts_with = "input")]
    camera: Option<String>,
    /// Look at a video, a picture, a folder or pattern of pictures
    #[arg(long, value_name = "INPUT", requires = "neutral")]
    input: Option<OsString>,
    /// Begin at this time of the video
    #[arg(long, value_name = "SECONDS", requires = "input", value_parser = watch::options::seconds)]
    start: Option<f64>,
    /// Which face is meant where there are several: largest, or its number from the left
    #[arg(long, value_name = "largest|N", requires = "neutral", value_parser = parsed::<Which>)]
    face: Option<Which>,
}

impl Options {
    /// Whose neutral is wanted, if one is.
    pub fn person(&self) -> Option<&str> {
        self.person.as_deref().filter(|_| self.neutral)
    }
}

/// Takes a neutral.
pub fn run(
    options: &Options,
    name: &str,
    model: Option<&str>,
    device: &Device,
    talk: Talk,
    stop: &Stop,
) -> Result<Outcome> {
    video::quiet();
    let folder = profile::folder_of(Path::new(FOLDER), name)?;
    let watched = watch::Options {
        camera: options.camera.clone(),
        input: options.input.iter().cloned().collect(),
        start: options.start,
        ..watch::Options::default()
    };
    let Some(source) = source::open(&watched, stop)? else { return Ok(Outcome::Interrupted) };
    let Source { frames, delivery, pictures, live, begin, warnings, .. } = source;
    let finding = face::Options { still: pictures, ..face::Options::default() };
    let mut finder = FaceFinder::new(finding, device)?;
    let own = Some(profile::model_in(&folder)).filter(|model| model.exists());
    let model = model.or(own.as_deref().and_then(Path::to_str));
    let mut classifier = Classifier::open(model, None, Duration::ZERO, device)?;
    let calibration = classifier.calibration().clone();

    if live {
        talk.say(&format!("{name}: look into the camera, your face at rest"));
    }
    let tenths = |time: Duration| (time.as_secs_f64() / TENTH) as usize;
    let bar = Bar::new(talk, (!pictures).then_some(tenths(neutral::SITTING)), "tenths of a second");
    let interrupted = stop.clone();
    let readings = flow::source("frame", delivery, frames)
        .stage("find", move |frame| finder.find(frame))
        .stage("read", move |scene| classifier.classify(scene))
        .until(move || interrupted.asked());
    let which = options.face.unwrap_or_default();
    let (mut sitting, mut looked_at, mut crowded, mut turned) = (Sitting::default(), 0, 0, 0);
    for reading in readings {
        let reading = reading?;
        if reading.frame.time < begin {
            continue;
        }
        looked_at += 1;
        crowded += usize::from(reading.faces.len() > 1);
        match which.choose(&reading.faces, ReadFace::bounds) {
            Some(face) if is_plain(&face.face) => sitting.note(reading.frame.time, face.logits),
            face => turned += usize::from(face.is_some()),
        }
        bar.reach(tenths(neutral::SITTING - sitting.left()));
        if sitting.left().is_zero() || live && reading.frame.time > PATIENCE {
            break;
        }
    }
    drop(bar);
    for warning in warnings.take() {
        talk.say(&format!("warning: {warning}"));
    }
    if stop.asked() {
        return Ok(Outcome::Interrupted);
    }
    // One passing by does not matter.
    if which == Which::Only && crowded * 10 > looked_at {
        return Err(Error::new(format!("{crowded} of the {looked_at} frames show more than one face"))
            .advice("say which is meant with --face largest, or --face 1 for the leftmost"));
    }
    let fewest = if pictures { 1 } else { FEWEST };
    let Some(logits) = sitting.rest(fewest) else {
        let (seen, turned) = (sitting.frames(), if turned > 0 { ", turned to the camera" } else { "" });
        return Err(Error::new(match seen {
            0 => format!("none of the {looked_at} frames shows the face{turned}"),
            _ => format!("only {seen} of the {looked_at} frames show the face{turned}; {fewest} are needed"),
        })
        .advice("take it again with more light and the whole face in the picture"));
    };
    let fingerprint = calibration.fingerprint.clone();
    let neutral = Neutral { fingerprint, frames: sitting.frames(), logits };
    let words = |told: Distribution| {
        let (expression, confidence) = told.top();
        format!("{expression} {:.0} %", 100.0 * confidence)
    };
    let (usual, own) = (
        words(calibration.apply(logits)),
        words(neutral::told(&calibration, logits, Some(neutral.excess(&calibration)))),
    );
    let file = profile::keep_neutral(Path::new(FOLDER), name, &neutral)?;
    talk.say(&format!(
        "{}: from {} frames; {name}'s face at rest was told as {usual}, and is told as {own} with --person {name}",
        file.display(),
        sitting.frames()
    ));
    Ok(Outcome::Done)
}
