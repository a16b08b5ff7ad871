//! `lanet-live evaluate`: how well a model tells the expressions of labelled pictures.

use std::fmt::Write as _;
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::Device;
use clap::Args;
use lanet_live::calibration::Calibration;
use lanet_live::clips::labels::{CACHE, folder_of, table_of};
use lanet_live::clips::{Dataset, Entry, Extracted, Extraction, Sample, Skipped, Which};
use lanet_live::device::Choice;
use lanet_live::error::{Context, Error, Result};
use lanet_live::expression::{COUNT, Distribution, Expression};
use lanet_live::face::align;
use lanet_live::images;
use lanet_live::metrics::{BINS, Bin, Confusion, calibration_error, reliability};
use lanet_live::net::{self, LaNet, Mix, Model};
use lanet_live::part::{self, Part};
use lanet_live::prior::Prior;
use lanet_live::reader::calibration_of;
use lanet_live::reading::UNSURE_CONFIDENCE;
use serde_json::json;

use super::bar::Bar;
use super::{Outcome, Stop, Talk, place, print, same_file};

/// Faces between two looks at the bar.
const BATCH: usize = 64;

/// What is measured, and on what.
#[derive(Debug, Args)]
pub struct Options {
    /// Labelled pictures or clips: a folder with labels.csv, a table, a folder with a folder for each expression, or
    /// recordings
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only what shows this person, by the table's column 'person' or the folder of recordings
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
    /// Which face of clips that show several: largest, or a number from the left
    #[arg(long, value_name = "largest|N", value_parser = super::parsed::<Which>)]
    face: Option<Which>,
    /// Only this part of the data, by the table's column 'split'
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// The model: a name or a folder
    #[arg(long, value_name = "NAME|DIR", default_value = net::DEFAULT)]
    model: String,
    /// How frequent expressions are expected to be: natural (as in the data that the model learnt from), balanced, a
    /// number from 0 (balanced) to 1 (natural), or a file of lines like anger = 0.2 [default: as the model's card says]
    #[arg(long, value_name = "natural|balanced|X|FILE", value_parser = super::parsed::<Prior>)]
    prior: Option<Prior>,
    /// For a model with two classifiers: how much the second, of what was meant, has to say, from 0 to 1 [default: as the
    /// model's card says]
    #[arg(long, value_name = "X")]
    mix: Option<f32>,
    /// Calibrate the probabilities by this file
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,
    /// Fit a calibration to these pictures and write it to this file
    #[arg(long, value_name = "FILE", conflicts_with = "calibration")]
    fit_calibration: Option<PathBuf>,
    /// Compute on: auto, cpu, cuda:N or metal:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Keep the faces that were found in this folder [default: .lanet-live in the folder of the data]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Also write the figures to this file
    #[arg(long, value_name = "PATH")]
    json: Option<PathBuf>,
    /// Also draw a reliability diagram into this picture
    #[arg(long, value_name = "PATH")]
    diagram: Option<PathBuf>,
    /// Also write what was told of each face to this table: path, label, logits
    #[arg(long, value_name = "PATH")]
    faces: Option<PathBuf>,
    /// Replace files that exist
    #[arg(short = 'y', long)]
    overwrite: bool,
}

