//! Buffers and their lifetimes.

use dlc_plan::plan::{BufId, Buffer, Place};

/// The buffers of an entry, with the step that is being written.
#[derive(Debug, Default)]
pub struct Life {
    buffers: Vec<Buffer>,
    now: u32,
    /// For each loop around: its number, the first buffer made inside it, and the outer buffers it uses.
    loops: Vec<(u32, BufId, Vec<BufId>)>,
}

impl Life {
    /// Adds a buffer.
    pub fn add(&mut self, b: Buffer) -> BufId {
        self.buffers.push(b);
        self.buffers.len() as BufId - 1
    }

    /// The buffer with this number.
    pub fn get(&self, b: BufId) -> &Buffer {
        &self.buffers[b as usize]
    }

    /// Goes on to the next step.
    pub fn step(&mut self) {
        self.now += 1;
    }

    /// The step that is being written uses a buffer.
    pub fn touch(&mut self, b: BufId) {
        for l in &mut self.loops {
            if b < l.1 && !l.2.contains(&b) {
                l.2.push(b);
            }
        }
        let now = self.now;
        match &mut self.buffers[b as usize].place {
            Place::Arena { first, last } | Place::Local { first, last } => {
                *first = (*first).min(now);
                *last = (*last).max(now);
            }
            Place::Part { of, .. } | Place::Slot { of, .. } | Place::Piece { of, .. } => {
                let of = *of;
                self.touch(of);
            }
            Place::Row { cells, .. } => {
                for c in cells.clone() {
                    self.touch(c);
                }
            }
            Place::Weight { .. } | Place::Store(_) => {}
        }
    }

    /// A loop's body begins.
    pub fn enter(&mut self) {
        self.loops.push((self.now, self.buffers.len() as BufId, Vec::new()));
    }

    /// A loop's body ends: what it uses from outside lives from its first step to its last.
    pub fn leave(&mut self) {
        let (start, _, used) = self.loops.pop().expect("a loop that ends has begun");
        let end = self.now;
        for at in [start, end] {
            self.now = at;
            for b in &used {
                self.touch(*b);
            }
        }
    }

    /// What has been made from this buffer on is memory of each thread's own.
    pub fn keep_local(&mut self, from: BufId) {
        for b in &mut self.buffers[from as usize..] {
            if let Place::Arena { first, last } = b.place {
                b.place = Place::Local { first: first.min(last), last };
            }
        }
    }

    /// How many buffers there are.
    pub fn count(&self) -> BufId {
        self.buffers.len() as BufId
    }

    /// How many loops are around.
    pub fn depth(&self) -> u8 {
        self.loops.len() as u8
    }

    /// The buffers; one that no step uses lives in the first.
    pub fn finish(mut self) -> Vec<Buffer> {
        for b in &mut self.buffers {
            if let Place::Arena { first, last } = &mut b.place {
                *first = (*first).min(*last);
            }
        }
        self.buffers
    }
}
