//! An open camera, and the thread that takes its pictures from the driver as they come.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, bounded};
use nokhwa::utils::FrameFormat;

use super::trouble::{Trouble, silent};
use super::{Capture, Info, Wanted, by_nokhwa, by_opencv, index_of};
use super::{bgr_from_bgr, bgr_from_grey, bgr_from_jpeg, bgr_from_nv12, bgr_from_rgb, bgr_from_yuyv};
use crate::error::{Error, Result};
use crate::flow::send_newest;
use crate::frame::Image;

/// How long a camera may offer nothing at all: virtual ones do until their program plays.
const AWAKENING: Duration = Duration::from_secs(5);

/// How long a camera may take to close.
const FAREWELL: Duration = Duration::from_secs(1);

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

/// An open camera, by whom it was opened.
enum Device {
    Nokhwa(nokhwa::Camera),
    OpenCv(by_opencv::Device),
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

fn start(index: u32, wanted: Wanted) -> Result<(Device, Info), Trouble> {
    let by_opencv =
        || by_opencv::Device::open(index, wanted).map(|(device, info)| (Device::OpenCv(device), info));
    if wanted.capture == Capture::OpenCv {
        return by_opencv();
    }
    match by_nokhwa::open(index, wanted) {
        Ok((device, info)) => Ok((Device::Nokhwa(device), info)),
        // One that is taken, forbidden or not there is so for both.
        Err(trouble @ (Trouble::Useless | Trouble::Other(_))) if wanted.capture == Capture::Auto => {
            by_opencv().map_err(|_| trouble)
        }
        Err(trouble) => Err(trouble),
    }
}

impl Device {
    /// The next picture with its number; `None` from a device that is gone.
    fn shot(&mut self, index: u64) -> Option<Shot> {
        let (bytes, format, width, height) = match self {
            Self::Nokhwa(device) => {
                let buffer = device.frame().ok()?;
                let size = buffer.resolution();
                let bytes = buffer.buffer().to_vec();
                (bytes, buffer.source_frame_format(), size.width() as usize, size.height() as usize)
            }
            Self::OpenCv(device) => {
                let (pixels, width, height) = device.picture()?;
                (pixels, FrameFormat::RAWBGR, width, height)
            }
        };
        Some(Shot { bytes, format, width, height, index, taken: Instant::now() })
    }
}

/// Hands over every picture until one is not wanted. The last may be an error.
fn take_pictures(mut device: Device, name: &str, mut hand_over: impl FnMut(Result<Shot>) -> bool) {
    for index in 0.. {
        let shot = device.shot(index);
        let failed = shot.is_none();
        if !hand_over(shot.ok_or_else(|| Trouble::Gone.told(name))) {
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
impl Link {
    /// A camera that sends one grey picture and is gone.
    pub(super) fn of_one_shot(which: &str, _: Wanted, _: Duration) -> Result<Self> {
        let (sender, shots) = bounded(1);
        let (bytes, format, taken) = (vec![0; 4], FrameFormat::GRAY, Instant::now());
        sender.send(Ok(Shot { bytes, format, width: 2, height: 2, index: 0, taken })).unwrap();
        let (name, format) = (which.to_owned(), format.to_string());
        let info = Info { name, width: 2, height: 2, rate: 30.0, format };
        Ok(Self { info, shots, wanted: None, thread: None })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
