//! What a kernel means, bit by bit: takes a kernel, the memory of a call and a range of rows; changes the memory as any
//! backend must. It computes one element after another in exactly the order that `dlc_plan::kernel` states, so that
//! backends are compared with it by bits; it is slow, and an access outside a buffer panics.

use std::ops::Range;
use std::sync::atomic::AtomicBool;

use dlc_plan::kernel::{
    Access, Affine, Args, Axis, Bits, Bound, Def, Elem, Ext, Fold, FoldOp, Instr, Kernel, KernelFn, Kind, LANES, Op,
    Over, Phase, Store, Total, Val,
};
use dlc_plan::{random, turn, whole_remainder};

/// The elements of a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Buf {
    /// F32 or I32, by their bits.
    Words(Vec<u32>),
    /// I64, by their bits.
    Longs(Vec<u64>),
    /// U8.
    Bytes(Vec<u8>),
}

impl Buf {
    fn load(&self, at: i64) -> u64 {
        let at = usize::try_from(at).expect("the kernel's accesses are inside its buffers");
        match self {
            Buf::Words(words) => words[at].into(),
            Buf::Longs(longs) => longs[at],
            Buf::Bytes(bytes) => bytes[at].into(),
        }
    }

    fn store(&mut self, at: i64, value: u64) {
        let at = usize::try_from(at).expect("the kernel's accesses are inside its buffers");
        match self {
            Buf::Words(words) => words[at] = value as u32,
            Buf::Longs(longs) => longs[at] = value,
            Buf::Bytes(bytes) => bytes[at] = value as u8,
        }
    }

    fn address(&mut self) -> *mut u8 {
        match self {
            Buf::Words(words) => words.as_mut_ptr().cast(),
            Buf::Longs(longs) => longs.as_mut_ptr().cast(),
            Buf::Bytes(bytes) => bytes.as_mut_ptr(),
        }
    }

    fn len(&self) -> u64 {
        match self {
            Buf::Words(words) => words.len() as u64,
            Buf::Longs(longs) => longs.len() as u64,
            Buf::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

/// What a kernel is called with, as owned memory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// The buffers.
    pub bufs: Vec<Buf>,
    /// The scalars, as bits.
    pub uniforms: Vec<u32>,
    /// The extents, strides and offsets.
    pub exts: Vec<i64>,
    /// The folds' partial results.
    pub folds: Vec<Buf>,
}

impl Memory {
    /// Runs a compiled kernel on this memory.
    ///
    /// # Safety
    /// `code` must be alive, and compiled from the kernel, which this memory fits: as many entries of each sort as the kernel
    /// names, and all its accesses for `rows` inside the buffers.
    pub unsafe fn call(&mut self, kernel: &Kernel, code: KernelFn, rows: Range<u64>) {
        let bufs: Vec<*mut u8> = self.bufs.iter_mut().map(Buf::address).collect();
        let folds: Vec<*mut u8> = self.folds.iter_mut().map(Buf::address).collect();
        let lens: Vec<u64> = self.bufs.iter().map(Buf::len).collect();
        let fold_lens: Vec<u64> = self.folds.iter().map(Buf::len).collect();
        let mut windows: Vec<[u64; 2]> = lens.iter().map(|len| [0, *len]).collect();
        let limits = vec![i32::MAX; kernel.gathers().count()];
        let fault = AtomicBool::new(false);
        let args = Args {
            bufs: bufs.as_ptr(),
            uniforms: self.uniforms.as_ptr(),
            exts: self.exts.as_ptr(),
            folds: folds.as_ptr(),
            lens: lens.as_ptr(),
            fold_lens: fold_lens.as_ptr(),
            limits: limits.as_ptr(),
            windows: windows.as_mut_ptr(),
            by_row: std::ptr::null(),
            fault: &raw const fault,
        };
        // SAFETY: the pointers are to live memory that nothing else uses meanwhile; the rest is the caller's promise.
        unsafe { code(&args, rows.start, rows.end) }
    }
}

/// Runs `rows` of a kernel.
///
/// # Panics
/// If the memory does not fit the kernel.
pub fn run(kernel: &Kernel, memory: &mut Memory, rows: Range<u64>) {
    let values = kernel.setup.iter().chain(kernel.phases.iter().flat_map(|phase| &phase.defs)).map(|def| def.val);
    let folded = kernel.phases.iter().flat_map(|phase| &phase.folds).map(|fold| match fold.over {
        Over::Cols(val) => val,
        Over::Rows(_) | Over::All(_) => 0,
    });
    let count = values.chain(folded).max().map_or(0, |last| last as usize + 1);
    let mut state = State { kernel, memory, rows: vec![], cols: vec![], values: vec![[0; LANES]; count] };
    state.define(&kernel.setup, 1);
    let last = rows.end;
    for row in rows {
        state.rows = unravel(row as i64, &kernel.rows.iter().map(|e| state.ext(*e)).collect::<Vec<_>>());
        for phase in &kernel.phases {
            if phase.sweep {
                state.sweep(phase);
            } else {
                state.row(phase);
            }
        }
        if (row + 1).is_multiple_of(kernel.run) || row + 1 == last {
            state.end_runs();
        }
    }
}

/// The indices of a linear number, the last axis fastest.
fn unravel(mut linear: i64, extents: &[i64]) -> Vec<i64> {
    let mut indices = vec![0; extents.len()];
    for (index, extent) in indices.iter_mut().zip(extents).rev() {
        *index = linear % extent;
        linear /= extent;
    }
    indices
}

struct State<'a> {
    kernel: &'a Kernel,
    memory: &'a mut Memory,
    /// The row axes' indices.
    rows: Vec<i64>,
    /// The column axes' indices, of the current block's first element.
    cols: Vec<i64>,
    /// Each value's lanes; what is scalar has the same in all.
    values: Vec<[u64; LANES]>,
}

impl State<'_> {
    fn ext(&self, ext: Ext) -> i64 {
        match ext {
            Ext::Const(n) => n,
            Ext::Arg(n) => self.memory.exts[n as usize],
        }
    }

