//! Which parameters of a function index a table. Takes a program and a function; gives for each parameter the size that it
//! must stay below, so that a wrong index is refused where it enters.

use crate::program::{FnId, Function, Op, Program, Repeat, Value};
use dlc_plan::{Prim, Size};
use std::collections::HashMap;

/// For each parameter that indexes a table: the size of the table, the least one where there are several.
pub type Limits = Vec<Option<Size>>;

/// The limits of a function's parameters.
pub fn limits(p: &Program, f: FnId) -> Limits {
    find(p, f, &mut HashMap::new())
}

fn find(p: &Program, id: FnId, known: &mut HashMap<FnId, Limits>) -> Limits {
    if let Some(limits) = known.get(&id) {
        return limits.clone();
    }
    let f = p.function(id);
    let mut limits: Limits = vec![None; f.params.len()];
    for node in &f.nodes {
        let uses: Vec<(Value, Option<Size>)> = match &node.op {
            Op::Gather => vec![(node.args[1], Some(f.ty(node.args[0]).shape[0].clone()))],
            Op::Call(g) => node.args.iter().copied().zip(find(p, *g, known)).collect(),
            Op::Repeat(r) => {
                let inner = find(p, r.body, known);
                node.args.iter().enumerate().map(|(i, v)| (*v, inner[parameter(r, i)].clone())).collect()
            }
            Op::Param(_)
            | Op::Const(_)
            | Op::Host(_)
            | Op::Map(_)
            | Op::Reduce(..)
            | Op::View(_)
            | Op::Contract(_)
            | Op::Scatter
            | Op::Iota(_)
            | Op::Random
            | Op::Concat(_)
            | Op::Stop => Vec::new(),
        };
        for (value, limit) in uses {
            let (Some(limit), Some(param)) = (limit, source(f, value)) else { continue };
            let lower = match (&limits[param], &limit) {
                (Some(old), new) => matches!((old.known(), new.known()), (Some(o), Some(n)) if n < o),
                (None, _) => true,
            };
            if lower {
                limits[param] = Some(limit);
            }
        }
    }
    known.insert(id, limits.clone());
    limits
}

/// The parameter of a loop's body that an argument of the loop goes to.
fn parameter(r: &Repeat, arg: usize) -> usize {
    let rows = r.carried + r.invariant + r.stacks;
    if arg < rows { arg } else { rows + (arg - rows) / r.count }
}

/// The parameter whose elements a value has.
fn source(f: &Function, v: Value) -> Option<usize> {
    let node = f.node(v);
    match &node.op {
        Op::Param(n) => Some(*n as usize),
        Op::View(_) | Op::Stop => source(f, node.args[0]),
        Op::Map(Prim::Cast(to)) if to.is_int() && f.ty(node.args[0]).dtype.is_int() => source(f, node.args[0]),
        Op::Map(_)
        | Op::Const(_)
        | Op::Host(_)
        | Op::Reduce(..)
        | Op::Contract(_)
        | Op::Gather
        | Op::Scatter
        | Op::Iota(_)
        | Op::Random
        | Op::Concat(_)
        | Op::Call(_)
        | Op::Repeat(_) => None,
    }
}
