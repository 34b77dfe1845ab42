//! What an adapter adds whatever the operand is, which no weight can take: a bias takes it when the adapter is merged. Takes the
//! function that merges; says whether there is any such thing, and takes it apart from the rest.

use super::Checker;
use crate::program::{FnId, Op, Program, Value};
use dlc_plan::{Prim, Size};

/// Whether what merges with this function gives zeros for an operand of zeros. The last thing it calls is the adapter, whose
/// first two arguments are the operand and what the product makes of it.
pub(super) fn is_linear(p: &Program, merges: FnId) -> bool {
    let calls = p.function(merges).nodes.iter().rev();
    let adapter = calls.clone().find_map(|n| if let Op::Call(f) = n.op { Some((f, n.args.len())) } else { None });
    adapter.is_none_or(|(f, args)| vanishing(p, f, &(0..args).map(|k| k < 2).collect::<Vec<_>>()).iter().all(|v| *v))
}

/// Which results of a function are zeros where these arguments are, as far as its structure says so.
fn vanishing(p: &Program, id: FnId, zero: &[bool]) -> Vec<bool> {
    let f = p.function(id);
    let mut known: Vec<Vec<bool>> = Vec::with_capacity(f.nodes.len());
    let of = |known: &[Vec<bool>], v: &Value| known[v.node as usize][v.port as usize];
    for n in &f.nodes {
        let args: Vec<bool> = n.args.iter().map(|v| of(&known, v)).collect();
        let all = args.iter().all(|v| *v);
        let one = match &n.op {
            Op::Param(k) => zero.get(*k as usize).copied().unwrap_or(false),
            Op::Const(x) => *x == 0.0,
            Op::Map(Prim::Mul) | Op::Contract(_) => args.contains(&true),
            Op::Map(Prim::Div) | Op::Gather => args[0],
            Op::Map(Prim::Where) => args[1] && args[2],
            Op::Map(prim) => all && prim.eval(&vec![0.0; args.len()]) == 0.0,
            Op::View(_) | Op::Reduce(..) | Op::Concat(_) | Op::Stop | Op::Within(_) => all,
            Op::Call(f) => {
                known.push(vanishing(p, *f, &args));
                continue;
            }
            // Whatever else it is, nothing is known of it.
            _ => false,
        };
        known.push(vec![one; n.tys.len()]);
    }
    f.results.iter().map(|v| of(&known, v)).collect()
}

/// Rows with a row of zeros behind them, in the operand and in what the product makes of it.
pub(super) fn with_zeros(ck: &mut Checker, x: Value, y: Value) -> (Value, Value) {
    let rows = ck.b().shape(x)[0].plus(&Size::one());
    let x = ck.b().pad(x, 0, Size::zero(), 1, rows.clone());
    (x, ck.b().pad(y, 0, Size::zero(), 1, rows))
}

/// The first n rows without what stands in the row behind them, and that row.
pub(super) fn apart(ck: &mut Checker, v: Value, n: &Size) -> (Value, Value) {
    let last = ck.b().slice(v, 0, n.clone(), 1, Size::one());
    let last = ck.b().split(last, 0, &[]);
    let rows = ck.b().slice(v, 0, Size::zero(), 1, n.clone());
    let shape = ck.b().shape(rows);
    let each = ck.b().broadcast(last, vec![1], &shape);
    (ck.b().map(Prim::Sub, &[rows, each]), last)
}