/// Measures.
pub fn run(options: &Options, talk: Talk, stop: &Stop) -> Result<Outcome> {
    let device = options.device.parse::<Choice>()?.open()?;
    let mut model = net::open(&options.model, &device)?;
    if let Some(mix) = options.mix {
        if model.card.mix.is_none() || !(0.0..=1.0).contains(&mix) {
            return Err(Error::usage(format!("the model '{}' cannot be mixed by {mix}", options.model))
                .advice("choose a model with two classifiers, and a --mix from 0 to 1"));
        }
        model.card.mix = Some(Mix::Always(mix));
    }
    let learnt = model.card.learnt();
    let net = LaNet::expecting(&model, options.prior)?;
    let mut data = Dataset::open(&options.data)?;
    if let Some(person) = &options.person {
        data.only(person)?;
    }
    tell_skipped(talk, &data.skipped, "lines or folders");
    let files = [&options.json, &options.fit_calibration, &options.faces, &options.diagram];
    let files: Vec<&Path> = files.into_iter().flatten().map(|file| &**file).collect();
    if let Some(file) = &options.diagram {
        images::format_of(file)?;
    }
    check_targets(&files, &data, &options.data, options.overwrite)?;
    let entries = match &options.split {
        Some(split) => data.split(split)?,
        None => data.entries,
    };
    let cache = cache_folder(options.cache.as_deref(), &options.data);
    let face = options.face.unwrap_or_default();
    let Some(samples) = samples(entries, face, &cache, &device, talk, stop)? else {
        return Ok(Outcome::Interrupted);
    };

    let Some(logits) = logits(&net, &samples, &device, talk, stop)? else { return Ok(Outcome::Interrupted) };

    let truth: Vec<_> = samples.iter().map(|sample| sample.label).collect();
    let fingerprint = &model.card.fingerprint;
    let calibration = match (&options.calibration, &options.fit_calibration) {
        (Some(file), _) => Calibration::load(file, fingerprint)?,
        (None, Some(file)) => {
            let split = options.split.as_deref().unwrap_or("all");
            let name = options.data.file_name().unwrap_or_default().to_string_lossy();
            let on = format!("{name}, {split}, {} faces", truth.len());
            let is_usual = options.prior.is_none() || !model.card.mixes_by_prior();
            let known = is_usual.then(|| logits.clone());
            let Some((usual, others)) = logits_to_fit(&model, known, &samples, &device, talk, stop)? else {
                return Ok(Outcome::Interrupted);
            };
            let fit = |logits: &Vec<_>| Calibration::fit(fingerprint, &on, logits, &truth, learnt);
            let mut fitted = fit(&usual)?;
            if let Some([natural, balanced]) = &others {
                fitted = fitted.joined(&fit(natural)?, &fit(balanced)?);
            }
            fitted.save(file, options.overwrite)?;
            fitted
        }
        (None, None) => calibration_of(&options.model, &model.card)?,
    };
    let expecting = |calibration: Calibration| calibration.expecting(options.prior, learnt);
    let calibration = expecting(calibration)?;
    let figures = Figures::of(&samples, &truth, &logits, &calibration);
    let raw = Figures::of(&samples, &truth, &logits, &expecting(Calibration::none(fingerprint))?);
    // What was measured is said whatever becomes of the files.
    let outcome = print(|out| out.write_all(figures.text(&calibration.words(), raw.ece).as_bytes()))?;
    if let Some(file) = &options.json {
        figures.save(file, options.overwrite)?;
    }
    if let Some(file) = &options.diagram {
        let data = options.data.file_name().unwrap_or_default().to_string_lossy();
        let part = options.split.as_deref().map_or(String::new(), |split| format!(" {split}"));
        let title =
            format!("{data}{part}: calibration error {:.3} over {} faces", figures.ece, figures.images);
        super::reliability::save(file, &[(title, figures.bins)], options.overwrite)?;
    }
    if let Some(file) = &options.faces {
        let name = |sample: &Sample| sample.path.to_string_lossy().into_owned() + &sample.moment();
        let faces = samples.iter().zip(&logits).map(|(sample, &logits)| (name(sample), sample.label, logits));
        save_faces(file, "label", faces, options.overwrite)?;
    }
    Ok(outcome)
}

/// Refuses files to write that are read from the data at `at`, that come twice, or that cannot be written, before anything is
/// computed.
///
/// # Errors
/// Such a file.
pub fn check_targets(targets: &[&Path], data: &Dataset, at: &Path, overwrite: bool) -> Result<()> {
    let table = table_of(at);
    for (n, file) in targets.iter().enumerate() {
        let entries = data.entries.iter().chain(&data.undecided);
        let mut read = entries.map(|entry| &entry.path).chain(&table);
        let before = |other: &&Path| place(other) == place(file);
        let twice = match (read.any(|read| same_file(read, file)), targets[..n].iter().any(before)) {
            (true, _) => "both read and written",
            (_, true) => "written twice",
            _ => {
                // Made and dropped again.
                drop(Part::create(file, overwrite)?);
                continue;
            }
        };
        return Err(Error::usage(format!("'{}' would be {twice}", file.display()))
            .advice("choose another name for what is written"));
    }
    Ok(())
}

