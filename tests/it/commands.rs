//! Whole commands on small specs: what they compute, what they write, and how they end when something is wrong.

use crate::cli::{Ended, command, dlc, ended};
use crate::scratch::Scratch;
use dlc::Tensor;
use dlc::weights::file::TensorFile;
use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;

/// Two classes of points on a line, a network for them, and a training whose length can be set.
const SPEC: &str = "\
/// Which side of zero.
model Side(width = 8, p = 0.1)(x: [B, 1]) -> logits: [B, 2] {
  h = x -> fc1: Linear(width) -> gelu -> dropout(p)
  return h -> head: Linear(2)
}

data sides {
  source = csv(\"sides.csv\", x = 1, label = 1)
  split { train = 0.75  valid = 0.25 }
  columns {
    x = stack[1](x)
    label = i64(label)
  }
  batch = 8
  shuffle = true
}

train fit(lr = 0.05, n = 4, k = 1) {
  model = Side()
  data = sides
  loss = cross_entropy(logits, label)
  optimizer = AdamW(lr = lr * warmup(step, 4) * cosine(step, steps))
  accumulate = k
  epochs = n
  seed = 3 // as always
  metrics { accuracy = mean(f32(argmax[-1](logits) == label)) }
}
";

/// A folder with the spec and its data.
fn folder() -> Scratch {
    let dir = Scratch::new();
    dir.file("side.dl", SPEC);
    let row = |i: i32| format!("{},{}\n", f64::from(i - 40) / 20.0 + 0.01, i32::from(i >= 40));
    dir.file("sides.csv", (0..80).map(row).collect::<String>());
    dir
}

fn fine(ended: Ended) -> Ended {
    assert_eq!((ended.code, ended.err.as_str()), (0, ""), "{}", ended.out);
    ended
}

fn fails(ended: Ended, code: i32, said: &[&str]) {
    assert_eq!(ended.code, code, "{}{}", ended.out, ended.err);
    for text in said {
        assert!(ended.err.contains(text), "`{text}` is not in: {}", ended.err);
    }
    assert!(!ended.err.contains("panicked"), "{}", ended.err);
}

fn save(path: &Path, tensors: &[(&str, &Tensor)]) {
    dlc::weights::save(path, tensors, &BTreeMap::new()).expect("it can be written");
}

fn numbers(path: &Path, name: &str) -> Vec<f32> {
    let file = TensorFile::open(path).expect("it is sound");
    file.read(name).expect("it is there").expect("it is sound").to_f32_vec()
}

#[test]
fn check_says_that_a_spec_is_sound() {
    let dir = folder();
    assert_eq!(fine(dlc(&dir.path(""), &["check", "side.dl"])).out, "side.dl is sound\n");
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    fine(dlc(root, &["check", "examples/digits.dl"]));
}

#[test]
fn check_says_everything_that_is_wrong() {
    let dir = folder();
    dir.file("bad.dl", SPEC.replace("gelu", "gleu").replace("shuffle", "shufle").replace("AdamW", "AdmW"));
    let told = dlc(&dir.path(""), &["check", "bad.dl"]);
    fails(told, 1, &["bad.dl:3:34", "did you mean `gelu`?", "did you mean `shuffle`?", "did you mean `AdamW`?"]);
    let deep = format!("fn f(x) = {}x{}\n", "(".repeat(10_000), ")".repeat(10_000));
    let cases = [
        ("deep.dl", deep.as_str(), "error[E0006]: brackets nest more than 64 deep"),
        ("garbage.dl", "%&/ \u{1F980} ]] )( \u{0} \"\n", "error[E0008]: "),
        ("bytes.dl", "model\u{7}", "error[E0008]: "),
    ];
    for (name, text, said) in cases {
        dir.file(name, text);
        fails(dlc(&dir.path(""), &["check", name]), 1, &[said]);
        fails(dlc(&dir.path(""), &["train", name]), 1, &[said]);
    }
    dir.file("latin.dl", b"// caf\xE9\n");
    fails(dlc(&dir.path(""), &["check", "latin.dl"]), 1, &["is not UTF-8 text: see line 1"]);
    fails(dlc(&dir.path(""), &["check", "none.dl"]), 1, &["cannot read none.dl: no such file or directory"]);
}

#[test]
fn train_writes_weights_metrics_and_the_spec() {
    let dir = folder();
    let done = fine(dlc(
        &dir.path(""),
        &["train", "side.dl", "--out", "out/a", "--set", "fit.n=6", "--set", "fit.clip=1", "--set", "sides.batch=4"],
    ));
    let mut lines: Vec<&str> = done.out.lines().collect();
    assert_eq!(lines.remove(0), "rows: 60 to train on, 20 held out");
    assert!(lines[0].starts_with("epoch 1/6  step 15/90  loss "), "{}", lines[0]);
    assert!(lines[5].contains("accuracy"), "{}", lines[5]);
    assert!(lines[6].starts_with("held out: accuracy "), "{}", lines[6]);
    assert!(lines[7].starts_with("90 steps in "), "{}", lines[7]);

    let file = TensorFile::open(&dir.path("out/a/model.safetensors")).expect("it is sound");
    assert_eq!(file.names().collect::<Vec<_>>(), ["fc1.bias", "fc1.weight", "head.bias", "head.weight"]);
    assert_eq!(file.about()["step"], "90");
    let metrics = std::fs::read_to_string(dir.path("out/a/metrics.jsonl")).expect("it is there");
    let metrics: Vec<serde_json::Value> =
        metrics.lines().map(|line| serde_json::from_str(line).expect("each line is JSON")).collect();
    assert_eq!(metrics.len(), 6);
    assert_eq!((&metrics[5]["epoch"], &metrics[5]["step"]), (&6.into(), &90.into()));
    assert!(metrics[5]["valid"]["accuracy"].as_f64().expect("a number") > 0.9, "{}", metrics[5]);
    assert!(metrics[5]["loss"].as_f64().expect("a number") < metrics[0]["loss"].as_f64().expect("a number"));
    let resolved = std::fs::read_to_string(dir.path("out/a/resolved.dl")).expect("it is there");
    for part in ["train fit(lr = 0.05, n = 6, k = 1)", "batch = 4\n", "\n  clip = 1\n}", "seed = 3  // as always\n"] {
        assert!(resolved.contains(part), "`{part}` is not in {resolved}");
    }
    fine(dlc(&dir.path("out/a"), &["fmt", "--check", "resolved.dl"]));
    let expected = [".lock", "checkpoints", "metrics.jsonl", "model.safetensors", "resolved.dl"];
    assert_eq!(Scratch::names_in(&dir.path("out/a")), expected);
}

/// What is held out is run through the model as it is outside of training: there, too, a default stands for what is no column.
#[test]
fn an_input_with_a_default_need_not_be_a_column() {
    let dir = folder();
    let with = |input: &str, used: &str| {
        let text = SPEC.replace("(x: [B, 1]) ->", &format!("(x: [B, 1]{input}) ->"));
        text.replace("h = x -> fc1", &format!("h = (x + {used}) -> fc1"))
    };
    dir.file("default.dl", with(", shift: [B, 1] = 0.5", "shift"));
    dir.file("number.dl", with("", "0.5"));
    dir.file(
        "column.dl",
        with(", shift: [B, 1] = 0.5", "shift").replace("label = i64", "shift = 3 * stack[1](x)\n    label = i64"),
    );
    let trained = |name: &str| {
        let done = fine(dlc(&dir.path(""), &["train", &format!("{name}.dl"), "--out", name]));
        let held: Vec<String> = done.out.lines().filter(|l| l.contains("accuracy")).map(str::to_string).collect();
        assert_eq!(held.len(), 5, "{}", done.out);
        numbers(&dir.path(format!("{name}/model.safetensors")), "fc1.weight")
    };
    let default = trained("default");
    assert_eq!(default, trained("number"));
    assert!(default != trained("column"), "a column of that name is taken");
}

#[test]
fn the_same_training_gives_the_same_bits_on_any_number_of_threads() {
    let dir = folder();
    let bytes = |threads: &str, seed: &str| {
        let out = format!("out/{threads}-{seed}");
        let spec = SPEC.replace("seed = 3", &format!("seed = {seed}")).replace("k = 1", "k = 2");
        dir.file("this.dl", spec);
        fine(dlc(&dir.path(""), &["train", "this.dl", "--out", &out, "--threads", threads]));
        let read = |name: &str| std::fs::read(dir.path(format!("{out}/{name}"))).expect("it is there");
        (read("model.safetensors"), read("metrics.jsonl"))
    };
    let one = bytes("1", "3");
    assert!(one == bytes("2", "3"), "two threads give other bits");
    assert!(one == bytes("3", "3"), "three threads give other bits");
    assert!(one.0 != bytes("1", "4").0, "another seed gives the same bits");
}

#[test]
fn micro_batches_make_one_batch() {
    let dir = folder();
    let trained = |batch: &str, accumulate: &str| {
        dir.file("this.dl", SPEC.replace("batch = 8", &format!("batch = {batch}")));
        let (out, set) = (format!("out/{batch}"), format!("fit.k={accumulate}"));
        fine(dlc(&dir.path(""), &["train", "this.dl", "--out", &out, "--set", &set]));
        let file = dir.path(format!("{out}/model.safetensors"));
        ["fc1.weight", "head.weight", "head.bias"].map(|name| numbers(&file, name)).concat()
    };
    let one = trained("8", "1");
    for (found, expected) in trained("2", "4").iter().zip(&one) {
        assert!((found - expected).abs() <= 1e-3, "{found} where one batch gives {expected}");
    }
}

#[test]
fn the_digits_are_learned() {
    let dir = Scratch::new();
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let out = dir.path("digits").display().to_string();
    let done = fine(dlc(root, &["train", "examples/digits.dl", "--out", &out]));
    let metrics = std::fs::read_to_string(dir.path("digits/metrics.jsonl")).expect("it is there");
    let last: serde_json::Value = serde_json::from_str(metrics.lines().last().expect("a line")).expect("JSON");
    assert!(last["valid"]["accuracy"].as_f64().expect("a number") >= 0.97, "{}", done.out);
}

#[test]
fn what_new_makes_can_be_trained() {
    let dir = Scratch::new();
    fine(dlc(&dir.path(""), &["new", "first"]));
    fine(dlc(&dir.path(""), &["check", "first/spirals.dl"]));
    fine(dlc(&dir.path(""), &["train", "first/spirals.dl"]));
    let metrics = std::fs::read_to_string(dir.path("runs/fit/latest/metrics.jsonl")).expect("it is there");
    let last: serde_json::Value = serde_json::from_str(metrics.lines().last().expect("a line")).expect("JSON");
    assert!(last["valid"]["accuracy"].as_f64().expect("a number") >= 0.95, "{last}");
}

#[test]
fn both_engines_run_a_trained_model() {
    let dir = folder();
    fine(dlc(&dir.path(""), &["train", "side.dl", "--out", "out"]));
    let x = Tensor::from_f32(vec![5, 1], vec![-2.0, -0.5, 0.0, 0.5, 2.0]).expect("five numbers");
    save(&dir.path("x.safetensors"), &[("x", &x)]);
    let run = |more: &[&str], out: &str| {
        let args = ["run", "side.dl", "--weights", "out/model.safetensors", "--in", "x.safetensors", "--out", out];
        fine(dlc(&dir.path(""), &[&args, more].concat()));
        numbers(&dir.path(out), "logits")
    };
    let (jit, interp) = (run(&[], "jit"), run(&["--engine", "interp"], "interp"));
    assert_eq!(jit.len(), 10);
    assert!(jit[0] > jit[1] && jit[8] < jit[9], "{jit:?}");
    let near = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 * (1.0 + b.abs()));
    assert!(near(&jit, &interp), "{jit:?} and {interp:?}");
    let dropped = run(&["Side", "--training", "--seed", "1", "--set", "Side.p=0.5"], "dropped");
    assert!(dropped != jit);
    assert!(dropped == run(&["--training", "--seed", "1", "--set", "Side.p=0.5"], "again"));
    assert!(dropped != run(&["--training", "--seed", "2", "--set", "Side.p=0.5"], "other"));
    let slow = run(&["--training", "--seed", "1", "--set", "Side.p=0.5", "--engine", "interp"], "slow");
    assert!(near(&dropped, &slow), "{dropped:?} and {slow:?}");
}

