//! One entry as the engine runs it: its steps, where its buffers are, and the sizes that all of this is made for.
//!
//! Binding an entry to sizes evaluates every size once, checks all lengths, and finds room in the arena. At sizes that are
//! bound already nothing is done.

use super::bind::{Facts, Needs};
use super::node::{Node, nodes};
use super::panels::Slot;
use super::segments::Segments;
use crate::call::Takes;
use crate::error::Error;
use crate::memory::{Memory, Ptr};
use crate::stores::Stores;
use dlc_plan::Plan;
use dlc_plan::layout::Layout;
use dlc_plan::plan::{Buffer, Entry, Place, StatePart, Store, Weight};

/// How a buffer is found.
pub enum Spot {
    /// At an address that stays for the whole run.
    Fixed,
    /// In another buffer.
    Part { of: usize, bytes: usize },
    /// In another buffer, at a place that depends on the iteration.
    Slot { of: usize, stride: usize, depth: usize, ahead: usize, slots: usize },
    /// Another buffer, which one depends on the iteration.
    Row { depth: usize, cells: Vec<usize> },
}

/// An entry.
pub struct Frame {
    pub nodes: Vec<Node>,
    pub spots: Vec<Spot>,
    /// The buffers that are not [`Spot::Fixed`].
    pub found: Vec<usize>,
    /// The sizes that everything below is for; meaningless unless `bound`.
    pub dims: Vec<i64>,
    pub bound: bool,
    /// The length of each buffer, in elements and in bytes.
    pub lens: Vec<u64>,
    pub bytes: Vec<u64>,
    pub ptrs: Vec<Ptr>,
    layout: Layout,
    /// Where buffers of each thread's own are.
    pub local: Layout,
    /// Bytes that each buffer takes of a thread's own memory.
    local_room: Vec<u64>,
    /// Bytes that each buffer takes of the arena.
    room: Vec<u64>,
    /// The arena that the addresses are in.
    arena: Ptr,
}

/// What an entry stands on.
#[derive(Clone, Copy)]
pub struct Ground<'a> {
    pub plan: &'a Plan,
    pub entry: &'a Entry,
    pub segments: &'a Segments,
    pub stores: &'a Stores,
    pub threads: usize,
    /// What the kernels take, where they are Rust.
    pub takes: Option<&'a [Takes]>,
}

impl Frame {
    pub fn new(plan: &Plan, entry: &Entry, segments: &Segments) -> Frame {
        let spots: Vec<Spot> = entry.buffers.iter().map(spot).collect();
        let moves = |&i: &usize| !matches!(spots[i], Spot::Fixed);
        let count = entry.buffers.len();
        Frame {
            nodes: nodes(plan, entry, segments.count),
            found: (0..count).filter(moves).collect(),
            spots,
            dims: vec![0; plan.dims.len()],
            bound: false,
            lens: vec![0; count],
            bytes: vec![0; count],
            ptrs: vec![Ptr::NULL; count],
            layout: Layout::default(),
            local: Layout::default(),
            local_room: vec![0; count],
            room: vec![0; count],
            arena: Ptr::NULL,
        }
    }

    /// Makes the entry ready to run at the sizes in `self.dims`, but for what its steps write over each other's memory. The arena grows if it must; so do `products`, the scratch of
    /// products, and what each thread has of its own.
    pub fn bind(
        &mut self,
        ground: &Ground,
        arena: &mut Memory,
        products: &mut Vec<f32>,
        slots: &mut [Slot],
    ) -> Result<(), Error> {
        let Ground { plan, entry, segments, stores, threads, takes } = *ground;
        self.set_lens(plan, entry)?;
        self.set_spots(plan, entry, stores).map_err(Error::Plan)?;
        self.check_ports(entry).map_err(Error::Plan)?;
        let (dims, lens) = (&self.dims, &self.lens);
        let facts = Facts { plan, entry, segments, dims, lens, threads, takes, store_len: stores.trained_len() };
        self.local_room.fill(0);
        let mut needs = Needs { products: 0, alone: 0, local: &mut self.local_room };
        facts.bind(&mut self.nodes, &mut needs)?;
        let Needs { products: wanted, alone, .. } = needs;
        if products.len() < wanted {
            products.resize(wanted, 0.0);
        }
        if !self.local.serves(&self.local_room) {
            self.local = Layout::local(entry, &self.local_room);
        }
        slots.iter_mut().try_for_each(|slot| slot.grow(self.local.bytes(), alone))?;
        if !self.layout.serves(&self.room) {
            let wider = self.layout.widened(entry, &self.room);
            self.layout = match grow(arena, wider.bytes()) {
                Ok(()) => wider,
                // There may be room for these sizes alone.
                Err(_) => {
                    let own = Layout::new(entry, &self.room);
                    grow(arena, own.bytes())?;
                    own
                }
            };
        }
        self.attach(ground, arena)
    }

