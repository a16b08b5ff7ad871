//! A reading as it is served: its rows and its picture, each made once, and only when somebody asks.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use axum::extract::ws::Utf8Bytes;
use jpeg_encoder::{ColorType, Encoder};
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use crate::overlay::{Hud, Overlay, Style};
use crate::reading::Reading;

const JPEG_QUALITY: u8 = 80;

/// A reading, and what has been made of it.
pub(super) struct Shown {
    pub(super) reading: Arc<Reading>,
    /// Whether the rows have the probabilities before they are smoothed.
    pub(super) raw: bool,
    /// Whether faces are hidden in the picture.
    pub(super) hidden: bool,
    /// When it came.
    pub(super) came: Instant,
    /// Between it and those before, on average.
    pub(super) interval: Duration,
    rows: OnceLock<Utf8Bytes>,
    jpeg: OnceCell<Option<Bytes>>,
}

impl Shown {
    pub(super) fn new(reading: Arc<Reading>, raw: bool, hidden: bool, interval: Duration) -> Self {
        let (rows, jpeg) = (OnceLock::new(), OnceCell::new());
        Self { reading, raw, hidden, came: Instant::now(), interval, rows, jpeg }
    }

    /// The rows as JSON, one to a line, as in a file of results.
    pub(super) fn rows(&self) -> Utf8Bytes {
        let text = || {
            let rows = self.reading.rows(self.raw);
            // A row is plain data: it can always be written.
            let lines: Vec<_> = rows.iter().filter_map(|row| serde_json::to_string(row).ok()).collect();
            lines.join("\n").into()
        };
        self.rows.get_or_init(text).clone()
    }

    /// The picture without anything drawn on it, as JPEG; none where there is nothing to see.
    pub(super) async fn jpeg(self: Arc<Self>) -> Option<Bytes> {
        let shown = self.clone();
        let jpeg = || async { spawn_blocking(move || shown.encode()).await.ok().flatten() };
        self.jpeg.get_or_init(jpeg).await.clone()
    }

    fn encode(&self) -> Option<Bytes> {
        let hidden =
            self.hidden.then(|| Overlay::default().draw(&self.reading, Style::HIDING, &Hud::default()));
        let image = hidden.as_ref().unwrap_or(&self.reading.frame.image);
        let (width, height) = (u16::try_from(image.width()).ok()?, u16::try_from(image.height()).ok()?);
        let mut jpeg = Vec::new();
        Encoder::new(&mut jpeg, JPEG_QUALITY).encode(image.pixels(), width, height, ColorType::Bgr).ok()?;
        Some(jpeg.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::{Frame, Image};
    use crate::geometry::Rect;
    use crate::images;

    fn shown(image: Image, hidden: bool) -> Shown {
        let whereabouts = vec![Rect::new(20.0, 20.0, 40.0, 40.0)];
        let frame = Frame { image, source: "test".into(), index: 3, time: Duration::from_millis(40) };
        let reading = Reading { frame, faces: vec![], whereabouts };
        Shown::new(Arc::new(reading), false, hidden, Duration::ZERO)
    }

    #[test]
    fn the_picture_is_that_of_the_frame_and_hides_whom_it_should() {
        let pixels = (0..80 * 80).flat_map(|i| if i / 8 % 2 == 0 { [200u8, 90, 20] } else { [20, 40, 60] });
        let image = Image::new(80, 80, pixels.collect()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.jpg");
        let seen = |hidden| {
            std::fs::write(&path, shown(image.clone(), hidden).encode().unwrap()).unwrap();
            images::read(&path).unwrap()
        };
        let near = |a: [u8; 3], b: [u8; 3]| a.iter().zip(b).all(|(&a, b)| a.abs_diff(b) < 40);
        assert!(near(seen(false).bgr(4, 40), [200, 90, 20]) && near(seen(false).bgr(36, 40), [200, 90, 20]));
        assert!(near(seen(true).bgr(4, 4), [200, 90, 20]) && !near(seen(true).bgr(36, 40), [200, 90, 20]));
    }

    #[test]
    fn what_cannot_be_a_picture_is_none_and_has_rows_all_the_same() {
        let shown = shown(Image::filled(0, 0, [0; 3]), false);
        assert!(shown.encode().is_none());
        assert_eq!(shown.rows(), r#"{"v":1,"source":"test","frame":3,"time":0.04,"track":null}"#);
    }
}
