//! Adapters: what the trainings of `tests/specs/lora.dl` give is what PEFT gives (`tests/golden/lora.py`), files are
//! exchanged with it, and merging takes nothing but rounding.

use crate::numbers::{hash, numbers, weight};
use crate::scratch::Scratch;
use dlc::adapters::{self, Kept};
use dlc::jit::{Beside, network};
use dlc::machine::{Machine, Named};
use dlc::weights::file::TensorFile;
use dlc::{Network, Tensor};
use dlc_compiler::pipeline::{Compiled, Goal, Request, compile};
use dlc_plan::plan::Port;
use dlc_plan::recipe::{Form, Lora};
use std::path::{Path, PathBuf};

pub fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

pub fn golden_folder(name: &str) -> PathBuf {
    root().join("tests/golden/lora").join(name)
}

/// A training of a spec, with the entry that gives gradients by name.
pub fn training(path: &Path, item: &str, sets: &[(&str, &str)]) -> Compiled {
    let sets: Vec<(String, String)> = sets.iter().map(|(a, b)| ((*a).to_string(), (*b).to_string())).collect();
    compiled(path, &sets, Goal::Train { item: Some(item) })
}

pub fn compiled(path: &Path, sets: &[(String, String)], goal: Goal) -> Compiled {
    let text = std::fs::read_to_string(path).expect("the spec is there");
    let request = Request { name: &path.display().to_string(), text: &text, sets, goal };
    compile(&request, &mut Beside::new(path), &mut |_, _| {}).unwrap_or_else(|f| panic!("{:?}", f.diagnostics))
}

/// A twin with the weights that it has in `lora.py`.
pub fn twin(name: &str) -> (Network, Lora) {
    let c = training(&root().join("tests/specs/lora.dl"), name, &[]);
    let lora = c.recipe.as_ref().and_then(|recipe| recipe.lora.clone()).expect("it has an adapter");
    let mut net = network(c.plan, c.recipe, 0).expect("there is machine code");
    fill(&mut net);
    (net, lora)
}

pub fn fill(net: &mut Network) {
    for w in net.engine().plan().weights.clone() {
        net.engine_mut().set_weight(&w.name, &weight(&w.name, &w.shape)).expect("it has this shape");
    }
}

/// Three rows of nine ids and what goes with them, or three pictures.
fn batch(ports: &[Port]) -> Vec<(String, Tensor)> {
    let (b, t) = (3, 9);
    let input = |port: &Port| {
        if port.name == "image" {
            let shape = vec![b, 3, 11, 13];
            let pixels = numbers("image", shape.iter().product()).collect();
            return (port.name.clone(), Tensor::from_f32(shape, pixels).expect("as many"));
        }
        let cell = |i: usize, j: usize| match port.name.as_str() {
            "input_ids" => (hash("ids", (i * t + j) as u64) >> 33) % 53,
            "attention_mask" => u64::from(j < (t - 3 * i).max(1)),
            "token_type_ids" => u64::from(j >= t / 2),
            name => panic!("no one knows what `{name}` is"),
        };
        let cells = (0..b * t).map(|i| cell(i / t, i % t) as i64).collect();
        (port.name.clone(), Tensor::from_i64(vec![b, t], cells).expect("as many"))
    };
    // What is bound by itself, an adapter is.
    ports.iter().filter(|port| !port.name.contains(".lora.")).map(input).collect()
}

pub fn run(net: &mut Network, entry: &str) -> Named {
    let inputs = batch(net.engine().ports(entry).expect("it has this entry").0);
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
    net.run(entry, &inputs).expect("it runs")
}

pub fn of<'a>(named: &'a Named, name: &str) -> &'a Tensor {
    &named.iter().find(|(n, _)| n == name).unwrap_or_else(|| panic!("no `{name}`")).1
}

