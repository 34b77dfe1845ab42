//! Weights in files: reading, writing, and telling which tensor of a file is which weight of a model.

pub mod file;
