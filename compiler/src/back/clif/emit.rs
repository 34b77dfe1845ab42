//! A kernel's function: takes a kernel, gives its Cranelift code. This file has the frame: arguments, set-up, the loop
//! over rows and the phases of a row; `sweep` has the loops over columns, and the other files what happens at a point.
//!
//! Constants are folded, loads hoisted and addresses shared here, so that the code can go to the machine in the order in
//! which it is written.

use std::mem::offset_of;

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32X4, I32, I32X4, I64};
use cranelift_codegen::ir::{
    AbiParam, Block, Function, InstBuilder, MemFlagsData, Signature, StackSlot, StackSlotData, StackSlotKind, Value,
};
use cranelift_codegen::isa::{CallConv, TargetFrontendConfig};
use cranelift_frontend::{FunctionBuilder, FunctionBuilderContext, Variable};
use dlc_plan::Kernel;
use dlc_plan::kernel::{Affine, Args, Axis, Bound, Def, Ext, Fold, Instr, LANES, Op, Over, Phase, Val};

use super::lanes::{Lanes, QUADS, WIDTH, vector};
use super::num::Num;
use super::sweep::Stream;

/// Which instructions there are besides Cranelift's portable ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Those of x86-64.
    X86,
    /// None.
    Portable,
}

/// How many of a block's sixteen elements there are.
#[derive(Clone, Copy, Debug)]
pub enum Live {
    /// Known at compile time.
    Known(usize),
    /// The elements that are left in the line, one at least, and whether they are sixteen or more.
    Code {
        /// Elements that are left.
        left: Value,
        /// Whether the block is full.
        full: Value,
    },
}

impl Live {
    /// The vectors that have an element; one in a row phase.
    pub fn quads(self) -> usize {
        match self {
            Live::Known(n) => n.div_ceil(WIDTH),
            Live::Code { .. } => QUADS,
        }
    }
}

/// Memory in which lanes are handed over, by what it is for. What is in it lasts until the next use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scratch {
    /// The bases of a gather or scatter, from vectors.
    Bases,
    /// Integers, one by one, into vectors.
    Ints,
    /// Numbers, one by one, into vectors.
    Floats,
    /// The four words of a random block.
    Words,
    /// What is stored one by one, from vectors.
    Values,
    /// Integers of 64 bits, one by one, into vectors.
    Longs,
}

/// The state of writing a function.
pub struct Emit<'a> {
    pub b: FunctionBuilder<'a>,
    pub kernel: &'a Kernel,
    pub dialect: Dialect,
    /// The buffers' addresses.
    pub bufs: Vec<Value>,
    /// The call's extents.
    pub exts: Vec<Value>,
    /// The addresses of the fold slots.
    pub folds: Vec<Value>,
    /// The address of the call's scalars.
    pub uniforms: Value,
    /// The largest base of each gather, in their order.
    pub limits: Vec<Value>,
    /// The kernel's values, by number.
    pub values: Vec<Lanes>,
    /// For the negation of a number: of which.
    pub negated: Vec<Option<Val>>,
    /// The row axes' indices.
    pub rows: Vec<Value>,
    /// The column axes' indices, as far as the loops are entered; the last is that of a block's first element.
    pub cols: Vec<Value>,
    /// In a sweep, the axis along which lanes differ.
    pub lane_axis: Option<Axis>,
    /// How much of the block is there.
    pub live: Live,
    /// The accesses of the sweep that run along the vector axis.
    pub streams: Vec<Stream<'a>>,
    /// Memory in which lanes are handed over one by one, by its [`Scratch`].
    scratch: [Option<StackSlot>; 6],
    /// Memory that is zero at the start, so that lanes beyond a block's end compute with zeros, not with whatever lies on
    /// the stack: subnormal numbers would slow the whole vector down.
    zeroed: Vec<(StackSlot, usize)>,
}

/// The signature of [`dlc_plan::kernel::KernelFn`].
pub fn signature(convention: CallConv) -> Signature {
    let mut signature = Signature::new(convention);
    signature.params.extend([AbiParam::new(I64); 3]);
    signature
}

