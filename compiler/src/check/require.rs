//! Conditions that a body states: checked now, or as guards at run time; and the names that an expression speaks of.

use super::Checker;
use super::frame::Guard;
use super::num;
use super::scope::{Kind, Scope};
use super::value::Val;
use dlc_grammar::ast::{Expr, ExprKind};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::DType;

impl Checker {
    /// Checks conditions: now, or as guards at run time. Those that speak of `params` wait for [`Checker::require_params`].
    pub(super) fn require(&mut self, conditions: &[Expr], name: &str, sc: &Scope) -> Option<()> {
        let mut fine = Some(());
        for e in conditions {
            if sc.get("params").is_none() && speaks_of(e, "params") {
                continue;
            }
            if self.require_one(e, name, sc).is_none() {
                fine = None;
            }
        }
        fine
    }

    /// Checks the conditions on the number of trained parameters.
    pub(super) fn require_params(&mut self, conditions: &[Expr], name: &str, count: i64, sc: &Scope) -> Option<()> {
        let inner = sc.child(Kind::Block);
        inner.define("params", Val::int(count), Span::default());
        let mut fine = Some(());
        for e in conditions.iter().filter(|e| speaks_of(e, "params")) {
            if self.require_one(e, name, &inner).is_none() {
                fine = None;
            }
        }
        fine
    }

    fn require_one(&mut self, e: &Expr, name: &str, sc: &Scope) -> Option<()> {
        let v = match self.eval(e, sc) {
            Val::Truth(cond) => num::of_all(&cond),
            v => v,
        };
        match v {
            Val::Poison => None,
            Val::Bool(true) => Some(()),
            Val::Bool(false) => {
                let mut known: Vec<String> = Vec::new();
                for (name, _) in names_in(e) {
                    if let Some(Val::Num(n)) = sc.get(&name) {
                        let shown = format!("{name} = {}", self.show_value(&n.value));
                        if !known.contains(&shown) {
                            known.push(shown);
                        }
                    }
                }
                let with = if known.is_empty() { String::new() } else { format!(", and {}", known.join(", ")) };
                let message = format!("{name} requires {}{with}", self.text(e.span));
                self.report(Diagnostic::error("E0307", e.span, message));
                None
            }
            Val::Truth(cond) => {
                let message = format!("{name} requires {}", self.with_values(e, sc));
                self.guard(Guard { cond, message, span: e.span });
                Some(())
            }
            // The prelude's conditions are about numbers; what a tensor has in it is not known before it is computed.
            Val::Tensor(t) if t.dtype == DType::Bool && self.modules.in_prelude(e.span) => Some(()),
            other => {
                let message = format!("a condition is a truth, got {}", self.show(&other));
                self.report(Diagnostic::error("E0111", e.span, message));
                None
            }
        }
    }

    /// An expression's text with the value behind each name that is known: `T <= P (512)`.
    fn with_values(&self, e: &Expr, sc: &Scope) -> String {
        let text = self.text(e.span);
        let (mut out, mut from) = (String::new(), 0);
        for (name, span) in names_in(e) {
            let Some(Val::Num(n)) = sc.get(&name) else { continue };
            let Some(x) = num::known(&n.value) else { continue };
            let end = (span.end - e.span.start) as usize;
            out.push_str(text.get(from..end).unwrap_or(""));
            out.push_str(&format!(" ({x})"));
            from = end;
        }
        out.push_str(text.get(from..).unwrap_or(""));
        out
    }
}

/// Whether an expression speaks of a name.
fn speaks_of(e: &Expr, name: &str) -> bool {
    names_in(e).iter().any(|(n, _)| n == name)
}

/// The names that stand in an expression, in the order of the text.
pub(crate) fn names_in(e: &Expr) -> Vec<(String, Span)> {
    let mut found = Vec::new();
    collect_names(e, &mut found);
    found.sort_by_key(|(_, span)| span.start);
    found
}

fn collect_names(e: &Expr, found: &mut Vec<(String, Span)>) {
    let mut all = |items: &[&Expr]| items.iter().for_each(|e| collect_names(e, found));
    match &e.kind {
        ExprKind::Name(name) => found.push((name.clone(), e.span)),
        ExprKind::Number(_) | ExprKind::Str(_) | ExprKind::Bool(_) | ExprKind::None => {}
        ExprKind::List(items) | ExprKind::Tuple(items) => all(&items.iter().collect::<Vec<_>>()),
        ExprKind::Unary { operand, .. } => all(&[operand]),
        ExprKind::Binary { left, right, .. } => all(&[left, right]),
        ExprKind::If { arms, otherwise } => {
            arms.iter().for_each(|a| all(&[&a.cond, &a.value]));
            all(&[otherwise]);
        }
        ExprKind::Call { callee, args } => {
            all(&[without_axes(callee)]);
            args.iter().for_each(|a| all(&[&a.value]));
        }
        ExprKind::Index { base, items } => {
            all(&[base]);
            for item in items {
                match item {
                    dlc_grammar::ast::Index::At(e) => all(&[e]),
                    dlc_grammar::ast::Index::Slice { lo, hi, by, .. } => {
                        [lo, hi, by].into_iter().flatten().for_each(|e| all(&[e]));
                    }
                    dlc_grammar::ast::Index::Rest(_) => {}
                }
            }
        }
        ExprKind::Field { base, .. } => all(&[base]),
        ExprKind::Pipe { input, stages } => {
            all(&[input]);
            for stage in stages {
                if let dlc_grammar::ast::StageKind::Expr(e) = &stage.what {
                    all(&[without_axes(e)]);
                }
            }
        }
    }
}

/// What is called, without the axes in its brackets: `mean` of `mean[-1, keep]`.
fn without_axes(callee: &Expr) -> &Expr {
    match &callee.kind {
        ExprKind::Index { base, .. } => base,
        _ => callee,
    }
}
