//! Text to syntax tree.
//!
//! [`parse`] takes a file's text and gives its tree with every mistake of form in it; [`index`] only finds a file's
//! items, and [`parse_item`] parses one of them. Neither fails or panics on any text: what could not be parsed is
//! missing from the tree and spoken of in the diagnostics.
//!
//! | code | what is wrong |
//! |--|--|
//! | E0001 | `#` begins a comment |
//! | E0002 | single quotes around a string |
//! | E0003 | a word that begins no item |
//! | E0004 | brackets that do not match |
//! | E0005 | something else was expected here |
//! | E0006 | nesting too deep to parse |
//! | E0007 | a string or a comment without an end |
//! | E0008 | a character that the language does not have |
//! | E0009 | a number or an escape that is none |
//! | E0101 | `->` beside an operator, without parentheses |

use std::sync::Once;

use pest::Parser;

use crate::ast::{Docs, Ident, Item, Spec};
use crate::build::Builder;
use crate::diagnostic::{Diagnostic, tidy};
use crate::expected::unexpected;
use crate::grammar::{Dl, Rule};
use crate::lex::{Comment, CommentKind, Lexed, MOST_ERRORS, Token, TokenKind, doc_attribute, lex};
use crate::outline::{Piece, outline};
use crate::span::Span;

/// The tree of `text`, the file numbered `file`, and the mistakes in it, sorted by place.
pub fn parse(text: &str, file: u16) -> (Spec, Vec<Diagnostic>) {
    let mut spec = Spec { span: Span::new(file, 0, text.len()), ..Spec::default() };
    if u32::try_from(text.len()).is_err() {
        return (spec, vec![Diagnostic::global("E0006", "a file has at most 4 GiB")]);
    }
    let mut lexed = lex(text, file);
    let pieces = outline(text, file, &mut lexed);
    let mut diagnostics = std::mem::take(&mut lexed.diagnostics);
    if diagnostics.len() < MOST_ERRORS {
        let patched = lexed.patched(text);
        for piece in pieces.into_iter().filter(|piece| !piece.broken) {
            spec.items.extend(items(&patched, file, &lexed, piece, &mut diagnostics));
        }
    }
    let first = lexed.tokens.first().map_or(text.len(), |token| token.start);
    spec.docs = docs(text, file, &lexed.comments, 0..first, CommentKind::Inner);
    tidy(&mut diagnostics);
    (spec, diagnostics)
}

/// One item as [`index`] finds it.
#[derive(Clone, Debug, PartialEq)]
pub struct ItemHead {
    /// The item's first word: `fn`, `model`, `import`, ..
    pub keyword: Ident,
    /// Its name; an import has none.
    pub name: Option<Ident>,
    /// From the keyword to the last character of the item.
    pub span: Span,
    /// The documentation before it.
    pub docs: Option<Docs>,
}

/// Finds the items of `text` by their brackets, without parsing them. Exact for a text that parses.
pub fn index(text: &str, file: u16) -> Vec<ItemHead> {
    let mut lexed = lex(text, file);
    let pieces = outline(text, file, &mut lexed);
    let word = |at: usize| {
        let token = lexed.tokens.get(at).filter(|token| token.kind == TokenKind::Word)?;
        Some(Ident { text: token.text(text).to_string(), span: Span::new(file, token.start, token.end) })
    };
    let head = |piece: Piece| {
        // A `;` behind the item is allowed, and no part of it.
        let is_part = |token: &&Token| token.text(text) != ";";
        let last = lexed.tokens[piece.first..piece.past].iter().rfind(is_part)?;
        let first = lexed.tokens[piece.first];
        Some(ItemHead {
            keyword: word(piece.first)?,
            name: word(piece.first + 1),
            span: Span::new(file, first.start, last.end),
            docs: docs_before(text, file, &lexed, first),
        })
    };
    pieces.into_iter().filter_map(head).collect()
}

