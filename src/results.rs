//! Readings as lines of text: JSON lines or CSV, into a file or to standard output.
//!
//! One row per face and frame, and one for a frame without a face. That one has, as JSON, only the keys `v`,
//! `source`, `frame`, `time` and `"track":null`; as CSV, empty cells.

use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::columns::{Extra, Row, Value, columns};
use crate::error::{Context, Error, Result};
use crate::part::Part;

/// So many bytes are written at once.
const CHUNK: usize = 1 << 16;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// One JSON object a line.
    JsonLines,
    /// Comma-separated values, the first line being names.
    Csv,
}

/// Where rows go. A file appears under its name with [`Results::finish`] and vanishes if that is not called.
pub struct Results {
    to: Box<dyn Write + Send>,
    format: Format,
    extra: Extra,
    /// Flushed after every frame, because somebody reads along.
    live: bool,
    name: String,
    part: Option<Part>,
    /// Lines that are not written yet, and where each of them ends in the file.
    waiting: Vec<u8>,
    ends: Vec<u64>,
    /// How many bytes are written.
    written: u64,
}

impl Results {
    /// `-` is standard output (JSON lines); else a file, its format by the extension `.jsonl` or `.csv`. `raw` adds the
    /// probabilities before they are smoothed.
    ///
    /// # Errors
    /// Another extension; a file that exists (unless `overwrite`) or cannot be made.
    pub fn create(target: &Path, overwrite: bool, raw: bool) -> Result<Self> {
        if target == Path::new("-") {
            return Ok(Self { live: true, ..Self::to(Box::new(io::stdout()), Format::JsonLines, raw) });
        }
        let name = target.display().to_string();
        let format = match target.extension().map(|e| e.to_string_lossy().to_lowercase()).as_deref() {
            Some("jsonl") => Format::JsonLines,
            Some("csv") => Format::Csv,
            _ => {
                return Err(Error::usage(format!("results cannot be written to '{name}'"))
                    .advice("end the name in .jsonl or .csv, or use - for standard output"));
            }
        };
        let part = Part::create(target, overwrite)?;
        let file = File::create(part.path()).with_context(|| format!("cannot write '{name}'"))?;
        Ok(Self { name, part: Some(part), ..Self::to(Box::new(file), format, raw) })
    }

    /// Rows into any writer; `raw` as for [`Results::create`].
    pub fn to(writer: Box<dyn Write + Send>, format: Format, raw: bool) -> Self {
        let name = "standard output".to_owned();
        let waiting = Vec::with_capacity(CHUNK + CHUNK / 4);
        let (part, ends, extra) = (None, Vec::new(), Extra { raw, ..Extra::default() });
        Self { to: writer, format, extra, live: false, name, part, waiting, ends, written: 0 }.headed()
    }

    /// Gives a table columns that say whether a face is read against the person's own neutral, and what was marked; JSON
    /// says both where it is so.
    pub fn with_columns(self, baseline: bool, marks: bool) -> Self {
        Self { extra: Extra { baseline, marks, ..self.extra }, ..self }.headed()
    }

    /// With the names of its columns, if it is a table, in place of the rows that wait.
    fn headed(mut self) -> Self {
        self.waiting.clear();
        if self.format == Format::Csv {
            // Memory takes every line.
            let _ = self.line(columns(self.extra).map(|column| column.name));
        }
        self
    }

    /// Writes the rows of one frame. `Break` means that nobody reads any more (the pipe was closed),
    /// which is no failure.
    ///
    /// # Errors
    /// A full disk, for example. What there is of the file in whole lines is kept then, and the error says where.
    pub fn write(&mut self, rows: &[Row]) -> Result<ControlFlow<()>> {
        for row in rows {
            match self.format {
                Format::JsonLines => {
                    serde_json::to_writer(&mut self.waiting, row).context("cannot write results")?;
                    self.waiting.push(b'\n');
                }
                Format::Csv => self.line(columns(self.extra).map(|column| cell(column.value(row))))?,
            }
            self.ends.push(self.written + self.waiting.len() as u64);
        }
        if self.live || self.waiting.len() > CHUNK { self.send() } else { Ok(ControlFlow::Continue(())) }
    }

    /// Whether there are probabilities before they are smoothed in the rows.
    pub fn has_raw(&self) -> bool {
        self.extra.raw
    }

    /// Writes what is left and gives the file its name, which is returned.
    ///
    /// # Errors
    /// As for [`Results::write`].
    pub fn finish(mut self) -> Result<Option<PathBuf>> {
        let _ = self.send()?;
        let Some(part) = self.part.take() else { return Ok(None) };
        let target = part.target().to_owned();
        part.finish()?;
        Ok(Some(target))
    }

    /// A line of comma-separated values.
    fn line(&mut self, cells: impl Iterator<Item = impl AsRef<[u8]>>) -> Result<()> {
        let mut line = csv::WriterBuilder::new().buffer_capacity(1 << 10).from_writer(&mut self.waiting);
        line.write_record(cells)
            .and_then(|()| line.flush().map_err(Into::into))
            .context("cannot write results")
    }

    fn send(&mut self) -> Result<ControlFlow<()>> {
        let sent = self.to.write_all(&self.waiting).and_then(|()| self.to.flush());
        match sent {
            Ok(()) => {
                self.written += self.waiting.len() as u64;
                self.waiting.clear();
                self.ends.clear();
                Ok(ControlFlow::Continue(()))
            }
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
            Err(cause) => {
                let error = Error::new(format!("cannot write results to '{}'", self.name)).because(cause);
                Err(match self.part.take().and_then(|part| self.keep(part)) {
                    Some(kept) => {
                        error.advice(format!("the lines until then are kept as '{}'", kept.display()))
                    }
                    None => error.advice("check that the disk is not full"),
                })
            }
        }
    }

