//! A picture of how a run of training went: lines from 0 to 1 over the epochs.

use std::path::Path;

use lanet_live::canvas::{Canvas, Colour};
use lanet_live::error::Result;
use lanet_live::frame::Image;
use lanet_live::geometry::Point;
use lanet_live::images;

const SIZE: (usize, usize) = (960, 540);
/// Left, top, right and bottom of the field of the lines.
const FIELD: [f32; 4] = [60.0, 30.0, 930.0, 490.0];
const COLOURS: [Colour; 4] = [[60, 140, 40], [40, 80, 220], [150, 150, 150], [200, 120, 40]];
const INK: Colour = [60, 60, 60];

/// Draws named series and writes the picture.
///
/// # Errors
/// A file that cannot be written.
pub fn save(file: &Path, series: &[(&'static str, Vec<f32>)]) -> Result<()> {
    let mut image = Image::filled(SIZE.0, SIZE.1, [255; 3]);
    let mut canvas = Canvas::on(&mut image);
    let [left, top, right, bottom] = FIELD;
    let epochs = series.iter().map(|(_, values)| values.len()).max().unwrap_or(0);
    for tenth in 0..=10 {
        let y = bottom - (bottom - top) * tenth as f32 / 10.0;
        canvas.lines(&[Point::new(left, y), Point::new(right, y)], false, 1.0, [225; 3]);
        if tenth % 2 == 0 {
            canvas.text(&format!("{:.1}", tenth as f32 / 10.0), Point::new(18.0, y + 5.0), 11.0, INK);
        }
    }
    let across = |epoch: usize| {
        let share = if epochs > 1 { epoch as f32 / (epochs - 1) as f32 } else { 0.5 };
        left + (right - left) * share
    };
    let every = epochs.div_ceil(10).max(1);
    for epoch in (0..epochs).step_by(every) {
        canvas.text(&(epoch + 1).to_string(), Point::new(across(epoch) - 5.0, bottom + 20.0), 11.0, INK);
    }
    for (n, (name, values)) in series.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        let points: Vec<Point> = values
            .iter()
            .enumerate()
            .map(|(epoch, value)| Point::new(across(epoch), bottom - (bottom - top) * value.clamp(0.0, 1.0)))
            .collect();
        canvas.lines(&points, false, 2.0, colour);
        canvas.dots(&points, 3.0, colour);
        canvas.text(name, Point::new(left + 200.0 * n as f32, SIZE.1 as f32 - 12.0), 12.0, colour);
    }
    images::write(file, &image, true)
}
