//! A product with a weight as one of rows and columns, whatever axes it has: how the weight is read through views, which of
//! the product's labels are rows, columns and what is summed over, and how operands and results get two axes and lose them
//! again.

use super::Checker;
use crate::program::{Affine, Label, Value, View};
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
    /// Those that stand everywhere: each row of the operand meets one group of the weight's columns only.
    groups: Vec<Label>,
    /// Those that are summed over, and the result's, groups among them, each with what it is of the weight, in the weight's
    /// order.
    inner: Vec<(Label, Place)>,
    outer: Vec<(Label, Place)>,
    out: Vec<Label>,
}

/// How a product's result, made one with rows and columns, becomes what it was again.
pub(super) struct Back {
    /// Its first axis of columns, and the extents of all of them that the weight has.
    first: usize,
    columns: Vec<Size>,
    /// Where each of its axes is read: along which axis of the result, and from where on.
    at: Vec<Affine>,
    /// The extents of the result without axes that stand everywhere, and where those go.
    shape: Vec<Size>,
    shared: Vec<usize>,
}

impl Sides {
    /// The labels of a product, of whose weight these axes are. None where what is summed over is a part of an axis whose
    /// other parts are not.
    pub fn of(axes: &[(Place, Size)], x: &[Label], w: &[Label], out: &[Label]) -> Option<Sides> {
        let (mut shared, mut groups) = (Vec::new(), Vec::new());
        let (mut inner, mut outer) = (Vec::new(), Vec::new());
        for (label, (place, extent)) in w.iter().zip(axes) {
            match (x.contains(label), out.contains(label)) {
                (true, true) if extent.is(1) => shared.push(*label),
                (true, false) => inner.push((*label, place.clone())),
                (among_rows, true) => {
                    groups.extend(among_rows.then_some(*label));
                    outer.push((*label, place.clone()));
                }
                (false, false) => return None,
            }
        }
        let rank = |(_, place): &(Label, Place)| match place {
            Place::Axis { axis, .. } => (*axis, 0),
            Place::Piece { axis, part, .. } => (*axis, *part),
            Place::One => (usize::MAX, 0),
        };
        inner.sort_by_key(rank);
        outer.sort_by_key(rank);
        let rows = out.iter().filter(|l| !w.contains(l)).copied().collect();
        let sides = Sides { shared, rows, groups, inner, outer, out: out.to_vec() };
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

    /// Into how many groups, one after the other, the weight's first axis goes. None where groups lie otherwise.
    pub fn leading_groups(&self, axes: &[(Place, Size)], shape: &[Size]) -> Option<i64> {
        let first = &self.outer[..self.groups.len()];
        let whole = |(place, extent): &&(Place, Size)| match place {
            Place::Axis { axis, .. } => *axis == 0 && *extent == shape[0],
            Place::Piece { axis, .. } => *axis == 0,
            Place::One => false,
        };
        let extent = |(label, place): &(Label, Place)| {
            let own = axes.iter().find(|(other, _)| other == place).filter(whole)?;
            self.groups.contains(label).then_some(&own.1)
        };
        Size::product(first.iter().map(extent).collect::<Option<Vec<_>>>()?).known()
    }

    /// The operand with its rows first, groups the last of them, and then all that is summed over as one axis.
    pub fn operand(&self, ck: &mut Checker, (v, labels): (Value, &[Label]), shape: &[Size]) -> Value {
        let order: Vec<Label> = self.all_rows().chain(self.inner.iter().map(|(l, _)| *l)).collect();
        let v = self.arranged(ck, v, labels, &order);
        let first = order.len() - self.inner.len();
        let v = widened(ck, v, first, &self.inner, shape);
        ck.b().merge(v, first, self.inner.len())
    }

    /// All labels of rows, in the order in which an adapter gets them.
    fn all_rows(&self) -> impl Iterator<Item = Label> {
        self.rows.iter().chain(&self.groups).copied()
    }

    /// The result likewise, and how to undo that. Where there are groups, each row has all of the weight's columns: those
    /// that are not of its group are the result's elsewhere, and what becomes of them is thrown away.
    pub fn result(&self, ck: &mut Checker, v: Value, shape: &[Size]) -> (Value, Back) {
        let columns: Vec<Label> = self.outer.iter().map(|(l, _)| *l).collect();
        let order: Vec<Label> = self.rows.iter().chain(&columns).copied().collect();
        let extents = ck.b().shape(v);
        let kept = (0..).zip(self.out.iter().copied()).filter(|(_, l)| !self.shared.contains(l));
        let (places, kept): (Vec<usize>, Vec<Label>) = kept.unzip();
        let v = self.arranged(ck, v, &self.out, &order);
        let rows = self.rows.len();
        let v = widened(ck, v, rows, &self.outer, shape);
        let wide = ck.b().shape(v)[rows..].to_vec();
        let v = ck.b().merge(v, rows, columns.len());
        let first = rows + self.groups.len();
        let along = |l: &Label| kept.iter().position(|k| k == l).expect("it is a label of the result");
        let mut whole = ck.b().shape(v);
        let groups = self.groups.iter().map(|l| extents[places[along(l)]].clone());
        whole.splice(rows..rows, groups);
        let v = ck.b().broadcast(v, (0..rows).chain([first]).collect(), &whole);
        let read = |l: &Label, start: Size| Affine { start, steps: vec![(along(l), 1)] };
        let begin = |place: &Place| if let Place::Axis { start, .. } = place { start.clone() } else { Size::zero() };
        let of_rows = self.all_rows().map(|l| read(&l, Size::zero()));
        let at = of_rows.chain(self.outer.iter().map(|(l, place)| read(l, begin(place)))).collect();
        let shared = (0..self.out.len()).filter(|i| !places.contains(i)).collect();
        let shape = places.iter().map(|i| extents[*i].clone()).collect();
        (v, Back { first, columns: wide, at, shape, shared })
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
    /// The product's result again: of each row, the columns of its group.
    pub fn undo(self, ck: &mut Checker, v: Value) -> Value {
        let v = ck.b().split(v, self.first, &self.columns);
        let v = ck.b().affine(v, self.at, self.shape);
        self.shared.iter().fold(v, |v, axis| ck.b().merge(v, *axis, 0))
    }
}
