//! Which weights are trained, and what differs between them. Takes the `group`, `freeze` and `unfreeze` rules of a `train`
//! item; marks the trained weights, and gives the value of each setting: one for all weights, or one for each.

use super::item;
use super::schema;
use super::select::Names;
use super::train::Train;
use crate::check::{Checker, Given, Num, NumVal, Val, to_host};
use crate::program::WeightId;
use dlc_grammar::ast::{EntryKind, Ident, Rule};
use dlc_grammar::{Diagnostic, Span, nearest};
use dlc_plan::Host;
use std::collections::{BTreeMap, BTreeSet};

/// What groups override: for each setting, the value for some weights, by their number.
pub type Overrides = BTreeMap<String, BTreeMap<usize, NumVal>>;

/// Marks the weights that are trained, and collects what groups override.
pub fn apply(ck: &mut Checker, train: &Train, names: &Names) -> Option<Overrides> {
    for w in &mut ck.program.weights {
        w.trained = w.param;
    }
    let mut overrides = Overrides::new();
    let mut fine = true;
    // What an adapter freezes comes first, so that a training can take it back.
    let rules = train.lora.iter().flat_map(|lora| &lora.rules).chain(&train.rules);
    for rule in rules {
        fine &= one(ck, train, names, rule, &mut overrides).is_some();
    }
    fine.then_some(overrides)
}

fn one(ck: &mut Checker, train: &Train, names: &Names, rule: &Rule, overrides: &mut Overrides) -> Option<()> {
    let sc = &train.reading.scope;
    let verb = rule.verb.text.as_str();
    item::no_parts(ck, rule, false, verb == "group")?;
    let applies = item::applies(ck, rule, sc)?;
    let mut errors = Vec::new();
    let chosen = names.chosen(verb, &rule.globs, &mut errors);
    let bad = !errors.is_empty();
    item::report_all(ck, errors);
    let settings = if verb == "group" { settings(ck, train, rule)? } else { Vec::new() };
    if bad {
        return None;
    }
    let chosen = chosen.iter().enumerate().filter(|(_, c)| **c && applies).map(|(i, _)| i);
    for i in chosen {
        match verb {
            // Whoever freezes a model means what was there before its adapter.
            "freeze" => ck.program.weights[i].trained &= ck.program.weights[i].added,
            "unfreeze" => ck.program.weights[i].trained = ck.program.weights[i].param,
            _ => {
                for (name, value) in &settings {
                    overrides.entry(name.clone()).or_default().insert(i, value.clone());
                }
            }
        }
    }
    Some(())
}

/// The modules that a training computes as they are outside of it: those that `evaluate` names, by their full names.
pub fn evaluated(ck: &mut Checker, train: &Train, names: &Names) -> Option<BTreeSet<String>> {
    let mut modules = BTreeSet::new();
    let mut fine = true;
    for rule in &train.evaluate {
        let plain = item::no_parts(ck, rule, false, false).is_some();
        let applies = item::applies(ck, rule, &train.reading.scope);
        let mut errors = Vec::new();
        let chosen = names.modules(&rule.verb.text, &rule.globs, &mut errors);
        fine &= plain && applies.is_some() && errors.is_empty();
        item::report_all(ck, errors);
        if applies == Some(true) {
            modules.extend(chosen);
        }
    }
    fine.then_some(modules)
}

/// The settings in a group's braces: those of the optimizer, and penalties.
fn settings(ck: &mut Checker, train: &Train, rule: &Rule) -> Option<Vec<(String, NumVal)>> {
    let Some(entries) = &rule.body else {
        let d = Diagnostic::error("E0505", rule.verb.span, "this `group` changes nothing");
        ck.report(d.help("`group \"**.bias\" { weight_decay = 0 }`"));
        return None;
    };
    let mut found = Vec::new();
    let mut fine = true;
    for entry in entries {
        let EntryKind::Attr { names, value } = &entry.kind else {
            ck.report(Diagnostic::error("E0505", entry.span, "a group takes settings: `weight_decay = 0`"));
            fine = false;
            continue;
        };
        for name in names {
            let known = is_setting(ck, train, name);
            let value = item::number(ck, &name.text, value, &train.reading.scope);
            match value {
                Some(value) if known => found.push((name.text.clone(), value)),
                Some(_) | None => fine = false,
            }
        }
    }
    fine.then_some(found)
}

