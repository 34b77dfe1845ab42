//! The derivatives of the scalar primitives: one row each. Takes a primitive, an operand's place and the result's
//! cotangent; gives the operand's cotangent as nodes. Where a function has a corner the choice is PyTorch's.

use super::function::Back;
use crate::program::{ReduceOp, Value};
use dlc_plan::{DType, Host, Prim, Size};

/// Whether a primitive has a derivative by its operand `k`, where both are real.
pub(super) fn passes(prim: Prim, k: usize) -> bool {
    match prim {
        Prim::Add | Prim::Sub | Prim::Mul | Prim::Div | Prim::Rem | Prim::Pow | Prim::Max | Prim::Min => true,
        Prim::Neg | Prim::Abs | Prim::Exp | Prim::Expm1 | Prim::Log | Prim::Log1p | Prim::Sqrt | Prim::Rsqrt => true,
        Prim::Sin | Prim::Cos | Prim::Tanh | Prim::Erf | Prim::Erfc | Prim::Cast(_) => true,
        Prim::Where => k > 0,
        Prim::Sign | Prim::Floor | Prim::Lt | Prim::Le | Prim::Eq | Prim::Ne => false,
        Prim::And | Prim::Or | Prim::Not => false,
    }
}

/// The cotangent of operand `k` of the node being differentiated, from the result's `dy`.
pub(super) fn operand(c: &mut Back, prim: Prim, k: usize, dy: Value) -> Option<Value> {
    let first = k == 0;
    Some(match prim {
        Prim::Add => dy,
        Prim::Sub if first => dy,
        Prim::Sub | Prim::Neg => c.map(Prim::Neg, &[dy]),
        Prim::Mul => {
            let other = c.x(1 - k);
            c.map(Prim::Mul, &[dy, other])
        }
        Prim::Div => quotient(c, k, dy),
        Prim::Rem if first => dy,
        Prim::Rem => {
            let (a, b) = (c.x(0), c.x(1));
            let whole = c.map(Prim::Div, &[a, b]);
            let whole = c.map(Prim::Floor, &[whole]);
            let product = c.map(Prim::Mul, &[dy, whole]);
            c.map(Prim::Neg, &[product])
        }
        Prim::Pow if first => return base(c, dy),
        Prim::Pow => exponent(c, dy),
        Prim::Max | Prim::Min => extreme(c, prim, k, dy),
        Prim::Abs => {
            let x = c.x(0);
            let sign = c.map(Prim::Sign, &[x]);
            c.map(Prim::Mul, &[dy, sign])
        }
        Prim::Exp => times(c, dy, |c| c.y()),
        // y + 1 would lose all digits where exp(x) is small.
        Prim::Expm1 => times(c, dy, |c| {
            let x = c.x(0);
            c.map(Prim::Exp, &[x])
        }),
        Prim::Log => {
            let x = c.x(0);
            c.map(Prim::Div, &[dy, x])
        }
        Prim::Log1p => {
            let x = c.x(0);
            let x = c.number(Prim::Add, x, 1.0);
            c.map(Prim::Div, &[dy, x])
        }
        Prim::Sqrt => {
            let y = c.y();
            let twice = c.number(Prim::Mul, y, 2.0);
            c.map(Prim::Div, &[dy, twice])
        }
        Prim::Rsqrt => times(c, dy, |c| {
            let y = c.y();
            let square = c.map(Prim::Mul, &[y, y]);
            let cube = c.map(Prim::Mul, &[square, y]);
            c.number(Prim::Mul, cube, -0.5)
        }),
        Prim::Sin => times(c, dy, |c| {
            let x = c.x(0);
            c.map(Prim::Cos, &[x])
        }),
        Prim::Cos => times(c, dy, |c| {
            let x = c.x(0);
            let sin = c.map(Prim::Sin, &[x]);
            c.map(Prim::Neg, &[sin])
        }),
        Prim::Tanh => times(c, dy, |c| {
            let y = c.y();
            let square = c.map(Prim::Mul, &[y, y]);
            let one = c.like(y, 1.0);
            c.map(Prim::Sub, &[one, square])
        }),
        Prim::Erf => times(c, dy, |c| bell(c, std::f64::consts::FRAC_2_SQRT_PI)),
        Prim::Erfc => times(c, dy, |c| bell(c, -std::f64::consts::FRAC_2_SQRT_PI)),
        // The branch not taken gets zeros by selection, so that what is infinite there does not matter.
        Prim::Where => {
            let (chosen, zero) = (c.x(0), c.like(dy, 0.0));
            c.map(Prim::Where, &if k == 1 { [chosen, dy, zero] } else { [chosen, zero, dy] })
        }
        Prim::Cast(_) => c.cast_like(dy),
        Prim::Sign | Prim::Floor | Prim::Lt | Prim::Le | Prim::Eq | Prim::Ne | Prim::And | Prim::Or | Prim::Not => {
            return None;
        }
    })
}

