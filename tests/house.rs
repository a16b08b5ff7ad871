//! The order of the house: who may use whom, and what is named where.

use std::collections::{BTreeMap, BTreeSet};
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
    ["main", "commands"].contains(&module(path).as_str())
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

/// What a file names of this crate, each as a path from the crate's root: `crate::a::b` and `super::b`, lists as well.
/// `own` is the path of the file's module.
fn named(code: &str, own: &[String]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let words = code.match_indices("crate::").chain(code.match_indices("super::"));
    for (at, word) in words {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        if before.is_alphanumeric() || before == '_' || before == ':' {
            continue;
        }
        let mut rest = &code[at..];
        let mut base = if word == "crate::" { &own[..0] } else { own };
        while let Some(after) = rest.strip_prefix("super::") {
            (rest, base) = (after, &base[..base.len().saturating_sub(1)]);
        }
        spread(rest.strip_prefix("crate::").unwrap_or(rest), base.to_vec(), &mut found);
    }
    found
}

/// The paths that `text` begins with, `a::{b, c::d}` being two, behind `base`; gives what follows them.
fn spread<'a>(text: &'a str, mut base: Vec<String>, found: &mut Vec<Vec<String>>) -> &'a str {
    let mut text = text;
    loop {
        if let Some(list) = text.strip_prefix('{') {
            text = list.trim_start();
            while !text.is_empty() && !text.starts_with('}') {
                let length = text.len();
                text = spread(text, base.clone(), found).trim_start().trim_start_matches(',').trim_start();
                // Whatever is no list of names ends here.
                if text.len() == length {
                    return "";
                }
            }
            return text.strip_prefix('}').unwrap_or(text);
        }
        let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
        base.push(text[..end].to_owned());
        match text[end..].strip_prefix("::") {
            Some(after) => text = after,
            None => {
                found.push(base);
                return text[end..].trim_start_matches('*');
            }
        }
    }
}

/// A file's module: `kernels::learn::conv` for `src/kernels/learn/conv.rs`, `kernels` for `src/kernels/mod.rs`.
fn module_path(path: &Path) -> Vec<String> {
    let below = path.strip_prefix(src()).unwrap().with_extension("");
    let mut parts: Vec<_> = below.iter().map(|part| part.to_string_lossy().into_owned()).collect();
    parts.pop_if(|last| last == "mod");
    parts
}

#[test]
fn the_files_of_a_folder_form_no_circle() {
    // Tests may use what they like.
    let is_test =
        |path: &PathBuf| path.file_stem().is_some_and(|stem| stem.to_string_lossy().ends_with("tests"));
    let files: Vec<_> = sources(&src()).into_iter().filter(|path| !is_test(path)).collect();
    let mut folders: BTreeMap<Vec<String>, BTreeMap<String, BTreeSet<String>>> = BTreeMap::new();
    let modules: BTreeSet<_> = files.iter().map(|path| module_path(path)).collect();
    // Names that the head of a folder hands on, each with where they come from.
    let mut handed_on = BTreeMap::new();
    for path in files.iter().filter(|path| path.ends_with("mod.rs")) {
        let (code, own) = (code(path), module_path(path));
        for (at, word) in code.match_indices("use ") {
            let mut names = Vec::new();
            spread(&code[at + word.len()..], own.clone(), &mut names);
            let here = |name: &Vec<String>| own.iter().chain(name.last()).cloned().collect::<Vec<_>>();
            handed_on.extend(names.into_iter().map(|name| (here(&name), name)));
        }
    }
    for path in files.iter().filter(|path| !path.ends_with("main.rs") && !path.ends_with("lib.rs")) {
        let own = module_path(path);
        for used in named(&code(path), &own) {
            let used = (1..=used.len()).find_map(|n| handed_on.get(&used[..n])).unwrap_or(&used);
            let common = own.iter().zip(used).take_while(|(a, b)| a == b).count();
            // The head of a folder may use all of it, and all of it may use the head's own words.
            if common == 0
                || common == own.len()
                || common == used.len()
                || !modules.contains(&used[..used.len().min(common + 1)])
            {
                continue;
            }
            let folder = folders.entry(own[..common].to_vec()).or_default();
            folder.entry(own[common].clone()).or_default().insert(used[common].clone());
        }
    }
    assert!(folders.len() > 5, "the uses were not found");
    let circles: Vec<_> = folders
        .iter()
        .filter_map(|(folder, uses)| Some(format!("{}: {}", folder.join("::"), circle(uses)?.join(" -> "))))
        .collect();
    assert!(circles.is_empty(), "circles:\n{}", circles.join("\n"));
}

/// Some circle, its first name being its last again.
fn circle(uses: &BTreeMap<String, BTreeSet<String>>) -> Option<Vec<String>> {
    fn walk(uses: &BTreeMap<String, BTreeSet<String>>, way: &mut Vec<String>) -> Option<Vec<String>> {
        for next in uses.get(way.last()?).into_iter().flatten() {
            let seen = way.iter().position(|name| name == next);
            way.push(next.clone());
            if let Some(start) = seen {
                return Some(way[start..].to_vec());
            }
            if let Some(found) = walk(uses, way) {
                return Some(found);
            }
            way.pop();
        }
        None
    }
    uses.keys().find_map(|name| walk(uses, &mut vec![name.clone()]))
}

#[test]
fn circles_and_lists_of_names_are_seen() {
    let own = ["a", "b", "c"].map(str::to_owned);
    let text =
        "use super::{d::{E, f}, G};\nuse super::super::h::I;\nlet j = crate::k::l(super::*); not_super::m";
    let mut found: Vec<_> = named(text, &own).iter().map(|path| path.join("::")).collect();
    found.sort();
    assert_eq!(found, ["a::b::", "a::b::G", "a::b::d::E", "a::b::d::f", "a::h::I", "k::l"]);
    let set = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<BTreeSet<_>>();
    let mut uses = BTreeMap::from([("x".to_owned(), set(&["y", "z"])), ("y".to_owned(), set(&["z"]))]);
    assert_eq!(circle(&uses), None);
    uses.insert("z".to_owned(), set(&["x"]));
    assert_eq!(circle(&uses).unwrap(), ["x", "y", "z", "x"]);
}

#[test]
fn foreign_libraries_are_named_in_their_place_only() {
    let places = [
        ("ab_glyph", &["canvas"][..]),
        ("arrow_array", &["results"]),
        ("axum", &["receivers"]),
        ("ffmpeg_next", &["video"]),
        ("nokhwa", &["camera"]),
        ("opencv", &["camera", "video"]),
        ("parquet", &["results"]),
        ("softbuffer", &["window"]),
        ("tokio", &["receivers"]),
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
