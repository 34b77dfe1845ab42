//! Diagonals: two axes of a value that are read along one axis. What is not on a diagonal is read by nobody, so nothing of it is
//! computed: the view goes through what made the value, down to where the two axes come together. Of a product of a row for
//! each group and a column for each group is left a product for each group. That is how the adapter of a weight with groups
//! is run: it gives all columns for each row, of which the row's own group is read. Takes a program whose calls are inlined,
//! before gradients.

use super::rewrite::{copy, rebuild};
use super::simplify::made_by;
use crate::program::build::Builder;
use crate::program::{Affine, Contract, Label, Op, Program, Ty, Value, View};
use dlc_plan::Size;
use std::collections::HashMap;

/// Reads of what makes a value, in every function, no more than what is on the diagonals that are read of it.
pub(super) fn run(p: &mut Program) {
    for f in p.functions.iter_mut().filter(|f| f.nodes.iter().any(|n| is_diagonal(&n.op))) {
        *f = rebuild(std::mem::take(f), &mut |b, _, n, args| match &n.op {
            Op::View(View::Affine(at)) if is_diagonal(&n.op) => vec![read(b, args[0], at, &n.tys[0].shape)],
            _ => copy(b, n, args),
        });
    }
}

/// Whether an operation reads its argument straight along axes of the result, and two of its axes along the same.
fn is_diagonal(op: &Op) -> bool {
    let Op::View(View::Affine(at)) = op else { return false };
    let along: Vec<&[(usize, i64)]> = at.iter().map(|a| &a.steps[..]).collect();
    let straight = along.iter().all(|steps| matches!(steps, [(_, 1)]));
    straight && (1..along.len()).any(|k| along[..k].contains(&along[k]))
}

/// A value read at an affine view's places, all of which go straight along axes.
fn read(b: &mut Builder, v: Value, at: &[Affine], shape: &[Size]) -> Value {
    let extents = b.shape(v);
    let part = |(a, extent): (&Affine, Size)| vec![Part { index: a.steps[0].0, start: a.start.clone(), extent }];
    let axes = at.iter().zip(extents).map(part).collect();
    let out: Vec<usize> = (0..shape.len()).collect();
    Reader { lengths: shape.to_vec(), known: HashMap::new() }.read(b, v, axes, &out)
}

/// A part of an axis, and the index that goes along it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Part {
    index: usize,
    /// Where it is read when the index is 0.
    start: Size,
    extent: Size,
}

/// How the axes of a value are read: each has parts, the first going slowest. One that has none has extent 1.
type Axes = Vec<Vec<Part>>;

struct Reader {
    /// How far each index goes.
    lengths: Vec<Size>,
    known: HashMap<(Value, Axes, Vec<usize>), Value>,
}

impl Reader {
    /// A value, with the axes that `out` says, each along an index. Those that stand in none of its axes are repeated.
    fn read(&mut self, b: &mut Builder, v: Value, axes: Axes, out: &[usize]) -> Value {
        let key = (v, axes, out.to_vec());
        if let Some(known) = self.known.get(&key) {
            return *known;
        }
        let axes = &key.1;
        let stands = |index: &usize| axes.iter().flatten().any(|p| p.index == *index);
        let own: Vec<usize> = out.iter().copied().filter(stands).collect();
        let deeper = match made_by(&b.f, v) {
            (Op::View(view), args) => {
                let (view, from) = (view.clone(), args[0]);
                let seen = self.seen_through(axes, &view, &b.shape(from));
                seen.map(|axes| self.read(b, from, axes, &own))
            }
            // Without a diagonal all of it is read.
            _ if own.len() == axes.iter().flatten().count() => None,
            _ => self.made_of(b, v, axes, &own),
        };
        let found = deeper.unwrap_or_else(|| self.here(b, v, axes, &own));
        let places = own.iter().filter_map(|index| out.iter().position(|o| o == index)).collect();
        let found = b.broadcast(found, places, &self.shape(out));
        self.known.insert(key, found);
        found
    }

    fn shape(&self, out: &[usize]) -> Vec<Size> {
        out.iter().map(|index| self.lengths[*index].clone()).collect()
    }

    /// Looked at where it is.
    fn here(&self, b: &mut Builder, v: Value, axes: &Axes, out: &[usize]) -> Value {
        let mut v = v;
        for (axis, parts) in axes.iter().enumerate().rev() {
            let extents: Vec<Size> = parts.iter().map(|p| p.extent.clone()).collect();
            v = b.split(v, axis, &extents);
        }
        let along = |p: &Part| out.iter().position(|index| *index == p.index).expect("it is one of the indices");
        let at = axes.iter().flatten().map(|p| Affine { start: p.start.clone(), steps: vec![(along(p), 1)] });
        let at = at.collect();
        b.affine(v, at, self.shape(out))
    }

