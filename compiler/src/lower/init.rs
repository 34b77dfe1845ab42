//! First values: the entry `init`. Takes the weights with the expressions that decide; gives a function that makes them all.
//!
//! Weights of one type whose expressions come to the same function are made by one loop, so that the entry does not grow
//! with the depth of a model. Each draws from a site that is named after it.

use super::stored::Stored;
use crate::check::Checker;
use crate::program::build::Builder;
use crate::program::{Entry, FnId, Repeat, Role, Ty, Value, WeightId};
use dlc_grammar::Diagnostic;
use dlc_plan::random::site_hash;
use dlc_plan::{DType, Size};
use std::collections::HashMap;
use std::rc::Rc;

/// Weights whose first value is one function of their random sites.
struct Group {
    function: FnId,
    /// How many sites the function draws from.
    sites: usize,
    weights: Vec<WeightId>,
}

/// Adds the entry `init`; `states` are the first values of the optimizer's states, where these are not 0.
pub fn entry(ck: &mut Checker, stored: &Stored, states: &[(u16, f64)]) {
    let groups = groups(ck, stored);
    let arena = Size::from(ck.program.segments().1 as i64);
    let mut b = Builder::new("init");
    let (mut results, mut outputs) = (Vec::new(), Vec::new());
    for group in &groups {
        let tys = ck.program.function(group.function).result_tys();
        results.extend(values(&mut b, ck, group, &tys[0]));
        outputs.extend(group.weights.iter().map(|w| Role::Weight(*w)));
    }
    for (state, first) in states {
        results.push(b.full(DType::F32, *first, std::slice::from_ref(&arena)));
        outputs.push(Role::State(*state));
    }
    let function = ck.program.add(b.finish(results));
    let entry = Entry { name: "init".into(), function, inputs: Vec::new(), outputs, guards: Vec::new() };
    ck.program.entries.push(entry);
}

/// The weights in groups, in the order of the first weight of each.
fn groups(ck: &mut Checker, stored: &Stored) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut made: HashMap<(usize, Ty), Option<(FnId, usize)>> = HashMap::new();
    for (i, decl) in stored.decls.iter().enumerate() {
        let id = WeightId(i as u32);
        let Some(init) = &decl.init else {
            let name = &ck.program.weights[i].name;
            let message = format!("`{name}` has no first value");
            ck.report(Diagnostic::error("E0207", decl.span, message).help("`= zeros`, or another one"));
            continue;
        };
        let key = (Rc::as_ptr(init) as usize, decl.ty.clone());
        let found = match made.get(&key) {
            Some(found) => *found,
            None => {
                let found = ck.first_value(decl);
                made.insert(key, found);
                found
            }
        };
        let Some((function, sites)) = found else { continue };
        match groups.iter_mut().find(|g| g.function == function) {
            Some(group) => group.weights.push(id),
            None => groups.push(Group { function, sites, weights: vec![id] }),
        }
    }
    groups
}

/// The first values of a group's weights.
fn values(b: &mut Builder, ck: &Checker, group: &Group, ty: &Ty) -> Vec<Value> {
    let name = |w: &WeightId| ck.program.weights[w.0 as usize].name.as_str();
    let mut args = Vec::new();
    for ordinal in 0..group.sites {
        for w in &group.weights {
            args.push(b.constant(DType::I32, f64::from(site_hash(name(w), ordinal as u32) as i32)));
        }
    }
    let count = group.weights.len();
    let members: Vec<Rc<str>> = group.weights.iter().map(|w| name(w).into()).collect();
    b.origin.member = members[0].clone();
    if count == 1 {
        return b.call(group.function, args, vec![ty.clone()]);
    }
    let repeat = Repeat {
        body: group.function,
        count,
        reverse: false,
        carried: 0,
        invariant: 0,
        stacks: 0,
        rows: group.sites,
        stacked: 0,
        row_results: 1,
        members,
    };
    b.repeat(repeat, args, vec![ty.clone(); count])
}
