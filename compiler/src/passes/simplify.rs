//! Local rewrites to something simpler: constants, neutral operands, casts and views of views. Nothing here changes how
//! a number is rounded, but for the sign of a zero in x + 0; so x * 0 stays, since x may be infinite.
//!
//! A rule looks at one node and the nodes of its arguments. What a rule makes goes through the rules again.

use super::rewrite::{copy, rebuild};
use super::views;
use crate::program::build::Builder;
use crate::program::{Contract, Function, Node, Op, Program, ReduceOp, Ty, Value, View};
use dlc_plan::{DType, Prim, Size};

/// Simplifies every function. Stops become what they stop, so this comes after gradients, and bounds are forgotten, which entries know by then.
pub(super) fn run(p: &mut Program) {
    for f in &mut p.functions {
        let mut users = vec![0; f.nodes.len()];
        for v in f.nodes.iter().flat_map(|n| &n.args).chain(&f.results) {
            users[v.node as usize] += 1;
        }
        let contracts: Vec<bool> = f.nodes.iter().map(|n| matches!(n.op, Op::Contract(_))).collect();
        let own = |v: &Value| users[v.node as usize] == 1 && contracts[v.node as usize];
        let partly = seen_partly(f, &users);
        *f = rebuild(std::mem::take(f), &mut |b, _, n, args| {
            if matches!(n.op, Op::Call(_) | Op::Repeat(_) | Op::Panels(_)) {
                return copy(b, n, args);
            }
            let turned = if n.args.first().is_some_and(own) { transposed(b, &n, &args) } else { None };
            let part = match &n.op {
                Op::View(View::Slice { axis, start, step }) if partly[n.args[0].node as usize] => {
                    sliced(b, (*axis, start, *step), &n.tys[0].shape[*axis], args[0])
                }
                _ => None,
            };
            vec![turned.or(part).unwrap_or_else(|| emit(b, n.op, args, n.tys[0].clone()))]
        });
    }
}

/// For each node, whether it is a contraction, or a regrouping of its axes, that has one user.
fn seen_partly(f: &Function, users: &[usize]) -> Vec<bool> {
    let mut partly: Vec<bool> = Vec::with_capacity(f.nodes.len());
    for (n, users) in f.nodes.iter().zip(users) {
        let of = match &n.op {
            Op::Contract(_) => true,
            Op::View(View::Merge { .. } | View::Split { .. } | View::Slice { .. }) => partly[n.args[0].node as usize],
            _ => false,
        };
        partly.push(of && *users == 1);
    }
    partly
}

/// A slice of what a contraction gives: the contraction of slices. None where the axis is regrouped on the way.
fn sliced(b: &mut Builder, (axis, start, step): (usize, &Size, i64), len: &Size, v: Value) -> Option<Value> {
    let (op, args) = made_by(&b.f, v);
    let (op, args) = (op.clone(), args.to_vec());
    let slice = |b: &mut Builder, x: Value, axis: usize| {
        let one = b.slice(x, axis, start.clone(), step, len.clone());
        if one == x { one } else { resimplified(b, one) }
    };
    let inner = match &op {
        Op::Contract(c) => {
            let part = |b: &mut Builder, x: Value, labels: &[u8]| match labels.iter().position(|l| *l == c.out[axis]) {
                Some(k) => slice(b, x, k),
                None => x,
            };
            let (x, y) = (part(b, args[0], &c.a), part(b, args[1], &c.b));
            return Some(b.contract(x, y, &c.a, &c.b, &c.out));
        }
        Op::View(View::Merge { axis: k, .. } | View::Split { axis: k, .. }) if axis < *k => axis,
        Op::View(View::Merge { axis: k, count }) if axis > *k => axis + count - 1,
        Op::View(View::Split { axis: k, count }) if axis >= k + count => axis + 1 - count,
        _ => return None,
    };
    let part = sliced(b, (inner, start, step), len, args[0])?;
    let mut ty = b.ty(v).clone();
    ty.shape[axis] = len.clone();
    Some(emit(b, op, vec![part], ty))
}

