//! Video files in and out.

use std::fs;
use std::path::Path;
use std::time::Duration;

use lanet_live::frame::{Frame, Image};
use lanet_live::video::{Encoder, Ffmpeg, Reader, Settings, Writer};
use lanet_live::warning::Warning;

use crate::ffmpeg::{ffmpeg, ffprobe, frame_times};
use crate::scratch::Scratch;

/// Frames of a clip with B-frames and gaps between them, and with sound from `sound_from` seconds.
const UNEVEN: &str = "-f lavfi -i testsrc2=s=160x90:r=30:d=4 -f lavfi -i sine=d=4:r=48000 \
     -vf select='lt(n,20)+not(mod(n,2))+not(mod(n,7))' -fps_mode vfr -c:v libx264 -bf 3 -g 60 -pix_fmt yuv420p";

fn frames(path: &Path) -> Vec<Frame> {
    Reader::open(path).unwrap().map(Result::unwrap).collect()
}

fn settings(source: Option<&Path>) -> Settings {
    Settings {
        rate: 30.0,
        source: source.map(Path::to_owned),
        trimmed: false,
        overwrite: false,
        encoder: Encoder::find(),
    }
}

fn copy(from: impl Iterator<Item = Frame>, to: &Path, settings: Settings) -> Vec<Warning> {
    let mut writer = Writer::create(to, settings).unwrap();
    let warnings = writer.warnings();
    from.for_each(|frame| writer.write(&frame.image, frame.time).unwrap());
    writer.finish().unwrap();
    warnings.take()
}

fn assert_same_times(ours: &[f64], theirs: &[f64], within: f64) {
    assert_eq!(ours.len(), theirs.len());
    for (n, (a, b)) in ours.iter().zip(theirs).enumerate() {
        assert!((a - b).abs() <= within, "frame {n}: {a} {b}");
    }
}

fn seconds(frames: &[Frame]) -> Vec<f64> {
    frames.iter().map(|frame| frame.time.as_secs_f64()).collect()
}

#[test]
fn readers_and_writers_may_go_to_threads_of_their_own() {
    fn is_send<T: Send>() {}
    is_send::<Reader>();
    is_send::<Writer>();
    is_send::<lanet_live::camera::Camera>();
    is_send::<lanet_live::images::Images>();
    is_send::<lanet_live::results::Results>();
}

#[test]
fn time_stamps_are_the_files_own() {
    let scratch = Scratch::new();
    for name in ["a.mp4", "a.mkv", "a.mov", "a.avi", "a.ts"] {
        let path = scratch.path(name);
        let kind = if name == "a.avi" { "-f lavfi -i testsrc2=s=160x90:r=24:d=2 -c:v mpeg4" } else { UNEVEN };
        ffmpeg(kind, &path);
        let frames = frames(&path);
        // Players count from the start of the file, which is not 0 in MPEG-TS.
        let start: f64 = ffprobe("-show_entries format=start_time", &path)[0].parse().unwrap();
        let expected: Vec<f64> = frame_times(&path).iter().map(|time| time - start).collect();
        assert_same_times(&seconds(&frames), &expected, 2e-6);
        assert!(frames.iter().enumerate().all(|(n, frame)| frame.index == n as u64));
        assert!(frames.iter().all(|frame| *frame.source == *path.to_string_lossy()));
    }
}

#[test]
fn a_part_of_a_video_keeps_its_numbers_and_times() {
    let scratch = Scratch::new();
    for name in ["a.mp4", "a.mkv", "a.ts"] {
        part_of(&scratch.path(name));
    }
}

fn part_of(path: &Path) {
    ffmpeg(UNEVEN, path);
    let all = frames(path);
    let (start, stop) = (Duration::from_millis(1500), Duration::from_millis(2500));
    let part = Reader::open(path).unwrap().between(start, Some(stop));
    let warnings = part.warnings();
    let part: Vec<_> = part.map(Result::unwrap).collect();
    let expected: Vec<_> = all.iter().filter(|f| f.time >= start && f.time < stop).collect();
    assert!(!part.is_empty() && part.len() == expected.len());
    for (a, b) in part.iter().zip(expected) {
        assert_eq!((a.index, a.time), (b.index, b.time));
        assert!(a.image == b.image, "frame {} shows something else", a.index);
    }
    assert_eq!(warnings.take(), []);

    let mut late = Reader::open(path).unwrap().between(Duration::from_secs(60), None);
    let line = late.next().unwrap().unwrap_err().line();
    assert!(line.contains("last frame of") && line.contains("is at 3.9"), "{line}");
    assert!(late.next().is_none());
}

