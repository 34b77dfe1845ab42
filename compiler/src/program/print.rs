//! A program as text, for people, snapshots and messages. Takes a program (or one function of it) and gives lines: one
//! for each weight, node and port of an entry. The text is a function of the program alone, so that snapshots hold.
//!
//! Values are `%node`, with `.port` where a node has several results; functions are `#number`. Types say the names of
//! the dynamic sizes. The long parts of a loop, its rows, are printed as runs: `%1..%13 by 4`.

use super::{
    Affine, Contract, Entry, FnId, Function, Node, Op, Panels, Program, ReduceOp, Repeat, Role, Ty, Value, View,
};
use dlc_plan::{Gives, Host, HostVar, Prim, Size};
use std::fmt::{self, Write};
use std::rc::Rc;

/// The whole program: its sizes, weights, functions and entries.
pub fn program(p: &Program) -> String {
    let mut out = String::new();
    if !p.dims.is_empty() {
        line(&mut out, format_args!("sizes {}", p.dims.join(" ")));
    }
    for (i, w) in p.weights.iter().enumerate() {
        let kind = match (w.param, w.trained) {
            (true, true) => "param",
            (true, false) => "param, frozen",
            (false, _) => "state",
        };
        let also = if w.aliases.is_empty() { String::new() } else { format!(", also {}", w.aliases.join(" ")) };
        line(&mut out, format_args!("weight {i} {}: {} {kind}{also}", w.name, ty(p, &w.ty)));
    }
    if !p.states.is_empty() {
        line(&mut out, format_args!("optimizer states {}", p.states.join(" ")));
    }
    for i in 0..p.functions.len() {
        out.push('\n');
        out.push_str(&function(p, FnId(i as u32)));
    }
    for e in &p.entries {
        out.push('\n');
        entry(&mut out, p, e);
    }
    out
}

/// One function, a node a line.
pub fn function(p: &Program, id: FnId) -> String {
    let f = p.function(id);
    let mut out = format!("#{} {}(", id.0, f.name);
    for (i, param) in f.params.iter().enumerate() {
        let comma = if i == 0 { "" } else { ", " };
        write(&mut out, format_args!("{comma}%{i} {}: {}", param.name, ty(p, &param.ty)));
    }
    out.push(')');
    if let Some(d) = f.derivative {
        write(&mut out, format_args!(" derivative #{}", d.0));
    }
    if f.cut.is_some() {
        out.push_str(" in panels");
    }
    out.push_str(" {\n");
    for (i, node) in f.nodes.iter().enumerate() {
        if i < f.params.len() && matches!(node.op, Op::Param(n) if n as usize == i) {
            continue;
        }
        line(&mut out, format_args!("  {}", node_line(p, f, i, node)));
    }
    line(&mut out, format_args!("  return {}\n}}", values(f, &f.results)));
    out
}

/// A type, with the names of the dynamic sizes: `f32[B, 128]`.
pub fn ty(p: &Program, t: &Ty) -> String {
    let axes: Vec<String> = t.shape.iter().map(|s| s.show(&p.dims).to_string()).collect();
    format!("{}[{}]", t.dtype, axes.join(", "))
}

/// A host scalar as an expression.
pub fn host(p: &Program, h: &Host) -> String {
    let list = |hs: &[Host]| runs(hs.iter().map(|h| host(p, h)));
    match h {
        Host::Const(x) => format!("{x}"),
        Host::Var(v) => match v {
            HostVar::Step => "step",
            HostVar::Steps => "steps",
            HostVar::Epoch => "epoch",
            HostVar::FirstSample => "first_sample",
            HostVar::SeedLow => "seed_low",
            HostVar::SeedHigh => "seed_high",
        }
        .to_string(),
        Host::Size(s) => format!("size({})", s.show(&p.dims)),
        Host::Prim(prim, args) => {
            let args: Vec<String> = args.iter().map(|a| host(p, a)).collect();
            match args.as_slice() {
                [a, b] if infix(*prim) => format!("({a} {} {b})", prim.name()),
                args => format!("{}({})", prim.name(), args.join(", ")),
            }
        }
        Host::Row(depth, cells) => format!("row {depth} [{}]", list(cells)),
        Host::Segment(cells) => format!("segment [{}]", list(cells)),
    }
}

