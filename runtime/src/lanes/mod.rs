//! The machine operations of kernels, for Rust: on single numbers and on sixteen side by side. What `model!` emits is
//! written with these; they give the same bits as machine code does (the bits of a NaN aside: which NaN is not said).
//!
//! A kernel is written once, as a [`Work`]: a function over any [`Simd`]. [`dispatch`] runs it with the registers of the
//! instruction set that was asked for. Numbers side by side are made by the `Simd` value that the work is given, which
//! exists only where the machine has the instructions; so everything here is safe.
//!
//! Operations are operators and methods of [`Float`], [`Int`] and [`Mask`], and functions under the kernels' names in
//! [`ops`].

mod array;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod long;
pub mod ops;
mod scalar;

pub use array::Baseline;
#[cfg(target_arch = "x86_64")]
pub use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub use avx512::Avx512;
pub use long::{Long, Longs};

use crate::isa::Isa;
use std::ops::{Add, Div, Mul, Neg, Sub};

/// Numbers side by side.
pub const LANES: usize = 16;

/// Single-precision numbers: `f32`, or sixteen.
///
/// Arithmetic rounds to nearest, ties to even, and keeps subnormals.
pub trait Float:
    Copy + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    /// Integers of the same number of lanes.
    type Int: Int<Float = Self, Mask = Self::Mask>;
    /// Truths of the same number of lanes.
    type Mask: Mask<Float = Self, Int = Self::Int>;
    /// Integers of 64 bits of the same number of lanes.
    type Long;

    /// `self * b + c`, rounded once.
    fn fma(self, b: Self, c: Self) -> Self;
    /// `if self < b || b != b { b } else { self }`: NaN if either is.
    fn fmax(self, b: Self) -> Self;
    /// `if self > b || b != b { b } else { self }`: NaN if either is.
    fn fmin(self, b: Self) -> Self;
    /// `near`, or where `self` is far from 0, what [`dlc_plan::turn::turn`] gives.
    fn fturn(self, near: Self, quarters: u8) -> Self;
    /// The square root.
    fn fsqrt(self) -> Self;
    /// The absolute value.
    fn fabs(self) -> Self;
    /// The largest integer that is not larger.
    fn ffloor(self) -> Self;
    /// The nearest integer, ties to even.
    fn fround(self) -> Self;
    /// `self < b`.
    fn flt(self, b: Self) -> Self::Mask;
    /// `self <= b`.
    fn fle(self, b: Self) -> Self::Mask;
    /// `self == b`.
    fn feq(self, b: Self) -> Self::Mask;
    /// `self != b`, true for NaN.
    fn fne(self, b: Self) -> Self::Mask;
    /// Towards zero; what does not fit, NaN among it, gives `i32::MIN`.
    fn ftoi(self) -> Self::Int;
    /// The bits as an integer.
    fn fbits(self) -> Self::Int;
    /// Towards zero; the nearest integer of 64 bits of what does not fit, and 0 of NaN.
    fn ftol(self) -> Self::Long;
}

/// Integers of 32 bits that wrap: `i32`, or sixteen.
pub trait Int: Copy {
    /// Floats of the same number of lanes.
    type Float;
    /// Truths of the same number of lanes.
    type Mask;
    /// Integers of 64 bits of the same number of lanes.
    type Long;

    /// The sum.
    fn iadd(self, b: Self) -> Self;
    /// The difference.
    fn isub(self, b: Self) -> Self;
    /// The product.
    fn imul(self, b: Self) -> Self;
    /// `0 - self`.
    fn ineg(self) -> Self;
    /// The larger one.
    fn imax(self, b: Self) -> Self;
    /// The smaller one.
    fn imin(self, b: Self) -> Self;
    /// Both bits.
    fn iand(self, b: Self) -> Self;
    /// Either bit.
    fn ior(self, b: Self) -> Self;
    /// One of the bits.
    fn ixor(self, b: Self) -> Self;
    /// Shift left by less than 32.
    fn ishl(self, by: u32) -> Self;
    /// Shift right by less than 32, filling with zeros.
    fn ishr(self, by: u32) -> Self;
    /// Shift right by less than 32, filling with the sign.
    fn isar(self, by: u32) -> Self;
    /// `self < b`.
    fn ilt(self, b: Self) -> Self::Mask;
    /// `self <= b`.
    fn ile(self, b: Self) -> Self::Mask;
    /// `self == b`.
    fn ieq(self, b: Self) -> Self::Mask;
    /// `self != b`.
    fn ine(self, b: Self) -> Self::Mask;
    /// The nearest f32, ties to even.
    fn itof(self) -> Self::Float;
    /// The bits as an f32.
    fn ibits(self) -> Self::Float;
    /// The remainder with the divisor's sign; 0 where the divisor is.
    fn irem(self, b: Self) -> Self;
    /// An integer of 64 bits of its low and its high half.
    fn ipair(self, high: Self) -> Self::Long;
    /// To 64 bits, with the sign.
    fn itol(self) -> Self::Long;
}

