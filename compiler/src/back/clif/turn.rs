//! The reduction of large angles, as `dlc_plan::turn` has it: code that is run only where a vector has one.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F32X4, F64, I32, I64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Value};
use dlc_plan::kernel::Instr;
use dlc_plan::turn::{FAR, FIRST, TURNS, UNIT};

use super::access::block_args;
use super::emit::{Emit, Scratch};
use super::lanes::WIDTH;
use super::num::Num;

/// Bytes of a vector, and of a lane as a shift.
const VECTOR: i64 = 4 * WIDTH as i64;
const LANE: i64 = 2;

impl Emit<'_> {
    /// `near`, or what the reduction gives in the lanes of x that are far from 0.
    pub fn turn(&mut self, x: Value, near: Value, quarters: u8) -> Value {
        let size = self.vector_operation(Instr::FAbs, &[x]);
        let far = self.vconst(F32X4, [FAR.to_bits(); WIDTH]);
        let is_far = self.b.ins().fcmp(FloatCC::LessThanOrEqual, far, size);
        let any = self.b.ins().vany_true(is_far);
        let [slow, join] = [self.b.create_block(), self.b.create_block()];
        self.b.set_cold_block(slow);
        let result = self.b.append_block_param(join, F32X4);
        self.b.ins().brif(any, slow, [], join, &block_args(&[near]));
        self.enter(slow);
        let trusted = MemFlagsData::trusted();
        let numbers = self.scratch(Scratch::Values);
        let angles = self.b.ins().iadd_imm_s(numbers, VECTOR);
        self.b.ins().store(MemFlagsData::new().with_notrap(), x, numbers, 0);
        self.b.ins().store(MemFlagsData::new().with_notrap(), near, angles, 0);
        self.count_some(Num::Known(WIDTH as i64), 1, &mut |e, lane| {
            let offset = e.b.ins().ishl_imm_s(lane, LANE);
            let [from, to] = [numbers, angles].map(|start| e.b.ins().iadd(start, offset));
            let number = e.b.ins().load(F32, trusted, from, 0);
            let angle = e.far_turn(number, quarters);
            let size = e.b.ins().fabs(number);
            let far = e.b.ins().f32const(FAR);
            let is_far = e.b.ins().fcmp(FloatCC::LessThanOrEqual, far, size);
            let near = e.b.ins().load(F32, trusted, to, 0);
            let angle = e.b.ins().select(is_far, angle, near);
            e.b.ins().store(trusted, angle, to, 0);
        });
        let angles = self.b.ins().load(F32X4, MemFlagsData::new().with_notrap(), angles, 0);
        self.b.ins().jump(join, &block_args(&[angles]));
        self.enter(join);
        result
    }

    /// `dlc_plan::turn::turn` of one number; anything for one that is near.
    fn far_turn(&mut self, x: Value, quarters: u8) -> Value {
        let bits = self.b.ins().bitcast(I32, MemFlagsData::new(), x);
        let bits = self.b.ins().uextend(I64, bits);
        let shifted = self.b.ins().ushr_imm_u(bits, 23);
        let exponent = self.b.ins().band_imm_u(shifted, 0xff);
        let fraction = self.b.ins().band_imm_u(bits, 0x7f_ffff);
        let m = self.b.ins().bor_imm_u(fraction, 0x80_0000);
        let turns = self.turns(exponent, m);
        let negative = self.b.ins().ushr_imm_u(shifted, 8);
        let other = self.b.ins().ineg(turns);
        let turns = self.b.ins().select(negative, other, turns);
        let quarter = self.b.ins().iconst(I64, (u64::from(quarters) << 62) as i64);
        let turns = self.b.ins().iadd(turns, quarter);
        let rest = self.b.ins().ishl_imm_u(turns, 1);
        let angle = self.b.ins().fcvt_from_sint(F64, rest);
        let unit = self.b.ins().f64const(UNIT);
        let angle = self.b.ins().fmul(angle, unit);
        let angle = self.b.ins().fdemote(F32, angle);
        let half = self.b.ins().iconst(I64, 1 << 62);
        let odd = self.b.ins().iadd(turns, half);
        let odd = self.b.ins().ushr_imm_u(odd, 63);
        let flipped = self.b.ins().fneg(angle);
        let angle = self.b.ins().select(odd, flipped, angle);
        let infinite = self.b.ins().icmp_imm_s(IntCC::Equal, exponent, 0xff);
        let nan = self.b.ins().f32const(f32::NAN);
        self.b.ins().select(infinite, nan, angle)
    }

    /// m times what a number of this exponent takes of 1 / (2 pi), in turns, without whole ones.
    fn turns(&mut self, exponent: Value, m: Value) -> Value {
        let first = self.b.ins().iadd_imm_s(exponent, -FIRST);
        let shift = self.b.ins().band_imm_u(first, 63);
        let back = self.b.ins().bxor_imm_u(shift, 63);
        let later = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, first, 64);
        let word = |e: &mut Self, i: usize| {
            let [early, late] = [i, i + 1].map(|i| e.b.ins().iconst(I64, TURNS[i] as i64));
            e.b.ins().select(later, late, early)
        };
        let words = [0, 1, 2].map(|i| word(self, i));
        let window = |e: &mut Self, i: usize| {
            let high = e.b.ins().ishl(words[i], shift);
            let low = e.b.ins().ushr_imm_u(words[i + 1], 1);
            let low = e.b.ins().ushr(low, back);
            e.b.ins().bor(high, low)
        };
        let [high, low] = [0, 1].map(|i| window(self, i));
        let upper = self.b.ins().umulhi(m, low);
        let product = self.b.ins().imul(m, high);
        self.b.ins().iadd(product, upper)
    }
}
