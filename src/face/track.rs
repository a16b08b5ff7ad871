//! Who is who from frame to frame: numbers for faces by where they are and how they move.
//!
//! It knows rectangles and times only. A track is *held* while a face is followed, *lost* after it was not seen, and
//! forgotten when it stays lost for a second and a half, or when nothing at all was seen for as long and far longer than
//! frames are usually apart; a face that appears where a lost one is expected, of about its size, has its number. Greedy matching by distance and a decaying velocity; no appearance.

use std::time::Duration;

use super::landmarks::Region;
use crate::geometry::{Point, Rect};

/// How long a face that is not seen keeps its number.
pub const MEMORY: Duration = Duration::from_millis(1500);
/// A pause of more than so many usual steps between frames is one in which nobody knows who has gone and come.
const PAUSE: u32 = 3;
/// Rectangles that cover more than this of the smaller of them are of one face.
const SAME_FACE: f32 = 0.6;
/// How quickly a velocity follows new measurements, in seconds.
const VELOCITY_SETTLES: f32 = 0.15;
/// How quickly an unseen face is expected to stop, in seconds.
const MOTION_LASTS: f32 = 0.5;
/// How far from where it is expected a face may turn up, in face sizes: at once, and more for each second.
const REACH: (f32, f32) = (0.6, 1.5);
/// How much larger or smaller it may have become.
const RESIZED: f32 = 2.0;

/// A face as it was seen in a frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sighting {
    /// The upright rectangle around the landmarks.
    pub bounds: Rect,
    /// Where to look for the landmarks next.
    pub region: Region,
}

/// A face with a number.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Track {
    number: u64,
    last: Sighting,
    /// When it was last seen.
    seen: Duration,
    /// In pixels a second.
    velocity: Point,
    held: bool,
}

/// The faces of a video.
#[derive(Debug, Clone, Default)]
pub struct Tracker {
    /// In the order of their numbers.
    tracks: Vec<Track>,
    numbers: u64,
    /// The time of the frame before, and how long after its own predecessor it came.
    last: Option<Duration>,
    step: Option<Duration>,
}

impl Tracker {
    /// The held faces: their numbers and where their landmarks are expected at `now`.
    pub fn expected(&self, now: Duration) -> Vec<(u64, Region)> {
        let region = |track: &Track| {
            let shift = track.moved(now);
            let centre = track.last.region.centre;
            Region { centre: Point::new(centre.x + shift.x, centre.y + shift.y), ..track.last.region }
        };
        self.tracks.iter().filter(|track| track.held).map(|track| (track.number, region(track))).collect()
    }

    /// Takes what was seen of each held face, in the order of [`Tracker::expected`], and says which ones are still
    /// held. Of two that have come to the same face, the one that was expected there keeps it.
    pub fn follow(&mut self, now: Duration, sightings: &[Option<Sighting>]) -> Vec<bool> {
        let step = self.last.map(|last| now.saturating_sub(last));
        if let (Some(pause), Some(usual)) = (step, self.step)
            && pause > MEMORY.max(usual * PAUSE)
        {
            self.tracks.clear();
        }
        (self.last, self.step) = (Some(now), step);
        self.tracks.retain(|track| track.held || now.saturating_sub(track.seen) <= MEMORY);
        let held: Vec<usize> = (0..self.tracks.len()).filter(|&n| self.tracks[n].held).collect();
        let mut seen: Vec<Option<Sighting>> =
            (0..held.len()).map(|n| sightings.get(n).copied().flatten()).collect();
        let agreement =
            |n: usize, sighting: Sighting| self.tracks[held[n]].expected(now).iou(sighting.bounds);
        for first in 0..held.len() {
            for second in first + 1..held.len() {
                let (Some(a), Some(b)) = (seen[first], seen[second]) else { continue };
                if same_face(a.bounds, b.bounds) {
                    let loser = if agreement(second, b) > agreement(first, a) { first } else { second };
                    seen[loser] = None;
                }
            }
        }
        for (&n, sighting) in held.iter().zip(&seen) {
            match sighting {
                Some(sighting) => self.tracks[n].see(now, *sighting),
                None => self.tracks[n].held = false,
            }
        }
        seen.iter().map(Option::is_some).collect()
    }

    /// Whether this rectangle is of a held face.
    pub fn knows(&self, bounds: Rect) -> bool {
        self.tracks.iter().any(|track| track.held && same_face(track.last.bounds, bounds))
    }

