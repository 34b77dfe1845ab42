//! Shows diagnostics the way rustc does. Takes diagnostics and the sources they speak of, gives text for a terminal.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::diagnostic::{Diagnostic, Label, Severity};
use crate::span::Sources;

/// All diagnostics, one after another with an empty line between; empty for none. `color` uses ANSI colours.
pub fn render(diagnostics: &[Diagnostic], sources: &Sources, color: bool) -> String {
    let renderer = if color { Renderer::styled() } else { Renderer::plain() };
    let mut out = String::new();
    for diagnostic in diagnostics {
        if !out.is_empty() {
            out.push('\n');
        }
        out.push_str(&renderer.render(&[group(diagnostic, sources)]));
        out.push('\n');
    }
    out
}

fn group<'a>(diagnostic: &'a Diagnostic, sources: &'a Sources) -> Group<'a> {
    let level = match diagnostic.severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
    };
    let mut group = Group::with_title(level.primary_title(diagnostic.message.as_str()).id(diagnostic.code));
    for (number, file) in sources.files().iter().enumerate() {
        let here = |label: &&Label| usize::from(label.span.file) == number;
        let mut labels = diagnostic.labels.iter().filter(here).peekable();
        if labels.peek().is_none() {
            continue;
        }
        let mut snippet = Snippet::source(file.text.as_str()).path(file.name.as_str());
        for label in labels {
            let kind = if label.primary { AnnotationKind::Primary } else { AnnotationKind::Context };
            let mut annotation = kind.span(clamp(label, &file.text));
            if !label.text.is_empty() {
                annotation = annotation.label(label.text.as_str());
            }
            snippet = snippet.annotation(annotation);
        }
        group = group.element(snippet);
    }
    for note in &diagnostic.notes {
        group = group.element(Level::NOTE.message(note.as_str()));
    }
    for help in &diagnostic.help {
        group = group.element(Level::HELP.message(help.as_str()));
    }
    group
}

/// The label's range, moved to character boundaries inside the text: a span of another text must not panic.
fn clamp(label: &Label, text: &str) -> std::ops::Range<usize> {
    let range = label.span.range();
    let start = text.floor_char_boundary(range.start);
    start..text.ceil_char_boundary(range.end).max(start)
}
