//! Clips: recorded, evaluated, learnt from.

use std::fs;
use std::path::{Path, PathBuf};

use lanet_live::clips::{About, Dataset};
use lanet_live::expression::Expression;

use crate::ffmpeg::{ffmpeg, frame_times};
use crate::program::{lanet_live, media, paint};
use crate::scratch::Scratch;

/// A clip that shows a picture for so many seconds at 10 frames a second.
fn still(picture: &Path, seconds: f64, clip: &Path) {
    fs::create_dir_all(clip.parent().unwrap()).unwrap();
    let words = format!(
        "-loop 1 -i {} -t {seconds} -r 10 -vf scale=480:-2 -c:v libx264 -pix_fmt yuv420p",
        picture.display()
    );
    ffmpeg(&words, clip);
}

/// Runs the program: whether it succeeded, and what it said.
fn run(folder: &Scratch, arguments: &str) -> (bool, String) {
    let output = lanet_live(folder, arguments);
    let text = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(text).unwrap())
}

fn done(folder: &Scratch, arguments: &str) -> String {
    let (success, said) = run(folder, arguments);
    assert!(success, "{arguments}: {said}");
    said
}

#[test]
fn a_clip_is_recorded_as_it_is_with_what_is_said_of_it() {
    let (folder, Some(video)) = (Scratch::new(), media("single_face.mp4")) else { return };
    let record = format!("record --input {} --label happiness", video.display());
    let said = done(&folder, &format!("{record} --person anna --seconds 1 --start 0.5"));
    assert!(
        said.contains("recording happiness from") && said.contains("recordings/anna/happiness"),
        "{said}"
    );
    assert!(!said.contains("warning"), "{said}");
    let clips = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect()
    };
    let files = clips(&folder.path("recordings/anna/happiness"));
    let clip = files.iter().find(|path| path.extension().unwrap() == "mp4").unwrap();
    assert_eq!(files.len(), 2, "{files:?}");
    let (times, about) = (frame_times(clip), About::load(clip).unwrap());
    assert!((29..=31).contains(&times.len()), "{times:?}");
    assert_eq!((about.label, about.person.as_deref()), (Some(Expression::Happiness), Some("anna")));
    assert_eq!(about.frames, times.len() as u64);
    assert!((about.seconds - times.len() as f64 / 30.0).abs() < 2e-3, "{about:?}");
    assert!(about.recorded.ends_with('Z') && about.program == env!("CARGO_PKG_VERSION"), "{about:?}");
    let (success, said) = run(&folder, &format!("{record} --start 2.39"));
    assert!(!success && said.contains("no clip was recorded"), "{said}");
    // Two within a second have names of their own, and one without a face is said to be of no use.
    let Some(empty) = media("no_face.mp4") else { return };
    let said =
        done(&folder, &format!("record --input {} --label fear --into here --seconds 1", empty.display()));
    assert!(said.contains("nothing can be learnt from it"), "{said}");
    done(&folder, &format!("{record} --into here --seconds 0.2"));
    done(&folder, &format!("{record} --into here --seconds 0.2"));
    assert_eq!(clips(&folder.path("here/happiness")).len(), 4);
    for (arguments, expected) in [
        (format!("{record} --person a/b"), "a person cannot be called 'a/b'"),
        (format!("{record} --person .."), "a person cannot be called '..'"),
        (format!("{record} --person anger"), "a person cannot be called 'anger'"),
        (record.replace("happiness", "hapiness"), "did you mean 'happiness'?"),
        ("record --label anger".into(), "--camera"),
        (format!("{record} --camera 0"), "cannot be used with"),
        ("record --label anger --input nothing.mp4".into(), "nothing.mp4"),
    ] {
        let (success, said) = run(&folder, &arguments);
        assert!(!success && said.contains(expected), "{arguments}: {said}");
        assert_eq!(said.trim_end().lines().count(), 1, "{said}");
    }
    paint(&folder.path("grey.png"), 64, 64);
    assert!(run(&folder, "record --label anger --input grey.png").1.contains("cannot be recorded as a clip"));
}

