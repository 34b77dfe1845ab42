//! A loop taken apart: slots instead of positions, so that slots can be dropped, merged or given another kind, and put
//! together again. Takes a loop's node and its body; gives another node, and another body where that has changed.

use super::rewrite::splice;
use crate::program::build::Builder;
use crate::program::{FnId, Function, Program, Repeat, Value};
use std::collections::BTreeMap;
use std::rc::Rc;

/// What a parameter of the body is.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Slot {
    /// Carried; the argument is the first value, and the body's result gives the next.
    Carried(Value, Value),
    /// The same in every iteration.
    Invariant(Value),
    /// A slice of this.
    Stack(Value),
    /// One of these.
    Row(Vec<Value>),
    /// The same number everywhere, in every iteration: no argument.
    Known(f64),
    /// The same as an earlier parameter: no argument.
    Same(usize),
    /// Nothing uses it: no argument.
    Dead,
}

/// A loop taken apart.
pub(super) struct Loop {
    count: usize,
    reverse: bool,
    members: Vec<Rc<str>>,
    body: Function,
    id: FnId,
    /// What each parameter of the body is.
    pub slots: Vec<Slot>,
    /// The body's results that are stacked; each with the port that it had.
    pub stacked: Vec<(Value, usize)>,
    /// The body's results that are given by row; each with the first port that it had.
    pub rows: Vec<(Value, usize)>,
}

impl Loop {
    /// Takes a node apart; `args` are its arguments.
    pub(super) fn new(p: &Program, r: &Repeat, args: &[Value]) -> Loop {
        let body = p.function(r.body).clone();
        let slot = |i: usize| {
            let own = &args[r.args_of(i)];
            match i {
                _ if i < r.carried => Slot::Carried(own[0], body.results[i]),
                _ if i < r.carried + r.invariant => Slot::Invariant(own[0]),
                _ if i < r.carried + r.invariant + r.stacks => Slot::Stack(own[0]),
                _ => Slot::Row(own.to_vec()),
            }
        };
        let slots = (0..body.params.len()).map(slot).collect();
        let first = r.carried + r.stacked;
        let result = |j: usize| (body.results[j], r.ports_of(j).start);
        Loop {
            count: r.count,
            reverse: r.reverse,
            members: r.members.clone(),
            slots,
            stacked: (r.carried..first).map(result).collect(),
            rows: (first..first + r.row_results).map(result).collect(),
            id: r.body,
            body,
        }
    }

    /// How often it runs.
    pub(super) fn count(&self) -> usize {
        self.count
    }

    /// The parameter that a value of the body is.
    pub(super) fn param(&self, v: Value) -> Option<usize> {
        ((v.node as usize) < self.slots.len()).then_some(v.node as usize)
    }

    /// Puts it together in the function being built. Gives, for each port that the node had and still has, the value.
    pub(super) fn build(self, p: &mut Program, b: &mut Builder) -> BTreeMap<usize, Value> {
        let of_kind = |kind: &dyn Fn(&Slot) -> bool| (0..self.slots.len()).filter(|i| kind(&self.slots[*i])).collect();
        let carried: Vec<usize> = of_kind(&|s| matches!(s, Slot::Carried(..)));
        let invariant: Vec<usize> = of_kind(&|s| matches!(s, Slot::Invariant(_)));
        let stacks: Vec<usize> = of_kind(&|s| matches!(s, Slot::Stack(_)));
        let rows: Vec<usize> = of_kind(&|s| matches!(s, Slot::Row(_)));
        let order = [&carried[..], &invariant, &stacks, &rows].concat();
        let results = self.results(&carried);
        let unchanged = order.len() == self.slots.len() && order.is_sorted() && results == self.body.results;
        let body = if unchanged { self.id } else { self.add_body(p, &order, results) };
        let mut args = Vec::new();
        for i in &order {
            match &self.slots[*i] {
                Slot::Carried(v, _) | Slot::Invariant(v) | Slot::Stack(v) => args.push(*v),
                Slot::Row(vs) => args.extend(vs),
                Slot::Known(_) | Slot::Same(_) | Slot::Dead => {}
            }
        }
        let r = Repeat {
            body,
            count: self.count,
            reverse: self.reverse,
            carried: carried.len(),
            invariant: invariant.len(),
            stacks: stacks.len(),
            rows: rows.len(),
            stacked: self.stacked.len(),
            row_results: self.rows.len(),
            members: self.members.clone(),
        };
        let tys = r.result_tys(&p.function(body).result_tys());
        let (shape, ports) = (r.clone(), b.repeat(r, args, tys));
        let firsts = carried.iter().copied().chain(self.stacked.iter().chain(&self.rows).map(|(_, port)| *port));
        let mut map = BTreeMap::new();
        for (j, first) in firsts.enumerate() {
            map.extend(shape.ports_of(j).enumerate().map(|(k, port)| (first + k, ports[port])));
        }
        map
    }

    fn results(&self, carried: &[usize]) -> Vec<Value> {
        let next = |i: &usize| match &self.slots[*i] {
            Slot::Carried(_, next) => Some(*next),
            Slot::Invariant(_) | Slot::Stack(_) | Slot::Row(_) | Slot::Known(_) | Slot::Same(_) | Slot::Dead => None,
        };
        let others = self.stacked.iter().chain(&self.rows).map(|(v, _)| *v);
        carried.iter().filter_map(next).chain(others).collect()
    }
    /// Adds a body with parameters in this order, and these results.
    fn add_body(&self, p: &mut Program, order: &[usize], results: Vec<Value>) -> FnId {
        let mut b = Builder::new(self.body.name.clone());
        let mut args: Vec<Option<Value>> = vec![None; self.slots.len()];
        for i in order {
            let q = &self.body.params[*i];
            args[*i] = Some(b.param(q.name.clone(), q.ty.clone()));
        }
        for (i, slot) in self.slots.iter().enumerate() {
            let ty = &self.body.params[i].ty;
            match slot {
                Slot::Known(x) => args[i] = Some(b.full(ty.dtype, *x, &ty.shape)),
                Slot::Same(other) => args[i] = args[*other],
                // A loop inside may still have it as an argument, which goes when that loop is looked at.
                Slot::Dead => args[i] = Some(b.full(ty.dtype, 0.0, &ty.shape)),
                Slot::Carried(..) | Slot::Invariant(_) | Slot::Stack(_) | Slot::Row(_) => {}
            }
        }
        let args: Vec<Value> = args.into_iter().map(|a| a.expect("every parameter has a slot")).collect();
        let f = Function { results, ..self.body.clone() };
        let gives = splice(&mut b, &f, &args, "");
        p.add(b.finish(gives))
    }
}
