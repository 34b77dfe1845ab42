//! Models that run with adapters of any rank: one, a sum, or none, from a program and from the command line; and merges that
//! are taken back there.

use crate::cli::dlc;
use crate::lora::{all_weights, apart, compiled, fill, golden_folder, of, root, run, twin};
use crate::numbers::weight;
use crate::scratch::Scratch;
use dlc::adapters;
use dlc::jit::adaptable as adaptable_network;
use dlc::machine::{Machine, Named};
use dlc::weights::file::TensorFile;
use dlc::{Network, Tensor};
use dlc_compiler::pipeline::Goal;
use dlc_plan::recipe::{Adapted, Form, Lora};
use std::path::Path;

/// A twin that takes adapters of any rank, with the weights that it has in `lora.py`.
fn adaptable_twin(name: &str) -> (Network, Lora) {
    let c = compiled(&root().join("tests/specs/lora.dl"), &[], Goal::Adapted { item: Some(name) });
    let adaptable = c.adaptable.expect("it has an adapter");
    let lora = adaptable.lora.clone();
    let mut net = adaptable_network(c.plan, adaptable).expect("there is machine code");
    fill(&mut net);
    (net, lora)
}

/// An adapter that is made up: what it is in a file, and what it adds to weights.
struct MadeUp {
    read: adapters::Adapter,
    /// For each weight, what it adds to it.
    adds: Vec<(String, Vec<f64>)>,
}

/// An adapter with a rank for each weight, 0 to leave it out, as PEFT writes it.
fn made_up(net: &Network, lora: &Lora, seed: &str, scale: f64, rank: &dyn Fn(&Adapted) -> usize) -> MadeUp {
    let mut tensors: Vec<(String, Tensor)> = Vec::new();
    let (mut adds, mut ranks) = (Vec::new(), serde_json::Map::new());
    for adapted in lora.adapted.iter().filter(|adapted| rank(adapted) > 0) {
        let shape = net.engine().weight(&adapted.weight).expect("it is a weight").shape().to_vec();
        let [rows, columns] = shape[..] else { panic!("{} is a matrix", adapted.weight) };
        let (first, r) = (adapted.inner_first, rank(adapted));
        let (inner, outer) = if first { (rows, columns) } else { (columns, rows) };
        let parts = [lora.prefix.as_str(), adapted.label.strip_suffix(".lora").expect("it is below a module")];
        let module = parts.iter().filter(|p| !p.is_empty()).copied().collect::<Vec<_>>().join(".");
        let ends = if matches!(adapted.form, Form::Table | Form::Tied) {
            ["lora_embedding_A", "lora_embedding_B"]
        } else {
            ["lora_A.weight", "lora_B.weight"]
        };
        let [a, b] = ends.map(|end| format!("base_model.model.{module}.{end}"));
        let small = |name: &str, shape: [usize; 2]| {
            let numbers = weight(&format!("{seed}.{name}"), &shape).to_f32_vec().iter().map(|x| x * 0.5).collect();
            Tensor::from_f32(shape.to_vec(), numbers).expect("as many")
        };
        tensors.extend([(a.clone(), small(&a, [r, inner])), (b.clone(), small(&b, [outer, r]))]);
        let [a, b] = [0, 1].map(|i| tensors[tensors.len() - 2 + i].1.to_f32_vec());
        let at =
            |i: usize, o: usize| (0..r).map(|k| f64::from(a[k * inner + i]) * f64::from(b[o * r + k])).sum::<f64>();
        let cell = |n: usize| if first { at(n / columns, n % columns) } else { at(n % columns, n / columns) };
        adds.push((adapted.weight.clone(), (0..rows * columns).map(|n| scale * cell(n)).collect()));
        ranks.insert(format!("^{}", module.replace('.', "\\.")), r.into());
    }
    let scratch = Scratch::new();
    let alphas: serde_json::Map<_, _> =
        ranks.iter().map(|(k, r)| (k.clone(), (scale * r.as_f64().expect("a number")).into())).collect();
    let config = serde_json::json!({ "peft_type": "LORA", "rank_pattern": ranks, "alpha_pattern": alphas });
    scratch.file("adapter_config.json", config.to_string().into_bytes());
    let named: Vec<(&str, &Tensor)> = tensors.iter().map(|(n, t)| (n.as_str(), t)).collect();
    dlc::weights::save(&scratch.path("adapter_model.safetensors"), &named, &Default::default()).expect("it is written");
    MadeUp { read: adapters::Adapter::open(lora, &scratch.0).unwrap_or_else(|e| panic!("{e}")), adds }
}

