//! Random bits inside kernels: Philox4x32-10 as `dlc_plan::random` numbers it. Takes the key and a point, gives 32 bits a
//! lane. Where a block is a group of sixteen columns, its four blocks of Philox run side by side and the four words are
//! the four vectors; otherwise each lane computes its own.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{I32, I32X4, I64};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use dlc_plan::kernel::{Bits, Ext, Kind, Val};
use dlc_plan::random::GROUP;

use super::access::block_args;
use super::emit::{Emit, Scratch};
use super::lanes::{Lanes, WIDTH, little};
use super::memory::plain;
use super::num::Num;

impl Emit<'_> {
    /// The bits of each lane's point.
    pub fn bits(&mut self, bits: &Bits) -> Lanes {
        if !self.along(&bits.row) && !self.along(&bits.col) {
            let word = self.bits_at(bits, Num::Known(0));
            return Lanes::Same(self.b.ins().splat(I32X4, word));
        }
        if !self.along(&bits.row) && self.is_group(bits) {
            return self.bits_of_group(bits);
        }
        let memory = self.scratch(Scratch::Ints);
        let count = self.live_count();
        self.count_some(count, 1, &mut |e, lane| {
            let to = e.word(memory, lane);
            let word = e.bits_at(bits, Num::Code(lane));
            e.b.ins().store(plain(), word, to, 0);
        });
        let words = self.gather(Kind::I32, memory);
        self.of_vectors(Kind::I32, &words)
    }

    /// Whether each block's columns are a group: neighbours, from a multiple of sixteen on.
    fn is_group(&self, bits: &Bits) -> bool {
        let whole = |ext: Ext| matches!(ext, Ext::Const(n) if n % i64::from(GROUP) == 0);
        whole(bits.col.offset)
            && bits.col.terms.iter().all(|(axis, factor)| {
                if Some(*axis) == self.lane_axis { *factor == Ext::Const(1) } else { whole(*factor) }
            })
    }

    fn number(&mut self, val: Val) -> Value {
        self.scalar(self.values[val as usize])
    }

    /// The row's number, with the rows before the first, as 32 bits.
    fn row_number(&mut self, bits: &Bits, ahead: Num) -> Value {
        let row = self.at_lane(&bits.row, ahead);
        let row = self.materialise(row);
        let row = self.b.ins().ireduce(I32, row);
        let first = self.number(bits.first);
        self.b.ins().iadd(row, first)
    }

    fn bits_of_group(&mut self, bits: &Bits) -> Lanes {
        let col = self.at_lane(&bits.col, Num::Known(0));
        let col = self.materialise(col);
        let col = self.b.ins().ireduce(I32, col);
        // Four blocks a group of sixteen columns.
        let block = self.b.ins().ushr_imm_s(col, 2);
        let block = self.b.ins().splat(I32X4, block);
        let ahead = self.vconst(I32X4, [0, 1, 2, 3]);
        let block = self.b.ins().iadd(block, ahead);
        let row = self.row_number(bits, Num::Known(0));
        let row = self.b.ins().splat(I32X4, row);
        let [step, high, low, site] =
            [bits.step, bits.seed[1], bits.seed[0], bits.site].map(|val| self.quad(self.values[val as usize], 0));
        Lanes::Each(self.philox(I32X4, [block, row, step, high], [low, site]))
    }

    /// The bits of the point at the block's first lane moved on by `ahead`.
    fn bits_at(&mut self, bits: &Bits, ahead: Num) -> Value {
        let col = self.at_lane(&bits.col, ahead);
        let col = self.materialise(col);
        let col = self.b.ins().ireduce(I32, col);
        let group = self.b.ins().ushr_imm_s(col, 4);
        let group = self.b.ins().ishl_imm_s(group, 2);
        let within = self.b.ins().band_imm_s(col, 3);
        let block = self.b.ins().iadd(group, within);
        let row = self.row_number(bits, ahead);
        let [step, high, low, site] = [bits.step, bits.seed[1], bits.seed[0], bits.site].map(|val| self.number(val));
        let words = self.philox(I32, [block, row, step, high], [low, site]);
        // Word (col mod 16) / 4.
        let memory = self.scratch(Scratch::Words);
        for (i, word) in words.iter().enumerate() {
            self.b.ins().store(plain(), *word, memory, i as i32 * 4);
        }
        let offset = self.b.ins().band_imm_s(col, 12);
        let offset = self.b.ins().uextend(I64, offset);
        let from = self.b.ins().iadd(memory, offset);
        self.b.ins().load(I32, plain(), from, 0)
    }

    /// Ten rounds of Philox4x32 on words of type I32, or on four blocks side by side in I32X4.
    fn philox(&mut self, ty: Type, counter: [Value; 4], key: [Value; 2]) -> [Value; 4] {
        const ROUNDS: i64 = 10;
        let [head, after] = [self.b.create_block(), self.b.create_block()];
        let mut state = vec![self.b.ins().iconst(I64, ROUNDS)];
        state.extend(counter);
        state.extend(key);
        self.b.ins().jump(head, &block_args(&state));
        let left = self.b.append_block_param(head, I64);
        let [x0, x1, x2, x3, k0, k1] = [(); 6].map(|()| self.b.append_block_param(head, ty));
        self.b.switch_to_block(head);
        let (high0, low0) = self.wide_product(ty, x0, 0xD251_1F53);
        let (high1, low1) = self.wide_product(ty, x2, 0xCD9E_8D57);
        let y0 = self.b.ins().bxor(high1, x1);
        let y0 = self.b.ins().bxor(y0, k0);
        let y2 = self.b.ins().bxor(high0, x3);
        let y2 = self.b.ins().bxor(y2, k1);
        let [weyl0, weyl1] = [0x9E37_79B9, 0xBB67_AE85].map(|word| self.word_const(ty, word));
        let next0 = self.b.ins().iadd(k0, weyl0);
        let next1 = self.b.ins().iadd(k1, weyl1);
        let left = self.b.ins().iadd_imm_s(left, -1);
        let more = self.b.ins().icmp_imm_s(IntCC::NotEqual, left, 0);
        let again = block_args(&[left, y0, low1, y2, low0, next0, next1]);
        self.b.ins().brif(more, head, &again, after, []);
        self.b.seal_block(head);
        self.enter(after);
        [y0, low1, y2, low0]
    }

    fn word_const(&mut self, ty: Type, word: u32) -> Value {
        if ty == I32 { self.b.ins().iconst(I32, i64::from(word)) } else { self.vconst(I32X4, [word; WIDTH]) }
    }

    /// The high and low words of the product with a constant.
    fn wide_product(&mut self, ty: Type, x: Value, by: u32) -> (Value, Value) {
        if ty == I32 {
            let wide = self.b.ins().uextend(I64, x);
            let product = self.b.ins().imul_imm_s(wide, i64::from(by));
            let high = self.b.ins().ushr_imm_s(product, 32);
            return (self.b.ins().ireduce(I32, high), self.b.ins().ireduce(I32, product));
        }
        let by = self.vconst(I32X4, [by; WIDTH]);
        let [x_low, by_low] = [x, by].map(|value| self.b.ins().uwiden_low(value));
        let left = self.b.ins().imul(x_low, by_low);
        let [x_high, by_high] = [x, by].map(|value| self.b.ins().uwiden_high(value));
        let right = self.b.ins().imul(x_high, by_high);
        let [left, right] = [left, right].map(|pair| self.b.ins().bitcast(I32X4, little(), pair));
        (self.shuffle(left, right, [1, 3, 5, 7]), self.shuffle(left, right, [0, 2, 4, 6]))
    }
}
