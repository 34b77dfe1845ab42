//! Optimizers and schedules of the prelude against PyTorch's (tests/golden/make.py says what the tensors are): by the
//! interpreter in double precision, and by machine code.

use crate::check::cases;
use crate::lower::{Named, close, flat, one_weight, row, run, unflat, update, zero_states};
use crate::support::golden::Golden;
use crate::support::spec::{self, Columns};
use dlc_compiler::pipeline::{Compiled, Goal};
use dlc_compiler::program::interp::Tensor;
use dlc_plan::HostState;
use std::collections::HashMap;

/// A training with an optimizer, and perhaps a group.
fn training(model: &str, optimizer: &str) -> Compiled {
    let text = format!("{model}\ntrain t {{ model = M()  loss = mean(y)  epochs = 1  optimizer = {optimizer} }}");
    spec::compile(&text, Goal::Train { item: None }, &[], &mut Columns(vec![]), &mut |_, _| {})
        .unwrap_or_else(|f| panic!("{optimizer}: {}", spec::shown(&f).join("\n")))
}

/// The weights `a` and, where theta has rows, `b`.
fn of_rows(theta: &Tensor) -> String {
    let n = theta.shape[theta.shape.len() - 1];
    let two = theta.shape.len() == 2;
    let (more, product) = if two { (format!("b: param [{n}] = zeros"), "x * a * b") } else { (String::new(), "x * a") };
    format!("model M()(x: [B, {n}]) -> y: [B, {n}] {{ a: param [{n}] = zeros  {more}  return {product} }}")
}

/// The weights of a row each, by name.
fn weights(rows: &[f64], n: usize) -> Named {
    let named = ["a", "b"].iter().zip(rows.chunks(n));
    named.map(|(name, row)| (name.to_string(), Tensor::new([n], row))).collect()
}

/// The weights after each step.
type Path = Vec<Named>;

/// By the interpreter.
fn interpreted(c: &Compiled, theta: &Named, grads: &[Named]) -> Path {
    let mut theta = theta.clone();
    let mut states = zero_states(c);
    states.extend(run(c, "init", &HostState::default(), &Named::new()).into_iter().filter(|(k, _)| k.contains(' ')));
    let mut path = Vec::new();
    for (step, grad) in grads.iter().enumerate() {
        let host = HostState { step: step as u64, steps: grads.len() as u64, ..HostState::default() };
        let mut given = states.clone();
        given.insert("trained".into(), flat(c, &theta, ""));
        given.insert("grads".into(), flat(c, grad, ""));
        given.insert("loss.over".into(), Tensor::scalar(2.0));
        given.extend(theta.clone());
        given.extend(grad.iter().map(|(name, t)| (format!("grad of {name}"), t.clone())));
        let mut after = run(c, "update", &host, &given);
        if let Some(trained) = after.remove("trained") {
            unflat(c, &trained, &mut theta);
        }
        for (name, t) in after {
            if name.contains(' ') {
                states.insert(name, t)
            } else {
                theta.insert(name, t)
            };
        }
        path.push(theta.clone());
    }
    path
}

/// By machine code, on so many threads.
#[cfg(feature = "jit")]
fn computed(c: &Compiled, theta: &Named, grads: &[Named], threads: usize) -> Path {
    use dlc_plan::plan::Store;
    use dlc_runtime::tensor::Tensor as Given;
    let given = |t: &Tensor| Given::from_f32(t.shape.clone(), t.data.iter().map(|x| *x as f32).collect()).unwrap();
    let mut engine = crate::machine::engine(&c.plan, threads);
    engine.run("init", &HostState::default(), &[]).unwrap();
    for (name, t) in theta {
        engine.stores_mut().set_weight(name, &given(t)).unwrap();
    }
    let mut path = Vec::new();
    for (step, grad) in grads.iter().enumerate() {
        let host = HostState { step: step as u64, steps: grads.len() as u64, ..HostState::default() };
        for (name, t) in grad {
            engine.stores_mut().set_kept(Store::Grads, name, &given(t)).unwrap();
        }
        engine.run("update", &host, &[]).unwrap();
        let now = |name: &String| {
            let t = engine.stores().weight(name).unwrap();
            (name.clone(), Tensor::new(t.shape(), t.to_f32_vec().iter().map(|x| f64::from(*x)).collect::<Vec<_>>()))
        };
        path.push(theta.keys().map(now).collect());
    }
    path
}

