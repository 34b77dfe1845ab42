//! Rows that cannot be read. Takes each with its place; gives one error that names them all, up to a limit.

use crate::error::{Error, code};
use std::path::PathBuf;

/// How many bad rows are shown.
const MOST_SHOWN: usize = 10;
/// How many letters of a bad value are shown.
const MOST_LETTERS: usize = 24;

/// The rows that could not be read.
#[derive(Default)]
pub struct BadRows {
    shown: Vec<String>,
    count: usize,
    first_line: bool,
}

impl BadRows {
    /// One more, at that line of its file.
    pub fn add(&mut self, line: u64, what: impl FnOnce() -> String) {
        self.count += 1;
        self.first_line |= line == 1;
        if self.shown.len() < MOST_SHOWN {
            self.shown.push(what());
        }
    }

    /// Whether all could be read.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the first line of a file is among them.
    pub fn has_first_line(&self) -> bool {
        self.first_line
    }

    /// What is wrong.
    pub fn error(mut self, paths: &[PathBuf]) -> Error {
        if self.count == 1 {
            return Error::file(code::BAD_ROWS, self.shown.remove(0));
        }
        let more = self.count - self.shown.len();
        if more > 0 {
            self.shown.push(format!("and {more} more"));
        }
        let message = format!("{} rows of {} cannot be read", self.count, super::names(paths));
        Error::file(code::BAD_ROWS, message).note(self.shown.join("\n"))
    }
}

/// A value as it is in the file, or the start of it.
pub fn shown(value: &[u8]) -> String {
    let text = String::from_utf8_lossy(value);
    match text.chars().count() {
        0 => "nothing".to_owned(),
        n if n > MOST_LETTERS => format!("`{}..`", text.chars().take(MOST_LETTERS).collect::<String>()),
        _ => format!("`{text}`"),
    }
}
