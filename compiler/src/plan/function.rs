//! A function's body as steps: its items in order, with a buffer for each value that reaches memory.

use super::life::Life;
use super::{Planner, buffer, copies, gemm, panels, repeat, terms};
use crate::fuse::{self, Context, Emitted, Home, Item};
use crate::program::{Function, Op, RowOp, Value};
use dlc_plan::kernel::{Elem, Kind};
use dlc_plan::plan::{BufId, Buffer, Call, FoldTo, Gemm, Matrix, Place, Product, Step};
use dlc_plan::{Host, Prim, Size};
use rustc_hash::FxHashMap as HashMap;

/// Chunks of rows that a fold is cut into, at most.
const CHUNKS: i64 = 64;

/// What is shared by an entry's function and the bodies of its loops.
pub struct Frame {
    /// The buffers.
    pub life: Life,
    segments: Option<Size>,
    generic: bool,
    exact: bool,
    /// The first buffer at each place outside of the arena.
    places: HashMap<Place, BufId>,
}

impl Frame {
    /// An entry's frame; `segments` is the length of the flat stores where it goes over them, and `exact` where it goes over
    /// all samples at once.
    pub fn new(segments: Option<Size>, generic: bool, exact: bool) -> Frame {
        Frame { life: Life::default(), segments, generic, exact, places: HashMap::default() }
    }

    /// The first buffer that is at the same place as this one, whatever the buffers are called that they are pieces of.
    fn first_at(&mut self, id: BufId) -> BufId {
        let mut place = self.life.get(id).place.clone();
        match &mut place {
            Place::Arena { .. } | Place::Local { .. } => return id,
            Place::Weight { .. } | Place::Store(_) => {}
            Place::Part { of, .. } | Place::Slot { of, .. } | Place::Piece { of, .. } => *of = self.first_at(*of),
            Place::Row { cells, .. } => cells.iter_mut().for_each(|cell| *cell = self.first_at(*cell)),
        }
        *self.places.entry(place).or_insert(id)
    }
}

/// What a parameter is bound to.
#[derive(Clone, Debug)]
pub enum Bind {
    /// A buffer.
    Buffer(BufId),
    /// A scalar of the host.
    Host(Host),
    /// A table of such scalars: its elements in order.
    Table(Vec<Host>),
}

/// One function's body in the making.
pub struct Body<'a> {
    /// The function, as fusion sees it.
    pub cx: Context<'a>,
    items: Vec<Item>,
    home: Vec<Option<Home>>,
    needs: fuse::Needs,
    /// The buffer of each value that is in memory.
    pub at: HashMap<Value, BufId>,
    /// The parameter that is read from where a buffer is.
    read: HashMap<BufId, Value>,
}

/// Adds a function's steps. Results go to their targets where they have one; gives the buffer of each.
pub fn emit(
    p: &mut Planner,
    frame: &mut Frame,
    f: &Function,
    binds: Vec<Bind>,
    targets: &[Option<BufId>],
    steps: &mut Vec<Step>,
) -> Vec<BufId> {
    let mut body = prepare(frame, f, binds, targets);
    let mut copies = Vec::new();
    for (r, target) in f.results.iter().zip(targets) {
        let Some(target) = target else { continue };
        let root = body.cx.root(*r);
        if !body.at.contains_key(&root) && body.may_write(frame, root, *target) {
            body.at.insert(root, *target);
        } else {
            copies.push((root, *target));
        }
    }
    for i in 0..body.items.len() {
        body.item(p, frame, i, steps);
    }
    for (root, to) in copies {
        let from = body.buf(frame, root);
        frame.life.step();
        frame.life.touch(from);
        frame.life.touch(to);
        steps.push(Step::Copy { from, to });
    }
    f.results.iter().zip(targets).map(|(r, target)| target.unwrap_or_else(|| body.result(frame, *r))).collect()
}

fn prepare<'a>(frame: &mut Frame, f: &'a Function, binds: Vec<Bind>, targets: &[Option<BufId>]) -> Body<'a> {
    let mut cx = Context {
        f,
        hosts: HashMap::default(),
        tables: HashMap::default(),
        copies: vec![false; f.nodes.len()],
        sums: HashMap::default(),
        terms: vec![false; f.nodes.len()],
        segments: frame.segments.clone(),
        generic: frame.generic,
        exact: frame.exact,
    };
    let (mut at, mut read) = (HashMap::default(), HashMap::default());
    for (i, b) in binds.into_iter().enumerate() {
        match b {
            Bind::Buffer(b) => {
                let param = Value { node: i as u32, port: 0 };
                at.insert(param, b);
                read.insert(frame.first_at(b), param);
            }
            Bind::Host(h) => {
                cx.hosts.insert(i as u32, h);
            }
            Bind::Table(all) => {
                cx.tables.insert(i as u32, all);
            }
        }
    }
    copies::mark(&mut cx, &targets.iter().map(Option::is_some).collect::<Vec<_>>());
    terms::mark(&mut cx);
    let (items, home) = fuse::group(&cx);
    let needs = fuse::stored(&cx, &items, &home, &f.results);
    Body { cx, items, home, needs, at, read }
}

