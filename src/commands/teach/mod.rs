//! `lanet-live teach`: somebody is led through the expressions, and what was recorded of them is learnt, calibrated and shown.

mod figures;
mod learn;
mod sit;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use lanet_live::clips::{Which, check_person};
use lanet_live::device::Choice;
use lanet_live::error::{Error, Result};
use lanet_live::expression::Expression;
use lanet_live::frame::Image;
use lanet_live::net;
use lanet_live::overlay::Prompt;
use lanet_live::profile::FOLDER;
use lanet_live::train::Start;
use lanet_live::train::recipe::check_device;
use lanet_live::video;
use lanet_live::window::{Key, Window};

use super::watch::options::size;
use super::{Outcome, Stop, Talk, parsed, print, tell, watch};
use figures::Figures;
use learn::Taught;
use sit::Sat;

/// How soon the window knows that learning is over: each look at it draws it.
const GLANCE: Duration = Duration::from_millis(200);
/// So long the window says what came of it, unless a key is pressed.
const RESULT: Duration = Duration::from_secs(10);

/// Who teaches the program their face, and by what.
#[derive(Debug, Args)]
pub struct Options {
    /// Whose face it is: the clips come into INTO/NAME, what is learnt into calibration/NAME
    #[arg(long, value_name = "NAME")]
    person: String,
    /// Sit in front of a camera: its number, its path (/dev/video0) or a part of its name [default: 0]
    #[arg(long, value_name = "CAMERA", conflicts_with = "input")]
    camera: Option<String>,
    /// Take a video or an RTSP or HTTP address for the camera
    #[arg(long, value_name = "INPUT")]
    input: Option<OsString>,
    /// The folder of all recordings
    #[arg(long, value_name = "DIR", default_value = "recordings")]
    into: PathBuf,
    /// Learn from clips that are there already, without a camera
    #[arg(long, value_name = "DIR", conflicts_with_all = ["camera", "input", "into", "expressions", "rounds"])]
    from: Option<PathBuf>,
    /// What is shown, after neutral; separated by commas [default: all eight]
    #[arg(long, value_name = "LIST", value_delimiter = ',', value_parser = parsed::<Expression>)]
    expressions: Vec<Expression>,
    /// So many clips of each: of two one is kept back, to check what was learnt from the other
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..))]
    rounds: u8,
    /// Which face is meant where there are several: largest, or its number from the left
    #[arg(long, value_name = "largest|N", value_parser = parsed::<Which>)]
    face: Option<Which>,
    /// The model that is changed: a name or a folder
    #[arg(long, value_name = "NAME|DIR", default_value = net::DEFAULT)]
    model: String,
    /// Ask the camera for pictures of this size; it gives the nearest that it has
    #[arg(long, value_name = "WxH", value_parser = size)]
    size: Option<(u32, u32)>,
    /// Ask the camera for this many frames a second [default: 30]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    fps: Option<u32>,
    /// Open no window: what to show is said in lines
    #[arg(long)]
    no_window: bool,
    /// Compute on: auto, cpu or cuda:N
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    device: String,
}

impl Options {
    /// Where the frames come from, as the live view is told.
    fn watched(&self) -> watch::Options {
        let camera = self.camera.clone().or_else(|| self.input.is_none().then(|| "0".to_owned()));
        watch::Options {
            camera,
            input: self.input.iter().cloned().collect(),
            size: self.size,
            fps: self.fps,
            device: Some(self.device.clone()),
            ..watch::Options::default()
        }
    }

    /// How a name is written on a command line.
    fn quoted(name: &str) -> String {
        if name.contains(' ') { format!("'{name}'") } else { name.to_owned() }
    }

    /// The command that goes on from the clips that are there.
    fn go_on(&self) -> String {
        let clips = self.from.as_ref().unwrap_or(&self.into).to_string_lossy();
        format!("lanet-live teach --person {} --from {}", Self::quoted(&self.person), Self::quoted(&clips))
    }
}

