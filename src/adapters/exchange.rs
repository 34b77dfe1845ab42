//! Which tensor of a file of PEFT's is which weight of an adapter, and reading and writing such files. A file is
//! `adapter_model.safetensors` (or `adapter_model.bin`, as older versions write) beside `adapter_config.json`; what PEFT calls them, this table says. An adapter whose weights
//! PEFT has no names for, or whose layers differ in kind, is written without a configuration.

use super::config::{Config, Layer};
use super::groups::{gathered, spread};
use crate::error::{Error, Result, code};
use crate::files::{make_folder, write_whole};
use crate::machine::{Machine, Named};
use crate::weights::file::TensorFile;
use crate::weights::{cast, save as save_tensors};
use dlc_plan::plan::{Store, Weight};
use dlc_plan::recipe::{Adapted, Form, Lora};
use dlc_runtime::tensor::{DType, Tensor};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What the file of tensors is called.
const TENSORS: &str = "adapter_model.safetensors";
/// What older versions of PEFT call it, which is a file of PyTorch's.
const OLDER_TENSORS: &str = "adapter_model.bin";
/// What the file that describes it is called.
const CONFIG: &str = "adapter_config.json";
/// What stands before all names.
pub(super) const PREFIX: &str = "base_model.model.";

/// An adapter's weight: its name here, its name in a layer of PEFT's, and that for tables.
const NAMES: [(&str, &str, Option<&str>); 4] = [
    ("A", "lora_A.weight", Some("lora_embedding_A")),
    ("B", "lora_B.weight", Some("lora_embedding_B")),
    ("bias", "lora_B.bias", None),
    (MAGNITUDE, "lora_magnitude_vector", Some("lora_magnitude_vector")),
];
/// The lengths of a weight's columns.
const MAGNITUDE: &str = "magnitude";

/// A weight, and how it lies in a file.
pub(super) struct Pair {
    /// Its name.
    ours: String,
    /// Its name in the file.
    theirs: String,
    /// Its shape in the file, and whether rows and columns are exchanged there.
    shape: Vec<usize>,
    turned: bool,
    /// How many groups share it that have a part of the file's tensor each.
    groups: usize,
    /// Whether it is stored beyond the lengths of this weight's columns, and which axis of that is summed over.
    beyond: Option<(String, usize)>,
}

/// The file at a path, which may be a folder, and the configuration beside it, if there is one.
pub(crate) fn files(path: &Path) -> (PathBuf, Option<PathBuf>) {
    let named = || [TENSORS, OLDER_TENSORS].map(|name| path.join(name));
    let tensors = match path.is_dir() {
        true => named().into_iter().find(|file| file.is_file()).unwrap_or_else(|| path.join(TENSORS)),
        false => path.to_owned(),
    };
    let config = tensors.with_file_name(CONFIG);
    (tensors, config.is_file().then_some(config))
}

/// Whether an adapter can be written as PEFT's, which has one kind for all layers, and no lengths for what has groups.
fn is_theirs(lora: &Lora) -> bool {
    let known = |adapted: &Adapted| {
        let formed = match adapted.form {
            Form::Matrix | Form::Table | Form::Tied => true,
            Form::Kernel(groups) => groups == 1 || !adapted.params.iter().any(|p| p == MAGNITUDE),
            Form::Other => false,
        };
        formed && adapted.params.iter().all(|p| name(p, adapted.form).is_some())
    };
    let alike = |two: &[Adapted]| two[0].params == two[1].params;
    lora.adapted.iter().all(known) && lora.adapted.windows(2).all(alike)
}

/// What PEFT calls an adapter's weight below its layer.
pub(super) fn name(param: &str, form: Form) -> Option<&'static str> {
    let (_, layer, rows) = NAMES.iter().find(|(ours, ..)| *ours == param)?;
    if matches!(form, Form::Table | Form::Tied) { *rows } else { Some(layer) }
}

