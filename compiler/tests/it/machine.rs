//! Runs a plan as machine code on the engine, on one thread, two and three: the interpreter's numbers, and the same bits.

use dlc_compiler::back::clif;
use dlc_compiler::program::interp::Tensor;
use dlc_plan::{DType, HostState, Plan};
use dlc_runtime::pool::Pool;
use dlc_runtime::tensor::Tensor as Given;
use dlc_runtime::{Engine, ValidPlan};
use std::sync::Arc;

fn given(dtype: DType, t: &Tensor) -> Given {
    match dtype {
        DType::I64 => Given::from_i64(t.shape.clone(), t.data.iter().map(|x| *x as i64).collect()).unwrap(),
        DType::Bool => Given::from_bool(t.shape.clone(), t.data.iter().map(|x| *x != 0.0).collect()).unwrap(),
        _ => Given::from_f32(t.shape.clone(), t.data.iter().map(|x| *x as f32).collect()).unwrap(),
    }
}

/// The engine of a plan in machine code, on so many threads.
pub fn engine(plan: &Plan, threads: usize) -> Engine {
    let [engine] = engines(plan, [threads]);
    engine
}

/// Engines of a plan on so many threads each, all with the same machine code.
pub fn engines<const N: usize>(plan: &Plan, threads: [usize; N]) -> [Engine; N] {
    let code = clif::compile(&plan.kernels).unwrap().share();
    let plan = ValidPlan::new(plan.clone()).unwrap();
    threads.map(|threads| Engine::with_pool(plan.clone(), code.clone().into(), Arc::new(Pool::new(threads))).unwrap())
}

/// The outputs of an entry for inputs in the order of its ports.
pub fn outputs(engine: &mut Engine, entry: &str, inputs: &[Tensor], host: &HostState) -> Vec<Given> {
    let plan = engine.plan().clone();
    let ports = &plan.entries.iter().find(|e| e.name == entry).unwrap().inputs;
    let tensors: Vec<Given> = ports.iter().zip(inputs).map(|(p, t)| given(p.dtype, t)).collect();
    let named: Vec<(&str, &Given)> = ports.iter().map(|p| p.name.as_str()).zip(&tensors).collect();
    engine.run(entry, host, &named).unwrap().into_iter().map(|(_, t)| t).collect()
}

/// The outputs of an entry, as the interpreter gives them.
pub fn run_entry(engine: &mut Engine, entry: &str, inputs: &[Tensor], host: &HostState) -> Vec<Tensor> {
    let number = |t: Given| -> Vec<f64> {
        match t.dtype() {
            dlc_runtime::tensor::DType::I64 => t.view::<i64>().unwrap().iter().map(|x| *x as f64).collect(),
            _ => t.to_f32_vec().iter().map(|x| f64::from(*x)).collect(),
        }
    };
    outputs(engine, entry, inputs, host).into_iter().map(|t| Tensor::new(t.shape().to_vec(), number(t))).collect()
}

/// Compares with what is expected, and the bits of one, two and three threads.
pub fn check(plan: &Plan, inputs: &[Tensor], host: &HostState, expected: &[Tensor]) {
    let [mut one, two, three] = engines(plan, [1, 2, 3]);
    let one = outputs(&mut one, "forward", inputs, host);
    for (threads, mut engine) in [(2, two), (3, three)] {
        let more = outputs(&mut engine, "forward", inputs, host);
        assert!(one.iter().zip(&more).all(|(a, b)| a.bytes() == b.bytes()), "{threads} threads give other bits");
    }
    for (i, (e, f)) in expected.iter().zip(&one).enumerate() {
        assert_eq!(e.shape, f.shape());
        let found = f.to_f32_vec();
        let norm = e.data.iter().map(|x| x * x).sum::<f64>().sqrt();
        let off = e.data.iter().zip(&found).map(|(a, b)| (a - f64::from(*b)).powi(2)).sum::<f64>().sqrt();
        assert!(off <= 2e-6 * norm.max(1e-6), "machine code gives {found:?}, not {:?}, for result {i}\n{plan}", e.data);
    }
}
