//! Frames out of a video file or address, upright, with the numbers and time stamps that they have there.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use opencv::core::{Mat, MatTraitConst, MatTraitConstManual, Vector, get_version_string};
use opencv::videoio::{
    CAP_FFMPEG, CAP_PROP_FPS, CAP_PROP_FRAME_COUNT, CAP_PROP_FRAME_HEIGHT, CAP_PROP_FRAME_WIDTH,
    CAP_PROP_OPEN_TIMEOUT_MSEC, CAP_PROP_ORIENTATION_AUTO, CAP_PROP_ORIENTATION_META, CAP_PROP_POS_MSEC,
    CAP_PROP_READ_TIMEOUT_MSEC, VideoCapture, VideoCaptureTrait, VideoCaptureTraitConst,
};

use super::probe::{Probe, file_address, frames_after, probe};
use crate::error::{Error, Result};
use crate::frame::{Frame, Image};
use crate::warning::{Warning, Warnings};

/// How long an address may take to answer, and then to send the next frame.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Frames a second where a file does not say.
const USUAL_RATE: f64 = 25.0;

/// What is known of a video before its frames are read.
#[derive(Debug, Clone, PartialEq)]
pub struct Info {
    /// Pixels to a row, upright.
    pub width: usize,
    /// Rows, upright.
    pub height: usize,
    /// Nominal frames a second; the frames' own time stamps may say otherwise.
    pub rate: f64,
    /// How many frames the index promises, or an estimate; addresses do not say.
    pub frames: Option<u64>,
    /// When the video ends, counted from the start of the file; addresses do not say.
    pub end: Option<Duration>,
}

/// The frames of a video. Times count from the start of the file, as players show them.
pub struct Reader {
    capture: VideoCapture,
    decoded: Mat,
    source: Arc<str>,
    path: Option<PathBuf>,
    info: Info,
    probe: Probe,
    /// Quarters of a turn clockwise that make a frame upright.
    turn: u32,
    start: Duration,
    stop: Option<Duration>,
    unwanted: Box<dyn Fn() -> bool + Send>,
    next: u64,
    last: Option<Duration>,
    /// Times of frames to come, once OpenCV gives none any more.
    due: Option<VecDeque<Duration>>,
    given: u64,
    ended: bool,
    warnings: Warnings,
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    /// A file that is missing, empty, not a video, or damaged so that nothing can be read.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let length = File::open(path).and_then(|file| file.metadata()).map_err(|cause| {
            Error::new(format!("cannot open '{shown}'")).because(cause).advice("check the name")
        })?;
        if length.len() == 0 {
            return Err(Error::new(format!("'{shown}' is empty")).advice("copy or download it again"));
        }
        let capture = open(&file_address(path)).ok_or_else(|| {
            Error::new(format!("'{shown}' cannot be read as a video"))
                .advice("check that it is a whole video file and that a player shows it")
        })?;
        Self::new(capture, path.to_string_lossy().into(), Some(path), probe(path).unwrap_or_default())
    }

    /// Opens an address (RTSP, HTTP), waiting at most ten seconds for an answer and for each frame.
    ///
    /// # Errors
    /// An address that does not answer with video.
    pub fn connect(address: &str) -> Result<Self> {
        let capture = open(OsStr::new(address)).ok_or_else(|| {
            Error::new(format!("'{}' gives no video", without_password(address)))
                .advice("check the address, the network and the password")
        })?;
        Self::new(capture, without_password(address).into(), None, Probe::default())
    }

    fn new(mut capture: VideoCapture, source: Arc<str>, path: Option<&Path>, probe: Probe) -> Result<Self> {
        // OpenCV would turn some videos the wrong way, so it turns none.
        let turning_is_off = capture.set(CAP_PROP_ORIENTATION_AUTO, 0.0).unwrap_or(false);
        let get = |property| capture.get(property).unwrap_or(0.0);
        let turn = if turning_is_off { quarters_clockwise(get(CAP_PROP_ORIENTATION_META)) } else { 0 };
        let (mut width, mut height) =
            (get(CAP_PROP_FRAME_WIDTH) as usize, get(CAP_PROP_FRAME_HEIGHT) as usize);
        if turn % 2 == 1 {
            std::mem::swap(&mut width, &mut height);
        }
        let rate = Some(get(CAP_PROP_FPS)).filter(|rate| (0.1..=1000.0).contains(rate)).unwrap_or(USUAL_RATE);
        // A recording that is served over HTTP has an end as a file has.
        let recorded = path.is_some() || source.starts_with("http");
        let counted = Some(get(CAP_PROP_FRAME_COUNT)).filter(|n| *n >= 1.0 && recorded);
        let end = probe.end.or(counted.map(|n| Duration::from_secs_f64(n / rate)));
        Ok(Self {
            capture,
            decoded: Mat::default(),
            source,
            path: path.map(Path::to_owned),
            info: Info { width, height, rate, frames: probe.frames.or(counted.map(|n| n as u64)), end },
            probe,
            turn,
            start: Duration::ZERO,
            stop: None,
            unwanted: Box::new(|| false),
            next: 0,
            last: None,
            due: None,
            given: 0,
            ended: false,
            warnings: Warnings::default(),
        })
    }

    /// Gives only the frames with time stamps from `start` on and before `stop`, with their own numbers.
    pub fn between(self, start: Duration, stop: Option<Duration>) -> Self {
        Self { start, stop, ..self }
    }

    /// Ends the frames when `stop` says so, also while those before the start are passed over.
    pub fn until(self, stop: impl Fn() -> bool + Send + 'static) -> Self {
        Self { unwanted: Box::new(stop), ..self }
    }

    /// What is known before the frames are read.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// A video that is cut short is told of here, after its last frame.
    pub fn warnings(&self) -> Warnings {
        self.warnings.clone()
    }

    /// The time of the frame just grabbed.
    fn stamp(&mut self) -> Duration {
        let since_first = self.capture.get(CAP_PROP_POS_MSEC).ok().filter(|ms| ms.is_finite());
        let micros = since_first.map_or(0.0, |ms| (ms * 1e3).round().max(0.0));
        let stamp = self.probe.start + Duration::from_micros(micros as u64);
        match self.last {
            Some(last) if stamp <= last => self.stamp_after(last),
            _ => stamp,
        }
    }

    /// OpenCV 4.6 loses the time stamps of the frames that its decoder still holds at the end of a file. They are
    /// asked of ffprobe; where that says nothing, frames are equally far apart.
    fn stamp_after(&mut self, last: Duration) -> Duration {
        if self.due.is_none() {
            let due = self.path.as_deref().map(|path| frames_after(path, &self.probe, last));
            self.due = Some(due.unwrap_or_default().into());
        }
        let mut due = self.due.iter_mut().flat_map(|due| std::iter::from_fn(|| due.pop_front()));
        due.find(|&due| due > last).unwrap_or(last + self.frame_time())
    }

    fn frame_time(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.info.rate)
    }

    /// Decodes the frame just grabbed.
    fn picture(&mut self) -> Result<Image> {
        let failed = |source: &str| Error::new(format!("a frame of '{source}' cannot be decoded"));
        self.capture.retrieve_def(&mut self.decoded).map_err(|cause| failed(&self.source).because(cause))?;
        let pixels = self.decoded.data_bytes().map_err(|cause| failed(&self.source).because(cause))?;
        let image = Image::new(self.decoded.cols() as usize, self.decoded.rows() as usize, pixels.to_vec())?;
        Ok(image.turned(self.turn))
    }

    fn silent(&self) -> Error {
        Error::new(format!("'{}' has sent nothing for {} s", self.source, TIMEOUT.as_secs()))
            .advice("check the network and that it still sends")
    }

    /// After the last frame: nothing read is an error, less than promised a warning.
    fn end(&self) -> Option<Result<Frame>> {
        let source = &self.source;
        let Some(last) = self.last else {
            return Some(Err(Error::new(format!("no frame of '{source}' can be read"))
                .advice("check that it is a whole video file and that a player shows it")));
        };
        if self.given == 0 {
            return Some(Err(Error::new(format!(
                "'{source}' ends at {:.2} s, before the start at {:.2} s",
                (last + self.frame_time()).as_secs_f64(),
                self.start.as_secs_f64()
            ))
            .advice("choose an earlier start")));
        }
        let reached = last + self.frame_time();
        if let (Some(path), Some(end)) = (&self.path, self.info.end) {
            let missing = end.saturating_sub(reached);
            let cut = match self.probe.frames {
                Some(frames) => self.next < frames && missing > self.frame_time() * 2,
                None => missing > Duration::from_secs(1).max(self.frame_time() * 10),
            };
            if cut {
                self.warnings.add(Warning::CutShort {
                    source: path.clone(),
                    frames: self.next,
                    reached,
                    end,
                });
            }
        }
        None
    }
}

