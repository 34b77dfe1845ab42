//! Arithmetic on what is not a tensor: integers, sizes, numbers of the host.
//!
//! Integers and sizes stay exact as long as the operation does; what the host must compute becomes a [`Host`] expression.

use super::value::{Num, NumVal, Val};
use dlc_grammar::ast::BinaryOp;
use dlc_plan::{Atom, Host, Prim, Size};

/// The primitive of an operator, and whether its operands change places.
pub(super) fn prim_of(op: BinaryOp) -> Option<(Prim, bool)> {
    Some(match op {
        BinaryOp::Or => (Prim::Or, false),
        BinaryOp::And => (Prim::And, false),
        BinaryOp::Eq => (Prim::Eq, false),
        BinaryOp::Ne => (Prim::Ne, false),
        BinaryOp::Lt => (Prim::Lt, false),
        BinaryOp::Le => (Prim::Le, false),
        BinaryOp::Gt => (Prim::Lt, true),
        BinaryOp::Ge => (Prim::Le, true),
        BinaryOp::Add => (Prim::Add, false),
        BinaryOp::Sub => (Prim::Sub, false),
        BinaryOp::Mul => (Prim::Mul, false),
        BinaryOp::Div => (Prim::Div, false),
        BinaryOp::Rem => (Prim::Rem, false),
        BinaryOp::Pow => (Prim::Pow, false),
        BinaryOp::MatMul => return None,
    })
}

/// The number as the host computes it.
pub(crate) fn to_host(n: &NumVal) -> Host {
    match n {
        NumVal::Int(n) => Host::Const(*n as f64),
        NumVal::Float(x) => Host::Const(*x),
        NumVal::Size(s) => Host::Size(s.clone()),
        NumVal::Host(h) => h.clone(),
    }
}

/// The number in double precision, if it is known.
pub(super) fn known(n: &NumVal) -> Option<f64> {
    match n {
        NumVal::Int(n) => Some(*n as f64),
        NumVal::Float(x) => Some(*x),
        NumVal::Size(_) => None,
        NumVal::Host(h) => h.known(),
    }
}

/// The number as an exact size, if it is one.
pub(super) fn to_size(n: &NumVal) -> Option<Size> {
    match n {
        NumVal::Int(n) => Some(Size::from(*n)),
        NumVal::Float(x) if x.fract() == 0.0 && x.abs() < 2f64.powi(53) => Some(Size::from(*x as i64)),
        NumVal::Float(_) => None,
        NumVal::Size(s) => Some(s.clone()),
        NumVal::Host(h) => match h.known() {
            Some(x) => to_size(&NumVal::Float(x)),
            None => None,
        },
    }
}

/// Applies a primitive to numbers: exactly where they are integers or sizes, else in double precision or on the host.
pub(super) fn apply(prim: Prim, args: &[&NumVal]) -> Val {
    let exact = match (prim, args) {
        (Prim::Add, [a, b]) => sizes(a, b, |a, b| a.checked_add(b), Size::plus),
        (Prim::Sub, [a, b]) => sizes(a, b, |a, b| a.checked_sub(b), Size::minus),
        (Prim::Mul, [a, b]) if !product_is_large(a, b) => sizes(a, b, |a, b| a.checked_mul(b), Size::times),
        (Prim::Div, [a, b]) => divide(a, b),
        (Prim::Rem, [NumVal::Int(a), NumVal::Int(b)]) => remainder(*a, *b),
        (Prim::Rem, [a, b]) => exact_sizes(a, b).and_then(|(a, b)| a.divided(&b)).map(|_| NumVal::Int(0)),
        (Prim::Pow, [a, NumVal::Int(n)]) => power(a, *n),
        (Prim::Neg, [a]) => sizes(&NumVal::Int(0), a, |a, b| a.checked_sub(b), Size::minus),
        (Prim::Max, [NumVal::Int(a), NumVal::Int(b)]) => Some(NumVal::Int(*a.max(b))),
        (Prim::Min, [NumVal::Int(a), NumVal::Int(b)]) => Some(NumVal::Int(*a.min(b))),
        (Prim::Abs, [NumVal::Int(a)]) => a.checked_abs().map(NumVal::Int),
        (Prim::Sign, [NumVal::Int(a)]) => Some(NumVal::Int(a.signum())),
        (Prim::Floor, [a @ (NumVal::Int(_) | NumVal::Size(_))]) => Some((*a).clone()),
        (Prim::Floor, [NumVal::Host(Host::Prim(Prim::Div, parts))]) => match parts.as_slice() {
            [Host::Size(a), Host::Size(b)] => a.quotient(b).map(NumVal::Size),
            [Host::Size(a), Host::Const(b)] => a.quotient(&Size::from(*b as i64)).map(NumVal::Size),
            _ => None,
        },
        (Prim::Lt | Prim::Le | Prim::Eq | Prim::Ne, [a, b]) => return compare(prim, a, b),
        _ => None,
    };
    if let Some(value) = exact {
        let value = match value {
            NumVal::Size(s) => Num::size(&s),
            other => other,
        };
        return Val::Num(Num::plain(value));
    }
    let known: Option<Vec<f64>> = args.iter().map(|a| known(a)).collect();
    match known {
        Some(x) => Val::float(prim.eval(&x)),
        None => Val::host(Host::Prim(prim, args.iter().map(|a| to_host(a)).collect())),
    }
}

