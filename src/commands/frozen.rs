//! `lanet-live train --freeze backbone`: a classifier on the features of a backbone that stays as it is.

use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use lanet_live::calibration::Calibration;
use lanet_live::clips::{Dataset, Sample};
use lanet_live::device::Choice;
use lanet_live::error::{Error, Result};
use lanet_live::expression::{COUNT, Distribution, Expression};
use lanet_live::metrics::Confusion;
use lanet_live::net::lanet::Pool;
use lanet_live::net::{self, Backbone, Channels, Model, backbone};
use lanet_live::reader::CALIBRATION;
use lanet_live::train::features::FeatureExtraction;
use lanet_live::train::frozen::{Classifier, Features, Settings};

use super::bar::Bar;
use super::evaluate::{cache_folder, samples, tell_skipped};
use super::{Outcome, Stop, Talk};

/// What is learnt, and from what: the options of `train` that a classifier alone has.
#[derive(Debug)]
pub struct Options {
    pub data: PathBuf,
    pub split_train: String,
    pub split_valid: Option<String>,
    pub start: String,
    pub output: PathBuf,
    pub overwrite: bool,
    pub size: Option<u32>,
    pub layers: Vec<Pool>,
    pub rounds: u32,
    pub epochs: u32,
    pub batch: u32,
    pub rate: f64,
    pub decay: f64,
    pub seed: u64,
    pub device: String,
    pub cache: Option<PathBuf>,
}

/// Learns.
pub fn run(options: &Options, talk: Talk, stop: &Stop) -> Result<Outcome> {
    if options.output.exists() && !options.overwrite {
        return Err(Error::new(format!("'{}' exists already", options.output.display()))
            .advice("choose another --output, or allow overwriting with -y"));
    }
    net::card::may_become_model(&options.output)?;
    let device = options.device.parse::<Choice>()?.open()?;
    let start = start(options, &device)?;
    let mut data = Dataset::open(&options.data)?;
    tell_skipped(talk, &data.skipped, "lines or folders");
    let valid_name = valid_name(options, &data);
    if !data.has_splits() {
        data.share_out(&options.split_train, &valid_name, options.seed);
    }
    let (train, valid) = (data.split(&options.split_train)?, data.split(&valid_name)?);
    let cache = cache_folder(options.cache.as_deref(), &options.data);
    let Some(train) = samples(train, &cache, &device, talk, stop)? else { return Ok(Outcome::Interrupted) };
    let Some(valid) = samples(valid, &cache, &device, talk, stop)? else { return Ok(Outcome::Interrupted) };
    for (name, part) in [(&options.split_train, &train), (&valid_name, &valid)] {
        let faceless = part.iter().filter(|sample| sample.mesh.is_none()).count();
        talk.say(&format!("{name}: {} faces, {faceless} of them unaligned", part.len()));
    }
    for expression in Expression::ALL {
        if train.iter().all(|sample| sample.label != expression) {
            talk.say(&format!("{}: no face shows {expression}; it will not be told", options.split_train));
        }
    }

    let features = |samples: &[Sample], round| -> Result<Option<Tensor>> {
        let key = (options.seed, round);
        let mut work = FeatureExtraction::new(&start, &options.layers, samples, key, Some(&cache), &device)?;
        let bar = Bar::new(talk, samples.len(), &format!("faces, round {}", round + 1));
        for done in work.by_ref() {
            bar.reach(done?);
            if stop.asked() {
                return Ok(None);
            }
        }
        work.finish().map(Some)
    };
    let Some(checked) = features(&valid, 0)? else { return Ok(Outcome::Interrupted) };
    let mut rounds = Vec::new();
    for round in 0..options.rounds as usize {
        let Some(values) = features(&train, round)? else { return Ok(Outcome::Interrupted) };
        rounds.push(values);
    }
    let values = Tensor::cat(&rounds, 0)?.to_device(&device)?;
    let targets: Vec<Distribution> = rounds.iter().flat_map(|_| train.iter().map(|s| s.target)).collect();
    drop(rounds);

    let settings = Settings {
        epochs: options.epochs as usize,
        batch: options.batch as usize,
        rate: options.rate,
        decay: options.decay,
        seed: options.seed,
    };
    let mut classifier = Classifier::new(Features::new(values, &targets)?, settings)?;
    let checked = checked.to_device(&device)?;
    let mut best: Option<(f64, usize, Model, Tensor)> = None;
    let mut failure = None;
    while let Some(epoch) = classifier.next() {
        let epoch = match epoch {
            Ok(epoch) => epoch,
            Err(error) => {
                failure = Some(error);
                break;
            }
        };
        let logits = classifier.logits(&checked)?;
        let accuracy = accuracy(&logits, &valid)?;
        talk.say(&format!(
            "epoch {:3}: loss {:.4}, {accuracy:.4} of {valid_name} right",
            epoch.number, epoch.loss
        ));
        // Of equals the later one, which has learnt for longer.
        if best.as_ref().is_none_or(|(known, ..)| accuracy >= *known) {
            best = Some((accuracy, epoch.number, classifier.model(&start, &options.layers)?, logits));
        }
        if stop.asked() {
            break;
        }
    }
    // The best epoch is kept, however the learning ended.
    let ended = |outcome| failure.map_or(Ok(outcome), Err);
    let Some((accuracy, epoch, mut model, logits)) = best else { return ended(Outcome::Done) };
    describe(&mut model, options, &valid_name, accuracy, epoch);
    let card = model.save(&options.output, DType::F16)?;
    let logits = logits.flatten_all()?.to_vec1::<f32>()?;
    let truth: Vec<_> = valid.iter().map(|sample| sample.label).collect();
    let on = format!("{}, {valid_name}, {} faces", data_name(options), truth.len());
    Calibration::fit(&card.fingerprint, &on, logits.as_chunks::<COUNT>().0, &truth, None)?
        .save(&options.output.join(CALIBRATION))?;
    talk.say(&format!("{}: epoch {epoch}, {accuracy:.4} of {valid_name} right", options.output.display()));
    ended(if stop.asked() { Outcome::Interrupted } else { Outcome::Done })
}

