//! The compiler's tests, in one binary.
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

mod interp;
mod print;
mod verify;

mod support;