/// Whether a primitive stands between its operands.
fn infix(prim: Prim) -> bool {
    let row = prim.row();
    row.arity == 2 && (matches!(row.gives, Gives::Truth | Gives::Logic) || !row.name.starts_with(char::is_alphabetic))
}

fn node_line(p: &Program, f: &Function, at: usize, node: &Node) -> String {
    let shown = match node.tys.as_slice() {
        [one] => ty(p, one),
        many => format!("({})", runs(many.iter().map(|t| ty(p, t)))),
    };
    let mut out = format!("%{at}: {shown} = ");
    match &node.op {
        Op::Repeat(r) => out.push_str(&repeat(p, f, r, &node.args)),
        op => {
            out.push_str(&op_words(p, op));
            for a in &node.args {
                write(&mut out, format_args!(" {}", Shown(f, *a)));
            }
        }
    }
    if !node.origin.member.is_empty() {
        write(&mut out, format_args!("  // {}", node.origin.member));
    }
    out
}

/// An operation without its arguments.
fn op_words(p: &Program, op: &Op) -> String {
    match op {
        Op::Param(n) => format!("param {n}"),
        Op::Const(x) => format!("const {x}"),
        Op::Table(elements) => format!("table {elements:?}"),
        Op::Host(h) => format!("host {}", host(p, h)),
        Op::Map(prim) => match prim {
            Prim::Cast(d) => format!("cast {d}"),
            other => format!("map {}", other.name()),
        },
        Op::Reduce(op, axes) => format!("{} {axes:?}", reduce_name(*op)),
        Op::View(v) => view_words(p, v),
        Op::Contract(c) => format!("contract {}", contract_words(c)),
        Op::Gather => "gather".into(),
        Op::Scatter => "scatter".into(),
        Op::Rows(op) => op.name().into(),
        Op::Iota(axis) => format!("iota [{axis}]"),
        Op::Random => "random".into(),
        Op::Concat(axis) => format!("concat [{axis}]"),
        Op::Stop => "stop".into(),
        Op::Within(bound) => format!("within {}", bound.show(|s| s.show(&p.dims).to_string())),
        Op::Call(g) => format!("call #{} {}", g.0, function_name(p, *g)),
        Op::Repeat(r) => format!("repeat #{} {}", r.body.0, function_name(p, r.body)),
        Op::Panels(k) => panels_words(p, k),
    }
}

/// `panels #7 body over rows T, then B one by one, H`.
fn panels_words(p: &Program, k: &Panels) -> String {
    let one = |(i, (extent, serial)): (usize, (&Size, &bool))| {
        let what = if i == 0 { "rows " } else { "" };
        let order = if *serial { " in order" } else { "" };
        format!("{what}{}{order}", extent.show(&p.dims))
    };
    let cuts: Vec<String> = k.cuts.iter().zip(&k.serial).enumerate().map(one).collect();
    format!("panels #{} {} over {}", k.body.0, function_name(p, k.body), cuts.join(", "))
}

fn function_name(p: &Program, id: FnId) -> &str {
    p.functions.get(id.0 as usize).map_or("?", |f| f.name.as_str())
}

/// The name of a reduction.
pub fn reduce_name(op: ReduceOp) -> &'static str {
    match op {
        ReduceOp::Sum => "sum",
        ReduceOp::Prod => "prod",
        ReduceOp::Max => "max",
        ReduceOp::Min => "min",
    }
}

/// `2 * i0 + i3 + 1`, where `i0` is the index of result axis 0.
fn affine_words(p: &Program, a: &Affine) -> String {
    let mut words: Vec<String> = Vec::new();
    for (axis, step) in &a.steps {
        words.push(if *step == 1 { format!("i{axis}") } else { format!("{step} * i{axis}") });
    }
    if words.is_empty() || !a.start.is(0) {
        words.push(a.start.show(&p.dims).to_string());
    }
    words.join(" + ")
}

