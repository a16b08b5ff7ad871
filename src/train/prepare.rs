//! From labelled pictures to shards: the face of each is found once, in parallel, and kept small.

use std::path::{Path, PathBuf};

use candle_core::Device;
use rayon::prelude::*;

use super::landmarks;
use super::plane::Plane;
use super::portrait::{Portrait, compress};
use super::shards::Writer;
use crate::clips::sample::picture;
use crate::error::Result;
use crate::face::{FaceFinder, Mesh, Options, align};
use crate::frame::Image;

/// Pictures between two words of progress; as many are in memory at once.
const TURN: usize = 128;
/// A picture with longer sides than this, in pixels, is cut to the surroundings of its face.
const SMALL: usize = 128;

/// How faces are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keeping {
    /// JPEG of a quality from 1 to 100; `None` for PNG, which loses nothing.
    pub quality: Option<u8>,
    /// No shard is larger, in bytes.
    pub shard: usize,
    /// Whether shards that are there may be replaced.
    pub overwrite: bool,
}

impl Default for Keeping {
    /// JPEG 92, shards of 15 MiB, nothing replaced.
    fn default() -> Self {
        Self { quality: Some(92), shard: 15 << 20, overwrite: false }
    }
}

/// What a preparation came to.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Pictures kept.
    pub kept: usize,
    /// Those of them in which no face was found; the whole picture is their crop.
    pub without_face: usize,
    /// Pictures that cannot be read, each with the reason.
    pub unreadable: Vec<(String, String)>,
}

/// Writes the faces of pictures into shards: an iterator over how many pictures are done.
#[derive(Debug)]
pub struct Preparation {
    pictures: Vec<(String, PathBuf)>,
    finder: FaceFinder,
    keeping: Keeping,
    writer: Option<Writer>,
    done: usize,
    outcome: Outcome,
}

impl Preparation {
    /// Prepares `pictures`, each a name and a file, for `folder`.
    ///
    /// # Errors
    /// A folder that cannot be written to, or a device that cannot hold the networks.
    pub fn new(
        pictures: Vec<(String, PathBuf)>,
        folder: &Path,
        keeping: Keeping,
        device: &Device,
    ) -> Result<Self> {
        Ok(Self {
            pictures,
            finder: FaceFinder::new(Options::default(), device)?,
            keeping,
            writer: Some(Writer::create(folder, keeping.shard, keeping.overwrite)?),
            done: 0,
            outcome: Outcome::default(),
        })
    }

    /// How many pictures there are.
    pub fn total(&self) -> usize {
        self.pictures.len()
    }

    /// Ends the last shard.
    ///
    /// # Errors
    /// A disk that is full.
    pub fn finish(mut self) -> Result<Outcome> {
        if let Some(writer) = self.writer.take() {
            writer.finish()?;
        }
        Ok(self.outcome)
    }

    fn turn(&mut self) -> Result<usize> {
        let end = (self.done + TURN).min(self.pictures.len());
        let (finder, keeping) = (&self.finder, self.keeping);
        // A picture that cannot be read is one thing, a network that fails another.
        let portraits: Vec<_> = self.pictures[self.done..end]
            .par_iter()
            .map_init(
                || finder.clone(),
                |finder, (name, file)| match picture(file) {
                    Err(unreadable) => Ok(Err(unreadable)),
                    Ok(image) => {
                        let mesh = finder.find_in_crop(&image)?;
                        portrait(name, &image, mesh.as_ref(), keeping.quality).map(Ok)
                    }
                },
            )
            .collect::<Result<_>>()?;
        for ((name, _), portrait) in self.pictures[self.done..end].iter().zip(portraits) {
            match portrait {
                Err(error) => self.outcome.unreadable.push((name.clone(), error.line())),
                Ok(portrait) => {
                    self.outcome.kept += 1;
                    self.outcome.without_face += usize::from(portrait.landmarks.is_none());
                    if let Some(writer) = &mut self.writer {
                        writer.write(&portrait)?;
                    }
                }
            }
        }
        self.done = end;
        Ok(end)
    }
}

impl Iterator for Preparation {
    type Item = Result<usize>;

