//! An update that goes from weight to weight, for an optimizer whose text looks at a weight as a whole: norms, means over
//! rows and columns, products, states with a shape of their own. Takes what an update is made of; gives the entry `update`.
//!
//! Weights of one shape for which groups say the same share one function. Those of them that lie end to end, as a loop's
//! weights do, go through it in one loop, so that the entry does not grow with the depth of a model.

use super::groups::{Overrides, said_of};
use super::share::OVER;
use super::train::Train;
use super::update::{First, Update, applied, first_values, foreign};
use crate::check::{Checker, Ctor, EntryFn, Val};
use crate::program::build::Builder;
use crate::program::verify::callees;
use crate::program::{Entry, FnId, Op, Program, Repeat, Role, StatePart, Ty, Value, WeightId};
use dlc_grammar::{Diagnostic, Span};
use dlc_plan::{DType, Size};
use std::rc::Rc;

/// Weights that lie end to end and are treated alike.
type Run = Rc<[WeightId]>;

/// The function for some weights, with the first values of its states.
struct Made {
    first: WeightId,
    f: EntryFn,
    values: Vec<f64>,
}

/// Whether an optimizer is the same arithmetic on every element of whatever weight, so that it may run over all of them end
/// to end: its text is tried on weights of two shapes.
pub fn is_elementwise(ck: &mut Checker, train: &Train) -> bool {
    let (ctor, span) = &train.optimizer;
    ck.tried(|ck| {
        let tried = [&[16][..], &[3, 5]].map(|shape| on_shape(ck, ctor, *span, shape));
        let [Some(flat), Some(square)] = tried else { return false };
        same(&ck.program, flat, square) && foreign_call(&ck.program, flat).is_none()
    })
}

/// The function of an optimizer for a weight of this shape, unless it fails or has states of other shapes.
fn on_shape(ck: &mut Checker, ctor: &Rc<Ctor>, span: Span, shape: &[i64]) -> Option<FnId> {
    let ty = Ty { dtype: DType::F32, shape: shape.iter().map(|n| Size::from(*n)).collect() };
    let f = entry_of(ck, |ck| {
        let [theta, grad] = ["theta", "grad"].map(|name| ck.entry_input(name, ty.clone(), vec![None; ty.rank()]));
        let theta = applied(ck, ctor, (theta, grad), span);
        (!theta.is_poison()).then_some(theta)
    })?;
    f.slots.iter().all(|s| s.decl.ty == ty).then_some(f.function)
}

/// The function of what is made in an entry's frame.
fn entry_of(ck: &mut Checker, make: impl FnOnce(&mut Checker) -> Option<Val>) -> Option<EntryFn> {
    ck.open_entry("update");
    match make(ck) {
        Some(made) => Some(ck.close_entry(&made)),
        None => {
            ck.drop_entry();
            None
        }
    }
}

/// Whether two functions do the same, to tensors of whatever shapes.
fn same(p: &Program, f: FnId, g: FnId) -> bool {
    let (f, g) = (p.function(f), p.function(g));
    let alike = f.nodes.len() == g.nodes.len() && f.results == g.results;
    alike
        && f.nodes.iter().zip(&g.nodes).all(|(a, b)| {
            let op = match (&a.op, &b.op) {
                (Op::Call(f), Op::Call(g)) => same(p, *f, *g),
                (a, b) => a.same(b),
            };
            op && a.args == b.args
        })
}

fn foreign_call(p: &Program, f: FnId) -> Option<Span> {
    callees(p.function(f)).into_iter().find_map(|g| foreign(p, g))
}

/// Adds the entry `update`; gives the first values of states that do not start as 0.
pub fn entry(ck: &mut Checker, of: Update) -> Option<Vec<First>> {
    let runs = runs(ck, of.overrides);
    let factor = factor(ck, of);
    let mut made: Vec<Made> = Vec::new();
    let mut which = Vec::new();
    for run in &runs {
        let alike = |m: &Made| like(ck, of.overrides, m.first, run[0]);
        let known = made.iter().position(alike);
        which.push(known.unwrap_or(made.len()));
        if known.is_none() {
            made.push(for_weight(ck, Update { weight: Some(run[0]), ..of }, factor.is_some())?);
        }
    }
    let whole: Vec<(Run, &Made)> = runs.into_iter().zip(which.iter().map(|n| &made[*n])).collect();
    let firsts = lay_states(ck, &whole);
    let (function, inputs, outputs) = joined(ck, of, factor, &whole);
    let guards = made.iter().flat_map(|m| m.f.conditions()).collect();
    ck.program.entries.push(Entry { name: "update".into(), function, inputs, outputs, guards, defaults: Vec::new() });
    Some(firsts)
}