#[test]
fn turned_videos_come_out_upright() {
    let scratch = Scratch::new();
    let (flat, turned) = (scratch.path("flat.mp4"), scratch.path("turned.mp4"));
    // A blue corner at the top left of a red picture.
    ffmpeg(
        "-f lavfi -i color=red:s=160x96:r=10:d=0.5 -vf drawbox=w=40:h=40:c=blue:t=fill -c:v libx264 -pix_fmt yuv420p",
        &flat,
    );
    for (degrees, right, bottom) in
        [("0", false, false), ("90", true, false), ("180", true, true), ("270", false, true)]
    {
        turn(&flat, &turned, degrees);
        let reader = Reader::open(&turned).unwrap();
        let info = reader.info().clone();
        let frame = reader.map(Result::unwrap).next().unwrap();
        let (w, h) = if degrees == "90" || degrees == "270" { (96, 160) } else { (160, 96) };
        assert_eq!((info.width, info.height), (w, h), "{degrees}");
        assert_eq!((frame.image.width(), frame.image.height()), (w, h), "{degrees}");
        let corner = frame.image.bgr(if right { w - 10 } else { 10 }, if bottom { h - 10 } else { 10 });
        assert!(corner[0] > 180 && corner[2] < 80, "{degrees}: {corner:?}");
    }
}

/// Puts a display matrix for a clockwise turn into a copy of an MP4 file: it is in the track header.
fn turn(from: &Path, to: &Path, degrees: &str) {
    let (a, b): (i32, i32) = match degrees {
        "90" => (0, 1),
        "180" => (-1, 0),
        "270" => (0, -1),
        _ => (1, 0),
    };
    let mut bytes = fs::read(from).unwrap();
    let header = bytes.windows(4).position(|name| name == b"tkhd").unwrap();
    let matrix = header + 4 + 40;
    for (place, value) in [(0, a), (1, b), (3, -b), (4, a)] {
        bytes[matrix + place * 4..][..4].copy_from_slice(&(value << 16).to_be_bytes());
    }
    fs::write(to, bytes).unwrap();
}

#[test]
fn a_video_cut_in_the_middle_gives_its_readable_part_and_a_warning() {
    let scratch = Scratch::new();
    let (whole, cut) = (scratch.path("whole.mp4"), scratch.path("cut.mp4"));
    ffmpeg(&format!("{UNEVEN} -movflags +faststart"), &whole);
    let bytes = fs::read(&whole).unwrap();
    fs::write(&cut, &bytes[..bytes.len() * 6 / 10]).unwrap();
    let reader = Reader::open(&cut).unwrap();
    let warnings = reader.warnings();
    let read = reader.map(Result::unwrap).count() as u64;
    let all = frames(&whole).len() as u64;
    assert!(read > all / 4 && read < all, "{read} of {all}");
    let warnings = warnings.take();
    assert!(
        matches!(warnings.last(), Some(Warning::CutShort { frames, end, .. }) if *frames == read && end.as_secs_f32() > 3.9),
        "{warnings:?}"
    );

    // With the index at the end, it is cut off.
    ffmpeg(UNEVEN, &whole);
    let bytes = fs::read(&whole).unwrap();
    fs::write(&cut, &bytes[..bytes.len() / 2]).unwrap();
    assert!(Reader::open(&cut).err().unwrap().line().contains("cannot be read as a video"));
}

