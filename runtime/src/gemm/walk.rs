//! The order in which a product's tiles are computed, and by whom. Takes a [`Job`], a team of threads and scratch memory;
//! calls micro-kernels until C is done.
//!
//! Two orders. *By rows*: B is packed once for all, threads take panels of rows, each packs its rows of A and goes over all
//! of B. *By columns*: A is packed once for all (or read where it lies), threads take groups of columns. The second is for
//! few rows, and for more threads than there are panels. The order changes which tiles exist and where operands are read,
//! never the chain of operations behind an element of C.

use super::Mat;
use super::kernel::{Kernels, TILE_LEN, Tile};
use super::pack::{Panel, pack};
use crate::isa::Isa;
use crate::pool::Pool;
use std::ops::Range;

/// The longest chain of multiply-adds; longer sums are added up from several chains, in ascending order.
pub const CHAIN: usize = 384;
/// The most rows of a panel, and the most columns of a tile of any instruction set, with room to spare.
const SIDE: usize = 96;
/// Rows that a panel aims at.
const PANEL_ROWS: usize = 84;
/// Most numbers of the operand that is packed for all threads; a larger operand is packed part by part.
const SHARED_LEN: usize = 2 << 20;
/// Numbers in a line of the cache, to which scratch is aligned.
const LINE: usize = 16;
/// Multiply-adds below which waking threads costs more than it gains.
const ALONE_BELOW: usize = 1 << 18;

/// One product.
pub struct Job<'a> {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    pub a: Mat,
    pub b: Mat,
    pub c: Mat,
    pub accumulate: bool,
    pub done: Option<&'a (dyn Fn(usize, usize) + Sync)>,
    pub isa: Isa,
}

// SAFETY: the pointers are to memory that the caller of `gemm` lends for the call: A and B are only read, and threads write
// disjoint parts of C.
unsafe impl Sync for Job<'_> {}

/// The threads that work on a product: those of a pool, or the caller alone.
#[derive(Clone, Copy)]
pub struct Team<'a>(pub Option<&'a Pool>);

impl Team<'_> {
    fn threads(self) -> usize {
        self.0.map_or(1, Pool::threads)
    }

    fn run(self, chunks: usize, f: &(dyn Fn(usize, usize) + Sync)) {
        match self.0 {
            Some(pool) => pool.run_in_slots(chunks, f),
            None => (0..chunks).for_each(|chunk| f(0, chunk)),
        }
    }
}

/// Scratch memory: a part for all threads and a part for each.
struct Scratch {
    shared: *mut f32,
    shared_len: usize,
    slots: *mut f32,
    slot_len: usize,
}

// SAFETY: the shared part is written in disjoint pieces before it is read; a slot belongs to one thread at a time.
unsafe impl Sync for Scratch {}

/// Numbers of scratch for a product; grows with each argument.
pub fn scratch_len(threads: usize, m: usize, n: usize, k: usize) -> usize {
    LINE + shared_len(m, n, k) + threads * slot_len(k)
}

fn shared_len(m: usize, n: usize, k: usize) -> usize {
    m.max(n).next_multiple_of(SIDE).saturating_mul(k).min(SHARED_LEN).next_multiple_of(LINE)
}

fn slot_len(k: usize) -> usize {
    (SIDE * k.min(CHAIN)).next_multiple_of(LINE)
}

/// Rows of a panel: a function of the number of rows alone. The panels of a product are equally high but for the last.
pub fn panel_rows(m: usize) -> usize {
    let panels = match m.div_ceil(PANEL_ROWS) {
        0 | 1 => 1,
        few @ 2..=4 => few.next_power_of_two(),
        many => many.next_multiple_of(8),
    };
    m.div_ceil(panels).max(1)
}

/// The block of k that starts at `first`: blocks are of equal length, as few as the longest chain allows.
fn block(k: usize, first: usize) -> Range<usize> {
    let length = k.div_ceil(k.div_ceil(CHAIN));
    first..(first + length).min(k)
}

/// The blocks of k within `range`, which starts and ends between blocks.
fn blocks(k: usize, range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut first = range.start;
    std::iter::from_fn(move || {
        let next = (first < range.end).then(|| block(k, first))?;
        first = next.end;
        Some(next)
    })
}

