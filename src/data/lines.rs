//! Lines and rows, read one by one. A file may be one line without end, so that there is an end to how long a line may be.

use std::io::{self, BufRead, Read};

/// The variable that sets [`longest`].
const LINE: &str = "DLC_LIMIT_LINE";

/// The most bytes of a line of text, of an object in JSON or of a row of a table.
fn longest() -> u64 {
    std::env::var(LINE).ok().and_then(|n| n.parse().ok()).unwrap_or(16 << 20)
}

fn too_long(longest: u64) -> io::Error {
    let message = format!("it has a line of more than {longest} bytes; {LINE} sets that number");
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Puts the next line in the place of `line`, with what ends it; false at the end of the file.
pub(super) fn next(file: &mut dyn BufRead, line: &mut Vec<u8>) -> io::Result<bool> {
    let longest = longest();
    line.clear();
    file.take(longest.saturating_add(1)).read_until(b'\n', line)?;
    if line.len() as u64 > longest {
        return Err(too_long(longest));
    }
    Ok(!line.is_empty())
}

/// A file that is read in rows, each of which may take so many bytes.
pub(super) struct Rows<R> {
    file: R,
    longest: u64,
    /// The bytes that were read since a row began.
    read: u64,
}

impl<R> Rows<R> {
    pub(super) fn new(file: R) -> Rows<R> {
        Rows { file, longest: longest(), read: 0 }
    }

    /// Says that a row begins.
    pub(super) fn begin(&mut self) {
        self.read = 0;
    }
}

impl<R: Read> Read for Rows<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        // What is read at a time may hold the ends of rows, so that the last piece does not count.
        if self.read > self.longest {
            return Err(too_long(self.longest));
        }
        let n = self.file.read(into)?;
        self.read = self.read.saturating_add(n as u64);
        Ok(n)
    }
}
