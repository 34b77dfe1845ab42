//! The bias that takes what an adapter adds whatever goes in. Takes the entry `forward`; finds, by structure alone, for an
//! adapted weight the one bias that is added to its product and to nothing else, where there is one.
//!
//! A product is followed from the call of its adapter through views and sums, as long as nothing else reads it. What is not
//! found so may be right all the same, but nothing proves it: then no bias takes anything.

use super::stored::Stored;
use crate::check::{Checker, label_of};
use crate::program::{FnId, Function, Op, Program, Repeat, Role, Ty, Value, View, WeightId, WeightRow};
use dlc_plan::{Prim, Size};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// For each adapted weight, the bias that is added to its product, in one place, and to nothing else.
pub fn found(ck: &Checker, stored: &Stored) -> HashMap<WeightId, WeightId> {
    let Some(entry) = ck.program.entries.iter().find(|e| e.name == "forward") else { return HashMap::new() };
    let mut walk = Walk { ck, owners: owners(ck, stored), sites: BTreeMap::new(), reads: HashMap::new() };
    let of = |role: &Role| if let Role::Weight(row) = role { row.clone() } else { none() };
    walk.function(entry.function, &entry.inputs.iter().map(of).collect::<Vec<_>>());
    let mut takers: HashMap<WeightId, WeightId> = HashMap::new();
    let mut taken: HashMap<WeightId, usize> = HashMap::new();
    for (weight, sites) in &walk.sites {
        for bias in sites.iter().filter_map(|(_, bias)| *bias) {
            *taken.entry(bias).or_default() += 1;
            if sites.len() == 1 && walk.reads.get(&bias).is_some_and(|reads| reads.len() == 1) {
                takers.insert(*weight, bias);
            }
        }
    }
    takers.retain(|_, bias| taken[bias] == 1);
    takers
}

/// The weight that each of the adapters' own weights belongs to.
fn owners(ck: &Checker, stored: &Stored) -> HashMap<WeightId, WeightId> {
    let weights = || (0..).map(WeightId).zip(&ck.program.weights).zip(&stored.decls);
    let adapted = weights().filter(|(_, decl)| decl.adapted.is_some());
    let labels: HashMap<String, WeightId> = adapted.map(|((id, w), _)| (label_of(&w.name), id)).collect();
    let added = weights().filter(|(_, decl)| decl.added);
    let owner = |name: &str| name.match_indices('.').find_map(|(at, _)| labels.get(&name[..at]).copied());
    added.filter_map(|((id, w), _)| Some((id, owner(&w.name)?))).collect()
}

fn none() -> WeightRow {
    [].into()
}

/// A node of a function.
type At = (FnId, u32);

/// What is seen while the functions of a model are gone through, each with the weights that its parameters are there.
struct Walk<'a> {
    ck: &'a Checker,
    owners: HashMap<WeightId, WeightId>,
    /// For each adapted weight, where its adapter is called, and which bias takes what that gives.
    sites: BTreeMap<WeightId, BTreeSet<(At, Option<WeightId>)>>,
    /// For each weight, the nodes that read it.
    reads: HashMap<WeightId, BTreeSet<At>>,
}

