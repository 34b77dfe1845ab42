//! The spec that a command is about: its text, as read from a file and changed by `--set`.

use super::args::{required_path, sets};
use super::fail::{Fail, tell};
use super::set;
use crate::error::{Error, Kind, code};
use clap::ArgMatches;
use dlc_grammar::ast::Spec;
use dlc_grammar::{Diagnostic, Sources};
use std::path::{Path, PathBuf};

/// A spec's text.
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// Its text, with what was set.
    pub text: String,
}

impl Source {
    /// The spec that the command line names, with what it sets.
    pub fn open(args: &ArgMatches) -> Result<Source, Fail> {
        let path = required_path(args, "SPEC").clone();
        let text = read(&path)?;
        let text = set::apply(&text, &sets(args)).map_err(|(diagnostics, sources)| Fail::Spec(diagnostics, sources))?;
        Ok(Source { path, text })
    }

    /// Its tree; warnings are told.
    pub fn parse(&self, json: bool) -> Result<Spec, Fail> {
        let (spec, diagnostics) = dlc_grammar::parse::parse(&self.text, 0);
        let sources = Sources::single(self.path.display().to_string(), self.text.as_str());
        if diagnostics.iter().any(Diagnostic::is_error) {
            return Err(Fail::Spec(diagnostics, sources));
        }
        tell(&diagnostics, &sources, json);
        Ok(spec)
    }
}

/// The text of a spec.
pub fn read(path: &Path) -> Result<String, Fail> {
    let bytes = std::fs::read(path).map_err(|error| cannot_read(path, &error))?;
    text_of(bytes, path)
}

/// Bytes as text; a spec that is no text is a mistake in the spec.
pub fn text_of(bytes: Vec<u8>, path: &Path) -> Result<String, Fail> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let line = 1 + error.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count();
        Error::spec(code::BAD_FILE, format!("{} is not UTF-8 text: see line {line}", path.display())).into()
    })
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Error {
    let error = Error::reading(path, error);
    Error { kind: Kind::Spec, ..error }
}
