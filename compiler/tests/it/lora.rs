//! `lora` items: mistakes in them, word for word; which weights they adapt, and what that makes of loops, gradients and plans.

use crate::support::spec::{Columns, compile, mistakes, shown};
use dlc_compiler::pipeline::{Compiled, Goal};
use dlc_compiler::program::{FnId, Op, Program};
use dlc_plan::Plan;
use dlc_plan::plan::{Gemm, Place, Step, Store};

const MODEL: &str = "block Layer(F)(x: [B, D]) -> [B, D] {
  h = x -> norm: LayerNorm -> q_lin: Linear(F)
  return x + (h -> k_lin: Linear(D))
}
model M(D = 8, L = 3, C = 4)(x: [B, D]) -> logits: [B, C] {
  repeat L as i { x = x -> layer.{i}: Layer(12) }
  spare: param [D, D] = zeros
  x = x * sum(spare)
  return x -> head: Linear(C)
}
";

fn spec(lora: &str, train: &str) -> String {
    let rest = "loss = mean(logits ^ 2)  optimizer = AdamW(lr = 1e-3)  max_steps = 3";
    format!("{MODEL}{lora}\ntrain t {{ model = M()  lora = A()  {rest} {train} }}")
}

#[test]
fn mistakes_are_told() {
    let cases = [
        "lora A { rank = 2  target \"**.q_proj\" }",
        "lora A { rank = 2  alpha = 16  target \"**.q_lin\" }",
        "lora A { rank = 0  target \"**.q_lin\" }",
        "lora A { rank = 1.5  target \"**.q_lin\" }",
        "lora A { target \"**.q_lin\" }",
        "lora A { rank = 2 }",
        "lora A { rank = 2  target \"**.q_lin\" if 1 }",
        "lora A { rank = 13  target \"**.q_lin\" }",
        "lora A { rank = 9  target \"**.q_lin\" }",
        "lora A { rank = 2  target \"**.q_lin\"  target \"layer.0\" }",
        "lora A { rank = 2  target \"**.norm\" }",
        "lora A { rank = 2  target \"**.bias\" }",
        "lora A { rank = 2  target \"spare\" }",
        "lora A { rank = 2  target \"**.q_lin\" if false }",
        "lora A { rank = 2  target \"**.q_lin\"  exclude \"layer\" }",
        "lora A { rank = 2  target \"**.q_lin\"  exclude \"layers\" }",
        "lora A { rank = 2  layers = [7]  target \"**.q_lin\" }",
        "lora A { rank = 2  layers = 0.5  target \"**.q_lin\" }",
        "lora A { rank = 2  dropout = 1.5  target \"**.q_lin\" }",
        "lora A { rank = 2  finish = drop  target \"**.q_lin\" }",
        "lora A { rank = 2  adapter = relu  target \"**.q_lin\" }",
        "lora A { rank = 2  scale = step  target \"**.q_lin\" }",
        "lora A { rank = 2  init { C = zeros }  target \"**.q_lin\" }",
        "lora A { rank = 2  target \"**.q_lin\" { rnak = 3 } }",
        "lora A { rank = 2  target \"**.q_lin\" => \"x\" }",
        "lora A(r) { rank = r  target \"**.q_lin\" }",
        "lora Other { rank = 2  target \"**.q_lin\" }",
        "block Wide(rank, scale, p)(x: [.., I], y: [.., O], w: [I, O]) { return w }
         lora A { rank = 2  adapter = Wide  target \"**.q_lin\" }",
        "block Two(rank, scale, p)(x: [.., I], y: [.., O], w: [I, O]) { return x, y }
         lora A { rank = 2  adapter = Two  target \"**.q_lin\" }",
    ];
    let mut all = String::new();
    for case in cases {
        let found = mistakes(&spec(case, ""), &mut Columns(vec![]));
        all.push_str(&format!("{case}\n{}\n\n", found.join("\n")));
    }
    insta::assert_snapshot!(all);
}

fn compiled(lora: &str, train: &str) -> Compiled {
    let done = compile(&spec(lora, train), Goal::Steps { item: None }, &[], &mut Columns(vec![]), &mut |_, _| {});
    done.unwrap_or_else(|f| panic!("{}", shown(&f).join("\n")))
}

fn plan(lora: &str, train: &str) -> Plan {
    compiled(lora, train).plan
}

/// The names of the trained weights.
fn trained(plan: &Plan) -> Vec<&str> {
    plan.weights.iter().filter(|w| w.store == Store::Trained).map(|w| w.name.as_str()).collect()
}

/// The products of some steps.
pub fn each_gemm(steps: &[Step], f: &mut dyn FnMut(&Gemm)) {
    for step in steps {
        match step {
            Step::Gemm(gemm) => f(gemm),
            Step::Repeat(repeat) => each_gemm(&repeat.steps, f),
            Step::Panels(panels) => each_gemm(&panels.steps, f),
            Step::Kernel(_) | Step::Copy { .. } | Step::Scatter { .. } | Step::Rows { .. } => {}
        }
    }
}

/// The products of a step of training.
fn products(plan: &Plan) -> usize {
    let mut count = 0;
    each_gemm(&plan.entries.iter().find(|e| e.name == "accumulate").expect("it trains").steps, &mut |g| {
        count += g.terms.len();
    });
    count
}

#[test]
fn what_is_frozen_has_no_gradient() {
    let all = plan("lora A { rank = 2  target \"**.q_lin\" }", "");
    let few = plan("lora A { rank = 2  freeze \"**\"  target \"**.q_lin\"  unfreeze \"head.bias\" }", "");
    let adapters: Vec<String> = (0..3).flat_map(|i| ["A", "B"].map(|p| format!("layer.{i}.q_lin.lora.{p}"))).collect();
    let expected: Vec<&str> = adapters.iter().map(String::as_str).chain(["head.bias"]).collect();
    assert_eq!(trained(&few), expected);
    let elements: usize = few.weights.iter().filter(|w| w.store == Store::Trained).map(|w| w.len()).sum();
    assert_eq!(elements, 3 * (8 * 2 + 2 * 12) + 4);
    // Of the frozen matrices, those of q, k and the head are products less.
    assert_eq!(products(&all) - products(&few), 3);
}

#[test]
fn an_adapter_joins_the_product_that_it_adapts() {
    let terms = |plan: &Plan, entry: &str| {
        let mut found = Vec::new();
        each_gemm(&plan.entries.iter().find(|e| e.name == entry).expect("it is there").steps, &mut |g| {
            found.push((g.terms.len(), g.then.is_some()));
        });
        found
    };
    let base = plan("lora A { rank = 2  freeze \"**\"  target \"head\" }", "");
    let found = plan("lora A { rank = 2  scale = 3  freeze \"**\"  target \"**.q_lin\" }", "");
    // x A, scaled; then x W + (x A) B, and the bias; then the other product of the layer, and the head.
    assert_eq!(terms(&found, "forward"), [(1, true), (2, true), (1, true), (1, true)]);
    // The same for the head alone, with a scale of 1, which is not multiplied by.
    assert_eq!(terms(&base, "forward"), [(1, true), (1, true), (1, false), (2, true)]);
    // Backwards, the gradient of x comes from W and from A at once.
    let step = terms(&found, "accumulate");
    assert_eq!(step.iter().filter(|(terms, _)| *terms == 2).count(), 2, "{step:?}");
}

#[test]
fn a_training_can_take_back_what_its_adapter_freezes() {
    let lora = "lora A { rank = 2  freeze \"**\"  target \"**.q_lin\" }";
    let found = plan(lora, "unfreeze \"head\"  freeze \"head.bias\"");
    assert_eq!(trained(&found).iter().filter(|name| !name.contains("lora")).collect::<Vec<_>>(), [&"head.weight"]);
}

/// How often each loop below a function runs.
fn loops(p: &Program, id: FnId) -> Vec<usize> {
    let of = |op: &Op| match op {
        Op::Repeat(repeat) => vec![repeat.count],
        Op::Call(f) => loops(p, *f),
        _ => Vec::new(),
    };
    p.function(id).nodes.iter().flat_map(|n| of(&n.op)).collect()
}

#[test]
fn layers_that_are_adapted_otherwise_are_other_loops() {
    let loops = |lora: &str| {
        let c = compiled(lora, "");
        let forward = c.program.entries.iter().find(|e| e.name == "forward").expect("a training has it");
        loops(&c.program, forward.function)
    };
    assert_eq!(loops("lora A { rank = 2  target \"**.q_lin\" }"), [3]);
    assert_eq!(loops("lora A { rank = 2  layers = [2]  target \"**.q_lin\" }"), [2]);
    assert_eq!(loops("lora A { rank = 2  layers = 0  target \"**.q_lin\" }"), [2]);
    assert_eq!(loops("lora A { rank = 2  layers = 1  target \"**.q_lin\" }"), [0; 0]);
}

#[test]
fn a_model_does_not_know_its_adapter() {
    // Neither the number of its own weights nor its first values change.
    let counted =
        MODEL.replace("-> logits: [B, C] {", "-> logits: [B, C] require params == 784 { init \"**.weight\" = ones ");
    let lora = "lora A { rank = 2  target \"**.q_lin\" }";
    let text = spec(lora, "").replace(MODEL, &counted);
    assert_eq!(mistakes(&text, &mut Columns(vec![])), Vec::<String>::new());
}

/// What a step of training has in its arena with one row: the elements of each buffer.
fn arena(plan: &Plan) -> Vec<i64> {
    let entry = plan.entries.iter().find(|e| e.name == "accumulate").expect("it trains");
    let dims = vec![1; plan.dims.len()];
    let arena = entry.buffers.iter().filter(|b| matches!(b.place, Place::Arena { .. }));
    arena.map(|b| b.len.eval(&dims)).collect()
}

#[test]
fn activations_are_kept_only_where_an_adapter_needs_them() {
    let kept = |lora: &str, layers: usize| {
        let text = spec(lora, "").replace("L = 3", &format!("L = {layers}"));
        let done = compile(&text, Goal::Steps { item: None }, &[], &mut Columns(vec![]), &mut |_, _| {});
        arena(&done.unwrap_or_else(|f| panic!("{}", shown(&f).join("\n"))).plan).iter().sum::<i64>()
    };
    let each = |lora: &str| (kept(lora, 9) - kept(lora, 5)) / 4;
    let last = |layers: usize| {
        kept(&format!("lora A {{ rank = 2  freeze \"**\"  layers = {}  target \"**.q_lin\" }}", layers - 1), layers)
    };
    // Below the lowest adapter nothing is kept, however many layers there are.
    assert_eq!(last(4), last(12));
    // Else a layer keeps what its norm and its adapter need: the normed rows, their deviation, and their two products with A.
    // What goes into the frozen product, 12 numbers, would be for its gradient alone.
    let all = each("lora A { rank = 2  target \"**.q_lin\" }");
    let few = each("lora A { rank = 2  freeze \"**\"  target \"**.q_lin\" }");
    assert_eq!((few, all), (8 + 1 + 2, 8 + 1 + 2 + 12));
}

#[test]
fn a_convolution_with_an_adapter_copies_no_windows() {
    let text = "model M()(x: [B, 4, 20, 20]) -> y: [B, 3] {
  x = x -> one: Conv2d(8, 3, stride = 2, padding = 1) -> tanh -> two: Conv2d(8, 5, padding = 2) -> tanh
  return global_avg_pool(x) -> head: Linear(3)
}
lora A { rank = 2  freeze \"**\"  target \"one\", \"two\" }
train t { model = M()  lora = A()  loss = mean(y ^ 2)  optimizer = SGD(lr = 0.1)  max_steps = 3 }";
    let done = compile(text, Goal::Steps { item: None }, &[], &mut Columns(vec![]), &mut |_, _| {});
    let plan = done.unwrap_or_else(|f| panic!("{}", shown(&f).join("\n"))).plan;
    // The windows of the first convolution have 100 * 36 elements, those of the second 100 * 200.
    let longest = arena(&plan).into_iter().max();
    assert!(longest.is_some_and(|longest| longest < 100 * 36), "{longest:?}");
}

/// A model that looks words up in a table and gives its answer by the same.
fn tied(width: u32, target: &str, output: &str) -> Vec<String> {
    let text = format!(
        "model T(V = 12, D = {width})(ids: i64[B, T]) -> logits: [B, T, V] {{
  wte: Embedding(V, D)
  x = wte(ids)
  x = x + (x -> fc: Linear(D))
  return {output}
}}
lora A {{ rank = 2  freeze \"**\"  target \"{target} }}
train t {{ model = T()  lora = A()  loss = mean(logits ^ 2)  optimizer = SGD(lr = 0.1)  max_steps = 3 }}"
    );
    mistakes(&text, &mut Columns(vec![]))
}

#[test]
fn one_adapter_serves_a_table_and_the_output_that_is_tied_to_it_if_it_has_a_block_for_that() {
    let across = "x @ wte.weight.t";
    for target in ["fc\"", "wte\"", "wte\", \"fc\""] {
        assert_eq!(tied(8, target, across), Vec::<String>::new(), "{target}");
    }
    // Also where the table is square, so that shapes do not tell.
    assert_eq!(tied(12, "wte\"", across), Vec::<String>::new());
    for (width, target, output) in
        [(12, "wte\"", "x @ wte.weight"), (8, "wte\"  adapter = DoRA", across), (12, "wte\"  adapter = DoRA", across)]
    {
        let found = tied(width, target, output);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains("`wte.weight` is read in two ways, which one adapter cannot serve"), "{found:?}");
    }
}

#[test]
fn a_fresh_head_that_an_adapter_freezes_is_told() {
    let found = |rules: &str| {
        let weights = "weights w { file = \"w.safetensors\"  missing \"head\" }";
        let text = spec(&format!("{weights}\nlora A {{ rank = 2  target \"**.q_lin\"  {rules} }}"), "weights = w");
        mistakes(&text, &mut Columns(vec![]))
    };
    let told = found("freeze \"**\"");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("W0801") && told[0].contains("`head` is random and frozen: it can never learn"),
        "{told:?}"
    );
    assert!(told[0].contains("`unfreeze \"head\"` or make it a target"), "{told:?}");
    assert_eq!(found("freeze \"**\"  unfreeze \"head\""), Vec::<String>::new());
    assert_eq!(found("freeze \"**\"  target \"head\""), Vec::<String>::new());
}

