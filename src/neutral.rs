//! Somebody's own neutral: what the net says of their face at rest, and how that is taken out of what it says of them.
//!
//! A net takes some resting faces for an expression. The correction is the least one under which the rest reads as neutral:
//! where at rest the score of an expression comes nearer to that of neutral than `MARGINS` allow, the excess is taken off
//! that expression in every frame. Whose rest reads as neutral already is read as everybody is, and nobody's expression is
//! made more probable than it was, but for what others lose. Scores are calibrated logits, so that margins mean the same
//! whatever the net.

use std::collections::VecDeque;
use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::calibration::Calibration;
use crate::error::{Context, Error, Result};
use crate::expression::{COUNT, Distribution, Expression};
use crate::part;

/// So long a face is looked at for its neutral.
pub const SITTING: Duration = Duration::from_secs(5);
/// From fewer frames of a video nothing is concluded.
pub const FEWEST: usize = 10;
/// A face that is away for longer is not at rest meanwhile.
const GAP: Duration = Duration::from_millis(500);

/// How far at least the score of each expression lies below that of neutral in a resting face: happiness and surprise are a
/// little less probable than neutral, the others at most e^-2 times as probable. Chosen on faces of people with several
/// pictures (`docs/accuracy.md`): higher margins find more resting faces neutral, and lose more of what resembles them.
const MARGINS: [f32; COUNT] = [0.0, 0.1, 0.1, 2.0, 2.0, 2.0, 2.0, 2.0];

/// The neutral of a person, in numbers of the net that saw it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Neutral {
    /// The fingerprint of the weights, from their card.
    pub fingerprint: String,
    /// How many frames or pictures it was taken from.
    pub frames: usize,
    /// The median of each logit, in the order of [`Expression::ALL`].
    pub logits: [f32; COUNT],
}

/// What is taken off each score of a person: see [`Calibration::scores`].
pub type Excess = [f32; COUNT];

impl Neutral {
    /// The neutral of somebody whose face at rest makes a net of this fingerprint say this; `None` of too few frames.
    pub fn of(fingerprint: &str, faces: &[[f32; COUNT]]) -> Option<Self> {
        let logits = medians(faces).filter(|_| faces.len() >= FEWEST)?;
        Some(Self { fingerprint: fingerprint.to_owned(), frames: faces.len(), logits })
    }

    /// What is taken off the scores of this person.
    pub fn excess(&self, calibration: &Calibration) -> Excess {
        excess(self.logits, calibration)
    }

    /// The neutral of a file.
    ///
    /// # Errors
    /// A file that cannot be read or holds no neutral.
    pub fn load(file: &Path) -> Result<Self> {
        let failed = || format!("the neutral '{}' cannot be used", file.display());
        let text = fs::read_to_string(file).with_context(failed)?;
        let found: Self = toml::from_str(&text)
            .map_err(|error| Error::new(failed()).because(Error::new(error.message().to_owned())))?;
        if found.logits.iter().any(|logit| !logit.is_finite()) {
            return Err(Error::new(failed()).because(Error::new("its logits are no numbers")));
        }
        Ok(found)
    }

    /// Writes it; an older one of that name is replaced.
    ///
    /// # Errors
    /// A folder that is not there, or a full disk.
    pub fn save(&self, file: &Path) -> Result<()> {
        let text = toml::to_string(self).context("the neutral cannot be written")?;
        part::write(file, true, text)
    }
}

fn excess(rest: [f32; COUNT], calibration: &Calibration) -> Excess {
    let scores = calibration.scores(rest);
    let neutral = scores[Expression::Neutral as usize];
    std::array::from_fn(|c| (scores[c] - neutral + MARGINS[c]).max(0.0))
}

/// The probabilities for a face's logits, after the excess of its person is taken off.
pub fn told(calibration: &Calibration, logits: [f32; COUNT], excess: Option<Excess>) -> Distribution {
    let (scores, excess) = (calibration.scores(logits), excess.unwrap_or_default());
    Distribution::softmax(std::array::from_fn(|c| scores[c] - excess[c]))
}

/// The median of each logit; none of no faces.
fn medians(faces: &[[f32; COUNT]]) -> Option<[f32; COUNT]> {
    let middle = faces.len() / 2;
    (!faces.is_empty()).then(|| {
        std::array::from_fn(|c| {
            let mut values: Vec<f32> = faces.iter().map(|logits| logits[c]).collect();
            *values.select_nth_unstable_by(middle, f32::total_cmp).1
        })
    })
}

/// A face being looked at for its neutral.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sitting {
    logits: Vec<[f32; COUNT]>,
    lasted: Duration,
    last: Option<Duration>,
}

