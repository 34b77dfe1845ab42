//! `x[i, :, a:b:s, .., none]` on tensors: positions, slices, new axes, and rows chosen by an integer tensor.

use super::Checker;
use super::bounds::LONGEST;
use super::scope::Scope;
use super::value::{Num, NumVal, Tag, Tensor, Val};
use crate::program::{Op, Ty, Value};
use dlc_grammar::ast::{Expr, Index};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::{DType, Prim, Size};

/// What one item of an index does to the axis it stands for.
enum Step {
    /// Takes the whole axis.
    All,
    /// Adds an axis of extent 1.
    New,
    /// Takes one position; the axis vanishes.
    At(Size),
    /// Takes `len` positions from `start` in steps of `by`.
    Slice { start: Size, by: i64, len: Size },
    /// Takes the rows that an integer tensor names.
    Rows(Tensor),
}

/// More axes than this are a slip, and would only slow everything down.
const MOST_AXES: usize = 16;

impl Checker {
    /// A part of a tensor.
    pub(super) fn index_tensor(&mut self, t: Tensor, items: &[Index], span: Span, sc: &Scope) -> Val {
        // Items that stand for no axis of the tensor must be known before `..` is.
        let vals: Option<Vec<Option<Val>>> = items.iter().map(|item| self.index_val(item, sc)).collect();
        let Some(vals) = vals else { return Val::Poison };
        self.at(span);
        if self.refuse_lanes("an index", [&Val::Tensor(t.clone())], span) {
            return Val::Poison;
        }
        let consumed = |(item, val): &(&Index, &Option<Val>)| match item {
            Index::Rest(_) => false,
            Index::Slice { .. } | Index::At(_) => !matches!(val, Some(Val::None)),
        };
        let taken = items.iter().zip(&vals).filter(consumed).count();
        let rests = items.iter().filter(|i| matches!(i, Index::Rest(_))).count();
        if taken > t.rank() || rests > 1 || t.rank() + items.len() > MOST_AXES + taken {
            let message = match (rests > 1, taken > t.rank()) {
                (true, _) => "`..` may stand once in an index".to_string(),
                (_, true) => format!("{taken} indices are too many for {}", self.show_tensor(&t)),
                _ => format!("a tensor with new axes has at most {MOST_AXES}, and this one has {} already", t.rank()),
            };
            return self.error(Diagnostic::error("E0311", span, message));
        }
        let mut steps = Vec::new();
        let mut axis = 0;
        for (item, val) in items.iter().zip(&vals) {
            let step = match (item, val) {
                (Index::Rest(_), _) => {
                    let rest = t.rank() - taken;
                    steps.extend((0..rest).map(|_| Step::All));
                    axis += rest;
                    continue;
                }
                (_, Some(Val::None)) => Some(Step::New),
                (Index::Slice { lo, hi, by, span }, _) => self.slice_step(&t, axis, [lo, hi, by], *span, sc),
                (Index::At(e), Some(val)) => self.at_step(&t, axis, val, e.span),
                (Index::At(_), None) => None,
            };
            let Some(step) = step else { return Val::Poison };
            axis += usize::from(!matches!(step, Step::New));
            steps.push(step);
        }
        self.take(t, steps, span)
    }

    fn index_val(&mut self, item: &Index, sc: &Scope) -> Option<Option<Val>> {
        match item {
            Index::Rest(_) | Index::Slice { .. } => Some(None),
            Index::At(e) => {
                let v = self.eval(e, sc);
                let v = if let Val::List(_) = v { self.list_tensor(&v, e.span) } else { v };
                (!v.is_poison()).then_some(Some(v))
            }
        }
    }

    fn at_step(&mut self, t: &Tensor, axis: usize, val: &Val, span: Span) -> Option<Step> {
        match val {
            Val::Tensor(ids) if ids.dtype.is_int() => Some(Step::Rows(ids.clone())),
            Val::Num(_) => {
                let size = &t.axes[axis].size;
                let at = self.position(val, size, span)?;
                self.lies_in(&at, t, axis, span)?;
                Some(Step::At(at))
            }
            other => {
                let message = format!("an index is an integer, got {}", self.show(other));
                self.report(Diagnostic::error("E0401", span, message));
                None
            }
        }
    }

    /// A position along an axis; a negative one counts from the end.
    fn position(&mut self, val: &Val, size: &Size, span: Span) -> Option<Size> {
        match val {
            Val::Num(Num { value: NumVal::Int(n), .. }) if *n < 0 => Some(size.plus(&Size::from(*n))),
            _ => self.as_offset(val, span).map(|(s, _)| s),
        }
    }

