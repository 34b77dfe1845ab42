//! Which parameters of a function index a table. Takes a program and a function; gives for each parameter the size that it
//! must stay below, so that a wrong index is refused where it enters.

use crate::program::{FnId, Function, Node, Op, Program, Value};
use dlc_plan::{DType, Prim, Size};
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
                node.args.iter().enumerate().map(|(i, v)| (*v, inner[r.param_of(i)].clone())).collect()
            }
            _ => Vec::new(),
        };
        for (value, limit) in uses {
            let (Some(limit), Some((param, _))) = (limit, f.source(value, |n| keeps_elements(f, n))) else { continue };
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

/// Whether a node's elements are those of what it is applied to.
fn keeps_elements(f: &Function, n: &Node) -> bool {
    let whole = |to: DType| to.is_int() && f.ty(n.args[0]).dtype.is_int();
    matches!(n.op, Op::View(_) | Op::Stop) || matches!(n.op, Op::Map(Prim::Cast(to)) if whole(to))
}
