//! Checks that a program is well formed. Takes a program; gives [`Facts`], which later stages ask for and which nothing
//! else can make, or the first violation. A violation is always a bug in dlc: users' mistakes never get this far.
//!
//! The invariants, by number:
//! 1. Node i is parameter i, of the parameter's type, for all parameters, and no other node is a parameter.
//! 2. An argument or a result of a function is a result of a node; an argument's node comes before its user.
//! 3. A node has as many arguments and results as its operation says.
//! 4. Operands of a primitive have the result's shape and the types that the table of primitives says.
//! 5. Constants, host scalars and random sites have no axes; constants, and the elements of tables, of which there are as
//!    many as the type says, are values of their type.
//! 6. A reduction's axes are ascending and in range, and what is left is the result's shape. Truths have no sum or product.
//! 7. A view's axes are in range, and its extents are those of its argument, arranged as it says, as far as sizes can
//!    be compared; what is sliced or padded lies inside.
//! 8. No label stands twice in one list of a contraction, each stands in two lists at least, and axes of one label have
//!    one extent. Both operands have one real type, the result is f32.
//! 9. Gather and scatter take integer ids, and their shapes are put together from the ids' and a row's.
//! 10. What is concatenated differs at most along the axis, whose extents add up.
//! 11. A call's arguments and results have the types of the function's parameters and results.
//! 12. A loop runs at least once, and its arguments, its results, and the parameters and results of its body have the
//!     order and the types that `Repeat` says.
//! 13. Calls and loops form no cycle, and each function they name exists.
//! 14. A `derivative` goes from the parameters, the results and a cotangent for each real result to a cotangent for each
//!     real parameter.
//! 15. Every size speaks of the program's dynamic sizes only.
//! 16. Primitives of host scalars have as many operands as the table says; lists of host scalars are not empty, and those
//!     by segment have one number for each trained weight.
//! 17. A scalar that differs by segment is used by primitives without axes, and broadcast to the length of the arena.
//! 18. Stored tensors have static shapes and different names; what is trained is a `param`, of real numbers. Each stands in
//!     one row at most, and those of a row have one type.
//! 19. An entry has a role for each parameter and result of its function, and no role twice among them.
//! 20. A role has the type of what it stands for.
//! 21. Panels take what their body takes, but for the sums; its results are pieces of theirs, and what is not added up has
//!     an axis for each cut. The sizes that say where a panel is are the program's.
//! 22. What a function says of how its parameters are cut fits their axes.

mod op;

use super::{Entry, FnId, Function, Op, Program, Role, StatePart, Ty, Value, Weight, WeightId, print};
use dlc_plan::{DType, Host, Size};
use rustc_hash::FxHashSet as HashSet;
use std::fmt;

/// What a verified program is known to be. Only [`verify`] makes one.
#[derive(Clone, Debug)]
pub struct Facts {
    order: Vec<FnId>,
}

impl Facts {
    /// All functions, each after those that it calls or repeats.
    pub fn order(&self) -> &[FnId] {
        &self.order
    }
}

/// A violation of an invariant.
#[derive(Clone, Debug)]
pub struct VerifyError {
    /// The invariant's number in the list that this module opens with.
    pub invariant: u8,
    /// What was found and what was expected.
    pub message: String,
    /// The function as text, or the whole program.
    pub text: String,
}

impl fmt::Display for VerifyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "this is a bug in dlc: the program breaks invariant {}: {}", self.invariant, self.message)?;
        write!(f, "{}", self.text)
    }
}

impl std::error::Error for VerifyError {}

/// A violation, not yet told with the text around it.
type Fault = (u8, String);

/// Checks all invariants.
pub fn verify(p: &Program) -> Result<Facts, VerifyError> {
    let tell = |(invariant, message): Fault| VerifyError { invariant, message, text: print::program(p) };
    weights(p).map_err(tell)?;
    for (i, f) in p.functions.iter().enumerate() {
        let text = || print::function(p, FnId(i as u32));
        function(p, f).map_err(|(invariant, message)| VerifyError { invariant, message, text: text() })?;
    }
    let order = callees_first(p).map_err(tell)?;
    for e in &p.entries {
        entry(p, e).map_err(|(n, message)| tell((n, format!("entry {}: {message}", e.name))))?;
    }
    Ok(Facts { order })
}

