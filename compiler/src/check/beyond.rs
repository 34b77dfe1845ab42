//! What columns, losses and metrics say beyond arithmetic on a batch: `statistic`, a value over the whole training split;
//! `tensor`, a weight by its name; `within`, where an index has to lie.

use super::frame::SlotKind;
use super::value::{Given, Num, NumVal, Val};
use super::{Checker, Statistics};
use crate::program::Op;
use dlc_grammar::{Diagnostic, Span, nearest};
use dlc_plan::plan::Bound;
use std::rc::Rc;

impl Checker {
    /// A value as it is over all rows of the training split, and thus the same for every batch.
    pub(super) fn statistic(&mut self, a: &Given, span: Span) -> Val {
        let Some(t) = self.tensor_arg("statistic", a) else { return Val::Poison };
        if t.shape().iter().any(|s| s.known().is_none()) {
            let message = format!("a statistic is over all rows and has none, got {}", self.show_tensor(&t));
            let d = Diagnostic::error("E0509", a.span, message);
            return self.error(d.help("`statistic(mean[0](x))` is the mean over the training split"));
        }
        match &mut self.statistics {
            Some(Statistics::Measured(found)) => {
                found.push(t.clone());
                Val::Tensor(t)
            }
            Some(Statistics::Known(rest)) => {
                Val::Tensor(rest.pop_front().expect("what is worked through again asks for the same statistics"))
            }
            None => {
                let message = "`statistic` stands in the columns of a `data` item: elsewhere there is no split";
                self.error(Diagnostic::error("E0509", span, message))
            }
        }
    }

    /// A weight of the model that a loss or a metric speaks of.
    pub(super) fn stored(&mut self, a: &Given) -> Val {
        let Val::Str(name) = &a.val else {
            let message = format!("`tensor` takes the name of a weight in quotes, got {}", self.show(&a.val));
            return self.error(Diagnostic::error("E0512", a.span, message));
        };
        let root = self.root();
        if !root.entry {
            let message = "`tensor` stands in a loss or a metric: layers name their own weights";
            return self.error(Diagnostic::error("E0512", a.span, message));
        }
        let slot =
            root.slots.iter().position(|s| s.path == *name && !matches!(s.decl.kind, SlotKind::Site(_))).or_else(
                || {
                    let known = self.trained.iter().find(|s| s.path == *name)?.clone();
                    Some(self.add_slot(known))
                },
            );
        if let Some(slot) = slot {
            let tags = self.root().slots[slot].decl.tags.clone();
            return Val::Tensor(self.slot_tensor(slot, tags));
        }
        let mut names: Vec<Rc<str>> = self.trained.iter().map(|s| s.path.clone()).collect();
        names.extend(self.root().slots.iter().map(|s| s.path.clone()));
        let near = nearest(name, names.iter().map(|n| &**n));
        let message = format!("the model has no weight `{name}`");
        self.error(Diagnostic::error("E0512", a.span, message).did_you_mean(near))
    }

    /// Integers that index something of a size: `within(label, C)`, and `within(label, C, ignore)` where one number outside
    /// has a meaning of its own. Those that come from outside are checked as they enter.
    pub(super) fn within(&mut self, args: &[Given]) -> Val {
        let Some(t) = self.tensor_arg("within", &args[0]) else { return Val::Poison };
        if !t.dtype.is_int() {
            let message = format!("an index is an integer, `{}` is {}", self.text(args[0].span), t.dtype);
            return self.error(Diagnostic::error("E0401", args[0].span, message));
        }
        let Some((below, _)) = self.as_size(&args[1].val, args[1].span) else { return Val::Poison };
        let except = match args.get(2).map(|a| (&a.val, a.span)) {
            None => None,
            Some((Val::Num(Num { value: NumVal::Int(n), .. }), _)) => Some(*n),
            Some((v, span)) => {
                let message = format!("the exception is a whole number, got {}", self.show(v));
                return self.error(Diagnostic::error("E0112", span, message));
            }
        };
        let value = self.use_(&t);
        let ty = self.b().ty(value).clone();
        let value = self.b().node(Op::Within(Bound { below, except }), vec![value], ty);
        Val::Tensor(self.tensor(value, t.tags()))
    }
}
