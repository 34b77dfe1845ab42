//! `repeat`: each iteration becomes a function, and consecutive iterations that are one function become one loop.
//!
//! What an iteration reads from around it is captured, what it rebinds are its results. Between two neighbours, a capture
//! that is the earlier one's result is carried, one that is the same value for both is invariant, and of those that differ
//! the loop takes a stack (weights, random sites) or, where there is none, a row of its table. While iterations are being collected, their results are pending:
//! stand-ins that only later iterations capture.

use super::Checker;
use super::again::Pattern;
use super::key;
use super::scope::{Kind, Scope, Var};
use super::stacks::finish;
use super::value::{Tensor, Val};
use crate::program::{FnId, Function, Node, Op, Repeat, Ty, Value};
use dlc_grammar::Span;
use dlc_grammar::ast::{Block, Expr, Ident};
use rustc_hash::{FxHashMap as HashMap, FxHashSet as HashSet};
use std::rc::Rc;

/// A loop that is being worked through.
pub(super) struct Loop {
    /// How many iterations it has.
    pub count: usize,
    /// How many come after the present one.
    pub left: usize,
    /// The loop variable.
    pub var: Option<Rc<str>>,
}

/// An iteration, worked through.
pub(super) struct Iteration {
    /// The function, which bears the name of the first iteration that it was made for.
    pub function: Rc<Function>,
    /// What it captures of the function around it, in the order of its parameters.
    pub captures: Vec<Value>,
    pub member: Rc<str>,
    /// The labels that it declares.
    pub labels: Vec<Rc<str>>,
    pub span: Span,
    /// Whether it gives states new values.
    pub stateful: bool,
}

/// Node numbers from here on are stand-ins for results of iterations, by iteration.
pub(super) const PENDING: u32 = 1 << 31;

/// What a parameter of a loop's body is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Part {
    /// The iteration before gave it, as this result.
    Carried(u32),
    Invariant,
    Row,
}

impl Checker {
    /// Works through a `repeat`.
    pub(super) fn repeat(
        &mut self,
        count: &Expr,
        var: Option<&Ident>,
        index: Option<&Ident>,
        body: &Block,
        sc: &Scope,
    ) {
        let Some(items) = self.loop_items(count, sc) else { return };
        let root = self.root();
        let number = root.repeats;
        root.repeats += 1;
        let mut iterations: Vec<Iteration> = Vec::new();
        let mut rebound: Vec<Var> = Vec::new();
        let before = self.failures;
        let total = items.len();
        let mut last: Option<Pattern> = None;
        self.loops.push(Loop { count: total, left: total, var: var.map(|v| v.text.as_str().into()) });
        for (i, item) in items.into_iter().enumerate() {
            self.loops.last_mut().expect("it was pushed above").left = total - i - 1;
            let inner = sc.child(Kind::Iteration);
            if let Some(var) = var {
                inner.define_item(&var.text, item, var.span);
            }
            if let Some(index) = index {
                inner.define_item(&index.text, Val::int(i as i64), index.span);
            }
            self.iterated(body.span);
            let name = format!("repeat{number}.{i}");
            let sites = self.within_frame(&name);
            let again = last.as_mut().and_then(|last| self.again(last, &mut iterations, sites, &inner));
            let changed = again.unwrap_or_else(|| {
                let (changed, pattern) = self.iterate(name, body, &inner, sc, &mut iterations);
                last = pattern;
                changed
            });
            if self.failures > before {
                self.loops.pop();
                return self.give_up(iterations, rebound, &inner, sc);
            }
            for v in changed {
                sc.set(&v.name, v.val.clone(), v.span);
                rebound.retain(|r| r.name != v.name);
                rebound.push(v);
            }
        }
        self.loops.pop();
        self.emit_iterations(iterations, rebound, sc);
    }

    /// Ends a loop of which an iteration failed: what its iterations change is poison, and no stand-in is left.
    fn give_up(&mut self, iterations: Vec<Iteration>, rebound: Vec<Var>, failed: &Scope, sc: &Scope) {
        let changed: Vec<Var> = rebound.iter().cloned().chain(failed.rebound()).collect();
        self.emit_iterations(iterations, rebound, sc);
        for v in changed {
            sc.set(&v.name, Val::Poison, v.span);
        }
    }

