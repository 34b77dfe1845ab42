//! Sixteen lanes in registers of AVX-512.
//!
//! The private fields are the proof behind every `unsafe` here: a value of these types is made by an [`Avx512`], and that by
//! [`Avx512::here`], which has seen the instructions.

use super::long::{float_to_long, int_to_long, mask_of_long};
use super::{Float, Int, LANES, Mask, Simd, Work, turned};
use crate::isa::Isa;
use dlc_plan::turn::FAR;
use std::arch::x86_64::*;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// The registers of a machine that has [`Isa::Avx512`].
#[derive(Clone, Copy, Debug)]
pub struct Avx512(());

/// Sixteen floats.
#[derive(Clone, Copy, Debug)]
pub struct F(__m512);

/// Sixteen integers.
#[derive(Clone, Copy, Debug)]
pub struct I(__m512i);

/// Sixteen truths, one a bit.
#[derive(Clone, Copy, Debug)]
pub struct M(__mmask16);

impl Avx512 {
    /// The registers, where this machine has them.
    #[inline]
    pub fn here() -> Option<Avx512> {
        Isa::Avx512.is_here().then_some(Avx512(()))
    }

    /// The registers, without a look at the machine.
    ///
    /// # Safety
    /// The machine must have them.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub(crate) unsafe fn assume() -> Avx512 {
        Avx512(())
    }
}

/// Does some work with these instructions.
///
/// # Safety
/// The machine must have them.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
pub unsafe fn run<W: Work>(work: W, simd: Avx512) -> W::Output {
    work.run(simd)
}

/// Trait methods that are one intrinsic of one or two operands.
macro_rules! intrinsics {
    ($($result:ident: one [$($one:ident $of_one:expr,)*] two [$($two:ident $of_two:expr,)*];)*) => {
        $($(
            #[cfg_attr(not(feature = "calls"), inline(always))]
            fn $one(self) -> $result {
                // SAFETY: a value in these registers exists only where the machine has the instructions.
                $result(unsafe { $of_one(self.0) })
            }
        )*
        $(
            #[cfg_attr(not(feature = "calls"), inline(always))]
            fn $two(self, b: Self) -> $result {
                // SAFETY: as above.
                $result(unsafe { $of_two(self.0, b.0) })
            }
        )*)*
    };
}

/// An operator that is one intrinsic.
macro_rules! operators {
    ($($trait:ident $method:ident $of:ident,)*) => {$(
        impl $trait for F {
            type Output = F;
            #[cfg_attr(not(feature = "calls"), inline(always))]
            fn $method(self, b: F) -> F {
                // SAFETY: a value in these registers exists only where the machine has the instructions.
                F(unsafe { $of(self.0, b.0) })
            }
        }
    )*};
}

operators!(Add add _mm512_add_ps, Sub sub _mm512_sub_ps, Mul mul _mm512_mul_ps, Div div _mm512_div_ps,);

impl Neg for F {
    type Output = F;
    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn neg(self) -> F {
        // SAFETY: a value in these registers exists only where the machine has the instructions.
        unsafe { I(_mm512_xor_epi32(self.fbits().0, _mm512_set1_epi32(i32::MIN))).ibits() }
    }
}

impl Float for F {
    type Int = I;
    type Mask = M;

    float_to_long!(Avx512, Avx512(()));

    intrinsics! {
        F: one [
            fsqrt _mm512_sqrt_ps,
            fabs _mm512_abs_ps,
            ffloor _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC }>,
            fround _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>,
        ] two [];
        I: one [ftoi _mm512_cvttps_epi32, fbits _mm512_castps_si512,] two [];
        M: one [] two [
            flt _mm512_cmp_ps_mask::<_CMP_LT_OQ>,
            fle _mm512_cmp_ps_mask::<_CMP_LE_OQ>,
            feq _mm512_cmp_ps_mask::<_CMP_EQ_OQ>,
            fne _mm512_cmp_ps_mask::<_CMP_NEQ_UQ>,
        ];
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fma(self, b: F, c: F) -> F {
        // SAFETY: a value in these registers exists only where the machine has the instructions.
        F(unsafe { _mm512_fmadd_ps(self.0, b.0, c.0) })
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fturn(self, near: F, quarters: u8) -> F {
        let simd = Avx512(());
        let far = simd.float(FAR).fle(self.fabs());
        if far.0 == 0 {
            return near;
        }
        let [x, near] = [self, near].map(|lanes| simd.to_floats(lanes));
        simd.floats(turned(&x, &near, quarters))
    }

    /// The instruction gives its second operand where the two are equal or either is NaN.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fmax(self, b: F) -> F {
        // SAFETY: as above.
        b.fne(b).fselect(b, F(unsafe { _mm512_max_ps(b.0, self.0) }))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fmin(self, b: F) -> F {
        // SAFETY: as above.
        b.fne(b).fselect(b, F(unsafe { _mm512_min_ps(b.0, self.0) }))
    }
}

impl Int for I {
    type Float = F;
    type Mask = M;

