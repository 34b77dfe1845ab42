//! States that nothing but their own next values is made of, such as counters. Takes a program; gives these states. Whatever they
//! are, every answer of the program is the same, so a file may leave them out.

use crate::program::{FnId, Op, Program, Repeat, Role, Value, WeightId};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::rc::Rc;

/// A set of a function's parameters, as bits.
type Params = Vec<u64>;

/// What each result of a function is made of.
type Made = Rc<Vec<Params>>;

/// The states that no result of an entry is made of, but for the next values of such states.
pub(crate) fn unread(p: &Program) -> BTreeSet<WeightId> {
    let states = (0..).map(WeightId).zip(&p.weights).filter(|(_, weight)| !weight.param).map(|(id, _)| id);
    let mut unread: BTreeSet<WeightId> = states.collect();
    if unread.is_empty() {
        return unread;
    }
    let mut known = HashMap::new();
    // By the states whose next value something is, what it is made of.
    let mut makes: BTreeMap<WeightId, BTreeSet<WeightId>> = BTreeMap::new();
    let mut read: Vec<WeightId> = Vec::new();
    for entry in &p.entries {
        let made = made(p, entry.function, &mut known);
        for (role, params) in entry.outputs.iter().zip(made.iter()) {
            let of_states = (entry.inputs.iter().enumerate())
                .filter(|(i, _)| has(params, *i))
                .filter_map(|(_, role)| weights(role));
            let of_states = of_states.flatten().copied().filter(|id| unread.contains(id));
            match weights(role) {
                Some([next]) if unread.contains(next) => makes.entry(*next).or_default().extend(of_states),
                _ => read.extend(of_states),
            }
        }
    }
    while let Some(id) = read.pop() {
        if unread.remove(&id) {
            read.extend(makes.remove(&id).into_iter().flatten());
        }
    }
    unread
}

fn weights(role: &Role) -> Option<&[WeightId]> {
    if let Role::Weight(row) = role { Some(row) } else { None }
}

/// What each result of a function is made of.
fn made(p: &Program, id: FnId, known: &mut HashMap<FnId, Made>) -> Made {
    if let Some(made) = known.get(&id) {
        return made.clone();
    }
    let f = p.function(id);
    let words = f.params.len().div_ceil(64);
    let mut nodes: Vec<Vec<Params>> = Vec::with_capacity(f.nodes.len());
    for node in &f.nodes {
        let args = || node.args.iter().map(|v| part(&nodes, *v));
        let own = match &node.op {
            Op::Param(i) => vec![only(words, *i as usize)],
            Op::Call(callee) => {
                let callee = made(p, *callee, known);
                callee
                    .iter()
                    .map(|params| all(words, args().enumerate().filter(|(i, _)| has(params, *i)).map(|(_, a)| a)))
                    .collect()
            }
            Op::Repeat(repeat) => {
                let body = made(p, repeat.body, known);
                let args: Vec<&Params> = args().collect();
                looped(repeat, &body).iter().map(|of| all(words, of.iter().map(|arg| args[*arg]))).collect()
            }
            _ => vec![all(words, args()); node.tys.len()],
        };
        nodes.push(own);
    }
    let made = Rc::new(f.results.iter().map(|v| part(&nodes, *v).clone()).collect::<Vec<_>>());
    known.insert(id, made.clone());
    made
}

/// For each result of a loop, the arguments that it is made of.
fn looped(repeat: &Repeat, body: &[Params]) -> Vec<BTreeSet<usize>> {
    let params = repeat.carried + repeat.invariant + repeat.stacks + repeat.rows;
    let of = |result: usize| (0..params).filter(move |param| has(&body[result], *param));
    // What is carried may be made of whatever any iteration made it of.
    let mut carried: Vec<BTreeSet<usize>> = (0..repeat.carried).map(|i| of(i).chain([i]).collect()).collect();
    loop {
        let before = carried.clone();
        for set in &mut carried {
            let more: Vec<usize> = set
                .iter()
                .filter(|param| **param < repeat.carried)
                .flat_map(|param| before[*param].iter().copied())
                .collect();
            set.extend(more);
        }
        if carried == before {
            break;
        }
    }
    let every =
        |params: &BTreeSet<usize>| params.iter().flat_map(|param| repeat.args_of(*param)).collect::<BTreeSet<_>>();
    let carried: Vec<BTreeSet<usize>> = carried.iter().map(every).collect();
    let mut results = carried.clone();
    for result in repeat.carried..body.len() {
        let ports = repeat.ports_of(result);
        for (iteration, _) in ports.clone().enumerate() {
            let mut made = BTreeSet::new();
            for param in of(result) {
                let args = repeat.args_of(param);
                match carried.get(param) {
                    Some(earlier) => made.extend(earlier),
                    // A row has one argument for each iteration; so has a result that comes from one.
                    None if args.len() == ports.len() => made.extend(args.clone().nth(iteration)),
                    None => made.extend(args),
                }
            }
            results.push(made);
        }
    }
    results
}

fn part(nodes: &[Vec<Params>], value: Value) -> &Params {
    &nodes[value.node as usize][value.port as usize]
}

fn has(params: &[u64], i: usize) -> bool {
    params.get(i / 64).is_some_and(|word| word >> (i % 64) & 1 == 1)
}

fn only(words: usize, i: usize) -> Params {
    let mut params = vec![0; words];
    params[i / 64] |= 1 << (i % 64);
    params
}

fn all<'a>(words: usize, parts: impl Iterator<Item = &'a Params>) -> Params {
    let mut params = vec![0; words];
    parts.for_each(|part| params.iter_mut().zip(part).for_each(|(all, one)| *all |= one));
    params
}