/// What a network gives with a sum of adapters, and what it gives with what these add in its weights.
fn both_ways(net: &mut Network, sum: &[(&MadeUp, f64)]) -> (Tensor, Tensor) {
    let terms: Vec<_> = sum.iter().map(|(made, share)| (&made.read, *share)).collect();
    net.activate(&terms).expect("they fit");
    let active = of(&run(net, "forward"), "logits").clone();
    net.activate(&[]).expect("there is always none");
    let names: Vec<String> = net.engine().plan().weights.iter().map(|w| w.name.clone()).collect();
    let before = all_weights(net);
    for (name, old) in names.iter().zip(&before) {
        let mut numbers: Vec<f64> = old.to_f32_vec().iter().map(|x| f64::from(*x)).collect();
        for (made, share) in sum {
            for (_, adds) in made.adds.iter().filter(|(weight, _)| weight == name) {
                numbers.iter_mut().zip(adds).for_each(|(x, y)| *x += share * y);
            }
        }
        let numbers = numbers.into_iter().map(|x| x as f32).collect();
        let merged = Tensor::from_f32(old.shape().to_vec(), numbers).expect("as many");
        net.engine_mut().set_weight(name, &merged).expect("it is a weight");
    }
    let merged = of(&run(net, "forward"), "logits").clone();
    for (name, old) in names.iter().zip(&before) {
        net.engine_mut().set_weight(name, old).expect("it is a weight");
    }
    (active, merged)
}

#[test]
fn adapters_of_any_rank_are_switched_and_summed_without_compiling() {
    // Weights that are [in, out] and others, and a table.
    for name in ["gpt2", "llama2", "table"] {
        let (mut net, lora) = adaptable_twin(name);
        let compiled = dlc_compiler::back::clif::compilations();
        let base = of(&run(&mut net, "forward"), "logits").clone();
        let one = made_up(&net, &lora, "one", 0.5, &|_| 1);
        let four = made_up(&net, &lora, "four", 2.0, &|_| 4);
        let seven = made_up(&net, &lora, "seven", 1.0, &|_| 7);
        // A rank for each layer of a loop, and none for what is in the first.
        let uneven =
            made_up(&net, &lora, "uneven", 1.0, &|a| if a.label.contains(".0.") { 0 } else { 3 + a.label.len() % 2 });
        let sums: [&[(&MadeUp, f64)]; 8] = [
            &[(&one, 1.0)],
            &[(&four, 1.0)],
            &[(&seven, 1.0)],
            &[(&four, 1.0), (&seven, 1.0)],
            &[(&seven, 0.25), (&one, -1.5), (&four, 0.5)],
            &[(&uneven, 1.0)],
            &[(&uneven, 1.0), (&one, 1.0)],
            &[(&four, 0.5), (&four, 0.5)],
        ];
        let mut seen: Vec<Tensor> = Vec::new();
        for (i, sum) in sums.iter().enumerate() {
            let (active, merged) = both_ways(&mut net, sum);
            let off = apart(&active, &merged);
            assert!(off <= 1e-5, "{name}: sum {i} is {off:e} off what its merged weights give");
            assert!(apart(&active, &base) > 1e-2, "{name}: sum {i} adds something");
            seen.push(active);
        }
        assert!(apart(&seen[7], &seen[1]) <= 1e-5, "{name}: half of it twice is the whole");
        net.activate(&[]).expect("there is always none");
        assert!(of(&run(&mut net, "forward"), "logits") == &base, "{name}: without any the base is as it was");
        assert_eq!(dlc_compiler::back::clif::compilations(), compiled, "{name}: switching compiles nothing");
    }
}

