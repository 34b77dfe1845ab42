//! Specs as programs, run by the interpreter and compared with PyTorch's numbers (tests/golden/make.py says what they are).

use crate::support::golden::Golden;
use crate::support::spec::{self, Columns, train};
use dlc_compiler::pipeline::{Compiled, Goal};
use dlc_compiler::program::interp::{Tensor, run_entry};
use dlc_compiler::program::{Param, Role, StatePart, WeightId};
use dlc_plan::plan::Bound;
use dlc_plan::{DType, HostState};
use std::collections::HashMap;

/// Tensors by the name of what they are: inputs, outputs, weights.
pub type Named = HashMap<String, Tensor>;

/// Runs an entry. Weights and everything else are found by name; gives what it gives, by name.
pub fn run(c: &Compiled, entry: &str, host: &HostState, given: &Named) -> Named {
    let e = c.program.entry(entry).unwrap();
    let params = &c.program.function(e.function).params;
    let arg = |(role, param): (&Role, &Param)| {
        let mut each: Vec<Tensor> = names(c, role).iter().map(|n| given[n].clone()).collect();
        if each.len() == 1 { each.remove(0) } else { Tensor::stack(each, &param.ty) }
    };
    let args = e.inputs.iter().zip(params).map(arg).collect();
    let results = run_entry(&c.program, e, args, host).unwrap();
    let each = |(role, t): (&Role, Tensor)| {
        let names = names(c, role);
        let parts = if names.len() == 1 { vec![t] } else { t.unstack(names.len()) };
        names.into_iter().zip(parts)
    };
    e.outputs.iter().zip(results).flat_map(each).collect()
}

/// The name of what a role stands for, or of each weight of a stack.
fn names(c: &Compiled, role: &Role) -> Vec<String> {
    let weight = |w: &WeightId| c.program.weights[w.0 as usize].name.clone();
    match role {
        Role::Named(n) | Role::Index(n, _) | Role::Narrow(n, _) => vec![n.clone()],
        Role::Weight(row) => row.iter().map(weight).collect(),
        Role::Grad(row) => row.iter().map(|w| format!("grad of {}", weight(w))).collect(),
        Role::Trained => vec!["trained".into()],
        Role::Grads => vec!["grads".into()],
        Role::State(k) => vec![format!("state {k}")],
        Role::StateOf(k, row) => row.iter().map(|w| format!("state {k} of {}", weight(w))).collect(),
    }
}

/// Asserts that the norm of the difference is small beside the reference's.
pub fn close(what: &str, found: &Tensor, expected: &Tensor, bound: f64) {
    assert_eq!(found.shape, expected.shape, "{what}");
    let norm = |x: &mut dyn Iterator<Item = f64>| x.map(|x| x * x).sum::<f64>().sqrt();
    let far = norm(&mut found.data.iter().zip(&expected.data).map(|(a, b)| a - b));
    let size = norm(&mut expected.data.iter().copied());
    assert!(far <= bound * size, "{what}: {far:.3e} away from {size:.3e}");
}

/// The weights, or their gradients, end to end as the optimizer sees them.
pub fn flat(c: &Compiled, of: &Named, before: &str) -> Tensor {
    let (starts, len) = c.program.segments();
    let mut data = vec![0.0; len];
    for (w, at) in starts {
        let t = &of[&format!("{before}{}", c.program.weights[w.0 as usize].name)];
        data[at..at + t.data.len()].copy_from_slice(&t.data);
    }
    Tensor::new([len], data)
}

pub fn unflat(c: &Compiled, arena: &Tensor, into: &mut Named) {
    for (w, at) in c.program.segments().0 {
        let t = into.get_mut(&c.program.weights[w.0 as usize].name).unwrap();
        let len = t.data.len();
        t.data.copy_from_slice(&arena.data[at..at + len]);
    }
}

/// One step: gradients of a batch, then the update. Gives the loss.
fn step(c: &Compiled, host: &HostState, weights: &mut Named, states: &mut Named, batch: &Named) -> f64 {
    let given = weights.clone().into_iter().chain(batch.clone()).collect();
    let found = run(c, "accumulate", host, &given);
    let mut given = states.clone();
    given.insert("trained".into(), flat(c, weights, ""));
    given.insert("grads".into(), flat(c, &found, "grad of "));
    let mut after = run(c, "update", host, &given);
    unflat(c, &after.remove("trained").unwrap(), weights);
    states.extend(after);
    found["loss"].data[0]
}

pub fn zero_states(c: &Compiled) -> Named {
    let len = c.program.segments().1;
    let whole = (0..c.program.states.len()).map(|k| (format!("state {k}"), Tensor::new([len], vec![0.0; len])));
    let part = |p: &StatePart| {
        let shape: Vec<usize> = p.ty.shape.iter().map(|s| s.known().unwrap() as usize).collect();
        let zeros = vec![0.0; shape.iter().product()];
        (format!("state {} of {}", p.state, c.program.weights[p.weight.0 as usize].name), Tensor::new(shape, zeros))
    };
    whole.chain(c.program.parts.iter().map(part)).collect()
}

