//! Loops part where weights that are trained meet such as are not: each half takes weights of one store, and the gradient
//! stops where nothing is trained below. Takes a program before gradients, whose entries call nothing; gives one in which
//! all weights that an entry takes or gives as a stack are trained, or none of them.

use super::rewrite::copy;
use crate::program::build::Builder;
use crate::program::{Entry, Function, Node, Op, Param, Program, Repeat, Role, Ty, Value, WeightId, WeightRow};
use dlc_plan::Size;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// Splits in every entry.
pub(super) fn run(p: &mut Program) {
    for i in 0..p.entries.len() {
        let mixed = |role: &Role| matches!(role, Role::Weight(row) if is_mixed(p, row));
        let (takes, gives) = (p.entries[i].inputs.iter().any(mixed), p.entries[i].outputs.iter().any(mixed));
        let mut entry = p.entries[i].clone();
        if takes {
            entry = taken_apart(p, entry);
        }
        if gives {
            entry = given_apart(p, entry);
        }
        p.entries[i] = entry;
    }
}

/// Whether some of these weights are trained and some are not.
fn is_mixed(p: &Program, row: &[WeightId]) -> bool {
    let trained = |w: &WeightId| p.weights[w.0 as usize].trained;
    row.iter().any(trained) && !row.iter().all(trained)
}

/// Where along the first axis weights begin that are not as those before; the end too. None where weights of both kinds
/// share an index of that axis.
fn bounds(p: &Program, row: &[WeightId], count: usize) -> Option<BTreeSet<usize>> {
    let width = row.len() / count;
    let trained = |i: usize| p.weights[row[i * width].0 as usize].trained;
    let whole = |i: &usize| !is_mixed(p, &row[i * width..(i + 1) * width]);
    (0..count).all(|i| whole(&i)).then(|| (1..count).filter(|i| trained(*i) != trained(i - 1)).chain([count]).collect())
}

/// A parameter that is a stack: its weights, and where it is cut.
struct Stack {
    row: WeightRow,
    cuts: BTreeSet<usize>,
}

/// The pieces of a parameter's stack: from where to where along the first axis, and the parameter that each is. A piece of
/// one has no such axis.
type Pieces = Vec<(usize, usize, Value)>;

/// An entry that takes mixed stacks in pieces.
fn taken_apart(p: &mut Program, entry: Entry) -> Entry {
    let f = p.function(entry.function).clone();
    let mut stacks = cut(p, &f, &entry);
    let mut b = Builder::new(f.name.clone());
    let mut inputs = Vec::new();
    let mut pieces: BTreeMap<u32, Pieces> = BTreeMap::new();
    let mut wholes: Vec<Option<Value>> = Vec::new();
    for (i, (param, role)) in f.params.iter().zip(&entry.inputs).enumerate() {
        let Some(stack) = stacks.remove(&(i as u32)) else {
            wholes.push(Some(b.param(param.name.clone(), param.ty.clone())));
            inputs.push(role.clone());
            continue;
        };
        wholes.push(None);
        let (roles, own) = parameters(&mut b, p, param, &stack);
        inputs.extend(roles);
        pieces.insert(i as u32, own);
    }
    let params = f.params.len();
    let tys: Vec<Ty> = f.params.iter().map(|q| q.ty.clone()).collect();
    let mut splitter = Splitter { p, tys, pieces, wholes };
    let mut map: Vec<Vec<Value>> = vec![Vec::new(); params];
    for n in f.nodes.into_iter().skip(params) {
        b.origin = n.origin.clone();
        let results = splitter.node(&mut b, n, &map);
        map.push(results);
    }
    let gives = f.results.iter().map(|v| splitter.value(&mut b, *v, &map)).collect();
    let function = p.add(b.finish(gives));
    Entry { function, inputs, ..entry }
}

