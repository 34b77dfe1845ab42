//! Tensors that are put together and taken apart along an axis: `concat`, `stack`, `split`, `pad`.

use super::Checker;
use super::value::{Axis, AxisArgs, Given, Tag, Tensor, Val};
use crate::program::{Op, Ty, Value};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::Size;

/// The most parts that `split` makes of an axis.
const MOST_PARTS: i64 = 4096;

impl Checker {
    pub(super) fn concat(&mut self, axes: Option<&AxisArgs>, args: Vec<Given>, span: Span) -> Val {
        let Some(parts) = self.alike("concat", args, span) else { return Val::Poison };
        let Some(axis) = self.one_axis("concat", &parts[0], axes, span) else { return Val::Poison };
        self.join(parts, axis, span)
    }

    fn join(&mut self, parts: Vec<Tensor>, axis: usize, span: Span) -> Val {
        let first = &parts[0];
        for p in &parts[1..] {
            let same = p.rank() == first.rank()
                && p.axes.iter().zip(first.axes.iter()).enumerate().all(|(i, (a, b))| i == axis || a.size == b.size);
            if !same {
                let (a, b) = (self.show_shape(&first.axes), self.show_shape(&p.axes));
                let message = format!("cannot join {a} and {b} along axis {axis}");
                return self.error(Diagnostic::error("E0312", span, message));
            }
        }
        let values: Vec<Value> = parts.iter().map(|p| self.use_(p)).collect();
        let mut shape = first.shape();
        shape[axis] = parts.iter().fold(Size::zero(), |s, p| s.plus(&p.axes[axis].size));
        let mut tags = first.tags();
        if parts.len() > 1 {
            tags[axis] = None;
        }
        let ty = Ty { dtype: first.dtype, shape };
        let v = if values.len() == 1 { values[0] } else { self.b().node(Op::Concat(axis), values, ty) };
        Val::Tensor(self.tensor(v, tags))
    }

    pub(super) fn stack_args(&mut self, axes: Option<&AxisArgs>, args: Vec<Given>, span: Span) -> Val {
        let Some(parts) = self.alike("stack", args, span) else { return Val::Poison };
        // The axis is one of the result's, which has one more than each part.
        let mut wide: Vec<Axis> = parts[0].axes.to_vec();
        wide.push(Axis { size: Size::one(), tag: None });
        let wide = Tensor { axes: wide.into(), ..parts[0].clone() };
        let Some(axis) = self.one_axis("stack", &wide, axes, span) else { return Val::Poison };
        self.stack(axis, parts.into_iter().map(Val::Tensor).collect(), span)
    }

    /// Tensors or numbers side by side along a new axis.
    pub(super) fn stack(&mut self, axis: usize, items: Vec<Val>, span: Span) -> Val {
        let items: Vec<Given> = items.into_iter().map(|v| Given::new(v, span)).collect();
        let Some(parts) = self.alike("stack", items, span) else { return Val::Poison };
        let mut wide = Vec::new();
        for p in &parts {
            let v = self.use_(p);
            let v = self.b().merge(v, axis.min(p.rank()), 0);
            let mut tags = p.tags();
            tags.insert(axis.min(p.rank()), None);
            wide.push(self.tensor(v, tags));
        }
        self.join(wide, axis, span)
    }

    pub(super) fn split(&mut self, axes: Option<&AxisArgs>, args: &[Given], span: Span) -> Val {
        let Some(t) = self.tensor_arg("split", &args[0]) else { return Val::Poison };
        let Some(axis) = self.one_axis("split", &t, axes, span) else { return Val::Poison };
        let whole = t.axes[axis].clone();
        let mut sizes: Vec<(Size, Option<Tag>)> = Vec::new();
        match &args[1].val {
            Val::List(items) => {
                for item in items.iter() {
                    let Some(size) = self.as_size(item, args[1].span) else { return Val::Poison };
                    sizes.push(size);
                }
            }
            other => {
                let Some(n) = self.as_int(other, args[1].span) else { return Val::Poison };
                if !(1..=MOST_PARTS).contains(&n) {
                    let message = format!("`split` makes 1 to {MOST_PARTS} parts, got {n}");
                    return self.error(Diagnostic::error("E0303", args[1].span, message));
                }
                let Some(part) = whole.size.divided(&Size::from(n)) else {
                    let message = format!("{} is not divisible by {n}", self.show_axis(&whole));
                    return self.error(Diagnostic::error("E0303", args[1].span, message));
                };
                sizes = vec![(part, None); n as usize];
            }
        }
        let sum = sizes.iter().fold(Size::zero(), |s, (p, _)| s.plus(p));
        if sum != whole.size {
            let parts: Vec<Size> = sizes.iter().map(|(s, _)| s.clone()).collect();
            let message = format!(
                "the parts {} have {} together, and the axis has {}",
                self.show_sizes(&parts),
                self.show_size(&sum),
                self.show_axis(&whole)
            );
            return self.error(Diagnostic::error("E0312", args[1].span, message));
        }
        let x = self.use_(&t);
        let mut start = Size::zero();
        let mut parts = Vec::new();
        for (size, tag) in sizes {
            let v = self.b().slice(x, axis, start.clone(), 1, size.clone());
            start = start.plus(&size);
            let mut tags = t.tags();
            tags[axis] = tag;
            parts.push(Val::Tensor(self.tensor(v, tags)));
        }
        Val::List(parts.into())
    }

    pub(super) fn pad(&mut self, axes: Option<&AxisArgs>, args: &[Given], span: Span) -> Val {
        let Some(t) = self.tensor_arg("pad", &args[0]) else { return Val::Poison };
        if axes.is_none_or(|a| a.list.is_empty()) {
            return self.error(Diagnostic::error("E0306", span, "`pad` needs its axes: `pad[2](x, 1, 1)`"));
        }
        let Some(picked) = self.pick_all(&t, axes, "pad") else { return Val::Poison };
        let Some((before, _)) = self.as_size(&args[1].val, args[1].span) else { return Val::Poison };
        let Some((after, _)) = self.as_size(&args[2].val, args[2].span) else { return Val::Poison };
        let mut v = self.use_(&t);
        let mut tags = t.tags();
        for i in picked {
            let len = t.axes[i].size.plus(&before).plus(&after);
            v = self.b().pad(v, i, before.clone(), 1, len.clone());
            if len != t.axes[i].size {
                tags[i] = None;
            }
        }
        Val::Tensor(self.tensor(v, tags))
    }
}
