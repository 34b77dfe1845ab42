//! `--set ITEM.NAME=VALUE`: gives a parameter or an entry of an item another value. Takes a spec's text, gives the text with
//! the value in the old one's place, so that everything after it sees what the user would have written.

use dlc_grammar::ast::{Entry, EntryKind, Item, Param, Spec};
use dlc_grammar::diagnostic::{Diagnostic, nearest};
use dlc_grammar::parse::parse;
use dlc_grammar::{Sources, Span};

/// What is said of a mistake in a `--set`.
pub const CODE: &str = "E0901";

/// A place in the text and what comes there.
struct Edit {
    span: Span,
    text: String,
}

/// The text with all values set, the last one winning. What cannot be set is said of the texts in `Sources`.
pub fn apply(text: &str, sets: &[String]) -> Result<String, (Vec<Diagnostic>, Sources)> {
    let mut text = text.to_owned();
    for set in sets {
        text = apply_one(&text, set)?;
    }
    Ok(text)
}

fn apply_one(text: &str, set: &str) -> Result<String, (Vec<Diagnostic>, Sources)> {
    let global = |diagnostic| (vec![diagnostic], Sources::new());
    let Some((path, value)) = set.split_once('=') else {
        return Err(global(Diagnostic::global(CODE, format!("`--set {set}` has no `=`")).help("ITEM.NAME=VALUE")));
    };
    let (path, value) = (path.trim(), value.trim());
    let Some((item, rest)) = path.split_once('.') else {
        let error = Diagnostic::global(CODE, format!("`--set {path}` names an item, and nothing of it"));
        return Err(global(error.help("ITEM.NAME=VALUE, such as `--set fit.lr=1e-3`")));
    };
    check_value(path, value)?;
    let (spec, _) = parse(text, 0);
    let rest: Vec<&str> = rest.split('.').collect();
    let edit = find(&spec, item, &rest, value).map_err(global)?;
    let mut edited = text.to_owned();
    edited.replace_range(edit.span.range(), &edit.text);
    Ok(edited)
}

/// A value must be one expression: it takes the place of one.
fn check_value(path: &str, value: &str) -> Result<(), (Vec<Diagnostic>, Sources)> {
    const START: &str = "const value = ";
    let text = format!("{START}{value}");
    let (spec, diagnostics) = parse(&text, 0);
    if diagnostics.iter().any(Diagnostic::is_error) {
        return Err((diagnostics, Sources::single(format!("--set {path}"), text)));
    }
    match spec.items.as_slice() {
        [Item::Const(_)] => Ok(()),
        _ => Err((vec![Diagnostic::global(CODE, format!("--set {path}: `{value}` is not one value"))], Sources::new())),
    }
}

/// The edit that sets `rest` of an item.
fn find(spec: &Spec, item_name: &str, rest: &[&str], value: &str) -> Result<Edit, Diagnostic> {
    let names = || spec.items.iter().filter_map(|item| item.name()).map(|name| name.text.as_str());
    let found = spec.items.iter().find(|item| item.name().is_some_and(|name| name.text == item_name));
    let Some(item) = found else {
        let error = Diagnostic::global(CODE, format!("--set: no item is called `{item_name}`"));
        return Err(error.did_you_mean(nearest(item_name, names())));
    };
    match (item, rest) {
        (Item::Const(_) | Item::Import(_), _) => {
            Err(Diagnostic::global(CODE, format!("--set: `{item_name}` has no parameters")))
        }
        (Item::Fn(item), [name]) => set_param(&item.params, item_name, name, value),
        (Item::Net(item), [name]) => set_param(&item.config, item_name, name, value),
        (Item::Config(item), [name]) if item.params.iter().any(|param| param.name.text == **name) => {
            set_param(&item.params, item_name, name, value)
        }
        (Item::Config(item), path) => {
            let params = item.params.iter().map(|param| param.name.text.as_str()).collect();
            set_entry(&item.entries, params, item_name, path, value)
        }
        (Item::Fn(_) | Item::Net(_), path) => {
            Err(Diagnostic::global(CODE, format!("--set: `{item_name}` has nothing called `{}`", path.join("."))))
        }
    }
}

/// Another default for a parameter.
fn set_param(params: &[Param], item: &str, name: &str, value: &str) -> Result<Edit, Diagnostic> {
    let Some(param) = params.iter().find(|param| param.name.text == name) else {
        let error = Diagnostic::global(CODE, format!("--set: `{item}` has no parameter `{name}`"));
        return Err(error.did_you_mean(nearest(name, params.iter().map(|param| param.name.text.as_str()))));
    };
    Ok(match &param.default {
        Some(default) => Edit { span: default.outer(), text: value.to_owned() },
        None => Edit { span: param.span.at_end(), text: format!(" = {value}") },
    })
}