/// What came out.
pub struct Figures {
    confusion: Confusion,
    ece: f64,
    bins: [Bin; BINS],
    /// The share of faces of which no expression is probable enough, and the accuracy over the others.
    unsure: f64,
    sure_accuracy: f64,
    images: usize,
    without_face: usize,
}

impl Figures {
    fn of(samples: &[Sample], truth: &[Expression], logits: &[[f32; COUNT]], by: &Calibration) -> Self {
        let told: Vec<Distribution> = logits.iter().map(|&logits| by.apply(logits)).collect();
        let pairs = || truth.iter().copied().zip(&told);
        let told_of = |(truth, told): (Expression, &Distribution)| (truth, told.top().0);
        let sure = pairs().filter(|(_, told)| told.top().1 >= UNSURE_CONFIDENCE).map(told_of);
        let sure = Confusion::of(sure);
        Self {
            confusion: Confusion::of(pairs().map(told_of)),
            unsure: 1.0 - sure.total() as f64 / told.len().max(1) as f64,
            sure_accuracy: sure.accuracy(),
            ece: calibration_error(&told, truth),
            bins: reliability(&told, truth),
            images: samples.len(),
            without_face: samples.iter().filter(|sample| sample.mesh.is_none()).count(),
        }
    }

    fn save(&self, file: &Path, overwrite: bool) -> Result<()> {
        let recall: serde_json::Map<_, _> = Expression::ALL
            .iter()
            .zip(self.confusion.recall())
            .map(|(e, r)| (e.name().into(), json!(r)))
            .collect();
        let value = json!({
            "accuracy": self.confusion.accuracy(),
            "macro_f1": self.confusion.macro_f1(),
            "macro_recall": self.confusion.macro_recall(),
            "unsure": self.unsure,
            "accuracy_of_sure": self.sure_accuracy,
            "recall": recall,
            "confusion": self.confusion.counts,
            "ece": self.ece,
            "bins": self.bins.map(|bin| json!([bin.faces, bin.right, bin.sum])),
            "images": self.images,
            "without_face": self.without_face,
        });
        part::write(file, overwrite, format!("{value:#}\n"))
    }

    fn text(&self, scaled: &str, raw_ece: f64) -> String {
        let mut text = String::new();
        let faceless = 100.0 * self.without_face as f64 / self.images.max(1) as f64;
        let mut line = |words: String| {
            let _ = writeln!(text, "{words}");
        };
        line(format!(
            "images      {}, {} of them without a face ({faceless:.1} %)",
            self.images, self.without_face
        ));
        line(format!("accuracy    {:.4}", self.confusion.accuracy()));
        line(format!("macro F1    {:.4}", self.confusion.macro_f1()));
        let (recall, classes) = (self.confusion.macro_recall(), self.confusion.recall());
        let classes = classes.iter().flatten().count();
        line(format!("macro recall {recall:.4} over the {classes} expressions that the data show"));
        let (unsure, sure) = (100.0 * self.unsure, self.sure_accuracy);
        line(format!("unsure      {unsure:.1} % of the faces, accuracy {sure:.4} over the others"));
        let ece = self.ece;
        line(format!("calibration error {ece:.4} at {scaled}, {raw_ece:.4} without"));
        let names = Expression::ALL.map(|e| format!("{:.5}", e.name()));
        line(format!(
            "\n{:10} {:>6}   taken for {}",
            "",
            "recall",
            names.map(|n| format!("{n:>6}")).concat()
        ));
        for (expression, recall) in Expression::ALL.into_iter().zip(self.confusion.recall()) {
            let recall = recall.map_or("-".into(), |r| format!("{r:.3}"));
            let counts = self.confusion.counts[expression as usize].map(|n| format!("{n:>6}")).concat();
            line(format!("{expression:10} {recall:>6}             {counts}"));
        }
        text
    }
}

/// Writes a table of faces: the name of each, its label in the column `label`, and a number for each expression.
pub fn save_faces(
    file: &Path,
    label: &str,
    faces: impl Iterator<Item = (String, Expression, [f32; COUNT])>,
    overwrite: bool,
) -> Result<()> {
    let failed = || format!("cannot write '{}'", file.display());
    let part = Part::create(file, overwrite)?;
    let mut writer = csv::Writer::from_path(part.path()).with_context(failed)?;
    let header = ["path", label].into_iter().chain(Expression::ALL.map(Expression::name));
    writer.write_record(header).with_context(failed)?;
    for (path, label, numbers) in faces {
        let row = [path, label.name().to_owned()].into_iter();
        writer.write_record(row.chain(numbers.map(|number| number.to_string()))).with_context(failed)?;
    }
    writer.flush().with_context(failed)?;
    drop(writer);
    part.finish()
}