impl Body<'_> {
    /// The buffer of a value that is in memory.
    pub fn buf(&mut self, frame: &mut Frame, root: Value) -> BufId {
        if let Some(b) = self.at.get(&root) {
            return *b;
        }
        let b = frame.life.add(buffer(self.cx.f.ty(root), None, &note(self.cx.f, root)));
        self.at.insert(root, b);
        b
    }

    /// The buffer of a result that may be anywhere.
    fn result(&self, frame: &mut Frame, v: Value) -> BufId {
        let root = self.cx.root(v);
        let of = self.at[&root];
        match self.cx.piece(v).filter(|_| !self.cx.is_alias(v)) {
            Some(offset) => {
                frame.life.add(buffer(self.cx.f.ty(v), Some(Place::Part { of, offset }), &note(self.cx.f, root)))
            }
            None => of,
        }
    }

    /// Whether a value may be written to a place that a parameter is read from: only if what reads it there does so before,
    /// or, element by element, at the same point of the same loop.
    fn may_write(&self, frame: &mut Frame, root: Value, target: BufId) -> bool {
        if matches!(self.cx.f.node(root).op, Op::Param(_)) {
            return false;
        }
        let Some(&param) = self.read.get(&frame.first_at(target)) else { return true };
        let Some(home) = self.home[root.node as usize] else { return false };
        let (own, sweep) = (home.item, self.needs.sweep[root.node as usize]);
        // Of what other items than its own work out where they read it: whether it is made of the parameter, and whether of
        // the same element alone.
        let nodes = &self.cx.f.nodes;
        let mut made: Vec<Option<bool>> = vec![None; nodes.len()];
        for (i, n) in nodes.iter().enumerate().filter(|(i, _)| !self.cx.is_view(*i)) {
            let (of, read) = self.reads(i, param, &made);
            if of.is_none() {
                continue;
            }
            let again = self.home[i].is_none() || !self.needs.stored[i];
            let elementwise = matches!(n.op, Op::Map(_) | Op::Stop | Op::Within(_));
            made[i] = of.filter(|_| again).map(|same| same && elementwise);
            let fine = match self.home[i] {
                None => true,
                Some(h) if h.item != own => h.item < own || read.is_none(),
                Some(_) if self.items[own].step == Some(i as u32) => self.by_slices(n, param, root),
                Some(_) => read.is_none_or(|same| same && self.needs.sweep[i] <= sweep),
            };
            if !fine {
                return false;
            }
        }
        // Results that are no item's are copied in the end.
        self.cx.f.results.iter().map(|r| self.cx.root(*r)).all(|r| r != param && made[r.node as usize].is_none())
    }

    /// Whether a node is made of a parameter, and whether it reads it itself, or through what it works out again; each with
    /// whether it is element by element.
    fn reads(&self, node: usize, param: Value, made: &[Option<bool>]) -> (Option<bool>, Option<bool>) {
        let item = |node: usize| self.home[node].map(|h| h.item);
        let (mut of, mut read) = (None, None);
        for a in &self.cx.f.nodes[node].args {
            let root = self.cx.root(*a);
            let from = root.node as usize;
            let found = if root == param { Some(true) } else { made[from] };
            let Some(same) = found.map(|same| same && self.cx.is_alias(*a)) else { continue };
            of = Some(of.unwrap_or(true) && same);
            if root == param || item(from) != item(node) {
                read = Some(read.unwrap_or(true) && same);
            }
        }
        (of, read)
    }

    /// Whether a step is a loop that reads of a parameter no more in an iteration than the slice where it puts its own.
    fn by_slices(&self, n: &crate::program::Node, param: Value, result: Value) -> bool {
        let Op::Repeat(r) = &n.op else { return false };
        let stacks = r.carried + r.invariant..r.carried + r.invariant + r.stacks;
        let stacked = r.carried..r.carried + r.stacked;
        let fits = |(k, a): (usize, &Value)| self.cx.root(*a) != param || stacks.contains(&k);
        stacked.contains(&(result.port as usize)) && n.args.iter().enumerate().all(fits)
    }

    fn item(&mut self, p: &mut Planner, frame: &mut Frame, i: usize, steps: &mut Vec<Step>) {
        let has_kernel = self.items[i].members.iter().any(|m| self.needs.stored[*m as usize]);
        let Some(step) = self.items[i].step else {
            if has_kernel {
                let call = self.kernel(p, frame, i);
                frame.life.step();
                self.touch(frame, &call);
                steps.push(Step::Kernel(call));
            }
            return;
        };
        match &self.cx.f.nodes[step as usize].op {
            _ if self.cx.sums.contains_key(&step) => self.contract(p, frame, i, step, has_kernel, steps),
            Op::Contract(_) => self.contract(p, frame, i, step, has_kernel, steps),
            Op::Scatter => self.scatter(frame, step, steps),
            Op::Rows(op) => self.rows(frame, step, *op, steps),
            Op::Repeat(r) => repeat::emit(self, p, frame, step, r, steps),
            Op::Panels(k) => panels::emit(self, p, frame, step, k, steps),
            other => unreachable!("{other:?} is no step: calls are inlined before planning"),
        }
    }

    /// The call of an item's kernel.
    fn kernel(&mut self, p: &mut Planner, frame: &mut Frame, i: usize) -> Call {
        let Emitted { kernel, bufs, uniforms, exts, rows, folds } =
            fuse::emit(&self.cx, &self.items, &self.home, &self.needs, i);
        let bufs = bufs.iter().map(|v| self.buf(frame, *v)).collect();
        let mut to = Vec::new();
        for (op, kind, len, value) in folds {
            let elem = match kind {
                Kind::F32 => Elem::F32,
                Kind::I32 | Kind::Mask => Elem::I32,
                Kind::I64 => Elem::I64,
            };
            let whole = Buffer {
                elem,
                len: len.times(&Size::from(CHUNKS * op.parts(kind) as i64)),
                place: Place::Arena { first: u32::MAX, last: 0 },
                note: "partial folds".into(),
            };
            let partial = frame.life.add(whole);
            to.push(FoldTo { op, kind, len, partial, to: self.buf(frame, value) });
        }
        let segments = self.items[i].segments;
        Call { kernel: p.kernel(kernel), bufs, uniforms, exts, rows, folds: to, segments }
    }

    fn touch(&self, frame: &mut Frame, call: &Call) {
        for b in &call.bufs {
            frame.life.touch(*b);
        }
        for f in &call.folds {
            frame.life.touch(f.partial);
            frame.life.touch(f.to);
        }
    }

    fn contract(
        &mut self,
        p: &mut Planner,
        frame: &mut Frame,
        i: usize,
        node: u32,
        has_kernel: bool,
        steps: &mut Vec<Step>,
    ) {
        let terms = self.cx.sums.get(&node).cloned().unwrap_or_else(|| vec![node]);
        let multiplied =
            |term: &u32| copies::multiply(&self.cx, *term).expect("operands that strides cannot describe were copied");
        let shapes: Vec<gemm::Shape> = terms.iter().map(multiplied).collect();
        let shape = &shapes[0];
        let result = Value { node, port: 0 };
        let added = self.adds_to(frame, i, result);
        // Where no fold has decided what a row is, a row is one of the product.
        if self.items[i].rows.is_none() {
            self.items[i].rows = product_rows(&self.items[i].domain, shape);
        }
        let call = (has_kernel && added.is_none()).then(|| self.kernel(p, frame, i));
        let products: Vec<Product> = terms.iter().zip(&shapes).map(|(t, s)| self.product(frame, *t, s)).collect();
        let c = added.unwrap_or_else(|| self.buf(frame, result));
        let it = &self.items[i];
        let all_rows = Size::product(&shape.batch).times(&shape.mnk[0]);
        let hot = shape.rowwise && product_rows(&it.domain, shape) == Some(it.row_axes());
        let hot = hot && call.as_ref().is_some_and(|c| c.folds.is_empty() && c.rows == all_rows);
        let (then, after) = if hot { (call, None) } else { (None, call) };
        let [m, n, _] = shape.mnk.clone();
        let gemm = Gemm {
            m,
            n,
            terms: products,
            c: matrix(c, &shape.c),
            batch: shape.batch.clone(),
            accumulate: added.is_some(),
            then,
            note: note(self.cx.f, Value { node: terms[0], port: 0 }),
        };
        frame.life.step();
        frame.life.touch(c);
        for term in &gemm.terms {
            frame.life.touch(term.a.buf);
            frame.life.touch(term.b.buf);
        }
        if let Some(call) = &gemm.then {
            self.touch(frame, call);
        }
        steps.push(Step::Gemm(Box::new(gemm)));
        if let Some(call) = after {
            frame.life.step();
            self.touch(frame, &call);
            steps.push(Step::Kernel(call));
        }
    }

    /// A contraction as a term of a matrix product.
    fn product(&mut self, frame: &mut Frame, contraction: u32, shape: &gemm::Shape) -> Product {
        let [a, b] = self.cx.f.nodes[contraction as usize].args[..] else {
            unreachable!("a contraction has two operands")
        };
        let (left, right) = if shape.swapped { (b, a) } else { (a, b) };
        let [left, right] = [left, right].map(|v| self.buf(frame, self.cx.root(v)));
        Product { k: shape.mnk[2].clone(), a: matrix(left, &shape.a), b: matrix(right, &shape.b) }
    }

    /// The buffer that a contraction can be added to in place: where all that its item does is to add it to a parameter
    /// and put the sum where the parameter was.
    fn adds_to(&self, frame: &Frame, i: usize, result: Value) -> Option<BufId> {
        let [m] = self.items[i].members[..] else { return None };
        let n = &self.cx.f.nodes[m as usize];
        if n.op != Op::Map(Prim::Add) || self.cx.f.results.iter().any(|r| self.cx.root(*r) == result) {
            return None;
        }
        let other = match n.args[..] {
            [a, b] if a == result => b,
            [a, b] if b == result => a,
            _ => return None,
        };
        if !self.cx.is_alias(other) {
            return None;
        }
        let other = self.cx.root(other);
        let uses = |n: &crate::program::Node| n.args.iter().any(|a| self.cx.root(*a) == result);
        if self.cx.f.nodes.iter().filter(|n| uses(n)).count() != 1 {
            return None;
        }
        let to = *self.at.get(&Value { node: m, port: 0 })?;
        let from = *self.at.get(&other)?;
        let is_param = matches!(self.cx.f.node(other).op, Op::Param(_));
        (is_param && frame.life.get(to).place == frame.life.get(from).place).then_some(to)
    }

    fn scatter(&mut self, frame: &mut Frame, node: u32, steps: &mut Vec<Step>) {
        let n = &self.cx.f.nodes[node as usize];
        let (ids, from) = (self.cx.root(n.args[0]), self.cx.root(n.args[1]));
        let count = self.cx.f.ty(n.args[0]).len();
        let (rows, width) = (n.tys[0].shape[0].clone(), Size::product(&n.tys[0].shape[1..]));
        let (ids, from) = (self.buf(frame, ids), self.buf(frame, from));
        let to = self.buf(frame, Value { node, port: 0 });
        frame.life.step();
        for b in [ids, from, to] {
            frame.life.touch(b);
        }
        steps.push(Step::Scatter { ids, count, from, to, rows, width });
    }

    fn rows(&mut self, frame: &mut Frame, node: u32, op: RowOp, steps: &mut Vec<Step>) {
        let n = &self.cx.f.nodes[node as usize];
        let from = self.cx.root(n.args[0]);
        let (len, others) = self.cx.f.ty(n.args[0]).shape.split_last().expect("a verified program has rows here");
        let keep = n.tys[0].shape[others.len()].clone();
        let (len, rows) = (len.clone(), Size::product(others));
        let (from, to) = (self.buf(frame, from), self.buf(frame, Value { node, port: 0 }));
        frame.life.step();
        frame.life.touch(from);
        frame.life.touch(to);
        steps.push(Step::Rows { op, from, to, rows, len, keep });
    }
}

