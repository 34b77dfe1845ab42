//! The thirty likeliest mistakes, word for word: `tests/mistakes` has a spec for each, by a number.
//!
//! Below the line that is about to be marked, a comment says what is told about it: carets under the place, then
//! `error[CODE]: message`, and below that a line `help: ..` for each way out. A file that begins with `// dlc run` is sound by
//! itself, and the mistake shows when a model of it is run.

use crate::cli::dlc;
use crate::scratch::Scratch;
use dlc::Tensor;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What is told about a place of a text.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    line: usize,
    /// Columns from 1, the second one just past the end.
    columns: (usize, usize),
    /// `error[E0301]: cannot add ..`
    message: String,
    help: Vec<String>,
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/mistakes")
}

/// The specs, in order of their numbers.
fn specs() -> Vec<String> {
    let mut names = Scratch::names_in(&folder());
    names.retain(|name| name.starts_with(|c: char| c.is_ascii_digit()));
    names
}

fn text(name: &str) -> String {
    std::fs::read_to_string(folder().join(name)).expect("it is there")
}

/// What the comments of a text say.
fn expected(text: &str) -> Vec<Told> {
    let mut told: Vec<Told> = Vec::new();
    let mut marked = 0;
    for (i, line) in text.lines().enumerate() {
        let said = line.trim_start().strip_prefix("//").map(str::trim_start).unwrap_or_default();
        if let Some(help) = said.strip_prefix("help: ") {
            told.last_mut().expect("a way out of a mistake").help.push(help.to_string());
        } else if said.starts_with('^') {
            let message = said.trim_start_matches('^');
            let columns = (line.len() - said.len() + 1, line.len() - message.len() + 1);
            told.push(Told { line: marked, columns, message: message.trim_start().to_string(), help: Vec::new() });
        } else {
            marked = i + 1;
        }
    }
    told.sort();
    told
}

/// What `dlc --json` says, each at its place.
fn found(folder: &Path, args: &[&str]) -> Vec<Told> {
    let ended = dlc(folder, &[args, &["--json"]].concat());
    let number = |v: &Value| v.as_u64().expect("a number") as usize;
    let word = |v: &Value| v.as_str().expect("a text").to_string();
    let told = |line: &str| {
        let d: Value = serde_json::from_str(line).expect("a line of JSON for each mistake");
        let labels = d["labels"].as_array().expect("labels");
        let place = labels.iter().find(|label| label["primary"] == true).expect("a mistake has a place");
        assert_eq!(place["line"], place["end_line"], "{line}");
        Told {
            line: number(&place["line"]),
            columns: (number(&place["column"]), number(&place["end_column"])),
            message: format!("{}[{}]: {}", word(&d["severity"]), word(&d["code"]), word(&d["message"])),
            help: d["help"].as_array().expect("ways out").iter().map(word).collect(),
        }
    };
    let mut all: Vec<Told> = ended.err.lines().map(told).collect();
    let refused = all.iter().any(|told| told.message.starts_with("error"));
    assert_eq!(ended.code == 0, !refused, "{args:?} ends with {}", ended.code);
    // The files that some of them name are nobody's.
    all.retain(|told| !told.message.starts_with("warning[W0620]: cannot read"));
    all.sort();
    all
}

#[test]
fn each_of_the_thirty_is_told_word_for_word_at_its_place() {
    let mut codes = Vec::new();
    for name in specs() {
        let text = text(&name);
        let args = match text.starts_with("// dlc run\n") {
            true => vec!["run", &name, "--in", "none", "--out", "none"],
            false => vec!["check", &name],
        };
        let expected = expected(&text);
        assert_eq!(found(&folder(), &args), expected, "{name}");
        let [told] = &expected[..] else { panic!("{name} makes one mistake") };
        codes.push(told.message[told.message.find('[').expect("a code") + 1..][..5].to_string());
    }
    let table = "E0001 E0002 E0003 E0004 E0101 E0102 E0103 E0104 E0105 E0201 E0202 E0203 E0204 E0205 E0301 E0302 E0303 E0304 \
                 E0305 E0306 E0308 E0309 E0401 E0402 E0501 E0502 E0601 E0603 W0801 W0802";
    assert_eq!(codes.join(" "), table);
}

