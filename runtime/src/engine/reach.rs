//! What the accesses of a kernel can touch at the sizes of a call: takes an access and the call's extents; gives the first
//! and the last element, and, of what is written, the part that belongs to some of the rows. Allocates nothing.

use crate::check::MOST_TERMS;
use dlc_plan::Kernel;
use dlc_plan::kernel::{Access, Affine, Axis, Bound, Ext};

/// No plan that fits a machine speaks of larger numbers; sums of these do not overflow where kernels compute in 64 bits.
const MOST: i128 = 1 << 56;

/// Of so many bounds the combinations are tried, to find out how far an access reaches where all of them hold.
const MOST_BOUNDS: usize = 6;

/// A range of whole numbers, both ends included.
pub type Span = (i128, i128);

/// The first and the last element that an access touches, without its base; none if it is never made.
///
/// # Errors
/// When numbers are too large for kernels to compute with.
pub fn reach(kernel: &Kernel, access: &Access, exts: &[i64]) -> Result<Option<Span>, String> {
    let all = |_| true;
    let mut axes = Few::default();
    let affines = || access.bounds.iter().map(|bound| &bound.index).chain([&access.at]);
    for &(axis, _) in affines().flat_map(|affine| &affine.terms) {
        let extent = i128::from(kernel.extent(axis, exts));
        if extent <= 0 {
            return Ok(None);
        }
        axes.put(axis, (0, extent - 1))?;
    }
    for affine in affines() {
        let sum = Sum::new(affine, exts, all)?;
        let parts = sum.terms.all().iter().map(|(axis, factor)| scaled(axes.span(*axis), *factor));
        let largest =
            parts.chain([sum.range(&axes), (sum.offset, sum.offset)]).map(|(a, b)| a.abs().max(b.abs())).max();
        if let Some(largest) = largest.filter(|largest| *largest > MOST) {
            return Err(format!("an access with numbers of up to {largest}"));
        }
    }
    // Each round can narrow an axis by what the one before it has learnt.
    for _ in 0..=access.bounds.len() {
        for Bound { index, extent } in &access.bounds {
            if !narrow(&mut axes, &Sum::new(index, exts, all)?, extent.value(exts).into()) {
                return Ok(None);
            }
        }
    }
    let at = Sum::new(&access.at, exts, all)?;
    let bounds = access.bounds.get(..MOST_BOUNDS).unwrap_or(&access.bounds);
    at.within(&axes, bounds, exts).map(Some)
}

/// What is known of a few axes.
#[derive(Clone, Copy)]
struct Few<T> {
    count: usize,
    items: [(Axis, T); MOST_TERMS],
}

impl<T: Copy + Default> Default for Few<T> {
    fn default() -> Few<T> {
        Few { count: 0, items: [(Axis::Row(0), T::default()); MOST_TERMS] }
    }
}

impl<T: Copy> Few<T> {
    fn all(&self) -> &[(Axis, T)] {
        &self.items[..self.count]
    }

    fn get(&mut self, axis: Axis) -> Option<&mut T> {
        self.items[..self.count].iter_mut().find(|(known, _)| *known == axis).map(|(_, x)| x)
    }

    /// Sets what is known of an axis.
    fn put(&mut self, axis: Axis, x: T) -> Result<(), String> {
        if let Some(own) = self.get(axis) {
            *own = x;
            return Ok(());
        }
        let free = self.items.get_mut(self.count).ok_or_else(|| format!("an access of more than {MOST_TERMS} axes"))?;
        *free = (axis, x);
        self.count += 1;
        Ok(())
    }
}

impl Few<Span> {
    /// The range of an axis.
    fn span(&self, axis: Axis) -> Span {
        self.all().iter().find(|(known, _)| *known == axis).map_or((0, 0), |(_, span)| *span)
    }
}

/// A range times a number.
fn scaled((low, high): Span, factor: i128) -> Span {
    let (a, b) = (low * factor, high * factor);
    (a.min(b), a.max(b))
}

