//! Adapters of weights with groups: what they give is what their formula gives, written out; and files of grouped
//! convolutions, which PEFT has otherwise.

use crate::lora::{all_weights, apart, compiled, fill, golden_folder, of, root, run, training, twin};
use crate::numbers::{numbers, weight};
use crate::scratch::Scratch;
use dlc::adapters;
use dlc::jit::{adaptable, network};
use dlc::machine::Machine;
use dlc::weights::file::TensorFile;
use dlc::{Network, Tensor};
use dlc_compiler::pipeline::Goal;

/// A weight that is read group by group.
struct Read {
    /// Its shape, and that of what the product gives for a row.
    shape: &'static str,
    gives: &'static str,
    /// Statements that give `RESULT` as the product of x with `WEIGHT`.
    product: &'static str,
    /// How it lies as a matrix, and the other way round.
    flat: &'static str,
    back: &'static str,
    /// The sides of that matrix.
    sides: (usize, usize),
}

/// The parts of a weight in two orders, some of a weight, and groups of two kinds.
const READ: [Read; 4] = [
    Read {
        shape: "[3, 4, 5]",
        gives: "[B, 3, 5]",
        product: "RESULT[b, e, o] = sum[i](x[b, e, i] * WEIGHT[e, i, o])",
        flat: "[3, I, O => I, (3, O)]",
        back: "[I, (3, O) => 3, I, O]",
        sides: (4, 15),
    },
    Read {
        shape: "[5, 4, 3]",
        gives: "[3, B, 5]",
        product: "RESULT[e, b, o] = sum[i](x[b, e, i] * WEIGHT[o, i, e])",
        flat: "[O, I, 3 => I, (O, 3)]",
        back: "[I, (O, 3) => O, I, 3]",
        sides: (4, 15),
    },
    Read {
        shape: "[5, 4, 6]",
        gives: "[B, 3, 3]",
        product: "some = WEIGHT[1:4, :, 2:5]  RESULT[b, o, e] = sum[i](x[b, e, i] * some[o, i, e])",
        flat: "[O, I, 6 => I, (O, 6)]",
        back: "[I, (O, 6) => O, I, 6]",
        sides: (4, 30),
    },
    Read {
        shape: "[3, 2, 2, 5]",
        gives: "[B, 3, 2, 5]",
        product: "u = x -> [B, E, (2, I) => B, E, 2, I]
  RESULT[b, e, h, o] = sum[i](u[b, e, h, i] * WEIGHT[e, i, h, o])",
        flat: "[3, I, 2, O => I, (3, 2, O)]",
        back: "[I, (3, 2, O) => 3, I, 2, O]",
        sides: (2, 30),
    },
];

/// Adapters, and what they make of a product `y`, written with a weight that is a matrix.
const ADAPTERS: [(&str, &str); 6] = [
    ("LoRA", "new = f + 1.5 * (down @ up)"),
    ("Looped", "new = f + 3 * (down @ up)"),
    ("Added", "new = f + cumsum(down @ up)"),
    (
        "DoRA",
        "before = sqrt(sum[0](stop(f) ^ 2))
  after = sqrt(sum[0](stop(f + 1.5 * (down @ up)) ^ 2))
  new = (f + 1.5 * (down @ up)) * ((before + magnitude) / after)",
    ),
    ("Gated", "new = f"),
    ("Doubled", "new = f"),
];

const BLOCKS: &str = "
block Looped(rank, scale, p)(x: [.., I], y: [.., O], w: [I, O]) -> [.., O] {
  A: param [I, rank] = normal(1)
  B: param [rank, O] = zeros
  change = (x @ A) @ B
  repeat 2 as i { y = (y + change) * 0.5 }
  return y * 4
}
block Added(rank, scale, p)(x: [.., I], y: [.., O], w: [I, O]) -> [.., O] {
  A: param [I, rank] = normal(1)
  B: param [rank, O] = zeros
  return y + cumsum((x @ A) @ B)
}
block Gated(rank, scale, p)(x: [.., I], y: [.., O], w: [I, O]) -> [.., O] {
  A: param [I, rank] = normal(1)
  B: param [rank, O] = zeros
  h = (x @ A) @ B
  return y + h * sigmoid(scale * h)
}
block Doubled(rank, scale, p)(x: [.., I], y: [.., O], w: [I, O]) -> [.., O] {
  A: param [I, rank] = normal(1)
  B: param [rank, O] = zeros
  return 2 * y + ((x @ A) @ B) * tanh(x @ w)
}
";

fn machine(text: &str) -> Network {
    let c = training(&Scratch::new().file("spec.dl", text), "t", &[]);
    let mut net = network(c.plan, c.recipe, 0).expect("there is machine code");
    fill(&mut net);
    net
}

