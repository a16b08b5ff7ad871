//! The live window. It belongs to the main thread: no system lets others draw.
//!
//! `winit` opens it and `softbuffer` fills it, because of what a user gets: one program for X11, Wayland, macOS and
//! Windows that is linked to none of their libraries on Linux (they are looked for when a window opens, so that a
//! server needs none); an error instead of an abort where there is no display; physical pixels on screens of high
//! density; every key press once, by what is written on the key. OpenCV's window lets a key pass that is pressed
//! between two looks, and Debian's ends the program without a display; `minifb` draws on one scale of pixels and does
//! not frame its windows on Wayland; `eframe` brings a toolkit and a graphics driver for a picture and ten keys.

mod keys;

use std::collections::VecDeque;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::time::{Duration, Instant};

use fast_image_resize::images::{Image as Scaled, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use softbuffer::{Context as Screen, Surface};
use winit::application::ApplicationHandler;
use winit::dpi::LogicalSize;
use winit::event::WindowEvent;
use winit::event_loop::{ActiveEventLoop, EventLoop};
use winit::platform::pump_events::{EventLoopExtPumpEvents, PumpStatus};
use winit::window::{Window as Frame, WindowId};

pub use keys::{HELP, Key};

use crate::error::{Context, Error, Result};
use crate::frame::Image;
use keys::key_of;

/// How wide and high a window appears at most; its user may make it larger.
const LARGEST: (f64, f64) = (1280.0, 720.0);
/// Smaller pictures appear enlarged to about this width.
const SMALLEST: f64 = 640.0;
/// How long nobody looks whether a key was pressed.
const NAP: Duration = Duration::from_millis(8);

/// A window that shows one picture after another. It cannot leave its thread, which must be the main one.
pub struct Window {
    /// Gone once the display is.
    events: Option<EventLoop<()>>,
    pane: Pane,
    watch: Watch,
}

impl Window {
    /// Prepares a window; it appears with the first picture. A program has one in its life.
    ///
    /// # Errors
    /// No display.
    pub fn open(title: &str) -> Result<Self> {
        let watch = Watch::of_the_display()?;
        let events = event_loop().map_err(|error| {
            Error::new("there is no display to open a window on")
                .advice("start it from a desktop, or use --no-window (with --output or --results where nothing else is made)")
                .because(said(&error))
        })?;
        Ok(Self { events: Some(events), pane: Pane::new(title), watch })
    }

    /// Shows a picture, whatever its size. A window that its user closed stays closed.
    ///
    /// # Errors
    /// The display is gone.
    pub fn show(&mut self, image: Image) -> Result<()> {
        self.pane.image = Some(image);
        if self.pane.surface.is_some() && !self.pane.closed {
            self.pane.paint();
        }
        self.pump()
    }

    /// The next key that was pressed, waiting for one no longer than `wait`.
    ///
    /// # Errors
    /// The display is gone.
    pub fn key(&mut self, wait: Duration) -> Result<Option<Key>> {
        let end = Instant::now() + wait;
        loop {
            self.pump()?;
            if self.pane.closed {
                return Ok(Some(Key::Quit));
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.pane.keys.pop_front() {
                None if !left.is_zero() => std::thread::sleep(left.min(NAP)),
                key => return Ok(key),
            }
        }
    }

    /// Lets the system tell what happened to the window.
    fn pump(&mut self) -> Result<()> {
        if let Some(events) = &mut self.events {
            // Xlib ends the program when it finds its display gone, so it is never asked then, nor told goodbye;
            // and it is never waited in.
            let alive = self.watch.answers()
                && !matches!(
                    events.pump_app_events(Some(Duration::ZERO), &mut self.pane),
                    PumpStatus::Exit(_)
                );
            let failure = self.pane.failure.take();
            if alive && failure.is_none() {
                return Ok(());
            }
            std::mem::forget(self.events.take());
            std::mem::forget(self.pane.surface.take());
            if let (true, Some(failure)) = (alive, failure) {
                return Err(Error::new("the window cannot be drawn").because(failure));
            }
        }
        Err(Error::new("the window's display is gone").advice("what was recorded until then is kept"))
    }
}

/// What an error says, without the place in the library's source that comes first.
fn said(error: &winit::error::EventLoopError) -> String {
    let text = error.to_string();
    text.split_once(": ").map_or(text.clone(), |(_, said)| said.to_owned())
}

/// Elsewhere than on macOS, any thread may be the one that draws.
fn event_loop() -> std::result::Result<EventLoop<()>, winit::error::EventLoopError> {
    #[cfg(all(unix, not(target_os = "macos")))]
    {
        use winit::platform::x11::EventLoopBuilderExtX11;
        EventLoop::builder().with_any_thread(true).build()
    }
    #[cfg(not(all(unix, not(target_os = "macos"))))]
    EventLoop::new()
}

/// Knows whether an X server still answers, by a connection of its own.
struct Watch {
    #[cfg(all(unix, not(target_os = "macos")))]
    server: Option<x11rb::rust_connection::RustConnection>,
}

#[cfg(all(unix, not(target_os = "macos")))]
impl Watch {
    /// Fails where an X server answers and the library is absent without which `winit` panics then.
    fn of_the_display() -> Result<Self> {
        let server = x11rb::connect(None).ok().map(|(server, _)| server);
        if server.is_some() && xkbcommon_dl::x11::xkbcommon_x11_option().is_none() {
            return Err(Error::new("there is no window without the library libxkbcommon-x11")
                .advice("install it (on Debian: apt-get install libxkbcommon-x11-0), or use --no-window"));
        }
        Ok(Self { server })
    }

    fn answers(&self) -> bool {
        use x11rb::connection::Connection;
        self.server.as_ref().is_none_or(|server| server.poll_for_event().is_ok())
    }
}

#[cfg(not(all(unix, not(target_os = "macos"))))]
impl Watch {
    fn of_the_display() -> Result<Self> {
        Ok(Self {})
    }

    fn answers(&self) -> bool {
        true
    }
}

/// The window as the system sees it.
struct Pane {
    title: String,
    /// What it shows.
    image: Option<Image>,
    surface: Option<Surface<Rc<Frame>, Rc<Frame>>>,
    resizer: Resizer,
    keys: VecDeque<Key>,
    closed: bool,
    failure: Option<Error>,
}

impl ApplicationHandler for Pane {
    fn resumed(&mut self, _: &ActiveEventLoop) {}

    fn about_to_wait(&mut self, events: &ActiveEventLoop) {
        if let (None, Some(image), None) = (&self.surface, &self.image, &self.failure) {
            match self.appear(events, appearance(image)) {
                Ok(surface) => self.surface = Some(surface),
                Err(error) => self.failure = Some(error),
            }
        }
    }

    fn window_event(&mut self, _: &ActiveEventLoop, _: WindowId, event: WindowEvent) {
        match event {
            WindowEvent::CloseRequested | WindowEvent::Destroyed => self.closed = true,
            WindowEvent::KeyboardInput { event, is_synthetic: false, .. } => self.keys.extend(key_of(&event)),
            WindowEvent::RedrawRequested | WindowEvent::Resized(_) => self.paint(),
            _ => {}
        }
    }
}

impl Pane {
    fn new(title: &str) -> Self {
        Self {
            title: title.to_owned(),
            image: None,
            surface: None,
            resizer: Resizer::new(),
            keys: VecDeque::new(),
            closed: false,
            failure: None,
        }
    }

    fn appear(&self, events: &ActiveEventLoop, size: (f64, f64)) -> Result<Surface<Rc<Frame>, Rc<Frame>>> {
        let wanted = Frame::default_attributes()
            .with_title(&self.title)
            .with_inner_size(LogicalSize::new(size.0, size.1))
            .with_min_inner_size(LogicalSize::new(160.0, 120.0));
        let frame = Rc::new(events.create_window(wanted).context("the window cannot be opened")?);
        let screen = Screen::new(frame.clone()).map_err(|e| Error::new(e.to_string()))?;
        Surface::new(&screen, frame).map_err(|e| Error::new(e.to_string()))
    }

    fn paint(&mut self) {
        if let Err(error) = self.painted() {
            self.failure.get_or_insert(error);
        }
    }

    /// Draws the picture as large as it fits, with black beside it.
    fn painted(&mut self) -> Result<()> {
        let (Some(surface), Some(image)) = (&mut self.surface, &self.image) else { return Ok(()) };
        let frame = surface.window().clone();
        let size = frame.inner_size();
        let (Some(width), Some(height)) = (NonZeroU32::new(size.width), NonZeroU32::new(size.height)) else {
            return Ok(());
        };
        let failed = |error: softbuffer::SoftBufferError| Error::new(error.to_string());
        surface.resize(width, height).map_err(failed)?;
        let mut buffer = surface.buffer_mut().map_err(failed)?;
        let inside = fitted((image.width(), image.height()), (width.get() as usize, height.get() as usize));
        if inside.2 == image.width() && inside.3 == image.height() {
            fill(&mut buffer, width.get() as usize, inside, image.pixels().as_chunks::<3>().0);
        } else {
            let scaled = scaled(&mut self.resizer, image, inside.2, inside.3)?;
            fill(&mut buffer, width.get() as usize, inside, scaled.buffer().as_chunks::<4>().0);
        }
        frame.pre_present_notify();
        buffer.present().map_err(failed)
    }
}

/// How large a window appears for a picture, in logical pixels.
fn appearance(image: &Image) -> (f64, f64) {
    let (w, h) = (image.width().max(1) as f64, image.height().max(1) as f64);
    let fit = (LARGEST.0 / w).min(LARGEST.1 / h);
    let scale = fit.min((SMALLEST / w).max(1.0));
    ((w * scale).round(), (h * scale).round())
}

/// Where a picture goes in a window: left, top, width and height.
fn fitted((w, h): (usize, usize), (width, height): (usize, usize)) -> (usize, usize, usize, usize) {
    if w == 0 || h == 0 {
        return (0, 0, 0, 0);
    }
    let (mut wide, mut high) = (width, (width * h + w / 2) / w);
    if high > height {
        (wide, high) = ((height * w + h / 2) / h, height);
    }
    let (wide, high) = (wide.clamp(1, width), high.clamp(1, height));
    ((width - wide) / 2, (height - high) / 2, wide, high)
}

/// The picture in another size, with a fourth byte to each pixel.
fn scaled(resizer: &mut Resizer, image: &Image, width: usize, height: usize) -> Result<Scaled<'static>> {
    let mut scaled = Scaled::new(width as u32, height as u32, PixelType::U8x4);
    if width > 0 && height > 0 {
        let filter = ResizeAlg::Convolution(FilterType::Bilinear);
        let options = ResizeOptions::new().resize_alg(filter).use_alpha(false);
        let (pixels, _) = image.pixels().as_chunks::<3>();
        let wide: Vec<u8> = pixels.iter().flat_map(|&[b, g, r]| [b, g, r, 0]).collect();
        let (w, h) = (image.width() as u32, image.height() as u32);
        let image = ImageRef::new(w, h, &wide, PixelType::U8x4).context("a picture cannot be shown")?;
        resizer.resize(&image, &mut scaled, &options).context("a picture cannot be shown")?;
    }
    Ok(scaled)
}

/// Copies a picture, its pixels beginning with B, G and R, to its place in a window's; the rest becomes black.
fn fill<const N: usize>(
    buffer: &mut [u32],
    width: usize,
    inside: (usize, usize, usize, usize),
    pixels: &[[u8; N]],
) {
    let (left, top, w, h) = inside;
    let mut lines = pixels.chunks_exact(w.max(1));
    for (y, row) in buffer.chunks_exact_mut(width.max(1)).enumerate() {
        let line = if (top..top + h).contains(&y) { lines.next() } else { None };
        let Some(line) = line else {
            row.fill(0);
            continue;
        };
        row[..left].fill(0);
        row[left + w..].fill(0);
        for (to, from) in row[left..].iter_mut().zip(line) {
            *to = u32::from_be_bytes([0, from[2], from[1], from[0]]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_fits_its_window_with_black_beside_it() {
        assert_eq!(fitted((640, 360), (1280, 720)), (0, 0, 1280, 720));
        assert_eq!(fitted((640, 480), (1280, 720)), (160, 0, 960, 720));
        assert_eq!(fitted((100, 10), (50, 50)), (0, 22, 50, 5));
        assert_eq!(fitted((1, 5000), (10, 10)), (4, 0, 1, 10));
        assert_eq!(fitted((0, 3), (10, 10)), (0, 0, 0, 0));
        let mut window = [9; 4 * 3];
        fill(&mut window, 4, (1, 1, 2, 1), &[[1, 2, 3], [4, 5, 6]]);
        assert_eq!(window, [0, 0, 0, 0, 0, 0x0003_0201, 0x0006_0504, 0, 0, 0, 0, 0]);
    }

    #[test]
    fn pictures_are_scaled_both_ways_and_windows_have_a_reasonable_size() {
        let image = Image::filled(64, 48, [10, 20, 30]);
        for (w, h) in [(7, 5), (640, 480), (0, 0)] {
            let scaled = scaled(&mut Resizer::new(), &image, w, h).unwrap();
            assert_eq!(scaled.buffer(), [10, 20, 30, 0].repeat(w * h));
        }
        assert_eq!(appearance(&Image::filled(320, 240, [0; 3])), (640.0, 480.0));
        assert_eq!(appearance(&Image::filled(640, 360, [0; 3])), (640.0, 360.0));
        assert_eq!(appearance(&Image::filled(3840, 2160, [0; 3])), (1280.0, 720.0));
        assert_eq!(appearance(&Image::filled(100, 2000, [0; 3])), (36.0, 720.0));
    }
}
