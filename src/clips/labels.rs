//! Which picture or clip shows what: a table `path,label[,split,person,start,end]`, a table of votes, or a folder for each
//! expression, which may lie in a folder for each person.
//!
//! A clip is a video: `start` and `end` (seconds) say which piece of it is meant. In recordings, `PERSON/LABEL/*.mp4`, the
//! folders say who shows what; the `.toml` beside a clip only says where it came from.
//!
//! Votes follow the majority protocol of FER+ (Barsoum et al. 2016): a single vote counts as none; the picture is used
//! if the choice with most votes is an expression and has more than half of the votes that are left.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::error::{Context, Error, Result};
use crate::expression::{COUNT, Distribution, Expression};
use crate::images;
use csv::{Reader, StringRecord};

/// The table of a folder of data.
pub const TABLE: &str = "labels.csv";
/// Columns of votes for no expression; they may be missing.
const OTHER_VOTES: [&str; 2] = ["unknown", "not_a_face"];
/// The folder in that of the data in which faces that were found are kept, if nobody says otherwise.
pub const CACHE: &str = ".lanet-live";
/// The extensions of files that are taken for clips.
pub const CLIPS: [&str; 10] = ["avi", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "ts", "webm", "wmv"];

/// A picture or a piece of a clip, and what it shows.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The file.
    pub path: PathBuf,
    /// The expression that it is counted as.
    pub label: Expression,
    /// How the taggers' votes are shared among the expressions, where there are votes.
    pub votes: Option<Distribution>,
    /// The part of the data that it belongs to, where the data say so.
    pub split: Option<String>,
    /// Who it is, where the data say so.
    pub person: Option<String>,
    /// What it was cut from, where a table says so: what was cut from one clip stays together.
    pub clip: Option<String>,
    /// Of a clip, when the piece that is meant begins and ends; `None`: with the clip.
    pub piece: [Option<Duration>; 2],
}

impl Entry {
    /// A file that shows this, all of it.
    pub fn new(path: PathBuf, label: Expression) -> Self {
        Self { path, label, votes: None, split: None, person: None, clip: None, piece: [None; 2] }
    }

    /// Whether it is a clip, by its name.
    pub fn is_clip(&self) -> bool {
        let extension = self.path.extension().map(|e| e.to_string_lossy().to_lowercase());
        extension.is_some_and(|extension| CLIPS.contains(&extension.as_str()))
    }
}

/// Something that was left out, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    /// The file, or the line of the table.
    pub what: String,
    /// The reason.
    pub why: String,
}

/// Labelled pictures and clips, in the order of their table or of their names.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dataset {
    /// The pictures and clips that can be used.
    pub entries: Vec<Entry>,
    /// Lines that could not be read.
    pub skipped: Vec<Skipped>,
    /// Pictures whose votes have no majority for an expression, but some for expressions: labelled with the first of those
    /// that have most.
    pub undecided: Vec<Entry>,
    /// Pictures with votes for no expression.
    pub blank: usize,
}

impl Dataset {
    /// The pictures of a table, of a folder with a `labels.csv`, or of a folder with a folder for each expression.
    ///
    /// # Errors
    /// No such file or folder, a table with wrong columns, or nothing in it that can be used.
    pub fn open(data: &Path) -> Result<Self> {
        let failed = || format!("the data '{}' cannot be used", data.display());
        let dataset = match table_of(data) {
            Some(table) => read_table(&table).with_context(failed)?,
            None => folders(data).with_context(failed)?,
        };
        if dataset.entries.is_empty() {
            let why = dataset.skipped.first().map_or(String::new(), |s| format!(": {}: {}", s.what, s.why));
            return Err(Error::new(format!("the data '{}' hold no labelled picture{why}", data.display())));
        }
        Ok(dataset)
    }

    /// Whether the data say which picture belongs to which part.
    pub fn has_splits(&self) -> bool {
        self.entries.iter().any(|entry| entry.split.is_some())
    }

    /// The names of the parts, sorted.
    pub fn splits(&self) -> Vec<&str> {
        let counts: BTreeMap<_, _> =
            self.entries.iter().filter_map(|e| Some((e.split.as_deref()?, ()))).collect();
        counts.into_keys().collect()
    }