/// Writes a kernel's code into `func`.
pub fn function(
    kernel: &Kernel,
    dialect: Dialect,
    func: &mut Function,
    frontend: &mut FunctionBuilderContext,
    config: TargetFrontendConfig,
) {
    let mut b = FunctionBuilder::new(func, frontend);
    let entry = b.create_block();
    b.append_block_params_for_function_params(entry);
    b.switch_to_block(entry);
    b.seal_block(entry);
    let [args, first, last] = *b.block_params(entry) else { unreachable!("a kernel's function has three parameters") };
    let gathers = kernel.gathers().count();
    let mut pointers = [args; 5];
    let fields = [offset_of!(Args, bufs), offset_of!(Args, uniforms), offset_of!(Args, exts), offset_of!(Args, folds)];
    let limits = (gathers > 0).then_some(offset_of!(Args, limits));
    for (pointer, field) in pointers.iter_mut().zip(fields.into_iter().chain(limits)) {
        *pointer = b.ins().load(I64, MemFlagsData::trusted(), args, field as i32);
    }
    let [bufs, uniforms, exts, folds, limits] = pointers;
    let limits = (0..gathers).map(|i| b.ins().load(I32, MemFlagsData::trusted(), limits, i as i32 * 4)).collect();
    let mut table = |from: Value, count: usize| -> Vec<Value> {
        (0..count).map(|i| b.ins().load(I64, MemFlagsData::trusted(), from, i as i32 * 8)).collect()
    };
    let bufs = table(bufs, kernel.bufs.len());
    let exts = table(exts, usize::from(kernel.exts));
    let folds = table(folds, usize::from(kernel.folds));
    let count = count_values(kernel);
    let mut emit = Emit {
        b,
        kernel,
        dialect,
        bufs,
        exts,
        folds,
        uniforms,
        limits,
        values: vec![Lanes::Known(I32X4, 0); count],
        negated: vec![None; count],
        rows: vec![],
        cols: vec![],
        lane_axis: None,
        live: Live::Known(1),
        streams: vec![],
        scratch: [None; 6],
        zeroed: vec![],
    };
    emit.body(first, last);
    emit.b.ins().return_(&[]);
    emit.b.finalize(config);
}

/// One more than the greatest value number.
fn count_values(kernel: &Kernel) -> usize {
    let defined = kernel.setup.iter().chain(kernel.phases.iter().flat_map(|phase| &phase.defs)).map(|def| def.val);
    let folded = kernel.phases.iter().flat_map(|phase| &phase.folds).filter_map(|fold| match fold.over {
        Over::Cols(val) => Some(val),
        Over::Rows(_) | Over::All(_) => None,
    });
    defined.chain(folded).max().map_or(0, |last| last as usize + 1)
}

