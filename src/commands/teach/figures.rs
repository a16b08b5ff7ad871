//! What a profile changes, in one small table: how often frames of clips that were kept back are told right, before and after.

use std::collections::BTreeSet;

use lanet_live::clips::Sample;
use lanet_live::expression::{Distribution, Expression};
use lanet_live::metrics::{Confusion, calibration_error};

/// Figures on clips that were kept back.
pub struct Figures {
    clips: usize,
    frames: usize,
    /// Without a profile, and with it.
    told: [Confusion; 2],
    /// The calibration errors, the second by what was fitted to other clips; `None` where nothing could be fitted.
    errors: Option<[f64; 2]>,
}

impl Figures {
    /// Of samples and what is told of each without a profile and with it. `fitted` are the calibration errors of the new model
    /// before and after it was calibrated.
    pub fn of(
        kept: &[Sample],
        before: &[Distribution],
        after: &[Distribution],
        fitted: Option<[f64; 2]>,
    ) -> Self {
        let truth: Vec<_> = kept.iter().map(|sample| sample.label).collect();
        let confusion = |told: &[Distribution]| {
            Confusion::of(truth.iter().copied().zip(told.iter().map(|told| told.top().0)))
        };
        Self {
            clips: kept.iter().map(|sample| &sample.path).collect::<BTreeSet<_>>().len(),
            frames: kept.len(),
            told: [confusion(before), confusion(after)],
            errors: fitted.map(|[_, fitted]| [calibration_error(before, &truth), fitted]),
        }
    }

    /// What is said in the window.
    pub fn lines(&self) -> Vec<String> {
        let [before, after] = self.accuracy();
        vec![
            format!("{after} told right, {before} before"),
            format!("of {} frames of {} clips that were kept back", self.frames, self.clips),
        ]
    }

    /// Whether fewer frames are told right with the profile than without.
    pub fn worse(&self) -> bool {
        self.told[1].accuracy() < self.told[0].accuracy()
    }

    fn accuracy(&self) -> [String; 2] {
        self.told.map(|told| percent(told.accuracy()))
    }

    /// The table.
    pub fn text(&self) -> String {
        let title = format!("told right of {} frames of {} clips kept back", self.frames, self.clips);
        let mut rows = vec![(title, ["before".to_owned(), "after".to_owned()])];
        rows.push(("all".to_owned(), self.accuracy()));
        let [before, after] = self.told.map(|told| told.recall());
        for (n, expression) in Expression::ALL.into_iter().enumerate() {
            if let (Some(before), Some(after)) = (before[n], after[n]) {
                rows.push((expression.to_string(), [percent(before), percent(after)]));
            }
        }
        if let Some(errors) = self.errors {
            rows.push(("calibration error".to_owned(), errors.map(|error| format!("{error:.3}"))));
        }
        let width = rows[0].0.len() + 2;
        rows.iter().map(|(what, [before, after])| format!("{what:width$}{before:>7}{after:>7}\n")).collect()
    }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}

#[cfg(test)]
mod tests {
    use super::*;
    use Expression::{Anger, Fear, Neutral};

    #[test]
    fn a_table_by_hand() {
        let sample = |path: &str, label| Sample {
            path: path.into(),
            entry: 0,
            label,
            target: Distribution::certain(label),
            mesh: None,
            person: None,
            still: None,
        };
        let kept = [sample("a", Neutral), sample("a", Neutral), sample("b", Anger), sample("b", Anger)];
        let told = |labels: [Expression; 4]| labels.map(Distribution::certain);
        let (before, after) = (told([Neutral, Fear, Fear, Fear]), told([Neutral, Neutral, Anger, Fear]));
        let figures = Figures::of(&kept, &before, &after, Some([0.5, 0.25]));
        let text = "told right of 4 frames of 2 clips kept back   before  after\n\
                    all                                             25 %   75 %\n\
                    neutral                                         50 %  100 %\n\
                    anger                                            0 %   50 %\n\
                    calibration error                              0.750  0.250\n";
        assert_eq!(figures.text(), text);
        assert_eq!(figures.lines()[0], "75 % told right, 25 % before");
        assert!(!figures.worse() && Figures::of(&kept, &after, &before, None).worse());
    }
}
