//! How much a spec may ask of the compiler before that is taken for a slip. The environment can set other numbers, since a
//! spec is compiled by the command line and by `model!` alike.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

/// The variable that sets [`most_bytes`].
pub const BYTES: &str = "DLC_LIMIT_BYTES";

/// The variable that sets [`most_steps`].
pub const STEPS: &str = "DLC_LIMIT_STEPS";

/// The bytes that one file of a spec may have.
pub fn most_bytes() -> u64 {
    set(BYTES).unwrap_or(1 << 20)
}

/// The steps in which a spec is to be worked through: expressions, tensors, iterations.
pub fn most_steps() -> u64 {
    set(STEPS).unwrap_or(1_000_000)
}

fn set(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// The bytes of a file of a spec. No more is read than it may have.
///
/// # Errors
/// The file cannot be read, or is longer.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let most = most_bytes();
    let mut bytes = Vec::new();
    File::open(path)?.take(most.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        let message = format!("it has more than {most} bytes, the most for a file of a spec; {BYTES} sets that number");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(bytes)
}

/// The text of a file of a spec.
///
/// # Errors
/// The file cannot be read, is longer than it may be, or is no text.
pub fn read_text(path: &Path) -> io::Result<String> {
    String::from_utf8(read(path)?).map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8 text"))
}
