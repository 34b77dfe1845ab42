//! Weights from files of every format, by the rules of a spec's `weights` item: in a program with `model!`, by `dlc run`, and in
//! a training.
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

use crate::cli::dlc;
use crate::formats::golden;
use crate::scratch::Scratch;
use dlc::weights::file::TensorFile;
use dlc::{DType, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

mod with_rules {
    dlc::model! {
        model Net()(x: [B, 3]) -> y: [B, 2] {
            return x -> fc: Linear(2) -> norm: BatchNorm
        }
        weights torch {
            file = "nested.pth"
            rename "0.*" => "fc.*"
            rename "1.*" => "norm.*"
        }
    }
}

const SPEC: &str = "model Net()(x: [B, 3]) -> y: [B, 2] {
  return x -> fc: Linear(2) -> norm: BatchNorm
}

weights torch {
  file = \"nested.pth\"
  rename \"0.*\" => \"fc.*\"
  rename \"1.*\" => \"norm.*\"
}
";

fn write(path: &Path, tensors: &[(&str, Tensor)]) {
    let tensors: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, tensor)| (*name, tensor)).collect();
    dlc::weights::save(path, &tensors, &BTreeMap::new()).unwrap();
}

fn x() -> Tensor {
    Tensor::from_f32(vec![2, 3], vec![0.5, -1.0, 2.0, 0.0, 1.0, -0.5]).unwrap()
}

/// The linear layer and the norm of nested.pth by hand, in the order of its writing.
fn expected() -> Vec<f32> {
    let file = TensorFile::open(&golden("nested.pth")).unwrap();
    let of = |name: &str| file.read(name).unwrap().unwrap().to_f32_vec();
    let (w, b) = (of("0.weight"), of("0.bias"));
    let [scale, shift, mean, var] = ["weight", "bias", "running_mean", "running_var"].map(|n| of(&format!("1.{n}")));
    let mut y = Vec::new();
    for row in x().to_f32_vec().chunks(3) {
        for o in 0..2 {
            let linear: f32 = (0..3).map(|i| row[i] * w[3 * o + i]).sum::<f32>() + b[o];
            y.push((linear - mean[o]) / (var[o] + 1e-5).sqrt() * scale[o] + shift[o]);
        }
    }
    y
}

fn close(found: &[f32], expected: &[f32]) {
    assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5), "{found:?} {expected:?}");
    assert_eq!(found.len(), expected.len());
}

#[test]
fn a_program_loads_by_the_rules_of_its_spec() {
    let mut net = with_rules::Net::load(golden("nested.pth")).unwrap();
    close(&net.run(&x()).unwrap().to_f32_vec(), &expected());
    // What it writes has its own names, and is read again, though the rules speak of others.
    let dir = Scratch::new();
    net.save(dir.path("own.safetensors")).unwrap();
    let mut again = with_rules::Net::load(dir.path("own.safetensors")).unwrap();
    close(&again.run(&x()).unwrap().to_f32_vec(), &expected());
    let error = with_rules::Net::load(golden("stored.npz")).err().unwrap();
    assert!(error.message.starts_with("6 weights are not in the file: `fc.bias`, `norm.*`"), "{error}");
    assert!(error.notes[0].contains("`fc.weight` is [2, 3] here and [3, 4] in"), "{error}");
}

