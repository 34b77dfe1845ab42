//! Folds over rows: the chunks' partial results are filled with the fold's identity, and joined in a fixed order.
//!
//! The order is a tree of pairs: of n chunks, i takes i + 1 for even i, then i takes i + 2 for i in steps of 4, and so on;
//! a chunk without a partner waits. The lower one is always the first operand.

use super::call::SMALL;
use super::node::FoldNode;
use crate::hands::Hands;
use crate::memory::Ptr;
use dlc_plan::kernel::{FoldOp, Kind, Total};

/// Elements that are joined before the pool is worth waking, and then those of one chunk's columns.
const ALONE_BELOW: usize = 1 << 15;
const COLUMNS: usize = 1024;

/// The partial results of one fold: those of a chunk every `stride` elements.
pub struct Partials {
    pub start: Ptr,
    pub stride: usize,
}

impl FoldNode {
    /// Elements from one chunk's partial result to the next; short ones are kept in lines of the cache of their own.
    pub fn stride(&self) -> usize {
        self.kept().max(SMALL)
    }

    /// Elements of a chunk's partial result.
    pub fn kept(&self) -> usize {
        self.len.count() * self.op.parts(self.kind)
    }

    /// Fills a partial result with the identity.
    ///
    /// # Safety
    /// There is room for it, and nobody else uses it.
    pub unsafe fn fill(&self, to: Ptr) {
        // SAFETY: the caller's room.
        unsafe { self.start(to, self.kept()) }
    }

    /// Fills so many elements with the identity.
    ///
    /// # Safety
    /// There is room for them, and nobody else uses it.
    unsafe fn start(&self, to: Ptr, len: usize) {
        let bits = self.op.start(self.kind);
        // SAFETY: the caller's room; what is no I64 has four bytes.
        unsafe {
            match self.kind {
                Kind::F32 | Kind::I32 | Kind::Mask => {
                    std::slice::from_raw_parts_mut(to.of::<u32>(), len).fill(bits as u32);
                }
                Kind::I64 => std::slice::from_raw_parts_mut(to.of::<u64>(), len).fill(bits),
            }
        }
    }

    /// The bytes of an element.
    pub fn bytes(&self) -> usize {
        if self.kind == Kind::I64 { 8 } else { 4 }
    }

    /// Joins the partial results of `chunks` chunks into `to`; of none, the identity.
    ///
    /// # Safety
    /// The partial results are there and `to` has room for one; nobody else uses them.
    pub unsafe fn join(&self, hands: Hands, partials: Partials, chunks: usize, to: Ptr) {
        let len = self.len.count();
        if chunks == 0 {
            // SAFETY: the caller's room.
            unsafe { self.start(to, len) };
            return;
        }
        let blocks = if len * chunks < ALONE_BELOW { 1 } else { len.div_ceil(COLUMNS) };
        let width = len.div_ceil(blocks);
        hands.run(blocks, &|block| {
            let columns = (block * width).min(len)..((block + 1) * width).min(len);
            let tree = Tree { partials: &partials, chunks, first: columns.start, len: columns.len(), all: len };
            // SAFETY: blocks are of different columns, and within the caller's partial results and room.
            unsafe { tree.join(self.op, self.kind, to.plus(self.bytes() * columns.start)) }
        });
    }
}

/// Some columns of the partial results.
struct Tree<'a> {
    partials: &'a Partials,
    chunks: usize,
    first: usize,
    len: usize,
    /// The number of all columns.
    all: usize,
}

