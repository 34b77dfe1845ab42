//! Weights in another format. Takes an open file; gives a safetensors file with the same tensors, or a table of them. One
//! tensor is in memory at a time.

use super::element::{count, is_real};
use super::file::TensorFile;
use super::listing::cast;
use super::safetensors::{Planned, write_each};
use crate::error::{Error, Result, code};
use crate::files::write_whole;
use dlc_runtime::tensor::{DType, Tensor};
use std::io;
use std::path::Path;

/// Writes all tensors of a file as safetensors, whole or not at all; real numbers in another type if one is given. What the
/// file says about itself is kept. Gives warnings.
///
/// # Errors
/// When the file cannot be written, or elements of the old file cannot be used; then no file is written.
pub fn convert(file: &TensorFile, out: &Path, dtype: Option<DType>) -> Result<Vec<String>> {
    let planned = planned(file, dtype)?;
    let mut bad = None;
    let mut warnings = Vec::new();
    let done = write_whole(out, |out| {
        write_each(out, &planned, file.about(), |number, out| {
            let Planned { name, dtype, .. } = planned[number];
            match file.read(name).expect("the name is one of the file's") {
                Ok(tensor) => {
                    let new = cast(tensor.clone(), dtype);
                    warnings.extend(lost(name, &tensor, &new));
                    out.write_all(new.bytes())
                }
                Err(error) => {
                    bad = Some(error);
                    Err(io::ErrorKind::InvalidData.into())
                }
            }
        })
    });
    match bad {
        Some(error) => Err(error),
        None => done.map(|()| warnings),
    }
}

/// What is to be written. All tensors that cannot be read are told at once.
fn planned(file: &TensorFile, dtype: Option<DType>) -> Result<Vec<Planned<'_>>> {
    let (mut planned, mut unread) = (Vec::new(), Vec::new());
    for name in file.names() {
        let stored = file.get(name).expect("the name is one of the file's");
        match stored.elements.read_as() {
            Some(own) => {
                let dtype = dtype.filter(|_| is_real(own)).unwrap_or(own);
                planned.push(Planned { name, dtype, shape: stored.shape });
            }
            None => unread.push(format!("{} {:?} {name}", stored.elements.name(), stored.shape)),
        }
    }
    if unread.is_empty() {
        return Ok(planned);
    }
    let message = format!("{} has elements that dlc does not read", file.path().display());
    Err(Error::file(code::BAD_FILE, message).note(unread.join("\n")))
}

/// A word on numbers that the new type is too small for.
fn lost(name: &str, old: &Tensor, new: &Tensor) -> Option<String> {
    if old.dtype() == new.dtype() {
        return None;
    }
    let (old, new_numbers) = (old.to_f32_vec(), new.to_f32_vec());
    let lost = old.iter().zip(&new_numbers).filter(|(old, new)| old.is_finite() && new.is_infinite()).count();
    (lost > 0).then(|| format!("{lost} numbers of `{name}` are too large for {} and became infinite", new.dtype()))
}

/// A table of types, shapes and names, one tensor to a line, after a line on the whole. Numbers in names count as numbers: the
/// tenth layer comes after the second.
pub fn table(file: &TensorFile) -> String {
    let mut rows: Vec<(&str, String, &str)> = Vec::new();
    let mut numbers = 0_u128;
    for name in file.names() {
        let stored = file.get(name).expect("the name is one of the file's");
        numbers += count(stored.shape).unwrap_or(0) as u128;
        rows.push((stored.elements.name(), format!("{:?}", stored.shape), name));
    }
    rows.sort_by_cached_key(|(_, _, name)| natural(name));
    let widest = |width: &dyn Fn(&(&str, String, &str)) -> usize| rows.iter().map(width).max().unwrap_or(0);
    let (kind, shape) = (widest(&|row| row.0.len()), widest(&|row| row.1.len()));
    let tensors = if rows.len() == 1 { "tensor" } else { "tensors" };
    let mut text = format!("{}: {} {tensors}, {numbers} numbers\n", file.format(), rows.len());
    for (elements, axes, name) in &rows {
        text.push_str(&format!("{elements:<kind$}  {axes:<shape$}  {}\n", name.escape_debug()));
    }
    file.notes().iter().for_each(|note| text.push_str(&format!("{}\n", note.escape_debug())));
    text
}

/// A name cut into what is between numbers, and these: pairs of text and number compare as people do.
fn natural(name: &str) -> Vec<(String, u64)> {
    let mut parts: Vec<(String, u64)> = Vec::new();
    let mut rest = name;
    while !rest.is_empty() {
        let start = rest.find(|letter: char| letter.is_ascii_digit()).unwrap_or(rest.len());
        let (text, after) = rest.split_at(start);
        let end = after.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(after.len());
        parts.push((text.to_owned(), after[..end].parse().unwrap_or(u64::MAX)));
        rest = &after[end..];
    }
    parts
}
