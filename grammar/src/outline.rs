//! Finds the items of a file by their brackets and first words, without parsing them.
//!
//! Takes tokens, gives pieces of one item each, so that a mistake in one item hides none in another and so that the
//! prelude's items can be parsed one by one as a spec reaches them. Reports brackets that do not match, nesting that
//! is too deep, and words that begin no item.
//!
//! For a right text the cut is exact: outside brackets, two names stand side by side only where an item begins.

use crate::diagnostic::{Diagnostic, nearest};
use crate::expected::no_item;
use crate::lex::{Lexed, MOST_ERRORS, Token, TokenKind};
use crate::span::Span;

/// Brackets may nest this deep. Parsing recurses, and must fit a thread's 2 MiB even in an unoptimised build.
pub(crate) const BRACKET_DEPTH: usize = 64;

/// The words that begin an item.
pub const ITEM_KEYWORDS: [&str; 11] =
    ["import", "const", "fn", "block", "model", "optimizer", "data", "weights", "lora", "train", "generate"];

/// Words that are never names.
pub const RESERVED: [&str; 13] =
    ["true", "false", "none", "and", "or", "not", "if", "else", "repeat", "as", "return", "param", "state"];

/// One item's tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    /// Its first token.
    pub first: usize,
    /// The token just past its last.
    pub past: usize,
    /// Whether a mistake was found in it already, so that parsing it would only find echoes.
    pub broken: bool,
}

/// Cuts a file's tokens into items and checks the brackets. Diagnostics are added to `lexed.diagnostics`.
pub(crate) fn outline(text: &str, file: u16, lexed: &mut Lexed) -> Vec<Piece> {
    let mut errors = std::mem::take(&mut lexed.diagnostics);
    let tokens = &lexed.tokens;
    let mut scan =
        Scan { text, file, tokens, open: Vec::new(), closed: Vec::new(), pieces: Vec::new(), errors: &mut errors };
    let mut at = 0;
    while at < tokens.len() {
        at = scan.token(at);
    }
    scan.close_all();
    let mut pieces = scan.pieces;
    let starts: Vec<usize> = pieces.iter().map(|piece| tokens[piece.first].start).collect();
    for (number, piece) in pieces.iter_mut().enumerate() {
        let range = starts[number]..starts.get(number + 1).copied().unwrap_or(text.len());
        piece.broken |= lexed.broken.iter().any(|place| range.contains(place));
    }
    lexed.diagnostics = errors;
    pieces
}

struct Scan<'t> {
    text: &'t str,
    file: u16,
    tokens: &'t [Token],
    /// Brackets still open.
    open: Vec<Token>,
    /// The last bracket of each kind that was closed.
    closed: Vec<Token>,
    pieces: Vec<Piece>,
    errors: &'t mut Vec<Diagnostic>,
}

impl<'t> Scan<'t> {
    /// Looks at token `at`; gives the next one to look at.
    fn token(&mut self, at: usize) -> usize {
        let token = self.tokens[at];
        if token.kind == TokenKind::Word && self.begins_item(at) {
            self.close_all();
            self.begin(at);
            // The name, where there is one, is not a keyword even if it looks like one.
            let named = self.word(at + 1).is_some();
            self.extend(at + usize::from(named));
            return at + 1 + usize::from(named);
        }
        if self.pieces.is_empty() {
            self.begin(at);
        }
        match token.kind {
            TokenKind::Open => self.opens(token),
            TokenKind::Close => self.closes(at, token),
            TokenKind::Word | TokenKind::Number | TokenKind::Str | TokenKind::Mark => {}
        }
        self.extend(at);
        at + 1
    }

    fn begin(&mut self, at: usize) {
        self.pieces.push(Piece { first: at, past: at + 1, broken: false });
        let Some(word) = self.word(at).filter(|word| !ITEM_KEYWORDS.contains(word)) else { return };
        let error = no_item(word, self.span(self.tokens[at]));
        self.report(error);
    }

    fn extend(&mut self, last: usize) {
        if let Some(piece) = self.pieces.last_mut() {
            piece.past = last + 1;
        }
    }

    fn breaks(&mut self) {
        if let Some(piece) = self.pieces.last_mut() {
            piece.broken = true;
        }
    }

    fn report(&mut self, error: Diagnostic) {
        self.breaks();
        if self.errors.len() < MOST_ERRORS {
            self.errors.push(error);
        }
    }

    fn span(&self, token: Token) -> Span {
        Span::new(self.file, token.start, token.end)
    }

