//! The transposes of affine views: what was read at an affine index gets back the sum of what was made of it. Takes the
//! view and a cotangent, or, for a contraction's operand, the cotangent and the other operand.
//!
//! The index `a = start + s * r + t * o` of an axis is solved for one of its result axes, `s * r = a - start - t * o`: the
//! cotangent is padded along r, so that it is zero where nothing was read, and is itself read through a window. What is
//! left, a sum over o, joins a contraction as one more label, so that the transpose of a convolution is a convolution.

use super::function::Back;
use crate::program::build::Builder;
use crate::program::{Affine, Label, Op, ReduceOp, Value};
use dlc_plan::{DType, Prim, Size};

/// An affine function of labelled indices.
#[derive(Clone, Debug, Default)]
struct Lin {
    start: Size,
    steps: Vec<(Label, i64)>,
}

impl Lin {
    fn plus(&mut self, other: &Lin, times: i64) {
        self.start = self.start.plus(&other.start.times(&Size::from(times)));
        for (label, step) in &other.steps {
            match self.steps.iter_mut().find(|s| s.0 == *label) {
                Some(s) => s.1 += step * times,
                None => self.steps.push((*label, step * times)),
            }
        }
        self.steps.retain(|s| s.1 != 0);
    }
}

/// A result axis that an index was solved for: `step` times its index is `at`.
#[derive(Debug)]
struct Pivot {
    label: Label,
    step: i64,
    at: Lin,
}

/// An affine view whose indices are solved for result axes.
pub(super) struct Unwound {
    /// The labels of the argument's axes.
    pub args: Vec<Label>,
    pivots: Vec<Pivot>,
    /// Axes that nothing could be solved for: the axis, and the index that it must have.
    masks: Vec<(usize, Lin)>,
    extents: Vec<(Label, Size)>,
}

/// Solves the indices of an affine view. `labels` are those of the result's axes, which have the extents `result`; labels
/// from `fresh` on are free. Among several axes the one to solve for is one of `preferred`, and a long one.
pub(super) fn unwind(
    view: &[Affine],
    (labels, result): (&[Label], &[Size]),
    arg: &[Size],
    fresh: Label,
    preferred: &[Label],
) -> Unwound {
    let args: Vec<Label> = (0..arg.len()).map(|k| fresh + k as Label).collect();
    let extents = labels.iter().chain(&args).copied().zip(result.iter().chain(arg).cloned()).collect();
    let mut u = Unwound { args, pivots: Vec::new(), masks: Vec::new(), extents };
    let uses = |r: usize| view.iter().filter(|a| a.steps.iter().any(|s| s.0 == r)).count();
    for (j, a) in view.iter().enumerate() {
        if let [(r, step)] = a.steps[..]
            && (step.abs() == 1 || uses(r) == 1)
            && u.pivot(labels[r]).is_none()
        {
            let at = Lin { start: Size::zero().minus(&a.start), steps: vec![(u.args[j], 1)] };
            u.pivots.push(Pivot { label: labels[r], step, at });
        }
    }
    for (j, a) in view.iter().enumerate() {
        if u.pivots.iter().any(|p| p.at.steps.first().is_some_and(|s| s.0 == u.args[j])) {
            continue;
        }
        let own = a.steps.iter().filter(|s| a.steps.len() > 1 && uses(s.0) == 1);
        let length = |r: usize| result[r].known().unwrap_or(i64::MAX);
        let best = own.copied().max_by_key(|s| (preferred.contains(&labels[s.0]), length(s.0)));
        let mut others = Lin { start: a.start.clone(), steps: Vec::new() };
        for (r, step) in a.steps.iter().filter(|s| Some(s.0) != best.map(|b| b.0)) {
            match u.pivot(labels[*r]) {
                Some(p) => others.plus(&p.at, step * p.step),
                None => others.plus(&Lin { start: Size::zero(), steps: vec![(labels[*r], 1)] }, *step),
            }
        }
        match best {
            None => u.masks.push((j, others)),
            Some((r, step)) => {
                let mut at = Lin { start: Size::zero(), steps: vec![(u.args[j], 1)] };
                at.plus(&others, -1);
                u.pivots.push(Pivot { label: labels[r], step, at });
            }
        }
    }
    u
}

impl Unwound {
    fn pivot(&self, label: Label) -> Option<&Pivot> {
        self.pivots.iter().find(|p| p.label == label)
    }

    fn extent(&self, label: Label) -> Option<Size> {
        self.extents.iter().find(|e| e.0 == label).map(|e| e.1.clone())
    }

    /// The least and the greatest value of an affine function.
    fn range(&self, at: &Lin) -> (Size, Size) {
        let (mut low, mut high) = (at.start.clone(), at.start.clone());
        for (label, step) in &at.steps {
            let last = self.extent(*label).expect("an index has an extent").minus(&Size::one());
            let end = if *step < 0 { &mut low } else { &mut high };
            *end = end.plus(&last.times(&Size::from(*step)));
        }
        (low, high)
    }

