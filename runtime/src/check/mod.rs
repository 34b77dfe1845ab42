//! Checks a plan once, before anything is run by it. Takes a plan; gives nothing, or an error that says where the plan
//! contradicts itself. What runs afterwards indexes by the plan's numbers without asking again; what depends on the sizes
//! is checked when they are known.

mod kernel;
mod place;
mod step;

use crate::error::Error;
use dlc_plan::kernel::Elem;
use dlc_plan::plan::{Entry, Panels, Place, StatePart, Step, Store, Weight};
use dlc_plan::{Atom, DType, Host, Plan, Size};
use kernel::check_kernel;
pub use kernel::fold_of;
pub use place::MOST_LOOPS;
use std::collections::HashSet;
use std::ops::Deref;
use std::sync::Arc;
use step::Steps;

/// An access or a store goes along no more axes than this.
pub const MOST_TERMS: usize = 128;

/// The result of a check: why the plan is refused.
type Checked = Result<(), String>;

/// Fails with a formatted text unless a condition holds.
macro_rules! ensure {
    ($holds:expr, $($text:tt)*) => {
        if !$holds {
            return Err(format!($($text)*));
        }
    };
}
use ensure;

/// A plan that was checked not to contradict itself, and that nobody can change any more.
#[derive(Clone, Debug)]
pub struct ValidPlan(Arc<Plan>);

impl ValidPlan {
    /// Checks everything that does not depend on the sizes.
    ///
    /// # Errors
    /// When the plan contradicts itself.
    pub fn new(plan: impl Into<Arc<Plan>>) -> Result<ValidPlan, Error> {
        let plan = plan.into();
        check_all(&plan).map_err(Error::Plan)?;
        Ok(ValidPlan(plan))
    }

    /// The plan, to be read.
    pub fn share(self) -> Arc<Plan> {
        self.0
    }
}

impl Deref for ValidPlan {
    type Target = Plan;

    fn deref(&self) -> &Plan {
        &self.0
    }
}

fn check_all(plan: &Plan) -> Checked {
    for (i, k) in plan.kernels.iter().enumerate() {
        check_kernel(k).map_err(|e| format!("kernel {i}: {e}"))?;
    }
    check_weights(plan)?;
    check_parts(plan)?;
    for e in &plan.entries {
        check_entry(plan, e).map_err(|text| format!("entry `{}`: {text}", e.name))?;
    }
    Ok(())
}

/// Names are unique, stores are those of weights, and no two weights share an element.
fn check_weights(plan: &Plan) -> Checked {
    let mut names = HashSet::new();
    for name in plan.weights.iter().flat_map(|w| w.aliases.iter().chain([&w.name])) {
        ensure!(names.insert(name), "two weights are called `{name}`");
    }
    for w in &plan.weights {
        let own = matches!(w.store, Store::Trained | Store::Frozen | Store::Ints(_));
        ensure!(own, "`{}` is declared in {:?}, which belongs to other weights", w.name, w.store);
        let kept = if w.dtype.is_float() {
            !matches!(w.store, Store::Ints(_))
        } else {
            w.store == Store::Ints(Elem::of(w.dtype))
        };
        ensure!(kept, "`{}` of {} is in {:?}", w.name, w.dtype, w.store);
        let len = w.shape.iter().try_fold(1_usize, |n, &s| n.checked_mul(s));
        let end = len.and_then(|len| w.offset.checked_add(len)).filter(|end| *end <= isize::MAX as usize / 8);
        ensure!(end.is_some(), "`{}` has more elements than can be counted", w.name);
    }
    let mut sorted: Vec<&Weight> = plan.weights.iter().filter(|w| !w.is_empty()).collect();
    sorted.sort_by_key(|w| (w.store, w.offset, w.len()));
    let mut end = None;
    for w in sorted {
        if let Some((before, end)) = end.filter(|(before, _): &(&Weight, usize)| before.store == w.store) {
            ensure!(end <= w.offset, "`{}` and `{}` overlap", before.name, w.name);
        }
        let follows = end.is_some_and(|(before, end)| before.store == w.store && end == w.offset);
        let fits = follows || w.offset.is_multiple_of(16);
        ensure!(fits, "`{}` begins at element {}, no multiple of 16", w.name, w.offset);
        end = Some((w, w.offset + w.len()));
    }
    Ok(())
}

/// Parts are of states and of trained weights, and no two share an element.
fn check_parts(plan: &Plan) -> Checked {
    let mut seen = HashSet::new();
    for p in &plan.parts {
        ensure!(usize::from(p.state) < plan.states.len(), "there is no state {}", p.state);
        let w = plan.weights.get(p.weight as usize).ok_or_else(|| format!("there is no weight {}", p.weight))?;
        let name = &w.name;
        ensure!(w.store == Store::Trained, "state {} is of `{name}`, which is not trained", p.state);
        ensure!(seen.insert((p.state, p.weight)), "state {} is twice of `{name}`", p.state);
        let len = p.shape.iter().try_fold(1_usize, |n, &s| n.checked_mul(s));
        let end = len.and_then(|len| p.offset.checked_add(len)).filter(|end| *end <= isize::MAX as usize / 8);
        ensure!(end.is_some(), "state {} of `{name}` has more elements than can be counted", p.state);
    }
    let mut sorted: Vec<&StatePart> = plan.parts.iter().filter(|p| !p.is_empty()).collect();
    sorted.sort_by_key(|p| (p.state, p.offset));
    for (a, b) in sorted.iter().zip(sorted.iter().skip(1)).filter(|(a, b)| a.state == b.state) {
        ensure!(a.offset + a.len() <= b.offset, "state {} keeps two weights in one place", a.state);
    }
    Ok(())
}