/// Parses one item of the text that `head` was found in.
pub fn parse_item(text: &str, head: &ItemHead) -> (Option<Item>, Vec<Diagnostic>) {
    let (file, range) = (head.span.file, head.span.range());
    let Some(inside) = text.get(range.clone()) else { return (None, Vec::new()) };
    let mut lexed = lex(inside, file);
    let pieces = outline(inside, file, &mut lexed);
    let mut diagnostics = std::mem::take(&mut lexed.diagnostics);
    let mut found = Vec::new();
    let patched = lexed.patched(inside);
    for piece in pieces.into_iter().filter(|piece| !piece.broken) {
        found.extend(items(&patched, file, &lexed, piece, &mut diagnostics));
    }
    let mut item = found.into_iter().next();
    let mut shift = |span: &mut Span| {
        *span = Span::new(file, span.start as usize + range.start, span.end as usize + range.start);
    };
    crate::node::Node::each_span(&mut item, &mut shift);
    diagnostics.iter_mut().flat_map(|d| &mut d.labels).for_each(|label| shift(&mut label.span));
    diagnostics.iter_mut().flat_map(|d| &mut d.edits).for_each(|edit| shift(&mut edit.span));
    if let Some(item) = &mut item {
        *docs_of(item) = head.docs.clone();
    }
    tidy(&mut diagnostics);
    (item, diagnostics)
}

/// Parses the items of one piece: one, if the text is right.
fn items(text: &str, file: u16, lexed: &Lexed, piece: Piece, diagnostics: &mut Vec<Diagnostic>) -> Vec<Item> {
    let (first, last) = (lexed.tokens[piece.first], lexed.tokens[piece.past - 1]);
    let Some(inside) = text.get(first.start..last.end) else { return Vec::new() };
    static LIMIT: Once = Once::new();
    // A guard against a rule that would take exponential time; a megabyte of text needs a tenth of it.
    LIMIT.call_once(|| pest::set_call_limit(std::num::NonZeroUsize::new(1 << 31)));
    let file_node = match Dl::parse(Rule::file, inside) {
        Ok(mut nodes) => nodes.next().expect("a match of `file` is one pair"),
        Err(error) => {
            diagnostics.push(unexpected(text, file, &lexed.tokens, piece, &error));
            return Vec::new();
        }
    };
    let mut builder = Builder { base: first.start, file, tokens: &lexed.tokens, depth: 0, diagnostics: Vec::new() };
    let mut items = builder.items(file_node);
    diagnostics.append(&mut builder.diagnostics);
    if let Some(item) = items.first_mut() {
        *docs_of(item) = docs_before(text, file, lexed, first);
    }
    items
}

fn docs_of(item: &mut Item) -> &mut Option<Docs> {
    match item {
        Item::Import(item) => &mut item.docs,
        Item::Const(item) => &mut item.docs,
        Item::Fn(item) => &mut item.docs,
        Item::Net(item) => &mut item.docs,
        Item::Config(item) => &mut item.docs,
    }
}

/// The documentation between an item's first token and what stands before it.
fn docs_before(text: &str, file: u16, lexed: &Lexed, first: Token) -> Option<Docs> {
    let before = lexed.tokens.partition_point(|token| token.start < first.start).checked_sub(1);
    let from = before.map_or(0, |before| lexed.tokens[before].end);
    docs(text, file, &lexed.comments, from..first.start, CommentKind::Outer)
}

/// The documentation of one kind within a range.
fn docs(text: &str, file: u16, comments: &[Comment], range: std::ops::Range<usize>, kind: CommentKind) -> Option<Docs> {
    let from = comments.partition_point(|comment| comment.start < range.start);
    let inside = comments[from..].iter().take_while(|comment| comment.end <= range.end);
    let mut docs: Option<Docs> = None;
    for comment in inside.filter(|comment| comment.kind == kind) {
        let line = match doc_attribute(text, comment.start) {
            Some(attribute) => attribute.value,
            None => text[comment.start + 3..comment.end].to_string(),
        };
        let line = line.strip_prefix(' ').unwrap_or(&line).trim_end();
        let span = Span::new(file, comment.start, comment.end);
        match &mut docs {
            Some(docs) => {
                docs.text.push('\n');
                docs.text.push_str(line);
                docs.span = docs.span.to(span);
            }
            None => docs = Some(Docs { text: line.to_string(), span }),
        }
    }
    docs
}
