//! The steps of an entry as the engine walks them: numbers instead of sizes, and what can be known before a run. Made
//! once from the plan; the numbers are set anew for each tuple of dynamic sizes.

use super::panels::PanelsNode;
use super::reach::Band;
use super::segments::Classes;
use dlc_plan::chunks::Cut;
use dlc_plan::kernel::{FoldOp, Kind};
use dlc_plan::plan::{BufId, Buffer, Call, Entry, Gemm, Matrix, Place, RowOp, Step, Store};
use dlc_plan::{Host, Kernel, Plan, Size};

/// A size and its value at the sizes that the entry is bound to.
pub struct Known {
    size: Size,
    /// The value.
    pub now: i64,
}

impl Known {
    pub fn new(size: &Size) -> Known {
        Known { size: size.clone(), now: 0 }
    }

    pub fn set(&mut self, dims: &[i64]) {
        self.now = self.size.eval(dims);
    }

    /// The value as a number of things; checked not to be negative where it was set.
    pub fn count(&self) -> usize {
        self.now.max(0) as usize
    }
}

/// A step.
#[expect(clippy::large_enum_variant, reason = "nearly all steps are calls")]
pub enum Node {
    Call(CallNode),
    Gemm(Box<GemmNode>),
    Copy { from: usize, to: usize },
    Scatter(ScatterNode),
    Rows(RowsNode),
    Repeat { count: usize, reverse: bool, moving: Vec<usize>, body: Vec<Node> },
    Panels(Box<PanelsNode>),
}

/// A call of a kernel.
pub struct CallNode {
    pub kernel: usize,
    pub bufs: Vec<usize>,
    pub uniforms: Vec<(Kind, Host)>,
    pub ext_sizes: Vec<Size>,
    pub exts: Vec<i64>,
    pub rows: Known,
    /// How rows, or the pieces of segments, are cut into chunks.
    pub cut: Cut,
    pub folds: Vec<FoldNode>,
    pub segments: Option<Classes>,
    /// The largest base of each gather.
    pub limits: Vec<i32>,
    /// Whether rows, or pieces, may run side by side.
    pub apart: bool,
    /// Where the rows of a call may write, if its code is to be held to that; all of the buffers if there are none.
    pub bands: Vec<Band>,
    /// The extents of the row axes.
    pub extents: Vec<i64>,
    /// Of buffers that it writes and others that it uses, those that may be the same memory.
    pub suspects: Vec<Suspect>,
}

/// Two buffers of a call that may be the same memory, by their places in the kernel.
pub struct Suspect {
    pub written: usize,
    pub other: usize,
    /// Whether rows may run side by side if they begin at the same place.
    pub apart: bool,
}

/// A fold of a call.
pub struct FoldNode {
    pub op: FoldOp,
    pub kind: Kind,
    pub len: Known,
    pub partial: usize,
    pub to: usize,
}

/// A scatter.
pub struct ScatterNode {
    pub ids: usize,
    pub from: usize,
    pub to: usize,
    pub count: Known,
    pub rows: Known,
    pub width: Known,
}

/// Something done to each row of a buffer.
pub struct RowsNode {
    pub op: RowOp,
    pub from: usize,
    pub to: usize,
    pub rows: Known,
    pub len: Known,
    pub keep: Known,
}

/// A sum of products.
pub struct GemmNode {
    pub m: Known,
    pub n: Known,
    /// k, A, B.
    pub terms: Vec<(Known, MatrixNode, MatrixNode)>,
    pub c: MatrixNode,
    pub batch: Vec<Known>,
    pub accumulate: bool,
    pub then: Option<CallNode>,
}

/// A matrix of a product.
pub struct MatrixNode {
    pub buf: usize,
    pub offset: Known,
    pub row: Known,
    pub col: Known,
    pub batch: Vec<Known>,
    /// Axes within the rows and within the columns.
    pub inner: [Vec<(Known, Known)>; 2],
    /// Their extents and strides as numbers.
    pub steps: [Vec<AxisStep>; 2],
}

/// An axis within rows or columns: how long it is, and from an index to the next.
pub type AxisStep = (usize, isize);

impl MatrixNode {
    fn new(m: &Matrix) -> MatrixNode {
        MatrixNode {
            buf: m.buf as usize,
            offset: Known::new(&m.offset),
            row: Known::new(&m.row),
            col: Known::new(&m.col),
            batch: m.batch.iter().map(Known::new).collect(),
            inner: [&m.rows, &m.cols]
                .map(|axes| axes.iter().map(|(n, s)| (Known::new(n), Known::new(s))).collect::<Vec<_>>()),
            steps: [&m.rows, &m.cols].map(|axes| vec![(0, 0); axes.len()]),
        }
    }

