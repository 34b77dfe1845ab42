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

    /// Makes all states of the optimizer 0, as they are before the entry `init`.
    fn forget_states(&mut self) {}

    /// The first weight whose gradient is not finite.
    fn unsound_gradient(&self) -> Option<Unsound> {
        None
    }

    /// The first weight for which a state of the optimizer is not finite, and the state.
    fn unsound_state(&self) -> Option<(String, Unsound)> {
        None
    }

    /// The weights, in the order of their declaration.
    fn weights(&self) -> &[Weight];

    /// The value of a weight.
    fn weight(&self, name: &str) -> std::result::Result<Tensor, RunError>;

    /// Gives a weight another value.
    fn set_weight(&mut self, name: &str, value: &Tensor) -> std::result::Result<(), RunError>;

    /// The names of the optimizer's states.
    fn states(&self) -> &[String] {
        &[]
    }

    /// The numbers of the weights and model states that a training changes.
    fn changed(&self) -> Vec<usize> {
        (0..self.weights().len()).collect()
    }

    /// What a store keeps for a weight, as it is kept.
    fn kept(&self, store: Store, name: &str) -> std::result::Result<Tensor, RunError> {
        let _ = store;
        self.weight(name)
    }

    /// Sets what a store keeps for a weight.
    fn set_kept(&mut self, store: Store, name: &str, value: &Tensor) -> std::result::Result<(), RunError> {
        let _ = store;
        self.set_weight(name, value)
    }
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

    fn forget_states(&mut self) {
        for k in 0..self.plan().states.len() {
            self.stores_mut().clear(Store::State(k as u16));
        }
    }

    fn unsound_gradient(&self) -> Option<Unsound> {
        if self.stores().is_finite(Store::Grads) {
            return None;
        }
        unsound(self, Store::Grads)
    }

    fn unsound_state(&self) -> Option<(String, Unsound)> {
        let states = self.plan().states.iter().enumerate();
        let mut stores = states.map(|(k, name)| (Store::State(k as u16), name));
        let (store, name) = stores.find(|(store, _)| !self.stores().is_finite(*store))?;
        Some((name.clone(), unsound(self, store)?))
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

    fn states(&self) -> &[String] {
        &self.plan().states
    }

    fn changed(&self) -> Vec<usize> {
        self.plan().writes(&["accumulate", "update"])
    }

    fn kept(&self, store: Store, name: &str) -> std::result::Result<Tensor, RunError> {
        self.stores().kept(store, name)
    }

    fn set_kept(&mut self, store: Store, name: &str, value: &Tensor) -> std::result::Result<(), RunError> {
        self.stores_mut().set_kept(store, name, value)
    }
}

/// The first weight for which a store has something that is not finite.
fn unsound(engine: &Engine, store: Store) -> Option<Unsound> {
    engine.plan().weights.iter().find_map(|weight| {
        let kept = engine.stores().kept(store, &weight.name).ok()?;
        Some((weight.name.clone(), not_finite(&kept)?))
    })
}

/// The first number of a tensor that is not finite.
pub fn not_finite(tensor: &Tensor) -> Option<f32> {
    tensor.to_f32_vec().into_iter().find(|number| !number.is_finite())
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

/// What the terms of a loss are divided by, where a step has several micro-batches: what these add to each, and the least
/// that the sums divide by.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    sums: Vec<f64>,
    least: Vec<f64>,
}

impl Counts {
    /// What a batch has of each; none where a step has one batch.
    ///
    /// # Errors
    /// When the batch is not what the entry `count` takes.
    pub fn of(machine: &mut dyn Machine, state: &HostState, inputs: &[(&str, &Tensor)]) -> Result<Option<Counts>> {
        if machine.ports(COUNT).is_none() {
            return Ok(None);
        }
        let found = machine.run(COUNT, state, inputs)?;
        let numbers = |name: &str| -> Vec<f64> {
            let found = found.iter().find(|(known, _)| known == name).map(|(_, tensor)| tensor.to_f32_vec());
            found.unwrap_or_default().into_iter().map(f64::from).collect()
        };
        Ok(Some(Counts { sums: numbers("loss.counts"), least: numbers("loss.least") }))
    }

    /// Adds those of another micro-batch.
    pub fn add(&mut self, other: Counts) {
        if self.sums.is_empty() {
            *self = other;
            return;
        }
        self.sums.iter_mut().zip(other.sums).for_each(|(sum, more)| *sum += more);
    }

    /// What each term is divided by.
    fn over(&self) -> impl Iterator<Item = f64> {
        self.sums.iter().zip(&self.least).map(|(sum, least)| sum.max(*least))
    }

    /// The only count, if there is no other.
    pub fn only(&self) -> Option<f64> {
        let mut all = self.over();
        all.next().filter(|_| all.next().is_none())
    }

    /// What `accumulate` multiplies each term by.
    pub fn shares(&self) -> std::result::Result<Tensor, RunError> {
        shares(self.over().map(|over| (1.0 / over) as f32).collect())
    }
}

