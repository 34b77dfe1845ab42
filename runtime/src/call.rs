//! What a kernel that is written in Rust sees of its call: its scalars, and checked access to its buffers.
//!
//! Emitted kernels are safe Rust over this, and so may any other code be that implements [`Code`]: whatever it asks for,
//! it gets no memory but that of its call. What it takes is a constant, which the engine compares with the plan, so that
//! numbers and types of buffers cost nothing to check. Every element is checked against the part of the buffer that the call
//! may touch: all of it, or, where the kernel writes, what belongs to the rows of this call or to the row that it is at, so
//! that no two threads touch the same element. The check is one for sixteen elements. What fails reads as zeros, is not written, and makes
//! the run an error. So does a panic, which ends the call and goes no further.

use crate::engine::ByRow;
use crate::isa::Isa;
#[cfg(target_arch = "x86_64")]
use crate::lanes::{Avx2, Avx512};
use crate::lanes::{Baseline, Int, LANES, Longs, Mask, Simd};
use dlc_plan::kernel::{Args, Axis, BufTy, Elem, Ext, Kernel, KernelFn, Kind, Total};
use std::mem::forget;
use std::ops::{Add, Range, Sub};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};

/// A kernel in Rust.
pub trait Code {
    /// What it takes.
    const TAKES: Takes;
    /// Runs some rows. To be marked `#[inline(always)]`, so that it is compiled for each instruction set.
    fn run<S: Simd>(x: &Call<S>, rows: Range<i64>);
}

/// What a kernel in Rust takes.
#[derive(Clone, Copy, Debug)]
pub struct Takes {
    /// Its buffers.
    pub bufs: &'static [BufTy],
    /// How many scalars.
    pub uniforms: usize,
    /// How many extents.
    pub exts: usize,
    /// The kinds of its fold slots.
    pub folds: &'static [Kind],
    /// What it reads and writes of the buffers that it writes. It gets no more than that.
    pub touches: &'static [Touch],
}

/// Elements of a buffer, one for each point of a kernel's loops.
#[derive(Clone, Copy, Debug)]
pub struct Touch {
    /// The buffer.
    pub buf: u16,
    /// The number of the first element.
    pub offset: Ext,
    /// Elements from an index to the next, along the axes that matter.
    pub terms: &'static [(Axis, Ext)],
}

impl Takes {
    /// Whether a kernel of a plan is given as much, of the same types, and has such loops.
    pub(crate) fn fits(&self, kernel: &Kernel) -> bool {
        let given = |ext: &Ext| !matches!(ext, Ext::Arg(i) if usize::from(*i) >= self.exts);
        let axis = |axis: &Axis| match axis {
            Axis::Row(i) => usize::from(*i) < kernel.rows.len(),
            Axis::Col(i) => usize::from(*i) < kernel.cols.len(),
        };
        let there = |t: &Touch| given(&t.offset) && t.terms.iter().all(|(a, ext)| axis(a) && given(ext));
        let folds = (0..self.folds.len()).map(|slot| crate::check::fold_of(kernel, slot).map(|fold| fold.kind));
        self.bufs == kernel.bufs
            && self.uniforms == kernel.uniforms.len()
            && self.exts == usize::from(kernel.exts)
            && self.folds.len() == usize::from(kernel.folds)
            && self.touches.iter().all(there)
            && folds.zip(self.folds).all(|(found, kind)| found == Some(*kind))
    }
}

/// A buffer that is read.
pub const fn reads(elem: Elem) -> BufTy {
    BufTy { elem, written: false }
}

/// A buffer that is written, and perhaps read.
pub const fn writes(elem: Elem) -> BufTy {
    BufTy { elem, written: true }
}

/// The code of a kernel in Rust, made by [`code`].
#[derive(Clone, Copy, Debug)]
pub struct RustKernel {
    code: KernelFn,
    takes: Takes,
}

impl RustKernel {
    /// The function. It may be called with arguments that have as much as [`RustKernel::takes`] says.
    pub fn function(&self) -> KernelFn {
        self.code
    }

    /// What it takes.
    pub fn takes(&self) -> Takes {
        self.takes
    }
}

/// A call of a kernel, and the registers that it computes in.
pub struct Call<'a, S> {
    args: &'a Args,
    takes: Takes,
    simd: S,
}

