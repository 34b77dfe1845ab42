//! Gradients where a branch is not chosen: what is infinite or NaN there has no part in them, by the interpreter in double
//! precision and by machine code.

use crate::lower::{Named, run};
use crate::support::spec::{self, Columns};
use dlc_compiler::pipeline::{Compiled, Goal};
use dlc_compiler::program::Op;
use dlc_compiler::program::interp::Tensor;
use dlc_plan::{HostState, Prim};

/// A training whose loss is this expression of a weight `z` of some elements.
fn training(loss: &str, shape: &str) -> Compiled {
    let text = format!(
        "fn root(z) = where(z > 0, sqrt(z), z)
        model M()(x: [B, {shape}]) -> z: [{shape}] {{ z: param [{shape}] = zeros  return z + sum[0](x) }}
        train t {{ model = M()  loss = {loss}  optimizer = SGD(lr = 1)  max_steps = 1 }}"
    );
    let goal = Goal::Train { item: None };
    spec::compile(&text, goal, &[], &mut Columns(vec![]), &mut |_, _| {})
        .unwrap_or_else(|f| panic!("{loss}: {}", spec::shown(&f).join("\n")))
}

/// The gradient of a loss by the interpreter; checks that machine code gives the same.
fn gradient(loss: &str, shape: &[usize], z: &[f64]) -> Vec<f64> {
    let axes: Vec<String> = shape.iter().map(usize::to_string).collect();
    let c = training(loss, &axes.join(", "));
    let rows: Vec<usize> = [1].iter().chain(shape).copied().collect();
    let x = Tensor::new(rows, vec![0.0; z.len()]);
    let given: Named =
        [("x".to_string(), x.clone()), ("z".to_string(), Tensor::new(shape.to_vec(), z))].into_iter().collect();
    let found = run(&c, "grad", &HostState::default(), &given)["z"].data.to_vec();
    #[cfg(feature = "jit")]
    {
        let mut engine = crate::machine::engine(&c.plan, 1);
        let weight =
            dlc_runtime::tensor::Tensor::from_f32(shape.to_vec(), z.iter().map(|x| *x as f32).collect()).unwrap();
        engine.stores_mut().set_weight("z", &weight).unwrap();
        let outputs = crate::machine::run_entry(&mut engine, "grad", &[x], &HostState::default());
        same(&format!("{loss} in machine code"), &outputs[1].data, &found);
    }
    found
}

#[track_caller]
fn same(what: &str, found: &[f64], expected: &[f64]) {
    let near = |(a, b): (&f64, &f64)| a == b || (a - b).abs() <= 1e-5 * b.abs().max(1.0);
    assert!(
        found.len() == expected.len() && found.iter().zip(expected).all(near),
        "{what}: {found:?} for {expected:?}"
    );
}

#[test]
fn what_was_not_chosen_has_no_part_in_a_gradient() {
    let e = std::f64::consts::E;
    let cases: &[(&str, &[f64], &[f64])] = &[
        ("sum(where(z > 0, sqrt(z), z))", &[-1.0, 0.0, 4.0], &[1.0, 1.0, 0.25]),
        ("sum(root(z))", &[-1.0, 0.0, 4.0], &[1.0, 1.0, 0.25]),
        ("sum(where(z > 0, log(z), z))", &[0.0, -1.0, 2.0], &[1.0, 1.0, 0.5]),
        ("sum(where(z > 0, 1 / z, z))", &[0.0, -1.0, 2.0], &[1.0, 1.0, -0.25]),
        ("sum(where(z > 0, z ^ 0.5, z))", &[-1.0, 0.0, 4.0], &[1.0, 1.0, 0.25]),
        ("sum(where(z > 0, z ^ z, z))", &[0.0, -1.0, 1.0], &[1.0, 1.0, 1.0]),
        ("sum(where(z > 0, 2 ^ (1 / z), z))", &[0.0, -1.0, 1.0], &[1.0, 1.0, -2.0 * 2f64.ln()]),
        ("sum(where(z > 0, rsqrt(z), z))", &[0.0, -1.0, 1.0], &[1.0, 1.0, -0.5]),
        ("sum(where(z > 0, log1p(z - 1), z))", &[0.0, -1.0, 1.0], &[1.0, 1.0, 1.0]),
        ("sum(where(z < 10, exp(z), z))", &[1000.0, 1.0], &[1.0, e]),
        ("sum(where(z > 0, expm1(1 / z), z))", &[0.0, 1.0], &[1.0, -e]),
        ("sum(where(z > 0, sin(1 / z), z))", &[0.0, 1.0], &[1.0, -1f64.cos()]),
        ("sum(where(z > 0, tanh(1 / z), z))", &[0.0, 1.0], &[1.0, 1f64.tanh().powi(2) - 1.0]),
        ("sum(where(z > 0, 5 % z, z))", &[0.0, -1.0, 2.0], &[1.0, 1.0, -2.0]),
        ("sum(where(z > 0, z * log(z), 0))", &[0.0, -1.0, 2.0], &[0.0, 0.0, 2f64.ln() + 1.0]),
        ("sum(where(z > 0, exp(sqrt(z)), z))", &[-1.0, 0.0, 4.0], &[1.0, 1.0, 2f64.exp() / 4.0]),
        ("sum(where(z > 0, log(sqrt(z)) + 1 / z, z))", &[-1.0, 0.0, 4.0], &[1.0, 1.0, 0.0625]),
        // A function that states its derivative.
        ("sum(where(z > 0, silu(log(z)), z))", &[0.0, -1.0, 1.0], &[1.0, 1.0, 0.5]),
        ("sum(where(z > 0, softplus(log(z)), z))", &[0.0, -1.0, 1.0], &[1.0, 1.0, 0.5]),
        // One choice within another.
        ("sum(where(z > 0, where(z > 1, log(z - 1), sqrt(z)), 0))", &[-1.0, 0.25, 1.0, 3.0], &[0.0, 1.0, 0.5, 0.5]),
        // Other ways to choose: the greater, the lesser, a mask.
        ("sum(max(log(z), -100))", &[0.0, 2.0], &[0.0, 0.5]),
        ("sum(min(max(log(z), -5), 5))", &[0.0, 2.0], &[0.0, 0.5]),
        ("sum(relu(log(z)))", &[0.0, 0.5, 2.0], &[0.0, 0.0, 0.5]),
        ("sum(relu(z) * sqrt(z))", &[0.0, 4.0], &[0.0, 3.0]),
        ("sum(f32(z > 0) * sqrt(z))", &[0.0, 4.0], &[0.0, 0.25]),
        ("max(where(z > 0, sqrt(z), z))", &[0.0, 4.0], &[0.0, 0.25]),
        // Sums and running sums behind the choice.
        ("where(sum(z ^ 2) > 0, sqrt(sum(z ^ 2)), 0)", &[0.0, 0.0], &[0.0, 0.0]),
        ("sum(where(z > 0, cumsum[0](where(z > 0, sqrt(z), 0)), z))", &[-1.0, 0.0, 4.0], &[1.0, 1.0, 0.25]),
    ];
    for (loss, z, expected) in cases {
        same(loss, &gradient(loss, &[z.len()], z), expected);
    }
}

