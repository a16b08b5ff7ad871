//! Faces that were found are remembered in a file, picture by picture, so that each is looked for once.
//!
//! What is kept is what the crop and the landmark loss use, to the last bit: a run on remembered faces gives the figures
//! of the run that found them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use candle_core::{Device, Tensor};

use crate::error::{Context, Result};
use crate::face::Mesh;
use crate::geometry::Point;
use crate::images;
use crate::net::card::fingerprint;
use crate::part;

/// Landmarks of a mesh.
const LANDMARKS: usize = 468;
/// Those of them that are kept: the points that frame the crop, and those that the landmark branch learns.
const KEPT: [usize; 27] = [
    0, 1, 2, 6, 13, 14, 17, 33, 61, 70, 98, 105, 107, 133, 145, 152, 159, 168, 263, 291, 300, 327, 334, 336,
    362, 374, 386,
];

/// The kept points of a face, in pixels of its picture.
pub type Points = [Point; KEPT.len()];

/// The kept points of a mesh; `None` if they say nothing.
pub fn points_of(mesh: &Mesh) -> Option<Points> {
    let mut points = Points::default();
    for (point, index) in points.iter_mut().zip(KEPT) {
        *point = *mesh.points.get(index)?;
    }
    points.iter().all(|p| p.x.is_finite() && p.y.is_finite()).then_some(points)
}

/// A mesh of the kept points; the others are not a number, so that nobody takes them for points.
pub fn mesh_of(kept: &Points) -> Mesh {
    let mut points = vec![Point::new(f32::NAN, f32::NAN); LANDMARKS];
    KEPT.iter().zip(kept).for_each(|(&index, &point)| points[index] = point);
    Mesh { points, depths: Vec::new(), score: 1.0 }
}

/// How a file was when it was looked at: its size in bytes, and when it was changed, in nanoseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stamp([i64; 2]);

impl Stamp {
    /// `None` for a file that is not there.
    pub fn of(path: &Path) -> Option<Self> {
        let about = fs::metadata(path).ok()?;
        let changed = about.modified().ok()?.duration_since(UNIX_EPOCH).unwrap_or_default();
        Some(Self([about.len() as i64, changed.as_nanos() as i64]))
    }
}

/// The faces of pictures, by the pictures' names.
#[derive(Debug, Default)]
pub struct Cache {
    file: Option<PathBuf>,
    key: String,
    faces: BTreeMap<String, (Stamp, Option<Points>)>,
    changed: bool,
}

impl Cache {
    /// The faces that are remembered in `folder`; none if there is no folder. `finder` says what they were found by:
    /// what another finder found, and a damaged file, are not used and will be replaced.
    pub fn open(folder: Option<&Path>, finder: &str) -> Self {
        let key = fingerprint(format!("{finder} {KEPT:?}").as_bytes());
        let file = folder.map(|folder| folder.join(format!("faces-{}.safetensors", &key[..16])));
        let faces = file.as_deref().and_then(|file| load(file, &key)).unwrap_or_default();
        Self { file, key, faces, changed: false }
    }

    /// The face in a picture that is as it was; `Some(None)` if it is known to have none.
    pub fn get(&self, picture: &Path, stamp: Option<Stamp>) -> Option<Option<Points>> {
        let (then, face) = self.faces.get(&name(picture))?;
        (stamp == Some(*then)).then_some(*face)
    }

    /// Remembers a face, or that there is none.
    pub fn put(&mut self, picture: &Path, stamp: Stamp, face: Option<Points>) {
        self.changed = true;
        self.faces.insert(name(picture), (stamp, face));
    }

    /// Writes what is new.
    ///
    /// # Errors
    /// A folder that cannot be written to.
    pub fn save(&mut self) -> Result<()> {
        let Some(file) = self.file.as_deref().filter(|_| self.changed) else { return Ok(()) };
        let failed = || format!("the faces that were found cannot be kept in '{}'", file.display());
        save(file, &self.key, &self.faces)
            .with_context(failed)
            .map_err(|error| error.advice("name a folder that can be written to with --cache"))?;
        self.changed = false;
        Ok(())
    }
}

