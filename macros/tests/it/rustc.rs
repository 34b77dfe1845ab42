//! Runs rustc on a text. Takes the name of a scratch file and its text; gives what rustc said, and the program.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

/// The library of the macros: of those beside this program the newest that is not newer than it. Cargo builds what tests need
/// before them, so it is of the same text, whichever features of other crates it was built with; and what is newer may be half
/// written.
fn macros() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let program = std::env::current_exe().unwrap();
        let files = program.parent().unwrap().read_dir().unwrap().map(|file| file.unwrap().path());
        let name = format!("{}dlc_macros-", std::env::consts::DLL_PREFIX);
        let ours = |path: &PathBuf| {
            let file = path.file_name().unwrap().to_string_lossy();
            file.starts_with(&name) && file.ends_with(std::env::consts::DLL_SUFFIX)
        };
        let built = |path: &PathBuf| path.metadata().unwrap().modified().unwrap();
        let before = |path: &PathBuf| built(path) <= built(&program);
        files.filter(ours).filter(before).max_by_key(built).expect("cargo has built the library")
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
