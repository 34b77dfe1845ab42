//! A block's elements in memory: takes the first one's address and the bytes from one to the next, gives or takes lanes.
//! What is known to lie beyond the block's end is never touched.

use cranelift_codegen::ir::types::{I8X16, I32, I32X4, I64, I64X2};
use cranelift_codegen::ir::{InstBuilder, MemFlagsData, Type, Value};
use dlc_plan::kernel::{Elem, Kind};

use super::emit::{Emit, Live, Scratch};
use super::lanes::{Lanes, QUADS, WIDTH, little, vector, width};
use super::num::Num;

/// Accesses cannot trap, but vectors need not be aligned.
pub fn plain() -> MemFlagsData {
    MemFlagsData::new().with_notrap()
}

/// What a buffer's elements are in a kernel.
pub fn kind(elem: Elem) -> Kind {
    elem.kind()
}

/// Goes through elements that lie `step` bytes apart.
struct Walk {
    /// The address from which `done` counts.
    base: Value,
    step: Num,
    done: i64,
}

impl Walk {
    /// The next element: an address and an offset.
    fn next(&mut self, e: &mut Emit) -> (Value, i32) {
        if let Num::Known(step) = self.step
            && let Ok(offset) = i32::try_from(step * self.done)
        {
            self.done += 1;
            return (self.base, offset);
        }
        if self.done > 0 {
            let next = e.add(Num::Code(self.base), self.step);
            self.base = e.materialise(next);
        }
        self.done += 1;
        (self.base, 0)
    }
}

