//! `dlc run`: a model on tensors of a file.

use super::args::{required_path, start_threads, text_of};
use super::fail::{Outcome, tell};
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
use dlc_compiler::program::Program;
use dlc_grammar::{Diagnostic, Severity, Sources};
use dlc_plan::plan::Port;
use dlc_plan::recipe::Adaptable;
use dlc_plan::{HostState, Plan};
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
    let given = Given { adapters, ..Given::of(args, &source, json) };
    let what = What { entry: "forward", state, said };
    on_engine(args, compiled.program, compiled.plan, &what, &given)
}

/// What is run: an entry, with what state, and what its spec says of weights.
pub struct What {
    /// The entry's name.
    pub entry: &'static str,
    /// The seed, and the step.
    pub state: HostState,
    /// What the spec says.
    pub said: Said,
}

/// Runs an entry on the engine that the command line names.
pub fn on_engine(args: &ArgMatches, program: Program, plan: Plan, what: &What, given: &Given) -> Outcome {
    if text_of(args, "engine") == Some("interp") {
        return run(&mut Interp::new(program), what, given);
    }
    let mut net = network(plan, None, what.state.seed)?;
    run(net.engine_mut(), what, given)
}

/// The files that an entry is run on.
pub struct Given {
    /// The weights; none for those that the spec names.
    weights: Option<PathBuf>,
    inputs: PathBuf,
    out: PathBuf,
    /// What the spec's own file is relative to.
    folder: PathBuf,
    /// Whether messages are to be JSON.
    json: bool,
    /// What adapters it is run with, and where these are.
    adapters: Option<(Adaptable, Vec<PathBuf>)>,
}

impl Given {
    /// What the command line says.
    pub fn of(args: &ArgMatches, source: &Source, json: bool) -> Given {
        let (inputs, out) = (required_path(args, "in").clone(), required_path(args, "out").clone());
        let weights = args.get_one("weights").cloned();
        Given { weights, inputs, out, folder: source.folder(), json, adapters: None }
    }
}

/// Runs an entry: weights and inputs come from two files, outputs go to a third.
fn run(machine: &mut dyn Machine, what: &What, given: &Given) -> Outcome {
    let What { entry, state, said } = what;
    let Given { weights, inputs, out, folder, json, adapters } = given;
    said.load(machine, state, weights.as_ref(), folder).map_err(|error| said.place(error))?;
    let adapted = match adapters {
        Some((adaptable, folders)) => put_on(machine, adaptable, folders)?,
        None => Named::new(),
    };
    let inputs = read_inputs(machine, entry, inputs, &adapted, *json)?;
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

fn names<'a>(ports: &[&&'a Port]) -> Vec<&'a str> {
    ports.iter().map(|port| port.name.as_str()).collect()
}

/// The tensors of a file, in the types that an entry takes, but for those that are `given`. Tensors that it has no use for are
/// told: a batch of another tool may have more than a model takes, but a name may also be a misspelling of an input that has a
/// default.
fn read_inputs(machine: &dyn Machine, entry: &str, path: &Path, given: &Named, json: bool) -> Result<Named> {
    let file = TensorFile::open(path)?;
    let ports = machine.ports(entry).map_or(&[][..], |(inputs, _)| inputs).iter();
    let ports: Vec<_> = ports.filter(|port| !given.iter().any(|(name, _)| *name == port.name)).collect();
    let listed = |names: Vec<&str>| names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let (ports, absent): (Vec<_>, Vec<_>) = ports.into_iter().partition(|port| file.get(&port.name).is_some());
    let (left, missing): (Vec<_>, Vec<_>) = absent.iter().partition(|port| port.default.is_some());
    let (left, missing) = (names(&left), names(&missing));
    let unused: Vec<&str> = file.names().filter(|name| !ports.iter().any(|port| port.name == *name)).collect();
    if !missing.is_empty() {
        let error = Error::file(code::BAD_INPUT, format!("{} does not have what is needed", path.display()));
        let error = error.note(format!("not in the file: {}", listed(missing)));
        return Err(if unused.is_empty() {
            error
        } else {
            error.note(format!("without use here: {}", listed(unused)))
        });
    }
    if !unused.is_empty() {
        let message = format!("{} has tensors that nothing takes here: {}", path.display(), listed(unused));
        let warning = Diagnostic { severity: Severity::Warning, ..Diagnostic::global(code::SPARE_INPUT, message) };
        let warning = if left.is_empty() {
            warning
        } else {
            warning.note(format!("not in the file, so their defaults hold: {}", listed(left)))
        };
        tell(&[warning], &Sources::new(), json);
    }
    let read = |port: &&Port| {
        let tensor = file.read(&port.name).expect("the names were compared")?;
        let cannot = |error| Error::file(code::BAD_INPUT, format!("`{}` of {}: {error}", port.name, path.display()));
        Ok((port.name.clone(), cast(tensor, port.dtype).map_err(cannot)?))
    };
    ports.iter().map(read).collect()
}
