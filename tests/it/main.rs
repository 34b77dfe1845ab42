//! The tests of the package `dlc`: data and weights files, training, and the command line through its binary.

mod adapters;
mod archive;
mod assets;
mod cli;
mod commands;
mod convert;
mod data;
mod defaults;
mod edges;
mod engines;
mod fetch;
mod files;
mod fixed;
mod formats;
mod given;
mod groups;
mod hostile;
mod house;
mod loading;
mod lora;
mod manual;
mod memory;
mod mistakes;
mod mutants;
#[path = "../golden/numbers.rs"]
mod numbers;
mod peft;
mod pretrained;
mod safetensors;
mod samples;
mod scratch;
mod sources;
mod texts;
mod toy;
mod train;
mod weights;
