//! `lanet-live train`: a model that tells expressions, learnt from labelled pictures or shards of them.

mod epochs;
mod options;

use std::path::Path;
use std::time::{Duration, Instant};

use candle_core::Device;
use indicatif::HumanDuration;
use lanet_live::device::Choice;
use lanet_live::error::{Context, Error, Result};
use lanet_live::expression::Expression;
use lanet_live::net::Model;
use lanet_live::net::card::may_become_model;
use lanet_live::train::course::Gathered;
use lanet_live::train::recipe::check_device;
use lanet_live::train::state::recipe_of;
use lanet_live::train::{Epoch, Event, Training};

use self::epochs::Rows;
pub use self::options::Options;
use super::bar::Bar;
use super::evaluate::tell_skipped;
use super::{Outcome, Stop, Talk};

/// The state of a run, in its output folder.
const RUN: &str = "run.safetensors";
/// What came of each epoch, beside it.
const METRICS: &str = "metrics.csv";
/// And as a picture.
const PLOT: &str = "plot.png";
/// The models of the best and of the last epoch.
const BEST: &str = "best";
const LAST: &str = "last";

/// Learns.
pub fn run(options: &Options, talk: Talk, stop: &Stop) -> Result<Outcome> {
    let device = options.device.parse::<Choice>()?.open()?;
    check_device(&device)?;
    keep_memory();
    let (output, state) = (&options.output, options.output.join(RUN));
    if !options.resume && state.exists() && !options.overwrite {
        return Err(Error::new(format!("'{}' holds a run already", output.display()))
            .advice("go on with --resume, choose another --output, or allow overwriting with -y"));
    }
    let made = [BEST, LAST, METRICS, PLOT].map(|name| output.join(name));
    if let Some(there) = made.iter().find(|there| there.exists() && !options.resume && !options.overwrite) {
        return Err(Error::new(format!("'{}' exists already", there.display()))
            .advice("choose another --output, or allow overwriting with -y"));
    }
    may_become_model(&made[0])?;
    may_become_model(&made[1])?;
    let Some(mut training) = training(options, &state, &device, talk, stop)? else {
        return Ok(Outcome::Interrupted);
    };
    tell_faces(options, &training, talk);
    std::fs::create_dir_all(output)
        .with_context(|| format!("the folder '{}' cannot be made", output.display()))?;
    if training.best().is_some() && Model::load(&output.join(BEST), &Device::Cpu).is_err() {
        talk.say(&format!("{} is lost: the next epoch is the best again", output.join(BEST).display()));
        training.forget_best();
    }
    let mut rows = Rows::open(&output.join(METRICS), training.epoch())?;
    let mut bar: Option<(String, Bar)> = None;
    let mut reach = |what: String, done: usize, all: usize| {
        if bar.as_ref().is_none_or(|(known, _)| *known != what) {
            bar = None;
            bar = Some((what.clone(), Bar::new(talk, all, &what)));
        }
        if let Some((_, shown)) = &bar {
            shown.reach(done);
        }
        if done == all {
            bar = None;
        }
    };
    let mut began = (Instant::now(), training.epoch());
    while let Some(event) = training.next() {
        match event? {
            Event::Work { what, done, all } => reach(what.to_owned(), done, all),
            Event::Ready => {
                began.0 = Instant::now();
                tell_plan(&training, &device, talk);
                if training.epoch() == 0 {
                    // From here on there is something to resume, and an older run is gone.
                    training.save(&state)?;
                }
            }
            Event::Step { epoch, step, steps, losses } => {
                reach(format!("steps of epoch {epoch}"), step, steps);
                if talk.verbose && step.is_multiple_of(20) {
                    talk.say(&format!("epoch {epoch} step {step}: {losses:.3?}"));
                }
            }
            Event::Epoch(epoch) => {
                for name in if epoch.best { &[BEST, LAST][..] } else { &[LAST] } {
                    training.save_model(&output.join(name))?;
                }
                if epoch.epoch > 0 {
                    rows.add(&epoch)?;
                    super::plot::save(&output.join(PLOT), &rows.series())?;
                }
                training.save(&state)?;
                tell_epoch(&epoch, training.recipe().epochs, began, talk);
            }
        }
        if stop.asked() {
            let how = if state.exists() { "go on with --resume" } else { "nothing was learnt yet" };
            talk.say(&format!("stopped after {} epochs; {how}", training.epoch()));
            return Ok(Outcome::Interrupted);
        }
    }
    match training.best() {
        Some(best) => {
            let epoch = match best.epoch {
                0 => "as it started, better than any epoch".to_owned(),
                epoch => format!("epoch {epoch}"),
            };
            talk.say(&format!("{}: {epoch}, {:.4} of validation", output.join(BEST).display(), best.score));
        }
        None => talk.say(&format!("what is left is {}", output.join(LAST).display())),
    }
    Ok(Outcome::Done)
}