#[cfg(target_os = "linux")]
#[test]
fn what_was_recorded_until_ctrl_c_is_kept_and_a_disk_that_is_full_is_said() {
    let (folder, Some(video)) = (Scratch::new(), media("single_face.mp4")) else { return };
    fs::create_dir_all(folder.path("recordings")).unwrap();
    // A folder in which nothing can be made.
    std::os::unix::fs::symlink("/proc", folder.path("full")).unwrap();
    let record = format!("record --input {} --label anger", video.display());
    let (success, said) = run(&folder, &format!("{record} --into full/sys"));
    assert!(!success && said.contains("cannot be made") && said.contains("--into"), "{said}");
    assert_eq!(said.trim_end().lines().count(), 2, "{said}");
    // A stream that never ends: a pipe into which a video is fed at the pace at which it was filmed.
    let pipe = folder.path("live.ts");
    let make = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(make.success());
    let mut feeder = std::process::Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y", "-re", "-stream_loop", "-1", "-i"])
        .arg(&video)
        .args(["-an", "-c:v", "mpeg2video", "-f", "mpegts"])
        .arg(&pipe)
        .spawn()
        .unwrap();
    let mut recorder = std::process::Command::new(env!("CARGO_BIN_EXE_lanet-live"))
        .current_dir(folder.path(""))
        .args(["record", "--input", "live.ts", "--label", "anger"])
        .spawn()
        .unwrap();
    std::thread::sleep(std::time::Duration::from_secs(4));
    let interrupt = std::process::Command::new("kill").args(["-INT", &recorder.id().to_string()]).status();
    assert!(interrupt.unwrap().success());
    let code = recorder.wait().unwrap().code();
    let _ = feeder.kill();
    let _ = feeder.wait();
    assert_eq!(code, Some(130));
    let data = Dataset::open(&folder.path("recordings")).unwrap();
    assert!(data.entries.len() == 1 && frame_times(&data.entries[0].path).len() > 5);
    // Nothing half-written is left.
    let left = fs::read_dir(folder.path("recordings/anger")).unwrap().count();
    assert_eq!(left, 2);
}

