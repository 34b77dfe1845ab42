//! What a forward function keeps for its gradient, and what the gradient computes again. Takes the forward function and
//! the values that its backward function needs; gives those that are kept.
//!
//! Memory is what a gradient is short of, and arithmetic is nearly free in a fused kernel. So what contractions,
//! reductions, expensive primitives and calls give is kept, and what is free or cheap is computed again: views, casts,
//! comparisons, random numbers and constants always, a few steps of plain arithmetic where what they start from is kept
//! anyway or is smaller than their result, or is one contraction of their size, which is in memory in any case.

use crate::program::{Function, Op, Ty, Value, View};
use dlc_plan::{Prim, Size};
use std::collections::BTreeSet;

/// How many steps of plain arithmetic may be computed again, one after the other.
const STEPS: usize = 4;

/// How many smaller values may be kept in place of one.
const PARTS: usize = 4;

/// What it costs to have a node's result again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cost {
    /// Nothing but what its arguments cost.
    Light,
    /// A step of arithmetic.
    Step,
    /// It is not computed again.
    Heavy,
}

fn cost(op: &Op) -> Cost {
    match op {
        Op::Const(_) | Op::Table(_) | Op::Host(_) | Op::Iota(_) | Op::Random | Op::Stop | Op::Within(_) => Cost::Light,
        // A slice is smaller than what it is taken from.
        Op::View(View::Slice { .. }) | Op::Concat(_) => Cost::Step,
        Op::View(_) => Cost::Light,
        Op::Map(prim) => match prim {
            Prim::Lt | Prim::Le | Prim::Eq | Prim::Ne | Prim::And | Prim::Or | Prim::Not | Prim::Cast(_) => Cost::Light,
            Prim::Add | Prim::Sub | Prim::Mul | Prim::Div | Prim::Max | Prim::Min | Prim::Neg => Cost::Step,
            Prim::Abs | Prim::Sign | Prim::Floor | Prim::Where => Cost::Step,
            Prim::Rem | Prim::Pow | Prim::Exp | Prim::Expm1 | Prim::Log | Prim::Log1p | Prim::Sqrt => Cost::Heavy,
            Prim::Rsqrt | Prim::Sin | Prim::Cos | Prim::Tanh | Prim::Erf | Prim::Erfc => Cost::Heavy,
        },
        Op::Param(_) | Op::Reduce(..) | Op::Contract(_) | Op::Gather | Op::Scatter | Op::Rows(_) => Cost::Heavy,
        Op::Call(_) | Op::Repeat(_) | Op::Panels(_) => Cost::Heavy,
    }
}

struct Choice<'a> {
    f: &'a Function,
    /// For each node, whether it can be had again from parameters that cost nothing.
    free: Vec<bool>,
    kept: BTreeSet<Value>,
}

/// The values to keep, so that all that is `needed` can be had. Parameters from `free_from` on cost nothing to keep.
pub(super) fn choose(f: &Function, needed: impl Iterator<Item = Value>, free_from: usize) -> BTreeSet<Value> {
    let mut c = Choice { f, free: free(f, free_from), kept: BTreeSet::new() };
    let mut open: Vec<Value> = needed.collect();
    let mut steps = BTreeSet::new();
    let mut seen = BTreeSet::new();
    while let Some(v) = open.pop() {
        if !seen.insert(v) {
            continue;
        }
        match cost(&f.node(v).op) {
            Cost::Light => open.extend(&f.node(v).args),
            Cost::Step if c.free[v.node as usize] => open.extend(&f.node(v).args),
            Cost::Step => {
                steps.insert(v);
            }
            Cost::Heavy => {
                c.kept.insert(v);
            }
        }
    }
    for v in steps {
        let mut missing = BTreeSet::new();
        let reachable = c.missing(v, STEPS, &mut missing);
        let few = missing.len() <= PARTS && missing.iter().all(|m| smaller(f.ty(*m), f.ty(v)));
        if !reachable || !(few || c.of_one_contraction(v)) {
            c.kept.insert(v);
        } else {
            c.leaves(v);
        }
    }
    c.kept
}

/// The parameters that all that is `needed` can be had from.
pub(super) fn params(f: &Function, needed: impl Iterator<Item = Value>) -> BTreeSet<Value> {
    let mut open: Vec<Value> = needed.collect();
    let (mut seen, mut found) = (BTreeSet::new(), BTreeSet::new());
    while let Some(v) = open.pop() {
        if !seen.insert(v) {
            continue;
        }
        match f.node(v).op {
            Op::Param(_) => drop(found.insert(v)),
            _ => open.extend(&f.node(v).args),
        }
    }
    found
}

fn free(f: &Function, free_from: usize) -> Vec<bool> {
    let mut free: Vec<bool> = Vec::with_capacity(f.nodes.len());
    for n in &f.nodes {
        let own = match (&n.op, cost(&n.op)) {
            (Op::Param(i), _) => *i as usize >= free_from,
            (_, Cost::Heavy) => false,
            (_, Cost::Light | Cost::Step) => n.args.iter().all(|a| free[a.node as usize]),
        };
        free.push(own);
    }
    free
}

impl Choice<'_> {
    /// Collects what would have to be kept besides to compute a value again in at most `steps` steps; false if it cannot
    /// be done.
    fn missing(&self, v: Value, steps: usize, found: &mut BTreeSet<Value>) -> bool {
        if self.kept.contains(&v) || self.free[v.node as usize] {
            return true;
        }
        let n = self.f.node(v);
        let left = match cost(&n.op) {
            Cost::Light => steps,
            Cost::Step if steps == 0 => return false,
            Cost::Step => steps - 1,
            Cost::Heavy => {
                found.insert(v);
                return true;
            }
        };
        n.args.iter().all(|a| self.missing(*a, left, found))
    }

    /// Whether a value is computed in a few steps from one contraction of its size, which is in memory in any case, and from
    /// smaller things.
    fn of_one_contraction(&self, v: Value) -> bool {
        let mut found = BTreeSet::new();
        let plain = Choice { f: self.f, free: vec![false; self.f.nodes.len()], kept: BTreeSet::new() };
        if !plain.missing(v, STEPS, &mut found) || found.len() > 1 + PARTS {
            return false;
        }
        let large: Vec<&Value> = found.iter().filter(|m| !smaller(self.f.ty(**m), self.f.ty(v))).collect();
        match large[..] {
            [one] => matches!(self.f.node(*one).op, Op::Contract(_)) && self.f.ty(*one).len() == self.f.ty(v).len(),
            _ => false,
        }
    }

    /// Keeps what a value is computed again from.
    fn leaves(&mut self, v: Value) {
        if self.kept.contains(&v) {
            return;
        }
        let n = self.f.node(v);
        match cost(&n.op) {
            Cost::Heavy => {
                self.kept.insert(v);
            }
            Cost::Light | Cost::Step => n.args.iter().for_each(|a| self.leaves(*a)),
        }
    }
}

/// Whether a tensor has fewer elements than another, for all that is known of the sizes.
fn smaller(a: &Ty, than: &Ty) -> bool {
    let times = |whole: &Size, part: &Size| whole.divided(part).filter(|q| !q.is(1) && !q.is(0));
    times(&than.len(), &a.len()).is_some()
}