/// The stacks that have to be cut: the mixed ones, and those that a loop takes beside them.
fn cut(p: &Program, f: &Function, entry: &Entry) -> BTreeMap<u32, Stack> {
    let mut stacks = BTreeMap::new();
    for (i, (param, role)) in f.params.iter().zip(&entry.inputs).enumerate() {
        let Role::Weight(row) = role else { continue };
        if row.len() < 2 {
            continue;
        }
        let count = param.ty.shape[0].known().expect("stacks of weights are static") as usize;
        // What no cut along the first axis tells apart comes weight by weight.
        let cuts = if is_mixed(p, row) { bounds(p, row, count).unwrap_or_default() } else { [count].into() };
        stacks.insert(i as u32, Stack { row: row.clone(), cuts });
    }
    let loops: Vec<Vec<u32>> = f
        .nodes
        .iter()
        .filter_map(|n| {
            let Op::Repeat(r) = &n.op else { return None };
            let stacks = &n.args[r.carried + r.invariant..r.carried + r.invariant + r.stacks];
            Some(stacks.iter().map(|v| v.node).collect())
        })
        .collect();
    // Cuts go round loops that share stacks until nothing changes.
    loop {
        let mut changed = false;
        for own in &loops {
            let all: BTreeSet<usize> =
                own.iter().filter_map(|i| stacks.get(i)).flat_map(|s| s.cuts.iter().copied()).collect();
            for i in own {
                if let Some(stack) = stacks.get_mut(i).filter(|s| !s.cuts.is_empty() && s.cuts != all) {
                    stack.cuts.clone_from(&all);
                    changed = true;
                }
            }
        }
        if !changed {
            break;
        }
    }
    stacks.retain(|_, stack| stack.cuts.len() != 1);
    stacks
}

/// A parameter for each piece of a stack, and their roles.
fn parameters(b: &mut Builder, p: &Program, param: &Param, stack: &Stack) -> (Vec<Role>, Pieces) {
    let (mut roles, mut pieces) = (Vec::new(), Vec::new());
    let count = param.ty.shape[0].known().unwrap_or(1) as usize;
    let width = stack.row.len() / count;
    if stack.cuts.is_empty() {
        for (i, w) in stack.row.iter().enumerate() {
            let weight = &p.weights[w.0 as usize];
            roles.push(Role::weight(*w));
            pieces.push((i, i + 1, b.param(weight.name.clone(), weight.ty.clone())));
        }
        return (roles, pieces);
    }
    let mut from = 0;
    for to in &stack.cuts {
        let mut ty = Ty { dtype: param.ty.dtype, shape: param.ty.shape[1..].to_vec() };
        if to - from > 1 {
            ty.shape.insert(0, Size::from((to - from) as i64));
        }
        roles.push(Role::Weight(stack.row[from * width..to * width].into()));
        pieces.push((from, *to, b.param(param.name.clone(), ty)));
        from = *to;
    }
    (roles, pieces)
}

/// What a function's nodes are rewritten with.
struct Splitter<'a> {
    p: &'a Program,
    /// The types that the parameters had.
    tys: Vec<Ty>,
    pieces: BTreeMap<u32, Pieces>,
    /// What stands for each parameter as a whole, as far as it is there.
    wholes: Vec<Option<Value>>,
}

