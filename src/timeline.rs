//! The expression of each track over time: as a picture, and as a few words.
//!
//! Time is counted in bins, and bins double their length when there are too many: a day takes the memory of a minute.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::canvas::Canvas;
use crate::error::Result;
use crate::expression::{COUNT, Distribution, Expression};
use crate::frame::Image;
use crate::geometry::{Point, Rect};
use crate::overlay::colour;

/// More bins than this and each doubles its length.
const MOST_BINS: usize = 960;
const FIRST_BIN: Duration = Duration::from_millis(50);
/// Shorter than this, an expression makes no segment of its own.
const SHORTEST: Duration = Duration::from_secs(1);
/// The picture shows this many tracks, those that were seen longest.
const MOST_TRACKS: usize = 12;

/// A stretch of time in which one expression prevails on a face.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Segment {
    /// When it begins.
    pub from: Duration,
    /// When it ends.
    pub to: Duration,
    /// What prevails.
    pub expression: Expression,
}

/// What every track expressed when.
#[derive(Debug, Clone)]
pub struct Timeline {
    bin: Duration,
    start: Option<Duration>,
    tracks: BTreeMap<u64, Track>,
}

/// The sums of distributions in each bin, and how many; from bin `first` on.
#[derive(Debug, Clone, Default)]
struct Track {
    first: usize,
    bins: Vec<([f32; COUNT], u32)>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { bin: FIRST_BIN, start: None, tracks: BTreeMap::new() }
    }
}

impl Timeline {
    /// Notes what a track expresses at a time. Times come in order.
    pub fn note(&mut self, track: u64, time: Duration, distribution: &Distribution) {
        let start = *self.start.get_or_insert(time);
        let passed = time.saturating_sub(start);
        let mut bin = (passed.as_secs_f64() / self.bin.as_secs_f64()) as usize;
        while bin >= MOST_BINS {
            self.bin *= 2;
            bin /= 2;
            self.tracks.values_mut().for_each(Track::halve);
        }
        let track = self.tracks.entry(track).or_insert_with(|| Track { first: bin, bins: Vec::new() });
        let slot = bin.saturating_sub(track.first);
        if track.bins.len() <= slot {
            track.bins.resize(slot + 1, ([0.0; COUNT], 0));
        }
        let (sum, count) = &mut track.bins[slot];
        sum.iter_mut().zip(distribution.0).for_each(|(s, p)| *s += p);
        *count += 1;
    }

    /// The tracks that were seen, by number.
    pub fn tracks(&self) -> Vec<u64> {
        self.tracks.keys().copied().collect()
    }

    /// What prevails on a face, and when: means over two seconds, nothing shorter than one.
    pub fn segments(&self, track: u64) -> Vec<Segment> {
        let Some(track) = self.tracks.get(&track) else { return Vec::new() };
        let start = self.start.unwrap_or_default();
        let reach = (SHORTEST.as_secs_f64() / self.bin.as_secs_f64()).ceil() as usize;
        let mut segments: Vec<Segment> = Vec::new();
        for (n, (_, count)) in track.bins.iter().enumerate() {
            if *count == 0 {
                continue;
            }
            let near = &track.bins[n.saturating_sub(reach)..(n + reach + 1).min(track.bins.len())];
            let sum = near.iter().fold([0.0; COUNT], |mut sum, (s, _)| {
                sum.iter_mut().zip(s).for_each(|(a, b)| *a += b);
                sum
            });
            let (expression, _) = Distribution(sum).top();
            let from = start + self.bin * (track.first + n) as u32;
            let to = from + self.bin;
            match segments.last_mut() {
                Some(last) if last.expression == expression && from.saturating_sub(last.to) < SHORTEST => {
                    last.to = to
                }
                _ => segments.push(Segment { from, to, expression }),
            }
        }
        without_short(segments)
    }

