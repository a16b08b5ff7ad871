//! A camera that is none: what is shown to it, other programs see. On Linux, the driver v4l2loopback has such.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use v4l::buffer::Type;
use v4l::format::{Format, FourCC};
use v4l::v4l2::{ioctl, vidioc::VIDIOC_STREAMON};
use v4l::video::Output;

use super::pixels::yuyv_from_bgr;
use crate::error::{Error, Kind, Result};
use crate::frame::Image;

/// An open device. Others see its pictures as YUYV.
pub struct VirtualCamera {
    path: PathBuf,
    device: v4l::Device,
    sides: (usize, usize),
    begun: bool,
}

impl VirtualCamera {
    /// Whether a path is that of a device, and none of a file.
    pub fn is_one(path: &Path) -> bool {
        path.starts_with("/dev") || path.canonicalize().is_ok_and(|path| path.starts_with("/dev"))
    }

    /// Opens a device by its path.
    ///
    /// # Errors
    /// None of that name, one that may not be opened, or a real camera.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let none = || {
            Error::new(format!("there is no virtual camera '{shown}'"))
                .of_kind(Kind::NotFound)
                .advice("load the driver: modprobe v4l2loopback exclusive_caps=1")
        };
        let device = v4l::Device::with_path(path).map_err(|cause| match cause.kind() {
            io::ErrorKind::NotFound => none(),
            io::ErrorKind::PermissionDenied => {
                Error::new(format!("the virtual camera '{shown}' may not be opened"))
                    .advice("join the group 'video' and log in again")
            }
            _ => none().because(cause),
        })?;
        // What it can do is not asked: v4l2loopback 0.12 would refuse all from then on, if who fed it last only wrote.
        if Output::format(&device).is_err() {
            return Err(Error::usage(format!("'{shown}' takes no pictures"))
                .advice("give the path of a virtual camera that no other program feeds; see docs/live.md"));
        }
        Ok(Self { path: path.to_owned(), device, sides: (0, 0), begun: false })
    }

    /// Shows a picture.
    ///
    /// # Errors
    /// A size that it does not take, or a device that is gone.
    pub fn show(&mut self, image: &Image) -> Result<()> {
        let failed = |what: &str, cause: io::Error| {
            Error::new(format!("the virtual camera '{}' {what}", self.path.display()))
                .because(cause)
                .advice("close the programs that use it, and start anew")
        };
        let sides = (image.width(), image.height());
        if sides != self.sides {
            let wanted =
                Format::new(sides.0.next_multiple_of(2) as u32, sides.1 as u32, FourCC::new(b"YUYV"));
            let agreed = Output::set_format(&self.device, &wanted)
                .map_err(|cause| failed(&format!("takes no pictures of {}x{}", sides.0, sides.1), cause))?;
            if (agreed.width, agreed.height, agreed.fourcc) != (wanted.width, wanted.height, wanted.fourcc) {
                let cause = io::Error::other(format!(
                    "it wants {}x{} {}",
                    agreed.width, agreed.height, agreed.fourcc
                ));
                return Err(failed(&format!("takes no pictures of {}x{}", sides.0, sides.1), cause));
            }
            self.sides = sides;
        }
        // A picture is one write.
        self.device.write_all(&yuyv_from_bgr(image)).map_err(|cause| failed("is gone", cause))?;
        if !std::mem::replace(&mut self.begun, true) {
            self.begin();
        }
        Ok(())
    }

    /// Says who feeds it: v4l2loopback 0.12 takes no pictures after somebody who only wrote. Later ones know, and need not agree.
    #[allow(unsafe_code)]
    fn begin(&self) {
        let mut kind = Type::VideoOutput as u32;
        // SAFETY: the request reads the number that it gets a pointer to, which outlives the call.
        let _ = unsafe { ioctl(self.device.handle().fd(), VIDIOC_STREAMON, (&raw mut kind).cast()) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_virtual_camera_is_said_in_one_line() {
        assert!(
            VirtualCamera::is_one(Path::new("/dev/video7")) && !VirtualCamera::is_one(Path::new("o.mp4"))
        );
        for path in ["/dev/video97", "/dev/null"] {
            let line = VirtualCamera::open(Path::new(path)).err().unwrap().line();
            assert!(line.contains(path) && line.contains("; "), "{line}");
        }
    }
}
