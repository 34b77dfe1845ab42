//! One spec, two engines: machine code made now, and the Rust that `model!` emitted when this test was compiled. The same
//! bits from both, on any number of threads, and PyTorch's numbers.
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

use dlc::weights::file::TensorFile;
use dlc::{Network, Tensor};
use dlc_compiler::back::clif;
use dlc_compiler::check::{Loaded, Loader};
use dlc_compiler::lower::{Cells, Files, SourceColumn};
use dlc_compiler::pipeline::{Compiled, Goal, Request, compile};
use dlc_runtime::pool::Pool;
use dlc_runtime::{Engine, ValidPlan};
use std::path::{Path, PathBuf};
use std::sync::Arc;

dlc::model!("examples/digits.dl");
dlc::model!("tests/specs/conv.dl");

/// Activations, gates, norms and losses.
mod catalogue {
    dlc::model!("tests/specs/catalogue.dl");
}

/// Optimizers and schedules.
mod optimizers {
    dlc::model!("tests/specs/optimizers.dl");
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> TensorFile {
    TensorFile::open(&root().join(path)).unwrap()
}

fn tensor(file: &TensorFile, name: &str) -> Tensor {
    file.read(name).unwrap().unwrap()
}

/// The columns of `tests/specs/deep.safetensors`.
struct Columns;

impl Loader for Columns {
    fn load(&mut self, path: &str, from: &str) -> Result<Loaded, String> {
        dlc_compiler::emit::Folder::new(Path::new("")).load(path, from)
    }
}

impl Files for Columns {
    fn columns(&mut self, _: &dlc_plan::recipe::Source) -> Result<Vec<SourceColumn>, String> {
        let column = |name: &str, dtype, row: &[usize]| SourceColumn {
            name: name.into(),
            dtype,
            row: row.to_vec(),
            cells: Cells::Numbers,
        };
        Ok(vec![column("x", dlc_plan::DType::F32, &[8]), column("label", dlc_plan::DType::I64, &[])])
    }
}

/// A training, compiled now.
fn compiled(spec: &str, sets: &[(&str, &str)]) -> Compiled {
    compiled_as(spec, Goal::Train { item: None }, sets)
}

/// A model or a training, compiled now.
pub fn compiled_as(spec: &str, goal: Goal, sets: &[(&str, &str)]) -> Compiled {
    let path = root().join(spec);
    let text = std::fs::read_to_string(&path).unwrap();
    let sets: Vec<(String, String)> = sets.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect();
    let name = path.display().to_string();
    let request = Request { name: &name, text: &text, sets: &sets, goal };
    compile(&request, &mut Columns, &mut |_, _| {}).unwrap_or_else(|f| panic!("{:?}", f.diagnostics))
}

/// The training as machine code, on so many threads.
pub fn machine(c: &Compiled, seed: u64, threads: usize) -> Network {
    let code = clif::compile(&c.plan.kernels).unwrap();
    let plan = ValidPlan::new(c.plan.clone()).unwrap();
    let engine = Engine::with_pool(plan, code.share().into(), Arc::new(Pool::new(threads))).unwrap();
    Network::of(engine, c.recipe.clone(), seed).unwrap()
}

fn weights(net: &Network) -> Vec<(String, Tensor)> {
    let all = &net.engine().plan().weights;
    all.iter().map(|w| (w.name.clone(), net.engine().stores().weight(&w.name).unwrap())).collect()
}

fn same(a: &[(String, Tensor)], b: &[(String, Tensor)], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for ((name, x), (other, y)) in a.iter().zip(b) {
        assert_eq!(name, other, "{what}");
        assert!(x.bytes() == y.bytes(), "{what}: the bits of `{name}` differ");
    }
}

fn batch(n: usize) -> (Tensor, Tensor) {
    let pixels: Vec<f32> = (0..n * 64).map(|i| ((i * 37 + i / 64) % 17) as f32 / 16.0).collect();
    let label: Vec<i64> = (0..n).map(|i| (i * 7 % 10) as i64).collect();
    (Tensor::from_f32(vec![n, 64], pixels).unwrap(), Tensor::from_i64(vec![n], label).unwrap())
}

#[test]
fn machine_code_and_rust_give_the_same_bits() {
    let c = compiled("examples/digits.dl", &[]);
    let mut rust = Fit::new(7).unwrap();
    let mut jit: Vec<Network> = [1, 2, 3].map(|threads| machine(&c, 7, threads)).into();
    rust.plan_steps(100);
    jit.iter_mut().for_each(|net| net.plan_steps(100));
    let first = weights(&rust);
    jit.iter().for_each(|net| same(&first, &weights(net), "initial weights"));
    for n in [0, 1, 15, 16, 17, 257] {
        let (pixels, label) = batch(n);
        let inputs: [(&str, &Tensor); 2] = [("pixels", &pixels), ("label", &label)];
        let logits = rust.outputs("forward", &inputs[..1]).unwrap();
        let grads = Network::run(&mut rust, "grad", &inputs).unwrap();
        for net in &mut jit {
            assert!(net.outputs("forward", &inputs[..1]).unwrap()[0].bytes() == logits[0].bytes(), "logits of {n}");
            same(&grads, &net.run("grad", &inputs).unwrap(), "gradients");
        }
    }
    for step in 0..10 {
        let (pixels, label) = batch([32, 5, 257][step % 3]);
        let loss = rust.step(&pixels, &label).unwrap();
        for net in &mut jit {
            let other = net.step(&[("pixels", &pixels), ("label", &label)]).unwrap();
            assert_eq!(loss.to_bits(), other.to_bits(), "loss of step {step}");
        }
    }
    let last = weights(&rust);
    assert!(first[0].1.bytes() != last[0].1.bytes(), "ten steps change the weights");
    jit.iter().for_each(|net| same(&last, &weights(net), "weights after ten steps"));
}

/// Asserts that a training emitted as Rust and as machine code gives the same bits, batch after batch: what the model gives
/// for the first `inputs` columns, gradients, losses, and the weights after a step for each batch.
fn same_bits(
    rust: &mut Network,
    (spec, item): (&str, Option<&str>),
    seed: u64,
    inputs: usize,
    batches: &[Vec<(&str, Tensor)>],
) {
    let c = compiled_as(spec, Goal::Train { item }, &[]);
    let mut jit: Vec<Network> = [1, 2, 3].map(|threads| machine(&c, seed, threads)).into();
    rust.plan_steps(100);
    jit.iter_mut().for_each(|net| net.plan_steps(100));
    for batch in batches {
        let given: Vec<(&str, &Tensor)> = batch.iter().map(|(name, t)| (*name, t)).collect();
        let what = format!("{spec}, a batch of {}", batch[0].1.shape()[0]);
        let outputs = rust.outputs("forward", &given[..inputs]).unwrap();
        let grads = rust.run("grad", &given).unwrap();
        let loss = rust.step(&given).unwrap();
        for net in &mut jit {
            let found = net.outputs("forward", &given[..inputs]).unwrap();
            assert!(found.iter().zip(&outputs).all(|(a, b)| a.bytes() == b.bytes()), "{what}: outputs");
            same(&grads, &net.run("grad", &given).unwrap(), &what);
            assert_eq!(loss.to_bits(), net.step(&given).unwrap().to_bits(), "{what}: loss");
        }
    }
    let last = weights(rust);
    jit.iter().for_each(|net| same(&last, &weights(net), spec));
}

#[test]
fn convolutions_give_the_same_bits_in_machine_code_and_rust() {
    let batches = [0, 1, 5, 17, 257].map(|n| {
        let (pixels, label) = batch(n);
        vec![("pixels", pixels), ("label", label)]
    });
    same_bits(&mut Images::new(7).unwrap(), ("tests/specs/conv.dl", None), 7, 1, &batches);
}

#[test]
fn the_catalogue_gives_the_same_bits_in_machine_code_and_rust() {
    let batches = [1, 15, 16, 17, 40, 0].map(|n| {
        let reals = |k: usize| (0..n * 8).map(|i| ((i * k + i / 8) % 23) as f32 / 6.0 - 1.9).collect();
        let whole = || Tensor::from_i64(vec![n], (0..n).map(|i| (i * 7 % 5) as i64).collect()).unwrap();
        let (x, t) = (Tensor::from_f32(vec![n, 8], reals(37)), Tensor::from_f32(vec![n, 8], reals(29)));
        vec![("x", x.unwrap()), ("ids", whole()), ("label", whole()), ("t", t.unwrap())]
    });
    same_bits(&mut catalogue::Fit::new(3).unwrap(), ("tests/specs/catalogue.dl", None), 3, 2, &batches);
}

#[test]
fn optimizers_give_the_same_bits_in_machine_code_and_rust() {
    let batches: Vec<Vec<(&str, Tensor)>> = (0..20)
        .map(|step| {
            let x = (0..12).map(|i| ((i * 37 + step * 11) % 23) as f32 / 6.0 - 1.9).collect();
            vec![("x", Tensor::from_f32(vec![4, 3], x).unwrap())]
        })
        .collect();
    let spec = "tests/specs/optimizers.dl";
    same_bits(&mut optimizers::Each::new(3).unwrap(), (spec, Some("each")), 3, 1, &batches);
    same_bits(&mut optimizers::Whole::new(3).unwrap(), (spec, Some("whole")), 3, 1, &batches);
}

#[test]
fn a_training_goes_by_the_networks_seed_and_weights() {
    let c = compiled("examples/digits.dl", &[("fit.epochs", "1")]);
    let folder = root().join("examples");
    let trained = |seed: u64, load: Option<&Path>| {
        let mut net = machine(&c, seed, 1);
        if let Some(file) = load {
            net.load(file).unwrap();
        }
        net.train(&folder, &mut ()).unwrap();
        weights(&net)
    };
    let bits = |all: &[(String, Tensor)]| all.iter().flat_map(|(_, t)| t.bytes().to_vec()).collect::<Vec<u8>>();
    let first = trained(1, None);
    same(&first, &trained(1, None), "one seed");
    assert!(bits(&first) != bits(&trained(2, None)), "another seed is another training");
    // What was loaded is trained on: what is trained once more begins where the first training ended.
    let dir = crate::scratch::Scratch::new();
    let mut net = machine(&c, 1, 1);
    net.train(&folder, &mut ()).unwrap();
    net.save(dir.path("w.safetensors")).unwrap();
    let loaded = trained(1, Some(&dir.path("w.safetensors")));
    assert!(bits(&loaded) != bits(&first), "the loaded weights were thrown away");
    net.train(&folder, &mut ()).unwrap();
    same(&loaded, &weights(&net), "two trainings one after the other");
}

/// What of the prelude specs here need not use by name: what is done before there are batches, where there are several to a
/// step, and the layers that adapters put in, which `lora` items name.
const APART: [&str; 9] =
    ["standardize", "gathered", "LoRA", "LoRARows", "LoRATied", "DoRA", "grown", "DoRARows", "BiasedLoRA"];

/// The items of the prelude's files with these names, each with its text, comments left out.
pub fn items(of: impl Fn(&str) -> bool) -> Vec<(String, String)> {
    let folder = root().join("compiler/src/prelude");
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<(String, String)> = Vec::new();
    let file =
        |path: &PathBuf| path.extension().is_some_and(|e| e == "dl") && of(path.file_stem().unwrap().to_str().unwrap());
    for path in files.filter(file) {
        for line in std::fs::read_to_string(path).unwrap().lines().filter(|line| !line.starts_with("//")) {
            let begun = ["fn ", "block ", "optimizer "].iter().find_map(|kind| line.strip_prefix(kind));
            if let Some(rest) = begun {
                let name = rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                found.push((name.to_string(), String::new()));
            }
            let Some((_, text)) = found.last_mut() else { continue };
            text.push_str(line);
            text.push('\n');
        }
    }
    found
}

/// Whether a name stands in a text as a word.
fn has_word(text: &str, name: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == name)
}

