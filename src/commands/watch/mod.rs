//! The main job: faces and expressions from a camera, a video or pictures, to a window, a file, or data.

pub mod options;
mod report;
pub mod source;
mod targets;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lanet_live::Analyser;
use lanet_live::analyser::MOST_FACES;
#[cfg(target_os = "linux")]
use lanet_live::camera::VirtualCamera;
use lanet_live::device::Choice;
use lanet_live::error::{Error, Result};
use lanet_live::flow::{Delivery, Stream};
use lanet_live::profile::{self, Profile};
use lanet_live::reader::Reading;
use lanet_live::receivers::drawing::Drawing;
#[cfg(target_os = "linux")]
use lanet_live::receivers::feed::Feed;
use lanet_live::receivers::recording::{self, Recording};
use lanet_live::receivers::results::{Marked, Marks};
use lanet_live::receivers::serve::{self, Server};
use lanet_live::receivers::timeline::TimelinePicture;
use lanet_live::receivers::view::{Pace, Strings, View};
use lanet_live::receivers::{FanOut, Queue};
use lanet_live::results::Results;
use lanet_live::video::{self, Encoder, Settings};
use lanet_live::warning::{Warning, Warnings};
use lanet_live::window::Window;

use super::bar::Bar;
use super::{Outcome, Stop, Talk, tell};
pub use options::Options;
use report::{Report, Tally};
use source::Source;

/// Runs the main job.
pub fn run(options: &Options, talk: Talk, stop: &Stop) -> Result<Outcome> {
    run_in(None, options, talk, stop)
}

/// Runs the main job in a window that is open already: a program has one in its life.
pub fn run_in(window: Option<Window>, options: &Options, talk: Talk, stop: &Stop) -> Result<Outcome> {
    let began = Instant::now();
    video::quiet();
    let profile = options.person.as_ref().map(|name| Profile::open(Path::new(profile::FOLDER), name));
    let profile = profile.transpose()?;
    let Some(source) = source::open(options, stop)? else { return Ok(Outcome::Interrupted) };
    let (live, begin, count) = (source.live, source.begin, source.count.map(|count| count as usize));
    let mut warnings = vec![source.warnings.clone()];
    let mut fan = FanOut::new(source.delivery);
    let marks = Marks::default();
    add_files(options, &source, &mut fan, &mut warnings, (&marks, stop))?;
    // Whether the window hides faces now.
    let hiding = Arc::new(AtomicBool::new(options.blur()));
    add_server(options, &source, &mut fan, (hiding.clone(), talk, stop))?;
    // Whether neutrals are to be taken.
    let neutral = Arc::new(AtomicBool::new(false));
    let view = open_view(options, &source, &mut fan, &mut warnings, (hiding.clone(), marks, window))?
        .map(|(view, queue)| (view.taking_neutrals(neutral.clone()), queue));
    let talk_of_progress = Talk { no_progress: talk.no_progress || live, ..talk };
    let needed = view.is_none() && fan.meters().is_empty();
    let (tally, counted) = Tally::new(live, needed, Bar::new(talk_of_progress, count, "frames"));
    fan.add("summary", Delivery::Every, tally);

    let readings = readings(options, source, profile, hiding, neutral)?;
    let mut meters = readings.meters();
    meters.extend(fan.meters());
    let closed = Arc::new(AtomicBool::new(false));
    let (interrupted, shut) = (stop.clone(), closed.clone());
    let readings = readings.until(move || interrupted.asked() || shut.load(Ordering::Relaxed));
    let most = options.frames.map_or(usize::MAX, |frames| frames as usize);
    let early = move |reading: &Result<Reading>| reading.as_ref().is_ok_and(|r| r.frame.time < begin);
    let running = fan.start(readings.skip_while(early).take(most))?;

    let mut viewed = Ok(());
    let mut first_shown = None;
    if let Some((view, queue)) = view {
        meters.extend(view.meters());
        first_shown = Some(view.first());
        warnings.push(view.warnings());
        // As the others do, it leaves the files to be finished whatever becomes of it.
        viewed = catch_unwind(AssertUnwindSafe(|| view.run(queue, || stop.asked())))
            .unwrap_or_else(|_| Err(Error::new("the window broke; this is a fault of the program")));
        closed.store(true, Ordering::Relaxed);
    }
    let ended = running.finish();

    let mut failures: Vec<Error> = [ended.outcome, viewed].into_iter().filter_map(Result::err).collect();
    let mut written = Vec::new();
    for receiver in ended.receivers {
        match receiver.outcome {
            Ok(path) => written.extend(path),
            Err(failure) => failures.push(failure),
        }
        if receiver.missed > 0 {
            warnings[0].add(Warning::TooSlow { receiver: receiver.name, missed: receiver.missed });
        }
    }
    for warning in warnings.iter().flat_map(Warnings::take) {
        talk.say(&format!("warning: {warning}"));
    }
    if let Ok(tally) = counted.try_recv() {
        let first_shown = first_shown.and_then(|first| Some(*first.get()? - began));
        let report = Report::new(tally, meters, first_shown);
        if !live || talk.verbose {
            report.summary(&written).iter().for_each(|line| talk.say(line));
        }
        if let Some(format) = options.stats {
            tell(&report.stats(format));
        }
    } else if failures.is_empty() && !stop.asked() && !closed.load(Ordering::Relaxed) {
        failures
            .push(Error::new("there was not one frame to read").advice("check --input, --start and --end"));
    }
    // The first is the one that ends the program; the others are not to be lost.
    if !failures.is_empty() {
        let first = failures.remove(0);
        failures.iter().for_each(|failure| tell(&format!("lanet-live: {}", failure.line())));
        return Err(first);
    }
    Ok(if stop.asked() { Outcome::Interrupted } else { Outcome::Done })
}

