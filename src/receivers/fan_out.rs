//! Shares the readings of a stream among receivers, each with a queue and a thread of its own.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam::channel::{self, RecvTimeoutError, Sender, TrySendError, bounded};

use super::Receiver;
use crate::error::{Context, Result};
use crate::flow::{Delivery, Meter, broken, send_newest};
use crate::reading::Reading;

/// How many readings of a camera may wait for a receiver that wants every one: half a second at 30 frames/s.
const PATIENCE: usize = 16;

/// Receivers that wait for readings.
pub struct FanOut {
    source: Delivery,
    outlets: Vec<Outlet>,
    workers: Vec<Worker>,
}

/// A receiver, its queue, and what it is called.
struct Worker {
    name: &'static str,
    receiver: Box<dyn Receiver + Send>,
    queue: Queue,
    meter: Arc<Meter>,
}

/// What became of a receiver.
#[derive(Debug)]
pub struct Finished {
    /// What it is called.
    pub name: &'static str,
    /// What it has written, if it writes files, or what went wrong.
    pub outcome: Result<Option<PathBuf>>,
    /// How many readings passed it by, although it wanted every one, because it was too slow for a camera.
    pub missed: u64,
}

/// What became of a stream of readings and of those who took them.
#[derive(Debug)]
pub struct Ended {
    /// How many readings there were.
    pub readings: u64,
    /// Whether the stream failed.
    pub outcome: Result<()>,
    /// The receivers, in the order in which they were added.
    pub receivers: Vec<Finished>,
}

impl FanOut {
    /// Nobody yet. `source` is how the readings are made: those of a camera ([`Delivery::Latest`]) wait for nobody.
    pub fn new(source: Delivery) -> Self {
        Self { source, outlets: Vec::new(), workers: Vec::new() }
    }

    /// Adds a receiver. One that wants every reading slows a file down to its own pace, but not a camera: there it
    /// misses some, and how many is told. One that wants the latest slows nothing.
    pub fn add(&mut self, name: &'static str, delivery: Delivery, receiver: impl Receiver + Send + 'static) {
        let queue = self.queue(delivery, receiver.is_needed());
        let meter = Arc::new(Meter::new(name));
        self.workers.push(Worker { name, receiver: Box::new(receiver), queue, meter });
    }

    /// A queue of readings for somebody who takes them on a thread that exists already: a window, on the main one.
    pub fn tap(&mut self, delivery: Delivery) -> Queue {
        self.queue(delivery, true)
    }

    fn queue(&mut self, delivery: Delivery, needed: bool) -> Queue {
        let slots = match (delivery, self.source) {
            (Delivery::Every, Delivery::Latest) => PATIENCE,
            _ => 1,
        };
        let (to, readings) = bounded(slots);
        let when_full = match (delivery, self.source) {
            (Delivery::Latest, _) => WhenFull::Replace(readings.clone()),
            (Delivery::Every, Delivery::Latest) => WhenFull::Miss,
            (Delivery::Every, Delivery::Every) => WhenFull::Wait,
        };
        let (open, missed) = (Arc::new(()), Arc::default());
        let wanted = Arc::downgrade(&open);
        self.outlets.push(Outlet { to, when_full, wanted, needed, missed: Arc::clone(&missed) });
        Queue { readings, missed, _open: open }
    }

    /// How long each receiver that was added takes over a reading.
    pub fn meters(&self) -> Vec<Arc<Meter>> {
        self.workers.iter().map(|worker| worker.meter.clone()).collect()
    }

    /// Begins to share readings. They end with the last of them, with an error, or when nobody needs them any more;
    /// then `readings` is dropped and everybody finishes.
    ///
    /// # Errors
    /// A system that gives no thread.
    pub fn start(self, readings: impl Iterator<Item = Result<Reading>> + Send + 'static) -> Result<Running> {
        let Self { outlets, workers, .. } = self;
        let start = |name: &str| thread::Builder::new().name(name.into());
        let threads = workers.into_iter().map(|worker| start(worker.name).spawn(move || worker.run()));
        let threads = threads.collect::<Result<_, _>>().context("the system gives no thread")?;
        let sharing = start("share").spawn(move || share(readings, outlets));
        Ok(Running { sharing: sharing.context("the system gives no thread")?, threads })
    }
}

