//! What is kept of a person between runs, in a folder of their name: their neutral, and the model that learnt from them.
//!
//! `calibration/NAME/neutral.toml`, and `calibration/NAME/model/` with its card, weights and calibration.

use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Context, Error, Kind, Result};
use crate::neutral::Neutral;

/// The folder of all profiles, where the program is run.
pub const FOLDER: &str = "calibration";
/// The longest name of a person, in bytes: it becomes a folder.
const LONGEST_NAME: usize = 100;

/// What is known of somebody.
#[derive(Debug, Clone, PartialEq)]
pub struct Profile {
    /// What they are called.
    pub name: String,
    /// The folder of the model that learnt from them, if one did.
    pub model: Option<PathBuf>,
    /// Their neutral, if it was taken.
    pub neutral: Option<Neutral>,
}

/// The folder of whoever is called so, among the profiles in another.
///
/// # Errors
/// What can be no person's name.
pub fn folder_of(profiles: &Path, name: &str) -> Result<PathBuf> {
    check_person(name)?;
    Ok(profiles.join(name))
}

impl Profile {
    /// The profile of whoever is called so, in the folder of all profiles.
    ///
    /// # Errors
    /// What can be no person's name, somebody of whom nothing is known, or a neutral that cannot be read.
    pub fn open(profiles: &Path, name: &str) -> Result<Self> {
        let folder = folder_of(profiles, name)?;
        let (model, neutral) = (model_in(&folder), neutral_in(&folder));
        let found = Self {
            name: name.to_owned(),
            model: model.join("card.toml").exists().then_some(model),
            neutral: neutral.exists().then(|| Neutral::load(&neutral)).transpose()?,
        };
        if found.model.is_none() && found.neutral.is_none() {
            return Err(Error::new(format!("nothing is known of '{name}' in '{}'", profiles.display()))
                .of_kind(Kind::NotFound)
                .advice("begin with teach --person NAME, or take their neutral with calibrate --person NAME --neutral"));
        }
        Ok(found)
    }
}

/// Keeps somebody's neutral; an older one is replaced. Returns where.
///
/// # Errors
/// What can be no person's name, or a folder that cannot be written to.
pub fn keep_neutral(profiles: &Path, name: &str, neutral: &Neutral) -> Result<PathBuf> {
    let folder = folder_of(profiles, name)?;
    fs::create_dir_all(&folder)
        .with_context(|| format!("the folder '{}' cannot be made", folder.display()))?;
    neutral.save(&neutral_in(&folder))?;
    Ok(neutral_in(&folder))
}

/// Takes away somebody's neutral, which belongs to a model that is theirs no more; that there is none is no failure.
///
/// # Errors
/// What can be no person's name, or a file that cannot be removed.
pub fn forget_neutral(profiles: &Path, name: &str) -> Result<()> {
    let file = neutral_in(&folder_of(profiles, name)?);
    match fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("the neutral '{}' cannot be replaced", file.display()))
        }
        _ => Ok(()),
    }
}

/// Where in somebody's folder their model is.
pub fn model_in(folder: &Path) -> PathBuf {
    folder.join("model")
}

fn neutral_in(folder: &Path) -> PathBuf {
    folder.join("neutral.toml")
}

/// Refuses what can be no person's name, for it becomes a folder's.
///
/// # Errors
/// Such a name.
pub fn check_person(name: &str) -> Result<()> {
    let forbidden = |c: char| c.is_control() || r#"/\:*?"<>|"#.contains(c);
    match name {
        _ if name.trim().is_empty() => Err(no_name(name, "the name is empty")),
        _ if name.trim() != name || name.starts_with('.') || name.ends_with('.') => {
            Err(no_name(name, "it begins or ends with a space or a dot"))
        }
        _ if name.contains(forbidden) => {
            Err(no_name(name, "it has a character that no folder may have everywhere"))
        }
        _ if name.len() > LONGEST_NAME => Err(no_name(name, "the name is too long")),
        _ => Ok(()),
    }
}

/// What is said of a name that no person can have.
pub(crate) fn no_name(name: &str, why: &str) -> Error {
    Error::usage(format!("a person cannot be called '{}': {why}", name.escape_debug()))
        .advice("use letters, digits, spaces, '-' and '_', such as anna")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::COUNT;

    #[test]
    fn a_profile_is_found_again_and_names_that_lead_elsewhere_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let neutral = Neutral { fingerprint: "f".into(), frames: 9, logits: [0.5; COUNT] };
        let line = |name: &str| Profile::open(folder.path(), name).unwrap_err().line();
        assert!(line("anna").contains("nothing is known of 'anna'"), "{}", line("anna"));
        let file = keep_neutral(folder.path(), "anna", &neutral).unwrap();
        assert!(file.ends_with("anna/neutral.toml"));
        let found = Profile::open(folder.path(), "anna").unwrap();
        assert_eq!((found.neutral, found.model), (Some(neutral.clone()), None));
        let model = model_in(&folder_of(folder.path(), "anna").unwrap());
        fs::create_dir(&model).unwrap();
        fs::write(model.join("card.toml"), "").unwrap();
        assert_eq!(Profile::open(folder.path(), "anna").unwrap().model, Some(model));
        for name in ["", " ", "..", "a/b", "/", "../anna", ".hidden", "a\nb", &"n".repeat(101)] {
            let error = Profile::open(folder.path(), name).unwrap_err();
            assert!(error.is_usage() && !error.line().contains('\n'), "{}", error.line());
            assert!(keep_neutral(folder.path(), name, &neutral).is_err());
        }
        forget_neutral(folder.path(), "anna").unwrap();
        forget_neutral(folder.path(), "anna").unwrap();
        assert_eq!(Profile::open(folder.path(), "anna").unwrap().neutral, None);
        fs::write(file, "nonsense").unwrap();
        assert!(line("anna").contains("cannot be used"), "{}", line("anna"));
    }
}