impl Walk<'_> {
    fn program(&self) -> &Program {
        &self.ck.program
    }

    fn function(&mut self, id: FnId, params: &[WeightRow]) {
        let ck = self.ck;
        let f = ck.program.function(id);
        let of = |v: &Value| row_of(f, params, *v);
        for (n, node) in (0..).zip(&f.nodes) {
            let args: Vec<WeightRow> = node.args.iter().map(of).collect();
            match &node.op {
                Op::Call(callee) => {
                    if ck.is_adapter(*callee) {
                        self.site((id, n), params, &args);
                    }
                    self.function(*callee, &args);
                }
                Op::Repeat(repeat) => {
                    self.read((id, n), &args[..repeat.carried]);
                    self.function(repeat.body, &in_body(repeat, &args));
                }
                _ => self.read((id, n), &args),
            }
        }
        let given: Vec<WeightRow> = f.results.iter().map(of).collect();
        self.read((id, f.nodes.len() as u32), &given);
    }

    fn read(&mut self, at: At, rows: &[WeightRow]) {
        for weight in rows.iter().flat_map(|row| row.iter()) {
            self.reads.entry(*weight).or_default().insert(at);
        }
    }

    /// Notes that an adapter is called here.
    fn site(&mut self, at: At, params: &[WeightRow], args: &[WeightRow]) {
        let biases = bias_of(self.program().function(at.0), at.1, params).unwrap_or_else(none);
        for row in args {
            for (i, own) in row.iter().enumerate() {
                let Some(weight) = self.owners.get(own) else { continue };
                // Where the adapter has loops of its own, several in a row of its weights are one layer's.
                let even = !biases.is_empty() && row.len() % biases.len() == 0;
                let bias = even.then(|| biases[i / (row.len() / biases.len())]);
                self.sites.entry(*weight).or_default().insert((at, bias));
            }
        }
    }
}

/// The weights that a value is, where it is a parameter.
fn row_of(f: &Function, params: &[WeightRow], v: Value) -> WeightRow {
    match f.nodes[v.node as usize].op {
        Op::Param(k) => params[k as usize].clone(),
        _ => none(),
    }
}

/// The weights that a loop's body has as parameters, those of all iterations in their order.
fn in_body(repeat: &Repeat, args: &[WeightRow]) -> Vec<WeightRow> {
    let whole = repeat.carried + repeat.invariant + repeat.stacks;
    let mut rows = vec![none(); repeat.carried];
    rows.extend(args[repeat.carried..whole].iter().cloned());
    let each = args[whole..].chunks(repeat.count);
    rows.extend(each.map(|row| row.iter().flat_map(|w| w.iter().copied()).collect::<WeightRow>()));
    rows
}

/// What an axis is to the columns that a product gives.
#[derive(Clone, Debug, PartialEq)]
enum Axis {
    /// The columns, from here on.
    Columns(Size),
    /// One of the parts that they are split into.
    Piece { part: usize, of: usize },
    /// None of them goes along it.
    Other,
}

/// The bias that is added to what a node gives, whose last axis are columns.
fn bias_of(f: &Function, node: u32, params: &[WeightRow]) -> Option<WeightRow> {
    let live = live(f);
    let mut v = Value { node, port: 0 };
    let mut axes = vec![Axis::Other; f.ty(v).rank().checked_sub(1)?];
    axes.push(Axis::Columns(Size::zero()));
    loop {
        let user = only_user(f, &live, v)?;
        let node = &f.nodes[user.node as usize];
        match &node.op {
            Op::View(view) => axes = through(axes, view, f.ty(v), f.ty(user))?,
            Op::Map(Prim::Cast(_)) => {}
            Op::Map(Prim::Add) => {
                let other = node.args.iter().find(|arg| **arg != v)?;
                if let Some((row, _)) = seen(f, &live, *other, params).filter(|(_, own)| *own == axes) {
                    return Some(row);
                }
            }
            _ => return None,
        }
        v = user;
    }
}

/// The biases that a value is a view of, and what its axes are, if nothing else reads them here.
fn seen(f: &Function, live: &[bool], v: Value, params: &[WeightRow]) -> Option<(WeightRow, Vec<Axis>)> {
    only_user(f, live, v)?;
    let node = &f.nodes[v.node as usize];
    match &node.op {
        Op::Param(_) => {
            let row = row_of(f, params, v);
            (!row.is_empty() && f.ty(v).rank() == 1).then(|| (row, vec![Axis::Columns(Size::zero())]))
        }
        Op::Map(Prim::Cast(_)) => seen(f, live, node.args[0], params),
        Op::View(view) => {
            let (row, axes) = seen(f, live, node.args[0], params)?;
            Some((row, through(axes, view, f.ty(node.args[0]), f.ty(v))?))
        }
        _ => None,
    }
}

