//! Why a camera does not work, and what its user can do.

use std::time::Duration;

use nokhwa::NokhwaError;

use super::list;
use crate::error::Error;

/// Why a camera does not work. The driver says it in words only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    Missing,
    Busy,
    Forbidden,
    /// It gives no pictures, or none that can be decoded.
    Useless,
    /// It was there before.
    Gone,
    Other(String),
}

impl Trouble {
    pub(super) fn of(error: &NokhwaError) -> Self {
        let text = error.to_string();
        let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
        if says(&["(os error 16)", "busy", "in use"]) {
            Self::Busy
        } else if says(&["(os error 13)", "(os error 1)", "denied"]) {
            Self::Forbidden
        } else if says(&["(os error 2)", "(os error 6)", "(os error 19)", "not found"]) {
            Self::Missing
        } else if says(&["Fufill", "fufill", "(os error 22)", "(os error 25)", "unsupported"]) {
            Self::Useless
        } else {
            Self::Other(text)
        }
    }

    pub(super) fn told(self, camera: &str) -> Error {
        match self {
            Self::Missing => missing(camera),
            Self::Busy => Error::new(format!("the camera '{camera}' is in use"))
                .advice("close the other program that uses it"),
            Self::Forbidden => Error::new(format!("the camera '{camera}' may not be opened"))
                .advice("allow it; on Linux, join the group 'video' and log in again"),
            Self::Useless => {
                Error::new(format!("the camera '{camera}' sends no pictures that can be decoded"))
                    .advice(others(camera))
            }
            Self::Gone => {
                Error::new(format!("the camera '{camera}' is gone")).advice("plug it in again and start anew")
            }
            Self::Other(text) => Error::new(format!("the camera '{camera}' does not work"))
                .because(text)
                .advice("unplug it, plug it in again, and try another program"),
        }
    }
}

pub(super) fn missing(camera: &str) -> Error {
    Error::new(format!("there is no camera '{camera}'")).advice(others(camera))
}

pub(super) fn silent(camera: &str, time: Duration) -> Error {
    Error::new(format!("the camera '{camera}' has sent nothing for {} s", time.as_secs()))
        .advice("check that it is still plugged in and that no other program uses it")
}

/// Advice to take another camera.
fn others(than: &str) -> String {
    let cameras = list().unwrap_or_default();
    let others: Vec<String> = cameras
        .iter()
        .filter(|camera| camera.index.to_string() != than)
        .map(|camera| format!("{} ({})", camera.index, camera.name))
        .collect();
    if others.is_empty() {
        "none was found, so connect one".to_owned()
    } else {
        format!("there is {}", others.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drivers_words_are_understood() {
        let open =
            |why: &str| Trouble::of(&NokhwaError::OpenDeviceError("0".into(), format!("V4L2 Error: {why}")));
        assert_eq!(open("No such file or directory (os error 2)"), Trouble::Missing);
        assert_eq!(open("Permission denied (os error 13)"), Trouble::Forbidden);
        assert_eq!(open("Inappropriate ioctl for device (os error 25)"), Trouble::Useless);
        let busy = NokhwaError::OpenStreamError("Device or resource busy (os error 16)".into());
        assert_eq!(Trouble::of(&busy), Trouble::Busy);
    }
}