#[test]
fn adapters_that_peft_has_trained_run_on_a_base_of_any_rank() {
    // One of these has a head of its own and biases beside it, one a table that is tied, one rows of a table.
    let twins = ["gpt2", "bert", "distilbert", "table", "llama2", "tied"].map(|name| (name, name));
    for (twin, name) in twins.into_iter().chain([("gpt2", "tokens")]) {
        let (mut net, lora) = adaptable_twin(twin);
        let file = TensorFile::open(&golden_folder(name).join("golden.safetensors")).expect("it is committed");
        let expected = file.read("logits").expect("it is there").expect("it is sound");
        let all = all_weights(&net);
        let base = of(&run(&mut net, "forward"), "logits").clone();
        let theirs =
            adapters::Adapter::open(&lora, &golden_folder(name).join("peft")).unwrap_or_else(|e| panic!("{e}"));
        net.activate(&[(&theirs, 1.0)]).expect("it fits");
        let off = apart(of(&run(&mut net, "forward"), "logits"), &expected);
        assert!(off <= 1e-5, "{name}: logits are {off:e} off");
        net.activate(&[]).expect("there is always none");
        assert!(all_weights(&net) == all && of(&run(&mut net, "forward"), "logits") == &base, "{name}");
    }
}

/// A folder with the tensors of a committed adapter and its configuration, some of whose keys are others.
fn with_keys(name: &str, keys: &[(&str, serde_json::Value)]) -> Scratch {
    let (scratch, from) = (Scratch::new(), golden_folder(name).join("peft"));
    let text = std::fs::read_to_string(from.join("adapter_config.json")).expect("it is committed");
    let mut config: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&text).expect("it is JSON");
    config.extend(keys.iter().map(|(key, value)| ((*key).to_owned(), value.clone())));
    scratch.file("adapter_config.json", serde_json::to_vec(&config).expect("it is JSON"));
    let tensors = "adapter_model.safetensors";
    std::fs::copy(from.join(tensors), scratch.path(tensors)).expect("it is committed");
    scratch
}

#[test]
fn rows_of_a_table_are_those_of_the_adapter_that_is_active() {
    let (mut net, lora) = adaptable_twin("gpt2");
    let open = |rows: [u64; 3]| {
        let folder = with_keys("tokens", &[("trainable_token_indices", rows.as_slice().into())]);
        adapters::Adapter::open(&lora, &folder.0).unwrap_or_else(|e| panic!("{e}"))
    };
    let table = |net: &Network| net.engine().weight("wte.weight").expect("it is a weight").to_f32_vec();
    let (base, all) = (table(&net), all_weights(&net));
    let [one, other, beyond] = [[2, 5, 7], [1, 2, 3], [2, 5, 53]].map(open);
    for (adapter, rows) in [(&one, [2, 5, 7]), (&other, [1, 2, 3]), (&one, [2, 5, 7])] {
        net.activate(&[(adapter, 1.0)]).unwrap_or_else(|e| panic!("{e}"));
        let width = base.len() / 53;
        let new: Vec<usize> = table(&net)
            .chunks(width)
            .zip(base.chunks(width))
            .enumerate()
            .filter(|(_, (a, b))| a != b)
            .map(|(i, _)| i)
            .collect();
        assert_eq!(new, rows);
    }
    // What is refused leaves the one that is active.
    let worn = all_weights(&net);
    let error = net.activate(&[(&beyond, 1.0)]).expect_err("there is no such row").to_string();
    assert!(error.contains("`wte.weight` has no row 53, which the adapter has"), "{error}");
    let error = net.activate(&[(&one, 1.0), (&other, 1.0)]).expect_err("there is one table").to_string();
    assert!(error.contains("each have a `wte.weight` of their own"), "{error}");
    assert!(all_weights(&net) == worn);
    net.activate(&[]).expect("there is always none");
    assert!(all_weights(&net) == all);
}

#[test]
fn a_tied_table_that_was_trained_under_one_name_is_told() {
    let (mut net, lora) = adaptable_twin("tied");
    let folder = with_keys("tied", &[("ensure_weight_tying", false.into())]);
    let theirs = adapters::Adapter::open(&lora, &folder.0).unwrap_or_else(|e| panic!("{e}"));
    let error = net.activate(&[(&theirs, 1.0)]).expect_err("they would part").to_string();
    assert!(error.contains("are one weight here, and would part"), "{error}");
}

#[test]
fn adapters_for_what_another_has_left_ask_for_a_base_that_is_so() {
    let (_, lora) = adaptable_twin("gpt2");
    let left = Lora { residual: true, ..lora.clone() };
    let pissa = with_keys("gpt2", &[("init_lora_weights", "pissa_niter_4".into())]);
    let said = |lora: &Lora, folder: &Path| adapters::Adapter::open(lora, folder).map_err(|error| error.to_string());
    let plain = golden_folder("gpt2").join("peft");
    assert!(said(&lora, &plain).is_ok());
    let error = said(&left, &plain).expect_err("it is for the base as it was");
    assert!(error.contains("leave `base = residual` out"), "{error}");
    let error = said(&lora, &pissa.0).expect_err("it is for what is left");
    assert!(error.contains("with the base that was saved after that, `base = residual`"), "{error}");
    said(&left, &pissa.0).unwrap_or_else(|error| panic!("its base is there: {error}"));
}

