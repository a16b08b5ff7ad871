//! Draws faces and what they express on the frame itself.

mod card;
mod face;
mod history;
mod hud;
mod layout;
mod palette;
mod prompt;

use std::collections::BTreeMap;

pub use hud::{Hud, Mark};
pub use palette::colour;
pub use prompt::Prompt;

use crate::canvas::Canvas;
use crate::frame::Image;
use crate::geometry::{Point, Pose, Rect};
use crate::people::People;
use crate::reading::Reading;
use card::{Card, Label, SMALLEST_LETTER, tint};
use history::History;
use layout::{Choice, Wish, arrange};

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Style {
    /// The corners of a box around each face.
    pub boxes: bool,
    /// The probabilities of all expressions beside each face.
    pub bars: bool,
    /// What each face showed during the last 20 seconds.
    pub strip: bool,
    /// The points of the face mesh, and lines along the features.
    pub mesh: bool,
    /// The axes of the head.
    pub pose: bool,
    /// Faces become unrecognisable.
    pub blur: bool,
    /// The picture is shown as in a mirror; text stays readable.
    pub mirror: bool,
}

impl Style {
    /// Nothing but hidden faces.
    pub const HIDING: Self =
        Self { boxes: false, bars: false, strip: false, mesh: false, pose: false, blur: true, mirror: false };
}

impl Default for Style {
    fn default() -> Self {
        Self { boxes: true, bars: true, strip: true, mesh: false, pose: false, blur: false, mirror: false }
    }
}

/// What is hidden is an ellipse, in sizes of the face: it holds the whole box, and so hair and chin with it.
const HIDDEN: f32 = std::f32::consts::SQRT_2;
/// With more faces than this, none gets bars: they would hide the picture.
const MOST_WITH_BARS: usize = 3;

/// Draws readings; remembers what faces showed, and where their labels were.
#[derive(Debug, Default)]
pub struct Overlay {
    people: People<Memory>,
}

#[derive(Debug, Default)]
struct Memory {
    history: History,
    choice: Choice,
}

impl Overlay {
    /// The picture of a reading with everything that `style` asks for drawn on it, and `hud` over that.
    pub fn draw(&mut self, reading: &Reading, style: Style, hud: &Hud) -> Image {
        let mut image = reading.frame.image.clone();
        if style.blur {
            // Also where somebody was a moment ago: a frame in which a face is missed must not show it.
            for bounds in &reading.whereabouts {
                Canvas::on(&mut image).cover(bounds.scaled(HIDDEN));
            }
        }
        if style.mirror {
            image = image.mirrored();
        }
        let (picture, letter) = ((image.width() as f32, image.height() as f32), letter_height(&image));
        let canvas = &mut Canvas::on(&mut image);
        self.draw_faces(canvas, reading, style, picture, letter, hud.place(letter));
        hud.draw(canvas, picture, letter);
        image
    }

    fn draw_faces(
        &mut self,
        canvas: &mut Canvas,
        reading: &Reading,
        style: Style,
        picture: (f32, f32),
        letter: f32,
        taken: Rect,
    ) {
        let seen = |p: Point| if style.mirror { Point::new(picture.0 - p.x, p.y) } else { p };
        let bounds = |b: Rect| Rect { x: if style.mirror { picture.0 - b.x - b.w } else { b.x }, ..b };
        // On small faces small labels, so that those of neighbours find room.
        let letter_of = |b: Rect| letter.min(b.w / 9.0).max(SMALLEST_LETTER);
        let many = reading.faces.len() > MOST_WITH_BARS;
        let before: BTreeMap<_, _> =
            self.people.iter().map(|(track, person)| (track, &person.known)).collect();
        let beside: Vec<_> = reading
            .faces
            .iter()
            .map(|face| {
                let letter = letter_of(face.face.bounds).round();
                // Of one moment, as in a picture, there is nothing to roll.
                let rolls = before.get(&face.face.track).is_some_and(|memory| memory.history.is_course());
                let cards = Card::choices(style.bars && !many, style.strip && rolls, letter);
                (face, bounds(face.face.bounds), Label::choices(face, letter), cards)
            })
            .collect();
        let wishes: Vec<_> = beside
            .iter()
            .map(|(face, bounds, labels, cards)| Wish {
                face: *bounds,
                label: labels.iter().map(Label::size).collect(),
                card: cards.iter().map(Card::size).collect(),
                before: before.get(&face.face.track).map(|memory| memory.choice).unwrap_or_default(),
            })
            .collect();
        let places = arrange(picture, &[taken], (letter * 0.45).round(), &wishes);
        let now = reading.frame.time;
        let faces = beside.iter().zip(&places).map(|((face, ..), place)| (face.face.track, (*face, place)));
        self.people.meet(&reading.frame, faces, |(face, place), before| {
            let mut memory = before.map(|person| person.known).unwrap_or_default();
            memory.history.note(now, face.smoothed);
            Memory { choice: place.choice, ..memory }
        });
        let people: BTreeMap<_, _> = self.people.iter().collect();
        for ((face, b, labels, cards), place) in beside.iter().zip(places) {
            let (tint, points) = (tint(face), &face.face.mesh.points);
            if style.mesh {
                let points: Vec<_> = points.iter().map(|&p| seen(p)).collect();
                face::mesh(canvas, &points, b.w, tint);
            }
            if style.pose {
                let nose = points.get(NOSE_TIP).map_or(b.centre(), |&p| seen(p));
                let Pose { yaw, pitch, roll } = face.face.pose;
                let turn = if style.mirror { -1.0 } else { 1.0 };
                face::axes(canvas, nose, b.w * 0.45, Pose { yaw: turn * yaw, pitch, roll: turn * roll });
            }
            if style.boxes {
                face::corners(canvas, *b, letter_of(*b) / 4.5, tint);
            }
            if let (Some((n, rect)), Some(person)) = (place.card, people.get(&face.face.track)) {
                cards[n].draw(canvas, rect, face, &person.known.history, now);
            }
            if let Some((n, rect)) = place.label {
                labels[n].draw(canvas, rect, tint);
            }
        }
    }
}

