//! Steps that take each row of a buffer as a whole: orders and running sums. Rows are handed out to threads; what becomes
//! of a row depends on it alone.

use super::node::RowsNode;
use super::walk::Walker;
use crate::memory::Ptr;
use dlc_plan::kernel::Elem;
use dlc_plan::plan::RowOp;
use std::cmp::Ordering;

/// Elements that a thread takes at once.
const AT_ONCE: usize = 1 << 13;

impl Walker<'_> {
    /// Does something to every row.
    pub fn rows(&mut self, r: &RowsNode) {
        let (rows, len, keep) = (r.rows.count(), r.len.count(), r.keep.count());
        if rows == 0 || len == 0 {
            return;
        }
        let elem = self.buffers[r.from].elem;
        let [from, to] = [r.from, r.to].map(|b| self.ptrs[b]);
        let some = (AT_ONCE / len).max(1);
        self.hands.run(rows.div_ceil(some), &|chunk| {
            for row in chunk * some..rows.min((chunk + 1) * some) {
                let row = Row { from, to, row, len, keep };
                // SAFETY: the buffers were checked to have so many rows, to be different and of the types that the
                // operation needs; each row of the target is written by one thread.
                unsafe {
                    match (r.op, elem) {
                        (RowOp::Order { descending }, Elem::F32) => row.order(descending, floats),
                        (RowOp::Order { descending }, Elem::I32) => row.order(descending, i32::cmp),
                        (RowOp::Order { descending }, Elem::I64) => row.order(descending, i64::cmp),
                        (RowOp::Order { descending }, Elem::U8) => row.order(descending, u8::cmp),
                        (RowOp::RunningSum, Elem::F32) => {
                            row.running(0.0, |sum, x: f32| sum + f64::from(x), |sum| sum as f32)
                        }
                        (RowOp::RunningSum, Elem::I64) => row.running(0, i64::wrapping_add, |sum| sum),
                        (RowOp::RunningSum, Elem::I32 | Elem::U8) => row.running(0, i32::wrapping_add, |sum| sum),
                    }
                }
            }
        });
    }
}

/// NaN is greater than all numbers, and zeros are equal.
fn floats(a: &f32, b: &f32) -> Ordering {
    a.partial_cmp(b).unwrap_or_else(|| a.is_nan().cmp(&b.is_nan()))
}

struct Row {
    from: Ptr,
    to: Ptr,
    row: usize,
    len: usize,
    keep: usize,
}

impl Row {
    /// The places of the first elements in order.
    ///
    /// # Safety
    /// `from` has this row of `len` elements of type T, and `to` one of `keep` whole numbers that nobody else uses.
    unsafe fn order<T>(&self, descending: bool, compare: impl Fn(&T, &T) -> Ordering) {
        // SAFETY: as the caller says.
        let (row, places) = unsafe {
            let row = std::slice::from_raw_parts(self.from.of::<T>().add(self.row * self.len).cast_const(), self.len);
            let places = std::slice::from_raw_parts_mut(self.to.of::<i32>().add(self.row * self.keep), self.keep);
            (row, places)
        };
        // No two places are equal in this order, so there is one result, however it is come to.
        let before = |a: &i32, b: &i32| {
            let (x, y) = (&row[*a as usize], &row[*b as usize]);
            let order = if descending { compare(y, x) } else { compare(x, y) };
            order.then(a.cmp(b))
        };
        for (i, place) in places.iter_mut().enumerate() {
            *place = i as i32;
        }
        if places.len() < row.len() {
            first(places, row.len() as i32, &before);
        }
        places.sort_unstable_by(before);
    }

    /// Each element plus all before it; sums of real numbers are kept in double precision.
    ///
    /// # Safety
    /// `from` and `to` have this row of `len` elements of type T; nobody else uses that of `to`.
    unsafe fn running<T: Copy, S: Copy>(&self, start: S, add: impl Fn(S, T) -> S, round: impl Fn(S) -> T) {
        // SAFETY: as the caller says.
        let (row, sums) = unsafe {
            let at = self.row * self.len;
            let row = std::slice::from_raw_parts(self.from.of::<T>().add(at).cast_const(), self.len);
            (row, std::slice::from_raw_parts_mut(self.to.of::<T>().add(at), self.len))
        };
        let mut sum = start;
        for (x, to) in row.iter().zip(sums) {
            sum = add(sum, *x);
            *to = round(sum);
        }
    }
}

/// Leaves in `places`, which hold the first few, those that come first of all places below `end`. They are a heap whose
/// root comes last among them, and gives way to whatever comes before it.
fn first(places: &mut [i32], end: i32, before: &impl Fn(&i32, &i32) -> Ordering) {
    let keep = places.len();
    for root in (0..keep / 2).rev() {
        sink(places, root, before);
    }
    for place in keep as i32..end {
        if keep > 0 && before(&place, &places[0]).is_lt() {
            places[0] = place;
            sink(places, 0, before);
        }
    }
}

/// Lets an element of a heap sink until both below it come before it.
fn sink(heap: &mut [i32], mut at: usize, before: &impl Fn(&i32, &i32) -> Ordering) {
    loop {
        let left = 2 * at + 1;
        let Some(mut child) = (left < heap.len()).then_some(left) else { return };
        if left + 1 < heap.len() && before(&heap[left + 1], &heap[left]).is_gt() {
            child = left + 1;
        }
        if before(&heap[child], &heap[at]).is_le() {
            return;
        }
        heap.swap(child, at);
        at = child;
    }
}
