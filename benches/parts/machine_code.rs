//! How long kernels take to compile, and to run: takes nothing, prints one line a kernel, in microseconds and in
//! nanoseconds an element, the best of many runs on data that lies in the cache.
//!
//! `cargo bench -p dlc-benches --bench machine_code [NAME]`; with `--clif` it also prints the code.

use std::time::{Duration, Instant};

use dlc_compiler::back::clif;
use dlc_compiler::back::reference::{self, Buf, Memory};
use dlc_compiler::plan::plan;
use dlc_compiler::program::build::Builder;
use dlc_compiler::program::verify::verify;
use dlc_compiler::program::{Entry, FnId, Op, Program, ReduceOp, Role, Ty, Value};
use dlc_plan::kernel::{Kernel, Kind};
use dlc_plan::plan::{Call, Step};
use dlc_plan::{DType, Prim, Size};

const BATCH: i64 = 64;

/// The kernels of a function of f32 parameters; the first axis of those with two is the batch.
fn kernels(shapes: &[&[i64]], build: impl FnOnce(&mut Builder, &[Value]) -> Vec<Value>) -> (Vec<Kernel>, Vec<Call>) {
    let mut b = Builder::new("f");
    let params: Vec<Value> = shapes
        .iter()
        .enumerate()
        .map(|(i, shape)| {
            let mut shape: Vec<Size> = shape.iter().map(|n| Size::from(*n)).collect();
            if shape.len() == 2 {
                shape[0] = Size::dim(0);
            }
            b.param(format!("x{i}"), Ty { dtype: DType::F32, shape })
        })
        .collect();
    let results = build(&mut b, &params);
    let named = |n: usize| (0..n).map(|i| Role::Named(format!("v{i}"))).collect::<Vec<_>>();
    let (inputs, outputs) = (named(params.len()), named(results.len()));
    let mut p = Program { dims: vec!["B".into()], ..Program::default() };
    p.add(b.finish(results));
    p.entries.push(Entry {
        name: "forward".into(),
        function: FnId(0),
        inputs,
        outputs,
        guards: vec![],
        defaults: vec![],
    });
    let facts = verify(&p).expect("what the builder made is well formed");
    let plan = plan(&p, &facts);
    let calls = plan.entries[0].steps.iter().filter_map(|step| match step {
        Step::Kernel(call) => Some(call.clone()),
        Step::Gemm(_)
        | Step::Copy { .. }
        | Step::Scatter { .. }
        | Step::Rows { .. }
        | Step::Repeat(_)
        | Step::Panels(_) => None,
    });
    (plan.kernels.clone(), calls.collect())
}

fn gelu(b: &mut Builder, x: Value) -> Value {
    let square = b.map(Prim::Mul, &[x, x]);
    let cube = b.map(Prim::Mul, &[square, x]);
    let cube = b.with_number(Prim::Mul, cube, 0.044715);
    let inner = b.map(Prim::Add, &[x, cube]);
    let inner = b.with_number(Prim::Mul, inner, 0.797_884_560_802_865_4);
    let t = b.map(Prim::Tanh, &[inner]);
    let t = b.with_number(Prim::Add, t, 1.0);
    let half = b.with_number(Prim::Mul, x, 0.5);
    b.map(Prim::Mul, &[half, t])
}

fn softmax(b: &mut Builder, x: Value) -> Value {
    let top = b.reduce_keep(ReduceOp::Max, x, &[1]);
    let c = b.zip(Prim::Sub, &[x, top]);
    let e = b.map(Prim::Exp, &[c]);
    let sum = b.reduce_keep(ReduceOp::Sum, e, &[1]);
    b.zip(Prim::Div, &[e, sum])
}

fn layer_norm(b: &mut Builder, x: &[Value]) -> Value {
    let n = b.shape(x[0])[1].known().map_or(1.0, |n| n as f64);
    let mean = b.reduce_keep(ReduceOp::Sum, x[0], &[1]);
    let mean = b.with_number(Prim::Div, mean, n);
    let c = b.zip(Prim::Sub, &[x[0], mean]);
    let square = b.map(Prim::Mul, &[c, c]);
    let var = b.reduce_keep(ReduceOp::Sum, square, &[1]);
    let var = b.with_number(Prim::Div, var, n);
    let var = b.with_number(Prim::Add, var, 1e-5);
    let r = b.map(Prim::Rsqrt, &[var]);
    let y = b.zip(Prim::Mul, &[c, r]);
    let y = b.zip(Prim::Mul, &[y, x[1]]);
    b.zip(Prim::Add, &[y, x[2]])
}

fn dropout(b: &mut Builder, x: Value) -> Value {
    let site = b.constant(DType::I32, 12345.0);
    let ty = b.ty(x).clone();
    let u = b.node(Op::Random, vec![site], ty.clone());
    let p = b.full(DType::F32, 0.1, &ty.shape);
    let keep = b.map(Prim::Le, &[p, u]);
    let scaled = b.with_number(Prim::Mul, x, 1.0 / 0.9);
    let zero = b.full(DType::F32, 0.0, &ty.shape);
    b.map(Prim::Where, &[keep, scaled, zero])
}