#[test]
fn grad_gives_the_loss_and_every_gradient() {
    let dir = folder();
    fine(dlc(&dir.path(""), &["train", "side.dl", "--out", "out", "--set", "fit.n=1"]));
    let x = Tensor::from_f32(vec![3, 1], vec![-1.0, 0.25, 1.0]).expect("three numbers");
    let label = Tensor::from_i64(vec![3], vec![0, 1, 1]).expect("three numbers");
    save(&dir.path("batch.safetensors"), &[("x", &x), ("label", &label)]);
    let grad = |weights: &str, out: &str| {
        let files = ["--weights", weights, "--in", "batch.safetensors", "--out", out];
        fine(dlc(&dir.path(""), &[&["grad", "side.dl"][..], &files, &["--set", "Side.p=0"]].concat()));
    };
    grad("out/model.safetensors", "g");
    let file = TensorFile::open(&dir.path("g")).expect("it is sound");
    assert_eq!(file.names().collect::<Vec<_>>(), ["fc1.bias", "fc1.weight", "head.bias", "head.weight", "loss"]);
    // Along the gradient of one bias the loss rises as the gradient says.
    let weights = TensorFile::open(&dir.path("out/model.safetensors")).expect("it is sound");
    let tensors: Vec<(&str, Tensor)> =
        weights.names().map(|name| (name, weights.read(name).expect("there").expect("sound"))).collect();
    let loss_at = |by: f32| {
        let mut moved = tensors.clone();
        moved[2].1.view_mut::<f32>().expect("real")[0] += by;
        save(&dir.path("moved"), &moved.iter().map(|(name, tensor)| (*name, tensor)).collect::<Vec<_>>());
        grad("moved", "h");
        numbers(&dir.path("h"), "loss")[0]
    };
    let slope = (loss_at(0.01) - loss_at(-0.01)) / 0.02;
    let expected = numbers(&dir.path("g"), "head.bias")[0];
    assert!((slope - expected).abs() < 1e-3, "{slope} and {expected}");
}