#[test]
fn rows_that_were_not_chosen_have_no_part_in_a_gradient() {
    let cases: &[(&str, [f64; 4], [f64; 4])] = &[
        ("sum(where(sum[1](z ^ 2) > 0, sqrt(sum[1](z ^ 2)), 0))", [0.0, 0.0, 3.0, 4.0], [0.0, 0.0, 0.6, 0.8]),
        (
            "sum(where(sum[1](z ^ 2) > 0, sum[1](z / sqrt(sum[1, keep](z ^ 2))), 0))",
            [0.0, 0.0, 3.0, 4.0],
            [0.0, 0.0, 0.032, -0.024],
        ),
        ("sum(where(z[:, 0] > 0, sum[1](log(z)), 0))", [0.0, 1.0, 2.0, 4.0], [0.0, 0.0, 0.5, 0.25]),
        ("sum(where(z[:, 0] > 0, mean[1](sqrt(z)), 0))", [0.0, 0.0, 1.0, 4.0], [0.0, 0.0, 0.25, 0.125]),
        ("sum(where(z[:, 0] > 0, max[1](log(z)), 0))", [0.0, 0.0, 1.0, 4.0], [0.0, 0.0, 0.0, 0.25]),
        ("sum(where(z[:, 0] > 0, prod[1](sqrt(z)), 0))", [0.0, 0.0, 1.0, 4.0], [0.0, 0.0, 1.0, 0.25]),
        // A product of matrices: its sums have nothing but zeros in such rows.
        (
            "sum(where(z[:, 0] > 0, (sqrt(z) @ z.t)[:, 1], 0))",
            [0.0, 0.0, 1.0, 4.0],
            [0.0, 0.0, 0.5 + 1.0, 0.25 * 4.0 + 2.0],
        ),
    ];
    for (loss, z, expected) in cases {
        same(loss, &gradient(loss, &[2, 2], z), expected);
    }
}

#[test]
fn focal_loss_has_finite_gradients_for_every_gamma() {
    for gamma in ["0", "0.1", "0.5", "1", "2"] {
        let found = gradient(&format!("focal(z, f32(z > 0), gamma = {gamma})"), &[4], &[200.0, -200.0, 100.0, 0.3]);
        assert!(found.iter().all(|x| x.is_finite()), "gamma = {gamma}: {found:?}");
        same(gamma, &found[..3], &[0.0; 3]);
        // By the formula, at z = 0.3 and t = 1: alpha (1 - p)^gamma (gamma p log(p) - (1 - p)) / 4.
        let (p, gamma) = (1.0 / (1.0 + (-0.3f64).exp()), gamma.parse::<f64>().unwrap());
        let expected = 0.25 * (1.0 - p).powf(gamma) * (gamma * p * p.ln() - (1.0 - p)) / 4.0;
        assert!((found[3] - expected).abs() < 1e-6, "gamma = {gamma}: {} for {expected}", found[3]);
    }
}

#[test]
fn graphs_without_such_a_choice_have_no_further_nodes() {
    // What is chosen between is finite whatever the inputs are, or nothing is chosen.
    for loss in ["sum(relu(z) * z)", "sum(where(z > 0, exp(-abs(z)), z))", "sum(sqrt(z) / z)", "sum(z / (1 + exp(-z)))"]
    {
        assert!(!compares(&training(loss, "3")), "{loss}");
    }
    assert!(compares(&training("sum(where(z > 0, sqrt(z), z))", "3")));
}

/// Whether a backward function compares anything for equality.
fn compares(c: &Compiled) -> bool {
    let backward = c.program.functions.iter().filter(|f| f.name.contains("backward"));
    backward.flat_map(|f| &f.nodes).any(|n| n.op == Op::Map(Prim::Eq))
}
