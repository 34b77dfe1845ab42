//! From a kernel over an item's loop axes to a kernel over its own: axes that run on into each other are joined, sizes
//! become constants or extents of the call, values are numbered in order.

use super::emit::{Emit, Emitted, KAccess, KDef, KOp, Part};
use super::index::Lin;
use dlc_plan::kernel::{
    Access, Affine, Axis, Bits, Bound, BufTy, Def, Elem, Ext, Fold, Kernel, Op, Over, Phase, RUN, Store, Val,
};
use dlc_plan::{DType, Size};
use rustc_hash::FxHashMap as HashMap;

/// Rows of fewer elements than this are joined with the next row, where nothing is computed for each row.
const SHORT: i64 = 1024;

/// A vector axis of no more elements is exchanged for a longer one where nothing is in the way.
const TINY: i64 = 7;

/// How an element type is stored.
pub fn elem_of(dtype: DType) -> Elem {
    Elem::of(dtype)
}

struct Finish {
    /// Each loop axis' place in the kernel, if it is still one.
    axes: Vec<Option<Axis>>,
    exts: Vec<Size>,
    generic: bool,
    numbers: HashMap<Val, Val>,
}

/// The finished kernel.
pub(super) fn finish(mut e: Emit) -> Emitted {
    let (extents, rows) = (e.extents.clone(), e.it.row_axes());
    let lins = lins(&e.setup, &e.parts);
    let mut all: Vec<(usize, Size)> = extents.iter().cloned().enumerate().collect();
    let (mut alive, first) = join(&all, rows, &lins, plain(&e.parts) && !e.it.segments && !e.cx.generic);
    let mut lanes = alive.iter().filter(|(a, _)| *a < first).count();
    let turns = elementwise(&e.parts) && !e.it.segments && e.it.step.is_none() && has_short_columns(&alive, lanes);
    if let Some(longer) = longer(&all[..rows]).filter(|_| turns) {
        let axis = all.remove(longer);
        move_inwards(&mut e.parts, axis.0);
        alive = join(&all, rows, &lins, false).0;
        lanes = alive.len();
        alive.push(axis);
    }
    let mut axes = vec![None; extents.len()];
    let (mut row_sizes, mut col_sizes) = (Vec::new(), Vec::new());
    for (i, (a, extent)) in alive.iter().enumerate() {
        if i < lanes {
            axes[*a] = Some(Axis::Row(row_sizes.len() as u8));
            row_sizes.push(extent.clone());
        } else {
            axes[*a] = Some(Axis::Col(col_sizes.len() as u8));
            col_sizes.push(extent.clone());
        }
    }
    let mut f = Finish { axes, exts: Vec::new(), generic: e.cx.generic, numbers: HashMap::default() };
    let cols = if e.it.segments {
        f.exts.push(col_sizes[0].clone());
        vec![Ext::Arg(0)]
    } else {
        col_sizes.iter().map(|s| f.ext(s)).collect()
    };
    let kernel = Kernel {
        rows: row_sizes.iter().map(|s| f.ext(s)).collect(),
        cols,
        bufs: e.bufs.iter().map(|(_, d, written)| BufTy { elem: elem_of(*d), written: *written }).collect(),
        uniforms: e.uniforms.iter().map(|u| u.0).collect(),
        exts: 0,
        folds: e.folds.len() as u16,
        run: if e.cx.exact { 1 } else { RUN },
        setup: e.setup.iter().map(|d| f.def(d)).collect(),
        phases: f.phases(&e.parts),
    };
    let kernel = Kernel { exts: f.exts.len() as u16, ..kernel };
    Emitted {
        kernel,
        bufs: e.bufs.iter().map(|b| b.0).collect(),
        uniforms: e.uniforms,
        exts: f.exts,
        rows: Size::product(&row_sizes),
        folds: e.folds,
    }
}

/// Whether a kernel has one sweep and nothing but that.
fn elementwise(parts: &[Part]) -> bool {
    let folds = |p: &Part| {
        !(p.row_stores.is_empty() && p.row_folds.is_empty() && p.col_folds.is_empty() && p.fold_rows.is_empty())
    };
    let works = |p: &Part| !(p.row.is_empty() && p.lane.is_empty() && p.stores.is_empty());
    !parts.iter().any(folds) && works(&parts[0]) && !parts[1..].iter().any(works)
}