/// What a tensor of a file is, whatever the model.
pub(super) enum Part<'a> {
    /// The first matrix of the adapter of this module, [rank, ..].
    First(&'a str),
    /// Something else of an adapter's, or rows of a table.
    Other,
    /// This weight, trained beside it.
    Beside(String),
}

/// What a tensor of this name is; none where it is nothing that belongs into such a file.
pub(super) fn part(stored: &str) -> Option<Part<'_>> {
    let name = stored.strip_prefix(PREFIX)?;
    for (ours, layer, rows) in NAMES {
        let module =
            [Some(layer), rows].into_iter().flatten().find_map(|suffix| name.strip_suffix(suffix)?.strip_suffix('.'));
        if let Some(module) = module {
            return Some(if ours == NAMES[0].0 { Part::First(module) } else { Part::Other });
        }
    }
    Some(if name.ends_with(ROWS) { Part::Other } else { Part::Beside(plain(name)) })
}

/// What the second matrix of a layer is called whose first is called so.
pub(super) fn second(first: &str) -> Option<String> {
    let [(_, a, _), (_, b, _), ..] = NAMES;
    first.strip_suffix(a).map(|module| format!("{module}{b}"))
}

/// A weight's name without what PEFT puts into it.
fn plain(name: &str) -> String {
    name.replacen(".base_layer.", ".", 1).replacen(".modules_to_save.", ".", 1)
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
        let base = of(&adapted.weight).map_or(&[][..], |weight| &weight.shape);
        for param in &adapted.params {
            let ours = format!("{}.{param}", adapted.label);
            let Some(weight) = of(&ours) else { continue };
            let theirs = name(param, adapted.form).unwrap_or(param);
            let (shape, turned) = their_shape(&weight.shape, base, param, adapted.form);
            let groups = if param == NAMES[0].0 { groups_of(adapted) } else { 1 };
            let beyond = (param == MAGNITUDE).then(|| (adapted.weight.clone(), usize::from(!adapted.inner_first)));
            found.push(Pair { theirs: joined(lora, module(adapted), theirs), ours, shape, turned, groups, beyond });
        }
    }
    found
}

pub(super) fn joined(lora: &Lora, module: &str, name: &str) -> String {
    let parts = [lora.prefix.as_str(), module, name];
    PREFIX.to_owned() + &parts.iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(".")
}

/// How many groups a convolution has of whose kernel this is the adapter.
pub(super) fn groups_of(adapted: &Adapted) -> usize {
    if let Form::Kernel(groups) = adapted.form { groups as usize } else { 1 }
}

/// The shape that a file has for a weight of an adapter, and whether it is the other way round there, as matrices are: those
/// of convolutions have a window.
fn their_shape(own: &[usize], base: &[usize], param: &str, form: Form) -> (Vec<usize>, bool) {
    let window = |first: [usize; 2]| first.into_iter().chain(vec![1; base.len().saturating_sub(2)]).collect();
    match (own, form) {
        ([rows, columns], Form::Matrix | Form::Table | Form::Tied | Form::Other) => (vec![*columns, *rows], true),
        ([_, rank], Form::Kernel(groups)) if param == NAMES[0].0 => {
            let (groups, mut shape) = (groups as usize, base.to_vec());
            (shape[0], shape[1]) = (groups * rank, groups * base[1]);
            (shape, true)
        }
        ([rank, columns], Form::Kernel(_)) => (window([*columns, *rank]), true),
        ([columns], Form::Kernel(_)) if param == MAGNITUDE => (window([1, *columns]), false),
        _ => (own.to_vec(), false),
    }
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
        Pair { ours: weight.name.clone(), theirs, shape: weight.shape.clone(), turned: false, groups: 1, beyond: None }
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
            Some(base) => shifted(&tensor, &lengths(machine, base)?, 1.0, &pair.shape)?,
            None if pair.turned => turned(&tensor, pair)?,
            None => tensor,
        };
        // PEFT asks for what is tied under each of its names.
        let aliases = machine.weights().iter().find(|w| w.name == pair.ours).map_or(&[][..], |w| &w.aliases);
        tensors.extend(aliases.iter().map(|alias| (joined(lora, "", alias), tensor.clone())));
        tensors.push((pair.theirs.clone(), tensor));
    }
    let named: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    // PEFT looks for this entry.
    let about = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    save_tensors(&folder.join(TENSORS), &named, &about)?;
    if !is_theirs(lora) {
        return Ok(());
    }
    let layers = layers(lora);
    let other: Vec<&str> = beside.iter().map(|pair| &pair.theirs[PREFIX.len()..]).collect();
    let trained = |weight: &&Weight| beside.iter().any(|pair| pair.ours == weight.name);
    let tied = machine.weights().iter().filter(trained).any(|weight| !weight.aliases.is_empty());
    // What is adapted in an embedding is adapted in the output that is tied to it, as PEFT does if it is told to.
    let tied = tied || lora.adapted.iter().any(|adapted| adapted.form == Form::Tied);
    let config = Config::of(&layers, &other, tied, carried)?;
    write_whole(&folder.join(CONFIG), |file| file.write_all(config.text().as_bytes()))
}