/// The norm of the difference over the norm of the second.
pub fn apart(found: &Tensor, expected: &Tensor) -> f64 {
    assert_eq!(found.shape(), expected.shape());
    let norm = |v: Vec<f64>| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    let (a, b) = (found.to_f32_vec(), expected.to_f32_vec());
    let off = norm(a.iter().zip(&b).map(|(a, b)| f64::from(a - b)).collect());
    off / norm(b.iter().map(|b| f64::from(*b)).collect()).max(1e-12)
}

/// A twin against its numbers: outputs, gradients, training, merging, and files in both directions.
fn family(name: &str) {
    let folder = golden_folder(name);
    let file = TensorFile::open(&folder.join("golden.safetensors")).expect("it is committed");
    let golden = |name: &str| file.read(name).unwrap_or_else(|| panic!("no `{name}`")).expect("it is sound");
    let names =
        |prefix: &str| file.names().filter_map(|n| n.strip_prefix(prefix)).map(str::to_string).collect::<Vec<_>>();
    let (mut net, lora) = twin(name);
    let off = apart(of(&run(&mut net, "forward"), "logits"), &golden("logits"));
    assert!(off <= 1e-5, "{name}: logits are {off:e} off");
    let grads = run(&mut net, "grad");
    let off = apart(of(&grads, "loss"), &golden("loss"));
    assert!(off <= 1e-5, "{name}: the loss is {off:e} off");
    let trained = names("grad/");
    assert_eq!(grads.len(), trained.len() + 1, "{name}: what PEFT trains is trained, and no more");
    for w in &trained {
        let off = apart(of(&grads, w), &golden(&format!("grad/{w}")));
        assert!(off <= 1e-4, "{name}: the gradient of {w} is {off:e} off");
    }
    merging(name, &mut net, &lora, &golden, &names("merged/"));
    files(name, &mut net, &lora);
    let inputs = batch(net.engine().ports("accumulate").expect("it trains").0);
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
    for _ in 0..20 {
        net.step(&inputs).expect("it trains");
    }
    for w in &trained {
        let off = apart(&net.engine().weight(w).expect("it is a weight"), &golden(&format!("trained/{w}")));
        assert!(off <= 1e-4, "{name}: {w} is {off:e} off after twenty steps");
    }
}

fn merging(name: &str, net: &mut Network, lora: &Lora, golden: &dyn Fn(&str) -> Tensor, merged: &[String]) {
    let before = run(net, "forward");
    let all = all_weights(net);
    let kept: Kept = adapters::merge(net.engine_mut(), lora).expect("it changes weights");
    let weights = merged.iter().filter(|w| !w.ends_with(".bias")).count();
    assert_eq!(weights, lora.adapted.len(), "{name}");
    for w in merged {
        let off = apart(&net.engine().weight(w).expect("it is a weight"), &golden(&format!("merged/{w}")));
        assert!(off <= 1e-6, "{name}: {w} is {off:e} off, merged");
    }
    let after = run(net, "forward");
    let off = apart(of(&after, "logits"), of(&before, "logits"));
    assert!(off <= 1e-5, "{name}: merging changes logits by {off:e}");
    let change = adapters::compare(&before, &after);
    assert!(change.rows == 3 && change.largest > 0.0 && change.mean <= change.largest, "{name}: {change:?}");
    let error = adapters::merge(net.engine_mut(), lora).err().expect("there is nothing left to merge");
    assert!(error.message.contains("would change none of its"), "{error}");
    adapters::unmerge(net.engine_mut(), &kept).expect("these are its weights");
    assert!(all_weights(net) == all, "{name}: what was merged and taken back is as it was, bit by bit");
}

pub fn all_weights(net: &Network) -> Vec<Tensor> {
    let weights = net.engine().plan().weights.iter();
    weights.map(|w| net.engine().weight(&w.name).expect("it is a weight")).collect()
}

