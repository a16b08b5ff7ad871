//! The order of the house: who may use whom, and what is named where.

use std::fs;
use std::path::{Path, PathBuf};

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(sources(&path));
        } else if path.extension().is_some_and(|e| e == "rs") {
            files.push(path);
        }
    }
    files
}

fn src() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// A file's code: without comments, and without the unit tests at its end.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.split("#[cfg(test)]\nmod tests").next().unwrap();
    code.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// The first part of a file's path below `src`: its module, or the file of the program.
fn module(path: &Path) -> String {
    let first = path.strip_prefix(src()).unwrap().components().next().unwrap();
    first.as_os_str().to_string_lossy().trim_end_matches(".rs").to_owned()
}

fn is_program(path: &Path) -> bool {
    ["main", "config", "commands"].contains(&module(path).as_str())
}

#[test]
fn a_module_uses_only_what_is_listed_above_it() {
    let lib = fs::read_to_string(src().join("lib.rs")).unwrap();
    let order: Vec<&str> =
        lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    assert!(order.len() > 10, "the list of modules was not found");
    let files: Vec<_> = sources(&src()).into_iter().filter(|path| !is_program(path)).collect();
    assert!(files.len() >= order.len());
    for path in files {
        // A list would hide what it names from the search below.
        assert!(!code(&path).contains("use crate::{"), "{} uses a list", path.display());
        let own = module(&path);
        let Some(place) = order.iter().position(|name| *name == own) else { continue };
        for (later, name) in order.iter().enumerate() {
            if later > place {
                let used = ["::", ";", " as "]
                    .iter()
                    .any(|end| code(&path).contains(&format!("crate::{name}{end}")));
                assert!(!used, "{} uses {name}, which comes after it", path.display());
            }
        }
    }
}

#[test]
fn foreign_libraries_are_named_in_their_place_only() {
    let places = [
        ("ab_glyph", &["canvas"][..]),
        ("ffmpeg_next", &["video"]),
        ("nokhwa", &["camera"]),
        ("opencv", &["video"]),
        ("softbuffer", &["window"]),
        ("winit", &["window"]),
    ];
    for (library, places) in places {
        for path in sources(&src()) {
            let named = code(&path).contains(&format!("{library}::"));
            assert!(!named || places.contains(&module(&path).as_str()), "{} names {library}", path.display());
        }
    }
}

#[test]
fn the_library_neither_prints_nor_exits() {
    for path in sources(&src()).into_iter().filter(|path| !is_program(path)) {
        for word in ["println!", "eprintln!", "print!(", "process::exit", "dbg!", "todo!", "unimplemented!"] {
            assert!(!code(&path).contains(word), "{} has {word}", path.display());
        }
    }
}

#[test]
fn every_file_says_what_it_is_for() {
    for path in sources(&src()) {
        assert!(fs::read_to_string(&path).unwrap().starts_with("//! "), "{}", path.display());
    }
}
