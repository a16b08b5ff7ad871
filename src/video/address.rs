//! How files and addresses are named to FFmpeg, and how addresses are shown.

use std::ffi::OsString;
use std::path::Path;

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