/// Readings being shared.
pub struct Running {
    sharing: JoinHandle<(u64, Result<()>)>,
    threads: Vec<JoinHandle<Finished>>,
}

impl Running {
    /// Waits until the readings have ended and everybody has finished.
    pub fn finish(self) -> Ended {
        let (readings, outcome) =
            self.sharing.join().unwrap_or_else(|_| (0, Err(broken("source of readings"))));
        // What panics in a worker is caught there.
        let receivers = self.threads.into_iter().filter_map(|thread| thread.join().ok());
        Ended { readings, outcome, receivers: receivers.collect() }
    }
}

/// Gives every reading to everybody. Returns how many there were, and whether they failed.
fn share(readings: impl Iterator<Item = Result<Reading>>, mut outlets: Vec<Outlet>) -> (u64, Result<()>) {
    let mut count = 0;
    for reading in readings {
        match reading.map(Arc::new) {
            Ok(reading) => outlets.retain(|outlet| outlet.send(&reading)),
            Err(error) => return (count, Err(error)),
        }
        count += 1;
        if !outlets.iter().any(|outlet| outlet.needed) {
            break;
        }
    }
    (count, Ok(()))
}

/// The way to one receiver.
struct Outlet {
    to: Sender<Arc<Reading>>,
    when_full: WhenFull,
    wanted: Weak<()>,
    needed: bool,
    missed: Arc<AtomicU64>,
}

/// What happens to a reading when the receiver still has others to take.
enum WhenFull {
    /// It waits, and with it whoever makes readings.
    Wait,
    /// The receiver misses it.
    Miss,
    /// It takes the place of the one that waits here.
    Replace(channel::Receiver<Arc<Reading>>),
}

impl Outlet {
    /// Sends a reading; false when nobody wants any more.
    fn send(&self, reading: &Arc<Reading>) -> bool {
        let reading = reading.clone();
        match &self.when_full {
            WhenFull::Wait => return self.to.send(reading).is_ok(),
            WhenFull::Miss => {
                if let Err(TrySendError::Full(_)) = self.to.try_send(reading) {
                    self.missed.fetch_add(1, Ordering::Relaxed);
                }
            }
            WhenFull::Replace(evictor) => send_newest(reading, &self.to, evictor),
        }
        self.wanted.strong_count() > 0
    }
}

/// The readings that wait for a receiver. Dropped, it asks for no more.
pub struct Queue {
    readings: channel::Receiver<Arc<Reading>>,
    missed: Arc<AtomicU64>,
    _open: Arc<()>,
}

/// What there is in a [`Queue`].
pub enum Next {
    /// A reading.
    Reading(Arc<Reading>),
    /// Nothing yet.
    Nothing,
    /// The readings have ended.
    End,
}

impl Queue {
    /// The next reading, if there is one within `patience`.
    pub fn next_within(&self, patience: Duration) -> Next {
        match self.readings.recv_timeout(patience) {
            Ok(reading) => Next::Reading(reading),
            Err(RecvTimeoutError::Timeout) => Next::Nothing,
            Err(RecvTimeoutError::Disconnected) => Next::End,
        }
    }
}

impl Worker {
    fn run(self) -> Finished {
        let Self { name, mut receiver, queue, meter } = self;
        let missed = queue.missed.clone();
        let work = move || {
            let mut begun = false;
            while let Ok(reading) = queue.readings.recv() {
                begun = true;
                if meter.time(|| receiver.take(&reading))?.is_break() {
                    break;
                }
            }
            // Nobody waits for one that is finishing.
            drop(queue);
            // Without a single reading there is nothing to complete.
            if begun { receiver.finish() } else { Ok(None) }
        };
        let outcome = catch_unwind(AssertUnwindSafe(work));
        let outcome = outcome.unwrap_or_else(|_| Err(broken(&format!("receiver '{name}'"))));
        Finished { name, outcome, missed: missed.load(Ordering::Relaxed) }
    }
}

