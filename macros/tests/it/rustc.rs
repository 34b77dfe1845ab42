//! Runs rustc on a text. Takes the name of a scratch file and its text; gives what rustc said, and the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The library of the macros. Cargo has built it before it built the tests, so asking where it is costs no time.
fn macros() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--offline", "--locked", "--quiet", "--lib", "--message-format=json"]);
        if !cfg!(debug_assertions) {
            cargo.arg("--release");
        }
        let done = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        let said = String::from_utf8(done.stdout).unwrap();
        let artifact = |line: &str| {
            let message: serde_json::Value = serde_json::from_str(line).ok()?;
            let ours = message["target"]["name"] == "dlc_macros" && message["reason"] == "compiler-artifact";
            ours.then(|| PathBuf::from(message["filenames"][0].as_str().unwrap()))
        };
        said.lines().find_map(artifact).expect("cargo names the library")
    })
}

/// A folder for this crate's scratch files.
pub fn scratch() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dlc-macros");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

/// Compiles a text to a program; gives what rustc said and where the program is.
pub fn rustc(name: &str, text: &str, edition: &str) -> (Output, PathBuf) {
    let (source, program) = (scratch().join(format!("{name}.rs")), scratch().join(name));
    std::fs::write(&source, text).unwrap();
    let mut rustc = Command::new("rustc");
    rustc.args(["--crate-name", name, "--edition", edition, "--color", "never", "--diagnostic-width", "120"]);
    rustc.arg("--extern").arg(format!("dlc_macros={}", macros().display())).arg("-o").arg(&program);
    let done = rustc.arg(format!("{name}.rs")).env("CARGO_MANIFEST_DIR", scratch()).current_dir(scratch()).output();
    (done.unwrap(), program)
}
