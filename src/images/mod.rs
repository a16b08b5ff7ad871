//! Pictures in files: what an input name stands for, and picture files as frames.

mod file;

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use image::ImageReader;

use crate::error::{Context, Error, Kind, Result};
use crate::frame::Frame;
use crate::warning::{Warning, Warnings};

pub use file::{format_of, read, read_reduced, write};

/// The extensions of files that are taken for pictures.
pub const EXTENSIONS: [&str; 7] = ["bmp", "jpeg", "jpg", "png", "tif", "tiff", "webp"];

/// The schemes of addresses that are taken for live video.
const SCHEMES: [&str; 7] = ["http", "https", "rtmp", "rtsp", "rtsps", "tcp", "udp"];

/// What an input name stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Input {
    /// One picture or more, in natural order (`2.png` before `10.png`).
    Images(Vec<PathBuf>),
    /// A file that is not a picture.
    Video(PathBuf),
    /// An address that plays video.
    Address(String),
}

/// Finds out what `input` stands for: an address, a file, the pictures directly in a folder (hidden ones left out),
/// or the pictures that match a pattern with `*`, `?` or `[...]`. Files are not opened unless their name says nothing.
///
/// # Errors
/// Nothing of that name; a folder or pattern without pictures; several videos.
pub fn expand(input: &(impl AsRef<OsStr> + ?Sized)) -> Result<Input> {
    let path = Path::new(input.as_ref());
    // Addresses and patterns are text; the name of a file need not be.
    let input = text_of(path);
    if let Some((scheme, _)) = input.split_once("://") {
        return if SCHEMES.contains(&scheme.to_lowercase().as_str()) {
            Ok(Input::Address(input))
        } else {
            Err(Error::usage(format!("addresses that begin with {scheme}:// cannot be read"))
                .advice(format!("use a file or one of {}", SCHEMES.join(", "))))
        };
    }
    if path.is_dir() {
        let entries = fs::read_dir(path).with_context(|| format!("cannot list the folder '{input}'"))?;
        let files =
            entries.flatten().map(|entry| entry.path()).filter(|path| path.is_file() && !hidden(path));
        let images = in_order(files.filter(|path| has_image_name(path)).collect());
        return if images.is_empty() {
            Err(Error::new(format!("the folder '{input}' has no pictures in it"))
                .advice(format!("pictures end in {}; give a video by its own name", EXTENSIONS.join(", "))))
        } else {
            Ok(Input::Images(images))
        };
    }
    if path.exists() {
        return Ok(if is_image(path) {
            Input::Images(vec![path.to_owned()])
        } else {
            Input::Video(path.to_owned())
        });
    }
    if input.contains(['*', '?', '[']) {
        return matching(&input);
    }
    Err(Error::new(format!("there is no file or folder '{input}'"))
        .of_kind(Kind::NotFound)
        .advice("check the name"))
}

/// The inputs that a name stands for, each of them one that [`expand`] takes: all videos that match a pattern, if it
/// matches several and no picture; else the name itself.
pub fn each(input: &(impl AsRef<OsStr> + ?Sized)) -> Vec<OsString> {
    let path = Path::new(input.as_ref());
    if !path.exists()
        && let Ok((images, videos)) = matches(&text_of(path))
        && images.is_empty()
        && videos.len() > 1
    {
        return in_order(videos).into_iter().map(PathBuf::into_os_string).collect();
    }
    vec![input.as_ref().to_owned()]
}

/// The pictures and the other files that match a pattern.
fn matches(pattern: &str) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let found = glob::glob(pattern).map_err(|cause| {
        Error::usage(format!("'{pattern}' is not a pattern"))
            .because(cause)
            .advice("use *, ? and [...], in quotes")
    })?;
    let files = found.flatten().filter(|path| path.is_file());
    Ok(files.partition(|path| has_image_name(path)))
}

/// The pictures, or the one video, that match a pattern.
fn matching(pattern: &str) -> Result<Input> {
    let (images, mut others) = matches(pattern)?;
    match (images.len(), others.len()) {
        (0, 0) => Err(Error::new(format!("no file matches '{pattern}'"))
            .of_kind(Kind::NotFound)
            .advice("check the pattern")),
        (0, 1) => Ok(Input::Video(others.remove(0))),
        (0, n) => Err(Error::usage(format!("'{pattern}' matches {n} files, and none of them is a picture"))
            .advice("give one video at a time")),
        _ => Ok(Input::Images(in_order(images))),
    }
}

fn hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}

/// Whether a file is taken for a picture by its name alone.
pub fn has_image_name(path: &Path) -> bool {
    extension(path).is_some_and(|extension| EXTENSIONS.contains(&extension.as_str()))
}

