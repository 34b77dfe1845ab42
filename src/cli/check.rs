//! `dlc check`: everything that is wrong with a spec, at once.

use super::fail::{Fail, Outcome, print, tell};
use super::spec::Source;
use clap::ArgMatches;
use dlc_grammar::Diagnostic;

/// Checks all of a spec.
pub fn main(args: &ArgMatches, json: bool) -> Outcome {
    let source = Source::open(args)?;
    let found = source.check();
    if found.diagnostics.iter().any(Diagnostic::is_error) {
        return Err(Fail::Spec(found.diagnostics, found.sources));
    }
    tell(&found.diagnostics, &found.sources, json);
    print(&format!("{} is sound\n", source.name()))
}