/// A node, or something simpler that gives the same.
pub(super) fn emit(b: &mut Builder, op: Op, args: Vec<Value>, ty: Ty) -> Value {
    let simpler = match &op {
        Op::Map(prim) => map(b, *prim, &args, &ty),
        Op::Reduce(r, axes) => reduce(b, *r, axes, args[0], &ty),
        Op::View(v) => views::view(b, v, args[0], &ty),
        Op::Contract(c) => contract(b, c, &args),
        Op::Concat(_) if args.len() == 1 => Some(args[0]),
        Op::Stop | Op::Within(_) => Some(args[0]),
        Op::Iota(axis) if ty.shape[*axis].is(1) => Some(b.full(ty.dtype, 0.0, &ty.shape)),
        Op::Host(h) => h.known().map(|x| b.constant(ty.dtype, x)),
        Op::Param(_) | Op::Const(_) | Op::Table(_) | Op::Gather | Op::Scatter | Op::Iota(_) | Op::Random => None,
        Op::Rows(_) | Op::Concat(_) | Op::Call(_) | Op::Repeat(_) | Op::Panels(_) => None,
    };
    simpler.unwrap_or_else(|| b.node(op, args, ty))
}

/// The operation and arguments of the node that gives a value.
pub(super) fn made_by(f: &Function, v: Value) -> (&Op, &[Value]) {
    let n: &Node = f.node(v);
    (&n.op, &n.args)
}

fn map(b: &mut Builder, prim: Prim, args: &[Value], ty: &Ty) -> Option<Value> {
    let known: Vec<Option<f64>> = args.iter().map(|a| b.f.known(*a)).collect();
    if let Some(all) = known.iter().copied().collect::<Option<Vec<f64>>>() {
        let of = args.last().map_or(ty.dtype, |a| b.ty(*a).dtype);
        if let Some(x) = folded(prim, of, &all).filter(|x| representable(ty.dtype, *x)) {
            return Some(b.full(ty.dtype, x, &ty.shape));
        }
    }
    neutral(b, prim, args, &known, ty).or_else(|| of_made(b, prim, args, ty)).or_else(|| of_scalars(b, prim, args, ty))
}

/// A primitive of constants of a type; none where the result cannot be a constant.
fn folded(prim: Prim, of: DType, x: &[f64]) -> Option<f64> {
    let whole: Vec<i64> = x.iter().map(|x| *x as i64).collect();
    match prim.eval_whole(of, &whole) {
        Some(n) if !of.is_float() => dlc_plan::exact(n),
        Some(_) | None => Some(prim.eval(x)),
    }
}

/// Whether a constant of that type can be exactly this number.
fn representable(dtype: DType, x: f64) -> bool {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 => dlc_plan::cast(dtype, x) == x,
        DType::I64 => x == x.trunc() && x.abs() < 2f64.powi(53),
        DType::I32 => x == x.trunc() && (-2f64.powi(31)..2f64.powi(31)).contains(&x),
        DType::U8 => x == x.trunc() && (0.0..256.0).contains(&x),
        DType::Bool => true,
    }
}

