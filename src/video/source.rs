//! A video file or address opened by FFmpeg's libraries, and what it says about itself.

use std::fs::File;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ffmpeg_next::codec::packet::side_data;
use ffmpeg_next::format::context::{Input, StreamIo};
use ffmpeg_next::format::{input_from_stream_with_interrupt, input_with_interrupt_and_dictionary};
use ffmpeg_next::{Dictionary, Packet, Rational, Stream, codec, decoder, log, media, threading};

/// Frames a second where a file does not say.
const USUAL_RATE: f64 = 25.0;

/// The widest and narrowest pixels that are believed, as width to height.
const PIXELS: std::ops::RangeInclusive<f64> = 0.2..=5.0;

/// Whole packets that a damaged file may keep back in a row before it is given up.
const MOST_DAMAGED: usize = 10_000;

/// An open file or address with its video.
pub(super) struct Source {
    pub(super) facts: Facts,
    pub(super) patience: Arc<Patience>,
    input: Input,
}

/// What a video says about itself. All times count from the start of the file, as players show them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Facts {
    /// Which of the streams is the video.
    stream: usize,
    /// What one tick of its clock takes, in seconds.
    pub(super) tick: Rational,
    /// The time stamp, in microseconds, that the file begins with; streams without an index may not say.
    pub(super) origin: Option<i64>,
    /// When the video begins; the sound may begin earlier.
    pub(super) start: Duration,
    /// When the video ends, by the index.
    pub(super) end: Option<Duration>,
    /// How many frames it has, by the index; not all kinds of files say so.
    pub(super) frames: Option<u64>,
    /// Nominal frames a second.
    pub(super) rate: f64,
    /// Width to height of a pixel.
    pub(super) pixel: f64,
    /// Quarters of a turn clockwise that make a frame upright.
    pub(super) turn: u32,
    /// The codecs of its sound, by the names that ffmpeg gives them.
    pub(super) sound: Vec<&'static str>,
    /// Whether a place can be found without reading what comes before it.
    pub(super) indexed: bool,
}

/// When FFmpeg gives up waiting: at a time limit, or when nobody wants the frames any more.
#[derive(Default)]
pub(super) struct Patience {
    ends: Mutex<Option<Instant>>,
    unwanted: Mutex<Option<Box<dyn Fn() -> bool + Send>>>,
}

impl Patience {
    /// From now on, waiting ends after `limit`.
    pub(super) fn renew(&self, limit: Duration) {
        *self.ends.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + limit);
    }

    /// Waiting ends, too, when `unwanted` says so.
    pub(super) fn until(&self, unwanted: impl Fn() -> bool + Send + 'static) {
        *self.unwanted.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(unwanted));
    }

    /// Whether nobody wants the frames any more.
    pub(super) fn unwanted(&self) -> bool {
        self.unwanted
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .is_some_and(|unwanted| unwanted())
    }

    /// Whether the time limit has passed.
    pub(super) fn over(&self) -> bool {
        self.ends.lock().unwrap_or_else(PoisonError::into_inner).is_some_and(|end| Instant::now() >= end)
    }
}

impl Source {
    /// As [`Source::open`], by name alone.
    pub(super) fn of(path: &Path) -> Option<Self> {
        Self::open(path, File::open(path).ok()?)
    }

    /// Opens a file; `None` if it cannot be read as a video.
    pub(super) fn open(path: &Path, file: File) -> Option<Self> {
        prepare();
        let regular = file.metadata().is_ok_and(|data| data.is_file());
        let reading = if regular { StreamIo::from_read_seek(file) } else { StreamIo::from_read(file) };
        let patience = Arc::new(Patience::default());
        let waiting = patience.clone();
        // The name helps to tell formats apart, and lists of files name their parts relative to it.
        let name = path.to_string_lossy().replace('\0', "");
        let mut options = Dictionary::new();
        options.set("protocol_whitelist", "file,crypto,data");
        let input = input_from_stream_with_interrupt(reading.ok()?, Some(&name), Some(options), move || {
            waiting.unwanted()
        });
        Self::new(input.ok()?, patience)
    }

    /// Connects to an address; `None` if it gives no video within `limit`.
    pub(super) fn connect(address: &str, patience: Arc<Patience>, limit: Duration) -> Option<Self> {
        prepare();
        if address.contains('\0') {
            return None;
        }
        patience.renew(limit);
        let waiting = patience.clone();
        let mut options = Dictionary::new();
        options.set("rtsp_flags", "prefer_tcp");
        // By default twenty frames go by to tell how many come in a second: most of the time until the first is shown.
        options.set("fpsprobesize", "2");
        let give_up = move || waiting.unwanted() || waiting.over();
        let input = input_with_interrupt_and_dictionary(address, give_up, options);
        Self::new(input.ok()?, patience)
    }

