//! Choosing axes, and reductions over them: sums, means, greatest and least elements.

use super::Checker;
use super::frame::Reduced;
use super::value::{AxisArgs, AxisSel, Given, NumVal, Tag, Tensor, Val};
use crate::program::{ReduceOp, Value};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::{DType, Host, Prim, Size};

/// A reduction of the language.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reduction {
    Sum,
    Mean,
    Max,
    Min,
    Prod,
    Any,
    All,
    Argmax,
}

impl Checker {
    /// The axis that a bracket chooses.
    pub(super) fn pick(&mut self, t: &Tensor, axis: &AxisSel, name: &str) -> Option<usize> {
        // Where elements of an equation are meant, the axes are those that `..` stands for.
        let (lanes, rank) = (t.lanes(), t.rank() - t.lanes());
        match axis {
            AxisSel::At(n, span) => {
                let i = if *n < 0 { *n + rank as i64 } else { *n };
                match usize::try_from(i) {
                    Ok(i) if i < rank => Some(i + lanes),
                    _ => {
                        let message = format!("there is no axis {n} in {}", self.show_tensor(t));
                        self.report(Diagnostic::error("E0313", *span, message));
                        None
                    }
                }
            }
            AxisSel::Called(called, span) => {
                let found: Vec<usize> = (lanes..t.rank()).filter(|i| t.axes[*i].name() == Some(called)).collect();
                if let [i] = found[..] {
                    return Some(i);
                }
                let message = match found.len() {
                    0 => format!("no axis of {} is called {called}", self.show_tensor(t)),
                    2 => format!("two axes are called {called}"),
                    n => format!("{n} axes are called {called}"),
                };
                let example = found.last().copied().unwrap_or(rank.saturating_sub(1)) as i64 - rank as i64;
                let mut help = format!("`{name}[{example}]`");
                if found.len() > 1 {
                    help.push_str(", or give one of them another name");
                }
                self.report(Diagnostic::error("E0306", *span, message).help(help));
                None
            }
        }
    }

    /// The axes that brackets choose, ascending; all of them where there are no brackets or `..`.
    pub(super) fn pick_all(&mut self, t: &Tensor, args: Option<&AxisArgs>, name: &str) -> Option<Vec<usize>> {
        let mut found = Vec::new();
        if let Some(args) = args {
            for axis in &args.list {
                let i = self.pick(t, axis, name)?;
                if found.contains(&i) {
                    let message = format!("axis {i} is named twice");
                    self.report(Diagnostic::error("E0306", axis.span(), message));
                    return None;
                }
                found.push(i);
            }
        }
        let all = args.is_none_or(|a| a.rest || a.list.is_empty());
        if all {
            found = (t.lanes()..t.rank()).collect();
        }
        found.sort_unstable();
        Some(found)
    }

    /// `sum[-1, keep](x)` and its like.
    pub(super) fn reduction(
        &mut self,
        which: Reduction,
        name: &'static str,
        axes: Option<&AxisArgs>,
        x: &Given,
        span: Span,
    ) -> Val {
        let x_val = self.list_tensor(&x.val, x.span);
        let t = match x_val {
            Val::Poison => return Val::Poison,
            Val::Tensor(t) => t,
            other => {
                let message = format!("`{name}` needs a tensor, got {}", self.show(&other));
                return self.error(Diagnostic::error("E0112", x.span, message));
            }
        };
        let Some(picked) = self.pick_all(&t, axes, name) else { return Val::Poison };
        let how = Reduced { name, call: span, bracket: axes.map(|a| a.span) };
        self.reduction_over(which, &t, &picked, axes.is_some_and(|a| a.keep), how, x)
    }

    /// A reduction over these axes; `x` is what the user gave.
    pub(super) fn reduction_over(
        &mut self,
        which: Reduction,
        t: &Tensor,
        picked: &[usize],
        keep: bool,
        how: Reduced,
        x: &Given,
    ) -> Val {
        let (name, span) = (how.name, how.call);
        let truths = matches!(which, Reduction::Any | Reduction::All);
        if truths != (t.dtype == DType::Bool) {
            let message = match truths {
                true => format!("`{name}` needs truths, got {}", self.show_tensor(t)),
                false => format!("`{name}` needs numbers, got {}", self.show_tensor(t)),
            };
            let d = Diagnostic::error("E0403", x.span, message);
            let help = if truths { "compare first: `x != 0`" } else { "`f32(x)` makes numbers of truths: 1 and 0" };
            return self.error(d.help(help));
        }
        if which == Reduction::Argmax && picked.len() != 1 {
            let message = format!("`{name}` needs one axis: `{name}[-1](x)`");
            return self.error(Diagnostic::error("E0306", span, message));
        }
        let value = self.reduce_value(which, t, picked);
        self.reduced(value, t, picked, keep, how)
    }

    fn reduce_value(&mut self, which: Reduction, t: &Tensor, picked: &[usize]) -> Value {
        let x = self.use_(t);
        match which {
            Reduction::Sum => self.added(ReduceOp::Sum, x, picked),
            Reduction::Prod => self.added(ReduceOp::Prod, x, picked),
            Reduction::Max | Reduction::Any => self.b().reduce(ReduceOp::Max, x, picked),
            Reduction::Min | Reduction::All => self.b().reduce(ReduceOp::Min, x, picked),
            Reduction::Mean => {
                let sum = self.added(ReduceOp::Sum, x, picked);
                let sum = if t.dtype.is_float() { sum } else { self.b().cast(sum, DType::F32) };
                let count = Size::product(picked.iter().map(|i| &t.axes[*i].size));
                let dtype = self.b().ty(sum).dtype;
                let n = self.b().host(dtype, Host::Size(count));
                self.b().zip(Prim::Div, &[sum, n])
            }
            Reduction::Argmax => self.argmax(t, x, picked[0]),
        }
    }

