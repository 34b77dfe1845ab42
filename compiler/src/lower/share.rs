//! Losses in shares: where several micro-batches make one step, each gives its part of every sum and its part of what that
//! sum is divided by, so that all of them together are one batch. Takes the entry `loss`; gives the entries `count` and
//! `share`.
//!
//! A loss is a sum of terms. A term n / d or n / max(d, c), n being a sum over rows and d a sum free of weights or a size, comes
//! apart exactly, and so does a sum that nothing divides. A term that no row has a part in counts once. What has another form
//! counts as a mean over micro-batches; so does in effect one that holds pairs of rows against each other.
//!
//! `count` gives d and c of each term for a micro-batch. With s = 1 / max(sum of all d, c) of each term `share`, and with it
//! `accumulate`, gives the micro-batch's part of the loss; the gradients are those of these parts.

use super::mixing::mixing;
use crate::program::build::Builder;
use crate::program::{Entry, Function, Op, Param, Program, ReduceOp, Role, Ty, Value};
use dlc_grammar::Span;
use dlc_plan::{DType, Host, Prim, Size};

/// What is to be said of a loss in shares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shares {
    /// Whether micro-batches are one batch; otherwise some of the loss is a mean over them.
    pub exact: bool,
    /// Where a layer takes statistics over the rows of a micro-batch.
    pub mixing: Option<Span>,
}

/// What the sum of the gradients is divided by as a whole: how many micro-batches there were, or the only count, where these
/// were not known before.
pub const OVER: &str = "loss.over";

/// The parts of every d, from `count` to whoever adds up.
const COUNTS: &str = "loss.counts";

/// The least of what each sum of counts divides by.
const LEAST: &str = "loss.least";

/// 1 / max(d, c) of each term for all micro-batches of a step, from whoever added up to `accumulate`.
const SHARES: &str = "loss.shares";

/// A term of a loss: a sum, by what it is multiplied, and by which counts it is divided.
struct Term {
    sum: Value,
    factors: Vec<Factor>,
    /// d, and c where it is max(d, c).
    over: Option<(Value, Option<f64>)>,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    /// A sum over rows.
    Sum,
    /// It is the same for all micro-batches, and counts once.
    Once,
    /// It has another form, and is a mean over micro-batches.
    Mean,
}

#[derive(Clone, Copy)]
enum Factor {
    Number(f64),
    Value(Value),
}

/// Something that sums are divided by.
#[derive(Clone, Copy, PartialEq)]
enum Count {
    /// Of rows, and the least of them all.
    Rows(Value, Option<f64>),
    /// Of micro-batches.
    Batches,
    /// Nothing.
    One,
}

/// Adds the entries `count` and `share` beside `loss`.
pub fn entry(p: &mut Program, in_prelude: &dyn Fn(Span) -> bool) -> Option<Shares> {
    let loss = p.entry("loss")?.clone();
    let f = p.function(loss.function);
    let mut walk = Walk::new(f, &loss);
    walk.term(f.results[0], &[]);
    let terms = walk.terms;
    let exact = !pairs_rows(f, &loss) && terms.iter().all(|t| t.kind != Kind::Mean);
    let mixing = mixing(p, loss.function, &rows(f, &loss), in_prelude);
    let f = f.clone();
    let mut b = Builder { f: f.clone(), ..Builder::default() };
    b.f.name = format!("{}.share", f.name);
    let mut counts: Vec<Count> = Vec::new();
    let divided: Vec<Vec<(usize, f64)>> = terms.iter().map(|t| divided(&f, t, &mut counts)).collect();
    let ty = Ty { dtype: DType::F32, shape: vec![Size::from(counts.len() as i64)] };
    let added = params_behind(&mut b, Param { name: SHARES.into(), ty });
    let whole = weighed(&mut b, &terms, &divided, added);
    let results = [whole].into_iter().chain(b.f.results.split_off(0).into_iter().skip(1)).collect();
    let function = p.add(b.finish(results));
    let inputs = loss.inputs.iter().cloned().chain([Role::Named(SHARES.into())]).collect();
    let count = count(p, &f, &loss, &counts);
    p.entries.push(count);
    p.entries.push(Entry { name: "share".into(), function, inputs, ..loss });
    Some(Shares { exact, mixing })
}

