//! Sets tokens into lines.
//!
//! Takes tokens with the breaks that are possible between them, gives text. A possible break is taken where the author
//! broke the line, or where what follows it up to the next such break would not fit. So a text once laid out is laid out
//! the same way again: each break taken is the author's the next time, and each one not taken still fits.

use super::comments::{GAP, Note, Trivia};

/// Lines are at most this wide where a break allows it.
pub(crate) const WIDTH: usize = 120;

/// Columns that a block adds.
const STEP: usize = 2;

/// Comments of neighbouring lines, and bodies of neighbouring functions, are set below each other unless that would
/// move one of them by more than this.
const REACH: usize = 40;

/// What may stand before a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Before {
    /// Nothing.
    Nothing,
    /// Nothing, for a closing bracket: behind a comment it stands below token `.0`.
    Closer(usize),
    /// A space.
    Space,
    /// So many spaces.
    Pad(usize),
    /// A line end, or a space (nothing if `tight`) where the line goes on.
    Soft { depth: usize, indent: Indent, tight: bool },
    /// A line end if the author put one, else a space.
    Kept { indent: Indent },
    /// The end of a statement, entry or item: a line end, or two spaces inside a block on one line.
    End,
}

/// Where a broken line goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Indent {
    /// So many columns right of the block.
    Hang(usize),
    /// Below an earlier token.
    Below(usize),
}

/// What a token does to the blocks around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// Nothing.
    Plain,
    /// Opens block `.0`.
    Open(usize),
    /// Closes block `.0`.
    Close(usize),
}

/// A token with what is around it.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub text: String,
    pub before: Before,
    pub trivia: Trivia,
    pub role: Role,
    /// How many blocks are open around it; for a bracket of a block, around the block.
    pub level: usize,
}

/// A pair of braces with statements or entries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    /// Blocks of one `if` .. `else` share their form: the first token and the last of all of them.
    pub first: usize,
    pub last: usize,
    /// Whether the author wrote all of them on one line.
    pub inline: bool,
}

/// A line of output.
#[derive(Default)]
struct Line {
    text: String,
    comment: Option<Note>,
}

struct Layout<'t> {
    tokens: &'t [Token],
    blocks: &'t [Block],
    lines: Vec<Line>,
    line: Line,
    /// The column of each token that is set.
    columns: Vec<usize>,
    /// The token up to which a block on one line goes.
    flat_until: usize,
}

/// The text of `tokens`.
pub(crate) fn layout(tokens: &[Token], blocks: &[Block]) -> String {
    let columns = Vec::with_capacity(tokens.len());
    let mut layout = Layout { tokens, blocks, lines: Vec::new(), line: Line::default(), columns, flat_until: 0 };
    for at in 0..tokens.len() {
        layout.token(at);
    }
    layout.finish()
}

/// How many columns a text takes.
pub(crate) fn width(text: &str) -> usize {
    text.chars().count()
}

