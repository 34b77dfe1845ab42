//! Calls that go over the trained weights, segment by segment: the optimizer's update and norms over all weights. The
//! flat stores are cut into pieces of at most [`PIECE`] elements, none of which crosses from one weight to the next, so
//! what lies between weights is never touched.

use super::call::Job;
use super::node::CallNode;
use super::walk::Walker;
use crate::memory::Ptr;
use dlc_plan::kernel::Args;
use dlc_plan::plan::{Call, Store};
use dlc_plan::{Host, Plan};
use std::collections::BTreeSet;

/// Elements of a piece: 16 KiB of each store.
pub const PIECE: usize = 4096;

/// The pieces of the trained weights.
pub struct Segments {
    /// The number of trained weights.
    pub count: usize,
    /// All pieces, in the order of the weights.
    pub pieces: Vec<Piece>,
    /// The lengths that pieces have, each once.
    pub lens: BTreeSet<usize>,
}

/// A piece of a trained weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Piece {
    /// Which of the trained weights.
    pub segment: usize,
    /// Its first element's number in the store.
    pub offset: usize,
    /// The number of its elements, not zero.
    pub len: usize,
}

impl Segments {
    pub fn new(plan: &Plan) -> Segments {
        let mut pieces = Vec::new();
        let mut count = 0;
        for w in plan.weights.iter().filter(|w| w.store == Store::Trained) {
            let cuts = (0..w.len()).step_by(PIECE);
            pieces.extend(cuts.map(|at| Piece { segment: count, offset: w.offset + at, len: PIECE.min(w.len() - at) }));
            count += 1;
        }
        let lens = pieces.iter().map(|piece| piece.len).collect();
        Segments { count, pieces, lens }
    }
}

/// Which segments have the same scalars in a call, so that each set of scalars is computed once.
pub struct Classes {
    /// The class of each segment.
    of: Vec<usize>,
    /// One segment of each class.
    pub examples: Vec<usize>,
    /// For each of the call's buffers, by how many bytes it moves for an element of a piece: 0 if it stays.
    pub moving: Vec<usize>,
}

impl Classes {
    pub fn new(call: &Call, segments: usize) -> Classes {
        let mut tables = Vec::new();
        call.uniforms.iter().for_each(|(_, host)| find_tables(host, &mut tables));
        let (mut of, mut examples) = (Vec::with_capacity(segments), Vec::<usize>::new());
        for s in 0..segments {
            let same = |&e: &usize| tables.iter().all(|cells| cells[e] == cells[s]);
            of.push(examples.iter().position(same).unwrap_or(examples.len()));
            if of[s] == examples.len() {
                examples.push(s);
            }
        }
        Classes { of, examples, moving: vec![0; call.bufs.len()] }
    }
}

/// Finds the tables of numbers for each segment.
fn find_tables<'a>(host: &'a Host, tables: &mut Vec<&'a Vec<Host>>) {
    match host {
        Host::Const(_) | Host::Var(_) | Host::Size(_) => {}
        Host::Prim(_, cells) | Host::Row(_, cells) => cells.iter().for_each(|c| find_tables(c, tables)),
        Host::Segment(cells) => tables.push(cells),
    }
}

impl Walker<'_> {
    /// Runs a call over all pieces.
    pub fn call_segments(&mut self, call: &CallNode, classes: &Classes) {
        for (class, &segment) in classes.examples.iter().enumerate() {
            self.set_uniforms(call, class * call.uniforms.len(), segment);
        }
        let cut = call.cut;
        let hands = self.hands_for(call);
        let job = self.begin(call, cut.chunks as usize);
        let (pieces, kernel) = (&self.segments.pieces, &self.kernels[call.kernel]);
        let scratch = &mut *self.scratch;
        let (bufs, lens) = (scratch.slot_bufs.as_mut_ptr(), scratch.slot_lens.as_mut_ptr());
        let own = Own { bufs, lens, windows: scratch.slot_windows.as_mut_ptr(), width: call.bufs.len() };
        hands.run_in_slots(cut.chunks as usize, &|slot, chunk| {
            let (first, last) = cut.range(chunk as u64);
            job.fill(chunk);
            for piece in &pieces[first as usize..last as usize] {
                let exts = [piece.len as i64];
                let rows = kernel.row_count(&exts);
                // SAFETY: a slot belongs to one thread at a time, and there are as many slots as threads, each wide
                // enough for the call; moved buffers were checked to be as long as the stores, so the piece is in them.
                unsafe {
                    let Piecewise { bufs, lens, windows } = own.piece(slot, &job, &classes.moving, piece);
                    let uniforms = job.uniforms.add(classes.of[piece.segment] * call.uniforms.len());
                    let (bufs, exts) = (bufs.cast(), exts.as_ptr());
                    let args = Args { bufs, uniforms, exts, lens, windows, ..job.args(chunk) };
                    (job.f)(&args, 0, rows);
                }
            }
        });
        self.finish(call, cut.chunks as usize);
    }
}

/// Each thread's lists of buffers and of their lengths.
struct Own {
    bufs: *mut Ptr,
    lens: *mut u64,
    windows: *mut [u64; 2],
    width: usize,
}

/// The lists for a piece.
struct Piecewise {
    bufs: *const Ptr,
    lens: *const u64,
    windows: *mut [u64; 2],
}

// SAFETY: each thread writes only the lists of its slot.
unsafe impl Sync for Own {}

impl Own {
    /// The slot's lists, filled for a piece.
    ///
    /// # Safety
    /// No other thread uses the slot, and there is room for its lists.
    unsafe fn piece(&self, slot: usize, job: &Job, moving: &[usize], piece: &Piece) -> Piecewise {
        // SAFETY: the lists have `width` places, and so have the job's.
        unsafe {
            let at = slot * self.width;
            let (bufs, lens, windows) = (self.bufs.add(at), self.lens.add(at), self.windows.add(at));
            for (i, &bytes) in moving.iter().enumerate() {
                bufs.add(i).write((*job.bufs.add(i)).plus(bytes * piece.offset));
                let len = if bytes > 0 { piece.len as u64 } else { *job.lens.add(i) };
                lens.add(i).write(len);
                windows.add(i).write([0, len]);
            }
            Piecewise { bufs: bufs.cast_const(), lens: lens.cast_const(), windows }
        }
    }
}
