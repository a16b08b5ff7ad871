//! `lanet-live train`: a model that tells expressions, learnt from labelled pictures or shards of them.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use candle_core::{DType, Device};
use clap::{Args, ValueEnum};
use indicatif::HumanDuration;
use lanet_live::calibration::Calibration;
use lanet_live::clips::{Dataset, Entry};
use lanet_live::device::Choice;
use lanet_live::error::{Context, Error, Result};
use lanet_live::expression::{COUNT, Expression};
use lanet_live::metrics::{Confusion, calibration_error};
use lanet_live::net::lanet::Pool;
use lanet_live::net::{self, Backbone, Card, Model};
use lanet_live::reader::CALIBRATION;
use lanet_live::train::batch::Lesson;
use lanet_live::train::contrast::Contrast;
use lanet_live::train::frozen::Settings;
use lanet_live::train::labels::Estimation;
use lanet_live::train::lessons::{self, Given};
use lanet_live::train::noise::Noise;
use lanet_live::train::optim::{Method, Schedule};
use lanet_live::train::order::Order;
use lanet_live::train::pictures::Augmentation;
use lanet_live::train::recipe::{Meant, Recipe, check_device};
use lanet_live::train::run::{Event, Training};
use lanet_live::train::shards::shards;
use lanet_live::train::state::recipe_of;

use super::bar::Bar;
use super::epochs::{Judgement, Row, Rows};
use super::evaluate::{cache_folder, samples, tell_skipped};
use super::{Outcome, Stop, Talk, frozen, parsed};

/// The state of a run, in its output folder.
const RUN: &str = "run.safetensors";
/// What came of each epoch, beside it.
const METRICS: &str = "metrics.csv";
/// Faces that are judged at once.
const JUDGED: usize = 64;