/// Adds a parameter behind all others; nodes that follow it move one place.
fn params_behind(b: &mut Builder, param: Param) -> Value {
    let at = b.f.params.len() as u32;
    let moved = |v: &mut Value| v.node += u32::from(v.node >= at);
    let own = crate::program::Node {
        op: Op::Param(at),
        args: Vec::new(),
        tys: vec![param.ty.clone()],
        origin: crate::program::Origin::default(),
    };
    b.f.nodes.iter_mut().flat_map(|n| &mut n.args).for_each(moved);
    b.f.results.iter_mut().for_each(moved);
    b.f.nodes.insert(at as usize, own);
    b.f.params.push(param);
    Value { node: at, port: 0 }
}

/// The entry `count`: what a micro-batch has of each count, and the least that the sums of them divide by.
fn count(p: &mut Program, f: &Function, loss: &Entry, counts: &[Count]) -> Entry {
    let mut b = Builder { f: f.clone(), ..Builder::default() };
    b.f.name = format!("{}.count", f.name);
    let ty = Ty { dtype: DType::F32, shape: vec![Size::from(counts.len() as i64)] };
    let mut own = Vec::new();
    for c in counts {
        own.push(match c {
            Count::Rows(d, _) => b.cast(*d, DType::F32),
            Count::Batches => b.constant(DType::F32, 1.0),
            Count::One => b.constant(DType::F32, 0.0),
        });
    }
    let least = counts.iter().map(|c| match c {
        Count::Rows(_, least) => least.unwrap_or(f64::from(f32::MIN)),
        Count::Batches | Count::One => 1.0,
    });
    let least: Vec<f64> = least.collect();
    let all = b.stack(&own, &ty);
    let least = b.table(DType::F32, &least, &ty.shape);
    let whole = b.finish(vec![all, least]);
    let (function, kept) = without_weights(whole, loss);
    let outputs = [COUNTS, LEAST].map(|name| Role::Named(name.into())).to_vec();
    let defaults = loss.defaults.clone();
    let inputs = kept.into_iter().map(|k| loss.inputs[k].clone()).collect();
    Entry { name: "count".into(), function: p.add(function), inputs, outputs, guards: loss.guards.clone(), defaults }
}

/// A function without the parameters that are weights, which none of its results depends on, and which parameters stay.
fn without_weights(f: Function, loss: &Entry) -> (Function, Vec<usize>) {
    let kept: Vec<usize> = (0..f.params.len()).filter(|k| is_given(&loss.inputs[*k])).collect();
    let mut b = Builder::new(f.name.clone());
    let mut map: std::collections::BTreeMap<Value, Value> = std::collections::BTreeMap::new();
    for k in &kept {
        let Param { name, ty } = f.params[*k].clone();
        map.insert(Value { node: *k as u32, port: 0 }, b.param(name, ty));
    }
    let live = f.live();
    for (i, n) in f.nodes.iter().enumerate().skip(f.params.len()).filter(|(i, _)| live[*i]) {
        let args = n.args.iter().map(|a| map[a]).collect();
        b.origin = n.origin.clone();
        let made = b.many(n.op.clone(), args, n.tys.clone());
        map.extend(made.into_iter().map(|v| (Value { node: i as u32, port: v.port }, v)));
    }
    let results = f.results.iter().map(|v| map[v]).collect();
    (b.finish(results), kept)
}

fn is_given(role: &Role) -> bool {
    matches!(role, Role::Named(_) | Role::Index(..) | Role::Narrow(..))
}

/// The dynamic sizes that rows are counted by: the first axes of what a batch gives.
fn rows(f: &Function, loss: &Entry) -> Vec<u16> {
    let inputs = f.params.iter().zip(&loss.inputs).filter(|(_, role)| is_given(role)).map(|(param, _)| param);
    inputs.filter_map(|p| p.ty.shape.first()).flat_map(|s| s.dims()).collect()
}