impl Emit<'_> {
    /// Goes on in a block whose predecessors are all written.
    pub fn enter(&mut self, block: Block) {
        self.b.switch_to_block(block);
        self.b.seal_block(block);
    }

    /// The address of scratch memory for sixteen lanes.
    pub fn scratch(&mut self, scratch: Scratch) -> Value {
        let slot = match (self.scratch[scratch as usize], scratch) {
            (Some(slot), _) => slot,
            (None, Scratch::Ints | Scratch::Floats) => self.zeroed_slot(4),
            (None, Scratch::Longs) => self.zeroed_slot(8),
            (None, Scratch::Bases | Scratch::Words) => self.slot(4),
            (None, Scratch::Values) => self.slot(8),
        };
        self.scratch[scratch as usize] = Some(slot);
        self.b.ins().stack_addr(I64, slot, 0)
    }

    /// Memory for sixteen lanes of so many bytes on the stack.
    pub fn slot(&mut self, bytes: usize) -> StackSlot {
        self.b.create_sized_stack_slot(StackSlotData::new(StackSlotKind::ExplicitSlot, (LANES * bytes) as u32, 4))
    }

    /// Memory for sixteen lanes of so many bytes on the stack, all zero at the start.
    pub fn zeroed_slot(&mut self, bytes: usize) -> StackSlot {
        let slot = self.slot(bytes);
        self.zeroed.push((slot, bytes));
        slot
    }

    /// An axis' index.
    pub fn index(&self, axis: Axis) -> Value {
        match axis {
            Axis::Row(n) => self.rows[usize::from(n)],
            Axis::Col(n) => self.cols[usize::from(n)],
        }
    }

    fn body(&mut self, first: Value, last: Value) {
        for def in &self.kernel.setup {
            self.define(def);
        }
        let [some, zeroes, head, after] = [(); 4].map(|()| self.b.create_block());
        let any = self.b.ins().icmp(IntCC::UnsignedLessThan, first, last);
        self.b.ins().brif(any, some, [], after, []);
        self.enter(some);
        let number = self.b.declare_var(I64);
        self.b.def_var(number, first);
        let indices = self.first_indices(first);
        self.b.ins().jump(zeroes, []);
        self.b.seal_block(zeroes);
        self.b.switch_to_block(head);
        let row = self.b.use_var(number);
        self.rows = match (self.kernel.rows.len(), &indices) {
            (0, _) => vec![],
            (1, _) => vec![row],
            (_, variables) => variables.iter().map(|variable| self.b.use_var(*variable)).collect(),
        };
        for phase in &self.kernel.phases {
            if phase.sweep {
                self.sweep(phase);
            } else {
                self.row(phase);
            }
        }
        self.next_indices(&indices);
        let next = self.b.ins().iadd_imm_s(row, 1);
        self.end_row_runs(next, last);
        self.b.def_var(number, next);
        let more = self.b.ins().icmp(IntCC::UnsignedLessThan, next, last);
        self.b.ins().brif(more, head, [], after, []);
        self.b.switch_to_block(zeroes);
        self.write_zeros();
        self.b.ins().jump(head, []);
        self.b.seal_block(head);
        self.enter(after);
    }

    /// Clears the memory that must be zero at the start; which that is, the loops have said.
    fn write_zeros(&mut self) {
        if self.zeroed.is_empty() {
            return;
        }
        let zero = self.vconst(I32X4, [0; WIDTH]);
        for (slot, bytes) in std::mem::take(&mut self.zeroed) {
            for at in (0..LANES * bytes).step_by(16) {
                self.b.ins().stack_store(I64, zero, slot, at as i32);
            }
        }
    }

    /// Splits the first row's number into the row axes' indices; none where the number itself is enough.
    fn first_indices(&mut self, first: Value) -> Vec<Variable> {
        let extents: Vec<Ext> = self.kernel.rows.clone();
        if extents.len() < 2 || !uses_rows(self.kernel) {
            return vec![];
        }
        let variables: Vec<Variable> = extents.iter().map(|_| self.b.declare_var(I64)).collect();
        let mut rest = first;
        for (i, (variable, extent)) in variables.iter().zip(&extents).enumerate().rev() {
            if i == 0 {
                self.b.def_var(*variable, rest);
                break;
            }
            let extent = self.ext(*extent);
            let extent = self.materialise(extent);
            let quotient = self.b.ins().udiv(rest, extent);
            let whole = self.b.ins().imul(quotient, extent);
            let index = self.b.ins().isub(rest, whole);
            self.b.def_var(*variable, index);
            rest = quotient;
        }
        variables
    }

    /// Advances the row axes' indices by one row, without a division.
    fn next_indices(&mut self, variables: &[Variable]) {
        let mut carry = self.b.ins().iconst(I64, 1);
        for (i, variable) in variables.iter().enumerate().rev() {
            let index = self.b.use_var(*variable);
            let next = self.b.ins().iadd(index, carry);
            if i == 0 {
                self.b.def_var(*variable, next);
                break;
            }
            let extent = self.ext(self.kernel.rows[i]);
            let extent = self.materialise(extent);
            let wraps = self.b.ins().icmp(IntCC::Equal, next, extent);
            let zero = self.b.ins().iconst(I64, 0);
            let next = self.b.ins().select(wraps, zero, next);
            self.b.def_var(*variable, next);
            carry = self.b.ins().uextend(I64, wraps);
        }
    }

    /// A phase that is run once a row.
    fn row(&mut self, phase: &Phase) {
        for def in &phase.defs {
            self.define(def);
        }
        for store in &phase.stores {
            self.store_scalar(&store.to, store.value);
        }
        for Fold { op, value, kind, over } in &phase.folds {
            let Over::All(slot) = over else { panic!("a fold over columns or rows stands in a sweep") };
            let element = self.quad(self.values[*value as usize], 0);
            if op.is_long(*kind) {
                self.add_to_all(*slot, element);
                continue;
            }
            let address = self.folds[usize::from(*slot)];
            let ty = vector(*kind);
            let old = self.b.ins().load(ty.lane_type(), MemFlagsData::trusted(), address, 0);
            let old = self.b.ins().splat(ty, old);
            let new = self.vector_operation(op.instr(*kind), &[old, element]);
            let new = self.b.ins().extractlane(new, 0);
            self.b.ins().store(MemFlagsData::trusted(), new, address, 0);
        }
    }

    /// Computes a value.
    pub fn define(&mut self, def: &Def) {
        let lanes = match &def.op {
            Op::Float(bits) => Lanes::Known(F32X4, *bits),
            Op::Int(n) => Lanes::Known(I32X4, *n as u32),
            Op::Uniform(n) => {
                let ty = vector(def.kind);
                let at = i32::from(*n) * 4;
                let scalar = self.b.ins().load(ty.lane_type(), MemFlagsData::trusted(), self.uniforms, at);
                Lanes::Same(self.b.ins().splat(ty, scalar))
            }
            Op::Index(axis) => {
                let first = self.splat_index(self.index(*axis));
                if Some(*axis) == self.lane_axis {
                    Lanes::Each(self.quads(|e, q| {
                        let numbers = e.lane_numbers(q);
                        e.b.ins().iadd(first, numbers)
                    }))
                } else {
                    Lanes::Same(first)
                }
            }
            Op::Load(access) => self.load(def.val, access),
            Op::Instr(op, args) => {
                self.negated[def.val as usize] = (*op == Instr::FNeg).then(|| args[0]);
                self.operation(*op, args)
            }
            Op::Bits(bits) => self.bits(bits),
        };
        self.values[def.val as usize] = lanes;
    }

    /// Whether `0 <= index < extent`, at the block's first element moved on by `ahead` lanes.
    pub fn inside(&mut self, bound: &Bound, ahead: Num) -> Value {
        let index = self.at_lane(&bound.index, ahead);
        let index = self.materialise(index);
        let extent = self.ext(bound.extent);
        let extent = self.materialise(extent);
        // As unsigned numbers, negative ones are greater than any extent.
        self.b.ins().icmp(IntCC::UnsignedLessThan, index, extent)
    }

    /// An affine function at the block's first element moved on by `ahead` lanes.
    pub fn at_lane(&mut self, affine: &Affine, ahead: Num) -> Num {
        let first = self.affine(affine, true, |_| true);
        let step = self.lane_step(affine);
        let moved = self.mul(ahead, step);
        self.add(first, moved)
    }
}

/// Whether the kernel asks for the index of any row axis.
fn uses_rows(kernel: &Kernel) -> bool {
    let row = |affine: &Affine| affine.terms.iter().any(|(axis, _)| matches!(axis, Axis::Row(_)));
    let defs = kernel.phases.iter().flat_map(|phase| &phase.defs);
    let stores = kernel.phases.iter().flat_map(|phase| &phase.stores);
    stores.map(|store| &store.to.at).any(row)
        || defs.map(|def| &def.op).any(|op| match op {
            Op::Load(access) => row(&access.at) || access.bounds.iter().any(|bound| row(&bound.index)),
            Op::Bits(bits) => row(&bits.row) || row(&bits.col),
            Op::Index(axis) => matches!(axis, Axis::Row(_)),
            Op::Float(_) | Op::Int(_) | Op::Uniform(_) | Op::Instr(..) => false,
        })
}