/// The trained weights in runs.
fn runs(ck: &Checker, overrides: &Overrides) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for row in ck.program.layout() {
        let trained: Vec<WeightId> =
            row.iter().copied().filter(|id| ck.program.weights[id.0 as usize].trained).collect();
        runs.extend(trained.chunk_by(|a, b| like(ck, overrides, *a, *b)).map(Run::from));
    }
    runs
}

/// Whether weights have one shape and the same settings.
fn like(ck: &Checker, overrides: &Overrides, a: WeightId, b: WeightId) -> bool {
    let shape = |id: WeightId| &ck.program.weights[id.0 as usize].ty.shape;
    shape(a) == shape(b) && said_of(overrides, a) == said_of(overrides, b)
}

/// A weight as it is updated.
fn theta_ty(ck: &Checker, weight: WeightId) -> Ty {
    ck.program.weights[weight.0 as usize].ty.with(DType::F32)
}

/// The function that gives what all gradients are multiplied by, if their norm is bounded: of the flat gradients, and what
/// they are over.
fn factor(ck: &mut Checker, of: Update) -> Option<FnId> {
    let flat = Ty { dtype: DType::F32, shape: vec![Size::from(ck.program.arena() as i64)] };
    let factor = entry_of(ck, |ck| {
        let grad = ck.entry_input("grad", flat, vec![None]);
        let over = of.shares.map(|_| ck.entry_input(OVER, Ty::scalar(DType::F32), Vec::new()));
        let grad = of.gathered(ck, grad, over);
        of.factor(ck, grad)
    });
    factor.map(|f| f.function)
}

/// The function for a weight and those like it: what is the same for all, the weight, its gradient, its states.
fn for_weight(ck: &mut Checker, of: Update, shrunk: bool) -> Option<Made> {
    let first = of.weight.expect("an update of single weights is about one");
    let ty = theta_ty(ck, first);
    let (ctor, span) = of.ctor(ck)?;
    let f = entry_of(ck, |ck| {
        let scalar = |ck: &mut Checker, name: &str| ck.entry_input(name, Ty::scalar(DType::F32), Vec::new());
        let over = of.shares.map(|_| scalar(ck, OVER));
        let factor = shrunk.then(|| scalar(ck, "factor"));
        let [theta, grad] = ["theta", "grad"].map(|name| ck.entry_input(name, ty.clone(), vec![None; ty.rank()]));
        let grad = of.gathered(ck, grad, over);
        of.theta_after(ck, &ctor, (theta, grad), factor)
    })?;
    if let Some(at) = draws(&ck.program, f.function) {
        let message = format!("`{}` draws random numbers, and an optimizer cannot", ctor.net.ast.name.text);
        let at = if ck.modules.in_prelude(at) { span } else { at };
        ck.report(Diagnostic::error("E0509", at, message));
        return None;
    }
    let values = first_values(ck, &f)?;
    Some(Made { first, f, values })
}

/// The place of a node that draws random numbers, in a function or what it calls.
fn draws(p: &Program, f: FnId) -> Option<Span> {
    let f = p.function(f);
    let own = f.nodes.iter().find(|n| n.op == Op::Random).map(|n| n.origin.span);
    own.or_else(|| callees(f).into_iter().find_map(|g| draws(p, g)))
}

/// Gives each state its number, and each weight its part of it; gives first values that are not 0.
fn lay_states(ck: &mut Checker, whole: &[(Run, &Made)]) -> Vec<First> {
    let mut firsts = Vec::new();
    for (run, made) in whole {
        for (slot, value) in made.f.slots.iter().zip(&made.values) {
            let state = number(ck, &slot.path);
            let ty = &slot.decl.ty;
            let part =
                |(i, weight): (usize, &WeightId)| StatePart { state, weight: *weight, ty: ty.clone(), first: i == 0 };
            ck.program.parts.extend(run.iter().enumerate().map(part));
            if *value != 0.0 {
                firsts.push((state, Some((run.clone(), stacked(run, ty))), *value));
            }
        }
    }
    firsts
}

