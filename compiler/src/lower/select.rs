//! Choosing weights by globs. Takes globs as they stand in a spec and the names of a model's weights; gives the numbers of
//! the weights that each covers, or says what is nearest to a glob that covers nothing.

use crate::check::near_glob;
use dlc_grammar::ast::Str;
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::glob::{Glob, idle_alternatives};
use std::collections::BTreeSet;

/// The names of the weights of a model: for each, its own and its aliases.
pub struct Names {
    names: Vec<Vec<String>>,
}

impl Names {
    /// Weights with their names.
    pub fn new(names: Vec<Vec<String>>) -> Names {
        Names { names }
    }

    /// The weights that any of some globs covers, as a truth for each; a glob that covers none is an error. `what` is the
    /// rule, for messages: `group`.
    pub fn chosen(&self, what: &str, globs: &[Str], errors: &mut Vec<Diagnostic>) -> Vec<bool> {
        let mut chosen = vec![false; self.names.len()];
        for text in globs {
            let Some(glob) = read(text, errors) else { continue };
            let covers = |names: &Vec<String>| names.iter().any(|name| glob.covers(name));
            let mut any = false;
            for (slot, names) in chosen.iter_mut().zip(&self.names) {
                let hit = covers(names);
                *slot |= hit;
                any |= hit;
            }
            match any {
                false => errors.push(self.nothing(what, "weight", text)),
                true => {
                    let hits = |glob: &Glob| self.names.iter().flatten().any(|name| glob.covers(name));
                    self.alternatives((what, "weight"), text, &hits, errors);
                }
            }
        }
        chosen
    }

    /// An alternative that covers nothing is an error, like a glob that does.
    fn alternatives(
        &self,
        (verb, what): (&str, &str),
        glob: &Str,
        hits: &dyn Fn(&Glob) -> bool,
        errors: &mut Vec<Diagnostic>,
    ) {
        for idle in idle_alternatives(&glob.value, hits) {
            let d = Diagnostic::error("E0501", glob.span, format!("this `{verb}` matches no {what} as `{idle}`"));
            errors.push(self.with_near(d, &idle));
        }
    }

    /// The modules that any of some globs covers, by their full names; that of the model itself is empty. A glob that covers
    /// none is an error.
    pub fn modules(&self, what: &str, globs: &[Str], errors: &mut Vec<Diagnostic>) -> BTreeSet<String> {
        let above = |name: &String| name.match_indices('.').map(|(at, _)| name[..at].to_string()).collect::<Vec<_>>();
        let modules: BTreeSet<String> = self.names.iter().flatten().flat_map(above).collect();
        let mut chosen = BTreeSet::new();
        for text in globs {
            let Some(glob) = read(text, errors) else { continue };
            let whole = glob.covers_all().then(String::new);
            let covered = modules.iter().filter(|name| glob.covers(name)).cloned().chain(whole);
            let before = std::mem::take(&mut chosen);
            chosen.extend(covered);
            if !chosen.is_empty() && !glob.covers_all() {
                let hits = |glob: &Glob| modules.iter().any(|name| glob.covers(name));
                self.alternatives((what, "module"), text, &hits, errors);
            }
            if chosen.is_empty() {
                let d = self.nothing(what, "module", text);
                let weights = self.names.iter().flatten().any(|name| glob.covers(name));
                errors.push(if weights { d.help("it names weights, and not what holds them") } else { d });
            }
            chosen.extend(before);
        }
        chosen
    }

    fn nothing(&self, verb: &str, what: &str, glob: &Str) -> Diagnostic {
        let d = Diagnostic::error("E0501", glob.span, format!("this `{verb}` matches no {what}"));
        self.with_near(d, &glob.value)
    }

    fn with_near(&self, d: Diagnostic, glob: &str) -> Diagnostic {
        match near_glob(glob, self.names.iter().flatten().map(String::as_str)) {
            Some(near) => d.help(near),
            None => d,
        }
    }
}

/// Reads a glob.
pub fn read(text: &Str, errors: &mut Vec<Diagnostic>) -> Option<Glob> {
    match Glob::new(&text.value) {
        Ok(glob) => Some(glob),
        Err(why) => {
            errors.push(bad(text.span, why));
            None
        }
    }
}

/// A glob or a renaming that makes no sense.
pub fn bad(span: Span, why: String) -> Diagnostic {
    Diagnostic::error("E0503", span, why)
}