/// The landmark at the tip of the nose.
const NOSE_TIP: usize = 4;

/// The height of capitals that can be read on a picture of this size, in pixels.
fn letter_height(image: &Image) -> f32 {
    (image.width().min(image.height()) as f32 / 40.0).clamp(SMALLEST_LETTER, 60.0)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::expression::{COUNT, Distribution, Expression};
    use crate::face::{Face, Mesh};
    use crate::frame::Frame;
    use crate::geometry::Pose;
    use crate::reading::{Baseline, ReadFace};

    fn reading(faces: usize) -> Reading {
        let bounds = Rect::new(40.0, 60.0, 60.0, 80.0);
        let face = |track| ReadFace {
            face: Face {
                track,
                bounds,
                mesh: Mesh { points: vec![bounds.centre()], depths: vec![0.0], score: 1.0 },
                pose: Pose::default(),
            },
            logits: [0.0; COUNT],
            calibrated: Distribution([0.125; COUNT]),
            smoothed: Distribution([0.1, 0.9, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
            baseline: Baseline::default(),
        };
        // Stripes, so that hiding shows.
        let pixels = (0..320 * 240).flat_map(|i| [if i % 2 == 0 { 40u8 } else { 80 }; 3]).collect();
        let image = Image::new(320, 240, pixels).unwrap();
        let frame = Frame { image, source: "test".into(), index: 0, time: Duration::ZERO };
        Reading { frame, faces: (1..=faces as u64).map(face).collect(), whereabouts: vec![bounds] }
    }

    fn drawn(reading: &Reading, style: Style) -> Image {
        Overlay::default().draw(reading, style, &Hud::default())
    }

    #[test]
    fn the_label_has_the_colour_of_the_expression() {
        let image = drawn(&reading(1), Style::default());
        let label = image.bgr(42, 50);
        let wanted = colour(Expression::Happiness);
        assert!(label.iter().zip(wanted).all(|(&a, b)| a.abs_diff(b) < 40), "{label:?} {wanted:?}");
    }

    #[test]
    fn a_mirror_moves_the_box_to_the_other_side() {
        let image = drawn(&reading(1), Style { mirror: true, ..Style::default() });
        let wanted = colour(Expression::Happiness);
        let label = image.bgr(320 - 100 + 2, 50);
        assert!(label.iter().zip(wanted).all(|(&a, b)| a.abs_diff(b) < 40), "{label:?} {wanted:?}");
    }

    #[test]
    fn whoever_was_seen_is_hidden_whether_read_or_not() {
        let stripes = |image: Image| image.bgr(70, 110) != image.bgr(71, 110);
        let style = Style { blur: true, ..Style::default() };
        assert!(!stripes(drawn(&reading(0), style)));
        assert!(stripes(drawn(&reading(0), Style::default())));
    }

    #[test]
    fn everything_can_be_drawn_on_any_picture() {
        let all = Style { mesh: true, pose: true, mirror: true, blur: true, ..Style::default() };
        let marks = [Mark::Live, Mark::Recording, Mark::Paused, Mark::Reconnecting];
        let hud = Hud { marks: &marks, text: "30 frames/s", help: &[("h", "help"), ("q", "close")] };
        let mut overlay = Overlay::default();
        for (n, (w, h)) in [(0, 0), (1, 1), (320, 240), (1280, 720), (50, 4000)].into_iter().enumerate() {
            let mut reading = reading(5);
            reading.frame.image = Image::filled(w, h, [90; 3]);
            reading.frame.time = Duration::from_secs(n as u64);
            reading.faces[1].face.bounds = Rect::new(-9.0, -9.0, w as f32 + 20.0, h as f32 + 20.0);
            reading.faces[2].face.bounds = Rect::default();
            reading.faces[3].face.bounds = Rect::new(f32::NAN, 0.0, f32::INFINITY, -5.0);
            let image = overlay.draw(&reading, all, &hud);
            assert_eq!((image.width(), image.height()), (w, h));
        }
    }
}
