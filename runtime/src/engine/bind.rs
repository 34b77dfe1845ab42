//! What must hold of an entry's steps at the sizes that it is bound to: every matrix, copy, scatter, fold and call lies in
//! its buffers. Takes the steps and the lengths of the buffers; sets the steps' numbers, or says what does not fit, which
//! is a bug of the compiler.

use super::frame::moves;
use super::node::{CallNode, GemmNode, Known, MatrixNode, Node, RowsNode, ScatterNode};
use super::segments::{PIECE, Segments};
use crate::error::Error;
use dlc_plan::chunks::{Cut, FOLD_CHUNKS};
use dlc_plan::kernel::{Access, Kernel, Op};
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
        let empty = [m, n].into_iter().chain(batch.iter().map(|extent| extent.now)).any(|extent| extent == 0);
        let still = |extent: i64, stride: i64| !empty && extent > 1 && stride == 0;
        let repeats = still(m, gemm.c.row.now) || still(n, gemm.c.col.now);
        if repeats || batch.iter().zip(&gemm.c.batch).any(|(extent, stride)| still(extent.now, stride.now)) {
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
        if call.segments.is_some() {
            return self.segments(call, kernel);
        }
        call.rows.set(self.dims);
        let rows = kernel.row_count(&call.exts);
        if i64::try_from(rows) != Ok(call.rows.now) {
            return Err(format!("kernel {} has {rows} rows and is called for {}", call.kernel, call.rows.now));
        }
        call.cut = Cut::new(rows, kernel.row_work(&call.exts), !call.folds.is_empty());
        if cfg!(debug_assertions) && rows > 0 {
            self.accesses(call.kernel, &call.bufs, &call.exts, &|i| self.lens[call.bufs[i]])?;
        }
        Ok(())
    }

    fn segments(&self, call: &mut CallNode, kernel: &Kernel) -> Result<(), String> {
        let exts = [PIECE as i64];
        let work = kernel.row_work(&exts).saturating_mul(kernel.row_count(&exts));
        call.cut = Cut::new(self.segments.pieces.len() as u64, work, !call.folds.is_empty());
        let Some(classes) = &mut call.segments else { return Ok(()) };
        for (moving, &b) in classes.moving.iter_mut().zip(&call.bufs) {
            let (buffer, len) = (&self.entry.buffers[b], self.lens[b]);
            *moving = if moves(buffer, len, self.store_len) { buffer.elem.bytes() } else { 0 };
            if *moving > 0 && len != self.store_len {
                return Err(format!("{} is not as long as the store of {}", self.note(b), self.store_len));
            }
        }
        if cfg!(debug_assertions) {
            let moving = &classes.moving;
            let len = |i: usize| if moving[i] > 0 { PIECE as u64 } else { self.lens[call.bufs[i]] };
            self.accesses(call.kernel, &call.bufs, &exts, &len)?;
        }
        Ok(())
    }

    /// The accesses of a kernel that neither gather nor have bounds of their own lie in its buffers.
    fn accesses(&self, number: usize, bufs: &[usize], exts: &[i64], len: &dyn Fn(usize) -> u64) -> Result<(), String> {
        let kernel = &self.plan.kernels[number];
        let defs = kernel.setup.iter().chain(kernel.phases.iter().flat_map(|p| &p.defs));
        let loads = defs.filter_map(|d| match &d.op {
            Op::Load(access) => Some(access),
            Op::Float(_) | Op::Int(_) | Op::Uniform(_) | Op::Index(_) | Op::Instr(..) | Op::Bits(_) => None,
        });
        let stores = kernel.phases.iter().flat_map(|p| &p.stores).map(|s| &s.to);
        for access in loads.chain(stores).filter(|a| a.base.is_none() && a.bounds.is_empty()) {
            let buf = usize::from(access.buf);
            let Some((low, high)) = range(kernel, access, exts) else { continue };
            if low < 0 || high >= i128::from(len(buf)) {
                let note = self.note(bufs[buf]);
                return Err(format!("kernel {number} touches elements {low} to {high} of {note}"));
            }
        }
        Ok(())
    }
}

/// The first and the last element that an access touches; none where a loop has no turns.
fn range(kernel: &Kernel, access: &Access, exts: &[i64]) -> Option<(i128, i128)> {
    let offset = i128::from(access.at.offset.value(exts));
    let (mut low, mut high) = (offset, offset);
    for &(axis, factor) in &access.at.terms {
        let extent = i128::from(kernel.extent(axis, exts));
        if extent <= 0 {
            return None;
        }
        let reach = (extent - 1) * i128::from(factor.value(exts));
        low += reach.min(0);
        high += reach.max(0);
    }
    Some((low, high))
}
