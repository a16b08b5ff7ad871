//! From somebody's clips to their profile: labels checked, a classifier learnt, their neutral taken with it, calibrated, and
//! judged by clips that were kept back. Nothing of the profile changes before all of it is there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use lanet_live::calibration::Calibration;
use lanet_live::clips::labels::folder_of;
use lanet_live::clips::sample::name_below;
use lanet_live::clips::split::together;
use lanet_live::clips::{Dataset, Sample};
use lanet_live::error::{Error, Result};
use lanet_live::expression::{COUNT, Distribution, Expression};
use lanet_live::net::card::REHEARSAL;
use lanet_live::net::{self, LaNet, Model};
use lanet_live::neutral::{FEWEST, Neutral, told};
use lanet_live::profile::{self, FOLDER};
use lanet_live::reader::{CALIBRATION, calibration_of};
use lanet_live::train::corrections::Piece;
use lanet_live::train::lessons::{Given, from_samples};
use lanet_live::train::{Course, Event, Lesson, Recipe, Start, Training, course, rehearsal};

use super::Options;
use super::figures::Figures;
use crate::commands::audit::{judged, look};
use crate::commands::bar::Bar;
use crate::commands::calibrate::data::fit;
use crate::commands::evaluate::{cache_folder, logits, samples, tell_skipped};
use crate::commands::{Stop, Talk};

/// The part of the clips that is learnt from.
const LEARNT: &str = "train";
/// The part that checks what is learnt.
const KEPT_BACK: &str = "valid";
/// Doubtful labels that are said.
const DOUBTS: usize = 3;

/// Features that are rehearsed, by the tensors of the classifier.
type Rehearsal = BTreeMap<String, Tensor>;

/// What came of it: figures, unless nothing was kept back or only a neutral was taken.
pub struct Taught(pub Option<Figures>);

/// Where and with what something is computed, and whether the user stopped it.
#[derive(Clone, Copy)]
struct With<'a> {
    options: &'a Options,
    device: &'a Device,
    talk: Talk,
    stop: &'a Stop,
}

/// Learns from the clips of a person; `None` if the user stopped it.
pub fn learn(
    options: &Options,
    start: &Start,
    clips: &Path,
    device: &Device,
    talk: Talk,
    stop: &Stop,
) -> Result<Option<Taught>> {
    let mut data = Dataset::open(clips)?;
    tell_skipped(talk, &data.skipped, "lines or folders");
    data.only(&options.person)?;
    if data.has_splits() {
        data.entries = [data.split(LEARNT)?, data.split(KEPT_BACK).unwrap_or_default()].concat();
    }
    let numbers = together(&data.entries);
    let groups = |samples: &[Sample]| samples.iter().map(|sample| numbers[sample.entry]).collect::<Vec<_>>();
    let (which, cache) = (options.face.unwrap_or_default(), cache_folder(None, clips));
    let Some(samples) = samples(data.entries.clone(), which, &cache, device, talk, stop)? else {
        return Ok(None);
    };
    let with = With { options, device, talk, stop };
    let shown: BTreeSet<_> = samples.iter().map(|sample| sample.label).collect();
    match shown.iter().collect::<Vec<_>>()[..] {
        [Expression::Neutral] => return with.neutral_alone(&samples),
        [only] => {
            return Err(Error::new(format!("the clips show {only} only: there is nothing to tell it from"))
                .advice("record another expression, or neutral alone for a neutral"));
        }
        _ => {}
    }
    // Clips of no use check nothing.
    data.entries.retain(|entry| samples.iter().any(|sample| sample.path == entry.path));
    if !data.has_splits() {
        data.share_out(LEARNT, KEPT_BACK, 0);
    }
    let kept: BTreeSet<_> =
        data.split(KEPT_BACK).unwrap_or_default().into_iter().map(|entry| entry.path).collect();
    let is_kept = |sample: &Sample| kept.contains(&sample.path);
    let faces = samples.iter().filter(|sample| !is_kept(sample)).count();
    if faces < course::FEWEST {
        return Err(Error::new(format!("{faces} faces in all are too few to learn from"))
            .advice("record more or longer clips"));
    }
    let folder = folder_of(clips);
    if with.check_labels(folder, &samples, groups(&samples), start)?.is_none() {
        return Ok(None);
    }
    let (kept, learnt): (Vec<_>, Vec<_>) = samples.into_iter().partition(is_kept);
    with.learn(folder, start, &learnt, (&kept, &groups(&kept)))
}

