//! The main job: faces and expressions from a camera, a video or pictures, to a window, a file, or data.

pub mod options;
mod report;
mod several;
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
use lanet_live::flow::Delivery;
use lanet_live::profile::{self, Profile};
use lanet_live::reading::Reading;
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
use report::{Progress, Report, Tally};
use source::Source;

/// Runs the main job.
pub fn run(options: &Options, talk: Talk, stop: &Stop) -> Result<Outcome> {
    run_in(None, options, talk, stop)
}

/// Runs the main job in a window that is open already: a program has one in its life.
pub fn run_in(window: Option<Window>, options: &Options, talk: Talk, stop: &Stop) -> Result<Outcome> {
    video::quiet();
    let mut nets = Nets { window, ..Nets::new(options)? };
    if let Some(inputs) = several::inputs(options)? {
        return several::run(options, &inputs, &mut nets, talk, stop);
    }
    let began = Instant::now();
    let bar = |source: &Source| -> Progress {
        let talk = Talk { no_progress: talk.no_progress || source.live, ..talk };
        let bar = Bar::new(talk, source.count.map(|count| count as usize), "frames");
        Box::new(move |frames| bar.reach(frames as usize))
    };
    let Some(mut watched) = watch(options, &mut nets, &bar, talk, stop)? else {
        return Ok(Outcome::Interrupted);
    };
    for warning in &watched.warnings {
        talk.say(&format!("warning: {warning}"));
    }
    if let Some(report) = &watched.report {
        if !watched.live || talk.verbose {
            report.summary(&watched.written).iter().for_each(|line| talk.say(line));
        }
        if let Some(format) = options.stats {
            let first_shown = watched.first_shown.map(|first| first - began);
            tell(&report.stats(format, first_shown));
        }
    }
    // The first is the one that ends the program; the others are not to be lost.
    if !watched.failures.is_empty() {
        let first = watched.failures.remove(0);
        watched.failures.iter().for_each(|failure| tell(&format!("lanet-live: {}", failure.line())));
        return Err(first);
    }
    Ok(if stop.asked() { Outcome::Interrupted } else { Outcome::Done })
}

/// What became of an input.
struct Watched {
    live: bool,
    warnings: Vec<Warning>,
    failures: Vec<Error>,
    written: Vec<PathBuf>,
    /// None if there was not one frame.
    report: Option<Report>,
    first_shown: Option<Instant>,
}

/// Watches one input; `None` if the user asks to stop before it is open.
fn watch(
    options: &Options,
    nets: &mut Nets,
    progress: &dyn Fn(&Source) -> Progress,
    talk: Talk,
    stop: &Stop,
) -> Result<Option<Watched>> {
    let Some(source) = source::open(options, stop)? else { return Ok(None) };
    let (live, begin) = (source.live, source.begin);
    let mut warnings = vec![source.warnings.clone()];
    let (hiding, neutral, window) = (nets.hiding.clone(), nets.neutral.clone(), nets.window.take());
    let analyser = nets.analyser(options, source.pictures, live)?;
    let mut fan = FanOut::new(source.delivery);
    let marks = Marks::default();
    add_files(options, &source, analyser.fingerprint(), &mut fan, &mut warnings, (&marks, stop))?;
    add_server(options, &source, &mut fan, (hiding.clone(), talk, stop))?;
    let view = open_view(options, &source, &mut fan, &mut warnings, (hiding, marks, window))?
        .map(|(view, queue)| (view.taking_neutrals(neutral), queue));
    let needed = view.is_none() && fan.meters().is_empty();
    let (tally, counted) = Tally::new(live, needed, progress(&source));
    fan.add("summary", Delivery::Every, tally);

    let readings = analyser.stream(source.frames);
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
    let report = counted.try_recv().ok().map(|tally| Report::new(tally, meters));
    if report.is_none() && failures.is_empty() && !stop.asked() && !closed.load(Ordering::Relaxed) {
        failures
            .push(Error::new("there was not one frame to read").advice("check --input, --start and --end"));
    }
    Ok(Some(Watched {
        live,
        warnings: warnings.iter().flat_map(Warnings::take).collect(),
        failures,
        written,
        report,
        first_shown: first_shown.and_then(|first| first.get().copied()),
    }))
}

/// Adds a receiver for each file that is asked for, and refuses what cannot be written before anything is read.
fn add_files(
    options: &Options,
    source: &Source,
    fingerprint: &str,
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
            .with_columns(baseline, has_window(options, source, false))
            .with_model(fingerprint);
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

/// The networks, loaded once for all inputs that are read in the same way, and what outlives an input besides.
struct Nets {
    profile: Option<Profile>,
    /// Whether the window hides faces now.
    hiding: Arc<AtomicBool>,
    /// Whether neutrals are to be taken.
    neutral: Arc<AtomicBool>,
    /// Whether it is for pictures, and for live sources.
    opened: Option<(bool, bool, Analyser)>,
    /// A window that is open already.
    window: Option<Window>,
}

impl Nets {
    fn new(options: &Options) -> Result<Self> {
        let profile = options.person.as_ref().map(|name| Profile::open(Path::new(profile::FOLDER), name));
        Ok(Self {
            profile: profile.transpose()?,
            hiding: Arc::new(AtomicBool::new(options.blur())),
            neutral: Arc::default(),
            opened: None,
            window: None,
        })
    }

    /// Who reads pictures, or live sources, or videos. All faces are found while they are hidden.
    fn analyser(&mut self, options: &Options, pictures: bool, live: bool) -> Result<&Analyser> {
        let opened = match self.opened.take() {
            Some(opened) if (opened.0, opened.1) == (pictures, live) => opened,
            _ => {
                let device = options.device.as_deref().unwrap_or("auto").parse::<Choice>()?;
                // Pictures are independent of each other.
                let usual = if live { 0.3 } else { 0.0 };
                let smoothing = if pictures { 0.0 } else { options.smoothing.unwrap_or(usual) };
                let mut settings = Analyser::builder()
                    .model(options.model.as_deref())
                    .device(device)
                    .prior(options.prior)
                    .person(self.profile.clone())
                    .taking_neutrals(self.neutral.clone())
                    .estimating_neutrals(options.auto_neutral())
                    .smoothing(Duration::from_secs_f64(smoothing))
                    .stills(pictures)
                    .delivery(if live { Delivery::Latest } else { Delivery::Every })
                    .everywhere(self.hiding.clone());
                if let Some(most) = options.max_faces.or(options.blur().then_some(MOST_FACES)) {
                    settings = settings.max_faces(most);
                }
                (pictures, live, settings.open()?)
            }
        };
        Ok(&self.opened.insert(opened).2)
    }
}
