//! What no entry needs goes away: nodes, arguments and results of loops, functions. Goes from the entries down, since what
//! a loop's body has to give depends on who uses the loop.

use super::loops::{Loop, Slot};
use super::rewrite::{copy, rebuild, take};
use crate::program::verify::callees;
use crate::program::{Entry, FnId, Function, Op, Program, Repeat, Value};
use std::collections::{BTreeMap, BTreeSet};

/// A copy of a program, with no functions but those that entries reach. Stated derivatives have had their effect.
pub(crate) fn reached_part(p: &Program) -> Program {
    let reached = reached(p, &p.entries);
    let functions = (0..p.functions.len() as u32).map(|i| match reached.contains(&FnId(i)) {
        true => Function { derivative: None, ..p.function(FnId(i)).clone() },
        false => Function::default(),
    });
    let mut part = Program {
        parts: p.parts.clone(),
        functions: functions.collect(),
        entries: p.entries.clone(),
        dims: p.dims.clone(),
        weights: p.weights.clone(),
        rows: p.rows.clone(),
        states: p.states.clone(),
        notes: p.notes.clone(),
        operands: p.operands,
        unread: p.unread.clone(),
    };
    sweep(&mut part);
    part
}

/// Drops in every function that an entry reaches, and all others. Stated derivatives have had their effect.
pub(super) fn run(p: &mut Program) {
    p.functions.iter_mut().for_each(|f| f.derivative = None);
    let mut open: Vec<FnId> = p.entries.iter().map(|e| e.function).collect();
    let mut seen = BTreeSet::new();
    while let Some(id) = open.pop() {
        if !seen.insert(id) {
            continue;
        }
        let f = take(p, id);
        let all = vec![true; f.results.len()];
        let needed = needed(p, &f, &all);
        let f = rebuild(f, &mut |b, i, n, args| {
            if !needed[i].contains(&true) {
                return vec![Value { node: u32::MAX, port: 0 }; n.tys.len()];
            }
            let Op::Repeat(r) = &n.op else { return copy(b, n, args) };
            let l = trim(p, r, &args, &needed[i]);
            let kept = l.build(p, b);
            let gone = Value { node: u32::MAX, port: 0 };
            (0..n.tys.len()).map(|port| kept.get(&port).copied().unwrap_or(gone)).collect()
        });
        open.extend(callees(&f));
        p.functions[id.0 as usize] = f;
    }
    sweep(p);
}

/// For each result of each node, whether the results in `wanted` need it.
fn needed(p: &Program, f: &Function, wanted: &[bool]) -> Vec<Vec<bool>> {
    let mut needed: Vec<Vec<bool>> = f.nodes.iter().map(|n| vec![false; n.tys.len()]).collect();
    for (v, _) in f.results.iter().zip(wanted).filter(|(_, w)| **w) {
        needed[v.node as usize][v.port as usize] = true;
    }
    for (i, n) in f.nodes.iter().enumerate().rev() {
        if !needed[i].contains(&true) {
            continue;
        }
        let params = if let Op::Repeat(r) = &n.op { Some((r, of_loop(p, r, &needed[i]).1)) } else { None };
        for (k, a) in n.args.iter().enumerate() {
            if params.as_ref().is_none_or(|(r, params)| params[r.param_of(k)]) {
                needed[a.node as usize][a.port as usize] = true;
            }
        }
    }
    needed
}

/// For each result and each parameter of a loop's body, whether the node's results in `ports` need it.
fn of_loop(p: &Program, r: &Repeat, ports: &[bool]) -> (Vec<bool>, Vec<bool>) {
    let body = p.function(r.body);
    let mut results: Vec<bool> = (0..body.results.len()).map(|j| ports[r.ports_of(j)].contains(&true)).collect();
    loop {
        let inside = needed(p, body, &results);
        let mut params: Vec<bool> = (0..body.params.len()).map(|i| inside[i][0]).collect();
        let more: Vec<usize> = (0..r.carried).filter(|j| params[*j] && !results[*j]).collect();
        if more.is_empty() {
            // What is carried has a first value, even if only the last one matters.
            (0..r.carried).filter(|j| results[*j]).for_each(|j| params[j] = true);
            return (results, params);
        }
        more.into_iter().for_each(|j| results[j] = true);
    }
}

/// A loop without the arguments and results that nobody needs.
fn trim(p: &Program, r: &Repeat, args: &[Value], ports: &[bool]) -> Loop {
    let (results, params) = of_loop(p, r, ports);
    let mut l = Loop::new(p, r, args);
    for (slot, _) in l.slots.iter_mut().zip(&params).filter(|(_, needed)| !**needed) {
        *slot = Slot::Dead;
    }
    l.stacked.retain(|(_, port)| results[r.result_of(*port)]);
    l.rows.retain(|(_, port)| results[r.result_of(*port)]);
    l
}

/// Removes the functions that no entry reaches; the others keep their order.
pub(super) fn sweep(p: &mut Program) {
    let reached = reached(p, &p.entries);
    let numbers: BTreeMap<FnId, FnId> = reached.iter().enumerate().map(|(i, id)| (*id, FnId(i as u32))).collect();
    p.functions = reached.iter().map(|id| std::mem::take(&mut p.functions[id.0 as usize])).collect();
    for n in p.functions.iter_mut().flat_map(|f| &mut f.nodes) {
        if let Op::Call(f) = &mut n.op {
            *f = numbers[f];
        } else if let Op::Repeat(r) = &mut n.op {
            r.body = numbers[&r.body];
        } else if let Op::Panels(k) = &mut n.op {
            k.body = numbers[&k.body];
        }
    }
    p.entries.iter_mut().for_each(|e| e.function = numbers[&e.function]);
}

/// The functions that entries reach.
pub(super) fn reached<'e>(p: &Program, entries: impl IntoIterator<Item = &'e Entry>) -> BTreeSet<FnId> {
    let mut open: Vec<FnId> = entries.into_iter().map(|e| e.function).collect();
    let mut reached = BTreeSet::new();
    while let Some(id) = open.pop() {
        if reached.insert(id) {
            open.extend(callees(p.function(id)));
        }
    }
    reached
}