/// The bell curve e^(-x^2), so high.
fn bell(c: &mut Back, height: f64) -> Value {
    let x = c.x(0);
    let square = c.map(Prim::Mul, &[x, x]);
    let minus = c.map(Prim::Neg, &[square]);
    let bell = c.map(Prim::Exp, &[minus]);
    c.number(Prim::Mul, bell, height)
}

fn times(c: &mut Back, dy: Value, factor: impl FnOnce(&mut Back) -> Value) -> Value {
    let factor = factor(c);
    c.map(Prim::Mul, &[dy, factor])
}

/// a / b: dy / b, and -(dy / b) y.
fn quotient(c: &mut Back, k: usize, dy: Value) -> Value {
    let b = c.x(1);
    let share = c.map(Prim::Div, &[dy, b]);
    if k == 0 {
        return share;
    }
    let y = c.y();
    let product = c.map(Prim::Mul, &[share, y]);
    c.map(Prim::Neg, &[product])
}

/// a ^ b by a: dy b a^(b - 1), and nothing where b is 0, whatever a is.
fn base(c: &mut Back, dy: Value) -> Option<Value> {
    let slope = match c.known(1) {
        Some(0.0) => return None,
        Some(1.0) => return Some(dy),
        Some(2.0) => {
            let x = c.x(0);
            c.number(Prim::Mul, x, 2.0)
        }
        Some(e) => {
            let x = c.x(0);
            let power = c.number(Prim::Pow, x, e - 1.0);
            c.number(Prim::Mul, power, e)
        }
        None => {
            let (a, b) = (c.x(0), c.x(1));
            let less = c.number(Prim::Sub, b, 1.0);
            let power = c.map(Prim::Pow, &[a, less]);
            let slope = c.map(Prim::Mul, &[b, power]);
            let product = c.map(Prim::Mul, &[dy, slope]);
            let (none, zero) = (c.number(Prim::Eq, b, 0.0), c.like(dy, 0.0));
            return Some(c.map(Prim::Where, &[none, zero, product]));
        }
    };
    Some(c.map(Prim::Mul, &[dy, slope]))
}

/// a ^ b by b: dy y log(a), and zero where a is 0 and b is not negative, as 0 ^ b is flat there.
fn exponent(c: &mut Back, dy: Value) -> Value {
    let (a, b, y) = (c.x(0), c.x(1), c.y());
    let log = c.map(Prim::Log, &[a]);
    let slope = c.map(Prim::Mul, &[y, log]);
    let product = c.map(Prim::Mul, &[dy, slope]);
    let zero_base = c.number(Prim::Eq, a, 0.0);
    let negative = c.number(Prim::Lt, b, 0.0);
    let not_negative = c.map(Prim::Not, &[negative]);
    let flat = c.map(Prim::And, &[zero_base, not_negative]);
    let zero = c.like(dy, 0.0);
    c.map(Prim::Where, &[flat, zero, product])
}

