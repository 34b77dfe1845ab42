//! What steps write must not be memory that they use besides. Takes the steps of an entry whose buffers have their places,
//! and walks over them as a run does, loops and panels too, without running anything; says which buffers overlap. Kernels
//! may work in place: their calls ask for that themselves.

use super::call::SMALL;
use super::frame::Frame;
use super::node::{CallNode, FoldNode, GemmNode, Node};
use super::panels::PanelsNode;
use super::walk::place;
use crate::memory::Ptr;
use dlc_plan::layout::Layout;
use dlc_plan::plan::Entry;
use dlc_plan::{Kernel, Plan};

/// The walk over the steps.
pub struct Overlaps<'a> {
    kernels: &'a [Kernel],
    entry: &'a Entry,
    frame: Places<'a>,
    ptrs: &'a mut [Ptr],
    rows: &'a mut Vec<usize>,
}

/// What a frame says of the places of its buffers.
#[derive(Clone, Copy)]
struct Places<'a> {
    spots: &'a [super::frame::Spot],
    bytes: &'a [u64],
    dims: &'a [i64],
    local: &'a Layout,
}

/// Memory that a task of panels uses: from the first byte to the one after the last.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Used {
    from: usize,
    to: usize,
    task: usize,
    written: bool,
    buf: usize,
}

/// A step's claim on memory.
type Met = Result<(), String>;

impl<'a> Overlaps<'a> {
    /// Checks the steps of a frame that is bound to sizes. Its buffers are found as before any step afterwards, unless
    /// this fails.
    pub fn check(plan: &Plan, entry: &Entry, frame: &mut Frame, rows: &mut Vec<usize>) -> Met {
        let Frame { nodes, spots, bytes, dims, local, ptrs, .. } = frame;
        rows.clear();
        Overlaps { kernels: &plan.kernels, entry, frame: Places { spots, bytes, dims, local }, ptrs, rows }.steps(nodes)
    }

    /// Checks steps, in each iteration of their loops.
    fn steps(&mut self, nodes: &[Node]) -> Met {
        for node in nodes {
            match node {
                Node::Call(call) => self.call(call)?,
                Node::Gemm(gemm) => self.gemm(gemm)?,
                Node::Copy { from, to } if self.ptrs[*from] == self.ptrs[*to] => {}
                Node::Copy { from, to } => self.apart(*to, *from)?,
                Node::Scatter(s) => [s.ids, s.from].into_iter().try_for_each(|b| self.apart(s.to, b))?,
                Node::Rows(rows) => self.apart(rows.to, rows.from)?,
                Node::Panels(panels) => self.panels(panels)?,
                Node::Repeat { count, reverse, moving, body } => {
                    // Iterations that nothing depends on are all alike.
                    let turns = if moving.is_empty() { (*count).min(1) } else { *count };
                    for turn in 0..turns {
                        self.rows.push(if *reverse { count - 1 - turn } else { turn });
                        place(self.frame.spots, self.ptrs, self.rows, moving);
                        self.steps(body)?;
                        self.rows.pop();
                    }
                    place(self.frame.spots, self.ptrs, self.rows, moving);
                }
            }
        }
        Ok(())
    }

    /// The bytes of a buffer, where it is now.
    fn span(&self, b: usize) -> (usize, usize) {
        let from = self.ptrs[b].0.addr();
        (from, from.saturating_add(self.frame.bytes[b] as usize))
    }

    fn meet(&self, a: usize, b: usize) -> bool {
        let ((a, a_end), (b, b_end)) = (self.span(a), self.span(b));
        a < a_end && b < b_end && a < b_end && b < a_end
    }

    /// A buffer that is written shares no memory with another one.
    fn apart(&self, written: usize, other: usize) -> Met {
        if !self.meet(written, other) {
            return Ok(());
        }
        let [a, b] = [written, other].map(|i| &self.entry.buffers[i].note);
        Err(format!("a step writes buffer {written} ({a}), which overlaps buffer {other} ({b}) that it uses too"))
    }

    fn gemm(&self, gemm: &GemmNode) -> Met {
        let c = gemm.c.buf;
        let operands = || gemm.terms.iter().flat_map(|(_, a, b)| [a.buf, b.buf]);
        operands().try_for_each(|b| self.apart(c, b))?;
        let Some(then) = &gemm.then else { return Ok(()) };
        for b in self.written(then) {
            operands().try_for_each(|other| self.apart(b, other))?;
            if self.span(b) != self.span(c) {
                self.apart(b, c)?;
            }
        }
        let partials = then.folds.iter().filter_map(partial);
        for own in partials {
            operands().chain([c]).try_for_each(|b| self.apart(own, b))?;
        }
        self.call(then)
    }

    /// The buffers that a kernel writes in a call.
    fn written(&self, call: &'a CallNode) -> impl Iterator<Item = usize> + use<'_, 'a> {
        let bufs = call.bufs.iter().zip(&self.kernels[call.kernel].bufs);
        bufs.filter(|(_, ty)| ty.written).map(|(b, _)| *b)
    }

