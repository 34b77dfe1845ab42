//! Which tensor of a file of PEFT's is which weight of an adapter, and reading and writing such files. A file is
//! `adapter_model.safetensors` beside `adapter_config.json`; what PEFT calls them, this table says. An adapter whose weights
//! PEFT has no names for is written under its own, without a configuration.

use super::config::{Config, Layer};
use crate::error::{Error, Result, code};
use crate::files::{make_folder, write_whole};
use crate::machine::Machine;
use crate::weights::file::TensorFile;
use crate::weights::{cast, save as save_tensors};
use dlc_plan::plan::{Store, Weight};
use dlc_plan::recipe::{Adapted, Lora};
use dlc_runtime::tensor::{DType, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What the file of tensors is called.
const TENSORS: &str = "adapter_model.safetensors";
/// What the file that describes it is called.
const CONFIG: &str = "adapter_config.json";
/// What stands before all names.
pub(super) const PREFIX: &str = "base_model.model.";

/// An adapter's weight: its name here, its name in a layer of PEFT's, and that for tables.
const NAMES: [(&str, &str, Option<&str>); 3] = [
    ("A", "lora_A.weight", Some("lora_embedding_A")),
    ("B", "lora_B.weight", Some("lora_embedding_B")),
    ("magnitude", "lora_magnitude_vector", None),
];

/// A weight, and how it lies in a file.
struct Pair {
    /// Its name.
    ours: String,
    /// Its name in the file.
    theirs: String,
    /// Its shape in the file, and whether rows and columns are exchanged there.
    shape: Vec<usize>,
    turned: bool,
    /// Whether it is stored beyond the lengths of this weight's columns, and which axis of that is summed over.
    beyond: Option<(String, usize)>,
}

/// The file at a path, which may be a folder, and the configuration beside it, if there is one.
pub(super) fn files(path: &Path) -> (PathBuf, Option<PathBuf>) {
    if path.is_dir() {
        return (path.join(TENSORS), Some(path.join(CONFIG)));
    }
    let beside = path.with_file_name(CONFIG);
    (path.to_owned(), beside.is_file().then_some(beside))
}

/// Whether an adapter can be written as PEFT's.
fn has_names(lora: &Lora) -> bool {
    let known = |adapted: &Adapted| adapted.params.iter().all(|p| name(p, adapted.table).is_some());
    lora.adapted.iter().all(known)
}

/// What PEFT calls an adapter's weight below its layer.
pub(super) fn name(param: &str, table: bool) -> Option<&'static str> {
    let (_, layer, rows) = NAMES.iter().find(|(ours, ..)| *ours == param)?;
    if table { *rows } else { Some(layer) }
}

/// The module that an adapter is in.
pub(super) fn module(adapted: &Adapted) -> &str {
    adapted.label.strip_suffix("lora").map_or("", |module| module.strip_suffix('.').unwrap_or(module))
}

/// The adapter's own weights, each with its place in a file.
fn pairs(machine: &dyn Machine, lora: &Lora) -> Vec<Pair> {
    let of = |wanted: &str| machine.weights().iter().find(|weight| weight.name == wanted);
    let mut found = Vec::new();
    for adapted in &lora.adapted {
        let window = of(&adapted.weight).map_or(2, |weight| weight.shape.len());
        for param in &adapted.params {
            let ours = format!("{}.{param}", adapted.label);
            let Some(weight) = of(&ours) else { continue };
            let theirs = name(param, adapted.table).unwrap_or(param);
            let (shape, turned) = their_shape(weight, of(&adapted.weight), param, window);
            let beyond = (param == "magnitude").then(|| (adapted.weight.clone(), usize::from(!adapted.inner_first)));
            found.push(Pair { theirs: joined(lora, module(adapted), theirs), ours, shape, turned, beyond });
        }
    }
    found
}

pub(super) fn joined(lora: &Lora, module: &str, name: &str) -> String {
    let parts = [lora.prefix.as_str(), module, name];
    PREFIX.to_owned() + &parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(".")
}

/// The shape that a file has for a weight: matrices are the other way round there, and those of convolutions have a window.
fn their_shape(weight: &Weight, base: Option<&Weight>, param: &str, rank: usize) -> (Vec<usize>, bool) {
    let [rows, columns] = weight.shape[..] else { return (weight.shape.clone(), false) };
    let mut shape = vec![columns, rows];
    if let (true, Some(base)) = (rank > 2, base) {
        shape.truncate(1);
        match param {
            "A" => shape.extend(&base.shape[1..]),
            _ => shape.extend(std::iter::once(rows).chain(vec![1; rank - 2])),
        }
    }
    (shape, true)
}

