//! What was seen, with faces and expressions drawn on it: a video, a picture, or a folder of pictures.

use std::collections::BTreeSet;
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Receiver;
use crate::error::{Context, Error, Result};
use crate::images;
use crate::overlay::{Hud, Overlay, Style};
use crate::part::Part;
use crate::reading::Reading;
use crate::video::{EXTENSIONS, Settings, Writer};
use crate::warning::Warnings;

/// Draws readings into files.
pub struct Drawing {
    to: To,
    path: PathBuf,
    overlay: Overlay,
    style: Style,
    overwrite: bool,
}

enum To {
    Video(Box<Writer>),
    /// Pictures under these names, by the number of their frame. One that cannot be written does not end the others.
    Pictures(Vec<PathBuf>, Vec<Error>),
}

impl Drawing {
    /// A video.
    ///
    /// # Errors
    /// As for [`Writer::create`].
    pub fn video(path: PathBuf, settings: Settings, style: Style) -> Result<Self> {
        let overwrite = settings.overwrite;
        let to = To::Video(Box::new(Writer::create(&path, settings)?));
        Ok(Self { to, path, overlay: Overlay::default(), style, overwrite })
    }

    /// The pictures of these files, whose frames have their places as numbers, to where [`targets`] says.
    ///
    /// # Errors
    /// A name that is no picture's, a file that exists (unless `overwrite`), two pictures of one name, a place that
    /// cannot be written to.
    pub fn pictures(path: PathBuf, files: &[PathBuf], style: Style, overwrite: bool) -> Result<Self> {
        let targets = targets(&path, files);
        if targets == [&*path] {
            images::format_of(&path)?;
            // Made and dropped again.
            drop(Part::create(&path, overwrite)?);
            let to = To::Pictures(targets, Vec::new());
            return Ok(Self { to, path, overlay: Overlay::default(), style, overwrite });
        }
        let mut known = BTreeSet::new();
        for target in &targets {
            if target.exists() && !overwrite {
                return Err(Error::new(format!("'{}' exists already", target.display()))
                    .advice("choose another folder, or allow overwriting with -y"));
            }
            if !known.insert(target) {
                return Err(Error::usage(format!("two pictures would be written as '{}'", target.display()))
                    .advice("read one folder at a time"));
            }
        }
        let ending = path.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        let is_video = ending.is_some_and(|ending| EXTENSIONS.contains(&&*ending));
        if !path.is_dir() && (path.exists() || is_video) {
            return Err(Error::usage(format!(
                "'{}' is no folder, and pictures are drawn into one",
                path.display()
            ))
            .advice("name a folder, such as drawn/"));
        }
        if !path.exists() {
            fs::create_dir(&path).with_context(|| format!("the folder {} cannot be made", path.display()))?;
        }
        Ok(Self {
            to: To::Pictures(targets, Vec::new()),
            path,
            overlay: Overlay::default(),
            style,
            overwrite,
        })
    }

    /// What cannot be drawn as asked.
    pub fn warnings(&self) -> Warnings {
        match &self.to {
            To::Video(writer) => writer.warnings(),
            _ => Warnings::default(),
        }
    }
}

impl Receiver for Drawing {
    fn take(&mut self, reading: &Arc<Reading>) -> Result<ControlFlow<()>> {
        let image = self.overlay.draw(reading, self.style, &Hud::default());
        match &mut self.to {
            To::Video(writer) => writer.write(&image, reading.frame.time)?,
            To::Pictures(targets, failed) => {
                if let Some(target) = targets.get(reading.frame.index as usize) {
                    failed.extend(images::write(target, &image, self.overwrite).err());
                }
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn finish(self: Box<Self>) -> Result<Option<PathBuf>> {
        match self.to {
            To::Video(writer) => writer.finish()?,
            To::Pictures(_, mut failed) => match failed.len() {
                0 => {}
                1 => return Err(failed.remove(0)),
                count => {
                    return Err(Error::new(format!(
                        "{count} pictures could not be written, the first of them"
                    ))
                    .because(failed.remove(0)));
                }
            },
        }
        Ok(Some(self.path))
    }
}

/// Where the drawn pictures of these files go: a single one to `path` if that has an extension and is no folder, else
/// into a folder of that name, under their own names.
pub fn targets(path: &Path, files: &[PathBuf]) -> Vec<PathBuf> {
    if files.len() == 1 && path.extension().is_some() && !path.is_dir() {
        return vec![path.to_owned()];
    }
    files.iter().map(|file| path.join(drawn_name(file))).collect()
}

/// What the drawn picture of a file is called: as the file, as PNG where its kind is not written.
fn drawn_name(source: &Path) -> PathBuf {
    let name = PathBuf::from(source.file_name().unwrap_or_default());
    if images::format_of(&name).is_ok() { name } else { name.with_extension("png") }
}