    fn new(input: Input, patience: Arc<Patience>) -> Option<Self> {
        Some(Self { facts: facts(&input)?, patience, input })
    }

    /// What turns its packets into frames. `at_once` for live video: no frame is held back to use more cores.
    pub(super) fn decoder(&self, at_once: bool) -> Option<decoder::Video> {
        let stream = self.input.stream(self.facts.stream)?;
        let mut context = codec::Context::from_parameters(stream.parameters()).ok()?;
        let kind = if at_once { threading::Type::Slice } else { threading::Type::Frame };
        context.set_threading(threading::Config::kind(kind));
        let mut decoder = context.decoder();
        decoder.set_packet_time_base(self.facts.tick);
        decoder.video().ok()
    }

    /// The names of the matrix, primaries and transfer of its colours, where they are known.
    pub(super) fn colours(&self) -> [Option<&'static str>; 3] {
        self.decoder(true).map_or([None; 3], |video| {
            [
                video.color_space().name(),
                video.color_primaries().name(),
                video.color_transfer_characteristic().name(),
            ]
        })
    }

    /// The next packet of the video; `None` at the end. Damaged ones are counted and left out.
    pub(super) fn packet(&mut self, damaged: &mut u64) -> Result<Option<Packet>, ffmpeg_next::Error> {
        let mut packet = Packet::empty();
        for _ in 0..MOST_DAMAGED {
            loop {
                match packet.read(&mut self.input) {
                    Ok(()) if packet.stream() == self.facts.stream => return Ok(Some(packet)),
                    Ok(()) => packet = Packet::empty(),
                    Err(ffmpeg_next::Error::Eof) => return Ok(None),
                    Err(ffmpeg_next::Error::InvalidData) => break,
                    Err(error) => return Err(error),
                }
            }
            *damaged += 1;
        }
        Ok(None)
    }

    /// Goes to a key frame at or before a time; whether it could.
    pub(super) fn seek(&mut self, time: Duration) -> bool {
        let to = self.facts.origin.unwrap_or(0) + time.as_micros() as i64;
        self.input.seek(to, ..to).is_ok()
    }

    /// Reads on until every packet of a frame before `time` has passed, and counts those frames.
    pub(super) fn count_before(&mut self, time: Duration) -> u64 {
        let mut frames = 0;
        while !self.patience.unwanted()
            && let Ok(Some(packet)) = self.packet(&mut 0)
        {
            let shown = packet.pts().or(packet.dts()).filter(|_| !packet.is_corrupt());
            if shown.is_some_and(|ticks| self.facts.counts(ticks) && self.facts.time(ticks) < time) {
                frames += 1;
            }
            // A frame is never shown before it is decoded.
            if packet.dts().is_some_and(|ticks| self.facts.counts(ticks) && self.facts.time(ticks) >= time) {
                break;
            }
        }
        frames
    }

    /// When the frame after that of a given time is due; `None` if that was the last.
    pub(super) fn next_after(&mut self, time: Duration) -> Option<Duration> {
        if self.facts.indexed {
            self.seek(time);
        }
        let mut next: Option<Duration> = None;
        while let Ok(Some(packet)) = self.packet(&mut 0) {
            let due = packet.pts().or(packet.dts()).map(|ticks| self.facts.time(ticks));
            let due = due.filter(|&due| due > time + Duration::from_micros(1));
            next = due.into_iter().chain(next).min();
            let decoded = packet.dts().map(|ticks| self.facts.time(ticks));
            if next.is_some_and(|next| decoded.is_some_and(|decoded| decoded >= next)) {
                break;
            }
        }
        next
    }
}

impl Facts {
    /// A time stamp of the video as the time since the start of the file.
    pub(super) fn time(&self, ticks: i64) -> Duration {
        let since = micros(ticks, self.tick).saturating_sub(self.origin.unwrap_or(0));
        Duration::from_micros(u64::try_from(since).unwrap_or(0))
    }

    /// Whether a frame of this time stamp is shown: an edit may begin later than what is stored.
    fn counts(&self, ticks: i64) -> bool {
        let since = micros(ticks, self.tick).saturating_sub(self.origin.unwrap_or(0));
        since >= self.start.as_micros() as i64
    }
}

/// Makes FFmpeg ready and silent: what it has to say goes into errors and warnings here.
fn prepare() {
    // Fails only where there is no network to prepare.
    let _ = ffmpeg_next::init();
    log::set_level(log::Level::Quiet);
}

