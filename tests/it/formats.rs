//! Files of tensors of every format: what PyTorch, NumPy and gguf read in them, dlc reads too, bit by bit.

use crate::archive::{described, npy, stored, zip};
use crate::assets::asset;
use crate::scratch::Scratch;
use dlc::weights::file::{Format, TensorFile};
use dlc::{DType, Tensor};
use std::path::PathBuf;

/// A file of those that tests/golden/weights.py makes.
pub fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/weights").join(name)
}

fn open(name: &str) -> TensorFile {
    TensorFile::open(&golden(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn read(file: &TensorFile, name: &str) -> Tensor {
    file.read(name).unwrap_or_else(|| panic!("there is no `{name}`")).unwrap_or_else(|error| panic!("{name}: {error}"))
}

#[test]
fn every_format_is_read_as_its_own_library_reads_it() {
    let expected = open("expected.safetensors");
    let cases = [
        ("stored.npz", "stored.npz", Format::Npz),
        ("packed.npz", "packed.npz", Format::Npz),
        ("new.pth", "new.pth", Format::Torch),
        ("old.pth", "old.pth", Format::OldTorch),
        ("nested.pth", "nested.pth", Format::Torch),
        ("beside2.pth", "beside2.pth", Format::Torch),
        ("beside4.pth", "beside4.pth", Format::Torch),
        ("beside5.pth", "beside5.pth", Format::Torch),
        ("beside_old.pth", "beside_old.pth", Format::OldTorch),
        ("views.pth", "views.pth", Format::Torch),
        ("adapter", "adapter/adapter_model.bin", Format::Torch),
        ("sharded", "sharded/model.safetensors.index.json", Format::Index),
        ("quantized.gguf", "quantized.gguf", Format::Gguf),
    ];
    let mut compared = 0;
    for (start, path, format) in cases {
        let file = open(path);
        assert_eq!(file.format(), format, "{path}");
        let start = format!("{start}/");
        let names: Vec<&str> = expected.names().filter_map(|name| name.strip_prefix(&start)).collect();
        assert_eq!(file.names().collect::<Vec<_>>(), names, "{path}");
        for name in names {
            assert_eq!(read(&file, name), read(&expected, &format!("{start}{name}")), "{path}: {name}");
            compared += 1;
        }
    }
    assert_eq!(compared, expected.names().count());
}

#[test]
fn an_index_names_files_of_any_format() {
    let dir = Scratch::new();
    let names =
        ["0.weight", "0.bias", "1.weight", "1.bias", "1.running_mean", "1.running_var", "1.num_batches_tracked"];
    let map: Vec<String> = names.iter().map(|name| format!("\"{name}\": \"pytorch_model.bin\"")).collect();
    let index = format!("{{\"weight_map\": {{{}, \"a\": \"w.npz\"}}}}", map.join(", "));
    let path = dir.file("pytorch_model.bin.index.json", index);
    std::fs::copy(golden("nested.pth"), dir.path("pytorch_model.bin")).expect("it can be copied");
    dir.file("w.npz", zip(&[stored("a.npy", &npy(&described("<i2", "(2,)"), &[1, 0, 2, 0]))]));
    let file = TensorFile::open(&path).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(read(&file, "0.weight"), read(&open("nested.pth"), "0.weight"));
    assert_eq!(read(&file, "a").to_i32_vec(), Ok(vec![1, 2]));
}

#[test]
fn files_say_what_else_is_in_them() {
    let about = |name: &str, key: &str| open(name).about().get(key).cloned().unwrap_or_default();
    assert_eq!(about("packed.npz", "note"), "a note, ünïcode");
    assert_eq!(open("nested.pth").notes(), ["its weights are those under `state_dict`"]);
    assert_eq!(open("beside2.pth").notes(), ["its weights are those under `model_state_dict`"]);
    assert_eq!(open("views.pth").notes(), ["its weights are those under `mine`"]);
    assert_eq!(about("quantized.gguf", "general.architecture"), "llama");
    assert_eq!(about("quantized.gguf", "llama.block_count"), "1");
    assert_eq!(about("sharded/model.safetensors.index.json", "total_size"), "1");
}

/// A safetensors file whose header has that length: of one tensor of two bytes with as long a name as fits, or padded.
fn with_header(length: usize, padded: bool) -> Vec<u8> {
    let of = |name: &str| format!("{{\"{name}\":{{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}}}");
    let (mut header, elements) = match length.checked_sub(of("").len() + 1) {
        Some(spare) => (of(&"n".repeat(if padded { 1 } else { spare + 1 })), &[7, 8][..]),
        None => ("{}".to_owned(), &[][..]),
    };
    header.push_str(&" ".repeat(length - header.len()));
    [&(length as u64).to_le_bytes()[..], header.as_bytes(), elements].concat()
}

#[test]
fn a_safetensors_file_is_one_whatever_the_length_of_its_header() {
    let open = |bytes: Vec<u8>| {
        let mut none = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        TensorFile::of(std::path::Path::new("F"), bytes.into(), &mut none)
    };
    // Names may have 4096 bytes, so all of these may be without padding. In the longer ones the length's bytes are those of
    // a pickle of version 2, 3, 4 and 5 with an instruction, and of an archive.
    let long = [0x7D_0280, 0x28_0380, 0x95_0480, 0x7D_0580, 0x0A_4B50];
    for length in (2..=4096).chain(long) {
        for padded in [false, true] {
            if !padded && length > 4096 {
                continue;
            }
            let bytes = with_header(length, padded);
            let file = open(bytes.clone()).unwrap_or_else(|error| panic!("a header of {length} bytes: {error}"));
            assert_eq!(file.format(), Format::Safetensors, "{length}");
            for name in file.names() {
                assert_eq!(read(&file, name).bytes(), [7, 8], "{length}");
            }
            if length > 2048 {
                continue;
            }
            // Cut short, it is still no other format.
            for cut in [8, 9, bytes.len() - 1] {
                if cut < bytes.len() {
                    let said = open(bytes[..cut].to_vec()).map(drop).expect_err("it is cut").to_string();
                    assert!(said.contains("is not a sound safetensors file"), "{length}, {cut}: {said}");
                }
            }
        }
    }
}

#[test]
fn what_is_no_file_of_tensors_is_said() {
    let said = |bytes: &[u8]| {
        let mut none = |_: &std::path::Path| Err(std::io::ErrorKind::NotFound.into());
        let file = TensorFile::of(std::path::Path::new("F"), bytes.to_vec().into(), &mut none);
        file.map(drop).expect_err("it is none").to_string()
    };
    let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n";
    assert!(said(pointer).contains("`git lfs pull` fetches it"));
    assert!(said(b"<!DOCTYPE html><html></html>").contains("its first bytes, `<!DOCTYP`, are those of no format"));
    assert!(said(b"\x80\x02}q\x00.").contains("it is a pickle"));
    assert!(said(b"\x80\x04\x95\x05\0\0\0\0\0\0\0}\x94.").contains("it is a pickle"));
}

#[test]
fn an_index_overrules_what_its_files_have_besides() {
    let dir = Scratch::new();
    let of = |value: f32| Tensor::from_f32(vec![1], vec![value]).expect("it has one element");
    let save = |name: &str, tensors: &[(&str, f32)]| {
        let tensors: Vec<(&str, Tensor)> = tensors.iter().map(|(name, value)| (*name, of(*value))).collect();
        let pairs: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
        dlc::weights::save(&dir.path(name), &pairs, &Default::default()).expect("it is written");
    };
    save("1.safetensors", &[("a", 1.0), ("b", 1.0), ("c", 1.0)]);
    save("2.safetensors", &[("a", 2.0), ("b", 2.0)]);
    // The mark that some editors begin a text with is none of it.
    let path = dir.file("i.json", "\u{FEFF}{\"weight_map\": {\"a\": \"2.safetensors\", \"b\": \"1.safetensors\"}}");
    let file = TensorFile::open(&path).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(file.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!((read(&file, "a"), read(&file, "b")), (of(2.0), of(1.0)));
    let notes = [
        "2 tensors of 1.safetensors that the index does not say to be there: left out",
        "1 tensor of 2.safetensors that the index does not say to be there: left out",
    ];
    assert_eq!(file.notes(), notes);
}

#[test]
fn types_are_told_before_anything_is_read() {
    let file = open("quantized.gguf");
    let stored = file.get("Q4_1").expect("it is there");
    assert_eq!(
        (stored.elements.name(), stored.elements.read_as(), stored.shape),
        ("Q4_1", Some(DType::F32), &[2, 64][..])
    );
    let file = open("new.pth");
    let stored = file.get("bf16").expect("it is there");
    assert_eq!((stored.elements.name(), stored.shape), ("bf16", &[2, 3][..]));
}

/// Every tensor of the real files against the digest that PyTorch, NumPy or gguf gave of it.
fn digests(asset_name: &str) {
    let table = std::fs::read_to_string(golden("real.txt")).expect("it is committed");
    let mut file: Option<TensorFile> = None;
    let (mut compared, mut seen) = (0, 0);
    for line in table.lines() {
        if let Some(path) = line.strip_prefix("# ") {
            assert_eq!(file.take().map_or(0, |file| file.names().count()), seen, "before {path}");
            seen = 0;
            if path.starts_with(asset_name) {
                let Some(path) = asset(path) else { return };
                file = Some(TensorFile::open(&path).unwrap_or_else(|error| panic!("{error}")));
            }
            continue;
        }
        let Some(file) = &file else { continue };
        let [crc, kind, rest] = line.splitn(3, ' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let (shape, name) = rest.split_once("] ").expect("a shape and a name");
        let stored = file.get(name).unwrap_or_else(|| panic!("there is no `{name}`"));
        assert_eq!((stored.elements.name(), format!("{:?}", stored.shape)), (kind, format!("{shape}]")), "{name}");
        let mut found = flate2::Crc::new();
        found.update(read(file, name).bytes());
        assert_eq!(format!("{:08x}", found.sum()), crc, "{name}");
        (compared, seen) = (compared + 1, seen + 1);
    }
    assert_eq!(file.map_or(0, |file| file.names().count()), seen);
    assert!(compared > 0, "real.txt has nothing of {asset_name}");
}

#[test]
fn digits_cnn_has_pytorchs_numbers() {
    digests("digit-recognizer-cnn");
}

#[test]
fn efficientnet_has_pytorchs_numbers() {
    digests("efficientnet-lite0");
}

#[test]
fn minilm_has_pytorchs_numbers() {
    digests("all-MiniLM-L6-v2");
}

#[test]
fn glassllm_has_numpys_numbers() {
    digests("glassllm");
}

#[test]
fn smollm2_has_the_numbers_of_gguf() {
    digests("smollm2-135m-gguf");
}