#[test]
fn what_an_adapter_adds_whatever_goes_in_is_merged_into_a_bias() {
    let block = "block Moved(rank, scale, p)(x: [.., I], y: [.., O], w: [I, O]) -> [.., O] {
  by: param [O] = zeros
  return y + by
}";
    // Which weights merging takes, besides the adapter's own.
    let takes = |adapter: &str| {
        let plan =
            plan(&format!("{block}\nlora A {{ rank = 2  adapter = {adapter}  freeze \"**\"  target \"head\" }}"), "");
        let merge = plan.entries.iter().find(|e| e.name == "merge").expect("there is an adapter");
        let weight = |b: &dlc_plan::plan::Buffer| match b.place {
            Place::Weight { weight, .. } => Some(plan.weights[weight as usize].name.clone()),
            _ => None,
        };
        let names = merge.buffers.iter().filter_map(weight).filter(|n| !n.contains("lora"));
        names.collect::<std::collections::BTreeSet<_>>().into_iter().collect::<Vec<_>>()
    };
    assert_eq!(takes("LoRA"), ["head.weight"]);
    assert_eq!(takes("DoRA"), ["head.weight"]);
    assert_eq!(takes("Moved"), ["head.bias", "head.weight"]);
    assert_eq!(takes("BiasedLoRA"), ["head.bias", "head.weight"]);
}

