//! The program `lanet-live`: parse, run one command, say an error in one line, exit.

mod commands;
#[cfg(feature = "capture")]
mod config;

use std::process::ExitCode;

use clap::CommandFactory;
use clap::error::ErrorKind;
use lanet_live::error::Error;

use commands::{Cli, Outcome};

/// Networks ask for the same large blocks at every frame; the system's allocator would give them back each time.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    quiet_libraries();
    if std::env::args_os().len() == 1 {
        // A failure to print help has nobody to be told to.
        let _ = Cli::command().print_help();
        return ExitCode::SUCCESS;
    }
    let cli = match commands::parse(std::env::args_os().collect()) {
        Ok(Ok(cli)) => cli,
        Ok(Err(error)) if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) => {
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        Ok(Err(error)) => {
            return fail(&Error::usage(what_is_wrong(&error)).advice("see lanet-live --help"));
        }
        Err(error) => return fail(&error),
    };
    match commands::run(cli) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Interrupted) => ExitCode::from(130),
        Err(error) => fail(&error),
    }
}

fn fail(error: &Error) -> ExitCode {
    commands::tell(&format!("lanet-live: {}", error.line()));
    ExitCode::from(if error.is_usage() { 2 } else { 1 })
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

/// FFmpeg under OpenCV and Qt under its window write to standard error, and Candle's own threads spin beside ours,
/// unless they are told not to before they start.
#[allow(unsafe_code)]
fn quiet_libraries() {
    let wanted =
        [("OPENCV_FFMPEG_LOGLEVEL", "-8"), ("QT_LOGGING_RULES", "*=false"), ("CANDLE_NUM_THREADS", "1")];
    for (name, value) in wanted {
        if std::env::var_os(name).is_none() {
            // SAFETY: this is the first thing that the program does; no other thread exists.
            unsafe { std::env::set_var(name, value) };
        }
    }
}