    fn index(&self, axis: Axis, lane: usize) -> i64 {
        match axis {
            Axis::Row(n) => self.rows[n as usize],
            Axis::Col(n) if n as usize + 1 == self.cols.len() => self.cols[n as usize] + lane as i64,
            Axis::Col(n) => self.cols[n as usize],
        }
    }

    fn affine(&self, affine: &Affine, lane: usize) -> i64 {
        let terms = affine.terms.iter().map(|(axis, factor)| self.index(*axis, lane).wrapping_mul(self.ext(*factor)));
        terms.fold(self.ext(affine.offset), i64::wrapping_add)
    }

    fn value(&self, val: Val, lane: usize) -> u64 {
        self.values[val as usize][lane]
    }

    fn element(&self, access: &Access, lane: usize) -> i64 {
        let base = access.base.map_or(0, |(val, factor)| i64::from(self.value(val, lane) as i32) * self.ext(factor));
        self.affine(&access.at, lane) + base
    }

    fn op(&self, op: &Op, lane: usize) -> u64 {
        match op {
            Op::Float(bits) => (*bits).into(),
            Op::Int(n) => u64::from(*n as u32),
            Op::Uniform(n) => self.memory.uniforms[*n as usize].into(),
            Op::Index(axis) => u64::from(self.index(*axis, lane) as u32),
            Op::Load(access) => {
                let inside = |b: &Bound| (0..self.ext(b.extent)).contains(&self.affine(&b.index, lane));
                if access.bounds.iter().all(inside) {
                    self.memory.bufs[access.buf as usize].load(self.element(access, lane))
                } else {
                    0
                }
            }
            Op::Instr(op, args) => {
                let mut operands = [0; 3];
                for (operand, val) in operands.iter_mut().zip(args) {
                    *operand = self.value(*val, lane);
                }
                instr(*op, operands)
            }
            Op::Bits(bits) => self.bits(bits, lane).into(),
        }
    }

