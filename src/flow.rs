//! Streams of values, and steps that work on them on threads of their own.
//!
//! A [`Stream`] is an iterator of results. [`source`] puts an iterator on a thread, [`Stream::stage`] a step;
//! whoever iterates is the sink. Channels are bounded, an error is the last item of its stream, and dropping
//! a stream stops everything upstream of it and waits for it.

use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, TrySendError, bounded};

use crate::error::{Error, Result};

/// What is done with items that nobody takes as fast as they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Their maker waits: every item arrives (files).
    Every,
    /// The older item is dropped: the newest arrives (cameras).
    Latest,
}

impl Delivery {
    /// How many items may wait between two stages. For cameras none, so that what is shown is young;
    /// for files one, so that no stage waits for another.
    fn slots(self) -> usize {
        match self {
            Self::Every => 1,
            Self::Latest => 0,
        }
    }
}

/// How soon a step that waits for an item sees that none is wanted any more.
const GLANCE: Duration = Duration::from_millis(20);
/// How long a stream that is dropped waits for its threads. One that waits for a silent camera or network does not
/// hold up whoever drops it, and ends when that wait does.
const FAREWELL: Duration = Duration::from_millis(200);

/// Items from a thread upstream.
pub struct Stream<T> {
    // In the order of what happens when it is dropped: no more is taken, no more is wanted, the threads end.
    items: Items<T>,
    /// Held by the last stream only: while it lives, somebody wants the items.
    wanted: Arc<()>,
    threads: Threads,
    delivery: Delivery,
    meters: Vec<Arc<Meter>>,
}

/// What comes through a channel, until an error, the end, or until no more is wanted.
struct Items<T> {
    channel: Receiver<Result<T>>,
    unwanted: Box<dyn Fn() -> bool + Send>,
    ended: bool,
}

impl<T> Iterator for Items<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut item = None;
        while !self.ended && item.is_none() {
            match self.channel.recv_timeout(GLANCE) {
                _ if (self.unwanted)() => self.ended = true,
                Ok(next) => item = Some(next),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => self.ended = true,
            }
        }
        self.ended |= matches!(item, Some(Err(_)));
        item
    }
}

/// Runs an iterator on a thread of its own. It ends with the first error.
pub fn source<T, I>(name: &'static str, delivery: Delivery, items: I) -> Stream<T>
where
    T: Send + 'static,
    I: Iterator<Item = Result<T>> + Send + 'static,
{
    // A slot for the newest item is needed even where none may wait: nobody is blocked by it.
    let (sender, channel) = bounded(1);
    let meter = Arc::new(Meter::new(name));
    let wanted = Arc::new(());
    let (clock, still_wanted) = (meter.clone(), Arc::downgrade(&wanted));
    let evictor = channel.clone();
    let mut threads = Threads::default();
    threads.start(name, sender, move |sender| {
        // The source's own receiver would keep the channel open, so only an evicting source holds one.
        let evictor = (delivery == Delivery::Latest).then_some(evictor);
        let mut items = items;
        while let Some(item) = clock.time(|| items.next()) {
            let last = item.is_err();
            let gone = match &evictor {
                None => sender.send(item).is_err(),
                // An error must arrive, and after the items before it.
                Some(_) if last => {
                    let mut error = item;
                    loop {
                        match sender.send_timeout(error, GLANCE) {
                            Ok(()) => break true,
                            Err(_) if still_wanted.strong_count() == 0 => break true,
                            Err(back) => error = back.into_inner(),
                        }
                    }
                }
                Some(evictor) => {
                    send_newest(item, sender, evictor);
                    still_wanted.strong_count() == 0
                }
            };
            if gone || last {
                break;
            }
        }
    });
    let items = Items { channel, unwanted: Box::new(|| false), ended: false };
    Stream { items, wanted, threads, delivery, meters: vec![meter] }
}

/// Sends an item in the place of the one before, if nobody took that yet.
pub(crate) fn send_newest<T>(item: T, to: &Sender<T>, evictor: &Receiver<T>) {
    let mut newest = item;
    while let Err(TrySendError::Full(back)) = to.try_send(newest) {
        let _ = evictor.try_recv();
        newest = back;
    }
}

/// The threads of a stream, from its source on. Dropped, they are waited for.
#[derive(Default)]
struct Threads(Vec<JoinHandle<()>>);

impl Threads {
    /// Starts a thread that fills `sender`; a panic in it becomes the last item.
    fn start<T: Send + 'static>(
        &mut self,
        name: &'static str,
        sender: Sender<Result<T>>,
        work: impl FnOnce(&Sender<Result<T>>) + Send + 'static,
    ) {
        let body = move || {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| work(&sender)));
            if outcome.is_err() {
                let _ = sender.send(Err(broken(&format!("step '{name}'"))));
            }
        };
        // Only a machine out of threads fails here; then the closed channel ends the stream.
        self.0.extend(thread::Builder::new().name(name.into()).spawn(body));
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        let start = Instant::now();
        for thread in self.0.drain(..) {
            while !thread.is_finished() && start.elapsed() < FAREWELL {
                thread::sleep(Duration::from_millis(1));
            }
            if thread.is_finished() {
                // Its panic, if there was one, was an item.
                let _ = thread.join();
            }
        }
    }
}

