//! Columns of ids: what `columns` makes of texts by `tokenize`, `characters` and `windows`, which the host does before
//! anything is computed. Takes the definitions of a `data` item; gives encodings for the recipe, and columns with their types.

use super::columns::Column;
use super::data::{Cells, Columns, Data, SourceColumn};
use crate::check::{Builtin, Checker, Raw, Scope, Tag, Val, names_in};
use crate::program::Ty;
use dlc_grammar::ast::{Expr, ExprKind, Ident, StageKind};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::recipe::{EncodedRows, Encoding};
use dlc_plan::{DType, Size};

/// How a batch is counted: the size of its rows, and for names of columns the size that their second axis has in the model.
pub struct Counted<'a> {
    /// The name of the number of rows.
    pub rows: &'a str,
    /// Names of the model's inputs, each with that of its second axis.
    pub lengths: &'a [(String, String)],
}

/// Whether a definition says how ids are made.
pub fn encodes(e: &Expr) -> bool {
    called(e).is_some_and(|(callee, _)| is_encoder(callee))
}

fn is_encoder(callee: &Expr) -> bool {
    matches!(&callee.kind, ExprKind::Name(name) if Builtin::named(name).is_some_and(|b| b.encodes()))
}

/// What is called last, and on what.
fn called(e: &Expr) -> Option<(&Expr, Vec<&Expr>)> {
    match &e.kind {
        ExprKind::Call { callee, args } => Some((callee, args.iter().map(|a| &a.value).collect())),
        ExprKind::Pipe { stages, .. } => match &stages.last()?.what {
            StageKind::Expr(last) => called(last).or(Some((last, Vec::new()))),
            StageKind::Rearrange(_) => None,
        },
        _ => None,
    }
}

/// The names that an expression gives to what makes ids: columns of texts, where these may be either.
pub fn texts_in(e: &Expr) -> Vec<String> {
    let mut found = Vec::new();
    gather(&mut e.clone(), &mut found);
    found
}

fn gather(e: &mut Expr, found: &mut Vec<String>) {
    if let ExprKind::Pipe { input, stages } = &e.kind
        && let Some(StageKind::Expr(first)) = stages.first().map(|s| &s.what)
        && is_encoder(called(first).map_or(first, |(callee, _)| callee))
    {
        found.extend(name(input));
    }
    if let Some((_, args)) = called(e).filter(|(callee, _)| is_encoder(callee)) {
        found.extend(args.into_iter().filter_map(name));
    }
    e.each_part_mut(&mut |part| gather(part, found));
}

fn name(e: &Expr) -> Option<String> {
    if let ExprKind::Name(name) = &e.kind { Some(name.clone()) } else { None }
}

/// The columns of ids among the definitions, and how they are made. The texts' names stand for them in the scope.
pub fn encoded(ck: &mut Checker, data: &Data, counted: &Counted, sc: &Scope) -> Option<(Vec<Encoding>, Vec<Column>)> {
    let (mut encodings, mut columns) = (Vec::new(), Vec::new());
    let mut fine = true;
    for (names, e) in data.columns.iter().filter(|(_, e)| encodes(e)) {
        let made = match ck.eval(e, sc) {
            Val::Raw(Raw::Ids(made)) => named(ck, &made, names, e.span, counted),
            Val::Poison => None,
            v => {
                let message = format!("a column has a row for each sample, got {}", ck.show(&v));
                ck.report(Diagnostic::error("E0509", e.span, message));
                None
            }
        };
        match made {
            Some((encoding, made)) => {
                encodings.push(encoding);
                columns.extend(made);
            }
            None => fine = false,
        }
    }
    let windows = |e: &Encoding| matches!(e.rows, EncodedRows::Windows { .. });
    if encodings.iter().any(windows)
        && let Some((_, other)) = data.columns.get(1)
    {
        let message = "where texts are cut into windows, the windows are the rows, and nothing else has as many";
        ck.report(Diagnostic::error("E0509", other.span, message));
        return None;
    }
    fine.then_some((encodings, columns))
}

/// An encoding under names, and its columns.
fn named(
    ck: &mut Checker,
    made: &Encoding,
    names: &[Ident],
    span: Span,
    counted: &Counted,
) -> Option<(Encoding, Vec<Column>)> {
    let most = match made.rows {
        EncodedRows::Windows { .. } => 2,
        EncodedRows::Padded(_) if made.of.len() > 1 => 3,
        EncodedRows::Padded(_) => 2,
    };
    if names.len() > most {
        let what = match made.rows {
            EncodedRows::Windows { .. } => "windows are ids, and the ids that follow each of them",
            EncodedRows::Padded(_) if most == 3 => "pairs are ids, a mask, and which text an id belongs to",
            EncodedRows::Padded(_) => "texts are ids and a mask",
        };
        let message = format!("{} names, and {what}", names.len());
        ck.report(Diagnostic::error("E0312", span, message));
        return None;
    }
    let known = |name: &Ident| counted.lengths.iter().find(|(input, _)| *input == name.text).map(|(_, axis)| axis);
    let length = names.iter().find_map(known).cloned().unwrap_or_else(|| format!("length of {}", names[0].text));
    let (size, name) = match made.rows {
        EncodedRows::Windows { length, .. } | EncodedRows::Padded(Some(length)) => (Size::from(length as i64), None),
        EncodedRows::Padded(None) => (ck.dynamic(&length), Some(length.as_str().into())),
    };
    let rows = ck.dynamic(counted.rows);
    let column = |name_of: &Ident| {
        let tag = |name| Some(Tag { name: Some(name), env: 0, origin: name_of.span });
        Column {
            name: name_of.text.clone(),
            ty: Ty { dtype: DType::I64, shape: vec![rows.clone(), size.clone()] },
            tags: vec![tag(counted.rows.into()), name.clone().and_then(tag)],
            span: name_of.span,
        }
    };
    let columns: Vec<Column> = names.iter().map(column).collect();
    let names = names.iter().map(|n| n.text.clone()).collect();
    Some((Encoding { length, columns: names, ..made.clone() }, columns))
}

/// Whether a name is that of a column of numbers.
pub fn is_of_numbers(data: &Data, name: &str) -> bool {
    let numbers = |c: &SourceColumn| c.name == name && c.cells == Cells::Numbers;
    matches!(&data.source, Columns::Known(columns) if columns.iter().any(numbers))
}

/// Whether a name must stand for texts or ids in what follows, and what it stands for.
pub fn raw_column(data: &Data, name: &str, texts: &[String]) -> Option<Raw> {
    let used = texts.iter().any(|t| t == name);
    let cells = match &data.source {
        Columns::Known(columns) => columns.iter().find(|c| c.name == name)?.cells,
        Columns::Unnamed => Cells::Either,
        Columns::Unknown(_) => return None,
    };
    match cells {
        Cells::Texts => Some(Raw::Texts(name.into())),
        Cells::Ids => Some(Raw::stored(name)),
        Cells::Either if used => Some(Raw::Texts(name.into())),
        Cells::Either | Cells::Numbers => None,
    }
}

/// The names in those expressions that are not about ids.
pub fn names_of_numbers(data: &Data) -> Vec<(String, Span)> {
    data.columns.iter().filter(|(_, e)| !encodes(e)).flat_map(|(_, e)| names_in(e)).collect()
}
