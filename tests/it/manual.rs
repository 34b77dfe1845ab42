//! The manual is true: every listing in `docs` is run, and the catalogue in it is made from the prelude.
//!
//! What a listing's first line says decides what is done with it, in a folder of the chapter's own that begins with a copy
//! of `examples`: `dl NAME` is written to that file and has to be sound; `dl wrong` has to be refused with the `text` that
//! follows; `sh` is run (`sh needs FILE` where that file has been fetched), and each line of the `text` that follows has to
//! be printed, in order, `..` standing for anything; `rust FILE` has to stand in that file, line for line.
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

use crate::assets::asset;
use crate::cli::dlc;
use crate::scratch::Scratch;
use std::path::{Path, PathBuf};

fn docs() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("docs")
}

/// A listing: the line it begins at, what its first line says, and its text.
struct Listing {
    line: usize,
    info: Vec<String>,
    text: String,
}

fn listings(markdown: &str) -> Vec<Listing> {
    let mut found: Vec<Listing> = Vec::new();
    let mut open = false;
    for (i, line) in markdown.lines().enumerate() {
        match line.strip_prefix("```") {
            Some(info) if !open => {
                let info = info.split_whitespace().map(str::to_string).collect();
                found.push(Listing { line: i + 1, info, text: String::new() });
                open = true;
            }
            Some(_) => open = false,
            None if open => {
                let text = &mut found.last_mut().unwrap().text;
                text.push_str(line);
                text.push('\n');
            }
            None => {}
        }
    }
    assert!(!open, "a listing is not closed");
    found
}

/// Whether a line was printed, where `..` stands for anything.
fn fits(pattern: &str, line: &str) -> bool {
    let mut parts = pattern.split("..");
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = line.strip_prefix(first) else { return false };
    let parts: Vec<&str> = parts.collect();
    for (i, part) in parts.iter().enumerate() {
        let last = i + 1 == parts.len();
        match if last { rest.ends_with(part).then_some(rest.len()) } else { rest.find(part).map(|at| at + part.len()) }
        {
            Some(end) => rest = &rest[end..],
            None => return false,
        }
    }
    !parts.is_empty() || rest.is_empty()
}

fn printed(expected: &str, output: &str) -> Result<(), String> {
    let mut lines = output.lines().map(str::trim_end);
    for wanted in expected.lines().map(str::trim_end).filter(|l| !l.is_empty()) {
        if !lines.any(|line| fits(wanted, line)) {
            return Err(wanted.to_string());
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (from, to) = (entry.as_ref().unwrap().path(), to.join(entry.as_ref().unwrap().file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            std::fs::copy(from, to).unwrap();
        }
    }
}

/// Whether a real file is there, which is then found where specs look for it.
fn linked(scratch: &Scratch, file: &str) -> bool {
    let Some(real) = asset(file) else { return false };
    let link = scratch.path("target/assets").join(file);
    std::fs::create_dir_all(link.parent().unwrap()).unwrap();
    if !link.exists() {
        std::os::unix::fs::symlink(std::fs::canonicalize(real).unwrap(), link).unwrap();
    }
    true
}

fn run_chapter(chapter: &str) {
    let markdown = std::fs::read_to_string(docs().join(chapter)).unwrap();
    let scratch = Scratch::new();
    let folder = scratch.path("examples");
    copy(&docs().with_file_name("examples"), &folder);
    let listings = listings(&markdown);
    for (i, listing) in listings.iter().enumerate() {
        let place = format!("{chapter}:{}", listing.line);
        let text = listings.get(i + 1).filter(|l| l.info.first().is_some_and(|w| w == "text")).map(|l| l.text.as_str());
        match listing.info.iter().map(String::as_str).collect::<Vec<_>>()[..] {
            ["dl", "wrong"] => {
                scratch.file("examples/wrong.dl", &listing.text);
                let ended = dlc(&folder, &["check", "wrong.dl"]);
                assert_eq!(ended.code, 1, "{place}: a wrong spec is refused");
                assert_eq!(ended.err.trim_end(), text.unwrap_or_default().trim_end(), "{place}");
            }
            ["dl", name] => {
                scratch.file(&format!("examples/{name}"), &listing.text);
                let ended = dlc(&folder, &["check", name, "--json"]);
                // The reader's own files are not here; nothing else may be said.
                let said = ended.err.lines().find(|line| !line.starts_with("{\"code\":\"W0620\""));
                assert_eq!((ended.code, said), (0, None), "{place}: {}", ended.err);
            }
            ["sh", "needs", file] if !linked(&scratch, file) => {}
            ["sh"] | ["sh", "needs", _] => {
                let mut output = String::new();
                for line in listing.text.lines() {
                    let mut words = line.split_whitespace();
                    assert_eq!(words.next(), Some("dlc"), "{place}: commands are dlc's");
                    let ended = dlc(&folder, &words.collect::<Vec<_>>());
                    assert_eq!(ended.code, 0, "{place}: {line}: {}", ended.err);
                    output += &ended.out;
                    output += &ended.err;
                }
                if let Err(line) = printed(text.unwrap_or_default(), &output) {
                    panic!("{place}: `{line}` is not printed, or not in this order; printed is\n{output}");
                }
            }
            ["rust", file] => {
                let code = std::fs::read_to_string(docs().with_file_name(file)).unwrap();
                let code: Vec<&str> = code.lines().map(str::trim).collect();
                for line in listing.text.lines().map(str::trim) {
                    assert!(code.contains(&line), "{place}: `{line}` is not in {file}");
                }
            }
            ["text"] => {}
            _ => panic!("{place}: no one knows how to run a listing of {:?}", listing.info),
        }
    }
}

#[test]
fn listings_of_every_chapter_run() {
    let mut chapters: Vec<String> = std::fs::read_dir(docs())
        .unwrap()
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.ends_with(".md"))
        .collect();
    chapters.sort();
    assert!(chapters.contains(&"language.md".to_string()), "{chapters:?}");
    std::thread::scope(|s| {
        for chapter in &chapters {
            s.spawn(move || run_chapter(chapter));
        }
    });
}

#[test]
fn the_catalogue_is_made_from_the_prelude() {
    let written = std::fs::read_to_string(docs().join("catalogue.md")).unwrap();
    let made = dlc_compiler::catalogue::tables();
    let table = written.find("\n## ").map(|at| &written[at..]);
    assert!(
        table == Some(made.as_str()),
        "docs/catalogue.md is not what `dlc doc` prints: run `python tests/golden/make.py`, which writes it"
    );
}

#[test]
fn every_primitive_is_in_the_manual() {
    let text = std::fs::read_to_string(docs().join("language.md")).unwrap();
    let table = text.split("## Primitives").nth(1).unwrap().split("## Files").next().unwrap();
    for name in dlc_compiler::check::Builtin::names() {
        let word = |w: &str| w == name;
        assert!(table.split(|c: char| !c.is_alphanumeric() && c != '_').any(word), "`{name}` is not in the manual");
        assert!(dlc_compiler::catalogue::page(name).is_some(), "`dlc doc {name}` says nothing");
    }
}

#[test]
fn two_dots_stand_for_anything() {
    assert!(fits("a .. c", "a b c") && fits("a..", "abc") && fits("..c", "abc") && fits("abc", "abc"));
    assert!(!fits("a .. d", "a b c") && !fits("ab", "abc") && !fits("a..b", "abc"));
}
