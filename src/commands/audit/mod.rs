//! `lanet-live audit`: which labels are probably wrong, as a table and as a page on which they can be corrected.

mod page;

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::Device;
use clap::Args;
use lanet_live::clips::labels::folder_of;
use lanet_live::clips::split::together;
use lanet_live::clips::{Dataset, Entry, Which};
use lanet_live::device::Choice;
use lanet_live::error::{Context, Result};
use lanet_live::expression::{Distribution, Expression};
use lanet_live::net::{self, Backbone};
use lanet_live::part::Part;
use lanet_live::train::audit::{Audit, Finding, Settings, doubt};
use lanet_live::train::corrections::{Corrections, Piece, piece};
use lanet_live::train::lessons::Given;
use lanet_live::train::portrait::Portrait;
use lanet_live::train::recipe::check_device;
use lanet_live::train::{Lesson, Recipe, Start};

use super::bar::Bar;
use super::evaluate::{cache_folder, check_targets, save_faces};
use super::lesson::gather;
use super::{Outcome, Stop, Talk, parsed, print};

/// The files of an audit, in its output folder.
const TABLE: &str = "audit.csv";
const PAGE: &str = "audit.html";

/// Whose labels are looked at, and how.
#[derive(Debug, Args)]
pub struct Options {
    /// Labelled pictures or clips: a folder with labels.csv, a table, a folder with a folder for each expression, recordings,
    /// or shards
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Only what shows this person, by the table's column 'person' or the folder of recordings
    #[arg(long, value_name = "NAME")]
    person: Option<String>,
    /// Which face of clips that show several: largest, or a number from the left
    #[arg(long, value_name = "largest|N", value_parser = parsed::<Which>)]
    face: Option<Which>,
    /// Only this part of the data, by the table's column 'split'
    #[arg(long, value_name = "NAME")]
    split: Option<String>,
    /// Which labels: votes, majority, or the name of a column of single labels
    #[arg(long, value_name = "votes|majority|COLUMN", default_value = "votes")]
    labels: String,
    /// Labels that take the place of those of the data: what the page of an earlier audit saved
    #[arg(long, value_name = "FILE")]
    corrections: Option<PathBuf>,
    /// The folder of audit.csv and audit.html
    #[arg(long, value_name = "DIR")]
    output: PathBuf,
    /// Show so many faces on the page, the most doubtful
    #[arg(long, value_name = "N", default_value_t = 500)]
    faces: usize,
    /// Also write to this table what a classifier says of each face that has not seen its label: path, given, a probability
    /// for each expression
    #[arg(long, value_name = "PATH")]
    probabilities: Option<PathBuf>,
    /// Look with a model (a name or a folder) or with bare weights (a file)
    #[arg(long, value_name = "NAME|DIR|FILE", default_value = net::DEFAULT)]
    start: String,
    /// The network of bare weights [default: that of the model in --start, else mobilenet-v1]
    #[arg(long, value_name = "NAME", value_parser = parsed::<Backbone>)]
    backbone: Option<Backbone>,
    /// Decides everything random
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Compute on: auto, cpu, cuda:N or metal:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
    /// Keep the faces that were found in this folder, and what the network makes of them [default: .lanet-live in the folder of
    /// the data]
    #[arg(long, value_name = "DIR")]
    cache: Option<PathBuf>,
    /// Replace files that exist
    #[arg(short = 'y', long)]
    overwrite: bool,
}

/// A picture or piece of a clip whose label was judged.
pub struct Judged<'a> {
    pub piece: &'a Piece,
    pub given: Expression,
    estimate: Distribution,
    doubt: f64,
    /// Its face, or the most doubtful of its faces.
    face: &'a Portrait,
}

impl Judged<'_> {
    /// What it probably shows, and how probably.
    pub fn suggested(&self) -> (Expression, f32) {
        self.estimate.top()
    }

    /// Of a clip, when its face is shown, in seconds; else nothing.
    fn moment(&self) -> &str {
        self.face
            .name
            .strip_prefix(&self.piece.path)
            .and_then(|rest| rest.strip_prefix('@'))
            .unwrap_or_default()
    }
}

