//! Texts, and files of them. Takes files, perhaps gzipped; gives the column `text`, a row for each line, or for each file.

use super::bad_rows::BadRows;
use super::{As, Columns, Wanted};
use crate::error::{Error, Result, code};
use std::io::Read;
use std::path::{Path, PathBuf};

/// What the column is called.
pub const NAME: &str = "text";

/// Rows of text, one after the other.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Texts {
    all: String,
    /// Where each row ends.
    ends: Vec<usize>,
}

impl Texts {
    /// Adds a row.
    ///
    /// # Errors
    /// When it is not UTF-8.
    pub fn push(&mut self, row: &[u8]) -> std::result::Result<(), std::str::Utf8Error> {
        self.all.push_str(std::str::from_utf8(row)?);
        self.ends.push(self.all.len());
        Ok(())
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The rows.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.ends.len()).map(|row| self.row(row))
    }

    /// One row.
    pub fn row(&self, row: usize) -> &str {
        let start = row.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.all[start..self.ends[row]]
    }

    /// Everything, without borders between rows.
    pub fn all(&self) -> &str {
        &self.all
    }
}

/// Reads files one after the other.
pub fn read(paths: &[PathBuf], wanted: Option<&[Wanted]>) -> Result<Columns> {
    super::expect_names(wanted, [NAME].into_iter(), paths)?;
    let whole = wanted.is_some_and(|wanted| wanted.iter().any(|wanted| wanted.as_ == As::Documents));
    let mut texts = Texts::default();
    let mut bad = BadRows::default();
    for path in paths {
        match whole {
            true => document(path, &mut texts)?,
            false => lines(path, &mut texts, &mut bad)?,
        }
    }
    if !bad.is_empty() {
        return Err(bad.error(paths));
    }
    Columns::with_texts(Vec::new(), vec![(NAME.to_owned(), texts)])
}

/// Whether a file begins as a text.
#[cfg(feature = "jit")]
pub fn look(path: &Path) -> Result<()> {
    let mut bytes = Vec::new();
    super::beginning(path)?.read_to_end(&mut bytes).map_err(|error| Error::reading(path, &error))?;
    match std::str::from_utf8(&bytes) {
        // The last character may go on behind what is looked at.
        Err(error) if error.error_len().is_some() => {
            let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
            Err(Error::file(code::BAD_ROWS, format!("{}:{line}: this is not text in UTF-8", path.display())))
        }
        Err(_) | Ok(_) => Ok(()),
    }
}

/// All of a file as one row.
fn document(path: &Path, texts: &mut Texts) -> Result<()> {
    let mut bytes = Vec::new();
    super::open(path)?.read_to_end(&mut bytes).map_err(|error| Error::reading(path, &error))?;
    texts.push(&bytes).map_err(|error| {
        let line = 1 + bytes[..error.valid_up_to()].iter().filter(|byte| **byte == b'\n').count();
        Error::file(code::BAD_ROWS, format!("{}:{line}: this is not text in UTF-8", path.display()))
    })
}

/// Each line as a row, without what ends it.
fn lines(path: &Path, texts: &mut Texts, bad: &mut BadRows) -> Result<()> {
    let mut file = super::open(path)?;
    let mut line = Vec::new();
    for number in 1_u64.. {
        if !super::lines::next(&mut file, &mut line).map_err(|error| Error::reading(path, &error))? {
            break;
        }
        let row = line.strip_suffix(b"\n").unwrap_or(&line);
        let row = row.strip_suffix(b"\r").unwrap_or(row);
        if texts.push(row).is_err() {
            bad.add(number, || format!("{}:{number}: this is not text in UTF-8", path.display()));
        }
    }
    Ok(())
}
