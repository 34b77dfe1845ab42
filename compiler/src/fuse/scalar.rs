//! Primitives as machine operations: one arm for each.

use super::emit::Emit;
use dlc_plan::kernel::{Kind, Val};
use dlc_plan::{DType, Instr, Prim};

/// What a value of that element type is in a kernel.
pub fn kind_of(dtype: DType) -> Kind {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 => Kind::F32,
        DType::I64 | DType::I32 | DType::U8 => Kind::I32,
        DType::Bool => Kind::Mask,
    }
}

/// Whether a power has at most two roundings as products, roots and quotients.
fn is_simple(y: f64) -> bool {
    y.fract() == 0.0 && y.abs() <= 8.0 || [0.5, 1.5, -0.5].contains(&y)
}

impl Emit<'_> {
    /// A primitive of values; `known` is the second operand, where it is a constant.
    pub(super) fn prim(&mut self, prim: Prim, x: &[Val], from: DType, known: Option<f64>) -> Val {
        let float = kind_of(from) == Kind::F32;
        let pick = |f: Instr, i: Instr| if float { f } else { i };
        match prim {
            Prim::Add => self.ins(pick(Instr::FAdd, Instr::IAdd), x),
            Prim::Sub => self.ins(pick(Instr::FSub, Instr::ISub), x),
            Prim::Mul => self.ins(pick(Instr::FMul, Instr::IMul), x),
            Prim::Div => self.ins(Instr::FDiv, x),
            Prim::Rem if float => self.rem(x[0], x[1], known),
            Prim::Rem => self.int_rem(x[0], x[1]),
            Prim::Pow => self.pow_by(x, known),
            Prim::Max => self.ins(pick(Instr::FMax, Instr::IMax), x),
            Prim::Min => self.ins(pick(Instr::FMin, Instr::IMin), x),
            Prim::Neg => self.ins(pick(Instr::FNeg, Instr::INeg), x),
            Prim::Abs if float => self.ins(Instr::FAbs, x),
            Prim::Abs => {
                let minus = self.ins(Instr::INeg, x);
                self.ins(Instr::IMax, &[x[0], minus])
            }
            Prim::Sign => self.sign(x[0], float),
            Prim::Floor => self.ins(Instr::FFloor, x),
            Prim::Exp => self.exp(x[0]),
            Prim::Expm1 => self.expm1(x[0]),
            Prim::Log => self.log(x[0]),
            Prim::Log1p => self.log1p(x[0]),
            Prim::Sqrt => self.ins(Instr::FSqrt, x),
            Prim::Rsqrt => {
                let root = self.ins(Instr::FSqrt, x);
                let one = self.float(1.0);
                self.ins(Instr::FDiv, &[one, root])
            }
            Prim::Sin => self.sin(x[0], 0),
            Prim::Cos => self.sin(x[0], 1),
            Prim::Tanh => self.tanh(x[0]),
            Prim::Erf => self.erf(x[0]),
            Prim::Erfc => self.erfc(x[0]),
            Prim::Lt => self.ins(pick(Instr::FLt, Instr::ILt), x),
            Prim::Le => self.ins(pick(Instr::FLe, Instr::ILe), x),
            Prim::Eq if from == DType::Bool => {
                let ne = self.differ(x);
                self.ins(Instr::MNot, &[ne])
            }
            Prim::Eq => self.ins(pick(Instr::FEq, Instr::IEq), x),
            Prim::Ne if from == DType::Bool => self.differ(x),
            Prim::Ne => self.ins(pick(Instr::FNe, Instr::INe), x),
            Prim::And => self.ins(Instr::MAnd, x),
            Prim::Or => self.ins(Instr::MOr, x),
            Prim::Not => self.ins(Instr::MNot, x),
            Prim::Where => self.choose(x),
            Prim::Cast(to) => self.cast(x[0], from, to),
        }
    }

    /// Whether two truths differ.
    fn differ(&mut self, x: &[Val]) -> Val {
        let either = self.ins(Instr::MOr, x);
        let both = self.ins(Instr::MAnd, x);
        let not_both = self.ins(Instr::MNot, &[both]);
        self.ins(Instr::MAnd, &[either, not_both])
    }

    /// The second value where the first is true, else the third.
    pub(super) fn choose(&mut self, x: &[Val]) -> Val {
        match self.kind(x[1]) {
            Kind::F32 => self.ins(Instr::FSelect, x),
            Kind::I32 => self.ins(Instr::ISelect, x),
            Kind::Mask => {
                let yes = self.ins(Instr::MAnd, &[x[0], x[1]]);
                let not = self.ins(Instr::MNot, &[x[0]]);
                let no = self.ins(Instr::MAnd, &[not, x[2]]);
                self.ins(Instr::MOr, &[yes, no])
            }
        }
    }

    fn sign(&mut self, x: Val, float: bool) -> Val {
        let (lt, select) = if float { (Instr::FLt, Instr::FSelect) } else { (Instr::ILt, Instr::ISelect) };
        let number = |s: &mut Self, n: i32| if float { s.float(n as f32) } else { s.int(n) };
        let (zero, one, minus) = (number(self, 0), number(self, 1), number(self, -1));
        let below = self.ins(lt, &[x, zero]);
        let above = self.ins(lt, &[zero, x]);
        let value = self.ins(select, &[below, minus, x]);
        self.ins(select, &[above, one, value])
    }

    /// The remainder with the divisor's sign: a rounded quotient in singles, then at most one step to either side.
    fn int_rem(&mut self, a: Val, b: Val) -> Val {
        let (fa, fb) = (self.ins(Instr::IToF, &[a]), self.ins(Instr::IToF, &[b]));
        let q = self.ins(Instr::FDiv, &[fa, fb]);
        let q = self.ins(Instr::FFloor, &[q]);
        let q = self.ins(Instr::FToI, &[q]);
        let product = self.ins(Instr::IMul, &[q, b]);
        let r = self.ins(Instr::ISub, &[a, product]);
        let sign = self.sign(b, false);
        let r_up = self.ins(Instr::IMul, &[r, sign]);
        let b_up = self.ins(Instr::IMul, &[b, sign]);
        let zero = self.int(0);
        let below = self.ins(Instr::ILt, &[r_up, zero]);
        let more = self.ins(Instr::IAdd, &[r_up, b_up]);
        let r_up = self.ins(Instr::ISelect, &[below, more, r_up]);
        let above = self.ins(Instr::ILe, &[b_up, r_up]);
        let less = self.ins(Instr::ISub, &[r_up, b_up]);
        let r_up = self.ins(Instr::ISelect, &[above, less, r_up]);
        self.ins(Instr::IMul, &[r_up, sign])
    }

    /// A power; small whole exponents and halves that are known become products, roots and quotients.
    fn pow_by(&mut self, x: &[Val], known: Option<f64>) -> Val {
        let Some(y) = known.filter(|y| is_simple(*y)) else { return self.pow(x[0], x[1]) };
        let size = y.abs();
        let mut value = match size.floor() as u32 {
            0 => None,
            1 => Some(x[0]),
            2 => Some(self.ins(Instr::FMul, &[x[0], x[0]])),
            3 if y > 0.0 => {
                let square = self.ins(Instr::FMul, &[x[0], x[0]]);
                Some(self.ins(Instr::FMul, &[square, x[0]]))
            }
            n => Some(self.whole_power(x[0], n)),
        };
        if size.fract() != 0.0 {
            let root = self.ins(Instr::FSqrt, &[x[0]]);
            value = Some(match value {
                Some(v) => self.ins(Instr::FMul, &[v, root]),
                None => root,
            });
        }
        let one = self.float(1.0);
        match value {
            None => one,
            Some(v) if y < 0.0 => self.ins(Instr::FDiv, &[one, v]),
            Some(v) => v,
        }
    }

    /// A cast between element types; bf16 and f16 are kept as singles rounded to them.
    fn cast(&mut self, x: Val, from: DType, to: DType) -> Val {
        let x = match (kind_of(from), kind_of(to)) {
            (Kind::F32, Kind::F32) | (Kind::I32, Kind::I32) | (Kind::Mask, Kind::Mask) => x,
            (Kind::F32, Kind::I32) => self.ins(Instr::FToI, &[x]),
            (Kind::I32, Kind::F32) => self.ins(Instr::IToF, &[x]),
            (Kind::Mask, Kind::F32) => {
                let (one, zero) = (self.float(1.0), self.float(0.0));
                self.ins(Instr::FSelect, &[x, one, zero])
            }
            (Kind::Mask, Kind::I32) => {
                let (one, zero) = (self.int(1), self.int(0));
                self.ins(Instr::ISelect, &[x, one, zero])
            }
            (Kind::F32, Kind::Mask) => {
                let zero = self.float(0.0);
                self.ins(Instr::FNe, &[x, zero])
            }
            (Kind::I32, Kind::Mask) => {
                let zero = self.int(0);
                self.ins(Instr::INe, &[x, zero])
            }
        };
        match to {
            DType::BF16 if from != DType::BF16 => self.round_bits(x, 16),
            DType::F16 if from != DType::F16 => self.round_half(x),
            DType::U8 if from != DType::U8 => {
                let (low, high) = (self.int(0), self.int(255));
                let x = self.ins(Instr::IMax, &[x, low]);
                self.ins(Instr::IMin, &[x, high])
            }
            DType::F32 | DType::F16 | DType::BF16 | DType::I64 | DType::I32 | DType::U8 | DType::Bool => x,
        }
    }

    /// Drops the lowest bits of a single's mantissa, to nearest, ties to even; NaN stays.
    fn round_bits(&mut self, x: Val, drop: u8) -> Val {
        let bits = self.ins(Instr::FBits, &[x]);
        let (one, below) = (self.int(1), self.int((1 << (drop - 1)) - 1));
        let odd = self.ins(Instr::IShr(drop), &[bits]);
        let odd = self.ins(Instr::IAnd, &[odd, one]);
        let up = self.ins(Instr::IAdd, &[odd, below]);
        let sum = self.ins(Instr::IAdd, &[bits, up]);
        let mask = self.int(-1 << drop);
        let kept = self.ins(Instr::IAnd, &[sum, mask]);
        let value = self.ins(Instr::IBits, &[kept]);
        let is_nan = self.ins(Instr::FNe, &[x, x]);
        self.ins(Instr::FSelect, &[is_nan, x, value])
    }

    /// Rounds to half precision: eleven bits of significand, units of 2^-24 below 2^-14, infinity from 65520 on.
    fn round_half(&mut self, x: Val) -> Val {
        let normal = self.round_bits(x, 13);
        let size = self.ins(Instr::FAbs, &[x]);
        let (up, down) = (self.float(16_777_216.0), self.float(1.0 / 16_777_216.0));
        let units = self.ins(Instr::FMul, &[x, up]);
        let units = self.ins(Instr::FRound, &[units]);
        let small = self.ins(Instr::FMul, &[units, down]);
        let least = self.float(6.103_515_6e-5);
        let is_small = self.ins(Instr::FLt, &[size, least]);
        let value = self.ins(Instr::FSelect, &[is_small, small, normal]);
        let (top, inf) = (self.float(65_520.0), self.float(f32::INFINITY));
        let over = self.ins(Instr::FLe, &[top, size]);
        let infinite = self.ins(Instr::FMul, &[x, inf]);
        self.ins(Instr::FSelect, &[over, infinite, value])
    }
}
