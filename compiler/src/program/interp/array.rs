//! Arrays in memory: shared elements, read through strides, so that views copy nothing. Takes arrays and gives arrays; it
//! knows nothing of programs.
//!
//! An element is a cell of 64 bits: a real number itself, an integer or a truth by its bits as an integer of 64 bits. Whoever
//! computes with cells knows the type; zero is the same cell in all types.

use std::rc::Rc;

use dlc_plan::DType;

/// The cell of an integer.
pub(super) fn of_whole(n: i64) -> f64 {
    f64::from_bits(n as u64)
}

/// The integer of a cell.
pub(super) fn whole(cell: f64) -> i64 {
    cell.to_bits() as i64
}

/// The cell of a number in a type.
pub(super) fn number(dtype: DType, x: f64) -> f64 {
    if dtype.is_float() { dlc_plan::cast(dtype, x) } else { of_whole(dlc_plan::truncate(dtype, x)) }
}

/// Elements, and where to find them: index i has the element `offset + sum(i[k] * strides[k])`.
#[derive(Clone, Debug)]
pub(super) struct Array {
    pub shape: Vec<usize>,
    strides: Vec<isize>,
    offset: isize,
    pub data: Rc<Vec<f64>>,
    /// Whether it is a scalar that differs by segment: it has no axes, and an element for each segment.
    pub by_segment: bool,
}

/// The strides of end-to-end elements.
fn dense(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1; shape.len()];
    for k in (1..shape.len()).rev() {
        strides[k - 1] = strides[k] * shape[k].max(1) as isize;
    }
    strides
}

/// The last axis of a walk: how many elements, and from each array the first one's number and the step to the next.
pub(super) struct Lane<'a> {
    pub len: usize,
    pub at: &'a [isize],
    pub step: &'a [isize],
}

/// Goes over all points of a shape in order, a run of the last axis at a time, for arrays with these strides and
/// offsets. Axes that lie end to end in all arrays are walked as one.
pub(super) fn walk(shape: &[usize], arrays: &[(&[isize], isize)], mut visit: impl FnMut(Lane)) {
    if shape.contains(&0) {
        return;
    }
    // Per array, the strides of the axes that are left.
    let mut extents: Vec<usize> = Vec::new();
    let mut strides: Vec<Vec<isize>> = vec![Vec::new(); arrays.len()];
    for (k, n) in shape.iter().enumerate().filter(|(_, n)| **n != 1) {
        let joins = !extents.is_empty()
            && arrays.iter().zip(&strides).all(|((s, _), own)| own.last() == Some(&(s[k] * *n as isize)));
        if joins {
            *extents.last_mut().expect("there is an axis to join") *= n;
        } else {
            extents.push(*n);
        }
        for ((s, _), own) in arrays.iter().zip(&mut strides) {
            if joins {
                own.pop();
            }
            own.push(s[k]);
        }
    }
    let len = extents.pop().unwrap_or(1);
    let step: Vec<isize> = strides.iter_mut().map(|s| s.pop().unwrap_or(0)).collect();
    let mut at: Vec<isize> = arrays.iter().map(|(_, o)| *o).collect();
    let mut index = vec![0; extents.len()];
    loop {
        visit(Lane { len, at: &at, step: &step });
        let Some(k) = (0..extents.len()).rev().find(|k| index[*k] + 1 < extents[*k]) else { return };
        index[k] += 1;
        for (at, own) in at.iter_mut().zip(&strides) {
            *at += own[k];
            for j in k + 1..extents.len() {
                *at -= own[j] * index[j] as isize;
            }
        }
        index[k + 1..].fill(0);
    }
}

impl Array {
    /// Elements with the last axis fastest.
    pub fn new(shape: Vec<usize>, data: Vec<f64>) -> Array {
        Array { strides: dense(&shape), shape, offset: 0, data: Rc::new(data), by_segment: false }
    }

    /// A scalar that differs by segment.
    pub fn by_segment(data: Vec<f64>) -> Array {
        Array { by_segment: true, ..Array::new(Vec::new(), data) }
    }