fn layers(lora: &Lora) -> Vec<Layer> {
    lora.adapted.iter().map(|adapted| layer(lora, adapted)).collect()
}

fn layer(lora: &Lora, adapted: &Adapted) -> Layer {
    Layer {
        module: joined(lora, module(adapted), "")[PREFIX.len()..].to_owned(),
        rank: adapted.rank,
        groups: groups_of(adapted) as u64,
        scale: adapted.scale,
        dropout: adapted.dropout,
        magnitude: adapted.params.iter().any(|p| p == MAGNITUDE),
        bias: adapted.params.iter().any(|p| p == "bias"),
        inner_first: adapted.inner_first && !matches!(adapted.form, Form::Table | Form::Tied),
        linear: adapted.form == Form::Matrix,
    }
}

/// Where a tensor of a file goes.
pub(super) enum Goes<'a> {
    /// It is an adapter's.
    Own(&'a Pair),
    /// It is a weight that was trained beside.
    Whole(&'a Weight),
    /// It is some rows of a table.
    Rows(&'a Weight, Vec<u64>),
}

/// What stands behind a module of whose table a file has some rows.
const ROWS: &str = ".token_adapter.trainable_tokens_delta";

/// Where the tensor of this name goes; none where it is neither one of the `pairs` nor a weight of the model.
pub(super) fn goes<'a>(
    machine: &'a dyn Machine,
    lora: &Lora,
    pairs: &'a [Pair],
    config: Option<&Config>,
    stored: &str,
) -> Option<Goes<'a>> {
    if let Some(pair) = pairs.iter().find(|pair| pair.theirs == stored) {
        return Some(Goes::Own(pair));
    }
    let called = |name: &str| machine.weights().iter().find(|w| w.name == name || w.aliases.iter().any(|a| a == name));
    let Some(module) = stored.strip_suffix(ROWS) else { return called(&other_name(lora, stored)?).map(Goes::Whole) };
    let rows = config?.rows_of(module.strip_prefix(PREFIX)?)?;
    called(&format!("{}.weight", other_name(lora, module)?)).map(|weight| Goes::Rows(weight, rows))
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
    let mut trouble = Trouble::new(&tensors);
    let mut found = Named::new();
    let mut notes = Vec::new();
    for stored in file.names() {
        let Some(goes) = goes(machine, lora, &pairs, config.as_ref(), stored) else {
            trouble.stray.push(stored.to_owned());
            continue;
        };
        match goes.put(machine, config.as_ref(), (stored, read(&file, stored)?), &mut found)? {
            Some(misfit) => trouble.misfits.push(misfit),
            None => notes.extend(goes.note()),
        }
    }
    trouble.absent =
        pairs.iter().filter(|pair| file.get(&pair.theirs).is_none()).map(|pair| pair.theirs.clone()).collect();
    trouble.check(lora)?;
    notes.extend(said(config.as_ref(), &layers(lora), lora)?);
    for (name, tensor) in &found {
        machine.set_weight(name, tensor)?;
    }
    Ok(notes)
}

