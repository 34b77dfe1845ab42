//! Integers of 64 bits that may be known: extents, strides, offsets and addresses. What is known is computed at compile
//! time, since Cranelift's own folding is off.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::{InstBuilder, Value, types};
use dlc_plan::kernel::{Affine, Axis, Ext};

use super::emit::Emit;

/// An integer: known, or computed.
#[derive(Clone, Copy, Debug)]
pub enum Num {
    /// Known at compile time.
    Known(i64),
    /// Computed by the code.
    Code(Value),
}

impl Emit<'_> {
    pub fn ext(&self, ext: Ext) -> Num {
        match ext {
            Ext::Const(n) => Num::Known(n),
            Ext::Arg(n) => Num::Code(self.exts[n as usize]),
        }
    }

    pub fn materialise(&mut self, num: Num) -> Value {
        match num {
            Num::Known(n) => self.b.ins().iconst(types::I64, n),
            Num::Code(value) => value,
        }
    }

    pub fn add(&mut self, a: Num, b: Num) -> Num {
        match (a, b) {
            (Num::Known(a), Num::Known(b)) => Num::Known(a.wrapping_add(b)),
            (Num::Known(0), other) | (other, Num::Known(0)) => other,
            (Num::Code(a), Num::Known(b)) | (Num::Known(b), Num::Code(a)) => Num::Code(self.b.ins().iadd_imm_s(a, b)),
            (Num::Code(a), Num::Code(b)) => Num::Code(self.b.ins().iadd(a, b)),
        }
    }

    pub fn mul(&mut self, a: Num, b: Num) -> Num {
        match (a, b) {
            (Num::Known(a), Num::Known(b)) => Num::Known(a.wrapping_mul(b)),
            (Num::Known(0), _) | (_, Num::Known(0)) => Num::Known(0),
            (Num::Known(1), other) | (other, Num::Known(1)) => other,
            (Num::Code(a), Num::Known(b)) | (Num::Known(b), Num::Code(a)) if b > 0 && (b as u64).is_power_of_two() => {
                Num::Code(self.b.ins().ishl_imm_s(a, i64::from(b.trailing_zeros())))
            }
            (Num::Code(a), Num::Known(b)) | (Num::Known(b), Num::Code(a)) => Num::Code(self.b.ins().imul_imm_s(a, b)),
            (Num::Code(a), Num::Code(b)) => Num::Code(self.b.ins().imul(a, b)),
        }
    }

    /// The offset, where `offset` says so, and the terms of the axes that `of` picks.
    pub fn affine(&mut self, affine: &Affine, offset: bool, of: impl Fn(Axis) -> bool) -> Num {
        let mut sum = if offset { self.ext(affine.offset) } else { Num::Known(0) };
        for (axis, factor) in affine.terms.iter().filter(|(axis, _)| of(*axis)) {
            let index = Num::Code(self.index(*axis));
            let factor = self.ext(*factor);
            let term = self.mul(index, factor);
            sum = self.add(sum, term);
        }
        sum
    }

    /// The factor of the vector axis; known to be zero where it has no term.
    pub fn lane_step(&self, affine: &Affine) -> Num {
        let term = affine.terms.iter().find(|(axis, _)| Some(*axis) == self.lane_axis);
        term.map_or(Num::Known(0), |(_, factor)| self.ext(*factor))
    }

    /// Runs `body` for 0 .. `extent`, with the index.
    pub fn count(&mut self, extent: Num, body: &mut dyn FnMut(&mut Self, Value)) {
        match extent {
            Num::Known(n) if n <= 0 => {}
            Num::Known(1) => {
                let zero = self.b.ins().iconst(types::I64, 0);
                body(self, zero);
            }
            Num::Known(_) => self.count_some(extent, 1, body),
            Num::Code(n) => self.when_positive(n, &mut |e| e.count_some(extent, 1, body)),
        }
    }

    /// Runs `body` if `n` is above zero.
    pub fn when_positive(&mut self, n: Value, body: &mut dyn FnMut(&mut Self)) {
        let [some, after] = [self.b.create_block(), self.b.create_block()];
        let positive = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, n, 0);
        self.b.ins().brif(positive, some, [], after, []);
        self.enter(some);
        body(self);
        self.b.ins().jump(after, []);
        self.enter(after);
    }

    /// Runs `body` for 0, `step`, .. below `extent`, which is above zero.
    pub fn count_some(&mut self, extent: Num, step: i64, body: &mut dyn FnMut(&mut Self, Value)) {
        let i = self.b.declare_var(types::I64);
        let zero = self.b.ins().iconst(types::I64, 0);
        self.b.def_var(i, zero);
        let [head, after] = [self.b.create_block(), self.b.create_block()];
        self.b.ins().jump(head, []);
        self.b.switch_to_block(head);
        let now = self.b.use_var(i);
        body(self, now);
        let next = self.b.ins().iadd_imm_s(now, step);
        self.b.def_var(i, next);
        let more = match extent {
            Num::Known(n) => self.b.ins().icmp_imm_s(IntCC::SignedLessThan, next, n),
            Num::Code(n) => self.b.ins().icmp(IntCC::SignedLessThan, next, n),
        };
        self.b.ins().brif(more, head, [], after, []);
        self.b.seal_block(head);
        self.enter(after);
    }
}
