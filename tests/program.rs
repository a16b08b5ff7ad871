//! The program as a user runs it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use lanet_live::frame::Image;
use lanet_live::images;

use crate::ffmpeg::ffprobe;
use crate::scratch::{Scratch, skipped};

/// Writes a grey picture.
pub fn paint(path: &Path, width: usize, height: usize) {
    images::write(path, &Image::filled(width, height, [90; 3]), false).unwrap();
}

/// A sample file that `scripts/media.py` fetches; `None`, with a word on why, where it was not fetched.
pub fn media(name: &str) -> Option<PathBuf> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/media").join(name);
    if !path.exists() {
        skipped(&format!("{} is not there, run 'make media'", path.display()));
        return None;
    }
    Some(path)
}

/// Runs the program in a folder, without a display; arguments are divided at spaces.
pub fn lanet_live(folder: &Scratch, arguments: &str) -> Output {
    command(folder).args(arguments.split_whitespace()).output().unwrap()
}

/// The program in a folder, without a display.
pub fn command(folder: &Scratch) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lanet-live"));
    command
        .current_dir(folder.path(""))
        .env_remove("DISPLAY")
        .env_remove("WAYLAND_DISPLAY")
        .stdin(Stdio::null());
    command
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn lines(output: &Output) -> Vec<serde_json::Value> {
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn bare_it_shows_help_and_names_its_options() {
    let folder = Scratch::new();
    let bare = lanet_live(&folder, "");
    assert!(bare.status.success() && text(&bare.stdout).contains("--camera"));
    for command in ["--help", "--version", "models", "models facemesh", "devices", "completions bash", "man"]
    {
        let output = lanet_live(&folder, command);
        assert!(output.status.success() && !output.stdout.is_empty(), "{command}: {}", text(&output.stderr));
    }
}

#[cfg(target_os = "linux")]
#[test]
fn without_a_display_one_line_says_so() {
    let folder = Scratch::new();
    paint(&folder.path("grey.png"), 64, 64);
    for (name, value) in
        [("DISPLAY", ""), ("DISPLAY", ":6543"), ("DISPLAY", "words"), ("WAYLAND_DISPLAY", "none")]
    {
        let output = command(&folder).args(["--input", "grey.png"]).env(name, value).output().unwrap();
        let said = text(&output.stderr);
        assert_eq!((output.status.code(), said.lines().count()), (Some(1), 1), "{name}={value} {said}");
        assert!(said.contains("there is no display") && said.contains("--no-window"), "{said}");
    }
}

#[test]
fn a_picture_without_a_face_has_a_line_that_says_so() {
    let folder = Scratch::new();
    paint(&folder.path("grey.png"), 200, 150);
    let rows = lines(&lanet_live(&folder, "--input grey.png --results -"));
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0]["v"], &rows[0]["frame"]), (&1.into(), &0.into()));
    assert!(rows[0]["track"].is_null() && rows[0]["source"] == "grey.png");
}

#[test]
fn five_faces_most_of_them_happy() {
    let (folder, Some(picture)) = (Scratch::new(), media("multi_face.jpg")) else { return };
    let rows = lines(&lanet_live(
        &folder,
        &format!("--input {} --results - --output marked.png", picture.display()),
    ));
    let happy = rows.iter().filter(|row| row["expression"] == "happiness").count();
    // Four of them laugh; the fifth hardly smiles.
    assert!(rows.len() == 5 && happy >= 4, "{rows:#?}");
    assert!(folder.path("marked.png").exists());
}

