//! Frames into a video file, with their own time stamps and the sound of the video that they came from.
//!
//! Raw frames go through a pipe to the program ffmpeg (H.264), into a file that can be played even if nothing more
//! comes. At the end its pictures go into the file that is asked for, with as much of the sound as belongs to them.
//! Without ffmpeg, OpenCV writes MPEG-4 without sound, if the build has it.

use std::borrow::Cow;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::fallback::Fallback;
use super::ffmpeg::{Clock, Ffmpeg, Look, Sound};
use super::matroska;
use super::process::Running;
use super::source::Source;
use crate::error::{Context, Error, Kind, Result};
use crate::frame::Image;
use crate::part::Part;
use crate::warning::{Warning, Warnings};

/// The extensions that a video can be written under.
pub const EXTENSIONS: [&str; 4] = ["mp4", "m4v", "mov", "mkv"];

/// Frames a second that a video can have.
const RATES: RangeInclusive<f64> = 0.001..=10_000.0;

/// Ticks a second of the clock of a video, if its source has none of these: as fine as all encoders take, and the usual
/// rates in whole ticks.
const USUAL_CLOCK: i32 = 60_000;

/// Clocks of sources that are taken over, so that time stamps stay the same to the tick.
const CLOCKS: RangeInclusive<i32> = 600..=65_535;

/// A frame that others refer to waits to be shown, for as long as they and the gaps between them last. FFmpeg's reader
/// of MP4 believes in no wait of more ticks.
const LONGEST_WAIT: u64 = 1 << 28;

/// What makes a video file out of frames.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encoder {
    /// The program ffmpeg.
    Ffmpeg(Ffmpeg),
    /// OpenCV: no sound, and all frames equally far apart.
    OpenCv,
}

impl Encoder {
    /// ffmpeg where it is installed, else OpenCV.
    pub fn find() -> Self {
        Ffmpeg::find(Path::new("ffmpeg")).map_or(Self::OpenCv, Self::Ffmpeg)
    }
}

/// How a video is written.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Nominal frames a second; frames keep their own time stamps.
    pub rate: f64,
    /// The video that the frames come from, whose sound is kept.
    pub source: Option<PathBuf>,
    /// Whether the frames begin later than the video that they come from: then the output begins with the first
    /// of them, sound and all.
    pub trimmed: bool,
    /// Whether a file of that name may be replaced.
    pub overwrite: bool,
    /// What does the work.
    pub encoder: Encoder,
}

/// A video file in the making. It appears under its name with [`Writer::finish`]; dropped before, it vanishes.
pub struct Writer {
    encoding: Option<Encoding>,
    // Below `encoding`, which must let go of the files before they are removed.
    /// The pictures alone, until they are joined with the sound.
    pictures: Option<Part>,
    whole: Part,
    settings: Settings,
    original: Original,
    clock: Clock,
    sides: (usize, usize),
    /// The time stamps, in the source, of the first and of the last frame.
    span: Option<(Duration, Duration)>,
    /// The last frame's time since the first, by the clock of the output.
    ticks: u64,
    /// The longest gap between two frames, in the same ticks.
    gap: u64,
    frames: u64,
    warnings: Warnings,
}

enum Encoding {
    Ffmpeg(Running),
    OpenCv(Fallback),
}

/// What is kept of the video that the frames come from.
#[derive(Default)]
struct Original {
    sound: Vec<&'static str>,
    colours: [Option<&'static str>; 3],
    /// Ticks of its clock to a second.
    clock: Option<i32>,
}

impl Original {
    fn of(path: &Path) -> Option<Self> {
        let source = Source::of(path)?;
        let tick = source.facts.tick;
        Some(Self {
            sound: source.facts.sound.clone(),
            colours: source.colours(),
            clock: Some(tick.denominator()).filter(|ticks| tick.numerator() == 1 && CLOCKS.contains(ticks)),
        })
    }
}

impl Writer {
    /// Prepares to write `path`. Nothing is known of the frames yet, but a name that cannot be written is refused.
    ///
    /// # Errors
    /// An unknown extension; a rate that is none; a file that exists (unless `overwrite`) or that is the source itself;
    /// a folder that is missing or cannot be written to.
    pub fn create(path: &Path, settings: Settings) -> Result<Self> {
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        if !EXTENSIONS.contains(&extension.as_str()) {
            return Err(Error::usage(format!("'{}' cannot be written as a video", path.display()))
                .advice(format!("end the name in one of .{}", EXTENSIONS.join(", ."))));
        }
        if !RATES.contains(&settings.rate) {
            return Err(Error::usage(format!("a video cannot have {} frames a second", settings.rate)));
        }
        if let Some(source) = &settings.source
            && let (Ok(from), Ok(to)) = (source.canonicalize(), path.canonicalize())
            && from == to
        {
            return Err(Error::usage(format!("'{}' is both read and written", path.display()))
                .advice("choose another name for the output"));
        }
        let whole = Part::create(path, settings.overwrite)?;
        let pictures = Some(whole.beside()?);
        let original = settings.source.as_deref().and_then(Original::of).unwrap_or_default();
        let warnings = Warnings::default();
        Ok(Self {
            encoding: None,
            pictures,
            whole,
            settings,
            clock: Clock(original.clock.unwrap_or(USUAL_CLOCK)),
            original,
            sides: (0, 0),
            span: None,
            ticks: 0,
            gap: 0,
            frames: 0,
            warnings,
        })
    }

