//! Loads and stores: which form an access takes. An access along the vector axis that can fail nowhere is a stream of the
//! sweep; one that is the same for all lanes is a single load; all others ask lane by lane, unless a test of the first
//! and last lane shows that the whole block lies inside its bounds.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32, I32, I64};
use cranelift_codegen::ir::{Block, BlockArg, InstBuilder, Type, Value};
use dlc_plan::kernel::{Access, Affine, Bound, Kind, LANES, Val};

use super::emit::{Emit, Live, Scratch};
use super::lanes::{Lanes, vector};
use super::memory::{kind, plain};
use super::num::Num;

/// Values as arguments of a block.
pub fn block_args(values: &[Value]) -> Vec<BlockArg> {
    values.iter().map(|value| BlockArg::Value(*value)).collect()
}

impl Emit<'_> {
    /// Whether an affine function differs from lane to lane.
    pub fn along(&self, affine: &Affine) -> bool {
        affine.terms.iter().any(|(axis, _)| Some(*axis) == self.lane_axis)
    }

    /// A load, in the form that fits.
    pub fn load(&mut self, val: Val, access: &Access) -> Lanes {
        if let Some(stream) = self.streams.iter().find(|stream| stream.values.contains(&val)) {
            let (elem, now, step) = (stream.elem, stream.now, stream.now_step);
            return self.load_along(elem, now, step);
        }
        let scattered = access.base.is_some_and(|(val, _)| matches!(self.values[val as usize], Lanes::Each(_)));
        if scattered || self.along(&access.at) || access.bounds.iter().any(|bound| self.along(&bound.index)) {
            return self.load_guarded(access, scattered);
        }
        self.load_scalar(access)
    }

    /// The address of element number `at` of a buffer.
    pub fn element(&mut self, buf: u16, at: Num) -> Value {
        let bytes = self.kernel.bufs[usize::from(buf)].elem.bytes() as i64;
        let offset = self.mul(at, Num::Known(bytes));
        let address = self.add(Num::Code(self.bufs[usize::from(buf)]), offset);
        self.materialise(address)
    }

    /// What a base that is the same for all lanes adds to an element's number.
    pub fn base(&mut self, access: &Access) -> Num {
        let Some((val, factor)) = access.base else { return Num::Known(0) };
        let number = self.scalar(self.values[val as usize]);
        let zero = self.b.ins().iconst(I32, 0);
        let number = self.b.ins().smax(number, zero);
        let limit = self.limit(access);
        let number = self.b.ins().smin(number, limit);
        let number = Num::Code(self.b.ins().sextend(I64, number));
        let factor = self.ext(factor);
        self.mul(number, factor)
    }

    /// The largest base with which an access stays in its buffer.
    fn limit(&self, access: &Access) -> Value {
        let number = self.kernel.gathers().position(|gather| gather == access);
        self.limits[number.expect("an access with a base is one of the gathers")]
    }

    /// Whether all of the bounds hold, at the block's first element moved on by `ahead` lanes.
    fn all_inside<'b>(&mut self, bounds: impl Iterator<Item = &'b Bound>, ahead: Num) -> Option<Value> {
        let mut all = None;
        for bound in bounds {
            let inside = self.inside(bound, ahead);
            all = Some(self.and(all, inside));
        }
        all
    }

    fn and(&mut self, all: Option<Value>, next: Value) -> Value {
        all.map_or(next, |all| self.b.ins().band(all, next))
    }

    /// A load that is the same for all lanes.
    fn load_scalar(&mut self, access: &Access) -> Lanes {
        let elem = self.kernel.bufs[usize::from(access.buf)].elem;
        let ty = vector(kind(elem));
        let Some(inside) = self.all_inside(access.bounds.iter(), Num::Known(0)) else {
            let address = self.address(access);
            let scalar = self.load_element(elem, address, 0);
            return Lanes::Same(self.b.ins().splat(ty, scalar));
        };
        let [there, join] = [self.b.create_block(), self.b.create_block()];
        let result = self.b.append_block_param(join, ty);
        let zero = self.zero(kind(elem));
        self.b.ins().brif(inside, there, [], join, &block_args(&[zero]));
        self.enter(there);
        let address = self.address(access);
        let scalar = self.load_element(elem, address, 0);
        let all = self.b.ins().splat(ty, scalar);
        self.b.ins().jump(join, &block_args(&[all]));
        self.enter(join);
        Lanes::Same(result)
    }

    /// The address of the block's first element, where the base is the same for all lanes.
    fn address(&mut self, access: &Access) -> Value {
        let at = self.affine(&access.at, true, |_| true);
        let base = self.base(access);
        let at = self.add(at, base);
        self.element(access.buf, at)
    }

    /// A store of a row phase.
    pub fn store_scalar(&mut self, to: &Access, value: Val) {
        let elem = self.kernel.bufs[usize::from(to.buf)].elem;
        let address = self.address(to);
        let value = self.scalar(self.values[value as usize]);
        self.store_element(elem, value, address, 0);
    }

    /// A load that differs from lane to lane and must ask where it may read.
    fn load_guarded(&mut self, access: &Access, scattered: bool) -> Lanes {
        let elem = self.kernel.bufs[usize::from(access.buf)].elem;
        let join = self.b.create_block();
        let vectors = self.vectors(kind(elem));
        let zero = self.zero(kind(elem));
        let zeros = block_args(&vec![zero; vectors]);
        let result: Vec<Value> = (0..vectors).map(|_| self.b.append_block_param(join, vector(kind(elem)))).collect();
        let (varying, fixed): (Vec<&Bound>, Vec<&Bound>) =
            access.bounds.iter().partition(|bound| self.along(&bound.index));
        if let Some(inside) = self.all_inside(fixed.into_iter(), Num::Known(0)) {
            let there = self.b.create_block();
            self.b.ins().brif(inside, there, [], join, &zeros);
            self.enter(there);
        }
        if scattered {
            let lanes = self.load_one_by_one(access, &varying, true);
            self.b.ins().jump(join, &block_args(&lanes));
        } else {
            self.load_whole_or_parts(access, &varying, join);
        }
        self.enter(join);
        self.of_vectors(kind(elem), &result)
    }

    /// Loads the whole block at once where the first and the last lane are inside all bounds, as then the lanes between
    /// are; each lane by itself where they are not. Both go to `join`.
    fn load_whole_or_parts(&mut self, access: &Access, bounds: &[&Bound], join: Block) {
        let elem = self.kernel.bufs[usize::from(access.buf)].elem;
        let vectors = self.vectors(kind(elem));
        let (mut inside, last) = match self.live {
            Live::Known(n) => (None, n - 1),
            Live::Code { full, .. } => (Some(full), LANES - 1),
        };
        for ahead in [0, last as i64] {
            if let Some(there) = self.all_inside(bounds.iter().copied(), Num::Known(ahead)) {
                inside = Some(self.and(inside, there));
            }
        }
        if let Some(inside) = inside {
            let [whole, parts] = [self.b.create_block(), self.b.create_block()];
            self.b.ins().brif(inside, whole, [], parts, []);
            self.enter(parts);
            let lanes = match self.load_between(access, bounds) {
                Some(lanes) => lanes,
                None => self.load_one_by_one(access, bounds, false),
            };
            self.b.ins().jump(join, &block_args(&lanes));
            self.enter(whole);
        }
        let address = self.address(access);
        let step = self.lane_step(&access.at);
        let step = self.mul(step, Num::Known(elem.bytes() as i64));
        let lanes = self.load_along(elem, address, step);
        let lanes: Vec<Value> = (0..vectors).map(|q| self.quad(lanes, q)).collect();
        self.b.ins().jump(join, &block_args(&lanes));
    }

    /// Loads the lanes that are inside all bounds four by four, the last four overlapping those before; zeros elsewhere.
    /// None where lanes are no neighbours, or the lanes inside may be apart.
    fn load_between(&mut self, access: &Access, bounds: &[&Bound]) -> Option<Vec<Value>> {
        let elem = self.kernel.bufs[usize::from(access.buf)].elem;
        let neighbours = |e: &Self, affine: &Affine| matches!(e.lane_step(affine), Num::Known(1));
        let all = [&access.at].into_iter().chain(bounds.iter().map(|bound| &bound.index));
        if elem.bytes() != 4 || bounds.is_empty() || !all.into_iter().all(|affine| neighbours(self, affine)) {
            return None;
        }
        let memory = self.loaded(kind(elem));
        let zero = self.zero(kind(elem));
        for q in 0..self.vectors(kind(elem)) {
            self.b.ins().store(plain(), zero, memory, (16 * q) as i32);
        }
        let mut low = self.b.ins().iconst(I64, 0);
        let count = self.live_count();
        let mut high = self.materialise(count);
        for bound in bounds {
            let index = self.at_lane(&bound.index, Num::Known(0));
            let index = self.materialise(index);
            let extent = self.ext(bound.extent);
            let extent = self.materialise(extent);
            let below = self.b.ins().ineg(index);
            low = self.b.ins().smax(low, below);
            let left = self.b.ins().isub(extent, index);
            high = self.b.ins().smin(high, left);
        }
        let address = self.address(access);
        let count = self.b.ins().isub(high, low);
        let [many, few, after] = [(); 3].map(|()| self.b.create_block());
        let fits = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, count, 4);
        self.b.ins().brif(fits, many, [], few, []);
        self.enter(many);
        let last = self.b.ins().iadd_imm_s(high, -4);
        self.count_some(Num::Code(count), 4, &mut |e, i| {
            let lane = e.b.ins().iadd(low, i);
            let lane = e.b.ins().smin(lane, last);
            e.copy_lane(vector(kind(elem)), address, memory, lane);
        });
        self.b.ins().jump(after, []);
        self.enter(few);
        self.count(Num::Code(count), &mut |e, i| {
            let lane = e.b.ins().iadd(low, i);
            e.copy_lane(vector(kind(elem)).lane_type(), address, memory, lane);
        });
        self.b.ins().jump(after, []);
        self.enter(after);
        Some(self.gather(kind(elem), memory))
    }

    /// Copies what begins at a lane, of 32 bits each, from neighbours to memory.
    fn copy_lane(&mut self, ty: Type, from: Value, memory: Value, lane: Value) {
        let from = self.word(from, lane);
        let to = self.word(memory, lane);
        let element = self.b.ins().load(ty, plain(), from, 0);
        self.b.ins().store(plain(), element, to, 0);
    }

    /// Loads each lane by itself, where the bounds that differ from lane to lane hold.
    fn load_one_by_one(&mut self, access: &Access, bounds: &[&Bound], scattered: bool) -> Vec<Value> {
        let elem = self.kernel.bufs[usize::from(access.buf)].elem;
        let bases = scattered.then(|| self.spread_base(access));
        let memory = self.loaded(kind(elem));
        let count = self.live_count();
        self.count_some(count, 1, &mut |e, lane| {
            let to = e.cell(kind(elem), memory, lane);
            let join = e.b.create_block();
            let ty = vector(kind(elem)).lane_type();
            let element = e.b.append_block_param(join, ty);
            if let Some(inside) = e.all_inside(bounds.iter().copied(), Num::Code(lane)) {
                let there = e.b.create_block();
                let zero = if ty == F32 { e.b.ins().f32const(0.0) } else { e.b.ins().iconst(ty, 0) };
                e.b.ins().brif(inside, there, [], join, &block_args(&[zero]));
                e.enter(there);
            }
            let address = e.lane_address(access, bases, lane);
            let scalar = e.load_element(elem, address, 0);
            e.b.ins().jump(join, &block_args(&[scalar]));
            e.enter(join);
            e.b.ins().store(plain(), element, to, 0);
        });
        self.gather(kind(elem), memory)
    }

    /// Puts the lanes of a base into memory, each one such that its element lies in the buffer.
    fn spread_base(&mut self, access: &Access) -> Value {
        let (val, _) = access.base.expect("a scattered access has a base");
        let lanes = self.values[val as usize];
        let limit = self.limit(access);
        let limit = self.b.ins().splat(vector(Kind::I32), limit);
        let zero = self.zero(Kind::I32);
        let inside = self.quads(|e, q| {
            let quad = e.quad(lanes, q);
            let quad = e.b.ins().smax(quad, zero);
            e.b.ins().smin(quad, limit)
        });
        self.spread(Scratch::Bases, Kind::I32, Lanes::Each(inside))
    }

    /// The address of a lane's element; `bases` is the memory of a base that differs from lane to lane.
    fn lane_address(&mut self, access: &Access, bases: Option<Value>, lane: Value) -> Value {
        let at = self.at_lane(&access.at, Num::Code(lane));
        let base = match (bases, access.base) {
            (Some(bases), Some((_, factor))) => {
                let from = self.word(bases, lane);
                let number = self.b.ins().sload32(plain(), from, 0);
                let factor = self.ext(factor);
                self.mul(Num::Code(number), factor)
            }
            (None, _) => self.base(access),
            (Some(_), None) => unreachable!("only a base differs from lane to lane"),
        };
        let at = self.add(at, base);
        self.element(access.buf, at)
    }

    /// Stores lane by lane, in order.
    pub fn store_one_by_one(&mut self, to: &Access, value: Val) {
        let elem = self.kernel.bufs[usize::from(to.buf)].elem;
        let scattered = to.base.is_some_and(|(val, _)| matches!(self.values[val as usize], Lanes::Each(_)));
        let bases = scattered.then(|| self.spread_base(to));
        let values = self.spread(Scratch::Values, kind(elem), self.values[value as usize]);
        let count = self.live_count();
        self.count_some(count, 1, &mut |e, lane| {
            let from = e.cell(kind(elem), values, lane);
            let ty = vector(kind(elem)).lane_type();
            let scalar = e.b.ins().load(ty, plain(), from, 0);
            let address = e.lane_address(to, bases, lane);
            e.store_element(elem, scalar, address, 0);
        });
    }
}
