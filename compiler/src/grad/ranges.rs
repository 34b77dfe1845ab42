//! Which values may leave the finite numbers: intervals, from those of a function's parameters. Inputs and weights count as
//! finite, and plain arithmetic of finite numbers as finite; what divides, takes roots, logarithms and powers, or grows as exp
//! does, may give an infinity or NaN unless the interval says otherwise. Takes functions, gives an interval for each value.

use super::flow::PerValue;
use crate::program::{FnId, Function, Node, Op, Program, ReduceOp, Repeat, RowOp, Value, View};
use dlc_plan::{DType, Host, Prim};
use rustc_hash::FxHashMap as HashMap;
use std::rc::Rc;

/// The numbers that a value may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Range {
    pub lo: f64,
    pub hi: f64,
    /// Whether it may be NaN.
    pub nan: bool,
    /// Whether some of its elements are made 0 by a choice: a mask, or the lesser of two.
    pub chosen: bool,
    /// Whether it is a truth or a number that is drawn.
    drawn: bool,
}

/// The greatest finite number of single precision.
const MOST: f64 = f32::MAX as f64;

impl Range {
    const FINITE: Range = Range::of(-MOST, MOST);
    const ANY: Range = Range { nan: true, ..Range::of(f64::NEG_INFINITY, f64::INFINITY) };

    const fn of(lo: f64, hi: f64) -> Range {
        Range { lo, hi, nan: false, chosen: false, drawn: false }
    }

    /// Whether it may be no finite number.
    pub fn wild(&self) -> bool {
        self.nan || self.lo < -MOST || self.hi > MOST
    }

    fn holds_zero(&self) -> bool {
        self.lo <= 0.0 && self.hi >= 0.0
    }

    fn point(&self) -> Option<f64> {
        (self.lo == self.hi && !self.nan).then_some(self.lo)
    }

    fn union(self, other: Range) -> Range {
        Range {
            lo: self.lo.min(other.lo),
            hi: self.hi.max(other.hi),
            nan: self.nan || other.nan,
            chosen: self.chosen || other.chosen,
            drawn: self.drawn || other.drawn,
        }
    }

    /// What sums of such numbers are.
    fn sums(self) -> Range {
        let end = |x: f64| if x.is_infinite() { x } else { MOST.copysign(x) };
        let (lo, hi) =
            (if self.lo >= 0.0 { 0.0 } else { end(self.lo) }, if self.hi <= 0.0 { 0.0 } else { end(self.hi) });
        let both = lo.is_infinite() && hi.is_infinite();
        Range { lo, hi, nan: self.nan || both, chosen: false, drawn: self.drawn }
    }

    /// Finite numbers stay so by plain arithmetic, whatever it is.
    fn kept_finite(self, finite: bool) -> Range {
        if finite { Range { lo: self.lo.max(-MOST), hi: self.hi.min(MOST), ..self } } else { self }
    }
}

/// The results' ranges of functions, each found once for parameters that are finite and others.
#[derive(Default)]
pub(super) struct Ranges {
    found: HashMap<(FnId, Vec<bool>), Rc<Vec<Range>>>,
}

impl Ranges {
    /// The ranges of a function's results; `wild` are the parameters that may not be finite.
    fn of(&mut self, p: &Program, id: FnId, wild: &[bool]) -> Rc<Vec<Range>> {
        let key = (id, wild.to_vec());
        if let Some(found) = self.found.get(&key) {
            return found.clone();
        }
        let f = p.function(id);
        let all = self.through(p, f, wild);
        let mut results: Vec<Range> = f.results.iter().map(|v| all[v.node as usize][v.port as usize]).collect();
        if f.derivative.is_some() {
            // Who states a derivative has looked after the finite numbers.
            let tame = !wild.contains(&true);
            let cared = |r: &mut Range| *r = Range { nan: !tame, ..r.kept_finite(tame) };
            results.iter_mut().for_each(cared);
        }
        let results = Rc::new(results);
        self.found.insert(key, results.clone());
        results
    }

    /// The ranges of all values of a function.
    pub(super) fn through(&mut self, p: &Program, f: &Function, wild: &[bool]) -> Vec<Vec<Range>> {
        let mut all: Vec<Vec<Range>> = Vec::with_capacity(f.nodes.len());
        for n in &f.nodes {
            let args: Vec<Range> = n.args.iter().map(|a| all[a.node as usize][a.port as usize]).collect();
            let own = match &n.op {
                Op::Param(i) if wild[*i as usize] => vec![Range::ANY],
                Op::Call(g) => self.call(p, *g, &args),
                Op::Repeat(r) => {
                    let wild: Vec<bool> = args.iter().map(Range::wild).collect();
                    let wild = self.of_body(p, r, &wild);
                    let results = self.of(p, r.body, &wild);
                    let result = |port| if results[r.result_of(port)].wild() { Range::ANY } else { Range::FINITE };
                    (0..n.tys.len()).map(result).collect()
                }
                _ => vec![plain(n, &args); n.tys.len()],
            };
            let own = own.into_iter().zip(&n.tys).map(|(r, ty)| if ty.dtype.is_float() { r } else { tame(r) });
            all.push(own.collect());
        }
        all
    }