/// PEFT's file gives what our numbers give, and ours is the committed one, which PEFT has loaded.
fn files(name: &str, net: &mut Network, lora: &Lora) {
    let all = all_weights(net);
    let expected = run(net, "forward");
    for (_, w) in lora.adapted.iter().flat_map(|a| a.params.iter().map(move |p| (a, format!("{}.{p}", a.label)))) {
        let zeros = Tensor::zeros(dlc::DType::F32, net.engine().weight(&w).expect("a weight").shape()).expect("small");
        net.engine_mut().set_weight(&w, &zeros).expect("it has this shape");
    }
    adapters::load(net.engine_mut(), lora, &golden_folder(name).join("peft")).unwrap_or_else(|e| panic!("{name}: {e}"));
    let off = apart(of(&run(net, "forward"), "logits"), of(&expected, "logits"));
    assert!(off <= 1e-5, "{name}: with PEFT's file logits are {off:e} off");
    // Magnitudes are stored beyond the lengths of columns, so that they are rounded twice.
    let exact = lora.adapted.iter().all(|adapted| !adapted.params.iter().any(|p| p == "magnitude"));
    let alike = |net: &Network| all_weights(net) == all;
    assert!(!exact || alike(net), "{name}: PEFT's file has our numbers");
    let scratch = Scratch::new();
    adapters::save(net.engine(), lora, &scratch.0, None).expect("it can be written");
    let ours = golden_folder(name).join("ours");
    if std::env::var_os("DLC_BLESS").is_some() {
        std::fs::create_dir_all(&ours).expect("the repository can be written");
        for file in ["adapter_model.safetensors", "adapter_config.json"] {
            std::fs::copy(scratch.path(file), ours.join(file)).expect("it was written");
        }
    }
    for file in ["adapter_model.safetensors", "adapter_config.json"] {
        let read = |path: PathBuf| std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(
            read(scratch.path(file)) == read(ours.join(file)),
            "{name}: {file} is not the one that PEFT has loaded"
        );
    }
    adapters::load(net.engine_mut(), lora, &scratch.0).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert!(!exact || alike(net), "{name}: what is written is read as it was");
}

#[test]
fn distilbert_with_an_adapter_is_that_of_peft() {
    family("distilbert");
}

#[test]
fn bert_with_biases_and_a_head_beside_its_adapter_is_that_of_peft() {
    family("bert");
}

#[test]
fn gpt2_with_adapters_on_chunked_projections_is_that_of_peft() {
    family("gpt2");
}

#[test]
fn llama_with_an_adapter_on_all_of_its_last_layer_is_that_of_peft() {
    family("llama2");
}

#[test]
fn tables_are_adapted_as_peft_does() {
    family("table");
}

#[test]
fn magnitudes_of_their_own_are_those_of_peft() {
    family("dora");
}

#[test]
fn a_table_that_is_tied_and_trained_beside_an_adapter_is_that_of_peft() {
    family("tied");
    // Trained without its other use, PEFT's would part from it.
    let (mut net, lora) = twin("tied");
    let scratch = Scratch::new();
    let from = golden_folder("tied").join("peft");
    let text = std::fs::read_to_string(from.join("adapter_config.json")).expect("it is committed");
    assert!(text.contains("\"ensure_weight_tying\": true"));
    let apart = text.replace("\"ensure_weight_tying\": true", "\"ensure_weight_tying\": false");
    scratch.file("adapter_config.json", apart);
    let tensors = "adapter_model.safetensors";
    std::fs::copy(from.join(tensors), scratch.path(tensors)).expect("it is committed");
    let all = all_weights(&net);
    let error = adapters::load(net.engine_mut(), &lora, &scratch.0).expect_err("they would part").to_string();
    assert!(
        error.contains("`model.embed_tokens.weight` and `lm_head.weight` are one weight here, and would part"),
        "{error}"
    );
    assert!(all_weights(&net) == all, "what is refused changes nothing");
    // Merged and saved it is there once.
    adapters::merge(net.engine_mut(), &lora).expect("it changes weights");
    adapters::merge::save_plain(net.engine(), &lora, &scratch.path("plain.safetensors"), &[], &Default::default())
        .expect("it can be written");
    let plain = TensorFile::open(&scratch.path("plain.safetensors")).expect("it is sound");
    let tied: Vec<&str> = plain.names().filter(|n| n.contains("embed_tokens") || n.contains("lm_head")).collect();
    assert_eq!(tied, ["model.embed_tokens.weight"]);
}