/// Whether the only column axis is a short one.
fn has_short_columns(alive: &[(usize, Size)], rows: usize) -> bool {
    alive.len() == rows + 1 && alive[rows].1.known().is_some_and(|n| n <= TINY)
}

/// The innermost of these axes that makes a better vector axis than a short one does.
fn longer(rows: &[(usize, Size)]) -> Option<usize> {
    rows.iter().rposition(|(_, extent)| extent.known().is_some_and(|n| n > TINY))
}

/// What a row computes and depends on this axis is computed in the sweep.
fn move_inwards(parts: &mut [Part], axis: usize) {
    let on_axis = |l: &Lin| l.terms.iter().any(|(a, _)| *a == axis);
    let mut moved: Vec<Val> = Vec::new();
    let Part { row, lane, .. } = &mut parts[0];
    let (inner, outer): (Vec<KDef>, Vec<KDef>) = std::mem::take(row).into_iter().partition(|d| {
        let moves = match &d.op {
            KOp::Float(_) | KOp::Int(_) | KOp::Uniform(_) => false,
            KOp::Index(a) => *a == axis,
            KOp::Load(a) => {
                let base = a.base.as_ref().is_some_and(|(v, _)| moved.contains(v));
                base || on_axis(&a.at) || a.bounds.iter().any(|(l, _)| on_axis(l))
            }
            KOp::Instr(_, args) => args.iter().any(|v| moved.contains(v)),
            KOp::Bits { seed, site, step, first, row, col } => {
                let own = seed.iter().chain([site, step, first]).any(|v| moved.contains(v));
                own || on_axis(row) || on_axis(col)
            }
        };
        if moves {
            moved.push(d.val);
        }
        moves
    });
    *row = outer;
    lane.splice(0..0, inner);
}

/// Whether a kernel does nothing for a row as such.
fn plain(parts: &[Part]) -> bool {
    let idle = |p: &Part| {
        let row = p.row.is_empty() && p.row_stores.is_empty() && p.row_folds.is_empty();
        row && p.col_folds.is_empty() && p.fold_rows.is_empty()
    };
    parts.iter().all(idle) && parts.iter().filter(|p| !p.lane.is_empty() || !p.stores.is_empty()).count() <= 1
}

/// Every affine function that a kernel uses.
fn lins(setup: &[KDef], parts: &[Part]) -> Vec<Lin> {
    let mut found = Vec::new();
    let access = |found: &mut Vec<Lin>, a: &KAccess| {
        found.push(a.at.clone());
        found.extend(a.bounds.iter().map(|b| b.0.clone()));
    };
    let defs = setup.iter().chain(parts.iter().flat_map(|p| p.row.iter().chain(&p.lane)));
    for d in defs {
        match &d.op {
            KOp::Load(a) => access(&mut found, a),
            KOp::Index(a) => found.push(Lin::axis(*a)),
            KOp::Bits { row, col, .. } => found.extend([row.clone(), col.clone()]),
            KOp::Float(_) | KOp::Int(_) | KOp::Uniform(_) | KOp::Instr(..) => {}
        }
    }
    for (a, _) in parts.iter().flat_map(|p| p.row_stores.iter().chain(&p.stores)) {
        access(&mut found, a);
    }
    found
}

/// Joins axes that run on into each other in every function. Gives the axes that are left, by their innermost part, with
/// their extents, and the first axis that is a column.
fn join(axes: &[(usize, Size)], rows: usize, lins: &[Lin], plain: bool) -> (Vec<(usize, Size)>, usize) {
    let factor = |l: &Lin, a: usize| l.terms.iter().find(|t| t.0 == a).map_or(Size::zero(), |t| t.1.clone());
    let runs_on = |outer: usize, inner: usize, extent: &Size| {
        lins.iter().all(|l| factor(l, outer) == factor(l, inner).times(extent))
    };
    let mut rows = rows;
    let mut alive: Vec<(usize, Size)> = Vec::new();
    for (a, extent) in axes.iter().map(|(a, extent)| (*a, extent)).rev() {
        let Some((inner, size)) = alive.last().cloned() else {
            alive.push((a, extent.clone()));
            continue;
        };
        let both_short = matches!((extent.known(), size.known()), (Some(x), Some(y)) if x * y <= SHORT);
        let across = a < rows && inner >= rows;
        if runs_on(a, inner, &size) && (!across || (plain && both_short && a > 0)) {
            alive.pop();
            alive.push((inner, size.times(extent)));
            if across {
                rows = a;
            }
        } else {
            alive.push((a, extent.clone()));
        }
    }
    alive.reverse();
    (alive, rows)
}

