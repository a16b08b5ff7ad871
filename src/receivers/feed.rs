//! What was seen with faces and expressions drawn on it, as a virtual camera that other programs see.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use super::Receiver;
use super::pace::Brake;
use crate::camera::VirtualCamera;
use crate::error::Result;
use crate::overlay::{Hud, Overlay, Style};
use crate::reading::Reading;

/// Draws readings into a virtual camera.
pub struct Feed {
    camera: VirtualCamera,
    overlay: Overlay,
    style: Style,
    brake: Option<Brake>,
}

impl Feed {
    /// Feeds a camera. What is not `live` is shown no faster than it was filmed; `stop` ends a wait for that.
    pub fn new(
        camera: VirtualCamera,
        style: Style,
        live: bool,
        stop: impl Fn() -> bool + Send + 'static,
    ) -> Self {
        Self { camera, overlay: Overlay::default(), style, brake: (!live).then(|| Brake::new(stop)) }
    }
}

impl Receiver for Feed {
    fn take(&mut self, reading: &Arc<Reading>) -> Result<ControlFlow<()>> {
        let image = self.overlay.draw(reading, self.style, &Hud::default());
        if let Some(brake) = &mut self.brake {
            brake.wait(reading.frame.time);
        }
        self.camera.show(&image)?;
        Ok(ControlFlow::Continue(()))
    }

    fn finish(self: Box<Self>) -> Result<Option<PathBuf>> {
        Ok(None)
    }
}
