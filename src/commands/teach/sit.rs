//! The sitting: frames of a camera, what to show said in the window or in lines, and the clips.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use candle_core::Device;
use lanet_live::clips::{About, Which};
use lanet_live::error::{Error, Result};
use lanet_live::expression::Expression;
use lanet_live::face::{self, FaceFinder};
use lanet_live::flow;
use lanet_live::frame::Image;
use lanet_live::overlay::{Hud, Mark, Overlay, Prompt, Style};
use lanet_live::reading::Reading;
use lanet_live::receivers::{FanOut, Next, Playing, Queue};
use lanet_live::teach::{Phase, Seen, Session, Sitting, Wish};
use lanet_live::window::{Key, Window};

use super::Options;
use crate::commands::watch::{self, source};
use crate::commands::{Stop, Talk, tell};

/// How soon a key or an interrupt is seen.
const GLANCE: Duration = Duration::from_millis(15);
/// What the keys do.
const KEYS: &str = "r: once more   s: skip   q: end and learn";

/// What is left when a sitting is over.
#[derive(Default)]
pub struct Sat {
    /// The window, if there is one.
    pub window: Option<Window>,
    /// What it showed last, but for words.
    pub shown: Option<Image>,
}

/// Leads somebody through the expressions, until all is shown, they end it, or the user stops the program. A camera that is
/// gone ends it as well, if there are clips by then.
pub fn sit(options: &Options, device: &Device, talk: Talk, stop: &Stop) -> Result<Sat> {
    let watched = watch::Options { reconnect: Some(0.0), ..options.watched() };
    let from = match (&watched.camera, &options.input) {
        (Some(camera), _) => format!("camera {camera}"),
        (None, input) => Path::new(input.as_deref().unwrap_or_default()).display().to_string(),
    };
    let about = About { person: Some(options.person.clone()), source: from.clone(), ..About::default() };
    let Some(source) = source::open(&watched, stop)? else { return Ok(Sat::default()) };
    if source.pictures {
        return Err(Error::usage("pictures are no camera")
            .advice("put them into folders of their expressions, and use --from"));
    }
    let expressions = match &options.expressions[..] {
        [] => &Expression::ALL[..],
        some => some,
    };
    let session = Session::new(expressions, options.rounds.into());
    let sitting = Sitting::new(session, &options.into, about, source.rate.unwrap_or(25.0))?;
    let window = (!options.no_window).then(|| Window::open("lanet-live teach")).transpose()?;
    // It is said even to those who want to hear nothing.
    tell(&format!(
        "{from}: clips of {} go into {}; only what is marked REC is recorded",
        options.person,
        options.into.join(&options.person).display()
    ));

    let mut finder = FaceFinder::new(face::Options::default(), device)?;
    let (interrupted, over) = (stop.clone(), Arc::new(AtomicBool::new(false)));
    let no_more = over.clone();
    let readings = flow::source("frame", source.delivery, source.frames)
        .stage("find", move |frame| {
            let scene = finder.find(frame)?;
            let whereabouts = scene.faces.iter().map(|face| face.bounds).collect();
            Ok(Reading { frame: scene.frame, faces: Vec::new(), whereabouts })
        })
        .until(move || interrupted.asked() || no_more.load(Ordering::Relaxed));
    let mut fan = FanOut::new(source.delivery);
    let mut host = Host {
        sitting,
        queue: fan.tap(source.delivery),
        window,
        overlay: Overlay::default(),
        style: Style { mirror: watched.camera.is_some(), ..Style::default() },
        which: options.face.unwrap_or_default(),
        playing: (!source.live && !options.no_window).then(Playing::default),
        said: None,
        last: None,
    };
    let running = fan.start(readings)?;
    let led = host.lead(stop);
    let Host { mut sitting, queue, window, mut overlay, style, last, .. } = host;
    drop(queue);
    over.store(true, Ordering::Relaxed);
    let ended = running.finish();
    let finished = sitting.wish(Wish::End);
    for warning in source.warnings.take() {
        talk.say(&format!("warning: {warning}"));
    }
    let kept = sitting.kept().len();
    if kept > 0 {
        talk.say(&format!("clips kept: {kept}"));
    }
    let failed = led.and(finished);
    if failed.is_err() && kept > 0 {
        tell(&format!("go on with: {}", options.go_on()));
    }
    failed?;
    match ended.outcome {
        Err(error) if kept == 0 => return Err(error),
        Err(error) => talk.say(&format!("warning: {}; going on with what there is", error.line())),
        Ok(()) if kept == 0 && !stop.asked() => {
            return Err(Error::new("no clip was recorded")
                .advice("show something until REC is over, or learn from earlier clips with --from"));
        }
        Ok(()) => {}
    }
    let shown = last.map(|reading| overlay.draw(&reading, style, &Hud::default()));
    Ok(Sat { window, shown })
}