fn facts(input: &Input) -> Option<Facts> {
    let video = input.streams().best(media::Type::Video)?;
    let tick = video.time_base();
    let known = |ticks: i64| Some(ticks).filter(|&ticks| ticks != i64::MIN);
    let begins = |stream: &Stream| known(stream.start_time()).map(|ticks| micros(ticks, stream.time_base()));
    let is = |stream: &Stream, kind| stream.parameters().medium() == kind;
    let heard_or_seen = input.streams().filter(|s| is(s, media::Type::Video) || is(s, media::Type::Audio));
    let origin = heard_or_seen.filter_map(|stream| begins(&stream)).min();
    let since = |micros: i64| Duration::from_micros(u64::try_from(micros - origin.unwrap_or(0)).unwrap_or(0));
    let start = begins(&video).or(origin);
    let length = known(video.duration()).filter(|&ticks| ticks > 0).map(|ticks| micros(ticks, tick));
    // Matroska says in a tag when a stream ends, and most kinds of files how long all of it is.
    let end = length.map(|length| since(start.unwrap_or(0) + length));
    let end = end.or_else(|| video.metadata().get("DURATION").and_then(clock).map(since));
    let whole = known(input.duration()).filter(|&length| length > 0);
    let end = end.or_else(|| whole.map(|length| Duration::from_micros(length as u64)));
    let rates = [video.avg_frame_rate(), video.rate()].map(f64::from);
    let sound = input.streams().filter(|stream| is(stream, media::Type::Audio));
    Some(Facts {
        stream: video.index(),
        tick,
        origin,
        start: start.map_or(Duration::ZERO, since),
        end: end.filter(|_| origin.is_some()),
        frames: u64::try_from(video.frames()).ok().filter(|&frames| frames > 0),
        rate: rates.into_iter().find(|rate| (0.1..=1000.0).contains(rate)).unwrap_or(USUAL_RATE),
        pixel: pixel(&video),
        turn: turn(&video),
        sound: sound.map(|stream| stream.parameters().id().name()).collect(),
        indexed: ["mov", "matroska"].iter().any(|kind| input.format().name().starts_with(kind)),
    })
}

fn micros(ticks: i64, tick: Rational) -> i64 {
    let (a, b) = (i128::from(tick.numerator()) * 1_000_000, i128::from(tick.denominator()).max(1));
    ((i128::from(ticks) * a * 2 + b).div_euclid(2 * b)).clamp(i64::MIN.into(), i64::MAX.into()) as i64
}

/// `00:00:04.023000000` in microseconds.
fn clock(text: &str) -> Option<i64> {
    let seconds = text.split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.parse::<f64>().ok()?));
    seconds.map(|seconds| (seconds * 1e6).round() as i64)
}

/// Width to height of a pixel: what the file says goes before what its pictures say.
#[allow(unsafe_code)]
fn pixel(video: &Stream) -> f64 {
    // SAFETY: both are plain fields of structures that live as long as the stream that is borrowed here.
    let said = unsafe {
        let stream = &*video.as_ptr();
        [stream.sample_aspect_ratio, (*stream.codecpar).sample_aspect_ratio]
    };
    let ratios = said.map(|ratio| f64::from(ratio.num) / f64::from(ratio.den));
    ratios.into_iter().find(|ratio| PIXELS.contains(ratio)).unwrap_or(1.0)
}

/// How often a frame is to be turned clockwise by 90 degrees: the angle of the display matrix.
fn turn(video: &Stream) -> u32 {
    let matrix = video.side_data().find(|data| data.kind() == side_data::Type::DisplayMatrix);
    let Some(matrix) = matrix else { return 0 };
    let (numbers, _) = matrix.data().as_chunks::<4>();
    let [a, b, ..] = *numbers else { return 0 };
    let angle = f64::from(i32::from_ne_bytes(b)).atan2(f64::from(i32::from_ne_bytes(a)));
    (angle / std::f64::consts::FRAC_PI_2).round().rem_euclid(4.0) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_become_microseconds_by_rounding() {
        assert_eq!(micros(1, Rational::new(1, 30)), 33_333);
        assert_eq!(micros(2, Rational::new(1, 30)), 66_667);
        assert_eq!(micros(-1, Rational::new(1, 30)), -33_333);
        assert_eq!(micros(i64::MAX, Rational::new(1, 1)), i64::MAX);
        assert_eq!(clock("00:01:04.023000000"), Some(64_023_000));
    }
}