/// Adds a receiver for each file that is asked for, and refuses what cannot be written before anything is read.
fn add_files(
    options: &Options,
    source: &Source,
    fan: &mut FanOut,
    warnings: &mut Vec<Warnings>,
    (marks, stop): (&Marks, &Stop),
) -> Result<()> {
    targets::check(options, source)?;
    let overwrite = options.overwrite();
    if let Some(path) = &options.timeline {
        fan.add("timeline", Delivery::Every, TimelinePicture::create(path.clone(), overwrite)?);
    }
    if let Some(path) = &options.results {
        // What a profile or a key of the window adds to a table is not there without them.
        let baseline = options.person.is_some() || options.auto_neutral();
        let results = Results::create(path, overwrite, options.raw.unwrap_or(false))?
            .with_columns(baseline, has_window(options, source, false));
        fan.add("results", Delivery::Every, Marked { results, marks: marks.clone() });
    }
    if let Some(path) = &options.output {
        let style = options.style(false);
        #[cfg(target_os = "linux")]
        if VirtualCamera::is_one(path) {
            let stop = stop.clone();
            let feed = Feed::new(VirtualCamera::open(path)?, style, source.live, move || stop.asked());
            fan.add("virtual camera", if source.live { Delivery::Latest } else { Delivery::Every }, feed);
            return Ok(());
        }
        let drawing = if source.pictures {
            Drawing::pictures(path.clone(), &source.files, style, overwrite)?
        } else {
            let settings = Settings {
                rate: source.rate.unwrap_or(25.0),
                source: source.files.first().cloned(),
                trimmed: options.start.is_some(),
                overwrite,
                encoder: Encoder::find(),
            };
            Drawing::video(path.clone(), settings, style)?
        };
        warnings.push(drawing.warnings());
        fan.add("output", Delivery::Every, drawing);
    }
    Ok(())
}