    /// A value with these labels, read at the argument's indices: zero where no index of the result leads there.
    fn read(&self, b: &mut Builder, v: Value, labels: &[Label]) -> (Value, Vec<Label>) {
        let mut v = v;
        let mut at: Vec<Lin> = Vec::new();
        let mut found: Vec<Label> = Vec::new();
        let mut shape: Vec<Size> = Vec::new();
        for (k, label) in labels.iter().enumerate() {
            let lin = match self.pivot(*label) {
                None => Lin { start: Size::zero(), steps: vec![(*label, 1)] },
                Some(p) => {
                    let (low, high) = self.range(&p.at);
                    let before = Size::zero().minus(&low);
                    v = b.pad(v, k, before.clone(), p.step, high.plus(&before).plus(&Size::one()));
                    Lin { start: p.at.start.plus(&before), steps: p.at.steps.clone() }
                }
            };
            for (l, _) in &lin.steps {
                if !found.contains(l) {
                    found.push(*l);
                    shape.push(self.extent(*l).unwrap_or_else(|| b.ty(v).shape[k].clone()));
                }
            }
            at.push(lin);
        }
        let place = |l: &Label| found.iter().position(|x| x == l).expect("every label was found");
        let axes = at.into_iter().map(|lin| {
            let mut steps: Vec<(usize, i64)> = lin.steps.iter().map(|(l, s)| (place(l), *s)).collect();
            steps.sort_unstable();
            Affine { start: lin.start, steps }
        });
        let axes = axes.collect();
        (b.affine(v, axes, shape), found)
    }
}

/// The transpose of a view whose windows lie side by side, so that each element is read once, or never behind the last
/// window: the same elements in another order, and zeros behind them.
fn tiled(b: &mut Builder, view: &[Affine], arg: &[Size], dy: Value) -> Option<Value> {
    let shape = b.shape(dy);
    let mut order = Vec::new();
    for a in view {
        match a.steps[..] {
            [(r, 1)] if a.start.is(0) => order.push(r),
            [(r, step), (o, 1)] | [(o, 1), (r, step)] if a.start.is(0) && shape[o].is(step) => order.extend([r, o]),
            _ => return None,
        }
    }
    let mut places = order.clone();
    places.sort_unstable();
    if !places.iter().copied().eq(0..shape.len()) {
        return None;
    }
    let mut v = b.permute(dy, &order);
    for (axis, a) in view.iter().enumerate() {
        v = b.merge(v, axis, a.steps.len());
        v = b.pad(v, axis, Size::zero(), 1, arg[axis].clone());
    }
    Some(v)
}

/// The cotangent of an affine view's argument, whose extents are `arg`.
pub(super) fn transpose(b: &mut Builder, view: &[Affine], arg: &[Size], dy: Value) -> Value {
    if let Some(back) = tiled(b, view, arg, dy) {
        return back;
    }
    let result = b.shape(dy);
    let labels: Vec<Label> = (0..result.len() as Label).collect();
    let u = unwind(view, (&labels, &result), arg, result.len() as Label, &[]);
    let (mut v, found) = u.read(b, dy, &labels);
    let rest = found.iter().filter(|l| !u.args.contains(l));
    let all: Vec<Label> = u.args.iter().chain(rest).copied().collect();
    let shape: Vec<Size> = all.iter().map(|l| u.extent(*l).expect("every label has an extent")).collect();
    let place = |l: &Label| all.iter().position(|x| x == l).expect("the label is among all");
    let axes = found.iter().map(|l| Affine { start: Size::zero(), steps: vec![(place(l), 1)] }).collect();
    v = b.affine(v, axes, shape.clone());
    for (axis, lin) in &u.masks {
        let own = b.iota(DType::I64, &shape, *axis);
        let start = b.host(DType::I64, dlc_plan::Host::Size(lin.start.clone()));
        let mut sum = b.stretch(start, &shape);
        for (l, step) in &lin.steps {
            let index = b.iota(DType::I64, &shape, place(l));
            let term = if *step == 1 { index } else { b.with_number(Prim::Mul, index, *step as f64) };
            sum = b.map(Prim::Add, &[sum, term]);
        }
        let here = b.map(Prim::Eq, &[own, sum]);
        let zero = b.full(b.ty(v).dtype, 0.0, &shape);
        v = b.map(Prim::Where, &[here, v, zero]);
    }
    let summed: Vec<usize> = (u.args.len()..all.len()).collect();
    b.reduce(ReduceOp::Sum, v, &summed)
}

/// An axis that is read at `start + step * r + inner * o`, the step being more than 1.
struct Strided {
    axis: usize,
    start: i64,
    /// The result's axis that the steps belong to.
    steps: usize,
    step: i64,
    /// The result's axis that goes over the window, and its step.
    window: Option<(usize, i64)>,
}

