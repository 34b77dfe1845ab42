//! The micro-kernels: one tile of C, a few rows by a few vectors, held in registers while k goes by.
//!
//! There is one kernel in the source. It is instantiated for each instruction set and each number of rows and vectors, so
//! that no tile computes rows or vectors that C does not have. Every element of every tile is one chain of fused
//! multiply-adds over ascending k, which starts from zero: the bits depend on neither the tile nor the instruction set.

#[cfg(target_arch = "x86_64")]
use super::vector::{Avx2, Avx512};
use super::vector::{Portable, Vector};
use crate::isa::Isa;

/// What a micro-kernel works on: a block of k, rows of A, columns of B, a tile of C.
pub struct Tile {
    /// Products in each chain.
    pub k: usize,
    /// The first element of A, its distance from row to row and along k.
    pub a: *const f32,
    pub a_row: isize,
    pub a_k: isize,
    /// The first element of B and its distance along k; from column to column it is 1.
    pub b: *const f32,
    pub b_k: isize,
    /// The first element of C and its distance from row to row; from column to column it is 1.
    pub c: *mut f32,
    pub c_row: isize,
    /// Memory that a later tile will read, a line of the cache for each step of k. A kernel that fetches early does not read
    /// it but only has it fetched, and any address will do.
    pub ahead: *const f32,
    pub ahead_k: isize,
    /// Columns of C to write, up to the width of the tile.
    pub cols: usize,
    /// Whether the product is added to C or stored over it.
    pub add: bool,
}

/// A micro-kernel for a certain number of rows and vectors.
///
/// # Safety
/// The machine has the kernel's instruction set; A and B are readable for the kernel's full width of vectors, C is
/// writable for `cols` columns and overlaps neither.
pub type Kernel = unsafe fn(&Tile);

/// Steps of k that B is fetched ahead of its use.
const SOON: isize = 8;
/// The largest number of elements in a tile of any kernel.
pub const TILE_LEN: usize = 448;