fn name(picture: &Path) -> String {
    images::text_of(&std::path::absolute(picture).unwrap_or_else(|_| picture.to_owned()))
}

/// Tensors `points` (pictures, kept points, 2), not a number for a picture without a face, and `stamps` (pictures, 2);
/// names, key and check sum beside them.
fn save(file: &Path, key: &str, faces: &BTreeMap<String, (Stamp, Option<Points>)>) -> Result<()> {
    let nothing = [Point::new(f32::NAN, f32::NAN); KEPT.len()];
    let points = faces.values().flat_map(|(_, face)| face.unwrap_or(nothing)).flat_map(|p| [p.x, p.y]);
    let points: Vec<f32> = points.collect();
    let stamps: Vec<i64> = faces.values().flat_map(|(stamp, _)| stamp.0).collect();
    let names = serde_json::to_string(&faces.keys().collect::<Vec<_>>()).context("names cannot be kept")?;
    let about = HashMap::from([
        ("key".to_owned(), key.to_owned()),
        ("sum".to_owned(), sum(&names, &points, &stamps)),
        ("names".to_owned(), names),
    ]);
    let tensors = [
        ("points", Tensor::from_vec(points, (faces.len(), KEPT.len(), 2), &Device::Cpu)?),
        ("stamps", Tensor::from_vec(stamps, (faces.len(), 2), &Device::Cpu)?),
    ];
    let bytes = safetensors::serialize(tensors, Some(about)).context("faces cannot be kept")?;
    if let Some(folder) = file.parent() {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot make the folder '{}'", folder.display()))?;
    }
    part::write(file, true, bytes)
}

/// `None` if there is nothing whole that fits.
fn load(file: &Path, key: &str) -> Option<BTreeMap<String, (Stamp, Option<Points>)>> {
    if !fs::metadata(file).ok()?.is_file() {
        return None;
    }
    let bytes = fs::read(file).ok()?;
    let (_, about) = safetensors::SafeTensors::read_metadata(&bytes).ok()?;
    let about = about.metadata().as_ref()?;
    let names = about.get("names").filter(|_| about.get("key").is_some_and(|found| found == key))?;
    let mut tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).ok()?;
    let points = tensors.remove("points")?.flatten_all().ok()?.to_vec1::<f32>().ok()?;
    let stamps = tensors.remove("stamps")?.flatten_all().ok()?.to_vec1::<i64>().ok()?;
    if *about.get("sum")? != sum(names, &points, &stamps) {
        return None;
    }
    let names: Vec<String> = serde_json::from_str(names).ok()?;
    let points = points.as_chunks::<2>().0.iter().map(|&[x, y]| Point::new(x, y)).collect::<Vec<_>>();
    let faces = points
        .as_chunks::<{ KEPT.len() }>()
        .0
        .iter()
        .map(|face| Some(*face).filter(|face| face[0].x.is_finite()));
    let stamps = stamps.as_chunks::<2>().0.iter().map(|&stamp| Stamp(stamp));
    Some(names.into_iter().zip(stamps.zip(faces)).collect())
}

