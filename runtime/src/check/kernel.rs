//! Checks that a kernel names only what it has: buffers, scalars, extents, folds, axes.

use super::{Checked, MOST_TERMS, ensure};
use dlc_plan::kernel::{Access, Affine, Axis, Bits, Ext, Fold, Kernel, Kind, Op, Over, Phase};
use std::collections::HashSet;

pub fn check_kernel(k: &Kernel) -> Checked {
    ensure!(k.rows.len() <= 256 && k.cols.len() <= 256, "more than 256 axes");
    k.rows.iter().chain(&k.cols).try_for_each(|e| ext(k, *e))?;
    ensure!(!k.uniforms.iter().any(|kind| matches!(kind, Kind::Mask | Kind::I64)), "a scalar of no 32 bits");
    k.setup.iter().try_for_each(|d| op(k, &d.op))?;
    let mut taken = vec![false; usize::from(k.folds)];
    for p in &k.phases {
        phase(k, p, &mut taken)?;
    }
    match taken.iter().position(|t| !t) {
        Some(slot) => Err(format!("no fold goes into slot {slot}")),
        None => Ok(()),
    }
}

/// The fold that goes into a slot of the call.
pub fn fold_of(k: &Kernel, slot: usize) -> Option<&Fold> {
    k.phases.iter().flat_map(|p| &p.folds).find(|f| match f.over {
        Over::Cols(_) => false,
        Over::Rows(s) | Over::All(s) => usize::from(s) == slot,
    })
}

fn phase(k: &Kernel, p: &Phase, taken: &mut [bool]) -> Checked {
    ensure!(!p.sweep || !k.cols.is_empty(), "a sweep over no columns");
    p.defs.iter().try_for_each(|d| op(k, &d.op))?;
    for s in &p.stores {
        access(k, &s.to)?;
        ensure!(s.to.base.is_none() && s.to.bounds.is_empty(), "a store with a base or with bounds");
        ensure!(k.bufs[usize::from(s.to.buf)].written, "a store to buffer {}, which is not written", s.to.buf);
    }
    for f in &p.folds {
        ensure!(f.kind != Kind::Mask, "a fold of masks");
        let slot = match f.over {
            Over::Cols(_) => {
                ensure!(p.sweep, "a fold over columns in a row phase");
                continue;
            }
            Over::Rows(slot) => {
                ensure!(p.sweep, "a fold over rows in a row phase");
                slot
            }
            Over::All(slot) => {
                ensure!(!p.sweep, "a fold over all in a sweep");
                slot
            }
        };
        let free = taken.get(usize::from(slot)).copied();
        ensure!(free == Some(false), "slot {slot} of {} is not there or taken", k.folds);
        taken[usize::from(slot)] = true;
    }
    Ok(())
}

fn op(k: &Kernel, op: &Op) -> Checked {
    match op {
        Op::Float(_) | Op::Int(_) => Ok(()),
        Op::Uniform(i) => {
            ensure!(usize::from(*i) < k.uniforms.len(), "scalar {i} of {}", k.uniforms.len());
            Ok(())
        }
        Op::Index(axis) => check_axis(k, *axis),
        Op::Load(a) => access(k, a),
        Op::Instr(instr, args) => {
            let (operands, _) = instr.signature();
            ensure!(operands.len() == args.len(), "{instr:?} of {} operands", args.len());
            Ok(())
        }
        Op::Bits(Bits { row, col, .. }) => affine(k, row).and_then(|()| affine(k, col)),
    }
}

fn access(k: &Kernel, a: &Access) -> Checked {
    ensure!(usize::from(a.buf) < k.bufs.len(), "buffer {} of {}", a.buf, k.bufs.len());
    affine(k, &a.at)?;
    if let Some((_, factor)) = a.base {
        ext(k, factor)?;
    }
    let axes = a.bounds.iter().map(|b| &b.index).chain([&a.at]).flat_map(|affine| &affine.terms);
    let axes: HashSet<Axis> = axes.map(|(axis, _)| *axis).collect();
    ensure!(axes.len() <= MOST_TERMS, "an access along {} axes", axes.len());
    a.bounds.iter().try_for_each(|b| affine(k, &b.index).and_then(|()| ext(k, b.extent)))
}

fn affine(k: &Kernel, a: &Affine) -> Checked {
    ext(k, a.offset)?;
    for (i, (axis, _)) in a.terms.iter().enumerate() {
        ensure!(a.terms[..i].iter().all(|(other, _)| other != axis), "{axis:?} is in an index twice");
    }
    a.terms.iter().try_for_each(|&(axis, factor)| check_axis(k, axis).and_then(|()| ext(k, factor)))
}

fn check_axis(k: &Kernel, axis: Axis) -> Checked {
    let (place, axes) = match axis {
        Axis::Row(i) => (usize::from(i), k.rows.len()),
        Axis::Col(i) => (usize::from(i), k.cols.len()),
    };
    ensure!(place < axes, "{axis:?} of {axes}");
    Ok(())
}

fn ext(k: &Kernel, e: Ext) -> Checked {
    match e {
        Ext::Const(_) => Ok(()),
        Ext::Arg(i) => {
            ensure!(i < k.exts, "extent {i} of {}", k.exts);
            Ok(())
        }
    }
}
