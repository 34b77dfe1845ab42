//! The bytes of a file, mapped into memory where the system can. Takes a path, gives something that is a `&[u8]`.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Deref;
use std::path::Path;

/// The bytes of a file.
pub struct Bytes(Held);

enum Held {
    Mapped(memmap2::Mmap),
    Read(Vec<u8>),
}

impl Bytes {
    /// Opens a file. What is not a regular file, such as a pipe, is read to its end.
    ///
    /// A file that is being used must not be changed in place: writers make a new file and give it the old one's name, as
    /// all files that dlc writes are made.
    pub fn open(path: &Path) -> io::Result<Bytes> {
        let mut file = File::open(path)?;
        let about = file.metadata()?;
        if about.is_dir() {
            return Err(io::Error::new(io::ErrorKind::IsADirectory, "this is a folder"));
        }
        if !about.is_file() || about.len() == 0 {
            let mut bytes = Vec::new();
            file.read_to_end(&mut bytes)?;
            return Ok(Bytes(Held::Read(bytes)));
        }
        // SAFETY: the map is only read, as bytes, which may have any value. It stays valid while it is held, unless another
        // process shortens the file in place; the documentation above asks that no one does.
        let map = unsafe { memmap2::Mmap::map(&file)? };
        Ok(Bytes(Held::Mapped(map)))
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Bytes {
        Bytes(Held::Read(bytes))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.0 {
            Held::Mapped(map) => map,
            Held::Read(bytes) => bytes,
        }
    }
}
