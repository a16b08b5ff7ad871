//! How files are opened, how files and addresses are named to FFmpeg, and how addresses are shown.

use std::ffi::OsString;
use std::fs::File;
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use super::live::TIMEOUT;
use crate::error::{Error, Result};

/// The name for the program ffmpeg, which would take `a:b.mp4` for an address and `-b.mp4` for an option.
pub(super) fn file_address(path: &Path) -> OsString {
    let mut address = OsString::from("file:");
    address.push(path);
    address
}

/// An address as it may be shown and written down: without user, password and query. Everything before the last
/// `@` may be a part of a password, which should have no `/` but does where somebody forgot to encode it.
pub(super) fn without_secrets(address: &str) -> String {
    let place = address.split(['?', '#']).next().unwrap_or_default();
    match place.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or_default()),
        None => place.to_owned(),
    }
}

/// Opens a file for reading. A pipe waits for somebody who writes into it, but not for ever.
pub(super) fn open(path: &Path) -> Result<File> {
    let failed = |cause| {
        Error::new(format!("cannot open '{}'", path.display())).because(cause).advice("check the name")
    };
    if !is_pipe(path) {
        return File::open(path).map_err(failed);
    }
    let (sender, opened) = mpsc::channel();
    let waiting = path.to_owned();
    // If nobody ever writes, the thread stays behind: nothing else ends the wait inside the system.
    thread::spawn(move || drop(sender.send(File::open(waiting))));
    match opened.recv_timeout(TIMEOUT) {
        Ok(opened) => opened.map_err(failed),
        Err(_) => Err(Error::new(format!(
            "nobody has written into '{}' for {} s",
            path.display(),
            TIMEOUT.as_secs()
        ))
        .advice("start the program that writes into it first")),
    }
}

#[cfg(unix)]
fn is_pipe(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;
    path.metadata().is_ok_and(|data| data.file_type().is_fifo())
}

#[cfg(not(unix))]
fn is_pipe(_: &Path) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        for (address, shown) in [
            ("rtsp://me:p@ss@cam.local:554/live", "rtsp://cam.local:554/live"),
            ("rtsp://me:pa/ss@cam/live", "rtsp://cam/live"),
            ("rtsp://me:12/3@4/5@cam/live", "rtsp://cam/live"),
            ("http://cam/stream?user=me&pwd=secret", "http://cam/stream"),
            ("http://cam/stream?pwd=sec@ret#a", "http://cam/stream"),
            ("http://cam/a/b.mp4", "http://cam/a/b.mp4"),
        ] {
            assert_eq!(without_secrets(address), shown);
        }
    }
}
