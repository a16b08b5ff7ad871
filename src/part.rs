//! Files and folders that appear under their name only when they are complete: written beside it under a hidden name
//! that nobody else has (`clip.mp4` as `.clip.part-x4Rt9q.mp4`), then renamed.
//!
//! A program that is killed leaves the hidden name behind; whatever is called so can be deleted.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use tempfile::{Builder, PathPersistError, TempDir, TempPath};

use crate::error::{Context, Error, Kind, Result};

/// A file in the making. Dropped without [`Part::finish`] or [`Part::keep`], it is removed.
#[derive(Debug)]
pub struct Part {
    target: PathBuf,
    path: TempPath,
    overwrite: bool,
}

impl Part {
    /// Makes an empty file beside `target`, with the same extension.
    ///
    /// # Errors
    /// A target that exists and may not be overwritten, that is a folder or can be no file's name, or whose folder is
    /// missing or cannot be written to.
    pub fn create(target: &Path, overwrite: bool) -> Result<Self> {
        let shown = target.display();
        let usage = |what: &str| Error::usage(format!("'{shown}' is {what}")).advice("give a file name");
        // `a.mp4/` is no file's name, though it ends in one.
        let name = target.file_name().map_or(&[][..], |name| name.as_encoded_bytes());
        if name.is_empty() || !target.as_os_str().as_encoded_bytes().ends_with(name) {
            return Err(usage("not the name of a file"));
        }
        if target.is_dir() {
            return Err(usage("a folder"));
        }
        let folder = folder_of(target);
        if !folder.is_dir() {
            return Err(Error::new(format!(
                "there is no folder '{}' to write '{shown}' to",
                folder.display()
            ))
            .of_kind(Kind::Output)
            .advice("make it first, or choose another"));
        }
        match fs::symlink_metadata(target) {
            Ok(_) if !overwrite => Err(Error::new(format!("'{shown}' exists already"))
                .of_kind(Kind::Output)
                .advice("choose another name, or allow overwriting with -y")),
            // A name that is too long, for example: said now, not when the work is done.
            Err(cause) if cause.kind() != ErrorKind::NotFound => Err(unwritable(target, cause)),
            _ => Self::beside_of(target, overwrite),
        }
    }

    /// Another file in the making, for the same target.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub fn beside(&self) -> Result<Self> {
        Self::beside_of(&self.target, self.overwrite)
    }

    fn beside_of(target: &Path, overwrite: bool) -> Result<Self> {
        let file = with_name_of(target, |name| {
            // Whoever may read what the user writes may read this.
            #[cfg(unix)]
            name.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
            name.tempfile_in(folder_of(target))
        });
        let path = file.map_err(|cause| unwritable(target, cause))?.into_temp_path();
        Ok(Self { target: target.to_owned(), path, overwrite })
    }

    /// The temporary name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The name that it will have.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Gives the file its name. A file that has come to that name meanwhile is replaced only if overwriting was allowed.
    ///
    /// # Errors
    /// Such a file, or a rename that the system refuses. What was written is kept then, and the error says where.
    pub fn finish(self) -> Result<()> {
        let Self { target, path, overwrite } = self;
        let named = if overwrite { path.persist(&target) } else { name_anew(path, &target) };
        named.map_err(|PathPersistError { error, path }| {
            let failure = match error.kind() {
                ErrorKind::AlreadyExists => Error::new(format!(
                    "'{}' has come to be while it was written, and is not replaced",
                    target.display()
                )),
                _ => Error::new(format!("cannot give '{}' its name", target.display())).because(error),
            };
            let kept = Self { target, path, overwrite }.keep();
            failure.of_kind(Kind::Output).advice(format!("what was written is kept as '{}'", kept.display()))
        })
    }

    /// Keeps an unfinished file because what is in it is of use, under a name that can be seen: `clip.part.mp4`, or
    /// `clip.part-2.mp4` if that exists. Returns the name.
    pub fn keep(self) -> PathBuf {
        let Self { target, mut path, .. } = self;
        let mut count = 1;
        loop {
            let mut name = target.file_stem().unwrap_or_default().to_owned();
            name.push(if count == 1 { ".part".to_owned() } else { format!(".part-{count}") });
            if let Some(extension) = target.extension() {
                name.push(".");
                name.push(extension);
            }
            let kept = target.with_file_name(name);
            match name_anew(path, &kept) {
                Ok(()) => return kept,
                Err(refused) if refused.error.kind() == ErrorKind::AlreadyExists => path = refused.path,
                // The hidden name is better than none.
                Err(mut refused) => {
                    refused.path.disable_cleanup(true);
                    return refused.path.to_path_buf();
                }
            }
            count += 1;
        }
    }
}

