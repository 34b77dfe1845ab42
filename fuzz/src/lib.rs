//! What fuzz targets do with their bytes. Those of weights open them as a file of tensors, list them, and read each tensor. Those
//! of specs make or change a text by them, and hold what the compiler's own tests hold (`compiler/tests/it/fuzzed`).

#[path = "../../compiler/tests/it/fuzzed/mod.rs"]
pub mod fuzzed;
#[expect(dead_code, reason = "some of it is for tests alone")]
#[path = "../../compiler/tests/it/simulate.rs"]
mod simulate;
#[expect(dead_code, reason = "some of it is for tests alone")]
mod support;

use dlc::weights::convert::table;
use dlc::weights::file::TensorFile;
use dlc::weights::input::Input;
use std::path::Path;

/// Asserts that nothing is wrong with what a text has become.
pub fn hold(what: Result<(), String>, text: &str) {
    if let Err(why) = what {
        panic!("{why}\n{text}");
    }
}

/// What all shards of an index are.
const SHARD: &[u8] = include_bytes!("../../tests/golden/weights/sharded/model-00001-of-00002.safetensors");

/// Reads all that there is. Whatever is wrong has to be an error; what is read has to be as large as its shape says.
pub fn tensors(bytes: &[u8]) {
    let mut shards = |_: &Path| Ok(Input::from(SHARD.to_vec()));
    let Ok(file) = TensorFile::of(Path::new("fuzzed"), bytes.to_vec().into(), &mut shards) else { return };
    assert!(!table(&file).is_empty());
    for name in file.names() {
        let stored = file.get(name).expect("the name is one of the file's");
        if let Some(Ok(tensor)) = file.read(name) {
            assert_eq!((tensor.shape(), Some(tensor.dtype())), (stored.shape, stored.elements.read_as()));
        }
    }
}

/// An archive of members that are not packed.
pub fn archive(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let (at, len) = (out.len() as u32, (bytes.len() as u32).to_le_bytes());
        let fields =
            [&[0; 8][..], &checksum(bytes).to_le_bytes(), &len, &len, &(name.len() as u16).to_le_bytes(), &[0; 2]];
        let fields = fields.concat();
        out.extend([&b"PK\x03\x04\0\0"[..], &fields, name.as_bytes(), bytes].concat());
        directory.extend([&b"PK\x01\x02\0\0\0\0"[..], &fields, &[0; 10], &at.to_le_bytes(), name.as_bytes()].concat());
    }
    let (count, size) = ((members.len() as u16).to_le_bytes(), (directory.len() as u32).to_le_bytes());
    let first = (out.len() as u32).to_le_bytes();
    out.extend([&directory[..], b"PK\x05\x06\0\0\0\0", &count, &count, &size, &first, &[0; 2]].concat());
    out
}

/// The CRC-32 that archives use.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| if crc & 1 == 1 { crc >> 1 ^ 0xEDB8_8320 } else { crc >> 1 })
    })
}
