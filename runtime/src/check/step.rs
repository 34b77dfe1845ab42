//! Checks the steps of an entry: that they name what is there, that buffers have the types that are asked for, and that
//! calls give a kernel as much as it takes.

use super::kernel::fold_of;
use super::place::{Around, MOST_LOOPS, Needed};
use super::{Checked, Sizes, ensure};
use dlc_plan::kernel::{Elem, Kind, Over};
use dlc_plan::plan::{BufId, Call, Entry, FoldTo, Gemm, Matrix, Panels, Place, Repeat, RowOp, Step, Store};
use dlc_plan::{Plan, Size};

/// Counts steps as they are numbered: a loop itself, then those of its body.
fn count(steps: &[Step]) -> u32 {
    let of = |s: &Step| match s {
        Step::Kernel(_) | Step::Gemm(_) | Step::Copy { .. } | Step::Scatter { .. } | Step::Rows { .. } => 1,
        Step::Repeat(r) => count(&r.steps).saturating_add(1),
        Step::Panels(k) => count(&k.steps).saturating_add(1),
    };
    steps.iter().map(of).fold(0, u32::saturating_add)
}

pub struct Steps<'a> {
    plan: &'a Plan,
    entry: &'a Entry,
    sizes: Sizes<'a>,
    segments: usize,
    needed: Needed<'a>,
    /// The number of the step being checked; inputs are filled at 0, and the first step is 1.
    now: u32,
    loops: Vec<Around>,
}

