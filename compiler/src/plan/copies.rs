//! Which views have to be copied into memory of their own, because whoever reads them needs strides they do not have, and
//! which constants, indices and random numbers have to be put there.

use super::gemm;
use crate::fuse::{Context, Nature};
use crate::program::{Function, Label, Op, Value, View};
use dlc_plan::Size;

/// Marks the views to copy in `cx.copies`. Results that are not `placed` may be wherever they are, as a piece of something.
pub fn mark(cx: &mut Context, placed: &[bool]) {
    let f = cx.f;
    for node in 0..f.nodes.len() as u32 {
        let n = &f.nodes[node as usize];
        let v = Value { node, port: 0 };
        match &n.op {
            Op::View(View::Merge { count, .. }) if *count > 1 && cx.layout(v).is_none() => copy(cx, n.args[0]),
            Op::Contract(_) => {
                n.args.iter().for_each(|a| make_readable(cx, *a));
            }
            Op::Gather if cx.layout(n.args[0]).is_none() => copy(cx, n.args[0]),
            Op::Scatter | Op::Rows(_) | Op::Repeat(_) | Op::Panels(_) | Op::Call(_) => {
                for a in n.args.clone() {
                    if cx.host(a).is_none() && cx.table(a).is_none() && !cx.is_alias(a) {
                        copy(cx, a);
                    }
                }
            }
            _ => {}
        }
    }
    for (r, placed) in f.results.iter().zip(placed) {
        if !cx.is_alias(*r) && (*placed || cx.piece(*r).is_none()) {
            copy(cx, *r);
        }
    }
}

/// Copies what strides cannot say about a contraction's operand: the view nearest to memory, since those after it, windows
/// and repetitions, may have many times its elements. Zeros around several axes are one copy.
fn make_readable(cx: &mut Context, v: Value) {
    while cx.layout(v).is_none() {
        let mut views = vec![v];
        let mut at = v;
        while let Op::View(_) = cx.f.node(at).op {
            let from = cx.f.node(at).args[0];
            if cx.layout(from).is_some() || cx.nature(from.node) != Nature::Virtual {
                break;
            }
            at = from;
            views.push(at);
        }
        let pads = |v: &Value| matches!(cx.f.node(*v).op, Op::View(View::Pad { .. }));
        let last = views.iter().rev().take_while(|v| pads(v)).last().copied().unwrap_or(at);
        cx.copies[last.node as usize] = true;
    }
}

fn copy(cx: &mut Context, v: Value) {
    if cx.nature(v.node) == Nature::Virtual {
        cx.copies[v.node as usize] = true;
    }
}

/// How a contraction can be multiplied, as its operands are.
pub fn multiply(cx: &Context, node: u32) -> Option<gemm::Shape> {
    let n = &cx.f.nodes[node as usize];
    let Op::Contract(c) = &n.op else { return None };
    let (a, b) = (cx.layout(n.args[0])?, cx.layout(n.args[1])?);
    Some(gemm::shape(c, &a, &b, &|l| extent(cx.f, c, &n.args, l)))
}

/// The extent of a label.
fn extent(f: &Function, c: &crate::program::Contract, args: &[Value], l: Label) -> Size {
    let of = |labels: &[Label], v: Value| labels.iter().position(|x| *x == l).map(|i| f.ty(v).shape[i].clone());
    of(&c.a, args[0]).or_else(|| of(&c.b, args[1])).expect("a label stands in an operand")
}
