//! What went less well than asked without being a failure: kept as data, so that the caller chooses when
//! and where to say it.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// One thing that the user should know. `Display` says it in one line.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Warning {
    /// Some pictures of a folder or pattern could not be read and were left out.
    Unreadable {
        /// How many.
        count: usize,
        /// The first of them.
        first: PathBuf,
        /// What is wrong with the first; it says its name.
        why: String,
    },
    /// A video ended earlier than its own index says.
    CutShort {
        /// The file.
        source: PathBuf,
        /// How many frames could be read.
        frames: u64,
        /// When the readable part ends.
        reached: Duration,
        /// When it should end.
        end: Duration,
    },
    /// Some frames of a video could not be decoded, or not wholly.
    Damaged {
        /// The file.
        source: PathBuf,
        /// How many.
        count: u64,
    },
    /// Some pictures of a camera were not whole, and were left out.
    Torn {
        /// What the camera calls itself.
        camera: String,
        /// How many.
        count: u64,
    },
    /// A live stream was ended by its sender.
    StreamEnded {
        /// The address.
        source: PathBuf,
        /// How many frames it sent.
        frames: u64,
    },
    /// The video was written without ffmpeg: no sound, and all frames equally far apart.
    WithoutFfmpeg {
        /// The file.
        output: PathBuf,
        /// Frames a second.
        rate: f64,
    },
    /// The video was written, but its sound could not be brought along.
    WithoutSound {
        /// The file.
        output: PathBuf,
        /// What was in the way.
        why: String,
    },
    /// A file or data from a camera lack frames, because they could not be written as fast as they came.
    TooSlow {
        /// What could not keep up.
        receiver: &'static str,
        /// How many frames it lacks.
        missed: u64,
    },
    /// A clip that was to be recorded was not, or not to its end.
    NoClip {
        /// What was in the way.
        why: String,
    },
    /// A picture of what the window shows could not be written.
    NoScreenshot {
        /// What was in the way.
        why: String,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { count: 1, why, .. } => write!(f, "a picture was left out: {why}"),
            Self::Unreadable { count, why, .. } => {
                write!(f, "{count} pictures were left out, the first because: {why}")
            }
            Self::CutShort { source, frames, reached, end } => write!(
                f,
                "'{}' is cut short: only the first {frames} frames could be read, {:.2} of {:.2} s",
                source.display(),
                reached.as_secs_f64(),
                end.as_secs_f64()
            ),
            Self::Damaged { source, count } => {
                write!(f, "'{}' is damaged: {count} of its frames are missing or not whole", source.display())
            }
            Self::Torn { camera, count } => {
                let pictures = if *count == 1 { "picture that was" } else { "pictures that were" };
                write!(f, "the camera '{camera}' sent {count} {pictures} not whole")
            }
            Self::StreamEnded { source, frames } => {
                write!(f, "'{}' has ended after {frames} frames", source.display())
            }
            Self::WithoutFfmpeg { output, rate } => write!(
                f,
                "'{}' has no sound and exactly {rate:.2} frames a second, because the program ffmpeg was not found; \
                 install it to keep sound and time stamps",
                output.display()
            ),
            Self::WithoutSound { output, why } => {
                write!(f, "'{}' has no sound: {why}", output.display())
            }
            Self::TooSlow { receiver, missed } => write!(
                f,
                "the {receiver} could not keep up with the camera and {} {missed} {}",
                if receiver.ends_with('s') { "lack" } else { "lacks" },
                if *missed == 1 { "frame" } else { "frames" }
            ),
            Self::NoClip { why } => write!(f, "a clip was not recorded: {why}"),
            Self::NoScreenshot { why } => write!(f, "no picture of the window was written: {why}"),
        }
    }
}

/// The warnings of one piece of work. Clones share one list, so that it can still be read
/// when the work itself has gone to another thread.
#[derive(Debug, Clone, Default)]
pub struct Warnings(Arc<Mutex<Vec<Warning>>>);

impl Warnings {
    /// Adds one.
    pub fn add(&self, warning: Warning) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    }

    /// Takes all that were added since the last time, in order.
    pub fn take(&self) -> Vec<Warning> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
