//! Checks that a kernel names only what it has: buffers, scalars, extents, folds, axes; and that each value is defined once,
//! before it is used, and of the kind that its users take.

use super::{Checked, MOST_TERMS, ensure};
use dlc_plan::kernel::{Access, Affine, Axis, Bits, Def, Ext, Fold, Instr, Kernel, Kind, Op, Over, Phase, Val};
use std::collections::{HashMap, HashSet};

/// Numbers of values are below this.
const MOST_VALUES: Val = 1 << 24;

pub fn check_kernel(k: &Kernel) -> Checked {
    ensure!(k.rows.len() <= 256 && k.cols.len() <= 256, "more than 256 axes");
    k.rows.iter().chain(&k.cols).try_for_each(|e| ext(k, *e))?;
    ensure!(!k.uniforms.iter().any(|kind| matches!(kind, Kind::Mask | Kind::I64)), "a scalar of no 32 bits");
    ensure!(k.run.is_power_of_two(), "runs of {}", k.run);
    // Of a kernel in Rust a plan says only which folds it has.
    let outlined = k.setup.is_empty() && k.phases.iter().all(|p| p.defs.is_empty() && p.stores.is_empty());
    let mut values = Values::default();
    for d in &k.setup {
        op(k, &d.op)?;
        values.define(k, d, Region::Setup)?;
    }
    let mut taken = vec![false; usize::from(k.folds)];
    for p in &k.phases {
        phase(k, p, &mut taken)?;
        if !outlined {
            values.phase(k, p)?;
        }
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

/// Where a value is computed: once a call, once a row, or once a column.
#[derive(Clone, Copy, PartialEq)]
enum Region {
    Setup,
    Row,
    Sweep,
}

/// The values that are defined so far.
#[derive(Default)]
struct Values {
    /// The kinds of all that can be seen.
    seen: HashMap<Val, Kind>,
    /// All that were ever defined.
    all: HashSet<Val>,
    /// The lanes of the sweep that is being checked.
    lanes: Vec<Val>,
}

impl Values {
    /// The values of a phase, its stores and its folds.
    fn phase(&mut self, k: &Kernel, p: &Phase) -> Checked {
        let region = if p.sweep { Region::Sweep } else { Region::Row };
        p.defs.iter().try_for_each(|d| self.define(k, d, region))?;
        for s in &p.stores {
            self.is(s.value, k.bufs[usize::from(s.to.buf)].elem.kind())?;
            axes(&s.to.at, region)?;
        }
        p.folds.iter().try_for_each(|f| self.is(f.value, f.kind))?;
        for lane in self.lanes.drain(..) {
            self.seen.remove(&lane);
        }
        p.folds.iter().try_for_each(|f| match f.over {
            Over::Cols(val) => self.add(val, f.kind),
            Over::Rows(_) | Over::All(_) => Ok(()),
        })
    }

    /// A value can be seen, and is of this kind.
    fn is(&self, val: Val, kind: Kind) -> Checked {
        let found = self.seen.get(&val).ok_or_else(|| format!("value {val} is used where it is not defined"))?;
        ensure!(*found == kind, "value {val} is {found:?}, expected {kind:?}");
        Ok(())
    }

    fn add(&mut self, val: Val, kind: Kind) -> Checked {
        ensure!(val < MOST_VALUES, "a value with the number {val}");
        ensure!(self.all.insert(val), "value {val} is defined twice");
        self.seen.insert(val, kind);
        Ok(())
    }

    /// A definition whose operation names only what is there.
    fn define(&mut self, k: &Kernel, d: &Def, region: Region) -> Checked {
        let kind = match &d.op {
            Op::Float(_) => Kind::F32,
            Op::Int(_) => Kind::I32,
            Op::Uniform(i) => k.uniforms[usize::from(*i)],
            Op::Index(axis) => {
                sees(*axis, region)?;
                Kind::I32
            }
            Op::Load(access) => {
                if let Some((base, _)) = access.base {
                    self.is(base, Kind::I32)?;
                }
                axes(&access.at, region)?;
                access.bounds.iter().try_for_each(|bound| axes(&bound.index, region))?;
                k.bufs[usize::from(access.buf)].elem.kind()
            }
            Op::Instr(instr, args) => {
                if let Instr::IShl(by) | Instr::IShr(by) | Instr::ISar(by) = instr {
                    ensure!(*by < 32, "a shift by {by}");
                }
                let (operands, result) = instr.signature();
                args.iter().zip(operands).try_for_each(|(arg, kind)| self.is(*arg, *kind))?;
                result
            }
            Op::Bits(Bits { seed: [low, high], site, step, first, row, col }) => {
                [low, high, site, step, first].into_iter().try_for_each(|val| self.is(*val, Kind::I32))?;
                axes(row, region)?;
                axes(col, region)?;
                Kind::I32
            }
        };
        ensure!(d.kind == kind, "value {} is said to be {:?} and is {kind:?}", d.val, d.kind);
        self.add(d.val, kind)?;
        if region == Region::Sweep {
            self.lanes.push(d.val);
        }
        Ok(())
    }
}

/// An index goes along axes that have an index where it is computed.
fn axes(a: &Affine, region: Region) -> Checked {
    a.terms.iter().try_for_each(|(axis, _)| sees(*axis, region))
}

fn sees(axis: Axis, region: Region) -> Checked {
    let there = match axis {
        Axis::Row(_) => region != Region::Setup,
        Axis::Col(_) => region == Region::Sweep,
    };
    ensure!(there, "{axis:?} has no index there");
    Ok(())
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
