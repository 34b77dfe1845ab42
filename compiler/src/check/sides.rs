//! A product with a weight as one of rows and columns, whatever axes it has: how the weight is read through views, which of
//! the product's labels are rows, columns and what is summed over, and how operands and results get two axes and lose them
//! again.

use super::Checker;
use crate::program::{Label, Value, View};
use dlc_plan::Size;

/// What an axis of a view of a weight is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Place {
    /// An axis of the weight, or the elements of it from here on.
    Axis { axis: usize, start: Size },
    /// One of the parts that an axis is split into, the first going slowest.
    Piece { axis: usize, part: usize, of: usize },
    /// An axis of extent 1 that the weight does not have.
    One,
}

/// Every axis of a weight as it is.
pub(super) fn whole(rank: usize) -> Vec<Place> {
    (0..rank).map(|axis| Place::Axis { axis, start: Size::zero() }).collect()
}

/// What the axes of a view are, if they can be followed.
pub(super) fn seen(mut axes: Vec<Place>, view: &View) -> Option<Vec<Place>> {
    match view {
        View::Permute(p) => Some(p.iter().map(|i| axes[*i].clone()).collect()),
        View::Slice { axis, start: from, step: 1 } => {
            let Place::Axis { start, .. } = &mut axes[*axis] else { return None };
            *start = start.plus(from);
            Some(axes)
        }
        View::Split { axis, count } => {
            let parts = match &axes[*axis] {
                _ if *count == 0 => Vec::new(),
                Place::Axis { axis, start } if start.is(0) => {
                    (0..*count).map(|part| Place::Piece { axis: *axis, part, of: *count }).collect()
                }
                Place::Axis { .. } | Place::Piece { .. } | Place::One => return None,
            };
            axes.splice(*axis..=*axis, parts);
            Some(axes)
        }
        View::Merge { axis, count: 0 } => {
            axes.insert(*axis, Place::One);
            Some(axes)
        }
        View::Merge { .. } | View::Slice { .. } | View::Broadcast(_) | View::Pad { .. } | View::Affine(_) => None,
    }
}

/// Some axes of a value in a row, then the others, each as one axis.
pub(super) fn flattened(ck: &mut Checker, v: Value, first: &[usize], second: &[usize]) -> Value {
    let order: Vec<usize> = first.iter().chain(second).copied().collect();
    let v = ck.b().permute(v, &order);
    let v = ck.b().merge(v, 0, first.len());
    ck.b().merge(v, 1, second.len())
}

/// The other way round.
pub(super) fn folded(ck: &mut Checker, v: Value, first: &[usize], second: &[usize], shape: &[Size]) -> Value {
    let sizes = |axes: &[usize]| axes.iter().map(|i| shape[*i].clone()).collect::<Vec<_>>();
    let v = ck.b().split(v, 1, &sizes(second));
    let v = ck.b().split(v, 0, &sizes(first));
    let order: Vec<usize> = first.iter().chain(second).copied().collect();
    let back: Vec<usize> = (0..order.len()).map(|i| place_of(&order, i)).collect();
    ck.b().permute(v, &back)
}

fn place_of(order: &[usize], i: usize) -> usize {
    order.iter().position(|o| *o == i).expect("each axis is in the order")
}

/// The labels of a product by what they are to its weight.
pub(super) struct Sides {
    /// Those of extent 1 that stand everywhere.
    shared: Vec<Label>,
    /// The operand's and the result's alone.
    rows: Vec<Label>,
    /// Those that are summed over, and the result's alone, each with what it is of the weight, in the weight's order.
    inner: Vec<(Label, Place)>,
    outer: Vec<(Label, Place)>,
    out: Vec<Label>,
}

/// How a product's result becomes one with rows and columns, so that this can be undone.
pub(super) struct Back {
    /// The elements of the columns that the product gives, of all that the weight has; none where it gives them all.
    cut: Option<(Size, Size)>,
    /// The extents of the columns' axes.
    columns: Vec<Size>,
    /// How many axes rows are.
    rows: usize,
    /// What axis of the flat result, taken apart, each of the result's axes is; none for those of extent 1.
    order: Vec<Option<usize>>,
}

