//! Optimizers and schedules of the prelude against PyTorch's (tests/golden/make.py says what the tensors are): by the
//! interpreter in double precision, and by machine code.

use crate::check::cases::{self, Case};
use crate::lower::{Named, close, flat, one_weight, run, unflat, update};
use crate::support::spec::{self, Columns};
use dlc_compiler::pipeline::{Compiled, Goal};
use dlc_compiler::program::interp::Tensor;
use dlc_plan::HostState;

/// A training of the weights `a` and, where theta has rows, `b`: what stands in its text is the case's expression.
fn training(case: &Case, theta: &Tensor) -> Compiled {
    let n = theta.shape[theta.shape.len() - 1];
    let two = theta.shape.len() == 2;
    let (more, product) = if two { (format!("b: param [{n}] = zeros"), "x * a * b") } else { (String::new(), "x * a") };
    let model = format!("model M()(x: [B, {n}]) -> y: [B, {n}] {{ a: param [{n}] = zeros  {more}  return {product} }}");
    let train = format!("model = M()  loss = mean(y)  epochs = 1  optimizer = {}", case.expression);
    let text = format!("{model}\ntrain t {{ {train} }}");
    spec::compile(&text, Goal::Train { item: None }, &[], &mut Columns(vec![]), &mut |_, _| {})
        .unwrap_or_else(|f| panic!("{}: {}", case.name, spec::shown(&f).join("\n")))
}

/// The weights of a row each, by name.
fn weights(rows: &[f64], n: usize) -> Named {
    let named = ["a", "b"].iter().zip(rows.chunks(n));
    named.map(|(name, row)| (name.to_string(), Tensor::new([n], row))).collect()
}

/// Theta after each step, end to end.
type Path = Vec<f64>;

/// By the interpreter.
fn interpreted(c: &Compiled, theta: &Tensor, grads: &[&[f64]]) -> Path {
    let n = theta.shape[theta.shape.len() - 1];
    let len = c.program.segments().1;
    let mut weights_now = weights(&theta.data, n);
    let mut states: Named =
        (0..c.program.states.len()).map(|k| (format!("state {k}"), Tensor::new([len], vec![0.0; len]))).collect();
    states.extend(run(c, "init", &HostState::default(), &Named::new()).into_iter().filter(|(k, _)| k.contains(' ')));
    let mut path = Vec::new();
    for (step, grad) in grads.iter().enumerate() {
        let host = HostState { step: step as u64, steps: grads.len() as u64, ..HostState::default() };
        let mut given = states.clone();
        given.insert("trained".into(), flat(c, &weights_now, ""));
        given.insert("grads".into(), flat(c, &weights(grad, n), ""));
        let mut after = run(c, "update", &host, &given);
        unflat(c, &after.remove("trained").unwrap(), &mut weights_now);
        states.extend(after);
        ["a", "b"].iter().filter_map(|name| weights_now.get(*name)).for_each(|t| path.extend(&t.data));
    }
    path
}

/// By machine code.
#[cfg(feature = "jit")]
fn computed(c: &Compiled, theta: &Tensor, grads: &[&[f64]]) -> Path {
    use dlc_plan::plan::Store;
    use dlc_runtime::tensor::Tensor as Given;
    let n = theta.shape[theta.shape.len() - 1];
    let given = |t: &Tensor| Given::from_f32(t.shape.clone(), t.data.iter().map(|x| *x as f32).collect()).unwrap();
    let mut engine = crate::machine::engine(&c.plan, 1);
    engine.run("init", &HostState::default(), &[]).unwrap();
    for (name, t) in weights(&theta.data, n) {
        engine.stores_mut().set_weight(&name, &given(&t)).unwrap();
    }
    let mut path = Vec::new();
    for (step, grad) in grads.iter().enumerate() {
        let host = HostState { step: step as u64, steps: grads.len() as u64, ..HostState::default() };
        for (name, t) in weights(grad, n) {
            engine.stores_mut().set_kept(Store::Grads, &name, &given(&t)).unwrap();
        }
        engine.run("update", &host, &[]).unwrap();
        for (name, _) in theta.data.chunks(n).zip(["a", "b"]).map(|(_, name)| (name, ())) {
            let t = engine.stores().weight(name).unwrap();
            path.extend(t.to_f32_vec().iter().map(|x| f64::from(*x)));
        }
    }
    path
}

#[cfg(not(feature = "jit"))]
fn computed(c: &Compiled, theta: &Tensor, grads: &[&[f64]]) -> Path {
    interpreted(c, theta, grads)
}

#[test]
fn optimizers_are_pytorchs() {
    let mut seen = 0;
    for case in cases::all() {
        let (Some(theta), Some(grads), Some(y)) = (case.get("theta"), case.get("grad"), case.get("y")) else {
            continue;
        };
        seen += 1;
        let (n, steps) = (theta.data.len(), grads.shape[0]);
        let rows: Vec<&[f64]> = grads.data.chunks(n).collect();
        let c = training(&case, theta);
        for (path, bound) in [(interpreted(&c, theta, &rows), 2e-6), (computed(&c, theta, &rows), 1e-5)] {
            // Each column is a history of its own.
            for column in 0..n {
                let of =
                    |data: &[f64]| Tensor::new([steps], (0..steps).map(|i| data[i * n + column]).collect::<Vec<_>>());
                close(&format!("{}, element {column}", case.name), &of(&path), &of(&y.data), bound);
            }
        }
    }
    assert!(seen > 50, "{seen} cases");
}

#[test]
fn schedules_are_pytorchs() {
    let mut seen = 0;
    for case in cases::all() {
        let Some(steps) = case.get("step") else { continue };
        seen += 1;
        let c = one_weight(1, &format!("optimizer = SGD(lr = {})", case.expression));
        let lr = |step: &f64| {
            let host = HostState { step: *step as u64, steps: 1, ..HostState::default() };
            -update(&c, &host, &[0.0], &[1.0], &mut Named::new())[0]
        };
        for (step, expected) in steps.data.iter().zip(&case.get("y").unwrap().data) {
            let found = lr(step);
            assert!((found - expected).abs() <= 1e-6, "{} at {step}: {found} for {expected}", case.name);
        }
    }
    assert!(seen > 20, "{seen} cases");
}