    /// Which parameters of a loop's body may not be finite, from the arguments that may not: what is carried comes back as a
    /// parameter.
    pub(super) fn of_body(&mut self, p: &Program, r: &Repeat, args: &[bool]) -> Vec<bool> {
        let mut wild = vec![false; p.function(r.body).params.len()];
        args.iter().enumerate().for_each(|(k, a)| wild[r.param_of(k)] |= a);
        loop {
            let results = self.of(p, r.body, &wild);
            if (0..r.carried).all(|j| wild[j] || !results[j].wild()) {
                return wild;
            }
            (0..r.carried).for_each(|j| wild[j] |= results[j].wild());
        }
    }

    fn call(&mut self, p: &Program, g: FnId, args: &[Range]) -> Vec<Range> {
        self.of(p, g, &wild_args(p, g, args)).to_vec()
    }
}

/// Which arguments of a call may be something else than finite numbers. A function that states its derivative is trusted with
/// -inf, as softmax is.
pub(super) fn wild_args(p: &Program, g: FnId, args: &[Range]) -> Vec<bool> {
    let stated = p.function(g).derivative.is_some();
    args.iter().map(|a| if stated { a.nan || a.hi > MOST } else { a.wild() }).collect()
}

/// Integers and truths are finite.
fn tame(r: Range) -> Range {
    Range { nan: false, ..r.kept_finite(true) }
}

/// The range of what a node gives that runs nothing else.
fn plain(n: &Node, args: &[Range]) -> Range {
    match &n.op {
        Op::Const(x) => Range { nan: x.is_nan(), ..Range::of(*x, *x) },
        Op::Table(all) => {
            let ends = |(lo, hi): (f64, f64), x: &f64| (lo.min(*x), hi.max(*x));
            let (lo, hi) = all.iter().fold((f64::INFINITY, f64::NEG_INFINITY), ends);
            if lo <= hi { Range::of(lo, hi) } else { Range::FINITE }
        }
        Op::Host(h) => host(h),
        Op::Map(prim) => match n.args[..] {
            // A square.
            [a, b] if a == b && *prim == Prim::Mul => {
                let product = mapped(Prim::Mul, args);
                Range { lo: product.lo.max(0.0), ..product }
            }
            _ => mapped(*prim, args),
        },
        Op::Reduce(ReduceOp::Sum, _) | Op::Rows(RowOp::RunningSum) => args[0].sums(),
        Op::Reduce(ReduceOp::Max | ReduceOp::Min, _) => args[0],
        Op::Reduce(ReduceOp::Prod, _) => {
            if args[0].wild() {
                Range::ANY
            } else {
                Range::FINITE
            }
        }
        Op::View(View::Pad { .. } | View::Affine(_)) => args[0].union(Range::of(0.0, 0.0)),
        Op::View(_) | Op::Stop | Op::Within(_) | Op::Gather => args[0],
        Op::Scatter => args[1].sums(),
        Op::Contract(k) => {
            let square = n.args[0] == n.args[1] && k.a == k.b;
            let lo = if square || args.iter().all(|a| a.lo >= 0.0) { 0.0 } else { -MOST };
            if args.iter().any(Range::wild) { Range::ANY } else { Range::of(lo, MOST) }
        }
        Op::Random => Range { drawn: true, ..Range::of(0.0, 1.0) },
        Op::Iota(_) => Range::of(0.0, MOST),
        Op::Concat(_) => args.iter().copied().reduce(Range::union).unwrap_or(Range::FINITE),
        Op::Param(_) | Op::Rows(RowOp::Order { .. }) => Range::FINITE,
        Op::Call(_) | Op::Repeat(_) | Op::Panels(_) => {
            if args.iter().any(Range::wild) {
                Range::ANY
            } else {
                Range::FINITE
            }
        }
    }
}

/// The range of a number of the host.
fn host(h: &Host) -> Range {
    match h {
        Host::Const(x) => Range { nan: x.is_nan(), ..Range::of(*x, *x) },
        // Where a size is 0 there are no elements that could have a gradient.
        Host::Size(s) => match (s.known(), s.terms()) {
            (Some(n), _) => Range::of(n as f64, n as f64),
            (None, [one]) if one.factor > 0 => Range::of(1.0, MOST),
            (None, _) => Range::FINITE,
        },
        Host::Prim(prim, parts) => mapped(*prim, &parts.iter().map(host).collect::<Vec<_>>()),
        Host::Row(_, parts) | Host::Segment(parts) => {
            parts.iter().map(host).reduce(Range::union).unwrap_or(Range::FINITE)
        }
        Host::Var(_) => Range::of(0.0, MOST),
    }
}

