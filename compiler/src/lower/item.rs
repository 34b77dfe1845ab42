//! Reading configuration items: an item's parameters become names, and its values become numbers, truths and texts. Takes
//! items and the checker that evaluates expressions; mistakes are reported to it.

use super::schema::{self, Entries, Key, Owner};
use crate::check::{Checker, ConfigItem, Found, Given, ItemRef, Kind, Num, NumVal, Owner as Body, Scope, Val};
use dlc_grammar::ast::{Arg, Entry, EntryKind, Expr, ExprKind, Ident, Rule};
use dlc_grammar::{Diagnostic, Span, nearest};
use dlc_plan::{Host, HostVar};
use std::rc::Rc;

/// An item that is being read: where its expressions are evaluated, and what it is called in messages.
pub struct Reading {
    /// The item.
    pub item: Rc<ConfigItem>,
    /// Its parameters, and what else its expressions may name.
    pub scope: Scope,
    /// What it is to the user: `train fit`.
    pub title: String,
}

impl Reading {
    /// The item as an owner of keys.
    pub fn owner(&self, keys: &'static [Key]) -> Owner<'_> {
        Owner { name: &self.title, span: self.item.ast.name.span, keys }
    }
}

/// Begins to read an item: its parameters get what is given for them, or their defaults.
pub fn read(ck: &mut Checker, item: &Rc<ConfigItem>, given: Vec<Given>, span: Span) -> Option<Reading> {
    let scope = plain_scope(ck, item.module);
    let title = schema::title(&item.ast);
    let bound = ck.bind(&title, "parameter", &item.ast.params, given, span)?;
    for (param, given) in item.ast.params.iter().zip(bound) {
        let val = match (given, &param.default) {
            (Some(given), _) => given.val,
            (None, Some(default)) => ck.eval(default, &scope),
            (None, None) => {
                let message = format!("`{title}` needs `{}`", param.name.text);
                ck.report(Diagnostic::error("E0107", span, message));
                Val::Poison
            }
        };
        scope.define(param.name.text.as_str(), val, param.span);
    }
    Some(Reading { item: item.clone(), scope, title })
}

/// A scope of a module in which nothing can have weights.
pub fn plain_scope(ck: &mut Checker, module: u16) -> Scope {
    let env = ck.new_env();
    Scope::module(module).child(Kind::Body(Body { net: false, env }))
}

/// The names that change from step to step: `step`, `steps`, `epoch`.
pub fn define_step(scope: &Scope) {
    for (name, var) in [("step", HostVar::Step), ("steps", HostVar::Steps), ("epoch", HostVar::Epoch)] {
        if scope.get(name).is_none() {
            scope.define(name, Val::host(Host::Var(var)), Span::default());
        }
    }
}

/// The checked entries of a section.
pub fn section<'a>(ck: &mut Checker, name: &Ident, entries: &'a [Entry], keys: &'static [Key]) -> Entries<'a> {
    checked(ck, Owner { name: &name.text, span: name.span, keys }, entries)
}

/// The checked entries of an owner.
pub fn checked<'a>(ck: &mut Checker, owner: Owner, entries: &'a [Entry]) -> Entries<'a> {
    let mut errors = Vec::new();
    let found = schema::check(owner, entries, &mut errors);
    errors.into_iter().for_each(|d| ck.report(d));
    found
}

/// Reports what a function without a checker has found.
pub fn report_all(ck: &mut Checker, errors: Vec<Diagnostic>) {
    errors.into_iter().for_each(|d| ck.report(d));
}

/// A value that is not what its key takes.
fn unfit(ck: &mut Checker, key: &str, wants: &str, e: &Expr, v: &Val) {
    if v.is_poison() {
        return;
    }
    let message = format!("`{key}` is {wants}, got {}", ck.show(v));
    ck.report(Diagnostic::error("E0507", e.span, message));
}

/// A number that may change from step to step.
pub fn number(ck: &mut Checker, key: &str, e: &Expr, sc: &Scope) -> Option<NumVal> {
    let v = ck.eval(e, sc);
    match v {
        Val::Num(Num { value: n @ (NumVal::Int(_) | NumVal::Float(_) | NumVal::Host(_)), .. }) => Some(n),
        v => {
            unfit(ck, key, "a number", e, &v);
            None
        }
    }
}

/// A whole number that is known now, `least` or more.
pub fn count(ck: &mut Checker, key: &str, e: &Expr, sc: &Scope, least: u64) -> Option<u64> {
    let v = ck.eval(e, sc);
    let n = match &v {
        Val::Num(Num { value: NumVal::Int(n), .. }) => u64::try_from(*n).ok(),
        Val::Num(Num { value: NumVal::Float(x), .. }) if x.fract() == 0.0 && *x >= 0.0 && *x < 1e15 => Some(*x as u64),
        _ => None,
    };
    let found = n.filter(|n| *n >= least);
    if found.is_none() {
        unfit(ck, key, &format!("a whole number, {least} or more"), e, &v);
    }
    found
}

/// A truth that is known now.
pub fn flag(ck: &mut Checker, key: &str, e: &Expr, sc: &Scope) -> Option<bool> {
    match ck.eval(e, sc) {
        Val::Bool(b) => Some(b),
        v => {
            unfit(ck, key, "true or false", e, &v);
            None
        }
    }
}

