//! The lessons of a run: what is learnt from, what chooses the epoch, and what is only reported.

use std::path::{Path, PathBuf};

use candle_core::Device;

use super::batch::Lesson;
use super::corrections::Corrections;
use super::lessons::{self, Given};
use super::shards::shards;
use crate::clips::labels::folder_of;
use crate::clips::{Dataset, Entry, Extracted, Extraction, Sample, Skipped};
use crate::error::{Error, Result};

/// Lessons that belong together.
#[derive(Debug, Clone, Default)]
pub struct Course {
    /// What is learnt from.
    pub train: Lesson,
    /// What chooses the epoch; if it is empty, the last one is chosen.
    pub valid: Lesson,
    /// What chooses nothing and is only reported; it may be empty.
    pub report: Lesson,
    /// What the lessons are, in words.
    pub about: String,
}

/// Where a course comes from.
#[derive(Debug, Clone)]
pub struct Source {
    /// A table, a folder with one, a folder with a folder for each expression, or shards.
    pub data: PathBuf,
    /// The part of the data to learn from.
    pub train: String,
    /// The part that chooses the epoch; `None`: valid-a if there is one, else valid.
    pub valid: Option<String>,
    /// The part that is only reported.
    pub report: Option<String>,
    /// What is learnt: `votes`, `majority`, or a column of single labels.
    pub labels: String,
    /// Whether faces whose votes have no majority are learnt from as well.
    pub undecided: bool,
    /// Labels that take the place of those of the data.
    pub corrections: Option<Corrections>,
    /// A column of single labels that says what faces were meant to show.
    pub meant: Option<String>,
    /// Shares the data out where they have no parts.
    pub seed: u64,
    /// Where faces that were found are kept.
    pub cache: PathBuf,
}

/// A course, and what was left out of it.
#[derive(Debug, Default)]
pub struct Gathered {
    /// The course.
    pub course: Course,
    /// The name of the part that chooses the epoch.
    pub valid: String,
    /// Lines, folders and pictures that cannot be used.
    pub skipped: Vec<Skipped>,
}

impl Source {
    /// Opens the data and finds their faces if need be: from pictures, `progress` hears how many of how many are done,
    /// and stops it by `false`, which gives `None`.
    ///
    /// # Errors
    /// Data that cannot be used, or networks that fail.
    pub fn gather(
        &self,
        device: &Device,
        progress: &mut dyn FnMut(usize, usize) -> bool,
    ) -> Result<Option<Gathered>> {
        let mut data = Dataset::open(&self.data)?;
        let valid = match (&self.valid, data.splits().contains(&"valid-a")) {
            (Some(name), _) => name.clone(),
            (None, known) => if known { "valid-a" } else { "valid" }.to_owned(),
        };
        if !data.has_splits() {
            data.share_out(&self.train, &valid, self.seed);
            data.undecided.iter_mut().for_each(|entry| entry.split = Some(self.train.clone()));
        }
        let folder = folder_of(&self.data);
        if let Some(corrections) = &self.corrections {
            corrections.apply(folder, &mut data)?;
        }
        let part = |name: Option<&str>| name.map_or(Ok(Vec::new()), |name| data.split(name));
        let mut entries = [part(Some(&self.train))?, part(Some(&valid))?, part(self.report.as_deref())?];
        if self.undecided {
            let of_train = data.undecided.iter().filter(|entry| entry.split.as_ref() == Some(&self.train));
            entries[0].extend(of_train.cloned());
        }
        let mut skipped = data.skipped.clone();
        let (mut given, unlabelled) = Given::named(&self.data, &self.labels)?;
        skipped.extend(unlabelled);
        if let Some(corrections) = &self.corrections {
            corrections.apply_to_column(folder, &mut given);
        }
        let givens = [&given, &Given::Votes, &Given::Votes];
        let found = parts(folder, entries, givens, &self.cache, device, &mut skipped, progress)?;
        let Some([mut train, chooses, report]) = found else { return Ok(None) };
        if chooses.is_empty() {
            return Err(Error::new(format!("no face of '{valid}' is left to choose the epoch")));
        }
        if let Some(column) = &self.meant {
            let (meant, unlabelled) = Given::column(&self.data, column)?;
            meant.say_meant(folder, &mut train);
            if !unlabelled.is_empty() {
                let why = format!("{} lines do not say what was meant", unlabelled.len());
                skipped.push(Skipped { what: format!("column {column}"), why });
            }
        }
        let name = self.data.file_name().unwrap_or_default().to_string_lossy();
        let corrected = self
            .corrections
            .as_ref()
            .map_or(String::new(), |corrections| format!(", {} of them corrected", corrections.len()));
        let about = format!("{name}, labels: {}{corrected}", self.labels);
        let course = Course { train, valid: chooses, report, about };
        Ok(Some(Gathered { course, valid, skipped }))
    }
}

/// The faces of some parts of data whose pictures lie below `folder`, each with the labels that are given there: from
/// shards if there are any, else faces are looked for and kept in `cache`. `None` if `progress` stopped it.
///
/// # Errors
/// As [`Source::gather`].
pub fn parts<const N: usize>(
    folder: &Path,
    entries: [Vec<Entry>; N],
    givens: [&Given; N],
    cache: &Path,
    device: &Device,
    skipped: &mut Vec<Skipped>,
    progress: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Option<[Lesson; N]>> {
    let lessons = if shards(folder).is_ok_and(|shards| !shards.is_empty()) {
        let parts: Vec<(&[Entry], &Given)> = entries.iter().map(Vec::as_slice).zip(givens).collect();
        let (lessons, missing) = lessons::from_shards(folder, &parts)?;
        skipped.extend(missing);
        lessons
    } else {
        let mut lessons = Vec::new();
        for (entries, given) in entries.into_iter().zip(givens) {
            let Some(samples) = find(entries, cache, device, skipped, progress)? else { return Ok(None) };
            lessons.push(lessons::from_samples(folder, &samples, given)?);
        }
        lessons
    };
    lessons.try_into().map(Some).map_err(|_| Error::new("a part of the data is lost"))
}

/// The faces of pictures; `None` if `progress` stopped it.
fn find(
    entries: Vec<Entry>,
    cache: &Path,
    device: &Device,
    skipped: &mut Vec<Skipped>,
    progress: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Option<Vec<Sample>>> {
    if entries.is_empty() {
        return Ok(Some(Vec::new()));
    }
    let mut extraction = Extraction::new(entries, Some(cache), device)?;
    let all = extraction.total();
    for done in extraction.by_ref() {
        if !progress(done?, all) {
            // Where they cannot be remembered, they are only looked for again.
            let _ = extraction.remember();
            return Ok(None);
        }
    }
    let Extracted { samples, unreadable, forgotten } = extraction.finish()?;
    let named = |(path, why): (PathBuf, String)| Skipped { what: path.display().to_string(), why };
    skipped.extend(unreadable.into_iter().map(named));
    skipped.extend(forgotten.map(|error| Skipped { what: "remembering faces".into(), why: error.line() }));
    if samples.is_empty() {
        return Err(Error::new("no picture of the data can be read"));
    }
    Ok(Some(samples))
}
