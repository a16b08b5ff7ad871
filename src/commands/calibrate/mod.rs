//! `lanet-live calibrate`: makes the probabilities of a model mean what they say, for everybody or for one person.

pub mod data;
#[cfg(feature = "capture")]
mod neutral;

use clap::Args;
use lanet_live::error::Result;
use lanet_live::net;

use super::{Outcome, Stop, Talk};

/// What is calibrated, and by what.
#[derive(Debug, Args)]
pub struct Options {
    #[command(flatten)]
    data: data::Options,
    #[cfg(feature = "capture")]
    #[command(flatten)]
    neutral: neutral::Options,
    /// The model: a name or a folder [default: the one in the program; with --neutral that of the person, if there is one]
    #[arg(long, value_name = "NAME|DIR")]
    model: Option<String>,
}

/// Calibrates.
pub fn run(options: &Options, talk: Talk, stop: &Stop) -> Result<Outcome> {
    let model = options.model.as_deref();
    #[cfg(feature = "capture")]
    if let Some(person) = options.neutral.person() {
        return neutral::run(&options.neutral, person, model, &options.data.device()?, talk, stop);
    }
    data::run(&options.data, model.unwrap_or(net::DEFAULT), talk, stop)
}