    fn next(&mut self) -> Option<Result<usize>> {
        if self.done == self.pictures.len() {
            return None;
        }
        let turn = self.turn();
        if turn.is_err() {
            self.done = self.pictures.len();
        }
        Some(turn)
    }
}

/// What is kept of a face: its picture if that is small, else the surroundings of the crop at no more detail than
/// the crop has in use.
///
/// # Errors
/// A picture that cannot be compressed.
pub fn portrait(name: &str, image: &Image, mesh: Option<&Mesh>, quality: Option<u8>) -> Result<Portrait> {
    let to_image = align::framing(image, mesh);
    let landmarks = mesh.zip(to_image.inverse()).and_then(|(mesh, to_unit)| {
        // Where the whole picture is the crop, its mesh says nothing about the crop.
        align::unit_to_image(mesh)?;
        landmarks::of_mesh(&mesh.points, |p| to_unit.apply(p))
    });
    let (plane, to_picture) = if image.width().max(image.height()) <= SMALL {
        (Plane::of_image(image), to_image)
    } else {
        let (small, to_small) = align::surroundings(image, to_image, SMALL)?;
        (Plane::of_image(&small), to_image.then(to_small))
    };
    Ok(Portrait { name: name.into(), picture: compress(&plane, quality)?.into(), to_picture, landmarks })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::geometry::{Point, Similarity};

    /// A face of one bright spot, with a mesh that puts the spot on the nose.
    fn face(size: usize, scale: f32) -> (Image, Mesh) {
        let to_image = Similarity::about(
            Point::new(0.5, 0.5),
            Point::new(size as f32 * 0.5, size as f32 * 0.45),
            scale,
            0.4,
        );
        let nose = to_image.apply(Point::new(0.5, 0.6441));
        let pixels = (0..size * size).flat_map(|i| {
            let p = Point::new((i % size) as f32 + 0.5, (i / size) as f32 + 0.5);
            [if p.distance(nose) < 0.05 * scale { 240 } else { 30 }; 3]
        });
        let image = Image::new(size, size, pixels.collect()).unwrap();
        // The mesh of an upright face that fills the crop, moved; only the points of the template count.
        let unit = [
            (33, 0.2417, 0.3759),
            (133, 0.4007, 0.3881),
            (362, 0.5993, 0.3881),
            (263, 0.7583, 0.3759),
            (168, 0.5, 0.362),
            (6, 0.5, 0.4108),
            (98, 0.4013, 0.6289),
            (327, 0.5987, 0.6289),
            (2, 0.5, 0.6441),
        ];
        let mut points = vec![nose; 468];
        for (i, x, y) in unit {
            points[i] = to_image.apply(Point::new(x, y));
        }
        (image, Mesh { depths: vec![0.0; 468], points, score: 1.0 })
    }

    #[test]
    fn the_crop_of_what_is_kept_is_the_crop_of_the_picture() {
        for (size, scale) in [(60, 48.0), (300, 100.0), (900, 400.0), (700, 30.0)] {
            let (image, mesh) = face(size, scale);
            let kept = portrait("a", &image, Some(&mesh), None).unwrap();
            let (ours, theirs) =
                (kept.crop(48).unwrap(), Plane::of_image(&align::crop(&image, Some(&mesh), 48).unwrap()));
            let apart: f32 = ours.values.iter().zip(&theirs.values).map(|(a, b)| (a - b).abs()).sum();
            assert!(apart / (48.0 * 48.0) < 4.0, "{size} {scale} {}", apart / (48.0 * 48.0));
            // Every landmark beside the template was put on the nose.
            let tip = kept.landmarks.unwrap()[15];
            assert!(tip.distance(Point::new(0.5, 0.6441)) < 0.01, "{tip:?}");
        }
    }

    #[test]
    fn without_a_mesh_the_whole_picture_is_kept_and_has_no_landmarks() {
        for size in [40, 400] {
            let kept = portrait("a", &face(size, 30.0).0, None, Some(90)).unwrap();
            assert!(kept.landmarks.is_none());
            assert_eq!(kept.crop(32).unwrap().values.len(), 1024);
        }
    }
}
