//! How a contraction becomes products of matrices.

use dlc_compiler::fuse::index::Layout;
use dlc_compiler::plan::gemm::shape;
use dlc_compiler::program::{Contract, Label};
use dlc_plan::Size;
fn sizes(n: &[i64]) -> Vec<Size> {
    n.iter().map(|x| Size::from(*x)).collect()
}

#[test]
fn a_linear_layer_is_one_product_over_all_rows() {
    // x[b, t, i] w[o, i] -> y[b, t, o]
    let c = Contract { a: vec![0, 1, 2], b: vec![3, 2], out: vec![0, 1, 3] };
    let extent = |l: Label| [Size::dim(0), Size::dim(1), Size::from(64), Size::from(128)][l as usize].clone();
    let (x, w) = ([extent(0), extent(1), extent(2)], [extent(3), extent(2)]);
    let s = shape(&c, &Layout::contiguous(&x), &Layout::contiguous(&w), &extent);
    assert_eq!(s.mnk, [Size::dim(0).times(&Size::dim(1)), Size::from(128), Size::from(64)]);
    assert!(s.batch.is_empty() && s.rowwise && !s.swapped);
    assert_eq!((s.b.row.known(), s.b.col.known()), (Some(1), Some(64)));
}

#[test]
fn a_convolution_reads_its_windows_where_they_lie() {
    // x[b, c, h + i, w + j] k[o, c, i, j] -> y[b, o, h, w], images of 3 by 6 by 7, windows of 2 by 3
    let (x, k) = (sizes(&[126, 7, 1, 42, 7, 1]), Layout::contiguous(&sizes(&[4, 3, 2, 3])));
    let x = Layout { offset: Size::zero(), strides: x };
    let c = Contract { a: vec![0, 2, 3, 4, 5, 6], b: vec![1, 4, 5, 6], out: vec![0, 1, 2, 3] };
    let extent =
        |l: Label| [Size::dim(0), 4.into(), 5.into(), 5.into(), 3.into(), 2.into(), 3.into()][l as usize].clone();
    let s = shape(&c, &x, &k, &extent);
    assert!(s.swapped);
    assert_eq!((s.mnk.to_vec(), s.batch.clone()), (sizes(&[4, 25, 18]), vec![Size::dim(0)]));
    let pairs = |p: &[[i64; 2]]| p.iter().map(|[n, s]| (Size::from(*n), Size::from(*s))).collect::<Vec<_>>();
    assert_eq!((s.b.row.known(), s.b.rows), (Some(42), pairs(&[[2, 7], [3, 1]])));
    assert_eq!((s.b.col.known(), s.b.cols), (Some(7), pairs(&[[5, 1]])));
    assert_eq!((s.c.row.known(), s.c.col.known()), (Some(25), Some(1)));
}

#[test]
fn a_transposed_result_swaps_the_operands() {
    // a[m, k] b[k, n] -> c[n, m]
    let c = Contract { a: vec![0, 1], b: vec![1, 2], out: vec![2, 0] };
    let extent = |l: Label| Size::from([3, 4, 5][l as usize]);
    let (a, b) = (Layout::contiguous(&sizes(&[3, 4])), Layout::contiguous(&sizes(&[4, 5])));
    let s = shape(&c, &a, &b, &extent);
    assert!(s.swapped && s.c.col.is(1));
    assert_eq!(s.mnk, [Size::from(5), Size::from(3), Size::from(4)]);
}
