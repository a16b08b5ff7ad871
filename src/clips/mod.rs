//! Labelled pictures and clips: how clips are recorded, the tables and folders that name what there is, and the samples that
//! are learnt from.

mod cache;
#[cfg(feature = "capture")]
pub mod frames;
pub mod labels;
#[cfg(feature = "capture")]
pub mod record;
pub mod sample;
pub mod samples;
pub mod split;
// New clips are named where they can be recorded.
#[cfg_attr(not(feature = "capture"), allow(dead_code))]
pub mod store;

pub use labels::{Dataset, Entry, Skipped};
#[cfg(feature = "capture")]
pub use record::{Recorder, Recording};
pub use sample::{Sample, Still};
pub use samples::{Extracted, Extraction};
pub use store::{About, check_person};

pub use crate::face::Which;