/// A tensor of a file, in single precision.
pub(super) fn read(file: &TensorFile, name: &str) -> Result<Tensor> {
    Ok(cast(file.read(name).expect("the name is one of the file's")?, DType::F32))
}

/// What there is to say of what is beside a file, held against an item and its layers.
///
/// # Errors
/// When it asks for what the item does not do.
pub(super) fn said(config: Option<&Config>, layers: &[Layer], lora: &Lora) -> Result<Vec<String>> {
    match config {
        Some(config) => {
            let mut notes = config.check(layers, lora.residual)?;
            let tied = lora.adapted.iter().filter(|adapted| adapted.form == Form::Tied && !config.ties());
            notes.extend(tied.map(|adapted| {
                format!("`{}` is read by an output too, where PEFT adapts it only when it is merged", adapted.weight)
            }));
            Ok(notes)
        }
        None => Ok(vec![format!("there is no {CONFIG} beside it: scales are the spec's")]),
    }
}

impl Goes<'_> {
    /// Puts the weight's value, made of what the file has, with those that were found before. Gives what does not fit.
    ///
    /// # Errors
    /// When the weight would part from another, or a row is not there.
    pub(super) fn put(
        &self,
        machine: &dyn Machine,
        config: Option<&Config>,
        (stored, tensor): (&str, Tensor),
        found: &mut Named,
    ) -> Result<Option<String>> {
        self.check_tied(config, stored)?;
        let (ours, shape) = self.to();
        if tensor.shape() != shape {
            return Ok(Some(format!("{stored} is {:?} there and {shape:?} here", tensor.shape())));
        }
        let value = self.taken(machine, tensor)?;
        if found.iter().any(|(name, other)| name == ours && *other != value) {
            return Ok(Some(format!("{stored} is `{ours}` here, which the file has otherwise under another name")));
        }
        found.push((ours.to_owned(), value));
        Ok(None)
    }

    /// What there is to say of it, where it is trained no further.
    fn note(&self) -> Option<String> {
        let Goes::Rows(Weight { name, .. }, rows) = self else { return None };
        let count = rows.len();
        Some(format!("{count} rows of `{name}` are the adapter's from here on; they are not trained"))
    }

    /// The weight, and the shape that the file has for what goes there.
    fn to(&self) -> (&str, Vec<usize>) {
        match self {
            Goes::Own(pair) => (&pair.ours, pair.shape.clone()),
            Goes::Whole(weight) => (&weight.name, weight.shape.clone()),
            Goes::Rows(weight, rows) => {
                (&weight.name, [rows.len()].iter().chain(weight.shape.iter().skip(1)).copied().collect())
            }
        }
    }

    /// A weight that has two names here was to be trained under both.
    fn check_tied(&self, config: Option<&Config>, stored: &str) -> Result<()> {
        let (Goes::Whole(Weight { name, aliases, .. }), Some(config)) = (self, config) else { return Ok(()) };
        let (Some(other), false) = (aliases.first(), config.ties()) else { return Ok(()) };
        let message = format!("`{name}` and `{other}` are one weight here, and would part: only {stored} was trained");
        let error = Error::file(code::ADAPTER, message);
        Err(error.help("PEFT trains both as one with `ensure_weight_tying`; or a spec that does not tie them"))
    }

    /// The weight's value, made of what the file has.
    fn taken(&self, machine: &dyn Machine, tensor: Tensor) -> Result<Tensor> {
        match self {
            Goes::Own(Pair { beyond: Some(base), ours, .. }) => {
                shifted(&tensor, &lengths(machine, base)?, -1.0, &shape_of(machine, ours))
            }
            Goes::Own(pair) if pair.turned => turned_back(&tensor, pair, shape_of(machine, &pair.ours)),
            Goes::Own(_) | Goes::Whole(_) => Ok(tensor),
            Goes::Rows(Weight { name, .. }, rows) => replaced(&machine.weight(name)?, rows, &tensor)
                .map_err(|row| Error::file(code::ADAPTER, format!("`{name}` has no row {row}, which the adapter has"))),
        }
    }
}

