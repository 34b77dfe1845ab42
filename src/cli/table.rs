//! What an adapter comes to, as a table: which weights it adapts, how many it trains, and what a step takes in memory. Takes
//! what a training was compiled to.

use super::progress::count;
use crate::adapters::merge::params;
use dlc_compiler::pipeline::Compiled;
use dlc_plan::Plan;
use dlc_plan::layout::Layout;
use dlc_plan::plan::{Entry, Store, Weight};
use dlc_plan::recipe::{Batch, Lora, Recipe};
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write;

/// A length that stands for one that is not known.
const LENGTH: i64 = 128;

/// The table of a training, if it has an adapter.
pub fn table(compiled: &Compiled) -> Option<String> {
    let (plan, recipe) = (&compiled.plan, compiled.recipe.as_ref()?);
    let lora = recipe.lora.as_ref()?;
    let mut out = format!("lora {} of train {}\n", lora.name, recipe.name);
    let _ = writeln!(out, "  {:<44} {:>6} {:>5} {:>12}", "what is adapted", "layers", "rank", "trained");
    let size: HashMap<&str, usize> = plan.weights.iter().map(|w| (w.name.as_str(), w.len())).collect();
    for (pattern, layers, rank, count) in patterns(lora, &size) {
        let _ = writeln!(out, "  {pattern:<44} {layers:>6} {rank:>5} {:>12}", grouped(count as u64));
    }
    let own: BTreeSet<String> = params(lora).collect();
    let is_trained = |w: &&Weight| w.store == Store::Trained;
    for (pattern, layers, count) in beside(plan.weights.iter().filter(is_trained).filter(|w| !own.contains(&w.name))) {
        let _ = writeln!(out, "  {pattern:<44} {layers:>6} {:>5} {:>12}", "all", grouped(count as u64));
    }
    let sum = |of: &dyn Fn(&&Weight) -> bool| plan.weights.iter().filter(of).map(Weight::len).sum::<usize>() as u64;
    let (trained, all) = (sum(&is_trained), sum(&|w| !matches!(w.store, Store::Ints(_))));
    let share = 100.0 * trained as f64 / all.max(1) as f64;
    let _ = writeln!(out, "  trained are {} of {}, {share:.3} %", grouped(trained), grouped(all));
    let moments = trained * plan.states.len() as u64;
    let _ = write!(
        out,
        "  bytes: weights {}, gradients {}, moments {}",
        grouped(4 * all),
        grouped(4 * trained),
        grouped(4 * moments)
    );
    match activations(plan, recipe) {
        Some((bytes, sizes)) => drop(writeln!(out, ", activations {} at {sizes}", grouped(bytes))),
        None => out.push('\n'),
    }
    Some(out)
}

/// What is adapted, with its numbers as stars: how often, at which rank, and how many weights that takes.
fn patterns(lora: &Lora, size: &HashMap<&str, usize>) -> Vec<(String, usize, u64, usize)> {
    let mut found: Vec<(String, usize, u64, usize)> = Vec::new();
    for adapted in &lora.adapted {
        let own = |param: &String| size.get(format!("{}.{param}", adapted.label).as_str()).copied().unwrap_or(0);
        let count: usize = adapted.params.iter().map(own).sum();
        let pattern = starred(&adapted.weight);
        match found.iter_mut().find(|row| row.0 == pattern && row.2 == adapted.rank) {
            Some(row) => {
                row.1 += 1;
                row.3 += count;
            }
            None => found.push((pattern, 1, adapted.rank, count)),
        }
    }
    found
}

/// What is trained whole.
fn beside<'a>(weights: impl Iterator<Item = &'a Weight>) -> Vec<(String, usize, usize)> {
    let mut found: Vec<(String, usize, usize)> = Vec::new();
    for weight in weights {
        let pattern = starred(&weight.name);
        match found.iter_mut().find(|row| row.0 == pattern) {
            Some(row) => {
                row.1 += 1;
                row.2 += weight.len();
            }
            None => found.push((pattern, 1, weight.len())),
        }
    }
    found
}

fn starred(name: &str) -> String {
    let star = |part: &str| if part.bytes().all(|b| b.is_ascii_digit()) { "*".to_owned() } else { part.to_owned() };
    name.split('.').map(star).collect::<Vec<_>>().join(".")
}

/// The bytes that a step keeps between its kernels, and at which sizes.
fn activations(plan: &Plan, recipe: &Recipe) -> Option<(u64, String)> {
    let entry: &Entry = plan.entries.iter().find(|e| e.name == "accumulate")?;
    let rows = match recipe.data.as_ref().map(|data| data.batch) {
        Some(Batch::Rows(rows)) => i64::try_from(rows).ok()?,
        Some(Batch::All) | None => 1,
    };
    let longest = recipe.data.iter().flat_map(|data| &data.encodings).filter_map(|e| e.max).max();
    let length = longest.and_then(|n| i64::try_from(n).ok()).unwrap_or(LENGTH);
    let mut dims = vec![length; plan.dims.len()];
    let mut shown: Vec<String> = Vec::new();
    for axis in entry.inputs.iter().flat_map(|port| port.shape.iter().take(1)) {
        axis.dims().iter().for_each(|d| dims[usize::from(*d)] = rows);
    }
    for d in entry.inputs.iter().flat_map(|port| &port.shape).flat_map(|axis| axis.dims()) {
        let text = format!("{} = {}", plan.dims[usize::from(d)], dims[usize::from(d)]);
        if !shown.contains(&text) {
            shown.push(text);
        }
    }
    let bytes = |b: &dlc_plan::plan::Buffer| u64::try_from(b.len.eval(&dims)).unwrap_or(0) * b.elem.bytes() as u64;
    let bytes: Vec<u64> = entry.buffers.iter().map(bytes).collect();
    Some((Layout::new(entry, &bytes).bytes(), shown.join(", ")))
}

fn grouped(n: u64) -> String {
    count(n as f64)
}
