//! Readings one by one, or as batches of a table, while faces are found and read on threads of their own.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use lanet_live::analyser::Analyser;
use lanet_live::columns::{Extra, Row};
use lanet_live::error::Result;
use lanet_live::flow::Stream;
use lanet_live::frame::Frame;
use lanet_live::reading;
use lanet_live::results::Results;
use lanet_live::video;
use lanet_live::warning::Warnings;
use pyo3::exceptions::{PyUserWarning, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyCapsule;

use crate::faces::Reading;
use crate::picture::Pictures;
use crate::raised;
use crate::signals::Signals;
use crate::table::{self, Batch};

/// So many pictures are taken from Python before the first reading is waited for: one for each thread.
const AHEAD: usize = 3;
/// So much of a video before the start is looked at, so that faces are followed by then.
const LEAD_IN: Duration = Duration::from_secs(1);
/// Frames to a batch of a table.
const FRAMES: usize = 1000;

/// An iterator of what is read in frame after frame.
#[pyclass(frozen, module = "lanet_live")]
pub struct Readings {
    fingerprint: String,
    /// Whether faces may be read against the person's own neutral.
    baseline: bool,
    state: Mutex<State>,
}

struct State {
    // Dropped first, so that the stream's threads end.
    feed: Option<Feed>,
    readings: Stream<reading::Reading>,
    ahead: usize,
    begin: Duration,
    failed: Option<PyErr>,
    signals: Signals,
    warnings: Warnings,
}

struct Feed {
    pictures: Pictures,
    frames: Sender<Result<Frame>>,
}

impl Readings {
    /// Of pictures that Python gives; they are asked for on the thread that asks for readings.
    pub fn of_pictures(analyser: &Analyser, baseline: bool, pictures: Pictures) -> Self {
        let (frames, taken) = channel();
        let feed = Some(Feed { pictures, frames });
        let readings = analyser.stream(taken.into_iter());
        Self::new(analyser, baseline, readings, feed, Duration::ZERO, Warnings::default())
    }

    /// Of a part of a video.
    pub fn of_video(
        analyser: &Analyser,
        baseline: bool,
        video: video::Reader,
        start: Duration,
        end: Option<Duration>,
    ) -> Self {
        let video = video.between(start.saturating_sub(LEAD_IN), end);
        let warnings = video.warnings();
        Self::new(analyser, baseline, analyser.stream(video), None, start, warnings)
    }

    fn new(
        analyser: &Analyser,
        baseline: bool,
        readings: Stream<reading::Reading>,
        feed: Option<Feed>,
        begin: Duration,
        warnings: Warnings,
    ) -> Self {
        let signals = Signals::default();
        let looking = signals.clone();
        let readings = readings.until(move || looking.look());
        let state = State { feed, readings, ahead: 0, begin, failed: None, signals, warnings };
        Self { fingerprint: analyser.fingerprint().to_owned(), baseline, state: Mutex::new(state) }
    }

    fn next(&self, py: Python<'_>) -> PyResult<Option<reading::Reading>> {
        // Whoever waits here would hold Python's lock meanwhile.
        let Ok(mut state) = self.state.try_lock() else {
            return Err(PyValueError::new_err("these readings are being taken by another thread"));
        };
        state.next(py)
    }

    fn extra(&self, raw: bool) -> Extra {
        Extra { raw, baseline: self.baseline, ..Extra::default() }
    }

    fn rows(&self, py: Python<'_>, frames: usize, raw: bool) -> PyResult<Option<Vec<Row>>> {
        let mut rows = Vec::new();
        for _ in 0..frames {
            match self.next(py)? {
                Some(reading) => rows.extend(reading.rows(raw)),
                None => break,
            }
        }
        Ok(Some(rows).filter(|rows| !rows.is_empty()))
    }
}

impl State {
    fn next(&mut self, py: Python<'_>) -> PyResult<Option<reading::Reading>> {
        loop {
            self.fill(py);
            let readings = &mut self.readings;
            let next = py.detach(|| readings.next());
            self.ahead = self.ahead.saturating_sub(1);
            self.signals.take()?;
            match next {
                Some(Ok(reading)) if reading.frame.time < self.begin => {}
                Some(Ok(reading)) => return Ok(Some(reading)),
                Some(Err(error)) => return Err(raised(error)),
                None => break,
            }
        }
        for warning in self.warnings.take() {
            let category = py.get_type::<PyUserWarning>();
            let text = std::ffi::CString::new(warning.to_string().replace('\0', ""))?;
            PyErr::warn(py, &category, &text, 1)?;
        }
        self.failed.take().map_or(Ok(None), Err)
    }

    /// Takes pictures ahead. What fails then is raised after the readings of those before.
    fn fill(&mut self, py: Python<'_>) {
        while self.ahead < AHEAD
            && let Some(feed) = &mut self.feed
        {
            match feed.pictures.next(py) {
                Ok(Some(frame)) => {
                    // Nobody takes it any more after an error, which comes next.
                    let _ = feed.frames.send(Ok(frame));
                    self.ahead += 1;
                }
                Ok(None) => self.feed = None,
                Err(error) => {
                    self.failed = Some(error);
                    self.feed = None;
                }
            }
        }
    }
}

#[pymethods]
impl Readings {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Reading>> {
        self.next(py)?.map(|reading| Reading::new(py, &reading)).transpose()
    }

    #[pyo3(signature = (raw=false))]
    fn _batch(&self, py: Python<'_>, raw: bool) -> PyResult<Option<Batch>> {
        let rows = self.rows(py, FRAMES, raw)?;
        rows.map(|rows| Batch::new(&rows, self.extra(raw), &self.fingerprint)).transpose()
    }

    fn _write(&self, py: Python<'_>, path: PathBuf, raw: bool, overwrite: bool) -> PyResult<()> {
        let results = Results::create(&path, overwrite, raw).map_err(raised)?;
        let mut results = results.with_columns(self.baseline, false).with_model(&self.fingerprint);
        while let Some(reading) = self.next(py)? {
            let _ = results.write(&reading.rows(raw)).map_err(raised)?;
        }
        results.finish().map_err(raised)?;
        Ok(())
    }

    #[pyo3(signature = (requested_schema=None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema; // whoever wants another one casts
        let mut batches = Vec::new();
        while let Some(batch) = self._batch(py, false)? {
            batches.push(batch);
        }
        table::stream(py, Batch::new(&[], self.extra(false), &self.fingerprint)?, batches)
    }
}
