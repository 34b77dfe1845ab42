//! A file, read where it is asked for. Takes a path; gives the bytes of places in it, each by a read of its own, so that a file
//! that becomes shorter meanwhile is an error like any other.

use std::borrow::Cow;
use std::cell::OnceCell;
use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

/// A file that is open, or bytes that are in memory.
pub struct Input {
    held: Held,
    len: usize,
}

enum Held {
    File(File),
    Memory(Vec<u8>),
}

impl From<Vec<u8>> for Input {
    fn from(bytes: Vec<u8>) -> Input {
        Input { len: bytes.len(), held: Held::Memory(bytes) }
    }
}

impl Input {
    /// Opens a file. What is not a regular file, such as a pipe, is read to its end.
    ///
    /// # Errors
    /// When it cannot be opened, or is a folder or a device.
    pub fn open(path: &Path) -> io::Result<Input> {
        let (mut file, about) = crate::files::open(path)?;
        if about.is_file() && about.len() > 0 {
            let len = usize::try_from(about.len()).map_err(|_| io::Error::from(io::ErrorKind::FileTooLarge))?;
            return Ok(Input { held: Held::File(file), len });
        }
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(bytes.into())
    }

    /// Whether it has no bytes, or had none when it was opened.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many bytes it has, or had when it was opened.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The bytes of a range.
    ///
    /// # Errors
    /// When the file does not have them, or no longer, or memory is short.
    pub fn bytes(&self, range: Range<usize>) -> Result<Cow<'_, [u8]>, String> {
        if range.start > range.end || range.end > self.len {
            return Err(format!("bytes {range:?} are not among its {}", self.len));
        }
        match &self.held {
            Held::Memory(bytes) => Ok(Cow::Borrowed(&bytes[range])),
            Held::File(file) => {
                let mut bytes = Vec::new();
                bytes.try_reserve_exact(range.len()).map_err(|_| format!("no memory for {} bytes", range.len()))?;
                bytes.resize(range.len(), 0);
                read_at(file, &mut bytes, range.start as u64).map_err(|error| match error.kind() {
                    io::ErrorKind::UnexpectedEof => {
                        "it is shorter than when it was opened: it is being written, or was cut short".to_owned()
                    }
                    _ => format!("it cannot be read: {error}"),
                })?;
                Ok(Cow::Owned(bytes))
            }
        }
    }
}

/// Reads all of `bytes` from a place of a file, whatever others read.
#[cfg(unix)]
fn read_at(file: &File, bytes: &mut [u8], at: u64) -> io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, at)
}

/// As above.
#[cfg(windows)]
fn read_at(file: &File, mut bytes: &mut [u8], mut at: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        let count = std::os::windows::fs::FileExt::seek_read(file, bytes, at)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        bytes = &mut bytes[count..];
        at += count as u64;
    }
    Ok(())
}

/// A look at a file, which keeps what it has read until it ends.
pub struct View<'f> {
    input: &'f Input,
    first: OnceCell<Box<Kept>>,
}

/// Bytes that were read, and those that were read after them.
struct Kept {
    bytes: Vec<u8>,
    next: OnceCell<Box<Kept>>,
}

impl<'f> View<'f> {
    /// Of a file.
    pub fn new(input: &'f Input) -> View<'f> {
        View { input, first: OnceCell::new() }
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.input.is_empty()
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.input.len()
    }

    /// The bytes of a range.
    ///
    /// # Errors
    /// As [`Input::bytes`].
    pub fn bytes(&self, range: Range<usize>) -> Result<&[u8], String> {
        match self.input.bytes(range)? {
            Cow::Borrowed(bytes) => Ok(bytes),
            Cow::Owned(bytes) => {
                let mut place = &self.first;
                while let Some(kept) = place.get() {
                    place = &kept.next;
                }
                Ok(&place.get_or_init(|| Box::new(Kept { bytes, next: OnceCell::new() })).bytes)
            }
        }
    }

    /// The first bytes: `most`, or all if it has fewer.
    ///
    /// # Errors
    /// As [`Input::bytes`].
    pub fn start(&self, most: usize) -> Result<&[u8], String> {
        self.bytes(0..most.min(self.len()))
    }
}

/// Without this, what was kept in a long list would be dropped by a function that calls itself as often.
impl Drop for View<'_> {
    fn drop(&mut self) {
        let mut next = self.first.take();
        while let Some(mut kept) = next {
            next = kept.next.take();
        }
    }
}
