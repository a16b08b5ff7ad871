//! Cameras: which there are, and their frames. The only place that knows nokhwa.
//!
//! A thread of its own takes pictures from the driver as they come and keeps only the newest, so that a slow
//! reader sees the present. No wait is endless: a camera that stays silent is an error.

mod jpeg;
mod pixels;
mod trouble;

pub use jpeg::bgr_from_jpeg;
pub use pixels::{bgr_from_bgr, bgr_from_grey, bgr_from_nv12, bgr_from_rgb, bgr_from_yuyv};

use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};
use nokhwa::Camera as Device;
use nokhwa::utils::{
    ApiBackend, CameraFormat, CameraIndex, FrameFormat, RequestedFormat, RequestedFormatType, Resolution,
};

use self::trouble::{Trouble, missing, silent};

use crate::error::{Error, Result};
use crate::frame::{Frame, Image};

/// How long a camera may take to open, and then to send its first picture.
const WARM_UP: Duration = Duration::from_secs(10);

/// How long a camera may be silent afterwards.
const SILENCE: Duration = Duration::from_secs(5);

/// How long a camera may offer nothing at all: virtual ones do until their program plays.
const AWAKENING: Duration = Duration::from_secs(5);

/// All that can be decoded here.
const FORMATS: [FrameFormat; 6] = [
    FrameFormat::YUYV,
    FrameFormat::NV12,
    FrameFormat::RAWBGR,
    FrameFormat::RAWRGB,
    FrameFormat::MJPEG,
    FrameFormat::GRAY,
];

/// A camera of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its number; on Linux that of `/dev/videoN`.
    pub index: u32,
    /// What it calls itself.
    pub name: String,
}

/// What was agreed with a camera.
#[derive(Debug, Clone, PartialEq)]
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

/// The cameras that can take pictures now, in order.
///
/// # Errors
/// A system that cannot be asked.
pub fn list() -> Result<Vec<Listed>> {
    ask_for_permission()?;
    let found = nokhwa::query(ApiBackend::Auto).map_err(|cause| {
        Error::new("the system does not say which cameras there are").because(cause.to_string())
    })?;
    let named = found.iter().filter_map(|camera| {
        Some(Listed { index: camera.index().as_index().ok()?, name: camera.human_name() })
    });
    let mut cameras: Vec<_> = named.filter(|camera| takes_pictures(camera.index)).collect();
    cameras.sort_by_key(|camera| camera.index);
    Ok(cameras)
}

/// On Linux, most cameras have a second device that gives data about pictures only, and is listed too.
fn takes_pictures(index: u32) -> bool {
    if !cfg!(target_os = "linux") {
        return true;
    }
    match Device::new(CameraIndex::Index(index), any_format()) {
        Ok(_) => true,
        Err(error) => matches!(Trouble::of(&error), Trouble::Busy | Trouble::Forbidden),
    }
}

/// Only macOS asks its user.
fn ask_for_permission() -> Result<()> {
    #[cfg(target_os = "macos")]
    {
        let (sender, answer) = bounded(1);
        nokhwa::nokhwa_initialize(move |allowed| drop(sender.try_send(allowed)));
        if !answer.recv_timeout(Duration::from_secs(60)).unwrap_or(false) {
            return Err(Error::new("the use of cameras is not allowed")
                .advice("allow it in System Settings, Privacy & Security, Camera"));
        }
    }
    Ok(())
}

fn any_format() -> RequestedFormat<'static> {
    RequestedFormat::with_formats(RequestedFormatType::None, &FORMATS)
}

fn exactly(format: CameraFormat) -> RequestedFormat<'static> {
    RequestedFormat::with_formats(RequestedFormatType::Exact(format), &FORMATS)
}

/// The frames of a camera: numbered as it sends them, timed from the first. An error is the last of them.
pub struct Camera {
    info: Info,
    source: Arc<str>,
    shots: Receiver<Result<Shot>>,
    /// Tells the thread that somebody still wants pictures.
    _wanted: Arc<()>,
    /// When the last good picture came.
    heard: Instant,
    patience: Duration,
    ended: bool,
}

/// A picture as the camera sent it.
struct Shot {
    bytes: Vec<u8>,
    format: FrameFormat,
    width: usize,
    height: usize,
    index: u64,
    time: Duration,
}