/// The kernels of one instruction set.
pub struct Kernels {
    /// Numbers in a vector.
    pub lanes: usize,
    /// The most rows of a tile of one or two vectors.
    pub rows: usize,
    /// The most rows of a tile of up to [`Kernels::wide`] vectors.
    pub wide_rows: usize,
    /// Vectors of the widest tile, for products of few rows: it takes several chains to keep the multipliers busy.
    pub wide: usize,
    /// Vectors of the usual tile.
    pub vectors: usize,
    /// Indexed by vectors - 1, what is true of the tile, rows - 1.
    narrow: [[&'static [Kernel]; 4]; 2],
    /// Indexed by vectors - 3, whether to fetch early, rows - 1; any distances of A.
    broad: [[&'static [Kernel]; 2]; 4],
}

impl Kernels {
    /// The kernels for an instruction set.
    pub fn of(isa: Isa) -> &'static Kernels {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => &AVX512,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => &AVX2,
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx512 | Isa::Avx2 => &PORTABLE,
            Isa::Baseline => &PORTABLE,
        }
    }

    /// The kernel for tiles of `rows` rows and `vectors` vectors; `unit` says that A's rows are neighbours, `fetch` that
    /// operands are so large that it pays to fetch memory early.
    pub fn get(&self, rows: usize, vectors: usize, unit: bool, fetch: bool) -> Kernel {
        match vectors {
            1 | 2 => self.narrow[vectors - 1][2 * usize::from(unit) + usize::from(fetch)][rows - 1],
            wide => self.broad[wide - 3][usize::from(fetch)][rows - 1],
        }
    }
}

/// A tile of `R` rows and `N` vectors. `UNIT` says that `a_row` is 1, which saves the registers for row pointers; `FETCH`
/// that memory is fetched early: C, B of steps to come, and what lies ahead.
///
/// # Safety
/// As for [`Kernel`].
#[inline(always)]
unsafe fn kernel<V: Vector, const R: usize, const N: usize, const UNIT: bool, const FETCH: bool>(tile: &Tile) {
    let a_row = if UNIT { 1 } else { tile.a_row };
    let (mut a, mut b, mut ahead) = (tile.a, tile.b, tile.ahead);
    let fetch_row = |at: *const f32| (0..N).for_each(|v| V::will_use(at.wrapping_add(v * V::LANES)));
    // SAFETY: the caller has the instruction set and gives memory for `R` rows, `N` vectors and `k` steps; the pointers are
    // moved by wrapping arithmetic because the last step may move them past the end of their memory.
    unsafe {
        if FETCH {
            (0..R).for_each(|r| fetch_row(tile.c.wrapping_offset(r as isize * tile.c_row)));
        }
        let mut sums = [[V::splat(0.0); N]; R];
        for _ in 0..tile.k {
            let mut row_of_b = [V::splat(0.0); N];
            for (v, vector) in row_of_b.iter_mut().enumerate() {
                *vector = V::load(b.add(v * V::LANES));
            }
            for (r, row) in sums.iter_mut().enumerate() {
                let x = V::splat(*a.offset(r as isize * a_row));
                for (sum, vector) in row.iter_mut().zip(row_of_b) {
                    *sum = sum.fma(x, vector);
                }
            }
            if FETCH {
                fetch_row(b.wrapping_offset(SOON * tile.b_k));
                V::will_use_later(ahead);
                ahead = ahead.wrapping_offset(tile.ahead_k);
            }
            a = a.wrapping_offset(tile.a_k);
            b = b.wrapping_offset(tile.b_k);
        }
        for (r, row) in sums.iter().enumerate() {
            write_row::<V, N>(row, tile.c.offset(r as isize * tile.c_row), tile.cols, tile.add);
        }
    }
}

/// Writes one row of a tile: all of it in the usual case, or its first `cols` columns.
///
/// # Safety
/// `cols` numbers at `c` must be writable, and the instruction set there.
#[inline(always)]
unsafe fn write_row<V: Vector, const N: usize>(row: &[V; N], c: *mut f32, cols: usize, add: bool) {
    // SAFETY: full vectors are touched only when `cols` covers them, else the first `count` lanes.
    unsafe {
        for (v, &sum) in row.iter().enumerate() {
            let c = c.wrapping_add(v * V::LANES);
            if cols >= (v + 1) * V::LANES {
                (if add { V::load(c).add(sum) } else { sum }).store(c);
            } else if cols > v * V::LANES {
                let count = cols - v * V::LANES;
                (if add { V::load_first(c, count).add(sum) } else { sum }).store_first(c, count);
            }
        }
    }
}

/// The kernels of one shape for the given numbers of rows.
macro_rules! kernels {
    ($kernel:ident, $vectors:literal, $unit:literal, $fetch:literal, $($rows:literal)*) => {
        &[$($kernel::<$rows, $vectors, $unit, $fetch> as Kernel),*] as &[Kernel]
    };
}

/// The kernels of one number of vectors, up to two.
macro_rules! narrow {
    ($kernel:ident, $vectors:literal, [$($rows:literal)*]) => {
        [
            kernels!($kernel, $vectors, false, false, $($rows)*),
            kernels!($kernel, $vectors, false, true, $($rows)*),
            kernels!($kernel, $vectors, true, false, $($rows)*),
            kernels!($kernel, $vectors, true, true, $($rows)*),
        ]
    };
}

/// The kernels of one number of vectors, from three on.
macro_rules! broad {
    ($kernel:ident, $vectors:literal, [$($rows:literal)*]) => {
        [kernels!($kernel, $vectors, false, false, $($rows)*), kernels!($kernel, $vectors, false, true, $($rows)*)]
    };
}

/// All kernels of an instruction set of which the widest tiles have six vectors.
macro_rules! tables {
    ($kernel:ident, $rows:tt, $wide_rows:tt) => {
        (
            [narrow!($kernel, 1, $rows), narrow!($kernel, 2, $rows)],
            [
                broad!($kernel, 3, $wide_rows),
                broad!($kernel, 4, $wide_rows),
                broad!($kernel, 5, $wide_rows),
                broad!($kernel, 6, $wide_rows),
            ],
        )
    };
}

/// # Safety
/// As for [`Kernel`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f")]
unsafe fn avx512<const R: usize, const N: usize, const UNIT: bool, const FETCH: bool>(tile: &Tile) {
    // SAFETY: passed on to the caller.
    unsafe { kernel::<Avx512, R, N, UNIT, FETCH>(tile) }
}

/// # Safety
/// As for [`Kernel`].
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn avx2<const R: usize, const N: usize, const UNIT: bool, const FETCH: bool>(tile: &Tile) {
    // SAFETY: passed on to the caller.
    unsafe { kernel::<Avx2, R, N, UNIT, FETCH>(tile) }
}

/// # Safety
/// As for [`Kernel`].
unsafe fn portable<const R: usize, const N: usize, const UNIT: bool, const FETCH: bool>(tile: &Tile) {
    // SAFETY: passed on to the caller.
    unsafe { kernel::<Portable, R, N, UNIT, FETCH>(tile) }
}

/// 14 rows of two vectors take 28 of 32 registers.
#[cfg(target_arch = "x86_64")]
static AVX512: Kernels = {
    let (narrow, broad) = tables!(avx512, [1 2 3 4 5 6 7 8 9 10 11 12 13 14], [1 2 3 4]);
    Kernels { lanes: 16, rows: 14, wide_rows: 4, wide: 6, vectors: 2, narrow, broad }
};

/// Six rows of two vectors take 12 of 16 registers.
#[cfg(target_arch = "x86_64")]
static AVX2: Kernels = {
    let (narrow, broad) = tables!(avx2, [1 2 3 4 5 6], [1 2]);
    Kernels { lanes: 8, rows: 6, wide_rows: 2, wide: 6, vectors: 2, narrow, broad }
};

/// Six rows of one vector take 24 of the 32 registers of NEON.
static PORTABLE: Kernels = {
    let narrow = narrow!(portable, 1, [1 2 3 4 5 6]);
    Kernels { lanes: 16, rows: 6, wide_rows: 0, wide: 1, vectors: 1, narrow: [narrow; 2], broad: [[&[]; 2]; 4] }
};
