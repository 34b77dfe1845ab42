//! `data` items: where samples come from and in which batches. Takes an item; gives its part of the recipe, and the columns
//! that its source has, as far as the spec or the file says.

use super::item::{self, Reading};
use super::look::{Look, Trouble};
use super::schema::{self, Entries};
use super::sources;
use crate::check::{Checker, Given, Loader, Num, NumVal, Scope, Val};
use dlc_grammar::ast::{Expr, ExprKind, Ident};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::DType;
use dlc_plan::recipe::{self, Batch, Part, Share, Source};

/// Finds what a spec speaks of besides its text.
pub trait Files: Loader {
    /// The columns of a source, as its files have them. An error says in one line why they cannot be known.
    fn columns(&mut self, source: &Source) -> Result<Vec<SourceColumn>, String> {
        Err(format!("the columns of {} are not known here", source.paths.join(" and ")))
    }

    /// What is wrong with a file that a spec names, as far as its beginning says.
    fn look(&mut self, what: Look) -> Option<Trouble> {
        let _ = what;
        None
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
    /// What its cells are.
    pub cells: Cells,
}

/// What the cells of a column are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cells {
    /// Numbers, of the column's type and shape.
    Numbers,
    /// Texts.
    Texts,
    /// Ids one after the other.
    Ids,
    /// Numbers or texts, as they are used: a table's cells may be read as either.
    Either,
}

/// What is known of the columns of a source.
#[derive(Clone, Debug, PartialEq)]
pub enum Columns {
    /// All there is to know.
    Known(Vec<SourceColumn>),
    /// Only that there are some, of numbers or texts: a table whose first line has not been read.
    Unnamed,
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
    /// Which rows are samples; all where it does not say.
    pub keep: Option<Expr>,
    /// What becomes of columns in training.
    pub augment: Vec<(Vec<Ident>, Expr)>,
}

impl Data {
    /// Where and why the columns of the source cannot be known, if they cannot.
    pub fn unknown(&self) -> Option<(Span, String)> {
        match &self.source {
            Columns::Unknown(why) => Some((self.source_span, why.clone())),
            Columns::Known(_) | Columns::Unnamed => None,
        }
    }
}

/// Reads a `data` item.
pub fn read(ck: &mut Checker, files: &mut dyn Files, it: Reading) -> Option<Data> {
    let item = it.item.clone();
    let owner = it.owner(&schema::DATA);
    let found = item::checked(ck, owner, &item.ast.entries);
    let source_of = |ck: &mut Checker, key| found.value(key).map(|e| sources::read(ck, e, &it.scope));
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
    let (mut columns, augment) = (section(ck, &found, "columns"), section(ck, &found, "augment"));
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
        encodings: Vec::new(),
    };
    if let Some(columns) = &mut columns {
        sources::join_paths(ck, source.kind, columns, &it.scope);
    }
    let source_span = found.value("source").map_or(item.ast.name.span, |e| e.span);
    let source = sources::columns(files, &source);
    Some(Data {
        source,
        recipe,
        source_span,
        columns: columns?,
        keep: found.value("where").cloned(),
        augment: augment?,
        reading: it,
    })
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

/// The columns that a section defines. It has names of the user's own, so no table of keys fits it.
fn section(ck: &mut Checker, found: &Entries, name: &str) -> Option<Vec<(Vec<Ident>, Expr)>> {
    let Some((_, entries)) = found.section(name) else { return Some(Vec::new()) };
    item::definitions(ck, name, entries)
}

/// The item that `data = digits` names.
pub fn named(ck: &mut Checker, files: &mut dyn Files, e: &Expr, sc: &Scope) -> Option<Data> {
    let (found, given): (_, Vec<Given>) = item::config(ck, "data", e, sc)?;
    let reading = item::read(ck, &found, given, e.span)?;
    read(ck, files, reading)
}
