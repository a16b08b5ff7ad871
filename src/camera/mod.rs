//! Cameras: which there are, and their frames. The only place that knows nokhwa, and OpenCV beside it.
//!
//! A thread of its own takes pictures from the driver as they come and keeps only the newest, so that a slow
//! reader sees the present. No wait is endless: a camera that stays silent is an error.

mod by_nokhwa;
mod by_opencv;
mod jpeg;
mod link;
mod list;
mod pixels;
mod trouble;
#[cfg(target_os = "linux")]
mod virtual_camera;

pub use jpeg::bgr_from_jpeg;
pub use list::{Listed, Offer, list};
pub use pixels::{bgr_from_bgr, bgr_from_grey, bgr_from_nv12, bgr_from_rgb, bgr_from_yuyv, yuyv_from_bgr};
#[cfg(target_os = "linux")]
pub use virtual_camera::VirtualCamera;

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::RecvTimeoutError;

use self::link::Link;
use self::trouble::{Trouble, missing, silent};
use crate::error::Result;
use crate::frame::Frame;
use crate::signal::Signal;
use crate::warning::{Warning, Warnings};

/// How long a camera may take to open, and then to send its first picture.
const WARM_UP: Duration = Duration::from_secs(10);

/// How long a camera may be silent afterwards.
const SILENCE: Duration = Duration::from_secs(5);

/// How often somebody who waits looks up.
const LOOK: Duration = Duration::from_millis(100);

/// What finds the way to a camera.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Capture {
    /// nokhwa, and OpenCV for cameras that give nothing that way.
    #[default]
    Auto,
    /// nokhwa alone: it asks a camera what it offers, and takes what fits best.
    Nokhwa,
    /// OpenCV alone.
    OpenCv,
}

/// What is wanted of a camera. It gives what comes nearest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Wanted {
    /// Width and height in pixels; `None` is a size between 640x360 and 1280x720.
    pub size: Option<(u32, u32)>,
    /// Frames a second.
    pub rate: u32,
    /// How long to look for a camera that is gone or silent, once it has sent pictures.
    pub reconnect: Duration,
    /// What finds the way to it.
    pub capture: Capture,
}

impl Default for Wanted {
    /// Any usual size at 30 frames a second; ten seconds.
    fn default() -> Self {
        Self { size: None, rate: 30, reconnect: Duration::from_secs(10), capture: Capture::Auto }
    }
}

/// What was agreed with a camera.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Info {
    /// What it calls itself.
    pub name: String,
    /// Pixels to a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Frames a second that it promises.
    pub rate: f64,
    /// How it sends pictures, `YUYV` or `MJPEG` for example.
    pub format: String,
}

/// Only macOS asks its user.
fn ask_for_permission() -> Result<()> {
    #[cfg(target_os = "macos")]
    {
        let (sender, answer) = crossbeam::channel::bounded(1);
        nokhwa::nokhwa_initialize(move |allowed| drop(sender.try_send(allowed)));
        if !answer.recv_timeout(Duration::from_secs(60)).unwrap_or(false) {
            return Err(crate::error::Error::new("the use of cameras is not allowed")
                .advice("allow it in System Settings, Privacy & Security, Camera"));
        }
    }
    Ok(())
}

/// The frames of a camera: numbered as it sends them, timed from the first. An error is the last of them. Dropped, the
/// camera is free again, unless its driver does not answer.
pub struct Camera {
    which: String,
    wanted: Wanted,
    link: Link,
    open: fn(&str, Wanted, Duration) -> Result<Link>,
    source: Arc<str>,
    signal: Signal,
    unwanted: Box<dyn Fn() -> bool + Send>,
    /// When the first picture was taken.
    began: Option<Instant>,
    /// How many pictures earlier connections sent, and all up to now.
    before: u64,
    next: u64,
    /// When the last good picture came.
    heard: Instant,
    patience: Duration,
    /// Since when none has come, connections that brought none included.
    lost: Option<Instant>,
    torn: Torn,
    ended: bool,
}

/// Counts shots that are not whole, and tells of them when the camera is dropped.
struct Torn {
    source: Arc<str>,
    count: u64,
    warnings: Warnings,
}