/// Output, loss, gradients and ten steps of training, against PyTorch's.
fn as_pytorch(folder: &str, c: &Compiled) {
    let file = |name: &str| Golden::read(&format!("golden/{folder}/{name}.safetensors"));
    let (mut weights, batch) = (file("weights").all(), file("batch").all());
    let given: Named = weights.clone().into_iter().chain(batch).collect();
    for (name, expected) in file("outputs").all() {
        close(&name, &run(c, "forward", &HostState::default(), &given)[&name], &expected, 1e-5);
    }
    let found = run(c, "grad", &HostState::default(), &given);
    let expected = file("grads").all();
    assert_eq!(found.len(), expected.len());
    for (name, expected) in expected {
        close(&name, &found[&name], &expected, 1e-4);
    }
    let steps = file("steps").all();
    let recipe = c.recipe.as_ref().unwrap();
    let names: Vec<String> = recipe.model.inputs.iter().cloned().chain(["label".to_string()]).collect();
    let mut states = zero_states(c);
    for i in 0..steps["loss"].data.len() {
        let host = HostState { step: i as u64, steps: steps["steps"].data[0] as u64, ..HostState::default() };
        let batch = names.iter().map(|n| (n.clone(), row(&steps[n], i))).collect();
        let loss = step(c, &host, &mut weights, &mut states, &batch);
        let expected = steps["loss"].data[i];
        assert!((loss - expected).abs() <= 1e-4 * expected, "step {i}: the loss is {loss}, PyTorch's {expected}");
    }
    for (name, expected) in file("trained").all() {
        close(&name, &weights[&name], &expected, 1e-4);
    }
}

pub fn row(t: &Tensor, i: usize) -> Tensor {
    let len = t.data.len() / t.shape[0];
    Tensor::new(&t.shape[1..], &t.data[i * len..(i + 1) * len])
}

#[test]
fn digits_train_as_in_pytorch() {
    as_pytorch("digits", &train("examples/digits.dl", &[("Mlp.p", "0")]));
}

#[test]
fn deep_stacks_train_as_in_pytorch() {
    as_pytorch("deep4", &train("tests/specs/deep.dl", &[("Deep.p", "0")]));
}

/// A model with one weight of `n` elements, trained by what stands in `train`.
pub fn one_weight(n: usize, train: &str) -> Compiled {
    let model = format!("model M()(x: [B, {n}]) -> y: [B, {n}] {{ w: param [{n}] = zeros  return x * w }}");
    let text = format!("{model}\ntrain t {{ model = M()  loss = mean(y)  epochs = 1  {train} }}");
    spec::compile(&text, Goal::Train { item: None }, &[], &mut Columns(vec![]), &mut |_, _| {})
        .unwrap_or_else(|f| panic!("{}", spec::shown(&f).join("\n")))
}

/// Runs `update` once on a weight and its gradient; gives the weight after it.
pub fn update(c: &Compiled, host: &HostState, theta: &[f64], grad: &[f64], states: &mut Named) -> Vec<f64> {
    let padded = |x: &[f64]| {
        let mut x = x.to_vec();
        x.resize(c.program.segments().1, 0.0);
        Tensor::new([x.len()], x)
    };
    let mut given = states.clone();
    given.insert("trained".into(), padded(theta));
    given.insert("grads".into(), padded(grad));
    let mut after = run(c, "update", host, &given);
    let theta_after = after.remove("trained").unwrap().data[..theta.len()].to_vec();
    states.extend(after);
    theta_after
}

#[test]
fn a_step_clips_then_adds_penalties_then_updates_then_shrinks() {
    let after = |train: &str, theta: &[f64], grad: &[f64]| {
        let c = one_weight(theta.len(), &format!("optimizer = SGD(lr = 0.5)  {train}"));
        let close = |x: f64| (x * 1e6).round() / 1e6;
        update(&c, &HostState::default(), theta, grad, &mut Named::new()).into_iter().map(close).collect::<Vec<_>>()
    };
    assert_eq!(after("clip_value = 1", &[0.0, 0.0], &[3.0, -0.5]), [-0.5, 0.25]);
    assert_eq!(after("clip = 1", &[0.0, 0.0], &[3.0, -4.0]), [-0.3, 0.4]);
    assert_eq!(after("clip = 10", &[0.0, 0.0], &[3.0, -4.0]), [-1.5, 2.0]);
    // The values are bounded before the norm is.
    assert_eq!(after("clip = 1  clip_value = 4", &[0.0, 0.0], &[3.0, -40.0]), [-0.3, 0.4]);
    assert_eq!(after("l2 = 0.1", &[2.0, -4.0], &[0.0, 0.0]), [1.9, -3.8]);
    assert_eq!(after("l1 = 0.1", &[2.0, 0.0, -4.0], &[0.0; 3]), [1.95, 0.0, -3.95]);
    // The penalties are not clipped.
    assert_eq!(after("clip = 1  l2 = 1", &[2.0, 2.0], &[3.0, -4.0]), [2.0 - 0.5 * 2.6, 2.0 - 0.5 * 1.2]);
    assert_eq!(after("prox_l1 = 0.2", &[1.0, -1.0, 0.05], &[0.0; 3]), [0.9, -0.9, 0.0]);
}

#[test]
fn groups_set_what_differs() {
    let model = "model M()(x: [B, 2]) -> y: [B, 2] { a: param [2] = ones  b: param [3] = ones  c: param [2] = ones
        return x * a * c + sum(b) }";
    let train = "train t { model = M()  loss = mean(y)  epochs = 1  optimizer = SGD(lr = 0.5 * (step + 1))
        group \"a\", \"b\" { lr = 0.1 }  group \"b\" { l2 = 3  lr = 0.2 }  freeze \"c\" }";
    let c = spec::compile(
        &format!("{model}\n{train}"),
        Goal::Train { item: None },
        &[],
        &mut Columns(vec![]),
        &mut |_, _| {},
    )
    .unwrap();
    let trained: Vec<&str> =
        c.program.segments().0.iter().map(|(w, _)| c.program.weights[w.0 as usize].name.as_str()).collect();
    assert_eq!(trained, ["a", "b"]);
    let mut theta = vec![0.0; 19];
    theta[..2].copy_from_slice(&[1.0, 1.0]);
    theta[16..].copy_from_slice(&[1.0; 3]);
    let after = update(&c, &HostState::default(), &theta, &[1.0; 19], &mut Named::new());
    // a: 1 - 0.1 * 1. b: 1 - 0.2 * (1 + 3 * 1).
    for (found, expected) in after[..2].iter().chain(&after[16..]).zip([0.9, 0.9, 0.2, 0.2, 0.2]) {
        assert!((found - expected).abs() < 1e-6, "{after:?}");
    }
}

