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
#[derive(Clone, Debug, Default)]
pub struct Strides {
    /// The first element's number.
    pub offset: Size,
    /// From a row to the next.
    pub row: Size,
    /// From a column to the next.
    pub col: Size,
    /// From a matrix to the next, along each batch axis.
    pub batch: Vec<Size>,
}

/// An axis: its extent, and its strides in the two operands and the result.
type Dim = (Size, [Size; 3]);

/// How a contraction of operands of these layouts can be multiplied; None if an operand has to be copied first.
/// `extent` gives the extent of a label, and `result` are the extents of the result.
pub fn shape(c: &Contract, a: &Layout, b: &Layout, extent: &dyn Fn(Label) -> Size) -> Option<Shape> {
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
    let (mut rows, mut cols) = (merge(pick(true, false)), merge(pick(false, true)));
    let inner: Vec<Dim> =
        c.a.iter().filter(|l| c.b.contains(l) && !c.out.contains(l)).filter(real).map(|l| dim(*l)).collect();
    let inner = merge_inner(inner)?;
    let one = (Size::one(), [Size::zero(), Size::zero(), Size::zero()]);
    let m = rows.pop().unwrap_or(one.clone());
    let n = cols.pop().unwrap_or(one.clone());
    batch.extend(rows);
    batch.extend(cols);
    let k = inner.unwrap_or(one);
    let swapped = !n.1[2].is(1) && m.1[2].is(1) && !n.0.is(1);
    Some(finish(m, n, k, batch, [a.offset.clone(), b.offset.clone()], swapped))
}

fn finish(m: Dim, n: Dim, k: Dim, batch: Vec<Dim>, offsets: [Size; 2], swapped: bool) -> Shape {
    let of = |i: usize| batch.iter().map(|d| d.1[i].clone()).collect::<Vec<_>>();
    let [left, right] = offsets;
    let a = Strides { offset: left, row: m.1[0].clone(), col: k.1[0].clone(), batch: of(0) };
    let b = Strides { offset: right, row: k.1[1].clone(), col: n.1[1].clone(), batch: of(1) };
    let c = Strides { offset: Size::zero(), row: m.1[2].clone(), col: n.1[2].clone(), batch: of(2) };
    let extents: Vec<Size> = batch.iter().map(|d| d.0.clone()).collect();
    let mut expected = n.0.clone();
    let mut rowwise = !swapped && (n.1[2].is(1) || n.0.is(1));
    for (extent, stride) in [(&m.0, &c.row)].into_iter().chain(extents.iter().rev().zip(c.batch.iter().rev())) {
        rowwise &= *stride == expected || extent.is(1);
        expected = expected.times(extent);
    }
    if swapped {
        let turn = |s: &Strides| Strides { row: s.col.clone(), col: s.row.clone(), ..s.clone() };
        return Shape { mnk: [n.0, m.0, k.0], batch: extents, a: turn(&b), b: turn(&a), c: turn(&c), swapped, rowwise };
    }
    Shape { mnk: [m.0, n.0, k.0], batch: extents, a, b, c, swapped, rowwise }
}

/// Joins neighbours that run on into each other in the operands and the result. Strides of an operand that does not have
/// the axis are zero, and zeros run on into each other.
fn merge(dims: Vec<Dim>) -> Vec<Dim> {
    let mut out: Vec<Dim> = Vec::new();
    for d in dims {
        match out.last_mut() {
            Some(last) if (0..3).all(|i| last.1[i] == d.1[i].times(&d.0)) => {
                *last = (last.0.times(&d.0), d.1);
            }
            _ => out.push(d),
        }
    }
    out
}

/// Joins the inner axes into one, in the order of the first operand or of the second.
fn merge_inner(dims: Vec<Dim>) -> Option<Option<Dim>> {
    let mut one = merge(dims);
    (one.len() <= 1).then(|| one.pop())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(n: &[i64]) -> Vec<Size> {
        n.iter().map(|x| Size::from(*x)).collect()
    }

    #[test]
    fn a_linear_layer_is_one_product_over_all_rows() {
        // x[b, t, i] w[o, i] -> y[b, t, o]
        let c = Contract { a: vec![0, 1, 2], b: vec![3, 2], out: vec![0, 1, 3] };
        let extent = |l: Label| [Size::dim(0), Size::dim(1), Size::from(64), Size::from(128)][l as usize].clone();
        let (x, w) = ([extent(0), extent(1), extent(2)], [extent(3), extent(2)]);
        let s = shape(&c, &Layout::contiguous(&x), &Layout::contiguous(&w), &extent).expect("no copy");
        assert_eq!(s.mnk, [Size::dim(0).times(&Size::dim(1)), Size::from(128), Size::from(64)]);
        assert!(s.batch.is_empty() && s.rowwise && !s.swapped);
        assert_eq!((s.b.row.known(), s.b.col.known()), (Some(1), Some(64)));
    }

    #[test]
    fn a_transposed_result_swaps_the_operands() {
        // a[m, k] b[k, n] -> c[n, m]
        let c = Contract { a: vec![0, 1], b: vec![1, 2], out: vec![2, 0] };
        let extent = |l: Label| Size::from([3, 4, 5][l as usize]);
        let (a, b) = (Layout::contiguous(&sizes(&[3, 4])), Layout::contiguous(&sizes(&[4, 5])));
        let s = shape(&c, &a, &b, &extent).expect("no copy");
        assert!(s.swapped && s.c.col.is(1));
        assert_eq!(s.mnk, [Size::from(5), Size::from(3), Size::from(4)]);
    }
}