    /// Whether the addresses are those of this arena.
    pub fn is_attached(&self, arena: &Memory) -> bool {
        self.arena == arena.start() && self.layout.bytes() <= arena.bytes() as u64
    }

    /// Sets the addresses of the buffers that stay where they are, in an arena that is large enough afterwards.
    pub fn attach(&mut self, ground: &Ground, arena: &mut Memory) -> Result<(), Error> {
        grow(arena, self.layout.bytes())?;
        let Ground { plan, entry, stores, .. } = *ground;
        self.arena = arena.start();
        for (i, b) in entry.buffers.iter().enumerate() {
            match &b.place {
                Place::Arena { .. } => self.ptrs[i] = self.arena.plus(self.layout.offset(i) as usize),
                Place::Weight { store, weight } => {
                    let offset = plan.kept(*store, *weight as usize).map_or(0, |(offset, _)| offset);
                    self.ptrs[i] = stores.start(*store).plus(store.elem().bytes() * offset);
                }
                Place::Store(store) => self.ptrs[i] = stores.start(*store),
                Place::Local { .. } | Place::Piece { .. } => {}
                Place::Part { .. } | Place::Slot { .. } | Place::Row { .. } => {}
            }
        }
        Ok(())
    }

    fn set_lens(&mut self, plan: &Plan, entry: &Entry) -> Result<(), Error> {
        for (i, b) in entry.buffers.iter().enumerate() {
            // What is in panels is as long as they are high.
            if matches!(b.place, Place::Local { .. } | Place::Piece { .. }) {
                continue;
            }
            let len = b.len.eval(&self.dims);
            if len < 0 {
                let given = plan.dims.iter().zip(&self.dims).filter(|(_, n)| **n >= 0);
                let sizes = given.map(|(name, n)| format!("{name} = {n}"));
                return Err(Error::NegativeSize { what: b.note.clone(), sizes: sizes.collect::<Vec<_>>().join(", ") });
            }
            self.lens[i] = len as u64;
            self.bytes[i] = (len as u64).saturating_mul(b.elem.bytes() as u64);
            self.room[i] = if matches!(b.place, Place::Arena { .. }) { self.bytes[i] } else { 0 };
        }
        Ok(())
    }

    /// Checks that the buffers of inputs and outputs are as long as these.
    fn check_ports(&self, entry: &Entry) -> Result<(), String> {
        for port in entry.inputs.iter().chain(&entry.outputs) {
            let extents = port.shape.iter().map(|size| i128::from(size.eval(&self.dims)));
            let (len, found) = (extents.fold(1, i128::saturating_mul), self.lens[port.buffer as usize]);
            if len != found.into() {
                return Err(format!("`{}` has {len} elements and a buffer of {found}", port.name));
            }
        }
        Ok(())
    }

