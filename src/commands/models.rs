//! `lanet-live models`: the models in this program, and the card of one of them or of a folder.

use std::io::Write;

use candle_core::Device;
use clap::Args;
use lanet_live::error::{Context, Result};
use lanet_live::net;

use super::{Outcome, print};

/// Which model.
#[derive(Debug, Args)]
pub struct Options {
    /// Show the card of this model: a name or a folder
    model: Option<String>,
}

/// Lists them, or shows one.
pub fn run(options: &Options) -> Result<Outcome> {
    let Some(model) = &options.model else {
        let cards = net::names()
            .map(|name| Ok(net::embedded(name, &Device::Cpu)?.card))
            .collect::<Result<Vec<_>>>()?;
        return print(|out| {
            let width = cards.iter().map(|card| card.name.len()).max().unwrap_or(0);
            cards.iter().try_for_each(|card| writeln!(out, "{:width$}  {}", card.name, card.description))
        });
    };
    let card = net::open(model, &Device::Cpu)?.card;
    let text = toml::to_string(&card).context("the card cannot be shown")?;
    print(|out| out.write_all(text.as_bytes()))
}
