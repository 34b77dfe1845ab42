//! Text to syntax tree and back: the grammar of `dl`, its tree with spans, the printer, and diagnostics.

pub mod span;

pub mod ast;
pub mod node;

mod lex;
mod outline;

mod grammar;

mod build;
mod expected;
pub mod parse;
pub mod print;
pub mod tree;

pub mod diagnostic;
#[cfg(feature = "render")]
pub mod render;

pub use diagnostic::{Diagnostic, Severity, nearest};
pub use node::without_spans;
pub use span::{Sources, Span};
