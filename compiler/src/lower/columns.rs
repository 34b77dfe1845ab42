//! The columns of a batch: the entry `columns`, `statistics` where a column depends on the whole training split, and `augment`
//! where training has columns of its own. Takes a `data` item; gives functions from the source's columns to those that the
//! loss and the metrics see, and their types.

use super::data::{Cells, Columns, Data, SourceColumn};
use super::item;
use super::look::Used;
use super::texts::{self, Counted};
use super::whole::is_whole;
use crate::check::{Checker, Scope, Statistics, Tag, Tensor, Val, names_in};
use crate::program::{Entry, Role, Ty};
use dlc_grammar::ast::{Expr, Ident};
use dlc_grammar::{Diagnostic, Span, nearest};
use dlc_plan::recipe::{Encoding, SourceKind};
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
#[derive(Default)]
pub struct Batch {
    /// The columns.
    pub columns: Vec<Column>,
    /// The entries: `columns`, before it `statistics` where it needs any, and `augment` where training has columns of its own.
    pub entries: Vec<Entry>,
    /// How ids are made of texts.
    pub encodings: Vec<Encoding>,
}

/// Which of the entries is being made.
#[derive(Clone, Copy, PartialEq)]
enum Made {
    Columns,
    Statistics,
    Augment,
}

impl Made {
    fn name(self) -> &'static str {
        match self {
            Made::Columns => "columns",
            Made::Statistics => "statistics",
            Made::Augment => "augment",
        }
    }
}

/// The columns of a data item's batches.
pub fn batch(ck: &mut Checker, data: &Data, counted: &Counted) -> Option<Batch> {
    let plain = plain(ck, data, counted);
    let kept = match &data.keep {
        Some(e) => Some(kept(ck, data, counted, e)?),
        None => None,
    };
    if data.columns.is_empty() && data.augment.is_empty() {
        return Some(Batch { columns: plain, entries: kept.into_iter().collect(), ..Batch::default() });
    }
    let said = ck.diagnostics.len();
    let first = made(ck, data, counted, Made::Columns, &plain, &[])?;
    let asked = first.asked;
    let (mut entries, mut columns, encodings) = (vec![first.entry], first.columns, first.encodings);
    if !asked.is_empty() {
        // What is asked of the whole training split is an entry of its own, which is run once; its results are inputs of
        // the others. Working through the definitions again says nothing new.
        let mut statistics = made(ck, data, counted, Made::Statistics, &plain, &[])?.entry;
        statistics.outputs = (0..asked.len()).map(|k| Role::Named(statistic_name(k))).collect();
        entries = vec![statistics, made(ck, data, counted, Made::Columns, &plain, &asked)?.entry];
        ck.diagnostics.truncate(said);
    }
    if !data.augment.is_empty() {
        let augmented = made(ck, data, counted, Made::Augment, &plain, &asked)?;
        entries.push(augmented.entry);
    }
    // An entry that computes nothing is none: such columns come as the host makes them.
    entries.retain(|e| !e.outputs.is_empty());
    columns.extend(plain.into_iter().filter(|_| data.columns.is_empty()));
    entries.extend(kept);
    Some(Batch { columns, entries, encodings })
}

/// The source's columns that the definitions and `where` use, with what each is used as; of several uses, the first.
pub fn uses(ck: &mut Checker, data: &Data) -> Vec<Used> {
    let Columns::Known(columns) = &data.source else { return Vec::new() };
    let read_as_texts: Vec<String> = data.columns.iter().flat_map(|(_, e)| texts::texts_in(e)).collect();
    let definitions = data.columns.iter().map(|(_, e)| e).chain(&data.keep);
    let mut uses: Vec<Used> = Vec::new();
    for (name, span) in definitions.flat_map(names_in) {
        let Some(column) = columns.iter().find(|c| c.name == name) else { continue };
        let raw = texts::raw_column(data, &name, &read_as_texts);
        if ck.is_known(&name, &data.reading.scope) || uses.iter().any(|used| used.name == name) {
            continue;
        }
        let dtype = as_used(data, column.clone()).dtype;
        uses.push(Used { name, numbers: raw.is_none().then_some(dtype), span });
    }
    uses
}