#[test]
fn whole_videos_give_no_warning() {
    let scratch = Scratch::new();
    for (name, words) in [
        ("long-sound.mkv", "-f lavfi -i testsrc2=s=64x64:r=10:d=2 -f lavfi -i sine=d=6"),
        ("long-sound.mp4", "-f lavfi -i testsrc2=s=64x64:r=10:d=2 -f lavfi -i sine=d=6"),
        ("uneven.mp4", UNEVEN),
        ("uneven.mkv", UNEVEN),
        ("uneven.ts", UNEVEN),
        ("mjpeg.avi", "-f lavfi -i testsrc2=s=64x64:r=10:d=2 -c:v mjpeg"),
        ("one.mp4", "-f lavfi -i testsrc2=s=64x64:r=10:d=0.1"),
        ("some.gif", "-f lavfi -i testsrc2=s=64x64:r=10:d=2"),
    ] {
        ffmpeg(words, &scratch.path(name));
        let reader = Reader::open(&scratch.path(name)).unwrap();
        let warnings = reader.warnings();
        assert!(reader.map(Result::unwrap).count() > 0, "{name}");
        assert_eq!(warnings.take(), [], "{name}");
    }
}

#[test]
fn what_is_no_video_is_said_in_one_line() {
    let scratch = Scratch::new();
    fs::write(scratch.path("empty.mp4"), "").unwrap();
    fs::write(scratch.path("text.mp4"), "these are words, not pictures\n".repeat(100)).unwrap();
    ffmpeg("-f lavfi -i sine=d=1", &scratch.path("sound.m4a"));
    for (name, says) in [
        ("empty.mp4", "is empty; "),
        ("text.mp4", "cannot be read as a video; "),
        ("sound.m4a", "cannot be read as a video; "),
        ("missing.mp4", "cannot open"),
    ] {
        let line = Reader::open(&scratch.path(name)).err().unwrap().line();
        assert!(line.contains(name) && line.contains(says) && !line.contains('\n'), "{line}");
    }
    let line = Reader::connect("rtsp://me:secret@127.0.0.1:1/live").err().unwrap().line();
    assert!(line.contains("gives no video") && !line.contains("secret"), "{line}");
}

#[test]
fn a_copy_keeps_every_time_stamp_and_the_sound() {
    let scratch = Scratch::new();
    let (from, to) = (scratch.path("from.mp4"), scratch.path("to.mp4"));
    ffmpeg(UNEVEN, &from);
    let read = frames(&from);
    let warnings = copy(read.iter().cloned(), &to, settings(Some(&from)));
    assert_eq!(warnings, []);
    assert_same_times(&frame_times(&to), &frame_times(&from), 2e-6);
    assert!(sound_packets(&to) == sound_packets(&from), "the sound is not a plain copy");
    for stream in ["v:0", "a:0"] {
        let span = |path: &Path| -> Vec<f64> {
            let lines =
                ffprobe(&format!("-select_streams {stream} -show_entries stream=start_time,duration"), path);
            lines[0].split(',').map(|number| number.parse().unwrap()).collect()
        };
        assert_same_times(&span(&to), &span(&from), 1.0 / 30.0);
    }
    // The pictures are the same ones.
    for (a, b) in read.iter().zip(frames(&to)) {
        let difference: f64 =
            a.image.pixels().iter().zip(b.image.pixels()).map(|(a, b)| f64::from(a.abs_diff(*b))).sum();
        assert!(difference / (a.image.pixels().len() as f64) < 6.0, "frame {}: {difference}", a.index);
    }
    assert_eq!(scratch.names(), ["from.mp4", "to.mp4"]);
}

fn sound_packets(path: &Path) -> Vec<String> {
    ffprobe("-select_streams a:0 -show_entries packet=pts_time,data_hash -show_data_hash crc32", path)
}

#[test]
fn sound_stays_in_sync_when_the_picture_begins_later() {
    let scratch = Scratch::new();
    let (clip, late) = (scratch.path("clip.mp4"), scratch.path("late.mp4"));
    flash_and_beep(&clip, "aac");
    let twice = format!("-i {0} -itsoffset 0.7 -i {0} -map 1:v -map 0:a -c copy", clip.display());
    ffmpeg(&twice, &late);
    for name in ["to.mp4", "to.mkv"] {
        let to = scratch.path(name);
        assert_eq!(copy(frames(&late).into_iter(), &to, settings(Some(&late))), []);
        let lag = |path: &Path| beep_time(path, &scratch) - flash_time(path);
        assert!((lag(&to) - lag(&late)).abs() < 0.03, "{name}: {} instead of {}", lag(&to), lag(&late));
    }
}