impl<'a> Steps<'a> {
    pub fn new(plan: &'a Plan, entry: &'a Entry, sizes: Sizes<'a>) -> Steps<'a> {
        let segments = plan.weights.iter().filter(|w| w.store == Store::Trained).count();
        let needed = Needed::new(entry);
        Steps { plan, entry, sizes, segments, needed, now: 0, loops: Vec::new() }
    }

    pub fn check(mut self) -> Checked {
        self.entry.inputs.iter().try_for_each(|port| self.needed.note(port.buffer, 0, &[]))?;
        self.now = 1;
        self.steps(&self.entry.steps)?;
        self.entry.outputs.iter().try_for_each(|port| self.needed.note(port.buffer, self.now, &[]))?;
        self.needed.check()
    }

    fn steps(&mut self, steps: &[Step]) -> Checked {
        for step in steps {
            let number = self.now;
            self.step(step).map_err(|e| if e.starts_with("step") { e } else { format!("step {number}: {e}") })?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step) -> Checked {
        match step {
            Step::Kernel(call) => self.call(call)?,
            Step::Gemm(gemm) => self.gemm(gemm)?,
            Step::Copy { from, to } => {
                let elem = self.elem(*from)?;
                self.expect(*to, elem)?;
            }
            Step::Scatter { ids, count, from, to, rows, width } => {
                self.expect(*ids, Elem::I32)?;
                let elem = self.elem(*from)?;
                ensure!(elem != Elem::U8, "a scatter of bytes");
                self.expect(*to, elem)?;
                self.all_sizes([count, rows, width])?;
            }
            Step::Rows { op, from, to, rows, len, keep } => {
                let elem = self.elem(*from)?;
                ensure!(from != to, "rows of buffer {from} are put where they come from");
                match op {
                    RowOp::Order { .. } => self.expect(*to, Elem::I32)?,
                    RowOp::RunningSum => {
                        ensure!(elem != Elem::U8 && len == keep, "running sums of bytes, or of rows that are cut");
                        self.expect(*to, elem)?;
                    }
                }
                self.all_sizes([rows, len, keep])?;
            }
            Step::Repeat(repeat) => return self.repeat(repeat),
            Step::Panels(panels) => return self.panels(panels),
        }
        self.now += 1;
        Ok(())
    }

    fn panels(&mut self, k: &Panels) -> Checked {
        ensure!(self.sizes.inside.is_none(), "panels in panels");
        ensure!(self.loops.len() < MOST_LOOPS, "loops nest deeper than {MOST_LOOPS}");
        ensure!(!k.cuts.is_empty() && k.cuts.len() == k.serial.len(), "{} cuts", k.cuts.len());
        let held = k.steps.iter().any(|s| matches!(s, Step::Repeat(_) | Step::Panels(_)));
        ensure!(!held, "panels hold a loop");
        self.all_sizes(k.cuts.iter().chain([&k.width]))?;
        self.sizes.panel(k)?;
        let (own, end) = (self.now, self.now.saturating_add(count(&k.steps)));
        for &b in &k.zero {
            self.elem(b)?;
        }
        self.loops.push(Around { own, end, count: 1 });
        self.sizes.inside = Some(k.first);
        self.now += 1;
        self.steps(&k.steps)?;
        self.sizes.inside = None;
        self.loops.pop();
        Ok(())
    }

    fn repeat(&mut self, repeat: &Repeat) -> Checked {
        ensure!(self.sizes.inside.is_none(), "a loop in panels");
        ensure!(self.loops.len() < MOST_LOOPS, "loops nest deeper than {MOST_LOOPS}");
        let own = self.now;
        let end = own.saturating_add(count(&repeat.steps));
        self.loops.push(Around { own, end, count: repeat.count });
        self.now += 1;
        self.steps(&repeat.steps)?;
        self.loops.pop();
        Ok(())
    }

    fn all_sizes<'s>(&self, sizes: impl IntoIterator<Item = &'s Size>) -> Checked {
        sizes.into_iter().try_for_each(|s| self.sizes.size(s))
    }

    /// The type of a buffer that may be used by this step.
    fn elem(&mut self, id: BufId) -> Result<Elem, String> {
        let place = self.entry.buffers.get(id as usize).map(|b| &b.place);
        let of_panels = matches!(place, Some(Place::Local { .. } | Place::Piece { .. }));
        ensure!(!of_panels || self.sizes.inside.is_some(), "buffer {id} is used outside of panels");
        self.needed.note(id, self.now, &self.loops)?;
        Ok(self.entry.buffers[id as usize].elem)
    }

    fn expect(&mut self, id: BufId, elem: Elem) -> Checked {
        let found = self.elem(id)?;
        ensure!(found == elem, "buffer {id} is {found:?}, expected {elem:?}");
        Ok(())
    }

    fn gemm(&mut self, gemm: &Gemm) -> Checked {
        ensure!(!gemm.terms.is_empty(), "a sum of no products");
        self.all_sizes([&gemm.m, &gemm.n].into_iter().chain(&gemm.batch))?;
        self.matrix(&gemm.c, gemm.batch.len())?;
        ensure!(gemm.c.rows.is_empty() && gemm.c.cols.is_empty(), "the result of a product has axes within its rows");
        for t in &gemm.terms {
            self.sizes.size(&t.k)?;
            self.matrix(&t.a, gemm.batch.len())?;
            self.matrix(&t.b, gemm.batch.len())?;
        }
        match &gemm.then {
            None => Ok(()),
            Some(call) => {
                ensure!(!call.segments, "what follows a product does not go over segments");
                self.call(call)
            }
        }
    }

    fn matrix(&mut self, m: &Matrix, batch: usize) -> Checked {
        self.expect(m.buf, Elem::F32)?;
        ensure!(m.batch.len() == batch, "{} batch strides for {batch} batch axes", m.batch.len());
        let inner = m.rows.iter().chain(&m.cols).flat_map(|(extent, stride)| [extent, stride]);
        self.all_sizes([&m.offset, &m.row, &m.col].into_iter().chain(&m.batch).chain(inner))
    }

    fn call(&mut self, call: &Call) -> Checked {
        let kernel = self.plan.kernels.get(call.kernel as usize);
        let kernel = kernel.ok_or_else(|| format!("there is no kernel {}", call.kernel))?;
        let fits = |what: &str, found: usize, expected: usize| {
            ensure!(found == expected, "kernel {} takes {expected} {what}, not {found}", call.kernel);
            Ok(())
        };
        fits("buffers", call.bufs.len(), kernel.bufs.len())?;
        fits("scalars", call.uniforms.len(), kernel.uniforms.len())?;
        fits("folds", call.folds.len(), usize::from(kernel.folds))?;
        if call.segments {
            fits("extents", 1, usize::from(kernel.exts))?;
        } else {
            fits("extents", call.exts.len(), usize::from(kernel.exts))?;
        }
        for (&id, ty) in call.bufs.iter().zip(&kernel.bufs) {
            self.expect(id, ty.elem)?;
        }
        let counts: Vec<u32> = self.loops.iter().map(|l| l.count).collect();
        let segments = call.segments.then_some(self.segments);
        for ((kind, host), expected) in call.uniforms.iter().zip(&kernel.uniforms) {
            ensure!(kind == expected, "a scalar is {kind:?}, expected {expected:?}");
            self.sizes.host(host, &counts, segments)?;
        }
        self.all_sizes(call.exts.iter().chain([&call.rows]))?;
        for (slot, to) in call.folds.iter().enumerate() {
            let fold = fold_of(kernel, slot).ok_or_else(|| format!("no fold goes into slot {slot}"))?;
            ensure!(fold.op == to.op && fold.kind == to.kind, "slot {slot} is joined otherwise than it is folded");
            let all = matches!(fold.over, Over::All(_));
            ensure!(all || !call.segments, "a fold over the rows of segments");
            ensure!(!all || to.len.is(1), "a fold over all has one result");
            self.fold(to)?;
        }
        Ok(())
    }

    fn fold(&mut self, to: &FoldTo) -> Checked {
        let elem = match to.kind {
            Kind::F32 => Elem::F32,
            Kind::I32 => Elem::I32,
            Kind::I64 => Elem::I64,
            Kind::Mask => return Err("a fold of masks".into()),
        };
        self.expect(to.partial, elem)?;
        self.expect(to.to, elem)?;
        self.sizes.size(&to.len)
    }
}
