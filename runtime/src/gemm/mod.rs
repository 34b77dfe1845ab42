//! Sums of products of two f32 matrices, C = A B + A' B' + .. or C += .., for any sizes and strides, on a pool of threads.
//!
//! The rule behind every element of C: each product's k is cut into blocks of equal length, a function of that k alone; each
//! block is one chain of fused multiply-adds over ascending k, started from zero; the chains are added in ascending order,
//! product after product, to the old element first if there is one. Where all products together have more than [`walk::LONG`]
//! steps of k, what each of these additions loses by rounding is added up beside the element, in the same order, and added to it
//! at the end, unless it is not finite. So the bits of C depend on its operands only: not on the
//! number of threads, not on the instruction set, and those of one row or column not on how many others there are. NaN and
//! infinity go through: no product is skipped.
//!
//! The loops are those of Goto and van de Geijn, "Anatomy of high-performance matrix multiplication", 2008, and Van Zee and
//! van de Geijn, "BLIS", 2015: operands are packed so that a tile of C held in registers reads them front to back.

mod kernel;
mod pack;
pub mod spread;
mod vector;
pub mod walk;

use crate::isa::Isa;
use crate::pool::Pool;
use walk::{Job, Team, walk};

/// A matrix somewhere in memory: its first element and the distances, in elements, from row to row and from column to
/// column. A distance of 0 repeats a row or a column; transposing exchanges the two.
#[derive(Clone, Copy, Debug)]
pub struct Mat {
    /// The element in row 0 and column 0.
    pub ptr: *mut f32,
    /// The distance from row to row.
    pub rs: isize,
    /// The distance from column to column.
    pub cs: isize,
}

impl Mat {
    /// A matrix that is only read.
    pub fn read(ptr: *const f32, rs: isize, cs: isize) -> Mat {
        Mat { ptr: ptr.cast_mut(), rs, cs }
    }

    /// A matrix of `columns` columns that lies row after row, to be read.
    pub fn rows(from: &[f32], columns: usize) -> Mat {
        Mat::read(from.as_ptr(), columns as isize, 1)
    }

    /// A matrix of `columns` columns that lies row after row, to be written.
    pub fn rows_mut(to: &mut [f32], columns: usize) -> Mat {
        Mat { ptr: to.as_mut_ptr(), rs: columns as isize, cs: 1 }
    }

    /// The transpose.
    #[must_use]
    pub fn transposed(self) -> Mat {
        Mat { ptr: self.ptr, rs: self.cs, cs: self.rs }
    }

    /// The address of an element.
    fn at(self, row: usize, col: usize) -> *mut f32 {
        self.ptr.wrapping_offset(row as isize * self.rs + col as isize * self.cs)
    }
}

/// An operand: a matrix whose rows and columns may each go over several axes, as windows of an image do. The offset of an
/// element is that of its row plus that of its column, whatever the axes are.
#[derive(Clone, Copy, Debug)]
pub struct Operand<'a> {
    /// The matrix; its distances are those of the slowest axes.
    pub mat: Mat,
    /// (length, distance) of the axes within the rows, the last one fastest.
    pub rows: &'a [(usize, isize)],
    /// Those within the columns.
    pub cols: &'a [(usize, isize)],
}

impl From<Mat> for Operand<'_> {
    fn from(mat: Mat) -> Self {
        Operand { mat, rows: &[], cols: &[] }
    }
}

impl Operand<'_> {
    /// The transpose.
    #[must_use]
    pub fn transposed(self) -> Self {
        Operand { mat: self.mat.transposed(), rows: self.cols, cols: self.rows }
    }

    /// Whether one distance says where rows are, and one where columns are.
    fn is_plain(&self) -> bool {
        self.rows.is_empty() && self.cols.is_empty()
    }
}

/// One of the products that are summed: A, m by k, times B, k by n.
#[derive(Clone, Copy, Debug)]
pub struct Term<'a> {
    /// Columns of A, and rows of B.
    pub k: usize,
    /// The left operand.
    pub a: Operand<'a>,
    /// The right operand.
    pub b: Operand<'a>,
}

impl<'a> Term<'a> {
    /// A product.
    pub fn new(k: usize, a: impl Into<Operand<'a>>, b: impl Into<Operand<'a>>) -> Term<'a> {
        Term { k, a: a.into(), b: b.into() }
    }
}

/// Numbers of scratch that [`gemm`] needs on a pool of this many threads; `k` is that of all products together. Grows with
/// each argument, so that scratch for the largest sizes serves all smaller ones.
pub fn scratch_len(threads: usize, m: usize, n: usize, k: usize) -> usize {
    walk::scratch_len(threads, m, n, k)
}

/// Rows of a panel, the unit in which [`gemm`] reports rows as done: a function of the number of rows alone.
pub fn panel_rows(m: usize) -> usize {
    walk::panel_rows(m)
}

/// C = the sum of the products of `terms`, or C += that sum where `accumulate` says so; C is `m` by `n`. A part of C is
/// added up over all products while it is near. Without a pool the calling thread works alone, with scratch for one.
///
/// `done(first_row, last_row)` is called once for each panel of [`panel_rows`] rows, when all its elements have their final
/// value, on any thread of the pool and for several panels at once; between them the calls name every row once. Nothing is
/// allocated. Where every `k` is 0, C becomes zero or, when accumulating, stays.
///
/// # Safety
/// Each A and B is readable and C is writable at every row and column, C overlaps none of them, and no two elements of C are
/// the same. Nobody else writes A or B or touches C during the call; `done` may touch the rows that it is called with.
///
/// # Panics
/// When `scratch` is shorter than [`scratch_len`] says.
pub unsafe fn gemm(
    pool: Option<&Pool>,
    [m, n]: [usize; 2],
    terms: &[Term],
    c: Mat,
    accumulate: bool,
    scratch: &mut [f32],
    done: Option<&(dyn Fn(usize, usize) + Sync)>,
) {
    let job = Job { m, n, terms, c, accumulate, done, isa: Isa::best() };
    // SAFETY: the caller's promises are those that `walk` asks for, and `best` is an instruction set of this machine.
    unsafe { walk(&job, Team(pool), scratch) }
}
