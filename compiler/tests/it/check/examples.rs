//! Whole models: the names, shapes and number of their weights, which are those of the libraries they come from.

use super::{check, program};
use dlc_compiler::check::{ModelFn, SlotKind};
use dlc_grammar::render::render;

/// The models of a spec of the grammar's tests, checked.
fn models(text: &str) -> Vec<ModelFn> {
    let checked = check(text);
    let shown = render(&checked.checker.diagnostics, checked.checker.sources(), false);
    assert!(checked.checker.diagnostics.is_empty(), "{shown}");
    checked.models
}

/// The number of stored tensors and of trained numbers, the same in both modes.
fn size(models: &[ModelFn], name: &str) -> (usize, i64) {
    let sizes: Vec<(usize, i64)> = models
        .iter()
        .filter(|m| m.name == name)
        .map(|m| {
            let params = m.entry.slots.iter().filter(|s| s.decl.kind == SlotKind::Param);
            let count = params.map(|s| s.decl.ty.len().known().unwrap()).sum();
            (m.entry.slots.len(), count)
        })
        .collect();
    assert_eq!(sizes.len(), 2, "{name} is checked in both modes");
    assert_eq!(sizes[0], sizes[1], "{name} has the same weights in both modes");
    sizes[0]
}

macro_rules! spec {
    ($name:literal) => {
        include_str!(concat!("../../../../grammar/tests/specs/", $name, ".dl"))
    };
}

#[test]
fn distilbert_has_the_weights_of_hugging_face() {
    let text = spec!("distilbert");
    let models = models(text);
    assert_eq!(size(&models, "DistilBert"), (104, 66_955_010));
    let names: Vec<&str> = models[0].entry.slots.iter().map(|s| &*s.path).collect();
    assert!(names.contains(&"distilbert.transformer.layer.5.attention.out_lin.weight"), "{names:?}");
    assert!(names.contains(&"distilbert.embeddings.LayerNorm.bias"));
    program(text);
}

#[test]
fn gpt2_has_the_weights_of_hugging_face() {
    assert_eq!(size(&models(spec!("gpt2")), "GPT2"), (148, 124_439_808));
}

#[test]
fn llama2_has_the_weights_of_hugging_face() {
    assert_eq!(size(&models(spec!("llama2")), "Llama2"), (291, 6_738_415_616));
}

#[test]
fn palm_ties_its_embedding_under_two_names() {
    let models = models(spec!("palm"));
    let aliases: Vec<_> = models[0].entry.aliases.iter().map(|(n, s, _)| (&**n, *s)).collect();
    assert_eq!(aliases, [("to_logits.weight", 0)]);
    assert_eq!(&*models[0].entry.slots[0].path, "token_emb.weight");
}

#[test]
fn regression_and_digits() {
    assert_eq!(size(&models(spec!("regression")), "Regression"), (2, 11));
    assert_eq!(size(&models(include_str!("../../../../examples/digits.dl")), "Mlp"), (6, 17_226));
}

#[test]
fn models_with_equations() {
    assert_eq!(size(&models(spec!("clip_text")), "ClipText").1, 63_428_096);
    assert_eq!(size(&models(spec!("minilm")), "MiniLM"), (101, 22_565_376));
    assert_eq!(size(&models(spec!("resnet20")), "ResNet20").1, 272_474);
}
