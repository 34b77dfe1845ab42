//! The architectures of `examples`, small, against transformers, torchvision and PyTorch: what the trainings of
//! `tests/specs/models.dl` give, from machine code and from the Rust that `model!` emits, at three sizes each.
//! `tests/golden/models.py` says where the numbers come from.
#![cfg(test)]
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

use dlc::jit::Beside;
use dlc::weights::file::TensorFile;
use dlc::{Network, Tensor};
use dlc_compiler::back::clif;
use dlc_compiler::pipeline::{Compiled, Goal, Request, compile};
use dlc_plan::plan::{Port, Step};
use dlc_runtime::pool::Pool;
use dlc_runtime::{Engine, ValidPlan};
use numbers::{hash, numbers, weight};
use std::path::PathBuf;
use std::sync::Arc;

mod adapters;
#[path = "../golden/numbers.rs"]
mod numbers;

mod small {
    dlc::model!("../specs/models.dl");
}

/// How many ids the small models of text know.
const V: u64 = 53;

/// The size whose gradients are stored whole.
const WHOLE: usize = 1;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// An input of a batch of a size.
fn input(port: &Port, (b, t): (usize, usize)) -> Tensor {
    let shape = vec![b, t];
    let known: Vec<Option<usize>> = port.shape.iter().map(|s| s.known().map(|n| n as usize)).collect();
    let whole = |f: &dyn Fn(usize, usize) -> u64| {
        let cells = (0..b * t).map(|i| f(i / t, i % t) as i64).collect();
        Tensor::from_i64(shape.clone(), cells).unwrap()
    };
    match port.name.as_str() {
        "image" | "x" => {
            // Pictures of a dynamic size are as high and as wide as their golden ones.
            let sides = [b, 3, 40 + 3 * t, 49 - t];
            let shape: Vec<usize> = known.iter().enumerate().map(|(i, n)| n.unwrap_or(sides[i])).collect();
            let cells = numbers(&port.name, shape.iter().product()).collect();
            Tensor::from_f32(shape, cells).unwrap()
        }
        "input_ids" | "tokens" => whole(&|i, j| (hash("ids", (i * t + j) as u64) >> 33) % V),
        "attention_mask" => whole(&|i, j| u64::from(j < t.saturating_sub(3 * i).max(1))),
        "token_type_ids" => whole(&|_, j| u64::from(j >= t / 2)),
        name => panic!("no one knows what `{name}` is"),
    }
}

fn training(name: &str) -> Compiled {
    let path = root().join("tests/specs/models.dl");
    compiled(&path, Goal::Train { item: Some(name) }, &[])
}

fn compiled(path: &std::path::Path, goal: Goal, sets: &[(String, String)]) -> Compiled {
    let text = std::fs::read_to_string(path).unwrap();
    let request = Request { name: path.to_str().unwrap(), text: &text, sets, goal };
    compile(&request, &mut Beside::new(path), &mut |_, _| {}).unwrap_or_else(|f| panic!("{:?}", f.diagnostics))
}

/// Machine code on so many threads.
fn machine(c: &Compiled, threads: usize) -> Network {
    let code = clif::compile(&c.plan.kernels).unwrap();
    let plan = ValidPlan::new(c.plan.clone()).unwrap();
    let engine = Engine::with_pool(plan, code.share().into(), Arc::new(Pool::new(threads))).unwrap();
    Network::of(engine, c.recipe.clone(), 0).unwrap()
}

/// Gives a network the weights that its twin has.
fn fill(net: &mut Network) {
    let weights = net.engine().plan().weights.clone();
    for w in weights.iter().filter(|w| w.dtype == dlc_plan::DType::F32) {
        net.engine_mut().stores_mut().set_weight(&w.name, &weight(&w.name, &w.shape)).unwrap();
    }
}

fn same(a: &[(String, Tensor)], b: &[(String, Tensor)], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for ((name, a), (other, b)) in a.iter().zip(b) {
        assert_eq!(name, other, "{what}");
        assert!(a.bytes() == b.bytes(), "{what}: machine code and Rust give different bits for `{name}`");
    }
}

fn norm(values: impl Iterator<Item = f64>) -> f64 {
    values.map(|v| v * v).sum::<f64>().sqrt()
}

/// The norm of the difference of two tensors, and that of the second.
fn apart(found: &[f32], expected: &[f32]) -> (f64, f64) {
    assert_eq!(found.len(), expected.len());
    let off = norm(found.iter().zip(expected).map(|(a, b)| f64::from(*a) - f64::from(*b)));
    (off, norm(expected.iter().map(|v| f64::from(*v))))
}

