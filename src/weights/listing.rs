//! What a reader of a format gives: the tensors of a file, each with its type, its shape and its place; and how one is read
//! from its place into memory.

use super::element::{Elements, count, is_real};
use super::input::Input;
use super::zip::{LARGE, inflate};
use dlc_runtime::tensor::{DType, Tensor};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

/// A tensor without elements may still have long axes, and a length must not be believed just because nothing backs it.
const LONGEST_EMPTY_AXIS: usize = 1 << 20;

/// The tensors of a file, in its order, and what it says about itself.
#[derive(Debug, Default)]
pub struct Listing {
    /// Names, and what they stand for.
    pub tensors: Vec<(String, Entry)>,
    /// What the file says about itself.
    pub about: BTreeMap<String, String>,
    /// How it was read, where there was a choice.
    pub notes: Vec<String>,
}

/// A tensor of a file.
#[derive(Clone, Debug)]
pub struct Entry {
    /// How its elements are stored.
    pub elements: Elements,
    /// Its shape, the last axis fastest.
    pub shape: Vec<usize>,
    /// Where it lies in the file.
    pub place: Place,
}

/// Where the elements of a tensor lie.
#[derive(Clone, Debug)]
pub struct Place {
    /// Bytes of the file: the tensor's own, or those of a storage that it is a part of.
    pub range: Range<usize>,
    /// How these are packed.
    pub packing: Packing,
    /// Which of the elements are the tensor's; none for all, row after row.
    pub strides: Option<Strides>,
    /// Whether each number has its high byte first.
    pub high_first: bool,
    /// Whether each number is the negative of what is there.
    pub negated: bool,
}

/// How bytes are packed.
#[derive(Clone, Copy, Debug)]
pub enum Packing {
    /// Not at all.
    Stored,
    /// Not at all, and they have this checksum, together with this many bytes before them.
    Checked {
        /// The CRC-32 of it all.
        crc: u32,
        /// Bytes of a header before them.
        skip: usize,
    },
    /// By deflate.
    Deflated {
        /// Bytes when unpacked, with the header.
        size: u64,
        /// The CRC-32 of these.
        crc: u32,
        /// Bytes of a header before the elements.
        skip: usize,
    },
}

/// A tensor's elements among those of a storage.
#[derive(Clone, Debug)]
pub struct Strides {
    /// The place of the first element.
    pub first: usize,
    /// How far apart neighbours along each axis are.
    pub steps: Vec<usize>,
}

/// Why a file, or a tensor of it, cannot be used, and perhaps a way out.
#[derive(Debug)]
pub struct Bad {
    /// Why.
    pub why: String,
    /// The way out.
    pub help: Option<String>,
}

impl From<String> for Bad {
    fn from(why: String) -> Bad {
        Bad { why, help: None }
    }
}

impl From<&str> for Bad {
    fn from(why: &str) -> Bad {
        Bad::from(why.to_owned())
    }
}

impl Bad {
    /// With a way out.
    pub fn help(self, text: impl Into<String>) -> Bad {
        Bad { help: Some(text.into()), ..self }
    }
}

impl Entry {
    /// A tensor whose elements lie in a range of the file, row after row. The range is checked to be as long as the shape
    /// asks for.
    pub fn plain(elements: Elements, shape: Vec<usize>, range: Range<usize>) -> Entry {
        let place = Place { range, packing: Packing::Stored, strides: None, high_first: false, negated: false };
        Entry { elements, shape, place }
    }