/// Which nodes something comes of.
fn live(f: &Function) -> Vec<bool> {
    let mut live = vec![false; f.nodes.len()];
    f.results.iter().for_each(|v| live[v.node as usize] = true);
    for n in (0..f.nodes.len()).rev() {
        if live[n] {
            f.nodes[n].args.iter().for_each(|v| live[v.node as usize] = true);
        }
    }
    live
}

/// What the only node that reads a value gives.
fn only_user(f: &Function, live: &[bool], v: Value) -> Option<Value> {
    let reads = |n: &usize| live[*n] && f.nodes[*n].args.contains(&v);
    let mut users = (0..f.nodes.len()).filter(reads);
    let user = users.next()?;
    let once = f.nodes[user].args.iter().filter(|arg| **arg == v).count() == 1;
    (once && users.next().is_none() && !f.results.contains(&v)).then_some(Value { node: user as u32, port: 0 })
}

/// What the axes of a view are, if they can be followed.
fn through(mut axes: Vec<Axis>, view: &View, from: &Ty, to: &Ty) -> Option<Vec<Axis>> {
    let mut seen = vec![Axis::Other; to.rank()];
    match view {
        View::Permute(p) => return Some(p.iter().map(|i| axes[*i].clone()).collect()),
        View::Broadcast(at) => at.iter().zip(axes).for_each(|(to, axis)| seen[*to] = axis),
        View::Slice { axis, start, step } => {
            if let (Axis::Columns(first), 1) = (&mut axes[*axis], *step) {
                *first = first.plus(start);
            } else if axes[*axis] != Axis::Other {
                return None;
            }
            return Some(axes);
        }
        View::Split { axis, count } => {
            let parts = split(&axes[*axis], &to.shape[*axis..axis + count])?;
            axes.splice(*axis..=*axis, parts);
            return Some(axes);
        }
        View::Merge { axis, count } => {
            let merged = merge(&axes[*axis..axis + count], &from.shape[*axis..axis + count])?;
            axes.splice(*axis..axis + count, [merged]);
            return Some(axes);
        }
        View::Affine(places) => {
            for ((axis, place), extent) in axes.into_iter().zip(places).zip(&from.shape) {
                match (axis, &place.steps[..]) {
                    (Axis::Other, _) => {}
                    (Axis::Columns(first), [(to, 1)]) => seen[*to] = Axis::Columns(first.plus(&place.start)),
                    // Of the columns of all groups, a row has those of its own: the groups go along with the rows.
                    (piece, [(along, 1)]) if to.shape[*along] == *extent => seen[*along] = piece,
                    _ => return None,
                }
            }
        }
        // Zeros around a product are not what it gives.
        View::Pad { .. } => return None,
    }
    Some(seen)
}

/// What the axes are that an axis is split into. Those of extent 1 are none.
fn split(axis: &Axis, extents: &[Size]) -> Option<Vec<Axis>> {
    let wide: Vec<usize> = (0..extents.len()).filter(|i| !extents[*i].is(1)).collect();
    let mut parts = vec![Axis::Other; extents.len()];
    match (axis, &wide[..]) {
        (Axis::Other, _) | (_, []) => {}
        (_, [one]) => parts[*one] = axis.clone(),
        (Axis::Columns(start), _) if start.is(0) => {
            wide.iter().enumerate().for_each(|(part, i)| parts[*i] = Axis::Piece { part, of: wide.len() });
        }
        _ => return None,
    }
    Some(parts)
}

/// What the axis is that axes become.
fn merge(axes: &[Axis], extents: &[Size]) -> Option<Axis> {
    let wide: Vec<&Axis> = axes.iter().zip(extents).filter(|(_, n)| !n.is(1)).map(|(axis, _)| axis).collect();
    let pieces =
        |axes: &[&Axis]| axes.iter().enumerate().all(|(i, axis)| **axis == Axis::Piece { part: i, of: axes.len() });
    match &wide[..] {
        all if all.iter().all(|axis| **axis == Axis::Other) => Some(Axis::Other),
        [one] => Some((*one).clone()),
        all if pieces(all) => Some(Axis::Columns(Size::zero())),
        _ => None,
    }
}
