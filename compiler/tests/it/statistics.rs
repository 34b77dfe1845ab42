//! What speaks of the whole training split, or of weights, outside of a model: `statistic` in the columns of a data item,
//! `tensor` in losses and metrics.

use crate::lower::{Named, run};
use crate::support::spec::{Columns, compile, mistakes, shown};
use dlc_compiler::pipeline::{Compiled, Goal};
use dlc_compiler::program::interp::Tensor;
use dlc_plan::{DType, HostState};

/// A linear model on two columns, with this in place of `COLUMNS`, `LOSS` and `METRICS`.
fn spec(columns: &str, loss: &str, metrics: &str) -> String {
    format!(
        "model Line()(x: [N, 2]) -> y: [N] {{ out = x -> fc: Linear(1) return out[:, 0] }}
data rows {{ source = csv(\"rows.csv\") columns {{ {columns} }} batch = all }}
train fit {{ model = Line() data = rows loss = {loss} optimizer = SGD(lr = 0.1) epochs = 1 metrics {{ {metrics} }} }}
"
    )
}

fn files() -> Columns {
    Columns(["a", "b", "t"].map(|name| (name, DType::F32, Vec::new())).to_vec())
}

fn compiled(text: &str) -> Compiled {
    compile(text, Goal::Train { item: None }, &[], &mut files(), &mut |_, _| {})
        .unwrap_or_else(|f| panic!("{}", shown(&f).join("\n")))
}

fn column(data: &[f64]) -> Tensor {
    Tensor::new([data.len()], data)
}

#[test]
fn columns_are_standardized_by_the_training_split_alone() {
    let c = compiled(&spec("x = standardize(stack[1](a, b)) t = t", "mse(y, t)", ""));
    let host = HostState::default();
    let split: Named = [("a", [1.0, 2.0, 3.0, 6.0]), ("b", [5.0; 4]), ("t", [0.0; 4])]
        .map(|(n, x)| (n.to_string(), column(&x)))
        .into();
    let found = run(&c, "statistics", &host, &split);
    assert_eq!(found["statistic 1"].data, [2.5, 0.0], "half of what lies between the least and the greatest");
    assert!((found["statistic 3"].data[0] - 3.5_f64.sqrt() / 5.0).abs() < 1e-6 && found["statistic 3"].data[1] == 0.0);

    // Other rows, by the statistics of those: what never changes there is only moved.
    let mut given = found;
    given.extend([("a", [3.0, 10.0]), ("b", [5.0, 6.0]), ("t", [1.0, 2.0])].map(|(n, x)| (n.to_string(), column(&x))));
    let x = &run(&c, "columns", &host, &given)["x"];
    let expected = [0.0, 0.0, 7.0 / 3.5_f64.sqrt(), 1.0];
    assert!(x.data.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{:?}", x.data);
}

#[test]
fn columns_without_statistics_have_no_such_entry() {
    let c = compiled(&spec("x = stack[1](a, b) t = t", "mse(y, t)", ""));
    assert!(c.program.entry("statistics").is_none() && c.program.entry("columns").is_some());
}

#[test]
fn a_statistic_is_of_the_whole_split_and_stands_among_columns() {
    let rows = spec("x = stack[1](a, b) - statistic(a)[:, none] t = t", "mse(y, t)", "");
    let found = mistakes(&rows, &mut files());
    assert_eq!(
        found,
        ["E0509 2:79 `a`: a statistic is over all rows and has none, got [N] | help: `statistic(mean[0](x))` is the \
          mean over the training split"]
    );
    let model = "model M()(x: [N, 2]) -> y: [2] { return statistic(mean[0](x)) }";
    let found = mistakes(model, &mut files());
    assert_eq!(
        found,
        [
            "E0509 1:41 `statistic(mean[0](x))`: `statistic` stands in the columns of a `data` item: elsewhere there is no \
          split"
        ]
    );
}

#[test]
fn a_loss_and_a_metric_speak_of_weights() {
    let columns = "x = stack[1](a, b) t = t";
    let loss = "mse(y, t) + 0.5 * sum(tensor(\"fc.weight\") ^ 2)";
    let metrics = "zeros = sum(i64(tensor(\"fc.weight\") == 0))  size = sum(abs(tensor(\"fc.bias\")))";
    let c = compiled(&spec(columns, loss, metrics));
    let host = HostState::default();
    let weights = [("fc.weight", Tensor::new([1, 2], [3.0, 0.0])), ("fc.bias", Tensor::new([1], [-2.0]))];
    let mut given: Named = weights.map(|(n, t)| (n.to_string(), t)).into();
    let found = run(&c, "evaluate", &host, &given);
    assert_eq!((found["zeros"].data[0], found["size"].data[0]), (1.0, 2.0));

    // With targets met the gradient is the penalty's.
    given.insert("x".into(), Tensor::new([1, 2], [1.0, 4.0]));
    given.insert("t".into(), column(&[1.0]));
    let found = run(&c, "grad", &host, &given);
    assert_eq!((found["loss"].data[0], &found["fc.weight"].data[..]), (4.5, &[3.0, 0.0][..]));

    let wrong = spec(columns, "mse(y, t) + sum(tensor(\"fc.wieght\"))", "");
    let found = mistakes(&wrong, &mut files());
    assert_eq!(
        found,
        ["E0512 3:70 `\"fc.wieght\"`: the model has no weight `fc.wieght` | help: did you mean `fc.weight`?"]
    );
}