/// Whether something holds a number for each pair of rows of a batch, such as their products: rows of other micro-batches
/// are then missing from it.
fn pairs_rows(f: &Function, loss: &Entry) -> bool {
    let inputs = f.params.iter().zip(&loss.inputs).filter(|(_, role)| is_given(role)).map(|(param, _)| param);
    let rows: Vec<&Size> = inputs.filter_map(|p| p.ty.shape.first()).filter(|s| s.known().is_none()).collect();
    let pairs = |shape: &[Size]| rows.iter().any(|rows| shape.iter().filter(|s| s == rows).count() > 1);
    let live = f.live();
    f.nodes.iter().zip(live).any(|(n, live)| live && n.tys.iter().any(|ty| pairs(&ty.shape)))
}

/// Takes a loss apart into terms.
struct Walk<'a> {
    f: &'a Function,
    /// For each node, whether no weight has a part in it.
    free: Vec<bool>,
    /// For each node, whether no row of a batch has a part in it.
    once: Vec<bool>,
    terms: Vec<Term>,
}

impl Walk<'_> {
    fn new<'a>(f: &'a Function, loss: &Entry) -> Walk<'a> {
        let (mut free, mut once) = (Vec::with_capacity(f.nodes.len()), Vec::with_capacity(f.nodes.len()));
        for n in &f.nodes {
            let role = if let Op::Param(i) = n.op { Some(&loss.inputs[i as usize]) } else { None };
            let is_weight = matches!(role, Some(Role::Weight(_)));
            let dynamic =
                matches!(&n.op, Op::Host(h) if counts_rows(h)) || n.tys.iter().any(|t| t.len().known().is_none());
            let all = |of: &[bool]| n.args.iter().all(|a| of[a.node as usize]);
            let (own_free, own_once) =
                (!is_weight && all(&free), !role.is_some_and(is_given) && !dynamic && all(&once));
            free.push(own_free);
            once.push(own_once);
        }
        Walk { f, free, once, terms: Vec::new() }
    }

    /// Takes a part of the loss, times some factors, apart.
    fn term(&mut self, v: Value, factors: &[Factor]) {
        let f = self.f;
        let n = f.node(v);
        let with = |factor: Factor| factors.iter().copied().chain([factor]).collect::<Vec<_>>();
        let whole = |kind| Term { sum: v, factors: factors.to_vec(), over: None, kind };
        if self.once[v.node as usize] {
            return self.terms.push(whole(Kind::Once));
        }
        match (&n.op, n.args.as_slice()) {
            (Op::Map(Prim::Add), [a, b]) => {
                self.term(*a, factors);
                self.term(*b, factors);
            }
            (Op::Map(Prim::Sub), [a, b]) => {
                self.term(*a, factors);
                self.term(*b, &with(Factor::Number(-1.0)));
            }
            (Op::Map(Prim::Neg), [a]) => self.term(*a, &with(Factor::Number(-1.0))),
            (Op::Map(Prim::Mul), [a, b]) if self.is_factor(*a) => self.term(*b, &with(Factor::Value(*a))),
            (Op::Map(Prim::Mul), [a, b]) if self.is_factor(*b) => self.term(*a, &with(Factor::Value(*b))),
            (Op::Map(Prim::Div), [a, b]) => match constant(f, *b) {
                Some(k) => self.term(*a, &with(Factor::Number(1.0 / k))),
                None if !self.quotient(*a, *b, factors) => self.terms.push(whole(Kind::Mean)),
                None => {}
            },
            (Op::Reduce(ReduceOp::Sum, _), _) if n.tys[0].rank() == 0 => self.terms.push(whole(Kind::Sum)),
            (Op::Map(Prim::Cast(DType::F32)), [a]) if f.ty(*a).dtype.is_float() => self.term(*a, factors),
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
            ) => self.terms.push(whole(Kind::Mean)),
        }
    }

    /// Takes a / b apart; false where that cannot be done.
    fn quotient(&mut self, a: Value, b: Value, factors: &[Factor]) -> bool {
        let f = self.f;
        let over = match (&f.node(b).op, f.node(b).args.as_slice()) {
            (Op::Map(Prim::Max), [d, c]) if constant(f, *c).is_some() => (*d, constant(f, *c)),
            (Op::Map(Prim::Max), [c, d]) if constant(f, *c).is_some() => (*d, constant(f, *c)),
            _ => (b, None),
        };
        if !self.free[b.node as usize] || !additive(f, over.0) {
            return false;
        }
        let first = self.terms.len();
        self.term(a, factors);
        // Only a plain sum can be divided once more.
        let inner = &mut self.terms[first..];
        if inner.iter().any(|t| t.over.is_some() || t.kind == Kind::Mean) {
            self.terms.truncate(first);
            return false;
        }
        inner.iter_mut().for_each(|t| t.over = Some(over));
        true
    }

    /// Whether a number is the same for all micro-batches, or the host's.
    fn is_factor(&self, v: Value) -> bool {
        let known = matches!(&self.f.node(v).op, Op::Const(_) | Op::Host(_));
        self.f.ty(v).rank() == 0 && (known || self.once[v.node as usize])
    }
}

