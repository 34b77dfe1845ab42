//! Loops, and calls of the spec's own functions and blocks.

use super::super::spec::{Body, Id, Stmt};
use super::{MOST, Scope, Writer};
use dlc_plan::DType;

/// Loops whose iterations are alike but for weights, and loops whose iterations differ, by what stands in them.
const LOOPS: [&str; 4] = ["repeat 3 as i", "repeat 2 as i", "repeat [2, 1, 3] as c, i", "repeat [1, 1, 2, 2] as c, i"];

impl Writer<'_> {
    /// A scope's statements, ending in its latest value that fits.
    pub(super) fn body(&self, s: Scope, fits: impl Fn(&Self, Id) -> bool) -> Option<Body> {
        let made = s.stmts.iter().rev().flat_map(|s| s.gives.iter().rev());
        let result = made.copied().find(|id| fits(self, *id))?;
        Some(Body { stmts: s.stmts, result })
    }

    pub(super) fn nested(&mut self, s: &mut Scope) -> Option<Id> {
        if s.depth > 1 {
            return None;
        }
        let x = self.find(s, |v| v.ty.dtype == DType::F32 && v.ty.rank() > 0 && v.most <= 10.0)?;
        let ty = self.ty(x).clone();
        let carried = self.value(ty.clone(), 3.0);
        let head = self.dice.pick(&LOOPS);
        let label = if s.label.is_some() && s.depth == 0 { Some(".{i}") } else { None };
        let mut inner = Scope { pool: s.pool.clone(), depth: s.depth + 1, label, ..Scope::default() };
        inner.pool.push(carried);
        if head.contains(" c,") {
            let text = self.dice.pick(&["$0 * (c * 0.25)", "if c == 1 { sin($0) } else { $0 - i }"]);
            self.make(&mut inner, &[carried], text, ty.clone(), 5.0);
        }
        let count = 1 + self.dice.below(4);
        self.grow(&mut inner, count);
        let last = match inner.stmts.iter().rev().flat_map(|s| &s.gives).find(|id| *self.ty(**id) == ty) {
            Some(last) => *last,
            None => carried,
        };
        // What is carried stays bounded, however often it goes round.
        self.make(&mut inner, &[last, carried], "tanh($0) + 0.5 * $1", ty.clone(), 2.0);
        let body = self.body(inner, |w, v| *w.ty(v) == ty)?;
        s.stmts.push(Stmt { gives: vec![carried], args: vec![x], text: head.into(), body: Some(body) });
        self.spec.values[carried].most = 20.0;
        s.pool.push(carried);
        Some(carried)
    }

    pub(super) fn called(&mut self, s: &mut Scope) -> Option<Id> {
        if s.depth > 0 && s.label != Some(".{i}") || self.spec.items.is_empty() {
            return None;
        }
        let item = self.dice.below(self.spec.items.len());
        let item = self.spec.items[item].clone();
        let label = s.label?;
        let mut args = Vec::new();
        for param in &item.params {
            let (ty, most) = (self.ty(*param).clone(), self.most(*param));
            args.push(self.find(s, |v| v.ty == ty && v.most <= most)?);
        }
        let (ty, most) = (self.ty(item.body.result).clone(), self.most(item.body.result));
        if most > MOST * 100.0 {
            return None;
        }
        let rest: Vec<String> = (1..args.len()).map(|k| format!("${k}")).collect();
        let text = match (item.block, rest.is_empty()) {
            (false, _) => {
                let all: Vec<String> = (0..args.len()).map(|k| format!("${k}")).collect();
                format!("@{}({})", item.tag(), all.join(", "))
            }
            (true, true) => format!("$0 -> l$#{label}: @{}()", item.tag()),
            (true, false) => format!("$0 -> l$#{label}: @{}()({})", item.tag(), rest.join(", ")),
        };
        Some(self.make(s, &args, text, ty, most))
    }
}
