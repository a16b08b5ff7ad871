//! Several inputs in one run.

use std::fs;
use std::process::{Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::ffmpeg::ffmpeg;
use crate::program::{command, interrupt, lanet_live, paint};
use crate::scratch::Scratch;

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Clips of 5, 4 and 3 frames, and a file that is none.
fn corpus() -> Scratch {
    let folder = Scratch::new();
    fs::create_dir(folder.path("sub")).unwrap();
    for (name, seconds) in [("a.mp4", 0.5), ("sub/a.mp4", 0.4), ("sub/b.mp4", 0.3)] {
        ffmpeg(&format!("-f lavfi -i testsrc2=s=64x64:r=10:d={seconds}"), &folder.path(name));
    }
    fs::write(folder.path("text.mp4"), "no video").unwrap();
    folder
}

#[test]
fn each_has_its_file_and_what_fails_is_in_a_table() {
    let folder = corpus();
    let output = lanet_live(
        &folder,
        "--input a.mp4 text.mp4 sub/*.mp4 none.mp4 --results out/ --results-format jsonl --timeline out --output drawn/",
    );
    let said = said(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    let failed: Vec<_> = said.lines().filter(|line| line.starts_with("failed: ")).collect();
    assert!(
        failed.len() == 2 && failed[0].contains("text.mp4  'text.mp4' cannot be read as a video"),
        "{said}"
    );
    assert!(failed[1].contains("none.mp4  there is no file or folder 'none.mp4'"), "{said}");
    assert!(said.contains("read 3 of 5 inputs, 12 frames in"), "{said}");
    assert_eq!(
        said.lines().filter(|line| line.starts_with("lanet-live: 2 of 5 inputs failed;")).count(),
        1,
        "{said}"
    );
    for name in ["a.mp4", "sub/a.mp4", "sub/b.mp4"] {
        assert!(lanet_live(&folder, &format!("--input {name} --results alone.jsonl -y")).status.success());
        let alone = fs::read_to_string(folder.path("alone.jsonl")).unwrap();
        assert_eq!(fs::read_to_string(folder.path("out").join(format!("{name}.jsonl"))).unwrap(), alone);
        assert!(
            folder.path("out").join(format!("{name}.png")).exists()
                && folder.path("drawn").join(name).exists()
        );
    }
    let mut names: Vec<_> =
        fs::read_dir(folder.path("out")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["_lanet-live.json", "a.mp4.jsonl", "a.mp4.png", "sub"]);
}

#[test]
fn what_is_done_is_skipped_and_other_settings_are_refused() {
    let folder = corpus();
    // As some editors write it.
    fs::write(folder.path("list.txt"), "\u{feff}a.mp4\n\nsub/a.mp4\r\nsub/b.mp4\n").unwrap();
    let run = |more: &str| lanet_live(&folder, &format!("--input-list list.txt --results out {more}"));
    let first = run("");
    assert!(
        first.status.success() && said(&first).contains("read 3 of 3 inputs, 12 frames"),
        "{}",
        said(&first)
    );
    let place = folder.path("out/sub/a.mp4.parquet");
    let bytes = fs::read(&place).unwrap();
    let again = run("");
    assert!(again.status.code() == Some(1) && said(&again).contains("--resume"), "{}", said(&again));
    fs::remove_file(&place).unwrap();
    let resumed = run("--resume");
    assert!(resumed.status.success(), "{}", said(&resumed));
    assert!(
        said(&resumed).contains("read 1 of 3 inputs, 4 frames")
            && said(&resumed).contains("2 were done before")
    );
    assert_eq!(fs::read(&place).unwrap().len(), bytes.len());
    let other = run("--resume --smoothing 0.5");
    assert!(
        other.status.code() == Some(1) && said(&other).contains("smoothing was null and is 0.5"),
        "{}",
        said(&other)
    );
    let anew = run("-y --smoothing 0.5");
    assert!(anew.status.success() && said(&anew).contains("read 3 of 3 inputs"), "{}", said(&anew));
    assert!(run("--resume --smoothing 0.5").status.success());
    // What is not replaced would count as made with what is asked for now.
    let part = lanet_live(&folder, "--input a.mp4 --results out -y");
    let line = said(&part);
    assert!(part.status.code() == Some(1) && line.contains("was made with other settings"), "{line}");
    fs::write(folder.path("out/_lanet-live.json"), "{").unwrap();
    let line = said(&run("--resume"));
    assert!(line.contains("does not say what was asked for"), "{line}");
}

#[test]
fn all_rows_go_to_standard_output_and_pictures_into_their_folder() {
    let folder = corpus();
    fs::create_dir(folder.path("photos")).unwrap();
    paint(&folder.path("photos/1.png"), 40, 30);
    paint(&folder.path("photos/2.png"), 40, 30);
    paint(&folder.path("1.png"), 40, 30);
    let output = lanet_live(&folder, "--input photos a.mp4 1.png --results - --output drawn/");
    assert!(output.status.success(), "{}", said(&output));
    let text = String::from_utf8(output.stdout).unwrap();
    let names = ["photos/1.png", "photos/2.png", "1.png", "a.mp4"];
    let sources = names.map(|name| text.matches(&format!("\"{name}\"")).count());
    assert_eq!((sources, text.lines().count()), ([1, 1, 1, 5], 8), "{text}");
    assert!(names.iter().all(|name| folder.path("drawn").join(name).exists()));
    // A folder that is named by a dot has a name all the same; pictures become no video.
    let here = command(&folder)
        .current_dir(folder.path("photos"))
        .args(["--input", ".", "--results", "../out/"])
        .output();
    assert!(here.unwrap().status.success() && folder.path("out/photos.parquet").exists());
    for file in ["marked.mp4", "a.mp4"] {
        let output = lanet_live(&folder, &format!("--input photos --output {file}"));
        assert!(
            output.status.code() == Some(2) && said(&output).contains("is no folder"),
            "{}",
            said(&output)
        );
    }
    assert!(!folder.path("marked.mp4").exists());
}

#[test]
fn an_interrupt_leaves_whole_files_only() {
    let folder = corpus();
    ffmpeg("-f lavfi -i testsrc2=s=640x360:r=25:d=60", &folder.path("long.mp4"));
    let child = command(&folder)
        .args("--input a.mp4 long.mp4 sub/a.mp4 --results out/".split(' '))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while !folder.path("out/a.mp4.parquet").exists() && begun.elapsed() < Duration::from_secs(60) {
        thread::sleep(Duration::from_millis(5));
    }
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", said(&output));
    let mut names: Vec<_> =
        fs::read_dir(folder.path("out")).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["_lanet-live.json", "a.mp4.parquet"]);
}

#[test]
fn what_cannot_be_is_refused_in_one_line_before_anything_is_read() {
    let folder = corpus();
    fs::write(folder.path("empty.txt"), "\n").unwrap();
    for (arguments, code, words) in [
        ("--input a.mp4 sub/a.mp4", 2, "add --results DIR/"),
        ("--input a.mp4 sub/a.mp4 --results all.csv", 2, "'all.csv' is a file's name"),
        ("--input a.mp4 ./a.mp4 --results out", 2, "'out/a.mp4.parquet' would be written twice"),
        ("--input a.mp4 sub/a.mp4 --output .", 2, "would be both read and written"),
        ("--input a.mp4 sub/a.mp4 --results out --serve", 2, "neither shown nor served"),
        ("--input a.mp4 --results a.mp4/", 1, "cannot be made"),
        ("--input-list empty.txt --results out", 1, "has no inputs in it"),
        ("--input-list none.txt --results out", 1, "cannot read the list 'none.txt'"),
        ("--input a.mp4 --results out/ --resume -y", 2, "--overwrite"),
        ("--camera 0 --input-list empty.txt", 2, "--input-list"),
    ] {
        let output = lanet_live(&folder, arguments);
        let said = said(&output);
        assert_eq!((output.status.code(), said.lines().count()), (Some(code), 1), "{arguments}: {said}");
        assert!(said.contains(words), "{arguments}: {said}");
    }
    assert!(!folder.path("out").exists());
    let address = lanet_live(&folder, "--input a.mp4 rtsp://127.0.0.1:1/x --results out");
    assert!(said(&address).contains("an address is read alone"), "{}", said(&address));
}
