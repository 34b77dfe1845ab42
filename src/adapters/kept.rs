//! Taking a merge back from files: what it changed is kept as it was, in a file of its own, and put into the merged model
//! again. Base and adapter need not be there any more.

use crate::error::{Error, Result, code};
use crate::machine::{Machine, Named, Types, shortened};
use crate::weights::file::TensorFile;
use crate::weights::save;
use dlc_runtime::tensor::Tensor;
use flate2::Crc;
use std::collections::BTreeMap;
use std::path::Path;

/// The entry of such a file that says what the weights that it has were merged to.
const MERGED: &str = "merged";

/// The values of all weights but an adapter's own.
///
/// # Errors
/// When memory is short.
pub fn plain(machine: &dyn Machine, lora: &dlc_plan::recipe::Lora) -> Result<Named> {
    let own: std::collections::BTreeSet<String> = super::merge::params(lora).collect();
    let names = machine.weights().iter().map(|weight| weight.name.clone()).filter(|name| !own.contains(name));
    super::merge::values(machine, names)
}

/// Writes those of some weights that a machine has otherwise by now, as they were; both in the types that the base had. Gives
/// how many these are.
///
/// # Errors
/// When the file cannot be written, or a number does not fit.
pub fn keep(machine: &dyn Machine, before: &Named, path: &Path, types: &Types) -> Result<usize> {
    let mut changed: Named = Vec::new();
    let mut merged = Crc::new();
    // A file lists its tensors by name.
    let by_name: BTreeMap<&String, &Tensor> = before.iter().map(|(name, tensor)| (name, tensor)).collect();
    for (name, tensor) in by_name {
        let now = shortened(name, machine.weight(name)?, types)?;
        let tensor = shortened(name, tensor.clone(), types)?;
        if now.bytes() != tensor.bytes() {
            sum(&mut merged, name, &now);
            changed.push((name.clone(), tensor));
        }
    }
    let about = BTreeMap::from([(MERGED.to_owned(), merged.sum().to_string())]);
    let named: Vec<(&str, &Tensor)> = changed.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    save(path, &named, &about)?;
    Ok(changed.len())
}

/// Writes a merged model with the weights that were kept of it in the place of the merged ones: what there was before, bit by
/// bit. Gives how many weights were changed.
///
/// # Errors
/// When the files do not belong together, or one cannot be read or written.
pub fn unmerge(merged: &Path, kept: &Path, out: &Path) -> Result<usize> {
    let (model, before) = (TensorFile::open(merged)?, TensorFile::open(kept)?);
    let Some(expected) = before.about().get(MERGED) else {
        let message = format!("{} does not say what it was kept of", kept.display());
        return Err(Error::file(code::ADAPTER, message).help("`dlc merge --keep FILE` writes what `dlc unmerge` takes"));
    };
    let mut found = Crc::new();
    let mut all: Named = Vec::new();
    let mut changed = 0;
    for name in model.names() {
        let tensor = model.read(name).expect("the name is one of the file's")?;
        match before.read(name) {
            None => all.push((name.to_owned(), tensor)),
            Some(old) => {
                sum(&mut found, name, &tensor);
                all.push((name.to_owned(), old?));
                changed += 1;
            }
        }
    }
    if changed != before.names().count() || found.sum().to_string() != *expected {
        let message = format!("{} is not the merged model that {} was kept of", merged.display(), kept.display());
        return Err(Error::file(code::ADAPTER, message));
    }
    let named: Vec<(&str, &Tensor)> = all.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    save(out, &named, &BTreeMap::new())?;
    Ok(changed)
}

/// Goes on with a sum over a weight's name, shape and elements.
fn sum(sum: &mut Crc, name: &str, tensor: &Tensor) {
    sum.update(format!("{name} {:?} ", tensor.shape()).as_bytes());
    sum.update(tensor.bytes());
}
