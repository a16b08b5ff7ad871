//! The window: what is seen, with keys to change how. It stays on the main thread and takes its readings there.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::{Next, Queue};
use crate::error::Result;
use crate::flow::Meter;
use crate::images;
use crate::overlay::{Hud, Mark, Overlay, Style};
use crate::reader::Reading;
use crate::warning::{Warning, Warnings};
use crate::window::{HELP, Key, Window};

/// How soon a key or an interrupt is seen.
const GLANCE: Duration = Duration::from_millis(15);

/// Without a frame for so long, a camera or a live stream is said to be silent: it is being connected to again.
const SILENCE: Duration = Duration::from_secs(1);

/// How readings come and are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// Those of a camera, as they come.
    Live,
    /// The newest of a file that is read as fast as others can write.
    Newest,
    /// No faster than they were filmed.
    Filmed,
    /// Each stays until Space is pressed.
    Pictures,
}

/// A window and how it shows readings.
pub struct View {
    window: Window,
    overlay: Overlay,
    look: Look,
    pace: Pace,
    shown: Option<Arc<Reading>>,
    /// What is shown next, when it is time.
    next: Option<Arc<Reading>>,
    playing: Playing,
    /// When the last frame came into the window.
    before: Option<Instant>,
    silent: bool,
    /// Mean seconds between frames.
    interval: f64,
    meter: Arc<Meter>,
    warnings: Warnings,
}

/// When the first frame since the last pause was shown, and its time.
#[derive(Debug, Default)]
struct Playing(Option<(Instant, Duration)>);

impl Playing {
    /// When the frame of this time is due: no sooner than it was filmed. The first one is due now.
    fn due(&mut self, now: Instant, time: Duration) -> Instant {
        let (start, first) = *self.0.get_or_insert((now, time));
        start + time.saturating_sub(first)
    }
}

/// What keys change.
#[derive(Debug)]
struct Look {
    style: Style,
    paused: bool,
    help: bool,
    /// Whether faces are hidden, for those who look for them: whoever hides faces wants all of them found.
    hiding: Arc<AtomicBool>,
    /// Set when neutrals are to be taken.
    neutral: Arc<AtomicBool>,
}

/// What else a key asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Close,
    Screenshot,
    Redraw,
}

impl Look {
    fn press(&mut self, key: Key) -> Wish {
        match key {
            Key::Quit => return Wish::Close,
            Key::Screenshot => return Wish::Screenshot,
            Key::Pause => self.paused = !self.paused,
            Key::Mirror => self.style.mirror = !self.style.mirror,
            Key::Mesh => self.style.mesh = !self.style.mesh,
            Key::Pose => self.style.pose = !self.style.pose,
            Key::Strip => self.style.strip = !self.style.strip,
            Key::Help => self.help = !self.help,
            Key::Neutral => self.neutral.store(true, Ordering::Relaxed),
            Key::Blur => {
                self.style.blur = !self.style.blur;
                self.hiding.store(self.style.blur, Ordering::Relaxed);
            }
        }
        Wish::Redraw
    }
}

impl View {
    /// Shows readings in a window. `hiding` is set while its user hides faces by a key.
    pub fn new(window: Window, style: Style, pace: Pace, hiding: Arc<AtomicBool>) -> Self {
        let look = Look { style, paused: false, help: false, hiding, neutral: Arc::default() };
        let (meter, warnings) = (Arc::new(Meter::new("view")), Warnings::default());
        Self {
            window,
            overlay: Overlay::default(),
            look,
            pace,
            shown: None,
            next: None,
            playing: Playing::default(),
            before: None,
            silent: false,
            interval: 0.0,
            meter,
            warnings,
        }
    }

    /// Sets this when its user asks by a key that neutrals be taken.
    pub fn taking_neutrals(self, asked: Arc<AtomicBool>) -> Self {
        Self { look: Look { neutral: asked, ..self.look }, ..self }
    }

    /// How long it takes to draw and to show a reading.
    pub fn meter(&self) -> Arc<Meter> {
        self.meter.clone()
    }

    /// What could not be done as asked.
    pub fn warnings(&self) -> Warnings {
        self.warnings.clone()
    }

    /// Shows readings until they end, the user closes the window, or `stop` says so.
    ///
    /// # Errors
    /// A window that the system takes away.
    pub fn run(mut self, readings: Queue, stop: impl Fn() -> bool) -> Result<()> {
        while !stop() {
            if self.next.is_none() && !self.look.paused {
                match readings.next_within(GLANCE) {
                    Next::Reading(reading) => self.next = Some(reading),
                    Next::Nothing => self.listen()?,
                    Next::End => break,
                }
            }
            let wait = self.wait();
            if let Some(reading) = self.next.take_if(|_| wait.is_zero()) {
                self.show(reading)?;
            }
            let Some(key) = self.window.key(wait)? else { continue };
            match self.look.press(key) {
                Wish::Close => break,
                Wish::Redraw => self.draw()?,
                Wish::Screenshot => self.screenshot(),
            }
            if self.look.paused {
                self.playing = Playing::default();
            }
        }
        Ok(())
    }

