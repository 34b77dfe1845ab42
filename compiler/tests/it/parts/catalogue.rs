//! The catalogue of the prelude.

use dlc_compiler::catalogue::{Entry, entries};
use dlc_compiler::prelude;
use dlc_grammar::parse::index;
#[test]
fn every_item_says_what_it_is() {
    let silent: Vec<&str> = entries().iter().filter(|e| e.docs.is_empty()).map(|e| e.name.as_str()).collect();
    assert!(silent.is_empty(), "no `///` stands before {silent:?}");
    let heads = prelude::FILES.iter().flat_map(|(_, text)| index(text, 0));
    let named = heads.filter(|head| head.keyword.text != "const").count();
    assert_eq!(entries().len(), named, "each item of the prelude but constants is in the catalogue");
}

#[test]
fn a_counterpart_is_taken_apart_from_its_difference() {
    let entry = |docs: &str| Entry { docs: docs.into(), ..entries()[0].clone() };
    let one = entry("x + 1. Someone 2001. PyTorch: `plus`, which\nhas no gradient.");
    assert_eq!(one.meaning(), "x + 1. Someone 2001.");
    assert_eq!(one.counterpart(), ("`plus`".to_string(), "which has no gradient".to_string()));
    let two = entry("x. PyTorch: `One`, `Two` with `m=3`.");
    assert_eq!(two.counterpart(), ("`One`, `Two`".to_string(), "with `m=3`".to_string()));
    assert_eq!(entry("x alone.").counterpart(), Default::default());
}

#[test]
fn a_signature_ends_before_conditions_and_body() {
    let all = entries();
    let of = |name: &str| all.iter().find(|e| e.name == name).map(|e| e.signature.as_str());
    assert_eq!(of("relu"), Some("relu(x)"));
    assert_eq!(of("LayerNorm"), Some("LayerNorm(eps = 1e-5, bias = true)(x: [.., D]) -> [.., D]"));
    assert!(of("attention").is_some_and(|s| s.ends_with("-> [B, H, T, K]")), "{:?}", of("attention"));
}