/// The items that stand in none of these texts, nor in those of items that do.
pub fn unreached(items: &[(String, String)], mut texts: Vec<String>) -> Vec<String> {
    let mut used = vec![false; items.len()];
    while let Some(n) = (0..items.len()).find(|n| !used[*n] && texts.iter().any(|text| has_word(text, &items[*n].0))) {
        used[n] = true;
        texts.push(items[n].1.clone());
    }
    let missing = items.iter().zip(&used).filter(|(_, used)| !**used);
    missing.map(|(item, _)| item.0.clone()).collect()
}

/// Every item of the prelude is in a spec that is compared between machine code and emitted Rust, here or in `tests/models`,
/// by itself or within another one.
#[test]
fn every_item_of_the_prelude_is_emitted() {
    let items = items(|_| true);
    assert!(items.len() > 100);
    let spec = |name: &str| std::fs::read_to_string(root().join(format!("tests/specs/{name}.dl"))).unwrap();
    let models = spec("models");
    // What is done around every optimizer is asked for by keys.
    let mut texts = vec!["prepared settled".to_string()];
    texts.extend(["catalogue", "conv", "items", "optimizers"].map(spec));
    for model in std::fs::read_dir(root().join("examples")).unwrap().map(|entry| entry.unwrap().path()) {
        let named = model.file_name().is_some_and(|name| has_word(&models, &name.to_string_lossy().replace(".dl", "")));
        if named && model.is_file() {
            texts.push(std::fs::read_to_string(model).unwrap());
        }
    }
    texts.push(models);
    let missing: Vec<String> = unreached(&items, texts).into_iter().filter(|n| !APART.contains(&n.as_str())).collect();
    let help = "`python tests/golden/make.py` lists what goes element by element in tests/specs/items.dl";
    assert!(missing.is_empty(), "no spec that is emitted here has {missing:?}: {help}");
}

