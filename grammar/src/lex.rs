//! Cuts text into tokens and comments before the grammar sees it.
//!
//! Takes text, gives tokens, comments, and every mistake of single characters: `#` comments, single quotes, strings
//! and comments without an end, letters the language does not have, numbers that are none. It never fails: after a
//! mistake it goes on with the next character, so all of them are reported. Runs in one pass over the bytes.

use std::borrow::Cow;

use crate::diagnostic::Diagnostic;
use crate::span::Span;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TokenKind {
    /// A name or a keyword.
    Word,
    /// A number.
    Number,
    /// A string, quotes included.
    Str,
    /// `(`, `[` or `{`.
    Open,
    /// `)`, `]` or `}`.
    Close,
    /// An operator or another mark.
    Mark,
}

/// A token: what it is and which bytes it covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Token {
    pub kind: TokenKind,
    pub start: usize,
    pub end: usize,
}

impl Token {
    /// The token's letters.
    pub fn text<'t>(&self, text: &'t str) -> &'t str {
        text.get(self.start..self.end).unwrap_or("")
    }
}

/// What a comment is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CommentKind {
    /// For the reader.
    Plain,
    /// `///`: documents the next item.
    Outer,
    /// `//!`: documents the file.
    Inner,
}

/// A comment, or a documentation attribute.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Comment {
    pub kind: CommentKind,
    pub start: usize,
    pub end: usize,
}

/// A text cut up.
#[derive(Debug, Default)]
pub(crate) struct Lexed {
    pub tokens: Vec<Token>,
    pub comments: Vec<Comment>,
    pub diagnostics: Vec<Diagnostic>,
    /// Where the mistakes are that make it useless to parse on.
    pub broken: Vec<usize>,
    /// What to put in the place of mistakes whose meaning is plain, byte for byte, so that parsing goes on.
    pub patches: Vec<(std::ops::Range<usize>, u8)>,
}

impl Lexed {
    /// The text with its patches.
    pub fn patched<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.patches.is_empty() {
            return Cow::Borrowed(text);
        }
        let mut bytes = text.as_bytes().to_vec();
        for (range, byte) in &self.patches {
            bytes[range.clone()].fill(*byte);
        }
        String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned)
    }
}

/// After so many mistakes a text is something else than a spec, and more messages help nobody.
pub(crate) const MOST_ERRORS: usize = 100;

/// Comments may nest this deep.
const COMMENT_DEPTH: usize = 32;

/// What some editors put in front of a text; it is no part of it.
pub(crate) const BYTE_ORDER_MARK: char = '\u{FEFF}';

/// Cuts `text` up.
pub(crate) fn lex(text: &str, file: u16) -> Lexed {
    // A byte order mark says that what follows is UTF-8, which is all that a text may be.
    let at = if text.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len_utf8() } else { 0 };
    let mut lexer = Lexer { text, bytes: text.as_bytes(), file, at, out: Lexed::default() };
    while let Some(byte) = lexer.bytes.get(lexer.at).copied() {
        lexer.next(byte);
    }
    lexer.out
}

struct Lexer<'t> {
    text: &'t str,
    bytes: &'t [u8],
    file: u16,
    at: usize,
    out: Lexed,
}

