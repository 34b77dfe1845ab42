//! `dlc convert`: every format becomes safetensors, whole or not at all.
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

use crate::assets::asset;
use crate::cli::dlc;
use crate::formats::golden;
use crate::scratch::Scratch;
use dlc::weights::file::{Format, TensorFile};
use dlc::{DType, Tensor};

fn read(file: &TensorFile, name: &str) -> Tensor {
    file.read(name).unwrap().unwrap()
}

#[test]
fn every_format_becomes_safetensors() {
    let dir = Scratch::new();
    let files =
        ["stored.npz", "packed.npz", "new.pth", "old.pth", "nested.pth", "quantized.gguf", "expected.safetensors"];
    for name in files.into_iter().chain(["sharded/model.safetensors.index.json"]) {
        let (from, to) = (golden(name), dir.path("out.safetensors"));
        let ended = dlc(&dir.path(""), &["convert", from.to_str().unwrap(), "out.safetensors"]);
        assert_eq!(ended.code, 0, "{name}: {}", ended.err);
        let (old, new) = (TensorFile::open(&from).unwrap(), TensorFile::open(&to).unwrap());
        assert_eq!(new.format(), Format::Safetensors);
        assert_eq!(ended.out, format!("wrote {} tensors to out.safetensors\n", old.names().count()));
        assert_eq!(old.names().collect::<Vec<_>>(), new.names().collect::<Vec<_>>(), "{name}");
        for tensor in old.names() {
            assert_eq!(read(&old, tensor), read(&new, tensor), "{name}: {tensor}");
        }
        assert_eq!(old.about(), new.about(), "{name}");
    }
}

#[test]
fn real_numbers_are_cast_and_others_stay() {
    let dir = Scratch::new();
    let from = golden("new.pth");
    let old = TensorFile::open(&from).unwrap();
    for (name, dtype) in [("f32", DType::F32), ("f16", DType::F16), ("bf16", DType::BF16)] {
        let ended = dlc(&dir.path(""), &["convert", from.to_str().unwrap(), "out.safetensors", "--dtype", name]);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        let new = TensorFile::open(&dir.path("out.safetensors")).unwrap();
        for tensor in old.names() {
            let (old, new) = (read(&old, tensor), read(&new, tensor));
            assert_eq!(new, old.to_float(dtype).unwrap_or(old), "{tensor} as {name}");
        }
    }
    let large = Tensor::from_f32(vec![3], vec![1e9, -1e9, f32::INFINITY]).unwrap();
    dlc::weights::save(&dir.path("w.safetensors"), &[("w", &large)], &Default::default()).unwrap();
    let ended = dlc(&dir.path(""), &["convert", "w.safetensors", "out.safetensors", "--dtype", "f16"]);
    assert_eq!(ended.err, "warning: 2 numbers of `w` are too large for f16 and became infinite\n");
}

#[test]
fn a_file_that_cannot_be_converted_leaves_the_old_one() {
    let dir = Scratch::new();
    let mut bytes = std::fs::read(golden("packed.npz")).unwrap();
    // A byte in the middle of the packed elements of the third member or so.
    let at = bytes.windows(7).position(|name| name == b"f64.npy").unwrap() + 60;
    bytes[at] ^= 0x55;
    dir.file("bad.npz", bytes);
    dir.file("out.safetensors", "old");
    let ended = dlc(&dir.path(""), &["convert", "bad.npz", "out.safetensors"]);
    assert_eq!(ended.code, 2, "{}{}", ended.out, ended.err);
    assert!(ended.err.contains("bad.npz"), "{}", ended.err);
    assert_eq!(std::fs::read(dir.path("out.safetensors")).unwrap(), b"old");
    assert_eq!(dir.names(), ["bad.npz", "out.safetensors"]);
    // A file may take its own place.
    std::fs::copy(golden("stored.npz"), dir.path("w")).unwrap();
    assert_eq!(dlc(&dir.path(""), &["convert", "w", "w"]).code, 0);
    assert_eq!(TensorFile::open(&dir.path("w")).unwrap().format(), Format::Safetensors);
}

