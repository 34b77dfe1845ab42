//! What goes element by element: functions of one and of two tensors, integers, truths, choices, casts.

use super::super::spec::{Dim, Id, Value};
use super::{MOST, Scope, Writer};
use dlc_plan::DType;

/// A function of one tensor: its text, the largest argument it is given, the largest result for that of an argument.
type Unary = (&'static str, f64, fn(f64) -> f64);

const UNARY: [Unary; 44] = [
    ("$0 * 0.5 + 0.25", MOST, |m| 0.5 * m + 0.25),
    ("-$0", MOST, |m| m),
    ("sin($0)", MOST, |_| 1.0),
    ("cos($0)", MOST, |_| 1.0),
    ("tanh($0)", MOST, |_| 1.0),
    ("erf($0)", MOST, |_| 1.0),
    ("erfc($0)", 5.0, |_| 2.0),
    ("exp($0)", 4.0, |m| m.exp()),
    ("exp(-abs($0))", 50.0, |_| 1.0),
    ("expm1($0)", 4.0, |m| m.exp()),
    ("log(abs($0) + 0.5)", MOST, |m| 1.0 + (m + 1.0).ln()),
    ("log1p(abs($0))", MOST, |m| 1.0 + (m + 1.0).ln()),
    ("sqrt(abs($0) + 0.1)", MOST, |m| (m + 1.0).sqrt()),
    ("rsqrt($0 * $0 + 0.3)", 100.0, |_| 2.0),
    ("abs($0)", MOST, |m| m),
    ("sign($0)", MOST, |_| 1.0),
    ("floor($0 * 2)", MOST, |m| 2.0 * m + 1.0),
    ("$0 ^ 2", 100.0, |m| m * m),
    ("$0 ^ 3", 20.0, |m| m * m * m),
    ("(abs($0) + 0.2) ^ 1.5", 100.0, |m| (m + 1.0).powf(1.5)),
    ("(abs($0) + 0.5) ^ -2", 100.0, |_| 4.0),
    ("$0 % 0.75", 100.0, |_| 0.75),
    ("relu($0)", MOST, |m| m),
    ("relu6($0)", MOST, |m| m),
    ("leaky_relu($0)", MOST, |m| m),
    ("elu($0)", MOST, |m| m),
    ("selu($0)", MOST, |m| 2.0 * m),
    ("celu($0, 0.7)", MOST, |m| m),
    ("sigmoid($0)", 50.0, |_| 1.0),
    ("softplus($0)", MOST, |m| m + 1.0),
    ("softplus($0, 2)", MOST, |m| m + 1.0),
    ("hard_sigmoid($0)", MOST, |_| 1.0),
    ("softsign($0)", MOST, |_| 1.0),
    ("silu($0)", 50.0, |m| m),
    ("mish($0)", 50.0, |m| m),
    ("hard_swish($0)", MOST, |m| m),
    ("gelu($0)", 5.0, |m| m),
    ("gelu_tanh($0)", 50.0, |m| m),
    ("quick_gelu($0)", 50.0, |m| m),
    ("1 / (1 + abs($0))", MOST, |_| 1.0),
    ("max($0, 0.1)", MOST, |m| m.max(0.1)),
    ("min($0, 0.4) - 1", MOST, |m| m + 1.0),
    ("stop($0)", MOST, |m| m),
    ("where($0 > 0.3, $0, 0.5 * $0)", MOST, |m| m),
];

/// Whether a value may be stretched to these axes.
fn stretches(v: &Value, shape: &[Dim]) -> bool {
    let from = &v.ty.shape;
    from.len() <= shape.len() && from.iter().rev().zip(shape.iter().rev()).all(|(a, b)| a == b || a.number() == Some(1))
}

impl Writer<'_> {
    /// A value that is small enough, or made so.
    fn small(&mut self, s: &mut Scope, x: Id, most: f64) -> Id {
        if self.most(x) <= most {
            return x;
        }
        let ty = self.ty(x).clone();
        self.make(s, &[x], "tanh(0.1 * $0)", ty, 1.0)
    }

    pub(super) fn unary(&mut self, s: &mut Scope) -> Option<Id> {
        let halves = self.allowed.halves;
        let x = self.find(s, |v| v.ty.dtype == DType::F32 || (halves && v.ty.dtype.is_float()))?;
        let (text, most, gives) = UNARY[self.dice.below(UNARY.len())];
        let x = self.small(s, x, most);
        let (ty, most) = (self.ty(x).clone(), gives(self.most(x)));
        Some(self.make(s, &[x], text, ty, most))
    }

    pub(super) fn binary(&mut self, s: &mut Scope) -> Option<Id> {
        let x = self.find(s, |v| v.ty.dtype.is_float())?;
        let ty = self.ty(x).clone();
        let y = self.find(s, |v| v.ty.dtype.is_float() && stretches(v, &ty.shape))?;
        let (x, y) = (self.small(s, x, MOST), self.small(s, y, MOST));
        let (a, b) = (self.most(x), self.most(y));
        let dtype = if self.ty(x).dtype == self.ty(y).dtype { ty.dtype } else { DType::F32 };
        let ty = ty.with(dtype);
        let (text, most) = self.dice.pick(&[
            ("$0 + $1", a + b),
            ("$0 - $1", a + b),
            ("$0 * $1", a * b),
            ("$0 / (1 + abs($1))", a),
            ("$0 / ($1 ^ 2 + 0.5)", 2.0 * a),
            ("max($0, $1)", a.max(b)),
            ("min($1, $0)", a.max(b)),
            ("$1 - 2 * $0", 2.0 * a + b),
            ("$0 * sigmoid($1)", a),
            ("$0 % (abs($1) + 0.5)", b + 0.5),
        ]);
        if most > MOST * 10.0 || (text.contains("^ 2") && b > 100.0) {
            return None;
        }
        Some(self.make(s, &[x, y], text, ty, most))
    }

    pub(super) fn integers(&mut self, s: &mut Scope) -> Option<Id> {
        let bytes = self.allowed.bytes;
        let int = move |v: &Value| v.ty.dtype.is_int() && (bytes || v.ty.dtype != DType::U8);
        let x = self.find(s, int)?;
        let ty = self.ty(x).clone();
        let y = self.find(s, |v| int(v) && v.ty.dtype == ty.dtype && stretches(v, &ty.shape))?;
        let (a, b) = (self.most(x), self.most(y));
        let (text, most) = self.dice.pick(&[
            ("$0 + 1", a + 1.0),
            ("$0 * 3", a * 3.0),
            ("$0 - $1", a + b),
            ("$0 + $1", a + b),
            ("$0 * $1", a * b),
            ("max($0, $1)", a.max(b)),
            ("min($0, 2)", a.max(2.0)),
            ("abs($0)", a),
            ("-$0", a),
            ("$0 % 3", 3.0),
            ("where($0 > $1, $0, 1)", a.max(1.0)),
        ]);
        let wide = self.allowed.wide && ty.dtype == DType::I64;
        // What wraps has a meaning of its own in a narrow type, if arithmetic on it is defined at all.
        if most > if wide { 4e15 } else { 2e9 } && ty.dtype != DType::U8 {
            return None;
        }
        let args: &[Id] = if text.contains("$1") { &[x, y] } else { &[x] };
        Some(self.make(s, args, text, ty, most))
    }

    pub(super) fn truths(&mut self, s: &mut Scope) -> Option<Id> {
        if self.dice.one_in(3)
            && let Some(x) = self.find(s, |v| v.ty.dtype == DType::Bool)
        {
            let ty = self.ty(x).clone();
            let y = self.find(s, |v| v.ty.dtype == DType::Bool && stretches(v, &ty.shape))?;
            let text = self.dice.pick(&["$0 and $1", "$0 or $1", "not $0 or $1", "$0 == $1", "$0 != $1"]);
            return Some(self.make(s, &[x, y], text, ty, 1.0));
        }
        let x = self.find(s, |v| v.ty.dtype != DType::Bool)?;
        let ty = self.ty(x).clone();
        let y = self.find(s, |v| v.ty.dtype == ty.dtype && stretches(v, &ty.shape))?;
        let texts = ["$0 < $1", "$0 <= $1", "$0 > 0", "$0 >= $1", "$0 == $1", "$0 != 1"];
        let text = self.dice.pick(&texts);
        let args: &[Id] = if text.contains("$1") { &[x, y] } else { &[x] };
        Some(self.make(s, args, text, ty.with(DType::Bool), 1.0))
    }

    pub(super) fn chosen(&mut self, s: &mut Scope) -> Option<Id> {
        let x = self.find(s, |v| v.ty.dtype != DType::Bool)?;
        let ty = self.ty(x).clone();
        let c = self.find(s, |v| v.ty.dtype == DType::Bool && stretches(v, &ty.shape))?;
        let y = self.find(s, |v| v.ty.dtype == ty.dtype && stretches(v, &ty.shape))?;
        let most = self.most(x).max(self.most(y));
        let text = self.dice.pick(&["where($0, $1, $2)", "where(not $0, $2, $1)"]);
        Some(self.make(s, &[c, x, y], text, ty, most))
    }

    pub(super) fn cast(&mut self, s: &mut Scope) -> Option<Id> {
        let x = self.find(s, |_| true)?;
        let (from, most) = (self.ty(x).dtype, self.most(x));
        let narrow = if self.allowed.halves { [DType::F16, DType::BF16] } else { [DType::F32; 2] };
        let to = match from {
            DType::F32 => self.dice.pick(&[DType::I64, narrow[0], DType::I32, narrow[1], DType::U8]),
            DType::F16 | DType::BF16 | DType::Bool | DType::U8 => DType::F32,
            DType::I64 | DType::I32 => self.dice.pick(&[DType::F32, DType::F32, DType::I64, DType::I32]),
        };
        let fits = match to {
            DType::U8 => most < 250.0,
            DType::F16 => most < 6e4,
            DType::I32 | DType::I64 => most < 2e9,
            DType::F32 | DType::BF16 | DType::Bool => true,
        };
        if !fits {
            return None;
        }
        let ty = self.ty(x).with(to);
        let text = if to == DType::U8 { "u8(abs($0))".into() } else { format!("{to}($0)") };
        Some(self.make(s, &[x], text, ty, most))
    }
}
