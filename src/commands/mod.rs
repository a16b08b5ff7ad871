//! The command line, and one file for each command.

mod audit;
mod bar;
mod bench;
#[cfg(feature = "capture")]
mod config;
mod calibrate;
mod devices;
mod evaluate;
mod lesson;
mod models;
mod plot;
mod prepare;
#[cfg(feature = "capture")]
mod record;
mod rehearsal;
mod reliability;
mod train;
#[cfg(feature = "capture")]
mod teach;
#[cfg(feature = "capture")]
mod watch;

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::error::ErrorKind;
use clap::{ArgAction, Args, CommandFactory, Parser, Subcommand};
use lanet_live::error::{Context, Error, Kind, Result};

/// For options whose values say what is wrong with them.
fn parsed<T: FromStr<Err = Error>>(text: &str) -> std::result::Result<T, String> {
    text.parse().map_err(|error: Error| error.line())
}

/// Real-time facial-expression recognition on your own machine: webcam, video files and pictures.
#[derive(Debug, Parser)]
#[command(name = "lanet-live", version, args_conflicts_with_subcommands = true, after_help = EXAMPLES)]
pub struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[cfg(feature = "capture")]
    #[command(flatten)]
    watch: watch::Options,
    /// TOML file with the same keys as these options; options given here win
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    talk: Talk,
}

const EXAMPLES: &str = "Examples:
  lanet-live --camera 0
  lanet-live --input talk.mp4 --output talk-emotions.mp4 --results talk.jsonl --timeline talk.png
  lanet-live --input photos/ --output marked/ --results photos.csv
  lanet-live --input 'corpus/**/*.mp4' --results out/ --resume

Everything is computed on this machine; no frame leaves it.";

/// How much is said on standard error.
#[derive(Debug, Clone, Copy, Args)]
pub struct Talk {
    /// Say nothing but errors
    #[arg(short, long, global = true, overrides_with = "verbose", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", action = ArgAction::Set, value_name = "BOOL")]
    pub quiet: bool,
    /// Say more
    #[arg(short, long, global = true, overrides_with = "quiet", num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", action = ArgAction::Set, value_name = "BOOL")]
    pub verbose: bool,
    /// Show no progress bar
    #[arg(long, global = true, num_args = 0..=1, require_equals = true,
        default_value = "false", default_missing_value = "true", action = ArgAction::Set, value_name = "BOOL")]
    pub no_progress: bool,
}

impl Talk {
    /// Says a line on standard error, unless it should be quiet.
    pub fn say(self, line: &str) {
        if !self.quiet {
            tell(line);
        }
    }
}

/// Says a line on standard error; that nobody reads it is no failure. What a name holds of control characters does
/// not reach the terminal.
pub fn tell(line: &str) {
    let shown = |c: char| {
        if c.is_control() && c != '\n' { c.escape_default().to_string() } else { c.to_string() }
    };
    let _ = writeln!(std::io::stderr(), "{}", line.chars().map(shown).collect::<String>());
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the cameras and the compute devices
    Devices,
    /// List the models, or show the card of one
    Models(models::Options),
    /// Measure how fast each network is on this machine
    Bench(bench::Options),
    /// Record a clip of somebody who shows an expression, to learn from
    #[cfg(feature = "capture")]
    Record(Box<record::Options>),
    /// Teach the program your own face: a camera, clips of each expression, and a view that knows you
    #[cfg(feature = "capture")]
    Teach(Box<teach::Options>),
    /// Learn to tell expressions from labelled pictures or clips
    Train(Box<train::Options>),
    /// Cut the faces out of labelled pictures once, into small files that can move to another machine
    Prepare(prepare::Options),
    /// Measure how well a model tells the expressions of labelled pictures or clips
    Evaluate(Box<evaluate::Options>),
    /// Make the probabilities of a model mean what they say, or take somebody's own neutral
    Calibrate(Box<calibrate::Options>),
    /// Keep features of faces that a model learnt from beside it, so that it forgets little when it is adapted
    Rehearsal(rehearsal::Options),
    /// Find labels that are probably wrong, and correct them on a page in the browser
    Audit(Box<audit::Options>),
    /// Print a completion script for a shell
    Completions {
        /// The shell
        shell: clap_complete::Shell,
    },
    /// Print the manual page
    Man,
}

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// As planned.
    Done,
    /// By an interrupt, with everything finished that was begun.
    Interrupted,
}

/// Whether the user has asked to stop (Ctrl-C). The second time ends the program at once; a program that was started
/// to outlive its terminal (nohup) does not hear that this has gone.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    fn on_interrupt() -> Result<Self> {
        let stop = Self::default();
        let asked = stop.0.clone();
        #[cfg(unix)]
        let hangup = hangup_ignored();
        ctrlc::set_handler(move || {
            if asked.swap(true, Ordering::SeqCst) {
                std::process::exit(130);
            }
        })
        .context("interrupts cannot be handled")?;
        #[cfg(unix)]
        if hangup {
            hangup_ignored();
        }
        Ok(stop)
    }

    /// Whether the user has asked.
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// Ignores that the terminal goes away; whether that was so before.
#[cfg(unix)]
#[allow(unsafe_code)]
fn hangup_ignored() -> bool {
    use nix::sys::signal::{SigHandler, Signal, signal};
    // SAFETY: nothing of this program runs in a handler that is set here.
    matches!(unsafe { signal(Signal::SIGHUP, SigHandler::SigIgn) }, Ok(SigHandler::SigIgn))
}