/// A sum over columns in the making: sixteen partial results of a run of blocks, and their totals.
#[derive(Clone, Copy)]
pub struct Sum<S: Simd> {
    run: S::F,
    high: S::F,
    low: S::F,
    /// How many blocks the run has.
    blocks: u64,
    /// Whether any run has ended.
    long: bool,
}

/// What a buffer may hold, and what sixteen elements are in registers.
pub trait Element: Copy + Default + sealed::Sealed {
    /// What it is in a buffer.
    const ELEM: Elem;
    /// Sixteen elements.
    type Many<S: Simd>: Copy;
    /// One of the sixteen: bytes become integers.
    type Lane: Copy;
    /// The element in every lane.
    fn splat<S: Simd>(simd: S, x: Self::Lane) -> Self::Many<S>;
    /// At most sixteen elements, zeros behind them.
    fn load<S: Simd>(simd: S, from: &[Self]) -> Self::Many<S>;
    /// The first lanes to at most sixteen elements; bytes keep the low eight bits.
    fn store<S: Simd>(simd: S, lanes: Self::Many<S>, to: &mut [Self]);
    /// The lanes as an array.
    fn array<S: Simd>(simd: S, lanes: Self::Many<S>) -> [Self::Lane; LANES];
    /// Lanes of `a` where true, else of `b`.
    fn select<S: Simd>(mask: S::M, a: Self::Many<S>, b: Self::Many<S>) -> Self::Many<S>;
}

/// Any bits are one of these, and the engine aligns buffers for them.
mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for i64 {}
    impl Sealed for i32 {}
    impl Sealed for u8 {}
}

/// Implements [`Element`] for what is in registers as it is in memory.
macro_rules! element {
    ($one:ty, $elem:ident, $many:ident, $make:ident, $load:ident, $store:ident, $array:ident, $select:ident) => {
        impl Element for $one {
            const ELEM: Elem = Elem::$elem;
            type Many<S: Simd> = S::$many;
            type Lane = $one;

            #[cfg_attr(not(feature = "calls"), inline(always))]
            fn splat<S: Simd>(simd: S, x: $one) -> S::$many {
                simd.$make(x)
            }

            #[cfg_attr(not(feature = "calls"), inline(always))]
            fn load<S: Simd>(simd: S, from: &[$one]) -> S::$many {
                simd.$load(from)
            }

            #[cfg_attr(not(feature = "calls"), inline(always))]
            fn store<S: Simd>(simd: S, lanes: S::$many, to: &mut [$one]) {
                simd.$store(lanes, to);
            }

            #[cfg_attr(not(feature = "calls"), inline(always))]
            fn array<S: Simd>(simd: S, lanes: S::$many) -> [$one; LANES] {
                simd.$array(lanes)
            }

            #[cfg_attr(not(feature = "calls"), inline(always))]
            fn select<S: Simd>(mask: S::M, a: S::$many, b: S::$many) -> S::$many {
                mask.$select(a, b)
            }
        }
    };
}

element!(f32, F32, F, float, load_floats, store_floats, to_floats, fselect);
element!(i32, I32, I, int, load_ints, store_ints, to_ints, iselect);

