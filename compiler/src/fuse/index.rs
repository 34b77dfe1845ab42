//! Index maps: how the index of one value follows from the indices of the loops around it.
//!
//! A map gives, for each axis of a value, an affine function of the loops' axes, and the conditions under which there is
//! an element at all (outside them the value is zero, as padding says). Views compose with maps, so a view costs nothing.

use crate::program::{Ty, View};
use dlc_plan::Size;

/// An affine function of the loops' axes: an offset and a factor for each axis that matters.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Lin {
    /// The constant part.
    pub offset: Size,
    /// (loop axis, factor), sorted, no axis twice, no factor zero.
    pub terms: Vec<(usize, Size)>,
}

/// The index of a value, as a function of the loops' axes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Map {
    /// One function for each axis of the value.
    pub axes: Vec<Lin>,
    /// (index, extent): the value is zero unless every index is in 0..extent.
    pub bounds: Vec<(Lin, Size)>,
}

impl Lin {
    /// One loop axis itself.
    pub fn axis(a: usize) -> Lin {
        Lin { offset: Size::zero(), terms: vec![(a, Size::one())] }
    }

    /// A constant.
    pub fn constant(offset: Size) -> Lin {
        Lin { offset, terms: Vec::new() }
    }

    /// This times a size.
    pub fn times(&self, by: &Size) -> Lin {
        let terms = self.terms.iter().map(|(a, s)| (*a, s.times(by))).filter(|(_, s)| !s.is(0)).collect();
        Lin { offset: self.offset.times(by), terms }
    }

    /// The sum of two.
    pub fn plus(&self, other: &Lin) -> Lin {
        let mut sum = self.clone();
        sum.offset = sum.offset.plus(&other.offset);
        for (a, s) in &other.terms {
            match sum.terms.binary_search_by_key(a, |t| t.0) {
                Ok(i) => sum.terms[i].1 = sum.terms[i].1.plus(s),
                Err(i) => sum.terms.insert(i, (*a, s.clone())),
            }
        }
        sum.terms.retain(|(_, s)| !s.is(0));
        sum
    }

    /// The quotient and the remainder by `size`, where every term goes wholly into one of them. `extents` are those of
    /// the loops' axes.
    fn divided(&self, size: &Size, extents: &[Size]) -> Option<(Lin, Lin)> {
        let (mut high, mut low) = (Lin::default(), Lin::default());
        match self.offset.divided(size) {
            Some(q) => high.offset = q,
            None => low.offset = self.offset.clone(),
        }
        for (a, s) in &self.terms {
            match s.divided(size) {
                Some(q) => high.terms.push((*a, q)),
                None => low.terms.push((*a, s.clone())),
            }
        }
        // The remainder has to stay below the divisor, which is seen by multiplying its extents out from the inside.
        let mut inner: Vec<&(usize, Size)> = low.terms.iter().collect();
        let mut reach = Size::one();
        while !inner.is_empty() {
            let next = inner.iter().position(|(_, s)| *s == reach)?;
            let (a, s) = inner.remove(next);
            reach = s.times(&extents[*a]);
        }
        let fits = reach == *size || matches!((reach.known(), size.known()), (Some(r), Some(s)) if r <= s);
        (low.offset.is(0) && fits).then_some((high, low))
    }
}

impl Map {
    /// Each loop axis is an axis of the value.
    pub fn identity(rank: usize) -> Map {
        Map { axes: (0..rank).map(Lin::axis).collect(), bounds: Vec::new() }
    }