    /// How long keys are waited for before the next reading may be shown.
    fn wait(&mut self) -> Duration {
        let now = Instant::now();
        let due = match &self.next {
            _ if self.look.paused => now + GLANCE,
            Some(next) if self.pace == Pace::Filmed => self.playing.due(now, next.frame.time),
            _ => now,
        };
        due.saturating_duration_since(now).min(GLANCE)
    }

    /// Says so once when a live source falls silent.
    fn listen(&mut self) -> Result<()> {
        let silent = self.pace == Pace::Live && self.before.is_some_and(|before| before.elapsed() > SILENCE);
        if silent == self.silent {
            return Ok(());
        }
        self.silent = silent;
        self.draw()
    }

    fn show(&mut self, reading: Arc<Reading>) -> Result<()> {
        let now = Instant::now();
        if let Some(before) = self.before.replace(now) {
            let passed = (now - before).as_secs_f64();
            self.interval = if self.interval == 0.0 { passed } else { self.interval * 0.9 + passed * 0.1 };
        }
        self.look.paused = self.pace == Pace::Pictures;
        self.silent = false;
        self.shown = Some(reading);
        let meter = self.meter.clone();
        meter.time(|| self.draw())
    }

    fn draw(&mut self) -> Result<()> {
        let Some(reading) = &self.shown else { return Ok(()) };
        let Look { style, paused, help, .. } = self.look;
        let (mark, mut text) = match (paused, self.pace) {
            (true, Pace::Pictures) => (None, "Space: next, h: help".to_owned()),
            (true, _) => (Some(Mark::Paused), time_of(reading)),
            (false, Pace::Live) if self.silent => (Some(Mark::Reconnecting), time_of(reading)),
            (false, Pace::Live) => {
                (Some(Mark::Live), format!("{:.0} frames/s", 1.0 / self.interval.max(1e-3)))
            }
            (false, _) => (None, time_of(reading)),
        };
        if let Some(words) = neutral_words(reading) {
            text = format!("{text}  {words}");
        }
        let hud = Hud { marks: mark.as_slice(), text: &text, help: if help { &HELP } else { &[] } };
        self.window.show(self.overlay.draw(reading, style, &hud))
    }

    /// Writes what is shown, without marks; the run goes on also where no picture can be written.
    fn screenshot(&mut self) {
        let Some(reading) = &self.shown else { return };
        let image = self.overlay.draw(reading, self.look.style, &Hud::default());
        if let Err(error) = images::write(&free_name(reading.frame.index), &image, false) {
            self.warnings.add(Warning::NoScreenshot { why: error.line() });
        }
    }
}

/// What is said of neutrals: how long somebody has to be at rest, or else that somebody is read against their own.
fn neutral_words(reading: &Reading) -> Option<String> {
    let sitting = reading.faces.iter().filter_map(|face| face.baseline.sitting).max();
    let own = reading.faces.iter().any(|face| face.baseline.own);
    match sitting {
        Some(left) => Some(format!("face at rest, {} s", left.as_secs_f64().ceil())),
        None => own.then(|| "own neutral".to_owned()),
    }
}

/// When a reading was filmed.
fn time_of(reading: &Reading) -> String {
    let tenths = reading.frame.time.as_millis() / 100;
    format!("{}:{:02}.{}", tenths / 600, tenths / 10 % 60, tenths % 10)
}

/// A name in this folder that no file has.
fn free_name(frame: u64) -> PathBuf {
    let name = |n: u32| match n {
        1 => PathBuf::from(format!("lanet-live-{frame:06}.png")),
        n => PathBuf::from(format!("lanet-live-{frame:06}-{n}.png")),
    };
    (1..).map(name).find(|name| !name.exists()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_hides_faces_by_a_key_wants_all_of_them_found() {
        let hiding = Arc::new(AtomicBool::new(false));
        let neutral = Arc::new(AtomicBool::new(false));
        let (hides, takes) = (hiding.clone(), neutral.clone());
        let mut look =
            Look { style: Style::default(), paused: false, help: false, hiding: hides, neutral: takes };
        for wanted in [true, false] {
            assert_eq!(look.press(Key::Blur), Wish::Redraw);
            assert_eq!((look.style.blur, hiding.load(Ordering::Relaxed)), (wanted, wanted));
        }
        assert_eq!((look.press(Key::Quit), look.press(Key::Screenshot)), (Wish::Close, Wish::Screenshot));
        look.press(Key::Pause);
        look.press(Key::Help);
        look.press(Key::Neutral);
        assert!(look.paused && look.help && neutral.load(Ordering::Relaxed));
    }

    #[test]
    fn a_file_plays_no_faster_than_it_was_filmed() {
        let (mut playing, start) = (Playing::default(), Instant::now());
        let at = Duration::from_secs;
        assert_eq!(playing.due(start, at(100)), start);
        // Later it is due at the same moment, however far the frames are apart.
        assert_eq!(playing.due(start + at(3), at(105)), start + at(5));
        // After a pause it goes on from there.
        playing = Playing::default();
        assert_eq!(playing.due(start + at(60), at(105)), start + at(60));
    }
}
