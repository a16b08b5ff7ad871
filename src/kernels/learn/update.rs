//! Weights and moments that change where they are: one pass over memory on all threads, where Candle's own
//! operations make a new tensor for each step of the formula, on one thread.
//!
//! blend: t = keep t + add s, or with the square of s. descend (Kingma and Ba 2015, arXiv 1412.6980, algorithm 1):
//! w = shrink w - rate m / (sqrt(scale v) + 1e-8).
//!
//! Tensors that are not 32-bit numbers on the CPU take Candle's operations; results differ by rounding only. What changes
//! must be contiguous and have an axis.

use candle_core::{CpuStorage, InplaceOp2, InplaceOp3, Layout, Tensor};
use rayon::prelude::*;

use super::super::shape::is_fast;
use super::super::simd::{Loop, vectorised};
use super::pictures::numbers;
use crate::error::Result;

const EPSILON: f64 = 1e-8;
/// Numbers to a job.
const PART: usize = 1 << 15;

/// Sets `to` to keep * to + add * from, or with `squared` to keep * to + add * from^2.
///
/// # Errors
/// Shapes that differ; tensors that share memory; a target that is not contiguous.
pub fn blend(to: &Tensor, from: &Tensor, keep: f64, add: f64, squared: bool) -> Result<()> {
    let from = from.detach().contiguous()?;
    if !is_fast(to) {
        let from = if squared { from.sqr()? } else { from };
        return Ok(to.slice_set(&((to.detach() * keep)? + (from * add)?)?, 0, 0)?);
    }
    let (keep, add) = (keep as f32, add as f32);
    let work = move |to: &mut [f32], [from]: [&[f32]; 1]| match squared {
        false => vectorised(Blend::<false> { to, from, keep, add }),
        true => vectorised(Blend::<true> { to, from, keep, add }),
    };
    Ok(to.inplace_op2(&from, &Update { name: "blend", work })?)
}

/// A step of Adam: sets w to shrink * w - rate * first / (sqrt(scale * second) + 1e-8).
///
/// # Errors
/// Shapes that differ; tensors that share memory; a target that is not contiguous.
pub fn descend(
    w: &Tensor,
    first: &Tensor,
    second: &Tensor,
    rate: f64,
    scale: f64,
    shrink: f64,
) -> Result<()> {
    if !is_fast(w) {
        let change = ((first * rate)? / ((second * scale)?.sqrt()? + EPSILON)?)?;
        return Ok(w.slice_set(&((w.detach() * shrink)? - change)?, 0, 0)?);
    }
    let constants = [rate, scale, shrink].map(|x| x as f32);
    let work = move |w: &mut [f32], [first, second]: [&[f32]; 2]| {
        vectorised(Descend { w, first, second, constants })
    };
    Ok(w.inplace_op3(&first.contiguous()?, &second.contiguous()?, &Update { name: "descend", work })?)
}

struct Update<F> {
    name: &'static str,
    work: F,
}

impl<F> Update<F> {
    /// Does the work on all threads, a part of `to` and of each source at a time.
    fn run<const N: usize>(
        &self,
        (to, layout): (&mut CpuStorage, &Layout),
        from: [(&CpuStorage, &Layout); N],
    ) -> candle_core::Result<()>
    where
        F: Fn(&mut [f32], [&[f32]; N]) + Sync,
    {
        let Some((start, end)) = layout.contiguous_offsets() else {
            candle_core::bail!("only a contiguous tensor changes in place, not {layout:?}")
        };
        let len = end - start;
        let CpuStorage::F32(to) = to else { candle_core::bail!("a kernel needs numbers of 32 bits") };
        let mut sources = [&[][..]; N];
        for (source, (storage, layout)) in sources.iter_mut().zip(from) {
            *source = numbers(storage, layout)?;
            if source.len() != len {
                candle_core::bail!("{len} numbers cannot change by {}", source.len());
            }
        }
        to[start..end].par_chunks_mut(PART).enumerate().for_each(|(n, part)| {
            let range = n * PART..n * PART + part.len();
            (self.work)(part, sources.map(|source| &source[range.clone()]));
        });
        Ok(())
    }
}

impl<F: Fn(&mut [f32], [&[f32]; 1]) + Sync> InplaceOp2 for Update<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        to: &mut CpuStorage,
        layout: &Layout,
        s1: &CpuStorage,
        l1: &Layout,
    ) -> candle_core::Result<()> {
        self.run((to, layout), [(s1, l1)])
    }
}

impl<F: Fn(&mut [f32], [&[f32]; 2]) + Sync> InplaceOp3 for Update<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        to: &mut CpuStorage,
        layout: &Layout,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> candle_core::Result<()> {
        self.run((to, layout), [(s1, l1), (s2, l2)])
    }
}

struct Blend<'a, const SQUARED: bool> {
    to: &'a mut [f32],
    from: &'a [f32],
    keep: f32,
    add: f32,
}

impl<const SQUARED: bool> Loop for Blend<'_, SQUARED> {
    #[inline(always)]
    fn walk(self) {
        for (to, from) in self.to.iter_mut().zip(self.from) {
            let from = if SQUARED { from * from } else { *from };
            *to = self.keep * *to + self.add * from;
        }
    }
}

struct Descend<'a> {
    w: &'a mut [f32],
    first: &'a [f32],
    second: &'a [f32],
    /// rate, scale and shrink
    constants: [f32; 3],
}

impl Loop for Descend<'_> {
    #[inline(always)]
    fn walk(self) {
        let [rate, scale, shrink] = self.constants;
        for ((w, m), v) in self.w.iter_mut().zip(self.first).zip(self.second) {
            *w = shrink * *w - rate * m / ((scale * v).sqrt() + EPSILON as f32);
        }
    }
}
