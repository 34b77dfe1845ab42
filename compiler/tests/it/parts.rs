//! Parts of the compiler by themselves.

mod catalogue;
mod emit;
mod gemm;
mod index;
#[cfg(feature = "jit")]
mod portable;
mod schema;
mod select;
