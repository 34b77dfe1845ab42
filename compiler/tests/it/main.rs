//! The compiler's tests, in one binary.
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

mod again;
mod augment;
#[cfg(feature = "jit")]
mod bounds;
mod check;
mod choices;
mod config;
mod convolutions;
mod equations;
mod fusion;
#[cfg(feature = "jit")]
mod fuzzed;
mod grad;
mod groups;
mod interp;
mod limits;
mod lora;
mod lower;
mod mode;
mod names;
mod optimizers;
mod panels;
mod parts;
mod passes;
mod paths;
mod precision;
mod print;
mod rows;
mod settings;
mod simulate;
mod verify;

mod generate;
#[cfg(feature = "jit")]
mod machine;
#[cfg(feature = "jit")]
mod machine_code;
#[cfg(feature = "jit")]
mod regression;

mod stacks;
mod statistics;
mod support;
mod texts;