#[test]
fn a_base_that_is_loaded_takes_adapters_off() {
    let (mut net, lora) = adaptable_twin("bert");
    let theirs = adapters::Adapter::open(&lora, &golden_folder("bert").join("peft")).expect("it fits");
    let scratch = Scratch::new();
    // Another base.
    let (mut other, _) = adaptable_twin("bert");
    for w in other.engine().plan().weights.clone() {
        let new = weight(&format!("other.{}", w.name), &w.shape);
        other.engine_mut().set_weight(&w.name, &new).expect("it has this shape");
    }
    other.save(scratch.path("other.safetensors")).expect("it can be written");
    net.activate(&[(&theirs, 1.0)]).expect("it fits");
    let (worn, logits) = (all_weights(&net), run(&mut net, "forward"));
    let error = net.save(scratch.path("mixed.safetensors")).expect_err("a head is not the base's").to_string();
    assert!(error.contains("an adapter that is active"), "{error}");
    assert!(!scratch.path("mixed.safetensors").exists());
    net.load(scratch.path("nowhere.safetensors")).expect_err("it is not there");
    assert!(all_weights(&net) == worn && run(&mut net, "forward") == logits, "the adapter is as it was");
    net.load(scratch.path("other.safetensors")).expect("it fits");
    assert!(all_weights(&net) == all_weights(&other) && run(&mut net, "forward") == run(&mut other, "forward"));
    net.activate(&[(&theirs, 1.0)]).expect("it fits");
    net.activate(&[]).expect("there is always none");
    assert!(all_weights(&net) == all_weights(&other), "the base is the one that was loaded");
}

#[test]
fn a_base_is_loaded_by_the_rules_of_the_spec() {
    let scratch = Scratch::new();
    let rules = "weights base { file = \"none\"  rename \"stack.**\" => \"layer.**\" }";
    let spec = NET.replace("weights base { file = \"whole/model.safetensors\" }", rules);
    let x = Tensor::from_f32(vec![1, 8], vec![0.5; 8]).expect("as many");
    dlc::weights::save(&scratch.path("rows.safetensors"), &[("x", &x)], &Default::default()).expect("it is written");
    let c = compiled(&scratch.file("net.dl", spec), &[], Goal::Adapted { item: Some("tune") });
    let mut net = adaptable_network(c.plan, c.adaptable.expect("it has an adapter")).expect("there is machine code");
    let theirs: Named = net
        .engine()
        .plan()
        .weights
        .iter()
        .map(|w| (w.name.replace("layer.", "stack."), weight(&w.name, &w.shape)))
        .collect();
    let named: Vec<(&str, &Tensor)> = theirs.iter().map(|(n, t)| (n.as_str(), t)).collect();
    dlc::weights::save(&scratch.path("theirs.safetensors"), &named, &Default::default()).expect("it is written");
    net.load(scratch.path("theirs.safetensors")).unwrap_or_else(|e| panic!("{e}"));
    assert!(all_weights(&net).iter().eq(theirs.iter().map(|(_, tensor)| tensor)));
}

