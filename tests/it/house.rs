//! The house holds together: the arrows between crates, what users depend on, how files open, what documents name.
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(root().join(path)).unwrap()
}

/// The crates of the workspace that a manifest names among its dependencies.
fn arrows(manifest: &str) -> BTreeSet<String> {
    let text = read(manifest);
    let dependencies = text.split("\n[").find(|s| s.starts_with("dependencies]")).unwrap();
    let names = dependencies.lines().filter_map(|l| l.split(['.', ' ', '=']).next());
    names.filter(|n| n.starts_with("dlc-")).map(str::to_string).collect()
}

#[test]
fn arrows_between_crates() {
    let expected = [
        ("grammar/Cargo.toml", vec![]),
        ("plan/Cargo.toml", vec![]),
        ("compiler/Cargo.toml", vec!["dlc-grammar", "dlc-plan"]),
        ("runtime/Cargo.toml", vec!["dlc-plan"]),
        ("macros/Cargo.toml", vec!["dlc-compiler", "dlc-grammar"]),
        ("Cargo.toml", vec!["dlc-compiler", "dlc-grammar", "dlc-macros", "dlc-plan", "dlc-runtime"]),
    ];
    for (manifest, crates) in expected {
        let crates: BTreeSet<String> = crates.into_iter().map(str::to_string).collect();
        assert_eq!(arrows(manifest), crates, "{manifest}");
    }
}

#[test]
fn a_program_without_default_features_ships_no_compiler() {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--no-default-features", "-e", "normal,no-proc-macro", "--prefix", "none"])
        .current_dir(root())
        .output()
        .unwrap();
    let tree = String::from_utf8(tree.stdout).unwrap();
    assert!(tree.contains("dlc-runtime"), "{tree}");
    for name in ["cranelift", "pest", "clap", "dlc-compiler", "dlc-grammar", "indicatif", "tokenizers", "png", "zune"] {
        let found = tree.lines().find(|l| l.starts_with(name));
        assert_eq!(found, None, "a program without default features depends on {name}");
    }
}

/// Every Rust file of the repository, by its path from the root.
fn rust_files() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![root()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if path.is_dir() && name != "target" && !name.starts_with('.') {
                folders.push(path);
            } else if name.ends_with(".rs") {
                found.push(path);
            }
        }
    }
    found
}

#[test]
fn every_file_says_what_it_is() {
    for f in rust_files() {
        let text = std::fs::read_to_string(&f).unwrap();
        assert!(text.starts_with("//!") || text.starts_with("#!["), "{} opens with no `//!`", f.display());
    }
}

#[test]
fn unsafe_stands_only_where_it_may() {
    let may = [
        "runtime/",
        "plan/src/code.rs",
        "compiler/src/back/clif/",
        "compiler/src/back/reference.rs",
        "benches/parts/",
        "compiler/tests/",
        "tests/",
        "src/weights/file.rs",
    ];
    for f in rust_files() {
        let path = f.strip_prefix(root()).unwrap().to_string_lossy().into_owned();
        if may.iter().any(|m| path.starts_with(m)) {
            continue;
        }
        let text = std::fs::read_to_string(&f).unwrap();
        let code = text.lines().filter(|l| !l.trim_start().starts_with("//"));
        let found = code.filter(|l| l.contains("unsafe ") && !l.contains('"')).collect::<Vec<_>>();
        let is_type = |l: &&str| l.contains("unsafe extern \"C\" fn(") || l.contains("unsafe_op");
        assert!(found.iter().all(is_type), "{path} has unsafe code: {found:?}");
    }
}

/// The diff that shows what a new activation takes adds an item that is sound, and a case in a form that the script has.
#[test]
fn what_the_architecture_adds_can_be_added() {
    let text = read("ARCHITECTURE.md");
    let diff = text.split("```diff").nth(1).unwrap().split("```").next().unwrap();
    let mut added = diff.split("  --- ").skip(1).map(|part| {
        let (file, lines) = part.split_once('\n').unwrap();
        assert!(root().join(file).exists(), "there is no {file}");
        let lines = lines.lines().filter_map(|line| line.trim_start().strip_prefix('+'));
        (file, lines.collect::<Vec<_>>().join("\n"))
    });
    let (item, case) = (added.next().unwrap(), added.next().unwrap());
    assert_eq!(
        (item.0, case.0, added.next()),
        ("compiler/src/prelude/activations.dl", "tests/golden/prelude.py", None)
    );
    let name = item.1.split("fn ").nth(1).unwrap().split('(').next().unwrap();
    let spec = format!("{}\nmodel M()(x: [B, 3]) -> y: [B, 3] {{ return {name}(x) }}", item.1);
    dlc_compiler::emit::items_of_text(&spec, &root()).unwrap();
    let (call, expression) = (format!("    elementwise(\"{name}\", "), format!("\"{name}(x)\", lambda x: "));
    assert!(case.1.starts_with(&call) && case.1.contains(&expression), "{}", case.1);
    assert!(read(case.0).contains("def elementwise(name, expression, f, "), "{} has no `elementwise`", case.0);
    assert!(!read(item.0).contains(&format!("fn {name}(")), "{name} is there already");
}

