//! What looks at rows as a whole: `sort`, `top_k` and `cumsum`, along one axis, the last one where none is chosen.
//!
//! An order gives places only. The elements are then gathered from there, so gradients flow back to where they were.

use super::Checker;
use super::value::{AxisArgs, AxisSel, Given, Tag, Tensor, Val};
use crate::program::{Op, RowOp, Ty, Value};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::{DType, Prim, Size};

impl Checker {
    /// `sort[axis](x)`, or with `true` behind it from the greatest down: the elements in order, and where they were.
    pub(super) fn sort(&mut self, axes: Option<&AxisArgs>, args: &[Given], span: Span) -> Val {
        let descending = match args.get(1).map(|a| (&a.val, a.span)) {
            None => false,
            Some((Val::Bool(down), _)) => *down,
            Some((Val::Poison, _)) => return Val::Poison,
            Some((other, at)) => {
                let message = format!("`sort` goes down where `true` stands here, got {}", self.show(other));
                return self.error(Diagnostic::error("E0112", at, message));
            }
        };
        let Some((t, axis)) = self.rows_of("sort", axes, &args[0], span) else { return Val::Poison };
        let count = t.axes[axis].size.clone();
        self.ordered(&t, axis, descending, count)
    }

    /// `top_k[axis](x, k)`: the k greatest elements from the greatest down, and where they are.
    pub(super) fn top_k(&mut self, axes: Option<&AxisArgs>, args: &[Given], span: Span) -> Val {
        let Some((t, axis)) = self.rows_of("top_k", axes, &args[0], span) else { return Val::Poison };
        let Some((k, _)) = self.as_size(&args[1].val, args[1].span) else { return Val::Poison };
        let (own, at) = (&t.axes[axis], args[1].span);
        if self.must_hold(&[(&k, Prim::Le, &own.size)], at, |c| c.outside(own, at)).is_none() {
            return Val::Poison;
        }
        self.ordered(&t, axis, true, k)
    }

    /// `cumsum[axis](x)`: each element plus all before it.
    pub(super) fn running_sum(&mut self, axes: Option<&AxisArgs>, x: &Given, span: Span) -> Val {
        let Some((t, axis)) = self.rows_of("cumsum", axes, x, span) else { return Val::Poison };
        // Narrow reals are summed in f32, and bytes as whole numbers.
        let wide = match t.dtype {
            d if d.is_float() => DType::F32,
            _ => DType::I64,
        };
        let x = self.use_(&t);
        let x = self.b().cast(x, wide);
        let moved = self.axis_last(x, axis);
        let ty = self.b().ty(moved).clone();
        let sums = self.b().node(Op::Rows(RowOp::RunningSum), vec![moved], ty);
        let sums = self.axis_back(sums, axis);
        let sums = if t.dtype.is_float() { self.b().cast(sums, t.dtype) } else { sums };
        Val::Tensor(self.tensor(sums, t.tags()))
    }

    /// The tensor, and the axis along which its rows are.
    fn rows_of(&mut self, name: &str, axes: Option<&AxisArgs>, x: &Given, span: Span) -> Option<(Tensor, usize)> {
        let t = self.tensor_arg(name, x)?;
        if t.dtype == DType::Bool || t.rank() == 0 {
            let message = format!("`{name}` needs numbers along an axis, got {}", self.show_tensor(&t));
            self.report(Diagnostic::error("E0403", x.span, message));
            return None;
        }
        let last = AxisSel::At(-1, span);
        let axis = match axes {
            None => &last,
            Some(a) if a.list.len() == 1 && !a.rest && !a.keep => &a.list[0],
            Some(a) => {
                let message = format!("`{name}` goes along one axis: `{name}[-1](x)`");
                self.report(Diagnostic::error("E0306", a.span, message));
                return None;
            }
        };
        Some((t.clone(), self.pick(&t, axis, name)?))
    }

    /// The first `count` elements in order along an axis, and where they are.
    fn ordered(&mut self, t: &Tensor, axis: usize, descending: bool, count: Size) -> Val {
        let x = self.use_(t);
        let rows = self.axis_last(x, axis);
        let (dtype, mut shape) = (self.b().ty(rows).dtype, self.b().shape(rows));
        let len = shape.pop().expect("there is an axis to go along");
        shape.push(count.clone());
        let ty = Ty { dtype: DType::I64, shape: shape.clone() };
        let places = self.b().node(Op::Rows(RowOp::Order { descending }), vec![rows], ty);
        let elements = self.gathered(rows, places, &len, Ty { dtype, shape });
        let mut tags: Vec<Option<Tag>> = t.tags();
        if count != len {
            tags[axis] = None;
        }
        let [elements, places] = [elements, places].map(|v| {
            let v = self.axis_back(v, axis);
            Val::Tensor(self.tensor(v, tags.clone()))
        });
        Val::Tuple(vec![elements, places].into())
    }

    /// Elements of rows, by their places in them.
    fn gathered(&mut self, rows: Value, places: Value, len: &Size, ty: Ty) -> Value {
        let b = self.b();
        // All rows end to end are one table of numbers, in which a place is that many elements behind its row's first.
        let others = ty.rank() - 1;
        let count = Size::product(&ty.shape[..others]);
        let flat = b.merge(rows, 0, others + 1);
        let many = b.merge(places, 0, others);
        let shape = b.shape(many);
        let row = b.iota(DType::I64, &shape, 0);
        let len = b.host(DType::I64, dlc_plan::Host::Size(len.clone()));
        let first = b.zip(Prim::Mul, &[row, len]);
        let at = b.zip(Prim::Add, &[first, many]);
        debug_assert_eq!(shape[0], count, "one row for each");
        let found = b.node(Op::Gather, vec![flat, at], Ty { dtype: ty.dtype, shape });
        b.split(found, 0, &ty.shape[..others])
    }

    fn axis_last(&mut self, v: Value, axis: usize) -> Value {
        let rank = self.b().ty(v).rank();
        let order: Vec<usize> = (0..rank).filter(|i| *i != axis).chain([axis]).collect();
        self.b().permute(v, &order)
    }

    fn axis_back(&mut self, v: Value, axis: usize) -> Value {
        let rank = self.b().ty(v).rank();
        let mut order: Vec<usize> = (0..rank - 1).collect();
        order.insert(axis, rank - 1);
        self.b().permute(v, &order)
    }
}