    fn slice_step(
        &mut self,
        t: &Tensor,
        axis: usize,
        [lo, hi, by]: [&Option<Expr>; 3],
        span: Span,
        sc: &Scope,
    ) -> Option<Step> {
        let size = t.axes[axis].size.clone();
        if let (None, None, None) = (lo, hi, by) {
            return Some(Step::All);
        }
        let by = match by {
            None => 1,
            Some(e) => self.static_int(e, sc)?,
        };
        if !(1..=LONGEST).contains(&by) {
            let message = format!("a slice's step is from 1 to {LONGEST}, got {by}");
            self.report(Diagnostic::error("E0311", span, message));
            return None;
        }
        let mut bound = |e: &Option<Expr>, other: Size| match e {
            None => Some((other, span)),
            Some(e) => {
                let v = self.eval(e, sc);
                Some((self.position(&v, &size, e.span)?, e.span))
            }
        };
        let ((start, lo_span), (end, hi_span)) = (bound(lo, Size::zero())?, bound(hi, size.clone())?);
        let own = &t.axes[axis];
        self.must_hold(&[(&end, Prim::Le, &size)], hi_span, |c| c.outside(own, hi_span))?;
        self.must_hold(&[(&Size::zero(), Prim::Le, &start)], lo_span, |c| c.outside(own, lo_span))?;
        let order_span = if lo.is_some() { lo_span } else { hi_span };
        self.must_hold(&[(&start, Prim::Le, &end)], order_span, |c| {
            let (from, to) = (c.show_size(&start), c.show_size(&end));
            let message = format!("this slice of {} begins at {from} and ends at {to}", c.show_axis(own));
            Diagnostic::error("E0311", span, message)
        })?;
        let count = end.minus(&start).plus(&Size::from(by - 1));
        let len = count.quotient(&Size::from(by)).expect("the step is not zero");
        Some(Step::Slice { start, by, len })
    }

    fn take(&mut self, t: Tensor, mut steps: Vec<Step>, span: Span) -> Val {
        let rows = steps.iter().filter(|s| matches!(s, Step::Rows(_))).count();
        if rows > 1 {
            let message = "one integer tensor at most may stand in an index";
            return self.error(Diagnostic::error("E0311", span, message));
        }
        let mut v = self.use_(&t);
        let mut tags = t.tags();
        let taken = steps.iter().filter(|s| !matches!(s, Step::New)).count();
        steps.extend((taken..t.rank()).map(|_| Step::All));
        let mut gather = None;
        let mut axis = 0;
        for step in steps {
            match step {
                Step::All => axis += 1,
                Step::New => {
                    v = self.b().merge(v, axis, 0);
                    tags.insert(axis, None);
                    axis += 1;
                }
                Step::At(at) => {
                    v = self.b().slice(v, axis, at, 1, Size::one());
                    v = self.b().split(v, axis, &[]);
                    tags.remove(axis);
                }
                Step::Slice { start, by, len } => {
                    if len != self.b().ty(v).shape[axis] {
                        tags[axis] = None;
                    }
                    v = self.b().slice(v, axis, start, by, len);
                    axis += 1;
                }
                Step::Rows(ids) => {
                    gather = Some((axis, ids));
                    axis += 1;
                }
            }
        }
        if let Some((axis, ids)) = gather {
            (v, tags) = self.gather(v, tags, axis, &ids);
        }
        Val::Tensor(self.tensor(v, tags))
    }

    /// Rows along an axis, chosen by an integer tensor, whose axes take that axis' place.
    fn gather(&mut self, v: Value, tags: Vec<Option<Tag>>, axis: usize, ids: &Tensor) -> (Value, Vec<Option<Tag>>) {
        let rank = tags.len();
        let order: Vec<usize> = std::iter::once(axis).chain((0..rank).filter(|i| *i != axis)).collect();
        let table = self.b().permute(v, &order);
        let index = self.use_(ids);
        let (dtype, shape) = (self.b().ty(table).dtype, self.b().shape(table));
        let shape: Vec<Size> = ids.shape().into_iter().chain(shape[1..].iter().cloned()).collect();
        let found = self.b().node(Op::Gather, vec![table, index], Ty { dtype, shape });
        let found = self.adapted_rows(found, (table, ids)).unwrap_or(found);
        // [..ids, before the axis, after it] becomes [before, ..ids, after].
        let n = ids.rank();
        let back: Vec<usize> = (n..n + axis).chain(0..n).chain(n + axis..n + rank - 1).collect();
        let found = self.b().permute(found, &back);
        let mut named = tags[..axis].to_vec();
        named.extend(ids.tags());
        named.extend(tags[axis + 1..].iter().cloned());
        (found, named)
    }

    /// Whether values are of the type that a parameter declares, by what they are used for.
    pub(super) fn dtype_fits(declared: Option<DType>, found: DType) -> bool {
        match declared {
            None => found.is_float(),
            Some(d) if d.is_int() => found.is_int(),
            Some(d) => found == d,
        }
    }
}
