//! Faces in pictures: where they are, their landmarks, and who is who from frame to frame.

pub mod align;
pub mod detect;
pub mod landmarks;
mod pose;
pub mod track;
mod which;

use std::sync::Arc;
use std::time::Duration;

use candle_core::Device;

use crate::error::Result;
use crate::frame::{Frame, Image};
use crate::geometry::{Point, Pose, Rect};
use crate::net::Range;
use detect::{Detector, View};
use landmarks::{Landmarker, Region};
use track::{Sighting, Tracker};
pub use which::Which;

/// The border around a face crop, in its longer sides, that lets the detector see a face in it.
const CROP_BORDER: f32 = 0.5;
/// The width, in pixels, of the smallest faces that are looked for in tiles.
const SMALL_FACE: f32 = 32.0;
/// In very large frames the tiles grow: so many, side by side and without overlap, reach across.
const MOST_TILES: f32 = 4.0;
/// How many views besides the whole frame come with each frame of a video while faces are searched for, and how many
/// come between two looks at the whole frame otherwise.
const SEARCHING: usize = 2;
const BETWEEN: usize = 3;
/// While all known faces are followed, the whole frame is looked at again within this time.
const AGAIN: Duration = Duration::from_millis(340);
/// Detections that are tried beyond the number of faces that there is room for.
const SPARE: usize = 4;

/// A face mesh: 468 landmarks in the order of MediaPipe's Face Mesh (Kartynnik et al. 2019).
#[derive(Debug, Clone, PartialEq)]
pub struct Mesh {
    /// The landmarks in pixels of the frame.
    pub points: Vec<Point>,
    /// Their depths in the scale of a pixel; smaller is nearer to the camera, 0 about the head's middle.
    pub depths: Vec<f32>,
    /// How sure the mesh network is that this is a face, 0 to 1.
    pub score: f32,
}

/// A face in a frame.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Face {
    /// The number of the person, the same from frame to frame; from 1.
    pub track: u64,
    /// The upright rectangle around its landmarks.
    pub bounds: Rect,
    /// Its landmarks.
    pub mesh: Mesh,
    /// How the head is turned.
    pub pose: Pose,
}

/// A frame and the faces in it, in the order of their tracks.
#[derive(Debug, Clone)]
pub struct Scene {
    /// The picture.
    pub frame: Frame,
    /// The faces.
    pub faces: Vec<Face>,
}

/// How faces are looked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Options {
    /// The detector's range.
    pub range: Range,
    /// Faces to a frame. Those that are followed come first, then the surest.
    pub max_faces: usize,
    /// While all known faces are followed, the detector looks for new ones in the whole frame after so many frames, or after
    /// a third of a second if that is less, and in parts of it between. With 1 it looks everywhere in every frame.
    pub interval: u32,
    /// The least score of a detection, 0 to 1.
    pub min_detection: f32,
    /// The least score of a mesh, 0 to 1.
    pub min_score: f32,
    /// Whether the detector also looks at parts of large frames, where small faces may be: at all of them in still
    /// pictures, at some in turn in videos.
    pub tiles: bool,
    /// Whether the frames are pictures that have nothing to do with each other.
    pub still: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            range: Range::Full,
            max_faces: 16,
            interval: 8,
            min_detection: 0.5,
            min_score: 0.5,
            tiles: true,
            still: false,
        }
    }
}

/// Finds the faces in frame after frame.
#[derive(Debug, Clone)]
pub struct FaceFinder {
    options: Options,
    device: Device,
    detector: Detector,
    close: Option<Detector>,
    landmarker: Landmarker,
    memory: Memory,
}

/// What a finder knows of the frames before.
#[derive(Debug, Clone, Default)]
struct Memory {
    tracker: Tracker,
    source: Option<Arc<str>>,
    time: Duration,
    /// Frames since the detector looked at the whole of one.
    unseen: u32,
    /// The view, besides the whole frame, that comes next.
    view: usize,
}