/// Weight, gradient and two moments.
fn adamw(b: &mut Builder, x: &[Value]) -> Vec<Value> {
    let scaled = |b: &mut Builder, v: Value, by: f64| b.with_number(Prim::Mul, v, by);
    let (kept, new) = (scaled(b, x[2], 0.9), scaled(b, x[1], 0.1));
    let m = b.map(Prim::Add, &[kept, new]);
    let square = b.map(Prim::Mul, &[x[1], x[1]]);
    let (kept, new) = (scaled(b, x[3], 0.999), scaled(b, square, 0.001));
    let v = b.map(Prim::Add, &[kept, new]);
    let (m_hat, v_hat) = (scaled(b, m, 1.0 / 0.1), scaled(b, v, 1.0 / 0.001));
    let root = b.map(Prim::Sqrt, &[v_hat]);
    let root = b.with_number(Prim::Add, root, 1e-8);
    let step = b.map(Prim::Div, &[m_hat, root]);
    let decay = scaled(b, x[0], 0.01);
    let step = b.map(Prim::Add, &[step, decay]);
    let step = scaled(b, step, 1e-3);
    vec![b.map(Prim::Sub, &[x[0], step]), m, v]
}

/// What a call of a kernel needs, as far as times go: batch, one-filled buffers.
fn memory(kernel: &Kernel, call: &Call, len: usize) -> (Memory, u64) {
    let mut memory = reference::memory(kernel, len, len);
    for buf in &mut memory.bufs {
        if let Buf::Words(words) = buf {
            for (i, word) in words.iter_mut().enumerate() {
                *word = (((i * 7919) % 1000) as f32 / 300.0 - 1.5).to_bits();
            }
        }
    }
    for (uniform, kind) in memory.uniforms.iter_mut().zip(&kernel.uniforms) {
        *uniform = if *kind == Kind::F32 { 0.5f32.to_bits() } else { 3 };
    }
    memory.exts = call.exts.iter().map(|ext| ext.eval(&[BATCH])).collect();
    (memory, call.rows.eval(&[BATCH]) as u64)
}

fn best(runs: u32, mut run: impl FnMut()) -> Duration {
    let times = (0..runs).map(|_| {
        let start = Instant::now();
        run();
        start.elapsed()
    });
    times.min().unwrap_or_default()
}

fn report(name: &str, elements: usize, (kernels, calls): (Vec<Kernel>, Vec<Call>), show: bool) {
    let compile = best(20, || drop(clif::compile(&kernels).expect("the kernels compile")));
    let code = clif::compile(&kernels).expect("the kernels compile");
    for call in &calls {
        let number = call.kernel as usize;
        let kernel = &kernels[number];
        let (mut memory, rows) = memory(kernel, call, elements.max(4096) + 64);
        // SAFETY: the code is alive and the memory is made for its kernel; no element is beyond `elements`.
        let run = best(2000, || unsafe { memory.call(kernel, code.function(number), 0..rows) });
        let ops = kernel.phases.iter().map(|phase| phase.defs.len()).sum::<usize>() + kernel.setup.len();
        let each = run.as_nanos() as f64 / elements as f64;
        let (us, bytes) = (compile.as_micros(), code.size());
        println!("{name:<16} {ops:>4} values {bytes:>6} bytes, compiled in {us:>5} us, {each:>6.2} ns an element");
        if show {
            println!("{kernel}\n{}", clif::clif_text(kernel));
        }
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let show = args.iter().any(|arg| arg == "--clif");
    let only = args.iter().find(|arg| !arg.starts_with("--"));
    let run = |name: &str, shapes: &[&[i64]], build: &dyn Fn(&mut Builder, &[Value]) -> Vec<Value>| {
        if only.is_none_or(|only| name.contains(only.as_str())) {
            let elements = shapes[0].iter().product::<i64>() as usize;
            report(name, elements, kernels(shapes, |b, x| build(b, x)), show);
        }
    };
    let matrix: &[i64] = &[BATCH, 128];
    let odd: &[i64] = &[BATCH, 100];
    let logits: &[i64] = &[BATCH, 10];
    let flat: &[i64] = &[8192];
    run("gelu", &[matrix, &[128]], &|b, x| {
        let biased = b.zip(Prim::Add, &[x[0], x[1]]);
        vec![gelu(b, biased)]
    });
    run("gelu of 100", &[odd, &[100]], &|b, x| {
        let biased = b.zip(Prim::Add, &[x[0], x[1]]);
        vec![gelu(b, biased)]
    });
    run("add", &[matrix, matrix], &|b, x| vec![b.map(Prim::Add, &[x[0], x[1]])]);
    run("exp", &[matrix], &|b, x| vec![b.map(Prim::Exp, &[x[0]])]);
    run("log", &[matrix], &|b, x| vec![b.map(Prim::Log, &[x[0]])]);
    run("erf", &[matrix], &|b, x| vec![b.map(Prim::Erf, &[x[0]])]);
    run("sin", &[matrix], &|b, x| vec![b.map(Prim::Sin, &[x[0]])]);
    run("softmax", &[matrix], &|b, x| vec![softmax(b, x[0])]);
    run("softmax of 10", &[logits], &|b, x| vec![softmax(b, x[0])]);
    run("layer norm", &[matrix, &[128], &[128]], &|b, x| vec![layer_norm(b, x)]);
    run("sum of rows", &[matrix], &|b, x| vec![b.reduce(ReduceOp::Sum, x[0], &[0])]);
    run("transpose", &[matrix], &|b, x| {
        let turned = b.permute(x[0], &[1, 0]);
        vec![b.map(Prim::Neg, &[turned])]
    });
    run("dropout", &[matrix], &|b, x| vec![dropout(b, x[0])]);
    run("adamw", &[flat, flat, flat, flat], &adamw);
}