#[test]
fn the_sample_clip_goes_from_sadness_to_happiness() {
    let (folder, Some(clip)) = (Scratch::new(), media("WolfgangLanger_Pexels.mp4")) else { return };
    let command =
        format!("--input {} --output o.mp4 --results r.csv --timeline t.png --stats=json", clip.display());
    let output = lanet_live(&folder, &command);
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let face = said.lines().find(|line| line.starts_with("face 1:")).unwrap_or_else(|| panic!("{said}"));
    let (sadness, happiness) = (face.find("sadness 0:00").unwrap(), face.find("happiness 0:").unwrap());
    assert!(sadness < happiness, "{face}");
    assert!(["o.mp4", "r.csv", "t.png"].iter().all(|name| folder.path(name).exists()));
    let stats: serde_json::Value = serde_json::from_str(said.lines().last().unwrap()).unwrap();
    assert_eq!((&stats["frames"], &stats["dropped"]), (&472.into(), &0.into()));
    // Probe what was written: all frames, and the sound.
    let probed =
        ffprobe("-count_frames -show_entries stream=codec_type,nb_read_frames", &folder.path("o.mp4"));
    assert!(probed[0] == "video,472" && probed[1].starts_with("audio,"), "{probed:?}");
}

#[test]
fn start_and_end_keep_the_numbers_of_the_input() {
    let (folder, Some(clip)) = (Scratch::new(), media("WolfgangLanger_Pexels.mp4")) else { return };
    let whole = lines(&lanet_live(&folder, &format!("--input {} --results - --end 2.2", clip.display())));
    let part =
        lines(&lanet_live(&folder, &format!("--input {} --results - --start 2 --end 2.2", clip.display())));
    let times = |rows: &[serde_json::Value]| -> Vec<_> {
        rows.iter().map(|row| (row["frame"].as_u64().unwrap(), row["time"].as_f64().unwrap())).collect()
    };
    let expected: Vec<_> = times(&whole).into_iter().filter(|(_, time)| *time >= 2.0).collect();
    assert!(!expected.is_empty());
    assert_eq!(times(&part), expected);
    // What is said does not hang on where it begins, or hardly: a mesh that lies a tenth of a pixel further moves it a little.
    let said = |rows: &[serde_json::Value]| -> Vec<f64> {
        let rows = rows.iter().filter(|row| row["time"].as_f64().unwrap() >= 2.0);
        rows.map(|row| row["probabilities"]["sadness"].as_f64().unwrap()).collect()
    };
    let apart = said(&whole).iter().zip(said(&part)).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart < 0.06, "{apart}");
    let late = lanet_live(&folder, &format!("--input {} --results - --start 20", clip.display()));
    assert!(text(&late.stderr).contains("before the start at 20.00 s"), "{}", text(&late.stderr));
}

#[test]
fn a_configuration_is_laid_under_the_options() {
    let folder = Scratch::new();
    paint(&folder.path("grey.png"), 20, 20);
    fs::write(folder.path("c.toml"), "input = 'grey.png'\nresults = 'from-file.jsonl'\nno-window = true\n")
        .unwrap();
    assert!(lanet_live(&folder, "--config c.toml --results from-flag.csv").status.success());
    assert!(folder.path("from-flag.csv").exists() && !folder.path("from-file.jsonl").exists());
    assert!(lanet_live(&folder, "--config c.toml").status.success());
    assert!(folder.path("from-file.jsonl").exists());
    // It exists now, so it is refused, and then replaced.
    assert_eq!(lanet_live(&folder, "--config c.toml").status.code(), Some(1));
    assert!(lanet_live(&folder, "--config c.toml -y").status.success());
    // Of two that exclude each other the one on the command line counts.
    fs::write(folder.path("y.toml"), "overwrite = true\n").unwrap();
    assert!(lanet_live(&folder, "--config y.toml --input grey.png --results out/ --resume").status.success());
    // Whoever names an input does not want the file's camera; a switch is a key like any other.
    fs::write(folder.path("camera.toml"), "camera = 0\nquiet = true\nsmoothing = 0\n").unwrap();
    let output = lanet_live(&folder, "--config camera.toml --smoothing 1 --input grey.png --results -");
    assert_eq!(lines(&output).len(), 1);
    assert!(output.stderr.is_empty(), "{}", text(&output.stderr));
}