#[test]
fn tensors_are_listed() {
    let list = |path: &str| dlc(&golden(""), &["convert", "--list", path]);
    let ended = list("nested.pth");
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    assert_eq!(
        ended.out,
        "PyTorch: 7 tensors, 17 numbers\n\
         f32  [2]     0.bias\n\
         f32  [2, 3]  0.weight\n\
         f32  [2]     1.bias\n\
         i64  []      1.num_batches_tracked\n\
         f32  [2]     1.running_mean\n\
         f32  [2]     1.running_var\n\
         f32  [2]     1.weight\n\
         its weights are those under `state_dict`\n"
    );
    let ended = list("quantized.gguf");
    assert!(ended.out.starts_with("GGUF: 8 tensors, 1024 numbers\n"), "{}", ended.out);
    assert!(ended.out.contains("Q4_1  [2, 64]  Q4_1\n"), "{}", ended.out);
    let ended = list("call.pth");
    assert_eq!(ended.code, 2);
    assert!(
        ended.err.contains("it asks for `posix.system`; only tensors are read, and nothing is run"),
        "{}",
        ended.err
    );
}

#[test]
fn elements_that_are_not_read_are_listed_and_not_converted() {
    let dir = Scratch::new();
    let header = r#"{"a":{"dtype":"F8_E4M3","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[1],"data_offsets":[2,3]}}"#;
    let bytes = [&(header.len() as u64).to_le_bytes()[..], header.as_bytes(), &[1, 2, 3]].concat();
    dir.file("w.safetensors", bytes);
    let ended = dlc(&dir.path(""), &["convert", "--list", "w.safetensors"]);
    assert_eq!(ended.out, "safetensors: 2 tensors, 3 numbers\nF8_E4M3  [2]  a\nu8       [1]  b\n");
    let ended = dlc(&dir.path(""), &["convert", "w.safetensors", "out.safetensors"]);
    assert_eq!(ended.code, 2);
    assert!(
        ended.err.contains("elements that dlc does not read") && ended.err.contains("F8_E4M3 [2] a"),
        "{}",
        ended.err
    );
}

#[test]
fn real_files_are_listed_and_converted() {
    let dir = Scratch::new();
    for (path, first) in [
        ("digit-recognizer-cnn/handwriting_model.pth", "PyTorch: 10 tensors, "),
        ("efficientnet-lite0/efficientnet-lite0-57934424.pth", "PyTorch: 296 tensors, "),
        ("all-MiniLM-L6-v2/model.safetensors", "safetensors: 104 tensors, 22713728 numbers\n"),
        ("glassllm/en.npz", "npz: 38 tensors, 852608 numbers\n"),
        ("smollm2-135m-gguf/SmolLM2-135M-Instruct.Q4_1.gguf", "GGUF: 272 tensors, 134515008 numbers\n"),
    ] {
        let Some(from) = asset(path) else { continue };
        let ended = dlc(&dir.path(""), &["convert", "--list", from.to_str().unwrap()]);
        assert!(ended.out.starts_with(first), "{path}: {}", ended.out.lines().next().unwrap_or_default());
        if from.metadata().unwrap().len() > 50_000_000 {
            // That takes seconds without optimisation, and shows nothing more.
            continue;
        }
        let ended = dlc(&dir.path(""), &["convert", from.to_str().unwrap(), "out.safetensors", "--dtype", "bf16"]);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{path}");
        let (old, new) = (TensorFile::open(&from).unwrap(), TensorFile::open(&dir.path("out.safetensors")).unwrap());
        assert_eq!(old.names().collect::<Vec<_>>(), new.names().collect::<Vec<_>>());
        for name in old.names().take(5) {
            let tensor = read(&old, name);
            assert_eq!(read(&new, name), tensor.to_float(DType::BF16).unwrap_or(tensor), "{path}: {name}");
        }
    }
}
