//! Faces, landmarks, poses and tracks, in painted pictures and in real ones.
//!
//! The networks are compared with LiteRT. Real faces are not ours to pass on: `scripts/python.sh
//! scripts/make_golden.py` fetches them to target/, and without them the tests that need them say so and do nothing.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use candle_core::{Device, Tensor};
use lanet_live::face::{Face, FaceFinder, Options};
use lanet_live::frame::{Frame, Image};
use lanet_live::geometry::{Point, Pose, Rect, Similarity};
use lanet_live::kernels::warp;
use lanet_live::net::{BlazeFace, FaceMesh, Range};

use crate::scratch::skipped;

// ---- pictures ----

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A file under target/, or a word about why the test is skipped.
fn fetched(path: &str) -> Option<PathBuf> {
    let path = root().join("target").join(path);
    if !path.exists() {
        skipped(&format!("{} is not there; run scripts/make_golden.py", path.display()));
        return None;
    }
    Some(path)
}

fn read(path: &Path) -> Image {
    let rgb = image::open(path).unwrap().to_rgb8();
    let bgr = rgb.as_raw().chunks_exact(3).flat_map(|p| [p[2], p[1], p[0]]).collect();
    Image::new(rgb.width() as usize, rgb.height() as usize, bgr).unwrap()
}

/// A painted face in the middle of 192x192 pixels; scripts/paint_face.py made it.
fn painted() -> Image {
    read(&root().join("tests/golden/painted.png"))
}

/// A grey canvas with painted faces: the middle and the side of each painted picture.
fn canvas(width: usize, height: usize, faces: &[(Point, f32)]) -> Image {
    let mut out = Image::filled(width, height, [118, 118, 118]);
    for &(centre, side) in faces {
        let size = side as usize;
        let scale = Similarity { a: 192.0 / side, ..Similarity::IDENTITY };
        let small = warp(&painted(), scale, size, size).unwrap();
        let (left, top) = ((centre.x - side / 2.0) as isize, (centre.y - side / 2.0) as isize);
        for y in 0..size {
            for x in 0..size {
                let (to_x, to_y) = (left + x as isize, top + y as isize);
                if (0..width as isize).contains(&to_x) && (0..height as isize).contains(&to_y) {
                    let at = (to_y as usize * width + to_x as usize) * 3;
                    out.pixels_mut()[at..at + 3].copy_from_slice(&small.bgr(x, y));
                }
            }
        }
    }
    out
}

/// The picture turned clockwise about its middle; its sides stay.
fn turned(image: &Image, degrees: f32) -> Image {
    let middle = Point::new(image.width() as f32 / 2.0, image.height() as f32 / 2.0);
    let back = Similarity::about(middle, middle, 1.0, -degrees.to_radians());
    warp(image, back, image.width(), image.height()).unwrap()
}

// ---- finders ----

fn finder(options: Options) -> FaceFinder {
    FaceFinder::new(options, &Device::Cpu).unwrap()
}

fn still() -> FaceFinder {
    finder(Options { still: true, ..Options::default() })
}

fn frame(image: Image, number: u64) -> Frame {
    Frame { image, source: Arc::from("a test"), index: number, time: Duration::from_secs(number) / 25 }
}

fn faces(finder: &mut FaceFinder, image: Image, number: u64) -> Vec<Face> {
    finder.find(frame(image, number)).unwrap().faces
}

fn only(image: Image) -> Face {
    let mut found = faces(&mut still(), image, 0);
    assert_eq!(found.len(), 1);
    found.remove(0)
}

fn near(a: f32, b: f32, by: f32) -> bool {
    (a - b).abs() <= by
}

// ---- the networks ----

/// Demands max|a-b| / max|b| of at most 1e-3, and prints it.
fn compare(what: &str, ours: &[f32], theirs: &[f32], largest: f32) {
    assert_eq!(ours.len(), theirs.len(), "{what}");
    let error = ours.iter().zip(theirs).fold(0f32, |most, (a, b)| most.max((a - b).abs())) / largest;
    println!("{what}: {error:.1e}");
    assert!(error <= 1e-3, "{what}: {error}");
}

