//! Settings out of their ranges, shapes that are not those of a loss's other side, and outputs that meet columns of another
//! rank: told at the user's text.

use crate::support::spec::{self, Columns};
use dlc_compiler::pipeline::{Findings, Goal};
use dlc_plan::DType;

/// What is told of a training: mistakes, or warnings where there are none.
fn told(text: &str) -> Vec<String> {
    let mut columns = Columns(vec![
        ("x", DType::F32, vec![6]),
        ("t", DType::F32, vec![]),
        ("wide", DType::F32, vec![2]),
        ("label", DType::I64, vec![]),
    ]);
    match spec::compile(text, Goal::Train { item: None }, &[], &mut columns, &mut |_, _| {}) {
        Ok(done) => spec::shown(&Findings { sources: done.sources, diagnostics: done.warnings }),
        Err(findings) => spec::shown(&findings),
    }
}

/// A training of a model with this body, whose keys are these.
fn training(body: &str, keys: &str) -> String {
    let rest = [("loss", "mean(y)"), ("optimizer", "SGD(lr = 0.1)")];
    let rest: String = rest
        .iter()
        .filter(|(key, _)| !keys.contains(&format!("{key} =")))
        .map(|(k, v)| format!("{k} = {v}  "))
        .collect();
    format!(
        "model M()(x: [B, 6]) -> y: [..] {{ {body} }}
        data d {{ source = safetensors(\"d\")  batch = 4 }}
        train t {{ model = M()  data = d  epochs = 1  {rest}{keys} }}"
    )
}

#[test]
fn settings_have_ranges() {
    let linear = "return x -> fc: Linear(2)";
    let pooled =
        |pool: &str| training(&format!("return (x -> fc: Linear(32) -> [B, (2, 4, W) => B, 2, 4, W]) -> {pool}"), "");
    let layer = |text: &str| training(&format!("return x -> fc: Linear(6) -> {text} -> out: Linear(1)"), "");
    let optimizer = |text: &str| training(linear, &format!("optimizer = {text}"));
    let key = |text: &str| training(linear, text);
    let cases = [
        (layer("dropout(1.5)"), "dropout requires p <= 1"),
        (layer("dropout(-0.1)"), "dropout requires p >= 0"),
        (layer("stochastic_depth(2)"), "stochastic_depth requires p <= 1"),
        (layer("norm: LayerNorm(-1)"), "LayerNorm requires eps >= 0"),
        (layer("norm: BatchNorm(m = 2)"), "BatchNorm requires m <= 1"),
        (layer("norm: GroupNorm(0)"), "GroupNorm requires G >= 1"),
        (layer("softplus(0)"), "softplus requires beta > 0"),
        (optimizer("SGD(lr = inf)"), "SGD requires abs(lr) < inf"),
        (optimizer("Adam(lr = -0.1)"), "Adam requires lr >= 0"),
        (optimizer("SGD(lr = 0.1, momentum = -1)"), "SGD requires momentum == none or momentum >= 0"),
        (optimizer("SGD(lr = 0.1, nesterov = true)"), "SGD requires not nesterov or momentum != none"),
        (optimizer("Adam(lr = 0.1, beta1 = 1)"), "Adam requires beta1 < 1"),
        (optimizer("AdamW(lr = 0.1, beta2 = 1.5)"), "AdamW requires beta2 < 1"),
        (optimizer("AdamW(lr = 0.1, eps = -1e-8)"), "AdamW requires eps >= 0"),
        (optimizer("AdamW(lr = 0.1, weight_decay = -1)"), "AdamW requires weight_decay >= 0"),
        (optimizer("RMSProp(lr = 0.1, rho = 1.1)"), "RMSProp requires rho <= 1"),
        (optimizer("Adafactor(bound = 0)"), "Adafactor requires bound >= 1"),
        (key("clip = 0"), "requires clip == none or clip > 0"),
        (key("clip_value = -1"), "requires clip_value == none or clip_value > 0"),
        (key("l1 = -1"), "requires l1 == none or l1 >= 0"),
        (key("l2 = -1"), "requires l2 == none or l2 >= 0"),
        (key("prox_l1 = -1"), "requires prox_l1 == none or prox_l1 >= 0"),
        (key("group \"fc.bias\" { lr = -inf }"), "SGD requires abs(lr) < inf"),
        (key("loss = cross_entropy(y, label, smoothing = 1.5)"), "cross_entropy requires smoothing <= 1"),
        (key("loss = huber(y[:, 0], t, d = 0)"), "huber requires d > 0"),
        (key("loss = focal(y[:, 0], t, alpha = 2)"), "focal requires alpha <= 1"),
        (key("optimizer = SGD(lr = 0.1 * step_decay(step, 0))"), "step_decay requires every > 0"),
        (key("freeze \"**\""), "every weight is frozen, so nothing is trained"),
        (training("return x[:, none] -> conv: Conv1d(2, 3, stride = 0)", ""), "Conv1d requires stride >= 1"),
        (training("return x[:, none] -> conv: Conv1d(2, 3, dilation = 0)", ""), "Conv1d requires dilation >= 1"),
        (
            training("return x[:, none] -> conv: Conv1d(2, 3, padding = -1)", ""),
            "requires padding == \"same\" or padding >= 0",
        ),
        (pooled("max_pool(2, stride = 0)"), "max_pool requires stride >= 1"),
        (pooled("avg_pool(0)"), "avg_pool requires k >= 1"),
        (pooled("max_pool(2, padding = 2)"), "max_pool requires 2 * padding <= k"),
    ];
    for (text, said) in cases {
        let found = told(&text);
        let one = found.iter().find(|d| d.contains(said));
        assert!(one.is_some_and(|d| d.contains(" `")), "{text}: `{said}` is not in {found:#?}");
    }
}

#[test]
fn settings_at_the_ends_of_their_ranges_are_valid() {
    let linear = "return x -> fc: Linear(2)";
    for keys in [
        "optimizer = SGD(lr = 0)",
        "optimizer = SGD(lr = 0.1, momentum = 0)",
        "optimizer = Adam(lr = 0.1, beta1 = 0, eps = 0)",
        "l1 = 0  l2 = 0  prox_l1 = 0",
        "loss = cross_entropy(y, label, smoothing = 1)",
        "loss = focal(y[:, 0], t, gamma = 0, alpha = 1)",
        "optimizer = SGD(lr = 0.1 * warmup(step, 0))",
        "group \"fc.bias\" { lr = 0 }",
        "freeze \"fc.bias\"",
    ] {
        assert_eq!(told(&training(linear, keys)), [""; 0], "{keys}");
    }
    for body in ["dropout(0)", "dropout(1)", "channel_dropout(1)", "stochastic_depth(1)", "norm: BatchNorm(m = 0)"] {
        let body = format!("return x -> fc: Linear(6) -> {body} -> out: Linear(1)");
        assert_eq!(told(&training(&body, "")), [""; 0], "{body}");
    }
}

#[test]
fn losses_element_by_element_want_one_shape() {
    let linear = "return x -> fc: Linear(1)";
    for loss in ["mse", "mae", "huber", "smooth_l1", "log_cosh", "bce_with_logits", "focal", "hinge", "poisson_nll"] {
        let found = told(&training(linear, &format!("loss = {loss}(y, t)")));
        let [one] = &found[..] else { panic!("{loss}: {found:#?}") };
        assert!(one.starts_with("E0301") && one.contains("`y`") && one.contains("[B, 1] and [B]"), "{one}");
        assert!(one.contains("`y[:, 0]` has the shape [B]"), "{one}");
        assert_eq!(told(&training(linear, &format!("loss = {loss}(y[:, 0], t)"))), [""; 0], "{loss}");
        // A number has any shape.
        assert_eq!(told(&training(linear, &format!("loss = {loss}(y, 1)"))), [""; 0], "{loss}");
    }
    let found = told(&training(linear, "loss = mse(t, sigmoid(y))"));
    assert!(found.len() == 1 && found[0].contains("`sigmoid(y)[:, 0]` has the shape [B]"), "{found:#?}");
    let found = told(&training("return x -> fc: Linear(3)", "loss = mse(y, wide)"));
    assert!(found.len() == 1 && found[0].starts_with("E0301"), "{found:#?}");
    let found = told(&training("return x -> fc: Linear(1)", "loss = mse(y, wide)"));
    assert!(found.len() == 1 && found[0].starts_with("E0301"), "an axis of 1 is stretched: {found:#?}");
    // What takes classes is not element by element.
    assert_eq!(told(&training("return x -> fc: Linear(3)", "loss = cross_entropy(y, label)")), [""; 0]);
}

#[test]
fn outputs_that_meet_columns_of_another_rank_are_told() {
    let linear = "return x -> fc: Linear(1)";
    for loss in ["mean((y - t) ^ 2)", "mean(abs(t - 2 * y))", "mean(where(t > 0, y, 0))", "mean(max(y, t))"] {
        let found = told(&training(linear, &format!("loss = {loss}")));
        assert!(found.len() == 1 && found[0].starts_with("W0806") && found[0].contains("[B, 1]"), "{loss}: {found:#?}");
    }
    let metric = "loss = mean(y)  metrics { off = mean((y - t) ^ 2) }";
    let found = told(&training(linear, metric));
    assert!(found.len() == 1 && found[0].starts_with("W0806"), "{found:#?}");
    for fine in [
        "mean((y[:, 0] - t) ^ 2)",
        "mean((y - t[:, none]) ^ 2)",
        "mean(y * sum(t))",
        "mean(y) + mean(t)",
        "mean((y - mean(y)) ^ 2) + mean(x * t[:, none])",
        "sum(y * wide) / sum(wide)",
    ] {
        assert_eq!(told(&training(linear, &format!("loss = {fine}"))), [""; 0], "{fine}");
    }
}

#[test]
fn probabilities_that_a_model_returns_are_no_logits() {
    for body in ["return x -> fc: Linear(3) -> softmax", "p = x -> fc: Linear(3) -> softmax[-1]  return p"] {
        let found = told(&training(body, "loss = cross_entropy(y, label)"));
        assert!(found.len() == 1 && found[0].starts_with("W0802"), "{found:#?}");
    }
    let inner = "block Head()(x: [B, D]) -> [..] { return x -> fc: Linear(3) -> softmax }\n";
    let found = told(&(inner.to_string() + &training("return x -> head: Head", "loss = cross_entropy(y, label)")));
    assert!(found.len() == 1 && found[0].starts_with("W0802"), "{found:#?}");
    let found = told(&training("return x -> fc: Linear(1) -> sigmoid", "loss = bce_with_logits(y[:, 0], t)"));
    assert!(found.len() == 1 && found[0].starts_with("W0802"), "{found:#?}");
    assert_eq!(told(&training("return x -> fc: Linear(3)", "loss = cross_entropy(y, label)")), [""; 0]);
    assert_eq!(told(&training("return x -> fc: Linear(3) -> softmax", "loss = nll(log(y), label)")), [""; 0]);
}
