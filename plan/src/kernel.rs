//! Kernels: fused loops over machine operations, the one form in which all arithmetic but matrix products is run.
//!
//! A kernel has row axes (handed out in chunks, in parallel) and column axes (serial; the last one is the vector axis).
//! For each row its phases run in order: a row phase computes scalars once, a sweep goes over all columns, sixteen
//! elements of the vector axis at a time. Values are numbered across the kernel; a sweep sees the scalars of the set-up,
//! of earlier row phases and of earlier folds, and the lanes it defined itself.
//!
//! Order of floating-point operations, which both backends must keep so that they give the same bits:
//! - a column fold keeps sixteen partial results, element j of the vector axis going to partial j mod 16, over all
//!   column axes in order; at the end they are halved: `p[i] op p[i + 8]`, then 4, 2, 1;
//! - a row fold adds each row, in order, to its chunk's partial result, one a column; the runtime joins the chunks;
//! - an all fold adds one scalar a row, in order, to its chunk's partial result; the runtime joins the chunks.
//!
//! In every fold the old value is the first operand and the new element the second.
//!
//! Sums of F32 go in runs, so that their error does not grow with their length. A run's result is added to a total of two
//! numbers, `high` and `low`, both 0 at the start: `t = high + x`, `low = low + (x - (t - high))`, `high = t`. Two totals
//! are joined by adding the second's `high` to the first in this way, after `low = low + low'`. A total is worth
//! `high + low`, or `high` where `low` is not finite. A run has [`Kernel::run`] members:
//! - a column fold's are blocks, over all column axes in order. Before the block after a run, and after the last one, each
//!   partial result is added to a total of its own and starts again from 0. The totals are halved as totals are joined.
//!   Where all blocks are one run, there are no totals: the partial results are halved as above;
//! - a row fold's are rows. A run ends after the row with number n if n + 1 is a multiple of a run's length, and with the
//!   call. Each column's sum is then added to a total of its own and starts again from 0;
//! - an all fold's run is one row.
//!
//! What a slot keeps is, for such a sum, the runs' sums, then the `high`, then the `low` parts: [`FoldOp::parts`].
//!
//! Order of memory: a sweep goes block by block, a block being up to sixteen neighbours along the vector axis. A block's
//! loads all come before its stores. No two stores of a phase write the same element in one block.
//!
//! Row and all folds go on from what their slot holds; the runtime starts all of it with [`FoldOp::start`].

use crate::DType;
use std::sync::atomic::AtomicBool;

/// The width of a sweep: elements of the vector axis that are computed side by side.
pub const LANES: usize = 16;

/// How many blocks, or rows, of a sum are added up before they are added to its total.
pub const RUN: u64 = 16;

/// The number of a value in its kernel.
pub type Val = u32;

/// What a kernel's value is; one number in a row phase, sixteen in a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A single-precision number.
    F32,
    /// An integer of 32 bits, wrapping.
    I32,
    /// An integer of 64 bits, wrapping.
    I64,
    /// A truth.
    Mask,
}

/// How a buffer stores its elements. A load of bytes gives I32, a store of I32 to bytes keeps the low eight bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Elem {
    /// Single precision.
    F32,
    /// Integers of 32 bits.
    I32,
    /// Integers of 64 bits.
    I64,
    /// Unsigned bytes: u8 and bool.
    U8,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Kind; 4] = [Kind::F32, Kind::I32, Kind::I64, Kind::Mask];

    /// How it is kept in memory; truths are not.
    pub const fn elem(self) -> Option<Elem> {
        match self {
            Kind::F32 => Some(Elem::F32),
            Kind::I32 => Some(Elem::I32),
            Kind::I64 => Some(Elem::I64),
            Kind::Mask => None,
        }
    }
}

impl Elem {
    /// Every one.
    pub const ALL: [Elem; 4] = [Elem::F32, Elem::I32, Elem::I64, Elem::U8];