impl Lexer<'_> {
    fn next(&mut self, byte: u8) {
        match byte {
            b' ' | b'\t' | b'\r' | b'\n' => self.at += 1,
            b'a'..=b'z' | b'A'..=b'Z' | b'_' => {
                let end = self.end_of_word(self.at);
                if self.text[end..].starts_with(|next: char| !next.is_ascii() && next.is_alphanumeric()) {
                    return self.foreign();
                }
                self.token(TokenKind::Word, end);
            }
            b'0'..=b'9' => self.number(),
            b'"' => self.string(),
            b'(' | b'[' | b'{' => self.token(TokenKind::Open, self.at + 1),
            b')' | b']' | b'}' => self.token(TokenKind::Close, self.at + 1),
            b'/' if self.peek(1) == Some(b'/') => self.line_comment(),
            b'/' if self.peek(1) == Some(b'*') => self.block_comment(),
            b'#' => self.hash(),
            b'\'' => self.single_quotes(),
            b'.' if self.peek(1).is_some_and(|next| next.is_ascii_digit()) && self.begins_a_number() => {
                self.point_first();
            }
            b'+' | b'-' | b'*' | b'/' | b'%' | b'@' | b'^' | b'=' | b'<' | b'>' | b'.' | b',' | b':' | b';' => {
                self.mark();
            }
            b'!' if self.peek(1) == Some(b'=') => self.token(TokenKind::Mark, self.at + 2),
            _ => self.foreign(),
        }
    }

    fn peek(&self, ahead: usize) -> Option<u8> {
        self.bytes.get(self.at + ahead).copied()
    }

    fn token(&mut self, kind: TokenKind, end: usize) {
        self.out.tokens.push(Token { kind, start: self.at, end });
        self.at = end;
    }

    /// Reports a mistake that parsing would stumble over.
    fn report(&mut self, error: Diagnostic) {
        self.out.broken.extend(error.span().map(|span| span.start as usize));
        self.report_patched(error);
    }

    fn report_patched(&mut self, error: Diagnostic) {
        if self.out.diagnostics.len() < MOST_ERRORS {
            self.out.diagnostics.push(error);
        }
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.file, start, end)
    }

    fn end_of_word(&self, from: usize) -> usize {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        self.bytes[from..].iter().position(|byte| !is_part(byte)).map_or(self.bytes.len(), |length| from + length)
    }

    fn end_of_line(&self, from: usize) -> usize {
        self.bytes[from..].iter().position(|byte| *byte == b'\n').map_or(self.bytes.len(), |length| from + length)
    }

    fn mark(&mut self) {
        let pair = (self.bytes[self.at], self.peek(1).unwrap_or(0));
        let two = matches!(
            pair,
            (b'-', b'>') | (b'=', b'>') | (b'=', b'=') | (b'<', b'=') | (b'<', b'-') | (b'>', b'=') | (b'.', b'.')
        );
        self.token(TokenKind::Mark, self.at + if two { 2 } else { 1 });
    }

    fn number(&mut self) {
        let start = self.at;
        let digits = |from: usize| {
            let rest = self.bytes.get(from..).unwrap_or(&[]);
            from + rest.iter().take_while(|byte| byte.is_ascii_digit() || **byte == b'_').count()
        };
        let is_digit = |at: usize| self.bytes.get(at).is_some_and(u8::is_ascii_digit);
        let mut end = digits(start);
        if self.bytes.get(end) == Some(&b'.') && is_digit(end + 1) {
            end = digits(end + 1);
        }
        if matches!(self.bytes.get(end), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(self.bytes.get(end + 1), Some(b'+' | b'-')));
            if is_digit(end + 1 + sign) {
                end += 1 + sign;
                end += self.bytes[end..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            }
        }
        let past = self.end_of_word(end);
        let written = &self.text[start..past];
        if past > end {
            let error = Diagnostic::error("E0009", self.span(start, past), format!("`{written}` is not a number"));
            self.report(error.help("numbers are written `12`, `1_000`, `0.5`, `1e-4`, without a suffix"));
        } else if written.replace('_', "").parse().is_ok_and(|value: f64| value.is_infinite()) {
            let error = Diagnostic::error("E0009", self.span(start, past), format!("`{written}` is too large"));
            self.report(error.help("the largest number is about 1.8e308; infinity is `inf`"));
        }
        self.token(TokenKind::Number, past);
    }

    /// Whether a point here would begin a number: after a name, a number or a closing bracket it selects a field.
    fn begins_a_number(&self) -> bool {
        self.out.tokens.last().is_none_or(|last| match last.kind {
            TokenKind::Word | TokenKind::Number | TokenKind::Close => false,
            TokenKind::Str | TokenKind::Open | TokenKind::Mark => true,
        })
    }

    fn point_first(&mut self) {
        let end = self.end_of_word(self.at + 1);
        let (span, written) = (self.span(self.at, end), &self.text[self.at..end]);
        let error = Diagnostic::error("E0009", span, format!("`{written}` is not a number"));
        let error = error.help(format!("write `0{written}`")).edit(span, format!("0{written}"));
        self.report(error);
        self.token(TokenKind::Number, end);
    }

    fn string(&mut self) {
        let start = self.at;
        let mut at = start + 1;
        loop {
            match self.bytes.get(at) {
                Some(b'"') => break self.token(TokenKind::Str, at + 1),
                Some(b'\\') if !matches!(self.bytes.get(at + 1), None | Some(b'\n')) => {
                    let letter = self.text[at + 1..].chars().next().unwrap_or(' ');
                    let end = at + 1 + letter.len_utf8();
                    if !matches!(letter, 'n' | 't' | 'r' | '0' | '\\' | '"') {
                        let message = format!("`\\{letter}` is not an escape");
                        let error = Diagnostic::error("E0009", self.span(at, end), message);
                        self.report(error.help(r#"strings know `\n`, `\t`, `\r`, `\0`, `\\` and `\"`"#));
                    }
                    at = end;
                }
                None | Some(b'\n') => {
                    let error = Diagnostic::error(
                        "E0007",
                        self.span(start, start + 1),
                        "this string is not closed on its line",
                    );
                    self.report(error.help(r#"close it with `"`; a line end inside a string is `\n`"#));
                    break self.token(TokenKind::Str, at);
                }
                Some(_) => at += 1,
            }
        }
    }

    fn line_comment(&mut self) {
        let end = self.end_of_line(self.at);
        let text = &self.text[self.at..end];
        let kind = if text.starts_with("//!") {
            CommentKind::Inner
        } else if text.starts_with("///") && !text.starts_with("////") {
            CommentKind::Outer
        } else {
            CommentKind::Plain
        };
        // A carriage return belongs to the line end.
        let end = if text.ends_with('\r') { end - 1 } else { end };
        self.comment(kind, end);
    }

    fn comment(&mut self, kind: CommentKind, end: usize) {
        self.out.comments.push(Comment { kind, start: self.at, end });
        self.at = end;
    }

    fn block_comment(&mut self) {
        let start = self.at;
        let (mut depth, mut at, mut deepest) = (0, start, 0);
        let end = loop {
            match (self.bytes.get(at), self.bytes.get(at + 1)) {
                (Some(b'/'), Some(b'*')) => {
                    (depth, at) = (depth + 1, at + 2);
                    deepest = deepest.max(depth);
                }
                (Some(b'*'), Some(b'/')) => {
                    (depth, at) = (depth - 1, at + 2);
                    if depth == 0 {
                        break at;
                    }
                }
                (Some(_), _) => at += 1,
                (None, _) => {
                    let span = self.span(start, start + 2);
                    let error = Diagnostic::error("E0007", span, "this comment is never closed");
                    self.report(error.help("close it with `*/`; comments nest"));
                    deepest = 0;
                    break self.bytes.len();
                }
            }
        };
        if deepest > COMMENT_DEPTH {
            let message = format!("comments nest at most {COMMENT_DEPTH} deep");
            self.report(Diagnostic::error("E0006", self.span(start, start + 2), message));
        }
        self.comment(CommentKind::Plain, end);
    }

    /// `#`: a documentation attribute that rustc made, or a comment in another language's way.
    fn hash(&mut self) {
        if let Some(attribute) = doc_attribute(self.text, self.at) {
            let kind = if attribute.inner { CommentKind::Inner } else { CommentKind::Outer };
            self.comment(kind, attribute.end);
            return;
        }
        let end = self.end_of_line(self.at);
        let note = self.text[self.at..end].trim_start_matches('#').trim();
        let span = self.span(self.at, self.at + 1);
        let error = Diagnostic::error("E0001", span, "`#` does not start a comment");
        let comment = match note.chars().count() {
            0 => "//".to_string(),
            1..=60 => format!("// {note}"),
            _ => "// ..".to_string(),
        };
        let error = error.help(format!("write `{comment}`"));
        self.report_patched(error.edit(span, "//"));
        self.out.patches.push((self.at..end, b' '));
        self.at = end;
    }

    fn single_quotes(&mut self) {
        let line_end = self.end_of_line(self.at);
        let rest = &self.bytes[self.at + 1..line_end];
        let close = rest.iter().position(|byte| *byte == b'\'').map(|length| self.at + 1 + length);
        let Some(close) = close else {
            let error = Diagnostic::error("E0002", self.span(self.at, self.at + 1), "strings take double quotes");
            self.report(error);
            self.at += 1;
            return;
        };
        let span = self.span(self.at, close + 1);
        let fixed = format!("\"{}\"", self.text[self.at + 1..close].replace('"', "\\\""));
        let error = Diagnostic::error("E0002", span, "strings take double quotes").help(format!("write `{fixed}`"));
        let error = error.edit(span, fixed);
        if self.text[self.at..close].contains(['"', '\\']) {
            self.report(error);
        } else {
            self.report_patched(error);
            self.out.patches.extend([(self.at..self.at + 1, b'"'), (close..close + 1, b'"')]);
        }
        self.token(TokenKind::Str, close + 1);
    }

    /// A character, or a run of one kind, that the language does not have outside strings and comments.
    fn foreign(&mut self) {
        let rest = &self.text[self.at..];
        let first = rest.chars().next().unwrap_or(' ');
        let twice = matches!(first, '&' | '|') && rest[1..].starts_with(first);
        // A word in another alphabet is one mistake, not one for each letter.
        let length: usize = if first.is_alphabetic() || first == '_' {
            rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').map(char::len_utf8).sum()
        } else {
            first.len_utf8() * if twice { 2 } else { 1 }
        };
        let (span, written) = (self.span(self.at, self.at + length), &rest[..length]);
        let shown = if first.is_control() { first.escape_unicode().to_string() } else { written.to_string() };
        let message = format!("`{shown}` is not part of the language");
        let mut error = Diagnostic::error("E0008", span, message);
        if let Some(instead) = instead_of(first) {
            error = error.help(format!("write `{instead}`")).edit(span, instead);
        } else if !written.is_ascii() {
            error = error.help("outside strings and comments only ASCII is used");
        }
        self.report(error);
        if first.is_alphabetic() || first == '_' {
            // It stands for a name, so that what is around it keeps its shape.
            self.token(TokenKind::Word, self.at + length);
        } else {
            self.at += length;
        }
    }
}

/// What the language writes for a mark of another one.
fn instead_of(foreign: char) -> Option<&'static str> {
    let instead = match foreign {
        '×' | '·' | '⋅' => "*",
        '÷' => "/",
        '−' | '–' | '—' => "-",
        '→' | '⟶' => "->",
        '⇒' => "=>",
        '←' => "<-",
        '≤' => "<=",
        '≥' => ">=",
        '≠' => "!=",
        '“' | '”' | '„' | '«' | '»' => "\"",
        '∞' => "inf",
        'π' => "pi",
        '…' => "..",
        '&' | '∧' => "and",
        '|' | '∨' => "or",
        '!' | '¬' => "not",
        _ => return None,
    };
    Some(instead)
}

/// A `#[doc = ".."]`.
pub(crate) struct DocAttribute {
    /// Just past the closing bracket.
    pub end: usize,
    /// `#![doc = ..]`.
    pub inner: bool,
    /// What it says, escapes resolved.
    pub value: String,
}

/// Reads the documentation attribute that begins at `at`, if one does.
pub(crate) fn doc_attribute(text: &str, at: usize) -> Option<DocAttribute> {
    let after = |rest: &str, mark: &str| -> Option<usize> {
        let trimmed = rest.trim_start_matches([' ', '\t', '\r', '\n']);
        trimmed.starts_with(mark).then(|| rest.len() - trimmed.len() + mark.len())
    };
    let mut end = at + after(text.get(at..)?, "#")?;
    let bang = after(&text[end..], "!");
    end += bang.unwrap_or(0);
    for mark in ["[", "doc", "="] {
        end += after(&text[end..], mark)?;
    }
    let quote = end + after(&text[end..], "\"").or_else(|| after(&text[end..], "r"))? - 1;
    let value;
    if text[quote..].starts_with('r') {
        let hashes = text[quote + 1..].bytes().take_while(|byte| *byte == b'#').count();
        let open = quote + 1 + hashes;
        let close = format!("\"{}", "#".repeat(hashes));
        let length = text[open..].strip_prefix('"')?.find(&close)?;
        value = text[open + 1..open + 1 + length].to_string();
        end = open + 1 + length + close.len();
    } else {
        let length = string_length(&text[quote..])?;
        value = unescape(&text[quote..quote + length]);
        end = quote + length;
    }
    end += after(&text[end..], "]")?;
    Some(DocAttribute { end, inner: bang.is_some(), value })
}

/// The length of the string literal that `text` begins with; rustc's own may run over lines and use any escape.
fn string_length(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// What a string literal says. Unknown escapes, which the lexer has refused, stay as they are.
pub(crate) fn unescape(literal: &str) -> String {
    let inner = literal.strip_prefix('"').unwrap_or(literal);
    let inner = inner.strip_suffix('"').unwrap_or(inner);
    let mut value = String::with_capacity(inner.len());
    let mut letters = inner.chars();
    while let Some(letter) = letters.next() {
        if letter != '\\' {
            value.push(letter);
            continue;
        }
        match letters.next() {
            Some('n') => value.push('\n'),
            Some('t') => value.push('\t'),
            Some('r') => value.push('\r'),
            Some('0') => value.push('\0'),
            Some('u') => value.extend(unicode_escape(&mut letters)),
            Some(other) => value.push(other),
            None => {}
        }
    }
    value
}

/// The letter of a `\u{..}`, which only rustc's documentation attributes contain; `letters` stand after the `u`.
fn unicode_escape(letters: &mut std::str::Chars) -> Option<char> {
    let (digits, rest) = letters.as_str().strip_prefix('{')?.split_once('}')?;
    let letter = u32::from_str_radix(digits, 16).ok().and_then(char::from_u32)?;
    *letters = rest.chars();
    Some(letter)
}

/// The string literal that says `value`.
pub(crate) fn escape(value: &str) -> String {
    let mut literal = String::with_capacity(value.len() + 2);
    literal.push('"');
    for letter in value.chars() {
        match letter {
            '\n' => literal.push_str("\\n"),
            '\t' => literal.push_str("\\t"),
            '\r' => literal.push_str("\\r"),
            '\0' => literal.push_str("\\0"),
            '\\' => literal.push_str("\\\\"),
            '"' => literal.push_str("\\\""),
            other => literal.push(other),
        }
    }
    literal.push('"');
    literal
}