    /// Whether the shape makes sense, and the file has as many bytes for it as it asks for.
    pub fn check(&self) -> Result<(), String> {
        let shape = &self.shape;
        let elements = count(shape).ok_or_else(|| format!("its shape is {shape:?}: too large"))?;
        if elements == 0 && shape.iter().any(|&axis| axis > LONGEST_EMPTY_AXIS) {
            return Err(format!("its shape is {shape:?}, and it has no elements"));
        }
        if let Elements::Other(_) = self.elements {
            return Ok(());
        }
        let refused = || format!("its shape is {shape:?}, which {} cannot have", self.elements.name());
        let wanted = self.elements.bytes(elements).ok_or_else(refused)?;
        let found = match self.place.packing {
            Packing::Stored => self.place.range.len() as u64,
            Packing::Checked { skip, .. } => (self.place.range.len() as u64).saturating_sub(skip as u64),
            Packing::Deflated { size, skip, .. } => size.saturating_sub(skip as u64),
        };
        match &self.place.strides {
            None if found != wanted as u64 => {
                Err(format!("{} {shape:?} takes {wanted} bytes, and it has {found}", self.elements.name()))
            }
            Some(strides) => self.check_strides(strides, elements, found),
            None => Ok(()),
        }
    }

    fn check_strides(&self, strides: &Strides, elements: usize, bytes: u64) -> Result<(), String> {
        let Elements::Plain(dtype) = self.elements else {
            return Err("blocks of numbers have no strides".into());
        };
        let there = usize::try_from(bytes).unwrap_or(usize::MAX) / dtype.bytes();
        if elements == 0 {
            return Ok(());
        }
        let last = self.shape.iter().zip(&strides.steps).try_fold(strides.first, |last, (axis, step)| {
            (axis - 1).checked_mul(*step).and_then(|far| last.checked_add(far))
        });
        let fits = last.is_some_and(|last| last < there) && self.shape.len() == strides.steps.len();
        if !fits {
            let Strides { first, steps } = strides;
            return Err(format!(
                "its shape {:?} with strides {steps:?} from {first} reaches outside of its storage, which has {there} elements",
                self.shape
            ));
        }
        let most = usize::try_from(LARGE).unwrap_or(usize::MAX) / dtype.bytes();
        if elements > there && elements > most {
            return Err(format!(
                "its shape is {:?}, and it has {there} elements that are repeated; {most} could be had of these",
                self.shape
            ));
        }
        Ok(())
    }

    /// Whether reading it can find that its bytes make no sense.
    pub fn can_fail(&self) -> bool {
        let packed = match self.place.packing {
            Packing::Stored => false,
            Packing::Checked { .. } | Packing::Deflated { .. } => true,
        };
        packed || !self.elements.is_real()
    }

    /// The same without strides, where it is a row after the other of a storage as it lies in the file; nothing else of the
    /// storage is then read.
    fn rows(&self) -> Option<Entry> {
        let (strides, Elements::Plain(dtype)) = (self.place.strides.as_ref()?, &self.elements) else { return None };
        let plain = matches!(self.place.packing, Packing::Stored) && !self.shape.contains(&0);
        if !plain || !strides.are_rows(&self.shape) {
            return None;
        }
        let start = self.place.range.start + strides.first * dtype.bytes();
        let range = start..start + self.elements.bytes(count(&self.shape)?)?;
        Some(Entry { place: Place { range, strides: None, ..self.place.clone() }, ..self.clone() })
    }

    /// Reads it from its file.
    pub fn read(&self, file: &Input) -> Result<Tensor, String> {
        if let Some(rows) = self.rows() {
            return rows.read(file);
        }
        let bytes = self.place.unpacked(file)?;
        let dtype = match &self.elements {
            Elements::Plain(dtype) => *dtype,
            Elements::Blocks(blocks) => {
                return Tensor::from_f32(self.shape.clone(), blocks.numbers(&bytes)).map_err(|error| error.to_string());
            }
            Elements::Other(name) => return Err(format!("its elements are {name}, which dlc does not read")),
        };
        if self.shape.contains(&0) {
            return Tensor::zeros(dtype, &self.shape).map_err(|error| error.to_string());
        }
        let size = dtype.bytes();
        let bytes = match &self.place.strides {
            None => bytes,
            Some(strides) => Cow::Owned(strides.gather(&bytes, &self.shape, size)),
        };
        let bytes = if self.place.high_first && size > 1 { Cow::Owned(swapped(&bytes, size)) } else { bytes };
        let bytes = if self.place.negated { Cow::Owned(negated(dtype, bytes.into_owned())) } else { bytes };
        Tensor::from_bytes(dtype, &self.shape, &bytes).map_err(|error| error.to_string())
    }
}

