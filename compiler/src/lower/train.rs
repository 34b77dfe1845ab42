//! `train` items: what is trained, on what, by what and for how long. Takes an item; gives its values, each checked for what
//! it is. What needs the model (globs, the loss, metrics) comes after.

use super::data::{self, Data, Files};
use super::item::{self, Reading};
use super::lora::{self, Lora};
use super::schema::{self, Entries, Owner};
use super::weights;
use crate::check::{Checker, Ctor, Given, NumVal, Scope, Val};
use dlc_grammar::ast::{Expr, ExprKind, Ident, NetKind, Rule};
use dlc_grammar::{Diagnostic, Span, nearest};
use dlc_plan::DType;
use dlc_plan::recipe::{Length, Stop};
use std::rc::Rc;

/// A `train` item.
pub struct Train {
    /// The item.
    pub reading: Reading,
    /// The model with its configuration, and where it is named.
    pub model: (Rc<Ctor>, Span),
    /// Where samples come from.
    pub data: Option<Data>,
    /// Where weights come from.
    pub weights: Option<Reading>,
    /// What adapts some of them.
    pub lora: Option<Lora>,
    /// The loss.
    pub loss: Expr,
    /// The optimizer with its settings, and where it is named.
    pub optimizer: (Rc<Ctor>, Span),
    /// The keys that the prelude's `prepared` and `settled` take, with their values.
    pub step: Vec<(&'static str, NumVal)>,
    /// `group`, `freeze` and `unfreeze`, in order.
    pub rules: Vec<Rule>,
    /// `evaluate`, in order.
    pub evaluate: Vec<Rule>,
    /// The metrics.
    pub metrics: Vec<(Ident, Expr)>,
    /// How long it goes on.
    pub length: Length,
    /// Micro-batches in a step.
    pub accumulate: u64,
    /// The seed of all random choices.
    pub seed: u64,
    /// Steps between two reports.
    pub interval: Option<u64>,
    /// When to end early.
    pub stop: Option<Stop>,
    /// What operands of contractions are rounded to.
    pub operands: Option<DType>,
}

/// Reads a `train` item.
pub fn read(ck: &mut Checker, files: &mut dyn Files, it: Reading) -> Option<Train> {
    let item = it.item.clone();
    item::define_step(&it.scope);
    let owner = it.owner(&schema::TRAIN);
    let found = item::checked(ck, owner, &item.ast.entries);
    let sc = &it.scope;
    let model = required(ck, owner, &found, "model").and_then(|e| net(ck, e, sc, NetKind::Model));
    let optimizer = required(ck, owner, &found, "optimizer").and_then(|e| net(ck, e, sc, NetKind::Optimizer));
    let loss = required(ck, owner, &found, "loss").cloned();
    let data = found.value("data").map(|e| data::named(ck, files, e, sc));
    let weights = found.value("weights").map(|e| weights::named(ck, e, sc));
    let lora = found.value("lora").map(|e| lora::named(ck, e, sc));
    let length = length(ck, owner, &found, sc);
    let mut count = |key, least, default| match found.value(key) {
        Some(e) => item::count(ck, key, e, sc, least),
        None => Some(default),
    };
    let (accumulate, seed, interval) = (count("accumulate", 1, 1), count("seed", 0, 0), count("interval", 1, 0));
    let step = step(ck, &found, sc);
    let operands = precision(ck, &found);
    let metrics = metrics(ck, &found);
    let stop = match (found.section("stop"), &metrics) {
        (Some((name, entries)), Some(metrics)) => {
            let keys = item::section(ck, name, entries, &schema::STOP);
            Some(stop(
                ck,
                Owner { name: "stop", span: name.span, keys: &schema::STOP },
                &keys,
                (found.value("loss"), metrics),
                sc,
            ))
        }
        (Some(_), None) | (None, _) => None,
    };
    let rules = found.rules.iter().map(|(rule, _)| (*rule).clone());
    let (evaluate, rules) = rules.partition(|rule: &Rule| rule.verb.text == "evaluate");
    Some(Train {
        model: model?,
        data: flat(data)?,
        weights: flat(weights)?,
        lora: flat(lora)?,
        loss: loss?,
        optimizer: optimizer?,
        step: step?,
        rules,
        evaluate,
        metrics: metrics?,
        length: length?,
        accumulate: accumulate?,
        seed: seed?,
        interval: interval.map(|n| (n > 0).then_some(n))?,
        stop: flat(stop)?,
        operands: operands?,
        reading: it,
    })
}

/// What a training begins with.
pub struct Begun {
    /// The model with its configuration, and where it is named.
    pub model: (Rc<Ctor>, Span),
    /// Where weights come from.
    pub weights: Option<Reading>,
}

/// Reads what a `train` item begins with, and nothing else of it.
pub fn begun(ck: &mut Checker, it: &Reading) -> Option<Begun> {
    let item = it.item.clone();
    item::define_step(&it.scope);
    let owner = it.owner(&schema::TRAIN);
    let found = item::checked(ck, owner, &item.ast.entries);
    let model = required(ck, owner, &found, "model").and_then(|e| net(ck, e, &it.scope, NetKind::Model));
    let weights = found.value("weights").map(|e| weights::named(ck, e, &it.scope));
    Some(Begun { model: model?, weights: flat(weights)? })
}

/// What is there must be right.
fn flat<T>(found: Option<Option<T>>) -> Option<Option<T>> {
    found.map_or(Some(None), |f| f.map(Some))
}

fn required<'a>(ck: &mut Checker, owner: Owner, found: &Entries<'a>, key: &str) -> Option<&'a Expr> {
    let e = found.value(key);
    if e.is_none() {
        ck.report(schema::missing(owner, key));
    }
    e
}