#[test]
fn sound_goes_on_to_its_end_after_a_video_that_was_read_to_its_end() {
    let scratch = Scratch::new();
    let (from, to) = (scratch.path("from.mp4"), scratch.path("to.m4v"));
    ffmpeg("-f lavfi -i testsrc2=s=64x64:r=10:d=2 -f lavfi -i sine=d=3 -c:a libmp3lame", &from);
    // At this nominal rate, the last picture lasts longer than usual.
    let slow = Settings { rate: 100.0, ..settings(Some(&from)) };
    assert_eq!(copy(frames(&from).into_iter(), &to, slow.clone()), []);
    assert!(sound_packets(&to) == sound_packets(&from), "the sound is cut");
    let half = Settings { overwrite: true, ..slow };
    copy(frames(&from).into_iter().take(10), &to, half);
    let length: f64 = ffprobe("-show_entries format=duration", &to)[0].parse().unwrap();
    assert!((length - 1.0).abs() < 0.1, "{length}");
}

#[test]
fn a_time_stamp_that_comes_twice_moves_no_other() {
    let scratch = Scratch::new();
    let path = scratch.path("twice.mkv");
    ffmpeg(
        "-f lavfi -i testsrc2=s=64x64:r=10:d=2 -c:v mpeg4 -bf 0 -bsf:v setts=ts=if(eq(N\\,7)\\,TS-100\\,TS)",
        &path,
    );
    let times = seconds(&frames(&path));
    assert_same_times(&times, &frame_times(&path), 2e-6);
    assert!(times[7] > times[6] && times[7] < 0.61, "{times:?}");
}

#[test]
fn a_damaged_spot_is_passed_over_and_told_of() {
    let scratch = Scratch::new();
    for name in ["a.mp4", "a.mkv", "a.webm"] {
        let path = scratch.path(name);
        let codec = if name == "a.webm" { "libvpx -b:v 1M" } else { "libx264" };
        ffmpeg(
            &format!("-f lavfi -i testsrc2=s=320x180:r=25:d=4 -g 12 -pix_fmt yuv420p -c:v {codec}"),
            &path,
        );
        let mut bytes = fs::read(&path).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle..middle + 2000].iter_mut().enumerate().for_each(|(n, byte)| *byte = (n * 89) as u8);
        fs::write(&path, bytes).unwrap();
        let reader = Reader::open(&path).unwrap();
        let warnings = reader.warnings();
        let read: Vec<_> = reader.map(Result::unwrap).collect();
        let (count, last) = (read.len(), read.last().unwrap().time);
        assert!(count >= 80 && last >= Duration::from_millis(3900), "{name}: {count} frames, to {last:?}");
        // What is damaged in VP8 still decodes to something, and nobody can tell.
        let warnings = warnings.take();
        let told = matches!(&warnings[..], [Warning::Damaged { count: 1..30, .. }]);
        assert!(told || name == "a.webm", "{name}: {warnings:?}");
    }
}

#[test]
fn pixels_that_are_no_squares_become_squares() {
    let scratch = Scratch::new();
    let (wide, copied) = (scratch.path("wide.mp4"), scratch.path("copied.mp4"));
    ffmpeg("-f lavfi -i testsrc2=s=80x90:r=10:d=0.5 -vf setsar=2 -pix_fmt yuv420p", &wide);
    let reader = Reader::open(&wide).unwrap();
    assert_eq!((reader.info().width, reader.info().height), (160, 90));
    copy(reader.map(Result::unwrap), &copied, settings(Some(&wide)));
    let sides = ffprobe("-select_streams v -show_entries stream=width,height,sample_aspect_ratio", &copied);
    assert!(["160,90,1:1", "160,90"].iter().any(|square| sides[0].starts_with(square)), "{sides:?}");
}

