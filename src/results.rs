//! Readings as lines of text: JSON lines or CSV, into a file or to standard output.
//!
//! One row per face and frame, and one for a frame without a face. That one has, as JSON, only the keys `v`,
//! `source`, `frame`, `time` and `"track":null`; as CSV, empty cells.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::error::{Context, Error, Result};
use crate::expression::{Distribution, Expression};
use crate::geometry::{Pose, Rect};
use crate::part::Part;

/// The version of the JSON lines; it changes when a key changes its meaning or goes away.
pub const VERSION: u32 = 1;

/// What is known of one face in one frame, or that there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// Where the frame came from.
    pub source: Arc<str>,
    /// Its number there.
    pub frame: u64,
    /// Its time stamp there.
    pub time: Duration,
    /// The face.
    pub face: Option<FaceRow>,
}

/// One face in one frame.
#[derive(Debug, Clone, PartialEq)]
pub struct FaceRow {
    /// The number that the face keeps from frame to frame.
    pub track: u64,
    /// Where it is, in pixels of the frame.
    pub bounds: Rect,
    /// How sure it is that this is a face, from 0 to 1.
    pub score: f32,
    /// How the head is turned.
    pub pose: Pose,
    /// The most probable expression.
    pub expression: Expression,
    /// Its probability.
    pub confidence: f32,
    /// The probabilities of all expressions.
    pub probabilities: Distribution,
    /// Whether the face is too small, too turned or too little expressive for the reading to be relied on.
    pub unsure: bool,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON object a line.
    JsonLines,
    /// Comma-separated values, the first line being names.
    Csv,
}

/// Where rows go. A file appears under its name with [`Results::finish`] and vanishes if that is not called.
pub struct Results {
    lines: Lines,
    /// Flushed after every frame, because somebody reads along.
    live: bool,
    name: String,
    part: Option<Part>,
}

enum Lines {
    Json(Box<dyn Write + Send>),
    Csv(Box<csv::Writer<Box<dyn Write + Send>>>),
}

impl Results {
    /// `-` is standard output (JSON lines); else a file, its format by the extension `.jsonl` or `.csv`.
    ///
    /// # Errors
    /// Another extension; a file that exists (unless `overwrite`) or cannot be made.
    pub fn create(target: &str, overwrite: bool) -> Result<Self> {
        if target == "-" {
            let mut results = Self::to(Box::new(io::stdout()), Format::JsonLines)?;
            results.live = true;
            return Ok(results);
        }
        let path = Path::new(target);
        let format = match path.extension().map(|e| e.to_string_lossy().to_lowercase()).as_deref() {
            Some("jsonl") => Format::JsonLines,
            Some("csv") => Format::Csv,
            _ => {
                return Err(Error::usage(format!("results cannot be written to '{target}'"))
                    .advice("end the name in .jsonl or .csv, or use - for standard output"));
            }
        };
        let part = Part::create(path, overwrite)?;
        let file = File::create(part.path()).with_context(|| format!("cannot write '{target}'"))?;
        let mut results = Self::to(Box::new(BufWriter::new(file)), format)?;
        results.name = target.to_owned();
        results.part = Some(part);
        Ok(results)
    }

    /// Rows into any writer.
    ///
    /// # Errors
    /// A writer that takes no header.
    pub fn to(writer: Box<dyn Write + Send>, format: Format) -> Result<Self> {
        let lines = match format {
            Format::JsonLines => Lines::Json(writer),
            Format::Csv => {
                let mut writer = csv::Writer::from_writer(writer);
                writer.write_record(header()).context("cannot write results")?;
                Lines::Csv(Box::new(writer))
            }
        };
        Ok(Self { lines, live: false, name: "standard output".to_owned(), part: None })
    }

    /// Writes the rows of one frame. `Break` means that nobody reads any more (the pipe was closed),
    /// which is no failure.
    ///
    /// # Errors
    /// A full disk, for example.
    pub fn write(&mut self, rows: &[Row]) -> Result<ControlFlow<()>> {
        let written = rows.iter().try_for_each(|row| self.lines.write(row));
        let written = written.and_then(|()| if self.live { self.lines.flush() } else { Ok(()) });
        self.judge(written)
    }

    /// Writes what is left and gives the file its name.
    ///
    /// # Errors
    /// As for [`Results::write`].
    pub fn finish(mut self) -> Result<()> {
        let flushed = self.lines.flush();
        let _ = self.judge(flushed)?;
        self.part.take().map_or(Ok(()), Part::finish)
    }

