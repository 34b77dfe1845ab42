//! Which parameters of a function index a table. Takes a program and a function; gives for each parameter what its
//! elements may be, so that a wrong index is refused where it enters. What indexes is what `Gather` looks up by, and what
//! the text says to be `within` a bound.

use crate::program::{FnId, Function, Node, Op, Program, Value};
use dlc_plan::plan::Bound;
use dlc_plan::{DType, Prim};
use rustc_hash::FxHashMap as HashMap;

/// For each parameter that indexes something: its bound, the least one where there are several.
pub type Limits = Vec<Option<Bound>>;

/// The limits of a function's parameters.
pub fn limits(p: &Program, f: FnId) -> Limits {
    find(p, f, &mut HashMap::default())
}

fn find(p: &Program, id: FnId, known: &mut HashMap<FnId, Limits>) -> Limits {
    if let Some(limits) = known.get(&id) {
        return limits.clone();
    }
    let f = p.function(id);
    let mut limits: Limits = vec![None; f.params.len()];
    for node in &f.nodes {
        let uses: Vec<(Value, Option<Bound>)> = match &node.op {
            Op::Gather => {
                vec![(node.args[1], Some(Bound { below: f.ty(node.args[0]).shape[0].clone(), except: None }))]
            }
            Op::Within(bound) => vec![(node.args[0], Some(bound.clone()))],
            Op::Call(g) => node.args.iter().copied().zip(find(p, *g, known)).collect(),
            Op::Repeat(r) => {
                let inner = find(p, r.body, known);
                node.args.iter().enumerate().map(|(i, v)| (*v, inner[r.param_of(i)].clone())).collect()
            }
            _ => Vec::new(),
        };
        for (value, limit) in uses {
            let (Some(limit), Some((param, _))) = (limit, f.source(value, |n| keeps_elements(f, n))) else { continue };
            limits[param] = Some(match limits[param].take() {
                Some(old) => both(old, limit),
                None => limit,
            });
        }
    }
    known.insert(id, limits.clone());
    limits
}

/// A bound for what must be within two; of two that only run time can compare, the first.
fn both(old: Bound, new: Bound) -> Bound {
    let except = old.except.filter(|_| old.except == new.except);
    let lower = matches!((old.below.known(), new.below.known()), (Some(o), Some(n)) if n < o);
    Bound { below: if lower { new.below } else { old.below }, except }
}

/// Whether a node's elements are those of what it is applied to.
fn keeps_elements(f: &Function, n: &Node) -> bool {
    let whole = |to: DType| to.is_int() && f.ty(n.args[0]).dtype.is_int();
    matches!(n.op, Op::View(_) | Op::Stop | Op::Within(_)) || matches!(n.op, Op::Map(Prim::Cast(to)) if whole(to))
}
