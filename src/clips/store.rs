//! Recordings on disk: where a clip lies, `INTO/PERSON/LABEL/20260117-093012.mp4`, and what is said of it in the `.toml`
//! beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::error::{Context, Result};
use crate::expression::Expression;
use crate::part;
use crate::profile;

/// The folder of clips that nobody has labelled yet; it is not learnt from.
pub const UNLABELLED: &str = "unlabelled";

/// What is said of a clip beside it. Learning goes by folders and tables; this says where they came from.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct About {
    /// What it shows, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<Expression>,
    /// Who it is, if that was said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub person: Option<String>,
    /// The camera, file or address that it was taken from.
    pub source: String,
    /// The model that was in use, by name and fingerprint, if any was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// When it was begun, UTC, such as `2026-01-17T09:30:12Z`; set when it is kept.
    #[serde(default)]
    pub recorded: String,
    /// The version of this program; set when it is kept.
    #[serde(default)]
    pub program: String,
    /// How many frames it has; set when it is kept.
    #[serde(default)]
    pub frames: u64,
    /// How long it is, in seconds; set when it is kept.
    #[serde(default)]
    pub seconds: f64,
}

impl About {
    /// What is said of a clip.
    ///
    /// # Errors
    /// Nothing is said of it, or it cannot be read.
    pub fn load(clip: &Path) -> Result<Self> {
        let file = clip.with_extension("toml");
        let failed = || format!("what '{}' says of its clip cannot be read", file.display());
        toml::from_str(&fs::read_to_string(&file).with_context(failed)?).with_context(failed)
    }

    /// Writes it beside its clip.
    ///
    /// # Errors
    /// A full disk.
    pub fn save(&self, clip: &Path) -> Result<()> {
        let text = toml::to_string(self).context("what is said of a clip cannot be written")?;
        part::write(&clip.with_extension("toml"), true, text)
    }

    /// The folder of its clip in the folder `into` of all recordings.
    ///
    /// # Errors
    /// A person's name that can be no folder's.
    pub fn folder(&self, into: &Path) -> Result<PathBuf> {
        let mut folder = into.to_owned();
        if let Some(person) = &self.person {
            check_person(person)?;
            folder.push(person);
        }
        folder.push(self.label.map_or(UNLABELLED, Expression::name));
        Ok(folder)
    }
}

/// Refuses what can be no person's name, or is the name of a folder of clips.
///
/// # Errors
/// Such a name.
pub fn check_person(name: &str) -> Result<()> {
    profile::check_person(name)?;
    if name.parse::<Expression>().is_ok() || name.eq_ignore_ascii_case(UNLABELLED) {
        return Err(profile::no_name(name, "that is the name of a folder of clips"));
    }
    Ok(())
}

/// The name of a clip begun at this time that no file in the folder has.
pub(super) fn free_name(folder: &Path, time: SystemTime) -> PathBuf {
    let stem = text_of(time).replace(['-', ':', 'Z'], "").replace('T', "-");
    let name = |n: u32| match n {
        1 => folder.join(format!("{stem}.mp4")),
        n => folder.join(format!("{stem}-{n}.mp4")),
    };
    (1..).map(name).find(|name| !name.exists()).unwrap_or_default()
}

/// A time as it is said of a clip, in UTC; what no clock should say, before 1970 or after 9999, is the end of that.
pub(super) fn text_of(time: SystemTime) -> String {
    let first = SystemTime::UNIX_EPOCH;
    let time = time.clamp(first, first + Duration::from_secs(253_402_300_799));
    humantime::format_rfc3339_seconds(time).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_leads_elsewhere_or_cannot_be_seen_is_refused() {
        for name in ["anna", "Anna-Lena 2", "Zoë", "an.na"] {
            check_person(name).unwrap();
        }
        let long = "n".repeat(101);
        for name in [
            "",
            " ",
            "a/b",
            "..",
            ".",
            "../x",
            "a\\b",
            "a\nb",
            "a\u{1b}[31m",
            " a",
            "a.",
            "anger",
            "Fear",
            &long,
        ] {
            let error = check_person(name).unwrap_err();
            assert!(error.is_usage() && error.line().contains("a person cannot be called"), "{name:?}");
            assert!(!error.line().contains('\u{1b}'), "{}", error.line());
        }
    }

    #[test]
    fn dates_by_hand() {
        let at = |seconds| text_of(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds));
        assert_eq!(at(0), "1970-01-01T00:00:00Z");
        // `date -u -d @N`
        assert_eq!(at(951_827_696), "2000-02-29T12:34:56Z");
        assert_eq!(at(1_798_761_599), "2026-12-31T23:59:59Z");
        assert_eq!(at(4_107_542_400), "2100-03-01T00:00:00Z");
        assert_eq!(at(1 << 40), "9999-12-31T23:59:59Z");
        assert_eq!(text_of(SystemTime::UNIX_EPOCH - Duration::from_secs(1)), at(0));
    }

    #[test]
    fn what_is_said_of_a_clip_comes_back_and_its_name_is_free() {
        let folder = tempfile::tempdir().unwrap();
        let about = About { label: Some(Expression::Anger), person: Some("anna".into()), ..About::default() };
        assert_eq!(about.folder("in".as_ref()).unwrap(), Path::new("in/anna/anger"));
        assert_eq!(About::default().folder("in".as_ref()).unwrap(), Path::new("in/unlabelled"));
        let time = SystemTime::UNIX_EPOCH;
        let clip = free_name(folder.path(), time);
        assert!(clip.ends_with("19700101-000000.mp4"));
        fs::write(&clip, "").unwrap();
        assert!(free_name(folder.path(), time).ends_with("19700101-000000-2.mp4"));
        about.save(&clip).unwrap();
        assert_eq!(About::load(&clip).unwrap(), about);
    }
}
