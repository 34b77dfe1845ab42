//! Ridge, lasso and elastic net: trained with penalties in machine code, against scikit-learn's coefficients.

use crate::machine::{engine, outputs};
use crate::support::golden::Golden;
use crate::support::spec::{self, Columns};
use dlc_compiler::pipeline::Goal;
use dlc_plan::{DType, HostState};

/// Weights and intercept after so many steps of gradient descent on the whole data set, and what the golden file has.
fn trained(name: &str, penalty: &str) -> (Vec<f32>, Vec<f32>) {
    let golden = Golden::read("golden/regression.safetensors").all();
    let text = format!(
        "model Line()(x: [B, 8]) -> y: [B] {{ w: param [8] = zeros  b: param [1] = zeros  return sum[-1](x * w) + b }}
        data d {{ source = safetensors(\"d.safetensors\")  batch = all }}
        train fit {{ model = Line()  data = d  loss = mse(y, t) / 2  epochs = 2000  optimizer = SGD(lr = 0.1)
          {penalty}  group \"b\" {{ l2 = 0  prox_l1 = 0 }} }}"
    );
    let mut columns = Columns(vec![("x", DType::F32, vec![8]), ("t", DType::F32, vec![])]);
    let c = spec::compile(&text, Goal::Train { item: None }, &[], &mut columns, &mut |_, _| {})
        .unwrap_or_else(|f| panic!("{}", spec::shown(&f).join("\n")));
    assert_eq!(c.recipe.as_ref().unwrap().data.as_ref().unwrap().batch, dlc_plan::recipe::Batch::All);
    let mut engine = engine(&c.plan, 1);
    engine.run("init", &HostState::default(), &[]).unwrap();
    let ports: Vec<String> =
        c.plan.entries.iter().find(|e| e.name == "accumulate").unwrap().inputs.iter().map(|p| p.name.clone()).collect();
    let batch: Vec<_> = ports.iter().map(|name| golden[name].clone()).collect();
    for step in 0..2000 {
        let host = HostState { step, steps: 2000, ..HostState::default() };
        outputs(&mut engine, "accumulate", &batch, &host);
        engine.run("update", &host, &[]).unwrap();
    }
    let weight = |name: &str| engine.stores().weight(name).unwrap().to_f32_vec();
    let expected = |part: &str| golden[&format!("{name}/{part}")].data.iter().map(|x| *x as f32).collect::<Vec<f32>>();
    ([weight("w"), weight("b")].concat(), [expected("w"), expected("b")].concat())
}

#[track_caller]
fn near(found: &[f32], expected: &[f32], bound: f32) {
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= bound), "{found:?} for {expected:?}");
}

#[test]
fn ridge_reaches_its_closed_form() {
    let (found, expected) = trained("ridge", "l2 = 0.1");
    near(&found, &expected, 1e-4);
}

#[test]
fn lasso_and_elastic_net_reach_scikit_learns_coefficients_and_exact_zeros() {
    for (name, penalty) in [("lasso", "prox_l1 = 0.2"), ("elastic", "prox_l1 = 0.2  l2 = 0.2")] {
        let (found, expected) = trained(name, penalty);
        near(&found, &expected, 1e-4);
        assert!(expected.contains(&0.0));
        for (a, b) in found.iter().zip(&expected) {
            assert_eq!(*a == 0.0, *b == 0.0, "{name}: {found:?} for {expected:?}");
        }
    }
}

#[test]
fn the_subgradient_of_l1_comes_near_and_has_no_zeros() {
    let (found, expected) = trained("lasso", "l1 = 0.2  group \"b\" { l1 = 0 }");
    near(&found, &expected, 0.05);
    assert!(found.iter().all(|x| *x != 0.0), "{found:?}");
}