/// The entry `where`: from the source's columns of numbers to a truth for each row, whether it is a sample.
fn kept(ck: &mut Checker, data: &Data, counted: &Counted, e: &Expr) -> Option<Entry> {
    ck.open_entry("where");
    let mut work = Work::new(ck, data, counted, Made::Columns);
    for (name, span) in names_in(e) {
        let Some(column) = work.source_column(&name).filter(|_| !work.inputs.contains(&name)) else { continue };
        let val = work.input(&name, ty(&column, &work.rows), tags(&column, counted.rows, span));
        work.sc.define(name.as_str(), val, span);
    }
    let unknown = work.unknown(e);
    let (inputs, sc, rows) = (work.inputs, work.sc, work.rows);
    let v = if unknown { Val::Poison } else { ck.eval(e, &sc) };
    match v {
        Val::Tensor(t) if t.dtype == DType::Bool && t.shape() == [rows] => {
            let made = ck.close_entry(&Val::Tensor(t));
            let (inputs, outputs) = (inputs.into_iter().map(Role::Named).collect(), vec![Role::Named("where".into())]);
            Some(Entry {
                name: "where".into(),
                function: made.function,
                inputs,
                outputs,
                guards: made.conditions(),
                defaults: Vec::new(),
            })
        }
        v => {
            if !v.is_poison() {
                let message = format!("`where` says of each row whether it is a sample, got {}", ck.show(&v));
                let d = Diagnostic::error("E0509", e.span, message);
                ck.report(d.help("`where = abs(score) >= 1`"));
            }
            ck.drop_entry();
            None
        }
    }
}

/// The source's columns as they are: the batch, where an item defines none.
fn plain(ck: &mut Checker, data: &Data, counted: &Counted) -> Vec<Column> {
    let (Columns::Known(columns), true) = (&data.source, data.columns.is_empty()) else { return Vec::new() };
    let size = ck.dynamic(counted.rows);
    let (rows, span) = (counted.rows, data.source_span);
    let column = |c: &SourceColumn| Column { name: c.name.clone(), ty: ty(c, &size), tags: tags(c, rows, span), span };
    columns.iter().filter(|c| matches!(c.cells, Cells::Numbers | Cells::Either)).map(column).collect()
}

/// The type of what columns ask of the whole training split, and what its axes are called.
type Asked = (Ty, Vec<Option<Tag>>);

fn statistic_name(k: usize) -> String {
    format!("statistic {k}")
}

/// An entry that has been made.
struct Done {
    entry: Entry,
    /// All columns that the definitions give, those of ids too.
    columns: Vec<Column>,
    asked: Vec<Asked>,
    encodings: Vec<Encoding>,
}

/// An entry from the source's columns to the definitions, to what these ask of the whole training split, or to what training
/// makes of them. Values over the split that are known are further inputs.
fn made(
    ck: &mut Checker,
    data: &Data,
    counted: &Counted,
    what: Made,
    plain: &[Column],
    known: &[Asked],
) -> Option<Done> {
    ck.open_entry(what.name());
    let mut work = Work::new(ck, data, counted, what);
    let fine = work.defined(plain, known).is_some() && (what != Made::Augment || work.augmented(plain).is_some());
    let Work { inputs, computed, mut results, columns, encodings, .. } = work;
    let asked = match ck.statistics.take() {
        Some(Statistics::Measured(asked)) => asked,
        Some(Statistics::Known(_)) | None => Vec::new(),
    };
    if !fine {
        ck.drop_entry();
        return None;
    }
    if what == Made::Statistics {
        results = asked.iter().cloned().map(Val::Tensor).collect();
    }
    let finished = ck.close_entry(&Val::Tuple(results.into()));
    let entry = Entry {
        name: what.name().into(),
        function: finished.function,
        inputs: inputs.into_iter().map(Role::Named).collect(),
        outputs: computed.into_iter().map(Role::Named).collect(),
        guards: finished.conditions(),
        defaults: Vec::new(),
    };
    let asked = asked.iter().map(|t| (Ty { dtype: t.dtype, shape: t.shape() }, t.tags())).collect();
    Some(Done { entry, columns, asked, encodings })
}

/// An entry that is being made.
struct Work<'a> {
    ck: &'a mut Checker,
    data: &'a Data,
    counted: &'a Counted<'a>,
    rows: Size,
    sc: Scope,
    what: Made,
    /// The names of the entry's inputs.
    inputs: Vec<String>,
    /// The names of the entry's results.
    computed: Vec<String>,
    results: Vec<Val>,
    columns: Vec<Column>,
    encodings: Vec<Encoding>,
}