/// The answers of one of our networks, by name.
fn answers(model: &str, pictures: &[Image]) -> [(&'static str, Vec<f32>); 2] {
    let flat = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    if model == "facemesh" {
        let answers = FaceMesh::embedded(&Device::Cpu).unwrap().look(pictures).unwrap();
        return [("points", flat(&answers.points)), ("flags", flat(&answers.flags))];
    }
    let range = if model == Range::Full.model() { Range::Full } else { Range::Short };
    let answers = BlazeFace::embedded(range, &Device::Cpu).unwrap().look(pictures).unwrap();
    [("boxes", flat(&answers.boxes)), ("scores", flat(&answers.scores))]
}

const MODELS: [(&str, usize); 3] = [("blazeface-full", 192), ("blazeface-short", 128), ("facemesh", 192)];

#[test]
fn the_networks_say_what_litert_says_of_a_painted_face() {
    let text = std::fs::read_to_string(root().join("tests/golden/painted.json")).unwrap();
    let golden: serde_json::Value = serde_json::from_str(&text).unwrap();
    for (model, size) in MODELS {
        let start = ((192 - size) / 2) as f32;
        let middle =
            warp(&painted(), Similarity { tx: start, ty: start, ..Similarity::IDENTITY }, size, size)
                .unwrap();
        for (name, ours) in answers(model, &[middle]) {
            let golden = &golden[model][name];
            let number = |key: &str| golden[key].as_f64().unwrap();
            let theirs: Vec<f32> = serde_json::from_value(golden["samples"].clone()).unwrap();
            assert_eq!(ours.len(), number("length") as usize);
            let ours: Vec<f32> =
                ours.iter().step_by(number("step") as usize).copied().take(theirs.len()).collect();
            compare(&format!("{model} {name}"), &ours, &theirs, number("largest") as f32);
        }
    }
}

#[test]
fn the_networks_say_what_litert_says_of_real_faces() {
    for (model, size) in MODELS {
        let Some(path) = fetched(&format!("golden/{model}.safetensors")) else { return };
        let golden: HashMap<String, Tensor> = candle_core::safetensors::load(path, &Device::Cpu).unwrap();
        let rgb = golden["pictures"].flatten_all().unwrap().to_vec1::<u8>().unwrap();
        let pictures: Vec<_> = rgb
            .chunks_exact(size * size * 3)
            .map(|rgb| {
                let bgr = rgb.chunks_exact(3).flat_map(|p| [p[2], p[1], p[0]]).collect();
                Image::new(size, size, bgr).unwrap()
            })
            .collect();
        for (name, ours) in answers(model, &pictures) {
            let theirs = golden[name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let largest = theirs.iter().fold(0f32, |most, v| most.max(v.abs()));
            compare(&format!("{model} {name}"), &ours, &theirs, largest);
        }
    }
}

#[test]
fn the_networks_are_as_large_as_published() {
    let full = BlazeFace::embedded(Range::Full, &Device::Cpu).unwrap().multiply_adds();
    let short = BlazeFace::embedded(Range::Short, &Device::Cpu).unwrap().multiply_adds();
    let mesh = FaceMesh::embedded(&Device::Cpu).unwrap().multiply_adds();
    println!("multiply-adds: full {full}, short {short}, mesh {mesh}");
    assert!((20_000_000..500_000_000).contains(&full) && short < full && mesh < full);
}

// ---- pictures of their own ----

#[test]
fn a_painted_face_is_found_with_its_landmarks() {
    let face = only(painted());
    // Where scripts/paint_face.py put them: hundredths of 192 pixels.
    let at = |x: f32, y: f32| Point::new(x * 1.92, y * 1.92);
    let points = &face.mesh.points;
    let middle = |a: usize, b: usize| Point::mean([points[a], points[b]]);
    assert!(middle(33, 133).distance(at(39.5, 48.5)) < 3.0, "{:?}", middle(33, 133));
    assert!(middle(362, 263).distance(at(60.5, 48.5)) < 3.0, "{:?}", middle(362, 263));
    assert!(middle(61, 291).distance(at(50.0, 71.5)) < 4.0, "{:?}", middle(61, 291));
    assert!(face.mesh.score > 0.9 && face.mesh.depths.len() == 468);
    // The tip of the nose is nearer to the camera than the cheeks' edges.
    assert!(face.mesh.depths[1] < face.mesh.depths[234] && face.mesh.depths[1] < face.mesh.depths[454]);
    let Pose { yaw, pitch, roll } = face.pose;
    assert!(near(yaw, 0.0, 8.0) && near(pitch, 0.0, 10.0) && near(roll, 0.0, 3.0), "{:?}", face.pose);
}

#[test]
fn turning_a_picture_turns_the_roll_only() {
    let upright = only(painted()).pose;
    for degrees in [-35.0, -15.0, 20.0, 40.0] {
        let pose = only(turned(&painted(), degrees)).pose;
        assert!(near(pose.roll - upright.roll, degrees, 3.0), "{degrees}: {pose:?}");
        assert!(
            near(pose.yaw, upright.yaw, 6.0) && near(pose.pitch, upright.pitch, 8.0),
            "{degrees}: {pose:?}"
        );
    }
}

#[test]
fn a_large_picture_shows_small_and_large_faces() {
    let places = [
        (Point::new(300.0, 300.0), 500.0),
        (Point::new(1500.0, 250.0), 76.0),
        (Point::new(1000.0, 900.0), 90.0),
        (Point::new(1890.0, 700.0), 180.0),
    ];
    let picture = canvas(1920, 1080, &places);
    let found = faces(&mut still(), picture.clone(), 0);
    assert_eq!(found.len(), places.len());
    for (centre, side) in places {
        let face = Rect::new(centre.x - side * 0.25, centre.y - side * 0.2, side * 0.5, side * 0.5);
        assert!(found.iter().any(|f| f.bounds.iou(face) > 0.5), "the face at {centre:?} is missing");
    }
    let coarse = faces(&mut finder(Options { still: true, tiles: false, ..Options::default() }), picture, 0);
    assert!(coarse.len() < places.len(), "tiles are not needed for this picture");
}

#[test]
fn the_number_of_faces_is_bounded() {
    let row: Vec<_> = (0..4).map(|n| (Point::new(100.0 + 200.0 * n as f32, 100.0), 180.0)).collect();
    let picture = canvas(800, 200, &row);
    assert_eq!(faces(&mut still(), picture.clone(), 0).len(), 4);
    let mut two = finder(Options { max_faces: 2, ..Options::default() });
    assert_eq!(faces(&mut two, picture.clone(), 0).len(), 2);
    assert_eq!(faces(&mut two, picture.clone(), 1).len(), 2);
    assert!(faces(&mut finder(Options { max_faces: 0, ..Options::default() }), picture, 0).is_empty());
}

#[test]
fn no_picture_is_fatal() {
    for image in [
        Image::filled(0, 0, [0; 3]),
        Image::filled(1, 1, [255; 3]),
        Image::filled(3000, 1, [9; 3]),
        Image::filled(0, 7, [0; 3]),
        Image::filled(64, 48, [128; 3]),
    ] {
        assert!(still().find_in_crop(&image).unwrap().is_none());
        let mut finder = finder(Options::default());
        assert!(faces(&mut finder, image.clone(), 0).is_empty());
        assert!(faces(&mut finder, image, 1).is_empty());
    }
}

#[test]
fn a_face_that_fills_the_picture_is_found() {
    let tight = Similarity { a: 96.0 / 640.0, b: 0.0, tx: 48.0, ty: 56.0 };
    let picture = warp(&painted(), tight, 640, 640).unwrap();
    for mut finder in [still(), finder(Options::default())] {
        assert_eq!(faces(&mut finder, picture.clone(), 0).len(), 1);
    }
}

#[test]
fn a_tight_crop_gives_its_face_in_its_own_pixels() {
    // From the brows to the chin, as in the training sets; then also small and grey.
    let map = Similarity { a: 96.0 / 120.0, b: 0.0, tx: 48.0, ty: 56.0 };
    let tight = warp(&painted(), map, 120, 120).unwrap();
    let mut tiny = warp(&tight, Similarity { a: 2.5, ..Similarity::IDENTITY }, 48, 48).unwrap();
    for pixel in tiny.pixels_mut().chunks_exact_mut(3) {
        pixel.fill(((u16::from(pixel[0]) + u16::from(pixel[1]) + u16::from(pixel[2])) / 3) as u8);
    }
    for (crop, scale) in [(tight, 1.0), (tiny, 2.5)] {
        let mesh = still().find_in_crop(&crop).unwrap().expect("a face");
        let eye = Point::mean([mesh.points[33], mesh.points[133]]);
        let there = map.apply(Point::new(eye.x * scale, eye.y * scale));
        assert!(there.distance(Point::new(39.5 * 1.92, 48.5 * 1.92)) < 6.0, "{there:?}");
    }
}

// ---- videos ----

#[test]
fn a_moving_face_keeps_its_number_and_a_new_one_gets_its_own() {
    let mut finder = finder(Options { interval: 3, ..Options::default() });
    for n in 0..8 {
        let mut places = vec![(Point::new(120.0 + 8.0 * n as f32, 120.0), 200.0)];
        if n >= 2 {
            places.push((Point::new(500.0, 180.0), 160.0));
        }
        let tracks: Vec<_> =
            faces(&mut finder, canvas(640, 360, &places), n).iter().map(|f| f.track).collect();
        match n {
            0 | 1 => assert_eq!(tracks, [1], "frame {n}"),
            2..5 => assert!(tracks == [1] || tracks == [1, 2], "frame {n}: {tracks:?}"),
            _ => assert_eq!(tracks, [1, 2], "frame {n}"),
        }
    }
}

#[test]
fn a_newcomer_is_seen_within_a_third_of_a_second() {
    let mut finder = finder(Options::default());
    let one = (Point::new(120.0, 120.0), 200.0);
    let [alone, both] =
        [&[one][..], &[one, (Point::new(500.0, 180.0), 160.0)]].map(|places| canvas(640, 360, places));
    for start in 1..9 {
        // The time goes back, so that each run begins anew.
        let seen = |n: u64| faces(&mut finder, if n < start { alone.clone() } else { both.clone() }, n).len();
        let counts: Vec<_> = (0..start + 8).map(seen).collect();
        // Frames are 1/25 s apart.
        assert!(
            counts[..start as usize].iter().all(|&n| n == 1) && counts.contains(&2),
            "{start}: {counts:?}"
        );
    }
}

#[test]
fn faces_that_pass_each_other_keep_their_numbers() {
    let mut finder = finder(Options::default());
    // The second face passes behind the first one.
    let first = |n: u64| Point::new(80.0 + 20.0 * n as f32, 170.0);
    let second = |n: u64| Point::new(560.0 - 20.0 * n as f32, 190.0);
    let mut numbers = None;
    for n in 0..24 {
        let found = faces(&mut finder, canvas(640, 360, &[(second(n), 150.0), (first(n), 190.0)]), n);
        if first(n).distance(second(n)) < 150.0 {
            continue;
        }
        let nearest = |place: Point| {
            let distance = |face: &&Face| face.bounds.centre().distance(place);
            found.iter().min_by(|a, b| distance(a).total_cmp(&distance(b))).unwrap().track
        };
        assert_eq!(found.len(), 2, "frame {n}");
        let now = (nearest(first(n)), nearest(second(n)));
        assert_eq!(*numbers.get_or_insert(now), now, "frame {n}");
    }
}

#[test]
fn a_face_that_hides_for_a_moment_comes_back_with_its_number() {
    let mut finder = finder(Options::default());
    let place = [(Point::new(300.0, 180.0), 220.0)];
    for n in 0..12 {
        let hidden = (4..8).contains(&n);
        let found = faces(&mut finder, canvas(640, 360, if hidden { &[] } else { &place }), n);
        assert_eq!(found.iter().map(|f| f.track).collect::<Vec<_>>(), if hidden { vec![] } else { vec![1] });
    }
    // Another source begins anew.
    let mut other = frame(canvas(640, 360, &place), 0);
    other.source = Arc::from("another test");
    assert_eq!(finder.find(other).unwrap().faces[0].track, 1);
}

// ---- real pictures ----

#[test]
fn the_five_of_the_group_are_found() {
    let Some(path) = fetched("media/multi_face.jpg") else { return };
    let found = faces(&mut still(), read(&path), 0);
    assert_eq!(found.len(), 5);
    // The man with the sunglasses tilts his head clockwise and looks down to his left.
    let man = found.iter().min_by(|a, b| a.bounds.y.total_cmp(&b.bounds.y)).unwrap().pose;
    assert!(man.roll > 5.0 && man.yaw > 3.0 && man.pitch < 0.0, "{man:?}");
}

#[test]
fn everybody_is_found_in_six_more_group_photos() {
    // Without tiles, so that the full-range net alone is counted.
    let mut finder = finder(Options { still: true, tiles: false, ..Options::default() });
    for (number, people) in [(1, 3), (2, 3), (3, 3), (4, 4), (5, 5), (6, 4)] {
        let path = root().join(format!("target/groups/sample{number}.jpg"));
        if !path.exists() {
            skipped(&format!("{} is not there; run scripts/group_photos.py", path.display()));
            return;
        }
        assert_eq!(faces(&mut finder, read(&path), 0).len(), people, "{}", path.display());
    }
}

#[test]
fn a_mirror_swaps_yaw_and_roll_of_a_real_face() {
    for name in ["45-m7-di-ph.jpg", "single_face.jpg", "15-f13-anc-ph.jpg"] {
        let Some(path) = fetched(&format!("media/{name}")) else { return };
        let (one, other) = (only(read(&path)).pose, only(read(&path).mirrored()).pose);
        println!("{name}: {one:?}, mirrored {other:?}");
        assert!(one.yaw < -4.0 && near(one.yaw, -other.yaw, 6.0) && near(one.roll, -other.roll, 4.0));
        assert!(near(one.pitch, other.pitch, 5.0));
    }
}

#[test]
fn pictures_without_a_face_have_none() {
    let Some(path) = fetched("media/free-mountain-vector-01.jpg") else { return };
    assert!(faces(&mut still(), read(&path), 0).is_empty());
}

// ---- real videos ----

/// The track numbers in each frame of a clip.
#[cfg(feature = "capture")]
fn tracks(path: &Path) -> Vec<Vec<u64>> {
    let mut finder = finder(Options::default());
    let frames = lanet_live::video::Reader::open(path).unwrap();
    frames.map(|frame| finder.find(frame.unwrap()).unwrap().faces.iter().map(|f| f.track).collect()).collect()
}

#[test]
#[cfg(feature = "capture")]
fn one_person_is_one_number_from_the_first_frame_to_the_last() {
    let Some(path) = fetched("media/single_face.mp4") else { return };
    let tracks = tracks(&path);
    assert!(tracks.len() > 60 && tracks.iter().all(|numbers| numbers == &[1]), "{tracks:?}");
}

#[test]
#[cfg(feature = "capture")]
fn somebody_who_comes_or_goes_is_there_or_not() {
    for (name, first) in [("face_noface.mov", true), ("noface_face.mov", false)] {
        let Some(path) = fetched(&format!("media/{name}")) else { return };
        let there: Vec<bool> = tracks(&path).iter().map(|numbers| numbers == &[1]).collect();
        let middle = there.iter().position(|&is| is != first).unwrap();
        // The clips end or begin within two frames of what they show longest.
        let wrong = there[middle..].iter().filter(|&&is| is == first).count();
        assert!(there[0] == first && (60..110).contains(&middle) && wrong <= 2, "{name}: {middle}, {wrong}");
    }
}
