//! A loop as a step: its body's steps once, over buffers that differ from iteration to iteration.

use super::function::{Bind, Body, Frame, emit as emit_function};
use super::{Planner, buffer};
use crate::program::{Repeat, Ty, Value};
use dlc_plan::plan::{self, BufId, Buffer, Place, Step};
use dlc_plan::{Host, Size};

/// Adds a loop's steps.
pub fn emit(body: &mut Body, p: &mut Planner, frame: &mut Frame, node: u32, r: &Repeat, steps: &mut Vec<Step>) {
    let depth = frame.life.depth();
    let f = p.program.function(r.body);
    let args = body.cx.f.nodes[node as usize].args.clone();
    let tys: Vec<Ty> = f.params.iter().map(|p| p.ty.clone()).collect();
    let mut binds = Vec::new();
    let mut targets = Vec::new();
    let mut finals = Vec::new();
    let slots = 2;
    for j in 0..r.carried {
        let (init, last) = ends(r, slots);
        let of = carry(body, frame, args[j], &tys[j], slots, init, steps);
        let result = Value { node, port: j as u32 };
        let (now, next) = if r.reverse { (1, 0) } else { (0, 1) };
        binds.push(Bind::Buffer(slot(frame, of, &tys[j], depth, now, slots)));
        targets.push(Some(slot(frame, of, &tys[j], depth, next, slots)));
        finals.extend(last_value(body, frame, result, part(of, &tys[j], last)));
    }
    binds.extend(given(body, frame, r, &args, &tys));
    targets.extend(kept(body, frame, node, r, &f.result_tys()));
    // Whatever the loop is given or gives lives as long as the loop.
    frame.life.step();
    frame.life.enter();
    for b in binds.iter().filter_map(|b| if let Bind::Buffer(b) = b { Some(*b) } else { None }) {
        frame.life.touch(b);
    }
    for t in targets.iter().flatten() {
        frame.life.touch(*t);
    }
    let mut inner = Vec::new();
    emit_function(p, frame, f, binds, &targets, &mut inner);
    frame.life.leave();
    steps.push(Step::Repeat(Box::new(plan::Repeat {
        count: r.count as u32,
        reverse: r.reverse,
        steps: inner,
        note: members(r),
    })));
    for (from, to) in finals {
        frame.life.step();
        frame.life.touch(from);
        frame.life.touch(to);
        steps.push(Step::Copy { from, to });
    }
}

/// What the loop is given besides the carried values: invariants, stacks, rows.
fn given(body: &mut Body, frame: &mut Frame, r: &Repeat, args: &[Value], tys: &[Ty]) -> Vec<Bind> {
    let depth = frame.life.depth();
    let mut binds = Vec::new();
    for a in &args[r.carried..r.carried + r.invariant] {
        binds.push(bind(body, frame, *a));
    }
    let (from, to) = (r.carried + r.invariant, r.carried + r.invariant + r.stacks);
    for (a, ty) in args[from..to].iter().zip(&tys[from..to]) {
        if let Some(all) = body.cx.table(*a) {
            binds.push(slice_of_table(&all, r.count, ty, depth));
            continue;
        }
        let of = memory(body, frame, *a);
        binds.push(Bind::Buffer(slot(frame, of, ty, depth, 0, r.count as u32)));
    }
    for (s, ty) in tys[to..].iter().enumerate() {
        let cells = &args[to + s * r.count..to + (s + 1) * r.count];
        binds.push(row(body, frame, cells, ty, depth));
    }
    binds
}

/// Where the loop puts what it gives besides the carried values: stacks, rows.
fn kept(body: &mut Body, frame: &mut Frame, node: u32, r: &Repeat, results: &[Ty]) -> Vec<Option<BufId>> {
    let depth = frame.life.depth();
    let mut targets = Vec::new();
    for k in 0..r.stacked {
        let result = Value { node, port: (r.carried + k) as u32 };
        let of = body.buf(frame, result);
        targets.push(Some(slot(frame, of, &results[r.carried + k], depth, 0, r.count as u32)));
    }
    for k in 0..r.row_results {
        let ty = &results[r.carried + r.stacked + k];
        let first = (r.carried + r.stacked + k * r.count) as u32;
        let cells: Vec<BufId> = (0..r.count as u32).map(|i| body.buf(frame, Value { node, port: first + i })).collect();
        targets.push(Some(frame.life.add(buffer(ty, Some(Place::Row { depth, cells }), ""))));
    }
    targets
}

