//! What the index variables of an equation run over: the axes that they index, or the largest range that stays inside of one;
//! and the proof that an index does stay inside.

use super::Checker;
use super::bounds::{LONGEST, never_negative};
use super::value::{Axis, Tag};
use dlc_grammar::ast::Expr;
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::{Prim, Size};

/// What an index variable runs over.
#[derive(Clone)]
pub(super) struct Range {
    /// The first number that it is not any more.
    pub size: Size,
    /// The axis that it runs over from end to end, if it does.
    pub axis: Option<Axis>,
    /// What gave it its range, for messages: a tensor's text.
    pub by: Option<String>,
}

/// An index of an access whose variables' ranges are looked for.
pub(super) struct Use {
    pub start: Size,
    pub steps: Vec<(Tag, i64)>,
    pub axis: Axis,
    /// The tensor's text.
    pub tensor: String,
    pub span: Span,
}

impl Checker {
    pub(super) fn known_range(&self, var: &Tag) -> Option<&Range> {
        self.equations.iter().rev().find_map(|e| e.ranges.iter().find(|(v, _)| v.env == var.env).map(|(_, r)| r))
    }

    pub(super) fn range(&mut self, var: &Tag) -> Option<Range> {
        if let Some(range) = self.known_range(var) {
            return Some(range.clone());
        }
        let name = var.name.as_deref().unwrap_or_default().to_string();
        let message = format!("nothing says what `{name}` runs over");
        let d = Diagnostic::error("E0309", var.origin, message);
        self.report(d.help(format!("index an axis with it: `x[{name}]`; a reducer can say it: `sum[{name} < 2]`")));
        None
    }

    /// The extent of an index variable.
    pub(super) fn extent(&mut self, var: &Tag) -> Option<Size> {
        self.range(var).map(|r| r.size)
    }

    /// Finds what each variable runs over: first from the axes that it indexes alone, then the largest range that stays
    /// inside.
    pub(super) fn find_ranges(&mut self, uses: Vec<Use>) -> Option<()> {
        let (plain, mut affine): (Vec<Use>, Vec<Use>) =
            uses.into_iter().partition(|u| u.start.is(0) && matches!(u.steps[..], [(_, 1)]));
        for u in &plain {
            self.runs_over(u)?;
        }
        while !affine.is_empty() {
            let free = |c: &Checker, u: &Use| u.steps.iter().filter(|(v, _)| c.known_range(v).is_none()).count();
            let Some(i) = affine.iter().position(|u| free(self, u) <= 1) else {
                let mut vars = affine.iter().flat_map(|u| &u.steps).map(|(v, _)| v.clone());
                let var = vars.find(|v| self.known_range(v).is_none()).expect("a variable has no range");
                self.range(&var);
                return None;
            };
            let u = affine.remove(i);
            self.largest(&u)?;
        }
        Some(())
    }

    fn runs_over(&mut self, u: &Use) -> Option<()> {
        let var = &u.steps[0].0;
        let Some(known) = self.known_range(var).cloned() else {
            let range = Range { size: u.axis.size.clone(), axis: Some(u.axis.clone()), by: Some(u.tensor.clone()) };
            self.equation_state().ranges.push((var.clone(), range));
            return Some(());
        };
        // What has been given a range by hand may be a part of an axis.
        if known.size == u.axis.size || known.by.is_none() {
            return Some(());
        }
        let name = var.name.as_deref().unwrap_or_default();
        let (a, b) = (self.show_size(&known.size), self.show_size(&u.axis.size));
        let by = known.by.unwrap_or_default();
        let message = format!("`{name}` runs over {a} in `{by}` and {b} in `{}`", u.tensor);
        self.report(Diagnostic::error("E0309", u.span, message).help("give the second axis its own index"));
        None
    }

    /// Gives the one variable of an affine index that has no range the largest one that stays inside.
    fn largest(&mut self, u: &Use) -> Option<()> {
        let Some((var, step)) = u.steps.iter().find(|(v, _)| self.known_range(v).is_none()).cloned() else {
            return Some(());
        };
        let others: Vec<(Tag, i64)> = u.steps.iter().filter(|(v, _)| v.env != var.env).cloned().collect();
        let (low, high) = self.reach(&u.start, &others)?;
        let room = match step > 0 {
            true => u.axis.size.minus(&Size::one()).minus(&high),
            false => low,
        };
        let by = Size::from(step.abs());
        let size = room.plus(&by).quotient(&by).expect("no step is zero");
        let name = var.name.as_deref().unwrap_or_default();
        let message = format!("`{}` leaves no room for `{name}` in {}", self.text(u.span), self.show_axis(&u.axis));
        self.must_hold(&[(&Size::zero(), Prim::Le, &size)], u.span, |_| Diagnostic::error("E0309", u.span, message))?;
        self.equation_state().ranges.push((var, Range { size, axis: None, by: Some(u.tensor.clone()) }));
        Some(())
    }

    /// The least and the greatest value of an affine index.
    fn reach(&mut self, start: &Size, steps: &[(Tag, i64)]) -> Option<(Size, Size)> {
        let (mut low, mut high) = (start.clone(), start.clone());
        for (var, step) in steps {
            let last = self.extent(var)?.minus(&Size::one());
            let end = if *step < 0 { &mut low } else { &mut high };
            *end = end.plus(&last.times(&Size::from(*step)));
        }
        Some((low, high))
    }

    /// Sees to it that an affine index stays inside of its axis.
    pub(super) fn stays_inside(&mut self, start: &Size, steps: &[(Tag, i64)], axis: &Axis, e: &Expr) -> Option<()> {
        if let [(var, 1)] = steps
            && start.is(0)
            && self.extent(var)? == axis.size
        {
            return Some(());
        }
        if let Some((_, step)) = steps.iter().find(|(_, step)| step.saturating_abs() > LONGEST) {
            let message = format!("`{}` goes on in steps of {step}, longer than any axis", self.text(e.span));
            self.report(Diagnostic::error("E0311", e.span, message));
            return None;
        }
        let (low, high) = self.reach(start, steps)?;
        let before = never_negative(&low);
        let after = never_negative(&axis.size.minus(&Size::one()).minus(&high));
        if before && after {
            return Some(());
        }
        let (from, to) = (self.show_size(&low), self.show_size(&high));
        let size = self.show_axis(axis);
        let message = format!("`{}` runs from {from} to {to}, and the axis {size} begins at 0", self.text(e.span));
        let message = if before {
            message.replace("begins at 0", &format!("ends before {}", self.show_size(&axis.size)))
        } else {
            message
        };
        let d = Diagnostic::error("E0311", e.span, message);
        self.report(d.help("`pad` makes room at an axis' ends: `x -> pad[1](1, 0)`"));
        None
    }
}
