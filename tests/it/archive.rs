//! Archives, arrays and pickles written by hand, so that tests can write wrong ones.

use flate2::{Compression, Crc, write::DeflateEncoder};
use std::io::Write;

/// A member of a zip archive, with everything that an archive says of it.
#[derive(Clone)]
pub struct Member {
    pub name: String,
    /// The name in its own header.
    pub local_name: String,
    pub flags: u16,
    pub method: u16,
    pub crc: u32,
    pub size: u32,
    pub packed_size: u32,
    pub bytes: Vec<u8>,
    /// Where it is said to be; none for where it is.
    pub at: Option<u32>,
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// A member that is not packed.
pub fn stored(name: &str, bytes: &[u8]) -> Member {
    let size = bytes.len() as u32;
    let (name, local_name, bytes) = (name.to_owned(), name.to_owned(), bytes.to_vec());
    Member { crc: crc(&bytes), name, local_name, flags: 0, method: 0, size, packed_size: size, bytes, at: None }
}

/// A member that is packed.
pub fn deflated(name: &str, bytes: &[u8]) -> Member {
    let mut packer = DeflateEncoder::new(Vec::new(), Compression::best());
    packer.write_all(bytes).expect("memory takes it");
    let packed = packer.finish().expect("memory takes it");
    Member { method: 8, packed_size: packed.len() as u32, bytes: packed, ..stored(name, bytes) }
}

/// An archive.
pub fn zip(members: &[Member]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for m in members {
        let at = m.at.unwrap_or(out.len() as u32);
        let fields = |version: &[u8]| {
            let mut bytes = version.to_vec();
            bytes.extend([m.flags.to_le_bytes(), m.method.to_le_bytes(), [0; 2], [0; 2]].concat());
            bytes.extend([m.crc.to_le_bytes(), m.packed_size.to_le_bytes(), m.size.to_le_bytes()].concat());
            bytes
        };
        let lens = |name: &str| [(name.len() as u16).to_le_bytes(), [0; 2]].concat();
        out.extend([&b"PK\x03\x04"[..], &fields(&[20, 0]), &lens(&m.local_name), m.local_name.as_bytes()].concat());
        out.extend(&m.bytes);
        directory.extend([&b"PK\x01\x02"[..], &fields(&[20, 0, 20, 0]), &lens(&m.name), &[0; 10]].concat());
        directory.extend([&at.to_le_bytes()[..], m.name.as_bytes()].concat());
    }
    let (first, size, count) = (out.len() as u32, directory.len() as u32, (members.len() as u16).to_le_bytes());
    out.extend(directory);
    out.extend(
        [&b"PK\x05\x06\0\0\0\0"[..], &count, &count, &size.to_le_bytes(), &first.to_le_bytes(), &[0; 2]].concat(),
    );
    out
}

/// An array of NumPy with this header.
pub fn npy(header: &str, elements: &[u8]) -> Vec<u8> {
    let len = (header.len() as u16).to_le_bytes();
    [&b"\x93NUMPY\x01\x00"[..], &len, header.as_bytes(), elements].concat()
}

/// The header of an array.
pub fn described(descr: &str, shape: &str) -> String {
    format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}")
}

/// A text in a pickle.
pub fn word(text: &str) -> Vec<u8> {
    [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat()
}

/// A whole number in a pickle.
pub fn int(number: i64) -> Vec<u8> {
    [&b"\x8a\x08"[..], &number.to_le_bytes()].concat()
}

/// A tuple of whole numbers in a pickle.
pub fn ints(numbers: &[i64]) -> Vec<u8> {
    let numbers: Vec<u8> = numbers.iter().flat_map(|number| int(*number)).collect();
    [b"(", &numbers[..], b"t"].concat()
}

/// A tensor of f32 in a pickle: the elements of its storage `0`, the place of its first, its shape and its strides.
pub fn tensor(count: i64, first: i64, shape: &[i64], strides: &[i64]) -> Vec<u8> {
    let storage =
        [&b"("[..], &word("storage"), b"ctorch\nFloatStorage\n", &word("0"), &word("cpu"), &int(count), b"tQ"];
    let rest = [&int(first)[..], &ints(shape), &ints(strides), b"\x89}tR"];
    [&b"ctorch._utils\n_rebuild_tensor_v2\n("[..], &storage.concat(), &rest.concat()].concat()
}

/// A pickle of a dictionary with these values.
pub fn dictionary(values: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut pickle = b"\x80\x02}".to_vec();
    for (name, value) in values {
        pickle.extend([&word(name)[..], value, b"s"].concat());
    }
    pickle.push(b'.');
    pickle
}

/// A file of PyTorch with this pickle and this storage `0`.
pub fn pth(pickle: &[u8], storage: &[u8]) -> Vec<u8> {
    zip(&[stored("w/data.pkl", pickle), stored("w/data/0", storage)])
}

/// An archive of members that are not packed, with all sizes and places where those of more than 32 bits are.
pub fn wide_zip(members: &[(&str, &[u8])]) -> Vec<u8> {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, bytes) in members {
        let (at, size, len) = (out.len() as u64, bytes.len() as u64, (name.len() as u16).to_le_bytes());
        let plain = (bytes.len() as u32).to_le_bytes();
        let start = [&[0; 8][..], &crc(bytes).to_le_bytes()].concat();
        out.extend([&b"PK\x03\x04\x2d\0"[..], &start, &plain, &plain, &len, &[0; 2], name.as_bytes(), bytes].concat());
        let extra =
            [&b"\x99\x99\x01\0x\x01\0\x18\0"[..], &size.to_le_bytes(), &size.to_le_bytes(), &at.to_le_bytes()].concat();
        let lens = [&len[..], &(extra.len() as u16).to_le_bytes(), &[0; 10]].concat();
        directory.extend([&b"PK\x01\x02\x2d\0\x2d\0"[..], &start, &[0xFF; 8], &lens, &[0xFF; 4]].concat());
        directory.extend([name.as_bytes(), &extra].concat());
    }
    let (first, size, count) = (out.len() as u64, directory.len() as u64, (members.len() as u64).to_le_bytes());
    let record = first + size;
    out.extend(directory);
    out.extend([&b"PK\x06\x06\x2c\0\0\0\0\0\0\0\x2d\0\x2d\0\0\0\0\0\0\0\0\0"[..], &count, &count].concat());
    out.extend([size.to_le_bytes(), first.to_le_bytes()].concat());
    out.extend([&b"PK\x06\x07\0\0\0\0"[..], &record.to_le_bytes(), &[1, 0, 0, 0]].concat());
    out.extend([&b"PK\x05\x06\0\0\0\0"[..], &[0xFF; 12], &[0; 2]].concat());
    out
}
