//! `lanet-live prepare`: the faces of labelled pictures, cut out once and kept small, to be learnt from elsewhere.

use std::path::PathBuf;

use clap::Args;
use lanet_live::clips::labels::{TABLE, folder_of, table_of};
use lanet_live::clips::sample::name_below;
use lanet_live::clips::{Dataset, Entry, Skipped};
use lanet_live::device::Choice;
use lanet_live::error::{Context, Error, Result};
use lanet_live::part::Part;
use lanet_live::train::prepare::{Keeping, Preparation};

use super::bar::Bar;
use super::evaluate::tell_skipped;
use super::{Outcome, Stop, Talk, same_file};

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
    /// Replace shards and a table that are there
    #[arg(short = 'y', long)]
    overwrite: bool,
}

/// Prepares.
pub fn run(options: &Options, talk: Talk, stop: &Stop) -> Result<Outcome> {
    let device = options.device.parse::<Choice>()?.open()?;
    let data = Dataset::open(&options.data)?;
    tell_skipped(talk, &data.skipped, "lines or folders");
    if data.entries.iter().any(Entry::is_clip) {
        return Err(Error::usage("clips are not prepared").advice("learn from them with train --data"));
    }
    let folder = folder_of(&options.data);
    let faces = || data.entries.iter().chain(&data.undecided);
    let pictures = faces().map(|e| (name_below(folder, &e.path), e.path.clone())).collect();
    let keeping = Keeping {
        quality: Some(options.quality).filter(|&q| q > 0),
        shard: (options.shard as usize) << 20,
        overwrite: options.overwrite,
    };
    let mut preparation = Preparation::new(pictures, &options.output, keeping, &device)?;
    let source = table_of(&options.data);
    let target = options.output.join(TABLE);
    let in_place = source.as_ref().is_some_and(|source| same_file(source, &target));
    let table = if in_place { None } else { Some(Part::create(&target, options.overwrite)?) };
    let bar = Bar::new(talk, preparation.total(), "pictures");
    for done in preparation.by_ref() {
        bar.reach(done?);
        if stop.asked() {
            return Ok(Outcome::Interrupted);
        }
    }
    drop(bar);
    let outcome = preparation.finish()?;
    if outcome.kept == 0 {
        let why = outcome.unreadable.first().map_or(String::new(), |(what, why)| format!(": {what}: {why}"));
        return Err(Error::new(format!("no picture of '{}' can be used{why}", options.data.display())));
    }

    if let Some(part) = table {
        let failed = || format!("cannot write '{}'", target.display());
        if let Some(source) = source {
            std::fs::copy(source, part.path()).with_context(failed)?;
        } else {
            let mut writer = csv::Writer::from_path(part.path()).with_context(failed)?;
            writer.write_record(["path", "label", "person"]).with_context(failed)?;
            for entry in &data.entries {
                let (name, person) = (name_below(folder, &entry.path), entry.person.as_deref().unwrap_or(""));
                writer.write_record([&name, entry.label.name(), person]).with_context(failed)?;
            }
            writer.flush().with_context(failed)?;
        }
        part.finish()?;
    }
    let unreadable: Vec<_> =
        outcome.unreadable.into_iter().map(|(what, why)| Skipped { what, why }).collect();
    tell_skipped(talk, &unreadable, "pictures");
    talk.say(&format!(
        "{}: {} faces, {} of them unaligned and {} undecided, {} pictures unreadable, {} without an expression",
        options.output.display(),
        outcome.kept,
        outcome.without_face,
        data.undecided.len(),
        unreadable.len(),
        data.blank
    ));
    Ok(Outcome::Done)
}
