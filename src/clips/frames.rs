//! The faces of a clip: some of its frames, evenly over it, each with the face that is meant.
//!
//! Three frames a second are looked at: an expression comes and goes in about half a second, and what lies closer together
//! looks alike and teaches nothing new. Of long pieces there are [`MOST`], so that no clip outweighs the others by far.

use std::sync::Arc;
use std::time::Duration;

use super::labels::Entry;
use super::sample::{Found, Sample, Still};
use crate::error::{Error, Result};
use crate::expression::Distribution;
use crate::face::{Face, FaceFinder, Mesh, Which, align};
use crate::frame::Frame;
use crate::video::Reader;

/// Frames that are looked at in a second.
const RATE: f64 = 3.0;
/// As many frames of a piece are looked at, however short it is, if it has them.
const FEWEST: f64 = 5.0;
/// No more frames of a piece are looked at, however long it is.
pub const MOST: usize = 60;
/// The side of what is kept of a face, in pixels.
const SIDE: usize = 128;

/// The samples of a piece of a clip, in the order of their times, and what of it could not be read; the inner error says why
/// there are none.
///
/// # Errors
/// A network that fails.
pub fn samples(entry: &Entry, finder: &FaceFinder, which: Which) -> Result<Result<Found>> {
    let [start, end] = entry.piece;
    let start = start.unwrap_or_default();
    let reader = match Reader::open(&entry.path) {
        Ok(reader) => reader.between(start, end),
        Err(error) => return Ok(Err(error)),
    };
    let stop = [end, reader.info().end].into_iter().flatten().min();
    let frame_time = Duration::from_secs_f64(1.0 / reader.info().rate);
    let mut dues = Dues::new(start, stop, frame_time);
    // Nothing of another clip is known.
    let (mut finder, mut samples) = (finder.clone(), Vec::new());
    let (mut looked_at, mut crowded) = (0, 0);
    let (warnings, mut broken) = (reader.warnings(), None);
    for frame in reader {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) if looked_at > 0 => {
                broken = Some(error.line());
                break;
            }
            Err(error) => return Ok(Err(error)),
        };
        if !dues.meet(frame.time) {
            continue;
        }
        looked_at += 1;
        let scene = finder.find(frame)?;
        crowded += usize::from(scene.faces.len() > 1);
        if let Some(face) = which.choose(&scene.faces, |face| face.bounds) {
            samples.push(sample(entry, &scene.frame, face)?);
        }
        if looked_at == MOST {
            break;
        }
    }
    // One passing by, or a picture on the wall that was taken for a face for a moment, does not matter.
    if which == Which::Only && crowded * 10 > looked_at {
        return Ok(Err(Error::new(format!(
            "{crowded} of the {looked_at} frames looked at show more than one face"
        ))
        .advice("say which is meant with --face largest, or --face 1 for the leftmost")));
    }
    if samples.is_empty() {
        let advice = match which {
            Which::Number(_) => "choose another --face",
            _ => "record it again with more light and the whole face in the picture",
        };
        return Ok(Err(
            Error::new(format!("none of the {looked_at} frames looked at shows the face")).advice(advice)
        ));
    }
    let broken = broken.or_else(|| warnings.take().first().map(ToString::to_string));
    Ok(Ok((samples, broken)))
}

/// The times at which a frame is due.
struct Dues {
    next: Duration,
    step: Duration,
    /// A frame is shown for so long.
    frame_time: Duration,
}

impl Dues {
    /// Evenly over a piece; where nobody knows its end, at the usual rate.
    fn new(start: Duration, stop: Option<Duration>, frame_time: Duration) -> Self {
        let length = stop.map(|stop| stop.saturating_sub(start).as_secs_f64());
        let step =
            length.map_or(1.0 / RATE, |length| length / (length * RATE).round().clamp(FEWEST, MOST as f64));
        let step = Duration::from_secs_f64(step).max(Duration::from_micros(1));
        Self { next: start + step / 2, step, frame_time }
    }

    /// Whether a frame that comes at this time is the nearest to one that is due.
    fn meet(&mut self, time: Duration) -> bool {
        let until = time + self.frame_time / 2;
        let due = until >= self.next;
        while due && self.next <= until {
            self.next += self.step;
        }
        due
    }
}

/// What is kept of a face in a frame.
fn sample(entry: &Entry, frame: &Frame, face: &Face) -> Result<Sample> {
    let to_image = align::framing(&frame.image, Some(&face.mesh));
    let (image, to_small) = align::surroundings(&frame.image, to_image, SIDE)?;
    let Mesh { points, depths, score } = &face.mesh;
    let scale = to_small.scale();
    let mesh = Mesh {
        points: points.iter().map(|&point| to_small.apply(point)).collect(),
        depths: depths.iter().map(|depth| depth * scale).collect(),
        score: *score,
    };
    Ok(Sample {
        path: entry.path.clone(),
        entry: 0,
        label: entry.label,
        target: entry.votes.unwrap_or_else(|| Distribution::certain(entry.label)),
        mesh: Some(mesh),
        person: entry.person.clone(),
        still: Some(Still { time: frame.time, image: Arc::new(image) }),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_taken_evenly_from_the_first_to_the_last() {
        let ms = Duration::from_millis;
        let taken = |start: u64, stop: Option<u64>, frames: u64, step: u64| {
            let mut dues = Dues::new(ms(start), stop.map(ms), ms(step.min(100)));
            (0..frames).map(|n| start + n * step).filter(|&at| dues.meet(ms(at))).collect::<Vec<_>>()
        };
        assert_eq!(taken(0, Some(2000), 60, 33), [165, 495, 825, 1155, 1485, 1848]);
        // Short pieces have five, or all that there are.
        assert_eq!(taken(1000, Some(1500), 15, 33), [1066, 1165, 1264, 1363, 1462]);
        assert_eq!((taken(0, Some(90), 3, 30).len(), taken(0, Some(30), 1, 30).len()), (3, 1));
        // Long ones have no more than the most, and gaps are no reason to hurry.
        assert_eq!(taken(0, Some(600_000), 18_200, 33).len(), MOST);
        assert_eq!(taken(0, None, 3, 10_000).len(), 2);
    }
}
