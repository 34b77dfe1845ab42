//! Factors that are the same along all summed axes leave the sum: `sum(c * x)` becomes `c * sum(x)`, and signs, divisors and
//! doublings go with them. What is left is often a sum that is there already: the gradient of a normalisation is made of two.
//! A factor that stands in a product twice stays where it is: squares may need it to be numbers of single precision at all.
//! Takes a program; the sums are rounded otherwise, and no less exactly.

use super::rewrite::{copy, rebuild};
use super::simplify::{emit, made_by};
use crate::program::build::Builder;
use crate::program::{Function, Node, Op, Program, ReduceOp, Ty, Value, View};
use dlc_plan::{DType, Prim};

/// A product is looked into so deeply.
const DEPTH: usize = 8;

/// Takes factors out of the sums of every function.
pub(super) fn run(p: &mut Program) {
    // What is run in panels adds up its sums from panel to panel, and a factor would need another pass over them.
    for f in p.functions.iter_mut().filter(|f| f.cut.is_none()) {
        *f = rebuild(std::mem::take(f), &mut |b, _, n, args| match &n.op {
            Op::Reduce(ReduceOp::Sum, axes) if n.tys[0].dtype == DType::F32 => {
                let axes = axes.clone();
                match pulled(b, args[0], &axes, &n) {
                    Some(v) => vec![v],
                    None => copy(b, n, args),
                }
            }
            _ => copy(b, n, args),
        });
    }
}

/// The factors of a product.
#[derive(Default)]
struct Factors {
    /// Those that differ along the summed axes.
    inner: Vec<Value>,
    /// Those that do not, as what is repeated and the axes it has; and whether they divide.
    outer: Vec<(Value, Vec<usize>, Prim)>,
    negative: bool,
    twice: i32,
}

impl Factors {
    /// Whether a factor is there twice, as in `sum((x / m) ^ 2)`: it may keep squares among the finite numbers, and stays.
    fn scales_squares(&self) -> bool {
        let again =
            |(k, (factor, ..)): (usize, &(Value, Vec<usize>, Prim))| self.outer[..k].iter().any(|o| o.0 == *factor);
        self.outer.iter().enumerate().any(again)
    }
}

/// The sum with factors taken out, if there are any.
fn pulled(b: &mut Builder, v: Value, axes: &[usize], n: &Node) -> Option<Value> {
    let mut all = Factors::default();
    collect(&b.f, v, axes, DEPTH, &mut all);
    let moves = all.negative || all.twice > 0 || !all.outer.is_empty();
    if !moves || all.inner.is_empty() || all.scales_squares() {
        return None;
    }
    // In one order, so that equal products are found to be equal.
    all.inner.sort_unstable();
    let product = all.inner[1..].iter().fold(all.inner[0], |product, x| b.map(Prim::Mul, &[product, *x]));
    let ty: &Ty = &n.tys[0];
    let mut sum = b.node(n.op.clone(), vec![product], ty.clone());
    for (factor, at, prim) in all.outer {
        let left = |axis: &usize| axis - axes.iter().filter(|k| *k < axis).count();
        let factor = b.broadcast(factor, at.iter().map(left).collect(), &ty.shape);
        sum = b.map(prim, &[sum, factor]);
    }
    let sign = if all.negative { -1.0 } else { 1.0 };
    let factor = b.full(DType::F32, sign * 2f64.powi(all.twice), &ty.shape);
    Some(emit(b, Op::Map(Prim::Mul), vec![sum, factor], ty.clone()))
}

/// Collects the factors of a product.
fn collect(f: &Function, v: Value, axes: &[usize], depth: usize, all: &mut Factors) {
    if let Some(repeated) = repeated(f, v, axes) {
        return all.outer.push((repeated.0, repeated.1, Prim::Mul));
    }
    match made_by(f, v) {
        (Op::Map(Prim::Mul), args) if depth > 0 => {
            args.iter().for_each(|a| collect(f, *a, axes, depth - 1, all));
        }
        (Op::Map(Prim::Neg), args) if depth > 0 => {
            all.negative = !all.negative;
            collect(f, args[0], axes, depth - 1, all);
        }
        (Op::Map(Prim::Add), args) if depth > 0 && args[0] == args[1] => {
            all.twice += 1;
            collect(f, args[0], axes, depth - 1, all);
        }
        (Op::Map(Prim::Div), args) if depth > 0 => match repeated(f, args[1], axes) {
            Some(divisor) => {
                all.outer.push((divisor.0, divisor.1, Prim::Div));
                collect(f, args[0], axes, depth - 1, all);
            }
            None => all.inner.push(v),
        },
        (_, _) => all.inner.push(v),
    }
}

/// What a value repeats along all summed axes, and the axes that this has in the value.
fn repeated(f: &Function, v: Value, axes: &[usize]) -> Option<(Value, Vec<usize>)> {
    match made_by(f, v) {
        (Op::View(View::Broadcast(own)), args) if own.iter().all(|k| !axes.contains(k)) => Some((args[0], own.clone())),
        (_, _) => None,
    }
}
