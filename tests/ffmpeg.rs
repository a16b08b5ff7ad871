//! The programs ffmpeg and ffprobe as makers and judges of the files that tests need.

use std::path::Path;
use std::process::Command;

/// Runs ffmpeg with these words, the last being the file that it makes.
pub fn ffmpeg(words: &str, output: &Path) {
    let status = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(words.split_whitespace())
        .arg(output)
        .status()
        .expect("these tests need the program ffmpeg");
    assert!(status.success(), "ffmpeg {words}");
}

/// What ffprobe says with these words about a file, line by line.
pub fn ffprobe(words: &str, file: &Path) -> Vec<String> {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "csv=p=0"])
        .args(words.split_whitespace())
        .arg(file)
        .output()
        .expect("these tests need the program ffprobe");
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| line.trim_end_matches(',').to_owned()).filter(|line| !line.is_empty()).collect()
}

/// The time stamps of all frames of a file, in seconds, by ffprobe.
pub fn frame_times(file: &Path) -> Vec<f64> {
    let lines = ffprobe("-select_streams v:0 -show_entries frame=pts_time", file);
    lines.iter().map(|line| line.split(',').next().unwrap().parse().unwrap()).collect()
}
