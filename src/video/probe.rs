//! What the program ffprobe says about a file.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::Value;

/// Facts about a file that OpenCV does not tell. All times count from the start of the file.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Probe {
    /// The time stamp, in seconds, that the file begins with.
    pub origin: f64,
    /// When the video begins; the sound may begin earlier.
    pub start: Duration,
    /// When the video ends, by the index.
    pub end: Option<Duration>,
    /// How many frames it has, by the index; not all kinds of files say so.
    pub frames: Option<u64>,
    /// The codecs of its sound, by the names that ffmpeg gives them.
    pub sound: Vec<String>,
    /// How its colours are coded: matrix, primaries, transfer; where the file says so.
    pub colours: [Option<String>; 3],
}

/// Asks ffprobe. `None` if it is not installed or cannot read the file.
pub fn probe(path: &Path) -> Option<Probe> {
    from_json(&ask(&["-show_format", "-show_streams"], path)?)
}

/// When the frames after a given time are due, in order; nothing is decoded for it.
pub fn frames_after(path: &Path, probe: &Probe, time: Duration) -> Vec<Duration> {
    let from = format!("{:.6}%", probe.origin + time.as_secs_f64());
    let words =
        ["-select_streams", "v:0", "-read_intervals", &from, "-show_entries", "packet=pts_time,flags"];
    let answer = ask(&words, path).unwrap_or_default();
    let packets = answer["packets"].as_array().into_iter().flatten();
    let shown = packets.filter(|packet| !packet["flags"].as_str().is_some_and(|flags| flags.contains('D')));
    let times = shown
        .filter_map(|packet| Duration::try_from_secs_f64(seconds(&packet["pts_time"])? - probe.origin).ok());
    let mut times: Vec<_> = times.filter(|&due| due > time + Duration::from_micros(1)).collect();
    times.sort();
    times
}

fn ask(words: &[&str], path: &Path) -> Option<Value> {
    let output = Command::new("ffprobe")
        .args(["-v", "quiet", "-of", "json"])
        .args(words)
        .arg("-i")
        .arg(file_address(path))
        .stdin(Stdio::null())
        .output()
        .ok()?;
    serde_json::from_slice(&output.stdout).ok()
}

/// The name for FFmpeg, which would take `a:b.mp4` for an address and `-b.mp4` for an option.
pub fn file_address(path: &Path) -> OsString {
    let mut address = OsString::from("file:");
    address.push(path);
    address
}

fn from_json(answer: &Value) -> Option<Probe> {
    let streams = answer["streams"].as_array()?;
    let of_type = |kind: &'static str| streams.iter().filter(move |stream| stream["codec_type"] == kind);
    let video = of_type("video").next()?;
    let file_start = seconds(&answer["format"]["start_time"]).unwrap_or(0.0);
    let start = seconds(&video["start_time"]).unwrap_or(file_start);
    let end = seconds(&video["duration"])
        .map(|length| start + length)
        .or_else(|| clock(&video["tags"]["DURATION"]))
        .or_else(|| Some(file_start + seconds(&answer["format"]["duration"])?));
    let from_start = |time: f64| Duration::try_from_secs_f64(time - file_start).ok();
    Some(Probe {
        origin: file_start,
        start: from_start(start).unwrap_or_default(),
        end: end.and_then(from_start),
        frames: video["nb_frames"].as_str().and_then(|n| n.parse().ok()),
        sound: of_type("audio").map(|s| s["codec_name"].as_str().unwrap_or("unknown").to_owned()).collect(),
        colours: ["color_space", "color_primaries", "color_transfer"]
            .map(|key| video[key].as_str().filter(|name| *name != "unknown").map(str::to_owned)),
    })
}

/// ffprobe writes seconds as text.
fn seconds(value: &Value) -> Option<f64> {
    value.as_str()?.parse().ok()
}

/// `00:00:04.023000000` as seconds.
fn clock(value: &Value) -> Option<f64> {
    value.as_str()?.split(':').try_fold(0.0, |sum, part| Some(sum * 60.0 + part.parse::<f64>().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_count_from_the_start_of_the_file() {
        let probe = from_json(&json!({
            "streams": [
                {"codec_type": "audio", "codec_name": "mp2", "start_time": "1.443444"},
                {"codec_type": "video", "start_time": "1.466667", "duration": "4.000000", "color_space": "bt709",
                 "color_transfer": "unknown"},
            ],
            "format": {"start_time": "1.443444", "duration": "4.023223"},
        }))
        .unwrap();
        assert_eq!(probe.start.as_micros(), 23_223);
        assert_eq!(probe.end.unwrap().as_micros(), 4_023_223);
        assert_eq!((probe.frames, probe.sound), (None, vec!["mp2".to_owned()]));
        assert_eq!(probe.colours, [Some("bt709".to_owned()), None, None]);
    }

    #[test]
    fn matroska_says_its_end_in_a_tag() {
        let probe = from_json(&json!({
            "streams": [{"codec_type": "video", "start_time": "0.023", "tags": {"DURATION": "00:01:04.023000000"}}],
            "format": {"start_time": "0.000", "duration": "70.0"},
        }))
        .unwrap();
        assert_eq!(probe.end.unwrap().as_millis(), 64_023);
    }

    #[test]
    fn a_file_without_video_has_no_answer() {
        assert_eq!(from_json(&json!({"streams": [{"codec_type": "audio"}], "format": {}})), None);
        assert_eq!(from_json(&json!({})), None);
    }
}