/// The weights besides an adapter's own that are trained with it.
fn beside(machine: &dyn Machine, lora: &Lora) -> Vec<Pair> {
    let own: BTreeSet<String> = super::merge::params(lora).collect();
    let modules: BTreeSet<&str> = lora.adapted.iter().map(module).collect();
    let trained = machine.weights().iter().filter(|w| w.store == Store::Trained && !own.contains(&w.name));
    let pair = |weight: &Weight| {
        let theirs = match weight.name.rsplit_once('.') {
            Some((module, last)) if modules.contains(module) => joined(lora, module, &format!("base_layer.{last}")),
            Some(_) | None => joined(lora, "", &weight.name),
        };
        Pair { ours: weight.name.clone(), theirs, shape: weight.shape.clone(), turned: false, beyond: None }
    };
    trained.map(pair).collect()
}

/// Writes an adapter, and what is trained beside it, into a folder that PEFT can load. `carried` is a configuration that it
/// came with, whose keys that say nothing about its numbers are kept.
///
/// # Errors
/// When a file cannot be written.
pub fn save(machine: &dyn Machine, lora: &Lora, folder: &Path, carried: Option<&Config>) -> Result<()> {
    make_folder(folder)?;
    let (own, beside) = (pairs(machine, lora), beside(machine, lora));
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    for pair in own.iter().chain(&beside) {
        let tensor = machine.weight(&pair.ours)?;
        let tensor = match &pair.beyond {
            Some(base) => shifted(&tensor, &lengths(machine, base)?, 1.0)?,
            None if pair.turned => turned(&tensor, &pair.shape)?,
            None => tensor,
        };
        tensors.push((pair.theirs.clone(), tensor));
    }
    let named: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    // PEFT looks for this entry.
    let about = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    save_tensors(&folder.join(TENSORS), &named, &about)?;
    if !has_names(lora) {
        return Ok(());
    }
    let layers = layers(lora);
    let other: Vec<&str> = beside.iter().map(|pair| &pair.theirs[PREFIX.len()..]).collect();
    let config = Config::of(&layers, &other, carried);
    write_whole(&folder.join(CONFIG), |file| file.write_all(config.text().as_bytes()))
}

fn layers(lora: &Lora) -> Vec<Layer> {
    lora.adapted.iter().map(|adapted| layer(lora, adapted)).collect()
}

fn layer(lora: &Lora, adapted: &Adapted) -> Layer {
    Layer {
        module: joined(lora, module(adapted), "")[PREFIX.len()..].to_owned(),
        rank: adapted.rank,
        scale: adapted.scale,
        dropout: adapted.dropout,
        magnitude: adapted.params.iter().any(|p| p == "magnitude"),
        inner_first: adapted.inner_first && !adapted.table,
    }
}

/// Gives a machine the weights of an adapter's file, and of what was trained beside it. Gives what there is to say about it.
///
/// # Errors
/// When the file is no adapter, or one for another base, or its configuration has what is not here; then nothing is changed.
pub fn load(machine: &mut dyn Machine, lora: &Lora, path: &Path) -> Result<Vec<String>> {
    let (tensors, config) = files(path);
    let file = TensorFile::open(&tensors)?;
    let config = config.map(|path| Config::read(&path)).transpose()?;
    let pairs = pairs(machine, lora);
    let known = |name: &str| pairs.iter().find(|pair| pair.theirs == name);
    let mut trouble = Trouble::new(&tensors);
    let mut found: Vec<(String, Tensor)> = Vec::new();
    for stored in file.names() {
        let pair = known(stored);
        let other = other_name(lora, stored);
        let own = machine.weights().iter().find(|weight| Some(&weight.name) == other.as_ref());
        let (ours, shape, turn) = match (pair, own) {
            (Some(pair), _) => (pair.ours.clone(), pair.shape.clone(), pair.turned),
            (None, Some(weight)) => (weight.name.clone(), weight.shape.clone(), false),
            (None, None) => {
                trouble.stray.push(stored.to_owned());
                continue;
            }
        };
        let there = file.get(stored).expect("the name is one of the file's");
        if there.shape != shape {
            trouble.misfits.push(format!("{stored} is {:?} there and {shape:?} here", there.shape));
            continue;
        }
        let tensor = cast(file.read(stored).expect("the name is one of the file's")?, DType::F32);
        let tensor = match pair.and_then(|pair| pair.beyond.as_ref()) {
            Some(base) => shifted(&tensor, &lengths(machine, base)?, -1.0)?,
            None if turn => turned_back(&tensor, &shape_of(machine, &ours))?,
            None => tensor,
        };
        found.push((ours, tensor));
    }
    trouble.absent =
        pairs.iter().filter(|pair| file.get(&pair.theirs).is_none()).map(|pair| pair.theirs.clone()).collect();
    trouble.check(lora)?;
    let layers = layers(lora);
    let notes = config.map_or(Ok(Vec::new()), |config| config.check(&layers))?;
    for (name, tensor) in &found {
        machine.set_weight(name, tensor)?;
    }
    Ok(notes)
}

