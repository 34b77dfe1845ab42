//! The literals of a text that are paths of files, and those that are not.

use dlc_compiler::lower::with_paths;

#[test]
fn every_path_is_found_and_nothing_else() {
    let text = r#"import { A } from "m/a.dl"
import "m/b.dl" as b
const TOKENS = "tok.json"
const ALPHABET = "abc"
weights w(dir = "w.safetensors") { file = dir  missing "m/head" }
lora l { file = "l/adapter"  target "m/a" }
data d(size = 8, how = "crop", at = if true { "one" } else { "two" }) {
  source = images(at, "three", size = size, fit = how)
  valid = csv("v.csv", label = 1)
  test = tsv("t.tsv")
  columns {
    ids, mask = text -> tokenize(TOKENS)
    more = tokenize(a, b, "pair.json", max = 3)
    letters = characters(text, alphabet = ALPHABET) + characters(text, alphabet = "v.csv")
  }
}
train f { data = d(4, "stretch", "four")  stop { metric = "v.csv" } }
train g { data = d(at = "five \"quoted\"") }
"#;
    let found = std::cell::RefCell::new(Vec::new());
    let moved = with_paths(text, &|path| {
        found.borrow_mut().push(path.to_string());
        format!("../{path}")
    });
    let mut expected = [
        "m/a.dl",
        "m/b.dl",
        "tok.json",
        "w.safetensors",
        "l/adapter",
        "one",
        "two",
        "three",
        "v.csv",
        "t.tsv",
        "pair.json",
        "four",
        "five \"quoted\"",
    ];
    let mut found = found.into_inner();
    found.sort();
    expected.sort_unstable();
    assert_eq!(found, expected);
    assert!(moved.contains(r#"at = if true { "../one" } else { "../two" }"#), "{moved}");
    assert!(moved.contains(r#"csv("../v.csv", label = 1)"#) && moved.contains(r#"alphabet = "v.csv")"#), "{moved}");
    assert!(moved.contains(r#"d(4, "stretch", "../four")"#) && moved.contains(r#""../five \"quoted\"""#), "{moved}");
    assert!(moved.contains(r#"missing "m/head""#) && moved.contains(r#"target "m/a""#), "{moved}");
}