    /// A sum or product of reals in their type, and of integers or truths in 64 bits.
    fn added(&mut self, op: ReduceOp, x: Value, picked: &[usize]) -> Value {
        let dtype = self.b().ty(x).dtype;
        let x = if dtype.is_float() { x } else { self.b().cast(x, DType::I64) };
        self.b().reduce(op, x, picked)
    }

    /// The first index of the greatest element: the least of all indices at which the element is the greatest.
    fn argmax(&mut self, t: &Tensor, x: Value, axis: usize) -> Value {
        let shape = t.shape();
        let last = shape[axis].minus(&Size::one());
        let greatest = self.b().reduce_keep(ReduceOp::Max, x, &[axis]);
        let mut hit = self.b().zip(Prim::Eq, &[x, greatest]);
        // NaN is the greatest, and equals nothing.
        if t.dtype.is_float() {
            let is_nan = self.b().zip(Prim::Ne, &[x, x]);
            hit = self.b().zip(Prim::Or, &[hit, is_nan]);
        }
        let index = self.b().iota(DType::I64, &shape, axis);
        // A row without elements still gives a place.
        let last = self.b().host(DType::I64, Host::Size(last));
        let place = self.b().zip(Prim::Where, &[hit, index, last]);
        let first = self.b().reduce(ReduceOp::Min, place, &[axis]);
        match shape[axis].known() {
            Some(1..) => first,
            // The least of none is the greatest integer, and no place: of none it is -1.
            Some(_) | None => self.b().zip(Prim::Min, &[first, last]),
        }
    }

    /// The tensor of a reduction's result, with its axes kept if so asked.
    fn reduced(&mut self, value: Value, t: &Tensor, picked: &[usize], keep: bool, how: Reduced) -> Val {
        let mut tags: Vec<Option<Tag>> = Vec::new();
        for (i, axis) in t.axes.iter().enumerate() {
            match picked.contains(&i) {
                false => tags.push(axis.tag.clone()),
                true if keep => tags.push(None),
                true => {}
            }
        }
        let mut value = value;
        if keep {
            for i in picked {
                value = self.b().merge(value, *i, 0);
            }
        } else if how.bracket.is_some() {
            self.frame().reduced.insert(value, how);
        }
        Val::Tensor(self.tensor(value, tags))
    }

    /// A size and what the user calls it, from an expression: a position, or an extent that something else holds against
    /// what there is. [`Checker::as_size`] is for all others.
    pub(super) fn as_offset(&mut self, v: &Val, span: Span) -> Option<(Size, Option<Tag>)> {
        let Val::Num(n) = v else {
            if !v.is_poison() {
                let message = format!("a size is needed here, got {}", self.show(v));
                self.report(Diagnostic::error("E0311", span, message));
            }
            return None;
        };
        let message = match super::num::to_size(&n.value) {
            Some(s) if s.known().is_some_and(|n| n < 0) => format!("a size cannot be {}", self.show_num(n)),
            Some(s) => return Some((s, n.tag.clone())),
            None => match &n.value {
                NumVal::Host(Host::Prim(Prim::Div, parts)) => {
                    let parts: Vec<String> = parts.iter().map(|p| self.show_host(p)).collect();
                    format!("{} need not be divisible by {}", parts[0], parts[1])
                }
                NumVal::Host(h) => match self.found_at_run_time(h) {
                    Some(size) => return self.no_size(&size, span),
                    None => "a size cannot change from step to step".to_string(),
                },
                NumVal::Float(x) if x.fract() == 0.0 || x.is_infinite() => {
                    format!("{} is too large for a size", self.show_num(n))
                }
                NumVal::Int(_) | NumVal::Float(_) | NumVal::Size(_) => {
                    format!("{} is no whole number", self.show_num(n))
                }
            },
        };
        self.report(Diagnostic::error("E0303", span, message));
        None
    }

    /// Says that what was computed from a size of the run is no size.
    fn no_size<T>(&mut self, size: &str, span: Span) -> Option<T> {
        let message =
            format!("{size} is found at run time, and a size made of it can only be a sum, product or quotient");
        let help = format!("say {size} as a number where the input is declared");
        self.report(Diagnostic::error("E0303", span, message).help(help));
        None
    }

    /// The first size in a number that is found at run time, where nothing in it changes from step to step.
    fn found_at_run_time(&self, h: &Host) -> Option<String> {
        match h {
            Host::Size(s) => s.known().is_none().then(|| self.show_size(s)),
            Host::Prim(_, parts)
                if parts.iter().all(|p| p.known().is_some() || self.found_at_run_time(p).is_some()) =>
            {
                parts.iter().find_map(|p| self.found_at_run_time(p))
            }
            Host::Const(_) | Host::Var(_) | Host::Prim(..) | Host::Row(..) | Host::Segment(_) => None,
        }
    }

    fn show_host(&self, h: &Host) -> String {
        match h {
            Host::Size(s) => self.show_size(s),
            Host::Const(x) => x.to_string(),
            Host::Var(_) | Host::Prim(..) | Host::Row(..) | Host::Segment(_) => "a number of the step".to_string(),
        }
    }
}
