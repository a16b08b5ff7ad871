//! What the main job is asked for.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;
use lanet_live::analyser::MOST_FACES;
use lanet_live::camera;
use lanet_live::overlay::Style;
use lanet_live::prior::Prior;
use lanet_live::receivers::serve::Address;
use lanet_live::results::Format;

/// What goes in, what comes out, and how.
#[derive(Debug, Default, Clone, Args)]
pub struct Options {
    /// Watch a camera: its number, its path (/dev/video0) or a part of its name
    #[arg(long, value_name = "CAMERA", conflicts_with_all = ["input", "input_list"])]
    pub camera: Option<String>,
    /// Ask the camera for pictures of this size; it gives the nearest that it has
    #[arg(long, value_name = "WxH", value_parser = size)]
    pub size: Option<(u32, u32)>,
    /// Ask the camera for this many frames a second [default: 30]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub fps: Option<u32>,
    /// What finds the way to the camera: nokhwa, opencv, or the second where the first gets no pictures [default: auto]
    #[arg(long, value_name = "NAME")]
    pub capture: Option<Capture>,
    /// Wait so long for a camera or a live stream that is gone to come back; 0 = not at all [default: 10]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub reconnect: Option<f64>,
    /// Read a video, a picture, a folder of pictures, a pattern such as 'photos/*.jpg', or an RTSP or HTTP address; or
    /// several of them, one after another
    #[arg(long, value_name = "INPUT", num_args = 1..)]
    pub input: Vec<OsString>,
    /// Read the inputs that stand in a file, one a line; - is standard input
    #[arg(long, value_name = "FILE")]
    pub input_list: Option<PathBuf>,
    /// Write what is seen with faces and expressions drawn on it: a video, a folder for pictures, or on Linux a virtual
    /// camera (/dev/videoN) that other programs see
    #[arg(long, value_name = "PATH")]
    pub output: Option<PathBuf>,
    /// Write the readings: a .jsonl, .csv or .parquet file, - for JSON lines on standard output, or DIR/ for a file of each
    /// input
    #[arg(long, value_name = "PATH")]
    pub results: Option<PathBuf>,
    /// What is written into DIR/ [default: parquet]
    #[arg(long, value_name = "FORMAT", requires = "results")]
    pub results_format: Option<ResultsFormat>,
    /// Skip inputs whose files an earlier run to the same folders has written
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL",
        conflicts_with = "overwrite")]
    pub resume: Option<bool>,
    /// Add to the readings what is said of each frame alone, before it is smoothed
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub raw: Option<bool>,
    /// Draw the expressions over time into a picture
    #[arg(long, value_name = "PATH.png")]
    pub timeline: Option<PathBuf>,
    /// Serve a page with picture and readings, for the browser and for other programs [default ADDRESS: 127.0.0.1:8088]
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, default_missing_value = "127.0.0.1:8088",
        value_parser = crate::commands::parsed::<Address>)]
    pub serve: Option<Address>,
    /// What clients of the page must know; without it, one is made where others than this machine can ask
    #[arg(long, value_name = "TOKEN", requires = "serve", value_parser = token)]
    pub token: Option<String>,
    /// Stop after this many frames
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub frames: Option<u64>,
    /// Begin at this time of the video
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub start: Option<f64>,
    /// End at this time of the video
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub end: Option<f64>,
    /// The expression model: a name (see 'lanet-live models') or a folder
    #[arg(long, value_name = "NAME|DIR")]
    pub model: Option<String>,
    /// How frequent expressions are in front of the camera: natural (as in the data that the model learnt from), balanced,
    /// a number from 0 (balanced) to 1 (natural), or a file of lines like anger = 0.2 [default: as the model's card says]
    #[arg(long, value_name = "natural|balanced|X|FILE", value_parser = crate::commands::parsed::<Prior>)]
    pub prior: Option<Prior>,
    /// Who is seen: their model and their own neutral are used, from the folder 'calibration'; the largest face is theirs
    #[arg(long, value_name = "NAME")]
    pub person: Option<String>,
    /// Estimate the neutral of everybody while they are followed, and read them against it once it can be trusted
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub auto_neutral: Option<bool>,
    /// Compute on: auto, cpu, cuda:N or metal:N
    #[arg(long, value_name = "DEVICE")]
    pub device: Option<String>,
    /// Read at most this many faces; those that are followed come first, then the surest [default: 16]
    #[arg(long, value_name = "N", value_parser = faces)]
    pub max_faces: Option<usize>,
    /// Open no window
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub no_window: Option<bool>,
    /// Show the picture as in a mirror [default: only in the window of a camera]
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub mirror: Option<bool>,
    /// Smooth the probabilities of each face with this time constant; 0 = off [default: 0 for files, 0.3 for cameras]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub smoothing: Option<f64>,
    /// Draw of each face: box, bars, strip (its last 20 seconds), mesh, pose; separated by commas
    /// [default: box,bars,strip]
    #[arg(long, value_name = "LIST", value_delimiter = ',')]
    pub draw: Option<Vec<Draw>>,
    /// Draw the face mesh too
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub landmarks: Option<bool>,
    /// Make faces unrecognisable in the window and the output
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub blur: Option<bool>,
    /// Replace files that exist
    #[arg(short = 'y', long, num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub overwrite: Option<bool>,
    /// Say at the end how long each step took, on standard error: text or json
    #[arg(long, num_args = 0..=1, require_equals = true, default_missing_value = "text", value_name = "FORMAT")]
    pub stats: Option<StatsFormat>,
}

