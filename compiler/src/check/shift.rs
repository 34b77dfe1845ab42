//! What an adapter adds whatever the operand is, which no weight can take: a bias takes it when the adapter is merged. Takes the
//! function that merges; says whether there is any such thing, and takes it apart from the rest.

use super::Checker;
use crate::program::{FnId, Op, Program, Repeat, Value};
use dlc_plan::plan::RowOp;
use dlc_plan::{Prim, Size};

/// Whether what merges with this function gives zeros for an operand of zeros. The last thing it calls is the adapter, whose
/// first two arguments are the operand and what the product makes of it.
pub(super) fn vanishes(p: &Program, merges: FnId) -> bool {
    let calls = p.function(merges).nodes.iter().rev();
    let adapter = calls.clone().find_map(|n| if let Op::Call(f) = n.op { Some((f, n.args.len())) } else { None });
    adapter.is_none_or(|(f, args)| vanishing(p, f, &(0..args).map(|k| k < 2).collect::<Vec<_>>()).iter().all(|v| *v))
}

/// Which results of a function are zeros where these arguments are, as far as its structure says so. What it does not say of,
/// counts as no zeros: as something that a bias can take and a weight cannot.
fn vanishing(p: &Program, id: FnId, zero: &[bool]) -> Vec<bool> {
    let f = p.function(id);
    let mut known: Vec<Vec<bool>> = Vec::with_capacity(f.nodes.len());
    let of = |known: &[Vec<bool>], v: &Value| known[v.node as usize][v.port as usize];
    for n in &f.nodes {
        let args: Vec<bool> = n.args.iter().map(|v| of(&known, v)).collect();
        let one = match &n.op {
            Op::Call(f) => {
                known.push(vanishing(p, *f, &args));
                continue;
            }
            Op::Repeat(repeat) => {
                known.push(vanishing_loop(p, repeat, &args));
                continue;
            }
            Op::Param(k) => zero.get(*k as usize).copied().unwrap_or(false),
            op => is_zero(op, &args),
        };
        known.push(vec![one; n.tys.len()]);
    }
    f.results.iter().map(|v| of(&known, v)).collect()
}

/// Which results of a loop are zeros: what it carries is, if it stays so from one iteration to the next.
fn vanishing_loop(p: &Program, repeat: &Repeat, zero: &[bool]) -> Vec<bool> {
    let whole = repeat.carried + repeat.invariant + repeat.stacks;
    let rows = zero[whole..].chunks(repeat.count).map(|row| row.iter().all(|v| *v));
    let mut args: Vec<bool> = zero[..whole].iter().copied().chain(rows).collect();
    loop {
        let results = vanishing(p, repeat.body, &args);
        let still: Vec<bool> = (0..repeat.carried).map(|i| args[i] && results[i]).collect();
        if args[..repeat.carried] == still {
            let (once, rows) = results.split_at(repeat.carried + repeat.stacked);
            return once.iter().copied().chain(rows.iter().flat_map(|v| vec![*v; repeat.count])).collect();
        }
        args[..repeat.carried].copy_from_slice(&still);
    }
}

/// Whether an operation without functions of its own gives zeros, where some of its arguments are zeros.
fn is_zero(op: &Op, args: &[bool]) -> bool {
    match op {
        Op::Const(x) => *x == 0.0,
        Op::Table(xs) => xs.iter().all(|x| *x == 0.0),
        Op::Map(Prim::Mul) | Op::Contract(_) => args.contains(&true),
        Op::Map(Prim::Div) | Op::Gather => args[0],
        Op::Map(Prim::Where) => args[1] && args[2],
        Op::Map(prim) => args.iter().all(|v| *v) && prim.eval(&vec![0.0; args.len()]) == 0.0,
        Op::Scatter => args[1],
        Op::View(_) | Op::Reduce(..) | Op::Concat(_) | Op::Stop | Op::Within(_) | Op::Rows(RowOp::RunningSum) => {
            args.iter().all(|v| *v)
        }
        // Functions, numbers that are not known, and orders, whose results are places.
        Op::Param(_) | Op::Call(_) | Op::Repeat(_) | Op::Panels(_) => false,
        Op::Host(_) | Op::Iota(_) | Op::Random | Op::Rows(RowOp::Order { .. }) => false,
    }
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
