//! `dlc compile`: prints what becomes of a spec, at any stage.

use super::args::text_of;
use super::fail::{Fail, Outcome, print};
use super::spec::Source;
use crate::files::write_whole;
use clap::ArgMatches;
use std::path::PathBuf;

/// The stages that can be printed.
pub const STAGES: [&str; 1] = ["ast"];

/// Prints one stage, to standard output or a file.
pub fn main(args: &ArgMatches, json: bool) -> Outcome {
    let source = Source::open(args)?;
    let text = match text_of(args, "emit") {
        Some("ast") => dlc_grammar::tree::tree(&source.parse(json)?),
        other => return Err(Fail::asked(format!("there is no stage {other:?}"))),
    };
    match args.get_one::<PathBuf>("output") {
        Some(path) => Ok(write_whole(path, |out| out.write_all(text.as_bytes()))?),
        None => print(&text),
    }
}