impl With<'_> {
    fn learn(
        self,
        folder: &Path,
        start: &Start,
        learnt: &[Sample],
        (kept, groups): (&[Sample], &[usize]),
    ) -> Result<Option<Taught>> {
        let Self { options, device, talk, stop } = self;
        let lesson = |samples| from_samples(folder, samples, &Given::Votes);
        let Some((model, rehearsal)) = self.train(start, lesson(learnt)?, lesson(kept)?)? else {
            return Ok(None);
        };
        let net = LaNet::expecting(&model, None)?;
        let said = |net: &LaNet, samples: &[Sample]| logits(net, samples, device, talk, stop);
        let fitted = if kept.is_empty() {
            talk.say("nothing is kept back to check what is learnt; two clips of each expression would do");
            None
        } else {
            let on = format!("{} faces of clips that were kept back", kept.len());
            match fit(&model, (kept, groups), &on, (None, 0), device, talk, stop) {
                Ok(None) => return Ok(None),
                Ok(fitted) => fitted,
                Err(error) => {
                    talk.say(&format!("probabilities are not calibrated: {}", error.line()));
                    None
                }
            }
        };
        let none = || Calibration::none(&model.card.fingerprint);
        let mut calibration = fitted.as_ref().map_or_else(none, |fitted| fitted.calibration.clone());
        let rest = learnt.iter().filter(|sample| sample.label == Expression::Neutral).cloned();
        let Some(rest) = said(&net, &rest.collect::<Vec<_>>())? else { return Ok(None) };
        let neutral = Neutral::of("", &rest);
        if neutral.is_none() {
            talk.say(&format!("no neutral is taken: it needs {FEWEST} frames of the face at rest"));
        }
        let Some(after) = said(&net, kept)? else { return Ok(None) };
        let read = calibration.clone().expecting(None, model.card.learnt())?;
        let excess = neutral.as_ref().map(|neutral| neutral.excess(&read));
        let after: Vec<_> = after.into_iter().map(|logits| told(&read, logits, excess)).collect();
        let Some(before) = self.before(kept)? else { return Ok(None) };

        let (profiles, person) = (Path::new(FOLDER), &options.person);
        let home = profile::model_in(&profile::folder_of(profiles, person)?);
        let card = model.save_with(&home, DType::F16, |card, fresh| {
            calibration.fingerprint.clone_from(&card.fingerprint);
            calibration.save(&fresh.join(CALIBRATION), false)?;
            if !rehearsal.is_empty() {
                rehearsal::save(&fresh.join(REHEARSAL), &rehearsal, &card.fingerprint, false)?;
            }
            // At no moment a neutral of one model stands beside another.
            profile::forget_neutral(profiles, person)
        })?;
        if let Some(neutral) = neutral {
            profile::keep_neutral(profiles, person, &Neutral { fingerprint: card.fingerprint, ..neutral })?;
        }
        talk.say(&format!("wrote {}", profiles.join(person).display()));
        let errors = fitted.map(|fitted| fitted.errors);
        Ok(Some(Taught((!kept.is_empty()).then(|| Figures::of(kept, &before, &after, errors)))))
    }

    /// Says which labels are probably wrong; `None` if the user stopped it.
    fn check_labels(
        self,
        folder: &Path,
        samples: &[Sample],
        groups: Vec<usize>,
        start: &Start,
    ) -> Result<Option<()>> {
        let Self { options, device, talk, stop } = self;
        let piece = |sample: &Sample| Piece { path: name_below(folder, &sample.path), between: [None; 2] };
        let pieces: Vec<_> = samples.iter().map(piece).collect();
        let lesson = from_samples(folder, samples, &Given::Votes)?;
        let Recipe { backbone, side, .. } = start.personal()?;
        let by = (Recipe::classifier(backbone, side), start);
        let (lesson, findings) = match look(lesson, groups, by, None, device, talk, stop) {
            Ok(Some(looked)) => looked,
            Ok(None) => return Ok(None),
            Err(error) => {
                talk.say(&format!("the labels are not checked: {}", error.line()));
                return Ok(Some(()));
            }
        };
        let judged = judged(&lesson, &pieces, &findings);
        let doubtful: Vec<_> = judged.iter().filter(|one| one.suggested().0 != one.given).collect();
        for one in doubtful.iter().take(DOUBTS) {
            let ((suggested, p), given) = (one.suggested(), one.given);
            talk.say(&format!(
                "{}: {given}, but looks like {suggested} ({:.0} %)",
                one.piece.path,
                100.0 * p
            ));
        }
        if !doubtful.is_empty() {
            let go_on = options.go_on();
            talk.say(&format!("if a clip does not show its label, move or delete it, then: {go_on}"));
        }
        Ok(Some(()))
    }

    /// A classifier as `train` learns it from clips, that of the best epoch, and what it rehearses; `None` if the user stopped
    /// it.
    fn train(self, start: &Start, train: Lesson, valid: Lesson) -> Result<Option<(Model, Rehearsal)>> {
        let recipe = start.personal()?.fitted(train.len());
        let about = format!("clips of {}", self.options.person);
        let course = Course { train, valid, report: Lesson::default(), about };
        let mut training = Training::begin(recipe, course, Some(start), self.device)?;
        let bar = Bar::new(self.talk, training.recipe().epochs, "epochs");
        let mut best = None;
        while let Some(event) = training.next() {
            if let Event::Epoch(epoch) = event?
                && epoch.best
            {
                best = Some(training.model(&self.options.person)?);
            }
            bar.reach(training.epoch());
            if self.stop.asked() {
                return Ok(None);
            }
        }
        let best = best.ok_or_else(|| Error::new("no epoch of learning was the best"))?;
        Ok(Some((best, training.rehearsal()?)))
    }

    /// What is told of faces without a profile; `None` if the user stopped it.
    fn before(self, kept: &[Sample]) -> Result<Option<Vec<Distribution>>> {
        let model = net::open(&self.options.model, self.device)?;
        let by = calibration_of(&self.options.model, &model.card)?.expecting(None, model.card.learnt())?;
        let said = logits(&LaNet::expecting(&model, None)?, kept, self.device, self.talk, self.stop)?;
        let apply = |said: Vec<[f32; COUNT]>| said.into_iter().map(|logits| by.apply(logits)).collect();
        Ok(said.map(apply))
    }

    /// Where there is nothing to tell neutral from: their neutral alone, by the model that they have.
    fn neutral_alone(self, samples: &[Sample]) -> Result<Option<Taught>> {
        let Self { options, device, talk, stop } = self;
        let (profiles, person) = (Path::new(FOLDER), &options.person);
        let own = profile::model_in(&profile::folder_of(profiles, person)?);
        let own = Some(own).filter(|own| own.exists());
        let name = own.as_deref().and_then(Path::to_str).unwrap_or(&options.model);
        let model = net::open(name, device)?;
        let Some(rest) = logits(&LaNet::expecting(&model, None)?, samples, device, talk, stop)? else {
            return Ok(None);
        };
        let neutral = Neutral::of(&model.card.fingerprint, &rest).ok_or_else(|| {
            Error::new(format!("only {} frames show the face; a neutral needs {FEWEST}", rest.len()))
                .advice("record more or longer clips")
        })?;
        let file = profile::keep_neutral(profiles, person, &neutral)?;
        talk.say("the clips show neutral only: a neutral is taken, and nothing else is learnt");
        talk.say(&format!("wrote {}", file.display()));
        Ok(Some(Taught(None)))
    }
}
