//! What the program says when it is used wrongly or meets bad input: one line on standard error, the right exit
//! code, and nothing left behind.

use std::fmt::Write;
use std::fs;

use crate::program::{lanet_live, paint};
use crate::scratch::Scratch;

/// Runs the program in a folder and tells the exit code and what it said, with the folder's name taken out.
fn said(folder: &Scratch, arguments: &str) -> String {
    let output = lanet_live(folder, arguments);
    let mut text = format!("$ lanet-live {arguments}\n[{}] ", output.status.code().unwrap_or(-1));
    let line = String::from_utf8_lossy(&output.stderr);
    // Which cameras there are is this machine's business.
    let told = if line.contains("there is no camera") { line.split(';').next() } else { None };
    text += told.unwrap_or(&line).trim_end();
    assert!(output.stdout.is_empty(), "{arguments} wrote to standard output");
    text.replace(&folder.path("").display().to_string(), "FOLDER") + "\n"
}

fn all(folder: &Scratch, commands: &[&str]) -> String {
    let before = folder.names();
    let mut text = String::new();
    for command in commands {
        let said = said(folder, command);
        assert_eq!(said.trim_end().lines().count(), 2, "not one line: {said}");
        let _ = writeln!(text, "{said}");
    }
    assert_eq!(folder.names(), before, "something was left behind");
    text
}

#[test]
fn wrong_use_is_said_in_one_line() {
    let folder = Scratch::new();
    paint(&folder.path("picture.png"), 64, 48);
    #[cfg(unix)]
    std::os::unix::fs::symlink("/dev/zero", folder.path("endless.toml")).unwrap();
    fs::write(folder.path("typo.toml"), "smothing = 1\n").unwrap();
    fs::write(folder.path("broken.toml"), "smoothing = \n").unwrap();
    fs::write(folder.path("type.toml"), "smoothing = 'much'\n").unwrap();
    fs::write(folder.path("negative.toml"), "smoothing = -1\n").unwrap();
    fs::write(folder.path("list.toml"), "input = ['a.mp4', 'b.mp4']\n").unwrap();
    insta::assert_snapshot!(all(
        &folder,
        &[
            "--nonsense",
            "--input",
            "--frames 0 --input a.mp4",
            "--smoothing -1 --input a.mp4",
            "--camera 0 --input a.mp4",
            "--camera 0 --start 3",
            "--output a.mp4",
            "--input a.mp4 --start 5 --end 2",
            "--stats=xml --input a.mp4",
            "--config none.toml --input a.mp4",
            "--config endless.toml --input a.mp4",
            "--config typo.toml --input a.mp4",
            "--config broken.toml --input a.mp4",
            "--config type.toml --input a.mp4",
            "--config negative.toml --input a.mp4",
            "--config list.toml",
            "--device gpu --input picture.png --no-window",
            "nonsense",
            "models nonsense",
            "bench nonsense",
        ],
    ));
}

#[test]
fn bad_input_is_said_in_one_line() {
    let folder = Scratch::new();
    paint(&folder.path("picture.png"), 64, 48);
    fs::write(folder.path("empty.mp4"), "").unwrap();
    fs::write(folder.path("text.mp4"), "this is no video\n".repeat(100)).unwrap();
    fs::write(folder.path("text.png"), "this is no picture").unwrap();
    fs::create_dir(folder.path("nothing")).unwrap();
    insta::assert_snapshot!(all(
        &folder,
        &[
            "--input missing.mp4 --no-window",
            "--input missing/ --no-window",
            "--input nothing --no-window",
            "--input *.gif --no-window",
            "--input empty.mp4 --no-window",
            "--input text.mp4 --no-window",
            "--input text.png --no-window",
            "--input ftp://example.org/a.mp4 --no-window",
            "--input picture.png --results missing/a.jsonl",
            "--input picture.png --results a.txt",
            "--input picture.png --output picture.png",
            "--input picture.png --output picture.png -y",
            "--input picture.png --output . -y",
            "--input *.png --output . -y",
            "--input picture.png --timeline picture.png -y",
            "--input picture.png --timeline a.pdf",
            "--input picture.png --output a.gif",
            "--input picture.png --timeline missing/a.png",
            "--input picture.png --results picture.png",
            "--input picture.png --no-window --model missing",
            "--input picture.png --no-window --model nothing",
            "--input picture.png --no-window --device cuda:0",
            "--camera 7 --no-window",
            "--camera nobody --no-window",
        ],
    ));
}
