//! Files that appear under their name only when they are complete: written beside it under a temporary
//! name (`clip.mp4` as `.clip.part.mp4`), then renamed.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Result};

/// A file in the making. Dropped without [`Part::finish`], it is removed.
#[derive(Debug)]
pub struct Part {
    target: PathBuf,
    path: PathBuf,
    finished: bool,
}

impl Part {
    /// Makes an empty file beside `target`, with the same extension.
    ///
    /// # Errors
    /// A target that exists and may not be overwritten, that is a folder, or whose folder is missing or
    /// cannot be written to.
    pub fn create(target: &Path, overwrite: bool) -> Result<Self> {
        let shown = target.display();
        if target.file_name().is_none() {
            return Err(
                Error::usage(format!("'{shown}' is not the name of a file")).advice("give a file name")
            );
        }
        if target.is_dir() {
            return Err(Error::usage(format!("'{shown}' is a folder")).advice("give a file name"));
        }
        if target.exists() && !overwrite {
            return Err(Error::new(format!("'{shown}' exists already"))
                .advice("choose another name, or allow overwriting with -y"));
        }
        let folder = match target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        if !folder.is_dir() {
            return Err(Error::new(format!(
                "there is no folder '{}' to write '{shown}' to",
                folder.display()
            ))
            .advice("make it first, or choose another"));
        }
        let path = folder.join(with_extension_of(target, temporary_stem(target)));
        fs::File::create(&path).map_err(|cause| {
            Error::new(format!("cannot write '{shown}'"))
                .because(cause)
                .advice("check that the folder can be written to and that the disk is not full")
        })?;
        Ok(Self { target: target.to_owned(), path, finished: false })
    }

    /// The temporary name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name that it will have.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Another file in the making, for the same target; `mark` tells their temporary names apart.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn beside(&self, mark: &str) -> Result<Self> {
        let mut name = temporary_stem(&self.target);
        name.push(".");
        name.push(mark);
        let path = self.path.with_file_name(with_extension_of(&self.target, name));
        fs::File::create(&path).with_context(|| format!("cannot write '{}'", self.target.display()))?;
        Ok(Self { target: self.target.clone(), path, finished: false })
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// A rename that the system refuses; the temporary file is removed then.
    pub fn finish(mut self) -> Result<()> {
        fs::rename(&self.path, &self.target)
            .with_context(|| format!("cannot give '{}' its name", self.target.display()))?;
        self.finished = true;
        Ok(())
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        if !self.finished {
            // Nobody is left to tell, and the name says what a file left behind is.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// `.clip.part` for `clip.mp4`.
fn temporary_stem(target: &Path) -> OsString {
    let mut stem = OsString::from(".");
    stem.push(target.file_stem().unwrap_or_default());
    stem.push(".part");
    stem
}

fn with_extension_of(target: &Path, mut stem: OsString) -> OsString {
    if let Some(extension) = target.extension() {
        stem.push(".");
        stem.push(extension);
    }
    stem
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_temporary_name_is_hidden_and_keeps_the_extension() {
        let name = |target: &Path| with_extension_of(target, temporary_stem(target));
        assert_eq!(name(Path::new("x/a.b.mp4")), ".a.b.part.mp4");
        assert_eq!(name(Path::new("plain")), ".plain.part");
    }

    #[test]
    fn a_part_appears_when_finished_and_vanishes_when_dropped() {
        let folder = std::env::temp_dir().join(format!("lanet-part-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let target = folder.join("a.txt");

        let part = Part::create(&target, false).unwrap();
        let temporary = part.path().to_owned();
        assert!(temporary.exists() && !target.exists());
        drop(part);
        assert!(!temporary.exists() && !target.exists());

        let part = Part::create(&target, false).unwrap();
        fs::write(part.path(), "new").unwrap();
        part.finish().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");

        let refused = Part::create(&target, false).unwrap_err().line();
        assert!(refused.contains("exists already") && refused.contains("-y"), "{refused}");
        drop(Part::create(&target, true).unwrap());
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");

        let missing = Part::create(&folder.join("no/a.txt"), false).unwrap_err().line();
        assert!(missing.starts_with("there is no folder"), "{missing}");
        assert!(Part::create(&folder, true).unwrap_err().is_usage());
        fs::remove_dir_all(&folder).unwrap();
    }
}