/// A model or an optimizer with its configuration.
fn net(ck: &mut Checker, e: &Expr, sc: &Scope, kind: NetKind) -> Option<(Rc<Ctor>, Span)> {
    let ctor = match ck.eval(e, sc) {
        Val::Poison => return None,
        Val::Net(net) => ck.configured(&net, Vec::<Given>::new(), e.span)?,
        Val::Ctor(ctor) => ctor,
        v => {
            let message = format!("`{}` names one of the {}s, got {}", kind.keyword(), kind.keyword(), ck.show(&v));
            ck.report(Diagnostic::error("E0508", e.span, message));
            return None;
        }
    };
    if ctor.net.ast.kind != kind {
        let (name, is) = (&ctor.net.ast.name.text, ctor.net.ast.kind.keyword());
        let message = format!("`{}` names one of the {}s, and `{name}` is a {is}", kind.keyword(), kind.keyword());
        let d = Diagnostic::error("E0508", e.span, message);
        ck.report(if kind == NetKind::Model && is == "block" {
            d.help(format!("write `model {name}` to train it"))
        } else {
            d
        });
        return None;
    }
    Some((ctor, e.span))
}

fn length(ck: &mut Checker, owner: Owner, found: &Entries, sc: &Scope) -> Option<Length> {
    match (found.entry("epochs"), found.entry("max_steps")) {
        (Some((_, e)), None) => item::count(ck, "epochs", e, sc, 0).map(Length::Epochs),
        (None, Some((_, e))) => item::count(ck, "max_steps", e, sc, 0).map(Length::Steps),
        (Some((first, _)), Some((second, _))) => {
            let d = Diagnostic::error("E0506", second.span, "a training ends after `epochs` or after `max_steps`");
            ck.report(d.label(first.span, "both are given"));
            None
        }
        (None, None) => {
            ck.report(schema::missing(owner, "epochs"));
            None
        }
    }
}

/// The keys that the prelude's functions around the optimizer take.
fn step(ck: &mut Checker, found: &Entries, sc: &Scope) -> Option<Vec<(&'static str, NumVal)>> {
    let mut step = Vec::new();
    let mut fine = true;
    for schema::Step { key, .. } in schema::STEP {
        let Some(e) = found.value(key) else { continue };
        match item::number(ck, key, e, sc) {
            Some(n) => step.push((key, n)),
            None => fine = false,
        }
    }
    fine.then_some(step)
}

/// What operands of contractions are rounded to.
fn precision(ck: &mut Checker, found: &Entries) -> Option<Option<DType>> {
    let Some(e) = found.value("precision") else { return Some(None) };
    match &e.kind {
        ExprKind::Name(name) if name == DType::F32.name() => Some(None),
        ExprKind::Name(name) if name == DType::BF16.name() => Some(Some(DType::BF16)),
        _ => {
            ck.report(Diagnostic::error("E0507", e.span, "`precision` is f32 or bf16"));
            None
        }
    }
}

fn metrics(ck: &mut Checker, found: &Entries) -> Option<Vec<(Ident, Expr)>> {
    let Some((_, entries)) = found.section("metrics") else { return Some(Vec::new()) };
    let mut metrics = Vec::new();
    for (names, e) in item::definitions(ck, "metrics", entries)? {
        match names.as_slice() {
            [name] => metrics.push((name.clone(), e)),
            _ => {
                ck.report(Diagnostic::error("E0505", e.span, "a metric has one name"));
                return None;
            }
        }
    }
    Some(metrics)
}

/// `stop { metric = accuracy  patience = 3 }`.
fn stop(
    ck: &mut Checker,
    owner: Owner,
    found: &Entries,
    (loss, metrics): (Option<&Expr>, &[(Ident, Expr)]),
    sc: &Scope,
) -> Option<Stop> {
    let (metric, patience) = (required(ck, owner, found, "metric"), required(ck, owner, found, "patience"));
    let patience = item::count(ck, "patience", patience?, sc, 1)?;
    let falling = found.value("falling").map(|e| item::flag(ck, "falling", e, sc));
    let metric = metric?;
    let name = ck.text(metric.span).to_string();
    if let Some((_, value)) = metrics.iter().find(|(known, _)| known.text == name) {
        // Less of the loss is better; of anything else more is, unless it says otherwise.
        let words = |e: &Expr| ck.text(e.span).split_whitespace().collect::<String>();
        let is_loss = loss.is_some_and(|loss| words(loss) == words(value));
        return Some(Stop { metric: name, patience, falling: falling.unwrap_or(Some(is_loss))? });
    }
    let near = nearest(&name, metrics.iter().map(|(known, _)| known.text.as_str()));
    let d = Diagnostic::error("E0102", metric.span, format!("no metric is called `{name}`")).did_you_mean(near);
    ck.report(d);
    None
}
