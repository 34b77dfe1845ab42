//! Where the temporary buffers of an entry lie in the arena. Takes how large each buffer is at some sizes and when it is
//! alive; gives byte offsets such that buffers that are alive at the same time never overlap.
//!
//! Lifetimes are part of the plan, offsets are laid out when the sizes are known. A layout serves all sizes at which no
//! buffer is larger than it was when the layout was made.

use crate::plan::{Entry, Place};

/// What offsets and lengths in the arena are multiples of: a cache line, and the widest vector.
pub const ALIGN: u64 = 64;

/// Offsets in the arena for the buffers of one entry.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Layout {
    /// The bytes that each buffer may have, by its number.
    room: Vec<u64>,
    /// Its first byte's place; 0 for a buffer that is not in the arena.
    offsets: Vec<u64>,
    /// The bytes of the whole arena.
    bytes: u64,
}

/// A buffer to be placed.
#[derive(Clone, Copy)]
struct Span {
    buffer: usize,
    bytes: u64,
    first: u32,
    last: u32,
}

/// A placed buffer: from its first byte to the one after its last.
#[derive(Clone, Copy)]
struct Placed {
    from: u64,
    to: u64,
    first: u32,
    last: u32,
}

impl Layout {
    /// A layout for an entry whose buffers have these sizes in bytes, by their numbers; those of buffers that are not in
    /// the arena do not matter. Greedy: the largest first, each into the smallest gap that it fits in.
    pub fn new(entry: &Entry, bytes: &[u64]) -> Layout {
        Layout::of(
            entry,
            bytes,
            |place| if let Place::Arena { first, last } = place { Some((*first, *last)) } else { None },
        )
    }

    /// A layout for the buffers that each thread has of its own while it runs panels.
    pub fn local(entry: &Entry, bytes: &[u64]) -> Layout {
        Layout::of(
            entry,
            bytes,
            |place| if let Place::Local { first, last } = place { Some((*first, *last)) } else { None },
        )
    }

    fn of(entry: &Entry, bytes: &[u64], life: impl Fn(&Place) -> Option<(u32, u32)>) -> Layout {
        let mut spans: Vec<Span> = Vec::new();
        for (buffer, (b, &bytes)) in entry.buffers.iter().zip(bytes).enumerate() {
            if let Some((first, last)) = life(&b.place) {
                let bytes = bytes.checked_next_multiple_of(ALIGN).unwrap_or(u64::MAX);
                spans.push(Span { buffer, bytes, first, last });
            }
        }
        spans.sort_by_key(|s| (std::cmp::Reverse(s.bytes), s.first, s.buffer));
        let mut layout = Layout { room: bytes.to_vec(), offsets: vec![0; bytes.len()], bytes: 0 };
        let mut placed: Vec<Placed> = Vec::new();
        for s in spans.into_iter().filter(|s| s.bytes > 0) {
            let from = best_gap(&placed, s);
            let to = from.saturating_add(s.bytes);
            layout.offsets[s.buffer] = from;
            layout.bytes = layout.bytes.max(to);
            let at = placed.partition_point(|p| p.from <= from);
            placed.insert(at, Placed { from, to, first: s.first, last: s.last });
        }
        layout
    }

    /// Whether buffers of these sizes in bytes have room in this layout.
    pub fn serves(&self, bytes: &[u64]) -> bool {
        self.room.len() == bytes.len() && bytes.iter().zip(&self.room).all(|(b, room)| b <= room)
    }

    /// A layout that serves these sizes and all that this one serves.
    pub fn widened(&self, entry: &Entry, bytes: &[u64]) -> Layout {
        let room = |i: usize| self.room.get(i).copied().unwrap_or(0);
        let both: Vec<u64> = bytes.iter().enumerate().map(|(i, &b)| b.max(room(i))).collect();
        Layout::new(entry, &both)
    }

    /// The place of a buffer's first byte, a multiple of [`ALIGN`].
    pub fn offset(&self, buffer: usize) -> u64 {
        self.offsets[buffer]
    }

    /// The bytes of the whole arena; `u64::MAX` stands for more than can be counted.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// The offset of the smallest gap that `s` fits in among the buffers that are alive when it is; failing that, of the space
/// behind them. `placed` is sorted by `from`.
fn best_gap(placed: &[Placed], s: Span) -> u64 {
    let (mut best, mut best_size) = (None, u64::MAX);
    let mut end = 0;
    for p in placed.iter().filter(|p| p.first <= s.last && s.first <= p.last) {
        let gap = p.from.saturating_sub(end);
        if gap >= s.bytes && gap < best_size {
            (best, best_size) = (Some(end), gap);
        }
        end = end.max(p.to);
    }
    best.unwrap_or(end)
}
