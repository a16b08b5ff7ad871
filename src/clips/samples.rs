//! From labelled pictures and clips to samples: the face of each picture is found once and remembered in a file.
//!
//! The pictures are faces already, more or less tightly cut. Where no face is found the whole picture is used, and
//! counted: no picture is dropped because of its face. The frames of clips are as cameras see them: only those that show
//! the face that is meant become samples, and a clip without any is left out by name.

use std::path::{Path, PathBuf};

use candle_core::Device;
use rayon::prelude::*;

use super::Entry;
use super::cache::{Cache, Points, Stamp, mesh_of, points_of};
use super::sample::{Found, Sample, picture};
use crate::error::{Error, Result};
use crate::expression::Distribution;
use crate::face::{FaceFinder, Options, Which};
use crate::net;

/// Pictures between two words of progress.
const BATCH: usize = 256;
/// Clips between two words of progress.
const CLIPS: usize = 8;

/// A picture or clip that cannot be used, and why.
pub type Unreadable = (PathBuf, String);

/// What came of an extraction.
#[derive(Debug)]
pub struct Extracted {
    /// The samples, in the order of the entries, without the pictures and clips that cannot be used.
    pub samples: Vec<Sample>,
    /// Pictures and clips that cannot be used, or not wholly, each with the reason.
    pub unreadable: Vec<Unreadable>,
    /// Why the faces could not be remembered, if they could not.
    pub forgotten: Option<Error>,
}

/// Looks for the faces of labelled pictures and clips: an iterator over how many are done, then the samples.
pub struct Extraction {
    entries: Vec<Entry>,
    finder: FaceFinder,
    which: Which,
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
            which: Which::Only,
            cache: Cache::open(cache, &found_by),
            samples: Vec::new(),
            done: 0,
            unreadable: Vec::new(),
        })
    }

    /// Takes this face of each clip.
    pub fn of_face(self, which: Which) -> Self {
        Self { which, ..self }
    }

    /// How many pictures and clips there are.
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
        let (rest, which) = (&self.entries[self.done..], self.which);
        let clips = rest[0].is_clip();
        // Either pictures or clips.
        let turn = rest.iter().take(if clips { CLIPS } else { BATCH });
        let entries = &rest[..turn.take_while(|entry| entry.is_clip() == clips).count()];
        let (finder, cache) = (&self.finder, &self.cache);
        // A file that cannot be read is one thing, a network that fails another.
        type Look = (Option<(Stamp, Option<Points>)>, Result<Found>);
        let look = |finder: &mut FaceFinder, entry: &Entry| -> Result<Look> {
            if clips {
                return Ok((None, of_clip(entry, finder, which)?));
            }
            let stamp = Stamp::of(&entry.path);
            if let Some(face) = cache.get(&entry.path, stamp) {
                return Ok((None, Ok((vec![of_picture(entry, face)], None))));
            }
            let image = match picture(&entry.path) {
                Ok(image) => image,
                Err(error) => return Ok((None, Err(error))),
            };
            let face = finder.find_in_crop(&image)?.as_ref().and_then(points_of);
            Ok((stamp.map(|stamp| (stamp, face)), Ok((vec![of_picture(entry, face)], None))))
        };
        let looks: Result<Vec<_>> = entries.par_iter().map_init(|| finder.clone(), look).collect();
        let looks = match looks {
            Ok(looks) => looks,
            Err(error) => {
                self.done = self.entries.len();
                return Some(Err(error));
            }
        };
        for (n, (entry, (new, found))) in entries.iter().zip(looks).enumerate() {
            if let Some((stamp, face)) = new {
                self.cache.put(&entry.path, stamp, face);
            }
            match found {
                Ok((samples, broken)) => {
                    let number = self.done + n;
                    self.samples.extend(samples.into_iter().map(|sample| Sample { entry: number, ..sample }));
                    self.unreadable.extend(broken.map(|why| (entry.path.clone(), why)));
                }
                Err(error) => self.unreadable.push((entry.path.clone(), error.line())),
            }
        }
        self.done += entries.len();
        Some(Ok(self.done))
    }
}

fn of_picture(entry: &Entry, face: Option<Points>) -> Sample {
    Sample {
        path: entry.path.clone(),
        entry: 0,
        label: entry.label,
        target: entry.votes.unwrap_or_else(|| Distribution::certain(entry.label)),
        mesh: face.as_ref().map(mesh_of),
        person: entry.person.clone(),
        still: None,
    }
}

#[cfg(feature = "capture")]
fn of_clip(entry: &Entry, finder: &FaceFinder, which: Which) -> Result<Result<Found>> {
    super::frames::samples(entry, finder, which)
}

#[cfg(not(feature = "capture"))]
fn of_clip(_: &Entry, _: &FaceFinder, _: Which) -> Result<Result<Found>> {
    Ok(Err(Error::new("this build reads no clips").advice("build it with the feature 'capture'")))
}
