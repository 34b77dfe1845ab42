//! `dlc grad`: the loss of a batch, and the gradient of every trained weight, under its name.

use super::args::{required_path, start_threads, text_of};
use super::fail::Outcome;
use super::run::{Given, What, on_engine};
use super::spec::{Source, Training};
use crate::data::schema::read_as;
use crate::error::Result;
use crate::weights::file::TensorFile;
use clap::ArgMatches;
use dlc_compiler::pipeline::{BatchTensor, Goal};
use dlc_plan::HostState;
use std::path::Path;

/// Computes gradients.
pub fn main(args: &ArgMatches, json: bool) -> Outcome {
    start_threads(args);
    let source = Source::open(args)?;
    let batch = tensors(required_path(args, "in"))?;
    let goal = Goal::Grad { item: text_of(args, "TRAIN"), batch: &batch };
    let Training { said, program, plan, recipe } = source.training(goal, json)?;
    let seed = args.get_one::<u64>("seed").copied().unwrap_or(recipe.seed);
    let what = What { entry: "grad", state: HostState { seed, ..HostState::default() }, said };
    on_engine(args, program, plan, &what, &Given::of(args, &source, json))
}

/// The tensors of a batch file: their names, types and shapes. Those of types that are not read are left out.
fn tensors(path: &Path) -> Result<Vec<BatchTensor>> {
    let file = TensorFile::open(path)?;
    let tensor = |name: &str| {
        let (dtype, shape) = file.ty(name)?.ok()?;
        Some(BatchTensor { name: name.to_owned(), dtype: read_as(dtype), shape: shape.to_vec() })
    };
    Ok(file.names().filter_map(tensor).collect())
}
