//! What goes wrong outside the spec: files that cannot be used, and computations that fail.
//!
//! An [`Error`] has the fields of the compiler's diagnostics that make sense without a place in a text, so the command line
//! shows both alike. It does not need the compiler: programs that ship with `model!` have it too.

use std::fmt;
use std::path::Path;

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// The kind of mistake, such as `E0601`.
    pub code: &'static str,
    /// Whose mistake it is.
    pub kind: Kind,
    /// What disagrees, in one line.
    pub message: String,
    /// Facts that explain it, each perhaps of several lines.
    pub notes: Vec<String>,
    /// Ways out.
    pub help: Vec<String>,
    /// The weight that it is about, if it is about one.
    pub about: Option<String>,
}

/// Whose mistake it is; the command line's exit code says so.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// What was asked for: an unknown name, an option that does not fit.
    Spec,
    /// A data or weights file, or the folder that results go to.
    Files,
    /// Something that happened while running, such as a loss that is not a number.
    Run,
}

/// The codes of errors, and what they mean.
pub mod code {
    /// Weights: none of the names, or a name of another file's habit.
    pub const NO_WEIGHT_FOUND: &str = "E0601";
    /// Weights: another shape or type of elements.
    pub const WEIGHT_SHAPE: &str = "E0602";
    /// Weights: in the model and not in the file, or the other way round.
    pub const WEIGHT_NAMES: &str = "E0603";
    /// An adapter that does not fit what it is for, or that merging would make nothing of.
    pub const ADAPTER: &str = "E0604";
    /// A file that is not what it should be: cut short, damaged, another format.
    pub const BAD_FILE: &str = "E0610";
    /// Rows of a data file that cannot be read.
    pub const BAD_ROWS: &str = "E0611";
    /// A column or tensor that is asked for and not there, or has another shape.
    pub const NO_COLUMN: &str = "E0612";
    /// Parts of a split that do not fit the rows.
    pub const BAD_SPLIT: &str = "E0613";
    /// A file that cannot be opened or read.
    pub const CANNOT_READ: &str = "E0620";
    /// A file or folder that cannot be written.
    pub const CANNOT_WRITE: &str = "E0621";
    /// A checkpoint that is damaged, or of another training.
    pub const CHECKPOINT: &str = "E0622";
    /// A folder of results that is in use, or has other files.
    pub const RUN_FOLDER: &str = "E0623";
    /// A size or another input that does not fit the model.
    pub const BAD_INPUT: &str = "E0701";
    /// A warning: a tensor of a file of inputs that nothing takes.
    pub const SPARE_INPUT: &str = "W0701";
    /// An integer that indexes something outside of it, or that is too wide.
    pub const BAD_INDEX: &str = "E0702";
    /// The loss is not a finite number.
    pub const LOSS_NOT_FINITE: &str = "E0703";
    /// The machine does not give what a run needs: memory, or an entry.
    pub const CANNOT_RUN: &str = "E0704";
}

/// What a fallible function of this crate gives.
pub type Result<T> = std::result::Result<T, Error>;

impl Error {
    /// An error of a data or weights file.
    pub fn file(code: &'static str, message: impl Into<String>) -> Error {
        Error::new(code, Kind::Files, message)
    }

    /// An error while running.
    pub fn run(code: &'static str, message: impl Into<String>) -> Error {
        Error::new(code, Kind::Run, message)
    }

    /// An error in what was asked for.
    pub fn spec(code: &'static str, message: impl Into<String>) -> Error {
        Error::new(code, Kind::Spec, message)
    }

    fn new(code: &'static str, kind: Kind, message: impl Into<String>) -> Error {
        Error { code, kind, message: plain(message.into()), notes: Vec::new(), help: Vec::new(), about: None }
    }

    /// The system would not let us read a file.
    pub fn reading(path: &Path, error: &std::io::Error) -> Error {
        Error::file(code::CANNOT_READ, format!("cannot read {}: {}", path.display(), reason(error)))
    }

    /// The system would not let us write a file or folder.
    pub fn writing(path: &Path, error: &std::io::Error) -> Error {
        Error::file(code::CANNOT_WRITE, format!("cannot write {}: {}", path.display(), reason(error)))
    }

    /// Adds a fact.
    pub fn note(mut self, text: impl Into<String>) -> Error {
        self.notes.push(plain(text.into()));
        self
    }

    /// Adds a way out.
    pub fn help(mut self, text: impl Into<String>) -> Error {
        self.help.push(plain(text.into()));
        self
    }
}

/// A text for a terminal: names come from files, and a file must not be able to move the cursor or change colours.
fn plain(text: String) -> String {
    if !text.contains(|letter: char| letter.is_control() && letter != '\n') {
        return text;
    }
    let shown = |letter: char| match letter {
        '\n' => String::from('\n'),
        letter if letter.is_control() => letter.escape_default().to_string(),
        letter => String::from(letter),
    };
    text.chars().map(shown).collect()
}

/// What the system said, in its own words but without the number that Rust adds.
fn reason(error: &std::io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or_default();
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code, self.message)?;
        for note in &self.notes {
            write!(f, "\n{note}")?;
        }
        for help in &self.help {
            write!(f, "\nhelp: {help}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