    pub fn set(&mut self, dims: &[i64]) {
        let own = [&mut self.offset, &mut self.row, &mut self.col];
        let inner = self.inner.iter_mut().flatten().flat_map(|(n, s)| [n, s]);
        own.into_iter().chain(&mut self.batch).chain(inner).for_each(|k| k.set(dims));
        for (steps, inner) in self.steps.iter_mut().zip(&self.inner) {
            for (step, (n, s)) in steps.iter_mut().zip(inner) {
                *step = (n.count(), s.now as isize);
            }
        }
    }
}

impl CallNode {
    fn new(call: &Call, around: &Around) -> CallNode {
        let kernel = &around.kernels[call.kernel as usize];
        let fold = |f: &dlc_plan::plan::FoldTo| FoldNode {
            op: f.op,
            kind: f.kind,
            len: Known::new(&f.len),
            partial: f.partial as usize,
            to: f.to as usize,
        };
        let suspects = around.suspects(kernel, call);
        CallNode {
            kernel: call.kernel as usize,
            bufs: call.bufs.iter().map(|&b| b as usize).collect(),
            uniforms: call.uniforms.clone(),
            ext_sizes: call.exts.clone(),
            exts: vec![0; call.exts.len()],
            rows: Known::new(&call.rows),
            cut: Cut::default(),
            folds: call.folds.iter().map(fold).collect(),
            segments: call.segments.then(|| Classes::new(call, around.segments)),
            limits: vec![i32::MAX; kernel.gathers().count()],
            apart: false,
            bands: Vec::with_capacity(kernel.bufs.len() + suspects.len()),
            extents: Vec::with_capacity(kernel.rows.len()),
            suspects,
        }
    }
}

impl GemmNode {
    fn new(gemm: &Gemm, around: &Around) -> GemmNode {
        let term = |t: &dlc_plan::plan::Product| (Known::new(&t.k), MatrixNode::new(&t.a), MatrixNode::new(&t.b));
        GemmNode {
            m: Known::new(&gemm.m),
            n: Known::new(&gemm.n),
            terms: gemm.terms.iter().map(term).collect(),
            c: MatrixNode::new(&gemm.c),
            batch: gemm.batch.iter().map(Known::new).collect(),
            accumulate: gemm.accumulate,
            then: gemm.then.as_ref().map(|call| CallNode::new(call, around)),
        }
    }

    /// The number of products that stand side by side.
    pub fn batches(&self) -> usize {
        self.batch.iter().map(Known::count).product()
    }
}

/// The steps of an entry of a plan that has `segments` trained weights.
pub fn nodes(plan: &Plan, entry: &Entry, segments: usize) -> Vec<Node> {
    let all = 0..entry.buffers.len();
    let depends = all.clone().map(|b| depends(&entry.buffers, b)).collect();
    let homes = all.map(|b| homes(&entry.buffers, b)).collect();
    body(&entry.steps, 0, &Around { kernels: &plan.kernels, entry, depends, homes, segments })
}

/// What an entry's nodes are made from.
pub struct Around<'a> {
    kernels: &'a [Kernel],
    /// The entry.
    pub entry: &'a Entry,
    /// For each buffer, the memory that it may be in.
    homes: Vec<Vec<Home>>,
    /// For each buffer, the depths of the loops that it depends on.
    depends: Vec<u64>,
    segments: usize,
}

/// Memory of its own: that of a buffer, or a store.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Home {
    Buffer(usize),
    Store(Store),
}

/// The memory that a buffer may be in.
fn homes(buffers: &[Buffer], b: usize) -> Vec<Home> {
    match &buffers[b].place {
        Place::Arena { .. } | Place::Local { .. } => vec![Home::Buffer(b)],
        Place::Weight { store, .. } | Place::Store(store) => vec![Home::Store(*store)],
        Place::Part { of, .. } | Place::Piece { of, .. } | Place::Slot { of, .. } => homes(buffers, *of as usize),
        Place::Row { cells, .. } => {
            let mut all: Vec<Home> = Vec::new();
            for home in cells.iter().flat_map(|&cell| homes(buffers, cell as usize)) {
                if !all.contains(&home) {
                    all.push(home);
                }
            }
            all
        }
    }
}