/// The slots of a carried value that hold its first and its last value. Iteration i reads slot i and writes slot i + 1;
/// a loop that counts down reads slot i + 1 and writes slot i.
fn ends(r: &Repeat, slots: u32) -> (u32, u32) {
    let last = r.count as u32 % slots;
    if r.reverse { (last, 0) } else { (0, last) }
}

/// The buffer of a carried value, its first value copied in.
fn carry(
    body: &mut Body,
    frame: &mut Frame,
    init: Value,
    ty: &Ty,
    slots: u32,
    at: u32,
    steps: &mut Vec<Step>,
) -> BufId {
    let whole = Buffer { len: ty.len().times(&Size::from(i64::from(slots))), ..buffer(ty, None, "carried") };
    let of = frame.life.add(whole);
    let to = frame.life.add(part(of, ty, at));
    let from = memory(body, frame, init);
    frame.life.step();
    frame.life.touch(from);
    frame.life.touch(to);
    steps.push(Step::Copy { from, to });
    of
}

/// The last value of something carried: its slot, or the place it is wanted at, which it is copied to after the loop.
fn last_value(body: &mut Body, frame: &mut Frame, result: Value, place: Buffer) -> Option<(BufId, BufId)> {
    let last = frame.life.add(place);
    match body.at.get(&result).copied() {
        None => {
            body.at.insert(result, last);
            None
        }
        Some(target) => Some((last, target)),
    }
}

fn part(of: BufId, ty: &Ty, at: u32) -> Buffer {
    let offset = ty.len().times(&Size::from(i64::from(at)));
    buffer(ty, Some(Place::Part { of, offset }), "")
}

fn slot(frame: &mut Frame, of: BufId, ty: &Ty, depth: u8, ahead: u32, slots: u32) -> BufId {
    frame.life.add(buffer(ty, Some(Place::Slot { of, stride: ty.len(), depth, ahead, slots }), ""))
}

/// The buffer of an argument.
fn memory(body: &mut Body, frame: &mut Frame, v: Value) -> BufId {
    let root = body.cx.root(v);
    body.buf(frame, root)
}

fn bind(body: &mut Body, frame: &mut Frame, v: Value) -> Bind {
    match (body.cx.host(v), body.cx.table(v)) {
        (Some(h), _) => Bind::Host(h),
        (None, Some(all)) => Bind::Table(all),
        (None, None) => Bind::Buffer(memory(body, frame, v)),
    }
}

/// The slice of a table that an iteration is given.
fn slice_of_table(all: &[Host], count: usize, ty: &Ty, depth: u8) -> Bind {
    let len = all.len() / count;
    let element = |k: usize| Host::Row(depth, all.iter().skip(k).step_by(len).cloned().collect());
    match ty.rank() {
        0 => Bind::Host(element(0)),
        _ => Bind::Table((0..len).map(element).collect()),
    }
}

/// One value for each iteration.
fn row(body: &mut Body, frame: &mut Frame, cells: &[Value], ty: &Ty, depth: u8) -> Bind {
    let hosts: Option<Vec<Host>> = cells.iter().map(|v| body.cx.host(*v)).collect();
    if let Some(hosts) = hosts {
        return Bind::Host(Host::Row(depth, hosts));
    }
    let cells: Vec<BufId> = cells.iter().map(|v| memory(body, frame, *v)).collect();
    Bind::Buffer(frame.life.add(buffer(ty, Some(Place::Row { depth, cells }), "")))
}

/// The member paths of the iterations, for people: `layers.0 .. layers.11`.
fn members(r: &Repeat) -> String {
    match &r.members[..] {
        [] => String::new(),
        [one] => one.to_string(),
        [first, .., last] => format!("{first} .. {last}"),
    }
}
