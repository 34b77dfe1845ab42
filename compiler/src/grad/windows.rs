//! The transposes of affine views: what was read at an affine index gets back the sum of what was made of it. Takes the
//! view and a cotangent, or, for a contraction's operand, the cotangent and the other operand.
//!
//! The index `a = start + s * r + t * o` of an axis is solved for one of its result axes, `s * r = a - start - t * o`: the
//! cotangent is padded along r, so that it is zero where nothing was read, and is itself read through a window. What is
//! left, a sum over o, joins a contraction as one more label, so that the transpose of a convolution is a convolution.

use super::function::Back;
use crate::program::build::Builder;
use crate::program::{Affine, Label, ReduceOp, Value};
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

/// The cotangent of an affine view's argument, whose extents are `arg`.
pub(super) fn transpose(b: &mut Builder, view: &[Affine], arg: &[Size], dy: Value) -> Value {
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