impl Layout<'_> {
    fn token(&mut self, at: usize) {
        let indent = self.indent(at);
        let ends = self.ends(at);
        let mut new_line = ends || self.breaks(at);
        let same_line = self.notes(at, indent, &mut new_line);
        let token = &self.tokens[at];
        if new_line {
            let edge = matches!(token.role, Role::Close(_)) || self.at_edge(at, token.trivia.notes.len());
            self.end_line(ends && token.trivia.newlines > 1 && !edge);
            self.indent_line(indent);
        } else if !same_line {
            self.gap(at);
        } else if !matches!(token.text.as_str(), ")" | "]" | ",") {
            self.line.text.push(' ');
        }
        if let Role::Open(block) = token.role {
            self.open(at, block);
        }
        self.columns.push(width(&self.line.text));
        self.line.text.push_str(&token.text);
    }

    /// Sets the comments before token `at`; tells whether the last of them stands on the line that goes on.
    fn notes(&mut self, at: usize, indent: usize, new_line: &mut bool) -> bool {
        let token = &self.tokens[at];
        let is_end = matches!(token.before, Before::End);
        // Before a closing brace a comment still belongs to the block.
        let indent = indent + if matches!(token.role, Role::Close(_)) { STEP } else { 0 };
        let mut same_line = false;
        for (number, note) in token.trivia.notes.iter().enumerate() {
            same_line = true;
            let begins_text = self.line.text.is_empty() && self.lines.is_empty();
            if note.newlines == 0 && !begins_text {
                if note.ends_line {
                    self.line.comment = Some(note.clone());
                    *new_line = true;
                } else {
                    let tight = self.line.text.is_empty() || self.line.text.ends_with(['(', '[']);
                    self.line.text.push_str(if tight { "" } else { " " });
                    self.push_lines(&note.text);
                }
                continue;
            }
            let edge = self.at_edge(at, number);
            self.end_line(note.newlines > 1 && is_end && !edge);
            self.indent_line(indent);
            self.push_lines(&note.text);
            *new_line |= note.ends_line || token.trivia.newlines > 0;
        }
        same_line
    }

    /// Whether token `at` begins a line because a statement or a block ends or begins there.
    fn ends(&self, at: usize) -> bool {
        matches!(self.tokens[at].before, Before::End) && at >= self.flat_until && !self.in_empty_block(at)
    }

    /// Whether the token before opened a block, or there is none: blank lines say nothing there.
    fn begins_block(&self, at: usize) -> bool {
        at.checked_sub(1).is_none_or(|before| matches!(self.tokens[before].role, Role::Open(_)))
    }

    /// Whether token `at`, or its comment `number`, begins the first line of a block or of the text.
    fn at_edge(&self, at: usize, number: usize) -> bool {
        let before = &self.tokens[at].trivia.notes[..number];
        self.begins_block(at) && before.iter().all(|note| at > 0 && note.newlines == 0)
    }

    /// Whether the token is the closing brace of `{}`.
    fn in_empty_block(&self, at: usize) -> bool {
        let token = &self.tokens[at];
        matches!(token.role, Role::Close(_)) && self.begins_block(at) && token.trivia.notes.is_empty()
    }

    fn gap(&mut self, at: usize) {
        let spaces = match self.tokens[at].before {
            Before::Nothing | Before::Closer(_) => 0,
            Before::Space | Before::Kept { .. } => 1,
            Before::Pad(spaces) => spaces,
            Before::Soft { tight, .. } => usize::from(!tight),
            Before::End if self.in_empty_block(at) => 0,
            Before::End if self.at_block_edge(at) => 1,
            Before::End => 2,
        };
        self.line.text.extend(std::iter::repeat_n(' ', spaces));
    }

    fn at_block_edge(&self, at: usize) -> bool {
        matches!(self.tokens[at].role, Role::Close(_)) || self.begins_block(at)
    }

    /// Where token `at` goes if it begins a line.
    fn indent(&self, at: usize) -> usize {
        let token = &self.tokens[at];
        let base = STEP * token.level;
        match token.before {
            Before::End => base,
            Before::Soft { indent, .. } | Before::Kept { indent } => match indent {
                Indent::Hang(columns) => base + columns,
                Indent::Below(token) => self.column(token, base),
            },
            Before::Closer(token) => self.column(token, base),
            Before::Nothing | Before::Space | Before::Pad(_) => base + 2 * STEP,
        }
    }

    fn column(&self, token: usize, base: usize) -> usize {
        self.columns.get(token).copied().unwrap_or(base)
    }

    fn breaks(&self, at: usize) -> bool {
        let token = &self.tokens[at];
        if at < self.flat_until {
            return false;
        }
        match token.before {
            Before::Kept { .. } => token.trivia.breaks(),
            Before::Soft { depth, tight, .. } => {
                token.trivia.breaks() || width(&self.line.text) + self.chunk(at, depth, !tight) > WIDTH
            }
            Before::Nothing | Before::Closer(_) | Before::Space | Before::Pad(_) | Before::End => false,
        }
    }

    /// The width of what stands between the break before token `at` and the next one as deep, on one line.
    fn chunk(&self, at: usize, depth: usize, space: bool) -> usize {
        let mut total = usize::from(space) + width(&self.tokens[at].text);
        for (next, token) in self.tokens.iter().enumerate().skip(at + 1) {
            let spaces = match token.before {
                Before::End => break,
                Before::Soft { depth: other, .. } if other <= depth => break,
                _ if token.trivia.ends_line(token.before) => break,
                Before::Nothing | Before::Closer(_) => 0,
                Before::Space | Before::Kept { .. } => 1,
                Before::Pad(spaces) => spaces,
                Before::Soft { tight, .. } => usize::from(!tight),
            };
            total += spaces + width(&token.text) + token.trivia.width();
            if total > WIDTH || matches!(self.tokens[next].role, Role::Open(_)) {
                break;
            }
        }
        total
    }

    /// Decides whether the blocks that token `at` opens the first of stay on one line.
    fn open(&mut self, at: usize, block: usize) {
        let Block { first, last, inline } = self.blocks[block];
        if at < self.flat_until || first != at || !inline {
            return;
        }
        let mut total = width(&self.line.text) + 1;
        for (next, token) in self.tokens.iter().enumerate().take(last + 1).skip(at + 1) {
            let spaces = match token.before {
                Before::Nothing | Before::Closer(_) => 0,
                Before::Space | Before::Kept { .. } => 1,
                Before::Pad(spaces) => spaces,
                Before::Soft { tight, .. } => usize::from(!tight),
                Before::End if self.at_block_edge(next) => 1,
                Before::End => 2,
            };
            total += spaces + width(&token.text) + token.trivia.width();
            let notes = || token.trivia.notes.iter().any(|note| note.newlines > 0 || note.ends_line);
            let is_end = matches!(token.before, Before::End);
            if total > WIDTH || notes() || !is_end && token.trivia.ends_line(token.before) {
                return;
            }
        }
        self.flat_until = last + 1;
    }

    fn push_lines(&mut self, text: &str) {
        for (number, line) in text.split('\n').enumerate() {
            if number > 0 {
                self.lines.push(std::mem::take(&mut self.line));
            }
            self.line.text.push_str(line);
        }
    }

    fn indent_line(&mut self, columns: usize) {
        self.line.text.extend(std::iter::repeat_n(' ', columns));
    }

    fn end_line(&mut self, blank: bool) {
        if self.line.text.is_empty() && self.lines.is_empty() && self.line.comment.is_none() {
            return;
        }
        self.lines.push(std::mem::take(&mut self.line));
        if blank {
            self.lines.push(Line::default());
        }
    }

    fn finish(mut self) -> String {
        self.end_line(false);
        let mut text = String::new();
        for (line, column) in self.lines.iter().zip(comment_columns(&self.lines)) {
            let code = line.text.trim_end();
            text.push_str(code);
            if let Some(comment) = &line.comment {
                text.extend(std::iter::repeat_n(' ', column.saturating_sub(width(code))));
                text.push_str(&comment.text);
            }
            text.push('\n');
        }
        // The end of the text is a token of its own and leaves an empty line.
        text.truncate(text.trim_end().len());
        if !text.is_empty() {
            text.push('\n');
        }
        text
    }
}