    fn bits(&self, bits: &Bits, lane: usize) -> u32 {
        let word = |val: Val| self.value(val, lane) as u32;
        let row = (self.affine(&bits.row, lane) as u32).wrapping_add(word(bits.first));
        let key = [word(bits.seed[0]), word(bits.site)];
        let col = self.affine(&bits.col, lane) as u32;
        random::bits(key, word(bits.step), word(bits.seed[1]), row, col)
    }

    fn define(&mut self, defs: &[Def], lanes: usize) {
        for def in defs {
            let mut value = [0; LANES];
            for (lane, v) in value.iter_mut().enumerate().take(lanes) {
                *v = self.op(&def.op, lane);
            }
            if lanes == 1 {
                value = [value[0]; LANES];
            }
            self.values[def.val as usize] = value;
        }
    }

    fn store(&mut self, stores: &[Store], lanes: usize) {
        for store in stores {
            for lane in 0..lanes {
                let (at, value) = (self.element(&store.to, lane), self.value(store.value, lane));
                self.memory.bufs[store.to.buf as usize].store(at, value);
            }
        }
    }

    fn row(&mut self, phase: &Phase) {
        self.cols.clear();
        self.define(&phase.defs, 1);
        self.store(&phase.stores, 1);
        for Fold { op, value, kind, over } in &phase.folds {
            match over {
                Over::All(slot) if op.is_long(*kind) => {
                    let element = self.value(*value, 0);
                    add_to_total(&mut self.memory.folds[*slot as usize], 0, element);
                }
                Over::All(slot) => {
                    let element = self.value(*value, 0);
                    let slot = &mut self.memory.folds[*slot as usize];
                    slot.store(0, instr(op.instr(*kind), [slot.load(0), element, 0]));
                }
                Over::Cols(_) | Over::Rows(_) => panic!("a fold over columns or rows stands in a sweep"),
            }
        }
    }

    fn sweep(&mut self, phase: &Phase) {
        let extents: Vec<i64> = self.kernel.cols.iter().map(|e| self.ext(*e)).collect();
        let (inner, outer) = extents.split_last().expect("a kernel with a sweep has columns");
        let start =
            |fold: &Fold| Partials { run: [fold.op.start(fold.kind); LANES], totals: [Total::default(); LANES] };
        let mut partials: Vec<Partials> = phase.folds.iter().map(start).collect();
        let mut blocks = 0;
        for line in 0..outer.iter().product::<i64>() {
            for first in (0..*inner).step_by(LANES) {
                self.cols = unravel(line, outer);
                self.cols.push(first);
                let lanes = (inner - first).min(LANES as i64) as usize;
                self.define(&phase.defs, lanes);
                self.store(&phase.stores, lanes);
                if blocks > 0 && blocks % self.kernel.run == 0 {
                    let long = |fold: &Fold| fold.op.is_long(fold.kind);
                    partials.iter_mut().zip(&phase.folds).filter(|(_, fold)| long(fold)).for_each(|(p, _)| p.end_run());
                }
                self.fold(&phase.folds, &mut partials, line * inner + first, lanes);
                blocks += 1;
            }
        }
        for (fold, mut partial) in phase.folds.iter().zip(partials) {
            let Over::Cols(val) = fold.over else { continue };
            let sum = if fold.op.is_long(fold.kind) && blocks > self.kernel.run {
                partial.end_run();
                halve(partial.totals, Total::join).value().to_bits().into()
            } else {
                halve(partial.run, |a, b| instr(fold.op.instr(fold.kind), [a, b, 0]))
            };
            self.values[val as usize] = [sum; LANES];
        }
    }

    /// Ends the runs of folds over rows: sums of columns are added to the totals.
    fn end_runs(&mut self) {
        for Fold { op, kind, over, .. } in self.kernel.phases.iter().flat_map(|phase| &phase.folds) {
            let Over::Rows(slot) = over else { continue };
            if op.is_long(*kind) {
                let slot = &mut self.memory.folds[*slot as usize];
                for column in 0..slot.len() as i64 / 3 {
                    let sum = slot.load(column);
                    slot.store(column, 0);
                    add_to_total(slot, column, sum);
                }
            }
        }
    }

