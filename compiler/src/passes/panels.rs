//! Functions that are marked to be run in panels become the panels themselves: a body over some rows at one point of the
//! other cuts. Takes a program whose marked functions are calls, and call nothing themselves; leaves no marked function.
//!
//! In the body, cut axes have the panel's extent; parameters are slices of the whole ones, and so are indices and random
//! numbers, which are therefore the same as everywhere else. What sums over a cut gives a part of a sum in the body. What is
//! made of such sums is computed after the panels, and so are sums over points that need not wait for each other.

use super::axes::{self, Seen, Tag, Tags};
use super::rewrite::{copy, rebuild, splice, take};
use crate::program::build::Builder;
use crate::program::{Cut, FnId, Function, Node, Note, Op, Panels, Program, ReduceOp, Ty, Value};
use dlc_plan::{Prim, Size};
use std::collections::BTreeMap;

/// Makes panels of all calls of marked functions.
pub(super) fn run(p: &mut Program) {
    let marked = |p: &Program, op: &Op| match op {
        Op::Call(g) => p.function(*g).cut.is_some().then_some(*g),
        _ => None,
    };
    let first = p.dims.len();
    let mut made: BTreeMap<FnId, Option<Cutting>> = BTreeMap::new();
    for id in 0..p.functions.len() {
        let calls: Vec<FnId> = p.functions[id].nodes.iter().filter_map(|n| marked(p, &n.op)).collect();
        for g in &calls {
            if !made.contains_key(g) {
                let cutting = Cutting::new(p, *g, first as u16);
                made.insert(*g, cutting);
            }
        }
        if calls.is_empty() {
            continue;
        }
        let f = take(p, FnId(id as u32));
        p.functions[id] = rebuild(f, &mut |b, _, n, args| match marked(p, &n.op) {
            Some(g) => match &made[&g] {
                Some(cutting) => cutting.node(p.function(g), b, &args),
                None => splice(b, p.function(g), &args, &n.origin.member),
            },
            None => copy(b, n, args),
        });
    }
    let cuts = made.values().flatten().map(|c| c.panels.cuts.len()).max().unwrap_or(0);
    // Names that no size of a spec can have.
    for at in 0..if cuts == 0 { 0 } else { cuts + 1 } {
        let name = match at {
            0 => "panel.rows".to_string(),
            1 => "panel.row".to_string(),
            n => format!("panel.{}", n - 1),
        };
        p.dims.push(name);
    }
    super::drop::sweep(p);
}

/// A marked function as panels: the node, and what is done with its results.
struct Cutting {
    panels: Panels,
    /// What the panels are called with: parameters of the function.
    args: Vec<usize>,
    /// The values that they give, each with the tags of its axes.
    given: Vec<(Value, Tags)>,
    tys: Vec<Ty>,
}

/// What is known of a marked function's values.
struct Facts {
    /// The tags of each node; none for what is made of sums over cuts.
    tags: Vec<Option<Tags>>,
    /// Whether a node sums over a cut.
    sums: Vec<bool>,
}

impl Facts {
    fn new(p: &Program, g: &Function, cut: &Cut) -> Result<Facts, &'static str> {
        let mut facts = Facts { tags: Vec::new(), sums: Vec::new() };
        for n in &g.nodes {
            let mut seen = Seen::default();
            let tags = match n.op {
                Op::Param(i) => {
                    let tag = |c: &Option<u8>| c.map_or(Tag::Whole, Tag::Cut);
                    Some(cut.params[i as usize].iter().map(tag).collect())
                }
                _ => {
                    let arg = |a: &Value| facts.tags[a.node as usize].clone().filter(|_| !facts.sums[a.node as usize]);
                    let args: Option<Vec<Tags>> = n.args.iter().map(arg).collect();
                    match args {
                        Some(args) => axes::results(p, n, &args, &mut seen)?.into_iter().next(),
                        None => None,
                    }
                }
            };
            if seen.cut_fold {
                return Err("it folds over the rows, not only along them");
            }
            facts.tags.push(tags);
            facts.sums.push(seen.cut_sum);
        }
        Ok(facts)
    }

    /// The tags of a value that the panels give: something cut, or a sum over a cut.
    fn given(&self, v: Value) -> Option<Tags> {
        let tags = axes::settled(self.tags[v.node as usize].as_ref()?);
        (self.sums[v.node as usize] || tags.iter().any(|t| *t != Tag::Whole)).then_some(tags)
    }

    /// What is asked of a node's arguments.
    fn asks(&self, n: &Node, tags: &[Tag]) -> Vec<Tags> {
        let known = |a: &Value| self.tags[a.node as usize].clone().expect("only sums have no tags, and they are given");
        let args: Vec<Tags> = n.args.iter().map(known).collect();
        (0..n.args.len()).map(|k| axes::argument(n, k, tags, &args)).collect()
    }
}