#[test]
fn files_that_do_not_fit_are_named() {
    let dir = folder();
    fine(dlc(&dir.path(""), &["train", "side.dl", "--out", "out", "--set", "fit.n=1"]));
    let x = Tensor::from_f32(vec![2, 1], vec![1.0, 2.0]).expect("two numbers");
    let wide = Tensor::from_f32(vec![2, 3], vec![0.0; 6]).expect("six numbers");
    save(&dir.path("x"), &[("x", &x)]);
    save(&dir.path("wide"), &[("x", &wide)]);
    save(&dir.path("other"), &[("X", &x)]);
    let run = |weights: &str, input: &str, out: &str| {
        dlc(&dir.path(""), &["run", "side.dl", "--weights", weights, "--in", input, "--out", out])
    };
    let good = "out/model.safetensors";
    fails(run(good, "none", "y"), 2, &["error[E0620]: cannot read none: no such file or directory"]);
    fails(run("none", "x", "y"), 2, &["error[E0620]: cannot read none"]);
    fails(run("side.dl", "x", "y"), 2, &["error[E0610]: side.dl is not a sound safetensors file"]);
    fails(run("x", "x", "y"), 2, &["error[E0601]: 0 of 4 names found in x"]);
    fails(run(good, "wide", "y"), 2, &["`x` is [2, 3] here, expected [B, 1]"]);
    fails(run(good, "other", "y"), 2, &["not in the file: `x`", "without use here: `X`"]);
    fails(run(good, "x", "side.dl/y"), 2, &["error[E0621]: cannot write side.dl/y: not a directory"]);
    let wider = ["--weights", good, "--in", "x", "--out", "y", "--set", "Side.width=9"];
    let told = dlc(&dir.path(""), &[&["run", "side.dl"][..], &wider].concat());
    fails(told, 2, &["error[E0602]", "`fc1.weight` is [9, 1] here and [8, 1] in out/model.safetensors"]);
    assert!(!dir.path("y").exists());
}

