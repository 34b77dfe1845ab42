//! What can go wrong when a plan is run: each with a text that names what was found and what was expected.

use crate::tensor;
use dlc_plan::DType;
use dlc_plan::plan::Store;
use std::fmt;

/// A failure of the runtime.
#[derive(Clone, Debug, PartialEq)]
pub enum Error {
    /// The plan has no entry of that name.
    NoEntry {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<String>,
    },
    /// An entry's input is not given.
    NoInput {
        /// The input.
        name: String,
        /// The entry.
        entry: String,
    },
    /// Something is given that the entry does not take.
    StrayInput {
        /// What was given.
        name: String,
        /// What the entry takes.
        known: Vec<String>,
    },
    /// As many tensors must be given as the entry has ports.
    PortCount {
        /// "inputs" or "outputs".
        what: &'static str,
        /// How many were given.
        found: usize,
        /// How many there are.
        expected: usize,
    },
    /// An input has elements of another type.
    InputType {
        /// The input.
        name: String,
        /// What was given.
        found: tensor::DType,
        /// What is expected.
        expected: DType,
    },
    /// An input has another shape.
    InputShape {
        /// The input.
        name: String,
        /// What was given.
        found: Vec<usize>,
        /// What is expected: `[B, 64] where B = 3`.
        expected: String,
    },
    /// An integer that indexes something is outside of it.
    Index {
        /// The input.
        name: String,
        /// The integer.
        value: i64,
        /// Its place in the input.
        at: Vec<usize>,
        /// It must be below this, and not below zero.
        limit: i64,
    },
    /// An integer does not fit in the 32 bits that are computed with.
    Wide {
        /// The input or weight.
        name: String,
        /// The integer.
        value: i128,
        /// Its place.
        at: Vec<usize>,
    },
    /// A condition on the sizes does not hold.
    Guard {
        /// What to say: `T = 600, but DistilBert requires T <= P (512)`.
        message: String,
    },
    /// A buffer's length is negative at these sizes.
    NegativeSize {
        /// What the buffer holds.
        what: String,
        /// The sizes: `B = 3, T = 1`.
        sizes: String,
    },
    /// No weight has that name.
    NoWeight {
        /// What was asked for.
        name: String,
    },
    /// A store has nothing for a weight: only trained weights have gradients and the optimizer's states.
    NotKept {
        /// The weight.
        name: String,
        /// The store.
        store: Store,
    },
    /// A weight is given in another shape.
    WeightShape {
        /// The weight.
        name: String,
        /// What was given.
        found: Vec<usize>,
        /// What is expected.
        expected: Vec<usize>,
    },
    /// A weight is given with elements of another type.
    WeightType {
        /// The weight.
        name: String,
        /// What was given.
        found: tensor::DType,
        /// What is expected.
        expected: DType,
    },
    /// The system does not give that much memory.
    Memory {
        /// How much was asked for; `u64::MAX` stands for more than can be counted.
        bytes: u64,
    },
    /// The plan contradicts itself.
    Plan(String),
}

impl Error {
    /// The exit code of a command that ends with this: 2 for data and weights, 3 for what fails while running.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::NoEntry { .. } | Error::PortCount { .. } | Error::Memory { .. } | Error::Plan(_) => 3,
            Error::NoInput { .. } | Error::StrayInput { .. } | Error::InputType { .. } => 2,
            Error::InputShape { .. } | Error::Index { .. } | Error::Wide { .. } => 2,
            Error::Guard { .. } | Error::NegativeSize { .. } => 2,
            Error::NoWeight { .. } | Error::NotKept { .. } => 2,
            Error::WeightShape { .. } | Error::WeightType { .. } => 2,
        }
    }
}

impl std::error::Error for Error {}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::NoEntry { name, known } => write!(f, "nothing here is called `{name}`; there is {}", list(known)),
            Error::NoInput { name, entry } => write!(f, "`{entry}` needs the input `{name}`, which is not given"),
            Error::StrayInput { name, known } => {
                write!(f, "no input is called `{name}`; the inputs are {}", list(known))
            }
            Error::PortCount { what, found, expected } => write!(f, "{found} {what} are given, expected {expected}"),
            Error::InputType { name, found, expected } => write!(f, "`{name}` is {found} here, expected {expected}"),
            Error::InputShape { name, found, expected } => write!(f, "`{name}` is {found:?} here, expected {expected}"),
            Error::Index { name, value, at, limit } => {
                write!(f, "{name} {value} at {} is outside 0..{limit}", Place(at))
            }
            Error::Wide { name, value, at } => {
                let bits = if i64::try_from(*value).is_ok() { 32 } else { 64 };
                write!(f, "{name} {value} at {} does not fit in {bits} bits", Place(at))
            }
            Error::Guard { message } => f.write_str(message),
            Error::NegativeSize { what, sizes } => write!(f, "{what} would have a negative size at {sizes}"),
            Error::NoWeight { name } => write!(f, "no weight is called `{name}`"),
            Error::NotKept { name, store } => match store {
                Store::Trained | Store::Grads => write!(f, "`{name}` is not trained, so it has no gradient"),
                Store::State(i) => write!(f, "the optimizer has no state {i} for `{name}`"),
                Store::Frozen | Store::Ints(_) => write!(f, "`{name}` is not kept in {store:?}"),
            },
            Error::WeightShape { name, found, expected } => {
                write!(f, "`{name}` is {expected:?} in the model and {found:?} in what is given for it")
            }
            Error::WeightType { name, found, expected } => {
                write!(f, "`{name}` is {expected} in the model and {found} in what is given for it")
            }
            Error::Memory { bytes: u64::MAX } => write!(f, "these sizes need more memory than can be addressed"),
            Error::Memory { bytes } => write!(f, "the system does not give the {} that are needed", Amount(*bytes)),
            Error::Plan(what) => write!(f, "the plan contradicts itself, which is a bug in dlc: {what}"),
        }
    }
}

/// Names in backticks, with commas.
fn list(names: &[String]) -> String {
    match names {
        [] => "none".into(),
        names => names.iter().map(|n| format!("`{n}`")).collect::<Vec<_>>().join(", "),
    }
}

/// Where in a tensor: by its row if it has one axis.
struct Place<'a>(&'a [usize]);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [row] => write!(f, "row {row}"),
            at => write!(f, "{at:?}"),
        }
    }
}

/// An amount of memory, in the largest unit of which there is one.
struct Amount(u64);

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let units = [(1 << 40, "TiB"), (1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
        match units.into_iter().find(|(size, _)| self.0 >= *size) {
            Some((size, unit)) => write!(f, "{:.1} {unit}", self.0 as f64 / size as f64),
            None => write!(f, "{} bytes", self.0),
        }
    }
}