impl Cutting {
    /// The panels of a function, if it can be cut; a note says why if not.
    fn new(p: &mut Program, id: FnId, first: u16) -> Option<Cutting> {
        let g = p.function(id).clone();
        let cut = g.cut.clone()?;
        match Cutting::of(p, &g, &cut, first) {
            Ok(cutting) => Some(cutting),
            Err(why) => {
                let span = g.nodes.last().map(|n| n.origin.span).unwrap_or_default();
                p.notes.push(Note { span, text: format!("{}: not run in panels: {why}", g.name) });
                None
            }
        }
    }

    fn of(p: &mut Program, g: &Function, cut: &Cut, first: u16) -> Result<Cutting, &'static str> {
        let facts = Facts::new(p, g, cut)?;
        let mut given = Vec::new();
        for v in &g.results {
            collect(g, &facts, *v, &mut given);
        }
        let stray = |v: &Value| !facts.sums[v.node as usize] && !g.results.contains(v);
        if given.iter().any(|(v, tags)| stray(v) && tags.contains(&Tag::Cut(0))) {
            return Err("something wide is needed after all rows");
        }
        let (serial, results) = leads(&given, cut.extents.len() as u8);
        let cuts = cut.extents.clone();
        let panels = Panels { body: FnId(0), cuts, serial, width: cut.width.clone(), first, results };
        let mut c = Body {
            g,
            facts: &facts,
            panels: &panels,
            params: Vec::new(),
            made: BTreeMap::new(),
            b: Builder::new(g.name.clone()),
        };
        let body = c.function(&given)?;
        let args = c.params.iter().map(|(i, _)| *i as usize).collect();
        let tys = panels.result_tys(&body.result_tys());
        let body = p.add(body);
        Ok(Cutting { panels: Panels { body, ..panels }, args, given, tys })
    }

    /// The panels in the place of a call; gives what the call gave.
    fn node(&self, g: &Function, b: &mut Builder, args: &[Value]) -> Vec<Value> {
        let given: Vec<Value> = self.args.iter().map(|i| args[*i]).collect();
        let results = b.many(Op::Panels(Box::new(self.panels.clone())), given, self.tys.clone());
        let mut done: BTreeMap<Value, Value> = BTreeMap::new();
        for (k, (v, tags)) in self.given.iter().enumerate() {
            let whole = whole(b, results[k], tags, &self.panels.results[k]);
            done.insert(*v, whole);
        }
        g.results.iter().map(|v| after(g, b, args, &mut done, *v)).collect()
    }
}

/// Adds what of a value comes from the panels.
fn collect(g: &Function, facts: &Facts, v: Value, given: &mut Vec<(Value, Tags)>) {
    if matches!(g.node(v).op, Op::Param(_)) || given.iter().any(|(x, _)| *x == v) {
        return;
    }
    match facts.given(v) {
        Some(tags) => given.push((v, tags)),
        None => g.node(v).args.iter().for_each(|a| collect(g, facts, *a, given)),
    }
}