    /// How elements of a type are kept while computing: all reals as F32, integers in their own width.
    pub fn of(dtype: DType) -> Elem {
        match dtype {
            DType::F32 | DType::F16 | DType::BF16 => Elem::F32,
            DType::I64 => Elem::I64,
            DType::I32 => Elem::I32,
            DType::U8 | DType::Bool => Elem::U8,
        }
    }

    /// The size of an element in bytes.
    pub fn bytes(self) -> usize {
        match self {
            Elem::I64 => 8,
            Elem::F32 | Elem::I32 => 4,
            Elem::U8 => 1,
        }
    }

    /// What an element is in a kernel.
    pub fn kind(self) -> Kind {
        match self {
            Elem::F32 => Kind::F32,
            Elem::I32 | Elem::U8 => Kind::I32,
            Elem::I64 => Kind::I64,
        }
    }
}

/// An extent, stride or offset: a constant of the code, or an argument of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ext {
    /// Known at compile time.
    Const(i64),
    /// The call's argument with this number.
    Arg(u16),
}

/// An axis of the kernel's loops.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Axis {
    /// A row axis, by its place in [`Kernel::rows`].
    Row(u8),
    /// A column axis, by its place in [`Kernel::cols`].
    Col(u8),
}

/// An affine function of the loops' indices.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Affine {
    /// The constant part.
    pub offset: Ext,
    /// A factor for each axis that matters; no axis twice, no constant zero.
    pub terms: Vec<(Axis, Ext)>,
}

/// A condition on an access: `0 <= index < extent`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bound {
    /// The index that must lie inside.
    pub index: Affine,
    /// The extent that it must lie in.
    pub extent: Ext,
}

/// An element of a buffer, for each point of the loops.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Access {
    /// The buffer, by its place in [`Kernel::bufs`].
    pub buf: u16,
    /// The element's number in the buffer.
    pub at: Affine,
    /// A gather: an I32 value and the factor by which it adds to the element's number.
    pub base: Option<(Val, Ext)>,
    /// Where any of these fails, a load gives zero and does not touch memory. Stores have none.
    pub bounds: Vec<Bound>,
}

/// A machine operation. The name's first letter is the operands' kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names say it; the uncommon ones are documented")]
pub enum Instr {
    FAdd,
    FSub,
    FMul,
    FDiv,
    /// a * b + c, rounded once.
    FMulAdd,
    /// `if a < b || b != b { b } else { a }`: NaN if either is.
    FMax,
    /// `if a > b || b != b { b } else { a }`: NaN if either is.
    FMin,
    FSqrt,
    FNeg,
    FAbs,
    FFloor,
    /// To the nearest integer, ties to even.
    FRound,
    FLt,
    FLe,
    FEq,
    /// True for NaN.
    FNe,
    /// Towards zero; what does not fit gives i32::MIN.
    FToI,
    /// x, near: near, unless |x| is [`crate::turn::FAR`] or more; then the angle between -pi/2 and pi/2 whose sine is that
    /// of x and so many quarters of a turn more, as [`crate::turn::turn`] computes it.
    FTurn(u8),
    /// The bits as an integer.
    FBits,
    IAdd,
    ISub,
    IMul,
    INeg,
    IMax,
    IMin,
    IAnd,
    IOr,
    IXor,
    /// Shift left by a constant.
    IShl(u8),
    /// Shift right by a constant, filling with zeros.
    IShr(u8),
    /// Shift right by a constant, filling with the sign.
    ISar(u8),
    ILt,
    ILe,
    IEq,
    INe,
    /// To the nearest single.
    IToF,
    /// The bits as a single.
    IBits,
    /// The remainder with the divisor's sign; 0 where the divisor is.
    IRem,
    /// The low and the high half of an integer of 64 bits.
    IPair,
    /// To 64 bits, with the sign.
    IToL,
    LAdd,
    LSub,
    LMul,
    LNeg,
    LMax,
    LMin,
    /// As `IRem`.
    LRem,
    LLt,
    LLe,
    LEq,
    LNe,
    /// To the nearest single.
    LToF,
    /// The low 32 bits.
    LToI,
    /// Towards zero; the nearest integer of 64 bits of what does not fit, and 0 of NaN.
    FToL,
    MAnd,
    MOr,
    MNot,
    /// mask, a, b: a where the mask is true, else b.
    FSelect,
    ISelect,
    LSelect,
}

