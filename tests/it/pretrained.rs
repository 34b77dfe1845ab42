//! Real weights, through the command line: what `dlc run` gives is what their own programs gave (`tests/golden/pretrained`).

use crate::assets::{asset, skipped};
use crate::cli::dlc;
use crate::scratch::Scratch;
use dlc::Tensor;
use dlc::weights::file::TensorFile;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn reference(name: &str) -> Value {
    let text = std::fs::read_to_string(root().join("tests/golden/pretrained").join(name)).expect("it is committed");
    serde_json::from_str(&text).expect("it is JSON")
}

fn integers(v: &Value) -> Vec<i64> {
    let numbers = v.as_array().expect("a list").iter();
    numbers.map(|n| n.as_i64().expect("a whole number")).collect()
}

fn reals(v: &Value) -> Vec<f32> {
    let numbers = v.as_array().expect("a list").iter();
    numbers.map(|n| n.as_f64().expect("a number") as f32).collect()
}

/// Rows of ids as a tensor.
fn rows(rows: &[Vec<i64>]) -> Tensor {
    Tensor::from_i64(vec![rows.len(), rows[0].len()], rows.concat()).expect("rows of one length")
}

/// An output of a model of `examples` with these weights.
fn run(spec: &str, weights: &Path, inputs: &[(&str, &Tensor)], output: &str) -> Vec<f32> {
    let scratch = Scratch::new();
    let (given, gives) = (scratch.path("in"), scratch.path("out"));
    dlc::weights::save(&given, inputs, &BTreeMap::new()).expect("it can be written");
    let path = |p: &Path| p.display().to_string();
    let spec = format!("examples/{spec}");
    let args = ["run", &spec, "--weights", &path(weights), "--in", &path(&given), "--out", &path(&gives)];
    let ended = dlc(&root(), &args);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{spec}");
    let file = TensorFile::open(&gives).expect("it is sound");
    file.read(output).expect("it is there").expect("it is sound").to_f32_vec()
}

fn argmax(row: &[f32]) -> usize {
    row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).expect("it has numbers").0
}

#[test]
fn minilm_gives_the_reference_embeddings() {
    let Some(weights) = asset("all-MiniLM-L6-v2/model.safetensors") else { return };
    let expected = reference("minilm.json");
    let table = |name: &str| expected[name].as_array().expect("a list").iter().map(integers).collect::<Vec<_>>();
    let (ids, mask) = (rows(&table("input_ids")), rows(&table("attention_mask")));
    let kind = Tensor::from_i64(ids.shape().to_vec(), vec![0; ids.shape().iter().product()]).expect("as many");
    let inputs = [("input_ids", &ids), ("attention_mask", &mask), ("token_type_ids", &kind)];
    let found = run("minilm.dl", &weights, &inputs, "embedding");
    let vectors = expected["embeddings"].as_array().expect("a list");
    assert_eq!(found.len(), vectors.len() * 384);
    for (found, expected) in found.chunks(384).zip(vectors) {
        let expected = reals(expected);
        let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(x * y)).sum::<f64>();
        let cosine = dot(found, &expected) / (dot(found, found) * dot(&expected, &expected)).sqrt();
        assert!(cosine >= 0.99999, "the cosine is {cosine}");
        assert!((dot(found, found) - 1.0).abs() < 1e-5);
    }
}

/// A language model gives the next ids that its own program gave, each from all ids before it, and the greatest logits of the
/// first of them.
fn continues(spec: &str, weights: &Path, prompt: &[i64], next: &[i64], case: &Value) {
    let ids = [prompt, next].concat();
    let logits = run(spec, weights, &[("input_ids", &rows(std::slice::from_ref(&ids)))], "logits");
    let row = |place: usize| &logits[place * (logits.len() / ids.len())..][..logits.len() / ids.len()];
    for (i, id) in next.iter().enumerate() {
        assert_eq!(argmax(row(prompt.len() - 1 + i)) as i64, *id, "{spec}: {}, id {i}", case["prompt"]);
    }
    let (top, expected) = (integers(&case["last_logits_top5_ids"]), reals(&case["last_logits_top5"]));
    for (id, expected) in top.iter().zip(expected) {
        let found = row(prompt.len() - 1)[*id as usize];
        assert!((found - expected).abs() <= 1e-3, "{spec}: the logit of {id} is {found}, not {expected}");
    }
}