    /// Works through an iteration. Gives the names that it changes, and what the next one can be made of, if it can.
    fn iterate(
        &mut self,
        name: String,
        body: &Block,
        inner: &Scope,
        sc: &Scope,
        done: &mut Vec<Iteration>,
    ) -> (Vec<Var>, Option<Pattern>) {
        let (start, before) = (self.start(), self.failures);
        self.open_iteration(name);
        self.run(body, inner);
        inner.end("repeat");
        if self.failures > before {
            self.drop_frame();
            return (Vec::new(), None);
        }
        let frame = self.frame();
        let names = (std::mem::take(&mut frame.written), frame.site_prefix.clone());
        let changed = self.end_iteration(inner, body.span, done);
        let it = done.last().expect("it has just ended");
        let pattern = self.pattern(&start, it, names, inner, &changed, sc);
        (changed, pattern)
    }

    /// Ends the innermost frame, an iteration's. Its results become pending values of the frame around it.
    fn end_iteration(&mut self, inner: &Scope, span: Span, done: &mut Vec<Iteration>) -> Vec<Var> {
        let number = done.len() as u32;
        let own = self.frame().id;
        let mut rebound = inner.rebound();
        let mut results: Vec<Value> = Vec::new();
        for v in &rebound {
            for t in v.val.tensors() {
                if t.frame == own && !results.contains(&t.value) {
                    results.push(t.value);
                }
            }
        }
        let states = std::mem::take(&mut self.frame().states);
        for (_, t) in &states {
            // A state always is a result of its own, so that its place does not depend on what else the value is.
            results.push(t.value);
        }
        let frame = self.frames.pop().expect("an iteration's frame ends");
        let outer = self.frame().id;
        let first_state = (results.len() - states.len()) as u32;
        let pending =
            |t: &Tensor, port: u32| Tensor { frame: outer, value: Value { node: PENDING + number, port }, ..t.clone() };
        for v in &mut rebound {
            v.val = v.val.map_tensors(&mut |t| {
                let port = results.iter().position(|r| *r == t.value).filter(|_| t.frame == own);
                port.map_or_else(|| t.clone(), |port| pending(t, port as u32))
            });
        }
        for (k, (slot, t)) in states.iter().enumerate() {
            self.set_state(*slot, pending(t, first_state + k as u32));
        }
        let member = member_of(&frame.labels, done.len());
        let (mut function, kept) = finish(frame.builder, &frame.stacks, &results);
        name_from_within(&mut function, &member);
        self.frame().labels.extend(frame.labels.iter().cloned());
        let captures = frame.captures.into_iter().zip(kept).filter(|(_, kept)| *kept).map(|(v, _)| v).collect();
        let stateful = !states.is_empty();
        done.push(Iteration { function: Rc::new(function), captures, member, labels: frame.labels, span, stateful });
        rebound
    }

    /// Turns iterations into calls and loops, and pending values into theirs.
    fn emit_iterations(&mut self, iterations: Vec<Iteration>, rebound: Vec<Var>, sc: &Scope) {
        // The results of each iteration, as values of this function, as far as they are known.
        let mut results: Vec<HashMap<u32, Value>> = vec![HashMap::default(); iterations.len()];
        let needed = self.needed_later(&iterations, &rebound);
        let mut at = 0;
        while at < iterations.len() {
            let (count, parts) = group(&iterations[at..], at as u32, &needed);
            match count {
                1 => self.emit_call(&iterations[at], at, &mut results),
                _ => self.emit_loop(&iterations[at..at + count], at, &parts, &mut results),
            }
            at += count;
        }
        let frame = self.frame().id;
        let mut real = |t: &Tensor| Tensor {
            value: if t.frame == frame { resolve(t.value, &results) } else { t.value },
            ..t.clone()
        };
        for v in rebound {
            sc.set(&v.name, v.val.map_tensors(&mut real), v.span);
        }
        for (_, t) in &mut self.frame().states {
            *t = real(t);
        }
    }

    /// The pending values that something besides the very next iteration reads: a loop keeps only the last of them.
    fn needed_later(&mut self, iterations: &[Iteration], rebound: &[Var]) -> HashSet<Value> {
        let frame = self.frame();
        let mut needed: HashSet<Value> = frame.states.iter().map(|(_, t)| t.value).collect();
        for t in rebound.iter().flat_map(|v| v.val.tensors()).filter(|t| t.frame == frame.id) {
            needed.insert(t.value);
        }
        for (i, it) in iterations.iter().enumerate() {
            let before = (PENDING + i as u32).checked_sub(1);
            needed.extend(it.captures.iter().filter(|v| Some(v.node) != before));
        }
        needed
    }

    fn emit_call(&mut self, it: &Iteration, at: usize, results: &mut [HashMap<u32, Value>]) {
        let args: Vec<Value> = it.captures.iter().map(|v| resolve(*v, results)).collect();
        let function = self.intern(Function { name: it.member.to_string(), ..(*it.function).clone() });
        let tys = it.function.result_tys();
        self.at(it.span);
        let before = std::mem::replace(&mut self.b().origin.member, it.member.clone());
        let values = self.b().call(function, args, tys);
        self.b().origin.member = before;
        results[at] = (0..).zip(values).collect();
    }