    /// Where its elements are, for [`walk`].
    pub fn place(&self) -> (&[isize], isize) {
        (&self.strides, self.offset)
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    fn is_dense(&self) -> bool {
        self.by_segment || self.offset == 0 && self.data.len() == self.len() && self.strides == dense(&self.shape)
    }

    /// The same elements end to end, of which nothing else is kept.
    pub fn compact(self) -> Array {
        if self.is_dense() {
            return self;
        }
        let mut data = Vec::with_capacity(self.len());
        walk(&self.shape, &[self.place()], |lane| {
            data.extend((0..lane.len).map(|i| self.data[(lane.at[0] + i as isize * lane.step[0]) as usize]));
        });
        Array::new(self.shape, data)
    }

    /// The elements end to end.
    pub fn contiguous(&self) -> Rc<Vec<f64>> {
        self.clone().compact().data
    }

    /// Copies all elements to `out`, where they lie by these strides and this offset.
    pub fn copy_to(&self, out: &mut [f64], strides: &[isize], offset: isize) {
        walk(&self.shape, &[self.place(), (strides, offset)], |lane| {
            for i in 0..lane.len as isize {
                out[(lane.at[1] + i * lane.step[1]) as usize] = self.data[(lane.at[0] + i * lane.step[0]) as usize];
            }
        });
    }

    /// The part at one index of the first axis.
    pub fn element(&self, index: usize) -> Array {
        Array {
            shape: self.shape[1..].to_vec(),
            strides: self.strides[1..].to_vec(),
            offset: self.offset + index as isize * self.strides[0],
            ..self.clone()
        }
    }

    /// Arrays of one shape along a new first axis.
    pub fn stack(parts: &[Array]) -> Array {
        let shape: Vec<usize> = std::iter::once(parts.len()).chain(parts[0].shape.iter().copied()).collect();
        let (strides, mut data) = (dense(&shape), vec![0.0; shape.iter().product()]);
        for (i, part) in parts.iter().enumerate() {
            part.copy_to(&mut data, &strides[1..], i as isize * strides[0]);
        }
        Array::new(shape, data)
    }

    /// Arrays one after the other along an axis of the shape that they have together.
    pub fn concat(shape: Vec<usize>, axis: usize, parts: &[Array]) -> Array {
        let (strides, mut data) = (dense(&shape), vec![0.0; shape.iter().product()]);
        let mut at = 0;
        for part in parts {
            part.copy_to(&mut data, &strides, at as isize * strides[axis]);
            at += part.shape[axis];
        }
        Array::new(shape, data)
    }

    /// The same elements where result axis i is axis `axes[i]`, or one along which they are repeated.
    pub fn with_axes(&self, shape: Vec<usize>, axes: &[Option<usize>]) -> Array {
        let strides = axes.iter().map(|a| a.map_or(0, |a| self.strides[a])).collect();
        Array { shape, strides, ..self.clone() }
    }

    /// `len` elements along an axis, if all of them are there.
    pub fn slice(&self, axis: usize, start: i64, step: i64, len: usize) -> Option<Array> {
        let last = start + (len as i64 - 1) * step;
        let inside = 0..self.shape[axis] as i64;
        if len > 0 && !(inside.contains(&start) && inside.contains(&last)) {
            return None;
        }
        let mut out = self.clone();
        if len > 0 {
            out.offset += start as isize * out.strides[axis];
        }
        out.strides[axis] *= step as isize;
        out.shape[axis] = len;
        Some(out)
    }

    /// The same elements where axis k is read at `axes[k]`, a start and the steps of result axes; if all are there.
    pub fn affine(&self, axes: &[(i64, &[(usize, i64)])], shape: Vec<usize>) -> Option<Array> {
        let mut out = Array { strides: vec![0; shape.len()], ..self.clone() };
        for ((start, steps), (extent, stride)) in axes.iter().zip(self.shape.iter().zip(&self.strides)) {
            let reach = |(axis, step): &(usize, i64)| step * (shape[*axis] as i64 - 1);
            let low = start + steps.iter().map(reach).filter(|r| *r < 0).sum::<i64>();
            let high = start + steps.iter().map(reach).filter(|r| *r > 0).sum::<i64>();
            if !shape.contains(&0) && (low < 0 || high >= *extent as i64) {
                return None;
            }
            out.offset += *start as isize * stride;
            for (axis, step) in *steps {
                out.strides[*axis] += *step as isize * stride;
            }
        }
        out.shape = shape;
        Some(out)
    }

    /// Zeros, with the elements of this array along an axis from `before` on; if they fit.
    pub fn pad(&self, axis: usize, before: i64, shape: Vec<usize>) -> Option<Array> {
        let (n, strides) = (self.shape[axis], dense(&shape));
        let room = Array { shape, strides, offset: 0, data: Rc::default(), by_segment: false };
        let target = room.slice(axis, before, 1, n)?;
        let mut data = vec![0.0; room.len()];
        self.copy_to(&mut data, &target.strides, target.offset);
        Some(Array::new(room.shape, data))
    }

    /// Other extents for the same elements in the same order.
    pub fn reshape(&self, shape: Vec<usize>) -> Option<Array> {
        if shape.iter().product::<usize>() != self.len() {
            return None;
        }
        if shape.iter().filter(|n| **n != 1).eq(self.shape.iter().filter(|n| **n != 1)) {
            let mut strides = self.shape.iter().zip(&self.strides).filter(|(n, _)| **n != 1).map(|(_, s)| *s);
            let strides = shape.iter().map(|n| if *n == 1 { 0 } else { strides.next().unwrap_or(0) }).collect();
            return Some(Array { shape, strides, ..self.clone() });
        }
        let strides = dense(&shape);
        Some(Array { shape, strides, ..self.clone().compact() })
    }
}