/// The model that is started from, seeing grey faces of the wanted size.
fn start(options: &Options, device: &Device) -> Result<Model> {
    let file = Path::new(&options.start);
    let mut model = if file.is_file() {
        backbone::start(file, Backbone::MobilenetV1, 224, device)?
    } else {
        net::open(&options.start, device)?
    };
    model.card.input.channels = Channels::Grey;
    if let Some(size) = options.size {
        (model.card.input.width, model.card.input.height) = (size as usize, size as usize);
    }
    Ok(model)
}

fn valid_name(options: &Options, data: &Dataset) -> String {
    let given = options.split_valid.clone();
    given.unwrap_or_else(|| if data.splits().contains(&"valid-a") { "valid-a" } else { "valid" }.into())
}

/// The share of faces whose highest logit is that of their label.
fn accuracy(logits: &Tensor, samples: &[Sample]) -> Result<f64> {
    let told = logits.argmax(1)?.to_vec1::<u32>()?;
    let pairs = samples.iter().zip(told).map(|(s, told)| (s.label, Expression::ALL[told as usize]));
    Ok(Confusion::of(pairs).accuracy())
}

/// Says in the card what was done.
fn describe(model: &mut Model, options: &Options, valid: &str, accuracy: f64, epoch: usize) {
    let data = data_name(options);
    let card = &mut model.card;
    card.name = options.output.file_name().unwrap_or_default().to_string_lossy().into_owned();
    card.description = "Tells eight facial expressions: a classifier on a frozen backbone".into();
    card.origin = format!("classifier learnt from {data}; backbone: {}", card.origin);
    let result = toml::Value::Float((accuracy * 1e4).round() / 1e4);
    card.results.insert(format!("accuracy, {data} {valid}, which chose the epoch"), result);
    card.results.insert("epoch".into(), toml::Value::Integer(epoch as i64));
    card.results.insert("seed".into(), toml::Value::String(options.seed.to_string()));
}

fn data_name(options: &Options) -> String {
    options.data.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The stages of MobileNet-V1 behind its stem.
const STAGES: usize = 13;

/// A stage, or a stage and a grid: `13` or `11x2`.
pub fn pool(text: &str) -> std::result::Result<Pool, String> {
    let (stage, grid) = text.split_once('x').unwrap_or((text, "1"));
    match (stage.trim().parse(), grid.trim().parse()) {
        (Ok(stage @ 1..=STAGES), Ok(grid @ 1..=8)) => Ok(Pool { stage, grid }),
        _ => Err(format!(
            "a layer is a stage from 1 to {}, or with its grid up to 8 as in 11x2",
            STAGES
        )),
    }
}
