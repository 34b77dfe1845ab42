//! Calls of kernels: scalars and extents are computed once for a call, its rows are handed out in chunks, and the folds'
//! partial results are joined at the end.

use super::fold::Partials;
use super::node::{CallNode, FoldNode};
use super::walk::Walker;
use crate::memory::{Memory, Ptr};
use dlc_plan::chunks::FOLD_CHUNKS;
use dlc_plan::kernel::{Args, KernelFn, Kind};

/// A partial result of up to so many elements has a line of the cache of its own, so that threads do not share one.
pub const SMALL: usize = 16;

/// Memory for the arguments of calls, made once for the largest.
pub struct Scratch {
    pub uniforms: Vec<u32>,
    pub bufs: Vec<Ptr>,
    /// The length of each buffer, and of each fold.
    pub lens: Vec<u64>,
    pub fold_lens: Vec<u64>,
    /// For each chunk, where its folds go.
    pub folds: Vec<Ptr>,
    /// The short partial results: for each fold, a line for each chunk.
    pub small: Memory,
    /// For each thread, a list of buffers and one of their lengths.
    pub slot_bufs: Vec<Ptr>,
    pub slot_lens: Vec<u64>,
    /// What products need.
    pub products: Vec<f32>,
}

/// What the chunks of a call share.
pub struct Job<'a> {
    pub f: KernelFn,
    pub bufs: *const Ptr,
    pub lens: *const u64,
    pub uniforms: *const u32,
    pub fold_lens: *const u64,
    exts: *const i64,
    folds: *const Ptr,
    nodes: &'a [FoldNode],
}

// SAFETY: the pointers are to scratch that is not changed while the job runs; what the kernel writes is disjoint from
// chunk to chunk.
unsafe impl Sync for Job<'_> {}

impl Job<'_> {
    /// Where the folds of a chunk go.
    fn folds_at(&self, chunk: usize) -> *const Ptr {
        self.folds.wrapping_add(chunk * self.nodes.len())
    }

    /// Where the folds of a chunk go, as a kernel takes it.
    pub fn folds_of(&self, chunk: usize) -> *const *mut u8 {
        self.folds_at(chunk).cast()
    }

    /// Fills a chunk's partial results with the identity.
    pub fn fill(&self, chunk: usize) {
        for (i, fold) in self.nodes.iter().enumerate() {
            // SAFETY: `begin` wrote an address for each fold of each chunk, with room for the fold's length.
            unsafe { fold.fill(*self.folds_at(chunk).add(i)) };
        }
    }

    /// Runs the kernel on some rows of a chunk.
    pub fn rows(&self, chunk: usize, first: u64, last: u64) {
        let args = Args {
            bufs: self.bufs.cast(),
            uniforms: self.uniforms,
            exts: self.exts,
            folds: self.folds_of(chunk),
            lens: self.lens,
            fold_lens: self.fold_lens,
        };
        // SAFETY: the plan was checked to give the kernel as many buffers, scalars, extents and folds as it takes, of its
        // types; rows are those that the kernel's extents say, and no other chunk has them. That its accesses lie within
        // its buffers is the compiler's promise, which debug builds check for all accesses that do not gather.
        unsafe { (self.f)(&args, first, last) };
    }
}

impl Walker<'_> {
    /// Runs a call over all its rows.
    pub fn call(&mut self, call: &CallNode) {
        if let Some(classes) = &call.segments {
            return self.call_segments(call, classes);
        }
        self.set_uniforms(call, 0, 0);
        let chunks = call.cut.chunks as usize;
        let job = self.begin(call, chunks);
        self.hands.run(chunks, &|chunk| {
            let (first, last) = call.cut.range(chunk as u64);
            job.fill(chunk);
            job.rows(chunk, first, last);
        });
        self.finish(call, chunks);
    }

    /// Computes the scalars of a call, for a segment, into the scratch from place `at` on.
    pub fn set_uniforms(&mut self, call: &CallNode, at: usize, segment: usize) {
        let scratch = &mut self.scratch.uniforms[at..];
        for (slot, (kind, host)) in scratch.iter_mut().zip(&call.uniforms) {
            let x = host.eval(self.state, self.dims, self.rows, segment);
            *slot = match kind {
                Kind::F32 => (x as f32).to_bits(),
                Kind::I32 | Kind::Mask => x as i64 as u32,
            };
        }
    }

    /// Lays out the arguments of a call whose rows come in so many chunks, and whose scalars are set.
    pub fn begin<'c>(&mut self, call: &'c CallNode, chunks: usize) -> Job<'c> {
        for (i, &b) in call.bufs.iter().enumerate() {
            self.scratch.bufs[i] = self.ptrs[b];
            self.scratch.lens[i] = self.lens[b];
        }
        let width = call.folds.len();
        for (i, fold) in call.folds.iter().enumerate() {
            let partials = self.partials(i, fold);
            self.scratch.fold_lens[i] = fold.kept() as u64;
            for chunk in 0..chunks {
                self.scratch.folds[chunk * width + i] = partials.start.plus(4 * chunk * partials.stride);
            }
        }
        Job {
            f: self.fns[call.kernel],
            bufs: self.scratch.bufs.as_ptr(),
            lens: self.scratch.lens.as_ptr(),
            fold_lens: self.scratch.fold_lens.as_ptr(),
            uniforms: self.scratch.uniforms.as_ptr(),
            exts: call.exts.as_ptr(),
            folds: self.scratch.folds.as_ptr(),
            nodes: &call.folds,
        }
    }

    /// Joins the partial results of a call's folds.
    pub fn finish(&mut self, call: &CallNode, chunks: usize) {
        for (i, fold) in call.folds.iter().enumerate() {
            // SAFETY: the lengths of the partial results and of the result were checked when the sizes were set, and all
            // chunks have returned.
            unsafe { fold.join(self.hands, self.partials(i, fold), chunks, self.ptrs[fold.to]) };
        }
    }

    /// Where the partial results of a call's fold are.
    fn partials(&self, i: usize, fold: &FoldNode) -> Partials {
        let start = if fold.kept() <= SMALL {
            self.scratch.small.start().plus(4 * SMALL * FOLD_CHUNKS as usize * i)
        } else {
            self.ptrs[fold.partial]
        };
        Partials { start, stride: fold.stride() }
    }
}
