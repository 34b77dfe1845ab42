//! The backends: kernels to machine code, and the plain evaluator that says which bits they must give.

pub mod reference;
pub mod rust;