impl Around<'_> {
    /// Whether two buffers may be the same memory.
    pub fn may_meet(&self, a: BufId, b: BufId) -> bool {
        self.homes[a as usize].iter().any(|home| self.homes[b as usize].contains(home))
    }

    /// Pairs of a buffer that a call writes, and another that may be the same memory. Each buffer is in one pair at most as
    /// the other one whose rows may run side by side.
    fn suspects(&self, kernel: &Kernel, call: &Call) -> Vec<Suspect> {
        let written = (0..call.bufs.len()).filter(|&i| kernel.bufs[i].written);
        let others = |i: usize| (0..call.bufs.len()).filter(move |&j| j != i && !(kernel.bufs[j].written && j < i));
        let pairs = written.flat_map(|written| others(written).map(move |other| (written, other)));
        let pairs = pairs.filter(|&(i, j)| self.may_meet(call.bufs[i], call.bufs[j]));
        pairs.map(|(written, other)| Suspect { written, other, apart: false }).collect()
    }
}

/// Steps as nodes, inside of so many loops.
pub fn body(steps: &[Step], depth: usize, around: &Around) -> Vec<Node> {
    let node = |step: &Step| match step {
        Step::Kernel(call) => Node::Call(CallNode::new(call, around)),
        Step::Gemm(gemm) => Node::Gemm(Box::new(GemmNode::new(gemm, around))),
        Step::Copy { from, to } => Node::Copy { from: *from as usize, to: *to as usize },
        Step::Scatter { ids, count, from, to, rows, width } => Node::Scatter(ScatterNode {
            ids: *ids as usize,
            from: *from as usize,
            to: *to as usize,
            count: Known::new(count),
            rows: Known::new(rows),
            width: Known::new(width),
        }),
        Step::Rows { op, from, to, rows, len, keep } => Node::Rows(RowsNode {
            op: *op,
            from: *from as usize,
            to: *to as usize,
            rows: Known::new(rows),
            len: Known::new(len),
            keep: Known::new(keep),
        }),
        Step::Repeat(r) => {
            let mut moving = Vec::new();
            used(&r.steps, &mut |b| moving.push(b as usize));
            for b in moving.clone() {
                if let Place::Piece { of, .. } = around.entry.buffers[b].place {
                    moving.push(of as usize);
                }
            }
            moving.retain(|&b| around.depends[b] >> depth & 1 == 1);
            moving.sort_unstable();
            moving.dedup();
            let body = body(&r.steps, depth + 1, around);
            Node::Repeat { count: r.count as usize, reverse: r.reverse, moving, body }
        }
        Step::Panels(k) => Node::Panels(Box::new(PanelsNode::new(k, depth, around))),
    };
    steps.iter().map(node).collect()
}

/// The depths of the loops whose iteration says where a buffer is, one bit each.
fn depends(buffers: &[Buffer], b: usize) -> u64 {
    match &buffers[b].place {
        Place::Arena { .. } | Place::Local { .. } | Place::Weight { .. } | Place::Store(_) => 0,
        Place::Part { of, .. } | Place::Piece { of, .. } => depends(buffers, *of as usize),
        Place::Slot { of, depth, .. } => 1 << depth | depends(buffers, *of as usize),
        Place::Row { depth, cells } => cells.iter().fold(1 << depth, |d, &c| d | depends(buffers, c as usize)),
    }
}

/// Calls `f` for every buffer that the steps name.
pub fn used(steps: &[Step], f: &mut dyn FnMut(BufId)) {
    for step in steps {
        match step {
            Step::Kernel(call) => used_by_call(call, f),
            Step::Gemm(gemm) => {
                f(gemm.c.buf);
                gemm.terms.iter().for_each(|t| [t.a.buf, t.b.buf].into_iter().for_each(&mut *f));
                gemm.then.iter().for_each(|call| used_by_call(call, f));
            }
            Step::Copy { from, to } => [*from, *to].into_iter().for_each(&mut *f),
            Step::Scatter { ids, from, to, .. } => [*ids, *from, *to].into_iter().for_each(&mut *f),
            Step::Rows { from, to, .. } => [*from, *to].into_iter().for_each(&mut *f),
            Step::Repeat(repeat) => used(&repeat.steps, f),
            Step::Panels(panels) => {
                panels.zero.iter().for_each(|&b| f(b));
                used(&panels.steps, f);
            }
        }
    }
}

fn used_by_call(call: &Call, f: &mut dyn FnMut(BufId)) {
    call.bufs.iter().for_each(|&b| f(b));
    call.folds.iter().for_each(|fold| [fold.partial, fold.to].into_iter().for_each(&mut *f));
}