/// Leads a sitting.
struct Host {
    sitting: Sitting,
    queue: Queue,
    window: Option<Window>,
    overlay: Overlay,
    style: Style,
    which: Which,
    /// When frames are due, of a file that is shown at its own pace.
    playing: Option<Playing>,
    /// What was said in lines: which clip, and its phase.
    said: Option<(usize, Phase)>,
    last: Option<Arc<Reading>>,
}

impl Host {
    fn lead(&mut self, stop: &Stop) -> Result<()> {
        while !stop.asked() && self.sitting.session().phase() != Phase::Over {
            let mut wait = Duration::ZERO;
            match self.queue.next_within(GLANCE) {
                Next::Reading(reading) => {
                    let Reading { frame, whereabouts, .. } = &*reading;
                    let seen = match (self.which.choose(whereabouts, |bounds| *bounds), whereabouts.len()) {
                        (Some(_), _) => Seen::Face,
                        (None, 0 | 1) => Seen::Nobody,
                        (None, _) => Seen::Several,
                    };
                    self.sitting.take(frame, seen)?;
                    self.say(&reading, seen)?;
                    self.last = Some(reading.clone());
                    if let Some(playing) = &mut self.playing {
                        let now = Instant::now();
                        wait = playing.due(now, frame.time).saturating_duration_since(now);
                    }
                }
                Next::Nothing => {}
                Next::End => break,
            }
            let Some(window) = &mut self.window else { continue };
            // The keys are those of the live view, which call them by what they do there.
            match window.key(wait)? {
                Some(Key::Record) => self.sitting.wish(Wish::Repeat)?,
                Some(Key::Screenshot) => self.sitting.wish(Wish::Skip)?,
                Some(Key::Quit) => self.sitting.wish(Wish::End)?,
                _ => {}
            }
        }
        Ok(())
    }

    /// Says what to show now, on the picture or, when it changes, in a line.
    fn say(&mut self, reading: &Reading, seen: Seen) -> Result<()> {
        let session = self.sitting.session();
        let ((n, of), phase) = (session.place(), session.phase());
        let mut lines = session.lines();
        let seconds = session.left().as_secs_f64().ceil() as u64;
        let Some(window) = &mut self.window else {
            if self.said.replace((n, phase)) != Some((n, phase)) && phase != Phase::Over {
                let text = lines.join(", ").replace(":,", ":");
                tell(&match phase {
                    Phase::Ready => format!("{n} of {of}: in {seconds} s {text}"),
                    Phase::Recording => format!("REC {text}, {seconds} s"),
                    _ => text,
                });
            }
            return Ok(());
        };
        let wrong = match seen {
            Seen::Face => None,
            Seen::Nobody => Some("your face is not seen now"),
            Seen::Several => Some("more than one face is seen now"),
        };
        if let (Phase::Ready, Some(wrong)) = (phase, wrong) {
            lines.truncate(1);
            lines.push(wrong.to_owned());
        }
        let marks: &[Mark] = if self.sitting.is_recording() { &[Mark::Recording] } else { &[] };
        let hud = Hud { marks, text: &format!("{n} of {of}"), help: &[] };
        let mut image = self.overlay.draw(reading, self.style, &hud);
        Prompt { lines: &lines, seconds: (phase != Phase::Recorded).then_some(seconds), keys: KEYS }
            .draw(&mut image);
        window.show(image)
    }
}
