//! From labelled pictures to samples: the face of each is found once and remembered in a file.
//!
//! The pictures are faces already, more or less tightly cut. Where no face is found the whole picture is used, and
//! counted: no picture is dropped because of its face.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use rayon::prelude::*;

use super::Entry;
use crate::error::{Context, Result};
use crate::expression::{COUNT, Distribution, Expression};
use crate::face::{FaceFinder, Mesh};
use crate::frame::Image;
use crate::geometry::Point;
use crate::images;
use crate::net::{self, card::fingerprint};
use crate::part::Part;

/// Pictures between two words of progress.
const BATCH: usize = 256;
/// Landmarks of a mesh.
const LANDMARKS: usize = 468;

/// A labelled picture and the face in it.
#[derive(Debug, Clone)]
pub struct Sample {
    /// The file.
    pub path: PathBuf,
    /// The expression that it is counted as.
    pub label: Expression,
    /// What to learn: the taggers' votes where there are any, else the label.
    pub target: Distribution,
    /// The landmarks in pixels of the picture, if a face was found.
    pub mesh: Option<Mesh>,
}

impl Sample {
    /// Reads the picture again.
    ///
    /// # Errors
    /// A file that is gone.
    pub fn image(&self) -> Result<Image> {
        images::read(&self.path)
    }
}

/// A picture that cannot be read, and why.
pub type Unreadable = (PathBuf, String);

/// Looks for the faces of labelled pictures: an iterator over how many are done, then the samples.
pub struct Extraction {
    entries: Vec<Entry>,
    finder: FaceFinder,
    known: HashMap<PathBuf, Option<Mesh>>,
    samples: Vec<Sample>,
    done: usize,
    /// Pictures that cannot be read, each with the reason.
    pub unreadable: Vec<Unreadable>,
    cache: Option<PathBuf>,
    key: String,
}

impl Extraction {
    /// Prepares to look at `entries`. What an earlier run with the same list and the same networks wrote to `cache`
    /// is used, and what is found now is written there.
    ///
    /// # Errors
    /// A device that cannot hold the networks.
    pub fn new(entries: Vec<Entry>, cache: Option<&Path>, device: &Device) -> Result<Self> {
        let finder = FaceFinder::new(crate::face::Options::default(), device)?;
        let key = key(&entries)?;
        let cache = cache.map(|folder| folder.join(format!("faces-{}.safetensors", &key[..16])));
        let known = cache.as_deref().and_then(|file| load(file, &key, &entries)).unwrap_or_default();
        Ok(Self { entries, finder, known, samples: Vec::new(), done: 0, unreadable: Vec::new(), cache, key })
    }

    /// How many pictures there are.
    pub fn total(&self) -> usize {
        self.entries.len()
    }

    /// The samples, in the order of the entries, without the pictures that cannot be read. What is not done yet is
    /// done now.
    ///
    /// # Errors
    /// A network that fails; a cache that cannot be written.
    pub fn finish(mut self) -> Result<(Vec<Sample>, Vec<Unreadable>)> {
        for done in self.by_ref() {
            done?;
        }
        if let Some(file) = &self.cache
            && !file.exists()
        {
            save(file, &self.key, &self.samples)?;
        }
        Ok((self.samples, self.unreadable))
    }
}

impl Iterator for Extraction {
    type Item = Result<usize>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.done == self.entries.len() {
            return None;
        }
        let end = (self.done + BATCH).min(self.entries.len());
        let (finder, known) = (&self.finder, &self.known);
        let look = |finder: &mut FaceFinder, entry: &Entry| -> Result<Result<Option<Mesh>>> {
            if let Some(mesh) = known.get(&entry.path) {
                return Ok(Ok(mesh.clone()));
            }
            // A picture that cannot be read is one thing, a network that fails another.
            match images::read(&entry.path) {
                Ok(image) => finder.find_in_crop(&image).map(Ok),
                Err(error) => Ok(Err(error)),
            }
        };
        let found: Result<Vec<_>> =
            self.entries[self.done..end].par_iter().map_init(|| finder.clone(), look).collect();
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                self.done = self.entries.len();
                return Some(Err(error));
            }
        };
        for (entry, mesh) in self.entries[self.done..end].iter().zip(found) {
            match mesh {
                Ok(mesh) => self.samples.push(Sample {
                    path: entry.path.clone(),
                    label: entry.label,
                    target: entry.votes.unwrap_or_else(|| certain(entry.label)),
                    mesh,
                }),
                Err(error) => self.unreadable.push((entry.path.clone(), error.line())),
            }
        }
        self.done = end;
        Some(Ok(end))
    }
}

