//! The gradient of a loop: a forward loop that stacks what its body's gradient keeps, and a loop the other way round. What
//! is carried in that one are the cotangents of what was carried, and a sum for each invariant; slices of stacks and
//! rows get their cotangents as stacks and rows. Nothing that is the same in every iteration, or is a stack or a row
//! already, is stacked again.

use super::flow::Flow;
use super::function::Back;
use super::{Gradient, Made, Request, Residual};
use crate::program::build::Builder;
use crate::program::{FnId, Program, Repeat, Ty, Value};
use dlc_plan::Prim;

/// A loop's gradient, ready to be built.
pub(super) struct Loop {
    /// The forward loop, which stacks what is kept after what it stacked before.
    pub forward: Repeat,
    /// The loop that is differentiated.
    original: Repeat,
    body: Gradient,
    /// For each result of the body, whether it has a cotangent.
    seeds: Vec<bool>,
    /// The carried values whose cotangents are carried.
    carried: Vec<usize>,
    /// For each residual of the body, where the backward loop finds it.
    places: Vec<Place>,
}

/// Where a residual of the body is, seen from outside of the loop.
#[derive(Clone, Copy, Debug)]
enum Place {
    /// An argument of the loop, for this parameter of the body.
    Argument(usize),
    /// A stack that the loop gives, by its port in the forward loop.
    Stack(usize),
    /// A row result, by the result of the forward loop's body.
    Row(usize),
}

impl Loop {
    /// Finds the gradient of a loop, some of whose arguments are active and some of whose results have cotangents.
    /// `masked` are the results whose cotangents have zeros by choice, `wild` the arguments that may not be finite.
    pub(super) fn new(made: &mut Made, p: &mut Program, r: &Repeat, [given, live, masked, wild]: [&[bool]; 4]) -> Loop {
        let flow = made.flows.of(p, r.body);
        let (params, results) = (flow.first().map_or(0, Vec::len), flow.len());
        let any = |all: &[bool], of: std::ops::Range<usize>| all[of].contains(&true);
        let mut active: Vec<bool> = (0..params).map(|i| any(given, r.args_of(i))).collect();
        let mut seeds: Vec<bool> = (0..results).map(|j| any(live, r.ports_of(j))).collect();
        spread(r, &flow, &mut active, &mut seeds);
        let depends = |j: usize| (0..params).any(|i| active[i] && flow[j][i]);
        let seeds: Vec<bool> = seeds.iter().enumerate().map(|(j, s)| *s && depends(j)).collect();
        let reached = |i: usize| (0..results).any(|j| seeds[j] && flow[j][i]);
        let wanted: Vec<bool> = active.iter().enumerate().map(|(i, a)| *a && reached(i)).collect();
        let carried = (0..r.carried).filter(|j| wanted[*j] || seeds[*j]).collect();
        let (masked, _) = made.masks.of_loop(p, r, masked, wild);
        let wild = made.masks.ranges.of_body(p, r, wild);
        let request = Request { function: r.body, wanted, seeds: seeds.clone(), masked, wild, free_from: r.carried };
        let body = made.gradient(p, request);
        let (forward, places) = stacking(p, r, &body);
        Loop { forward, original: r.clone(), body, seeds, carried, places }
    }

    /// How many stacks the forward loop gives besides those that the loop gave.
    pub(super) fn kept(&self) -> usize {
        self.forward.stacked - self.original.stacked
    }

    /// Builds the backward loop, and adds to the cotangents of the node's arguments.
    pub(super) fn backward(&self, c: &mut Back) {
        let at = c.at as u32;
        let value = |port: usize| Value { node: at, port: port as u32 };
        let own = |j: usize| self.forward.ports_of(if j < self.stacks() { j } else { j + self.kept() });
        let seeded = |j: &usize| self.seeds[*j];
        let has = |c: &Back, j: usize| own(j).any(|port| c.cotangent(value(port)).is_some());
        if !(0..self.seeds.len()).filter(seeded).any(|j| has(c, j)) {
            return;
        }
        let mut l = Reverse::new(c, self);
        let mut given = Vec::new();
        for place in &self.places {
            given.push(l.residual(c, self, *place));
        }
        for j in (0..self.seeds.len()).filter(seeded) {
            let ports: Vec<Value> = own(j).map(value).collect();
            given.push(match self.carried.iter().position(|x| *x == j) {
                Some(k) => Slot::Carried(k),
                None if j < self.stacks() => {
                    let dy = c.cotangent_or_zeros(ports[0]);
                    l.stack(dy)
                }
                None => {
                    let dys = ports.iter().map(|v| c.cotangent_or_zeros(*v)).collect();
                    l.row(dys)
                }
            });
        }
        l.build(c, self, &given);
    }

    fn stacks(&self) -> usize {
        self.original.carried + self.original.stacked
    }
}

