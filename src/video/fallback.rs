//! A video file without the program ffmpeg: MPEG-4 by OpenCV, without sound and with all frames equally far apart. A
//! build without OpenCV has none.

#[cfg(feature = "opencv")]
pub(super) use with::{Fallback, quiet};
#[cfg(not(feature = "opencv"))]
pub(super) use without::{Fallback, quiet};

#[cfg(feature = "opencv")]
mod with {
    use std::path::Path;

    use opencv::core::{LogLevel, Mat, Size, Vec3b, set_log_level};
    use opencv::videoio::{CAP_FFMPEG, VideoWriter, VideoWriterTrait, VideoWriterTraitConst};

    use crate::error::{Context, Result};
    use crate::frame::Image;

    pub(in super::super) struct Fallback {
        writer: VideoWriter,
        rate: f64,
        written: u64,
    }

    impl Fallback {
        /// Begins a file for frames of the size of `image`; `None` if OpenCV cannot.
        pub(in super::super) fn start(path: &Path, image: &Image, rate: f64) -> Option<Self> {
            let size = Size::new(image.width() as i32, image.height() as i32);
            let mpeg4 = VideoWriter::fourcc('m', 'p', '4', 'v').ok()?;
            let writer = VideoWriter::new_with_backend(path, CAP_FFMPEG, mpeg4, rate, size, true).ok()?;
            writer.is_opened().unwrap_or(false).then_some(Self { writer, rate, written: 0 })
        }

        /// Adds a frame, as often as its time, in seconds since the first one, needs.
        pub(in super::super) fn write(&mut self, image: &Image, time: f64) -> Result<()> {
            let due = (time * self.rate).round() as u64 + 1;
            let (rows, columns) = (image.height() as i32, image.width() as i32);
            let pixels = Mat::new_rows_cols_with_bytes::<Vec3b>(rows, columns, image.pixels())
                .context("a frame cannot be encoded")?;
            while self.written < due {
                self.writer.write(&pixels).context("a frame cannot be encoded")?;
                self.written += 1;
            }
            Ok(())
        }

        pub(in super::super) fn finish(mut self) -> Result<()> {
            self.writer.release().context("the last frames cannot be encoded")
        }
    }

    pub(in super::super) fn quiet() {
        // A level that cannot be set is no reason to fail.
        let _ = set_log_level(LogLevel::LOG_LEVEL_SILENT);
    }
}

#[cfg(not(feature = "opencv"))]
mod without {
    use std::path::Path;

    use crate::error::Result;
    use crate::frame::Image;

    pub(in super::super) enum Fallback {}

    impl Fallback {
        pub(in super::super) fn start(_: &Path, _: &Image, _: f64) -> Option<Self> {
            None
        }

        pub(in super::super) fn write(&mut self, _: &Image, _: f64) -> Result<()> {
            match *self {}
        }

        pub(in super::super) fn finish(self) -> Result<()> {
            match self {}
        }
    }

    pub(in super::super) fn quiet() {}
}
