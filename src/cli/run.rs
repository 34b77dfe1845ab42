//! `dlc run`: a model on tensors of a file.

use super::args::{required_path, start_threads, text_of};
use super::fail::Outcome;
use super::interp::Interp;
use super::spec::Source;
use super::weights::Said;
use crate::adapters::{self, Adapter, Sum};
use crate::data::cast;
use crate::error::{Error, Result, code};
use crate::jit::network;
use crate::machine::{Machine, Named};
use crate::weights::file::TensorFile;
use clap::ArgMatches;
use dlc_compiler::pipeline::Goal;
use dlc_plan::HostState;
use dlc_plan::recipe::Adaptable;
use dlc_runtime::tensor::Tensor;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Runs a model.
pub fn main(args: &ArgMatches, json: bool) -> Outcome {
    start_threads(args);
    let source = Source::open(args)?;
    let training = args.get_flag("training");
    let folders: Vec<PathBuf> = args.get_many("adapter").into_iter().flatten().cloned().collect();
    let wanted = text_of(args, "MODEL");
    let goal = match folders.is_empty() {
        true => Goal::Run { model: wanted, training },
        false => Goal::Adapted { item: wanted },
    };
    let compiled = source.compile(goal, json)?;
    let seed = args.get_one::<u64>("seed").copied().unwrap_or_default();
    let state = HostState { seed, ..HostState::default() };
    let said = Said::of(&compiled);
    let adapters = compiled.adaptable.map(|adaptable| (adaptable, folders));
    let given = Given { adapters, ..Given::of(args, &source) };
    if text_of(args, "engine") == Some("interp") {
        let mut interp = Interp::new(compiled.program);
        run(&mut interp, "forward", &state, &said, &given)
    } else {
        let mut net = network(compiled.plan, None, seed)?;
        run(net.engine_mut(), "forward", &state, &said, &given)
    }
}

/// The files that an entry is run on.
pub struct Given {
    /// The weights; none for those that the spec names.
    weights: Option<PathBuf>,
    inputs: PathBuf,
    out: PathBuf,
    /// What the spec's own file is relative to.
    folder: PathBuf,
    /// What adapters it is run with, and where these are.
    adapters: Option<(Adaptable, Vec<PathBuf>)>,
}

impl Given {
    /// What the command line says.
    pub fn of(args: &ArgMatches, source: &Source) -> Given {
        let (inputs, out) = (required_path(args, "in").clone(), required_path(args, "out").clone());
        Given { weights: args.get_one("weights").cloned(), inputs, out, folder: source.folder(), adapters: None }
    }
}

/// Runs an entry: weights and inputs come from two files, outputs go to a third.
pub fn run(machine: &mut dyn Machine, entry: &str, state: &HostState, said: &Said, given: &Given) -> Outcome {
    let Given { weights, inputs, out, folder, adapters } = given;
    said.load(machine, state, weights.as_ref(), folder).map_err(|error| said.place(error))?;
    let adapted = match adapters {
        Some((adaptable, folders)) => put_on(machine, adaptable, folders)?,
        None => Named::new(),
    };
    let inputs = read_inputs(machine, entry, inputs, &adapted)?;
    let inputs: Vec<(&str, &Tensor)> =
        inputs.iter().chain(&adapted).map(|(name, tensor)| (name.as_str(), tensor)).collect();
    let outputs = machine.run(entry, state, &inputs).map_err(Error::from)?;
    let outputs: Vec<(&str, &Tensor)> = outputs.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    Ok(crate::weights::save(out, &outputs, &BTreeMap::new())?)
}

/// Lets a machine have what the sum of some adapters replaces in the base, and gives what it takes as inputs.
fn put_on(machine: &mut dyn Machine, adaptable: &Adaptable, folders: &[PathBuf]) -> Result<Named> {
    let all: Vec<Adapter> = folders.iter().map(|path| Adapter::open(&adaptable.lora, path)).collect::<Result<_>>()?;
    all.iter().flat_map(Adapter::notes).for_each(|note| eprintln!("note: {note}"));
    let terms: Vec<(&Adapter, f64)> = all.iter().map(|adapter| (adapter, 1.0)).collect();
    let Sum { inputs, beside } = adapters::sum(machine, adaptable, &terms)?;
    for (name, tensor) in &beside {
        machine.set_weight(name, tensor)?;
    }
    Ok(inputs)
}

/// The tensors of a file, in the types that an entry takes, but for those that are `given`. A tensor that it has no use for is
/// an error, as its name may be a misspelling.
fn read_inputs(machine: &dyn Machine, entry: &str, path: &Path, given: &Named) -> Result<Named> {
    let file = TensorFile::open(path)?;
    let ports = machine.ports(entry).map_or(&[][..], |(inputs, _)| inputs).iter();
    let ports: Vec<_> = ports.filter(|port| !given.iter().any(|(name, _)| *name == port.name)).collect();
    let listed = |names: Vec<&str>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let missing: Vec<&str> =
        ports.iter().map(|port| port.name.as_str()).filter(|name| file.get(name).is_none()).collect();
    let unused: Vec<&str> = file.names().filter(|name| !ports.iter().any(|port| port.name == *name)).collect();
    if !missing.is_empty() || !unused.is_empty() {
        let mut error = Error::file(code::BAD_INPUT, format!("{} does not have what is needed", path.display()));
        if !missing.is_empty() {
            error = error.note(format!("not in the file: {}", listed(missing)));
        }
        if !unused.is_empty() {
            error = error.note(format!("without use here: {}", listed(unused)));
        }
        return Err(error);
    }
    let read = |port: &&dlc_plan::plan::Port| {
        let tensor = file.read(&port.name).expect("the names were compared")?;
        let cannot = |error| Error::file(code::BAD_INPUT, format!("`{}` of {}: {error}", port.name, path.display()));
        Ok((port.name.clone(), cast(tensor, port.dtype).map_err(cannot)?))
    };
    ports.iter().map(read).collect()
}