/// A model with an adapter, and the same with the adapter's formula in its text.
fn texts(read: &Read, adapter: &str, formula: &str) -> [String; 2] {
    let Read { shape, gives, product, flat, back, sides: (inner, outer) } = read;
    let train = "loss = mean(tanh(y) ^ 2)  optimizer = SGD(lr = 0.1)  max_steps = 3 }";
    let product = |weight: &str, result: &str| product.replace("WEIGHT", weight).replace("RESULT", result);
    let adapted = format!(
        "{BLOCKS}model M()(x: [B, 3, 4]) -> y: {gives} {{
  w: param {shape} = normal(1)
  {}
  return z
}}
lora A {{ rank = 2  scale = 1.5  adapter = {adapter}  freeze \"**\"  target \"w\"  finish = keep }}
train t {{ model = M()  lora = A()  {train}",
        product("w", "z")
    );
    // What is no change of the weight is made of what A and B alone give.
    let (change, last) = match adapter {
        "Gated" => (product("change", "h"), "z + h * sigmoid(1.5 * h)"),
        "Doubled" => (product("change", "h"), "2 * z + h * tanh(z)"),
        _ => (String::new(), "z"),
    };
    let magnitude =
        if formula.contains("magnitude") { format!("magnitude: param [{outer}] = zeros") } else { String::new() };
    let spelled = format!(
        "model M()(x: [B, 3, 4]) -> y: {gives} {{
  w: param {shape} = normal(1)
  down: param [{inner}, 2] = normal(1)
  up: param [2, {outer}] = normal(1)
  {magnitude}
  f = w -> {flat}
  {formula}
  weight = new -> {back}
  change = (down @ up) -> {back}
  {}
  {change}
  return {last}
}}
train t {{ model = M()  freeze \"w\"  {train}",
        product("weight", "z")
    );
    [adapted, spelled]
}

/// What a weight is called where the formula is written out.
fn written(name: &str) -> &str {
    match name {
        "w.lora.A" => "down",
        "w.lora.B" => "up",
        "w.lora.magnitude" => "magnitude",
        other => other,
    }
}

#[test]
fn an_adapter_of_a_weight_with_groups_is_its_formula() {
    for read in &READ {
        for (adapter, formula) in ADAPTERS {
            let mut nets = texts(read, adapter, formula).map(|text| machine(&text));
            let own: Vec<String> = nets[0].engine().plan().weights.iter().map(|w| w.name.clone()).collect();
            for name in &own {
                let value = nets[0].engine().weight(name).expect("it is a weight");
                nets[1].engine_mut().set_weight(written(name), &value).unwrap_or_else(|e| panic!("{e}"));
            }
            let x = Tensor::from_f32(vec![2, 3, 4], numbers("x", 24).collect()).expect("as many");
            let near = |found: &Tensor, expected: &Tensor, what: &str| {
                let off = apart(found, expected);
                assert!(off <= 1e-5, "{adapter} of {}: {what} is {off:e} off", read.shape);
            };
            let [found, expected] = nets.each_mut().map(|net| net.run("forward", &[("x", &x)]).expect("it runs"));
            near(of(&found, "y"), of(&expected, "y"), "y");
            let [found, expected] = nets.each_mut().map(|net| net.run("grad", &[("x", &x)]).expect("it runs"));
            assert_eq!(found.len(), expected.len());
            for (name, grad) in &found {
                near(grad, of(&expected, written(name)), name);
            }
        }
    }
}

#[test]
fn what_is_merged_into_a_weight_with_groups_gives_what_its_adapter_gave() {
    for read in &READ {
        for adapter in ["LoRA", "Looped", "Added", "DoRA"] {
            let [text, _] = texts(read, adapter, "");
            let c = training(&Scratch::new().file("spec.dl", &text), "t", &[]);
            let lora = c.recipe.as_ref().and_then(|recipe| recipe.lora.clone()).expect("it has an adapter");
            let mut net = machine(&text);
            let x = Tensor::from_f32(vec![2, 3, 4], numbers("x", 24).collect()).expect("as many");
            let y = |net: &mut Network| of(&net.run("forward", &[("x", &x)]).expect("it runs"), "y").clone();
            let (all, before) = (all_weights(&net), y(&mut net));
            let kept = adapters::merge(net.engine_mut(), &lora).expect("it changes weights");
            let off = apart(&y(&mut net), &before);
            assert!(off > 0.0 && off <= 1e-5, "{adapter} of {}: merging changes outputs by {off:e}", read.shape);
            adapters::unmerge(net.engine_mut(), &kept).expect("these are its weights");
            assert!(all_weights(&net) == all, "{adapter}: what was merged and taken back is as it was, bit by bit");
        }
    }
}

/// The model of the twin `grouped` with plain adapters, of which those of any rank are made.
fn plain(goal: Goal) -> dlc_compiler::pipeline::Compiled {
    let text = std::fs::read_to_string(root().join("tests/specs/lora.dl")).expect("it is there");
    let text = text.replace("../../examples", &root().join("examples").display().to_string());
    let (before, item) = text.split_once("lora Grouped {").expect("it is there");
    let item = item.replacen("adapter = BiasedLoRA", "", 1);
    compiled(&Scratch::new().file("lora.dl", format!("{before}lora Grouped {{{item}")), &[], goal)
}

#[test]
fn adapters_of_convolutions_in_groups_run_on_a_base_of_any_rank() {
    let c = plain(Goal::Train { item: Some("grouped") });
    let lora = c.recipe.as_ref().and_then(|recipe| recipe.lora.clone()).expect("it has an adapter");
    let mut trained = network(c.plan, c.recipe, 0).expect("there is machine code");
    fill(&mut trained);
    let scratch = Scratch::new();
    adapters::save(trained.engine(), &lora, &scratch.0, None).expect("it can be written");
    let c = plain(Goal::Adapted { item: Some("grouped") });
    let made = c.adaptable.expect("it has an adapter");
    let given = made.lora.clone();
    let mut net = adaptable(c.plan, made).expect("there is machine code");
    fill(&mut net);
    let read = adapters::Adapter::open(&given, &scratch.0).unwrap_or_else(|e| panic!("{e}"));
    let expected = of(&run(&mut trained, "forward"), "logits").clone();
    for sum in [&[(&read, 1.0)][..], &[(&read, 0.25), (&read, 0.75)]] {
        net.activate(sum).expect("it fits");
        let off = apart(of(&run(&mut net, "forward"), "logits"), &expected);
        assert!(off <= 1e-5, "logits are {off:e} off");
    }
    net.activate(&[]).expect("there is always none");
    assert!(apart(of(&run(&mut net, "forward"), "logits"), &expected) > 1e-2, "the adapter does something");
}

/// A folder with the committed adapter, one element of whose tensor of this name is another.
fn with_element(name: &str, at: usize) -> Scratch {
    let (scratch, from) = (Scratch::new(), golden_folder("grouped").join("peft"));
    let file = TensorFile::open(&from.join("adapter_model.safetensors")).expect("it is committed");
    let tensor = |stored: &str| {
        let tensor = file.read(stored).expect("it is there").expect("it is sound");
        let mut elements = tensor.to_f32_vec();
        if stored == name {
            elements[at] += 0.5;
        }
        (stored.to_string(), Tensor::from_f32(tensor.shape().to_vec(), elements).expect("as many"))
    };
    let all: Vec<(String, Tensor)> = file.names().map(tensor).collect();
    let named: Vec<(&str, &Tensor)> = all.iter().map(|(n, t)| (n.as_str(), t)).collect();
    dlc::weights::save(&scratch.path("adapter_model.safetensors"), &named, &Default::default()).expect("it is written");
    std::fs::copy(from.join("adapter_config.json"), scratch.path("adapter_config.json")).expect("it is committed");
    scratch
}

#[test]
fn an_adapter_of_pefts_that_groups_do_not_share_is_told() {
    let (mut net, lora) = twin("grouped");
    let all = all_weights(&net);
    let name = "base_model.model.each.lora_A.weight";
    // An element of the first group's first row: of its own inputs, and of those of the next group.
    for at in [0, 9] {
        let folder = with_element(name, at);
        let error = adapters::load(net.engine_mut(), &lora, &folder.0).expect_err("it cannot be taken").to_string();
        assert!(error.contains(name) && error.contains("a convolution of 3 groups"), "{error}");
        assert!(error.contains("`exclude` it, and train it again"), "{error}");
        let c = plain(Goal::Adapted { item: Some("grouped") });
        let error = adapters::Adapter::open(&c.adaptable.expect("it has an adapter").lora, &folder.0);
        let error = error.expect_err("it cannot be taken").to_string();
        assert!(error.contains(name) && error.contains("a convolution of 3 groups"), "{error}");
    }
    assert!(all_weights(&net) == all, "what is refused changes nothing");
}

#[test]
fn an_adapter_that_peft_has_no_form_for_is_written_without_a_configuration() {
    let [text, _] = texts(&READ[0], "LoRA", "");
    let c = training(&Scratch::new().file("spec.dl", &text), "t", &[]);
    let lora = c.recipe.as_ref().and_then(|recipe| recipe.lora.clone()).expect("it has an adapter");
    let mut net = machine(&text);
    let (all, scratch) = (all_weights(&net), Scratch::new());
    adapters::save(net.engine(), &lora, &scratch.0, None).expect("it can be written");
    assert!(!scratch.path("adapter_config.json").exists());
    for part in ["w.lora.A", "w.lora.B"] {
        let shape = net.engine().weight(part).expect("it is a weight").shape().to_vec();
        net.engine_mut().set_weight(part, &weight("other", &shape)).expect("it has this shape");
    }
    adapters::load(net.engine_mut(), &lora, &scratch.0).unwrap_or_else(|e| panic!("{e}"));
    assert!(all_weights(&net) == all, "what is written is read as it was");
}
