//! Cameras by OpenCV: it finds a way to some that nokhwa has none to, such as those of other systems' frameworks, and
//! decodes what they send on its own. A build without OpenCV opens none.

#[cfg(feature = "opencv")]
pub(super) use with::Device;
#[cfg(not(feature = "opencv"))]
pub(super) use without::Device;

#[cfg(feature = "opencv")]
mod with {
    use opencv::core::{Mat, MatTraitConst, MatTraitConstManual};
    use opencv::videoio::{
        CAP_ANY, CAP_PROP_BUFFERSIZE, CAP_PROP_FOURCC, CAP_PROP_FPS, CAP_PROP_FRAME_HEIGHT,
        CAP_PROP_FRAME_WIDTH, VideoCapture, VideoCaptureTrait, VideoCaptureTraitConst,
    };

    use crate::camera::trouble::Trouble;
    use crate::camera::{Info, Wanted};

    /// An open camera.
    pub(in super::super) struct Device {
        capture: VideoCapture,
        picture: Mat,
    }

    impl Device {
        pub(in super::super) fn open(index: u32, wanted: Wanted) -> Result<(Self, Info), Trouble> {
            let number = i32::try_from(index).map_err(|_| Trouble::Missing)?;
            let mut capture =
                VideoCapture::new(number, CAP_ANY).map_err(|error| Trouble::Other(error.message))?;
            if !capture.is_opened().unwrap_or(false) {
                // It does not say why.
                return Err(Trouble::Useless);
            }
            let (width, height) = wanted.size.unwrap_or((640, 480));
            let mjpg = f64::from(i32::from_le_bytes(*b"MJPG"));
            for (property, value) in [
                (CAP_PROP_FOURCC, mjpg),
                (CAP_PROP_FRAME_WIDTH, width.into()),
                (CAP_PROP_FRAME_HEIGHT, height.into()),
                (CAP_PROP_FPS, wanted.rate.into()),
                (CAP_PROP_BUFFERSIZE, 1.0),
            ] {
                // What it does not take it leaves as it is.
                let _ = capture.set(property, value);
            }
            let agreed = |property| capture.get(property).unwrap_or(0.0).max(0.0);
            let letters = (agreed(CAP_PROP_FOURCC) as u32).to_le_bytes();
            let info = Info {
                name: format!("camera {index}"),
                width: agreed(CAP_PROP_FRAME_WIDTH) as usize,
                height: agreed(CAP_PROP_FRAME_HEIGHT) as usize,
                rate: agreed(CAP_PROP_FPS).max(1.0),
                format: letters.into_iter().map(char::from).filter(char::is_ascii_graphic).collect(),
            };
            Ok((Self { capture, picture: Mat::default() }, info))
        }

        /// The next picture: B, G and R, its width and its height. None of a camera that is gone.
        pub(in super::super) fn picture(&mut self) -> Option<(Vec<u8>, usize, usize)> {
            let read = self.capture.read(&mut self.picture).unwrap_or(false);
            let (width, height) = (self.picture.cols() as usize, self.picture.rows() as usize);
            let whole = |pixels: &&[u8]| pixels.len() == width * height * 3;
            let pixels = self.picture.data_bytes().ok().filter(whole)?;
            read.then(|| (pixels.to_vec(), width, height))
        }
    }
}

#[cfg(not(feature = "opencv"))]
mod without {
    use crate::camera::trouble::Trouble;
    use crate::camera::{Info, Wanted};

    pub(in super::super) enum Device {}

    impl Device {
        pub(in super::super) fn open(_: u32, _: Wanted) -> Result<(Self, Info), Trouble> {
            Err(Trouble::Other("this build has no OpenCV".into()))
        }

        pub(in super::super) fn picture(&mut self) -> Option<(Vec<u8>, usize, usize)> {
            match *self {}
        }
    }
}