/// Lets activity and cotangents go round the loop until nothing changes.
fn spread(r: &Repeat, flow: &Flow, active: &mut [bool], seeds: &mut [bool]) {
    loop {
        let before = (active.to_vec(), seeds.to_vec());
        for j in 0..r.carried {
            active[j] |= flow[j].iter().zip(&before.0).any(|(edge, a)| *edge && *a);
            seeds[j] |= flow.iter().zip(&before.1).any(|(row, s)| *s && row[j]);
        }
        if (&before.0[..], &before.1[..]) == (&*active, &*seeds) {
            return;
        }
    }
}

/// The forward loop, and where it leaves each residual of its body.
fn stacking(p: &mut Program, r: &Repeat, g: &Gradient) -> (Repeat, Vec<Place>) {
    let forward = p.function(g.forward);
    let own = r.carried + r.stacked + r.row_results;
    let first = r.carried + r.stacked;
    let (mut kept, mut places) = (Vec::<Value>::new(), Vec::new());
    for residual in &g.residuals {
        let stacked = match residual {
            Residual::Param(i) if *i >= r.carried => Err(Place::Argument(*i)),
            Residual::Param(i) => Ok(Value { node: *i as u32, port: 0 }),
            Residual::Result(j) if *j < r.carried => Ok(forward.results[*j]),
            Residual::Result(j) if *j < first => Err(Place::Stack(*j)),
            Residual::Result(j) => Err(Place::Row(*j)),
            Residual::Kept(k) => Ok(forward.results[own + k]),
        };
        places.push(stacked.map_or_else(
            |place| place,
            |v| {
                let at = kept.iter().position(|k| *k == v).unwrap_or_else(|| {
                    kept.push(v);
                    kept.len() - 1
                });
                Place::Stack(first + at)
            },
        ));
    }
    for place in &mut places {
        if let Place::Row(j) = place {
            *j += kept.len();
        }
    }
    let mut body = r.body;
    if g.forward != r.body || !kept.is_empty() {
        let mut f = forward.clone();
        f.results.truncate(own);
        f.results.splice(first..first, kept.iter().copied());
        f.derivative = None;
        body = p.add(f);
    }
    (Repeat { body, stacked: r.stacked + kept.len(), ..r.clone() }, places)
}

/// A parameter of the backward loop's body, by its group.
#[derive(Clone, Copy, Debug)]
enum Slot {
    Carried(usize),
    Invariant(usize),
    Stack(usize),
    Row(usize),
}

/// The backward loop's arguments, group by group.
struct Reverse {
    /// The first values of the carried cotangents.
    carried: Vec<Value>,
    /// The invariants whose cotangents are summed up: the parameter, and where the body's gradient gives it.
    sums: Vec<(usize, usize)>,
    invariants: Vec<Value>,
    stacks: Vec<Value>,
    rows: Vec<Vec<Value>>,
}

impl Reverse {
    fn new(c: &mut Back, l: &Loop) -> Reverse {
        let r = &l.original;
        let value = |port: usize| Value { node: c.at as u32, port: port as u32 };
        let carried: Vec<Value> = l.carried.iter().map(|j| value(*j)).collect();
        let carried = carried.into_iter().map(|v| c.cotangent_or_zeros(v)).collect();
        let invariant = |i: &usize| (r.carried..r.carried + r.invariant).contains(i);
        let sums = l.body.cotangents.iter().filter(|(i, _)| invariant(i)).filter_map(|(i, k)| Some((*i, (*k)?)));
        Reverse { carried, sums: sums.collect(), invariants: Vec::new(), stacks: Vec::new(), rows: Vec::new() }
    }

    fn residual(&mut self, c: &mut Back, l: &Loop, place: Place) -> Slot {
        let (r, at) = (&l.original, c.at as u32);
        let value = |port: usize| Value { node: at, port: port as u32 };
        match place {
            Place::Argument(i) => {
                let args: Vec<Value> = r.args_of(i).map(|k| c.forward.nodes[c.at].args[k]).collect();
                let args: Vec<Value> = args.into_iter().map(|v| c.need(v)).collect();
                if i < r.carried + r.invariant {
                    self.invariants.push(args[0]);
                    Slot::Invariant(self.invariants.len() - 1)
                } else if i < r.carried + r.invariant + r.stacks {
                    self.stack(args[0])
                } else {
                    self.row(args)
                }
            }
            Place::Stack(port) => {
                let stack = c.need(value(port));
                self.stack(stack)
            }
            Place::Row(j) => {
                let cells = l.forward.ports_of(j).map(|port| c.need(value(port))).collect();
                self.row(cells)
            }
        }
    }

    fn stack(&mut self, v: Value) -> Slot {
        self.stacks.push(v);
        Slot::Stack(self.stacks.len() - 1)
    }

    fn row(&mut self, cells: Vec<Value>) -> Slot {
        self.rows.push(cells);
        Slot::Row(self.rows.len() - 1)
    }

