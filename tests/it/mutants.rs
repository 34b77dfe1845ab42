//! Slips of the finger: each use of a name in the examples, changed by one edit, is refused, and nine in ten times the
//! message names the name that was meant.
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

use crate::cli::dlc;
use crate::scratch::Scratch;
use std::path::{Path, PathBuf};

/// A word of a text, and where it begins.
#[derive(Clone, Copy)]
struct Word<'t> {
    text: &'t str,
    at: usize,
}

/// The words of a text, without comments, strings and numbers.
fn words(text: &str) -> Vec<Word<'_>> {
    let bytes = text.as_bytes();
    let is_word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let (mut found, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        let start = at;
        match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => at = text[at..].find('\n').map_or(bytes.len(), |n| at + n),
            b'"' => at += 2 + text[at + 1..].find('"').unwrap(),
            b if is_word(b) => {
                while at < bytes.len() && is_word(bytes[at]) {
                    at += 1;
                }
                if !b.is_ascii_digit() {
                    found.push(Word { text: &text[start..at], at: start });
                }
            }
            _ => at += 1,
        }
    }
    found
}

/// Words of the language itself, and short names, of which every other letter is a neighbour.
const NO_NAMES: [&str; 24] = [
    "import",
    "from",
    "fn",
    "block",
    "model",
    "optimizer",
    "data",
    "train",
    "repeat",
    "as",
    "if",
    "else",
    "return",
    "param",
    "state",
    "training",
    "derivative",
    "true",
    "false",
    "none",
    "not",
    "and",
    "or",
    "keep",
];

/// Whether a word uses a name that is defined elsewhere; labels and definitions may be called anything.
fn is_use(text: &str, word: Word) -> bool {
    let (before, after) = (text[..word.at].trim_end(), &text[word.at + word.text.len()..]);
    let line_start = text[..word.at].rfind('\n').map_or(0, |n| n + 1);
    let line = &text[line_start..word.at];
    let header = text[line_start..].split('\n').next().unwrap();
    let defines = ["fn ", "block ", "model ", "optimizer ", "data ", "train "];
    if NO_NAMES.contains(&word.text) || word.text.len() < 4 {
        return false;
    }
    // In the first line of an item only what follows `=` of a function may be a use.
    if defines.iter().any(|d| header.starts_with(d)) && !line.contains(") = ") {
        return false;
    }
    let depth = |open: char, close: char| line.matches(open).count() > line.matches(close).count();
    let inside = depth('(', ')') || depth('[', ']');
    let assigned = after.trim_start().starts_with('=') && !after.trim_start().starts_with("==");
    let target = !inside && (assigned || after.trim_start().starts_with("<-"));
    // Keys of items are uses; what a section or a body assigns is a definition.
    let key = target && KEYS.contains(&word.text);
    let label = after.starts_with(':')
        || after.starts_with('{')
        || after.starts_with('.')
        || before.ends_with("derivative (y,");
    let listed = before.ends_with(" as") || (before.ends_with(',') && line.trim_start().starts_with("repeat"));
    !label && !listed && (!target || key)
}

/// Keys of items that the examples use.
const KEYS: [&str; 12] =
    ["source", "batch", "shuffle", "loss", "epochs", "seed", "clip", "valid", "model", "data", "optimizer", "split"];

/// The word with one edit, which one being decided by its place: a letter dropped, doubled, replaced, or two exchanged.
fn slip(word: Word) -> String {
    let mut letters: Vec<char> = word.text.chars().collect();
    let middle = 1 + word.at % (letters.len() - 2);
    match word.at % 4 {
        0 => drop(letters.remove(middle)),
        1 => letters.insert(middle, letters[middle]),
        2 => letters[middle] = if letters[middle] == 'q' { 'z' } else { 'q' },
        _ if letters[middle] == letters[middle + 1] => letters.insert(middle, 'q'),
        _ => letters.swap(middle, middle + 1),
    }
    letters.into_iter().collect()
}

fn examples() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples")
}

/// How many slips of an example were tried, and those whose message does not name what was meant.
fn try_all(name: &str) -> (usize, Vec<String>) {
    let scratch = Scratch::new();
    let folder = scratch.path("");
    std::fs::create_dir(scratch.path("data")).unwrap();
    for file in ["digits.dl", "data/digits.csv.gz", "data/diabetes.csv"] {
        std::fs::copy(examples().join(file), scratch.path(file)).unwrap();
    }
    let text = std::fs::read_to_string(examples().join(name)).unwrap();
    let mut tried = 0;
    let mut unnamed = Vec::new();
    for word in words(&text).into_iter().filter(|w| is_use(&text, *w)) {
        let wrong = slip(word);
        let mutant = format!("{}{wrong}{}", &text[..word.at], &text[word.at + word.text.len()..]);
        let line = text[..word.at].matches('\n').count() + 1;
        scratch.file("mutant.dl", mutant);
        let ended = dlc(Path::new(&folder), &["check", "mutant.dl"]);
        assert_eq!(ended.code, 1, "{name}:{line}: `{wrong}` for `{}` is not refused\n{}", word.text, ended.err);
        tried += 1;
        if !ended.err.contains(&format!("did you mean `{}`", word.text)) {
            unnamed.push(format!("{name}:{line}: `{wrong}` for `{}`\n{}", word.text, ended.err));
        }
    }
    (tried, unnamed)
}

#[test]
fn a_slip_in_a_name_is_refused_and_the_name_is_suggested() {
    let (mut tried, mut unnamed) = (0, Vec::new());
    for name in ["digits.dl", "regression.dl", "activations.dl"] {
        let (n, mut missed) = try_all(name);
        tried += n;
        unnamed.append(&mut missed);
    }
    assert!(tried > 100, "only {tried} uses of names were found");
    assert!(unnamed.len() * 10 <= tried, "{} of {tried} are not named:\n{}", unnamed.len(), unnamed.join("\n"));
}
