//! What can go wrong, said for the person who must act: what happened, and what to do about it.

use std::error::Error as StdError;
use std::fmt;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// A failure: what happened, what caused it, and what the user can do.
///
/// `Display` gives only what happened; [`Error::line`] gives the whole story on one line.
#[derive(Debug)]
pub struct Error {
    what: String,
    advice: Option<String>,
    cause: Option<Box<dyn StdError + Send + Sync>>,
    usage: bool,
}

impl Error {
    /// A failure of the work itself (exit code 1).
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), advice: None, cause: None, usage: false }
    }

    /// A wrong use of the program (exit code 2).
    pub fn usage(what: impl Into<String>) -> Self {
        Self { usage: true, ..Self::new(what) }
    }

    /// Adds what the user can do.
    pub fn advice(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// Adds what caused it.
    pub fn because(self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    /// Whether the program was used wrongly, as opposed to having failed.
    pub fn is_usage(&self) -> bool {
        self.usage
    }

    /// What happened, its causes and the advice, on one line.
    pub fn line(&self) -> String {
        let mut line = self.what.clone();
        let mut advice = self.advice.clone();
        let mut cause = self.cause.as_deref().map(|cause| cause as &(dyn StdError + 'static));
        while let Some(error) = cause {
            let text = error.to_string();
            let text = text.trim_end_matches(['.', ' ', '\n']);
            // Some libraries repeat their cause in their own text.
            if !line.contains(text) {
                line.push_str(": ");
                line.push_str(text);
            }
            if let Some(ours) = error.downcast_ref::<Error>() {
                advice = advice.or_else(|| ours.advice.clone());
            }
            cause = error.source();
        }
        if let Some(advice) = advice {
            line.push_str("; ");
            line.push_str(&advice);
        }
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.cause.as_deref().map(|cause| cause as _)
    }
}

impl From<candle_core::Error> for Error {
    fn from(error: candle_core::Error) -> Self {
        Self::new("a network could not be computed").because(error)
    }
}

/// Says what was being done when something failed.
pub trait Context<T> {
    /// Wraps the error as the cause of `what`.
    fn context(self, what: impl Into<String>) -> Result<T>;
    /// As [`Context::context`], with a text that is only made when it is needed.
    fn with_context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T>;
}

impl<T, E: Into<Box<dyn StdError + Send + Sync>>> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl Into<String>) -> Result<T> {
        self.map_err(|error| Error::new(what).because(error))
    }

    fn with_context<S: Into<String>>(self, what: impl FnOnce() -> S) -> Result<T> {
        self.map_err(|error| Error::new(what()).because(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_holds_causes_and_the_advice_of_the_deepest() {
        let io = std::io::Error::new(std::io::ErrorKind::NotFound, "no such\nfile");
        let inner = Error::new("cannot read a.mp4").because(io).advice("check the name");
        let outer: Result<()> = Err::<(), _>(inner).context("the video stopped");
        assert_eq!(
            outer.unwrap_err().line(),
            "the video stopped: cannot read a.mp4: no such file; check the name"
        );
    }
}
