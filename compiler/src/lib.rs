//! Syntax tree -> model -> program -> plan -> machine code, Rust or text. [`pipeline`] goes through the stages.

pub mod prelude;

pub mod catalogue;

pub mod limits;

pub mod pipeline;

pub mod check;
pub mod lower;

pub mod program;

pub mod fuse;
pub mod grad;
pub mod passes;
pub mod plan;

pub mod back;
pub mod emit;