    /// Keeps the whole lines of a file that cannot be finished, if there are any.
    fn keep(&self, part: Part) -> Option<PathBuf> {
        let file = File::options().write(true).open(part.path()).ok()?;
        let length = file.metadata().ok()?.len();
        let whole = self.ends.iter().copied().filter(|end| *end <= length).max().unwrap_or(self.written);
        file.set_len(whole).ok()?;
        (whole > 0).then(|| part.keep())
    }
}

fn cell(value: Option<Value>) -> String {
    match value {
        None => String::new(),
        Some(Value::Text(text)) => text.to_owned(),
        Some(Value::Integer(number)) => number.to_string(),
        Some(Value::Real(number)) => number.to_string(),
        Some(Value::Flag(flag)) => flag.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::columns::FaceRow;
    use crate::columns::tests::row as whole;
    use crate::expression::Expression;
    use std::sync::{Arc, Mutex};

    fn row(unsure: bool) -> Row {
        let row = whole();
        let face = row.face.map(|face| FaceRow { unsure, raw_probabilities: None, ..face });
        Row { source: "clip, 1.mp4".into(), face, mark: None, ..row }
    }

    /// What somebody marked in the frame of [`row`].
    fn marked() -> Row {
        Row { mark: Some(Expression::Anger), ..row(true) }
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
        let mut results = Results::to(Box::new(shared.clone()), format, false);
        assert!(results.write(rows).unwrap().is_continue());
        results.finish().unwrap();
        let bytes = shared.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn json_lines() {
        let lines = written(Format::JsonLines, &[row(false), empty(), marked()]);
        insta::assert_snapshot!(lines, @r#"
        {"v":1,"source":"clip, 1.mp4","frame":12,"time":0.5005,"track":1,"box":[10.0,20.0,100.0,120.5],"score":0.98,"pose":{"yaw":-3.3,"pitch":0.0,"roll":12.0},"expression":"happiness","confidence":0.93,"probabilities":{"neutral":0.01,"happiness":0.93,"surprise":0.01,"sadness":0.01,"anger":0.01,"disgust":0.01,"fear":0.01,"contempt":0.01}}
        {"v":1,"source":"clip, 1.mp4","frame":13,"time":0.5005,"track":null}
        {"v":1,"source":"clip, 1.mp4","frame":12,"time":0.5005,"track":1,"box":[10.0,20.0,100.0,120.5],"score":0.98,"pose":{"yaw":-3.3,"pitch":0.0,"roll":12.0},"expression":"happiness","confidence":0.93,"probabilities":{"neutral":0.01,"happiness":0.93,"surprise":0.01,"sadness":0.01,"anger":0.01,"disgust":0.01,"fear":0.01,"contempt":0.01},"unsure":true,"mark":"anger"}
        "#);
    }

    #[test]
    fn csv_has_the_same_columns() {
        let lines = written(Format::Csv, &[row(false), empty(), marked()]);
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
        let shared = Shared::default();
        let results = Results::to(Box::new(shared.clone()), Format::Csv, false).with_columns(true, false);
        results.finish().unwrap();
        let text = String::from_utf8(shared.0.lock().unwrap().clone()).unwrap();
        assert!(text.ends_with("p_contempt,unsure,baseline\n") && text.lines().count() == 1, "{text}");
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
        let write = |kind| {
            let mut results = Results::to(Box::new(Broken(kind)), Format::JsonLines, false);
            results.live = true;
            results.write(&[row(false)])
        };
        assert!(write(io::ErrorKind::BrokenPipe).unwrap().is_break());
        assert!(write(io::ErrorKind::StorageFull).unwrap_err().line().starts_with("cannot write results"));
    }

    #[test]
    fn names_without_a_known_extension_are_refused() {
        for name in ["results", "results.txt", "a.json"] {
            assert!(Results::create(Path::new(name), false, false).err().unwrap().is_usage(), "{name}");
        }
    }

    #[test]
    fn of_a_full_disk_the_whole_lines_are_kept() {
        /// Takes so many bytes.
        struct Full(File, usize);
        impl Write for Full {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                let room = self.1.min(bytes.len());
                self.1 -= room;
                if room == 0 { Err(io::ErrorKind::StorageFull.into()) } else { self.0.write(&bytes[..room]) }
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let folder = tempfile::tempdir().unwrap();
        for (name, room) in [("a.jsonl", 1500), ("b.csv", CHUNK * 2 + 77), ("c.jsonl", 10)] {
            let target = folder.path().join(name);
            let mut results = Results::create(&target, false, false).unwrap();
            let file = File::options().write(true).open(results.part.as_ref().unwrap().path()).unwrap();
            results.to = Box::new(Full(file, room));
            let failure = (0..2000).find_map(|_| results.write(&[row(true)]).err());
            let line = failure.or_else(|| results.finish().err()).unwrap().line();
            assert!(!target.exists() && line.starts_with("cannot write results to"), "{line}");
            let kept = folder.path().join(name.replace('.', ".part."));
            if room == 10 {
                // Not one whole line.
                assert!(!kept.exists() && line.contains("disk is not full"), "{line}");
                continue;
            }
            assert!(line.contains(&*kept.to_string_lossy()), "{line}");
            let text = std::fs::read_to_string(&kept).unwrap();
            let last = text.lines().last().unwrap();
            assert!(text.ends_with('\n') && room - text.len() <= last.len() + 1, "{} of {room}", text.len());
            assert!(text.lines().filter(|line| *line == last).count() > 2);
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2, "nothing else is left behind");
    }
}
