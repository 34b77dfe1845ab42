//! Runs a plan's entry step by step on the reference evaluator of kernels: what the plan means, without the runtime.

use dlc_compiler::back::reference::{self, Buf, Memory};
use dlc_compiler::program::interp::Tensor;
use dlc_plan::chunks::panel_height;
use dlc_plan::kernel::{Elem, Kind, Total};
use dlc_plan::plan::{BufId, Call, Entry, Gemm, Matrix, Panels, Place, RowOp, Step};
use dlc_plan::{HostState, Plan, Size};
use std::collections::HashMap;

/// The memory of an entry that is being run.
struct Run<'a> {
    plan: &'a Plan,
    entry: &'a Entry,
    dims: Vec<i64>,
    host: &'a HostState,
    /// Elements as bits, for each buffer that is memory of its own, and for each store.
    memory: HashMap<Owner, Vec<u64>>,
    rows: Vec<usize>,
    watch: &'a Watch<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Owner {
    Buffer(BufId),
    Store(dlc_plan::plan::Store),
}

/// Sees each call of a kernel: the plan's kernel, the memory before and after, and how many rows there are.
pub type Watch<'a> = dyn Fn(usize, &Memory, &Memory, u64) + 'a;

/// The outputs of an entry for inputs in the order of its ports.
pub fn run(plan: &Plan, name: &str, inputs: &[Tensor], host: &HostState) -> Vec<Tensor> {
    run_watched(plan, name, inputs, &[], host, &|_, _, _, _| {})
}

/// The same with weights, in the order of the plan's; `watch` sees what each kernel does.
pub fn run_watched(
    plan: &Plan,
    name: &str,
    inputs: &[Tensor],
    weights: &[Tensor],
    host: &HostState,
    watch: &Watch,
) -> Vec<Tensor> {
    let entry = plan.entries.iter().find(|e| e.name == name).expect("the entry exists");
    let mut dims = vec![0; plan.dims.len()];
    for (p, t) in entry.inputs.iter().zip(inputs) {
        for (s, n) in p.shape.iter().zip(&t.shape) {
            for (d, dim) in dims.iter_mut().enumerate() {
                if *s == Size::dim(d as u16) {
                    *dim = *n as i64;
                }
            }
        }
    }
    let mut r = Run { plan, entry, dims, host, memory: HashMap::new(), rows: Vec::new(), watch };
    r.keep(weights);
    for (p, t) in entry.inputs.iter().zip(inputs) {
        let elem = entry.buffers[p.buffer as usize].elem;
        let bits = |(x, n): (&f64, i64)| if elem == Elem::F32 { (*x as f32).to_bits().into() } else { n as u64 };
        r.write(p.buffer, &t.data.iter().zip(t.integers()).map(bits).collect::<Vec<_>>());
    }
    for s in &entry.steps {
        r.step(s);
    }
    let output = |p: &dlc_plan::plan::Port| {
        let elem = entry.buffers[p.buffer as usize].elem;
        let shape: Vec<usize> = p.shape.iter().map(|s| s.eval(&r.dims) as usize).collect();
        let bits = r.read(p.buffer);
        if elem == Elem::F32 {
            return Tensor::new(shape, bits.iter().map(|b| f32::from_bits(*b as u32).into()).collect::<Vec<f64>>());
        }
        Tensor::whole(shape, bits.iter().map(|b| signed(elem, *b)).collect())
    };
    entry.outputs.iter().map(output).collect()
}

