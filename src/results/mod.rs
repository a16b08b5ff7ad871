//! Readings as data: JSON lines, CSV or Parquet, into a file or to standard output.
//!
//! One row per face and frame, and one for a frame without a face. That one has, as JSON, only the keys `v`,
//! `source`, `frame`, `time` and `"track":null`; in a table, cells without a value.
//!
//! Parquet files have the types of the columns, units and meanings in the metadata of their fields, and in their own
//! `lanet-live.version`, `lanet-live.model` (the weights' fingerprint, if it is known) and `lanet-live.format`.

mod lines;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "parquet")]
pub mod table;

use std::fs::File;
use std::io::{self, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::columns::{Extra, Row};
use crate::error::{Context, Error, Kind, Result};
use crate::part::Part;
use lines::Lines;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// One JSON object a line.
    JsonLines,
    /// Comma-separated values, the first line being names.
    Csv,
    /// A table of typed columns.
    #[cfg(feature = "parquet")]
    Parquet,
}

impl Format {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::JsonLines,
        Self::Csv,
        #[cfg(feature = "parquet")]
        Self::Parquet,
    ];

    /// How the names of such files end.
    pub fn extension(self) -> &'static str {
        match self {
            Self::JsonLines => "jsonl",
            Self::Csv => "csv",
            #[cfg(feature = "parquet")]
            Self::Parquet => "parquet",
        }
    }

    /// The format of a file of this name.
    pub fn of(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_string_lossy().to_lowercase();
        Self::ALL.iter().copied().find(|format| format.extension() == extension)
    }
}

/// Where rows go. A file appears under its name with [`Results::finish`] and vanishes if that is not called.
pub struct Results {
    to: To,
    extra: Extra,
    name: String,
    part: Option<Part>,
}

enum To {
    Lines(Lines),
    #[cfg(feature = "parquet")]
    Table(Box<parquet::Table>),
}

impl To {
    #[cfg(feature = "parquet")]
    fn with_model(mut self, fingerprint: &str) -> Self {
        if let Self::Table(table) = &mut self {
            fingerprint.clone_into(&mut table.model);
        }
        self
    }

    #[cfg(not(feature = "parquet"))]
    fn with_model(self, _: &str) -> Self {
        self
    }
}

impl Results {
    /// `-` is standard output (JSON lines); else a file, its format by the extension `.jsonl`, `.csv` or, with the
    /// feature `parquet`, `.parquet`. `raw` adds the probabilities before they are smoothed.
    ///
    /// # Errors
    /// Another extension; a file that exists (unless `overwrite`) or cannot be made.
    pub fn create(target: &Path, overwrite: bool, raw: bool) -> Result<Self> {
        if target == Path::new("-") {
            let to = To::Lines(Lines::new(Box::new(io::stdout()), false).live());
            return Ok(Self { to, ..Self::to(Box::new(io::sink()), Format::JsonLines, raw) });
        }
        let name = target.display().to_string();
        let format = Format::of(target).ok_or_else(|| {
            let endings: Vec<_> =
                Format::ALL.iter().map(|format| format!(".{}", format.extension())).collect();
            let endings = endings.join(", ");
            Error::usage(format!("results cannot be written to '{name}'"))
                .advice(format!("end the name in one of {endings}, or use - for standard output"))
        })?;
        let part = Part::create(target, overwrite)?;
        let file = File::create(part.path()).with_context(|| format!("cannot write '{name}'"))?;
        Ok(Self { name, part: Some(part), ..Self::to(Box::new(file), format, raw) })
    }

    /// Rows into any writer; `raw` as for [`Results::create`].
    pub fn to(writer: Box<dyn Write + Send>, format: Format, raw: bool) -> Self {
        let to = match format {
            #[cfg(feature = "parquet")]
            Format::Parquet => To::Table(Box::new(parquet::Table::new(writer))),
            format => To::Lines(Lines::new(writer, format == Format::Csv)),
        };
        let extra = Extra { raw, ..Extra::default() };
        Self { to, extra, name: "standard output".to_owned(), part: None }
    }

    /// Gives a table columns that say whether a face is read against the person's own neutral, and what was marked; JSON
    /// says both where it is so.
    pub fn with_columns(self, baseline: bool, marks: bool) -> Self {
        Self { extra: Extra { baseline, marks, ..self.extra }, ..self }
    }

    /// Says which weights the rows come from, by their fingerprint, where a format has room for that.
    pub fn with_model(self, fingerprint: &str) -> Self {
        Self { to: self.to.with_model(fingerprint), ..self }
    }

    /// Writes the rows of one frame. `Break` means that nobody reads any more (the pipe was closed),
    /// which is no failure.
    ///
    /// # Errors
    /// A full disk, for example. What there is of a file in whole lines is kept then, and the error says where.
    pub fn write(&mut self, rows: &[Row]) -> Result<ControlFlow<()>> {
        let written = match &mut self.to {
            To::Lines(lines) => lines.write(rows, self.extra),
            #[cfg(feature = "parquet")]
            To::Table(table) => table.write(rows, self.extra),
        };
        written.map_err(|cause| self.failed(cause))
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
        let finished = match &mut self.to {
            To::Lines(lines) => lines.finish(self.extra),
            #[cfg(feature = "parquet")]
            To::Table(table) => table.finish(self.extra),
        };
        finished.map_err(|cause| self.failed(cause))?;
        let Some(part) = self.part.take() else { return Ok(None) };
        let target = part.target().to_owned();
        part.finish()?;
        Ok(Some(target))
    }

    fn failed(&mut self, cause: io::Error) -> Error {
        let kept = self.part.take().and_then(|part| match &self.to {
            To::Lines(lines) => lines.keep(part),
            // Without its end nobody can read it.
            #[cfg(feature = "parquet")]
            To::Table(_) => None,
        });
        let what = format!("cannot write results to '{}'", self.name);
        let error = Error::new(what).because(cause).of_kind(Kind::Output);
        match kept {
            Some(kept) => error.advice(format!("the lines until then are kept as '{}'", kept.display())),
            None => error.advice("check that the disk is not full"),
        }
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
            let to = To::Lines(Lines::new(Box::new(Broken(kind)), false).live());
            let mut results = Results { to, ..Results::to(Box::new(io::sink()), Format::JsonLines, false) };
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
        for (name, room) in [("a.jsonl", 1500), ("b.csv", lines::CHUNK * 2 + 77), ("c.jsonl", 10)] {
            let target = folder.path().join(name);
            let mut results = Results::create(&target, false, false).unwrap();
            let file = File::options().write(true).open(results.part.as_ref().unwrap().path()).unwrap();
            let To::Lines(lines) = &mut results.to else { panic!() };
            lines.to = Box::new(Full(file, room));
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