/// What is learnt, from what, and how.
#[derive(Debug, Args)]
pub struct Options {
    /// Labelled pictures: a folder with labels.csv, a table, a folder with a folder for each expression, or shards
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// The part of the data to learn from
    #[arg(long, value_name = "NAME", default_value = "train")]
    split_train: String,
    /// The part of the data that chooses the epoch [default: valid-a, else valid; without a column 'split' a tenth]
    #[arg(long, value_name = "NAME")]
    split_valid: Option<String>,
    /// A part of the data that chooses nothing: its accuracy is only written down
    #[arg(long, value_name = "NAME")]
    split_report: Option<String>,
    /// What is learnt: votes, majority, or the name of a column of single labels
    #[arg(long, value_name = "votes|majority|COLUMN", default_value = "votes")]
    labels: String,
    /// Learn from faces whose votes have no majority as well
    #[arg(long)]
    undecided: bool,
    /// A column of single labels that says what faces were meant to show: a second classifier learns it
    #[arg(long, value_name = "COLUMN")]
    meant: Option<String>,
    /// The weight of its cross-entropy
    #[arg(long, value_name = "X", default_value_t = 0.5, requires = "meant")]
    meant_weight: f64,
    /// How much it has to say beside the first classifier, from 0 to 1
    #[arg(long, value_name = "X", default_value_t = 0.5, requires = "meant")]
    mix: f64,
    /// Logit adjustment: leave out of the network how frequent expressions are in the data
    #[arg(long, value_enum, value_name = "on|off", default_value = "off")]
    adjust: Switch,
    /// Judge and keep a moving average of the weights, of which so much stays in a step, such as 0.999 [default: none]
    #[arg(long, value_name = "X")]
    average: Option<f64>,
    /// Learn from so many faces only, drawn by the seed
    #[arg(long, value_name = "N")]
    images: Option<usize>,
    /// Make labels wrong: symmetric:0.3 or class-dependent:0.3
    #[arg(long, value_name = "KIND:P", value_parser = parsed::<Noise>)]
    noise: Option<Noise>,
    /// The folder of the run: the models 'best' and 'last', the run's state, metrics.csv and plot.png
    #[arg(long, value_name = "DIR", default_value = "lanet-trained")]
    output: PathBuf,
    /// Replace an older run there
    #[arg(short = 'y', long)]
    overwrite: bool,
    /// Go on with the run in --output where it was stopped; everything but the data is as it was
    #[arg(long)]
    resume: bool,
    /// The network
    #[arg(long, value_name = "NAME", default_value = "mobilenet-v1", value_parser = parsed::<Backbone>)]
    backbone: Backbone,
    /// Start from these bare weights (a file) [default: random], or with --freeze backbone from a model (a name or a
    /// folder) [default: the one in the program]
    #[arg(long, value_name = "NAME|DIR|FILE")]
    start: Option<String>,
    /// What stays as it is: the whole backbone, so that only a classifier learns, or the stem and the first N stages
    #[arg(long, value_name = "backbone|N", value_parser = freeze)]
    freeze: Option<Freeze>,
    /// The side of the faces that the net sees, in pixels [default: 112; with --freeze backbone as the start]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(32..=1024))]
    size: Option<u32>,
    /// With --freeze backbone: the layers that the classifier sees; 11x2 is the means of stage 11 over a grid of 2 x 2
    #[arg(long, value_name = "STAGES", value_delimiter = ',', default_value = "5,8,11,12,13", value_parser = frozen::pool)]
    layers: Vec<Pool>,
    /// With --freeze backbone: how often each face is seen, each time changed in another way
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u32).range(1..=64))]
    rounds: u32,
    /// Times that as many faces as there are are seen [default: 80; with --freeze backbone 20]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    epochs: Option<u32>,
    /// Faces to a step [default: 128; with --freeze backbone 256]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: Option<u32>,
    /// The rule by which weights change: adam, adamw or sgd
    #[arg(long, value_name = "NAME", default_value = "adam", value_parser = parsed::<Method>)]
    optimizer: Method,
    /// The length of the first steps [default: 0.001]
    #[arg(long, value_name = "X")]
    rate: Option<f64>,
    /// How it falls: constant, linear or cosine
    #[arg(long, value_name = "NAME", default_value = "linear", value_parser = parsed::<Schedule>)]
    schedule: Schedule,
    /// Pull of the weights towards zero [default: 0; with --freeze backbone 0.1]
    #[arg(long, value_name = "X")]
    decay: Option<f64>,
    /// Which faces come: shuffled, or balanced more and more between expressions
    #[arg(long, value_name = "NAME", default_value = "balanced", value_parser = parsed::<Order>)]
    sampler: Order,
    /// Changes of the pictures
    #[arg(long, value_enum, value_name = "on|off", default_value = "on")]
    augment: Switch,
    /// The branch that learns to find landmarks
    #[arg(long, value_enum, value_name = "on|off", default_value = "on")]
    landmark_branch: Switch,
    /// The weight of its loss
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    landmark_weight: f64,
    /// Label distribution estimation
    #[arg(long, value_enum, value_name = "on|off", default_value = "on")]
    lde: Switch,
    /// The weight of its divergence
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    lde_weight: f64,
    /// Neighbours that vote in it
    #[arg(long, value_name = "K", default_value_t = 8)]
    neighbours: usize,
    /// How much of an estimated label stays in a step
    #[arg(long, value_name = "X", default_value_t = 0.9)]
    memory: f64,
    /// The expression-landmark contrastive loss
    #[arg(long, value_enum, value_name = "on|off", default_value = "on")]
    el: Switch,
    /// Its weight
    #[arg(long, value_name = "X", default_value_t = 0.1)]
    el_weight: f64,
    /// How much of its momentum network stays in a step
    #[arg(long, value_name = "X", default_value_t = 0.999)]
    momentum: f64,
    /// Keys in each of its queues
    #[arg(long, value_name = "N", default_value_t = 8192)]
    queue: usize,
    /// Epochs before estimated labels and the contrastive loss begin
    #[arg(long, value_name = "N", default_value_t = 0)]
    warm_up: usize,
    /// With --freeze N and --landmark-branch off: views of each face of which the frozen stages' outputs are remembered
    #[arg(long, value_name = "N", default_value_t = 4)]
    views: usize,
    /// Decides everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Compute on: auto, cpu, cuda:N or metal:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Keep the faces that were found in this folder [default: .lanet-live in the folder of the data]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Switch {
    On,
    Off,
}

/// What stays as it is while the rest learns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Freeze {
    /// All layers.
    Backbone,
    /// The stem and so many stages.
    Stages(usize),
}

fn freeze(text: &str) -> std::result::Result<Freeze, String> {
    match (text, text.parse()) {
        ("backbone", _) => Ok(Freeze::Backbone),
        (_, Ok(stages)) => Ok(Freeze::Stages(stages)),
        _ => Err("what stays as it is: backbone, or a number of stages".into()),
    }
}

