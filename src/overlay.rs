//! Draws faces and what they express on the frame itself.

use crate::canvas::{Canvas, Colour};
use crate::error::Result;
use crate::expression::Expression;
use crate::frame::Image;
use crate::geometry::{Point, Rect};
use crate::reader::{ReadFace, Reading};

/// What is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Style {
    /// The points of the face mesh.
    pub landmarks: bool,
    /// Faces become unrecognisable.
    pub blur: bool,
    /// The picture is shown as in a mirror; text stays readable.
    pub mirror: bool,
}

/// What is hidden, in sizes of the face: hair and chin with it.
const HIDDEN: f32 = 1.3;
/// With more faces than this, each gets a label only, without the bars of all probabilities.
const MOST_WITH_BARS: usize = 3;

/// Smaller capitals, in pixels, cannot be read.
const SMALLEST_LETTER: f32 = 8.0;

const INK: Colour = [24, 24, 24];
const PAPER: Colour = [245, 245, 245];
const UNSURE: Colour = [150, 150, 150];

/// The colour of an expression, the same on every picture.
pub fn colour(expression: Expression) -> Colour {
    match expression {
        Expression::Neutral => [200, 190, 180],
        Expression::Happiness => [60, 205, 250],
        Expression::Surprise => [60, 140, 250],
        Expression::Sadness => [220, 140, 70],
        Expression::Anger => [70, 70, 230],
        Expression::Disgust => [90, 180, 90],
        Expression::Fear => [200, 100, 170],
        Expression::Contempt => [120, 150, 60],
    }
}

/// The picture of a reading with everything that `style` asks for drawn on it.
///
/// # Errors
/// OpenCV refuses the picture.
pub fn draw(reading: &Reading, style: Style) -> Result<Image> {
    let mut image = reading.frame.image.clone();
    if style.blur {
        // Also where somebody was a moment ago: a frame in which a face is missed must not show it.
        for bounds in &reading.whereabouts {
            Canvas::on(&mut image).mosaic(bounds.scaled(HIDDEN));
        }
    }
    if style.mirror {
        image = image.mirrored();
    }
    let width = image.width() as f32;
    let seen = |p: Point| if style.mirror { Point::new(width - p.x, p.y) } else { p };
    let letter = letter_height(&image);
    let mut canvas = Canvas::on(&mut image);
    if style.landmarks {
        for face in &reading.faces {
            let points: Vec<_> = face.face.mesh.points.iter().map(|&p| seen(p)).collect();
            canvas.dots(&points, (face.face.bounds.w / 160.0).clamp(0.6, 2.5), PAPER)?;
        }
    }
    for face in &reading.faces {
        let b = face.face.bounds;
        let left = if style.mirror { width - b.x - b.w } else { b.x };
        let bounds = Rect { x: left, ..b };
        // On small faces small labels, so that those of neighbours do not cover each other.
        let letter = letter.min(b.w / 8.0).max(SMALLEST_LETTER);
        draw_face(&mut canvas, face, bounds, letter)?;
        if reading.faces.len() <= MOST_WITH_BARS {
            draw_bars(&mut canvas, face, bounds, letter, width)?;
        }
    }
    Ok(image)
}

/// The height of capitals that can be read on a picture of this size, in pixels.
pub fn letter_height(image: &Image) -> f32 {
    (image.width().min(image.height()) as f32 / 36.0).clamp(SMALLEST_LETTER, 40.0)
}

/// A line of text in the top left corner, on a dark ground.
///
/// # Errors
/// OpenCV refuses the picture.
pub fn banner(image: &mut Image, text: &str) -> Result<()> {
    let letter = letter_height(image);
    let mut canvas = Canvas::on(image);
    let width = Canvas::text_width(text, letter);
    canvas.veil(Rect::new(0.0, 0.0, width + 2.0 * letter, 2.2 * letter), INK, 0.6);
    canvas.text(text, Point::new(letter, 1.6 * letter), letter, PAPER)
}

