//! What is done to a program between its gradients and its kernels. Takes a program; leaves its meaning as it is: the
//! interpreter gives the same answers before and after each pass, but for the order in which sums are added up.
//!
//! Passes are plain functions in the lists below; [`run`] goes through a list, and whoever runs it may time, verify and
//! print the program after each.

mod axes;
mod diagonals;
mod drop;
mod few;
mod inline;
mod loops;
mod narrow;
mod outline;
mod panels;
mod products;
mod range;
mod recognise;
mod rewrite;
mod round;
mod share;
mod simplify;
mod split;
mod sums;
mod unread;
mod views;
mod windows;

pub(crate) use drop::reached_part;
pub(crate) use round::operands as round_operands;
pub(crate) use unread::unread;

use crate::program::verify::{Facts, VerifyError, verify};
use crate::program::{Cut, Function, Note, Program};
use axes::Tag;
use std::fmt;
use std::time::{Duration, Instant};

/// A pass: its name on the command line, and what it does to a program.
pub struct Pass {
    /// The name.
    pub name: &'static str,
    run: fn(&mut Program),
}

/// The passes before gradients are made.
pub const BEFORE_GRADIENTS: &[Pass] = &[
    // What a function keeps for its gradient is chosen well only where the function is seen whole. Functions whose
    // derivative is stated stay calls, since the statement is about the call.
    Pass { name: "inline-plain", run: inline::plain },
    // An adapter of a weight with groups gives each row the columns of its group, and no others.
    Pass { name: "diagonals", run: diagonals::run },
    // An adapter of a convolution is convolutions.
    Pass { name: "windows", run: windows::run },
    // What is trained and what is not are apart, in loops of their own.
    Pass { name: "split", run: split::run },
    // What goes through something wide row by row becomes a function of its own, so that its gradient does too.
    Pass { name: "recognise", run: recognise::run },
];

/// The passes after gradients are made. Derivatives and stops have had their effect and are removed.
pub const PASSES: &[Pass] = &[
    // All calls but those of functions to be run in panels become the nodes of what is called; loops stay loops, with
    // bodies that call nothing else.
    Pass { name: "inline", run: inline::all },
    Pass { name: "simplify", run: simplify::run },
    // Equal nodes become one, and equal arguments and results of a loop.
    Pass { name: "share", run: share::run },
    // What no entry needs goes away, so that the next round sees who uses what.
    Pass { name: "drop", run: drop::run },
    // Gradients of what is repeated are sums of products, many of them the same but for a factor.
    Pass { name: "sums", run: sums::run },
    // Sweeps go along long axes, and results are made in the order in which they are needed.
    Pass { name: "few", run: few::run },
    // What several products are added up to becomes one product of several terms.
    Pass { name: "products", run: products::run },
    // What is the same in all iterations has become visible in loop bodies.
    Pass { name: "simplify-again", run: simplify::run },
    Pass { name: "share-again", run: share::run },
    Pass { name: "drop-again", run: drop::run },
    // The functions to be run in panels have become as simple as they get.
    Pass { name: "panels", run: panels::run },
    // Integers that are known to fit are of 32 bits.
    Pass { name: "narrow", run: narrow::run },
];

/// A pass that left a program that is not well formed.
#[derive(Clone, Debug)]
pub struct PassError {
    /// The pass.
    pub pass: &'static str,
    /// What it broke.
    pub error: VerifyError,
}

impl fmt::Display for PassError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "after {}: {}", self.pass, self.error)
    }
}

impl std::error::Error for PassError {}

/// Runs the passes in order, and tells `watch` the name, the program and the time it took after each. Verifies after
/// each where `verify_each`, and at the end in any case.
pub fn run(
    p: &mut Program,
    passes: &[Pass],
    verify_each: bool,
    watch: &mut dyn FnMut(&'static str, &Program, Duration),
) -> Result<Facts, PassError> {
    let mut last = "no pass";
    for pass in passes {
        let start = Instant::now();
        (pass.run)(p);
        last = pass.name;
        watch(pass.name, p, start.elapsed());
        if verify_each {
            verify(p).map_err(|error| PassError { pass: pass.name, error })?;
        }
    }
    verify(p).map_err(|error| PassError { pass: last, error })
}

/// What has a softmax between products and will not be run in panels, and why, as far as gradients play no part in it.
pub(crate) fn near_misses(p: &Program) -> Vec<Note> {
    let mut p = p.clone();
    p.notes.clear();
    match run(&mut p, BEFORE_GRADIENTS, false, &mut |_, _, _| {}) {
        Ok(_) => p.notes,
        // A program that is not well formed is told of when it is compiled.
        Err(_) => Vec::new(),
    }
}

/// For each result of a function that is cut like this, for each axis, which cut it is. None where it cannot be told.
pub(crate) fn result_cuts(p: &Program, f: &Function, cut: &Cut) -> Option<Vec<Vec<Option<u8>>>> {
    let tag = |c: &Option<u8>| c.map_or(Tag::Whole, Tag::Cut);
    let params: Vec<axes::Tags> = cut.params.iter().map(|cuts| cuts.iter().map(tag).collect()).collect();
    let all = axes::of_function(p, f, &params, &mut axes::Seen::default()).ok()?;
    let cut = |t: &Tag| if let Tag::Cut(c) = t { Some(*c) } else { None };
    Some(f.results.iter().map(|v| all[v.node as usize][v.port as usize].iter().map(cut).collect()).collect())
}
