//! Somebody teaches the program their face: who is led through what, and when what they show is recorded.

pub mod session;
#[cfg(feature = "capture")]
pub mod sitting;
pub mod words;

pub use session::{Act, Phase, Seen, Session, Wish};
#[cfg(feature = "capture")]
pub use sitting::Sitting;
