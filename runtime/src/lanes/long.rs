//! Integers of 64 bits: one, or sixteen side by side as an array, whatever the registers are.

use super::{Int, LANES, Mask, Simd};
use std::array::from_fn;

/// Integers of 64 bits that wrap: `i64`, or sixteen.
pub trait Long: Copy {
    /// Floats of the same number of lanes.
    type Float;
    /// Integers of 32 bits of the same number of lanes.
    type Int;
    /// Truths of the same number of lanes.
    type Mask;

    /// The sum.
    fn ladd(self, b: Self) -> Self;
    /// The difference.
    fn lsub(self, b: Self) -> Self;
    /// The product.
    fn lmul(self, b: Self) -> Self;
    /// `0 - self`.
    fn lneg(self) -> Self;
    /// The larger one.
    fn lmax(self, b: Self) -> Self;
    /// The smaller one.
    fn lmin(self, b: Self) -> Self;
    /// The remainder with the divisor's sign; 0 where the divisor is.
    fn lrem(self, b: Self) -> Self;
    /// `self < b`.
    fn llt(self, b: Self) -> Self::Mask;
    /// `self <= b`.
    fn lle(self, b: Self) -> Self::Mask;
    /// `self == b`.
    fn leq(self, b: Self) -> Self::Mask;
    /// `self != b`.
    fn lne(self, b: Self) -> Self::Mask;
    /// The nearest f32, ties to even.
    fn ltof(self) -> Self::Float;
    /// The low 32 bits.
    fn ltoi(self) -> Self::Int;
}

/// The remainder with the divisor's sign; 0 where the divisor is.
macro_rules! remainder {
    ($name:ident $int:ty) => {
        /// The remainder with the divisor's sign; 0 where the divisor is.
        #[cfg_attr(not(feature = "calls"), inline(always))]
        pub(super) fn $name(a: $int, b: $int) -> $int {
            if b == 0 {
                return 0;
            }
            let r = a.wrapping_rem(b);
            if r != 0 && (r < 0) != (b < 0) { r + b } else { r }
        }
    };
}

remainder!(remainder_ints i32);
remainder!(remainder_longs i64);

