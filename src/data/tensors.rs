//! A file of tensors as samples: each tensor is a column, its rows along axis 0.

use super::{Columns, Wanted};
use crate::error::{Error, Result, code};
use crate::weights::file::TensorFile;
use dlc_plan::recipe::SourceKind;
use std::path::PathBuf;

/// Opens the one file that there is.
pub fn open(kind: SourceKind, paths: &[PathBuf]) -> Result<TensorFile> {
    let [path] = paths else {
        let message = format!("`{}` takes one file; these are {}", kind.name(), paths.len());
        return Err(Error::spec(code::NO_COLUMN, message));
    };
    TensorFile::open(path)
}

/// Reads one file: the wanted tensors, or all.
pub fn read(kind: SourceKind, paths: &[PathBuf], wanted: Option<&[Wanted]>) -> Result<Columns> {
    let file = open(kind, paths)?;
    super::expect_names(wanted, file.names(), paths)?;
    let is_wanted = |name: &str| wanted.is_none_or(|wanted| wanted.iter().any(|wanted| wanted.name == name));
    let mut columns = Vec::new();
    for name in file.names().filter(|name| is_wanted(name)) {
        columns.push((name.to_owned(), file.read(name).expect("the name is one of the file's")?));
    }
    Columns::new(columns)
}
