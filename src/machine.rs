//! What training and running ask of a model: its entries, and its weights by name. The engine gives it, whether its kernels
//! are machine code or Rust.

use crate::error::{Error, Kind, Result, code};
use crate::weights::cast;
use crate::weights::file::TensorFile;
use crate::weights::names::{Assignment, Slot, assign};
use dlc_plan::plan::{Port, Store, Weight};
use dlc_plan::{HostState, recipe};
use dlc_runtime::tensor::{DType, Tensor, TensorError};
use dlc_runtime::{Engine, Error as RunError};
use std::path::Path;

/// Tensors by name.
pub type Named = Vec<(String, Tensor)>;

/// A model that can be asked to do something.
pub trait Machine {
    /// The inputs and outputs of an entry; none if there is no such entry.
    fn ports(&self, entry: &str) -> Option<(&[Port], &[Port])>;

    /// Runs an entry on inputs by name.
    fn run(
        &mut self,
        entry: &str,
        state: &HostState,
        inputs: &[(&str, &Tensor)],
    ) -> std::result::Result<Named, RunError>;

    /// Forgets all gradients, before the first micro-batch of a step.
    fn forget_gradients(&mut self);

    /// The weights, in the order of their declaration.
    fn weights(&self) -> &[Weight];

    /// The value of a weight.
    fn weight(&self, name: &str) -> std::result::Result<Tensor, RunError>;

    /// Gives a weight another value.
    fn set_weight(&mut self, name: &str, value: &Tensor) -> std::result::Result<(), RunError>;
}

impl Machine for Engine {
    fn ports(&self, entry: &str) -> Option<(&[Port], &[Port])> {
        let entry = self.plan().entries.iter().find(|known| known.name == entry)?;
        Some((&entry.inputs, &entry.outputs))
    }

    fn run(
        &mut self,
        entry: &str,
        state: &HostState,
        inputs: &[(&str, &Tensor)],
    ) -> std::result::Result<Named, RunError> {
        Engine::run(self, entry, state, inputs)
    }

    fn forget_gradients(&mut self) {
        self.stores_mut().clear(Store::Grads);
    }

    fn weights(&self) -> &[Weight] {
        &self.plan().weights
    }

    fn weight(&self, name: &str) -> std::result::Result<Tensor, RunError> {
        self.stores().weight(name)
    }

    fn set_weight(&mut self, name: &str, value: &Tensor) -> std::result::Result<(), RunError> {
        self.stores_mut().set_weight(name, value)
    }
}

impl From<RunError> for Error {
    fn from(error: RunError) -> Error {
        let code = match &error {
            RunError::Index { .. } | RunError::Wide { .. } => code::BAD_INDEX,
            RunError::WeightShape { .. } | RunError::WeightType { .. } => code::WEIGHT_SHAPE,
            RunError::NoWeight { .. } | RunError::NotKept { .. } => code::WEIGHT_NAMES,
            RunError::NoInput { .. } | RunError::StrayInput { .. } => code::BAD_INPUT,
            RunError::InputType { .. } | RunError::InputShape { .. } => code::BAD_INPUT,
            RunError::Guard { .. } | RunError::NegativeSize { .. } => code::BAD_INPUT,
            RunError::NoEntry { .. } | RunError::PortCount { .. } => code::CANNOT_RUN,
            RunError::Memory { .. } | RunError::Plan(_) => code::CANNOT_RUN,
        };
        let kind = if error.exit_code() == 2 { Kind::Files } else { Kind::Run };
        Error { kind, ..Error::run(code, error.to_string()) }
    }
}

impl From<TensorError> for Error {
    fn from(error: TensorError) -> Error {
        Error::file(code::BAD_INPUT, error.to_string())
    }
}

/// What a micro-batch adds to what the sum of all gradients is divided by; 0 where a step has one batch.
pub fn over(outputs: &Named) -> f64 {
    let of = |(name, tensor): &(String, Tensor)| (name == OVER).then(|| tensor.to_f32_vec().first().copied()).flatten();
    outputs.iter().find_map(of).map_or(0.0, f64::from)
}

/// Changes the weights by their gradients. `over` is the sum of what the micro-batches gave.
pub fn update(machine: &mut dyn Machine, state: &HostState, over: f64) -> std::result::Result<(), RunError> {
    let takes_it = machine.ports("update").is_some_and(|(inputs, _)| inputs.iter().any(|port| port.name == OVER));
    let over = Tensor::from_slice(&[], &[over as f32]).map_err(|_| RunError::Memory { bytes: 4 })?;
    let inputs = [(OVER, &over)];
    machine.run("update", state, if takes_it { &inputs } else { &[] }).map(drop)
}