    fn emit_loop(&mut self, group: &[Iteration], at: usize, parts: &[Part], results: &mut [HashMap<u32, Value>]) {
        let first = &group[0];
        let of = |want: fn(&Part) -> bool| -> Vec<usize> { (0..parts.len()).filter(|j| want(&parts[*j])).collect() };
        let carried = of(|p| matches!(p, Part::Carried(_)));
        let invariant = of(|p| matches!(p, Part::Invariant));
        let differing = of(|p| matches!(p, Part::Row));
        let carried_results: Vec<u32> = carried
            .iter()
            .map(|j| match parts[*j] {
                Part::Carried(k) => k,
                Part::Invariant | Part::Row => unreachable!("only carried parameters are among them"),
            })
            .collect();
        let others: Vec<u32> =
            (0..first.function.results.len() as u32).filter(|k| !carried_results.contains(k)).collect();
        let mut args: Vec<Value> = Vec::new();
        for j in carried.iter().chain(&invariant) {
            args.push(resolve(first.captures[*j], results));
        }
        let (mut stacks, mut rows, mut cells) = (Vec::new(), Vec::new(), Vec::new());
        for j in &differing {
            let own: Vec<Value> = group.iter().map(|it| resolve(it.captures[*j], results)).collect();
            match self.stack_of(self.frames.len() - 1, &own) {
                Some(whole) => {
                    stacks.push(*j);
                    args.push(whole);
                }
                None => {
                    rows.push(*j);
                    cells.extend(own);
                }
            }
        }
        args.extend(cells);
        let order: Vec<usize> = carried.iter().chain(&invariant).chain(&stacks).chain(&rows).copied().collect();
        let result_order: Vec<u32> = carried_results.iter().chain(&others).copied().collect();
        let mut body = reordered(&first.function, &order, &result_order);
        body.name = common_name(group);
        let body_tys = body.result_tys();
        let repeat = Repeat {
            body: self.intern(body),
            count: group.len(),
            reverse: false,
            carried: carried.len(),
            invariant: invariant.len(),
            stacks: stacks.len(),
            rows: rows.len(),
            stacked: 0,
            row_results: others.len(),
            members: group.iter().map(|it| it.member.clone()).collect(),
        };
        let tys = repeat.result_tys(&body_tys);
        self.at(first.span);
        let values = self.b().repeat(repeat, args, tys);
        let last = at + group.len() - 1;
        for (i, k) in carried_results.iter().enumerate() {
            results[last].insert(*k, values[i]);
        }
        for (i, k) in others.iter().enumerate() {
            for n in 0..group.len() {
                results[at + n].insert(*k, values[carried.len() + i * group.len() + n]);
            }
        }
    }

    /// The number of a function: an equal one's, if there is one.
    pub(crate) fn intern(&mut self, f: Function) -> FnId {
        let key = key::function(&f);
        let same = self
            .interned
            .get(&key)
            .and_then(|ids| ids.iter().find(|id| alike(self.program.function(**id), &f)).copied());
        same.unwrap_or_else(|| {
            let id = self.add_function(f);
            self.interned.entry(key).or_default().push(id);
            id
        })
    }
}

/// How many iterations, from the first on, are one loop, and what each parameter is in it.
fn group(iterations: &[Iteration], base: u32, needed: &HashSet<Value>) -> (usize, Vec<Part>) {
    let mut parts: Vec<Part> = Vec::new();
    let mut count = 1;
    while count < iterations.len() {
        let (a, b) = (&iterations[count - 1], &iterations[count]);
        if !Rc::ptr_eq(&a.function, &b.function) && !alike(&a.function, &b.function) {
            break;
        }
        let previous = PENDING + base + count as u32 - 1;
        let inside = |v: &Value| (PENDING + base..=previous).contains(&v.node);
        let part = |(x, y): (&Value, &Value)| {
            if y.node == previous {
                Some(Part::Carried(y.port))
            } else if inside(y) {
                None
            } else if x == y {
                Some(Part::Invariant)
            } else {
                Some(Part::Row)
            }
        };
        let Some(found) = a.captures.iter().zip(&b.captures).map(part).collect::<Option<Vec<Part>>>() else { break };
        let once = |k: u32| found.iter().filter(|p| **p == Part::Carried(k)).count() <= 1;
        let free = |k: u32| !needed.contains(&Value { node: previous, port: k });
        let fits = found.iter().all(|p| if let Part::Carried(k) = p { once(*k) && free(*k) } else { true });
        if !fits || (count > 1 && !agree(&mut parts, &found)) {
            break;
        }
        if count == 1 {
            parts = found;
        }
        count += 1;
    }
    (count, parts)
}

