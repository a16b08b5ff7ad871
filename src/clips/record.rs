//! Clips in the making: frames as they are, without anything drawn on them, into [`super::store`].
//!
//! A clip appears under its name when it is whole. Whatever ends a recording, those that were finished stay.

use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use super::store::{About, free_name, text_of};
use crate::error::{Context, Result};
use crate::frame::Frame;
use crate::reading::Reading;
use crate::receivers::Receiver;
use crate::video::{Encoder, Settings, Writer};
use crate::warning::Warnings;

/// One clip in the making. Dropped before [`Recorder::finish`], it vanishes.
pub struct Recorder {
    writer: Writer,
    clip: PathBuf,
    about: About,
    rate: f64,
    span: Option<(Duration, Duration)>,
}

impl Recorder {
    /// Begins a clip in the folder `into` of all recordings; the folders in it are made. `rate` is the nominal number of
    /// frames a second; frames keep their own times.
    ///
    /// # Errors
    /// A person's name that can be no folder's, or a folder that cannot be written to.
    pub fn begin(into: &Path, about: About, rate: f64) -> Result<Self> {
        let folder = about.folder(into)?;
        fs::create_dir_all(&folder)
            .with_context(|| format!("the folder '{}' cannot be made", folder.display()))
            .map_err(|error| error.or_advice("choose another folder with --into"))?;
        let now = SystemTime::now();
        let clip = free_name(&folder, now);
        let settings =
            Settings { rate, source: None, trimmed: false, overwrite: false, encoder: Encoder::find() };
        let program = env!("CARGO_PKG_VERSION").to_owned();
        let about = About { recorded: text_of(now), program, ..about };
        Ok(Self { writer: Writer::create(&clip, settings)?, clip, about, rate, span: None })
    }

    /// Adds a frame, whose time must be after that of the last.
    ///
    /// # Errors
    /// As for [`Writer::write`]: what can be played is kept then, and the error says where.
    pub fn write(&mut self, frame: &Frame) -> Result<()> {
        self.writer.write(&frame.image, frame.time)?;
        let first = self.span.map_or(frame.time, |(first, _)| first);
        self.span = Some((first, frame.time));
        self.about.frames += 1;
        Ok(())
    }

    /// How long it is by now.
    pub fn length(&self) -> Duration {
        let frame = Duration::from_secs_f64(1.0 / self.rate);
        self.span.map_or(Duration::ZERO, |(first, last)| last.saturating_sub(first) + frame)
    }

    /// What could not be done as asked.
    pub fn warnings(&self) -> Warnings {
        self.writer.warnings()
    }

    /// Completes the clip, says beside it what it is, and returns its name.
    ///
    /// # Errors
    /// No frame; a full disk.
    pub fn finish(mut self) -> Result<PathBuf> {
        self.about.seconds = (self.length().as_secs_f64() * 1e3).round() / 1e3;
        self.writer.finish()?;
        self.about.save(&self.clip)?;
        Ok(self.clip)
    }
}

/// Records the frames of a stream of readings while it is switched on, each time into a clip of its own.
pub struct Recording {
    on: Arc<AtomicBool>,
    into: PathBuf,
    about: About,
    rate: f64,
    longest: Option<Duration>,
    clip: Option<Recorder>,
    last: Option<PathBuf>,
}

impl Recording {
    /// Records while `on` is set; the rest as for [`Recorder::begin`].
    ///
    /// # Errors
    /// A person's name that can be no folder's.
    pub fn new(on: Arc<AtomicBool>, into: PathBuf, about: About, rate: f64) -> Result<Self> {
        about.folder(&into)?;
        Ok(Self { on, into, about, rate, longest: None, clip: None, last: None })
    }

    /// Wants no more readings once one clip is so long.
    pub fn lasting(self, longest: Option<Duration>) -> Self {
        Self { longest, ..self }
    }

    fn end_clip(&mut self) -> Result<()> {
        if let Some(clip) = self.clip.take() {
            self.last = Some(clip.finish()?);
        }
        Ok(())
    }
}

impl Receiver for Recording {
    fn take(&mut self, reading: &Arc<Reading>) -> Result<ControlFlow<()>> {
        if !self.on.load(Ordering::Relaxed) {
            self.end_clip()?;
            return Ok(ControlFlow::Continue(()));
        }
        let clip = match self.clip.take() {
            Some(clip) => clip,
            None => Recorder::begin(&self.into, self.about.clone(), self.rate)?,
        };
        let clip = self.clip.insert(clip);
        clip.write(&reading.frame)?;
        // Rates are nominal: half a frame more or less is the same length.
        let nearly = Duration::from_secs_f64(0.5 / self.rate);
        if self.longest.is_some_and(|longest| clip.length() + nearly > longest) {
            return Ok(ControlFlow::Break(()));
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Returns the last clip, if there was any.
    fn finish(mut self: Box<Self>) -> Result<Option<PathBuf>> {
        self.end_clip()?;
        Ok(self.last)
    }
}