    /// The picture: a panel for each track with the shares of all expressions, above a common axis of time.
    ///
    /// # Errors
    /// OpenCV refuses the picture.
    pub fn picture(&self) -> Result<Image> {
        const WIDTH: usize = 1280;
        const PANEL: f32 = 150.0;
        const GAP: f32 = 34.0;
        const TOP: f32 = 50.0;
        const LEFT: f32 = 20.0;
        let mut shown: Vec<_> = self.tracks.iter().collect();
        shown.sort_by_key(|(number, track)| (std::cmp::Reverse(track.seen()), **number));
        let more = shown.len().saturating_sub(MOST_TRACKS);
        shown.truncate(MOST_TRACKS);
        shown.sort_by_key(|(number, _)| **number);
        let height = TOP + (PANEL + GAP) * shown.len().max(1) as f32 + 44.0;
        let mut image = Image::filled(WIDTH, height as usize, [255; 3]);
        let mut canvas = Canvas::on(&mut image);
        let ink = [40; 3];

        let mut x = LEFT;
        for expression in Expression::ALL {
            canvas.veil(Rect::new(x, 16.0, 14.0, 14.0), colour(expression), 1.0);
            canvas.text(expression.name(), Point::new(x + 20.0, 28.0), 11.0, ink)?;
            x += Canvas::text_width(expression.name(), 11.0) + 48.0;
        }
        let columns = WIDTH as f32 - 2.0 * LEFT;
        let bins = self.tracks.values().map(|t| t.first + t.bins.len()).max().unwrap_or(1);
        let wide = columns / bins as f32;
        for (n, (number, track)) in shown.iter().enumerate() {
            let top = TOP + (PANEL + GAP) * n as f32 + GAP - 12.0;
            canvas.text(
                &format!("face {number}: {}", words(&self.segments(**number))),
                Point::new(LEFT, top - 6.0),
                11.0,
                ink,
            )?;
            canvas.veil(Rect::new(LEFT, top, columns, PANEL), [225; 3], 0.4);
            track.paint(&mut canvas, Rect::new(LEFT, top, wide, PANEL));
        }
        let bottom = TOP + (PANEL + GAP) * shown.len().max(1) as f32;
        let start = self.start.unwrap_or_default().as_secs_f64();
        let span = self.bin.as_secs_f64() * bins as f64;
        let tick = tick_length(span);
        let mut time = (start / tick).ceil() * tick;
        while time <= start + span {
            let x = LEFT + columns * ((time - start) / span) as f32;
            canvas.lines(&[Point::new(x, bottom - 12.0), Point::new(x, bottom - 5.0)], false, 1.0, ink)?;
            let label = clock(time, tick);
            let width = Canvas::text_width(&label, 11.0);
            let at = (x - width / 2.0).clamp(2.0, WIDTH as f32 - width - 2.0);
            canvas.text(&label, Point::new(at, bottom + 12.0), 11.0, ink)?;
            time += tick;
        }
        if more > 0 {
            canvas.text(
                &format!("and {more} more, seen more briefly"),
                Point::new(LEFT, bottom + 32.0),
                11.0,
                ink,
            )?;
        }
        Ok(image)
    }
}

impl Track {
    /// Two bins become one.
    fn halve(&mut self) {
        let mut halved = vec![([0.0; COUNT], 0); (self.first % 2 + self.bins.len()).div_ceil(2)];
        for (n, (sum, count)) in self.bins.iter().enumerate() {
            let (to, number) = &mut halved[(self.first % 2 + n) / 2];
            to.iter_mut().zip(sum).for_each(|(a, b)| *a += b);
            *number += count;
        }
        *self = Self { first: self.first / 2, bins: halved };
    }

    fn seen(&self) -> u64 {
        self.bins.iter().map(|(_, count)| u64::from(*count)).sum()
    }

    /// Paints the shares of each bin as stacked stripes; `first` is the place of bin 0.
    fn paint(&self, canvas: &mut Canvas, first: Rect) {
        let mut last: Option<usize> = None;
        for (n, (sum, count)) in self.bins.iter().enumerate() {
            if *count == 0 {
                continue;
            }
            // A bin that no frame fell into, between two that have some, is the frame rate and no absence.
            let from = match last {
                Some(before) if n - before <= 3 => before + 1,
                _ => n,
            };
            last = Some(n);
            let left = (first.x + first.w * (self.first + from) as f32).round();
            let right = (first.x + first.w * (self.first + n + 1) as f32).round();
            let mut bottom = first.y + first.h;
            for (expression, share) in Expression::ALL.into_iter().zip(sum) {
                let height = first.h * share / *count as f32;
                let stripe = Rect::new(left, bottom - height, right - left, height);
                let snapped = Rect { y: stripe.y.round(), h: bottom.round() - stripe.y.round(), ..stripe };
                canvas.veil(snapped, colour(expression), 1.0);
                bottom -= height;
            }
        }
    }
}

