//! Panels: steps that each thread runs for some rows at a time, in memory of its own, so that what is wide is never there as
//! a whole. Points of cuts that nothing is added up along run side by side, the others in order on one thread; what is
//! added up is therefore added in the same order whatever the threads are.

use super::bind::{Facts, Needs};
use super::call::Scratch;
use super::frame::{Frame, grow};
use super::node::{Around, Known, Node, body, used};
use super::walk::Walker;
use crate::error::Error;
use crate::hands::Hands;
use crate::memory::{Memory, Ptr};
use dlc_plan::Size;
use dlc_plan::chunks::panel_height;
use dlc_plan::plan::{Panels, Place};

/// Bytes that a thread fills with zeros at once.
const ZERO_AT_ONCE: usize = 1 << 18;

/// What a thread has of its own while panels run.
pub struct Slot {
    ptrs: Vec<Ptr>,
    dims: Vec<i64>,
    rows: Vec<usize>,
    scratch: Scratch,
    arena: Memory,
}

impl Slot {
    /// For the entries of these frames, and so many dynamic sizes.
    pub fn new(frames: &[Frame], dims: usize) -> Result<Slot, Error> {
        let most = frames.iter().map(|f| f.ptrs.len()).max().unwrap_or(0);
        Ok(Slot {
            ptrs: vec![Ptr::NULL; most],
            dims: vec![0; dims],
            rows: Vec::with_capacity(crate::check::MOST_LOOPS),
            scratch: super::scratch(frames, 1)?,
            arena: Memory::zeroed(0)?,
        })
    }

    /// Makes room for buffers and for the scratch of products.
    pub fn grow(&mut self, bytes: u64, products: usize) -> Result<(), Error> {
        if self.scratch.products.len() < products {
            self.scratch.products.resize(products, 0.0);
        }
        grow(&mut self.arena, bytes)
    }
}

/// A buffer that is found where the panel is.
struct Piece {
    buf: usize,
    of: usize,
    offset: Size,
    bytes: usize,
}

/// The steps at panels of one height.
struct Height {
    nodes: Vec<Node>,
    /// The sizes, where the panel is the first one, and where it is the last one.
    begin: Vec<i64>,
    end: Vec<i64>,
    /// The length of each buffer, in elements and in bytes.
    lens: Vec<u64>,
    bytes: Vec<u64>,
}

/// Panels.
pub struct PanelsNode {
    /// The extents of the cuts, the rows first.
    cuts: Vec<Known>,
    serial: Vec<bool>,
    width: Known,
    /// The number of the size that is the panel's height.
    first: usize,
    zero: Vec<usize>,
    pieces: Vec<Piece>,
    locals: Vec<usize>,
    /// Rows of a panel, but for the last.
    height: usize,
    full: Height,
    last: Height,
}

impl PanelsNode {
    /// The panels of a step inside of so many loops.
    pub fn new(k: &Panels, depth: usize, around: &Around) -> PanelsNode {
        let buffers = &around.entry.buffers;
        let mut own = Vec::new();
        used(&k.steps, &mut |b| own.push(b as usize));
        own.sort_unstable();
        own.dedup();
        let piece = |&buf: &usize| match &buffers[buf].place {
            Place::Piece { of, offset } => {
                Some(Piece { buf, of: *of as usize, offset: offset.clone(), bytes: buffers[buf].elem.bytes() })
            }
            Place::Arena { .. } | Place::Weight { .. } | Place::Store(_) | Place::Local { .. } => None,
            Place::Part { .. } | Place::Slot { .. } | Place::Row { .. } => None,
        };
        let height = || Height {
            nodes: body(&k.steps, depth, around),
            begin: Vec::new(),
            end: Vec::new(),
            lens: Vec::new(),
            bytes: Vec::new(),
        };
        PanelsNode {
            cuts: k.cuts.iter().map(Known::new).collect(),
            serial: k.serial.clone(),
            width: Known::new(&k.width),
            first: usize::from(k.first),
            zero: k.zero.iter().map(|&b| b as usize).collect(),
            pieces: own.iter().filter_map(piece).collect(),
            locals: own.into_iter().filter(|&b| matches!(buffers[b].place, Place::Local { .. })).collect(),
            height: 1,
            full: height(),
            last: height(),
        }
    }

    /// Its steps.
    pub fn nodes(&self) -> &[Node] {
        &self.full.nodes
    }

