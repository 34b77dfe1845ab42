//! The weights file that a command is given, and where the spec speaks of it. Takes what a spec was compiled to; gives the
//! weights to a machine by the spec's own rules, and errors of files with the line of the spec that they are about.

use super::fail::Fail;
use crate::error::{Error, Result, code};
use crate::machine::{Machine, load_by_names_or_rules};
use dlc_compiler::lower::Rules;
use dlc_compiler::pipeline::Compiled;
use dlc_grammar::{Sources, Span};
use dlc_plan::HostState;
use std::path::{Path, PathBuf};

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
    /// rules of the spec's `weights` item. What these allow to be missing gets its first value. Without a file, that of the
    /// spec is taken, relative to `folder`; a machine without weights needs none.
    pub fn load(
        &self,
        machine: &mut dyn Machine,
        state: &HostState,
        path: Option<&PathBuf>,
        folder: &Path,
    ) -> Result<()> {
        if path.is_none() && machine.weights().is_empty() {
            return Ok(());
        }
        let rules = self.rules.as_ref().map(|rules| &rules.weights);
        let path = match (path, rules) {
            (Some(path), _) => path.clone(),
            (None, Some(rules)) => folder.join(&rules.file),
            (None, None) => {
                let error = Error::spec(code::CANNOT_RUN, "no file of weights is given, and the spec names none");
                return Err(error.help("`--weights FILE`"));
            }
        };
        if machine.ports("init").is_some() && rules.is_some_and(|rules| !rules.missing.is_empty()) {
            machine.run("init", state, &[])?;
        }
        let warnings = load_by_names_or_rules(machine, rules, &path)?;
        warnings.iter().for_each(|text| eprintln!("warning: {text}"));
        Ok(())
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
