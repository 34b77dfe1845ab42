//! Takes a chain out of its function: what is between scores and weights, and what is computed inside besides, become the
//! nodes of a function that is marked to be run in panels. Takes the function and the chain; gives the new function, and
//! the values that it is called with.

use super::axes::{self, KEY, Tag, Tags, wide};
use super::recognise::Chain;
use super::rewrite::copy;
use crate::program::build::Builder;
use crate::program::{Cut, Function, Node, Op, Value, View};
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A value with the tags that are asked of it.
type Asked = (Value, Tags);

struct Outline<'a> {
    f: &'a Function,
    chain: &'a Chain,
    params: Vec<Asked>,
    /// What is asked of the arguments of each node that is inside.
    inside: BTreeMap<(u32, Tags), Vec<Tags>>,
}

/// The chain as a function, and what it is called with.
pub(super) fn outline(f: &Function, chain: &Chain) -> (Function, Vec<Value>) {
    let mut o = Outline { f, chain, params: Vec::new(), inside: BTreeMap::new() };
    let last = &f.nodes[chain.last as usize];
    let Op::Contract(c) = &last.op else { unreachable!("a chain ends in a contraction") };
    let weights = last.args[chain.side];
    let tags = axes::settled(&chain.spine[&weights.node][weights.port as usize]);
    let (own, other) = if chain.side == 0 { (&c.a, &c.b) } else { (&c.b, &c.a) };
    let shared = |l| own.iter().position(|x| x == l).map_or(Tag::Whole, |i| uncut_key(tags[i]));
    let values: Asked = (last.args[1 - chain.side], other.iter().map(shared).collect());
    let weights: Asked = (weights, tags);
    o.visit(&weights);
    o.visit(&values);
    let mut b = Builder::new(format!("{}.rows", f.name));
    let mut made: BTreeMap<Asked, Value> = BTreeMap::new();
    for asked in &o.params {
        let v = b.param(name(f, asked.0), f.ty(asked.0).clone());
        made.insert(asked.clone(), v);
    }
    let member = last.origin.member.clone();
    let w = o.build(&mut b, &mut made, &weights, &member);
    let v = o.build(&mut b, &mut made, &values, &member);
    b.origin = below(&member, last).origin;
    let mut args = [w, v];
    if chain.side == 1 {
        args.swap(0, 1);
    }
    let results = copy(&mut b, last.clone(), args.to_vec());
    let cut = |asked: &Asked| asked.1.iter().map(|t| if let Tag::Cut(c) = t { Some(*c) } else { None }).collect();
    let cut =
        Cut { params: o.params.iter().map(cut).collect(), extents: chain.extents.clone(), width: chain.width.clone() };
    let args = o.params.iter().map(|a| a.0).collect();
    (Function { cut: Some(cut), ..b.finish(results) }, args)
}

/// Keys matter between scores and weights only; a parameter's are not cut.
fn uncut_key(tag: Tag) -> Tag {
    if tag == Tag::Cut(KEY) { Tag::Whole } else { tag }
}

/// The name of a parameter, for people.
fn name(f: &Function, v: Value) -> String {
    match f.node(v).op {
        Op::Param(i) => f.params[i as usize].name.clone(),
        _ => format!("x{}", v.node),
    }
}

/// A node whose member is told from the chain's.
fn below(member: &Rc<str>, n: &Node) -> Node {
    let mut n = n.clone();
    let rest = n.origin.member.strip_prefix(&**member).map(|rest| rest.trim_start_matches('.').to_string());
    n.origin.member = rest.unwrap_or_default().into();
    n
}

impl Outline<'_> {
    /// Whether a value is computed inside.
    fn is_inside(&self, v: Value, tags: &[Tag]) -> bool {
        if self.chain.spine.contains_key(&v.node) {
            return true;
        }
        let n = self.f.node(v);
        match &n.op {
            Op::Const(_) | Op::Host(_) | Op::Iota(_) | Op::Random => true,
            // A view that leaves axes as they are costs nothing inside, where outside it might have to be copied.
            Op::View(View::Permute(_) | View::Broadcast(_)) => true,
            Op::View(View::Split { count: 0, .. } | View::Merge { count: 0, .. }) => true,
            Op::Map(_) | Op::View(_) | Op::Stop | Op::Within(_) | Op::Concat(_) => wide(tags) || self.needs_nothing(v),
            Op::Param(_) | Op::Table(_) | Op::Reduce(..) | Op::Contract(_) | Op::Gather | Op::Scatter => false,
            Op::Rows(_) | Op::Call(_) | Op::Repeat(_) | Op::Panels(_) => false,
        }
    }

    /// Whether a value is made of indices and constants alone.
    fn needs_nothing(&self, v: Value) -> bool {
        let mut open = vec![v];
        let mut seen = BTreeSet::new();
        while let Some(v) = open.pop() {
            if !seen.insert(v) {
                continue;
            }
            let n = self.f.node(v);
            match &n.op {
                Op::Const(_) | Op::Table(_) | Op::Host(_) | Op::Iota(_) => {}
                Op::Map(_) | Op::View(_) | Op::Stop | Op::Within(_) | Op::Concat(_) => open.extend(&n.args),
                Op::Param(_) | Op::Reduce(..) | Op::Contract(_) | Op::Gather | Op::Scatter | Op::Random => {
                    return false;
                }
                Op::Rows(_) | Op::Call(_) | Op::Repeat(_) | Op::Panels(_) => return false,
            }
        }
        true
    }

    fn param(&mut self, asked: &Asked) {
        let asked = (asked.0, asked.1.iter().map(|t| uncut_key(*t)).collect());
        if !self.params.contains(&asked) {
            self.params.push(asked);
        }
    }

    /// Notes what a value needs.
    fn visit(&mut self, asked: &Asked) {
        let (v, tags) = asked;
        if !self.is_inside(*v, tags) {
            return self.param(asked);
        }
        if self.inside.contains_key(&(v.node, tags.clone())) {
            return;
        }
        let n = self.f.node(*v);
        let known = |a: &Value| match self.chain.spine.get(&a.node) {
            Some(ports) => ports[a.port as usize].clone(),
            None => vec![Tag::Free; self.f.ty(*a).rank()],
        };
        let args: Vec<Tags> = n.args.iter().map(known).collect();
        let asks: Vec<Tags> = (0..n.args.len()).map(|k| axes::argument(n, k, tags, &args)).collect();
        self.inside.insert((v.node, tags.clone()), asks.clone());
        for (a, tags) in n.args.iter().zip(asks) {
            self.visit(&(*a, tags));
        }
    }

    fn build(&self, b: &mut Builder, made: &mut BTreeMap<Asked, Value>, asked: &Asked, member: &Rc<str>) -> Value {
        if let Some(v) = made.get(asked) {
            return *v;
        }
        let (v, tags) = asked;
        let Some(asks) = self.inside.get(&(v.node, tags.clone())) else {
            let plain: Asked = (*v, tags.iter().map(|t| uncut_key(*t)).collect());
            return made[&plain];
        };
        let n = self.f.node(*v);
        let args: Vec<Value> =
            n.args.iter().zip(asks).map(|(a, tags)| self.build(b, made, &(*a, tags.clone()), member)).collect();
        let n = below(member, n);
        b.origin = n.origin.clone();
        let results = copy(b, n, args);
        for (port, made_at) in results.iter().enumerate() {
            made.insert((Value { node: v.node, port: port as u32 }, tags.clone()), *made_at);
        }
        results[v.port as usize]
    }
}
