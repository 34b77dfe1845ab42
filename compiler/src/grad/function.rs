//! The gradient of one function from its nodes: the forward function is a copy whose calls and loops give what their own
//! gradients keep; the backward function goes over the nodes in reverse and adds up cotangents.

use super::flow::{self, PerValue};
use super::ranges::{self, Range};
use super::repeat::Loop;
use super::{Gradient, Made, Request, Residual, keep, ops};
use crate::program::build::Builder;
use crate::program::{Cut, Function, Node, Op, Program, Ty, Value};
use dlc_plan::{DType, Prim};
use std::collections::{BTreeMap, BTreeSet};

/// The gradient of what a node runs.
pub(super) enum Inner {
    /// Of the function that is called, and which of its results have cotangents.
    Call(Gradient, Vec<usize>),
    /// Of the loop.
    Loop(Box<Loop>),
}

/// The backward function in the making. Its nodes are made before it is known what is kept, so a forward value that is
/// needed stands in it as a parameter without a number until [`Back::finish`].
pub(super) struct Back<'a> {
    pub p: &'a mut Program,
    /// The forward function, whose values are differentiated.
    pub forward: &'a Function,
    /// The nodes so far.
    pub b: Builder,
    /// The node being differentiated.
    pub at: usize,
    /// For each node, for each argument, whether a zero of the cotangent stays zero whatever the slope is.
    sinks: Vec<Vec<bool>>,
    needed: BTreeMap<Value, Value>,
    cotangents: BTreeMap<Value, Value>,
    active: BTreeSet<Value>,
}

/// A parameter that has no number yet.
const OPEN: Op = Op::Param(u32::MAX);

pub(super) fn gradient(made: &mut Made, p: &mut Program, request: &Request) -> Gradient {
    let f = p.function(request.function).clone();
    let active = flow::active(&mut made.flows, p, &f, &request.wanted);
    let reached = flow::reached(&mut made.flows, p, &f, &request.seeds);
    let ranges = made.masks.ranges.through(p, &f, &request.wild);
    let masked = made.masks.through(p, &f, &request.masked, &ranges);
    let (mut forward, inner, port) = forward(made, p, &f, [&active, &reached, &masked], &ranges);
    let named = |n: usize, v: u32| Value { node: n as u32, port: port(n, v as usize) };
    let flat = |all: &PerValue| -> BTreeSet<Value> {
        let values = all.iter().enumerate().flat_map(|(n, ports)| (0..ports.len() as u32).map(move |v| (n, v)));
        values.filter(|(n, v)| all[*n][*v as usize]).map(|(n, v)| named(n, v)).collect()
    };
    let mut back = Back {
        p,
        forward: &forward,
        b: Builder::new(format!("{}.backward", f.name)),
        at: 0,
        sinks: ranges::sinks(&f, &ranges, &masked),
        needed: BTreeMap::new(),
        cotangents: BTreeMap::new(),
        active: flat(&active),
    };
    let mut incoming = Vec::new();
    for (v, seeded) in forward.results.iter().zip(&request.seeds) {
        if *seeded {
            let dy = back.b.push(OPEN, Vec::new(), vec![forward.ty(*v).clone()]);
            incoming.push(dy);
            back.add(*v, dy);
        }
    }
    for at in (f.params.len()..forward.nodes.len()).rev() {
        back.at = at;
        ops::node(&mut back, &inner[at]);
    }
    let wanted = (0..f.params.len()).filter(|i| request.wanted[*i]);
    let found: Vec<_> = wanted.map(|i| (i, back.cotangents.get(&Value { node: i as u32, port: 0 }).copied())).collect();
    let scratch = back.b.finish(found.iter().filter_map(|(_, v)| *v).collect());
    let live = scratch.live();
    let needed: BTreeMap<Value, Value> = back.needed.into_iter().filter(|(_, open)| live[open.node as usize]).collect();
    let kept = match f.cut {
        // What is run in panels is never there as a whole, so it is all computed again.
        Some(_) => keep::params(&forward, needed.keys().copied()),
        None => keep::choose(&forward, needed.keys().copied(), request.free_from),
    };
    let (mut backward, cotangents) = finish(&forward, &scratch, &needed, &kept, &incoming, &found);
    let residuals = residuals(&f, &mut forward, kept);
    if let Some(cut) = &f.cut {
        backward.cut = cut_backward(p, &f, cut, &residuals, &request.seeds);
        let backward = p.add(backward);
        return Gradient { forward: request.function, backward, residuals, cotangents };
    }
    let changed = inner.iter().any(Option::is_some) || residuals.iter().any(|r| matches!(r, Residual::Kept(_)));
    let backward = p.add(backward);
    let forward = if changed { p.add(forward) } else { request.function };
    Gradient { forward, backward, residuals, cotangents }
}

