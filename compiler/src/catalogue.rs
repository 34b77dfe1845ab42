//! The prelude as a catalogue: what each item is, where it comes from, and what PyTorch calls it.
//!
//! Takes the prelude's texts and the documentation in them; gives one entry for each item, a page for one of them, and the
//! manual's table. Documentation says in this order: the formula; its source; then, behind a library's name and a colon,
//! what that library calls it in backticks, and after that how the two differ.

use crate::check::Builtin;
use crate::prelude;
use dlc_grammar::ast::{Body, Item};
use dlc_grammar::parse::{ItemHead, index, parse_item};
use std::fmt::Write;
use std::sync::LazyLock;

/// Libraries that documentation compares with.
const LIBRARIES: [&str; 4] = ["PyTorch: ", "torchvision: ", "transformers: ", "peft: "];

/// An item of the prelude.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// The file it stands in.
    pub file: &'static str,
    /// `fn`, `block`, `model` or `optimizer`.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its first line: name, parameters with their defaults, results.
    pub signature: String,
    /// Its documentation, as written.
    pub docs: String,
    /// The whole item, as written.
    pub text: String,
}

impl Entry {
    fn new(file: &'static str, text: &str, head: &ItemHead) -> Option<Entry> {
        let signature = signature(text, head)?;
        let whole = text.get(head.span.range())?;
        Some(Entry {
            file,
            kind: head.keyword.text.clone(),
            name: head.name.as_ref()?.text.clone(),
            signature,
            docs: head.docs.as_ref().map(|d| d.text.clone()).unwrap_or_default(),
            text: whole.trim_end().to_string(),
        })
    }

    /// What the documentation says of the item itself: formula and source, on one line.
    pub fn meaning(&self) -> String {
        let docs = self.line();
        let end = self.library().map_or(docs.len(), |(at, _)| at);
        docs[..end].trim_end().to_string()
    }

    /// What a library calls it, and how that differs; empty where the documentation names none.
    pub fn counterpart(&self) -> (String, String) {
        let Some((at, library)) = self.library() else { return Default::default() };
        let docs = self.line();
        let rest = &docs[at + library.len()..];
        // The name is in backticks; several follow each other, joined by commas or `and`.
        let mut end = 0;
        while let Some(open) = rest[end..].find('`').filter(|o| [0, 2, 5].contains(o) || end == 0) {
            let Some(close) = rest[end + open + 1..].find('`') else { break };
            end += open + close + 2;
        }
        let name = if library == LIBRARIES[0] { rest[..end].to_string() } else { format!("{library}{}", &rest[..end]) };
        let difference = rest[end..].trim_matches(|c: char| c == '.' || c == ',' || c.is_whitespace());
        (name, difference.to_string())
    }

    fn line(&self) -> String {
        self.docs.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    fn library(&self) -> Option<(usize, &'static str)> {
        let docs = self.line();
        LIBRARIES.iter().filter_map(|l| docs.find(l).map(|at| (at, *l))).min()
    }
}

/// Everything in the prelude, file by file.
pub fn entries() -> &'static [Entry] {
    static ENTRIES: LazyLock<Vec<Entry>> = LazyLock::new(|| {
        let of = |(file, text): &(&'static str, &'static str)| {
            index(text, 0).iter().filter_map(|head| Entry::new(file, text, head)).collect::<Vec<_>>()
        };
        prelude::FILES.iter().flat_map(of).collect()
    });
    &ENTRIES
}

/// All about one item, for a terminal; None if neither the prelude nor the language has one of that name.
pub fn page(name: &str) -> Option<String> {
    let Some(entry) = entries().iter().find(|e| e.name == name) else {
        let said = "is a primitive of the language; the manual lists them in `docs/language.md`, \"Primitives\"";
        return Builtin::named(name).map(|b| format!("`{}` {said}\n", b.name));
    };
    let docs: String = entry.docs.lines().map(|line| format!("{}\n", format!("/// {line}").trim_end())).collect();
    Some(format!("{docs}{}\n", entry.text))
}

/// The manual's tables in Markdown, one for each file of the prelude.
pub fn tables() -> String {
    let all = entries();
    let mut out = String::new();
    for (file, text) in prelude::FILES {
        let heading = title(text);
        write!(out, "\n## {}\n\n", heading.trim_end_matches('.')).expect("memory can be written");
        out.push_str("| item | what it is | PyTorch | difference |\n|---|---|---|---|\n");
        for e in all.iter().filter(|e| e.file == *file) {
            let (name, difference) = e.counterpart();
            let cells = [format!("`{}`", e.signature), e.meaning(), name, difference].map(|c| c.replace('|', "\\|"));
            writeln!(out, "| {} |", cells.join(" | ")).expect("memory can be written");
        }
    }
    out
}

/// The first sentence of a file's own documentation.
fn title(text: &str) -> String {
    let line = text.lines().next().and_then(|l| l.strip_prefix("//!")).unwrap_or_default().trim();
    let sentence = line.split(". ").next().unwrap_or_default();
    sentence.split(':').next().unwrap_or_default().to_string()
}

/// The item up to its conditions and its body, on one line, without its keyword.
fn signature(text: &str, head: &ItemHead) -> Option<String> {
    let (item, _) = parse_item(text, head);
    let (require, body, start) = match item? {
        Item::Fn(f) => (f.require, f.body, f.name.span.start),
        Item::Net(n) => (n.require, n.body, n.name.span.start),
        Item::Import(_) | Item::Const(_) | Item::Config(_) => return None,
    };
    let body = match body {
        Body::Expr(e) => e.span.start,
        Body::Block(b) => b.span.start,
    };
    let end = require.first().map_or(body, |r| r.span.start);
    let header = text.get(start as usize..end as usize)?.trim_end();
    let header = header.strip_suffix('=').or(header.strip_suffix("require")).unwrap_or(header);
    Some(header.split_whitespace().collect::<Vec<_>>().join(" "))
}
