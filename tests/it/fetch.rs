//! `examples/fetch` believes no download, and leaves no half of anything. What pip would do is done by a program of the test's.
#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

use crate::assets::{NAMES, asset, skipped};
use crate::scratch::Scratch;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The program `python3`, or a word to whoever runs the tests.
fn python() -> Option<PathBuf> {
    let found = Command::new("sh").args(["-c", "command -v python3 && command -v bash"]).output().unwrap();
    let path = String::from_utf8(found.stdout).unwrap().lines().next().map(PathBuf::from);
    if path.is_none() || !found.status.success() {
        skipped("examples/fetch needs bash and python3");
        return None;
    }
    path
}

/// Runs the script with a `python3` in front that does `pip` in place of pip.
fn fetch(dir: &Scratch, python: &Path, pip: &str, args: &[&str]) -> (i32, String, String) {
    let bin = dir.path("bin");
    std::fs::create_dir_all(&bin).unwrap();
    let script =
        format!("#!/bin/sh\ncase \"$*\" in *'pip download'*) {pip};; *) exec '{}' \"$@\";; esac\n", python.display());
    dir.file("bin/python3", script);
    std::fs::set_permissions(dir.path("bin/python3"), std::fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let ended = Command::new("bash")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fetch"))
        .args(args)
        .env("PATH", path)
        .env("DLC_ASSETS", dir.path("assets"))
        .env("OUT", dir.path("called"))
        .output()
        .unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (ended.status.code().unwrap(), text(ended.stdout), text(ended.stderr))
}

/// Writes a file into the folder that follows `-d`.
const WRITES: &str = "while [ \"$1\" != -d ]; do shift; done; echo other > \"$2/x.whl\"";

#[test]
fn another_sum_and_no_download_leave_nothing() {
    let Some(python) = python() else { return };
    let dir = Scratch::new();
    let (code, _, said) = fetch(&dir, &python, WRITES, &["glassllm"]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains("x.whl has the sum") && said.contains("expected is 1611801c031d"), "{said}");
    let (code, _, said) = fetch(&dir, &python, "echo '.. DO NOT MATCH THE HASHES ..'; exit 1", &["glassllm"]);
    assert!(code == 1 && said.contains("the sum of glassllm 0.1.0 differs"), "{said}");
    let (code, _, said) = fetch(&dir, &python, "echo no network; exit 1", &["glassllm", "effnet"]);
    assert_eq!(code, 3, "{said}");
    assert!(said.contains("no network") && said.contains("effnet could not be had"), "{said}");
    assert_eq!(Scratch::names_in(&dir.path("assets")), Vec::<String>::new());
}

#[test]
fn what_is_there_is_left_alone() {
    let Some(python) = python() else { return };
    let Some(there) = asset("glassllm/en.npz") else { return };
    let dir = Scratch::new();
    std::fs::create_dir_all(dir.path("assets/glassllm")).unwrap();
    std::fs::copy(there, dir.path("assets/glassllm/en.npz")).unwrap();
    let (code, said, _) = fetch(&dir, &python, "echo x > \"$OUT\"; exit 1", &["glassllm"]);
    assert!(code == 0 && said.contains("here already"), "{said}");
    assert!(!dir.path("called").exists(), "nothing was downloaded");
    // One that is damaged is got again.
    dir.file("assets/glassllm/en.npz", "short");
    assert_eq!(fetch(&dir, &python, "echo x > \"$OUT\"; exit 1", &["glassllm"]).0, 3);
    assert!(dir.path("called").exists());
}

#[test]
fn every_name_is_listed() {
    let Some(python) = python() else { return };
    let dir = Scratch::new();
    let (code, listed, _) = fetch(&dir, &python, "exit 1", &[]);
    assert_eq!(code, 0);
    let found: Vec<&str> = listed.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    let mut known: Vec<&str> = NAMES.iter().map(|(_, name)| *name).collect();
    assert_eq!(found.len(), known.len());
    known.retain(|name| !found.contains(name));
    assert_eq!(known, Vec::<&str>::new());
    let (code, _, said) = fetch(&dir, &python, "exit 1", &["resnet"]);
    assert!(code == 2 && said.contains("nothing is called resnet; there are: minilm smollm2"), "{said}");
}
