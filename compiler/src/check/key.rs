//! A text of bytes for what a function is specialised by, so that equal uses find the function made for the first.
//!
//! Two values have one key exactly if the functions they lead to are the same: tensors count by type and sizes, numbers
//! by value, functions by identity.

use super::Checker;
use super::value::{AxisArgs, AxisSel, Func, Given, NumVal, Target, Val};
use crate::program::{Function, Op, View};
use dlc_plan::{Atom, Host, HostVar, Prim, Size};
use rustc_hash::FxHasher;
use std::hash::{Hash, Hasher};

impl Checker {
    /// The key of one value.
    pub(super) fn key_of(&self, v: &Val) -> Vec<u8> {
        let mut key = Vec::new();
        value(v, &mut key);
        key
    }
}

/// A number that functions have in common which are one but for what they and their parts are called.
pub(super) fn function(f: &Function) -> u64 {
    let mut all = FxHasher::default();
    (f.params.len(), &f.results, f.derivative).hash(&mut all);
    for n in &f.nodes {
        n.args.hash(&mut all);
        for ty in &n.tys {
            (ty.dtype as u8, &ty.shape).hash(&mut all);
        }
        operation(&n.op, &mut all);
    }
    all.finish()
}

/// Most of what tells operations apart; the rest is in their arguments and types, or seldom alone.
fn operation(op: &Op, all: &mut FxHasher) {
    std::mem::discriminant(op).hash(all);
    match op {
        Op::Const(x) => x.to_bits().hash(all),
        Op::Table(cells) => cells.iter().for_each(|x| x.to_bits().hash(all)),
        Op::Host(h) => {
            let mut key = Vec::new();
            host(h, &mut key);
            key.hash(all);
        }
        Op::Map(prim) => prim.name().hash(all),
        Op::Reduce(how, axes) => (how, axes).hash(all),
        Op::View(View::Slice { start, step, .. }) => (start, step).hash(all),
        Op::View(View::Pad { before, .. }) => before.hash(all),
        Op::View(View::Affine(axes)) => axes.iter().for_each(|a| (&a.start, &a.steps).hash(all)),
        Op::Call(id) => id.hash(all),
        Op::Repeat(r) => (r.body, r.count).hash(all),
        _ => {}
    }
}

/// Appends a value's key.
pub(super) fn value(v: &Val, key: &mut Vec<u8>) {
    match v {
        Val::Poison => key.push(0),
        Val::Num(n) => {
            key.push(1);
            number(&n.value, key);
        }
        Val::Bool(b) => key.extend([2, u8::from(*b)]),
        Val::Truth(h) => {
            key.push(3);
            host(h, key);
        }
        Val::Str(s) => {
            key.push(4);
            text(s, key);
        }
        Val::None => key.push(5),
        Val::List(items) => list(6, items, key),
        Val::Tuple(items) => list(7, items, key),
        Val::Tensor(t) => {
            key.extend([8, t.dtype as u8]);
            count(t.axes.len(), key);
            count(t.lanes(), key);
            t.axes.iter().for_each(|a| size(&a.size, key));
        }
        // Only a data item's columns have them, which are nobody's argument.
        Val::Raw(raw) => text(&format!("{raw:?}"), key),
        Val::Func(f) => {
            key.push(9);
            func(f, key);
        }
        Val::Net(net) => {
            key.push(10);
            key.extend(net.id.to_le_bytes());
        }
        Val::Ctor(c) => {
            key.push(11);
            key.extend(c.net.id.to_le_bytes());
            for given in &c.config {
                self::given(given.as_ref(), key);
            }
        }
        Val::Layer(l) => {
            key.push(12);
            key.extend(l.root.to_le_bytes());
            text(&l.label, key);
        }
        Val::Axis(a) => {
            key.push(13);
            axis(a, key);
        }
        Val::Index(tag) => {
            key.push(20);
            key.extend(tag.env.to_le_bytes());
        }
        Val::Module(n) => {
            key.push(14);
            key.extend(n.to_le_bytes());
        }
        Val::Stored { slot, root } => {
            key.push(15);
            count(*slot, key);
            key.extend(root.to_le_bytes());
        }
    }
}

