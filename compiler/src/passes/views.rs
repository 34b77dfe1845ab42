//! Rewrites of views: of constants, of views, of concatenations. Takes a view and its argument; gives a simpler value of
//! the same elements, if there is one.

use super::simplify::{emit, made_by};
use crate::program::build::Builder;
use crate::program::{Function, Op, Ty, Value, View};
use dlc_plan::Size;

/// The scalar that a value repeats everywhere, if it is one.
pub(super) fn scalar(f: &Function, v: Value) -> Option<Value> {
    if f.ty(v).shape.is_empty() {
        return Some(v);
    }
    match made_by(f, v) {
        (Op::View(View::Pad { .. }), _) => None,
        (Op::View(_), args) => scalar(f, args[0]),
        (_, _) => None,
    }
}

/// A simpler form of a view of `a`, whose result has the type `ty`.
pub(super) fn view(b: &mut Builder, v: &View, a: Value, ty: &Ty) -> Option<Value> {
    if *b.ty(a) == *ty && keeps_all(v) {
        return Some(a);
    }
    if let Some(x) = b.f.known(a) {
        let zeros = x == 0.0 && x.is_sign_positive();
        if zeros || !matches!(v, View::Pad { .. }) {
            let full = b.full(ty.dtype, x, &ty.shape);
            return (full != a && !is_that(&b.f, full, v, a)).then_some(full);
        }
    }
    if let (Op::Table(all), _) = made_by(&b.f, a)
        && let Some(all) = part_of_table(v, all, ty)
    {
        return Some(b.table(ty.dtype, &all, &ty.shape));
    }
    match v {
        View::Permute(axes) => permute(b, axes, a, ty),
        View::Broadcast(axes) => broadcast(b, axes, a, ty),
        View::Slice { axis, start, step } => slice(b, *axis, start, *step, a, ty),
        View::Split { .. } | View::Merge { .. } => regroup(b, v, a, ty),
        View::Pad { .. } | View::Affine(_) => None,
    }
}

/// The elements that a view takes from a table, where they are some of it in its order.
fn part_of_table(v: &View, all: &[f64], ty: &Ty) -> Option<Vec<f64>> {
    let len = usize::try_from(ty.len().known()?).ok()?;
    match v {
        View::Slice { axis: 0, start, step: 1 } => {
            let row = usize::try_from(Size::product(&ty.shape[1..]).known()?).ok()?;
            let first = usize::try_from(start.known()?).ok()? * row;
            all.get(first..first + len).map(<[f64]>::to_vec)
        }
        View::Split { .. } | View::Merge { .. } => Some(all.to_vec()),
        View::Permute(_) | View::Broadcast(_) | View::Slice { .. } | View::Pad { .. } | View::Affine(_) => None,
    }
}

/// Whether a view to the type of its argument is that argument.
fn keeps_all(v: &View) -> bool {
    match v {
        View::Permute(axes) => axes.iter().enumerate().all(|(i, k)| i == *k),
        View::Broadcast(_) | View::Split { .. } | View::Merge { .. } => true,
        View::Slice { start, step, .. } => start.is(0) && *step == 1,
        View::Pad { before, .. } => before.is(0),
        View::Affine(axes) => axes.iter().enumerate().all(|(k, a)| a.start.is(0) && a.steps == [(k, 1)]),
    }
}

/// Whether a value is just this view of that argument, so that nothing is gained.
fn is_that(f: &Function, full: Value, v: &View, a: Value) -> bool {
    matches!(made_by(f, full), (Op::View(w), args) if w == v && args[0] == a)
}

/// The view that gives a value, and what it is a view of.
fn view_of(f: &Function, v: Value) -> Option<(View, Value)> {
    match made_by(f, v) {
        (Op::View(view), args) => Some((view.clone(), args[0])),
        (_, _) => None,
    }
}

fn again(b: &mut Builder, v: View, a: Value, ty: &Ty) -> Value {
    emit(b, Op::View(v), vec![a], ty.clone())
}

fn permute(b: &mut Builder, axes: &[usize], a: Value, ty: &Ty) -> Option<Value> {
    match view_of(&b.f, a)? {
        (View::Permute(inner), x) => Some(again(b, View::Permute(axes.iter().map(|k| inner[*k]).collect()), x, ty)),
        (View::Broadcast(inner), x) => {
            let place = |k: &usize| axes.iter().position(|p| p == k).expect("a permutation has every axis");
            let moved: Vec<usize> = inner.iter().map(place).collect();
            moved.is_sorted().then(|| again(b, View::Broadcast(moved), x, ty))
        }
        (View::Affine(mut at), x) => {
            let place = |r: usize| axes.iter().position(|p| *p == r).expect("a permutation has every axis");
            at.iter_mut().flat_map(|a| &mut a.steps).for_each(|s| s.0 = place(s.0));
            at.iter_mut().for_each(|a| a.steps.sort_unstable());
            Some(again(b, View::Affine(at), x, ty))
        }
        (View::Slice { .. } | View::Split { .. } | View::Merge { .. } | View::Pad { .. }, _) => None,
    }
}

