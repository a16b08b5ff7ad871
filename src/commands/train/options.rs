//! What `train` is told: options become a recipe and the source of a course.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use lanet_live::clips::Which;
use lanet_live::error::{Error, Result};
use lanet_live::net::lanet::Pool;
use lanet_live::net::{self, Backbone};
use lanet_live::train::contrast::Contrast;
use lanet_live::train::corrections::Corrections;
use lanet_live::train::course::Source;
use lanet_live::train::labels::Estimation;
use lanet_live::train::noise::Noise;
use lanet_live::train::optim::{Method, Schedule};
use lanet_live::train::order::Order;
use lanet_live::train::pictures::Augmentation;
use lanet_live::train::recipe::Meant;
use lanet_live::train::{Recipe, Start};

use crate::commands::evaluate::cache_folder;
use crate::commands::parsed;

/// What is learnt, from what, and how.
#[derive(Debug, Args)]
pub struct Options {
    /// Labelled pictures or clips: a folder with labels.csv, a table, a folder with a folder for each expression, recordings,
    /// or shards
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Learn only from what shows this person, by the table's column 'person' or the folder of recordings
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
    /// Which face of clips that show several: largest, or a number from the left
    #[arg(long, value_name = "largest|N", value_parser = parsed::<Which>)]
    face: Option<Which>,
    /// The part of the data to learn from
    #[arg(long, value_name = "NAME", default_value = "train")]
    pub split_train: String,
    /// The part of the data that chooses the epoch [default: valid-a, else valid; without a column 'split' a tenth]
    #[arg(long, value_name = "NAME")]
    split_valid: Option<String>,
    /// A part of the data that chooses nothing: its accuracy is only written down
    #[arg(long, value_name = "NAME")]
    split_report: Option<String>,
    /// What is learnt: votes, majority, or the name of a column of single labels
    #[arg(long, value_name = "votes|majority|COLUMN", default_value = "votes")]
    labels: String,
    /// Labels that take the place of those of the data: a table path,start,end,label, as the page of an audit saves it
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
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
    /// [default: off; with --adapt on]
    #[arg(long, value_enum, value_name = "on|off")]
    adjust: Option<Switch>,
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
    pub output: PathBuf,
    /// Replace an older run there
    #[arg(short = 'y', long)]
    pub overwrite: bool,
    /// Go on with the run in --output where it was stopped; everything but the data is as it was
    #[arg(long)]
    pub resume: bool,
    /// The network [default: that of the model in --start, else mobilenet-v1]
    #[arg(long, value_name = "NAME", value_parser = parsed::<Backbone>)]
    backbone: Option<Backbone>,
    /// Start from a model (a name or a folder) or from bare weights (a file) [default: random; with --freeze backbone
    /// the model in the program]
    #[arg(long, value_name = "NAME|DIR|FILE")]
    start: Option<String>,
    /// What stays as it is: the whole backbone, so that only a classifier learns, or the stem and the first N stages
    #[arg(long, value_name = "backbone|N", value_parser = freeze)]
    freeze: Option<Freeze>,
    /// Learn a classifier on the frozen net as a small change of that of --start, which keeps what it can do [default: on for
    /// clips without --freeze]
    #[arg(long, value_enum, value_name = "on|off")]
    adapt: Option<Switch>,
    /// With --adapt on: how much it counts that of faces that the model in --start learnt from, and has features of beside its
    /// weights, the same is said as before; 0: nothing is rehearsed [default: 10, if it has any]
    #[arg(long, value_name = "X")]
    rehearsal: Option<f64>,
    /// The side of the faces that the net sees, in pixels [default: that of the model in --start, else 112]
    #[arg(long, value_name = "PIXELS", value_parser = clap::value_parser!(u32).range(32..=1024))]
    size: Option<u32>,
    /// With --freeze backbone: the stages that the classifier sees; 11x2 is the means of stage 11 over a grid of 2 x 2
    /// [default: 5,8,11,12,13 of mobilenet-v1]
    #[arg(long, value_name = "STAGES", value_delimiter = ',', value_parser = pool)]
    layers: Vec<Pool>,
    /// Times that as many faces as there are are seen [default: 80; with --freeze backbone 40]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    epochs: Option<u32>,
    /// Faces to a step [default: 128; with --freeze backbone 256]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=65_536))]
    batch: Option<u32>,
    /// The rule by which weights change: adam, adamw or sgd [default: adam; with --freeze backbone adamw]
    #[arg(long, value_name = "NAME", value_parser = parsed::<Method>)]
    optimizer: Option<Method>,
    /// The length of the first steps
    #[arg(long, value_name = "X", default_value_t = 0.001)]
    rate: f64,
    /// How it falls: constant, linear or cosine [default: linear; with --freeze backbone cosine]
    #[arg(long, value_name = "NAME", value_parser = parsed::<Schedule>)]
    schedule: Option<Schedule>,
    /// Pull of the weights towards zero [default: 0; with --freeze backbone 0.1]
    #[arg(long, value_name = "X")]
    decay: Option<f64>,
    /// Which faces come: shuffled, or balanced more and more between expressions [default: balanced; with --freeze
    /// backbone shuffled]
    #[arg(long, value_name = "NAME", value_parser = parsed::<Order>)]
    sampler: Option<Order>,
    /// Changes of the pictures: on, off, or what differs from on, such as turn=10,erase=0
    #[arg(long, value_name = "CHANGES", default_value = "on", value_parser = parsed::<Augmentation>)]
    augment: Augmentation,
    /// How often a part of a picture is that of another face, and the labels are mixed (CutMix)
    #[arg(long, value_name = "P", default_value_t = 0.0)]
    cutmix: f64,
    /// How much it counts that the net looks at the same places of a face and of its mirror image (flip attention consistency of
    /// EAC, whose authors use 5); takes twice the time [default: 0]
    #[arg(long, value_name = "X")]
    flip_consistency: Option<f64>,
    /// The branch that learns to find landmarks [default: on; with --freeze backbone off]
    #[arg(long, value_enum, value_name = "on|off")]
    landmark_branch: Option<Switch>,
    /// The weight of its loss
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    landmark_weight: f64,
    /// The size of a landmark's spot in a heat map, in sides of the face [default: 1.5 pixels of the map]
    #[arg(long, value_name = "X")]
    sigma: Option<f64>,
    /// Label distribution estimation [default: on; with --freeze backbone off]
    #[arg(long, value_enum, value_name = "on|off")]
    lde: Option<Switch>,
    /// The weight of its divergence
    #[arg(long, value_name = "X", default_value_t = 1.0)]
    lde_weight: f64,
    /// Neighbours that vote in it [default: 8]
    #[arg(long, value_name = "K")]
    neighbours: Option<usize>,
    /// How much of an estimated label stays in a step
    #[arg(long, value_name = "X", default_value_t = 0.9)]
    memory: f64,
    /// The expression-landmark contrastive loss [default: on; with --freeze backbone off]
    #[arg(long, value_enum, value_name = "on|off")]
    el: Option<Switch>,
    /// Its weight
    #[arg(long, value_name = "X", default_value_t = 0.1)]
    el_weight: f64,
    /// How much of its momentum network stays in a step
    #[arg(long, value_name = "X", default_value_t = 0.999)]
    momentum: f64,
    /// From which probability on it takes an estimated label for sure
    #[arg(long, value_name = "P", default_value_t = 0.7)]
    sure: f32,
    /// Keys in each of its queues
    #[arg(long, value_name = "N", default_value_t = 8192)]
    queue: usize,
    /// Epochs before estimated labels and the contrastive loss begin
    #[arg(long, value_name = "N", default_value_t = 0)]
    warm_up: usize,
    /// Where only part of the net learns: views of each face of which the outputs of the other part are remembered: as it
    /// is, mirrored, then changed at random [default: 4; with --freeze backbone 2]
    #[arg(long, value_name = "N")]
    views: Option<usize>,
    /// Decides everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Compute on: auto, cpu, cuda:N or metal:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: String,
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

/// A stage, or a stage and a grid: `13` or `11x2`.
fn pool(text: &str) -> std::result::Result<Pool, String> {
    let (stage, grid) = text.split_once('x').unwrap_or((text, "1"));
    match (stage.trim().parse(), grid.trim().parse()) {
        (Ok(stage), Ok(grid)) => Ok(Pool { stage, grid }),
        _ => Err("a layer is a stage, or a stage with its grid as in 11x2".into()),
    }
}

impl Options {
    /// Where the course comes from; `seed` shares data out that have no parts.
    ///
    /// # Errors
    /// Corrections that cannot be used.
    pub fn source(&self, seed: u64) -> Result<Source> {
        Ok(Source {
            data: self.data.clone(),
            person: self.person.clone(),
            face: self.face.unwrap_or_default(),
            train: self.split_train.clone(),
            valid: self.split_valid.clone(),
            report: self.split_report.clone(),
            labels: self.labels.clone(),
            corrections: self.corrections.as_deref().map(Corrections::open).transpose()?,
            undecided: self.undecided,
            meant: self.meant.clone(),
            seed,
            cache: cache_folder(self.cache.as_deref(), &self.data),
        })
    }

