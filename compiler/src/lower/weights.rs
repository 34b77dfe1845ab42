//! `weights` items: which file a model starts from, and how it may differ. Takes an item and the names of a model's weights;
//! gives its part of the recipe.

use super::item::{self, Reading};
use super::schema;
use super::select::{self, Names};
use crate::check::{Checker, ConfigItem, ItemRef, NetItem, Scope};
use dlc_grammar::ast::{Config, EntryKind, Expr, ExprKind, Rule, Str};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::DType;
use dlc_plan::glob::rename;
use dlc_plan::recipe::Weights;
use std::rc::Rc;

/// A `weights` item: what it says, and where it names its file.
#[derive(Clone, Debug)]
pub struct Rules {
    /// What it says.
    pub weights: Weights,
    /// Where it names its file.
    pub file: Span,
}

/// Where an item names its file.
pub fn file_span(item: &ConfigItem) -> Span {
    value(&item.ast, "file").map_or(item.ast.name.span, |e| e.span)
}

/// The value of an entry.
fn value<'a>(item: &'a Config, key: &str) -> Option<&'a Expr> {
    item.entries.iter().find_map(|entry| match &entry.kind {
        EntryKind::Attr { names, value } if names[0].text == key => Some(value),
        EntryKind::Attr { .. } | EntryKind::Section { .. } | EntryKind::Rule(_) => None,
    })
}

/// The name of what an entry names, with or without arguments.
fn named_by<'a>(item: &'a Config, key: &str) -> Option<&'a str> {
    let e = value(item, key)?;
    let name = if let ExprKind::Call { callee, .. } = &e.kind { callee } else { e };
    if let ExprKind::Name(name) = &name.kind { Some(name) } else { None }
}

/// The `weights` item for a model that is run by itself: the one that its trainings name, or the only one of the spec if no
/// training says for which model it is.
pub fn of_model(ck: &mut Checker, net: &NetItem) -> Option<Rules> {
    let config = |(_, item): &(String, ItemRef)| match item {
        ItemRef::Config(item) => Some(item.clone()),
        ItemRef::Fn(_) | ItemRef::Net(_) | ItemRef::Const(_) | ItemRef::Module(_) => None,
    };
    let items: Vec<Rc<ConfigItem>> = ck.modules.own(net.module).iter().filter_map(config).collect();
    let of_kind = |kind: &'static str| items.iter().filter(move |item| item.ast.kind.text == kind);
    let mut found: Vec<&Rc<ConfigItem>> = of_kind("weights").collect();
    let uses: Vec<_> = of_kind("train").map(|it| (named_by(&it.ast, "model"), named_by(&it.ast, "weights"))).collect();
    let own = |item: &Rc<ConfigItem>, any: bool| {
        let name = Some(item.ast.name.text.as_str());
        uses.iter().any(|(model, weights)| *weights == name && (any || *model == Some(&net.ast.name.text)))
    };
    found.retain(|item| own(item, false) || !own(item, true));
    if let [item] = found[..]
        && item.ast.params.iter().all(|param| param.default.is_some())
    {
        let reading = item::read(ck, item, Vec::new(), item.ast.name.span)?;
        return read(ck, &reading, None).map(|weights| Rules { weights, file: file_span(item) });
    }
    None
}

/// The item that `weights = pretrained` names.
pub fn named(ck: &mut Checker, e: &Expr, sc: &Scope) -> Option<Reading> {
    let (found, given) = item::config(ck, "weights", e, sc)?;
    item::read(ck, &found, given, e.span)
}

/// Reads a `weights` item for a model with these weights; without any, globs over them are not looked at.
pub fn read(ck: &mut Checker, it: &Reading, names: Option<&Names>) -> Option<Weights> {
    let item = it.item.clone();
    let owner = it.owner(&schema::WEIGHTS);
    let found = item::checked(ck, owner, &item.ast.entries);
    let mut weights = Weights { name: item.ast.name.text.clone(), ..Weights::default() };
    let mut errors = Vec::new();
    for (rule, _) in &found.rules {
        if !plain(ck, rule, &it.scope)? {
            continue;
        }
        match rule.verb.text.as_str() {
            "missing" => {
                if let Some(names) = names {
                    names.chosen("missing", &rule.globs, &mut errors);
                }
                weights.missing.extend(rule.globs.iter().map(|g| g.value.clone()));
            }
            "ignore" => {
                rule.globs.iter().for_each(|glob| drop(select::read(glob, &mut errors)));
                weights.ignore.extend(rule.globs.iter().map(|g| g.value.clone()));
            }
            _ => weights.rename.extend(renaming(rule, &mut errors)),
        }
    }
    match found.value("dtype").map(|e| (dtype(e), e.span)) {
        Some((None, span)) => errors.push(Diagnostic::error("E0507", span, "`dtype` is f32, f16 or bf16")),
        Some((dtype, _)) => weights.dtype = dtype,
        None => {}
    }
    let bad = !errors.is_empty();
    item::report_all(ck, errors);
    match found.value("file") {
        Some(e) => weights.file = item::text(ck, "file", e, &it.scope)?,
        None => {
            ck.report(schema::missing(owner, "file"));
            return None;
        }
    }
    (!bad).then_some(weights)
}

/// A type of real numbers, by its name.
fn dtype(e: &Expr) -> Option<DType> {
    let ExprKind::Name(name) = &e.kind else { return None };
    DType::parse(name).filter(|dtype| dtype.is_float())
}

/// Whether a rule applies; reports parts that only other rules have.
fn plain(ck: &mut Checker, rule: &Rule, sc: &Scope) -> Option<bool> {
    item::no_parts(ck, rule, rule.verb.text == "rename", false)?;
    item::applies(ck, rule, sc)
}

/// `rename "a.**" => "b.**"`.
fn renaming(rule: &Rule, errors: &mut Vec<Diagnostic>) -> Option<(String, String)> {
    let (Some(to), [from]) = (&rule.rename, rule.globs.as_slice()) else {
        let d = Diagnostic::error("E0505", rule.verb.span, "`rename` takes one name and another");
        errors.push(d.help("`rename \"**.gamma\" => \"**.weight\"`"));
        return None;
    };
    select::read(from, errors)?;
    // A name with one segment for each wildcard shows whether the rule makes sense.
    match rename(&example(from), &from.value, &to.value) {
        Ok(_) => Some((from.value.clone(), to.value.clone())),
        Err(why) => {
            errors.push(select::bad(to.span, why));
            None
        }
    }
}

/// A name that a glob matches.
fn example(glob: &Str) -> String {
    let mut text = String::new();
    let mut rest = glob.value.as_str();
    while let Some(open) = rest.find('{') {
        let inside = &rest[open + 1..];
        let close = inside.find('}').unwrap_or(inside.len());
        text.push_str(&rest[..open]);
        text.push_str(inside[..close].split(',').next().unwrap_or("").trim());
        rest = inside.get(close + 1..).unwrap_or("");
    }
    text.push_str(rest);
    text.replace("**", "a").replace('*', "a")
}
