//! The scalar primitives: the only arithmetic of the language. Everything else is text over them.
//!
//! A row of the table gives a primitive's name, its number of operands, what comes out, and its value in double
//! precision, which is its meaning. Derivatives stand in the compiler; kernels compute with [`crate::Instr`].

use crate::DType;

/// A scalar primitive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the table below says what each is")]
pub enum Prim {
    Add,
    Sub,
    Mul,
    Div,
    Rem,
    Pow,
    Max,
    Min,
    Neg,
    Abs,
    Sign,
    Floor,
    Exp,
    Expm1,
    Log,
    Log1p,
    Sqrt,
    Rsqrt,
    Sin,
    Cos,
    Tanh,
    Erf,
    /// 1 - erf, exact where that is next to 0.
    Erfc,
    Lt,
    Le,
    Eq,
    Ne,
    And,
    Or,
    Not,
    Where,
    Cast(DType),
}

/// What a primitive gives for operands of type T.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gives {
    /// The operands' own type, a number.
    Same,
    /// The operands' own type, a real number.
    Real,
    /// Truth, from two of one type.
    Truth,
    /// Truth, from truths.
    Logic,
    /// The type of the second and third operand; the first is a truth.
    Choice,
    /// The type that the primitive names.
    Named,
}

/// A row of the table of primitives.
pub struct PrimRow {
    /// The primitive.
    pub prim: Prim,
    /// Its name in the language, or its operator.
    pub name: &'static str,
    /// The number of operands.
    pub arity: usize,
    /// What comes out.
    pub gives: Gives,
}

const fn row(prim: Prim, name: &'static str, arity: usize, gives: Gives) -> PrimRow {
    PrimRow { prim, name, arity, gives }
}

/// The table of primitives, one row each; a cast's row stands for all casts.
pub const PRIMS: [PrimRow; 32] = [
    row(Prim::Add, "+", 2, Gives::Same),
    row(Prim::Sub, "-", 2, Gives::Same),
    row(Prim::Mul, "*", 2, Gives::Same),
    row(Prim::Div, "/", 2, Gives::Real),
    row(Prim::Rem, "%", 2, Gives::Same),
    row(Prim::Pow, "^", 2, Gives::Real),
    row(Prim::Max, "max", 2, Gives::Same),
    row(Prim::Min, "min", 2, Gives::Same),
    row(Prim::Neg, "neg", 1, Gives::Same),
    row(Prim::Abs, "abs", 1, Gives::Same),
    row(Prim::Sign, "sign", 1, Gives::Same),
    row(Prim::Floor, "floor", 1, Gives::Real),
    row(Prim::Exp, "exp", 1, Gives::Real),
    row(Prim::Expm1, "expm1", 1, Gives::Real),
    row(Prim::Log, "log", 1, Gives::Real),
    row(Prim::Log1p, "log1p", 1, Gives::Real),
    row(Prim::Sqrt, "sqrt", 1, Gives::Real),
    row(Prim::Rsqrt, "rsqrt", 1, Gives::Real),
    row(Prim::Sin, "sin", 1, Gives::Real),
    row(Prim::Cos, "cos", 1, Gives::Real),
    row(Prim::Tanh, "tanh", 1, Gives::Real),
    row(Prim::Erf, "erf", 1, Gives::Real),
    row(Prim::Erfc, "erfc", 1, Gives::Real),
    row(Prim::Lt, "<", 2, Gives::Truth),
    row(Prim::Le, "<=", 2, Gives::Truth),
    row(Prim::Eq, "==", 2, Gives::Truth),
    row(Prim::Ne, "!=", 2, Gives::Truth),
    row(Prim::And, "and", 2, Gives::Logic),
    row(Prim::Or, "or", 2, Gives::Logic),
    row(Prim::Not, "not", 1, Gives::Logic),
    row(Prim::Where, "where", 3, Gives::Choice),
    row(Prim::Cast(DType::F32), "cast", 1, Gives::Named),
];