impl Sides {
    /// The labels of a product, of whose weight these axes are. None where it is read in parts, or group by group.
    pub fn of(axes: &[(Place, Size)], x: &[Label], w: &[Label], out: &[Label]) -> Option<Sides> {
        let mut sides =
            Sides { shared: Vec::new(), rows: Vec::new(), inner: Vec::new(), outer: Vec::new(), out: out.to_vec() };
        for (label, (place, extent)) in w.iter().zip(axes) {
            match (x.contains(label), out.contains(label)) {
                (true, true) => {
                    // A group of which there is one.
                    extent.is(1).then(|| sides.shared.push(*label))?;
                }
                (true, false) => sides.inner.push((*label, place.clone())),
                (false, true) => sides.outer.push((*label, place.clone())),
                (false, false) => return None,
            }
        }
        sides.rows = out.iter().filter(|l| !w.contains(l)).copied().collect();
        let rank = |(_, place): &(Label, Place)| match place {
            Place::Axis { axis, .. } => (*axis, 0),
            Place::Piece { axis, part, .. } => (*axis, *part),
            Place::One => (usize::MAX, 0),
        };
        sides.inner.sort_by_key(rank);
        sides.outer.sort_by_key(rank);
        let all = |side: &[(Label, Place)]| side.iter().all(|(_, p)| *p != Place::One);
        let apart = sides.inner_axes().iter().all(|i| !sides.axes(&sides.outer).contains(i));
        (all(&sides.inner) && all(&sides.outer) && apart).then_some(sides)
    }

    fn axes(&self, side: &[(Label, Place)]) -> Vec<usize> {
        let mut axes: Vec<usize> = Vec::new();
        for (_, place) in side {
            if let Place::Axis { axis, .. } | Place::Piece { axis, .. } = place
                && !axes.contains(axis)
            {
                axes.push(*axis);
            }
        }
        axes
    }

    /// The weight's axes that are summed over, ascending.
    pub fn inner_axes(&self) -> Vec<usize> {
        self.axes(&self.inner)
    }

    /// All others of a weight.
    pub fn outer_axes(&self, rank: usize) -> Vec<usize> {
        let inner = self.inner_axes();
        (0..rank).filter(|i| !inner.contains(i)).collect()
    }

    /// The operand with its rows first and then all that is summed over as one axis.
    pub fn operand(&self, ck: &mut Checker, (v, labels): (Value, &[Label]), shape: &[Size]) -> Value {
        let inner: Vec<Label> = self.inner.iter().map(|(l, _)| *l).collect();
        let order: Vec<Label> = self.rows.iter().filter(|l| labels.contains(l)).chain(&inner).copied().collect();
        let v = self.arranged(ck, v, labels, &order);
        let first = order.len() - inner.len();
        let v = widened(ck, v, first, &self.inner, shape);
        ck.b().merge(v, first, inner.len())
    }

    /// The result likewise, and how to undo that.
    pub fn result(&self, ck: &mut Checker, v: Value, shape: &[Size]) -> (Value, Back) {
        let columns: Vec<Label> = self.outer.iter().map(|(l, _)| *l).collect();
        let order: Vec<Label> = self.rows.iter().chain(&columns).copied().collect();
        let v = self.arranged(ck, v, &self.out, &order);
        let first = self.rows.len();
        let before = ck.b().shape(v)[first..].to_vec();
        let cut = match &self.outer[..] {
            [(_, Place::Axis { axis, start })] if before[0] != shape[*axis] => Some((start.clone(), before[0].clone())),
            _ => None,
        };
        let v = widened(ck, v, first, &self.outer, shape);
        let v = ck.b().merge(v, first, columns.len());
        let order = self.out.iter().map(|l| order.iter().position(|o| o == l)).collect();
        (v, Back { cut, columns: before, rows: first, order })
    }

    /// A value's axes in the order of some of its labels; those that are left out are shared ones.
    fn arranged(&self, ck: &mut Checker, v: Value, labels: &[Label], order: &[Label]) -> Value {
        let mut v = v;
        let mut kept = labels.to_vec();
        for i in (0..labels.len()).rev().filter(|i| self.shared.contains(&labels[*i])) {
            v = ck.b().split(v, i, &[]);
            kept.remove(i);
        }
        let order: Vec<usize> =
            order.iter().map(|l| kept.iter().position(|k| k == l).expect("it is a label of the value")).collect();
        ck.b().permute(v, &order)
    }
}

/// Zeros where a product reads a part of its weight only.
fn widened(ck: &mut Checker, v: Value, first: usize, side: &[(Label, Place)], shape: &[Size]) -> Value {
    let mut v = v;
    for (i, (_, place)) in side.iter().enumerate() {
        if let Place::Axis { axis, start } = place {
            v = ck.b().pad(v, first + i, start.clone(), 1, shape[*axis].clone());
        }
    }
    v
}

impl Back {
    /// The product's result again.
    pub fn undo(self, ck: &mut Checker, v: Value) -> Value {
        let mut v = v;
        if let Some((start, len)) = self.cut {
            v = ck.b().slice(v, self.rows, start, 1, len);
        }
        v = ck.b().split(v, self.rows, &self.columns);
        let order: Vec<usize> = self.order.iter().flatten().copied().collect();
        v = ck.b().permute(v, &order);
        for (i, _) in self.order.iter().enumerate().filter(|(_, o)| o.is_none()) {
            v = ck.b().merge(v, i, 0);
        }
        v
    }
}