impl Drop for Torn {
    fn drop(&mut self) {
        if self.count > 0 {
            self.warnings.add(Warning::Torn { camera: self.source.to_string(), count: self.count });
        }
    }
}

impl Camera {
    /// Opens a camera by its number, by `/dev/videoN`, or by a part of its name.
    ///
    /// # Errors
    /// No such camera; one that is in use, forbidden, or sends nothing that can be decoded.
    pub fn open(which: &str) -> Result<Self> {
        Self::open_as(which, Wanted { reconnect: Duration::ZERO, ..Wanted::default() })
    }

    /// As [`Camera::open`], with the size and rate nearest to what is wanted. A camera that is pulled or silent is
    /// connected to again when it comes back in time; its frames go on with their numbers and times.
    ///
    /// # Errors
    /// As for [`Camera::open`].
    pub fn open_as(which: &str, wanted: Wanted) -> Result<Self> {
        ask_for_permission()?;
        Self::open_by(Link::open, which, wanted)
    }

    fn open_by(
        open: fn(&str, Wanted, Duration) -> Result<Link>,
        which: &str,
        wanted: Wanted,
    ) -> Result<Self> {
        let link = open(which, wanted, WARM_UP)?;
        let source: Arc<str> = link.info.name.as_str().into();
        Ok(Self {
            which: which.to_owned(),
            wanted,
            open,
            lost: None,
            torn: Torn { source: source.clone(), count: 0, warnings: Warnings::default() },
            source,
            link,
            signal: Signal::default(),
            unwanted: Box::new(|| false),
            began: None,
            before: 0,
            next: 0,
            heard: Instant::now(),
            patience: WARM_UP,
            ended: false,
        })
    }

    /// Ends the frames when `stop` says so, also while the camera is silent.
    pub fn until(self, stop: impl Fn() -> bool + Send + 'static) -> Self {
        Self { unwanted: Box::new(stop), ..self }
    }

    /// What was agreed.
    pub fn info(&self) -> &Info {
        &self.link.info
    }

    /// What was left out is told here when the camera is dropped.
    pub fn warnings(&self) -> Warnings {
        self.torn.warnings.clone()
    }

    /// Whether it is lost at the moment, and how old its frames are.
    pub fn signal(&self) -> Signal {
        self.signal.clone()
    }

    /// The next shot that can be decoded; a damaged one now and then is no reason to stop. `None` when no more is
    /// wanted.
    fn next_frame(&mut self) -> Option<Result<Frame>> {
        while !(self.unwanted)() {
            let left = self.patience.saturating_sub(self.heard.elapsed());
            let shot = match self.link.shots.recv_timeout(left.min(LOOK)) {
                Ok(Ok(shot)) => shot,
                Ok(Err(error)) => return Some(Err(error)),
                Err(RecvTimeoutError::Timeout) if left > LOOK => continue,
                Err(RecvTimeoutError::Timeout) => return Some(Err(silent(&self.source, self.patience))),
                Err(RecvTimeoutError::Disconnected) => return Some(Err(Trouble::Gone.told(&self.source))),
            };
            let Ok(image) = shot.picture() else {
                self.torn.count += 1;
                continue;
            };
            self.heard = Instant::now();
            self.patience = SILENCE;
            self.lost = None;
            let time = shot.taken.duration_since(*self.began.get_or_insert(shot.taken));
            self.signal.heard(time + shot.taken.elapsed());
            let index = self.before + shot.index;
            self.next = index + 1;
            return Some(Ok(Frame { image, source: self.source.clone(), index, time }));
        }
        None
    }

    /// Opens the camera again; whether it could be in time. One that opens may still send nothing.
    fn reconnect(&mut self) -> bool {
        let lost = *self.lost.get_or_insert_with(Instant::now);
        while self.next > 0 && !(self.unwanted)() && lost.elapsed() < self.wanted.reconnect {
            self.signal.lost();
            let left = self.wanted.reconnect.saturating_sub(lost.elapsed());
            match (self.open)(&self.which, self.wanted, left) {
                Ok(link) => {
                    self.link = link;
                    (self.before, self.heard, self.patience) = (self.next, Instant::now(), WARM_UP);
                    return true;
                }
                Err(_) => thread::sleep(LOOK.min(left)),
            }
        }
        false
    }
}

