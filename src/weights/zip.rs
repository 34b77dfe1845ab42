//! The directory of a zip archive, which `.npz` and PyTorch's files are. Takes the archive; gives its members,
//! each with its place, so that what is not packed is read where it lies.
//!
//! Own code, since archives are read here as hostile: two members of one name, members that overlap, and places that
//! disagree with the members' own headers are refused, and a member is a range of the file. (After PKWARE's
//! APPNOTE.TXT 6.3.10, sections 4.3 and 4.5.3.)

use super::bytes::{Rest, text};
use super::input::View;
use flate2::Crc;
use flate2::read::DeflateDecoder;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::{self, Read};
use std::ops::Range;

/// The end of the directory, without a comment.
const END: usize = 22;
/// The longest comment that the end may have.
const LONGEST_COMMENT: usize = u16::MAX as usize;
/// More than this much is not unpacked from less than a hundredth of it: no weights are so even.
pub const LARGE: u64 = 64 << 20;
/// Packed bytes that are read at once, where only the first of a member are wanted.
const AT_ONCE: usize = 1 << 14;
/// See [`LARGE`].
const MOST_TIMES: u64 = 100;

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Where its bytes lie, packed or not.
    pub range: Range<usize>,
    /// How they are packed.
    pub packing: Packing,
}

/// How a member's bytes are packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packing {
    /// Not at all; the bytes have this checksum.
    Stored {
        /// Their CRC-32.
        crc: u32,
    },
    /// By deflate, into so many bytes with this checksum.
    Deflated {
        /// Bytes when unpacked.
        size: u64,
        /// The CRC-32 of these.
        crc: u32,
    },
}

impl Member {
    /// How many bytes it has when it is unpacked.
    pub fn size(&self) -> u64 {
        match self.packing {
            Packing::Stored { .. } => self.range.len() as u64,
            Packing::Deflated { size, .. } => size,
        }
    }

    /// Its first bytes, unpacked: `most`, or all if it has fewer.
    pub fn start<'a>(&self, archive: &'a View, most: usize) -> Result<Cow<'a, [u8]>, String> {
        match self.packing {
            Packing::Stored { .. } => {
                let end = self.range.end.min(self.range.start.saturating_add(most));
                Ok(Cow::Borrowed(archive.bytes(self.range.start..end)?))
            }
            Packing::Deflated { .. } => {
                let mut start = Vec::new();
                let packed = Packed { archive, range: self.range.clone(), left: &[] };
                let done = DeflateDecoder::new(packed).take(most as u64).read_to_end(&mut start);
                done.map_err(|error| format!("`{}` cannot be unpacked: {error}", self.name))?;
                Ok(Cow::Owned(start))
            }
        }
    }
}

/// The bytes of a member as they are asked for.
struct Packed<'a> {
    archive: &'a View<'a>,
    range: Range<usize>,
    left: &'a [u8],
}

impl Read for Packed<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.left.is_empty() {
            let end = self.range.end.min(self.range.start + AT_ONCE);
            self.left = self.archive.bytes(self.range.start..end).map_err(io::Error::other)?;
            self.range.start = end;
        }
        self.left.read(to)
    }
}

/// Unpacks a deflated member. Memory grows with what comes, not with what the archive says.
pub fn inflate(packed: &[u8], size: u64, crc: u32) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let done = DeflateDecoder::new(packed).take(size.saturating_add(1)).read_to_end(&mut bytes);
    done.map_err(|error| format!("it cannot be unpacked: {error}"))?;
    if bytes.len() as u64 != size {
        let found = if bytes.len() as u64 > size { "more".to_owned() } else { bytes.len().to_string() };
        return Err(format!("{size} bytes should be packed here, and {found} are"));
    }
    let mut found = Crc::new();
    found.update(&bytes);
    if found.sum() != crc {
        return Err("its checksum is wrong: it is damaged".into());
    }
    Ok(bytes)
}

/// The members of an archive, in the order of its directory.
pub fn members(archive: &View) -> Result<Vec<Member>, String> {
    let Directory { range, count } = directory(archive)?;
    let first = range.start;
    let mut rest = Rest::of(archive, range);
    let mut members: Vec<Member> = Vec::new();
    let mut names = BTreeSet::new();
    while !rest.is_empty() {
        let member = member(archive, first, &mut rest).map_err(|why| format!("its directory: {why}"))?;
        if !names.insert(member.name.clone()) {
            return Err(format!("it has two members called `{}`", member.name));
        }
        members.push(member);
    }
    if members.len() as u64 != count {
        return Err(format!("its directory should have {count} members, and has {}", members.len()));
    }
    let mut places: Vec<&Member> = members.iter().filter(|member| !member.range.is_empty()).collect();
    places.sort_by_key(|member| member.range.start);
    if let Some([a, b]) = places.windows(2).find_map(|pair| <[&Member; 2]>::try_from(pair).ok().filter(overlap)) {
        return Err(format!("its members `{}` and `{}` overlap", a.name, b.name));
    }
    Ok(members)
}

fn overlap([a, b]: &[&Member; 2]) -> bool {
    a.range.end > b.range.start
}

/// Where the directory lies, and how many members it should have.
struct Directory {
    range: Range<usize>,
    count: u64,
}

