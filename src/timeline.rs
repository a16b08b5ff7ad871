//! The expression of each track over time: as a picture, and as a few words.
//!
//! Time is counted in bins, and bins double their length when there are too many: a day takes the memory of a minute.

use std::time::Duration;

use crate::canvas::Canvas;
use crate::expression::{COUNT, Distribution, Expression};
use crate::frame::Image;
use crate::geometry::{Point, Rect};
use crate::overlay::colour;
use crate::people::People;
use crate::reading::Reading;

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

/// What everybody expressed when.
#[derive(Debug, Clone)]
pub struct Timeline {
    bin: Duration,
    start: Option<Duration>,
    courses: Vec<Course>,
    /// The places, in `courses`, of those who are there.
    people: People<usize>,
}

/// What one person expressed: the sums of distributions in each bin, and how many; from bin `first` on.
#[derive(Debug, Clone)]
pub struct Course {
    /// The number that the person's face had.
    pub track: u64,
    first: usize,
    bins: Vec<([f32; COUNT], u32)>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { bin: FIRST_BIN, start: None, courses: Vec::new(), people: People::default() }
    }
}

impl Timeline {
    /// Notes what the faces of a reading express.
    pub fn note(&mut self, reading: &Reading) {
        let start = *self.start.get_or_insert(reading.frame.time);
        let passed = reading.frame.time.saturating_sub(start);
        let mut bin = (passed.as_secs_f64() / self.bin.as_secs_f64()) as usize;
        while bin >= MOST_BINS {
            self.bin *= 2;
            bin /= 2;
            self.courses.iter_mut().for_each(Course::halve);
        }
        let Self { courses, people, .. } = self;
        let faces = reading.faces.iter().map(|face| (face.face.track, face));
        people.meet(&reading.frame, faces, |face, before| {
            let place = before.map_or(courses.len(), |person| person.known);
            if place == courses.len() {
                courses.push(Course { track: face.face.track, first: bin, bins: Vec::new() });
            }
            courses[place].note(bin, face.smoothed);
            place
        });
    }

    /// The course of everybody who was seen, in the order in which they came.
    pub fn courses(&self) -> &[Course] {
        &self.courses
    }