#[cfg(test)]
mod tests {
    use std::ops::ControlFlow;
    use std::sync::Mutex;
    use std::time::Instant;

    use super::*;
    use crate::error::Error;
    use crate::flow;
    use crate::frame::{Frame, Image};

    fn reading(index: u64) -> Reading {
        let image = Image::filled(1, 1, [0; 3]);
        let frame = Frame { image, source: "test".into(), index, time: Duration::from_millis(index * 10) };
        Reading { frame, faces: vec![], whereabouts: vec![] }
    }

    /// Notes which frames it has taken, and at the end that it finished.
    struct Notes {
        seen: Arc<Mutex<Vec<u64>>>,
        /// What else it does with a reading.
        act: Box<dyn FnMut(u64) -> Result<ControlFlow<()>> + Send>,
        needed: bool,
    }

    const FINISHED: u64 = u64::MAX;

    impl Receiver for Notes {
        fn take(&mut self, reading: &Arc<Reading>) -> Result<ControlFlow<()>> {
            self.seen.lock().unwrap().push(reading.frame.index);
            (self.act)(reading.frame.index)
        }

        fn finish(self: Box<Self>) -> Result<Option<PathBuf>> {
            self.seen.lock().unwrap().push(FINISHED);
            Ok(Some("notes".into()))
        }

        fn is_needed(&self) -> bool {
            self.needed
        }
    }

    type Seen = Arc<Mutex<Vec<u64>>>;

    fn notes(act: impl FnMut(u64) -> Result<ControlFlow<()>> + Send + 'static) -> (Seen, Notes) {
        let seen = Seen::default();
        (seen.clone(), Notes { seen, act: Box::new(act), needed: true })
    }

    fn quick(_: u64) -> Result<ControlFlow<()>> {
        Ok(ControlFlow::Continue(()))
    }

    fn slow(ms: u64) -> impl FnMut(u64) -> Result<ControlFlow<()>> + Send {
        move |_| {
            thread::sleep(Duration::from_millis(ms));
            Ok(ControlFlow::Continue(()))
        }
    }

    fn whole(count: u64) -> Vec<u64> {
        (0..count).chain([FINISHED]).collect()
    }

    #[test]
    fn of_a_file_everybody_has_every_reading_or_the_newest() {
        let mut fan = FanOut::new(Delivery::Every);
        let ((a, first), (b, second), (c, third)) = (notes(quick), notes(slow(2)), notes(slow(20)));
        fan.add("quick", Delivery::Every, first);
        fan.add("slow", Delivery::Every, second);
        fan.add("newest", Delivery::Latest, third);
        let ended = fan.start((0..100).map(|n| Ok(reading(n)))).unwrap().finish();
        assert!(ended.readings == 100 && ended.outcome.is_ok());
        assert_eq!((&*a.lock().unwrap(), &*b.lock().unwrap()), (&whole(100), &whole(100)));
        let newest = c.lock().unwrap();
        assert!(newest.len() < 60 && newest.ends_with(&[99, FINISHED]), "{newest:?}");
        assert!(ended.receivers.iter().all(|r| r.missed == 0 && r.outcome.as_ref().unwrap().is_some()));
    }

