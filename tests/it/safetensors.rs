//! Safetensors files, sound and hostile.

use crate::scratch::Scratch;
use dlc::Tensor;
use dlc::error::Kind;
use dlc::weights::file::TensorFile;
use dlc::weights::write;
use std::collections::BTreeMap;
use std::path::Path;

fn file(header: &str, elements: usize) -> Vec<u8> {
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header.bytes());
    bytes.resize(bytes.len() + elements, 7);
    bytes
}

fn entry(name: &str, dtype: &str, shape: &str, from: u64, to: u64) -> String {
    format!(r#""{name}":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{from},{to}]}}"#)
}

#[test]
fn what_is_written_is_read_again() {
    let dir = Scratch::new();
    let path = dir.path("w.safetensors");
    let mask = Tensor::from_bool(vec![3], vec![true, false, true]).expect("three truths");
    let weight = Tensor::from_f32(vec![2, 3], vec![0.5, -1.0, f32::NAN, 3e-40, 0.0, -0.0]).expect("six numbers");
    let none = Tensor::from_i64(vec![0, 4], Vec::new()).expect("no numbers");
    let tensors = [("mask", &mask), ("fc.weight", &weight), ("none", &none)];
    let about = ["step", "epoch", "seed", "a \"quoted\" name"].map(|name| (name.to_owned(), "12".to_owned()));
    let about = BTreeMap::from(about);
    dlc::files::write_whole(&path, |out| write(out, &tensors, &about)).expect("it can be written");
    let read = TensorFile::open(&path).expect("it is sound");
    assert_eq!(read.names().collect::<Vec<_>>(), ["fc.weight", "mask", "none"]);
    for (name, tensor) in tensors {
        assert_eq!(&read.read(name).expect("it is there").expect("it is sound"), tensor);
    }
    assert_eq!(read.about(), &about);
    assert!(read.get("other").is_none());
    let bytes = std::fs::read(&path).expect("it is there");
    assert_eq!(bytes.len() % 8, 3);
    for _ in 0..20 {
        dlc::files::write_whole(&path, |out| write(out, &tensors, &about)).expect("it can be written");
        assert!(std::fs::read(&path).expect("it is there") == bytes, "equal tensors give equal files");
    }
    dlc::files::write_whole(&path, |out| write(out, &[], &about)).expect("it can be written");
    assert_eq!(TensorFile::open(&path).expect("it is sound").about(), &about);
}

#[test]
fn elements_that_are_no_numbers_of_ours_are_refused() {
    let dir = Scratch::new();
    let header = format!("{{{},{}}}", entry("a", "F8_E4M3", "[2]", 0, 2), entry("b", "BOOL", "[2]", 2, 4));
    let path = dir.file("w.safetensors", file(&header, 4));
    let read = TensorFile::open(&path).expect("its header is sound");
    let why = |name| read.read(name).expect("it is there").expect_err("it cannot be used").message;
    assert_eq!(
        why("a"),
        format!("cannot use `a` of {}: its elements are F8_E4M3, which dlc does not read", path.display())
    );
    assert!(why("b").ends_with("element 0 is 7, expected 0 or 1 for a bool"), "{}", why("b"));
}

#[test]
fn hostile_files_are_refused_with_a_reason() {
    let dir = Scratch::new();
    let huge = u64::MAX / 4 * 3;
    let cases = [
        ("nothing", Vec::new(), "it has 0 bytes"),
        ("short", vec![1, 2, 3], "it has 3 bytes"),
        ("length", file("{}", 0)[..9].to_vec(), "its header should have 2 bytes, and 1 follow: it is cut short"),
        (
            "absurd length",
            [&[0xFF; 8][..], b"{\"a\":{}}    "].concat(),
            "its header should have 18446744073709551615 bytes, and 12 follow",
        ),
        (
            "no format",
            vec![0xFF; 20],
            "its first bytes, `\\xff\\xff\\xff\\xff\\xff\\xff\\xff\\xff`, are those of no format",
        ),
        ("no json", file("hello", 0), "its header says: expected value at line 1 column 1"),
        ("no text", vec![2, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFE], "its header says"),
        ("deep", file(&"[".repeat(100_000), 0), "its header says"),
        ("no object", file("[]", 0), "its header says"),
        ("other fields", file(r#"{"a":{"dtype":"F32"}}"#, 0), "its header says"),
        ("unknown type", file(&format!("{{{}}}", entry("a", "F33", "[1]", 0, 4)), 4), "its header says"),
        (
            "cut elements",
            file(&format!("{{{}}}", entry("a", "F32", "[2]", 0, 8)), 7),
            "its tensors take 8 bytes, and 7 follow the header: it is cut short",
        ),
        (
            "more elements",
            file(&format!("{{{}}}", entry("a", "F32", "[2]", 0, 8)), 9),
            "its tensors take 8 bytes, and 9 follow the header",
        ),
        ("shape and place", file(&format!("{{{}}}", entry("a", "F32", "[3]", 0, 8)), 8), "its header says"),
        (
            "gap",
            file(&format!("{{{},{}}}", entry("a", "F32", "[1]", 0, 4), entry("b", "F32", "[1]", 8, 12)), 12),
            "its header says",
        ),
        (
            "overlap",
            file(&format!("{{{},{}}}", entry("a", "F32", "[2]", 0, 8), entry("b", "F32", "[2]", 4, 12)), 12),
            "its header says",
        ),
        (
            "twice",
            file(&format!("{{{},{}}}", entry("a", "F32", "[1]", 0, 4), entry("a", "F32", "[1]", 0, 4)), 4),
            "its header says: `a` is there twice",
        ),
        ("backwards", file(&format!("{{{}}}", entry("a", "F32", "[1]", 4, 0)), 4), "its header says"),
        ("negative", file(r#"{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}"#, 4), "its header says"),
        (
            "product",
            file(&format!("{{{}}}", entry("a", "F32", "[4294967296,4294967296,4294967296]", 0, 4)), 4),
            "its header says",
        ),
        (
            "sum",
            file(
                &format!(
                    "{{{},{}}}",
                    entry("a", "U8", &format!("[{huge}]"), 0, huge),
                    entry("b", "U8", &format!("[{huge}]"), huge, 8)
                ),
                8,
            ),
            "its header says",
        ),
        (
            "long and empty",
            file(&format!("{{{}}}", entry("a", "F32", "[9223372036854775807,0]", 0, 0)), 0),
            "`a`: its shape is [9223372036854775807, 0], and it has no elements",
        ),
    ];
    for (name, bytes, why) in cases {
        let path = dir.file("bad.safetensors", bytes);
        let Err(error) = TensorFile::open(&path) else { panic!("{name} was accepted") };
        assert_eq!((error.kind, error.code), (Kind::Files, "E0610"), "{name}: {error}");
        let start = format!("{} is not a sound safetensors file: ", path.display());
        let said = error.message.strip_prefix(&start).unwrap_or_else(|| panic!("{name}: {error}"));
        assert!(said.starts_with(why), "{name}: {said}");
    }
}

/// Eight tensors of 2^61 bytes each add up to zero in 64 bits; none of them is there.
#[test]
fn lengths_that_overflow_together_are_refused() {
    let dir = Scratch::new();
    let each = 1u64 << 61;
    let entries: Vec<String> = (0..8)
        .map(|i| entry(&format!("t{i}"), "U8", &format!("[{each}]"), each * i, each.wrapping_mul(i + 1)))
        .collect();
    let path = dir.file("bad.safetensors", file(&format!("{{{}}}", entries.join(",")), 0));
    assert!(TensorFile::open(&path).is_err());
    // The same with lengths that end just below 2^64, which a sum with the header's length would pass.
    let last = u64::MAX - 7 - each * 7;
    let mut entries = entries;
    entries[7] = entry("t7", "U8", &format!("[{last}]"), each * 7, each * 7 + last);
    let path = dir.file("bad.safetensors", file(&format!("{{{}}}", entries.join(",")), 0));
    assert!(TensorFile::open(&path).is_err());
}

#[test]
fn files_that_cannot_be_opened_are_named() {
    let dir = Scratch::new();
    let error = |path: &Path| TensorFile::open(path).err().expect("it is no file").message;
    let missing = dir.path("none.safetensors");
    assert_eq!(error(&missing), format!("cannot read {}: no such file or directory", missing.display()));
    let folder = dir.path("");
    assert_eq!(error(&folder), format!("cannot read {}: this is a folder", folder.display()));
}