    int_to_long!(Avx512, Avx512(()));

    intrinsics! {
        I: one [] two [
            iadd _mm512_add_epi32,
            isub _mm512_sub_epi32,
            imul _mm512_mullo_epi32,
            imax _mm512_max_epi32,
            imin _mm512_min_epi32,
            iand _mm512_and_epi32,
            ior _mm512_or_epi32,
            ixor _mm512_xor_epi32,
        ];
        M: one [] two [
            ilt _mm512_cmplt_epi32_mask,
            ile _mm512_cmple_epi32_mask,
            ieq _mm512_cmpeq_epi32_mask,
            ine _mm512_cmpneq_epi32_mask,
        ];
        F: one [itof _mm512_cvtepi32_ps, ibits _mm512_castsi512_ps,] two [];
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ineg(self) -> I {
        // SAFETY: a value in these registers exists only where the machine has the instructions.
        I(unsafe { _mm512_sub_epi32(_mm512_setzero_si512(), self.0) })
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ishl(self, by: u32) -> I {
        // SAFETY: as above.
        I(unsafe { _mm512_sll_epi32(self.0, _mm_cvtsi32_si128((by % 32) as i32)) })
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ishr(self, by: u32) -> I {
        // SAFETY: as above.
        I(unsafe { _mm512_srl_epi32(self.0, _mm_cvtsi32_si128((by % 32) as i32)) })
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn isar(self, by: u32) -> I {
        // SAFETY: as above.
        I(unsafe { _mm512_sra_epi32(self.0, _mm_cvtsi32_si128((by % 32) as i32)) })
    }
}

impl Mask for M {
    type Float = F;
    type Int = I;

    mask_of_long!(Avx512);

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn mand(self, b: M) -> M {
        M(self.0 & b.0)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn mor(self, b: M) -> M {
        M(self.0 | b.0)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn mnot(self) -> M {
        M(!self.0)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fselect(self, a: F, b: F) -> F {
        // SAFETY: a value in these registers exists only where the machine has the instructions.
        F(unsafe { _mm512_mask_blend_ps(self.0, b.0, a.0) })
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn iselect(self, a: I, b: I) -> I {
        // SAFETY: as above.
        I(unsafe { _mm512_mask_blend_epi32(self.0, b.0, a.0) })
    }
}

// SAFETY, for every block below: an `Avx512` exists only where the machine has the instructions, and masked loads and
// stores touch only as many numbers as the slice has.
impl Simd for Avx512 {
    type F = F;
    type I = I;
    type M = M;

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn float(self, x: f32) -> F {
        F(unsafe { _mm512_set1_ps(x) })
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn int(self, x: i32) -> I {
        I(unsafe { _mm512_set1_epi32(x) })
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn mask(self, x: bool) -> M {
        M(if x { !0 } else { 0 })
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn first(self, count: usize) -> M {
        M(((1_u32 << count.min(LANES)) - 1) as __mmask16)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ramp(self) -> I {
        I(unsafe { _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15) })
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn floats(self, from: [f32; LANES]) -> F {
        F(unsafe { _mm512_loadu_ps(from.as_ptr()) })
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ints(self, from: [i32; LANES]) -> I {
        I(unsafe { _mm512_loadu_si512(from.as_ptr().cast()) })
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn load_floats(self, from: &[f32]) -> F {
        assert!(from.len() <= LANES, "{} numbers for {LANES} lanes", from.len());
        F(unsafe { _mm512_maskz_loadu_ps(self.first(from.len()).0, from.as_ptr()) })
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn load_ints(self, from: &[i32]) -> I {
        assert!(from.len() <= LANES, "{} numbers for {LANES} lanes", from.len());
        I(unsafe { _mm512_maskz_loadu_epi32(self.first(from.len()).0, from.as_ptr()) })
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn to_floats(self, x: F) -> [f32; LANES] {
        let mut to = [0.0; LANES];
        unsafe { _mm512_storeu_ps(to.as_mut_ptr(), x.0) };
        to
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn to_ints(self, x: I) -> [i32; LANES] {
        let mut to = [0; LANES];
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), x.0) };
        to
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn store_floats(self, x: F, to: &mut [f32]) {
        assert!(to.len() <= LANES, "{} numbers for {LANES} lanes", to.len());
        unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), self.first(to.len()).0, x.0) }
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn store_ints(self, x: I, to: &mut [i32]) {
        assert!(to.len() <= LANES, "{} numbers for {LANES} lanes", to.len());
        unsafe { _mm512_mask_storeu_epi32(to.as_mut_ptr(), self.first(to.len()).0, x.0) }
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn random(self, key: [u32; 2], step: u32, seed_hi: u32, row: u32, group: u32) -> I {
        let [low, high] = unsafe { super::avx2::random(key, step, seed_hi, row, group) };
        I(unsafe { _mm512_inserti64x4::<1>(_mm512_castsi256_si512(low), high) })
    }
}
