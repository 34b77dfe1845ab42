//! Makes the syntax tree from what the grammar matched.
//!
//! Takes pest's pairs for the text of one item, gives [`Item`]s with spans in the whole file, and reports what the
//! grammar lets pass but the language does not: a pipe mixed with operators, and chains that are too long.
//!
//! pest ends a pair whose last part is optional after the whitespace and comments behind it, so spans end where the
//! last token inside the pair does.

mod expr;
mod item;

use pest::iterators::{Pair, Pairs};

use crate::ast::{Ident, Item, Str};
use crate::diagnostic::Diagnostic;
use crate::grammar::Rule;
use crate::lex::{Token, unescape};
use crate::span::Span;

/// A matched rule.
pub(crate) type Node<'i> = Pair<'i, Rule>;

/// Trees are at most this deep, counting a bracket as one level and a chain of n operators as n.
pub(crate) const TREE_DEPTH: usize = 256;

/// Makes trees of one item's pairs.
pub(crate) struct Builder<'t> {
    /// Offset in the file of the text that was matched.
    pub base: usize,
    /// The file's number.
    pub file: u16,
    /// The file's tokens.
    pub tokens: &'t [Token],
    /// How deep the tree is where it is being built.
    pub depth: usize,
    /// What was found wrong.
    pub diagnostics: Vec<Diagnostic>,
}

impl Builder<'_> {
    /// The items of a `file` pair, documentation not yet attached.
    pub fn items(&mut self, file: Node) -> Vec<Item> {
        file.into_inner().filter(|node| node.as_rule() != Rule::EOI).map(|node| self.item(node)).collect()
    }

    fn span(&self, node: &Node) -> Span {
        let span = node.as_span();
        let (start, end) = (self.base + span.start(), self.base + span.end());
        let past = self.tokens.partition_point(|token| token.start < end);
        // A label's `0.1:` is one token here and three marks there, so a pair may also end inside a token.
        let last = past.checked_sub(1).and_then(|last| self.tokens.get(last)).map_or(end, |token| token.end);
        Span::new(self.file, start, last.min(end).max(start))
    }

    fn ident(&self, node: Node) -> Ident {
        Ident { text: node.as_str().to_string(), span: self.span(&node) }
    }

    fn string(&self, node: Node) -> Str {
        Str { value: unescape(node.as_str()), span: self.span(&node) }
    }
}

/// The parts of a matched rule, in order.
pub(crate) struct Parts<'i>(std::iter::Peekable<Pairs<'i, Rule>>);

impl<'i> Parts<'i> {
    pub fn of(node: Node<'i>) -> Parts<'i> {
        Parts(node.into_inner().peekable())
    }

    /// The next part.
    pub fn next(&mut self) -> Node<'i> {
        self.0.next().expect("the grammar matches this part whenever it matches the rule")
    }

    /// The next part if it is a `rule`.
    pub fn eat(&mut self, rule: Rule) -> Option<Node<'i>> {
        self.0.next_if(|node| node.as_rule() == rule)
    }

    /// The next parts as long as they are `rule`s.
    pub fn all(&mut self, rule: Rule) -> Vec<Node<'i>> {
        std::iter::from_fn(|| self.eat(rule)).collect()
    }

    /// What the next part is.
    pub fn peek(&mut self) -> Option<Rule> {
        self.0.peek().map(Pair::as_rule)
    }

    /// All parts left.
    pub fn rest(self) -> impl Iterator<Item = Node<'i>> {
        self.0
    }
}
