//! What each face showed during the last seconds, for the rolling strip.

use std::collections::VecDeque;
use std::time::Duration;

use crate::expression::Distribution;

/// How far back it goes.
pub const SPAN: Duration = Duration::from_secs(20);
/// One reading in so long is kept.
const GRAIN: Duration = Duration::from_millis(100);
/// A reading holds this long; then the face was not seen.
const HOLDS: Duration = Duration::from_millis(500);

/// The last readings of a face.
#[derive(Debug, Clone, Default)]
pub struct History {
    readings: VecDeque<(Duration, Distribution)>,
}

impl History {
    /// Notes what the face shows at a time, and forgets what is older than [`SPAN`]. Times come in order.
    pub fn note(&mut self, time: Duration, shown: Distribution) {
        if self.readings.back().is_none_or(|&(last, _)| time.saturating_sub(last) >= GRAIN) {
            self.readings.push_back((time, shown));
        }
        while self.readings.front().is_some_and(|&(at, _)| time.saturating_sub(at) > SPAN) {
            self.readings.pop_front();
        }
    }

    /// Whether there is more than one moment.
    pub fn is_course(&self) -> bool {
        self.readings.len() > 1
    }

    /// What the face showed at the middles of `steps` equal parts of the last [`SPAN`]; none where it was not seen.
    pub fn steps(&self, now: Duration, steps: usize) -> Vec<Option<Distribution>> {
        let mut readings = self.readings.iter().copied().peekable();
        let mut last = None;
        let step = |n: usize| {
            let back = SPAN.mul_f64(1.0 - (n as f64 + 0.5) / steps as f64);
            // Before the beginning nobody was seen.
            let time = now.checked_sub(back)?;
            while let Some(reading) = readings.next_if(|&(at, _)| at <= time) {
                last = Some(reading);
            }
            last.filter(|&(at, _)| time - at <= HOLDS).map(|(_, shown)| shown)
        };
        (0..steps).map(step).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expression::Expression;

    #[test]
    fn steps_say_what_was_seen_when_and_memory_does_not_grow() {
        let mut history = History::default();
        let at = |n: u64| Duration::from_millis(n * 40);
        for n in 0..2500 {
            let mut p = [0.0; 8];
            p[if n < 2250 { Expression::Sadness } else { Expression::Happiness } as usize] = 1.0;
            // Away for two seconds.
            if !(2300..2350).contains(&n) {
                history.note(at(n), Distribution(p));
            }
        }
        assert!(history.is_course() && history.readings.len() <= 201);
        let steps = history.steps(at(2499), 20);
        let tops: Vec<_> = steps.iter().map(|step| step.map(|shown| shown.top().0)).collect();
        assert_eq!(tops[..10], [Some(Expression::Sadness); 10]);
        assert_eq!((tops[10], tops[13], tops[19]), (Some(Expression::Happiness), None, tops[10]));
        assert!(History::default().steps(at(9), 5).iter().all(Option::is_none));
    }
}
