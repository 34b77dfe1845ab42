//! Sources: `csv("a.csv", label = 1)`. Takes the expression of a `data` item's `source`, `valid` or `test`; gives the kind of
//! file, where it is and its settings, and what columns it has, as far as that can be known.

use super::data::{Cells, Columns, Files, SourceColumn};
use super::item;
use crate::check::{Checker, Num, NumVal, Scope, Val};
use dlc_grammar::ast::{Arg as AstArg, Expr, ExprKind, Ident};
use dlc_grammar::{Diagnostic, nearest};
use dlc_plan::DType;
use dlc_plan::recipe::{Arg, Source, SourceKind};

/// Reads a source.
pub fn read(ck: &mut Checker, e: &Expr, sc: &Scope) -> Option<Source> {
    let ExprKind::Call { callee, args } = &e.kind else {
        let message = "a source is a kind of file and where it is";
        ck.report(Diagnostic::error("E0507", e.span, message).help("`csv(\"data.csv\")`"));
        return None;
    };
    let kind = kind(ck, callee)?;
    let mut source = Source { kind, paths: Vec::new(), args: Vec::new() };
    for arg in args {
        match &arg.name {
            None => source.paths.push(item::text(ck, "the path of a source", &arg.value, sc)?),
            Some(name) => {
                let value = argument(ck, name, arg, sc)?;
                fits(ck, kind, name, &value, arg)?;
                source.args.push((name.text.clone(), value));
            }
        }
    }
    if source.paths.is_empty() {
        let message = format!("`{}` needs a path", kind.name());
        ck.report(Diagnostic::error("E0107", e.span, message));
        return None;
    }
    Some(source)
}

fn kind(ck: &mut Checker, callee: &Expr) -> Option<SourceKind> {
    let name = ck.text(callee.span).to_string();
    if let Some(kind) = SourceKind::parse(&name) {
        return Some(kind);
    }
    let known: Vec<&str> = SourceKind::ALL.iter().map(|(_, n)| *n).collect();
    let near = nearest(&name, known.iter().copied());
    let d = Diagnostic::error("E0102", callee.span, format!("no source is called `{name}`"));
    ck.report(if near.is_some() { d.did_you_mean(near) } else { d.help(format!("there is {}", known.join(", "))) });
    None
}