    /// The seed of a new run.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Whether what is learnt is a small change of a start, from clips or from pictures.
    fn adapts(&self, clips: bool) -> bool {
        self.adapt.map_or(clips && self.freeze.is_none(), |adapt| adapt == Switch::On)
    }

    /// What a new run begins from, if not at random; with clips or without.
    ///
    /// # Errors
    /// No such model or file.
    pub fn start(&self, clips: bool) -> Result<Option<Start>> {
        let usual = (self.freeze == Some(Freeze::Backbone) || self.adapts(clips)).then_some(net::DEFAULT);
        self.start.as_deref().or(usual).map(Start::open).transpose()
    }

    /// What decides a new run on so many faces, from clips or without any.
    ///
    /// # Errors
    /// Options that do not go together.
    pub fn recipe(&self, start: Option<&Start>, faces: usize, clips: bool) -> Result<Recipe> {
        let fits = start.and_then(Start::fits);
        let backbone = self.backbone.or(fits.map(|(b, _)| b)).unwrap_or(Backbone::MobilenetV1);
        let side = self.size.map(|side| side as usize).or(fits.map(|(_, side)| side)).unwrap_or(112);
        if self.adapts(clips) && fits.is_some_and(|fits| fits != (backbone, side)) {
            return Err(Error::usage("what is learnt as a change of a model sees faces as that does")
                .advice("leave --backbone and --size out, or use --adapt off"));
        }
        let usual = match (start, self.freeze) {
            (Some(start), _) if self.adapts(clips) => start.personal()?,
            (_, Some(Freeze::Backbone)) => Recipe::classifier(backbone, side),
            (_, Some(Freeze::Stages(_)) | None) => Recipe::published(backbone, side),
        };
        // Of a minute of clips, or in a small folder, there are fewer faces than usual.
        let usual = if usual.probe.is_some() { usual.fitted(faces) } else { usual };
        let probe = match (&usual.probe, self.layers.is_empty()) {
            (None, false) => {
                return Err(Error::usage("--layers goes with --freeze backbone only")
                    .advice("a backbone that learns has its classifier on its last stage"));
            }
            (Some(_), false) => Some(self.layers.clone()),
            (probe, true) => probe.clone(),
        };
        let on = |switch: Option<Switch>, usual: bool| switch.map_or(usual, |switch| switch == Switch::On);
        let most = if usual.probe.is_some() { usual.batch - 1 } else { usize::MAX };
        let neighbours = self.neighbours.unwrap_or(Estimation::default().neighbours.min(most));
        let lde = Estimation { neighbours, memory: self.memory };
        let el =
            Contrast { momentum: self.momentum, queue: self.queue, sure: self.sure, ..Contrast::default() };
        Ok(Recipe {
            seed: self.seed,
            epochs: self.epochs.map_or(usual.epochs, |n| n as usize),
            batch: self.batch.map_or(usual.batch, |n| n as usize),
            optimiser: self.optimizer.unwrap_or(usual.optimiser),
            rate: self.rate,
            schedule: self.schedule.unwrap_or(usual.schedule),
            decay: self.decay.unwrap_or(usual.decay),
            order: self.sampler.unwrap_or(usual.order),
            augmentation: self.augment,
            cutmix: self.cutmix,
            consistency: self.flip_consistency.filter(|&weight| weight != 0.0),
            images: self.images,
            noise: self.noise,
            probe,
            frozen: match self.freeze {
                Some(Freeze::Stages(stages)) => Some(stages),
                Some(Freeze::Backbone) | None => None,
            },
            landmarks: on(self.landmark_branch, usual.landmarks.is_some()).then_some(self.landmark_weight),
            sigma: self.sigma,
            lde: on(self.lde, usual.lde.is_some()).then_some((lde, self.lde_weight)),
            el: on(self.el, usual.el.is_some()).then_some((el, self.el_weight)),
            rehearsal: self.rehearsal.or(usual.rehearsal).filter(|&weight| weight != 0.0),
            warm_up: self.warm_up,
            meant: self.meant.as_ref().map(|_| Meant { weight: self.meant_weight, mix: self.mix }),
            adjust: on(self.adjust, usual.adjust),
            average: self.average,
            views: self.views.unwrap_or(usual.views),
            ..usual
        })
    }
}
