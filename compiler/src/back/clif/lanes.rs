//! Values of sixteen lanes: four vectors of four (of 64 bits, eight of two), or one vector where all lanes are the same, or a known constant.
//!
//! A row phase's value has the same number in all lanes of one vector, so that rows and sweeps share one set of
//! instructions and a sweep needs no conversion to use what a row computed.

use cranelift_codegen::ir::types::{F32X4, I8X16, I32X4, I64X2};
use cranelift_codegen::ir::{ConstantData, Endianness, InstBuilder, MemFlagsData, Type, Value, types};
use dlc_plan::kernel::{Kind, LANES};

use super::emit::{Emit, Live};

/// Lanes of a vector.
pub const WIDTH: usize = 4;

/// Vectors of a block.
pub const QUADS: usize = LANES / WIDTH;

/// Vectors of a block of 64-bit integers.
pub const HALVES: usize = 2 * QUADS;

/// A value in all lanes.
#[derive(Clone, Copy, Debug)]
pub enum Lanes {
    /// A constant, by its vector type and bits. It is loaded anew wherever it is used, as a register is dearer.
    Known(Type, u32),
    /// One vector, all its lanes the same, for the whole block.
    Same(Value),
    /// Vector q holds the lanes 4 q .. 4 q + 4. Beyond the block's end, something of the right type.
    Each([Value; QUADS]),
    /// Of 64-bit integers, vector h holds the lanes 2 h and 2 h + 1. Beyond the block's end, something of the right type.
    Pairs([Value; HALVES]),
}

/// The vector type of a kind.
pub fn vector(kind: Kind) -> Type {
    match kind {
        Kind::F32 => F32X4,
        Kind::I32 | Kind::Mask => I32X4,
        Kind::I64 => I64X2,
    }
}

/// Lanes of a vector of a kind.
pub fn width(kind: Kind) -> usize {
    if kind == Kind::I64 { WIDTH / 2 } else { WIDTH }
}

/// The flags of a bitcast between vectors of different lanes.
pub fn little() -> MemFlagsData {
    MemFlagsData::new().with_endianness(Endianness::Little)
}

impl Emit<'_> {
    /// A vector of constants.
    pub fn vconst(&mut self, ty: Type, lanes: [u32; WIDTH]) -> Value {
        let bytes: Vec<u8> = lanes.iter().flat_map(|lane| lane.to_le_bytes()).collect();
        let constant = self.b.func.dfg.constants.insert(ConstantData::from(bytes));
        self.b.ins().vconst(ty, constant)
    }

    /// A value's vector q, of four lanes or of two.
    pub fn quad(&mut self, lanes: Lanes, q: usize) -> Value {
        match lanes {
            Lanes::Known(ty, bits) => self.vconst(ty, [bits; WIDTH]),
            Lanes::Same(value) => value,
            Lanes::Each(vectors) => vectors[q],
            Lanes::Pairs(vectors) => vectors[q],
        }
    }

    /// A value that is the same in all lanes, as a number.
    pub fn scalar(&mut self, lanes: Lanes) -> Value {
        match lanes {
            Lanes::Known(ty, bits) if ty == F32X4 => self.b.ins().f32const(f32::from_bits(bits)),
            Lanes::Known(_, bits) => self.b.ins().iconst(types::I32, i64::from(bits)),
            Lanes::Same(value) => self.b.ins().extractlane(value, 0),
            Lanes::Each(_) | Lanes::Pairs(_) => panic!("only a value that is the same in all lanes is a number"),
        }
    }

    /// A number of 64 bits as I32 in all lanes.
    pub fn splat_index(&mut self, index: Value) -> Value {
        let low = self.b.ins().ireduce(types::I32, index);
        self.b.ins().splat(I32X4, low)
    }

    /// A vector with the same bits in all lanes.
    pub fn constant(&mut self, kind: Kind, bits: u64) -> Value {
        let (low, high) = (bits as u32, (bits >> 32) as u32);
        let lanes = if kind == Kind::I64 { [low, high, low, high] } else { [low; WIDTH] };
        self.vconst(vector(kind), lanes)
    }

    /// The block's active vectors of a kind.
    pub fn vectors(&self, kind: Kind) -> usize {
        match (kind, self.live) {
            (Kind::I64, Live::Known(n)) => n.div_ceil(WIDTH / 2),
            (Kind::I64, Live::Code { .. }) => HALVES,
            (Kind::F32 | Kind::I32 | Kind::Mask, live) => live.quads(),
        }
    }

    /// A value of a kind from the block's active vectors.
    pub fn of_vectors(&self, kind: Kind, found: &[Value]) -> Lanes {
        let at = |i: usize| found.get(i).copied().unwrap_or(found[0]);
        match kind {
            Kind::I64 => Lanes::Pairs(std::array::from_fn(at)),
            Kind::F32 | Kind::I32 | Kind::Mask => Lanes::Each(std::array::from_fn(at)),
        }
    }

    /// One vector for each of the block's active quads.
    pub fn quads(&mut self, mut make: impl FnMut(&mut Self, usize) -> Value) -> [Value; QUADS] {
        let first = make(self, 0);
        let mut all = [first; QUADS];
        for (q, quad) in all.iter_mut().enumerate().take(self.live.quads()).skip(1) {
            *quad = make(self, q);
        }
        all
    }

    /// Computes a value vector by vector, or once where all operands are the same in all lanes.
    pub fn lift(&mut self, operands: &[Lanes], mut make: impl FnMut(&mut Self, &[Value]) -> Value) -> Lanes {
        let each = operands.iter().any(|lanes| matches!(lanes, Lanes::Each(_)));
        let mut vectors: Vec<Value> = operands.iter().map(|lanes| self.quad(*lanes, 0)).collect();
        if !each {
            return Lanes::Same(make(self, &vectors));
        }
        Lanes::Each(self.quads(|e, q| {
            for (vector, lanes) in vectors.iter_mut().zip(operands) {
                if let Lanes::Each(quads) = lanes {
                    *vector = quads[q];
                }
            }
            make(e, &vectors)
        }))
    }

    /// Moves 32-bit lanes: lane i of the result is lane `from[i]` of `a`, or of `b` from 4 on.
    pub fn shuffle(&mut self, a: Value, b: Value, from: [u8; WIDTH]) -> Value {
        let ty = self.b.func.dfg.value_type(a);
        let bytes: Vec<u8> = from.iter().flat_map(|lane| (0..4).map(move |byte| lane * 4 + byte)).collect();
        let mask = self.b.func.dfg.immediates.push(ConstantData::from(bytes));
        let a = self.b.ins().bitcast(I8X16, little(), a);
        let b = self.b.ins().bitcast(I8X16, little(), b);
        let moved = self.b.ins().shuffle(a, b, mask);
        self.b.ins().bitcast(ty, little(), moved)
    }

    /// The numbers of a vector's lanes within the block.
    pub fn lane_numbers(&mut self, q: usize) -> Value {
        let first = (q * WIDTH) as u32;
        self.vconst(I32X4, [first, first + 1, first + 2, first + 3])
    }
}