impl Element for i64 {
    const ELEM: Elem = Elem::I64;
    type Many<S: Simd> = Longs<S>;
    type Lane = i64;

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn splat<S: Simd>(simd: S, x: i64) -> Longs<S> {
        Longs::new(simd, [x; LANES])
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn load<S: Simd>(simd: S, from: &[i64]) -> Longs<S> {
        Longs::new(simd, std::array::from_fn(|l| from.get(l).copied().unwrap_or(0)))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn store<S: Simd>(_: S, lanes: Longs<S>, to: &mut [i64]) {
        to.copy_from_slice(&lanes.array()[..to.len()]);
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn array<S: Simd>(_: S, lanes: Longs<S>) -> [i64; LANES] {
        lanes.array()
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn select<S: Simd>(mask: S::M, a: Longs<S>, b: Longs<S>) -> Longs<S> {
        mask.lselect(a, b)
    }
}

impl Element for u8 {
    const ELEM: Elem = Elem::U8;
    type Many<S: Simd> = S::I;
    type Lane = i32;

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn splat<S: Simd>(simd: S, x: i32) -> S::I {
        simd.int(x)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn load<S: Simd>(simd: S, from: &[u8]) -> S::I {
        simd.ints(std::array::from_fn(|l| from.get(l).map_or(0, |x| i32::from(*x))))
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn store<S: Simd>(simd: S, lanes: S::I, to: &mut [u8]) {
        for (to, x) in to.iter_mut().zip(simd.to_ints(lanes)) {
            *to = x as u8;
        }
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn array<S: Simd>(simd: S, lanes: S::I) -> [i32; LANES] {
        simd.to_ints(lanes)
    }

    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn select<S: Simd>(mask: S::M, a: S::I, b: S::I) -> S::I {
        mask.iselect(a, b)
    }
}

/// A value of a row, as sixteen equal ones.
pub trait Splat {
    /// Sixteen of them.
    type Many<S: Simd>;
    /// The value in every lane.
    fn splat<S: Simd>(self, simd: S) -> Self::Many<S>;
}

impl Splat for f32 {
    type Many<S: Simd> = S::F;
    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn splat<S: Simd>(self, simd: S) -> S::F {
        simd.float(self)
    }
}

impl Splat for i32 {
    type Many<S: Simd> = S::I;
    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn splat<S: Simd>(self, simd: S) -> S::I {
        simd.int(self)
    }
}

impl Splat for i64 {
    type Many<S: Simd> = Longs<S>;
    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn splat<S: Simd>(self, simd: S) -> Longs<S> {
        Longs::new(simd, [self; LANES])
    }
}

impl Splat for bool {
    type Many<S: Simd> = S::M;
    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn splat<S: Simd>(self, simd: S) -> S::M {
        simd.mask(self)
    }
}

/// The code of a kernel for the best instruction set of this machine.
pub fn code<K: Code>() -> RustKernel {
    code_for::<K>(Isa::best()).unwrap_or(RustKernel { code: baseline::<K>, takes: K::TAKES })
}

/// The code of a kernel for an instruction set, where this machine has it.
pub fn code_for<K: Code>(isa: Isa) -> Option<RustKernel> {
    if !isa.is_here() {
        return None;
    }
    let code: KernelFn = match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => avx512::<K>,
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::<K>,
        #[cfg(not(target_arch = "x86_64"))]
        Isa::Avx512 | Isa::Avx2 => return None,
        Isa::Baseline => baseline::<K>,
    };
    Some(RustKernel { code, takes: K::TAKES })
}

#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn avx512<K: Code>(args: *const Args, first: u64, last: u64) {
    // SAFETY: the engine calls with arguments that fit the kernel, for the duration of the call, and took this code only
    // where the instructions are.
    unsafe { guarded(&*args, || in_avx512::<K>(&*args, first as i64..last as i64)) }
}

#[cfg(target_arch = "x86_64")]
unsafe extern "C" fn avx2<K: Code>(args: *const Args, first: u64, last: u64) {
    // SAFETY: as above.
    unsafe { guarded(&*args, || in_avx2::<K>(&*args, first as i64..last as i64)) }
}

unsafe extern "C" fn baseline<K: Code>(args: *const Args, first: u64, last: u64) {
    // SAFETY: the engine calls with arguments that fit the kernel, for the duration of the call.
    let args = unsafe { &*args };
    guarded(args, || K::run(&Call { args, takes: K::TAKES, simd: Baseline }, first as i64..last as i64));
}

/// The total that another number makes of one, in sixteen lanes.
#[cfg_attr(not(feature = "calls"), inline(always))]
fn add_to_total<S: Simd>([high, low]: [S::F; 2], x: S::F) -> [S::F; 2] {
    let t = high.add(x);
    [t, low.add(x.sub(t.sub(high)))]
}

/// The rows, compiled with the instructions.
///
/// # Safety
/// The machine has them.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
unsafe fn in_avx512<K: Code>(args: &Args, rows: Range<i64>) {
    // SAFETY: the caller's promise.
    let simd = unsafe { Avx512::assume() };
    K::run(&Call { args, takes: K::TAKES, simd }, rows);
}

/// As [`in_avx512`].
///
/// # Safety
/// The machine has them.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn in_avx2<K: Code>(args: &Args, rows: Range<i64>) {
    // SAFETY: the caller's promise.
    let simd = unsafe { Avx2::assume() };
    K::run(&Call { args, takes: K::TAKES, simd }, rows);
}

/// Runs some rows; a panic is a fault of the call, and nothing unwinds into the engine.
fn guarded(args: &Args, run: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
        fault(args.fault);
        // What is in it may panic when it is dropped.
        forget(payload);
    }
}

/// Makes the call a failed one.
#[cold]
#[inline(never)]
fn fault(flag: *const AtomicBool) {
    // SAFETY: the engine gives the address of a flag that lives longer than the call.
    unsafe { (*flag).store(true, Ordering::Relaxed) }
}

/// The rows of a call, one after the other.
pub struct Rows<'a> {
    args: &'a Args,
    rows: Range<i64>,
}

impl Iterator for Rows<'_> {
    type Item = i64;

    #[inline(always)]
    fn next(&mut self) -> Option<i64> {
        let row = self.rows.next()?;
        if !self.args.by_row.is_null() {
            enter(self.args, row);
        }
        Some(row)
    }
}

/// Moves the windows on to a row.
#[inline(never)]
fn enter(args: &Args, row: i64) {
    // SAFETY: what is not null is a `ByRow` that the engine made for this call, with a window and a length for each of
    // its buffers, and nobody reads the windows meanwhile.
    unsafe { (*args.by_row.cast::<ByRow>()).enter(row, args.windows, args.lens) }
}

impl<S: Simd> Call<'_, S> {
    /// The rows, of which only the one that came last may be written.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn rows(&self, rows: Range<i64>) -> Rows<'_> {
        Rows { args: self.args, rows }
    }

    /// A scalar of the call, as its bits.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn bits(&self, i: usize) -> u32 {
        if i >= self.takes.uniforms {
            fault(self.args.fault);
            return 0;
        }
        // SAFETY: there are as many scalars as the kernel takes.
        unsafe { *self.args.uniforms.add(i) }
    }

    /// A real scalar of the call.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn real(&self, i: usize) -> f32 {
        f32::from_bits(self.bits(i))
    }

    /// A whole scalar of the call.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn whole(&self, i: usize) -> i32 {
        self.bits(i) as i32
    }

    /// An extent, stride or offset of the call.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn ext(&self, i: usize) -> i64 {
        if i >= self.takes.exts {
            fault(self.args.fault);
            return 0;
        }
        // SAFETY: there are as many extents as the kernel takes.
        unsafe { *self.args.exts.add(i) }
    }

    /// The address of `n` elements, one at least and sixteen at most, `stride` apart, where the call may read them, and
    /// write them if it wants to.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn place<T: Element>(&self, buf: usize, at: i64, stride: i64, n: usize, write: bool) -> Option<*mut T> {
        let fits = self.takes.bufs.get(buf).is_some_and(|ty| ty.elem == T::ELEM && (ty.written || !write));
        let last = stride.checked_mul(n as i64 - 1).and_then(|reach| at.checked_add(reach));
        if let (true, Some(last), 1..=LANES) = (fits, last, n) {
            // SAFETY: there are as many buffers and windows as the kernel takes.
            let (start, [first, end]) = unsafe { (*self.args.bufs.add(buf), *self.args.windows.add(buf)) };
            if at.min(last) >= first as i64 && at.max(last) < end as i64 {
                // SAFETY: both ends are inside the buffer.
                return Some(unsafe { start.cast::<T>().offset(at as isize) });
            }
        }
        fault(self.args.fault);
        None
    }

    /// One element.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn get<T: Element>(&self, buf: usize, at: i64) -> T {
        match self.place::<T>(buf, at, 1, 1, false) {
            // SAFETY: `place` checked the element; buffers are aligned for theirs, and no other thread writes it.
            Some(p) => unsafe { *p },
            None => T::default(),
        }
    }

    /// One element, or zero where there is none.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn get_if<T: Element>(&self, inside: bool, buf: usize, at: i64) -> T {
        if inside { self.get(buf, at) } else { T::default() }
    }

    /// Writes one element.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn set<T: Element>(&self, buf: usize, at: i64, v: T) {
        if let Some(p) = self.place::<T>(buf, at, 1, 1, true) {
            // SAFETY: `place` checked the element, which no other thread touches.
            unsafe { *p = v }
        }
    }

    /// A row's value as sixteen.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn splat<T: Splat>(&self, x: T) -> T::Many<S> {
        x.splat(self.simd)
    }

    /// `first`, `first + 1`, and so on.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn ramp(&self, first: i32) -> S::I {
        self.simd.ramp().iadd(self.simd.int(first))
    }

    /// Sixteen integers as an array.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn array(&self, lanes: S::I) -> [i32; LANES] {
        self.simd.to_ints(lanes)
    }

    /// Sixteen integers by their lanes.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn each(&self, f: impl Fn(usize) -> i32) -> S::I {
        self.simd.ints(std::array::from_fn(f))
    }

    /// Random bits of the columns `16 * group ..` of a row.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn bits16(&self, key: [u32; 2], step: u32, seed_hi: u32, row: u32, group: u32) -> S::I {
        self.simd.random(key, step, seed_hi, row, group)
    }

    /// The first `n` of sixteen elements, `stride` apart; zeros behind them.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn load<T: Element<Lane: From<T>>>(&self, buf: usize, at: i64, stride: i64, n: usize) -> T::Many<S> {
        if stride == 0 {
            return T::splat(self.simd, self.get::<T>(buf, at).into());
        }
        let Some(p) = self.place::<T>(buf, at, stride, n, false) else {
            return T::load(self.simd, &[]);
        };
        if stride == 1 {
            // SAFETY: `place` checked all `n`; nothing writes them while this reference lives.
            return T::load(self.simd, unsafe { std::slice::from_raw_parts(p, n) });
        }
        // SAFETY: `place` checked the first and the last of the `n` elements, so those between are inside too.
        let lane = |l: usize| if l < n { unsafe { *p.offset(l as isize * stride as isize) } } else { T::default() };
        T::load(self.simd, &std::array::from_fn::<T, LANES, _>(lane))
    }

    /// Writes the first `n` of sixteen elements, `stride` apart.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn store<T: Element>(&self, buf: usize, at: i64, stride: i64, v: T::Many<S>, n: usize) {
        let Some(p) = self.place::<T>(buf, at, stride, n, true) else { return };
        if stride == 1 {
            // SAFETY: `place` checked all `n`, which nothing else touches while this reference lives.
            return T::store(self.simd, v, unsafe { std::slice::from_raw_parts_mut(p, n) });
        }
        let mut lanes = [T::default(); LANES];
        T::store(self.simd, v, &mut lanes);
        for (l, x) in lanes.iter().enumerate().take(n) {
            // SAFETY: `place` checked the first and the last of the `n` elements, so those between are inside too.
            unsafe { *p.offset(l as isize * stride as isize) = *x }
        }
    }

    /// The first `n` of sixteen elements at places of their own; zeros where there is none, and behind them.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn pick<T: Element>(&self, buf: usize, n: usize, at: impl Fn(usize) -> Option<i64>) -> T::Many<S> {
        let lane = |l: usize| match if l < n { at(l) } else { None } {
            Some(at) => self.get(buf, at),
            None => T::default(),
        };
        T::load(self.simd, &std::array::from_fn::<T, LANES, _>(lane))
    }

    /// Joins the first `n` of sixteen elements to a column fold's partial results.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn fold<T: Element>(
        &self,
        partial: T::Many<S>,
        v: T::Many<S>,
        n: usize,
        join: impl Fn(T::Many<S>, T::Many<S>) -> T::Many<S>,
    ) -> T::Many<S> {
        let joined = join(partial, v);
        if n == LANES { joined } else { T::select::<S>(self.simd.first(n), joined, partial) }
    }

    /// A column fold's result from its partial results.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn halve<T: Element>(&self, partial: T::Many<S>, join: impl Fn(T::Lane, T::Lane) -> T::Lane) -> T::Lane {
        crate::lanes::halve(T::array(self.simd, partial), join)
    }

    /// A sum over columns that has nothing yet.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn sum(&self) -> Sum<S> {
        let zero = self.simd.float(0.0);
        Sum { run: zero, high: zero, low: zero, blocks: 0, long: false }
    }

    /// Adds the first `n` of sixteen elements to a sum over columns, whose runs have `run` blocks.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn add(&self, sum: &mut Sum<S>, v: S::F, n: usize, run: u64) {
        if sum.blocks == run {
            self.end_run(sum);
        }
        sum.blocks += 1;
        sum.run = self.fold::<f32>(sum.run, v, n, |a, b| a.add(b));
    }

    /// Adds the partial results of a run to the totals.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn end_run(&self, sum: &mut Sum<S>) {
        let [high, low] = add_to_total::<S>([sum.high, sum.low], sum.run);
        *sum = Sum { run: self.simd.float(0.0), high, low, blocks: 0, long: true };
    }

    /// The result of a sum over columns.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn summed(&self, mut sum: Sum<S>) -> f32 {
        if !sum.long {
            return self.halve::<f32>(sum.run, |a, b| a + b);
        }
        self.end_run(&mut sum);
        let (high, low) = (self.simd.to_floats(sum.high), self.simd.to_floats(sum.low));
        crate::lanes::halve(std::array::from_fn(|l| Total { high: high[l], low: low[l] }), Total::join).value()
    }

    /// The address of `n` partial results of a fold, from the one with number `at` on.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    fn partial<T: Element>(&self, slot: usize, at: i64, n: usize) -> Option<*mut T> {
        let fits = |kind: &&Kind| kind.elem() == Some(T::ELEM);
        if self.takes.folds.get(slot).filter(fits).is_some() && n <= LANES && at >= 0 {
            // SAFETY: there are as many fold slots as the kernel takes.
            let (start, len) = unsafe { (*self.args.folds.add(slot), *self.args.fold_lens.add(slot)) };
            if at as u64 + n as u64 <= len {
                // SAFETY: the `n` elements are inside.
                return Some(unsafe { start.cast::<T>().add(at as usize) });
            }
        }
        fault(self.args.fault);
        None
    }

    /// Joins `n` elements to a row fold's partial results, from the one with number `at` on.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn fold_rows<T: Element>(
        &self,
        slot: usize,
        at: i64,
        v: T::Many<S>,
        n: usize,
        join: impl Fn(T::Many<S>, T::Many<S>) -> T::Many<S>,
    ) {
        let Some(p) = self.partial::<T>(slot, at, n) else { return };
        // SAFETY: the `n` elements are inside, every chunk has partial results of its own, and this reference ends here.
        let old = T::load(self.simd, unsafe { std::slice::from_raw_parts(p, n) });
        let joined = join(old, v);
        // SAFETY: as above.
        T::store(self.simd, joined, unsafe { std::slice::from_raw_parts_mut(p, n) });
    }

    /// After a row, where `next` is the next one and `last` the one after the last: ends the run of a sum over rows, if it
    /// has its `run` rows or there are no more.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn end_rows(&self, slot: usize, next: i64, last: i64, run: i64) {
        if next % run != 0 && next != last {
            return;
        }
        let all = self.slot(slot);
        let columns = all.len() / 3;
        let (sums, totals) = all.split_at_mut(columns);
        let (highs, lows) = totals.split_at_mut(columns);
        let blocks = sums.chunks_mut(LANES).zip(highs.chunks_mut(LANES)).zip(lows.chunks_mut(LANES));
        for ((sum, high), low) in blocks {
            let [x, h, l] = [&*sum, &*high, &*low].map(|part| self.simd.load_floats(part));
            let [h, l] = add_to_total::<S>([h, l], x);
            self.simd.store_floats(h, high);
            self.simd.store_floats(l, low);
            sum.fill(0.0);
        }
    }

    /// Adds a row's value to a sum over all.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn add_all(&self, slot: usize, v: f32) {
        if let [_, high, low] = self.slot(slot) {
            let total = Total { high: *high, low: *low }.plus(v);
            (*high, *low) = (total.high, total.low);
        }
    }

    /// What the slot of a sum keeps.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    #[allow(clippy::mut_from_ref, reason = "every chunk has partial results of its own, and nothing keeps them")]
    fn slot(&self, slot: usize) -> &mut [f32] {
        if self.takes.folds.get(slot) != Some(&Kind::F32) {
            fault(self.args.fault);
            return &mut [];
        }
        // SAFETY: there are as many fold slots as the kernel takes, and each has its length.
        unsafe {
            std::slice::from_raw_parts_mut((*self.args.folds.add(slot)).cast(), *self.args.fold_lens.add(slot) as usize)
        }
    }

    /// Joins a row's value to an all fold's partial result.
    #[cfg_attr(not(feature = "calls"), inline(always))]
    pub fn fold_all<T: Element>(&self, slot: usize, v: T, join: impl Fn(T, T) -> T) {
        let Some(p) = self.partial::<T>(slot, 0, 1) else { return };
        // SAFETY: there is one element, and every chunk has partial results of its own.
        let old = unsafe { *p };
        let joined = join(old, v);
        // SAFETY: as above.
        unsafe { *p = joined }
    }
}
