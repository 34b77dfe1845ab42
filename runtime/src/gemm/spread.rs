//! Packing of operands whose rows or columns go over several axes: windows of an image, read where the image lies. Takes a
//! block of such an operand; writes the panels that [`super::pack`] describes.

use super::walk::{CHAIN, SIDE};
use std::ops::Range;

/// Where the lanes of an operand are, or its steps of k: an outer distance, and axes within, the last one fastest.
#[derive(Clone, Copy)]
pub struct Axes<'a> {
    pub outer: isize,
    pub inner: &'a [(usize, isize)],
}

impl Axes<'_> {
    /// The offset of an index.
    fn offset(self, index: usize) -> isize {
        let (mut rest, mut offset) = (index, 0);
        for (length, distance) in self.inner.iter().rev() {
            offset += (rest % length) as isize * distance;
            rest /= length;
        }
        offset + rest as isize * self.outer
    }

    /// How many indices there are before the offset of the next one is no longer a plain step away: the rest of the
    /// fastest axis.
    fn run(self, index: usize) -> (usize, isize) {
        match self.inner.last() {
            Some((length, distance)) => (length - index % length, *distance),
            None => (usize::MAX, self.outer),
        }
    }

    /// The offsets of a range of indices.
    fn offsets(self, range: Range<usize>, to: &mut [isize]) {
        let mut index = range.start;
        while index < range.end {
            let (left, distance) = self.run(index);
            let (count, start) = (left.min(range.end - index), self.offset(index));
            let from = index - range.start;
            for (i, to) in to[from..from + count].iter_mut().enumerate() {
                *to = start + i as isize * distance;
            }
            index += count;
        }
    }
}

/// Packs lanes and steps of k into panels of `width` lanes; `fill` says whether the last panel is filled up with zeros.
///
/// # Safety
/// The elements at all these lanes and steps of k are readable, and `to` has room for `k` numbers for each lane, and for
/// those that fill the last panel up. There are at most [`CHAIN`] steps of k and [`SIDE`] lanes in a panel.
pub unsafe fn pack_spread(
    from: *const f32,
    [lane_axes, k_axes]: [Axes; 2],
    [lanes, k]: [Range<usize>; 2],
    (width, fill): (usize, bool),
    to: *mut f32,
) {
    let (mut steps, mut places) = ([0; CHAIN], [0; SIDE]);
    k_axes.offsets(k.clone(), &mut steps);
    for first in lanes.clone().step_by(width) {
        let count = width.min(lanes.end - first);
        let stride = if fill { width } else { count };
        lane_axes.offsets(first..first + count, &mut places);
        let to = to.wrapping_add((first - lanes.start) * k.len());
        for (p, step) in steps[..k.len()].iter().enumerate() {
            let (from, to) = (from.wrapping_offset(*step), to.wrapping_add(p * stride));
            let mut lane = 0;
            while lane < count {
                let run = run_of_neighbours(&places[lane..count]);
                // SAFETY: the lanes of the run are neighbours; they and the room are the caller's.
                unsafe { copy(from.offset(places[lane]), to.add(lane), run) };
                lane += run;
            }
            // SAFETY: a filled panel has room for `width` lanes.
            unsafe { to.add(count).write_bytes(0, stride - count) };
        }
    }
}

/// How many of the first lanes are neighbours in memory.
#[inline(always)]
fn run_of_neighbours(places: &[isize]) -> usize {
    1 + places.windows(2).take_while(|w| w[1] == w[0] + 1).count()
}

/// Copies some numbers without a call of `memcpy`.
///
/// # Safety
/// `count` numbers must be readable and writable, without overlap.
#[inline(always)]
unsafe fn copy(from: *const f32, to: *mut f32, count: usize) {
    // SAFETY: all indices are below `count`.
    unsafe {
        let mut i = 0;
        while i + 8 <= count {
            to.add(i).cast::<[f32; 8]>().write_unaligned(from.add(i).cast::<[f32; 8]>().read_unaligned());
            i += 8;
        }
        while i < count {
            *to.add(i) = *from.add(i);
            i += 1;
        }
    }
}
