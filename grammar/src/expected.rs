//! Says in people's words what the grammar did not expect.
//!
//! Takes pest's error, which speaks of rules, gives a [`Diagnostic`] that speaks of the text: what was found, what
//! could stand there, and for the likeliest slips how they are written right.

use pest::error::{Error, ErrorVariant, InputLocation};

use crate::diagnostic::{Diagnostic, nearest};
use crate::grammar::Rule;
use crate::lex::{Token, TokenKind};
use crate::outline::{ITEM_KEYWORDS, Piece, RESERVED};
use crate::span::Span;

/// At most so many kinds of thing are listed as expected; where more could stand, a list explains nothing.
const MOST_NAMES: usize = 4;

/// What is wrong in `piece`, of which pest says `error`.
pub(crate) fn unexpected(text: &str, file: u16, tokens: &[Token], piece: Piece, error: &Error<Rule>) -> Diagnostic {
    let base = tokens[piece.first].start;
    let offset = match error.location {
        InputLocation::Pos(at) | InputLocation::Span((at, _)) => base + at,
    };
    let ErrorVariant::ParsingError { positives, .. } = &error.variant else {
        // pest ran out of stack or calls; brackets and chains were bounded before, so this is a text built for it.
        let span = Span::new(file, base, tokens[piece.past - 1].end).at_start();
        return Diagnostic::error("E0006", span, "this item is too complex to parse").help("make several items of it");
    };
    let place = Place { text, file, tokens, piece, at: tokens.partition_point(|token| token.end <= offset) };
    if positives.contains(&Rule::item_name) && place.follows_unknown_item() {
        return no_item(place.before(1), place.span_before());
    }
    let names = names(positives);
    let message = match list(&names) {
        Some(wanted) => format!("expected {wanted}, found {}", place.found()),
        None => format!("{} cannot stand here", place.found()),
    };
    let error = Diagnostic::error("E0005", place.span(), message);
    match place.hint(positives) {
        Some(hint) => error.help(hint),
        None => error,
    }
}

/// Where the grammar went wrong.
struct Place<'t> {
    text: &'t str,
    file: u16,
    tokens: &'t [Token],
    piece: Piece,
    /// The token that was not expected; past the last one at the end of the text.
    at: usize,
}