/// Takes from the axes what cannot be while `0 <= index < extent`; false if nothing is left.
fn narrow(axes: &mut Few<Span>, index: &Sum, extent: i128) -> bool {
    let (low, high) = index.range(axes);
    if extent <= 0 || high < 0 || low >= extent {
        return false;
    }
    for &(axis, factor) in index.terms.all().iter().filter(|(_, factor)| *factor != 0) {
        let Some(own) = axes.get(axis) else { continue };
        let part = scaled(*own, factor);
        // What the term may be, given that the others are as they like.
        let (least, most) = (part.1 - high, extent - 1 - low + part.0);
        let (first, last) = if factor > 0 {
            (ceil(least, factor), most.div_euclid(factor))
        } else {
            (ceil(-most, -factor), (-least).div_euclid(-factor))
        };
        *own = (own.0.max(first), own.1.min(last));
        if own.0 > own.1 {
            return false;
        }
    }
    true
}

fn ceil(a: i128, b: i128) -> i128 {
    -(-a).div_euclid(b)
}

/// An affine function at some extents.
#[derive(Clone, Copy)]
struct Sum {
    offset: i128,
    terms: Few<i128>,
}

impl Sum {
    /// The function, with the terms of the axes that `of` picks.
    fn new<'t>(affine: impl Into<Indices<'t>>, exts: &[i64], of: impl Fn(Axis) -> bool) -> Result<Sum, String> {
        let affine: Indices = affine.into();
        let mut sum = Sum { offset: affine.offset.value(exts).into(), terms: Few::default() };
        let mut terms = affine.terms.iter().filter(|(axis, _)| of(*axis));
        terms.try_for_each(|(axis, factor)| sum.add(*axis, factor.value(exts).into()))?;
        Ok(sum)
    }

    fn add(&mut self, axis: Axis, factor: i128) -> Result<(), String> {
        let own = self.of(axis);
        self.terms.put(axis, own + factor)
    }

    /// The factor of an axis.
    fn of(&self, axis: Axis) -> i128 {
        self.terms.all().iter().find(|(known, _)| *known == axis).map_or(0, |(_, factor)| *factor)
    }

    fn range(&self, axes: &Few<Span>) -> Span {
        let parts = self.terms.all().iter().map(|(axis, factor)| scaled(axes.span(*axis), *factor));
        parts.fold((self.offset, self.offset), |(low, high), part| (low + part.0, high + part.1))
    }

    /// The range where all bounds hold: each of them may stand for a multiple of its index.
    fn within(&self, axes: &Few<Span>, bounds: &[Bound], exts: &[i64]) -> Result<Span, String> {
        let Some((bound, others)) = bounds.split_first() else { return Ok(self.range(axes)) };
        let mut best = self.within(axes, others, exts)?;
        let index = Sum::new(&bound.index, exts, |_| true)?;
        for &(axis, factor) in index.terms.all() {
            let own = self.of(axis);
            if own == 0 || factor == 0 || own % factor != 0 {
                continue;
            }
            let times = own / factor;
            let mut rest = *self;
            rest.offset -= times * index.offset;
            index.terms.all().iter().try_for_each(|(axis, factor)| rest.add(*axis, -times * factor))?;
            let rest = rest.within(axes, others, exts)?;
            let index = scaled((0, i128::from(bound.extent.value(exts)) - 1), times);
            best = (best.0.max(rest.0 + index.0), best.1.min(rest.1 + index.1));
        }
        Ok(best)
    }
}

/// An affine function of the loops' indices.
#[derive(Clone, Copy)]
pub struct Indices<'t> {
    pub offset: Ext,
    pub terms: &'t [(Axis, Ext)],
}

impl<'t> From<&'t Affine> for Indices<'t> {
    fn from(affine: &'t Affine) -> Indices<'t> {
        Indices { offset: affine.offset, terms: &affine.terms }
    }
}