    /// The map of a view's argument, from that of its result; `from` is the argument's type and `to` the result's.
    /// None where the index would not be affine: the argument has to be in memory first.
    pub fn through(&self, view: &View, from: &Ty, to: &Ty, extents: &[Size]) -> Option<Map> {
        let mut bounds = self.bounds.clone();
        let mut axes = self.axes.clone();
        match view {
            View::Permute(p) => {
                axes = vec![Lin::default(); p.len()];
                for (i, a) in p.iter().enumerate() {
                    axes[*a] = self.axes[i].clone();
                }
            }
            View::Broadcast(at) => axes = at.iter().map(|a| self.axes[*a].clone()).collect(),
            View::Slice { axis, start, step } => {
                axes[*axis] = Lin::constant(start.clone()).plus(&axes[*axis].times(&Size::from(*step)));
            }
            View::Split { axis, count } => {
                let mut sum = Lin::default();
                for k in 0..*count {
                    let inner = Size::product(&to.shape[axis + k + 1..axis + count]);
                    sum = sum.plus(&self.axes[axis + k].times(&inner));
                }
                axes.splice(*axis..axis + count, [sum]);
            }
            View::Merge { axis, count } => {
                let mut rest = self.axes[*axis].clone();
                let mut parts = Vec::new();
                for k in 0..*count {
                    let inner = Size::product(&from.shape[axis + k + 1..axis + count]);
                    let (high, low) = rest.divided(&inner, extents)?;
                    parts.push(high);
                    rest = low;
                }
                axes.splice(*axis..=*axis, parts);
            }
            View::Affine(at) => {
                axes = at
                    .iter()
                    .map(|a| {
                        a.steps.iter().fold(Lin::constant(a.start.clone()), |sum, (r, step)| {
                            sum.plus(&self.axes[*r].times(&Size::from(*step)))
                        })
                    })
                    .collect();
            }
            View::Pad { axis, before } => {
                axes[*axis] = axes[*axis].plus(&Lin::constant(Size::zero().minus(before)));
                bounds.push((axes[*axis].clone(), from.shape[*axis].clone()));
            }
        }
        Some(Map { axes, bounds })
    }

    /// The element's number in a contiguous buffer of that shape.
    pub fn flat(&self, shape: &[Size]) -> Lin {
        let mut sum = Lin::default();
        let mut stride = Size::one();
        for (lin, size) in self.axes.iter().zip(shape).rev() {
            if !size.is(1) {
                sum = sum.plus(&lin.times(&stride));
            }
            stride = stride.times(size);
        }
        sum
    }
}

/// Where the elements of a view lie in a contiguous buffer: an offset, and a stride for each of the view's axes.
#[derive(Clone, Debug, PartialEq)]
pub struct Layout {
    /// The first element's number.
    pub offset: Size,
    /// Elements from an index to the next, for each axis.
    pub strides: Vec<Size>,
}

impl Layout {
    /// A contiguous buffer of that shape.
    pub fn contiguous(shape: &[Size]) -> Layout {
        let mut strides = vec![Size::one(); shape.len()];
        for i in (1..shape.len()).rev() {
            strides[i - 1] = strides[i].times(&shape[i]);
        }
        Layout { offset: Size::zero(), strides }
    }

    /// The layout of a view's result, from that of its argument. None where there is no such stride.
    pub fn view(&self, view: &View, from: &Ty, to: &Ty) -> Option<Layout> {
        let mut offset = self.offset.clone();
        let mut strides = self.strides.clone();
        match view {
            View::Permute(p) => strides = p.iter().map(|a| self.strides[*a].clone()).collect(),
            View::Broadcast(at) => {
                strides = vec![Size::zero(); to.rank()];
                for (k, a) in at.iter().enumerate() {
                    strides[*a] = self.strides[k].clone();
                }
            }
            View::Slice { axis, start, step } => {
                offset = offset.plus(&strides[*axis].times(start));
                strides[*axis] = strides[*axis].times(&Size::from(*step));
            }
            View::Split { axis, count } => {
                let own = strides[*axis].clone();
                let parts = (0..*count).map(|k| own.times(&Size::product(&to.shape[axis + k + 1..axis + count])));
                let parts: Vec<_> = parts.collect();
                strides.splice(*axis..=*axis, parts);
            }
            View::Merge { axis, count } => {
                // Axes of extent 1 have no say; the others must follow each other without gaps.
                let real: Vec<usize> = (*axis..axis + count).filter(|a| !from.shape[*a].is(1)).collect();
                for w in real.windows(2) {
                    if strides[w[0]] != strides[w[1]].times(&from.shape[w[1]]) {
                        return None;
                    }
                }
                let own = real.last().map_or(Size::zero(), |a| strides[*a].clone());
                strides.splice(*axis..axis + count, [own]);
            }
            View::Affine(at) => {
                strides = vec![Size::zero(); to.rank()];
                for (a, own) in at.iter().zip(&self.strides) {
                    offset = offset.plus(&own.times(&a.start));
                    for (r, step) in &a.steps {
                        strides[*r] = strides[*r].plus(&own.times(&Size::from(*step)));
                    }
                }
            }
            View::Pad { .. } => return None,
        }
        Some(Layout { offset, strides })
    }
}
