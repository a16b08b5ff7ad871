//! Clips that a viewer begins and ends by a key: what was seen, with nothing drawn on it, and its readings beside it.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::Receiver;
use super::results::Marks;
use crate::error::Result;
use crate::overlay::{Hud, Overlay, Style};
use crate::reading::Reading;
use crate::results::Results;
use crate::video::{Encoder, Settings, Writer};
use crate::warning::{Warning, Warnings};

/// Whether it is recorded, faces are hidden, and what the viewer marks.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// Whether a clip is recorded now.
    pub on: Arc<AtomicBool>,
    /// Whether faces are hidden in it.
    pub hiding: Arc<AtomicBool>,
    /// Marks, which go into its readings.
    pub marks: Marks,
}

/// Records while that is wanted.
pub struct Recording {
    wanted: Wanted,
    folder: PathBuf,
    rate: f64,
    raw: bool,
    take: Option<Take>,
    last: Option<PathBuf>,
    warnings: Warnings,
}

/// A clip in the making.
struct Take {
    video: Writer,
    results: Results,
}

impl Recording {
    /// Records clips of about so many frames a second into a folder; `raw` as for [`Results::create`].
    pub fn new(wanted: Wanted, folder: PathBuf, rate: f64, raw: bool) -> Self {
        Self { wanted, folder, rate, raw, take: None, last: None, warnings: Warnings::default() }
    }

    /// What could not be recorded.
    pub fn warnings(&self) -> Warnings {
        self.warnings.clone()
    }

    fn begin(&self, frame: u64) -> Result<Take> {
        let name = |n: u32, extension| {
            let more = if n > 1 { format!("-{n}") } else { String::new() };
            self.folder.join(format!("lanet-live-{frame:06}{more}.{extension}"))
        };
        let is_free = |&n: &u32| !name(n, "mp4").exists() && !name(n, "jsonl").exists();
        let n = (1..).find(is_free).unwrap_or_default();
        let settings = Settings {
            rate: self.rate,
            source: None,
            trimmed: true,
            overwrite: false,
            encoder: Encoder::find(),
        };
        Ok(Take {
            video: Writer::create(&name(n, "mp4"), settings)?,
            results: Results::create(&name(n, "jsonl"), false, self.raw)?,
        })
    }

    fn go_on(&mut self, reading: &Reading) -> Result<()> {
        if self.take.is_none() {
            // What was marked before belongs to no clip.
            self.wanted.marks.take();
            self.take = Some(self.begin(reading.frame.index)?);
        }
        let Some(take) = &mut self.take else { return Ok(()) };
        let _ = take.results.write(&self.wanted.marks.take())?;
        let _ = take.results.write(&reading.rows(self.raw))?;
        if self.wanted.hiding.load(Ordering::Relaxed) {
            let image = Overlay::default().draw(reading, Style::HIDING, &Hud::default());
            take.video.write(&image, reading.frame.time)
        } else {
            take.video.write(&reading.frame.image, reading.frame.time)
        }
    }

    fn end(&mut self) -> Result<()> {
        if let Some(Take { video, mut results }) = self.take.take() {
            let _ = results.write(&self.wanted.marks.take())?;
            video.finish()?;
            self.last = results.finish()?;
        }
        Ok(())
    }
}

impl Receiver for Recording {
    fn take(&mut self, reading: &Arc<Reading>) -> Result<ControlFlow<()>> {
        let on = self.wanted.on.load(Ordering::Relaxed);
        if let Err(error) = if on { self.go_on(reading) } else { self.end() } {
            // The view goes on, and so may the next clip.
            self.take = None;
            self.wanted.on.store(false, Ordering::Relaxed);
            self.warnings.add(Warning::NoClip { why: error.line() });
        }
        Ok(ControlFlow::Continue(()))
    }

    fn finish(mut self: Box<Self>) -> Result<Option<PathBuf>> {
        self.end()?;
        Ok(self.last)
    }

    fn is_needed(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::columns::Row;
    use crate::expression::Expression;
    use crate::frame::{Frame, Image};

    fn reading(index: u64) -> Arc<Reading> {
        let image = Image::filled(64, 48, [90, 60, 30]);
        let frame = Frame { image, source: "test".into(), index, time: Duration::from_millis(index * 40) };
        Arc::new(Reading { frame, faces: vec![], whereabouts: vec![] })
    }

    #[test]
    fn a_clip_has_its_frames_its_rows_and_its_marks_and_the_next_one_is_another() {
        let (folder, wanted) = (tempfile::tempdir().unwrap(), Wanted::default());
        let mut recording = Recording::new(wanted.clone(), folder.path().into(), 25.0, false);
        let mut show = |index, on| {
            wanted.on.store(on, Ordering::Relaxed);
            assert!(recording.take(&reading(index)).unwrap().is_continue());
            wanted.on.load(Ordering::Relaxed)
        };
        let mark = || {
            wanted.marks.add(
                reading(1).rows(false).into_iter().map(|row| Row { mark: Some(Expression::Fear), ..row }),
            )
        };
        mark();
        assert!(!show(0, false) && show(1, true) && show(2, true));
        mark();
        assert!(show(3, true) && !show(4, false) && show(1, true));
        assert!(recording.warnings().take().is_empty());
        let last = Box::new(recording).finish().unwrap();
        assert_eq!(last, Some(folder.path().join("lanet-live-000001-2.jsonl")));
        let rows = |name: &str| std::fs::read_to_string(folder.path().join(name)).unwrap();
        let (first, second) = (rows("lanet-live-000001.jsonl"), rows("lanet-live-000001-2.jsonl"));
        assert_eq!((first.lines().count(), first.matches("\"mark\":\"fear\"").count()), (4, 1), "{first}");
        assert_eq!(second.lines().count(), 1);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 4);
    }

    #[test]
    fn what_cannot_be_recorded_is_said_and_the_view_goes_on() {
        let wanted = Wanted::default();
        let mut recording = Recording::new(wanted.clone(), "no/such/folder".into(), 25.0, false);
        wanted.on.store(true, Ordering::Relaxed);
        assert!(recording.take(&reading(7)).unwrap().is_continue());
        assert!(!wanted.on.load(Ordering::Relaxed));
        assert!(matches!(&recording.warnings().take()[..], [Warning::NoClip { .. }]));
        assert_eq!(Box::new(recording).finish().unwrap(), None);
    }
}