    /// Folds' partial results are memory of their own while the rows run, and results share none with them.
    fn call(&self, call: &CallNode) -> Met {
        for (i, fold) in call.folds.iter().enumerate() {
            let others = || call.folds.iter().enumerate().filter(move |(j, _)| *j != i).map(|(_, other)| other);
            if let Some(own) = partial(fold) {
                call.bufs.iter().try_for_each(|&b| self.apart(own, b))?;
                others().filter_map(partial).try_for_each(|b| self.apart(own, b))?;
                call.folds.iter().try_for_each(|other| self.apart(own, other.to))?;
            }
            others().try_for_each(|other| self.apart(fold.to, other.to))?;
            let bufs = call.bufs.iter().zip(&self.kernels[call.kernel].bufs).filter(|(_, ty)| ty.written);
            bufs.map(|(b, _)| *b).try_for_each(|b| self.apart(fold.to, b))?;
        }
        Ok(())
    }

    /// Checks the steps at each point, and that no task writes what another one uses.
    fn panels(&self, panels: &PanelsNode) -> Met {
        // A thread's own memory is like an arena of its own, far from all that is shared.
        let local = Ptr::NULL.plus(1);
        let mut used = Vec::new();
        let (mut ptrs, mut rows) = (self.ptrs.to_vec(), self.rows.clone());
        let mut moved = Vec::new();
        panels.each_point(self.frame.dims, &mut |task, nodes, bytes, pieces| {
            let frame = Places { bytes, ..self.frame };
            let (kernels, entry) = (self.kernels, self.entry);
            let mut inner = Overlaps { kernels, entry, frame, ptrs: &mut ptrs, rows: &mut rows };
            for &b in panels.locals() {
                inner.ptrs[b] = local.plus(self.frame.local.offset(b) as usize);
            }
            moved.clear();
            for (b, of, offset) in pieces {
                let len = i128::from(bytes[b]);
                if offset < 0 || i128::from(offset) + len > i128::from(self.frame.bytes[of]) {
                    let note = &self.entry.buffers[of].note;
                    return Err(format!("a piece from byte {offset} does not lie in buffer {of} ({note})"));
                }
                inner.ptrs[b] = inner.ptrs[of].plus(offset as usize);
                moved.push(b);
            }
            inner.steps(nodes)?;
            inner.note(nodes, &mut |b, written| {
                let (from, to) = inner.span(b);
                // What stays where it is, is the same for all tasks: two of them stand for all.
                if from < to && !panels.locals().contains(&b) && (task < 2 || moved.contains(&b)) {
                    used.push(Used { from, to, task, written, buf: b });
                }
            });
            Ok(())
        })?;
        self.tasks_apart(used)
    }

    /// Tells of each buffer of some steps whether it is written.
    fn note(&self, nodes: &[Node], f: &mut dyn FnMut(usize, bool)) {
        let call = |call: &CallNode, f: &mut dyn FnMut(usize, bool)| {
            call.bufs.iter().zip(&self.kernels[call.kernel].bufs).for_each(|(b, ty)| f(*b, ty.written));
            for fold in &call.folds {
                f(fold.to, true);
                if fold.kept() > SMALL {
                    f(fold.partial, true);
                }
            }
        };
        for node in nodes {
            match node {
                Node::Call(node) => call(node, f),
                Node::Gemm(gemm) => {
                    f(gemm.c.buf, true);
                    gemm.terms.iter().flat_map(|(_, a, b)| [a.buf, b.buf]).for_each(|b| f(b, false));
                    gemm.then.iter().for_each(|then| call(then, f));
                }
                Node::Copy { from, to } => [(*from, false), (*to, true)].into_iter().for_each(|(b, w)| f(b, w)),
                Node::Scatter(s) => {
                    [(s.ids, false), (s.from, false), (s.to, true)].into_iter().for_each(|(b, w)| f(b, w));
                }
                Node::Rows(rows) => [(rows.from, false), (rows.to, true)].into_iter().for_each(|(b, w)| f(b, w)),
                // Panels hold no loops.
                Node::Repeat { .. } | Node::Panels(_) => {}
            }
        }
    }

    /// No task writes what another one uses: of all that begins before, the task that reaches farthest, and the next task.
    fn tasks_apart(&self, mut used: Vec<Used>) -> Met {
        used.sort_unstable();
        used.dedup();
        let mut far = [[None::<Used>; 2]; 2];
        for one in used {
            let before = if one.written { far[1] } else { far[0] };
            let other = before.into_iter().flatten().find(|other| other.task != one.task && other.to > one.from);
            if let Some(other) = other {
                let [a, b] = [one.buf, other.buf].map(|i| &self.entry.buffers[i].note);
                return Err(format!(
                    "panels side by side use the same memory of buffers {} ({a}) and {} ({b})",
                    one.buf, other.buf
                ));
            }
            let kinds = if one.written { &mut far[..] } else { &mut far[1..] };
            kinds.iter_mut().for_each(|kind| keep(kind, one));
        }
        Ok(())
    }
}

/// Where the partial results of a fold are, if they are in a buffer.
fn partial(fold: &FoldNode) -> Option<usize> {
    (fold.kept() > SMALL).then_some(fold.partial)
}

/// Keeps what reaches farthest, and what reaches farthest of the other tasks.
fn keep(far: &mut [Option<Used>; 2], one: Used) {
    let [first, second] = *far;
    let longer = |other: Option<Used>| other.is_none_or(|other| other.to < one.to);
    if first.is_some_and(|first| first.task != one.task) {
        if longer(first) {
            *far = [Some(one), first];
        } else if longer(second) {
            far[1] = Some(one);
        }
    } else if longer(first) {
        far[0] = Some(one);
    }
}
