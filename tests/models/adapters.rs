//! Adapters through `model!`: what the training of `tests/specs/adapters.dl` gives from the Rust that the macro emits is what
//! it gives from machine code, bit by bit, from its gradients to the files that are saved.

use super::numbers::{hash, numbers, weight};
use super::{compiled, machine, root, same};
use dlc::weights::file::TensorFile;
use dlc::{Network, Tensor};
use dlc_compiler::pipeline::Goal;
use std::path::PathBuf;

mod emitted {
    dlc::model!("../specs/adapters.dl");
}

/// A folder that goes when the test ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("dlc-models-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Scratch(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A batch of so many rows, each of so many ids.
fn batch(rows: usize, len: usize) -> Vec<(&'static str, Tensor)> {
    let ids = (0..rows * len).map(|i| ((hash("ids", i as u64) >> 33) % 31) as i64).collect();
    let image = numbers("image", rows * 3 * 9 * 8).collect();
    vec![
        ("ids", Tensor::from_i64(vec![rows, len], ids).unwrap()),
        ("image", Tensor::from_f32(vec![rows, 3, 9, 8], image).unwrap()),
    ]
}

fn weights(net: &Network) -> Vec<(String, Tensor)> {
    let all = net.engine().plan().weights.iter();
    all.map(|w| (w.name.clone(), net.engine().stores().weight(&w.name).unwrap())).collect()
}

/// Adapters begin with a B of 0; with other numbers, all that they do is seen.
fn fill(net: &mut Network) {
    for w in net.engine().plan().weights.clone() {
        net.engine_mut().stores_mut().set_weight(&w.name, &weight(&w.name, &w.shape)).unwrap();
    }
}

#[test]
fn a_training_with_adapters_gives_the_same_bits_from_machine_code_and_from_rust() {
    let path = root().join("tests/specs/adapters.dl");
    let c = compiled(&path, Goal::Train { item: Some("mixed") }, &[]);
    let mut rust = emitted::Mixed::new(0).unwrap();
    let mut nets = [machine(&c, 1), machine(&c, 2)];
    assert_eq!(rust.recipe(), c.recipe.as_ref());
    fill(&mut rust);
    nets.iter_mut().for_each(fill);
    for (rows, len) in [(1, 1), (3, 7), (5, 17)] {
        let inputs = batch(rows, len);
        let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (*n, t)).collect();
        let (outputs, grads) = (Network::run(&mut rust, "forward", &inputs), Network::run(&mut rust, "grad", &inputs));
        let (outputs, grads) = (outputs.unwrap(), grads.unwrap());
        let trained = [
            "conv.lora.A",
            "deep.lora.A",
            "deep.lora.B",
            "words.lora.B",
            "layer.1.qkv.lora.A",
            "layer.2.out.lora.magnitude",
            "head.weight",
        ];
        for name in trained {
            let found = &grads.iter().find(|(n, _)| n == name).unwrap().1;
            assert!(found.to_f32_vec().iter().any(|x| *x != 0.0), "{name} has a gradient");
        }
        for net in &mut nets {
            same(&net.run("forward", &inputs).unwrap(), &outputs, &format!("outputs of {rows} rows"));
            same(&net.run("grad", &inputs).unwrap(), &grads, &format!("gradients of {rows} rows"));
        }
    }
    let before = weights(&rust);
    for step in 0..10 {
        let inputs = batch(2 + step % 3, 4 + step);
        let loss = rust.step(&inputs[0].1, &inputs[1].1).unwrap();
        let inputs: Vec<(&str, &Tensor)> = inputs.iter().map(|(n, t)| (*n, t)).collect();
        for net in &mut nets {
            assert_eq!(net.step(&inputs).unwrap().to_bits(), loss.to_bits(), "the loss of step {step}");
        }
    }
    let after = weights(&rust);
    nets.iter().for_each(|net| same(&weights(net), &after, "after ten steps"));
    for ((name, before), (_, after)) in before.iter().zip(&after) {
        let trained = name.contains(".lora.") || name.starts_with("head") || name.contains(".norm.");
        assert_eq!(before != after, trained, "{name} is trained or is as it was");
    }
}

#[test]
fn adapters_are_saved_attached_and_merged_alike_by_machine_code_and_by_rust() {
    let path = root().join("tests/specs/adapters.dl");
    let c = compiled(&path, Goal::Train { item: Some("mixed") }, &[]);
    let mut rust = emitted::Mixed::new(0).unwrap();
    let mut machine = machine(&c, 2);
    fill(&mut rust);
    fill(&mut machine);
    let scratch = Scratch::new("adapters");
    rust.save_adapter(scratch.0.join("rust")).unwrap();
    machine.save_adapter(scratch.0.join("machine")).unwrap();
    let read = |from: &str| std::fs::read(scratch.0.join(from).join("adapter_model.safetensors")).unwrap();
    assert!(read("rust") == read("machine"), "what is saved is the same");
    // Layers of two kinds have no configuration of PEFT's.
    let configured = |from: &str| scratch.0.join(from).join("adapter_config.json").exists();
    assert!(!configured("rust") && !configured("machine"));
    let (trained, inputs) = (weights(&rust), batch(3, 7));
    let adapted = rust.run(&inputs[0].1, &inputs[1].1).unwrap();
    rust.merge().unwrap();
    machine.merge().unwrap();
    same(&weights(&rust), &weights(&machine), "merged");
    let plain = scratch.0.join("plain.safetensors");
    rust.save(&plain).unwrap();
    machine.save(scratch.0.join("same.safetensors")).unwrap();
    assert!(std::fs::read(&plain).unwrap() == std::fs::read(scratch.0.join("same.safetensors")).unwrap());
    let file = TensorFile::open(&plain).unwrap();
    assert!(file.names().all(|name| !name.contains("lora")), "what is saved is a plain model");
    // The plain model alone does what the adapted one did, and a base takes the adapter on.
    let merged = emitted::Seen::load(&plain).unwrap().run(&inputs[0].1, &inputs[1].1).unwrap();
    let off = merged.to_f32_vec().iter().zip(adapted.to_f32_vec()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off > 0.0 && off < 1e-4, "merged, outputs are {off:e} off");
    rust.unmerge().unwrap();
    same(&weights(&rust), &trained, "taken back");
    let mut other = emitted::Mixed::load(&plain).unwrap();
    assert!(weights(&other) != trained);
    for (name, tensor) in trained.iter().filter(|(name, _)| !name.contains("lora")) {
        other.engine_mut().stores_mut().set_weight(name, tensor).unwrap();
    }
    let notes = other.load_adapter(scratch.0.join("machine")).unwrap();
    assert_eq!(notes, ["there is no adapter_config.json beside it: scales are the spec's"]);
    let again = other.run(&inputs[0].1, &inputs[1].1).unwrap();
    let off = again.to_f32_vec().iter().zip(adapted.to_f32_vec()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 1e-5, "attached, outputs are {off:e} off");
}