/// Applies a primitive of truths.
pub(super) fn logic(prim: Prim, args: &[Val]) -> Option<Val> {
    let mut hosts: Vec<Host> = args.iter().map(truth).collect::<Option<_>>()?;
    // One side that is known can decide, or leaves it to the other.
    let decides = match prim {
        Prim::And => Some(0.0),
        Prim::Or => Some(1.0),
        _ => None,
    };
    if let Some(x) = decides {
        if hosts.iter().any(|h| h.known() == Some(x)) {
            return Some(Val::Bool(x != 0.0));
        }
        hosts.retain(|h| h.known().is_none());
        match hosts.len() {
            0 => return Some(Val::Bool(x == 0.0)),
            1 => return hosts.pop().map(Val::Truth),
            _ => {}
        }
    }
    let host = Host::Prim(prim, hosts);
    Some(match host.known() {
        Some(x) => Val::Bool(x != 0.0),
        None => Val::Truth(host),
    })
}

/// Whether a condition holds for every segment of the trained weights that it tells apart.
pub(super) fn of_all(cond: &Host) -> Val {
    let each = |k| at_segment(cond, k);
    let all = (0..segments(cond)).map(each).map(|c| c.known().map_or(Val::Truth(c), |x| Val::Bool(x != 0.0)));
    all.reduce(|a, b| logic(Prim::And, &[a, b]).unwrap_or(Val::Poison)).unwrap_or(Val::Bool(true))
}

/// How many segments a number tells apart; 1 where it is the same for all.
fn segments(host: &Host) -> usize {
    match host {
        Host::Const(_) | Host::Var(_) | Host::Size(_) => 1,
        Host::Segment(cells) => cells.len().max(1),
        Host::Prim(_, parts) | Host::Row(_, parts) => parts.iter().map(segments).max().unwrap_or(1),
    }
}

/// A number for one segment.
fn at_segment(host: &Host, segment: usize) -> Host {
    let each = |parts: &[Host]| parts.iter().map(|part| at_segment(part, segment)).collect();
    match host {
        Host::Const(_) | Host::Var(_) | Host::Size(_) => host.clone(),
        Host::Segment(cells) => cells.get(segment).cloned().unwrap_or(Host::Const(f64::NAN)),
        Host::Prim(prim, parts) => Host::Prim(*prim, each(parts)),
        Host::Row(depth, parts) => Host::Row(*depth, each(parts)),
    }
}

/// A truth as the host computes it.
pub(super) fn truth(v: &Val) -> Option<Host> {
    match v {
        Val::Bool(b) => Some(Host::Const(f64::from(u8::from(*b)))),
        Val::Truth(h) => Some(h.clone()),
        _ => None,
    }
}

/// Whether a number is too large an expression to be worked with: a spec can double one in every statement.
pub(super) fn is_large(n: &NumVal) -> bool {
    match n {
        NumVal::Int(_) | NumVal::Float(_) => false,
        NumVal::Size(s) => size_weight(s, LARGEST) > LARGEST,
        NumVal::Host(h) => host_weight(h, LARGEST) > LARGEST,
    }
}

/// The same for a truth.
pub(super) fn is_large_truth(h: &Host) -> bool {
    host_weight(h, LARGEST) > LARGEST
}

const LARGEST: usize = 512;