/// The greater or the lesser of two: all of dy to the one that was taken, half to each where they are equal.
fn extreme(c: &mut Back, prim: Prim, k: usize, dy: Value) -> Value {
    let (own, other) = (c.x(k), c.x(1 - k));
    let (low, high) = if prim == Prim::Max { (own, other) } else { (other, own) };
    let lost = c.map(Prim::Lt, &[low, high]);
    let tie = c.map(Prim::Eq, &[own, other]);
    let (half, zero) = (c.number(Prim::Mul, dy, 0.5), c.like(dy, 0.0));
    let kept = c.map(Prim::Where, &[tie, half, dy]);
    c.map(Prim::Where, &[lost, zero, kept])
}

/// The number of each element among those that are reduced to one, and how many these are.
fn places(c: &mut Back, x: Value, axes: &[usize]) -> (Value, Value) {
    let shape = c.b.shape(x);
    let mut count = Size::one();
    let mut place: Option<Value> = None;
    for axis in axes.iter().rev() {
        let own = c.b.iota(DType::I64, &shape, *axis);
        let step = c.b.host(DType::I64, Host::Size(count.clone()));
        let own = if count.is(1) { own } else { c.b.zip(Prim::Mul, &[own, step]) };
        place = Some(place.map_or(own, |place| c.map(Prim::Add, &[place, own])));
        count = count.times(&shape[*axis]);
    }
    let place = place.unwrap_or_else(|| c.b.full(DType::I64, 0.0, &shape));
    (place, c.b.host(DType::I64, Host::Size(count)))
}

/// The cotangent of what a reduction goes over.
pub(super) fn reduced(c: &mut Back, op: ReduceOp, axes: &[usize], dy: Value) -> Value {
    match op {
        ReduceOp::Sum => c.spread(dy, axes),
        // To the first of all that are equal to the extreme, counted along the axes in their order.
        ReduceOp::Max | ReduceOp::Min => {
            let (x, y) = (c.x(0), c.y());
            let extreme = c.spread(y, axes);
            let hit = c.map(Prim::Eq, &[x, extreme]);
            let (place, count) = places(c, x, axes);
            let shape = c.b.shape(x);
            let count = c.b.stretch(count, &shape);
            let place = c.map(Prim::Where, &[hit, place, count]);
            let first = c.b.reduce(ReduceOp::Min, place, axes);
            let first = c.spread(first, axes);
            let is_first = c.map(Prim::Eq, &[place, first]);
            let own = c.map(Prim::And, &[hit, is_first]);
            let (dy, zero) = (c.spread(dy, axes), c.like(x, 0.0));
            c.map(Prim::Where, &[own, dy, zero])
        }
        // The product of all others. Zeros are taken out of the product and counted: an element gets something only if
        // there is no zero but itself.
        ReduceOp::Prod => {
            let x = c.x(0);
            let (zero, one, dtype) = (c.like(x, 0.0), c.like(x, 1.0), c.dtype(dy));
            let is_zero = c.map(Prim::Eq, &[x, zero]);
            let rest = c.map(Prim::Where, &[is_zero, one, x]);
            let product = c.b.reduce(ReduceOp::Prod, rest, axes);
            let own = c.map(Prim::Cast(dtype), &[is_zero]);
            let zeros = c.b.reduce(ReduceOp::Sum, own, axes);
            let scaled = c.map(Prim::Mul, &[dy, product]);
            let (scaled, zeros) = (c.spread(scaled, axes), c.spread(zeros, axes));
            let others = c.map(Prim::Div, &[scaled, rest]);
            let alone = c.map(Prim::Eq, &[zeros, own]);
            let dx = c.map(Prim::Where, &[alone, others, zero]);
            let dy = c.spread(dy, axes);
            c.sunk(0, dy, dx)
        }
    }
}
