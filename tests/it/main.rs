//! The tests of the package `dlc`: data and weights files, training, and the command line through its binary.

mod cli;
mod commands;
mod data;
mod engines;
mod files;
mod house;
mod manual;
mod models;
mod mutants;
mod safetensors;
mod scratch;
mod toy;
mod train;
mod weights;