#[test]
fn what_is_smoothed_is_a_course_of_time_and_not_a_heap_of_pictures() {
    let (folder, Some(one), Some(other)) =
        (Scratch::new(), media("multi_face.jpg"), media("single_face.jpg"))
    else {
        return;
    };
    fs::create_dir(folder.path("in")).unwrap();
    fs::copy(one, folder.path("in/1.jpg")).unwrap();
    fs::copy(other, folder.path("in/2.jpg")).unwrap();
    let [plain, smoothed] =
        ["0", "5"].map(|s| lines(&lanet_live(&folder, &format!("--input in --results - --smoothing {s}"))));
    assert_eq!(plain, smoothed);
}

#[test]
fn pictures_of_every_kind_are_drawn_and_none_is_lost() {
    let folder = Scratch::new();
    for name in ["a", "b", "both"] {
        fs::create_dir(folder.path(name)).unwrap();
    }
    let grey = Image::filled(40, 30, [90; 3]);
    let (rgb, size) = (grey.pixels(), (grey.width() as u32, grey.height() as u32));
    for name in ["a/1.bmp", "a/2.tiff", "a/3.webp", "a/4.png", "b/4.png"] {
        image::save_buffer(folder.path(name), rgb, size.0, size.1, image::ColorType::Rgb8).unwrap();
    }
    assert!(lanet_live(&folder, "--input a --output out").status.success());
    assert!(["1.png", "2.png", "3.png", "4.png"].iter().all(|n| folder.path("out").join(n).exists()));
    // Again, they are there; and two of one name cannot lie in one folder.
    assert_eq!(lanet_live(&folder, "--input a --output out").status.code(), Some(1));
    let output = lanet_live(&folder, "--input ?/4.png --output both");
    assert_eq!(output.status.code(), Some(2), "{}", text(&output.stderr));
    assert_eq!(fs::read_dir(folder.path("both")).unwrap().count(), 0);
}

#[test]
fn no_two_files_are_written_to_one_place() {
    let folder = Scratch::new();
    paint(&folder.path("in.png"), 40, 30);
    fs::create_dir(folder.path("out")).unwrap();
    for arguments in ["--output a.png --timeline ./a.png", "--output out --timeline out/in.png"] {
        let output = lanet_live(&folder, &format!("--input in.png -y {arguments}"));
        let said = text(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains("would be written twice"), "{said}");
    }
    assert_eq!(folder.names(), ["in.png", "out"]);
}

#[cfg(target_os = "linux")]
#[test]
fn names_need_not_be_text() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let folder = Scratch::new();
    let name = |bytes: &'static [u8]| OsStr::from_bytes(bytes);
    fs::create_dir(folder.path("in")).unwrap();
    for bytes in [&b"in/\xfe.png"[..], b"in/\xff.png"] {
        paint(&folder.path("").join(name(bytes)), 40, 30);
    }
    let run = |arguments: &[&OsStr]| command(&folder).args(arguments).output().unwrap().status.success();
    let [input, output, results] = ["--input", "--output", "--results"].map(OsStr::new);
    assert!(run(&[input, OsStr::new("in"), output, OsStr::new("out")]));
    assert_eq!(fs::read_dir(folder.path("out")).unwrap().count(), 2);
    assert!(run(&[input, name(b"in/\xff.png"), results, name(b"\xfd.jsonl")]));
    assert!(folder.path("").join(name(b"\xfd.jsonl")).exists());
}

#[test]
fn whoever_stops_reading_the_results_does_not_cut_the_video() {
    let (folder, Some(clip)) = (Scratch::new(), media("single_face.mp4")) else { return };
    let mut child = command(&folder)
        .args(["--results", "-", "--output", "o.mp4", "--input"])
        .arg(clip)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert!(child.wait().unwrap().success());
    let frames =
        ffprobe("-count_frames -select_streams v -show_entries stream=nb_read_frames", &folder.path("o.mp4"));
    assert_eq!(frames, ["72"]);
}