    /// What prevails on a face, and when: means over two seconds, nothing shorter than one.
    pub fn segments(&self, course: &Course) -> Vec<Segment> {
        let start = self.start.unwrap_or_default();
        let reach = (SHORTEST.as_secs_f64() / self.bin.as_secs_f64()).ceil() as usize;
        let mut segments: Vec<Segment> = Vec::new();
        for (n, (_, count)) in course.bins.iter().enumerate() {
            if *count == 0 {
                continue;
            }
            let near = &course.bins[n.saturating_sub(reach)..(n + reach + 1).min(course.bins.len())];
            let sum = near.iter().fold([0.0; COUNT], |mut sum, (s, _)| {
                sum.iter_mut().zip(s).for_each(|(a, b)| *a += b);
                sum
            });
            let (expression, _) = Distribution(sum).top();
            let from = start + self.bin * (course.first + n) as u32;
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
    pub fn picture(&self) -> Image {
        const WIDTH: usize = 1280;
        const PANEL: f32 = 150.0;
        const GAP: f32 = 34.0;
        const TOP: f32 = 50.0;
        const LEFT: f32 = 20.0;
        // In the order in which they came, also where two were seen equally long.
        let mut shown: Vec<_> = self.courses.iter().enumerate().collect();
        shown.sort_by_key(|(place, course)| (std::cmp::Reverse(course.seen()), *place));
        let more = shown.len().saturating_sub(MOST_TRACKS);
        shown.truncate(MOST_TRACKS);
        shown.sort_by_key(|(place, _)| *place);
        let height = TOP + (PANEL + GAP) * shown.len().max(1) as f32 + 44.0;
        let mut image = Image::filled(WIDTH, height as usize, [255; 3]);
        let mut canvas = Canvas::on(&mut image);
        let ink = [40; 3];

        let mut x = LEFT;
        for expression in Expression::ALL {
            canvas.veil(Rect::new(x, 16.0, 14.0, 14.0), colour(expression), 1.0);
            canvas.text(expression.name(), Point::new(x + 20.0, 28.0), 11.0, ink);
            x += Canvas::text_width(expression.name(), 11.0) + 48.0;
        }
        let columns = WIDTH as f32 - 2.0 * LEFT;
        let bins = self.courses.iter().map(|c| c.first + c.bins.len()).max().unwrap_or(1);
        let wide = columns / bins as f32;
        for (n, (_, course)) in shown.iter().enumerate() {
            let top = TOP + (PANEL + GAP) * n as f32 + GAP - 12.0;
            canvas.text(
                &format!("face {}: {}", course.track, words(&self.segments(course))),
                Point::new(LEFT, top - 6.0),
                11.0,
                ink,
            );
            canvas.veil(Rect::new(LEFT, top, columns, PANEL), [225; 3], 0.4);
            course.paint(&mut canvas, Rect::new(LEFT, top, wide, PANEL));
        }
        let bottom = TOP + (PANEL + GAP) * shown.len().max(1) as f32;
        let start = self.start.unwrap_or_default().as_secs_f64();
        let span = self.bin.as_secs_f64() * bins as f64;
        let tick = tick_length(span);
        let mut time = (start / tick).ceil() * tick;
        while time <= start + span {
            let x = LEFT + columns * ((time - start) / span) as f32;
            canvas.lines(&[Point::new(x, bottom - 12.0), Point::new(x, bottom - 5.0)], false, 1.0, ink);
            let label = clock(time, tick);
            let width = Canvas::text_width(&label, 11.0);
            let at = (x - width / 2.0).clamp(2.0, WIDTH as f32 - width - 2.0);
            canvas.text(&label, Point::new(at, bottom + 12.0), 11.0, ink);
            time += tick;
        }
        if more > 0 {
            canvas.text(
                &format!("and {more} more, seen more briefly"),
                Point::new(LEFT, bottom + 32.0),
                11.0,
                ink,
            );
        }
        image
    }
}

impl Course {
    fn note(&mut self, bin: usize, distribution: Distribution) {
        // Before the first, if times went back.
        let slot = bin.saturating_sub(self.first);
        if self.bins.len() <= slot {
            self.bins.resize(slot + 1, ([0.0; COUNT], 0));
        }
        let (sum, count) = &mut self.bins[slot];
        sum.iter_mut().zip(distribution.0).for_each(|(s, p)| *s += p);
        *count += 1;
    }

    /// Two bins become one.
    fn halve(&mut self) {
        let mut halved = vec![([0.0; COUNT], 0); (self.first % 2 + self.bins.len()).div_ceil(2)];
        for (n, (sum, count)) in self.bins.iter().enumerate() {
            let (to, number) = &mut halved[(self.first % 2 + n) / 2];
            to.iter_mut().zip(sum).for_each(|(a, b)| *a += b);
            *number += count;
        }
        (self.first, self.bins) = (self.first / 2, halved);
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
    use crate::face::{Face, Mesh};
    use crate::frame::Frame;
    use crate::geometry::Pose;
    use crate::reading::{Baseline, ReadFace};

    fn sure(expression: Expression) -> Distribution {
        let mut p = [0.02; COUNT];
        p[expression as usize] = 1.0 - 0.02 * 7.0;
        Distribution(p)
    }

    fn reading(time: Duration, source: &str, expressions: &[(u64, Expression)]) -> Reading {
        let faces = expressions.iter().map(|&(track, expression)| ReadFace {
            face: Face {
                track,
                bounds: Rect::default(),
                mesh: Mesh { points: vec![], depths: vec![], score: 1.0 },
                pose: Pose::default(),
            },
            logits: [0.0; COUNT],
            calibrated: Distribution([0.125; COUNT]),
            smoothed: sure(expression),
            baseline: Baseline::default(),
        });
        let frame = Frame { image: Image::filled(1, 1, [0; 3]), source: source.into(), index: 0, time };
        Reading { frame, faces: faces.collect(), whereabouts: vec![] }
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
            timeline.note(&reading(time, "a", &[(1, now)]));
        }
        timeline
    }

    /// What the only one who was seen expressed.
    fn only(timeline: &Timeline) -> Vec<Segment> {
        assert_eq!(timeline.courses().len(), 1);
        timeline.segments(&timeline.courses()[0])
    }

    #[test]
    fn segments_say_what_prevailed_when() {
        for (seconds, change, rate) in [(20, 10, 24), (20, 10, 7), (7200, 3600, 5)] {
            let segments = only(&sad_then_happy(seconds, change, rate));
            let names: Vec<_> = segments.iter().map(|s| s.expression).collect();
            assert_eq!(names, [Expression::Sadness, Expression::Happiness], "{segments:?}");
            let at = segments[1].from.as_secs_f64();
            assert!((at - f64::from(change)).abs() <= 0.5 + f64::from(seconds) / 500.0, "{at}");
        }
    }

    #[test]
    fn memory_does_not_grow_with_time() {
        let timeline = sad_then_happy(36_000, 9, 1);
        assert!(timeline.courses[0].bins.len() <= MOST_BINS);
        let noted: u64 = timeline.courses[0].seen();
        assert_eq!(noted, 36_000);
    }

    #[test]
    fn the_picture_shows_the_colours_in_their_place() {
        let image = sad_then_happy(20, 10, 24).picture();
        let middle = 50 + 22 + 75;
        assert_eq!(image.bgr(200, middle), colour(Expression::Sadness));
        assert_eq!(image.bgr(1000, middle), colour(Expression::Happiness));
        assert!(Timeline::default().picture().height() > 0);
    }

    #[test]
    fn the_same_number_in_another_source_is_somebody_else() {
        let mut timeline = Timeline::default();
        for (source, expression) in [("a", Expression::Sadness), ("b", Expression::Happiness)] {
            for n in 0..40 {
                timeline.note(&reading(Duration::from_millis(n * 50), source, &[(1, expression)]));
            }
        }
        let found: Vec<_> = timeline.courses().iter().map(|course| timeline.segments(course)).collect();
        assert_eq!(found.iter().map(Vec::len).collect::<Vec<_>>(), [1, 1]);
        assert_eq!(
            (found[0][0].expression, found[1][0].expression),
            (Expression::Sadness, Expression::Happiness)
        );
    }

    #[test]
    fn words_and_clock() {
        assert_eq!(words(&only(&sad_then_happy(40, 20, 24))), "sadness 0:00-0:20, happiness 0:20-0:40");
        assert_eq!(clock(3725.0, 1.0), "1:02:05");
        assert_eq!(clock(9.96, 0.1), "0:10.0");
    }
}
