//! The program ffmpeg as an encoder: frames go in through a pipe.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::matroska;
use super::probe::file_address;
use crate::error::{Context, Error, Result};
use crate::frame::Image;
use crate::part::Part;

/// An installed ffmpeg and what it can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ffmpeg {
    program: PathBuf,
    codec: Codec,
    /// `-vsync` before version 5.1, `-fps_mode` since.
    fps_mode: &'static str,
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
        output.status.success().then(|| Self { program: program.to_owned(), codec, fps_mode })
    }

    /// Starts to encode frames of the size of `image` into `output`. `rate` is nominal; `colours` are the names of
    /// the matrix, primaries and transfer that players shall assume.
    pub(super) fn encode(
        &self,
        image: &Image,
        rate: f64,
        colours: &[Option<String>; 3],
        output: &Path,
    ) -> Result<Pipe> {
        let mut command = self.command();
        command.args(["-f", "matroska", "-i", "pipe:0", self.fps_mode, "passthrough"]);
        command.args(["-enc_time_base", "1:1000000", "-pix_fmt", "yuv420p"]);
        // Half of the cores are left to those who make the frames.
        let cores = thread::available_parallelism().map_or(1, usize::from);
        command.args(["-threads", &(cores / 2).clamp(1, 8).to_string()]);
        match self.codec {
            Codec::H264 => {
                command.args(["-c:v", "libx264", "-preset", "veryfast", "-crf", "18"]);
                let known = ["colormatrix", "colorprim", "transfer"].into_iter().zip(colours);
                let said: Vec<String> =
                    known.filter_map(|(key, name)| Some(format!("{key}={}", name.as_ref()?))).collect();
                if !said.is_empty() {
                    command.args(["-x264-params", &said.join(":")]);
                }
            }
            Codec::Mpeg4 => {
                command.args(["-c:v", "mpeg4", "-q:v", "3"]);
            }
        }
        let mut child = command
            .args(["-movflags", "+faststart", "-y"])
            .arg(file_address(output))
            .stdin(Stdio::piped())
            .spawn()
            .context("the program ffmpeg does not start")?;
        let complaints = child.stderr.take().map(|stderr| {
            thread::spawn(move || {
                let lines = BufReader::new(stderr).lines().map_while(io::Result::ok);
                lines.filter(|line| !line.trim().is_empty()).last()
            })
        });
        let frames = child.stdin.take();
        let mut pipe = Pipe { child, frames, complaints };
        let frame_time = Duration::from_secs_f64(1.0 / rate);
        pipe.send(|to| matroska::write_header(to, image.width(), image.height(), frame_time))?;
        Ok(pipe)
    }

    /// Puts the pictures of one file and the sound of another, from `start` to `stop`, into `output`. Sound is
    /// copied as it is where that kind of file can hold it.
    pub(super) fn add_sound(
        &self,
        pictures: &Path,
        source: &Path,
        codecs: &[String],
        start: Duration,
        stop: Option<Duration>,
        output: &Part,
    ) -> Result<()> {
        let mut command = self.command();
        command.arg("-i").arg(file_address(pictures));
        if !start.is_zero() {
            command.args(["-ss", &seconds(start)]);
        }
        if let Some(stop) = stop {
            command.args(["-to", &seconds(stop)]);
        }
        command.arg("-i").arg(file_address(source)).args(["-map", "0:v:0", "-map", "1:a", "-c:v", "copy"]);
        if codecs.iter().all(|codec| can_hold(output.path(), codec)) {
            command.args(["-c:a", "copy"]);
            if !start.is_zero() {
                // Packets from before the start would move everything to a later time.
                command.args(["-copypriorss:a", "0"]);
            }
        } else {
            command.args(["-c:a", "aac", "-b:a", "192k"]);
        }
        let output = command
            .args(["-movflags", "+faststart", "-y"])
            .arg(file_address(output.path()))
            .stdin(Stdio::null())
            .output()
            .context("the program ffmpeg does not start")?;
        if output.status.success() {
            return Ok(());
        }
        let complaints = String::from_utf8_lossy(&output.stderr);
        Err(failure(complaints.lines().last()))
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command
            .args(["-nostdin", "-hide_banner", "-v", "error"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped());
        // In a group of its own it does not get the Ctrl-C that is meant for this program, which
        // completes the file then.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        #[cfg(windows)]
        std::os::windows::process::CommandExt::creation_flags(&mut command, 0x200);
        command
    }
}

/// A running ffmpeg. Dropped before [`Pipe::finish`], it is stopped.
pub(super) struct Pipe {
    child: Child,
    frames: Option<ChildStdin>,
    /// Gives ffmpeg's last line of complaint when it has ended.
    complaints: Option<JoinHandle<Option<String>>>,
}

impl Pipe {
    /// Sends one frame.
    pub(super) fn write(&mut self, image: &Image, time: Duration) -> Result<()> {
        self.send(|to| matroska::write_frame(to, image.pixels(), time))
    }

    /// Waits until everything is encoded.
    pub(super) fn finish(mut self) -> Result<()> {
        drop(self.frames.take());
        let status = self.child.wait().context("the program ffmpeg is lost")?;
        if status.success() { Ok(()) } else { Err(self.failure()) }
    }

    fn send(&mut self, write: impl FnOnce(&mut ChildStdin) -> io::Result<()>) -> Result<()> {
        match self.frames.as_mut().map(write) {
            Some(Ok(())) => Ok(()),
            _ => {
                drop(self.frames.take());
                // It has closed its end, so it is about to leave; if it is not, it is told to.
                let _ = self.child.kill();
                let _ = self.child.wait();
                Err(self.failure())
            }
        }
    }

    fn failure(&mut self) -> Error {
        let last_line = self.complaints.take().and_then(|complaints| complaints.join().ok()).flatten();
        failure(last_line.as_deref())
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn failure(last_line: Option<&str>) -> Error {
    let error = Error::new("the program ffmpeg stopped").advice("check that the disk is not full");
    match last_line {
        Some(line) => error.because(line),
        None => error,
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
