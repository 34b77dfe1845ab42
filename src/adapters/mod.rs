//! Adapters in files and in weights: takes a machine whose recipe has an adapter; exchanges it with PEFT's files, takes it
//! into the weights that it adapts, and says what that changes.
//!
//! - [`exchange`]: which tensor of a file is which weight;
//! - [`config`]: what PEFT's `adapter_config.json` says, key by key;
//! - [`mod@merge`]: merging, and taking it back;
//! - [`several`]: several adapters on one base.

pub mod config;
pub mod exchange;
pub mod merge;
pub mod several;

pub use exchange::{load, save};
pub use merge::{Change, Kept, compare, merge, unmerge};
pub use several::{Adapter, activate};
