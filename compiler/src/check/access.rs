//! Accesses of an equation, `x[2 * h + i, eot[b], ..]`: an affine view of a tensor, after a gather where an index is computed.

use super::Checker;
use super::equation::Form;
use super::lanes::variables;
use super::scope::Scope;
use super::value::{Tag, Tensor, Val};
use crate::program::{Affine, Op, Ty, Value};
use dlc_grammar::ast::{Expr, Index};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::{DType, Host, Prim, Size};

/// How an axis is read.
#[derive(Clone)]
enum At {
    /// At an affine function of index variables.
    Affine(Size, Vec<(Tag, i64)>),
    /// At a computed place.
    Computed(Tensor),
    /// From end to end: one of the axes that `..` stands for.
    Rest(Option<Tag>),
}

impl Checker {
    /// An element of a tensor, as a tensor over index variables.
    pub(super) fn access(&mut self, base: &Expr, items: &[Index], span: Span, sc: &Scope) -> Val {
        let t = match self.known_at(base.span) {
            Some(Val::Tensor(t)) => t,
            Some(Val::Poison) | None => return Val::Poison,
            Some(Val::List(list) | Val::Tuple(list)) => return self.element(&list, items, span, sc),
            Some(other) => {
                let message = format!("{} has no elements", self.show(&other));
                return self.error(Diagnostic::error("E0112", span, message));
            }
        };
        let Some(at) = self.access_axes(&t, items, span, sc) else { return Val::Poison };
        self.at(span);
        let v = self.use_(&t);
        let (v, at) = match at.iter().any(|a| matches!(a, At::Computed(_))) {
            true => match self.computed(v, at) {
                Some(found) => found,
                None => return Val::Poison,
            },
            false => (v, at),
        };
        self.affine_access(v, &at).unwrap_or(Val::Poison)
    }

    fn access_axes(&mut self, t: &Tensor, items: &[Index], span: Span, sc: &Scope) -> Option<Vec<At>> {
        let places = self.places(t, items, span)?;
        let mut at: Vec<At> = t.axes.iter().map(|a| At::Rest(a.tag.clone())).collect();
        let indices = items.iter().filter_map(|i| if let Index::At(e) = i { Some(e) } else { None });
        for (e, axis) in indices.zip(places) {
            at[axis] = match self.form(e, sc)? {
                Form::Affine { start, steps } if steps.is_empty() => {
                    At::Affine(self.fixed_position(&start, t, axis, e.span)?, steps)
                }
                Form::Affine { start, steps } => {
                    self.stays_inside(&start, &steps, &t.axes[axis], e)?;
                    At::Affine(start, steps)
                }
                Form::Computed => At::Computed(self.computed_index(e, sc)?),
            };
        }
        Some(at)
    }

    /// A position that depends on no variable; a negative one counts from the end.
    fn fixed_position(&mut self, start: &Size, t: &Tensor, axis: usize, span: Span) -> Option<Size> {
        let size = &t.axes[axis].size;
        let start = if start.known().is_some_and(|n| n < 0) { size.plus(start) } else { start.clone() };
        self.lies_in(&start, t, axis, span)?;
        Some(start)
    }

    fn computed_index(&mut self, e: &Expr, sc: &Scope) -> Option<Tensor> {
        match self.eval(e, sc) {
            Val::Poison => None,
            Val::Tensor(ids) if ids.dtype.is_int() && ids.rest().is_empty() => Some(ids),
            other => {
                let message = format!("an index is an integer, got {}", self.show(&other));
                self.report(Diagnostic::error("E0401", e.span, message));
                None
            }
        }
    }

    /// An affine view: the axes of the variables in order, then those of `..`.
    fn affine_access(&mut self, v: Value, at: &[At]) -> Option<Val> {
        let mut vars: Vec<Tag> =
            at.iter().flat_map(|a| if let At::Affine(_, s) = a { &s[..] } else { &[] }).map(|s| s.0.clone()).collect();
        vars.sort_by_key(|v| v.env);
        vars.dedup_by_key(|v| v.env);
        let mut shape: Vec<Size> = vars.iter().map(|v| self.extent(v)).collect::<Option<_>>()?;
        let mut tags: Vec<Option<Tag>> = vars.iter().cloned().map(Some).collect();
        let own = self.b().shape(v);
        let mut axes = Vec::new();
        for (a, extent) in at.iter().zip(own) {
            axes.push(match a {
                At::Affine(start, steps) => {
                    let place = |v: &Tag| vars.iter().position(|x| x.env == v.env).expect("it is among the variables");
                    let mut steps: Vec<(usize, i64)> = steps.iter().map(|(v, s)| (place(v), *s)).collect();
                    steps.sort_unstable();
                    Affine { start: start.clone(), steps }
                }
                At::Rest(tag) => {
                    shape.push(extent);
                    tags.push(tag.clone());
                    Affine { start: Size::zero(), steps: vec![(shape.len() - 1, 1)] }
                }
                At::Computed(_) => unreachable!("computed indices have been gathered"),
            });
        }
        let v = self.b().affine(v, axes, shape);
        Some(Val::Tensor(self.tensor(v, tags)))
    }