/// A matrix that lies so in a buffer.
fn matrix(buf: BufId, s: &gemm::Strides) -> Matrix {
    Matrix {
        buf,
        offset: s.offset.clone(),
        row: s.row.clone(),
        col: s.col.clone(),
        rows: s.rows.clone(),
        cols: s.cols.clone(),
        batch: s.batch.clone(),
    }
}

/// How many of a contraction's axes number the rows of its product, all batches together, if the others are its columns.
fn product_rows(domain: &[Size], shape: &super::gemm::Shape) -> Option<usize> {
    (0..domain.len()).rev().find(|n| Size::product(&domain[*n..]) == shape.mnk[1])
}

/// What a value is, for people.
pub fn note(f: &Function, v: Value) -> String {
    let n = f.node(v);
    let what = match &n.op {
        Op::Map(p) => p.name().to_string(),
        Op::Reduce(op, _) => format!("{op:?}").to_lowercase(),
        Op::Contract(_) => "matmul".into(),
        Op::Param(i) => f.params[*i as usize].name.clone(),
        Op::Repeat(_) => "loop".into(),
        Op::Panels(_) => "panels".into(),
        Op::View(_) => "copy".into(),
        Op::Random => "random".into(),
        Op::Const(_) | Op::Table(_) | Op::Host(_) | Op::Iota(_) => "constant".into(),
        Op::Gather => "gather".into(),
        Op::Scatter => "scatter".into(),
        Op::Rows(op) => op.name().into(),
        Op::Concat(_) => "concat".into(),
        Op::Stop => "stop".into(),
        Op::Within(_) => "within".into(),
        Op::Call(_) => "call".into(),
    };
    if n.origin.member.is_empty() { what } else { format!("{}: {what}", n.origin.member) }
}
