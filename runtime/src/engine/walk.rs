//! The walk over an entry's steps at sizes that are bound: buffers are addresses, loops count.

use super::call::Scratch;
use super::frame::Spot;
use super::node::Node;
use super::panels::Slot;
use super::segments::Segments;
use crate::hands::Hands;
use crate::memory::Ptr;
use dlc_plan::kernel::KernelFn;
use dlc_plan::layout::Layout;
use dlc_plan::plan::Buffer;
use dlc_plan::{HostState, Kernel};
use std::sync::atomic::AtomicBool;

/// What the steps of a run share.
pub struct Walker<'a> {
    pub hands: Hands<'a>,
    pub kernels: &'a [Kernel],
    pub fns: &'a [KernelFn],
    pub segments: &'a Segments,
    pub buffers: &'a [Buffer],
    pub state: &'a HostState,
    pub dims: &'a [i64],
    /// Where buffers are, as far as that does not depend on loops.
    pub spots: &'a [Spot],
    /// The length of each buffer, in elements and in bytes.
    pub lens: &'a [u64],
    pub bytes: &'a [u64],
    /// Where each buffer is now.
    pub ptrs: &'a mut [Ptr],
    /// The iteration of each loop around the step, outermost first.
    pub rows: &'a mut Vec<usize>,
    pub scratch: &'a mut Scratch,
    /// What each thread has of its own while panels run; none inside of them.
    pub slots: &'a mut [Slot],
    /// Where buffers of each thread's own are.
    pub local: &'a Layout,
    /// Set where a step was asked for memory that it does not have.
    pub fault: &'a AtomicBool,
}

impl Walker<'_> {
    /// Runs steps in order.
    pub fn steps(&mut self, nodes: &[Node]) {
        for node in nodes {
            match node {
                Node::Call(call) => self.call(call),
                Node::Gemm(gemm) => self.gemm(gemm),
                Node::Copy { from, to } => self.copy(*from, *to),
                Node::Scatter(scatter) => self.scatter(scatter),
                Node::Rows(rows) => self.rows(rows),
                Node::Panels(panels) => self.panels(panels),
                Node::Repeat { count, reverse, moving, body } => {
                    for turn in 0..*count {
                        self.rows.push(if *reverse { count - 1 - turn } else { turn });
                        self.place(moving);
                        self.steps(body);
                        self.rows.pop();
                    }
                    self.place(moving);
                }
            }
        }
    }

    /// Finds where buffers are in this iteration.
    fn place(&mut self, moving: &[usize]) {
        place(self.spots, self.ptrs, self.rows, moving);
    }
}

/// Finds where buffers are in these iterations of the loops around them.
pub fn place(spots: &[Spot], ptrs: &mut [Ptr], rows: &[usize], moving: &[usize]) {
    for &b in moving {
        ptrs[b] = find(spots, ptrs, rows, b);
    }
}

/// Where a buffer is. Outside of its loop a slot is that of iteration 0.
fn find(spots: &[Spot], ptrs: &[Ptr], rows: &[usize], b: usize) -> Ptr {
    match &spots[b] {
        Spot::Fixed => ptrs[b],
        Spot::Part { of, bytes } => find(spots, ptrs, rows, *of).plus(*bytes),
        Spot::Slot { of, stride, depth, ahead, slots } => {
            let turn = rows.get(*depth).copied().unwrap_or(0);
            find(spots, ptrs, rows, *of).plus((turn + ahead) % slots * stride)
        }
        Spot::Row { depth, cells } => {
            let turn = rows.get(*depth).copied().unwrap_or(0);
            cells.get(turn).map_or(Ptr::NULL, |&cell| find(spots, ptrs, rows, cell))
        }
    }
}