/// The first such axis where the window's axis is summed and its extent known.
fn strided(view: &[Affine], (own, shape): (&[Label], &[Size]), out: &[Label], other: &[Label]) -> Option<Strided> {
    let once = |r: usize| view.iter().flat_map(|a| &a.steps).filter(|s| s.0 == r).count() == 1;
    let kept = |r: usize| once(r) && out.contains(&own[r]) && !other.contains(&own[r]);
    let summed = |r: usize| once(r) && other.contains(&own[r]) && !out.contains(&own[r]) && shape[r].known().is_some();
    view.iter().enumerate().find_map(|(axis, a)| {
        let (r, step, window) = match a.steps[..] {
            [(r, step)] => (r, step, None),
            [(r, step), (o, inner)] | [(o, inner), (r, step)] if kept(r) && summed(o) => (r, step, Some((o, inner))),
            _ => return None,
        };
        let solved = window.is_none_or(|(_, inner)| inner > 0 && coprime(inner, step));
        let start = a.start.known().filter(|_| step > 1 && kept(r) && solved)?;
        Some(Strided { axis, start, steps: r, step, window })
    })
}

fn coprime(a: i64, b: i64) -> bool {
    if b == 0 { a == 1 } else { coprime(b, a % b) }
}

/// As [`contract`], where an axis is read in steps: its elements at `step * q + phase` get something from every `step`-th
/// place of the window only, so each phase is a contraction of its own, without steps, and no zero is multiplied.
fn phases(
    c: &mut Back,
    s: &Strided,
    (view, arg): (&[Affine], &[Size]),
    (own, shape): (&[Label], &[Size]),
    (dy, out): (Value, &[Label]),
    (factor, other): (Value, &[Label]),
) -> Option<Value> {
    let (mut view, mut small, mut shape) = (view.to_vec(), arg.to_vec(), shape.to_vec());
    let whole = arg[s.axis].plus(&Size::from(s.step - 1));
    small[s.axis] = whole.quotient(&Size::from(s.step)).expect("the step is not zero");
    let length = s.window.map(|(o, _)| shape[o].known().expect("the window's extent is known"));
    let mut parts = Vec::new();
    for phase in 0..s.step {
        let away = |place: i64| s.start + place * s.window.map_or(0, |w| w.1) - phase;
        let first = (0..length.unwrap_or(1).min(s.step)).find(|place| away(*place) % s.step == 0);
        let part = match first {
            None => c.b.full(DType::F32, 0.0, &small),
            Some(first) => {
                view[s.axis].start = Size::from(away(first) / s.step);
                view[s.axis].steps = vec![(s.steps, 1)];
                let mut factor = factor;
                if let (Some((o, inner)), Some(length)) = (s.window, length) {
                    view[s.axis].steps.push((o, inner));
                    let left = Size::from((length - first + s.step - 1) / s.step);
                    let at = other.iter().position(|l| *l == own[o]).expect("the window is summed");
                    factor = c.b.slice(factor, at, Size::from(first), s.step, left.clone());
                    shape[o] = left;
                }
                contract(c, (&view, &small), (own, &shape), (dy, out), (factor, other))?
            }
        };
        parts.push(c.b.merge(part, s.axis + 1, 0));
    }
    let mut ty = c.b.ty(parts[0]).clone();
    ty.shape[s.axis + 1] = Size::from(s.step);
    let together = c.b.node(Op::Concat(s.axis + 1), parts, ty);
    let flat = c.b.merge(together, s.axis, 2);
    Some(c.b.slice(flat, s.axis, Size::zero(), 1, arg[s.axis].clone()))
}

/// The cotangent of what a contraction's operand looks at through an affine view: again a contraction. `dy` is the
/// cotangent of its result, `factor` the other operand, each with its labels; `own` are the operand's labels. None where the
/// view's indices cannot be solved.
pub(super) fn contract(
    c: &mut Back,
    (view, arg): (&[Affine], &[Size]),
    (own, shape): (&[Label], &[Size]),
    (dy, out): (Value, &[Label]),
    (factor, other): (Value, &[Label]),
) -> Option<Value> {
    if let Some(strided) = strided(view, (own, shape), out, other) {
        return phases(c, &strided, (view, arg), (own, shape), (dy, out), (factor, other));
    }
    let fresh = own.iter().chain(out).chain(other).max().map_or(0, |l| l + 1);
    if usize::from(fresh) + arg.len() > usize::from(Label::MAX) {
        return None;
    }
    let u = unwind(view, (own, shape), arg, fresh, out);
    if !u.masks.is_empty() {
        return None;
    }
    let mut operands = [u.read(&mut c.b, dy, out), u.read(&mut c.b, factor, other)];
    // What stands in one operand only is summed there.
    for k in 0..2 {
        let partner = operands[1 - k].1.clone();
        let (v, labels) = &mut operands[k];
        let alone: Vec<usize> =
            (0..labels.len()).filter(|i| !partner.contains(&labels[*i]) && !u.args.contains(&labels[*i])).collect();
        *v = c.b.reduce(ReduceOp::Sum, *v, &alone);
        let mut at = 0..labels.len();
        labels.retain(|_| !alone.contains(&at.next().expect("a label for each axis")));
    }
    let [(dy, out), (factor, other)] = operands;
    Some(c.b.contract(dy, factor, &out, &other, &u.args))
}
