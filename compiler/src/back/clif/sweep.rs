//! The loops of a sweep: over the outer column axes, then block by block along the vector axis.
//!
//! Where the extent is a known multiple of sixteen there are only whole blocks, and where it is at most sixteen there is
//! one block and no loop. Otherwise the last block may be a part: its elements are copied to the stack, the one body runs
//! on the copies, and what it stored there is copied back.

use cranelift_codegen::ir::condcodes::IntCC;
use cranelift_codegen::ir::types::{F32X4, I32X4, I64, I64X2};
use cranelift_codegen::ir::{Block, InstBuilder, MemFlagsData, StackSlot, Value};
use cranelift_frontend::Variable;
use dlc_plan::kernel::{Access, Axis, Def, Elem, Fold, FoldOp, Kind, LANES, Op, Over, Phase, Val};

use super::access::block_args;
use super::emit::{Emit, Live};
use super::lanes::{Lanes, WIDTH, vector, width};
use super::num::Num;
use super::sums::{Partials, Totals};

/// What a stream goes through.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Source<'k> {
    /// Elements of a buffer.
    Access(&'k Access),
    /// A row fold's results, and how they are kept.
    Slot(u16, Elem),
}

/// Elements in memory along the vector axis that can be touched without asking.
pub struct Stream<'k> {
    source: Source<'k>,
    pub elem: Elem,
    /// Bytes from one element to the next.
    step: Num,
    /// The address without the column axes.
    row: Num,
    /// The address at the first element of the line.
    line: Value,
    /// Where the body reads and writes, and the bytes from one element to the next there.
    pub now: Value,
    pub now_step: Num,
    /// Whether it is written; if not, it is read. What does both is two streams.
    written: bool,
    /// Memory for a part of a block. What is read stays zero beyond the line's end, as nothing else is put there.
    slot: Option<StackSlot>,
    /// The values that are loaded from it.
    pub values: Vec<Val>,
}

/// What is known of a sweep before its loops are written.
struct Shape<'k> {
    phase: &'k Phase,
    /// The values that are the same along the line, computed before its loop.
    ahead: Vec<&'k Def>,
    /// The other values.
    inside: Vec<&'k Def>,
    /// For each fold over columns, its partial results.
    partials: Vec<Partials<'k>>,
    /// The totals of those that are sums, if there may be more blocks than a run has.
    totals: Option<Totals>,
}

impl<'a> Emit<'a> {
    /// A phase that goes over the columns.
    pub fn sweep(&mut self, phase: &'a Phase) {
        let inner = self.kernel.cols.len().checked_sub(1).expect("a kernel with a sweep has columns");
        self.lane_axis = Some(Axis::Col(inner as u8));
        let mut shape = Shape { phase, ahead: vec![], inside: vec![], partials: vec![], totals: None };
        self.sort(&mut shape);
        for fold in &phase.folds {
            if matches!(fold.over, Over::Cols(_)) {
                shape.partials.push((fold, self.start(fold)));
            }
        }
        shape.totals = self.totals(&shape.partials);
        self.outer(&shape);
        self.finish(&shape);
        self.streams.clear();
        self.lane_axis = None;
        self.live = Live::Known(1);
    }

    /// Sorts the sweep's values by where they are computed, and finds its streams.
    fn sort(&mut self, shape: &mut Shape<'a>) {
        let mut varying: Vec<Val> = vec![];
        for def in &shape.phase.defs {
            if let Op::Load(access) = &def.op
                && access.bounds.is_empty()
                && self.along(&access.at)
                && access.base.is_none_or(|(val, _)| !varying.contains(&val))
            {
                let stream = self.stream(Source::Access(access), false);
                self.streams[stream].values.push(def.val);
            }
            if self.varies(&def.op, &varying) {
                varying.push(def.val);
                shape.inside.push(def);
            } else {
                shape.ahead.push(def);
            }
        }
        for store in &shape.phase.stores {
            if store.to.base.is_none_or(|(val, _)| !varying.contains(&val)) {
                self.stream(Source::Access(&store.to), true);
            }
        }
        for fold in &shape.phase.folds {
            if let Over::Rows(slot) = fold.over {
                let source = Source::Slot(slot, elem_of(fold.kind));
                self.stream(source, false);
                self.stream(source, true);
            }
        }
    }