impl Sitting {
    /// What the net says of the face at this time. After [`SITTING`] no more is taken.
    pub fn note(&mut self, time: Duration, logits: [f32; COUNT]) {
        if self.left().is_zero() {
            return;
        }
        let passed = self.last.map_or(Duration::ZERO, |last| time.saturating_sub(last));
        self.lasted += if passed > GAP { Duration::ZERO } else { passed };
        self.last = Some(time);
        self.logits.push(logits);
    }

    /// How long it goes on; zero when it is over.
    pub fn left(&self) -> Duration {
        SITTING.saturating_sub(self.lasted)
    }

    /// From how many frames it is.
    pub fn frames(&self) -> usize {
        self.logits.len()
    }

    /// The logits at rest, unless there were fewer frames than so many.
    pub fn rest(&self, fewest: usize) -> Option<[f32; COUNT]> {
        medians(&self.logits).filter(|_| self.logits.len() >= fewest)
    }
}

/// What a face shows most of the time, which is taken for its rest: the median over the last minute, without the moments in
/// which it is happy or surprised.
#[derive(Debug, Clone, Default)]
pub struct Habit {
    logits: VecDeque<[f32; COUNT]>,
    last: Option<Duration>,
    excess: Option<Excess>,
}

impl Habit {
    /// So often a moment is noted.
    const EVERY: Duration = Duration::from_millis(200);
    /// So many moments make a minute.
    const MINUTE: usize = 300;
    /// From so many on, twenty seconds, it may be trusted.
    const FEWEST: usize = 100;
    /// It is trusted when what the earlier half of the moments would take off differs from what the later half would by no
    /// more than a factor of two in probability.
    const AGREE: f32 = std::f32::consts::LN_2;

    /// What the net says of the face at this time.
    pub fn note(&mut self, time: Duration, logits: [f32; COUNT], calibration: &Calibration) {
        if self.last.is_some_and(|last| time.saturating_sub(last) < Self::EVERY) {
            return;
        }
        let told = calibration.apply(logits);
        if told.of(Expression::Happiness) + told.of(Expression::Surprise) > 0.5 {
            return;
        }
        self.last = Some(time);
        if self.logits.len() == Self::MINUTE {
            self.logits.pop_front();
        }
        self.logits.push_back(logits);
        if self.logits.len() < Self::FEWEST {
            return;
        }
        let all = self.logits.make_contiguous();
        let (earlier, later) = all.split_at(all.len() / 2);
        let [earlier, later, all] =
            [earlier, later, all].map(|part| medians(part).map(|rest| excess(rest, calibration)));
        let agree = |(a, b): (&f32, &f32)| (a - b).abs() <= Self::AGREE;
        let agree = earlier.iter().flatten().zip(later.iter().flatten()).all(agree);
        // Once trusted it follows slowly.
        self.excess = all.filter(|_| agree || self.excess.is_some());
    }

    /// What is taken off the scores, once it is trusted.
    pub fn excess(&self) -> Option<Excess> {
        self.excess
    }
}

/// What is known of the neutral of somebody who is followed.
#[derive(Debug, Clone, Default)]
pub struct Own {
    taken: Option<Excess>,
    sitting: Option<Sitting>,
    habit: Option<Habit>,
}

impl Own {
    /// Nothing yet; `watched` where it is to be estimated while they are followed.
    pub fn new(watched: bool) -> Self {
        Self { habit: watched.then(Habit::default), ..Self::default() }
    }

    /// Begins to look at them for it.
    pub fn sit(&mut self) {
        self.sitting = Some(Sitting::default());
    }

    /// What the net says of the face at this time.
    pub fn note(&mut self, time: Duration, logits: [f32; COUNT], calibration: &Calibration) {
        if let Some(habit) = &mut self.habit {
            habit.note(time, logits, calibration);
        }
        let Some(sitting) = &mut self.sitting else { return };
        sitting.note(time, logits);
        if sitting.left().is_zero() {
            self.taken = sitting.rest(FEWEST).map(|rest| excess(rest, calibration)).or(self.taken);
            self.sitting = None;
        }
    }

    /// How much longer they are looked at for it, if they are.
    pub fn sitting(&self) -> Option<Duration> {
        self.sitting.as_ref().map(Sitting::left)
    }

