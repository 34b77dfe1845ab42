//! Several adapters on one base: each is read once, and one or a weighted sum of them is given to a model that was compiled
//! for adapters of any rank. A sum of adapters is one whose rank is the sum of theirs: their A lie side by side, their B, each
//! times its adapter's scale, one below the other. So nothing is compiled, whatever is chosen, and none has rank 0.
//!
//! The layers of a loop are one stack, which has one rank: where theirs differ, zeros fill up the smaller ones.

use super::config::Config;
use super::exchange::{goes, groups_of, joined, module, name, other_name, read, said};
use super::groups::gathered;
use crate::error::{Error, Result, code};
use crate::machine::{Machine, Named};
use crate::weights::file::TensorFile;
use dlc_plan::Size;
use dlc_plan::plan::Port;
use dlc_plan::recipe::{Adaptable, Adapted, AdapterInput, Lora};
use dlc_runtime::tensor::Tensor;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// An adapter that has been read.
#[derive(Clone, Debug)]
pub struct Adapter {
    shown: String,
    /// For each adapted weight that it adapts too, by its label.
    layers: BTreeMap<String, Layer>,
    /// What was trained beside it, as its file has it.
    beside: Named,
    config: Option<Config>,
    notes: Vec<String>,
}

/// The two thin matrices of a layer, as a file has them: A as [rank, in], B as [out, rank].
#[derive(Clone, Debug)]
struct Layer {
    a: Vec<f32>,
    b: Vec<f32>,
    rank: usize,
    scale: f64,
}

/// What some adapters make of a model.
#[derive(Clone, Debug, Default)]
pub struct Sum {
    /// What `forward` takes besides the model's own inputs.
    pub inputs: Named,
    /// The weights that take the place of the base's.
    pub beside: Named,
}

/// The two weights that a sum is made of.
const PARAMS: [&str; 2] = ["A", "B"];

impl Adapter {
    /// Reads an adapter for a model, whatever its rank and scale. It may leave layers out that the model's adapts.
    ///
    /// # Errors
    /// When the file is no adapter, is for another base, or has more than the two matrices of LoRA.
    pub fn open(lora: &Lora, path: &Path) -> Result<Adapter> {
        if let Some(adapted) = lora.adapted.iter().find(|adapted| adapted.params != PARAMS) {
            let message = format!("`{}` is no product of A and B alone, so it has no place in a sum", adapted.block);
            return Err(Error::spec(code::ADAPTER, message).help("`dlc merge` takes it into the weights"));
        }
        let (tensors, config) = super::exchange::files(path);
        let file = TensorFile::open(&tensors)?;
        let config = config.map(|path| Config::read(&path)).transpose()?;
        let notes = said(config.as_ref(), &[], lora)?;
        let mut all: BTreeSet<&str> = file.names().collect();
        let shown = path.display().to_string();
        let mut adapter = Adapter { shown, layers: BTreeMap::new(), beside: Named::new(), config, notes };
        for adapted in &lora.adapted {
            let named = |param| joined(lora, module(adapted), name(param, adapted.form).unwrap_or(param));
            let [a, b] = PARAMS.map(named);
            let (Some(first), Some(_)) = (file.get(&a), file.get(&b)) else { continue };
            let groups = groups_of(adapted);
            let rows = first.shape.first().copied().unwrap_or(0);
            let module = &joined(lora, module(adapted), "")[super::exchange::PREFIX.len()..];
            let scale = match &adapter.config {
                Some(config) => config.scale_of(module, rows as f64)?,
                None => adapted.scale,
            };
            let elements = |name: &str| Ok::<_, Error>(read(&file, name)?.to_f32_vec());
            let first = gathered(&a, elements(&a)?, rows, groups)?;
            let layer = Layer { a: first, b: elements(&b)?, rank: rows / groups, scale };
            adapter.layers.insert(adapted.label.clone(), layer);
            all.remove(a.as_str());
            all.remove(b.as_str());
        }
        if adapter.layers.is_empty() {
            let message = format!("{} has nothing that `{}` adapts: it is for another base", adapter.shown, lora.name);
            return Err(Error::file(code::ADAPTER, message));
        }
        for stored in all {
            match other_name(lora, stored).filter(|name| !name.contains(".lora_")) {
                Some(_) => adapter.beside.push((stored.to_owned(), read(&file, stored)?)),
                None => {
                    let message = format!("{} has `{stored}`, which `{}` does not adapt", adapter.shown, lora.name);
                    return Err(Error::file(code::ADAPTER, message));
                }
            }
        }
        Ok(adapter)
    }

