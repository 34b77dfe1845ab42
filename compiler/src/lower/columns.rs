//! The columns of a batch: the entry `columns`, and `statistics` where a column depends on the whole training split. Takes a
//! `data` item; gives functions from the source's columns to those that the loss and the metrics see, and their types.

use super::data::{Columns, Data, SourceColumn};
use super::item;
use crate::check::{Checker, EntryFn, Scope, Statistics, Tag, Tensor, Val, names_in};
use crate::program::{Entry, Role, Ty};
use dlc_grammar::ast::Expr;
use dlc_grammar::{Diagnostic, Span, nearest};
use dlc_plan::{DType, Size};
use std::collections::VecDeque;

/// A column of a batch.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// Its type; the first axis is the batch.
    pub ty: Ty,
    /// What its axes are called.
    pub tags: Vec<Option<Tag>>,
    /// Where it is defined.
    pub span: Span,
}

/// The columns of a batch, and what makes them, if the source's columns are not the batch already.
pub struct Batch {
    /// The columns.
    pub columns: Vec<Column>,
    /// The entries: `columns`, and before it `statistics` where it needs any.
    pub entries: Vec<Entry>,
}

/// The columns of a data item's batches, whose rows are counted by the size `rows`.
pub fn batch(ck: &mut Checker, data: &Data, rows: &str) -> Option<Batch> {
    let size = ck.dynamic(rows);
    if data.columns.is_empty() {
        let Columns::Known(columns) = &data.source else {
            return Some(Batch { columns: Vec::new(), entries: Vec::new() });
        };
        let span = data.source_span;
        let column =
            |c: &SourceColumn| Column { name: c.name.clone(), ty: ty(c, &size), tags: tags(c, rows, span), span };
        return Some(Batch { columns: columns.iter().map(column).collect(), entries: Vec::new() });
    }
    let said = ck.diagnostics.len();
    let (entry, columns, asked) = made(ck, data, rows, "columns", &[])?;
    if asked.is_empty() {
        return Some(Batch { columns, entries: vec![entry] });
    }
    // What is asked of the whole training split is an entry of its own, which is run once; its results are inputs of the
    // other. Working through the definitions again says nothing new.
    let (mut statistics, _, _) = made(ck, data, rows, "statistics", &[])?;
    statistics.outputs = (0..asked.len()).map(|k| Role::Named(statistic_name(k))).collect();
    let (entry, columns, _) = made(ck, data, rows, "columns", &asked)?;
    ck.diagnostics.truncate(said);
    Some(Batch { columns, entries: vec![statistics, entry] })
}

/// The type of what columns ask of the whole training split, and what its axes are called.
type Asked = (Ty, Vec<Option<Tag>>);

fn statistic_name(k: usize) -> String {
    format!("statistic {k}")
}

/// An entry from the source's columns to the definitions, or, under the name `statistics`, to what these ask of the whole
/// training split; the columns; and the types of what they ask. Those in `known` are further inputs.
fn made(
    ck: &mut Checker,
    data: &Data,
    rows: &str,
    name: &str,
    known: &[Asked],
) -> Option<(Entry, Vec<Column>, Vec<Asked>)> {
    ck.open_entry(name);
    let found = defined(ck, data, rows, known);
    let asked = match ck.statistics.take() {
        Some(Statistics::Measured(asked)) => asked,
        Some(Statistics::Known(_)) | None => Vec::new(),
    };
    let Some((inputs, columns, mut results)) = found else {
        ck.drop_entry();
        return None;
    };
    if name == "statistics" {
        results = asked.iter().cloned().map(Val::Tensor).collect();
    }
    let EntryFn { function, guards, .. } = ck.close_entry(&Val::Tuple(results.into()));
    let entry = Entry {
        name: name.into(),
        function,
        inputs: inputs.into_iter().map(Role::Named).collect(),
        outputs: columns.iter().map(|c| Role::Named(c.name.clone())).collect(),
        guards: guards.into_iter().map(|g| (g.cond, g.message)).collect(),
    };
    let asked = asked.iter().map(|t| (Ty { dtype: t.dtype, shape: t.shape() }, t.tags())).collect();
    Some((entry, columns, asked))
}

