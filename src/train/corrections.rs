//! Labels that somebody looked at and found wrong: a table `path,start,end,label` that is laid over the labels of data. The
//! data themselves stay as they were given.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::lessons::Given;
use crate::clips::sample::name_below;
use crate::clips::{Dataset, Entry};
use crate::error::{Context, Error, Result};
use crate::expression::Expression;

/// A picture or a piece of a clip.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Piece {
    /// Its path below the folder of the data, with `/` between.
    pub path: String,
    /// Of a clip, when the piece begins and ends; `None`: with the clip.
    pub between: [Option<Duration>; 2],
}

impl Piece {
    /// Beginning and end in seconds, as tables say them.
    pub fn seconds(&self) -> [String; 2] {
        self.between.map(|time| time.map_or(String::new(), |time| time.as_secs_f64().to_string()))
    }
}

/// Which label takes the place of what was given.
#[derive(Debug, Clone, PartialEq)]
pub struct Corrections {
    file: PathBuf,
    labels: BTreeMap<Piece, Expression>,
}

impl Corrections {
    /// The corrections of a table with the columns `path` and `label`, and maybe `start` and `end`.
    ///
    /// # Errors
    /// A table that cannot be read, a line without a path or with a label that is none, or one piece with two labels.
    pub fn open(file: &Path) -> Result<Self> {
        let failed = || format!("the corrections '{}' cannot be used", file.display());
        Self::read(file).with_context(failed)
    }

    fn read(file: &Path) -> Result<Self> {
        let mut reader = csv::Reader::from_path(file).context("it cannot be opened")?;
        let header = reader.headers().context("it is no table")?.clone();
        let column = |name: &str| header.iter().position(|found| found.trim().eq_ignore_ascii_case(name));
        let (Some(path), Some(label)) = (column("path"), column("label")) else {
            let found = header.iter().collect::<Vec<_>>().join(",");
            return Err(Error::new(format!("its columns are {found}"))
                .advice("corrections need path and label; start and end are for pieces of clips"));
        };
        let (start, end) = (column("start"), column("end"));
        let mut labels = BTreeMap::new();
        for record in reader.records() {
            let record = record.context("it cannot be read to its end")?;
            let line = record.position().map_or(0, csv::Position::line);
            let cell = |column: usize| record.get(column).unwrap_or_default().trim();
            let seconds = |column: Option<usize>| match column.map_or("", cell) {
                "" => Ok(None),
                text => match text.parse().map(Duration::try_from_secs_f64) {
                    Ok(Ok(time)) => Ok(Some(time)),
                    _ => Err(Error::new(format!("line {line}: '{text}' is no number of seconds"))),
                },
            };
            let piece = Piece { path: cell(path).to_owned(), between: [seconds(start)?, seconds(end)?] };
            if piece.path.is_empty() {
                return Err(Error::new(format!("line {line} names no picture")));
            }
            let label: Expression = cell(label).parse().with_context(|| format!("line {line}"))?;
            if labels.insert(piece, label).is_some_and(|other| other != label) {
                return Err(Error::new(format!("line {line} gives '{}' a second label", cell(path)))
                    .advice("leave one of them"));
            }
        }
        Ok(Self { file: file.to_owned(), labels })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Lays them over the labels of data whose pictures lie below `folder`. What had votes has one label then, and what was
    /// undecided is decided.
    ///
    /// # Errors
    /// A path that the data do not have.
    pub fn apply(&self, folder: &Path, data: &mut Dataset) -> Result<()> {
        let mut unknown = self.labels.clone();
        let mut correct = |entry: &mut Entry| match self.labels.get(&piece(folder, entry)) {
            Some(&label) => {
                unknown.remove(&piece(folder, entry));
                (entry.label, entry.votes) = (label, None);
                true
            }
            None => false,
        };
        data.entries.iter_mut().for_each(|entry| {
            correct(entry);
        });
        let decided = data.undecided.extract_if(.., correct);
        data.entries.extend(decided);
        let Some(first) = unknown.keys().next() else { return Ok(()) };
        let others = match unknown.len() - 1 {
            0 => String::new(),
            others => format!(" and {others} more"),
        };
        let between = match first.seconds() {
            [start, end] if start.is_empty() && end.is_empty() => String::new(),
            [start, end] => format!(" from {start} to {end} s"),
        };
        Err(Error::usage(format!(
            "the corrections '{}' name '{}'{between}{others}, which the data do not have",
            self.file.display(),
            first.path
        ))
        .advice(format!("paths start from '{}'", folder.display())))
    }

    /// Lays them over the labels of a column, whose pictures lie below `folder`.
    pub fn apply_to_column(&self, folder: &Path, given: &mut Given) {
        if let Given::Other(labels) = given {
            labels.extend(self.labels.iter().map(|(piece, &label)| (folder.join(&piece.path), label)));
        }
    }
}

/// What of the data an entry is.
pub fn piece(folder: &Path, entry: &Entry) -> Piece {
    Piece { path: name_below(folder, &entry.path), between: entry.piece }
}
