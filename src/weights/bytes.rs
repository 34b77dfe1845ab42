//! Reading numbers from the front of bytes, none of which is believed: what is cut short gives a reason.

use super::input::View;
use std::ops::Range;

/// So much of a file is read at once to begin with, then twice as much, up to the most.
const AT_ONCE: usize = 1 << 12;
const MOST_AT_ONCE: usize = 1 << 20;

/// What is left to be read, of bytes or of a range of a file.
pub struct Rest<'a> {
    /// The file, and where in it the range begins.
    file: Option<(&'a View<'a>, usize)>,
    len: usize,
    at: usize,
    /// What has been read of the file, or the bytes, and where they begin.
    window: &'a [u8],
    first: usize,
}

impl<'a> Rest<'a> {
    /// All of some bytes.
    pub fn new(all: &'a [u8]) -> Rest<'a> {
        Rest { file: None, len: all.len(), at: 0, window: all, first: 0 }
    }

    /// A range of a file, which is one of its.
    pub fn of(file: &'a View<'a>, range: Range<usize>) -> Rest<'a> {
        Rest { file: Some((file, range.start)), len: range.len(), at: 0, window: &[], first: 0 }
    }

    /// Takes in at least `count` bytes from where it is; there are as many.
    fn look(&mut self, count: usize) -> Result<(), String> {
        if self.at + count <= self.first + self.window.len() {
            return Ok(());
        }
        if let Some((file, start)) = self.file {
            let wanted = (2 * self.window.len()).clamp(AT_ONCE, MOST_AT_ONCE).max(count).min(self.left());
            self.window = file.bytes(start + self.at..start + self.at + wanted)?;
            self.first = self.at;
        }
        Ok(())
    }

    /// The next `count` bytes, if there are as many.
    fn checked(&self, count: u64) -> Result<usize, String> {
        let left = self.left();
        let fits = usize::try_from(count).ok().filter(|count| *count <= left);
        fits.ok_or_else(|| format!("{count} bytes should follow at byte {}, and {left} do: it is cut short", self.at))
    }

    /// Passes over the next `count` bytes.
    pub fn skip(&mut self, count: u64) -> Result<(), String> {
        self.at += self.checked(count)?;
        Ok(())
    }

    /// How many bytes have been read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// How many bytes have not been read.
    pub fn left(&self) -> usize {
        self.len - self.at
    }

    /// Whether all has been read.
    pub fn is_empty(&self) -> bool {
        self.at == self.len
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: u64) -> Result<&'a [u8], String> {
        let count = self.checked(count)?;
        if count == 0 {
            return Ok(&[]);
        }
        self.look(count)?;
        let from = self.at - self.first;
        self.at += count;
        Ok(&self.window[from..from + count])
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        Ok(self.take(N as u64)?.try_into().expect("as many bytes as were asked for"))
    }

    /// A byte.
    pub fn u8(&mut self) -> Result<u8, String> {
        self.array::<1>().map(|[byte]| byte)
    }

    /// Two bytes, the low one first.
    pub fn u16(&mut self) -> Result<u16, String> {
        self.array().map(u16::from_le_bytes)
    }

    /// Four bytes, the low one first.
    pub fn u32(&mut self) -> Result<u32, String> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes, the low one first.
    pub fn u64(&mut self) -> Result<u64, String> {
        self.array().map(u64::from_le_bytes)
    }

    /// The bytes before the next end of a line, which is read as well.
    pub fn line(&mut self) -> Result<&'a [u8], String> {
        let mut count = AT_ONCE.min(self.left());
        loop {
            self.look(count)?;
            let left = self.window.get(self.at - self.first..).unwrap_or_default();
            if let Some(end) = left.iter().position(|byte| *byte == b'\n') {
                self.at += end + 1;
                return Ok(&left[..end]);
            }
            if left.len() >= self.left() {
                return Err("a line does not end".into());
            }
            count = (2 * left.len()).min(self.left());
        }
    }
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8 text", bytes[..bytes.len().min(40)].escape_ascii()))
}
