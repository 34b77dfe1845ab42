//! Tokens back to text, with a way from places in the text to spans of tokens.
//!
//! Tokens know their line and column, so the text comes out as the author wrote it, comments aside. Where they do not
//! (they were made by another macro, or by a doc comment), a space is put between two that do not belong together.

use dlc_grammar::Span as Place;
use proc_macro::{Delimiter, Spacing, Span, TokenStream, TokenTree};

/// The text of a macro's tokens.
#[derive(Default)]
pub struct Text {
    /// The text.
    pub text: String,
    /// Where each token's text starts, with the token's span.
    starts: Vec<(usize, Span)>,
    line: usize,
    column: usize,
    joint: bool,
}

impl Text {
    /// The text of these tokens.
    pub fn new(tokens: TokenStream) -> Text {
        // Lines are those of the file, so that messages that name a further place name the right one.
        let mut text = Text { line: 1, column: 1, joint: true, ..Text::default() };
        text.stream(tokens);
        text
    }

    fn stream(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(g) => {
                    let (open, close) = match g.delimiter() {
                        Delimiter::Parenthesis => ("(", ")"),
                        Delimiter::Brace => ("{", "}"),
                        Delimiter::Bracket => ("[", "]"),
                        Delimiter::None => ("", ""),
                    };
                    self.token(open, g.span_open(), false);
                    self.stream(g.stream());
                    self.token(close, g.span_close(), false);
                }
                TokenTree::Punct(p) => {
                    let joint = p.spacing() == Spacing::Joint;
                    self.token(&p.as_char().to_string(), p.span(), joint);
                }
                TokenTree::Ident(i) => self.token(&i.to_string(), i.span(), false),
                TokenTree::Literal(l) => self.token(&l.to_string(), l.span(), false),
            }
        }
    }

    fn token(&mut self, text: &str, span: Span, joint: bool) {
        let (line, column) = (span.line(), span.column());
        let ahead = line > self.line || (line == self.line && column >= self.column);
        if ahead {
            while self.line < line {
                self.text.push('\n');
                self.line += 1;
                self.column = 1;
            }
            while self.column < column {
                self.text.push(' ');
                self.column += 1;
            }
        } else if !self.joint {
            self.text.push(' ');
            self.column += 1;
        }
        self.starts.push((self.text.len(), span));
        self.text.push_str(text);
        match text.rsplit_once('\n') {
            None => self.column += text.len(),
            Some((before, last)) => {
                self.line += before.matches('\n').count() + 1;
                self.column = last.len() + 1;
            }
        }
        self.joint = joint;
    }

    /// The spans of the first and the last token of a place in the text.
    pub fn spans(&self, place: Place) -> [Span; 2] {
        let token = |at: usize| {
            let after = self.starts.partition_point(|(start, _)| *start <= at);
            self.starts.get(after.saturating_sub(1)).map_or_else(Span::call_site, |(_, span)| *span)
        };
        let first = place.start as usize;
        [token(first), token((place.end as usize).saturating_sub(1).max(first))]
    }
}