impl Camera {
    /// Opens a camera by its number, by `/dev/videoN`, or by a part of its name.
    ///
    /// # Errors
    /// No such camera; one that is in use, forbidden, or sends nothing that can be decoded.
    pub fn open(which: &str) -> Result<Self> {
        ask_for_permission()?;
        let index = index_of(which)?;
        let (opened, answer) = bounded(1);
        let (sender, shots) = bounded(1);
        let evictor = shots.clone();
        let (shown, wanted) = (which.to_owned(), Arc::new(()));
        let still_wanted = Arc::downgrade(&wanted);
        thread::Builder::new()
            .name("camera".into())
            .spawn(move || match start_when_awake(index) {
                Ok((device, info)) => {
                    if opened.send(Ok(info)).is_ok() {
                        take_pictures(device, &shown, |shot| {
                            send_newest(shot, &sender, &evictor);
                            still_wanted.strong_count() > 0
                        });
                    }
                }
                Err(error) => drop(opened.send(Err(error.told(&shown)))),
            })
            .map_err(|cause| Error::new("no thread for the camera").because(cause))?;
        let info: Info = answer.recv_timeout(WARM_UP).unwrap_or_else(|_| Err(silent(which, WARM_UP)))?;
        Ok(Self {
            source: info.name.as_str().into(),
            info,
            shots,
            _wanted: wanted,
            heard: Instant::now(),
            patience: WARM_UP,
            ended: false,
        })
    }

    /// What was agreed.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// The next shot that can be decoded; a damaged one now and then is no reason to stop.
    fn next_frame(&mut self) -> Result<Frame> {
        loop {
            let left = self.patience.saturating_sub(self.heard.elapsed());
            let shot = match self.shots.recv_timeout(left) {
                Ok(shot) => shot?,
                Err(RecvTimeoutError::Timeout) => return Err(silent(&self.source, self.patience)),
                Err(RecvTimeoutError::Disconnected) => return Err(Trouble::Gone.told(&self.source)),
            };
            if let Ok(image) = shot.picture() {
                self.heard = Instant::now();
                self.patience = SILENCE;
                return Ok(Frame { image, source: self.source.clone(), index: shot.index, time: shot.time });
            }
        }
    }
}

impl Iterator for Camera {
    type Item = Result<Frame>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let frame = self.next_frame();
        self.ended = frame.is_err();
        Some(frame)
    }
}

