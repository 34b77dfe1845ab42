//! Plans: a program's entries as steps over buffers.
//!
//! Takes a program whose calls are inlined (loops stay). For each entry, and for each loop's body in its place: fuses,
//! puts the kernels and the runtime's steps in order, gives every value that reaches memory a buffer, and notes from
//! which step to which it lives.

mod copies;
mod function;
pub mod gemm;
mod life;
mod panels;
mod repeat;
mod terms;

use crate::program::verify::Facts;
use crate::program::{Entry, Program, Role, StatePart, Ty, Weight, WeightId};
use dlc_plan::kernel::Kernel;
use dlc_plan::plan::{self, Buffer, Guard, Place, Port, Store};
use dlc_plan::{DType, Plan, Size};
use function::{Bind, Frame};
use rustc_hash::FxHashMap as HashMap;

/// A plan in the making: what all entries share.
pub(crate) struct Planner<'a> {
    pub program: &'a Program,
    pub kernels: Vec<Kernel>,
    numbers: HashMap<Kernel, u32>,
}

impl Planner<'_> {
    /// The number of a kernel; equal kernels have one.
    pub fn kernel(&mut self, k: Kernel) -> u32 {
        if let Some(n) = self.numbers.get(&k) {
            return *n;
        }
        let n = self.kernels.len() as u32;
        self.kernels.push(k.clone());
        self.numbers.insert(k, n);
        n
    }
}

/// The plan of a program whose calls are inlined; the facts are the proof that it is well formed.
pub fn plan(program: &Program, _facts: &Facts) -> Plan {
    let mut p = Planner { program, kernels: Vec::new(), numbers: HashMap::default() };
    let entries = program.entries.iter().map(|e| entry(&mut p, e)).collect();
    Plan {
        dims: program.dims.clone(),
        kernels: p.kernels,
        weights: weights(program),
        states: program.states.clone(),
        parts: parts(program),
        entries,
        notes: program.notes.iter().map(|n| n.text.clone()).collect(),
    }
}

/// The stored tensors, each with its place in its store: rows end to end, each from a multiple of 16 on.
fn weights(program: &Program) -> Vec<plan::Weight> {
    let mut ends: HashMap<Store, usize> = HashMap::default();
    let mut offsets = vec![0; program.weights.len()];
    for row in program.layout() {
        for id in row.iter() {
            let w = &program.weights[id.0 as usize];
            let end = ends.entry(store(w)).or_default();
            offsets[id.0 as usize] = *end;
            *end += w.len();
        }
        ends.values_mut().for_each(|end| *end = end.next_multiple_of(16));
    }
    let weight = |((i, w), offset): ((u32, &Weight), usize)| {
        let shape = w.ty.shape.iter().map(|s| s.known().expect("stored tensors are static") as usize).collect();
        let (name, aliases) = (w.name.clone(), w.aliases.clone());
        let unread = program.unread.contains(&WeightId(i));
        plan::Weight { name, aliases, shape, dtype: w.ty.dtype, store: store(w), offset, unread }
    };
    (0..).zip(&program.weights).zip(offsets).map(weight).collect()
}

/// What states keep for single weights, each with its place in the state's store: rows end to end.
fn parts(program: &Program) -> Vec<plan::StatePart> {
    let mut ends: HashMap<u16, usize> = HashMap::default();
    let part = |p: &StatePart| {
        let shape: Vec<usize> =
            p.ty.shape.iter().map(|s| s.known().expect("stored tensors are static") as usize).collect();
        let end = ends.entry(p.state).or_default();
        let offset = if p.first { end.next_multiple_of(16) } else { *end };
        *end = offset + shape.iter().product::<usize>();
        plan::StatePart { state: p.state, weight: p.weight.0, shape, offset }
    };
    program.parts.iter().map(part).collect()
}

/// The store that a weight lives in.
fn store(w: &Weight) -> Store {
    match (w.trained, w.ty.dtype.is_float()) {
        (true, _) => Store::Trained,
        (false, true) => Store::Frozen,
        (false, false) => Store::Ints(crate::fuse::elem_of(w.ty.dtype)),
    }
}

