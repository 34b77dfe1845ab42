//! `dlc grad`: the loss of a batch, and the gradient of every trained weight, under its name.

use super::args::{start_threads, text_of};
use super::fail::Outcome;
use super::run::{Given, run};
use super::spec::{Source, Training};
use crate::jit::network;
use clap::ArgMatches;
use dlc_compiler::pipeline::Goal;
use dlc_plan::HostState;

/// Computes gradients.
pub fn main(args: &ArgMatches, json: bool) -> Outcome {
    start_threads(args);
    let source = Source::open(args)?;
    let Training { said, plan, recipe, .. } = source.training(Goal::Train { item: text_of(args, "TRAIN") }, json)?;
    let seed = args.get_one::<u64>("seed").copied().unwrap_or(recipe.seed);
    let state = HostState { seed, ..HostState::default() };
    let mut net = network(plan, None, seed)?;
    run(net.engine_mut(), "grad", &state, &said, &Given::of(args, &source))
}
