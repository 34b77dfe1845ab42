//! Adapters of weights with groups, grouped convolutions among them: what of the columns is not of a row's group is never
//! computed.

use crate::support::spec::{Columns, compile, mistakes, shown};
use dlc_compiler::pipeline::{Compiled, Goal};
use dlc_plan::Plan;
use dlc_plan::plan::{Gemm, Step};

/// Blocks of one's own: one that reads the wide product twice, and one that scales what the model gives.
const BLOCKS: &str = "
block Gated(rank, scale, p)(x: [.., I], y: [.., O], w: [I, O]) -> [.., O] {
  A: param [I, rank] = normal(1)
  B: param [rank, O] = zeros
  h = (dropout(x, p) @ A) @ B
  return y + h * tanh(scale * h)
}
block Gains(rank, scale, p)(x: [.., I], y: [.., O], w: [I, O]) -> [.., O] {
  gain: param [O] = zeros
  return y * (1 + scale * gain)
}
";

/// Models in which 7 stands for groups alone, and as one factor of all else.
const MODELS: [&str; 6] = [
    "model M()(x: [B, 14, 10, 10]) -> y: [B, 35, 8, 8] { return x -> one: Conv2d(35, 3, groups = 7) }",
    "model M()(x: [B, 14, 10, 10]) -> y: [B, 35, 5, 5] {
  return x -> one: Conv2d(35, 3, groups = 7, stride = 2, padding = 1, bias = false)
}",
    "model M()(x: [B, 7, 20]) -> y: [B, 7, 18] { return x -> one: Conv1d(7, 3, groups = 7) }",
    "model M()(x: [B, 7, 11, 11]) -> y: [B, 7, 11, 11] {
  x = tanh(x)
  return x -> one: Conv2d(7, 3, groups = 7, padding = \"same\", dilation = 2) -> tanh
}",
    "model M()(x: [B, 7, 4]) -> y: [B, 7, 5] {
  one: param [7, 4, 5] = normal(1)
  y[b, e, o] = sum[i](x[b, e, i] * one[e, i, o])
  return y
}",
    "model M()(x: [B, T, 4, 7]) -> y: [B, 5, T, 7] {
  one: param [5, 4, 7] = normal(1)
  y[b, o, t, e] = sum[i](x[b, t, i, e] * one[o, i, e])
  return y
}",
];

fn spec(model: &str, adapter: &str) -> String {
    format!(
        "{BLOCKS}{model}
lora A {{ rank = 2  scale = 3  adapter = {adapter}  dropout = 0.5  freeze \"**\"  target \"one\"  finish = keep }}
train t {{ model = M()  lora = A()  loss = mean(tanh(y) ^ 2)  optimizer = SGD(lr = 0.1)  max_steps = 3 }}"
    )
}

fn compiled(text: &str, goal: Goal) -> Compiled {
    let done = compile(text, goal, &[], &mut Columns(vec![]), &mut |_, _| {});
    done.unwrap_or_else(|f| panic!("{text}\n{}", shown(&f).join("\n")))
}

fn each_gemm(steps: &[Step], f: &mut dyn FnMut(&Gemm)) {
    for step in steps {
        match step {
            Step::Gemm(gemm) => f(gemm),
            Step::Repeat(repeat) => each_gemm(&repeat.steps, f),
            Step::Panels(panels) => each_gemm(&panels.steps, f),
            Step::Kernel(_) | Step::Copy { .. } | Step::Scatter { .. } | Step::Rows { .. } => {}
        }
    }
}

/// What in a plan has the groups twice: buffers, and products by what they multiply.
fn squares(plan: &Plan) -> Vec<String> {
    let dims = vec![1; plan.dims.len()];
    let mut found = Vec::new();
    for entry in &plan.entries {
        for buffer in &entry.buffers {
            let len = buffer.len.eval(&dims);
            found.extend((len > 0 && len % 49 == 0).then(|| format!("{}: {len} elements", entry.name)));
        }
        each_gemm(&entry.steps, &mut |gemm| {
            let all = gemm.batch.iter().chain([&gemm.m, &gemm.n]).map(|s| s.eval(&dims)).product::<i64>();
            for term in &gemm.terms {
                let count = all * term.k.eval(&dims);
                found.extend((count % 49 == 0).then(|| format!("{}: {} takes {count} steps", entry.name, gemm.note)));
            }
        });
    }
    found
}

#[test]
fn the_adapter_of_a_weight_with_groups_gives_each_row_the_columns_of_its_group_alone() {
    for model in MODELS {
        for adapter in ["LoRA", "DoRA", "BiasedLoRA", "Gated", "Gains"] {
            let text = spec(model, adapter);
            let plan = compiled(&text, Goal::Train { item: None }).plan;
            assert_eq!(squares(&plan), Vec::<String>::new(), "{model} with {adapter}");
        }
        let plan = compiled(&spec(model, "LoRA"), Goal::Adapted { item: None }).plan;
        assert_eq!(squares(&plan), Vec::<String>::new(), "{model} with adapters of any rank");
    }
}

#[test]
fn what_is_counted_would_be_found() {
    // An adapter that adds up all columns needs them all.
    let all = "block All(rank, scale, p)(x: [.., I], y: [.., O], w: [I, O]) -> [.., O] {
  A: param [I, O] = zeros
  return y + cumsum(x @ A)
}";
    let plan = compiled(&(all.to_string() + &spec(MODELS[0], "All")), Goal::Train { item: None }).plan;
    assert!(!squares(&plan).is_empty());
}

#[test]
fn the_adapter_of_a_weight_with_groups_joins_its_product() {
    for model in &MODELS[..4] {
        let plan = compiled(&spec(model, "LoRA"), Goal::Train { item: None }).plan;
        let forward = plan.entries.iter().find(|e| e.name == "forward").expect("it is run");
        let mut terms = Vec::new();
        each_gemm(&forward.steps, &mut |gemm| terms.push(gemm.terms.len()));
        assert_eq!(terms, [1, 2], "{model}");
    }
}

#[test]
fn a_part_of_an_axis_is_no_side_of_a_weight() {
    let text = spec(
        "model M()(x: [B, 7, 4]) -> y: [B, 7, 5] {
  one: param [28, 5] = normal(1)
  parts = one -> [(7, I), O => 7, I, O]
  y[b, e, o] = sum[i](x[b, e, i] * parts[e, i, o])
  return y
}",
        "LoRA",
    );
    let found = mistakes(&text, &mut Columns(vec![]));
    let message = "E0515 18:82 `\"one\"`: what is summed over here is no axis of `one`, but a part of one, which no adapter is for";
    let help = "an `exclude` for it, or a weight with one axis more in place of the axis that is split here";
    assert_eq!(found, [format!("{message} | help: {help}")]);
}
