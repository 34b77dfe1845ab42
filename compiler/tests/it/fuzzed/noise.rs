//! Rounding, imitated: a program that computes the same with a little noise on each result, so that how far several runs
//! are apart says how much the rounding of single precision may matter, element by element (Monte Carlo arithmetic).

use dlc_compiler::program::build::Builder;
use dlc_compiler::program::{Function, Node, Op, Program, ReduceOp, RowOp, Ty, Value};
use dlc_plan::{DType, Prim};

/// The program with noise of another `salt`, times so much of what rounding does.
pub fn noisy(p: &Program, salt: usize, strength: f64) -> Program {
    let mut p = p.clone();
    let mut site = salt as f64 * 100_003.0 + 7.0;
    for f in &mut p.functions {
        *f = function(f, &mut site, strength);
    }
    p
}

/// Whether an operation rounds what it gives.
fn rounds(op: &Op) -> bool {
    match op {
        Op::Map(Prim::Neg | Prim::Abs | Prim::Sign | Prim::Floor | Prim::Max | Prim::Min | Prim::Where) => false,
        Op::Map(_) | Op::Contract(_) | Op::Scatter | Op::Reduce(ReduceOp::Sum | ReduceOp::Prod, _) | Op::Host(_) => {
            true
        }
        Op::Rows(_) => true,
        _ => false,
    }
}

/// Whether an operation adds terms up.
fn adds_up(op: &Op) -> bool {
    matches!(op, Op::Contract(_) | Op::Scatter | Op::Reduce(ReduceOp::Sum, _) | Op::Rows(RowOp::RunningSum))
}

fn function(f: &Function, site: &mut f64, strength: f64) -> Function {
    let mut b = Builder::new(&f.name);
    let mut at: Vec<u32> = Vec::new();
    for n in &f.nodes {
        let mut args: Vec<Value> = n.args.iter().map(|v| Value { node: at[v.node as usize], port: v.port }).collect();
        if adds_up(&n.op) {
            // What cancels in a sum is rounded beside the terms, not beside the sum.
            for (arg, from) in args.iter_mut().zip(&n.args) {
                let ty = &f.nodes[from.node as usize].tys[from.port as usize];
                if ty.dtype.is_float() {
                    *site += 1.0;
                    *arg = disturb(&mut b, *arg, ty, *site, strength);
                }
            }
        }
        b.f.nodes.push(Node { args, ..n.clone() });
        let node = b.f.nodes.len() as u32 - 1;
        at.push(node);
        if rounds(&n.op) && n.tys[0].dtype.is_float() {
            *site += 1.0;
            at.pop();
            at.push(disturb(&mut b, Value { node, port: 0 }, &n.tys[0], *site, strength).node);
        }
    }
    let results = f.results.iter().map(|v| Value { node: at[v.node as usize], port: v.port }).collect();
    Function { nodes: b.f.nodes, results, ..f.clone() }
}

/// The value times numbers near 1.
fn disturb(b: &mut Builder, v: Value, ty: &Ty, site: f64, strength: f64) -> Value {
    let round = match ty.dtype {
        DType::F16 => 2f64.powi(-11),
        DType::BF16 => 2f64.powi(-8),
        _ => 2f64.powi(-23),
    };
    let hash = b.constant(DType::I32, site);
    let random = b.node(Op::Random, vec![hash], Ty { dtype: DType::F32, shape: ty.shape.clone() });
    // What there is to add is formed in double precision: a factor near 1 would be a rounded constant.
    let scale = b.full(DType::F32, round * strength * 2.0, &ty.shape);
    let half = b.full(DType::F32, -0.5, &ty.shape);
    let centred = b.map(Prim::Add, &[random, half]);
    let part = b.map(Prim::Mul, &[centred, scale]);
    let change = b.node(Op::Map(Prim::Mul), vec![v, part], ty.clone());
    // What is infinite stays so.
    let most = b.full(DType::F32, f64::INFINITY, &ty.shape);
    let size = b.node(Op::Map(Prim::Abs), vec![v], ty.clone());
    let finite = b.node(Op::Map(Prim::Lt), vec![size, most], Ty { dtype: DType::Bool, shape: ty.shape.clone() });
    let none = b.full(DType::F32, 0.0, &ty.shape);
    let change = b.node(Op::Map(Prim::Where), vec![finite, change, none], ty.clone());
    b.node(Op::Map(Prim::Add), vec![v, change], ty.clone())
}