/// Truths: `bool`, or sixteen.
pub trait Mask: Copy {
    /// Floats of the same number of lanes.
    type Float;
    /// Integers of the same number of lanes.
    type Int;
    /// Integers of 64 bits of the same number of lanes.
    type Long;

    /// Both.
    fn mand(self, b: Self) -> Self;
    /// Either.
    fn mor(self, b: Self) -> Self;
    /// Not.
    fn mnot(self) -> Self;
    /// Floats of `a` where true, else of `b`.
    fn fselect(self, a: Self::Float, b: Self::Float) -> Self::Float;
    /// Integers of `a` where true, else of `b`.
    fn iselect(self, a: Self::Int, b: Self::Int) -> Self::Int;
    /// Integers of 64 bits of `a` where true, else of `b`.
    fn lselect(self, a: Self::Long, b: Self::Long) -> Self::Long;
}

/// The registers of an instruction set, and the making of values in them.
pub trait Simd: Copy {
    /// Sixteen floats.
    type F: Float<Int = Self::I, Mask = Self::M, Long = Longs<Self>>;
    /// Sixteen integers.
    type I: Int<Float = Self::F, Mask = Self::M, Long = Longs<Self>>;
    /// Sixteen truths.
    type M: Mask<Float = Self::F, Int = Self::I, Long = Longs<Self>>;

    /// The same float in every lane.
    fn float(self, x: f32) -> Self::F;
    /// The same integer in every lane.
    fn int(self, x: i32) -> Self::I;
    /// The same truth in every lane.
    fn mask(self, x: bool) -> Self::M;
    /// True in the first `count` lanes.
    fn first(self, count: usize) -> Self::M;
    /// 0, 1, 2, .. 15.
    fn ramp(self) -> Self::I;

    /// Floats from an array.
    fn floats(self, from: [f32; LANES]) -> Self::F;
    /// Integers from an array.
    fn ints(self, from: [i32; LANES]) -> Self::I;
    /// Floats from at most 16 numbers, zeros after them.
    ///
    /// # Panics
    /// When there are more.
    fn load_floats(self, from: &[f32]) -> Self::F;
    /// Integers from at most 16 numbers, zeros after them.
    ///
    /// # Panics
    /// When there are more.
    fn load_ints(self, from: &[i32]) -> Self::I;

    /// Floats to an array.
    fn to_floats(self, x: Self::F) -> [f32; LANES];
    /// Integers to an array.
    fn to_ints(self, x: Self::I) -> [i32; LANES];
    /// The first floats to at most 16 numbers.
    ///
    /// # Panics
    /// When there are more.
    fn store_floats(self, x: Self::F, to: &mut [f32]);
    /// The first integers to at most 16 numbers.
    ///
    /// # Panics
    /// When there are more.
    fn store_ints(self, x: Self::I, to: &mut [i32]);

    /// The random bits of a row's columns `16 * group ..`, as [`dlc_plan::random::bits16`] numbers them.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn random(self, key: [u32; 2], step: u32, seed_hi: u32, row: u32, group: u32) -> Self::I {
        self.ints(dlc_plan::random::bits16(key, step, seed_hi, row, group).map(|bits| bits as i32))
    }
}

/// Something to do in sixteen lanes.
pub trait Work {
    /// What it gives.
    type Output;
    /// Does it. Implementations need `#[inline(always)]`, and so does every function that they hand values in registers to:
    /// only then is the code compiled with the instructions of `S`.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// Does some work with the best instruction set of this machine that is not better than `most`.
#[inline]
pub fn dispatch<W: Work>(most: Isa, work: W) -> W::Output {
    match most {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => match Avx512::here() {
            // SAFETY: `here` saw the instructions.
            Some(simd) => unsafe { avx512::run(work, simd) },
            None => dispatch(Isa::Avx2, work),
        },
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => match Avx2::here() {
            // SAFETY: `here` saw the instructions.
            Some(simd) => unsafe { avx2::run(work, simd) },
            None => work.run(Baseline),
        },
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx512 | Isa::Avx2 => work.run(Baseline),
        Isa::Baseline => work.run(Baseline),
    }
}

/// Joins sixteen partial results as column folds do: halves are joined lane by lane, then their halves, to one.
#[cfg_attr(not(feature = "calls"), inline(always))]
pub fn halve<T: Copy>(mut lanes: [T; LANES], join: impl Fn(T, T) -> T) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = join(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// [`Float::fturn`] of sixteen numbers of which some are far from 0.
#[cold]
#[inline(never)]
fn turned(x: &[f32; LANES], near: &[f32; LANES], quarters: u8) -> [f32; LANES] {
    std::array::from_fn(|l| x[l].fturn(near[l], quarters))
}