    /// Whether a value changes along the line. A load from a buffer that the kernel writes stays in its place.
    fn varies(&self, op: &Op, varying: &[Val]) -> bool {
        match op {
            Op::Float(_) | Op::Int(_) | Op::Uniform(_) => false,
            Op::Index(axis) => Some(*axis) == self.lane_axis,
            Op::Instr(_, args) => args.iter().any(|arg| varying.contains(arg)),
            Op::Bits(bits) => self.along(&bits.row) || self.along(&bits.col),
            Op::Load(access) => {
                self.kernel.bufs[usize::from(access.buf)].written
                    || self.along(&access.at)
                    || access.bounds.iter().any(|bound| self.along(&bound.index))
                    || access.base.is_some_and(|(val, _)| varying.contains(&val))
            }
        }
    }

    /// The number of the stream of a source; a new one if there is none.
    fn stream(&mut self, source: Source<'a>, written: bool) -> usize {
        if let Some(number) = self.find(source, written) {
            return number;
        }
        let (elem, step, row) = match source {
            Source::Access(access) => {
                let elem = self.kernel.bufs[usize::from(access.buf)].elem;
                let bytes = Num::Known(elem.bytes() as i64);
                let step = self.lane_step(&access.at);
                let step = self.mul(step, bytes);
                let row = self.affine(&access.at, true, |axis| matches!(axis, Axis::Row(_)));
                let row = self.element(access.buf, row);
                (elem, step, row)
            }
            Source::Slot(slot, elem) => (elem, Num::Known(elem.bytes() as i64), self.folds[usize::from(slot)]),
        };
        self.streams.push(Stream {
            source,
            elem,
            step,
            row: Num::Code(row),
            line: row,
            now: row,
            now_step: step,
            written,
            slot: None,
            values: vec![],
        });
        self.streams.len() - 1
    }

    fn find(&self, source: Source, written: bool) -> Option<usize> {
        self.streams.iter().position(|stream| stream.source == source && stream.written == written)
    }

    /// A fold's partial results, at their start.
    fn start(&mut self, fold: &Fold) -> Vec<Variable> {
        let start = self.constant(fold.kind, fold.op.start(fold.kind));
        let variable = |_| {
            let variable = self.b.declare_var(vector(fold.kind));
            self.b.def_var(variable, start);
            variable
        };
        (0..LANES / width(fold.kind)).map(variable).collect()
    }

    /// The results of the folds over columns.
    fn finish(&mut self, shape: &Shape<'a>) {
        let results = self.column_results(&shape.totals, &shape.partials);
        for ((fold, _), result) in shape.partials.iter().zip(results) {
            if let Over::Cols(val) = fold.over {
                self.values[val as usize] = result;
            }
        }
    }

    /// The loops over the outer column axes that are not entered yet, and the line inside them.
    fn outer(&mut self, shape: &Shape<'a>) {
        let axis = self.cols.len();
        let extent = self.ext(self.kernel.cols[axis]);
        if axis + 1 == self.kernel.cols.len() {
            match extent {
                Num::Known(n) if n <= 0 => {}
                Num::Known(_) => self.line(shape, extent),
                Num::Code(n) => self.when_positive(n, &mut |e| e.line(shape, extent)),
            }
            return;
        }
        self.count(extent, &mut |e, index| {
            e.cols.push(index);
            e.outer(shape);
            e.cols.pop();
        });
    }

