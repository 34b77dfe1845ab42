//! `dlc check` opens every file that a spec names: one that is not there is a warning, one that is not what the spec says of it an
//! error, both at the line that names it or uses the column. However large a file is, its beginning is all that is read.
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

use crate::cli::{Ended, dlc};
use crate::scratch::Scratch;
use dlc::Tensor;
use std::collections::BTreeMap;

const MODEL: &str = "model Line()(x: [B, 2]) -> y: [B, 1] { return x -> fc: Linear(1) }\n";

/// A spec whose data has the source given, columns `a`, `b` and `t` being numbers.
fn spec(source: &str) -> String {
    format!(
        "{MODEL}data d {{
  source = {source}
  columns {{
    x = stack[1](f32(a), f32(b))
    t = t
  }}
  batch = 2
}}
train fit {{ model = Line()  data = d  loss = mse(y[:, 0], t)  optimizer = SGD(lr = 1)  epochs = 1 }}
"
    )
}

fn check(dir: &Scratch, text: &str) -> Ended {
    dir.file("m.dl", text);
    dlc(&dir.path(""), &["check", "m.dl"])
}

fn says(told: &Ended, code: i32, said: &[&str]) {
    assert_eq!(told.code, code, "{}{}", told.out, told.err);
    said.iter().for_each(|text| assert!(told.err.contains(text), "`{text}` is not in {}", told.err));
}

fn save(dir: &Scratch, name: &str, tensors: &[(&str, &Tensor)]) {
    dlc::weights::save(&dir.path(name), tensors, &BTreeMap::new()).unwrap();
}