impl Iterator for Reader {
    type Item = Result<Frame>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            if (self.unwanted)() {
                return None;
            }
            let asked = Instant::now();
            if !self.capture.grab().unwrap_or(false) {
                self.ended = true;
                return if asked.elapsed() < TIMEOUT { self.end() } else { Some(Err(self.silent())) };
            }
            let (index, time) = (self.next, self.stamp());
            self.next += 1;
            self.last = Some(time);
            if time < self.start {
                continue;
            }
            if self.stop.is_some_and(|stop| time >= stop) {
                self.ended = true;
                return None;
            }
            self.given += 1;
            let picture = self.picture();
            self.ended = picture.is_err();
            let source = self.source.clone();
            return Some(picture.map(|image| Frame { image, source, index, time }));
        }
        None
    }
}

fn open(name: &OsStr) -> Option<VideoCapture> {
    let timeout = TIMEOUT.as_millis() as i32;
    let settings =
        Vector::from_slice(&[CAP_PROP_OPEN_TIMEOUT_MSEC, timeout, CAP_PROP_READ_TIMEOUT_MSEC, timeout]);
    let capture = VideoCapture::from_file_with_params(name, CAP_FFMPEG, &settings);
    capture.ok().filter(|capture| capture.is_opened().unwrap_or(false))
}

/// How often a frame is to be turned clockwise by 90 degrees, by the angle that OpenCV reports.
fn quarters_clockwise(angle: f64) -> u32 {
    let quarters = (angle / 90.0).round().rem_euclid(4.0) as u32;
    // OpenCV 4.6.0 gives the angle with the wrong sign (opencv/opencv#22088).
    let backwards = get_version_string().is_ok_and(|version| version.starts_with("4.6.0"));
    if backwards { (4 - quarters) % 4 } else { quarters }
}

/// An address as it may be shown: `rtsp://user:secret@host/` without the secret.
fn without_password(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else { return address.to_owned() };
    let host = rest.find('/').unwrap_or(rest.len());
    match rest[..host].rfind('@') {
        Some(at) => format!("{scheme}://{}", &rest[at + 1..]),
        None => address.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        assert_eq!(without_password("rtsp://me:p@ss@cam.local:554/a@b"), "rtsp://cam.local:554/a@b");
        assert_eq!(without_password("http://cam/stream?x=1"), "http://cam/stream?x=1");
    }
}