/// What is wrong with a spec, if its adapter is to be merged, if it is only kept, and if it is kept and then merged.
fn merged_and_kept(text: &str) -> [Vec<String>; 3] {
    let keeping = text.replace("finish = merge", "finish = keep");
    let told = |text: &str, goal: Goal| {
        compile(text, goal, &[], &mut Columns(vec![]), &mut |_, _| {}).err().map_or_else(Vec::new, |f| shown(&f))
    };
    let steps = Goal::Steps { item: None };
    [told(text, steps), told(&keeping, steps), told(&keeping, Goal::Merge { item: None })]
}

const MOVED: &str = "block Moved(rank, scale, p)(x: [.., I], y: [.., O], w: [I, O]) -> [.., O] {
  by: param [O] = zeros
  return y + by
}
block Part(O)(x: [.., I]) -> [.., O] {
  a: param [I, O] = zeros
  return x @ a
}
block Looped(rank, scale, p)(x: [.., I], y: [.., O], w: [I, O]) -> [.., O] {
  change = x -> part: Part(O)
  repeat 2 as i { y = (y + change) * 0.5 }
  return y * 4 - change * 3
}
block Twice(rank, scale, p)(x: [.., I], y: [.., O], w: [I, O]) -> [.., O] {
  repeat 2 as i { y = y + (x -> part.{i}: Part(O)) }
  return y
}
block Shared(O)(x: [.., I]) -> [.., O] {
  u: param [O, I] = normal(1)
  v: param [O, I] = normal(1)
  bias: param [O] = zeros
  return (x @ u.t + bias) + (tanh(x) @ v.t + bias)
}
";

