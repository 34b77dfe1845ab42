//! `precision` of a training: operands of contractions are rounded, and nothing else is. Takes a program with its gradients;
//! gives one with a cast down and a cast up before each such operand.
//!
//! Weights, gradients, sums and the optimizer's states stay in f32. A rounded operand is cast up again, so products and
//! sums are those of f32; a cast down is never undone by another pass, since it loses digits.

use super::drop::reached;
use super::rewrite::{copy, rebuild, take};
use crate::program::{Op, Program, Value};
use dlc_plan::{DType, Prim};

/// Rounds in everything that a batch goes through; first values, columns and metrics keep their digits.
pub(crate) fn operands(p: &mut Program) {
    let Some(to) = p.operands else { return };
    for id in reached(p, p.entries.iter().filter(|e| ["forward", "accumulate", "grad"].contains(&e.name.as_str()))) {
        let f = take(p, id);
        p.functions[id.0 as usize] = rebuild(f, &mut |b, _, n, mut args| {
            if let Op::Contract(_) = n.op {
                for a in &mut args {
                    *a = rounded(b, *a, to);
                }
            }
            copy(b, n, args)
        });
    }
}

/// The same elements, rounded: what views look at is, since a window has many times the elements of its image.
fn rounded(b: &mut crate::program::build::Builder, v: Value, to: DType) -> Value {
    if b.ty(v).dtype != DType::F32 {
        return v;
    }
    if let Op::View(view) = b.f.node(v).op.clone() {
        let (from, ty) = (b.f.node(v).args[0], b.ty(v).clone());
        let from = rounded(b, from, to);
        return b.node(Op::View(view), vec![from], ty);
    }
    let low = b.map(Prim::Cast(to), &[v]);
    b.map(Prim::Cast(DType::F32), &[low])
}