impl Place {
    fn unpacked<'a>(&self, file: &'a Input) -> Result<Cow<'a, [u8]>, String> {
        let bytes = file.bytes(self.range.clone())?;
        match self.packing {
            Packing::Stored => Ok(bytes),
            Packing::Checked { crc, skip } => {
                let mut found = flate2::Crc::new();
                found.update(&bytes);
                if found.sum() != crc {
                    return Err("its checksum is wrong: it is damaged".into());
                }
                Ok(behind(bytes, skip))
            }
            Packing::Deflated { size, crc, skip } => {
                let mut bytes = inflate(&bytes, size, crc)?;
                bytes.drain(..skip);
                Ok(Cow::Owned(bytes))
            }
        }
    }
}

/// What follows the first bytes.
fn behind(bytes: Cow<[u8]>, skip: usize) -> Cow<[u8]> {
    match bytes {
        Cow::Borrowed(bytes) => Cow::Borrowed(&bytes[skip..]),
        Cow::Owned(mut bytes) => {
            bytes.drain(..skip);
            Cow::Owned(bytes)
        }
    }
}

impl Strides {
    /// Those of a tensor that lies row after row.
    fn are_rows(&self, shape: &[usize]) -> bool {
        let mut step = 1;
        shape.iter().zip(&self.steps).rev().all(|(axis, found)| {
            let fits = *axis == 1 || *found == step;
            step *= axis;
            fits
        })
    }

    /// The elements of a tensor, row after row. It is not empty, and all of it is there, as [`Entry::check`] has seen.
    fn gather(&self, bytes: &[u8], shape: &[usize], size: usize) -> Vec<u8> {
        let total = count(shape).unwrap_or(0);
        let mut gathered = Vec::with_capacity(total * size);
        let mut at = vec![0; shape.len()];
        let mut place = self.first;
        for _ in 0..total {
            gathered.extend_from_slice(&bytes[place * size..(place + 1) * size]);
            for axis in (0..shape.len()).rev() {
                at[axis] += 1;
                // An axis of one element may have any step, which is taken and taken back.
                place = place.wrapping_add(self.steps[axis]);
                if at[axis] < shape[axis] {
                    break;
                }
                place = place.wrapping_sub(self.steps[axis].wrapping_mul(shape[axis]));
                at[axis] = 0;
            }
        }
        gathered
    }
}

/// Each number with its bytes the other way round.
fn swapped(bytes: &[u8], size: usize) -> Vec<u8> {
    bytes.chunks_exact(size).flat_map(|number| number.iter().rev().copied()).collect()
}

/// Each number, whose low byte is first, as its negative.
fn negated(dtype: DType, mut bytes: Vec<u8>) -> Vec<u8> {
    for number in bytes.chunks_exact_mut(dtype.bytes()) {
        match (is_real(dtype), number.last_mut()) {
            (true, Some(last)) => *last ^= 0x80,
            // In two's complement: all bits the other way, and one more.
            _ => {
                let mut carry = true;
                for byte in number {
                    (*byte, carry) = (!*byte).overflowing_add(u8::from(carry));
                }
            }
        }
    }
    bytes
}

/// A tensor of real numbers in another type of these; others as they are.
pub fn cast(tensor: Tensor, dtype: DType) -> Tensor {
    match is_real(tensor.dtype()) && is_real(dtype) && tensor.dtype() != dtype {
        true => tensor.to_float(dtype).expect("both are types of real numbers, and the tensor is in memory"),
        false => tensor,
    }
}