/// Lets the allocator keep what a step gives back, if the environment does not say otherwise: the next step asks for the same
/// large blocks, and the system would clear each of them again.
#[allow(unsafe_code)]
fn keep_memory() {
    /// `mi_option_purge_delay` of mimalloc.h, which the crate does not name; -1 is never.
    const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;
    // SAFETY: it stores a number.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, -1) };
}

/// The run, begun or resumed; `None` if the user stopped it before.
fn training(
    options: &Options,
    state: &Path,
    device: &Device,
    talk: Talk,
    stop: &Stop,
) -> Result<Option<Training>> {
    let seed = if options.resume { recipe_of(state)?.seed } else { options.seed() };
    let mut bar: Option<Bar> = None;
    let gathered = options.source(seed)?.gather(device, &mut |done, all| {
        bar.get_or_insert_with(|| Bar::new(talk, all, "pictures")).reach(done);
        if done == all {
            bar = None;
        }
        !stop.asked()
    });
    let Some(Gathered { course, valid, clips, skipped }) = gathered? else { return Ok(None) };
    tell_skipped(talk, &skipped, "lines, folders or pictures");
    let unaligned = course.valid.faces.iter().filter(|face| face.landmarks.is_none()).count();
    talk.say(&match course.valid.len() {
        0 => "nothing is kept back to check what is learnt; two clips of each expression would do".to_owned(),
        faces => format!("{valid}: {faces} faces, {unaligned} of them unaligned"),
    });
    if options.resume {
        talk.say(
            "going on as the run began: only options that say what is learnt from count, and must be as they were",
        );
        return Training::resume(state, course, device).map(Some);
    }
    let start = options.start(clips > 0)?;
    let recipe = options.recipe(start.as_ref(), course.train.len(), clips > 0)?;
    Training::begin(recipe, course, start.as_ref(), device).map(Some)
}

/// What is learnt from.
fn tell_faces(options: &Options, training: &Training, talk: Talk) {
    let (lesson, name) = (training.lesson(), &options.split_train);
    let unaligned = lesson.faces.iter().filter(|face| face.landmarks.is_none()).count();
    talk.say(&format!("{name}: {} faces, {unaligned} of them unaligned", lesson.len()));
    let classes = lesson.classes();
    let missing = Expression::ALL.into_iter().filter(|&e| !classes.contains(&(e as usize)));
    let missing: Vec<_> = missing.map(Expression::name).collect();
    if !missing.is_empty() {
        let then = if training.recipe().adapt { "is told as before" } else { "will not be told" };
        talk.say(&format!("{name}: what no face shows {then}: {}", missing.join(", ")));
    }
}

/// What will be done.
fn tell_plan(training: &Training, device: &Device, talk: Talk) {
    let recipe = training.recipe();
    if recipe.probe.is_some() || (recipe.frozen.is_some() && recipe.landmarks.is_none()) {
        talk.say(&match training.views() {
            0 => "the frozen layers are computed in each step: fewer --views might be remembered".to_owned(),
            views => format!("the frozen layers' outputs are remembered in {views} views"),
        });
    }
    talk.say(&format!(
        "{} epochs of {} steps of {} faces on {}",
        recipe.epochs,
        training.steps(),
        recipe.batch,
        Choice::of(device)
    ));
}

/// What came of an epoch of so many; `began` says when the first of this run began, and after which one.
fn tell_epoch(epoch: &Epoch, epochs: usize, began: (Instant, usize), talk: Talk) {
    let &Epoch { epoch: number, losses, images, took, judgement, best, .. } = epoch;
    let accuracy = judgement.map_or(0.0, |judgement| judgement.accuracy);
    if number == 0 {
        return talk.say(&format!("as it starts: {accuracy:.4} of validation"));
    }
    let speed = images as f64 / took.as_secs_f64().max(1e-9);
    let left = began.0.elapsed().div_f64((number - began.1) as f64).mul_f64((epochs - number) as f64);
    talk.say(&format!(
        "epoch {number:3}: loss {:.3}, {:.4} of given labels, {accuracy:.4} of validation{}, {speed:.1} images/s, {} left",
        losses.total,
        losses.agreement,
        if best { ", best" } else { "" },
        HumanDuration(Duration::from_secs(left.as_secs())),
    ));
}