/// What is said of something that panicked.
pub(crate) fn broken(what: &str) -> Error {
    Error::new(format!("the {what} broke; this is a fault of the program"))
}

impl<T: Send + 'static> Stream<T> {
    /// Runs `step` on every item, on a thread of its own. After an error it is not called again.
    pub fn stage<U, F>(self, name: &'static str, mut step: F) -> Stream<U>
    where
        U: Send + 'static,
        F: FnMut(T) -> Result<U> + Send + 'static,
    {
        let Self { items, wanted, mut threads, delivery, mut meters } = self;
        let (sender, channel) = bounded(delivery.slots());
        let meter = Arc::new(Meter::new(name));
        meters.push(meter.clone());
        let still_wanted = Arc::downgrade(&wanted);
        let unwanted = items.unwanted;
        let gone = move || still_wanted.strong_count() == 0 || unwanted();
        let items = Items { unwanted: Box::new(gone), ..items };
        threads.start(name, sender, move |sender| {
            for item in items {
                let item = item.and_then(|item| meter.time(|| step(item)));
                let last = item.is_err();
                if sender.send(item).is_err() || last {
                    break;
                }
            }
        });
        let items = Items { channel, unwanted: Box::new(|| false), ended: false };
        Stream { items, wanted, threads, delivery, meters }
    }
}

impl<T> Stream<T> {
    /// Ends the stream when `unwanted` says so, also while nothing comes.
    pub fn until(mut self, unwanted: impl Fn() -> bool + Send + 'static) -> Self {
        self.items.unwanted = Box::new(unwanted);
        self
    }

    /// How long each step upstream takes, in order.
    pub fn meters(&self) -> Vec<Arc<Meter>> {
        self.meters.clone()
    }
}

impl<T> Iterator for Stream<T> {
    type Item = Result<T>;

    fn next(&mut self) -> Option<Self::Item> {
        self.items.next()
    }
}

/// How long a step takes: a histogram of fixed size (steps of 5 %), so that a day costs what a second costs.
pub struct Meter {
    name: &'static str,
    counts: Mutex<Vec<u64>>,
}

const SHORTEST: f64 = 1e-6;
const STEP: f64 = 1.05;

impl Meter {
    /// A meter that has measured nothing.
    pub fn new(name: &'static str) -> Self {
        Self { name, counts: Mutex::new(vec![0; 400]) }
    }

    /// The name of the step.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Runs `work` and notes how long it took.
    pub fn time<R>(&self, work: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = work();
        self.note(start.elapsed());
        result
    }

    /// Notes one duration.
    pub fn note(&self, took: Duration) {
        let slot = ((took.as_secs_f64() / SHORTEST).max(1.0).ln() / STEP.ln()) as usize;
        let mut counts = self.counts.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let slot = slot.min(counts.len() - 1);
        counts[slot] += 1;
    }