#[test]
fn a_training_that_cannot_go_on_says_why() {
    let dir = folder();
    let train = |more: &[&str]| dlc(&dir.path(""), &[&["train", "side.dl", "--out", "out"], more].concat());
    fails(
        train(&["--set", "fit.lr=1e30"]),
        3,
        &["error[E0703]: loss is", " at step ", "; the first non-finite value is "],
    );
    assert!(!dir.path("out/model.safetensors").exists());
    // Only one layer makes too large a number of sound ones.
    let huge = SPEC.replace("return h ->", "h = h -> mid.wide: Wide\n  return h ->");
    let wide = "block Wide()(x: [B, W]) -> [B, W] { return exp(x * 1000 + 1000) }\n";
    dir.file("huge.dl", wide.to_owned() + &huge);
    let told = dlc(&dir.path(""), &["train", "huge.dl", "--out", "out"]);
    fails(told, 3, &["error[E0703]: loss is NaN at step 0; the first non-finite value is mid.wide\n"]);
    fails(train(&["--out", "side.dl/x"]), 1, &["cannot be used multiple times"]);
    fails(
        dlc(&dir.path(""), &["train", "side.dl", "--out", "side.dl/x"]),
        2,
        &["error[E0621]: cannot write side.dl/x"],
    );
    fails(train(&["fti"]), 1, &["did you mean `fit`?"]);
    fails(train(&["--set", "fit.lrr=1"]), 1, &["did you mean `lr`?"]);
    dir.file("sides.csv", "0.5,1\nabc,0\n1.5,1\n2.5\n0.5,1\n");
    fails(
        train(&[]),
        2,
        &[
            "error[E0611]: 2 rows of sides.csv cannot be read",
            "sides.csv:2: column `x` has `abc`",
            "sides.csv:4: 1 values, expected 2",
        ],
    );
    std::fs::remove_file(dir.path("sides.csv")).expect("it is there");
    fails(train(&[]), 2, &["error[E0620]: cannot read sides.csv: no such file or directory"]);
}

