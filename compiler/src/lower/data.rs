//! `data` items: where samples come from and in which batches. Takes an item; gives its part of the recipe, and the columns
//! that its source has, as far as the spec or the file says.

use super::item::{self, Reading};
use super::schema::{self, Entries};
use crate::check::{Checker, Given, Loader, Num, NumVal, Scope, Val};
use dlc_grammar::ast::{Arg as AstArg, Expr, ExprKind, Ident};
use dlc_grammar::{Diagnostic, Span, nearest};
use dlc_plan::DType;
use dlc_plan::recipe::{self, Arg, Batch, Part, Share, Source, SourceKind};

/// Finds what a spec speaks of besides its text.
pub trait Files: Loader {
    /// The columns of a source, as its files have them. An error says in one line why they cannot be known.
    fn columns(&mut self, source: &Source) -> Result<Vec<SourceColumn>, String> {
        Err(format!("the columns of {} are not known here", source.paths.join(" and ")))
    }
}

/// A column of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceColumn {
    /// Its name.
    pub name: String,
    /// The type of its elements.
    pub dtype: DType,
    /// The shape of one sample's part: none for a number.
    pub row: Vec<usize>,
}

/// What is known of the columns of a source.
#[derive(Clone, Debug, PartialEq)]
pub enum Columns {
    /// All there is to know.
    Known(Vec<SourceColumn>),
    /// Only that each is a number: a table whose first line has not been read.
    Numbers,
    /// Nothing, and why.
    Unknown(String),
}

/// A `data` item.
pub struct Data {
    /// The item.
    pub reading: Reading,
    /// Its part of the recipe.
    pub recipe: recipe::Data,
    /// The columns of its source.
    pub source: Columns,
    /// Where the source is named.
    pub source_span: Span,
    /// The columns that it defines, with their expressions; none where the source's columns are the batch.
    pub columns: Vec<(Vec<Ident>, Expr)>,
}

impl Data {
    /// Where and why the columns of the source cannot be known, if they cannot.
    pub fn unknown(&self) -> Option<(Span, String)> {
        match &self.source {
            Columns::Unknown(why) => Some((self.source_span, why.clone())),
            Columns::Known(_) | Columns::Numbers => None,
        }
    }
}

/// Source kinds that are still to come.
const LATER: [&str; 6] = ["tsv", "jsonl", "text", "cifar", "npz", "tokens"];

/// Reads a `data` item.
pub fn read(ck: &mut Checker, files: &mut dyn Files, it: Reading) -> Option<Data> {
    let item = it.item.clone();
    let owner = it.owner(&schema::DATA);
    let found = item::checked(ck, owner, &item.ast.entries);
    let source_of = |ck: &mut Checker, key| found.value(key).map(|e| source(ck, e, &it.scope));
    let (main, valid, test) = (source_of(ck, "source"), source_of(ck, "valid"), source_of(ck, "test"));
    if main.is_none() {
        ck.report(schema::missing(owner, "source"));
    }
    let split = split(ck, &found, &it.scope);
    let batch = match found.value("batch") {
        Some(e) if matches!(&e.kind, ExprKind::Name(n) if n == "all") => Some(Batch::All),
        Some(e) => item::count(ck, "batch", e, &it.scope, 1).map(Batch::Rows),
        None => {
            ck.report(schema::missing(owner, "batch"));
            None
        }
    };
    let mut flag = |key| found.value(key).map_or(Some(false), |e| item::flag(ck, key, e, &it.scope));
    let (shuffle, drop_last) = (flag("shuffle"), flag("drop_last"));
    let columns = columns(ck, &found);
    let known = |source: Option<Option<Source>>| source.map_or(Some(None), |s| s.map(Some));
    let source = main??;
    let recipe = recipe::Data {
        name: item.ast.name.text.clone(),
        source: source.clone(),
        valid: known(valid)?,
        test: known(test)?,
        split: split?,
        batch: batch?,
        shuffle: shuffle?,
        drop_last: drop_last?,
    };
    let source_span = found.value("source").map_or(item.ast.name.span, |e| e.span);
    Some(Data { source: known_columns(files, &source), recipe, source_span, columns: columns?, reading: it })
}

/// `csv("a.csv", pixels = 64, label = 1)`.
fn source(ck: &mut Checker, e: &Expr, sc: &Scope) -> Option<Source> {
    let ExprKind::Call { callee, args } = &e.kind else {
        let message = "a source is a kind of file and where it is";
        ck.report(Diagnostic::error("E0507", e.span, message).help("`csv(\"data.csv\")`"));
        return None;
    };
    let kind = source_kind(ck, callee)?;
    let mut source = Source { kind, paths: Vec::new(), args: Vec::new() };
    for arg in args {
        match &arg.name {
            None => source.paths.push(item::text(ck, "the path of a source", &arg.value, sc)?),
            Some(name) => source.args.push((name.text.clone(), source_arg(ck, name, arg, sc)?)),
        }
    }
    if source.paths.is_empty() {
        let message = format!("`{}` needs a path", kind.name());
        ck.report(Diagnostic::error("E0107", e.span, message));
        return None;
    }
    Some(source)
}

