//! In a sum, products come first: `a + x w + b + y v` becomes `((x w + y v) + a) + b`, so that the products can be one of several
//! terms, and what follows them adds the rest. The gradient of what a residual connection and several layers read is such a
//! sum. Takes a program; sums are added up in another order.

use super::rewrite::{copy, rebuild};
use crate::program::{Function, Op, Program, Value};
use dlc_plan::{DType, Prim};

/// Puts the products first in the sums of every function.
pub(super) fn run(p: &mut Program) {
    for f in &mut p.functions {
        let sums = sums(f);
        if sums.iter().all(Option::is_none) {
            continue;
        }
        let mut made: Vec<Vec<Value>> = (0..f.params.len() as u32).map(|node| vec![Value { node, port: 0 }]).collect();
        *f = rebuild(std::mem::take(f), &mut |b, i, n, args| {
            let values = match &sums[i] {
                None => copy(b, n, args),
                Some(leaves) => {
                    let mut leaves = leaves.iter().map(|v| made[v.node as usize][v.port as usize]);
                    let first = leaves.next().expect("a sum has terms");
                    vec![leaves.fold(first, |sum, v| b.map(Prim::Add, &[sum, v]))]
                }
            };
            made.push(values.clone());
            values
        });
    }
}

/// For each node, if it is a sum whose products are not the first to be added up: what it is the sum of, products first.
fn sums(f: &Function) -> Vec<Option<Vec<Value>>> {
    let live = f.live();
    let mut users = vec![0; f.nodes.len()];
    let read = f.nodes.iter().zip(&live).filter(|(_, live)| **live).flat_map(|(n, _)| &n.args);
    read.chain(&f.results).for_each(|v| users[v.node as usize] += 1);
    let adds = |node: usize| f.nodes[node].op == Op::Map(Prim::Add) && f.nodes[node].tys[0].dtype == DType::F32;
    let inner = |v: Value| adds(v.node as usize) && users[v.node as usize] == 1;
    let product = |v: &Value| matches!(f.node(*v).op, Op::Contract(_)) && users[v.node as usize] == 1;
    // A sum that another sum takes in is no sum of its own.
    let mut taken = vec![false; f.nodes.len()];
    for node in (0..f.nodes.len()).filter(|node| live[*node] && adds(*node)) {
        f.nodes[node].args.iter().filter(|a| inner(**a)).for_each(|a| taken[a.node as usize] = true);
    }
    let of = |node: usize| {
        let mut leaves = Vec::new();
        let mut left: Vec<Value> = f.nodes[node].args.iter().rev().copied().collect();
        while let Some(v) = left.pop() {
            if inner(v) {
                left.extend(f.node(v).args.iter().rev());
            } else {
                leaves.push(v);
            }
        }
        let (products, others): (Vec<Value>, Vec<Value>) = leaves.iter().partition(|v| product(v));
        let moves = products.len() > 1 && leaves[..products.len()] != products;
        moves.then(|| [products, others].concat())
    };
    (0..f.nodes.len()).map(|node| (live[node] && adds(node) && !taken[node]).then(|| of(node)).flatten()).collect()
}
