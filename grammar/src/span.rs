//! Places in source text.
//!
//! Takes byte offsets, gives files, lines and columns. A [`Span`] is small and `Copy`, so every node of the tree and
//! everything lowered from it can carry one; [`Sources`] is the only place that knows the text behind it.

use crate::lex::BYTE_ORDER_MARK;

/// A range of bytes of one file of a [`Sources`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Span {
    /// Which file, as [`Sources::add`] numbered it.
    pub file: u16,
    /// Offset of the first byte.
    pub start: u32,
    /// Offset just past the last byte.
    pub end: u32,
}

impl Span {
    /// The bytes `start..end` of file `file`.
    pub fn new(file: u16, start: usize, end: usize) -> Span {
        Span { file, start: saturate(start), end: saturate(end) }
    }

    /// The smallest span that holds `self` and `other`, which lie in one file.
    pub fn to(self, other: Span) -> Span {
        Span { file: self.file, start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The empty span at the start of this one.
    pub fn at_start(self) -> Span {
        Span { end: self.start, ..self }
    }

    /// The empty span at the end of this one.
    pub fn at_end(self) -> Span {
        Span { start: self.end, ..self }
    }

    /// The span as a range of indices into its file's text.
    pub fn range(self) -> std::ops::Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Offsets past 4 GiB cannot be said; `parse` refuses such a text before a span of it is made.
fn saturate(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

/// One text and the name under which messages show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceFile {
    /// What messages call it, such as `examples/digits.dl` or `<prelude>/losses.dl`.
    pub name: String,
    /// Its whole text.
    pub text: String,
    line_starts: Vec<u32>,
}

/// A place for people: both numbers count from 1, and the column counts characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LineColumn {
    /// The line, from 1.
    pub line: u32,
    /// The character in the line, from 1.
    pub column: u32,
}

/// All files that spans may speak of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sources {
    files: Vec<SourceFile>,
}

impl Sources {
    /// No files yet.
    pub fn new() -> Sources {
        Sources::default()
    }

    /// One file, which gets number 0.
    pub fn single(name: impl Into<String>, text: impl Into<String>) -> Sources {
        let mut sources = Sources::new();
        sources.add(name, text);
        sources
    }

    /// Adds a file and gives the number that spans of it carry. The 65,536th file and all later ones share one number.
    pub fn add(&mut self, name: impl Into<String>, text: impl Into<String>) -> u16 {
        let text = text.into();
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| saturate(at + 1))).collect();
        self.files.push(SourceFile { name: name.into(), text, line_starts });
        u16::try_from(self.files.len() - 1).unwrap_or(u16::MAX)
    }

    /// The files, in the order they were added.
    pub fn files(&self) -> &[SourceFile] {
        &self.files
    }

    /// The file numbered `file`.
    pub fn get(&self, file: u16) -> Option<&SourceFile> {
        self.files.get(usize::from(file))
    }

    /// The name of a span's file; empty where the span belongs to none of these.
    pub fn name(&self, span: Span) -> &str {
        self.get(span.file).map_or("", |file| file.name.as_str())
    }

    /// The text a span covers; empty where the span does not fit its file.
    pub fn text(&self, span: Span) -> &str {
        self.get(span.file).and_then(|file| file.text.get(span.range())).unwrap_or("")
    }

    /// Line and column of a span's first character.
    pub fn line_column(&self, span: Span) -> LineColumn {
        self.get(span.file).map_or(LineColumn { line: 1, column: 1 }, |file| file.line_column(span.start))
    }

    /// `name:line:column` of a span's first character.
    pub fn place(&self, span: Span) -> String {
        let at = self.line_column(span);
        format!("{}:{}:{}", self.name(span), at.line, at.column)
    }
}

impl SourceFile {
    /// Line and column of the byte at `offset`; an offset past the end counts as the end.
    pub fn line_column(&self, offset: u32) -> LineColumn {
        let offset = offset.min(saturate(self.text.len()));
        let line = self.line_starts.partition_point(|start| *start <= offset).max(1);
        let start = self.line_starts[line - 1] as usize;
        let before = &self.text.as_bytes()[start..offset as usize];
        // Continuation bytes of UTF-8 do not begin a character; an offset inside a character counts as just past it.
        let column = before.iter().filter(|byte| (**byte & 0xC0) != 0x80).count();
        // A byte order mark is no character of the first line.
        let mark = line == 1 && offset > 0 && self.text.starts_with(BYTE_ORDER_MARK);
        let column = column - usize::from(mark);
        LineColumn { line: saturate(line), column: saturate(column + 1) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_count_from_one_in_characters() {
        let mut sources = Sources::single("a.dl", "first\nzwölf x\n");
        assert_eq!(sources.add("b.dl", ""), 1);
        let marked = sources.add("c.dl", "\u{FEFF}x y\nz");
        assert_eq!(sources.place(Span::new(marked, 0, 0)), "c.dl:1:1");
        assert_eq!(sources.place(Span::new(marked, 3, 4)), "c.dl:1:1");
        assert_eq!(sources.place(Span::new(marked, 5, 6)), "c.dl:1:3");
        assert_eq!(sources.place(Span::new(marked, 7, 8)), "c.dl:2:1");
        let x = "first\nzwölf ".len();
        assert_eq!(sources.line_column(Span::new(0, x, x + 1)), LineColumn { line: 2, column: 7 });
        assert_eq!(sources.place(Span::new(0, 0, 5)), "a.dl:1:1");
        assert_eq!(sources.text(Span::new(0, x, x + 1)), "x");
        assert_eq!(sources.place(Span::new(0, 999, 1000)), "a.dl:3:1");
        assert_eq!(sources.place(Span::new(1, 0, 0)), "b.dl:1:1");
        assert_eq!(sources.text(Span::new(7, 0, 0)), "");
    }

    #[test]
    fn a_span_grows_to_hold_another() {
        assert_eq!(Span::new(1, 4, 6).to(Span::new(1, 9, 12)), Span::new(1, 4, 12));
        assert_eq!(Span::new(1, 4, 6).at_end(), Span::new(1, 6, 6));
    }
}
