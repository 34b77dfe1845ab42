//! The safetensors format. Takes a file and gives its tensors as they lie in it; takes tensors and gives a file.
//!
//! A file is a length of 8 bytes, a header of JSON, and the elements. Nothing in it is believed: every tensor's place must
//! follow the one before it and have the length that its shape asks for, and nothing is allocated by a number that a file
//! says. (Metadata is checked by the crate; the sum of all lengths here, since there it can overflow.)

use crate::error::{Error, Result, code};
use dlc_runtime::map::Bytes;
use dlc_runtime::tensor::{DType, Tensor};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// The length of the header's length.
const LENGTH: usize = 8;
/// The longest header that is read, as in the format's own implementation.
const LONGEST_HEADER: usize = 100_000_000;
/// A tensor without elements may still have long axes, and a length must not be believed just because nothing backs it.
const LONGEST_EMPTY_AXIS: usize = 1 << 20;

/// An open safetensors file.
pub struct TensorFile {
    path: PathBuf,
    bytes: Bytes,
    tensors: BTreeMap<String, Place>,
    about: BTreeMap<String, String>,
}

struct Place {
    dtype: Dtype,
    shape: Vec<usize>,
    range: Range<usize>,
}

/// A tensor as it lies in a file.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Stored<'a> {
    /// The type of its elements, in the file's words.
    pub dtype: Dtype,
    /// Its shape.
    pub shape: &'a [usize],
    /// Its elements, row after row, each with its low byte first.
    pub bytes: &'a [u8],
}

impl TensorFile {
    /// Opens a file and checks all of its header.
    pub fn open(path: &Path) -> Result<TensorFile> {
        let bytes = Bytes::open(path).map_err(|error| Error::reading(path, &error))?;
        let (metadata, first) = header(&bytes).map_err(|why| bad(path, why))?;
        let mut tensors = BTreeMap::new();
        for (name, info) in metadata.tensors() {
            let (start, end) = info.data_offsets;
            let elements: usize = info.shape.iter().product();
            if elements == 0 && info.shape.iter().any(|&axis| axis > LONGEST_EMPTY_AXIS) {
                let why = format!("`{}` has the shape {:?} and no elements", name.escape_debug(), info.shape);
                return Err(bad(path, why));
            }
            let place = Place { dtype: info.dtype, shape: info.shape.clone(), range: first + start..first + end };
            tensors.insert(name, place);
        }
        let about = metadata.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
        Ok(TensorFile { path: path.to_owned(), bytes, tensors, about })
    }

    /// Where it was opened.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The names of its tensors, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<Stored<'_>> {
        let place = self.tensors.get(name)?;
        Some(Stored { dtype: place.dtype, shape: &place.shape, bytes: &self.bytes[place.range.clone()] })
    }

    /// A copy of the tensor of that name; none if the file has no such tensor.
    pub fn read(&self, name: &str) -> Option<Result<Tensor>> {
        self.get(name).map(|stored| self.copy(name, stored))
    }

    /// The type of elements and the shape of the tensor of that name; none if the file has no such tensor.
    pub fn ty(&self, name: &str) -> Option<Result<(DType, &[usize])>> {
        let place = self.tensors.get(name)?;
        Some(self.dtype(name, place.dtype).map(|dtype| (dtype, place.shape.as_slice())))
    }

    fn dtype(&self, name: &str, dtype: Dtype) -> Result<DType> {
        read_as(dtype).ok_or_else(|| self.refused(name, format!("its elements are {dtype}")))
    }

    fn copy(&self, name: &str, stored: Stored<'_>) -> Result<Tensor> {
        let dtype = self.dtype(name, stored.dtype)?;
        let tensor = Tensor::from_bytes(dtype, stored.shape, stored.bytes);
        tensor.map_err(|error| self.refused(name, error.to_string()))
    }

    fn refused(&self, name: &str, why: String) -> Error {
        Error::file(code::BAD_FILE, format!("cannot use `{name}` of {}: {why}", self.path.display()))
    }

    /// What the file says about itself.
    pub fn about(&self) -> &BTreeMap<String, String> {
        &self.about
    }
}