/// The first value of a weight [50, 100] that a product reads as [out, in].
fn first_value(init: &str) -> Vec<f64> {
    let text = format!("model M()(x: [B, 100]) -> y: [B, 50] {{ w: param [50, 100] = {init}  return x @ w.t }}");
    let goal = Goal::Run { model: None, training: false };
    let c = spec::compile(&text, goal, &[], &mut Columns(vec![]), &mut |_, _| {})
        .unwrap_or_else(|f| panic!("{}", spec::shown(&f).join("\n")));
    run(&c, "init", &HostState { seed: 3, ..HostState::default() }, &Named::new())["w"].data.clone()
}

#[test]
fn first_values_are_as_their_expressions_say() {
    // The share of elements that are further than a deviation from the mean tells distributions apart.
    let (uniform, normal, cut) = (1.0 - 1.0 / 3f64.sqrt(), 0.3173, 0.3494);
    let cases = [
        // Expression, then mean, deviation, that share, and the largest size that an element can have.
        ("zeros", 0.0, 0.0, 0.0, 0.0),
        ("ones", 1.0, 0.0, 0.0, 1.0),
        ("const(0.5)", 0.5, 0.0, 0.0, 0.5),
        ("uniform", 0.5, 1.0 / 12f64.sqrt(), uniform, 1.0),
        ("uniform(-1, 3)", 1.0, 4.0 / 12f64.sqrt(), uniform, 3.0),
        ("normal(2)", 0.0, 2.0, normal, 12.0),
        // A normal distribution cut off at two deviations keeps 0.8796 of its deviation.
        ("trunc_normal(0.1)", 0.0, 0.087_96, cut, 0.2),
        ("kaiming_uniform()", 0.0, 0.02f64.sqrt(), uniform, 0.06f64.sqrt()),
        ("kaiming_uniform(sqrt(5))", 0.0, 0.1 / 3f64.sqrt(), uniform, 0.1),
        ("kaiming_uniform(mode = \"fan_out\")", 0.0, 0.04f64.sqrt(), uniform, 0.12f64.sqrt()),
        ("kaiming_normal()", 0.0, 0.02f64.sqrt(), normal, 1.0),
        ("kaiming_normal(mode = \"fan_out\")", 0.0, 0.04f64.sqrt(), normal, 1.4),
        ("xavier_uniform", 0.0, (2.0 / 150f64).sqrt(), uniform, 0.2),
        ("xavier_uniform(gain = 3)", 0.0, 3.0 * (2.0 / 150f64).sqrt(), uniform, 0.6),
        ("xavier_normal", 0.0, (2.0 / 150f64).sqrt(), normal, 0.8),
        ("xavier_normal(gain = 0.5)", 0.0, 0.5 * (2.0 / 150f64).sqrt(), normal, 0.4),
        ("orthogonal", 0.0, 0.1, normal, 0.5),
        ("2 * rand() + shape[0] / 50", 2.0, 2.0 / 12f64.sqrt(), uniform, 3.0),
    ];
    for (init, mean, deviation, share, most) in cases {
        let w = first_value(init);
        let n = w.len() as f64;
        let found = w.iter().sum::<f64>() / n;
        let spread = (w.iter().map(|x| (x - found).powi(2)).sum::<f64>() / n).sqrt();
        // Five thousand elements: the mean is known to 1.4 % of a deviation, the deviation to 1 %; four times that is rare.
        assert!((found - mean).abs() <= 0.06 * deviation, "{init}: the mean is {found}");
        assert!((spread - deviation).abs() <= 0.04 * deviation, "{init}: the deviation is {spread}");
        assert!(w.iter().all(|x| x.abs() <= most * (1.0 + 1e-6)), "{init}: one element is larger than {most}");
        let beyond = w.iter().filter(|x| (*x - mean).abs() > deviation).count() as f64 / n;
        assert!((beyond - share).abs() <= 0.03, "{init}: {beyond} of the elements are beyond a deviation");
    }
}

/// How far the rows of a matrix are from an orthonormal system of vectors of length `gain`.
fn from_orthonormal(rows: &[Vec<f64>], gain: f64) -> f64 {
    let mut far = 0f64;
    for (i, a) in rows.iter().enumerate() {
        for (j, b) in rows.iter().enumerate() {
            let dot: f64 = a.iter().zip(b).map(|(x, y)| x * y).sum();
            far = far.max((dot - if i == j { gain * gain } else { 0.0 }).abs());
        }
    }
    far
}

