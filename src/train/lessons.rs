//! From labelled pictures, or shards of them, to a lesson: faces with the labels that they are learnt with.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use rayon::prelude::*;

use super::lesson::Lesson;
use super::portrait::Portrait;
use super::prepare::portrait;
use super::shards;
use crate::clips::labels::TABLE;
use crate::clips::sample::name_below;
use crate::clips::{Entry, Sample, Skipped};
use crate::error::{Context, Error, Result};
use crate::expression::{COUNT, Distribution, Expression};

/// What of an entry is learnt.
#[derive(Debug, Clone, PartialEq)]
pub enum Given {
    /// How taggers' votes are shared, where there are votes; else the label.
    Votes,
    /// The one expression that it is counted as.
    Majority,
    /// Single labels from elsewhere, by picture; pictures that it lacks are not learnt from.
    Other(BTreeMap<PathBuf, Expression>),
}

impl Given {
    /// `votes`, `majority`, or else the labels of a column of this name, and the lines that have none.
    ///
    /// # Errors
    /// As [`Given::column`].
    pub fn named(data: &Path, name: &str) -> Result<(Self, Vec<Skipped>)> {
        match name {
            "votes" => Ok((Self::Votes, Vec::new())),
            "majority" => Ok((Self::Majority, Vec::new())),
            column => Self::column(data, column),
        }
    }

    /// The labels of another column of a table, such as `fer2013`, and the lines that have none.
    ///
    /// # Errors
    /// A table that cannot be read or has no such column.
    pub fn column(table: &Path, column: &str) -> Result<(Self, Vec<Skipped>)> {
        let table = if table.is_dir() { table.join(TABLE) } else { table.to_owned() };
        let failed = || format!("the labels of {} cannot be used", table.display());
        let reader = csv::Reader::from_path(&table).with_context(failed)?;
        Self::read(reader, &table, column)
    }

    fn read<R: Read>(mut reader: csv::Reader<R>, table: &Path, column: &str) -> Result<(Self, Vec<Skipped>)> {
        let failed = || format!("the labels of {} cannot be used", table.display());
        let header = reader.headers().with_context(failed)?.clone();
        let find = |name: &str| {
            header.iter().position(|found| found.trim().eq_ignore_ascii_case(name)).ok_or_else(|| {
                let found: Vec<_> = header.iter().collect();
                Error::usage(format!("the table {} has no column '{name}'", table.display()))
                    .advice(format!("its columns are {}", found.join(", ")))
            })
        };
        let (path, label) = (find("path")?, find(column)?);
        let folder = table.parent().unwrap_or(Path::new(""));
        let (mut labels, mut skipped) = (BTreeMap::new(), Vec::new());
        for record in reader.records() {
            let record = match record {
                Ok(record) => record,
                Err(error) if error.is_io_error() => return Err(error).with_context(failed),
                Err(error) => {
                    skipped.push(Skipped { what: "a line".into(), why: error.to_string() });
                    continue;
                }
            };
            let cell = |column: usize| record.get(column).unwrap_or_default().trim();
            match cell(label).parse::<Expression>() {
                Ok(expression) => drop(labels.insert(folder.join(cell(path)), expression)),
                Err(error) => {
                    let why = if cell(label).is_empty() { format!("no {column}") } else { error.line() };
                    skipped.push(Skipped { what: cell(path).to_owned(), why });
                }
            }
        }
        Ok((Self::Other(labels), skipped))
    }

    /// Says in a lesson from this folder what the faces were meant to show.
    pub fn say_meant(&self, folder: &Path, lesson: &mut Lesson) {
        if let Self::Other(labels) = self {
            let meant = lesson.faces.iter().map(|face| labels.get(&folder.join(&face.name)).copied());
            lesson.meant = meant.collect();
        }
    }

    /// Whether they are those of another column.
    pub fn is_column(&self) -> bool {
        matches!(self, Self::Other(_))
    }

    fn of(&self, path: &Path, label: Expression, votes: Option<Distribution>) -> Option<[f32; COUNT]> {
        let one = |label: Expression| Distribution::certain(label).0;
        match self {
            Self::Votes => Some(votes.map_or_else(|| one(label), |votes| votes.0)),
            Self::Majority => Some(one(label)),
            Self::Other(labels) => labels.get(path).copied().map(one),
        }
    }
}

