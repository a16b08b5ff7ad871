//! Frames out of a video file or address, upright, with the numbers and time stamps that they have there.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use ffmpeg_next::{Error as Failure, decoder, frame};

use super::address::{open, without_secrets};
use super::live::{Live, TIMEOUT};
use super::picture::Painter;
use super::source::{Patience, Source};
use crate::error::{Error, Kind, Result};
use crate::frame::Frame;
use crate::signal::Signal;
use crate::warning::{Warning, Warnings};

/// How many errors in a row a decoder may report of one packet.
const MOST_ERRORS: u32 = 100;

/// What is known of a video before its frames are read.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Info {
    /// Pixels to a row, upright and square.
    pub width: usize,
    /// Rows, upright and square.
    pub height: usize,
    /// Nominal frames a second; the frames' own time stamps may say otherwise.
    pub rate: f64,
    /// How many frames the index promises, or an estimate; live streams do not say.
    pub frames: Option<u64>,
    /// When the video ends, counted from the start of the file; live streams do not say.
    pub end: Option<Duration>,
}

/// The frames of a video. Times count from the start of the file, as players show them.
pub struct Reader {
    video: Source,
    decoder: decoder::Video,
    decoded: frame::Video,
    painter: Painter,
    source: Arc<str>,
    path: Option<PathBuf>,
    live: Option<Live>,
    info: Info,
    start: Duration,
    stop: Option<Duration>,
    /// How many frames lie before the start, after a jump to it.
    jumped: Option<u64>,
    next: u64,
    last: Option<Duration>,
    given: u64,
    /// Damaged spots up to here, and up to the last frame: what comes after that is an end that is cut off.
    damaged: u64,
    told: u64,
    begun: bool,
    ended: bool,
    warnings: Warnings,
}

/// Why there is no further frame for now.
enum Lost {
    Ended,
    Silent,
    Failed(Failure),
}

impl Reader {
    /// Opens a file.
    ///
    /// # Errors
    /// A file that is missing, empty, not a video, or damaged so that nothing can be read; a pipe into which nobody
    /// writes for ten seconds.
    pub fn open(path: &Path) -> Result<Self> {
        let shown = path.display();
        let file = open(path)?;
        if file.metadata().is_ok_and(|data| data.is_file() && data.len() == 0) {
            return Err(Error::new(format!("'{shown}' is empty"))
                .of_kind(Kind::Input)
                .advice("copy or download it again"));
        }
        Source::open(path, file)
            .and_then(|video| Self::new(video, path.to_string_lossy().into(), Some(path), None))
            .ok_or_else(|| {
                Error::new(format!("'{shown}' cannot be read as a video"))
                    .of_kind(Kind::Input)
                    .advice("check that it is a whole video file and that a player shows it")
            })
    }

    /// Opens an address (RTSP, HTTP), waiting at most ten seconds for an answer and for each frame.
    ///
    /// # Errors
    /// An address that does not answer with video.
    pub fn connect(address: &str) -> Result<Self> {
        let shown = without_secrets(address);
        let live = Live::new(address);
        Source::connect(address, Arc::new(Patience::default()), TIMEOUT)
            .and_then(|video| Self::new(video, shown.as_str().into(), None, Some(live)))
            .ok_or_else(|| {
                Error::new(format!("'{shown}' gives no video"))
                    .advice("check the address, the network and the password")
            })
    }

    fn new(video: Source, source: Arc<str>, path: Option<&Path>, live: Option<Live>) -> Option<Self> {
        let facts = &video.facts;
        // A recording that is served over HTTP has an end as a file has.
        let recorded = path.is_some() || (source.starts_with("http") && facts.end.is_some());
        let live = live.filter(|_| !recorded);
        let decoder = video.decoder(live.is_some())?;
        let painter = Painter::new(decoder.width(), decoder.height(), facts);
        let (width, height) = painter.sides();
        let end = facts.end.filter(|_| recorded);
        let estimate = end.map(|end| (end.saturating_sub(facts.start).as_secs_f64() * facts.rate) as u64);
        let frames = facts.frames.filter(|_| recorded).or(estimate);
        Some(Self {
            info: Info { width, height, rate: facts.rate, frames, end },
            video,
            decoder,
            decoded: frame::Video::empty(),
            painter,
            source,
            path: path.map(Path::to_owned),
            live,
            start: Duration::ZERO,
            stop: None,
            jumped: None,
            next: 0,
            last: None,
            given: 0,
            damaged: 0,
            told: 0,
            begun: false,
            ended: width * height == 0,
            warnings: Warnings::default(),
        })
        .filter(|reader| !reader.ended)
    }

