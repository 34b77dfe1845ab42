//! Files of weights that become shorter after they were opened: reading them is an error and no signal.
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

use crate::formats::golden;
use crate::scratch::Scratch;
use dlc::Tensor;
use dlc::weights::file::TensorFile;
use dlc::weights::{save, write_each};
use std::collections::BTreeMap;
use std::fs::{OpenOptions, copy};
use std::path::Path;

/// Opens a file, cuts it, and gives what reading its tensors says, or nothing where all could be read.
fn cut(path: &Path, len: u64) -> Option<String> {
    let file = TensorFile::open(path).unwrap();
    OpenOptions::new().write(true).open(path).unwrap().set_len(len).unwrap();
    let read = |name: &str| file.read(name).unwrap().err();
    file.names().find_map(read).map(|error| error.to_string())
}

#[test]
fn a_file_that_is_cut_short_between_listing_and_reading_is_an_error() {
    let dir = Scratch::new();
    let path = dir.path("large.safetensors");
    let big = Tensor::from_f32(vec![1 << 20], vec![1.5; 1 << 20]).unwrap();
    save(&path, &[("a", &big), ("b", &big)], &BTreeMap::new()).unwrap();
    let said = cut(&path, 5 << 20).unwrap();
    assert!(said.contains("cannot use `b`") && said.contains("shorter than when it was opened"), "{said}");
    save(&path, &[("a", &big)], &BTreeMap::new()).unwrap();
    assert!(cut(&path, 0).unwrap().contains("shorter than when it was opened"));
}

#[test]
fn every_format_is_read_so() {
    for name in ["stored.npz", "packed.npz", "quantized.gguf", "new.pth", "old.pth"] {
        let dir = Scratch::new();
        let path = dir.path(name);
        copy(golden(name), &path).unwrap();
        let said = cut(&path, 16).unwrap_or_default();
        assert!(said.contains("shorter than when it was opened"), "{name}: {said}");
    }
}

#[test]
fn a_header_that_is_cut_short_is_an_error() {
    let dir = Scratch::new();
    let path = dir.path("w.safetensors");
    write_each(&mut std::fs::File::create(&path).unwrap(), &[], &BTreeMap::new(), |_, _| Ok(())).unwrap();
    OpenOptions::new().write(true).open(&path).unwrap().set_len(9).unwrap();
    assert!(TensorFile::open(&path).err().unwrap().to_string().contains("cut short"));
}