/// Whether a group may override this; reports it if not.
fn is_setting(ck: &mut Checker, train: &Train, name: &Ident) -> bool {
    let optimizer = &train.optimizer.0.net.ast;
    let own = optimizer.config.iter().map(|p| p.name.text.as_str());
    let known: Vec<&str> = own.chain(schema::STEP.iter().filter(|s| s.each).map(|s| s.key)).collect();
    if known.contains(&name.text.as_str()) {
        return true;
    }
    let whole = schema::STEP.iter().any(|s| !s.each && s.key == name.text);
    let d = match whole {
        true => Diagnostic::error("E0509", name.span, format!("`{}` is about all weights together", name.text)),
        false => {
            let message = format!("`{}` has no setting `{}`", optimizer.name.text, name.text);
            let d = Diagnostic::error("E0105", name.span, message);
            let near = nearest(&name.text, known.iter().copied());
            if near.is_some() { d.did_you_mean(near) } else { d.help(format!("a group may set {}", known.join(", "))) }
        }
    };
    ck.report(d);
    false
}

/// A setting's value: one for all trained weights, or, where groups override it, one for each. `base` is the value that
/// groups have not touched.
pub fn merged(ck: &Checker, overrides: &Overrides, key: &str, base: Option<NumVal>) -> Option<NumVal> {
    let Some(changed) = overrides.get(key) else { return base };
    let trained = ck.program.weights.iter().enumerate().filter(|(_, w)| w.trained).map(|(i, _)| i);
    // A penalty that only groups speak of is 0 elsewhere.
    let base = base.unwrap_or(NumVal::Int(0));
    let values: Vec<&NumVal> = trained.map(|i| changed.get(&i).unwrap_or(&base)).collect();
    match values.split_first() {
        Some((first, rest)) if rest.iter().any(|v| v != first) => {
            Some(NumVal::Host(Host::Segment(values.into_iter().map(to_host).collect())))
        }
        Some((first, _)) => Some((*first).clone()),
        None => Some(base),
    }
}

/// A setting's value for one weight. A penalty that only groups speak of is none elsewhere.
pub fn of_weight(overrides: &Overrides, key: &str, base: Option<NumVal>, weight: WeightId) -> Option<NumVal> {
    overrides.get(key).and_then(|changed| changed.get(&(weight.0 as usize)).cloned()).or(base)
}

/// What groups say of a weight; weights of which they say the same have the same settings.
pub fn said_of(overrides: &Overrides, weight: WeightId) -> Vec<(&str, &NumVal)> {
    let said = overrides.iter().map(|(key, changed)| (key.as_str(), changed.get(&(weight.0 as usize))));
    said.filter_map(|(key, value)| Some((key, value?))).collect()
}

/// A number as an argument by name.
pub fn given(name: Option<&str>, value: NumVal, span: Span) -> Given {
    Given { name: name.map(|n| (n.into(), span)), val: Val::Num(Num::plain(value)), span }
}

/// The settings that are not the same for all trained weights, each with its value for those that a group speaks of.
pub fn differing(ck: &Checker, overrides: &Overrides) -> Vec<(String, Vec<(WeightId, Host)>)> {
    let trained = |i: &usize| ck.program.weights[*i].trained;
    let values = |changed: &BTreeMap<usize, NumVal>| {
        changed.iter().filter(|(i, _)| trained(i)).map(|(i, n)| (WeightId(*i as u32), to_host(n))).collect()
    };
    overrides.iter().map(|(name, changed)| (name.clone(), values(changed))).collect()
}