/// By the name; by the first bytes where the name has no extension.
fn is_image(path: &Path) -> bool {
    match extension(path) {
        Some(_) => has_image_name(path),
        // A pipe may have nobody at its other end.
        None => {
            path.is_file()
                && ImageReader::open(path)
                    .and_then(ImageReader::with_guessed_format)
                    .is_ok_and(|reader| reader.format().is_some())
        }
    }
}

fn extension(path: &Path) -> Option<String> {
    path.extension().map(|extension| extension.to_string_lossy().to_lowercase())
}

fn in_order(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.sort_by(|a, b| natural_order(&a.to_string_lossy(), &b.to_string_lossy()).then_with(|| a.cmp(b)));
    paths
}

/// Text by its letters, numbers in it by their size.
fn natural_order(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
        let (in_a, in_b) = (digits(a), digits(b));
        let order = if in_a > 0 && in_b > 0 {
            let (number_a, number_b) = (a[..in_a].trim_start_matches('0'), b[..in_b].trim_start_matches('0'));
            (a, b) = (&a[in_a..], &b[in_b..]);
            number_a.len().cmp(&number_b.len()).then_with(|| number_a.cmp(number_b))
        } else {
            let (mut chars_a, mut chars_b) = (a.chars(), b.chars());
            let (first_a, first_b) = (chars_a.next(), chars_b.next());
            if first_a.is_none() && first_b.is_none() {
                return Ordering::Equal;
            }
            (a, b) = (chars_a.as_str(), chars_b.as_str());
            first_a.cmp(&first_b)
        };
        if order.is_ne() {
            return order;
        }
    }
}

/// The name of a file as text. Bytes that are no text become `\xE9` and the like, so that two names stay two.
pub fn text_of(path: &Path) -> String {
    let escaped = |bytes: &[u8]| bytes.iter().map(|byte| format!("\\x{byte:02X}")).collect::<String>();
    let chunks = path.as_os_str().as_encoded_bytes().utf8_chunks();
    chunks.map(|chunk| chunk.valid().to_owned() + &escaped(chunk.invalid())).collect()
}

/// Picture files as frames: numbered by their place in the list, all at time 0, each its own source.
///
/// One that cannot be read is left out with a warning, unless there is no other.
pub struct Images {
    paths: VecDeque<PathBuf>,
    next: u64,
    read: u64,
    left_out: usize,
    first_left_out: Option<(PathBuf, Error)>,
    warnings: Warnings,
}

impl Images {
    /// The frames of these files.
    pub fn new(paths: Vec<PathBuf>) -> Self {
        Self {
            paths: paths.into(),
            next: 0,
            read: 0,
            left_out: 0,
            first_left_out: None,
            warnings: Warnings::default(),
        }
    }

    /// What was left out is told here when the frames end or are dropped.
    pub fn warnings(&self) -> Warnings {
        self.warnings.clone()
    }

    fn warn(&mut self) {
        if let Some((first, error)) = self.first_left_out.take() {
            self.warnings.add(Warning::Unreadable { count: self.left_out, first, why: error.line() });
        }
    }
}

impl Iterator for Images {
    type Item = Result<Frame>;

    fn next(&mut self) -> Option<Self::Item> {
        while let Some(path) = self.paths.pop_front() {
            let index = self.next;
            self.next += 1;
            match read(&path) {
                Ok(image) => {
                    self.read += 1;
                    let source = text_of(&path).into();
                    return Some(Ok(Frame { image, source, index, time: Duration::ZERO }));
                }
                Err(error) => {
                    self.left_out += 1;
                    self.first_left_out.get_or_insert((path, error));
                }
            }
        }
        if self.read > 0 {
            self.warn();
            return None;
        }
        let (_, error) = self.first_left_out.take()?;
        Some(Err(match self.left_out {
            1 => error,
            n => Error::new(format!("none of the {n} pictures can be read")).because(error),
        }))
    }
}

impl Drop for Images {
    fn drop(&mut self) {
        self.warn();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_sort_by_size_and_text_by_letters() {
        let mut names = vec!["b1", "a10", "a2", "a02", "a", "a2b", "a2a", "é3"];
        names.sort_by(|a, b| natural_order(a, b).then(a.cmp(b)));
        assert_eq!(names, ["a", "a02", "a2", "a2a", "a2b", "a10", "b1", "é3"]);
    }

    #[cfg(unix)]
    #[test]
    fn names_that_are_no_text_stay_two() {
        use std::os::unix::ffi::OsStrExt;
        let text = |bytes: &[u8]| text_of(Path::new(OsStr::from_bytes(bytes)));
        assert_eq!(text("é/1.png".as_bytes()), "é/1.png");
        assert_eq!([text(b"a\xe9.png"), text(b"a\xe8.png")], ["a\\xE9.png", "a\\xE8.png"]);
    }
}