/// The configuration beside an adapter's file, if there is one.
///
/// # Errors
/// When it cannot be read.
pub fn config_of(path: &Path) -> Result<Option<Config>> {
    files(path).1.map(|path| Config::read(&path)).transpose()
}

fn shape_of(machine: &dyn Machine, name: &str) -> Vec<usize> {
    machine.weights().iter().find(|weight| weight.name == name).map_or(Vec::new(), |weight| weight.shape.clone())
}

/// What a weight that was trained beside an adapter is called here.
fn other_name(lora: &Lora, stored: &str) -> Option<String> {
    let name = stored.strip_prefix(&joined(lora, "", ""))?.trim_start_matches('.');
    let plain = name.replacen(".base_layer.", ".", 1);
    Some(plain.replacen(".modules_to_save.", ".", 1))
}

/// All that does not fit.
struct Trouble<'a> {
    path: &'a Path,
    stray: Vec<String>,
    absent: Vec<String>,
    misfits: Vec<String>,
}

/// Of each kind of trouble, so many lines are shown.
const MOST_LINES: usize = 8;

impl Trouble<'_> {
    fn new(path: &Path) -> Trouble<'_> {
        Trouble { path, stray: Vec::new(), absent: Vec::new(), misfits: Vec::new() }
    }

    fn check(&self, lora: &Lora) -> Result<()> {
        if self.stray.is_empty() && self.absent.is_empty() && self.misfits.is_empty() {
            return Ok(());
        }
        let shown = self.path.display();
        let all: usize = lora.adapted.iter().map(|adapted| adapted.params.len()).sum();
        let message = match (self.absent.len(), self.misfits.is_empty()) {
            (n, _) if n == all => format!("{shown} has nothing that `{}` adapts: it is for another base", lora.name),
            (_, false) => format!("{shown} is for another base or another rank"),
            (_, true) => format!("{shown} and `{}` do not adapt the same weights", lora.name),
        };
        let mut lines = Vec::new();
        for (what, found) in
            [("does not fit", &self.misfits), ("not in the file", &self.absent), ("not adapted here", &self.stray)]
        {
            lines.extend(found.iter().take(MOST_LINES).map(|line| format!("  {what:<17} {line}")));
            if found.len() > MOST_LINES {
                lines.push(format!("  {what:<17} and {} more", found.len() - MOST_LINES));
            }
        }
        Err(Error::file(code::ADAPTER, message).note(lines.join("\n")))
    }
}

/// The lengths of a matrix' columns, or of its rows, in double precision: the axis with that number is summed over.
fn lengths(machine: &dyn Machine, (name, inner): &(String, usize)) -> Result<Vec<f64>> {
    let weight = machine.weight(name)?;
    let columns = weight.shape().get(1).copied().unwrap_or(1).max(1);
    let mut sums = vec![0.0; weight.shape().get(1 - inner).copied().unwrap_or(0)];
    for (i, x) in weight.to_f32_vec().into_iter().enumerate() {
        let at = if *inner == 0 { i % columns } else { i / columns };
        sums[at] += f64::from(x) * f64::from(x);
    }
    Ok(sums.into_iter().map(f64::sqrt).collect())
}

/// A tensor with numbers added, or taken off.
fn shifted(tensor: &Tensor, by: &[f64], sign: f64) -> Result<Tensor> {
    let moved = tensor.to_f32_vec().into_iter().zip(by).map(|(x, by)| (f64::from(x) + sign * by) as f32).collect();
    Tensor::from_f32(tensor.shape().to_vec(), moved).map_err(Error::from)
}

/// A matrix with its rows as columns, in the shape that a file has for it.
fn turned(tensor: &Tensor, shape: &[usize]) -> Result<Tensor> {
    let rows = tensor.shape()[0];
    transposed(tensor, rows, shape)
}

/// The other way round.
fn turned_back(tensor: &Tensor, shape: &[usize]) -> Result<Tensor> {
    transposed(tensor, shape.get(1).copied().unwrap_or(1), shape)
}

fn transposed(tensor: &Tensor, rows: usize, shape: &[usize]) -> Result<Tensor> {
    let elements = tensor.to_f32_vec();
    let columns = elements.len() / rows.max(1);
    let mut out = Vec::with_capacity(elements.len());
    for column in 0..columns {
        out.extend((0..rows).map(|row| elements[row * columns + column]));
    }
    Tensor::from_f32(shape.to_vec(), out).map_err(Error::from)
}
