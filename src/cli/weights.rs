//! The weights file that a command is given, and where the spec speaks of it. Takes what a spec was compiled to; gives the
//! weights to a machine by the spec's own rules, and errors of files with the line of the spec that they are about.

use super::fail::Fail;
use crate::error::{Error, Result, code};
use crate::machine::{Machine, load_file};
use dlc_compiler::lower::Rules;
use dlc_compiler::pipeline::Compiled;
use dlc_grammar::{Sources, Span};
use dlc_plan::{HostState, recipe};
use std::path::Path;

/// What a spec says of weights, and where.
pub struct Said {
    sources: Sources,
    rules: Option<Rules>,
    /// Where each weight is declared that the user's own text declares.
    declared: Vec<(String, Span)>,
}

impl Said {
    /// What is said in the spec that was compiled.
    pub fn of(compiled: &Compiled) -> Said {
        let own = |span: Span| span != Span::default() && !compiled.sources.name(span).starts_with("<prelude>");
        let weights = compiled.program.weights.iter().filter(|weight| own(weight.span));
        let declared = weights.map(|weight| (weight.name.clone(), weight.span)).collect();
        Said { sources: compiled.sources.clone(), rules: compiled.rules.clone(), declared }
    }

    /// Gives a machine the weights of a file: under their own names if all are there, as dlc writes them, and else by the
    /// rules of the spec's `weights` item. What these allow to be missing gets its first value.
    pub fn load(&self, machine: &mut dyn Machine, state: &HostState, path: &Path) -> Result<()> {
        let plain = load_file(machine, &recipe::Weights::default(), path);
        let (Err(_), Some(Rules { weights, .. })) = (&plain, &self.rules) else { return plain.map(drop) };
        if !weights.missing.is_empty() && machine.ports("init").is_some() {
            machine.run("init", state, &[])?;
        }
        load_file(machine, weights, path).map(drop)
    }

    /// An error with the place that it is about: a shape, with the weight's declaration; names, with the line that names the
    /// file.
    pub fn place(&self, error: Error) -> Fail {
        let declared = |name: &String| self.declared.iter().find(|(known, _)| known == name).map(|(_, span)| *span);
        let file = self.rules.as_ref().map(|rules| rules.file);
        let span = match error.code {
            code::WEIGHT_SHAPE => error.about.as_ref().and_then(declared).or(file),
            code::NO_WEIGHT_FOUND | code::WEIGHT_NAMES => file,
            _ => None,
        };
        match span {
            Some(span) => Fail::Placed(error, span, self.sources.clone()),
            None => Fail::Error(error),
        }
    }
}