    /// What could not be done as asked.
    pub fn warnings(&self) -> Warnings {
        self.warnings.clone()
    }

    /// Adds a frame. `time` is its time stamp in the source and must grow.
    ///
    /// # Errors
    /// A frame of another size than the first, or of more than 256 MiB; a full disk. What can be played of the frames
    /// before is kept then, and the error says where.
    pub fn write(&mut self, image: &Image, time: Duration) -> Result<()> {
        let sides = (image.width(), image.height());
        let image = with_even_sides(image);
        if self.encoding.is_none() {
            self.encoding = Some(self.start(&image)?);
            self.sides = sides;
        }
        if sides != self.sides {
            return Err(Error::new(format!(
                "the frames for '{}' change their size from {}x{} to {}x{}",
                self.whole.target().display(),
                self.sides.0,
                self.sides.1,
                sides.0,
                sides.1
            )));
        }
        let first = self.span.map_or(time, |(first, _)| first);
        let since_first = time.saturating_sub(first).as_secs_f64();
        let ticks = (since_first * f64::from(self.clock.0)).round() as u64;
        let before = self.ticks;
        self.ticks = if self.span.is_some() { ticks.max(before + 1) } else { 0 };
        self.gap = self.gap.max(self.ticks - before);
        self.span = Some((first, time));
        self.frames += 1;
        match &mut self.encoding {
            Some(Encoding::Ffmpeg(running)) => {
                let since_first = Duration::from_nanos(self.ticks * 1_000_000_000 / self.clock.0 as u64);
                let sent = running.send(|to| matroska::write_frame(to, image.pixels(), since_first));
                sent.map_err(|failure| self.keep(failure))
            }
            Some(Encoding::OpenCv(fallback)) => fallback.write(&image, since_first),
            None => Ok(()),
        }
    }

    /// Completes the file, adds the sound and gives it its name.
    ///
    /// # Errors
    /// No frame; a full disk. What can be played is kept then, and the error says where.
    pub fn finish(mut self) -> Result<()> {
        let shown = self.whole.target().display().to_string();
        let (Some(encoding), Some((first, last)), Some(pictures)) =
            (self.encoding.take(), self.span, &self.pictures)
        else {
            return Err(Error::new(format!("'{shown}' was not written: there was no frame")));
        };
        let ended = match encoding {
            Encoding::Ffmpeg(running) => {
                running.finish(pictures.path()).and_then(|()| self.join(pictures.path(), first, last))
            }
            Encoding::OpenCv(fallback) => fallback.finish(),
        };
        match ended {
            Ok(()) => self.whole.finish(),
            Err(failure) => Err(self.keep(failure)),
        }
    }

    /// Makes the whole file of the pictures and of the sound that belongs to them.
    fn join(&self, pictures: &Path, first: Duration, last: Duration) -> Result<()> {
        let Encoder::Ffmpeg(ffmpeg) = &self.settings.encoder else { return Ok(()) };
        let whole = self.whole.path();
        let clock = self.coarser_clock();
        let source = self.settings.source.as_deref().filter(|_| !self.original.sound.is_empty());
        if let Some(source) = source {
            // Where sound is kept from its very beginning, the first frame keeps its distance to it.
            let (start, late) =
                if self.settings.trimmed { (first, Duration::ZERO) } else { (Duration::ZERO, first) };
            // Sound that goes on after the last picture belongs to a video that was read to its end.
            let next = Source::of(source).and_then(|mut source| source.next_after(last));
            let stop = next.map(|next| next.min(last + Duration::from_secs_f64(1.0 / self.settings.rate)));
            let sound = Sound { source, codecs: &self.original.sound, start, stop };
            let joined = ffmpeg.join(pictures, late, clock, Some(&sound), whole);
            let joined = joined.and_then(|()| self.check(whole));
            let Err(why) = joined else { return Ok(()) };
            ffmpeg.join(pictures, Duration::ZERO, clock, None, whole)?;
            let output = self.whole.target().to_owned();
            self.warnings.add(Warning::WithoutSound { output, why: why.line() });
        } else {
            ffmpeg.join(pictures, Duration::ZERO, clock, None, whole)?;
        }
        self.check(whole)
    }