/// Says whether what was read is what was written.
fn sum(names: &str, points: &[f32], stamps: &[i64]) -> String {
    let points = points.iter().flat_map(|value| value.to_le_bytes());
    let stamps = stamps.iter().flat_map(|value| value.to_le_bytes());
    fingerprint(&names.bytes().chain(points).chain(stamps).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::face::align;
    use crate::frame::Image;
    use crate::train::landmarks;

    fn mesh() -> Mesh {
        let point = |n: usize| Point::new(70_000.1 + (n * 37 % 101) as f32, 0.3 + (n * 53 % 97) as f32 / 7.0);
        Mesh { points: (0..LANDMARKS).map(point).collect(), depths: vec![0.5; LANDMARKS], score: 0.9 }
    }

    #[test]
    fn what_is_kept_frames_the_crop_and_is_learnt_to_the_last_bit() {
        let (whole, image) = (mesh(), Image::filled(9, 9, [0; 3]));
        let kept = mesh_of(&points_of(&whole).unwrap());
        assert_eq!(align::framing(&image, Some(&kept)), align::framing(&image, Some(&whole)));
        let landmarks = |mesh: &Mesh| landmarks::of_mesh(&mesh.points, |p| p).unwrap();
        assert_eq!(landmarks(&kept), landmarks(&whole));
        let torn = Mesh { points: vec![Point::new(f32::NAN, 0.0); LANDMARKS], ..mesh() };
        assert_eq!(points_of(&torn), None);
        assert_eq!(points_of(&Mesh { points: vec![], ..mesh() }), None);
    }

    #[test]
    fn faces_come_back_while_the_picture_is_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let picture = |name: &str| folder.path().join(name);
        fs::write(picture("a"), "a face").unwrap();
        fs::write(picture("b"), "no face").unwrap();
        let stamp = |name: &str| Stamp::of(&picture(name));
        let open = |by: &str| Cache::open(Some(folder.path()), by);
        let points = points_of(&mesh());
        let mut cache = open("finder");
        cache.put(&picture("a"), stamp("a").unwrap(), points);
        cache.save().unwrap();
        // A later run adds to it.
        let mut cache = open("finder");
        cache.put(&picture("b"), stamp("b").unwrap(), None);
        cache.save().unwrap();
        let cache = open("finder");
        assert_eq!(cache.get(&picture("a"), stamp("a")), Some(points));
        assert_eq!(cache.get(&picture("b"), stamp("b")), Some(None));
        assert_eq!(cache.get(&picture("c"), stamp("c")), None);
        assert_eq!(open("another finder").get(&picture("a"), stamp("a")), None);
        // Another picture of the same size.
        fs::write(picture("a"), "a fase").unwrap();
        assert_eq!(cache.get(&picture("a"), stamp("a")), None);
    }

    #[test]
    fn a_damaged_file_is_not_used_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let picture = folder.path().join("a");
        fs::write(&picture, "a face").unwrap();
        let stamp = Stamp::of(&picture).unwrap();
        let mut cache = Cache::open(Some(folder.path()), "");
        let file = cache.file.clone().unwrap();
        cache.put(&picture, stamp, points_of(&mesh()));
        cache.save().unwrap();
        let whole = fs::read(&file).unwrap();
        for at in [whole.len() / 3, whole.len() - 30, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            fs::write(&file, damaged).unwrap();
            let mut cache = Cache::open(Some(folder.path()), "");
            assert_eq!(cache.get(&picture, Some(stamp)), None, "{at}");
            cache.put(&picture, stamp, points_of(&mesh()));
            cache.save().unwrap();
            let cache = Cache::open(Some(folder.path()), "");
            assert_eq!(cache.get(&picture, Some(stamp)), Some(points_of(&mesh())));
        }
        #[cfg(unix)]
        {
            fs::remove_file(&file).unwrap();
            std::os::unix::fs::symlink("/dev/zero", &file).unwrap();
            assert_eq!(Cache::open(Some(folder.path()), "").get(&picture, Some(stamp)), None);
        }
    }

    #[test]
    fn a_folder_that_cannot_be_made_is_said_with_what_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let picture = folder.path().join("a");
        fs::write(&picture, "").unwrap();
        let mut cache = Cache::open(Some(&picture), "");
        cache.put(&picture, Stamp::of(&picture).unwrap(), None);
        let line = cache.save().unwrap_err().line();
        assert!(line.ends_with("; name a folder that can be written to with --cache"), "{line}");
    }
}
