//! The gradient of a function whose derivative the spec states: the stated function, with the parameters that it uses and
//! the results that are asked for.

use super::{Gradient, Request, Residual};
use crate::program::build::Builder;
use crate::program::{FnId, Program, Ty, Value};
use std::collections::BTreeMap;

pub(super) fn gradient(p: &mut Program, request: &Request, stated: FnId) -> Gradient {
    let (f, d) = (p.function(request.function), p.function(stated));
    let real = |t: &Ty| t.dtype.is_float();
    let (params, results) = (f.params.len(), f.results.len());
    // The stated function gives a cotangent for each real parameter, and takes one for each real result.
    let mut given = 0..;
    let places: Vec<Option<usize>> = f.params.iter().map(|q| real(&q.ty).then(|| given.next()).flatten()).collect();
    let wanted: Vec<(usize, Value)> =
        (0..params).filter(|i| request.wanted[*i]).filter_map(|i| Some((i, d.results[places[i]?]))).collect();
    let mut trimmed = d.clone();
    trimmed.results = wanted.iter().map(|(_, v)| *v).collect();
    let live = trimmed.live();

    let mut b = Builder::new(format!("{}.backward", f.name));
    let mut map: BTreeMap<Value, Value> = BTreeMap::new();
    let port = |node: usize, port: u32| Value { node: node as u32, port };
    let mut residuals = Vec::new();
    for i in (0..params + results).filter(|i| live[*i]) {
        residuals.push(if i < params { Residual::Param(i) } else { Residual::Result(i - params) });
        map.insert(port(i, 0), b.param(d.params[i].name.clone(), d.params[i].ty.clone()));
    }
    let seeded: Vec<bool> =
        f.result_tys().iter().zip(&request.seeds).filter(|(t, _)| real(t)).map(|(_, s)| *s).collect();
    for (k, _) in seeded.iter().enumerate().filter(|(_, s)| **s) {
        let i = params + results + k;
        map.insert(port(i, 0), b.param(d.params[i].name.clone(), d.params[i].ty.clone()));
    }
    for (k, _) in seeded.iter().enumerate().filter(|(_, s)| !**s) {
        let i = params + results + k;
        let Ty { dtype, shape } = d.params[i].ty.clone();
        map.insert(port(i, 0), b.full(dtype, 0.0, &shape));
    }
    for (i, n) in d.nodes.iter().enumerate().skip(d.params.len()).filter(|(i, _)| live[*i]) {
        let args = n.args.iter().map(|a| map[a]).collect();
        b.origin = n.origin.clone();
        let made = b.many(n.op.clone(), args, n.tys.clone());
        map.extend(made.into_iter().map(|v| (port(i, v.port), v)));
    }
    let cotangents = wanted.iter().enumerate().map(|(k, (i, _))| (*i, Some(k))).collect();
    let gives = wanted.iter().map(|(_, v)| map[v]).collect();
    let backward = p.add(b.finish(gives));
    Gradient { forward: request.function, backward, residuals, cotangents }
}
