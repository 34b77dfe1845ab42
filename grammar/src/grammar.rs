//! The parser that pest makes of `dl.pest`: text in, pairs of rules out.
//!
//! Kept private: the tree in [`crate::ast`] is what the rest of the compiler sees.

// The derive makes one public variant for each rule; `dl.pest` documents them.
#![allow(missing_docs)]

/// Matches the rules of `dl.pest`.
#[derive(pest_derive::Parser)]
#[grammar = "dl.pest"]
pub(crate) struct Dl;
