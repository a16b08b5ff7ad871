//! Profiles of persons, as a user meets them.

use std::fs;

use crate::program::{lanet_live, media};
use crate::scratch::Scratch;

/// What the program says on standard error, and how it ended.
fn said(folder: &Scratch, arguments: &str) -> (Option<i32>, String) {
    let output = lanet_live(folder, arguments);
    (output.status.code(), String::from_utf8_lossy(&output.stderr).trim_end().to_owned())
}

#[test]
fn a_neutral_is_taken_from_a_video_and_a_picture_and_applied() {
    let (Some(clip), Some(picture)) = (media("single_face.mp4"), media("single_face.jpg")) else { return };
    let (clip, picture) = (clip.display(), picture.display());
    let folder = Scratch::new();
    let (code, line) = said(&folder, &format!("calibrate --person anna --neutral --input {clip}"));
    assert_eq!(code, Some(0), "{line}");
    assert!(line.starts_with("calibration/anna/neutral.toml: from ") && !line.contains('\n'), "{line}");
    let read = |options: &str| {
        let output = lanet_live(&folder, &format!("--input {picture} --results - -q {options}"));
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(read("--person anna").trim_end().ends_with(r#","baseline":true}"#));
    assert!(!read("").contains("baseline"));
    let (code, line) = said(&folder, &format!("--input {picture} --results a.csv -q --person anna"));
    assert_eq!(code, Some(0), "{line}");
    let table = fs::read_to_string(folder.path("a.csv")).unwrap();
    assert!(table.starts_with("source,") && table.contains(",unsure,baseline\n"), "{table}");
    // Replaced without asking, and read against its own neutral the picture cannot be far from neutral.
    let (code, line) = said(&folder, &format!("calibrate --person anna --neutral --input {picture}"));
    assert!(code == Some(0) && line.contains("from 1 frames"), "{line}");
    assert!(line.contains("is told as neutral"), "{line}");
}

#[test]
fn what_a_profile_cannot_be_is_said_in_one_line() {
    let folder = Scratch::new();
    let one_line = |arguments: &str, code, words: &str| {
        let (ended, line) = said(&folder, arguments);
        assert_eq!(ended, Some(code), "{arguments}: {line}");
        assert!(line.contains(words) && !line.contains('\n'), "{arguments}: {line}");
    };
    one_line("calibrate", 2, "nothing to calibrate");
    one_line("calibrate --person anna", 2, "--neutral");
    one_line("calibrate --person anna --neutral", 2, "nothing to watch");
    for name in ["../anna", "a/b", "..", "/"] {
        one_line(&format!("calibrate --person {name} --neutral --input a.mp4"), 2, "cannot be called");
        one_line(&format!("--input a.mp4 --no-window --person {name}"), 2, "cannot be called");
    }
    one_line("calibrate --person= --neutral --input a.mp4", 2, "cannot be called ''");
    one_line("calibrate --person anna --neutral --face no --input a.mp4", 2, "says no face");
    for start in ["nan", "inf", "1e300"] {
        one_line(
            &format!("calibrate --person anna --neutral --input a.mp4 --start {start}"),
            2,
            "seconds, 0 or more",
        );
    }
    one_line("calibrate --person anna --neutral --input a.mp4 --output c.toml", 2, "--output");
    one_line("calibrate --person anna --neutral --input a.mp4 --device cuda:99", 1, "");
    let (Some(empty), Some(many), Some(one)) =
        (media("no_face.mp4"), media("multi_face.jpg"), media("single_face.jpg"))
    else {
        return;
    };
    let (empty, many, one) = (empty.display(), many.display(), one.display());
    one_line(&format!("--input {one} --no-window --person anna"), 1, "nothing is known of 'anna'");
    let take = "calibrate --person anna --neutral --input";
    one_line(&format!("{take} {empty}"), 1, "shows the face; take it again");
    one_line(&format!("{take} {many}"), 1, "more than one face; say which is meant");
    assert!(folder.names().is_empty());
    one_line(&format!("{take} {many} --face 2"), 0, "from 1 frames");
    let file = folder.path("calibration/anna/neutral.toml");
    let text = fs::read_to_string(&file).unwrap().replace("fingerprint = \"", "fingerprint = \"0");
    fs::write(&file, text).unwrap();
    one_line(&format!("--input {one} --no-window --person anna"), 1, "taken with another model");
    fs::write(&file, "nonsense").unwrap();
    one_line(&format!("--input {one} --no-window --person anna"), 1, "cannot be used");
}
