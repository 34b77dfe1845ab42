//! Runs the steps of a plan: matrix products, threads, arena. Knows no compiler.

pub mod call;
pub mod gemm;
pub mod isa;
pub mod lanes;
pub mod map;
pub mod pool;
pub mod tensor;