    /// Folds a block whose first column has the linear number `column`.
    fn fold(&mut self, folds: &[Fold], partials: &mut [Partials], column: i64, lanes: usize) {
        for (Fold { op, value, kind, over }, partial) in folds.iter().zip(partials) {
            for (lane, part) in partial.run.iter_mut().enumerate().take(lanes) {
                let element = self.value(*value, lane);
                let joined = |old: u64| instr(op.instr(*kind), [old, element, 0]);
                match over {
                    Over::Cols(_) => *part = joined(*part),
                    Over::Rows(slot) => {
                        let slot = &mut self.memory.folds[*slot as usize];
                        let at = column + lane as i64;
                        slot.store(at, joined(slot.load(at)));
                    }
                    Over::All(_) => panic!("a fold over all stands in a row phase"),
                }
            }
        }
    }
}

/// A column fold's partial results: of the current run, and of all runs before it.
struct Partials {
    run: [u64; LANES],
    totals: [Total; LANES],
}

impl Partials {
    /// Adds a sum's run to the totals.
    fn end_run(&mut self) {
        for (run, total) in self.run.iter_mut().zip(&mut self.totals) {
            *total = total.plus(f32::from_bits(std::mem::take(run) as u32));
        }
    }
}

/// Joins sixteen values: i with i + 8, then 4, 2, 1.
fn halve<T: Copy>(mut lanes: [T; LANES], join: impl Fn(T, T) -> T) -> T {
    let mut half = LANES / 2;
    while half > 0 {
        for i in 0..half {
            lanes[i] = join(lanes[i], lanes[i + half]);
        }
        half /= 2;
    }
    lanes[0]
}

/// Adds a number to a column's total in a slot that keeps sums of runs, high and low parts.
fn add_to_total(slot: &mut Buf, column: i64, x: u64) {
    let [high, low] = [1, 2].map(|part| part * slot.len() as i64 / 3 + column);
    let single = |bits: u64| f32::from_bits(bits as u32);
    let total = Total { high: single(slot.load(high)), low: single(slot.load(low)) }.plus(single(x));
    slot.store(high, total.high.to_bits().into());
    slot.store(low, total.low.to_bits().into());
}

/// The value of a machine operation, everything as bits, what has 32 of them in the low half; a mask is all ones or zero.
pub fn instr(op: Instr, [a, b, c]: [u64; 3]) -> u64 {
    let [l, m] = [a, b].map(|n| n as i64);
    match op {
        Instr::IPair => b << 32 | u64::from(a as u32),
        Instr::IToL => i64::from(a as i32) as u64,
        Instr::LAdd => a.wrapping_add(b),
        Instr::LSub => a.wrapping_sub(b),
        Instr::LMul => a.wrapping_mul(b),
        Instr::LNeg => a.wrapping_neg(),
        Instr::LMax => l.max(m) as u64,
        Instr::LMin => l.min(m) as u64,
        Instr::LRem => whole_remainder(l, m) as u64,
        Instr::LLt => mask(l < m).into(),
        Instr::LLe => mask(l <= m).into(),
        Instr::LEq => mask(l == m).into(),
        Instr::LNe => mask(l != m).into(),
        Instr::LToF => (l as f32).to_bits().into(),
        Instr::LToI => u64::from(a as u32),
        Instr::FToL => f32::from_bits(a as u32) as i64 as u64,
        Instr::LSelect => {
            if a != 0 {
                b
            } else {
                c
            }
        }
        narrow => instr32(narrow, [a as u32, b as u32, c as u32]).into(),
    }
}