#[test]
fn glassllm_gives_its_own_programs_next_ids() {
    let Some(weights) = asset("glassllm/en.npz") else { return };
    for case in reference("glassllm.json")["cases"].as_array().expect("a list") {
        continues("glassllm.dl", &weights, &integers(&case["ids"]), &integers(&case["greedy"]), case);
    }
}

#[test]
fn smollm2_gives_the_reference_logits_and_next_ids() {
    let Some(weights) = asset("smollm2-135m-gguf/SmolLM2-135M-Instruct.Q4_1.gguf") else { return };
    for case in reference("smollm2.json")["cases"].as_array().expect("a list") {
        let (prompt, whole) = (integers(&case["input_ids"]), integers(&case["greedy_ids"]));
        continues("smollm2.dl", &weights, &prompt, &whole[prompt.len()..], case);
    }
}

/// Pictures of 224 by 224 as bytes, red, green and blue of each pixel, as EfficientNet-lite takes them.
fn pictures(bytes: &[u8]) -> Tensor {
    let plane = |c: usize| bytes.iter().skip(c).step_by(3).map(|v| (f32::from(*v) - 127.0) / 128.0);
    let cells = (0..3).flat_map(plane).collect();
    Tensor::from_f32(vec![1, 3, 224, 224], cells).expect("a picture")
}

#[test]
fn efficientnet_lite0_gives_the_reference_logits() {
    let Some(weights) = asset("efficientnet-lite0/efficientnet-lite0-57934424.pth") else { return };
    let near = |found: &[f32], expected: &[f32], what: &str| {
        assert_eq!(argmax(found), argmax(expected), "{what}");
        let off = found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(off <= 1e-3, "{what}: a logit is {off} off");
    };
    // Coloured stripes, and what PyTorch makes of them: `tests/golden/models.py --pretrained`.
    let bytes: Vec<u8> =
        (0..224 * 224 * 3).map(|i| ((i % 3 * 90 + i / 672 * 3 + i % 672 / 3 * 5) % 256) as u8).collect();
    let found = run("efficientnet_lite0.dl", &weights, &[("image", &pictures(&bytes))], "logits");
    near(&found, &reals(&reference("efficientnet_lite0.json")["stripes"]), "stripes");
    let folder = std::env::var_os("DLC_ASSETS").map(PathBuf::from).unwrap_or_else(|| root().join("target/assets"));
    for (name, class) in [("apple", 948), ("messi5", 805), ("squirrel_cls", 335)] {
        let file = |kind: &str| folder.join(format!("reference/effnet/{name}.{kind}"));
        let (Ok(bytes), Ok(logits)) = (std::fs::read(file("rgb224x224u8")), std::fs::read(file("logits_f32le"))) else {
            skipped(&format!("the photograph {name}, which may not be passed on, and so is in no package"));
            continue;
        };
        let found = run("efficientnet_lite0.dl", &weights, &[("image", &pictures(&bytes))], "logits");
        let expected: Vec<f32> =
            logits.chunks(4).map(|b| f32::from_le_bytes(b.try_into().expect("four bytes"))).collect();
        near(&found, &expected, name);
        assert_eq!(argmax(&found), class, "{name}");
    }
}

#[test]
fn the_digit_network_knows_its_share_of_mnist() {
    let Some(weights) = asset("digit-recognizer-cnn/handwriting_model.pth") else { return };
    let (Some(images), Some(labels)) = (asset("mnist/t10k-images-idx3-ubyte"), asset("mnist/t10k-labels-idx1-ubyte"))
    else {
        return;
    };
    let (images, labels) = (std::fs::read(images).expect("it can be read"), std::fs::read(labels).expect("as well"));
    let (images, labels) = (&images[16..], &labels[8..]);
    let mut right = 0;
    for (images, labels) in images.chunks(2500 * 784).zip(labels.chunks(2500)) {
        let cells = images.iter().map(|v| (f32::from(*v) / 255.0 - 0.1307) / 0.3081).collect();
        let image = Tensor::from_f32(vec![labels.len(), 28, 28], cells).expect("pictures");
        let logits = run("digit_cnn.dl", &weights, &[("image", &image)], "logits");
        right += logits.chunks(10).zip(labels).filter(|(row, label)| argmax(row) == usize::from(**label)).count();
    }
    assert_eq!(right, 9906, "of ten thousand");
}