    /// Gives numbers to faces that are not held yet: those of lost ones where they fit best, else new ones. `None`
    /// for a face that is held already, or that comes twice.
    pub fn adopt(&mut self, now: Duration, sightings: &[Sighting]) -> Vec<Option<u64>> {
        let mut numbers = vec![None; sightings.len()];
        let fresh: Vec<usize> = (0..sightings.len())
            .filter(|&n| {
                let bounds = sightings[n].bounds;
                !self.knows(bounds) && !sightings[..n].iter().any(|other| same_face(other.bounds, bounds))
            })
            .collect();
        let mut fits: Vec<(f32, usize, usize)> = Vec::new();
        for (t, track) in self.tracks.iter().enumerate().filter(|(_, track)| !track.held) {
            for &n in &fresh {
                fits.extend(track.misfit(now, sightings[n].bounds).map(|misfit| (misfit, t, n)));
            }
        }
        fits.sort_by(|a, b| a.0.total_cmp(&b.0));
        for (_, t, n) in fits {
            if !self.tracks[t].held && numbers[n].is_none() {
                self.tracks[t].see(now, sightings[n]);
                numbers[n] = Some(self.tracks[t].number);
            }
        }
        for n in fresh {
            if numbers[n].is_none() {
                self.numbers += 1;
                numbers[n] = Some(self.numbers);
                let velocity = Point::default();
                let last = sightings[n];
                self.tracks.push(Track { number: self.numbers, last, seen: now, velocity, held: true });
            }
        }
        numbers
    }

    /// The number of held faces.
    pub fn held(&self) -> usize {
        self.tracks.iter().filter(|track| track.held).count()
    }

    /// Whether a face was lost not long ago.
    pub fn misses(&self) -> bool {
        self.tracks.iter().any(|track| !track.held)
    }
}

impl Track {
    fn see(&mut self, now: Duration, sighting: Sighting) {
        let seconds = now.saturating_sub(self.seen).as_secs_f32();
        if seconds > 0.0 {
            let (old, new) = (self.last.bounds.centre(), sighting.bounds.centre());
            let follow = 1.0 - (-seconds / VELOCITY_SETTLES).exp();
            self.velocity.x += follow * ((new.x - old.x) / seconds - self.velocity.x);
            self.velocity.y += follow * ((new.y - old.y) / seconds - self.velocity.y);
        }
        (self.last, self.seen, self.held) = (sighting, now, true);
    }

    /// How far it has moved since it was seen, with a velocity that decays.
    fn moved(&self, now: Duration) -> Point {
        let seconds = now.saturating_sub(self.seen).as_secs_f32();
        let factor = MOTION_LASTS * (1.0 - (-seconds / MOTION_LASTS).exp());
        Point::new(self.velocity.x * factor, self.velocity.y * factor)
    }

    /// Where it is expected.
    fn expected(&self, now: Duration) -> Rect {
        let shift = self.moved(now);
        let Rect { x, y, w, h } = self.last.bounds;
        Rect::new(x + shift.x, y + shift.y, w, h)
    }

    /// How far this rectangle is from where the face is expected, in its sizes; `None` if it cannot be the face.
    fn misfit(&self, now: Duration, bounds: Rect) -> Option<f32> {
        let expected = self.expected(now);
        let (old, new) = (expected.area().sqrt(), bounds.area().sqrt());
        let distance = expected.centre().distance(bounds.centre()) / old.max(new);
        let reach = REACH.0 + REACH.1 * now.saturating_sub(self.seen).as_secs_f32();
        (distance < reach && new < RESIZED * old && old < RESIZED * new).then_some(distance)
    }
}