/// Audits.
pub fn run(options: &Options, talk: Talk, stop: &Stop) -> Result<Outcome> {
    let device = options.device.parse::<Choice>()?.open()?;
    check_device(&device)?;
    let start = Start::open(&options.start)?;
    let data = Dataset::open(&options.data)?;
    let (table, page) = targets(options, &data)?;
    let Some((lesson, entries)) = lesson(options, data, &device, talk, stop)? else {
        return Ok(Outcome::Interrupted);
    };
    let numbers = together(&entries);
    let groups = lesson.entries.iter().map(|&entry| numbers[entry]).collect();
    let fits = start.fits();
    let backbone = options.backbone.or(fits.map(|(backbone, _)| backbone)).unwrap_or(Backbone::MobilenetV1);
    let recipe = Recipe::classifier(backbone, fits.map_or(112, |(_, side)| side));
    let recipe = Recipe { seed: options.seed, ..recipe };
    let cache = cache_folder(options.cache.as_deref(), &options.data);
    let Some((lesson, findings)) = look(lesson, groups, (recipe, &start), Some(&cache), &device, talk, stop)?
    else {
        return Ok(Outcome::Interrupted);
    };

    let piece = |&entry: &usize| piece(folder_of(&options.data), &entries[entry]);
    let pieces: Vec<_> = lesson.entries.iter().map(piece).collect();
    let judged = judged(&lesson, &pieces, &findings);
    let alone = findings.iter().filter(|finding| finding.is_none()).count();
    if alone > 0 {
        talk.say(&format!("{alone} faces are not judged: nothing else shows their expression"));
    }
    if let Some(file) = &options.probabilities {
        let told = lesson.faces.iter().zip(&findings).filter_map(|(face, finding)| {
            finding.as_ref().map(|finding| (face.name.clone(), finding.given, finding.told.0))
        });
        save_faces(file, "given", told, options.overwrite)?;
    }
    save_table(table, &judged)?;
    let doubtful = judged.iter().filter(|one| one.suggested().0 != one.given).count();
    let shown: Vec<_> = judged.iter().enumerate().filter(|(_, one)| one.suggested().0 != one.given).collect();
    let shown = &shown[..doubtful.min(options.faces)];
    page::save(page, &options.data, judged.len(), shown)?;
    let (judged, shown) = (judged.len(), shown.len());
    print(|out| {
        writeln!(out, "{judged} labels judged, {doubtful} of them doubtful, the first {shown} on the page")?;
        writeln!(out, "open {}", options.output.join(PAGE).display())
    })
}

/// A lesson, and what came of each of its faces.
type Looked = (Lesson, Vec<Option<Finding>>);

/// Looks at the labels of a lesson, of whose faces those of one number belong together; `None` if the user stopped it.
pub fn look(
    lesson: Lesson,
    groups: Vec<usize>,
    (recipe, start): (Recipe, &Start),
    cache: Option<&Path>,
    device: &Device,
    talk: Talk,
    stop: &Stop,
) -> Result<Option<Looked>> {
    let mut audit = Audit::new(lesson, groups, Settings::new(recipe), start, cache, device)?;
    let mut bar: Option<(&str, Bar)> = None;
    for progress in audit.by_ref() {
        let (what, done, all) = progress?;
        if bar.as_ref().is_none_or(|(known, _)| *known != what) {
            bar = None;
        }
        bar.get_or_insert_with(|| (what, Bar::new(talk, all, what))).1.reach(done);
        if stop.asked() {
            if let Err(error) = audit.remember() {
                talk.say(&error.line());
            }
            return Ok(None);
        }
    }
    drop(bar);
    if let Some(error) = audit.forgotten() {
        talk.say(&error.line());
    }
    audit.finish().map(Some)
}