/// The range of a primitive's result.
fn mapped(prim: Prim, x: &[Range]) -> Range {
    let nan = x.iter().any(|r| r.nan);
    let drawn = x.iter().any(|r| r.drawn);
    let finite = !x.iter().any(Range::wild);
    let one = |lo: f64, hi: f64, odd: bool| Range { lo, hi, nan: nan || odd, chosen: false, drawn };
    let grown = |r: f64| if r > MOST { f64::INFINITY } else { r };
    let positive_root = |f: fn(f64) -> f64| (f(x[0].lo.max(0.0)), f(x[0].hi.max(0.0)));
    match prim {
        Prim::Add | Prim::Sub => {
            let b = if prim == Prim::Sub { mapped(Prim::Neg, &x[1..]) } else { x[1] };
            let odd = x[0].hi > MOST && b.lo < -MOST || x[0].lo < -MOST && b.hi > MOST;
            let end = |s: f64, other: f64| if s.is_nan() { other } else { s };
            one(end(x[0].lo + b.lo, f64::NEG_INFINITY), end(x[0].hi + b.hi, f64::INFINITY), odd).kept_finite(finite)
        }
        Prim::Mul => {
            let infinite = |r: &Range| r.lo < -MOST || r.hi > MOST;
            let odd = x[0].holds_zero() && infinite(&x[1]) || x[1].holds_zero() && infinite(&x[0]);
            let (lo, hi) = corners(&x[0], &x[1], |a, b| if a == 0.0 || b == 0.0 { 0.0 } else { a * b });
            Range { chosen: x[0].chosen || x[1].chosen, ..one(lo, hi, odd).kept_finite(finite) }
        }
        Prim::Div if x[1].holds_zero() => Range::ANY,
        Prim::Div => {
            let infinite = |r: &Range| r.lo < -MOST || r.hi > MOST;
            let quotient = |a: f64, b: f64| if b.is_infinite() { 0.0 } else { a / b };
            let (lo, hi) = corners(&x[0], &x[1], quotient);
            Range { chosen: x[0].chosen, ..one(lo, hi, infinite(&x[0]) && infinite(&x[1])) }
                .kept_finite(!x[0].wild() && !x[1].nan)
        }
        Prim::Rem if x[1].holds_zero() || !finite => Range::ANY,
        Prim::Rem => Range::FINITE,
        Prim::Pow => power(&x[0], &x[1]),
        Prim::Max | Prim::Min => {
            let chosen = x.iter().any(|r| r.chosen || r.point() == Some(0.0));
            let (lo, hi) = if prim == Prim::Max {
                (x[0].lo.max(x[1].lo), x[0].hi.max(x[1].hi))
            } else {
                (x[0].lo.min(x[1].lo), x[0].hi.min(x[1].hi))
            };
            Range { chosen, ..one(lo, hi, false) }
        }
        Prim::Neg => Range { chosen: x[0].chosen, ..one(-x[0].hi, -x[0].lo, false) },
        Prim::Abs => {
            let most = x[0].lo.abs().max(x[0].hi.abs());
            let least = if x[0].holds_zero() { 0.0 } else { x[0].lo.abs().min(x[0].hi.abs()) };
            Range { chosen: x[0].chosen, ..one(least, most, false) }
        }
        Prim::Exp => one(x[0].lo.exp(), grown(x[0].hi.exp()), false),
        Prim::Expm1 => one(x[0].lo.exp_m1(), grown(x[0].hi.exp_m1()), false),
        Prim::Log | Prim::Log1p => {
            let by = if prim == Prim::Log { 0.0 } else { 1.0 };
            let (lo, hi) = ((x[0].lo + by).max(0.0).ln(), (x[0].hi + by).max(0.0).ln());
            one(lo, hi, x[0].lo + by < 0.0)
        }
        Prim::Sqrt => {
            let (lo, hi) = positive_root(f64::sqrt);
            one(lo, hi, x[0].lo < 0.0)
        }
        Prim::Rsqrt => {
            let (hi, lo) = positive_root(|r| 1.0 / r.sqrt());
            one(lo, hi, x[0].lo < 0.0)
        }
        Prim::Sin | Prim::Cos => one(-1.0, 1.0, !finite),
        Prim::Tanh | Prim::Erf | Prim::Sign => one(-1.0, 1.0, false),
        Prim::Erfc => one(0.0, 2.0, false),
        Prim::Floor => Range { chosen: x[0].chosen, ..one(x[0].lo.floor(), x[0].hi, false) },
        Prim::Cast(_) => x[0],
        Prim::Lt | Prim::Le | Prim::Eq | Prim::Ne | Prim::And | Prim::Or | Prim::Not => {
            Range { chosen: !drawn, drawn, ..Range::of(0.0, 1.0) }
        }
        Prim::Where => {
            let zero = x[1..].iter().any(|r| r.point() == Some(0.0));
            let both = x[1].union(x[2]);
            Range { chosen: both.chosen || zero, ..both }
        }
    }
}

