//! Which cotangents have zeros by choice: those of what `where`, `max` and `min` did not take, and of what is multiplied by a
//! mask. Such a zero stays zero whatever the slopes are that it meets on its way back, so that what is infinite or NaN where it
//! was not chosen has no part in a gradient. Takes functions, gives truths for each value.

use super::flow::PerValue;
use super::ranges::{Range, Ranges, wild_args};
use crate::program::{FnId, Function, Op, Program, ReduceOp, Repeat};
use dlc_plan::Prim;
use rustc_hash::FxHashMap as HashMap;
use std::rc::Rc;

/// What is asked of a function: which results have masked cotangents, and which parameters may not be finite.
type Asked = (FnId, Vec<bool>, Vec<bool>);

/// Which parameters' cotangents are masked, each found once.
#[derive(Default)]
pub(super) struct Masks {
    found: HashMap<Asked, Rc<Vec<bool>>>,
    pub ranges: Ranges,
}

impl Masks {
    /// For each parameter of a function, whether its cotangent has zeros by choice.
    pub(super) fn of(&mut self, p: &Program, asked: Asked) -> Rc<Vec<bool>> {
        if let Some(found) = self.found.get(&asked) {
            return found.clone();
        }
        let (id, seeds, wild) = &asked;
        let f = p.function(*id);
        let found = match f.derivative {
            Some(d) => vec![seeds.contains(&true) || chooses(p.function(d)); f.params.len()],
            None => {
                let ranges = self.ranges.through(p, f, wild);
                let all = self.through(p, f, seeds, &ranges);
                (0..f.params.len()).map(|i| all[i][0]).collect()
            }
        };
        let found = Rc::new(found);
        self.found.insert(asked, found.clone());
        found
    }

    /// For all values of a function. `seeds` are the results whose cotangents are masked.
    pub(super) fn through(&mut self, p: &Program, f: &Function, seeds: &[bool], ranges: &[Vec<Range>]) -> PerValue {
        let mut masked: PerValue = f.nodes.iter().map(|n| vec![false; n.tys.len()]).collect();
        for (v, _) in f.results.iter().zip(seeds).filter(|(_, seeded)| **seeded) {
            masked[v.node as usize][v.port as usize] = true;
        }
        let live = f.live();
        for (i, n) in f.nodes.iter().enumerate().rev().filter(|(i, _)| live[*i]) {
            let through = masked[i].contains(&true);
            let range = |k: usize| &ranges[n.args[k].node as usize][n.args[k].port as usize];
            let own: Vec<bool> = match &n.op {
                Op::Map(Prim::Where | Prim::Max | Prim::Min) | Op::Reduce(ReduceOp::Max | ReduceOp::Min, _) => {
                    vec![true; n.args.len()]
                }
                Op::Map(Prim::Mul) => (0..2).map(|k| through || range(1 - k).chosen).collect(),
                Op::Call(g) => {
                    let args: Vec<Range> = (0..n.args.len()).map(|k| *range(k)).collect();
                    self.of(p, (*g, masked[i].clone(), wild_args(p, *g, &args))).to_vec()
                }
                Op::Repeat(r) => {
                    let wild: Vec<bool> = (0..n.args.len()).map(|k| range(k).wild()).collect();
                    let (_, params) = self.of_loop(p, r, &masked[i], &wild);
                    (0..n.args.len()).map(|k| params[r.param_of(k)]).collect()
                }
                _ => vec![through; n.args.len()],
            };
            for (a, _) in n.args.iter().zip(own).filter(|(_, own)| *own) {
                masked[a.node as usize][a.port as usize] = true;
            }
        }
        masked
    }

    /// For a loop whose results' cotangents are masked or not: which results of its body have masked ones, and which
    /// parameters.
    pub(super) fn of_loop(
        &mut self,
        p: &Program,
        r: &Repeat,
        results: &[bool],
        wild: &[bool],
    ) -> (Vec<bool>, Vec<bool>) {
        let body = p.function(r.body);
        let mut seeds: Vec<bool> = (0..body.results.len()).map(|j| r.ports_of(j).any(|port| results[port])).collect();
        let wild = self.ranges.of_body(p, r, wild);
        loop {
            let params = self.of(p, (r.body, seeds.clone(), wild.clone())).to_vec();
            let before = seeds.clone();
            (0..r.carried).for_each(|j| seeds[j] |= params[j]);
            if seeds == before {
                return (seeds, params);
            }
        }
    }

    /// Whether nothing in a function makes zeros by choice, so that it does not matter what may not be finite.
    pub(super) fn none(&mut self, p: &Program, id: FnId, wild: &[bool]) -> bool {
        let seeds = vec![false; p.function(id).results.len()];
        !self.of(p, (id, seeds, wild.to_vec())).contains(&true)
    }
}

/// Whether a stated derivative chooses between cotangents.
fn chooses(d: &Function) -> bool {
    d.nodes.iter().any(|n| n.op == Op::Map(Prim::Where) && n.tys[0].dtype.is_float())
}