    /// Gives only the frames with time stamps from `start` on and before `stop`, with their own numbers.
    pub fn between(self, start: Duration, stop: Option<Duration>) -> Self {
        Self { start, stop, ..self }
    }

    /// Ends the frames when `stop` says so, also while those before the start are passed over and while an address
    /// is silent.
    pub fn until(self, stop: impl Fn() -> bool + Send + 'static) -> Self {
        self.video.patience.until(stop);
        self
    }

    /// Connects again for so long when a live stream ends or fails; its frames go on with their numbers and times.
    pub fn reconnecting(mut self, time: Duration) -> Self {
        if let Some(live) = &mut self.live {
            live.reconnect = time;
        }
        self
    }

    /// What is known before the frames are read.
    pub fn info(&self) -> &Info {
        &self.info
    }

    /// A video that is damaged or cut short is told of here, after its last frame.
    pub fn warnings(&self) -> Warnings {
        self.warnings.clone()
    }

    /// Whether a live stream is lost at the moment.
    pub fn signal(&self) -> Signal {
        self.live.as_ref().map_or_else(Signal::default, |live| live.signal.clone())
    }

    /// Decodes the next frame.
    fn decode(&mut self) -> Result<(), Lost> {
        if self.path.is_none() {
            self.video.patience.renew(TIMEOUT);
        }
        let mut errors = 0;
        loop {
            match self.decoder.receive_frame(&mut self.decoded) {
                Ok(()) => return Ok(()),
                Err(Failure::Eof) => return Err(Lost::Ended),
                Err(Failure::Other { errno: ffmpeg_next::error::EAGAIN }) => {}
                Err(_) => {
                    self.damaged += 1;
                    errors += 1;
                    if errors < MOST_ERRORS {
                        continue;
                    }
                    return Err(Lost::Ended);
                }
            }
            let sent = match self.video.packet(&mut self.damaged) {
                Ok(Some(packet)) => self.decoder.send_packet(&packet),
                Ok(None) => self.decoder.send_eof(),
                Err(_) if self.video.patience.over() => return Err(Lost::Silent),
                // Of a file that is cut in the middle, some formats say that it cannot be read on.
                Err(_) if self.path.is_some() => self.decoder.send_eof(),
                Err(failure) => return Err(Lost::Failed(failure)),
            };
            match sent {
                Ok(()) | Err(Failure::Eof) => {}
                Err(_) => self.damaged += 1,
            }
        }
    }

    /// The time of the frame just decoded. Times grow, whatever a file says.
    fn stamp(&mut self) -> Duration {
        let said = self.decoded.timestamp().map(|ticks| self.video.facts.time(ticks));
        let next = self.last.map_or(self.video.facts.start, |last| last + self.frame_time());
        let time = match &mut self.live {
            None => said.unwrap_or(next),
            Some(live) => live.time(said),
        };
        self.last.map_or(time, |last| time.max(last + Duration::from_micros(1)))
    }

    fn frame_time(&self) -> Duration {
        Duration::from_secs_f64(1.0 / self.info.rate)
    }

    /// Goes to the key frame before the start: what comes before it is counted, but not decoded.
    fn jump(&mut self) {
        if self.start.is_zero() || self.path.is_none() || !self.video.facts.indexed {
            return;
        }
        let before = self.video.count_before(self.start);
        if self.video.seek(self.start) {
            self.jumped = Some(before);
        } else {
            self.rewind();
        }
    }

    /// Begins anew.
    fn rewind(&mut self) {
        self.jumped = None;
        self.ended = !self.video.seek(self.video.facts.start);
        self.decoder.flush();
    }

