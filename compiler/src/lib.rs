//! Syntax tree -> model -> program -> plan -> machine code, Rust or text.

pub mod back;
pub mod fuse;
pub mod grad;
pub mod plan;
pub mod program;