    /// Gathers where computed indices say. The axes from the first to the last that are computed, or that share a variable
    /// with a computed one, are read as one axis, whose index is made of theirs.
    fn computed(&mut self, v: Value, at: Vec<At>) -> Option<(Value, Vec<At>)> {
        let ids = || at.iter().filter_map(|a| if let At::Computed(t) = a { Some(t) } else { None });
        let shared = variables(ids());
        let joins = |a: &At| match a {
            At::Computed(_) => true,
            At::Affine(_, steps) => steps.iter().any(|(v, _)| shared.iter().any(|s| s.env == v.env)),
            At::Rest(_) => false,
        };
        let first = at.iter().position(joins).expect("an index is computed");
        let last = at.iter().rposition(joins).expect("an index is computed");
        let order: Vec<usize> = match at[first..=last].iter().any(|a| matches!(a, At::Rest(_))) {
            // Whole axes in between stay whole.
            true => {
                let (inside, outside): (Vec<usize>, Vec<usize>) = (0..at.len()).partition(|k| joins(&at[*k]));
                [inside, outside].concat()
            }
            false => (first..=last).chain(0..first).chain(last + 1..at.len()).collect(),
        };
        let count = match at[first..=last].iter().any(|a| matches!(a, At::Rest(_))) {
            true => at.iter().filter(|a| joins(a)).count(),
            false => last + 1 - first,
        };
        let extents: Vec<Size> = order.iter().map(|k| self.b().ty(v).shape[*k].clone()).collect();
        let v = self.b().permute(v, &order);
        let table = self.b().merge(v, 0, count);
        let index = self.flat_index(order[..count].iter().map(|k| &at[*k]).zip(&extents).collect())?;
        let ids = self.use_(&index);
        let (dtype, rest) = (self.b().ty(table).dtype, self.b().shape(table)[1..].to_vec());
        let shape = index.shape().into_iter().chain(rest).collect();
        let found = self.b().node(Op::Gather, vec![table, ids], Ty { dtype, shape });
        let gathered = index.tags().into_iter().flatten().map(|v| At::Affine(Size::zero(), vec![(v, 1)]));
        let at = gathered.chain(order[count..].iter().map(|k| at[*k].clone())).collect();
        Some((found, at))
    }

    /// The number of an element among those of several axes. Where there are several, each computed index is clamped.
    fn flat_index(&mut self, axes: Vec<(&At, &Size)>) -> Option<Tensor> {
        let mut stride = Size::one();
        let mut sum: Option<Val> = None;
        let alone = axes.len() == 1;
        let span = self.b().origin.span;
        for (at, extent) in axes.into_iter().rev() {
            let own = match at {
                At::Computed(ids) if alone => Val::Tensor(ids.clone()),
                At::Computed(ids) => Val::Tensor(self.clamped(ids, extent)),
                At::Affine(start, steps) => self.affine_number(start, steps)?,
                At::Rest(_) => unreachable!("whole axes are not gathered"),
            };
            let own = self.scalar_tensor(&own);
            let by = Val::host(Host::Size(stride.clone()));
            let by = self.as_value(&by, DType::I64);
            let by = Val::Tensor(self.tensor(by, Vec::new()));
            let term =
                if stride.is(1) { own } else { self.primitive(Prim::Mul, "*", span, vec![(own, span), (by, span)]) };
            sum = Some(match sum {
                None => term,
                Some(sum) => self.primitive(Prim::Add, "+", span, vec![(sum, span), (term, span)]),
            });
            stride = stride.times(extent);
        }
        match sum {
            Some(Val::Tensor(t)) => Some(t),
            _ => None,
        }
    }

    /// An affine function of index variables as a number.
    fn affine_number(&mut self, start: &Size, steps: &[(Tag, i64)]) -> Option<Val> {
        let span = self.b().origin.span;
        let start = Val::host(Host::Size(start.clone()));
        let start = self.as_value(&start, DType::I64);
        let mut sum = Val::Tensor(self.tensor(start, Vec::new()));
        for (var, step) in steps {
            let index = self.index_number(var);
            let term = self.primitive(Prim::Mul, "*", span, vec![(index, span), (Val::int(*step), span)]);
            sum = self.primitive(Prim::Add, "+", span, vec![(sum, span), (term, span)]);
        }
        (!sum.is_poison()).then_some(sum)
    }

    /// An index that stays in an axis: the row of the numbers from 0 on that it names.
    fn clamped(&mut self, ids: &Tensor, extent: &Size) -> Tensor {
        let numbers = self.b().iota(DType::I64, std::slice::from_ref(extent), 0);
        let index = self.use_(ids);
        let ty = Ty { dtype: DType::I64, shape: ids.shape() };
        let v = self.b().node(Op::Gather, vec![numbers, index], ty);
        self.tensor(v, ids.tags())
    }
}
