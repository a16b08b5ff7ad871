//! Which cameras there are and what they offer. On Linux they are asked only, and nothing is set: a camera that
//! another program uses is not disturbed.

use std::thread;
use std::time::Duration;

use crossbeam::channel::bounded;
use nokhwa::utils::ApiBackend;

use super::ask_for_permission;
use crate::error::{Error, Result};

/// How long a camera may take to say what it offers.
const ANSWER: Duration = Duration::from_secs(2);

/// A camera of this machine.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// Its number; on Linux that of `/dev/videoN`.
    pub index: u32,
    /// What it calls itself.
    pub name: String,
    /// How it can send pictures; empty where it does not say, or not in two seconds.
    pub offers: Vec<Offer>,
}

/// One way in which a camera can send pictures.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// The format by its four letters: `MJPG` or `YUYV`, for example.
    pub format: String,
    /// Pixels to a row.
    pub width: u32,
    /// Rows.
    pub height: u32,
    /// Frames a second, the highest first.
    pub rates: Vec<f64>,
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
    let mut cameras: Vec<_> = found
        .iter()
        .filter_map(|camera| {
            let index = camera.index().as_index().ok()?;
            let offers = offers_in_time(index)?;
            Some(Listed { index, name: camera.human_name(), offers })
        })
        .collect();
    cameras.sort_by_key(|camera| camera.index);
    Ok(cameras)
}

/// What a camera offers; `None` for what is none: most cameras have a second device that gives data about pictures
/// only.
fn offers_in_time(index: u32) -> Option<Vec<Offer>> {
    let (sender, answer) = bounded(1);
    let asked = thread::Builder::new().name("camera list".into()).spawn(move || sender.send(offers(index)));
    // A camera that does not answer is there all the same.
    if asked.is_err() { Some(Vec::new()) } else { answer.recv_timeout(ANSWER).unwrap_or(Some(Vec::new())) }
}

#[cfg(target_os = "linux")]
fn offers(index: u32) -> Option<Vec<Offer>> {
    use v4l::capability::Flags;
    use v4l::frameinterval::FrameIntervalEnum;
    use v4l::video::Capture;

    // One that may not be opened is there, too.
    let Ok(device) = v4l::Device::new(index as usize) else { return Some(Vec::new()) };
    if !device.query_caps().ok()?.capabilities.contains(Flags::VIDEO_CAPTURE) {
        return None;
    }
    let mut offers = Vec::new();
    for format in device.enum_formats().unwrap_or_default() {
        for size in device.enum_framesizes(format.fourcc).unwrap_or_default() {
            let (width, height) = match size.size {
                v4l::framesize::FrameSizeEnum::Discrete(size) => (size.width, size.height),
                v4l::framesize::FrameSizeEnum::Stepwise(sizes) => (sizes.max_width, sizes.max_height),
            };
            let every = device.enum_frameintervals(format.fourcc, width, height).unwrap_or_default();
            let mut rates: Vec<f64> = every
                .into_iter()
                .map(|every| match every.interval {
                    FrameIntervalEnum::Discrete(every) => every,
                    FrameIntervalEnum::Stepwise(range) => range.min,
                })
                .filter(|every| every.numerator > 0)
                .map(|every| f64::from(every.denominator) / f64::from(every.numerator))
                .collect();
            rates.sort_by(|a, b| b.total_cmp(a));
            rates.dedup();
            offers.push(Offer { format: format.fourcc.to_string(), width, height, rates });
        }
    }
    Some(offers)
}

#[cfg(not(target_os = "linux"))]
fn offers(_: u32) -> Option<Vec<Offer>> {
    Some(Vec::new())
}
