//! What is said about a run: a summary, and how long each step took.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, bounded};
use lanet_live::error::Result;
use lanet_live::flow::Meter;
use lanet_live::reading::Reading;
use lanet_live::receivers;
use lanet_live::timeline::{Timeline, words};
use serde_json::json;

use super::options::StatsFormat;

/// Is told how many frames are read.
pub type Progress = Box<dyn FnMut(u64) + Send>;

/// What is counted while the run goes on.
pub struct Tally {
    progress: Progress,
    /// Whether numbers that are missing between two frames are frames that were dropped.
    live: bool,
    /// Whether frames are read for the count alone.
    needed: bool,
    dropped: u64,
    expected: Option<u64>,
    start: Instant,
    frames: u64,
    faces: u64,
    first: Option<Duration>,
    last: Duration,
    timeline: Timeline,
    /// Since when each face is read against its own neutral.
    own: BTreeMap<u64, Duration>,
    counted: Sender<Self>,
}

impl Tally {
    /// Counts nothing yet. When the last reading has been counted, it arrives at the other end of the channel.
    pub fn new(live: bool, needed: bool, progress: Progress) -> (Self, Receiver<Self>) {
        let (counted, arrives) = bounded(1);
        let tally = Self {
            progress,
            live,
            needed,
            dropped: 0,
            expected: None,
            start: Instant::now(),
            frames: 0,
            faces: 0,
            first: None,
            last: Duration::ZERO,
            timeline: Timeline::default(),
            own: BTreeMap::new(),
            counted,
        };
        (tally, arrives)
    }
}

impl receivers::Receiver for Tally {
    fn take(&mut self, reading: &Arc<Reading>) -> Result<ControlFlow<()>> {
        self.frames += 1;
        (self.progress)(self.frames);
        if self.live {
            let index = reading.frame.index;
            self.dropped += index.saturating_sub(self.expected.unwrap_or(index));
            self.expected = Some(index + 1);
        }
        self.faces += reading.faces.len() as u64;
        self.first.get_or_insert(reading.frame.time);
        self.last = reading.frame.time;
        self.timeline.note(reading);
        for face in reading.faces.iter().filter(|face| face.baseline.own) {
            self.own.entry(face.face.track).or_insert(reading.frame.time);
        }
        Ok(ControlFlow::Continue(()))
    }

    fn finish(mut self: Box<Self>) -> Result<Option<PathBuf>> {
        // With what shows it.
        self.progress = Box::new(|_| {});
        let counted = self.counted.clone();
        // Whoever does not wait for it does not want it.
        let _ = counted.send(*self);
        Ok(None)
    }

    fn is_needed(&self) -> bool {
        self.needed
    }
}

/// What is said when a run is over.
pub struct Report {
    tally: Tally,
    meters: Vec<Arc<Meter>>,
    seconds: f64,
}

impl Report {
    /// A report of what was counted and measured, as of now.
    pub fn new(tally: Tally, mut meters: Vec<Arc<Meter>>) -> Self {
        // Counting is no step of the work, and what was never measured needs no line.
        meters.retain(|meter| meter.name() != "summary" && (meter.name() != "age" || meter.count() > 0));
        Self { seconds: tally.start.elapsed().as_secs_f64(), tally, meters }
    }

    /// How many frames were read.
    pub fn frames(&self) -> u64 {
        self.tally.frames
    }

    /// What was seen and what was written, in a few lines.
    pub fn summary(&self, written: &[PathBuf]) -> Vec<String> {
        const MOST_FACES: usize = 5;
        let Self { tally, seconds, .. } = self;
        let span = tally.last.saturating_sub(tally.first.unwrap_or_default()).as_secs_f64();
        let courses = tally.timeline.courses();
        let mut lines = vec![format!(
            "read {} {} ({span:.1} s of video) in {seconds:.1} s, {:.1} frames/s: {} {}",
            tally.frames,
            plural(tally.frames, "frame"),
            tally.frames as f64 / seconds,
            courses.len(),
            plural(courses.len() as u64, "face"),
        )];
        if span == 0.0 {
            // Independent pictures have no course of time.
            lines[0] = format!(
                "read {} {} in {seconds:.1} s: {} {}",
                tally.frames,
                plural(tally.frames, "picture"),
                tally.faces,
                plural(tally.faces, "face")
            );
        } else {
            for course in courses.iter().take(MOST_FACES) {
                let own = tally.own.get(&course.track).map_or(String::new(), |since| {
                    format!("; read against its own neutral from {:.1} s on", since.as_secs_f64())
                });
                lines.push(format!(
                    "face {}: {}{own}",
                    course.track,
                    words(&tally.timeline.segments(course))
                ));
            }
            if courses.len() > MOST_FACES {
                lines.push(format!("and {} more faces", courses.len() - MOST_FACES));
            }
        }
        if !written.is_empty() {
            let names: Vec<_> = written.iter().map(|path| path.display().to_string()).collect();
            lines.push(format!("wrote {}", names.join(", ")));
        }
        lines
    }

    /// How long each step took, what was dropped, and the memory; `first_shown` is from the beginning of the run to the
    /// first frame in its window.
    pub fn stats(&self, format: StatsFormat, first_shown: Option<Duration>) -> String {
        let Self { tally: Tally { frames, faces, dropped, .. }, meters, seconds } = self;
        let first_shown = first_shown.map(|first| first.as_secs_f64());
        let rate = *frames as f64 / seconds.max(1e-9);
        let memory = peak_memory();
        let ms = |meter: &Meter, share| meter.quantile(share).as_secs_f64() * 1e3;
        match format {
            StatsFormat::Json => {
                let stages: Vec<_> = meters
                    .iter()
                    .map(|m| json!({"name": m.name(), "count": m.count(), "median_ms": ms(m, 0.5), "p95_ms": ms(m, 0.95)}))
                    .collect();
                json!({
                    "frames": frames, "faces": faces, "dropped": dropped, "seconds": seconds,
                    "frames_per_second": rate, "first_shown_seconds": first_shown,
                    "peak_memory_bytes": memory, "stages": stages,
                })
                .to_string()
            }
            StatsFormat::Text => {
                let mut text = String::from("step       median ms    p95 ms\n");
                for meter in meters {
                    let _ =
                        writeln!(text, "{:10} {:9.2} {:9.2}", meter.name(), ms(meter, 0.5), ms(meter, 0.95));
                }
                if let Some(first) = first_shown {
                    let _ = writeln!(text, "first frame shown after {first:.2} s");
                }
                let _ = write!(
                    text,
                    "{frames} frames, {dropped} dropped, {faces} faces, {rate:.1} frames/s, peak memory {}",
                    memory.map_or("unknown".into(), |bytes| format!("{:.0} MB", bytes as f64 / 1e6)),
                );
                text
            }
        }
    }
}

fn plural(count: u64, word: &str) -> String {
    if count == 1 { word.to_owned() } else { format!("{word}s") }
}

/// The most memory that this process has had, in bytes; known on Linux only.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}
