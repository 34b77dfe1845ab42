//! Models whose text fixes how many rows a batch has: they are trained, measured on all rows that are held out, and merged like
//! any other, and what is left of an epoch is told.
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

use crate::cli::{Ended, dlc};
use crate::scratch::Scratch;
use dlc::weights::file::TensorFile;

const SPEC: &str = "model Side(width = 8)(x: [8, 2]) -> logits: [8, 2] {
  return x -> fc1: Linear(width) -> gelu -> norm: BatchNorm -> head: Linear(2)
}

data sides {
  source = csv(\"sides.csv\")
  split { train = 45  valid = 13  test = 3 }
  columns {
    x = standardize(stack[1](a, b))
    label = i64(a > b)
  }
  augment { x = x + 0.01 * rand[0](x) }
  batch = 8
  shuffle = true
  drop_last = true
}

train fit {
  model = Side()
  data = sides
  loss = cross_entropy(logits, label)
  optimizer = Adam(lr = 0.05)
  accumulate = 2
  epochs = 4
  metrics {
    accuracy = mean(f32(argmax[-1](logits) == label))
    error = cross_entropy(logits, label)
  }
}
";

fn folder() -> Scratch {
    let dir = Scratch::new();
    let row = |i: i32| format!("{},{}\n", (i * 37 % 61) as f32 / 9.0, (i * 23 % 61) as f32 / 11.0);
    dir.file("sides.csv", "a,b\n".to_owned() + &(0..61).map(row).collect::<String>());
    dir
}

fn train(dir: &Scratch, spec: &str, out: &str) -> Ended {
    dir.file("m.dl", spec);
    dlc(&dir.path(""), &["train", "m.dl", "--out", out])
}

#[test]
fn a_fixed_batch_is_trained_as_one_of_any_size() {
    let dir = folder();
    let trained = |spec: &str, out: &str| {
        let done = train(&dir, spec, out);
        assert_eq!(done.code, 0, "{}{}", done.out, done.err);
        let measured: Vec<String> =
            done.out.lines().filter(|l| l.starts_with("held out") || l.starts_with("test")).map(String::from).collect();
        assert_eq!(measured.len(), 2, "{}", done.out);
        let file = TensorFile::open(&dir.path(format!("{out}/model.safetensors"))).unwrap();
        let weights: Vec<f32> = file.names().flat_map(|name| file.read(name).unwrap().unwrap().to_f32_vec()).collect();
        (weights, measured, done.err)
    };
    let any = trained(&SPEC.replace("[8, 2]", "[B, 2]"), "any");
    let fixed = trained(SPEC, "fixed");
    assert_eq!((&fixed.1, fixed.2.as_str()), (&any.1, ""), "13 rows are held out, and 3 for a test");
    // Sums over a number of rows that is known are added up in another order.
    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 1e-4 * (1.0 + b.abs());
    assert!(fixed.0.iter().zip(&any.0).all(near), "{:?} and {:?}", fixed.0, any.0);
    // Without `drop_last` the same is done, and told.
    let told = trained(&SPEC.replace("  drop_last = true\n", ""), "told");
    assert!(told.0 == fixed.0 && told.1 == fixed.1);
    assert!(told.2.contains("of the 45 rows of each epoch the last 5 are left out"), "{}", told.2);
}

#[test]
fn batches_of_another_size_are_refused() {
    let dir = folder();
    let fails = |spec: &str, code: i32, said: &[&str]| {
        let done = train(&dir, spec, "out");
        assert_eq!(done.code, code, "{}{}", done.out, done.err);
        said.iter().for_each(|text| assert!(done.err.contains(text), "`{text}` is not in {}", done.err));
    };
    let sized = "`Side` takes batches of 8 rows, and `sides` makes batches of 16";
    fails(&SPEC.replace("batch = 8", "batch = 16"), 1, &[sized, "m.dl:13:11", "`batch = 8`"]);
    let short = "`sides` has 45 rows to train on, and `Side` takes batches of 8";
    fails(&SPEC.replace("batch = 8", "batch = all"), 2, &["E0613", short]);
    let few = "`sides` has 7 rows to train on, and `Side` takes batches of 8";
    fails(&SPEC.replace("train = 45", "train = 7"), 2, &[few]);
    let all = SPEC.replace("train = 45", "train = 8").replace("batch = 8", "batch = all");
    assert_eq!(train(&dir, &all, "out").code, 0);
}
