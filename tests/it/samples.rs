//! Trainings on texts and pictures from one end to the other: files in, weights out, the same bits on any number of threads.

use crate::assets::asset;
use crate::cli::dlc;
use crate::scratch::Scratch;
use std::path::Path;

fn golden(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

/// Trains, and gives what is printed and the weights as bytes.
fn trained(dir: &Scratch, more: &[&str]) -> (String, Vec<u8>) {
    let out = dir.path("out");
    let args = [&["train", "spec.dl", "--out", out.to_str().expect("a path of letters")], more].concat();
    let ended = dlc(&dir.path(""), &args);
    assert_eq!(ended.code, 0, "{}", ended.err);
    (ended.out + &ended.err, std::fs::read(out.join("model.safetensors")).expect("it was written"))
}

/// The last number behind a word.
fn last(text: &str, word: &str) -> f64 {
    let found = text.rsplit_once(word).unwrap_or_else(|| panic!("no {word} in {text}")).1;
    let number = found.split([' ', ',', '\n']).next().unwrap_or_default();
    number.parse().unwrap_or_else(|_| panic!("{number} is no number, in {text}"))
}

const PICTURES: &str = "
model Cnn()(image: [B, 3, 12, 16]) -> logits: [B, 2] {
  x = image -> conv: Conv2d(8, 3, padding = 1) -> relu -> global_avg_pool
  return x -> head: Linear(2)
}
data pictures {
  source = images(\"pictures\")
  columns {
    image = (f32(pixels) / 255 - statistic(mean[0, 2, 3, keep](f32(pixels) / 255))) / 0.25
    label = i64(label)
  }
  augment { image = image -> random_crop(12, width = 16, pad = 2) -> random_flip }
  batch = 4
  shuffle = true
}
train fit(k = 1) {
  model = Cnn()
  data = pictures
  loss = cross_entropy(logits, label)
  optimizer = Adam(lr = 1e-2)
  accumulate = k
  epochs = 12
}
";

#[test]
fn pictures_train_to_the_same_bits_on_any_number_of_threads() {
    let dir = Scratch::new();
    for class in ["blue", "red"] {
        std::fs::create_dir_all(dir.path("pictures").join(class)).expect("it can be made");
        for name in Scratch::names_in(&golden("pictures").join(class)) {
            let (from, to) = (golden("pictures").join(class).join(&name), dir.path("pictures").join(class).join(&name));
            std::fs::copy(from, to).expect("it can be copied");
        }
    }
    dir.file("spec.dl", PICTURES);
    let (text, weights) = trained(&dir, &["--threads", "1"]);
    assert!(last(&text, "loss ") < 0.69, "{text}");
    assert_eq!(trained(&dir, &["--threads", "3"]).1, weights);
    dir.file("spec.dl", PICTURES.replace("augment", "// augment"));
    assert_ne!(trained(&dir, &[]).1, weights, "augmentation is a part of training");
}

const SENTENCES: &str = "
model Bag(V = 200, D = 16)(ids: i64[B, T], mask: i64[B, T]) -> (logits: [B, 2], here: [B, T]) {
  words = ids -> embedding: Embedding(V, D)
  real = f32(mask)
  mean_word = sum[1](words * real[:, :, none]) / sum[1](real)[:, none]
  return mean_word -> head: Linear(2), real
}
data sentences {
  source = tsv(\"sentences.tsv\")
  split { train = 0.75  valid = 0.25 }
  columns {
    ids, mask = sentence -> tokenize(\"tokenizer.json\", max = 12)
    label = i64(label)
  }
  batch = 8
  shuffle = true
}
train fit {
  model = Bag()
  data = sentences
  loss = cross_entropy(logits, label)
  optimizer = Adam(lr = 3e-2)
  epochs = 8
  metrics {
    accuracy = mean(f32(argmax[-1](logits) == label))
    lengths = sum(here)
    agree = mean(f32(f32(mask) == here))
  }
}
";

/// Rows of unequal length in training and in metrics, where batches are joined.
#[test]
fn sentences_of_unequal_length_are_told_apart() {
    let dir = Scratch::new();
    dir.file("spec.dl", SENTENCES);
    std::fs::copy(golden("tokens/wordpiece.json"), dir.path("tokenizer.json")).expect("it can be copied");
    let row = |n: usize| {
        let (word, label) = if n.is_multiple_of(2) { ("rabbit", 1) } else { ("sister", 0) };
        format!("{}{word} the{}\t{label}\n", "the ".repeat(n % 3), " book".repeat(n % 5))
    };
    dir.file("sentences.tsv", format!("sentence\tlabel\n{}", (0..80).map(row).collect::<String>()));
    let (text, _) = trained(&dir, &[]);
    assert_eq!(last(&text, "accuracy "), 1.0, "{text}");
    assert_eq!(last(&text, "agree "), 1.0, "{text}");
    assert!(last(&text, "lengths ") > 20.0 * 5.0, "{text}");
}

const LETTERS: &str = "
model Letters(V = 96, D = 24)(letters: i64[B, T]) -> logits: [B, T, V] {
  x = letters -> embedding: Embedding(V, D)
  return concat[-1](x, pad[1](x, 1, 0)[:, :-1]) -> hidden: Linear(48) -> relu -> head: Linear(V)
}
data prose {
  source = text(\"FILE\")
  split { train = 0.9  valid = 20 }
  columns { letters, next = windows(characters(text), 32) }
  batch = 16
  shuffle = true
}
train fit {
  model = Letters()
  data = prose
  loss = cross_entropy(logits, next)
  optimizer = Adam(lr = 1e-2)
  max_steps = 150
  metrics { held = cross_entropy(logits, next) }
}
";

/// Batch norm, stochastic depth, crops and mirrors on files as CIFAR-10 has them.
#[test]
fn resnet_20_trains_on_cifars_files() {
    let dir = Scratch::new();
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/resnet20.dl");
    std::fs::copy(example, dir.path("spec.dl")).expect("it can be copied");
    std::fs::create_dir_all(dir.path("data/cifar-10-batches-bin")).expect("it can be made");
    let record = |k: u8| std::iter::once(k % 10).chain((0..3072).map(move |at| (20 * (k % 10)) ^ (at % 7) as u8));
    for (name, records) in [("data_batch_1", 0..8), ("data_batch_2", 8..12), ("test_batch", 12..20)] {
        let bytes: Vec<u8> = records.flat_map(record).collect();
        dir.file(&format!("data/cifar-10-batches-bin/{name}.bin"), bytes);
    }
    let (text, _) = trained(&dir, &["--set", "cifar10.batch=4", "--set", "cifar.epochs=2"]);
    assert!(text.contains("step 6/6") && last(&text, "accuracy ") <= 1.0, "{text}");
}

mod emitted {
    //! The same spec as Rust.
    dlc::model!("tests/specs/letters.dl");
}

/// Texts, windows and augmentation in a program of `model!`: the bits of machine code.
#[test]
fn a_program_trains_on_texts_as_the_command_line_does() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = Scratch::new();
    std::fs::copy(root.join("examples/data/digits.md"), dir.path("prose.txt")).expect("it can be copied");
    std::fs::copy(root.join("tests/specs/letters.dl"), dir.path("spec.dl")).expect("it can be copied");
    let (text, weights) = trained(&dir, &["--threads", "2"]);
    let mut training = emitted::Fit::new(0).expect("it is made");
    let outcome = training.train(dir.path(""), &mut ()).expect("it is sound");
    assert_eq!(outcome.progress.step, 12);
    assert!((outcome.metrics[0].1 - last(&text, "held ")).abs() < 1e-3, "{:?}, {text}", outcome.metrics);
    training.save(dir.path("emitted.safetensors")).expect("it can be written");
    let tensors = |path: &Path| {
        let file = dlc::weights::file::TensorFile::open(path).expect("it is sound");
        let read = |name: &str| file.read(name).expect("it is there").expect("it is sound");
        file.names().map(|name| (name.to_owned(), read(name))).collect::<Vec<_>>()
    };
    assert_eq!(tensors(&dir.path("emitted.safetensors")), tensors(&dir.path("out/model.safetensors")));
    assert!(!weights.is_empty());
}

#[test]
fn shakespeare_is_learnt_by_characters() {
    let Some(file) = asset("shakespeare/hamlet_gut.txt") else { return };
    let dir = Scratch::new();
    std::fs::copy(file, dir.path("hamlet.txt")).expect("it can be copied");
    dir.file("spec.dl", LETTERS.replace("FILE", "hamlet.txt"));
    let (text, _) = trained(&dir, &[]);
    // An even guess is ln(96) = 4.56, and letters by their frequency are 3.3.
    assert!(last(&text, "held ") < 2.8, "{text}");
}

#[test]
fn mistakes_in_files_end_with_their_place() {
    let dir = Scratch::new();
    dir.file("spec.dl", SENTENCES);
    dir.file("sentences.tsv", "sentence\tlabel\nthe book\t1\nthe book\tyes\n");
    std::fs::copy(golden("tokens/wordpiece.json"), dir.path("tokenizer.json")).expect("it can be copied");
    let ended = dlc(&dir.path(""), &["train", "spec.dl", "--out", "out"]);
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains("sentences.tsv:3: column `label` has `yes`, expected a whole number"), "{}", ended.err);
    dir.file("sentences.tsv", "sentence\tlabel\nthe book\t1\nthe rabbit\t0\nthe book\t1\nthe book\t1\n");
    dir.file("spec.dl", SENTENCES.replace("V = 200", "V = 20"));
    let ended = dlc(&dir.path(""), &["train", "spec.dl", "--out", "out"]);
    assert_eq!(ended.code, 2, "{}", ended.err);
    assert!(ended.err.contains("E0702") && ended.err.contains("is outside 0..20"), "{}", ended.err);
}