/// The checked header and where the elements begin.
fn header(bytes: &[u8]) -> std::result::Result<(Metadata, usize), String> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH>() else {
        return Err(format!("it has {} bytes, and the length of its header alone takes {LENGTH}", bytes.len()));
    };
    let length = u64::from_le_bytes(*length);
    let fits = usize::try_from(length).ok().filter(|&n| n <= rest.len());
    let Some(length) = fits else {
        return Err(format!("its header should have {length} bytes, and {} follow: it is cut short", rest.len()));
    };
    if length > LONGEST_HEADER {
        return Err(format!("its header should have {length} bytes; {LONGEST_HEADER} are allowed"));
    }
    let (json, elements) = rest.split_at(length);
    let metadata: Metadata = serde_json::from_slice(json).map_err(|error| format!("its header says: {error}"))?;
    if metadata.data_len() != elements.len() {
        return Err(format!(
            "its tensors take {} bytes, and {} follow the header{}",
            metadata.data_len(),
            elements.len(),
            if metadata.data_len() > elements.len() { ": it is cut short" } else { "" }
        ));
    }
    Ok((metadata, LENGTH + length))
}

fn bad(path: &Path, why: String) -> Error {
    Error::file(code::BAD_FILE, format!("{} is not a sound safetensors file: {why}", path.display()))
}

/// Writes a safetensors file with these tensors and what it says about itself. They keep their order within each size of
/// element; wider elements come first, so that all are aligned.
pub fn write(out: &mut dyn Write, tensors: &[(&str, &Tensor)], about: &BTreeMap<String, String>) -> io::Result<()> {
    let mut order: Vec<&(&str, &Tensor)> = tensors.iter().collect();
    order.sort_by_key(|(_, tensor)| std::cmp::Reverse(tensor.dtype().bytes()));
    let mut end = 0;
    let mut places = Vec::with_capacity(order.len());
    for (name, tensor) in &order {
        let start = end;
        end += tensor.bytes().len();
        let dtype = stored_as(tensor.dtype());
        places.push((
            (*name).to_owned(),
            TensorInfo { dtype, shape: tensor.shape().to_vec(), data_offsets: (start, end) },
        ));
    }
    let metadata =
        Metadata::new(None, places).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))?;
    let mut json = serde_json::to_vec(&metadata)?;
    if !about.is_empty() {
        // The crate would write this in an order of chance, and equal trainings are to give equal files.
        let about =
            format!("\"__metadata__\":{}{}", serde_json::to_string(about)?, if order.is_empty() { "" } else { "," });
        json.splice(1..1, about.into_bytes());
    }
    json.resize(json.len().next_multiple_of(LENGTH), b' ');
    out.write_all(&(json.len() as u64).to_le_bytes())?;
    out.write_all(&json)?;
    for (_, tensor) in order {
        out.write_all(tensor.bytes())?;
    }
    Ok(())
}

/// The name that files have for a type of elements.
fn stored_as(dtype: DType) -> Dtype {
    match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U64 => Dtype::U64,
        DType::U32 => Dtype::U32,
        DType::U16 => Dtype::U16,
        DType::U8 => Dtype::U8,
        DType::Bool => Dtype::BOOL,
    }
}

/// The type of elements that a file's name for it means; none for complex numbers and those of less than a byte.
fn read_as(dtype: Dtype) -> Option<DType> {
    match dtype {
        Dtype::F64 => Some(DType::F64),
        Dtype::F32 => Some(DType::F32),
        Dtype::F16 => Some(DType::F16),
        Dtype::BF16 => Some(DType::BF16),
        Dtype::I64 => Some(DType::I64),
        Dtype::I32 => Some(DType::I32),
        Dtype::I16 => Some(DType::I16),
        Dtype::I8 => Some(DType::I8),
        Dtype::U64 => Some(DType::U64),
        Dtype::U32 => Some(DType::U32),
        Dtype::U16 => Some(DType::U16),
        Dtype::U8 => Some(DType::U8),
        Dtype::BOOL => Some(DType::Bool),
        // The crate says that its list may grow.
        _ => None,
    }
}
