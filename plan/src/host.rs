//! Scalars that are known on the host before a step: hyper-parameters, schedules, sizes, what differs between the
//! iterations of a loop or between the segments of an arena. They are computed in double precision and rounded where
//! they meet a tensor.

use crate::{Prim, Size};

/// A number that the host knows.
#[derive(Clone, Debug, PartialEq)]
pub enum Host {
    /// A constant.
    Const(f64),
    /// Something that changes from step to step.
    Var(HostVar),
    /// A size.
    Size(Size),
    /// A primitive of such numbers.
    Prim(Prim, Vec<Host>),
    /// One number for each iteration of the loop around it; the depth counts loops from the outermost, which is 0.
    Row(u8, Vec<Host>),
    /// One number for each segment of the trained weights.
    Segment(Vec<Host>),
}

/// What changes from step to step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HostVar {
    /// The optimizer's step, from 0.
    Step,
    /// The number of optimizer steps of the whole training.
    Steps,
    /// The epoch, from 0.
    Epoch,
    /// The number of samples that entered the optimizer step before this micro-batch.
    FirstSample,
    /// The low 32 bits of the seed.
    SeedLow,
    /// The high 32 bits of the seed.
    SeedHigh,
}

/// What a host number is computed from.
#[derive(Clone, Debug, Default)]
pub struct HostState {
    /// The optimizer's step, from 0.
    pub step: u64,
    /// The number of optimizer steps of the whole training.
    pub steps: u64,
    /// The epoch, from 0.
    pub epoch: u64,
    /// The number of samples that entered the optimizer step before this micro-batch.
    pub first_sample: u64,
    /// The seed of all random bits.
    pub seed: u64,
}

/// Dynamic sizes that are known, that is, not negative: `B = 3, T = 600`.
pub fn shown_sizes(used: &[u16], names: &[String], dims: &[i64]) -> String {
    let known = used.iter().filter_map(|d| {
        let (name, n) = (names.get(usize::from(*d))?, dims.get(usize::from(*d))?);
        (*n >= 0).then(|| format!("{name} = {n}"))
    });
    known.collect::<Vec<_>>().join(", ")
}

impl Host {
    /// What is said where a condition does not hold: `message`, after the dynamic sizes that the condition speaks of, which are
    /// called `names` and are `dims`: `T = 3, but ..`.
    pub fn refused(&self, message: &str, names: &[String], dims: &[i64]) -> String {
        let mut used = Vec::new();
        self.find_dims(&mut used);
        used.sort_unstable();
        used.dedup();
        match shown_sizes(&used, names, dims) {
            known if known.is_empty() => message.to_owned(),
            known => format!("{known}, but {message}"),
        }
    }

    fn find_dims(&self, found: &mut Vec<u16>) {
        match self {
            Host::Const(_) | Host::Var(_) => {}
            Host::Size(size) => found.extend(size.dims()),
            Host::Prim(_, cells) | Host::Row(_, cells) | Host::Segment(cells) => {
                cells.iter().for_each(|cell| cell.find_dims(found));
            }
        }
    }

    /// The value; `dims` are the dynamic sizes, `rows` the iteration of each loop around it, outermost first.
    pub fn eval(&self, state: &HostState, dims: &[i64], rows: &[usize], segment: usize) -> f64 {
        match self {
            Host::Const(x) => *x,
            Host::Var(HostVar::Step) => state.step as f64,
            Host::Var(HostVar::Steps) => state.steps as f64,
            Host::Var(HostVar::Epoch) => state.epoch as f64,
            Host::Var(HostVar::FirstSample) => state.first_sample as f64,
            Host::Var(HostVar::SeedLow) => f64::from(state.seed as u32),
            Host::Var(HostVar::SeedHigh) => f64::from((state.seed >> 32) as u32),
            Host::Size(s) => s.eval(dims) as f64,
            Host::Prim(p, args) => {
                let mut x = [0.0; 3];
                for (slot, arg) in x.iter_mut().zip(args) {
                    *slot = arg.eval(state, dims, rows, segment);
                }
                p.eval(&x)
            }
            Host::Row(depth, cells) => match rows.get(*depth as usize).and_then(|&i| cells.get(i)) {
                Some(cell) => cell.eval(state, dims, rows, segment),
                None => f64::NAN,
            },
            Host::Segment(cells) => match cells.get(segment) {
                Some(cell) => cell.eval(state, dims, rows, segment),
                None => f64::NAN,
            },
        }
    }

    /// The value, if nothing in it can change.
    pub fn known(&self) -> Option<f64> {
        match self {
            Host::Const(x) => Some(*x),
            Host::Size(s) => s.known().map(|n| n as f64),
            Host::Var(_) | Host::Row(..) | Host::Segment(_) => None,
            Host::Prim(p, args) => {
                let x: Option<Vec<f64>> = args.iter().map(Host::known).collect();
                Some(p.eval(&x?))
            }
        }
    }
}
