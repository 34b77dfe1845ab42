//! Real weights and data, which `examples/fetch` gets. Tests that need what is not there say so aloud and pass.

use std::path::{Path, PathBuf};

/// The folders of assets, and the names by which `examples/fetch` gets them.
pub const NAMES: [(&str, &str); 13] = [
    ("all-MiniLM-L6-v2", "minilm"),
    ("smollm2-135m-gguf", "smollm2"),
    ("glassllm", "glassllm"),
    ("efficientnet-lite0", "effnet"),
    ("digit-recognizer-cnn", "digitcnn"),
    ("mnist5k", "mnist5k"),
    ("mnist", "mnist"),
    ("sentiment-hutto2014", "movies"),
    ("shakespeare", "shakespeare"),
    ("diamonds", "diamonds"),
    ("sklearn", "sklearn"),
    ("opencv-samples", "photos"),
    ("openclipart", "openclipart"),
];

/// The file of an asset, by its path under the folder of assets; none, and a word to whoever runs the tests, if it was not
/// fetched. The folder is `$DLC_ASSETS`, or `target/assets`.
pub fn asset(path: &str) -> Option<PathBuf> {
    let folder = std::env::var_os("DLC_ASSETS").map(PathBuf::from);
    let folder = folder.unwrap_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("target/assets"));
    let file = folder.join(path);
    if file.exists() {
        return Some(file);
    }
    let name = NAMES.iter().find(|(folder, _)| Path::new(path).starts_with(folder)).map_or("--all", |(_, name)| name);
    skipped(&format!("{path} is not there; get it with `examples/fetch {name}`"));
    None
}

/// Tells whoever runs the tests that this one, or a part of it, is skipped, and why. Straight to the terminal: what a passing
/// test prints is held back.
pub fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    let _ = std::io::Write::write_all(&mut std::io::stderr(), format!("skipped: {test}: {why}\n").as_bytes());
}
