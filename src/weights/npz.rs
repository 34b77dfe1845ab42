//! NumPy's `.npz`: a zip archive of `.npy` files, one array each. Takes the bytes of the archive, gives its arrays under
//! their names. A single text among them is no tensor: it is what the file says about itself.
//!
//! (The header of an array is a dictionary in Python's notation; see NEP 1. The crate for it brings a parser of Python and
//! big integers, and would be part of every program that uses `model!`.)

use super::bytes::{Rest, text};
use super::element::Elements;
use super::input::View;
use super::listing::{Bad, Entry, Listing, Packing, Place, Strides};
use super::zip::{self, Member};
use dlc_runtime::tensor::DType;
use std::borrow::Cow;

/// What every array begins with.
pub const MAGIC: &[u8] = b"\x93NUMPY";
/// The longest header that is read: names of fields can make it long, and those are not read.
const LONGEST_HEADER: usize = 1 << 20;
/// The longest text that is kept.
const LONGEST_TEXT: u64 = 1 << 20;

/// The arrays of an archive. Members that are not called `.npy` are none of them.
pub fn list(archive: &View) -> Result<Listing, Bad> {
    let mut listing = Listing::default();
    for member in zip::members(archive)? {
        let Some(name) = member.name.strip_suffix(".npy") else { continue };
        let bad = |why| Bad::from(format!("`{name}`: {why}"));
        let header = header(&member, archive).map_err(bad)?;
        if let (Some(letter), []) = (header.text, &header.shape[..]) {
            if member.size() > LONGEST_TEXT {
                return Err(bad("it is a very long text".into()));
            }
            listing.about.insert(name.to_owned(), words(&member, archive, &header, letter).map_err(bad)?);
            continue;
        }
        listing.tensors.push((name.to_owned(), header.entry(&member)));
    }
    Ok(listing)
}

/// How a text is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Letter {
    /// A byte each.
    Byte,
    /// Four bytes each.
    Wide,
}

/// What an array says about itself.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    elements: Elements,
    /// Set for texts.
    text: Option<Letter>,
    high_first: bool,
    /// Whether the first axis is fastest.
    columns: bool,
    shape: Vec<usize>,
    /// Where the elements begin.
    len: usize,
}

impl Header {
    fn entry(self, member: &Member) -> Entry {
        let skip = self.len;
        let packing = match member.packing {
            zip::Packing::Stored { crc } => Packing::Checked { crc, skip },
            zip::Packing::Deflated { size, crc } => Packing::Deflated { size, crc, skip },
        };
        let strides = (self.columns && self.shape.len() > 1).then(|| {
            let mut step = 1_usize;
            let steps = self.shape.iter().map(|axis| {
                let own = step;
                step = step.saturating_mul(*axis);
                own
            });
            Strides { first: 0, steps: steps.collect() }
        });
        let place =
            Place { range: member.range.clone(), packing, strides, high_first: self.high_first, negated: false };
        Entry { elements: self.elements, shape: self.shape, place }
    }
}

fn header(member: &Member, archive: &View) -> Result<Header, String> {
    let start = member.start(archive, 12)?;
    let (before, len) = header_len(&start)?;
    if len > LONGEST_HEADER {
        return Err(format!("its header should have {len} bytes; {LONGEST_HEADER} are allowed"));
    }
    let start: Cow<[u8]> = member.start(archive, before + len)?;
    if start.len() < before + len {
        return Err(format!("its header should have {len} bytes: it is cut short"));
    }
    let described = Words::new(text(&start[before..])?).dictionary()?;
    described.header(before + len)
}

/// Where an array's dictionary begins, and its length.
fn header_len(start: &[u8]) -> Result<(usize, usize), String> {
    let mut rest = Rest::new(start);
    if rest.take(6)? != MAGIC {
        return Err("it is no array of NumPy".into());
    }
    match (rest.u8()?, rest.u8()?) {
        (1, _) => Ok((10, usize::from(rest.u16()?))),
        (2 | 3, _) => Ok((12, rest.u32()? as usize)),
        (version, _) => Err(format!("version {version} of NumPy's format is not known")),
    }
}

/// The text of an array without axes.
fn words(member: &Member, archive: &View, header: &Header, letter: Letter) -> Result<String, String> {
    let all = member.start(archive, LONGEST_TEXT as usize)?;
    let bytes = all.get(header.len..).ok_or("it is cut short")?;
    let words = match letter {
        Letter::Byte => text(bytes)?.to_owned(),
        Letter::Wide => {
            let code = |four: &[u8]| {
                let four = four.try_into().expect("pieces of four bytes");
                char::from_u32(if header.high_first { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) })
            };
            bytes.chunks_exact(4).map(code).collect::<Option<String>>().ok_or("it is no text")?
        }
    };
    Ok(words.trim_end_matches('\0').to_owned())
}

/// The entries of a header's dictionary.
#[derive(Default)]
struct Described<'a> {
    descr: Option<&'a str>,
    columns: Option<bool>,
    shape: Option<Vec<usize>>,
}