fn source_kind(ck: &mut Checker, callee: &Expr) -> Option<SourceKind> {
    let name = ck.text(callee.span).to_string();
    if let Some(kind) = SourceKind::parse(&name) {
        return Some(kind);
    }
    let d = match LATER.contains(&name.as_str()) {
        true => Diagnostic::error("E0114", callee.span, format!("`{name}` comes with a later version")),
        false => {
            let known: Vec<&str> = SourceKind::ALL.iter().map(|(_, n)| *n).collect();
            let near = nearest(&name, known.iter().copied());
            let d = Diagnostic::error("E0102", callee.span, format!("no source is called `{name}`"));
            if near.is_some() { d.did_you_mean(near) } else { d.help(format!("there is {}", known.join(", "))) }
        }
    };
    ck.report(d);
    None
}

fn source_arg(ck: &mut Checker, name: &Ident, arg: &AstArg, sc: &Scope) -> Option<Arg> {
    if let ExprKind::Name(text) = &arg.value.kind
        && DType::parse(text).is_some()
    {
        return Some(Arg::Text(text.clone()));
    }
    match ck.eval(&arg.value, sc) {
        Val::Num(Num { value: NumVal::Int(n), .. }) => Some(Arg::Int(n)),
        Val::Num(Num { value: NumVal::Float(x), .. }) => Some(Arg::Float(x)),
        Val::Bool(b) => Some(Arg::Bool(b)),
        Val::Str(s) => Some(Arg::Text(s.to_string())),
        v => {
            if !v.is_poison() {
                let message = format!("`{}` is a number, a truth or a text, got {}", name.text, ck.show(&v));
                ck.report(Diagnostic::error("E0507", arg.value.span, message));
            }
            None
        }
    }
}

/// `split { train = 0.8  valid = 0.2 }`: fractions, or numbers of rows.
fn split(ck: &mut Checker, found: &Entries, sc: &Scope) -> Option<Vec<(Part, Share)>> {
    let Some((name, entries)) = found.section("split") else { return Some(Vec::new()) };
    let parts = item::section(ck, name, entries, &schema::SPLIT);
    let mut shares = Vec::new();
    let mut sum = 0.0;
    for (part, key) in Part::ALL {
        let Some(e) = parts.value(key) else { continue };
        let share = match ck.eval(e, sc) {
            Val::Poison => return None,
            Val::Num(Num { value: NumVal::Int(n), .. }) if n >= 1 => Share::Rows(n as u64),
            Val::Num(Num { value: NumVal::Float(x), .. }) if x > 0.0 && x <= 1.0 => {
                sum += x;
                Share::Fraction(x)
            }
            v => {
                let message = format!("`{key}` is a fraction like 0.8 or a number of rows, got {}", ck.show(&v));
                ck.report(Diagnostic::error("E0507", e.span, message));
                return None;
            }
        };
        shares.push((part, share));
    }
    // Decimal fractions that add up to 1 do so only nearly in binary.
    if sum > 1.0 + 1e-9 {
        let message = format!("the parts of this split add up to {sum}, more than everything");
        ck.report(Diagnostic::error("E0507", name.span, message));
        return None;
    }
    Some(shares)
}

/// The columns that an item defines. Its section has names of the user's own, so no table of keys fits it.
fn columns(ck: &mut Checker, found: &Entries) -> Option<Vec<(Vec<Ident>, Expr)>> {
    let Some((_, entries)) = found.section("columns") else { return Some(Vec::new()) };
    item::definitions(ck, "columns", entries)
}

/// What is known of a source's columns: from its arguments, or from the files.
fn known_columns(files: &mut dyn Files, source: &Source) -> Columns {
    let column = |(name, arg): &(String, Arg)| match arg {
        Arg::Int(n) if *n >= 1 => {
            let row = if *n == 1 { Vec::new() } else { vec![*n as usize] };
            Some(SourceColumn { name: name.clone(), dtype: DType::F32, row })
        }
        Arg::Int(_) | Arg::Float(_) | Arg::Bool(_) | Arg::Text(_) => None,
    };
    match source.kind {
        SourceKind::Csv if !source.args.is_empty() => match source.args.iter().map(column).collect() {
            Some(columns) => Columns::Known(columns),
            None => Columns::Unknown("a column takes a whole number of values, 1 or more".into()),
        },
        SourceKind::Csv => files.columns(source).map_or(Columns::Numbers, Columns::Known),
        SourceKind::Safetensors | SourceKind::Idx => {
            files.columns(source).map_or_else(Columns::Unknown, Columns::Known)
        }
    }
}

/// The item that `data = digits` names.
pub fn named(ck: &mut Checker, files: &mut dyn Files, e: &Expr, sc: &Scope) -> Option<Data> {
    let (found, given): (_, Vec<Given>) = item::config(ck, "data", e, sc)?;
    let reading = item::read(ck, &found, given, e.span)?;
    read(ck, files, reading)
}