/// Whether one rectangle covers most of the other.
fn same_face(a: Rect, b: Rect) -> bool {
    a.intersection(b).area() > SAME_FACE * a.area().min(b.area())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(x: f32, y: f32) -> Sighting {
        let bounds = Rect::new(x - 50.0, y - 50.0, 100.0, 100.0);
        Sighting { bounds, region: Region { centre: bounds.centre(), side: 150.0, angle: 0.0 } }
    }

    /// The time of a frame at 30 a second.
    fn frame(n: u64) -> Duration {
        Duration::from_secs(n) / 30
    }

    /// Faces that move, each seen in some frames; as the finder does, the tracker first follows those it holds
    /// (which see the nearest face there is), then adopts the rest.
    fn numbers(paths: &[&dyn Fn(f32) -> Option<Point>], frames: u64) -> Vec<Vec<Option<u64>>> {
        let mut tracker = Tracker::default();
        let mut all = Vec::new();
        for n in 0..frames {
            let now = frame(n);
            let faces: Vec<Option<Sighting>> =
                paths.iter().map(|path| path(n as f32).map(|p| at(p.x, p.y))).collect();
            let seen: Vec<Sighting> = faces.iter().copied().flatten().collect();
            let nearest: Vec<Option<Sighting>> = tracker
                .expected(now)
                .iter()
                .map(|(_, region)| {
                    let distance = |s: &&Sighting| s.bounds.centre().distance(region.centre);
                    let found = seen.iter().min_by(|a, b| distance(a).total_cmp(&distance(b)))?;
                    (distance(&found) < 60.0).then_some(*found)
                })
                .collect();
            tracker.follow(now, &nearest);
            tracker.adopt(now, &seen);
            let of = |s: &Sighting| tracker.tracks.iter().find(|t| t.held && t.last == *s).map(|t| t.number);
            all.push(faces.iter().map(|face| face.as_ref().and_then(of)).collect());
        }
        all
    }

    #[test]
    fn two_that_pass_each_other_keep_their_numbers() {
        // The second one is hidden while the first one is before it.
        let right = |n: f32| Some(Point::new(100.0 + 8.0 * n, 200.0));
        let left = |n: f32| {
            let p = Point::new(900.0 - 8.0 * n, 210.0);
            ((p.x - (100.0 + 8.0 * n)).abs() > 90.0).then_some(p)
        };
        let numbers = numbers(&[&right, &left], 100);
        assert_eq!(numbers[0], [Some(1), Some(2)]);
        assert_eq!(numbers[99], [Some(1), Some(2)]);
        assert!(numbers.iter().all(|n| n[0] == Some(1) && n[1].is_none_or(|n| n == 2)));
    }

    #[test]
    fn a_short_absence_keeps_the_number_and_a_long_one_does_not() {
        let gone =
            |frames: f32| move |n: f32| (n < 10.0 || n >= 10.0 + frames).then_some(Point::new(100.0, 100.0));
        assert_eq!(numbers(&[&gone(40.0)], 60)[59], [Some(1)]);
        assert_eq!(numbers(&[&gone(60.0)], 80)[79], [Some(2)]);
    }

    #[test]
    fn a_long_pause_ends_what_is_held_and_slow_frames_do_not() {
        let follow = |times: &[f32]| {
            let mut tracker = Tracker::default();
            for &time in times {
                let now = Duration::from_secs_f32(time);
                let seen: Vec<_> = tracker.expected(now).iter().map(|_| Some(at(100.0, 100.0))).collect();
                tracker.follow(now, &seen);
                tracker.adopt(now, &[at(100.0, 100.0)]);
            }
            tracker.expected(Duration::ZERO).iter().map(|(number, _)| *number).collect::<Vec<_>>()
        };
        // A laptop that slept, a stream that stood still.
        assert_eq!(follow(&[0.0, 0.1, 0.2, 60.0]), [2]);
        // A stutter; a picture every five seconds, one of which is missing.
        assert_eq!(follow(&[0.0, 0.1, 0.2, 1.6]), [1]);
        assert_eq!(follow(&[0.0, 5.0, 10.0, 20.0]), [1]);
    }

    #[test]
    fn a_face_far_away_or_of_another_size_is_somebody_else() {
        let mut tracker = Tracker::default();
        assert_eq!(tracker.adopt(frame(0), &[at(100.0, 100.0)]), [Some(1)]);
        assert_eq!(tracker.follow(frame(1), &[None]), [false]);
        assert_eq!(tracker.adopt(frame(2), &[at(400.0, 100.0)]), [Some(2)]);
        let small = Sighting { bounds: Rect::new(90.0, 90.0, 20.0, 20.0), ..at(100.0, 100.0) };
        assert_eq!(tracker.adopt(frame(2), &[small]), [Some(3)]);
        assert_eq!(tracker.adopt(frame(2), &[at(110.0, 100.0)]), [None]);
    }

    #[test]
    fn of_two_on_one_face_the_expected_one_stays() {
        let mut tracker = Tracker::default();
        tracker.adopt(frame(0), &[at(100.0, 100.0), at(300.0, 100.0)]);
        assert_eq!(
            tracker.follow(frame(1), &[Some(at(290.0, 100.0)), Some(at(300.0, 100.0))]),
            [false, true]
        );
        assert_eq!(tracker.expected(frame(1)).len(), 1);
        assert!(tracker.misses() && tracker.held() == 1);
    }

    #[test]
    fn a_face_given_twice_gets_one_number() {
        let mut tracker = Tracker::default();
        assert_eq!(tracker.adopt(frame(0), &[at(100.0, 100.0), at(104.0, 100.0)]), [Some(1), None]);
    }

    proptest! {
        #[test]
        fn numbers_are_never_shared(
            steps in prop::collection::vec(prop::collection::vec((0f32..500.0, 0f32..500.0), 0..4), 1..20),
        ) {
            let mut tracker = Tracker::default();
            for (n, points) in steps.iter().enumerate() {
                let now = frame(n as u64);
                let seen: Vec<_> = points.iter().map(|&(x, y)| at(x, y)).collect();
                let followed: Vec<_> = tracker.expected(now).iter().enumerate()
                    .map(|(k, _)| seen.get(k).copied()).collect();
                tracker.follow(now, &followed);
                tracker.adopt(now, &seen);
                let held: Vec<_> = tracker.expected(now).into_iter().map(|(number, _)| number).collect();
                prop_assert!(held.windows(2).all(|pair| pair[0] < pair[1]), "{held:?}");
                for (a, track) in tracker.tracks.iter().enumerate().filter(|(_, t)| t.held) {
                    for other in tracker.tracks[..a].iter().filter(|t| t.held) {
                        prop_assert!(!same_face(track.last.bounds, other.last.bounds));
                    }
                }
            }
        }
    }
}