impl FaceFinder {
    /// A finder with the networks in the program.
    ///
    /// # Errors
    /// A device that cannot hold them.
    pub fn new(options: Options, device: &Device) -> Result<Self> {
        Ok(Self {
            options,
            device: device.clone(),
            detector: Detector::new(options.range, device)?,
            close: None,
            landmarker: Landmarker::new(device)?,
            memory: Memory::default(),
        })
    }

    /// Looks for the faces of the frames to come in this way; the detector's range stays.
    pub fn look(&mut self, options: Options) {
        self.options = Options { range: self.options.range, ..options };
    }

    /// The faces of the next frame. Another source, or a time before the last one, begins anew.
    ///
    /// # Errors
    /// A network that fails.
    pub fn find(&mut self, frame: Frame) -> Result<Scene> {
        let same = self.memory.source.as_ref() == Some(&frame.source) && frame.time >= self.memory.time;
        if self.options.still || !same {
            self.memory = Memory { source: Some(frame.source.clone()), ..Memory::default() };
        }
        let step = frame.time - self.memory.time;
        self.memory.time = frame.time;
        let mut faces = self.follow(&frame)?;
        let room = self.options.max_faces.saturating_sub(faces.len());
        self.memory.unseen = self.memory.unseen.saturating_add(1);
        if room > 0 {
            let searching = faces.is_empty() || self.memory.tracker.misses();
            let views = self.views(&frame.image, step, searching);
            faces.extend(self.discover(&frame, &views, room)?);
        }
        faces.sort_by_key(|face| face.track);
        Ok(Scene { frame, faces })
    }

    /// The faces that were there in the frame before.
    fn follow(&mut self, frame: &Frame) -> Result<Vec<Face>> {
        let (numbers, regions): (Vec<_>, Vec<_>) =
            self.memory.tracker.expected(frame.time).into_iter().unzip();
        let meshes = self.meshes(&frame.image, &regions)?;
        let sightings: Vec<_> = meshes.iter().map(|mesh| mesh.as_ref().map(sighting)).collect();
        let held = self.memory.tracker.follow(frame.time, &sightings);
        let faces = numbers.into_iter().zip(meshes).zip(held);
        Ok(faces
            .filter_map(|((number, mesh), held)| Some(Face::new(number, mesh.filter(|_| held)?)))
            .collect())
    }

    /// At most `room` faces that are new, or back.
    fn discover(&mut self, frame: &Frame, views: &[View], room: usize) -> Result<Vec<Face>> {
        if views.is_empty() {
            return Ok(Vec::new());
        }
        let image = &frame.image;
        let mut found = self.detector.detect(image, views, self.options.min_detection)?;
        found.retain(|face| !self.memory.tracker.knows(face.bounds));
        // A few more than there is room for, because not every detection is a face.
        let regions: Vec<_> =
            found.iter().take(room.saturating_add(SPARE)).map(Region::of_detection).collect();
        let mut meshes = self.settled(image, &regions)?;
        meshes.truncate(room);
        let sightings: Vec<_> = meshes.iter().map(sighting).collect();
        let numbers = self.memory.tracker.adopt(frame.time, &sightings);
        Ok(numbers
            .into_iter()
            .zip(meshes)
            .filter_map(|(number, mesh)| Some(Face::new(number?, mesh)))
            .collect())
    }

    /// What the detector looks at, `step` after the frame before: the whole picture; with a border, for a face that
    /// fills it is too large for the detector; and tiles.
    ///
    /// While all known faces are followed, that is one view every few frames, the whole picture between a few others in
    /// turn: a newcomer waits no longer than until the whole picture's turn, and no frame takes long.
    fn views(&mut self, image: &Image, step: Duration, searching: bool) -> Vec<View> {
        let mut others = vec![View::bordered(image, CROP_BORDER)];
        if self.options.tiles {
            let longer = image.width().max(image.height()) as f32;
            let side = (SMALL_FACE / self.options.range.smallest()).max(longer / MOST_TILES);
            others.extend(View::tiles(image, side));
        }
        let count = others.len();
        let frames = AGAIN.as_nanos() / step.as_nanos().max(1);
        let period = frames.clamp(1, self.options.interval.max(1).into()) as usize;
        let place = self.memory.unseen as usize;
        let (whole, now) = if self.options.still || self.options.interval <= 1 {
            (true, count)
        } else if searching {
            (true, count.min(SEARCHING))
        } else {
            let between = count.min(BETWEEN);
            // Evenly between two looks at the whole.
            let due = (1..=between).filter(|n| (n * period).div_ceil(between + 1) == place).count();
            (place >= period, due)
        };
        if whole {
            self.memory.unseen = 0;
        }
        let first = self.memory.view;
        self.memory.view = (first + now) % count;
        let chosen = (first..first + now).map(|n| others[n % count]);
        whole.then(|| View::whole(image)).into_iter().chain(chosen).collect()
    }

