//! Video files: [`Reader`] gives their frames, [`Writer`] makes one out of frames.
//!
//! Reading is done by OpenCV, which says nothing about sound and start times; those are asked of the program
//! ffprobe where it is installed. Writing is done by the program ffmpeg, or without it by OpenCV.

mod matroska;
mod probe;
mod ffmpeg;
mod read;
mod write;

pub use ffmpeg::Ffmpeg;
pub use read::{Info, Reader};
pub use write::{EXTENSIONS, Encoder, Settings, Writer};

use opencv::core::{LogLevel, set_log_level};

/// Keeps OpenCV from writing lines of its own to standard error.
///
/// FFmpeg inside OpenCV is kept quiet by the environment variable `OPENCV_FFMPEG_LOGLEVEL` set to `-8`, which
/// only the program can do, before its first thread: the library touches no environment.
pub fn quiet() {
    // A level that cannot be set is no reason to fail.
    let _ = set_log_level(LogLevel::LOG_LEVEL_SILENT);
}
