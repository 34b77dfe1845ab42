//! What depends on what, as far as gradients go: which arguments a node's result has a derivative by, and from that,
//! which values of a function depend on its wanted parameters, and which its seeded results depend on. Takes functions,
//! gives truths for each value; no nodes are made here.

use super::rules;
use crate::program::{FnId, Function, Node, Op, Program, Repeat, Ty};
use rustc_hash::FxHashMap as HashMap;
use std::rc::Rc;

/// For each result of a function, for each parameter, whether there is a derivative.
pub(super) type Flow = Vec<Vec<bool>>;

/// For each node, for each of its results.
pub(super) type PerValue = Vec<Vec<bool>>;

/// The flows of functions, each found once.
#[derive(Default)]
pub(super) struct Flows {
    found: HashMap<FnId, Rc<Flow>>,
}

impl Flows {
    /// The flow of a function.
    pub(super) fn of(&mut self, p: &Program, id: FnId) -> Rc<Flow> {
        if let Some(found) = self.found.get(&id) {
            return found.clone();
        }
        let f = p.function(id);
        let real = |t: &Ty| t.dtype.is_float();
        let flow: Flow = match f.derivative {
            Some(_) => {
                f.result_tys().iter().map(|r| f.params.iter().map(|q| real(r) && real(&q.ty)).collect()).collect()
            }
            None => self.through(p, f),
        };
        let flow = Rc::new(flow);
        self.found.insert(id, flow.clone());
        flow
    }

    /// For each result, the parameters that reach it, by going over the nodes once.
    fn through(&mut self, p: &Program, f: &Function) -> Flow {
        let mut from: Vec<Vec<Vec<bool>>> = Vec::with_capacity(f.nodes.len());
        for n in &f.nodes {
            let mut own = vec![vec![false; f.params.len()]; n.tys.len()];
            if let Op::Param(i) = n.op {
                own[0][i as usize] = n.tys[0].dtype.is_float();
            }
            let edges = self.edges(p, f, n);
            for (port, own) in own.iter_mut().enumerate() {
                for (a, _) in n.args.iter().zip(&edges[port]).filter(|(_, edge)| **edge) {
                    let theirs = &from[a.node as usize][a.port as usize];
                    own.iter_mut().zip(theirs).for_each(|(o, t)| *o |= t);
                }
            }
            from.push(own);
        }
        f.results.iter().map(|v| from[v.node as usize][v.port as usize].clone()).collect()
    }

    /// For each result of a node, for each argument, whether there is a derivative.
    pub(super) fn edges(&mut self, p: &Program, f: &Function, n: &Node) -> Vec<Vec<bool>> {
        let real = |t: &Ty| t.dtype.is_float();
        let one = |passes: &dyn Fn(usize) -> bool| {
            let passes = |k: usize| passes(k) && real(f.ty(n.args[k])) && real(&n.tys[0]);
            vec![(0..n.args.len()).map(passes).collect::<Vec<bool>>()]
        };
        match &n.op {
            Op::Param(_) | Op::Const(_) | Op::Table(_) | Op::Host(_) | Op::Iota(_) => one(&|_| false),
            Op::Random | Op::Stop | Op::Within(_) => one(&|_| false),
            Op::Panels(_) => vec![vec![false; n.args.len()]; n.tys.len()],
            Op::Map(prim) => one(&|k| rules::passes(*prim, k)),
            Op::Reduce(..) | Op::View(_) | Op::Contract(_) | Op::Concat(_) => one(&|_| true),
            Op::Gather => one(&|k| k == 0),
            Op::Scatter => one(&|k| k == 1),
            Op::Rows(_) => one(&|_| true),
            Op::Call(g) => self.of(p, *g).to_vec(),
            Op::Repeat(r) => {
                let flow = self.of_loop(p, r);
                (0..n.tys.len())
                    .map(|port| (0..n.args.len()).map(|k| flow[r.result_of(port)][r.param_of(k)]).collect())
                    .collect()
            }
        }
    }

    /// The flow of a whole loop, from the parameters of its body to the results of its body.
    fn of_loop(&mut self, p: &Program, r: &Repeat) -> Flow {
        let body = self.of(p, r.body);
        let mut flow: Flow = body.to_vec();
        // What reaches a carried result in one iteration reaches, in a later one, all that depends on that parameter.
        loop {
            let before = flow.clone();
            for row in &mut flow {
                for j in (0..r.carried).filter(|j| row[*j]).collect::<Vec<_>>() {
                    row.iter_mut().zip(&before[j]).for_each(|(o, t)| *o |= t);
                }
            }
            if flow == before {
                return flow;
            }
        }
    }
}

/// The values that depend on the wanted parameters.
pub(super) fn active(flows: &mut Flows, p: &Program, f: &Function, wanted: &[bool]) -> PerValue {
    let mut active: PerValue = Vec::with_capacity(f.nodes.len());
    for n in &f.nodes {
        if let Op::Param(i) = n.op {
            active.push(vec![wanted[i as usize] && n.tys[0].dtype.is_float()]);
            continue;
        }
        let reaches =
            |row: &Vec<bool>| n.args.iter().zip(row).any(|(a, edge)| *edge && active[a.node as usize][a.port as usize]);
        let own = flows.edges(p, f, n).iter().map(reaches).collect();
        active.push(own);
    }
    active
}

/// The values that the seeded results depend on.
pub(super) fn reached(flows: &mut Flows, p: &Program, f: &Function, seeds: &[bool]) -> PerValue {
    let mut reached: PerValue = f.nodes.iter().map(|n| vec![false; n.tys.len()]).collect();
    for (v, _) in f.results.iter().zip(seeds).filter(|(_, s)| **s) {
        reached[v.node as usize][v.port as usize] |= f.ty(*v).dtype.is_float();
    }
    for (i, n) in f.nodes.iter().enumerate().rev() {
        if !reached[i].contains(&true) {
            continue;
        }
        let seeded = reached[i].clone();
        for (row, _) in flows.edges(p, f, n).iter().zip(seeded).filter(|(_, seeded)| *seeded) {
            for (a, _) in n.args.iter().zip(row).filter(|(_, edge)| **edge) {
                reached[a.node as usize][a.port as usize] = true;
            }
        }
    }
    reached
}
