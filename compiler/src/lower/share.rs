//! Losses in shares: where several micro-batches make one step, each gives its part of a sum and its part of what the sum is
//! divided by, so that all of them together are one batch. Takes the entry `loss`; gives the entry `share`.
//!
//! A loss of the form n / d or n / max(d, c), n being a sum and d a sum free of weights or a size, comes apart exactly, and so does a sum of
//! such terms over one d, or a sum that nothing divides. Any other loss counts as a mean over micro-batches; so does in
//! effect one that holds pairs of rows against each other.

use crate::program::build::Builder;
use crate::program::{Entry, Function, Op, Program, ReduceOp, Role, Value};
use dlc_plan::{DType, Host, Prim, Size};

/// What the optimizer's update has to know of a loss in shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// The least that the sum of all n is divided by; none for no limit.
    pub least: Option<f64>,
    /// Whether micro-batches are one batch; otherwise the loss is their mean.
    pub exact: bool,
}

/// The name of the part of d, which goes from `accumulate` to whoever adds up, and from there to `update`.
pub const OVER: &str = "loss.over";

/// A term of a loss: a sum, by what it is multiplied, and by what it is divided.
struct Term {
    sum: Value,
    factors: Vec<Factor>,
    /// d, and c where it is max(d, c).
    over: Option<(Value, Option<f64>)>,
}

#[derive(Clone, Copy)]
enum Factor {
    Number(f64),
    Value(Value),
}

/// Adds the entry `share` beside `loss`: n, d, then all that `loss` gives.
pub fn entry(p: &mut Program) -> Option<Shares> {
    let loss = p.entry("loss")?.clone();
    let f = p.function(loss.function);
    let is_weight: Vec<bool> = loss.inputs.iter().map(|r| matches!(r, Role::Weight(_))).collect();
    let result = f.results[0];
    let mut b = Builder { f: f.clone(), ..Builder::default() };
    b.f.name = format!("{}.share", f.name);
    let mut terms = Vec::new();
    let apart = walk(f, &free(f, &is_weight), result, &[], &mut terms).and_then(|()| joined(&mut b, &terms));
    let (n, d, shares) = match apart {
        Some((n, d, least)) => (n, d, Shares { least, exact: !pairs_rows(f, &loss) }),
        None => (result, b.constant(DType::F32, 1.0), Shares { least: None, exact: false }),
    };
    let results = [n, d].into_iter().chain(f.results.clone()).collect();
    let function = p.add(b.finish(results));
    let own = ["loss.sum", OVER].map(|name| Role::Named(name.into()));
    let outputs = own.into_iter().chain(loss.outputs).collect();
    p.entries.push(Entry { name: "share".into(), function, outputs, ..loss });
    Some(shares)
}

/// Whether something holds a number for each pair of rows of a batch, such as their products: rows of other micro-batches
/// are then missing from it.
fn pairs_rows(f: &Function, loss: &Entry) -> bool {
    let given = |role: &Role| matches!(role, Role::Named(_) | Role::Index(..));
    let inputs = f.params.iter().zip(&loss.inputs).filter(|(_, role)| given(role)).map(|(param, _)| param);
    let rows: Vec<&Size> = inputs.filter_map(|p| p.ty.shape.first()).filter(|s| s.known().is_none()).collect();
    let pairs = |shape: &[Size]| rows.iter().any(|rows| shape.iter().filter(|s| s == rows).count() > 1);
    let live = f.live();
    f.nodes.iter().zip(live).any(|(n, live)| live && n.tys.iter().any(|ty| pairs(&ty.shape)))
}

/// For each node, whether no weight has a part in it.
fn free(f: &Function, is_weight: &[bool]) -> Vec<bool> {
    let mut free: Vec<bool> = Vec::with_capacity(f.nodes.len());
    for n in &f.nodes {
        let own = !matches!(n.op, Op::Param(i) if is_weight[i as usize]);
        free.push(own && n.args.iter().all(|a| free[a.node as usize]));
    }
    free
}

/// Takes a loss apart into terms; `None` where it has another form.
fn walk(f: &Function, free: &[bool], v: Value, factors: &[Factor], terms: &mut Vec<Term>) -> Option<()> {
    let n = f.node(v);
    let with = |factor: Factor| factors.iter().copied().chain([factor]).collect::<Vec<_>>();
    let is_free = |v: &Value| free[v.node as usize];
    match (&n.op, n.args.as_slice()) {
        (Op::Map(Prim::Add), [a, b]) => {
            walk(f, free, *a, factors, terms)?;
            walk(f, free, *b, factors, terms)
        }
        (Op::Map(Prim::Sub), [a, b]) => {
            walk(f, free, *a, factors, terms)?;
            walk(f, free, *b, &with(Factor::Number(-1.0)), terms)
        }
        (Op::Map(Prim::Neg), [a]) => walk(f, free, *a, &with(Factor::Number(-1.0)), terms),
        (Op::Map(Prim::Mul), [a, b]) if is_scalar(f, *a) => walk(f, free, *b, &with(Factor::Value(*a)), terms),
        (Op::Map(Prim::Mul), [a, b]) if is_scalar(f, *b) => walk(f, free, *a, &with(Factor::Value(*b)), terms),
        (Op::Map(Prim::Div), [a, b]) => match constant(f, *b) {
            Some(k) => walk(f, free, *a, &with(Factor::Number(1.0 / k)), terms),
            None if is_free(b) => {
                let over = match (&f.node(*b).op, f.node(*b).args.as_slice()) {
                    (Op::Map(Prim::Max), [d, c]) if constant(f, *c).is_some() => (*d, constant(f, *c)),
                    (Op::Map(Prim::Max), [c, d]) if constant(f, *c).is_some() => (*d, constant(f, *c)),
                    _ => (*b, None),
                };
                if !additive(f, over.0) {
                    return None;
                }
                let first = terms.len();
                walk(f, free, *a, factors, terms)?;
                // Only a plain sum can be divided once more.
                let inner = &mut terms[first..];
                inner.iter().all(|t| t.over.is_none()).then(|| inner.iter_mut().for_each(|t| t.over = Some(over)))
            }
            None => None,
        },
        (Op::Reduce(ReduceOp::Sum, _), _) if n.tys[0].rank() == 0 => {
            terms.push(Term { sum: v, factors: factors.to_vec(), over: None });
            Some(())
        }
        (Op::Map(Prim::Cast(DType::F32)), [a]) if f.ty(*a).dtype.is_float() => walk(f, free, *a, factors, terms),
        (
            Op::Param(_)
            | Op::Const(_)
            | Op::Table(_)
            | Op::Host(_)
            | Op::Map(_)
            | Op::Reduce(..)
            | Op::View(_)
            | Op::Contract(_)
            | Op::Gather
            | Op::Scatter
            | Op::Rows(_)
            | Op::Iota(_)
            | Op::Random
            | Op::Concat(_)
            | Op::Stop
            | Op::Within(_)
            | Op::Call(_)
            | Op::Repeat(_)
            | Op::Panels(_),
            _,
        ) => None,
    }
}