/// Operands that make no difference.
fn neutral(b: &mut Builder, prim: Prim, args: &[Value], known: &[Option<f64>], ty: &Ty) -> Option<Value> {
    let is = |k: usize, x: f64| known[k] == Some(x);
    match prim {
        Prim::Add if is(1, 0.0) => Some(args[0]),
        Prim::Add if is(0, 0.0) => Some(args[1]),
        Prim::Sub if is(1, 0.0) => Some(args[0]),
        Prim::Mul if is(1, 1.0) => Some(args[0]),
        Prim::Mul if is(0, 1.0) => Some(args[1]),
        Prim::Mul if is(1, -1.0) => Some(emit(b, Op::Map(Prim::Neg), vec![args[0]], ty.clone())),
        Prim::Mul if is(0, -1.0) => Some(emit(b, Op::Map(Prim::Neg), vec![args[1]], ty.clone())),
        Prim::Div | Prim::Pow if is(1, 1.0) => Some(args[0]),
        Prim::Pow if is(1, 0.0) => Some(b.full(ty.dtype, 1.0, &ty.shape)),
        Prim::Pow if is(1, 2.0) => Some(b.map(Prim::Mul, &[args[0], args[0]])),
        Prim::And if is(0, 1.0) => Some(args[1]),
        Prim::And if is(1, 1.0) => Some(args[0]),
        Prim::And if is(0, 0.0) || is(1, 0.0) => Some(b.full(ty.dtype, 0.0, &ty.shape)),
        Prim::Or if is(0, 0.0) => Some(args[1]),
        Prim::Or if is(1, 0.0) => Some(args[0]),
        Prim::Or if is(0, 1.0) || is(1, 1.0) => Some(b.full(ty.dtype, 1.0, &ty.shape)),
        Prim::And | Prim::Or | Prim::Max | Prim::Min if args[0] == args[1] => Some(args[0]),
        Prim::Where if is(0, 1.0) || args[1] == args[2] => Some(args[1]),
        Prim::Where if is(0, 0.0) => Some(args[2]),
        Prim::Add | Prim::Sub | Prim::Mul | Prim::Div | Prim::Rem | Prim::Pow | Prim::Max | Prim::Min => None,
        Prim::Neg | Prim::Abs | Prim::Sign | Prim::Floor | Prim::Exp | Prim::Expm1 | Prim::Log | Prim::Log1p => None,
        Prim::Sqrt
        | Prim::Rsqrt
        | Prim::Sin
        | Prim::Cos
        | Prim::Tanh
        | Prim::Erf
        | Prim::Erfc
        | Prim::Lt
        | Prim::Le => None,
        Prim::Eq | Prim::Ne | Prim::And | Prim::Or | Prim::Not | Prim::Where | Prim::Cast(_) => None,
    }
}

/// A primitive of what another primitive gave.
fn of_made(b: &mut Builder, prim: Prim, args: &[Value], ty: &Ty) -> Option<Value> {
    let inner = |k: usize, p: Prim| match made_by(&b.f, args[k]) {
        (Op::Map(q), own) if *q == p => Some(own[0]),
        (_, _) => None,
    };
    let (new, operands) = match prim {
        Prim::Neg | Prim::Not => return inner(0, prim),
        Prim::Add => match (inner(1, Prim::Neg), inner(0, Prim::Neg)) {
            (Some(y), _) => (Prim::Sub, vec![args[0], y]),
            (None, Some(x)) => (Prim::Sub, vec![args[1], x]),
            (None, None) => return None,
        },
        Prim::Sub => (Prim::Add, vec![args[0], inner(1, Prim::Neg)?]),
        Prim::Where => (Prim::Where, vec![inner(0, Prim::Not)?, args[2], args[1]]),
        Prim::Cast(to) => match made_by(&b.f, args[0]) {
            (Op::Map(Prim::Cast(middle)), own) if holds(*middle, b.ty(own[0]).dtype) => {
                if b.ty(own[0]).dtype == to {
                    return Some(own[0]);
                }
                (Prim::Cast(to), vec![own[0]])
            }
            (_, _) => return None,
        },
        Prim::Mul | Prim::Div | Prim::Rem | Prim::Pow | Prim::Max | Prim::Min | Prim::Abs | Prim::Sign => return None,
        Prim::Floor | Prim::Exp | Prim::Expm1 | Prim::Log | Prim::Log1p | Prim::Sqrt | Prim::Rsqrt => return None,
        Prim::Sin | Prim::Cos | Prim::Tanh | Prim::Erf | Prim::Erfc | Prim::Lt | Prim::Le | Prim::Eq | Prim::Ne => {
            return None;
        }
        Prim::And | Prim::Or => return None,
    };
    Some(emit(b, Op::Map(new), operands, ty.clone()))
}

/// Whether a type holds every number of another, so that a cast there rounds nothing.
fn holds(wide: DType, narrow: DType) -> bool {
    match (narrow, wide) {
        (a, b) if a == b => true,
        (DType::Bool, _) => true,
        (_, DType::Bool) => false,
        (DType::U8, _) => true,
        (DType::I32, DType::I64) | (DType::F16 | DType::BF16, DType::F32) => true,
        (DType::F32 | DType::F16 | DType::BF16 | DType::I64 | DType::I32, _) => false,
    }
}

