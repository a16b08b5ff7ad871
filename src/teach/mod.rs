//! Somebody teaches the program their face: who is led through what, and when what they show is recorded.

pub mod session;
pub mod words;

pub use session::{Act, Phase, Session, Wish};
