//! What is said about a run: a summary, and how long each step took.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

use lanet_live::flow::{Meter, Stream};
use lanet_live::reader::Reading;
use lanet_live::timeline::{Timeline, words};
use serde_json::json;

use super::StatsFormat;

/// Counts while the run goes on, and speaks when it is over.
pub struct Report {
    meters: Vec<Arc<Meter>>,
    /// Whether numbers that are missing between two frames are frames that were dropped.
    live: bool,
    dropped: u64,
    expected: Option<u64>,
    start: Instant,
    frames: u64,
    faces: u64,
    tracks: BTreeSet<u64>,
    first: Option<Duration>,
    last: Duration,
    timeline: Timeline,
}

impl Report {
    /// Begins to count what comes from `readings`.
    pub fn new(readings: &Stream<Reading>, live: bool) -> Self {
        Self {
            meters: readings.meters(),
            live,
            dropped: 0,
            expected: None,
            start: Instant::now(),
            frames: 0,
            faces: 0,
            tracks: BTreeSet::new(),
            first: None,
            last: Duration::ZERO,
            timeline: Timeline::default(),
        }
    }

    /// Counts one reading.
    pub fn note(&mut self, reading: &Reading) {
        self.frames += 1;
        if self.live {
            let index = reading.frame.index;
            self.dropped += index.saturating_sub(self.expected.unwrap_or(index));
            self.expected = Some(index + 1);
        }
        self.faces += reading.faces.len() as u64;
        self.first.get_or_insert(reading.frame.time);
        self.last = reading.frame.time;
        for face in &reading.faces {
            self.tracks.insert(face.face.track);
            self.timeline.note(face.face.track, reading.frame.time, &face.probabilities);
        }
    }

    /// Times a step of the sink.
    pub fn time<R>(&mut self, name: &'static str, work: impl FnOnce() -> R) -> R {
        let found = self.meters.iter().position(|meter| meter.name() == name);
        let place = found.unwrap_or_else(|| {
            self.meters.push(Arc::new(Meter::new(name)));
            self.meters.len() - 1
        });
        self.meters[place].time(work)
    }

    /// How many frames were read.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// The expressions over time.
    pub fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    /// What was seen and what was written, in a few lines.
    pub fn summary(&self, written: &[String]) -> Vec<String> {
        const MOST_FACES: usize = 5;
        let seconds = self.start.elapsed().as_secs_f64();
        let span = self.last.saturating_sub(self.first.unwrap_or_default()).as_secs_f64();
        let people = self.tracks.len();
        let mut lines = vec![format!(
            "read {} {} ({span:.1} s of video) in {seconds:.1} s, {:.1} frames/s: {people} {}",
            self.frames,
            plural(self.frames, "frame"),
            self.frames as f64 / seconds,
            plural(people as u64, "face"),
        )];
        if span == 0.0 {
            // Independent pictures have no course of time.
            lines[0] = format!(
                "read {} {} in {seconds:.1} s: {} {}",
                self.frames,
                plural(self.frames, "picture"),
                self.faces,
                plural(self.faces, "face")
            );
        } else {
            for track in self.timeline.tracks().into_iter().take(MOST_FACES) {
                lines.push(format!("face {track}: {}", words(&self.timeline.segments(track))));
            }
            if people > MOST_FACES {
                lines.push(format!("and {} more faces", people - MOST_FACES));
            }
        }
        if !written.is_empty() {
            lines.push(format!("wrote {}", written.join(", ")));
        }
        lines
    }

    /// How long each step took, what was dropped, and the memory.
    pub fn stats(&self, format: StatsFormat) -> String {
        let seconds = self.start.elapsed().as_secs_f64();
        let rate = self.frames as f64 / seconds.max(1e-9);
        let dropped = self.dropped;
        let memory = peak_memory();
        let ms = |meter: &Meter, share| meter.quantile(share).as_secs_f64() * 1e3;
        match format {
            StatsFormat::Json => {
                let stages: Vec<_> = self
                    .meters
                    .iter()
                    .map(|m| json!({"name": m.name(), "count": m.count(), "median_ms": ms(m, 0.5), "p95_ms": ms(m, 0.95)}))
                    .collect();
                json!({
                    "frames": self.frames, "faces": self.faces, "dropped": dropped, "seconds": seconds,
                    "frames_per_second": rate, "peak_memory_bytes": memory, "stages": stages,
                })
                .to_string()
            }
            StatsFormat::Text => {
                let mut text = String::from("step       median ms    p95 ms\n");
                for meter in &self.meters {
                    let _ =
                        writeln!(text, "{:10} {:9.2} {:9.2}", meter.name(), ms(meter, 0.5), ms(meter, 0.95));
                }
                let _ = write!(
                    text,
                    "{} frames, {dropped} dropped, {} faces, {rate:.1} frames/s, peak memory {}",
                    self.frames,
                    self.faces,
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