/// Appends an argument's key; a parameter without one has a key too.
pub(super) fn given(g: Option<&Given>, key: &mut Vec<u8>) {
    match g {
        Some(g) => value(&g.val, key),
        None => key.push(255),
    }
}

/// Appends the axes that are bound to a function.
pub(super) fn axes(args: Option<&AxisArgs>, key: &mut Vec<u8>) {
    let Some(args) = args else { return key.push(0) };
    key.extend([1, u8::from(args.rest), u8::from(args.keep)]);
    count(args.list.len(), key);
    args.list.iter().for_each(|a| axis(a, key));
}

fn axis(a: &AxisSel, key: &mut Vec<u8>) {
    match a {
        AxisSel::At(n, _) => {
            key.push(0);
            key.extend(n.to_le_bytes());
        }
        AxisSel::Called(name, _) => {
            key.push(1);
            text(name, key);
        }
    }
}

fn func(f: &Func, key: &mut Vec<u8>) {
    match &f.target {
        Target::Item(item) => {
            key.push(0);
            key.extend(item.id.to_le_bytes());
        }
        Target::Builtin(b) => {
            key.push(1);
            text(b.name, key);
        }
    }
    axes(f.axes.as_deref(), key);
}

fn list(mark: u8, items: &[Val], key: &mut Vec<u8>) {
    key.push(mark);
    count(items.len(), key);
    items.iter().for_each(|v| value(v, key));
}

fn text(s: &str, key: &mut Vec<u8>) {
    count(s.len(), key);
    key.extend(s.bytes());
}

fn count(n: usize, key: &mut Vec<u8>) {
    key.extend((n as u64).to_le_bytes());
}

fn number(n: &NumVal, key: &mut Vec<u8>) {
    match n {
        NumVal::Int(n) => {
            key.push(0);
            key.extend(n.to_le_bytes());
        }
        NumVal::Float(x) => {
            key.push(1);
            key.extend(x.to_bits().to_le_bytes());
        }
        NumVal::Size(s) => {
            key.push(2);
            size(s, key);
        }
        NumVal::Host(h) => {
            key.push(3);
            host(h, key);
        }
    }
}

fn size(s: &Size, key: &mut Vec<u8>) {
    count(s.terms().len(), key);
    for t in s.terms() {
        key.extend(t.factor.to_le_bytes());
        count(t.atoms.len(), key);
        for a in &t.atoms {
            match a {
                Atom::Dim(n) => {
                    key.push(0);
                    key.extend(n.to_le_bytes());
                }
                Atom::Quot(a, b) => {
                    key.push(1);
                    size(a, key);
                    size(b, key);
                }
            }
        }
    }
}

/// Appends the key of a number that the host computes.
pub(super) fn host(h: &Host, key: &mut Vec<u8>) {
    match h {
        Host::Const(x) => {
            key.push(0);
            key.extend(x.to_bits().to_le_bytes());
        }
        Host::Var(v) => key.extend([
            1,
            match v {
                HostVar::Step => 0,
                HostVar::Steps => 1,
                HostVar::Epoch => 2,
                HostVar::FirstSample => 3,
                HostVar::SeedLow => 4,
                HostVar::SeedHigh => 5,
            },
        ]),
        Host::Size(s) => {
            key.push(2);
            size(s, key);
        }
        Host::Prim(p, parts) => {
            key.push(3);
            text(p.name(), key);
            key.push(u8::from(matches!(p, Prim::Cast(_))));
            hosts(parts, key);
        }
        Host::Row(depth, cells) => {
            key.extend([4, *depth]);
            hosts(cells, key);
        }
        Host::Segment(cells) => {
            key.push(5);
            hosts(cells, key);
        }
    }
}

fn hosts(parts: &[Host], key: &mut Vec<u8>) {
    count(parts.len(), key);
    parts.iter().for_each(|p| host(p, key));
}