#[cfg(not(feature = "jit"))]
fn computed(c: &Compiled, theta: &Named, grads: &[Named], _: usize) -> Path {
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
        let (n, steps, wide) = (theta.data.len(), grads.shape[0], theta.shape[theta.shape.len() - 1]);
        let rows: Vec<Named> = grads.data.chunks(n).map(|row| weights(row, wide)).collect();
        let c = training(&of_rows(theta), &case.expression);
        let theta = weights(&theta.data, wide);
        for (path, bound) in [(interpreted(&c, &theta, &rows), 2e-6), (computed(&c, &theta, &rows, 1), 1e-5)] {
            let ends =
                |now: &Named| ["a", "b"].iter().filter_map(|w| now.get(*w)).flat_map(|t| t.data.clone()).collect();
            let path: Vec<Vec<f64>> = path.iter().map(ends).collect();
            // Each column is a history of its own.
            for column in 0..n {
                let of = |data: Vec<f64>| Tensor::new([steps], data);
                let found = of(path.iter().map(|row| row[column]).collect());
                let expected = of(y.data.iter().skip(column).step_by(n).copied().collect());
                close(&format!("{}, element {column}", case.name), &found, &expected, bound);
            }
        }
    }
    assert!(seen > 50, "{seen} cases");
}

/// Weights of many shapes, three of them a loop's.
const WEIGHTS: &str = "block L()(x) -> [B] { weight: param [4, 6] = zeros  return x * sum(weight) }
    model M()(x: [B]) -> y: [B] {
      vector: param [7] = zeros  number: param [] = zeros  matrix: param [5, 3] = zeros
      kernel: param [3, 2, 2, 3] = zeros  zero: param [2, 2] = zeros
      x = x * (sum(vector) + number + sum(matrix) + sum(kernel) + sum(zero))
      repeat 3 as i { x = x -> layers.{i}: L() }
      return x
    }";

#[test]
fn optimizers_of_whole_weights_are_pytorchs() {
    let golden = Golden::read("golden/optimizers.safetensors");
    let mut cases: HashMap<String, HashMap<String, HashMap<String, Tensor>>> = HashMap::new();
    for (full, t) in golden.all() {
        let [case, weight, what] = full.splitn(3, '/').collect::<Vec<_>>()[..] else { panic!("{full}") };
        let weight = if weight.starts_with("layers") { format!("{weight}.weight") } else { weight.to_string() };
        cases.entry(case.into()).or_default().entry(what.into()).or_default().insert(weight, t);
    }
    for line in golden.metadata["cases"].lines() {
        let (case, expression) = line.split_once(" = ").unwrap();
        let of = &cases[case];
        let at = |i: usize, what: &str| of[what].iter().map(|(w, t)| (w.clone(), row(t, i))).collect::<Named>();
        let grads: Vec<Named> = (0..20).map(|i| at(i, "grad")).collect();
        let c = training(WEIGHTS, expression);
        let theta = &of["theta"];
        let paths = [(interpreted(&c, theta, &grads), 2e-6), (computed(&c, theta, &grads, 2), 1e-5)];
        for (path, bound) in paths {
            for (i, now) in path.iter().enumerate() {
                for (weight, expected) in at(i, "y") {
                    close(&format!("{case}, {weight} after step {i}"), &now[&weight], &expected, bound);
                }
            }
        }
    }
}