/// An estimate of how far a gradient is from the one with these sums, from sixteen sums under signs.
fn sketch_apart(name: &str, found: &[f32], expected: &[f32]) -> f64 {
    let mut sums = [0f64; 16];
    for (i, v) in found.iter().enumerate() {
        let bits = hash(name, i as u64);
        for (k, sum) in sums.iter_mut().enumerate() {
            *sum += f64::from(*v) * (1.0 - 2.0 * ((bits >> k) & 1) as f64);
        }
    }
    norm(sums.iter().zip(expected).map(|(a, b)| a - f64::from(*b))) / 4.0
}

/// A family at all sizes, with so many attentions in a body of layers: outputs, loss and gradients are its twin's, and the emitted Rust has the same bits.
fn family(name: &str, rust: &mut Network, sizes: [(usize, usize); 3], attentions: usize) {
    let c = training(name);
    assert_eq!(c.plan.notes, [""; 0], "{name}: a softmax was not taken");
    assert_eq!((panels(&c, "forward"), panels(&c, "grad")), (attentions, 2 * attentions), "{name}");
    let mut nets = [machine(&c, 1), machine(&c, 2)];
    let tensors = TensorFile::open(&root().join(format!("tests/golden/models/{name}.safetensors"))).unwrap();
    let golden = |name: &str| tensors.read(name).unwrap_or_else(|| panic!("no {name}")).unwrap().to_f32_vec();
    for (n, size) in sizes.into_iter().enumerate() {
        nets.iter_mut().for_each(fill);
        fill(rust);
        let entry = c.plan.entries.iter().find(|e| e.name == "grad").unwrap();
        let inputs: Vec<(&str, Tensor)> = entry.inputs.iter().map(|p| (p.name.as_str(), input(p, size))).collect();
        let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (*n, t)).collect();
        let outputs = rust.run("forward", &inputs).unwrap();
        let grads = rust.run("grad", &inputs).unwrap();
        for net in &mut nets {
            same(&net.run("forward", &inputs).unwrap(), &outputs, &format!("{name} at {size:?}"));
            same(&net.run("grad", &inputs).unwrap(), &grads, &format!("gradients of {name} at {size:?}"));
        }
        for (output, value) in &outputs {
            let (off, whole) = apart(&value.to_f32_vec(), &golden(&format!("{n}/{output}")));
            assert!(off <= 1e-5 * whole, "{name} at {size:?}: {output} is {:e} off", off / whole);
        }
        let whole = tensors.names().filter(|name| name.starts_with("grad/")).count();
        assert_eq!(grads.len(), whole + 1, "{name}: a gradient of each weight, and the loss");
        let of_weights = || grads.iter().filter(|(name, _)| name != "loss");
        let norms = of_weights().map(|(w, _)| f64::from(golden(&format!("{n}/norm/{w}"))[0]));
        let all = norm(norms);
        for (w, value) in of_weights() {
            let value = value.to_f32_vec();
            // Some gradients are zero but for rounding: that of a shift of all keys, that of a loss which is zero.
            let allowed = 1e-4 * f64::from(golden(&format!("{n}/norm/{w}"))[0]) + 2e-7 * all + 1e-9;
            let off = sketch_apart(w, &value, &golden(&format!("{n}/sketch/{w}")));
            assert!(off <= allowed, "{name} at {size:?}: the gradient of {w} is {off:e} off, allowed is {allowed:e}");
            if n == WHOLE {
                let (off, _) = apart(&value, &golden(&format!("grad/{w}")));
                assert!(off <= allowed, "{name}: the gradient of {w} is {off:e} off, allowed is {allowed:e}");
            }
        }
        let loss = &grads.iter().find(|(name, _)| name == "loss").unwrap().1;
        let (off, whole) = apart(&loss.to_f32_vec(), &golden(&format!("{n}/loss")));
        assert!(off <= 1e-5 * whole + 1e-9, "{name} at {size:?}: the loss is {off:e} off {whole}");
    }
}

/// How often an entry runs something in panels of rows: once for each attention of a layer, forward and backward.
fn panels(c: &Compiled, entry: &str) -> usize {
    fn count(steps: &[Step]) -> usize {
        let of = |step: &Step| match step {
            Step::Repeat(repeat) => count(&repeat.steps),
            Step::Panels(_) => 1,
            Step::Kernel(_) | Step::Gemm(_) | Step::Copy { .. } | Step::Scatter { .. } | Step::Rows { .. } => 0,
        };
        steps.iter().map(of).sum()
    }
    count(&c.plan.entries.iter().find(|e| e.name == entry).unwrap().steps)
}