/// Four rows, and a training of one step on them.
fn one_step(dir: &Scratch, model: &str, train: &str) -> Ended {
    dir.file("rows.csv", "x,t\n1,0\n2,0\n3,1\n4,1\n");
    let spec = format!(
        "model M()(x: [B]) -> y: [B] {{ {model} }}
        data d {{ source = csv(\"rows.csv\")  batch = 4 }}
        train f {{ model = M()  data = d  {train} }}"
    );
    dir.file("one.dl", spec);
    dlc(&dir.path(""), &["train", "one.dl", "--out", "out"])
}

#[test]
fn what_is_not_finite_is_told_before_weights_are_written() {
    let line = "w: param [1] = zeros  return x * w";
    let cases = [
        // The loss is finite, and its gradient is not, in the only step.
        (
            line,
            "loss = mse(y, t) + sqrt(sum(tensor(\"w\") ^ 2))  optimizer = SGD(lr = 0.1)  max_steps = 1",
            "the gradient of `w` is NaN at step 0; the first non-finite value is ",
        ),
        // A step that is too long, the last of an epoch and of the training.
        (line, "loss = mse(y, t)  optimizer = SGD(lr = 1e38)  epochs = 1", "weight `w` is inf after step 0"),
        // A square that leaves single precision in a state of the optimizer.
        (
            line,
            "loss = 1e25 * mse(y, t)  optimizer = Adam(lr = 0.1)  max_steps = 1",
            "the optimizer's `v` of `w` is inf after step 0",
        ),
        // A state of the model.
        (
            "w: param [1] = zeros  s: state [1] = zeros
            if training { s <- s + log(sum[0](x) - 10) }
            return x * w",
            "loss = mse(y, t)  optimizer = SGD(lr = 0.1)  max_steps = 1",
            "weight `s` is -inf after step 0",
        ),
    ];
    for (model, train, said) in cases {
        let dir = Scratch::new();
        fails(one_step(&dir, model, train), 3, &["error[E0703]: ", said]);
        assert!(!dir.path("out/model.safetensors").exists(), "{said}");
    }
    // What was infinite before the training is meant so.
    let dir = Scratch::new();
    let mask = "w: param [1] = zeros  floor: state [1] = -inf  return max(x * w, floor)";
    fine(one_step(&dir, mask, "loss = mse(y, t)  optimizer = SGD(lr = 0.1)  max_steps = 1"));
}

#[test]
fn settings_that_change_are_held_to_their_ranges_at_each_step() {
    let line = "w: param [1] = zeros  return x * w";
    let train = |lr: &str| {
        let dir = Scratch::new();
        one_step(&dir, line, &format!("loss = mse(y, t)  optimizer = SGD(lr = {lr})  max_steps = 3"))
    };
    fine(train("0.02 - 0.01 * step"));
    fine(train("0"));
    // A negative rate climbs.
    fine(train("0.01 - 0.01 * step"));
    fails(train("1 / (2 - step)"), 2, &["error[E0701]: ", "SGD requires abs(lr) < inf", "at step 2"]);
    fails(train("0 / step"), 2, &["error[E0701]: ", "SGD requires abs(lr) < inf", "at step 0"]);
}

#[test]
fn clip_makes_a_step_of_its_length_of_gradients_of_any_size() {
    for (scale, clip) in [("1", "1"), ("1e25", "1"), ("1e37", "1"), ("1e-15", "1e-20")] {
        let dir = Scratch::new();
        let train = format!("loss = {scale} * sum(y)  optimizer = SGD(lr = 0.5)  clip = {clip}  max_steps = 1");
        fine(one_step(&dir, "w: param [4] = zeros  return sum[-1](x[:, none] * w)", &train));
        let found = numbers(&dir.path("out/model.safetensors"), "w");
        // PyTorch adds 1e-6 to the norm, which is 2 * 10 * scale.
        let (scale, clip): (f64, f64) = (scale.parse().expect("a number"), clip.parse().expect("a number"));
        let expected = -0.5 * 10.0 * scale * (clip / (20.0 * scale + 1e-6)).min(1.0);
        assert!(found.iter().all(|w| (f64::from(*w) / expected - 1.0).abs() < 1e-5), "{found:?} for {expected}");
    }
}

#[test]
fn micro_batches_of_several_terms_report_the_loss_of_one_batch() {
    let dir = Scratch::new();
    let rows = |n: usize| {
        (0..n).map(|i| format!("{},{}\n", i as f32 / 4.0, if i % 3 == 0 { -100 } else { 1 })).collect::<String>()
    };
    dir.file("rows.csv", format!("x,t\n{}", rows(8)));
    let train = |batch: usize, accumulate: usize| {
        let spec = format!(
            "model M()(x: [B]) -> y: [B, 2] {{ return x[:, none] -> fc: Linear(2) }}
            data d {{ source = csv(\"rows.csv\")  batch = {batch}  columns {{ x = f32(x)  label = i64(t) }} }}
            train f {{ model = M()  data = d  optimizer = SGD(lr = 0.5)  max_steps = 1  interval = 1  accumulate = {accumulate}
              loss = cross_entropy(y, label) + 0.1 * mean(y ^ 2) + 0.01 * sum(tensor(\"fc.weight\") ^ 2) }}"
        );
        dir.file("m.dl", spec);
        fine(dlc(&dir.path(""), &["train", "m.dl", "--out", "out"]));
        let lines = std::fs::read_to_string(dir.path("out/metrics.jsonl")).expect("it was written");
        let line: serde_json::Value = serde_json::from_str(lines.lines().next().expect("a line")).expect("it is JSON");
        (numbers(&dir.path("out/model.safetensors"), "fc.weight"), line["loss"].as_f64().expect("a number"))
    };
    let (expected, loss) = train(8, 1);
    for (batch, accumulate) in [(2, 4), (3, 3), (1, 8), (7, 2)] {
        let (found, own) = train(batch, accumulate);
        let near = expected.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-6);
        assert!(
            near && (own - loss).abs() < 1e-6,
            "{batch} by {accumulate}: {found:?} and {own} for {expected:?} and {loss}"
        );
    }
}

#[test]
fn a_label_that_is_no_class_is_named_with_its_row() {
    let dir = folder();
    let rows =
        |bad: &str| -> String { (0..80).map(|i| format!("0.5,{}\n", if i == 33 { bad } else { "1" })).collect() };
    let train = |bad: &str| {
        dir.file("sides.csv", rows(bad));
        dlc(&dir.path(""), &["train", "side.dl", "--out", "out", "--set", "fit.n=2"])
    };
    fails(train("2"), 2, &["error[E0702]: label 2 at row 33 is outside 0..2\n"]);
    fails(train("-1"), 2, &["error[E0702]: label -1 at row 33 is outside 0..2\n"]);
    assert_eq!(
        Scratch::names_in(&dir.path("out")),
        [".lock", "metrics.jsonl", "resolved.dl"],
        "nothing is half written"
    );
    // The one that the loss ignores is none.
    fine(train("-100"));
    let batch = Tensor::from_i64(vec![2], vec![0, 7]).expect("two numbers");
    let x = Tensor::from_f32(vec![2, 1], vec![1.0, 2.0]).expect("two numbers");
    save(&dir.path("batch"), &[("x", &x), ("label", &batch)]);
    let files = ["--weights", "out/model.safetensors", "--in", "batch", "--out", "g"];
    let told = dlc(&dir.path(""), &[&["grad", "side.dl"][..], &files].concat());
    fails(told, 2, &["error[E0702]: label 7 at row 1 is outside 0..2\n"]);
    assert!(!dir.path("g").exists());
}

/// A spec that starts from the weights of a file of another library's habit.
const TUNED: &str = "\
block Lift(O)(x: [.., I]) -> [.., O] {
  weight: param [O, I] = zeros
  return x @ weight.t
}
model Side()(x: [B, 1]) -> logits: [B, 2] {
  h = x -> body.fc: Lift(3)
  return h -> head: Linear(2)
}
weights base {
  file = \"base.safetensors\"
  rename \"bert.**\" => \"body.**\"
  ignore \"pooler\"
  missing \"head\"
}
data sides {
  source = csv(\"sides.csv\", x = 1, label = 1)
  columns {
    x = stack[1](x)
    label = i64(label)
  }
  batch = 8
}
train fit {
  model = Side()
  data = sides
  weights = base
  loss = cross_entropy(logits, label)
  optimizer = SGD(lr = 0.1)
  max_steps = 1
}
";

#[test]
fn weights_come_by_the_rules_of_the_spec() {
    let dir = folder();
    dir.file("tuned.dl", TUNED);
    let of = |shape: &[usize]| Tensor::from_f32(shape.to_vec(), vec![1.0; shape.iter().product()]).expect("it fits");
    let (body, pooler) = (of(&[3, 1]), of(&[2]));
    let base = dir.path("base.safetensors");
    save(&base, &[("bert.fc.weight", &body), ("pooler.weight", &pooler)]);
    let (x, label) = (of(&[2, 1]), Tensor::from_i64(vec![2], vec![0, 1]).expect("it fits"));
    save(&dir.path("x"), &[("x", &x)]);
    save(&dir.path("batch"), &[("x", &x), ("label", &label)]);
    let call = |command: &str, file: &str, input: &str, more: &[&str]| {
        let files = ["--weights", file, "--in", input, "--out", "y", "--seed", "5"];
        dlc(&dir.path(""), &[&[command, "tuned.dl"][..], &files, more].concat())
    };
    fine(call("run", "base.safetensors", "x", &[]));
    let logits = numbers(&dir.path("y"), "logits");
    assert!(logits.iter().any(|z| *z != 0.0), "the head has its first values: {logits:?}");
    fine(call("run", "base.safetensors", "x", &["--engine", "interp"]));
    let same = numbers(&dir.path("y"), "logits");
    assert!(logits.iter().zip(&same).all(|(a, b)| (a - b).abs() < 1e-5), "{logits:?} and {same:?}");
    fine(call("grad", "base.safetensors", "batch", &[]));
    fine(dlc(&dir.path(""), &["train", "tuned.dl", "--out", "out"]));
    // What dlc wrote itself has the model's names.
    fine(call("run", "out/model.safetensors", "x", &[]));

    save(&base, &[("bert.fc.weight", &of(&[1, 3]))]);
    let turned = "\
error[E0602]: `body.fc.weight` is [3, 1] here and [1, 3] in base.safetensors
 --> tuned.dl:2:3
  |
2 |   weight: param [O, I] = zeros
  |   ^^^^^^
  |
  = help: the file stores it as [in, out], transposed. Declare `weight: param [I, O]` and use `x @ weight`.
";
    for told in [
        dlc(&dir.path(""), &["train", "tuned.dl", "--out", "out2"]),
        call("run", "base.safetensors", "x", &[]),
        call("grad", "base.safetensors", "batch", &[]),
    ] {
        assert_eq!((told.code, told.err.as_str()), (2, turned));
    }
    save(&base, &[("bert.fc.weight", &body), ("vocab", &pooler)]);
    let place = "\n  --> tuned.dl:10:10\n   |\n10 |   file = \"base.safetensors\"\n";
    let told = dlc(&dir.path(""), &["train", "tuned.dl", "--out", "out2"]);
    fails(told, 2, &["error[E0603]: 1 tensor of the file is not in the model\n", place, "`ignore \"vocab\"`"]);
    save(&base, &[("gpt.body.fc.weight", &body)]);
    let told = dlc(&dir.path(""), &["train", "tuned.dl", "--out", "out2"]);
    fails(told, 2, &["error[E0601]: 0 of 3 names found in base.safetensors\n", place, "`rename \"gpt.**\" => \"**\"`"]);
    assert!(!dir.path("out2/model.safetensors").exists());
}

#[test]
fn a_size_that_the_model_does_not_take_is_named() {
    let dir = Scratch::new();
    dir.file("short.dl", "model Short(P = 3)(x: [B, T]) -> y: [B, T] require T <= P { return 2 * x }\n");
    save(&dir.path("none"), &[]);
    save(&dir.path("x"), &[("x", &Tensor::zeros(dlc::DType::F32, &[1, 5]).expect("it is small"))]);
    for engine in ["jit", "interp"] {
        let files = ["--weights", "none", "--in", "x", "--out", "y", "--engine", engine];
        let told = dlc(&dir.path(""), &[&["run", "short.dl"][..], &files].concat());
        fails(told, 2, &["error[E0701]: ", "Short requires T <= P (3)"]);
    }
    assert_eq!(dir.names(), ["none", "short.dl", "x"]);
}

#[test]
fn damaged_weights_are_refused() {
    let dir = folder();
    fine(dlc(&dir.path(""), &["train", "side.dl", "--out", "out", "--set", "fit.n=1"]));
    let x = Tensor::from_f32(vec![2, 1], vec![1.0, 2.0]).expect("two numbers");
    save(&dir.path("x"), &[("x", &x)]);
    let sound = std::fs::read(dir.path("out/model.safetensors")).expect("it is there");
    let header = |text: &str| [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat();
    let overlap = r#"{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}"#;
    let cases = [
        ("cut in its header", sound[..40].to_vec(), "and 32 follow: it is cut short"),
        ("cut in its numbers", sound[..sound.len() - 1].to_vec(), "follow the header: it is cut short"),
        ("10 GB of header", [&10_000_000_000u64.to_le_bytes()[..], b"{}"].concat(), "10000000000 bytes, and 2 follow"),
        ("overlap", [header(overlap), vec![0; 12]].concat(), "its header says"),
    ];
    for (name, bytes, said) in cases {
        dir.file("w", bytes);
        let told = dlc(&dir.path(""), &["run", "side.dl", "--weights", "w", "--in", "x", "--out", "y"]);
        assert_eq!(told.code, 2, "{name}");
        fails(told, 2, &["error[E0610]: w is not a sound safetensors file: ", said]);
        assert!(!dir.path("y").exists(), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn ctrl_c_saves_a_checkpoint() {
    let dir = folder();
    let mut command = command(&dir.path(""), &["train", "side.dl", "--out", "out", "--set", "fit.n=10000000"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary runs");
    let mut lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    assert!(lines.next().expect("it says what it has").expect("text").starts_with("rows: "));
    assert!(lines.next().expect("it reports").expect("text").starts_with("epoch 1/"));
    let id = child.id().to_string();
    let sent = std::process::Command::new("kill").args(["-INT", &id]).status().expect("there is a `kill`");
    assert!(sent.success());
    lines.for_each(drop);
    let done = ended(child.wait_with_output().expect("it ends"));
    assert_eq!(done.code, 130, "{}", done.err);
    assert!(done.err.contains("`--resume` goes on from out/checkpoints"), "{}", done.err);
    let file = TensorFile::open(&dir.path("out/checkpoints/last/weights.safetensors")).expect("it is sound");
    assert_eq!(file.names().count(), 4);
    assert!(dir.path("out/metrics.jsonl").exists());
    assert!(!dir.path("out/model.safetensors").exists());
}

#[test]
fn every_stage_can_be_printed() {
    let dir = folder();
    let emit = |stage: &str, more: &[&str]| {
        fine(dlc(&dir.path(""), &[&["compile", "side.dl", "--emit", stage], more].concat())).out
    };
    assert!(emit("model", &[]).contains("fc1.weight"));
    assert!(emit("model", &["Side"]).contains("fc1.weight"));
    for stage in ["ast", "graph", "grad", "plan", "clif", "rust"] {
        let text = emit(stage, &[]);
        assert!(text.len() > 200, "{stage}: {text}");
        assert_eq!(text, emit(stage, &[]), "{stage} is a function of the spec");
    }
    let rust = emit("rust", &[]);
    assert!(rust.contains("pub struct Side(") && rust.contains("pub struct Fit("), "{rust}");
    assert!(!emit("rust", &["Side"]).contains("pub struct Fit("));
    fails(dlc(&dir.path(""), &["compile", "side.dl", "Sied", "--emit", "plan"]), 1, &["did you mean `Side`?"]);
    dir.file(
        "two.dl",
        SPEC.to_owned() + &SPEC[SPEC.find("train fit").expect("it is there")..].replace("fit(", "again("),
    );
    fails(dlc(&dir.path(""), &["compile", "two.dl", "--emit", "plan"]), 1, &["there are several: `fit`, `again`"]);
    fails(dlc(&dir.path(""), &["train", "two.dl"]), 1, &["`fit`, `again`", "name one of them"]);
}
