//! Parts of tensors that are not there, and specs without end: by machine code, the interpreter, emitted Rust and the command line.

use crate::cli::dlc;
use crate::scratch::Scratch;
use dlc::Tensor;
use std::collections::BTreeMap;

mod emitted {
    dlc::model! {
        model Tail()(x: [B, T]) -> y: [B, 2] { return x[:, -4:-2] }
        model Odd()(x: [B, T]) -> y: [B] {
            z[b] = x[b, T - 3]
            return z
        }
    }
}

fn input(rows: usize, columns: usize) -> Tensor {
    let data = (0..rows * columns).map(|i| i as f32 + 1.0).collect();
    Tensor::from_f32(vec![rows, columns], data).expect("there is a number for each element")
}

#[test]
fn emitted_rust_refuses_what_is_not_there() {
    let mut tail = emitted::Tail::new(0).expect("it is made");
    let mut odd = emitted::Odd::new(0).expect("it is made");
    for columns in 0..7 {
        let x = input(2, columns);
        let row = |from: usize| [from as f32 + 1.0, (columns + from) as f32 + 1.0];
        match (tail.run(&x), columns.checked_sub(4)) {
            (Ok(y), Some(at)) => {
                let [a, b] = row(at);
                assert_eq!(y.to_f32_vec(), [a, a + 1.0, b, b + 1.0]);
            }
            (Err(e), None) => {
                let said = e.to_string();
                assert!(said.contains(&format!("T = {columns}, but `-4` at ")), "{said}");
                assert!(said.contains("needs 0 <= T - 4"), "{said}");
            }
            (y, _) => panic!("{columns}: {y:?}"),
        }
        match (odd.run(&x), columns.checked_sub(3)) {
            (Ok(y), Some(at)) => assert_eq!(y.to_f32_vec(), row(at)),
            (Err(e), None) => assert!(e.to_string().contains("needs 0 <= T - 3"), "{e}"),
            (y, _) => panic!("{columns}: {y:?}"),
        }
    }
}

#[test]
fn the_command_line_says_which_sizes_are_too_short() {
    let dir = Scratch::new();
    let save = |name: &str, tensors: &[(&str, &Tensor)]| {
        dlc::weights::save(&dir.path(name), tensors, &BTreeMap::new()).expect("it can be written");
    };
    save("none.safetensors", &[]);
    let cases = [
        ("x[:, -5]", 4, 2, "needs 0 <= T - 5"),
        ("x[:, -5]", 5, 0, ""),
        ("x[:, -1000000000]", 3, 2, "needs 0 <= T - 1000000000"),
        ("x[:, -2:]", 1, 2, "needs 0 <= T - 2"),
        ("x[:, 2 * T - 7]", 3, 2, "needs 0 <= 2 * T - 7 and 2 * T - 7 < T"),
        ("x[:, T]", 3, 1, "T is outside of T"),
        ("x[:, B]", 1, 2, "needs B < T"),
    ];
    for (value, columns, code, said) in cases {
        let spec = format!("model M()(x: [B, T]) -> y: [B, ..] {{ return {value} }}");
        let spec =
            spec.replace("[B, ..] {", if value.contains(':') && value.ends_with(":]") { "[B, 2] {" } else { "[B] {" });
        std::fs::write(dir.path("spec.dl"), spec).expect("it can be written");
        save("in.safetensors", &[("x", &input(2, columns))]);
        for engine in ["jit", "interp"] {
            let args = ["run", "spec.dl", "--weights", "none.safetensors", "--in", "in.safetensors"];
            let ended = dlc(&dir.path(""), &[&args[..], &["--out", "out.safetensors", "--engine", engine]].concat());
            assert_eq!(ended.code, code, "{value} of {columns} by {engine}: {}", ended.err);
            assert!(ended.err.contains(said), "{value} of {columns} by {engine}: {}", ended.err);
        }
    }
}