const PICTURES: [(usize, usize); 3] = [(1, 0), (3, 0), (2, 0)];
const TEXT: [(usize, usize); 3] = [(1, 1), (3, 9), (2, 37)];

macro_rules! families {
    ($($test:ident $training:literal $struct:ident $sizes:tt $attentions:literal;)*) => { $(
        #[test]
        fn $test() {
            family($training, &mut small::$struct::new(0).unwrap(), $sizes, $attentions);
        }
    )* };
}

families! {
    gpt2_is_that_of_transformers "gpt2" Gpt2 TEXT 1;
    llama2_is_that_of_transformers "llama2" Llama2 TEXT 1;
    llama2_with_tied_embeddings_and_adjacent_pairs_is_that_of_transformers "llama2_tied" Llama2Tied TEXT 1;
    bert_for_classes_is_that_of_transformers "bert" Bert TEXT 1;
    bert_for_masked_tokens_is_that_of_transformers "bert_mlm" BertMlm TEXT 1;
    minilm_is_that_of_transformers "minilm" Minilm TEXT 1;
    distilbert_is_that_of_transformers "distilbert" Distilbert TEXT 1;
    gpt3_is_that_of_transformers_with_bands "gpt3" Gpt3 TEXT 2;
    glassllm_is_llama_stored_otherwise "glassllm" Glassllm TEXT 1;
    palm_is_its_paper "palm" Palm TEXT 1;
    the_gated_cnn_is_its_paper "gated_cnn" GatedCnn TEXT 0;
    clip_text_is_that_of_transformers "clip_text" ClipText TEXT 1;
    a_perceptron_is_that_of_pytorch "mlp" Mlp PICTURES 0;
    the_digit_cnn_is_that_of_pytorch "digit_cnn" DigitCnn PICTURES 0;
    vit_is_that_of_transformers "vit" Vit PICTURES 1;
    resnet20_is_that_of_torchvision "resnet20" Resnet20 PICTURES 0;
    resnet50_is_that_of_torchvision_at_any_size "resnet50" Resnet50 [(2, 1), (3, 2), (2, 5)] 0;
    efficientnet_lite0_is_its_twin_in_pytorch "efficientnet_lite0" EfficientnetLite0 PICTURES 0;
}

/// The numbers of weights that the libraries' own models have.
#[test]
fn models_have_as_many_weights_as_those_of_their_libraries() {
    let cases = [
        ("gpt2", "GPT2", "", 124_439_808),
        ("llama2", "Llama2", "", 6_738_415_616),
        ("llama2", "Llama2", "D = 2048; L = 22; G = 4; F = 5632", 1_100_048_384),
        ("llama2", "Llama2", "V = 49152; D = 576; L = 30; H = 9; G = 3; F = 1536; tied = true", 134_515_008),
        ("bert", "BertClassifier", "", 109_483_778),
        ("bert", "BertMaskedLM", "", 109_514_298),
        ("minilm", "MiniLM", "", 22_565_376),
        ("distilbert", "DistilBert", "", 66_955_010),
        ("gpt3", "GPT3", "", 125_226_240),
        ("clip_text", "ClipText", "", 63_428_096),
        ("glassllm", "GlassLLM", "", 852_608),
        ("vit", "ViT", "", 86_567_656),
        ("resnet20", "ResNet20", "", 272_474),
        ("resnet50", "ResNet50", "", 25_557_032),
        ("resnet50", "ResNet50", "depths = [3, 4, 23, 3]", 44_549_160),
        ("efficientnet_lite0", "EfficientNetLite0", "", 4_652_008),
        ("digit_cnn", "DigitCNN", "", 390_410),
    ];
    for (file, model, settings, expected) in cases {
        let settings = settings.split("; ").filter_map(|s| s.split_once(" = "));
        let sets: Vec<_> = settings.map(|(name, value)| (format!("{model}.{name}"), value.to_string())).collect();
        let goal = Goal::Run { model: Some(model), training: false };
        let c = compiled(&root().join(format!("examples/{file}.dl")), goal, &sets);
        let params = c.program.weights.iter().filter(|w| w.param);
        let found: i64 = params.map(|w| w.ty.len().known().unwrap()).sum();
        assert_eq!(found, expected, "{model} {sets:?}");
    }
}