/// Where a parameter or result of an entry is, if it is in a store.
fn stored(program: &Program, role: &Role) -> Option<Place> {
    let of = |row: &[WeightId], grad: bool| {
        let weight = row[0].0;
        let own = store(&program.weights[weight as usize]);
        Place::Weight { store: if grad { Store::Grads } else { own }, weight }
    };
    match role {
        Role::Named(_) | Role::Index(..) | Role::Narrow(..) => None,
        Role::Weight(row) => Some(of(row, false)),
        Role::Grad(row) => Some(of(row, true)),
        Role::Trained => Some(Place::Store(Store::Trained)),
        Role::Grads => Some(Place::Store(Store::Grads)),
        Role::State(k) => Some(Place::Store(Store::State(*k))),
        Role::StateOf(k, row) => Some(Place::Weight { store: Store::State(*k), weight: row[0].0 }),
    }
}

/// Whether an entry goes over all samples of a split at once, and runs once: its sums are as exact as they can be.
fn is_over_all(e: &Entry) -> bool {
    e.name == "statistics" || e.name == "evaluate"
}

fn entry(p: &mut Planner, e: &Entry) -> plan::Entry {
    let program = p.program;
    let f = program.function(e.function);
    let flat = |r: &Role| matches!(r, Role::Trained | Role::Grads | Role::State(_));
    let segments = e.inputs.iter().chain(&e.outputs).any(flat).then(|| Size::from(program.arena() as i64));
    let mut frame = Frame::new(segments, e.name == "init", is_over_all(e));
    let mut inputs = Vec::new();
    let mut binds = Vec::new();
    for (role, param) in e.inputs.iter().zip(&f.params) {
        let place = stored(program, role);
        let b = frame.life.add(buffer(&param.ty, place, &param.name));
        frame.life.touch(b);
        binds.push(Bind::Buffer(b));
        if let Some(port) = port(role, &param.ty, b) {
            let default = e.defaults.iter().find(|(name, _)| *name == port.name).map(|(_, x)| x.clone());
            inputs.push(Port { default, ..port });
        }
    }
    let mut targets = Vec::new();
    for (role, v) in e.outputs.iter().zip(&f.results) {
        let ty = f.ty(*v);
        targets.push(match stored(program, role) {
            Some(place) => Some(frame.life.add(buffer(ty, Some(place), ""))),
            None => None,
        });
    }
    let steps = &mut Vec::new();
    frame.life.step();
    let results = function::emit(p, &mut frame, f, binds, &targets, steps);
    let mut outputs = Vec::new();
    frame.life.step();
    for ((role, v), b) in e.outputs.iter().zip(&f.results).zip(&results) {
        frame.life.touch(*b);
        if let Some(port) = port(role, f.ty(*v), *b) {
            outputs.push(port);
        }
    }
    let guards = e.guards.iter().map(|(h, m)| Guard { holds: h.clone(), message: m.clone() }).collect();
    let steps = std::mem::take(steps);
    plan::Entry { name: e.name.clone(), inputs, outputs, guards, buffers: frame.life.finish(), steps }
}

fn buffer(ty: &Ty, place: Option<Place>, note: &str) -> Buffer {
    let place = place.unwrap_or(Place::Arena { first: u32::MAX, last: 0 });
    Buffer { elem: crate::fuse::elem_of(ty.dtype), len: ty.len(), place, note: note.to_string() }
}

fn port(role: &Role, ty: &Ty, buffer: plan::BufId) -> Option<Port> {
    let (name, limit) = match role {
        Role::Named(name) => (name.clone(), None),
        Role::Index(name, limit) | Role::Narrow(name, limit) => (name.clone(), Some(limit.clone())),
        Role::Weight(_) | Role::Grad(_) | Role::Trained | Role::Grads | Role::State(_) | Role::StateOf(..) => {
            return None;
        }
    };
    let dtype = if matches!(role, Role::Narrow(..)) { DType::I64 } else { ty.dtype };
    Some(Port { name, dtype, shape: ty.shape.clone(), buffer, limit, default: None })
}
