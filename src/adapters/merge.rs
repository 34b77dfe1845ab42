//! Merging an adapter into the weights that it adapts, and taking it back. What merges is the plan's entry `merge`; here it
//! is seen that it did something, that the adapter adds nothing any more, and what became of the model's outputs.

use crate::error::{Error, Result, code};
use crate::machine::{Machine, Named, Types};
use dlc_plan::HostState;
use dlc_plan::recipe::{Lora, Weights};
use dlc_runtime::tensor::Tensor;
use std::collections::BTreeSet;

/// What a merge has changed, as it was before.
pub struct Kept {
    base: Named,
    adapter: Named,
}

/// How far two runs of a model are apart.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The largest difference of two elements.
    pub largest: f64,
    /// The mean of all.
    pub mean: f64,
    /// Rows that were compared.
    pub rows: usize,
}

/// Takes an adapter into the weights that it adapts. Its own weights become 0, so that it adds nothing more; what was there
/// is given back.
///
/// # Errors
/// When nothing would change, or the adapter is not one that can be merged; then all is as before.
pub fn merge(machine: &mut dyn Machine, lora: &Lora) -> Result<Kept> {
    if machine.ports("merge").is_none() {
        let message = format!("`{}` is not an adapter that can be merged", lora.name);
        return Err(Error::run(code::ADAPTER, message).help("`finish = merge` in its item tells why"));
    }
    let kept = Kept { base: values(machine, changed(lora).into_iter())?, adapter: values(machine, params(lora))? };
    let done = merge_checked(machine, lora, &kept);
    if done.is_err() {
        unmerge(machine, &kept)?;
    }
    done.map(|()| kept)
}

fn merge_checked(machine: &mut dyn Machine, lora: &Lora, kept: &Kept) -> Result<()> {
    let state = HostState::default();
    machine.run("merge", &state, &[])?;
    let merged = values(machine, changed(lora).into_iter())?;
    if merged == kept.base {
        let message = format!("merging `{}` would change none of its {} weights", lora.name, lora.adapted.len());
        let error = Error::run(code::ADAPTER, message);
        return Err(error.help("it has not been trained, or it is not the file that was meant"));
    }
    if let Some((name, _)) = merged.iter().find(|(_, tensor)| tensor.to_f32_vec().iter().any(|x| !x.is_finite())) {
        return Err(Error::run(code::ADAPTER, format!("`{name}` would not be finite")));
    }
    for (name, tensor) in &kept.adapter {
        machine.set_weight(name, &zeros(tensor)?)?;
    }
    // An adapter whose weights are 0 adds nothing, or the model would not be the same without it.
    machine.run("merge", &state, &[])?;
    if values(machine, changed(lora).into_iter())? != merged {
        let block = lora.adapted.first().map_or("", |adapted| adapted.block.as_str());
        let message = format!("`{block}` adds something even where all its weights are 0, so it cannot be merged");
        return Err(Error::run(code::ADAPTER, message));
    }
    Ok(())
}

/// The weights that a merge changes: those that are adapted, and the biases that take the rest.
fn changed(lora: &Lora) -> BTreeSet<String> {
    lora.adapted.iter().flat_map(|adapted| [Some(&adapted.weight), adapted.bias.as_ref()]).flatten().cloned().collect()
}

/// Gives the weights back that a merge has changed, bit by bit, and the adapter with them.
///
/// # Errors
/// When these are not the weights of the machine that was merged.
pub fn unmerge(machine: &mut dyn Machine, kept: &Kept) -> Result<()> {
    for (name, tensor) in kept.base.iter().chain(&kept.adapter) {
        machine.set_weight(name, tensor)?;
    }
    Ok(())
}

/// How far outputs are from those of another run, real ones alone; rows are those of the first.
pub fn compare(one: &Named, other: &Named) -> Change {
    let mut change = Change { largest: 0.0, mean: 0.0, rows: 0 };
    let mut count = 0usize;
    for ((_, a), (_, b)) in one.iter().zip(other).filter(|((_, a), _)| a.as_f32().is_ok()) {
        change.rows = change.rows.max(a.shape().first().copied().unwrap_or(1));
        for (x, y) in a.to_f32_vec().iter().zip(b.to_f32_vec()) {
            let apart = f64::from((x - y).abs());
            change.largest = change.largest.max(apart);
            change.mean += apart;
            count += 1;
        }
    }
    change.mean /= count.max(1) as f64;
    change
}

/// The names of an adapter's own weights.
pub fn params(lora: &Lora) -> impl Iterator<Item = String> + '_ {
    let own = |adapted: &dlc_plan::recipe::Adapted| {
        adapted.params.iter().map(|param| format!("{}.{param}", adapted.label)).collect::<Vec<_>>()
    };
    lora.adapted.iter().flat_map(own)
}

/// The rules for a file of a base, where the spec has none: it has nothing of the adapter's.
pub fn base_rules(lora: &Lora) -> Weights {
    Weights { missing: params(lora).collect(), ..Weights::default() }
}

/// Writes all weights but an adapter's own: the plain model, in the types that its base had.
///
/// # Errors
/// When the file cannot be written, or a number does not fit.
pub fn save_plain(
    machine: &dyn Machine,
    lora: &Lora,
    path: &std::path::Path,
    about: &[(&str, String)],
    types: &Types,
) -> Result<()> {
    let own: BTreeSet<String> = params(lora).collect();
    crate::machine::save_some(machine, path, about, (&|name| !own.contains(name), types))
}

pub(super) fn values(machine: &dyn Machine, names: impl Iterator<Item = String>) -> Result<Named> {
    names.map(|name| Ok((name.clone(), machine.weight(&name)?))).collect()
}

fn zeros(like: &Tensor) -> Result<Tensor> {
    Tensor::zeros(like.dtype(), like.shape()).map_err(Error::from)
}