/// One file that makes twenty-one of the mistakes, in as many models, and is told all of them.
#[test]
fn all_mistakes_of_a_file_are_told_at_once() {
    let about_models = |name: &String| ("05".."25").contains(&&name[..2]) || name.starts_with("30");
    let mut whole = String::new();
    // The one that names a line comes first, so that it is the line that it names.
    let mut names: Vec<String> = specs().into_iter().filter(about_models).collect();
    names.sort_by_key(|name| !name.starts_with("11"));
    for (letter, name) in ('A'..).zip(&names) {
        whole += &text(name).replace("model M(", &format!("model {letter}("));
    }
    let dir = Scratch::new();
    dir.file("all.dl", &whole);
    let expected = expected(&whole);
    assert_eq!(expected.len(), 21);
    assert_eq!(found(&dir.path(""), &["check", "all.dl"]), expected);
}

/// All that goes wrong in running is named too: sizes, indices, and where numbers end.
#[test]
fn what_goes_wrong_in_running_is_told_word_for_word() {
    let dir = Scratch::new();
    let save = |name: &str, tensors: &[(&str, Tensor)]| {
        let tensors: Vec<(&str, &Tensor)> = tensors.iter().map(|(name, t)| (*name, t)).collect();
        dlc::weights::save(&dir.path(name), &tensors, &BTreeMap::new()).expect("it can be written");
    };
    let fails = |args: &[&str], code: i32, message: &str| {
        let ended = dlc(&dir.path(""), args);
        assert_eq!((ended.code, ended.err.lines().next()), (code, Some(message)), "{}", ended.err);
    };
    let spec = "model Bert(P = 512)(x: [B, T, 1], label: i64[B]) -> y: [B] require T <= P {\n\
                  repeat 6 as i { x = x -> bert.layer.{i}: Layer(i) }\n\
                  return x[:, 0, 0]\n\
                }\n\
                block Layer(i)(x) { return x -> attention: Grow(i) }\n\
                block Grow(i)(x: [.., D]) -> [.., D] {\n\
                  weight: param [D] = ones\n\
                  return exp(x * weight + where(i == 3, 200, -1))\n\
                }\n\
                data rows { source = safetensors(\"rows\")  columns { x = x  label = label }  batch = 3 }\n\
                train fit {\n\
                  model = Bert()  data = rows  loss = mean(y + f32(within(label, 10)))  optimizer = SGD(lr = 0)  epochs = 1\n\
                }\n";
    dir.file("bert.dl", spec);
    let ones = |shape: &[usize]| Tensor::from_f32(shape.to_vec(), vec![1.0; shape.iter().product()]).expect("as many");
    let labels = |labels: &[i64]| Tensor::from_i64(vec![labels.len()], labels.to_vec()).expect("as many");
    let weights: Vec<String> = (0..6).map(|i| format!("bert.layer.{i}.attention.weight")).collect();
    let weights: Vec<(&str, Tensor)> = weights.iter().map(|name| (name.as_str(), ones(&[1]))).collect();
    save("weights", &weights);
    save("long", &[("x", ones(&[1, 600, 1])), ("label", labels(&[0]))]);
    let run = ["run", "bert.dl", "--weights", "weights", "--in", "long", "--out", "y"];
    fails(&run, 2, "error[E0701]: T = 600, but Bert requires T <= P (512)");
    save("rows", &[("x", ones(&[3, 4, 1])), ("label", labels(&[3, 9, 12]))]);
    let train = ["train", "bert.dl", "--out", "out"];
    fails(&train, 2, "error[E0702]: label 12 at row 2 is outside 0..10");
    save("rows", &[("x", ones(&[3, 4, 1])), ("label", labels(&[3, 9, 1]))]);
    let place = "the first non-finite value is bert.layer.3.attention";
    fails(&train, 3, &format!("error[E0703]: loss is inf at step 0; {place}"));
}