    /// The meshes in these regions; `None` where there is no face.
    fn meshes(&self, image: &Image, regions: &[Region]) -> Result<Vec<Option<Mesh>>> {
        let meshes = self.landmarker.read(image, regions)?.into_iter();
        Ok(meshes.map(|mesh| mesh.filter(|mesh| mesh.score >= self.options.min_score)).collect())
    }

    /// The meshes of detected faces, each read again where the first reading says that the face is: that is the region
    /// in which a face is followed. Only the second reading is judged, for the first one of a profile is often poor.
    fn settled(&self, image: &Image, regions: &[Region]) -> Result<Vec<Mesh>> {
        let first = self.landmarker.read(image, regions)?;
        let regions: Vec<_> = first.iter().flatten().map(Region::of_mesh).collect();
        Ok(self.meshes(image, &regions)?.into_iter().flatten().collect())
    }

    /// The one face that fills a picture, such as those of training sets; the mesh may reach beyond its edges.
    ///
    /// The detector looks at the picture with a black border of half its size, because it was made for whole heads.
    ///
    /// # Errors
    /// A network that fails.
    pub fn find_in_crop(&mut self, image: &Image) -> Result<Option<Mesh>> {
        let close = match self.close.take() {
            Some(close) => close,
            None => Detector::new(Range::Short, &self.device)?,
        };
        let found = close.detect(image, &[View::bordered(image, CROP_BORDER)], self.options.min_detection);
        self.close = Some(close);
        let region = found?.first().map(Region::of_detection);
        Ok(self.settled(image, region.as_slice())?.pop())
    }
}

impl Face {
    fn new(track: u64, mesh: Mesh) -> Self {
        let bounds = Rect::around(mesh.points.iter().copied());
        Self { track, bounds, pose: Pose::of_mesh(&mesh), mesh }
    }
}

fn sighting(mesh: &Mesh) -> Sighting {
    Sighting { bounds: Rect::around(mesh.points.iter().copied()), region: Region::of_mesh(mesh) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_view_at_a_time_the_whole_within_a_third_of_a_second_and_every_part_in_turn() {
        let mut finder = FaceFinder::new(Options::default(), &Device::Cpu).unwrap();
        for (width, height, parts) in [(640, 360, 1), (1280, 720, 7), (1920, 1080, 16)] {
            let image = Image::filled(width, height, [0; 3]);
            for rate in [10, 15, 24, 25, 30, 60] {
                let step = Duration::from_secs(1) / rate;
                finder.memory = Memory::default();
                assert_eq!(finder.views(&image, step, true).len(), 1 + parts.min(SEARCHING));
                let (mut seen, mut since, mut looks) = (Vec::new(), 0, 0);
                for _ in 0..3 * rate {
                    finder.memory.unseen += 1;
                    since += 1;
                    let views = finder.views(&image, step, false);
                    // Where there are fewer frames than views, two come at once.
                    assert!(views.len() <= if rate < 24 { 2 } else { 1 }, "{rate}: {views:?}");
                    looks += views.len();
                    since = if views.contains(&View::whole(&image)) { 0 } else { since };
                    assert!(step * (since + 1) <= AGAIN, "{rate}");
                    for view in views {
                        if !seen.contains(&view) {
                            seen.push(view);
                        }
                    }
                }
                assert!(seen.len() == 1 + parts || rate < 24, "{width} at {rate}: {} of {parts}", seen.len());
                assert!(rate < 24 || looks as u32 <= 3 * rate * (1 + parts.min(BETWEEN)) as u32 / 7);
            }
        }
    }
}
