//! A `lora` item made of a folder that PEFT or dlc has written: the tensors say what is adapted, with which rank, and what is
//! trained besides; the configuration says the scales.

use super::config::Config;
use super::exchange::{self, Part};
use super::keys;
use crate::error::{Error, Result, code};
use crate::weights::file::TensorFile;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

/// What a target may say of its own.
#[derive(Clone, Debug, PartialEq)]
struct Settings {
    rank: u64,
    alpha: f64,
}

/// The text of an item that takes a folder's adapter. `prefix` is what the folder's names have before those of the model;
/// `shown` is what the item calls the folder.
///
/// # Errors
/// When the folder has no adapter, or one that asks for what is not here, or names that do not begin so.
pub fn item(folder: &Path, prefix: &str, shown: &str) -> Result<String> {
    let (tensors, config) = exchange::files(folder);
    let file = TensorFile::open(&tensors)?;
    let Some(config) = config else {
        return Err(Error::file(code::ADAPTER, format!("there is no configuration beside {}", tensors.display())));
    };
    let config = Config::read(&config)?;
    let residual = config.is_residual();
    let notes = config.check(&[], residual)?;
    let mut targets: Vec<(Settings, Vec<String>)> = Vec::new();
    let mut beside: Vec<String> = Vec::new();
    for stored in file.names() {
        let shape = &file.get(stored).expect("the name is one of the file's").shape;
        match exchange::part(stored) {
            Some(Part::First(module)) => {
                let groups = groups(&file, stored, shape);
                let rank = shape.first().copied().unwrap_or(0) / groups;
                let all = config.alpha_of(module)?;
                // The scale is that of all groups' ranks together.
                let alpha = all / if config.is_stable() { (groups as f64).sqrt() } else { groups as f64 };
                let settings = Settings { rank: rank as u64, alpha };
                let module = own(module, prefix, &tensors)?;
                match targets.iter_mut().find(|(known, _)| *known == settings) {
                    Some((_, modules)) => modules.push(module),
                    None => targets.push((settings, vec![module])),
                }
            }
            Some(Part::Other) => {}
            Some(Part::Beside(name)) => beside.push(own(&name, prefix, &tensors)?),
            None => {
                let message = format!("{} has `{stored}`, which is nothing of an adapter's", tensors.display());
                return Err(Error::file(code::ADAPTER, message));
            }
        }
    }
    // What most targets have is the item's own.
    targets.sort_by_key(|(_, modules)| std::cmp::Reverse(modules.len()));
    if targets.is_empty() {
        return Err(Error::file(code::ADAPTER, format!("{} has no adapter", tensors.display())));
    }
    let mut text: String = notes.iter().map(|note| format!("// {note}\n")).collect();
    text.push_str(&written(&config, prefix, &targets, &beside)?);
    if !prefix.is_empty() {
        let _ = writeln!(text, "  prefix = {prefix:?}");
    }
    let _ = writeln!(text, "  file = {shown:?}\n}}");
    Ok(text)
}

/// How many groups the convolution has whose first matrix this is: the second one, beside it, reads the rows of one.
fn groups(file: &TensorFile, first: &str, shape: &[usize]) -> usize {
    let second = exchange::second(first).and_then(|name| file.get(&name));
    match (shape, second.map(|tensor| tensor.shape)) {
        ([rows, _, _, ..], Some([_, own, ..])) if *own > 0 && rows % own == 0 => (rows / own).max(1),
        _ => 1,
    }
}

/// A name without the prefix.
fn own(name: &str, prefix: &str, path: &Path) -> Result<String> {
    let rest = name.strip_prefix(prefix);
    let rest = if prefix.is_empty() { rest } else { rest.and_then(|rest| rest.strip_prefix('.')) };
    rest.map(str::to_owned).ok_or_else(|| {
        Error::file(code::ADAPTER, format!("{} has `{name}`, which does not begin with `{prefix}.`", path.display()))
    })
}

/// The item but for its last lines.
fn written(config: &Config, prefix: &str, targets: &[(Settings, Vec<String>)], beside: &[String]) -> Result<String> {
    let common = &targets[0].0;
    let divisor = if config.is_stable() { "rank ^ 0.5" } else { "rank" };
    let scale = |alpha: f64| format!("scale = {alpha} / {divisor}");
    let mut text = format!("lora Adapter {{\n  rank = {}\n  {}\n", common.rank, scale(common.alpha));
    let mut line = |line: &str| {
        let _ = writeln!(text, "  {line}");
    };
    if config.dropout() > 0.0 {
        line(&format!("dropout = {}", config.dropout()));
    }
    for key in ["use_dora", "lora_bias"].into_iter().filter(|key| config.flag(key)) {
        line(keys::line(key));
    }
    if config.is_residual() {
        line("base = residual");
    }
    line("freeze \"**\"");
    if !beside.is_empty() {
        line(&format!("unfreeze {}", globs(beside, &|_, _| Ok(false))?));
    }
    // A star stands for all layers. These are all that there are, if the configuration would take one more as well, and none
    // of them has other settings.
    let all = |kind: &Kind, count: u64| -> Result<bool> {
        let apart = targets.iter().filter(|(_, modules)| kinds(modules).contains_key(kind)).count() > 1;
        let next = [prefix, &kind.0, &count.to_string(), &kind.1];
        Ok(!apart && config.targets(&joined(&next), true)?)
    };
    for (settings, modules) in targets {
        let mut own = Vec::new();
        if settings.rank != common.rank {
            own.push(format!("rank = {}", settings.rank));
        }
        if settings.alpha != common.alpha {
            own.push(scale(settings.alpha));
        }
        let own = if own.is_empty() { String::new() } else { format!(" {{ {} }}", own.join("  ")) };
        line(&format!("target {}{own}", globs(modules, &all)?));
    }
    Ok(text)
}

/// What stands before the number of a layer in a name, and what after it.
type Kind = (String, String);

/// Names by their kind, each with the numbers of its layers.
fn kinds(names: &[String]) -> BTreeMap<Kind, Vec<u64>> {
    let mut kinds: BTreeMap<Kind, Vec<u64>> = BTreeMap::new();
    for name in names {
        let segments: Vec<&str> = name.split('.').collect();
        let layer = segments.iter().position(|segment| segment.parse::<u64>().is_ok());
        let (before, after, number) = match layer {
            Some(at) => (segments[..at].join("."), segments[at + 1..].join("."), segments[at].parse::<u64>().ok()),
            None => (name.clone(), String::new(), None),
        };
        kinds.entry((before, after)).or_default().extend(number);
    }
    kinds
}

/// Globs for names, one for those of a kind. `all` says whether so many layers of a kind are all that there are.
fn globs(names: &[String], all: &dyn Fn(&Kind, u64) -> Result<bool>) -> Result<String> {
    let glob = |(kind, mut numbers): (Kind, Vec<u64>)| {
        numbers.sort_unstable();
        let count = numbers.len() as u64;
        let each = match &numbers[..] {
            [] => String::new(),
            [one] => one.to_string(),
            many if many.iter().copied().eq(0..count) && all(&kind, count)? => "*".into(),
            many => format!("{{{}}}", many.iter().map(u64::to_string).collect::<Vec<_>>().join(",")),
        };
        Ok(format!("{:?}", joined(&[&kind.0, &each, &kind.1])))
    };
    Ok(kinds(names).into_iter().map(glob).collect::<Result<Vec<_>>>()?.join(", "))
}

/// A name of those parts that are there.
fn joined(parts: &[&str]) -> String {
    parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(".")
}