    /// A line along the vector axis, of at least one element.
    fn line(&mut self, shape: &Shape<'a>, extent: Num) {
        self.live = Live::Known(1);
        for def in &shape.ahead {
            self.define(def);
        }
        for stream in 0..self.streams.len() {
            self.streams[stream].line = self.line_address(stream);
        }
        match extent {
            Num::Known(n) if n <= LANES as i64 => {
                let first = self.b.ins().iconst(I64, 0);
                self.block(shape, first, n as usize);
            }
            Num::Known(n) if n % LANES as i64 == 0 => {
                self.count_some(extent, LANES as i64, &mut |e, first| e.block(shape, first, LANES));
            }
            Num::Known(_) | Num::Code(_) => {
                self.count_some(extent, LANES as i64, &mut |e, first| e.block_or_part(shape, first, extent));
            }
        }
    }

    /// Where a stream's line begins.
    fn line_address(&mut self, stream: usize) -> Value {
        let Stream { source, row, elem, .. } = self.streams[stream];
        let columns = match source {
            Source::Access(access) => {
                let lane_axis = self.lane_axis;
                let outer = |axis| matches!(axis, Axis::Col(_)) && Some(axis) != lane_axis;
                let columns = self.affine(&access.at, false, outer);
                let base = self.base(access);
                self.add(columns, base)
            }
            Source::Slot(..) => {
                let mut column = Num::Known(0);
                for axis in 0..self.kernel.cols.len() {
                    let extent = self.ext(self.kernel.cols[axis]);
                    column = self.mul(column, extent);
                    if let Some(index) = self.cols.get(axis) {
                        column = self.add(column, Num::Code(*index));
                    }
                }
                column
            }
        };
        let offset = self.mul(columns, Num::Known(elem.bytes() as i64));
        let address = self.add(row, offset);
        self.materialise(address)
    }

    /// Where a stream's block begins.
    fn block_address(&mut self, stream: usize, first: Value) -> Value {
        let Stream { line, step, .. } = self.streams[stream];
        let offset = self.mul(Num::Code(first), step);
        let address = self.add(Num::Code(line), offset);
        self.materialise(address)
    }

    /// A block of a number of elements that is known.
    fn block(&mut self, shape: &Shape<'a>, first: Value, elements: usize) {
        self.live = Live::Known(elements);
        for stream in 0..self.streams.len() {
            let address = self.block_address(stream, first);
            let Stream { now, now_step, step, .. } = &mut self.streams[stream];
            (*now, *now_step) = (address, *step);
        }
        let folded = self.at_block(shape, first);
        self.begin_block(&shape.totals, &shape.partials);
        for ((fold, partials), lanes) in shape.partials.iter().zip(folded) {
            let width = width(fold.kind);
            let part = elements % width;
            for (q, partial) in partials.iter().enumerate().take(self.vectors(fold.kind)) {
                let mut element = self.quad(lanes, q);
                if part != 0 && q == elements / width {
                    let words = part * WIDTH / width;
                    let mask = std::array::from_fn(|word| if word < words { !0 } else { 0 });
                    let ty = if fold.kind == Kind::I64 { I64X2 } else { I32X4 };
                    let mask = self.vconst(ty, mask);
                    element = self.or_neutral(fold, mask, element);
                }
                self.accumulate(fold, *partial, element);
            }
        }
    }

    fn accumulate(&mut self, fold: &Fold, partial: Variable, element: Value) {
        let old = self.b.use_var(partial);
        let new = self.vector_operation(fold.op.instr(fold.kind), &[old, element]);
        self.b.def_var(partial, new);
    }

    /// Where the mask is false, what a fold leaves any partial result as it is by.
    fn or_neutral(&mut self, fold: &Fold, mask: Value, element: Value) -> Value {
        let ty = vector(fold.kind);
        let bits = match (fold.op, fold.kind) {
            // Adding a positive zero would change a negative one.
            (FoldOp::Sum, Kind::F32) => (-0.0f32).to_bits().into(),
            (op, kind) => op.start(kind),
        };
        let neutral = self.constant(fold.kind, bits);
        let mask = if ty == F32X4 { self.b.ins().bitcast(F32X4, MemFlagsData::new(), mask) } else { mask };
        self.b.ins().bitselect(mask, element, neutral)
    }

