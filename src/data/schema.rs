//! What columns a source has, as far as its files say at their beginnings: names, types, the shape of a row. A spec is
//! checked against this before anything is read.

use super::{csv, idx, jsonl, tensors};
use crate::error::Result;
use dlc_plan::DType;
use dlc_plan::recipe::{Source, SourceKind};
use dlc_runtime::tensor;
use std::path::{Path, PathBuf};

/// A column of a source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The type in which it is read.
    pub dtype: DType,
    /// The shape of a row; empty for a number.
    pub row: Vec<usize>,
    /// Whether its cells are texts.
    pub texts: Texts,
}

/// Whether the cells of a column are texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Texts {
    /// They are numbers.
    Never,
    /// They are.
    Always,
    /// They may be read as either.
    AsUsed,
}

/// The columns of a source whose files are relative to `folder`. Of tables only the names are known: every column that is
/// used must turn out to be numbers, and is read as real ones.
pub fn columns(source: &Source, folder: &Path) -> Result<Vec<Column>> {
    let paths: Vec<PathBuf> = source.paths.iter().map(|path| folder.join(path)).collect();
    match source.kind {
        SourceKind::Csv | SourceKind::Tsv => {
            let column = |(name, width): (String, usize)| {
                let (row, texts) = if width == 1 { (Vec::new(), Texts::AsUsed) } else { (vec![width], Texts::Never) };
                Column { name, dtype: DType::F32, row, texts }
            };
            Ok(csv::names(source, &paths)?.into_iter().map(column).collect())
        }
        SourceKind::Jsonl => {
            let column = |(name, member): (String, jsonl::Member)| {
                let (dtype, row, texts) = match member {
                    jsonl::Member::Text => (DType::U8, Vec::new(), Texts::Always),
                    jsonl::Member::Truth => (DType::Bool, Vec::new(), Texts::Never),
                    jsonl::Member::Numbers(row) => (DType::F32, row, Texts::Never),
                };
                Column { name, dtype, row, texts }
            };
            Ok(jsonl::members(&paths)?.into_iter().map(column).collect())
        }
        SourceKind::Idx => {
            let column = |(name, dtype, shape): (String, tensor::DType, Vec<usize>)| Column {
                name,
                dtype: read_as(dtype),
                row: shape[1..].to_vec(),
                texts: Texts::Never,
            };
            Ok(idx::headers(&paths)?.into_iter().map(column).collect())
        }
        SourceKind::Safetensors | SourceKind::Npz => {
            let file = tensors::open(source.kind, &paths)?;
            let mut columns = Vec::new();
            for name in file.names() {
                let (dtype, shape) = file.ty(name).expect("the name is one of the file's")?;
                let row = shape.get(1..).unwrap_or_default().to_vec();
                columns.push(Column { name: name.to_owned(), dtype: read_as(dtype), row, texts: Texts::Never });
            }
            Ok(columns)
        }
        SourceKind::Images => picture_columns(&paths),
        // What these have does not depend on the files.
        SourceKind::Text | SourceKind::Cifar | SourceKind::Tokens => Ok(Vec::new()),
    }
}

#[cfg(feature = "images")]
fn picture_columns(paths: &[PathBuf]) -> Result<Vec<Column>> {
    let (height, width) = super::images::size(paths)?;
    let column = |name: &str, dtype, row| Column { name: name.to_owned(), dtype, row, texts: Texts::Never };
    Ok(vec![column("pixels", DType::U8, vec![3, height, width]), column("label", DType::I64, Vec::new())])
}

#[cfg(not(feature = "images"))]
fn picture_columns(_: &[PathBuf]) -> Result<Vec<Column>> {
    use crate::error::{Error, code};
    Err(Error::run(code::CANNOT_RUN, "this program was built without readers of pictures"))
}

/// The type of the language in which a file's type is read.
pub fn read_as(dtype: tensor::DType) -> DType {
    use tensor::DType as T;
    match dtype {
        T::F64 | T::F32 => DType::F32,
        T::F16 => DType::F16,
        T::BF16 => DType::BF16,
        T::I64 | T::U64 | T::U32 => DType::I64,
        T::I32 | T::I16 | T::I8 | T::U16 => DType::I32,
        T::U8 => DType::U8,
        T::Bool => DType::Bool,
    }
}
