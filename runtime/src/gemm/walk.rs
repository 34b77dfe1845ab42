//! The order in which a product's tiles are computed, and by whom. Takes a [`Job`], a team of threads and scratch memory;
//! calls micro-kernels until C is done.
//!
//! Two orders. *By rows*: B is packed once for all, threads take panels of rows, each packs its rows of A and goes over all
//! of B. *By columns*: A is packed once for all (or read where it lies), threads take groups of columns. The second is for
//! few rows, and for more threads than there are panels. The order changes which tiles exist and where operands are read,
//! never the chain of operations behind an element of C.

use super::kernel::{Kernels, TILE_LEN, Tile};
use super::pack::{Block, pack};
use super::spread::{Axes, pack_spread};
use super::{Mat, Operand, Term};
use crate::isa::Isa;
use crate::pool::Pool;
use dlc_plan::kernel::Total;
use std::ops::Range;

/// The longest chain of multiply-adds; longer sums are added up from several chains, in ascending order.
pub const CHAIN: usize = 384;
/// Products with more steps of k keep what the additions of their chains lose.
pub const LONG: usize = 1 << 16;
/// The most rows of a panel, and the most columns of a tile of any instruction set, with room to spare.
pub const SIDE: usize = 192;
/// Rows that a panel aims at.
const PANEL_ROWS: usize = 168;
/// Most numbers of the operand that is packed for all threads; a larger operand is packed part by part.
const SHARED_LEN: usize = 2 << 20;
/// Most numbers of an operand that is to stay in a near cache together with as many of the other one.
const NEAR_LEN: usize = 1 << 16;
/// Panels that are packed at once: so many that a row of B is read in long pieces.
const PACKED_AT_ONCE: usize = 8;
/// Numbers in B up to which it stays in the nearest cache, packed or not.
const SMALL: usize = 1 << 12;
/// Numbers in B from which on it pays to fetch memory before it is used.
const LARGE: usize = 1 << 16;
/// Tiles that go over a near B together. Each row of C may lie in a page of its own, and a processor knows some 64 at once.
const NEAR_TILES: usize = 5;
/// Numbers in a line of the cache, to which scratch is aligned.
const LINE: usize = 16;
/// Multiply-adds below which waking threads costs more than it gains.
const ALONE_BELOW: usize = 1 << 18;

/// A sum of products. The steps of k of all products are numbered through, those of the first product first.
pub struct Job<'a> {
    /// Rows of the result.
    pub m: usize,
    /// Columns of the result.
    pub n: usize,
    /// The products.
    pub terms: &'a [Term<'a>],
    /// The result.
    pub c: Mat,
    /// Whether they are added to what it holds.
    pub accumulate: bool,
    /// What is called with rows as soon as they are finished: the first, and the one behind the last.
    pub done: Option<&'a (dyn Fn(usize, usize) + Sync)>,
    /// The instruction set.
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
    /// For each element of C, row after row, what its additions lost; nothing where the product is not long.
    lost: Option<*mut f32>,
}

// SAFETY: the shared part is written in disjoint pieces before it is read; a slot belongs to one thread at a time.
unsafe impl Sync for Scratch {}