impl Instr {
    /// The kinds of the operands and of the result.
    pub fn signature(self) -> (&'static [Kind], Kind) {
        use Kind::{F32 as F, I32 as I, I64 as L, Mask as M};
        match self {
            Instr::FAdd | Instr::FSub | Instr::FMul | Instr::FDiv | Instr::FMax | Instr::FMin => (&[F, F], F),
            Instr::FTurn(_) => (&[F, F], F),
            Instr::FMulAdd => (&[F, F, F], F),
            Instr::FSqrt | Instr::FNeg | Instr::FAbs | Instr::FFloor | Instr::FRound => (&[F], F),
            Instr::FLt | Instr::FLe | Instr::FEq | Instr::FNe => (&[F, F], M),
            Instr::FToI | Instr::FBits => (&[F], I),
            Instr::IAdd | Instr::ISub | Instr::IMul | Instr::IMax | Instr::IMin => (&[I, I], I),
            Instr::IAnd | Instr::IOr | Instr::IXor => (&[I, I], I),
            Instr::INeg | Instr::IShl(_) | Instr::IShr(_) | Instr::ISar(_) => (&[I], I),
            Instr::ILt | Instr::ILe | Instr::IEq | Instr::INe => (&[I, I], M),
            Instr::IToF | Instr::IBits => (&[I], F),
            Instr::IRem => (&[I, I], I),
            Instr::IPair => (&[I, I], L),
            Instr::IToL => (&[I], L),
            Instr::LAdd | Instr::LSub | Instr::LMul | Instr::LMax | Instr::LMin | Instr::LRem => (&[L, L], L),
            Instr::LNeg => (&[L], L),
            Instr::LLt | Instr::LLe | Instr::LEq | Instr::LNe => (&[L, L], M),
            Instr::LToF => (&[L], F),
            Instr::LToI => (&[L], I),
            Instr::FToL => (&[F], L),
            Instr::MAnd | Instr::MOr => (&[M, M], M),
            Instr::MNot => (&[M], M),
            Instr::FSelect => (&[M, F, F], F),
            Instr::ISelect => (&[M, I, I], I),
            Instr::LSelect => (&[M, L, L], L),
        }
    }

    /// Whether an operand or the result is an integer of 64 bits.
    pub fn is_wide(self) -> bool {
        let (operands, result) = self.signature();
        result == Kind::I64 || operands.contains(&Kind::I64)
    }
}

/// How a value comes about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Op {
    /// A single, by its bits.
    Float(u32),
    /// An integer.
    Int(i32),
    /// A scalar of the call.
    Uniform(u16),
    /// An axis' index, as I32.
    Index(Axis),
    /// An element of a buffer.
    Load(Access),
    /// A machine operation of earlier values.
    Instr(Instr, Vec<Val>),
    /// 32 random bits of one point of a logical tensor, as I32 (see `random`).
    Bits(Bits),
}

/// Which random bits: those of element (row, col) of the tensor that a site draws at a step.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Bits {
    /// I32 scalars: the seed's low and high half, the site's hash, the step, and the number of the first row.
    pub seed: [Val; 2],
    /// The site's hash.
    pub site: Val,
    /// The optimizer's step.
    pub step: Val,
    /// What is added to `row`: the rows of earlier micro-batches.
    pub first: Val,
    /// The row of the logical tensor.
    pub row: Affine,
    /// The column of the logical tensor.
    pub col: Affine,
}

/// A value's definition.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Def {
    /// Its number.
    pub val: Val,
    /// What it is.
    pub kind: Kind,
    /// How it comes about.
    pub op: Op,
}

/// A store of a value (F32, I32 or I64).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Store {
    /// Where to.
    pub to: Access,
    /// What.
    pub value: Val,
}

