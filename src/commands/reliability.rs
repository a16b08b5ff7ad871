//! A reliability diagram (Guo et al. 2017, arXiv 1706.04599): how often what was told is right, over how probable it was.

use std::path::Path;

use lanet_live::canvas::{Canvas, Colour};
use lanet_live::error::Result;
use lanet_live::frame::Image;
use lanet_live::geometry::{Point, Rect};
use lanet_live::images;
use lanet_live::metrics::{BINS, Bin};

const SIZE: (usize, usize) = (560, 600);
/// Left, top, right and bottom of the field.
const FIELD: [f32; 4] = [60.0, 40.0, 540.0, 520.0];
const INK: Colour = [60, 60, 60];
const PALE: Colour = [225; 3];
const BAR: Colour = [200, 120, 40];
const LINE: Colour = [40, 80, 220];

/// Draws bins under their titles side by side and writes the picture: a bar up to the share told right, a dot at the mean
/// probability, as large as the bin has faces.
///
/// # Errors
/// A file that cannot be written.
pub fn save(file: &Path, panels: &[(String, [Bin; BINS])], overwrite: bool) -> Result<()> {
    let mut image = Image::filled(SIZE.0 * panels.len(), SIZE.1, [255; 3]);
    let mut canvas = Canvas::on(&mut image);
    for (n, (title, bins)) in panels.iter().enumerate() {
        draw(&mut canvas, (n * SIZE.0) as f32, title, bins);
    }
    images::write(file, &image, overwrite)
}

/// Draws a panel that begins at `x`.
fn draw(canvas: &mut Canvas, x: f32, title: &str, bins: &[Bin; BINS]) {
    let [left, top, right, bottom] = FIELD;
    let (left, right) = (x + left, x + right);
    let at = |x: f32, y: f32| Point::new(left + (right - left) * x, bottom - (bottom - top) * y);
    for tenth in 0..=10 {
        let share = tenth as f32 / 10.0;
        canvas.lines(&[at(0.0, share), at(1.0, share)], false, 1.0, PALE);
        if tenth % 2 == 0 {
            let (across, up) = (at(share, 0.0).x - 8.0, at(0.0, share).y + 5.0);
            canvas.text(&format!("{share:.1}"), Point::new(x + 22.0, up), 11.0, INK);
            canvas.text(&format!("{share:.1}"), Point::new(across, bottom + 20.0), 11.0, INK);
        }
    }
    let faces = bins.iter().map(|bin| bin.faces).sum::<u64>().max(1) as f32;
    for (n, bin) in bins.iter().enumerate().filter(|(_, bin)| bin.faces > 0) {
        let (from, width) = (n as f32 / BINS as f32, 1.0 / BINS as f32);
        let told_right = bin.right as f32 / bin.faces as f32;
        let corner = at(from + 0.05 * width, told_right);
        let bar = Rect::new(corner.x, corner.y, 0.9 * width * (right - left), bottom - corner.y);
        canvas.veil(bar, BAR, 0.5);
        let probable = (bin.sum / bin.faces as f64) as f32;
        let radius = 2.0 + 12.0 * (bin.faces as f32 / faces).sqrt();
        canvas.dots(&[at(probable, told_right)], radius, BAR);
    }
    canvas.lines(&[at(0.0, 0.0), at(1.0, 1.0)], false, 1.5, LINE);
    canvas.text(title, Point::new(left, 24.0), 13.0, INK);
    let words = "told right (bars) over how probable it was told to be; dots: faces; line: perfect";
    canvas.text(words, Point::new(x + 20.0, SIZE.1 as f32 - 20.0), 10.0, INK);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_reaches_to_the_share_told_right() {
        let file = std::env::temp_dir().join(format!("lanet-reliability-{}.png", std::process::id()));
        let mut bins = [Bin::default(); BINS];
        bins[BINS - 1] = Bin { faces: 4, right: 2, sum: 3.9 };
        let panel = ("a test".to_owned(), bins);
        save(&file, &[("none".to_owned(), [Bin::default(); BINS]), panel], false).unwrap();
        let image = images::read(&file).unwrap();
        let column = SIZE.0 + 540 - 480 / BINS / 2;
        assert_eq!(image.bgr(column - SIZE.0, 400), [255; 3]);
        assert_ne!(image.bgr(column, 400), [255; 3]);
        assert_eq!(image.bgr(column, 200), [255; 3]);
        std::fs::remove_file(file).unwrap();
    }
}
