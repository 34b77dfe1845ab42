//! Plans in the making: a draft numbers buffers and steps, and makes engines on pools of different sizes.

use crate::allocations;
use dlc_plan::kernel::{Elem, FoldOp, Kernel, KernelFn, Kind};
use dlc_plan::plan::{BufId, Buffer, Call, Entry, FoldTo, Matrix, Place, Port, Step, Store, Weight};
use dlc_plan::{DType, Host, HostState, MachineCode, Plan, Size};
use dlc_runtime::pool::Pool;
use dlc_runtime::{Engine, Kernels, Tensor, ValidPlan};
use std::sync::Arc;

/// A size that is known.
pub fn n(n: i64) -> Size {
    Size::from(n)
}

/// The first dynamic size.
pub fn b() -> Size {
    Size::dim(0)
}

/// Functions that do what these kernels say.
pub fn kernels(fns: &[KernelFn], of: &[Kernel]) -> Kernels {
    // SAFETY: each was written for its kernel, and is part of this program.
    unsafe { MachineCode::new(fns.to_vec(), of.into(), Arc::new(())) }.into()
}

/// A plan of one entry, `go`, with one dynamic size, `B`.
pub struct Draft {
    pub plan: Plan,
    pub entry: Entry,
    fns: Vec<KernelFn>,
}

impl Draft {
    pub fn new() -> Draft {
        let plan = Plan { dims: vec!["B".into()], ..Plan::default() };
        let entry = Entry { name: "go".into(), ..Entry::default() };
        Draft { plan, entry, fns: Vec::new() }
    }

    pub fn kernel(&mut self, (kernel, f): (Kernel, KernelFn)) -> u32 {
        self.plan.kernels.push(kernel);
        self.fns.push(f);
        self.fns.len() as u32 - 1
    }

    pub fn weight(&mut self, name: &str, shape: &[usize], store: Store) -> u32 {
        let dtype = if matches!(store, Store::Ints(_)) { DType::I64 } else { DType::F32 };
        let end = |w: &Weight| (w.offset + w.len()).next_multiple_of(16);
        let offset = self.plan.weights.iter().filter(|w| w.store == store).map(end).max().unwrap_or(0);
        let (name, shape) = (name.to_string(), shape.to_vec());
        self.plan.weights.push(Weight { name, aliases: vec![], shape, dtype, store, offset, unread: false });
        self.plan.weights.len() as u32 - 1
    }

    pub fn buffer(&mut self, elem: Elem, len: Size, place: Place) -> BufId {
        let note = format!("buffer {}", self.entry.buffers.len());
        self.entry.buffers.push(Buffer { elem, len, place, note });
        self.entry.buffers.len() as BufId - 1
    }

    /// A temporary buffer of f32.
    pub fn temp(&mut self, len: Size, first: u32, last: u32) -> BufId {
        self.buffer(Elem::F32, len, Place::Arena { first, last })
    }

    /// The buffer of a weight, or of what belongs to it in another store.
    pub fn stored(&mut self, store: Store, weight: u32) -> BufId {
        let w = &self.plan.weights[weight as usize];
        let elem = if matches!(store, Store::Ints(_)) { Elem::I64 } else { Elem::F32 };
        let len = n(w.len() as i64);
        self.buffer(elem, len, Place::Weight { store, weight })
    }

    fn port(&mut self, name: &str, dtype: DType, shape: &[Size], life: (u32, u32)) -> Port {
        let place = Place::Arena { first: life.0, last: life.1 };
        let buffer = self.buffer(Elem::of(dtype), Size::product(shape), place);
        Port { name: name.into(), dtype, shape: shape.to_vec(), buffer, limit: None, default: None }
    }

    /// An input that lives to step `last`.
    pub fn input(&mut self, name: &str, dtype: DType, shape: &[Size], last: u32) -> BufId {
        let port = self.port(name, dtype, shape, (0, last));
        self.entry.inputs.push(port);
        self.entry.inputs.last().expect("just pushed").buffer
    }

    /// An input of integers that are kept in 32 bits, as what numbers rows is.
    pub fn narrow_input(&mut self, name: &str, shape: &[Size], last: u32) -> BufId {
        let id = self.input(name, DType::I64, shape, last);
        self.entry.buffers[id as usize].elem = Elem::I32;
        id
    }

    /// An output that lives from step `first`.
    pub fn output(&mut self, name: &str, dtype: DType, shape: &[Size], first: u32) -> BufId {
        let port = self.port(name, dtype, shape, (first, 1000));
        self.entry.outputs.push(port);
        self.entry.outputs.last().expect("just pushed").buffer
    }