    /// The pictures of one part.
    ///
    /// # Errors
    /// A part that the data do not have.
    pub fn split(&self, name: &str) -> Result<Vec<Entry>> {
        let entries: Vec<_> =
            self.entries.iter().filter(|e| e.split.as_deref() == Some(name)).cloned().collect();
        if entries.is_empty() {
            let advice = match self.splits() {
                splits if splits.is_empty() => "they have no column 'split'".to_owned(),
                splits => format!("use one of {}", splits.join(", ")),
            };
            return Err(Error::usage(format!("the data have no part '{name}'")).advice(advice));
        }
        Ok(entries)
    }

    /// Leaves only what shows this person.
    ///
    /// # Errors
    /// A person whom the data do not know.
    pub fn only(&mut self, person: &str) -> Result<()> {
        let is_it = |entry: &Entry| entry.person.as_deref() == Some(person);
        if !self.entries.iter().any(is_it) {
            let known: BTreeSet<_> = self.entries.iter().filter_map(|e| e.person.as_deref()).collect();
            let known: Vec<_> = known.into_iter().take(10).collect();
            let advice = match known.as_slice() {
                [] => "they name nobody".to_owned(),
                known => format!("they know {}", known.join(", ")),
            };
            return Err(Error::usage(format!("the data do not show '{person}'")).advice(advice));
        }
        self.entries.retain(is_it);
        self.undecided.retain(is_it);
        Ok(())
    }
}

/// The table of data that are a table or a folder; `None` for a folder without one.
pub fn table_of(data: &Path) -> Option<PathBuf> {
    if !data.is_dir() {
        return Some(data.to_owned());
    }
    Some(data.join(TABLE)).filter(|table| table.is_file())
}

/// The folder that the names of pictures start from: the data's own, or that of their table.
pub fn folder_of(data: &Path) -> &Path {
    if data.is_dir() { data } else { data.parent().unwrap_or(Path::new("")) }
}

/// Where a table keeps what.
struct Columns {
    path: usize,
    split: Option<usize>,
    person: Option<usize>,
    clip: Option<usize>,
    piece: [Option<usize>; 2],
    labels: Labels,
}

enum Labels {
    Name(usize),
    Votes { expressions: [usize; COUNT], others: Vec<usize> },
}

impl Columns {
    fn of(header: &StringRecord) -> Result<Self> {
        let column = |name: &str| header.iter().position(|found| found.trim().eq_ignore_ascii_case(name));
        let votes = Expression::ALL.map(|e| column(e.name()));
        let labels = match (column("label"), votes) {
            (Some(label), _) => Labels::Name(label),
            (None, votes) if votes.iter().all(Option::is_some) => Labels::Votes {
                expressions: votes.map(Option::unwrap_or_default),
                others: OTHER_VOTES.iter().filter_map(|name| column(name)).collect(),
            },
            _ => return Err(wrong_columns(header)),
        };
        let path = column("path").ok_or_else(|| wrong_columns(header))?;
        let piece = [column("start"), column("end")];
        Ok(Self {
            path,
            split: column("split"),
            person: column("person"),
            clip: column("clip"),
            piece,
            labels,
        })
    }
}

fn wrong_columns(header: &StringRecord) -> Error {
    let found: Vec<_> = header.iter().collect();
    let found =
        if found.is_empty() { "it is empty".into() } else { format!("its columns are {}", found.join(",")) };
    Error::new(found).advice(format!(
        "a table needs path,label or path and a column of votes for each of {}; split, person, start and end are optional",
        Expression::ALL.map(Expression::name).join(", ")
    ))
}

fn read_table(table: &Path) -> Result<Dataset> {
    let mut reader = Reader::from_path(table).context("it cannot be opened")?;
    let columns = Columns::of(&reader.headers().context("it is no table")?.clone())?;
    let folder = table.parent().unwrap_or(Path::new(""));
    let mut dataset = Dataset::default();
    let mut records = reader.records();
    while let Some(record) = records.next() {
        let (what, entry) = match record {
            Ok(record) => {
                let line = record.position().map_or(0, csv::Position::line);
                (format!("line {line}"), entry(&columns, &record, folder))
            }
            // A line of another length is left out; a file that breaks off is a failure.
            Err(error) if matches!(error.kind(), csv::ErrorKind::Io(_)) => {
                return Err(Error::new("it cannot be read to its end").because(error));
            }
            Err(error) => {
                let line = error.position().map_or(0, csv::Position::line);
                let after = records.reader().position().line();
                let why = match error.kind() {
                    csv::ErrorKind::Utf8 { .. } => "it is not UTF-8",
                    _ if after > line + 1 => {
                        return Err(Error::new(format!(
                            "a quote in line {line} is not closed, so that {} lines are one",
                            after - line
                        ))
                        .advice("close it, or take it out"));
                    }
                    _ => "it does not have the columns of the table",
                };
                (format!("line {line}"), Err(Error::new(why)))
            }
        };
        match entry {
            Ok(Some((entry, true))) => dataset.entries.push(entry),
            Ok(Some((entry, false))) => dataset.undecided.push(entry),
            Ok(None) => dataset.blank += 1,
            Err(error) => dataset.skipped.push(Skipped { what, why: error.line() }),
        }
    }
    Ok(dataset)
}