/// A product of a part of a weight, and the same of the whole weight.
fn parts(read: &str, whole: &str) {
    let spec = |product: &str| {
        format!(
            "model M()(x: [B, 4]) -> y: [B, 5] {{
  w: param [6, 9] = normal(0.3)
  h = tanh({product})
  return h -> head: Linear(5)
}}
lora A {{ rank = 2  scale = 0.5  freeze \"**\"  target \"w\" }}
train t {{ model = M()  lora = A()  loss = mean(y ^ 2)  optimizer = AdamW(lr = 1e-2)  max_steps = 5 }}"
        )
    };
    let scratch = Scratch::new();
    let rows = Tensor::from_f32(vec![3, 4], numbers("x", 12).collect()).expect("as many");
    let mut nets = [("read.dl", read), ("whole.dl", whole)].map(|(file, product)| {
        let c = training(&scratch.file(file, spec(product)), "t", &[]);
        let lora = c.recipe.as_ref().and_then(|recipe| recipe.lora.clone()).expect("it has an adapter");
        let mut net = network(c.plan, c.recipe, 0).expect("there is machine code");
        fill(&mut net);
        (net, lora)
    });
    let of_both = |nets: &mut [(Network, Lora); 2], entry: &str, names: &[&str]| {
        let [a, b] = nets.each_mut().map(|(net, _)| net.run(entry, &[("x", &rows)]).expect("it runs"));
        for name in names {
            let off = apart(of(&a, name), of(&b, name));
            assert!(off <= 1e-5, "{read}: {name} of {entry} is {off:e} off");
        }
    };
    of_both(&mut nets, "forward", &["y"]);
    of_both(&mut nets, "grad", &["loss", "w.lora.A", "w.lora.B"]);
    for (net, _) in &mut nets {
        for _ in 0..5 {
            net.step(&[("x", &rows)]).expect("it trains");
        }
    }
    let before = nets[0].0.run("forward", &[("x", &rows)]).expect("it runs");
    nets.iter_mut().for_each(|(net, lora)| drop(adapters::merge(net.engine_mut(), lora).expect("it changes weights")));
    let weight = |net: &Network| net.engine().weight("w").expect("it is a weight");
    let off = apart(&weight(&nets[0].0), &weight(&nets[1].0));
    assert!(off <= 1e-5, "{read}: merged they are {off:e} off");
    let after = nets[0].0.run("forward", &[("x", &rows)]).expect("it runs");
    let off = apart(of(&after, "y"), of(&before, "y"));
    assert!(off > 0.0 && off <= 1e-5, "{read}: merging changes outputs by {off:e}");
}

#[test]
fn a_weight_that_is_read_in_part_has_the_adapter_of_the_whole() {
    // Some columns, some rows, and a part that is turned round.
    parts("x @ w[1:5, 2:6]", "((x -> pad[1](1, 1)) @ w)[:, 2:6]");
    parts("x @ w[2:, :]", "(x -> pad[1](2, 0)) @ w");
    parts("x @ w[:, 3:7].t", "((x -> pad[1](3, 2)) @ w.t)");
}

