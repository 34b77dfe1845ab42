//! Files of ids: numbers of one type one after the other, low byte first, perhaps gzipped. Gives them in order.

use crate::error::{Error, Result, code};
use dlc_plan::recipe::Arg;
use std::io::Read;
use std::path::{Path, PathBuf};

/// What the column is called.
pub const NAME: &str = "tokens";

/// How an id is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    U8,
    U16,
    I32,
    U32,
    I64,
}

impl Width {
    fn of(args: &[(String, Arg)]) -> Result<Width> {
        match args.iter().find(|(name, _)| name == "dtype").map(|(_, arg)| arg) {
            None => Ok(Width::U16),
            Some(Arg::Text(name)) if name == "u8" => Ok(Width::U8),
            Some(Arg::Text(name)) if name == "u16" => Ok(Width::U16),
            Some(Arg::Text(name)) if name == "i32" => Ok(Width::I32),
            Some(Arg::Text(name)) if name == "u32" => Ok(Width::U32),
            Some(Arg::Text(name)) if name == "i64" => Ok(Width::I64),
            Some(other) => {
                Err(Error::spec(code::NO_COLUMN, format!("ids are u8, u16, i32, u32 or i64, and not {other:?}")))
            }
        }
    }

    fn bytes(self) -> usize {
        match self {
            Width::U8 => 1,
            Width::U16 => 2,
            Width::I32 | Width::U32 => 4,
            Width::I64 => 8,
        }
    }

    /// An id; what is negative or wider than 32 bits is none.
    fn id(self, bytes: &[u8]) -> Option<u32> {
        let mut eight = [0; 8];
        eight[..bytes.len()].copy_from_slice(bytes);
        let value = u64::from_le_bytes(eight);
        let value =
            if self == Width::I32 { u64::from_ne_bytes(i64::from(value as u32 as i32).to_ne_bytes()) } else { value };
        u32::try_from(value).ok()
    }
}

/// Reads files one after the other.
pub fn read(paths: &[PathBuf], args: &[(String, Arg)]) -> Result<Vec<u32>> {
    let width = Width::of(args)?;
    let mut ids = Vec::new();
    for path in paths {
        read_file(path, width, &mut ids)?;
    }
    Ok(ids)
}

fn read_file(path: &Path, width: Width, ids: &mut Vec<u32>) -> Result<()> {
    let mut bytes = Vec::new();
    super::open(path)?.read_to_end(&mut bytes).map_err(|error| Error::reading(path, &error))?;
    let bad =
        |why: String| Error::file(code::BAD_FILE, format!("{} is not a sound file of ids: {why}", path.display()));
    let each = width.bytes();
    if !bytes.len().is_multiple_of(each) {
        return Err(bad(format!("{} bytes are no whole number of ids of {each} bytes", bytes.len())));
    }
    ids.reserve(bytes.len() / each);
    for (at, id) in bytes.chunks_exact(each).enumerate() {
        ids.push(width.id(id).ok_or_else(|| bad(format!("id {at} is negative, or 2^32 or more")))?);
    }
    Ok(())
}
