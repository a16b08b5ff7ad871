//! Cameras by nokhwa: what they offer is asked for, and the best of it taken.

use nokhwa::Camera as Device;
use nokhwa::utils::{
    CameraFormat, CameraIndex, FrameFormat, RequestedFormat, RequestedFormatType, Resolution,
};

use super::trouble::Trouble;
use super::{Info, Wanted};

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

/// Opens a device in the best way that it agrees to.
pub(super) fn open(index: u32, wanted: Wanted) -> Result<(Device, Info), Trouble> {
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
}