/// Does what a command line asks for, the program's name being the first argument, and says an error in one line.
/// Returns the exit code.
pub fn start(arguments: Vec<OsString>) -> u8 {
    if arguments.len() < 2 {
        // A failure to print help has nobody to be told to.
        let _ = Cli::command().print_help();
        return 0;
    }
    let outcome = match parse(arguments) {
        Ok(Ok(cli)) => run(cli),
        Ok(Err(error)) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            let _ = error.print();
            return 0;
        }
        Ok(Err(error)) => Err(Error::usage(what_is_wrong(&error)).advice("see lanet-live --help")),
        Err(error) => Err(error),
    };
    match outcome {
        Ok(Outcome::Done) => 0,
        Ok(Outcome::Interrupted) => 130,
        Err(error) => {
            let error = match error.kind() {
                Kind::NotFound => error.or_advice("check the name"),
                Kind::Output => error.or_advice("check the name, its rights, and that the disk is not full"),
                _ => error,
            };
            tell(&format!("lanet-live: {}", error.line()));
            if error.is_usage() { 2 } else { 1 }
        }
    }
}

/// Clap's message as one line: what is wrong, and its tip if it has one.
fn what_is_wrong(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let lines = text
        .lines()
        .map(str::trim)
        .take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
    let what = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    what.trim_start_matches("error: ").to_owned()
}

/// What the command line asks for, over the configuration that it names.
fn parse(arguments: Vec<OsString>) -> Result<clap::error::Result<Cli>> {
    let cli = Cli::try_parse_from(&arguments);
    #[cfg(feature = "capture")]
    if let Ok(Cli { config: Some(file), watch, .. }) = &cli {
        // Whoever names an input does not want that of the configuration.
        let mut left_out = if watch.has_input() { vec!["camera", "input", "input-list"] } else { Vec::new() };
        left_out.extend(watch.resume().then_some("overwrite"));
        left_out.extend(watch.overwrite().then_some("resume"));
        let command = Cli::command().args_override_self(true);
        let arguments = config::lay_under(&command, file, &arguments, &left_out)?;
        let matches = command.try_get_matches_from(arguments);
        return Ok(matches.and_then(|matches| clap::FromArgMatches::from_arg_matches(&matches)));
    }
    Ok(cli)
}

fn run(cli: Cli) -> Result<Outcome> {
    let stop = Stop::on_interrupt()?;
    match cli.command {
        Some(Command::Devices) => devices::run(),
        Some(Command::Models(options)) => models::run(&options),
        Some(Command::Bench(options)) => bench::run(&options, &stop),
        #[cfg(feature = "capture")]
        Some(Command::Record(options)) => record::run(&options, cli.talk, &stop),
        #[cfg(feature = "capture")]
        Some(Command::Teach(options)) => teach::run(&options, cli.talk, &stop),
        Some(Command::Train(options)) => train::run(&options, cli.talk, &stop),
        Some(Command::Prepare(options)) => prepare::run(&options, cli.talk, &stop),
        Some(Command::Evaluate(options)) => evaluate::run(&options, cli.talk, &stop),
        Some(Command::Calibrate(options)) => calibrate::run(&options, cli.talk, &stop),
        Some(Command::Rehearsal(options)) => rehearsal::run(&options, cli.talk, &stop),
        Some(Command::Audit(options)) => audit::run(&options, cli.talk, &stop),
        Some(Command::Completions { shell }) => print(|out| {
            clap_complete::generate(shell, &mut Cli::command(), "lanet-live", out);
            Ok(())
        }),
        Some(Command::Man) => print(|out| clap_mangen::Man::new(Cli::command()).render(out)),
        None => watch(cli, &stop),
    }
}

#[cfg(feature = "capture")]
fn watch(cli: Cli, stop: &Stop) -> Result<Outcome> {
    watch::run(&cli.watch, cli.talk, stop)
}

#[cfg(not(feature = "capture"))]
fn watch(_: Cli, _: &Stop) -> Result<Outcome> {
    Err(Error::new("this build has no cameras and no video").advice("build it with the feature 'capture'"))
}

/// Whether two names stand for one file that exists.
pub fn same_file(a: &Path, b: &Path) -> bool {
    a.file_name() == b.file_name() && matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// The same for all ways to write a path, whether there is a file already or not.
pub fn place(path: &Path) -> PathBuf {
    let folder = path.parent().filter(|folder| *folder != Path::new("")).unwrap_or(Path::new("."));
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    path.canonicalize().unwrap_or_else(|_| folder.join(path.file_name().unwrap_or_default()))
}

/// Prints on standard output; that nobody reads to the end is no failure.
fn print(write: impl FnOnce(&mut Vec<u8>) -> std::io::Result<()>) -> Result<Outcome> {
    let mut text = Vec::new();
    write(&mut text).context("cannot print")?;
    match std::io::stdout().write_all(&text) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            Err(Error::new("cannot print").because(error))
        }
        _ => Ok(Outcome::Done),
    }
}
