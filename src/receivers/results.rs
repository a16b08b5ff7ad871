//! Readings as data, into a file or to standard output.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use super::Receiver;
use crate::error::Result;
use crate::reader::Reading;
use crate::results::Results;

impl Receiver for Results {
    fn take(&mut self, reading: &Arc<Reading>) -> Result<ControlFlow<()>> {
        self.write(&reading.rows(self.has_raw()))
    }

    fn finish(self: Box<Self>) -> Result<Option<PathBuf>> {
        Results::finish(*self)
    }
}
