//! `lanet-live record`: a clip of somebody who shows an expression, to learn from.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use candle_core::Device;
use clap::Args;
use lanet_live::clips::{About, Entry, Extraction, Recording, Which};
use lanet_live::error::{Error, Result};
use lanet_live::expression::Expression;
use lanet_live::flow::{Delivery, source};
use lanet_live::frame::Frame;
use lanet_live::overlay::{Hud, Mark, Overlay, Style};
use lanet_live::reading::Reading;
use lanet_live::receivers::{FanOut, Next, Queue};
use lanet_live::video;
use lanet_live::window::{Key, Window};

use super::watch::options::{seconds, size};
use super::watch::source::{Source, open};
use super::{Outcome, Stop, Talk, tell, watch};

/// How soon a key or an interrupt is seen.
const GLANCE: Duration = Duration::from_millis(15);

/// What is recorded, from where and where to.
#[derive(Debug, Args)]
pub struct Options {
    /// What is shown: neutral, happiness, surprise, sadness, anger, disgust, fear or contempt
    #[arg(long, value_name = "NAME", value_parser = super::parsed::<Expression>)]
    label: Expression,
    /// Who shows it
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
    /// Record from a camera: its number, its path (/dev/video0) or a part of its name
    #[arg(long, value_name = "CAMERA", conflicts_with = "input", required_unless_present = "input")]
    camera: Option<String>,
    /// Record from a video or an RTSP or HTTP address
    #[arg(long, value_name = "INPUT")]
    input: Option<OsString>,
    /// So long [default: until the window is closed, Ctrl-C, or the input ends]
    #[arg(long, value_name = "SECONDS", value_parser = some_seconds)]
    seconds: Option<f64>,
    /// Begin at this time of a video
    #[arg(long, value_name = "SECONDS", value_parser = seconds, conflicts_with = "camera")]
    start: Option<f64>,
    /// The folder of all recordings; the clip comes into PERSON/LABEL in it
    #[arg(long, value_name = "DIR", default_value = "recordings")]
    into: PathBuf,
    /// Ask the camera for pictures of this size; it gives the nearest that it has
    #[arg(long, value_name = "WxH", value_parser = size)]
    size: Option<(u32, u32)>,
    /// Ask the camera for this many frames a second [default: 30]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    fps: Option<u32>,
    /// Open no window; files open none
    #[arg(long)]
    no_window: bool,
}

/// Records.
pub fn run(options: &Options, talk: Talk, stop: &Stop) -> Result<Outcome> {
    video::quiet();
    let from = match (&options.camera, &options.input) {
        (Some(camera), _) => format!("camera {camera}"),
        (None, Some(input)) => Path::new(input).display().to_string(),
        (None, None) => String::new(),
    };
    let label = Some(options.label);
    let about = About { label, person: options.person.clone(), source: from.clone(), ..About::default() };
    let into = about.folder(&options.into)?;
    let watched = watch::Options {
        camera: options.camera.clone(),
        input: options.input.iter().cloned().collect(),
        size: options.size,
        fps: options.fps,
        start: options.start,
        end: options.seconds.filter(|_| options.camera.is_none()).map(|s| options.start.unwrap_or(0.0) + s),
        // A camera that is pulled ends the clip.
        reconnect: Some(0.0),
        ..watch::Options::default()
    };
    let Some(Source { frames, delivery, pictures, live, begin, rate, warnings, .. }) = open(&watched, stop)?
    else {
        return Ok(Outcome::Interrupted);
    };
    if pictures {
        return Err(Error::usage("pictures cannot be recorded as a clip")
            .advice("put them into a folder of their expression beside the clips"));
    }
    let on = Arc::new(AtomicBool::new(true));
    let recording = Recording::new(on.clone(), options.into.clone(), about, rate.unwrap_or(25.0))?
        .lasting(options.seconds.map(Duration::from_secs_f64));
    let mut fan = FanOut::new(delivery);
    let window = if options.no_window || !live {
        None
    } else {
        Some((Window::open("lanet-live record")?, fan.tap(Delivery::Latest)))
    };
    fan.add("recording", Delivery::Every, recording);
    // It is said even to those who want to hear nothing.
    tell(&format!("recording {} from {from} into {}", options.label, into.display()));
    let bare = |frame: Frame| Reading { frame, faces: Vec::new(), whereabouts: Vec::new() };
    let (interrupted, wanted) = (stop.clone(), on.clone());
    let readings = source("frame", delivery, frames.map(move |frame| frame.map(bare)))
        .until(move || interrupted.asked() || !wanted.load(Ordering::Relaxed));
    let early = move |reading: &Result<Reading>| reading.as_ref().is_ok_and(|r| r.frame.time < begin);
    let running = fan.start(readings.skip_while(early))?;
    let mut shown = Ok(());
    if let Some((window, queue)) = window {
        shown = show(window, &queue, options.label, stop);
        on.store(false, Ordering::Relaxed);
    }
    let ended = running.finish();

    for warning in warnings.take() {
        talk.say(&format!("warning: {warning}"));
    }
    let (mut failure, mut wrote) = (ended.outcome.and(shown).err(), false);
    for receiver in ended.receivers {
        match receiver.outcome {
            Ok(Some(clip)) => {
                wrote = true;
                talk.say(&format!("wrote {}", clip.display()));
                look_at(&clip, options.label, talk);
            }
            Ok(None) => {}
            Err(error) => failure = Some(error),
        }
        if receiver.missed > 0 {
            talk.say(&format!(
                "warning: {} frames are missing; they could not be written in time",
                receiver.missed
            ));
        }
    }
    match failure {
        Some(failure) => Err(failure),
        None if stop.asked() => Ok(Outcome::Interrupted),
        None if !wrote => {
            Err(Error::new(format!("no clip was recorded: there was not one frame from {from}"))
                .advice("choose an earlier --start, or look for what the camera sends"))
        }
        None => Ok(Outcome::Done),
    }
}

/// A number of seconds in which something can be recorded.
fn some_seconds(text: &str) -> std::result::Result<f64, String> {
    seconds(text).ok().filter(|&long| long > 0.0).ok_or_else(|| "a number of seconds over 0 is needed".into())
}

/// Shows what is recorded, with a mark that says so, until it ends or the user closes the window.
fn show(mut window: Window, readings: &Queue, label: Expression, stop: &Stop) -> Result<()> {
    let mut overlay = Overlay::default();
    let style = Style { mirror: true, ..Style::default() };
    let hud = Hud { marks: &[Mark::Recording], text: label.name(), help: &[] };
    while !stop.asked() {
        match readings.next_within(GLANCE) {
            Next::Reading(reading) => window.show(overlay.draw(&reading, style, &hud))?,
            Next::Nothing => {}
            Next::End => break,
        }
        if window.key(Duration::ZERO)? == Some(Key::Quit) {
            break;
        }
    }
    Ok(())
}

/// Says at once if nothing can be learnt from a clip.
fn look_at(clip: &Path, label: Expression, talk: Talk) {
    let looked = Extraction::new(vec![Entry::new(clip.to_owned(), label)], None, &Device::Cpu);
    match looked.map(|extraction| extraction.of_face(Which::Only)).and_then(Extraction::finish) {
        Ok(looked) => {
            for (_, why) in looked.unreadable {
                talk.say(&format!("warning: nothing can be learnt from it: {why}"));
            }
        }
        Err(error) => talk.say(&error.line()),
    }
}