/// A model with an adapter that adds something whatever goes in.
fn moved(body: &str, finish: &str) -> (Network, Lora) {
    let spec = format!(
        "block Moved(rank, scale, p)(x: [.., I], y: [.., O], w: [I, O]) -> [.., O] {{
  by: param [O] = zeros
  return y + x @ w * 0.1 * sum(by) + by
}}
model M()(x: [B, 4]) -> y: [B, 5] {{ {body} }}
lora A {{ rank = 1  adapter = Moved  freeze \"**\"  target \"**\"  finish = {finish} }}
train t {{ model = M()  lora = A()  loss = mean(y ^ 2)  optimizer = AdamW(lr = 1e-2)  max_steps = 5 }}"
    );
    let c = training(&Scratch::new().file("moved.dl", spec), "t", &[]);
    let lora = c.recipe.as_ref().and_then(|recipe| recipe.lora.clone()).expect("it has an adapter");
    let mut net = network(c.plan, c.recipe, 0).expect("there is machine code");
    fill(&mut net);
    (net, lora)
}

#[test]
fn a_bias_that_a_merge_changes_is_given_back() {
    for body in [
        "return x -> fc: Linear(5)",
        "weight: param [4, 5] = normal(1)  bias: param [5] = zeros  return x @ weight + bias",
        "matrix: param [4, 5] = normal(1)  moves: param [5] = zeros  return tanh(moves + x @ matrix)",
    ] {
        let (mut net, lora) = moved(body, "merge");
        let rows = Tensor::from_f32(vec![3, 4], numbers("x", 12).collect()).expect("as many");
        let y = |net: &mut Network| of(&net.run("forward", &[("x", &rows)]).expect("it runs"), "y").clone();
        let (all, before) = (all_weights(&net), y(&mut net));
        let kept = adapters::merge(net.engine_mut(), &lora).expect("it changes weights");
        let changed = all_weights(&net).iter().zip(&all).filter(|(now, before)| now != before).count();
        assert_eq!(changed, 3, "{body}: the weight, its bias and the adapter");
        let off = apart(&y(&mut net), &before);
        assert!(off <= 1e-6, "{body}: merging changes outputs by {off:e}");
        adapters::unmerge(net.engine_mut(), &kept).expect("these are its weights");
        assert!(all_weights(&net) == all, "{body}: what was merged and taken back is as it was, bit by bit");
    }
}

#[test]
fn an_adapter_that_no_bias_takes_is_kept_and_not_merged() {
    let (mut net, lora) = moved("return x -> fc: Linear(5, bias = false)", "keep");
    let rows = Tensor::from_f32(vec![3, 4], numbers("x", 12).collect()).expect("as many");
    let first = net.step(&[("x", &rows)]).expect("it trains");
    assert!(net.step(&[("x", &rows)]).expect("it trains") < first);
    let all = all_weights(&net);
    let error = adapters::merge(net.engine_mut(), &lora).err().expect("there is no bias").to_string();
    assert!(error.contains("`A` is not an adapter that can be merged"), "{error}");
    assert!(all_weights(&net) == all, "what is refused changes nothing");
}

#[test]
fn adapters_with_a_bias_of_their_own_are_those_of_peft() {
    family("biased");
}

#[test]
fn magnitudes_of_tables_are_those_of_peft() {
    family("table_dora");
}

#[test]
fn convolutions_are_adapted_as_peft_does() {
    family("conv");
}

#[test]
fn convolutions_in_groups_are_adapted_as_their_kernel_is_merged() {
    family("grouped");
}

#[test]
fn magnitudes_of_convolutions_are_those_of_peft() {
    family("conv_dora");
}

#[test]
fn an_adapter_for_another_base_is_told_from_one_that_fits() {
    let (mut net, lora) = twin("distilbert");
    let said = |error: Option<dlc::Error>| error.expect("it does not fit").to_string();
    let other = said(adapters::load(net.engine_mut(), &lora, &golden_folder("llama2").join("peft")).err());
    assert!(other.contains("has nothing that `Notes` adapts: it is for another base"), "{other}");
    assert!(other.contains("not adapted here  base_model.model.model.layers.1"), "{other}");
    let (mut bert, beside) = twin("bert");
    let error = said(adapters::load(bert.engine_mut(), &beside, &golden_folder("distilbert")).err());
    assert!(error.contains("cannot read"), "{error}");
}