/// The longest run of blocks from `first` on of which each k costs `per_k` numbers of a memory of `room`; at least one.
fn phase(k: usize, first: usize, per_k: usize, room: usize) -> Range<usize> {
    let mut range = block(k, first);
    while range.end < k {
        let next = block(k, range.end);
        if per_k * (next.end - first) > room {
            break;
        }
        range.end = next.end;
    }
    range
}

/// Part `i` of `0..total` divided into `parts` of nearly equal length.
fn part(total: usize, parts: usize, i: usize) -> Range<usize> {
    i * total / parts..(i + 1) * total / parts
}

/// Computes the product.
///
/// # Safety
/// As for [`super::gemm`]; the machine has the job's instruction set.
pub unsafe fn walk(job: &Job, team: Team, scratch: &mut [f32]) {
    let team = if job.m * job.n * job.k < ALONE_BELOW { Team(None) } else { team };
    let needed = scratch_len(team.threads(), job.m, job.n, job.k);
    assert!(scratch.len() >= needed, "a product was given {} numbers of scratch and needs {needed}", scratch.len());
    let height = panel_rows(job.m);
    if job.m == 0 || job.n == 0 || job.k == 0 {
        // SAFETY: C is writable.
        unsafe { job.without_products() };
        return job.finish(team, height);
    }
    let start = scratch.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
    let (shared_len, slot_len) = (shared_len(job.m, job.n, job.k), slot_len(job.k));
    let shared = scratch.as_mut_ptr().wrapping_add(start);
    let scratch = Scratch { shared, shared_len, slots: shared.wrapping_add(shared_len), slot_len };
    // SAFETY: the caller's matrices; the scratch was checked to be long enough.
    unsafe {
        if job.by_columns(team.threads(), height) {
            walk_columns(job, team, &scratch);
            job.finish(team, height);
        } else {
            walk_rows(job, team, &scratch, height);
        }
    }
}

/// By columns: see the top of the file.
///
/// # Safety
/// As for [`walk`].
unsafe fn walk_columns(job: &Job, team: Team, scratch: &Scratch) {
    let tiles = Tiling::by_columns(job);
    let panels = job.n.div_ceil(tiles.width);
    let groups = panels.min(4 * team.threads());
    let mut first = 0;
    while first < job.k {
        let phase = if tiles.pack_a { phase(job.k, first, job.m, scratch.shared_len) } else { 0..job.k };
        first = phase.end;
        let packed_a = |k: usize| scratch.shared.wrapping_add((k - phase.start) * job.m);
        if tiles.pack_a {
            let parts = job.m.div_ceil(SIDE);
            let count = job.m.div_ceil(tiles.rows);
            team.run(parts, &|_slot, i| {
                for block in blocks(job.k, phase.clone()) {
                    for tile in part(count, parts, i) {
                        let rows = part(job.m, count, tile);
                        let to = packed_a(block.start).wrapping_add(rows.start * block.len());
                        // SAFETY: tiles of A have their own places in the shared scratch, which holds the phase.
                        unsafe { job.pack_a(rows, block.clone(), to) };
                    }
                }
            });
        }
        team.run(groups, &|slot, group| {
            let own = scratch.slots.wrapping_add(slot * scratch.slot_len);
            for panel in part(panels, groups, group) {
                let cols = panel * tiles.width..((panel + 1) * tiles.width).min(job.n);
                for block in blocks(job.k, phase.clone()) {
                    let a = tiles.pack_a.then(|| packed_a(block.start).cast_const());
                    // SAFETY: the slot holds a block of a panel of B; other groups write other columns of C.
                    unsafe {
                        let b = if tiles.direct_b(job, cols.len()) {
                            None
                        } else {
                            job.pack_b(cols.clone(), block.clone(), tiles.width, own);
                            Some(own.cast_const())
                        };
                        job.strip(&tiles, 0..job.m, cols.clone(), block, a, b);
                    }
                }
            }
        });
    }
}

