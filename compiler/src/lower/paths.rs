//! Paths of files in the text of a spec: those of imports, sources, weights, adapters and tokenizers. Takes a tree; gives the
//! literals that are such paths, whether they stand where a file is named or are the value of a name that stands there.
//!
//! A path is relative to the folder of the file that it is written in.

use crate::check::Builtin;
use dlc_grammar::ast::{Arg, Config, Entry, EntryKind, Expr, ExprKind, Item, Spec, StageKind, Str};
use dlc_grammar::parse::parse;
use dlc_grammar::print::quoted;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

/// A path that is relative to a folder, as one that is relative to whatever that folder is relative to.
pub fn below(folder: &str, path: &str) -> String {
    match folder.is_empty() || Path::new(path).is_absolute() {
        true => path.to_string(),
        false => format!("{}/{path}", folder.strip_suffix('/').unwrap_or(folder)),
    }
}

/// The folder of a path; empty for that of a plain name.
pub fn folder_of(path: &str) -> &str {
    let end = path.rfind(['/', '\\']).map_or(0, |slash| slash.max(1));
    &path[..end]
}

/// A text in which every path is as `to` makes it.
pub fn moved(text: &str, to: &dyn Fn(&str) -> String) -> String {
    let (mut spec, _) = parse(text, 0);
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    let mut edit = |path: &mut Str| edits.push((path.span.range(), quoted(&to(&path.value))));
    imports(&mut spec, &mut edit);
    files(&mut spec, &mut edit);
    edits.sort_by_key(|(range, _)| range.start);
    edits.dedup();
    let mut text = text.to_string();
    for (range, new) in edits.into_iter().rev() {
        text.replace_range(range, &new);
    }
    text
}

/// Visits the paths of imports.
pub fn imports(spec: &mut Spec, visit: &mut dyn FnMut(&mut Str)) {
    for item in &mut spec.items {
        if let Item::Import(import) = item {
            visit(&mut import.path);
        }
    }
}

/// Visits all other paths.
pub fn files(spec: &mut Spec, visit: &mut dyn FnMut(&mut Str)) {
    // For each item, its parameters that are paths, in order; the names of constants that are.
    let mut params: BTreeMap<String, Vec<(usize, String)>> = BTreeMap::new();
    let mut named: BTreeSet<String> = BTreeSet::new();
    for config in spec.items.iter_mut().filter_map(config) {
        let mut names = BTreeSet::new();
        each_place(config, &mut |e| names_in(e, &mut names));
        // A default may be another parameter.
        for param in config.params.iter_mut().rev() {
            if let (true, Some(default)) = (names.contains(&param.name.text), &mut param.default) {
                names_in(default, &mut names);
            }
        }
        let own = config.params.iter().map(|param| param.name.text.clone()).enumerate();
        let (own, _): (Vec<_>, Vec<_>) = own.partition(|(_, name)| names.contains(name));
        names.retain(|name| config.params.iter().all(|param| param.name.text != *name));
        params.insert(config.name.text.clone(), own);
        named.append(&mut names);
    }
    for item in &mut spec.items {
        match item {
            Item::Config(config) => {
                for (at, param) in config.params.iter_mut().enumerate() {
                    let is_path = params.get(&config.name.text).is_some_and(|own| own.iter().any(|(n, _)| *n == at));
                    if let Some(default) = param.default.as_mut().filter(|_| is_path) {
                        literals(default, visit);
                    }
                }
                each_place(config, &mut |e| literals(e, visit));
                each_argument(config, &params, &mut |e| literals(e, visit));
            }
            Item::Const(constant) if named.contains(&constant.name.text) => {
                literals(&mut constant.value, visit);
            }
            Item::Const(_) | Item::Import(_) | Item::Fn(_) | Item::Net(_) => {}
        }
    }
}

fn config(item: &mut Item) -> Option<&mut Config> {
    if let Item::Config(config) = item { Some(config) } else { None }
}

/// Visits the expressions of an item that stand where a file is named.
fn each_place(config: &mut Config, visit: &mut dyn FnMut(&mut Expr)) {
    let kind = config.kind.text.clone();
    for entry in &mut config.entries {
        match (kind.as_str(), &mut entry.kind) {
            ("data", EntryKind::Attr { names, value }) if is_one_of(names, &["source", "valid", "test"]) => {
                if let ExprKind::Call { args, .. } = &mut value.kind {
                    each_positional(args, visit);
                }
            }
            ("data", EntryKind::Section { name, entries }) if name.text == "columns" => {
                for Entry { kind, .. } in entries {
                    if let EntryKind::Attr { value, .. } = kind {
                        each_read(value, visit);
                    }
                }
            }
            ("weights" | "lora", EntryKind::Attr { names, value }) if is_one_of(names, &["file"]) => visit(value),
            _ => {}
        }
    }
}

fn is_one_of(names: &[dlc_grammar::ast::Ident], keys: &[&str]) -> bool {
    names.first().is_some_and(|name| keys.contains(&name.text.as_str()))
}

fn each_positional(args: &mut [Arg], visit: &mut dyn FnMut(&mut Expr)) {
    args.iter_mut().filter(|arg| arg.name.is_none()).for_each(|arg| visit(&mut arg.value));
}

/// Visits what is given to functions that read a file.
fn each_read(e: &mut Expr, visit: &mut dyn FnMut(&mut Expr)) {
    if let ExprKind::Call { callee, args } = &mut e.kind
        && matches!(&callee.kind, ExprKind::Name(name) if Builtin::named(name).is_some_and(|b| b.reads_file()))
    {
        each_positional(args, visit);
    }
    if let ExprKind::Pipe { input, stages } = &mut e.kind {
        each_read(input, visit);
        for stage in stages {
            if let StageKind::Expr(stage) = &mut stage.what {
                each_read(stage, visit);
            }
        }
        return;
    }
    e.each_part_mut(&mut |part| each_read(part, visit));
}

/// Visits what a training gives for parameters that are paths: `data = digits("a.csv")`.
fn each_argument(
    config: &mut Config,
    params: &BTreeMap<String, Vec<(usize, String)>>,
    visit: &mut dyn FnMut(&mut Expr),
) {
    for entry in &mut config.entries {
        let EntryKind::Attr { value, .. } = &mut entry.kind else { continue };
        let ExprKind::Call { callee, args } = &mut value.kind else { continue };
        let ExprKind::Name(name) = &callee.kind else { continue };
        let Some(paths) = params.get(name) else { continue };
        for (at, arg) in args.iter_mut().enumerate() {
            let is_path = |(n, name): &(usize, String)| arg.name.as_ref().map_or(*n == at, |own| own.text == *name);
            if paths.iter().any(is_path) {
                visit(&mut arg.value);
            }
        }
    }
}

/// The names that stand for a path where an expression is one.
fn names_in(e: &mut Expr, names: &mut BTreeSet<String>) {
    match &mut e.kind {
        ExprKind::Name(name) => drop(names.insert(name.clone())),
        ExprKind::If { arms, otherwise } => {
            arms.iter_mut().for_each(|arm| names_in(&mut arm.value, names));
            names_in(otherwise, names);
        }
        _ => {}
    }
}

/// Visits the literals that are the path where an expression is one.
fn literals(e: &mut Expr, visit: &mut dyn FnMut(&mut Str)) {
    match &mut e.kind {
        ExprKind::Str(path) => visit(path),
        ExprKind::If { arms, otherwise } => {
            arms.iter_mut().for_each(|arm| literals(&mut arm.value, visit));
            literals(otherwise, visit);
        }
        _ => {}
    }
}