#[test]
fn a_network_attaches_an_adapter_trains_it_merges_it_and_takes_that_back() {
    let (mut net, _) = twin("bert");
    let before = run(&mut net, "forward");
    net.load_adapter(golden_folder("bert").join("ours")).expect("it fits");
    let inputs = batch(net.engine().ports("accumulate").expect("it trains").0);
    let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
    // A head and biases are trained beside it.
    let beside = ["classifier.weight", "classifier.bias", "bert.encoder.layer.0.attention.self.query.bias"];
    let values = |net: &Network| beside.map(|name| net.engine().weight(name).expect("it is a weight"));
    let begun = values(&net);
    let first = net.step(&inputs).expect("it trains");
    assert!(net.step(&inputs).expect("it trains") < first);
    let trained = values(&net);
    assert!(trained.iter().zip(&begun).all(|(now, before)| now != before), "they are trained");
    let all = all_weights(&net);
    let scratch = Scratch::new();
    net.save_adapter(scratch.path("adapter")).expect("it can be written");
    let (mut other, _) = twin("bert");
    other.load_adapter(scratch.path("adapter")).expect("it fits");
    assert!(values(&other) == trained, "they go with the adapter");
    net.merge().expect("it changes weights");
    net.save(scratch.path("plain.safetensors")).expect("it can be written");
    let plain = TensorFile::open(&scratch.path("plain.safetensors")).expect("it is sound");
    let merged = beside.map(|name| plain.read(name).expect("it is there").expect("it is sound"));
    assert!(merged == trained, "the merged model has them");
    assert!(plain.names().all(|name| !name.contains("lora")) && plain.names().count() > 10);
    net.unmerge().expect("it was merged");
    assert!(all_weights(&net) == all && run(&mut net, "forward") != before);
    assert!(net.unmerge().is_err(), "there is nothing more to take back");
}

/// An embedding whose weight the output reads too, and an adapter of it in a file of PEFT's older form or of its own.
fn tied_table() -> (Network, Lora, Scratch) {
    let spec = "model M()(ids: i64[B]) -> logits: [B, 7] {
  wte: Embedding(7, 4)
  x = wte(ids) -> fc: Linear(4) -> tanh
  return x @ wte.weight.t
}
lora A { rank = 2  scale = 0.5  freeze \"**\"  target \"wte\" }
train t { model = M()  lora = A()  loss = mean(logits ^ 2)  optimizer = SGD(lr = 0.1)  max_steps = 2 }";
    let scratch = Scratch::new();
    let c = training(&scratch.file("tied.dl", spec), "t", &[]);
    let lora = c.recipe.as_ref().and_then(|recipe| recipe.lora.clone()).expect("it has an adapter");
    let mut net = network(c.plan, c.recipe, 0).expect("there is machine code");
    fill(&mut net);
    (net, lora, scratch)
}