/// By rows: see the top of the file.
///
/// # Safety
/// As for [`walk`].
unsafe fn walk_rows(job: &Job, team: Team, scratch: &Scratch, height: usize) {
    let tiles = Tiling::by_rows(job);
    let longest = block(job.k, 0).len();
    let room = scratch.shared_len / (longest * tiles.width) * tiles.width;
    let stripes = job.n.div_ceil(room);
    let stripe = job.n.div_ceil(stripes).next_multiple_of(tiles.width);
    for columns in (0..job.n).step_by(stripe).map(|first| first..(first + stripe).min(job.n)) {
        let panels = columns.len().div_ceil(tiles.width);
        let padded = panels * tiles.width;
        let panel =
            |i: usize| columns.start + i * tiles.width..(columns.start + (i + 1) * tiles.width).min(columns.end);
        let mut first = 0;
        while first < job.k {
            let phase = phase(job.k, first, padded, scratch.shared_len);
            first = phase.end;
            let packed_b = |block: &Range<usize>, i: usize| {
                scratch.shared.wrapping_add((block.start - phase.start) * padded + i * tiles.width * block.len())
            };
            team.run(panels, &|_slot, i| {
                for block in blocks(job.k, phase.clone()) {
                    // SAFETY: each panel of B has its own place in the shared scratch, which holds the phase.
                    unsafe { job.pack_b(panel(i), block.clone(), tiles.width, packed_b(&block, i)) };
                }
            });
            let last = columns.end == job.n && phase.end == job.k;
            team.run(job.m.div_ceil(height), &|slot, chunk| {
                let rows = chunk * height..((chunk + 1) * height).min(job.m);
                let own = scratch.slots.wrapping_add(slot * scratch.slot_len);
                for block in blocks(job.k, phase.clone()) {
                    // SAFETY: the slot holds a block of a panel of A; other chunks write other rows of C.
                    unsafe {
                        let a = tiles.pack_a.then(|| {
                            job.pack_a_tiles(&tiles, rows.clone(), block.clone(), own);
                            own.cast_const()
                        });
                        for i in 0..panels {
                            let b = packed_b(&block, i).cast_const();
                            job.strip(&tiles, rows.clone(), panel(i), block.clone(), a, Some(b));
                        }
                    }
                }
                if let (true, Some(done)) = (last, job.done) {
                    done(rows.start, rows.end);
                }
            });
        }
    }
}

/// The tiles of a product.
struct Tiling {
    kernels: &'static Kernels,
    /// Most rows of a tile.
    rows: usize,
    /// Columns of a tile.
    width: usize,
    pack_a: bool,
}

impl Tiling {
    fn by_columns(job: &Job) -> Tiling {
        let kernels = Kernels::of(job.isa);
        if job.m <= kernels.wide_rows && job.n > kernels.vectors * kernels.lanes {
            let width = job.n.div_ceil(kernels.lanes).min(kernels.wide) * kernels.lanes;
            return Tiling { kernels, rows: kernels.wide_rows, width, pack_a: false };
        }
        Tiling::usual(job)
    }

    fn by_rows(job: &Job) -> Tiling {
        Tiling::usual(job)
    }

    fn usual(job: &Job) -> Tiling {
        let kernels = Kernels::of(job.isa);
        let width = job.n.div_ceil(kernels.lanes).min(kernels.vectors) * kernels.lanes;
        let pack_a = job.m > kernels.wide_rows && job.n > 2 * width;
        Tiling { kernels, rows: kernels.rows, width, pack_a }
    }

    /// Whether a panel of B is read where it lies.
    fn direct_b(&self, job: &Job, cols: usize) -> bool {
        job.b.cs == 1 && cols.is_multiple_of(self.kernels.lanes) && job.m <= 3 * self.rows
    }
}

