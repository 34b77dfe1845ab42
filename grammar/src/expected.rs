//! Says in people's words what the grammar did not expect.
//!
//! Takes pest's error, which speaks of rules, gives a [`Diagnostic`] that speaks of the text: what was found, what
//! could stand there, and for the likeliest slips how they are written right.

use pest::error::{Error, ErrorVariant, InputLocation};

use crate::diagnostic::Diagnostic;
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
    let names = names(positives);
    let wanted = (!names.is_empty() && names.len() <= MOST_NAMES).then(|| list(&names));
    let found = place.found();
    let message = match &wanted {
        Some(wanted) => format!("expected {wanted}, found {found}"),
        None => format!("{found} cannot stand here"),
    };
    let error = Diagnostic::error("E0005", place.span(), message);
    match place.hint(&names) {
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

    fn is(&self, kind: TokenKind) -> bool {
        self.tokens.get(self.at).is_some_and(|token| token.kind == kind)
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

    /// How a likely slip is written right.
    fn hint(&self, expected: &[&str]) -> Option<String> {
        let (found, next) = (self.token(self.at), self.token(self.at + 1));
        let name_wanted = expected.iter().any(|name| name.contains("name"));
        let hint = match (self.before(1), found) {
            ("*", "*") => "powers are written `^`".to_string(),
            (":", "=") | ("+" | "-" | "*" | "/", "=") => {
                "a value is given with `=` alone, its next one with `<-`".into()
            }
            ("-", ">") | ("=", ">") | ("<", "-") => format!("write `{}{found}` without a space", self.before(1)),
            ("=", "=") => "write `==` without a space".to_string(),
            (_, "==") if expected.contains(&"`=`") => "a value is given with `=`; `==` compares".to_string(),
            (_, "=") => "a value is given to names; `==` compares".to_string(),
            (_, "|>") => "a pipe is written `->`".to_string(),
            (_, "let" | "var") => format!("leave out `{found}`: a value is written `name = ..`"),
            (_, "for" | "while") => "a loop is written `repeat n as i { .. }`".to_string(),
            (_, "def") => "a function is written `fn name(x) = ..`".to_string(),
            (_, "elif") => "write `else if`".to_string(),
            (_, "lambda") => "functions are items: `fn name(x) = ..`".to_string(),
            ("let" | "var", _) => format!("leave out `{}`: a value is written `name = ..`", self.before(1)),
            ("for" | "while", _) => "a loop is written `repeat n as i { .. }`".to_string(),
            ("elif", _) => "write `else if`".to_string(),
            ("def", _) => "a function is written `fn name(x) = ..`".to_string(),
            ("->", "[") => "a rearrangement is written `[before => after]`".to_string(),
            (_, word) if name_wanted && RESERVED.contains(&word) => {
                format!("`{word}` is a keyword and cannot be a name")
            }
            (_, "import" | "const" | "fn" | "block" | "model" | "optimizer")
                if self.is(TokenKind::Word) && next != "" =>
            {
                format!("`{found}` begins an item; items stand outside of brackets")
            }
            _ if expected.contains(&"an item") => format!("items are {}", ITEM_KEYWORDS.join(", ")),
            _ => return None,
        };
        Some(hint)
    }
}

/// `a`, `a or b`, `a, b or c`.
fn list(names: &[&str]) -> String {
    match names {
        [] => String::new(),
        [one] => (*one).to_string(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}

/// What people call the rules, each name once.
fn names(rules: &[Rule]) -> Vec<&'static str> {
    let mut names: Vec<&str> = rules.iter().flat_map(|rule| human(*rule)).copied().collect();
    names.sort_unstable();
    names.dedup();
    if names.contains(&OPERATOR) {
        // After a whole expression nearly anything can follow; the operators are the least of it.
        names.retain(|name| !matches!(*name, OPERATOR | "`(`" | "`[`" | "`.`"));
        if names.is_empty() {
            names.push(OPERATOR);
        }
    }
    names
}

const OPERATOR: &str = "an operator";

/// What people call a rule; nothing for rules that would be noise in a list.
fn human(rule: Rule) -> &'static [&'static str] {
    match rule {
        Rule::EOI | Rule::file => &[],
        _ => &[],
    }
}
