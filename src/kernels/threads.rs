//! One pool of threads for all kernels, sized once. Idle threads sleep.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Error, Result};

/// Sets how many threads compute; the first call counts, and must come before the first computation.
///
/// # Errors
/// The pool runs already, or the machine has no more threads.
pub fn threads(count: usize) -> Result<()> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(count)
        .thread_name(|n| format!("compute-{n}"))
        .build_global()
        .map_err(|error| Error::new(format!("{count} computing threads cannot be started")).because(error))
}

/// Runs a whole network on the pool, so that not every layer has to change threads.
pub fn together<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    if rayon::current_num_threads() == 1 && rayon::current_thread_index().is_none() {
        return work();
    }
    rayon::scope(|_| work())
}

/// Runs `work` for 0 .. `jobs` on all threads; each takes the next one when it is free.
pub(super) fn each(jobs: usize, work: impl Fn(usize) + Sync) {
    let helpers = rayon::current_num_threads().min(jobs);
    if helpers <= 1 {
        return (0..jobs).for_each(work);
    }
    let next = AtomicUsize::new(0);
    fan_out(helpers, &|| {
        while let Some(job) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|&job| job < jobs) {
            work(job);
        }
    });
}

fn fan_out(helpers: usize, work: &(impl Fn() + Sync)) {
    if helpers <= 1 {
        return work();
    }
    rayon::join(|| fan_out(helpers / 2, work), || fan_out(helpers - helpers / 2, work));
}
