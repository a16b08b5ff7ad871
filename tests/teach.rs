//! Teaching the program a face: from a camera, for which a video stands, and from clips.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use lanet_live::clips::{About, Dataset};
use lanet_live::expression::Expression;
use lanet_live::frame::Frame;
use lanet_live::teach::{Phase, Seen, Session, Sitting, Wish};
use lanet_live::video::Reader;

use crate::ffmpeg::{ffmpeg, frame_times};
use crate::program::{command, lanet_live, media, paint};
use crate::scratch::Scratch;

/// Whether it succeeded, what was printed, and what was said.
fn run(folder: &Scratch, arguments: &str) -> (Option<i32>, String, String) {
    let output = lanet_live(folder, arguments);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A video at 5 frames a second that shows each picture for the time that an expression takes in a sitting: 4 s to get ready,
/// 5 s of REC, 2 s to think. While REC is to be on, a corner is white.
fn lesson(pictures: &[&Path], folder: &Scratch) -> PathBuf {
    let mut list = String::new();
    for (n, picture) in pictures.iter().enumerate() {
        let words = format!(
            "-loop 1 -framerate 5 -i {} -t 11 -vf scale=320:320,drawbox=0:0:40:40:white:fill:enable='gte(t\\,4)*lt(t\\,9)' \
             -c:v libx264 -preset ultrafast -pix_fmt yuv420p",
            picture.display()
        );
        ffmpeg(&words, &folder.path(&format!("{n}.mp4")));
        list += &format!("file {n}.mp4\n");
    }
    fs::write(folder.path("list"), list).unwrap();
    let video = folder.path("lesson.mp4");
    ffmpeg(&format!("-f concat -i {} -c copy", folder.path("list").display()), &video);
    video
}

/// So many clips of each expression, each by a picture.
fn recordings(folder: &Scratch, pictures: &[(&str, &Path)], seconds: f64, clips: usize) {
    for (label, picture) in pictures {
        for n in 0..clips {
            let clip = folder.path(&format!("recordings/anna/{label}/{n}.mp4"));
            fs::create_dir_all(clip.parent().unwrap()).unwrap();
            let words = format!(
                "-loop 1 -i {} -t {seconds} -r 5 -vf scale=320:-2 -c:v libx264 -preset ultrafast -pix_fmt yuv420p",
                picture.display()
            );
            ffmpeg(&words, &clip);
        }
    }
}

fn one_line(folder: &Scratch, arguments: &str, code: i32, words: &str) {
    let (ended, _, said) = run(folder, arguments);
    assert_eq!(ended, Some(code), "{arguments}: {said}");
    let last = said.trim_end().lines().last().unwrap_or_default();
    assert!(last.contains(words), "{arguments}: {said}");
}

#[test]
fn a_sitting_in_front_of_a_video_becomes_a_profile_that_is_applied() {
    let (Some(rest), Some(smile)) = (media("15-f13-anc-ph.jpg"), media("0-f15-hao-ph.jpg")) else { return };
    let folder = Scratch::new();
    let video = lesson(&[&rest, &smile, &rest, &smile], &folder);
    let teach = "teach --person anna --input lesson.mp4 --expressions neutral,happiness --no-window";
    let (code, table, said) = run(&folder, teach);
    assert_eq!(code, Some(0), "{said}");
    for part in
        ["only what is marked REC is recorded", "1 of 4: in 4 s neutral", "REC happiness", "clips kept: 4"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(table.contains("of 30 frames of 2 clips kept back   before  after"), "{table}");
    let all = table.lines().find(|line| line.starts_with("all")).unwrap();
    assert!(all.ends_with("100 %"), "{table}");

    // What was recorded is what REC was on for, and nothing else: the corner is white.
    let data = Dataset::open(&folder.path("recordings")).unwrap();
    assert_eq!(data.entries.len(), 4);
    for entry in &data.entries {
        assert_eq!(frame_times(&entry.path).len(), 25, "{}", entry.path.display());
        for frame in Reader::open(&entry.path).unwrap() {
            let corner = frame.unwrap().image.bgr(20, 20);
            assert!(corner.iter().all(|&value| value > 200), "{}: {corner:?}", entry.path.display());
        }
        let about = About::load(&entry.path).unwrap();
        assert_eq!((about.label, about.person.as_deref()), (Some(entry.label), Some("anna")));
        assert!(about.source.ends_with("lesson.mp4"), "{about:?}");
    }

    // The profile is used by its name, and by nobody else.
    let read = |options: &str| {
        let (code, rows, said) =
            run(&folder, &format!("--input {} --results - -q {options}", rest.display()));
        assert_eq!(code, Some(0), "{said}");
        rows
    };
    let (own, usual) = (read("--person anna"), read(""));
    assert!(own.contains(r#""expression":"neutral""#) && own.contains(r#""baseline":true"#), "{own}");
    assert!(!usual.contains(r#""expression":"neutral""#) && !usual.contains("baseline"), "{usual}");

    // The same from the clips alone, with the same figures; and an interrupted sitting's are learnt in the same way.
    let _ = fs::remove_file(video);
    let neutral = fs::read(folder.path("calibration/anna/neutral.toml")).unwrap();
    fs::remove_dir_all(folder.path("calibration")).unwrap();
    let (code, again, said) = run(&folder, "teach --person anna --from recordings");
    assert_eq!((code, again), (Some(0), table), "{said}");
    assert_eq!(fs::read(folder.path("calibration/anna/neutral.toml")).unwrap(), neutral);
}

#[test]
fn while_a_frame_is_recorded_it_is_said_and_nothing_else_is_recorded() {
    let Some(video) = media("single_face.mp4") else { return };
    let folder = Scratch::new();
    let about = About { person: Some("anna".into()), ..About::default() };
    let session = Session::new(&[Expression::Fear], 1);
    let mut sitting = Sitting::new(session, &folder.path("in"), about, 2.0).unwrap();
    let frame = Reader::open(&video).unwrap().next().unwrap().unwrap();
    let mut marked = Vec::new();
    for n in 0..60 {
        let time = Duration::from_millis(500 * n);
        sitting.take(&Frame { time, ..frame.clone() }, Seen::Face).unwrap();
        if sitting.is_recording() {
            marked.push(n);
        }
        if n == 35 {
            sitting.wish(Wish::Repeat).unwrap();
        }
    }
    assert_eq!(sitting.session().phase(), Phase::Over);
    // 8 to 17 and, after it was begun once more, 44 to 53; 30 to 35 was thrown away.
    let expected: Vec<u64> = (8..18).chain(30..36).chain(43..53).collect();
    assert_eq!(marked, expected);
    let frames: Vec<_> = sitting.kept().iter().map(|clip| frame_times(clip).len()).collect();
    assert_eq!(frames, [10, 10]);
    // Nothing half-written is left.
    let files = fs::read_dir(folder.path("in/anna/fear")).unwrap().count();
    assert_eq!(files, 2);
}

#[test]
fn what_cannot_be_taught_is_said_and_leaves_the_profile_as_it_was() {
    let folder = Scratch::new();
    for name in ["a/b", "..", "anger"] {
        one_line(
            &folder,
            &format!("teach --person {name} --from recordings"),
            2,
            "a person cannot be called",
        );
    }
    one_line(&folder, "teach --from recordings", 2, "--person");
    one_line(&folder, "teach --person anna --from recordings --camera 0", 2, "cannot be used with");
    one_line(&folder, "teach --person anna --expressions hapiness", 2, "did you mean 'happiness'?");
    one_line(&folder, "teach --person anna --from recordings", 1, "recordings");
    one_line(&folder, "teach --person anna --input none.mp4 --no-window", 1, "none.mp4");
    paint(&folder.path("grey.png"), 64, 64);
    one_line(&folder, "teach --person anna --input grey.png --no-window", 2, "no camera");
    let (Some(rest), Some(smile), Some(many), Some(short)) = (
        media("15-f13-anc-ph.jpg"),
        media("0-f15-hao-ph.jpg"),
        media("multi_face.jpg"),
        media("single_face.mp4"),
    ) else {
        return;
    };
    let short = short.display();
    one_line(&folder, &format!("teach --person anna --input {short} --no-window"), 1, "no clip was recorded");
    assert!(!folder.path("recordings").exists() && !folder.path("calibration").exists());
    // One expression only: a neutral, or nothing.
    let from = "teach --person anna --from recordings";
    recordings(&folder, &[("happiness", &smile)], 2.0, 1);
    one_line(&folder, from, 1, "the clips show happiness only");
    fs::rename(folder.path("recordings/anna/happiness"), folder.path("recordings/anna/neutral")).unwrap();
    one_line(&folder, from, 1, "a neutral needs 10");
    recordings(&folder, &[("neutral", &rest)], 4.0, 2);
    let (code, table, said) = run(&folder, from);
    assert!(code == Some(0) && table.is_empty() && said.contains("neutral only"), "{said}");
    assert!(folder.path("calibration/anna/neutral.toml").exists());
    assert!(!folder.path("calibration/anna/model").exists());
    // Clips of no use and folders of no expression are named; one clip of each leaves nothing to check with.
    recordings(&folder, &[("happiness", &smile), ("surprise", &many)], 4.0, 1);
    paint(&folder.path("grey320.png"), 320, 240);
    recordings(&folder, &[("fear", &folder.path("grey320.png")), ("sadnes", &smile)], 1.0, 1);
    fs::remove_file(folder.path("recordings/anna/neutral/1.mp4")).unwrap();
    let (code, table, said) = run(&folder, from);
    assert!(code == Some(0) && table.is_empty(), "{said}");
    for part in [
        "folder anna/sadnes: no expression is called 'sadnes'; did you mean 'sadness'?",
        "surprise/0.mp4: 12 of the 12 frames looked at show more than one face; say which is meant with --face",
        "fear/0.mp4: none of the 5 frames",
        "nothing is kept back",
        "wrote calibration/anna",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let kept = fs::read(folder.path("calibration/anna/model/card.toml")).unwrap();
    // Three frames in all, and somebody else.
    fs::remove_dir_all(folder.path("recordings")).unwrap();
    recordings(&folder, &[("neutral", &rest)], 0.4, 1);
    recordings(&folder, &[("happiness", &smile)], 0.2, 1);
    one_line(&folder, from, 1, "3 faces in all are too few");
    one_line(&folder, "teach --person bea --from recordings", 2, "they know anna");
    one_line(
        &folder,
        "teach --person anna --from recordings --model facemesh",
        2,
        "no model that tells expressions",
    );
    assert_eq!(fs::read(folder.path("calibration/anna/model/card.toml")).unwrap(), kept);
    // A neutral of another model is refused, as ever.
    let file = folder.path("calibration/anna/neutral.toml");
    let text = fs::read_to_string(&file).unwrap().replace("fingerprint = \"", "fingerprint = \"0");
    fs::write(&file, text).unwrap();
    one_line(&folder, &format!("--input {short} --no-window --person anna"), 1, "taken with another model");
}

#[cfg(target_os = "linux")]
#[test]
fn ctrl_c_keeps_what_is_finished_and_says_how_to_go_on_and_a_disk_that_is_full_is_said() {
    let Some(rest) = media("15-f13-anc-ph.jpg") else { return };
    let folder = Scratch::new();
    lesson(&[&rest, &rest], &folder);
    std::os::unix::fs::symlink("/proc", folder.path("full")).unwrap();
    let teach = "teach --person anna --input lesson.mp4 --no-window --into full/sys";
    one_line(&folder, teach, 1, "cannot be made");
    // A stream at four times the pace at which it was filmed.
    let make = Command::new("mkfifo").arg(folder.path("live.ts")).status().unwrap();
    assert!(make.success());
    let mut feeder = Command::new("ffmpeg")
        .current_dir(folder.path(""))
        .args(["-nostdin", "-v", "error", "-y", "-readrate", "4", "-i", "lesson.mp4", "-c:v", "mpeg2video"])
        .args(["-r", "25", "-f", "mpegts", "live.ts"])
        .spawn()
        .unwrap();
    let teacher = command(&folder)
        .args("teach --person anna --input live.ts --no-window".split(' '))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let is_about = |file: fs::DirEntry| file.path().extension().is_some_and(|extension| extension == "toml");
    let kept = || {
        fs::read_dir(folder.path("recordings/anna/neutral")).is_ok_and(|files| files.flatten().any(is_about))
    };
    let began = Instant::now();
    while !kept() && began.elapsed() < Duration::from_secs(60) {
        std::thread::sleep(Duration::from_millis(20));
    }
    let interrupt = Command::new("kill").args(["-INT", &teacher.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    let output = teacher.wait_with_output().unwrap();
    let _ = feeder.kill();
    let _ = feeder.wait();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(
        said.trim_end().ends_with("go on with: lanet-live teach --person anna --from recordings"),
        "{said}"
    );
    let data = Dataset::open(&folder.path("recordings")).unwrap();
    assert!(data.entries.len() == 1 && frame_times(&data.entries[0].path).len() > 20, "{data:?}");
    assert!(!folder.path("calibration").exists());
}