/// Several parts of the data at once from the shards of a folder: one lesson for each list of entries, in their order,
/// and the pictures that no shard has.
///
/// # Errors
/// A folder without shards, or a damaged one.
pub fn from_shards(folder: &Path, parts: &[(&[Entry], &Given)]) -> Result<(Vec<Lesson>, Vec<Skipped>)> {
    let mut faces: BTreeMap<String, Option<Portrait>> = parts
        .iter()
        .flat_map(|(entries, _)| *entries)
        .map(|entry| (name_below(folder, &entry.path), None))
        .collect();
    for face in shards::read(folder)? {
        let face = face?;
        if let Some(place) = faces.get_mut(&face.name) {
            *place = Some(face);
        }
    }
    let mut skipped = Vec::new();
    let lessons = parts.iter().map(|(entries, given)| {
        let mut lesson = Lesson::default();
        for (n, entry) in entries.iter().enumerate() {
            let name = name_below(folder, &entry.path);
            match (faces.get(&name).and_then(Option::as_ref), given.of(&entry.path, entry.label, entry.votes))
            {
                (Some(face), Some(label)) => lesson.add(face.clone(), label, entry.label, n),
                (None, _) => skipped.push(Skipped { what: name, why: "no shard has it".into() }),
                (_, None) => {}
            }
        }
        lesson
    });
    let lessons = lessons.collect();
    Ok((lessons, skipped))
}

/// A lesson from pictures whose faces were just found.
///
/// # Errors
/// A picture that is gone or cannot be compressed.
pub fn from_samples(folder: &Path, samples: &[Sample], given: &Given) -> Result<Lesson> {
    let faces = samples
        .par_iter()
        .map(|sample| {
            let label = given.of(&sample.path, sample.label, Some(sample.target));
            let Some(label) = label else { return Ok(None) };
            let image = sample.image()?;
            let face = portrait(&sample.name(folder), &image, sample.mesh.as_ref(), None)?;
            Ok(Some((face, label, sample)))
        })
        .collect::<Result<Vec<_>>>()?;
    let mut lesson = Lesson::default();
    for (face, label, sample) in faces.into_iter().flatten() {
        lesson.add(face, label, sample.label, sample.entry);
    }
    Ok(lesson)
}

#[cfg(test)]
mod tests {
    use super::super::portrait::tests::painted;
    use super::super::shards::Writer;
    use super::*;
    use Expression::{Anger, Fear, Neutral};

    #[test]
    fn shards_and_table_come_together_by_name() {
        let folder = std::env::temp_dir().join(format!("lanet-lessons-{}", std::process::id()));
        let mut writer = Writer::create(&folder, 1 << 20, false).unwrap();
        (0..4).for_each(|n| writer.write(&painted(n, 4, 16)).unwrap());
        writer.finish().unwrap();
        let table = "path,split,old,label\n0.png,a,fear,anger\n1.png,a,,neutral\n2.png,b,joy,anger\n9.png,b,fear,anger\n";
        std::fs::write(folder.join(TABLE), table).unwrap();
        let entry = |n: usize, label| Entry::new(folder.join(format!("{n}.png")), label);
        let (a, b) = ([entry(0, Anger), entry(1, Neutral)], [entry(2, Anger), entry(9, Anger)]);
        let (old, unlabelled) = Given::column(&folder, "old").unwrap();
        assert_eq!(unlabelled.len(), 2);
        let (lessons, missing) = from_shards(&folder, &[(&a, &old), (&b, &Given::Majority)]).unwrap();
        assert_eq!((lessons[0].len(), lessons[1].len(), missing.len()), (1, 1, 1));
        assert_eq!(lessons[0].labels[0][Fear as usize], 1.0);
        assert_eq!(lessons[0].truth, [Anger]);
        assert_eq!(lessons[1].faces[0].name, "2.png");
        let mut lesson = lessons[0].clone();
        old.say_meant(&folder, &mut lesson);
        assert_eq!((lesson.meant, &lessons[0].meant), (vec![Some(Fear)], &vec![None]));
        assert!(missing[0].what.contains("9.png"));
        assert!(Given::column(&folder, "new").unwrap_err().line().contains("path, split, old, label"));
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_table_that_cannot_be_read_to_its_end_is_refused() {
        struct Broken(bool);
        impl Read for Broken {
            fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
                if std::mem::replace(&mut self.0, true) {
                    return Err(std::io::Error::other("a bad sector"));
                }
                (&b"path,old\n0.png,fear\n"[..]).read(into)
            }
        }
        let reader = csv::Reader::from_reader(Broken(false));
        let error = Given::read(reader, Path::new("labels.csv"), "old").unwrap_err().line();
        assert!(error.contains("labels.csv") && error.contains("a bad sector"), "{error}");
    }

    #[test]
    fn votes_are_learnt_where_there_are_any() {
        let votes = Distribution([0.25, 0.75, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
        let path = Path::new("x");
        assert_eq!(Given::Votes.of(path, Anger, Some(votes)).unwrap(), votes.0);
        assert_eq!(Given::Votes.of(path, Anger, None).unwrap()[Anger as usize], 1.0);
        assert_eq!(Given::Majority.of(path, Anger, Some(votes)).unwrap()[Anger as usize], 1.0);
        assert_eq!(name_below(Path::new("a/b"), Path::new("a/b/c/d.png")), "c/d.png");
    }
}