/// The picture of one line and whether it is decided; `None` if nobody voted for an expression.
fn entry(columns: &Columns, record: &StringRecord, folder: &Path) -> Result<Option<(Entry, bool)>> {
    let cell = |column: usize| record.get(column).unwrap_or_default().trim();
    if cell(columns.path).is_empty() {
        return Err(Error::new("it names no picture"));
    }
    let path = folder.join(cell(columns.path));
    let said = |column: Option<usize>| column.map(cell).filter(|text| !text.is_empty()).map(str::to_owned);
    let (split, person, clip) = (said(columns.split), said(columns.person), said(columns.clip));
    let [start, end] = columns.piece.map(|column| said(column).map(|text| seconds(&text)).transpose());
    let piece = [start?, end?];
    if let [start, Some(end)] = piece
        && end <= start.unwrap_or_default()
    {
        return Err(Error::new("it ends before it begins"));
    }
    let (label, votes, decided) = match &columns.labels {
        Labels::Name(column) => (cell(*column).parse()?, None, true),
        Labels::Votes { expressions, others } => {
            let vote = |&column: &usize| {
                let text = cell(column);
                text.parse::<u32>().map_err(|_| Error::new(format!("'{text}' is no number of votes")))
            };
            let votes = expressions.iter().map(vote).collect::<Result<Vec<_>>>()?;
            let others = others.iter().map(vote).collect::<Result<Vec<_>>>()?;
            match majority(&votes, &others)? {
                Some((label, votes, decided)) => (label, Some(votes), decided),
                None => return Ok(None),
            }
        }
    };
    let entry = Entry { path, label, votes, split, person, clip, piece };
    if piece != [None; 2] && !entry.is_clip() {
        return Err(Error::new("only a clip has a start and an end")
            .advice(format!("the names of clips end in {}", CLIPS.join(", "))));
    }
    Ok(Some((entry, decided)))
}

fn seconds(text: &str) -> Result<Duration> {
    let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    seconds.ok_or_else(|| Error::new(format!("'{text}' is no time in seconds")))
}

/// The expression with most votes, the first of equals, how the votes are shared among the expressions, and whether it has
/// more than half of all; single votes count as none. `None` if no expression has any.
fn majority(votes: &[u32], others: &[u32]) -> Result<Option<(Expression, Distribution, bool)>> {
    let counted =
        |votes: &[u32]| votes.iter().map(|&v| if v > 1 { f64::from(v) } else { 0.0 }).collect::<Vec<_>>();
    if votes.iter().chain(others).all(|&v| v == 0) {
        return Err(Error::new("its votes sum to zero"));
    }
    let (votes, others) = (counted(votes), counted(others));
    let (of_expressions, all): (f64, f64) =
        (votes.iter().sum(), votes.iter().sum::<f64>() + others.iter().sum::<f64>());
    if of_expressions == 0.0 {
        return Ok(None);
    }
    let mut shares = [0.0; COUNT];
    shares.iter_mut().zip(&votes).for_each(|(share, v)| *share = (v / of_expressions) as f32);
    let label = Distribution(shares).top().0;
    Ok(Some((label, Distribution(shares), votes[label as usize] > all / 2.0)))
}

/// The pictures and clips below `data` in folders that are named after expressions, or in such folders of people.
fn folders(data: &Path) -> Result<Dataset> {
    let mut dataset = Dataset::default();
    let mut known = false;
    for (folder, name) in subfolders(data)? {
        let below = subfolders(&folder)?;
        // Whatever holds folders and is no expression's is a person's.
        let of_person = name.parse::<Expression>().is_err() && !below.is_empty();
        let (folders, person) = match of_person {
            true => (below, Some(name)),
            false => (vec![(folder, name)], None),
        };
        for (folder, label) in folders {
            known |= gather(&mut dataset, &folder, &label, person.as_deref())?;
        }
    }
    if !known {
        let why = dataset.skipped.first().map_or(String::new(), |s| format!(" ({}: {})", s.what, s.why));
        return Err(Error::new(format!(
            "it holds no {TABLE} and no folder that is named after an expression{why}"
        ))
        .advice(format!("name its folders {}", Expression::ALL.map(Expression::name).join(", "))));
    }
    Ok(dataset)
}

