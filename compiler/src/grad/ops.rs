//! The derivatives of tensor operations: views turn round, contractions become contractions, a gather a scatter. Takes a
//! node whose results may have cotangents; adds to those of its arguments.

use super::function::{Back, Inner};
use super::{Gradient, Residual, rules, windows};
use crate::program::{Contract, Label, Op, RowOp, Ty, Value, View};
use dlc_plan::Size;

/// Differentiates the node that the backward function has come to.
pub(super) fn node(c: &mut Back, inner: &Option<Inner>) {
    let forward = c.forward;
    let n = &forward.nodes[c.at];
    c.b.origin = n.origin.clone();
    match inner {
        Some(Inner::Call(g, seeded)) => return call(c, g, seeded),
        Some(Inner::Loop(g)) => return g.backward(c),
        None => {}
    }
    let Some(dy) = c.cotangent(Value { node: c.at as u32, port: 0 }) else { return };
    let wanted = |c: &Back, k: usize| n.args.get(k).is_some_and(|a| c.wants(*a));
    match &n.op {
        Op::Map(prim) => {
            for k in (0..n.args.len()).filter(|k| rules::passes(*prim, *k)) {
                if wanted(c, k)
                    && let Some(dx) = rules::operand(c, *prim, k, dy)
                {
                    let dx = c.sunk(k, dy, dx);
                    c.add(n.args[k], dx);
                }
            }
        }
        Op::Reduce(op, axes) => {
            let dx = rules::reduced(c, *op, axes, dy);
            c.add(n.args[0], dx);
        }
        Op::View(v) => {
            let dx = view(c, v, dy);
            c.add(n.args[0], dx);
        }
        Op::Contract(k) => contract(c, k, dy),
        Op::Gather if wanted(c, 0) => {
            let ids = c.x(1);
            let dx = c.b.node(Op::Scatter, vec![ids, dy], forward.ty(n.args[0]).clone());
            c.add(n.args[0], dx);
        }
        Op::Scatter if wanted(c, 1) => {
            let ids = c.x(0);
            let dx = c.b.node(Op::Gather, vec![dy, ids], forward.ty(n.args[1]).clone());
            c.add(n.args[1], dx);
        }
        // An element is in its own sum and in all after it, so its cotangent is a running sum from the end.
        Op::Rows(RowOp::RunningSum) => {
            let turned = turned(c, dy);
            let ty = c.b.ty(turned).clone();
            let sums = c.b.node(Op::Rows(RowOp::RunningSum), vec![turned], ty);
            let dx = self::turned(c, sums);
            c.add(n.args[0], dx);
        }
        Op::Concat(axis) => {
            let mut start = Size::zero();
            for a in &n.args {
                let len = forward.ty(*a).shape[*axis].clone();
                if c.wants(*a) {
                    let dx = c.b.slice(dy, *axis, start.clone(), 1, len.clone());
                    c.add(*a, dx);
                }
                start = start.plus(&len);
            }
        }
        Op::Gather
        | Op::Scatter
        | Op::Rows(RowOp::Order { .. })
        | Op::Param(_)
        | Op::Const(_)
        | Op::Table(_)
        | Op::Host(_)
        | Op::Iota(_)
        | Op::Random
        | Op::Stop
        | Op::Within(_) => {}
        // Panels are made when there are gradients already.
        Op::Call(_) | Op::Repeat(_) | Op::Panels(_) => {}
    }
}

/// The last axis from its end to its beginning.
fn turned(c: &mut Back, v: Value) -> Value {
    let axis = c.b.ty(v).rank() - 1;
    let len = c.b.ty(v).shape[axis].clone();
    c.b.slice(v, axis, len.minus(&Size::one()), -1, len)
}

