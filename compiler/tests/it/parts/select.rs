//! Weights that globs choose.

use dlc_compiler::lower::select::Names;
use dlc_grammar::Span;
use dlc_grammar::ast::Str;
fn names() -> Names {
    let list = ["layers.0.q_lin.weight", "layers.0.q_lin.bias", "layers.1.q_lin.weight", "head.weight", "norm.weight"];
    Names::new(list.iter().map(|n| vec![n.to_string()]).collect())
}

fn choose(glob: &str) -> (Vec<bool>, Vec<String>) {
    let mut errors = Vec::new();
    let text = Str { value: glob.to_string(), span: Span::default() };
    let chosen = names().chosen("group", &[text], &mut errors);
    (chosen, errors.iter().map(|d| format!("{} {} | {}", d.code, d.message, d.help.join("; "))).collect())
}

#[test]
fn a_glob_chooses_weights() {
    assert_eq!(choose("**.q_lin"), (vec![true, true, true, false, false], vec![]));
    assert_eq!(choose("head"), (vec![false, false, false, true, false], vec![]));
}

#[test]
fn a_glob_that_matches_nothing_says_what_is_near() {
    let expected = "E0501 this `group` matches no weight | near it: **.q_lin (2 modules)";
    assert_eq!(choose("**.q_proj").1, [expected]);
    let expected = "E0501 this `group` matches no weight | near it: layers.*.q_lin (2 modules)";
    assert_eq!(choose("layer.*.q_lin").1, [expected]);
    assert_eq!(choose("zzz").1, ["E0501 this `group` matches no weight | "]);
    assert_eq!(choose("a..b").1, ["E0503 `a..b` has an empty segment | "]);
}
