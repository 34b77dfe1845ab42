//! A model as text: what `--emit model` prints. Takes what a spec was lowered to; gives the inputs and outputs of its entry,
//! its weights with their types and first values, and what a training does to each.

use super::Lowered;
use crate::program::{Role, Weight, WeightId, print};
use std::fmt::Write;

/// The text.
pub fn show(l: &Lowered) -> String {
    let mut out = format!("model {}\n", l.model.name);
    let p = &l.program;
    if let Some(entry) = p.entry("forward") {
        let f = p.function(entry.function);
        for (role, param) in entry.inputs.iter().zip(&f.params) {
            match role {
                Role::Named(name) => line(&mut out, &["input", name, &print::ty(p, &param.ty)]),
                Role::Index(name, limit) | Role::Narrow(name, limit) => {
                    let limit = format!("below {}", limit.show(|s| s.show(&p.dims).to_string()));
                    line(&mut out, &["input", name, &print::ty(p, &param.ty), &limit]);
                }
                Role::Weight(_) | Role::Grad(_) | Role::Trained | Role::Grads | Role::State(_) | Role::StateOf(..) => {}
            }
        }
        for (role, ty) in entry.outputs.iter().zip(f.result_tys()) {
            if let Role::Named(name) = role {
                line(&mut out, &["output", name, &print::ty(p, &ty)]);
            }
        }
        entry.guards.iter().for_each(|(_, message)| line(&mut out, &["guard", message]));
    }
    let trains = l.recipe.is_some();
    for (i, (w, first)) in p.weights.iter().zip(&l.first_values).enumerate() {
        weight(&mut out, l, (WeightId(i as u32), w), first, trains);
    }
    let elements = |w: &&Weight| w.ty.len().known().unwrap_or(0);
    let count = |of: &dyn Fn(&&Weight) -> bool| p.weights.iter().filter(of).map(|w| elements(&w)).sum::<i64>();
    let _ = writeln!(out, "  {} elements in params", count(&|w| w.param));
    if let Some(recipe) = &l.recipe {
        let _ = writeln!(out, "train {}", recipe.name);
        let _ = writeln!(out, "  {} elements trained", count(&|w| w.trained));
        p.states.iter().for_each(|state| line(&mut out, &["state", state]));
        for (setting, values) in &l.differing {
            for (id, value) in values {
                let name = &p.weights[id.0 as usize].name;
                line(&mut out, &["group", name, &format!("{setting} = {}", print::host(p, value))]);
            }
        }
    }
    out
}

fn weight(out: &mut String, l: &Lowered, (_, w): (WeightId, &Weight), first: &str, trains: bool) {
    let kind = if w.param { "param" } else { "state" };
    let frozen = if trains && w.param && !w.trained { " frozen" } else { "" };
    let also: String = w.aliases.iter().map(|a| format!(" also {a}")).collect();
    let ty = print::ty(&l.program, &w.ty);
    line(out, &[kind, &w.name, &format!("{ty} = {first}{frozen}{also}")]);
}

fn line(out: &mut String, words: &[&str]) {
    let _ = writeln!(out, "  {}", words.join(" "));
}
