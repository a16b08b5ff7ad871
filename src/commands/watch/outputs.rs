//! Everything that is written while frames pass: readings as data, and pictures with readings drawn on them.

use std::collections::BTreeSet;
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
        let read: BTreeSet<PathBuf> = source.files.iter().filter_map(|f| f.canonicalize().ok()).collect();
        if let Some(path) = &options.timeline {
            check_picture(path, &read, overwrite)?;
        }
        let results = match &options.results {
            Some(target) => {
                refuse_inputs(Path::new(target), &read)?;
                Some((Results::create(target, overwrite)?, target.clone()))
            }
            None => None,
        };
        let drawing = match &options.output {
            Some(path) => Some((drawing(path, source, &read, options, overwrite)?, path.clone())),
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
                let name = drawn_name(Path::new(&*reading.frame.source));
                images::write(&path.join(name), &image, self.overwrite)?;
            }
        }
        Ok(true)
    }

    /// Gives every file its name, and notes of each what became of it.
    pub fn finish(self, note: &mut impl FnMut(String, Result<()>)) {
        if let Some((drawing, path)) = self.drawing {
            let finished = if let Drawing::Video(writer) = drawing { writer.finish() } else { Ok(()) };
            note(path.display().to_string(), finished);
        }
        if let Some((results, target)) = self.results {
            match results.finish() {
                Ok(()) if target == "-" => {}
                finished => note(target, finished),
            }
        }
    }
}

/// Refuses a picture that could not be written, now instead of after the work.
fn check_picture(path: &Path, read: &BTreeSet<PathBuf>, overwrite: bool) -> Result<()> {
    images::format_of(path)?;
    refuse_inputs(path, read)?;
    // Made and dropped again.
    Part::create(path, overwrite).map(drop)
}

/// Refuses a file that is `read` in this run.
fn refuse_inputs(path: &Path, read: &BTreeSet<PathBuf>) -> Result<()> {
    if path.canonicalize().is_ok_and(|path| read.contains(&path)) {
        return Err(Error::usage(format!("'{}' would be both read and written", path.display()))
            .advice("choose another name for what is written"));
    }
    Ok(())
}

/// What the drawn picture of a file is called: as the file, as PNG where its kind is not written.
fn drawn_name(source: &Path) -> PathBuf {
    let name = PathBuf::from(source.file_name().unwrap_or_default());
    if images::format_of(&name).is_ok() { name } else { name.with_extension("png") }
}

fn drawing(
    path: &Path,
    source: &Source,
    read: &BTreeSet<PathBuf>,
    options: &Options,
    overwrite: bool,
) -> Result<Drawing> {
    if !source.pictures {
        let settings = Settings {
            rate: source.rate.unwrap_or(25.0),
            source: source.files.first().cloned(),
            trimmed: options.start.is_some(),
            overwrite,
            encoder: Encoder::find(),
        };
        return Ok(Drawing::Video(Box::new(Writer::create(path, settings)?)));
    }
    if source.files.len() == 1 && path.extension().is_some() && !path.is_dir() {
        check_picture(path, read, overwrite)?;
        return Ok(Drawing::File);
    }
    let mut names = BTreeSet::new();
    for file in &source.files {
        let target = path.join(drawn_name(file));
        refuse_inputs(&target, read)?;
        if target.exists() && !overwrite {
            return Err(Error::new(format!("'{}' exists already", target.display()))
                .advice("choose another folder, or allow overwriting with -y"));
        }
        if let Some(target) = names.replace(target) {
            return Err(Error::usage(format!("two pictures would be written as '{}'", target.display()))
                .advice("read one folder at a time"));
        }
    }
    if !path.exists() {
        std::fs::create_dir(path).with_context(|| format!("the folder {} cannot be made", path.display()))?;
    }
    Ok(Drawing::Folder)
}
