//! Everything that is written while frames pass: readings as data, and pictures with readings drawn on them.

use std::path::{Path, PathBuf};

use lanet_live::error::{Context, Error, Result};
use lanet_live::images;
use lanet_live::overlay::{Overlay, Style};
use lanet_live::part::Part;
use lanet_live::reader::Reading;
use lanet_live::results::Results;
use lanet_live::video::{Encoder, Settings, Writer};
use lanet_live::warning::Warnings;

use super::{Options, Source, style};

/// The files of a run.
pub struct Outputs {
    results: Option<(Results, String)>,
    drawing: Option<(Drawing, PathBuf)>,
    overlay: Overlay,
    style: Style,
    overwrite: bool,
}

enum Drawing {
    Video(Box<Writer>),
    /// Pictures of one run go into a folder under their own names.
    Folder,
    /// One picture.
    File,
}

impl Outputs {
    /// Refuses what cannot be written before anything is read.
    pub fn create(options: &Options, source: &Source) -> Result<Self> {
        let overwrite = options.overwrite.unwrap_or(false);
        if let Some(path) = &options.timeline {
            // Made and dropped again: whatever speaks against it is said now, not after the work.
            drop(Part::create(path, overwrite)?);
        }
        let results = match &options.results {
            Some(target) => Some((Results::create(target, overwrite)?, target.clone())),
            None => None,
        };
        let drawing = match &options.output {
            Some(path) => Some((drawing(path, source, options, overwrite)?, path.clone())),
            None => None,
        };
        Ok(Self { results, drawing, overlay: Overlay::default(), style: style(options, false), overwrite })
    }

    /// What cannot be written as asked.
    pub fn warnings(&self) -> Warnings {
        match &self.drawing {
            Some((Drawing::Video(writer), _)) => writer.warnings(),
            _ => Warnings::default(),
        }
    }

    /// Whether nothing is to be written.
    pub fn is_empty(&self) -> bool {
        self.results.is_none() && self.drawing.is_none()
    }

    /// Writes one reading; false when nobody reads any more.
    pub fn write(&mut self, reading: &Reading) -> Result<bool> {
        if let Some((results, _)) = &mut self.results
            && results.write(&reading.rows())?.is_break()
        {
            return Ok(false);
        }
        let Some((drawing, path)) = &mut self.drawing else { return Ok(true) };
        let image = self.overlay.draw(reading, self.style)?;
        match drawing {
            Drawing::Video(writer) => writer.write(&image, reading.frame.time)?,
            Drawing::File => images::write(path, &image, self.overwrite)?,
            Drawing::Folder => {
                let source = Path::new(&*reading.frame.source);
                let name = source.file_name().ok_or_else(|| Error::new("a picture has no name"))?;
                images::write(&path.join(name), &image, self.overwrite)?;
            }
        }
        Ok(true)
    }

    /// Gives every file its name; tells what was written.
    pub fn finish(self) -> Result<Vec<String>> {
        let mut written = Vec::new();
        if let Some((drawing, path)) = self.drawing {
            if let Drawing::Video(writer) = drawing {
                writer.finish()?;
            }
            written.push(path.display().to_string());
        }
        if let Some((results, target)) = self.results {
            results.finish()?;
            if target != "-" {
                written.push(target);
            }
        }
        Ok(written)
    }
}

fn drawing(path: &Path, source: &Source, options: &Options, overwrite: bool) -> Result<Drawing> {
    if !source.pictures {
        let settings = Settings {
            rate: source.rate.unwrap_or(25.0),
            source: source.file.clone(),
            trimmed: options.start.is_some(),
            overwrite,
            encoder: Encoder::find(),
        };
        return Ok(Drawing::Video(Box::new(Writer::create(path, settings)?)));
    }
    if source.count == Some(1) && path.extension().is_some() && !path.is_dir() {
        // Made and dropped again: whatever speaks against it is said now, not after the work.
        drop(Part::create(path, overwrite)?);
        return Ok(Drawing::File);
    }
    let input = options.input.as_deref().map(Path::new);
    if input.is_some_and(|input| input.canonicalize().ok() == path.canonicalize().ok()) && path.exists() {
        return Err(Error::usage("the output folder is the input folder").advice("choose another --output"));
    }
    if !path.exists() {
        std::fs::create_dir(path).with_context(|| format!("the folder {} cannot be made", path.display()))?;
    }
    Ok(Drawing::Folder)
}