fn draw_face(canvas: &mut Canvas, face: &ReadFace, b: Rect, letter: f32) -> Result<()> {
    let (expression, confidence) = face.expression();
    let unsure = face.unsure();
    let tint = if unsure { UNSURE } else { colour(expression) };
    // Corners only: the face itself stays free.
    let arm = (b.w.min(b.h) * 0.22).max(4.0);
    for (x, towards_x) in [(b.x, arm), (b.x + b.w, -arm)] {
        for (y, towards_y) in [(b.y, arm), (b.y + b.h, -arm)] {
            let corner = [Point::new(x + towards_x, y), Point::new(x, y), Point::new(x, y + towards_y)];
            canvas.lines(&corner, false, letter / 6.0, tint)?;
        }
    }
    let doubt = if unsure { "?" } else { "" };
    let label = format!("{} {expression}{doubt} {:.0}%", face.face.track, confidence * 100.0);
    let width = Canvas::text_width(&label, letter) + letter;
    let top = if b.y >= 2.1 * letter { b.y - 2.1 * letter } else { b.y + b.h + 0.3 * letter };
    canvas.veil(Rect::new(b.x, top, width, 1.8 * letter), tint, 0.9);
    canvas.text(&label, Point::new(b.x + letter / 2.0, top + 1.4 * letter), letter, INK)
}

fn draw_bars(canvas: &mut Canvas, face: &ReadFace, b: Rect, letter: f32, picture_width: f32) -> Result<()> {
    let letter = letter * 0.72;
    let names = Expression::ALL.map(|e| Canvas::text_width(e.name(), letter)).into_iter().fold(0.0, f32::max);
    let (bar, row, gap) = (6.0 * letter, 1.8 * letter, 0.6 * letter);
    let width = names + bar + 3.0 * gap;
    let right = b.x + b.w + gap;
    let x = if right + width <= picture_width { right } else { b.x - gap - width };
    if x < 0.0 {
        return Ok(());
    }
    let panel = Rect::new(x, b.y, width, row * 8.0 + gap);
    canvas.veil(panel, INK, 0.55);
    for (n, (expression, p)) in Expression::ALL.into_iter().zip(face.smoothed.0).enumerate() {
        let y = b.y + gap / 2.0 + row * n as f32;
        canvas.text(expression.name(), Point::new(x + gap, y + 1.4 * letter), letter, PAPER)?;
        let ground = Rect::new(x + names + 2.0 * gap, y + 0.35 * letter, bar, 1.1 * letter);
        canvas.veil(ground, PAPER, 0.2);
        canvas.veil(Rect { w: bar * p.clamp(0.0, 1.0), ..ground }, colour(expression), 1.0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::expression::{COUNT, Distribution};
    use crate::face::{Face, Mesh};
    use crate::frame::Frame;
    use crate::geometry::Pose;

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
        };
        // Stripes, so that hiding shows.
        let pixels = (0..320 * 240).flat_map(|i| [if i % 2 == 0 { 40u8 } else { 80 }; 3]).collect();
        let image = Image::new(320, 240, pixels).unwrap();
        let frame = Frame { image, source: "test".into(), index: 0, time: Duration::ZERO };
        Reading { frame, faces: (1..=faces as u64).map(face).collect(), whereabouts: vec![bounds] }
    }

    #[test]
    fn the_label_has_the_colour_of_the_expression() {
        let image = draw(&reading(1), Style::default()).unwrap();
        let label = image.bgr(42, 50);
        let wanted = colour(Expression::Happiness);
        assert!(label.iter().zip(wanted).all(|(&a, b)| a.abs_diff(b) < 40), "{label:?} {wanted:?}");
    }

    #[test]
    fn a_mirror_moves_the_box_to_the_other_side() {
        let image = draw(&reading(1), Style { mirror: true, ..Style::default() }).unwrap();
        let wanted = colour(Expression::Happiness);
        let label = image.bgr(320 - 100 + 2, 50);
        assert!(label.iter().zip(wanted).all(|(&a, b)| a.abs_diff(b) < 40), "{label:?} {wanted:?}");
    }

    #[test]
    fn whoever_was_seen_is_hidden_whether_read_or_not() {
        let stripes = |image: Image| image.bgr(70, 110) != image.bgr(71, 110);
        let style = Style { blur: true, ..Style::default() };
        assert!(!stripes(draw(&reading(0), style).unwrap()));
        assert!(stripes(draw(&reading(0), Style::default()).unwrap()));
    }
}
