//! The keys of configuration items.

use dlc_compiler::lower::schema::{Key, LORA, Owner, TRAIN, WEIGHTS, check, title};
use dlc_grammar::ast::Item;
use dlc_grammar::parse::parse;

fn messages(keys: &'static [Key], text: &str) -> Vec<String> {
    let (spec, errors) = parse(text, 0);
    assert!(errors.is_empty(), "{errors:?}");
    let [Item::Config(item)] = &spec.items[..] else { panic!("one item is expected") };
    let mut errors = Vec::new();
    let name = title(item);
    check(Owner { name: &name, span: item.name.span, keys }, &item.entries, &mut errors);
    errors
        .iter()
        .map(|d| format!("{} {} {}: {}", d.code, &text[d.labels[0].span.range()], d.message, d.help.join("; ")))
        .collect()
}

#[test]
fn keys_are_checked() {
    let text = "train fit { modle = M()  loss { a = 1 }  epochs = 1  epochs = 2  metrics = 3  freeze = 4 }";
    assert_eq!(
        messages(&TRAIN, text),
        [
            "E0502 modle `train fit` has no key `modle`: did you mean `model`?",
            "E0505 loss `loss` is a value: `loss = cross_entropy(logits, label)`",
            "E0506 epochs `epochs` is given twice: ",
            "E0505 metrics `metrics` is a section: `metrics { accuracy = mean(f32(argmax[-1](logits) == label)) }`",
            "E0505 freeze `freeze` takes globs: `freeze \"**\"`",
        ]
    );
    let text = "weights w { quantity = 3 }";
    let expected =
        "E0502 quantity `weights w` has no key `quantity`: its keys are file, dtype, missing, ignore, rename";
    assert_eq!(messages(&WEIGHTS, text), [expected]);
    let expected = "E0502 alpha `lora a` has no key `alpha`: conventions differ: `scale = alpha` (the notes) or `scale = \
                    alpha / rank` (PEFT)";
    assert_eq!(messages(&LORA, "lora a { alpha = 16 }"), [expected]);
}