#[test]
fn specs_without_end_are_not_read_to_it() {
    let dir = Scratch::new();
    let check = |spec: &str| dlc(&dir.path(""), &["check", spec]);
    if std::path::Path::new("/dev/zero").exists() {
        let ended = check("/dev/zero");
        assert!(ended.err.contains("it has more than 1048576 bytes"), "{}", ended.err);
        assert_eq!(ended.code, 1);
        let importing = "import { A } from \"/dev/zero\"\nmodel M()(x: [B, 2]) -> y: [B, 2] { return x }";
        std::fs::write(dir.path("importing.dl"), importing).expect("it can be written");
        let ended = check("importing.dl");
        assert!(ended.err.contains("importing.dl:1:19"), "{}", ended.err);
        assert!(ended.err.contains("it has more than 1048576 bytes"), "{}", ended.err);
    }
    let spec = "model M()(x: [B, 2]) -> y: [B, 2] { return x }\n";
    std::fs::write(dir.path("long.dl"), spec.to_string() + &"// long\n".repeat(140_000)).expect("it can be written");
    let ended = check("long.dl");
    assert!(ended.err.contains("DLC_LIMIT_BYTES sets that number"), "{}", ended.err);
    let with = |variable: &str, number: &str, spec: &str| {
        let mut command = crate::cli::command(&dir.path(""), &["check", spec]);
        crate::cli::ended(command.env(variable, number).output().expect("the binary runs"))
    };
    assert_eq!(with("DLC_LIMIT_BYTES", "2000000", "long.dl").code, 0);
    std::fs::write(dir.path("short.dl"), spec).expect("it can be written");
    assert_eq!(check("short.dl").code, 0);
    let ended = with("DLC_LIMIT_STEPS", "0", "short.dl");
    assert_eq!(ended.code, 1);
    assert!(ended.err.contains("error[E0117]: this spec takes more than 0 steps"), "{}", ended.err);
}

/// A spec whose column is read from a source.
fn reading(source: &str, column: &str) -> String {
    format!(
        "model Line()(x: [B, 1]) -> y: [B, 1] {{ return x -> fc: Linear(1) }}
data d {{
  source = {source}
  columns {{ x = f32({column})[:, none] }}
  batch = 2
}}
train fit {{ model = Line()  data = d  loss = mean(y)  optimizer = SGD(lr = 1)  epochs = 1 }}
"
    )
}

#[test]
fn files_without_end_are_refused() {
    let dir = Scratch::new();
    let train = |source: &str, column: &str| {
        std::fs::write(dir.path("spec.dl"), reading(source, column)).expect("it can be written");
        dlc(&dir.path(""), &["train", "spec.dl"])
    };
    if std::path::Path::new("/dev/zero").exists() {
        let sources =
            ["csv(\"/dev/zero\")", "tsv(\"/dev/urandom\", x = 1)", "jsonl(\"/dev/zero\")", "npz(\"/dev/zero\")"];
        for source in sources.into_iter().chain(["safetensors(\"/dev/zero\")", "csv(\"/dev/urandom\", x = 1)"]) {
            let ended = train(source, "x");
            assert!(ended.code == 1 || ended.code == 2, "{source}: {}", ended.err);
            assert!(ended.err.contains("this is a device, whose bytes may have no end"), "{source}: {}", ended.err);
        }
        for source in ["idx(\"/dev/zero\")", "cifar(\"/dev/zero\")"] {
            let ended = train(source, "label");
            assert!(ended.err.contains("this is a device, whose bytes may have no end"), "{source}: {}", ended.err);
        }
        std::fs::write(dir.path("one.dl"), "model M()(x: [B, 2]) -> y: [B, 2] { return x }")
            .expect("it can be written");
        let args = ["run", "one.dl", "--weights", "/dev/zero", "--in", "/dev/zero", "--out", "out.safetensors"];
        let ended = dlc(&dir.path(""), &args);
        assert!(ended.err.contains("this is a device"), "{}", ended.err);
    }
}

#[test]
fn lines_without_end_are_refused() {
    let dir = Scratch::new();
    let save = |name: &str, text: String| std::fs::write(dir.path(name), text).expect("it can be written");
    save("line.csv", format!("x\n1\n{}\n", "2".repeat(40_000)));
    // A quotation mark that is never closed takes all lines that follow into one value.
    save("quote.csv", format!("x\n1\n\"{}", "2\n".repeat(20_000)));
    save("line.jsonl", format!("{{\"x\": 1}}\n{{\"x\": {}2}}\n", " ".repeat(40_000)));
    save("many.csv", format!("x\n{}", "1\n".repeat(20_000)));
    let train = |source: &str, longest: &str| {
        save("spec.dl", reading(source, "x"));
        let mut command = crate::cli::command(&dir.path(""), &["train", "spec.dl"]);
        crate::cli::ended(command.env("DLC_LIMIT_LINE", longest).output().expect("the binary runs"))
    };
    for (name, source) in [
        ("line.csv", "csv(\"line.csv\")"),
        ("quote.csv", "csv(\"quote.csv\")"),
        ("line.jsonl", "jsonl(\"line.jsonl\")"),
    ] {
        let ended = train(source, "10000");
        assert_eq!(ended.code, 2, "{}", ended.err);
        let said =
            format!("cannot read {name}: it has a line of more than 10000 bytes; DLC_LIMIT_LINE sets that number");
        assert!(ended.err.contains(&said), "{}", ended.err);
    }
    // Where lines are short, there may be any number of them.
    assert_eq!(train("csv(\"many.csv\")", "10000").code, 0);
    assert_eq!(train("jsonl(\"line.jsonl\")", "50000").code, 0);
}