    /// Adds the body to the program and the loop to the backward function. `given` says, for each parameter of the body's
    /// gradient, where it comes from.
    fn build(self, c: &mut Back, l: &Loop, given: &[Slot]) {
        let (r, g) = (&l.original, &l.body);
        let stacks: Vec<usize> = (r.carried + r.invariant..r.carried + r.invariant + r.stacks).collect();
        let placed = |i: usize| g.cotangents.iter().find(|(x, _)| *x == i).and_then(|(_, k)| *k);
        let first_row = r.carried + r.invariant + r.stacks;
        let stacked: Vec<(usize, usize)> = stacks.into_iter().filter_map(|i| Some((i, placed(i)?))).collect();
        let rows = first_row..first_row + r.rows;
        let rows: Vec<(usize, usize)> = rows.filter_map(|i| Some((i, placed(i)?))).collect();
        let body = self.body(c, l, given, &stacked, &rows);
        let tys = c.p.function(body).result_tys();
        let reverse = Repeat {
            body,
            count: r.count,
            reverse: !r.reverse,
            carried: self.carried.len() + self.sums.len(),
            invariant: self.invariants.len(),
            stacks: self.stacks.len(),
            rows: self.rows.len(),
            stacked: stacked.len(),
            row_results: rows.len(),
            members: r.members.clone(),
        };
        let sums: Vec<Ty> = self.sums.iter().map(|(i, _)| c.p.function(r.body).params[*i].ty.clone()).collect();
        let zeros: Vec<Value> = sums.iter().map(|t| c.b.full(t.dtype, 0.0, &t.shape)).collect();
        let args = [self.carried, zeros, self.invariants, self.stacks, self.rows.concat()].concat();
        let tys = reverse.result_tys(&tys);
        let (slots, ports) = (reverse.clone(), c.b.repeat(reverse, args, tys));
        let sums = self.sums.iter().map(|(i, _)| *i);
        let whole = l.carried.iter().copied().chain(sums).chain(stacked.iter().map(|(i, _)| *i));
        let by_row = rows.iter().map(|(i, _)| *i);
        for (result, i) in whole.chain(by_row).enumerate() {
            for (port, k) in slots.ports_of(result).zip(r.args_of(i)) {
                let arg = c.forward.nodes[c.at].args[k];
                c.add(arg, ports[port]);
            }
        }
    }

    /// One iteration: a call of the body's backward function, and the sums.
    fn body(
        &self,
        c: &mut Back,
        l: &Loop,
        given: &[Slot],
        stacked: &[(usize, usize)],
        rows: &[(usize, usize)],
    ) -> FnId {
        let original = c.p.function(l.original.body);
        let backward = c.p.function(l.body.backward);
        let (results, params) = (backward.result_tys(), &backward.params);
        let mut b = Builder::new(format!("{}.reverse", original.name));
        let carried: Vec<Value> =
            l.carried.iter().map(|j| b.param(format!("dy{j}"), original.params[*j].ty.clone())).collect();
        let sum = |b: &mut Builder, i: usize| b.param(format!("sum{i}"), original.params[i].ty.clone());
        let sums: Vec<Value> = self.sums.iter().map(|(i, _)| sum(&mut b, *i)).collect();
        // The groups in order; within a group, slots are numbered in the order of `given`.
        let group = |b: &mut Builder, pick: &dyn Fn(&Slot) -> bool| -> Vec<Value> {
            let own = given.iter().zip(params).filter(|(slot, _)| pick(slot));
            own.map(|(_, q)| b.param(q.name.clone(), q.ty.clone())).collect()
        };
        let invariants = group(&mut b, &|slot| matches!(slot, Slot::Invariant(_)));
        let stacks = group(&mut b, &|slot| matches!(slot, Slot::Stack(_)));
        let cells = group(&mut b, &|slot| matches!(slot, Slot::Row(_)));
        let args = given.iter().map(|slot| match slot {
            Slot::Carried(k) => carried[*k],
            Slot::Invariant(k) => invariants[*k],
            Slot::Stack(k) => stacks[*k],
            Slot::Row(k) => cells[*k],
        });
        let args = args.collect();
        let found = b.call(l.body.backward, args, results);
        let mut gives = Vec::new();
        for j in &l.carried {
            let place = l.body.cotangents.iter().find(|(i, _)| i == j).and_then(|(_, k)| *k);
            let ty = &original.params[*j].ty;
            gives.push(place.map_or_else(|| b.full(ty.dtype, 0.0, &ty.shape), |k| found[k]));
        }
        for (sum, (_, k)) in sums.iter().zip(&self.sums) {
            gives.push(b.map(Prim::Add, &[*sum, found[*k]]));
        }
        gives.extend(stacked.iter().chain(rows).map(|(_, k)| found[*k]));
        let f = b.finish(gives);
        c.p.add(f)
    }
}
