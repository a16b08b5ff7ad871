//! The instructions of this processor, chosen at run time.
//!
//! A kernel is written once over [`Lanes`] and compiled for each instruction set.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

#[cfg(target_arch = "x86_64")]
use std::arch::x86_64::{__m256, __m512};
use std::sync::OnceLock;

use super::lanes::{Kernel, Lanes, One, Plain};

/// An instruction set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "aarch64")]
    Neon,
    Plain,
}

impl Isa {
    /// All that this processor has, the best one first.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        #[cfg(target_arch = "x86_64")]
        all.extend(Self::with(
            is_x86_feature_detected!("avx512f"),
            is_x86_feature_detected!("avx2"),
            is_x86_feature_detected!("fma"),
        ));
        #[cfg(target_arch = "aarch64")]
        all.push(Self::Neon);
        all.push(Self::Plain);
        all
    }

    /// Those for which [`avx512`] and [`avx2`] have all that they are compiled for.
    #[cfg(target_arch = "x86_64")]
    fn with(avx512f: bool, avx2: bool, fma: bool) -> impl Iterator<Item = Self> {
        let both = avx2 && fma;
        [(Self::Avx512, avx512f && both), (Self::Avx2, both)]
            .into_iter()
            .filter_map(|(isa, has)| has.then_some(isa))
    }

    /// The best one that this processor has.
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| Self::all()[0])
    }

    /// Floats in a register.
    pub fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 16,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => 8,
            #[cfg(target_arch = "aarch64")]
            Self::Neon => 4,
            Self::Plain => 4,
        }
    }

    /// Does a piece of work with these registers.
    ///
    /// # Safety
    /// What the kernel points to is valid, and `self` came from [`Isa::all`].
    #[inline(always)]
    pub unsafe fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512(kernel),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => avx2(kernel),
            #[cfg(target_arch = "aarch64")]
            Self::Neon => kernel.run::<std::arch::aarch64::float32x4_t>(),
            Self::Plain => kernel.run::<Plain>(),
        }
    }

    /// As [`Isa::run`], with registers of at most `floats` floats.
    ///
    /// # Safety
    /// As [`Isa::run`].
    pub unsafe fn run_within<K: Kernel>(self, floats: usize, kernel: K) -> K::Output {
        if floats >= self.lanes() {
            return self.run(kernel);
        }
        #[cfg(target_arch = "x86_64")]
        if self == Self::Avx512 && floats >= 8 {
            return avx2(kernel);
        }
        if floats >= 4 { kernel.run::<Plain>() } else { kernel.run::<One>() }
    }
}

/// A loop that the compiler can vectorise. A closure would do if it were small: the shim that calls a large one is not
/// inlined, and then compiled for any processor.
pub(super) trait Loop {
    /// Runs it; must be `#[inline(always)]`.
    fn walk(self);
}

/// Runs a loop with the best instructions of this processor.
pub(super) fn vectorised(work: impl Loop) {
    struct Best<L>(L);
    impl<L: Loop> Kernel for Best<L> {
        type Output = ();
        #[inline(always)]
        unsafe fn run<V: Lanes>(self) {
            self.0.walk();
        }
    }
    // SAFETY: the loop itself is safe, and the best instructions are there.
    unsafe { Isa::best().run(Best(work)) }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<__m512>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run::<__m256>()
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_chosen_only_where_all_that_they_need_is_there() {
        let with = |avx512f, avx2, fma| Isa::with(avx512f, avx2, fma).collect::<Vec<_>>();
        assert_eq!(with(true, true, true), [Isa::Avx512, Isa::Avx2]);
        assert_eq!(with(false, true, true), [Isa::Avx2]);
        assert!(
            [with(true, true, false), with(true, false, true), with(false, false, false)].concat().is_empty()
        );
    }
}
