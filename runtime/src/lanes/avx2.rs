//! Sixteen lanes in pairs of registers of AVX2.
//!
//! The private fields are the proof behind every `unsafe` here: a value of these types is made by an [`Avx2`], and that by
//! [`Avx2::here`], which has seen the instructions.

use super::long::{float_to_long, int_to_long, mask_of_long};
use super::{Float, Int, LANES, Mask, Simd, Work, turned};
use crate::isa::Isa;
use dlc_plan::turn::FAR;
use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// The registers of a machine that has [`Isa::Avx2`].
#[derive(Clone, Copy, Debug)]
pub struct Avx2(());

/// Sixteen floats.
#[derive(Clone, Copy, Debug)]
pub struct F([__m256; 2]);

/// Sixteen integers.
#[derive(Clone, Copy, Debug)]
pub struct I([__m256i; 2]);

/// Sixteen truths, each as wide as what it selects: all bits set or none.
#[derive(Clone, Copy, Debug)]
pub struct M([__m256; 2]);

/// Numbers in one register.
const HALF: usize = LANES / 2;

impl Avx2 {
    /// The registers, where this machine has them.
    #[inline]
    pub fn here() -> Option<Avx2> {
        Isa::Avx2.is_here().then_some(Avx2(()))
    }

    /// The registers, without a look at the machine.
    ///
    /// # Safety
    /// The machine must have them.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub(crate) unsafe fn assume() -> Avx2 {
        Avx2(())
    }
}

/// Does some work with these instructions.
///
/// # Safety
/// The machine must have them.
#[target_feature(enable = "avx2,fma")]
pub unsafe fn run<W: Work>(work: W, simd: Avx2) -> W::Output {
    work.run(simd)
}

/// Trait methods that are an intrinsic on both halves, of one or two operands.
macro_rules! intrinsics {
    ($($result:ident: one [$($one:ident $of_one:expr,)*] two [$($two:ident $of_two:expr,)*];)*) => {
        $($(
            #[cfg_attr(not(feature = "calls"), inline(always))]
            fn $one(self) -> $result {
                // SAFETY: a value in these registers exists only where the machine has the instructions.
                $result(unsafe { [$of_one(self.0[0]), $of_one(self.0[1])] })
            }
        )*
        $(
            #[cfg_attr(not(feature = "calls"), inline(always))]
            fn $two(self, b: Self) -> $result {
                // SAFETY: as above.
                $result(unsafe { [$of_two(self.0[0], b.0[0]), $of_two(self.0[1], b.0[1])] })
            }
        )*)*
    };
}

/// An operator that is an intrinsic on both halves.
macro_rules! operators {
    ($($trait:ident $method:ident $of:ident,)*) => {$(
        impl $trait for F {
            type Output = F;
            #[cfg_attr(not(feature = "calls"), inline(always))]
            fn $method(self, b: F) -> F {
                // SAFETY: a value in these registers exists only where the machine has the instructions.
                F(unsafe { [$of(self.0[0], b.0[0]), $of(self.0[1], b.0[1])] })
            }
        }
    )*};
}

operators!(Add add _mm256_add_ps, Sub sub _mm256_sub_ps, Mul mul _mm256_mul_ps, Div div _mm256_div_ps,);

impl Neg for F {
    type Output = F;
    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn neg(self) -> F {
        // SAFETY: a value in these registers exists only where the machine has the instructions.
        F(self.0.map(|half| unsafe { _mm256_xor_ps(half, _mm256_set1_ps(-0.0)) }))
    }
}

impl Float for F {
    type Int = I;
    type Mask = M;

    float_to_long!(Avx2, Avx2(()));