/// Numbers of scratch for a product; grows with each argument.
pub fn scratch_len(threads: usize, m: usize, n: usize, k: usize) -> usize {
    LINE + shared_len(m, n, k) + threads * slot_len(k) + if k > LONG { m.saturating_mul(n) } else { 0 }
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

/// The length of a product's blocks of k but for its last one: equal lengths, as few as the longest chain allows.
fn block_len(k: usize) -> usize {
    k.div_ceil(k.div_ceil(CHAIN).max(1))
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
    let k = job.k();
    let team = if job.m * job.n * k < ALONE_BELOW { Team(None) } else { team };
    let needed = scratch_len(team.threads(), job.m, job.n, k);
    assert!(scratch.len() >= needed, "a product was given {} numbers of scratch and needs {needed}", scratch.len());
    let height = panel_rows(job.m);
    if job.m == 0 || job.n == 0 || k == 0 {
        // SAFETY: C is writable.
        unsafe { job.without_products() };
        return job.finish(team, height);
    }
    let start = scratch.as_ptr().align_offset(LINE * size_of::<f32>()).min(LINE);
    let (shared_len, slot_len) = (shared_len(job.m, job.n, k), slot_len(k));
    let shared = scratch.as_mut_ptr().wrapping_add(start);
    let slots = shared.wrapping_add(shared_len);
    let lost = (k > LONG).then(|| slots.wrapping_add(team.threads() * slot_len));
    let scratch = Scratch { shared, shared_len, slots, slot_len, lost };
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
    let tiles = Tiling::new(job, job.m);
    let panels = job.n.div_ceil(tiles.width);
    let groups = panels.min(4 * team.threads());
    let panel = |i: usize| i * tiles.width..((i + 1) * tiles.width).min(job.n);
    let (mut first, k) = (0, job.k());
    while first < k {
        let phase = if tiles.pack_a { job.phase(first, job.m, job.phase_len(scratch)) } else { 0..k };
        first = phase.end;
        let packed_a = |k: usize| scratch.shared.wrapping_add((k - phase.start) * job.m);
        if tiles.pack_a {
            let piece = PACKED_AT_ONCE * tiles.rows;
            team.run(job.m.div_ceil(piece), &|_slot, i| {
                let rows = i * piece..((i + 1) * piece).min(job.m);
                for block in job.blocks(phase.clone()) {
                    let to = packed_a(block.start).wrapping_add(rows.start * block.len());
                    // SAFETY: rows have their own places in the shared scratch, which holds the phase.
                    unsafe { job.pack_a(&tiles, rows.clone(), block, to) };
                }
            });
        }
        team.run(groups, &|slot, group| {
            let own = scratch.slots.wrapping_add(slot * scratch.slot_len);
            let range = part(panels, groups, group);
            let at_once = if tiles.direct_b(job) || !job.is_large() { 1 } else { SIDE / tiles.width };
            for first in range.clone().step_by(at_once) {
                let last = (first + at_once).min(range.end);
                let cols = panel(first).start..panel(last - 1).end;
                for block in job.blocks(phase.clone()) {
                    let a = tiles.pack_a.then(|| packed_a(block.start).cast_const());
                    let direct = tiles.direct_b(job) && cols.len() == tiles.width;
                    // SAFETY: the slot holds a block of these panels of B; other groups write other columns of C.
                    unsafe {
                        if !direct {
                            job.pack_b(&tiles, cols.clone(), block.clone(), own);
                        }
                        for i in first..last {
                            let packed = own.wrapping_add((i - first) * tiles.width * block.len()).cast_const();
                            let b = (!direct).then_some(packed);
                            let later =
                                tiles.columns_ahead(job, &block, &cols, (i - first) * job.m.div_ceil(tiles.rows));
                            job.strip(&tiles, scratch, [0..job.m, panel(i), block.clone()], [a, b], later);
                        }
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
    let tiles = Tiling::new(job, height);
    let longest = job.terms.iter().map(|term| block_len(term.k)).max().unwrap_or(0);
    let room = scratch.shared_len / (longest * tiles.width) * tiles.width;
    let stripes = job.n.div_ceil(room);
    let stripe = job.n.div_ceil(stripes).next_multiple_of(tiles.width);
    for columns in (0..job.n).step_by(stripe).map(|first| first..(first + stripe).min(job.n)) {
        let panels = columns.len().div_ceil(tiles.width);
        let padded = panels * tiles.width;
        let panel =
            |i: usize| columns.start + i * tiles.width..(columns.start + (i + 1) * tiles.width).min(columns.end);
        let (mut first, k) = (0, job.k());
        while first < k {
            let phase = job.phase(first, padded, scratch.shared_len);
            first = phase.end;
            let packed_b = |block: &Range<usize>, i: usize| {
                scratch.shared.wrapping_add((block.start - phase.start) * padded + i * tiles.width * block.len())
            };
            team.run(panels.div_ceil(PACKED_AT_ONCE), &|_slot, i| {
                let first = i * PACKED_AT_ONCE;
                let cols = panel(first).start..panel((first + PACKED_AT_ONCE).min(panels) - 1).end;
                for block in job.blocks(phase.clone()) {
                    // SAFETY: each panel of B has its own place in the shared scratch, which holds the phase.
                    unsafe { job.pack_b(&tiles, cols.clone(), block.clone(), packed_b(&block, first)) };
                }
            });
            let last = columns.end == job.n && phase.end == k;
            team.run(job.m.div_ceil(height), &|slot, chunk| {
                let rows = chunk * height..((chunk + 1) * height).min(job.m);
                let own = scratch.slots.wrapping_add(slot * scratch.slot_len);
                for block in job.blocks(phase.clone()) {
                    // SAFETY: the slot holds a block of a panel of A; other chunks write other rows of C.
                    unsafe {
                        let a = tiles.pack_a.then(|| {
                            job.pack_a(&tiles, rows.clone(), block.clone(), own);
                            own.cast_const()
                        });
                        let step = if job.is_large() { rows.len() } else { NEAR_TILES * tiles.rows };
                        for first in rows.clone().step_by(step) {
                            let part = first..(first + step).min(rows.end);
                            let a = a.map(|a| a.wrapping_add((first - rows.start) * block.len()));
                            for i in 0..panels {
                                let b = packed_b(&block, i).cast_const();
                                let later = tiles.packed_ahead(job, packed_b(&block, i + 1), &rows, &block);
                                job.strip(
                                    &tiles,
                                    scratch,
                                    [part.clone(), panel(i), block.clone()],
                                    [a, Some(b)],
                                    later,
                                );
                            }
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

/// Packs rows of an operand, whose columns are steps of k, into panels of some width; `fill` says whether the last one is
/// filled up with zeros.
///
/// # Safety
/// The machine has the instruction set, the rows and steps lie in the operand, and `to` has room for all panels.
unsafe fn pack_lanes(
    isa: Isa,
    operand: Operand,
    [lanes, k]: [Range<usize>; 2],
    (width, fill): (usize, bool),
    to: *mut f32,
) {
    let mat = operand.mat;
    if !operand.is_plain() {
        let axes = [Axes { outer: mat.rs, inner: operand.rows }, Axes { outer: mat.cs, inner: operand.cols }];
        // SAFETY: the caller's promises.
        return unsafe { pack_spread(isa, mat.ptr, axes, [lanes, k], (width, fill), to) };
    }
    let from = mat.at(lanes.start, k.start).cast_const();
    let block = Block { from, lane: mat.rs, along_k: mat.cs, lanes: lanes.len(), k: k.len(), width, fill };
    // SAFETY: the caller's promises.
    unsafe { pack(isa, block, to) }
}

/// The tiles of a product.
struct Tiling {
    kernels: &'static Kernels,
    /// Rows of a tile; the last one of a panel may have fewer.
    rows: usize,
    /// Columns of a tile.
    width: usize,
    pack_a: bool,
}

impl Tiling {
    /// The tiles for panels of some rows. Tiles are of nearly equal height: a low one would leave multipliers idle.
    fn new(job: &Job, height: usize) -> Tiling {
        let kernels = Kernels::of(job.isa);
        let vectors = job.n.div_ceil(kernels.lanes);
        let spread = job.terms.iter().any(|term| !term.a.is_plain());
        if height <= kernels.wide_rows && vectors > kernels.vectors && !spread {
            let width = vectors.min(kernels.wide) * kernels.lanes;
            return Tiling { kernels, rows: height, width, pack_a: false };
        }
        let width = vectors.min(kernels.vectors) * kernels.lanes;
        let pack_a = spread || (height > kernels.wide_rows && job.n > 2 * width);
        let rows = height.div_ceil(height.div_ceil(kernels.rows));
        Tiling { kernels, rows, width, pack_a }
    }

    /// Whether whole panels of B are read where they lie: where packing would not be made up for.
    fn direct_b(&self, job: &Job) -> bool {
        let lies = |b: &Operand| b.is_plain() && b.mat.cs == 1;
        job.terms.iter().all(|term| lies(&term.b)) && (job.m <= 3 * self.rows || job.n * job.k() <= SMALL)
    }

    /// The next panel of B, packed: each tile fetches its share of it, evenly over k.
    fn packed_ahead(&self, job: &Job, at: *const f32, rows: &Range<usize>, block: &Range<usize>) -> Option<Later> {
        let len = self.width * block.len();
        let share = len.div_ceil(rows.len().div_ceil(self.rows));
        let along_k = share.div_ceil(block.len()) as isize;
        job.is_large().then_some(Later { at, first: 0, share, len, along_k })
    }

    /// The columns of B after these where they lie: each tile fetches a line of each row. `first` tiles were before.
    fn columns_ahead(&self, job: &Job, block: &Range<usize>, cols: &Range<usize>, first: usize) -> Option<Later> {
        let (Term { b, .. }, block) = job.of(block);
        let at = b.mat.at(block.start, cols.end).cast_const();
        let fetches = job.is_large() && b.is_plain();
        fetches.then_some(Later { at, first, share: LINE, len: cols.len(), along_k: b.mat.rs })
    }
}

/// Memory that later tiles will read, and how the tiles of a strip share in fetching it: tile `i` starts
/// `(first + i) * share` after `at`, modulo `len`.
#[derive(Clone, Copy)]
struct Later {
    at: *const f32,
    first: usize,
    share: usize,
    len: usize,
    along_k: isize,
}

impl Later {
    fn tile(self, i: usize) -> *const f32 {
        self.at.wrapping_add((self.first + i) * self.share % self.len)
    }
}

impl Job<'_> {
    /// Steps of k, those of all products.
    fn k(&self) -> usize {
        self.terms.iter().map(|term| term.k).sum()
    }

    /// The product that a step of k belongs to, and that product's first step.
    fn term(&self, at: usize) -> (&Term<'_>, usize) {
        let mut first = 0;
        for term in self.terms {
            if at < first + term.k {
                return (term, first);
            }
            first += term.k;
        }
        unreachable!("step {at} is one of {first}")
    }

    /// The product that a block belongs to, and the block among that product's own steps of k.
    fn of(&self, block: &Range<usize>) -> (&Term<'_>, Range<usize>) {
        let (term, first) = self.term(block.start);
        (term, block.start - first..block.end - first)
    }

    /// The block of k that starts at a step; it is within one product.
    fn block(&self, at: usize) -> Range<usize> {
        let (term, first) = self.term(at);
        at..(at + block_len(term.k)).min(first + term.k)
    }

    /// The blocks of k within `range`, which starts and ends between blocks.
    fn blocks(&self, range: Range<usize>) -> impl Iterator<Item = Range<usize>> {
        let mut first = range.start;
        std::iter::from_fn(move || {
            let next = (first < range.end).then(|| self.block(first))?;
            first = next.end;
            Some(next)
        })
    }

    /// The longest run of blocks from `first` on of which each k costs `per_k` numbers of a memory of `room`; at least one.
    fn phase(&self, first: usize, per_k: usize, room: usize) -> Range<usize> {
        let (mut range, k) = (self.block(first), self.k());
        while range.end < k {
            let next = self.block(range.end);
            if per_k * (next.end - first) > room {
                break;
            }
            range.end = next.end;
        }
        range
    }

    /// Whether threads take columns rather than rows.
    fn by_columns(&self, threads: usize, height: usize) -> bool {
        let kernels = Kernels::of(self.isa);
        let panels = self.m.div_ceil(height);
        let strips = self.n.div_ceil(kernels.vectors * kernels.lanes);
        let turns = |chunks: usize| chunks.div_ceil(threads) * threads;
        panels == 1 || (self.m * CHAIN <= SHARED_LEN && 10 * panels * turns(strips) < 9 * strips * turns(panels))
    }

    /// Whether B is too large for the near caches.
    fn is_large(&self) -> bool {
        self.n * self.k() >= LARGE
    }

    /// Numbers of A that are packed at once for all columns. Where B's rows go over several axes, its columns are often made of
    /// the same numbers, so a phase is so short that they are still near for the next columns.
    fn phase_len(&self, scratch: &Scratch) -> usize {
        let plain = self.terms.iter().all(|term| term.b.rows.is_empty());
        if plain { scratch.shared_len } else { scratch.shared_len.min(NEAR_LEN) }
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

    /// Packs rows of A, tile after tile.
    ///
    /// # Safety
    /// `to` has room for rows times block numbers.
    unsafe fn pack_a(&self, tiles: &Tiling, rows: Range<usize>, block: Range<usize>, to: *mut f32) {
        let (term, block) = self.of(&block);
        // SAFETY: the block lies in A; the room is the caller's.
        unsafe { pack_lanes(self.isa, term.a, [rows, block], (tiles.rows, false), to) }
    }

    /// Packs columns of B, panel after panel.
    ///
    /// # Safety
    /// `to` has room for columns, up to a multiple of the width, times block numbers.
    unsafe fn pack_b(&self, tiles: &Tiling, cols: Range<usize>, block: Range<usize>, to: *mut f32) {
        let (term, block) = self.of(&block);
        // SAFETY: the block lies in B; the room is the caller's.
        unsafe { pack_lanes(self.isa, term.b.transposed(), [cols, block], (tiles.width, true), to) }
    }

    /// Computes the tiles of some rows and of columns within one tile's width, for a block of k. Operands are read from
    /// where they are packed, or from where they lie.
    ///
    /// # Safety
    /// As for [`walk`]; packed operands are those of these rows, columns and block.
    unsafe fn strip(
        &self,
        tiles: &Tiling,
        scratch: &Scratch,
        [rows, cols, block]: [Range<usize>; 3],
        [a, b]: [Option<*const f32>; 2],
        later: Option<Later>,
    ) {
        let vectors = cols.len().div_ceil(tiles.kernels.lanes);
        let (term, own) = self.of(&block);
        let (left, right) = (term.a.mat, term.b.mat);
        let (b, b_k) = match b {
            Some(packed) => (packed, tiles.width as isize),
            None => (right.at(own.start, cols.start).cast_const(), right.rs),
        };
        for (i, first) in rows.clone().step_by(tiles.rows).enumerate() {
            let height = tiles.rows.min(rows.end - first);
            let (a, a_row, a_k) = match a {
                Some(packed) => (packed.wrapping_add((first - rows.start) * block.len()), 1, height as isize),
                None => (left.at(first, own.start).cast_const(), left.rs, left.cs),
            };
            let kernel = tiles.kernels.get(height, vectors, a_row == 1, later.is_some());
            let c = self.c.at(first, cols.start);
            let add = self.accumulate || block.start > 0;
            let work = Tile {
                k: block.len(),
                a,
                a_row,
                a_k,
                b,
                b_k,
                c,
                c_row: self.c.rs,
                ahead: later.map_or(b, |later| later.tile(i)),
                ahead_k: later.map_or(0, |later| later.along_k),
                cols: cols.len(),
                add,
            };
            // SAFETY: the tile lies in C, its operands in A and B or in packed panels of full width.
            unsafe {
                if let Some(lost) = scratch.lost {
                    let lost = lost.wrapping_add(first * self.n + cols.start);
                    self.add_long(kernel, work, height, [block.start == 0, block.end == self.k()], lost);
                } else if self.c.cs == 1 {
                    kernel(&work);
                } else {
                    self.spread(kernel, work, height);
                }
            }
        }
    }

    /// Runs a kernel on a tile of its own and adds that to C, and what the additions lose to `lost`; at the end, that to C.
    ///
    /// # Safety
    /// As for [`Job::strip`]; `lost` is that of the tile's first element.
    unsafe fn add_long(
        &self,
        kernel: super::kernel::Kernel,
        tile: Tile,
        rows: usize,
        [first, last]: [bool; 2],
        lost: *mut f32,
    ) {
        let mut own = [0.0_f32; TILE_LEN];
        let (c, cols, add) = (tile.c, tile.cols, tile.add);
        // SAFETY: no kernel's tile is longer than TILE_LEN; rows and columns are in C, and so many are in `lost`.
        unsafe {
            kernel(&Tile { c: own.as_mut_ptr(), c_row: cols as isize, add: false, ..tile });
            for (row, sums) in own.chunks(cols).take(rows).enumerate() {
                let lost = std::slice::from_raw_parts_mut(lost.add(row * self.n), cols);
                for (col, (sum, lost)) in sums.iter().zip(lost).enumerate() {
                    let to = c.offset(row as isize * self.c.rs + col as isize * self.c.cs);
                    let old = Total { high: if add { *to } else { 0.0 }, low: if first { 0.0 } else { *lost } };
                    let new = old.plus(*sum);
                    (*to, *lost) = (if last { new.value() } else { new.high }, new.low);
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