/// How the backward function of one that is run in panels is cut: as its parameters and results are.
fn cut_backward(p: &Program, f: &Function, cut: &Cut, residuals: &[Residual], seeds: &[bool]) -> Option<Cut> {
    let results = crate::passes::result_cuts(p, f, cut)?;
    let param = |r: &Residual| if let Residual::Param(i) = r { Some(cut.params[*i].clone()) } else { None };
    let mut params: Vec<_> = residuals.iter().map(param).collect::<Option<_>>()?;
    params.extend(results.into_iter().zip(seeds).filter(|(_, seeded)| **seeded).map(|(r, _)| r));
    Some(Cut { params, ..cut.clone() })
}

/// The forward function, the gradients of its calls and loops, and where a node's result is in it.
fn forward(
    made: &mut Made,
    p: &mut Program,
    f: &Function,
    [active, reached, masked]: [&PerValue; 3],
    ranges: &[Vec<Range>],
) -> (Function, Vec<Option<Inner>>, impl Fn(usize, usize) -> u32 + use<>) {
    let mut forward = Function { name: format!("{}.forward", f.name), derivative: None, cut: None, ..f.clone() };
    let mut inner: Vec<Option<Inner>> = Vec::new();
    // Where a node's row results begin, and how many stacks have been put before them.
    let mut moved: BTreeMap<usize, (usize, usize)> = BTreeMap::new();
    for (i, n) in f.nodes.iter().enumerate() {
        let mut node = n.clone();
        for a in &mut node.args {
            *a = shifted(&moved, *a);
        }
        let live: Vec<bool> = active[i].iter().zip(&reached[i]).map(|(a, r)| *a && *r).collect();
        let given: Vec<bool> = n.args.iter().map(|a| active[a.node as usize][a.port as usize]).collect();
        let args = || n.args.iter().map(|a| ranges[a.node as usize][a.port as usize]).collect::<Vec<Range>>();
        inner.push(None);
        if live.contains(&true) {
            match &n.op {
                Op::Call(g) => {
                    let (free_from, seeded) = (n.args.len(), (0..live.len()).filter(|i| live[*i]).collect());
                    let (masked, wild) = (masked[i].clone(), ranges::wild_args(p, *g, &args()));
                    let request = Request { function: *g, wanted: given, seeds: live, masked, wild, free_from };
                    let g = made.gradient(p, request);
                    node.op = Op::Call(g.forward);
                    node.tys = p.function(g.forward).result_tys();
                    inner[i] = Some(Inner::Call(g, seeded));
                }
                Op::Repeat(r) => {
                    let g = Loop::new(
                        made,
                        p,
                        r,
                        [&given, &live, &masked[i], &args().iter().map(Range::wild).collect::<Vec<_>>()],
                    );
                    moved.insert(i, (r.carried + r.stacked, g.kept()));
                    node.op = Op::Repeat(g.forward.clone());
                    node.tys = g.forward.result_tys(&p.function(g.forward.body).result_tys());
                    inner[i] = Some(Inner::Loop(Box::new(g)));
                }
                Op::Param(_)
                | Op::Const(_)
                | Op::Table(_)
                | Op::Host(_)
                | Op::Map(_)
                | Op::Reduce(..)
                | Op::View(_) => {}
                Op::Contract(_)
                | Op::Gather
                | Op::Scatter
                | Op::Rows(_)
                | Op::Iota(_)
                | Op::Random
                | Op::Concat(_)
                | Op::Stop
                | Op::Within(_)
                | Op::Panels(_) => {}
            }
        }
        forward.nodes[i] = node;
    }
    for v in &mut forward.results {
        *v = shifted(&moved, *v);
    }
    let port = move |node: usize, port: usize| shifted(&moved, Value { node: node as u32, port: port as u32 }).port;
    (forward, inner, port)
}

