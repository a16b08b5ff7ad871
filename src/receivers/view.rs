//! The window: what is seen, with keys to change how. It stays on the main thread and takes its readings there.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use super::pace::Playing;
use super::recording;
use super::results::Marks;
use super::{Next, Queue};
use crate::columns::Row;
use crate::error::Result;
use crate::expression::Expression;
use crate::flow::Meter;
use crate::images;
use crate::overlay::{Hud, Mark, Overlay, Style};
use crate::reading::Reading;
use crate::signal::Signal;
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

/// How long it is said that something was marked.
const SAID: Duration = Duration::from_millis(1500);

/// What else a view has to do with.
#[derive(Debug, Clone, Default)]
pub struct Strings {
    /// The source, if it is live.
    pub signal: Signal,
    /// Clips that are recorded by a key.
    pub recording: recording::Wanted,
    /// Where marks go besides.
    pub marks: Option<Marks>,
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
    strings: Strings,
    /// What was marked, and when.
    marked: Option<(Instant, String)>,
    /// When the first frame was shown.
    first: Arc<OnceLock<Instant>>,
    /// Mean seconds between frames.
    interval: f64,
    meter: Arc<Meter>,
    /// From the moment that a frame was taken until it was shown.
    age: Arc<Meter>,
    warnings: Warnings,
}

/// What keys change.
#[derive(Debug)]
struct Look {
    style: Style,
    paused: bool,
    help: bool,
    /// Whether faces are hidden, for those who look for them: whoever hides faces wants all of them found.
    hiding: Arc<AtomicBool>,
    recording: Arc<AtomicBool>,
    /// Set when neutrals are to be taken.
    neutral: Arc<AtomicBool>,
}

/// What else a key asks for.
#[derive(Debug, PartialEq, Eq)]
enum Wish {
    Close,
    Screenshot,
    Redraw,
    Mark(Expression),
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
            Key::Record => drop(self.recording.fetch_not(Ordering::Relaxed)),
            Key::Mark(expression) => return Wish::Mark(expression),
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
    /// Shows readings in a window, and pulls `strings` by its keys.
    pub fn new(window: Window, style: Style, pace: Pace, strings: Strings) -> Self {
        let recording::Wanted { on, hiding, .. } = strings.recording.clone();
        let look = Look { style, paused: false, help: false, hiding, recording: on, neutral: Arc::default() };
        let meter = |name| Arc::new(Meter::new(name));
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
            strings,
            marked: None,
            first: Arc::default(),
            interval: 0.0,
            meter: meter("view"),
            age: meter("age"),
            warnings: Warnings::default(),
        }
    }

    /// Sets this when its user asks by a key that neutrals be taken.
    pub fn taking_neutrals(self, asked: Arc<AtomicBool>) -> Self {
        Self { look: Look { neutral: asked, ..self.look }, ..self }
    }

    /// How long it takes to draw and to show a reading; and how old what is shown is by then.
    pub fn meters(&self) -> [Arc<Meter>; 2] {
        [self.meter.clone(), self.age.clone()]
    }

    /// When the first frame was shown.
    pub fn first(&self) -> Arc<OnceLock<Instant>> {
        self.first.clone()
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
                Wish::Mark(expression) => self.mark(expression)?,
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
        let is_silent = || self.before.is_some_and(|before| before.elapsed() > SILENCE);
        let silent = self.pace == Pace::Live && (self.strings.signal.is_lost() || is_silent());
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
        meter.time(|| self.draw())?;
        self.first.get_or_init(Instant::now);
        if let Some(age) = self.age_of_the_shown() {
            self.age.note(age);
        }
        Ok(())
    }

    fn age_of_the_shown(&self) -> Option<Duration> {
        let shown = self.shown.as_ref().filter(|_| self.pace == Pace::Live)?;
        self.strings.signal.age(shown.frame.time)
    }

    /// What is shown goes into the results once more, with what its viewer says of it.
    fn mark(&mut self, expression: Expression) -> Result<()> {
        let Some(reading) = &self.shown else { return Ok(()) };
        let is_recording = self.look.recording.load(Ordering::Relaxed);
        let taken =
            [Some(&self.strings.recording.marks).filter(|_| is_recording), self.strings.marks.as_ref()];
        for marks in taken.into_iter().flatten() {
            marks.add(reading.rows(false).into_iter().map(|row| Row { mark: Some(expression), ..row }));
        }
        let text = match taken {
            [None, None] => "nowhere to mark: r records, --results writes".to_owned(),
            _ => format!("marked: {expression}"),
        };
        self.marked = Some((Instant::now(), text));
        self.draw()
    }

    fn draw(&mut self) -> Result<()> {
        let Some(reading) = &self.shown else { return Ok(()) };
        let Look { style, paused, help, .. } = self.look;
        let (mark, mut text) = match (paused, self.pace) {
            (true, Pace::Pictures) => (None, "Space: next, h: help".to_owned()),
            (true, _) => (Some(Mark::Paused), time_of(reading)),
            (false, Pace::Live) if self.silent => (Some(Mark::Reconnecting), time_of(reading)),
            (false, Pace::Live) => {
                let rate = format!("{:.0} frames/s", 1.0 / self.interval.max(1e-3));
                let age = self.age_of_the_shown().map(|age| format!("  {} ms", age.as_millis()));
                (Some(Mark::Live), rate + &age.unwrap_or_default())
            }
            (false, _) => (None, time_of(reading)),
        };
        if let Some(words) = neutral_words(reading) {
            text = format!("{text}  {words}");
        }
        let is_recording = self.pace != Pace::Pictures && self.look.recording.load(Ordering::Relaxed);
        let recording = is_recording.then_some(Mark::Recording);
        let marks: Vec<_> = mark.into_iter().chain(recording).collect();
        let said = self.marked.as_ref().filter(|(when, _)| when.elapsed() < SAID).map(|(_, text)| text);
        let text = said.unwrap_or(&text);
        let hud = Hud { marks: &marks, text, help: if help { &HELP } else { &[] } };
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
        let (recording, neutral) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let (hiding_too, takes) = (hiding.clone(), neutral.clone());
        let mut look = Look {
            style: Style::default(),
            paused: false,
            help: false,
            hiding: hiding_too,
            recording,
            neutral: takes,
        };
        for wanted in [true, false] {
            assert_eq!(look.press(Key::Blur), Wish::Redraw);
            assert_eq!((look.style.blur, hiding.load(Ordering::Relaxed)), (wanted, wanted));
        }
        assert_eq!((look.press(Key::Quit), look.press(Key::Screenshot)), (Wish::Close, Wish::Screenshot));
        look.press(Key::Pause);
        look.press(Key::Help);
        look.press(Key::Neutral);
        assert!(look.paused && look.help && neutral.load(Ordering::Relaxed));
        look.press(Key::Record);
        assert!(look.recording.load(Ordering::Relaxed));
        assert_eq!(look.press(Key::Mark(Expression::Fear)), Wish::Mark(Expression::Fear));
    }
}