fn weights(p: &Program) -> Result<(), Fault> {
    let mut names = HashSet::default();
    for w in &p.weights {
        if let Some(twice) = std::iter::once(&w.name).chain(&w.aliases).find(|n| !names.insert(n.as_str())) {
            return Err((18, format!("two stored tensors are called {twice}")));
        }
        if w.ty.len().known().is_none() {
            return Err((18, format!("{} is {}, which is not static", w.name, print::ty(p, &w.ty))));
        }
        if w.trained && !(w.param && w.ty.dtype.is_float()) {
            return Err((18, format!("{} is trained, and no param of real numbers", w.name)));
        }
    }
    let mut seen = HashSet::default();
    for row in &p.rows {
        let ty = |id: &WeightId| p.weights.get(id.0 as usize).map(|w| &w.ty);
        if row.is_empty() || row.iter().any(|id| ty(id).is_none() || ty(id) != ty(&row[0]) || !seen.insert(*id)) {
            return Err((18, format!("{row:?} is no row of weights")));
        }
    }
    Ok(())
}

fn function(p: &Program, f: &Function) -> Result<(), Fault> {
    for (i, param) in f.params.iter().enumerate() {
        match f.nodes.get(i) {
            Some(n) if n.op == Op::Param(i as u32) && n.tys == [param.ty.clone()] => {}
            Some(_) | None => return Err((1, format!("node %{i} is not parameter {i}, {}", param.name))),
        }
    }
    let mut by_segment = HashSet::default();
    for (i, n) in f.nodes.iter().enumerate() {
        let at = |(number, message): Fault| (number, format!("%{i}: {message}"));
        if matches!(n.op, Op::Param(_)) && i >= f.params.len() {
            return Err((1, format!("%{i} is a parameter among the other nodes")));
        }
        for a in &n.args {
            exists(f, *a, i).map_err(at)?;
        }
        for t in &n.tys {
            sizes_exist(p, &t.shape).map_err(at)?;
        }
        op::check(p, f, n).map_err(at)?;
        segments(p, f, i, &mut by_segment).map_err(at)?;
    }
    for r in &f.results {
        exists(f, *r, f.nodes.len()).map_err(|(n, m)| (n, format!("a result: {m}")))?;
    }
    if let Some(cut) = &f.cut {
        let ranks = f.params.iter().map(|q| q.ty.rank());
        if cut.extents.is_empty() || !ranks.eq(cut.params.iter().map(Vec::len)) {
            return Err((22, format!("{cut:?} for {} parameters", f.params.len())));
        }
    }
    derivative(p, f)
}

/// Invariant 2, for a use before node `at`.
fn exists(f: &Function, v: Value, at: usize) -> Result<(), Fault> {
    match f.nodes.get(v.node as usize) {
        Some(n) if (v.node as usize) < at && (v.port as usize) < n.tys.len() => Ok(()),
        Some(_) if (v.node as usize) >= at => Err((2, format!("%{} does not come before its user", v.node))),
        Some(_) | None => Err((2, format!("there is no value %{}.{}", v.node, v.port))),
    }
}

/// Invariant 15.
fn sizes_exist<'a>(p: &Program, sizes: impl IntoIterator<Item = &'a Size>) -> Result<(), Fault> {
    for s in sizes {
        if let Some(d) = s.dims().into_iter().find(|d| *d as usize >= p.dims.len()) {
            return Err((15, format!("the size {s} speaks of dynamic size {d}, and there are {}", p.dims.len())));
        }
    }
    Ok(())
}

/// Invariants 15 and 16, for a host scalar.
fn host(p: &Program, h: &Host) -> Result<(), Fault> {
    let children = match h {
        Host::Const(_) | Host::Var(_) => return Ok(()),
        Host::Size(s) => return sizes_exist(p, [s]),
        Host::Prim(prim, args) => {
            if args.len() != prim.row().arity {
                return Err((16, format!("{} of {} host scalars", prim.name(), args.len())));
            }
            args
        }
        Host::Row(_, cells) => cells,
        Host::Segment(cells) => {
            let trained = p.weights.iter().filter(|w| w.trained).count();
            if cells.len() != trained {
                return Err((16, format!("{} numbers by segment for {trained} trained weights", cells.len())));
            }
            cells
        }
    };
    if children.is_empty() {
        return Err((16, "a list of host scalars is empty".into()));
    }
    children.iter().try_for_each(|c| host(p, c))
}

/// Whether a host scalar differs by segment.
pub(super) fn differs_by_segment(h: &Host) -> bool {
    match h {
        Host::Segment(_) => true,
        Host::Const(_) | Host::Var(_) | Host::Size(_) => false,
        Host::Prim(_, hs) | Host::Row(_, hs) => hs.iter().any(differs_by_segment),
    }
}