/// The number of parts of a size, counted no further than just past `most`.
fn size_weight(s: &Size, most: usize) -> usize {
    let mut n = 0;
    for atom in s.terms().iter().flat_map(|t| &t.atoms) {
        n += match atom {
            Atom::Dim(_) => 1,
            Atom::Quot(a, b) => 1 + size_weight(a, most) + size_weight(b, most),
        };
        if n > most {
            return n;
        }
    }
    n + s.terms().len()
}

fn host_weight(h: &Host, most: usize) -> usize {
    match h {
        Host::Const(_) | Host::Var(_) => 1,
        Host::Size(s) => size_weight(s, most),
        // One number for each weight does not multiply, however many weights there are.
        Host::Segment(cells) => 1 + cells.iter().map(|c| host_weight(c, most)).max().unwrap_or(0),
        Host::Prim(_, parts) | Host::Row(_, parts) => {
            let mut n = 1;
            for part in parts {
                n += host_weight(part, most);
                if n > most {
                    break;
                }
            }
            n
        }
    }
}

fn product_is_large(a: &NumVal, b: &NumVal) -> bool {
    let terms = |n: &NumVal| match n {
        NumVal::Size(s) => s.terms().len(),
        NumVal::Int(_) | NumVal::Float(_) | NumVal::Host(_) => 1,
    };
    terms(a) * terms(b) > LARGEST
}

fn exact_sizes(a: &NumVal, b: &NumVal) -> Option<(Size, Size)> {
    let size = |n: &NumVal| match n {
        NumVal::Int(n) => Some(Size::from(*n)),
        NumVal::Size(s) => Some(s.clone()),
        NumVal::Float(_) | NumVal::Host(_) => None,
    };
    Some((size(a)?, size(b)?))
}

fn sizes(
    a: &NumVal,
    b: &NumVal,
    ints: impl Fn(i64, i64) -> Option<i64>,
    sizes: impl Fn(&Size, &Size) -> Size,
) -> Option<NumVal> {
    if let (NumVal::Int(a), NumVal::Int(b)) = (a, b) {
        return ints(*a, *b).map(NumVal::Int);
    }
    exact_sizes(a, b).map(|(a, b)| NumVal::Size(sizes(&a, &b)))
}

/// An exact quotient where there is one: real division otherwise.
fn divide(a: &NumVal, b: &NumVal) -> Option<NumVal> {
    if let (NumVal::Int(a), NumVal::Int(b)) = (a, b) {
        return (*b != 0 && a.checked_rem(*b) == Some(0)).then(|| NumVal::Int(a / b));
    }
    exact_sizes(a, b).filter(|(_, b)| !b.is(0)).and_then(|(a, b)| a.divided(&b)).map(NumVal::Size)
}

/// The remainder with the divisor's sign.
fn remainder(a: i64, b: i64) -> Option<NumVal> {
    let r = a.checked_rem(b)?;
    Some(NumVal::Int(if r != 0 && (r < 0) != (b < 0) { r + b } else { r }))
}

fn power(a: &NumVal, n: i64) -> Option<NumVal> {
    let n = u32::try_from(n).ok()?;
    match a {
        NumVal::Int(a) => a.checked_pow(n).map(NumVal::Int),
        NumVal::Size(s) if n <= 8 && s.terms().len() <= 2 => {
            Some(NumVal::Size((0..n).fold(Size::one(), |p, _| p.times(s))))
        }
        NumVal::Size(_) | NumVal::Float(_) | NumVal::Host(_) => None,
    }
}

/// Decides a comparison where the difference is known; else it is a condition for run time.
fn compare(prim: Prim, a: &NumVal, b: &NumVal) -> Val {
    if let (NumVal::Int(a), NumVal::Int(b)) = (a, b) {
        return Val::Bool(match prim {
            Prim::Lt => a < b,
            Prim::Le => a <= b,
            Prim::Eq => a == b,
            _ => a != b,
        });
    }
    if let Some(d) = exact_sizes(a, b).and_then(|(a, b)| a.minus(&b).known()) {
        return Val::Bool(prim.eval(&[d as f64, 0.0]) != 0.0);
    }
    if let (Some(x), Some(y)) = (known(a), known(b)) {
        return Val::Bool(prim.eval(&[x, y]) != 0.0);
    }
    Val::Truth(Host::Prim(prim, vec![to_host(a), to_host(b)]))
}
