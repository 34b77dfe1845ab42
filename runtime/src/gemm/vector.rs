//! A vector register of f32 and the seven things a micro-kernel does with it, for each instruction set.
//!
//! Every implementation computes the same numbers: `fma` rounds once, `add` rounds once, nothing else computes.

/// A vector of [`Vector::LANES`] f32.
pub trait Vector: Copy {
    /// Numbers in the vector.
    const LANES: usize;

    /// The same number in every lane.
    ///
    /// # Safety
    /// The processor must have the instruction set of the implementing type. This holds for all functions here.
    unsafe fn splat(x: f32) -> Self;
    /// Lanes from memory, at any alignment.
    ///
    /// # Safety
    /// `LANES` numbers at `from` must be readable.
    unsafe fn load(from: *const f32) -> Self;
    /// The first `count` lanes from memory and zeros after them.
    ///
    /// # Safety
    /// `count` numbers at `from` must be readable; `count <= LANES`.
    unsafe fn load_first(from: *const f32, count: usize) -> Self;
    /// Lanes to memory, at any alignment.
    ///
    /// # Safety
    /// `LANES` numbers at `to` must be writable.
    unsafe fn store(self, to: *mut f32);
    /// The first `count` lanes to memory.
    ///
    /// # Safety
    /// `count` numbers at `to` must be writable; `count <= LANES`.
    unsafe fn store_first(self, to: *mut f32, count: usize);
    /// `a * b + self`, rounded once.
    ///
    /// # Safety
    /// As for [`Vector::splat`].
    unsafe fn fma(self, a: Self, b: Self) -> Self;
    /// The sum, lane by lane.
    ///
    /// # Safety
    /// As for [`Vector::splat`].
    unsafe fn add(self, other: Self) -> Self;
    /// Fetches a line of memory that will be used soon; any address will do.
    #[inline(always)]
    fn will_use(_at: *const f32) {}
    /// Fetches a line of memory that will be used later, not as near as [`Vector::will_use`]; any address will do.
    #[inline(always)]
    fn will_use_later(_at: *const f32) {}
}

/// Sixteen numbers in an array, for every machine: the compiler makes of it what the target has (four registers of NEON).
#[derive(Clone, Copy)]
pub struct Portable([f32; 16]);

impl Vector for Portable {
    const LANES: usize = 16;

    #[inline(always)]
    unsafe fn splat(x: f32) -> Self {
        Portable([x; 16])
    }

    #[inline(always)]
    unsafe fn load(from: *const f32) -> Self {
        // SAFETY: the caller gives 16 readable numbers; the read asks for no alignment beyond that of f32.
        Portable(unsafe { from.cast::<[f32; 16]>().read_unaligned() })
    }

    #[inline(always)]
    unsafe fn load_first(from: *const f32, count: usize) -> Self {
        let mut lanes = [0.0; 16];
        for (i, lane) in lanes.iter_mut().enumerate().take(count) {
            // SAFETY: the caller gives `count` readable numbers.
            *lane = unsafe { *from.add(i) };
        }
        Portable(lanes)
    }

    #[inline(always)]
    unsafe fn store(self, to: *mut f32) {
        // SAFETY: the caller gives 16 writable numbers.
        unsafe { to.cast::<[f32; 16]>().write_unaligned(self.0) }
    }

    #[inline(always)]
    unsafe fn store_first(self, to: *mut f32, count: usize) {
        for (i, lane) in self.0.iter().enumerate().take(count) {
            // SAFETY: the caller gives `count` writable numbers.
            unsafe { *to.add(i) = *lane };
        }
    }

    #[inline(always)]
    unsafe fn fma(self, a: Self, b: Self) -> Self {
        let mut sum = self.0;
        for (sum, (a, b)) in sum.iter_mut().zip(a.0.iter().zip(&b.0)) {
            *sum = a.mul_add(*b, *sum);
        }
        Portable(sum)
    }

    #[inline(always)]
    unsafe fn add(self, other: Self) -> Self {
        let mut sum = self.0;
        for (sum, other) in sum.iter_mut().zip(other.0) {
            *sum += other;
        }
        Portable(sum)
    }
}

#[cfg(target_arch = "x86_64")]
pub use x86::{Avx2, Avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::Vector;
    use std::arch::x86_64::*;

    /// A register of AVX-512: needs `avx512f`.
    #[derive(Clone, Copy)]
    pub struct Avx512(__m512);

    /// A register of AVX2: needs `avx2` and `fma`.
    #[derive(Clone, Copy)]
    pub struct Avx2(__m256);

    // SAFETY (all blocks below): the caller has seen that the processor has the instructions, and gives memory as the
    // trait says; masked loads and stores touch only the lanes of the mask, and a prefetch of any address is harmless.
    impl Vector for Avx512 {
        const LANES: usize = 16;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            Avx512(unsafe { _mm512_set1_ps(x) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Avx512(unsafe { _mm512_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            Avx512(unsafe { _mm512_maskz_loadu_ps(mask16(count), from) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm512_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            unsafe { _mm512_mask_storeu_ps(to, mask16(count), self.0) }
        }

        #[inline(always)]
        unsafe fn fma(self, a: Self, b: Self) -> Self {
            Avx512(unsafe { _mm512_fmadd_ps(a.0, b.0, self.0) })
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Avx512(unsafe { _mm512_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn will_use(at: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
        }

        #[inline(always)]
        fn will_use_later(at: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
        }
    }

    impl Vector for Avx2 {
        const LANES: usize = 8;

        #[inline(always)]
        unsafe fn splat(x: f32) -> Self {
            Avx2(unsafe { _mm256_set1_ps(x) })
        }

        #[inline(always)]
        unsafe fn load(from: *const f32) -> Self {
            Avx2(unsafe { _mm256_loadu_ps(from) })
        }

        #[inline(always)]
        unsafe fn load_first(from: *const f32, count: usize) -> Self {
            Avx2(unsafe { _mm256_maskload_ps(from, mask8(count)) })
        }

        #[inline(always)]
        unsafe fn store(self, to: *mut f32) {
            unsafe { _mm256_storeu_ps(to, self.0) }
        }

        #[inline(always)]
        unsafe fn store_first(self, to: *mut f32, count: usize) {
            unsafe { _mm256_maskstore_ps(to, mask8(count), self.0) }
        }

        #[inline(always)]
        unsafe fn fma(self, a: Self, b: Self) -> Self {
            Avx2(unsafe { _mm256_fmadd_ps(a.0, b.0, self.0) })
        }

        #[inline(always)]
        unsafe fn add(self, other: Self) -> Self {
            Avx2(unsafe { _mm256_add_ps(self.0, other.0) })
        }

        #[inline(always)]
        fn will_use(at: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T0>(at.cast()) }
        }

        #[inline(always)]
        fn will_use_later(at: *const f32) {
            unsafe { _mm_prefetch::<_MM_HINT_T1>(at.cast()) }
        }
    }

    /// The mask of the first `count` of 16 lanes.
    #[inline(always)]
    fn mask16(count: usize) -> __mmask16 {
        ((1_u32 << count) - 1) as __mmask16
    }

    /// The mask of the first `count` of 8 lanes: the sign bit says which.
    #[inline(always)]
    unsafe fn mask8(count: usize) -> __m256i {
        unsafe { _mm256_cmpgt_epi32(_mm256_set1_epi32(count as i32), _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0)) }
    }
}