    /// The frame just decoded, if it lies between start and stop.
    fn take(&mut self) -> Option<Result<Frame>> {
        let time = self.stamp();
        if time < self.start {
            self.next += u64::from(self.jumped.is_none());
            self.last = Some(time);
            return None;
        }
        if let Some(before) = self.jumped.take() {
            if self.last.is_none() && before > 0 {
                // The jump went too far: a frame before the start was to be seen.
                self.rewind();
                return None;
            }
            self.next = before;
        }
        let index = self.next;
        self.next += 1;
        self.last = Some(time);
        if self.stop.is_some_and(|stop| time >= stop) {
            self.ended = true;
            self.warn_of_damage();
            return None;
        }
        self.given += 1;
        self.damaged += u64::from(self.decoded.is_corrupt() || self.decoded.has_decode_errors());
        self.told = self.damaged;
        let Some(image) = self.painter.picture(&self.decoded) else {
            self.ended = true;
            return Some(Err(Error::new(format!("a frame of '{}' cannot be shown", self.source))
                .advice("convert the video with the program ffmpeg first")));
        };
        Some(Ok(Frame { image, source: self.source.clone(), index, time }))
    }

    /// Tries to connect again; whether that succeeded.
    fn reconnect(&mut self) -> bool {
        let Some(live) = self.live.as_mut().filter(|_| self.last.is_some()) else { return false };
        match live.connect(&self.video.patience) {
            Some(connected) => {
                (self.video, self.decoder) = connected;
                true
            }
            None => false,
        }
    }

    fn warn_of_damage(&self) {
        if self.told > 0 {
            self.warnings.add(Warning::Damaged { source: PathBuf::from(&*self.source), count: self.told });
        }
    }

    /// After the last frame: nothing read is an error, less than promised a warning.
    fn end(&self, why: Lost) -> Option<Result<Frame>> {
        let source = &self.source;
        match why {
            Lost::Silent => {
                return Some(Err(Error::new(format!(
                    "'{source}' has sent nothing for {} s",
                    TIMEOUT.as_secs()
                ))
                .advice("check the network and that it still sends")));
            }
            Lost::Failed(cause) if self.live.is_some() => {
                return Some(Err(Error::new(format!("the connection to '{source}' is lost"))
                    .because(cause)
                    .advice("check the network and that it still sends")));
            }
            Lost::Failed(_) | Lost::Ended => {}
        }
        let Some(last) = self.last else {
            return Some(Err(Error::new(format!("no frame of '{source}' can be read"))
                .advice("check that it is a whole video file and that a player shows it")));
        };
        if self.given == 0 {
            return Some(Err(Error::new(format!(
                "the last frame of '{source}' is at {:.2} s, before the start at {:.2} s",
                last.as_secs_f64(),
                self.start.as_secs_f64()
            ))
            .advice("choose an earlier start")));
        }
        self.warn_of_damage();
        let path = || PathBuf::from(&**source);
        if self.live.is_some() {
            self.warnings.add(Warning::StreamEnded { source: path(), frames: self.next });
        }
        if let Some(end) = self.info.end {
            let reached = last + self.frame_time();
            let missing = end.saturating_sub(reached);
            let cut = match self.video.facts.frames {
                Some(frames) => self.next < frames && missing > self.frame_time() * 2,
                None => missing > Duration::from_secs(1).max(self.frame_time() * 10),
            };
            if cut {
                self.warnings.add(Warning::CutShort { source: path(), frames: self.next, reached, end });
            }
        }
        None
    }
}

impl Iterator for Reader {
    type Item = Result<Frame>;

    fn next(&mut self) -> Option<Self::Item> {
        if !std::mem::replace(&mut self.begun, true) {
            self.jump();
        }
        while !self.ended {
            if self.video.patience.unwanted() {
                return None;
            }
            match self.decode() {
                Ok(()) => {
                    if let Some(frame) = self.take() {
                        return Some(frame);
                    }
                }
                Err(_) if self.reconnect() => {}
                Err(why) => {
                    self.ended = true;
                    return if self.video.patience.unwanted() { None } else { self.end(why) };
                }
            }
        }
        None
    }
}
