//! Live streams: times that go on over several connections.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use ffmpeg_next::decoder;

use super::source::{Patience, Source};
use crate::signal::Signal;

/// How long an address may take to answer, and then to send the next frame.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);

/// How long to wait between two attempts to connect.
const PAUSE: Duration = Duration::from_millis(200);

/// What a live stream has besides: times count from its first frame, over all connections.
pub(super) struct Live {
    address: String,
    /// How long to try to connect again.
    pub(super) reconnect: Duration,
    /// When the first frame of all came.
    began: Option<Instant>,
    /// The stamp of the first frame of this connection, and when it came, counted from the first of all.
    connected: Option<(Duration, Duration)>,
    /// Since when none has come, connections that brought none included.
    lost: Option<Instant>,
    pub(super) signal: Signal,
}

impl Live {
    pub(super) fn new(address: &str) -> Self {
        Self {
            address: address.to_owned(),
            reconnect: Duration::ZERO,
            began: None,
            connected: None,
            lost: None,
            signal: Signal::default(),
        }
    }

    /// The time of a frame that came just now, and for which the stream says this.
    pub(super) fn time(&mut self, said: Option<Duration>) -> Duration {
        let now = Instant::now();
        let now = now - *self.began.get_or_insert(now);
        let said = said.unwrap_or(now);
        let (first, since) = *self.connected.get_or_insert((said, now));
        let time = said.saturating_sub(first) + since;
        self.lost = None;
        self.signal.heard(time);
        time
    }

    /// Connects anew, as often as the time for it allows.
    pub(super) fn connect(&mut self, patience: &Arc<Patience>) -> Option<(Source, decoder::Video)> {
        let lost = *self.lost.get_or_insert_with(Instant::now);
        while !patience.unwanted() {
            let left = self.reconnect.saturating_sub(lost.elapsed());
            if left.is_zero() {
                break;
            }
            self.signal.lost();
            if let Some(source) = Source::connect(&self.address, patience.clone(), left.min(TIMEOUT))
                && let Some(decoder) = source.decoder(true)
            {
                self.connected = None;
                return Some((source, decoder));
            }
            thread::sleep(PAUSE.min(left));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_on_after_a_new_connection_whatever_it_says() {
        let mut live = Live::new("rtsp://cam/live");
        assert_eq!(live.time(Some(Duration::from_secs(70))), Duration::ZERO);
        let second = live.time(Some(Duration::from_secs(71)));
        assert_eq!(second, Duration::from_secs(1));
        live.connected = None;
        let third = live.time(Some(Duration::from_secs(5)));
        assert!(third < Duration::from_secs(1), "counted from the first frame by the clock: {third:?}");
        assert_eq!(live.time(Some(Duration::from_secs(6))), third + Duration::from_secs(1));
    }
}
