//! Rows of a batch. Takes a model and the columns of a `data` item; says by which size samples are counted, and where the model's
//! text fixes how many a batch has, gives the columns as a batch of so many has them.

use super::columns::Column;
use super::data::Data;
use crate::check::{Checker, Input, ModelFn};
use dlc_grammar::Diagnostic;
use dlc_grammar::ast::EntryKind;
use dlc_plan::Size;
use dlc_plan::recipe::Batch;

/// The name of the size that samples are counted by: what the model calls the first axis of its inputs. Where it calls it
/// nothing, a name that it has no other use for.
pub fn name(ck: &Checker, model: &ModelFn) -> String {
    let called = |size: &Size| match size.dims()[..] {
        [d] if *size == Size::dim(d) => Some(ck.program.dims[usize::from(d)].clone()),
        _ => None,
    };
    let first = model.inputs.iter().filter_map(|i| i.ty.shape.first()).find_map(called);
    first.unwrap_or_else(|| {
        let taken = model.inputs.iter().flat_map(|i| &i.ty.shape).filter_map(called).any(|name| name == "N");
        (if taken { "rows" } else { "N" }).to_string()
    })
}

/// A number of rows that a model's text fixes.
#[derive(Clone, Debug)]
pub struct Fixed {
    /// The size by which samples are counted.
    all: Size,
    /// How many a batch has.
    batch: Size,
}

/// How many rows the batches of a model have, where its text fixes that: the first axis of all columns that feed it.
pub fn fixed(ck: &mut Checker, model: &ModelFn, columns: &[Column]) -> Option<Fixed> {
    let fed = |i: &&Input| columns.iter().any(|c| c.name == i.name);
    let mut firsts = model.inputs.iter().filter(fed).map(|i| i.ty.shape.first());
    let batch = firsts.next().flatten().filter(|size| size.known().is_some())?.clone();
    let all = name(ck, model);
    firsts.all(|size| size == Some(&batch)).then(|| Fixed { all: ck.dynamic(&all), batch })
}

impl Fixed {
    /// Columns of a batch.
    pub fn of_batch(&self, columns: &[Column]) -> Vec<Column> {
        counted(columns, &self.all, &self.batch)
    }

    /// The same with a row for each of any number of samples.
    pub fn of_all(&self, columns: &[Column]) -> Vec<Column> {
        counted(columns, &self.batch, &self.all)
    }

    /// Reports a `data` item that makes batches of another size.
    pub fn check(&self, ck: &mut Checker, model: &ModelFn, data: &Data) -> Option<()> {
        let (Batch::Rows(made), Some(taken)) = (data.recipe.batch, self.batch.known()) else { return Some(()) };
        if i64::try_from(made) == Ok(taken) {
            return Some(());
        }
        let item = &data.reading.item.ast;
        let batch = item.entries.iter().find_map(|entry| match &entry.kind {
            EntryKind::Attr { names, value } if names.iter().any(|n| n.text == "batch") => Some(value.span),
            EntryKind::Attr { .. } | EntryKind::Section { .. } | EntryKind::Rule(_) => None,
        });
        let message =
            format!("`{}` takes batches of {taken} rows, and `{}` makes batches of {made}", model.name, item.name.text);
        let d = Diagnostic::error("E0510", batch.unwrap_or(item.name.span), message);
        let d = match model.inputs.first() {
            Some(input) => d.label(input.span, "the first axis of its inputs"),
            None => d,
        };
        ck.report(d.help(format!("`batch = {taken}`, or a name in place of {taken} in the model: `[B, ..]`")));
        None
    }
}

/// Columns whose rows are counted by another size.
fn counted(columns: &[Column], from: &Size, to: &Size) -> Vec<Column> {
    let mut columns = columns.to_vec();
    for first in columns.iter_mut().filter_map(|c| c.ty.shape.first_mut()).filter(|size| *size == from) {
        *first = to.clone();
    }
    columns
}
