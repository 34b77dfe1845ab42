//! What commands need not be given: weights of a model without any, a `data` item for the gradients of a batch, the model of a
//! training that trains an imported one.
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

use crate::cli::dlc;
use crate::scratch::Scratch;
use dlc::Tensor;
use dlc::weights::file::TensorFile;
use std::collections::BTreeMap;

fn save(dir: &Scratch, name: &str, tensors: &[(&str, &Tensor)]) {
    dlc::weights::save(&dir.path(name), tensors, &BTreeMap::new()).unwrap();
}

fn numbers(dir: &Scratch, file: &str, name: &str) -> Vec<f32> {
    TensorFile::open(&dir.path(file)).unwrap().read(name).unwrap().unwrap().to_f32_vec()
}

/// Runs a command that must do well; gives what it said.
fn fine(dir: &Scratch, args: &[&str]) -> String {
    let done = dlc(&dir.path(""), args);
    assert_eq!(done.code, 0, "{args:?}: {}{}", done.out, done.err);
    done.err
}

#[test]
fn a_model_without_weights_needs_no_file_of_them() {
    let dir = Scratch::new();
    // The file of weights is another model's.
    let other = "model Other()(x: [B, 2]) -> y: [B, 2] { return x -> fc: Linear(2) }
weights w { file = \"none.safetensors\" }
train fit { model = Other()  weights = w  loss = mean(y)  optimizer = SGD(lr = 1)  epochs = 1 }
";
    dir.file("m.dl", "model Twice()(x: [B, 2]) -> y: [B, 2] { return 2 * x }\n".to_owned() + other);
    save(&dir, "x", &[("x", &Tensor::from_f32(vec![1, 2], vec![1.0, -3.0]).unwrap())]);
    for engine in ["jit", "interp"] {
        assert_eq!(fine(&dir, &["run", "m.dl", "Twice", "--in", "x", "--out", "y", "--engine", engine]), "");
        assert_eq!(numbers(&dir, "y", "y"), [2.0, -6.0]);
    }
    // One that has some is still asked for them.
    dir.file("n.dl", other.lines().next().unwrap());
    let told = dlc(&dir.path(""), &["run", "n.dl", "--in", "x", "--out", "y"]);
    assert_eq!(told.code, 1);
    assert!(told.err.contains("no file of weights is given, and the spec names none"), "{}", told.err);
}

const LINEAR: &str = "model Linear2(O = 2)(x: [B, T, 3], mask: [B, T] = 1) -> logits: [B, T, O] {
  return (x * mask[:, :, none]) -> fc: Linear(O)
}
";

/// A training that says how many classes there are; its loss speaks of what only a batch has.
const FIT: &str = "train fit(classes = 3) {
  model = Linear2(classes)
  loss = mean(scale * cross_entropy(logits, label))
  optimizer = SGD(lr = 0.1)
  epochs = 1
  metrics { accuracy = mean(f32(argmax[-1](logits) == label)) }
}
";

/// Weights that are all 0 give every class the same chance.
fn folder() -> Scratch {
    let dir = Scratch::new();
    let (w, b) =
        (Tensor::from_f32(vec![3, 3], vec![0.0; 9]).unwrap(), Tensor::from_f32(vec![3], vec![0.0; 3]).unwrap());
    save(&dir, "w", &[("fc.weight", &w), ("fc.bias", &b)]);
    let x = Tensor::from_f32(vec![2, 2, 3], (0..12).map(|i| i as f32).collect()).unwrap();
    let label = Tensor::from_i64(vec![2, 2], vec![0, 1, 2, 1]).unwrap();
    let (scale, spare) =
        (Tensor::from_f32(vec![], vec![2.0]).unwrap(), Tensor::from_f32(vec![5], vec![0.0; 5]).unwrap());
    save(&dir, "batch", &[("x", &x), ("label", &label), ("scale", &scale), ("spare", &spare)]);
    save(&dir, "short", &[("x", &x), ("label", &label)]);
    save(&dir, "x", &[("x", &x)]);
    dir
}