    /// How many points a cut has; panels, for the rows.
    fn points(&self, cut: usize) -> usize {
        let extent = self.cuts[cut].count();
        if cut == 0 { extent.div_ceil(self.height) } else { extent }
    }

    /// How many points all cuts have together that run side by side, or in order.
    fn all_points(&self, serial: bool) -> usize {
        (0..self.cuts.len()).filter(|&c| self.serial[c] == serial).map(|c| self.points(c)).product()
    }

    /// Sets the index of each cut that runs side by side, or in order; the rows are the innermost.
    fn place(&self, serial: bool, mut point: usize, dims: &mut [i64]) {
        for c in [0].into_iter().chain((1..self.cuts.len()).rev()).filter(|&c| self.serial[c] == serial) {
            let points = self.points(c);
            let index = point % points;
            dims[self.first + 1 + c] = if c == 0 { (index * self.height) as i64 } else { index as i64 };
            point /= points;
        }
    }

    /// Sets and checks the steps at both heights.
    pub fn bind(&mut self, facts: &Facts, needs: &mut Needs) -> Result<(), Error> {
        self.cuts.iter_mut().chain([&mut self.width]).for_each(|k| k.set(facts.dims));
        if self.cuts.iter().any(|k| k.now <= 0) {
            return Ok(());
        }
        let rows = self.cuts[0].count();
        self.height = panel_height(rows as u64, self.width.count() as u64) as usize;
        for (last, rows) in [(false, self.height), (true, rows % self.height)] {
            if rows > 0 {
                self.bind_height(facts, needs, last, rows as i64)?;
            }
        }
        Ok(())
    }

    fn bind_height(&mut self, facts: &Facts, needs: &mut Needs, last: bool, rows: i64) -> Result<(), Error> {
        let Height { nodes, begin, end, lens, bytes } = if last { &mut self.last } else { &mut self.full };
        [&mut *begin, &mut *end].into_iter().for_each(|dims| replace(dims, facts.dims));
        (begin[self.first], end[self.first]) = (rows, rows);
        for (c, cut) in self.cuts.iter().enumerate() {
            begin[self.first + 1 + c] = 0;
            end[self.first + 1 + c] = if c == 0 { cut.now - rows } else { cut.now - 1 };
        }
        replace(lens, facts.lens);
        for &b in self.locals.iter().chain(self.pieces.iter().map(|piece| &piece.buf)) {
            let len = facts.entry.buffers[b].len.eval(begin);
            lens[b] = u64::try_from(len).map_err(|_| Error::Plan(format!("buffer {b} has {len} elements")))?;
        }
        for piece in &self.pieces {
            let (low, high) = (piece.offset.eval(begin), piece.offset.eval(end));
            let fits = low >= 0 && high >= low && (high as u64).saturating_add(lens[piece.buf]) <= facts.lens[piece.of];
            if !fits {
                let note = facts.note(piece.of);
                return Err(Error::Plan(format!("a piece from {low} or {high} does not lie in {note}")));
            }
        }
        let size = |(b, len): (usize, &u64)| len.saturating_mul(facts.entry.buffers[b].elem.bytes() as u64);
        bytes.clear();
        bytes.extend(lens.iter().enumerate().map(size));
        for &b in &self.locals {
            needs.local[b] = needs.local[b].max(bytes[b]);
        }
        let mut own = Needs { products: 0, alone: 0, local: &mut [] };
        let inner = Facts { dims: begin, lens, threads: 1, ..*facts };
        inner.bind(nodes, &mut own)?;
        needs.alone = needs.alone.max(own.products);
        Ok(())
    }
}

/// Puts other numbers in the place of those that are there, in the same memory.
fn replace<T: Copy>(to: &mut Vec<T>, from: &[T]) {
    to.clear();
    to.extend_from_slice(from);
}

/// What the threads have of their own.
struct Slots(*mut Slot);

// SAFETY: each thread uses its own.
unsafe impl Sync for Slots {}

impl Slots {
    /// That of a slot.
    ///
    /// # Safety
    /// The slot is used by one thread at a time, and there is one of its number.
    #[allow(clippy::mut_from_ref, reason = "different slots are different memory")]
    unsafe fn of(&self, slot: usize) -> &mut Slot {
        // SAFETY: the caller's promise.
        unsafe { &mut *self.0.add(slot) }
    }
}