/// Learns.
pub fn run(options: &Options, talk: Talk, stop: &Stop) -> Result<Outcome> {
    if options.freeze == Some(Freeze::Backbone) {
        options.check_classifier()?;
        return frozen::run(&options.classifier(), talk, stop);
    }
    let device = options.device.parse::<Choice>()?.open()?;
    check_device(&device)?;
    let state = options.output.join(RUN);
    if !options.resume && state.exists() && !options.overwrite {
        return Err(Error::new(format!("'{}' holds a run already", options.output.display()))
            .advice("go on with --resume, choose another --output, or allow overwriting with -y"));
    }
    let seed = if options.resume { recipe_of(&state)?.seed } else { options.seed };
    let Some(Lessons { train, valid, report }) = lessons_of(options, seed, &device, talk, stop)? else {
        return Ok(Outcome::Interrupted);
    };
    std::fs::create_dir_all(&options.output)
        .with_context(|| format!("the folder '{}' cannot be made", options.output.display()))?;
    let mut training = if options.resume {
        talk.say(
            "going on as the run began: other options than --data, --split-... and --labels do not count",
        );
        Training::resume(&state, train, &device)?
    } else {
        let start = options.start.as_deref().map(Path::new);
        let mut training = Training::begin(options.recipe(), train, start, &device)?;
        training.set_origin(options.origin());
        // From here on there is something to resume, and an older run is gone.
        training.save(&state)?;
        training
    };
    if training.recipe().frozen.is_some() && training.recipe().landmarks.is_none() {
        talk.say(&match training.views() {
            0 => "the frozen stages are computed in each step: fewer --views might be remembered".to_owned(),
            views => format!("the frozen stages' outputs are remembered in {views} views"),
        });
    }
    let mut rows = Rows::open(&options.output.join(METRICS), training.epoch())?;
    let epochs = training.recipe().epochs;
    talk.say(&format!(
        "{} epochs of {} steps of {} faces on {}",
        epochs,
        training.steps(),
        training.recipe().batch,
        options.device
    ));
    let began = (Instant::now(), training.epoch());
    let mut bar = None;
    while let Some(event) = training.next() {
        match event? {
            Event::Step { epoch, step, steps, losses } => {
                let bar =
                    bar.get_or_insert_with(|| Bar::new(talk, steps, &format!("steps of epoch {epoch}")));
                bar.reach(step);
                if talk.verbose && step.is_multiple_of(20) {
                    talk.say(&format!("epoch {epoch} step {step}: {losses:.3?}"));
                }
                if stop.asked() {
                    talk.say("stopped; go on with --resume from the end of the last epoch");
                    return Ok(Outcome::Interrupted);
                }
            }
            Event::Epoch { epoch, losses, rate, images, took } => {
                bar = None;
                let (judgement, logits) = judge(&training, &valid)?;
                let best = training.judged(judgement.accuracy);
                let model = model(&training, options, &judgement)?;
                for name in if best { &["best", "last"][..] } else { &["last"] } {
                    let folder = options.output.join(name);
                    let card = model.save(&folder, DType::F16)?;
                    let on = format!("the {} faces that chose the epoch", valid.len());
                    let calibration = Calibration::fit(&card.fingerprint, &on, &logits, &valid.truth, training.learnt())?;
                    calibration.save(&folder.join(CALIBRATION))?;
                }
                let reported = match report.is_empty() {
                    true => None,
                    false => Some(judge(&training, &report)?.0.accuracy),
                };
                rows.add(Row { epoch, rate, images, took, losses, judgement, reported })?;
                training.save(&state)?;
                #[cfg(feature = "capture")]
                super::plot::save(&options.output.join("plot.png"), &rows.series())?;
                let speed = images as f64 / took.as_secs_f64().max(1e-9);
                let left =
                    began.0.elapsed().div_f64((epoch - began.1) as f64).mul_f64((epochs - epoch) as f64);
                talk.say(&format!(
                    "epoch {epoch:3}: loss {:.3}, {:.4} of given labels, {:.4} of validation{}, {speed:.1} images/s, {} left",
                    losses.total,
                    losses.agreement,
                    judgement.accuracy,
                    if best { ", best" } else { "" },
                    HumanDuration(Duration::from_secs(left.as_secs())),
                ));
            }
        }
    }
    if let Some(best) = training.best() {
        let folder = options.output.join("best");
        talk.say(&format!("{}: epoch {}, {:.4} of validation", folder.display(), best.epoch, best.score));
    }
    Ok(Outcome::Done)
}