/// A primitive of nothing but scalars of the host, once for every element: it is applied once.
fn of_scalars(b: &mut Builder, prim: Prim, args: &[Value], ty: &Ty) -> Option<Value> {
    if ty.shape.is_empty() {
        return None;
    }
    let scalars: Vec<Value> = args.iter().map(|a| views::scalar(&b.f, *a)).collect::<Option<_>>()?;
    if !scalars.iter().all(|s| from_host(&b.f, *s)) {
        return None;
    }
    let one = emit(b, Op::Map(prim), scalars, Ty::scalar(ty.dtype));
    Some(b.broadcast(one, Vec::new(), &ty.shape))
}

/// Whether a scalar is known on the host before a step.
fn from_host(f: &Function, v: Value) -> bool {
    match made_by(f, v) {
        (Op::Const(_) | Op::Host(_), _) => true,
        (Op::Map(_), args) => args.iter().all(|a| from_host(f, *a)),
        (_, _) => false,
    }
}

fn reduce(b: &mut Builder, op: ReduceOp, axes: &[usize], a: Value, ty: &Ty) -> Option<Value> {
    let shape = b.shape(a);
    // An axis of extent 1 has nothing to fold; one along which elements are repeated does not change an extreme.
    let repeated = match made_by(&b.f, a) {
        (Op::View(View::Broadcast(from)), _) => (0..shape.len()).filter(|k| !from.contains(k)).collect(),
        (_, _) => Vec::new(),
    };
    let extreme = matches!(op, ReduceOp::Max | ReduceOp::Min);
    let idle = |k: &usize| {
        let extent = shape[*k].known();
        extent == Some(1) || extreme && repeated.contains(k) && extent.is_some_and(|n| n > 0)
    };
    if let Some(x) = b.f.known(a).filter(|_| op == ReduceOp::Sum) {
        let count = Size::product(axes.iter().map(|k| &shape[*k])).known();
        let sum = if x == 0.0 { Some(0.0) } else { count.map(|n| n as f64 * x) };
        if let Some(sum) = sum.filter(|s| representable(ty.dtype, *s)) {
            return Some(b.full(ty.dtype, sum, &ty.shape));
        }
    }
    let k = axes.iter().rev().find(|k| idle(k))?;
    let one = b.slice(a, *k, Size::zero(), 1, Size::one());
    let one = if one == a { a } else { resimplified(b, one) };
    let mut smaller = Ty { dtype: ty.dtype, shape };
    smaller.shape.remove(*k);
    let without = emit(b, Op::View(View::Split { axis: *k, count: 0 }), vec![one], smaller);
    let rest: Vec<usize> = axes.iter().filter(|x| *x != k).map(|x| if x > k { x - 1 } else { *x }).collect();
    if rest.is_empty() {
        return Some(without);
    }
    Some(emit(b, Op::Reduce(op, rest), vec![without], ty.clone()))
}

/// Sends the node just made through the rules.
fn resimplified(b: &mut Builder, v: Value) -> Value {
    let n = b.f.node(v).clone();
    emit(b, n.op, n.args, n.tys[0].clone())
}

/// A contraction reads a permuted operand by its labels.
fn contract(b: &mut Builder, c: &Contract, args: &[Value]) -> Option<Value> {
    let unpermuted = |v: Value, labels: &[u8]| match made_by(&b.f, v) {
        (Op::View(View::Permute(axes)), own) => {
            let mut turned = vec![0; labels.len()];
            axes.iter().zip(labels).for_each(|(from, l)| turned[*from] = *l);
            Some((own[0], turned))
        }
        (_, _) => None,
    };
    let (a, w) = (unpermuted(args[0], &c.a), unpermuted(args[1], &c.b));
    if a.is_none() && w.is_none() {
        return None;
    }
    let (x, la) = a.unwrap_or((args[0], c.a.clone()));
    let (y, lb) = w.unwrap_or((args[1], c.b.clone()));
    Some(b.contract(x, y, &la, &lb, &c.out))
}

/// A permuted contraction, whose result nothing else needs, puts its result in that order itself.
fn transposed(b: &mut Builder, n: &Node, args: &[Value]) -> Option<Value> {
    let Op::View(View::Permute(axes)) = &n.op else { return None };
    let (Op::Contract(c), own) = made_by(&b.f, args[0]) else { return None };
    let (c, own) = (c.clone(), own.to_vec());
    let out: Vec<u8> = axes.iter().map(|k| c.out[*k]).collect();
    Some(b.contract(own[0], own[1], &c.a, &c.b, &out))
}
