//! The live window. It belongs to the main thread: no system lets others draw.

use std::marker::PhantomData;
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use opencv::core::{Mat, Vec3b};
use opencv::highgui::{
    WINDOW_GUI_NORMAL, WINDOW_KEEPRATIO, WINDOW_NORMAL, WND_PROP_VISIBLE, destroy_window,
    get_window_property, imshow, named_window, resize_window, wait_key_ex,
};

use crate::error::{Context, Error, Result};
use crate::frame::Image;

/// How wide and high a window appears at most; its user may make it larger.
const LARGEST: (f64, f64) = (1280.0, 720.0);

/// What a key stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// `q` or Escape, or the window was closed.
    Quit,
    /// Space.
    Pause,
    /// `s`
    Screenshot,
    /// `m`
    Mirror,
    /// `l`
    Landmarks,
    /// `b`
    Blur,
}

/// Where a window could appear, by the environment of the program (which the library does not read itself).
/// On macOS and Windows there always is a place.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Display {
    x11: Option<String>,
    wayland: Option<PathBuf>,
    qt: Option<String>,
}

impl Display {
    /// `variable` looks up an environment variable: `|name| std::env::var(name).ok()`.
    pub fn from_environment(variable: impl Fn(&str) -> Option<String>) -> Self {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        let wayland = set("WAYLAND_DISPLAY")
            .map(|name| Path::new(&set("XDG_RUNTIME_DIR").unwrap_or_default()).join(name));
        Self { x11: set("DISPLAY"), wayland, qt: set("QT_QPA_PLATFORM") }
    }

    /// Whether somebody answers there. Debian's highgui ends the program when nobody does.
    fn answers(&self) -> bool {
        let drawn_elsewhere =
            |platform: &str| !platform.starts_with("xcb") && !platform.starts_with("wayland");
        cfg!(not(target_os = "linux"))
            || self.qt.as_deref().is_some_and(drawn_elsewhere)
            || self.x11.as_deref().is_some_and(x11_answers)
            || self.wayland.as_deref().is_some_and(socket_answers)
    }
}

/// `:0`, `unix:0.0` or `host:10.0`.
fn x11_answers(display: &str) -> bool {
    let Some((host, number)) = display.rsplit_once(':') else { return false };
    let Ok(number) = number.split('.').next().unwrap_or_default().parse::<u16>() else { return false };
    if host.is_empty() || host == "unix" {
        return socket_answers(Path::new(&format!("/tmp/.X11-unix/X{number}")));
    }
    let addresses = (host, 6000u16.saturating_add(number)).to_socket_addrs();
    let connects = |address| TcpStream::connect_timeout(&address, Duration::from_secs(2)).is_ok();
    addresses.is_ok_and(|mut addresses| addresses.any(connects))
}

#[cfg(unix)]
fn socket_answers(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_ok()
}

#[cfg(not(unix))]
fn socket_answers(_: &Path) -> bool {
    false
}

/// A window that shows one picture after another. It cannot leave its thread, which must be the main one.
pub struct Window {
    title: String,
    shown: bool,
    closed: bool,
    _stays_on_its_thread: PhantomData<*const ()>,
}

impl Window {
    /// Prepares a window; it appears with the first picture.
    ///
    /// # Errors
    /// No display.
    pub fn open(title: &str, display: &Display) -> Result<Self> {
        if !display.answers() {
            return Err(Error::new("there is no display to open a window on")
                .advice("use --no-window with --output or --results, or start it from a desktop"));
        }
        named_window(title, WINDOW_NORMAL | WINDOW_KEEPRATIO | WINDOW_GUI_NORMAL)
            .context("the window cannot be opened")?;
        Ok(Self { title: title.to_owned(), shown: false, closed: false, _stays_on_its_thread: PhantomData })
    }

    /// Shows a picture. It is painted by the next [`Window::key`]. A window that its user closed stays closed.
    ///
    /// # Errors
    /// A window that the system takes away.
    pub fn show(&mut self, image: &Image) -> Result<()> {
        if self.is_closed() {
            return Ok(());
        }
        let (width, height) = (image.width() as i32, image.height() as i32);
        let pixels = Mat::new_rows_cols_with_bytes::<Vec3b>(height, width, image.pixels())
            .context("a picture cannot be shown")?;
        imshow(&self.title, &pixels).context("a picture cannot be shown")?;
        if !self.shown {
            let fit = (LARGEST.0 / f64::from(width)).min(LARGEST.1 / f64::from(height)).min(1.0);
            let side = |pixels: i32| (f64::from(pixels) * fit).round() as i32;
            resize_window(&self.title, side(width), side(height)).context("the window has no size")?;
            self.shown = true;
        }
        Ok(())
    }

    /// Paints, and waits for a key, but no longer than `wait` (at least a millisecond).
    ///
    /// # Errors
    /// A window that the system takes away.
    pub fn key(&mut self, wait: Duration) -> Result<Option<Key>> {
        if self.is_closed() {
            return Ok(Some(Key::Quit));
        }
        let wait = wait.as_millis().clamp(1, 1000) as i32;
        let code = wait_key_ex(wait).context("the window does not answer")?;
        if self.is_closed() {
            return Ok(Some(Key::Quit));
        }
        Ok(key_of(code))
    }

    fn is_closed(&mut self) -> bool {
        // Before the first picture it is not visible yet.
        self.closed |= self.shown
            && get_window_property(&self.title, WND_PROP_VISIBLE).map_or(true, |visible| visible < 1.0);
        self.closed
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        // The user may have closed it.
        let _ = destroy_window(&self.title);
    }
}

/// Arrows and the like have codes beyond a byte; bits above two bytes are Shift, Num Lock and so on.
fn key_of(code: i32) -> Option<Key> {
    let byte = u8::try_from(code & 0xffff).ok().filter(|_| code >= 0)?;
    match byte.to_ascii_lowercase() {
        b'q' | 27 => Some(Key::Quit),
        b' ' => Some(Key::Pause),
        b's' => Some(Key::Screenshot),
        b'm' => Some(Key::Mirror),
        b'l' => Some(Key::Landmarks),
        b'b' => Some(Key::Blur),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_told_from_arrows_and_from_nothing() {
        assert_eq!(key_of(i32::from(b'Q')), Some(Key::Quit));
        assert_eq!(key_of(27), Some(Key::Quit));
        assert_eq!(key_of(0x10_0000 | i32::from(b'b')), Some(Key::Blur), "with Num Lock");
        assert_eq!(key_of(0xff51), None, "an arrow ends in the code of Q");
        assert_eq!((key_of(-1), key_of(i32::from(b'x'))), (None, None));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn without_a_display_no_window_is_tried() {
        for set in
            [&[][..], &[("DISPLAY", ":6543")], &[("DISPLAY", "words")], &[("WAYLAND_DISPLAY", "no-such")]]
        {
            let variables: Vec<(&str, &str)> = set.to_vec();
            let display = Display::from_environment(|name| {
                variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
            });
            let line = Window::open("test", &display).err().unwrap().line();
            assert!(line.contains("no display") && line.contains("--no-window"), "{line}");
        }
        let offscreen = Display { qt: Some("offscreen".into()), ..Display::default() };
        assert!(offscreen.answers());
    }
}