impl Options {
    fn recipe(&self) -> Recipe {
        let on = |switch: Switch| switch == Switch::On;
        let published = Recipe::published(self.backbone, self.size.unwrap_or(112) as usize);
        let lde = Estimation { neighbours: self.neighbours, memory: self.memory };
        let el = Contrast { momentum: self.momentum, queue: self.queue, ..Contrast::default() };
        Recipe {
            seed: self.seed,
            epochs: self.epochs.map_or(published.epochs, |n| n as usize),
            batch: self.batch.map_or(published.batch, |n| n as usize),
            optimiser: self.optimizer,
            rate: self.rate.unwrap_or(published.rate),
            schedule: self.schedule,
            decay: self.decay.unwrap_or(published.decay),
            order: self.sampler,
            augmentation: if on(self.augment) { Augmentation::default() } else { Augmentation::NONE },
            noise: self.noise,
            frozen: match self.freeze {
                Some(Freeze::Stages(stages)) => Some(stages),
                Some(Freeze::Backbone) | None => None,
            },
            landmarks: on(self.landmark_branch).then_some(self.landmark_weight),
            lde: on(self.lde).then_some((lde, self.lde_weight)),
            el: on(self.el).then_some((el, self.el_weight)),
            warm_up: self.warm_up,
            views: self.views,
            meant: self.meant.as_ref().map(|_| Meant { weight: self.meant_weight, mix: self.mix }),
            adjust: on(self.adjust),
            average: self.average,
            ..published
        }
    }
}

impl Options {
    /// What is learnt and from where, for the card.
    fn origin(&self) -> String {
        let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let start = self.start.as_deref().map_or("random weights".into(), |start| name(Path::new(start)));
        format!("learnt from {}, labels: {}; started from {start}", name(&self.data), self.labels)
    }

    /// Refuses what a classifier alone does not have.
    fn check_classifier(&self) -> Result<()> {
        let given = [
            ("--labels", self.labels != "votes"),
            ("--images", self.images.is_some()),
            ("--undecided", self.undecided),
            ("--meant", self.meant.is_some()),
            ("--adjust", self.adjust == Switch::On),
            ("--average", self.average.is_some()),
            ("--noise", self.noise.is_some()),
            ("--resume", self.resume),
            ("--split-report", self.split_report.is_some()),
        ];
        match given.into_iter().find(|(_, given)| *given) {
            Some((name, _)) => Err(Error::usage(format!("{name} does not go with --freeze backbone"))
                .advice("freeze all stages but the last instead, as in --freeze 12")),
            None => Ok(()),
        }
    }

    /// Those of a classifier on a backbone that stays as it is.
    fn classifier(&self) -> frozen::Options {
        let usual = Settings::default();
        frozen::Options {
            data: self.data.clone(),
            split_train: self.split_train.clone(),
            split_valid: self.split_valid.clone(),
            start: self.start.clone().unwrap_or_else(|| net::DEFAULT.into()),
            output: self.output.clone(),
            overwrite: self.overwrite,
            size: self.size,
            layers: self.layers.clone(),
            rounds: self.rounds,
            epochs: self.epochs.unwrap_or(20),
            batch: self.batch.unwrap_or(usual.batch as u32),
            rate: self.rate.unwrap_or(usual.rate),
            decay: self.decay.unwrap_or(usual.decay),
            seed: self.seed,
            device: self.device.clone(),
            cache: self.cache.clone(),
        }
    }
}