    /// What there is to say about it.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The weights of a machine that it brings with it.
    fn weights(&self, machine: &dyn Machine, lora: &Lora) -> Result<Named> {
        let mut found = Named::new();
        for (stored, tensor) in &self.beside {
            let misfit = match goes(machine, lora, &[], self.config.as_ref(), stored) {
                Some(goes) => goes.put(machine, self.config.as_ref(), (stored, tensor.clone()), &mut found)?,
                None => Some(format!("the model has no {stored}")),
            };
            if let Some(misfit) = misfit {
                let message = format!("{} is for another base: {misfit}", self.shown);
                return Err(Error::file(code::ADAPTER, message));
            }
        }
        Ok(found)
    }
}

/// A weighted sum of adapters, for a machine whose model they are given to and which has the base's weights; of none, the base
/// alone. Weights that were trained beside an adapter are as it has them, whatever its share.
///
/// # Errors
/// When an adapter has another shape than the machine's model, or two of them bring the same weight beside them.
pub fn sum(machine: &dyn Machine, adaptable: &Adaptable, terms: &[(&Adapter, f64)]) -> Result<Sum> {
    let ports = machine.ports("forward").map_or(&[][..], |(inputs, _)| inputs);
    let port = |given: &AdapterInput| ports.iter().find(|port| port.name == given.name);
    let given = adaptable.inputs.iter().filter_map(|given| Some((given, port(given)?)));
    let inputs: Vec<Input> = given.map(|(given, port)| Input::of(&adaptable.lora, port, given)).collect();
    // Inputs that share a rank have the largest that any of their layers needs.
    let mut ranks: BTreeMap<String, usize> = BTreeMap::new();
    for (input, rank) in inputs.iter().filter_map(|input| Some((input, input.rank()?))) {
        let needed = input.layers.iter().map(|adapted| needed(terms, &adapted.label)).max().unwrap_or(0);
        let shared = ranks.entry(rank.to_string()).or_default();
        *shared = needed.max(*shared);
    }
    let rank = |input: &Input| input.rank().map_or(0, |rank| ranks[&rank.to_string()]);
    let made = inputs.iter().map(|input| Ok((input.port.name.clone(), input.made(terms, rank(input))?)));
    Ok(Sum { inputs: made.collect::<Result<_>>()?, beside: beside(machine, &adaptable.lora, terms)? })
}

/// The rank that a layer has in a sum.
fn needed(terms: &[(&Adapter, f64)], label: &str) -> usize {
    terms.iter().filter_map(|(adapter, _)| adapter.layers.get(label)).map(|layer| layer.rank).sum()
}

/// An input that is to be made.
struct Input<'a> {
    port: &'a Port,
    part: Part,
    /// The layers, in the order in which they lie in it.
    layers: Vec<&'a Adapted>,
}

/// What an input is of adapters.
#[derive(Clone, Copy, PartialEq)]
enum Part {
    /// A, as [in, rank], of an operand of that size.
    A(usize),
    /// B, as [rank, out], of a result of that size.
    B(usize),
    /// A weight that no sum has. Where it is 0, nothing is added.
    Other,
}