    /// A clock for the whole file by which no frame waits too long, where there are gaps of many minutes.
    fn coarser_clock(&self) -> Option<Clock> {
        // No more than three frames are encoded before one that is shown earlier.
        let most = LONGEST_WAIT * self.clock.0 as u64 / (2 * self.ticks).max(1);
        (4 * self.gap > LONGEST_WAIT).then(|| Clock(self.clock.0.min(most.max(1) as i32)))
    }

    /// A full disk is not always told of: what was written is counted.
    fn check(&self, whole: &Path) -> Result<()> {
        let frames = frames_in(whole);
        if frames == self.frames {
            return Ok(());
        }
        Err(Error::new(format!("only {frames} of {} frames could be written", self.frames))
            .advice("check that the disk is not full"))
    }

    /// Gives up, but keeps what can be played of the pictures.
    fn keep(&mut self, failure: Error) -> Error {
        self.encoding = None;
        let failure = Error::new(cannot_write(self.whole.target())).because(failure).of_kind(Kind::Output);
        let Some(pictures) = self.pictures.take() else { return failure };
        match frames_in(pictures.path()) {
            0 => failure,
            frames => {
                let kept = pictures.keep();
                failure.advice(format!("the first {frames} frames are kept as '{}'", kept.display()))
            }
        }
    }

    fn start(&self, image: &Image) -> Result<Encoding> {
        if image.pixels().len() > matroska::LARGEST_FRAME {
            return Err(Error::new(format!(
                "{}: frames of {}x{} pixels are too large",
                cannot_write(self.whole.target()),
                image.width(),
                image.height()
            ))
            .advice("make the video smaller first"));
        }
        let settings = &self.settings;
        Ok(match (&settings.encoder, &self.pictures) {
            (Encoder::Ffmpeg(ffmpeg), Some(pictures)) => {
                let colours = match settings.source {
                    Some(_) => self.original.colours,
                    None => [Some("smpte170m"), None, None],
                };
                let look = Look { rate: settings.rate, colours };
                let running = ffmpeg.encode(image, self.clock, &look, pictures.path());
                Encoding::Ffmpeg(running.with_context(|| cannot_write(self.whole.target()))?)
            }
            _ => {
                let fallback = Fallback::start(self.whole.path(), image, settings.rate).ok_or_else(|| {
                    Error::new(cannot_write(self.whole.target())).advice("install the program ffmpeg")
                })?;
                let (output, rate) = (self.whole.target().to_owned(), settings.rate);
                self.warnings.add(Warning::WithoutFfmpeg { output, rate });
                Encoding::OpenCv(fallback)
            }
        })
    }
}

fn cannot_write(target: &Path) -> String {
    format!("cannot write '{}'", target.display())
}

/// How many frames of a video file can be read.
fn frames_in(path: &Path) -> u64 {
    Source::of(path).map_or(0, |mut source| source.count_before(Duration::MAX))
}

/// Video needs even sides: an odd one gets its last row or column twice.
fn with_even_sides(image: &Image) -> Cow<'_, Image> {
    let (width, height) = (image.width(), image.height());
    if width % 2 == 0 && height % 2 == 0 {
        return Cow::Borrowed(image);
    }
    let mut pixels = Vec::with_capacity((width + 1) * (height + 1) * 3);
    for y in 0..height.next_multiple_of(2) {
        let row = image.row(y.min(height - 1));
        pixels.extend_from_slice(row);
        if width % 2 == 1 {
            pixels.extend_from_slice(&row[row.len() - 3..]);
        }
    }
    let image = Image::new(width.next_multiple_of(2), height.next_multiple_of(2), pixels);
    Cow::Owned(image.expect("every pixel was copied"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_sides_grow_by_their_last_row_and_column() {
        let image = Image::new(1, 3, vec![1, 1, 1, 2, 2, 2, 3, 3, 3]).unwrap();
        let even = with_even_sides(&image);
        assert_eq!((even.width(), even.height()), (2, 4));
        assert_eq!((even.bgr(1, 0), even.bgr(1, 3)), ([1; 3], [3; 3]));
    }
}
