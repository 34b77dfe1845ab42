//! What the compiler's tests share and fuzz targets use.

#[path = "../../compiler/tests/it/support/bits.rs"]
pub mod bits;
#[path = "../../compiler/tests/it/support/spec.rs"]
pub mod spec;
