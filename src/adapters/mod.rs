//! Adapters in files and in weights: takes a machine whose recipe has an adapter; exchanges it with PEFT's files, takes it
//! into the weights that it adapts, and says what that changes.
//!
//! - [`exchange`]: which tensor of a file is which weight; `groups`: that of a grouped convolution's first matrix;
//! - [`config`]: what PEFT's `adapter_config.json` says, held against a spec; [`keys`] has what is done about each of its keys,
//!   [`patterns`] which modules its patterns match;
//! - [`item`]: the `lora` item for an adapter that is there;
//! - [`mod@merge`]: merging, and taking it back; [`kept`]: taking it back from files;
//! - [`several`]: several adapters on one base.

pub mod config;
pub mod exchange;
mod groups;
pub mod item;
pub mod kept;
pub mod keys;
pub mod merge;
pub mod patterns;
pub mod several;

pub use exchange::{load, save};
pub use merge::{Change, Kept, base_rules, compare, merge, unmerge};
pub use several::{Adapter, Sum, sum};
