//! The kernel of one item: its nodes as machine operations, in set-up, row phases and sweeps.
//!
//! Every value is computed at the lowest level that its operands allow: once a call, once a row, or for each element.
//! Equal operations are made once. Axes here are the item's loop axes; `finish` turns them into the kernel's.

use super::index::{Lin, Map};
use super::need::Needs;
use super::scalar::kind_of;
use super::{Context, Home, Item, Role};
use crate::program::{Op as Node, ReduceOp, Value};
use dlc_plan::kernel::{FoldOp, Kernel, Kind, Val};
use dlc_plan::{DType, Host, Instr, Size};
use rustc_hash::FxHashMap as HashMap;

/// A kernel, and what it is to be called with.
#[derive(Clone, Debug)]
pub struct Emitted {
    /// The kernel.
    pub kernel: Kernel,
    /// What its buffers hold: parameters, stored values, results of steps.
    pub bufs: Vec<Value>,
    /// Its scalars.
    pub uniforms: Vec<(Kind, Host)>,
    /// Its extents.
    pub exts: Vec<Size>,
    /// The number of rows.
    pub rows: Size,
    /// Its folds over rows: how, the kind, the number of results, and the value they are.
    pub folds: Vec<(FoldOp, Kind, Size, Value)>,
}

/// When a value is computed: once a call, before a sweep, or in a sweep.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Level {
    Setup,
    Row(u32),
    Lane(u32),
}

/// An operation over the item's loop axes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum KOp {
    Float(u32),
    Int(i32),
    Uniform(u16),
    Index(usize),
    Load(KAccess),
    Instr(Instr, Vec<Val>),
    Bits { seed: [Val; 2], site: Val, step: Val, first: Val, row: Lin, col: Lin },
}

/// An access over the item's loop axes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct KAccess {
    pub buf: u16,
    pub at: Lin,
    pub base: Option<(Val, Size)>,
    pub bounds: Vec<(Lin, Size)>,
}

/// A definition over the item's loop axes.
#[derive(Clone, Debug)]
pub(super) struct KDef {
    pub val: Val,
    pub kind: Kind,
    pub op: KOp,
}

/// A row phase and the sweep after it.
#[derive(Clone, Debug, Default)]
pub(super) struct Part {
    pub row: Vec<KDef>,
    pub row_stores: Vec<(KAccess, Val)>,
    pub row_folds: Vec<(FoldOp, Kind, Val, u16)>,
    pub lane: Vec<KDef>,
    pub stores: Vec<(KAccess, Val)>,
    pub col_folds: Vec<(FoldOp, Kind, Val, Val)>,
    pub fold_rows: Vec<(FoldOp, Kind, Val, u16)>,
}

/// A kernel in the making.
pub struct Emit<'a> {
    pub(super) cx: &'a Context<'a>,
    pub(super) home: &'a [Option<Home>],
    pub(super) needs: &'a Needs,
    pub(super) item: usize,
    pub(super) it: &'a Item,
    pub(super) extents: Vec<Size>,
    pub(super) sweep: u32,
    pub(super) setup: Vec<KDef>,
    pub(super) parts: Vec<Part>,
    kinds: Vec<Kind>,
    pub(super) levels: Vec<Level>,
    made: HashMap<KOp, Vec<Val>>,
    /// What has been computed: a value at a map, in a sweep, and whether zeros stand outside the map's bounds.
    pub(super) memo: HashMap<(Value, Map, u32, bool), Val>,
    /// Bounds outside of which nothing that is computed now is used.
    pub(super) assumed: Vec<(Lin, Size)>,
    pub(super) folded: HashMap<u32, Val>,
    pub(super) uniforms: Vec<(Kind, Host)>,
    pub(super) bufs: Vec<(Value, DType, bool)>,
    pub(super) folds: Vec<(FoldOp, Kind, Size, Value)>,
}

/// The kernel of an item.
pub fn emit(cx: &Context, items: &[Item], home: &[Option<Home>], needs: &Needs, item: usize) -> Emitted {
    let it = &items[item];
    let last = it.members.iter().map(|m| needs.sweep[*m as usize]).max().unwrap_or(0);
    let mut e = Emit {
        cx,
        home,
        needs,
        item,
        it,
        extents: it.extents(),
        sweep: 0,
        setup: Vec::new(),
        parts: vec![Part::default(); last as usize + 2],
        kinds: Vec::new(),
        levels: Vec::new(),
        made: HashMap::default(),
        memo: HashMap::default(),
        assumed: Vec::new(),
        folded: HashMap::default(),
        uniforms: Vec::new(),
        bufs: Vec::new(),
        folds: Vec::new(),
    };
    for t in 0..=last + 1 {
        e.sweep = t;
        e.row_stage(t);
        e.lane_stage(t);
    }
    super::finish::finish(e)
}