/// Where a comment behind `code` should stand: where its author moved it to, or a gap behind the code.
fn wanted(code: &str, comment: &Note) -> usize {
    comment.column.max(width(code.trim_end()) + GAP)
}

/// Gives each line with a comment behind it the column of that comment: neighbours have theirs below each other. (A line
/// without one gets 0. Were columns worked out for these too, optimised code would read the comment before it asks
/// whether there is one: sound, as what it reads is not used, but valgrind tells of a jump on uninitialised bytes.)
fn comment_columns(lines: &[Line]) -> Vec<usize> {
    let mut columns = Vec::with_capacity(lines.len());
    for run in lines.chunk_by(|a, b| a.comment.is_some() == b.comment.is_some()) {
        let commented: Vec<(&str, &Note)> =
            run.iter().filter_map(|line| Some((line.text.as_str(), line.comment.as_ref()?))).collect();
        if commented.is_empty() {
            columns.extend(std::iter::repeat_n(0, run.len()));
            continue;
        }
        let wanted = || commented.iter().map(|(code, comment)| wanted(code, comment));
        let (most, least) = (wanted().max().unwrap_or(0), wanted().min().unwrap_or(0));
        columns.extend(wanted().map(|column| if most - least > REACH { column } else { most }));
    }
    columns
}

/// Sets the `=` of functions on neighbouring lines below each other. Each of `runs` lists the tokens `=` of such a run
/// with the width of what stands before them on their line and of the whole line.
pub(crate) fn align_bodies(tokens: &mut [Token], runs: &[Vec<Aligned>]) {
    for run in runs {
        let widths = || run.iter().map(|line| line.before);
        let (most, least) = (widths().max().unwrap_or(0), widths().min().unwrap_or(0));
        let fits = run.iter().all(|line| line.whole + (most - line.before) <= WIDTH);
        if most - least <= REACH && fits {
            for line in run {
                tokens[line.token].before = Before::Pad(1 + most - line.before);
            }
        }
    }
}

/// A function written on one line.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Aligned {
    /// Its `=`.
    pub token: usize,
    /// The width of what stands before the `=`.
    pub before: usize,
    /// The width of the line.
    pub whole: usize,
}