/// Teaches.
pub fn run(options: &Options, talk: Talk, stop: &Stop) -> Result<Outcome> {
    video::quiet();
    check_person(&options.person)?;
    let device = options.device.parse::<Choice>()?.open()?;
    check_device(&device)?;
    // What cannot be changed is said before anybody sits down.
    let start = Start::open(&options.model)?;
    if start.fits().is_none() {
        return Err(Error::usage(format!("'{}' is no model that tells expressions", options.model))
            .advice("choose another with --model"));
    }
    let (clips, sat) = match &options.from {
        Some(from) => (from, None),
        None => (&options.into, Some(sit::sit(options, &device, talk, stop)?)),
    };
    let stopped = || {
        let go_on = if clips.exists() { options.go_on() } else { "the same command".to_owned() };
        tell(&format!("stopped; go on with: {go_on}"));
        Ok(Outcome::Interrupted)
    };
    if stop.asked() {
        return stopped();
    }
    let learn = || learn::learn(options, &start, clips, &device, talk, stop);
    let (mut window, shown) = sat.map_or((None, None), |Sat { window, shown }| (window, shown));
    let taught = match &shown {
        Some(image) if window.is_some() => beside(&mut window, image, learn),
        _ => learn(),
    };
    let Some(taught) = taught? else { return stopped() };
    if let Taught(Some(figures)) = &taught {
        print(|out| out.write_all(figures.text().as_bytes()))?;
        if figures.worse() {
            let profile = Path::new(FOLDER).join(&options.person);
            talk.say(&format!(
                "these clips are told better without the profile: show each expression more clearly and teach again, or delete {}",
                profile.display()
            ));
        }
    }
    let live = watch::Options { person: Some(options.person.clone()), ..options.watched() };
    if let (Some(open), Some(image)) = (&mut window, &shown)
        && show_result(open, image, &taught)?
    {
        return watch::run_in(window, &live, talk, stop);
    }
    let (name, from) = match (&live.camera, &options.input) {
        (None, Some(input)) => ("input", input.to_string_lossy().into_owned()),
        (camera, _) => ("camera", camera.clone().unwrap_or_default()),
    };
    let (person, from) = (Options::quoted(&options.person), Options::quoted(&from));
    talk.say(&format!("see it with: lanet-live --{name} {from} --person {person}"));
    Ok(Outcome::Done)
}

/// Learns on another thread, so that the window stays alive and says what goes on; it is gone once its user closes it.
fn beside<T: Send>(
    window: &mut Option<Window>,
    image: &Image,
    learn: impl FnOnce() -> Result<T> + Send,
) -> Result<T> {
    let began = Instant::now();
    thread::scope(|scope| {
        let learning = scope.spawn(learn);
        while !learning.is_finished() {
            let lines = ["learning from your clips".to_owned(), "labels, classifier, calibration".to_owned()];
            let seconds = Some(began.elapsed().as_secs());
            let pressed = window.as_mut().map(|open| {
                let mut image = image.clone();
                Prompt { lines: &lines, seconds, keys: "q: learn on without the window" }.draw(&mut image);
                open.show(image)?;
                open.key(GLANCE)
            });
            match pressed {
                Some(Ok(Some(Key::Quit)) | Err(_)) => *window = None,
                Some(Ok(_)) => {}
                None => thread::sleep(GLANCE),
            }
        }
        learning.join().unwrap_or_else(|_| Err(Error::new("learning broke; this is a fault of the program")))
    })
}

/// Shows what came of it; whether its user wants to go on to the live view.
fn show_result(window: &mut Window, image: &Image, taught: &Taught) -> Result<bool> {
    let mut image = image.clone();
    let nothing =
        || vec!["your profile is there".to_owned(), "no clip was kept back to say how good it is".to_owned()];
    let lines = taught.0.as_ref().map_or_else(nothing, Figures::lines);
    Prompt { lines: &lines, seconds: None, keys: "any key: the live view   q: close" }.draw(&mut image);
    window.show(image)?;
    Ok(window.key(RESULT)? != Some(Key::Quit))
}