fn own(body: &str, adapter: &str, target: &str) -> String {
    format!(
        "{MOVED}model M(D = 4)(x: [B, D]) -> y: [B, D] {{
{body}
}}
lora A {{ rank = 2  adapter = {adapter}  freeze \"**\"  target {target}  finish = merge }}
train t {{ model = M()  lora = A()  loss = mean(y ^ 2)  optimizer = SGD(lr = 1e-3)  max_steps = 3 }}"
    )
}

#[test]
fn what_no_bias_takes_can_be_trained_and_not_merged() {
    let cases = [
        // No bias at all.
        ("return x -> fc: Linear(D, bias = false)", "\"fc\""),
        // One for two products, as each of two terms, and once for the sum.
        ("return x -> fc: Shared(D)", "\"fc.u\", \"fc.v\""),
        (
            "u: param [D, D] = zeros  v: param [D, D] = zeros  bias: param [D] = zeros
          return x @ u + tanh(x) @ v + bias",
            "\"u\", \"v\"",
        ),
        // A weight that is read again without it.
        ("h = x -> fc: Linear(D)\n return h @ fc.weight.t", "\"fc\""),
        // One that is read elsewhere as well, and one for something else than the product.
        ("h = x -> fc: Linear(D)\n return h * fc.bias", "\"fc\""),
        (
            "weight: param [D, D] = normal(1)  bias: param [D] = zeros
          return sigmoid(x @ weight) + bias",
            "\"weight\"",
        ),
    ];
    for (body, target) in cases {
        let [merged, kept, asked] = merged_and_kept(&own(body, "Moved", target));
        assert!(merged.len() == 1 && merged[0].starts_with("E0515"), "{body}: {merged:?}");
        assert!(merged[0].contains("whatever goes in, and there is no bias to take that"), "{body}: {merged:?}");
        assert_eq!(kept, Vec::<String>::new(), "{body}: it can be trained");
        assert_eq!(asked, merged, "{body}");
    }
}

