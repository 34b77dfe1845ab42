//! The entry that training is made of. Takes an entry whose first result is a loss; gives one that takes the same and
//! also gives the gradient of the loss for each trained weight.

use super::{Made, Request, Residual};
use crate::program::build::Builder;
use crate::program::{Entry, Program, Role, Value, WeightId};
use dlc_plan::DType;
use std::collections::BTreeSet;

/// Adds the gradient of an entry's first result, an f32 without axes, for all trained weights: the results of the new
/// entry are those of the old one, then a gradient for each trained weight, or stack of them, in the order of their
/// declaration. A weight that the loss does not depend on has zeros.
pub fn accumulate(p: &mut Program, entry: &Entry, name: &str) -> Entry {
    let f = p.function(entry.function);
    let (params, results) = (f.params.clone(), f.result_tys());
    let trained: Vec<bool> = p.weights.iter().map(|w| w.trained).collect();
    let is_trained = |w: &WeightId| trained[w.0 as usize];
    // Those of a stack are trained together, or not at all.
    let trained = |r: &Role| matches!(r, Role::Weight(row) if row.iter().all(is_trained));
    let wanted: Vec<bool> = entry.inputs.iter().map(trained).collect();
    let seeds = (0..results.len()).map(|j| j == 0).collect();
    let (masked, wild) = (vec![false; results.len()], vec![false; params.len()]);
    let request = Request { function: entry.function, wanted, seeds, masked, wild, free_from: 0 };
    let g = Made::default().gradient(p, request);

    let mut b = Builder::new(format!("{}.{name}", p.function(entry.function).name));
    let args: Vec<Value> = params.iter().map(|q| b.param(q.name.clone(), q.ty.clone())).collect();
    let forward = b.call(g.forward, args.clone(), p.function(g.forward).result_tys());
    let mut given: Vec<Value> = Vec::new();
    for r in &g.residuals {
        given.push(match r {
            Residual::Param(i) => args[*i],
            Residual::Result(j) => forward[*j],
            Residual::Kept(k) => forward[results.len() + k],
        });
    }
    given.push(b.constant(DType::F32, 1.0));
    let backward = b.call(g.backward, given, p.function(g.backward).result_tys());
    let mut gives = forward[..results.len()].to_vec();
    let mut outputs = entry.outputs.clone();
    let mut found: Vec<(Value, Role)> = Vec::new();
    let mut left: BTreeSet<WeightId> = (0..p.weights.len() as u32).map(WeightId).filter(is_trained).collect();
    for (at, cotangent) in &g.cotangents {
        let Role::Weight(row) = &entry.inputs[*at] else { continue };
        let dw = match cotangent {
            Some(k) => b.cast(backward[*k], DType::F32),
            None => b.full(DType::F32, 0.0, &params[*at].ty.shape),
        };
        row.iter().for_each(|w| {
            left.remove(w);
        });
        found.push((dw, Role::Grad(row.clone())));
    }
    for id in left {
        found.push((b.full(DType::F32, 0.0, &p.weights[id.0 as usize].ty.shape), Role::grad(id)));
    }
    found.sort_by_key(|(_, role)| if let Role::Grad(row) = role { Some(row[0]) } else { None });
    for (dw, role) in found {
        gives.push(dw);
        outputs.push(role);
    }
    let function = p.add(b.finish(gives));
    Entry {
        name: name.into(),
        function,
        inputs: entry.inputs.clone(),
        outputs,
        guards: entry.guards.clone(),
        defaults: entry.defaults.clone(),
    }
}
