//! What the passes share: going over a function's nodes to build another one, and copying nodes from one function into
//! another. Takes functions and gives functions.

use crate::program::build::Builder;
use crate::program::{FnId, Function, Node, Op, Program, Value};
use std::rc::Rc;

/// What makes a node's results in the new function: from the builder, the node's number, the node, and its arguments
/// there.
pub(super) type Each<'a> = dyn FnMut(&mut Builder, usize, Node, Vec<Value>) -> Vec<Value> + 'a;

/// Builds a function anew with the same parameters, node by node. The parameters, of which there are many where there are
/// many weights, are not even copied.
pub(super) fn rebuild(f: Function, each: &mut Each) -> Function {
    let Function { name, params, mut nodes, results, derivative, cut } = f;
    let count = params.len();
    let rest = nodes.split_off(count);
    let mut b = Builder { f: Function { name, params, nodes, ..Function::default() }, ..Builder::default() };
    let mut map: Vec<Vec<Value>> = Vec::with_capacity(rest.len());
    let find = |map: &[Vec<Value>], v: &Value| match (v.node as usize).checked_sub(count) {
        Some(node) => map[node][v.port as usize],
        None => *v,
    };
    for (i, n) in rest.into_iter().enumerate() {
        let args = n.args.iter().map(|a| find(&map, a)).collect();
        b.origin = n.origin.clone();
        let made = each(&mut b, count + i, n, args);
        map.push(made);
    }
    let results = results.iter().map(|v| find(&map, v)).collect();
    Function { derivative, cut, ..b.finish(results) }
}

/// Takes a function out of its program, to be put back.
pub(super) fn take(p: &mut Program, id: FnId) -> Function {
    std::mem::take(&mut p.functions[id.0 as usize])
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
            copy(b, n.clone(), args)
        } else {
            Vec::new()
        };
        map.push(results);
    }
    b.origin = own;
    f.results.iter().map(|v| map[v.node as usize][v.port as usize]).collect()
}

/// A node with other arguments.
pub(super) fn copy(b: &mut Builder, mut n: Node, args: Vec<Value>) -> Vec<Value> {
    match (n.tys.len(), n.tys.pop()) {
        (1, Some(one)) => vec![b.node(n.op, args, one)],
        (_, last) => {
            n.tys.extend(last);
            b.many(n.op, args, n.tys)
        }
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