    /// What happens at a block: values, stores, row folds. Gives the elements of the column folds.
    fn at_block(&mut self, shape: &Shape<'a>, first: Value) -> Vec<Lanes> {
        self.cols.push(first);
        for def in &shape.inside {
            self.define(def);
        }
        for store in &shape.phase.stores {
            match self.find(Source::Access(&store.to), true) {
                Some(stream) => {
                    let Stream { elem, now, now_step, .. } = self.streams[stream];
                    self.store_along(elem, now, now_step, self.values[store.value as usize]);
                }
                None => self.store_one_by_one(&store.to, store.value),
            }
        }
        for fold in &shape.phase.folds {
            let Over::Rows(slot) = fold.over else { continue };
            let elem = elem_of(fold.kind);
            let [from, to] = [false, true].map(|written| {
                let stream = self.find(Source::Slot(slot, elem), written).expect("each row fold has its streams");
                self.streams[stream].now
            });
            let step = Num::Known(elem.bytes() as i64);
            let old = self.load_along(elem, from, step);
            let element = self.values[fold.value as usize];
            let op = fold.op.instr(fold.kind);
            let new = match fold.kind {
                Kind::I64 => self.wide(op, &[old, element]),
                Kind::F32 | Kind::I32 | Kind::Mask => self.lift(&[old, element], |e, x| e.vector_operation(op, x)),
            };
            self.store_along(elem, to, step, new);
        }
        self.cols.pop();
        shape.partials.iter().map(|(fold, _)| self.values[fold.value as usize]).collect()
    }

    /// A block of a line whose extent is no known multiple of sixteen.
    fn block_or_part(&mut self, shape: &Shape<'a>, first: Value, extent: Num) {
        let extent = self.materialise(extent);
        let left = self.b.ins().isub(extent, first);
        let full = self.b.ins().icmp_imm_s(IntCC::SignedGreaterThanOrEqual, left, LANES as i64);
        let [part, body] = [self.b.create_block(), self.b.create_block()];
        self.b.set_cold_block(part);
        let whole = self.whole_places(first);
        self.b.ins().brif(full, body, &block_args(&whole), part, []);
        self.enter(part);
        self.copy(first, left, true);
        let places = self.part_places();
        self.b.ins().jump(body, &block_args(&places));
        self.take_places(body);
        self.enter(body);
        self.live = Live::Code { left, full };
        let folded = self.at_block(shape, first);
        let mut elements = vec![];
        for ((_, partials), lanes) in shape.partials.iter().zip(folded) {
            elements.extend((0..partials.len()).map(|q| self.quad(lanes, q)));
        }
        if !elements.is_empty() || self.streams.iter().any(|stream| stream.written) {
            self.after_part(shape, first, left, full, &mut elements);
        }
        self.begin_block(&shape.totals, &shape.partials);
        let mut elements = elements.into_iter();
        for (fold, partials) in &shape.partials {
            for (partial, element) in partials.iter().zip(&mut elements) {
                self.accumulate(fold, *partial, element);
            }
        }
    }

    /// After a part of a block: copies back what it stored, and leaves out of the folds what is not there.
    fn after_part(&mut self, shape: &Shape<'a>, first: Value, left: Value, full: Value, elements: &mut [Value]) {
        let [part, join] = [self.b.create_block(), self.b.create_block()];
        self.b.set_cold_block(part);
        self.b.ins().brif(full, join, &block_args(elements), part, []);
        self.enter(part);
        self.copy(first, left, false);
        let mut masked = vec![];
        let left = self.splat_index(left);
        let mut rest = elements.iter();
        for (fold, partials) in &shape.partials {
            for (q, element) in (0..partials.len()).zip(&mut rest) {
                let wide = fold.kind == Kind::I64;
                let numbers = self.lane_numbers(if wide { q / 2 } else { q });
                let mut there = self.b.ins().icmp(IntCC::SignedLessThan, numbers, left);
                if wide {
                    there = self.widened_mask(there)[q % 2];
                }
                masked.push(self.or_neutral(fold, there, *element));
            }
        }
        self.b.ins().jump(join, &block_args(&masked));
        for element in elements {
            let ty = self.b.func.dfg.value_type(*element);
            *element = self.b.append_block_param(join, ty);
        }
        self.enter(join);
    }

