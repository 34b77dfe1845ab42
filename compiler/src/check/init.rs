//! First values of weights: which expression decides, and how a product reads a weight.

use super::Checker;
use super::frame::{Decl, Slot, SlotKind};
use super::stacks::SlotParam;
use crate::program::{Function, Node, Op, Value, View};
use dlc_grammar::{Diagnostic, nearest};
use dlc_plan::Prim;
use dlc_plan::glob::{Glob, idle_alternatives};
use std::rc::Rc;

/// Applies the `init` statements of the innermost net to its weights: the last one that covers a weight decides.
pub(super) fn apply_rules(checker: &mut Checker) -> Option<()> {
    let rules = std::mem::take(&mut checker.root().inits);
    let mut fine = Some(());
    for rule in &rules {
        for glob in &rule.globs {
            let compiled = match Glob::new(&glob.value) {
                Ok(compiled) => compiled,
                Err(why) => {
                    checker.report(Diagnostic::error("E0503", glob.span, why));
                    fine = None;
                    continue;
                }
            };
            // What an adapter adds, only its own text gives first values.
            let root = checker.root();
            let (slots, adapter) = (&mut root.slots, root.adapter.is_some());
            let own = |s: &Slot| is_weight(s) && (!s.decl.added || adapter);
            let mut hits = 0;
            for slot in slots.iter_mut().filter(|s| own(s) && compiled.covers(&s.path)) {
                hits += 1;
                slot.decl = Rc::new(Decl { init: Some(rule.init.clone()), ..(*slot.decl).clone() });
            }
            let names = slots.iter().filter(|s| is_weight(s)).map(|s| &*s.path);
            let mut idle = vec![("this `init` matches no weight".to_owned(), glob.value.clone())];
            if hits > 0 {
                let hits = |glob: &Glob| slots.iter().any(|s| own(s) && glob.covers(&s.path));
                let each = idle_alternatives(&glob.value, &hits).into_iter();
                idle = each.map(|idle| (format!("this `init` matches no weight as `{idle}`"), idle)).collect();
            }
            let told = idle.into_iter().map(|(message, glob_text)| {
                let d = Diagnostic::error("E0501", glob.span, message);
                match near_glob(&glob_text, names.clone()) {
                    Some(near) => d.help(near),
                    None => d,
                }
            });
            for d in told.collect::<Vec<_>>() {
                checker.report(d);
                fine = None;
            }
        }
    }
    fine
}

/// Whether a slot is a weight, not a random site.
pub(super) fn is_weight(s: &Slot) -> bool {
    !matches!(s.decl.kind, SlotKind::Site(_))
}

/// A glob like the one that matched nothing, with its last segments set right: `near it: **.q_lin (6 modules)`.
pub fn near_glob<'a>(glob: &str, names: impl Iterator<Item = &'a str>) -> Option<String> {
    let names: Vec<&str> = names.collect();
    let wanted: Vec<&str> = glob.split('.').collect();
    let mut segments: Vec<&str> = names.iter().flat_map(|n| n.split('.')).collect();
    segments.sort_unstable();
    segments.dedup();
    // One segment is wrong at a time; a slip in two of them is no slip.
    for (i, segment) in wanted.iter().enumerate().rev() {
        let Some(near) = near_segment(segment, &segments) else { continue };
        let mut fixed = wanted.clone();
        fixed[i] = near;
        let fixed = fixed.join(".");
        let Ok(compiled) = Glob::new(&fixed) else { continue };
        let mut modules: Vec<String> = Vec::new();
        for name in &names {
            let parts: Vec<&str> = name.split('.').collect();
            let shortest = (1..=parts.len()).map(|n| parts[..n].join(".")).find(|m| compiled.matches(m));
            modules.extend(shortest.filter(|m| m != name || compiled.matches(name)));
        }
        modules.sort_unstable();
        modules.dedup();
        if modules.is_empty() {
            continue;
        }
        let weights = modules.iter().all(|m| names.contains(&m.as_str()));
        let what = match (weights, modules.len()) {
            (true, 1) => "1 weight".to_string(),
            (true, n) => format!("{n} weights"),
            (false, 1) => "1 module".to_string(),
            (false, n) => format!("{n} modules"),
        };
        return Some(format!("near it: {fixed} ({what})"));
    }
    None
}

/// The segment that is nearest by its letters; else one that begins with the same word: `q_proj` and `q_lin`.
fn near_segment<'a>(wrote: &str, segments: &[&'a str]) -> Option<&'a str> {
    let word = wrote.split_inclusive('_').next().filter(|word| word.ends_with('_'));
    let alike = |s: &&str| *s != wrote && word.is_some_and(|word| s.starts_with(word));
    nearest(wrote, segments.iter().copied()).or_else(|| segments.iter().copied().find(|s| alike(s)))
}

/// Notes for each weight with two axes that a product reads which axis is summed over: that is its fan-in.
pub(super) fn find_summed(f: &Function, params: &[SlotParam], slots: &mut [Slot]) {
    let first = f.params.len() - params.len();
    for node in &f.nodes {
        let Op::Contract(c) = &node.op else { continue };
        for (arg, labels) in node.args.iter().zip([&c.a, &c.b]) {
            let Some((param, axes)) = source(f, *arg) else { continue };
            let Some(SlotParam::One(slot)) = param.checked_sub(first).map(|i| &params[i]) else { continue };
            let slot = &mut slots[*slot];
            if axes.len() != 2 || slot.decl.summed.is_some() || !is_weight(slot) {
                continue;
            }
            let summed = (0..2).find(|i| !c.out.contains(&labels[*i])).map(|i| axes[i]);
            slot.decl = Rc::new(Decl { summed, ..(*slot.decl).clone() });
        }
    }
}

/// The parameter that a value is, looked at through permutations and casts, and the parameter's axis for each of its axes.
fn source(f: &Function, v: Value) -> Option<(usize, Vec<usize>)> {
    let passes = |n: &Node| matches!(n.op, Op::View(View::Permute(_)) | Op::Map(Prim::Cast(_)));
    let (param, between) = f.source(v, passes)?;
    let mut axes: Vec<usize> = (0..f.ty(v).rank()).collect();
    for node in between {
        if let Op::View(View::Permute(p)) = &node.op {
            axes = axes.iter().map(|i| p[*i]).collect();
        }
    }
    Some((param, axes))
}