/// How a fold joins two values (F32 by the F operations, I32 by the I ones, I64 by the L ones).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FoldOp {
    /// Sum, from 0.
    Sum,
    /// Product, from 1.
    Prod,
    /// Maximum, from -inf or the least integer; NaN if any element is.
    Max,
    /// Minimum, from inf or the greatest integer; NaN if any element is.
    Min,
}

impl FoldOp {
    /// Every one.
    pub const ALL: [FoldOp; 4] = [FoldOp::Sum, FoldOp::Prod, FoldOp::Max, FoldOp::Min];

    /// The operation that joins two values of a kind, which is no mask.
    pub fn instr(self, kind: Kind) -> Instr {
        let pick = |float, int, long| match kind {
            Kind::F32 => float,
            Kind::I32 | Kind::Mask => int,
            Kind::I64 => long,
        };
        match self {
            FoldOp::Sum => pick(Instr::FAdd, Instr::IAdd, Instr::LAdd),
            FoldOp::Prod => pick(Instr::FMul, Instr::IMul, Instr::LMul),
            FoldOp::Max => pick(Instr::FMax, Instr::IMax, Instr::LMax),
            FoldOp::Min => pick(Instr::FMin, Instr::IMin, Instr::LMin),
        }
    }

    /// Whether it is a sum that goes in runs.
    pub fn is_long(self, kind: Kind) -> bool {
        self == FoldOp::Sum && kind == Kind::F32
    }

    /// How many numbers a slot keeps for each result.
    pub fn parts(self, kind: Kind) -> usize {
        if self.is_long(kind) { 3 } else { 1 }
    }

    /// What a fold starts from, as bits; in the low half where the kind has 32.
    pub fn start(self, kind: Kind) -> u64 {
        let pick = |float: f32, int: i32, long: i64| match kind {
            Kind::F32 => u64::from(float.to_bits()),
            Kind::I32 | Kind::Mask => u64::from(int as u32),
            Kind::I64 => long as u64,
        };
        match self {
            FoldOp::Sum => pick(0.0, 0, 0),
            FoldOp::Prod => pick(1.0, 1, 1),
            FoldOp::Max => pick(f32::NEG_INFINITY, i32::MIN, i64::MIN),
            FoldOp::Min => pick(f32::INFINITY, i32::MAX, i64::MAX),
        }
    }
}

/// What a fold goes over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Over {
    /// All columns of a row, in a sweep; the result is a scalar of later phases, with this number.
    Cols(Val),
    /// All rows, in a sweep: one result a column, in this slot of the call's folds.
    Rows(u16),
    /// All rows, in a row phase: one result, in this slot of the call's folds.
    All(u16),
}

/// A fold of a value.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Fold {
    /// How.
    pub op: FoldOp,
    /// Of what.
    pub value: Val,
    /// Its kind: F32, I32 or I64.
    pub kind: Kind,
    /// Over what.
    pub over: Over,
}

/// Part of a kernel's work on a row.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Phase {
    /// Whether it goes over the columns, or is run once a row.
    pub sweep: bool,
    /// The values, in order.
    pub defs: Vec<Def>,
    /// The stores, after the values.
    pub stores: Vec<Store>,
    /// The folds, after the stores.
    pub folds: Vec<Fold>,
    /// The work, as the chunk rule counts it, of what is done in code that is not written here.
    pub elsewhere: u64,
}

/// A buffer, as a kernel sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BufTy {
    /// How it stores its elements.
    pub elem: Elem,
    /// Whether the kernel stores to it.
    pub written: bool,
}

/// A sum as two numbers, of which the second holds what the first lost by rounding.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Total {
    /// The sum, rounded at each step.
    pub high: f32,
    /// What was rounded away.
    pub low: f32,
}

impl Total {
    /// Adds a number.
    pub fn plus(self, x: f32) -> Total {
        let t = self.high + x;
        Total { high: t, low: self.low + (x - (t - self.high)) }
    }