impl<'a> Work<'a> {
    fn new(ck: &'a mut Checker, data: &'a Data, counted: &'a Counted<'a>, what: Made) -> Work<'a> {
        let rows = ck.dynamic(counted.rows);
        let sc = item::inner_scope(ck, &data.reading.scope);
        let (inputs, computed, results) = (Vec::new(), Vec::new(), Vec::new());
        let (columns, encodings) = (Vec::new(), Vec::new());
        Work { ck, data, counted, rows, sc, what, inputs, computed, results, columns, encodings }
    }

    fn input(&mut self, name: &str, ty: Ty, tags: Vec<Option<Tag>>) -> Val {
        self.inputs.push(name.to_string());
        self.ck.entry_input(name, ty, tags)
    }

    /// The definitions: what they read becomes inputs, what they give results.
    fn defined(&mut self, plain: &[Column], known: &[Asked]) -> Option<()> {
        let mut fine = self.texts().is_some();
        for (name, span) in texts::names_of_numbers(self.data) {
            if self.sc.get(&name).is_some() && self.inputs.contains(&name) || self.is_raw(&name) {
                continue;
            }
            let Some(column) = self.source_column(&name) else { continue };
            let val = self.input(&name, ty(&column, &self.rows), tags(&column, self.counted.rows, span));
            self.sc.define(name.as_str(), val, span);
        }
        let ids: Vec<Column> = self.columns.clone();
        let given = if self.what == Made::Augment { self.augment_inputs(plain, &ids) } else { Vec::new() };
        let mut values = VecDeque::new();
        for (k, (ty, tags)) in known.iter().enumerate() {
            let Val::Tensor(t) = self.input(&statistic_name(k), ty.clone(), tags.clone()) else { continue };
            values.push_back(t);
        }
        let measured = known.is_empty();
        self.ck.statistics = Some(if measured { Statistics::Measured(Vec::new()) } else { Statistics::Known(values) });
        for (names, e) in self.data.columns.iter().filter(|(_, e)| !texts::encodes(e)) {
            if self.unknown(e) || self.define(names, e).is_none() {
                fine = false;
            }
        }
        // What augmentation takes and no definition gives stands for itself from here on.
        for (column, val) in given {
            self.computed.push(column.name.clone());
            self.results.push(val);
            self.columns.push(column);
        }
        fine.then_some(())
    }

    /// Columns of texts get their names, and those of ids are written down.
    fn texts(&mut self) -> Option<()> {
        let used: Vec<String> = self.data.columns.iter().flat_map(|(_, e)| texts::texts_in(e)).collect();
        let mut fine = true;
        for (_, e) in &self.data.columns {
            for (name, span) in names_in(e) {
                if let Some(raw) = texts::raw_column(self.data, &name, &used)
                    && !(matches!(self.data.source, Columns::Unnamed) && self.ck.is_known(&name, &self.sc))
                {
                    self.sc.define(name.as_str(), Val::Raw(raw), span);
                } else if texts::encodes(e) && texts::is_of_numbers(self.data, &name) {
                    let message = format!("ids are made of texts, and `{name}` has numbers");
                    self.ck.report(Diagnostic::error("E0112", span, message));
                    fine = false;
                }
            }
            if texts::encodes(e) && self.unknown(e) {
                fine = false;
            }
        }
        if !fine {
            return None;
        }
        let (encodings, columns) = texts::encoded(self.ck, self.data, self.counted, &self.sc)?;
        self.encodings = encodings;
        self.columns = columns;
        Some(())
    }

    fn is_raw(&self, name: &str) -> bool {
        matches!(self.sc.get(name), Some(Val::Raw(_)))
    }

    /// One definition.
    fn define(&mut self, names: &[Ident], e: &Expr) -> Option<()> {
        let v = self.ck.eval(e, &self.sc);
        let values = match (names, v.is_poison()) {
            ([_], false) => vec![v],
            _ => self.ck.unpack(v, names.len(), e.span)?,
        };
        let mut fine = Some(());
        for (name, v) in names.iter().zip(values) {
            match v {
                Val::Tensor(t) if has_rows(&t, &self.rows) => {
                    let ty = Ty { dtype: t.dtype, shape: t.shape() };
                    self.columns.push(Column { name: name.text.clone(), ty, tags: t.tags(), span: name.span });
                    self.computed.push(name.text.clone());
                    self.results.push(Val::Tensor(t));
                }
                v => {
                    let message = format!("a column has a row for each sample, got {}", self.ck.show(&v));
                    self.ck.report(Diagnostic::error("E0509", e.span, message));
                    fine = None;
                }
            }
        }
        fine
    }

    /// The columns that augmentation speaks of and no definition computes, as inputs: ids, and the source's own where these
    /// are the batch.
    fn augment_inputs(&mut self, plain: &[Column], ids: &[Column]) -> Vec<(Column, Val)> {
        let spoken: Vec<String> =
            self.data.augment.iter().flat_map(|(_, e)| names_in(e)).map(|(name, _)| name).collect();
        let mut given = Vec::new();
        for column in plain.iter().chain(ids).filter(|c| spoken.contains(&c.name)) {
            let val = self.input(&column.name, column.ty.clone(), column.tags.clone());
            given.push((column.clone(), val));
        }
        self.columns.retain(|c| !spoken.contains(&c.name));
        given
    }

    /// What training makes of columns: each keeps its type, since outside of training it is as it was.
    fn augmented(&mut self, plain: &[Column]) -> Option<()> {
        // There is no split to speak of: what is drawn differs from epoch to epoch.
        self.ck.statistics = None;
        let sc = item::inner_scope(self.ck, &self.data.reading.scope);
        for (name, val) in self.computed.iter().zip(&self.results) {
            sc.define(name.as_str(), val.clone(), Span::default());
        }
        let mut fine = Some(());
        for (names, e) in &self.data.augment {
            let known: Vec<String> = plain.iter().chain(&self.columns).map(|c| c.name.clone()).collect();
            let stray = names.iter().find(|n| !self.computed.contains(&n.text));
            if let Some(stray) = stray {
                let message = format!("`augment` changes columns, and `{}` is none of them", stray.text);
                let near = nearest(&stray.text, known.iter().map(String::as_str));
                self.ck.report(Diagnostic::error("E0102", stray.span, message).did_you_mean(near));
                fine = None;
                continue;
            }
            self.ck.draw_under(format!("augment of {}", names[0].text));
            self.ck.training = true;
            self.ck.hints = known;
            let v = self.ck.eval(e, &sc);
            self.ck.hints.clear();
            self.ck.training = false;
            let values = match (names.as_slice(), v.is_poison()) {
                (_, true) => None,
                ([_], false) => Some(vec![v]),
                _ => self.ck.unpack(v, names.len(), e.span),
            };
            let Some(values) = values else {
                fine = None;
                continue;
            };
            for (name, v) in names.iter().zip(values) {
                let at = self.computed.iter().position(|n| *n == name.text).expect("it was found above");
                if self.same_type(&self.results[at].clone(), &v, name, e.span).is_none() {
                    fine = None;
                    continue;
                }
                sc.define(name.text.as_str(), v.clone(), name.span);
                self.results[at] = v;
            }
        }
        fine
    }

    fn same_type(&mut self, old: &Val, new: &Val, name: &Ident, span: Span) -> Option<()> {
        if let (Val::Tensor(old), Val::Tensor(new)) = (old, new)
            && (old.dtype, old.shape()) == (new.dtype, new.shape())
        {
            return Some(());
        }
        let (old, new) = (self.ck.show(old), self.ck.show(new));
        let message = format!("`{}` is {old} outside of training, and this makes {new} of it", name.text);
        self.ck.report(Diagnostic::error("E0509", span, message));
        None
    }

    /// The source's column of that name, unless the name stands for something else.
    fn source_column(&mut self, name: &str) -> Option<SourceColumn> {
        let column = match &self.data.source {
            Columns::Known(columns) => columns.iter().find(|c| c.name == name).cloned(),
            Columns::Unnamed if !self.ck.is_known(name, &self.sc) => {
                let (name, row) = (name.to_string(), Vec::new());
                Some(SourceColumn { name, dtype: DType::F32, row, cells: Cells::Either })
            }
            Columns::Unnamed | Columns::Unknown(_) => None,
        }?;
        Some(as_used(self.data, column))
    }

    /// Reports names that are neither columns nor anything else.
    fn unknown(&mut self, e: &Expr) -> bool {
        let Columns::Known(columns) = &self.data.source else { return false };
        let mut found = false;
        for (name, span) in names_in(e) {
            if self.ck.is_known(&name, &self.sc) || columns.iter().any(|c| c.name == name) {
                continue;
            }
            found = true;
            let near = nearest(&name, columns.iter().map(|c| c.name.as_str()));
            let message = format!("`{}` has no column `{name}`", self.data.recipe.source.paths.join(" and "));
            let mut d = Diagnostic::error("E0102", span, message).did_you_mean(near);
            if near.is_none() && columns.len() <= 12 {
                let names: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
                d = d.help(format!("its columns are {}", names.join(", ")));
            }
            self.ck.report(d);
        }
        found
    }
}

/// A column of a table, which says nothing of types, as what it is used as.
fn as_used(data: &Data, column: SourceColumn) -> SourceColumn {
    let is_table = matches!(data.recipe.source.kind, SourceKind::Csv | SourceKind::Tsv | SourceKind::Jsonl);
    let says_nothing = is_table && column.cells != Cells::Texts && column.dtype == DType::F32;
    let dtype = if says_nothing && is_whole(data, &column.name) { DType::I64 } else { column.dtype };
    SourceColumn { dtype, ..column }
}

fn has_rows(t: &Tensor, rows: &Size) -> bool {
    t.axes.first().is_some_and(|a| a.size == *rows)
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