impl Prim {
    /// The primitive's row in the table.
    pub fn row(self) -> &'static PrimRow {
        PRIMS
            .iter()
            .find(|r| r.prim == self || matches!((r.prim, self), (Prim::Cast(_), Prim::Cast(_))))
            .expect("every primitive has a row")
    }

    /// The name in the language, or the operator.
    pub fn name(self) -> &'static str {
        match self {
            Prim::Cast(d) => d.name(),
            other => other.row().name,
        }
    }

    /// The value in double precision; truths are 0 and 1. `x` has as many numbers as the primitive has operands.
    ///
    /// `max` and `min` give NaN if either operand is; `%` has the sign of the divisor, as in Python; `sign(0)` is 0.
    pub fn eval(self, x: &[f64]) -> f64 {
        let truth = |b: bool| if b { 1.0 } else { 0.0 };
        match self {
            Prim::Add => x[0] + x[1],
            Prim::Sub => x[0] - x[1],
            Prim::Mul => x[0] * x[1],
            Prim::Div => x[0] / x[1],
            Prim::Rem => {
                let r = x[0] % x[1];
                if r != 0.0 && (r < 0.0) != (x[1] < 0.0) { r + x[1] } else { r }
            }
            Prim::Pow => x[0].powf(x[1]),
            Prim::Max => {
                if x[0] < x[1] || x[1].is_nan() {
                    x[1]
                } else {
                    x[0]
                }
            }
            Prim::Min => {
                if x[0] > x[1] || x[1].is_nan() {
                    x[1]
                } else {
                    x[0]
                }
            }
            Prim::Neg => -x[0],
            Prim::Abs => x[0].abs(),
            Prim::Sign => {
                if x[0] == 0.0 || x[0].is_nan() {
                    x[0]
                } else {
                    x[0].signum()
                }
            }
            Prim::Floor => x[0].floor(),
            Prim::Exp => x[0].exp(),
            Prim::Expm1 => x[0].exp_m1(),
            Prim::Log => x[0].ln(),
            Prim::Log1p => x[0].ln_1p(),
            Prim::Sqrt => x[0].sqrt(),
            Prim::Rsqrt => 1.0 / x[0].sqrt(),
            Prim::Sin => x[0].sin(),
            Prim::Cos => x[0].cos(),
            Prim::Tanh => x[0].tanh(),
            Prim::Erf => erf(x[0]),
            Prim::Erfc => erfc(x[0]),
            Prim::Lt => truth(x[0] < x[1]),
            Prim::Le => truth(x[0] <= x[1]),
            Prim::Eq => truth(x[0] == x[1]),
            Prim::Ne => truth(x[0] != x[1]),
            Prim::And => truth(x[0] != 0.0 && x[1] != 0.0),
            Prim::Or => truth(x[0] != 0.0 || x[1] != 0.0),
            Prim::Not => truth(x[0] == 0.0),
            Prim::Where => {
                if x[0] != 0.0 {
                    x[1]
                } else {
                    x[2]
                }
            }
            Prim::Cast(d) => cast(d, x[0]),
        }
    }
}

impl Prim {
    /// The value of integers or truths of a type (that of the last operand), exactly: what goes beyond the type wraps. Casts
    /// to real types round. `None` for what has no meaning but on reals.
    pub fn eval_whole(self, of: DType, x: &[i64]) -> Option<i64> {
        let wrapped = |n: i64| wrap(of, n);
        Some(match self {
            Prim::Add => wrapped(x[0].wrapping_add(x[1])),
            Prim::Sub => wrapped(x[0].wrapping_sub(x[1])),
            Prim::Mul => wrapped(x[0].wrapping_mul(x[1])),
            Prim::Rem => whole_remainder(x[0], x[1]),
            Prim::Max => x[0].max(x[1]),
            Prim::Min => x[0].min(x[1]),
            Prim::Neg => wrapped(x[0].wrapping_neg()),
            Prim::Abs => wrapped(x[0].wrapping_abs()),
            Prim::Sign => x[0].signum(),
            Prim::Lt => (x[0] < x[1]).into(),
            Prim::Le => (x[0] <= x[1]).into(),
            Prim::Eq => (x[0] == x[1]).into(),
            Prim::Ne => (x[0] != x[1]).into(),
            Prim::And => (x[0] != 0 && x[1] != 0).into(),
            Prim::Or => (x[0] != 0 || x[1] != 0).into(),
            Prim::Not => (x[0] == 0).into(),
            Prim::Where => x[if x[0] != 0 { 1 } else { 2 }],
            Prim::Cast(to) if !to.is_float() => wrap(to, x[0]),
            Prim::Cast(_) | Prim::Div | Prim::Pow | Prim::Floor | Prim::Exp | Prim::Expm1 | Prim::Log | Prim::Log1p => {
                return None;
            }
            Prim::Sqrt | Prim::Rsqrt | Prim::Sin | Prim::Cos | Prim::Tanh | Prim::Erf | Prim::Erfc => return None,
        })
    }
}

