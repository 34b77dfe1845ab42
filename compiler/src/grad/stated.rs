//! The gradient of a function whose derivative the spec states: the stated function, with the parameters that it uses and
//! the results that are asked for. Where cotangents have zeros by choice, they stay zeros in what the text multiplies.

use super::{Gradient, Request, Residual};
use crate::program::build::Builder;
use crate::program::{FnId, Op, Program, Ty, Value};
use dlc_plan::Prim;
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
    let sinks = request.masked.contains(&true) && request.wild.contains(&true);
    let mut linear = vec![false; d.nodes.len()];
    linear[params + results..d.params.len()].fill(sinks);
    for (i, n) in d.nodes.iter().enumerate().skip(d.params.len()).filter(|(i, _)| live[*i]) {
        let args: Vec<Value> = n.args.iter().map(|a| map[a]).collect();
        let of_cotangents: Vec<bool> = n.args.iter().map(|a| linear[a.node as usize]).collect();
        linear[i] = of_cotangents.contains(&true);
        b.origin = n.origin.clone();
        let mut made = b.many(n.op.clone(), args.clone(), n.tys.clone());
        let cotangent = match (&n.op, &of_cotangents[..]) {
            (Op::Map(Prim::Mul | Prim::Div), [true, false]) => Some(args[0]),
            (Op::Map(Prim::Mul), [false, true]) => Some(args[1]),
            (_, _) => None,
        };
        if let Some(dy) = cotangent {
            made[0] = sunk(&mut b, dy, made[0]);
        }
        let ports: Vec<(Value, Value)> = made.into_iter().enumerate().map(|(k, v)| (port(i, k as u32), v)).collect();
        map.extend(ports);
    }
    let cotangents = wanted.iter().enumerate().map(|(k, (i, _))| (*i, Some(k))).collect();
    let gives = wanted.iter().map(|(_, v)| map[v]).collect();
    let backward = p.add(b.finish(gives));
    Gradient { forward: request.function, backward, residuals, cotangents }
}

/// A product with a cotangent, where a zero of the cotangent stays zero.
fn sunk(b: &mut Builder, dy: Value, product: Value) -> Value {
    let chosen = b.with_number(Prim::Eq, dy, 0.0);
    let Ty { dtype, shape } = b.ty(product).clone();
    let zero = b.full(dtype, 0.0, &shape);
    b.map(Prim::Where, &[chosen, zero, product])
}
