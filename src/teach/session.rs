//! The course of a sitting: for each expression time to get ready, a clip, and a moment to have it again. It knows no camera
//! and no clock but the times of frames, and says what is to be done.

use std::time::Duration;

use super::words::example;
use crate::expression::Expression;

/// To get ready for an expression.
const READY: Duration = Duration::from_secs(4);
/// A clip.
const CLIP: Duration = Duration::from_secs(5);
/// After a clip, to think better of it.
const AGAIN: Duration = Duration::from_secs(2);

/// Where a sitting is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is said what to show.
    Ready,
    /// It is recorded.
    Recording,
    /// The clip is there, and kept unless it is wanted again.
    Recorded,
    /// It is over.
    Over,
}

/// What a frame shows of whom the sitting is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// No face, or not theirs.
    Nobody,
    /// Their face.
    Face,
    /// Several faces, and nobody knows which is theirs.
    Several,
}

/// What somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The clip in the making, or the last one, once more.
    Repeat,
    /// The next expression.
    Skip,
    /// No more.
    End,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Nothing.
    None,
    /// A clip of this expression begins with the frame at hand.
    Begin(Expression),
    /// The clip in the making gets no more frames, not even the one at hand.
    Stop,
    /// It is kept.
    Keep,
    /// It is thrown away.
    Discard,
}

/// How many frames of the clip in the making show what.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Tally {
    frames: usize,
    faces: usize,
    crowds: usize,
}

impl Tally {
    /// What is wrong with the clip, by the rules by which clips are learnt from.
    fn fault(self) -> Option<Seen> {
        let crowded = self.crowds * 10 > self.frames;
        crowded.then_some(Seen::Several).or((self.faces * 2 < self.frames).then_some(Seen::Nobody))
    }
}

/// A sitting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    steps: Vec<Expression>,
    at: usize,
    phase: Phase,
    /// When the phase began.
    since: Option<Duration>,
    now: Duration,
    tally: Tally,
    /// Why the clip is taken once more, if it was of no use.
    fault: Option<Seen>,
}