/// Whether a number of the host speaks of a dynamic size.
fn counts_rows(host: &Host) -> bool {
    match host {
        Host::Const(_) | Host::Var(_) => false,
        Host::Size(s) => s.known().is_none(),
        Host::Prim(_, parts) | Host::Row(_, parts) | Host::Segment(parts) => parts.iter().any(counts_rows),
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

/// By which counts a term is divided, each with the number of times that it goes into the term's own.
fn divided(f: &Function, t: &Term, counts: &mut Vec<Count>) -> Vec<(usize, f64)> {
    let mut all = Vec::new();
    if let Some((d, least)) = t.over {
        all.push(place(f, Count::Rows(d, least), counts));
    }
    match t.kind {
        Kind::Once | Kind::Mean => all.push(place(f, Count::Batches, counts)),
        Kind::Sum if all.is_empty() => all.push(place(f, Count::One, counts)),
        Kind::Sum => {}
    }
    all
}

/// The number of a count, and how many times it goes into that one; a new one gets a number.
fn place(f: &Function, count: Count, counts: &mut Vec<Count>) -> (usize, f64) {
    let known = counts.iter().enumerate().find_map(|(k, of)| match (count, *of) {
        (Count::Rows(d, None), Count::Rows(of, None)) => Some((k, ratio(f, d, of)?)),
        (a, b) => (a == b).then_some((k, 1.0)),
    });
    known.unwrap_or_else(|| {
        counts.push(count);
        (counts.len() - 1, 1.0)
    })
}

/// The sum of all terms, each times its share.
fn weighed(b: &mut Builder, terms: &[Term], divided: &[Vec<(usize, f64)>], shares: Value) -> Value {
    let mut sum: Option<Value> = None;
    for (t, over) in terms.iter().zip(divided) {
        // The parameter is new, and all nodes after it have moved.
        let moved = |v: Value| if v.node >= shares.node { Value { node: v.node + 1, ..v } } else { v };
        let mut v = b.cast(moved(t.sum), DType::F32);
        let mut number: f64 = over.iter().map(|(_, ratio)| 1.0 / ratio).product();
        for factor in &t.factors {
            match factor {
                Factor::Number(x) => number *= x,
                Factor::Value(x) => {
                    let x = b.cast(moved(*x), DType::F32);
                    v = b.map(Prim::Mul, &[v, x]);
                }
            }
        }
        if number != 1.0 {
            v = b.with_number(Prim::Mul, v, number);
        }
        for (k, _) in over {
            let share = b.element(shares, 1, *k);
            v = b.map(Prim::Mul, &[v, share]);
        }
        sum = Some(match sum {
            Some(sum) => b.map(Prim::Add, &[sum, v]),
            None => v,
        });
    }
    sum.expect("a loss has a term at least")
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
