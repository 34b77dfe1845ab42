//! Checks where buffers are, and that a step uses a buffer only while it lives.
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
    sizes.size(&b.len)?;
    let like = |id: BufId| match entry.buffers.get(id as usize) {
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
            let own = *store == w.store || (w.store == Store::Trained && in_trained_layout(*store));
            ensure!(own, "`{}` has nothing in {store:?}", w.name);
            Ok(())
        }
        Place::Store(store) => check_store(plan, *store, b.elem),
        Place::Part { of, offset } => {
            like(*of)?;
            sizes.size(offset)
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
        Store::Trained | Store::Grads | Store::Frozen => Elem::F32,
        Store::State(i) => {
            ensure!(usize::from(i) < plan.states.len(), "there is no state {i}");
            Elem::F32
        }
        Store::Ints => Elem::I32,
    };
    ensure!(elem == expected, "{elem:?} in {store:?}");
    Ok(())
}

/// Whether a store has the layout of the trained weights.
pub fn in_trained_layout(store: Store) -> bool {
    match store {
        Store::Trained | Store::Grads | Store::State(_) => true,
        Store::Frozen | Store::Ints => false,
    }
}

/// The buffers that a buffer is a piece of.
pub fn parts(b: &Buffer) -> &[BufId] {
    match &b.place {
        Place::Arena { .. } | Place::Weight { .. } | Place::Store(_) => &[],
        Place::Part { of, .. } | Place::Slot { of, .. } => std::slice::from_ref(of),
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

/// Checks the use of a buffer by a step inside of some loops, outermost first.
pub fn check_use(entry: &Entry, id: BufId, step: u32, loops: &[Around]) -> Checked {
    let b = entry.buffers.get(id as usize).ok_or_else(|| format!("there is no buffer {id}"))?;
    match &b.place {
        Place::Arena { first, last } => {
            let alive = *first <= step && step <= *last;
            ensure!(alive, "buffer {id} ({}) lives from step {first} to {last}", b.note);
            let early = loops.iter().find(|l| *first < l.own && *last < l.end);
            ensure!(early.is_none(), "buffer {id} ({}) ends at step {last}, within a loop that needs it again", b.note);
            Ok(())
        }
        Place::Weight { .. } | Place::Store(_) => Ok(()),
        Place::Part { of, .. } => check_use(entry, *of, step, loops),
        Place::Slot { of, depth, .. } => {
            if let Some(l) = loops.get(usize::from(*depth)) {
                covers(entry, *of, l)?;
            }
            check_use(entry, *of, step, loops)
        }
        Place::Row { depth, cells } => {
            let l = loops.get(usize::from(*depth));
            let l = l.ok_or_else(|| format!("buffer {id} ({}) is used outside of its loop", b.note))?;
            ensure!(cells.len() >= l.count as usize, "buffer {id} has {} cells for {} iterations", cells.len(), l.count);
            for &cell in cells {
                covers(entry, cell, l)?;
                check_use(entry, cell, step, loops)?;
            }
            Ok(())
        }
    }
}

/// A buffer lives through all of a loop.
fn covers(entry: &Entry, id: BufId, l: &Around) -> Checked {
    let b = &entry.buffers[id as usize];
    match &b.place {
        Place::Arena { first, last } => {
            let note = &b.note;
            ensure!(*first <= l.own && l.end <= *last, "buffer {id} ({note}) does not live through the loop at {}", l.own);
            Ok(())
        }
        Place::Weight { .. } | Place::Store(_) | Place::Part { .. } | Place::Slot { .. } | Place::Row { .. } => {
            parts(b).iter().try_for_each(|&part| covers(entry, part, l))
        }
    }
}
