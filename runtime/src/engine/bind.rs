//! What must hold of an entry's steps at the sizes that it is bound to: every matrix, copy, scatter, fold and call lies in
//! its buffers. Takes the steps and the lengths of the buffers; sets the steps' numbers, or says what does not fit, which
//! is a bug of the compiler.

use super::frame::moves;
use super::node::{CallNode, GemmNode, Known, MatrixNode, Node, RowsNode, ScatterNode};
use super::reach::{Band, Indices, is_apart, largest_base, reach};
use super::segments::{PIECE, Segments};
use crate::call::Takes;
use crate::check::fold_of;
use crate::error::Error;
use dlc_plan::chunks::{Cut, FOLD_CHUNKS};
use dlc_plan::kernel::{Kernel, Over};
use dlc_plan::plan::Entry;
use dlc_plan::{Plan, Size};

/// What the checks go by.
pub struct Facts<'a> {
    pub plan: &'a Plan,
    pub entry: &'a Entry,
    pub segments: &'a Segments,
    pub dims: &'a [i64],
    /// The length of each buffer, in elements.
    pub lens: &'a [u64],
    pub threads: usize,
    /// What the kernels take, where they are Rust.
    pub takes: Option<&'a [Takes]>,
    /// The length of the store of the trained weights, in elements.
    pub store_len: u64,
}

/// The memory that steps need besides the arena.
pub struct Needs<'a> {
    /// The numbers of scratch that products need.
    pub products: usize,
    /// The same, of each thread in panels.
    pub alone: usize,
    /// For each buffer of each thread's own, its bytes.
    pub local: &'a mut [u64],
}

