//! Whoever takes readings: files, data, a window, a page. Each works on a thread of its own and has what it wants of them,
//! every one or the newest, however slow or broken the others are.
//!
//! A [`Receiver`] takes one reading after another and finishes. [`FanOut`] shares the readings of a stream among any
//! number of them; a reading is shared, never copied. Memory is bounded: nobody has more than a few readings waiting.

#[cfg(feature = "capture")]
pub mod drawing;
mod fan_out;
#[cfg(all(feature = "capture", target_os = "linux"))]
pub mod feed;
#[cfg(feature = "capture")]
mod pace;
#[cfg(feature = "capture")]
pub mod recording;
pub mod results;
#[cfg(feature = "capture")]
pub mod serve;
pub mod timeline;
#[cfg(feature = "capture")]
pub mod view;

pub use fan_out::{Ended, FanOut, Finished, Next, Queue, Running};
#[cfg(feature = "capture")]
pub use pace::Playing;

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use crate::error::Result;
use crate::reading::Reading;

/// Takes readings, one after another, on a thread of its own.
pub trait Receiver {
    /// Takes the next reading. `Break` when no more is wanted; then it is finished.
    ///
    /// # Errors
    /// What is in the way, with the name of the file or whatever else it is about. Nothing more is asked of the
    /// receiver then: it has kept what can be kept, and is dropped.
    fn take(&mut self, reading: &Arc<Reading>) -> Result<ControlFlow<()>>;

    /// Completes what was begun, after one reading or more. Returns the file or folder that was written, if any.
    ///
    /// # Errors
    /// As for [`Receiver::take`].
    fn finish(self: Box<Self>) -> Result<Option<PathBuf>>;

    /// Whether readings are made for its sake. They end when nobody is left for whose sake they are made.
    fn is_needed(&self) -> bool {
        true
    }
}
