//! How a command ends that does not end well, and what the user sees of it.

use crate::error::{Error, Kind};
use dlc_grammar::diagnostic::Diagnostic;
use dlc_grammar::{Severity, Sources, Span};
use serde_json::{Value, json};
use std::io::{self, IsTerminal, Write};

/// Why a command ends early.
pub enum Fail {
    /// Mistakes in the spec.
    Spec(Vec<Diagnostic>, Sources),
    /// A file that cannot be used, or something that happened while running.
    Error(Error),
    /// The same, with the place of the spec that it is about.
    Placed(Error, Span, Sources),
    /// No one reads what the command prints; nothing is left to do or to say.
    Unheard,
    /// The user interrupted it, and what there was is saved.
    Interrupted,
    /// All was said already; this is the exit code.
    Said(u8),
}

/// What a command gives.
pub type Outcome = Result<(), Fail>;

impl From<Error> for Fail {
    fn from(error: Error) -> Fail {
        Fail::Error(error)
    }
}

impl Fail {
    /// A mistake in what was asked for on the command line.
    pub fn asked(message: impl Into<String>) -> Fail {
        Fail::Spec(vec![Diagnostic::global("E0900", message)], Sources::new())
    }

    /// The exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Fail::Spec(..) => 1,
            Fail::Error(error) | Fail::Placed(error, ..) => match error.kind {
                Kind::Spec => 1,
                Kind::Files => 2,
                Kind::Run => 3,
            },
            Fail::Unheard => 0,
            Fail::Interrupted => 130,
            Fail::Said(code) => *code,
        }
    }

    /// Tells the user, on standard error.
    pub fn tell(&self, json: bool) {
        match self {
            Fail::Spec(diagnostics, sources) => tell(diagnostics, sources, json),
            Fail::Error(error) => tell(&[diagnostic(error, None)], &Sources::new(), json),
            Fail::Placed(error, span, sources) => tell(&[diagnostic(error, Some(*span))], sources, json),
            Fail::Unheard | Fail::Interrupted | Fail::Said(_) => {}
        }
    }
}

/// Shows diagnostics on standard error.
pub fn tell(diagnostics: &[Diagnostic], sources: &Sources, json: bool) {
    let text = if json {
        diagnostics.iter().map(|diagnostic| format!("{}\n", to_json(diagnostic, sources))).collect()
    } else {
        let color = io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        dlc_grammar::render::render(diagnostics, sources, color)
    };
    // Where standard error cannot be written there is no one to tell that.
    let _ = io::stderr().write_all(text.as_bytes());
}

/// An error in the form of the compiler's diagnostics.
fn diagnostic(error: &Error, span: Option<Span>) -> Diagnostic {
    let message = error.message.clone();
    let mut diagnostic = match span {
        Some(span) => Diagnostic::error(error.code, span, message),
        None => Diagnostic::global(error.code, message),
    };
    diagnostic.notes.clone_from(&error.notes);
    diagnostic.help.clone_from(&error.help);
    diagnostic
}

/// A diagnostic as one JSON object; places count lines and columns from 1, ends are just past the last character.
fn to_json(diagnostic: &Diagnostic, sources: &Sources) -> Value {
    let place = |span: Span| {
        let (start, end) = (sources.line_column(span.at_start()), sources.line_column(span.at_end()));
        json!({
            "file": sources.name(span),
            "line": start.line,
            "column": start.column,
            "end_line": end.line,
            "end_column": end.column,
        })
    };
    let with = |span, key: &str, text: &str| {
        let mut object = place(span);
        object[key] = text.into();
        object
    };
    let labels: Vec<Value> = diagnostic
        .labels
        .iter()
        .map(|label| {
            let mut object = with(label.span, "text", &label.text);
            object["primary"] = label.primary.into();
            object
        })
        .collect();
    json!({
        "code": diagnostic.code,
        "severity": match diagnostic.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        },
        "message": diagnostic.message,
        "labels": labels,
        "notes": diagnostic.notes,
        "help": diagnostic.help,
        "edits": diagnostic.edits.iter().map(|edit| with(edit.span, "replace_with", &edit.text)).collect::<Vec<_>>(),
    })
}

/// Prints to standard output.
pub fn print(text: &str) -> Outcome {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Fail::Unheard),
        Err(error) => Err(Error::writing("standard output".as_ref(), &error).into()),
    }
}
