//! Sixteen lanes as arrays, for every machine: each operation is the one on single numbers, lane by lane.

use super::long::{float_to_long, int_to_long, mask_of_long};
use super::{Float, Int, LANES, Mask, Simd};
use std::array::from_fn;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// The registers that the program was compiled for.
#[derive(Clone, Copy, Debug)]
pub struct Baseline;

/// Sixteen floats.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct F([f32; LANES]);

/// Sixteen integers.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct I([i32; LANES]);

/// Sixteen truths, -1 or 0: as wide as what they select, which vectorises where bytes would not.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
pub struct M([i32; LANES]);

/// Trait methods that go lane by lane to the same method of a single number, of one or two operands.
macro_rules! lane_by_lane {
    ($($result:ident: one [$($one:ident)*] two [$($two:ident)*];)*) => {
        $($(
            #[cfg_attr(not(feature = "calls"), inline(always))]
            fn $one(self) -> $result {
                $result(from_fn(|i| self.0[i].$one()))
            }
        )*
        $(
            #[cfg_attr(not(feature = "calls"), inline(always))]
            fn $two(self, b: Self) -> $result {
                $result(from_fn(|i| lane(self.0[i].$two(b.0[i]))))
            }
        )*)*
    };
}

/// What a lane holds for a result on single numbers.
trait Lane<T> {
    fn lane(self) -> T;
}

impl<T> Lane<T> for T {
    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn lane(self) -> T {
        self
    }
}

impl Lane<i32> for bool {
    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn lane(self) -> i32 {
        -i32::from(self)
    }
}

#[cfg_attr(not(feature = "calls"), inline(always))]
fn lane<T>(x: impl Lane<T>) -> T {
    x.lane()
}

impl Float for F {
    type Int = I;
    type Mask = M;

    float_to_long!(Baseline, Baseline);

    lane_by_lane! {
        F: one [fsqrt fabs ffloor fround] two [fmax fmin];
        M: one [] two [flt fle feq fne];
        I: one [ftoi fbits] two [];
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fma(self, b: F, c: F) -> F {
        F(from_fn(|i| self.0[i].fma(b.0[i], c.0[i])))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fturn(self, near: F, quarters: u8) -> F {
        F(from_fn(|i| self.0[i].fturn(near.0[i], quarters)))
    }
}

impl Int for I {
    type Float = F;
    type Mask = M;

    int_to_long!(Baseline, Baseline);

    lane_by_lane! {
        I: one [ineg] two [iadd isub imul imax imin iand ior ixor];
        M: one [] two [ilt ile ieq ine];
        F: one [itof ibits] two [];
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ishl(self, by: u32) -> I {
        I(from_fn(|i| self.0[i].ishl(by)))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ishr(self, by: u32) -> I {
        I(from_fn(|i| self.0[i].ishr(by)))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn isar(self, by: u32) -> I {
        I(from_fn(|i| self.0[i].isar(by)))
    }
}

impl Mask for M {
    type Float = F;
    type Int = I;

    mask_of_long!(Baseline);

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn mand(self, b: M) -> M {
        M(from_fn(|i| self.0[i] & b.0[i]))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn mor(self, b: M) -> M {
        M(from_fn(|i| self.0[i] | b.0[i]))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn mnot(self) -> M {
        M(from_fn(|i| !self.0[i]))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fselect(self, a: F, b: F) -> F {
        F(from_fn(|i| if self.0[i] != 0 { a.0[i] } else { b.0[i] }))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn iselect(self, a: I, b: I) -> I {
        I(from_fn(|i| if self.0[i] != 0 { a.0[i] } else { b.0[i] }))
    }
}

/// An operator, lane by lane.
macro_rules! operators {
    ($($trait:ident $method:ident)*) => {$(
        impl $trait for F {
            type Output = F;
            #[cfg_attr(not(feature = "calls"), inline(always))]
            fn $method(self, b: F) -> F {
                F(from_fn(|i| self.0[i].$method(b.0[i])))
            }
        }
    )*};
}

operators!(Add add Sub sub Mul mul Div div);

impl Neg for F {
    type Output = F;
    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn neg(self) -> F {
        F(self.0.map(|x| -x))
    }
}

impl Simd for Baseline {
    type F = F;
    type I = I;
    type M = M;

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn float(self, x: f32) -> F {
        F([x; LANES])
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn int(self, x: i32) -> I {
        I([x; LANES])
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn mask(self, x: bool) -> M {
        M([lane(x); LANES])
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn first(self, count: usize) -> M {
        M(from_fn(|i| lane(i < count)))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ramp(self) -> I {
        I(from_fn(|i| i as i32))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn floats(self, from: [f32; LANES]) -> F {
        F(from)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ints(self, from: [i32; LANES]) -> I {
        I(from)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn load_floats(self, from: &[f32]) -> F {
        let mut lanes = [0.0; LANES];
        lanes[..from.len()].copy_from_slice(from);
        F(lanes)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn load_ints(self, from: &[i32]) -> I {
        let mut lanes = [0; LANES];
        lanes[..from.len()].copy_from_slice(from);
        I(lanes)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn to_floats(self, x: F) -> [f32; LANES] {
        x.0
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn to_ints(self, x: I) -> [i32; LANES] {
        x.0
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn store_floats(self, x: F, to: &mut [f32]) {
        to.copy_from_slice(&x.0[..to.len()]);
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn store_ints(self, x: I, to: &mut [i32]) {
        to.copy_from_slice(&x.0[..to.len()]);
    }
}