#[test]
fn gaps_between_frames_may_last_an_hour() {
    let scratch = Scratch::new();
    for name in ["gap.mp4", "gap.mov", "gap.mkv"] {
        let to = scratch.path(name);
        let mut writer = Writer::create(&to, settings(None)).unwrap();
        let times = [0, 1, 3600, 3601, 7200, 10_800, 10_801].map(Duration::from_secs);
        times.iter().for_each(|&time| writer.write(&Image::filled(64, 64, [9; 3]), time).unwrap());
        writer.finish().unwrap();
        assert_eq!(frames(&to).iter().map(|frame| frame.time).collect::<Vec<_>>(), times, "{name}");
    }
}

/// A clip whose picture turns white for a moment when its sound beeps, at 3.0 s.
fn flash_and_beep(path: &Path, sound: &str) {
    let words = "-f lavfi -i color=black:s=64x48:r=25:d=6 -f lavfi -i aevalsrc=gt(t\\,3)*lt(t\\,3.2)*sin(2000*PI*t):s=48000:d=6 \
         -vf drawbox=c=white:t=fill:enable='between(t,2.999,3.199)' -c:v libx264 -g 50 -pix_fmt yuv420p -c:a";
    ffmpeg(&format!("{words} {sound}"), path);
}

/// When the sound begins to be heard, in seconds from the start of the file.
fn beep_time(path: &Path, scratch: &Scratch) -> f64 {
    let raw = scratch.path("sound.raw");
    let words = format!(
        "-i {} -map 0:a:0 -af aresample=async=1:first_pts=0 -ac 1 -ar 48000 -f s16le",
        path.display()
    );
    ffmpeg(&words, &raw);
    let bytes = fs::read(raw).unwrap();
    let first = bytes.chunks_exact(2).position(|s| i16::from_le_bytes([s[0], s[1]]).abs() > 3000).unwrap();
    first as f64 / 48000.0
}

fn flash_time(path: &Path) -> f64 {
    let frames = frames(path);
    let white = frames.iter().find(|frame| frame.image.bgr(32, 24)[1] > 128);
    white.unwrap().time.as_secs_f64()
}

#[test]
fn sound_stays_in_sync_when_a_part_is_kept() {
    let scratch = Scratch::new();
    for (from, to, sound) in [
        ("from.mp4", "to.mp4", "aac"),
        ("from.mkv", "to.mp4", "flac"),
        ("from.mov", "to.mkv", "pcm_s16le"),
        ("from.ts", "to.mov", "mp2"),
    ] {
        let (from, to) = (scratch.path(from), scratch.path(to));
        flash_and_beep(&from, sound);
        let lag = beep_time(&from, &scratch) - flash_time(&from);
        assert!(lag.abs() < 0.04, "the clip itself: {lag}");
        let part = Reader::open(&from)
            .unwrap()
            .between(Duration::from_millis(2110), Some(Duration::from_millis(4500)));
        let cut = Settings { trimmed: true, rate: 25.0, overwrite: true, ..settings(Some(&from)) };
        assert_eq!(copy(part.map(Result::unwrap), &to, cut), []);
        let (flash, beep) = (flash_time(&to), beep_time(&to, &scratch));
        assert!((flash - (3.0 - 2.12)).abs() < 0.045, "{flash}");
        assert!((beep - flash - lag).abs() < 0.03, "{}: {flash} {beep} {lag}", to.display());
        let length: f64 = ffprobe("-show_entries format=duration", &to)[0].parse().unwrap();
        assert!((length - 2.4).abs() < 0.06, "{length}");
    }
}

#[test]
fn odd_sides_and_no_sound_are_no_trouble() {
    let scratch = Scratch::new();
    let image = Image::filled(51, 37, [40, 80, 160]);
    let to = scratch.path("odd.mp4");
    let mut writer = Writer::create(&to, settings(None)).unwrap();
    for n in 0..5 {
        writer.write(&image, Duration::from_millis(40 * n + 700)).unwrap();
    }
    assert!(!to.exists() && scratch.names().iter().all(|name| name.starts_with(".odd.part-")));
    writer.finish().unwrap();
    let frames = frames(&to);
    assert_eq!((frames.len(), frames[0].time), (5, Duration::ZERO));
    assert_eq!((frames[0].image.width(), frames[0].image.height()), (52, 38));
    let [b, g, r] = frames[4].image.bgr(51, 37);
    assert!(b.abs_diff(40) < 9 && g.abs_diff(80) < 9 && r.abs_diff(160) < 9, "{b} {g} {r}");
    assert_eq!(scratch.names(), ["odd.mp4"]);
}

