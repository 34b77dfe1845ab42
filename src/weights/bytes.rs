//! Reading numbers from the front of bytes, none of which is believed: what is cut short gives a reason.

/// What is left to be read.
pub struct Rest<'a> {
    all: &'a [u8],
    at: usize,
}

impl<'a> Rest<'a> {
    /// All of some bytes.
    pub fn new(all: &'a [u8]) -> Rest<'a> {
        Rest { all, at: 0 }
    }

    /// How many bytes have been read.
    pub fn at(&self) -> usize {
        self.at
    }

    /// How many bytes have not been read.
    pub fn left(&self) -> usize {
        self.all.len() - self.at
    }

    /// Whether all has been read.
    pub fn is_empty(&self) -> bool {
        self.at == self.all.len()
    }

    /// The next `count` bytes.
    pub fn take(&mut self, count: u64) -> Result<&'a [u8], String> {
        let left = self.left();
        match usize::try_from(count) {
            Ok(count) if count <= left => {
                self.at += count;
                Ok(&self.all[self.at - count..self.at])
            }
            _ => Err(format!("{count} bytes should follow at byte {}, and {left} do: it is cut short", self.at)),
        }
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
        let left = &self.all[self.at..];
        let end = left.iter().position(|byte| *byte == b'\n').ok_or("a line does not end")?;
        self.at += end + 1;
        Ok(&left[..end])
    }
}

/// Bytes as text.
pub fn text(bytes: &[u8]) -> Result<&str, String> {
    std::str::from_utf8(bytes).map_err(|_| format!("{} is not UTF-8 text", bytes[..bytes.len().min(40)].escape_ascii()))
}
