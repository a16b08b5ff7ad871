//! One pool of threads for all kernels, sized once. Idle threads sleep.

use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::Tensor;
use rayon::prelude::*;

use super::shape::is_fast;
use crate::error::{Error, Result};

/// Multiply-adds that are done before another thread is awake: some ten microseconds.
const ALONE: usize = 500_000;

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

/// What a network makes of pictures (batch, ...), one picture at a time on each thread: some tensors (batch, ...).
///
/// What one layer has written is then still in the cache when the next one reads it. That pays where the weights, which
/// each picture reads again, are small beside what the layers write; elsewhere, and on other devices, a batch should
/// go through the layers as a whole.
///
/// # Errors
/// What the network says.
pub fn one_by_one<const N: usize>(
    pictures: &Tensor,
    net: impl Fn(&Tensor) -> Result<[Tensor; N]> + Sync,
) -> Result<[Tensor; N]> {
    let batch = pictures.dim(0)?;
    if batch <= 1 || !is_fast(pictures) {
        return net(pictures);
    }
    let each = (0..batch).into_par_iter().map(|n| net(&pictures.narrow(0, n, 1)?));
    let each = each.collect::<Result<Vec<_>>>()?;
    let of_all = |i: usize| Tensor::cat(&each.iter().map(|one| &one[i]).collect::<Vec<_>>(), 0);
    let all = (0..N).map(of_all).collect::<candle_core::Result<Vec<_>>>()?;
    all.try_into().map_err(|_| Error::new("a network lost some of its outputs"))
}

/// Into how many jobs a work of so many multiply-adds should be cut: one where waking another thread would take longer,
/// else so many that all threads end at the same time.
pub(super) fn jobs(multiply_adds: usize) -> usize {
    match rayon::current_num_threads() {
        1 => 1,
        _ if multiply_adds < ALONE => 1,
        threads => 4 * threads,
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    #[test]
    fn pictures_that_go_one_by_one_come_back_in_their_order() {
        let pictures = Tensor::arange(0f32, 60.0, &Device::Cpu).unwrap().reshape((5, 3, 4)).unwrap();
        for pictures in
            [&pictures, &pictures.to_dtype(DType::F64).unwrap(), &pictures.narrow(0, 0, 0).unwrap()]
        {
            let sums = |x: &Tensor| Ok([x.sum(2)?, x.sum(1)?]);
            let numbers = |sums: [Tensor; 2]| {
                sums.map(|sums| sums.to_dtype(DType::F64).unwrap().to_vec2::<f64>().unwrap())
            };
            assert_eq!(numbers(one_by_one(pictures, sums).unwrap()), numbers(sums(pictures).unwrap()));
        }
        let refused = one_by_one(&pictures, |x| match x.to_vec3::<f32>()?[0][0][0] {
            36.0 => Err(Error::new("the fourth is refused")),
            _ => Ok([x.clone()]),
        });
        assert!(refused.unwrap_err().line().contains("the fourth"));
    }
}