impl Finish {
    fn ext(&mut self, s: &Size) -> Ext {
        if let Some(k) = s.known().filter(|k| !self.generic || *k == 0 || *k == 1) {
            return Ext::Const(k);
        }
        let at = self.exts.iter().position(|x| x == s).unwrap_or_else(|| {
            self.exts.push(s.clone());
            self.exts.len() - 1
        });
        Ext::Arg(at as u16)
    }

    fn affine(&mut self, l: &Lin) -> Affine {
        let mut terms = Vec::new();
        for (a, s) in &l.terms {
            if let Some(axis) = self.axes[*a] {
                terms.push((axis, self.ext(s)));
            }
        }
        Affine { offset: self.ext(&l.offset), terms }
    }

    fn access(&mut self, a: &KAccess) -> Access {
        let bounds = a.bounds.iter().map(|(l, s)| Bound { index: self.affine(l), extent: self.ext(s) }).collect();
        let base = a.base.as_ref().map(|(v, s)| (self.numbers[v], self.ext(s)));
        Access { buf: a.buf, at: self.affine(&a.at), base, bounds }
    }

    fn number(&mut self, v: Val) -> Val {
        let next = self.numbers.len() as Val;
        *self.numbers.entry(v).or_insert(next)
    }

    fn def(&mut self, d: &KDef) -> Def {
        let op = match &d.op {
            KOp::Float(bits) => Op::Float(*bits),
            KOp::Int(n) => Op::Int(*n),
            KOp::Uniform(n) => Op::Uniform(*n),
            KOp::Index(a) => Op::Index(self.axes[*a].expect("an axis whose index is used is not joined")),
            KOp::Load(a) => Op::Load(self.access(a)),
            KOp::Instr(i, args) => Op::Instr(*i, args.iter().map(|a| self.numbers[a]).collect()),
            KOp::Bits { seed, site, step, first, row, col } => Op::Bits(Bits {
                seed: seed.map(|v| self.numbers[&v]),
                site: self.numbers[site],
                step: self.numbers[step],
                first: self.numbers[first],
                row: self.affine(row),
                col: self.affine(col),
            }),
        };
        Def { val: self.number(d.val), kind: d.kind, op }
    }

    fn stores(&mut self, stores: &[(KAccess, Val)]) -> Vec<Store> {
        stores.iter().map(|(to, v)| Store { to: self.access(to), value: self.numbers[v] }).collect()
    }

    fn phases(&mut self, parts: &[Part]) -> Vec<Phase> {
        let mut phases = Vec::new();
        for p in parts {
            let defs: Vec<Def> = p.row.iter().map(|d| self.def(d)).collect();
            let stores = self.stores(&p.row_stores);
            let mut folds = Vec::new();
            for (op, kind, v, slot) in &p.row_folds {
                folds.push(Fold { op: *op, value: self.numbers[v], kind: *kind, over: Over::All(*slot) });
            }
            if !defs.is_empty() || !stores.is_empty() || !folds.is_empty() {
                phases.push(Phase { sweep: false, defs, stores, folds, elsewhere: 0 });
            }
            let defs: Vec<Def> = p.lane.iter().map(|d| self.def(d)).collect();
            let stores = self.stores(&p.stores);
            let mut folds = Vec::new();
            for (op, kind, v, slot) in &p.fold_rows {
                folds.push(Fold { op: *op, value: self.numbers[v], kind: *kind, over: Over::Rows(*slot) });
            }
            for (op, kind, v, to) in &p.col_folds {
                let value = self.numbers[v];
                folds.push(Fold { op: *op, value, kind: *kind, over: Over::Cols(self.number(*to)) });
            }
            if !defs.is_empty() || !stores.is_empty() || !folds.is_empty() {
                phases.push(Phase { sweep: true, defs, stores, folds, elsewhere: 0 });
            }
        }
        phases
    }
}