impl Session {
    /// Neutral first, then these expressions, all of it so many times.
    pub fn new(expressions: &[Expression], rounds: usize) -> Self {
        let others = expressions.iter().copied().filter(|&expression| expression != Expression::Neutral);
        let round: Vec<_> = [Expression::Neutral].into_iter().chain(others).collect();
        Self {
            steps: round.repeat(rounds),
            at: 0,
            phase: if rounds == 0 { Phase::Over } else { Phase::Ready },
            since: None,
            now: Duration::ZERO,
            tally: Tally::default(),
            fault: None,
        }
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// Which clip of how many is at hand, from 1.
    pub fn place(&self) -> (usize, usize) {
        ((self.at + 1).min(self.steps.len()), self.steps.len())
    }

    /// What is to be shown now.
    pub fn expression(&self) -> Option<Expression> {
        self.steps.get(self.at).copied().filter(|_| self.phase != Phase::Over)
    }

    /// How much longer the phase lasts.
    pub fn left(&self) -> Duration {
        let length = match self.phase {
            Phase::Ready => READY,
            Phase::Recording => CLIP,
            Phase::Recorded => AGAIN,
            Phase::Over => Duration::ZERO,
        };
        length.saturating_sub(self.now.saturating_sub(self.since.unwrap_or(self.now)))
    }

    /// A frame of this time, and what it shows.
    pub fn frame(&mut self, time: Duration, seen: Seen) -> Act {
        self.now = time;
        self.since.get_or_insert(time);
        if !self.left().is_zero() {
            self.tally.frames += 1;
            self.tally.faces += usize::from(seen == Seen::Face);
            self.tally.crowds += usize::from(seen == Seen::Several);
            return Act::None;
        }
        match self.phase {
            Phase::Ready => {
                self.turn(Phase::Recording);
                // The frame at hand is the first of it.
                self.frame(time, seen);
                Act::Begin(self.steps[self.at])
            }
            Phase::Recording => {
                let fault = self.tally.fault();
                match (fault, self.fault) {
                    (None, _) => self.turn(Phase::Recorded),
                    // There is nothing to learn from it; twice is enough.
                    (Some(_), None) => {
                        self.turn(Phase::Ready);
                        self.fault = fault;
                    }
                    (Some(_), Some(_)) => self.next(),
                }
                if fault.is_some() { Act::Discard } else { Act::Stop }
            }
            Phase::Recorded => {
                self.next();
                Act::Keep
            }
            Phase::Over => Act::None,
        }
    }

    /// Somebody asks for something.
    pub fn wish(&mut self, wish: Wish) -> Act {
        let act = match (self.phase, wish) {
            (Phase::Over | Phase::Ready, _) => Act::None,
            (Phase::Recorded, Wish::Skip | Wish::End) => Act::Keep,
            (Phase::Recording | Phase::Recorded, _) => Act::Discard,
        };
        match wish {
            _ if self.phase == Phase::Over => {}
            Wish::Repeat => {
                self.fault = None;
                self.turn(Phase::Ready);
            }
            Wish::Skip => self.next(),
            Wish::End => self.turn(Phase::Over),
        }
        act
    }

    fn next(&mut self) {
        self.at += 1;
        self.fault = None;
        self.turn(if self.at < self.steps.len() { Phase::Ready } else { Phase::Over });
    }

    fn turn(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = Some(self.now);
        self.tally = Tally::default();
    }

    /// What is said: what to show, and what that is like.
    pub fn lines(&self) -> Vec<String> {
        let Some(expression) = self.expression() else { return vec!["that was all".to_owned()] };
        let [when, how] = example(expression);
        match (self.phase, self.fault) {
            (Phase::Ready, Some(fault)) => {
                let [what, advice] = match fault {
                    Seen::Several => ["more than one face was seen", "alone, or start with --face largest"],
                    _ => ["your face was not seen", "more light, and the whole face in the picture"],
                };
                vec![format!("{expression} once more"), what.to_owned(), advice.to_owned()]
            }
            (Phase::Ready, None) => vec![expression.to_string(), format!("as if {when}:"), how.to_owned()],
            (Phase::Recording, _) => vec![expression.to_string(), how.to_owned()],
            (Phase::Recorded | Phase::Over, _) => vec![format!("{expression} is there")],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Expression::{Anger, Happiness, Neutral};

    /// What is done, with the times in tenths of a second; wishes come after the frame of their time.
    fn course(rounds: usize, seen: impl Fn(u64) -> Seen, wishes: &[(u64, Wish)]) -> Vec<(u64, Act)> {
        let mut session = Session::new(&[Happiness, Neutral, Anger], rounds);
        let mut acts = Vec::new();
        for tenth in 0..2000 {
            acts.push((tenth, session.frame(Duration::from_millis(tenth * 100 + 7000), seen(tenth))));
            for (_, wish) in wishes.iter().filter(|(at, _)| *at == tenth) {
                acts.push((tenth, session.wish(*wish)));
            }
            assert!(session.lines().iter().all(|line| !line.is_empty()));
            assert!(session.place().0 <= session.place().1);
        }
        assert_eq!(session.phase(), Phase::Over);
        acts.retain(|(_, act)| *act != Act::None);
        acts
    }

    fn face(_: u64) -> Seen {
        Seen::Face
    }

    #[test]
    fn neutral_comes_first_and_each_expression_has_its_clip() {
        let acts = course(2, face, &[]);
        let begun: Vec<_> = acts.iter().filter(|(_, act)| matches!(act, Act::Begin(_))).collect();
        assert_eq!(begun[0], &(40, Act::Begin(Neutral)));
        assert_eq!(acts[1..3], [(90, Act::Stop), (110, Act::Keep)]);
        assert_eq!(
            begun[1..4],
            [&(150, Act::Begin(Happiness)), &(260, Act::Begin(Anger)), &(370, Act::Begin(Neutral))]
        );
        assert_eq!((begun.len(), acts.len()), (6, 18));
        assert!(course(0, face, &[]).is_empty());
    }

    #[test]
    fn clips_are_repeated_skipped_and_ended_by_wish() {
        use Wish::{End, Repeat, Skip};
        // Once more while it is recorded, and when it is there.
        let acts = course(1, face, &[(60, Repeat), (160, Repeat), (400, End)]);
        let (begin, discard) = (Act::Begin(Neutral), Act::Discard);
        assert_eq!(acts[..5], [(40, begin), (60, discard), (100, begin), (150, Act::Stop), (160, discard)]);
        assert_eq!(acts[5..8], [(200, begin), (250, Act::Stop), (270, Act::Keep)]);
        // What is being recorded at the end is not whole: 310 to 360, kept at 380, and the next begins at 420.
        assert_eq!(acts[8..], [(310, Act::Begin(Happiness)), (360, Act::Stop), (380, Act::Keep)]);
        // Skipped while getting ready, and in the middle.
        let acts = course(1, face, &[(10, Skip), (70, Skip), (120, End)]);
        assert_eq!(
            acts,
            [(50, Act::Begin(Happiness)), (70, discard), (110, Act::Begin(Anger)), (120, discard)]
        );
        // A clip that is there is kept.
        let acts = course(1, face, &[(95, End)]);
        assert_eq!(acts, [(40, begin), (90, Act::Stop), (95, Act::Keep)]);
    }

    #[test]
    fn a_clip_without_a_face_or_with_several_is_taken_again_once() {
        for (bad, words) in [(Seen::Nobody, "not seen"), (Seen::Several, "more than one")] {
            let acts = course(1, |tenth| if tenth > 250 { Seen::Face } else { bad }, &[]);
            let begin = Act::Begin(Neutral);
            assert_eq!(acts[..4], [(40, begin), (90, Act::Discard), (130, begin), (180, Act::Discard)]);
            assert_eq!(acts[4], (220, Act::Begin(Happiness)));
            assert_eq!(acts.iter().filter(|(_, act)| *act == Act::Keep).count(), 2);
            let mut session = Session::new(&[], 1);
            let frames = (0..=90).map(|tenth| session.frame(Duration::from_millis(tenth * 100), bad));
            assert_eq!(frames.last(), Some(Act::Discard));
            assert!(session.lines().concat().contains(words));
        }
        // One passing by does not matter, nor a moment without a face.
        let passing = |tenth: u64| [Seen::Several, Seen::Nobody, Seen::Face][(tenth % 50).min(2) as usize];
        assert!(course(1, passing, &[]).iter().all(|(_, act)| *act != Act::Discard));
    }
}
