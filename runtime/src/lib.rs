//! Runs the steps of a plan: matrix products, threads, arena. Knows no compiler.

pub mod call;
mod check;
pub mod engine;
mod error;
pub mod gemm;
mod hands;
pub mod isa;
pub mod lanes;
pub mod memory;
pub mod pool;
pub mod stores;
pub mod tensor;

pub use engine::{Engine, Kernels, ValidPlan};
pub use error::Error;
pub use stores::Stores;
pub use tensor::Tensor;