/// What is learnt from and what chooses the epoch; `None` if the user stopped it.
fn lessons_of(
    options: &Options,
    seed: u64,
    device: &Device,
    talk: Talk,
    stop: &Stop,
) -> Result<Option<Lessons>> {
    let mut data = Dataset::open(&options.data)?;
    tell_skipped(talk, &data.skipped, "lines or folders");
    let valid_name = options
        .split_valid
        .clone()
        .unwrap_or_else(|| if data.splits().contains(&"valid-a") { "valid-a" } else { "valid" }.into());
    if !data.has_splits() {
        data.share_out(&options.split_train, &valid_name, seed);
    }
    let (mut train, valid) = (data.split(&options.split_train)?, data.split(&valid_name)?);
    if options.undecided {
        let in_part = |entry: &&Entry| entry.split.as_deref() == Some(&options.split_train);
        train.extend(data.undecided.iter().filter(in_part).cloned());
    }
    let report = options.split_report.as_deref().map_or(Ok(Vec::new()), |name| data.split(name))?;
    let given = match options.labels.as_str() {
        "votes" => Given::Votes,
        "majority" => Given::Majority,
        column => {
            let (given, unlabelled) = Given::column(&options.data, column)?;
            tell_skipped(talk, &unlabelled, "lines");
            given
        }
    };
    let folder =
        if options.data.is_dir() { &options.data } else { options.data.parent().unwrap_or(Path::new("")) };
    let parts = [(train, &given), (valid, &Given::Votes), (report, &Given::Votes)];
    let lessons = if shards(folder).is_ok_and(|shards| !shards.is_empty()) {
        let parts: Vec<(&[Entry], &Given)> =
            parts.iter().map(|(entries, given)| (&entries[..], *given)).collect();
        let (lessons, missing) = lessons::from_shards(folder, &parts)?;
        tell_skipped(talk, &missing, "pictures");
        lessons
    } else {
        let cache = cache_folder(options.cache.as_deref(), &options.data);
        let mut lessons = Vec::new();
        for (entries, given) in parts {
            if entries.is_empty() {
                lessons.push(Lesson::default());
                continue;
            }
            let Some(samples) = samples(entries, &cache, device, talk, stop)? else { return Ok(None) };
            lessons.push(lessons::from_samples(folder, &samples, given)?);
        }
        lessons
    };
    let [mut train, valid, report] =
        <[Lesson; 3]>::try_from(lessons).map_err(|_| Error::new("a part of the data is lost"))?;
    if let Some(column) = &options.meant {
        let (meant, unlabelled) = Given::column(&options.data, column)?;
        talk.say(&format!("{} lines have no label '{column}'", unlabelled.len()));
        meant.say_meant(folder, &mut train);
    }
    if let Some(images) = options.images {
        train.draw(images, seed);
    }
    for (name, lesson) in [(&options.split_train, &train), (&valid_name, &valid)] {
        let unaligned = lesson.faces.iter().filter(|face| face.landmarks.is_none()).count();
        talk.say(&format!("{name}: {} faces, {unaligned} of them unaligned", lesson.len()));
    }
    for (n, expression) in Expression::ALL.into_iter().enumerate() {
        if !train.classes().contains(&n) {
            talk.say(&format!(
                "{}: no face is labelled {expression}; it will not be told",
                options.split_train
            ));
        }
    }
    if valid.is_empty() {
        return Err(Error::new(format!("no face of '{valid_name}' is left to choose the epoch")));
    }
    Ok(Some(Lessons { train, valid, report }))
}

/// The parts of the data.
struct Lessons {
    train: Lesson,
    valid: Lesson,
    /// Empty if nothing is only reported.
    report: Lesson,
}

fn judge(training: &Training, valid: &Lesson) -> Result<(Judgement, Vec<[f32; COUNT]>)> {
    let logits = training.answers(valid, JUDGED)?;
    let plain = Calibration::none("").expecting(None, training.learnt())?;
    let told: Vec<_> = logits.iter().map(|&logits| plain.apply(logits)).collect();
    if logits.iter().flatten().any(|x| !x.is_finite()) {
        return Err(Error::new(format!(
            "after epoch {} the network gives no numbers any more",
            training.epoch()
        ))
        .advice("the models of the epochs before are kept; begin again with a lower --rate"));
    }
    let confusion = Confusion::of(valid.truth.iter().copied().zip(told.iter().map(|told| told.top().0)));
    let judgement = Judgement {
        accuracy: confusion.accuracy(),
        macro_f1: confusion.macro_f1(),
        calibration_error: calibration_error(&told, &valid.truth),
    };
    Ok((judgement, logits))
}

fn model(training: &Training, options: &Options, judgement: &Judgement) -> Result<Model> {
    let recipe = training.recipe();
    let float = |x: f64| toml::Value::Float((x * 1e4).round() / 1e4);
    let mut results = toml::Table::new();
    results.insert("accuracy on the part that chose the epoch".into(), float(judgement.accuracy));
    results.insert("macro F1 there".into(), float(judgement.macro_f1));
    results.insert("epoch".into(), toml::Value::Integer(training.epoch() as i64));
    results.insert("seed".into(), toml::Value::String(recipe.seed.to_string()));
    let card = Card {
        name: options.output.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        network: format!("lanet-{}", recipe.backbone.name()),
        description: "Tells eight facial expressions: the expression branch of LA-Net".into(),
        origin: training.origin().to_owned(),
        licence: "unknown".into(),
        fingerprint: String::new(),
        mix: recipe.meant.map(|meant| meant.mix as f32),
        prior: None,
        priors: training.learnt().map(|learnt| learnt.shares),
        input: recipe.input(),
        classes: Expression::ALL.to_vec(),
        results,
    };
    Ok(Model::new(card, training.export()?))
}
