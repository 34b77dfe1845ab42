//! Syntax tree -> model -> program -> plan -> machine code, Rust or text.

pub mod program;
