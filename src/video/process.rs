//! A running program ffmpeg: its complaint when it fails, and an end to it when it hangs.

use std::fs;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::error::{Context, Error, Result};

/// How often a running program is looked after.
const LOOK: Duration = Duration::from_millis(20);

/// A running ffmpeg. Dropped before [`Running::finish`], it is stopped.
pub(super) struct Running {
    child: Arc<Mutex<Child>>,
    frames: Option<ChildStdin>,
    /// Gives ffmpeg's last line of complaint when it has ended.
    complaints: Option<JoinHandle<Option<String>>>,
    /// How long it may do nothing.
    patience: Duration,
    watch: Arc<Watch>,
}

/// What the thread that watches over writing knows.
#[derive(Default)]
struct Watch {
    /// Goes up at the beginning and at the end of each write, so that an odd one is under way.
    writes: AtomicU64,
    hung: AtomicBool,
}

impl Running {
    /// Starts the program. Its frames, if it takes any, go through [`Running::send`].
    pub(super) fn start(mut command: Command, patience: Duration) -> Result<Self> {
        let mut child = command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .context("the program ffmpeg does not start")?;
        let complaints = child.stderr.take().map(|stderr| {
            thread::spawn(move || {
                let lines = BufReader::new(stderr).lines().map_while(io::Result::ok);
                // That the last line was said several times is no complaint.
                lines.filter(|line| !line.trim().is_empty() && !line.contains("Last message repeated")).last()
            })
        });
        let frames = child.stdin.take();
        let (child, watch) = (Arc::new(Mutex::new(child)), Arc::new(Watch::default()));
        if frames.is_some() {
            watch_over(&child, &watch, patience);
        }
        Ok(Self { child, frames, complaints, patience, watch })
    }

    /// Hands over what `write` writes.
    pub(super) fn send(&mut self, write: impl FnOnce(&mut ChildStdin) -> io::Result<()>) -> Result<()> {
        self.watch.writes.fetch_add(1, Ordering::SeqCst);
        let sent = self.frames.as_mut().map(write);
        self.watch.writes.fetch_add(1, Ordering::SeqCst);
        match sent {
            Some(Ok(())) => Ok(()),
            _ => {
                // It has closed its end, so it is about to leave, once it has closed its file.
                drop(self.frames.take());
                let _ = self.end(Path::new(""));
                Err(self.failure())
            }
        }
    }

    /// Waits until everything is written to `output`.
    pub(super) fn finish(mut self, output: &Path) -> Result<()> {
        drop(self.frames.take());
        let succeeded = self.end(output).context("the program ffmpeg is lost")?;
        if succeeded { Ok(()) } else { Err(self.failure()) }
    }

    /// Waits for the end of the program, as long as its file changes; whether it succeeded.
    fn end(&self, output: &Path) -> io::Result<bool> {
        let state = || fs::metadata(output).and_then(|data| Ok((data.len(), data.modified()?))).ok();
        let (mut seen, mut idle) = (state(), Duration::ZERO);
        loop {
            if let Some(status) = self.child().try_wait()? {
                return Ok(status.success());
            }
            // Counted in naps instead of by the clock, which goes on while all of this is suspended.
            thread::sleep(LOOK);
            let now = state();
            idle = if now == seen { idle + LOOK } else { Duration::ZERO };
            seen = now;
            if idle >= self.patience {
                self.watch.hung.store(true, Ordering::SeqCst);
                self.child().kill()?;
            }
        }
    }

    fn child(&self) -> std::sync::MutexGuard<'_, Child> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failure(&mut self) -> Error {
        if self.watch.hung.load(Ordering::SeqCst) {
            return Error::new(format!(
                "the program ffmpeg has done nothing for {} s",
                self.patience.as_secs()
            ))
            .advice("check the disk that is written to");
        }
        let error = Error::new("the program ffmpeg stopped").advice("check that the disk is not full");
        match self.complaints.take().and_then(|complaints| complaints.join().ok()).flatten() {
            Some(line) => error.because(line),
            None => error,
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child().kill();
        let _ = self.child().wait();
    }
}

/// Ends the program when one write has lasted too long.
fn watch_over(child: &Arc<Mutex<Child>>, watch: &Arc<Watch>, patience: Duration) {
    let (child, watch) = (Arc::downgrade(child), watch.clone());
    thread::spawn(move || {
        let (mut seen, mut idle) = (0, Duration::ZERO);
        loop {
            thread::sleep(LOOK);
            let Some(child) = child.upgrade() else { return };
            let now = watch.writes.load(Ordering::SeqCst);
            idle = if now == seen && now % 2 == 1 { idle + LOOK } else { Duration::ZERO };
            seen = now;
            if idle >= patience {
                watch.hung.store(true, Ordering::SeqCst);
                let _ = child.lock().unwrap_or_else(PoisonError::into_inner).kill();
                return;
            }
        }
    });
}