#[test]
fn run_takes_the_file_of_the_spec_or_another() {
    let dir = Scratch::new();
    dir.file("net.dl", SPEC);
    std::fs::copy(golden("nested.pth"), dir.path("nested.pth")).unwrap();
    write(&dir.path("x.safetensors"), &[("x", x())]);
    let y = || TensorFile::open(&dir.path("y.safetensors")).unwrap().read("y").unwrap().unwrap().to_f32_vec();
    let ended = dlc(&dir.path(""), &["run", "net.dl", "--in", "x.safetensors", "--out", "y.safetensors"]);
    assert_eq!((ended.code, ended.err.as_str()), (0, ""));
    close(&y(), &expected());
    std::fs::rename(dir.path("nested.pth"), dir.path("other.bin")).unwrap();
    let with = ["run", "net.dl", "--weights", "other.bin", "--in", "x.safetensors", "--out", "y.safetensors"];
    assert_eq!(dlc(&dir.path(""), &with).code, 0);
    close(&y(), &expected());
    let ended = dlc(&dir.path(""), &["run", "net.dl", "--in", "x.safetensors", "--out", "y.safetensors"]);
    assert_eq!(ended.code, 2);
    assert!(ended.err.contains("cannot read nested.pth"), "{}", ended.err);
    dir.file("bare.dl", SPEC.split("\nweights").next().unwrap());
    let ended = dlc(&dir.path(""), &["run", "bare.dl", "--in", "x.safetensors", "--out", "y.safetensors"]);
    assert!(ended.code == 1 && ended.err.contains("the spec names none"), "{}", ended.err);
}

