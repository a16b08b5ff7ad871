//! `lanet-live calibrate`: makes the probabilities of a model mean what they say.

mod data;

use clap::Args;
use lanet_live::error::Result;

use super::{Outcome, Stop, Talk};

/// What is calibrated, and by what.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    data: data::Options,
}

/// Calibrates.
pub fn run(options: &Options, talk: Talk, stop: &Stop) -> Result<Outcome> {
    data::run(&options.data, talk, stop)
}
