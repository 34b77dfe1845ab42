//! `dlc unmerge`: the base of a merged model again.

use super::args::required_path;
use super::fail::{Outcome, print};
use crate::adapters::kept;
use clap::ArgMatches;

/// Takes a merge back.
pub fn main(args: &ArgMatches, _json: bool) -> Outcome {
    let out = required_path(args, "out");
    let changed = kept::unmerge(required_path(args, "MERGED"), required_path(args, "kept"), out)?;
    print(&format!("{changed} weights are as they were; written to {}\n", out.display()))
}
