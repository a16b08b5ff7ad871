//! Registers of floats behind one trait: AVX-512 and AVX2 with FMA on x86, NEON on 64-bit ARM, and plain Rust, four
//! floats or one at a time, anywhere.
#![allow(unsafe_code, unsafe_op_in_unsafe_fn)]

/// A register of floats. Every function needs the processor that it was chosen for.
pub(super) trait Lanes: Copy {
    /// Floats in a register.
    const N: usize;
    unsafe fn load(from: *const f32) -> Self;
    unsafe fn store(self, to: *mut f32);
    /// The first `count` numbers, then zeros.
    unsafe fn load_part(from: *const f32, count: usize) -> Self;
    /// The first `count` numbers.
    unsafe fn store_part(self, to: *mut f32, count: usize);
    unsafe fn splat(value: f32) -> Self;
    unsafe fn add(self, other: Self) -> Self;
    unsafe fn sub(self, other: Self) -> Self;
    unsafe fn mul(self, other: Self) -> Self;
    /// self + a * b
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    /// Asks for what will be read soon.
    #[inline(always)]
    unsafe fn prefetch(from: *const f32) {
        #[cfg(target_arch = "x86_64")]
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(from.cast());
        #[cfg(not(target_arch = "x86_64"))]
        let _ = from;
    }
    /// The larger one; `self` where it is not a number.
    unsafe fn max(self, other: Self) -> Self;
    /// The smaller one; `self` where it is not a number.
    unsafe fn min(self, other: Self) -> Self;
    /// `other` where that is not a number, else `self`.
    unsafe fn or_nan(self, other: Self) -> Self;
}

/// A piece of work that can be done with any registers.
pub(super) trait Kernel {
    type Output;
    /// # Safety
    /// The processor has the instructions of `V`; what the kernel points to is valid.
    unsafe fn run<V: Lanes>(self) -> Self::Output;
}

/// Four floats without instructions of their own.
#[derive(Clone, Copy)]
pub(super) struct Plain([f32; 4]);

/// One float.
#[derive(Clone, Copy)]
pub(super) struct One([f32; 1]);

macro_rules! plain {
    ($name:ident, $n:expr) => {
        impl $name {
            #[inline(always)]
            fn zip(self, other: Self, f: impl Fn(f32, f32) -> f32) -> Self {
                Self(std::array::from_fn(|i| f(self.0[i], other.0[i])))
            }
        }

        impl Lanes for $name {
            const N: usize = $n;
            #[inline(always)]
            unsafe fn load(from: *const f32) -> Self {
                Self(from.cast::<[f32; $n]>().read_unaligned())
            }
            #[inline(always)]
            unsafe fn store(self, to: *mut f32) {
                to.cast::<[f32; $n]>().write_unaligned(self.0);
            }
            #[inline(always)]
            unsafe fn load_part(from: *const f32, count: usize) -> Self {
                Self(std::array::from_fn(|i| if i < count { *from.add(i) } else { 0.0 }))
            }
            #[inline(always)]
            unsafe fn store_part(self, to: *mut f32, count: usize) {
                for (i, value) in self.0.into_iter().enumerate().take(count) {
                    to.add(i).write(value);
                }
            }
            #[inline(always)]
            unsafe fn splat(value: f32) -> Self {
                Self([value; $n])
            }
            #[inline(always)]
            unsafe fn add(self, other: Self) -> Self {
                self.zip(other, |a, b| a + b)
            }
            #[inline(always)]
            unsafe fn sub(self, other: Self) -> Self {
                self.zip(other, |a, b| a - b)
            }
            #[inline(always)]
            unsafe fn mul(self, other: Self) -> Self {
                self.zip(other, |a, b| a * b)
            }
            #[inline(always)]
            unsafe fn fma(self, a: Self, b: Self) -> Self {
                self.add(a.mul(b))
            }
            #[inline(always)]
            unsafe fn max(self, other: Self) -> Self {
                self.zip(other, |a, b| if b > a { b } else { a })
            }
            #[inline(always)]
            unsafe fn min(self, other: Self) -> Self {
                self.zip(other, |a, b| if b < a { b } else { a })
            }
            #[inline(always)]
            unsafe fn or_nan(self, other: Self) -> Self {
                self.zip(other, |a, b| if b.is_nan() { b } else { a })
            }
        }
    };
}