impl<'t> Place<'t> {
    fn token(&self, at: usize) -> &'t str {
        self.tokens.get(at).map_or("", |token| token.text(self.text))
    }

    fn before(&self, steps: usize) -> &'t str {
        self.at.checked_sub(steps).map_or("", |at| self.token(at))
    }

    /// The token, or the place just behind the last one where the item or the text ends too early.
    fn span(&self) -> Span {
        if self.at < self.piece.past {
            let token = self.tokens[self.at];
            return Span::new(self.file, token.start, token.end);
        }
        let end = self.tokens[self.piece.past - 1].end;
        Span::new(self.file, end, end)
    }

    fn found(&self) -> String {
        if self.at >= self.tokens.len() {
            return "the end of the text".to_string();
        }
        let word = self.token(self.at);
        if self.at >= self.piece.past {
            return format!("the next item, `{word}`");
        }
        match self.tokens[self.at].kind {
            TokenKind::Str => "a string".to_string(),
            TokenKind::Number => format!("the number `{word}`"),
            TokenKind::Word if RESERVED.contains(&word) => format!("the keyword `{word}`"),
            TokenKind::Word | TokenKind::Open | TokenKind::Close | TokenKind::Mark => format!("`{word}`"),
        }
    }

    /// Whether the token before could only be the first word of an item, and begins none.
    fn follows_unknown_item(&self) -> bool {
        let before = self.at.checked_sub(1).map(|at| self.tokens[at]);
        before.is_some_and(|token| token.kind == TokenKind::Word) && !ITEM_KEYWORDS.contains(&self.before(1))
    }

    fn span_before(&self) -> Span {
        let token = self.tokens[self.at.saturating_sub(1)];
        Span::new(self.file, token.start, token.end)
    }

    /// The innermost bracket that is open here, with what stands before it.
    fn inside(&self) -> (&'t str, &'t str) {
        let mut closed = 0;
        for at in (self.piece.first..self.at.min(self.piece.past)).rev() {
            match self.tokens[at].kind {
                TokenKind::Close => closed += 1,
                TokenKind::Open if closed > 0 => closed -= 1,
                TokenKind::Open => return (self.token(at), at.checked_sub(1).map_or("", |before| self.token(before))),
                TokenKind::Word | TokenKind::Number | TokenKind::Str | TokenKind::Mark => {}
            }
        }
        ("", "")
    }

    /// How a likely slip is written right.
    fn hint(&self, expected: &[Rule]) -> Option<String> {
        let (before, found) = (self.before(1), self.token(self.at));
        if let Some(hint) = habit(before, found, self.token(self.at + 1)) {
            return Some(hint);
        }
        let wants = |rule| expected.contains(&rule);
        let statement = wants(Rule::eq) && wants(Rule::interp) || expected == [Rule::interp];
        let hint = match (self.inside(), found) {
            (("[", "->" | ":"), _) if wants(Rule::add) => "a rearrangement is written `[before => after]`".to_string(),
            (("{", _), ",") => "statements and entries stand one after another, without commas".to_string(),
            (("(", _), ":") if wants(Rule::eq) => "an argument is named with `=`".to_string(),
            (("", _), ":") if before == ")" => "the type of a result is written `-> type`".to_string(),
            (("{", _), "(") if wants(Rule::kw_return) => "several names are given values as `a, b = ..`".to_string(),
            (_, "==") if wants(Rule::eq) => "a value is given with `=`; `==` compares".to_string(),
            (_, word) if RESERVED.contains(&word) && wants_name(expected) => {
                format!("`{word}` is a keyword and cannot be a name")
            }
            _ if statement => {
                "a statement gives a name a value: `name = ..`, `name: Layer(..)` or `name <- ..`".to_string()
            }
            (("", _), _) if wants(Rule::kw_fn) && wants(Rule::add) => return None,
            (("", _), _) if wants(Rule::kw_fn) || wants(Rule::file) => items_are(),
            _ => return None,
        };
        Some(hint)
    }
}

/// How `dl` writes what other languages write with the tokens `before found after`.
fn habit(before: &str, found: &str, after: &str) -> Option<String> {
    let hint = match (before, found, after) {
        ("*", "*", _) => "powers are written `^`".to_string(),
        (_, "+" | "-" | "*" | "/" | "@", "=") => "a value is given with `=` alone: `x = x + 1`".to_string(),
        (_, "-" | "=", ">") | (_, "<", "-") | (_, "=" | "!" | "<" | ">", "=") => {
            format!("write `{found}{after}` without a space")
        }
        ("-" | "=", ">", _) | ("<", "-", _) | ("=" | "!" | "<" | ">", "=", _) => {
            format!("write `{before}{found}` without a space")
        }
        (_, "for" | "while", _) | ("for" | "while", _, _) => "a loop is written `repeat n as i { .. }`".to_string(),
        (_, "def", _) | ("def", _, _) => "a function is written `fn name(x) = ..`".to_string(),
        (_, "elif", _) | ("elif", _, _) => "write `else if`".to_string(),
        (_, "lambda", _) | ("lambda", _, _) => "functions are items: `fn name(x) = ..`".to_string(),
        ("let" | "var" | "mut", _, _) => format!("leave out `{before}`: a value is written `name = ..`"),
        _ => return None,
    };
    Some(hint)
}

fn wants_name(expected: &[Rule]) -> bool {
    expected.iter().any(|wanted| matches!(wanted, Rule::ident | Rule::item_name | Rule::word | Rule::first_seg))
}

/// A word that begins no item.
pub(crate) fn no_item(word: &str, span: Span) -> Diagnostic {
    let error = Diagnostic::error("E0003", span, format!("no item is called `{word}`"));
    match nearest(word, ITEM_KEYWORDS) {
        Some(near) => error.did_you_mean(Some(near)).edit(span, near),
        None => error.help(items_are()),
    }
}

fn items_are() -> String {
    format!("items are {}", ITEM_KEYWORDS.join(", "))
}

/// `a`, `a or b`, `a, b or c`; nothing where a list would not help.
fn list(names: &[&str]) -> Option<String> {
    match names {
        [] => None,
        [one] => Some((*one).to_string()),
        [first @ .., last] if names.len() <= MOST_NAMES => Some(format!("{} or {last}", first.join(", "))),
        _ => None,
    }
}