/// Whether what micro-batches have of a number adds up to what one batch has: a sum, or a size.
fn additive(f: &Function, v: Value) -> bool {
    let n = f.node(v);
    match (&n.op, n.args.as_slice()) {
        (Op::Reduce(ReduceOp::Sum, _), _) => n.tys[0].rank() == 0,
        (Op::Host(Host::Size(_)), _) => true,
        (Op::Map(Prim::Cast(_) | Prim::Neg) | Op::Stop, [a]) => additive(f, *a),
        (Op::Map(Prim::Add | Prim::Sub), [a, b]) => additive(f, *a) && additive(f, *b),
        (Op::Map(Prim::Mul), [a, b]) => {
            (constant(f, *a).is_some() && additive(f, *b)) || (constant(f, *b).is_some() && additive(f, *a))
        }
        (Op::Map(Prim::Div), [a, b]) => constant(f, *b).is_some() && additive(f, *a),
        (
            Op::Param(_)
            | Op::Const(_)
            | Op::Table(_)
            | Op::Host(_)
            | Op::Map(_)
            | Op::Reduce(..)
            | Op::View(_)
            | Op::Contract(_)
            | Op::Gather
            | Op::Scatter
            | Op::Rows(_)
            | Op::Iota(_)
            | Op::Random
            | Op::Concat(_)
            | Op::Stop
            | Op::Within(_)
            | Op::Call(_)
            | Op::Repeat(_)
            | Op::Panels(_),
            _,
        ) => false,
    }
}

fn constant(f: &Function, v: Value) -> Option<f64> {
    match f.node(v).op {
        Op::Const(x) => Some(x),
        _ => None,
    }
}

fn is_scalar(f: &Function, v: Value) -> bool {
    matches!(f.node(v).op, Op::Const(_) | Op::Host(_)) && f.ty(v).rank() == 0
}

/// The sum of all terms over the first one's d; `None` where they are divided by different things.
fn joined(b: &mut Builder, terms: &[Term]) -> Option<(Value, Value, Option<f64>)> {
    let over = terms.first()?.over;
    let mut sum: Option<Value> = None;
    for t in terms {
        let ratio = match (over, t.over) {
            (None, None) => 1.0,
            (Some((first, least)), Some((d, c))) if least == c => ratio(&b.f, d, first)?,
            (Some(_) | None, Some(_) | None) => return None,
        };
        // A limit does not scale.
        if ratio != 1.0 && t.over.is_some_and(|(_, c)| c.is_some()) {
            return None;
        }
        let mut v = b.cast(t.sum, DType::F32);
        let mut number = 1.0 / ratio;
        for factor in &t.factors {
            match factor {
                Factor::Number(x) => number *= x,
                Factor::Value(x) => {
                    let x = b.cast(*x, DType::F32);
                    v = b.map(Prim::Mul, &[v, x]);
                }
            }
        }
        if number != 1.0 {
            v = b.with_number(Prim::Mul, v, number);
        }
        sum = Some(match sum {
            Some(sum) => b.map(Prim::Add, &[sum, v]),
            None => v,
        });
    }
    let (d, least) = match over {
        Some((d, least)) => (b.cast(d, DType::F32), least),
        // Nothing divides the sum, so all shares are divided by max(0, 1).
        None => (b.constant(DType::F32, 0.0), Some(1.0)),
    };
    Some((sum?, d, least))
}

/// How many times `of` goes into `d`, if that is the same for all batches.
fn ratio(f: &Function, d: Value, of: Value) -> Option<f64> {
    let size = |v: Value| match &f.node(v).op {
        Op::Host(Host::Size(s)) => Some(s.clone()),
        _ => None,
    };
    if d == of {
        return Some(1.0);
    }
    let (d, of): (Size, Size) = (size(d)?, size(of)?);
    let known = |a: &Size, b: &Size| a.divided(b).and_then(|q| q.known()).map(|q| q as f64);
    known(&d, &of).or_else(|| known(&of, &d).map(|q| 1.0 / q))
}
