//! The machine operations on single numbers, as kernels' row phases use them, and as the other forms are defined by.

use super::long::remainder_ints;
use super::{Float, Int, Mask};
use dlc_plan::turn;

impl Float for f32 {
    type Int = i32;
    type Mask = bool;
    type Long = i64;

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ftol(self) -> i64 {
        self as i64
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fma(self, b: f32, c: f32) -> f32 {
        self.mul_add(b, c)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fmax(self, b: f32) -> f32 {
        if self < b || b.is_nan() { b } else { self }
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fmin(self, b: f32) -> f32 {
        if self > b || b.is_nan() { b } else { self }
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fturn(self, near: f32, quarters: u8) -> f32 {
        if self.abs() >= turn::FAR { turn::turn(self, quarters) } else { near }
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fsqrt(self) -> f32 {
        self.sqrt()
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fabs(self) -> f32 {
        self.abs()
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ffloor(self) -> f32 {
        self.floor()
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fround(self) -> f32 {
        self.round_ties_even()
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn flt(self, b: f32) -> bool {
        self < b
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fle(self, b: f32) -> bool {
        self <= b
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn feq(self, b: f32) -> bool {
        self == b
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fne(self, b: f32) -> bool {
        self != b
    }

    /// x86's conversion gives `i32::MIN` where Rust's would saturate.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ftoi(self) -> i32 {
        let limit = 2_147_483_648.0;
        if -limit <= self && self < limit { self as i32 } else { i32::MIN }
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fbits(self) -> i32 {
        self.to_bits() as i32
    }
}

impl Int for i32 {
    type Float = f32;
    type Mask = bool;
    type Long = i64;

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn irem(self, b: i32) -> i32 {
        remainder_ints(self, b)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ipair(self, high: i32) -> i64 {
        i64::from(high) << 32 | i64::from(self as u32)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn itol(self) -> i64 {
        self.into()
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn iadd(self, b: i32) -> i32 {
        self.wrapping_add(b)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn isub(self, b: i32) -> i32 {
        self.wrapping_sub(b)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn imul(self, b: i32) -> i32 {
        self.wrapping_mul(b)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ineg(self) -> i32 {
        self.wrapping_neg()
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn imax(self, b: i32) -> i32 {
        self.max(b)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn imin(self, b: i32) -> i32 {
        self.min(b)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn iand(self, b: i32) -> i32 {
        self & b
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ior(self, b: i32) -> i32 {
        self | b
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ixor(self, b: i32) -> i32 {
        self ^ b
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ishl(self, by: u32) -> i32 {
        self.wrapping_shl(by)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ishr(self, by: u32) -> i32 {
        (self as u32).wrapping_shr(by) as i32
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn isar(self, by: u32) -> i32 {
        self.wrapping_shr(by)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ilt(self, b: i32) -> bool {
        self < b
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ile(self, b: i32) -> bool {
        self <= b
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ieq(self, b: i32) -> bool {
        self == b
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ine(self, b: i32) -> bool {
        self != b
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn itof(self) -> f32 {
        self as f32
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn ibits(self) -> f32 {
        f32::from_bits(self as u32)
    }
}

impl Mask for bool {
    type Float = f32;
    type Int = i32;
    type Long = i64;

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn lselect(self, a: i64, b: i64) -> i64 {
        if self { a } else { b }
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn mand(self, b: bool) -> bool {
        self & b
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn mor(self, b: bool) -> bool {
        self | b
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn mnot(self) -> bool {
        !self
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn fselect(self, a: f32, b: f32) -> f32 {
        if self { a } else { b }
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn iselect(self, a: i32, b: i32) -> i32 {
        if self { a } else { b }
    }
}