#[cfg(feature = "opencv")]
#[test]
fn without_ffmpeg_there_is_a_video_and_a_warning() {
    let scratch = Scratch::new();
    let (from, to) = (scratch.path("from.mp4"), scratch.path("to.mp4"));
    ffmpeg(UNEVEN, &from);
    let bare = Settings { encoder: Encoder::OpenCv, ..settings(Some(&from)) };
    let warnings = copy(frames(&from).into_iter(), &to, bare);
    assert!(matches!(&warnings[..], [Warning::WithoutFfmpeg { .. }]), "{warnings:?}");
    let length = frames(&to).last().unwrap().time.as_secs_f64();
    assert!((length - 3.93).abs() < 0.1, "{length}");
    assert_eq!(Ffmpeg::find(Path::new("no-such-program")), None);
}

#[test]
fn a_video_that_is_not_finished_leaves_nothing() {
    let scratch = Scratch::new();
    let mut writer = Writer::create(&scratch.path("a.mp4"), settings(None)).unwrap();
    writer.write(&Image::filled(64, 64, [0; 3]), Duration::ZERO).unwrap();
    drop(writer);
    let writer = Writer::create(&scratch.path("b.mp4"), settings(None)).unwrap();
    assert!(writer.finish().unwrap_err().line().contains("no frame"));
    assert_eq!(scratch.names(), [""; 0]);
}

#[test]
fn names_that_cannot_be_written_are_refused_at_once() {
    let scratch = Scratch::new();
    let from = scratch.path("from.mp4");
    ffmpeg("-f lavfi -i testsrc2=s=64x64:r=10:d=0.5", &from);
    let before = fs::read(&from).unwrap();
    for (name, overwrite, says, usage) in [
        ("a.xyz", false, "cannot be written as a video; end the name in one of .mp4", true),
        ("a", false, "cannot be written as a video", true),
        ("no/a.mp4", false, "there is no folder", false),
        ("from.mp4", true, "both read and written; ", true),
    ] {
        let settings = Settings { overwrite, ..settings(Some(&from)) };
        let error = Writer::create(&scratch.path(name), settings).err().unwrap();
        assert!(error.line().contains(says), "{}", error.line());
        assert_eq!(error.is_usage(), usage, "{}", error.line());
    }
    let exists = Writer::create(&from, settings(None)).err().unwrap();
    assert!(exists.line().contains("exists already"));
    assert_eq!(fs::read(&from).unwrap(), before);
}

#[test]
fn what_no_encoder_takes_is_an_error_and_not_an_empty_file() {
    let scratch = Scratch::new();
    let mut writer = Writer::create(&scratch.path("big.mp4"), settings(None)).unwrap();
    let line = writer.write(&Image::filled(12_288, 7_680, [0; 3]), Duration::ZERO).unwrap_err().line();
    assert!(line.contains("12288x7680 pixels are too large; "), "{line}");
    for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 1e-300] {
        let settings = Settings { rate, ..settings(None) };
        assert!(Writer::create(&scratch.path("a.mp4"), settings).is_err_and(|error| error.is_usage()));
    }
}

/// An encoder that is a shell script: it lists no encoders, and then does this with its words.
#[cfg(unix)]
fn scripted(scratch: &Scratch, does: &str) -> Ffmpeg {
    use std::os::unix::fs::PermissionsExt;

    let program = scratch.path("ffmpeg");
    fs::write(&program, format!("#!/bin/sh\n[ \"$1\" = -encoders ] && exit 0\n{does}\n")).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    Ffmpeg::find(&program).unwrap()
}

