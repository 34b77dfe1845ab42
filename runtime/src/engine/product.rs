//! Sums of matrix products. Products of one batch run one after the other, each on all threads, or side by side, each on
//! one thread; the bits are the same. What follows a product is run on each panel of rows as soon as its last term is
//! finished, while the panel is still near the processor.

use super::node::{GemmNode, Known, MatrixNode};
use super::walk::Walker;
use crate::gemm::{Mat, Operand, Term, gemm, panel_rows, scratch_len};
use crate::hands::Hands;
use crate::memory::Ptr;
use dlc_plan::chunks::FOLD_CHUNKS;

/// Multiply-adds from which on a product is worth all threads.
const ALL_THREADS: u128 = 1 << 24;
/// Multiply-adds that a thread takes at once.
const AT_ONCE: u128 = 1 << 17;
/// Terms that are multiplied together; of more, the sum is taken up again.
const TERMS: usize = 8;

impl GemmNode {
    /// Whether products run side by side.
    fn side_by_side(&self) -> bool {
        self.batches() > 1 && self.work() < ALL_THREADS
    }

    /// The inner sums' lengths together.
    fn k(&self) -> usize {
        self.terms.iter().map(|(k, ..)| k.count()).sum()
    }

    /// The multiply-adds of one product of the batch.
    fn work(&self) -> u128 {
        (self.m.count() as u128).saturating_mul(self.n.count() as u128).saturating_mul(self.k() as u128)
    }

    /// Numbers of scratch on so many threads.
    pub fn scratch_len(&self, threads: usize) -> usize {
        let (m, n, k) = (self.m.count(), self.n.count(), self.k());
        if self.side_by_side() { threads * scratch_len(1, m, n, k) } else { scratch_len(threads, m, n, k) }
    }
}

impl MatrixNode {
    /// The matrix at one point of the batch.
    fn at(&self, ptrs: &[Ptr], batch: &[Known], mut point: usize) -> Mat {
        let mut at = self.offset.now as isize;
        for (extent, stride) in batch.iter().zip(&self.batch).rev() {
            at += (point % extent.count()) as isize * stride.now as isize;
            point /= extent.count();
        }
        let ptr = ptrs[self.buf].of::<f32>().wrapping_offset(at);
        Mat { ptr, rs: self.row.now as isize, cs: self.col.now as isize }
    }

    /// The same as an operand, with the axes within its rows and columns.
    fn operand(&self, ptrs: &[Ptr], batch: &[Known], point: usize) -> Operand<'_> {
        Operand { mat: self.at(ptrs, batch, point), rows: &self.steps[0], cols: &self.steps[1] }
    }
}

/// Scratch that each thread takes its part of.
struct Parts {
    start: *mut f32,
    len: usize,
}

// SAFETY: each thread uses the part of its slot.
unsafe impl Sync for Parts {}

impl Parts {
    /// The part of a slot.
    ///
    /// # Safety
    /// The slot is used by one thread at a time, and there is a part for it.
    #[allow(clippy::mut_from_ref, reason = "parts of different slots are different memory")]
    unsafe fn of(&self, slot: usize) -> &mut [f32] {
        // SAFETY: the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(slot * self.len), self.len) }
    }
}

impl Walker<'_> {
    /// Runs a sum of products, and what follows it.
    pub fn gemm(&mut self, node: &GemmNode) {
        let (m, batches) = (node.m.count(), node.batches());
        let height = panel_rows(m);
        let panels = m.div_ceil(height);
        let chunks = batches * panels;
        // A fold over rows has room for so many partial results, one for each panel.
        let fits = |folds: usize| folds == 0 || chunks <= FOLD_CHUNKS as usize;
        let Some(then) = node.then.as_ref().filter(|call| fits(call.folds.len())) else {
            self.products(node, self.hands, &|_batch, _first, _last| {});
            return node.then.iter().for_each(|call| self.call(call));
        };
        self.set_uniforms(then, 0, 0);
        let chunks = if then.folds.is_empty() { 0 } else { chunks };
        let hands = self.hands_for(then);
        let job = self.begin(then, chunks);
        self.products(node, hands, &|batch, first, last| {
            let chunk = if chunks == 0 { 0 } else { batch * panels + first / height };
            job.fill(chunk);
            job.rows(chunk, (batch * m + first) as u64, (batch * m + last) as u64);
        });
        self.finish(then, chunks);
    }

    /// Runs the products; `done(batch, first, last)` is called for each finished panel of rows.
    fn products(&mut self, node: &GemmNode, hands: Hands, done: &(dyn Fn(usize, usize, usize) + Sync)) {
        let batches = node.batches();
        let ptrs: &[Ptr] = self.ptrs;
        if let (Hands::All(pool), false) = (hands, node.side_by_side()) {
            let scratch = &mut self.scratch.products;
            for batch in 0..batches {
                node.summed(ptrs, batch, done, &mut |terms, c, accumulate, done| {
                    // SAFETY: the matrices were checked to lie in their buffers at these sizes, and C to have no element
                    // twice; that C is not A or B is the compiler's promise.
                    unsafe { gemm(Some(pool), node.sides(), terms, c, accumulate, scratch, done) }
                });
            }
            return;
        }
        let len = scratch_len(1, node.m.count(), node.n.count(), node.k());
        let parts = Parts { start: self.scratch.products.as_mut_ptr(), len };
        let at_once = (AT_ONCE / node.work().max(1)).clamp(1, batches.max(1) as u128) as usize;
        hands.run_in_slots(batches.div_ceil(at_once), &|slot, chunk| {
            // SAFETY: the pool gives a slot to one thread at a time, and the scratch was made for all slots.
            let scratch = unsafe { parts.of(slot) };
            for batch in chunk * at_once..((chunk + 1) * at_once).min(batches) {
                node.summed(ptrs, batch, done, &mut |terms, c, accumulate, done| {
                    // SAFETY: as above; the matrices C of a batch are different memory, for the same promise.
                    unsafe { gemm(None, node.sides(), terms, c, accumulate, scratch, done) }
                });
            }
        });
    }
}

/// Runs a sum of products: its terms; C; whether it is added to; what to call with finished rows.
type Run<'a> = &'a mut dyn FnMut(&[Term], Mat, bool, Option<&(dyn Fn(usize, usize) + Sync)>);

impl GemmNode {
    /// Rows and columns of C.
    fn sides(&self) -> [usize; 2] {
        [self.m.count(), self.n.count()]
    }

    /// Runs one sum of the batch, a few terms at a time; rows are finished when the last of them have them.
    fn summed(&self, ptrs: &[Ptr], batch: usize, done: &(dyn Fn(usize, usize, usize) + Sync), run: Run) {
        let c = self.c.at(ptrs, &self.batch, batch);
        let finished = |first: usize, last: usize| done(batch, first, last);
        let parts = self.terms.len().div_ceil(TERMS);
        for (i, part) in self.terms.chunks(TERMS).enumerate() {
            let term = |i: usize| {
                let (k, a, b) = &part[i.min(part.len() - 1)];
                let [a, b] = [a, b].map(|matrix| matrix.operand(ptrs, &self.batch, batch));
                Term { k: k.count(), a, b }
            };
            let terms: [Term; TERMS] = std::array::from_fn(term);
            let last = i + 1 == parts;
            run(&terms[..part.len()], c, self.accumulate || i > 0, if last { Some(&finished) } else { None });
        }
    }
}