    /// What is taken off their scores, if anybody knows: what was taken since they are followed, else what was known before
    /// they came, else what could be estimated.
    pub fn excess(&self, before: Option<Excess>) -> Option<Excess> {
        self.taken.or(before).or(self.habit.as_ref().and_then(Habit::excess))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Expression::{Happiness, Neutral as Calm, Sadness};

    fn calibration() -> Calibration {
        Calibration::none("f")
    }

    /// A face that looks sad by so much.
    fn sad(by: f32) -> [f32; COUNT] {
        [1.0, -2.0, -2.0, 1.0 + by, -4.0, -4.0, -4.0, -4.0]
    }

    fn told(logits: [f32; COUNT], excess: Excess) -> Distribution {
        super::told(&calibration(), logits, Some(excess))
    }

    #[test]
    fn a_sad_looking_rest_reads_as_neutral_and_a_smile_and_more_sadness_as_what_they_are() {
        let neutral = Neutral { fingerprint: "f".into(), frames: 50, logits: sad(1.5) };
        let excess = neutral.excess(&calibration());
        assert_eq!(excess[Sadness as usize], 3.5);
        assert_eq!(excess.iter().filter(|excess| **excess == 0.0).count(), COUNT - 1);
        assert_eq!(told(sad(1.5), [0.0; COUNT]).top().0, Sadness);
        let rest = told(sad(1.5), excess);
        assert!(rest.top().0 == Calm && (rest.of(Calm) / rest.of(Sadness)).ln() - 2.0 < 1e-4);
        assert_eq!(told(sad(4.0), excess).top().0, Sadness);
        let smile = [1.0, 3.0, -2.0, 2.5, -4.0, -4.0, -4.0, -4.0];
        assert_eq!(told(smile, excess).top().0, Happiness);
        // A rest that reads as neutral changes nothing.
        let calm = Neutral { logits: sad(-3.0), ..neutral };
        assert_eq!(calm.excess(&calibration()), [0.0; COUNT]);
    }

    #[test]
    fn a_sitting_lasts_for_five_seconds_of_face_and_outlives_a_blink() {
        let mut sitting = Sitting::default();
        let ms = Duration::from_millis;
        for frame in 0..50 {
            // Gone for a while, and a grimace now and then.
            let time = ms(frame * 100 + if frame > 20 { 3000 } else { 0 });
            sitting.note(time, if frame % 5 == 0 { sad(9.0) } else { sad(0.5) });
            assert!(!sitting.left().is_zero());
        }
        assert_eq!(sitting.left(), ms(200));
        assert_eq!(sitting.rest(FEWEST), Some(sad(0.5)));
        for frame in 0..5 {
            sitting.note(ms(7950 + frame * 100), sad(0.5));
        }
        assert!(sitting.left().is_zero() && sitting.frames() == 53, "{sitting:?}");
        assert_eq!(sitting.rest(54), None);
        assert_eq!(Sitting::default().rest(0), None);
    }

    #[test]
    fn a_habit_is_trusted_when_it_is_steady_and_smiles_are_none() {
        let (mut habit, calibration) = (Habit::default(), calibration());
        let ms = Duration::from_millis;
        let smile = [0.0, 6.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0];
        let mut trusted = None;
        for frame in 0..1000 {
            let time = ms(frame * 40);
            let logits = if frame % 50 < 20 { smile } else { sad(1.5) };
            habit.note(time, logits, &calibration);
            trusted = trusted.or(habit.excess().map(|_| time));
        }
        assert_eq!(habit.excess().map(|excess| excess[Sadness as usize]), Some(3.5));
        // Twenty seconds without those of smiles.
        assert!(trusted.is_some_and(|at| at > ms(30_000) && at < ms(36_000)), "{trusted:?}");
        // Whoever changes slowly all the time has none.
        let mut habit = Habit::default();
        for frame in 0..300 {
            let logits = sad(frame as f32 / 50.0);
            habit.note(ms(frame * 200), logits, &calibration);
        }
        assert_eq!(habit.excess(), None);
    }

    #[test]
    fn it_comes_back_from_its_file_and_what_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("neutral.toml");
        let neutral = Neutral { fingerprint: "f".into(), frames: 50, logits: sad(1.5) };
        neutral.save(&file).unwrap();
        assert_eq!(Neutral::load(&file).unwrap(), neutral);
        for logits in ["1.0", "nan, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0", "'a'"] {
            fs::write(&file, format!("fingerprint = 'f'\nframes = 3\nlogits = [{logits}]")).unwrap();
            let line = Neutral::load(&file).unwrap_err().line();
            assert!(line.contains("cannot be used") && !line.contains('\n'), "{line}");
        }
        fs::remove_file(&file).unwrap();
        assert!(Neutral::load(&file).unwrap_err().line().contains("neutral.toml"));
    }
}
