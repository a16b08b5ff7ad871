//! Every message about input and output, word for word. `DIR` stands for the folder of the test.

use std::fs;

use lanet_live::error::Error;
use lanet_live::images::{self, Images, expand};
use lanet_live::results::Results;

use crate::scratch::Scratch;

/// The lines of some errors, each on its own line, wrong uses marked.
fn lines(scratch: &Scratch, errors: impl IntoIterator<Item = Error>) -> String {
    let folder = scratch.path("").to_string_lossy().trim_end_matches('/').to_owned();
    let line = |error: Error| {
        let mark = if error.is_usage() { "(wrong use) " } else { "" };
        format!("{mark}{}", error.line().replace(&folder, "DIR"))
    };
    errors.into_iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn of_inputs() {
    let scratch = Scratch::new();
    fs::create_dir(scratch.path("empty")).unwrap();
    fs::write(scratch.path("a.mp4"), "").unwrap();
    fs::write(scratch.path("b.mp4"), "").unwrap();
    fs::write(scratch.path("text.png"), "text").unwrap();
    fs::write(scratch.path("none.jpg"), "").unwrap();
    let text = |name: &str| scratch.path(name).to_string_lossy().into_owned();
    let inputs =
        [text("missing.mp4"), text("empty"), text("*.webm"), text("*.mp4"), "[.png".into(), "ftp://x".into()];
    let mut errors: Vec<_> = inputs.iter().map(|input| expand(input).unwrap_err()).collect();
    errors.extend(Images::new(vec![scratch.path("text.png")]).map(Result::unwrap_err));
    errors
        .extend(Images::new(vec![scratch.path("none.jpg"), scratch.path("no.png")]).map(Result::unwrap_err));
    insta::assert_snapshot!(lines(&scratch, errors), @r"
    there is no file or folder 'DIR/missing.mp4'; check the name
    the folder 'DIR/empty' has no pictures in it; pictures end in bmp, jpeg, jpg, png, tif, tiff, webp; give a video by its own name
    no file matches 'DIR/*.webm'; check the pattern
    (wrong use) 'DIR/*.mp4' matches 2 files, and none of them is a picture; give one video at a time
    (wrong use) '[.png' is not a pattern: Pattern syntax error near position 0: invalid range pattern; use *, ? and [...], in quotes
    (wrong use) addresses that begin with ftp:// cannot be read; use a file or one of http, https, rtmp, rtsp, rtsps, tcp, udp
    cannot read 'DIR/text.png' as a picture: Format error decoding Png: Invalid PNG signature; check that it is a whole BMP, JPEG, PNG, TIFF or WebP file
    none of the 2 pictures can be read: cannot read 'DIR/none.jpg' as a picture: Format error decoding Jpeg: I/O errors Not enough bytes, expected 2 but found 0; check that it is a whole BMP, JPEG, PNG, TIFF or WebP file
    ");
}

#[test]
fn of_outputs() {
    let scratch = Scratch::new();
    fs::write(scratch.path("old.jsonl"), "").unwrap();
    fs::create_dir(scratch.path("folder.csv")).unwrap();
    let picture = lanet_live::frame::Image::filled(1, 1, [0; 3]);
    let mut errors: Vec<_> = ["old.jsonl", "folder.csv", "no/new.csv", "new.xml"]
        .iter()
        .filter_map(|name| Results::create(&scratch.path(name), false, false).err())
        .collect();
    errors.extend(images::write(&scratch.path("new.gif"), &picture, false).err());
    insta::assert_snapshot!(lines(&scratch, errors), @r"
    'DIR/old.jsonl' exists already; choose another name, or allow overwriting with -y
    (wrong use) 'DIR/folder.csv' is a folder; give a file name
    there is no folder 'DIR/no' to write 'DIR/no/new.csv' to; make it first, or choose another
    (wrong use) results cannot be written to 'DIR/new.xml'; end the name in one of .jsonl, .csv, .parquet, or use - for standard output
    (wrong use) 'DIR/new.gif' cannot be written; pictures are written as .png or .jpg
    ");
}

#[cfg(feature = "capture")]
mod capture {
    use std::path::Path;
    use std::time::Duration;

    use lanet_live::camera::Camera;
    use lanet_live::video::{Encoder, Reader, Settings, Writer};
    use lanet_live::warning::Warning;

    use super::*;
    use crate::ffmpeg::ffmpeg;

    #[test]
    fn of_videos() {
        let scratch = Scratch::new();
        let clip = scratch.path("clip.mp4");
        ffmpeg("-f lavfi -i testsrc2=s=64x64:r=10:d=0.5", &clip);
        fs::write(scratch.path("empty.mp4"), "").unwrap();
        fs::write(scratch.path("text.mp4"), "text ".repeat(1000)).unwrap();
        let mut errors: Vec<_> = ["missing.mp4", "empty.mp4", "text.mp4"]
            .iter()
            .filter_map(|name| Reader::open(&scratch.path(name)).err())
            .collect();
        errors.extend(
            Reader::open(&clip).unwrap().between(Duration::from_secs(9), None).filter_map(Result::err),
        );
        errors.extend(Reader::connect("rtsp://user:secret@127.0.0.1:1/live").err());
        let settings = |source: Option<&Path>| Settings {
            rate: 10.0,
            source: source.map(Path::to_owned),
            trimmed: false,
            overwrite: false,
            encoder: Encoder::find(),
        };
        errors.extend(Writer::create(&scratch.path("new.txt"), settings(None)).err());
        errors.extend(Writer::create(&clip, settings(Some(&clip))).err());
        let writer = |name: &str| Writer::create(&scratch.path(name), settings(None)).unwrap();
        errors.extend(writer("new.mp4").finish().err());
        let mut changing = writer("new.mp4");
        let picture = |side| lanet_live::frame::Image::filled(side, side, [0; 3]);
        errors.extend(changing.write(&picture(64), Duration::ZERO).err());
        errors.extend(changing.write(&picture(66), Duration::from_millis(100)).err());
        insta::assert_snapshot!(lines(&scratch, errors), @r"
        cannot open 'DIR/missing.mp4': No such file or directory (os error 2); check the name
        'DIR/empty.mp4' is empty; copy or download it again
        'DIR/text.mp4' cannot be read as a video; check that it is a whole video file and that a player shows it
        the last frame of 'DIR/clip.mp4' is at 0.40 s, before the start at 9.00 s; choose an earlier start
        'rtsp://127.0.0.1:1/live' gives no video; check the address, the network and the password
        (wrong use) 'DIR/new.txt' cannot be written as a video; end the name in one of .mp4, .m4v, .mov, .mkv
        (wrong use) 'DIR/clip.mp4' is both read and written; choose another name for the output
        'DIR/new.mp4' was not written: there was no frame
        the frames for 'DIR/new.mp4' change their size from 64x64 to 66x66
        ");
    }

    #[test]
    fn of_cameras() {
        // What it advises depends on the cameras of the machine.
        let camera = Camera::open("/dev/video97").err().unwrap();
        assert_eq!(camera.to_string(), "there is no camera '/dev/video97'");
    }

    #[test]
    fn of_warnings() {
        let unreadable =
            |count| Warning::Unreadable { count, first: "a.png".into(), why: "'a.png' is torn".to_owned() };
        let warnings = [
            unreadable(1),
            unreadable(3),
            Warning::CutShort {
                source: "a.mp4".into(),
                frames: 37,
                reached: Duration::from_millis(1574),
                end: Duration::from_millis(3967),
            },
            Warning::WithoutFfmpeg { output: "b.mp4".into(), rate: 29.97 },
            Warning::WithoutSound { output: "b.mp4".into(), why: "it is lost".to_owned() },
            Warning::TooSlow { receiver: "results", missed: 1 },
            Warning::TooSlow { receiver: "output", missed: 17 },
            Warning::NoClip { why: "the disk is full".to_owned() },
            Warning::Torn { camera: "cam".to_owned(), count: 1 },
            Warning::NoScreenshot { why: "the disk is full".to_owned() },
        ];
        let lines = warnings.map(|warning| warning.to_string()).join("\n");
        insta::assert_snapshot!(lines, @r"
        a picture was left out: 'a.png' is torn
        3 pictures were left out, the first because: 'a.png' is torn
        'a.mp4' is cut short: only the first 37 frames could be read, 1.57 of 3.97 s
        'b.mp4' has no sound and exactly 29.97 frames a second, because the program ffmpeg was not found; install it to keep sound and time stamps
        'b.mp4' has no sound: it is lost
        the results could not keep up with the camera and lack 1 frame
        the output could not keep up with the camera and lacks 17 frames
        a clip was not recorded: the disk is full
        the camera 'cam' sent 1 picture that was not whole
        no picture of the window was written: the disk is full
        ");
    }
}
