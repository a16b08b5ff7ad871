//! The program ffmpeg as an encoder: frames go in through a pipe.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use super::address::file_address;
use super::matroska;
use super::process::Running;
use crate::error::Result;
use crate::frame::Image;

/// How long ffmpeg may do nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// An installed ffmpeg and what it can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ffmpeg {
    program: PathBuf,
    codec: Codec,
    /// `-vsync` before version 5.1, `-fps_mode` since.
    fps_mode: &'static str,
    /// How long it may do nothing.
    patience: Duration,
}

/// Ticks a second of the clock that time stamps are written by. At most 65535, which is as many as MPEG-4 takes; and
/// between frames there may be 2^31 ticks, ten hours at 60000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Clock(pub(super) i32);

/// What players shall know of the pictures.
pub(super) struct Look<'a> {
    /// Nominal frames a second.
    pub(super) rate: f64,
    /// The names of the matrix, primaries and transfer of the colours.
    pub(super) colours: [Option<&'a str>; 3],
}

/// The sound that belongs to pictures.
pub(super) struct Sound<'a> {
    pub(super) source: &'a Path,
    pub(super) codecs: &'a [&'static str],
    /// Where in the source it begins.
    pub(super) start: Duration,
    /// Where it ends; `None` is the end of the source.
    pub(super) stop: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Codec {
    H264,
    /// For builds of ffmpeg without x264.
    Mpeg4,
}

impl Ffmpeg {
    /// Looks for the program. `None` if there is none or it does not run.
    pub fn find(program: &Path) -> Option<Self> {
        let output = Command::new(program).arg("-encoders").stdin(Stdio::null()).output().ok()?;
        let (encoders, banner) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let codec = if encoders.contains(" libx264 ") { Codec::H264 } else { Codec::Mpeg4 };
        let fps_mode = if is_older_than_5_1(&banner) { "-vsync" } else { "-fps_mode" };
        output.status.success().then(|| Self {
            program: program.to_owned(),
            codec,
            fps_mode,
            patience: PATIENCE,
        })
    }

    /// How long the program may do nothing before it is stopped and given up; a minute, if nothing is said.
    pub fn waiting(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Starts to encode frames of the size of `image` into `output`, which can be played at any time up to the last
    /// second, even if the program dies. Frames go in by [`write_frame`](matroska::write_frame).
    pub(super) fn encode(&self, image: &Image, clock: Clock, look: &Look, output: &Path) -> Result<Running> {
        let mut command = self.command();
        command.args(["-f", "matroska", "-i", "pipe:0", self.fps_mode, "passthrough"]);
        command.args(["-enc_time_base", &format!("1:{}", clock.0), "-pix_fmt", "yuv420p"]);
        // Half of the cores are left to those who make the frames.
        let cores = thread::available_parallelism().map_or(1, usize::from);
        command.args(["-threads", &(cores / 2).clamp(1, 8).to_string()]);
        match self.codec {
            Codec::H264 => {
                command.args(["-c:v", "libx264", "-preset", "veryfast", "-crf", "18"]);
                let known = ["colormatrix", "colorprim", "transfer"].into_iter().zip(look.colours);
                let said: Vec<String> =
                    known.filter_map(|(key, name)| Some(format!("{key}={}", name?))).collect();
                if !said.is_empty() {
                    command.args(["-x264-params", &said.join(":")]);
                }
            }
            Codec::Mpeg4 => {
                command.args(["-c:v", "mpeg4", "-q:v", "3"]);
            }
        }
        command.args(["-xerror", "-flush_packets", "1", "-f", format_of(output)]);
        command.args(["-movflags", "+delay_moov+default_base_moof", "-frag_duration", "1000000", "-y"]);
        command.arg(file_address(output)).stdin(Stdio::piped());
        let mut running = Running::start(command, self.patience)?;
        let frame_time = Duration::from_secs_f64(1.0 / look.rate);
        running.send(|to| matroska::write_header(to, image.width(), image.height(), frame_time))?;
        Ok(running)
    }

    /// Puts `pictures` into `output`, `late` after its beginning and by another `clock` if need be, and `sound` beside
    /// them. Sound is copied as it is where that kind of file can hold it.
    pub(super) fn join(
        &self,
        pictures: &Path,
        late: Duration,
        clock: Option<Clock>,
        sound: Option<&Sound>,
        output: &Path,
    ) -> Result<()> {
        let mut command = self.command();
        command.args(["-itsoffset", &seconds(late), "-i"]).arg(file_address(pictures));
        if let Some(sound) = sound {
            if !sound.start.is_zero() {
                command.args(["-ss", &seconds(sound.start)]);
            }
            if let Some(stop) = sound.stop {
                command.args(["-to", &seconds(stop)]);
            }
            command.arg("-i").arg(file_address(sound.source));
        }
        command.args(["-map", "0:v:0", "-c:v", "copy"]);
        // Matroska has a clock of its own.
        if let Some(Clock(ticks)) = clock.filter(|_| format_of(output) != "matroska") {
            command.args(["-video_track_timescale", &ticks.to_string()]);
        }
        if let Some(sound) = sound {
            command.args(["-map", "1:a"]);
            if sound.codecs.iter().all(|codec| can_hold(output, codec)) {
                command.args(["-c:a", "copy"]);
                if !sound.start.is_zero() {
                    // Packets from before the start would move everything to a later time.
                    command.args(["-copypriorss:a", "0"]);
                }
            } else {
                command.args(["-c:a", "aac", "-b:a", "192k"]);
            }
        }
        command.args(["-xerror", "-f", format_of(output)]);
        command.args(["-movflags", "+faststart", "-y"]).arg(file_address(output)).stdin(Stdio::null());
        Running::start(command, self.patience)?.finish(output)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["-nostdin", "-hide_banner", "-v", "error"]);
        // In a group of its own it does not get the Ctrl-C that is meant for this program, which
        // completes the file then.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        #[cfg(windows)]
        std::os::windows::process::CommandExt::creation_flags(&mut command, 0x200);
        command
    }
}