/// The same for operations on 32 bits.
fn instr32(op: Instr, [a, b, c]: [u32; 3]) -> u32 {
    let [x, y, z] = [a, b, c].map(f32::from_bits);
    let [i, j] = [a, b].map(|n| n as i32);
    match op {
        Instr::FAdd => (x + y).to_bits(),
        Instr::FSub => (x - y).to_bits(),
        Instr::FMul => (x * y).to_bits(),
        Instr::FDiv => (x / y).to_bits(),
        Instr::FMulAdd => x.mul_add(y, z).to_bits(),
        Instr::FMax => {
            if x < y || y.is_nan() {
                b
            } else {
                a
            }
        }
        Instr::FMin => {
            if x > y || y.is_nan() {
                b
            } else {
                a
            }
        }
        Instr::FSqrt => x.sqrt().to_bits(),
        Instr::FNeg => (-x).to_bits(),
        Instr::FAbs => x.abs().to_bits(),
        Instr::FFloor => x.floor().to_bits(),
        Instr::FRound => x.round_ties_even().to_bits(),
        Instr::FLt => mask(x < y),
        Instr::FLe => mask(x <= y),
        Instr::FEq => mask(x == y),
        Instr::FNe => mask(x != y),
        Instr::FToI => {
            if (-2_147_483_648.0..2_147_483_648.0).contains(&x) {
                x as i32 as u32
            } else {
                i32::MIN as u32
            }
        }
        Instr::FTurn(quarters) if x.abs() >= turn::FAR => turn::turn(x, quarters).to_bits(),
        Instr::FTurn(_) => b,
        Instr::FBits | Instr::IBits => a,
        Instr::IAdd => a.wrapping_add(b),
        Instr::ISub => a.wrapping_sub(b),
        Instr::IMul => a.wrapping_mul(b),
        Instr::INeg => a.wrapping_neg(),
        Instr::IMax => i.max(j) as u32,
        Instr::IMin => i.min(j) as u32,
        Instr::IAnd | Instr::MAnd => a & b,
        Instr::IOr | Instr::MOr => a | b,
        Instr::IXor => a ^ b,
        Instr::IShl(n) => a << n,
        Instr::IShr(n) => a >> n,
        Instr::ISar(n) => (i >> n) as u32,
        Instr::ILt => mask(i < j),
        Instr::ILe => mask(i <= j),
        Instr::IEq => mask(i == j),
        Instr::INe => mask(i != j),
        Instr::IToF => (i as f32).to_bits(),
        Instr::MNot => !a,
        Instr::IRem => whole_remainder(i.into(), j.into()) as u32,
        Instr::FSelect | Instr::ISelect => {
            if a != 0 {
                b
            } else {
                c
            }
        }
        wide => unreachable!("{wide:?} is of 64 bits"),
    }
}

fn mask(truth: bool) -> u32 {
    if truth { !0 } else { 0 }
}

/// Memory of the right sorts for `kernel`: `len` elements a buffer, all zero, and each fold of `columns` elements at its
/// start.
pub fn memory(kernel: &Kernel, len: usize, columns: usize) -> Memory {
    let bufs = kernel.bufs.iter().map(|buf| match buf.elem {
        Elem::F32 | Elem::I32 => Buf::Words(vec![0; len]),
        Elem::I64 => Buf::Longs(vec![0; len]),
        Elem::U8 => Buf::Bytes(vec![0; len]),
    });
    let mut folds = vec![Buf::Words(vec![]); kernel.folds as usize];
    let start = |op: FoldOp, kind: Kind, len: usize| match kind {
        Kind::I64 => Buf::Longs(vec![op.start(kind); len]),
        Kind::F32 | Kind::I32 | Kind::Mask => Buf::Words(vec![op.start(kind) as u32; len]),
    };
    for Fold { op, kind, over, .. } in kernel.phases.iter().flat_map(|phase| &phase.folds) {
        match over {
            Over::Cols(_) => {}
            Over::Rows(slot) => folds[*slot as usize] = start(*op, *kind, columns * op.parts(*kind)),
            Over::All(slot) => folds[*slot as usize] = start(*op, *kind, op.parts(*kind)),
        }
    }
    let uniforms = kernel.uniforms.iter().map(|kind| match kind {
        Kind::F32 => 1f32.to_bits(),
        Kind::I32 | Kind::I64 | Kind::Mask => 1,
    });
    Memory { bufs: bufs.collect(), uniforms: uniforms.collect(), exts: vec![0; kernel.exts as usize], folds }
}