#[test]
fn orthogonal_matrices_are_orthogonal() {
    for (dims, gain, wide) in [
        ("[20, 30]", 1.0, true),
        ("[30, 20]", 2.0, false),
        ("[24, 24]", 1.0, true),
        ("[4, 3, 2]", 1.0, true),
        ("[12, 1, 3, 3]", 0.5, false),
    ] {
        let text =
            format!("model M()(x: [B, 1]) -> y: [B, 1] {{ w: param {dims} = orthogonal({gain})  return x * sum(w) }}");
        let goal = Goal::Run { model: None, training: false };
        let c = spec::compile(&text, goal, &[], &mut Columns(vec![]), &mut |_, _| {})
            .unwrap_or_else(|f| panic!("{}", spec::shown(&f).join("\n")));
        for seed in 0..5 {
            let w = &run(&c, "init", &HostState { seed, ..HostState::default() }, &Named::new())["w"];
            let (n, m) = (w.shape[0], w.shape[1..].iter().product::<usize>());
            let row = |i: usize| w.data[i * m..(i + 1) * m].to_vec();
            let column = |j: usize| (0..n).map(|i| w.data[i * m + j]).collect();
            let rows: Vec<Vec<f64>> = if wide { (0..n).map(row).collect() } else { (0..m).map(column).collect() };
            let far = from_orthonormal(&rows, gain);
            assert!(far < 1e-6, "{dims}, seed {seed}: {far}");
        }
        #[cfg(feature = "jit")]
        {
            let mut engine = crate::machine::engine(&c.plan, 1);
            engine.run("init", &HostState { seed: 4, ..HostState::default() }, &[]).unwrap();
            let w = engine.stores().weight("w").unwrap().to_f32_vec();
            let expected = run(&c, "init", &HostState { seed: 4, ..HostState::default() }, &Named::new());
            let w: Vec<f64> = w.iter().map(|x| f64::from(*x)).collect();
            close(dims, &Tensor::new(&expected["w"].shape[..], w), &expected["w"], 1e-4);
        }
    }
}

#[test]
fn fan_in_follows_how_a_weight_is_used() {
    let text = "model M()(x: [B, 20]) -> y: [B, 5] { w: param [20, 5] = const(fan_in + fan_out / 10)  return x @ w }";
    let c = spec::compile(text, Goal::Run { model: None, training: false }, &[], &mut Columns(vec![]), &mut |_, _| {})
        .unwrap();
    let w = &run(&c, "init", &HostState::default(), &Named::new())["w"].data;
    assert_eq!(w[0], 20.5);
}

#[test]
fn every_weight_has_numbers_of_its_own() {
    let c = train("tests/specs/deep.dl", &[]);
    let host = HostState { seed: 7, ..HostState::default() };
    let w = run(&c, "init", &host, &Named::new());
    assert_eq!(w.len(), c.program.weights.len());
    let up = |i: usize| &w[&format!("layers.{i}.up.weight")].data;
    for (i, j) in [(0, 1), (0, 3), (2, 3)] {
        assert!(up(i).iter().zip(up(j)).all(|(a, b)| a != b), "layers {i} and {j}");
    }
    // Depth changes no weight, and neither the program's size.
    let deep = train("tests/specs/deep.dl", &[("Deep.L", "16")]);
    assert_eq!(up(2), &run(&deep, "init", &host, &Named::new())["layers.2.up.weight"].data);
    assert_eq!(c.program.functions.len(), deep.program.functions.len());
    assert_eq!(c.plan.kernels.len(), deep.plan.kernels.len());
}

#[test]
fn states_of_an_optimizer_may_begin_as_any_number() {
    let optimizer =
        "optimizer A(lr)(theta, grad) { g: state = 0.1  g <- g + grad ^ 2  theta <- theta - lr * grad / sqrt(g) }";
    let model = "model M()(x: [B, 2]) -> y: [B, 2] { w: param [2] = zeros  return x * w }";
    let text =
        format!("{optimizer}\n{model}\ntrain t {{ model = M()  loss = mean(y)  epochs = 1  optimizer = A(lr = 1) }}");
    let c = spec::compile(&text, Goal::Train { item: None }, &[], &mut Columns(vec![]), &mut |_, _| {}).unwrap();
    let first = run(&c, "init", &HostState::default(), &Named::new());
    assert_eq!(first["state 0"].data[..2], [f64::from(0.1f32); 2]);
}

#[test]
fn states_of_a_model_change_in_training_only() {
    let text = "model M()(x: [B, 2]) -> y: [B, 2] { mu: state [2] = zeros  w: param [2] = ones
        if training { mu <- 0.5 * mu + 0.5 * mean[0](x) }
        return (x - mu) * w }
    train t { model = M()  loss = mean(y)  epochs = 1  optimizer = SGD(lr = 1) }";
    let c = spec::compile(text, Goal::Train { item: None }, &[], &mut Columns(vec![]), &mut |_, _| {}).unwrap();
    let given: Named = [
        ("x", Tensor::new([2, 2], [1.0, 2.0, 3.0, 4.0])),
        ("mu", Tensor::new([2], [0.0, 0.0])),
        ("w", Tensor::new([2], [1.0, 1.0])),
    ]
    .map(|(n, t)| (n.to_string(), t))
    .into();
    let found = run(&c, "accumulate", &HostState::default(), &given);
    assert_eq!(found["mu"].data, [1.0, 1.5]);
    assert!(!run(&c, "grad", &HostState::default(), &given).contains_key("mu"));
    assert_eq!(run(&c, "forward", &HostState::default(), &given)["y"].data, [1.0, 2.0, 3.0, 4.0]);
}

fn below(n: i64) -> Bound {
    Bound { below: n.into(), except: None }
}