impl Tree<'_> {
    /// # Safety
    /// As for [`FoldNode::join`].
    unsafe fn join(&self, op: FoldOp, kind: Kind, to: Ptr) {
        // SAFETY: passed on; the kind says what the elements are.
        unsafe {
            match (kind, op) {
                (Kind::F32, FoldOp::Sum) => self.totals(to.of::<f32>()),
                (Kind::F32, FoldOp::Prod) => self.pairs(to.of::<f32>(), |a, b| a * b),
                (Kind::F32, FoldOp::Max) => self.pairs(to.of::<f32>(), max),
                (Kind::F32, FoldOp::Min) => self.pairs(to.of::<f32>(), min),
                (Kind::I64, FoldOp::Sum) => self.pairs(to.of::<i64>(), i64::wrapping_add),
                (Kind::I64, FoldOp::Prod) => self.pairs(to.of::<i64>(), i64::wrapping_mul),
                (Kind::I64, FoldOp::Max) => self.pairs(to.of::<i64>(), i64::max),
                (Kind::I64, FoldOp::Min) => self.pairs(to.of::<i64>(), i64::min),
                (Kind::I32 | Kind::Mask, FoldOp::Sum) => self.pairs(to.of::<i32>(), i32::wrapping_add),
                (Kind::I32 | Kind::Mask, FoldOp::Prod) => self.pairs(to.of::<i32>(), i32::wrapping_mul),
                (Kind::I32 | Kind::Mask, FoldOp::Max) => self.pairs(to.of::<i32>(), i32::max),
                (Kind::I32 | Kind::Mask, FoldOp::Min) => self.pairs(to.of::<i32>(), i32::min),
            }
        }
    }

    /// Joins totals, of which a chunk keeps the sums of runs, all of which have ended, then the high and the low parts.
    ///
    /// # Safety
    /// As for [`FoldNode::join`].
    unsafe fn totals(&self, to: *mut f32) {
        let part = |chunk: usize, part: usize| {
            let row = self.partials.start.of::<f32>().wrapping_add(chunk * self.partials.stride);
            // SAFETY: the chunk is there and has its three parts, which are different memory.
            unsafe { std::slice::from_raw_parts_mut(row.add(part * self.all + self.first), self.len) }
        };
        let mut apart = 1;
        while apart < self.chunks {
            for low in (0..self.chunks - apart).step_by(2 * apart) {
                let (high, rest) = (part(low, 1), part(low, 2));
                let (other_high, other_rest) = (part(low + apart, 1), part(low + apart, 2));
                for i in 0..self.len {
                    let other = Total { high: other_high[i], low: other_rest[i] };
                    let total = Total { high: high[i], low: rest[i] }.join(other);
                    (high[i], rest[i]) = (total.high, total.low);
                }
            }
            apart *= 2;
        }
        // SAFETY: the caller's room, which is not among the partial results.
        let to = unsafe { std::slice::from_raw_parts_mut(to, self.len) };
        for (i, to) in to.iter_mut().enumerate() {
            *to = Total { high: part(0, 1)[i], low: part(0, 2)[i] }.value();
        }
    }

    /// # Safety
    /// As for [`FoldNode::join`], and the partial results are of type `T`.
    #[inline(always)]
    unsafe fn pairs<T: Copy>(&self, to: *mut T, join: impl Fn(T, T) -> T) {
        let row = |chunk: usize| self.partials.start.of::<T>().wrapping_add(chunk * self.partials.stride + self.first);
        let mut apart = 1;
        while apart < self.chunks {
            for low in (0..self.chunks - apart).step_by(2 * apart) {
                // SAFETY: both chunks are there, and they are different rows.
                let (a, b) = unsafe {
                    (
                        std::slice::from_raw_parts_mut(row(low), self.len),
                        std::slice::from_raw_parts(row(low + apart), self.len),
                    )
                };
                a.iter_mut().zip(b).for_each(|(a, b)| *a = join(*a, *b));
            }
            apart *= 2;
        }
        // SAFETY: the caller's room, which is not among the partial results.
        unsafe { std::ptr::copy_nonoverlapping(row(0), to, self.len) }
    }
}

/// As [`dlc_plan::Instr::FMax`].
fn max(a: f32, b: f32) -> f32 {
    if a < b || b.is_nan() { b } else { a }
}

/// As [`dlc_plan::Instr::FMin`].
fn min(a: f32, b: f32) -> f32 {
    if a > b || b.is_nan() { b } else { a }
}
