//! An open camera, and the thread that takes its pictures from the driver as they come.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, bounded};
use nokhwa::Camera as Device;
use nokhwa::utils::{
    CameraFormat, CameraIndex, FrameFormat, RequestedFormat, RequestedFormatType, Resolution,
};

use super::trouble::{Trouble, silent};
use super::{Info, Wanted, index_of};
use super::{bgr_from_bgr, bgr_from_grey, bgr_from_jpeg, bgr_from_nv12, bgr_from_rgb, bgr_from_yuyv};
use crate::error::{Error, Result};
use crate::flow::send_newest;
use crate::frame::Image;

/// How long a camera may offer nothing at all: virtual ones do until their program plays.
const AWAKENING: Duration = Duration::from_secs(5);

/// How long a camera may take to close.
const FAREWELL: Duration = Duration::from_secs(1);

/// All that can be decoded here.
const FORMATS: [FrameFormat; 6] = [
    FrameFormat::YUYV,
    FrameFormat::NV12,
    FrameFormat::RAWBGR,
    FrameFormat::RAWRGB,
    FrameFormat::MJPEG,
    FrameFormat::GRAY,
];

fn any_format() -> RequestedFormat<'static> {
    RequestedFormat::with_formats(RequestedFormatType::None, &FORMATS)
}

fn exactly(format: CameraFormat) -> RequestedFormat<'static> {
    RequestedFormat::with_formats(RequestedFormatType::Exact(format), &FORMATS)
}

/// A picture as the camera sent it.
pub(super) struct Shot {
    bytes: Vec<u8>,
    format: FrameFormat,
    width: usize,
    height: usize,
    pub(super) index: u64,
    pub(super) taken: Instant,
}

/// An open camera, and the thread that takes its pictures.
pub(super) struct Link {
    pub(super) info: Info,
    pub(super) shots: Receiver<Result<Shot>>,
    /// Tells the thread that somebody still wants pictures.
    wanted: Option<Arc<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Link {
    /// Opens a camera that answers within `limit`.
    pub(super) fn open(which: &str, wanted: Wanted, limit: Duration) -> Result<Self> {
        let index = index_of(which)?;
        let (opened, answer) = bounded(1);
        let (sender, shots) = bounded(1);
        let evictor = shots.clone();
        let (shown, alive) = (which.to_owned(), Arc::new(()));
        let still_wanted = Arc::downgrade(&alive);
        let thread = thread::Builder::new()
            .name("camera".into())
            .spawn(move || match start_when_awake(index, wanted) {
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
        let info = answer.recv_timeout(limit).unwrap_or_else(|_| Err(silent(which, limit)))?;
        Ok(Self { info, shots, wanted: Some(alive), thread: Some(thread) })
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        drop(self.wanted.take());
        let asked = Instant::now();
        while let Some(thread) = self.thread.take_if(|_| asked.elapsed() < FAREWELL) {
            if thread.is_finished() {
                let _ = thread.join();
                return;
            }
            self.thread = Some(thread);
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Shot {
    pub(super) fn picture(&self) -> Result<Image> {
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

fn start_when_awake(index: u32, wanted: Wanted) -> Result<(Device, Info), Trouble> {
    let asked = Instant::now();
    loop {
        match start(index, wanted) {
            Err(Trouble::Useless) if asked.elapsed() < AWAKENING => thread::sleep(AWAKENING / 20),
            answer => return answer,
        }
    }
}

/// Opens a device in the best way that it agrees to.
fn start(index: u32, wanted: Wanted) -> Result<(Device, Info), Trouble> {
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
    offered.sort_by_key(|format| rank(format, wanted));
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

/// The lower the better: fluent first, then the wanted size, then cheap to decode, then the wanted rate.
fn rank(format: &CameraFormat, wanted: Wanted) -> (u32, u32, u32, u32, u32) {
    let (width, height, rate) = (format.width(), format.height(), format.frame_rate());
    let area = width.saturating_mul(height);
    let (outside, near) = match wanted.size {
        Some((w, h)) => (width.abs_diff(w).saturating_add(height.abs_diff(h)), 0),
        None => {
            ((640 * 360u32).saturating_sub(area) + area.saturating_sub(1280 * 720), area.abs_diff(640 * 480))
        }
    };
    let cost = FORMATS.iter().position(|&known| known == format.format()).unwrap_or(FORMATS.len());
    let slow = wanted.rate.min(24).saturating_sub(rate);
    (slow, outside, cost as u32, near, rate.abs_diff(wanted.rate))
}

/// Hands over every picture until one is not wanted. The last may be an error.
fn take_pictures(mut device: Device, name: &str, mut hand_over: impl FnMut(Result<Shot>) -> bool) {
    for index in 0.. {
        let shot = device.frame().map(|buffer| Shot {
            bytes: buffer.buffer().to_vec(),
            format: buffer.source_frame_format(),
            width: buffer.resolution().width() as usize,
            height: buffer.resolution().height() as usize,
            index,
            taken: Instant::now(),
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
        offered.sort_by_key(|format| rank(format, Wanted::default()));
        let order = offered.map(|f| (f.width(), f.format(), f.frame_rate()));
        assert_eq!(order[..4], [(800, YUYV, 24), (640, MJPEG, 30), (640, MJPEG, 60), (1280, MJPEG, 30)]);
        assert_eq!(order[6..], [(1280, YUYV, 10), (1920, YUYV, 5)]);
        let large = Wanted { size: Some((1920, 1080)), ..Wanted::default() };
        offered.sort_by_key(|format| rank(format, large));
        assert_eq!((offered[0].width(), offered[0].format()), (1920, MJPEG));
    }

    #[test]
    fn only_the_newest_shot_waits() {
        let (sender, shots) = bounded::<Result<Shot>>(1);
        for index in 0..5 {
            let shot = Shot {
                bytes: vec![],
                format: FrameFormat::GRAY,
                width: 0,
                height: 0,
                index,
                taken: Instant::now(),
            };
            send_newest(Ok(shot), &sender, &shots);
        }
        assert_eq!(shots.try_iter().map(|shot| shot.unwrap().index).collect::<Vec<_>>(), [4]);
    }
}