/// What is called at a point: its task, the steps there, the lengths of buffers in bytes, and the pieces.
type AtPoint<'a> =
    dyn FnMut(usize, &[Node], &[u64], &mut dyn Iterator<Item = (usize, usize, i64)>) -> Result<(), String> + 'a;

impl PanelsNode {
    /// Calls `at` for each point, with its task, the steps there, the lengths of buffers in bytes, and for each piece its number,
    /// what it is a piece of, and where it begins there, in bytes.
    pub fn each_point(&self, dims: &[i64], at: &mut AtPoint) -> Result<(), String> {
        if self.cuts.iter().any(|cut| cut.count() == 0) {
            return Ok(());
        }
        let mut dims = dims.to_vec();
        for task in 0..self.all_points(false) {
            self.place(false, task, &mut dims);
            for point in 0..self.all_points(true) {
                self.place(true, point, &mut dims);
                let height = self.height_at(&mut dims);
                let piece = |p: &Piece| (p.buf, p.of, p.offset.eval(&dims).saturating_mul(p.bytes as i64));
                at(task, &height.nodes, &height.bytes, &mut self.pieces.iter().map(piece))?;
            }
        }
        Ok(())
    }

    /// Sets the rows of the panel that begins where the sizes say; gives its steps.
    fn height_at(&self, dims: &mut [i64]) -> &Height {
        let first = dims[self.first + 1].max(0) as usize;
        let rows = self.height.min(self.cuts[0].count() - first);
        dims[self.first] = rows as i64;
        if rows == self.height { &self.full } else { &self.last }
    }

    /// The buffers that each thread has of its own.
    pub fn locals(&self) -> &[usize] {
        &self.locals
    }
}

impl Walker<'_> {
    /// Runs panels.
    pub fn panels(&mut self, node: &PanelsNode) {
        node.zero.iter().for_each(|&b| self.fill_zero(b));
        if node.cuts.iter().any(|cut| cut.count() == 0) {
            return;
        }
        let slots = Slots(self.slots.as_mut_ptr());
        let outer: &Walker = self;
        self.hands.run_in_slots(node.all_points(false), &|slot, task| {
            // SAFETY: the pool gives a slot to one thread at a time, and the engine made one for each.
            let slot = unsafe { slots.of(slot) };
            outer.task(node, task, slot);
        });
    }

    /// The points that one thread takes in order.
    fn task(&self, node: &PanelsNode, task: usize, slot: &mut Slot) {
        slot.ptrs[..self.ptrs.len()].copy_from_slice(self.ptrs);
        slot.dims.copy_from_slice(self.dims);
        slot.rows.clear();
        slot.rows.extend_from_slice(self.rows);
        for &b in &node.locals {
            slot.ptrs[b] = slot.arena.start().plus(self.local.offset(b) as usize);
        }
        node.place(false, task, &mut slot.dims);
        for point in 0..node.all_points(true) {
            node.place(true, point, &mut slot.dims);
            let height = node.height_at(&mut slot.dims);
            for piece in &node.pieces {
                let offset = piece.offset.eval(&slot.dims).max(0) as usize;
                slot.ptrs[piece.buf] = slot.ptrs[piece.of].plus(offset * piece.bytes);
            }
            let mut inner = Walker {
                hands: Hands::One,
                kernels: self.kernels,
                fns: self.fns,
                segments: self.segments,
                buffers: self.buffers,
                state: self.state,
                dims: &slot.dims,
                spots: self.spots,
                lens: &height.lens,
                bytes: &height.bytes,
                ptrs: &mut slot.ptrs,
                rows: &mut slot.rows,
                scratch: &mut slot.scratch,
                slots: &mut [],
                local: self.local,
                fault: self.fault,
            };
            inner.steps(&height.nodes);
        }
    }

    fn fill_zero(&mut self, b: usize) {
        let (to, bytes) = (self.ptrs[b], self.bytes[b] as usize);
        self.hands.run(bytes.div_ceil(ZERO_AT_ONCE), &|chunk| {
            let first = chunk * ZERO_AT_ONCE;
            // SAFETY: the buffer has so many bytes, and chunks are disjoint.
            unsafe { to.plus(first).0.write_bytes(0, ZERO_AT_ONCE.min(bytes - first)) };
        });
    }
}