/// The least and the greatest of a function of two numbers that is monotone in each.
fn corners(a: &Range, b: &Range, f: impl Fn(f64, f64) -> f64) -> (f64, f64) {
    let all = [f(a.lo, b.lo), f(a.lo, b.hi), f(a.hi, b.lo), f(a.hi, b.hi)];
    let least = |so_far: f64, x: f64| if x.is_nan() { f64::NEG_INFINITY } else { so_far.min(x) };
    let most = |so_far: f64, x: f64| if x.is_nan() { f64::INFINITY } else { so_far.max(x) };
    (all.into_iter().fold(f64::INFINITY, least), all.into_iter().fold(f64::NEG_INFINITY, most))
}

/// The range of a power.
fn power(a: &Range, b: &Range) -> Range {
    if a.wild() || b.wild() {
        return Range::ANY;
    }
    let (e, positive) = (b.point(), a.lo > 0.0);
    match e {
        Some(e) if e >= 0.0 && e.fract() == 0.0 => {
            let lo = if e % 2.0 != 0.0 && a.lo < 0.0 { -MOST } else { 0.0 };
            Range { chosen: a.chosen && e > 0.0, ..Range::of(lo, MOST) }
        }
        Some(e) if e > 0.0 && a.lo >= 0.0 => Range { chosen: a.chosen, ..Range::of(0.0, MOST) },
        Some(_) if positive => Range::of(0.0, MOST),
        None if positive && a.hi <= 1.0 && b.lo >= 0.0 => Range::of(0.0, MOST),
        None if positive => Range::of(0.0, f64::INFINITY),
        Some(_) | None => Range::ANY,
    }
}

/// Whether a primitive's slope by operand `k` is a finite number wherever its operands and its result `y` are in their ranges,
/// or what is made of it is chosen and not multiplied.
pub(super) fn slope_is_finite(prim: Prim, k: usize, x: &[Range], y: &Range) -> bool {
    let is_divisor = |r: &Range| !r.nan && !r.holds_zero();
    match prim {
        Prim::Add | Prim::Sub | Prim::Neg | Prim::Max | Prim::Min | Prim::Where | Prim::Cast(_) => true,
        Prim::Mul => !x[1 - k].wild(),
        Prim::Div if k == 0 => is_divisor(&x[1]),
        Prim::Div => is_divisor(&x[1]) && !y.wild(),
        Prim::Rem => k == 0 || is_divisor(&x[1]) && !x[0].wild(),
        Prim::Pow if k == 0 => {
            let less = mapped(Prim::Sub, &[x[1], Range::of(1.0, 1.0)]);
            !power(&x[0], &less).wild() && !x[1].wild()
        }
        Prim::Pow => x[0].lo > 0.0 && !y.wild(),
        Prim::Abs | Prim::Erf | Prim::Erfc => !x[0].nan,
        Prim::Tanh => !y.nan,
        Prim::Exp | Prim::Rsqrt => !y.wild(),
        Prim::Expm1 => !mapped(Prim::Exp, x).wild(),
        Prim::Log => is_divisor(&x[0]),
        Prim::Log1p => is_divisor(&mapped(Prim::Add, &[x[0], Range::of(1.0, 1.0)])),
        Prim::Sqrt => !y.nan && y.lo > 0.0,
        Prim::Sin | Prim::Cos => !x[0].wild(),
        Prim::Sign | Prim::Floor | Prim::Lt | Prim::Le | Prim::Eq | Prim::Ne | Prim::And | Prim::Or | Prim::Not => true,
    }
}

/// For each node, for each argument: whether its cotangent has zeros by choice that a slope which is not finite would make NaN.
pub(super) fn sinks(f: &Function, ranges: &[Vec<Range>], masked: &PerValue) -> Vec<Vec<bool>> {
    let range = |v: &Value| ranges[v.node as usize][v.port as usize];
    let node = |(i, n): (usize, &Node)| -> Vec<bool> {
        let args: Vec<Range> = n.args.iter().map(range).collect();
        let sinks = |k: usize| match n.op {
            Op::Map(prim) => !slope_is_finite(prim, k, &args, &ranges[i][0]),
            Op::Reduce(ReduceOp::Prod, _) => args[k].wild(),
            _ => false,
        };
        (0..n.args.len()).map(|k| masked[i][0] && f.ty(n.args[k]).dtype != DType::Bool && sinks(k)).collect()
    };
    f.nodes.iter().enumerate().map(node).collect()
}