#[test]
fn faces_that_are_not_read_are_hidden_all_the_same() {
    let (folder, Some(picture)) = (Scratch::new(), media("multi_face.jpg")) else { return };
    let run = |more: &str| lines(&lanet_live(&folder, &format!("--input {} {more}", picture.display())));
    let faces = run("--results -");
    assert_eq!(run("--results - --blur --max-faces 1 --output hidden.png").len(), 1);
    let (seen, hidden) = (images::read(&picture).unwrap(), images::read(&folder.path("hidden.png")).unwrap());
    for face in faces {
        let side = |n: usize| face["box"][n].as_f64().unwrap() as usize;
        // In its middle, half as wide and high: away from labels.
        let (left, top, width, height) =
            (side(0) + side(2) / 4, side(1) + side(3) / 4, side(2) / 2, side(3) / 2);
        let pixels = (top..top + height).flat_map(|y| (left..left + width).map(move |x| (x, y)));
        let (count, same) = pixels.fold((0, 0), |(count, same), (x, y)| {
            (count + 1, same + usize::from(seen.bgr(x, y) == hidden.bgr(x, y)))
        });
        assert!(same * 5 < count, "{same} of {count} pixels of {face} can be seen");
    }
}

#[test]
fn a_folder_of_pictures_becomes_a_folder_of_pictures() {
    let folder = Scratch::new();
    fs::create_dir(folder.path("in")).unwrap();
    for name in ["in/2.png", "in/10.jpg"] {
        paint(&folder.path(name), 40, 30);
    }
    fs::write(folder.path("in/broken.png"), "no picture").unwrap();
    let output = lanet_live(&folder, "--input in --output out --results -");
    let sources: Vec<_> =
        lines(&output).iter().map(|row| row["source"].as_str().unwrap().to_owned()).collect();
    assert_eq!(sources, ["in/2.png", "in/10.jpg"]);
    assert!(folder.path("out/2.png").exists() && folder.path("out/10.jpg").exists());
    assert!(text(&output.stderr).contains("broken.png"));
}

#[test]
fn one_picture_that_cannot_be_written_does_not_end_a_folder() {
    let folder = Scratch::new();
    fs::create_dir(folder.path("in")).unwrap();
    let longest = format!("{}.bmp", "n".repeat(251));
    // JPEG has no room for so many columns.
    paint(&folder.path("wide.png"), 70_000, 1);
    fs::rename(folder.path("wide.png"), folder.path("in/1.jpg")).unwrap();
    paint(&folder.path("in/2.png"), 40, 30);
    fs::copy(folder.path("in/2.png"), folder.path("in").join(&longest)).unwrap();
    let output = lanet_live(&folder, "--input in --output out --results r.csv");
    assert_eq!(output.status.code(), Some(1));
    let said = text(&output.stderr);
    assert!(said.contains("cannot write 'out/1.jpg'"), "{said}");
    let drawn = |name: &str| folder.path("out").join(name).exists();
    assert!(drawn("2.png") && drawn(&longest.replace("bmp", "png")) && !drawn("1.jpg"));
    assert_eq!(fs::read_to_string(folder.path("r.csv")).unwrap().lines().count(), 4);
}

#[cfg(target_os = "linux")]
#[test]
fn names_that_are_no_text_are_told_apart() {
    use std::os::unix::ffi::OsStrExt;
    let folder = Scratch::new();
    fs::create_dir(folder.path("in")).unwrap();
    let names = [b"in/\xe8.png", b"in/\xe9.png"].map(|name| std::ffi::OsStr::from_bytes(name));
    for name in names {
        paint(&folder.path("in").with_file_name(name), 40, 30);
    }
    assert!(lanet_live(&folder, "--input in --output out").status.success());
    assert_eq!(fs::read_dir(folder.path("out")).unwrap().count(), 2);
    let alone = command(&folder).args(["--results", "-", "--input"]).arg(names[1]).output().unwrap();
    assert_eq!(lines(&alone)[0]["source"], "in/\\xE9.png");
}

#[test]
fn what_a_name_holds_does_not_reach_the_terminal() {
    let folder = Scratch::new();
    let output = command(&folder).args(["--input", "\u{1b}[2Jred\u{9b}.png"]).output().unwrap();
    let said = text(&output.stderr);
    assert!(said.contains("'\\u{1b}[2Jred\\u{9b}.png'") && !said.contains('\u{1b}'), "{said}");
}

