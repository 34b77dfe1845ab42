//! The chunk rule: into how many pieces a kernel's rows are cut. Takes the kernel and the values of its extents; gives the
//! work of a row and the cut. Nothing else enters, neither the machine nor the number of its threads, since folds over
//! rows are joined chunk by chunk and the bits must be the same everywhere.

use crate::kernel::{Axis, Ext, Instr, Kernel, LANES, Op, Phase};

/// The most chunks of a call that folds over its rows; each has a partial result.
pub const FOLD_CHUNKS: u64 = 64;
/// The most chunks of any other call.
pub const CHUNKS: u64 = 256;
/// The least work of a chunk, in operations on sixteen lanes: some microseconds.
const LEAST_WORK: u64 = 8192;

/// A cut of rows into chunks of `size` rows, the last one perhaps smaller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cut {
    /// The number of all rows.
    pub rows: u64,
    /// Rows in a chunk; not zero.
    pub size: u64,
    /// The number of chunks; zero if there are no rows.
    pub chunks: u64,
}

impl Cut {
    /// Cuts rows of which each is worth `work`.
    pub fn new(rows: u64, work: u64, folds: bool) -> Cut {
        let most = if folds { FOLD_CHUNKS } else { CHUNKS };
        let wanted = (rows.saturating_mul(work.max(1)) / LEAST_WORK).clamp(1, most);
        let size = rows.div_ceil(wanted).max(1);
        Cut { rows, size, chunks: rows.div_ceil(size) }
    }

    /// The rows of a chunk: the first one and the one after the last.
    pub fn range(&self, chunk: u64) -> (u64, u64) {
        let first = chunk * self.size;
        (first, (first + self.size).min(self.rows))
    }
}

/// The least rows of a panel of something wide, and the most.
const PANEL_ROWS: (u64, u64) = (8, 64);
/// Elements of a panel, if its rows may be that many: a quarter of a megabyte stays near the processor.
const PANEL: u64 = 1 << 16;

/// How many rows of `width` elements are computed at once, of so many: not zero, and no more than there are unless there
/// are none.
pub fn panel_height(rows: u64, width: u64) -> u64 {
    let (least, most) = PANEL_ROWS;
    (PANEL / width.max(1)).clamp(least, most).next_multiple_of(8).min(rows.max(1))
}

impl Ext {
    /// The value, where `exts` are the call's extents.
    pub fn value(self, exts: &[i64]) -> i64 {
        match self {
            Ext::Const(n) => n,
            Ext::Arg(i) => exts[i as usize],
        }
    }
}

impl Kernel {
    /// The number of rows, where `exts` are the call's extents.
    pub fn row_count(&self, exts: &[i64]) -> u64 {
        self.rows.iter().fold(1, |n: u64, e| n.saturating_mul(e.value(exts).max(0) as u64))
    }

    /// The extent of an axis, where `exts` are the call's extents.
    pub fn extent(&self, axis: Axis, exts: &[i64]) -> i64 {
        match axis {
            Axis::Row(i) => self.rows[i as usize].value(exts),
            Axis::Col(i) => self.cols[i as usize].value(exts),
        }
    }

    /// The work of a row, in operations on sixteen lanes.
    pub fn row_work(&self, exts: &[i64]) -> u64 {
        let sweep = match self.cols.split_last() {
            None => 0,
            Some((vector, outer)) => {
                let groups = (vector.value(exts).max(0) as u64).div_ceil(LANES as u64);
                outer.iter().fold(groups, |n, e| n.saturating_mul(e.value(exts).max(0) as u64))
            }
        };
        let of = |p: &Phase| phase_work(p).saturating_mul(if p.sweep { sweep } else { 1 });
        self.phases.iter().map(of).fold(0, u64::saturating_add)
    }
}

/// The work of one turn of a phase.
pub(crate) fn phase_work(phase: &Phase) -> u64 {
    let ops: u64 = phase.defs.iter().map(|d| op_work(&d.op)).sum();
    ops + (phase.stores.len() + phase.folds.len()) as u64 + phase.elsewhere
}

fn op_work(op: &Op) -> u64 {
    match op {
        Op::Float(_) | Op::Int(_) | Op::Uniform(_) => 0,
        Op::Index(_) => 1,
        // A gather and a bounded load go lane by lane.
        Op::Load(access) if access.base.is_some() || !access.bounds.is_empty() => LANES as u64,
        Op::Load(_) => 1,
        Op::Instr(Instr::FDiv | Instr::FSqrt, _) => 4,
        Op::Instr(..) => 1,
        // Ten rounds on four blocks.
        Op::Bits(_) => 120,
    }
}