impl Run<'_> {
    /// Puts weights where their stores keep them.
    fn keep(&mut self, weights: &[Tensor]) {
        for (weight, tensor) in self.plan.weights.iter().zip(weights) {
            let real = weight.dtype.is_float();
            let all = tensor.data.iter().zip(tensor.integers());
            let bits = all.map(|(x, n)| if real { (*x as f32).to_bits().into() } else { n as u64 });
            let kept = self.memory.entry(Owner::Store(weight.store)).or_default();
            kept.resize(kept.len().max(weight.offset + weight.len()), 0);
            kept.splice(weight.offset..weight.offset + weight.len(), bits);
        }
    }

    fn size(&self, s: &Size) -> i64 {
        s.eval(&self.dims)
    }

    fn find(&self, b: BufId) -> (Owner, usize) {
        let buffer = &self.entry.buffers[b as usize];
        match &buffer.place {
            Place::Arena { .. } | Place::Local { .. } => (Owner::Buffer(b), 0),
            Place::Weight { store, weight } => {
                (Owner::Store(*store), self.plan.kept(*store, *weight as usize).unwrap().0)
            }
            Place::Store(s) => (Owner::Store(*s), 0),
            Place::Part { of, offset } | Place::Piece { of, offset } => {
                let (owner, at) = self.find(*of);
                (owner, at + self.size(offset) as usize)
            }
            Place::Slot { of, stride, depth, ahead, slots } => {
                let (owner, at) = self.find(*of);
                let slot = (self.rows[*depth as usize] + *ahead as usize) % *slots as usize;
                (owner, at + slot * self.size(stride) as usize)
            }
            Place::Row { depth, cells } => self.find(cells[self.rows[*depth as usize]]),
        }
    }

    fn len(&self, b: BufId) -> usize {
        self.size(&self.entry.buffers[b as usize].len) as usize
    }

    fn read(&self, b: BufId) -> Vec<u64> {
        let (owner, at) = self.find(b);
        let len = self.len(b);
        let mut bits = self.memory.get(&owner).map_or(Vec::new(), |m| m[at.min(m.len())..].to_vec());
        bits.resize(len, 0);
        bits
    }

    fn write(&mut self, b: BufId, bits: &[u64]) {
        let (owner, at) = self.find(b);
        let m = self.memory.entry(owner).or_default();
        if m.len() < at + bits.len() {
            m.resize(at + bits.len(), 0);
        }
        m[at..at + bits.len()].copy_from_slice(bits);
    }

    fn step(&mut self, s: &Step) {
        match s {
            Step::Kernel(c) => self.call(c),
            Step::Gemm(g) => self.gemm(g),
            Step::Copy { from, to } => {
                let bits = self.read(*from);
                self.write(*to, &bits);
            }
            Step::Scatter { ids, count, from, to, rows, width } => {
                let [count, rows, width] = [count, rows, width].map(|s| self.size(s) as usize);
                let (ids, from) = (self.read(*ids), self.read(*from));
                let mut sum = vec![0f32; rows * width];
                // A row that is not there is the nearest one that is.
                for p in 0..if rows == 0 { 0 } else { count } {
                    let row = (ids[p] as i32).clamp(0, rows as i32 - 1) as usize;
                    for w in 0..width {
                        sum[row * width + w] += f32::from_bits(from[p * width + w] as u32);
                    }
                }
                self.write(*to, &sum.iter().map(|x| x.to_bits().into()).collect::<Vec<_>>());
            }
            Step::Rows { op, from, to, rows, len, keep } => {
                let [rows, len, keep] = [rows, len, keep].map(|s| self.size(s) as usize);
                let elem = self.entry.buffers[*from as usize].elem;
                let (read, mut out) = (self.read(*from), Vec::new());
                for row in read.chunks(len.max(1)).take(rows) {
                    let whole: Vec<i64> = row.iter().map(|x| signed(elem, *x)).collect();
                    let row: Vec<f32> = row.iter().map(|x| f32::from_bits(*x as u32)).collect();
                    let compare = |a: u32, b: u32| match elem {
                        Elem::F32 => row[a as usize].total_cmp(&row[b as usize]),
                        Elem::I32 | Elem::I64 | Elem::U8 => whole[a as usize].cmp(&whole[b as usize]),
                    };
                    match op {
                        RowOp::RunningSum if elem != Elem::F32 => {
                            let sums = whole.iter().scan(0i64, |sum, x| {
                                *sum = sum.wrapping_add(*x);
                                Some(*sum as u64)
                            });
                            out.extend(sums);
                        }
                        RowOp::RunningSum => {
                            let sums = (0..len).map(|i| row[..=i].iter().fold(0f32, |sum, x| sum + x));
                            out.extend(sums.map(|x| u64::from(x.to_bits())));
                        }
                        RowOp::Order { descending } => {
                            let mut places: Vec<u32> = (0..len as u32).collect();
                            places.sort_by(|a, b| compare(*a, *b));
                            if *descending {
                                places.sort_by(|a, b| compare(*b, *a));
                            }
                            out.extend(places[..keep].iter().map(|at| u64::from(*at)));
                        }
                    }
                }
                self.write(*to, &out);
            }
            Step::Repeat(r) => {
                for i in 0..r.count as usize {
                    self.rows.push(if r.reverse { r.count as usize - 1 - i } else { i });
                    r.steps.iter().for_each(|s| self.step(s));
                    self.rows.pop();
                }
            }
            Step::Panels(k) => self.panels(k),
        }
    }

    fn panels(&mut self, k: &Panels) {
        for b in &k.zero {
            self.write(*b, &vec![0; self.len(*b)]);
        }
        let cuts: Vec<usize> = k.cuts.iter().map(|s| self.size(s) as usize).collect();
        let height = panel_height(cuts[0] as u64, self.size(&k.width) as u64) as usize;
        let first = usize::from(k.first);
        for point in 0..cuts[1..].iter().product::<usize>() {
            let mut rest = point;
            for (c, extent) in cuts.iter().enumerate().skip(1).rev() {
                self.dims[first + 1 + c] = (rest % extent) as i64;
                rest /= extent;
            }
            for row in (0..cuts[0]).step_by(height) {
                self.dims[first] = height.min(cuts[0] - row) as i64;
                self.dims[first + 1] = row as i64;
                k.steps.iter().for_each(|s| self.step(s));
            }
        }
    }

    fn call(&mut self, c: &Call) {
        let k = &self.plan.kernels[c.kernel as usize];
        let bufs = c.bufs.iter().zip(&k.bufs).map(|(b, ty)| match ty.elem {
            Elem::F32 | Elem::I32 => Buf::Words(self.read(*b).iter().map(|x| *x as u32).collect()),
            Elem::I64 => Buf::Longs(self.read(*b)),
            Elem::U8 => Buf::Bytes(self.read(*b).iter().map(|x| *x as u8).collect()),
        });
        let uniform = |(kind, h): &(Kind, dlc_plan::Host)| {
            let x = h.eval(self.host, &self.dims, &self.rows, 0);
            if *kind == Kind::F32 { (x as f32).to_bits() } else { x as i64 as u32 }
        };
        let folds = c.folds.iter().map(|f| {
            let len = self.size(&f.len) as usize * f.op.parts(f.kind);
            match f.kind {
                Kind::I64 => Buf::Longs(vec![f.op.start(f.kind); len]),
                _ => Buf::Words(vec![f.op.start(f.kind) as u32; len]),
            }
        });
        let mut memory = Memory {
            bufs: bufs.collect(),
            uniforms: c.uniforms.iter().map(uniform).collect(),
            exts: c.exts.iter().map(|s| self.size(s)).collect(),
            folds: folds.collect(),
        };
        let (before, rows) = (memory.clone(), self.size(&c.rows) as u64);
        reference::run(k, &mut memory, 0..rows);
        (self.watch)(c.kernel as usize, &before, &memory, rows);
        for ((b, ty), buf) in c.bufs.iter().zip(&k.bufs).zip(&memory.bufs) {
            if ty.written {
                self.write(*b, &bits_of(buf));
            }
        }
        for (f, buf) in c.folds.iter().zip(&memory.folds) {
            let bits = bits_of(buf);
            let part = |part: usize, i: usize| f32::from_bits(bits[part * bits.len() / 3 + i] as u32);
            let total = |i: usize| u64::from(Total { high: part(1, i), low: part(2, i) }.value().to_bits());
            match f.op.is_long(f.kind) {
                true => self.write(f.to, &(0..bits.len() / 3).map(total).collect::<Vec<_>>()),
                false => self.write(f.to, &bits),
            }
        }
    }

    fn gemm(&mut self, g: &Gemm) {
        let batch: Vec<i64> = g.batch.iter().map(|s| self.size(s)).collect();
        let mut c = self.read(g.c.buf);
        let points: i64 = batch.iter().product();
        for p in 0..points {
            let mut rest = p;
            let mut at = vec![0; batch.len()];
            for (i, n) in batch.iter().enumerate().rev() {
                at[i] = rest % n;
                rest /= n;
            }
            self.product(g, &at, &mut c);
        }
        self.write(g.c.buf, &c);
        if let Some(call) = &g.then {
            self.call(call);
        }
    }

    fn product(&self, g: &Gemm, batch: &[i64], c: &mut [u64]) {
        let start = |m: &Matrix| -> i64 {
            self.size(&m.offset) + m.batch.iter().zip(batch).map(|(s, i)| self.size(s) * i).sum::<i64>()
        };
        let walk = |outer: &Size, inner: &[(Size, Size)], index: i64| {
            let (mut rest, mut at) = (index, 0);
            for (n, stride) in inner.iter().rev() {
                at += rest % self.size(n) * self.size(stride);
                rest /= self.size(n);
            }
            at + rest * self.size(outer)
        };
        let row = |m: &Matrix, i: i64| walk(&m.row, &m.rows, i);
        let col = |m: &Matrix, i: i64| walk(&m.col, &m.cols, i);
        let (m, n) = (self.size(&g.m), self.size(&g.n));
        let c0 = start(&g.c);
        let terms: Vec<_> = g.terms.iter().map(|t| (self.read(t.a.buf), self.read(t.b.buf), t)).collect();
        for i in 0..m {
            for j in 0..n {
                let to = (c0 + row(&g.c, i) + col(&g.c, j)) as usize;
                let mut sum = if g.accumulate { f64::from(f32::from_bits(c[to] as u32)) } else { 0.0 };
                for (a, b, t) in &terms {
                    for k in 0..self.size(&t.k) {
                        let x = f32::from_bits(a[(start(&t.a) + row(&t.a, i) + col(&t.a, k)) as usize] as u32);
                        let y = f32::from_bits(b[(start(&t.b) + row(&t.b, k) + col(&t.b, j)) as usize] as u32);
                        sum += f64::from(x) * f64::from(y);
                    }
                }
                c[to] = (sum as f32).to_bits().into();
            }
        }
    }
}

/// The elements of a buffer by their bits.
fn bits_of(buf: &Buf) -> Vec<u64> {
    match buf {
        Buf::Words(w) => w.iter().map(|x| u64::from(*x)).collect(),
        Buf::Longs(w) => w.clone(),
        Buf::Bytes(w) => w.iter().map(|x| u64::from(*x)).collect(),
    }
}

/// An integer by its bits.
fn signed(elem: Elem, bits: u64) -> i64 {
    match elem {
        Elem::F32 | Elem::I32 => (bits as u32 as i32).into(),
        Elem::I64 => bits as i64,
        Elem::U8 => (bits as u8).into(),
    }
}
