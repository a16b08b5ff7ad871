//! What a live source says besides its frames, for whoever shows them: whether it is heard at the moment, and since when.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// The state of one live source; clones share it.
#[derive(Debug, Clone, Default)]
pub struct Signal(Arc<State>);

#[derive(Debug, Default)]
struct State {
    lost: AtomicBool,
    /// When the frame of time zero was taken.
    began: Mutex<Option<Instant>>,
}

impl Signal {
    /// Whether the source is lost and being connected to anew.
    pub fn is_lost(&self) -> bool {
        self.0.lost.load(Ordering::Relaxed)
    }

    /// Says that it is lost, until it is heard again.
    pub fn lost(&self) {
        self.0.lost.store(true, Ordering::Relaxed);
    }

    /// Says that a frame of this time came just now. The quickest of them tells when the source began: others were
    /// longer on their way.
    pub fn heard(&self, time: Duration) {
        self.0.lost.store(false, Ordering::Relaxed);
        let began = Instant::now().checked_sub(time);
        let mut known = self.0.began.lock().unwrap_or_else(PoisonError::into_inner);
        *known = known.map_or(began, |known| Some(began.map_or(known, |began| began.min(known))));
    }

    /// How long ago the frame of this time was taken; none of a source that does not say.
    pub fn age(&self, time: Duration) -> Option<Duration> {
        let began = *self.0.began.lock().unwrap_or_else(PoisonError::into_inner);
        began.map(|began| began.elapsed().saturating_sub(time))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_as_old_as_the_quickest_of_them_tells() {
        let (signal, at) = (Signal::default(), Duration::from_millis);
        assert_eq!(signal.age(at(0)), None);
        std::thread::sleep(at(80));
        signal.heard(at(30));
        signal.heard(at(70));
        signal.heard(at(20));
        assert!(signal.clone().age(at(70)).unwrap() < at(40), "{:?}", signal.age(at(70)));
        std::thread::sleep(at(30));
        assert!(signal.age(at(70)).unwrap() >= at(30));
    }
}