/// Each view's transpose.
fn view(c: &mut Back, v: &View, dy: Value) -> Value {
    let own: Ty = c.forward.ty(c.forward.nodes[c.at].args[0]).clone();
    match v {
        View::Permute(axes) => {
            let mut back = vec![0; axes.len()];
            axes.iter().enumerate().for_each(|(i, a)| back[*a] = i);
            c.b.permute(dy, &back)
        }
        View::Broadcast(axes) => {
            let repeated: Vec<usize> = (0..c.b.ty(dy).rank()).filter(|k| !axes.contains(k)).collect();
            c.b.reduce(crate::program::ReduceOp::Sum, dy, &repeated)
        }
        View::Slice { axis, start, step } => c.b.pad(dy, *axis, start.clone(), *step, own.shape[*axis].clone()),
        View::Pad { axis, before } => c.b.slice(dy, *axis, before.clone(), 1, own.shape[*axis].clone()),
        View::Affine(axes) => windows::transpose(&mut c.b, axes, &own.shape, dy),
        View::Split { axis, count } => c.b.merge(dy, *axis, *count),
        View::Merge { axis, count } => c.b.split(dy, *axis, &own.shape[*axis..*axis + *count]),
    }
}

/// The cotangent of one operand is the contraction of the result's with the other: every label stands in two lists at
/// least, so what an operand has and the result lacks, the other operand has. Where the operands are narrower than f32,
/// the cotangent is rounded as they are.
fn contract(c: &mut Back, k: &Contract, dy: Value) {
    let args = c.forward.nodes[c.at].args.clone();
    let dtype = c.forward.ty(args[0]).dtype;
    let dy = c.b.cast(dy, dtype);
    for (own, other, a, b) in [(0, 1, &k.a, &k.b), (1, 0, &k.b, &k.a)] {
        if c.wants(args[own]) {
            if let Some((looked_at, dx)) = windowed(c, args[own], (a, b), (dy, &k.out), args[other]) {
                let dx = c.b.cast(dx, dtype);
                c.add(looked_at, dx);
                continue;
            }
            let factor = c.x(other);
            let dx = match own {
                0 => c.b.contract(dy, factor, &k.out, b, a),
                _ => c.b.contract(factor, dy, b, &k.out, a),
            };
            let dx = c.b.cast(dx, dtype);
            c.add(args[own], dx);
        }
    }
}

/// The cotangent of what an operand looks at, where that is a window: no cotangent of the window itself is made, which
/// would be as many times larger as windows overlap.
fn windowed(
    c: &mut Back,
    operand: Value,
    (own, other): (&[Label], &[Label]),
    (dy, out): (Value, &[Label]),
    factor: Value,
) -> Option<(Value, Value)> {
    let node = c.forward.node(operand);
    let Op::View(View::Affine(axes)) = &node.op else { return None };
    let (arg, shape) = (c.forward.ty(node.args[0]).shape.clone(), c.forward.ty(operand).shape.clone());
    let factor = c.need(factor);
    let dx = windows::contract(c, (axes, &arg), (own, &shape), (dy, out), (factor, other))?;
    Some((node.args[0], dx))
}

/// A call of the callee's backward function.
fn call(c: &mut Back, g: &Gradient, seeded: &[usize]) {
    let at = c.at as u32;
    let n = &c.forward.nodes[c.at];
    let value = |port: usize| Value { node: at, port: port as u32 };
    if seeded.iter().all(|port| c.cotangent(value(*port)).is_none()) {
        return;
    }
    let own = n.tys.len() - g.residuals.iter().filter(|r| matches!(r, Residual::Kept(_))).count();
    let mut args = Vec::new();
    for r in &g.residuals {
        args.push(match r {
            Residual::Param(i) => c.need(n.args[*i]),
            Residual::Result(j) => c.need(value(*j)),
            Residual::Kept(k) => c.need(value(own + k)),
        });
    }
    for port in seeded {
        args.push(c.cotangent_or_zeros(value(*port)));
    }
    let tys = c.p.function(g.backward).result_tys();
    let results = c.b.call(g.backward, args, tys);
    for (i, place) in &g.cotangents {
        if let Some(k) = place {
            c.add(n.args[*i], results[*k]);
        }
    }
}