/// Begins to serve a page, if one is asked for, and says where.
fn add_server(
    options: &Options,
    source: &Source,
    fan: &mut FanOut,
    (hiding, talk, stop): (Arc<AtomicBool>, Talk, &Stop),
) -> Result<()> {
    let Some(address) = options.serve.clone() else { return Ok(()) };
    if source.pictures {
        return Err(Error::usage("pictures cannot be served").advice("serve a camera, a video or an address"));
    }
    let settings = serve::Settings {
        address,
        token: options.token.clone(),
        live: source.live,
        mirror: options.style(options.camera.is_some()).mirror,
        raw: options.raw.unwrap_or(false),
        hiding,
    };
    let stop = stop.clone();
    let server = Server::start(settings, move || stop.asked())?;
    talk.say(&format!("serving at {}", server.link()));
    // A file is read at the pace at which it is served.
    fan.add("page", if source.live { Delivery::Latest } else { Delivery::Every }, server);
    Ok(())
}

/// Whether there is to be a window; beside files it is, by itself, for live sources only.
fn has_window(options: &Options, source: &Source, alone: bool) -> bool {
    !options.no_window.unwrap_or(options.serve.is_some() || !source.live && !alone)
}

/// The window, if there is to be one, and where its readings come from.
fn open_view(
    options: &Options,
    source: &Source,
    fan: &mut FanOut,
    warnings: &mut Vec<Warnings>,
    (hiding, marks, window): (Arc<AtomicBool>, Marks, Option<Window>),
) -> Result<Option<(View, Queue)>> {
    let alone = fan.meters().is_empty();
    // Whoever is served a page needs no window, unless they say so.
    if !has_window(options, source, alone) {
        return Ok(None);
    }
    let window = window.map_or_else(|| Window::open("lanet-live"), Ok)?;
    // A file that is only looked at is read at the pace of its view; files to be written wait for no view.
    let (pace, delivery) = match source.live {
        true => (Pace::Live, Delivery::Latest),
        false if source.pictures => (Pace::Pictures, if alone { Delivery::Every } else { Delivery::Latest }),
        false if alone => (Pace::Filmed, Delivery::Every),
        false => (Pace::Newest, Delivery::Latest),
    };
    let style = options.style(options.camera.is_some());
    let recording = recording::Wanted { hiding, ..Default::default() };
    let signal = source.signal.clone();
    let strings =
        Strings { signal, recording: recording.clone(), marks: options.results.is_some().then_some(marks) };
    let view = (View::new(window, style, pace, strings), fan.tap(delivery));
    if !source.pictures {
        let recorder = Recording::new(
            recording,
            PathBuf::new(),
            source.rate.unwrap_or(25.0),
            options.raw.unwrap_or(false),
        );
        warnings.push(recorder.warnings());
        fan.add("recording", Delivery::Every, recorder);
    }
    Ok(Some(view))
}

/// The readings of a source. All faces are found while they are hidden.
fn readings(
    options: &Options,
    source: Source,
    profile: Option<Profile>,
    hiding: Arc<AtomicBool>,
    neutral: Arc<AtomicBool>,
) -> Result<Stream<Reading>> {
    let device = options.device.as_deref().unwrap_or("auto").parse::<Choice>()?;
    // Pictures are independent of each other.
    let usual = if source.live { 0.3 } else { 0.0 };
    let smoothing = if source.pictures { 0.0 } else { options.smoothing.unwrap_or(usual) };
    let mut settings = Analyser::builder()
        .model(options.model.as_deref())
        .device(device)
        .prior(options.prior)
        .person(profile)
        .taking_neutrals(neutral)
        .estimating_neutrals(options.auto_neutral())
        .smoothing(Duration::from_secs_f64(smoothing))
        .stills(source.pictures)
        .delivery(source.delivery)
        .everywhere(hiding);
    if let Some(most) = options.max_faces.or(options.blur().then_some(MOST_FACES)) {
        settings = settings.max_faces(most);
    }
    Ok(settings.open()?.stream(source.frames))
}