    pub fn step(&mut self, step: Step) {
        self.entry.steps.push(step);
    }

    pub fn finished(&self) -> Plan {
        let mut plan = self.plan.clone();
        plan.entries.push(self.entry.clone());
        plan
    }

    pub fn engine(&self, threads: usize) -> (Engine, Arc<Pool>) {
        self.engine_of(self.finished(), threads)
    }

    /// An engine of a plan with this draft's kernels.
    pub fn engine_of(&self, plan: Plan, threads: usize) -> (Engine, Arc<Pool>) {
        let pool = Arc::new(Pool::new(threads));
        let kernels = kernels(&self.fns, &plan.kernels);
        let plan = ValidPlan::new(plan).expect("the plan is sound");
        (Engine::with_pool(plan, kernels, Arc::clone(&pool)).expect("the kernels are the plan's"), pool)
    }

    /// The outputs of `go` for these weights and inputs, in order; checked to be the same bits on 1, 2 and 3 threads and
    /// in a second run, which must not allocate.
    pub fn run(&self, weights: &[(&str, &Tensor)], inputs: &[(&str, &Tensor)]) -> Vec<Tensor> {
        let state = HostState { step: 3, ..HostState::default() };
        let mut all = Vec::new();
        for threads in [1, 2, 3] {
            let (mut engine, pool) = self.engine(threads);
            for (name, value) in weights {
                engine.stores_mut().set_weight(name, value).expect("the weight fits");
            }
            let first = engine.run("go", &state, inputs).expect("the inputs fit");
            let outputs: Vec<Tensor> = first.into_iter().map(|(_, tensor)| tensor).collect();
            // Weights are set again: the entry may have changed them.
            for (name, value) in weights {
                engine.stores_mut().set_weight(name, value).expect("the weight fits");
            }
            let ordered: Vec<&Tensor> = inputs.iter().map(|(_, tensor)| *tensor).collect();
            let mut again = outputs.clone();
            let count = allocations::during(&pool, || {
                engine.run_into(0, &state, &ordered, &mut again).expect("the inputs fit");
            });
            assert_eq!(count, 0, "a second run on {threads} threads allocates");
            assert_eq!(again, outputs, "a second run on {threads} threads gives other bits");
            all.push(outputs);
        }
        assert_eq!(all[0], all[1], "two threads give other bits");
        assert_eq!(all[0], all[2], "three threads give other bits");
        all.swap_remove(0)
    }
}

/// A call of a kernel without folds.
pub fn call(kernel: u32, bufs: &[BufId], uniforms: &[(Kind, Host)], exts: &[Size], rows: Size) -> Call {
    let (bufs, uniforms, exts) = (bufs.to_vec(), uniforms.to_vec(), exts.to_vec());
    Call { kernel, bufs, uniforms, exts, rows, folds: vec![], segments: false }
}

pub fn fold(op: FoldOp, len: Size, partial: BufId, to: BufId) -> FoldTo {
    FoldTo { op, kind: Kind::F32, len, partial, to }
}

/// A matrix that fills its buffer, row after row.
pub fn matrix(buf: BufId, columns: Size) -> Matrix {
    Matrix { buf, offset: n(0), row: columns, col: n(1), rows: vec![], cols: vec![], batch: vec![] }
}

/// The transpose of a matrix that fills its buffer, row after row.
pub fn transposed(buf: BufId, columns: Size) -> Matrix {
    Matrix { buf, offset: n(0), row: n(1), col: columns, rows: vec![], cols: vec![], batch: vec![] }
}

/// Numbers between -1 and 1 that look random.
pub fn noise(seed: u32, shape: &[usize]) -> Tensor {
    let count = shape.iter().product::<usize>() as u32;
    let draw = |i: u32| dlc_plan::random::bits([seed, 7], 0, 0, i / 16, i % 16) as i32 as f32 / 2f32.powi(31);
    Tensor::from_f32(shape.to_vec(), (0..count).map(draw).collect()).expect("the shape fits")
}

pub fn numbers(tensor: &Tensor) -> &[f32] {
    tensor.as_f32().expect("a tensor of f32")
}

/// The largest difference, relative to the largest number.
pub fn difference(found: &[f32], expected: &[f64]) -> f64 {
    assert_eq!(found.len(), expected.len());
    let scale = expected.iter().fold(1e-30, |m: f64, x| m.max(x.abs()));
    found.iter().zip(expected).fold(0.0, |m: f64, (a, b)| m.max((f64::from(*a) - b).abs() / scale))
}
