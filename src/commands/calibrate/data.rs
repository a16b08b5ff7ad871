//! `lanet-live calibrate --data DIR`: fits a temperature or a vector to labelled pictures, judged by pictures that it was not
//! fitted to.

use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::Device;
use clap::{Args, ValueEnum};
use lanet_live::clips::split::together;
use lanet_live::clips::{Dataset, Sample, Which};
use lanet_live::device::Choice;
use lanet_live::error::{Error, Result};
use lanet_live::held_out::{self, Fitted, Heard, Scaling};
use lanet_live::images;
use lanet_live::net::{self, Model};
use lanet_live::reader::CALIBRATION;

use crate::commands::evaluate::{cache_folder, check_targets, logits_to_fit, samples, tell_skipped};
use crate::commands::{Outcome, Stop, Talk, print};

/// What is fitted, and to what.
#[derive(Debug, Args)]
pub struct Options {
    /// Labelled pictures that the model did not learn from: a folder with labels.csv, a table, or a folder with a folder for
    /// each expression
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Only this part of the data, by the table's column 'split'
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// The file of the calibration [default: calibration.toml in the model's folder, where it is used from then on; for a model
    /// in the program calibration/NAME.toml]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// How logits are scaled [default: what is better on pictures that it was not fitted to]
    #[arg(long, value_enum, value_name = "temperature|vector")]
    scaling: Option<Wanted>,
    /// Also draw reliability diagrams, before and after, into this picture
    #[cfg(feature = "capture")]
    #[arg(long, value_name = "PATH")]
    diagram: Option<PathBuf>,
    /// Decides which pictures judge which
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Compute on: auto, cpu, cuda:N or metal:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Keep the faces that were found in this folder [default: .lanet-live in the folder of the data]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Replace files that exist
    #[arg(short = 'y', long)]
    overwrite: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Wanted {
    Temperature,
    Vector,
}

impl Options {
    /// The device to compute on.
    ///
    /// # Errors
    /// No such device.
    pub fn device(&self) -> Result<Device> {
        self.device.parse::<Choice>()?.open()
    }
}

/// Fits.
pub fn run(options: &Options, model_name: &str, talk: Talk, stop: &Stop) -> Result<Outcome> {
    let Some(folder) = &options.data else {
        return Err(Error::usage("there is nothing to calibrate")
            .advice("give --data DIR, or --person NAME --neutral"));
    };
    let device = options.device()?;
    let model = net::open(model_name, &device)?;
    let output = output(options, model_name);
    #[cfg(feature = "capture")]
    let drawn = options.diagram.as_deref();
    #[cfg(not(feature = "capture"))]
    let drawn: Option<&Path> = None;
    if let Some(file) = drawn {
        images::format_of(file)?;
    }
    let targets: Vec<&Path> = [&*output].into_iter().chain(drawn).collect();
    let data = Dataset::open(folder)?;
    check_targets(&targets, &data, folder, options.overwrite)?;
    tell_skipped(talk, &data.skipped, "of the table");
    let entries = match &options.split {
        Some(split) => data.split(split)?,
        None => data.entries,
    };
    let (cache, numbers) = (cache_folder(options.cache.as_deref(), folder), together(&entries));
    let Some(samples) = samples(entries, Which::Only, &cache, &device, talk, stop)? else {
        return Ok(Outcome::Interrupted);
    };
    let wanted = options.scaling.map(|wanted| match wanted {
        Wanted::Temperature => Scaling::Temperature,
        Wanted::Vector => Scaling::Vector,
    });
    let name = folder.file_name().unwrap_or_default().to_string_lossy();
    let split = options.split.as_deref().unwrap_or("all");
    let on = format!("{name}, {split}, {} faces", samples.len());
    let groups: Vec<_> = samples.iter().map(|sample| numbers[sample.entry]).collect();
    let Some(fitted) = fit(&model, (&samples, &groups), &on, (wanted, options.seed), &device, talk, stop)?
    else {
        return Ok(Outcome::Interrupted);
    };
    let truth: Vec<_> = samples.iter().map(|sample| sample.label).collect();
    fitted.calibration.save(&output, options.overwrite)?;
    #[cfg(feature = "capture")]
    if let Some(file) = &options.diagram {
        diagram(file, &fitted, &truth, options.overwrite)?;
    }
    talk.say(&format!("{}: fitted to {} faces", output.display(), truth.len()));
    print(|out| out.write_all(text(&fitted).as_bytes()))
}

/// Fits a calibration of a model to samples that it did not learn from, each with the number of what it belongs to, `on` saying
/// what they are; `None` if the user stopped it.
pub fn fit(
    model: &Model,
    (samples, groups): (&[Sample], &[usize]),
    on: &str,
    (wanted, seed): (Option<Scaling>, u64),
    device: &Device,
    talk: Talk,
    stop: &Stop,
) -> Result<Option<Fitted>> {
    let Some((usual, others)) = logits_to_fit(model, None, samples, device, talk, stop)? else {
        return Ok(None);
    };
    let truth: Vec<_> = samples.iter().map(|sample| sample.label).collect();
    let fit = |logits| {
        let heard = Heard { logits, truth: &truth, groups };
        held_out::fit((&model.card.fingerprint, on), heard, model.card.learnt(), wanted, seed)
    };
    let mut fitted = fit(&usual)?;
    if let Some([natural, balanced]) = &others {
        fitted = fitted.joined(&fit(natural)?, &fit(balanced)?);
    }
    Ok(Some(fitted))
}

/// Where the calibration will be.
fn output(options: &Options, model_name: &str) -> PathBuf {
    let embedded = net::names().any(|name| name == model_name);
    let usual = || match embedded {
        true => Path::new("calibration").join(format!("{model_name}.toml")),
        false => Path::new(model_name).join(CALIBRATION),
    };
    options.output.clone().unwrap_or_else(usual)
}

#[cfg(feature = "capture")]
fn diagram(
    file: &Path,
    fitted: &Fitted,
    truth: &[lanet_live::expression::Expression],
    overwrite: bool,
) -> Result<()> {
    let panel = |when: &str, told: &_, error: f64| {
        let title = format!("{when}: calibration error {error:.3} over {} faces", truth.len());
        (title, lanet_live::metrics::reliability(told, truth))
    };
    let [before, after] = fitted.errors;
    let panels = [panel("before", &fitted.before, before), panel("after", &fitted.after, after)];
    crate::commands::reliability::save(file, &panels, overwrite)
}

fn text(fitted: &Fitted) -> String {
    let [before, after] = fitted.errors;
    let mut text =
        format!("calibration error {before:.4} before, {after:.4} after, on faces not fitted to\n");
    for choice in &fitted.choices {
        let chosen = match choice.chosen {
            Scaling::Temperature => "temperature",
            Scaling::Vector => "vector",
        };
        text += &format!(
            "{:9} prior: loss {:.4} before, {:.4} with a temperature, {:.4} with a vector: {chosen}\n",
            choice.expected, choice.before, choice.temperature, choice.vector
        );
    }
    text
}
