//! Video files: [`Reader`] gives their frames, [`Writer`] makes one out of frames.
//!
//! Reading is done by FFmpeg's libraries themselves, on which OpenCV stands, too. OpenCV tells neither time stamps to
//! the tick nor start times, sound, shapes of pixels, and why a read failed; and it ends at the first damaged spot.
//! Writing is done by the program ffmpeg, or without it by OpenCV: a program that dies or hangs, of a full disk or
//! for any other reason, takes nothing with it.

mod address;
mod matroska;
mod process;
mod source;
mod live;
mod picture;
mod ffmpeg;
mod fallback;
mod read;
mod write;

pub use ffmpeg::Ffmpeg;
pub use read::{Info, Reader};
pub use write::{EXTENSIONS, Encoder, Settings, Writer};

/// Keeps OpenCV from writing lines of its own to standard error. FFmpeg is silent from the first [`Reader`] on.
///
/// FFmpeg inside OpenCV is kept quiet by the environment variable `OPENCV_FFMPEG_LOGLEVEL` set to `-8`, which
/// only the program can do, before its first thread: the library touches no environment.
pub fn quiet() {
    fallback::quiet();
}
