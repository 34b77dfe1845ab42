//! What a kernel that is written in Rust sees of its call: its scalars, and checked access to its buffers.
//!
//! Emitted kernels are safe Rust over this. Every access is checked against the buffer's length; the check is one
//! comparison for sixteen elements. The only trust is in whoever makes an [`Args`]: the engine, from a plan it checked.

use crate::isa::Isa;
use dlc_plan::kernel::{Args, KernelFn, LANES};
use std::ops::Range;

/// A kernel in Rust.
pub trait Code {
    /// Runs some rows. To be marked `#[inline(always)]`, so that it is compiled for each instruction set.
    fn run(x: &Call, rows: Range<i64>);
}

/// A call of a kernel.
pub struct Call<'a> {
    args: &'a Args,
}

/// What a buffer may hold.
pub trait Element: Copy + Default {}
impl Element for f32 {}
impl Element for i32 {}
impl Element for u8 {}

/// The code of a kernel for the best instruction set of this machine.
pub fn code<K: Code>() -> KernelFn {
    match Isa::best() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => avx512::<K>,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::<K>,
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx512 | Isa::Avx2 => baseline::<K>,
        Isa::Baseline => baseline::<K>,
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe extern "C" fn avx512<K: Code>(args: *const Args, first: u64, last: u64) {
    // SAFETY: the engine calls with arguments that fit the kernel, for the duration of the call.
    K::run(&Call { args: unsafe { &*args } }, first as i64..last as i64);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe extern "C" fn avx2<K: Code>(args: *const Args, first: u64, last: u64) {
    // SAFETY: the engine calls with arguments that fit the kernel, for the duration of the call.
    K::run(&Call { args: unsafe { &*args } }, first as i64..last as i64);
}

unsafe extern "C" fn baseline<K: Code>(args: *const Args, first: u64, last: u64) {
    // SAFETY: the engine calls with arguments that fit the kernel, for the duration of the call.
    K::run(&Call { args: unsafe { &*args } }, first as i64..last as i64);
}

#[cold]
fn outside(buf: usize, at: i64, len: u64) -> ! {
    panic!("element {at} of buffer {buf} is outside its {len} elements: this is a bug in dlc")
}

impl Call<'_> {
    /// A scalar of the call, as its bits.
    #[inline(always)]
    pub fn bits(&self, i: usize) -> u32 {
        // SAFETY: the engine checked that there are as many scalars as the kernel names.
        unsafe { *self.args.uniforms.add(i) }
    }

    /// A real scalar of the call.
    #[inline(always)]
    pub fn real(&self, i: usize) -> f32 {
        f32::from_bits(self.bits(i))
    }

    /// A whole scalar of the call.
    #[inline(always)]
    pub fn whole(&self, i: usize) -> i32 {
        self.bits(i) as i32
    }

    /// An extent, stride or offset of the call.
    #[inline(always)]
    pub fn ext(&self, i: usize) -> i64 {
        // SAFETY: the engine checked that there are as many extents as the kernel names.
        unsafe { *self.args.exts.add(i) }
    }

    /// The address of `count` elements, `stride` apart, after checking that they are inside.
    #[inline(always)]
    fn place<T>(&self, buf: usize, at: i64, last: i64) -> *mut T {
        // SAFETY: the engine checked that there are as many buffers as the kernel names.
        let (start, len) = unsafe { (*self.args.bufs.add(buf), *self.args.lens.add(buf)) };
        if at.min(last) < 0 || at.max(last) as u64 >= len {
            outside(buf, at, len);
        }
        // SAFETY: both ends are inside the buffer.
        unsafe { start.cast::<T>().offset(at as isize) }
    }

    /// One element.
    #[inline(always)]
    pub fn get<T: Element>(&self, buf: usize, at: i64) -> T {
        // SAFETY: `place` checked the element; buffers are aligned for theirs.
        unsafe { *self.place::<T>(buf, at, at) }
    }

    /// One element, or zero where there is none.
    #[inline(always)]
    pub fn get_if<T: Element>(&self, inside: bool, buf: usize, at: i64) -> T {
        if inside { self.get(buf, at) } else { T::default() }
    }

    /// Writes one element.
    #[inline(always)]
    pub fn set<T: Element>(&self, buf: usize, at: i64, v: T) {
        // SAFETY: `place` checked the element; rows are handed out to one thread each.
        unsafe { *self.place::<T>(buf, at, at) = v }
    }

    /// The first `n` of sixteen elements, `stride` apart; zeros behind them.
    #[inline(always)]
    pub fn load<T: Element>(&self, buf: usize, at: i64, stride: i64, n: usize) -> [T; LANES] {
        if stride == 0 {
            return [self.get(buf, at); LANES];
        }
        let p = self.place::<T>(buf, at, at + stride * (n as i64 - 1));
        if stride == 1 && n == LANES {
            // SAFETY: `place` checked all sixteen.
            return unsafe { p.cast::<[T; LANES]>().read() };
        }
        // SAFETY: `place` checked the first and the last of the `n` elements, so those between are inside too.
        std::array::from_fn(|l| if l < n { unsafe { *p.offset(l as isize * stride as isize) } } else { T::default() })
    }

    /// Writes the first `n` of sixteen elements, `stride` apart.
    #[inline(always)]
    pub fn store<T: Element>(&self, buf: usize, at: i64, stride: i64, v: [T; LANES], n: usize) {
        let p = self.place::<T>(buf, at, at + stride * (n as i64 - 1));
        if stride == 1 && n == LANES {
            // SAFETY: `place` checked all sixteen; rows are handed out to one thread each.
            return unsafe { p.cast::<[T; LANES]>().write(v) };
        }
        for (l, x) in v.iter().enumerate().take(n) {
            // SAFETY: `place` checked the first and the last of the `n` elements, so those between are inside too.
            unsafe { *p.offset(l as isize * stride as isize) = *x }
        }
    }

    /// The first `n` of sixteen elements at places of their own; zeros where there is none, and behind them.
    #[inline(always)]
    pub fn pick<T: Element>(&self, buf: usize, n: usize, at: impl Fn(usize) -> Option<i64>) -> [T; LANES] {
        std::array::from_fn(|l| match if l < n { at(l) } else { None } {
            Some(at) => self.get(buf, at),
            None => T::default(),
        })
    }

    /// Joins `n` elements to a row fold's partial results, from the one with number `at` on.
    #[inline(always)]
    pub fn fold<T: Element>(&self, slot: usize, at: i64, v: [T; LANES], n: usize, join: impl Fn(T, T) -> T) {
        // SAFETY: the engine checked that there are as many fold slots as the kernel names.
        let (start, len) = unsafe { (*self.args.folds.add(slot), *self.args.fold_lens.add(slot)) };
        if at < 0 || at as u64 + n as u64 > len {
            outside(slot, at, len);
        }
        // SAFETY: the `n` elements are inside, and every chunk has partial results of its own.
        let p = unsafe { start.cast::<T>().add(at as usize) };
        if n == LANES {
            // SAFETY: as above, for all sixteen.
            unsafe {
                let old = p.cast::<[T; LANES]>().read();
                p.cast::<[T; LANES]>().write(std::array::from_fn(|l| join(old[l], v[l])));
            }
            return;
        }
        for (l, x) in v.iter().enumerate().take(n) {
            // SAFETY: as above.
            unsafe { *p.add(l) = join(*p.add(l), *x) }
        }
    }
}
