//! Packing: copies a block of A or B so that a micro-kernel reads it front to back.
//!
//! Both operands are packed alike. A *lane* is a row of A or a column of B; a packed panel has `width` numbers, one of each
//! of its lanes, for k = 0, then `width` numbers for k = 1, and so on. A block is packed into as many panels as its lanes
//! fill, one after the other. The last panel, if it has fewer lanes, is either as narrow as its lanes or filled up with
//! zeros.

use crate::isa::Isa;

/// Where a block comes from, and what it is packed into.
#[derive(Clone, Copy)]
pub struct Block {
    /// The first element, and the distances from lane to lane and along k.
    pub from: *const f32,
    pub lane: isize,
    pub along_k: isize,
    /// Lanes there are, and steps of k.
    pub lanes: usize,
    pub k: usize,
    /// Lanes of a panel.
    pub width: usize,
    /// Whether the last panel is filled up.
    pub fill: bool,
}

/// One panel of a block.
#[derive(Clone, Copy)]
struct Panel {
    from: *const f32,
    lane: isize,
    along_k: isize,
    lanes: usize,
    k: usize,
    /// Numbers for each k in the packed panel, at least `lanes`.
    width: usize,
}

impl Block {
    /// The block's panels and where each is packed to, counted from the start.
    #[inline(always)]
    fn panels(self) -> impl Iterator<Item = (Panel, usize)> {
        (0..self.lanes).step_by(self.width).map(move |first| {
            let lanes = self.width.min(self.lanes - first);
            let from = self.from.wrapping_offset(first as isize * self.lane);
            let width = if self.fill { self.width } else { lanes };
            (Panel { from, lane: self.lane, along_k: self.along_k, lanes, k: self.k, width }, first * self.k)
        })
    }
}

/// Packs a block.
///
/// # Safety
/// The machine has the instruction set; the block is readable and `to` has room for `k` numbers for each lane, and for
/// those that fill the last panel up, and does not overlap the block.
pub unsafe fn pack(isa: Isa, block: Block, to: *mut f32) {
    // SAFETY: the instruction set is the caller's promise, as is the memory.
    unsafe {
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => x86::pack_avx512(block, to),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => x86::pack_avx2(block, to),
            #[cfg(not(target_arch = "x86_64"))]
            Isa::Avx512 | Isa::Avx2 => pack_with(block, to, |panel, to| copy_strided(panel, to)),
            Isa::Baseline => pack_with(block, to, |panel, to| copy_strided(panel, to)),
        }
    }
}

/// Chooses by the distances: neighbouring lanes are copied, neighbours along k are transposed by `transpose`, anything
/// else is copied one by one.
///
/// # Safety
/// As for [`pack`].
#[inline(always)]
unsafe fn pack_with(block: Block, to: *mut f32, transpose: impl Fn(Panel, *mut f32)) {
    // SAFETY: the caller's block and room.
    unsafe {
        if block.lane == 1 {
            copy_lanes(block, to);
        }
        for (panel, at) in block.panels() {
            let to = to.add(at);
            match (block.lane, block.along_k) {
                (1, _) => {}
                (_, 1) => transpose(panel, to),
                (_, _) => copy_strided(panel, to),
            }
            if panel.lanes < panel.width {
                for p in 0..panel.k {
                    to.add(p * panel.width + panel.lanes).write_bytes(0, panel.width - panel.lanes);
                }
            }
        }
    }
}

/// Copies a block whose lanes are neighbours.
///
/// # Safety
/// As for [`pack`].
#[inline(always)]
unsafe fn copy_lanes(block: Block, to: *mut f32) {
    /// Copies the full panels, with a width that the compiler knows where it is that of some kernel.
    macro_rules! full_panels {
        ($($width:literal)*) => {
            match block.width {
                // SAFETY: the caller's block and room, and the width is that of the block.
                $($width => unsafe { copy_full_panels::<$width>(block, to) },)*
                _ => unreachable!("no kernel has tiles of {} rows or columns", block.width),
            }
        };
    }
    full_panels!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 16 24 32 40 48 64 80 96);
    if let Some((panel, at)) = block.panels().last().filter(|(panel, _)| panel.lanes < block.width) {
        for p in 0..panel.k {
            // SAFETY: `lanes` numbers are readable at each k, and the room has `width >= lanes` for it.
            unsafe {
                let from = panel.from.offset(p as isize * panel.along_k);
                copy_short(from, to.add(at + p * panel.width), panel.lanes);
            }
        }
    }
}

/// Copies the panels of `W` lanes of a block whose lanes are neighbours: k by k, so that memory is read along its rows.
///
/// # Safety
/// As for [`pack`].
#[inline(always)]
unsafe fn copy_full_panels<const W: usize>(block: Block, to: *mut f32) {
    for p in 0..block.k {
        // SAFETY: `W` numbers of each full panel are readable at each k, and there is room for them.
        unsafe {
            let from = block.from.offset(p as isize * block.along_k);
            let to = to.add(p * W);
            for i in 0..block.lanes / W {
                let numbers = from.add(i * W).cast::<[f32; W]>().read_unaligned();
                to.add(i * W * block.k).cast::<[f32; W]>().write_unaligned(numbers);
            }
        }
    }
}