fn directory(archive: &View) -> Result<Directory, String> {
    let at = end(archive)?.ok_or("the directory at its end is missing: it is cut short, or no zip archive")?;
    let mut rest = Rest::of(archive, at + 10..archive.len());
    let (mut count, mut size, mut first) = (u64::from(rest.u16()?), u64::from(rest.u32()?), u64::from(rest.u32()?));
    if count == u64::from(u16::MAX) || size == u64::from(u32::MAX) || first == u64::from(u32::MAX) {
        let large = at.checked_sub(20).map(|before| archive.bytes(before..at)).transpose()?;
        let large = large.filter(|bytes| bytes.starts_with(b"PK\x06\x07"));
        let place = Rest::new(&large.ok_or("the place of its directory is missing")?[8..]).u64()?;
        let end = usize::try_from(place).ok().and_then(|place| place.checked_add(56)).filter(|end| *end <= at);
        let record = end.map(|end| archive.bytes(end - 56..end)).transpose()?;
        let record = record.filter(|record| record.starts_with(b"PK\x06\x06"));
        let mut rest = Rest::new(&record.ok_or("the place of its directory is wrong")?[32..]);
        (count, size, first) = (rest.u64()?, rest.u64()?, rest.u64()?);
    }
    let range = first.checked_add(size).filter(|end| *end <= at as u64).map(|end| first as usize..end as usize);
    let range = range.ok_or_else(|| format!("its directory should be {size} bytes at {first}, where they are not"))?;
    Ok(Directory { range, count })
}

/// Where the end of the directory begins: its comment reaches to the end of the archive.
fn end(archive: &View) -> Result<Option<usize>, String> {
    let first = archive.len().saturating_sub(END + LONGEST_COMMENT);
    let tail = archive.bytes(first..archive.len())?;
    let ends_here = |at: &usize| {
        let comment = usize::from(u16::from_le_bytes([tail[at + 20], tail[at + 21]]));
        tail[*at..].starts_with(b"PK\x05\x06") && at + END + comment == tail.len()
    };
    let Some(last) = tail.len().checked_sub(END) else { return Ok(None) };
    Ok((0..=last).rev().find(ends_here).map(|at| first + at))
}

/// The next member of the directory, which begins at `first`.
fn member(archive: &View, first: usize, rest: &mut Rest) -> Result<Member, String> {
    if rest.take(4)? != b"PK\x01\x02" {
        return Err("a member has no header".into());
    }
    let mut header = Rest::new(rest.take(42)?);
    header.take(4)?;
    let (flags, method) = (header.u16()?, header.u16()?);
    header.take(4)?;
    let (crc, mut packed, mut size) = (header.u32()?, u64::from(header.u32()?), u64::from(header.u32()?));
    let (name, extra, comment) = (header.u16()?, header.u16()?, header.u16()?);
    header.take(8)?;
    let mut local = u64::from(header.u32()?);
    let name = text(rest.take(u64::from(name))?)?.to_owned();
    let extra = rest.take(u64::from(extra))?;
    rest.take(u64::from(comment))?;
    wide(extra, [&mut size, &mut packed, &mut local]).map_err(|why| format!("`{name}`: {why}"))?;
    if flags & 1 != 0 {
        return Err(format!("`{name}` is encrypted"));
    }
    let packing = match method {
        0 if packed == size => Packing::Stored { crc },
        0 => return Err(format!("`{name}` is not packed, and has {packed} bytes for {size}")),
        8 if size > LARGE && size / MOST_TIMES > packed => {
            return Err(format!("`{name}` has {packed} bytes that should unpack to {size}: no weights are so even"));
        }
        8 => Packing::Deflated { size, crc },
        _ => return Err(format!("`{name}` is packed by method {method}; deflate is known")),
    };
    let range = place(archive, first, [local, packed], &name).map_err(|why| format!("`{name}`: {why}"))?;
    Ok(Member { name, range, packing })
}

/// Gives sizes and places that do not fit 32 bits their values, which lie in a member's extra field, in this order.
fn wide(extra: &[u8], numbers: [&mut u64; 3]) -> Result<(), String> {
    let mut wanted = numbers.into_iter().filter(|number| **number == u64::from(u32::MAX)).peekable();
    let mut rest = Rest::new(extra);
    while wanted.peek().is_some() {
        let (id, len) = (rest.u16()?, rest.u16()?);
        let mut field = Rest::new(rest.take(u64::from(len))?);
        if id == 1 {
            for number in wanted.by_ref() {
                *number = field.u64()?;
            }
        }
    }
    Ok(())
}

/// Where a member's bytes lie, after its own header and before the directory.
fn place(archive: &View, end: usize, [local, packed]: [u64; 2], name: &str) -> Result<Range<usize>, String> {
    let local = usize::try_from(local).ok().filter(|local| *local <= end);
    let local = local.ok_or("it is not where the directory says")?;
    let mut rest = Rest::of(archive, local..end);
    if rest.take(4)? != b"PK\x03\x04" {
        return Err("it is not where the directory says".into());
    }
    rest.take(22)?;
    let (name_len, extra) = (rest.u16()?, rest.u16()?);
    if rest.take(u64::from(name_len))? != name.as_bytes() {
        return Err("it has another name in its own header".into());
    }
    rest.take(u64::from(extra))?;
    let start = local + rest.at();
    rest.skip(packed)?;
    Ok(start..local + rest.at())
}