/// Invariant 17, inside one function; `found` are the nodes whose value differs by segment.
fn segments(p: &Program, f: &Function, at: usize, found: &mut HashSet<u32>) -> Result<(), Fault> {
    let n = &f.nodes[at];
    if matches!(&n.op, Op::Host(h) if differs_by_segment(h)) {
        found.insert(at as u32);
    }
    let Some(a) = n.args.iter().find(|a| found.contains(&a.node)) else { return Ok(()) };
    match &n.op {
        Op::Map(_) | Op::Stop | Op::Within(_) => {
            found.insert(at as u32);
            Ok(())
        }
        Op::View(super::View::Broadcast(_)) if n.tys[0].shape == [Size::from(p.arena() as i64)] => Ok(()),
        Op::Call(_) => Ok(()),
        Op::View(_)
        | Op::Reduce(..)
        | Op::Contract(_)
        | Op::Gather
        | Op::Scatter
        | Op::Rows(_)
        | Op::Concat(_)
        | Op::Random => Err((17, format!("%{} differs by segment and is used as if it were one number", a.node))),
        Op::Repeat(_) | Op::Panels(_) => Err((17, format!("%{} differs by segment and enters a loop", a.node))),
        Op::Param(_) | Op::Const(_) | Op::Table(_) | Op::Host(_) | Op::Iota(_) => Ok(()),
    }
}

/// Invariant 14.
fn derivative(p: &Program, f: &Function) -> Result<(), Fault> {
    let Some(d) = f.derivative else { return Ok(()) };
    let d = called(p, d)?;
    let real = |t: &&Ty| t.dtype.is_float();
    let (params, results) = (f.params.iter().map(|q| &q.ty), f.result_tys());
    let takes: Vec<&Ty> = params.clone().chain(&results).chain(results.iter().filter(real)).collect();
    let gives: Vec<&Ty> = params.filter(real).collect();
    same_types(p, 14, "parameters of the derivative", &d.params.iter().map(|q| &q.ty).collect::<Vec<_>>(), &takes)?;
    same_types(p, 14, "results of the derivative", &results_of(d)?, &gives)
}

/// The types of a function's results, where they exist.
fn results_of(f: &Function) -> Result<Vec<&Ty>, Fault> {
    let ty = |v: &Value| f.nodes.get(v.node as usize).and_then(|n| n.tys.get(v.port as usize));
    f.results.iter().map(|v| ty(v).ok_or((2, format!("{} gives what does not exist", f.name)))).collect()
}

fn called(p: &Program, id: FnId) -> Result<&Function, Fault> {
    p.functions.get(id.0 as usize).ok_or((13, format!("there is no function #{}", id.0)))
}

fn same_types(p: &Program, number: u8, what: &str, found: &[&Ty], expected: &[&Ty]) -> Result<(), Fault> {
    if found == expected {
        return Ok(());
    }
    let show = |ts: &[&Ty]| ts.iter().map(|t| print::ty(p, t)).collect::<Vec<_>>().join(", ");
    Err((number, format!("{what}: ({}) where ({}) is expected", show(found), show(expected))))
}

/// All functions, each after those that it calls or repeats; None if that cannot be.
pub(crate) fn order(p: &Program) -> Option<Vec<FnId>> {
    callees_first(p).ok()
}

/// Invariant 13.
fn callees_first(p: &Program) -> Result<Vec<FnId>, Fault> {
    // Per function: not seen, being visited, done. The stack holds a function and how many of its callees were visited.
    let mut state = vec![0_u8; p.functions.len()];
    let callees: Vec<Vec<FnId>> = p.functions.iter().map(callees).collect();
    let mut order = Vec::new();
    for first in 0..p.functions.len() {
        let mut stack = vec![(first, 0)];
        while let Some((f, next)) = stack.pop() {
            if next == 0 {
                match state[f] {
                    0 => state[f] = 1,
                    1 => {
                        return Err((13, format!("#{f} {} calls itself, if in a roundabout way", p.functions[f].name)));
                    }
                    _ => continue,
                }
            }
            match callees[f].get(next) {
                Some(g) => {
                    called(p, *g)?;
                    stack.push((f, next + 1));
                    stack.push((g.0 as usize, 0));
                }
                None => {
                    state[f] = 2;
                    order.push(FnId(f as u32));
                }
            }
        }
    }
    Ok(order)
}

/// The functions that a function calls, repeats, or has as its derivative.
pub fn callees(f: &Function) -> Vec<FnId> {
    let mut found: Vec<FnId> = f.derivative.into_iter().collect();
    for n in &f.nodes {
        match &n.op {
            Op::Call(g) => found.push(*g),
            Op::Repeat(r) => found.push(r.body),
            Op::Panels(k) => found.push(k.body),
            Op::Param(_) | Op::Const(_) | Op::Table(_) | Op::Host(_) | Op::Map(_) | Op::Reduce(..) | Op::View(_) => {}
            Op::Contract(_)
            | Op::Gather
            | Op::Scatter
            | Op::Rows(_)
            | Op::Iota(_)
            | Op::Random
            | Op::Concat(_)
            | Op::Stop
            | Op::Within(_) => {}
        }
    }
    found
}