#[cfg(unix)]
#[test]
fn without_x264_there_is_mpeg_4_with_the_same_times() {
    let scratch = Scratch::new();
    let (from, to) = (scratch.path("from.mp4"), scratch.path("to.mp4"));
    ffmpeg(UNEVEN, &from);
    let encoder = Encoder::Ffmpeg(scripted(&scratch, "exec ffmpeg \"$@\""));
    let warnings = copy(frames(&from).into_iter(), &to, Settings { encoder, ..settings(Some(&from)) });
    assert_eq!(warnings, []);
    assert_same_times(&frame_times(&to), &frame_times(&from), 2e-6);
    assert_eq!(ffprobe("-select_streams v -show_entries stream=codec_name", &to), ["mpeg4"]);
}

#[cfg(unix)]
#[test]
fn a_file_that_cannot_be_completed_keeps_its_pictures_and_the_old_file() {
    let scratch = Scratch::new();
    let to = scratch.path("a.mp4");
    fs::write(&to, "old").unwrap();
    let fails =
        "case \"$*\" in *pipe:0*) exec ffmpeg \"$@\";; esac; echo 'No space left on device' >&2; exit 1";
    // Or it loses frames and says nothing.
    let loses = "case \"$*\" in *pipe:0*) exec ffmpeg \"$@\";; esac; for to; do :; done; \
                 exec ffmpeg -v error -f lavfi -i color=s=64x64:d=0.04 -y \"$to\"";
    for (does, says) in [(fails, "No space left on device"), (loses, "only 1 of 50 frames")] {
        let encoder = Encoder::Ffmpeg(scripted(&scratch, does));
        let settings = Settings { encoder, overwrite: true, ..settings(None) };
        let mut writer = Writer::create(&to, settings).unwrap();
        for n in 0..50 {
            writer.write(&Image::filled(64, 64, [n as u8; 3]), Duration::from_millis(40 * n)).unwrap();
        }
        let line = writer.finish().unwrap_err().line();
        let kept = scratch.path("a.part.mp4");
        assert!(line.contains(says) && line.contains(&kept.display().to_string()), "{line}");
        assert_eq!(frames(&kept).len(), 50);
        assert_eq!(fs::read_to_string(&to).unwrap(), "old");
        fs::remove_file(kept).unwrap();
        assert_eq!(scratch.names(), ["a.mp4", "ffmpeg"]);
    }
}

#[cfg(unix)]
#[test]
fn an_encoder_that_hangs_is_given_up() {
    let scratch = Scratch::new();
    let image = Image::filled(320, 240, [0; 3]);
    // One that takes no frame, and one that takes all and never ends.
    for does in ["exec sleep 60", "cat >/dev/null; exec sleep 60"] {
        let encoder = Encoder::Ffmpeg(scripted(&scratch, does).waiting(Duration::from_secs(1)));
        let mut writer =
            Writer::create(&scratch.path("a.mp4"), Settings { encoder, ..settings(None) }).unwrap();
        let failed = (0..20).find_map(|n| writer.write(&image, Duration::from_millis(40 * n)).err());
        let line = failed.unwrap_or_else(|| writer.finish().unwrap_err()).line();
        assert!(line.contains("ffmpeg has done nothing for 1 s"), "{line}");
    }
}

#[cfg(unix)]
#[test]
fn an_encoder_that_dies_is_one_error_with_its_reason() {
    let scratch = Scratch::new();
    let does = "head -c 100000 >/dev/null; echo 'write_frame(): No space left on device' >&2; exit 1";
    let encoder = Encoder::Ffmpeg(scripted(&scratch, does));
    let mut writer = Writer::create(&scratch.path("a.mp4"), Settings { encoder, ..settings(None) }).unwrap();
    let image = Image::filled(320, 240, [0; 3]);
    let error = (0..100).find_map(|n| writer.write(&image, Duration::from_millis(40 * n)).err()).unwrap();
    let line = error.line();
    assert!(line.starts_with("cannot write") && line.contains("a.mp4"), "{line}");
    assert!(line.contains("No space left on device; check that the disk"), "{line}");
    drop(writer);
    assert_eq!(scratch.names(), ["ffmpeg"]);
}
