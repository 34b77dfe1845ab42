//! rustc's tokens give the same tree as the file, for every spec of the repository.

use crate::rustc::rustc;
use dlc_grammar::parse::parse;
use dlc_grammar::tree::tree;
use std::path::Path;
use std::process::Command;

/// The specs of a folder, by name.
fn specs(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder);
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let specs = files.filter(|path| path.extension().is_some_and(|end| end == "dl"));
    let mut specs: Vec<(String, String)> =
        specs.map(|path| (path.display().to_string(), std::fs::read_to_string(&path).unwrap())).collect();
    specs.sort();
    specs
}

#[test]
fn tokens_give_the_same_tree_as_the_file() {
    let folders = ["grammar/tests/specs", "examples", "tests/specs", "compiler/src/prelude"];
    let specs: Vec<(String, String)> = folders.into_iter().flat_map(specs).collect();
    assert!(specs.len() >= 22, "{} specs", specs.len());
    // Editions differ in what is one token, which the texts of the grammar show.
    let grammars = specs.iter().filter(|(name, _)| name.contains("grammar")).cloned().collect();
    for (edition, specs) in [("2021", grammars), ("2024", specs)] {
        let mut source = String::from("fn main() {\n");
        for (_, text) in &specs {
            source += &format!("print!(\"{{}}\\0\", dlc_macros::tree! {{\n{text}\n}});\n");
        }
        let (said, program) = rustc(&format!("trees{edition}"), &(source + "}\n"), edition);
        assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
        let printed = String::from_utf8(Command::new(program).output().unwrap().stdout).unwrap();
        let trees: Vec<&str> = printed.split_terminator('\0').collect();
        assert_eq!(trees.len(), specs.len());
        for ((name, text), found) in specs.iter().zip(trees) {
            let (spec, wrong) = parse(text, 0);
            assert_eq!(wrong, [], "{name}");
            assert_eq!(found, tree(&spec), "{name}, edition {edition}");
        }
    }
}
