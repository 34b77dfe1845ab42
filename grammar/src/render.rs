//! Shows diagnostics the way rustc does. Takes diagnostics and the sources they speak of, gives text for a terminal.

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use crate::diagnostic::{Diagnostic, Label, Severity};
use crate::lex::BYTE_ORDER_MARK;
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
    // The file of the mistake comes first, then those that explain it.
    let mut files: Vec<u16> = diagnostic.span().iter().map(|span| span.file).collect();
    files.extend(diagnostic.labels.iter().map(|label| label.span.file));
    let mut shown = Vec::new();
    for number in files {
        let Some(file) = sources.get(number).filter(|_| !shown.contains(&number)) else { continue };
        shown.push(number);
        let labels = diagnostic.labels.iter().filter(|label| label.span.file == number);
        let text = file.text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&file.text);
        let mut snippet = Snippet::source(text).path(file.name.as_str());
        for label in labels {
            let kind = if label.primary { AnnotationKind::Primary } else { AnnotationKind::Context };
            let mut annotation = kind.span(clamp(label, text, file.text.len() - text.len()));
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

/// The label's range in a text that begins at byte `skipped` of its file, moved to character boundaries inside the text: a
/// span of another text must not panic.
fn clamp(label: &Label, text: &str, skipped: usize) -> std::ops::Range<usize> {
    let range = label.span.range();
    let start = text.floor_char_boundary(range.start.saturating_sub(skipped));
    start..text.ceil_char_boundary(range.end.saturating_sub(skipped)).max(start)
}

#[cfg(test)]
mod tests {
    use super::render;
    use crate::diagnostic::Diagnostic;
    use crate::parse::parse;
    use crate::span::{Sources, Span};

    #[test]
    fn mistakes_look_as_rustc_shows_them() {
        let text = "fn f(x) {\n  y = x + x -> relu\n  return f(y))\n}\ntrian sst2 { a = 1 }\n";
        let shown = render(&parse(text, 0).1, &Sources::single("bad.dl", text), false);
        let wanted = "\
error[E0004]: this `)` closes nothing
 --> bad.dl:3:14
  |
3 |   return f(y))
  |              ^
  |
  = help: the `(` at 3:11 is already closed

error[E0003]: no item is called `trian`
 --> bad.dl:5:1
  |
5 | trian sst2 { a = 1 }
  | ^^^^^
  |
  = help: did you mean `train`?
";
        assert_eq!(shown, wanted);
    }

    #[test]
    fn labels_notes_and_places_in_two_files_are_shown() {
        let mut sources = Sources::single("a.dl", "x = y\n");
        sources.add("b.dl", "one\ntwö three\n");
        let mut mistake = Diagnostic::warning("W0801", Span::new(1, 9, 14), "odd").here("here").note("in b");
        mistake = mistake.label(Span::new(0, 4, 5), "from here").help("change it");
        let shown = render(&[mistake, Diagnostic::global("E0901", "no such file")], &sources, false);
        for part in [
            "warning[W0801]: odd",
            "--> b.dl:2:5",
            "^^^^^ here",
            "a.dl:1:5",
            "- from here",
            "= note: in b",
            "= help: change it",
            "error[E0901]: no such file",
        ] {
            assert!(shown.contains(part), "{part} is missing in\n{shown}");
        }
        assert!(render(&[Diagnostic::global("E0901", "m")], &sources, true).contains('\u{1b}'));
    }

    #[test]
    fn a_byte_order_mark_is_no_column() {
        let text = "\u{FEFF}fn f(x) = x)\nfn g(x) = x)\n";
        let shown = render(&parse(text, 0).1, &Sources::single("a.dl", text), false);
        for part in
            ["a.dl:1:12", "1 | fn f(x) = x)\n  |            ^\n", "a.dl:2:12", "2 | fn g(x) = x)\n  |            ^\n"]
        {
            assert!(shown.contains(part), "{part} is missing in\n{shown}");
        }
    }

    #[test]
    fn a_span_of_another_text_is_cut_to_fit() {
        let sources = Sources::single("a.dl", "é");
        for (start, end) in [(0, 1), (1, 1), (1, 99), (50, 60), (2, 0)] {
            let shown = render(&[Diagnostic::error("E0001", Span::new(0, start, end), "m")], &sources, false);
            assert!(shown.contains("a.dl:1"), "{shown}");
        }
        assert!(render(&[Diagnostic::error("E0001", Span::new(9, 0, 1), "m")], &sources, false).contains("E0001"));
    }
}