#[test]
fn a_bias_is_found_by_what_it_is_added_to() {
    let cases = [
        ("return x -> fc: Linear(D)", "fc.weight", "fc.bias"),
        ("weight: param [D, D] = normal(1)  bias: param [D] = zeros\n return x @ weight + bias", "weight", "bias"),
        ("w: param [D, D] = normal(1)  by: param [D] = zeros\n return tanh(by + (x @ w.t + x))", "w", "by"),
        ("repeat 2 as i { x = x -> l.{i}: Linear(D) }\n return x", "l.1.weight", "l.1.bias"),
        ("h = x -> fc: Linear(D)\n return h -> fc", "fc.weight", "fc.bias"),
    ];
    for (body, weight, bias) in cases {
        let target = format!("\"{}\"", weight.strip_suffix(".weight").unwrap_or(weight));
        let steps = Goal::Steps { item: None };
        let done = compile(&own(body, "Moved", &target), steps, &[], &mut Columns(vec![]), &mut |_, _| {});
        let done = done.unwrap_or_else(|f| panic!("{body}: {}", shown(&f).join("\n")));
        let lora = done.recipe.and_then(|recipe| recipe.lora).expect("it has an adapter");
        let adapted = lora.adapted.iter().find(|adapted| adapted.weight == weight).expect("it is adapted");
        assert_eq!(adapted.bias.as_deref(), Some(bias), "{body}");
    }
}