    #[test]
    fn a_camera_waits_for_nobody_and_what_was_missed_is_counted() {
        let mut fan = FanOut::new(Delivery::Latest);
        let ((slow_seen, first), (quick_seen, second)) = (notes(slow(50)), notes(quick));
        fan.add("slow", Delivery::Every, first);
        fan.add("quick", Delivery::Every, second);
        let view = fan.tap(Delivery::Latest);
        let start = Instant::now();
        let running = fan.start((0..200).map(|n| {
            thread::sleep(Duration::from_millis(1));
            Ok(reading(n))
        }));
        // Somebody who looks now and then sees the present.
        let mut last = 0;
        while !matches!(view.next_within(Duration::from_millis(500)), Next::End) {
            last = start.elapsed().as_millis();
        }
        assert!(last < 2000, "{last} ms: the slow one held up the camera");
        let ended = running.unwrap().finish();
        let quick_seen = quick_seen.lock().unwrap();
        let slow_seen = slow_seen.lock().unwrap();
        let taken = slow_seen.len() as u64 - 1;
        // On a busy machine the quick one misses some as well.
        assert!(quick_seen.len() > 100 && quick_seen.windows(2).all(|w| w[0] < w[1]), "{quick_seen:?}");
        assert!(taken < 100 && slow_seen.windows(2).all(|w| w[0] < w[1]), "{slow_seen:?}");
        let quick_missed = 200 - (quick_seen.len() as u64 - 1);
        assert_eq!([0, 1].map(|n| ended.receivers[n].missed), [200 - taken, quick_missed]);
    }

    #[test]
    fn who_fails_or_panics_is_named_and_the_others_finish() {
        let mut fan = FanOut::new(Delivery::Every);
        let (seen, well) = notes(quick);
        let (failed, failing) =
            notes(|n| if n < 3 { quick(n) } else { Err(Error::new("the disk of 'fails' is full")) });
        let (_, panicking) = notes(|n| if n < 5 { quick(n) } else { panic!("on purpose") });
        fan.add("panics", Delivery::Every, panicking);
        fan.add("fails", Delivery::Every, failing);
        fan.add("well", Delivery::Every, well);
        let ended = fan.start((0..50).map(|n| Ok(reading(n)))).unwrap().finish();
        let line = |n: usize| ended.receivers[n].outcome.as_ref().unwrap_err().line();
        assert!(line(0).contains("'panics'") && line(0).contains("fault of the program"), "{}", line(0));
        assert!(line(1).contains("'fails'"));
        assert_eq!(*failed.lock().unwrap(), [0, 1, 2, 3], "it was asked for more");
        assert_eq!(*seen.lock().unwrap(), whole(50));
        assert!(ended.receivers[2].outcome.is_ok());
    }

    #[test]
    fn readings_end_when_nobody_needs_them() {
        let mut fan = FanOut::new(Delivery::Every);
        let enough =
            |at| move |n| Ok(if n < at { ControlFlow::Continue(()) } else { ControlFlow::Break(()) });
        let ((a, early), (b, late), (c, aside)) = (notes(enough(3)), notes(enough(9)), notes(quick));
        fan.add("early", Delivery::Every, early);
        fan.add("late", Delivery::Every, late);
        fan.add("aside", Delivery::Every, Notes { needed: false, ..aside });
        let ended = fan.start((0..).map(|n| Ok(reading(n)))).unwrap().finish();
        assert!(ended.outcome.is_ok());
        assert_eq!((&*a.lock().unwrap(), &*b.lock().unwrap()), (&whole(4), &whole(10)));
        assert!(c.lock().unwrap().len() as u64 == ended.readings + 1);
    }

    #[test]
    fn a_failing_source_is_told_and_everybody_finishes_what_there_is() {
        for count in [0, 4] {
            let mut fan = FanOut::new(Delivery::Every);
            let (seen, well) = notes(quick);
            fan.add("well", Delivery::Every, well);
            let failing = (0..count).map(|n| Ok(reading(n))).chain([Err(Error::new("torn"))]);
            let ended = fan.start(flow::source("count", Delivery::Every, failing)).unwrap().finish();
            assert_eq!(ended.outcome.unwrap_err().line(), "torn");
            let expected = if count == 0 { vec![] } else { whole(count) };
            assert_eq!(*seen.lock().unwrap(), expected, "without a reading there is nothing to finish");
        }
    }
}