impl Job<'_> {
    /// Whether threads take columns rather than rows.
    fn by_columns(&self, threads: usize, height: usize) -> bool {
        let kernels = Kernels::of(self.isa);
        let panels = self.m.div_ceil(height);
        let strips = self.n.div_ceil(kernels.vectors * kernels.lanes);
        let turns = |chunks: usize| chunks.div_ceil(threads) * threads;
        panels == 1 || (self.m * CHAIN <= SHARED_LEN && 10 * panels * turns(strips) < 9 * strips * turns(panels))
    }

    /// Reports all rows as finished, panel by panel.
    fn finish(&self, team: Team, height: usize) {
        if let Some(done) = self.done {
            team.run(self.m.div_ceil(height), &|_slot, chunk| done(chunk * height, ((chunk + 1) * height).min(self.m)));
        }
    }

    /// A product without elements, or a sum of no products: zeros, unless C is added to.
    unsafe fn without_products(&self) {
        if self.accumulate {
            return;
        }
        for row in 0..self.m {
            for col in 0..self.n {
                // SAFETY: row and column are in C.
                unsafe { *self.c.at(row, col) = 0.0 };
            }
        }
    }

    /// Packs the rows of one tile of A.
    ///
    /// # Safety
    /// `to` has room for rows times block numbers.
    unsafe fn pack_a(&self, rows: Range<usize>, block: Range<usize>, to: *mut f32) {
        let from = self.a.at(rows.start, block.start).cast_const();
        let (lanes, k) = (rows.len(), block.len());
        let panel = Panel { from, lane: self.a.rs, along_k: self.a.cs, lanes, k, width: lanes };
        // SAFETY: the panel lies in A; the room is the caller's.
        unsafe { pack(self.isa, panel, to) }
    }

    /// Packs a panel of rows of A, tile after tile as [`Job::strip`] reads them.
    ///
    /// # Safety
    /// As for [`Job::pack_a`].
    unsafe fn pack_a_tiles(&self, tiles: &Tiling, rows: Range<usize>, block: Range<usize>, to: *mut f32) {
        let count = rows.len().div_ceil(tiles.rows);
        for i in 0..count {
            let tile = part(rows.len(), count, i);
            let to = to.wrapping_add(tile.start * block.len());
            // SAFETY: the tile is within the caller's rows and room.
            unsafe { self.pack_a(rows.start + tile.start..rows.start + tile.end, block.clone(), to) };
        }
    }

    /// Packs a panel of columns of B.
    ///
    /// # Safety
    /// `to` has room for width times block numbers.
    unsafe fn pack_b(&self, cols: Range<usize>, block: Range<usize>, width: usize, to: *mut f32) {
        let from = self.b.at(block.start, cols.start).cast_const();
        let (lanes, k) = (cols.len(), block.len());
        let panel = Panel { from, lane: self.b.cs, along_k: self.b.rs, lanes, k, width };
        // SAFETY: the panel lies in B; the room is the caller's.
        unsafe { pack(self.isa, panel, to) }
    }

    /// Computes the tiles of some rows and of columns within one tile's width, for a block of k. Operands are read from
    /// where they are packed, or from where they lie.
    ///
    /// # Safety
    /// As for [`walk`]; packed operands are those of these rows, columns and block.
    unsafe fn strip(
        &self,
        tiles: &Tiling,
        rows: Range<usize>,
        cols: Range<usize>,
        block: Range<usize>,
        a: Option<*const f32>,
        b: Option<*const f32>,
    ) {
        let vectors = cols.len().div_ceil(tiles.kernels.lanes);
        let (b, b_k) = match b {
            Some(packed) => (packed, tiles.width as isize),
            None => (self.b.at(block.start, cols.start).cast_const(), self.b.rs),
        };
        let count = rows.len().div_ceil(tiles.rows);
        for i in 0..count {
            let tile = part(rows.len(), count, i);
            let first = rows.start + tile.start;
            let (a, a_row, a_k) = match a {
                Some(packed) => (packed.wrapping_add(tile.start * block.len()), 1, tile.len() as isize),
                None => (self.a.at(first, block.start).cast_const(), self.a.rs, self.a.cs),
            };
            let kernel = tiles.kernels.get(tile.len(), vectors, a_row == 1);
            let c = self.c.at(first, cols.start);
            let add = self.accumulate || block.start > 0;
            let work = Tile { k: block.len(), a, a_row, a_k, b, b_k, c, c_row: self.c.rs, cols: cols.len(), add };
            // SAFETY: the tile lies in C, its operands in A and B or in packed panels of full width.
            unsafe {
                if self.c.cs == 1 {
                    kernel(&work);
                } else {
                    self.spread(kernel, work, tile.len());
                }
            }
        }
    }

    /// Runs a kernel on a tile of its own and writes that to columns of C that are not neighbours.
    ///
    /// # Safety
    /// As for [`Job::strip`].
    unsafe fn spread(&self, kernel: super::kernel::Kernel, tile: Tile, rows: usize) {
        let mut own = [0.0_f32; TILE_LEN];
        let (c, cols, add) = (tile.c, tile.cols, tile.add);
        // SAFETY: no kernel's tile is longer than TILE_LEN; rows and columns are in C.
        unsafe {
            kernel(&Tile { c: own.as_mut_ptr(), c_row: cols as isize, add: false, ..tile });
            for (row, sums) in own.chunks(cols).take(rows).enumerate() {
                for (col, sum) in sums.iter().enumerate() {
                    let to = c.offset(row as isize * self.c.rs + col as isize * self.c.cs);
                    *to = if add { *to + sum } else { *sum };
                }
            }
        }
    }
}