/// Factors of terms for `accumulate`.
///
/// # Errors
/// When memory is short.
pub fn shares(numbers: Vec<f32>) -> std::result::Result<Tensor, RunError> {
    Tensor::from_slice(&[numbers.len()], &numbers).map_err(|_| RunError::Memory { bytes: 4 * numbers.len() as u64 })
}

/// Changes the weights by their gradients. `over` is what their sum is still to be divided by, where a step has several
/// micro-batches.
///
/// # Errors
/// When the entry cannot be run.
pub fn update(machine: &mut dyn Machine, state: &HostState, over: f64) -> std::result::Result<(), RunError> {
    let takes_it = machine.ports("update").is_some_and(|(inputs, _)| inputs.iter().any(|port| port.name == OVER));
    let over = Tensor::from_slice(&[], &[over as f32]).map_err(|_| RunError::Memory { bytes: 4 })?;
    let inputs = [(OVER, &over)];
    machine.run("update", state, if takes_it { &inputs } else { &[] }).map(drop)
}

/// The entry that counts what the terms of a loss are divided by.
const COUNT: &str = "count";

/// The name under which `update` takes what the sum of gradients is divided by.
const OVER: &str = "loss.over";

/// The name under which `accumulate` takes the factors of terms.
pub const SHARES: &str = "loss.shares";

/// What a store has that is not finite: the weight, and the number.
pub type Unsound = (String, f32);

/// Gives a machine the weights of a file, as the rules of a `weights` item say. The file is relative to `folder`. What is
/// missing by permission keeps its value. Gives warnings.
pub fn load(machine: &mut dyn Machine, rules: &recipe::Weights, folder: &Path) -> Result<Vec<String>> {
    load_file(machine, rules, &folder.join(&rules.file))
}

/// Types of real numbers that are shorter than those in which a machine has them, by the names of weights.
pub type Types = std::collections::BTreeMap<String, DType>;

/// The weights that a file has in f16 or bf16, of those that [`load_by_names_or_rules`] takes from it.
///
/// # Errors
/// As there.
pub fn short_types(machine: &dyn Machine, rules: Option<&recipe::Weights>, path: &Path) -> Result<Types> {
    let (file, done) = assigned(machine, rules, path)?;
    let stored = |(number, name): (usize, String)| {
        let dtype = file.get(&name)?.elements.read_as().filter(|dtype| matches!(dtype, DType::F16 | DType::BF16))?;
        Some((machine.weights()[number].name.clone(), dtype))
    };
    Ok(done.found.into_iter().filter_map(stored).collect())
}

/// A weight as a file of these types has it: rounded once.
///
/// # Errors
/// When a number of it is too large for its type.
pub fn shortened(name: &str, tensor: Tensor, types: &Types) -> Result<Tensor> {
    let Some(dtype) = types.get(name) else { return Ok(tensor) };
    let short = cast(tensor.clone(), *dtype);
    let lost = |(wide, short): (&f32, &f32)| wide.is_finite() && !short.is_finite();
    match tensor.to_f32_vec().iter().zip(&short.to_f32_vec()).any(lost) {
        true => {
            let error = Error::run(code::ADAPTER, format!("`{name}` has numbers that are too large for {dtype}"));
            Err(error.help("with a base in f32 they fit: `dlc convert BASE wide.safetensors --dtype f32`"))
        }
        false => Ok(short),
    }
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
    let (file, done) = assigned(machine, rules, path)?;
    take(machine, &file, done, rules.and_then(|rules| rules.dtype))
}

/// A file, and which of its tensors is which weight.
fn assigned(machine: &dyn Machine, rules: Option<&recipe::Weights>, path: &Path) -> Result<(TensorFile, Assignment)> {
    let file = TensorFile::open(path)?;
    let slots = slots(machine);
    let done = match (assign(&slots, &file, &recipe::Weights::default()), rules) {
        (Err(_), Some(rules)) => assign(&slots, &file, rules)?,
        (plain, _) => plain?,
    };
    Ok((file, done))
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
    save_some(machine, path, about, (&|_| true, &Types::new()))
}

/// As [`save`], with the weights alone whose names are `wanted`, and in shorter types where these are given.
pub fn save_some(
    machine: &dyn Machine,
    path: &Path,
    about: &[(&str, String)],
    (wanted, types): (&dyn Fn(&str) -> bool, &Types),
) -> Result<()> {
    let names = machine.weights().iter().map(|weight| weight.name.as_str());
    let names: Vec<&str> = names.filter(|name| wanted(name)).collect();
    let value = |name: &&str| shortened(name, machine.weight(name)?, types);
    let tensors = names.iter().map(value).collect::<Result<Vec<_>>>()?;
    let named: Vec<(&str, &Tensor)> = names.into_iter().zip(&tensors).collect();
    let about = about.iter().map(|(key, value)| ((*key).to_owned(), value.clone())).collect();
    crate::weights::save(path, &named, &about)
}
