//! From labelled pictures to samples: the face of each is found once and remembered in a file.
//!
//! The pictures are faces already, more or less tightly cut. Where no face is found the whole picture is used, and
//! counted: no picture is dropped because of its face.

use std::path::{Path, PathBuf};

use candle_core::Device;
use rayon::prelude::*;

use super::Entry;
use super::cache::{Cache, Points, Stamp, mesh_of, points_of};
use crate::error::{Error, Result};
use crate::expression::{Distribution, Expression};
use crate::face::{FaceFinder, Mesh, Options};
use crate::frame::Image;
use crate::images;
use crate::net;

/// Pictures between two words of progress.
const BATCH: usize = 256;
/// Larger pictures are reduced to this side, in pixels: a crop needs no more.
const LONGEST: u32 = 4096;

/// A labelled picture and the face in it.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The file.
    pub path: PathBuf,
    /// The expression that it is counted as.
    pub label: Expression,
    /// What to learn: the taggers' votes where there are any, else the label.
    pub target: Distribution,
    /// The landmarks in pixels of the picture, if a face was found: those that frame the crop and those that are
    /// learnt, the others being not a number.
    pub mesh: Option<Mesh>,
}

impl Sample {
    /// Reads the picture again.
    ///
    /// # Errors
    /// A file that is gone.
    pub fn image(&self) -> Result<Image> {
        picture(&self.path)
    }
}

/// A picture as faces are looked for in it.
///
/// # Errors
/// As [`images::read`].
pub fn picture(path: &Path) -> Result<Image> {
    images::read_reduced(path, LONGEST)
}

/// A picture that cannot be read, and why.
pub type Unreadable = (PathBuf, String);

/// What came of an extraction.
#[derive(Debug)]
pub struct Extracted {
    /// The samples, in the order of the entries, without the pictures that cannot be read.
    pub samples: Vec<Sample>,
    /// Pictures that cannot be read, each with the reason.
    pub unreadable: Vec<Unreadable>,
    /// Why the faces could not be remembered, if they could not.
    pub forgotten: Option<Error>,
}

/// Looks for the faces of labelled pictures: an iterator over how many are done, then the samples.
pub struct Extraction {
    entries: Vec<Entry>,
    finder: FaceFinder,
    cache: Cache,
    samples: Vec<Sample>,
    done: usize,
    unreadable: Vec<Unreadable>,
}

impl Extraction {
    /// Prepares to look at `entries`. Faces that an earlier run found and remembered in the folder `cache` are not
    /// looked for again, and what is found now is remembered there.
    ///
    /// # Errors
    /// A device that cannot hold the networks.
    pub fn new(entries: Vec<Entry>, cache: Option<&Path>, device: &Device) -> Result<Self> {
        let options = Options::default();
        let mut found_by = format!("{options:?}");
        for name in ["blazeface-short", "facemesh"] {
            found_by += &net::embedded(name, &Device::Cpu)?.card.fingerprint;
        }
        Ok(Self {
            entries,
            finder: FaceFinder::new(options, device)?,
            cache: Cache::open(cache, &found_by),
            samples: Vec::new(),
            done: 0,
            unreadable: Vec::new(),
        })
    }

    /// How many pictures there are.
    pub fn total(&self) -> usize {
        self.entries.len()
    }

    /// Remembers what was found so far, for a run that ends early.
    ///
    /// # Errors
    /// A cache that cannot be written.
    pub fn remember(&mut self) -> Result<()> {
        self.cache.save()
    }

    /// The samples. What is not done yet is done now.
    ///
    /// # Errors
    /// A network that fails.
    pub fn finish(mut self) -> Result<Extracted> {
        for done in self.by_ref() {
            done?;
        }
        let forgotten = self.remember().err();
        Ok(Extracted { samples: self.samples, unreadable: self.unreadable, forgotten })
    }
}

impl Iterator for Extraction {
    type Item = Result<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done == self.entries.len() {
            return None;
        }
        let end = (self.done + BATCH).min(self.entries.len());
        let (finder, cache) = (&self.finder, &self.cache);
        // A picture that cannot be read is one thing, a network that fails another.
        type Look = (Option<Stamp>, Result<Option<Points>>);
        let look = |finder: &mut FaceFinder, entry: &Entry| -> Result<Look> {
            let stamp = Stamp::of(&entry.path);
            if let Some(face) = cache.get(&entry.path, stamp) {
                return Ok((None, Ok(face)));
            }
            let face = match picture(&entry.path) {
                Ok(image) => Ok(finder.find_in_crop(&image)?.as_ref().and_then(points_of)),
                Err(error) => Err(error),
            };
            Ok((stamp, face))
        };
        let entries = &self.entries[self.done..end];
        let looks: Result<Vec<_>> = entries.par_iter().map_init(|| finder.clone(), look).collect();
        let looks = match looks {
            Ok(looks) => looks,
            Err(error) => {
                self.done = self.entries.len();
                return Some(Err(error));
            }
        };
        for (entry, (new, face)) in entries.iter().zip(looks) {
            let face = match face {
                Ok(face) => face,
                Err(error) => {
                    self.unreadable.push((entry.path.clone(), error.line()));
                    continue;
                }
            };
            if let Some(stamp) = new {
                self.cache.put(&entry.path, stamp, face);
            }
            self.samples.push(Sample {
                path: entry.path.clone(),
                label: entry.label,
                target: entry.votes.unwrap_or_else(|| Distribution::certain(entry.label)),
                mesh: face.as_ref().map(mesh_of),
            });
        }
        self.done = end;
        Some(Ok(end))
    }
}