    /// How many durations were noted.
    pub fn count(&self) -> u64 {
        self.counts.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).iter().sum()
    }

    /// The duration under which the given share (0 to 1) of the noted ones lie, within 2.5 %; zero if none was noted.
    pub fn quantile(&self, share: f64) -> Duration {
        let counts = self.counts.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let total: u64 = counts.iter().sum();
        let mut left = ((total as f64 * share).ceil() as u64).clamp(1, total.max(1));
        for (slot, &count) in counts.iter().enumerate() {
            if count >= left {
                return Duration::from_secs_f64(SHORTEST * STEP.powf(slot as f64 + 0.5));
            }
            left -= count;
        }
        Duration::ZERO
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[test]
    fn every_item_passes_every_stage_in_order() {
        let doubled = source("count", Delivery::Every, (0..1000).map(Ok)).stage("double", |n: u32| Ok(2 * n));
        let sum: Vec<u32> = doubled.map(Result::unwrap).collect();
        assert_eq!(sum, (0..1000).map(|n| 2 * n).collect::<Vec<_>>());
    }

    #[test]
    fn an_error_is_the_last_item() {
        let mut stream = source("count", Delivery::Every, (0..10).map(Ok))
            .stage("fail", |n: u32| if n == 3 { Err(Error::new("three")) } else { Ok(n) })
            .stage("pass", Ok);
        let seen: Vec<_> = stream.by_ref().collect();
        assert_eq!(seen.len(), 4);
        assert!(seen[..3].iter().all(Result::is_ok) && seen[3].is_err());
        assert!(stream.next().is_none());
    }

    #[test]
    fn dropping_a_stream_ends_its_threads() {
        for delivery in [Delivery::Every, Delivery::Latest] {
            let alive = Arc::new(());
            let held = alive.clone();
            let endless = std::iter::repeat_with(move || {
                let _ = &held;
                thread::sleep(Duration::from_millis(5));
                Ok(())
            });
            let step_alive = alive.clone();
            let mut stream = source("endless", delivery, endless).stage("pass", move |()| {
                let _ = &step_alive;
                Ok(())
            });
            assert!(stream.next().is_some());
            drop(stream);
            assert_eq!(Arc::strong_count(&alive), 1, "{delivery:?}: something still runs");
        }
    }

    #[test]
    fn a_silent_source_holds_nobody_up() {
        let silence = std::iter::repeat_with(|| {
            thread::sleep(Duration::from_secs(2));
            Ok(())
        });
        let passed = Arc::new(());
        let held = passed.clone();
        let asked = Instant::now();
        let stream = source("silent", Delivery::Latest, silence).stage("pass", move |()| {
            let _ = &held;
            Ok(())
        });
        assert!(stream.until(move || asked.elapsed() > Duration::from_millis(50)).next().is_none());
        assert!(asked.elapsed() < Duration::from_millis(600), "{:?}", asked.elapsed());
        assert_eq!(Arc::strong_count(&passed), 1, "the step still waits");
    }

    #[test]
    fn latest_drops_the_older_items_and_still_delivers_the_error() {
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let items = std::iter::repeat_with(move || {
            thread::sleep(Duration::from_millis(2));
            match count.fetch_add(1, Ordering::SeqCst) {
                n if n < 100 => Ok(n),
                _ => Err(Error::new("unplugged")),
            }
        });
        let stream = source("camera", Delivery::Latest, items);
        let slow: Vec<_> = stream.inspect(|_| thread::sleep(Duration::from_millis(20))).collect();
        let seen: Vec<usize> = slow.iter().flatten().copied().collect();
        assert!(seen.windows(2).all(|w| w[0] < w[1]));
        // Some 20 of 100, and the newest of all among them.
        assert!(
            (5..50).contains(&seen.len())
                && seen.last().is_some_and(|&n| n > 90)
                && slow.last().unwrap().is_err()
        );
    }

    #[test]
    fn a_panic_is_an_error_and_not_the_end_of_the_program() {
        let mut stream = source("count", Delivery::Every, (0..3).map(Ok)).stage("burst", |n: u32| {
            assert!(n < 1, "on purpose");
            Ok(n)
        });
        assert!(stream.next().unwrap().is_ok());
        assert!(stream.next().unwrap().unwrap_err().line().contains("'burst'"));
    }

    #[test]
    fn quantiles_are_right_within_the_step() {
        let meter = Meter::new("test");
        assert_eq!(meter.quantile(0.5), Duration::ZERO);
        (1..=100).for_each(|ms| meter.note(Duration::from_millis(ms)));
        for (share, ms) in [(0.5, 50.0), (0.95, 95.0)] {
            let found = meter.quantile(share).as_secs_f64() * 1e3;
            assert!((found / ms - 1.0).abs() < 0.05, "{found}");
        }
    }
}
