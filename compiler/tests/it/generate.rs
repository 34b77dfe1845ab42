//! Random kernels with memory that fits them: takes a seed, gives a kernel that uses any mix of instructions, forms of
//! access, bounds, gathers, folds, axes and random bits, and arguments under which it touches only its own memory.

use dlc_compiler::back::reference::{self, Buf, Memory};
use dlc_plan::Kernel;
use dlc_plan::kernel::{
    Access, Affine, Axis, Bits, Bound, BufTy, Def, Elem, Ext, Fold, FoldOp, Instr, Kind, Op, Over, Phase, RUN, Store,
    Val,
};

/// Every machine operation.
pub const INSTRS: [Instr; 61] = [
    Instr::FAdd,
    Instr::FSub,
    Instr::FMul,
    Instr::FDiv,
    Instr::FMulAdd,
    Instr::FMax,
    Instr::FMin,
    Instr::FSqrt,
    Instr::FNeg,
    Instr::FAbs,
    Instr::FFloor,
    Instr::FRound,
    Instr::FLt,
    Instr::FLe,
    Instr::FEq,
    Instr::FNe,
    Instr::FToI,
    Instr::FTurn(0),
    Instr::FTurn(1),
    Instr::FBits,
    Instr::IAdd,
    Instr::ISub,
    Instr::IMul,
    Instr::INeg,
    Instr::IMax,
    Instr::IMin,
    Instr::IAnd,
    Instr::IOr,
    Instr::IXor,
    Instr::IShl(5),
    Instr::IShr(9),
    Instr::ISar(3),
    Instr::ILt,
    Instr::ILe,
    Instr::IEq,
    Instr::INe,
    Instr::IToF,
    Instr::IBits,
    Instr::MAnd,
    Instr::MOr,
    Instr::MNot,
    Instr::FSelect,
    Instr::ISelect,
    Instr::IRem,
    Instr::IPair,
    Instr::IToL,
    Instr::LAdd,
    Instr::LSub,
    Instr::LMul,
    Instr::LNeg,
    Instr::LMax,
    Instr::LMin,
    Instr::LRem,
    Instr::LLt,
    Instr::LLe,
    Instr::LEq,
    Instr::LNe,
    Instr::LToF,
    Instr::LToI,
    Instr::FToL,
    Instr::LSelect,
];

/// Numbers at which operations change their behaviour, by their bits.
pub const FLOATS: [u32; 24] = [
    0x0000_0000, // 0
    0x8000_0000, // -0
    0x3F80_0000, // 1
    0xBF80_0000, // -1
    0x3F00_0000, // 0.5
    0xBF00_0000, // -0.5
    0x3FC0_0000, // 1.5
    0x4020_0000, // 2.5
    0xC060_0000, // -3.5
    0x3EFF_FFFF, // just below 0.5
    0x4B00_0001, // 2^23 + 1
    0x4EFF_FFFF, // just below 2^31
    0x4F00_0000, // 2^31
    0xCF00_0000, // -2^31
    0xCF00_0001, // just below -2^31
    0x7F7F_FFFF, // the greatest
    0xFF7F_FFFF, // the least
    0x0000_0001, // the smallest subnormal
    0x807F_FFFF, // the greatest negative subnormal
    0x0080_0000, // the smallest normal
    0x7F80_0000, // inf
    0xFF80_0000, // -inf
    0x7FC0_0000, // NaN
    0xFFC0_1234, // another NaN
];

/// Integers at which operations change their behaviour.
pub const LONGS: [u64; 12] =
    [0, 1, !0, 7, 1 << 31, !0 << 31, (1 << 53) + 1, 1 << 62, i64::MAX as u64, 1 << 63, (1 << 63) + 1, 0xFFFF_FFFF];

pub const INTS: [u32; 12] = [0, 1, 2, 3, !0, !1, 7, 255, 0x7FFF_FFFF, 0x8000_0000, 0x8000_0001, 0x1234_5678];