/// Copies some tens of numbers without a call of `memcpy`.
///
/// # Safety
/// `count` numbers must be readable and writable, without overlap.
#[inline(always)]
unsafe fn copy_short(from: *const f32, to: *mut f32, count: usize) {
    // SAFETY: all ranges lie within `count`.
    unsafe {
        let mut i = 0;
        while i + 16 <= count {
            to.add(i).cast::<[f32; 16]>().write_unaligned(from.add(i).cast::<[f32; 16]>().read_unaligned());
            i += 16;
        }
        while i + 4 <= count {
            to.add(i).cast::<[f32; 4]>().write_unaligned(from.add(i).cast::<[f32; 4]>().read_unaligned());
            i += 4;
        }
        while i < count {
            *to.add(i) = *from.add(i);
            i += 1;
        }
    }
}

/// Copies a panel of any distances, one number at a time.
///
/// # Safety
/// As for [`pack`].
#[inline(always)]
unsafe fn copy_strided(panel: Panel, to: *mut f32) {
    for lane in 0..panel.lanes {
        for p in 0..panel.k {
            // SAFETY: lane and k are within the panel.
            unsafe {
                *to.add(p * panel.width + lane) =
                    *panel.from.offset(lane as isize * panel.lane + p as isize * panel.along_k);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) mod x86 {
    use super::{Block, Panel, copy_strided, pack_with};
    use std::arch::x86_64::*;

    /// # Safety
    /// As for [`super::pack`].
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
    pub unsafe fn pack_avx512(block: Block, to: *mut f32) {
        // SAFETY: passed on to the caller.
        unsafe { pack_with(block, to, |panel, to| transpose(panel, to)) }
    }

    /// # Safety
    /// As for [`super::pack`].
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn pack_avx2(block: Block, to: *mut f32) {
        // SAFETY: passed on to the caller.
        unsafe { pack_with(block, to, |panel, to| transpose(panel, to)) }
    }

    /// Packs a panel that has unit distance along k: squares of 8 by 8 or 4 by 4, transposed in registers. Where lanes or
    /// k are no multiple of the square, the last square overlaps the one before and writes the same numbers again.
    ///
    /// # Safety
    /// As for [`super::pack`], with AVX2.
    #[inline(always)]
    unsafe fn transpose(panel: Panel, to: *mut f32) {
        let side = match panel.lanes.min(panel.k) {
            8.. => 8,
            4..8 => 4,
            _ => 0,
        };
        // SAFETY: every square lies within lanes and k.
        unsafe {
            if side == 0 {
                return copy_strided(panel, to);
            }
            let mut p = 0;
            loop {
                let mut lane = 0;
                loop {
                    let from = panel.from.offset(lane as isize * panel.lane).add(p);
                    let to = to.add(p * panel.width + lane);
                    let row = |r: isize| from.offset(r * panel.lane);
                    if side == 8 {
                        square8([0, 1, 2, 3, 4, 5, 6, 7].map(row), to, panel.width);
                    } else {
                        square4([0, 1, 2, 3].map(row), to, panel.width);
                    }
                    if lane + side == panel.lanes {
                        break;
                    }
                    lane = (lane + side).min(panel.lanes - side);
                }
                if p + side == panel.k {
                    break;
                }
                p = (p + side).min(panel.k - side);
            }
        }
    }

    /// # Safety
    /// Eight numbers are readable at each of these rows; eight rows of eight, `to_row` apart, are writable. AVX2.
    #[inline(always)]
    pub unsafe fn square8(rows: [*const f32; 8], to: *mut f32, to_row: usize) {
        // SAFETY: the caller's rows. Halves of rows i and i + 4 are loaded into one register, so that the shuffles that
        // follow stay within 128 bits.
        unsafe {
            let pair = |r: usize, half: usize| {
                let low = _mm_loadu_ps(rows[r].add(half));
                let high = _mm_loadu_ps(rows[r + 4].add(half));
                _mm256_insertf128_ps(_mm256_castps128_ps256(low), high, 1)
            };
            for half in [0, 4] {
                let [r0, r1, r2, r3] = [pair(0, half), pair(1, half), pair(2, half), pair(3, half)];
                let (t0, t1) = (_mm256_unpacklo_ps(r0, r1), _mm256_unpackhi_ps(r0, r1));
                let (t2, t3) = (_mm256_unpacklo_ps(r2, r3), _mm256_unpackhi_ps(r2, r3));
                let to = to.add(half * to_row);
                _mm256_storeu_ps(to, _mm256_shuffle_ps(t0, t2, 0x44));
                _mm256_storeu_ps(to.add(to_row), _mm256_shuffle_ps(t0, t2, 0xEE));
                _mm256_storeu_ps(to.add(2 * to_row), _mm256_shuffle_ps(t1, t3, 0x44));
                _mm256_storeu_ps(to.add(3 * to_row), _mm256_shuffle_ps(t1, t3, 0xEE));
            }
        }
    }

    /// # Safety
    /// Four numbers are readable at each of these rows; four rows of four, `to_row` apart, are writable.
    #[inline(always)]
    pub unsafe fn square4(rows: [*const f32; 4], to: *mut f32, to_row: usize) {
        // SAFETY: the caller's rows.
        unsafe {
            let [r0, r1, r2, r3] = rows.map(|row| _mm_loadu_ps(row));
            let (t0, t1) = (_mm_unpacklo_ps(r0, r1), _mm_unpackhi_ps(r0, r1));
            let (t2, t3) = (_mm_unpacklo_ps(r2, r3), _mm_unpackhi_ps(r2, r3));
            _mm_storeu_ps(to, _mm_movelh_ps(t0, t2));
            _mm_storeu_ps(to.add(to_row), _mm_movehl_ps(t2, t0));
            _mm_storeu_ps(to.add(2 * to_row), _mm_movelh_ps(t1, t3));
            _mm_storeu_ps(to.add(3 * to_row), _mm_movehl_ps(t3, t1));
        }
    }
}
