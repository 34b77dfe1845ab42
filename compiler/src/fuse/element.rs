//! The element of a value at an index: loaded where it is in memory, computed from its operands where it is not.
//!
//! Takes a value and an index map over the item's loop axes; gives the machine operation that holds the element, made
//! once for each sweep that needs it.

use super::emit::{Emit, KOp};
use super::index::{Lin, Map};
use super::scalar::kind_of;
use super::{Nature, Resolved, Role};
use crate::program::{Op as Node, Value};
use dlc_plan::kernel::{Kind, Val};
use dlc_plan::{DType, Host, HostVar, Instr, Prim, Size};

impl Emit<'_> {
    /// The element of a value at an index.
    pub(super) fn eval(&mut self, v: Value, map: &Map) -> Val {
        let key = (v, map.clone(), self.sweep, !self.assumes(map));
        if let Some(known) = self.memo.get(&key) {
            return *known;
        }
        let extents = self.extents.clone();
        let val = match self.cx.resolve(v, map.clone(), &extents) {
            Resolved::Memory(view, map) => {
                let layout = self.cx.layout(view).expect("a view that is read through memory has strides");
                let mut at = Lin::constant(layout.offset.clone());
                for (lin, s) in map.axes.iter().zip(&layout.strides) {
                    at = at.plus(&lin.times(s));
                }
                self.load(self.cx.root(view), at, None, map.bounds)
            }
            Resolved::Root(root, map) => self.root(root, &map),
        };
        self.memo.insert(key, val);
        val
    }

    fn root(&mut self, root: Value, map: &Map) -> Val {
        let ty = self.cx.f.ty(root);
        if let Some(h) = self.cx.host(root) {
            let v = self.scalar(ty.dtype, h);
            return self.guarded(v, map);
        }
        let home = self.home[root.node as usize];
        let here = home.is_some_and(|h| h.item == self.item);
        let stored = self.needs.stored[root.node as usize];
        match (self.cx.nature(root.node), home.map(|h| h.role)) {
            (Nature::Given | Nature::Step, _) => self.load(root, map.flat(&ty.shape), None, map.bounds.clone()),
            (Nature::Fused, Some(Role::FoldCols)) if here => self.folded[&root.node],
            (Nature::Fused, Some(Role::Lane)) if here => {
                if stored && self.needs.sweep[root.node as usize] < self.sweep {
                    return self.load(root, map.flat(&ty.shape), None, map.bounds.clone());
                }
                self.compute(root.node, map)
            }
            (Nature::Fused, _) if !here && stored => self.load(root, map.flat(&ty.shape), None, map.bounds.clone()),
            (Nature::Fused | Nature::Virtual, _) => self.computed(root.node, map),
            (Nature::Term, _) => unreachable!("only the step that adds it up reads it"),
        }
    }

    /// A node's value at an index, computed, and zero outside the bounds. On the way there nothing need be zero.
    fn computed(&mut self, node: u32, map: &Map) -> Val {
        if self.assumes(map) {
            return self.compute(node, map);
        }
        let before = std::mem::replace(&mut self.assumed, map.bounds.clone());
        let v = self.compute(node, map);
        self.assumed = before;
        self.guarded(v, map)
    }

    /// Whether nothing is used outside of a map's bounds.
    fn assumes(&self, map: &Map) -> bool {
        map.bounds.iter().all(|b| self.assumed.contains(b))
    }

    /// Zero outside the bounds.
    fn guarded(&mut self, v: Val, map: &Map) -> Val {
        if self.assumes(map) {
            return v;
        }
        match self.inside(&map.bounds) {
            None => v,
            Some(m) => {
                let zero = self.zero(self.kind(v));
                self.choose(&[m, v, zero])
            }
        }
    }

    fn scalar(&mut self, dtype: DType, h: Host) -> Val {
        match (kind_of(dtype), h.known()) {
            (kind @ (Kind::F32 | Kind::I32), Some(_)) if self.cx.generic => self.uniform(kind, h),
            (Kind::I64, Some(x)) if !self.cx.generic => self.long(x as i64),
            // The host's numbers are of 32 bits, so one of 64 is two of them.
            (Kind::I64, _) => {
                let parts = Host::Prim(Prim::Div, vec![h.clone(), Host::Const(4_294_967_296.0)]);
                let high = self.uniform(Kind::I32, Host::Prim(Prim::Floor, vec![parts]));
                let low = self.uniform(Kind::I32, h);
                self.ins(Instr::IPair, &[low, high])
            }
            (Kind::F32, Some(x)) => self.float(dlc_plan::cast(dtype, x) as f32),
            (Kind::I32, Some(x)) => self.int(x as i64 as i32),
            (Kind::Mask, Some(x)) => {
                let (a, b) = (self.int(i32::from(x != 0.0)), self.int(0));
                self.ins(Instr::INe, &[a, b])
            }
            (Kind::Mask, None) => {
                let (a, b) = (self.uniform(Kind::I32, h), self.int(0));
                self.ins(Instr::INe, &[a, b])
            }
            (kind, None) => self.uniform(kind, h),
        }
    }

    /// A node's value at an index, computed.
    pub(super) fn compute(&mut self, node: u32, map: &Map) -> Val {
        let n = &self.cx.f.nodes[node as usize];
        match &n.op {
            Node::Map(prim) => {
                let args: Vec<Val> = n.args.iter().map(|a| self.eval(*a, map)).collect();
                let from = self.cx.f.ty(*n.args.last().expect("a primitive has operands")).dtype;
                let known = self.known(n.args.get(1).copied());
                self.prim(*prim, &args, from, known)
            }
            Node::Stop | Node::Within(_) => self.eval(n.args[0], map),
            Node::Reduce(_, axes) => {
                let mut at = map.clone();
                for a in axes {
                    at.axes.insert(*a, Lin::default());
                }
                self.eval(n.args[0], &at)
            }
            Node::View(view) => self.copy(n.args[0], view, map, node),
            Node::Gather => self.gather(n.args[0], n.args[1], map),
            Node::Concat(axis) => self.concat(&n.args, *axis, map),
            Node::Iota(axis) => {
                let i = self.index(&map.axes[*axis]);
                self.prim(Prim::Cast(n.tys[0].dtype), &[i], DType::I32, None)
            }
            Node::Random => self.random(node, map),
            Node::Const(x) => self.scalar(n.tys[0].dtype, Host::Const(*x)),
            Node::Table(all) => self.table(node, all, map),
            Node::Host(h) => self.scalar(n.tys[0].dtype, h.clone()),
            Node::Param(_) => unreachable!("given, not computed"),
            Node::Contract(_) | Node::Scatter | Node::Rows(_) | Node::Call(_) | Node::Repeat(_) | Node::Panels(_) => {
                unreachable!("a step, not fused")
            }
        }
    }

    /// An element of a table that no loop takes apart: chosen by its index.
    fn table(&mut self, node: u32, all: &[f64], map: &Map) -> Val {
        let ty = self.cx.f.nodes[node as usize].tys[0].clone();
        let at = self.index(&map.flat(&ty.shape));
        let mut found = self.scalar(ty.dtype, Host::Const(all.first().copied().unwrap_or(0.0)));
        for (i, x) in all.iter().enumerate().skip(1) {
            let (own, here) = (self.scalar(ty.dtype, Host::Const(*x)), self.int(i as i32));
            let is = self.ins(Instr::IEq, &[at, here]);
            found = self.choose(&[is, own, found]);
        }
        found
    }

    /// The number that a value is everywhere, if it is one.
    fn known(&self, v: Option<Value>) -> Option<f64> {
        self.cx.host(self.cx.root(v?))?.known()
    }

    /// A view that is copied: its argument, read through it.
    fn copy(&mut self, arg: Value, view: &crate::program::View, map: &Map, node: u32) -> Val {
        let (from, to) = (self.cx.f.ty(arg), &self.cx.f.nodes[node as usize].tys[0]);
        let extents = self.extents.clone();
        if let Some(at) = map.through(view, from, to, &extents) {
            return self.eval(arg, &at);
        }
        let layout = self.cx.layout(arg).and_then(|l| l.view(view, from, to)).expect("a copied view has strides");
        let mut at = Lin::constant(layout.offset.clone());
        for (lin, s) in map.axes.iter().zip(&layout.strides) {
            at = at.plus(&lin.times(s));
        }
        self.load(self.cx.root(arg), at, None, map.bounds.clone())
    }

    fn gather(&mut self, table: Value, ids: Value, map: &Map) -> Val {
        let rank = self.cx.f.ty(ids).rank();
        let at = Map { axes: map.axes[..rank].to_vec(), bounds: map.bounds.clone() };
        let mut id = self.eval(ids, &at);
        if self.kind(id) == Kind::I64 {
            id = self.clamped(id, &self.cx.f.ty(table).shape[0].clone());
        }
        let (zero, end, one) = (self.int(0), self.size(&self.cx.f.ty(table).shape[0].clone()), self.int(1));
        let last = self.ins(Instr::ISub, &[end, one]);
        let id = self.ins(Instr::IMin, &[id, last]);
        let id = self.ins(Instr::IMax, &[id, zero]);
        let layout = self.cx.layout(table).expect("a table is in memory");
        let mut lin = Lin::constant(layout.offset.clone());
        for (l, s) in map.axes[rank..].iter().zip(&layout.strides[1..]) {
            lin = lin.plus(&l.times(s));
        }
        self.load(self.cx.root(table), lin, Some((id, layout.strides[0].clone())), map.bounds.clone())
    }

    /// A number of 64 bits as one of 32, or a number of 32 that is as far outside of an extent.
    fn clamped(&mut self, id: Val, extent: &Size) -> Val {
        let (zero, end) = (self.long(0), self.size(extent));
        let end = self.ins(Instr::IToL, &[end]);
        let id = self.ins(Instr::LMin, &[id, end]);
        let id = self.ins(Instr::LMax, &[id, zero]);
        self.ins(Instr::LToI, &[id])
    }

    fn concat(&mut self, args: &[Value], axis: usize, map: &Map) -> Val {
        let mut start = Size::zero();
        let mut value = None;
        for a in args {
            let extent = self.cx.f.ty(*a).shape[axis].clone();
            let mut at = map.clone();
            at.axes[axis] = at.axes[axis].plus(&Lin::constant(Size::zero().minus(&start)));
            at.bounds.push((at.axes[axis].clone(), extent.clone()));
            let part = self.eval(*a, &at);
            value = Some(match value {
                None => part,
                Some(before) => {
                    let (i, start) = (self.index(&map.axes[axis].clone()), self.size(&start));
                    let earlier = self.ins(Instr::ILt, &[i, start]);
                    self.choose(&[earlier, before, part])
                }
            });
            start = start.plus(&extent);
        }
        value.expect("a concatenation has arguments")
    }

    /// Uniform numbers of [0, 1) from the site's bits: the upper 24 of 32, as `dlc_plan::random` numbers them.
    fn random(&mut self, node: u32, map: &Map) -> Val {
        let n = &self.cx.f.nodes[node as usize];
        let shape = &n.tys[0].shape;
        let (rows, cols) = shape.split_at(if shape.len() > 1 { shape.len() - 1 } else { shape.len() });
        let mut row = Map { axes: map.axes[..rows.len()].to_vec(), bounds: Vec::new() }.flat(rows);
        let col = if cols.is_empty() { Lin::default() } else { map.axes[rows.len()].clone() };
        let site = self.eval(n.args[0], &Map::default());
        let whole = |s: &mut Self, v: HostVar| s.uniform(Kind::I32, Host::Var(v));
        let seed = [whole(self, HostVar::SeedLow), whole(self, HostVar::SeedHigh)];
        let step = whole(self, HostVar::Step);
        let first = match shape.first().map(Size::known) {
            Some(None) => {
                let per_sample = Host::Size(Size::product(&rows[1..]));
                let h = Host::Prim(Prim::Mul, vec![Host::Var(HostVar::FirstSample), per_sample]);
                self.uniform(Kind::I32, h)
            }
            Some(Some(_)) | None => self.int(0),
        };
        // Where a panel begins is a scalar of the call.
        let first = if row.offset.known().is_none() {
            let start = std::mem::take(&mut row.offset);
            let start = self.size(&start);
            self.ins(Instr::IAdd, &[first, start])
        } else {
            first
        };
        let level = self.level_of([&row, &col]).max(self.levels[site as usize]);
        let bits = self.push(KOp::Bits { seed, site, step, first, row, col }, Kind::I32, level);
        let high = self.ins(Instr::IShr(8), &[bits]);
        let x = self.ins(Instr::IToF, &[high]);
        let unit = self.float(1.0 / 16_777_216.0);
        self.ins(Instr::FMul, &[x, unit])
    }
}
