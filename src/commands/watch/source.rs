//! Where frames come from: a camera, a video, an address, or pictures.

use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use crossbeam::channel::{RecvTimeoutError, bounded};
use lanet_live::camera::{Camera, Wanted};
use lanet_live::error::{Context, Error, Result};
use lanet_live::flow::Delivery;
use lanet_live::frame::Frame;
use lanet_live::images::{self, Images, Input};
use lanet_live::signal::Signal;
use lanet_live::video;
use lanet_live::warning::Warnings;

use super::Stop;
use super::options::Options;

/// So much of a video before `--start` is looked at, so that faces are followed by then as in a run from its beginning.
const LEAD_IN: Duration = Duration::from_secs(1);

/// Where frames come from.
pub struct Source {
    pub frames: Box<dyn Iterator<Item = Result<Frame>> + Send>,
    pub delivery: Delivery,
    /// Whether the frames are independent pictures.
    pub pictures: bool,
    pub live: bool,
    /// How many frames there are, if that is known.
    pub count: Option<u64>,
    /// Frames a second, if that is known.
    pub rate: Option<f64>,
    /// Readings of frames before this time are not wanted.
    pub begin: Duration,
    /// What a live source says besides.
    pub signal: Signal,
    /// The files that are read: pictures, or the video whose sound an output may keep.
    pub files: Vec<PathBuf>,
    pub warnings: Warnings,
}

/// Opens what is to be watched; `None` if the user asks to stop meanwhile: a camera or a network may be silent for long.
pub fn open(options: &Options, stop: &Stop) -> Result<Option<Source>> {
    let (opened, answer) = bounded(1);
    let (asked, until) = (options.clone(), stop.clone());
    thread::Builder::new()
        .name("open".into())
        .spawn(move || opened.send(open_patiently(&asked, &until)))
        .context("the system gives no thread")?;
    loop {
        match answer.recv_timeout(Duration::from_millis(20)) {
            Ok(source) => return source.map(Some),
            Err(RecvTimeoutError::Timeout) if stop.asked() => return Ok(None),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::new("opening the input broke; this is a fault of the program"));
            }
        }
    }
}

fn open_patiently(options: &Options, stop: &Stop) -> Result<Source> {
    let reconnect = options.reconnect.map_or(Wanted::default().reconnect, Duration::from_secs_f64);
    if let Some(camera) = &options.camera {
        for (given, name) in [(options.start.is_some(), "--start"), (options.end.is_some(), "--end")] {
            if given {
                return Err(Error::usage(format!("{name} does not go with a camera")).advice("use --frames"));
            }
        }
        let usual = Wanted::default();
        let rate = options.fps.unwrap_or(usual.rate);
        let capture = options.capture.map_or(usual.capture, Into::into);
        let wanted = Wanted { size: options.size, rate, reconnect, capture };
        let until = stop.clone();
        let camera = Camera::open_as(camera, wanted)?.until(move || until.asked());
        return Ok(Source {
            warnings: camera.warnings(),
            rate: Some(camera.info().rate),
            signal: camera.signal(),
            frames: Box::new(camera),
            delivery: Delivery::Latest,
            pictures: false,
            live: true,
            count: options.frames,
            begin: Duration::ZERO,
            files: Vec::new(),
        });
    }
    let Some(input) = options.input.first() else {
        return Err(Error::usage("there is nothing to watch").advice("give --camera 0 or --input FILE"));
    };
    let (start, end) = (options.start.unwrap_or(0.0), options.end);
    let begin = Duration::from_secs_f64(start);
    if end.is_some_and(|end| end <= start) {
        return Err(Error::usage("--end must be later than --start"));
    }
    let video = |video: video::Reader, file: Option<PathBuf>| {
        let stop = stop.clone();
        let video = video
            .between(begin.saturating_sub(LEAD_IN), end.map(Duration::from_secs_f64))
            .until(move || stop.asked());
        let info = video.info().clone();
        // The lead-in may have frames all the same.
        if let Some(last) = info.end.filter(|end| *end <= begin) {
            return Err(Error::new(format!(
                "'{}' ends at {:.2} s, before the start at {start:.2} s",
                Path::new(input).display(),
                last.as_secs_f64()
            ))
            .advice("choose an earlier start"));
        }
        let live = file.is_none() && info.frames.is_none();
        Ok(Source {
            warnings: video.warnings(),
            signal: video.signal(),
            frames: Box::new(video),
            delivery: if live { Delivery::Latest } else { Delivery::Every },
            pictures: false,
            live,
            count: frames_between(options, &info),
            begin,
            rate: Some(info.rate),
            files: file.into_iter().collect(),
        })
    };
    match images::expand(input)? {
        Input::Video(path) => video(video::Reader::open(&path)?, Some(path)),
        Input::Address(address) => video(video::Reader::connect(&address)?.reconnecting(reconnect), None),
        Input::Images(paths) => {
            let count = paths.len() as u64;
            let images = Images::new(paths.clone());
            Ok(Source {
                warnings: images.warnings(),
                signal: Signal::default(),
                frames: Box::new(images),
                delivery: Delivery::Every,
                pictures: true,
                live: false,
                count: Some(options.frames.map_or(count, |n| n.min(count))),
                rate: None,
                begin: Duration::ZERO,
                files: paths,
            })
        }
    }
}

/// About how many frames of a video will be read.
fn frames_between(options: &Options, info: &video::Info) -> Option<u64> {
    let whole = info.frames?;
    let at = |seconds: f64| ((seconds * info.rate).round() as u64).min(whole);
    let between = options.end.map_or(whole, at).saturating_sub(options.start.map_or(0, at));
    Some(options.frames.map_or(between, |n| n.min(between)))
}
