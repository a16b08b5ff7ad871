//! Readings as data, into a file or to standard output.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::Receiver;
use crate::columns::Row;
use crate::error::Result;
use crate::reading::Reading;
use crate::results::Results;

impl Receiver for Results {
    fn take(&mut self, reading: &Arc<Reading>) -> Result<ControlFlow<()>> {
        self.write(&reading.rows(self.has_raw()))
    }

    fn finish(self: Box<Self>) -> Result<Option<PathBuf>> {
        Results::finish(*self)
    }
}

/// What a viewer marks: rows on their way into results. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Marks(Arc<Mutex<Vec<Row>>>);

impl Marks {
    /// Adds some.
    pub fn add(&self, rows: impl IntoIterator<Item = Row>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(rows);
    }

    /// Takes all that were added since the last time.
    pub fn take(&self) -> Vec<Row> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Readings as data, and marks among them as they come.
pub struct Marked {
    /// Where both go.
    pub results: Results,
    /// Where marks come from.
    pub marks: Marks,
}

impl Receiver for Marked {
    fn take(&mut self, reading: &Arc<Reading>) -> Result<ControlFlow<()>> {
        let mut rows = self.marks.take();
        rows.extend(reading.rows(self.results.has_raw()));
        self.results.write(&rows)
    }

    fn finish(mut self: Box<Self>) -> Result<Option<PathBuf>> {
        let _ = self.results.write(&self.marks.take())?;
        self.results.finish()
    }
}
