//! Equal nodes become one; so do equal arguments and results of a loop, and what is the same in all iterations is an
//! invariant, or a constant of the body.

use super::loops::{Loop, Slot};
use super::rewrite::{callees_first, copy, rebuild, take};
use crate::program::build::Builder;
use crate::program::{Function, Node, Op, Program, Value, View};
use rustc_hash::{FxHashMap as HashMap, FxHasher};
use std::hash::{Hash, Hasher};

/// Shares in every function.
pub(super) fn run(p: &mut Program) {
    for id in callees_first(p) {
        let f = share(take(p, id));
        let f = rebuild(f, &mut |b, _, n, args| {
            if let Op::Repeat(r) = &n.op {
                let l = Loop::new(p, r, &args);
                return tighten(l, &n, b, p);
            }
            copy(b, n, args)
        });
        p.functions[id.0 as usize] = f;
    }
}

/// Equal nodes become one.
fn share(f: Function) -> Function {
    let mut seen: HashMap<u64, Vec<Vec<Value>>> = HashMap::default();
    rebuild(f, &mut |b, _, n, args| {
        let hash = hash(&n, &args);
        let same = |vs: &&Vec<Value>| {
            let m = b.f.node(vs[0]);
            m.args == args && m.tys == n.tys && m.op.same(&n.op)
        };
        if let Some(found) = seen.get(&hash).and_then(|all| all.iter().find(same)) {
            return found.clone();
        }
        let made = copy(b, n, args);
        if !made.is_empty() {
            seen.entry(hash).or_default().push(made.clone());
        }
        made
    })
}

fn hash(n: &Node, args: &[Value]) -> u64 {
    let mut h = FxHasher::default();
    std::mem::discriminant(&n.op).hash(&mut h);
    args.hash(&mut h);
    n.tys.hash(&mut h);
    match &n.op {
        Op::Const(x) => x.to_bits().hash(&mut h),
        Op::Table(all) => all.iter().for_each(|x| x.to_bits().hash(&mut h)),
        Op::Map(prim) => prim.hash(&mut h),
        Op::Reduce(op, axes) => (op, axes).hash(&mut h),
        Op::Call(f) => f.hash(&mut h),
        Op::Repeat(r) => r.body.hash(&mut h),
        Op::Panels(k) => k.body.hash(&mut h),
        Op::Param(n) => n.hash(&mut h),
        Op::Iota(axis) | Op::Concat(axis) => axis.hash(&mut h),
        Op::Rows(op) => op.hash(&mut h),
        Op::Host(_)
        | Op::View(_)
        | Op::Contract(_)
        | Op::Gather
        | Op::Scatter
        | Op::Random
        | Op::Stop
        | Op::Within(_) => {}
    }
    h.finish()
}

/// Puts a loop together again with fewer slots; gives the results of the node that it was.
fn tighten(mut l: Loop, n: &Node, b: &mut Builder, p: &mut Program) -> Vec<Value> {
    // A result that is there already: the value that stands for each of its ports.
    let mut found: HashMap<usize, Value> = HashMap::default();
    for i in 0..l.slots.len() {
        let unmoved = Value { node: i as u32, port: 0 };
        if let Slot::Carried(first, next) = l.slots[i]
            && next == unmoved
        {
            found.insert(i, first);
            l.slots[i] = Slot::Invariant(first);
        }
        if let Slot::Row(cells) = &l.slots[i]
            && cells.iter().all(|c| *c == cells[0])
        {
            l.slots[i] = Slot::Invariant(cells[0]);
        }
        if let Slot::Invariant(v) = l.slots[i]
            && let Some(x) = b.f.known(v)
        {
            l.slots[i] = Slot::Known(x);
        }
    }
    for i in 0..l.slots.len() {
        let alike = |j: &usize| {
            matches!(l.slots[*j], Slot::Invariant(_) | Slot::Stack(_) | Slot::Row(_)) && l.slots[*j] == l.slots[i]
        };
        if let Some(j) = (0..i).find(alike) {
            l.slots[i] = Slot::Same(j);
        }
    }
    let known: Vec<(Value, usize)> = std::mem::take(&mut l.stacked);
    let mut same: Vec<(usize, usize)> = Vec::new();
    for (v, port) in known {
        if let Some(whole) = stack_of(&l, v, n, port, b) {
            found.insert(port, whole);
        } else if let Some((_, first)) = l.stacked.iter().find(|(w, _)| *w == v) {
            same.push((port, *first));
        } else {
            l.stacked.push((v, port));
        }
    }
    for (v, port) in std::mem::take(&mut l.rows) {
        let count = l.count();
        if let Some(cells) = cells_of(&l, v, count) {
            found.extend(cells.into_iter().enumerate().map(|(k, c)| (port + k, c)));
        } else if let Some((_, first)) = l.rows.iter().find(|(w, _)| *w == v) {
            same.extend((0..count).map(|k| (port + k, first + k)));
        } else {
            l.rows.push((v, port));
        }
    }
    let built = l.build(p, b);
    found.extend(&built);
    for (port, other) in same {
        found.insert(port, built[&other]);
    }
    (0..n.tys.len()).map(|port| found[&port]).collect()
}

/// The stack of a body's value, where there is one without the loop: it is a slice of an argument, or always the same.
fn stack_of(l: &Loop, v: Value, n: &Node, port: usize, b: &mut Builder) -> Option<Value> {
    let ty = n.tys[port].clone();
    match &l.slots[l.param(v)?] {
        Slot::Stack(whole) => Some(*whole),
        Slot::Invariant(one) => {
            let axes = (1..ty.rank()).collect();
            Some(b.node(Op::View(View::Broadcast(axes)), vec![*one], ty))
        }
        Slot::Known(x) => Some(b.full(ty.dtype, *x, &ty.shape)),
        Slot::Same(other) => stack_of(l, Value { node: *other as u32, port: 0 }, n, port, b),
        Slot::Carried(..) | Slot::Row(_) | Slot::Dead => None,
    }
}

/// The row of a body's value, where there is one without the loop.
fn cells_of(l: &Loop, v: Value, count: usize) -> Option<Vec<Value>> {
    match &l.slots[l.param(v)?] {
        Slot::Row(cells) => Some(cells.clone()),
        Slot::Invariant(one) => Some(vec![*one; count]),
        Slot::Same(other) => cells_of(l, Value { node: *other as u32, port: 0 }, count),
        Slot::Carried(..) | Slot::Stack(_) | Slot::Known(_) | Slot::Dead => None,
    }
}