    fn judge(&self, outcome: io::Result<()>) -> Result<ControlFlow<()>> {
        match outcome {
            Ok(()) => Ok(ControlFlow::Continue(())),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
            Err(error) => Err(Error::new(format!("cannot write results to '{}'", self.name)).because(error)),
        }
    }
}

impl Lines {
    fn write(&mut self, row: &Row) -> io::Result<()> {
        match self {
            Self::Json(writer) => {
                serde_json::to_writer(&mut *writer, &JsonRow(row))?;
                writer.write_all(b"\n")
            }
            Self::Csv(writer) => writer.write_record(cells(row)).map_err(io_error),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Json(writer) => writer.flush(),
            Self::Csv(writer) => writer.flush(),
        }
    }
}

fn io_error(error: csv::Error) -> io::Error {
    match error.into_kind() {
        csv::ErrorKind::Io(error) => error,
        other => io::Error::other(format!("{other:?}")),
    }
}

/// `value` with so many decimals; no more are printed for it.
fn rounded(value: impl Into<f64>, decimals: i32) -> f64 {
    let scale = 10f64.powi(decimals);
    (value.into() * scale).round() / scale + 0.0 // not -0
}

fn seconds(time: Duration) -> f64 {
    rounded(time.as_secs_f64(), 6)
}

/// Pixels and degrees.
fn tenths(value: f32) -> f64 {
    rounded(value, 1)
}

/// Scores and probabilities.
fn share(value: f32) -> f64 {
    rounded(value, 4)
}

struct JsonRow<'a>(&'a Row);

impl Serialize for JsonRow<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let row = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("v", &VERSION)?;
        map.serialize_entry("source", &*row.source)?;
        map.serialize_entry("frame", &row.frame)?;
        map.serialize_entry("time", &seconds(row.time))?;
        map.serialize_entry("track", &row.face.as_ref().map(|face| face.track))?;
        if let Some(face) = &row.face {
            let Rect { x, y, w, h } = face.bounds;
            map.serialize_entry("box", &[x, y, w, h].map(tenths))?;
            map.serialize_entry("score", &share(face.score))?;
            map.serialize_entry("pose", &JsonPose(face.pose))?;
            map.serialize_entry("expression", face.expression.name())?;
            map.serialize_entry("confidence", &share(face.confidence))?;
            map.serialize_entry("probabilities", &JsonProbabilities(&face.probabilities))?;
            if face.unsure {
                map.serialize_entry("unsure", &true)?;
            }
        }
        map.end()
    }
}

struct JsonPose(Pose);

impl Serialize for JsonPose {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Pose { yaw, pitch, roll } = self.0;
        serializer.collect_map([("yaw", tenths(yaw)), ("pitch", tenths(pitch)), ("roll", tenths(roll))])
    }
}

struct JsonProbabilities<'a>(&'a Distribution);

impl Serialize for JsonProbabilities<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(Expression::ALL.map(|e| (e.name(), share(self.0.of(e)))))
    }
}

/// The columns of a CSV file before the probabilities; `unsure` comes after them.
const COLUMNS: [&str; 14] = [
    "source",
    "frame",
    "time",
    "track",
    "box_x",
    "box_y",
    "box_w",
    "box_h",
    "score",
    "yaw",
    "pitch",
    "roll",
    "expression",
    "confidence",
];

fn header() -> Vec<String> {
    let probabilities = Expression::ALL.map(|e| format!("p_{}", e.name()));
    COLUMNS.map(str::to_owned).into_iter().chain(probabilities).chain(["unsure".to_owned()]).collect()
}

