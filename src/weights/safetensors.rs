//! The safetensors format. Takes the bytes of a file and gives its tensors as they lie in it; takes tensors and gives a file.
//!
//! A file is a length of 8 bytes, a header of JSON, and the elements. Every tensor's place must follow the one before it and
//! have the length that its shape asks for. (Metadata is checked by the crate; the sum of all lengths here, since there it
//! can overflow, and names that are there twice, of which the crate sees the last.)

use super::element::{Elements, count};
use super::input::View;
use super::listing::{Bad, Entry, Listing};
use dlc_runtime::tensor::{DType, Tensor};
use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, Write};

/// The length of the header's length.
const LENGTH: usize = 8;
/// The longest header that is read, as in the format's own implementation.
const LONGEST_HEADER: usize = 100_000_000;

/// The tensors of a file.
pub fn list(file: &View) -> Result<Listing, Bad> {
    let (metadata, first) = header(file)?;
    let mut listing = Listing::default();
    for (name, info) in metadata.tensors() {
        let (start, end) = info.data_offsets;
        let elements = read_as(info.dtype).map_or_else(|| Elements::Other(info.dtype.to_string()), Elements::Plain);
        listing.tensors.push((name, Entry::plain(elements, info.shape.clone(), first + start..first + end)));
    }
    listing.about = metadata.metadata().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
    Ok(listing)
}

/// Whether bytes begin as only a safetensors file does: a length that is one of a header, and an object of JSON of that length.
/// (The four high bytes of the length are 0, where other formats have more of their magic number or of what follows it.)
pub fn has_header(file: &[u8]) -> bool {
    let Some((length, rest)) = file.split_first_chunk::<LENGTH>() else { return false };
    let length = usize::try_from(u64::from_le_bytes(*length)).ok().filter(|length| *length <= LONGEST_HEADER);
    // A file that is cut short is still one.
    let header = length.map(|length| rest[..length.min(rest.len())].trim_ascii_start());
    header.is_some_and(|header| header.first().is_none_or(|first| *first == b'{'))
}

/// The checked header and where the elements begin.
fn header(file: &View) -> Result<(Metadata, usize), String> {
    let start = file.start(LENGTH + 1)?;
    let Some((first, rest)) = start.split_first_chunk::<LENGTH>() else {
        return Err(format!("it has {} bytes, and the length of its header alone takes {LENGTH}", start.len()));
    };
    let (length, left) = (u64::from_le_bytes(*first), file.len() - LENGTH);
    let fits = usize::try_from(length).ok().filter(|&n| n <= left);
    if length > LONGEST_HEADER as u64 && rest.first().is_some_and(|first| *first != b'{') {
        return Err(format!("its first bytes, `{}`, are those of no format that is known", first.escape_ascii()));
    }
    let Some(length) = fits else {
        return Err(format!("its header should have {length} bytes, and {left} follow: it is cut short"));
    };
    if length > LONGEST_HEADER {
        return Err(format!("its header should have {length} bytes; {LONGEST_HEADER} are allowed"));
    }
    let (json, elements) = (file.bytes(LENGTH..LENGTH + length)?, left - length);
    let said = |error| format!("its header says: {error}");
    let Names = serde_json::from_slice(json).map_err(said)?;
    let metadata: Metadata = serde_json::from_slice(json).map_err(said)?;
    if metadata.data_len() != elements {
        return Err(format!(
            "its tensors take {} bytes, and {} follow the header{}",
            metadata.data_len(),
            elements,
            if metadata.data_len() > elements { ": it is cut short" } else { "" }
        ));
    }
    Ok((metadata, LENGTH + length))
}

/// The names of a JSON object, each of which may be there once.
struct Names;

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Names, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Names;

            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("the names of tensors")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Names, A::Error> {
                let mut seen = BTreeSet::new();
                while let Some((name, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
                    if !seen.insert(name.clone()) {
                        return Err(serde::de::Error::custom(format!("`{name}` is there twice")));
                    }
                }
                Ok(Names)
            }
        }
        from.deserialize_map(Once)
    }
}

/// A tensor that is to be written.
#[derive(Clone, Debug)]
pub struct Planned<'a> {
    /// Its name.
    pub name: &'a str,
    /// The type of its elements.
    pub dtype: DType,
    /// Its shape.
    pub shape: &'a [usize],
}

impl Planned<'_> {
    fn bytes(&self) -> io::Result<usize> {
        let bytes = count(self.shape).and_then(|count| count.checked_mul(self.dtype.bytes()));
        bytes.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, format!("`{}` is too large", self.name)))
    }
}

/// Writes a safetensors file with these tensors and what it says about itself. They keep their order within each size of
/// element; wider elements come first, so that all are aligned.
pub fn write(out: &mut dyn Write, tensors: &[(&str, &Tensor)], about: &BTreeMap<String, String>) -> io::Result<()> {
    let planned: Vec<Planned> =
        tensors.iter().map(|(name, tensor)| Planned { name, dtype: tensor.dtype(), shape: tensor.shape() }).collect();
    let bytes = |number: usize, out: &mut dyn Write| out.write_all(tensors[number].1.bytes());
    write_each(out, &planned, about, bytes)
}

/// As [`write()`], where `fill` writes the elements of the tensor with that number: one is in memory at a time.
pub fn write_each(
    out: &mut dyn Write,
    tensors: &[Planned],
    about: &BTreeMap<String, String>,
    mut fill: impl FnMut(usize, &mut dyn Write) -> io::Result<()>,
) -> io::Result<()> {
    let mut order: Vec<usize> = (0..tensors.len()).collect();
    order.sort_by_key(|number| std::cmp::Reverse(tensors[*number].dtype.bytes()));
    let mut end = 0;
    let mut places = Vec::with_capacity(order.len());
    for tensor in order.iter().map(|number| &tensors[*number]) {
        let start = end;
        end += tensor.bytes()?;
        let info =
            TensorInfo { dtype: stored_as(tensor.dtype), shape: tensor.shape.to_vec(), data_offsets: (start, end) };
        places.push((tensor.name.to_owned(), info));
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
    order.into_iter().try_for_each(|number| fill(number, out))
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
