//! Paths in specs: they are relative to the folder of the file that they are written in, and `resolved.dl`, which a training
//! leaves in another folder, says them so that it works where it lies.
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

use crate::cli::dlc;
use crate::scratch::Scratch;
use dlc::Tensor;
use std::collections::BTreeMap;
use std::path::Path;

const MODEL: &str = "model Line()(x: [B, 1]) -> y: [B, 1] { return x -> fc: Linear(1) }\n";

const LIB: &str = "data points(path = \"points.csv\") {
  source = csv(path)
  columns {
    x = stack[1](x)
    target = y
  }
  batch = 4
}
";

const SPEC: &str = "import { Line } from \"lib/model.dl\"
import \"lib/points.dl\" as lib

const STORED = \"start/w.safetensors\"

weights start { file = STORED }

data own(path = \"data/own.csv\") {
  source = csv(path)
  valid = csv(\"data/own.csv\", \"data/own.csv\")
  columns {
    x = stack[1](x)
    target = y
  }
  batch = 4
}

train first {
  model = Line()
  data = own
  weights = start
  loss = mse(y[:, 0], target)
  optimizer = SGD(lr = 0.01)
  epochs = 2
}

train second {
  model = Line()
  data = lib.points
  loss = mse(y[:, 0], target)
  optimizer = SGD(lr = 0.01)
  epochs = 2
}
";

fn folder() -> Scratch {
    let dir = Scratch::new();
    for name in ["lib", "data", "start", "spec"] {
        std::fs::create_dir(dir.path(name)).unwrap();
    }
    dir.file("lib/model.dl", MODEL);
    dir.file("lib/points.dl", LIB);
    let rows = |k: i32| (0..8).map(|i| format!("{i},{}\n", k * i)).collect::<String>();
    dir.file("lib/points.csv", format!("x,y\n{}", rows(2)));
    dir.file("data/own.csv", format!("x,y\n{}", rows(3)));
    dir.file("data/other.csv", format!("x,y\n{}", rows(5)));
    let number = |x: f32, shape: &[usize]| Tensor::from_f32(shape.to_vec(), vec![x]).unwrap();
    let (w, b) = (number(0.5, &[1, 1]), number(0.25, &[1]));
    dlc::weights::save(&dir.path("start/w.safetensors"), &[("fc.weight", &w), ("fc.bias", &b)], &BTreeMap::new())
        .unwrap();
    dir.file("spec.dl", SPEC);
    dir
}

fn train(folder: &Path, spec: &str, name: &str, out: &str, more: &[&str]) -> Vec<u8> {
    let done = dlc(folder, &[&["train", spec, name, "--out", out], more].concat());
    assert_eq!((done.code, done.err.as_str()), (0, ""), "{spec} {name}: {}", done.out);
    std::fs::read(folder.join(out).join("model.safetensors")).unwrap()
}

#[test]
fn what_a_training_leaves_can_be_trained_where_it_lies() {
    let dir = folder();
    let all = dir.path("");
    for name in ["first", "second"] {
        let made = train(&all, "spec.dl", name, "runs/deep/a", &[]);
        // From the folder that the training was started in, from its own, and once more from what that leaves.
        assert!(train(&all, "runs/deep/a/resolved.dl", name, "b", &[]) == made);
        assert!(train(&dir.path("runs/deep/a"), "resolved.dl", name, "../c", &[]) == made);
        assert!(train(&all, "runs/deep/c/resolved.dl", name, "d", &[]) == made);
        // A folder with files that are no run's is not taken.
        let refused = dlc(&all, &["train", "spec.dl", name, "--out", "."]);
        assert!(refused.code == 2 && refused.err.contains("error[E0623]: . holds `b`"), "{}", refused.err);
        let text = std::fs::read_to_string(dir.path("runs/deep/a/resolved.dl")).unwrap();
        for path in ["../../../lib/model.dl", "../../../start/w.safetensors", "path = \"../../../data/own.csv\""] {
            assert!(text.contains(path), "{path} is not in {text}");
        }
        assert_eq!(dlc(&all, &["fmt", "--check", "runs/deep/a/resolved.dl"]).code, 0);
    }
}

#[test]
fn a_path_that_is_set_is_the_specs() {
    let dir = folder();
    let all = dir.path("");
    let set = ["--set", "own.path=\"data/other.csv\""];
    let made = train(&all, "spec.dl", "first", "runs/a", &set);
    assert!(made != train(&all, "spec.dl", "first", "runs/b", &[]));
    assert!(made == train(&all, "runs/a/resolved.dl", "first", "c", &[]));
    // A path from the root of all folders stays what it is.
    let whole = format!("own.path=\"{}\"", dir.path("data/other.csv").display());
    assert!(made == train(&all, "spec.dl", "first", "runs/d", &["--set", &whole]));
    assert!(made == train(&all, "runs/d/resolved.dl", "first", "e", &[]));
}

#[test]
fn a_training_may_say_the_path_of_its_data() {
    let dir = folder();
    let all = dir.path("");
    dir.file("spec.dl", SPEC.replace("data = own\n", "data = own(\"data/other.csv\")\n"));
    let made = train(&all, "spec.dl", "first", "runs/a", &[]);
    assert!(made == train(&all, "runs/a/resolved.dl", "first", "c", &[]));
    let named = SPEC.replace("data = own\n", "data = own(path = if 1 > 2 { \"none\" } else { \"data/other.csv\" })\n");
    dir.file("spec.dl", named);
    assert!(made == train(&all, "spec.dl", "first", "runs/d", &[]));
    assert!(made == train(&all, "runs/d/resolved.dl", "first", "e", &[]));
}
