//! A progress bar on standard error, for what takes longer than two seconds.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Talk;

/// Counts, up to an end if that is known.
pub struct Bar {
    bar: ProgressBar,
    wanted: bool,
    start: Instant,
}

impl Bar {
    /// Nothing is shown yet. `what` is what is counted.
    pub fn new(talk: Talk, count: impl Into<Option<usize>>, what: &str) -> Self {
        let count = count.into().map(|count| count as u64);
        let bar = ProgressBar::with_draw_target(count, ProgressDrawTarget::hidden());
        let template = match count {
            Some(_) => format!("{{bar:30}} {{pos}}/{{len}} {what}, {{per_sec}}, {{eta}} left"),
            None => format!("{{pos}} {what}, {{per_sec}}"),
        };
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        Self { bar, wanted: !talk.quiet && !talk.no_progress, start: Instant::now() }
    }

    /// So many are done.
    pub fn reach(&self, done: usize) {
        self.bar.set_position(done as u64);
        if self.wanted && self.bar.is_hidden() && self.start.elapsed() > Duration::from_secs(2) {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
    }

    /// Takes it from the screen.
    pub fn clear(&self) {
        self.bar.finish_and_clear();
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.clear();
    }
}
