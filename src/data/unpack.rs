//! What is gzipped, unpacked as it is read. A small file can unpack to more than there is room for, so that there is an end to how many
//! times its length it may come to.

use flate2::bufread::MultiGzDecoder;
use std::fs::File;
use std::io::{self, BufReader, Read};

/// The variable that sets [`times`].
const UNPACKED: &str = "DLC_LIMIT_UNPACKED";

/// So much may come of any file.
const LITTLE: u64 = 1 << 24;

/// How many times its length a file may come to.
fn times() -> u64 {
    std::env::var(UNPACKED).ok().and_then(|n| n.parse().ok()).unwrap_or(100)
}

/// The unpacked bytes of a file, up to a most.
pub(super) struct Unpacked {
    decoder: MultiGzDecoder<BufReader<File>>,
    /// The length of the file.
    packed: u64,
    done: u64,
    most: u64,
}

impl Unpacked {
    /// A gzipped file of that length, from its beginning.
    pub(super) fn new(plain: BufReader<File>, packed: u64) -> Unpacked {
        let most = packed.saturating_mul(times()).max(LITTLE);
        Unpacked { decoder: MultiGzDecoder::new(plain), packed, done: 0, most }
    }
}

impl Read for Unpacked {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let n = self.decoder.read(into)?;
        self.done = self.done.saturating_add(n as u64);
        if self.done > self.most {
            let (packed, times) = (self.packed, times());
            return Err(io::Error::other(format!(
                "its {packed} bytes unpack to more than {times} times as many; {UNPACKED} sets that number"
            )));
        }
        Ok(n)
    }
}
