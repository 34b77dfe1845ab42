//! The format of the MNIST files, perhaps gzipped. Takes a file of images and, if there is one, a file of labels; gives the
//! columns `pixels` and `label`.
//!
//! A file has two zero bytes, a byte for the type of elements, a byte for the number of axes, the extents of 4 bytes each,
//! high byte first, and the elements.

use super::{Columns, Wanted};
use crate::error::{Error, Result, code};
use dlc_runtime::tensor::{DType, Tensor};
use std::io::BufRead;
use std::path::{Path, PathBuf};

/// More axes than any such file has; a header must not make us read on and on.
const MOST_AXES: u8 = 8;

/// What the columns are called.
const NAMES: [&str; 2] = ["pixels", "label"];

/// Reads one file or two.
pub fn read(paths: &[PathBuf], wanted: Option<&[Wanted]>) -> Result<Columns> {
    check_count(paths)?;
    super::expect_names(wanted, NAMES.into_iter().take(paths.len()), paths)?;
    let column = |(name, path): (&str, &PathBuf)| Ok((name.to_owned(), tensor(path)?));
    Columns::new(NAMES.into_iter().zip(paths).map(column).collect::<Result<Vec<_>>>()?)
}

/// The names, types and shapes of the columns, from the beginnings of the files.
pub fn headers(paths: &[PathBuf]) -> Result<Vec<(String, DType, Vec<usize>)>> {
    check_count(paths)?;
    let column = |(name, path): (&str, &PathBuf)| {
        let (dtype, shape) = header(&mut super::open(path)?, path)?;
        Ok((name.to_owned(), dtype, shape))
    };
    NAMES.into_iter().zip(paths).map(column).collect()
}

fn check_count(paths: &[PathBuf]) -> Result<()> {
    if (1..=NAMES.len()).contains(&paths.len()) {
        return Ok(());
    }
    let message = format!("`idx` takes a file of images and a file of labels; these are {} files", paths.len());
    Err(Error::spec(code::NO_COLUMN, message))
}

fn bad(path: &Path, why: impl std::fmt::Display) -> Error {
    Error::file(code::BAD_FILE, format!("{} is not a sound idx file: {why}", path.display()))
}

/// The type and the shape that a file begins with; there is one axis at least.
fn header(file: &mut dyn BufRead, path: &Path) -> Result<(DType, Vec<usize>)> {
    let bad = |why: String| bad(path, why);
    let start = super::read_at_most(file, 4, path)?;
    let [0, 0, kind, axes] = start[..] else {
        return Err(bad(format!("it starts with {start:02x?}, expected two zeros, a type and a number of axes")));
    };
    let dtype = dtype(kind).ok_or_else(|| bad(format!("it has elements of the unknown type {kind:#04x}")))?;
    if axes == 0 || axes > MOST_AXES {
        return Err(bad(format!("it has {axes} axes, expected 1 to {MOST_AXES}")));
    }
    let extents = super::read_at_most(file, 4 * u64::from(axes), path)?;
    let (extents, rest) = extents.as_chunks::<4>();
    if extents.len() < usize::from(axes) || !rest.is_empty() {
        return Err(bad("it is cut short".to_owned()));
    }
    Ok((dtype, extents.iter().map(|bytes| u32::from_be_bytes(*bytes) as usize).collect()))
}

fn tensor(path: &Path) -> Result<Tensor> {
    let bad = |why: String| bad(path, why);
    let mut file = super::open(path)?;
    let (dtype, shape) = header(&mut file, path)?;
    let bytes = shape.iter().try_fold(dtype.bytes(), |product, extent| product.checked_mul(*extent));
    let bytes = bytes.ok_or_else(|| bad(format!("its shape {shape:?} is too large for memory")))?;
    // One byte more than there should be shows whether anything follows.
    let mut elements = super::read_at_most(&mut file, (bytes as u64).saturating_add(1), path)?;
    if elements.len() != bytes {
        let found = if elements.len() > bytes { "more".to_owned() } else { elements.len().to_string() };
        return Err(bad(format!("{shape:?} {dtype} take {bytes} bytes, and {found} follow the header")));
    }
    elements.chunks_exact_mut(dtype.bytes()).for_each(<[u8]>::reverse);
    Tensor::from_bytes(dtype, &shape, &elements).map_err(|error| bad(error.to_string()))
}

fn dtype(kind: u8) -> Option<DType> {
    match kind {
        0x08 => Some(DType::U8),
        0x09 => Some(DType::I8),
        0x0B => Some(DType::I16),
        0x0C => Some(DType::I32),
        0x0D => Some(DType::F32),
        0x0E => Some(DType::F64),
        _ => None,
    }
}