/// All of the probability on one expression.
fn certain(label: Expression) -> Distribution {
    let mut p = [0.0; COUNT];
    p[label as usize] = 1.0;
    Distribution(p)
}

/// What the faces depend on: which pictures, as they are now, and which networks.
fn key(entries: &[Entry]) -> Result<String> {
    let mut text = String::new();
    for name in ["blazeface-short", "facemesh"] {
        text += &net::embedded(name, &Device::Cpu)?.card.fingerprint;
    }
    for entry in entries {
        let size = std::fs::metadata(&entry.path).map(|file| file.len()).unwrap_or_default();
        text += &format!("{}\0{size}\n", entry.path.display());
    }
    Ok(fingerprint(text.as_bytes()))
}

/// (pictures, landmarks, 2) in pixels; a picture without a face has landmarks that are not a number.
fn save(file: &Path, key: &str, samples: &[Sample]) -> Result<()> {
    let nothing = vec![Point::new(f32::NAN, f32::NAN); LANDMARKS];
    let points = samples.iter().flat_map(|s| s.mesh.as_ref().map_or(&nothing, |mesh| &mesh.points));
    let values: Vec<f32> = points.flat_map(|p| [p.x, p.y]).collect();
    let points =
        Tensor::from_vec(values, (samples.len(), LANDMARKS, 2), &Device::Cpu)?.to_dtype(DType::F16)?;
    let paths = samples.iter().map(|s| s.path.to_string_lossy()).collect::<Vec<_>>().join("\n");
    let about = HashMap::from([("key".to_owned(), key.to_owned()), ("paths".to_owned(), paths)]);
    let failed = || format!("the faces cannot be kept in '{}'", file.display());
    let bytes = safetensors::serialize([("points", points)], Some(about)).with_context(failed)?;
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder).with_context(failed)?;
    }
    let part = Part::create(file, true)?;
    std::fs::write(part.path(), bytes).with_context(failed)?;
    part.finish()
}

/// What an earlier run found; `None` if there is nothing that fits.
fn load(file: &Path, key: &str, entries: &[Entry]) -> Option<HashMap<PathBuf, Option<Mesh>>> {
    let bytes = std::fs::read(file).ok()?;
    let (_, about) = safetensors::SafeTensors::read_metadata(&bytes).ok()?;
    let about = about.metadata().as_ref()?;
    if about.get("key").map(String::as_str) != Some(key) {
        return None;
    }
    let points = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).ok()?.remove("points")?;
    let values = points.to_dtype(DType::F32).ok()?.flatten_all().ok()?.to_vec1::<f32>().ok()?;
    let paths: Vec<_> = about.get("paths")?.split('\n').map(PathBuf::from).collect();
    if values.len() != paths.len() * LANDMARKS * 2 || paths.len() > entries.len() {
        return None;
    }
    let meshes = values.chunks_exact(LANDMARKS * 2).map(|values| {
        let points: Vec<_> = values.as_chunks::<2>().0.iter().map(|&[x, y]| Point::new(x, y)).collect();
        let whole = points.iter().all(|p| p.x.is_finite() && p.y.is_finite());
        // Only what the crop and the landmark loss need is kept.
        whole.then(|| Mesh { depths: vec![0.0; points.len()], points, score: 1.0 })
    });
    Some(paths.into_iter().zip(meshes).collect())
}