/// A folder in the making. Dropped without [`FolderPart::finish`], it is removed with what is in it.
#[derive(Debug)]
pub struct FolderPart {
    target: PathBuf,
    folder: TempDir,
}

impl FolderPart {
    /// Makes an empty folder beside `target`, and the folders above it if they are missing.
    ///
    /// # Errors
    /// A target that is a file or can be no folder's name, or a place that cannot be written to.
    pub fn create(target: &Path) -> Result<Self> {
        let shown = target.display();
        if target.file_name().is_none() {
            return Err(Error::usage(format!("'{shown}' is not the name of a folder"))
                .advice("give the folder a name"));
        }
        if target.exists() && !target.is_dir() {
            return Err(Error::new(format!("'{shown}' is a file")).advice("choose another name"));
        }
        let made = fs::create_dir_all(folder_of(target))
            .and_then(|()| with_name_of(target, |name| name.tempdir_in(folder_of(target))));
        Ok(Self { target: target.to_owned(), folder: made.map_err(|cause| unwritable(target, cause))? })
    }

    /// The temporary name.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Gives the folder its name; an older folder of that name is removed. At every moment one of the two has the
    /// name, where the system can exchange names (Linux).
    ///
    /// # Errors
    /// A rename that the system refuses; an older folder keeps its name then.
    pub fn finish(self) -> Result<()> {
        // What has the temporary name after it, the older folder, goes with `self`.
        exchange(self.path(), &self.target)
            .with_context(|| format!("cannot give '{}' its name", self.target.display()))
    }
}

/// Writes a whole file at once.
///
/// # Errors
/// As [`Part::create`]; a full disk.
pub fn write(target: &Path, overwrite: bool, bytes: impl AsRef<[u8]>) -> Result<()> {
    let part = Part::create(target, overwrite)?;
    fs::write(part.path(), bytes).map_err(|cause| unwritable(target, cause))?;
    part.finish()
}

fn unwritable(target: &Path, cause: io::Error) -> Error {
    Error::new(format!("cannot write '{}'", target.display()))
        .because(cause)
        .of_kind(Kind::Output)
        .advice("check that the folder can be written to and that the disk is not full")
}