/// Where faces that were found are kept.
pub fn cache_folder(given: Option<&Path>, data: &Path) -> PathBuf {
    given.map_or_else(|| folder_of(data).join(CACHE), Path::to_owned)
}

/// Finds the faces of labelled pictures and clips; `None` if the user stopped it.
pub fn samples(
    entries: Vec<Entry>,
    face: Which,
    cache: &Path,
    device: &Device,
    talk: Talk,
    stop: &Stop,
) -> Result<Option<Vec<Sample>>> {
    let what = if entries.iter().any(Entry::is_clip) { "clips" } else { "pictures" };
    let mut extraction = Extraction::new(entries, Some(cache), device)?.of_face(face);
    let bar = Bar::new(talk, extraction.total(), what);
    for done in extraction.by_ref() {
        bar.reach(done?);
        if stop.asked() {
            if let Err(error) = extraction.remember() {
                talk.say(&error.line());
            }
            return Ok(None);
        }
    }
    drop(bar);
    let Extracted { samples, unreadable, forgotten } = extraction.finish()?;
    if let Some(error) = forgotten {
        talk.say(&error.line());
    }
    let unreadable: Vec<_> =
        unreadable.into_iter().map(|(path, why)| Skipped { what: path.display().to_string(), why }).collect();
    tell_skipped(talk, &unreadable, what);
    if samples.is_empty() {
        return Err(Error::new("no picture or clip of the data can be used"));
    }
    Ok(Some(samples))
}

/// What a network says of faces; `None` if the user stopped it.
pub fn logits(
    net: &LaNet,
    samples: &[Sample],
    device: &Device,
    talk: Talk,
    stop: &Stop,
) -> Result<Option<Vec<[f32; COUNT]>>> {
    let bar = Bar::new(talk, samples.len(), "faces");
    let mut logits = Vec::with_capacity(samples.len());
    for part in samples.chunks(BATCH) {
        let side = net.input().width;
        let crops = part
            .iter()
            .map(|sample| {
                let image = sample.image()?;
                align::crop(&image, sample.mesh.as_ref(), side)
            })
            .collect::<Result<Vec<_>>>()?;
        logits.extend(net.logits(&crops, device)?);
        bar.reach(logits.len());
        if stop.asked() {
            return Ok(None);
        }
    }
    Ok(Some(logits))
}

/// What a network says where expressions are expected as usual, and, unless it always says the same, where they are as in its
/// data and where all are alike.
type Expected = (Vec<[f32; COUNT]>, Option<[Vec<[f32; COUNT]>; 2]>);

/// The logits of a model to which a calibration is fitted, those of the usual prior being `known` or not; or `None` if it was
/// interrupted.
pub fn logits_to_fit(
    model: &Model,
    known: Option<Vec<[f32; COUNT]>>,
    samples: &[Sample],
    device: &Device,
    talk: Talk,
    stop: &Stop,
) -> Result<Option<Expected>> {
    let expecting = |prior| logits(&LaNet::expecting(model, prior)?, samples, device, talk, stop);
    let Some(usual) = known.map_or_else(|| expecting(None), |known| Ok(Some(known)))? else {
        return Ok(None);
    };
    if !model.card.mixes_by_prior() {
        return Ok(Some((usual, None)));
    }
    let (natural, balanced) = (expecting(Some(Prior::NATURAL))?, expecting(Some(Prior::BALANCED))?);
    Ok(natural.zip(balanced).map(|(natural, balanced)| (usual, Some([natural, balanced]))))
}

/// Names what was left out.
pub fn tell_skipped(talk: Talk, skipped: &[Skipped], what: &str) {
    const NAMED: usize = 10;
    for Skipped { what, why } in skipped.iter().take(NAMED) {
        talk.say(&format!("left out: {what}: {why}"));
    }
    if skipped.len() > NAMED {
        talk.say(&format!("left out: {} more {what}", skipped.len() - NAMED));
    }
}