    /// Adds another total.
    pub fn join(self, other: Total) -> Total {
        Total { low: self.low + other.low, ..self }.plus(other.high)
    }

    /// The sum as one number.
    pub fn value(self) -> f32 {
        if self.low.is_finite() { self.high + self.low } else { self.high }
    }
}

/// A fused loop.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Kernel {
    /// The extents of the row axes; none means one row.
    pub rows: Vec<Ext>,
    /// The extents of the column axes, the vector axis last; none means that there is no sweep.
    pub cols: Vec<Ext>,
    /// The buffers.
    pub bufs: Vec<BufTy>,
    /// The kinds (F32 or I32) of the call's scalars.
    pub uniforms: Vec<Kind>,
    /// The number of the call's extents.
    pub exts: u16,
    /// The number of the call's folds.
    pub folds: u16,
    /// How many blocks, or rows, a sum's run has; a power of two. [`RUN`], or 1 where sums are to be as exact as they can be.
    pub run: u64,
    /// Values that are the same for every row: constants, uniforms, loads without terms, and what follows from them.
    pub setup: Vec<Def>,
    /// The work on a row.
    pub phases: Vec<Phase>,
}

impl Kernel {
    /// Where it loads, in the order of the code.
    pub fn loads(&self) -> impl Iterator<Item = &Access> {
        self.loads_by_sweep().map(|(access, _)| access)
    }

    /// The same, and of each access whether it is made once for each column.
    pub fn loads_by_sweep(&self) -> impl Iterator<Item = (&Access, bool)> {
        let phases = self.phases.iter().flat_map(|phase| phase.defs.iter().map(|def| (def, phase.sweep)));
        let defs = self.setup.iter().map(|def| (def, false)).chain(phases);
        defs.filter_map(|(def, sweep)| match &def.op {
            Op::Load(access) => Some((access, sweep)),
            Op::Float(_) | Op::Int(_) | Op::Uniform(_) | Op::Index(_) | Op::Instr(..) | Op::Bits(_) => None,
        })
    }

    /// Where it stores, in the order of the code.
    pub fn stores(&self) -> impl Iterator<Item = &Access> {
        self.stores_by_sweep().map(|(access, _)| access)
    }

    /// The same, and of each access whether it is made once for each column.
    pub fn stores_by_sweep(&self) -> impl Iterator<Item = (&Access, bool)> {
        self.phases.iter().flat_map(|phase| phase.stores.iter().map(|store| (&store.to, phase.sweep)))
    }

    /// The accesses that have a base, loads first.
    pub fn gathers(&self) -> impl Iterator<Item = &Access> {
        self.loads().chain(self.stores()).filter(|access| access.base.is_some())
    }
}

/// What a kernel is called with. All pointers point to as many entries as the kernel says.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Args {
    /// The buffers' addresses.
    pub bufs: *const *mut u8,
    /// The scalars, as the bits of F32 or I32.
    pub uniforms: *const u32,
    /// The extents, strides and offsets.
    pub exts: *const i64,
    /// For each fold slot, this chunk's partial result: `cols` elements for a row fold, one for an all fold, times the
    /// parts that the fold keeps.
    pub folds: *const *mut u8,
    /// For each buffer, how many elements it has from its address on.
    pub lens: *const u64,
    /// For each fold slot, how many elements the partial result has.
    pub fold_lens: *const u64,
    /// For each of [`Kernel::gathers`], the largest base at which every element lies in its buffer. Machine code takes a
    /// base that is outside of `0..=limit` as the nearest inside.
    pub limits: *const i32,
    /// For each buffer, the first element that this call may touch, and the one after the last.
    pub windows: *mut [u64; 2],
    /// What moves the windows on from row to row, known to the runtime alone; null where they stay.
    pub by_row: *const (),
    /// Set by a kernel that was asked for memory which it does not have; it goes on without that memory.
    pub fault: *const AtomicBool,
}

/// A compiled kernel: runs the rows `first..last`, numbered with the last row axis fastest.
pub type KernelFn = unsafe extern "C" fn(args: *const Args, first: u64, last: u64);
