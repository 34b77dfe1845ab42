//! Steps that move data and compute next to nothing: copies and scatters.

use super::node::ScatterNode;
use super::walk::Walker;
use crate::memory::Ptr;
use dlc_plan::kernel::Elem;

/// Bytes of a copy that a thread takes at once.
const COPY_AT_ONCE: usize = 1 << 18;
/// Elements that are added by a thread at once.
const ADD_AT_ONCE: usize = 1 << 14;
/// Columns of a block are a multiple of this: a line of the cache.
const LINE: usize = 16;

impl Walker<'_> {
    /// Copies a buffer.
    pub fn copy(&mut self, from: usize, to: usize) {
        let bytes = self.bytes[to] as usize;
        let (from, to) = (self.ptrs[from], self.ptrs[to]);
        let apart = from.0.addr().abs_diff(to.0.addr()) >= bytes;
        let chunks = if apart { bytes.div_ceil(COPY_AT_ONCE) } else { 1 };
        let size = if apart { COPY_AT_ONCE } else { bytes };
        self.hands.run(chunks, &|chunk| {
            let first = chunk * size;
            let len = size.min(bytes - first);
            // SAFETY: both buffers were checked to have the same length; chunks are disjoint, and a copy onto itself is
            // one chunk.
            unsafe { from.plus(first).0.copy_to(to.plus(first).0, len) };
        });
    }

    /// Adds rows to rows: each thread takes some columns and goes over all positions in order, so that the order of the
    /// additions to an element is that of the positions.
    pub fn scatter(&mut self, s: &ScatterNode) {
        let (count, rows, width) = (s.count.count(), s.rows.count(), s.width.count());
        if rows == 0 || width == 0 {
            return;
        }
        let blocks = ((count + rows).saturating_mul(width) / ADD_AT_ONCE).clamp(1, width.div_ceil(LINE));
        let block = width.div_ceil(blocks).next_multiple_of(LINE);
        let elem = self.buffers[s.from].elem;
        let [ids, from, to] = [s.ids, s.from, s.to].map(|b| self.ptrs[b]);
        self.hands.run(width.div_ceil(block), &|chunk| {
            let first = chunk * block;
            let columns = Columns { ids, from, to, count, rows, width, first, len: block.min(width - first) };
            // SAFETY: the lengths of the three buffers were checked, their types too, and blocks are different columns.
            unsafe {
                match elem {
                    Elem::F32 => columns.add(|a: f32, b| a + b),
                    Elem::I64 => columns.add(i64::wrapping_add),
                    Elem::I32 | Elem::U8 => columns.add(i32::wrapping_add),
                }
            }
        });
    }
}

/// Some columns of a scatter.
struct Columns {
    ids: Ptr,
    from: Ptr,
    to: Ptr,
    count: usize,
    rows: usize,
    width: usize,
    first: usize,
    len: usize,
}

impl Columns {
    /// # Safety
    /// `ids` has `count` elements, `from` `count` rows and `to` `rows` rows of `width` elements of type T; nobody else uses
    /// these columns of `to`.
    unsafe fn add<T: Copy + Default>(&self, add: impl Fn(T, T) -> T) {
        // SAFETY: rows and columns are in the buffers; a row's number is clamped to those that there are.
        unsafe {
            for row in 0..self.rows {
                let to = self.to.of::<T>().add(row * self.width + self.first);
                std::slice::from_raw_parts_mut(to, self.len).fill(T::default());
            }
            for position in 0..self.count {
                let id = *self.ids.of::<i32>().add(position);
                let row = (id.max(0) as usize).min(self.rows - 1);
                let to = self.to.of::<T>().add(row * self.width + self.first);
                let from = self.from.of::<T>().add(position * self.width + self.first);
                let to = std::slice::from_raw_parts_mut(to, self.len);
                let from = std::slice::from_raw_parts(from, self.len);
                to.iter_mut().zip(from).for_each(|(to, from)| *to = add(*to, *from));
            }
        }
    }
}
