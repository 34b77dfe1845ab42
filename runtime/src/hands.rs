//! Who does the work of a step: all threads of a pool, or the thread that is at it, where steps run side by side already.
//! The work is cut into the same chunks either way, so that the bits are the same.

use crate::pool::Pool;

/// Whoever does the work.
#[derive(Clone, Copy)]
pub enum Hands<'a> {
    /// The threads of a pool.
    All(&'a Pool),
    /// The calling thread.
    One,
}

impl Hands<'_> {
    /// As [`Pool::run`].
    pub fn run(self, chunks: usize, f: &(dyn Fn(usize) + Sync)) {
        match self {
            Hands::All(pool) => pool.run(chunks, f),
            Hands::One => (0..chunks).for_each(f),
        }
    }

    /// As [`Pool::run_in_slots`]; one thread alone has slot 0.
    pub fn run_in_slots(self, chunks: usize, f: &(dyn Fn(usize, usize) + Sync)) {
        match self {
            Hands::All(pool) => pool.run_in_slots(chunks, f),
            Hands::One => (0..chunks).for_each(|chunk| f(0, chunk)),
        }
    }
}