fn broadcast(b: &mut Builder, axes: &[usize], a: Value, ty: &Ty) -> Option<Value> {
    match view_of(&b.f, a)? {
        (View::Broadcast(inner), x) => Some(again(b, View::Broadcast(inner.iter().map(|k| axes[*k]).collect()), x, ty)),
        // An axis of extent 1 that was put in is one more along which elements are repeated.
        (View::Merge { axis, count: 0 }, x) => {
            let mut axes = axes.to_vec();
            axes.remove(axis);
            Some(again(b, View::Broadcast(axes), x, ty))
        }
        (
            View::Permute(_)
            | View::Slice { .. }
            | View::Split { .. }
            | View::Merge { .. }
            | View::Pad { .. }
            | View::Affine(_),
            _,
        ) => None,
    }
}

fn slice(b: &mut Builder, axis: usize, start: &Size, step: i64, a: Value, ty: &Ty) -> Option<Value> {
    if let (Op::Concat(along), parts) = made_by(&b.f, a)
        && *along == axis
    {
        let parts = parts.to_vec();
        return part(b, axis, start, step, &parts, ty);
    }
    match view_of(&b.f, a)? {
        (View::Slice { axis: k, start: first, step: by }, x) if k == axis => {
            let start = first.plus(&start.times(&Size::from(by)));
            Some(again(b, View::Slice { axis, start, step: by * step }, x, ty))
        }
        (View::Pad { axis: k, before }, x) => {
            (k == axis && before == *start && step == 1 && b.ty(x) == ty).then_some(x)
        }
        (View::Broadcast(from), x) => match from.iter().position(|k| *k == axis) {
            None => Some(again(b, View::Broadcast(from), x, ty)),
            Some(k) => {
                let mut small = b.ty(x).clone();
                small.shape[k] = ty.shape[axis].clone();
                let x = again(b, View::Slice { axis: k, start: start.clone(), step }, x, &small);
                Some(again(b, View::Broadcast(from), x, ty))
            }
        },
        (View::Affine(mut axes), x) => {
            for a in &mut axes {
                for (r, by) in &mut a.steps {
                    if *r == axis {
                        a.start = a.start.plus(&start.times(&Size::from(*by)));
                        *by *= step;
                    }
                }
            }
            Some(again(b, View::Affine(axes), x, ty))
        }
        (View::Permute(p), x) => {
            let mut small = b.ty(x).clone();
            small.shape[p[axis]] = ty.shape[axis].clone();
            let x = again(b, View::Slice { axis: p[axis], start: start.clone(), step }, x, &small);
            Some(again(b, View::Permute(p), x, ty))
        }
        (View::Slice { .. } | View::Split { .. } | View::Merge { .. }, _) => None,
    }
}

/// A slice of a concatenation that lies in one part.
fn part(b: &mut Builder, axis: usize, start: &Size, step: i64, parts: &[Value], ty: &Ty) -> Option<Value> {
    let len = &ty.shape[axis];
    let mut at = Size::zero();
    for p in parts {
        let extent = b.ty(*p).shape[axis].clone();
        let first = start.minus(&at);
        if first.is(0) && step == 1 && extent == *len {
            return Some(*p);
        }
        let inside = |first: i64, len: i64, extent: i64| {
            let last = first + (len - 1) * step;
            len > 0 && (0..extent).contains(&first) && (0..extent).contains(&last)
        };
        if let (Some(f), Some(n), Some(e)) = (first.known(), len.known(), extent.known())
            && inside(f, n, e)
        {
            return Some(again(b, View::Slice { axis, start: first, step }, *p, ty));
        }
        at = at.plus(&extent);
    }
    None
}

/// Splits and merges leave the order of the elements as it is, so a row of them is undone where the shape comes back. An
/// axis of extent 1 beside or among repeated ones is a repeated one.
fn regroup(b: &mut Builder, v: &View, a: Value, ty: &Ty) -> Option<Value> {
    let mut x = a;
    while let Some((View::Split { .. } | View::Merge { .. }, from)) = view_of(&b.f, x) {
        if *b.ty(from) == *ty {
            return Some(from);
        }
        x = from;
    }
    let (View::Broadcast(axes), x) = view_of(&b.f, a)? else { return None };
    let shifted = match v {
        View::Merge { axis, count: 0 } => axes.iter().map(|k| if k >= axis { k + 1 } else { *k }).collect(),
        View::Split { axis, count: 0 } if !axes.contains(axis) => {
            axes.iter().map(|k| if k > axis { k - 1 } else { *k }).collect()
        }
        View::Merge { .. } | View::Split { .. } => return None,
        View::Permute(_) | View::Broadcast(_) | View::Slice { .. } | View::Pad { .. } | View::Affine(_) => return None,
    };
    Some(again(b, View::Broadcast(shifted), x, ty))
}