/// A small generator (splitmix64).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number in `0..n`.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// The bits of a number: often a plain one, sometimes a special one.
    pub fn float(&mut self) -> u32 {
        match self.below(8) {
            0 => self.pick(&FLOATS),
            1 => self.next() as u32,
            _ => ((self.next() as i32 as f32) / 1e9).to_bits(),
        }
    }

    pub fn int(&mut self) -> u32 {
        match self.below(4) {
            0 => self.pick(&INTS),
            1 => self.next() as u32,
            _ => self.below(100) as u32,
        }
    }

    pub fn long(&mut self) -> u64 {
        match self.below(4) {
            0 => self.pick(&LONGS),
            1 => u64::from(self.int()) << 32 | u64::from(self.int()),
            _ => self.below(100) as u64,
        }
    }

    pub fn data(&mut self, elem: Elem, len: usize) -> Buf {
        match elem {
            Elem::F32 => Buf::Words((0..len).map(|_| self.float()).collect()),
            Elem::I32 => Buf::Words((0..len).map(|_| self.int()).collect()),
            Elem::I64 => Buf::Longs((0..len).map(|_| self.long()).collect()),
            Elem::U8 => Buf::Bytes((0..len).map(|_| self.next() as u8).collect()),
        }
    }
}

/// A kernel and what to call it with.
#[derive(Clone, Debug)]
pub struct Case {
    pub kernel: Kernel,
    pub memory: Memory,
    pub rows: u64,
}

/// A random kernel.
pub fn case(seed: u64) -> Case {
    let mut random = Random::new(seed);
    let mut maker = Maker::new(&mut random);
    maker.setup();
    let phases = 1 + maker.random.below(3);
    for _ in 0..phases {
        let sweep = !maker.cols.is_empty() && !maker.random.one_in(4);
        maker.phase(sweep);
    }
    maker.finish()
}

struct Maker<'r> {
    random: &'r mut Random,
    kernel: Kernel,
    exts: Vec<i64>,
    /// The extents.
    rows: Vec<i64>,
    cols: Vec<i64>,
    /// Elements that each buffer needs.
    lens: Vec<i64>,
    /// The values in scope.
    scope: Vec<(Val, Kind)>,
    next: Val,
    defs: Vec<Def>,
    sweep: bool,
    /// Whether defs may use axes: not in the set-up.
    axes: bool,
}

