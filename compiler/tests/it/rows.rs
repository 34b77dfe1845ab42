//! Rows as a whole: `sort`, `top_k` and `cumsum`, by the interpreter and by machine code, and their gradients.

use crate::lower::{Named, run};
use crate::support::spec::{Columns, compile, mistakes, shown};
use dlc_compiler::pipeline::{Compiled, Goal};
use dlc_compiler::program::interp::Tensor;
use dlc_plan::{DType, HostState};

/// A training whose model gives these expressions of `x: [B, N]`, and whose loss weighs what the first of them gives.
fn spec(body: &str, outputs: &str) -> String {
    format!(
        "model Rows(N = 5)(x: [B, N]) -> ({outputs}) {{
  scale: param [N] = ones
  x = x * scale
  {body}
}}
data rows {{ source = safetensors(\"rows.safetensors\") batch = 4 }}
train fit {{ model = Rows() data = rows loss = sum(y * w) optimizer = SGD(lr = 0.1) epochs = 1 }}
"
    )
}

fn files() -> Columns {
    Columns(vec![("x", DType::F32, vec![5]), ("w", DType::F32, vec![5])])
}

fn compiled(text: &str) -> Compiled {
    compile(text, Goal::Train { item: None }, &[], &mut files(), &mut |_, _| {})
        .unwrap_or_else(|f| panic!("{}", shown(&f).join("\n")))
}

const X: [f64; 10] = [3.0, -1.0, 2.0, -1.0, 7.0, 0.5, 0.25, -4.0, 8.0, 0.5];
const W: [f64; 10] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0];

fn given() -> Named {
    [("x", Tensor::new([2, 5], X)), ("w", Tensor::new([2, 5], W)), ("scale", Tensor::new([5], [1.0; 5]))]
        .map(|(n, t)| (n.to_string(), t))
        .into()
}

/// What the model gives, by the interpreter, and asserts that machine code gives the same.
fn forward(c: &Compiled) -> Named {
    let found = run(c, "forward", &HostState::default(), &given());
    #[cfg(feature = "jit")]
    {
        use dlc_runtime::tensor::Tensor as Given;
        let mut engine = crate::machine::engine(&c.plan, 2);
        engine.run("init", &HostState::default(), &[]).unwrap();
        let x = Given::from_f32(vec![2, 5], X.map(|x| x as f32).to_vec()).unwrap();
        for (name, t) in engine.run("forward", &HostState::default(), &[("x", &x)]).unwrap() {
            let numbers: Vec<f64> = match t.view::<i64>() {
                Ok(whole) => whole.iter().map(|x| *x as f64).collect(),
                Err(_) => t.to_f32_vec().iter().map(|x| f64::from(*x)).collect(),
            };
            assert_eq!(numbers, found[&name].data, "{name} by machine code");
        }
    }
    found
}

fn gradient(c: &Compiled) -> Vec<f64> {
    run(c, "grad", &HostState::default(), &given())["scale"].data.clone()
}

#[test]
fn rows_are_sorted_and_gradients_go_back_to_where_they_were() {
    let c = compiled(&spec("y, at = sort(x) return y, at", "y: [B, N], at: i64[B, N]"));
    let found = forward(&c);
    assert_eq!(found["y"].data, [-1.0, -1.0, 2.0, 3.0, 7.0, -4.0, 0.25, 0.5, 0.5, 8.0]);
    assert_eq!(found["at"].data, [1.0, 3.0, 2.0, 0.0, 4.0, 2.0, 1.0, 0.0, 4.0, 3.0]);
    // The weight of an element is that of its place in the order, and the gradient of its scale is that times it.
    assert_eq!(gradient(&c), [4.0 * 3.0 + 8.0 * 0.5, -1.0 + 7.0 * 0.25, 6.0 - 6.0 * 4.0, -2.0 + 80.0, 35.0 + 4.5]);

    let c = compiled(&spec("y, at = sort[-1](x, true) return y, at", "y: [B, N], at: i64[B, N]"));
    let found = forward(&c);
    assert_eq!(found["y"].data, [7.0, 3.0, 2.0, -1.0, -1.0, 8.0, 0.5, 0.5, 0.25, -4.0]);
    assert_eq!(found["at"].data, [4.0, 0.0, 2.0, 1.0, 3.0, 3.0, 0.0, 4.0, 1.0, 2.0]);
}

#[test]
fn another_axis_is_sorted_as_the_last_one_is() {
    let body = "z, at = sort[0](x -> [B, N => N, B]) y = z -> [N, B => B, N] return y, at";
    let c = compiled(&spec(body, "y: [B, N], at: i64[N, B]"));
    let found = forward(&c);
    assert_eq!(found["y"].data, [-1.0, -1.0, 2.0, 3.0, 7.0, -4.0, 0.25, 0.5, 0.5, 8.0]);
    assert_eq!(found["at"].data, [1.0, 2.0, 3.0, 1.0, 2.0, 0.0, 0.0, 4.0, 4.0, 3.0]);
}

#[test]
fn the_greatest_elements_come_with_their_places() {
    let body = "top, at = top_k(x, 2) y = x + top[:, 1:] return y, top, at";
    let c = compiled(&spec(body, "y: [B, N], top: [B, 2], at: i64[B, 2]"));
    let found = forward(&c);
    assert_eq!(found["top"].data, [7.0, 3.0, 8.0, 0.5]);
    assert_eq!(found["at"].data, [4.0, 0.0, 3.0, 0.0]);
    // The second greatest is element 0 of both rows, and gets all weights of its row besides its own.
    assert_eq!(
        gradient(&c),
        [(1.0 + 15.0) * 3.0 + (6.0 + 40.0) * 0.5, -2.0 + 1.75, 6.0 - 32.0, -4.0 + 72.0, 35.0 + 5.0]
    );
}

#[test]
fn sums_run_along_an_axis() {
    let c = compiled(&spec("y = cumsum(x) return y, cumsum[0](i64(x))", "y: [B, N], down: i64[B, N]"));
    let found = forward(&c);
    assert_eq!(found["y"].data, [3.0, 2.0, 4.0, 3.0, 10.0, 0.5, 0.75, -3.25, 4.75, 5.25]);
    assert_eq!(found["down"].data, [3.0, -1.0, 2.0, -1.0, 7.0, 3.0, -1.0, -2.0, 7.0, 7.0]);
    let rest = |row: usize, i: usize| W[row * 5 + i..row * 5 + 5].iter().sum::<f64>();
    let expected: Vec<f64> = (0..5).map(|i| rest(0, i) * X[i] + rest(1, i) * X[5 + i]).collect();
    assert_eq!(gradient(&c), expected);
}

#[test]
fn what_has_no_order_is_refused() {
    let wrong =
        |body: &str| mistakes(&format!("model M()(x: [B, 4]) -> y: [B, 4] {{ {body} return x }}"), &mut files());
    assert_eq!(wrong("v, at = top_k(x, 5)"), ["E0311 1:54 `5`: 5 is outside of 4"]);
    assert_eq!(
        wrong("v, at = sort(x > 0)"),
        ["E0403 1:50 `x > 0`: `sort` needs numbers along an axis, got bool[B, 4]"]
    );
    assert_eq!(
        wrong("v = cumsum[0, 1](x)"),
        ["E0306 1:41 `cumsum[0, 1]`: `cumsum` goes along one axis: `cumsum[-1](x)`"]
    );
    assert_eq!(wrong("v, at = sort(x, 1)"), ["E0112 1:53 `1`: `sort` goes down where `true` stands here, got 1"]);
}