#[test]
fn gradients_of_a_batch_need_no_data_item() {
    let dir = folder();
    dir.file("m.dl", LINEAR.to_owned() + FIT);
    for engine in ["jit", "interp"] {
        let args = ["grad", "m.dl", "--weights", "w", "--in", "batch", "--out", "g", "--engine", engine];
        let said = fine(&dir, &args);
        assert!(said.contains("warning[W0701]") && said.contains("`spare`"), "{said}");
        let loss = numbers(&dir, "g", "loss")[0];
        assert!((f64::from(loss) - 2.0 * 3f64.ln()).abs() < 1e-6, "{loss}");
        // Twice the mean over four labels of (1/3 - one).
        let bias = numbers(&dir, "g", "fc.bias");
        let expected = [1.0, 2.0, 1.0].map(|n: f32| 2.0 * (1.0 / 3.0 - n / 4.0));
        bias.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() < 1e-6, "{bias:?}"));
    }
    // What the loss speaks of and the batch does not have is told where it stands.
    let told = dlc(&dir.path(""), &["grad", "m.dl", "--weights", "w", "--in", "short", "--out", "g"]);
    assert_eq!(told.code, 1, "{}", told.err);
    assert!(told.err.contains("nothing is called `scale`") && told.err.contains("m.dl:6:"), "{}", told.err);
    let told = dlc(&dir.path(""), &["check", "m.dl"]);
    assert!(told.err.contains("`dlc grad` takes them from its batch"), "{}", told.err);
}

#[test]
fn a_training_of_an_imported_model_says_what_is_run() {
    let dir = folder();
    dir.file("model.dl", LINEAR);
    dir.file("fit.dl", format!("import {{ Linear2 }} from \"model.dl\"\n{FIT}"));
    dir.file("as.dl", format!("import \"model.dl\" as lib\n{}", FIT.replace("Linear2(", "lib.Linear2(")));
    for (spec, named) in [("fit.dl", &[][..]), ("fit.dl", &["fit"]), ("as.dl", &[]), ("as.dl", &["fit"])] {
        for engine in ["jit", "interp"] {
            let args = ["--weights", "w", "--in", "x", "--out", "y", "--engine", engine];
            assert_eq!(fine(&dir, &[&["run", spec], named, &args].concat()), "");
            // The model as the training configures it: three classes.
            assert_eq!(numbers(&dir, "y", "logits").len(), 12);
        }
    }
    // Under its own name it is as it is by itself, with two.
    let told = dlc(&dir.path(""), &["run", "fit.dl", "Linear2", "--weights", "w", "--in", "x", "--out", "y"]);
    assert!(told.err.contains("`fc.weight` is [2, 3] here and [3, 3] in w"), "{}", told.err);
    let told = dlc(&dir.path(""), &["run", "fit.dl", "fut", "--weights", "w", "--in", "x", "--out", "y"]);
    assert!(told.err.contains("did you mean `fit`?"), "{}", told.err);
    dir.file("two.dl", format!("import {{ Linear2 }} from \"model.dl\"\n{FIT}{}", FIT.replace("fit", "fat")));
    let told = dlc(&dir.path(""), &["run", "two.dl", "--weights", "w", "--in", "x", "--out", "y"]);
    assert!(told.err.contains("several `model` items: `fit`, `fat`"), "{}", told.err);
}

/// A file that an editor of Windows wrote, and one that it imports.
#[test]
fn specs_may_begin_with_a_byte_order_mark() {
    let dir = folder();
    dir.file("model.dl", format!("\u{FEFF}{LINEAR}"));
    dir.file("fit.dl", format!("\u{FEFF}import {{ Linear2 }} from \"model.dl\"\n{FIT}"));
    let args = ["run", "fit.dl", "--weights", "w", "--in", "x", "--out", "y", "--set", "fit.classes=3"];
    assert_eq!(fine(&dir, &args), "");
    let told = dlc(&dir.path(""), &["fmt", "--check", "fit.dl"]);
    assert_eq!(told.out, "fit.dl is not formatted\n");
    fine(&dir, &["fmt", "fit.dl"]);
    assert!(std::fs::read_to_string(dir.path("fit.dl")).unwrap().starts_with("import"));
}
