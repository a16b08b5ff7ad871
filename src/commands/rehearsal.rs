//! `lanet-live rehearsal`: what a model shall not forget when it is adapted, as a file of features beside its weights.

use std::path::PathBuf;

use candle_core::Device;
use clap::Args;
use lanet_live::clips::labels::folder_of;
use lanet_live::clips::{Dataset, Which};
use lanet_live::device;
use lanet_live::error::Result;
use lanet_live::net::Model;
use lanet_live::net::card::REHEARSAL;
use lanet_live::part::Part;
use lanet_live::train::Start;
use lanet_live::train::choice::{Choice, draw};
use lanet_live::train::lessons::Given;
use lanet_live::train::rehearsal::save;

use super::bar::Bar;
use super::evaluate::cache_folder;
use super::lesson::gather;
use super::{Outcome, Stop, Talk};

/// Of which model, and from which faces.
#[derive(Debug, Args)]
pub struct Options {
    /// Labelled pictures that the model learnt from: a folder with labels.csv, a table, a folder with a folder for each
    /// expression, or shards
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only this part of the data, by the table's column 'split'
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// The folder of the model
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// How many faces; six times as many are looked at
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u16).range(1..))]
    faces: u16,
    /// Decides which
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Compute on: auto, cpu, cuda:N or metal:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Keep the faces that were found in this folder [default: .lanet-live in the folder of the data]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Replace what the model has
    #[arg(short = 'y', long)]
    overwrite: bool,
}

/// Chooses and keeps.
pub fn run(options: &Options, talk: Talk, stop: &Stop) -> Result<Outcome> {
    let device = options.device.parse::<device::Choice>()?.open()?;
    let model = Model::load(&options.model, &Device::Cpu)?;
    let file = options.model.join(REHEARSAL);
    drop(Part::create(&file, options.overwrite)?);
    let data = Dataset::open(&options.data)?;
    let entries = match &options.split {
        Some(split) => data.split(split)?,
        None => data.entries,
    };
    let count = usize::from(options.faces);
    let entries = draw(entries, count, options.seed);
    let (cache, skipped) = (cache_folder(options.cache.as_deref(), &options.data), data.skipped);
    let look = (&*cache, Which::default());
    let labelled = (entries, &Given::Majority);
    let Some(lesson) = gather(folder_of(&options.data), labelled, skipped, look, &device, talk, stop)? else {
        return Ok(Outcome::Interrupted);
    };
    let bar = Bar::new(talk, lesson.len(), "faces seen");
    let mut choice = Choice::new(lesson, Start::of_model(&model), &device)?;
    for done in choice.by_ref() {
        bar.reach(done?);
        if stop.asked() {
            return Ok(Outcome::Interrupted);
        }
    }
    drop(bar);
    let features = choice.finish(count, options.seed)?;
    save(&file, &features, &model.card.fingerprint, options.overwrite)?;
    talk.say(&format!("{}: features of {} faces", file.display(), options.faces));
    Ok(Outcome::Done)
}