#[test]
fn inputs_that_index_a_table_are_bounded_by_it() {
    let text = "model M()(ids: i64[B, T], kind: i64[B]) -> y: [B, T, 3] {
        e: Embedding(7, 3)  k: Embedding(2, 3)
        return e(ids) + k(i32(kind))[:, none] }";
    let text = text.replace("k(i32(kind))", "k(kind)");
    let c = spec::compile(&text, Goal::Run { model: None, training: false }, &[], &mut Columns(vec![]), &mut |_, _| {})
        .unwrap_or_else(|f| panic!("{}", spec::shown(&f).join("\n")));
    let inputs = &c.program.entry("forward").unwrap().inputs;
    assert_eq!(inputs[..2], [Role::Index("ids".into(), below(7)), Role::Index("kind".into(), below(2))]);
}

#[test]
fn what_the_text_says_to_index_is_bounded() {
    let text = "block L()(z: [B, C], i: i64[B]) -> [..] { return cross_entropy(z, i, ignore = -1) }
        model M()(z: [B, 5], i: i64[B], j: u8[B]) -> (a: [..], b: u8[..]) {
            return z -> loss: L()(i), within(within(j, 9), 4, 255) }";
    let c = spec::compile(text, Goal::Run { model: None, training: false }, &[], &mut Columns(vec![]), &mut |_, _| {})
        .unwrap_or_else(|f| panic!("{}", spec::shown(&f).join("\n")));
    let entry = c.program.entry("forward").unwrap();
    let bound = Bound { below: 5.into(), except: Some(-1) };
    assert_eq!(entry.inputs[1..3], [Role::Index("i".into(), bound), Role::Index("j".into(), below(4))]);
    let run = |i: f64| {
        let args = vec![Tensor::new([1, 5], [0.0; 5]), Tensor::new([1], [i]), Tensor::new([1], [3.0])];
        run_entry(&c.program, entry, args, &HostState::default()).map(|out| out[0].data[0])
    };
    assert!((run(4.0).unwrap() - 5.0_f64.ln()).abs() < 1e-12);
    assert_eq!(run(-1.0), Ok(0.0));
    assert_eq!(run(5.0).expect_err("there are five").to_string(), "i 5 is outside 0..5");
}

#[test]
fn metrics_are_over_all_rows_they_get() {
    let c = train("examples/digits.dl", &[]);
    let mut logits = vec![0.0; 30];
    (logits[3], logits[15], logits[29]) = (1.0, 1.0, 1.0);
    let given: Named = [("logits", Tensor::new([3, 10], logits)), ("label", Tensor::new([3], [3.0, 4.0, 9.0]))]
        .map(|(n, t)| (n.to_string(), t))
        .into();
    let found = run(&c, "evaluate", &HostState::default(), &given);
    assert!((found["accuracy"].data[0] - 2.0 / 3.0).abs() < 1e-6);
}

#[test]
fn columns_are_computed_from_the_sources() {
    let c = train("examples/digits.dl", &[]);
    let given: Named = [("pixels", Tensor::new([2, 64], vec![8.0; 128])), ("label", Tensor::new([2], [3.0, 9.0]))]
        .map(|(n, t)| (n.to_string(), t))
        .into();
    let found = run(&c, "columns", &HostState::default(), &given);
    assert_eq!((found["pixels"].data[0], &found["label"].data), (0.5, &vec![3.0, 9.0]));
}

/// The weights after one step on a batch that comes in pieces of these sizes, and the loss of each piece.
fn step_in_pieces(c: &Compiled, weights: &Named, batch: &Named, pieces: &[usize]) -> (Named, Vec<f64>) {
    let (mut weights, mut losses) = (weights.clone(), Vec::new());
    let (mut grads, mut first) = (Named::new(), 0);
    for (i, w) in c.program.weights.iter().enumerate() {
        grads.insert(
            names(c, &Role::grad(WeightId(i as u32))).remove(0),
            Tensor::new(&weights[&w.name].shape[..], vec![0.0; weights[&w.name].data.len()]),
        );
    }
    let parts = |first: usize, piece: usize| -> Named {
        let rows = |t: &Tensor| {
            let width = t.data.len() / t.shape[0];
            let mut shape = t.shape.clone();
            shape[0] = piece;
            Tensor::new(shape, &t.data[first * width..(first + piece) * width])
        };
        batch.iter().map(|(n, t)| (n.clone(), rows(t))).collect()
    };
    let shares = shares(c, pieces, &mut |first, piece| {
        let found = run(c, "count", &HostState::default(), &parts(first, piece));
        ["loss.counts", "loss.least"].map(|name| found[name].data.to_vec())
    });
    for piece in pieces {
        let host = HostState { first_sample: first as u64, ..HostState::default() };
        let own = weights.iter().chain(&grads).map(|(n, t)| (n.clone(), t.clone()));
        let given: Named = own.chain(parts(first, *piece)).chain(shares.clone()).collect();
        let found = run(c, "accumulate", &host, &given);
        losses.push(found["loss"].data[0]);
        grads.extend(found.into_iter().filter(|(n, _)| n.starts_with("grad of ")));
        first += piece;
    }
    let mut given = zero_states(c);
    given.insert("trained".into(), flat(c, &weights, ""));
    given.insert("grads".into(), flat(c, &grads, "grad of "));
    given.insert("loss.over".into(), Tensor::scalar(1.0));
    let after = run(c, "update", &HostState::default(), &given).remove("trained").unwrap();
    unflat(c, &after, &mut weights);
    (weights, losses)
}

