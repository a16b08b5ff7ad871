//! Frames into a video file, with their own time stamps and the sound of the video that they came from.
//!
//! Raw frames go through a pipe to the program ffmpeg (H.264). Sound is added at the end, when it is known how
//! much of it belongs to the frames. Without ffmpeg, OpenCV writes MPEG-4 without sound.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use opencv::core::{Mat, Size, Vec3b};
use opencv::videoio::{CAP_FFMPEG, VideoWriter, VideoWriterTrait, VideoWriterTraitConst};

use super::ffmpeg::{Ffmpeg, Pipe};
use super::probe::{Probe, probe};
use crate::error::{Context, Error, Result};
use crate::frame::Image;
use crate::part::Part;
use crate::warning::{Warning, Warnings};

/// The extensions that a video can be written under.
pub const EXTENSIONS: [&str; 4] = ["mp4", "m4v", "mov", "mkv"];

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
    pictures: Part,
    settings: Settings,
    probe: Probe,
    sides: (usize, usize),
    /// The time stamps, in the source, of the first and of the last frame.
    span: Option<(Duration, Duration)>,
    warnings: Warnings,
}

enum Encoding {
    Ffmpeg(Pipe),
    OpenCv { writer: VideoWriter, written: u64 },
}

impl Writer {
    /// Prepares to write `path`. Nothing is known of the frames yet, but a name that cannot be written is refused.
    ///
    /// # Errors
    /// An unknown extension; a file that exists (unless `overwrite`) or that is the source itself; a folder that
    /// is missing or cannot be written to.
    pub fn create(path: &Path, settings: Settings) -> Result<Self> {
        let extension = path.extension().map(|e| e.to_string_lossy().to_lowercase()).unwrap_or_default();
        if !EXTENSIONS.contains(&extension.as_str()) {
            return Err(Error::usage(format!("'{}' cannot be written as a video", path.display()))
                .advice(format!("end the name in one of .{}", EXTENSIONS.join(", ."))));
        }
        if let Some(source) = &settings.source
            && let (Ok(from), Ok(to)) = (source.canonicalize(), path.canonicalize())
            && from == to
        {
            return Err(Error::usage(format!("'{}' is both read and written", path.display()))
                .advice("choose another name for the output"));
        }
        let pictures = Part::create(path, settings.overwrite)?;
        let probe = settings.source.as_deref().and_then(probe).unwrap_or_default();
        let warnings = Warnings::default();
        if settings.encoder == Encoder::OpenCv {
            warnings.add(Warning::WithoutFfmpeg { output: path.to_owned(), rate: settings.rate });
        }
        Ok(Self { encoding: None, pictures, settings, probe, sides: (0, 0), span: None, warnings })
    }

    /// What could not be done as asked.
    pub fn warnings(&self) -> Warnings {
        self.warnings.clone()
    }

    /// Adds a frame. `time` is its time stamp in the source and must grow.
    ///
    /// # Errors
    /// A frame of another size than the first; a full disk.
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
                self.pictures.target().display(),
                self.sides.0,
                self.sides.1,
                sides.0,
                sides.1
            )));
        }
        let (first, last) = self.span.unwrap_or((time, time));
        let time = if self.span.is_some() { time.max(last + Duration::from_micros(1)) } else { time };
        self.span = Some((first, time));
        let since_origin = time.saturating_sub(self.origin());
        match &mut self.encoding {
            Some(Encoding::Ffmpeg(pipe)) => {
                pipe.write(&image, since_origin).with_context(|| cannot_write(self.pictures.target()))
            }
            Some(Encoding::OpenCv { writer, written }) => {
                // Frames are equally far apart here: one comes as often as its time needs.
                let due = (since_origin.as_secs_f64() * self.settings.rate).round() as u64 + 1;
                let pixels = Mat::new_rows_cols_with_bytes::<Vec3b>(
                    image.height() as i32,
                    image.width() as i32,
                    image.pixels(),
                )
                .context("a frame cannot be encoded")?;
                while *written < due {
                    writer.write(&pixels).context("a frame cannot be encoded")?;
                    *written += 1;
                }
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Completes the file, adds the sound and gives it its name.
    ///
    /// # Errors
    /// No frame; a full disk.
    pub fn finish(mut self) -> Result<()> {
        let target = self.pictures.target().to_owned();
        let origin = self.origin();
        let (Some(encoding), Some((_, last))) = (self.encoding.take(), self.span) else {
            return Err(Error::new(format!("'{}' was not written: there was no frame", target.display())));
        };
        match encoding {
            Encoding::Ffmpeg(pipe) => pipe.finish().with_context(|| cannot_write(&target))?,
            Encoding::OpenCv { mut writer, .. } => {
                writer.release().with_context(|| cannot_write(&target))?;
            }
        }
        if let Encoder::Ffmpeg(ffmpeg) = &self.settings.encoder
            && let Some(source) = &self.settings.source
            && !self.probe.sound.is_empty()
        {
            let frame_time = Duration::from_secs_f64(1.0 / self.settings.rate);
            // Sound that goes on after the last picture belongs to a video that was read to its end.
            let whole = self.probe.end.is_some_and(|end| last + frame_time * 2 >= end);
            let stop = (!whole).then_some(last + frame_time);
            let with_sound = self.pictures.beside()?;
            let added =
                ffmpeg.add_sound(self.pictures.path(), source, &self.probe.sound, origin, stop, &with_sound);
            match added {
                Ok(()) => return with_sound.finish(),
                Err(why) => self.warnings.add(Warning::WithoutSound { output: target, why: why.line() }),
            }
        }
        self.pictures.finish()
    }

    /// The time stamp in the source that is 0 in the output. Where sound is kept from its very beginning, the
    /// first frame keeps its distance to it.
    fn origin(&self) -> Duration {
        let from_the_beginning = !self.settings.trimmed && !self.probe.sound.is_empty();
        self.span.filter(|_| !from_the_beginning).map_or(Duration::ZERO, |(first, _)| first)
    }

    fn start(&self, image: &Image) -> Result<Encoding> {
        let path = self.pictures.path();
        Ok(match &self.settings.encoder {
            Encoder::Ffmpeg(ffmpeg) => {
                let colours = match self.settings.source {
                    Some(_) => self.probe.colours.clone(),
                    None => [Some("smpte170m".to_owned()), None, None],
                };
                let pipe = ffmpeg.encode(image, self.settings.rate, &colours, path);
                Encoding::Ffmpeg(pipe.with_context(|| cannot_write(self.pictures.target()))?)
            }
            Encoder::OpenCv => {
                let size = Size::new(image.width() as i32, image.height() as i32);
                let mpeg4 = VideoWriter::fourcc('m', 'p', '4', 'v').context("no MPEG-4")?;
                let writer =
                    VideoWriter::new_with_backend(path, CAP_FFMPEG, mpeg4, self.settings.rate, size, true)
                        .ok()
                        .filter(|writer| writer.is_opened().unwrap_or(false))
                        .ok_or_else(|| {
                            Error::new(cannot_write(self.pictures.target()))
                                .advice("install the program ffmpeg")
                        })?;
                Encoding::OpenCv { writer, written: 0 }
            }
        })
    }
}

fn cannot_write(target: &Path) -> String {
    format!("cannot write '{}'", target.display())
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