impl Shot {
    fn picture(&self) -> Result<Image> {
        let decode = match self.format {
            FrameFormat::MJPEG => return bgr_from_jpeg(&self.bytes),
            FrameFormat::YUYV => bgr_from_yuyv,
            FrameFormat::NV12 => bgr_from_nv12,
            FrameFormat::GRAY => bgr_from_grey,
            FrameFormat::RAWRGB => bgr_from_rgb,
            FrameFormat::RAWBGR => bgr_from_bgr,
        };
        decode(self.width, self.height, &self.bytes)
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

fn start_when_awake(index: u32) -> Result<(Device, Info), Trouble> {
    let asked = Instant::now();
    loop {
        match start(index) {
            Err(Trouble::Useless) if asked.elapsed() < AWAKENING => thread::sleep(AWAKENING / 20),
            answer => return answer,
        }
    }
}

/// Opens a device in the best way that it agrees to.
fn start(index: u32) -> Result<(Device, Info), Trouble> {
    let index = CameraIndex::Index(index);
    let mut device = Device::new(index.clone(), any_format()).or_else(|error| {
        // Some drivers list nothing but take what they are told.
        let usual = [FrameFormat::MJPEG, FrameFormat::YUYV]
            .map(|format| CameraFormat::new(Resolution::new(640, 480), format, 30));
        let opened = usual.into_iter().find_map(|format| Device::new(index.clone(), exactly(format)).ok());
        opened.ok_or_else(|| Trouble::of(&error))
    })?;
    let mut offered = device.compatible_camera_formats().unwrap_or_default();
    offered.retain(|format| FORMATS.contains(&format.format()));
    offered.sort_by_key(rank);
    // The format that it opened with serves when it takes none of these.
    let _ = offered.into_iter().find(|&format| {
        format == device.camera_format() || device.set_camera_requset(exactly(format)).is_ok()
    });
    device.open_stream().map_err(|error| Trouble::of(&error))?;
    let agreed = device.camera_format();
    let info = Info {
        name: device.info().human_name(),
        width: agreed.width() as usize,
        height: agreed.height() as usize,
        rate: f64::from(agreed.frame_rate().max(1)),
        format: agreed.format().to_string(),
    };
    Ok((device, info))
}

/// The lower the better: fluent first, then between 640x360 and 1280x720, then cheap to decode, then as near as
/// possible to 640x480 and 30 frames a second.
fn rank(format: &CameraFormat) -> (u32, u32, u32, u32, u32) {
    let (width, height, rate) = (format.width(), format.height(), format.frame_rate());
    let area = width * height;
    let outside = (640 * 360u32).saturating_sub(area) + area.saturating_sub(1280 * 720);
    let cost = FORMATS.iter().position(|&known| known == format.format()).unwrap_or(FORMATS.len());
    (24u32.saturating_sub(rate), outside, cost as u32, area.abs_diff(640 * 480), rate.abs_diff(30))
}

/// Hands over every picture until one is not wanted. The last may be an error.
fn take_pictures(mut device: Device, name: &str, mut hand_over: impl FnMut(Result<Shot>) -> bool) {
    let mut first = None;
    for index in 0.. {
        let shot = device.frame().map(|buffer| Shot {
            bytes: buffer.buffer().to_vec(),
            format: buffer.source_frame_format(),
            width: buffer.resolution().width() as usize,
            height: buffer.resolution().height() as usize,
            index,
            time: first.get_or_insert_with(Instant::now).elapsed(),
        });
        let failed = shot.is_err();
        if !hand_over(shot.map_err(|_| Trouble::Gone.told(name))) {
            return;
        }
        if failed {
            // Closing a device that is gone panics inside its driver.
            std::mem::forget(device);
            return;
        }
    }
}

/// Sends a shot in place of the one before if nobody took that yet.
fn send_newest(shot: Result<Shot>, to: &Sender<Result<Shot>>, evictor: &Receiver<Result<Shot>>) {
    let mut newest = shot;
    while let Err(TrySendError::Full(back)) = to.try_send(newest) {
        let _ = evictor.try_recv();
        newest = back;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(width: u32, height: u32, format: FrameFormat, rate: u32) -> CameraFormat {
        CameraFormat::new(Resolution::new(width, height), format, rate)
    }

    #[test]
    fn fluent_comes_before_large_and_cheap_before_near() {
        use FrameFormat::{MJPEG, YUYV};
        let mut offered = [
            format(1920, 1080, YUYV, 5),
            format(1280, 720, YUYV, 10),
            format(320, 240, YUYV, 30),
            format(1920, 1080, MJPEG, 30),
            format(1280, 720, MJPEG, 30),
            format(640, 480, MJPEG, 60),
            format(640, 480, MJPEG, 30),
            format(800, 600, YUYV, 24),
        ];
        offered.sort_by_key(rank);
        let order = offered.map(|f| (f.width(), f.format(), f.frame_rate()));
        assert_eq!(order[..4], [(800, YUYV, 24), (640, MJPEG, 30), (640, MJPEG, 60), (1280, MJPEG, 30)]);
        assert_eq!(order[6..], [(1280, YUYV, 10), (1920, YUYV, 5)]);
    }

    #[test]
    fn without_a_camera_there_is_one_clear_line() {
        for which in ["97", "/dev/video97", "no such camera at all", "/dev/null", ""] {
            let Err(error) = Camera::open(which) else { continue };
            let line = error.line();
            assert!(line.contains("camera '") && line.contains("; ") && !line.contains('\n'), "{line}");
        }
        assert!(Camera::open("97").is_err());
    }

    #[test]
    fn only_the_newest_shot_waits() {
        let (sender, shots) = bounded(1);
        for index in 0..5 {
            let shot = Shot {
                bytes: vec![],
                format: FrameFormat::GRAY,
                width: 0,
                height: 0,
                index,
                time: Duration::ZERO,
            };
            send_newest(Ok(shot), &sender, &shots);
        }
        assert_eq!(shots.try_iter().map(|shot| shot.unwrap().index).collect::<Vec<_>>(), [4]);
    }
}