/// The norm of the difference over the norm of the reference.
fn distance(found: &Tensor, expected: &Tensor) -> f64 {
    let (a, b) = (found.to_f32_vec(), expected.to_f32_vec());
    assert_eq!(a.len(), b.len());
    let off = a.iter().zip(&b).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>().sqrt();
    off / b.iter().map(|y| f64::from(*y).powi(2)).sum::<f64>().sqrt().max(1e-12)
}

fn load(net: &mut Network, file: &TensorFile) {
    for name in file.names() {
        net.engine_mut().stores_mut().set_weight(name, &tensor(file, name)).unwrap();
    }
}

fn row(stacked: &Tensor, i: usize) -> Tensor {
    let shape = &stacked.shape()[1..];
    let bytes = stacked.bytes().len() / stacked.shape()[0];
    Tensor::from_bytes(stacked.dtype(), shape, &stacked.bytes()[i * bytes..(i + 1) * bytes]).unwrap()
}

/// Forward, gradients and ten steps of a training against the golden tensors of a folder.
fn against_pytorch(spec: &str, sets: &[(&str, &str)], folder: &str, input: &str, output: &str) {
    let c = compiled(spec, sets);
    let mut net = machine(&c, 0, 2);
    let file = |name: &str| read(&format!("tests/golden/{folder}/{name}.safetensors"));
    load(&mut net, &file("weights"));
    let (batch, outputs, grads) = (file("batch"), file("outputs"), file("grads"));
    let (x, label) = (tensor(&batch, input), tensor(&batch, "label"));
    let found = net.outputs("forward", &[(input, &x)]).unwrap();
    assert!(distance(&found[0], &tensor(&outputs, output)) <= 1e-5, "{folder}: {output}");
    for (name, t) in net.run("grad", &[(input, &x), ("label", &label)]).unwrap() {
        let off = distance(&t, &tensor(&grads, &name));
        assert!(off <= if name == "loss" { 1e-5 } else { 1e-4 }, "{folder}: the gradient of {name} is {off:e} off");
    }
    let steps = file("steps");
    let (xs, labels, losses) = (tensor(&steps, input), tensor(&steps, "label"), tensor(&steps, "loss").to_f32_vec());
    net.plan_steps(tensor(&steps, "steps").view::<i64>().unwrap()[0] as u64);
    for (i, expected) in losses.iter().enumerate() {
        let loss = net.step(&[(input, &row(&xs, i)), ("label", &row(&labels, i))]).unwrap();
        assert!((loss - expected).abs() <= 1e-4 * expected.abs(), "{folder}: loss {i} is {loss}, not {expected}");
    }
    let trained = file("trained");
    for (name, w) in weights(&net) {
        let off = distance(&w, &tensor(&trained, &name));
        assert!(off <= 1e-4, "{folder}: after ten steps {name} is {off:e} off");
    }
}