/// What will be written, before anything is computed.
fn targets(options: &Options, data: &Dataset) -> Result<(Part, Part)> {
    let failed = || format!("the folder '{}' cannot be made", options.output.display());
    std::fs::create_dir_all(&options.output).with_context(failed)?;
    let [table, page] = [TABLE, PAGE].map(|name| options.output.join(name));
    let mut files = vec![&*table, &*page];
    files.extend(options.probabilities.as_deref());
    check_targets(&files, data, &options.data, options.overwrite)?;
    Ok((Part::create(&table, options.overwrite)?, Part::create(&page, options.overwrite)?))
}

/// The faces, and the pictures and clips that they are of; `None` if the user stopped it.
fn lesson(
    options: &Options,
    mut data: Dataset,
    device: &Device,
    talk: Talk,
    stop: &Stop,
) -> Result<Option<(Lesson, Vec<Entry>)>> {
    let folder = folder_of(&options.data);
    let (mut given, mut skipped) = Given::named(&options.data, &options.labels)?;
    skipped.extend(std::mem::take(&mut data.skipped));
    if let Some(file) = &options.corrections {
        let corrections = Corrections::open(file)?;
        corrections.apply(folder, &mut data)?;
        corrections.apply_to_column(folder, &mut given);
    }
    if let Some(person) = &options.person {
        data.only(person)?;
    }
    let entries = match &options.split {
        Some(split) => data.split(split)?,
        None => data.entries,
    };
    let cache = cache_folder(options.cache.as_deref(), &options.data);
    let look = (&*cache, options.face.unwrap_or_default());
    let found = gather(folder, (entries.clone(), &given), skipped, look, device, talk, stop)?;
    Ok(found.map(|lesson| (lesson, entries)))
}

/// The labels that could be judged, the most doubtful first: of a clip, the mean of what its faces say.
pub fn judged<'a>(lesson: &'a Lesson, pieces: &'a [Piece], findings: &[Option<Finding>]) -> Vec<Judged<'a>> {
    let mut faces: BTreeMap<&Piece, Vec<(&Portrait, &Finding)>> = BTreeMap::new();
    for ((piece, face), finding) in pieces.iter().zip(&lesson.faces).zip(findings) {
        if let Some(finding) = finding {
            faces.entry(piece).or_default().push((face, finding));
        }
    }
    let judged = faces.into_iter().filter_map(|(piece, faces)| {
        let (face, worst) = faces.iter().max_by(|(_, a), (_, b)| a.doubt.total_cmp(&b.doubt))?;
        let share = 1.0 / faces.len() as f32;
        let estimate = Distribution(std::array::from_fn(|c| {
            faces.iter().map(|(_, finding)| finding.estimate.0[c] * share).sum()
        }));
        Some(Judged { piece, given: worst.given, doubt: doubt(worst.given, &estimate), estimate, face })
    });
    let mut judged: Vec<_> = judged.collect();
    judged.sort_by(|a, b| b.doubt.total_cmp(&a.doubt));
    judged
}

fn save_table(part: Part, judged: &[Judged]) -> Result<()> {
    let failed = || format!("cannot write '{}'", part.target().display());
    let mut writer = csv::Writer::from_path(part.path()).with_context(failed)?;
    let header = ["path", "start", "end", "given", "suggested", "probability", "rank", "moment"];
    writer.write_record(header).with_context(failed)?;
    for (n, one) in judged.iter().enumerate() {
        let ([start, end], (suggested, probability)) = (one.piece.seconds(), one.suggested());
        let (probability, rank) = (format!("{probability:.4}"), (n + 1).to_string());
        let (given, suggested) = (one.given.name(), suggested.name());
        let row = [&one.piece.path, &start, &end, given, suggested, &probability, &rank, one.moment()];
        writer.write_record(row).with_context(failed)?;
    }
    writer.flush().with_context(failed)?;
    drop(writer);
    part.finish()
}
