//! Gradients in reverse mode, function by function. Takes a function, the parameters whose cotangents are wanted and the
//! results that have one; adds two functions to the program: `f.forward`, which gives what f gives and then what its
//! gradient needs to keep, and `f.backward`, which goes from what is kept and the results' cotangents to the parameters'.
//!
//! A call's gradient is calls of those two; a loop's is a loop that stacks what it keeps, and one that runs backwards. A
//! `derivative` that the spec states takes the place of `f.backward`. What has no cotangent gets no nodes: no zeros are
//! carried about, so that nothing is ever zero times infinity. Zeros that a choice makes stay zeros, see [`masks`].

mod accumulate;
mod entries;
mod flow;
mod function;
mod keep;
mod masks;
mod ops;
mod ranges;
mod repeat;
mod rules;
mod stated;
mod windows;

pub use accumulate::accumulate;
pub(crate) use entries::each;
pub use entries::entries;

use crate::program::{FnId, Program};
use flow::Flows;
use masks::Masks;
use rustc_hash::FxHashMap as HashMap;

/// A function's gradient.
#[derive(Clone, Debug, PartialEq)]
pub struct Gradient {
    /// Takes what the function takes; gives what it gives, then what is kept.
    pub forward: FnId,
    /// Takes the residuals, then a cotangent for each result that has one; gives cotangents of wanted parameters.
    pub backward: FnId,
    /// What `backward` takes first.
    pub residuals: Vec<Residual>,
    /// For each wanted parameter, ascending: its number, and which result of `backward` is its cotangent. None where it
    /// is zero everywhere.
    pub cotangents: Vec<(usize, Option<usize>)>,
}

/// A value of the forward function that the backward one needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Residual {
    /// A parameter of the function.
    Param(usize),
    /// A result of the function.
    Result(usize),
    /// A further result of the forward function, counted after the function's own.
    Kept(usize),
}

/// What a gradient is asked for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Request {
    function: FnId,
    /// For each parameter, whether its cotangent is wanted.
    wanted: Vec<bool>,
    /// For each result, whether it has a cotangent.
    seeds: Vec<bool>,
    /// For each result, whether its cotangent has zeros by choice.
    masked: Vec<bool>,
    /// For each parameter, whether it may be something else than a finite number. All false where that does not matter.
    wild: Vec<bool>,
    /// Parameters from this one on cost nothing to keep, since they are there in the backward pass anyway.
    free_from: usize,
}

/// Gradients made so far, each once.
#[derive(Default)]
struct Made {
    gradients: HashMap<Request, Gradient>,
    flows: Flows,
    masks: Masks,
}

/// The gradient of a function: from cotangents of all its real results to those of some parameters, which must be real.
pub fn gradient(p: &mut Program, function: FnId, wanted: &[usize]) -> Gradient {
    let f = p.function(function);
    let request = Request {
        function,
        wanted: (0..f.params.len()).map(|i| wanted.contains(&i)).collect(),
        seeds: f.result_tys().iter().map(|t| t.dtype.is_float()).collect(),
        masked: vec![false; f.results.len()],
        wild: vec![false; f.params.len()],
        free_from: 0,
    };
    Made::default().gradient(p, request)
}

impl Made {
    fn gradient(&mut self, p: &mut Program, mut request: Request) -> Gradient {
        if !request.masked.contains(&true) && self.masks.none(p, request.function, &request.wild) {
            request.wild.fill(false);
        }
        if let Some(g) = self.gradients.get(&request) {
            return g.clone();
        }
        let g = match p.function(request.function).derivative {
            Some(d) => stated::gradient(p, &request, d),
            None => function::gradient(self, p, &request),
        };
        self.gradients.insert(request, g.clone());
        g
    }
}