impl Emit<'_> {
    /// The kind of a value.
    pub(super) fn kind(&self, v: Val) -> Kind {
        self.kinds[v as usize]
    }

    /// A constant.
    pub(super) fn float(&mut self, x: f32) -> Val {
        self.push(KOp::Float(x.to_bits()), Kind::F32, Level::Setup)
    }

    /// A whole constant.
    pub(super) fn int(&mut self, x: i32) -> Val {
        self.push(KOp::Int(x), Kind::I32, Level::Setup)
    }

    /// A whole constant of 64 bits.
    pub(super) fn long(&mut self, x: i64) -> Val {
        let low = self.int(x as i32);
        if i64::from(x as i32) == x {
            return self.ins(Instr::IToL, &[low]);
        }
        let high = self.int((x >> 32) as i32);
        self.ins(Instr::IPair, &[low, high])
    }

    /// A machine operation.
    pub(super) fn ins(&mut self, i: Instr, args: &[Val]) -> Val {
        let level = args.iter().map(|a| self.levels[*a as usize]).max().unwrap_or(Level::Setup);
        self.push(KOp::Instr(i, args.to_vec()), i.signature().1, level)
    }

    pub(super) fn uniform(&mut self, kind: Kind, h: Host) -> Val {
        let at = self.uniforms.iter().position(|u| u.0 == kind && u.1 == h).unwrap_or_else(|| {
            self.uniforms.push((kind, h));
            self.uniforms.len() - 1
        });
        self.push(KOp::Uniform(at as u16), kind, Level::Setup)
    }

    pub(super) fn push(&mut self, op: KOp, kind: Kind, level: Level) -> Val {
        let seen = |l: Level| match l {
            Level::Setup => true,
            Level::Row(k) => k <= self.sweep,
            Level::Lane(k) => k == self.sweep,
        };
        if let Some(v) = self.made.get(&op).and_then(|vs| vs.iter().find(|v| seen(self.levels[**v as usize]))) {
            return *v;
        }
        let val = self.define(kind, level);
        self.made.entry(op.clone()).or_default().push(val);
        let def = KDef { val, kind, op };
        match level {
            Level::Setup => self.setup.push(def),
            Level::Row(k) => self.parts[k as usize].row.push(def),
            Level::Lane(k) => self.parts[k as usize].lane.push(def),
        }
        val
    }

    fn define(&mut self, kind: Kind, level: Level) -> Val {
        self.kinds.push(kind);
        self.levels.push(level);
        self.kinds.len() as Val - 1
    }

    /// The level of what depends on these axes.
    pub(super) fn level_of<'l>(&self, lins: impl IntoIterator<Item = &'l Lin>) -> Level {
        let rows = self.it.row_axes();
        let axes = lins.into_iter().flat_map(|l| &l.terms).map(|(a, _)| *a);
        axes.map(|a| if a < rows { Level::Row(0) } else { Level::Lane(self.sweep) }).max().unwrap_or(Level::Setup)
    }

    fn buf(&mut self, root: Value, written: bool) -> u16 {
        let at = self.bufs.iter().position(|b| b.0 == root).unwrap_or_else(|| {
            self.bufs.push((root, self.cx.f.ty(root).dtype, false));
            self.bufs.len() - 1
        });
        self.bufs[at].2 |= written;
        at as u16
    }

    /// An element of a value's memory.
    pub(super) fn load(&mut self, root: Value, at: Lin, base: Option<(Val, Size)>, bounds: Vec<(Lin, Size)>) -> Val {
        let buf = self.buf(root, false);
        // Where the element is the same inside and outside of a bound, and is not used outside, it may be read there. A bound
        // that no axis moves says where that element is: outside of it there is none.
        let apart = |l: &Lin| l.terms.iter().all(|(a, _)| at.terms.iter().all(|(b, _)| a != b));
        let same = |l: &Lin| base.is_none() && !l.terms.is_empty() && apart(l);
        let bounds: Vec<_> =
            bounds.into_iter().filter(|b| !(holds(b) || same(&b.0) && self.assumed.contains(b))).collect();
        let mut level = self.level_of(std::iter::once(&at).chain(bounds.iter().map(|b| &b.0)));
        if let Some((v, _)) = base {
            level = level.max(self.levels[v as usize]);
        }
        // What this kernel stored can be read from the next sweep on.
        let own = self.home[root.node as usize].is_some_and(|h| h.item == self.item && h.role != Role::Step);
        if own {
            level = level.max(Level::Row(self.sweep));
        }
        let dtype = self.cx.f.ty(root).dtype;
        let (kind, truth) = match kind_of(dtype) {
            Kind::Mask => (Kind::I32, true),
            kind => (kind, false),
        };
        let v = self.push(KOp::Load(KAccess { buf, at, base, bounds }), kind, level);
        if truth {
            let zero = self.int(0);
            return self.ins(Instr::INe, &[v, zero]);
        }
        v
    }

    /// A size as an integer.
    pub(super) fn size(&mut self, s: &Size) -> Val {
        match s.known() {
            Some(k) if !self.cx.generic || k == 0 => self.int(k as i32),
            Some(_) | None => self.uniform(Kind::I32, Host::Size(s.clone())),
        }
    }

    /// An index as an integer.
    pub(super) fn index(&mut self, lin: &Lin) -> Val {
        let mut sum = if lin.offset.is(0) && !lin.terms.is_empty() { None } else { Some(self.size(&lin.offset)) };
        for (a, s) in &lin.terms {
            let level = self.level_of([&Lin::axis(*a)]);
            let i = self.push(KOp::Index(*a), Kind::I32, level);
            let term = if s.is(1) {
                i
            } else {
                let s = self.size(s);
                self.ins(Instr::IMul, &[i, s])
            };
            sum = Some(match sum {
                Some(v) => self.ins(Instr::IAdd, &[v, term]),
                None => term,
            });
        }
        sum.expect("an index without terms is its offset")
    }

    /// Whether all indices are inside their extents.
    pub(super) fn inside(&mut self, bounds: &[(Lin, Size)]) -> Option<Val> {
        let mut all = None;
        for (lin, extent) in bounds {
            let (i, end, zero) = (self.index(lin), self.size(extent), self.int(0));
            let low = self.ins(Instr::ILe, &[zero, i]);
            let high = self.ins(Instr::ILt, &[i, end]);
            let both = self.ins(Instr::MAnd, &[low, high]);
            all = Some(match all {
                Some(m) => self.ins(Instr::MAnd, &[m, both]),
                None => both,
            });
        }
        all
    }

    pub(super) fn zero(&mut self, kind: Kind) -> Val {
        match kind {
            Kind::F32 => self.float(0.0),
            Kind::I32 => self.int(0),
            Kind::I64 => self.long(0),
            Kind::Mask => {
                let (a, b) = (self.int(0), self.int(1));
                self.ins(Instr::IEq, &[a, b])
            }
        }
    }

    /// Truths become integers where they are stored or folded.
    fn storable(&mut self, v: Val) -> Val {
        match self.kind(v) {
            Kind::Mask => {
                let (one, zero) = (self.int(1), self.int(0));
                self.ins(Instr::ISelect, &[v, one, zero])
            }
            Kind::F32 | Kind::I32 | Kind::I64 => v,
        }
    }

    fn members(&self, role: Role, t: u32) -> Vec<u32> {
        let at = |m: &u32| {
            let sweep = self.needs.sweep[*m as usize];
            let due = if role == Role::FoldCols { sweep == t + 1 } else { sweep == t };
            due && self.home[*m as usize].is_some_and(|h| h.role == role)
        };
        self.it.members.iter().copied().filter(at).collect()
    }

    /// Stores and folds of values of a row.
    fn row_stage(&mut self, t: u32) {
        let mut due = self.members(Role::Row, t);
        due.extend(self.it.members.iter().filter(|m| {
            let fold = self.home[**m as usize].is_some_and(|h| h.role == Role::FoldCols);
            fold && self.needs.sweep[**m as usize] == t
        }));
        if self.extents.is_empty() {
            due.extend(self.members(Role::Lane, t));
        }
        for m in due {
            if !self.needs.stored[m as usize] {
                continue;
            }
            let value = Value { node: m, port: 0 };
            let shape = &self.cx.f.ty(value).shape;
            let map = self.it.map(Role::Row, shape);
            let fold = self.folded.get(&m).copied();
            let v = fold.unwrap_or_else(|| self.compute(m, &map));
            let v = self.storable(v);
            let to = KAccess { buf: self.buf(value, true), at: map.flat(shape), base: None, bounds: Vec::new() };
            self.parts[t as usize].row_stores.push((to, v));
        }
        for m in self.members(Role::FoldAll, t) {
            let arg = self.cx.f.nodes[m as usize].args[0];
            if self.it.row_axes() > 0 && self.reads_rows(arg) {
                let shape = &self.cx.f.ty(arg).shape;
                let map = self.it.map(Role::Row, shape);
                let v = self.eval(arg, &map);
                self.fold_all(m, v, t);
            }
        }
    }

    /// Whether a fold over everything goes over values of rows.
    fn reads_rows(&self, arg: Value) -> bool {
        let own = self.cx.f.ty(arg).shape.iter().filter(|s| !s.is(1)).count();
        own < self.it.domain.len()
    }

    fn fold_all(&mut self, node: u32, v: Val, t: u32) {
        let v = self.storable(v);
        let (op, kind) = (self.fold_op(node), self.kind(v));
        let slot = self.folds.len() as u16;
        self.folds.push((op, kind, Size::one(), Value { node, port: 0 }));
        self.parts[t as usize].row_folds.push((op, kind, v, slot));
    }

    fn fold_op(&self, node: u32) -> FoldOp {
        match &self.cx.f.nodes[node as usize].op {
            Node::Reduce(ReduceOp::Sum, _) => FoldOp::Sum,
            Node::Reduce(ReduceOp::Prod, _) => FoldOp::Prod,
            Node::Reduce(ReduceOp::Max, _) => FoldOp::Max,
            Node::Reduce(ReduceOp::Min, _) => FoldOp::Min,
            _ => unreachable!("only reductions are folds"),
        }
    }

    /// Folds and stores of lanes.
    fn lane_stage(&mut self, t: u32) {
        if self.extents.is_empty() {
            return;
        }
        for m in self.members(Role::Lane, t) {
            if self.needs.stored[m as usize] {
                let value = Value { node: m, port: 0 };
                let shape = &self.cx.f.ty(value).shape;
                let map = self.it.map(Role::Lane, shape);
                let v = self.compute(m, &map);
                let v = self.storable(v);
                let to = KAccess { buf: self.buf(value, true), at: map.flat(shape), base: None, bounds: Vec::new() };
                self.parts[t as usize].stores.push((to, v));
            }
        }
        for m in self.members(Role::FoldCols, t) {
            let (op, v) = self.folded_arg(m);
            let val = self.col_fold(op, v, t);
            let truth = self.cx.f.nodes[m as usize].tys[0].dtype == DType::Bool;
            let val = if truth { self.truth_at(val, t + 1) } else { val };
            self.folded.insert(m, val);
        }
        for m in self.members(Role::FoldRows, t) {
            let (op, v) = self.folded_arg(m);
            let slot = self.folds.len() as u16;
            let len = Size::product(&self.extents[self.it.row_axes()..]);
            let kind = self.kind(v);
            self.folds.push((op, kind, len, Value { node: m, port: 0 }));
            self.parts[t as usize].fold_rows.push((op, kind, v, slot));
        }
        for m in self.members(Role::FoldAll, t) {
            let arg = self.cx.f.nodes[m as usize].args[0];
            if !self.reads_rows(arg) {
                let (op, v) = self.folded_arg(m);
                let val = self.col_fold(op, v, t);
                self.fold_all(m, val, t + 1);
            }
        }
    }

    fn folded_arg(&mut self, node: u32) -> (FoldOp, Val) {
        let arg = self.cx.f.nodes[node as usize].args[0];
        let shape = &self.cx.f.ty(arg).shape;
        let map = self.it.map(Role::Lane, shape);
        let v = self.eval(arg, &map);
        (self.fold_op(node), self.storable(v))
    }

    fn col_fold(&mut self, op: FoldOp, v: Val, t: u32) -> Val {
        let kind = self.kind(v);
        let val = self.define(kind, Level::Row(t + 1));
        self.parts[t as usize].col_folds.push((op, kind, v, val));
        val
    }

    /// A folded integer as a truth, before sweep `t`.
    fn truth_at(&mut self, v: Val, t: u32) -> Val {
        let hold = std::mem::replace(&mut self.sweep, t);
        let zero = self.int(0);
        let truth = self.ins(Instr::INe, &[v, zero]);
        self.sweep = hold;
        truth
    }
}

/// Whether a bound holds wherever the loops are.
fn holds((index, extent): &(Lin, Size)) -> bool {
    let inside = |(i, n): (i64, i64)| (0..n).contains(&i);
    index.terms.is_empty() && index.offset.known().zip(extent.known()).is_some_and(inside)
}