#[test]
fn an_adapter_of_a_table_that_an_output_reads_is_in_both() {
    let (mut net, lora, scratch) = tied_table();
    assert_eq!(
        lora.adapted.iter().map(|a| (a.weight.as_str(), a.form)).collect::<Vec<_>>(),
        [("wte.weight", Form::Tied)]
    );
    let of = |net: &Network, name: &str| -> Vec<f64> {
        net.engine().weight(name).expect("it is a weight").to_f32_vec().into_iter().map(f64::from).collect()
    };
    let [w, a, b, fc, bias] =
        ["wte.weight", "wte.lora.A", "wte.lora.B", "fc.weight", "fc.bias"].map(|name| of(&net, name));
    let sum = |n: usize, f: &dyn Fn(usize) -> f64| (0..n).map(f).sum::<f64>();
    let merged: Vec<f64> = (0..28).map(|n| w[n] + 0.5 * sum(2, &|k| a[n / 4 * 2 + k] * b[k * 4 + n % 4])).collect();
    let ids = [6_usize, 0, 3];
    let hidden = |id: usize, o: usize| (bias[o] + sum(4, &|i| merged[id * 4 + i] * fc[o * 4 + i])).tanh();
    let expected: Vec<f64> = ids
        .iter()
        .flat_map(|id| (0..7).map(|v| sum(4, &|o| hidden(*id, o) * merged[v * 4 + o])).collect::<Vec<_>>())
        .collect();
    let input = Tensor::from_slice(&[3], &ids.map(|id| id as i64)).expect("as many");
    let logits = |net: &mut Network| {
        let named = net.run("forward", &[("ids", &input)]).expect("it runs");
        self::of(&named, "logits").to_f32_vec()
    };
    let near = |found: Vec<f32>| {
        let off = found.iter().zip(&expected).map(|(a, b)| (f64::from(*a) - b).abs()).fold(0.0, f64::max);
        assert!(found.len() == expected.len() && off < 1e-5, "{off:e}");
    };
    near(logits(&mut net));
    // What is written for PEFT says that both have it, and is read again; one of PEFT's that says otherwise is told.
    adapters::save(net.engine(), &lora, &scratch.path("adapter"), None).expect("it is written");
    let config = scratch.path("adapter/adapter_config.json");
    let text = std::fs::read_to_string(&config).expect("it is written");
    assert!(text.contains("\"ensure_weight_tying\": true"), "{text}");
    assert_eq!(
        adapters::load(net.engine_mut(), &lora, &scratch.path("adapter")).expect("it fits"),
        Vec::<String>::new()
    );
    std::fs::write(&config, text.replace("ensure_weight_tying\": true", "ensure_weight_tying\": false"))
        .expect("it can be");
    let notes = adapters::load(net.engine_mut(), &lora, &scratch.path("adapter")).expect("it fits");
    assert_eq!(notes, ["`wte.weight` is read by an output too, where PEFT adapts it only when it is merged"]);
    adapters::merge(net.engine_mut(), &lora).expect("it changes weights");
    near(logits(&mut net));
    let found: Vec<f64> = of(&net, "wte.weight");
    assert!(found.iter().zip(&merged).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn adapters_of_pefts_older_form_are_read() {
    let folder = crate::formats::golden("adapter");
    let item = adapters::item::item(&folder, "", "adapter").expect("it is sound");
    assert!(item.contains("rank = 2") && item.contains("target \"fc\""), "{item}");
    let spec = format!(
        "model M()(x: [B, 3]) -> y: [B, 4] {{ return x -> fc: Linear(4) }}
{}
train t {{ model = M()  lora = Adapter()  loss = mean(y ^ 2)  optimizer = SGD(lr = 0.1)  max_steps = 2 }}",
        item.replace("  file = \"adapter\"\n", "")
    );
    let scratch = Scratch::new();
    let c = training(&scratch.file("m.dl", spec), "t", &[]);
    let lora = c.recipe.as_ref().and_then(|recipe| recipe.lora.clone()).expect("it has an adapter");
    let mut net = network(c.plan, c.recipe, 0).expect("there is machine code");
    adapters::load(net.engine_mut(), &lora, &folder).expect("it fits");
    let file = TensorFile::open(&folder.join("adapter_model.bin")).expect("it is sound");
    let theirs = file.read("base_model.model.fc.lora_A.weight").expect("it is there").expect("it is sound");
    let ours = net.engine().weight("fc.lora.A").expect("it is a weight");
    assert_eq!((ours.shape(), theirs.shape()), (&[3, 2][..], &[2, 3][..]));
    let [ours, theirs] = [ours.to_f32_vec(), theirs.to_f32_vec()];
    assert!((0..6).all(|n| ours[n % 3 * 2 + n / 3] == theirs[n]));
}
