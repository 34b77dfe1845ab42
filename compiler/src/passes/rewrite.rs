//! What the passes share: going over a function's nodes to build another one, and copying nodes from one function into
//! another. Takes functions and gives functions.

use crate::program::build::Builder;
use crate::program::{FnId, Function, Node, Op, Program, Value};
use std::rc::Rc;

/// What makes a node's results in the new function: from the builder, the node's number, the node, and its arguments
/// there.
pub(super) type Each<'a> = dyn FnMut(&mut Builder, usize, &Node, Vec<Value>) -> Vec<Value> + 'a;

/// Builds a function anew with the same parameters, node by node.
pub(super) fn rebuild(f: &Function, each: &mut Each) -> Function {
    let mut b = Builder::new(f.name.clone());
    let params: Vec<Value> = f.params.iter().map(|q| b.param(q.name.clone(), q.ty.clone())).collect();
    let mut map: Vec<Vec<Value>> = params.into_iter().map(|v| vec![v]).collect();
    for (i, n) in f.nodes.iter().enumerate().skip(f.params.len()) {
        let args = n.args.iter().map(|a| map[a.node as usize][a.port as usize]).collect();
        b.origin = n.origin.clone();
        let results = each(&mut b, i, n, args);
        map.push(results);
    }
    let results = f.results.iter().map(|v| map[v.node as usize][v.port as usize]).collect();
    let derivative = f.derivative;
    Function { derivative, ..b.finish(results) }
}

/// Copies the nodes that a function's results need into another one, with `args` for its parameters; gives the results.
/// Members are put below `member`.
pub(super) fn splice(b: &mut Builder, f: &Function, args: &[Value], member: &str) -> Vec<Value> {
    let live = f.live();
    let own = b.origin.clone();
    let mut map: Vec<Vec<Value>> = Vec::with_capacity(f.nodes.len());
    for (i, n) in f.nodes.iter().enumerate() {
        let results = if let Op::Param(k) = n.op {
            vec![args[k as usize]]
        } else if live[i] {
            let args = n.args.iter().map(|a| map[a.node as usize][a.port as usize]).collect();
            b.origin.span = n.origin.span;
            b.origin.member = below(member, &n.origin.member);
            copy(b, n, args)
        } else {
            Vec::new()
        };
        map.push(results);
    }
    b.origin = own;
    f.results.iter().map(|v| map[v.node as usize][v.port as usize]).collect()
}

/// A node with other arguments.
pub(super) fn copy(b: &mut Builder, n: &Node, args: Vec<Value>) -> Vec<Value> {
    match n.tys.as_slice() {
        [one] => vec![b.node(n.op.clone(), args, one.clone())],
        many => b.many(n.op.clone(), args, many.to_vec()),
    }
}

fn below(outer: &str, inner: &Rc<str>) -> Rc<str> {
    match (outer.is_empty(), inner.is_empty()) {
        (true, _) => inner.clone(),
        (false, true) => outer.into(),
        (false, false) => format!("{outer}.{inner}").into(),
    }
}

/// All functions, each after those that it calls or repeats.
pub(super) fn callees_first(p: &Program) -> Vec<FnId> {
    crate::program::verify::order(p).expect("a verified program has no cycles")
}