/// A text.
pub fn text(ck: &mut Checker, key: &str, e: &Expr, sc: &Scope) -> Option<String> {
    match ck.eval(e, sc) {
        Val::Str(s) => Some(s.to_string()),
        v => {
            unfit(ck, key, "a text", e, &v);
            None
        }
    }
}

/// The item of some kind that a key names, and what is given for its parameters: `digits` or `digits(batch = 8)`.
pub fn config(ck: &mut Checker, kind: &'static str, e: &Expr, sc: &Scope) -> Option<(Rc<ConfigItem>, Vec<Given>)> {
    let (name, args): (&Expr, &[Arg]) = match &e.kind {
        ExprKind::Call { callee, args } => (callee, args),
        _ => (e, &[]),
    };
    let found = match &name.kind {
        ExprKind::Name(text) => find(ck, sc.module_number(), text),
        ExprKind::Field { base, name } => match &base.kind {
            ExprKind::Name(module) => match sc.get(module).or_else(|| ck.global(module, base.span, sc.module_number()))
            {
                Some(Val::Module(module)) => find(ck, module, &name.text),
                Some(_) | None => Lookup::Nothing,
            },
            _ => Lookup::Nothing,
        },
        _ => Lookup::Nothing,
    };
    match found {
        Lookup::Item(item) if item.ast.kind.text == kind => {
            let given = ck.args(args, sc);
            Some((item, given))
        }
        Lookup::Item(item) => {
            let message = format!(
                "`{kind}` names a `{kind}` item, and `{}` is a `{}` item",
                item.ast.name.text, item.ast.kind.text
            );
            ck.report(Diagnostic::error("E0508", name.span, message));
            None
        }
        Lookup::Broken => None,
        Lookup::Nothing => {
            let message = format!("no `{kind}` item is called `{}`", ck.text(name.span));
            let known = configs(ck, sc.module_number(), kind);
            let near = match &name.kind {
                ExprKind::Name(text) => nearest(text, known.iter().map(String::as_str)),
                _ => None,
            };
            let mut d = Diagnostic::error("E0102", name.span, message).did_you_mean(near);
            if near.is_none() && !known.is_empty() {
                d = d.help(format!("there is {}", known.join(", ")));
            }
            ck.report(d);
            None
        }
    }
}

enum Lookup {
    Item(Rc<ConfigItem>),
    Broken,
    Nothing,
}

fn find(ck: &mut Checker, module: u16, name: &str) -> Lookup {
    let mut errors = Vec::new();
    let found = ck.modules.find(module, name, &mut errors);
    report_all(ck, errors);
    match found {
        Found::Item(ItemRef::Config(item)) => Lookup::Item(item),
        Found::Broken => Lookup::Broken,
        Found::Item(_) | Found::Nothing => Lookup::Nothing,
    }
}

/// The names of a module's items of some kind.
pub fn configs(ck: &Checker, module: u16, kind: &str) -> Vec<String> {
    let is = |item: &ItemRef| matches!(item, ItemRef::Config(c) if c.ast.kind.text == kind);
    ck.modules.own(module).iter().filter(|(_, item)| is(item)).map(|(name, _)| name.clone()).collect()
}

/// The entries of a section in which the user defines names: `accuracy = ..`, `a, b = ..`.
pub fn definitions(ck: &mut Checker, section: &str, entries: &[Entry]) -> Option<Vec<(Vec<Ident>, Expr)>> {
    let mut found: Vec<(Vec<Ident>, Expr)> = Vec::new();
    let mut fine = true;
    for entry in entries {
        let EntryKind::Attr { names, value } = &entry.kind else {
            let message = format!("`{section}` takes definitions: `name = ..`");
            ck.report(Diagnostic::error("E0505", entry.span, message));
            fine = false;
            continue;
        };
        for name in names {
            if let Some(first) = found.iter().flat_map(|(names, _)| names).find(|n| n.text == name.text) {
                let message = format!("`{}` is given twice", name.text);
                ck.report(Diagnostic::error("E0506", name.span, message).label(first.span, "first here"));
                fine = false;
            }
        }
        found.push((names.clone(), value.clone()));
    }
    fine.then_some(found)
}

/// Reports the parts of a rule that its verb does not take: `=> ".."` and `{ .. }` where not so said, and `= ..`.
pub fn no_parts(ck: &mut Checker, rule: &Rule, renames: bool, body: bool) -> Option<()> {
    let verb = &rule.verb.text;
    let (what, span) = match (&rule.rename, &rule.body, &rule.value) {
        (Some(to), ..) if !renames => ("another name", to.span),
        (_, Some(_), _) if !body => ("entries of its own", rule.verb.span),
        (.., Some(value)) => ("a value", value.span),
        _ => return Some(()),
    };
    ck.report(Diagnostic::error("E0505", span, format!("`{verb}` takes globs and not {what}")));
    None
}

/// Whether a rule's `if` holds; true where there is none.
pub fn applies(ck: &mut Checker, rule: &Rule, sc: &Scope) -> Option<bool> {
    rule.guard.as_ref().map_or(Some(true), |e| flag(ck, "if", e, sc))
}

/// A scope within an item's, for names that only some of its expressions may use.
pub fn inner_scope(ck: &mut Checker, outer: &Scope) -> Scope {
    let env = ck.new_env();
    outer.child(Kind::Body(Body { net: false, env }))
}