/// A table with some rows replaced.
///
/// # Errors
/// The first row that it does not have.
fn replaced(table: &Tensor, rows: &[u64], by: &Tensor) -> std::result::Result<Tensor, u64> {
    let mut elements = table.to_f32_vec();
    let width = by.elements() / rows.len().max(1);
    for (row, new) in rows.iter().zip(by.to_f32_vec().chunks(width.max(1))) {
        let at = usize::try_from(*row).ok().and_then(|row| row.checked_mul(width)).ok_or(*row)?;
        elements.get_mut(at..at.saturating_add(width)).ok_or(*row)?.copy_from_slice(new);
    }
    Ok(Tensor::from_f32(table.shape().to_vec(), elements).expect("it has as many elements as before"))
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
pub(super) fn other_name(lora: &Lora, stored: &str) -> Option<String> {
    let name = stored.strip_prefix(&joined(lora, "", ""))?.trim_start_matches('.');
    Some(plain(name))
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

/// The lengths of a weight's columns, or of its rows, in double precision: its first axis is summed over, or all others.
fn lengths(machine: &dyn Machine, (name, inner): &(String, usize)) -> Result<Vec<f64>> {
    let weight = machine.weight(name)?;
    let elements = weight.to_f32_vec();
    let rows = weight.shape().first().copied().unwrap_or(1).max(1);
    let columns = (elements.len() / rows).max(1);
    let mut sums = vec![0.0; if *inner == 0 { columns } else { rows }];
    for (i, x) in elements.into_iter().enumerate() {
        let at = if *inner == 0 { i % columns } else { i / columns };
        sums[at] += f64::from(x) * f64::from(x);
    }
    Ok(sums.into_iter().map(f64::sqrt).collect())
}

/// A tensor with numbers added, or taken off, in a shape.
fn shifted(tensor: &Tensor, by: &[f64], sign: f64, shape: &[usize]) -> Result<Tensor> {
    let moved = tensor.to_f32_vec().into_iter().zip(by).map(|(x, by)| (f64::from(x) + sign * by) as f32).collect();
    Tensor::from_f32(shape.to_vec(), moved).map_err(Error::from)
}

/// A matrix as a file has it: with its rows as columns, in another shape.
fn turned(tensor: &Tensor, pair: &Pair) -> Result<Tensor> {
    let [rows, columns] = tensor.shape() else { unreachable!("a matrix has rows and columns") };
    let all = spread(&transposed(&tensor.to_f32_vec(), *rows), *columns, pair.groups);
    Tensor::from_f32(pair.shape.clone(), all).map_err(Error::from)
}

/// The other way round.
fn turned_back(tensor: &Tensor, pair: &Pair, shape: Vec<usize>) -> Result<Tensor> {
    let own = gathered(&pair.theirs, tensor.to_f32_vec(), pair.shape[0], pair.groups)?;
    let columns = shape.get(1).copied().unwrap_or(1);
    Tensor::from_f32(shape, transposed(&own, columns)).map_err(Error::from)
}

/// A matrix of so many rows, with its columns as rows.
fn transposed(elements: &[f32], rows: usize) -> Vec<f32> {
    let columns = elements.len() / rows.max(1);
    (0..columns).flat_map(|column| (0..rows).map(move |row| elements[row * columns + column])).collect()
}