fn check_entry(plan: &Plan, entry: &Entry) -> Checked {
    let bound = bound_dims(entry);
    let sizes = Sizes { plan, bound: &bound, panels: panel_sizes(&entry.steps), inside: None };
    place::check_places(plan, entry, &sizes)?;
    for guard in &entry.guards {
        sizes.host(&guard.holds, &[], None).map_err(|e| format!("guard `{}`: {e}", guard.message))?;
    }
    for (what, ports) in [("input", &entry.inputs), ("output", &entry.outputs)] {
        for port in ports {
            let place = || format!("{what} `{}`", port.name);
            let buffer = entry.buffers.get(port.buffer as usize).ok_or_else(|| format!("{} has no buffer", place()))?;
            let outside = !matches!(buffer.place, Place::Local { .. } | Place::Piece { .. });
            ensure!(outside, "{} is in buffer {}, which is there in panels alone", place(), port.buffer);
            // What is known to fit 32 bits may be kept so.
            let narrow = port.dtype == DType::I64 && buffer.elem == Elem::I32;
            let fits = narrow || buffer.elem == Elem::of(port.dtype);
            ensure!(fits, "{} of {} is in {:?}", place(), port.dtype, buffer.elem);
            for size in port.shape.iter().chain(port.limit.iter().map(|bound| &bound.below)) {
                sizes.size(size).map_err(|e| format!("{}: {e}", place()))?;
            }
        }
    }
    let names: HashSet<&String> = entry.inputs.iter().map(|p| &p.name).collect();
    ensure!(names.len() == entry.inputs.len(), "two inputs have the same name");
    Steps::new(plan, entry, sizes).check()
}

/// The dynamic sizes that an input gives.
fn bound_dims(entry: &Entry) -> HashSet<u16> {
    entry.inputs.iter().flat_map(|p| &p.shape).filter_map(single_dim).collect()
}

/// The number of the dynamic size that this is, if it is one and nothing else.
pub fn single_dim(size: &Size) -> Option<u16> {
    let [term] = size.terms() else { return None };
    if let ([Atom::Dim(dim)], 1) = (term.atoms.as_slice(), term.factor) { Some(*dim) } else { None }
}

/// The sizes that panels give: the first one's number, and the one after the last.
fn panel_sizes(steps: &[Step]) -> Option<(u16, u16)> {
    let of = |s: &Step| match s {
        Step::Panels(k) => Some((k.first, k.first.saturating_add(k.cuts.len() as u16).saturating_add(1))),
        Step::Repeat(r) => panel_sizes(&r.steps),
        Step::Kernel(_) | Step::Gemm(_) => None,
        Step::Copy { .. } | Step::Scatter { .. } | Step::Rows { .. } => None,
    };
    steps.iter().filter_map(of).reduce(|a, b| (a.0.min(b.0), a.1.max(b.1)))
}

/// Checks sizes and host numbers of one entry.
#[derive(Clone, Copy)]
struct Sizes<'a> {
    plan: &'a Plan,
    bound: &'a HashSet<u16>,
    /// The sizes that panels give.
    panels: Option<(u16, u16)>,
    /// The number of the size that is the rows of the panel, where these are in panels.
    inside: Option<u16>,
}

impl Sizes<'_> {
    /// Panels give sizes that exist and that no input gives.
    fn panel(&self, k: &Panels) -> Checked {
        let own = k.first..=k.first.saturating_add(k.cuts.len() as u16);
        ensure!(usize::from(*own.end()) < self.plan.dims.len(), "panels give sizes that are not there");
        ensure!(!self.bound.iter().any(|d| own.contains(d)), "an input gives a size of panels");
        Ok(())
    }

    /// Every dynamic size in it is given by an input, or is the number of rows of panels.
    fn rows(&self, size: &Size) -> Checked {
        Sizes { inside: self.panels.map(|p| p.0), ..*self }.size(size)
    }

    /// Every dynamic size in it is given by an input or by panels.
    fn place(&self, size: &Size) -> Checked {
        let of_panels = |d: u16| self.panels.is_some_and(|(first, end)| (first..end).contains(&d));
        let others = size.replace(&|d| if of_panels(d) { Size::zero() } else { Size::dim(d) });
        self.size(&others)
    }

    /// Every dynamic size in it is given by an input; or it is the number of rows, in panels.
    fn size(&self, size: &Size) -> Checked {
        for d in size.dims().into_iter().filter(|d| self.inside != Some(*d)) {
            let name = self.plan.dims.get(d as usize).ok_or_else(|| format!("there is no dynamic size {d}"))?;
            ensure!(self.bound.contains(&d), "no input gives the dynamic size `{name}`");
        }
        Ok(())
    }

    /// Rows belong to loops around it, which have the `counts`, outermost first; there are as many segments as told.
    fn host(&self, host: &Host, counts: &[u32], segments: Option<usize>) -> Checked {
        let cells = match host {
            Host::Const(_) | Host::Var(_) => return Ok(()),
            Host::Size(size) if self.inside.is_some() => return self.place(size),
            Host::Size(size) => return self.size(size),
            Host::Prim(p, args) => {
                ensure!(args.len() == p.row().arity, "{p:?} of {} numbers", args.len());
                args
            }
            Host::Row(depth, cells) => {
                let count =
                    counts.get(*depth as usize).ok_or_else(|| format!("a row of loop {depth}, which is not there"))?;
                ensure!(cells.len() >= *count as usize, "{} cells for {count} iterations", cells.len());
                cells
            }
            Host::Segment(cells) => {
                ensure!(Some(cells.len()) == segments, "{} cells for segments {segments:?}", cells.len());
                cells
            }
        };
        cells.iter().try_for_each(|cell| self.host(cell, counts, segments))
    }
}
