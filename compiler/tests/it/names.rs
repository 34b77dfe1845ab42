//! A spec's names as names of Rust, and what `model!` is told beside the items.

use dlc_compiler::emit::items_of_text;
use std::path::Path;

fn model(name: &str, input: &str) -> String {
    format!("model {name}()({input}: [N, 2]) -> y: [N, 2] {{\n  return 2 * {input}\n}}\n")
}

#[test]
fn words_of_rust_are_taken_raw_or_mended() {
    let cases = [
        ("do", "r#do"),
        ("try", "r#try"),
        ("gen", "r#gen"),
        ("dyn", "r#dyn"),
        ("type", "r#type"),
        ("abstract", "r#abstract"),
        ("self", "self_"),
        ("super", "super_"),
        ("crate", "crate_"),
        ("Self", "Self_"),
        ("plain", "plain"),
    ];
    for (name, expected) in cases {
        let made = items_of_text(&model("M", name), Path::new("")).unwrap();
        let parameter = format!("(&mut self, {expected}: &::dlc::Tensor)");
        assert!(made.text.contains(&parameter), "{name}: {}", made.text);
        assert!(made.text.contains(&format!("({name:?}, {expected})")), "{name}: {}", made.text);
    }
}

#[test]
fn two_structs_of_one_name_are_an_error_of_the_spec() {
    let text = model("AbC", "x") + &model("Ab_c", "x");
    let wrong = items_of_text(&text, Path::new("")).unwrap_err();
    let [d] = wrong.diagnostics.as_slice() else { panic!("{:?}", wrong.diagnostics) };
    assert_eq!((d.code, d.message.as_str()), ("E0115", "`AbC` and `Ab_c` would both be the struct `AbC` in Rust"));
    let span = d.span().unwrap();
    assert_eq!(&text[span.start as usize..span.end as usize], "Ab_c");
}

#[test]
fn warnings_are_given_beside_the_items() {
    let text = model("M", "x").replace("{\n", "require advise(1 == 2, \"this may not be meant\") {\n");
    let made = items_of_text(&text, Path::new("")).unwrap();
    let [warning] = made.warnings.as_slice() else { panic!("{:?}", made.warnings) };
    assert_eq!((warning.code, warning.span.is_some()), ("W0802", true));
    assert!(warning.at_place.contains("this may not be meant") && warning.text.contains("model!:1"), "{warning:?}");
}