fn entry(p: &Program, e: &Entry) -> Result<(), Fault> {
    let f = called(p, e.function)?;
    let results = results_of(f)?;
    if e.inputs.len() != f.params.len() || e.outputs.len() != results.len() {
        let (i, o) = (e.inputs.len(), e.outputs.len());
        return Err((19, format!("{i} inputs and {o} outputs for {} and {}", f.params.len(), results.len())));
    }
    for (roles, tys) in [(&e.inputs, f.params.iter().map(|q| &q.ty).collect::<Vec<_>>()), (&e.outputs, results)] {
        let (mut names, mut others) = (HashSet::default(), HashSet::default());
        for (r, t) in roles.iter().zip(tys) {
            let is_new = match r {
                Role::Named(name) | Role::Index(name, _) | Role::Narrow(name, _) => names.insert(name),
                Role::Weight(_) | Role::Grad(_) | Role::Trained | Role::Grads | Role::State(_) | Role::StateOf(..) => {
                    others.insert(r)
                }
            };
            if !is_new {
                return Err((19, format!("{r:?} stands twice")));
            }
            role(p, r, t)?;
        }
    }
    for (name, x) in &e.defaults {
        let is_it =
            |r: &Role| matches!(r, Role::Named(own) | Role::Index(own, _) | Role::Narrow(own, _) if own == name);
        if !e.inputs.iter().any(is_it) {
            return Err((19, format!("there is a default for `{name}`, which is no input")));
        }
        host(p, x)?;
    }
    e.guards.iter().try_for_each(|(h, _)| host(p, h))
}

/// The type of a stack of weights, which are alike and have the extents that `t` says.
fn stack(p: &Program, row: &[WeightId], t: &Ty, fits: impl Fn(&Weight) -> bool) -> Option<Ty> {
    let weights: Vec<&Weight> = row.iter().map(|id| p.weights.get(id.0 as usize)).collect::<Option<_>>()?;
    let ty = &weights.first()?.ty;
    let (lead, _) = t.shape.split_at(t.rank().checked_sub(ty.rank())?);
    let alike = weights.iter().all(|w| w.ty == *ty && fits(w)) && Size::product(lead).is(row.len() as i64);
    alike.then(|| Ty { dtype: ty.dtype, shape: [lead, &ty.shape[..]].concat() })
}

/// The type of a stack of what a state keeps for weights.
fn part_stack(p: &Program, state: u16, row: &[WeightId], t: &Ty) -> Option<Ty> {
    let part = |w: &WeightId| p.parts.iter().find(|part| part.state == state && part.weight == *w);
    let parts: Vec<&StatePart> = row.iter().map(part).collect::<Option<_>>()?;
    let ty = &parts.first()?.ty;
    let (lead, _) = t.shape.split_at(t.rank().checked_sub(ty.rank())?);
    let alike = parts.iter().all(|part| part.ty == *ty) && Size::product(lead).is(row.len() as i64);
    alike.then(|| Ty { dtype: ty.dtype, shape: [lead, &ty.shape[..]].concat() })
}

/// Invariant 20.
fn role(p: &Program, r: &Role, t: &Ty) -> Result<(), Fault> {
    let arena = || Ty { dtype: DType::F32, shape: vec![Size::from(p.arena() as i64)] };
    let expected = match r {
        Role::Named(_) => return Ok(()),
        Role::Index(name, limit) | Role::Narrow(name, limit) => {
            sizes_exist(p, [&limit.below])?;
            return if t.dtype.is_int() { Ok(()) } else { Err((20, format!("{name} is an index and {}", t.dtype))) };
        }
        // Whatever a trained weight is to its readers, it is kept and updated in f32.
        Role::Weight(row) if t.dtype == DType::F32 => {
            stack(p, row, t, |w| w.trained || w.ty.dtype == DType::F32).map(|ty| ty.with(DType::F32))
        }
        Role::Weight(row) => stack(p, row, t, |_| true),
        Role::Grad(row) => stack(p, row, t, |w| w.trained).map(|ty| ty.with(DType::F32)),
        Role::Trained | Role::Grads => Some(arena()),
        Role::State(n) => p.states.get(*n as usize).map(|_| arena()),
        Role::StateOf(n, row) => part_stack(p, *n, row, t),
    };
    match expected {
        Some(e) if e == *t => Ok(()),
        Some(e) => Err((20, format!("{r:?} is {}, and its parameter or result {}", print::ty(p, &e), print::ty(p, t)))),
        None => Err((20, format!("{r:?} is nothing that the program has"))),
    }
}