fn argument(ck: &mut Checker, name: &Ident, arg: &AstArg, sc: &Scope) -> Option<Arg> {
    if let ExprKind::Name(text) = &arg.value.kind
        && (DType::parse(text).is_some() || WIDTHS.contains(&text.as_str()))
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

/// The types of ids in a file of them, which are not all types of the language.
const WIDTHS: [&str; 2] = ["u16", "u32"];

/// Checks a setting; in tables, what is no setting names a column.
fn fits(ck: &mut Checker, kind: SourceKind, name: &Ident, value: &Arg, arg: &AstArg) -> Option<()> {
    let (known, columns): (&[&str], bool) = match kind {
        SourceKind::Csv => (&[], true),
        SourceKind::Tsv => (&["quote"], true),
        SourceKind::Images => (&["size", "height", "width", "fit"], false),
        SourceKind::Tokens => (&["dtype"], false),
        SourceKind::Jsonl
        | SourceKind::Text
        | SourceKind::Safetensors
        | SourceKind::Npz
        | SourceKind::Idx
        | SourceKind::Cifar => (&[], false),
    };
    let wants = match (name.text.as_str(), value) {
        (n, _) if !columns && !known.contains(&n) => {
            let message = format!("`{}` has no setting `{n}`", kind.name());
            let near = nearest(n, known.iter().copied());
            let d = Diagnostic::error("E0105", name.span, message);
            ck.report(match (near, known) {
                (None, [_, ..]) => d.help(format!("its settings are {}", known.join(", "))),
                (near, _) => d.did_you_mean(near),
            });
            return None;
        }
        ("fit", Arg::Text(how)) if FITS.contains(&how.as_str()) => return Some(()),
        ("fit", _) if !columns => "\"stretch\" or \"crop\"",
        ("dtype", Arg::Text(t)) if ["u8", "u16", "i32", "u32", "i64"].contains(&t.as_str()) => return Some(()),
        ("dtype", _) if !columns => "u8, u16, i32, u32 or i64",
        ("quote", Arg::Bool(_)) if known.contains(&"quote") => return Some(()),
        (_, Arg::Int(1..)) => return Some(()),
        (_, _) if columns => "how many values of a line a column has, 1 or more",
        _ => "a whole number, 1 or more",
    };
    let message = format!("`{}` is {wants}", name.text);
    ck.report(Diagnostic::error("E0507", arg.value.span, message));
    None
}

/// How pictures of other sizes are made to fit.
const FITS: [&str; 2] = ["stretch", "crop"];

/// What is known of a source's columns: from its kind and arguments, or from the files.
pub fn columns(files: &mut dyn Files, source: &Source) -> Columns {
    let number = |name: &str, dtype, row: &[usize]| SourceColumn {
        name: name.to_string(),
        dtype,
        row: row.to_vec(),
        cells: Cells::Numbers,
    };
    match source.kind {
        SourceKind::Csv | SourceKind::Tsv if source.args.iter().any(|(_, arg)| matches!(arg, Arg::Int(_))) => {
            Columns::Known(source.args.iter().filter_map(table_column).collect())
        }
        SourceKind::Csv | SourceKind::Tsv | SourceKind::Jsonl => {
            files.columns(source).map_or(Columns::Unnamed, Columns::Known)
        }
        SourceKind::Text => {
            Columns::Known(vec![SourceColumn { cells: Cells::Texts, ..number("text", DType::U8, &[]) }])
        }
        SourceKind::Tokens => {
            Columns::Known(vec![SourceColumn { cells: Cells::Ids, ..number("tokens", DType::I64, &[]) }])
        }
        SourceKind::Cifar => Columns::Known(vec![
            number("pixels", DType::U8, &[3, 32, 32]),
            number("label", DType::U8, &[]),
            number("coarse", DType::U8, &[]),
        ]),
        SourceKind::Images => match source.picture_size() {
            Some((height, width)) => {
                Columns::Known(vec![number("pixels", DType::U8, &[3, height, width]), number("label", DType::I64, &[])])
            }
            None => files.columns(source).map_or_else(Columns::Unknown, Columns::Known),
        },
        SourceKind::Safetensors | SourceKind::Npz | SourceKind::Idx => {
            files.columns(source).map_or_else(Columns::Unknown, Columns::Known)
        }
    }
}

/// A column of a table that has no line of names.
fn table_column((name, arg): &(String, Arg)) -> Option<SourceColumn> {
    let Arg::Int(n) = arg else { return None };
    let (row, cells) = if *n == 1 { (Vec::new(), Cells::Either) } else { (vec![*n as usize], Cells::Numbers) };
    Some(SourceColumn { name: name.clone(), dtype: DType::F32, row, cells })
}

/// Makes `a.b` one name where it speaks of a member of a member.
pub fn join_paths(ck: &mut Checker, kind: SourceKind, columns: &mut [(Vec<Ident>, Expr)], sc: &Scope) {
    if kind == SourceKind::Jsonl {
        columns.iter_mut().for_each(|(_, e)| join(ck, e, sc));
    }
}

fn join(ck: &mut Checker, e: &mut Expr, sc: &Scope) {
    if let Some(path) = path(e)
        && let Some((first, _)) = path.split_once('.')
        && !ck.is_known(first, sc)
    {
        e.kind = ExprKind::Name(path);
        return;
    }
    e.each_part_mut(&mut |part| join(ck, part, sc));
}

/// `a.b.c`, if that is what it is.
fn path(e: &Expr) -> Option<String> {
    match &e.kind {
        ExprKind::Name(name) => Some(name.clone()),
        ExprKind::Field { base, name } => Some(format!("{}.{}", path(base)?, name.text)),
        _ => None,
    }
}
