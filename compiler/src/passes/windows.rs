//! Products over windows whose axes have been made one, as an adapter sees the operand of a convolution. They get an axis for
//! each of the window's again, and so are convolutions: windows are read where the image lies, and gradients are windows, too.
//! Takes a program whose calls are inlined, before gradients.

use super::rewrite::{copy, rebuild};
use super::simplify::made_by;
use crate::program::build::Builder;
use crate::program::{Contract, Function, Label, Op, Program, Value, View};
use std::ops::Range;

/// Takes the merged axes of windows apart in the contractions of every function.
pub(super) fn run(p: &mut Program) {
    for f in p.functions.iter_mut().filter(|f| f.nodes.iter().any(|n| matches!(n.op, Op::Contract(_)))) {
        *f = rebuild(std::mem::take(f), &mut |b, _, n, args| match &n.op {
            Op::Contract(c) => match apart(b, c, &args) {
                Some(v) => vec![v],
                None => copy(b, n, args),
            },
            _ => copy(b, n, args),
        });
    }
}

/// The same contraction over the axes of windows, where one of its operands has them merged and sums over them.
fn apart(b: &mut Builder, c: &Contract, args: &[Value]) -> Option<Value> {
    let sides = [(args[0], &c.a, args[1], &c.b), (args[1], &c.b, args[0], &c.a)];
    sides.into_iter().enumerate().find_map(|(side, (x, own, y, others))| {
        let (Op::View(View::Merge { axis, count }), from) = made_by(&b.f, x) else { return None };
        let (axis, count, from) = (*axis, *count, from[0]);
        let at = others.iter().position(|l| *l == own[axis])?;
        if count < 2 || c.out.contains(&own[axis]) || !are_windows(&b.f, from, axis..axis + count) {
            return None;
        }
        let mut free = (0..).filter(|l| !own.contains(l) && !others.contains(l));
        let parts: Vec<Label> = free.by_ref().take(count).collect();
        let (mut own, mut others) = (own.clone(), others.clone());
        own.splice(axis..=axis, parts.iter().copied());
        others.splice(at..=at, parts);
        let sizes = b.shape(from)[axis..axis + count].to_vec();
        let y = b.split(y, at, &sizes);
        let (from, own) = bare(b, from, own);
        Some(match side {
            0 => b.contract(from, y, &own, &others, &c.out),
            _ => b.contract(y, from, &others, &own, &c.out),
        })
    })
}

/// An operand with its labels, as what its axes are an order of. Gradients look for windows there.
fn bare(b: &mut Builder, mut v: Value, mut labels: Vec<Label>) -> (Value, Vec<Label>) {
    while let (Op::View(View::Permute(p)), from) = made_by(&b.f, v) {
        let ordered =
            (0..p.len()).map(|axis| labels[p.iter().position(|k| *k == axis).expect("an order has every axis")]);
        labels = ordered.collect();
        v = from[0];
    }
    (without_single(b, v).unwrap_or(v), labels)
}

/// Windows without an axis of extent 1 that has been taken from them, as windows.
fn without_single(b: &mut Builder, v: Value) -> Option<Value> {
    let (Op::View(View::Split { axis, count: 0 }), from) = made_by(&b.f, v) else { return None };
    let (axis, from) = (*axis, from[0]);
    let from = without_single(b, from).unwrap_or(from);
    let (Op::View(View::Affine(at)), image) = made_by(&b.f, from) else { return None };
    let (mut at, image) = (at.clone(), image[0]);
    for a in &mut at {
        a.steps.retain(|(of, _)| *of != axis);
        a.steps.iter_mut().filter(|(of, _)| *of > axis).for_each(|(of, _)| *of -= 1);
    }
    let shape = b.shape(v);
    Some(b.affine(image, at, shape))
}

/// Whether some axes of a value go along an axis of something else beside another of its axes, and so overlap.
fn are_windows(f: &Function, v: Value, axes: Range<usize>) -> bool {
    let mut axes: Vec<usize> = axes.collect();
    let mut v = v;
    while let (Op::View(view), from) = made_by(f, v) {
        match view {
            View::Permute(p) => axes.iter_mut().for_each(|axis| *axis = p[*axis]),
            View::Split { axis: gone, count: 0 } => {
                axes.iter_mut().filter(|axis| **axis >= *gone).for_each(|axis| *axis += 1);
            }
            View::Slice { .. } | View::Pad { .. } => {}
            View::Affine(at) => {
                return at.iter().any(|a| a.steps.len() > 1 && a.steps.iter().any(|(axis, _)| axes.contains(axis)));
            }
            View::Split { .. } | View::Merge { .. } | View::Broadcast(_) => return false,
        }
        v = from[0];
    }
    false
}
