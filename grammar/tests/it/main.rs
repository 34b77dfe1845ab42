//! Tests of the grammar: every spec parses, trees are as drawn, mistakes are found where they are, the formatter
//! keeps what it must, and no text makes any of it panic.

mod format;
mod mistakes;
mod nesting;
mod properties;
mod specs;
mod trees;