/// The inputs that the definitions read, the columns they give, and these as tensors.
fn defined(ck: &mut Checker, data: &Data, rows: &str, known: &[Asked]) -> Option<(Vec<String>, Vec<Column>, Vec<Val>)> {
    let size = &ck.dynamic(rows);
    let sc = item::inner_scope(ck, &data.reading.scope);
    let mut inputs = Vec::new();
    for (_, e) in &data.columns {
        for (name, span) in names_in(e) {
            if inputs.contains(&name) {
                continue;
            }
            let Some(column) = source_column(ck, data, &name, &sc) else { continue };
            let val = ck.entry_input(&name, ty(&column, size), tags(&column, rows, span));
            sc.define(name.as_str(), val, span);
            inputs.push(name);
        }
    }
    let mut given = VecDeque::new();
    for (k, (ty, tags)) in known.iter().enumerate() {
        let Val::Tensor(t) = ck.entry_input(&statistic_name(k), ty.clone(), tags.clone()) else { continue };
        given.push_back(t);
        inputs.push(statistic_name(k));
    }
    ck.statistics = Some(if known.is_empty() { Statistics::Measured(Vec::new()) } else { Statistics::Known(given) });
    let (mut columns, mut results) = (Vec::new(), Vec::new());
    let mut fine = true;
    for (names, e) in &data.columns {
        if unknown(ck, data, e, &sc) {
            fine = false;
            continue;
        }
        let v = ck.eval(e, &sc);
        let values = if let ([_], false) = (names.as_slice(), v.is_poison()) {
            Some(vec![v])
        } else {
            ck.unpack(v, names.len(), e.span)
        };
        let Some(values) = values else {
            fine = false;
            continue;
        };
        for (name, v) in names.iter().zip(values) {
            match v {
                Val::Tensor(t) if has_rows(&t, size) => {
                    let ty = Ty { dtype: t.dtype, shape: t.shape() };
                    columns.push(Column { name: name.text.clone(), ty, tags: t.tags(), span: name.span });
                    results.push(Val::Tensor(t));
                }
                v => {
                    let message = format!("a column has a row for each sample, got {}", ck.show(&v));
                    ck.report(Diagnostic::error("E0509", e.span, message));
                    fine = false;
                }
            }
        }
    }
    fine.then_some((inputs, columns, results))
}

fn has_rows(t: &Tensor, rows: &Size) -> bool {
    t.axes.first().is_some_and(|a| a.size == *rows)
}

/// The source's column of that name, unless the name stands for something else.
fn source_column(ck: &mut Checker, data: &Data, name: &str, sc: &Scope) -> Option<SourceColumn> {
    match &data.source {
        Columns::Known(columns) => columns.iter().find(|c| c.name == name).cloned(),
        Columns::Numbers if !ck.is_known(name, sc) => {
            Some(SourceColumn { name: name.to_string(), dtype: DType::F32, row: Vec::new() })
        }
        Columns::Numbers | Columns::Unknown(_) => None,
    }
}

/// Reports names that are neither columns nor anything else.
fn unknown(ck: &mut Checker, data: &Data, e: &Expr, sc: &Scope) -> bool {
    let Columns::Known(columns) = &data.source else { return false };
    let mut found = false;
    for (name, span) in names_in(e) {
        if ck.is_known(&name, sc) {
            continue;
        }
        found = true;
        let near = nearest(&name, columns.iter().map(|c| c.name.as_str()));
        let message = format!("`{}` has no column `{name}`", data.recipe.source.paths.join(" and "));
        let mut d = Diagnostic::error("E0102", span, message).did_you_mean(near);
        if near.is_none() && columns.len() <= 12 {
            let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
            d = d.help(format!("its columns are {}", names.join(", ")));
        }
        ck.report(d);
    }
    found
}

fn ty(column: &SourceColumn, rows: &Size) -> Ty {
    let row = column.row.iter().map(|n| Size::from(*n as i64));
    Ty { dtype: column.dtype, shape: std::iter::once(rows.clone()).chain(row).collect() }
}

/// The rows have the name that the model gives them.
fn tags(column: &SourceColumn, rows: &str, origin: Span) -> Vec<Option<Tag>> {
    let rows = Tag { name: Some(rows.into()), env: 0, origin };
    std::iter::once(Some(rows)).chain(column.row.iter().map(|_| None)).collect()
}
