//! A sitting and the clips that come of it: a frame is written while [`Sitting::is_recording`] says so, and never else, so
//! that whoever shows the frame can say it on the picture.

use std::path::{Path, PathBuf};

use super::session::{Act, Phase, Seen, Session, Wish};
use crate::clips::{About, Recorder};
use crate::error::Result;
use crate::frame::Frame;

/// A sitting in front of a camera.
pub struct Sitting {
    session: Session,
    into: PathBuf,
    about: About,
    rate: f64,
    /// In the making, or there and not kept yet.
    clip: Option<Recorder>,
    kept: Vec<PathBuf>,
}

impl Sitting {
    /// Nothing is recorded yet. The rest as for [`Recorder::begin`], but for the label, which is that of the session.
    ///
    /// # Errors
    /// A person's name that can be no folder's.
    pub fn new(session: Session, into: &Path, about: About, rate: f64) -> Result<Self> {
        about.folder(into)?;
        Ok(Self { session, into: into.to_owned(), about, rate, clip: None, kept: Vec::new() })
    }

    /// Where it is.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Whether the last frame that it took is part of a clip.
    pub fn is_recording(&self) -> bool {
        self.session.phase() == Phase::Recording
    }

    /// The clips that are kept by now.
    pub fn kept(&self) -> &[PathBuf] {
        &self.kept
    }

    /// Takes the next frame.
    ///
    /// # Errors
    /// A clip that cannot be written. Those that were kept stay.
    pub fn take(&mut self, frame: &Frame, seen: Seen) -> Result<()> {
        let act = self.session.frame(frame.time, seen);
        self.act(act)?;
        match &mut self.clip {
            Some(clip) if self.session.phase() == Phase::Recording => clip.write(frame),
            _ => Ok(()),
        }
    }

    /// Does what somebody asks for; [`Wish::End`] also where the frames end.
    ///
    /// # Errors
    /// As [`Sitting::take`].
    pub fn wish(&mut self, wish: Wish) -> Result<()> {
        let act = self.session.wish(wish);
        self.act(act)
    }

    fn act(&mut self, act: Act) -> Result<()> {
        match act {
            Act::None | Act::Stop => {}
            Act::Begin(expression) => {
                let about = About { label: Some(expression), ..self.about.clone() };
                self.clip = Some(Recorder::begin(&self.into, about, self.rate)?);
            }
            Act::Keep => {
                let clip = self.clip.take().map(Recorder::finish).transpose()?;
                self.kept.extend(clip);
            }
            Act::Discard => self.clip = None,
        }
        Ok(())
    }
}