impl Long for i64 {
    type Float = f32;
    type Int = i32;
    type Mask = bool;

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ladd(self, b: i64) -> i64 {
        self.wrapping_add(b)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn lsub(self, b: i64) -> i64 {
        self.wrapping_sub(b)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn lmul(self, b: i64) -> i64 {
        self.wrapping_mul(b)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn lneg(self) -> i64 {
        self.wrapping_neg()
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn lmax(self, b: i64) -> i64 {
        self.max(b)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn lmin(self, b: i64) -> i64 {
        self.min(b)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn lrem(self, b: i64) -> i64 {
        remainder_longs(self, b)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn llt(self, b: i64) -> bool {
        self < b
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn lle(self, b: i64) -> bool {
        self <= b
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn leq(self, b: i64) -> bool {
        self == b
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn lne(self, b: i64) -> bool {
        self != b
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ltof(self) -> f32 {
        self as f32
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ltoi(self) -> i32 {
        self as i32
    }
}

/// Sixteen integers of 64 bits, and the registers that go with them.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct Longs<S> {
    lanes: [i64; LANES],
    simd: S,
}

impl<S: Simd> Longs<S> {
    /// From an array.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn new(simd: S, lanes: [i64; LANES]) -> Longs<S> {
        Longs { lanes, simd }
    }

    /// As an array.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn array(self) -> [i64; LANES] {
        self.lanes
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn with(self, b: Longs<S>, f: impl Fn(i64, i64) -> i64) -> Longs<S> {
        Longs { lanes: from_fn(|l| f(self.lanes[l], b.lanes[l])), simd: self.simd }
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn compared(self, b: Longs<S>, f: impl Fn(i64, i64) -> bool) -> S::M {
        let found = self.simd.ints(from_fn(|l| i32::from(f(self.lanes[l], b.lanes[l]))));
        found.ine(self.simd.int(0))
    }

    /// Lanes of `a` where true, else of `b`.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub(super) fn select(mask: S::M, a: Longs<S>, b: Longs<S>) -> Longs<S> {
        let chosen = a.simd.to_ints(mask.iselect(a.simd.int(1), a.simd.int(0)));
        Longs { lanes: from_fn(|l| if chosen[l] != 0 { a.lanes[l] } else { b.lanes[l] }), simd: a.simd }
    }

    /// From floats: towards zero, the nearest integer of what does not fit, 0 of NaN.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub(super) fn of_floats(simd: S, x: S::F) -> Longs<S> {
        Longs { lanes: simd.to_floats(x).map(|x| x as i64), simd }
    }

    /// From integers of 32 bits.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub(super) fn of_ints(simd: S, x: S::I) -> Longs<S> {
        Longs { lanes: simd.to_ints(x).map(i64::from), simd }
    }

    /// From their halves.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub(super) fn of_halves(simd: S, low: S::I, high: S::I) -> Longs<S> {
        let (low, high) = (simd.to_ints(low), simd.to_ints(high));
        Longs { lanes: from_fn(|l| low[l].ipair(high[l])), simd }
    }
}

impl<S: Simd> Long for Longs<S> {
    type Float = S::F;
    type Int = S::I;
    type Mask = S::M;

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ladd(self, b: Self) -> Self {
        self.with(b, i64::ladd)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn lsub(self, b: Self) -> Self {
        self.with(b, i64::lsub)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn lmul(self, b: Self) -> Self {
        self.with(b, i64::lmul)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn lneg(self) -> Self {
        Longs { lanes: self.lanes.map(i64::lneg), simd: self.simd }
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn lmax(self, b: Self) -> Self {
        self.with(b, i64::lmax)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn lmin(self, b: Self) -> Self {
        self.with(b, i64::lmin)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn lrem(self, b: Self) -> Self {
        self.with(b, i64::lrem)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn llt(self, b: Self) -> S::M {
        self.compared(b, i64::llt)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn lle(self, b: Self) -> S::M {
        self.compared(b, i64::lle)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn leq(self, b: Self) -> S::M {
        self.compared(b, i64::leq)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn lne(self, b: Self) -> S::M {
        self.compared(b, i64::lne)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ltof(self) -> S::F {
        self.simd.floats(self.lanes.map(i64::ltof))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ltoi(self) -> S::I {
        self.simd.ints(self.lanes.map(i64::ltoi))
    }
}

/// What [`super::Float`] says of integers of 64 bits, for sixteen floats of some registers.
macro_rules! float_to_long {
    ($simd:ty, $here:expr) => {
        type Long = $crate::lanes::Longs<$simd>;

        #[cfg_attr(not(feature = "calls"), inline(always))]
        fn ftol(self) -> Self::Long {
            $crate::lanes::Longs::of_floats($here, self)
        }
    };
}

/// What [`super::Int`] says of integers of 64 bits and of remainders, for sixteen integers of some registers.
macro_rules! int_to_long {
    ($simd:ty, $here:expr) => {
        type Long = $crate::lanes::Longs<$simd>;

        #[cfg_attr(not(feature = "calls"), inline(always))]
        fn irem(self, b: Self) -> Self {
            let (x, y) = ($here.to_ints(self), $here.to_ints(b));
            $here.ints(std::array::from_fn(|l| x[l].irem(y[l])))
        }

        #[cfg_attr(not(feature = "calls"), inline(always))]
        fn ipair(self, high: Self) -> Self::Long {
            $crate::lanes::Longs::of_halves($here, self, high)
        }

        #[cfg_attr(not(feature = "calls"), inline(always))]
        fn itol(self) -> Self::Long {
            $crate::lanes::Longs::of_ints($here, self)
        }
    };
}

/// What [`super::Mask`] says of integers of 64 bits, for sixteen truths of some registers.
macro_rules! mask_of_long {
    ($simd:ty) => {
        type Long = $crate::lanes::Longs<$simd>;

        #[cfg_attr(not(feature = "calls"), inline(always))]
        fn lselect(self, a: Self::Long, b: Self::Long) -> Self::Long {
            $crate::lanes::Longs::select(self, a, b)
        }
    };
}

pub(super) use {float_to_long, int_to_long, mask_of_long};
