//! Syntax tree to text: the formatter behind `dlc fmt`.
//!
//! [`format()`] takes a text and gives it in the one style, with its comments, its blank lines (one at most) and the
//! line breaks its author chose where a break may stand. [`print_spec`] takes a tree alone. Both walk the tree and emit
//! tokens with the places where lines may break; `layout.rs` sets them. With a source text each token also takes along
//! the comments before it, so none can be lost.

mod comments;
mod expr;
mod item;
mod layout;

use crate::ast::{Docs, Item, Spec};
use crate::diagnostic::Diagnostic;
use crate::lex::{BYTE_ORDER_MARK, Comment, escape, lex};
use crate::node::without_spans;
use crate::parse::parse;
use crate::span::Span;
use comments::{Note, Trivia};
use layout::{Aligned, Before, Block, Indent, Role, Token};

/// The text in the one style: a fixed point of itself, with the same tree and the same comments.
///
/// # Errors
/// The text's mistakes, if it does not parse.
pub fn format(text: &str) -> Result<String, Vec<Diagnostic>> {
    let (spec, diagnostics) = parse(text, 0);
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Err(diagnostics);
    }
    if let Some(text) = text.strip_prefix(BYTE_ORDER_MARK) {
        return format(text);
    }
    let source = Source { text, comments: lex(text, 0).comments, next: 0, cursor: 0, dropped: Vec::new() };
    let mut printer = Printer { source: Some(source), ..Printer::default() };
    let formatted = printer.spec(&spec);
    // The formatter writes over its user's file, so it makes sure of what it promises.
    let same = without_spans(parse(&formatted, 0).0) == without_spans(spec) && notes(&formatted) == notes(text);
    if printer.lost || !same {
        let span = Span::new(0, 0, 0);
        let message = "the formatted text would not say the same; this is a bug in dlc, and the text is left as it is";
        return Err(vec![Diagnostic::error("E0010", span, message)]);
    }
    Ok(formatted)
}

/// A text as a string literal.
pub fn quoted(value: &str) -> String {
    escape(value)
}

/// A tree as text in the one style.
pub fn print_spec(spec: &Spec) -> String {
    Printer::default().spec(spec)
}

/// The comments of a text, spaces aside.
fn notes(text: &str) -> Vec<String> {
    let squeeze = |comment: &Comment| text[comment.start..comment.end].split_whitespace().collect();
    lex(text, 0).comments.iter().map(squeeze).collect()
}

/// A text whose comments go along.
struct Source<'t> {
    text: &'t str,
    comments: Vec<Comment>,
    /// The first comment not yet taken along.
    next: usize,
    /// How far the text is printed.
    cursor: usize,
    /// Brackets ahead that are left out.
    dropped: Vec<usize>,
}

/// Emits the tokens of a tree.
#[derive(Default)]
struct Printer<'t> {
    source: Option<Source<'t>>,
    tokens: Vec<Token>,
    blocks: Vec<Block>,
    /// How many blocks are open.
    level: usize,
    /// How deep the expression is; breaks further out are taken first.
    depth: usize,
    /// Whether the tree and the source did not agree.
    lost: bool,
}