/// What a kernel writes of a buffer, row by row: no two rows touch the same stretch of it.
#[derive(Clone, Copy)]
pub struct Band {
    /// The buffer's place in the kernel.
    pub buf: usize,
    /// Elements from a row to the next, along each of the row axes.
    strides: [i64; MOST_TERMS],
    /// The first and the last element of row 0.
    row: Span,
    /// Whether the elements of each row lie before those of the next.
    pub ascends: bool,
}

impl Band {
    /// The band of a buffer that is touched like this, to be kept for buffer `other`, which is it or is the same memory; none
    /// if rows may share elements, or lie within each other.
    pub fn new<'t>(
        kernel: &Kernel,
        other: usize,
        touches: impl Iterator<Item = Indices<'t>>,
        exts: &[i64],
    ) -> Option<Band> {
        let mut band: Option<Band> = None;
        if kernel.rows.len() > MOST_TERMS {
            return None;
        }
        for touch in touches {
            let mut strides = [0; MOST_TERMS];
            for (axis, factor) in touch.terms {
                if let Axis::Row(row) = axis {
                    strides[usize::from(*row)] = factor.value(exts);
                }
            }
            let numbers = strides.iter().chain([&touch.offset.value(exts)]).map(|n| i128::from(*n).abs()).max();
            if numbers > Some(MOST) {
                return None;
            }
            // Where an axis has no turns, the access is never made.
            let Some(row) = columns(kernel, touch, exts)? else { continue };
            band = Some(match band {
                None => Band { buf: other, strides, row, ascends: true },
                Some(known) if known.strides != strides => return None,
                Some(known) => Band { row: (known.row.0.min(row.0), known.row.1.max(row.1)), ..known },
            });
        }
        let mut band = band.unwrap_or(Band { buf: other, strides: [0; MOST_TERMS], row: (0, -1), ascends: true });
        band.ascends = band.is_ascending(kernel, exts);
        (band.ascends || band.is_nested(kernel, exts)).then_some(band)
    }

    /// Whether the rows lie apart, in whatever order.
    fn is_nested(&self, kernel: &Kernel, exts: &[i64]) -> bool {
        let mut steps = [(0, 0); MOST_TERMS];
        let rows = self.strides.iter().zip(&kernel.rows).map(|(stride, extent)| (*stride, extent.value(exts)));
        for (step, (stride, extent)) in steps.iter_mut().zip(rows.filter(|(_, extent)| *extent > 1)) {
            *step = (i128::from(stride).abs(), i128::from(extent) - 1);
        }
        steps.sort_unstable();
        let mut width = self.row.1 - self.row.0 + 1;
        steps.iter().filter(|(_, turns)| *turns > 0).all(|(stride, turns)| {
            let fits = *stride >= width;
            width += stride * turns;
            fits
        })
    }

    /// Whether each row's elements lie before those of the next.
    fn is_ascending(&self, kernel: &Kernel, exts: &[i64]) -> bool {
        let width = self.row.1 - self.row.0 + 1;
        let mut inner = 0;
        for (&stride, extent) in self.strides.iter().zip(&kernel.rows).rev() {
            let turns = (i128::from(extent.value(exts)) - 1).max(0);
            if turns > 0 && i128::from(stride) - inner < width {
                return false;
            }
            inner += i128::from(stride) * turns;
        }
        true
    }

    /// The first element of some rows, and the one after their last, in a buffer of this length, where the row axes have
    /// these extents.
    pub fn of(&self, rows: &[i64], first: u64, last: u64, len: u64) -> [u64; 2] {
        if self.row.1 < self.row.0 || first >= last {
            return [0, 0];
        }
        let start = |mut row: u64| {
            let mut at = 0;
            for (stride, extent) in self.strides.iter().zip(rows).rev() {
                let extent = extent.max(&1).unsigned_abs();
                at += i128::from(row % extent) * i128::from(*stride);
                row /= extent;
            }
            at
        };
        let ends = [start(first) + self.row.0, start(last - 1) + self.row.1 + 1];
        ends.map(|end| u64::try_from(end.max(0)).map_or(len, |end| end.min(len)))
    }
}