fn cells(row: &Row) -> Vec<String> {
    let mut cells = vec![row.source.to_string(), row.frame.to_string(), seconds(row.time).to_string()];
    if let Some(face) = &row.face {
        let Rect { x, y, w, h } = face.bounds;
        let Pose { yaw, pitch, roll } = face.pose;
        cells.push(face.track.to_string());
        cells.extend([x, y, w, h].map(|v| tenths(v).to_string()));
        cells.push(share(face.score).to_string());
        cells.extend([yaw, pitch, roll].map(|v| tenths(v).to_string()));
        cells.push(face.expression.name().to_owned());
        cells.push(share(face.confidence).to_string());
        cells.extend(Expression::ALL.map(|e| share(face.probabilities.of(e)).to_string()));
        cells.push(face.unsure.to_string());
    }
    cells.resize(COLUMNS.len() + Expression::ALL.len() + 1, String::new());
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    fn row(unsure: bool) -> Row {
        let face = FaceRow {
            track: 1,
            bounds: Rect::new(10.04, 20.0, 99.96, 120.5),
            score: 0.98,
            pose: Pose { yaw: -3.25, pitch: -0.04, roll: 12.0 },
            expression: Expression::Happiness,
            confidence: 0.93,
            probabilities: Distribution([0.01, 0.93, 0.01, 0.01, 0.01, 0.01, 0.01, 0.01]),
            unsure,
        };
        Row {
            source: "clip, 1.mp4".into(),
            frame: 12,
            time: Duration::from_micros(500_500),
            face: Some(face),
        }
    }

    fn empty() -> Row {
        Row { face: None, frame: 13, ..row(false) }
    }

    /// A writer whose content can be looked at.
    #[derive(Clone, Default)]
    struct Shared(Arc<Mutex<Vec<u8>>>);

    impl Write for Shared {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn written(format: Format, rows: &[Row]) -> String {
        let shared = Shared::default();
        let mut results = Results::to(Box::new(shared.clone()), format).unwrap();
        assert!(results.write(rows).unwrap().is_continue());
        results.finish().unwrap();
        let bytes = shared.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines() {
        let lines = written(Format::JsonLines, &[row(false), empty(), row(true)]);
        insta::assert_snapshot!(lines, @r#"
        {"v":1,"source":"clip, 1.mp4","frame":12,"time":0.5005,"track":1,"box":[10.0,20.0,100.0,120.5],"score":0.98,"pose":{"yaw":-3.3,"pitch":0.0,"roll":12.0},"expression":"happiness","confidence":0.93,"probabilities":{"neutral":0.01,"happiness":0.93,"surprise":0.01,"sadness":0.01,"anger":0.01,"disgust":0.01,"fear":0.01,"contempt":0.01}}
        {"v":1,"source":"clip, 1.mp4","frame":13,"time":0.5005,"track":null}
        {"v":1,"source":"clip, 1.mp4","frame":12,"time":0.5005,"track":1,"box":[10.0,20.0,100.0,120.5],"score":0.98,"pose":{"yaw":-3.3,"pitch":0.0,"roll":12.0},"expression":"happiness","confidence":0.93,"probabilities":{"neutral":0.01,"happiness":0.93,"surprise":0.01,"sadness":0.01,"anger":0.01,"disgust":0.01,"fear":0.01,"contempt":0.01},"unsure":true}
        "#);
    }

    #[test]
    fn csv_has_the_same_columns() {
        let lines = written(Format::Csv, &[row(false), empty(), row(true)]);
        insta::assert_snapshot!(lines, @r#"
        source,frame,time,track,box_x,box_y,box_w,box_h,score,yaw,pitch,roll,expression,confidence,p_neutral,p_happiness,p_surprise,p_sadness,p_anger,p_disgust,p_fear,p_contempt,unsure
        "clip, 1.mp4",12,0.5005,1,10,20,100,120.5,0.98,-3.3,0,12,happiness,0.93,0.01,0.93,0.01,0.01,0.01,0.01,0.01,0.01,false
        "clip, 1.mp4",13,0.5005,,,,,,,,,,,,,,,,,,,,
        "clip, 1.mp4",12,0.5005,1,10,20,100,120.5,0.98,-3.3,0,12,happiness,0.93,0.01,0.93,0.01,0.01,0.01,0.01,0.01,0.01,true
        "#);
    }

    #[test]
    fn csv_without_rows_still_has_its_header() {
        assert!(written(Format::Csv, &[]).starts_with("source,frame,time,track,box_x"));
    }

    #[test]
    fn rounded_probabilities_still_sum_to_one() {
        let probabilities = Distribution::softmax([0.3, 1.7, 0.1, -0.4, 0.9, -2.0, 0.33, 0.0]);
        let sum: f64 = Expression::ALL.iter().map(|&e| share(probabilities.of(e))).sum();
        assert!((sum - 1.0).abs() < 8.0 * 0.5e-4, "{sum}");
    }

    #[test]
    fn a_reader_that_goes_away_is_no_failure_and_a_full_disk_is_one() {
        struct Broken(io::ErrorKind);
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let write =
            |kind| Results::to(Box::new(Broken(kind)), Format::JsonLines).unwrap().write(&[row(false)]);
        assert!(write(io::ErrorKind::BrokenPipe).unwrap().is_break());
        assert!(write(io::ErrorKind::StorageFull).unwrap_err().line().starts_with("cannot write results"));
    }

    #[test]
    fn names_without_a_known_extension_are_refused() {
        for name in ["results", "results.txt", "a.json"] {
            assert!(Results::create(name, false).err().unwrap().is_usage(), "{name}");
        }
    }
}
