//! Weights in files: reading, writing, and telling which tensor of a file is which weight of a model.

pub mod element;
pub mod file;
pub mod input;
pub mod names;

pub mod convert;

mod blocks;
mod bytes;
mod listing;
mod zip;

mod gguf;
mod npz;
mod pickle;
mod safetensors;
mod shards;
mod torch;

pub use listing::cast;
pub use safetensors::{Planned, write, write_each};

use crate::error::Result;
use crate::files::write_whole;
use dlc_runtime::tensor::Tensor;
use std::collections::BTreeMap;
use std::path::Path;

/// Writes tensors to a safetensors file, which appears whole or not at all. `about` is what the file says about itself.
pub fn save(path: &Path, tensors: &[(&str, &Tensor)], about: &BTreeMap<String, String>) -> Result<()> {
    write_whole(path, |out| write(out, tensors, about))
}