/// FFmpeg's name for the kind of file. It would take `.m4v` for one that holds next to no kind of sound.
fn format_of(path: &Path) -> &'static str {
    match path.extension().map(|e| e.to_string_lossy().to_lowercase()).as_deref() {
        Some("mkv") => "matroska",
        Some("mov") => "mov",
        _ => "mp4",
    }
}

/// Whether players expect sound of this codec in a file of this kind.
fn can_hold(path: &Path, codec: &str) -> bool {
    let everywhere = ["aac", "ac3", "alac", "eac3", "mp3"].contains(&codec);
    let in_this = match path.extension().map(|e| e.to_string_lossy().to_lowercase()).as_deref() {
        Some("mkv") => {
            ["dts", "flac", "mp2", "opus", "pcm_s16le", "pcm_s24le", "truehd", "vorbis"].as_slice()
        }
        Some("mov") => ["pcm_s16be", "pcm_s16le", "pcm_s24be", "pcm_s24le"].as_slice(),
        _ => ["opus"].as_slice(),
    };
    everywhere || in_this.contains(&codec)
}

fn is_older_than_5_1(banner: &str) -> bool {
    let version = banner.split_whitespace().nth(2).unwrap_or_default();
    let mut numbers = version.split('.').map_while(|number| number.parse::<u32>().ok());
    // A version that is not a number is one of the day.
    numbers.next().is_some_and(|major| (major, numbers.next().unwrap_or(0)) < (5, 1))
}

fn seconds(time: Duration) -> String {
    format!("{:.6}", time.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_apart() {
        assert!(is_older_than_5_1("ffmpeg version 4.4.2-0ubuntu0.22.04.1 Copyright (c)"));
        assert!(is_older_than_5_1("ffmpeg version 5.0 Copyright"));
        assert!(!is_older_than_5_1("ffmpeg version 5.1.9-0+deb12u1 Copyright"));
        assert!(!is_older_than_5_1("ffmpeg version N-109542-g1bf1715 Copyright"));
    }

    #[test]
    fn sound_is_copied_only_where_players_expect_it() {
        assert!(can_hold(Path::new("a.mp4"), "aac") && can_hold(Path::new("a.MKV"), "vorbis"));
        assert!(!can_hold(Path::new("a.mp4"), "pcm_s16le") && can_hold(Path::new("a.mov"), "pcm_s16le"));
    }
}