/// Whether a further pair of neighbours reads its parameters as those before; a row may repeat a value by chance.
fn agree(parts: &mut [Part], found: &[Part]) -> bool {
    let fits = |p: &Part, f: &Part| p == f || (*p == Part::Row && *f == Part::Invariant);
    parts.iter().zip(found).all(|(p, f)| fits(p, f))
}

/// The value behind a stand-in.
fn resolve(v: Value, results: &[HashMap<u32, Value>]) -> Value {
    match v.node.checked_sub(PENDING) {
        None => v,
        Some(i) => *results[i as usize].get(&v.port).expect("only the last iteration's results are read after a loop"),
    }
}

/// Whether two functions are one but for what they are called.
fn alike(a: &Function, b: &Function) -> bool {
    // What loops within call their iterations is for people.
    let op = |x: &Op, y: &Op| match (x, y) {
        (Op::Repeat(x), Op::Repeat(y)) => *x == Repeat { members: x.members.clone(), ..y.clone() },
        (x, y) => x == y,
    };
    let node = |x: &Node, y: &Node| x.args == y.args && x.tys == y.tys && op(&x.op, &y.op);
    a.nodes.len() == b.nodes.len()
        && a.params.len() == b.params.len()
        && a.results == b.results
        && a.derivative == b.derivative
        && a.nodes.iter().zip(&b.nodes).all(|(x, y)| node(x, y))
}

/// The function with its parameters and results in another order.
fn reordered(f: &Function, order: &[usize], results: &[u32]) -> Function {
    let mut place = vec![0u32; f.params.len()];
    for (new, old) in order.iter().enumerate() {
        place[*old] = new as u32;
    }
    let moved = |v: &Value| match place.get(v.node as usize) {
        Some(node) => Value { node: *node, port: 0 },
        None => *v,
    };
    let params: Vec<_> = order.iter().map(|j| f.params[*j].clone()).collect();
    let mut nodes: Vec<Node> = Vec::with_capacity(f.nodes.len());
    for (new, old) in order.iter().enumerate() {
        let node = &f.nodes[*old];
        let tys: Vec<Ty> = node.tys.clone();
        nodes.push(Node { op: Op::Param(new as u32), args: Vec::new(), tys, origin: node.origin.clone() });
    }
    for node in &f.nodes[order.len()..] {
        let mut node = node.clone();
        node.args.iter_mut().for_each(|v| *v = moved(v));
        nodes.push(node);
    }
    let results = results.iter().map(|k| moved(&f.results[*k as usize])).collect();
    Function { name: f.name.clone(), params, nodes, results, ..Function::default() }
}

/// Names a function after a member, and what is inside it from there on: `layers.0.norm` becomes `norm` in `layers.0`.
fn name_from_within(function: &mut Function, member: &str) {
    let below = |name: &str| name.strip_prefix(member).and_then(|rest| rest.strip_prefix('.')).map(str::to_string);
    function.name = member.to_string();
    for param in &mut function.params {
        if let Some(name) = below(&param.name) {
            param.name = name;
        }
    }
    for node in &mut function.nodes {
        if let Op::Repeat(r) = &mut node.op {
            for inner in &mut r.members {
                if let Some(name) = below(inner) {
                    *inner = name.into();
                }
            }
        }
        if *node.origin.member == *member {
            node.origin.member = "".into();
        } else if let Some(name) = below(&node.origin.member) {
            node.origin.member = name.into();
        }
    }
}

/// What the labels of an iteration have in common, segment by segment; its number where that is nothing.
pub(super) fn member_of(labels: &[Rc<str>], index: usize) -> Rc<str> {
    let mut common: Option<Vec<&str>> = None;
    for label in labels {
        let segments: Vec<&str> = label.split('.').collect();
        common = Some(match common {
            None => segments,
            Some(c) => {
                let n = c.iter().zip(&segments).take_while(|(a, b)| a == b).count();
                c[..n].to_vec()
            }
        });
    }
    match common.filter(|c| !c.is_empty()) {
        Some(c) => c.join(".").into(),
        None => index.to_string().into(),
    }
}

/// A loop's name: its members' with a star where they differ.
fn common_name(group: &[Iteration]) -> String {
    let (a, b) = (&group[0].member, &group[group.len() - 1].member);
    let (x, y): (Vec<&str>, Vec<&str>) = (a.split('.').collect(), b.split('.').collect());
    if x.len() != y.len() {
        return a.to_string();
    }
    let segments: Vec<&str> = x.iter().zip(&y).map(|(p, q)| if p == q { *p } else { "*" }).collect();
    segments.join(".")
}
