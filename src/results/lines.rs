//! Rows as lines of text.

use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::ops::ControlFlow;
use std::path::PathBuf;

use crate::columns::{Extra, Row, Value, columns};
use crate::part::Part;

/// So many bytes are written at once.
pub(super) const CHUNK: usize = 1 << 16;

/// JSON lines, or comma-separated values below their names.
pub(super) struct Lines {
    pub(super) to: Box<dyn Write + Send>,
    csv: bool,
    /// Flushed after every frame, because somebody reads along.
    pub(super) live: bool,
    /// Whether there are names, if there are to be any.
    headed: bool,
    /// Lines that are not written yet, and where each of them ends in the file.
    waiting: Vec<u8>,
    ends: Vec<u64>,
    /// How many bytes are written.
    written: u64,
}

impl Lines {
    pub(super) fn new(to: Box<dyn Write + Send>, csv: bool) -> Self {
        let waiting = Vec::with_capacity(CHUNK + CHUNK / 4);
        Self { to, csv, live: false, headed: !csv, waiting, ends: Vec::new(), written: 0 }
    }

    /// For somebody who reads along.
    pub(super) fn live(self) -> Self {
        Self { live: true, ..self }
    }

    pub(super) fn write(&mut self, rows: &[Row], extra: Extra) -> io::Result<ControlFlow<()>> {
        self.head(extra)?;
        for row in rows {
            if self.csv {
                self.line(columns(extra).map(|column| cell(column.value(row))))?;
            } else {
                serde_json::to_writer(&mut self.waiting, row)?;
                self.waiting.push(b'\n');
            }
            self.ends.push(self.written + self.waiting.len() as u64);
        }
        if self.live || self.waiting.len() > CHUNK { self.send() } else { Ok(ControlFlow::Continue(())) }
    }

    pub(super) fn finish(&mut self, extra: Extra) -> io::Result<()> {
        self.head(extra)?;
        self.send().map(|_| ())
    }

    fn head(&mut self, extra: Extra) -> io::Result<()> {
        if !self.headed {
            self.headed = true;
            self.line(columns(extra).map(|column| column.name))?;
        }
        Ok(())
    }

    /// A line of comma-separated values.
    fn line(&mut self, cells: impl Iterator<Item = impl AsRef<[u8]>>) -> io::Result<()> {
        let mut line = csv::WriterBuilder::new().buffer_capacity(1 << 10).from_writer(&mut self.waiting);
        line.write_record(cells)?;
        line.flush()
    }

    fn send(&mut self) -> io::Result<ControlFlow<()>> {
        match self.to.write_all(&self.waiting).and_then(|()| self.to.flush()) {
            Ok(()) => {
                self.written += self.waiting.len() as u64;
                self.waiting.clear();
                self.ends.clear();
                Ok(ControlFlow::Continue(()))
            }
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(ControlFlow::Break(())),
            Err(error) => Err(error),
        }
    }

    /// Keeps the whole lines of a file that cannot be finished, if there are any.
    pub(super) fn keep(&self, part: Part) -> Option<PathBuf> {
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
