//! Operations on integers of 64 bits, and remainders: four lanes are two vectors of two.
//!
//! What the processor does for single numbers only (quotients, conversions from and to singles) is done lane by lane; a
//! conversion to singles of numbers that fit in 32 bits is done for four at once.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, F32X4, I32, I32X4, I64, I64X2};
use cranelift_codegen::ir::{InstBuilder, Type, Value};
use dlc_plan::kernel::Instr;

use super::access::block_args;
use super::emit::Emit;
use super::lanes::{HALVES, Lanes, QUADS, WIDTH, little};

/// Four lanes of a value.
#[derive(Clone, Copy)]
enum Quad {
    /// Of 32 bits.
    One(Value),
    /// Of 64 bits.
    Two([Value; 2]),
}

impl Quad {
    fn one(self) -> Value {
        match self {
            Quad::One(value) => value,
            Quad::Two(_) => panic!("four numbers of 32 bits are one vector"),
        }
    }

    fn two(self) -> [Value; 2] {
        match self {
            Quad::Two(values) => values,
            Quad::One(_) => panic!("four numbers of 64 bits are two vectors"),
        }
    }
}

impl Emit<'_> {
    /// An operation that is not one vector operation on four lanes of 32 bits.
    pub fn wide(&mut self, op: Instr, operands: &[Lanes]) -> Lanes {
        let each = operands.iter().any(|lanes| matches!(lanes, Lanes::Each(_) | Lanes::Pairs(_)));
        let count = if each { self.live.quads() } else { 1 };
        let mut found = Vec::with_capacity(count);
        for q in 0..count {
            let x: Vec<Quad> = operands.iter().map(|lanes| self.four(*lanes, q)).collect();
            found.push(self.wide_quad(op, &x));
        }
        match found[0] {
            Quad::One(value) | Quad::Two([value, _]) if !each => Lanes::Same(value),
            Quad::One(first) => {
                let mut all = [first; QUADS];
                all.iter_mut().zip(&found).for_each(|(to, quad)| *to = quad.one());
                Lanes::Each(all)
            }
            Quad::Two([first, _]) => {
                let mut all = [first; HALVES];
                all.chunks_mut(2).zip(&found).for_each(|(to, quad)| to.copy_from_slice(&quad.two()));
                Lanes::Pairs(all)
            }
        }
    }

    fn four(&mut self, lanes: Lanes, q: usize) -> Quad {
        match lanes {
            Lanes::Pairs(halves) => Quad::Two([halves[2 * q], halves[2 * q + 1]]),
            Lanes::Same(value) if self.b.func.dfg.value_type(value) == I64X2 => Quad::Two([value; 2]),
            narrow => Quad::One(self.quad(narrow, q)),
        }
    }

    fn wide_quad(&mut self, op: Instr, x: &[Quad]) -> Quad {
        match op {
            Instr::IToL => {
                let all = x[0].one();
                Quad::Two([self.b.ins().swiden_low(all), self.b.ins().swiden_high(all)])
            }
            Instr::IPair => {
                let (low, high) = (x[0].one(), x[1].one());
                Quad::Two([[0, 4, 1, 5], [2, 6, 3, 7]].map(|from| self.shuffled(low, high, from)))
            }
            Instr::LToI => Quad::One(self.low_words(x[0].two())),
            Instr::LToF => Quad::One(self.singles_of(x[0].two())),
            Instr::FToL => {
                let all = x[0].one();
                let lanes: Vec<Value> = (0..WIDTH as u8)
                    .map(|lane| {
                        let one = self.b.ins().extractlane(all, lane);
                        self.b.ins().fcvt_to_sint_sat(I64, one)
                    })
                    .collect();
                Quad::Two([self.vector_of(I64X2, &lanes[..2]), self.vector_of(I64X2, &lanes[2..])])
            }
            Instr::IRem => {
                let rests = self.remainders(I32, x[0].one(), x[1].one(), WIDTH as u8);
                Quad::One(self.vector_of(I32X4, &rests))
            }
            Instr::LRem => {
                let (a, b) = (x[0].two(), x[1].two());
                Quad::Two([0, 1].map(|h| {
                    let rests = self.remainders(I64, a[h], b[h], 2);
                    self.vector_of(I64X2, &rests)
                }))
            }
            Instr::LSelect => {
                let mask = self.widened_mask(x[0].one());
                let (a, b) = (x[1].two(), x[2].two());
                Quad::Two([0, 1].map(|h| self.b.ins().bitselect(mask[h], a[h], b[h])))
            }
            Instr::LLt | Instr::LLe | Instr::LEq | Instr::LNe => {
                let by = match op {
                    Instr::LLt => IntCC::SignedLessThan,
                    Instr::LLe => IntCC::SignedLessThanOrEqual,
                    Instr::LEq => IntCC::Equal,
                    _ => IntCC::NotEqual,
                };
                let (a, b) = (x[0].two(), x[1].two());
                let found = [0, 1].map(|h| self.b.ins().icmp(by, a[h], b[h]));
                Quad::One(self.low_words(found))
            }
            _ => {
                let parts: Vec<[Value; 2]> = x.iter().map(|quad| quad.two()).collect();
                Quad::Two([0, 1].map(|h| {
                    let x: Vec<Value> = parts.iter().map(|pair| pair[h]).collect();
                    self.vector_operation(op, &x)
                }))
            }
        }
    }

    /// The greater of two vectors of 64-bit integers, or the smaller.
    pub fn long_extreme(&mut self, greater: bool, a: Value, b: Value) -> Value {
        let less = self.b.ins().icmp(IntCC::SignedLessThan, a, b);
        if greater { self.b.ins().bitselect(less, b, a) } else { self.b.ins().bitselect(less, a, b) }
    }

    /// A mask of four lanes as one of two and two.
    pub fn widened_mask(&mut self, mask: Value) -> [Value; 2] {
        [[0, 0, 1, 1], [2, 2, 3, 3]].map(|from| self.shuffled(mask, mask, from))
    }

    /// Words of two vectors, as a vector of 64-bit integers.
    fn shuffled(&mut self, a: Value, b: Value, from: [u8; WIDTH]) -> Value {
        let words = self.shuffle(a, b, from);
        self.b.ins().bitcast(I64X2, little(), words)
    }

    /// The low 32 bits of two and two lanes.
    fn low_words(&mut self, pair: [Value; 2]) -> Value {
        let [a, b] = pair.map(|half| self.b.ins().bitcast(I32X4, little(), half));
        self.shuffle(a, b, [0, 2, 4, 6])
    }

    fn vector_of(&mut self, ty: Type, lanes: &[Value]) -> Value {
        let mut all = self.b.ins().scalar_to_vector(ty, lanes[0]);
        for (lane, value) in lanes.iter().enumerate().skip(1) {
            all = self.b.ins().insertlane(all, *value, lane as u8);
        }
        all
    }

    /// The nearest singles.
    fn singles_of(&mut self, pair: [Value; 2]) -> Value {
        let low = self.low_words(pair);
        let again = [self.b.ins().swiden_low(low), self.b.ins().swiden_high(low)];
        let differ = [0, 1].map(|h| self.b.ins().bxor(again[h], pair[h]));
        let differ = self.b.ins().bor(differ[0], differ[1]);
        let any = self.b.ins().vany_true(differ);
        let [one_by_one, at_once, join] = [(); 3].map(|()| self.b.create_block());
        let result = self.b.append_block_param(join, F32X4);
        self.b.set_cold_block(one_by_one);
        self.b.ins().brif(any, one_by_one, [], at_once, []);
        self.enter(one_by_one);
        let mut singles = vec![];
        for half in pair {
            for lane in 0..2 {
                let one = self.b.ins().extractlane(half, lane);
                singles.push(self.b.ins().fcvt_from_sint(F32, one));
            }
        }
        let slow = self.vector_of(F32X4, &singles);
        self.b.ins().jump(join, &block_args(&[slow]));
        self.enter(at_once);
        let fast = self.b.ins().fcvt_from_sint(F32X4, low);
        self.b.ins().jump(join, &block_args(&[fast]));
        self.enter(join);
        result
    }

    /// The remainders of lanes, with the sign of the divisor; 0 where that is.
    fn remainders(&mut self, ty: Type, a: Value, b: Value, lanes: u8) -> Vec<Value> {
        let mut found = vec![];
        for lane in 0..lanes {
            let [a, b] = [a, b].map(|v| self.b.ins().extractlane(v, lane));
            // By 0 and by -1 the remainder is 0, as by 1, where the processor would trap.
            let above = self.b.ins().iadd_imm_s(b, 1);
            let idle = self.b.ins().icmp_imm_u(IntCC::UnsignedLessThanOrEqual, above, 1);
            let one = self.b.ins().iconst(ty, 1);
            let by = self.b.ins().select(idle, one, b);
            let rest = self.b.ins().srem(a, by);
            let moved = self.b.ins().iadd(rest, by);
            let apart = self.b.ins().bxor(rest, by);
            let apart = self.b.ins().icmp_imm_s(IntCC::SignedLessThan, apart, 0);
            let some = self.b.ins().icmp_imm_s(IntCC::NotEqual, rest, 0);
            let moves = self.b.ins().band(apart, some);
            found.push(self.b.ins().select(moves, moved, rest));
        }
        found
    }
}
