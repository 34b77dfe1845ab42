//! Packing of operands whose rows or columns go over several axes: windows of an image, read where the image lies. Takes a
//! block of such an operand; writes the panels that [`super::pack`] describes.

use super::walk::{CHAIN, SIDE};
use crate::isa::Isa;
use std::ops::Range;

/// Neighbours from which on it does not matter how many more there are.
const LONG: usize = 8;

/// Where the lanes of an operand are, or its steps of k: an outer distance, and axes within, the last one fastest.
#[derive(Clone, Copy)]
pub struct Axes<'a> {
    /// Elements from one to the next, of what the axes within leave.
    pub outer: isize,
    /// The axes within: extent and distance.
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

    /// How many indices are neighbours in memory, as far as the fastest axis goes.
    fn neighbours(self) -> usize {
        match self.run(0) {
            (length, 1) => length,
            (_, _) => 1,
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
/// The machine has the instruction set. The elements at all these lanes and steps of k are readable, and `to` has room for
/// `k` numbers for each lane, and for those that fill the last panel up. There are at most [`CHAIN`] steps of k and [`SIDE`]
/// lanes in a panel.
pub unsafe fn pack_spread(
    isa: Isa,
    from: *const f32,
    axes: [Axes; 2],
    ranges: [Range<usize>; 2],
    panel: (usize, bool),
    to: *mut f32,
) {
    // SAFETY: the instruction set is the caller's promise, as is the memory.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::pack_avx512(from, axes, ranges, panel, to),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::pack_avx2(from, axes, ranges, panel, to),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx512 | Isa::Avx2 => pack_with(from, axes, ranges, panel, to, |square, to| square.copy(to)),
            Isa::Baseline => pack_with(from, axes, ranges, panel, to, |square, to| square.copy(to)),
        }
    }
}

/// The lanes of a panel that are neighbours in memory: the first one and how many.
type Run = (u16, u16);

/// Chooses by the axes: where lanes are neighbours in memory they are copied run by run; where steps of k are, squares are
/// turned over by `turn`.
///
/// # Safety
/// As for [`pack_spread`].
#[inline(always)]
unsafe fn pack_with(
    from: *const f32,
    [lane_axes, k_axes]: [Axes; 2],
    [lanes, k]: [Range<usize>; 2],
    (width, fill): (usize, bool),
    to: *mut f32,
    turn: impl Fn(Square, *mut f32),
) {
    let (mut steps, mut places, mut runs) = ([0; CHAIN], [0; SIDE], [(0, 0); SIDE]);
    k_axes.offsets(k.clone(), &mut steps);
    let steps = &steps[..k.len()];
    let turned = k_axes.neighbours().min(LONG) > lane_axes.neighbours().min(LONG);
    for first in lanes.clone().step_by(width) {
        let count = width.min(lanes.end - first);
        let stride = if fill { width } else { count };
        lane_axes.offsets(first..first + count, &mut places);
        let places = &places[..count];
        let to = to.wrapping_add((first - lanes.start) * k.len());
        // SAFETY: lanes and steps are the caller's; the panel has room for `stride >= count` numbers at each step.
        unsafe {
            if turned {
                turn_panel(from, places, steps, stride, to, &turn);
            } else {
                copy_panel(from, places, steps, stride, to, &mut runs);
            }
            for p in 0..steps.len() * usize::from(count < stride) {
                to.add(p * stride + count).write_bytes(0, stride - count);
            }
        }
    }
}

/// Packs a panel step by step, each run of neighbours at once.
///
/// # Safety
/// As for [`pack_spread`]; `to` has room for `stride` numbers at each step.
#[inline(always)]
unsafe fn copy_panel(
    from: *const f32,
    places: &[isize],
    steps: &[isize],
    stride: usize,
    to: *mut f32,
    runs: &mut [Run; SIDE],
) {
    let runs = runs_of_neighbours(places, runs);
    // SAFETY: a run's lanes are neighbours; they and the room are the caller's.
    unsafe {
        match *runs {
            [(0, 32)] => steps.iter().enumerate().for_each(|(p, step)| {
                let from = from.offset(places[0] + step).cast::<[f32; 32]>();
                to.add(p * stride).cast::<[f32; 32]>().write_unaligned(from.read_unaligned());
            }),
            // Single numbers, as where windows are some way apart.
            _ if runs.len() == places.len() => {
                for (p, step) in steps.iter().enumerate() {
                    for (lane, place) in places.iter().enumerate() {
                        *to.add(p * stride + lane) = *from.offset(place + step);
                    }
                }
            }
            _ => {
                for (p, step) in steps.iter().enumerate() {
                    for &(lane, length) in runs.iter() {
                        let from = from.offset(places[usize::from(lane)] + step);
                        copy(from, to.add(p * stride + usize::from(lane)), usize::from(length));
                    }
                }
            }
        }
    }
}