impl Facts<'_> {
    /// Sets and checks the steps.
    pub fn bind(&self, nodes: &mut [Node], needs: &mut Needs) -> Result<(), Error> {
        for node in nodes {
            match node {
                Node::Call(call) => self.call(call).map_err(Error::Plan)?,
                Node::Gemm(gemm) => needs.products = needs.products.max(self.gemm(gemm).map_err(Error::Plan)?),
                Node::Copy { from, to } => self.copy(*from, *to).map_err(Error::Plan)?,
                Node::Scatter(s) => self.scatter(s).map_err(Error::Plan)?,
                Node::Rows(r) => self.rows(r).map_err(Error::Plan)?,
                Node::Repeat { body, .. } => self.bind(body, needs)?,
                Node::Panels(panels) => panels.bind(self, needs)?,
            }
        }
        Ok(())
    }

    /// A buffer as people know it.
    pub fn note(&self, b: usize) -> String {
        format!("buffer {b} ({}, {} elements)", self.entry.buffers[b].note, self.lens[b])
    }

    /// A buffer has at least so many elements.
    fn holds(&self, b: usize, len: i128) -> Result<(), String> {
        if len <= i128::from(self.lens[b]) {
            return Ok(());
        }
        Err(format!("{} is used as if it had {len}", self.note(b)))
    }

    fn copy(&self, from: usize, to: usize) -> Result<(), String> {
        if self.lens[from] == self.lens[to] {
            return Ok(());
        }
        Err(format!("{} is copied to {}", self.note(from), self.note(to)))
    }

    fn scatter(&self, s: &mut ScatterNode) -> Result<(), String> {
        [&mut s.count, &mut s.rows, &mut s.width].into_iter().for_each(|k| k.set(self.dims));
        let [count, rows, width] = [s.count.now, s.rows.now, s.width.now].map(i128::from);
        if count.min(rows).min(width) < 0 {
            return Err(format!("a scatter of {count} rows of {width} into {rows}"));
        }
        self.holds(s.ids, count)?;
        self.holds(s.from, count * width)?;
        self.holds(s.to, rows * width)
    }

    fn rows(&self, r: &mut RowsNode) -> Result<(), String> {
        [&mut r.rows, &mut r.len, &mut r.keep].into_iter().for_each(|k| k.set(self.dims));
        let [rows, len, keep] = [r.rows.now, r.len.now, r.keep.now].map(i128::from);
        let most = i128::from(i32::MAX);
        if rows.min(len).min(keep) < 0 || keep > len || len > most {
            return Err(format!("{} of {rows} rows of {len}, of which {keep} are kept", r.op.name()));
        }
        self.holds(r.from, rows * len)?;
        self.holds(r.to, rows * keep)
    }

    fn gemm(&self, gemm: &mut GemmNode) -> Result<usize, String> {
        [&mut gemm.m, &mut gemm.n].into_iter().chain(&mut gemm.batch).for_each(|k| k.set(self.dims));
        let (m, n) = (gemm.m.now, gemm.n.now);
        let batch = &gemm.batch;
        for (k, a, b) in &mut gemm.terms {
            k.set(self.dims);
            self.matrix(a, [m, k.now], batch)?;
            self.matrix(b, [k.now, n], batch)?;
        }
        self.matrix(&mut gemm.c, [m, n], batch)?;
        if repeats(&gemm.c, [m, n], batch) {
            return Err(format!("a product writes elements of {} more than once", self.note(gemm.c.buf)));
        }
        if let Some(call) = &mut gemm.then {
            self.call(call)?;
            let rows = batch.iter().fold(i128::from(m), |rows, extent| rows.saturating_mul(extent.now.into()));
            if i128::from(call.rows.now) != rows {
                return Err(format!("{} rows follow a product of {rows}", call.rows.now));
            }
        }
        Ok(gemm.scratch_len(self.threads))
    }

    /// A matrix of this shape, and all others of its batch, lie in its buffer.
    fn matrix(&self, matrix: &mut MatrixNode, shape: [i64; 2], batch: &[Known]) -> Result<(), String> {
        matrix.set(self.dims);
        let extents = || shape.into_iter().chain(batch.iter().map(|extent| extent.now));
        if extents().any(|n| n < 0) {
            return Err(format!("a matrix of {shape:?} in {}", self.note(matrix.buf)));
        }
        if extents().any(|n| n == 0) {
            return Ok(());
        }
        let (mut low, mut high) = (i128::from(matrix.offset.now), i128::from(matrix.offset.now));
        let mut reaches = |n: i64, stride: i64| {
            let reach = i128::from(n - 1) * i128::from(stride);
            low += reach.min(0);
            high += reach.max(0);
        };
        for ((n, stride), inner) in shape.into_iter().zip([&matrix.row, &matrix.col]).zip(&matrix.inner) {
            let fast: i64 = inner.iter().map(|(n, _)| n.now).product();
            if fast <= 0 || n % fast != 0 {
                return Err(format!("{n} rows or columns of {} are no multiple of {fast}", self.note(matrix.buf)));
            }
            reaches(n / fast, stride.now);
            inner.iter().for_each(|(n, stride)| reaches(n.now, stride.now));
        }
        batch.iter().zip(&matrix.batch).for_each(|(n, stride)| reaches(n.now, stride.now));
        if low < 0 {
            return Err(format!("a matrix begins before {}", self.note(matrix.buf)));
        }
        self.holds(matrix.buf, high + 1)
    }

    fn call(&self, call: &mut CallNode) -> Result<(), String> {
        let kernel = &self.plan.kernels[call.kernel];
        call.exts.iter_mut().zip(&call.ext_sizes).for_each(|(ext, size)| *ext = Size::eval(size, self.dims));
        for fold in &mut call.folds {
            fold.len.set(self.dims);
            let len = i128::from(fold.len.now);
            if len < 0 {
                return Err(format!("a fold of kernel {} has {len} results", call.kernel));
            }
            self.holds(fold.partial, len * fold.op.parts(fold.kind) as i128 * i128::from(FOLD_CHUNKS))?;
            self.holds(fold.to, len)?;
        }
        call.limits.fill(i32::MAX);
        if call.segments.is_some() {
            return self.segments(call, kernel);
        }
        call.rows.set(self.dims);
        let rows = kernel.row_count(&call.exts);
        if i64::try_from(rows) != Ok(call.rows.now) {
            return Err(format!("kernel {} has {rows} rows and is called for {}", call.kernel, call.rows.now));
        }
        call.cut = Cut::new(rows, kernel.row_work(&call.exts), !call.folds.is_empty());
        if rows == 0 {
            call.apart = true;
            return Ok(());
        }
        self.columns(call, kernel)?;
        let CallNode { kernel: number, bufs, exts, limits, .. } = &mut *call;
        self.accesses(*number, bufs, exts, limits, &|i| self.lens[bufs[i]])?;
        self.rows_apart(call, kernel);
        Ok(())
    }

    /// Finds whether rows may run side by side, and where each of them may write.
    fn rows_apart(&self, call: &mut CallNode, kernel: &Kernel) {
        let CallNode { kernel: call_kernel, exts, bands, suspects, apart, extents, .. } = call;
        bands.clear();
        let one = kernel.row_count(exts) == 1;
        let mut are_apart = |pair: [usize; 2]| match self.band(*call_kernel, pair, exts) {
            _ if one => true,
            Some(band) if self.takes.is_none() || bands.iter().all(|known| known.buf != band.buf) => {
                bands.push(band);
                true
            }
            Some(_) | None => self.takes.is_none() && is_apart(kernel, pair, exts),
        };
        *apart = true;
        for buf in (0..kernel.bufs.len()).filter(|&buf| kernel.bufs[buf].written) {
            *apart &= are_apart([buf, buf]);
        }
        for suspect in suspects {
            suspect.apart = are_apart([suspect.written, suspect.other]);
        }
        // Machine code does what the kernel says, and need not be held to it.
        if self.takes.is_none() {
            bands.clear();
        }
        extents.clear();
        extents.extend(kernel.rows.iter().map(|extent| extent.value(exts)));
    }

    /// Where the rows of a kernel touch a buffer that it writes, or another that is the same memory.
    fn band(&self, number: usize, [buf, other]: [usize; 2], exts: &[i64]) -> Option<Band> {
        let kernel = &self.plan.kernels[number];
        let own = |touched: u16| [buf, other].contains(&usize::from(touched));
        match self.takes {
            // Of what it only reads, a kernel in Rust does not say where.
            Some(_) if !kernel.bufs[other].written => None,
            Some(takes) => {
                let touches = takes[number].touches.iter().filter(|touch| own(touch.buf));
                let touches = touches.map(|touch| Indices { offset: touch.offset, terms: touch.terms });
                Band::new(kernel, other, touches, exts)
            }
            None => {
                let touches = || kernel.loads().chain(kernel.stores()).filter(|access| own(access.buf));
                let plain = touches().all(|access| access.base.is_none());
                plain.then(|| Band::new(kernel, other, touches().map(|access| (&access.at).into()), exts))?
            }
        }
    }

    /// A fold over rows has room for all columns.
    fn columns(&self, call: &CallNode, kernel: &Kernel) -> Result<(), String> {
        let extents = kernel.cols.iter().map(|extent| i128::from(extent.value(&call.exts).max(0)));
        let columns = extents.fold(1, i128::saturating_mul);
        for (slot, fold) in call.folds.iter().enumerate() {
            let over_rows = fold_of(kernel, slot).is_some_and(|fold| matches!(fold.over, Over::Rows(_)));
            if over_rows && columns > i128::from(fold.len.now) {
                let len = fold.len.now;
                return Err(format!("kernel {} folds {columns} columns to {len} results", call.kernel));
            }
        }
        Ok(())
    }

    fn segments(&self, call: &mut CallNode, kernel: &Kernel) -> Result<(), String> {
        let exts = [PIECE as i64];
        let work = kernel.row_work(&exts).saturating_mul(kernel.row_count(&exts));
        call.cut = Cut::new(self.segments.pieces.len() as u64, work, !call.folds.is_empty());
        let CallNode { kernel: number, bufs, limits, suspects, segments: Some(classes), .. } = &mut *call else {
            return Ok(());
        };
        for (moving, &b) in classes.moving.iter_mut().zip(&*bufs) {
            let (buffer, len) = (&self.entry.buffers[b], self.lens[b]);
            *moving = if moves(buffer, len, self.store_len) { buffer.elem.bytes() } else { 0 };
            if *moving > 0 && len != self.store_len {
                return Err(format!("{} is not as long as the store of {}", self.note(b), self.store_len));
            }
        }
        let moving = &classes.moving;
        for &piece in &self.segments.lens {
            let len = |i: usize| if moving[i] > 0 { piece as u64 } else { self.lens[bufs[i]] };
            self.accesses(*number, bufs, &[piece as i64], limits, &len)?;
        }
        for suspect in suspects {
            suspect.apart = moving[suspect.written] > 0 && moving[suspect.other] > 0;
        }
        call.apart = kernel.bufs.iter().zip(moving).all(|(ty, moving)| !ty.written || *moving > 0);
        Ok(())
    }

    /// The accesses of a kernel lie in its buffers; bases of gathers get the `limits` within which they do.
    fn accesses(
        &self,
        number: usize,
        bufs: &[usize],
        exts: &[i64],
        limits: &mut [i32],
        len: &dyn Fn(usize) -> u64,
    ) -> Result<(), String> {
        let kernel = &self.plan.kernels[number];
        let mut limits = limits.iter_mut();
        let idle = kernel.cols.iter().any(|extent| extent.value(exts) <= 0);
        for (access, swept) in kernel.loads_by_sweep().chain(kernel.stores_by_sweep()) {
            let buf = usize::from(access.buf);
            let note = || self.note(bufs[buf]);
            let limit = if access.base.is_some() { limits.next() } else { None };
            // A sweep over no columns touches nothing.
            if swept && idle {
                continue;
            }
            let span = reach(kernel, access, exts).map_err(|error| format!("kernel {number}, {}: {error}", note()))?;
            let Some((low, high)) = span else { continue };
            match (access.base, limit) {
                (Some((_, factor)), Some(limit)) => match largest_base((low, high), factor, exts, len(buf)) {
                    Some(largest) => *limit = largest.min(*limit),
                    None => return Err(format!("kernel {number} gathers elements {low} to {high} of {}", note())),
                },
                _ if low < 0 || high >= i128::from(len(buf)) => {
                    return Err(format!("kernel {number} touches elements {low} to {high} of {}", note()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Whether the matrices of a batch may have an element in common, or one twice. Each stride, from the smallest on, must lead
/// beyond all that the smaller ones reach.
fn repeats(matrix: &MatrixNode, [m, n]: [i64; 2], batch: &[Known]) -> bool {
    let axes = || {
        let own = [(m, matrix.row.now), (n, matrix.col.now)];
        own.into_iter().chain(batch.iter().zip(&matrix.batch).map(|(extent, stride)| (extent.now, stride.now)))
    };
    if axes().any(|(extent, _)| extent == 0) {
        return false;
    }
    let wide = || axes().filter(|(extent, _)| *extent > 1).map(|(n, s)| (i128::from(n), i128::from(s).abs()));
    // Axes of the same stride reach beyond it, all the others taken together do not.
    wide().enumerate().any(|(i, (_, stride))| {
        let others = wide().enumerate().filter(|(j, (_, other))| *j != i && *other <= stride);
        let reach: i128 = others.map(|(_, (n, s))| (n - 1).saturating_mul(s)).fold(0, i128::saturating_add);
        stride <= reach
    }) || wide().any(|(_, stride)| stride == 0)
}