#[test]
fn adapters_that_have_no_place_in_a_sum_are_told() {
    let (mut net, lora) = adaptable_twin("bert");
    let theirs = adapters::Adapter::open(&lora, &golden_folder("bert").join("peft")).expect("it fits");
    let all = all_weights(&net);
    net.activate(&[(&theirs, 0.5), (&theirs, 0.5)]).expect("what is beside them is the same");
    net.activate(&[]).expect("there is always none");
    // Another head beside it.
    let scratch = Scratch::new();
    let from = golden_folder("bert").join("peft");
    let file = TensorFile::open(&from.join("adapter_model.safetensors")).expect("it is committed");
    let read = |name: &str| file.read(name).expect("it is there").expect("it is sound");
    let tensors: Vec<(&str, Tensor)> = file
        .names()
        .map(|n| {
            (
                n,
                if n.contains("lora_") {
                    read(n)
                } else {
                    Tensor::zeros(dlc::DType::F32, read(n).shape()).expect("small")
                },
            )
        })
        .collect();
    let named: Vec<(&str, &Tensor)> = tensors.iter().map(|(n, t)| (*n, t)).collect();
    dlc::weights::save(&scratch.path("adapter_model.safetensors"), &named, &Default::default()).expect("it is written");
    std::fs::copy(from.join("adapter_config.json"), scratch.path("adapter_config.json")).expect("it is committed");
    let other = adapters::Adapter::open(&lora, &scratch.0).expect("it fits");
    let error = net.activate(&[(&theirs, 1.0), (&other, 1.0)]).expect_err("there is one head").to_string();
    assert!(error.contains("each have a `") && error.contains("one at a time"), "{error}");
    assert!(all_weights(&net) == all, "what is refused changes nothing");
    // Another base.
    let error = adapters::Adapter::open(&lora, &golden_folder("llama2").join("peft")).expect_err("of another base");
    assert!(error.message.contains("it is for another base"), "{error}");
    // A weight of its own for each output.
    let (_, weighted) = adaptable_twin("dora");
    let error = adapters::Adapter::open(&weighted, &golden_folder("dora").join("peft")).expect_err("it is no product");
    assert!(
        error.to_string().contains("no product of A and B alone") && error.to_string().contains("dlc merge"),
        "{error}"
    );
    // A training's own machine has one rank.
    let (mut fixed, _) = twin("bert");
    assert!(fixed.activate(&[(&theirs, 1.0)]).expect_err("it is fixed").to_string().contains("load_adapter"));
}

/// A folder with a small spec, its base, and two adapters that are trained on it with other ranks and seeds.
fn adapted_folder() -> Scratch {
    let dir = Scratch::new();
    dir.file("net.dl", NET);
    let x: Vec<f32> = (0..24).map(|i| (i as f32 * 0.7).sin()).collect();
    let x = Tensor::from_f32(vec![3, 8], x).expect("as many");
    dlc::weights::save(&dir.path("x.safetensors"), &[("x", &x)], &Default::default()).expect("it is written");
    dlc::weights::save(&dir.path("rows.safetensors"), &[("x", &x)], &Default::default()).expect("it is written");
    let at = |args: &str| fine(dlc(&dir.0, &args.split(' ').collect::<Vec<_>>()));
    at("train net.dl whole --out whole");
    at("train net.dl tune --out one");
    at("train net.dl tune --set Thin.r=3 --set tune.seed=5 --out two");
    dir
}

