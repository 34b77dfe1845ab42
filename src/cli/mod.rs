//! The command line: finds the command, runs it, and turns what happened into messages and an exit code.

mod args;
mod fail;
mod folder;
mod spec;

mod new;

mod check;
mod compile;
mod grad;
mod interp;
mod progress;
mod run;
mod train;
mod weights;

mod convert;
mod merge;
mod table;
mod unmerge;

mod doc;
mod fmt;

use clap::error::ErrorKind;
use clap::{ArgMatches, Command};
use fail::Outcome;
use std::process::ExitCode;

/// A command: what it takes, and what it does. It is told whether messages are to be JSON.
type Row = (fn() -> Command, fn(&ArgMatches, bool) -> Outcome);

/// Every command, in the order in which help shows them.
const COMMANDS: [Row; 11] = [
    (args::new, new::main),
    (args::check, check::main),
    (args::compile, compile::main),
    (args::train, train::main),
    (args::run, run::main),
    (args::grad, grad::main),
    (args::merge, merge::main),
    (args::unmerge, unmerge::main),
    (args::convert, convert::main),
    (args::doc, doc::main),
    (args::fmt, fmt::main),
];

/// Runs the command that the process was started with, and gives its exit code.
pub fn main() -> ExitCode {
    let matches = match args::command(COMMANDS.iter().map(|(command, _)| command())).try_get_matches() {
        Ok(matches) => matches,
        Err(error) => {
            // Where help cannot be printed, no one reads it.
            let _ = error.print();
            let asked_for = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            return ExitCode::from(u8::from(!asked_for));
        }
    };
    let json = matches.get_flag("json");
    let outcome = match matches.subcommand() {
        Some((name, args)) => {
            let row = COMMANDS.iter().find(|(command, _)| command().get_name() == name);
            row.expect("the parser knows the commands of the table only").1(args, json)
        }
        None => Ok(()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(fail) => {
            fail.tell(json);
            ExitCode::from(fail.exit_code())
        }
    }
}
