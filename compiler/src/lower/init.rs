//! First values: the entry `init`. Takes the weights with the expressions that decide; gives a function that makes them all.
//!
//! Weights of one type whose expressions come to the same function are made by one loop, so that the entry does not grow
//! with the depth of a model. Each draws from a site that is named after it.

use super::stored::Stored;
use super::update;
use crate::check::Checker;
use crate::program::build::Builder;
use crate::program::{Entry, FnId, Repeat, Role, Ty, Value, WeightId};
use dlc_grammar::Diagnostic;
use dlc_plan::random::site_hash;
use dlc_plan::{DType, Size};
use rustc_hash::FxHashMap as HashMap;
use std::rc::Rc;

/// Weights whose first value is one function of their random sites.
struct Group {
    first: First,
    weights: Vec<WeightId>,
    /// Whether they lie end to end.
    row: bool,
}

/// A first value: the function, and how many sites it draws from.
#[derive(Clone, Copy, PartialEq)]
struct First {
    function: FnId,
    sites: usize,
}

/// Adds the entry `init`; `states` are the first values of the optimizer's states, where these are not 0.
pub fn entry(ck: &mut Checker, stored: &Stored, states: &[update::First]) {
    let groups = groups(ck, stored);
    let arena = Size::from(ck.program.arena() as i64);
    let mut b = Builder::new("init");
    let (mut results, mut outputs) = (Vec::new(), Vec::new());
    for group in &groups {
        let tys = ck.program.function(group.first.function).result_tys();
        results.extend(values(&mut b, ck, group, &tys[0]));
        match group.row {
            true => outputs.push(Role::Weight(group.weights.as_slice().into())),
            false => outputs.extend(group.weights.iter().map(|w| Role::weight(*w))),
        }
    }
    for (state, of, first) in states {
        let shape = of.as_ref().map_or(std::slice::from_ref(&arena), |(_, ty)| &ty.shape);
        results.push(b.full(DType::F32, *first, shape));
        outputs.push(match of {
            Some((run, _)) => Role::StateOf(*state, run.clone()),
            None => Role::State(*state),
        });
    }
    let function = ck.program.add(b.finish(results));
    let entry =
        Entry { name: "init".into(), function, inputs: Vec::new(), outputs, guards: Vec::new(), defaults: Vec::new() };
    ck.program.entries.push(entry);
}

/// The weights in groups, in the order of the first weight of each: rows, and those in no row whose functions are one.
fn groups(ck: &mut Checker, stored: &Stored) -> Vec<Group> {
    let firsts = firsts(ck, stored);
    let mut groups: Vec<Group> = Vec::new();
    for row in ck.program.layout() {
        let own: Vec<Option<First>> = row.iter().map(|id| firsts[id.0 as usize]).collect();
        if let (true, Some(first)) = (row.len() > 1 && own.iter().all(|f| *f == own[0]), own[0]) {
            groups.push(Group { first, weights: row.to_vec(), row: true });
            continue;
        }
        for (id, first) in row.iter().zip(own) {
            let Some(first) = first else { continue };
            match groups.iter_mut().find(|g| g.first == first && !g.row) {
                Some(group) => group.weights.push(*id),
                None => groups.push(Group { first, weights: vec![*id], row: false }),
            }
        }
    }
    groups
}

/// The first value of each weight; reports those that have none.
fn firsts(ck: &mut Checker, stored: &Stored) -> Vec<Option<First>> {
    let mut firsts = Vec::new();
    let mut made: HashMap<(usize, Ty), Option<First>> = HashMap::default();
    for (i, decl) in stored.decls.iter().enumerate() {
        let Some(init) = &decl.init else {
            let name = &ck.program.weights[i].name;
            let message = format!("`{name}` has no first value");
            ck.report(Diagnostic::error("E0207", decl.span, message).help("`= zeros`, or another one"));
            firsts.push(None);
            continue;
        };
        let key = (Rc::as_ptr(init) as usize, decl.ty.clone());
        let found = match made.get(&key) {
            Some(found) => *found,
            None => {
                let found = ck.first_value(decl).map(|(function, sites)| First { function, sites });
                made.insert(key, found);
                found
            }
        };
        firsts.push(found);
    }
    firsts
}

/// The first values of a group's weights: one for each, or all of them as a stack.
fn values(b: &mut Builder, ck: &Checker, group: &Group, ty: &Ty) -> Vec<Value> {
    let name = |w: &WeightId| ck.program.weights[w.0 as usize].name.as_str();
    let count = group.weights.len();
    let shape: &[Size] = if count == 1 { &[] } else { &[Size::from(count as i64)] };
    let mut args = Vec::new();
    for ordinal in 0..group.first.sites as u32 {
        let hash = |w: &WeightId| f64::from(site_hash(name(w), ordinal) as i32);
        let hashes: Vec<f64> = group.weights.iter().map(hash).collect();
        args.push(b.table(DType::I32, &hashes, shape));
    }
    let members: Vec<Rc<str>> = group.weights.iter().map(|w| name(w).into()).collect();
    b.origin.member = members[0].clone();
    if count == 1 {
        return b.call(group.first.function, args, vec![ty.clone()]);
    }
    let repeat = Repeat {
        body: group.first.function,
        count,
        reverse: false,
        carried: 0,
        invariant: 0,
        stacks: group.first.sites,
        rows: 0,
        stacked: usize::from(group.row),
        row_results: usize::from(!group.row),
        members,
    };
    let tys = repeat.result_tys(std::slice::from_ref(ty));
    b.repeat(repeat, args, tys)
}