#[test]
fn a_training_begins_with_the_file_by_the_rules() {
    let dir = Scratch::new();
    let training = "
data rows { source = safetensors(\"rows.safetensors\")  batch = 2 }
train fit(first = torch) {
  model = Net()
  data = rows
  weights = torch
  loss = mse(y, t)
  optimizer = SGD(lr = 0.1)
  freeze \"**\"
  unfreeze \"norm.bias\"
  epochs = 1
}
";
    let training = training.replace("(first = torch)", "");
    dir.file("net.dl", SPEC.replace("  rename \"1.*\"", "  ignore \"nothing\"\n  rename \"1.*\"") + &training);
    std::fs::copy(golden("nested.pth"), dir.path("nested.pth")).unwrap();
    write(&dir.path("rows.safetensors"), &[("x", x()), ("t", Tensor::from_f32(vec![2, 2], vec![0.0; 4]).unwrap())]);
    let ended = dlc(&dir.path(""), &["train", "net.dl", "--out", "run"]);
    assert_eq!(ended.code, 0, "{}", ended.err);
    assert!(ended.err.contains("warning: `ignore \"nothing\"` matches nothing in nested.pth"), "{}", ended.err);
    let (old, new) = (golden("nested.pth"), dir.path("run/model.safetensors"));
    let (old, new) = (TensorFile::open(&old).unwrap(), TensorFile::open(&new).unwrap());
    let of = |file: &TensorFile, name: &str| file.read(name).unwrap().unwrap();
    assert_eq!(of(&new, "fc.weight"), of(&old, "0.weight"));
    assert_eq!(of(&new, "norm.weight"), of(&old, "1.weight"));
    assert_ne!(of(&new, "norm.bias"), of(&old, "1.bias"));
}

#[test]
fn everything_that_does_not_fit_is_told_at_the_line_that_names_the_file() {
    let dir = Scratch::new();
    dir.file("net.dl", SPEC.replace("  rename \"1.*\" => \"norm.*\"\n", ""));
    std::fs::copy(golden("nested.pth"), dir.path("nested.pth")).unwrap();
    write(&dir.path("x.safetensors"), &[("x", x())]);
    let ended = dlc(&dir.path(""), &["run", "net.dl", "--in", "x.safetensors", "--out", "y.safetensors"]);
    assert_eq!(ended.code, 2);
    for line in [
        "error[E0603]: 5 weights are not in the file: `norm.*`; 5 tensors of the file are not in the model",
        "--> net.dl:6:10",
        "not in the file   norm.weight [2]; the file has 1.weight",
        "not in the file   norm.running_mean [2]; the file has 1.running_mean",
        "not in the model  1.bias",
        "not in the model  1.running_var",
    ] {
        assert!(ended.err.contains(line), "`{line}` is not in {}", ended.err);
    }
}

#[test]
fn halves_and_doubles_become_single_and_dtype_rounds() {
    let dir = Scratch::new();
    let exact = Tensor::from_f32(vec![1, 3], vec![1.0, 1.0 + 1.0 / 512.0, 3.0]).unwrap();
    let spec = |dtype: &str| {
        format!(
            "model M()(x: [B, 3]) -> y: [B, 1] {{ return x -> fc: Linear(1, bias = false) }}\n\
             weights w {{ file = \"w.safetensors\" {dtype} }}\n"
        )
    };
    write(&dir.path("x.safetensors"), &[("x", Tensor::from_f32(vec![1, 3], vec![0.0, 1.0, 0.0]).unwrap())]);
    let second = |dtype: &str| {
        dir.file("m.dl", spec(dtype));
        let ended = dlc(&dir.path(""), &["run", "m.dl", "--in", "x.safetensors", "--out", "y.safetensors"]);
        assert_eq!((ended.code, ended.err.as_str()), (0, ""));
        TensorFile::open(&dir.path("y.safetensors")).unwrap().read("y").unwrap().unwrap().to_f32_vec()
    };
    for stored in [DType::F64, DType::F32, DType::F16] {
        write(&dir.path("w.safetensors"), &[("fc.weight", exact.to_float(stored).unwrap())]);
        assert_eq!(second(""), [1.0 + 1.0 / 512.0], "{stored}");
        assert_eq!(second("dtype = f16"), [1.0 + 1.0 / 512.0], "{stored}");
        assert_eq!(second("dtype = bf16"), [1.0], "{stored}");
    }
    dir.file("m.dl", spec("dtype = i32"));
    let ended = dlc(&dir.path(""), &["check", "m.dl"]);
    assert!(ended.err.contains("`dtype` is f32, f16 or bf16"), "{}", ended.err);
}

/// Older versions of PyTorch, and many converters, leave counters out or give them an axis.
#[test]
fn a_counter_that_nothing_reads_may_be_missing() {
    let dir = Scratch::new();
    dir.file("m.dl", SPEC.split("weights torch").next().unwrap());
    write(&dir.path("x.safetensors"), &[("x", x())]);
    let file = TensorFile::open(&golden("nested.pth")).unwrap();
    let all: Vec<(String, Tensor)> = file
        .names()
        .map(|name| {
            let own = name.replace("0.", "fc.").replace("1.", "norm.");
            (own, file.read(name).unwrap().unwrap())
        })
        .collect();
    let run = |leave_out: &str, tensors: &[(String, Tensor)]| {
        let kept: Vec<(&str, Tensor)> = tensors
            .iter()
            .filter(|(name, _)| name != leave_out)
            .map(|(name, tensor)| (name.as_str(), tensor.clone()))
            .collect();
        write(&dir.path("w.safetensors"), &kept);
        let args = ["run", "m.dl", "--weights", "w.safetensors", "--in", "x.safetensors", "--out", "y.safetensors"];
        [&args[..], &[&args[..], &["--engine", "interp"]].concat()].map(|args| {
            let ended = dlc(&dir.path(""), args);
            match ended.code {
                0 => Ok(TensorFile::open(&dir.path("y.safetensors")).unwrap().read("y").unwrap().unwrap().to_f32_vec()),
                _ => Err(ended.err),
            }
        })
    };
    let close = |found: &[f32]| found.iter().zip(expected()).all(|(a, b)| (a - b).abs() < 1e-5);
    for found in run("norm.num_batches_tracked", &all) {
        assert!(close(&found.unwrap()));
    }
    let mut with_axis = all.clone();
    for (name, tensor) in &mut with_axis {
        if name == "norm.num_batches_tracked" {
            *tensor = Tensor::from_slice(&[1], &[5_i64]).unwrap();
        }
    }
    for found in run("", &with_axis) {
        assert!(close(&found.unwrap()));
    }
    for found in run("norm.running_var", &all) {
        let said = found.unwrap_err();
        assert!(said.contains("E0603") && said.contains("norm.running_var"), "{said}");
    }
}
