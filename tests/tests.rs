//! One binary of integration tests, a module for each thing that a user would notice. No test needs a network, a
//! camera, a screen or a GPU.

mod scratch;

mod adapt;
mod audit;
#[cfg(feature = "capture")]
mod clips;
#[cfg(feature = "capture")]
mod ffmpeg;
mod faces;
mod house;
mod images;
mod learning;
#[cfg(feature = "capture")]
mod messages;
#[cfg(feature = "capture")]
mod program;
#[cfg(feature = "capture")]
mod person;
#[cfg(feature = "capture")]
mod refusals;
mod results;
#[cfg(feature = "capture")]
mod serve;
#[cfg(feature = "capture")]
mod several;
#[cfg(feature = "capture")]
mod teach;
#[cfg(feature = "capture")]
mod video;