/// What people call the rules, each name once; nothing where nearly anything could stand.
fn names(expected: &[Rule]) -> Vec<&'static str> {
    // After a whole expression come operators, calls, the next statement and marks that pest does not tell of.
    if expected.contains(&Rule::add) {
        return Vec::new();
    }
    let whole =
        [(Rule::kw_return, "a statement"), (Rule::kw_fn, "an item"), (Rule::rearrange, "a function or a layer")];
    for (sign, name) in whole {
        if expected.contains(&sign) {
            return vec![name];
        }
    }
    let mut names: Vec<&str> = expected.iter().flat_map(|wanted| human(*wanted)).copied().collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// What people call a rule; nothing for those that would be noise in a list.
fn human(wanted: Rule) -> &'static [&'static str] {
    match wanted {
        Rule::expr | Rule::binary | Rule::postfix | Rule::if_expr | Rule::paren | Rule::list => &["an expression"],
        Rule::number | Rule::int => &["a number"],
        Rule::hi | Rule::by => &["a position"],
        Rule::stage => &["a function or a layer"],
        Rule::ident | Rule::item_name | Rule::word | Rule::first_seg | Rule::segment | Rule::import_name => &["a name"],
        Rule::named_ty | Rule::param => &["a name"],
        Rule::string => &["a string"],
        Rule::ty | Rule::shape => &["a type"],
        Rule::dim => &["a size"],
        Rule::axis | Rule::axes | Rule::group => &["an axis"],
        Rule::ix => &["an index"],
        Rule::lhs_ix => &["an index variable"],
        Rule::arg => &["an argument"],
        Rule::params | Rule::call => &["`(`"],
        Rule::axis_params | Rule::index => &["`[`"],
        Rule::stmts | Rule::entries | Rule::import_names => &["`{`"],
        Rule::body => &["`=`", "`{`"],
        Rule::eq => &["`=`"],
        Rule::rename => &["`=>`"],
        Rule::outputs => &["`->`"],
        Rule::colon => &["`:`"],
        Rule::kw_from => &["`from`"],
        Rule::kw_as => &["`as`"],
        Rule::kw_else => &["`else`"],
        Rule::kw_if | Rule::guard => &["`if`"],
        Rule::kw_require | Rule::require => &["`require`"],
        Rule::attr | Rule::section | Rule::glob_rule => &["an entry"],
        Rule::storage => &["`param`", "`state`"],
        Rule::import | Rule::const_def | Rule::fn_def | Rule::net_def | Rule::config | Rule::file => &["an item"],
        Rule::EOI
        | Rule::WHITESPACE
        | Rule::COMMENT
        | Rule::nested
        | Rule::doc_attr
        | Rule::raw
        | Rule::doc_string
        | Rule::sp
        | Rule::item
        | Rule::derivative
        | Rule::net_kind
        | Rule::stmt
        | Rule::return_stmt
        | Rule::repeat_stmt
        | Rule::if_stmt
        | Rule::member
        | Rule::storage_kind
        | Rule::update
        | Rule::init_stmt
        | Rule::equation
        | Rule::assign
        | Rule::label
        | Rule::interp
        | Rule::stray
        | Rule::rearrange
        | Rule::prefix
        | Rule::neg
        | Rule::not
        | Rule::infix
        | Rule::or
        | Rule::and
        | Rule::eq_op
        | Rule::ne
        | Rule::le
        | Rule::ge
        | Rule::lt
        | Rule::gt
        | Rule::add
        | Rule::sub
        | Rule::mul
        | Rule::div
        | Rule::rem
        | Rule::matmul
        | Rule::pow
        | Rule::field
        | Rule::primary
        | Rule::entry
        | Rule::ellipsis
        | Rule::wildcard
        | Rule::ident_start
        | Rule::ident_char
        | Rule::reserved
        | Rule::item_kw
        | Rule::bool
        | Rule::none
        | Rule::kw_import
        | Rule::kw_const
        | Rule::kw_fn
        | Rule::kw_return
        | Rule::kw_repeat
        | Rule::kw_init
        | Rule::kw_derivative => &[],
    }
}
