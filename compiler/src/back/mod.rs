//! The backends: kernels to machine code, and the plain evaluator that says which bits they must give.

#[cfg(feature = "jit")]
pub mod clif;
pub mod reference;
pub mod rust;
