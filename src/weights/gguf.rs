//! GGUF, the files of llama.cpp: facts, then tensors, many of them quantised. Takes the bytes; gives the tensors under the names
//! that the file has for them, their shapes with the fastest axis last, and the facts that are numbers or texts.
//!
//! (After `docs/gguf.md` of ggml, versions 2 and 3.) Rows are as the file has them: for models of the kind `llama` its writer
//! has reordered those of the queries and keys, so that a rotation turns neighbours.

use super::blocks::Blocks;
use super::bytes::{Rest, text};
use super::element::{Elements, count};
use super::input::View;
use super::listing::{Bad, Entry, Listing};
use dlc_runtime::tensor::DType;
use std::collections::BTreeMap;

/// What a file begins with.
pub const MAGIC: &[u8] = b"GGUF";
/// As in ggml.
const MOST_AXES: u32 = 4;
/// Longer texts, such as templates, are not kept.
const LONGEST_TEXT: usize = 1000;
/// A list of lists of lists.
const DEEPEST: usize = 4;

/// Quantised numbers that dlc does not read: their number, their name.
const UNREAD: [(u32, &str); 23] = [
    (9, "Q8_1"),
    (10, "Q2_K"),
    (11, "Q3_K"),
    (12, "Q4_K"),
    (13, "Q5_K"),
    (14, "Q6_K"),
    (15, "Q8_K"),
    (16, "IQ2_XXS"),
    (17, "IQ2_XS"),
    (18, "IQ3_XXS"),
    (19, "IQ1_S"),
    (20, "IQ4_NL"),
    (21, "IQ3_S"),
    (22, "IQ2_S"),
    (23, "IQ4_XS"),
    (29, "IQ1_M"),
    (31, "Q4_0_4_4"),
    (32, "Q4_0_4_8"),
    (33, "Q4_0_8_8"),
    (34, "TQ1_0"),
    (35, "TQ2_0"),
    (39, "MXFP4"),
    (40, "NVFP4"),
];

/// The tensors of a file.
pub fn list(file: &View) -> Result<Listing, Bad> {
    let mut rest = Rest::of(file, 0..file.len());
    rest.take(MAGIC.len() as u64)?;
    let version = rest.u32()?;
    if version.swap_bytes() < 16 && version > 16 {
        return Err("its numbers have their high bytes first, which dlc does not read".into());
    }
    if !matches!(version, 2 | 3) {
        return Err(format!("its version is {version}; 2 and 3 are known").into());
    }
    let (tensors, facts) = (rest.u64()?, rest.u64()?);
    let mut listing = Listing::default();
    for _ in 0..facts {
        let key = string(&mut rest)?;
        let kind = rest.u32()?;
        let value = fact(&mut rest, kind, DEEPEST).map_err(|why| format!("`{key}`: {why}"))?;
        if let Some(value) = value.filter(|value| value.len() <= LONGEST_TEXT)
            && listing.about.insert(key.to_owned(), value).is_some()
        {
            return Err(format!("it says `{key}` twice").into());
        }
    }
    let alignment = alignment(&listing.about)?;
    let mut infos = Vec::new();
    for _ in 0..tensors {
        infos.push(info(&mut rest)?);
    }
    let start = rest.at().checked_next_multiple_of(alignment).ok_or("its alignment is absurd")?;
    for Info { name, elements, shape, offset } in infos {
        let entry =
            entry(file, start, alignment, (elements, shape, offset)).map_err(|why| format!("`{name}`: {why}"))?;
        listing.tensors.push((name.to_owned(), entry));
    }
    no_overlaps(&listing)?;
    Ok(listing)
}

/// A tensor, as it is described.
struct Info<'a> {
    name: &'a str,
    elements: Elements,
    shape: Vec<usize>,
    offset: u64,
}

fn info<'a>(rest: &mut Rest<'a>) -> Result<Info<'a>, String> {
    let name = string(rest)?;
    let axes = rest.u32()?;
    if axes > MOST_AXES {
        return Err(format!("`{name}` has {axes} axes; {MOST_AXES} are allowed"));
    }
    let axis = |_| usize::try_from(rest.u64()?).map_err(|_| format!("`{name}` is too large"));
    let mut shape = (0..axes).map(axis).collect::<Result<Vec<_>, String>>()?;
    // The file has the fastest axis first.
    shape.reverse();
    Ok(Info { name, elements: elements(rest.u32()?), shape, offset: rest.u64()? })
}