#[test]
fn an_adapter_with_a_loop_of_its_own_needs_no_bias() {
    let body = "return x -> fc: Linear(D, bias = false)";
    assert_eq!(merged_and_kept(&own(body, "Looped", "\"fc\"")), [const { Vec::<String>::new() }; 3]);
    // One whose iterations have weights of their own is trained, and not merged.
    let [merged, kept, asked] = merged_and_kept(&own(body, "Twice", "\"fc\""));
    assert!(merged.len() == 1 && merged[0].starts_with("E0515"), "{merged:?}");
    assert!(merged[0].contains("`Twice` has a loop with weights, so it cannot be merged"), "{merged:?}");
    assert_eq!((kept, asked), (Vec::new(), merged));
}

fn adaptable(lora: &str) -> Result<Compiled, Vec<String>> {
    let goal = Goal::Adapted { item: None };
    compile(&spec(lora, ""), goal, &[], &mut Columns(vec![]), &mut |_, _| {}).map_err(|f| shown(&f))
}

#[test]
fn a_model_for_adapters_of_any_rank_takes_them_as_inputs() {
    let lora = "lora A { rank = 2  dropout = 0.5  target \"**.q_lin\", \"head\"  layers = [0, 1, 2] }";
    let c = adaptable(&lora.replace(", \"head\"  layers", "  layers")).unwrap_or_else(|m| panic!("{m:?}"));
    let forward = &c.plan.entries.iter().find(|e| e.name == "forward").expect("it is run").inputs;
    let shown: Vec<(&str, String)> = forward
        .iter()
        .map(|port| {
            let sizes: Vec<String> =
                port.shape.iter().map(|s| s.known().map_or("?".into(), |n| n.to_string())).collect();
            (port.name.as_str(), sizes.join(" "))
        })
        .collect();
    let expected = [("x", "? 8"), ("layer.0.q_lin.lora.A", "3 8 ?"), ("layer.0.q_lin.lora.B", "3 ? 12")];
    assert_eq!(shown, expected.map(|(name, shape)| (name, shape.to_string())));
    assert!(c.plan.weights.iter().all(|w| !w.name.contains("lora")), "what adapters add is not stored");
    assert!(c.recipe.is_none() && !c.plan.weights.iter().any(|w| w.store == Store::Trained));
    let entry = c.program.entries.iter().find(|e| e.name == "forward").expect("it is run");
    assert_eq!(loops(&c.program, entry.function), [3], "layers are one loop whatever their rank");
    let adaptable = c.adaptable.expect("it was asked for");
    let weights: Vec<&str> = adaptable.inputs[1].weights.iter().map(String::as_str).collect();
    assert_eq!(weights, ["layer.0.q_lin.lora.B", "layer.1.q_lin.lora.B", "layer.2.q_lin.lora.B"]);
    assert_eq!(adaptable.lora.adapted.len(), 3);
}

#[test]
fn each_weight_outside_of_loops_has_a_rank_of_its_own() {
    let c = adaptable("lora A { rank = 2  target \"**.q_lin\", \"head\" }").unwrap_or_else(|m| panic!("{m:?}"));
    let forward = &c.plan.entries.iter().find(|e| e.name == "forward").expect("it is run").inputs;
    let ranks: Vec<_> = forward.iter().filter(|p| p.name.ends_with(".A")).map(|p| p.shape.last()).collect();
    assert!(ranks.len() == 2 && ranks[0] != ranks[1]);
    let again: Vec<_> =
        forward.iter().filter(|p| p.name.ends_with(".B")).map(|p| p.shape.iter().rev().nth(1)).collect();
    assert_eq!(again, ranks);
}

#[test]
fn nothing_but_a_rank_of_an_adapter_is_known_only_as_it_runs() {
    let block = "block Long(rank, scale, p)(x: [N, I], y: [N, O], w: [I, O]) -> [N, O] {
      A: param [N, rank] = zeros
      return y + sum(A)
    }
    lora A { rank = 2  adapter = Long  target \"head\" }";
    let found = adaptable(block).expect_err("it has a weight of a dynamic size");
    assert!(found.iter().any(|m| m.contains("E0204") && m.contains("and B is known only at run time")), "{found:?}");
    let plain = spec("lora A { rank = 2  target \"head\" }", "").replace("lora = A()", "");
    let goal = Goal::Adapted { item: None };
    let done = compile(&plain, goal, &[], &mut Columns(vec![]), &mut |_, _| {});
    let found = shown(&done.expect_err("nothing is adapted"));
    assert!(found.iter().any(|m| m.contains("`train t` has no adapter")), "{found:?}");
}
