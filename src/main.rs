//! The program `lanet-live`: make libraries quiet, run what the command line asks for, exit.

use std::process::ExitCode;

use lanet_live::commands;

/// Networks ask for the same large blocks at every frame; the system's allocator would give them back each time.
#[global_allocator]
static MEMORY: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    quiet_libraries();
    ExitCode::from(commands::start(std::env::args_os().collect()))
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