    /// Checks that each buffer lies within what it is a piece of, and sets distances.
    fn set_spots(&mut self, plan: &Plan, entry: &Entry, stores: &Stores) -> Result<(), String> {
        for (i, b) in entry.buffers.iter().enumerate() {
            let size = b.elem.bytes() as i64;
            // All lengths are kept in i128 here, so that nothing overflows.
            let len = i128::from(self.lens[i]);
            let within = |from: i128, len: i128, room: i128| {
                let fits = len == 0 || (from >= 0 && from + len <= room);
                fits.then_some(())
                    .ok_or_else(|| format!("buffer {i} ({}) does not lie in what it is a piece of", b.note))
            };
            let room = |of: u32| i128::from(self.lens[of as usize]);
            match &b.place {
                Place::Arena { .. } | Place::Local { .. } | Place::Piece { .. } => {}
                Place::Weight { store, weight } => within(0, len, room_of(plan, *store, *weight as usize, len))?,
                Place::Store(store) => within(0, len, (stores.bytes(*store) / store.elem().bytes()) as i128)?,
                Place::Part { of, offset } => {
                    let offset = offset.eval(&self.dims);
                    within(offset.into(), len, room(*of))?;
                    set(&mut self.spots[i], offset.max(0).saturating_mul(size) as usize);
                }
                Place::Slot { of, stride, slots, .. } => {
                    let stride = stride.eval(&self.dims);
                    within(stride.min(0).into(), len, room(*of))?;
                    within(i128::from(stride) * i128::from(slots - 1), len, room(*of))?;
                    set(&mut self.spots[i], stride.max(0).saturating_mul(size) as usize);
                }
                Place::Row { cells, .. } => cells.iter().try_for_each(|&cell| within(0, len, room(cell)))?,
            }
        }
        Ok(())
    }
}

/// How much room there is from the beginning of what a store keeps for a weight on, if that is less than `len`: up to its
/// end, and to that of what follows without a gap.
fn room_of(plan: &Plan, store: Store, weight: usize, len: i128) -> i128 {
    let Some((start, shape)) = plan.kept(store, weight) else { return 0 };
    let home = plan.weights[weight].store;
    let next = |at: usize| match store {
        Store::State(k) if plan.has_parts(k) => {
            plan.parts.iter().find(|p| p.state == k && p.offset == at && !p.is_empty()).map(StatePart::len)
        }
        Store::Trained | Store::Grads | Store::State(_) | Store::Frozen | Store::Ints(_) => {
            plan.weights.iter().find(|w| w.store == home && w.offset == at && !w.is_empty()).map(Weight::len)
        }
    };
    let mut end = start + shape.iter().product::<usize>();
    while ((end - start) as i128) < len {
        let Some(more) = next(end) else { break };
        end += more;
    }
    (end - start) as i128
}

/// Makes the arena as large as it must be. Nothing in it is needed, so an old one is given back first.
pub fn grow(arena: &mut Memory, bytes: u64) -> Result<(), Error> {
    if (arena.bytes() as u64) < bytes {
        *arena = Memory::zeroed(0)?;
        *arena = Memory::zeroed(bytes)?;
    }
    Ok(())
}

/// Sets the distance in bytes of a part or a slot.
fn set(spot: &mut Spot, distance: usize) {
    match spot {
        Spot::Part { bytes, .. } => *bytes = distance,
        Spot::Slot { stride, .. } => *stride = distance,
        Spot::Fixed | Spot::Row { .. } => {}
    }
}

fn spot(b: &Buffer) -> Spot {
    match &b.place {
        Place::Arena { .. } | Place::Weight { .. } | Place::Store(_) => Spot::Fixed,
        // Panels find them.
        Place::Local { .. } | Place::Piece { .. } => Spot::Fixed,
        Place::Part { of, .. } => Spot::Part { of: *of as usize, bytes: 0 },
        Place::Slot { of, depth, ahead, slots, .. } => Spot::Slot {
            of: *of as usize,
            stride: 0,
            depth: usize::from(*depth),
            ahead: *ahead as usize,
            slots: *slots as usize,
        },
        Place::Row { depth, cells } => {
            Spot::Row { depth: usize::from(*depth), cells: cells.iter().map(|&c| c as usize).collect() }
        }
    }
}

/// Whether a buffer moves with the pieces in a call that goes over segments: stores in the layout of the trained weights
/// do, and temporary buffers that are as long.
pub fn moves(b: &Buffer, len: u64, store_len: u64) -> bool {
    match &b.place {
        Place::Store(Store::Trained | Store::Grads | Store::State(_)) => true,
        Place::Arena { .. } => len == store_len,
        Place::Store(Store::Frozen | Store::Ints(_)) => false,
        Place::Weight { .. } | Place::Part { .. } | Place::Slot { .. } | Place::Row { .. } => false,
        Place::Local { .. } | Place::Piece { .. } => false,
    }
}
