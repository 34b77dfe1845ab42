//! The specs under `tests/specs`: ten whole ones, a prelude, and `edge.dl`, which has a bit of everything.

use dlc_grammar::ast::Item;
use dlc_grammar::parse::{index, parse, parse_item};

/// Every spec with its file name, sorted.
pub fn specs() -> Vec<(String, String)> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/specs");
    let files = std::fs::read_dir(folder).expect("the folder is part of the repository");
    let mut specs: Vec<(String, String)> = files
        .map(|file| file.expect("the folder can be listed").path())
        .map(|path| (path.display().to_string(), std::fs::read_to_string(&path).expect("a spec is UTF-8")))
        .map(|(path, text)| (path.rsplit('/').next().unwrap_or("").to_string(), text))
        .collect();
    specs.sort();
    assert_eq!(specs.len(), 12);
    specs
}

#[test]
fn every_spec_parses() {
    for (name, text) in specs() {
        let (spec, diagnostics) = parse(&text, 3);
        assert_eq!(diagnostics, [], "{name}");
        assert!(!spec.items.is_empty(), "{name}");
    }
}

#[test]
fn the_index_finds_the_same_items_and_parses_each_alike() {
    for (name, text) in specs() {
        let (spec, _) = parse(&text, 3);
        let heads = index(&text, 3);
        assert_eq!(heads.len(), spec.items.len(), "{name}");
        for (head, item) in heads.iter().zip(&spec.items) {
            let (parsed, diagnostics) = parse_item(&text, head);
            assert_eq!((parsed.as_ref(), diagnostics.len()), (Some(item), 0), "{name}: {head:?}");
            assert_eq!((head.span, head.docs.as_ref()), (item.span(), item.docs()), "{name}");
            if !matches!(item, Item::Import(_)) {
                assert_eq!(head.name.as_ref(), item.name(), "{name}");
            }
        }
    }
}