fn folder_of(target: &Path) -> &Path {
    match target.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// Makes something with a hidden name that says what it will be. It keeps the extension, by which others choose the
/// format, and is short enough where the name itself is.
fn with_name_of<T>(target: &Path, make: impl FnOnce(&mut Builder) -> io::Result<T>) -> io::Result<T> {
    let start = |part: Option<&std::ffi::OsStr>, letters: usize| -> String {
        part.unwrap_or_default().to_string_lossy().chars().take(letters).collect()
    };
    let prefix = format!(".{}.part-", start(target.file_stem(), 40));
    let suffix = match target.extension() {
        None => String::new(),
        extension => format!(".{}", start(extension, 10)),
    };
    let mut builder = Builder::new();
    builder.prefix(&prefix).suffix(&suffix);
    make(&mut builder)
}

/// Renames without replacing anything.
fn name_anew(path: TempPath, target: &Path) -> Result<(), PathPersistError> {
    path.persist_noclobber(target).or_else(|refused| match fs::symlink_metadata(target) {
        // Some file systems can only rename.
        Err(absent) if absent.kind() == ErrorKind::NotFound => refused.path.persist(target),
        _ => Err(refused),
    })
}

/// Gives `target` the folder `fresh`, and `fresh` what `target` was, if it was anything.
fn exchange(fresh: &Path, target: &Path) -> io::Result<()> {
    if !target.exists() {
        return fs::rename(fresh, target);
    }
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        if renameat_with(CWD, fresh, CWD, target, RenameFlags::EXCHANGE).is_ok() {
            return Ok(());
        }
    }
    let aside = fresh.with_extension("old");
    fs::rename(target, &aside)?;
    // Never both gone: the older one comes back.
    fs::rename(fresh, target).or_else(|error| fs::rename(&aside, target).and(Err(error)))?;
    fs::rename(&aside, fresh)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder() -> TempDir {
        tempfile::tempdir().unwrap()
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_temporary_name_is_hidden_says_its_target_and_keeps_the_extension() {
        let folder = folder();
        for (target, start, end) in
            [("a.b.mp4", ".a.b.part-", ".mp4"), ("plain", ".plain.part-", ""), (&"é".repeat(127), ".éé", "")]
        {
            let part = Part::create(&folder.path().join(target), false).unwrap();
            let name = part.path().file_name().unwrap().to_str().unwrap();
            assert!(name.starts_with(start) && name.ends_with(end), "{name}");
            // Not one more, and nobody else's.
            assert_ne!(Part::create(&folder.path().join(target), false).unwrap().path(), part.path());
            part.finish().unwrap();
        }
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            fs::write(folder.path().join("usual"), "").unwrap();
            assert_eq!(mode("plain"), mode("usual"));
        }
    }

    #[test]
    fn a_part_appears_when_finished_and_vanishes_when_dropped() {
        let folder = folder();
        let target = folder.path().join("a.txt");
        let part = Part::create(&target, false).unwrap();
        let temporary = part.path().to_owned();
        assert!(temporary.exists() && !target.exists());
        drop(part);
        assert!(!temporary.exists() && !target.exists());
        write(&target, false, "new").unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
        drop(Part::create(&target, true).unwrap());
        assert_eq!(
            (fs::read_to_string(&target).unwrap(), names(folder.path())),
            ("new".into(), vec!["a.txt".into()])
        );
    }

    #[test]
    fn what_cannot_be_written_is_refused_at_once() {
        let folder = folder();
        let at = |name: &str| folder.path().join(name);
        fs::write(at("a.txt"), "old").unwrap();
        let line = |name: &str, overwrite| Part::create(&at(name), overwrite).unwrap_err().line();
        assert!(line("a.txt", false).contains("exists already") && line("a.txt", false).contains("-y"));
        assert!(line("no/a.txt", true).starts_with("there is no folder"));
        assert!(line("a.txt/", true).contains("not the name of a file"));
        assert!(line(&"n".repeat(300), true).contains("cannot write"));
        assert!(Part::create(folder.path(), true).unwrap_err().is_usage());
        assert!(Part::create(Path::new(".."), true).unwrap_err().is_usage());
        assert!(FolderPart::create(&at("a.txt")).unwrap_err().line().contains("is a file"));
        assert_eq!(names(folder.path()), ["a.txt"]);
    }

    #[test]
    fn two_runs_to_one_name_do_not_share_and_what_came_meanwhile_is_not_replaced() {
        let folder = folder();
        let target = folder.path().join("a.txt");
        let parts = ["one", "two", "three"].map(|text| {
            let part = Part::create(&target, false).unwrap();
            fs::write(part.path(), text).unwrap();
            part
        });
        let ends = parts.map(Part::finish);
        assert!(ends[0].is_ok());
        let line = ends[1].as_ref().unwrap_err().line();
        assert!(line.contains("not replaced") && line.ends_with("a.part.txt'"), "{line}");
        assert_eq!(names(folder.path()), ["a.part-2.txt", "a.part.txt", "a.txt"]);
        let texts = ["a.txt", "a.part.txt", "a.part-2.txt"]
            .map(|n| fs::read_to_string(folder.path().join(n)).unwrap());
        assert_eq!(texts, ["one", "two", "three"]);
    }

    #[test]
    fn names_of_others_are_left_alone() {
        let folder = folder();
        for name in [".a.part.txt", ".m.part", ".m.old"] {
            fs::write(folder.path().join(name), "mine").unwrap();
        }
        write(&folder.path().join("a.txt"), true, "new").unwrap();
        FolderPart::create(&folder.path().join("m")).unwrap().finish().unwrap();
        assert_eq!(names(folder.path()), [".a.part.txt", ".m.old", ".m.part", "a.txt", "m"]);
    }

    #[test]
    fn what_is_of_use_can_be_kept() {
        let folder = folder();
        let part = Part::create(&folder.path().join("a.mp4"), true).unwrap();
        assert_eq!(part.keep(), folder.path().join("a.part.mp4"));
        // There is no longer name than this one.
        let part = Part::create(&folder.path().join("n".repeat(255)), true).unwrap();
        let hidden = part.path().to_owned();
        assert_eq!(part.keep(), hidden);
        assert!(hidden.exists());
    }

    #[test]
    fn a_folder_takes_the_place_of_an_older_one_as_a_whole() {
        let folder = folder();
        let target = folder.path().join("above/model");
        for n in 0..3 {
            let part = FolderPart::create(&target).unwrap();
            fs::write(part.path().join(format!("{n}")), "").unwrap();
            drop(FolderPart::create(&target).unwrap());
            part.finish().unwrap();
            assert_eq!(names(&target), [format!("{n}")]);
            assert_eq!(names(target.parent().unwrap()), ["model"]);
        }
    }
}