/// What is done around an optimizer is the same for all weights at once and for one after the other.
#[test]
fn updates_of_all_weights_and_of_each_are_one() {
    let each = "optimizer Each(lr)(theta, grad) { theta <- theta - lr * grad * (1 + 0 * sum(theta)) }";
    let shapes = shapes();
    let (theta, grads) = (some(&shapes, 0), (1..4).map(|seed| some(&shapes, seed)).collect::<Vec<_>>());
    for around in [
        "",
        "clip = 1  clip_value = 0.7",
        "l1 = 0.1  l2 = 0.2  prox_l1 = 0.05  group \"layers.1\" { l2 = 0  prox_l1 = 0.1 }",
        "accumulate = 2  clip = 0.5  group \"matrix\" { lr = 0.3 }",
    ] {
        let [all, each] = ["SGD", "Each"].map(|optimizer| {
            let c = training(&format!("{each}\n{WEIGHTS}"), &format!("{optimizer}(lr = 0.1) {around}"));
            interpreted(&c, &theta, &grads)
        });
        for (all, each) in all.iter().zip(&each) {
            shapes
                .iter()
                .for_each(|(name, _)| close(&format!("{name} with {around}"), &each[*name], &all[*name], 1e-12));
        }
    }
}

/// The names and shapes of `WEIGHTS`.
fn shapes() -> Vec<(&'static str, Vec<usize>)> {
    let own = [("vector", vec![7]), ("number", vec![]), ("matrix", vec![5, 3]), ("kernel", vec![3, 2, 2, 3])];
    let layers = ["layers.0.weight", "layers.1.weight", "layers.2.weight"].map(|name| (name, vec![4, 6]));
    own.into_iter().chain([("zero", vec![2, 2])]).chain(layers).collect()
}

/// Numbers for them.
fn some(shapes: &[(&str, Vec<usize>)], seed: usize) -> Named {
    let tensor = |(k, (name, shape)): (usize, &(&str, Vec<usize>))| {
        let number = |i: usize| f64::from(((i * 37 + seed * 101 + k * 11) as f32).sin());
        let data: Vec<f64> = (0..shape.iter().product()).map(number).collect();
        (name.to_string(), Tensor::new(&shape[..], data))
    };
    shapes.iter().enumerate().map(tensor).collect()
}

/// What of a weight is read after it is written, and out of order, is what it was.
#[test]
fn whole_weights_are_read_before_they_change() {
    let own = [
        "optimizer Own(lr)(theta, grad) { theta <- theta + lr * mean(theta) + lr * grad }",
        "optimizer Own(lr)(theta, grad) {
           turned: state = 0.5
           most: state [] = 0
           old = theta
           if rank(theta) > 0 {
             theta <- concat[0](theta[1:], theta[:1]) + lr * grad
             turned <- concat[0](turned[1:], turned[:1]) + old
           }
           most <- max(most, max(abs(theta)))
           theta <- theta / most + lr * mean(old * turned)
         }",
        "optimizer Own(lr)(theta, grad) {
           if rank(theta) == 2 {
             m: state = zeros
             m <- 0.9 * m + grad
             x = m / sqrt(sum(m ^ 2))
             repeat 3 as i {
               a = x @ x.t
               x = 1.5 * x - 0.5 * (a @ x)
             }
             theta <- theta - lr * x
           } else {
             theta <- theta - lr * grad
           }
         }",
    ];
    let shapes = shapes();
    let (theta, grads) = (some(&shapes, 0), (1..6).map(|seed| some(&shapes, seed)).collect::<Vec<_>>());
    for text in own {
        let c = training(&format!("{text}\n{WEIGHTS}"), "Own(lr = 0.1) group \"layers.2\" { lr = 0.2 }");
        let (exact, found) = (interpreted(&c, &theta, &grads), computed(&c, &theta, &grads, 2));
        for (exact, found) in exact.iter().zip(&found) {
            shapes.iter().for_each(|(name, _)| close(&format!("{name} of {text}"), &found[*name], &exact[*name], 1e-5));
        }
    }
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