    fn word(&self, at: usize) -> Option<&'t str> {
        self.tokens.get(at).filter(|token| token.kind == TokenKind::Word).map(|token| token.text(self.text))
    }

    fn mark(&self, at: usize) -> &'t str {
        self.tokens.get(at).filter(|token| token.kind != TokenKind::Word).map_or("", |token| token.text(self.text))
    }

    /// Whether an item begins at the word `at`.
    fn begins_item(&self, at: usize) -> bool {
        let word = self.tokens[at].text(self.text);
        let named = self.word(at + 1).is_some_and(|name| !RESERVED.contains(&name) && !joins(name));
        let known = ITEM_KEYWORDS.contains(&word);
        let next = self.mark(at + 2);
        let (outside, ends) = (self.open.is_empty(), self.ends_something(at));
        match word {
            "import" => outside && ends && (self.mark(at + 1) == "{" || self.mark(at + 1).starts_with('"')),
            _ if known && outside && ends => named,
            // What stands before is unfinished, or a bracket was forgotten. The marks are those that no right text
            // has there: inside brackets a name may be followed by a statement or a section that begins with one.
            _ if known && named && self.first_on_line(at) && self.word(at + 1) != Some("import") => match ends {
                true => matches!(next, "(" | "[" | "{" | "="),
                false => next == "(" || outside && matches!(next, "[" | "{" | "="),
            },
            _ if known || !outside || !ends || !named || RESERVED.contains(&word) || joins(word) => false,
            _ => matches!(next, "(" | "{") || matches!(next, "[" | "=") && nearest(word, ITEM_KEYWORDS).is_some(),
        }
    }

    /// Whether what stands before token `at` can be the end of an item.
    fn ends_something(&self, at: usize) -> bool {
        let Some(before) = at.checked_sub(1).and_then(|before| self.tokens.get(before)) else { return true };
        match before.kind {
            TokenKind::Close | TokenKind::Number | TokenKind::Str => true,
            TokenKind::Open => false,
            TokenKind::Mark => before.text(self.text) == ";",
            TokenKind::Word => {
                let word = before.text(self.text);
                !joins(word) && (matches!(word, "true" | "false" | "none") || !RESERVED.contains(&word))
            }
        }
    }

    fn first_on_line(&self, at: usize) -> bool {
        let from = at.checked_sub(1).map_or(0, |before| self.tokens[before].end);
        self.text.get(from..self.tokens[at].start).is_some_and(|between| between.contains('\n'))
    }

    fn opens(&mut self, token: Token) {
        self.open.push(token);
        if self.open.len() == BRACKET_DEPTH + 1 {
            let message = format!("brackets nest more than {BRACKET_DEPTH} deep");
            let error = Diagnostic::error("E0006", self.span(token), message).here("one too many");
            self.report(error.help("give a part of this a name of its own"));
        }
    }

    fn closes(&mut self, at: usize, token: Token) {
        let opener = opener_of(token.text(self.text));
        let is_match = |open: &Token| open.text(self.text) == opener;
        let Some(depth) = self.open.iter().rposition(is_match) else { return self.stray(at, token) };
        for unclosed in self.open.split_off(depth + 1).into_iter().rev().take(SHOWN) {
            let message =
                format!("this `{}` is not closed before the `{}`", unclosed.text(self.text), token.text(self.text));
            let error = Diagnostic::error("E0004", self.span(unclosed), message);
            let error = error.label(self.span(token), "closed here").label(self.span(self.open[depth]), "opened here");
            self.report(error);
        }
        if let Some(open) = self.open.pop() {
            self.closed.retain(|old| old.text(self.text) != opener);
            self.closed.push(open);
        }
    }

    /// A closing bracket whose kind is not open: the wrong one for what is open, or one too many.
    fn stray(&mut self, at: usize, token: Token) {
        if self.errors.len() >= MOST_ERRORS {
            self.open.pop();
            return self.breaks();
        }
        let (closer, span) = (token.text(self.text), self.span(token));
        let top = self.open.last().copied().filter(|open| open.text(self.text) != "{" && closer != "}");
        let next = self.tokens.get(at + 1).map_or("", |token| token.text(self.text));
        if let Some(open) = top.filter(|open| opener_of(next) != open.text(self.text)) {
            let opener = open.text(self.text);
            let error = Diagnostic::error("E0004", span, format!("this `{closer}` cannot close a `{opener}`"));
            self.open.pop();
            return self.report(error.label(self.span(open), "opened here"));
        }
        let mut error = Diagnostic::error("E0004", span, format!("this `{closer}` closes nothing"));
        let opener = opener_of(closer);
        if let Some(open) = self.closed.iter().find(|open| open.text(self.text) == opener) {
            error = error.help(format!("the `{opener}` at {} is already closed", self.place(*open)));
        }
        self.report(error);
    }

    /// `line:column`.
    fn place(&self, token: Token) -> String {
        let before = self.text.get(..token.start).unwrap_or("");
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        let column = before.chars().rev().take_while(|letter| *letter != '\n').count() + 1;
        format!("{line}:{column}")
    }

    /// Reports what is still open where an item or the file ends.
    fn close_all(&mut self) {
        for unclosed in std::mem::take(&mut self.open).into_iter().rev().take(SHOWN) {
            let message = format!("this `{}` is never closed", unclosed.text(self.text));
            self.report(Diagnostic::error("E0004", self.span(unclosed), message));
        }
        self.closed.clear();
    }
}

/// At most so many brackets are reported where many are left open at once.
const SHOWN: usize = 3;

/// Words that continue an item although they are not reserved.
fn joins(word: &str) -> bool {
    matches!(word, "require" | "derivative")
}

fn opener_of(closer: &str) -> &'static str {
    match closer {
        ")" => "(",
        "]" => "[",
        "}" => "{",
        _ => "",
    }
}
