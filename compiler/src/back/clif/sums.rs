//! Folds' results, and sums that go in runs: the totals of a sweep's sums over columns, and those of sums over rows.
//!
//! Totals of columns lie on the stack, as the loop touches them once a run and needs its registers for other things.

use cranelift_codegen::ir::condcodes::{FloatCC, IntCC};
use cranelift_codegen::ir::types::{F32, F32X4, I64};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, StackSlot, Type, Value};
use cranelift_frontend::Variable;
use dlc_plan::kernel::{Ext, Fold, FoldOp, Instr, Kind, LANES, Over};

use super::access::block_args;
use super::emit::Emit;
use super::lanes::{Lanes, QUADS, WIDTH};
use super::num::Num;

/// Of memory that is there and may lie anywhere.
const UNALIGNED: MemFlagsData = MemFlagsData::new().with_notrap();

/// Bytes of a vector.
const VECTOR: i32 = 4 * WIDTH as i32;

/// The totals of a sweep's sums over columns.
pub struct Totals {
    /// How many blocks the current run has.
    blocks: Variable,
    /// For each fold, if it is such a sum, its high and its low parts.
    slots: Vec<Option<[StackSlot; 2]>>,
}

/// A fold over columns and its partial results.
pub type Partials<'k> = (&'k Fold, Vec<Variable>);