/// An integer in a type of integers, modulo the number of those that it has; as a truth, whether it is not zero.
pub fn wrap(to: DType, n: i64) -> i64 {
    match to {
        DType::I64 | DType::F32 | DType::F16 | DType::BF16 => n,
        DType::I32 => (n as i32).into(),
        DType::U8 => (n as u8).into(),
        DType::Bool => (n != 0).into(),
    }
}

/// The remainder with the divisor's sign; 0 where the divisor is.
pub fn whole_remainder(a: i64, b: i64) -> i64 {
    if b == 0 {
        return 0;
    }
    let r = a.wrapping_rem(b);
    if r != 0 && (r < 0) != (b < 0) { r + b } else { r }
}

/// The greatest power of two below which every integer is a double.
const EXACT: i64 = 1 << 53;

/// The double that is this integer, if there is one.
pub fn exact(n: i64) -> Option<f64> {
    (-EXACT..=EXACT).contains(&n).then_some(n as f64)
}

/// A real number as an integer of a type: towards zero, the nearest that there is of what does not fit, and 0 of NaN; as a
/// truth, whether it is not zero.
pub fn truncate(to: DType, x: f64) -> i64 {
    match to {
        DType::I64 | DType::F32 | DType::F16 | DType::BF16 => x as i64,
        DType::I32 => (x as i32).into(),
        DType::U8 => (x as u8).into(),
        DType::Bool => (x != 0.0).into(),
    }
}

/// Rounds a number to an element type: to nearest, ties to even, for reals; towards zero for integers.
pub fn cast(to: DType, x: f64) -> f64 {
    match to {
        DType::F32 => f64::from(x as f32),
        DType::F16 => half(x, 11, -14, 65504.0),
        DType::BF16 => half(x, 8, -126, f64::from(f32::from_bits(0x7f7f_0000))),
        DType::I64 | DType::I32 | DType::U8 | DType::Bool => truncate(to, x) as f64,
    }
}

/// Rounds to `bits` of significand, with the smallest normal exponent `low`; beyond `top` (plus half a unit) is infinity.
fn half(x: f64, bits: i32, low: i32, top: f64) -> f64 {
    if !x.is_finite() || x == 0.0 {
        return x;
    }
    let exponent = ((x.to_bits() >> 52 & 0x7ff) as i32 - 1023).max(low);
    let unit = 2f64.powi(exponent - bits + 1);
    let rounded = (x / unit).round_ties_even() * unit;
    if rounded.abs() > top { f64::INFINITY.copysign(x) } else { rounded }
}

/// The error function 2/sqrt(pi) * integral of exp(-t^2) from 0 to x, to about 1e-15.
///
/// Below 3 its Maclaurin series in the form exp(-x^2) * sum 2^n x^(2n+1) / (2n+1)!! (NIST DLMF 7.6.2), above it the
/// continued fraction of erfc (DLMF 7.9.1).
pub fn erf(x: f64) -> f64 {
    let a = x.abs();
    if a.is_nan() {
        return x;
    }
    let value = if a < 3.0 {
        let (mut term, mut sum, mut n) = (a, a, 0.0);
        while term > sum * 1e-17 {
            n += 1.0;
            term *= 2.0 * a * a / (2.0 * n + 1.0);
            sum += term;
        }
        2.0 / std::f64::consts::PI.sqrt() * (-a * a).exp() * sum
    } else {
        1.0 - tail(a)
    };
    value.copysign(x)
}

/// 1 - erf(x), to about 1e-13 of itself where x is not negative.
pub fn erfc(x: f64) -> f64 {
    if x < 1.0 || x.is_nan() { 1.0 - erf(x) } else { tail(x) }
}

/// erfc of 1 or more, by its continued fraction (NIST DLMF 7.9.1).
fn tail(a: f64) -> f64 {
    if a > 30.0 {
        return 0.0;
    }
    let rest = (1..=400).rev().fold(0.0, |f, k| f64::from(k) / 2.0 / (a + f));
    (-a * a).exp() / std::f64::consts::PI.sqrt() / (a + rest)
}
