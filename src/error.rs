//! What can go wrong, said for the person who must act: what happened, and what to do about it.

use std::error::Error as StdError;
use std::fmt;
use std::io;

/// The result of everything in this crate that can fail.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of thing went wrong, for programs that act on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// What was asked for makes no sense.
    Usage,
    /// There is no file, folder or camera of that name.
    NotFound,
    /// What is read is damaged, or of a kind that is not read.
    Input,
    /// Something cannot be written.
    Output,
    /// A model cannot be used.
    Model,
    /// A device cannot compute.
    Device,
    /// None of these.
    Other,
}

/// A failure: what happened, what caused it, and what the user can do.
///
/// `Display` gives only what happened; [`Error::line`] gives the whole story on one line.
#[derive(Debug)]
pub struct Error {
    what: String,
    advice: Option<String>,
    cause: Option<Box<dyn StdError + Send + Sync>>,
    kind: Option<Kind>,
}

impl Error {
    /// A failure of the work itself (exit code 1).
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), advice: None, cause: None, kind: None }
    }

    /// A wrong use of the program (exit code 2).
    pub fn usage(what: impl Into<String>) -> Self {
        Self::new(what).of_kind(Kind::Usage)
    }

    /// Adds what the user can do.
    pub fn advice(self, advice: impl Into<String>) -> Self {
        Self { advice: Some(advice.into()), ..self }
    }

    /// Adds what caused it.
    pub fn because(self, cause: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self { cause: Some(cause.into()), ..self }
    }

    /// Says what kind of failure it is.
    pub fn of_kind(self, kind: Kind) -> Self {
        Self { kind: Some(kind), ..self }
    }

    /// What kind of failure it is: as was said, or as the nearest of its causes says that does. A file that could not
    /// be read because it is not there is [`Kind::NotFound`].
    pub fn kind(&self) -> Kind {
        let said = self.with_ours().find_map(|error| error.kind);
        let is_absent = |cause: &(dyn StdError + 'static)| {
            cause.downcast_ref::<io::Error>().is_some_and(|cause| cause.kind() == io::ErrorKind::NotFound)
        };
        match said {
            None | Some(Kind::Input | Kind::Model) if self.causes().any(is_absent) => Kind::NotFound,
            said => said.unwrap_or(Kind::Other),
        }
    }

    /// Whether the program was used wrongly, as opposed to having failed.
    pub fn is_usage(&self) -> bool {
        self.kind == Some(Kind::Usage)
    }

    /// Adds what the user can do, unless a cause says it already.
    pub fn or_advice(self, advice: impl Into<String>) -> Self {
        if self.advice_to_give().is_some() { self } else { self.advice(advice) }
    }

    /// What happened, its causes and the advice, on one line.
    pub fn line(&self) -> String {
        let mut line = self.what.clone();
        for cause in self.causes() {
            let text = cause.to_string();
            let text = text.trim_end_matches(['.', ' ', '\n']);
            // Some libraries repeat their cause in their own text.
            if !line.contains(text) {
                line.push_str(": ");
                line.push_str(text);
            }
        }
        if let Some(advice) = self.advice_to_give() {
            line.push_str("; ");
            line.push_str(advice);
        }
        line.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn causes(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        std::iter::successors(self.source(), |&cause| cause.source())
    }

    /// Its own, else that of the cause nearest to it.
    fn advice_to_give(&self) -> Option<&str> {
        self.with_ours().find_map(|error| error.advice.as_deref())
    }

    /// It, and those of its causes that are of this crate.
    fn with_ours(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.causes().filter_map(|cause| cause.downcast_ref::<Self>()))
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

    #[test]
    fn advice_of_a_cause_is_not_replaced_by_a_general_one() {
        let outer = |inner: Error| Error::new("outer").because(inner).or_advice("look").line();
        assert_eq!(outer(Error::new("inner").advice("make it smaller")), "outer: inner; make it smaller");
        assert_eq!(outer(Error::new("inner")), "outer: inner; look");
    }

    #[test]
    fn the_kind_is_that_of_the_nearest_that_has_one() {
        let absent = || io::Error::from(io::ErrorKind::NotFound);
        let device = Error::new("no CUDA").of_kind(Kind::Device);
        assert_eq!(Error::new("outer").because(device).kind(), Kind::Device);
        assert_eq!(Error::new("a picture").because(absent()).of_kind(Kind::Input).kind(), Kind::NotFound);
        assert_eq!(Error::new("a file").because(absent()).of_kind(Kind::Output).kind(), Kind::Output);
        assert_eq!((Error::new("x").kind(), Error::usage("x").kind()), (Kind::Other, Kind::Usage));
    }
}
