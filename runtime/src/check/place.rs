//! Checks where buffers are, and that those that are needed at the same time never share memory.
//!
//! A loop's body runs again and again, so what lives before the loop and is used in it must live to its end, and what is
//! chosen by the iteration must live through all of the loop.

use super::{Checked, Sizes, ensure};
use dlc_plan::Plan;
use dlc_plan::kernel::Elem;
use dlc_plan::plan::{BufId, Buffer, Entry, Place, Store};

/// Loops nest no deeper than this.
pub const MOST_LOOPS: usize = 64;

pub fn check_places(plan: &Plan, entry: &Entry, sizes: &Sizes) -> Checked {
    for (i, b) in entry.buffers.iter().enumerate() {
        check_place(plan, entry, sizes, b).map_err(|e| format!("buffer {i} ({}): {e}", b.note))?;
    }
    for start in 0..entry.buffers.len() {
        acyclic(entry, start)?;
    }
    Ok(())
}

fn check_place(plan: &Plan, entry: &Entry, sizes: &Sizes, b: &Buffer) -> Checked {
    match b.place {
        Place::Local { .. } | Place::Piece { .. } => sizes.rows(&b.len)?,
        Place::Arena { .. } | Place::Weight { .. } | Place::Store(_) => sizes.size(&b.len)?,
        Place::Part { .. } | Place::Slot { .. } | Place::Row { .. } => sizes.size(&b.len)?,
    }
    let like = |id: BufId| match entry.buffers.get(id as usize) {
        Some(Buffer { place: Place::Local { .. } | Place::Piece { .. }, .. }) => {
            Err(format!("it is a piece of buffer {id}, which is there in panels alone"))
        }
        Some(other) if other.elem == b.elem => Ok(()),
        Some(other) => Err(format!("it is {:?}, and buffer {id} is {:?}", b.elem, other.elem)),
        None => Err(format!("there is no buffer {id}")),
    };
    match &b.place {
        Place::Arena { first, last } => {
            ensure!(first <= last, "it lives from step {first} to step {last}");
            Ok(())
        }
        Place::Weight { store, weight } => {
            let w = plan.weights.get(*weight as usize).ok_or_else(|| format!("there is no weight {weight}"))?;
            check_store(plan, *store, b.elem)?;
            ensure!(plan.kept(*store, *weight as usize).is_some(), "`{}` has nothing in {store:?}", w.name);
            Ok(())
        }
        Place::Store(store) => {
            if let Store::State(k) = store {
                ensure!(!plan.has_parts(*k), "state {k} is taken as a whole, and it has parts");
            }
            check_store(plan, *store, b.elem)
        }
        Place::Part { of, offset } => {
            like(*of)?;
            sizes.size(offset)
        }
        Place::Local { first, last } => {
            ensure!(first <= last, "it lives from step {first} to step {last}");
            Ok(())
        }
        Place::Piece { of, offset } => {
            like(*of)?;
            sizes.place(offset)
        }
        Place::Slot { of, stride, depth, slots, .. } => {
            like(*of)?;
            ensure!(*slots > 0, "it has no slots");
            ensure!(usize::from(*depth) < MOST_LOOPS, "loop {depth} is too deep");
            sizes.size(stride)
        }
        Place::Row { depth, cells } => {
            ensure!(usize::from(*depth) < MOST_LOOPS, "loop {depth} is too deep");
            cells.iter().try_for_each(|&cell| like(cell))
        }
    }
}

fn check_store(plan: &Plan, store: Store, elem: Elem) -> Checked {
    let expected = match store {
        Store::State(i) => {
            ensure!(usize::from(i) < plan.states.len(), "there is no state {i}");
            Elem::F32
        }
        Store::Trained | Store::Grads | Store::Frozen | Store::Ints(_) => store.elem(),
    };
    ensure!(elem == expected, "{elem:?} in {store:?}");
    Ok(())
}

/// The buffers that a buffer is a piece of.
pub fn parts(b: &Buffer) -> &[BufId] {
    match &b.place {
        Place::Arena { .. } | Place::Local { .. } | Place::Weight { .. } | Place::Store(_) => &[],
        Place::Part { of, .. } | Place::Slot { of, .. } | Place::Piece { of, .. } => std::slice::from_ref(of),
        Place::Row { cells, .. } => cells,
    }
}

/// No buffer is a piece of itself. Pieces of pieces go no deeper than loops do, which also ends the search.
fn acyclic(entry: &Entry, start: usize) -> Checked {
    let mut level = vec![start];
    for _ in 0..=MOST_LOOPS {
        level = level.iter().flat_map(|&i| parts(&entry.buffers[i])).map(|&id| id as usize).collect();
        level.sort_unstable();
        level.dedup();
        if level.is_empty() {
            return Ok(());
        }
    }
    Err(format!("buffer {start} is a piece of itself"))
}

