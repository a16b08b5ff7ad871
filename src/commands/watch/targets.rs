//! Where files are to be written: none of them may be read in the same run, and no two may be one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use lanet_live::error::{Error, Result};
use lanet_live::receivers::drawing;

use super::options::Options;
use super::source::Source;
use crate::commands::place;

/// Refuses targets that are read, or that come twice.
pub fn check(options: &Options, source: &Source) -> Result<()> {
    let read: BTreeSet<PathBuf> = source.files.iter().filter_map(|file| file.canonicalize().ok()).collect();
    let drawn = match &options.output {
        Some(path) if source.pictures => drawing::targets(path, &source.files),
        output => output.iter().cloned().collect(),
    };
    let data = options.results.iter().filter(|path| path.as_os_str() != "-");
    let mut written: BTreeSet<PathBuf> = BTreeSet::new();
    for path in options.timeline.iter().chain(data) {
        refuse_inputs(path, &read)?;
        if !written.insert(place(path)) {
            return Err(twice(path));
        }
    }
    for path in &drawn {
        refuse_inputs(path, &read)?;
        // Two drawn pictures of one name are another matter: that of the folders that are read.
        if written.contains(&place(path)) {
            return Err(twice(path));
        }
    }
    Ok(())
}

fn refuse_inputs(path: &Path, read: &BTreeSet<PathBuf>) -> Result<()> {
    if path.canonicalize().is_ok_and(|path| read.contains(&path)) {
        return Err(Error::usage(format!("'{}' would be both read and written", path.display()))
            .advice("choose another name for what is written"));
    }
    Ok(())
}

fn twice(path: &Path) -> Error {
    Error::usage(format!("'{}' would be written twice", path.display()))
        .advice("choose another name for one of them")
}
