//! The macros as rustc sees them: sources are written to a folder for temporary files and compiled by rustc itself, with
//! the macros as the only other crate.
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

mod mistakes;
mod rustc;
mod trees;
