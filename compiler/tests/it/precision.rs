//! `precision = bf16`: operands of products are rounded, forward and backward, and nothing else is.

use crate::lower::{Named, run};
use crate::support::spec::{Columns, compile, mistakes, shown};
use dlc_compiler::pipeline::{Compiled, Goal};
use dlc_compiler::program::interp::Tensor;
use dlc_plan::{DType, HostState, cast};

fn spec(precision: &str) -> String {
    format!(
        "model Line()(x: [N, 2]) -> y: [N, 1] {{ return (x -> fc: Linear(1)) * 1.001 }}
data rows {{ source = safetensors(\"rows.safetensors\") batch = 4 }}
train fit {{ model = Line() data = rows loss = sum(y[:, 0] * t) optimizer = SGD(lr = 0.1) epochs = 1 {precision} }}
"
    )
}

fn files() -> Columns {
    Columns(vec![("x", DType::F32, vec![2]), ("t", DType::F32, vec![])])
}

fn compiled(precision: &str) -> Compiled {
    compile(&spec(precision), Goal::Train { item: None }, &[], &mut files(), &mut |_, _| {})
        .unwrap_or_else(|f| panic!("{}", shown(&f).join("\n")))
}

/// Numbers that bf16 does not have.
const X: [f64; 2] = [1.003, -2.007];
const W: [f64; 2] = [0.7001, 3.1305];
const T: f64 = 1.2345;

fn given() -> Named {
    let f32s = |x: &[f64]| x.iter().map(|x| cast(DType::F32, *x)).collect::<Vec<_>>();
    [
        ("x", Tensor::new([1, 2], f32s(&X))),
        ("t", Tensor::new([1], f32s(&[T]))),
        ("fc.weight", Tensor::new([1, 2], f32s(&W))),
        ("fc.bias", Tensor::new([1], f32s(&[0.3]))),
    ]
    .map(|(n, t)| (n.to_string(), t))
    .into()
}

/// What the formulas give where operands are rounded so: the output, and the gradients of weight and bias.
fn by_hand(round: impl Fn(f64) -> f64) -> (f64, [f64; 2], f64) {
    let [x, w] = [X, W].map(|v| v.map(|x| round(cast(DType::F32, x))));
    let y = (x[0] * w[0] + x[1] * w[1] + cast(DType::F32, 0.3)) * cast(DType::F32, 1.001);
    let dy = cast(DType::F32, T) * cast(DType::F32, 1.001);
    (y, x.map(|x| round(dy) * x), dy)
}

fn as_by_hand(precision: &str, round: impl Fn(f64) -> f64) {
    let c = compiled(precision);
    let (y, dw, db) = by_hand(round);
    let close = |what: &str, found: f64, expected: f64| {
        assert!((found - expected).abs() <= 1e-6 * expected.abs(), "{what}: {found} and not {expected}");
    };
    close("y", run(&c, "forward", &HostState::default(), &given())["y"].data[0], y);
    let grads = run(&c, "grad", &HostState::default(), &given());
    close("dw0", grads["fc.weight"].data[0], dw[0]);
    close("dw1", grads["fc.weight"].data[1], dw[1]);
    close("db", grads["fc.bias"].data[0], db);
}

#[test]
fn operands_of_products_are_rounded_and_nothing_else_is() {
    as_by_hand("", |x| x);
    as_by_hand("precision = f32", |x| x);
    as_by_hand("precision = bf16", |x| cast(DType::BF16, x));
}

#[test]
fn another_precision_is_refused() {
    assert_eq!(mistakes(&spec("precision = f16"), &mut files()), ["E0507 3:113 `f16`: `precision` is f32 or bf16"]);
}

/// A product of a narrow tensor and a wide one is of both as the wide one is; of two narrow ones, of what they are.
#[test]
fn operands_of_two_types_meet_in_the_wider_one() {
    let narrow = |x: f64| cast(DType::BF16, cast(DType::F32, x));
    let half = |x: f64| cast(DType::F16, cast(DType::F32, x));
    let single = |x: f64| cast(DType::F32, x);
    // A gradient has the type of what it is of, and becomes f32 behind the cast.
    for (product, x0, w0, dw) in [
        ("bf16(x) @ w", narrow(X[0]), single(W[0]), narrow(X[0])),
        ("x @ f16(w)", single(X[0]), half(W[0]), half(X[0])),
        ("(f16(w).t @ x.t).t", single(X[0]), half(W[0]), half(X[0])),
        ("f16(x) @ bf16(w)", half(X[0]), narrow(W[0]), narrow(half(X[0]))),
    ] {
        let text = format!(
            "model M()(x: [N, 1]) -> y: [N, 1] {{ w: param [1, 1] = ones  return f32({product}) }}
train fit {{ model = M()  loss = sum(y)  optimizer = SGD(lr = 0.1)  epochs = 1 }}"
        );
        let done = compile(&text, Goal::Train { item: None }, &[], &mut Columns(vec![]), &mut |_, _| {});
        let c = done.unwrap_or_else(|f| panic!("{product}: {}", shown(&f).join("\n")));
        let one = |x: f64| Tensor::new([1, 1], [cast(DType::F32, x)]);
        let given: Named = [("x", one(X[0])), ("w", one(W[0]))].map(|(n, t)| (n.to_string(), t)).into();
        assert_eq!(run(&c, "forward", &HostState::default(), &given)["y"].data[0], x0 * w0, "{product}");
        assert_eq!(run(&c, "grad", &HostState::default(), &given)["w"].data[0], dw, "{product}");
    }
}
