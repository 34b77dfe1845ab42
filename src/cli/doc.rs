//! `dlc doc`: what the prelude's items are, one of them or all.

use super::args::text_of;
use super::fail::{Fail, Outcome, print};
use clap::ArgMatches;
use dlc_compiler::catalogue;
use dlc_grammar::nearest;

/// Prints an item's documentation and text, or the tables of all.
pub fn main(args: &ArgMatches, _json: bool) -> Outcome {
    let Some(name) = text_of(args, "ITEM") else { return print(&catalogue::tables()) };
    if let Some(page) = catalogue::page(name) {
        return print(&page);
    }
    let entries = catalogue::entries();
    let near = nearest(name, entries.iter().map(|e| e.name.as_str()));
    let hint = near.map_or_else(|| "; `dlc doc` lists them".to_string(), |n| format!("; did you mean `{n}`?"));
    Err(Fail::asked(format!("the prelude has no item `{name}`{hint}")))
}