#[test]
fn clips_in_folders_and_tables_are_evaluated_and_those_of_no_use_are_named() {
    let folder = Scratch::new();
    let (Some(face), Some(faces)) = (media("single_face.jpg"), media("multi_face.jpg")) else { return };
    still(&face, 2.0, &folder.path("clips/happiness/a.mp4"));
    still(&face, 2.0, &folder.path("clips/anger/b.mkv"));
    still(&faces, 1.0, &folder.path("clips/anger/five.mp4"));
    fs::create_dir_all(folder.path("clips/joy")).unwrap();
    fs::write(folder.path("clips/anger/broken.mp4"), "no video").unwrap();
    fs::write(folder.path("clips/anger/empty.mp4"), "").unwrap();
    fs::copy(folder.path("clips/anger/b.mkv"), folder.path("clips/anger/.hidden.part-1.mp4")).unwrap();
    paint(&folder.path("grey.png"), 320, 240);
    still(&folder.path("grey.png"), 1.0, &folder.path("clips/anger/grey.mp4"));
    let said = done(&folder, "evaluate --data clips --faces faces.csv");
    for part in [
        "five.mp4: 5 of the 5 frames looked at show more than one face",
        "--face largest",
        "broken.mp4",
        "empty.mp4' is empty",
        "grey.mp4: none of the 5 frames",
        "folder joy: no expression is called 'joy'",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert!(!said.contains("hidden") && said.contains("images      12, 0 of them without a face"), "{said}");
    let faces = fs::read_to_string(folder.path("faces.csv")).unwrap();
    assert!(faces.contains("clips/happiness/a.mp4@0.200,happiness,"), "{faces}");
    for (which, images) in [("largest", 17), ("2", 5), ("6", 0)] {
        let (_, said) = run(&folder, &format!("evaluate --data clips --face {which}"));
        assert!(said.contains(&format!("images      {images},")) || images == 0, "{which}: {said}");
        assert_eq!(
            said.contains("a.mp4: none of the 6 frames looked at shows the face; choose another --face"),
            which != "largest"
        );
    }
    assert!(run(&folder, "evaluate --data clips --face 0").1.contains("says no face"));

    // Half of a clip is used, and that it is half is said.
    let half = folder.path("half/happiness/half.mkv");
    fs::create_dir_all(half.parent().unwrap()).unwrap();
    ffmpeg(&format!("-loop 1 -framerate 10 -t 4 -i {} -vf scale=320:-2 -c:v mjpeg", face.display()), &half);
    let bytes = fs::read(&half).unwrap();
    fs::write(&half, &bytes[..bytes.len() / 2]).unwrap();
    let said = done(&folder, "evaluate --data half");
    assert!(said.contains("half.mkv' is cut short"), "{said}");

    // Pieces of clips, people, and pictures beside them.
    let table = "path,label,person,start,end\nclips/happiness/a.mp4,happiness,anna,0.5,1\n\
                 clips/anger/b.mkv,anger,bea,1.2,\nclips/anger/b.mkv,anger,bea,1,0.5\nface.jpg,happiness,anna,,\n\
                 face.jpg,fear,anna,1,2\nclips/anger/b.mkv,anger,bea,-1,\nclips/anger/b.mkv,anger,bea,9,\n";
    fs::write(folder.path("labels.csv"), table).unwrap();
    fs::copy(&face, folder.path("face.jpg")).unwrap();
    let said = done(&folder, "evaluate --data labels.csv --faces f.csv");
    for part in [
        "line 4: it ends before it begins",
        "line 6: only a clip has a start",
        "line 7: '-1' is no time",
        "before the start at 9.00 s",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let faces = fs::read_to_string(folder.path("f.csv")).unwrap();
    let times: Vec<&str> =
        faces.lines().filter_map(|line| line.split_once('@')?.1.split(',').next()).collect();
    assert_eq!(
        times,
        ["0.500", "0.600", "0.700", "0.800", "0.900", "1.300", "1.400", "1.600", "1.800", "1.900"]
    );
    let said = done(&folder, "evaluate --data labels.csv --person anna");
    assert!(said.contains("images      6,"), "{said}");
    assert!(run(&folder, "evaluate --data labels.csv --person cleo").1.contains("they know anna, bea"));
}

#[test]
fn a_minute_of_clips_is_learnt_as_a_change_of_the_net_inside_and_resumed() {
    let (folder, Some(face), Some(other)) =
        (Scratch::new(), media("single_face.jpg"), media("15-f13-anc-ph.jpg"))
    else {
        return;
    };
    let labels = ["anger", "contempt"];
    for (label, picture) in labels.iter().zip([&face, &other]) {
        for n in 0..2 {
            still(picture, 2.0, &folder.path(&format!("recordings/anna/{label}/{n}.mp4")));
        }
    }
    let train = "train --data recordings --epochs 8 --output";
    let said = done(&folder, &format!("{train} one"));
    assert!(
        said.contains("train: 12 faces, 0 of them unaligned") && said.contains("valid: 12 faces"),
        "{said}"
    );
    let rest =
        "train: what no face shows is told as before: neutral, happiness, surprise, sadness, disgust, fear";
    assert!(said.contains(rest) && said.contains("as it starts: 0."), "{said}");
    let said = done(&folder, &format!("{train} one --resume"));
    assert!(said.contains("one/best: epoch"), "{said}");
    let card = fs::read_to_string(folder.path("one/best/card.toml")).unwrap();
    assert!(card.contains("classifier adapted to recordings, labels: votes; before: Backbone: "), "{card}");
    // Learnt on top of what was learnt, the same each time.
    let again = "train --data recordings --person anna --epochs 2 --start one/best --lde on --output";
    done(&folder, &format!("{again} two"));
    done(&folder, &format!("{again} three"));
    let weights = |run: &str| fs::read(folder.path(run).join("best/weights.safetensors")).unwrap();
    assert_eq!(weights("two"), weights("three"));
    // One clip of each: nothing is kept back, and the last epoch is the best.
    for label in labels {
        fs::remove_file(folder.path(&format!("recordings/anna/{label}/1.mp4"))).unwrap();
    }
    let said = done(&folder, &format!("{train} four"));
    assert!(said.contains("nothing is kept back") && said.contains("four/best: epoch 8"), "{said}");
    for (arguments, expected) in [
        ("--person bea", "the data do not show 'bea'"),
        ("--labels fer2013", "only the column 'label' counts"),
        ("--adapt on --start facemesh", "tells no expressions"),
        ("--adapt on --layers 5", "cannot be adapted"),
        ("--adapt on --freeze 3", "--freeze with a number of stages"),
    ] {
        let (success, said) = run(&folder, &format!("{train} none {arguments}"));
        assert!(!success && said.contains(expected), "{arguments}: {said}");
        assert!(!folder.path("none").exists());
    }
    fs::remove_dir_all(folder.path("recordings/anna/contempt")).unwrap();
    let (success, said) = run(&folder, &format!("{train} none"));
    assert!(!success && said.contains("the data show anger only"), "{said}");
    fs::rename(folder.path("recordings/anna/anger"), folder.path("recordings/anna/neutral")).unwrap();
    let (_, said) = run(&folder, &format!("{train} none"));
    assert!(said.contains("neutral profile"), "{said}");
    // Three frames in all.
    fs::remove_dir_all(folder.path("recordings")).unwrap();
    still(&face, 0.2, &folder.path("recordings/anger/0.mp4"));
    still(&other, 0.1, &folder.path("recordings/fear/0.mp4"));
    let (success, said) = run(&folder, &format!("{train} none"));
    assert!(!success && said.contains("3 faces in all are too few"), "{said}");
}

#[test]
fn a_clip_with_a_wrong_label_is_found_and_its_correction_is_learnt() {
    let (folder, Some(face), Some(other)) =
        (Scratch::new(), media("single_face.jpg"), media("15-f13-anc-ph.jpg"))
    else {
        return;
    };
    for n in 0..3 {
        still(&face, 1.0 + 0.2 * f64::from(n), &folder.path(&format!("data/anna/happiness/{n}.mp4")));
        still(&other, 1.0 + 0.2 * f64::from(n), &folder.path(&format!("data/anna/anger/{n}.mp4")));
    }
    fs::rename(folder.path("data/anna/anger/2.mp4"), folder.path("data/anna/happiness/wrong.mp4")).unwrap();
    let said = done(&folder, "audit --data data --output out --probabilities told.csv");
    assert!(said.contains("6 labels judged, 1 of them doubtful, the first 1 on the page"), "{said}");
    let table = fs::read_to_string(folder.path("out/audit.csv")).unwrap();
    let first: Vec<&str> = table.lines().nth(1).unwrap().split(',').collect();
    assert_eq!(first[..5], ["anna/happiness/wrong.mp4", "", "", "happiness", "anger"], "{table}");
    // The face that is shown is that of a moment of the clip.
    assert!(first[6] == "1" && (0.0..1.4).contains(&first[7].parse::<f64>().unwrap()), "{table}");
    let page = fs::read_to_string(folder.path("out/audit.html")).unwrap();
    assert!(page.contains(&format!("\"moment\":\"{}\"", first[7])) && page.contains("wrong.mp4"));
    let told = fs::read_to_string(folder.path("told.csv")).unwrap();
    assert!(told.contains("anna/happiness/wrong.mp4@") && told.lines().count() > 30, "{told}");

    fs::write(folder.path("right.csv"), "path,start,end,label\nanna/happiness/wrong.mp4,,,anger\n").unwrap();
    let said = done(&folder, "audit --data data --output out -y --corrections right.csv");
    assert!(said.contains("6 labels judged, 0 of them doubtful"), "{said}");
    done(&folder, "train --data data --person anna --corrections right.csv --epochs 2 --output run");
    let card = fs::read_to_string(folder.path("run/best/card.toml")).unwrap();
    assert!(card.contains("1 of them corrected"), "{card}");

    // Pieces by a table: they are named by their beginnings and ends, and those of a clip stay in one part.
    let mut lines = vec!["path,label,person,start,end".to_owned()];
    for (n, label) in [(0, "happiness"), (1, "happiness"), (2, "happiness"), (0, "anger"), (1, "anger")] {
        let person = if n == 0 { "anna" } else { "bea" };
        lines.push(format!("data/anna/{label}/{n}.mp4,{label},{person},,0.6"));
        lines.push(format!("data/anna/{label}/{n}.mp4,{label},{person},0.6,"));
    }
    lines.push("data/anna/happiness/wrong.mp4,happiness,bea,0.5,1.2".to_owned());
    fs::write(folder.path("labels.csv"), lines.join("\n")).unwrap();
    let said = done(&folder, "audit --data labels.csv --output pieces");
    assert!(said.contains("11 labels judged, 1 of them doubtful"), "{said}");
    let table = fs::read_to_string(folder.path("pieces/audit.csv")).unwrap();
    let expected = "data/anna/happiness/wrong.mp4,0.5,1.2,happiness,anger,";
    assert!(table.lines().nth(1).unwrap().starts_with(expected), "{table}");
    assert!(table.contains("data/anna/anger/0.mp4,,0.6,anger,anger,"), "{table}");

    for (arguments, expected) in [
        ("--data labels.csv --person cleo", "they know anna, bea"),
        ("--data labels.csv --labels person", "of clips only the column 'label' counts"),
        ("--data data --corrections gone.csv", "name 'anna/gone.mp4'"),
        ("--data data --face 7", "can be used"),
    ] {
        fs::write(folder.path("gone.csv"), "path,label\nanna/gone.mp4,anger\n").unwrap();
        let (success, said) = run(&folder, &format!("audit --output none {arguments}"));
        assert!(!success && said.contains(expected), "{arguments}: {said}");
        assert!(!folder.path("none/audit.csv").exists());
    }
}
