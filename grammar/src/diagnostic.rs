//! What a user is told about a mistake.
//!
//! Every stage gives [`Diagnostic`]s; the terminal, `--json` and `model!` each show the same fields. Messages say what
//! disagrees in the user's own words, labels say where each side came from, `help` says one way out.

use crate::span::Span;

/// How bad it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Severity {
    /// The spec cannot be used.
    Error,
    /// The spec can be used, but likely does not do what was meant.
    Warning,
}

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The kind of mistake, such as `E0301` or `W0801`.
    pub code: &'static str,
    /// Error or warning.
    pub severity: Severity,
    /// What disagrees, in one line.
    pub message: String,
    /// Places in the text; the first is the primary one.
    pub labels: Vec<Label>,
    /// Facts that explain it: which instance, how many more alike.
    pub notes: Vec<String>,
    /// Ways out.
    pub help: Vec<String>,
    /// Changes to the text that would mend it, for editors.
    pub edits: Vec<Edit>,
}

/// A marked place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// What is said about it; may be empty.
    pub text: String,
    /// Whether this is the place of the mistake, or one that explains it.
    pub primary: bool,
}

/// Replace the text of `span` by `text`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// What goes.
    pub span: Span,
    /// What comes.
    pub text: String,
}

impl Diagnostic {
    /// An error at `span`.
    pub fn error(code: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, Severity::Error, Some(span), message.into())
    }

    /// A warning at `span`.
    pub fn warning(code: &'static str, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, Severity::Warning, Some(span), message.into())
    }

    /// An error that is about no place in a text, such as a missing file.
    pub fn global(code: &'static str, message: impl Into<String>) -> Diagnostic {
        Diagnostic::new(code, Severity::Error, None, message.into())
    }

    fn new(code: &'static str, severity: Severity, span: Option<Span>, message: String) -> Diagnostic {
        let labels = span.map(|span| Label { span, text: String::new(), primary: true });
        Diagnostic {
            code,
            severity,
            message,
            labels: labels.into_iter().collect(),
            notes: Vec::new(),
            help: Vec::new(),
            edits: Vec::new(),
        }
    }

    /// Says `text` at the primary place.
    pub fn here(mut self, text: impl Into<String>) -> Diagnostic {
        if let Some(label) = self.labels.iter_mut().find(|label| label.primary) {
            label.text = text.into();
        }
        self
    }

    /// Marks another place that explains the mistake.
    pub fn label(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.labels.push(Label { span, text: text.into(), primary: false });
        self
    }

    /// Adds a fact.
    pub fn note(mut self, text: impl Into<String>) -> Diagnostic {
        self.notes.push(text.into());
        self
    }

    /// Adds a way out.
    pub fn help(mut self, text: impl Into<String>) -> Diagnostic {
        self.help.push(text.into());
        self
    }

    /// Adds ``did you mean `name`?`` where a near name is known.
    pub fn did_you_mean(self, name: Option<&str>) -> Diagnostic {
        match name {
            Some(name) => self.help(format!("did you mean `{name}`?")),
            None => self,
        }
    }

    /// Adds a change of the text that would mend it.
    pub fn edit(mut self, span: Span, text: impl Into<String>) -> Diagnostic {
        self.edits.push(Edit { span, text: text.into() });
        self
    }

    /// The place of the mistake.
    pub fn span(&self) -> Option<Span> {
        self.labels.iter().find(|label| label.primary).map(|label| label.span)
    }

    /// Whether it is an error.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }
}

/// Sorts by place, then code, and drops what is said twice; those without a place come first.
pub fn tidy(diagnostics: &mut Vec<Diagnostic>) {
    diagnostics.sort_by(|a, b| (a.span(), a.code, &a.message).cmp(&(b.span(), b.code, &b.message)));
    diagnostics.dedup();
}

/// The candidate nearest to a misspelled `name`, if any is near enough to be worth a guess: about one slip in three
/// letters, where a slip is a letter missing, added, changed, or swapped with its neighbour. Case is a small slip.
pub fn nearest<'a>(name: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    // No name that long is a slip of another, and the distance takes the product of the lengths.
    const LONGEST: usize = 64;
    let wanted: Vec<char> = name.chars().take(LONGEST + 1).collect();
    if wanted.len() > LONGEST {
        return None;
    }
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        if candidate == name {
            continue;
        }
        let letters: Vec<char> = candidate.chars().collect();
        let longer = wanted.len().max(letters.len());
        if letters.len() > LONGEST || letters.is_empty() {
            continue;
        }
        let cost = distance(&wanted, &letters);
        // A name of one or two letters is near anything, so there only another case counts.
        let allowed = if longer < 3 { 1 } else { 2 * (longer / 3) };
        if cost <= allowed && best.is_none_or(|(least, _)| cost < least) {
            best = Some((cost, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Twice the number of slips between `a` and `b`; a letter in another case is half a slip. This is the optimal string
/// alignment distance (Damerau-Levenshtein without edits inside a swap).
fn distance(a: &[char], b: &[char]) -> usize {
    let change = |x: char, y: char| match (x == y, x.eq_ignore_ascii_case(&y)) {
        (true, _) => 0,
        (false, true) => 1,
        (false, false) => 2,
    };
    let mut before = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).map(|j| 2 * j).collect();
    for i in 1..=a.len() {
        let mut row = vec![2 * i; b.len() + 1];
        for j in 1..=b.len() {
            let mut cost = (last[j] + 2).min(row[j - 1] + 2).min(last[j - 1] + change(a[i - 1], b[j - 1]));
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                cost = cost.min(before[j - 2] + 2);
            }
            row[j] = cost;
        }
        before = std::mem::replace(&mut last, row);
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["gelu", "glu", "relu", "data", "train", "weights", "Linear", "x"];
        assert_eq!(nearest("gleu", known), Some("gelu"));
        assert_eq!(nearest("trian", known), Some("train"));
        assert_eq!(nearest("linear", known), Some("Linear"));
        assert_eq!(nearest("weigths", known), Some("weights"));
        assert_eq!(nearest("X", known), Some("x"));
        assert_eq!(nearest("y", known), None);
        assert_eq!(nearest("convolution", known), None);
        assert_eq!(nearest("", known), None);
        assert_eq!(nearest("gelu", ["gelu"]), None);
        assert_eq!(nearest(&"x".repeat(100_000), known), None);
    }

    #[test]
    fn tidy_sorts_by_place_and_drops_repeats() {
        let at = |start| Diagnostic::error("E0001", Span::new(0, start, start + 1), "m");
        let mut all = vec![at(9), at(3), Diagnostic::global("E0001", "m"), at(9)];
        tidy(&mut all);
        let places: Vec<_> = all.iter().map(|d| d.span().map(|span| span.start)).collect();
        assert_eq!(places, [None, Some(3), Some(9)]);
    }
}
