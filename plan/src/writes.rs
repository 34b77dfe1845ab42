//! Which stored tensors an entry writes. Takes a plan; gives the numbers of weights.

use crate::Plan;
use crate::plan::{BufId, Call, Entry, Place, Step, Store};
use std::collections::BTreeSet;

impl Plan {
    /// The weights and model states that any of these entries may write, in order. Gradients and optimizer states are no
    /// weights; entries that the plan does not have write nothing.
    pub fn writes(&self, entries: &[&str]) -> Vec<usize> {
        let mut found = BTreeSet::new();
        for entry in self.entries.iter().filter(|entry| entries.contains(&entry.name.as_str())) {
            let mut written = BTreeSet::new();
            self.written(&entry.steps, &mut written);
            written.into_iter().for_each(|buffer| self.weights_in(entry, buffer, &mut found));
        }
        found.into_iter().collect()
    }

    /// The buffers that steps write.
    fn written(&self, steps: &[Step], found: &mut BTreeSet<BufId>) {
        for step in steps {
            match step {
                Step::Kernel(call) => self.written_by(call, found),
                Step::Gemm(gemm) => {
                    found.insert(gemm.c.buf);
                    gemm.then.iter().for_each(|call| self.written_by(call, found));
                }
                Step::Copy { to, .. } | Step::Scatter { to, .. } | Step::Rows { to, .. } => drop(found.insert(*to)),
                Step::Repeat(repeat) => self.written(&repeat.steps, found),
                Step::Panels(panels) => {
                    found.extend(&panels.zero);
                    self.written(&panels.steps, found);
                }
            }
        }
    }

    fn written_by(&self, call: &Call, found: &mut BTreeSet<BufId>) {
        let kernel = self.kernels.get(call.kernel as usize);
        let bufs = kernel.iter().flat_map(|kernel| &kernel.bufs).zip(&call.bufs);
        found.extend(bufs.filter(|(ty, _)| ty.written).map(|(_, buffer)| *buffer));
        found.extend(call.folds.iter().map(|fold| fold.to));
    }

    /// The weights that a buffer lies in.
    fn weights_in(&self, entry: &Entry, buffer: BufId, found: &mut BTreeSet<usize>) {
        let Some(buffer) = entry.buffers.get(buffer as usize) else { return };
        match &buffer.place {
            Place::Arena { .. } | Place::Local { .. } => {}
            Place::Weight { store: Store::Grads | Store::State(_), .. } => {}
            Place::Store(Store::Grads | Store::State(_)) => {}
            Place::Weight { store, weight } => {
                let Some(first) = self.weights.get(*weight as usize) else { return };
                // A buffer that is longer than its weight goes on in those behind it; a length that is not known may.
                let end = buffer.len.known().map_or(usize::MAX, |len| {
                    first.offset.saturating_add(usize::try_from(len).unwrap_or(usize::MAX).max(first.len()))
                });
                let inside = |offset: usize| (first.offset..end).contains(&offset);
                let own = self.weights.iter().enumerate().filter(|(_, w)| w.store == *store && inside(w.offset));
                found.extend(own.map(|(number, _)| number));
            }
            Place::Store(store) => {
                let own = self.weights.iter().enumerate().filter(|(_, weight)| weight.store == *store);
                found.extend(own.map(|(number, _)| number));
            }
            Place::Part { of, .. } | Place::Slot { of, .. } | Place::Piece { of, .. } => {
                self.weights_in(entry, *of, found);
            }
            Place::Row { cells, .. } => cells.iter().for_each(|cell| self.weights_in(entry, *cell, found)),
        }
    }
}
