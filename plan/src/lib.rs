//! Plain data that compiler and runtime share: sizes, kernels, plans, and the rules both must agree on.

pub mod chunks;
mod code;
mod dtype;
pub mod glob;
mod host;
pub mod kernel;
pub mod layout;
mod outline;
pub mod plan;
mod prim;
pub mod random;
mod read;
pub mod recipe;
mod show;
mod size;
pub mod turn;
mod writes;

pub use code::MachineCode;
pub use dtype::DType;
pub use host::{Host, HostState, HostVar, shown_sizes};
pub use kernel::{Instr, Kernel};
pub use plan::Plan;
pub use prim::{Gives, PRIMS, Prim, PrimRow, cast, erf, erfc, exact, truncate, whole_remainder, wrap};
pub use read::NoPlan;
pub use recipe::Recipe;
pub use size::{Atom, Size, Term};
