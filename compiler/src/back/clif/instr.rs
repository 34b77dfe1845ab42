//! Machine operations on one vector: takes operands of four lanes, gives the result with exactly the bits that the
//! reference evaluator gives. Forms are chosen for x86, where Cranelift's own `fmin`, `fmax` and saturating conversions
//! are long; on other processors they mean the same.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32X4, I32X4};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value, types};
use dlc_plan::kernel::{Instr, Val};

use super::emit::{Dialect, Emit};
use super::lanes::{Lanes, WIDTH};

/// The bit that is a number's sign.
const SIGN: u32 = 0x8000_0000;

/// What is known of the operands of a maximum or minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Extreme {
    Any,
    /// The second is a number, never NaN.
    OfNumber,
    /// The first is a number other than zero.
    FromNumber,
}

impl Emit<'_> {
    /// A kernel's operation on all lanes.
    pub fn operation(&mut self, op: Instr, args: &[Val]) -> Lanes {
        let operands: Vec<Lanes> = args.iter().map(|val| self.values[*val as usize]).collect();
        if op.is_wide() || op == Instr::IRem {
            return self.wide(op, &operands);
        }
        if op == Instr::FMulAdd {
            return self.multiply_add(args, operands);
        }
        if op == Instr::FMax || op == Instr::FMin {
            let case = match (operands[0], operands[1]) {
                (_, Lanes::Known(_, b)) if !f32::from_bits(b).is_nan() => Extreme::OfNumber,
                // Zeros are apart, since 0 and -0 are equal without being the same.
                (Lanes::Known(_, a), _) if !f32::from_bits(a).is_nan() && a & !SIGN != 0 => Extreme::FromNumber,
                _ => Extreme::Any,
            };
            return self.lift(&operands, |e, x| e.extreme(op, x[0], x[1], case));
        }
        self.lift(&operands, |e, x| e.vector_operation(op, x))
    }

    /// A fused multiply-add; a negation of an operand becomes part of it.
    fn multiply_add(&mut self, args: &[Val], mut operands: Vec<Lanes>) -> Lanes {
        let mut negative = [false; 3];
        for ((operand, negative), arg) in operands.iter_mut().zip(&mut negative).zip(args) {
            if let (Lanes::Each(_), Some(of)) = (&operand, self.negated[*arg as usize]) {
                *operand = self.values[of as usize];
                *negative = true;
            }
        }
        self.lift(&operands, |e, x| {
            let mut signed = [x[0], x[1], x[2]];
            for (value, negative) in signed.iter_mut().zip(negative) {
                if negative {
                    *value = e.b.ins().fneg(*value);
                }
            }
            e.b.ins().fma(signed[0], signed[1], signed[2])
        })
    }

    /// The maximum or minimum of a and b: NaN if either is.
    fn extreme(&mut self, op: Instr, a: Value, b: Value, case: Extreme) -> Value {
        // A choice by `less` between its own operands becomes one machine instruction.
        let (x, y) = if op == Instr::FMax { (a, b) } else { (b, a) };
        let (x, y) = if case == Extreme::FromNumber { (y, x) } else { (x, y) };
        let less = self.b.ins().fcmp(FloatCC::LessThan, x, y);
        let less = self.b.ins().bitcast(F32X4, MemFlagsData::new(), less);
        if case == Extreme::FromNumber {
            return self.b.ins().bitselect(less, a, b);
        }
        let best = self.b.ins().bitselect(less, b, a);
        if case == Extreme::OfNumber {
            return best;
        }
        // All ones is a NaN.
        let nan = self.b.ins().fcmp(FloatCC::NotEqual, b, b);
        let best = self.b.ins().bitcast(I32X4, MemFlagsData::new(), best);
        let either = self.b.ins().bor(best, nan);
        self.b.ins().bitcast(F32X4, MemFlagsData::new(), either)
    }

    fn bitwise(&mut self, x: Value, mask: u32, xor: bool) -> Value {
        let mask = self.vconst(I32X4, [mask; WIDTH]);
        let bits = self.b.ins().bitcast(I32X4, MemFlagsData::new(), x);
        let bits = if xor { self.b.ins().bxor(bits, mask) } else { self.b.ins().band(bits, mask) };
        self.b.ins().bitcast(F32X4, MemFlagsData::new(), bits)
    }

    /// Towards zero; what does not fit gives i32::MIN.
    fn truncate(&mut self, x: Value) -> Value {
        match self.dialect {
            Dialect::X86 => self.b.ins().x86_cvtt2dq(I32X4, x),
            Dialect::Portable => {
                let saturated = self.b.ins().fcvt_to_sint_sat(I32X4, x);
                let [low, high] =
                    [-2_147_483_648f32, 2_147_483_648.0].map(|limit| self.vconst(F32X4, [limit.to_bits(); WIDTH]));
                let low = self.b.ins().fcmp(FloatCC::LessThanOrEqual, low, x);
                let high = self.b.ins().fcmp(FloatCC::LessThan, x, high);
                let fits = self.b.ins().band(low, high);
                let other = self.vconst(I32X4, [SIGN; WIDTH]);
                self.b.ins().bitselect(fits, saturated, other)
            }
        }
    }

    fn shift_amount(&mut self, by: u8) -> Value {
        self.b.ins().iconst(types::I32, i64::from(by))
    }

    /// Any operation, as a table.
    pub fn vector_operation(&mut self, op: Instr, x: &[Value]) -> Value {
        let a = x[0];
        let b = x.get(1).copied().unwrap_or(a);
        match op {
            Instr::FAdd => self.b.ins().fadd(a, b),
            Instr::FSub => self.b.ins().fsub(a, b),
            Instr::FMul => self.b.ins().fmul(a, b),
            Instr::FDiv => self.b.ins().fdiv(a, b),
            Instr::FMulAdd => self.b.ins().fma(a, b, x[2]),
            Instr::FMax | Instr::FMin => self.extreme(op, a, b, Extreme::Any),
            Instr::FSqrt => self.b.ins().sqrt(a),
            Instr::FNeg => self.bitwise(a, SIGN, true),
            Instr::FAbs => self.bitwise(a, !SIGN, false),
            Instr::FFloor => self.b.ins().floor(a),
            Instr::FRound => self.b.ins().nearest(a),
            Instr::FLt => self.b.ins().fcmp(FloatCC::LessThan, a, b),
            Instr::FLe => self.b.ins().fcmp(FloatCC::LessThanOrEqual, a, b),
            Instr::FEq => self.b.ins().fcmp(FloatCC::Equal, a, b),
            Instr::FNe => self.b.ins().fcmp(FloatCC::NotEqual, a, b),
            Instr::FToI => self.truncate(a),
            Instr::FTurn(quarters) => self.turn(a, b, quarters),
            Instr::FBits => self.b.ins().bitcast(I32X4, MemFlagsData::new(), a),
            Instr::IBits => self.b.ins().bitcast(F32X4, MemFlagsData::new(), a),
            Instr::IToF => self.b.ins().fcvt_from_sint(F32X4, a),
            Instr::FSelect => {
                let mask = self.b.ins().bitcast(F32X4, MemFlagsData::new(), a);
                self.b.ins().bitselect(mask, b, x[2])
            }
            Instr::ISelect => self.b.ins().bitselect(a, b, x[2]),
            Instr::MAnd | Instr::IAnd => self.b.ins().band(a, b),
            Instr::MOr | Instr::IOr => self.b.ins().bor(a, b),
            Instr::MNot => self.b.ins().bnot(a),
            Instr::IAdd | Instr::LAdd => self.b.ins().iadd(a, b),
            Instr::ISub | Instr::LSub => self.b.ins().isub(a, b),
            Instr::IMul | Instr::LMul => self.b.ins().imul(a, b),
            Instr::INeg | Instr::LNeg => self.b.ins().ineg(a),
            Instr::LMax => self.long_extreme(true, a, b),
            Instr::LMin => self.long_extreme(false, a, b),
            Instr::IMax => self.b.ins().smax(a, b),
            Instr::IMin => self.b.ins().smin(a, b),
            Instr::IXor => self.b.ins().bxor(a, b),
            Instr::IShl(by) => {
                let by = self.shift_amount(by);
                self.b.ins().ishl(a, by)
            }
            Instr::IShr(by) => {
                let by = self.shift_amount(by);
                self.b.ins().ushr(a, by)
            }
            Instr::ISar(by) => {
                let by = self.shift_amount(by);
                self.b.ins().sshr(a, by)
            }
            Instr::ILt => self.b.ins().icmp(IntCC::SignedLessThan, a, b),
            Instr::ILe => self.b.ins().icmp(IntCC::SignedLessThanOrEqual, a, b),
            Instr::IEq => self.b.ins().icmp(IntCC::Equal, a, b),
            Instr::INe => self.b.ins().icmp(IntCC::NotEqual, a, b),
            Instr::IRem | Instr::IPair | Instr::IToL | Instr::LRem | Instr::LToF | Instr::LToI | Instr::FToL => {
                unreachable!("{op:?} is more than one vector operation")
            }
            Instr::LLt | Instr::LLe | Instr::LEq | Instr::LNe | Instr::LSelect => {
                unreachable!("{op:?} is more than one vector operation")
            }
        }
    }
}