impl Described<'_> {
    fn header(self, len: usize) -> Result<Header, String> {
        let (Some(descr), Some(columns), Some(shape)) = (self.descr, self.columns, self.shape) else {
            return Err("its header lacks `descr`, `fortran_order` or `shape`".into());
        };
        let other = || Elements::Other(descr.to_owned());
        let (order, kind) = descr.split_at_checked(1).unwrap_or((descr, ""));
        let known = match kind {
            "f8" => Some(DType::F64),
            "f4" => Some(DType::F32),
            "f2" => Some(DType::F16),
            "i8" => Some(DType::I64),
            "i4" => Some(DType::I32),
            "i2" => Some(DType::I16),
            "i1" => Some(DType::I8),
            "u8" => Some(DType::U64),
            "u4" => Some(DType::U32),
            "u2" => Some(DType::U16),
            "u1" => Some(DType::U8),
            "b1" => Some(DType::Bool),
            _ => None,
        };
        let elements = match order {
            "<" | ">" | "|" | "=" => known.map_or_else(other, Elements::Plain),
            _ => other(),
        };
        let text = match kind.chars().next() {
            Some('U') => Some(Letter::Wide),
            Some('S') => Some(Letter::Byte),
            _ => None,
        };
        Ok(Header { elements, text, high_first: order == ">", columns, shape, len })
    }
}

/// A reader of Python's notation, as far as headers use it.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Words<'a> {
        Words { rest: text }
    }

    fn skip(&mut self, word: &str) -> bool {
        self.rest = self.rest.trim_start();
        let found = self.rest.strip_prefix(word);
        self.rest = found.unwrap_or(self.rest);
        found.is_some()
    }

    fn expect(&mut self, word: &str) -> Result<(), String> {
        if self.skip(word) { Ok(()) } else { Err(self.unknown()) }
    }

    fn unknown(&self) -> String {
        let start: String = self.rest.chars().take(20).collect();
        format!("its header is not understood at `{start}`")
    }

    /// The whole of a header.
    fn dictionary(mut self) -> Result<Described<'a>, String> {
        let mut found = Described::default();
        self.expect("{")?;
        while !self.skip("}") {
            let key = self.string()?;
            self.expect(":")?;
            match key {
                "descr" if self.rest.trim_start().starts_with(['[', '(']) => {
                    return Err("its elements are records of several fields, which dlc does not read".into());
                }
                "descr" if found.descr.is_none() => found.descr = Some(self.string()?),
                "fortran_order" if found.columns.is_none() => found.columns = Some(self.truth()?),
                "shape" if found.shape.is_none() => found.shape = Some(self.tuple()?),
                _ => return Err(format!("its header has `{key}` where it should not")),
            }
            if !self.skip(",") {
                self.expect("}")?;
                break;
            }
        }
        if self.rest.trim().is_empty() { Ok(found) } else { Err(self.unknown()) }
    }

    /// A text in quotes, without any escapes.
    fn string(&mut self) -> Result<&'a str, String> {
        for quote in ["'", "\""] {
            if self.skip(quote) {
                let (word, rest) = self.rest.split_once(quote).ok_or_else(|| self.unknown())?;
                self.rest = rest;
                return Ok(word);
            }
        }
        Err(self.unknown())
    }

    fn truth(&mut self) -> Result<bool, String> {
        let yes = self.skip("True");
        if yes || self.skip("False") { Ok(yes) } else { Err(self.unknown()) }
    }

    /// Whole numbers in parentheses.
    fn tuple(&mut self) -> Result<Vec<usize>, String> {
        self.expect("(")?;
        let mut numbers = Vec::new();
        while !self.skip(")") {
            self.rest = self.rest.trim_start();
            let end = self.rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(self.rest.len());
            let number = self.rest[..end].parse().map_err(|_| self.unknown())?;
            self.rest = &self.rest[end..];
            numbers.push(number);
            // Python 2 marked long integers.
            self.skip("L");
            if !self.skip(",") {
                self.expect(")")?;
                break;
            }
        }
        Ok(numbers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Header, String> {
        Words::new(text).dictionary()?.header(0)
    }

    #[test]
    fn headers_are_read() {
        let header = read("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }   \n").expect("a usual header");
        assert_eq!((header.elements, &header.shape[..]), (Elements::Plain(DType::F32), &[3, 4][..]));
        assert!(!header.high_first && !header.columns);
        let header = read("{\"shape\":(5L,),\"fortran_order\":True,\"descr\":\">i2\"}").expect("another order");
        assert_eq!((header.elements, &header.shape[..]), (Elements::Plain(DType::I16), &[5][..]));
        assert!(header.high_first && header.columns);
        let header = read("{'descr': '<U7', 'fortran_order': False, 'shape': ()}").expect("a text");
        assert_eq!((header.elements, header.text), (Elements::Other("<U7".into()), Some(Letter::Wide)));
    }

    #[test]
    fn broken_headers_are_refused() {
        for (text, why) in [
            ("", "its header is not understood at ``"),
            ("{'descr': '<f4'", "its header is not understood at ``"),
            ("{'descr': '<f4'}", "its header lacks `descr`, `fortran_order` or `shape`"),
            ("{'descr': [('a', '<f4')]}", "its elements are records of several fields, which dlc does not read"),
            ("{'descr': '<f4', 'descr': '<f8'}", "its header has `descr` where it should not"),
            ("{'shape': (99999999999999999999,)}", "its header is not understood at `99999999999999999999`"),
            ("{'shape': (-1,)}", "its header is not understood at `-1,)}`"),
            ("{'shape': (1, 2}", "its header is not understood at `}`"),
            ("{'shape': __import__('os')}", "its header is not understood at `__import__('os')}`"),
        ] {
            assert_eq!(read(text).expect_err(text), why, "{text}");
        }
    }
}