/// A loop around a step: its own number and that of the last step of its body, and how often it runs.
#[derive(Clone, Copy)]
pub struct Around {
    pub own: u32,
    pub end: u32,
    pub count: u32,
}

/// From which step to which each buffer in the arena is needed, both included, as its uses say.
pub struct Needed<'a> {
    entry: &'a Entry,
    spans: Vec<Option<(u32, u32)>>,
}

impl Needed<'_> {
    pub fn new(entry: &Entry) -> Needed<'_> {
        Needed { entry, spans: vec![None; entry.buffers.len()] }
    }

    /// Notes the use of a buffer by a step inside of some loops, outermost first. Steps come in order.
    pub fn note(&mut self, id: BufId, step: u32, loops: &[Around]) -> Checked {
        self.note_span(id, (step, step), loops)
    }

    fn note_span(&mut self, id: BufId, (from, to): (u32, u32), loops: &[Around]) -> Checked {
        let b = self.entry.buffers.get(id as usize).ok_or_else(|| format!("there is no buffer {id}"))?;
        match &b.place {
            Place::Arena { .. } | Place::Local { .. } => {
                let span = self.spans[id as usize].get_or_insert((from, to));
                *span = (span.0.min(from), span.1.max(to));
                for l in loops.iter().filter(|l| l.own > span.0) {
                    span.1 = span.1.max(l.end);
                }
                Ok(())
            }
            Place::Weight { .. } | Place::Store(_) => Ok(()),
            Place::Part { of, .. } => self.note_span(*of, (from, to), loops),
            // Another panel may read or write it at any of the steps.
            Place::Piece { of, .. } => {
                let l = loops.last().ok_or_else(|| format!("buffer {id} ({}) is used outside of panels", b.note))?;
                self.note_span(*of, (l.own, l.end), loops)
            }
            Place::Slot { of, depth, .. } => match loops.get(usize::from(*depth)) {
                None => self.note_span(*of, (from, to), loops),
                Some(l) => self.note_span(*of, (l.own, l.end), &loops[..usize::from(*depth)]),
            },
            Place::Row { depth, cells } => {
                let l = loops.get(usize::from(*depth));
                let l = l.ok_or_else(|| format!("buffer {id} ({}) is used outside of its loop", b.note))?;
                let (found, expected) = (cells.len(), l.count as usize);
                ensure!(found >= expected, "buffer {id} has {found} cells for {expected} iterations");
                let outer = &loops[..usize::from(*depth)];
                cells.iter().try_for_each(|&cell| self.note_span(cell, (l.own, l.end), outer))
            }
        }
    }

    /// Checks that buffers that are needed at the same time live at the same time in the plan, so that they get memory of
    /// their own, in the arena and in what each thread has of its own.
    pub fn check(&self) -> Checked {
        self.apart(|place| if let Place::Arena { first, last } = place { Some((*first, *last)) } else { None })?;
        self.apart(|place| if let Place::Local { first, last } = place { Some((*first, *last)) } else { None })
    }

    /// The same for the buffers that have a life of this kind. Whether the plan's steps have the same numbers as here does not matter, only which buffers meet.
    fn apart(&self, life: impl Fn(&Place) -> Option<(u32, u32)>) -> Checked {
        let all = self.entry.buffers.iter().zip(&self.spans).enumerate();
        let lives = all.filter_map(|(i, (b, span))| Some((i, life(&b.place)?, (*span)?)));
        let mut by_first: Vec<_> = lives.collect();
        let mut by_last = by_first.clone();
        by_first.sort_by_key(|(_, life, _)| life.0);
        by_last.sort_by_key(|(_, life, _)| life.1);
        // Of the buffers that are dead when the next one begins, the one that is needed longest.
        let mut dead = by_last.iter().peekable();
        let mut longest: Option<(usize, u32)> = None;
        for (b, life, span) in by_first {
            while let Some((a, _, span)) = dead.next_if(|(_, other, _)| other.1 < life.0) {
                if longest.is_none_or(|(_, last)| last < span.1) {
                    longest = Some((*a, span.1));
                }
            }
            if let Some((a, last)) = longest.filter(|(_, last)| *last >= span.0) {
                let [x, y] = [a, b].map(|i| &self.entry.buffers[i].note);
                return Err(format!(
                    "buffers {a} ({x}) and {b} ({y}) may share memory, and both are needed at step {last}"
                ));
            }
        }
        Ok(())
    }
}
