//! The main job: faces and expressions from a camera, a video or pictures, to a window, a file, or data.

mod outputs;
mod report;
mod screen;

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use lanet_live::camera::Camera;
use lanet_live::device::Choice;
use lanet_live::error::{Error, Result};
use lanet_live::face::{self, FaceFinder};
use lanet_live::flow::{self, Delivery, Stream};
use lanet_live::frame::Frame;
use lanet_live::images::{self, Images, Input};
use lanet_live::overlay::Style;
use lanet_live::reader::{Reader, Reading};
use lanet_live::video;
use lanet_live::warning::Warnings;

use super::bar::Bar;
use super::{Outcome, Stop, Talk, tell};
use outputs::Outputs;
use report::Report;
use screen::Screen;

/// As many faces as `--max-faces` allows.
const MOST_FACES: u64 = 256;

/// What goes in, what comes out, and how.
#[derive(Debug, Default, Args)]
pub struct Options {
    /// Watch a camera: its number, its path (/dev/video0) or a part of its name
    #[arg(long, value_name = "CAMERA", conflicts_with = "input")]
    camera: Option<String>,
    /// Read a video, a picture, a folder of pictures, a pattern such as 'photos/*.jpg', or an RTSP or HTTP address
    #[arg(long, value_name = "INPUT")]
    input: Option<String>,
    /// Write what is seen with faces and expressions drawn on it: a video, or a folder for pictures
    #[arg(long, value_name = "PATH")]
    output: Option<PathBuf>,
    /// Write the readings: a .jsonl or .csv file, or - for JSON lines on standard output
    #[arg(long, value_name = "PATH")]
    results: Option<String>,
    /// Draw the expressions over time into a picture
    #[arg(long, value_name = "PATH.png")]
    timeline: Option<PathBuf>,
    /// Stop after this many frames
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    frames: Option<u64>,
    /// Begin at this time of the video
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    start: Option<f64>,
    /// End at this time of the video
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    end: Option<f64>,
    /// The expression model: a name (see 'lanet-live models') or a folder
    #[arg(long, value_name = "NAME|DIR")]
    model: Option<String>,
    /// Compute on: auto, cpu, cuda:N or metal:N
    #[arg(long, value_name = "DEVICE")]
    device: Option<String>,
    /// Read at most this many faces; those that are followed come first, then the surest [default: 16]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=MOST_FACES))]
    max_faces: Option<u64>,
    /// Open no window
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    no_window: Option<bool>,
    /// Show the picture as in a mirror [default: only in the window of a camera]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    mirror: Option<bool>,
    /// Smooth the probabilities of each face with this time constant; 0 = off [default: 0 for files, 0.3 for cameras]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    smoothing: Option<f64>,
    /// Draw the points of the face mesh
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    landmarks: Option<bool>,
    /// Make faces unrecognisable in the window and the output
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    blur: Option<bool>,
    /// Replace files that exist
    #[arg(short = 'y', long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    overwrite: Option<bool>,
    /// Say at the end how long each step took, on standard error: text or json
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "text", value_name = "FORMAT")]
    stats: Option<StatsFormat>,
}

/// How `--stats` speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StatsFormat {
    Text,
    Json,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..1e9).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds, 0 or more, is needed".into()),
    }
}

impl Options {
    /// Whether they say what to watch.
    pub fn has_input(&self) -> bool {
        self.camera.is_some() || self.input.is_some()
    }
}

/// Where frames come from.
struct Source {
    frames: Box<dyn Iterator<Item = Result<Frame>> + Send>,
    delivery: Delivery,
    /// Whether the frames are independent pictures.
    pictures: bool,
    live: bool,
    /// How many frames there are, if that is known.
    count: Option<u64>,
    /// Frames a second, if that is known.
    rate: Option<f64>,
    /// The files that are read: pictures, or the video whose sound an output may keep.
    files: Vec<PathBuf>,
    warnings: Warnings,
}

/// Runs the main job.
pub fn run(options: &Options, talk: Talk, stop: &Stop) -> Result<Outcome> {
    video::quiet();
    let source = open(options, stop)?;
    let outputs = Outputs::create(options, &source)?;
    let nothing_else = outputs.is_empty() && options.timeline.is_none();
    let windowed = !options.no_window.unwrap_or(!source.live && !nothing_else);
    let mut screen = if windowed { Some(Screen::open(options, &source)?) } else { None };
    let (live, warnings) = (source.live, [source.warnings.clone(), outputs.warnings()]);
    let bar = Bar::new(
        Talk { no_progress: talk.no_progress || source.live, ..talk },
        source.count.map(|count| count as usize),
        "frames",
    );
    let readings = readings(options, source, stop)?;
    let mut report = Report::new(&readings, live);

    let ended = show(readings, options, stop, &mut screen, outputs, &mut report, &bar);
    drop(bar);
    for warning in warnings.iter().flat_map(Warnings::take) {
        talk.say(&format!("warning: {warning}"));
    }
    let written = ended?;
    if !live || talk.verbose {
        report.summary(&written).iter().for_each(|line| talk.say(line));
    }
    if let Some(format) = options.stats {
        tell(&report.stats(format));
    }
    Ok(if stop.asked() { Outcome::Interrupted } else { Outcome::Done })
}