/// Which cuts are gone through in order, and which cuts the first axes of each result are. A sum over the rows goes from
/// panel to panel. A sum over points has an axis for them, and is finished later; but where it has rows it is as large as
/// what is wide, so there the points come one after the other too.
fn leads(given: &[(Value, Tags)], cuts: u8) -> (Vec<bool>, Vec<Vec<u8>>) {
    let has = |tags: &Tags, c: u8| tags.contains(&Tag::Cut(c));
    let waits = |c: u8| given.iter().any(|(_, tags)| !has(tags, c) && (c == 0 || has(tags, 0)));
    let serial: Vec<bool> = (0..cuts).map(waits).collect();
    let lead = |tags: &Tags| {
        let own = |c: &u8| has(tags, *c) || !serial[usize::from(*c)];
        (1..cuts).chain([0]).filter(own).collect()
    };
    let results = given.iter().map(|(_, tags)| lead(tags)).collect();
    (serial, results)
}

/// A result of the panels, as the function gave it: axes that are not its own are summed, the others put in order.
fn whole(b: &mut Builder, v: Value, tags: &Tags, lead: &[u8]) -> Value {
    let own = |c: &u8| tags.contains(&Tag::Cut(*c));
    let extra: Vec<usize> = (0..lead.len()).filter(|i| !own(&lead[*i])).collect();
    let v = b.reduce(ReduceOp::Sum, v, &extra);
    let lead: Vec<u8> = lead.iter().copied().filter(own).collect();
    let mut rest = lead.len()..;
    let place = |t: &Tag| match t {
        Tag::Cut(c) => lead.iter().position(|l| l == c).expect("every cut of a result leads it"),
        Tag::Free | Tag::Whole => rest.next().expect("axes go on"),
    };
    let order: Vec<usize> = tags.iter().map(place).collect();
    b.permute(v, &order)
}

/// A value that is computed after the panels.
fn after(g: &Function, b: &mut Builder, args: &[Value], done: &mut BTreeMap<Value, Value>, v: Value) -> Value {
    if let Some(v) = done.get(&v) {
        return *v;
    }
    let n = g.node(v);
    let made = match n.op {
        Op::Param(i) => args[i as usize],
        _ => {
            let own: Vec<Value> = n.args.iter().map(|a| after(g, b, args, done, *a)).collect();
            copy(b, n.clone(), own)[v.port as usize]
        }
    };
    done.insert(v, made);
    made
}

/// The body in the making.
struct Body<'a> {
    g: &'a Function,
    facts: &'a Facts,
    panels: &'a Panels,
    params: Vec<(u32, Tags)>,
    made: BTreeMap<(Value, Tags), Value>,
    b: Builder,
}