impl Printer<'_> {
    fn spec(&mut self, spec: &Spec) -> String {
        let mut runs: Vec<Vec<Aligned>> = Vec::new();
        let mut run_goes_on = false;
        for (number, item) in spec.items.iter().enumerate() {
            let first = self.tokens.len();
            let body = self.item(item);
            if self.source.is_none() {
                self.tokens[first].trivia = made_up_trivia(spec, item, number);
            }
            let aligned = body.and_then(|body| self.aligned(first, body));
            let trivia = &self.tokens[first].trivia;
            let adjacent = trivia.newlines <= 1 && trivia.all_behind();
            match aligned {
                Some(aligned) if run_goes_on && adjacent => {
                    runs.last_mut().into_iter().for_each(|run| run.push(aligned))
                }
                Some(aligned) => runs.push(vec![aligned]),
                None => {}
            }
            run_goes_on = aligned.is_some();
        }
        self.end();
        layout::align_bodies(&mut self.tokens, &runs);
        layout::layout(&self.tokens, &self.blocks)
    }

    /// What is left of the source: comments.
    fn end(&mut self) {
        let trivia = self.source.as_mut().map(|source| source.take(source.text.len())).unwrap_or_default();
        let last = Token { text: String::new(), before: Before::End, trivia, role: Role::Plain, level: 0 };
        self.tokens.push(last);
    }

    /// The function whose tokens begin at `first` and whose `=` is `equals`, if it can share a column with its
    /// neighbours: if neither its author nor its length breaks its line.
    fn aligned(&self, first: usize, equals: usize) -> Option<Aligned> {
        let (mut before, mut whole) = (0, 0);
        for (at, token) in self.tokens.iter().enumerate().skip(first) {
            let spaces = match token.before {
                Before::Soft { .. } if token.trivia.breaks() => return None,
                Before::Kept { .. } if at == equals + 1 && !token.trivia.breaks() => 1,
                // A derivative stands on a line of its own, or the line is not like its neighbours.
                Before::Kept { .. } if at > equals + 1 && token.trivia.breaks() => break,
                Before::Kept { .. } => return None,
                Before::Space => 1,
                Before::Soft { tight, .. } => usize::from(!tight),
                Before::Nothing | Before::Closer(_) | Before::Pad(_) | Before::End => 0,
            };
            if at > first && !token.trivia.notes.is_empty() {
                return None;
            }
            if at == equals {
                before = whole;
            }
            whole += spaces + layout::width(&token.text);
        }
        (whole <= layout::WIDTH).then_some(Aligned { token: equals, before, whole })
    }

    /// Emits a token; gives its number.
    fn token(&mut self, text: &str, before: Before) -> usize {
        let trivia = match &mut self.source {
            Some(source) => {
                let at = source.seek(text);
                let found = source.text[at..].starts_with(text);
                self.lost |= !found;
                let trivia = source.take(at);
                source.cursor = if found { at + text.len() } else { at };
                trivia
            }
            None => Trivia::default(),
        };
        self.tokens.push(Token { text: text.to_string(), before, trivia, role: Role::Plain, level: self.level });
        self.tokens.len() - 1
    }

    /// The number that the next token will have.
    fn next(&self) -> usize {
        self.tokens.len()
    }

    /// Emits `parts` with commas between them; after a comma the line may go on below the first part.
    fn list<T>(&mut self, parts: &[T], mut emit: impl FnMut(&mut Self, &T, Before), before: Before) {
        let first = self.next();
        for (number, part) in parts.iter().enumerate() {
            if number > 0 {
                self.token(",", Before::Nothing);
            }
            let below = Before::Soft { depth: self.depth, indent: Indent::Below(first), tight: false };
            // A line goes on at a comma rather than within a part.
            self.depth += 1;
            emit(self, part, if number == 0 { before } else { below });
            self.depth -= 1;
        }
    }

    /// Emits a bracketed list.
    fn bracketed<T>(
        &mut self,
        brackets: [&str; 2],
        parts: &[T],
        emit: impl FnMut(&mut Self, &T, Before),
        before: Before,
    ) {
        let open = self.token(brackets[0], before);
        self.depth += 1;
        self.list(parts, emit, Before::Nothing);
        self.depth -= 1;
        self.token(brackets[1], Before::Closer(open));
    }

    /// Emits `{ parts }`, a block of statements or entries.
    fn block<T>(&mut self, parts: &[T], mut emit: impl FnMut(&mut Self, &T), before: Before) {
        let number = self.blocks.len();
        let open = self.token("{", before);
        self.blocks.push(Block { first: open, last: open, inline: self.source.is_some() });
        self.tokens[open].role = Role::Open(number);
        self.level += 1;
        for part in parts {
            emit(self, part);
        }
        self.level -= 1;
        let close = self.token("}", Before::End);
        self.tokens[close].role = Role::Close(number);
        let first_inside = &self.tokens[open + 1].trivia;
        self.blocks[number].inline &= !first_inside.breaks();
        self.blocks[number].last = close;
    }

    /// Gives the blocks of one `if` .. `else`, listed by number, one form: all on one line or none.
    fn join_blocks(&mut self, chain: &[usize]) {
        let Some((first, last)) = chain.first().zip(chain.last()) else { return };
        let (first, last) = (self.blocks[*first].first, self.blocks[*last].last);
        let inline = chain.iter().all(|number| self.blocks[*number].inline);
        for number in chain {
            self.blocks[*number] = Block { first, last, inline };
        }
    }
}

impl Source<'_> {
    /// Where the next token stands, which should be `text`: behind spaces, comments, and marks that are left out.
    fn seek(&self, text: &str) -> usize {
        let mut at = self.cursor;
        let mut comments = self.comments[self.next..].iter().peekable();
        while let Some(letter) = self.text[at..].chars().next() {
            if let Some(comment) = comments.next_if(|comment| comment.start == at) {
                at = comment.end;
                continue;
            }
            // A `;` is never needed, and a comma in the way of another token ends a list.
            let left_out = letter == ';' || letter == ',' && text != "," || self.dropped.contains(&at);
            if !left_out && !letter.is_ascii_whitespace() {
                break;
            }
            at += letter.len_utf8();
        }
        at
    }

    /// The trivia up to `at`.
    fn take(&mut self, at: usize) -> Trivia {
        let trivia = Trivia::read(self.text, self.cursor..at, &self.comments[self.next..]);
        self.next += trivia.notes.len();
        self.dropped.clear();
        self.cursor = at;
        trivia
    }
}

/// What stands before an item of a tree that has no text: its documentation, and an empty line.
fn made_up_trivia(spec: &Spec, item: &Item, number: usize) -> Trivia {
    let notes = |docs: Option<&Docs>, mark: &str, newlines: usize| -> Vec<Note> {
        let lines = docs.into_iter().flat_map(|docs| docs.text.split('\n'));
        let note = |(at, line): (usize, &str)| {
            let space = if line.is_empty() { "" } else { " " };
            let newlines = if at == 0 { newlines } else { 1 };
            Note { text: format!("{mark}{space}{line}"), ends_line: true, newlines, column: 0 }
        };
        lines.enumerate().map(note).collect()
    };
    let mut all = if number == 0 { notes(spec.docs.as_ref(), "//!", 0) } else { Vec::new() };
    let docs = notes(item.docs(), "///", 2);
    let newlines = if docs.is_empty() { 2 } else { 1 };
    all.extend(docs);
    Trivia { notes: all, newlines }
}
