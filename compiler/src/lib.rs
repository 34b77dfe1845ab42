//! Syntax tree -> model -> program -> plan -> machine code, Rust or text.

mod prelude;

pub mod check;

pub mod program;

pub mod fuse;
pub mod grad;
pub mod passes;
pub mod plan;

pub mod back;