#[test]
fn a_file_that_is_not_there_is_a_warning_where_it_is_named() {
    let dir = Scratch::new();
    for (source, at) in [
        ("csv(\"none\")", "3:16"),
        ("tsv(\"none\", a = 1, b = 1, t = 1)", "3:16"),
        ("jsonl(\"none\")", "3:18"),
        ("npz(\"none\")", "3:16"),
        ("safetensors(\"none\")", "3:24"),
        ("csv(\"d.csv\", \"none\")", "3:25"),
    ] {
        dir.file("d.csv", "a,b,t\n1,2,3\n");
        let told = check(&dir, &spec(source));
        says(&told, 0, &["warning[W0620]: cannot read none: no such file", &format!("m.dl:{at}")]);
        assert_eq!(told.err.matches("warning").count(), 1, "{}", told.err);
    }
    let all = format!(
        "{MODEL}weights w {{ file = \"none.w\" }}
lora l {{ file = \"none.l\"  rank = 2  target \"fc\" }}
data p {{ source = images(\"none.p\", size = 4)  batch = 1 }}
data i {{ source = idx(\"none.i\", \"none.j\")  batch = 1 }}
data o {{ source = cifar(\"none.c\")  test = tokens(\"none.t\")  batch = 1 }}
data s {{
  source = text(\"none.x\")
  valid = text(\"none.v\")
  columns {{ ids = tokenize(text, \"none.json\") }}
  batch = 1
}}
model Bag()(ids: i64[B, T]) -> y: [B] {{ return mean[1](f32(ids)) }}
train fit {{ model = Bag()  data = s  loss = mean(y)  optimizer = SGD(lr = 1)  epochs = 1 }}
"
    );
    let told = check(&dir, &all);
    for (name, line) in
        [("w", 2), ("l", 3), ("p", 4), ("i", 5), ("j", 5), ("c", 6), ("t", 6), ("x", 8), ("v", 9), ("json", 10)]
    {
        let at = format!("cannot read none.{name}: no such file or directory\n  --> m.dl:{line}:");
        let near = format!("cannot read none.{name}: no such file or directory\n --> m.dl:{line}:");
        assert!(told.err.contains(&at) || told.err.contains(&near), "{name} of line {line} is not in {}", told.err);
    }
    assert_eq!(told.err.matches("warning[W0620]").count(), 10, "{}", told.err);
}

#[test]
fn files_that_are_not_what_the_spec_says_are_errors() {
    let dir = Scratch::new();
    dir.file("good.csv", "a,b,t\n1,2,3\n");
    dir.file("short.csv", "a,b\n1,2\n");
    dir.file("text.csv", "a,b,t\n1,2,3\n1,male,3\n");
    dir.file("wide.csv", "a,b,t\n1,2,3,4\n");
    dir.file("text.tsv", "1\t2\t3\n1\tx\t3\n");
    dir.file("good.jsonl", "{\"a\": 1, \"b\": 2, \"t\": 3}\n");
    dir.file("text.jsonl", "{\"a\": 1, \"b\": 2, \"t\": 3}\n{\"a\": 1, \"b\": \"x\", \"t\": 3}\n");
    dir.file("short.jsonl", "{\"a\": 1, \"b\": 2, \"t\": 3}\n{\"a\": 1, \"t\": 3}\n");
    dir.file("bad.npz", "this is none");
    let one = Tensor::from_f32(vec![1], vec![1.0]).unwrap();
    save(&dir, "short.safetensors", &[("a", &one), ("b", &one)]);
    save(&dir, "good.safetensors", &[("a", &one), ("b", &one), ("t", &one)]);
    for (source, said) in [
        ("csv(\"text.csv\")", &["E0611", "text.csv:3: column `b` has `male`, expected a number", "m.dl:5:30"][..]),
        ("csv(\"wide.csv\")", &["E0611", "wide.csv:2: 4 values, expected 3", "m.dl:3:16"]),
        ("csv(\"good.csv\")\n  valid = csv(\"short.csv\")", &["E0612", "has no column `t`", "m.dl:4:15"]),
        ("csv(\"good.csv\")\n  test = csv(\"text.csv\")", &["text.csv:3: column `b` has `male`", "m.dl:6:30"]),
        ("csv(\"short.csv\")", &["`short.csv` has no column `t`", "m.dl:6:9"]),
        ("tsv(\"text.tsv\", a = 1, b = 1, t = 1)", &["text.tsv:2: column `b` has `x`", "m.dl:5:30"]),
        ("jsonl(\"text.jsonl\")", &["text.jsonl:2: `b` is `\"x\"`, expected a number", "m.dl:5:30"]),
        ("jsonl(\"short.jsonl\")", &["short.jsonl:2: `b` is not there", "m.dl:5:30"]),
        ("npz(\"bad.npz\")", &["E0610", "bad.npz", "m.dl:3:16"]),
        ("safetensors(\"short.safetensors\")", &["has no column `t`", "m.dl:6:9"]),
        (
            "safetensors(\"good.safetensors\")\n  valid = safetensors(\"short.safetensors\")",
            &["no column `t`", "m.dl:4:23"],
        ),
        ("csv(\".\")", &["a folder, and `csv` takes files", "m.dl:3:16"]),
    ] {
        says(&check(&dir, &spec(source)), 1, said);
    }
    for source in ["csv(\"good.csv\")", "jsonl(\"good.jsonl\")", "safetensors(\"good.safetensors\")"] {
        says(&check(&dir, &spec(source)), 0, &[]);
    }
}

#[test]
fn weights_tokenizers_texts_and_pictures_are_looked_into() {
    let dir = Scratch::new();
    dir.file("bad.json", "{\"model\": ");
    dir.file("latin.txt", b"fine\n\xE9\n");
    std::fs::create_dir(dir.path("empty")).unwrap();
    let text = format!(
        "{MODEL}weights w {{ file = \"bad.json\" }}
data p {{ source = images(\"empty\", size = 4)  batch = 1 }}
data s {{
  source = text(\"latin.txt\")
  columns {{ ids = tokenize(text, \"bad.json\") }}
  batch = 1
}}
model Bag()(ids: i64[B, T]) -> y: [B] {{ return mean[1](f32(ids)) }}
train fit {{ model = Bag()  data = s  loss = mean(y)  optimizer = SGD(lr = 1)  epochs = 1 }}
"
    );
    let said = ["m.dl:2:", "empty has nothing in it", "m.dl:3:", "latin.txt:2: this is not text in UTF-8", "m.dl:5:"];
    says(&check(&dir, &text), 1, &[&said[..], &["bad.json is not a tokenizer", "m.dl:6:"]].concat());
}

#[cfg(unix)]
#[test]
fn little_is_read_of_what_is_large() {
    let dir = Scratch::new();
    let long = std::fs::File::create(dir.path("long.csv")).unwrap();
    std::io::Write::write_all(&mut &long, b"a,b,t\n1,2,3\n").unwrap();
    // Zeros without an end of a line.
    long.set_len(20 << 30).unwrap();
    let began = std::time::Instant::now();
    let told = check(&dir, &spec("csv(\"long.csv\")"));
    assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
    says(&told, 0, &[]);
    dir.file("deep.csv", "a,b,t\n".to_owned() + &"1,2,3\n".repeat(200_000) + "1,x,3\n");
    says(&check(&dir, &spec("csv(\"deep.csv\")")), 0, &[]);
    says(&check(&dir, &spec("csv(\"/dev/zero\", a = 1, b = 1, t = 1)")), 0, &[]);
    for kind in ["csv", "jsonl"] {
        let began = std::time::Instant::now();
        check(&dir, &spec(&format!("{kind}(\"/dev/zero\")")));
        assert!(began.elapsed().as_secs() < 10, "{kind}: {:?}", began.elapsed());
    }
}
