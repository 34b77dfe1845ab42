//! Primitives as machine operations: one arm for each.

use super::emit::Emit;
use dlc_plan::kernel::{Kind, Val};
use dlc_plan::{DType, Instr, Prim};

/// What a value of that element type is in a kernel.
pub fn kind_of(dtype: DType) -> Kind {
    match dtype {
        DType::F32 | DType::F16 | DType::BF16 => Kind::F32,
        DType::I64 => Kind::I64,
        DType::I32 | DType::U8 => Kind::I32,
        DType::Bool => Kind::Mask,
    }
}

/// Whether a power has at most two roundings as products, roots and quotients.
fn is_simple(y: f64) -> bool {
    y.fract() == 0.0 && y.abs() <= 8.0 || [0.5, 1.5, -0.5].contains(&y)
}

/// The operation of a kind, of those of F32, I32 and I64.
fn of_kind(kind: Kind, [float, int, long]: [Instr; 3]) -> Instr {
    match kind {
        Kind::F32 => float,
        Kind::I32 | Kind::Mask => int,
        Kind::I64 => long,
    }
}

impl Emit<'_> {
    /// A primitive of values; `known` is the second operand, where it is a constant.
    pub(super) fn prim(&mut self, prim: Prim, x: &[Val], from: DType, known: Option<f64>) -> Val {
        let kind = kind_of(from);
        let value = match prim {
            Prim::Rem if kind == Kind::F32 => self.rem(x[0], x[1], known),
            Prim::Rem => self.int_rem(x, kind, known),
            Prim::Pow => self.pow_by(x, known),
            Prim::Abs if kind != Kind::F32 => {
                let minus = self.ins(of_kind(kind, [Instr::FNeg, Instr::INeg, Instr::LNeg]), x);
                self.ins(of_kind(kind, [Instr::FMax, Instr::IMax, Instr::LMax]), &[x[0], minus])
            }
            Prim::Sign => self.sign(x[0], kind),
            Prim::Exp => self.exp(x[0]),
            Prim::Expm1 => self.expm1(x[0]),
            Prim::Log => self.log(x[0]),
            Prim::Log1p => self.log1p(x[0]),
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
            Prim::Eq if from == DType::Bool => {
                let ne = self.differ(x);
                self.ins(Instr::MNot, &[ne])
            }
            Prim::Ne if from == DType::Bool => self.differ(x),
            Prim::Where => self.choose(x),
            Prim::Cast(to) => self.cast(x[0], from, to),
            Prim::Div => self.ins(Instr::FDiv, x),
            Prim::Floor => self.ins(Instr::FFloor, x),
            Prim::Sqrt => self.ins(Instr::FSqrt, x),
            Prim::Abs => self.ins(Instr::FAbs, x),
            Prim::And => self.ins(Instr::MAnd, x),
            Prim::Or => self.ins(Instr::MOr, x),
            Prim::Not => self.ins(Instr::MNot, x),
            Prim::Add => self.ins(of_kind(kind, [Instr::FAdd, Instr::IAdd, Instr::LAdd]), x),
            Prim::Sub => self.ins(of_kind(kind, [Instr::FSub, Instr::ISub, Instr::LSub]), x),
            Prim::Mul => self.ins(of_kind(kind, [Instr::FMul, Instr::IMul, Instr::LMul]), x),
            Prim::Max => self.ins(of_kind(kind, [Instr::FMax, Instr::IMax, Instr::LMax]), x),
            Prim::Min => self.ins(of_kind(kind, [Instr::FMin, Instr::IMin, Instr::LMin]), x),
            Prim::Neg => self.ins(of_kind(kind, [Instr::FNeg, Instr::INeg, Instr::LNeg]), x),
            Prim::Lt => self.ins(of_kind(kind, [Instr::FLt, Instr::ILt, Instr::LLt]), x),
            Prim::Le => self.ins(of_kind(kind, [Instr::FLe, Instr::ILe, Instr::LLe]), x),
            Prim::Eq => self.ins(of_kind(kind, [Instr::FEq, Instr::IEq, Instr::LEq]), x),
            Prim::Ne => self.ins(of_kind(kind, [Instr::FNe, Instr::INe, Instr::LNe]), x),
        };
        match prim {
            Prim::Add | Prim::Sub | Prim::Mul | Prim::Neg | Prim::Abs if from == DType::U8 => self.low_byte(value),
            _ => value,
        }
    }

    /// What bytes keep of an integer.
    fn low_byte(&mut self, x: Val) -> Val {
        let low = self.int(255);
        self.ins(Instr::IAnd, &[x, low])
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
            Kind::I64 => self.ins(Instr::LSelect, x),
            Kind::Mask => {
                let yes = self.ins(Instr::MAnd, &[x[0], x[1]]);
                let not = self.ins(Instr::MNot, &[x[0]]);
                let no = self.ins(Instr::MAnd, &[not, x[2]]);
                self.ins(Instr::MOr, &[yes, no])
            }
        }
    }

    fn sign(&mut self, x: Val, kind: Kind) -> Val {
        let lt = of_kind(kind, [Instr::FLt, Instr::ILt, Instr::LLt]);
        let select = of_kind(kind, [Instr::FSelect, Instr::ISelect, Instr::LSelect]);
        let [zero, one, minus] = [0, 1, -1].map(|n| match kind {
            Kind::F32 => self.float(n as f32),
            Kind::I32 | Kind::Mask => self.int(n),
            Kind::I64 => self.long(n.into()),
        });
        let below = self.ins(lt, &[x, zero]);
        let above = self.ins(lt, &[zero, x]);
        let value = self.ins(select, &[below, minus, x]);
        self.ins(select, &[above, one, value])
    }

    /// The remainder with the divisor's sign; by a power of two, its low bits.
    fn int_rem(&mut self, x: &[Val], kind: Kind, known: Option<f64>) -> Val {
        let small = known.filter(|n| (1.0..=1_073_741_824.0).contains(n)).map(|n| n as i32);
        match small.filter(|n| n.count_ones() == 1) {
            Some(n) if kind == Kind::I64 => {
                let (mask, low) = (self.int(n - 1), self.ins(Instr::LToI, &x[..1]));
                let rest = self.ins(Instr::IAnd, &[low, mask]);
                self.ins(Instr::IToL, &[rest])
            }
            Some(n) => {
                let mask = self.int(n - 1);
                self.ins(Instr::IAnd, &[x[0], mask])
            }
            None => self.ins(of_kind(kind, [Instr::IRem, Instr::IRem, Instr::LRem]), x),
        }
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
            (Kind::F32, Kind::F32) | (Kind::I32, Kind::I32) | (Kind::I64, Kind::I64) | (Kind::Mask, Kind::Mask) => x,
            (Kind::F32, Kind::I32) => self.float_to_int(x, to),
            (Kind::F32, Kind::I64) => self.ins(Instr::FToL, &[x]),
            (Kind::I32, Kind::F32) => self.ins(Instr::IToF, &[x]),
            (Kind::I32, Kind::I64) => self.ins(Instr::IToL, &[x]),
            (Kind::I64, Kind::F32) => self.ins(Instr::LToF, &[x]),
            (Kind::I64, Kind::I32) => self.ins(Instr::LToI, &[x]),
            (Kind::Mask, Kind::F32) => {
                let (one, zero) = (self.float(1.0), self.float(0.0));
                self.ins(Instr::FSelect, &[x, one, zero])
            }
            (Kind::Mask, Kind::I32) => {
                let (one, zero) = (self.int(1), self.int(0));
                self.ins(Instr::ISelect, &[x, one, zero])
            }
            (Kind::Mask, Kind::I64) => {
                let (one, zero) = (self.long(1), self.long(0));
                self.ins(Instr::LSelect, &[x, one, zero])
            }
            (Kind::F32, Kind::Mask) => {
                let zero = self.float(0.0);
                self.ins(Instr::FNe, &[x, zero])
            }
            (Kind::I32, Kind::Mask) => {
                let zero = self.int(0);
                self.ins(Instr::INe, &[x, zero])
            }
            (Kind::I64, Kind::Mask) => {
                let zero = self.long(0);
                self.ins(Instr::LNe, &[x, zero])
            }
        };
        match to {
            DType::BF16 if from != DType::BF16 => self.round_bits(x, 16),
            DType::F16 if from != DType::F16 => self.round_half(x),
            DType::U8 if matches!(from, DType::I64 | DType::I32) => self.low_byte(x),
            DType::F32 | DType::F16 | DType::BF16 | DType::I64 | DType::I32 | DType::U8 | DType::Bool => x,
        }
    }

    /// Towards zero; the nearest integer of the type of what does not fit, and 0 of NaN.
    fn float_to_int(&mut self, x: Val, to: DType) -> Val {
        let near = self.ins(Instr::FToI, &[x]);
        let (limit, greatest) = if to == DType::U8 { (256.0, 255) } else { (2_147_483_648.0, i32::MAX) };
        let (limit, greatest, zero) = (self.float(limit), self.int(greatest), self.int(0));
        let beyond = self.ins(Instr::FLe, &[limit, x]);
        let near = self.ins(Instr::ISelect, &[beyond, greatest, near]);
        if to == DType::U8 {
            return self.ins(Instr::IMax, &[near, zero]);
        }
        let nan = self.ins(Instr::FNe, &[x, x]);
        self.ins(Instr::ISelect, &[nan, zero, near])
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