/// What each term of the loss is multiplied by, where `count` gives what a piece counts and the least of its sums.
fn shares(
    c: &Compiled,
    pieces: &[usize],
    count: &mut dyn FnMut(usize, usize) -> [Vec<f64>; 2],
) -> Option<(String, Tensor)> {
    c.program.entry("count")?;
    let (mut sums, mut lowest, mut first) = (Vec::new(), Vec::new(), 0);
    for piece in pieces {
        let [own, least] = count(first, *piece);
        sums.resize(own.len(), 0.0);
        sums.iter_mut().zip(own).for_each(|(sum, more)| *sum += more);
        lowest = least;
        first += piece;
    }
    let shares: Vec<f64> = sums.iter().zip(lowest).map(|(sum, least)| 1.0 / sum.max(least)).collect();
    Some(("loss.shares".into(), Tensor::new([shares.len()], shares)))
}

#[test]
fn micro_batches_make_one_batch() {
    // Dropout is on: what a sample draws depends on its number in the step, not on the piece that it comes in.
    let text = spec::text("examples/digits.dl")
        .replace("AdamW(lr = lr * warmup(step, 50) * cosine(step, steps), weight_decay = 0.01)", "SGD(lr = lr)");
    let text = text.replace("group \"**.bias\" { weight_decay = 0 }", "");
    let of = |accumulate: &str| {
        let text = text.replace("clip = 1.0", &format!("clip = 0.5  {accumulate}"));
        spec::compile(&text, Goal::Train { item: None }, &[], &mut Columns(vec![]), &mut |_, _| {}).unwrap()
    };
    let (one, four) = (of(""), of("accumulate = 4"));
    assert!(four.warnings.is_empty(), "{:?}", four.warnings);
    let weights = Golden::read("golden/digits/weights.safetensors").all();
    let mut batch = Golden::read("golden/digits/batch.safetensors").all();
    // Labels that are ignored are not spread evenly over the pieces.
    batch.get_mut("label").unwrap().data[..5].copy_from_slice(&[-100.0; 5]);
    let (expected, loss) = step_in_pieces(&one, &weights, &batch, &[32]);
    // The last piece is short, or all are of one size, or there is one.
    for pieces in [&[8, 8, 8, 8][..], &[4, 20, 8], &[12, 12, 8], &[32]] {
        let (found, losses) = step_in_pieces(&four, &weights, &batch, pieces);
        for (name, expected) in &expected {
            close(name, &found[name], expected, 1e-6);
            assert!(found[name] != weights[name], "a step changes {name}");
        }
        let (whole, parts) = (loss[0], losses.iter().sum::<f64>());
        assert!((parts - whole).abs() < 1e-6, "the parts of the loss make {parts} and not {whole}");
    }
    #[cfg(feature = "jit")]
    {
        let expected = step_in_machine_code(&one, &weights, &batch, &[32]);
        for pieces in [&[8, 8, 8, 8][..], &[12, 12, 8]] {
            let found = step_in_machine_code(&four, &weights, &batch, pieces);
            expected.iter().for_each(|(name, expected)| close(name, &found[name], expected, 1e-6));
        }
    }
}

#[test]
fn terms_that_are_divided_by_different_counts_make_one_batch() {
    let model = "model M()(x: [B, 5, 4]) -> y: [B, 5, 7] { return x -> fc: Linear(7) }";
    let of = |loss: &str, accumulate: &str| {
        let text = format!(
            "{model} data d {{ source = safetensors(\"d\")  batch = 8 }}
            train t {{ model = M()  data = d  loss = {loss}  optimizer = SGD(lr = 0.5)  epochs = 1  {accumulate} }}"
        );
        let mut columns = Columns(vec![
            ("x", DType::F32, vec![5, 4]),
            ("some", DType::I64, vec![5]),
            ("all", DType::I64, vec![5]),
            ("mask", DType::F32, vec![5]),
        ]);
        spec::compile(&text, Goal::Train { item: None }, &[], &mut columns, &mut |_, _| {})
            .unwrap_or_else(|f| panic!("{}", spec::shown(&f).join("\n")))
    };
    let wave = |n: usize, by: f64| (0..n).map(|i| (i as f64 * by).sin()).collect::<Vec<f64>>();
    let class = |i: usize| (i * 5 % 7) as f64;
    // Rows have unequal numbers of labels that count; one has none.
    let kept = |i: usize| i % 5 <= i / 5 % 4 && i / 5 != 2;
    let batch: Named = [
        ("x", Tensor::new([8, 5, 4], wave(160, 0.7))),
        ("all", Tensor::new([8, 5], (0..40).map(class).collect::<Vec<_>>())),
        ("some", Tensor::new([8, 5], (0..40).map(|i| if kept(i) { class(i) } else { -100.0 }).collect::<Vec<_>>())),
        ("mask", Tensor::new([8, 5], (0..40).map(|i| f64::from(kept(i))).collect::<Vec<_>>())),
    ]
    .map(|(n, t)| (n.to_string(), t))
    .into();
    let weights: Named =
        [("fc.weight", Tensor::new([7, 4], wave(28, 1.3))), ("fc.bias", Tensor::new([7], wave(7, 2.1)))]
            .map(|(n, t)| (n.to_string(), t))
            .into();
    // The loss, and how many counts there are.
    let cases = [
        ("0.3 * cross_entropy(y, some) + 0.7 * cross_entropy(y, all)", 2),
        ("cross_entropy(y, some) + 0.1 * mean(y ^ 2)", 2),
        ("cross_entropy(y, some) + 0.1 * sum(tensor(\"fc.weight\") ^ 2)", 2),
        ("cross_entropy(y, some) - 0.01 * sum(y ^ 2) + sqrt(sum(tensor(\"fc.bias\") ^ 2))", 3),
        ("(sum(mask * sum[-1](y ^ 2)) + sum(tensor(\"fc.bias\") ^ 2)) / max(sum(mask), 3)", 2),
        ("mean(y ^ 2) + sum(y) / (2 * numel(y))", 1),
        ("sum(y ^ 2)", 1),
        ("mean(tensor(\"fc.weight\") ^ 2)", 1),
    ];
    for (loss, counts) in cases {
        let (one, many) = (of(loss, ""), of(loss, "accumulate = 4"));
        assert!(many.warnings.is_empty(), "{loss}: {:?}", many.warnings);
        let count = many.program.function(many.program.entry("count").unwrap().function);
        assert_eq!(count.result_tys()[0].shape[0].known(), Some(counts), "{loss}");
        let (expected, whole) = step_in_pieces(&one, &weights, &batch, &[8]);
        for pieces in [&[2, 2, 2, 2][..], &[3, 3, 2], &[1, 7], &[8]] {
            let (found, parts) = step_in_pieces(&many, &weights, &batch, pieces);
            expected.iter().for_each(|(name, expected)| close(name, &found[name], expected, 1e-6));
            let sum: f64 = parts.iter().sum();
            assert!((sum - whole[0]).abs() < 1e-6, "{loss} in {pieces:?}: {sum} for {}", whole[0]);
        }
        #[cfg(feature = "jit")]
        {
            let found = step_in_machine_code(&many, &weights, &batch, &[3, 3, 2]);
            expected.iter().for_each(|(name, expected)| close(name, &found[name], expected, 1e-5));
        }
    }
    // What is no such sum is averaged, the rest is not.
    let many = of("cross_entropy(y, some) + sqrt(mean(y ^ 2))", "accumulate = 4");
    assert_eq!(many.warnings.len(), 1);
    assert_eq!(many.warnings[0].code, "W0803");
}