impl Emit<'_> {
    /// The elements of vector q that are there, where a vector has `width` lanes.
    fn lanes_of(&self, q: usize, width: usize) -> usize {
        match self.live {
            Live::Known(n) => (n - q * width).min(width),
            Live::Code { .. } => width,
        }
    }

    /// One element as a number of its kind.
    pub fn load_element(&mut self, elem: Elem, address: Value, offset: i32) -> Value {
        match elem {
            Elem::F32 | Elem::I32 | Elem::I64 => {
                self.b.ins().load(vector(kind(elem)).lane_type(), plain(), address, offset)
            }
            Elem::U8 => self.b.ins().uload8(I32, plain(), address, offset),
        }
    }

    /// Stores a number as an element.
    pub fn store_element(&mut self, elem: Elem, value: Value, address: Value, offset: i32) {
        match elem {
            Elem::F32 | Elem::I32 | Elem::I64 => self.b.ins().store(plain(), value, address, offset),
            Elem::U8 => self.b.ins().istore8(plain(), value, address, offset),
        };
    }

    /// Loads a block.
    pub fn load_along(&mut self, elem: Elem, first: Value, step: Num) -> Lanes {
        let unit = matches!(step, Num::Known(bytes) if bytes == elem.bytes() as i64);
        let mut walk = Walk { base: first, step, done: 0 };
        if elem == Elem::I64 {
            return self.load_longs(first, unit, &mut walk);
        }
        Lanes::Each(self.quads(|e, q| {
            let lanes = e.lanes_of(q, WIDTH);
            let offset = (q * WIDTH * elem.bytes()) as i32;
            match elem {
                Elem::F32 | Elem::I32 if unit => e.load_words(vector(kind(elem)), first, offset, lanes),
                Elem::U8 if unit && lanes == WIDTH => {
                    walk.done += WIDTH as i64;
                    e.load_bytes(first, offset)
                }
                Elem::F32 | Elem::I32 | Elem::I64 | Elem::U8 => e.load_lanes_of(elem, &mut walk, lanes),
            }
        }))
    }

    /// Loads a block of 64-bit integers.
    fn load_longs(&mut self, first: Value, unit: bool, walk: &mut Walk) -> Lanes {
        let mut found = vec![];
        for h in 0..self.vectors(Kind::I64) {
            let lanes = self.lanes_of(h, 2);
            if unit && lanes == 2 {
                walk.done += 2;
                found.push(self.b.ins().load(I64X2, plain(), first, (16 * h) as i32));
            } else {
                found.push(self.load_lanes_of(Elem::I64, walk, lanes));
            }
        }
        self.of_vectors(Kind::I64, &found)
    }

    /// Up to four neighbouring words.
    fn load_words(&mut self, ty: Type, first: Value, offset: i32, lanes: usize) -> Value {
        if lanes == WIDTH {
            return self.b.ins().load(ty, plain(), first, offset);
        }
        let one = |e: &mut Self, offset| e.b.ins().load(ty.lane_type(), plain(), first, offset);
        if lanes == 1 {
            let scalar = one(self, offset);
            return self.b.ins().scalar_to_vector(ty, scalar);
        }
        let two = self.b.ins().load(I64, plain(), first, offset);
        let two = self.b.ins().scalar_to_vector(I64X2, two);
        let two = self.b.ins().bitcast(ty, little(), two);
        if lanes == 2 {
            return two;
        }
        let third = one(self, offset + 8);
        self.b.ins().insertlane(two, third, 2)
    }

    /// Four neighbouring bytes.
    fn load_bytes(&mut self, first: Value, offset: i32) -> Value {
        let bytes = self.b.ins().load(I32, plain(), first, offset);
        let bytes = self.b.ins().scalar_to_vector(I32X4, bytes);
        let bytes = self.b.ins().bitcast(I8X16, little(), bytes);
        let halves = self.b.ins().uwiden_low(bytes);
        self.b.ins().uwiden_low(halves)
    }

    fn load_lanes_of(&mut self, elem: Elem, walk: &mut Walk, lanes: usize) -> Value {
        let ty = vector(kind(elem));
        let (address, offset) = walk.next(self);
        let scalar = self.load_element(elem, address, offset);
        let mut all = self.b.ins().scalar_to_vector(ty, scalar);
        for lane in 1..lanes {
            let (address, offset) = walk.next(self);
            let scalar = self.load_element(elem, address, offset);
            all = self.b.ins().insertlane(all, scalar, lane as u8);
        }
        all
    }

    /// Stores a block; where elements coincide, the last one stays.
    pub fn store_along(&mut self, elem: Elem, first: Value, step: Num, value: Lanes) {
        let unit = matches!(step, Num::Known(bytes) if bytes == elem.bytes() as i64);
        let full = matches!(self.live, Live::Known(16) | Live::Code { .. });
        if unit && full && elem == Elem::U8 {
            return self.store_bytes(first, value);
        }
        let mut walk = Walk { base: first, step, done: 0 };
        let width = width(kind(elem));
        for q in 0..self.vectors(kind(elem)) {
            let quad = self.quad(value, q);
            let lanes = self.lanes_of(q, width);
            if unit && lanes == width && elem != Elem::U8 {
                self.b.ins().store(plain(), quad, first, (q * width * elem.bytes()) as i32);
                walk.done += width as i64;
                continue;
            }
            for lane in 0..lanes {
                let scalar = self.b.ins().extractlane(quad, lane as u8);
                let (address, offset) = walk.next(self);
                self.store_element(elem, scalar, address, offset);
            }
        }
    }

    /// The low bytes of sixteen lanes.
    fn store_bytes(&mut self, first: Value, value: Lanes) {
        let low = self.vconst(I32X4, [0xFF; WIDTH]);
        let mut quads = [low; QUADS];
        for (q, quad) in quads.iter_mut().enumerate() {
            let wide = self.quad(value, q);
            *quad = self.b.ins().band(wide, low);
        }
        let left = self.b.ins().unarrow(quads[0], quads[1]);
        let right = self.b.ins().unarrow(quads[2], quads[3]);
        let bytes = self.b.ins().unarrow(left, right);
        self.b.ins().store(plain(), bytes, first, 0);
    }

    /// Puts all lanes of a kind into scratch memory.
    pub fn spread(&mut self, scratch: Scratch, kind: Kind, value: Lanes) -> Value {
        let memory = self.scratch(scratch);
        for q in 0..self.vectors(kind) {
            let quad = self.quad(value, q);
            self.b.ins().store(plain(), quad, memory, (16 * q) as i32);
        }
        memory
    }

    /// Takes the block's active vectors from scratch memory.
    pub fn gather(&mut self, kind: Kind, memory: Value) -> Vec<Value> {
        (0..self.vectors(kind)).map(|q| self.b.ins().load(vector(kind), plain(), memory, (16 * q) as i32)).collect()
    }

    /// The address of word `lane` of scratch memory.
    pub fn word(&mut self, memory: Value, lane: Value) -> Value {
        self.cell(Kind::I32, memory, lane)
    }

    /// The address of lane `lane` of scratch memory that holds values of a kind.
    pub fn cell(&mut self, kind: Kind, memory: Value, lane: Value) -> Value {
        let offset = self.b.ins().ishl_imm_s(lane, if kind == Kind::I64 { 3 } else { 2 });
        self.b.ins().iadd(memory, offset)
    }

    /// Scratch memory in which loads put values of a kind one by one.
    pub fn loaded(&mut self, kind: Kind) -> Value {
        self.scratch(match kind {
            Kind::F32 => Scratch::Floats,
            Kind::I32 | Kind::Mask => Scratch::Ints,
            Kind::I64 => Scratch::Longs,
        })
    }

    /// A zero in all lanes of a vector.
    pub fn zero(&mut self, kind: Kind) -> Value {
        self.constant(kind, 0)
    }

    /// The number of elements in the block.
    pub fn live_count(&mut self) -> Num {
        match self.live {
            Live::Known(n) => Num::Known(n as i64),
            Live::Code { left, .. } => {
                let sixteen = self.b.ins().iconst(I64, 16);
                Num::Code(self.b.ins().umin(left, sixteen))
            }
        }
    }
}