fn view_words(p: &Program, v: &View) -> String {
    let step_words = |step: i64| if step == 1 { String::new() } else { format!(" by {step}") };
    match v {
        View::Permute(axes) => format!("permute {axes:?}"),
        View::Broadcast(axes) => format!("broadcast {axes:?}"),
        View::Slice { axis, start, step } => {
            format!("slice [{axis}] from {}{}", start.show(&p.dims), step_words(*step))
        }
        View::Split { axis, count } => format!("split [{axis}] into {count}"),
        View::Merge { axis, count } => format!("merge [{axis}] of {count}"),
        View::Pad { axis, before } => format!("pad [{axis}] before {}", before.show(&p.dims)),
        View::Affine(axes) => {
            let words: Vec<String> = axes.iter().map(|a| affine_words(p, a)).collect();
            format!("affine [{}]", words.join(", "))
        }
    }
}

/// The labels as letters in order of their first use: `ab,cb->ac`.
fn contract_words(c: &Contract) -> String {
    let mut seen: Vec<u8> = Vec::new();
    let mut letters = |labels: &[u8]| -> String {
        let mut word = String::new();
        for l in labels {
            let n = seen.iter().position(|s| s == l).unwrap_or_else(|| {
                seen.push(*l);
                seen.len() - 1
            });
            match u8::try_from(n) {
                Ok(n) if n < 26 => word.push(char::from(b'a' + n)),
                Ok(_) | Err(_) => word.push_str(&format!("<{n}>")),
            }
        }
        word
    };
    format!("{},{}->{}", letters(&c.a), letters(&c.b), letters(&c.out))
}

fn repeat(p: &Program, f: &Function, r: &Repeat, args: &[Value]) -> String {
    let mut out = format!("repeat {} #{} {}", members(&r.members, r.count), r.body.0, function_name(p, r.body));
    if r.reverse {
        out.push_str(" reverse");
    }
    if r.stacked > 0 {
        write(&mut out, format_args!(" stacking {}", r.stacked));
    }
    let mut rest = args;
    for (word, n) in [("carried", r.carried), ("invariant", r.invariant), ("stacks", r.stacks)] {
        let (group, tail) = rest.split_at(n.min(rest.len()));
        rest = tail;
        if !group.is_empty() {
            write(&mut out, format_args!(" {word}({})", values(f, group)));
        }
    }
    for slot in rest.chunks(r.count.max(1)) {
        write(&mut out, format_args!(" row({})", value_runs(f, slot)));
    }
    out
}

/// The member paths of a loop's iterations: `layers.{0..3}` where only a number counts up.
pub fn members(paths: &[Rc<str>], count: usize) -> String {
    let counted = || {
        let (first, last) = (paths.first()?, paths.last()?);
        let differ = first.bytes().zip(last.bytes()).take_while(|(a, b)| a == b).count();
        let at = first.as_bytes()[..differ].iter().rposition(|b| !b.is_ascii_digit()).map_or(0, |i| i + 1);
        let (head, from) = (first.get(..at)?, first.get(at..)?);
        let tail = from.trim_start_matches(|c: char| c.is_ascii_digit());
        let from: usize = from.strip_suffix(tail)?.parse().ok()?;
        let fits = paths.iter().enumerate().all(|(i, m)| **m == format!("{head}{}{tail}", from + i));
        (paths.len() > 1 && fits).then(|| format!("{head}{{{from}..{}}}{tail}", from + paths.len() - 1))
    };
    match paths {
        [] => format!("{count} times"),
        [one] => one.to_string(),
        several => counted().unwrap_or_else(|| format!("{{{}}}", several.join(", "))),
    }
}