fn elements(kind: u32) -> Elements {
    match kind {
        0 => Elements::Plain(DType::F32),
        1 => Elements::Plain(DType::F16),
        2 => Elements::Blocks(Blocks::Q4_0),
        3 => Elements::Blocks(Blocks::Q4_1),
        6 => Elements::Blocks(Blocks::Q5_0),
        7 => Elements::Blocks(Blocks::Q5_1),
        8 => Elements::Blocks(Blocks::Q8_0),
        24 => Elements::Plain(DType::I8),
        25 => Elements::Plain(DType::I16),
        26 => Elements::Plain(DType::I32),
        27 => Elements::Plain(DType::I64),
        28 => Elements::Plain(DType::F64),
        30 => Elements::Plain(DType::BF16),
        _ => {
            let name = UNREAD.iter().find(|(number, _)| *number == kind).map(|(_, name)| (*name).to_owned());
            Elements::Other(name.unwrap_or_else(|| format!("type {kind}")))
        }
    }
}

fn entry(
    file: &View,
    start: usize,
    alignment: usize,
    (elements, shape, offset): (Elements, Vec<usize>, u64),
) -> Result<Entry, String> {
    let total = count(&shape).ok_or_else(|| format!("its shape is {shape:?}: too large"))?;
    let row = shape.last().copied().unwrap_or(1);
    if let (Elements::Blocks(blocks), None) = (&elements, elements.bytes(row)) {
        return Err(format!("its rows of {row} do not fill blocks of {}", blocks.name()));
    }
    let aligned = offset.is_multiple_of(alignment as u64);
    let first = usize::try_from(offset).ok().and_then(|offset| start.checked_add(offset)).filter(|_| aligned);
    let first = first.ok_or_else(|| format!("it lies at {offset}, which is no multiple of {alignment}"))?;
    let len = match &elements {
        Elements::Other(_) => Some(0),
        Elements::Plain(_) | Elements::Blocks(_) => elements.bytes(total),
    };
    let end = len.and_then(|len| first.checked_add(len)).filter(|end| *end <= file.len());
    let end = end.ok_or_else(|| {
        format!("{} {shape:?} at {offset} reaches past the end of the file: it is cut short", elements.name())
    })?;
    Ok(Entry::plain(elements, shape, first..end))
}

fn no_overlaps(listing: &Listing) -> Result<(), String> {
    let mut places: Vec<_> = listing.tensors.iter().filter(|(_, entry)| !entry.place.range.is_empty()).collect();
    places.sort_by_key(|(_, entry)| entry.place.range.start);
    match places.windows(2).find(|pair| pair[0].1.place.range.end > pair[1].1.place.range.start) {
        Some(pair) => Err(format!("`{}` and `{}` overlap", pair[0].0, pair[1].0)),
        None => Ok(()),
    }
}

fn alignment(facts: &BTreeMap<String, String>) -> Result<usize, String> {
    let said = facts.get("general.alignment").map_or("32", String::as_str);
    let alignment = said.parse().ok().filter(|alignment: &usize| alignment.is_power_of_two() && *alignment <= 1 << 20);
    alignment.ok_or_else(|| format!("its alignment is {said}"))
}

fn string<'a>(rest: &mut Rest<'a>) -> Result<&'a str, String> {
    let len = rest.u64()?;
    text(rest.take(len)?)
}

/// A fact as a text; none for lists, which are passed over.
fn fact(rest: &mut Rest, kind: u32, depth: usize) -> Result<Option<String>, String> {
    Ok(Some(match kind {
        0 => rest.u8()?.to_string(),
        1 => (rest.u8()? as i8).to_string(),
        2 => rest.u16()?.to_string(),
        3 => (rest.u16()? as i16).to_string(),
        4 => rest.u32()?.to_string(),
        5 => (rest.u32()? as i32).to_string(),
        6 => f32::from_bits(rest.u32()?).to_string(),
        7 => (rest.u8()? != 0).to_string(),
        8 => string(rest)?.to_owned(),
        9 => {
            let (kind, len) = (rest.u32()?, rest.u64()?);
            let depth = depth.checked_sub(1).ok_or("its lists are too deep")?;
            for _ in 0..len {
                pass(rest, kind, depth)?;
            }
            return Ok(None);
        }
        10 => rest.u64()?.to_string(),
        11 => (rest.u64()? as i64).to_string(),
        12 => f64::from_bits(rest.u64()?).to_string(),
        _ => return Err(format!("a fact of type {kind} is not known")),
    }))
}

/// Passes over a fact.
fn pass(rest: &mut Rest, kind: u32, depth: usize) -> Result<(), String> {
    match kind {
        0 | 1 | 7 => rest.take(1).map(drop),
        2 | 3 => rest.take(2).map(drop),
        4..=6 => rest.take(4).map(drop),
        8 => string(rest).map(drop),
        10..=12 => rest.take(8).map(drop),
        _ => fact(rest, kind, depth).map(drop),
    }
}