fn shifted(moved: &BTreeMap<usize, (usize, usize)>, v: Value) -> Value {
    match moved.get(&(v.node as usize)) {
        Some((from, by)) if v.port as usize >= *from => Value { port: v.port + *by as u32, ..v },
        Some(_) | None => v,
    }
}

/// What is kept, by the cheapest name that it has; what has none becomes a further result of the forward function.
fn residuals(f: &Function, forward: &mut Function, kept: BTreeSet<Value>) -> Vec<Residual> {
    let mut residuals = Vec::new();
    for v in kept {
        residuals.push(match forward.results.iter().position(|r| *r == v) {
            _ if (v.node as usize) < f.params.len() => Residual::Param(v.node as usize),
            Some(j) if j < f.results.len() => Residual::Result(j),
            Some(_) | None => {
                forward.results.push(v);
                Residual::Kept(forward.results.len() - 1 - f.results.len())
            }
        });
    }
    residuals
}

/// A cotangent for each wanted parameter: its place among the parameters, and the value or result, if it is not zero.
type PerWanted<T> = Vec<(usize, Option<T>)>;

/// Gives the nodes their parameters: what is kept, then the cotangents; what is not kept is computed again, where it is
/// first used.
fn finish(
    forward: &Function,
    scratch: &Function,
    needed: &BTreeMap<Value, Value>,
    kept: &BTreeSet<Value>,
    incoming: &[Value],
    found: &PerWanted<Value>,
) -> (Function, PerWanted<usize>) {
    let live = scratch.live();
    let mut b = Builder::new(scratch.name.clone());
    let mut again: BTreeMap<Value, Value> = BTreeMap::new();
    for v in kept {
        let param = forward.params.get(v.node as usize).map(|q| q.name.clone());
        let name = param.unwrap_or_else(|| format!("kept{}", again.len()));
        again.insert(*v, b.param(name, forward.ty(*v).clone()));
    }
    let mut map: BTreeMap<Value, Value> = BTreeMap::new();
    for (k, dy) in incoming.iter().enumerate() {
        map.insert(*dy, b.param(format!("dy{k}"), scratch.ty(*dy).clone()));
    }
    let stands_for: BTreeMap<Value, Value> = needed.iter().map(|(v, open)| (*open, *v)).collect();
    for (i, n) in scratch.nodes.iter().enumerate().filter(|(i, _)| live[*i]) {
        let own = Value { node: i as u32, port: 0 };
        if let Some(v) = stands_for.get(&own) {
            map.insert(own, recompute(&mut b, forward, &mut again, *v));
        } else if n.op != OPEN {
            let args = n.args.iter().map(|a| map[a]).collect();
            b.origin = n.origin.clone();
            let results = b.many(n.op.clone(), args, n.tys.clone());
            map.extend(results.into_iter().map(|v| (Value { node: i as u32, port: v.port }, v)));
        }
    }
    let mut gives = Vec::new();
    let mut place = |v: &Value| {
        gives.push(map[v]);
        gives.len() - 1
    };
    let cotangents = found.iter().map(|(i, v)| (*i, v.as_ref().map(&mut place))).collect();
    (b.finish(gives), cotangents)
}

/// Makes a forward value again from what is kept.
fn recompute(b: &mut Builder, forward: &Function, again: &mut BTreeMap<Value, Value>, v: Value) -> Value {
    if let Some(done) = again.get(&v) {
        return *done;
    }
    let n: &Node = forward.node(v);
    let args = n.args.iter().map(|a| recompute(b, forward, again, *a)).collect();
    b.origin = n.origin.clone();
    let made = match &n.tys[..] {
        [one] => vec![b.node(n.op.clone(), args, one.clone())],
        many => b.many(n.op.clone(), args, many.to_vec()),
    };
    again.extend(made.iter().enumerate().map(|(port, made)| (Value { port: port as u32, ..v }, *made)));
    made[v.port as usize]
}

