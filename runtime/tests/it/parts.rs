//! Parts of the runtime by themselves.

mod call;
mod error;
mod gemm;
mod lanes;
mod memory;
mod pool;
mod tensor;
