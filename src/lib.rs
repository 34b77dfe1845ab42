//! dlc: a compiler for descriptions of neural networks.

pub mod error;
pub mod files;

pub mod adapters;
pub mod data;
pub mod weights;

#[doc(hidden)]
pub mod emitted;
pub mod machine;
pub mod network;
pub mod train;

#[cfg(feature = "jit")]
pub mod jit;

#[cfg(feature = "cli")]
pub mod cli;

pub use dlc_macros::model;
pub use dlc_runtime::tensor::{DType, Tensor};
pub use error::{Error, Result};
pub use network::{Network, Parts};
