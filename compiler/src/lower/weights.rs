//! `weights` items: which file a model starts from, and how it may differ. Takes an item and the names of a model's weights;
//! gives its part of the recipe.

use super::item::{self, Reading};
use super::schema;
use super::select::{self, Names};
use crate::check::{Checker, Scope};
use dlc_grammar::Diagnostic;
use dlc_grammar::ast::{Expr, Rule, Str};
use dlc_plan::glob::rename;
use dlc_plan::recipe::Weights;

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
