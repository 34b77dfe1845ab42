//! The machine operations as functions, under the names that kernels know them by: for one number or sixteen.

use super::{Float, Int, Long, Mask};

/// `a + b`.
#[cfg_attr(not(feature = "calls"), inline(always))]
pub fn fadd<T: Float>(a: T, b: T) -> T {
    a + b
}

/// `a - b`.
#[cfg_attr(not(feature = "calls"), inline(always))]
pub fn fsub<T: Float>(a: T, b: T) -> T {
    a - b
}

/// `a * b`.
#[cfg_attr(not(feature = "calls"), inline(always))]
pub fn fmul<T: Float>(a: T, b: T) -> T {
    a * b
}

/// `a / b`.
#[cfg_attr(not(feature = "calls"), inline(always))]
pub fn fdiv<T: Float>(a: T, b: T) -> T {
    a / b
}

/// `-a`.
#[cfg_attr(not(feature = "calls"), inline(always))]
pub fn fneg<T: Float>(a: T) -> T {
    -a
}

/// `a * b + c`, rounded once.
#[cfg_attr(not(feature = "calls"), inline(always))]
pub fn fmuladd<T: Float>(a: T, b: T, c: T) -> T {
    a.fma(b, c)
}

/// Functions that are the method of the same name.
macro_rules! methods {
    ($($trait:ident { $($name:ident ($($arg:ident: $ty:ty),*) -> $result:ty;)* })*) => {$($(
        #[doc = concat!("[`", stringify!($trait), "::", stringify!($name), "`].")]
        #[cfg_attr(not(feature = "calls"), inline(always))]
        pub fn $name<T: $trait>(a: T, $($arg: $ty),*) -> $result {
            a.$name($($arg),*)
        }
    )*)*};
}

methods! {
    Float {
        fmax(b: T) -> T;
        fmin(b: T) -> T;
        fturn(near: T, quarters: u8) -> T;
        fsqrt() -> T;
        fabs() -> T;
        ffloor() -> T;
        fround() -> T;
        flt(b: T) -> T::Mask;
        fle(b: T) -> T::Mask;
        feq(b: T) -> T::Mask;
        fne(b: T) -> T::Mask;
        ftoi() -> T::Int;
        fbits() -> T::Int;
        ftol() -> T::Long;
    }
    Int {
        iadd(b: T) -> T;
        isub(b: T) -> T;
        imul(b: T) -> T;
        ineg() -> T;
        imax(b: T) -> T;
        imin(b: T) -> T;
        iand(b: T) -> T;
        ior(b: T) -> T;
        ixor(b: T) -> T;
        ishl(by: u32) -> T;
        ishr(by: u32) -> T;
        isar(by: u32) -> T;
        ilt(b: T) -> T::Mask;
        ile(b: T) -> T::Mask;
        ieq(b: T) -> T::Mask;
        ine(b: T) -> T::Mask;
        itof() -> T::Float;
        ibits() -> T::Float;
        irem(b: T) -> T;
        ipair(high: T) -> T::Long;
        itol() -> T::Long;
    }
    Long {
        ladd(b: T) -> T;
        lsub(b: T) -> T;
        lmul(b: T) -> T;
        lneg() -> T;
        lmax(b: T) -> T;
        lmin(b: T) -> T;
        lrem(b: T) -> T;
        llt(b: T) -> T::Mask;
        lle(b: T) -> T::Mask;
        leq(b: T) -> T::Mask;
        lne(b: T) -> T::Mask;
        ltof() -> T::Float;
        ltoi() -> T::Int;
    }
    Mask {
        mand(b: T) -> T;
        mor(b: T) -> T;
        mnot() -> T;
        fselect(x: T::Float, y: T::Float) -> T::Float;
        iselect(x: T::Int, y: T::Int) -> T::Int;
        lselect(x: T::Long, y: T::Long) -> T::Long;
    }
}
