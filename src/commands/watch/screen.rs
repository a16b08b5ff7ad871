//! The window: what is seen, with keys to change how.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use lanet_live::error::Result;
use lanet_live::images;
use lanet_live::overlay::{Overlay, Style, banner};
use lanet_live::reader::Reading;
use lanet_live::window::{Display, Key, Window};

use super::{Options, Source, Stop, style, tell};

/// A window and how it shows readings.
pub struct Screen {
    window: Window,
    overlay: Overlay,
    style: Style,
    live: bool,
    /// Whether the frames are independent pictures: each stays until a key is pressed.
    pictures: bool,
    /// When the first frame was shown, and its time: a file plays no faster than it was filmed.
    began: Option<(Instant, Duration)>,
    shown: Option<Instant>,
    /// Mean seconds between frames.
    pace: f64,
}

impl Screen {
    /// Opens the window.
    ///
    /// # Errors
    /// There is no display.
    pub fn open(options: &Options, source: &Source) -> Result<Self> {
        let display = Display::from_environment(|name| std::env::var(name).ok());
        let window = Window::open("lanet-live", &display)?;
        let style = style(options, options.camera.is_some());
        let Source { live, pictures, .. } = *source;
        let overlay = Overlay::default();
        Ok(Self { window, overlay, style, live, pictures, began: None, shown: None, pace: 0.0 })
    }

    /// Shows a reading; false when the user has seen enough.
    pub fn show(&mut self, reading: Reading, stop: &Stop) -> Result<bool> {
        let wait = self.until_due(reading.frame.time);
        let mut paused = self.pictures;
        loop {
            let mut image = self.overlay.draw(&reading, self.style)?;
            let state = match (paused, self.live) {
                (true, _) if self.pictures => "SPACE next, Q quit".to_owned(),
                (true, _) => "PAUSED".to_owned(),
                (false, true) => format!("LIVE {:.0} frames/s", 1.0 / self.pace.max(1e-3)),
                (false, false) => format!("{:.1} s", reading.frame.time.as_secs_f64()),
            };
            banner(&mut image, &state)?;
            self.window.show(&image)?;
            match self.window.key(if paused { Duration::from_millis(50) } else { wait })? {
                Some(Key::Quit) => return Ok(false),
                Some(Key::Pause) => paused = !paused,
                Some(Key::Mirror) => self.style.mirror = !self.style.mirror,
                Some(Key::Landmarks) => self.style.landmarks = !self.style.landmarks,
                Some(Key::Blur) => self.style.blur = !self.style.blur,
                Some(Key::Screenshot) => {
                    // Without the banner; the run goes on also where no picture can be written.
                    let image = self.overlay.draw(&reading, self.style)?;
                    if let Err(error) = images::write(&free_name(reading.frame.index), &image, false) {
                        tell(&format!("lanet-live: {}", error.line()));
                    }
                }
                None => {}
            }
            if stop.asked() {
                return Ok(false);
            }
            if !paused {
                return Ok(true);
            }
            self.began = None;
        }
    }

    /// How long the frame of this time stays: a file plays no faster than it was filmed, and keys are seen meanwhile.
    fn until_due(&mut self, time: Duration) -> Duration {
        let now = Instant::now();
        if let Some(before) = self.shown {
            let passed = (now - before).as_secs_f64();
            self.pace = if self.pace == 0.0 { passed } else { self.pace * 0.9 + passed * 0.1 };
        }
        self.shown = Some(now);
        let (start, first) = *self.began.get_or_insert((now, time));
        match self.live {
            true => Duration::ZERO,
            false => (start + time.saturating_sub(first)).saturating_duration_since(now),
        }
    }
}

/// A name in this folder that no file has.
fn free_name(frame: u64) -> PathBuf {
    let name = |n: u32| match n {
        1 => PathBuf::from(format!("lanet-live-{frame:06}.png")),
        n => PathBuf::from(format!("lanet-live-{frame:06}-{n}.png")),
    };
    (1..).map(name).find(|name| !name.exists()).unwrap_or_default()
}