/// Another value for an entry of `owner`, perhaps within sections. `known` are names besides the entries'.
fn set_entry<'a>(
    entries: &'a [Entry],
    mut known: Vec<&'a str>,
    owner: &str,
    path: &[&str],
    value: &str,
) -> Result<Edit, Diagnostic> {
    let (name, rest) = path.split_first().map_or(("", path), |(name, rest)| (*name, rest));
    for entry in entries {
        match &entry.kind {
            EntryKind::Attr { names, value: old }
                if rest.is_empty() && names.iter().any(|known| known.text == name) =>
            {
                return Ok(Edit { span: old.outer(), text: value.to_owned() });
            }
            EntryKind::Section { name: section, entries } if !rest.is_empty() && section.text == name => {
                return set_entry(entries, Vec::new(), &format!("{owner}.{name}"), rest, value);
            }
            EntryKind::Attr { .. } | EntryKind::Section { .. } | EntryKind::Rule(_) => known.extend(entry_names(entry)),
        }
    }
    let error = Diagnostic::global(CODE, format!("--set: `{owner}` has no parameter or entry `{name}`"));
    Err(error.did_you_mean(nearest(name, known)))
}

/// What an entry can be set by: its keys, or its name where it is a section.
fn entry_names(entry: &Entry) -> Vec<&str> {
    match &entry.kind {
        EntryKind::Attr { names, .. } => names.iter().map(|name| name.text.as_str()).collect(),
        EntryKind::Section { name, .. } => vec![name.text.as_str()],
        EntryKind::Rule(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: &str = "\
fn scaled(x, by) = x * by
model M(hidden = [8, 4], p = 0.1)(x: [B, 4]) -> y: [B, 4] { return x } // last
data d { source = csv(\"d.csv\")  split { train = 0.8  valid = (1 - 0.8) } }
train fit(lr = 1e-3) { model = M()  epochs = 20 }
";

    fn set(sets: &[&str]) -> Result<String, String> {
        let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
        apply(SPEC, &sets).map_err(|(diagnostics, _)| {
            let first = &diagnostics[0];
            [&[first.message.clone()], first.help.as_slice()].concat().join(" / ")
        })
    }

    #[test]
    fn values_take_the_place_of_values() {
        let done = set(&["fit.lr = 3e-4", "M.hidden=[16]", "M.p=if 1 > 2 { 0 } else { -1 }", "scaled.by=2"]);
        let done = done.expect("all are there");
        assert!(done.contains("train fit(lr = 3e-4)"), "{done}");
        assert!(done.contains("model M(hidden = [16], p = if 1 > 2 { 0 } else { -1 })"), "{done}");
        assert!(done.contains("fn scaled(x, by = 2)"), "{done}");
        assert!(done.contains("// last"), "{done}");
        let done = set(&["fit.epochs=3", "fit.epochs=5", "d.split.valid=0.1"]).expect("all are there");
        assert!(done.contains("model = M()  epochs = 5 }"), "{done}");
        assert!(done.contains("train = 0.8  valid = 0.1 }"), "{done}");
    }

    #[test]
    fn unknown_names_are_errors() {
        let error = |text: &str| set(&[text]).expect_err("it cannot be set");
        assert_eq!(error("fit.lrr=1"), "--set: `fit` has no parameter or entry `lrr` / did you mean `lr`?");
        assert_eq!(error("fitt.lr=1"), "--set: no item is called `fitt` / did you mean `fit`?");
        assert_eq!(error("M.hiden=1"), "--set: `M` has no parameter `hiden` / did you mean `hidden`?");
        assert_eq!(
            error("d.split.vali=1"),
            "--set: `d.split` has no parameter or entry `vali` / did you mean `valid`?"
        );
        assert_eq!(error("d.split=1"), "--set: `d` has no parameter or entry `split`");
        assert_eq!(error("M.p.q=1"), "--set: `M` has nothing called `p.q`");
        assert!(error("fit=1").starts_with("`--set fit` names an item, and nothing of it"));
        assert!(error("fit.lr").starts_with("`--set fit.lr` has no `=`"));
    }

    #[test]
    fn a_value_is_one_value() {
        for bad in ["", "1) {", "1, 2", "1 } train t { ", "2 const b = 3", "# 1", "(", "\"a"] {
            assert!(set(&[&format!("fit.lr={bad}")]).is_err(), "{bad}");
        }
    }
}