/// The number of the state of that name.
fn number(ck: &mut Checker, name: &str) -> u16 {
    let states = &mut ck.program.states;
    let known = states.iter().position(|s| s == name).unwrap_or_else(|| {
        states.push(name.to_string());
        states.len() - 1
    });
    known as u16
}

/// The type of what there is once for each weight of a run.
fn stacked(run: &Run, ty: &Ty) -> Ty {
    let lead = (run.len() > 1).then(|| Size::from(run.len() as i64));
    Ty { dtype: ty.dtype, shape: lead.into_iter().chain(ty.shape.iter().cloned()).collect() }
}

/// The function over all weights, and what it takes and gives.
fn joined(ck: &mut Checker, of: Update, factor: Option<FnId>, whole: &[(Run, &Made)]) -> (FnId, Vec<Role>, Vec<Role>) {
    let mut b = Builder::new("update");
    let (mut inputs, mut outputs, mut results) = (Vec::new(), Vec::new(), Vec::new());
    let name = |ck: &Checker, run: &Run| ck.program.weights[run[0].0 as usize].name.clone();
    let mut param = |b: &mut Builder, role: Role, name: String, ty: Ty| {
        inputs.push(role);
        b.param(name, ty)
    };
    let over = of.shares.map(|_| param(&mut b, Role::Named(OVER.into()), OVER.into(), Ty::scalar(DType::F32)));
    let arena = Ty { dtype: DType::F32, shape: vec![Size::from(ck.program.arena() as i64)] };
    let grads = factor.map(|_| param(&mut b, Role::Grads, "grad".into(), arena));
    let mut rows: Vec<Vec<Value>> = Vec::new();
    for (run, made) in whole {
        let (name, ty) = (name(ck, run), stacked(run, &theta_ty(ck, run[0])));
        let mut row = vec![param(&mut b, Role::Weight(run.clone()), name.clone(), ty.clone())];
        row.push(param(&mut b, Role::Grad(run.clone()), format!("{name}.grad"), ty));
        for slot in &made.f.slots {
            let role = Role::StateOf(number(ck, &slot.path), run.clone());
            row.push(param(&mut b, role, format!("{name}.{}", slot.path), stacked(run, &slot.decl.ty)));
        }
        rows.push(row);
    }
    let factor = factor
        .zip(grads)
        .map(|(f, grads)| b.call(f, [grads].into_iter().chain(over).collect(), vec![Ty::scalar(DType::F32)])[0]);
    for ((run, made), row) in whole.iter().zip(rows) {
        let same = over.into_iter().chain(factor).collect();
        results.extend(through(&mut b, ck, (run, made), same, row));
        outputs.push(Role::Weight(run.clone()));
        let updated = made.f.updated.iter().map(|k| number(ck, &made.f.slots[*k].path));
        outputs.extend(updated.map(|k| Role::StateOf(k, run.clone())));
    }
    (ck.program.add(b.finish(results)), inputs, outputs)
}

/// The weights of a run after the step, and their states: one call, or a loop.
fn through(b: &mut Builder, ck: &Checker, (run, made): (&Run, &Made), same: Vec<Value>, row: Vec<Value>) -> Vec<Value> {
    let name = |w: &WeightId| -> Rc<str> { ck.program.weights[w.0 as usize].name.as_str().into() };
    let body = made.f.function;
    let tys = ck.program.function(body).result_tys();
    b.origin.member = name(&run[0]);
    let (invariant, stacks) = (same.len(), row.len());
    let args = same.into_iter().chain(row).collect();
    if run.len() == 1 {
        return b.call(body, args, tys);
    }
    let repeat = Repeat {
        body,
        count: run.len(),
        reverse: false,
        carried: 0,
        invariant,
        stacks,
        rows: 0,
        stacked: tys.len(),
        row_results: 0,
        members: run.iter().map(name).collect(),
    };
    let tys = repeat.result_tys(&tys);
    b.repeat(repeat, args, tys)
}