impl<'r> Maker<'r> {
    fn new(random: &'r mut Random) -> Maker<'r> {
        let lines = [0, 1, 2, 3, 5, 10, 15, 16, 17, 31, 32, 33, 48, 64, 257];
        let rows: Vec<i64> = (0..random.below(4)).map(|_| random.pick(&[1, 2, 3, 5])).collect();
        let mut cols: Vec<i64> = (0..random.below(3)).map(|_| random.pick(&[1, 2, 3, 0])).collect();
        cols.truncate(if random.one_in(3) { 2 } else { 0 });
        if !random.one_in(12) {
            cols.push(random.pick(&lines));
        } else {
            cols.clear();
        }
        let bufs = (0..2 + random.below(4)).map(|_| {
            let elem = random.pick(&[Elem::F32, Elem::F32, Elem::I64, Elem::I32, Elem::U8, Elem::U8]);
            BufTy { elem, written: random.one_in(2) }
        });
        let bufs: Vec<BufTy> = bufs.collect();
        let uniforms = (0..random.below(4)).map(|_| random.pick(&[Kind::F32, Kind::I32])).collect();
        let lens = vec![0; bufs.len()];
        let run = random.pick(&[1, 2, RUN]);
        let kernel = Kernel {
            rows: vec![],
            cols: vec![],
            bufs,
            uniforms,
            exts: 0,
            folds: 0,
            run,
            setup: vec![],
            phases: vec![],
        };
        let mut maker = Maker {
            random,
            kernel,
            exts: vec![],
            rows,
            cols,
            lens,
            scope: vec![],
            next: 0,
            defs: vec![],
            sweep: false,
            axes: false,
        };
        maker.kernel.rows = maker.rows.clone().into_iter().map(|n| maker.ext(n)).collect();
        maker.kernel.cols = maker.cols.clone().into_iter().map(|n| maker.ext(n)).collect();
        maker
    }

    /// A number, as a constant or as an argument.
    fn ext(&mut self, n: i64) -> Ext {
        if self.random.one_in(2) {
            return Ext::Const(n);
        }
        if let Some(known) = self.exts.iter().position(|ext| *ext == n) {
            return Ext::Arg(known as u16);
        }
        self.exts.push(n);
        self.kernel.exts += 1;
        Ext::Arg(self.exts.len() as u16 - 1)
    }

    fn define(&mut self, kind: Kind, op: Op) -> Val {
        let val = self.next;
        self.next += 1;
        self.defs.push(Def { val, kind, op });
        self.scope.push((val, kind));
        val
    }

    /// A value of a kind; a constant where there is none.
    fn value(&mut self, kind: Kind) -> Val {
        let there: Vec<Val> = self.scope.iter().filter(|(_, k)| *k == kind).map(|(val, _)| *val).collect();
        if !there.is_empty() && !self.random.one_in(8) {
            // The latest are the likeliest, so that the values hang together.
            let from = if self.random.one_in(2) { there.len().saturating_sub(4) } else { 0 };
            return there[from + self.random.below(there.len() - from)];
        }
        match kind {
            Kind::F32 => {
                let bits = self.random.float();
                self.define(kind, Op::Float(bits))
            }
            Kind::I32 => {
                let n = self.random.int() as i32;
                self.define(kind, Op::Int(n))
            }
            Kind::I64 => {
                let args = vec![self.value(Kind::I32), self.value(Kind::I32)];
                self.define(kind, Op::Instr(Instr::IPair, args))
            }
            Kind::Mask => {
                let args = vec![self.value(Kind::I32), self.value(Kind::I32)];
                self.define(kind, Op::Instr(Instr::ILt, args))
            }
        }
    }

    fn setup(&mut self) {
        for n in 0..self.kernel.uniforms.len() {
            let kind = self.kernel.uniforms[n];
            self.define(kind, Op::Uniform(n as u16));
        }
        for _ in 0..self.random.below(5) {
            self.any();
        }
        self.kernel.setup = std::mem::take(&mut self.defs);
        self.axes = true;
    }

    fn phase(&mut self, sweep: bool) {
        self.sweep = sweep;
        let outside = self.scope.clone();
        for _ in 0..2 + self.random.below(12) {
            self.any();
        }
        let mut stores: Vec<Store> = vec![];
        for _ in 0..self.random.below(3) {
            if let Some(store) = self.store(&stores) {
                stores.push(store);
            }
        }
        let (folds, results) = self.folds();
        if sweep {
            self.scope = outside;
        }
        self.scope.extend(results);
        let defs = std::mem::take(&mut self.defs);
        self.kernel.phases.push(Phase { sweep, defs, stores, folds, elsewhere: 0 });
    }

    fn folds(&mut self) -> (Vec<Fold>, Vec<(Val, Kind)>) {
        let (mut folds, mut results) = (vec![], vec![]);
        for _ in 0..self.random.below(3) {
            let kind = self.random.pick(&[Kind::F32, Kind::F32, Kind::I32, Kind::I64]);
            let op = self.random.pick(&[FoldOp::Sum, FoldOp::Prod, FoldOp::Max, FoldOp::Min]);
            let value = self.value(kind);
            let over = if self.sweep && self.random.one_in(2) {
                results.push((self.next, kind));
                self.next += 1;
                Over::Cols(self.next - 1)
            } else {
                self.kernel.folds += 1;
                let slot = self.kernel.folds - 1;
                if self.sweep { Over::Rows(slot) } else { Over::All(slot) }
            };
            folds.push(Fold { op, value, kind, over });
        }
        (folds, results)
    }

    /// The axes that are in scope, with their extents.
    fn axes(&self) -> Vec<(Axis, i64)> {
        let rows = self.rows.iter().enumerate().map(|(i, n)| (Axis::Row(i as u8), *n));
        let cols = self.cols.iter().enumerate().map(|(i, n)| (Axis::Col(i as u8), *n));
        match (self.axes, self.sweep) {
            (false, _) => vec![],
            (true, false) => rows.collect(),
            (true, true) => rows.chain(cols).collect(),
        }
    }

    fn any(&mut self) {
        match self.random.below(10) {
            0 | 1 => {
                let buf = self.random.below(self.kernel.bufs.len()) as u16;
                // What the set-up loads must be the same for every row.
                if self.axes || !self.kernel.bufs[usize::from(buf)].written {
                    let access = self.access(buf, true);
                    let kind = self.kind(buf);
                    self.define(kind, Op::Load(access));
                }
            }
            2 => {
                if let Some((axis, _)) = self.some_axis() {
                    self.define(Kind::I32, Op::Index(axis));
                }
            }
            3 if self.random.one_in(3) => self.bits(),
            _ => {
                let op = self.random.pick(&INSTRS);
                self.instr(op);
            }
        }
    }

    fn some_axis(&mut self) -> Option<(Axis, i64)> {
        let axes = self.axes();
        if axes.is_empty() { None } else { Some(self.random.pick(&axes)) }
    }

    fn instr(&mut self, op: Instr) {
        let (kinds, kind) = op.signature();
        let mut args: Vec<Val> = kinds.iter().map(|kind| self.value(*kind)).collect();
        if op == Instr::FBits {
            // The bits of a NaN are not fixed.
            let same = self.define(Kind::Mask, Op::Instr(Instr::FEq, vec![args[0], args[0]]));
            let one = self.define(Kind::F32, Op::Float(1f32.to_bits()));
            args = vec![self.define(Kind::F32, Op::Instr(Instr::FSelect, vec![same, args[0], one]))];
        }
        self.define(kind, Op::Instr(op, args));
    }

    fn kind(&self, buf: u16) -> Kind {
        self.kernel.bufs[usize::from(buf)].elem.kind()
    }

    /// A scalar of the call or a constant.
    fn scalar(&mut self) -> Val {
        let scalars: Vec<Val> =
            self.kernel.setup.iter().filter(|def| def.kind == Kind::I32).map(|def| def.val).collect();
        if scalars.is_empty() || self.random.one_in(4) {
            let n = self.random.int() as i32;
            return self.define(Kind::I32, Op::Int(n));
        }
        self.random.pick(&scalars)
    }

    fn bits(&mut self) {
        let seed = [self.scalar(), self.scalar()];
        let [site, step, first] = [self.scalar(), self.scalar(), self.scalar()];
        let mut sides = [0, 1].map(|_| {
            let (offset, mut terms) = (self.random.pick(&[0, 0, 3, 16, -1]), vec![]);
            for (axis, _) in self.axes() {
                if self.random.one_in(3) {
                    let step = self.random.pick(&[1, 1, 16, 5]);
                    terms.push((axis, self.ext(step)));
                }
            }
            Affine { offset: self.ext(offset), terms }
        });
        if let (true, Some(inner)) = (self.sweep && self.random.one_in(2), self.cols.len().checked_sub(1)) {
            // The form that is computed sixteen at a time.
            let axis = Axis::Col(inner as u8);
            sides[0].terms.retain(|(a, _)| *a != axis);
            sides[1] = Affine { offset: Ext::Const(0), terms: vec![(axis, Ext::Const(1))] };
        }
        let [row, col] = sides;
        self.define(Kind::I32, Op::Bits(Bits { seed, site, step, first, row, col }));
    }

    fn store(&mut self, others: &[Store]) -> Option<Store> {
        let free =
            |buf: &u16| self.kernel.bufs[usize::from(*buf)].written && others.iter().all(|other| other.to.buf != *buf);
        let written: Vec<u16> = (0..self.kernel.bufs.len() as u16).filter(free).collect();
        if written.is_empty() {
            return None;
        }
        let buf = self.random.pick(&written);
        let value = self.value(self.kind(buf));
        // In place, where there is a load that allows it.
        let loads = self.defs.iter().filter_map(|def| match &def.op {
            Op::Load(access) if access.buf == buf && access.bounds.is_empty() => Some(access.clone()),
            _ => None,
        });
        let loads: Vec<Access> = loads.collect();
        let to = if !loads.is_empty() && self.random.one_in(2) {
            loads[self.random.below(loads.len())].clone()
        } else {
            self.access(buf, false)
        };
        Some(Store { to, value })
    }

    /// An access that stays inside a buffer, which grows as needed.
    fn access(&mut self, buf: u16, bounded: bool) -> Access {
        let mut offset = 8;
        let mut greatest = 0;
        let mut terms: Vec<(Axis, i64)> = vec![];
        let mut bounds = vec![];
        let steps = [1, 1, 1, 2, 7, 64, -1, -3];
        for (axis, extent) in self.axes() {
            let inner = self.sweep && axis == Axis::Col(self.cols.len() as u8 - 1);
            if self.random.one_in(if inner { 6 } else { 3 }) {
                continue;
            }
            let step = if inner && !self.random.one_in(3) { 1 } else { self.random.pick(&steps) };
            let mut range = extent - 1;
            if bounded && self.random.one_in(4) {
                // The index moved by `shift` must lie in 0..limit.
                let shift = self.random.below(8) as i64 - 4;
                let limit = self.random.pick(&[0, 1, 4, extent, extent + 2, extent - 1]).max(0);
                let index = Affine { offset: self.ext(shift), terms: vec![(axis, self.ext(1))] };
                bounds.push(Bound { index, extent: self.ext(limit) });
                offset += shift * step;
                range = limit - 1;
            }
            let range = range.max(0) * step.abs();
            if step < 0 {
                offset += range;
            }
            greatest += range;
            terms.push((axis, step));
        }
        let mut base = None;
        if self.random.one_in(5) {
            let index = self.value(Kind::I32);
            let mask = self.random.pick(&[0, 1, 7, 31]);
            let limit = self.define(Kind::I32, Op::Int(mask));
            let index = self.define(Kind::I32, Op::Instr(Instr::IAnd, vec![index, limit]));
            let factor = self.random.pick(&[1, 4, -2]);
            let range = i64::from(mask) * i64::abs(factor);
            if factor < 0 {
                offset += range;
            }
            greatest += range;
            base = Some((index, self.ext(factor)));
        }
        let len = &mut self.lens[usize::from(buf)];
        // Eight elements at each end are never touched.
        *len = (*len).max(8 + greatest + 1 + 8);
        let terms = terms.into_iter().map(|(axis, step)| (axis, self.ext(step))).collect();
        Access { buf, at: Affine { offset: self.ext(offset), terms }, base, bounds }
    }

    fn finish(self) -> Case {
        let Maker { random, kernel, exts, rows, cols, lens, .. } = self;
        let mut memory = reference::memory(&kernel, 0, cols.iter().product::<i64>() as usize);
        memory.exts = exts;
        memory.bufs =
            kernel.bufs.iter().zip(&lens).map(|(buf, len)| random.data(buf.elem, *len as usize + 16)).collect();
        memory.uniforms =
            kernel.uniforms.iter().map(|kind| if *kind == Kind::F32 { random.float() } else { random.int() }).collect();
        let rows = rows.iter().product::<i64>() as u64;
        Case { kernel, memory, rows }
    }
}