/// The folders in a folder, with their names, sorted; hidden ones are left out.
fn subfolders(folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let named = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (path.is_dir() && !name.starts_with('.')).then_some((path, name))
    };
    Ok(sorted(folder)?.into_iter().filter_map(named).collect())
}

/// Adds the pictures and clips of a folder of this name; whether it is named after an expression.
fn gather(dataset: &mut Dataset, folder: &Path, name: &str, person: Option<&str>) -> Result<bool> {
    let what = || format!("folder {}{name}", person.map_or(String::new(), |person| format!("{person}/")));
    let label = match name.parse::<Expression>() {
        Ok(label) => label,
        Err(error) => {
            dataset.skipped.push(Skipped { what: what(), why: error.line() });
            return Ok(false);
        }
    };
    let before = dataset.entries.len();
    let entries = sorted(folder)?.into_iter().map(|path| Entry::new(path, label));
    let of_it = entries.filter(|entry| {
        let hidden = entry.path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'));
        images::has_image_name(&entry.path) || (entry.is_clip() && !hidden)
    });
    dataset.entries.extend(of_it.map(|entry| Entry { person: person.map(str::to_owned), ..entry }));
    if dataset.entries.len() == before {
        let why = "it holds no picture and no clip".to_owned();
        dataset.skipped.push(Skipped { what: what(), why });
    }
    Ok(true)
}

fn sorted(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = || format!("the folder '{}' cannot be read", folder.display());
    let entries = fs::read_dir(folder).with_context(failed)?;
    let mut paths = entries
        .map(|entry| entry.map(|e| e.path()))
        .collect::<std::io::Result<Vec<_>>>()
        .with_context(failed)?;
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Expression::{Anger, Happiness, Neutral};

    #[test]
    fn a_quote_that_is_not_closed_hides_no_lines() {
        let folder = tempfile::tempdir().unwrap();
        let table = folder.path().join("labels.csv");
        let read = |text: &[u8]| {
            fs::write(&table, text).unwrap();
            read_table(&table)
        };
        let error = read(b"path,label\na.png,anger\n\"b.png,fear\nc.png,fear\n").unwrap_err();
        assert!(error.line().contains("a quote in line 3 is not closed"), "{}", error.line());
        let data = read(b"path,label\n\xff.png,anger\na.png\nc.png,fear\n").unwrap();
        let why: Vec<_> = data.skipped.iter().map(|skipped| &*skipped.why).collect();
        assert_eq!(
            (data.entries.len(), why),
            (1, vec!["it is not UTF-8", "it does not have the columns of the table"])
        );
    }

    #[test]
    fn votes_by_hand() {
        // The single vote for anger is none: happiness has 4 of 6.
        let (label, votes, decided) = majority(&[2, 4, 0, 0, 1, 0, 0, 0], &[0, 0]).unwrap().unwrap();
        assert!(label == Happiness && decided);
        assert!((votes.of(Neutral) - 1.0 / 3.0).abs() < 1e-6 && votes.of(Anger) == 0.0);
        // Half is not more than half, and votes for no expression count.
        let undecided = |votes: &[u32], others: &[u32]| {
            let (label, votes, decided) = majority(votes, others).unwrap().unwrap();
            assert!(label == Neutral && !decided);
            votes.of(Neutral)
        };
        assert_eq!(undecided(&[3, 3, 0, 0, 0, 0, 0, 0], &[]), 0.5);
        assert_eq!(undecided(&[4, 0, 0, 0, 0, 0, 0, 0], &[2, 2]), 1.0);
        assert_eq!(majority(&[0, 0, 0, 0, 0, 0, 0, 0], &[10, 0]).unwrap(), None);
        assert_eq!(majority(&[1, 1, 1, 1, 1, 1, 1, 1], &[1, 1]).unwrap(), None);
        assert!(majority(&[0; 8], &[0, 0]).unwrap_err().line().contains("zero"));
    }
}