    intrinsics! {
        F: one [
            fsqrt _mm256_sqrt_ps,
            ffloor _mm256_round_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>,
            fround _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>,
        ] two [];
        I: one [ftoi _mm256_cvttps_epi32, fbits _mm256_castps_si256,] two [];
        M: one [] two [
            flt _mm256_cmp_ps::<_CMP_LT_OQ>,
            fle _mm256_cmp_ps::<_CMP_LE_OQ>,
            feq _mm256_cmp_ps::<_CMP_EQ_OQ>,
            fne _mm256_cmp_ps::<_CMP_NEQ_UQ>,
        ];
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fma(self, b: F, c: F) -> F {
        let [a0, a1] = self.0;
        // SAFETY: a value in these registers exists only where the machine has the instructions.
        F(unsafe { [_mm256_fmadd_ps(a0, b.0[0], c.0[0]), _mm256_fmadd_ps(a1, b.0[1], c.0[1])] })
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fturn(self, near: F, quarters: u8) -> F {
        let simd = Avx2(());
        let far = simd.float(FAR).fle(self.fabs());
        // SAFETY: as above.
        if unsafe { _mm256_movemask_ps(_mm256_or_ps(far.0[0], far.0[1])) } == 0 {
            return near;
        }
        let [x, near] = [self, near].map(|lanes| simd.to_floats(lanes));
        simd.floats(turned(&x, &near, quarters))
    }

    /// The instruction gives its second operand where the two are equal or either is NaN.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fmax(self, b: F) -> F {
        // SAFETY: as above.
        b.fne(b).fselect(b, F(unsafe { [_mm256_max_ps(b.0[0], self.0[0]), _mm256_max_ps(b.0[1], self.0[1])] }))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fmin(self, b: F) -> F {
        // SAFETY: as above.
        b.fne(b).fselect(b, F(unsafe { [_mm256_min_ps(b.0[0], self.0[0]), _mm256_min_ps(b.0[1], self.0[1])] }))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fabs(self) -> F {
        // SAFETY: as above.
        F(self.0.map(|half| unsafe { _mm256_andnot_ps(_mm256_set1_ps(-0.0), half) }))
    }
}

impl Int for I {
    type Float = F;
    type Mask = M;

    int_to_long!(Avx2, Avx2(()));

    intrinsics! {
        I: one [] two [
            iadd _mm256_add_epi32,
            isub _mm256_sub_epi32,
            imul _mm256_mullo_epi32,
            imax _mm256_max_epi32,
            imin _mm256_min_epi32,
            iand _mm256_and_si256,
            ior _mm256_or_si256,
            ixor _mm256_xor_si256,
        ];
        F: one [itof _mm256_cvtepi32_ps, ibits _mm256_castsi256_ps,] two [];
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ineg(self) -> I {
        // SAFETY: a value in these registers exists only where the machine has the instructions.
        I(self.0.map(|half| unsafe { _mm256_sub_epi32(_mm256_setzero_si256(), half) }))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ishl(self, by: u32) -> I {
        // SAFETY: as above.
        I(self.0.map(|half| unsafe { _mm256_sll_epi32(half, _mm_cvtsi32_si128((by % 32) as i32)) }))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ishr(self, by: u32) -> I {
        // SAFETY: as above.
        I(self.0.map(|half| unsafe { _mm256_srl_epi32(half, _mm_cvtsi32_si128((by % 32) as i32)) }))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn isar(self, by: u32) -> I {
        // SAFETY: as above.
        I(self.0.map(|half| unsafe { _mm256_sra_epi32(half, _mm_cvtsi32_si128((by % 32) as i32)) }))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ilt(self, b: I) -> M {
        let less = |i: usize| {
            // SAFETY: as above.
            unsafe { _mm256_castsi256_ps(_mm256_cmpgt_epi32(b.0[i], self.0[i])) }
        };
        M([less(0), less(1)])
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ile(self, b: I) -> M {
        b.ilt(self).mnot()
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ieq(self, b: I) -> M {
        let equal = |i: usize| {
            // SAFETY: as above.
            unsafe { _mm256_castsi256_ps(_mm256_cmpeq_epi32(self.0[i], b.0[i])) }
        };
        M([equal(0), equal(1)])
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ine(self, b: I) -> M {
        self.ieq(b).mnot()
    }
}

impl Mask for M {
    type Float = F;
    type Int = I;

    mask_of_long!(Avx2);

    intrinsics! {
        M: one [] two [mand _mm256_and_ps, mor _mm256_or_ps,];
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn mnot(self) -> M {
        // SAFETY: a value in these registers exists only where the machine has the instructions.
        M(self.0.map(|half| unsafe { _mm256_xor_ps(half, _mm256_castsi256_ps(_mm256_set1_epi32(-1))) }))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fselect(self, a: F, b: F) -> F {
        let [m0, m1] = self.0;
        // SAFETY: as above.
        F(unsafe { [_mm256_blendv_ps(b.0[0], a.0[0], m0), _mm256_blendv_ps(b.0[1], a.0[1], m1)] })
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn iselect(self, a: I, b: I) -> I {
        self.fselect(a.ibits(), b.ibits()).fbits()
    }
}

// SAFETY, for every block below: an `Avx2` exists only where the machine has the instructions; arrays have sixteen numbers,
// of which each register reads or writes eight.
impl Simd for Avx2 {
    type F = F;
    type I = I;
    type M = M;

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn float(self, x: f32) -> F {
        F([unsafe { _mm256_set1_ps(x) }; 2])
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn int(self, x: i32) -> I {
        I([unsafe { _mm256_set1_epi32(x) }; 2])
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn mask(self, x: bool) -> M {
        M(self.int(-i32::from(x)).ibits().0)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn first(self, count: usize) -> M {
        self.ramp().ilt(self.int(count.min(LANES) as i32))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ramp(self) -> I {
        let low = unsafe { _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7) };
        I([low, unsafe { _mm256_add_epi32(low, _mm256_set1_epi32(HALF as i32)) }])
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn floats(self, from: [f32; LANES]) -> F {
        F(unsafe { [_mm256_loadu_ps(from.as_ptr()), _mm256_loadu_ps(from.as_ptr().add(HALF))] })
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ints(self, from: [i32; LANES]) -> I {
        self.floats(from.map(|x| f32::from_bits(x as u32))).fbits()
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn load_floats(self, from: &[f32]) -> F {
        if let Ok(all) = from.try_into() {
            return self.floats(all);
        }
        let mut lanes = [0.0; LANES];
        lanes[..from.len()].copy_from_slice(from);
        self.floats(lanes)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn load_ints(self, from: &[i32]) -> I {
        if let Ok(all) = from.try_into() {
            return self.ints(all);
        }
        let mut lanes = [0; LANES];
        lanes[..from.len()].copy_from_slice(from);
        self.ints(lanes)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn to_floats(self, x: F) -> [f32; LANES] {
        let mut to = [0.0_f32; LANES];
        unsafe {
            _mm256_storeu_ps(to.as_mut_ptr(), x.0[0]);
            _mm256_storeu_ps(to.as_mut_ptr().add(HALF), x.0[1]);
        }
        to
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn to_ints(self, x: I) -> [i32; LANES] {
        self.to_floats(x.ibits()).map(|x| x.to_bits() as i32)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn store_floats(self, x: F, to: &mut [f32]) {
        match <&mut [f32; LANES]>::try_from(&mut *to) {
            Ok(all) => *all = self.to_floats(x),
            Err(_) => to.copy_from_slice(&self.to_floats(x)[..to.len()]),
        }
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn store_ints(self, x: I, to: &mut [i32]) {
        match <&mut [i32; LANES]>::try_from(&mut *to) {
            Ok(all) => *all = self.to_ints(x),
            Err(_) => to.copy_from_slice(&self.to_ints(x)[..to.len()]),
        }
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn random(self, key: [u32; 2], step: u32, seed_hi: u32, row: u32, group: u32) -> I {
        I(unsafe { random(key, step, seed_hi, row, group) })
    }
}

/// [`dlc_plan::random::bits16`]: four blocks of Philox4x32-10 side by side, each word in the low half of a 64-bit lane; what
/// the high halves hold is never read.
///
/// # Safety
/// The machine must have AVX2.
#[cfg_attr(not(feature = "calls"), inline(always))]
pub unsafe fn random(key: [u32; 2], step: u32, seed_hi: u32, row: u32, group: u32) -> [__m256i; 2] {
    // SAFETY: the caller's machine has AVX2, and nothing here touches memory.
    unsafe {
        let all = |x: u32| _mm256_set1_epi64x(i64::from(x));
        let mut x0 = _mm256_add_epi64(all(group.wrapping_mul(4)), _mm256_setr_epi64x(0, 1, 2, 3));
        let (mut x1, mut x2, mut x3) = (all(row), all(step), all(seed_hi));
        for round in 0..10_u32 {
            let key0 = all(key[0].wrapping_add(round.wrapping_mul(0x9E37_79B9)));
            let key1 = all(key[1].wrapping_add(round.wrapping_mul(0xBB67_AE85)));
            let product0 = _mm256_mul_epu32(x0, all(0xD251_1F53));
            let product1 = _mm256_mul_epu32(x2, all(0xCD9E_8D57));
            x0 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64::<32>(product1), x1), key0);
            x2 = _mm256_xor_si256(_mm256_xor_si256(_mm256_srli_epi64::<32>(product0), x3), key1);
            (x1, x3) = (product1, product0);
        }
        let low_halves = |a: __m256i, b: __m256i| {
            let mixed = _mm256_shuffle_ps::<0x88>(_mm256_castsi256_ps(a), _mm256_castsi256_ps(b));
            _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_castps_si256(mixed))
        };
        [low_halves(x0, x1), low_halves(x2, x3)]
    }
}