/// Gives segments that are too short to the one before them, or after if there is none.
fn without_short(mut segments: Vec<Segment>) -> Vec<Segment> {
    while segments.len() > 1 {
        let length = |s: &Segment| s.to.saturating_sub(s.from);
        let Some(shortest) = (0..segments.len()).min_by_key(|&n| length(&segments[n])) else { break };
        if length(&segments[shortest]) >= SHORTEST {
            break;
        }
        let short = segments.remove(shortest);
        match shortest {
            0 => segments[0].from = short.from,
            n => segments[n - 1].to = short.to,
        }
        segments.dedup_by(|next, kept| {
            let same = next.expression == kept.expression && next.from.saturating_sub(kept.to) < SHORTEST;
            if same {
                kept.to = next.to;
            }
            same
        });
    }
    segments
}

/// Segments in words, such as `sadness 0:00-0:10, happiness 0:10-0:20`.
pub fn words(segments: &[Segment]) -> String {
    let tenths = segments.iter().any(|s| s.to.saturating_sub(s.from) < Duration::from_secs(10));
    let tick = if tenths { 0.1 } else { 1.0 };
    let say = |s: &Segment| {
        format!("{} {}-{}", s.expression, clock(s.from.as_secs_f64(), tick), clock(s.to.as_secs_f64(), tick))
    };
    let mut words: Vec<_> = segments.iter().take(8).map(say).collect();
    if segments.len() > 8 {
        words.push(format!("and {} more", segments.len() - 8));
    }
    words.join(", ")
}

/// A time as minutes and seconds, with hours if there are any, and tenths if `tick` is shorter than a second.
fn clock(seconds: f64, tick: f64) -> String {
    let tenths = (seconds * 10.0).round() as u64;
    let (hours, minutes, rest) = (tenths / 36_000, tenths / 600 % 60, tenths % 600);
    let whole =
        if tick < 1.0 { format!("{:02}.{}", rest / 10, rest % 10) } else { format!("{:02}", rest / 10) };
    if hours > 0 { format!("{hours}:{minutes:02}:{whole}") } else { format!("{minutes}:{whole}") }
}

/// A round number of seconds that divides `span` into about ten.
fn tick_length(span: f64) -> f64 {
    const ROUND: [f64; 15] =
        [0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0];
    ROUND.into_iter().find(|tick| span / tick <= 12.0).unwrap_or(7200.0 * (span / 86_400.0).ceil())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sure(expression: Expression) -> Distribution {
        let mut p = [0.02; COUNT];
        p[expression as usize] = 1.0 - 0.02 * 7.0;
        Distribution(p)
    }

    fn sad_then_happy(seconds: u32, change: u32, rate: u32) -> Timeline {
        let mut timeline = Timeline::default();
        for n in 0..seconds * rate {
            let time = Duration::from_secs(1) * n / rate;
            // Half a second of something else is no segment.
            let now = match n / rate {
                s if s == change / 2 && n % rate < rate / 2 => Expression::Fear,
                s if s < change => Expression::Sadness,
                _ => Expression::Happiness,
            };
            timeline.note(1, time, &sure(now));
        }
        timeline
    }

    #[test]
    fn segments_say_what_prevailed_when() {
        for (seconds, change, rate) in [(20, 10, 24), (20, 10, 7), (7200, 3600, 5)] {
            let segments = sad_then_happy(seconds, change, rate).segments(1);
            let names: Vec<_> = segments.iter().map(|s| s.expression).collect();
            assert_eq!(names, [Expression::Sadness, Expression::Happiness], "{segments:?}");
            let at = segments[1].from.as_secs_f64();
            assert!((at - f64::from(change)).abs() <= 0.5 + f64::from(seconds) / 500.0, "{at}");
        }
    }

    #[test]
    fn memory_does_not_grow_with_time() {
        let timeline = sad_then_happy(36_000, 9, 1);
        assert!(timeline.tracks[&1].bins.len() <= MOST_BINS);
        let noted: u64 = timeline.tracks[&1].seen();
        assert_eq!(noted, 36_000);
    }

    #[test]
    fn the_picture_shows_the_colours_in_their_place() {
        let image = sad_then_happy(20, 10, 24).picture().unwrap();
        let middle = 50 + 22 + 75;
        assert_eq!(image.bgr(200, middle), colour(Expression::Sadness));
        assert_eq!(image.bgr(1000, middle), colour(Expression::Happiness));
        assert!(Timeline::default().picture().is_ok());
    }

    #[test]
    fn words_and_clock() {
        assert_eq!(words(&sad_then_happy(40, 20, 24).segments(1)), "sadness 0:00-0:20, happiness 0:20-0:40");
        assert_eq!(clock(3725.0, 1.0), "1:02:05");
        assert_eq!(clock(9.96, 0.1), "0:10.0");
    }
}