#[test]
fn switches_can_be_taken_back_and_win_over_a_configuration() {
    let folder = Scratch::new();
    paint(&folder.path("grey.png"), 20, 20);
    fs::write(folder.path("c.toml"), "quiet = true\nno-progress = true\nno-window = true\n").unwrap();
    let said = |arguments: &str| {
        let output = lanet_live(&folder, &format!("--input grey.png --results - {arguments}"));
        assert!(output.status.success(), "{arguments}: {}", text(&output.stderr));
        !output.stderr.is_empty()
    };
    assert!(said("") && said("-v") && said("--quiet=false --no-progress=false") && !said("-q"));
    assert!(!said("--config c.toml") && said("--config c.toml -v"));
    assert!(said("--config c.toml --quiet=false") && !said("-qy"));
}

/// `nohup` starts a program so.
#[cfg(unix)]
#[test]
fn a_program_that_shall_outlive_its_terminal_does() {
    use std::io::{BufRead, BufReader};
    let folder = Scratch::new();
    fs::create_dir(folder.path("in")).unwrap();
    paint(&folder.path("in/0.png"), 20, 20);
    for n in 1..100 {
        fs::hard_link(folder.path("in/0.png"), folder.path(&format!("in/{n}.png"))).unwrap();
    }
    let mut child = Command::new("sh")
        .current_dir(folder.path(""))
        .args(["-c", "trap '' HUP; exec \"$0\" --input in --results -", env!("CARGO_BIN_EXE_lanet-live")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().is_some());
    Command::new("kill").args(["-HUP", &child.id().to_string()]).status().unwrap();
    assert_eq!(lines.count(), 99);
    assert!(child.wait().unwrap().success());
}

#[cfg(unix)]
#[test]
fn an_interrupt_keeps_what_was_finished_and_playable() {
    let (folder, Some(clip)) = (Scratch::new(), media("WolfgangLanger_Pexels.mp4")) else { return };
    let child = command(&folder)
        .args(["--output", "o.mp4", "--results", "r.jsonl", "--input"])
        .arg(clip)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // Until something of the video has been written.
    let begun = || {
        let has_content = |name: &String| fs::metadata(folder.path(name)).is_ok_and(|file| file.len() > 0);
        folder.names().iter().any(|name| name.ends_with(".mp4") && has_content(name))
    };
    let patience = Instant::now();
    while !begun() && patience.elapsed().as_secs() < 60 {
        std::thread::sleep(Duration::from_millis(20));
    }
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130), "{}", text(&output.stderr));
    let rows = fs::read_to_string(folder.path("r.jsonl")).unwrap().lines().count();
    let frames =
        ffprobe("-count_frames -select_streams v -show_entries stream=nb_read_frames", &folder.path("o.mp4"));
    assert_eq!(frames, [rows.to_string()]);
    assert!((1..472).contains(&rows));
}

#[cfg(unix)]
pub fn interrupt(child: &Child) {
    Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap();
}

#[cfg(unix)]
#[test]
fn an_interrupt_is_answered_while_a_source_is_silent() {
    // It takes the call and says nothing; without the interrupt, the program would wait for ten seconds.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/live.ts", silent.local_addr().unwrap());
    let folder = Scratch::new();
    let child = command(&folder).args(["--input", &address, "--results", "r.jsonl"]).spawn().unwrap();
    let _call = silent.accept().unwrap();
    let asked = Instant::now();
    interrupt(&child);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
    assert!(folder.names().is_empty());
}

#[cfg(unix)]
#[test]
fn an_interrupt_is_answered_while_nobody_writes_into_a_pipe() {
    let folder = Scratch::new();
    assert!(Command::new("mkfifo").arg(folder.path("pipe")).status().unwrap().success());
    let child = command(&folder).args(["--input", "pipe", "--results", "r.jsonl"]).spawn().unwrap();
    // Time enough to begin to wait; without the interrupt, the program would do so for ten seconds.
    std::thread::sleep(Duration::from_secs(3));
    let asked = Instant::now();
    interrupt(&child);
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(130));
    assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
}