#[test]
fn statistics_of_micro_batches_are_told() {
    let warned = |layer: &str, keys: &str| {
        let text = format!(
            "model M()(x: [B, 6]) -> y: [B, 6] {{ return x -> fc: Linear(6) -> norm: {layer} -> out: Linear(6) }}
            train t {{ model = M()  loss = mean(y ^ 2)  optimizer = SGD(lr = 0.5)  epochs = 1  {keys} }}"
        );
        let done = spec::compile(&text, Goal::Train { item: None }, &[], &mut Columns(vec![]), &mut |_, _| {});
        let done = done.unwrap_or_else(|f| panic!("{}", spec::shown(&f).join("\n")));
        done.warnings
            .iter()
            .map(|w| (w.code, w.span().map(|s| text[s.start as usize..s.end as usize].to_string())))
            .collect::<Vec<_>>()
    };
    let told = warned("BatchNorm()", "accumulate = 2");
    assert_eq!(told.len(), 1, "{told:?}");
    assert_eq!(told[0].0, "W0803");
    assert!(told[0].1.as_ref().unwrap().contains("BatchNorm"), "{told:?}");
    assert_eq!(warned("BatchNorm()", ""), []);
    assert_eq!(warned("BatchNorm()", "accumulate = 2  evaluate \"norm\""), []);
    assert_eq!(warned("LayerNorm()", "accumulate = 2"), []);
}

/// The weights after one step on a batch that comes in pieces of these sizes, by machine code.
#[cfg(feature = "jit")]
fn step_in_machine_code(c: &Compiled, weights: &Named, batch: &Named, pieces: &[usize]) -> Named {
    use crate::machine::{engine, run_entry};
    use dlc_runtime::tensor::Tensor as Given;
    let mut engine = engine(&c.plan, 1);
    for w in &c.program.weights {
        let t = &weights[&w.name];
        let data = t.data.iter().map(|x| *x as f32).collect();
        engine.stores_mut().set_weight(&w.name, &Given::from_f32(t.shape.clone(), data).unwrap()).unwrap();
    }
    let ports = |name: &str| c.plan.entries.iter().find(|e| e.name == name).unwrap();
    let rows = |name: &str, first: usize, piece: usize, shares: &Option<(String, Tensor)>| -> Vec<Tensor> {
        let part = |port: &dlc_plan::plan::Port| {
            if let Some((_, shares)) = shares.as_ref().filter(|(name, _)| *name == port.name) {
                return shares.clone();
            }
            let t = &batch[&port.name];
            let width = t.data.len() / t.shape[0];
            let mut shape = t.shape.clone();
            shape[0] = piece;
            Tensor::new(shape, &t.data[first * width..(first + piece) * width])
        };
        ports(name).inputs.iter().map(part).collect()
    };
    let shares = shares(c, pieces, &mut |first, piece| {
        let found = run_entry(&mut engine, "count", &rows("count", first, piece, &None), &HostState::default());
        [found[0].data.to_vec(), found[1].data.to_vec()]
    });
    let mut first = 0;
    for piece in pieces {
        let host = HostState { first_sample: first as u64, ..HostState::default() };
        run_entry(&mut engine, "accumulate", &rows("accumulate", first, *piece, &shares), &host);
        first += piece;
    }
    let total = [Tensor::scalar(1.0)];
    run_entry(&mut engine, "update", &total[..ports("update").inputs.len()], &HostState::default());
    let weight = |name: &str| {
        let t = engine.stores().weight(name).unwrap();
        Tensor::new(t.shape().to_vec(), t.to_f32_vec().iter().map(|x| f64::from(*x)).collect::<Vec<_>>())
    };
    c.program.weights.iter().map(|w| (w.name.clone(), weight(&w.name))).collect()
}

