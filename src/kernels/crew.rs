//! Threads that stay awake from one layer of a network to the next.
//!
//! A small layer takes less time than waking a sleeping thread. So whoever helped with one layer looks for the next one for a
//! moment before it goes back to the pool, where it does other work or sleeps.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

/// How long a helper looks for the next layer.
const LINGER: Duration = Duration::from_micros(50);

/// Jobs 0 .. `jobs`; whoever is free takes the next one.
struct Layer<'a> {
    work: &'a (dyn Fn(usize) + Sync),
    jobs: usize,
    next: AtomicUsize,
}

impl Layer<'_> {
    fn run(&self) {
        while let Some(job) = Some(self.next.fetch_add(1, SeqCst)).filter(|&job| job < self.jobs) {
            (self.work)(job);
        }
    }
}

/// The helpers of one computation.
#[derive(Default)]
struct Crew {
    /// What is to be done; null between layers. Only the thread that computes sets it.
    layer: AtomicPtr<Layer<'static>>,
    /// Helpers that may hold the layer.
    inside: AtomicUsize,
    /// Helpers that have been called and have not left.
    helpers: AtomicUsize,
    over: AtomicBool,
}

/// The computation that a thread is in the midst of.
#[derive(Clone, Copy)]
struct Current {
    crew: *const Crew,
    /// Calls a helper.
    call: *const (dyn Fn() + 'static),
}

thread_local! {
    static CURRENT: Cell<Option<Current>> = const { Cell::new(None) };
}

/// Runs a computation on the pool, with helpers for whatever it gives to [`each`].
pub(super) fn compute<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    if CURRENT.get().is_some() {
        return work();
    }
    let crew = Crew::default();
    rayon::scope(|scope| {
        let crew = &crew;
        let call = || scope.spawn(move |_| crew.help());
        let call: *const (dyn Fn() + '_) = &call;
        // SAFETY: both are used by this thread only, until `_end` below is dropped, which is before they are.
        let call =
            unsafe { std::mem::transmute::<*const (dyn Fn() + '_), *const (dyn Fn() + 'static)>(call) };
        CURRENT.set(Some(Current { crew, call }));
        let _end = End(crew);
        work()
    })
}

/// Ends a computation, also one that panics.
struct End<'a>(&'a Crew);

impl Drop for End<'_> {
    fn drop(&mut self) {
        CURRENT.set(None);
        self.0.over.store(true, SeqCst);
    }
}

/// Runs `work` for 0 .. `jobs` with the helpers of this thread's computation; false if it has none.
pub(super) fn each(jobs: usize, work: &(dyn Fn(usize) + Sync)) -> bool {
    let Some(current) = CURRENT.get() else { return false };
    // SAFETY: they live while they are current.
    let (crew, call) = unsafe { (&*current.crew, &*current.call) };
    if !crew.layer.load(SeqCst).is_null() {
        // A layer within a layer.
        (0..jobs).for_each(work);
        return true;
    }
    let wanted = rayon::current_num_threads().min(jobs).saturating_sub(1);
    while crew.helpers.load(SeqCst) < wanted {
        crew.helpers.fetch_add(1, SeqCst);
        call();
    }
    let layer = Layer { work, jobs, next: AtomicUsize::new(0) };
    let _taken_back = TakenBack(crew);
    crew.layer.store(std::ptr::from_ref(&layer).cast_mut().cast(), SeqCst);
    layer.run();
    true
}

/// Takes the layer back, and waits until nobody holds it.
struct TakenBack<'a>(&'a Crew);

impl Drop for TakenBack<'_> {
    fn drop(&mut self) {
        self.0.layer.store(std::ptr::null_mut(), SeqCst);
        let mut turns = 0u32;
        while self.0.inside.load(SeqCst) > 0 {
            turns += 1;
            // The helper may have lost its processor.
            if turns.is_multiple_of(1024) { std::thread::yield_now() } else { std::hint::spin_loop() }
        }
    }
}

impl Crew {
    /// Helps with layers until there has been none for a while.
    fn help(&self) {
        struct Leave<'a>(&'a AtomicUsize);
        impl Drop for Leave<'_> {
            fn drop(&mut self) {
                self.0.fetch_sub(1, SeqCst);
            }
        }
        let _leave = Leave(&self.helpers);
        // The thread that computes comes here when it waits for something else; it must not wait for itself.
        if CURRENT.get().is_some_and(|current| std::ptr::eq(current.crew, self)) {
            return;
        }
        let mut since = Instant::now();
        while !self.over.load(SeqCst) && since.elapsed() < LINGER {
            if self.layer.load(SeqCst).is_null() {
                std::hint::spin_loop();
                continue;
            }
            self.inside.fetch_add(1, SeqCst);
            let _leave = Leave(&self.inside);
            // SAFETY: whoever set it waits, after taking it back, until nobody is inside; and it is loaded inside.
            if let Some(layer) = unsafe { self.layer.load(SeqCst).as_ref() } {
                layer.run();
                since = Instant::now();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The sum of 0 .. n, by jobs that each add their number.
    fn sum(n: usize) -> usize {
        let sum = AtomicUsize::new(0);
        let add = |job: usize| {
            sum.fetch_add(job, SeqCst);
        };
        if !each(n, &add) {
            (0..n).for_each(add);
        }
        sum.into_inner()
    }

    #[test]
    fn every_job_is_done_once_however_many_compute_at_once() {
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for round in 0..300 {
                        let sums = compute(|| (1..40).map(sum).collect::<Vec<_>>());
                        assert!(sums.iter().zip(1..40).all(|(&sum, n)| sum == n * (n - 1) / 2), "{round}");
                    }
                });
            }
        });
    }

    #[test]
    fn a_layer_within_a_layer_and_a_computation_within_a_computation_are_done() {
        let total = AtomicUsize::new(0);
        compute(|| {
            each(8, &|_| {
                total.fetch_add(compute(|| sum(10)), SeqCst);
            });
            // The pool's own ways of waiting.
            let (a, b) = rayon::join(|| sum(10), || compute(|| sum(10)));
            total.fetch_add(a + b, SeqCst);
        });
        assert_eq!(total.into_inner(), 10 * 45);
    }

    #[test]
    fn a_panic_ends_the_computation_and_not_the_next_one() {
        for bad in [0, 7] {
            let panics = std::panic::catch_unwind(|| {
                compute(|| each(8, &|job| assert_ne!(job, bad)));
            });
            assert!(panics.is_err());
        }
        assert_eq!(compute(|| sum(20)), 190);
    }
}
