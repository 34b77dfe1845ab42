//! Whether the files that a spec names are there, and begin as its text says. Takes items that have been read, and whoever can
//! open files; reports what is wrong at the places where the files are named, or columns used. A file that is not there is a
//! warning: it may come later.

use super::columns::uses;
use super::data::{Data, Files};
use super::weights::file_span;
use crate::check::{Checker, ConfigItem};
use dlc_grammar::ast::{EntryKind, Expr, ExprKind};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::DType;
use dlc_plan::recipe::{Encoder, Encoding, Source};

/// What is looked at.
#[derive(Clone, Copy, Debug)]
pub enum Look<'a> {
    /// One file of a source, by its place among the source's paths, with the columns that are used.
    Source(&'a Source, usize, &'a [Used]),
    /// A file of weights.
    Weights(&'a str),
    /// An adapter: a folder, or the file in it.
    Adapter(&'a str),
    /// A tokenizer.
    Tokenizer(&'a str),
}

/// A column of a source that something uses.
#[derive(Clone, Debug, PartialEq)]
pub struct Used {
    /// Its name.
    pub name: String,
    /// What it is used as: numbers of that type, or texts.
    pub numbers: Option<DType>,
    /// Where.
    pub span: Span,
}

/// What is wrong with a file.
#[derive(Clone, Debug, PartialEq)]
pub struct Trouble {
    /// The code.
    pub code: &'static str,
    /// Whether all that is wrong is that it cannot be read.
    pub absent: bool,
    /// What is wrong, in one line.
    pub message: String,
    /// More of it.
    pub notes: Vec<String>,
    /// Ways out.
    pub help: Vec<String>,
    /// The column that it is about.
    pub column: Option<String>,
}

/// Looks at the files of a `data` item.
pub fn data(ck: &mut Checker, files: &mut dyn Files, data: &Data) {
    let used = uses(ck, data);
    let item = data.reading.item.clone();
    let recipe = &data.recipe;
    for (key, source) in
        [("source", Some(&recipe.source)), ("valid", recipe.valid.as_ref()), ("test", recipe.test.as_ref())]
    {
        let Some(source) = source else { continue };
        let spans = path_spans(&item, key);
        for place in 0..source.paths.len() {
            let at = spans.get(place).copied().unwrap_or(item.ast.name.span);
            let Some(trouble) = files.look(Look::Source(source, place, &used)) else { continue };
            // What a column is used as is said once; in which file it is something else, the message says.
            let column = used.iter().find(|used| Some(&used.name) == trouble.column.as_ref());
            report(ck, trouble, column.map_or(at, |used| used.span));
        }
    }
}

/// Looks at the tokenizers of a `data` item.
pub fn tokenizers(ck: &mut Checker, files: &mut dyn Files, data: &Data, encodings: &[Encoding]) {
    for encoding in encodings {
        let Encoder::File(path) = &encoding.by else { continue };
        let named = data.columns.iter().find(|(names, _)| names.first().map(|n| &n.text) == encoding.columns.first());
        let at = named.map_or(data.source_span, |(_, e)| literal(e, path).unwrap_or(e.span));
        if let Some(trouble) = files.look(Look::Tokenizer(path)) {
            report(ck, trouble, at);
        }
    }
}

/// Looks at the file of a `weights` or `lora` item.
pub fn file(ck: &mut Checker, files: &mut dyn Files, item: &ConfigItem, what: Look) {
    if let Some(trouble) = files.look(what) {
        report(ck, trouble, file_span(item));
    }
}

fn report(ck: &mut Checker, trouble: Trouble, at: Span) {
    let Trouble { code, absent, message, notes, help, .. } = trouble;
    let d = match absent {
        true => Diagnostic::warning("W0620", at, message),
        false => Diagnostic::error(code, at, message),
    };
    ck.report(Diagnostic { notes, help, ..d });
}

/// Where the paths of a source are written.
fn path_spans(item: &ConfigItem, key: &str) -> Vec<Span> {
    let value = item.ast.entries.iter().find_map(|entry| match &entry.kind {
        EntryKind::Attr { names, value } if names.first().is_some_and(|name| name.text == key) => Some(value),
        EntryKind::Attr { .. } | EntryKind::Section { .. } | EntryKind::Rule(_) => None,
    });
    match value.map(|e| &e.kind) {
        Some(ExprKind::Call { args, .. }) => {
            args.iter().filter(|arg| arg.name.is_none()).map(|arg| arg.value.span).collect()
        }
        Some(_) | None => Vec::new(),
    }
}

/// Where an expression says a text.
fn literal(e: &Expr, text: &str) -> Option<Span> {
    let mut found = None;
    let mut e = e.clone();
    find(&mut e, text, &mut found);
    found
}

fn find(e: &mut Expr, text: &str, found: &mut Option<Span>) {
    if let ExprKind::Str(literal) = &e.kind
        && literal.value == text
    {
        *found = Some(literal.span);
    }
    e.each_part_mut(&mut |part| find(part, text, found));
}