    /// Where the streams are in a whole block: the address, and the step if it is not that of neighbours.
    fn whole_places(&mut self, first: Value) -> Vec<Value> {
        let mut places = vec![];
        for stream in 0..self.streams.len() {
            places.push(self.block_address(stream, first));
            if !self.streams[stream].neighbours() {
                places.push(self.materialise(self.streams[stream].step));
            }
        }
        places
    }

    /// Where the streams are in a part: on the stack, as neighbours.
    fn part_places(&mut self) -> Vec<Value> {
        let mut places = vec![];
        for stream in 0..self.streams.len() {
            let slot = self.stream_slot(stream);
            places.push(self.b.ins().stack_addr(I64, slot, 0));
            if !self.streams[stream].neighbours() {
                places.push(self.b.ins().iconst(I64, self.streams[stream].elem.bytes() as i64));
            }
        }
        places
    }

    /// Makes the places the parameters of the body.
    fn take_places(&mut self, body: Block) {
        for stream in &mut self.streams {
            stream.now = self.b.append_block_param(body, I64);
            stream.now_step = if stream.neighbours() {
                Num::Known(stream.elem.bytes() as i64)
            } else {
                Num::Code(self.b.append_block_param(body, I64))
            };
        }
    }

    fn stream_slot(&mut self, stream: usize) -> StackSlot {
        let slot = match self.streams[stream] {
            Stream { slot: Some(slot), .. } => slot,
            Stream { written: true, elem, .. } => self.slot(lane_bytes(elem)),
            Stream { written: false, elem, .. } => self.zeroed_slot(lane_bytes(elem)),
        };
        self.streams[stream].slot = Some(slot);
        slot
    }

    /// Copies the elements of a part to the stack, or back.
    fn copy(&mut self, first: Value, left: Value, inwards: bool) {
        let chosen: Vec<usize> = (0..self.streams.len()).filter(|i| self.streams[*i].written != inwards).collect();
        if chosen.is_empty() {
            return;
        }
        let mut places = vec![];
        for stream in &chosen {
            let there = self.block_address(*stream, first);
            let slot = self.stream_slot(*stream);
            places.push((there, self.b.ins().stack_addr(I64, slot, 0)));
        }
        self.count_some(Num::Code(left), 1, &mut |e, lane| {
            for (stream, (there, here)) in chosen.iter().zip(&places) {
                let Stream { elem, step, .. } = e.streams[*stream];
                let [there, here] = [(there, step), (here, Num::Known(elem.bytes() as i64))].map(|(address, step)| {
                    let offset = e.mul(Num::Code(lane), step);
                    let place = e.add(Num::Code(*address), offset);
                    e.materialise(place)
                });
                let (from, to) = if inwards { (there, here) } else { (here, there) };
                let element = e.load_element(elem, from, 0);
                e.store_element(elem, element, to, 0);
            }
        });
    }
}

/// The bytes of a lane in memory for a part of a block: at least those of a word.
fn lane_bytes(elem: Elem) -> usize {
    elem.bytes().max(4)
}

/// How a fold's results are kept.
fn elem_of(kind: Kind) -> Elem {
    match kind {
        Kind::F32 => Elem::F32,
        Kind::I32 | Kind::Mask => Elem::I32,
        Kind::I64 => Elem::I64,
    }
}

impl Stream<'_> {
    /// Whether its elements lie side by side.
    fn neighbours(&self) -> bool {
        matches!(self.step, Num::Known(bytes) if bytes == self.elem.bytes() as i64)
    }
}
