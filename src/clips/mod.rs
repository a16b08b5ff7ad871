//! Labelled pictures: the tables and folders that name them, and the samples that are learnt from.

mod cache;
pub mod labels;
pub mod samples;

pub use labels::{Dataset, Entry, Skipped};
pub use samples::{Extracted, Extraction, Sample};