impl Iterator for Camera {
    type Item = Result<Frame>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let mut frame = self.next_frame();
        while let Some(Err(error)) = frame {
            if !self.reconnect() {
                frame = Some(Err(error));
                break;
            }
            // Should it stay away, how it was lost is what counts.
            frame = self.next_frame().map(|again| again.or(Err(error)));
        }
        self.ended = !matches!(frame, Some(Ok(_)));
        frame
    }
}

/// The number of the camera that is meant.
fn index_of(which: &str) -> Result<u32> {
    if let Ok(index) = which.parse() {
        return Ok(index);
    }
    if which.starts_with('/') {
        // `/dev/v4l/by-id/...` leads to `/dev/videoN`.
        let path = Path::new(which).canonicalize().unwrap_or_else(|_| which.into());
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        return name.strip_prefix("video").and_then(|n| n.parse().ok()).ok_or_else(|| missing(which));
    }
    let wanted = which.to_lowercase();
    let fits = |camera: &Listed| !wanted.is_empty() && camera.name.to_lowercase().contains(&wanted);
    let found = list()?.into_iter().find(fits);
    found.map(|camera| camera.index).ok_or_else(|| missing(which))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_camera_there_is_one_clear_line() {
        for which in ["97", "/dev/video97", "no such camera at all", "/dev/null", ""] {
            let Err(error) = Camera::open(which) else { continue };
            let line = error.line();
            assert!(line.contains("camera '") && line.contains("; ") && !line.contains('\n'), "{line}");
        }
        assert!(Camera::open("97").is_err());
        for capture in [Capture::Auto, Capture::Nokhwa, Capture::OpenCv] {
            let wanted = Wanted { capture, reconnect: Duration::ZERO, ..Wanted::default() };
            let line = Camera::open_as("97", wanted).err().unwrap().line();
            assert!(line.contains("camera '97'") && line.contains("; "), "{capture:?}: {line}");
        }
    }

    #[test]
    fn a_camera_that_opens_again_but_stays_silent_ends_the_frames() {
        let wanted = Wanted { reconnect: Duration::from_millis(300), ..Wanted::default() };
        let mut camera = Camera::open_by(Link::of_one_shot, "0", wanted).unwrap();
        assert!(camera.next().unwrap().is_ok());
        // From now on it opens, and is gone before it sends anything.
        camera.open = |which, wanted, limit| {
            thread::sleep(Duration::from_millis(10));
            let mut link = Link::of_one_shot(which, wanted, limit)?;
            link.shots = crossbeam::channel::bounded(1).1;
            Ok(link)
        };
        let (asked, signal) = (Instant::now(), camera.signal());
        let line = camera.next().unwrap().unwrap_err().line();
        assert!(line.contains("is gone") && signal.is_lost(), "{line}");
        let took = asked.elapsed();
        assert!((wanted.reconnect..Duration::from_secs(5)).contains(&took), "{took:?}");
        assert!(camera.next().is_none());
    }

    #[test]
    fn a_camera_that_comes_back_goes_on_with_its_numbers() {
        let mut camera = Camera::open_by(Link::of_one_shot, "0", Wanted::default()).unwrap();
        let signal = camera.signal();
        let frames: Vec<_> = camera.by_ref().take(3).map(Result::unwrap).collect();
        assert_eq!(frames.iter().map(|frame| frame.index).collect::<Vec<_>>(), [0, 1, 2]);
        assert!(frames.windows(2).all(|pair| pair[0].time < pair[1].time) && !signal.is_lost());
    }

    #[test]
    fn shots_that_are_not_whole_are_counted() {
        let warnings = Warnings::default();
        drop(Torn { source: "cam".into(), count: 0, warnings: warnings.clone() });
        assert!(warnings.take().is_empty());
        drop(Torn { source: "cam".into(), count: 3, warnings: warnings.clone() });
        assert_eq!(warnings.take(), [Warning::Torn { camera: "cam".into(), count: 3 }]);
    }
}
