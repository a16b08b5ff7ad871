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
    /// The clip in the making gets no more frames.
    Stop,
    /// It is kept.
    Keep,
    /// It is thrown away.
    Discard,
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
    /// Frames of the clip in the making, those with one face, and how often it was taken again for want of faces.
    frames: usize,
    faces: usize,
    missed: usize,
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
            frames: 0,
            faces: 0,
            missed: 0,
        }
    }

    /// Where it is.
    pub fn phase(&self) -> Phase {
        self.phase
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

    /// A frame of this time, on which there are so many faces.
    pub fn frame(&mut self, time: Duration, faces: usize) -> Act {
        self.now = time;
        self.since.get_or_insert(time);
        if self.phase == Phase::Recording {
            self.frames += 1;
            self.faces += usize::from(faces > 0);
        }
        if !self.left().is_zero() {
            return Act::None;
        }
        match self.phase {
            Phase::Ready => {
                (self.frames, self.faces) = (0, 0);
                self.turn(Phase::Recording);
                Act::Begin(self.steps[self.at])
            }
            // Without a face there is nothing to learn; twice is enough.
            Phase::Recording if self.faces * 2 < self.frames => {
                self.missed += 1;
                if self.missed > 1 {
                    self.next();
                } else {
                    self.turn(Phase::Ready);
                }
                Act::Discard
            }
            Phase::Recording => {
                self.turn(Phase::Recorded);
                Act::Stop
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
            Wish::Repeat => self.turn(Phase::Ready),
            Wish::Skip => self.next(),
            Wish::End => self.turn(Phase::Over),
        }
        act
    }

    fn next(&mut self) {
        self.at += 1;
        self.missed = 0;
        self.turn(if self.at < self.steps.len() { Phase::Ready } else { Phase::Over });
    }

    fn turn(&mut self, phase: Phase) {
        self.phase = phase;
        self.since = Some(self.now);
    }

    /// What is said: what to show, and what that is like.
    pub fn lines(&self) -> Vec<String> {
        let Some(expression) = self.expression() else { return vec!["that was all".to_owned()] };
        let left = self.left().as_secs_f64().ceil();
        let [when, how] = example(expression);
        let place = format!("{} of {}", self.at + 1, self.steps.len());
        match self.phase {
            Phase::Ready if self.missed > 0 => vec![
                format!("your face was not seen: {expression} once more, in {left} s"),
                "more light, and the whole face in the picture".to_owned(),
            ],
            Phase::Ready => {
                vec![format!("{place}: {expression} in {left} s"), format!("as if {when}: {how}")]
            }
            Phase::Recording => vec![format!("{expression}: {how}"), format!("{left} s")],
            Phase::Recorded | Phase::Over => {
                vec![format!("{expression} is there"), "r: once more".to_owned()]
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Expression::{Anger, Happiness, Neutral};

    /// What is done, with the times in tenths of a second; wishes come after the frame of their time.
    fn course(rounds: usize, faces: impl Fn(u64) -> usize, wishes: &[(u64, Wish)]) -> Vec<(u64, Act)> {
        let mut session = Session::new(&[Happiness, Neutral, Anger], rounds);
        let mut acts = Vec::new();
        for tenth in 0..2000 {
            acts.push((tenth, session.frame(Duration::from_millis(tenth * 100 + 7000), faces(tenth))));
            for (_, wish) in wishes.iter().filter(|(at, _)| *at == tenth) {
                acts.push((tenth, session.wish(*wish)));
            }
            assert!(session.lines().iter().all(|line| !line.is_empty()));
        }
        assert_eq!(session.phase(), Phase::Over);
        acts.retain(|(_, act)| *act != Act::None);
        acts
    }

    #[test]
    fn neutral_comes_first_and_each_expression_has_its_clip() {
        let acts = course(2, |_| 1, &[]);
        let begun: Vec<_> = acts.iter().filter(|(_, act)| matches!(act, Act::Begin(_))).collect();
        assert_eq!(begun[0], &(40, Act::Begin(Neutral)));
        assert_eq!(acts[1..3], [(90, Act::Stop), (110, Act::Keep)]);
        assert_eq!(
            begun[1..4],
            [&(150, Act::Begin(Happiness)), &(260, Act::Begin(Anger)), &(370, Act::Begin(Neutral))]
        );
        assert_eq!((begun.len(), acts.len()), (6, 18));
        assert!(course(0, |_| 1, &[]).is_empty());
    }

    #[test]
    fn clips_are_repeated_skipped_and_ended_by_wish() {
        use Wish::{End, Repeat, Skip};
        // Once more while it is recorded, and when it is there.
        let acts = course(1, |_| 1, &[(60, Repeat), (160, Repeat), (400, End)]);
        let (begin, discard) = (Act::Begin(Neutral), Act::Discard);
        assert_eq!(acts[..5], [(40, begin), (60, discard), (100, begin), (150, Act::Stop), (160, discard)]);
        assert_eq!(acts[5..8], [(200, begin), (250, Act::Stop), (270, Act::Keep)]);
        // What is being recorded at the end is not whole: 310 to 360, kept at 380, and the next begins at 420.
        assert_eq!(acts[8..], [(310, Act::Begin(Happiness)), (360, Act::Stop), (380, Act::Keep)]);
        // Skipped while getting ready, and in the middle.
        let acts = course(1, |_| 1, &[(10, Skip), (70, Skip), (120, End)]);
        assert_eq!(
            acts,
            [(50, Act::Begin(Happiness)), (70, discard), (110, Act::Begin(Anger)), (120, discard)]
        );
        // A clip that is there is kept.
        let acts = course(1, |_| 1, &[(95, End)]);
        assert_eq!(acts, [(40, begin), (90, Act::Stop), (95, Act::Keep)]);
    }

    #[test]
    fn a_clip_without_a_face_is_taken_again_once() {
        let acts = course(1, |tenth| usize::from(tenth > 250), &[]);
        let begin = Act::Begin(Neutral);
        assert_eq!(acts[..4], [(40, begin), (90, Act::Discard), (130, begin), (180, Act::Discard)]);
        assert_eq!(acts[4], (220, Act::Begin(Happiness)));
        assert_eq!(acts.iter().filter(|(_, act)| *act == Act::Keep).count(), 2);
    }
}
