//! Panels as a step: the body's steps once, over pieces of what it is given and gives. Where a panel is only moves the pieces,
//! so that everything else in the body depends on nothing but the number of its rows.

use super::function::{Bind, Body, Frame, emit as emit_function, note};
use super::{Planner, buffer};
use crate::fuse::index::Layout;
use crate::program::{Function, Op, Panels, Ty, Value, View};
use dlc_plan::Size;
use dlc_plan::plan::{self, Buffer, Place, Step};

/// Adds the step of panels.
pub fn emit(body: &mut Body, p: &mut Planner, frame: &mut Frame, node: u32, k: &Panels, steps: &mut Vec<Step>) {
    let mut f = p.program.function(k.body).clone();
    let args = body.cx.f.nodes[node as usize].args.clone();
    let offsets = unslice(&mut f, args.len());
    let mut binds = Vec::new();
    for ((arg, offset), param) in args.iter().zip(&offsets).zip(&f.params) {
        binds.push(match body.cx.host(*arg) {
            Some(h) => Bind::Host(h),
            None => {
                let root = body.cx.root(*arg);
                let of = body.buf(frame, root);
                Bind::Buffer(if offset.is(0) { of } else { frame.life.add(source(k, &param.ty, of, offset)) })
            }
        });
    }
    let wholes: Vec<_> = (0..k.results.len() as u32).map(|port| body.buf(frame, Value { node, port })).collect();
    let tys = &body.cx.f.nodes[node as usize].tys;
    let pieces = wholes.iter().zip(f.result_tys()).zip(tys).zip(&k.results);
    let pieces: Vec<Buffer> = pieces.map(|(((of, piece), whole), lead)| target(k, *of, &piece, whole, lead)).collect();
    let targets: Vec<_> = pieces.iter().map(|b| Some(frame.life.add(b.clone()))).collect();
    let sums = k.sums();
    binds.extend(sums.iter().map(|j| Bind::Buffer(frame.life.add(pieces[*j].clone()))));
    // Whatever the panels are given or give lives as long as they do.
    frame.life.step();
    frame.life.enter();
    let first = frame.life.count();
    for b in binds.iter().filter_map(|b| if let Bind::Buffer(b) = b { Some(*b) } else { None }) {
        frame.life.touch(b);
    }
    for t in targets.iter().flatten() {
        frame.life.touch(*t);
    }
    let mut inner = Vec::new();
    emit_function(p, frame, &f, binds, &targets, &mut inner);
    frame.life.leave();
    frame.life.keep_local(first);
    steps.push(Step::Panels(Box::new(plan::Panels {
        cuts: k.cuts.clone(),
        serial: k.serial.clone(),
        width: k.width.clone(),
        first: k.first,
        zero: sums.iter().map(|j| wholes[*j]).collect(),
        steps: inner,
        note: note(body.cx.f, Value { node, port: 0 }),
    })));
}

/// Lets the slices of the first parameters begin at zero; gives for each parameter what they began at, in elements.
fn unslice(f: &mut Function, params: usize) -> Vec<Size> {
    let mut offsets = vec![Size::zero(); params];
    for i in f.params.len()..f.nodes.len() {
        let slices = |n: &crate::program::Node| matches!(n.op, Op::View(View::Slice { .. }));
        let from = f.nodes[i].args.first().and_then(|a| Some(f.source(*a, slices)?.0));
        let Some(param) = from.filter(|param| *param < params) else { continue };
        let strides = Layout::contiguous(&f.params[param].ty.shape).strides;
        if let Op::View(View::Slice { axis, start, .. }) = &mut f.nodes[i].op {
            offsets[param] = offsets[param].plus(&start.times(&strides[*axis]));
            *start = Size::zero();
        }
    }
    offsets
}

/// A piece that is read: from where the panel begins, as far as there is something wherever that is.
fn source(k: &Panels, ty: &Ty, of: plan::BufId, offset: &Size) -> Buffer {
    let last = |d: u16| match d.checked_sub(k.first + 1).filter(|c| usize::from(*c) < k.cuts.len()) {
        Some(c) => k.cuts[usize::from(c)].minus(&k.piece_extent(c as u8)),
        None => Size::dim(d),
    };
    let len = ty.len().minus(&offset.replace(&last));
    Buffer { len, ..buffer(ty, Some(Place::Piece { of, offset: offset.clone() }), "") }
}

/// A piece of a result.
fn target(k: &Panels, of: plan::BufId, piece: &Ty, whole: &Ty, lead: &[u8]) -> Buffer {
    let strides = Layout::contiguous(&whole.shape).strides;
    let offset = lead.iter().zip(&strides).map(|(c, s)| k.index(*c).times(s));
    let offset = offset.fold(Size::zero(), |sum, s| sum.plus(&s));
    buffer(piece, Some(Place::Piece { of, offset }), "")
}