plain!(Plain, 4);
plain!(One, 1);

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Lanes;
    use std::arch::x86_64::*;

    #[inline(always)]
    unsafe fn load_part_512(from: *const f32, count: usize) -> __m512 {
        _mm512_maskz_loadu_ps(((1u32 << count) - 1) as u16, from)
    }

    #[inline(always)]
    unsafe fn store_part_512(to: *mut f32, count: usize, value: __m512) {
        _mm512_mask_storeu_ps(to, ((1u32 << count) - 1) as u16, value);
    }

    /// Ones in the first `count` places.
    #[inline(always)]
    unsafe fn mask_256(count: usize) -> __m256i {
        _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7))
    }

    #[inline(always)]
    unsafe fn load_part_256(from: *const f32, count: usize) -> __m256 {
        _mm256_maskload_ps(from, mask_256(count))
    }

    #[inline(always)]
    unsafe fn store_part_256(to: *mut f32, count: usize, value: __m256) {
        _mm256_maskstore_ps(to, mask_256(count), value);
    }

    #[inline(always)]
    unsafe fn or_nan_512(value: __m512, other: __m512) -> __m512 {
        _mm512_mask_mov_ps(value, _mm512_cmp_ps_mask::<_CMP_UNORD_Q>(other, other), other)
    }

    #[inline(always)]
    unsafe fn or_nan_256(value: __m256, other: __m256) -> __m256 {
        _mm256_blendv_ps(value, other, _mm256_cmp_ps::<_CMP_UNORD_Q>(other, other))
    }

    macro_rules! lanes {
        ($vector:ty, $n:expr, $load_part:ident, $store_part:ident, $load:ident, $store:ident, $splat:ident, $add:ident, $sub:ident, $mul:ident, $fma:ident, $max:ident, $min:ident, $or_nan:ident) => {
            impl Lanes for $vector {
                const N: usize = $n;
                #[inline(always)]
                unsafe fn load(from: *const f32) -> Self {
                    $load(from)
                }
                #[inline(always)]
                unsafe fn store(self, to: *mut f32) {
                    $store(to, self)
                }
                #[inline(always)]
                unsafe fn load_part(from: *const f32, count: usize) -> Self {
                    $load_part(from, count)
                }
                #[inline(always)]
                unsafe fn store_part(self, to: *mut f32, count: usize) {
                    $store_part(to, count, self)
                }
                #[inline(always)]
                unsafe fn splat(value: f32) -> Self {
                    $splat(value)
                }
                #[inline(always)]
                unsafe fn add(self, other: Self) -> Self {
                    $add(self, other)
                }
                #[inline(always)]
                unsafe fn sub(self, other: Self) -> Self {
                    $sub(self, other)
                }
                #[inline(always)]
                unsafe fn mul(self, other: Self) -> Self {
                    $mul(self, other)
                }
                #[inline(always)]
                unsafe fn fma(self, a: Self, b: Self) -> Self {
                    $fma(a, b, self)
                }
                // The instructions give their second operand where one is not a number.
                #[inline(always)]
                unsafe fn max(self, other: Self) -> Self {
                    $max(other, self)
                }
                #[inline(always)]
                unsafe fn min(self, other: Self) -> Self {
                    $min(other, self)
                }
                #[inline(always)]
                unsafe fn or_nan(self, other: Self) -> Self {
                    $or_nan(self, other)
                }
            }
        };
    }

    lanes!(
        __m512,
        16,
        load_part_512,
        store_part_512,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_set1_ps,
        _mm512_add_ps,
        _mm512_sub_ps,
        _mm512_mul_ps,
        _mm512_fmadd_ps,
        _mm512_max_ps,
        _mm512_min_ps,
        or_nan_512
    );
    lanes!(
        __m256,
        8,
        load_part_256,
        store_part_256,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_set1_ps,
        _mm256_add_ps,
        _mm256_sub_ps,
        _mm256_mul_ps,
        _mm256_fmadd_ps,
        _mm256_max_ps,
        _mm256_min_ps,
        or_nan_256
    );
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::Lanes;
    use std::arch::aarch64::*;

    impl Lanes for float32x4_t {
        const N: usize = 4;
        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            vld1q_f32(from)
        }
        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            vst1q_f32(to, self)
        }
        #[inline(always)]
        unsafe fn load_part(from: *const f32, count: usize) -> Self {
            let mut part = [0f32; 4];
            from.copy_to_nonoverlapping(part.as_mut_ptr(), count);
            vld1q_f32(part.as_ptr())
        }
        #[inline(always)]
        unsafe fn store_part(self, to: *mut f32, count: usize) {
            let mut part = [0f32; 4];
            vst1q_f32(part.as_mut_ptr(), self);
            part.as_ptr().copy_to_nonoverlapping(to, count);
        }
        #[inline(always)]
        unsafe fn splat(value: f32) -> Self {
            vdupq_n_f32(value)
        }
        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            vaddq_f32(self, other)
        }
        #[inline(always)]
        unsafe fn sub(self, other: Self) -> Self {
            vsubq_f32(self, other)
        }
        #[inline(always)]
        unsafe fn mul(self, other: Self) -> Self {
            vmulq_f32(self, other)
        }
        #[inline(always)]
        unsafe fn fma(self, a: Self, b: Self) -> Self {
            vfmaq_f32(self, a, b)
        }
        #[inline(always)]
        unsafe fn max(self, other: Self) -> Self {
            vmaxq_f32(self, other)
        }
        #[inline(always)]
        unsafe fn min(self, other: Self) -> Self {
            vminq_f32(self, other)
        }
        #[inline(always)]
        unsafe fn or_nan(self, other: Self) -> Self {
            vbslq_f32(vceqq_f32(other, other), self, other)
        }
    }
}