#[test]
fn what_the_architecture_names_exists() {
    let text = read("ARCHITECTURE.md");
    assert!(text.lines().count() < 200, "ARCHITECTURE.md is a bird's eye view");
    for word in text.split('`').skip(1).step_by(2) {
        let is_path = word.contains('/') && !word.contains([' ', '*', '<', ':', '(']);
        if is_path {
            assert!(root().join(word).exists(), "ARCHITECTURE.md names `{word}`, which does not exist");
        }
    }
}

/// The texts of a list in `deny.toml`: `[section]`, then `key = ["..", ..]`.
fn denied(section: &str, key: &str) -> Vec<String> {
    let text = read("deny.toml");
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#')).collect::<Vec<_>>().join("\n");
    let section = lines.split("\n[").find_map(|part| part.strip_prefix(&format!("{section}]"))).unwrap();
    let list = section.split(&format!("\n{key} = [")).nth(1).unwrap().split(']').next().unwrap();
    list.split('"').skip(1).step_by(2).map(str::to_string).collect()
}

/// Whether an SPDX expression holds where `allowed` says which licences are fine. `/` is how older crates write `OR`.
fn is_licensed(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = words.as_slice();
    let holds = any(&mut rest, allowed);
    assert!(rest.is_empty(), "{expression} is no expression of licences");
    holds
}

fn any(words: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut holds = all(words, allowed);
    while let ["OR", rest @ ..] = *words {
        *words = rest;
        holds |= all(words, allowed);
    }
    holds
}

fn all(words: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut holds = one(words, allowed);
    while let ["AND", rest @ ..] = *words {
        *words = rest;
        holds &= one(words, allowed);
    }
    holds
}

fn one(words: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> bool {
    match *words {
        ["(", rest @ ..] => {
            *words = rest;
            let holds = any(words, allowed);
            assert_eq!(words.first(), Some(&")"));
            *words = &words[1..];
            holds
        }
        [licence, "WITH", exception, rest @ ..] => {
            *words = rest;
            allowed(&format!("{licence} WITH {exception}"))
        }
        [licence, rest @ ..] => {
            *words = rest;
            allowed(licence)
        }
        [] => panic!("an expression of licences ends early"),
    }
}

#[test]
fn expressions_of_licences_are_understood() {
    let allowed = |licence: &str| ["MIT", "Zlib", "Apache-2.0 WITH LLVM-exception"].contains(&licence);
    for (expression, holds) in [
        ("MIT", true),
        ("GPL-3.0", false),
        ("GPL-3.0 OR MIT", true),
        ("GPL-3.0/MIT", true),
        ("GPL-3.0 AND MIT", false),
        ("MIT AND Zlib", true),
        ("(GPL-3.0 OR MIT) AND (Zlib OR GPL-3.0)", true),
        ("(GPL-3.0 OR MIT) AND GPL-3.0", false),
        ("Apache-2.0 WITH LLVM-exception", true),
        ("Apache-2.0", false),
        ("GPL-3.0 AND MIT OR Zlib", true),
    ] {
        assert_eq!(is_licensed(expression, &allowed), holds, "{expression}");
    }
}

/// What `cargo deny check licenses sources` would say of this machine's dependencies.
#[test]
fn dependencies_are_as_deny_toml_says() {
    let version = Command::new("rustc").arg("-vV").output().unwrap();
    let version = String::from_utf8(version.stdout).unwrap();
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).unwrap();
    let asked =
        ["metadata", "--offline", "--locked", "--format-version", "1", "--all-features", "--filter-platform", host];
    let found = Command::new(env!("CARGO")).args(asked).current_dir(root()).output().unwrap();
    assert!(found.status.success(), "{}", String::from_utf8_lossy(&found.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&found.stdout).unwrap();
    let (licences, registries) = (denied("licenses", "allow"), denied("sources", "allow-registry"));
    assert!(licences.len() > 1 && registries.len() == 1 && denied("sources", "allow-git").is_empty());
    let packages = metadata["packages"].as_array().unwrap();
    assert!(packages.len() > 50);
    for package in packages {
        let name = package["name"].as_str().unwrap();
        let licence = package["license"].as_str().unwrap_or_else(|| panic!("{name} says no licence"));
        assert!(is_licensed(licence, &|one| licences.iter().any(|l| l == one)), "{name} is licensed as {licence}");
        // What has no source is of this workspace.
        match package["source"].as_str() {
            None => assert!(Path::new(package["manifest_path"].as_str().unwrap()).starts_with(root()), "{name}"),
            Some(source) => {
                let allowed = |registry: &String| source == format!("registry+{registry}");
                assert!(registries.iter().any(allowed), "{name} comes from {source}");
            }
        }
    }
    // Nothing is allowed that nobody needs.
    for licence in &licences {
        let without = |one: &str| one != licence && licences.iter().any(|l| l == one);
        let all = packages.iter().all(|package| is_licensed(package["license"].as_str().unwrap(), &without));
        assert!(!all, "no dependency needs {licence}");
    }
}
