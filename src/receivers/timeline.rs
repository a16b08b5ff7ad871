//! The expressions over time, as a picture.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use super::Receiver;
use crate::error::Result;
use crate::images;
use crate::part::Part;
use crate::reading::Reading;
use crate::timeline::Timeline;

/// Draws a timeline when the last reading has come.
pub struct TimelinePicture {
    timeline: Timeline,
    path: PathBuf,
    overwrite: bool,
}

impl TimelinePicture {
    /// A picture that will be written to `path`.
    ///
    /// # Errors
    /// A name that is no picture's, or that cannot be written: told now instead of after the work.
    pub fn create(path: PathBuf, overwrite: bool) -> Result<Self> {
        images::format_of(&path)?;
        // Made and dropped again.
        drop(Part::create(&path, overwrite)?);
        Ok(Self { timeline: Timeline::default(), path, overwrite })
    }
}

impl Receiver for TimelinePicture {
    fn take(&mut self, reading: &Arc<Reading>) -> Result<ControlFlow<()>> {
        self.timeline.note(reading);
        Ok(ControlFlow::Continue(()))
    }

    fn finish(self: Box<Self>) -> Result<Option<PathBuf>> {
        images::write(&self.path, &self.timeline.picture(), self.overwrite)?;
        Ok(Some(self.path))
    }
}