const NET: &str = "model Net(width = 16)(x: [B, 8]) -> y: [B, 1] {
  repeat 2 as i { x = x -> layer.{i}: Linear(8) -> tanh }
  return x -> head: Linear(1)
}
data rows { source = safetensors(\"rows.safetensors\")  batch = 3 }
weights base { file = \"whole/model.safetensors\" }
lora Thin(r = 1) {
  rank = r
  scale = 2
  freeze \"**\"
  target \"layer.*\", \"head\"
  finish = keep
}
train whole { model = Net()  data = rows  loss = mean(y ^ 2)  optimizer = SGD(lr = 0.05)  max_steps = 3  seed = 1 }
train tune {
  model = Net()
  data = rows
  weights = base
  lora = Thin()
  loss = mean((y - 1) ^ 2)
  optimizer = AdamW(lr = 0.05)
  max_steps = 20
}
";

fn fine(ended: crate::cli::Ended) -> crate::cli::Ended {
    assert_eq!(ended.code, 0, "{}{}", ended.out, ended.err);
    ended
}

fn outputs(path: &Path) -> Tensor {
    TensorFile::open(path).expect("it is sound").read("y").expect("it is there").expect("it is sound")
}

#[test]
fn run_takes_adapters_of_any_rank_and_sums_several() {
    let dir = adapted_folder();
    let at = |args: &str| dlc(&dir.0, &args.split(' ').collect::<Vec<_>>());
    let run = |more: &str, out: &str| {
        fine(at(&format!("run net.dl {more} --in x.safetensors --out {out}")));
        outputs(&dir.path(out))
    };
    let base = run("Net --weights whole/model.safetensors", "base.safetensors");
    for (name, set) in [("one", ""), ("two", " --set Thin.r=3")] {
        fine(at(&format!("merge net.dl tune --adapter {name}/adapter --out {name}.safetensors{set}")));
        let merged = run(&format!("Net --weights {name}.safetensors"), "merged.safetensors");
        let active = run(&format!("tune --adapter {name}/adapter"), "active.safetensors");
        assert!(apart(&active, &merged) <= 1e-6 && apart(&active, &base) > 1e-2, "{name}");
        let slowly = run(&format!("tune --engine interp --adapter {name}/adapter"), "slow.safetensors");
        assert!(apart(&active, &slowly) <= 2e-6, "{name}");
    }
    // What both add to the weights.
    let [whole, one, two] = ["whole/model.safetensors", "one.safetensors", "two.safetensors"].map(|path| {
        let file = TensorFile::open(&dir.path(path)).expect("it is sound");
        let read = |n: &str| (n.to_string(), file.read(n).expect("it is there").expect("it is sound"));
        file.names().map(read).collect::<Named>()
    });
    let both: Named = whole
        .iter()
        .zip(one.iter().zip(&two))
        .map(|((name, w), ((_, a), (_, b)))| {
            let [w, a, b] = [w, a, b].map(Tensor::to_f32_vec);
            let sum = (0..w.len()).map(|i| a[i] + (b[i] - w[i])).collect();
            (name.clone(), Tensor::from_f32(of(&whole, name).shape().to_vec(), sum).expect("as many"))
        })
        .collect();
    let named: Vec<(&str, &Tensor)> = both.iter().map(|(n, t)| (n.as_str(), t)).collect();
    dlc::weights::save(&dir.path("both.safetensors"), &named, &Default::default()).expect("it is written");
    let merged = run("Net --weights both.safetensors", "merged.safetensors");
    let summed = run("tune --adapter one/adapter --adapter two/adapter", "active.safetensors");
    assert!(apart(&summed, &merged) <= 1e-5, "{:e}", apart(&summed, &merged));
}

#[test]
fn run_tells_an_adapter_that_does_not_fit() {
    let dir = adapted_folder();
    let fails = |args: &str, code: i32, said: &[&str]| {
        let ended = dlc(&dir.0, &args.split(' ').collect::<Vec<_>>());
        assert_eq!(ended.code, code, "{}{}", ended.out, ended.err);
        said.iter().for_each(|text| assert!(ended.err.contains(text), "`{text}` is not in: {}", ended.err));
    };
    let rest = "--in x.safetensors --out y.safetensors";
    let other = golden_folder("llama2").join("peft").display().to_string();
    let said = ["E0604", "has nothing that `Thin` adapts: it is for another base"];
    fails(&format!("run net.dl tune --adapter {other} {rest}"), 2, &said);
    // Of the same names, and another width.
    let wide = NET.replace("(x: [B, 8])", "(x: [B, 9])").replace("Linear(8)", "Linear(9)");
    dir.file("wide.dl", wide.replace("weights = base", ""));
    let x = Tensor::from_f32(vec![1, 9], vec![0.5; 9]).expect("as many");
    dlc::weights::save(&dir.path("rows.safetensors"), &[("x", &x)], &Default::default()).expect("it is written");
    fine(dlc(&dir.0, &["train", "wide.dl", "tune", "--out", "wide"]));
    let said = ["E0604", "has another shape for `layer.0.weight`: it is for another base"];
    fails(&format!("run net.dl tune --adapter one/adapter --adapter wide/adapter {rest}"), 2, &said);
    fails(&format!("run net.dl whole --adapter one/adapter {rest}"), 1, &["E0512", "`train whole` has no adapter"]);
    // Without a configuration no one knows its scale.
    std::fs::create_dir(dir.path("bare")).expect("the folder can be written");
    let tensors = "adapter_model.safetensors";
    std::fs::copy(dir.path("one/adapter").join(tensors), dir.path("bare").join(tensors)).expect("it was trained");
    let bare = fine(dlc(
        &dir.0,
        &["run", "net.dl", "tune", "--adapter", "bare", "--in", "x.safetensors", "--out", "bare.safetensors"],
    ));
    assert!(
        bare.err.contains("note: there is no adapter_config.json beside it: scales are the spec's"),
        "{}",
        bare.err
    );
    fails(&format!("run net.dl tune --adapter nowhere {rest}"), 2, &["cannot read nowhere"]);
    fails(&format!("run net.dl tune --training --adapter one/adapter {rest}"), 1, &["cannot be used with"]);
    assert!(!dir.path("y.safetensors").exists());
}

#[test]
fn a_merge_on_the_command_line_is_taken_back_bit_by_bit() {
    let dir = adapted_folder();
    let at = |args: &str| dlc(&dir.0, &args.split(' ').collect::<Vec<_>>());
    let read = |name: &str| std::fs::read(dir.path(name)).expect("it is written");
    // What a training says of itself is not the model's.
    fine(at("convert whole/model.safetensors base.safetensors"));
    let weights = |name: &str| {
        let file = TensorFile::open(&dir.path(name)).expect("it is sound");
        file.names()
            .map(|n| (n.to_string(), file.read(n).expect("it is there").expect("it is sound")))
            .collect::<Named>()
    };
    fine(at("merge net.dl tune --adapter one/adapter --out merged.safetensors --keep kept.safetensors"));
    assert!(weights("merged.safetensors") != weights("base.safetensors"));
    assert_eq!(weights("kept.safetensors").len(), 3, "biases are not changed");
    let done = fine(at("unmerge merged.safetensors --kept kept.safetensors --out back.safetensors"));
    assert!(done.out.contains("3 weights are as they were"), "{}", done.out);
    let bytes = |name: &str| weights(name).into_iter().map(|(n, t)| (n, t.bytes().to_vec())).collect::<Vec<_>>();
    assert_eq!(bytes("back.safetensors"), bytes("base.safetensors"));
    // Two files cannot be one.
    let ended = at("merge net.dl tune --adapter one/adapter --out both.safetensors --keep ./both.safetensors");
    assert!(ended.code == 1 && ended.err.contains("`--keep` and `--out` are one file"), "{}", ended.err);
    assert!(!dir.path("both.safetensors").exists(), "what is refused writes nothing");
    // Another merge, and what was not kept.
    fine(at("merge net.dl tune --adapter two/adapter --out other.safetensors --set Thin.r=3"));
    let before = read("back.safetensors");
    for (args, said) in [
        ("other.safetensors --kept kept.safetensors", "is not the merged model that kept.safetensors was kept of"),
        ("base.safetensors --kept kept.safetensors", "is not the merged model"),
        ("merged.safetensors --kept base.safetensors", "does not say what it was kept of"),
    ] {
        let ended = at(&format!("unmerge {args} --out back.safetensors"));
        assert!(ended.code == 2 && ended.err.contains("E0604") && ended.err.contains(said), "{}", ended.err);
    }
    assert!(read("back.safetensors") == before, "what is refused writes nothing");
}

/// A base in half precision stays one: merged by the command or after a training, kept, and taken back.
#[test]
fn a_merged_model_has_the_types_of_its_base() {
    let dir = adapted_folder();
    let at = |args: &str| fine(dlc(&dir.0, &args.split(' ').collect::<Vec<_>>()));
    let file = |name: &str| TensorFile::open(&dir.path(name)).expect("it is sound");
    let all = |name: &str| {
        let file = file(name);
        let read = |n: &str| (n.to_string(), file.read(n).expect("it is there").expect("it is sound"));
        file.names().map(read).collect::<Named>()
    };
    at("convert whole/model.safetensors wide.safetensors");
    for dtype in ["f16", "bf16"] {
        at(&format!("convert wide.safetensors whole/model.safetensors --dtype {dtype}"));
        let base = all("whole/model.safetensors");
        at("merge net.dl tune --adapter one/adapter --out merged.safetensors --keep kept.safetensors");
        let merged = all("merged.safetensors");
        // What merging in f32 gives, rounded once.
        at("convert whole/model.safetensors same.safetensors --dtype f32");
        at("merge net.dl tune --adapter one/adapter --weights same.safetensors --out exact.safetensors");
        let exact = all("exact.safetensors");
        assert!(exact.iter().all(|(_, tensor)| tensor.dtype() == dlc::DType::F32));
        for (((name, old), (_, new)), (_, exact)) in base.iter().zip(&merged).zip(&exact) {
            assert_eq!((new.dtype(), new), (old.dtype(), &exact.to_float(old.dtype()).expect("it is real")), "{name}");
        }
        at("unmerge merged.safetensors --kept kept.safetensors --out back.safetensors");
        assert_eq!(all("back.safetensors"), base);
        at("train net.dl tune --set Thin.finish=merge --out trained");
        assert!(
            all("trained/model.safetensors").iter().zip(&base).all(|((_, new), (_, old))| new.dtype() == old.dtype())
        );
    }
    // Some weights are short, others are not.
    let mixed: Named = all("wide.safetensors")
        .into_iter()
        .map(|(name, tensor)| match name.as_str() {
            "head.weight" => (name, tensor.to_float(dlc::DType::F16).expect("it is real")),
            _ => (name, tensor),
        })
        .collect();
    let named: Vec<(&str, &Tensor)> = mixed.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    dlc::weights::save(&dir.path("whole/model.safetensors"), &named, &Default::default()).expect("it is written");
    at("merge net.dl tune --adapter one/adapter --out merged.safetensors");
    for ((name, new), (_, old)) in all("merged.safetensors").iter().zip(&mixed) {
        assert_eq!(new.dtype(), old.dtype(), "{name}");
    }
    // What does not fit is told.
    let large = Tensor::from_f32(vec![1, 8], vec![65504.0; 8]).and_then(|tensor| tensor.to_float(dlc::DType::F16));
    let large: Named = mixed
        .into_iter()
        .map(
            |(name, tensor)| {
                if name == "head.weight" { (name, large.clone().expect("it is real")) } else { (name, tensor) }
            },
        )
        .collect();
    let named: Vec<(&str, &Tensor)> = large.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    dlc::weights::save(&dir.path("whole/model.safetensors"), &named, &Default::default()).expect("it is written");
    let adapter = file("one/adapter/adapter_model.safetensors");
    let grown: Named = adapter
        .names()
        .map(|name| {
            let tensor = adapter.read(name).expect("it is there").expect("it is sound");
            let numbers = tensor.to_f32_vec().iter().map(|x| 1e3 * x).collect();
            (name.to_string(), Tensor::from_f32(tensor.shape().to_vec(), numbers).expect("as many"))
        })
        .collect();
    let named: Vec<(&str, &Tensor)> = grown.iter().map(|(name, tensor)| (name.as_str(), tensor)).collect();
    dlc::weights::save(&dir.path("one/adapter/adapter_model.safetensors"), &named, &Default::default())
        .expect("written");
    let ended = dlc(&dir.0, &["merge", "net.dl", "tune", "--adapter", "one/adapter", "--out", "not.safetensors"]);
    assert!(
        ended.code != 0 && ended.err.contains("`head.weight` has numbers that are too large for f16"),
        "{}",
        ended.err
    );
    assert!(!dir.path("not.safetensors").exists());
}

const DROPS: &str = "model Net(p = 0.5)(x: [B, 8]) -> y: [B, 1] {
  repeat 2 as i { x = x -> layer.{i}: Linear(8) -> tanh -> dropout(p) }
  return x -> head: Linear(1) -> dropout(p)
}
lora Thin(drop = 0.5) { rank = 2  dropout = drop  target \"layer.*\", \"head\" }
train plain { model = Net()  loss = mean(y ^ 2)  optimizer = SGD(lr = 0.1)  max_steps = 2 }
train tuned { model = Net()  lora = Thin()  loss = mean(y ^ 2)  optimizer = SGD(lr = 0.1)  max_steps = 2 }
";

#[test]
fn layers_with_adapters_draw_random_numbers_as_without_them() {
    let dir = Scratch::new();
    dir.file("drops.dl", DROPS);
    let rows = weight("rows", &[16, 8]);
    // The loss in training, where adapters add nothing because their B are 0, or something.
    let loss = |item: &str, drop: &str, seed: u64, adds: bool| {
        let sets = [("Thin.drop".to_string(), drop.to_string())];
        let c = compiled(&dir.path("drops.dl"), &sets, Goal::Train { item: Some(item) });
        let mut net = dlc::jit::network(c.plan, c.recipe, seed).expect("there is machine code");
        fill(&mut net);
        for w in net.engine().plan().weights.clone().iter().filter(|w| w.name.ends_with("lora.B") && !adds) {
            let zeros = Tensor::zeros(dlc::DType::F32, &w.shape).expect("small");
            net.engine_mut().set_weight(&w.name, &zeros).expect("it is a weight");
        }
        of(&net.run("grad", &[("x", &rows)]).expect("it runs"), "loss").to_f32_vec()[0]
    };
    let near = |a: f32, b: f32| (a - b).abs() <= 1e-6 * a.abs();
    let plain = loss("plain", "0.5", 1, false);
    assert!(near(plain, loss("tuned", "0.5", 1, false)) && near(plain, loss("tuned", "0", 1, false)));
    assert!(!near(plain, loss("plain", "0.5", 2, false)), "it draws");
    assert!(!near(loss("tuned", "0.5", 1, true), loss("tuned", "0", 1, true)), "adapters draw as well");
}
