//! `dlc check`: everything that is wrong with a spec, at once; of a sound one, what its adapters come to.

use super::fail::{Fail, Outcome, print, tell};
use super::spec::Source;
use super::table::table;
use clap::ArgMatches;
use dlc_compiler::pipeline::Goal;
use dlc_grammar::Diagnostic;

/// Checks all of a spec.
pub fn main(args: &ArgMatches, json: bool) -> Outcome {
    let source = Source::open(args)?;
    let found = source.check();
    if found.diagnostics.iter().any(Diagnostic::is_error) {
        return Err(Fail::Spec(found.diagnostics, found.sources));
    }
    tell(&found.diagnostics, &found.sources, json);
    let mut text = format!("{} is sound\n", source.name());
    for item in source.items(None)?.iter().filter(|item| item.is_adapted) {
        // What cannot be compiled without its files has no table.
        if let Ok(compiled) = source.compiled(Goal::Steps { item: Some(&item.name) }) {
            text.extend(table(&compiled));
        }
    }
    print(&text)
}