impl<'a> Input<'a> {
    fn of(lora: &'a Lora, port: &'a Port, given: &'a AdapterInput) -> Input<'a> {
        let known = |size: &Size| size.known().map_or(0, |n| n as usize);
        let part = match (given.name.rsplit('.').next(), port.shape.as_slice()) {
            (Some("A"), [.., size, _]) => Part::A(known(size)),
            (Some("B"), [.., size]) => Part::B(known(size)),
            _ => Part::Other,
        };
        let layer = |weight: &String| {
            let (label, _) = weight.rsplit_once('.')?;
            lora.adapted.iter().find(|adapted| adapted.label == label)
        };
        Input { port, part, layers: given.weights.iter().filter_map(layer).collect() }
    }

    /// The size of its axis that is a rank.
    fn rank(&self) -> Option<&'a Size> {
        match (self.part, self.port.shape.as_slice()) {
            (Part::A(_), [.., rank]) | (Part::B(_), [.., rank, _]) => Some(rank),
            _ => None,
        }
    }

    /// Its value: for each layer the matrices of all adapters after each other, then zeros.
    fn made(&self, terms: &[(&Adapter, f64)], rank: usize) -> Result<Tensor> {
        let shape: Vec<usize> = self.port.shape.iter().map(|size| size.known().map_or(rank, |n| n as usize)).collect();
        let mut all = vec![0.0; shape.iter().product()];
        let each = (all.len() / self.layers.len().max(1)).max(1);
        for (whole, adapted) in all.chunks_exact_mut(each).zip(&self.layers) {
            let mut at = 0;
            for (adapter, share) in terms {
                let Some(layer) = adapter.layers.get(&adapted.label) else { continue };
                self.check(adapter, adapted, layer)?;
                match self.part {
                    Part::A(size) => put_a(whole, layer, (size, rank), at),
                    Part::B(size) => put_b(whole, layer, size, at, share * layer.scale),
                    Part::Other => {}
                }
                at += layer.rank;
            }
        }
        Ok(Tensor::from_f32(shape, all)?)
    }

    fn check(&self, adapter: &Adapter, adapted: &Adapted, layer: &Layer) -> Result<()> {
        let fits = match self.part {
            Part::A(size) => layer.a.len() == size * layer.rank,
            Part::B(size) => layer.b.len() == size * layer.rank,
            Part::Other => true,
        };
        if fits {
            return Ok(());
        }
        let message = format!("{} has another shape for `{}`: it is for another base", adapter.shown, adapted.weight);
        Err(Error::file(code::ADAPTER, message))
    }
}

/// Puts a layer's A, [rank, in] in its file, into the columns of a wider one that begin there.
fn put_a(whole: &mut [f32], layer: &Layer, (size, rank): (usize, usize), at: usize) {
    for (r, row) in layer.a.chunks_exact(size.max(1)).enumerate() {
        for (i, x) in row.iter().enumerate() {
            whole[i * rank + at + r] = *x;
        }
    }
}

/// Puts a layer's B, [out, rank] in its file, into the rows of a higher one that begin there, times its scale.
fn put_b(whole: &mut [f32], layer: &Layer, size: usize, at: usize, scale: f64) {
    for (o, column) in layer.b.chunks_exact(layer.rank.max(1)).enumerate() {
        for (r, x) in column.iter().enumerate() {
            whole[(at + r) * size + o] = (f64::from(*x) * scale) as f32;
        }
    }
}

/// The weights that adapters bring with them, each once.
fn beside(machine: &dyn Machine, lora: &Lora, terms: &[(&Adapter, f64)]) -> Result<Named> {
    let mut found: BTreeMap<String, (&Adapter, Tensor)> = BTreeMap::new();
    for (adapter, _) in terms {
        for (name, tensor) in adapter.weights(machine, lora)? {
            match found.get(&name) {
                Some((first, known)) if *known != tensor => {
                    let message = format!("{} and {} each have a `{name}` of their own", first.shown, adapter.shown);
                    return Err(Error::file(code::ADAPTER, message).help("of such adapters, one at a time"));
                }
                Some(_) => {}
                None => drop(found.insert(name, (adapter, tensor))),
            }
        }
    }
    Ok(found.into_iter().map(|(name, (_, tensor))| (name, tensor)).collect())
}
