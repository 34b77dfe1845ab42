//! Contractions as matrix products: labels become rows, columns, inner and batch axes, by strides alone.

use crate::fuse::index::Layout;
use crate::program::{Contract, Label};
use dlc_plan::Size;

/// A contraction, as the runtime multiplies: everything but the buffers.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Rows, columns, inner length.
    pub mnk: [Size; 3],
    /// The batch axes' extents.
    pub batch: Vec<Size>,
    /// Row stride, column stride, and batch strides of the left operand.
    pub a: Strides,
    /// Those of the right operand.
    pub b: Strides,
    /// Those of the result.
    pub c: Strides,
    /// Whether the left operand is the contraction's second.
    pub swapped: bool,
    /// Whether the rows of the result, all batches together, are the rows of a contiguous matrix in order.
    pub rowwise: bool,
}

/// How a matrix lies in its buffer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Strides {
    /// The first element's number.
    pub offset: Size,
    /// From a row to the next.
    pub row: Size,
    /// From a column to the next.
    pub col: Size,
    /// Axes within the rows, (extent, stride), the last one fastest.
    pub rows: Vec<(Size, Size)>,
    /// Axes within the columns.
    pub cols: Vec<(Size, Size)>,
    /// From a matrix to the next, along each batch axis.
    pub batch: Vec<Size>,
}

/// An axis: its extent, and its strides in the two operands and the result.
type Dim = (Size, [Size; 3]);

/// How a contraction of operands of these layouts is multiplied. `extent` gives the extent of a label.
pub fn shape(c: &Contract, a: &Layout, b: &Layout, extent: &dyn Fn(Label) -> Size) -> Shape {
    let out: Vec<Size> = c.out.iter().map(|l| extent(*l)).collect();
    let own = Layout::contiguous(&out);
    let stride = |labels: &[Label], layout: &Layout, l: Label| {
        labels.iter().position(|x| *x == l).map_or(Size::zero(), |i| layout.strides[i].clone())
    };
    let dim = |l: Label| -> Dim { (extent(l), [stride(&c.a, a, l), stride(&c.b, b, l), stride(&c.out, &own, l)]) };
    let real = |l: &&Label| !extent(**l).is(1);
    let pick = |in_a: bool, in_b: bool| -> Vec<Dim> {
        let fits = |l: &&Label| c.a.contains(l) == in_a && c.b.contains(l) == in_b;
        c.out.iter().filter(fits).filter(real).map(|l| dim(*l)).collect()
    };
    let mut batch = pick(true, true);
    let (mut rows, mut cols) = (pick(true, false), pick(false, true));
    let (m, n) = (last_in_result(&mut rows), last_in_result(&mut cols));
    let inner = |order: &[Label]| -> Vec<Dim> {
        let summed = |l: &&Label| c.a.contains(l) && c.b.contains(l) && !c.out.contains(l);
        merge(order.iter().filter(summed).filter(real).map(|l| dim(*l)).collect(), &[0, 1])
    };
    // In the order of one operand more of them may run on into each other than in that of the other.
    let (by_a, by_b) = (inner(&c.a), inner(&c.b));
    let k = if by_b.len() < by_a.len() { by_b } else { by_a };
    batch.extend(merge(rows, &[0, 1, 2]));
    batch.extend(merge(cols, &[0, 1, 2]));
    finish([m, n, k], batch, [a.offset.clone(), b.offset.clone()])
}

/// Takes the last axes that run on into each other in the result, so that they are rows or columns of one matrix there. In
/// the operand they may be several axes.
fn last_in_result(dims: &mut Vec<Dim>) -> Vec<Dim> {
    let joins = |w: &[Dim]| w[0].1[2] == w[1].1[2].times(&w[1].0);
    let apart = dims.windows(2).rposition(|w| !joins(w)).map_or(0, |i| i + 1);
    let last = dims.split_off(apart);
    merge(last, &[0, 1])
}

/// Rows, columns and inner axes; the batch; the operands' offsets.
fn finish([m, n, k]: [Vec<Dim>; 3], batch: Vec<Dim>, [left, right]: [Size; 2]) -> Shape {
    let of = |i: usize| batch.iter().map(|d| d.1[i].clone()).collect::<Vec<_>>();
    // Axes that run on into each other in this operand are one to it, whatever they are to the other.
    let axes = |dims: &[Dim], i: usize| -> (Size, Vec<(Size, Size)>) {
        let own = merge(dims.to_vec(), &[i]);
        let outer = own.first().map_or(Size::zero(), |d| d.1[i].clone());
        (outer, own.iter().skip(1).map(|d| (d.0.clone(), d.1[i].clone())).collect())
    };
    let matrix = |offset: Size, rows: &[Dim], cols: &[Dim], i: usize| {
        let ((row, rows), (col, cols)) = (axes(rows, i), axes(cols, i));
        Strides { offset, row, col, rows, cols, batch: of(i) }
    };
    let (a, b) = (matrix(left, &m, &k, 0), matrix(right, &k, &n, 1));
    let step = |dims: &[Dim]| dims.last().map_or(Size::zero(), |d| d.1[2].clone());
    let c = Strides { row: step(&m), col: step(&n), batch: of(2), ..Strides::default() };
    let [count_m, count_n, count_k] = [&m, &n, &k].map(|dims| Size::product(dims.iter().map(|d| &d.0)));
    let swapped = !c.col.is(1) && c.row.is(1) && !count_n.is(1);
    let extents: Vec<Size> = batch.iter().map(|d| d.0.clone()).collect();
    let mut shape = Shape { mnk: [count_m, count_n, count_k], batch: extents, a, b, c, swapped, rowwise: false };
    if swapped {
        let turn = |s: Strides| Strides { row: s.col, col: s.row, rows: s.cols, cols: s.rows, ..s };
        let Shape { mnk: [m, n, k], batch, a, b, c, .. } = shape;
        shape = Shape { mnk: [n, m, k], batch, a: turn(b), b: turn(a), c: turn(c), swapped, rowwise: false };
    }
    shape.rowwise = shape.is_rowwise();
    shape
}

impl Shape {
    /// Whether the rows of the result, all batches together, are the rows of a contiguous matrix in order.
    fn is_rowwise(&self) -> bool {
        let [m, n, _] = &self.mnk;
        let mut expected = n.clone();
        let rows = [(m, &self.c.row)].into_iter().chain(self.batch.iter().rev().zip(self.c.batch.iter().rev()));
        let in_order = rows.into_iter().all(|(extent, stride)| {
            let fits = *stride == expected || extent.is(1);
            expected = expected.times(extent);
            fits
        });
        in_order && (self.c.col.is(1) || n.is(1))
    }
}

/// Joins neighbours that run on into each other in these of the two operands and the result. Strides of an operand that
/// does not have the axis are zero, and zeros run on into each other.
fn merge(dims: Vec<Dim>, among: &[usize]) -> Vec<Dim> {
    let mut out: Vec<Dim> = Vec::new();
    for d in dims {
        match out.last_mut() {
            Some(last) if among.iter().all(|i| last.1[*i] == d.1[*i].times(&d.0)) => {
                *last = (last.0.times(&d.0), d.1);
            }
            _ => out.push(d),
        }
    }
    out
}