impl Body<'_> {
    fn function(&mut self, given: &[(Value, Tags)]) -> Result<Function, &'static str> {
        for (v, tags) in given {
            self.visit(*v, tags)?;
        }
        for (i, _) in self.params.clone() {
            let q = &self.g.params[i as usize];
            self.b.param(q.name.clone(), q.ty.clone());
        }
        let sums = self.panels.sums();
        let mut before = Vec::new();
        for k in &sums {
            let (v, tags) = &given[*k];
            let ty = self.piece_ty(self.g.ty(*v), tags, &self.panels.results[*k]);
            before.push(self.b.param(format!("sum{k}"), ty));
        }
        let mut before = before.into_iter();
        let mut gives = Vec::new();
        for (k, (v, tags)) in given.iter().enumerate() {
            let sum = sums.contains(&k).then(|| before.next()).flatten();
            gives.push(self.piece(*v, tags, &self.panels.results[k], sum));
        }
        Ok(std::mem::take(&mut self.b).finish(gives))
    }

    /// The type of a value in the panel.
    fn ty(&self, ty: &Ty, tags: &[Tag]) -> Ty {
        let extent = |(s, t): (&Size, &Tag)| match t {
            Tag::Cut(c) => self.panels.piece_extent(*c),
            Tag::Free | Tag::Whole => s.clone(),
        };
        Ty { dtype: ty.dtype, shape: ty.shape.iter().zip(tags).map(extent).collect() }
    }

    fn piece_ty(&self, ty: &Ty, tags: &Tags, lead: &[u8]) -> Ty {
        let mut shape: Vec<Size> = lead.iter().map(|c| self.panels.piece_extent(*c)).collect();
        shape.extend(ty.shape.iter().zip(tags).filter(|(_, t)| **t == Tag::Whole).map(|(s, _)| s.clone()));
        Ty { dtype: ty.dtype, shape }
    }

    /// Collects the parameters that a value needs.
    fn visit(&mut self, v: Value, tags: &Tags) -> Result<(), &'static str> {
        let n = self.g.node(v);
        if let Op::Param(i) = n.op {
            if !self.params.contains(&(i, tags.clone())) {
                self.params.push((i, tags.clone()));
            }
            return Ok(());
        }
        // Random bits are numbered by rows and, sixteen at a time, by columns, which cannot begin anywhere.
        if n.op == Op::Random && tags.len() > 1 && tags.last() != Some(&Tag::Whole) {
            return Err("random numbers are drawn across its rows");
        }
        for (a, tags) in n.args.iter().zip(self.facts.asks(n, tags)) {
            self.visit(*a, &tags)?;
        }
        Ok(())
    }

    /// A value in the panel.
    fn value(&mut self, v: Value, tags: &Tags) -> Value {
        let key = (v, tags.clone());
        if let Some(v) = self.made.get(&key) {
            return *v;
        }
        let n = self.g.node(v);
        self.b.origin = n.origin.clone();
        let made = match n.op {
            Op::Param(i) => {
                let at =
                    self.params.iter().position(|q| *q == (i, tags.clone())).expect("its parameters were collected");
                self.sliced(Value { node: at as u32, port: 0 }, tags)
            }
            Op::Iota(_) | Op::Random => {
                let args = n.args.iter().map(|a| self.value(*a, &Vec::new())).collect();
                let whole = self.b.node(n.op.clone(), args, n.tys[0].clone());
                self.sliced(whole, tags)
            }
            _ => {
                let asks = self.facts.asks(n, tags);
                let args: Vec<Value> = n.args.iter().zip(asks).map(|(a, tags)| self.value(*a, &tags)).collect();
                self.b.origin = n.origin.clone();
                let ty = self.ty(&n.tys[0], tags);
                self.b.node(n.op.clone(), args, ty)
            }
        };
        self.made.insert(key, made);
        made
    }

    fn sliced(&mut self, v: Value, tags: &Tags) -> Value {
        let mut v = v;
        for (axis, tag) in tags.iter().enumerate() {
            if let Tag::Cut(c) = tag {
                v = self.b.slice(v, axis, self.panels.index(*c), 1, self.panels.piece_extent(*c));
            }
        }
        v
    }

    /// A result: the cuts first, then the other axes; added to the sum so far, if it is a sum.
    fn piece(&mut self, v: Value, tags: &Tags, lead: &[u8], sum: Option<Value>) -> Value {
        let own: Vec<u8> = lead.iter().copied().filter(|c| tags.contains(&Tag::Cut(*c))).collect();
        let of = |c: &u8| tags.iter().position(|t| *t == Tag::Cut(*c)).expect("it is one of its tags");
        let rest = (0..tags.len()).filter(|k| tags[*k] == Tag::Whole);
        let order: Vec<usize> = own.iter().map(of).chain(rest).collect();
        let n = self.g.node(v);
        let mut part = match &n.op {
            // A contraction gives its axes in any order.
            Op::Contract(c) => {
                let asks = self.facts.asks(n, tags);
                let args: Vec<Value> = n.args.iter().zip(asks).map(|(a, tags)| self.value(*a, &tags)).collect();
                self.b.origin = n.origin.clone();
                let out: Vec<u8> = order.iter().map(|k| c.out[*k]).collect();
                self.b.contract(args[0], args[1], &c.a, &c.b, &out)
            }
            _ => {
                let part = self.value(v, tags);
                self.b.permute(part, &order)
            }
        };
        let missing: Vec<usize> = (0..lead.len()).filter(|i| !own.contains(&lead[*i])).collect();
        if let Some(mut before) = sum {
            for axis in missing.iter().rev() {
                before = self.b.split(before, *axis, &[]);
            }
            part = self.b.map(Prim::Add, &[before, part]);
        }
        for axis in missing {
            part = self.b.merge(part, axis, 0);
        }
        part
    }
}