/// The runs of neighbours among lanes, at least one.
fn runs_of_neighbours<'a>(places: &[isize], runs: &'a mut [Run; SIDE]) -> &'a [Run] {
    let (mut count, mut first) = (0, 0);
    for lane in 1..=places.len() {
        if lane == places.len() || places[lane] != places[lane - 1] + 1 {
            runs[count] = (first as u16, (lane - first) as u16);
            (count, first) = (count + 1, lane);
        }
    }
    &runs[..count]
}

/// Packs a panel whose steps are neighbours in memory: squares of lanes and steps are turned over. The last square of a run
/// overlaps the one before and writes the same numbers again.
///
/// # Safety
/// As for [`copy_panel`].
#[inline(always)]
unsafe fn turn_panel(
    from: *const f32,
    places: &[isize],
    steps: &[isize],
    stride: usize,
    to: *mut f32,
    turn: &impl Fn(Square, *mut f32),
) {
    let mut first = 0;
    while first < steps.len() {
        let run = 1 + steps[first..].windows(2).take_while(|w| w[1] == w[0] + 1).count();
        let side = match run.min(places.len()) {
            8.. => 8,
            4..8 => 4,
            _ => 1,
        };
        for p in squares(run, side) {
            let from = from.wrapping_offset(steps[first + p]);
            for lane in squares(places.len(), side) {
                let square = Square { from, places: &places[lane..lane + side], stride };
                turn(square, to.wrapping_add((first + p) * stride + lane));
            }
        }
        first += run;
    }
}

/// Where pieces of one length start that cover `0..length`, which is no shorter; the last one may overlap.
#[inline(always)]
fn squares(length: usize, side: usize) -> impl Iterator<Item = usize> {
    (0..length.div_ceil(side)).map(move |i| (i * side).min(length - side))
}

/// As many steps of some lanes as there are lanes: where the first step is, where lanes are from there, and the room for
/// each step.
#[derive(Clone, Copy)]
struct Square<'a> {
    from: *const f32,
    places: &'a [isize],
    stride: usize,
}

impl Square<'_> {
    /// Turns it over number by number.
    ///
    /// # Safety
    /// Its numbers are readable, and there is room for as many lanes at `to` and at each of the following strides.
    #[inline(always)]
    unsafe fn copy(self, to: *mut f32) {
        for (lane, place) in self.places.iter().enumerate() {
            for p in 0..self.places.len() {
                // SAFETY: lane and step are in the square.
                unsafe { *to.add(p * self.stride + lane) = *self.from.offset(place + p as isize) };
            }
        }
    }
}

/// Copies some numbers without a call of `memcpy`; the last piece overlaps the one before.
///
/// # Safety
/// `count` numbers must be readable and writable, without overlap.
#[inline(always)]
unsafe fn copy(from: *const f32, to: *mut f32, count: usize) {
    macro_rules! pieces {
        ($n:literal) => {
            for i in squares(count, $n) {
                to.add(i).cast::<[f32; $n]>().write_unaligned(from.add(i).cast::<[f32; $n]>().read_unaligned());
            }
        };
    }
    // SAFETY: all pieces lie within `count`.
    unsafe {
        match count {
            16.. => pieces!(16),
            8..16 => pieces!(8),
            4..8 => pieces!(4),
            _ => pieces!(1),
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{Axes, Range, Square, pack_with};
    use crate::gemm::pack::x86::{square4, square8};

    /// # Safety
    /// As for [`super::pack_spread`].
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub unsafe fn pack_avx512(
        from: *const f32,
        axes: [Axes; 2],
        ranges: [Range<usize>; 2],
        panel: (usize, bool),
        to: *mut f32,
    ) {
        // SAFETY: passed on to the caller.
        unsafe { pack_with(from, axes, ranges, panel, to, |square, to| turn(square, to)) }
    }

    /// # Safety
    /// As for [`super::pack_spread`].
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn pack_avx2(
        from: *const f32,
        axes: [Axes; 2],
        ranges: [Range<usize>; 2],
        panel: (usize, bool),
        to: *mut f32,
    ) {
        // SAFETY: passed on to the caller.
        unsafe { pack_with(from, axes, ranges, panel, to, |square, to| turn(square, to)) }
    }

    /// # Safety
    /// As for [`Square::copy`], with AVX2.
    #[inline(always)]
    unsafe fn turn(square: Square, to: *mut f32) {
        let Square { from, places, stride } = square;
        // SAFETY: rows of the square are readable and there is room for its columns.
        unsafe {
            match *places {
                [a, b, c, d, e, f, g, h] => square8([a, b, c, d, e, f, g, h].map(|at| from.offset(at)), to, stride),
                [a, b, c, d] => square4([a, b, c, d].map(|at| from.offset(at)), to, stride),
                _ => square.copy(to),
            }
        }
    }
}