#[test]
fn digits_are_pytorchs() {
    against_pytorch("examples/digits.dl", &[("Mlp.p", "0")], "digits", "pixels", "logits");
}

#[test]
fn a_deep_stack_is_pytorchs() {
    against_pytorch("tests/specs/deep.dl", &[("Deep.p", "0")], "deep4", "x", "y");
    let deep = [("Deep.p", "0"), ("Deep.L", "64"), ("Deep.F", "20")];
    against_pytorch("tests/specs/deep.dl", &deep, "deep64", "x", "y");
}

/// How many lines the Rust of a training has, but for the tables of its plan: the weights, their buffers, and the gradients that
/// `grad` gives by name.
fn lines(c: &Compiled) -> usize {
    let text = dlc_compiler::emit::one(&mut Default::default(), "fit", "", c);
    let table = |line: &str| {
        let (first, rest) = line.split_once(' ').unwrap_or((line, ""));
        let buffer = first.starts_with('b') && first.ends_with(':');
        let weight = [" in trained at ", " in frozen at ", " in ints at "].iter().any(|store| rest.contains(store));
        buffer || weight || first == "out"
    };
    text.lines().map(str::trim).filter(|line| !table(line)).count()
}

#[test]
fn depth_adds_no_kernels_and_no_lines() {
    let (shallow, deep) = (compiled("tests/specs/deep.dl", &[]), compiled("tests/specs/deep.dl", &[("Deep.L", "64")]));
    assert_eq!(shallow.plan.kernels.len(), deep.plan.kernels.len());
    assert_eq!(shallow.program.functions.len(), deep.program.functions.len());
    assert_eq!(lines(&shallow), lines(&deep));
}

