//! Calls of kernels: scalars and extents are computed once for a call, its rows are handed out in chunks, and the folds'
//! partial results are joined at the end.

use super::fold::Partials;
use super::node::{CallNode, FoldNode, Suspect};
use super::reach::ByRow;
use super::walk::Walker;
use crate::hands::Hands;
use crate::memory::{Memory, Ptr};
use dlc_plan::chunks::FOLD_CHUNKS;
use dlc_plan::kernel::{Args, KernelFn, Kind};
use std::sync::atomic::AtomicBool;

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
    pub slot_windows: Vec<[u64; 2]>,
    /// For each buffer, all of it.
    pub windows: Vec<[u64; 2]>,
    /// What products need.
    pub products: Vec<f32>,
}

/// What the chunks of a call share.
pub struct Job<'a> {
    pub f: KernelFn,
    pub bufs: *const Ptr,
    pub lens: *const u64,
    pub uniforms: *const u32,
    fold_lens: *const u64,
    folds: *const Ptr,
    windows: *mut [u64; 2],
    call: &'a CallNode,
    fault: &'a AtomicBool,
}

// SAFETY: the pointers are to scratch that is not changed while the job runs; what the kernel writes is disjoint from
// chunk to chunk.
unsafe impl Sync for Job<'_> {}

/// Of calls that write more buffers than this one row follows the other on one thread, if they are held to their rows.
const MOST_BANDS: usize = 32;

impl Job<'_> {
    /// Where the folds of a chunk go.
    fn folds_at(&self, chunk: usize) -> *const Ptr {
        self.folds.wrapping_add(chunk * self.call.folds.len())
    }

    /// What a kernel is called with for a chunk.
    pub fn args(&self, chunk: usize) -> Args {
        Args {
            bufs: self.bufs.cast(),
            uniforms: self.uniforms,
            exts: self.call.exts.as_ptr(),
            folds: self.folds_at(chunk).cast(),
            lens: self.lens,
            fold_lens: self.fold_lens,
            limits: self.call.limits.as_ptr(),
            windows: self.windows,
            by_row: std::ptr::null(),
            fault: self.fault,
        }
    }

    /// Fills a chunk's partial results with the identity.
    pub fn fill(&self, chunk: usize) {
        for (i, fold) in self.call.folds.iter().enumerate() {
            // SAFETY: `begin` wrote an address for each fold of each chunk, with room for the fold's length.
            unsafe { fold.fill(*self.folds_at(chunk).add(i)) };
        }
    }

    /// Runs the kernel on some rows of a chunk.
    pub fn rows(&self, chunk: usize, first: u64, last: u64) {
        if first >= last {
            return;
        }
        let mut args = self.args(chunk);
        let mut windows = [[0; 2]; MOST_BANDS];
        let by_row = ByRow { bands: &self.call.bands, extents: &self.call.extents, first, last };
        if !self.call.bands.is_empty() && self.call.bufs.len() <= MOST_BANDS {
            for (i, window) in windows.iter_mut().enumerate().take(self.call.bufs.len()) {
                // SAFETY: there are as many lengths as buffers.
                *window = [0, unsafe { *self.lens.add(i) }];
            }
            if self.call.bands.iter().all(|band| band.ascends) {
                for band in &self.call.bands {
                    let [_, len] = windows[band.buf];
                    windows[band.buf] = band.of(&self.call.extents, first, last, len);
                }
            } else {
                args.by_row = (&raw const by_row).cast();
            }
            args.windows = windows.as_mut_ptr();
        }
        // SAFETY: the engine was made with code for this kernel, and binding has checked that all accesses lie in their
        // buffers, those of gathers within their limits. Rust is held to that by `Call`, and to the windows, which are
        // those of these rows wherever other rows may run beside them.
        unsafe { (self.f)(&args, first, last) };
    }
}

impl<'a> Walker<'a> {
    /// Runs a call over all its rows.
    pub fn call(&mut self, call: &CallNode) {
        if let Some(classes) = &call.segments {
            return self.call_segments(call, classes);
        }
        self.set_uniforms(call, 0, 0);
        let chunks = call.cut.chunks as usize;
        let hands = self.hands_for(call);
        let job = self.begin(call, chunks);
        hands.run(chunks, &|chunk| {
            let (first, last) = call.cut.range(chunk as u64);
            job.fill(chunk);
            job.rows(chunk, first, last);
        });
        self.finish(call, chunks);
    }

    /// Who runs the rows of a call: one thread where rows may touch what others write.
    pub fn hands_for(&self, call: &CallNode) -> Hands<'a> {
        let many = !call.bands.is_empty() && call.bufs.len() > MOST_BANDS;
        let harmless = |suspect: &Suspect| {
            let [a, b] = [suspect.written, suspect.other].map(|i| call.bufs[i]);
            !self.meet(a, b) || (suspect.apart && self.ptrs[a] == self.ptrs[b])
        };
        if call.apart && !many && call.suspects.iter().all(harmless) { self.hands } else { Hands::One }
    }

    /// Whether two buffers share memory where they are now.
    pub fn meet(&self, a: usize, b: usize) -> bool {
        let [(a, a_len), (b, b_len)] = [a, b].map(|i| (self.ptrs[i].0.addr(), self.bytes[i] as usize));
        a_len > 0 && b_len > 0 && a < b + b_len && b < a + a_len
    }

    /// Computes the scalars of a call, for a segment, into the scratch from place `at` on.
    pub fn set_uniforms(&mut self, call: &CallNode, at: usize, segment: usize) {
        let scratch = &mut self.scratch.uniforms[at..];
        for (slot, (kind, host)) in scratch.iter_mut().zip(&call.uniforms) {
            let x = host.eval(self.state, self.dims, self.rows, segment);
            *slot = match kind {
                Kind::F32 => (x as f32).to_bits(),
                Kind::I32 | Kind::I64 | Kind::Mask => x as i64 as u32,
            };
        }
    }

    /// Lays out the arguments of a call whose rows come in so many chunks, and whose scalars are set.
    pub fn begin<'c>(&mut self, call: &'c CallNode, chunks: usize) -> Job<'c>
    where
        'a: 'c,
    {
        for (i, &b) in call.bufs.iter().enumerate() {
            self.scratch.bufs[i] = self.ptrs[b];
            self.scratch.lens[i] = self.lens[b];
            self.scratch.windows[i] = [0, self.lens[b]];
        }
        let width = call.folds.len();
        for (i, fold) in call.folds.iter().enumerate() {
            let partials = self.partials(i, fold);
            self.scratch.fold_lens[i] = fold.kept() as u64;
            for chunk in 0..chunks {
                self.scratch.folds[chunk * width + i] = partials.start.plus(fold.bytes() * chunk * partials.stride);
            }
        }
        Job {
            f: self.fns[call.kernel],
            bufs: self.scratch.bufs.as_ptr(),
            lens: self.scratch.lens.as_ptr(),
            fold_lens: self.scratch.fold_lens.as_ptr(),
            uniforms: self.scratch.uniforms.as_ptr(),
            folds: self.scratch.folds.as_ptr(),
            windows: self.scratch.windows.as_mut_ptr(),
            call,
            fault: self.fault,
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
            self.scratch.small.start().plus(8 * SMALL * FOLD_CHUNKS as usize * i)
        } else {
            self.ptrs[fold.partial]
        };
        Partials { start, stride: fold.stride() }
    }
}
