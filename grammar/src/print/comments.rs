//! What stands between two tokens of a source text: comments and line ends.

use crate::lex::Comment;

/// A comment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    /// As written, without spaces at the end.
    pub text: String,
    /// Whether nothing can follow it on its line.
    pub ends_line: bool,
    /// Line ends between it and what stands before it.
    pub newlines: usize,
    /// The column that its author moved it to, if it stands behind code and more than a usual gap away from it; else 0.
    pub column: usize,
}

/// Spaces between code and a comment behind it.
pub(crate) const GAP: usize = 2;

/// What stands before a token.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Trivia {
    /// The comments in order.
    pub notes: Vec<Note>,
    /// Line ends between the last comment, or the token before, and the token.
    pub newlines: usize,
}

impl Trivia {
    /// The trivia of a range of source text, with the comments that begin in it.
    pub fn read(text: &str, range: std::ops::Range<usize>, comments: &[Comment]) -> Trivia {
        let mut trivia = Trivia::default();
        let mut from = range.start;
        let newlines = |from: usize, to: usize| text.get(from..to).unwrap_or("").matches('\n').count();
        for comment in comments.iter().take_while(|comment| comment.start < range.end) {
            let written = text.get(comment.start..comment.end).unwrap_or("").trim_end().replace("\r\n", "\n");
            let ends_line = written.starts_with("//");
            let newlines = newlines(from, comment.start);
            let column = if newlines == 0 { moved_to(text, comment.start) } else { 0 };
            trivia.notes.push(Note { text: written, ends_line, newlines, column });
            from = comment.end;
        }
        trivia.newlines = newlines(from, range.end);
        trivia
    }

    /// Whether the author ended a line here.
    pub fn breaks(&self) -> bool {
        self.newlines > 0 || self.notes.iter().any(|note| note.newlines > 0 || note.ends_line)
    }

    /// Whether the line ends here if `before` stands here too.
    pub fn ends_line(&self, before: super::layout::Before) -> bool {
        use super::layout::Before;
        match before {
            Before::Soft { .. } | Before::Kept { .. } | Before::End => self.breaks(),
            Before::Nothing | Before::Closer(_) | Before::Space | Before::Pad(_) => {
                self.notes.iter().any(|note| note.newlines > 0 || note.ends_line)
            }
        }
    }

    /// Whether all comments stand behind what is before them.
    pub fn all_behind(&self) -> bool {
        self.notes.iter().all(|note| note.newlines == 0)
    }

    /// The columns that comments within the line take.
    pub fn width(&self) -> usize {
        self.notes.iter().map(|note| 1 + super::layout::width(&note.text)).sum()
    }
}

/// The column of `at` if more than a usual gap of spaces stands before it; else 0.
fn moved_to(text: &str, at: usize) -> usize {
    let line = text.get(..at).and_then(|before| before.rsplit('\n').next()).unwrap_or("");
    let spaces = line.len() - line.trim_end_matches(' ').len();
    if spaces > GAP { super::layout::width(line) } else { 0 }
}
