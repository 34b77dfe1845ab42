//! Between which numbers the integers of a function lie. Takes a function and the ranges of its parameters; gives a range
//! for each result of each node. What wraps may be anything of its type.

use crate::program::{Function, Node, Op, ReduceOp, RowOp, Value, View};
use dlc_plan::{Atom, DType, Host, Prim, Size};

/// The greatest extent of an axis.
const MOST: i128 = i32::MAX as i128;

/// All integers from `low` to `high`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Range {
    pub low: i128,
    pub high: i128,
}

impl Range {
    pub fn new(low: impl Into<i128>, high: impl Into<i128>) -> Range {
        Range { low: low.into(), high: high.into() }
    }

    /// All that a type has.
    pub fn of(dtype: DType) -> Range {
        match dtype {
            DType::I32 => Range::new(i32::MIN, i32::MAX),
            DType::U8 => Range::new(0, u8::MAX),
            DType::Bool => Range::new(0, 1),
            DType::I64 | DType::F32 | DType::F16 | DType::BF16 => Range::new(i64::MIN, i64::MAX),
        }
    }

    /// Whether all are integers of 32 bits.
    pub fn is_narrow(self) -> bool {
        self.within(DType::I32)
    }

    fn within(self, dtype: DType) -> bool {
        let all = Range::of(dtype);
        all.low <= self.low && self.high <= all.high
    }

    /// What an operation gives in a type: anything, where it may go beyond that.
    fn wrapped(self, dtype: DType) -> Range {
        if self.within(dtype) { self } else { Range::of(dtype) }
    }

    /// Those of both, and what lies between.
    pub fn with(self, other: Range) -> Range {
        Range { low: self.low.min(other.low), high: self.high.max(other.high) }
    }

    fn corners(self, other: Range, f: impl Fn(i128, i128) -> i128) -> Range {
        let all = [(self.low, other.low), (self.low, other.high), (self.high, other.low), (self.high, other.high)];
        let [a, b, c, d] = all.map(|(x, y)| f(x, y));
        Range { low: a.min(b).min(c.min(d)), high: a.max(b).max(c.max(d)) }
    }
}

/// The ranges of a function's values, node by node.
pub(super) fn ranges(f: &Function, params: &[Range]) -> Vec<Vec<Range>> {
    let mut found: Vec<Vec<Range>> = Vec::with_capacity(f.nodes.len());
    for n in &f.nodes {
        let args: Vec<Range> = n.args.iter().map(|a| found[a.node as usize][a.port as usize]).collect();
        found.push(match (&n.op, n.tys.as_slice()) {
            (Op::Param(k), _) => vec![params[*k as usize]],
            (_, [ty]) if ty.dtype.is_float() => vec![Range::of(ty.dtype)],
            (_, [ty]) => vec![one(f, n, &args).wrapped(ty.dtype)],
            (_, tys) => tys.iter().map(|ty| Range::of(ty.dtype)).collect(),
        });
    }
    found
}

/// The range of a node that gives one result, of integers or truths.
fn one(f: &Function, n: &Node, args: &[Range]) -> Range {
    let all = Range::of(n.tys[0].dtype);
    let dtype = |v: &Value| f.ty(*v).dtype;
    match &n.op {
        Op::Const(x) => number(*x),
        Op::Table(cells) => cells.iter().map(|x| number(*x)).reduce(Range::with).unwrap_or(all),
        Op::Host(h) => host(h),
        Op::Map(Prim::Cast(_)) if dtype(&n.args[0]).is_float() => all,
        Op::Map(prim) if n.args.iter().all(|a| !dtype(a).is_float()) => map(*prim, args).unwrap_or(all),
        Op::Reduce(ReduceOp::Sum, axes) => {
            let shape = &f.ty(n.args[0]).shape;
            let count = Size::product(axes.iter().map(|k| &shape[*k])).known().unwrap_or(i64::MAX);
            let by = Range::new(0, count);
            args[0].corners(by, i128::saturating_mul).with(Range::new(0, 0))
        }
        Op::Reduce(ReduceOp::Max | ReduceOp::Min, _) => args[0],
        Op::View(View::Pad { .. }) => args[0].with(Range::new(0, 0)),
        Op::View(_) | Op::Stop | Op::Within(_) | Op::Gather => args[0],
        Op::Concat(_) => args.iter().copied().reduce(Range::with).unwrap_or(all),
        Op::Iota(axis) => Range::new(0, size(&n.tys[0].shape[*axis]).high.min(MOST).saturating_sub(1).max(0)),
        Op::Rows(RowOp::Order { .. }) => Range { low: 0, high: MOST },
        Op::Param(_) | Op::Map(_) | Op::Reduce(ReduceOp::Prod, _) | Op::Contract(_) | Op::Scatter | Op::Random => all,
        Op::Rows(RowOp::RunningSum) | Op::Call(_) | Op::Repeat(_) | Op::Panels(_) => all,
    }
}

fn map(prim: Prim, x: &[Range]) -> Option<Range> {
    Some(match prim {
        Prim::Add => Range { low: x[0].low + x[1].low, high: x[0].high + x[1].high },
        Prim::Sub => Range { low: x[0].low - x[1].high, high: x[0].high - x[1].low },
        Prim::Mul => x[0].corners(x[1], i128::saturating_mul),
        Prim::Neg => Range { low: -x[0].high, high: -x[0].low },
        Prim::Abs => Range { low: 0, high: x[0].high.max(-x[0].low) },
        Prim::Sign => Range::new(-1, 1),
        Prim::Max => Range { low: x[0].low.max(x[1].low), high: x[0].high.max(x[1].high) },
        Prim::Min => Range { low: x[0].low.min(x[1].low), high: x[0].high.min(x[1].high) },
        Prim::Rem => Range { low: (x[1].low + 1).min(0), high: (x[1].high - 1).max(0) },
        Prim::Where => x[1].with(x[2]),
        Prim::Cast(_) => x[0],
        Prim::Lt | Prim::Le | Prim::Eq | Prim::Ne | Prim::And | Prim::Or | Prim::Not => Range::new(0, 1),
        _ => return None,
    })
}

fn number(x: f64) -> Range {
    Range { low: x as i128, high: x as i128 }
}

fn host(h: &Host) -> Range {
    match h {
        Host::Const(x) => number(*x),
        Host::Size(s) => size(s),
        Host::Var(_) | Host::Prim(..) | Host::Row(..) | Host::Segment(_) => {
            h.known().map_or(Range::of(DType::I64), number)
        }
    }
}

/// The range of a size, where no axis is longer than [`MOST`].
pub(super) fn size(s: &Size) -> Range {
    let mut sum = Range::new(0, 0);
    for term in s.terms() {
        let mut product = Range::new(term.factor, term.factor);
        for atom in &term.atoms {
            let own = match atom {
                Atom::Dim(_) => Range { low: 0, high: MOST },
                Atom::Quot(..) => Range::of(DType::I64),
            };
            product = product.corners(own, i128::saturating_mul);
        }
        sum = Range { low: sum.low.saturating_add(product.low), high: sum.high.saturating_add(product.high) };
    }
    sum
}