impl Emit<'_> {
    /// The number of a sweep's blocks, if it is known.
    fn known_blocks(&self) -> Option<i64> {
        let (inner, outer) = self.kernel.cols.split_last()?;
        let known = |ext: &Ext| match self.ext(*ext) {
            Num::Known(n) => Some(n.max(0)),
            Num::Code(_) => None,
        };
        let lines = outer.iter().map(known).try_fold(1i64, |product, n| product.checked_mul(n?))?;
        lines.checked_mul((known(inner)? as u64).div_ceil(LANES as u64) as i64)
    }

    /// The number of a sweep's blocks.
    fn blocks(&mut self) -> Value {
        let mut blocks = Num::Known(1);
        for (i, ext) in self.kernel.cols.iter().enumerate() {
            let mut extent = self.ext(*ext);
            if i + 1 == self.kernel.cols.len() {
                let up = self.add(extent, Num::Known(LANES as i64 - 1));
                let up = self.materialise(up);
                extent = Num::Code(self.b.ins().sshr_imm_s(up, i64::from(LANES.trailing_zeros())));
            }
            blocks = self.mul(blocks, extent);
        }
        self.materialise(blocks)
    }

    /// Makes the totals of a sweep's sums, all zero, unless one run is enough.
    pub fn totals(&mut self, partials: &[Partials]) -> Option<Totals> {
        let long = |fold: &Fold| fold.op.is_long(fold.kind);
        let short = self.known_blocks().is_some_and(|n| n as u64 <= self.kernel.run);
        if short || !partials.iter().any(|(fold, _)| long(fold)) {
            return None;
        }
        let zero = self.vconst(F32X4, [0; WIDTH]);
        let mut slots = vec![];
        for (fold, _) in partials {
            slots.push(long(fold).then(|| [self.slot(4), self.slot(4)]));
            for slot in slots.last().into_iter().flatten().flatten() {
                for q in 0..QUADS as i32 {
                    self.b.ins().stack_store(I64, zero, *slot, q * VECTOR);
                }
            }
        }
        let blocks = self.b.declare_var(I64);
        let none = self.b.ins().iconst(I64, 0);
        self.b.def_var(blocks, none);
        Some(Totals { blocks, slots })
    }

    /// Before a block is added to the partial results: ends the run, if it has all its blocks.
    pub fn begin_block(&mut self, totals: &Option<Totals>, partials: &[Partials]) {
        let Some(totals) = totals else { return };
        let [full, go_on] = [self.b.create_block(), self.b.create_block()];
        self.b.set_cold_block(full);
        let count = self.b.append_block_param(go_on, I64);
        let blocks = self.b.use_var(totals.blocks);
        let is_full = self.b.ins().icmp_imm_s(IntCC::Equal, blocks, self.kernel.run as i64);
        self.b.ins().brif(is_full, full, [], go_on, &block_args(&[blocks]));
        self.enter(full);
        self.end_column_runs(totals, partials);
        let none = self.b.ins().iconst(I64, 0);
        self.b.ins().jump(go_on, &block_args(&[none]));
        self.enter(go_on);
        let next = self.b.ins().iadd_imm_s(count, 1);
        self.b.def_var(totals.blocks, next);
    }

    /// Adds the partial results of sums to their totals.
    fn end_column_runs(&mut self, totals: &Totals, partials: &[Partials]) {
        let zero = self.vconst(F32X4, [0; WIDTH]);
        for ((_, partials), slots) in partials.iter().zip(&totals.slots) {
            let Some(slots) = slots else { continue };
            for (q, partial) in partials.iter().enumerate() {
                let total = slots.map(|slot| self.b.ins().stack_load(I64, F32X4, slot, q as i32 * VECTOR));
                let sum = self.b.use_var(*partial);
                let total = self.add_to_total(total, sum);
                for (slot, part) in slots.iter().zip(total) {
                    self.b.ins().stack_store(I64, part, *slot, q as i32 * VECTOR);
                }
                self.b.def_var(*partial, zero);
            }
        }
    }

    /// The total that another number makes of one.
    fn add_to_total(&mut self, [high, low]: [Value; 2], x: Value) -> [Value; 2] {
        let t = self.b.ins().fadd(high, x);
        let added = self.b.ins().fsub(t, high);
        let lost = self.b.ins().fsub(x, added);
        [t, self.b.ins().fadd(low, lost)]
    }

    /// The results of a sweep's folds over columns.
    pub fn column_results(&mut self, totals: &Option<Totals>, partials: &[Partials]) -> Vec<Lanes> {
        let Some(totals) = totals else { return self.halved(partials) };
        if self.known_blocks().is_some() {
            return self.halved_totals(totals, partials);
        }
        let blocks = self.blocks();
        let is_long = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThan, blocks, self.kernel.run as i64);
        let [long, short, join] = [(); 3].map(|()| self.b.create_block());
        self.b.ins().brif(is_long, long, [], short, []);
        let mut types: Vec<Type> = vec![];
        for block in [long, short] {
            self.enter(block);
            let results = if block == long { self.halved_totals(totals, partials) } else { self.halved(partials) };
            let values: Vec<Value> = results.iter().map(|lanes| self.quad(*lanes, 0)).collect();
            types = values.iter().map(|value| self.b.func.dfg.value_type(*value)).collect();
            self.b.ins().jump(join, &block_args(&values));
        }
        let results = types.iter().map(|ty| Lanes::Same(self.b.append_block_param(join, *ty))).collect();
        self.enter(join);
        results
    }

    /// What the partial results give.
    fn halved(&mut self, partials: &[Partials]) -> Vec<Lanes> {
        partials.iter().map(|(fold, partials)| self.halve(fold, partials)).collect()
    }

    /// What the totals give after the last run, and the partial results of what has no totals.
    fn halved_totals(&mut self, totals: &Totals, partials: &[Partials]) -> Vec<Lanes> {
        self.end_column_runs(totals, partials);
        let mut results = vec![];
        for ((fold, partials), slots) in partials.iter().zip(&totals.slots) {
            results.push(match slots {
                Some(slots) => self.halve_total(slots),
                None => self.halve(fold, partials),
            });
        }
        results
    }

    /// Joins a fold's sixteen partial results: i with i + 8, then 4, 2, 1.
    fn halve(&mut self, fold: &Fold, partials: &[Variable]) -> Lanes {
        let op = fold.op.instr(fold.kind);
        if fold.kind == Kind::I64 {
            return self.halve_longs(op, partials);
        }
        let p = std::array::from_fn(|q| [self.b.use_var(partials[q])]);
        self.halve_by(p, |e, [a], [b]| [e.vector_operation(op, &[a, b])], |_, [sum]| sum)
    }

    /// The same of integers of 64 bits.
    fn halve_longs(&mut self, op: Instr, partials: &[Variable]) -> Lanes {
        let mut p: Vec<Value> = partials.iter().map(|variable| self.b.use_var(*variable)).collect();
        while p.len() > 1 {
            let upper = p.split_off(p.len() / 2);
            for (low, high) in p.iter_mut().zip(upper) {
                *low = self.vector_operation(op, &[*low, high]);
            }
        }
        let upper = self.shuffle(p[0], p[0], [2, 3, 2, 3]);
        let one = self.vector_operation(op, &[p[0], upper]);
        Lanes::Same(self.shuffle(one, one, [0, 1, 0, 1]))
    }

    /// Joins sixteen totals.
    fn halve_total(&mut self, slots: &[StackSlot; 2]) -> Lanes {
        let p = std::array::from_fn(|q| slots.map(|slot| self.b.ins().stack_load(I64, F32X4, slot, q as i32 * VECTOR)));
        let join = |e: &mut Self, [high, low]: [Value; 2], [other, other_low]: [Value; 2]| {
            let low = e.b.ins().fadd(low, other_low);
            e.add_to_total([high, low], other)
        };
        self.halve_by(p, join, Self::total_value)
    }

    /// A total as one number: both parts' sum, or the high one where the low one is not finite.
    fn total_value(&mut self, [high, low]: [Value; 2]) -> Value {
        let sum = self.b.ins().fadd(high, low);
        let nothing = self.b.ins().fsub(low, low);
        let finite = self.b.ins().fcmp(FloatCC::Equal, nothing, nothing);
        self.vector_operation(Instr::FSelect, &[finite, sum, high])
    }

    /// Joins sixteen values of N parts each to one, which `finish` makes a number.
    fn halve_by<const N: usize>(
        &mut self,
        p: [[Value; N]; QUADS],
        join: impl Fn(&mut Self, [Value; N], [Value; N]) -> [Value; N],
        finish: impl Fn(&mut Self, [Value; N]) -> Value,
    ) -> Lanes {
        let low = join(self, p[0], p[2]);
        let high = join(self, p[1], p[3]);
        let four = join(self, low, high);
        let upper = four.map(|x| self.shuffle(x, x, [2, 3, 2, 3]));
        let two = join(self, four, upper);
        let upper = two.map(|x| self.shuffle(x, x, [1, 1, 1, 1]));
        let one = join(self, two, upper);
        let one = finish(self, one);
        Lanes::Same(self.shuffle(one, one, [0, 0, 0, 0]))
    }

    /// Adds a row's value to a sum over all.
    pub fn add_to_all(&mut self, slot: u16, element: Value) {
        let address = self.folds[usize::from(slot)];
        let total = [4, 8].map(|at| {
            let part = self.b.ins().load(F32, MemFlagsData::trusted(), address, at);
            self.b.ins().splat(F32X4, part)
        });
        for (at, part) in [4, 8].into_iter().zip(self.add_to_total(total, element)) {
            let part = self.b.ins().extractlane(part, 0);
            self.b.ins().store(MemFlagsData::trusted(), part, address, at);
        }
    }

    /// After a row, where `next` is the next one and `last` the one after the last: ends the runs of sums over rows.
    pub fn end_row_runs(&mut self, next: Value, last: Value) {
        let folds = self.kernel.phases.iter().flat_map(|phase| &phase.folds);
        let slots: Vec<u16> = folds
            .filter(|fold| fold.op == FoldOp::Sum && fold.op.is_long(fold.kind))
            .filter_map(|fold| match fold.over {
                Over::Rows(slot) => Some(slot),
                Over::Cols(_) | Over::All(_) => None,
            })
            .collect();
        if slots.is_empty() {
            return;
        }
        let [ends, after] = [self.b.create_block(), self.b.create_block()];
        let within = self.b.ins().band_imm_s(next, self.kernel.run as i64 - 1);
        let full = self.b.ins().icmp_imm_s(IntCC::Equal, within, 0);
        let over = self.b.ins().icmp(IntCC::Equal, next, last);
        let either = self.b.ins().bor(full, over);
        self.b.ins().brif(either, ends, [], after, []);
        self.enter(ends);
        let mut columns = Num::Known(1);
        for ext in self.kernel.cols.clone() {
            let extent = self.ext(ext);
            columns = self.mul(columns, extent);
        }
        for slot in slots {
            self.end_row_run(self.folds[usize::from(slot)], columns);
        }
        self.b.ins().jump(after, []);
        self.enter(after);
    }

    /// Adds the sums of some columns, which begin at an address, to their totals: vector by vector, then one by one.
    fn end_row_run(&mut self, sums: Value, columns: Num) {
        let part = self.mul(columns, Num::Known(4));
        let columns = self.materialise(columns);
        let whole = self.b.ins().band_imm_s(columns, -(WIDTH as i64));
        self.when_positive(whole, &mut |e| {
            e.count_some(Num::Code(whole), WIDTH as i64, &mut |e, column| e.end_runs_at(F32X4, sums, part, column));
        });
        let rest = self.b.ins().isub(columns, whole);
        self.count(Num::Code(rest), &mut |e, i| {
            let column = e.b.ins().iadd(whole, i);
            e.end_runs_at(F32, sums, part, column);
        });
    }

    /// The same for one vector or number; parts are so many bytes apart.
    fn end_runs_at(&mut self, ty: Type, sums: Value, part: Num, column: Value) {
        let offset = self.b.ins().ishl_imm_s(column, 2);
        let sums = self.b.ins().iadd(sums, offset);
        let high = self.add(Num::Code(sums), part);
        let low = self.add(high, part);
        let places = [high, low].map(|place| self.materialise(place));
        let [sum, high, low] = [sums, places[0], places[1]].map(|at| self.b.ins().load(ty, UNALIGNED, at, 0));
        let total = self.add_to_total([high, low], sum);
        for (at, value) in places.into_iter().zip(total) {
            self.b.ins().store(UNALIGNED, value, at, 0);
        }
        let zero = if ty == F32 { self.b.ins().f32const(0.0) } else { self.vconst(F32X4, [0; WIDTH]) };
        self.b.ins().store(UNALIGNED, zero, sums, 0);
    }
}
