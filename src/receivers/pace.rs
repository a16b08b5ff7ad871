//! When the frames of a file are due that plays at its own speed.

use std::thread;
use std::time::{Duration, Instant};

/// How soon an interrupt is seen while a frame is not due yet.
const GLANCE: Duration = Duration::from_millis(15);

/// When the first frame since the last pause was shown, and its time.
#[derive(Debug, Default)]
pub struct Playing(Option<(Instant, Duration)>);

impl Playing {
    /// When the frame of this time is due: no sooner than it was filmed. The first one is due now.
    pub fn due(&mut self, now: Instant, time: Duration) -> Instant {
        let (start, first) = *self.0.get_or_insert((now, time));
        start + time.saturating_sub(first)
    }
}

/// Holds up whoever is shown a file; for what happens now there is none.
pub(super) struct Brake {
    playing: Playing,
    stop: Box<dyn Fn() -> bool + Send>,
}

impl Brake {
    /// `stop` ends a wait.
    pub(super) fn new(stop: impl Fn() -> bool + Send + 'static) -> Self {
        Self { playing: Playing::default(), stop: Box::new(stop) }
    }

    /// Waits until the frame of this time is due.
    pub(super) fn wait(&mut self, time: Duration) {
        let due = self.playing.due(Instant::now(), time);
        while !(self.stop)() && Instant::now() < due {
            thread::sleep(GLANCE.min(due.saturating_duration_since(Instant::now())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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

    #[test]
    fn a_wait_ends_when_it_should() {
        let asked = Instant::now();
        let mut brake = Brake::new(move || asked.elapsed() > Duration::from_millis(120));
        brake.wait(Duration::ZERO);
        brake.wait(Duration::from_millis(60));
        assert!(asked.elapsed() >= Duration::from_millis(60));
        brake.wait(Duration::from_secs(3600));
        assert!(asked.elapsed() >= Duration::from_millis(120) && asked.elapsed() < Duration::from_secs(60));
    }
}