/// The name under which `accumulate` gives it and `update` takes it.
const OVER: &str = "loss.over";

/// Gives a machine the weights of a file, as the rules of a `weights` item say. The file is relative to `folder`. What is
/// missing by permission keeps its value. Gives warnings.
pub fn load(machine: &mut dyn Machine, rules: &recipe::Weights, folder: &Path) -> Result<Vec<String>> {
    load_file(machine, rules, &folder.join(&rules.file))
}

/// As [`load`], from the file at `path`, whatever the rules call it.
pub fn load_file(machine: &mut dyn Machine, rules: &recipe::Weights, path: &Path) -> Result<Vec<String>> {
    let file = TensorFile::open(path)?;
    let done = assign(&slots(machine), &file, rules)?;
    take(machine, &file, done, rules.dtype)
}

/// Gives a machine the weights of the file at `path` under their own names if all are there, as dlc writes them, and else as
/// the rules say. Gives warnings.
pub fn load_by_names_or_rules(
    machine: &mut dyn Machine,
    rules: Option<&recipe::Weights>,
    path: &Path,
) -> Result<Vec<String>> {
    let file = TensorFile::open(path)?;
    let slots = slots(machine);
    let done = match (assign(&slots, &file, &recipe::Weights::default()), rules) {
        (Err(_), Some(rules)) => assign(&slots, &file, rules)?,
        (plain, _) => plain?,
    };
    take(machine, &file, done, rules.and_then(|rules| rules.dtype))
}

/// Gives a machine the tensors that were assigned. Whatever can be found wrong with a tensor's elements is found before the
/// first weight changes; the others are read one at a time.
fn take(
    machine: &mut dyn Machine,
    file: &TensorFile,
    done: Assignment,
    dtype: Option<dlc_plan::DType>,
) -> Result<Vec<String>> {
    let known = |weight: &Weight| (weight.name.clone(), weight.shape.is_empty());
    let (names, scalar): (Vec<String>, Vec<bool>) = machine.weights().iter().map(known).unzip();
    let read = |number: usize, name: &str| -> Result<Tensor> {
        let mut tensor = file.read(name).expect("the name is one of the file's")?;
        if let Some(dtype) = dtype {
            tensor = cast(tensor, dtype.into());
        }
        if scalar[number] {
            tensor = Tensor::from_bytes(tensor.dtype(), &[], tensor.bytes())?;
        }
        Ok(if tensor.dtype() == DType::F64 { cast(tensor, DType::F32) } else { tensor })
    };
    let (checked, sure): (Vec<_>, Vec<_>) = done.found.into_iter().partition(|(_, name)| file.can_fail(name));
    let checked =
        checked.into_iter().map(|(number, name)| Ok((number, read(number, &name)?))).collect::<Result<Vec<_>>>()?;
    for (number, tensor) in &checked {
        machine.set_weight(&names[*number], tensor)?;
    }
    for (number, name) in sure {
        machine.set_weight(&names[number], &read(number, &name)?)?;
    }
    Ok(done.warnings)
}

fn slots(machine: &dyn Machine) -> Vec<Slot> {
    machine.weights().iter().map(slot).collect()
}

fn slot(weight: &Weight) -> Slot {
    let Weight { name, aliases, shape, dtype, unread, .. } = weight;
    let (name, aliases) = (name.clone(), aliases.clone());
    Slot { name, aliases, shape: shape.clone(), real: dtype.is_float(), unread: *unread }
}

/// Writes all weights of a machine to a safetensors file under their names. `about` is what the file says about itself.
pub fn save(machine: &dyn Machine, path: &Path, about: &[(&str, String)]) -> Result<()> {
    save_some(machine, path, about, &|_| true)
}

/// As [`save`], with the weights alone whose names are `wanted`.
pub fn save_some(
    machine: &dyn Machine,
    path: &Path,
    about: &[(&str, String)],
    wanted: &dyn Fn(&str) -> bool,
) -> Result<()> {
    let names = machine.weights().iter().map(|weight| weight.name.as_str());
    let names: Vec<&str> = names.filter(|name| wanted(name)).collect();
    let tensors = names.iter().map(|name| machine.weight(name)).collect::<std::result::Result<Vec<_>, _>>()?;
    let named: Vec<(&str, &Tensor)> = names.into_iter().zip(&tensors).collect();
    let about = about.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    crate::weights::save(path, &named, &about)
}