/// Values whose numbers go up evenly are printed as a run.
fn value_runs(f: &Function, vs: &[Value]) -> String {
    let step = |a: Value, b: Value| (i64::from(b.node) - i64::from(a.node), i64::from(b.port) - i64::from(a.port));
    let [a, b, .., z] = vs else { return values(f, vs) };
    let by = step(*a, *b);
    if vs.len() < 4 || vs.windows(2).any(|w| step(w[0], w[1]) != by) {
        return values(f, vs);
    }
    let (a, z) = (Shown(f, *a), Shown(f, *z));
    match by {
        (0, 0) => format!("{} x {a}", vs.len()),
        (1, 0) | (0, 1) => format!("{a}..{z}"),
        (n, 0) => format!("{a}..{z} by {n}"),
        (_, _) => values(f, vs),
    }
}

fn values(f: &Function, vs: &[Value]) -> String {
    let words: Vec<String> = vs.iter().map(|v| Shown(f, *v).to_string()).collect();
    words.join(" ")
}

/// Words, comma between them; equal ones in a row are counted.
fn runs(words: impl Iterator<Item = String>) -> String {
    let mut groups: Vec<(String, usize)> = Vec::new();
    for w in words {
        match groups.last_mut() {
            Some((last, n)) if *last == w => *n += 1,
            Some(_) | None => groups.push((w, 1)),
        }
    }
    let shown: Vec<String> = groups.into_iter().map(|(w, n)| if n == 1 { w } else { format!("{n} x {w}") }).collect();
    shown.join(", ")
}

/// A value in its function.
struct Shown<'a>(&'a Function, Value);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Shown(f, v) = self;
        match f.nodes.get(v.node as usize) {
            Some(n) if n.tys.len() == 1 && v.port == 0 => write!(out, "%{}", v.node),
            Some(_) | None => write!(out, "%{}.{}", v.node, v.port),
        }
    }
}

fn entry(out: &mut String, p: &Program, e: &Entry) {
    line(out, format_args!("entry {} = #{} {}", e.name, e.function.0, function_name(p, e.function)));
    let f = p.functions.get(e.function.0 as usize);
    for (i, r) in e.inputs.iter().enumerate() {
        let t = f.and_then(|f| f.params.get(i)).map_or("?".into(), |param| ty(p, &param.ty));
        line(out, format_args!("  takes {}: {t}", role(p, r)));
    }
    for (i, r) in e.outputs.iter().enumerate() {
        let t = f.and_then(|f| Some(ty(p, f.ty(*f.results.get(i)?)))).unwrap_or("?".into());
        line(out, format_args!("  gives {}: {t}", role(p, r)));
    }
    for (name, x) in &e.defaults {
        line(out, format_args!("  default of {name}: {}", host(p, x)));
    }
    for (condition, message) in &e.guards {
        line(out, format_args!("  requires {}, else \"{message}\"", host(p, condition)));
    }
}

fn role(p: &Program, r: &Role) -> String {
    let name = |w: &super::WeightId| p.weights.get(w.0 as usize).map_or("?", |w| w.name.as_str());
    let weight = |row: &super::WeightRow| match &row[..] {
        [one] => name(one).to_string(),
        [first, .., last] => format!("{} .. {}", name(first), name(last)),
        [] => "?".to_string(),
    };
    let state = |n: u16| p.states.get(usize::from(n)).map_or("?", String::as_str);
    match r {
        Role::Named(name) => name.clone(),
        Role::Index(name, limit) | Role::Narrow(name, limit) => {
            format!("{name} in 0..{}", limit.show(|s| s.show(&p.dims).to_string()))
        }
        Role::Weight(w) => format!("weight {}", weight(w)),
        Role::Grad(w) => format!("gradient {}", weight(w)),
        Role::Trained => "trained weights".into(),
        Role::Grads => "their gradients".into(),
        Role::State(n) => format!("optimizer state {}", state(*n)),
        Role::StateOf(n, w) => format!("optimizer state {} of {}", state(*n), weight(w)),
    }
}

fn write(out: &mut String, words: fmt::Arguments) {
    out.write_fmt(words).expect("a string can always grow");
}

fn line(out: &mut String, words: fmt::Arguments) {
    write(out, words);
    out.push('\n');
}
