//! A safetensors file as samples: each tensor is a column, its rows along axis 0.

use super::{Columns, Wanted};
use crate::error::{Error, Result, code};
use crate::weights::file::TensorFile;
use std::path::PathBuf;

/// Reads one file: the wanted tensors, or all.
pub fn read(paths: &[PathBuf], wanted: Option<&[Wanted]>) -> Result<Columns> {
    let [path] = paths else {
        let message = format!("`safetensors` takes one file; these are {}", paths.len());
        return Err(Error::spec(code::NO_COLUMN, message));
    };
    let file = TensorFile::open(path)?;
    super::expect_names(wanted, file.names(), paths)?;
    let is_wanted = |name: &str| wanted.is_none_or(|wanted| wanted.iter().any(|wanted| wanted.name == name));
    let mut columns = Vec::new();
    for name in file.names().filter(|name| is_wanted(name)) {
        columns.push((name.to_owned(), file.read(name).expect("the name is one of the file's")?));
    }
    Columns::new(columns)
}