/// The rows that a call of a kernel runs, where each row may write its own stretches alone.
pub struct ByRow<'a> {
    pub bands: &'a [Band],
    /// The extents of the row axes.
    pub extents: &'a [i64],
    pub first: u64,
    pub last: u64,
}

impl ByRow<'_> {
    /// Sets the windows of all bands to those of a row, or to nothing if it is not one of these.
    ///
    /// # Safety
    /// There is a window and a length for each buffer of the call.
    pub unsafe fn enter(&self, row: i64, windows: *mut [u64; 2], lens: *const u64) {
        let row = u64::try_from(row).ok().filter(|row| (self.first..self.last).contains(row));
        for band in self.bands {
            // SAFETY: the caller's promise.
            unsafe {
                let len = *lens.add(band.buf);
                let window = row.map_or([0, 0], |row| band.of(self.extents, row, row + 1, len));
                windows.add(band.buf).write(window);
            }
        }
    }
}

/// The range of an index over the columns, in row 0; `Some(None)` where a loop has no turns, none where numbers are too large.
fn columns(kernel: &Kernel, at: Indices, exts: &[i64]) -> Option<Option<Span>> {
    let sum = Sum::new(at, exts, |axis| matches!(axis, Axis::Col(_))).ok()?;
    let mut axes = Few::default();
    for &(axis, factor) in sum.terms.all() {
        let extent = i128::from(kernel.extent(axis, exts));
        if extent <= 0 {
            return Some(None);
        }
        axes.put(axis, (0, extent - 1)).ok()?;
        if scaled((0, extent - 1), factor).1.abs() > MOST {
            return None;
        }
    }
    Some(Some(sum.range(&axes)))
}

/// Whether no two rows of a kernel store to the same element of a buffer, and what it loads from there, or from another
/// buffer that is the same memory, is what the same point of the loops stores.
pub fn is_apart(kernel: &Kernel, [buf, other]: [usize; 2], exts: &[i64]) -> bool {
    let own = |access: &&Access| [buf, other].contains(&usize::from(access.buf));
    let Some(first) = kernel.stores().find(own) else { return true };
    let alike = |access: &Access| access.base.is_none() && access.at == first.at;
    kernel.loads().chain(kernel.stores()).filter(own).all(alike) && is_spread(kernel, first, exts)
}

/// Whether a store goes to another element at each point of the loops.
fn is_spread(kernel: &Kernel, store: &Access, exts: &[i64]) -> bool {
    let Ok(mut sum) = Sum::new(&store.at, exts, |axis| kernel.extent(axis, exts) > 1) else { return false };
    let rows = (0..kernel.rows.len()).map(|row| Axis::Row(row as u8));
    if !rows.filter(|axis| kernel.extent(*axis, exts) > 1).all(|axis| sum.of(axis) != 0) {
        return false;
    }
    let count = sum.terms.count;
    sum.terms.items[..count].sort_unstable_by_key(|(_, factor)| factor.abs());
    let mut width = 0;
    sum.terms.all().iter().all(|(axis, factor)| {
        let fits = factor.abs() > width;
        width += factor.abs() * (i128::from(kernel.extent(*axis, exts)) - 1);
        fits
    })
}

/// The largest base with which a gather stays in a buffer of this length; none if base 0 does not.
pub fn largest_base((low, high): Span, factor: Ext, exts: &[i64], len: u64) -> Option<i32> {
    let room = i128::from(len) - 1 - high;
    let factor = i128::from(factor.value(exts));
    if low < 0 || room < 0 || factor < 0 {
        return None;
    }
    Some(if factor == 0 { i32::MAX } else { (room / factor).min(i32::MAX.into()) as i32 })
}