#[test]
fn decoupled_decay_is_no_l2() {
    let after = |train: &str, grad: &[f64]| {
        let c = one_weight(2, train);
        let mut states = zero_states(&c);
        let theta = update(&c, &HostState::default(), &[2.0, -1.0], grad, &mut states);
        update(&c, &HostState { step: 1, ..HostState::default() }, &theta, grad, &mut states)
    };
    let same = |a: &[f64], b: &[f64]| a.iter().zip(b).all(|(x, y)| (x - y).abs() < 1e-6);
    let grad = [0.3, -0.4];
    // In plain descent both are (1 - lr a) theta. Adam divides the gradient of l2 by its own size, and no decay.
    let (l2, own) = ("optimizer = SGD(lr = 0.1)  l2 = 0.5", "optimizer = SGD(lr = 0.1, weight_decay = 0.5)");
    assert!(same(&after(l2, &grad), &after(own, &grad)));
    let (l2, own) = ("optimizer = Adam(lr = 0.1)  l2 = 0.5", "optimizer = Adam(lr = 0.1, weight_decay = 0.5)");
    assert!(same(&after(l2, &grad), &after(own, &grad)));
    let decoupled = after("optimizer = AdamW(lr = 0.1, weight_decay = 0.5)", &grad);
    assert!(!same(&after(l2, &grad), &decoupled), "{decoupled:?}");
    // Where there is no gradient, l2 moves an Adam by its rate and decay by a share of the weight.
    let zero = [0.0, 0.0];
    let moved = after(l2, &zero);
    assert!((moved[0] - 1.8).abs() < 1e-3 && (moved[1] + 0.8).abs() < 1e-3, "{moved:?}");
    let decoupled = after("optimizer = AdamW(lr = 0.1, weight_decay = 0.5)", &zero);
    assert!(same(&decoupled, &[2.0 * 0.95 * 0.95, -0.95 * 0.95]), "{decoupled:?}");
}

#[test]
fn losses_come_apart_where_they_are_sums() {
    let exact = |loss: &str| {
        let model = "model M()(x: [B, 3]) -> y: [B, 3] { return x -> fc: Linear(3) }";
        let text = format!(
            "{model}\ntrain t {{ model = M()  accumulate = 2  epochs = 1  optimizer = SGD(lr = 1)  loss = {loss} }}"
        );
        let c = spec::compile(&text, Goal::Train { item: None }, &[], &mut Columns(vec![]), &mut |_, _| {})
            .unwrap_or_else(|f| panic!("{}", spec::shown(&f).join("\n")));
        let weights: Named = [("fc.weight", vec![3, 3]), ("fc.bias", vec![3])]
            .map(|(n, s): (&str, Vec<usize>)| {
                let len = s.iter().product::<usize>();
                (n.to_string(), Tensor::new(s, (0..len).map(|i| i as f64 / 10.0).collect::<Vec<_>>()))
            })
            .into();
        let x = Tensor::new([5, 3], (0..15).map(|i| f64::from(i * i % 7)).collect::<Vec<_>>());
        let batch: Named = [("x".to_string(), x)].into();
        let (whole, _) = step_in_pieces(&c, &weights, &batch, &[5]);
        let (parts, _) = step_in_pieces(&c, &weights, &batch, &[3, 2]);
        let same = whole.iter().all(|(n, w)| w.data.iter().zip(&parts[n].data).all(|(a, b)| (a - b).abs() < 1e-4));
        let warned = c.warnings.iter().any(|d| d.code == "W0803");
        assert_eq!(same, !warned, "{loss}");
        same
    };
    assert!(exact("mean(y ^ 2)"));
    assert!(exact("sum(y ^ 2)"));
    assert!(exact("-0.5 * mean(y) + 2 * mean(sum[-1](y ^ 2)) / 3"));
    assert!(exact("sum(y ^ 2) / max(sum(f32(x > 2)), 1)"));
    // The prelude's losses all do, but for info_nce, whose rows are each other's classes.
    let labels = "i64(x[:, 0]) % 3";
    for loss in [
        "mse(y, x)",
        "mae(y, x)",
        "huber(y, x)",
        "smooth_l1(y, x)",
        "log_cosh(y, x)",
        "bce(sigmoid(y), x / 7)",
        "bce_with_logits(y, x / 7, pos_weight = 2)",
        "focal(y, x / 7)",
        "dice(sigmoid(y), x / 7)",
        "hinge(y, x - 3)",
        "multi_margin(y, LABELS)",
        "triplet(y, x, x + 1)",
        "cosine_embedding(y, x, 1 - x[:, 0])",
        "poisson_nll(y, x)",
        "gaussian_nll(y, x, 1 + x)",
        "kl_div(log_softmax(x), log_softmax(y))",
        "nll(log_softmax(y), LABELS)",
        "nll(log_softmax(y), LABELS, ignore = 0, weight = f32(iota(3)) + 1)",
        "cross_entropy(y, LABELS, ignore = 1, smoothing = 0.1, weight = f32(iota(3)) + 1)",
        "soft_cross_entropy(y, softmax(x))",
    ] {
        assert!(exact(&loss.replace("LABELS", labels)), "{loss}");
    }
    assert!(!exact("info_nce(y, x)"));
    assert!(!exact("sqrt(mean(y ^ 2))"));
    assert!(!exact("sum(y ^ 2) / sqrt(sum(x ^ 2))"));
    assert!(!exact("sum(y ^ 2) / max(max(x), 1)"));
    assert!(exact("sum(y ^ 2) / (2 * sum(x) - sum(x ^ 2) / 9)"));
    assert!(exact("mean(y ^ 2) + sum(y ^ 2)"));
    assert!(!exact("sum(y ^ 2) / sum(abs(y))"));
}