impl Splitter<'_> {
    /// The value that stands for one of the function before; a stack in pieces is put together.
    fn value(&mut self, b: &mut Builder, v: Value, map: &[Vec<Value>]) -> Value {
        let Some(whole) = self.wholes.get(v.node as usize) else { return map[v.node as usize][v.port as usize] };
        if let Some(whole) = whole {
            return *whole;
        }
        let ty = self.tys[v.node as usize].clone();
        let mut flat: Vec<Value> = Vec::new();
        let pieces = self.pieces[&v.node].clone();
        for (_, _, piece) in &pieces {
            // As many leading axes as make one of all pieces.
            flat.push(if b.ty(*piece).rank() < ty.rank() { b.merge(*piece, 0, 0) } else { *piece });
        }
        let by_weight = pieces.len() > ty.shape[0].known().unwrap_or(0) as usize;
        let whole = if by_weight {
            let each: Vec<Value> = pieces.iter().map(|(_, _, piece)| *piece).collect();
            b.stack(&each, &ty)
        } else {
            b.node(Op::Concat(0), flat, ty)
        };
        self.wholes[v.node as usize] = Some(whole);
        whole
    }

    /// A node with the arguments that stand for its own, in as many loops as it takes.
    fn node(&mut self, b: &mut Builder, n: Node, map: &[Vec<Value>]) -> Vec<Value> {
        if let Op::Repeat(r) = &n.op
            && let Some(cuts) = self.cuts(r, &n)
        {
            return self.repeat(b, r, &n, &cuts, map);
        }
        let args = n.args.iter().map(|v| self.value(b, *v, map)).collect();
        copy(b, n, args)
    }

    /// Where a loop is cut, if it is.
    fn cuts(&self, r: &Repeat, n: &Node) -> Option<Vec<(usize, usize)>> {
        let stacks = &n.args[r.carried + r.invariant..r.carried + r.invariant + r.stacks];
        let own = stacks
            .iter()
            .filter_map(|v| self.pieces.get(&v.node))
            .find(|pieces| pieces.last().is_some_and(|last| last.1 == r.count) && pieces.len() > 1)?;
        (!r.reverse).then(|| own.iter().map(|(from, to, _)| (*from, *to)).collect())
    }

    /// A loop in pieces, one after the other.
    fn repeat(
        &mut self,
        b: &mut Builder,
        r: &Repeat,
        n: &Node,
        cuts: &[(usize, usize)],
        map: &[Vec<Value>],
    ) -> Vec<Value> {
        let body_tys = self.p.function(r.body).result_tys();
        let fixed = r.carried + r.invariant;
        let mut carried: Vec<Value> = n.args[..r.carried].iter().map(|v| self.value(b, *v, map)).collect();
        let invariants: Vec<Value> = n.args[r.carried..fixed].iter().map(|v| self.value(b, *v, map)).collect();
        let mut stacked: Vec<Vec<Value>> = vec![Vec::new(); r.stacked];
        let mut rows: Vec<Vec<Value>> = vec![Vec::new(); r.row_results];
        for (from, to) in cuts.iter().copied() {
            let count = to - from;
            let mut args = [carried, invariants.clone()].concat();
            for v in &n.args[fixed..fixed + r.stacks] {
                args.push(self.piece(b, *v, (from, to), map));
            }
            for cells in n.args[fixed + r.stacks..].chunks(r.count) {
                args.extend(cells[from..to].iter().map(|v| self.value(b, *v, map)));
            }
            let results = match count {
                1 => {
                    b.origin.member = r.members.get(from).cloned().unwrap_or_default();
                    b.call(r.body, args, body_tys.clone())
                }
                _ => {
                    let members: Vec<Rc<str>> = r.members.get(from..to).unwrap_or_default().to_vec();
                    let part = Repeat { count, members, ..r.clone() };
                    let tys = part.result_tys(&body_tys);
                    b.repeat(part, args, tys)
                }
            };
            carried = results[..r.carried].to_vec();
            for (all, v) in stacked.iter_mut().zip(&results[r.carried..]) {
                all.push(if count == 1 { b.merge(*v, 0, 0) } else { *v });
            }
            for (all, cells) in rows.iter_mut().zip(results[r.carried + r.stacked..].chunks(count)) {
                all.extend(cells);
            }
        }
        b.origin = n.origin.clone();
        let tys = &n.tys[r.carried..r.carried + r.stacked];
        let whole: Vec<Value> =
            stacked.into_iter().zip(tys).map(|(parts, ty)| b.node(Op::Concat(0), parts, ty.clone())).collect();
        [carried, whole, rows.concat()].concat()
    }

    /// Some iterations' slices of a stack; of one iteration, its slice.
    fn piece(&mut self, b: &mut Builder, v: Value, (from, to): (usize, usize), map: &[Vec<Value>]) -> Value {
        let own = self.pieces.get(&v.node).and_then(|all| all.iter().find(|(a, z, _)| (*a, *z) == (from, to)));
        if let Some((_, _, piece)) = own {
            return *piece;
        }
        let whole = self.value(b, v, map);
        match to - from {
            1 => b.element(whole, 1, from),
            n => b.slice(whole, 0, Size::from(from as i64), 1, Size::from(n as i64)),
        }
    }
}

/// An entry that gives mixed stacks in pieces.
fn given_apart(p: &mut Program, entry: Entry) -> Entry {
    let f = p.function(entry.function).clone();
    let found = f.results.clone();
    let mut b = Builder { f, ..Builder::default() };
    let (mut outputs, mut results) = (Vec::new(), Vec::new());
    for (role, v) in entry.outputs.iter().zip(found) {
        match role {
            Role::Weight(row) if is_mixed(p, row) => {
                outputs.extend(row.iter().map(|w| Role::weight(*w)));
                results.extend(crate::grad::each(p, &mut b, row, v));
            }
            _ => {
                outputs.push(role.clone());
                results.push(v);
            }
        }
    }
    Entry { function: p.add(b.finish(results)), outputs, ..entry }
}