/// What `--results-format` may be.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ResultsFormat {
    Jsonl,
    Csv,
    #[default]
    Parquet,
}

impl From<ResultsFormat> for Format {
    fn from(format: ResultsFormat) -> Self {
        match format {
            ResultsFormat::Jsonl => Self::JsonLines,
            ResultsFormat::Csv => Self::Csv,
            ResultsFormat::Parquet => Self::Parquet,
        }
    }
}

/// How `--stats` speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum StatsFormat {
    Text,
    Json,
}

/// A width and a height.
pub fn size(text: &str) -> Result<(u32, u32), String> {
    let sides = text.split_once('x').and_then(|(w, h)| Some((w.parse().ok()?, h.parse().ok()?)));
    sides
        .filter(|&(w, h)| w > 0 && h > 0)
        .ok_or_else(|| "a width and a height such as 1280x720 is needed".into())
}

fn faces(text: &str) -> Result<usize, String> {
    let number = text.parse().ok().filter(|number| (1..=MOST_FACES).contains(number));
    number.ok_or_else(|| format!("a number from 1 to {MOST_FACES} is needed"))
}

fn token(text: &str) -> Result<String, String> {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if is_plain && (8..=128).contains(&text.len()) {
        Ok(text.to_owned())
    } else {
        Err("8 to 128 letters, digits, - and _ are needed".into())
    }
}

/// What `--capture` may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Capture {
    Auto,
    Nokhwa,
    Opencv,
}

impl From<Capture> for camera::Capture {
    fn from(capture: Capture) -> Self {
        match capture {
            Capture::Auto => Self::Auto,
            Capture::Nokhwa => Self::Nokhwa,
            Capture::Opencv => Self::OpenCv,
        }
    }
}

/// What `--draw` may list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Draw {
    Box,
    Bars,
    Strip,
    Mesh,
    Pose,
}

/// A number of seconds.
pub fn seconds(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(seconds) if (0.0..1e9).contains(&seconds) => Ok(seconds),
        _ => Err("a number of seconds, 0 or more, is needed".into()),
    }
}

impl Options {
    /// Whether they say what to watch.
    pub fn has_input(&self) -> bool {
        self.camera.is_some() || !self.input.is_empty() || self.input_list.is_some()
    }

    /// Whether inputs that are done are skipped.
    pub fn resume(&self) -> bool {
        self.resume.unwrap_or(false)
    }

    /// Whether faces are to be hidden.
    pub fn blur(&self) -> bool {
        self.blur.unwrap_or(false)
    }

    /// Whether neutrals are to be estimated.
    pub fn auto_neutral(&self) -> bool {
        self.auto_neutral.unwrap_or(false)
    }

    /// Whether files that exist may be replaced.
    pub fn overwrite(&self) -> bool {
        self.overwrite.unwrap_or(false)
    }

    /// How pictures are drawn; `mirror` where the user does not say.
    pub fn style(&self, mirror: bool) -> Style {
        let usual = [Draw::Box, Draw::Bars, Draw::Strip];
        let drawn = |part| self.draw.as_deref().unwrap_or(&usual).contains(&part);
        Style {
            boxes: drawn(Draw::Box),
            bars: drawn(Draw::Bars),
            strip: drawn(Draw::Strip),
            mesh: drawn(Draw::Mesh) || self.landmarks.unwrap_or(false),
            pose: drawn(Draw::Pose),
            blur: self.blur(),
            mirror: self.mirror.unwrap_or(mirror),
        }
    }
}
