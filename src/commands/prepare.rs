//! `lanet-live prepare`: the faces of labelled pictures, cut out once and kept small, to be learnt from elsewhere.

use std::path::PathBuf;

use clap::Args;
use lanet_live::clips::{Dataset, Skipped};
use lanet_live::device::Choice;
use lanet_live::error::{Context, Error, Result};
use lanet_live::part::Part;
use lanet_live::train::lessons::{TABLE, name};
use lanet_live::train::prepare::{Keeping, Preparation};
use lanet_live::train::shards::shards;

use super::bar::Bar;
use super::evaluate::tell_skipped;
use super::{Outcome, Stop, Talk};

/// What is prepared, and how it is kept.
#[derive(Debug, Args)]
pub struct Options {
    /// Labelled pictures: a folder with labels.csv, a table, or a folder with a folder for each expression
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The folder of the shards and of a copy of the table
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// JPEG quality from 1 to 100; 0 keeps pictures as PNG, which loses nothing
    #[arg(long, value_name = "N", default_value_t = 92, value_parser = clap::value_parser!(u8).range(0..=100))]
    quality: u8,
    /// The largest shard, in MiB
    #[arg(long, value_name = "MIB", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..=1024))]
    shard: u32,
    /// Find faces on: auto, cpu, cuda:N or metal:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Replace shards that are there
    #[arg(short = 'y', long)]
    overwrite: bool,
}

/// Prepares.
pub fn run(options: &Options, talk: Talk, stop: &Stop) -> Result<Outcome> {
    let device = options.device.parse::<Choice>()?.open()?;
    if !options.overwrite && shards(&options.output).is_ok_and(|old| !old.is_empty()) {
        return Err(Error::new(format!("'{}' has shards already", options.output.display()))
            .advice("choose another --output, or allow overwriting with -y"));
    }
    let data = Dataset::open(&options.data)?;
    tell_skipped(talk, &data.skipped, "lines or folders");
    let is_table = options.data.is_file() || options.data.join(TABLE).is_file();
    let folder = match options.data.is_file() {
        true => options.data.parent().unwrap_or(std::path::Path::new("")).to_owned(),
        false => options.data.clone(),
    };
    let pictures = data.entries.iter().map(|e| (name(&folder, &e.path), e.path.clone())).collect();
    let keeping =
        Keeping { quality: Some(options.quality).filter(|&q| q > 0), shard: (options.shard as usize) << 20 };
    let mut preparation = Preparation::new(pictures, &options.output, keeping, &device)?;
    let bar = Bar::new(talk, preparation.total(), "pictures");
    for done in preparation.by_ref() {
        bar.reach(done?);
        if stop.asked() {
            return Ok(Outcome::Interrupted);
        }
    }
    drop(bar);
    let outcome = preparation.finish()?;

    let table = options.output.join(TABLE);
    let failed = || format!("cannot write '{}'", table.display());
    if is_table {
        let source = if options.data.is_file() { options.data.clone() } else { options.data.join(TABLE) };
        // It may be the same file.
        let part = Part::create(&table, true)?;
        std::fs::copy(source, part.path()).with_context(failed)?;
        part.finish()?;
    } else {
        let part = Part::create(&table, true)?;
        let mut writer = csv::Writer::from_path(part.path()).with_context(failed)?;
        writer.write_record(["path", "label"]).with_context(failed)?;
        for entry in &data.entries {
            let name = name(&folder, &entry.path);
            writer.write_record([name.as_str(), entry.label.name()]).with_context(failed)?;
        }
        writer.flush().with_context(failed)?;
        drop(writer);
        part.finish()?;
    }
    let unreadable: Vec<_> =
        outcome.unreadable.into_iter().map(|(what, why)| Skipped { what, why }).collect();
    tell_skipped(talk, &unreadable, "pictures");
    talk.say(&format!(
        "{}: {} faces, {} of them unaligned, {} pictures unreadable, {} undecided",
        options.output.display(),
        outcome.kept,
        outcome.without_face,
        unreadable.len(),
        data.undecided
    ));
    Ok(Outcome::Done)
}