/// Frames become scenes, scenes readings, each on a thread of its own.
fn readings(options: &Options, source: Source, stop: &Stop) -> Result<Stream<Reading>> {
    let device = options.device.as_deref().unwrap_or("auto").parse::<Choice>()?.open()?;
    // Pictures are independent of each other.
    let usual = if source.live { 0.3 } else { 0.0 };
    let smoothing = if source.pictures { 0.0 } else { options.smoothing.unwrap_or(usual) };
    let usual = face::Options::default();
    // Whoever hides faces wants all of them hidden, at once.
    let blur = options.blur.unwrap_or(false);
    let most = if blur { MOST_FACES } else { usual.max_faces as u64 };
    let finding = face::Options {
        max_faces: options.max_faces.unwrap_or(most) as usize,
        interval: if blur { 1 } else { usual.interval },
        still: source.pictures,
        ..usual
    };
    let mut finder = FaceFinder::new(finding, &device)?;
    let mut reader = Reader::open(options.model.as_deref(), Duration::from_secs_f64(smoothing), &device)?;

    let stop = stop.clone();
    let frames = source.frames.take_while(move |_| !stop.asked());
    Ok(flow::source("frame", source.delivery, frames)
        .stage("find", move |frame| finder.find(frame))
        .stage("read", move |scene| reader.read(scene)))
}

/// Takes the readings to the window and into the files, until they end or the user has seen enough.
/// What was written before a failure is finished all the same.
fn show(
    readings: Stream<Reading>,
    options: &Options,
    stop: &Stop,
    screen: &mut Option<Screen>,
    mut outputs: Outputs,
    report: &mut Report,
    bar: &Bar,
) -> Result<Vec<String>> {
    let mut failure = None;
    for reading in readings {
        let shown = reading.and_then(|reading| {
            report.note(&reading);
            bar.reach(report.frames() as usize);
            let wanted = report.time("write", || outputs.write(&reading))?;
            let watched = match screen {
                Some(screen) => report.time("show", || screen.show(reading, stop))?,
                None => true,
            };
            // Counted here, after a camera has dropped what nobody had time for.
            Ok(wanted && watched && options.frames.is_none_or(|most| report.frames() < most))
        });
        match shown {
            Ok(true) => {}
            Ok(false) => break,
            Err(error) => {
                failure = Some(error);
                break;
            }
        }
    }
    // Without a single frame there is nothing to keep.
    let mut written = Vec::new();
    if report.frames() > 0 {
        // Each file is finished whatever became of the others; the first failure is the one that is told.
        let mut note = |target: String, finished: Result<()>| match finished {
            Ok(()) => written.push(target),
            Err(error) => {
                failure.get_or_insert(error);
            }
        };
        outputs.finish(&mut note);
        if let Some(path) = &options.timeline {
            let picture = report.timeline().picture();
            let overwrite = options.overwrite.unwrap_or(false);
            note(path.display().to_string(), picture.and_then(|p| images::write(path, &p, overwrite)));
        }
    } else if failure.is_none() && !stop.asked() {
        failure =
            Some(Error::new("there was not one frame to read").advice("check --input, --start and --end"));
    }
    failure.map_or(Ok(written), Err)
}

fn open(options: &Options, stop: &Stop) -> Result<Source> {
    if let Some(camera) = &options.camera {
        for (given, name) in [(options.start.is_some(), "--start"), (options.end.is_some(), "--end")] {
            if given {
                return Err(Error::usage(format!("{name} does not go with a camera")).advice("use --frames"));
            }
        }
        let camera = Camera::open(camera)?;
        return Ok(Source {
            rate: Some(camera.info().rate),
            frames: Box::new(camera),
            delivery: Delivery::Latest,
            pictures: false,
            live: true,
            count: options.frames,
            files: Vec::new(),
            warnings: Warnings::default(),
        });
    }
    let Some(input) = &options.input else {
        return Err(Error::usage("there is nothing to watch").advice("give --camera 0 or --input FILE"));
    };
    let (start, end) = (options.start.unwrap_or(0.0), options.end);
    if end.is_some_and(|end| end <= start) {
        return Err(Error::usage("--end must be later than --start"));
    }
    let video = |video: video::Reader, file: Option<PathBuf>| {
        let stop = stop.clone();
        let video = video
            .between(Duration::from_secs_f64(start), end.map(Duration::from_secs_f64))
            .until(move || stop.asked());
        let info = video.info().clone();
        let live = file.is_none() && info.frames.is_none();
        Source {
            warnings: video.warnings(),
            frames: Box::new(video),
            delivery: if live { Delivery::Latest } else { Delivery::Every },
            pictures: false,
            live,
            count: frames_between(options, &info),
            rate: Some(info.rate),
            files: file.into_iter().collect(),
        }
    };
    Ok(match images::expand(input)? {
        Input::Video(path) => video(video::Reader::open(&path)?, Some(path)),
        Input::Address(address) => video(video::Reader::connect(&address)?, None),
        Input::Images(paths) => {
            let count = paths.len() as u64;
            let images = Images::new(paths.clone());
            Source {
                warnings: images.warnings(),
                frames: Box::new(images),
                delivery: Delivery::Every,
                pictures: true,
                live: false,
                count: Some(options.frames.map_or(count, |n| n.min(count))),
                rate: None,
                files: paths,
            }
        }
    })
}

/// About how many frames of a video will be read.
fn frames_between(options: &Options, info: &video::Info) -> Option<u64> {
    let whole = info.frames?;
    let at = |seconds: f64| ((seconds * info.rate).round() as u64).min(whole);
    let between = options.end.map_or(whole, at).saturating_sub(options.start.map_or(0, at));
    Some(options.frames.map_or(between, |n| n.min(between)))
}

/// How pictures are drawn; `mirror` where the user does not say.
fn style(options: &Options, mirror: bool) -> Style {
    Style {
        landmarks: options.landmarks.unwrap_or(false),
        blur: options.blur.unwrap_or(false),
        mirror: options.mirror.unwrap_or(mirror),
    }
}
