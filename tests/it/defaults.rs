//! Inputs of a model that are not given: their defaults hold in the command line, in `run` of a program, and in `model!`.
#![expect(clippy::unwrap_used, reason = "a test that unwraps a surprise has failed, as it should")]

use crate::cli::dlc;
use crate::scratch::Scratch;
use dlc::weights::file::TensorFile;
use dlc::{Network, Tensor};
use dlc_compiler::pipeline::{Goal, Request, compile};
use std::collections::BTreeMap;
use std::path::Path;

dlc::model!("tests/specs/defaults.dl");

const SPEC: &str = "tests/specs/defaults.dl";

fn reals(shape: &[usize]) -> Tensor {
    let count: usize = shape.iter().product();
    Tensor::from_f32(shape.to_vec(), (0..count).map(|i| i as f32 - 1.5).collect()).unwrap()
}

/// What the model gives for x of so many rows and columns, by its formula; `mask` and `n` as given.
fn expected(rows: usize, columns: usize, mask: impl Fn(usize) -> bool, n: f64) -> Vec<f32> {
    let at = |i: usize| (i as f64 - 1.5) / rows as f64 + n;
    (0..rows * columns).map(|i| if mask(i) { at(i) as f32 } else { 0.0 }).collect()
}

fn machine_code() -> Network {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(SPEC)).unwrap();
    let request = Request { name: SPEC, text: &text, sets: &[], goal: Goal::Run { model: None, training: false } };
    let compiled = compile(&request, &mut dlc::jit::Beside::new(Path::new(SPEC)), &mut |_, _| {}).unwrap();
    dlc::jit::network(compiled.plan, None, 0).unwrap()
}

fn near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).for_each(|(a, b)| assert!((a - b).abs() <= 1e-5, "{found:?} and {expected:?}"));
}

#[test]
fn a_program_need_not_give_what_has_a_default() {
    let (mut rust, mut jit) = (Given::new(0).unwrap(), machine_code());
    for (rows, columns) in [(2, 3), (1, 1), (0, 3), (17, 5)] {
        let x = reals(&[rows, columns]);
        let bare = rust.run(&x, None, None, None).unwrap();
        near(&bare.to_f32_vec(), &expected(rows, columns, |_| true, columns as f64));
        assert_eq!(bare.bytes(), jit.outputs("forward", &[("x", &x)]).unwrap()[0].bytes());

        let truths = (0..rows * columns).map(|i| i % 2 == 0).collect();
        let mask = Tensor::from_bool(vec![rows, columns], truths).unwrap();
        let n = Tensor::from_i64(vec![rows], vec![7; rows]).unwrap();
        // A tensor is given as it is.
        let given = rust.run(&x, &mask, Some(&n), None).unwrap();
        near(&given.to_f32_vec(), &expected(rows, columns, |i| i % 2 == 0, 7.0));
        let inputs = [("n", &n), ("mask", &mask), ("x", &x)];
        assert_eq!(given.bytes(), jit.outputs("forward", &inputs).unwrap()[0].bytes());
    }
    // What has no default is still asked for, and a name that is none is told.
    let n = Tensor::from_i64(vec![2], vec![7, 7]).unwrap();
    assert!(jit.run("forward", &[("n", &n)]).unwrap_err().message.contains("`x`"));
    assert!(jit.run("forward", &[("x", &reals(&[2, 3])), ("nn", &n)]).unwrap_err().message.contains("`nn`"));
}

#[test]
fn the_command_line_lets_defaults_hold_in_both_engines() {
    let dir = Scratch::new();
    let spec = Path::new(env!("CARGO_MANIFEST_DIR")).join(SPEC).display().to_string();
    let (x, stray) = (reals(&[2, 3]), reals(&[4]));
    let save = |name: &str, tensors: &[(&str, &Tensor)]| {
        dlc::weights::save(&dir.path(name), tensors, &BTreeMap::new()).unwrap();
    };
    save("x", &[("x", &x)]);
    save("more", &[("x", &x), ("stray", &stray), ("max", &stray)]);
    for engine in ["jit", "interp"] {
        let run = |input: &str| dlc(&dir.path(""), &["run", &spec, "--in", input, "--out", "y", "--engine", engine]);
        let done = run("x");
        assert_eq!((done.code, done.err.as_str()), (0, ""));
        let y = TensorFile::open(&dir.path("y")).unwrap().read("y").unwrap().unwrap();
        near(&y.to_f32_vec(), &expected(2, 3, |_| true, 3.0));
        // What nothing takes is told and not refused.
        let done = run("more");
        assert_eq!(done.code, 0, "{}", done.err);
        for said in ["warning[W0701]", "`max`, `stray`", "so their defaults hold: `mask`, `n`, `s`"] {
            assert!(done.err.contains(said), "`{said}` is not in {}", done.err);
        }
    }
}

/// A size that only an input with a default has is not known without it.
#[test]
fn a_default_needs_its_sizes() {
    let dir = Scratch::new();
    dir.file("m.dl", "model M()(x: [B], y: [T] = 1) -> z: [B] { return x + sum(y) }\n");
    dlc::weights::save(&dir.path("x"), &[("x", &reals(&[2]))], &BTreeMap::new()).unwrap();
    for engine in ["jit", "interp"] {
        let told = dlc(&dir.path(""), &["run", "m.dl", "--in", "x", "--out", "z", "--engine", engine]);
        assert_eq!(told.code, 2, "{}", told.err);
        assert!(told.err.contains("`y`"), "{}", told.err);
    }
}

#[test]
fn a_default_is_a_number_of_its_input() {
    let dir = Scratch::new();
    for (input, said) in [
        ("n: i64[B] = 0.5", "the default of `n`, which is i64, is a whole number, got"),
        ("n: bool[B] = 1", "the default of `n`, which is bool, is true or false, got"),
        ("n: [B] = true", "the default of `n`, which is f32, is a number, got"),
        ("n: [B] = \"a\"", "the default of `n`, which is f32, is a number, got"),
    ] {
        dir.file("m.dl", format!("model M()(x: [B], {input}) -> z: [B] {{ return where(n == n, x, x) }}\n"));
        let told = dlc(&dir.path(""), &["check", "m.dl"]);
        assert_eq!(told.code, 1, "{input}");
        assert!(told.err.contains("m.dl:1:") && told.err.contains(said), "{}", told.err);
    }
}
