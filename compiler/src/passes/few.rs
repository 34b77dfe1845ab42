//! Folds of few elements, as those of a small window, are written out: they become operations of slices, so that the axis
//! along which the sweeps of the kernel go is a long one. And where axes of permuted arithmetic are merged, the operands are
//! permuted instead, so that the result is made in the order in which it is needed. Takes a program; sums are added up in another order.

use super::rewrite::{copy, rebuild};
use super::simplify::{emit, made_by};
use crate::program::build::Builder;
use crate::program::{Function, Node, Op, Program, ReduceOp, Value, View};
use dlc_plan::{DType, Prim, Size};

/// Folds of no more elements are written out.
const FEW: i64 = 16;

/// Writes out the folds of every function.
pub(super) fn run(p: &mut Program) {
    for f in &mut p.functions {
        let own = read_once(f);
        *f = rebuild(std::mem::take(f), &mut |b, _, n, args| {
            let simpler = match &n.op {
                Op::Reduce(op, axes) => written_out(b, *op, axes, args[0], &n),
                Op::View(View::Merge { count: 2.., .. }) if own[n.args[0].node as usize] => permuted(b, &n, args[0]),
                _ => None,
            };
            match simpler {
                Some(v) => vec![v],
                None => copy(b, n, args),
            }
        });
    }
}

/// For each node, whether it permutes arithmetic, and either is read by one node only.
fn read_once(f: &Function) -> Vec<bool> {
    let mut users = vec![0; f.nodes.len()];
    for v in f.nodes.iter().flat_map(|n| &n.args).chain(&f.results) {
        users[v.node as usize] += 1;
    }
    let arithmetic = |v: Value| matches!(f.node(v).op, Op::Map(_)) && users[v.node as usize] == 1;
    let permutes = |n: &Node| matches!(n.op, Op::View(View::Permute(_))) && arithmetic(n.args[0]);
    f.nodes.iter().zip(&users).map(|(n, users)| *users == 1 && permutes(n)).collect()
}

/// Merged axes of permuted arithmetic, which would have to be put in order in memory: those of the arithmetic of permuted
/// operands.
fn permuted(b: &mut Builder, n: &Node, v: Value) -> Option<Value> {
    let (Op::View(View::Permute(axes)), inner) = made_by(&b.f, v) else { return None };
    let (axes, inner) = (axes.clone(), inner[0]);
    let (op, args) = made_by(&b.f, inner);
    let (op, args) = (op.clone(), args.to_vec());
    let args = args.iter().map(|a| turned(b, &axes, *a)).collect();
    let mut ty = b.ty(v).clone();
    ty.dtype = b.ty(inner).dtype;
    let turned = emit(b, op, args, ty);
    Some(emit(b, n.op.clone(), vec![turned], n.tys[0].clone()))
}

/// A permutation, simplified.
fn turned(b: &mut Builder, axes: &[usize], v: Value) -> Value {
    let mut ty = b.ty(v).clone();
    ty.shape = axes.iter().map(|k| b.ty(v).shape[*k].clone()).collect();
    emit(b, Op::View(View::Permute(axes.to_vec())), vec![v], ty)
}

/// A fold of few elements, where the result has more than that along an axis.
fn written_out(b: &mut Builder, op: ReduceOp, axes: &[usize], v: Value, n: &Node) -> Option<Value> {
    let shape = b.shape(v);
    let count = Size::product(axes.iter().map(|k| &shape[*k])).known().filter(|n| (2..=FEW).contains(n))?;
    let last = n.tys[0].shape.iter().rev().find(|s| !s.is(1))?;
    let inner = axes.iter().any(|k| *k + 1 == shape.len());
    let number = matches!(b.ty(v).dtype, DType::F32 | DType::I64 | DType::I32);
    if !number || !inner || last.known().is_none_or(|n| n < count) {
        return None;
    }
    let prim = match op {
        ReduceOp::Sum => Prim::Add,
        ReduceOp::Prod => Prim::Mul,
        ReduceOp::Max => Prim::Max,
        ReduceOp::Min => Prim::Min,
    };
    let mut parts = vec![v];
    for axis in axes.iter().rev() {
        let extent = shape[*axis].known().expect("few elements are a known number");
        parts = parts
            .iter()
            .flat_map(|part| (0..extent).map(|i| (*part, i)))
            .map(|(part, i)| one(b, part, *axis, i))
            .collect();
    }
    Some(parts[1..].iter().fold(parts[0], |all, x| b.map(prim, &[all, *x])))
}

/// One element along an axis, which vanishes.
fn one(b: &mut Builder, v: Value, axis: usize, index: i64) -> Value {
    let mut ty = b.ty(v).clone();
    ty.shape[axis] = Size::one();
    let slice = View::Slice { axis, start: Size::from(index), step: 1 };
    let part = emit(b, Op::View(slice), vec![v], ty.clone());
    ty.shape.remove(axis);
    emit(b, Op::View(View::Split { axis, count: 0 }), vec![part], ty)
}
