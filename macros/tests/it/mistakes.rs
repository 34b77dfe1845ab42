//! What is wrong with a spec is underlined where it stands.

use crate::rustc::{rustc, scratch};

/// Texts with mistakes: what they are about, and the use of `model!`.
const CASES: [(&str, &str); 8] = [
    (
        "a function that is not there",
        "dlc_macros::model! {\n    model M(D = 8)(x: [B, D]) -> y: [B, D] {\n        return x -> gleu\n    }\n}\n",
    ),
    (
        "a setting that is not there",
        "dlc_macros::model! {\n    model M(D = 8)(x: [B, D]) -> y: [B, D] {\n        \
         return x -> fc: Linear(D, bais = false)\n    }\n}\n",
    ),
    (
        "shapes that do not add up",
        "dlc_macros::model! {\n    model M(D = 8)(x: [B, D]) -> y: [B, D] {\n        \
         return x + (x -> fc: Linear(16))\n    }\n}\n",
    ),
    (
        "a slip in the syntax",
        "dlc_macros::model! {\n    model M(D = 8)(x: [B, D]) -> y: [B, D] {\n        return x ->\n    }\n}\n",
    ),
    (
        "two at once",
        "dlc_macros::model! {\n    model M(D = 8)(x: [B, D]) -> y: [B, D] {\n        \
         h = x -> gleu\n        return x -> fc: Linear(D, bais = false)\n    }\n}\n",
    ),
    ("a configuration", "dlc_macros::model! { model M()(x: [B]) { return x } train t { modle = M() } }\n"),
    ("a mistake in a file", "dlc_macros::model!(\"wrong.dl\");\n"),
    ("a file that is not there", "dlc_macros::model!(\"none.dl\");\n"),
];

#[test]
fn rustc_underlines_what_is_wrong() {
    std::fs::write(scratch().join("wrong.dl"), "model M(D = 8)(x: [B, D]) {\n  return x -> gleu\n}\n").unwrap();
    let mut shown = String::new();
    for (number, (title, text)) in CASES.into_iter().enumerate() {
        let (said, _) = rustc(&format!("wrong{number}"), &(text.to_owned() + "fn main() {}\n"), "2024");
        let message = String::from_utf8(said.stderr).unwrap().replace(&scratch().display().to_string(), "FOLDER");
        assert!(!said.status.success(), "{title} was accepted");
        shown.push_str(&format!("==== {title}\n{message}\n"));
    }
    insta::assert_snapshot!(shown);
}
