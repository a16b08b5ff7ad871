//! `lanet-live calibrate`: what a model is told of those in front of it, kept for later.

#[cfg(feature = "capture")]
mod neutral;

use clap::Args;
use lanet_live::error::Result;

use super::{Outcome, Stop, Talk};

/// What is calibrated, and by what.
#[derive(Debug, Args)]
pub struct Options {
    #[cfg(feature = "capture")]
    #[command(flatten)]
    neutral: neutral::Options,
}

/// Calibrates.
#[cfg(feature = "capture")]
pub fn run(options: &Options, talk: Talk, stop: &Stop) -> Result<Outcome> {
    neutral::run(&options.neutral, talk, stop)
}

/// Calibrates.
#[cfg(not(feature = "capture"))]
pub fn run(_: &Options, _: Talk, _: &Stop) -> Result<Outcome> {
    Err(lanet_live::error::Error::usage("there is nothing to calibrate"))
}