/// What is compiled of 48 layers is what is compiled of 12: kernels, functions and lines; more weights are more rows of tables.
#[test]
fn gpt2_of_48_layers_is_no_more_code_than_of_12() {
    let of = |layers: &str| {
        let sets = [("GPT2.L", layers)];
        compiled_as("examples/gpt2.dl", Goal::Run { model: Some("GPT2"), training: false }, &sets)
    };
    let (few, many) = (of("12"), of("48"));
    assert_eq!(few.plan.kernels.len(), many.plan.kernels.len());
    assert_eq!(few.program.functions.len(), many.program.functions.len());
    assert_eq!(lines(&few), lines(&many));
    let small = |layers: &str| {
        let sets = [("gpt2.L", layers)];
        compiled_as("tests/specs/models.dl", Goal::Train { item: Some("gpt2") }, &sets)
    };
    let (few, many) = (small("12"), small("48"));
    assert_eq!(few.plan.kernels.len(), many.plan.kernels.len());
    assert_eq!(few.program.functions.len(), many.program.functions.len());
    assert_eq!(lines(&few), lines(&many));
}

#[test]
fn a_training_step_of_digits_calls_nothing_but_products() {
    let c = compiled("examples/digits.dl", &[]);
    use dlc_plan::plan::Step;
    for name in ["accumulate", "update", "forward"] {
        let entry = c.plan.entries.iter().find(|e| e.name == name).unwrap();
        for step in &entry.steps {
            assert!(matches!(step, Step::Kernel(_) | Step::Gemm(_)), "{name} has the step {step:?}");
        }
    }
    let update = c.plan.entries.iter().find(|e| e.name == "update").unwrap();
    let over_weights = update.steps.iter().filter(|s| matches!(s, Step::Kernel(k) if k.segments)).count();
    assert_eq!(over_weights, 3, "the largest gradient, the norm relative to it, the update of all weights");
}

/// Cargo compiles a crate again when a file that its dep-info lists is newer. This test's own lists the spec that
/// `model!` above read.
#[test]
fn an_edit_of_the_spec_is_seen_by_cargo() {
    let listed = std::fs::read_to_string(std::env::current_exe().expect("it runs").with_extension("d"));
    let listed = listed.expect("cargo writes it beside the binary");
    let spec = listed.lines().find(|line| line.ends_with("examples/digits.dl:"));
    assert!(spec.is_some(), "examples/digits.dl is not among the files that this binary is made of: {listed}");
}