    /// How what a view looks at is read, so that it need not be made. None where that cannot be said.
    fn seen_through(&self, axes: &Axes, view: &View, from: &[Size]) -> Option<Axes> {
        let mut axes = axes.clone();
        match view {
            View::Permute(p) => {
                let place = |k: usize| p.iter().position(|from| *from == k).expect("an order has every axis");
                Some((0..p.len()).map(|k| axes[place(k)].clone()).collect())
            }
            View::Broadcast(kept) => Some(kept.iter().map(|k| axes[*k].clone()).collect()),
            View::Split { axis, count } => {
                let parts = axes[*axis..axis + count].concat();
                axes.splice(*axis..axis + count, [parts]);
                Some(axes)
            }
            View::Merge { axis, count } => {
                let apart = dealt(std::mem::take(&mut axes[*axis]), &from[*axis..axis + count])?;
                axes.splice(*axis..=*axis, apart);
                Some(axes)
            }
            View::Slice { axis, start, step: 1 } => {
                let [part] = &mut axes[*axis][..] else { return None };
                part.start = part.start.plus(start);
                part.extent = from[*axis].clone();
                Some(axes)
            }
            // The elements alone are read, and not the zeros around them.
            View::Pad { axis, before } => {
                let [part] = &mut axes[*axis][..] else { return None };
                let within = part.start == *before && self.lengths[part.index] == from[*axis];
                *part = Part { start: Size::zero(), extent: from[*axis].clone(), ..part.clone() };
                within.then_some(axes)
            }
            View::Slice { .. } | View::Affine(_) => None,
        }
    }

    /// What is read of a value, made of what is read of its arguments. None where it takes all of them.
    fn made_of(&mut self, b: &mut Builder, v: Value, axes: &Axes, out: &[usize]) -> Option<Value> {
        let (op, args) = made_by(&b.f, v);
        let (op, args) = (op.clone(), args.to_vec());
        let dtype = b.ty(v).dtype;
        match &op {
            Op::Map(_) | Op::Stop => {
                let args = args.into_iter().map(|arg| self.read(b, arg, axes.clone(), out)).collect::<Vec<_>>();
                let shape = self.shape(out);
                Some(b.node(op, args, Ty { dtype, shape }))
            }
            Op::Reduce(by, over) => {
                let mut axes = axes.clone();
                let mut all = out.to_vec();
                for axis in over {
                    let part = self.whole(b.shape(args[0])[*axis].clone());
                    all.push(part.index);
                    axes.insert(*axis, vec![part]);
                }
                let v = self.read(b, args[0], axes, &all);
                Some(b.reduce(*by, v, &(out.len()..all.len()).collect::<Vec<_>>()))
            }
            Op::Contract(c) => Some(self.contracted(b, c, &args, axes, out)),
            // What is no tensor of many elements, or is not made element by element of others.
            Op::Param(_) | Op::Const(_) | Op::Table(_) | Op::Host(_) | Op::Iota(_) | Op::Random | Op::View(_) => None,
            Op::Gather | Op::Scatter | Op::Concat(_) | Op::Within(_) | Op::Rows(_) => None,
            Op::Call(_) | Op::Repeat(_) | Op::Panels(_) => None,
        }
    }

    /// A product whose result is read so. A label goes along as many indices as its axis has parts.
    fn contracted(&mut self, b: &mut Builder, c: &Contract, args: &[Value], axes: &Axes, out: &[usize]) -> Value {
        let mut parts: HashMap<Label, Vec<Part>> = c.out.iter().copied().zip(axes.iter().cloned()).collect();
        for (label, extent) in c.a.iter().zip(b.shape(args[0])) {
            parts.entry(*label).or_insert_with(|| vec![self.whole(extent)]);
        }
        let mut operand = |b: &mut Builder, v: Value, labels: &[Label]| {
            let axes: Axes = labels.iter().map(|label| parts[label].clone()).collect();
            let mut own: Vec<usize> = Vec::new();
            for part in axes.iter().flatten() {
                if !own.contains(&part.index) {
                    own.push(part.index);
                }
            }
            (self.read(b, v, axes, &own), own)
        };
        let ((x, of_x), (y, of_y)) = (operand(b, args[0], &c.a), operand(b, args[1], &c.b));
        let mut all: Vec<usize> = of_x.iter().chain(&of_y).copied().collect();
        all.sort_unstable();
        all.dedup();
        let label = |index: &usize| all.iter().position(|i| i == index).expect("it is one of them") as Label;
        let labels = |own: &[usize]| own.iter().map(label).collect::<Vec<Label>>();
        b.contract(x, y, &labels(&of_x), &labels(&of_y), &labels(out))
    }

    /// A whole axis, along an index of its own.
    fn whole(&mut self, extent: Size) -> Part {
        self.lengths.push(extent.clone());
        Part { index: self.lengths.len() - 1, start: Size::zero(), extent }
    }
}

/// The parts of an axis, dealt to axes of these extents that have become it. None where one goes over an axis's end.
fn dealt(parts: Vec<Part>, extents: &[Size]) -> Option<Axes> {
    let mut left = parts.into_iter().peekable();
    let mut axes: Axes = Vec::new();
    for extent in extents {
        let (mut own, mut size) = (Vec::new(), Size::one());
        while size != *extent {
            let part = left.next()?;
            size = size.times(&part.extent);
            own.push(part);
        }
        axes.push(own);
    }
    // Parts of extent 1 may be left, and an axis that is there for nothing else is read at its only element.
    let rest: Vec<Part> = left.collect();
    let single = rest.iter().all(|p| p.extent.is(1));
    axes.last_mut().into_iter().for_each(|last| last.extend_from_slice(&rest));
    single.then_some(axes)
}
