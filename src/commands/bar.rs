//! A progress bar on standard error, for what takes longer than two seconds; where nobody can see one, a line a minute.

use std::cell::Cell;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::Talk;

/// Counts, up to an end if that is known.
pub struct Bar {
    bar: ProgressBar,
    talk: Talk,
    what: String,
    start: Instant,
    told: Cell<Instant>,
}

/// How often a line is said.
const LINE: Duration = Duration::from_secs(60);

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
        let now = Instant::now();
        Self { bar, talk, what: what.to_owned(), start: now, told: Cell::new(now) }
    }

    /// So many are done.
    pub fn reach(&self, done: usize) {
        self.bar.set_position(done as u64);
        let wanted = !self.talk.quiet && !self.talk.no_progress;
        if wanted && self.bar.is_hidden() && self.start.elapsed() > Duration::from_secs(2) {
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        if self.bar.is_hidden()
            && let Some(line) = self.line(LINE)
        {
            self.talk.say(&line);
        }
    }

    /// How far it is, if the last word was so long ago.
    fn line(&self, ago: Duration) -> Option<String> {
        if self.told.get().elapsed() < ago {
            return None;
        }
        self.told.set(Instant::now());
        let (done, what) = (self.bar.position(), &self.what);
        Some(match self.bar.length() {
            Some(all) => format!("{done} of {all} {what}"),
            None => format!("{done} {what}"),
        })
    }

    /// Says a line above it.
    #[cfg(feature = "capture")]
    pub fn say(&self, line: &str) {
        self.bar.suspend(|| self.talk.say(line));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_no_bar_is_seen_a_line_says_how_far_it_is() {
        let talk = Talk { quiet: false, verbose: false, no_progress: true };
        let bar = Bar::new(talk, 10, "steps of epoch 3");
        bar.reach(4);
        assert_eq!(bar.line(LINE), None);
        assert_eq!(bar.line(Duration::ZERO).unwrap(), "4 of 10 steps of epoch 3");
        let endless = Bar::new(talk, None, "frames");
        endless.reach(7);
        assert_eq!(endless.line(Duration::ZERO).unwrap(), "7 frames");
    }
}