impl Back<'_> {
    fn node(&self) -> &Node {
        &self.forward.nodes[self.at]
    }

    /// A forward value.
    pub fn need(&mut self, v: Value) -> Value {
        if let Some(open) = self.needed.get(&v) {
            return *open;
        }
        let open = self.b.push(OPEN, Vec::new(), vec![self.forward.ty(v).clone()]);
        self.needed.insert(v, open);
        open
    }

    /// The operand `k` of the node being differentiated.
    pub fn x(&mut self, k: usize) -> Value {
        self.need(self.node().args[k])
    }

    /// The result of the node being differentiated.
    pub fn y(&mut self) -> Value {
        self.need(Value { node: self.at as u32, port: 0 })
    }

    /// The cotangent of operand `k`, from that of the result and what the slope made of it: a zero by choice stays zero.
    pub fn sunk(&mut self, k: usize, dy: Value, dx: Value) -> Value {
        if !self.sinks[self.at][k] {
            return dx;
        }
        let (chosen, zero) = (self.number(Prim::Eq, dy, 0.0), self.like(dx, 0.0));
        self.map(Prim::Where, &[chosen, zero, dx])
    }

    /// The number that operand `k` is everywhere, if it is one.
    pub fn known(&self, k: usize) -> Option<f64> {
        self.forward.known(self.node().args[k])
    }

    /// Whether the cotangent of a forward value is asked for.
    pub fn wants(&self, v: Value) -> bool {
        self.active.contains(&v)
    }

    /// The cotangent of a forward value, if it has one.
    pub fn cotangent(&self, v: Value) -> Option<Value> {
        self.cotangents.get(&v).copied()
    }

    /// The cotangent of a forward value, or zeros.
    pub fn cotangent_or_zeros(&mut self, v: Value) -> Value {
        match self.cotangent(v) {
            Some(dy) => dy,
            None => {
                let Ty { dtype, shape } = self.forward.ty(v).clone();
                self.b.full(dtype, 0.0, &shape)
            }
        }
    }

    /// Adds to the cotangent of a forward value, if it is asked for.
    pub fn add(&mut self, v: Value, dv: Value) {
        if !self.wants(v) {
            return;
        }
        let sum = match self.cotangents.get(&v) {
            Some(before) => self.b.map(Prim::Add, &[*before, dv]),
            None => dv,
        };
        self.cotangents.insert(v, sum);
    }

    /// A primitive of backward values.
    pub fn map(&mut self, prim: Prim, args: &[Value]) -> Value {
        self.b.map(prim, args)
    }

    /// A primitive of a backward value and a number.
    pub fn number(&mut self, prim: Prim, v: Value, x: f64) -> Value {
        self.b.with_number(prim, v, x)
    }

    /// A number, in the type of a backward value.
    pub fn like(&mut self, v: Value, x: f64) -> Value {
        let Ty { dtype, shape } = self.b.ty(v).clone();
        self.b.full(dtype, x, &shape)
    }

    /// The element type of a backward value.
    pub fn dtype(&self, v: Value) -> DType {
        self.b.ty(v).dtype
    }

    /// A backward value in the element type of the first operand.
    pub fn cast_like(&mut self, dy: Value) -> Value {
        let dtype = self.forward.ty(self.node().args[0]).dtype;
        self.b.cast(dy, dtype)
    }

    /// What a reduction over these axes of the first operand left, once for each element that it went over.
    pub fn spread(&mut self, v: Value, axes: &[usize]) -> Value {
        let shape = self.forward.ty(self.node().args[0]).shape.clone();
        let kept = (0..shape.len()).filter(|k| !axes.contains(k)).collect();
        self.b.broadcast(v, kept, &shape)
    }
}
